"""What is counted for each relay, and how long its pings take."""

import gc
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Self

import pytest

from gennostr import (
    KILL,
    KILLED,
    REMOVE_RELAY,
    ConnectionLost,
    HandshakeError,
    Overflow,
    PingTimeout,
    ProtocolError,
    Relay,
    RelayNotFound,
    StartError,
    tree,
)
from gennostr.client.connection import MESSAGE_SIZE, Connection
from gennostr.client.connection_events import Credit
from gennostr.client.outbox import Outbox
from gennostr.client.relay_statistics import RelayCounters, RelayStatistics
from gennostr.testing.fake_relay import FakeConnection, FakeRelay
from gennostr.testing.manual_clock import ManualClock
from gennostr.testing.memory_relay import MemoryRelay
from gennostr.testing.probe import Probe
from gennostr.testing.relay_socket import CONTINUATION, PING, PONG, TEXT, encode_frame
from tests.client.recorder import FAST, Recorder, Recording
from tests.client.test_faults import PATIENCE, no_threads, until
from tests.client.test_slowness import recording
from tests.client.test_tree import actors, await_death

MASKED = 6  # bytes of a short frame of the client's besides its payload: two of the header, four of the mask
NOTICE = encode_frame(TEXT, b'["NOTICE","hello"]')


@pytest.fixture
def relay() -> Iterator[FakeRelay]:
    with FakeRelay() as relay:
        yield relay


@pytest.fixture
def clock() -> Iterator[ManualClock]:
    with ManualClock() as clock:
        yield clock


def of(client: Recording, relay: FakeRelay | MemoryRelay) -> RelayStatistics:
    return client.feed.relay_statistics()[relay.url]


def notice(client: Recording, peer: FakeConnection) -> None:
    """Have a message delivered: what the connection read and wrote before is counted then, by the same thread."""
    peer.raw(NOTICE)
    client.expect("notice")


def reached(value: object) -> list[object]:
    """All objects that this one keeps in memory; types aside, which are there anyway."""
    seen: dict[int, object] = {}
    todo = [value]
    while todo:
        each = todo.pop()
        if id(each) not in seen and not isinstance(each, type):
            seen[id(each)] = each
            todo += gc.get_referents(each)
    return list(seen.values())


def refused(client: Recording, relay: FakeRelay, status: int = 403) -> None:
    """One attempt that fails."""
    relay.refuse(status).disconnect()
    client.expect("error", "disconnect")


# Counters.


def test_a_relay_that_is_being_connected_to_has_an_attempt_and_nothing_else(relay: FakeRelay) -> None:
    with Recording(urls=[relay.url]) as client:
        relay.accept_raw()
        assert client.feed.relay_statistics() == {
            relay.url: RelayStatistics(url=relay.url, state="connecting", attempts=1)
        }


def test_a_connection_counts_messages_and_the_bytes_of_all_frames_but_not_the_handshake(relay: FakeRelay) -> None:
    with Recording(urls=[relay.url]) as client:
        peer = relay.accept()
        opened = client.expect("connect").relay
        for text in ('["CLOSE","1"]', '["CLOSE","22"]'):
            client.feed.send_message(text, relay.url)
            peer.expect_close()
        peer.ping(b"abc")
        assert peer.receive_frame() == (PONG, b"abc")
        notice(client, peer)
        assert of(client, relay) == RelayStatistics(
            url=relay.url,
            state="open",
            connected_at=opened.connected_at,
            attempts=1,
            connects=1,
            messages_received=1,
            messages_sent=2,
            bytes_received=len(encode_frame(PING, b"abc")) + len(NOTICE),
            bytes_sent=2 * MASKED + len('["CLOSE","1"]["CLOSE","22"]') + MASKED + len("abc"),
        )


def test_what_comes_in_one_segment_with_the_answer_to_the_upgrade_is_counted(relay: FakeRelay) -> None:
    with Recording(urls=[relay.url]) as client:
        peer = relay.accept_raw()
        peer.read_request()
        peer.upgrade(NOTICE)
        client.expect("connect", "notice")
        assert (of(client, relay).messages_received, of(client, relay).bytes_received) == (1, len(NOTICE))


