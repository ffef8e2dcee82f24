"""A fake relay does what a test says, expects what a test wants, and says what came instead."""

import json
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
import trustme
import websocket

from gennostr import Close, ConnectionLost, PingTimeout
from gennostr.nostr import Event
from gennostr.testing import FakeConnection, FakeRelay, Req, leaks, make_event, relay_socket
from gennostr.testing.manual_clock import ManualClock, helpers
from gennostr.testing.relay_socket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, encode_frame
from tests.client.recorder import FAST, Recording, note

TIMEOUT = 5
SHORT = 0.05

Dial = Callable[..., "Future[Any]"]
Pair = tuple[Any, FakeConnection]


def connect(url: str) -> Any:
    return closing(websocket.create_connection(url, timeout=TIMEOUT))


@pytest.fixture
def dial() -> Iterator[Dial]:
    """Connect in a thread, for the test's own thread plays the relay; the client is closed."""
    clients: list[Future[Any]] = []
    with ThreadPoolExecutor(max_workers=4) as executor:

        def submit(url: str, **options: Any) -> "Future[Any]":
            future = executor.submit(websocket.create_connection, url, timeout=TIMEOUT, **options)
            clients.append(future)
            return future

        yield submit
    for future in clients:
        if future.exception() is None:
            future.result().shutdown()


@pytest.fixture
def relay() -> Iterator[FakeRelay]:
    with FakeRelay() as fake:
        yield fake


@pytest.fixture
def pair(relay: FakeRelay, dial: Dial) -> Pair:
    """A client and its peer, upgraded."""
    dialled = dial(relay.url)
    peer = relay.accept()
    return dialled.result(TIMEOUT), peer


def say(client: Any, *messages: object) -> None:
    for message in messages:
        client.send(json.dumps(message))


def hear(client: Any) -> Any:
    return json.loads(client.recv())


# -- the relay


def test_the_example_of_the_module_is_a_test(relay: FakeRelay) -> None:
    def subscribe(client: Any, told: Any) -> None:
        client.send_message(["REQ", "feed", {"kinds": [1]}], told)

    with Recording(urls=[relay.url], connect=subscribe, options=FAST) as client:
        relay.accept()
        feed = relay.expect_req().subscription_id
        relay.event(feed, content="hello")
        relay.eose(feed)
        client.expect("connect")
        assert client.expect("event").value.event.content == "hello"
        client.expect("eose")
        relay.drop()
        client.expect("error", "disconnect")
        relay.accept()
        assert relay.expect_req() == Req("feed", [{"kinds": [1]}])


def test_a_relay_upgrades_and_talks(relay: FakeRelay, dial: Dial) -> None:
    dialled = dial(relay.url)
    peer = relay.accept()
    client = dialled.result(TIMEOUT)
    say(client, ["REQ", "a", {}], ["CLOSE", "a"])
    peer.send(["EOSE", "a"])
    assert peer.request.startswith("GET / HTTP/1.1\r\n")
    assert peer.receive() == ["REQ", "a", {}]
    assert peer.skip_to("CLOSE") == ["CLOSE", "a"]
    assert client.recv() == '["EOSE","a"]'


def test_a_relay_with_tls_is_trusted_by_who_is_given_its_websocket_options() -> None:
    with FakeRelay(tls=True) as relay, Recording(reconnect=False) as client:
        assert relay.url == f"wss://localhost:{relay.port}/"
        client.feed.add_relay(relay.url, websocket=relay.websocket, close_timeout=SHORT)
        peer = relay.accept()
        client.expect("connect")
        client.feed.send_message(["CLOSE", "x" * 60], relay.url)
        assert peer.expect_close() == "x" * 60
        peer.notice("secret " * 10_000)
        assert len(client.expect("notice").value.message) == 70_000


def test_a_relay_without_tls_needs_no_websocket_options(relay: FakeRelay) -> None:
    assert relay.websocket == {}
    with (
        socket.create_connection(("127.0.0.1", relay.port)),
        pytest.raises(AssertionError, match="the relay has no TLS"),
    ):
        relay.accept_raw().start_tls()


