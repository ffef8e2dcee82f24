"""The dial: names and addresses, the request as it is sent, and what is answered to it, piece by piece."""

import base64
import hashlib
import pickle
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from gennostr import REMOVE_RELAY, ConnectTimeout, HandshakeError, tree
from gennostr.client import dial
from gennostr.client.dial import NEXT_ADDRESS
from gennostr.testing import ManualClock
from gennostr.testing.fake_relay import FakeRelay
from gennostr.testing.relay_socket import TEXT, encode_frame
from tests.client.networks import await_deadline, black_hole, hanging_resolver, resolve
from tests.client.recorder import Recording


def nodes(root: Any) -> list[Any]:
    return [root, *(node for child in root.children for node in nodes(child))]


@pytest.fixture
def relay() -> Iterator[FakeRelay]:
    with FakeRelay() as relay:
        yield relay


def test_an_address_is_dialled_by_the_connections_thread_alone(
    relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dial, "Lookup", None)
    with Recording(urls=[relay.url.replace("localhost", "127.0.0.1")]) as client:
        peer = relay.accept_raw()
        peer.read_request()  # the dial waits for the answer
        (node,) = [each for each in nodes(tree(client.feed)) if each.pid.actor_class.__name__ == "Connection"]
        assert node.children == ()
        peer.upgrade()
        client.expect("connect")


def test_a_relay_is_removed_at_once_while_its_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with hanging_resolver(monkeypatch) as asked, Recording(urls=["ws://relay.example"]) as client:
        assert asked.get(timeout=5) == "relay.example"
        client.feed.remove_relay("ws://relay.example")
        assert client.expect("disconnect").value is REMOVE_RELAY
        assert client.feed.list_relays() == []
        client.expect_nothing(0.05)


def test_all_attempts_at_a_host_share_one_lookup_that_hangs_and_their_error_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each attempt left a thread behind, for as long as the system's resolver waits for its name servers."""
    options = {"connect_timeout": 0.01, "reconnect": [0.0]}
    with (
        hanging_resolver(monkeypatch) as asked,
        Recording(
            urls=["ws://relay.example", "wss://relay.example", "ws://relay.example:4848"], options=options
        ) as client,
    ):
        for _ in range(20):
            error = next(each.value for each in (client.next(), client.next()) if each.name == "error")
            assert isinstance(error, ConnectTimeout)
            assert "the name lookup of relay.example hangs" in str(error)
        assert asked.get(timeout=5) == "relay.example"
        assert asked.empty()


def test_a_name_without_an_address_is_an_error_of_the_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*arguments: Any, **options: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with Recording(urls=["ws://relay.example"], reconnect=False) as client:
        error = client.expect("error").value
        assert isinstance(error, socket.gaierror)
        assert client.expect("disconnect").value is error


