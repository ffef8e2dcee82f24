"""Peers that dribble, do not read, flood, or do not go: what each costs is bounded, and nobody else waits for it."""

import contextlib
import gc
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest

from gennostr import REMOVE_RELAY, ConnectTimeout, MessageError, Overflow, PingTimeout
from gennostr.testing.fake_relay import FakeConnection, FakeRelay
from gennostr.testing.manual_clock import ManualClock
from gennostr.testing.relay_socket import CONTINUATION, PING, PONG, TEXT, encode_frame
from tests.client.recorder import Recording

ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
TLS_RECORD = b"\x16\x03\x03\x40\x00" + bytes(100)
EVENTS = encode_frame(TEXT, b'["NOTICE","' + b"x" * 2000 + b'"]') * 50


@pytest.fixture
def relay() -> Iterator[FakeRelay]:
    with FakeRelay() as relay:
        yield relay


@pytest.fixture
def clock() -> Iterator[ManualClock]:
    with ManualClock() as clock:
        yield clock


@contextlib.contextmanager
def recording(relay: FakeRelay, **script: Any) -> Iterator[Recording]:
    """A client whose peers are gone before it stops: with a clock that stands still it would wait for them."""
    with Recording(**script) as client:
        try:
            yield client
        finally:
            relay.stop()


def _ends(done: Callable[[], bool], timeout: float = 5.0) -> bool:
    """Whether it is done in time."""
    deadline, pause = time.monotonic() + timeout, threading.Event()
    while not done():
        if time.monotonic() > deadline:
            return False
        pause.wait(0.01)
    return True


class Flood:
    """Sends the same bytes without end, as fast as they are taken, in a thread of its own."""

    def __init__(self, peer: FakeConnection, data: bytes) -> None:
        self.sent = 0
        self._peer = peer
        self._data = data
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._peer.raw(self._data, timeout=0.1)
                self.sent += len(self._data)
            except TimeoutError:
                pass
            except OSError:
                return


# Slow from the start: connect_timeout is for all of it.


def dribbled(clock: ManualClock, client: Recording, peer: FakeConnection, data: bytes, seconds: int) -> None:
    """Send a byte each second: that long there is no callback, and then connect_timeout."""
    for at in range(seconds):
        peer.raw(data[at : at + 1])
        assert client.seen.empty(), at
        clock.advance(1.0)
    error = client.expect("error").value
    assert isinstance(error, ConnectTimeout)
    assert client.expect("disconnect").value is error
    assert peer.is_closed()


def test_an_answer_byte_by_byte_does_not_outlast_connect_timeout(relay: FakeRelay, clock: ManualClock) -> None:
    with recording(relay, urls=[relay.url], reconnect=False) as client:
        peer = relay.accept_raw()
        peer.read_request()
        dribbled(clock, client, peer, ANSWER, 15)


def test_a_tls_hello_byte_by_byte_does_not_outlast_connect_timeout(relay: FakeRelay, clock: ManualClock) -> None:
    with recording(relay, urls=[relay.url.replace("ws://", "wss://")], reconnect=False) as client:
        dribbled(clock, client, relay.accept_raw(), TLS_RECORD, 15)


def test_a_proxys_answer_byte_by_byte_does_not_outlast_connect_timeout(relay: FakeRelay, clock: ManualClock) -> None:
    options = {"websocket": {"proxy": f"http://localhost:{relay.port}"}}
    with recording(relay, urls=["ws://relay.example"], options=options, reconnect=False) as client:
        peer = relay.accept_raw()
        peer.read_request()
        dribbled(clock, client, peer, b"HTTP/1.1 200 Connection established\r\n", 15)


def test_the_time_that_a_proxy_took_is_not_given_again(relay: FakeRelay, clock: ManualClock) -> None:
    options = {"websocket": {"proxy": f"http://localhost:{relay.port}"}}
    with recording(relay, urls=["ws://relay.example"], options=options, reconnect=False) as client:
        peer = relay.accept_raw()
        peer.read_request()
        clock.advance(10)
        peer.raw(b"HTTP/1.1 200 Connection established\r\n\r\n")
        clock.advance(0)
        dribbled(clock, client, peer, ANSWER, 5)


# Slow in a frame. Every byte is a sign of life: a large message over a thin line takes its time, and costs
# max_message_size at most. Who falls silent in the middle is given up like any other.


def test_a_frame_byte_by_byte_is_life_and_is_delivered_when_it_is_whole(relay: FakeRelay, clock: ManualClock) -> None:
    frame = encode_frame(TEXT, b'["NOTICE","' + b"x" * 115 + b'"]')
    assert frame[1] == 126  # the length has bytes of its own
    with recording(relay, urls=[relay.url], reconnect=False) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.stall()  # no pong: these bytes are all that is heard of it
        for at in range(len(frame) - 1):
            peer.raw(frame[at : at + 1])
            clock.advance(29.0)
        assert client.seen.empty()
        peer.raw(frame[-1:])
        assert client.expect("notice").value.message == "x" * 115