def test_a_relay_speaks_tls_with_a_context_of_ones_own(dial: Dial) -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with FakeRelay(tls=server) as relay:
        assert relay.websocket == {}
        dialled = dial(relay.url, sslopt={"context": trusting})
        peer = relay.accept()
        assert relay.url == f"wss://localhost:{relay.port}/"
        peer.send(["NOTICE", "secret"])
        client = dialled.result(TIMEOUT)
        assert client.recv() == '["NOTICE","secret"]'
        peer.half_close()
        say(client, ["CLOSE", "still readable"])
        with pytest.raises((websocket.WebSocketConnectionClosedException, ssl.SSLEOFError)):
            client.recv()
        assert peer.receive() == ["CLOSE", "still readable"]


def test_an_untrusted_relay_says_what_the_client_said() -> None:
    with FakeRelay(tls=True) as relay, Recording(urls=[relay.url], reconnect=False) as client:
        with pytest.raises(AssertionError, match=r"expected a TLS handshake, but .*(?i:unknown ca)"):
            relay.accept()
        client.expect("error", "disconnect")


def test_a_client_that_speaks_no_tls_is_told_at_the_deadline_or_at_once() -> None:
    with FakeRelay(tls=True) as relay, socket.create_connection(("127.0.0.1", relay.port)) as client:
        with pytest.raises(AssertionError, match=r"expected a TLS handshake, but nothing arrived within 0\.0\d* s"):
            relay.accept(timeout=SHORT)
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert relay.is_closed()


def test_tls_without_trustme_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    relay_socket._certificate.cache_clear()
    with pytest.raises(ImportError, match=r"pip install 'gennostr\[testing\]'"):
        FakeRelay(tls=True)


def test_a_relay_refuses_an_upgrade(relay: FakeRelay, dial: Dial) -> None:
    dialled = dial(relay.url + "path")
    peer = relay.accept_raw()
    assert peer.read_request().startswith("GET /path ")
    peer.refuse(429, b"slow down", "Too Fast")
    with pytest.raises(websocket.WebSocketBadStatusException, match="Too Fast") as caught:
        dialled.result(TIMEOUT)
    assert caught.value.status_code == 429
    assert caught.value.resp_body == b"slow down"


@pytest.mark.parametrize(("status", "reason"), [(403, "Forbidden"), (599, "Refused")])
def test_a_relay_refuses_the_next_connection(relay: FakeRelay, dial: Dial, status: int, reason: str) -> None:
    dialled = dial(relay.url)
    assert relay.refuse(status) is relay.connections[0]
    with pytest.raises(websocket.WebSocketBadStatusException, match=f"{status} {reason}"):
        dialled.result(TIMEOUT)
    assert relay.is_closed()


def test_a_relay_sends_nothing_on_its_own(relay: FakeRelay) -> None:
    with socket.create_connection(("127.0.0.1", relay.port)) as client:
        peer = relay.accept_raw()
        client.settimeout(0)
        with pytest.raises(BlockingIOError):
            client.recv(1)
        with pytest.raises(AssertionError, match=r"^expected the upgrade request, but nothing arrived within 0\.05 s$"):
            peer.read_request(timeout=SHORT)


def test_a_relay_that_is_asked_for_no_websocket_says_so(relay: FakeRelay) -> None:
    with socket.create_connection(("127.0.0.1", relay.port)) as client:
        client.sendall(b"GET /favicon.ico HTTP/1.1\r\n\r\n")
        with pytest.raises(AssertionError, match=r"not an upgrade request: 'GET /favicon.ico"):
            relay.accept()


def test_a_relay_that_nobody_calls_says_so(relay: FakeRelay) -> None:
    with pytest.raises(AssertionError, match=f"nobody connected to {relay.url} within 0.05 s"):
        relay.accept(timeout=SHORT)
    with pytest.raises(AssertionError, match="nobody connected"):
        relay.accept(timeout=0)