def test_fragments_are_one_message_and_a_message_that_is_none_is_one_too(relay: FakeRelay) -> None:
    frames = (
        encode_frame(TEXT, b'["NOTI', fin=False)
        + encode_frame(CONTINUATION, b'CE","x"]')
        + encode_frame(TEXT, b"no message")
    )
    with Recording(urls=[relay.url]) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.raw(frames)
        client.expect("notice", "error")
        assert (of(client, relay).messages_received, of(client, relay).bytes_received) == (2, len(frames))
        assert of(client, relay).last_error is None  # it has ended nothing


def test_with_tls_the_bytes_are_those_inside_it() -> None:
    with FakeRelay(tls=True) as relay, Recording(urls=[relay.url], options={"websocket": relay.websocket}) as client:
        peer = relay.accept()
        client.expect("connect")
        client.feed.send_message('["CLOSE","x"]', relay.url)
        peer.expect_close()
        notice(client, peer)
        seen = of(client, relay)
        assert (seen.bytes_received, seen.bytes_sent) == (len(NOTICE), MASKED + len('["CLOSE","x"]'))


def test_what_a_message_larger_than_one_write_takes_is_counted_to_the_last_byte(relay: FakeRelay) -> None:
    text = '["CLOSE","' + "x" * 8_000_000 + '"]'  # more than the sockets hold
    with Recording(urls=[relay.url], options={"max_queue_size": 10_000_000}) as client:
        peer = relay.accept()
        client.expect("connect")
        client.feed.send_message(text, relay.url)
        peer.expect_close()
        notice(client, peer)
        assert of(client, relay).bytes_sent == len(text) + 14  # the length takes eight bytes more


def test_a_relay_that_stores_and_answers_is_counted_like_any_other() -> None:
    with MemoryRelay() as relay, Recording(urls=[relay.url]) as client:
        client.expect("connect")
        for number in range(3):
            relay.store(content=f"{number}")
        client.feed.send_message(["REQ", "feed", {"kinds": [1]}], relay.url)
        client.expect("event", "event", "event", "eose")
        seen = of(client, relay)
        assert (seen.messages_received, seen.messages_sent, seen.undelivered) == (4, 1, 0)


# Attempts.


def test_counters_add_up_over_the_attempts_of_a_relay(relay: FakeRelay) -> None:
    with Recording(urls=[relay.url], options=FAST) as client:
        for number in range(1, 4):
            peer = relay.accept()
            opened = client.expect("connect").relay
            client.feed.send_message('["CLOSE","x"]', relay.url)
            peer.expect_close()
            notice(client, peer)
            seen = of(client, relay)
            assert (seen.state, seen.connected_at) == ("open", opened.connected_at)
            assert (seen.attempts, seen.connects, seen.reconnects) == (number, number, number - 1)
            assert (seen.messages_received, seen.bytes_received) == (number, number * len(NOTICE))
            assert (seen.messages_sent, seen.bytes_sent) == (number, number * (MASKED + len('["CLOSE","x"]')))
            peer.drop()
            client.expect("error", "disconnect")


def test_a_relay_in_backoff_is_there_with_its_failed_attempts_and_the_last_error(
    relay: FakeRelay, clock: ManualClock
) -> None:
    options = {"reconnect": [60.0], "connect_timeout": 60.0}
    with recording(relay, urls=[relay.url], options=options) as client:
        for number in range(1, 4):
            refused(client, relay, 400 + number)
            clock.settle()  # handle_disconnect has run
            seen = of(client, relay)
            assert (seen.state, seen.attempts, seen.connects, seen.reconnects) == ("backoff", number, 0, 0)
            assert isinstance(seen.last_error, HandshakeError)
            assert seen.last_error.status == 400 + number
            clock.advance(80.0)
            assert of(client, relay).state == "connecting"


def test_an_error_is_remembered_over_an_end_that_was_none(relay: FakeRelay) -> None:
    with Recording(urls=[relay.url], options=FAST) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.send_frame(TEXT, b"x", rsv=1)
        client.expect("error", "disconnect")
        peer.disconnect()
        peer = relay.accept()
        client.expect("connect")
        peer.close(1000)
        client.expect("disconnect")
        peer.disconnect()
        relay.accept()
        client.expect("connect")
        error = of(client, relay).last_error
        assert isinstance(error, ProtocolError)
        assert str(error) == "reserved bits set (closed with 1002)"


