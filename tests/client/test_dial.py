"""The dial: names and addresses, the request as it is sent, and what is answered to it, piece by piece."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from gennostr import REMOVE_RELAY, HandshakeError, tree
from gennostr.client import dial
from gennostr.testing.fake_relay import FakeRelay
from gennostr.testing.relay_socket import TEXT, encode_frame
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
    monkeypatch.setattr(dial, "Resolver", None)
    with Recording(urls=[relay.url.replace("localhost", "127.0.0.1")]) as client:
        peer = relay.accept_raw()
        peer.read_request()  # the dial waits for the answer
        (node,) = [each for each in nodes(tree(client.feed)) if each.pid.actor_class.__name__ == "Connection"]
        assert node.children == ()
        peer.upgrade()
        client.expect("connect")


def test_a_name_is_looked_up_by_an_actor_that_ends_with_its_connection(
    relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answer = threading.Event(), threading.Event()

    def getaddrinfo(*arguments: Any, **options: Any) -> Any:
        asked.set()
        assert answer.wait(5)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with Recording(urls=["ws://relay.example"]) as client:
        assert asked.wait(5)
        shown = str(tree(client.feed))
        assert "Resolver" in shown
        client.feed.remove_relay("ws://relay.example")
        assert client.expect("disconnect").value is REMOVE_RELAY
        assert client.feed.list_relays() == []
        answer.set()
        client.expect_nothing(0.05)


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
        "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Upgrade",
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
