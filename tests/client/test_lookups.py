"""Lookups of host names: one at a time for each host, however many wait for it."""

import os
import queue
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from gennostr.client import lookups
from gennostr.client.lookups import Lookup
from tests.client.networks import REAL, hanging_resolver, resolve

WAIT = 5.0


class Waiting:
    """A lookup, and a queue that gets an item whenever it is done."""

    def __init__(self, host: str, port: int = 80) -> None:
        self.done: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.lookup = Lookup(host, port, lambda: self.done.put(None))

    def answer(self) -> Any:
        self.done.get(timeout=WAIT)
        assert self.done.empty()
        return self.lookup.answer()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator["queue.SimpleQueue[str]"]:
    with hanging_resolver(monkeypatch) as asked:
        yield asked


def test_a_name_has_its_addresses_with_the_port_of_each_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    real = lookups.look_up

    def look_up(host: str, port: int) -> Any:
        assert gate.wait(WAIT)
        return real(host, port)

    monkeypatch.setattr(lookups, "look_up", look_up)
    asked = resolve(monkeypatch, {"a.example": ["127.0.0.1", "::1"]})
    first, second = Waiting("a.example", 80), Waiting("a.example", 4848)
    assert first.lookup.answer() is None
    gate.set()
    assert [each[4] for each in first.answer()] == [("127.0.0.1", 80), ("::1", 80, 0, 0)]
    assert [each[4] for each in second.answer()] == [("127.0.0.1", 4848), ("::1", 4848, 0, 0)]
    assert asked == ["a.example"]


def test_another_host_is_another_lookup(asked: "queue.SimpleQueue[str]") -> None:
    Waiting("a.example"), Waiting("b.example")
    assert {asked.get(timeout=WAIT), asked.get(timeout=WAIT)} == {"a.example", "b.example"}


def test_an_answer_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolve(monkeypatch, {"a.example": ["127.0.0.1"]})
    assert Waiting("a.example").answer()
    assert Waiting("a.example").answer()
    assert asked == ["a.example"] * 2


def test_one_that_gave_up_is_not_called_and_the_next_joins(monkeypatch: pytest.MonkeyPatch) -> None:
    with hanging_resolver(monkeypatch) as asked:
        first = Waiting("a.example")
        assert asked.get(timeout=WAIT) == "a.example"
        first.lookup.cancel()
        second = Waiting("a.example")
        assert asked.empty()
    assert isinstance(second.answer(), socket.gaierror)
    assert first.done.empty()


def test_a_failure_is_an_exception_of_its_own_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    with hanging_resolver(monkeypatch):
        waiting = [Waiting("a.example") for _ in range(2)]
    one, other = [each.answer() for each in waiting]
    assert one is not other
    assert one.args == other.args == (socket.EAI_AGAIN, "no name server answers")


def test_a_system_without_threads_is_an_error_of_the_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        assert isinstance(Waiting("localhost").answer(), RuntimeError)
    assert not isinstance(Waiting("localhost").answer(), Exception)


def test_a_thread_is_started_by_the_next_if_the_first_was_interrupted_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A finalizer may look up the same name between any two lines, and waits for the answer."""
    start = lookups._Lookup.start
    inner: list[Waiting] = []

    def interrupted(self: Any) -> None:
        if not inner:
            inner.append(None)  # type: ignore[arg-type]
            inner[0] = Waiting("localhost")
            assert inner[0].answer()
        start(self)

    monkeypatch.setattr(lookups._Lookup, "start", interrupted)
    assert Waiting("localhost").answer()


def test_a_forked_child_does_not_wait_for_a_lookup_of_its_parent(
    asked: "queue.SimpleQueue[str]",
) -> None:
    Waiting("localhost")
    assert asked.get(timeout=WAIT) == "localhost"
    child = os.fork()
    if child == 0:
        try:
            socket.getaddrinfo = REAL
            os._exit(0 if Waiting("localhost").answer() and not lookups.running() else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