def test_an_error_is_there_when_handle_error_is_called_with_it(relay: FakeRelay) -> None:
    seen: list[object] = []

    def note(client: Recorder, relay: Relay) -> None:
        seen.append(client.relay_statistics()[relay.url].last_error)

    with Recording(urls=[relay.url], error=note, options=FAST) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.disconnect()
        told = client.expect("error").value
        client.expect("disconnect")
        assert isinstance(told, ConnectionLost)
        assert repr(seen) == repr([told])


def test_a_killed_connection_is_an_attempt_that_ended_with_an_error(relay: FakeRelay) -> None:
    with Recording(urls=[relay.url], options=FAST) as client:
        peer = relay.accept()
        client.expect("connect")
        notice(client, peer)
        client.feed.add_relay(relay.url).exit(KILL)
        client.expect("error", "disconnect")
        relay.accept()
        client.expect("connect")
        seen = of(client, relay)
        assert (seen.attempts, seen.connects, seen.messages_received, seen.last_error) == (2, 2, 1, KILLED)


def test_a_crash_is_counted_before_it_is_reported(relay: FakeRelay) -> None:
    with Recording(urls=[relay.url], reconnect=False) as client:
        relay.accept()
        client.expect("connect")
        connection = client.feed.add_relay(relay.url)
        killer = threading.Thread(target=connection.exit, args=(KILL,))
        with client.feed.connections.counters._changes._turn:  # so that it cannot be counted
            killer.start()
            client.expect_nothing(0.1)
        killer.join()
        client.expect("error", "disconnect")


def test_an_error_that_is_remembered_does_not_keep_the_connection_in_memory(relay: FakeRelay) -> None:
    with Recording(urls=[relay.url], options={"reconnect": [60.0]}) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.drop()
        told = client.expect("error").value
        client.expect("disconnect")
        remembered = of(client, relay).last_error
        assert isinstance(remembered, ConnectionResetError)
        assert repr(remembered) == repr(told)
        assert any(isinstance(each, Connection) for each in reached(told))  # it was raised there
        assert not any(isinstance(each, Connection) for each in reached(remembered))


@pytest.mark.parametrize("name", ["ConnectionRegistry", "ConnectionSupervisor"])
def test_the_counters_outlive_the_actors_of_the_tree(name: str, relay: FakeRelay) -> None:
    with Recording(urls=[relay.url], options=FAST) as client:
        peer = relay.accept()
        client.expect("connect")
        notice(client, peer)
        actors(client.feed)[name].exit(KILL)
        client.expect("error", "disconnect")
        peer = relay.accept()
        client.expect("connect")
        notice(client, peer)
        seen = of(client, relay)
        assert (seen.state, seen.attempts, seen.connects, seen.messages_received) == ("open", 2, 2, 2)


def test_an_attempt_that_gets_no_thread_counts(relay: FakeRelay) -> None:
    with Recording(urls=[relay.url], options={"reconnect": [0.02]}) as client:
        peer = relay.accept()
        client.expect("connect")
        with no_threads():
            peer.drop()
            client.expect("error", "disconnect", "error", "disconnect")
            seen = of(client, relay)
            assert seen.attempts >= 2
            assert isinstance(seen.last_error, StartError)
        relay.accept(timeout=PATIENCE)
        until(client, "connect", timeout=PATIENCE)
        assert of(client, relay).connects == 2


def test_a_relay_that_is_to_be_connected_to_later_is_there_before_its_first_attempt(relay: FakeRelay) -> None:
    with Recording() as client:
        client.feed.reconnect(relay.url, 3600)
        assert client.feed.relay_statistics() == {relay.url: RelayStatistics(url=relay.url, state="backoff")}