def test_the_next_address_is_tried_where_one_refuses(relay: FakeRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refusing = taken.getsockname()
    port = int(relay.url.rstrip("/").rpartition(":")[2])

    def getaddrinfo(*arguments: Any, **options: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", each) for each in (refusing, ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with Recording(urls=[f"ws://relay.example:{port}"]) as client:
        relay.accept()
        client.expect("connect")


def test_a_first_address_that_swallows_packets_costs_a_quarter_of_a_second(
    monkeypatch: pytest.MonkeyPatch, manual_clock: ManualClock
) -> None:
    """RFC 8305, section 5: the Connection Attempt Delay is 250 ms."""
    with black_hole("127.0.0.2") as (hole, port), FakeRelay(port=port) as relay:
        resolve(monkeypatch, {"relay.example": [hole, "127.0.0.1"]})
        with Recording(urls=[f"ws://relay.example:{port}"], options={"close_timeout": 0}) as client:
            await_deadline(manual_clock, NEXT_ADDRESS)
            before = manual_clock.monotonic()
            manual_clock.advance(NEXT_ADDRESS)
            peer = relay.accept()
            assert client.expect("connect").relay.up_since == before + NEXT_ADDRESS
            peer.disconnect()
            client.expect("error", "disconnect")


def test_all_addresses_that_swallow_packets_are_named_at_the_timeout(
    monkeypatch: pytest.MonkeyPatch, manual_clock: ManualClock
) -> None:
    with black_hole("127.0.0.2") as (_, port):
        holes = ["127.0.0.2"] * 2
        resolve(monkeypatch, {"relay.example": holes})
        with Recording(urls=[f"ws://relay.example:{port}"], reconnect=False) as client:
            manual_clock.advance(15)
            error = client.expect("error").value
            assert isinstance(error, ConnectTimeout)
            assert str(error).endswith(f"not connected within 15.0 s: no answer from 127.0.0.2, port {port}")


def address(number: int, family: int = socket.AF_INET) -> Any:
    return (family, socket.SOCK_STREAM, 6, "", (f"address {number}", 443))


def test_families_take_turns_beginning_with_that_of_the_first_address() -> None:
    """RFC 8305, section 4."""
    six = [address(number, socket.AF_INET6) for number in range(4)]
    four = [address(number) for number in range(2)]
    assert dial.interleaved([*six, *four]) == [six[0], four[0], six[1], four[1], six[2], six[3]]
    assert dial.interleaved([*four, *six]) == [four[0], six[0], four[1], six[1], six[2], six[3]]
    assert dial.interleaved([four[1], six[0], four[1], four[0]]) == [four[1], six[0], four[0]]
    assert dial.interleaved([]) == []


def request_of(relay: FakeRelay, url: str | None = None, **websocket: Any) -> list[str]:
    with Recording(urls=[url or relay.url], options={"websocket": websocket}) as client:
        peer = relay.accept_raw()
        request = peer.read_request()
        peer.upgrade()
        client.expect("connect")
    return request.split("\r\n")


@pytest.mark.parametrize("headers", [{"X-One": "1", "X-Number": 2}, ["X-One: 1", "X-Number: 2"]], ids=["map", "lines"])
def test_headers_are_sent_as_a_mapping_or_as_lines(relay: FakeRelay, headers: Any) -> None:
    lines = request_of(relay, headers=headers)
    assert {"X-One: 1", "X-Number: 2"} <= set(lines)


def test_a_header_may_come_twice(relay: FakeRelay) -> None:
    lines = request_of(relay, headers=["X-Twice: 1", "X-Twice: 2"])
    assert [line for line in lines if line.startswith("X-Twice")] == ["X-Twice: 1", "X-Twice: 2"]


def test_the_request_has_each_header_of_the_handshake_once(relay: FakeRelay) -> None:
    lines = request_of(
        relay, relay.url.replace("://", "://user:p%40ss@") + "path?a=1", origin="https://me.example", cookie="a=b"
    )
    names = [line.partition(":")[0] for line in lines[1:] if line]
    assert sorted(names) == [
        "Authorization", "Connection", "Cookie", "Host", "Origin",
        "Sec-WebSocket-Extensions", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Upgrade",
    ]  # fmt: skip
    assert lines[0] == "GET /path?a=1 HTTP/1.1"
    assert "Authorization: Basic dXNlcjpwQHNz" in lines
    assert {"Origin: https://me.example", "Cookie: a=b"} <= set(lines)


def test_two_attempts_have_two_keys(relay: FakeRelay) -> None:
    keys = {line for _ in range(2) for line in request_of(relay) if line.startswith("Sec-WebSocket-Key")}
    assert len(keys) == 2


def answered(relay: FakeRelay, answer: bytes) -> Any:
    with Recording(urls=[relay.url], reconnect=False) as client:
        peer = relay.accept_raw()
        peer.read_request()
        peer.raw(answer)
        return client.expect("error").value


SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        SWITCHING + b"\r\n",
        SWITCHING + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        SWITCHING + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: bm90IHRoZSBrZXkncw==\r\n\r\n",
        SWITCHING + b"Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        SWITCHING + b"no header at all\r\n\r\n",
        SWITCHING + b"\xff\xfe: x\r\n\r\n",
        SWITCHING + b"A: b\n\nConnection: Upgrade\r\n\r\n",
        b"101 Switching\r\n\r\n",
        b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
    ],
    ids=range(10),
)
def test_an_answer_that_is_none_is_an_error(relay: FakeRelay, answer: bytes) -> None:
    assert isinstance(answered(relay, answer), HandshakeError)