def test_a_relay_stops_listening_and_listens_again_on_its_port(relay: FakeRelay, dial: Dial) -> None:
    relay.stop_listening()
    relay.stop_listening()
    with pytest.raises(ConnectionRefusedError):
        connect(relay.url)
    with pytest.raises(AssertionError, match="does not listen"):
        relay.accept()
    relay.listen()
    relay.listen()
    dialled = dial(relay.url)
    relay.accept()
    assert dialled.result(TIMEOUT).connected


def test_a_relay_can_be_given_its_port() -> None:
    with FakeRelay() as first:
        port = first.port
    with FakeRelay(port=port) as relay:
        assert relay.url == f"ws://localhost:{port}/"
        with pytest.raises(OSError, match="in use"):
            FakeRelay(port=port)


def test_a_relay_picks_another_port_when_its_first_is_taken(monkeypatch: pytest.MonkeyPatch, relay: FakeRelay) -> None:
    offsets = iter([relay.port - 20_000, relay.port - 20_000, relay.port - 20_000 + 1])
    monkeypatch.setattr("secrets.randbelow", lambda _: next(offsets))
    with FakeRelay() as other:
        assert other.port == relay.port + 1
    monkeypatch.setattr("secrets.randbelow", lambda _: relay.port - 20_000)
    with pytest.raises(RuntimeError, match="no free port"):
        FakeRelay()


def test_a_stopped_relay_has_ended_all_its_connections(dial: Dial) -> None:
    relay = FakeRelay()
    dialled = [dial(relay.url) for _ in range(3)]
    peers = [relay.accept() for _ in range(3)]
    assert relay.connections == peers
    relay.stop()
    relay.stop()
    for each in dialled:
        with pytest.raises(websocket.WebSocketConnectionClosedException):
            each.result(TIMEOUT).recv()


def test_a_relay_speaks_for_the_connection_accepted_last(relay: FakeRelay, dial: Dial) -> None:
    with pytest.raises(AssertionError, match=r"expect_req: ws://localhost:\d+/ has accepted no connection"):
        relay.expect_req()
    first = dial(relay.url)
    relay.accept()
    second = dial(relay.url + "second")
    relay.accept()
    relay.notice("to you")
    assert relay.request.startswith("GET /second")
    assert hear(second.result(TIMEOUT)) == ["NOTICE", "to you"]
    relay.connections[0].notice("and to you")
    assert hear(first.result(TIMEOUT)) == ["NOTICE", "and to you"]
    with pytest.raises(AttributeError, match="'FakeRelay' has no attribute 'expect_nonsense'"):
        relay.expect_nonsense()


def test_relays_and_connections_say_what_they_are(relay: FakeRelay, pair: Pair) -> None:
    _, peer = pair
    assert repr(relay) == f"<FakeRelay {relay.url}>"
    assert repr(peer) == "<FakeConnection open>"
    peer.drop()
    assert repr(peer) == "<FakeConnection the relay reset the connection>"


# -- what is expected


def test_each_expectation_returns_what_the_message_says(pair: Pair) -> None:
    client, peer = pair
    event = make_event(content="mine")
    fields = json.loads(json.dumps({name: getattr(event, name) for name in event.__struct_fields__}))
    say(client, ["REQ", "s", {"kinds": [1]}, {"limit": 2}], ["COUNT", "c", {}], ["EVENT", fields], ["AUTH", fields])
    say(client, ["CLOSE", "s"], ["NEG-CLOSE", "n"], ["CLOSE", "skipped"], ["AUTH", 7])
    assert peer.expect_req() == Req("s", [{"kinds": [1]}, {"limit": 2}])
    assert peer.expect_count() == Req("c", [{}])
    assert peer.expect_event() == event
    assert peer.expect_auth() == event
    assert peer.expect_close() == "s"
    assert peer.receive() == ["NEG-CLOSE", "n"]
    assert peer.skip_to("AUTH") == ["AUTH", 7]