def test_a_frame_that_stops_in_the_middle_is_silence(relay: FakeRelay, clock: ManualClock) -> None:
    with recording(relay, urls=[relay.url], reconnect=False) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.stall()
        peer.raw(b"\x81\x7e\x10\x00half")
        clock.advance(59.9)
        assert client.seen.empty()
        clock.advance(0.2)
        assert isinstance(client.expect("error").value, PingTimeout)
        client.expect("disconnect")
        client.expect_nothing(0.05)


# A relay that does not read.


def fill(client: Recording, url: str) -> int:
    """Send until the outbox is full, and the sockets behind it; return how many messages were queued."""
    message = ["REQ", "x", {"search": "x" * 50_000}]
    queued, refusals = 0, ""

    def full() -> bool:
        nonlocal queued, refusals
        try:
            client.feed.send_message(message, url)
        except Overflow as overflow:
            refusals += str(overflow)
            return True
        queued += 1
        return False

    while not full() or _ends(lambda: not full(), timeout=0.1):
        assert queued < 2000
    assert "localhost" in refusals
    assert "secret" not in refusals
    return queued


def test_a_relay_that_does_not_read_is_an_overflow_and_what_was_queued_arrives(relay: FakeRelay) -> None:
    url = relay.url.replace("//", "//user:secret@")
    with Recording(urls=[url], reconnect=False) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.stall()
        queued = fill(client, url)
        assert client.feed.call("still there") == "still there"
        peer.resume()
        for _ in range(queued):
            assert peer.expect_req().subscription_id == "x"


def test_a_relay_that_neither_reads_nor_sends_is_given_up_though_the_ping_cannot_go_out(
    relay: FakeRelay, clock: ManualClock
) -> None:
    with recording(relay, urls=[relay.url], reconnect=False) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.stall()
        fill(client, relay.url)
        clock.advance(59.9)
        assert client.seen.empty()
        clock.advance(0.2)
        error = client.expect("error").value
        assert isinstance(error, PingTimeout)
        assert client.expect("disconnect").value is error


def test_a_relay_that_does_not_read_is_removed_at_once_and_gone_after_close_timeout(
    relay: FakeRelay, clock: ManualClock
) -> None:
    with recording(relay) as client:
        pid = client.feed.add_relay(relay.url)
        peer = relay.accept()
        client.expect("connect")
        peer.stall()
        fill(client, relay.url)
        client.feed.remove_relay(relay.url)
        assert client.expect("disconnect").value is REMOVE_RELAY
        clock.advance(2.9)
        assert pid.is_alive()
        clock.advance(0.2)
        assert not pid.is_alive()


def test_a_client_stops_within_a_second_though_a_relay_does_not_read(
    relay: FakeRelay, caplog: pytest.LogCaptureFixture
) -> None:
    with Recording() as client:
        client.feed.add_relay(relay.url)
        peer = relay.accept()
        client.expect("connect")
        peer.stall()
        fill(client, relay.url)
        began = time.monotonic()
        client.feed.stop(block=True)
        assert time.monotonic() - began < 4  # 1 here; 5 where the supervisor has to kill it
    assert "killed" not in caplog.text


# A relay that floods.

