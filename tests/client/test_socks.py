"""SOCKS proxies: SOCKS5 (RFC 1928), its user names and passwords (RFC 1929), and SOCKS4a."""

import socket
import sys
import threading
from typing import Any, Self
from urllib.parse import urlsplit

import pytest

from gennostr import Options, Relay, RelayUrlError
from gennostr.client import socks
from gennostr.client.information_client import relay_information
from gennostr.exceptions import ConnectionLost, HandshakeError
from gennostr.testing import FakeRelay
from gennostr.testing.memory_relay import MemoryRelay
from tests.client.networks import resolve
from tests.client.recorder import Recording

ONION = "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrstuvwx.onion"


class Proxy:
    """A proxy for one connection: it sends `answers`, byte by byte, and then joins the client to a port.

    Each answer comes with the number of bytes that are read before it.
    """

    def __init__(self, answers: list[tuple[int, bytes]], port: int | None = None) -> None:
        self.answers = answers
        self.port = port
        self.read: list[bytes] = []

    def __enter__(self) -> Self:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.thread.join()
        self.listener.close()

    def run(self) -> None:
        client, _ = self.listener.accept()
        client.settimeout(5)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with client:
            for size, answer in self.answers:
                data = b""
                while len(data) < size:
                    chunk = client.recv(size - len(data))
                    if not chunk:
                        return
                    data += chunk
                self.read.append(data)
                for byte in answer:
                    client.sendall(bytes([byte]))
            if self.port is not None:
                with socket.create_connection(("127.0.0.1", self.port)) as server:
                    back = threading.Thread(target=join, args=(server, client))
                    back.start()
                    join(client, server)
                    back.join()