EXPECTATIONS = {
    "REQ": FakeConnection.expect_req,
    "COUNT": FakeConnection.expect_count,
    "EVENT": FakeConnection.expect_event,
    "AUTH": FakeConnection.expect_auth,
    "CLOSE": FakeConnection.expect_close,
}


@pytest.mark.parametrize("label", EXPECTATIONS)
def test_an_expectation_that_gets_another_message_shows_it(pair: Pair, label: str) -> None:
    client, peer = pair
    say(client, ["WHAT", "x" * 300])
    with pytest.raises(AssertionError) as caught:
        EXPECTATIONS[label](peer)
    shown = f'["WHAT","{"x" * 191}... (311 characters)'
    article = "an" if label in ("EVENT", "AUTH") else "a"
    assert str(caught.value) == f"expected {article} {label} message, got {shown}"


@pytest.mark.parametrize("label", EXPECTATIONS)
def test_an_expectation_that_gets_a_wrong_shape_shows_it(pair: Pair, label: str) -> None:
    client, peer = pair
    say(client, [label, 7, 7])
    with pytest.raises(AssertionError, match=rf'not a valid {label}: (.*: )?\["{label}",7,7\]$'):
        EXPECTATIONS[label](peer)


@pytest.mark.parametrize("label", [*EXPECTATIONS, "message", "close frame", "frame"])
def test_an_expectation_fails_at_its_deadline_and_not_later(pair: Pair, label: str) -> None:
    expect: Callable[..., Any] = {
        "message": FakeConnection.receive,
        "close frame": FakeConnection.expect_close_frame,
        "frame": FakeConnection.receive_frame,
        **EXPECTATIONS,
    }[label]
    began = time.monotonic()
    with pytest.raises(
        AssertionError, match=rf"expected an? .*{label}( message)?, but nothing arrived within 0\.05 s$"
    ):
        expect(pair[1], timeout=SHORT)
    assert SHORT <= time.monotonic() - began < SHORT + 0.2


def test_skipping_to_a_message_that_does_not_come_ends_at_the_one_deadline(pair: Pair) -> None:
    client, peer = pair
    say(client, ["CLOSE", "a"], ["CLOSE", "b"])
    with pytest.raises(AssertionError, match=r"expected a REQ message, but nothing arrived within 0\.05 s"):
        peer.skip_to("REQ", timeout=SHORT)


def test_an_expectation_shows_the_half_frame_that_came(pair: Pair) -> None:
    client, peer = pair
    client.sock.sendall(b"\x81\xa0mask[")
    with pytest.raises(
        AssertionError, match=r"nothing arrived within 0\.05 s; it has sent part of .* a frame: b'\\x81\\xa0mask\['"
    ):
        peer.expect_req(timeout=SHORT)


def test_an_expectation_does_not_wait_for_a_client_that_closed(pair: Pair) -> None:
    client, peer = pair
    client.send_close(1009, b"too big")
    for _ in range(2):  # it stays true
        with pytest.raises(AssertionError, match=r"a REQ message, but the client sent a close frame .* 1009 'too big'"):
            peer.expect_req()
    assert peer.expect_close_frame() == Close(1009, "too big")


def test_an_expectation_does_not_wait_for_a_client_that_went_away(pair: Pair) -> None:
    client, peer = pair
    say(client, ["CLOSE", "last words"])
    client.shutdown()
    assert peer.expect_close() == "last words"
    with pytest.raises(AssertionError, match="expected a message, but the client ended the connection"):
        peer.receive()


def test_an_expectation_does_not_wait_for_a_client_that_reset(pair: Pair) -> None:
    client, peer = pair
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.shutdown()
    with pytest.raises(AssertionError, match="expected a message, but the client reset the connection"):
        peer.receive()