def test_a_connection_is_closing_from_its_end_on_until_the_relay_ends_it_too(relay: FakeRelay) -> None:
    seen: list[str] = []
    gate = threading.Event()

    def look(client: Recorder, relay: Relay) -> None:
        seen.append(client.relay_statistics()[relay.url].state)
        assert gate.wait(PATIENCE)
        seen.append(client.relay_statistics()[relay.url].state)

    options = {"close_timeout": 60.0, "reconnect": [60.0]}
    with Recording(urls=[relay.url], options=options, disconnect=look) as client:
        peer = relay.accept()
        client.expect("connect")
        pid = client.feed.add_relay(relay.url)
        peer.close(1000)
        client.expect("disconnect")
        peer.expect_close_frame()
        peer.disconnect()
        await_death(pid, PATIENCE)
        gate.set()
        client.feed.call("handle_disconnect has run")
        assert seen == ["closing", "backoff"]


# Removal.


def test_a_removed_relay_is_gone_when_its_removal_is_reported_and_begins_anew_when_it_is_added_again(
    relay: FakeRelay,
) -> None:
    seen: list[object] = []

    def look(client: Recorder, relay: Relay) -> None:
        seen.append(client.relay_statistics())

    with Recording(urls=[relay.url], options={"close_timeout": 60.0}, disconnect=look, reconnect=False) as client:
        peer = relay.accept()
        client.expect("connect")
        notice(client, peer)
        closing = client.feed.add_relay(relay.url)
        client.feed.remove_relay(relay.url)
        assert client.feed.relay_statistics() == {}
        assert client.expect("disconnect").value is REMOVE_RELAY
        client.feed.add_relay(relay.url, close_timeout=0.05)
        other = relay.accept()
        client.expect("connect")
        assert seen == [{}]
        notice(client, other)
        peer.expect_close_frame()
        peer.disconnect()
        await_death(closing, PATIENCE)
        now = of(client, relay)
        assert (now.attempts, now.connects, now.messages_received) == (1, 1, 1)
        assert (now.bytes_received, now.bytes_sent) == (len(NOTICE), 0)


def test_a_relay_that_is_removed_while_it_connects_or_in_backoff_is_gone(relay: FakeRelay, clock: ManualClock) -> None:
    with recording(relay, urls=[relay.url], options={"reconnect": [60.0]}, reconnect=False) as client:
        relay.accept_raw()
        client.feed.remove_relay(relay.url)
        assert client.feed.relay_statistics() == {}
        assert client.expect("disconnect").value is REMOVE_RELAY
        client.script["reconnect"] = True
        client.feed.add_relay(relay.url, reconnect=[60.0])
        refused(client, relay)
        clock.settle()
        assert of(client, relay).attempts == 1
        client.script["reconnect"] = False
        client.feed.remove_relay(relay.url)
        assert client.feed.relay_statistics() == {}
        assert client.expect("disconnect").value is REMOVE_RELAY
        with pytest.raises(RelayNotFound):
            client.feed.remove_relay(relay.url)


RELAY = Relay.new("ws://relay.example")


def begun(counters: RelayCounters, probe: Probe, outbox: Outbox | None = None) -> None:
    """Have an attempt begin, with a probe in the place of its connection."""
    process = probe.pid.process
    counters.begin(RELAY.url, process, outbox or Outbox(RELAY), Credit(process))


def test_a_relay_that_is_added_while_it_is_being_removed_stays_until_it_is_removed_itself() -> None:
    counters = RelayCounters()
    with Probe() as old, Probe() as new:
        for probe in (old, new):
            begun(counters, probe)
        counters.forget(RELAY.url, old.pid.process)
        assert list(counters.statistics({})) == [RELAY.url]
        counters.forget(RELAY.url, new.pid.process)
        assert counters.statistics({}) == {}


def test_an_attempt_that_is_killed_before_it_begins_does_not_stay() -> None:
    counters = RelayCounters()
    with Probe() as probe:
        probe.pid.exit(KILL)
        begun(counters, probe)
        seen = counters.statistics({})[RELAY.url]
        assert (seen.state, seen.attempts, seen.last_error) == ("backoff", 1, KILLED)


def test_an_attempt_that_begins_when_its_relay_was_removed_does_not_bring_it_back() -> None:
    counters, outbox = RelayCounters(), Outbox(RELAY)
    with Probe() as probe:
        outbox.over = True  # as remove_relay does, which has found its name
        counters.forget(RELAY.url, probe.pid.process)
        begun(counters, probe, outbox)
        assert counters.statistics({}) == {}


