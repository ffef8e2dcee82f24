"""A relay's socket ends in stages: what was sent arrives, whatever the client sends meanwhile."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from gennostr.testing import relay_socket
from gennostr.testing.relay_socket import RelaySocket, close_when_received, listener

TIMEOUT = 5
BIG = bytes(range(256)) * 40_000
"""More than the system takes from who is not read."""

Pair = tuple[socket.socket, RelaySocket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A client that does not block, and its peer."""
    with listener(None) as listening, socket.create_connection(listening.getsockname()) as client:
        accepted, _ = listening.accept()
        client.settimeout(0)
        with closing(RelaySocket(accepted)) as wire:
            yield client, wire


def received(client: socket.socket) -> bytes:
    """Read what is there, and the end if it is."""
    found = bytearray()
    try:
        while data := client.recv(1 << 20):
            found += data
    except BlockingIOError:
        return bytes(found)
    return bytes(found) + b"the end"


def test_a_client_that_sends_all_the_time_loses_nothing(pair: Pair) -> None:
    # RFC 1122, section 4.2.2.13: data that arrive after a close, or are unread at it, are answered by a reset.
    client, wire = pair
    wire.out += BIG
    wire.finish()
    assert wire.end == "the relay ended the connection"
    found = b""
    deadline = time.monotonic() + TIMEOUT
    while not found.endswith(b"the end"):
        assert time.monotonic() < deadline
        assert not wire.linger()
        client.send(b"what nobody reads")
        found += received(client)
    assert found == BIG + b"the end"
    client.send(b"last words")
    client.shutdown(socket.SHUT_WR)
    assert wire.linger()


def test_a_client_that_has_ended_still_gets_all(pair: Pair) -> None:
    client, wire = pair
    client.shutdown(socket.SHUT_WR)
    wire.read()
    assert wire.end == "the client ended the connection"
    wire.out += BIG
    wire.finish()
    found = b""
    while not wire.linger():
        assert not wire.waits_to_read  # it would be ready for ever
        assert wire.waits_to_write
        found += received(client)
    assert found + received(client) == BIG + b"the end"


class Hand:
    """Moves the clock of a relay's socket, and says what its client has not acknowledged."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.unacknowledged = 1_000_000
        monkeypatch.setattr(relay_socket, "monotonic", lambda: self.now)
        monkeypatch.setattr(relay_socket, "unacknowledged", lambda _: self.unacknowledged)


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Hand:
    return Hand(monkeypatch)


def test_who_does_not_end_in_time_is_closed(pair: Pair, hand: Hand) -> None:
    _, wire = pair
    wire.finish()
    assert not wire.linger()
    hand.now += relay_socket.LINGER * 0.9
    assert not wire.linger()
    hand.now += relay_socket.LINGER * 0.9
    assert wire.linger()


def test_who_receives_something_has_more_time_but_not_for_ever(pair: Pair, hand: Hand) -> None:
    _, wire = pair
    wire.finish()
    while not wire.linger():
        hand.unacknowledged -= 1
        hand.now += relay_socket.LINGER * 0.9
    assert hand.now == pytest.approx(relay_socket.LONGEST_LINGER, abs=relay_socket.LINGER)


def test_a_client_that_sends_faster_than_it_is_read_keeps_nobody(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    client, wire = pair
    monkeypatch.setattr(relay_socket, "DISCARDED_READS", 2)
    monkeypatch.setattr(relay_socket, "READ_SIZE", 10)
    client.send(bytes(25))
    wire.finish()
    assert not wire.linger()
    assert wire.sock.recv(10) == bytes(5)


@pytest.mark.parametrize("over", [False, True], ids=["open", "ended"])
def test_a_reset_is_a_reset(pair: Pair, *, over: bool) -> None:
    client, wire = pair
    if over:
        wire.out += BIG
        wire.finish()
        wire.linger()
    wire.reset()
    assert wire.end == ("the relay ended the connection" if over else "the relay reset the connection")
    with pytest.raises(ConnectionResetError):  # noqa: PT012
        while True:
            client.recv(1 << 20)
    assert wire.linger()


def test_a_client_that_has_reset_is_waited_for_no_more(pair: Pair) -> None:
    client, wire = pair
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    wire.out += b"lost"
    wire.finish()
    assert wire.linger()


def test_seeing_out_waits_for_who_has_all_and_not_for_its_end(pair: Pair) -> None:
    # RFC 9112, section 9.6: until the client closes, or its acknowledgement of the last packet has arrived.
    client, wire = pair
    client.send(b"what nobody reads")
    wire.out += b"hello"
    wire.finish()
    began = time.monotonic()
    close_when_received([wire])
    assert time.monotonic() - began < relay_socket.LINGER / 2
    assert wire.sock.fileno() < 0
    client.send(b"answered by a reset")
    assert received(client) == b"hellothe end"


def test_seeing_out_waits_its_time_for_who_does_not_read(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    _, wire = pair
    monkeypatch.setattr(relay_socket, "LINGER", 0.05)
    wire.out += BIG
    wire.finish()
    began = time.monotonic()
    close_when_received([wire])
    assert 0.05 <= time.monotonic() - began < 1
    assert wire.sock.fileno() < 0


def test_without_acknowledgements_an_end_is_waited_for(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    _, wire = pair
    monkeypatch.setattr(relay_socket, "unacknowledged", lambda _: None)
    monkeypatch.setattr(relay_socket, "LINGER", 0.05)
    wire.finish()
    assert not wire.linger()
    assert not wire.is_received
    close_when_received([wire])
    assert wire.sock.fileno() < 0


def test_an_end_at_once_is_no_reset(pair: Pair) -> None:
    client, wire = pair
    wire.out += b"hello"
    wire.write()
    wire.out += b"never sent"
    client.send(b"what nobody reads")
    wire.disconnect()
    client.send(b"answered by a reset")
    assert received(client) == b"hellothe end"