@pytest.mark.parametrize("text", ["{}", "[]", "no json", "[" * 100_000])
def test_a_text_that_is_no_message_is_shown(pair: Pair, text: str) -> None:
    client, peer = pair
    client.send(text)
    with pytest.raises(
        AssertionError, match=r"expected a message, got something that is not a message: (\{\}|\[|no json)"
    ):
        peer.receive()


def test_a_binary_frame_is_no_message(pair: Pair) -> None:
    client, peer = pair
    client.send_binary(b'["CLOSE","a"]')
    with pytest.raises(AssertionError, match="got something that is not a message: a binary frame: b'"):
        peer.receive()


@pytest.mark.parametrize(
    ("data", "wrong"), [(b"\x81\x02[]", "an unmasked frame"), (b"\x01\x82mask  ", "a fragment, or reserved bits")]
)
def test_a_frame_that_breaks_the_protocol_is_an_end(pair: Pair, data: bytes, wrong: str) -> None:
    client, peer = pair
    say(client, ["CLOSE", "a"])
    client.sock.sendall(data)
    assert peer.expect_close() == "a"
    with pytest.raises(AssertionError, match=f"but the client sent {wrong}: "):
        peer.receive()


def test_frames_are_handed_out_as_they_come(pair: Pair) -> None:
    client, peer = pair
    client.ping("one")
    client.send_binary(bytes(70_000))
    assert peer.receive_frame() == (PING, b"one")
    assert peer.receive_frame() == (BINARY, bytes(70_000))
    client.settimeout(SHORT)
    with pytest.raises(websocket.WebSocketTimeoutException):
        client.recv_data_frame(control_frame=True)  # handed out, a ping is not answered


def test_pings_are_answered_while_a_message_is_waited_for(pair: Pair) -> None:
    client, peer = pair
    client.ping("are you there")
    say(client, ["CLOSE", "a"])
    assert peer.expect_close() == "a"
    opcode, frame = client.recv_data_frame(control_frame=True)
    assert (opcode, frame.data) == (PONG, b"are you there")


def test_the_close_frame_of_the_client_is_read(pair: Pair) -> None:
    client, peer = pair
    say(client, ["CLOSE", "before"])
    client.send_close(1001, b"leaving")
    with pytest.raises(AssertionError, match=r'expected a close frame, got \["CLOSE", "before"\]'):
        peer.expect_close_frame()
    assert peer.expect_close_frame() == Close(1001, "leaving")


def test_a_close_frame_without_a_code_is_read(pair: Pair) -> None:
    client, peer = pair
    client.send(b"", CLOSE)
    assert peer.expect_close_frame() == Close(None, "")


def test_a_peer_knows_whether_the_client_has_gone(pair: Pair) -> None:
    client, peer = pair
    assert not peer.is_closed(timeout=SHORT)
    with pytest.raises(
        AssertionError, match=r"expected the end of the connection, but it is still open after 0\.05 s$"
    ):
        peer.expect_end(timeout=SHORT)
    say(client, ["CLOSE", "last words"])
    with pytest.raises(
        AssertionError, match=r'is still open after 0\.05 s; the client has sent \["CLOSE", "last words"\]$'
    ):
        peer.expect_end(timeout=SHORT)
    client.shutdown()
    assert peer.is_closed()
    peer.expect_end()
    assert peer.receive() == ["CLOSE", "last words"]


@pytest.mark.parametrize("accept", ["Accept: application/nostr+json", "accept:application/NOSTR+JSON, text/html"])
def test_a_request_for_information_is_one_however_its_header_is_spelled(relay: FakeRelay, accept: str) -> None:
    with socket.create_connection(("127.0.0.1", relay.port)) as sock:
        sock.sendall(f"GET / HTTP/1.1\r\nHost: x\r\n{accept}\r\n\r\n".encode())
        peer = relay.refuse(404)
        assert peer.asks_for_information


def test_a_path_or_another_header_is_no_request_for_information(relay: FakeRelay) -> None:
    with socket.create_connection(("127.0.0.1", relay.port)) as sock:
        sock.sendall(b"GET /application/nostr+json HTTP/1.1\r\nX-Accept: application/nostr+json\r\n\r\n")
        assert not relay.refuse(404).asks_for_information