def test_a_relay_whose_connection_gets_no_thread_is_not_there(relay: FakeRelay, clock: ManualClock) -> None:
    with recording(relay, options={"reconnect": [60.0]}) as client:
        with no_threads(), pytest.raises(StartError):
            client.feed.add_relay(relay.url)
        assert client.feed.relay_statistics() == {}
        client.feed.add_relay(relay.url, reconnect=[60.0])
        refused(client, relay)
        clock.settle()
        with no_threads(), pytest.raises(StartError):
            client.feed.add_relay(relay.url)
        assert client.feed.relay_statistics() == {}


def test_of_several_relays_each_has_its_own_and_they_stand_in_the_order_of_their_coming() -> None:
    with FakeRelay() as one, FakeRelay() as other, Recording(urls=[one.url, other.url]) as client:
        peers = one.accept(), other.accept()
        client.expect("connect", "connect")
        notice(client, peers[0])
        for _ in range(2):
            notice(client, peers[1])
        seen = client.feed.relay_statistics()
        assert [(url, each.messages_received) for url, each in seen.items()] == [(one.url, 1), (other.url, 2)]
        client.feed.remove_relay(one.url)
        assert list(client.feed.relay_statistics()) == [other.url]


def test_a_client_that_has_ended_has_no_statistics(relay: FakeRelay) -> None:
    client = Recording(urls=[relay.url])
    relay.accept()
    client.expect("connect")
    assert list(client.feed.relay_statistics()) == [relay.url]
    client.feed.stop(block=True)
    assert client.feed.relay_statistics() == {}


def test_a_password_is_not_shown(relay: FakeRelay) -> None:
    url = relay.url.replace("localhost", "user:secret@localhost")
    with Recording(urls=[url]) as client:
        relay.accept()
        client.expect("connect")
        seen = client.feed.relay_statistics()[url]
        assert seen.url == url
        assert "secret" not in repr(seen)
        assert f"localhost:{relay.port}" in repr(seen)
        assert "attempts=1, connects=1" in repr(seen)


def test_a_relay_that_nobody_connects_to_any_more_is_gone_when_handle_disconnect_has_run(relay: FakeRelay) -> None:
    seen: list[str] = []

    def look(client: Recorder, relay: Relay) -> None:
        seen.append(client.relay_statistics()[relay.url].state)

    options = {"close_timeout": 60.0}
    with Recording(urls=[relay.url], options=options, disconnect=look, reconnect=False) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.close(1000)
        client.expect("disconnect")
        client.feed.call("handle_disconnect has run")
        assert client.feed.relay_statistics() == {}
        assert seen == ["closing"]
        peer.expect_close_frame()
        peer.disconnect()
        client.feed.add_relay(relay.url, close_timeout=0.05)
        refused(client, relay)
        client.feed.call("handle_disconnect has run")
        assert client.feed.relay_statistics() == {}


# Under load.


def test_what_the_client_has_not_handled_is_reported_in_the_bytes_that_count_for_the_limit(relay: FakeRelay) -> None:
    gate = threading.Event()

    def wait(*_: object) -> None:
        assert gate.wait(PATIENCE)

    with Recording(urls=[relay.url], notice=wait) as client:
        peer = relay.accept()
        client.expect("connect")
        pings = encode_frame(PING, b"")
        peer.raw(NOTICE * 3 + pings)
        client.expect("notice")  # and it waits there
        assert peer.receive_frame().opcode == PONG
        try:
            assert of(client, relay).undelivered == 3 * (len(NOTICE) + MESSAGE_SIZE) + len(pings)
        finally:
            gate.set()
        client.expect("notice", "notice")
        client.feed.call("the last one is handled")
        assert of(client, relay).undelivered == 0


