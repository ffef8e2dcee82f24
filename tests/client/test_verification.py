"""Verification: the events of a read, by several threads, in order; what is forged is one error each."""

import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
import pytest

from gennostr import KILL, MessageError
from gennostr.client import verification
from gennostr.client.connection import Connection
from gennostr.client.verification import verify_events
from gennostr.nostr import EoseMessage, Event, EventMessage, sign
from gennostr.otp.process import alive
from gennostr.testing.fake_relay import FakeRelay
from gennostr.testing.relay_socket import TEXT, encode_frame
from tests.client.recorder import Recording

SECRET = "1" * 64


@cache
def signed(number: int) -> Event:
    return sign(SECRET, created_at=number, kind=1, content=f"number {number}")


def forged(number: int) -> Event:
    return msgspec.structs.replace(signed(number), content="forged")


@pytest.fixture(params=[1, 2, 5], ids="{} threads".format)
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """How many processors there are, and that all are idle again afterwards."""
    monkeypatch.setattr(verification, "_threads", lambda: request.param)
    yield request.param
    assert not any(permit.locked() for permit in verification._permits)


def test_events_keep_their_places_and_each_forged_one_becomes_an_error(threads: int) -> None:
    messages: list[Any] = [EventMessage("s", signed(number)) for number in range(100)]
    messages[7] = messages[93] = EventMessage("s", forged(1))
    messages[50] = EoseMessage("s")
    messages[51] = MessageError("no message")
    before = list(messages)
    verify_events(messages)
    assert [place for place, message in enumerate(messages) if message is not before[place]] == [7, 93]
    assert all("the id is wrong" in str(messages[place]) for place in (7, 93))


def test_every_idle_processor_helps_with_one_relays_events(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    all_are_at_it = threading.Barrier(threads, timeout=5)
    met = threading.local()

    def verify(event: Event) -> None:
        if not hasattr(met, "once"):
            met.once = all_are_at_it.wait()  # broken, and raised, if a thread is missing

    monkeypatch.setattr(verification, "verify", verify)
    verify_events([EventMessage("s", signed(0))] * 160)


def test_a_few_events_are_verified_without_help(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(verification, "verify", lambda event: seen.append(threading.get_ident()))
    verify_events([EventMessage("s", signed(0))] * 31)
    assert seen == [threading.get_ident()] * 31


def test_processors_that_verify_already_give_no_help(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[int] = set()
    monkeypatch.setattr(verification, "verify", lambda event: seen.add(threading.get_ident()))
    elsewhere = verification._free_permits(5)
    assert len(elsewhere) == threads
    verify_events([EventMessage("s", signed(0))] * 160)
    assert seen == {threading.get_ident()}
    assert all(permit.locked() for permit in elsewhere)
    for permit in elsewhere:
        permit.release()
    monkeypatch.undo()


def test_what_a_helper_fails_by_is_raised_where_the_events_would_be_delivered(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = threading.get_ident()
    helped = threading.Event()

    def verify(event: Event) -> None:
        if threads == 1 or threading.get_ident() != mine:
            helped.set()
            raise ImportError("no coincurve")
        assert helped.wait(5)

    monkeypatch.setattr(verification, "verify", verify)
    with pytest.raises(ImportError, match="no coincurve"):
        verify_events([EventMessage("s", signed(0))] * 160)


def test_a_system_that_refuses_threads_gets_its_events_verified_all_the_same(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(verification, "start_new_thread", refuse)
    messages: list[Any] = [EventMessage("s", forged(number)) for number in range(160)]
    verify_events(messages)
    assert all(type(message) is MessageError for message in messages)


def test_what_a_connection_still_verifies_when_it_is_killed_does_not_come_after_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, gate = threading.Event(), threading.Event()

    def verify(event: Event) -> None:
        begun.set()
        assert gate.wait(5)

    monkeypatch.setattr(verification, "verify", verify)
    with FakeRelay() as relay, Recording(urls=[relay.url], options={"verify": True}) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.send(["EVENT", "s", msgspec.to_builtins(signed(1))])
        assert begun.wait(5)
        (connection,) = [each for each in alive() if each.pid.actor_class is Connection]
        thread = next(each for each in threading.enumerate() if each.ident == connection.thread)
        connection.pid.exit(KILL)
        client.expect("error", "disconnect")
        gate.set()
        thread.join(5)
        relay.accept()  # its supervisor has started it anew
        client.expect("connect")


def test_a_verifying_relay_delivers_genuine_events_in_order_and_an_error_for_each_forged_one() -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url], options={"verify": True}) as client:
        peer = relay.accept()
        client.expect("connect")
        events = [forged(number) if number % 10 == 3 else signed(number) for number in range(200)]
        peer.raw(b"".join(encode_frame(TEXT, msgspec.json.encode(["EVENT", "s", event])) for event in events))
        for number, event in enumerate(events):
            callback = client.next()
            if number % 10 == 3:
                assert callback.name == "error"
                assert event.id in str(callback.value)
            else:
                assert callback.value.event == event