# -- what is sent


def test_each_message_is_sent_as_the_protocol_has_it(pair: Pair) -> None:
    client, peer = pair
    peer.eose("s")
    peer.ok("0" * 64)
    peer.ok("0" * 64, False, "blocked: no")  # noqa: FBT003
    peer.closed("s", "error: x")
    peer.notice("hi")
    peer.auth("challenge")
    peer.count("c", 3)
    peer.send_text("no json")
    assert [hear(client) for _ in range(7)] == [
        ["EOSE", "s"],
        ["OK", "0" * 64, True, ""],
        ["OK", "0" * 64, False, "blocked: no"],
        ["CLOSED", "s", "error: x"],
        ["NOTICE", "hi"],
        ["AUTH", "challenge"],
        ["COUNT", "c", {"count": 3}],
    ]
    assert client.recv() == "no json"


def test_an_event_is_made_up_given_or_anything(pair: Pair) -> None:
    client, peer = pair
    made_up = peer.event("s", content="hello", kind=7, created_at=5, tags=[["e", "1"]], pubkey="a" * 64)
    assert made_up == Event(made_up.id, "a" * 64, 5, 7, [["e", "1"]], "hello", "0" * 128)
    assert made_up.id == made_up.compute_id()
    assert peer.event("s", made_up) is made_up
    peer.event("s", {"id": "no event"})
    heard = [hear(client) for _ in range(3)]
    assert heard[0] == heard[1]
    assert heard[0][:2] == ["EVENT", "s"]
    assert heard[0][2]["content"] == "hello"
    assert heard[2] == ["EVENT", "s", {"id": "no event"}]
    with pytest.raises(TypeError, match="not both"):
        peer.event("s", made_up, content="x")  # type: ignore[call-overload]


def test_made_up_events_differ_and_are_of_now() -> None:
    one, other = make_event(), make_event()
    assert one.id != other.id
    assert one.id == one.compute_id()
    assert one.created_at == pytest.approx(time.time(), abs=5)


def test_frames_are_sent_as_the_test_wants_them(pair: Pair) -> None:
    client, peer = pair
    peer.send_frame(TEXT, b"frag", fin=False)
    peer.ping(b"between")
    peer.send_frame(CONTINUATION, b"ment" * 200)
    assert client.recv() == "frag" + "ment" * 200
    assert peer.receive_frame() == (PONG, b"between")
    peer.send_frame(TEXT, b"masked", masked=True)
    assert client.recv() == "masked"
    peer.send_frame(TEXT, b"reserved", rsv=4)
    with pytest.raises(websocket.WebSocketProtocolException, match="rsv"):
        client.recv()


def test_bytes_are_sent_as_they_are(pair: Pair) -> None:
    client, peer = pair
    peer.raw(b"\x81\x05he")
    peer.raw(b"llo")
    assert client.recv() == "hello"


def test_what_follows_the_upgrade_comes_with_it(relay: FakeRelay, dial: Dial) -> None:
    dialled = dial(relay.url)
    peer = relay.accept_raw()
    peer.read_request()
    peer.upgrade(encode_frame(TEXT, b"at once"))
    assert dialled.result(TIMEOUT).recv() == "at once"


def test_a_close_frame_has_code_and_reason(pair: Pair) -> None:
    client, peer = pair
    peer.close(4000, "go away")
    opcode, frame = client.recv_data_frame(control_frame=True)
    assert (opcode, frame.data) == (CLOSE, b"\x0f\xa0go away")


def test_a_client_that_does_not_read_ends_a_send_in_time_and_loses_nothing(pair: Pair) -> None:
    client, peer = pair
    big, after = encode_frame(TEXT, bytes(20_000_000)), encode_frame(TEXT, b"after it")
    with pytest.raises(TimeoutError, match=r"the client reads too slowly: \d+ bytes are unsent after 0\.05 s"):
        peer.raw(big, timeout=SHORT)
    with client.sock.makefile("rb") as stream, ThreadPoolExecutor(1) as executor:
        received = executor.submit(stream.read, len(big + after))
        peer.raw(after)
        assert received.result(TIMEOUT) == big + after


