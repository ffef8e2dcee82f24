"""Relays that do not answer: every wait for one ends, and a client that is slow itself takes no relay for silent."""

import logging
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from gennostr import Relay
from gennostr.client.connection_events import Credit
from gennostr.client.options import Options
from gennostr.testing import FakeRelay, ManualClock, make_event
from gennostr.testing.relay_socket import TEXT, encode_frame
from tests.client.recorder import Recording
from tests.client.test_subscriptions import Subscriber, dropping, send_nothing, subscribed


@pytest.fixture
def relay() -> Iterator[FakeRelay]:
    with FakeRelay() as fake:
        yield fake


@pytest.mark.parametrize(
    ("value", "error"),
    [(0, ValueError), (-1.5, ValueError), (float("nan"), ValueError), (True, TypeError), ("10", TypeError)],
)
def test_a_timeout_that_cannot_be_is_refused_by_name(value: Any, error: type[Exception]) -> None:
    for make in (Options.of, lambda **options: Relay.new("wss://relay.example", **options)):
        with pytest.raises(error, match=r"eose_timeout must be .*, not "):
            make(eose_timeout=value)


@pytest.mark.parametrize("value", [None, 1, 0.5, float("inf")])
def test_other_timeouts_are_taken(value: Any) -> None:
    assert Options.of(eose_timeout=value).eose_timeout == value


def test_the_timeout_is_ten_seconds_unless_said_otherwise() -> None:
    assert Options().eose_timeout == 10


def test_after_so_much_silence_the_stored_events_count_as_complete(
    relay: FakeRelay, caplog: pytest.LogCaptureFixture
) -> None:
    with ManualClock() as clock, subscribed(relay, options={"eose_timeout": 4.0}) as client, dropping(relay):
        client.feed.subscribe({"kinds": [1]}, "feed")
        relay.accept()
        relay.expect_req()
        clock.advance(3.9)
        relay.event("feed", content="it is not silent")
        clock.advance(3.9)
        client.expect("connect", "event")
        client.expect_nothing(0.05)
        assert caplog.text == ""
        clock.advance(0.2)
        assert client.expect("eose_all").value == "feed"
        relay.event("feed", content="late")
        relay.eose("feed")
        client.expect("event", "eose")
        clock.advance(60)
        relay.notice("that was all")
        client.expect("notice")
    [record] = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert record.getMessage() == (f"{relay.url} has sent no EOSE for 'feed': handle_eose_all no longer waits for it")


def test_each_relay_has_its_own_timeout(relay: FakeRelay) -> None:
    with (
        FakeRelay() as patient,
        FakeRelay() as eternal,
        ManualClock() as clock,
        Recording(Subscriber) as client,
        dropping(relay, patient, eternal),
    ):
        for each, timeout in ((relay, 2.0), (patient, 20.0), (eternal, None)):
            client.feed.add_relay(each.url, eose_timeout=timeout, reconnect=[60.0])
            client.feed.subscribe({"kinds": [1]}, f"feed {timeout}", relays=[each.url])
            each.accept()
            each.expect_req()
            client.expect("connect")
        clock.advance(2.1)
        assert client.expect("eose_all").value == "feed 2.0"
        clock.advance(17.8)
        client.expect_nothing(0.05)
        clock.advance(0.2)
        assert client.expect("eose_all").value == "feed 20.0"
        clock.advance(10_000)
        client.expect_nothing(0.05)
        eternal.eose("feed None")
        client.expect("eose", "eose_all")


class Busy:
    """A callback that waits until the test lets it go on."""

    def __init__(self) -> None:
        self.entered, self.allowed = threading.Event(), threading.Event()

    def __call__(self, client: Any, relay: Relay) -> None:
        self.entered.set()
        assert self.allowed.wait(10)


def test_a_client_that_is_slow_takes_no_relay_for_silent(relay: FakeRelay, caplog: pytest.LogCaptureFixture) -> None:
    busy = Busy()
    with ManualClock() as clock, subscribed(relay, notice=busy) as client, dropping(relay):
        client.feed.subscribe({"kinds": [1]}, "feed")
        counting = client.feed.count({"kinds": [1]}, timeout=100)
        relay.accept()
        relay.expect_req()
        id_, _ = relay.expect_count()
        relay.notice("keep it busy")
        assert busy.entered.wait(5)
        relay.event("feed", content="stored")
        relay.eose("feed")
        relay.count(id_, 7)
        clock.advance(60)  # the deadline has come, and the answers wait in the client's queue
        assert not counting.done()
        busy.allowed.set()
        client.expect("connect", "notice", "event", "eose", "eose_all")
        assert counting.result(5).count == 7
    assert caplog.text == ""


