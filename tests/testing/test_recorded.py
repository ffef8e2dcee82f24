"""Callbacks that the test calls itself."""

import threading
import time
from typing import Any

import pytest

import gennostr as g
from gennostr import GenNostr, Ok, Options, Relay, Reply
from gennostr.nostr import sign
from gennostr.testing import (
    Added,
    Broadcast,
    Forgotten,
    ManualClock,
    Pinged,
    Probe,
    PublishedEvent,
    Reconnecting,
    Removed,
    RequestedCount,
    Scheduled,
    Sent,
    Subscribed,
    Unsubscribed,
    recording,
)
from tests.otp.actors import Driven, Log

URL = "wss://relay.example/"


class Feed(GenNostr[int]):
    def init(self, init_arg: Any) -> Any:
        self.add_relay(init_arg, ping_interval=5.0)
        return Ok(0)

    def handle_connect(self, relay: Relay, state: int) -> Any:
        self.send_message(["REQ", "feed", {"kinds": [1]}], relay)
        self.broadcast_message('["CLOSE", "old"]')
        self.timer = g.send_after(2.5, self.pid, "tick")

    def handle_notice(self, message: Any, relay: Relay, state: int) -> Any:
        g.cancel_timer(self.timer)
        self.remove_relay(relay)

    def handle_eose(self, message: Any, relay: Relay, state: int) -> Any:
        self.send_message("no JSON", relay)
        self.send_message(["NONE", object()], relay)

    def handle_closed(self, message: Any, relay: Relay, state: int) -> Any:
        self.reconnect("wss://other.example", 3)
        g.send("probe", self.list_relays())


def test_what_callbacks_do_is_noted_as_values_and_nothing_is_connected() -> None:
    before = threading.active_count()
    with recording(Feed) as (feed, actions), Probe("probe") as probe:
        relay = Relay.new(URL)
        assert feed.init("WSS://relay.example") == Ok(0)
        feed.handle_connect(relay, 0)
        feed.handle_disconnect("lost", relay, 0)
        feed.handle_closed(None, relay, 0)
        assert actions == [
            Added(URL, Options(ping_interval=5.0)),
            Sent(["REQ", "feed", {"kinds": [1]}], URL),
            Broadcast(["CLOSE", "old"]),
            Scheduled(2.5, feed.pid, "tick"),
            Reconnecting(URL),
            Reconnecting("wss://other.example/", 3),
        ]
        assert probe.expect(list) == [URL]
        feed.handle_notice(None, relay, 0)
        assert Scheduled(2.5, feed.pid, "tick") not in actions
        assert actions[-1] == Removed(URL)
        assert feed.list_relays() == []
        assert threading.active_count() == before
    assert not feed.pid.is_alive()


def test_what_is_asked_of_relays_is_noted_and_its_result_never_comes() -> None:
    note = sign("01" * 32, created_at=1, kind=1, content="hello")
    with recording(Feed) as (feed, actions):
        assert feed.subscribe({"kinds": [1]}, "feed", ["WSS://relay.example"]) == "feed"
        feed.unsubscribe("feed")
        publication = feed.publish(note)
        counting = feed.count({"kinds": [1]}, [URL])
        feed.forget(note.id)
        feed.ping(URL)
        assert actions == [
            Subscribed([{"kinds": [1]}], "feed", (URL,)),
            Unsubscribed("feed"),
            PublishedEvent(note),
            RequestedCount([{"kinds": [1]}], (URL,)),
            Forgotten(note.id),
            Pinged(URL),
        ]
        assert feed.relay_statistics() == {}
        assert not publication.done()
        assert not counting.done()
        with pytest.raises(g.MessageError):
            feed.subscribe([])
    with pytest.raises(g.CallExit):
        publication.result(5)


def test_the_old_name_of_a_requested_count_works_and_warns() -> None:
    with pytest.warns(DeprecationWarning, match="AskedCount is now RequestedCount"):
        from gennostr.testing import AskedCount  # noqa: PLC0415
    assert AskedCount is RequestedCount


def test_what_the_client_would_refuse_is_refused() -> None:
    with recording(Feed) as (feed, actions):
        with pytest.raises(g.MessageError, match="NONE"):
            feed.handle_eose(None, Relay.new(URL), 0)
        assert actions.pop() == Sent("no JSON", URL)  # text passes as it is, here as on the wire
        with pytest.raises(ValueError, match="http"):
            feed.init("http://relay.example")
        with pytest.raises(TypeError, match="nonesuch"):
            feed.add_relay(URL, nonesuch=1)  # type: ignore[call-arg]
        assert actions == []


def test_a_callback_that_calls_waits_its_time() -> None:
    class Asking(g.GenServer[None]):
        def handle_cast(self, request: Any, state: Any) -> Any:
            request.put(g.call(server, lambda self, from_, state: Reply("answer")))

    log = Log()
    with Driven.start() as server, recording(Asking) as (asking, _):
        asking.handle_cast(log, None)
        assert log.now() == ["answer"]
        began = time.monotonic()
        with pytest.raises(g.CallTimeout):
            server.call(lambda self, from_, state: g.NoReply(), 0.05)
        assert time.monotonic() - began >= 0.05


def test_a_callback_reads_the_time_that_the_test_moves(manual_clock: ManualClock) -> None:
    class Reading(g.GenServer[None]):
        def handle_cast(self, request: Any, state: Any) -> Any:
            self.timer = g.send_after(request, self.pid, "tick")
            return g.monotonic_time(), g.system_time()

    with recording(Reading) as (server, actions):
        monotonic, system = server.handle_cast(0.1, None)
        manual_clock.advance(1.5)
        assert server.handle_cast(1 / 3, None) == (monotonic + 1.5, system + 1.5)
        assert type(monotonic) is float
        assert actions == [Scheduled(0.1, server.pid, "tick"), Scheduled(1 / 3, server.pid, "tick")]  # not rounded
        manual_clock.advance(0.25)
        assert g.cancel_timer(server.timer) == pytest.approx(1 / 3 - 0.25)
    assert g.monotonic_time() == monotonic + 1.75


def test_a_server_that_is_no_client_has_timers_to_note(probe: Probe) -> None:
    class Server(g.GenServer[None]):
        def init(self, init_arg: Any) -> Any:
            g.send_after(60, init_arg, "later")
            init_arg.send("now")

    with recording(Server) as (server, actions):
        server.init(probe.pid)
        assert actions == [Scheduled(60, probe.pid, "later")]
    assert probe.expect("now")
    g.send_after(0, probe.pid, "timers run again")
    assert probe.expect("timers run again")