# -- how it fails


def test_a_dropped_peer_resets_the_connection(pair: Pair) -> None:
    client, peer = pair
    peer.drop()
    peer.drop()
    with pytest.raises(ConnectionResetError):
        client.recv()
    with pytest.raises(AssertionError, match="expected a REQ message, but the relay reset the connection"):
        peer.expect_req()
    with pytest.raises(ConnectionError, match="cannot send: the relay reset the connection"):
        peer.eose("s")


@pytest.mark.parametrize("read", [False, True], ids=["unread", "read"])
def test_a_disconnected_peer_ends_the_connection_without_a_reset(pair: Pair, *, read: bool) -> None:
    client, peer = pair
    client.send("from the client")
    if read:
        assert not peer.is_closed(timeout=SHORT)
    peer.disconnect()
    with pytest.raises(websocket.WebSocketConnectionClosedException):
        client.recv()


@pytest.fixture(params=[False, True], ids=["ws", "wss"])
def pair_of_either(request: pytest.FixtureRequest, dial: Dial) -> Iterator[Pair]:
    with FakeRelay(tls=request.param) as relay:
        dialled = dial(relay.url, **relay.websocket)
        peer = relay.accept()
        yield dialled.result(TIMEOUT), peer


def test_a_connection_that_is_ended_after_the_close_frames_is_not_reset(pair_of_either: Pair) -> None:
    client, peer = pair_of_either
    client.send_close(4000, b"bye")
    assert peer.expect_close_frame() == Close(4000, "bye")
    peer.close(4000, "bye")
    peer.disconnect()
    opcode, frame = client.recv_data_frame(control_frame=True)  # it answers this one, unasked
    assert (opcode, frame.data) == (CLOSE, b"\x0f\xa0bye")
    assert client.sock.recv(1) == b""


def test_a_client_that_sends_all_the_time_gets_all_that_was_sent_before_the_end(pair_of_either: Pair) -> None:
    # What arrives at a closed socket is answered by a reset (RFC 1122, section 4.2.2.13).
    client, peer = pair_of_either
    frame = encode_frame(TEXT, b"x" * 100_000)
    sent = 0
    with pytest.raises(TimeoutError):  # noqa: PT012 - until the system takes no more: the client reads nothing
        while True:
            peer.raw(frame, timeout=SHORT)
            sent += 1
    client.send("unread")
    peer.disconnect()
    with pytest.raises(ConnectionError, match="cannot send: the relay ended the connection"):
        peer.notice("more")
    received = bytearray()
    while data := client.sock.recv(1 << 20):
        received += data
        client.send("unread")
    assert received.startswith(frame * sent)


def test_connections_that_both_have_ended_are_closed_when_the_next_is_accepted(relay: FakeRelay) -> None:
    before = leaks.descriptors()
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", relay.port)) as client:
            relay.accept_raw().disconnect()
            assert client.recv(1) == b""
            # The client, its peer, and perhaps the one before, whose end had not arrived yet.
            assert len(leaks.descriptors() - before) <= 3


def test_a_half_closed_connection_can_be_read(relay: FakeRelay) -> None:
    with Recording(urls=[relay.url], reconnect=False) as client:
        peer = relay.accept()
        client.expect("connect")
        client.feed.send_message(["CLOSE", "before"], relay.url)
        assert peer.expect_close() == "before"
        peer.half_close()
        assert isinstance(client.expect("error").value, ConnectionLost)
        client.expect("disconnect")
        peer.expect_end()