class Reader:
    """Reads the statistics over and over, in a thread of its own, and checks that no number goes back."""

    def __init__(self, client: Recording, url: str) -> None:
        self.reads = 0
        self.wrong: list[tuple[RelayStatistics, RelayStatistics]] = []
        self._over = threading.Event()
        self._read = client.feed.relay_statistics
        self._url = url
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        last = self._read()[self._url]
        while not self._over.is_set():
            seen = self._read()[self._url]
            names = ("attempts", "connects", "messages_received", "messages_sent", "bytes_received", "bytes_sent")
            if any(getattr(seen, name) < getattr(last, name) for name in names) or seen.undelivered < 0:
                self.wrong.append((last, seen))
            last = seen
            self.reads += 1


def test_who_reads_during_a_flood_with_reconnects_sees_no_number_go_back_and_none_is_lost(relay: FakeRelay) -> None:
    told = threading.Semaphore(0)

    class Quiet(Recorder):
        def handle_notice(self, message: Any, relay: Relay, state: Any) -> Any:
            told.release()

    rounds, each = 5, 4000
    with (
        Recording(Quiet, urls=[relay.url], options={"reconnect": [0.01]}) as client,
        Reader(client, relay.url) as reader,
    ):
        for _ in range(rounds):
            peer = relay.accept()
            client.expect("connect")
            for _ in range(each // 100):
                client.feed.send_message('["CLOSE","x"]', relay.url)
                peer.raw(NOTICE * 100, timeout=PATIENCE)
            for _ in range(each // 100):
                peer.expect_close()
            for _ in range(each):
                assert told.acquire(timeout=PATIENCE)
            peer.drop()
            client.expect("error", "disconnect")
        relay.accept()
        client.expect("connect")
        seen = of(client, relay)
        assert (seen.attempts, seen.connects) == (rounds + 1, rounds + 1)
        assert (seen.messages_received, seen.bytes_received) == (rounds * each, rounds * each * len(NOTICE))
        assert seen.messages_sent == rounds * each // 100
        assert seen.bytes_sent == seen.messages_sent * (MASKED + len('["CLOSE","x"]'))
    assert not reader.wrong
    assert reader.reads > rounds


# Pings.


def pinged(peer: FakeConnection) -> bytes:
    """The payload of the ping that comes next; it is not answered."""
    frame = peer.receive_frame()
    assert frame.opcode == PING
    return frame.payload


def pong(client: Recording, peer: FakeConnection, payload: bytes) -> None:
    """Answer with this payload, and have the answer read."""
    peer.send_frame(PONG, payload)
    notice(client, peer)


def test_a_ping_shows_how_late_the_relay_answers(relay: FakeRelay, clock: ManualClock) -> None:
    with recording(relay, urls=[relay.url], reconnect=False) as client:
        peer = relay.accept()
        client.expect("connect")
        assert of(client, relay).latency is None
        for seconds in (0.25, 2.0, 0.0):
            client.feed.ping(relay.url)
            payload = pinged(peer)
            clock.advance(seconds)
            pong(client, peer, payload)
            assert of(client, relay).latency == seconds


def test_a_real_answer_takes_some_time(relay: FakeRelay) -> None:
    with Recording(urls=[relay.url]) as client:
        peer = relay.accept()
        client.expect("connect")
        client.feed.ping(relay.url)
        client.feed.send_message('["CLOSE","x"]', relay.url)
        peer.expect_close()  # the ping before it is answered meanwhile
        notice(client, peer)
        latency = of(client, relay).latency
        assert latency is not None
        assert 0 < latency < PATIENCE


@pytest.mark.parametrize("wrong", [b"", b"x", b"12345678", b"x" * 125])
def test_a_pong_that_answers_no_ping_says_nothing(wrong: bytes, relay: FakeRelay, clock: ManualClock) -> None:
    with recording(relay, urls=[relay.url], reconnect=False) as client:
        peer = relay.accept()
        client.expect("connect")
        pong(client, peer, wrong)
        assert of(client, relay).latency is None
        client.feed.ping(relay.url)
        payload = pinged(peer)
        assert payload
        clock.advance(1.0)
        pong(client, peer, wrong)
        assert of(client, relay).latency is None
        clock.advance(1.0)
        pong(client, peer, payload)
        assert of(client, relay).latency == 2.0
        clock.advance(1.0)
        pong(client, peer, payload)  # once more: it is answered
        assert of(client, relay).latency == 2.0


def test_no_two_pings_have_the_same_payload(relay: FakeRelay) -> None:
    with Recording(urls=[relay.url]) as client:
        peer = relay.accept()
        client.expect("connect")
        payloads = set()
        for _ in range(20):
            client.feed.ping(relay.url)
            payloads.add(pinged(peer))
        assert len(payloads) == 20


def three_pings(client: Recording, relay: FakeRelay, clock: ManualClock) -> tuple[FakeConnection, list[bytes]]:
    """Three pings without an answer, a second apart."""
    peer = relay.accept()
    client.expect("connect")
    payloads = []
    for _ in range(3):
        client.feed.ping(relay.url)
        payloads.append(pinged(peer))
        clock.advance(1.0)
    return peer, payloads


def test_pings_that_come_faster_than_their_answers_are_measured_by_the_oldest(
    relay: FakeRelay, clock: ManualClock
) -> None:
    with recording(relay, urls=[relay.url], reconnect=False) as client:
        peer, payloads = three_pings(client, relay, clock)
        pong(client, peer, payloads[0])
        assert of(client, relay).latency == 3.0
        client.feed.ping(relay.url)
        pinged(peer)
        pong(client, peer, payloads[2])
        assert of(client, relay).latency == 1.0


def test_the_answer_to_the_newest_ping_is_one_to_all(relay: FakeRelay, clock: ManualClock) -> None:
    with recording(relay, urls=[relay.url], reconnect=False) as client:
        peer, payloads = three_pings(client, relay, clock)
        pong(client, peer, payloads[2])
        assert of(client, relay).latency == 1.0
        pong(client, peer, payloads[0])
        assert of(client, relay).latency == 1.0


def test_the_latency_outlives_the_connection_and_its_pings_do_not(relay: FakeRelay, clock: ManualClock) -> None:
    with recording(relay, urls=[relay.url], options={"reconnect": [1.0]}) as client:
        peer, payloads = three_pings(client, relay, clock)
        pong(client, peer, payloads[0])
        peer.drop()
        client.expect("error", "disconnect")
        clock.advance(2.0)
        peer = relay.accept()
        client.expect("connect")
        assert of(client, relay).latency == 3.0
        pong(client, peer, payloads[2])
        assert of(client, relay).latency == 3.0


def test_the_keepalives_pings_are_measured_too(relay: FakeRelay, clock: ManualClock) -> None:
    with recording(relay, urls=[relay.url], reconnect=False) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.stall()
        clock.advance(30.0)
        peer.resume()
        payload = pinged(peer)
        clock.advance(0.5)
        pong(client, peer, payload)
        assert of(client, relay).latency == 0.5


def test_a_ping_of_the_users_does_not_arm_the_ping_timeout_and_does_not_put_it_off(
    relay: FakeRelay, clock: ManualClock
) -> None:
    with recording(relay, urls=[relay.url], reconnect=False) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.stall()  # no pong
        for _ in range(5):
            client.feed.ping(relay.url)
            clock.advance(11.0)
        assert of(client, relay).state == "open"
        clock.advance(4.0)
        assert client.seen.empty()
        clock.advance(1.5)
        assert isinstance(client.expect("error").value, PingTimeout)
        client.expect("disconnect")


def test_pings_from_handle_connect_on_are_sent_before_that_they_are_not(relay: FakeRelay) -> None:
    with Recording(urls=[relay.url], connect=lambda client, relay: client.ping(relay)) as client:
        peer = relay.accept_raw()
        for _ in range(3):
            client.feed.ping(relay.url)
        peer.read_request()
        peer.upgrade()
        client.expect("connect")
        pinged(peer)
        client.feed.send_message('["CLOSE","x"]', relay.url)
        assert peer.receive_frame().opcode == TEXT


def test_a_ping_that_was_wanted_while_the_connection_opened_wakes_it_once(relay: FakeRelay) -> None:
    outbox = Outbox(replace(Relay.new(relay.url), connected_at=1.0))
    woken: list[None] = []
    outbox.ping()
    outbox.open(lambda: woken.append(None))
    assert len(woken) == 1
    outbox.ping()
    assert len(woken) == 1
    assert outbox.take_ping()
    assert not outbox.take_ping()


def test_a_relay_without_a_connection_cannot_be_pinged(relay: FakeRelay, clock: ManualClock) -> None:
    with recording(relay, urls=[relay.url], options={"reconnect": [60.0]}) as client:
        refused(client, relay)
        clock.settle()
        for url in (relay.url, "ws://other.example"):
            with pytest.raises(RelayNotFound):
                client.feed.ping(url)
        with pytest.raises(ValueError, match="nonsense"):
            client.feed.ping("nonsense")


def test_a_ping_in_the_callback_of_a_relay_that_has_ended_meanwhile_goes_with_it(relay: FakeRelay) -> None:
    begun, gate = threading.Event(), threading.Event()

    def late(client: Recorder, relay: Relay) -> None:
        begun.set()
        assert gate.wait(PATIENCE)
        client.ping(relay)

    with Recording(urls=[relay.url], notice=late, reconnect=False) as client:
        peer = relay.accept()
        client.expect("connect")
        connection = client.feed.add_relay(relay.url)
        peer.raw(NOTICE)
        assert begun.wait(PATIENCE)
        peer.drop()
        await_death(connection, PATIENCE)
        gate.set()
        client.expect("notice", "error", "disconnect")
        assert client.feed.is_alive()


def filled(client: Recording, relay: FakeRelay) -> int:
    """Have so much wait to be sent that nothing more is taken; return how many messages that were."""
    text = '["CLOSE","' + "x" * 50_000 + '"]'
    pause = threading.Event()
    full = sent = 0
    while full < 3:  # the connection may have been about to take some
        try:
            client.feed.send_message(text, relay.url)
            full = 0
            sent += 1
        except Overflow:
            full += 1
            pause.wait(0.05)
    return sent


def test_a_flood_of_pings_to_a_relay_that_does_not_read_waits_as_next_to_none(relay: FakeRelay) -> None:
    with Recording(urls=[relay.url], reconnect=False) as client:
        peer = relay.accept()
        client.expect("connect")
        connection = client.feed.add_relay(relay.url)
        peer.stall()
        sent = filled(client, relay)
        before = connection.statistics().messages
        for _ in range(20_000):
            client.feed.ping(relay.url)
        for _ in range(100):
            client.feed.ping(relay.url)
            notice(client, peer)  # after a read, it tries to write
        assert connection.statistics().messages - before < 1000
        peer.resume()
        opcodes: list[int] = []
        while opcodes.count(TEXT) < sent:
            opcodes.append(peer.receive_frame().opcode)
        client.feed.send_message('["CLOSE","last"]', relay.url)
        assert peer.receive_frame().opcode == TEXT
        assert 1 <= opcodes.count(PING) < 50  # the socket may have taken a little more now and then


def test_a_flood_of_pings_that_nobody_answers_takes_no_memory(relay: FakeRelay) -> None:
    with Recording(urls=[relay.url], reconnect=False) as client:
        peer = relay.accept()
        client.expect("connect")
        [connection] = tree(client.feed).children[0].children[1].children
        assert connection.pid is not None
        actor: Any = connection.pid.process.actor.server  # type: ignore[union-attr]
        sizes = []
        for _ in range(3):
            for _ in range(200):
                client.feed.ping(relay.url)
                assert len(pinged(peer)) == 8
            sizes.append(len(reached(actor._pings)))
        assert sizes[0] == sizes[1] == sizes[2]


# Time that cannot be scheduled.


def test_an_attempt_that_cannot_be_scheduled_anew_leaves_the_one_that_is(relay: FakeRelay) -> None:
    class Refusing(ManualClock):
        refuses = False

        def call_at(self, when: float, function: Callable[[], object]) -> Any:
            if self.refuses:
                raise RuntimeError("can't start new thread")
            return super().call_at(when, function)

    with Refusing() as clock, recording(relay, reconnect=False) as client:
        client.feed.reconnect(relay.url, 60)
        clock.refuses = True
        with pytest.raises(RuntimeError, match="can't start new thread"):
            client.feed.reconnect(relay.url, 0)
        clock.refuses = False
        clock.advance(61)
        assert of(client, relay).attempts == 1
        relay.accept()
        client.expect("connect")