def switched(relay: FakeRelay, lines: str, before: bytes = b"", **websocket: Any) -> Any:
    """What a client makes of a 101 with these lines: None if it is connected, or the error."""
    with Recording(urls=[relay.url], reconnect=False, options={"websocket": websocket}) as client:
        peer = relay.accept_raw()
        key = next(line for line in peer.read_request().split("\r\n") if line.startswith("Sec-WebSocket-Key"))
        accept = hashlib.sha1(key.partition(": ")[2].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        lines = f"Sec-WebSocket-Accept: {base64.b64encode(accept).decode()}\r\n{lines}\r\n"
        peer.raw(before + SWITCHING + lines.encode())
        first = client.next()
        return None if first.name == "connect" else first.value


UPGRADED = "Upgrade: WebSocket\r\nConnection: keep-alive\r\nConnection: Upgrade\r\n"


@pytest.mark.parametrize("lines", ["", "Sec-WebSocket-Protocol: nostr\r\n"], ids=["none", "one"])
def test_a_relay_may_choose_a_subprotocol_or_none(relay: FakeRelay, lines: str) -> None:
    """RFC 6455, section 4.2.2, /subprotocol/: "the absence of such a field is equivalent to the null value"."""
    assert switched(relay, UPGRADED + lines, subprotocols=["other", "nostr"]) is None


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ("Sec-WebSocket-Protocol: mqtt\r\n", "the subprotocol 'mqtt'"),
        ("Sec-WebSocket-Protocol: nostr, other\r\n", "the subprotocol 'nostr, other'"),
        ("Sec-WebSocket-Extensions: x-made-up\r\n", "the extension 'x-made-up'"),
        (
            'sec-websocket-extensions: permessage-deflate\r\nSec-Websocket-Extensions: foo; e="ab"\r\n',
            "extension 'foo'",
        ),
    ],
)
def test_a_subprotocol_or_extension_that_was_not_requested_fails_the_handshake(
    relay: FakeRelay, lines: str, named: str
) -> None:
    """RFC 6455, section 4.1, 5 and 6 of the checks of the response."""
    error = switched(relay, UPGRADED + lines, subprotocols=["nostr", "other"])
    assert isinstance(error, HandshakeError)
    assert f"{named}, which was not requested" in str(error)
    assert error.status == 101


def test_a_subprotocol_without_any_request_for_one_fails_the_handshake(relay: FakeRelay) -> None:
    error = switched(relay, UPGRADED + "Sec-WebSocket-Protocol: nostr\r\n")
    assert "the subprotocol 'nostr', which was not requested" in str(error)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("Upgrade: websocket\r\n", "its Connection header is missing"),
        ("Upgrade: websocket\r\nConnection: close\r\n", "its Connection header is 'close'"),
        ("Upgrade: h2c\r\nConnection: upgrade\r\n", "its Upgrade header is 'h2c'"),
        (UPGRADED + "Sec-WebSocket-Accept: x\r\n", "does not match our key"),
    ],
)
def test_what_is_wrong_with_a_101_is_named(relay: FakeRelay, lines: str, problem: str) -> None:
    assert problem in str(switched(relay, lines))


def test_interim_answers_are_skipped(relay: FakeRelay) -> None:
    """RFC 9110, section 15.2: "A client MUST be able to parse one or more 1xx responses"."""
    before = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    )
    assert switched(relay, UPGRADED, before) is None


def test_interim_answers_together_have_a_limit(relay: FakeRelay) -> None:
    error = answered(relay, b"HTTP/1.1 102 Processing\r\n\r\n" * 5000)
    assert "has more than 65536 bytes" in str(error)