def test_a_stalled_peer_reads_and_answers_nothing_until_it_is_resumed(pair: Pair) -> None:
    client, peer = pair
    peer.stall()
    client.ping("hello?")
    say(client, ["CLOSE", "a"])
    with pytest.raises(AssertionError, match=r"nothing arrived within 0\.05 s: the connection is stalled"):
        peer.expect_close(timeout=SHORT)
    peer.notice("the test's own")
    assert hear(client) == ["NOTICE", "the test's own"]
    peer.resume()
    assert peer.expect_close() == "a"
    assert client.recv_data_frame(control_frame=True)[0] == PONG


def test_a_stalled_relay_is_given_up_by_its_client(relay: FakeRelay) -> None:
    options = {"ping_interval": SHORT, "ping_timeout": SHORT}
    with Recording(urls=[relay.url], options=options, reconnect=False) as client:
        relay.accept()
        relay.stall()
        client.expect("connect")
        assert isinstance(client.expect("error").value, PingTimeout)
        client.expect("disconnect")
        relay.resume()
        relay.expect_end()


def test_a_throttled_peer_sends_in_small_pieces(pair: Pair) -> None:
    client, peer = pair
    peer.throttle(2000)
    began = time.monotonic()
    peer.raw(encode_frame(TEXT, b"x" * 496), timeout=0.1)  # 500 bytes, of which the first 100 need not wait
    took = time.monotonic() - began
    assert 0.19 < took < 1
    assert client.recv() == "x" * 496
    peer.throttle(None)
    began = time.monotonic()
    peer.notice("x" * 100_000)
    assert time.monotonic() - began < 0.5
    assert len(hear(client)[1]) == 100_000


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(pair: Pair, rate: float) -> None:
    with pytest.raises(ValueError, match="above 0, not"):
        pair[1].throttle(rate)


# -- time that stands still


def test_keepalive_over_an_hour_is_answered_while_the_clock_is_moved(relay: FakeRelay) -> None:
    options = {"ping_interval": 30.0, "ping_timeout": 30.0}
    with ManualClock() as clock, Recording(urls=[relay.url], options=options, reconnect=False) as client:
        peer = relay.accept()
        client.expect("connect")
        clock.advance(3600)
        pings = [peer.receive_frame() for _ in range(100)]
        assert {frame.opcode for frame in pings} == {PING}
        client.feed.send_message(["CLOSE", "a"], relay.url)
        assert peer.skip_to("CLOSE") == ["CLOSE", "a"]
        peer.stall()
        clock.advance(60)
        assert isinstance(client.expect("error").value, PingTimeout)
        client.expect("disconnect")


def test_the_work_for_a_clock_queues_all_but_pings_and_never_raises(pair: Pair) -> None:
    client, peer = pair
    (work,) = helpers
    assert work() == 0
    client.ping("now")
    say(client, ["CLOSE", "a"])
    deadline = time.monotonic() + TIMEOUT
    while work() < 2:
        assert time.monotonic() < deadline
    assert client.recv_data_frame(control_frame=True)[0] == PONG
    assert peer.expect_close() == "a"
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.shutdown()
    assert peer.is_closed()
    assert work() == 2
    assert not helpers


@pytest.mark.parametrize(
    "end", [FakeConnection.drop, FakeConnection.disconnect, FakeConnection.stall], ids=["drop", "disconnect", "stall"]
)
def test_only_open_connections_work_for_a_clock(pair: Pair, end: Callable[[FakeConnection], None]) -> None:
    _, peer = pair
    assert len(helpers) == 1
    end(peer)
    assert not helpers
    peer.resume()
    assert len(helpers) == (end is FakeConnection.stall)


def test_a_connection_that_is_not_upgraded_has_no_work(relay: FakeRelay) -> None:
    with socket.create_connection(("127.0.0.1", relay.port)):
        peer = relay.accept_raw()
        peer.stall()
        peer.resume()
        assert not helpers


def test_a_note_of_the_tests_is_an_event_for_all_that_a_relay_knows(pair: Pair) -> None:
    client, peer = pair
    say(client, ["EVENT", note()])
    assert peer.expect_event().content == "hello"  # neither id nor signature is looked at