def join(one: socket.socket, other: socket.socket) -> None:
    try:
        while data := one.recv(65536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def through(proxy: str, url: str = f"ws://{ONION}:7777") -> dict[str, Any]:
    return {"urls": [url], "options": {"websocket": {"proxy": proxy}}, "reconnect": False}


REQUEST = b"\5\1\0\3" + bytes([len(ONION)]) + ONION.encode() + (7777).to_bytes(2, "big")
GRANTED = b"\5\0\0\1\0\0\0\0\0\0"


@pytest.mark.parametrize("scheme", ["socks5h", "socks5", "SOCKS5"])
def test_a_name_is_looked_up_by_the_proxy(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 1928, section 5, ATYP 3. RFC 7686, section 2: a .onion name is not given to the system's resolver."""
    asked = resolve(monkeypatch, {ONION: []})
    with FakeRelay() as relay, Proxy([(3, b"\5\0"), (len(REQUEST), GRANTED)], relay.port) as proxy:
        with Recording(**through(f"{scheme}://{proxy.address}")) as client:
            peer = relay.accept()
            client.expect("connect")
            peer.disconnect()
            client.expect("error", "disconnect")
        assert proxy.read == [b"\5\1\0", REQUEST]
        assert asked == []


def test_user_and_password_are_sent_to_a_proxy_that_wants_them() -> None:
    """RFC 1929, section 2. Tor isolates streams by them."""
    login = b"\1\4us:r\3p\xc3\xa4"
    answers = [(4, b"\5\2"), (len(login), b"\1\0"), (len(REQUEST), b"\5\0\0\3\3abc\0\1")]
    with FakeRelay() as relay, Proxy(answers, relay.port) as proxy:
        with Recording(**through(f"socks5h://us%3Ar:p%C3%A4@{proxy.address}")) as client:
            peer = relay.accept()
            client.expect("connect")
            peer.disconnect()
            client.expect("error", "disconnect")
        assert proxy.read == [b"\5\2\0\2", login, REQUEST]


def test_socks4a_sends_the_name_after_an_address_that_does_not_exist() -> None:
    """SOCKS 4A: 0.0.0.x with x not 0, and the name after the user."""
    request = b"\4\1" + (7777).to_bytes(2, "big") + b"\0\0\0\xffme\0" + ONION.encode() + b"\0"
    with FakeRelay() as relay, Proxy([(len(request), b"\0\x5a\0\0\0\0\0\0")], relay.port) as proxy:
        with Recording(**through(f"socks4a://me@{proxy.address}")) as client:
            peer = relay.accept()
            client.expect("connect")
            peer.disconnect()
            client.expect("error", "disconnect")
        assert proxy.read == [request]


def test_an_information_document_comes_through_the_proxy_too() -> None:
    with (
        MemoryRelay(information={"name": "hidden"}) as relay,
        Proxy([(3, b"\5\0"), (len(REQUEST), GRANTED)], urlsplit(relay.url).port) as proxy,
    ):
        found = relay_information(f"ws://{ONION}:7777", websocket={"proxy": f"socks5h://{proxy.address}"}, timeout=5)
        assert found.name == "hidden"


def told(proxy: str, *answers: bytes, host: str = "relay.example") -> tuple[list[bytes], BaseException | None]:
    """Return what is sent to a proxy that gives these answers, and how it ends."""
    talk = socks.connect(urlsplit(proxy), host, 443)
    stream = b"".join(answers)
    sent = []
    try:
        data, size = next(talk)
        while True:
            sent.append(data)
            answer, stream = stream[:size], stream[size:]
            assert len(answer) == size
            data, size = talk.send(answer)
    except StopIteration:
        assert stream == b""
        return sent, None
    except HandshakeError as error:
        return sent, error


@pytest.mark.parametrize(
    ("host", "sent"),
    [("10.1.2.3", b"\1\x0a\1\2\3"), ("::1", b"\4" + bytes(15) + b"\1"), ("relay.example", b"\3\x0drelay.example")],
)
def test_an_address_is_sent_as_one(host: str, sent: bytes) -> None:
    """RFC 1928, section 5."""
    assert told("socks5h://proxy", b"\5\0", GRANTED, host=host)[0][1] == b"\5\1\0" + sent + b"\1\xbb"


def test_socks4_takes_an_ipv4_address_in_its_place_and_no_ipv6() -> None:
    assert told("socks4a://proxy", b"\0\x5a" + bytes(6), host="10.1.2.3")[0] == [b"\4\1\1\xbb\x0a\1\2\3\0"]
    assert "IPv6" in str(told("socks4a://proxy", host="::1")[1])


@pytest.mark.parametrize(
    ("proxy", "answers", "problem"),
    [
        ("socks5h://proxy", [b"\5\xff"], "wants a user name and password"),
        ("socks5h://proxy", [b"\5\2"], "wants a user name and password"),
        ("socks5h://u:p@proxy", [b"\5\xff"], "refuses the user name and password"),
        ("socks5h://u:p@proxy", [b"\5\2", b"\1\1"], "refused the user name or the password"),
        ("socks5h://proxy", [b"HT"], "not SOCKS"),
        ("socks5h://proxy", [b"\5\x77"], "not SOCKS"),
        ("socks5h://proxy", [b"\5\0", b"\4\0"], "not SOCKS"),
        ("socks5h://proxy", [b"\5\0", b"\5\4"], r"host unreachable \(reply 4\)"),
        ("socks5h://proxy", [b"\5\0", b"\5\xf0"], r"unknown reason \(reply 240\)"),
        ("socks5h://proxy", [b"\5\0", b"\5\0\0\2"], "unknown type 2"),
        ("socks4a://proxy", [b"\0\x5b" + bytes(6)], r"request rejected or failed \(reply 91\)"),
        ("socks4a://proxy", [b"HTTP/1.1"], "not SOCKS"),
    ],
)
def test_a_refusal_says_why(proxy: str, answers: list[bytes], problem: str) -> None:
    """RFC 1928, sections 3 and 6."""
    _, error = told(proxy, *answers)
    with pytest.raises(HandshakeError, match=problem):
        raise error or AssertionError("not refused")


def test_a_proxy_that_ends_the_connection_is_an_error_of_the_attempt() -> None:
    with Proxy([(3, b"\5")]) as proxy, Recording(**through(f"socks5h://{proxy.address}")) as client:
        error = client.expect("error").value
        assert isinstance(error, ConnectionLost)
        assert "the proxy ended the connection" in str(error)


@pytest.mark.parametrize(
    "proxy",
    ["socks5h://secret@host", "socks5h://:secret@host", "socks5h://secret:@host", f"socks5h://u:{'secret' * 43}@host",
     "socks4a://u:secret@host", "socks4a://secret%00@host", "socks5h://u:secret@", "socks5h://u:secret@host:0",
     "socks5h://u:secret@host/path"],
)  # fmt: skip
def test_a_proxy_that_cannot_be_used_is_an_error_in_the_caller_that_shows_no_secret(proxy: str) -> None:
    """RFC 1929, section 2: 1 to 255 bytes each."""
    with pytest.raises(ValueError, match=r"websocket\['proxy'\]") as caught:
        Options(websocket={"proxy": proxy})
    assert "secret" not in str(caught.value)


def test_without_socksio_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    with Recording() as client, pytest.raises(ImportError, match=r"pip install 'gennostr\[socks\]'"):
        client.feed.add_relay(f"ws://{ONION}", websocket={"proxy": "socks5h://127.0.0.1:9050"})


@pytest.mark.parametrize("url", [f"ws://{ONION}", f"wss://{ONION.upper()}.:8080/path"])
def test_an_onion_host_without_a_proxy_is_an_error_that_says_so(url: str) -> None:
    """RFC 7686, section 2: software that does not use Tor generates an error, without a lookup."""
    with Recording() as client:
        with pytest.raises(RelayUrlError, match=r"Tor only: set its proxy"):
            client.feed.add_relay(url)
        client.feed.add_relay(Relay(f"ws://{ONION}/").url, websocket={"proxy": "http://127.0.0.1:1"}, reconnect=[60.0])
        assert client.expect("error").value.errno


def test_a_relay_that_was_made_without_checks_is_not_looked_up_either() -> None:
    with Recording() as client:
        client.feed.reconnect(Relay(f"ws://{ONION}/"), 0)
        assert isinstance(client.expect("error").value, RelayUrlError)