def test_a_client_that_is_slow_within_one_read_takes_no_relay_for_silent(
    relay: FakeRelay, caplog: pytest.LogCaptureFixture
) -> None:
    steps = [Busy(), Busy(), Busy()]
    following = iter(steps)

    def wait(client: Any, relay: Relay) -> None:
        next(following)(client, relay)

    with ManualClock() as clock, subscribed(relay, event=wait) as client, dropping(relay):
        client.feed.subscribe({"kinds": [1]}, "feed")
        relay.accept()
        relay.expect_req()
        messages: list[list[Any]] = [*(["EVENT", "feed", make_event()] for _ in steps), ["EOSE", "feed"]]
        relay.raw(b"".join(encode_frame(TEXT, msgspec.json.encode(each)) for each in messages))
        for step in steps:
            assert step.entered.wait(5)
            clock.advance(20)
            step.allowed.set()
        client.expect("connect", "event", "event", "event", "eose", "eose_all")
    assert caplog.text == ""


def test_a_client_that_is_too_slow_to_read_on_takes_no_relay_for_silent(
    relay: FakeRelay, caplog: pytest.LogCaptureFixture
) -> None:
    busy = Busy()
    with ManualClock() as clock, subscribed(relay, event=busy) as client, dropping(relay):
        client.feed.subscribe({"kinds": [1]}, "crowded")
        client.feed.subscribe({"kinds": [1]}, "quiet")
        counting = client.feed.count({"kinds": [1]}, timeout=100)
        relay.accept()
        relay.expect_req()
        id_, _ = relay.expect_count()
        send_nothing(relay)
        relay.expect_req()
        for _ in range(2 * Credit.MAX_BATCHES):
            relay.event("crowded")
            clock.settle()  # one read each
        relay.eose("crowded")
        relay.eose("quiet")
        relay.count(id_, 7)
        clock.advance(20)  # all that is read waits for the client, and the rest in the socket
        busy.allowed.set()
        client.expect("connect", *["event"] * 2 * Credit.MAX_BATCHES, "eose", "eose_all", "eose", "eose_all")
        assert counting.result(5).count == 7
    assert caplog.text == ""


def test_a_relay_that_does_not_count_is_not_waited_for(relay: FakeRelay, caplog: pytest.LogCaptureFixture) -> None:
    with ManualClock() as clock, subscribed(relay, options={"eose_timeout": 3.0}) as client, dropping(relay):
        counting = client.feed.count({"kinds": [1]}, timeout=100)
        relay.accept()
        id_, _ = relay.expect_count()
        clock.advance(2.9)
        assert not counting.done()
        clock.advance(0.2)
        outcome = counting.result(5).by_relay[relay.url]
        assert outcome.kind == "timeout"  # type: ignore[union-attr]
        assert "3 s" in outcome.message  # type: ignore[union-attr]
        assert counting.result().count == 0
        # It is late, and harms nothing.
        relay.count(id_, 7)
        client.expect("connect", "count")
    assert f"{relay.url} has not answered a COUNT within 3 s" in caplog.text


def test_without_a_timeout_a_count_ends_by_its_own(relay: FakeRelay) -> None:
    with ManualClock() as clock, subscribed(relay, options={"eose_timeout": None}) as client, dropping(relay):
        counting = client.feed.count({"kinds": [1]}, timeout=100)
        relay.accept()
        relay.expect_count()
        clock.advance(99)
        assert not counting.done()
        clock.advance(2)
        assert counting.result(5).by_relay[relay.url].kind == "timeout"  # type: ignore[union-attr]


def test_one_silent_relay_delays_no_count_of_another(relay: FakeRelay) -> None:
    with FakeRelay() as other, ManualClock() as clock, subscribed(relay, other) as client, dropping(relay, other):
        counting = client.feed.count({"kinds": [1]}, timeout=100)
        relay.accept()
        other.accept()
        relay.expect_count()
        other.count(other.expect_count().subscription_id, 5)
        clock.advance(10.1)
        result = counting.result(5)
        assert result.count == 5
        assert result.by_relay[relay.url].kind == "timeout"  # type: ignore[union-attr]
