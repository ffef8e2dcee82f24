"""Select with the interface of poll, as the library needs it on Windows."""

import errno
import os
import select
import socket
import threading
import time
from queue import Empty, SimpleQueue

import pytest

from gennostr.client import poller
from gennostr.client.poller import POLLIN, POLLNVAL, POLLOUT, SelectPoller
from gennostr.otp import clock, mailbox
from gennostr.otp.clock import MACHINE


def test_a_select_poller_reports_what_poll_does() -> None:
    if not hasattr(select, "poll"):
        pytest.skip("this system has no poll to compare with")
    one, other = socket.socketpair()
    with one, other:
        ours, theirs = SelectPoller(), select.poll()
        for events in (POLLIN, POLLOUT, POLLIN | POLLOUT):
            for each in (ours, theirs):
                each.register(one.fileno(), events)
            assert ours.poll(0) == theirs.poll(0)
            other.send(b"x")
            assert ours.poll(0) == theirs.poll(0)
            one.recv(10)
        ours.unregister(one.fileno())
        began = time.monotonic()
        assert ours.poll(20) == []
        assert time.monotonic() - began >= 0.02
        with pytest.raises(KeyError):
            ours.unregister(one.fileno())


def test_a_connect_that_failed_is_writable_as_poll_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Winsock reports it as exceptional (Microsoft's documentation of ``select``, exceptfds)."""
    one, other = socket.socketpair()
    with one, other:
        monkeypatch.setattr(select, "select", lambda _r, _w, exceptional, _t: ([], [], exceptional))
        watched = SelectPoller()
        watched.register(one.fileno(), POLLOUT)
        assert watched.poll(0) == [(one.fileno(), POLLOUT)]


def test_a_closed_descriptor_is_ready_as_poll_says() -> None:
    """POLLNVAL (POSIX, poll); select fails as a whole instead."""
    one, other = socket.socketpair()
    with other:
        watched = SelectPoller()
        watched.register(one.fileno(), POLLIN)
        watched.register(other.fileno(), POLLIN)
        closed = one.fileno()
        one.close()
        assert watched.poll(None) == [(closed, POLLNVAL)]


def test_the_main_thread_waits_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only between two waits can it run a handler where the system does not interrupt them."""
    waits: list[float | None] = []

    def selected(*arguments: object) -> tuple[list[int], list[int], list[int]]:
        waits.append(arguments[3])  # type: ignore[arg-type]
        return ([], [], []) if len(waits) < 3 else ([0], [], [])

    monkeypatch.setattr(select, "select", selected)
    watched = SelectPoller()
    watched.register(0, POLLIN)
    assert watched.poll() == [(0, POLLIN)]
    assert waits == [mailbox.SIGNAL_DELAY] * 3
    waits.clear()
    thread = threading.Thread(target=watched.poll)
    thread.start()
    thread.join(5)
    assert waits == [None] * 3


def test_the_main_thread_waits_for_a_queue_in_slices_and_until_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "WAITS_IGNORE_SIGNALS", True)
    monkeypatch.setattr(clock, "SIGNAL_DELAY", 0.01)
    waits: list[float | None] = []

    class Queue(SimpleQueue[object]):
        def get(self, block: bool = True, timeout: float | None = None) -> object:  # noqa: FBT001, FBT002
            waits.append(timeout)
            return super().get(block, timeout)

    queue = Queue()
    began = time.monotonic()
    with pytest.raises(Empty):
        MACHINE.take(queue, MACHINE.monotonic() + 0.035)
    assert time.monotonic() - began >= 0.035
    assert len(waits) >= 3
    assert all(wait is None or wait <= 0.01 for wait in waits)
    threading.Timer(0.03, queue.put, ["item"]).start()
    assert MACHINE.take(queue, MACHINE.monotonic() + 5) == "item"
    queue.put("late")
    assert MACHINE.take(queue, MACHINE.monotonic() - 1) == "late"


def test_an_error_of_a_socket_has_the_systems_text() -> None:
    assert poller.system_error(errno.ECONNREFUSED) == os.strerror(errno.ECONNREFUSED)