def test_a_redirect_says_where(relay: FakeRelay) -> None:
    error = answered(relay, b"HTTP/1.1 308 Moved\r\nLocation: wss://new.example/\r\nVia: a\r\nvia: b\r\n\r\n")
    assert isinstance(error, HandshakeError)
    assert (error.status, error.location) == (308, "wss://new.example/")
    assert error.headers == {"location": "wss://new.example/", "via": "a, b"}
    assert "wss://new.example/" in str(error)
    copied = pickle.loads(pickle.dumps(error))
    assert (copied.location, copied.headers) == (error.location, error.headers)


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        (b"Retry-After: 120\r\n", 120.0),
        (b"Retry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\nDate: Fri, 31 Dec 1999 23:59:29 GMT\r\n", 30.0),
        (b"Retry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n", 0.0),
        (b"Retry-After: soon\r\n", None),
        (b"Retry-After: -5\r\n", None),
        (b"Retry-After: " + b"9" * 5000 + b"\r\n", None),
        (b"", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(relay: FakeRelay, lines: bytes, seconds: float | None) -> None:
    """RFC 9110, section 10.2.3."""
    assert answered(relay, b"HTTP/1.1 503 Unavailable\r\n" + lines + b"\r\n").retry_after == seconds


@pytest.mark.parametrize(("asked", "least", "most"), [(20, 20, 25), (3600, 30, 37.5), (0, 0.75, 1.25)])
def test_the_next_attempt_waits_as_the_relay_wants_up_to_the_longest_delay(
    relay: FakeRelay, manual_clock: ManualClock, asked: int, least: float, most: float
) -> None:
    with Recording(urls=[relay.url], options={"reconnect": [1.0, 30.0]}) as client:
        peer = relay.accept_raw()
        peer.read_request()
        peer.raw(f"HTTP/1.1 429 Too Many Requests\r\nRetry-After: {asked}\r\n\r\n".encode())
        assert client.expect("error", "disconnect").relay.retry_after == asked
        manual_clock.advance(0)
        due = manual_clock.next_due()
        assert due is not None
        assert least <= due <= most
        manual_clock.advance(due)
        relay.accept_raw()


def test_a_trailing_dot_is_no_part_of_the_name_in_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 6066, section 3: HostName is "without a trailing dot"."""
    resolve(monkeypatch, {"localhost.": ["127.0.0.1"]})
    with FakeRelay(tls=True) as relay:
        url = relay.url.replace("localhost", "localhost.")
        with Recording(urls=[url], options={"websocket": relay.websocket}) as client:
            relay.accept()
            client.expect("connect")


def test_an_answer_in_single_bytes_with_the_first_frames_behind_it_connects(relay: FakeRelay) -> None:
    with Recording(urls=[relay.url]) as client:
        peer = relay.accept_raw()
        peer.read_request()
        peer.throttle(20_000)
        text = b'["NOTICE","first"]'
        peer.upgrade(bytes((0x81, len(text))) + text)
        client.expect("connect")
        assert client.expect("notice").value.message == "first"


def test_what_came_in_the_same_tls_record_as_the_answer_is_delivered_though_nothing_follows() -> None:
    notice = encode_frame(TEXT, b'["NOTICE","' + b"x" * 100 + b'"]')
    with FakeRelay(tls=True) as relay, Recording(urls=[relay.url], options={"websocket": relay.websocket}) as client:
        peer = relay.accept_raw()
        peer.start_tls()
        peer.read_request()
        peer.upgrade(notice * 120)
        client.expect("connect", *["notice"] * 120)


def test_what_came_before_the_end_of_a_tls_connection_is_delivered_before_the_end() -> None:
    notice = encode_frame(TEXT, b'["NOTICE","' + b"x" * 1000 + b'"]')
    with FakeRelay(tls=True) as relay, Recording(urls=[relay.url], options={"websocket": relay.websocket}) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.raw(notice * 100)
        peer.disconnect()
        client.expect(*["notice"] * 100, "error", "disconnect")