KINDS = {
    "events": EVENTS,
    "pings": encode_frame(PING, b"") * 30_000,
    "empty fragments": encode_frame(CONTINUATION, b"", fin=False) * 30_000,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_stops_within_a_second_though_a_relay_floods(
    relay: FakeRelay, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    with Recording() as client:
        client.feed.add_relay(relay.url)
        peer = relay.accept()
        client.expect("connect")
        peer.stall()
        if kind == "empty fragments":
            peer.send_frame(TEXT, b"", fin=False)
        with Flood(peer, KINDS[kind]) as flood:
            assert client.feed.call("still there") == "still there"
            began = time.monotonic()
            client.feed.stop(block=True)
            assert time.monotonic() - began < 4  # 1 here; 5 where the supervisor has to kill it
            assert flood.sent > 0
    assert "killed" not in caplog.text


@pytest.mark.parametrize("kind", KINDS)
def test_a_relay_that_floods_is_removed_at_once_and_gone_after_close_timeout(relay: FakeRelay, kind: str) -> None:
    with Recording() as client:
        pid = client.feed.add_relay(relay.url, close_timeout=0.1)
        peer = relay.accept()
        client.expect("connect")
        peer.stall()
        if kind == "empty fragments":
            peer.send_frame(TEXT, b"", fin=False)
        with Flood(peer, KINDS[kind]):
            assert client.feed.call("still there", timeout=5) == "still there"
            client.feed.remove_relay(relay.url)
            while (callback := client.next()).name == "notice":
                pass
            assert callback.value is REMOVE_RELAY
            assert _ends(lambda: not pid.is_alive())
            assert client.feed.call("all callbacks before have run") is not None
            assert client.seen.empty()


def test_a_call_waits_for_one_callback_of_a_flood_and_a_removal_for_none(relay: FakeRelay) -> None:
    steps = threading.Semaphore(0)

    def wait(*_: object) -> None:
        assert steps.acquire(timeout=5)

    with Recording(urls=[relay.url], notice=wait) as client:
        peer = relay.accept()
        client.expect("connect")
        with Flood(peer, EVENTS):
            client.expect("notice")  # the callback is under way, and hundreds wait
            asked = client.feed.send_request("after one callback")
            steps.release()
            assert asked.wait(5) == "after one callback"
            client.expect("notice")
            client.feed.remove_relay(relay.url)
            assert client.feed.list_relays() == []
            for _ in range(2000):
                steps.release()
            assert _ends(lambda: not client.seen.empty())
            while (callback := client.next()).name == "notice":
                pass
            assert callback.value is REMOVE_RELAY
            client.expect_nothing(0.1)


def test_a_relay_that_pings_without_end_and_does_not_read_is_not_remembered_ping_by_ping(relay: FakeRelay) -> None:
    pings, payload = 200_000, b"p" * 125
    with Recording(urls=[relay.url], reconnect=False) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.stall()
        peer.raw(encode_frame(PING, payload) * pings, timeout=20)  # the client takes all of them
        peer.notice("the end")
        client.expect("notice", timeout=20)
        client.feed.send_message(["CLOSE", "x"], relay.url)  # behind all pongs that wait
        peer.resume()
        pongs = 0
        while peer.receive_frame().opcode == PONG:
            pongs += 1
        # What the two sockets hold, and 64 KiB of ours.
        assert 0 < pongs < pings


def test_a_relay_that_pings_without_end_and_reads_gets_its_pongs_and_delays_nobody(relay: FakeRelay) -> None:
    with Recording(urls=[relay.url], reconnect=False) as client:
        peer = relay.accept()
        client.expect("connect")
        for number in range(300):
            peer.ping(b"%d" % number)
            assert peer.receive_frame().payload == b"%d" % number
        assert client.feed.call("still there") == "still there"
        client.feed.send_message(["CLOSE", "x"], relay.url)
        assert peer.expect_close() == "x"


def test_tiny_frames_that_are_no_messages_wait_in_bounded_memory(relay: FakeRelay) -> None:
    gate = threading.Event()

    def wait(*_: object) -> None:
        assert gate.wait(20)

    with Recording(urls=[relay.url], error=wait, reconnect=False) as client:
        peer = relay.accept()
        client.expect("connect")
        try:
            with contextlib.suppress(TimeoutError):
                while True:
                    peer.raw(encode_frame(TEXT, b"") * 100_000, timeout=0.5)
            waiting = [each for each in gc.get_objects() if type(each) is MessageError]
            # A read of 128 KiB, of two bytes each, and no more behind it.
            assert 0 < len(waiting) <= 66_000
            assert not any(each.__traceback__ or each.__context__ for each in waiting)
            del waiting
            client.feed.remove_relay(relay.url)
        finally:
            gate.set()


# A relay that does not go.


def test_a_relay_that_closes_but_keeps_tcp_open_is_gone_after_close_timeout(
    relay: FakeRelay, clock: ManualClock
) -> None:
    with recording(relay, reconnect=False) as client:
        pid = client.feed.add_relay(relay.url)
        peer = relay.accept()
        client.expect("connect")
        peer.close(1001)
        client.expect("disconnect")
        assert peer.expect_close_frame().code == 1001
        clock.advance(2.9)
        assert pid.is_alive()
        clock.advance(0.2)
        assert not pid.is_alive()
        client.expect_nothing(0.05)


def test_what_a_relay_sends_after_its_close_frame_is_not_delivered_and_does_not_keep_it(
    relay: FakeRelay, clock: ManualClock
) -> None:
    with recording(relay, reconnect=False) as client:
        pid = client.feed.add_relay(relay.url)
        peer = relay.accept()
        client.expect("connect")
        peer.close(1000)
        client.expect("disconnect")
        for _ in range(6):
            with contextlib.suppress(OSError):
                peer.raw(EVENTS)
            clock.advance(0.55)
        assert not pid.is_alive()
        client.expect_nothing(0.05)


def test_a_relay_that_is_removed_and_goes_on_sending_is_gone_after_close_timeout(
    relay: FakeRelay, clock: ManualClock
) -> None:
    with recording(relay) as client:
        pid = client.feed.add_relay(relay.url)
        peer = relay.accept()
        client.expect("connect")
        client.feed.remove_relay(relay.url)
        assert client.expect("disconnect").value is REMOVE_RELAY
        for _ in range(6):
            with contextlib.suppress(OSError):
                peer.raw(EVENTS)
            clock.advance(0.55)
        assert not pid.is_alive()
        client.expect_nothing(0.05)
