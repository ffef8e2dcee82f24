"""A relay's information over HTTP: how it is asked for, what is refused, and that nobody can keep it waiting."""

import gzip
import json
import random
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from gennostr import KILL, GenServer, NoReply, Ok
from gennostr.client import information_client
from gennostr.client.dial import NEXT_ADDRESS, Headers
from gennostr.client.information_client import InformationRequest, relay_information
from gennostr.client.options import Relay
from gennostr.exceptions import (
    ConnectionLost,
    ConnectTimeout,
    GenNostrError,
    HandshakeError,
    MessageError,
    RelayUrlError,
)
from gennostr.nostr import RelayInformation
from gennostr.testing.fake_relay import FakeConnection, FakeRelay
from gennostr.testing.manual_clock import ManualClock
from gennostr.testing.memory_relay import MemoryRelay
from tests.client.networks import await_deadline, black_hole, hanging_resolver, resolve
from tests.relays import NostrRelay

WAIT = 10.0
"""Seconds that a test waits for what is to come at once."""
FINE = b"HTTP/1.1 200 OK\r\n"
CHUNKED = FINE + b"Transfer-Encoding: chunked\r\n\r\n"
DOCUMENT = b'{"name": "of a test"}'

Ask = Callable[..., Future[RelayInformation]]


@pytest.fixture
def relay() -> Iterator[FakeRelay]:
    with FakeRelay() as relay:
        yield relay


@pytest.fixture
def ask() -> Iterator[Ask]:
    """`relay_information` in another thread."""
    with ThreadPoolExecutor() as pool:
        yield lambda *arguments, **options: pool.submit(relay_information, *arguments, **options)


def sized(body: bytes) -> bytes:
    return FINE + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


def chunked(body: bytes, size: int = 100) -> bytes:
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    return CHUNKED + b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in [*chunks, b""])


def unsized(body: bytes) -> bytes:
    return FINE + b"\r\n" + body


def requested(relay: FakeRelay) -> FakeConnection:
    peer = relay.accept_raw()
    peer.read_request()
    return peer


def answered(relay: FakeRelay, answer: bytes, **options: Any) -> Any:
    """Return what the information was, or what was raised, when the relay has answered so and ended the connection."""
    with ThreadPoolExecutor() as pool:
        information = pool.submit(relay_information, relay.url, **options)
        peer = requested(relay)
        with suppress(OSError):  # it may have had enough before the end
            peer.raw(answer)
        peer.disconnect()
        return information.exception(WAIT) or information.result()


def request_of(relay: FakeRelay, url: str, **options: Any) -> list[str]:
    """Return the lines of the request."""
    with ThreadPoolExecutor() as pool:
        information = pool.submit(relay_information, url, **options)
        peer = requested(relay)
        peer.raw(sized(DOCUMENT))
        assert information.result(WAIT).name == "of a test"
        return peer.request.split("\r\n")


# How it is asked for.


def test_the_request_is_a_get_of_the_relays_own_url_that_accepts_nostr_json(relay: FakeRelay) -> None:
    lines = request_of(relay, relay.url)
    assert lines == [
        "GET / HTTP/1.1", f"Host: localhost:{relay.port}", "Accept: application/nostr+json", "Connection: close",
    ]  # fmt: skip


def test_path_and_query_of_the_url_are_asked_for_in_ascii(relay: FakeRelay) -> None:
    assert request_of(relay, relay.url + "ü/a%20b?x=é&y=%2f")[0] == "GET /%C3%BC/a%20b?x=%C3%A9&y=%2f HTTP/1.1"


def test_user_and_password_of_the_url_are_sent_as_basic_authorization(relay: FakeRelay) -> None:
    lines = request_of(relay, relay.url.replace("://", "://user:p%40ss@"))
    assert "Authorization: Basic dXNlcjpwQHNz" in lines
    assert f"Host: localhost:{relay.port}" in lines


@pytest.mark.parametrize("headers", [{"X-One": "ü", "X-Number": 2}, ["X-One: ü", "X-Number: 2"]], ids=["map", "lines"])
def test_headers_host_cookie_and_origin_of_the_relays_options_are_sent(relay: FakeRelay, headers: Any) -> None:
    websocket = {"headers": headers, "host": "other.example", "cookie": "a=b", "origin": "https://me.example"}
    lines = request_of(relay, relay.url, websocket=websocket)
    wanted = {"X-Number: 2", "Host: other.example", "Cookie: a=b", "Origin: https://me.example"}
    assert wanted <= set(lines)
    assert "X-One: ü".encode().decode("latin-1") in lines
    assert len(lines) == 8


def test_a_header_of_the_options_does_not_replace_one_of_the_request(relay: FakeRelay) -> None:
    headers = ["accept: text/html", "HOST: other.example", "Connection: keep-alive", "X-Twice: 1", "X-Twice: 2"]
    lines = request_of(relay, relay.url, websocket={"headers": headers})
    assert len(lines) == 6
    assert lines[1:4] == [f"Host: localhost:{relay.port}", "Accept: application/nostr+json", "Connection: close"]
    assert lines[4:] == ["X-Twice: 1", "X-Twice: 2"]


def test_sockopt_of_the_options_is_set(relay: FakeRelay) -> None:
    with pytest.raises(OSError, match="Protocol not available"):
        relay_information(relay.url, websocket={"sockopt": [(socket.IPPROTO_TCP, 9999, 1)]})


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
def test_a_relay_that_has_information_gives_it(*, tls: bool) -> None:
    given = {"name": "x" * 50_000, "self": "5" * 64, "supported_nips": [1, 11], "limitation": {"max_limit": 3}}
    with MemoryRelay(tls=tls, information=given) as relay:
        information = relay_information(relay.url, websocket=relay.websocket)
        assert information.document == given
        assert information.limitation.max_limit == 3
        assert relay.connections == 0


def test_nostr_relay_says_its_name_and_its_nips(nostr_relay: NostrRelay) -> None:
    information = relay_information(nostr_relay.url)
    assert information.name == "gennostr test relay"
    assert information.description == "nostr-relay under test"
    assert {1, 11} <= set(information.supported_nips)
    assert information.version
    assert information.limitation.max_limit is None


def test_behind_a_proxy_tls_is_done_and_checked_with_the_relay(ask: Ask) -> None:
    with FakeRelay(tls=True) as relay:
        proxy = f"http://user:p%40ss@127.0.0.1:{relay.port}"
        information = ask("wss://localhost:4444/path", websocket={**relay.websocket, "proxy": proxy})
        peer = requested(relay)
        assert peer.request.startswith("CONNECT localhost:4444 HTTP/1.1\r\n")
        assert "Proxy-Authorization: Basic dXNlcjpwQHNz" in peer.request
        assert "/path" not in peer.request
        peer.raw(b"HTTP/1.1 200 Connection established\r\n\r\n")
        peer.start_tls()  # raises for anything in the clear
        peer._wire.request = ""
        assert peer.read_request().startswith("GET /path HTTP/1.1\r\nHost: localhost:4444\r\n")
        peer.raw(sized(DOCUMENT))
        assert information.result(WAIT).name == "of a test"


def test_the_next_address_is_tried_where_one_refuses(relay: FakeRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refusing = taken.getsockname()

    def getaddrinfo(*arguments: Any, **options: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", each) for each in (refusing, ("127.0.0.1", relay.port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert request_of(relay, f"ws://relay.example:{relay.port}")[1] == f"Host: relay.example:{relay.port}"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"nonesuch": 1}, "nonesuch"),
        ({"websocket": {"nonesuch": 1}}, "nonesuch"),
        ({"websocket": {"headers": {"X": "a\r\nB: c"}}}, "header"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": "soon"}, "timeout"),
        ({"max_size": 0}, "max_size"),
        ({"max_size": 1.5}, "max_size"),
    ],
    ids=str,
)
def test_an_option_that_cannot_be_is_an_error_in_the_caller(
    relay: FakeRelay, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=problem):
        relay_information(relay.url, **options)


def test_a_url_that_is_none_of_a_relay_is_refused() -> None:
    with pytest.raises(RelayUrlError):
        relay_information("https://relay.example")


# What is an answer.


@pytest.mark.parametrize("framed", [sized, chunked, unsized])
@pytest.mark.parametrize("size", [2, 1000, 65536])
def test_information_of_the_size_that_it_may_have_is_read(
    relay: FakeRelay, framed: Callable[[bytes], bytes], size: int
) -> None:
    body = b"{" + b" " * (size - 2) + b"}"
    assert answered(relay, framed(body), max_size=size) == RelayInformation()


@pytest.mark.parametrize("framed", [sized, chunked, unsized])
def test_information_of_a_byte_more_is_refused(relay: FakeRelay, framed: Callable[[bytes], bytes]) -> None:
    error = answered(relay, framed(b"{" + b" " * 99 + b"}"), max_size=100)
    assert isinstance(error, MessageError)
    assert str(error) == f"{relay.url}: the information document has more than 100 bytes"


def test_a_length_that_is_too_much_is_refused_before_anything_of_it_is_there(relay: FakeRelay, ask: Ask) -> None:
    information = ask(relay.url)
    requested(relay).raw(FINE + b"Content-Length: 65537\r\n\r\n")
    assert isinstance(information.exception(WAIT), MessageError)


def test_the_end_of_a_document_is_not_waited_for_where_its_length_is_known(relay: FakeRelay, ask: Ask) -> None:
    for answer in (sized(DOCUMENT), chunked(DOCUMENT)):
        information = ask(relay.url)
        peer = requested(relay)
        peer.raw(answer)
        assert information.result(WAIT).name == "of a test"
        assert peer.is_closed()


def test_an_answer_in_single_bytes_behind_others_that_say_continue_is_read(relay: FakeRelay, ask: Ask) -> None:
    head = b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" * 2
    # Both limits as low as they can be; what the chunks need besides is not the document's.
    information = ask(relay.url, max_size=len(DOCUMENT), max_handshake_size=len(head + CHUNKED))
    peer = requested(relay)
    for byte in head + chunked(DOCUMENT, 1):
        peer.raw(bytes([byte]))
    assert information.result(WAIT).name == "of a test"


@pytest.mark.parametrize("status", [101, 204, 206, 301, 302, 307, 400, 401, 404, 426, 500, 503])
def test_another_status_than_200_is_a_handshake_error_that_names_it(relay: FakeRelay, status: int) -> None:
    error = answered(relay, f"HTTP/1.1 {status} Not \x1b[31m so\r\nContent-Length: 2\r\n\r\n{{}}".encode())
    assert isinstance(error, HandshakeError)
    assert error.status == status
    assert str(error) == f"{relay.url} responded with no information document but with '{status} Not \\x1b[31m so'"


def test_a_redirect_is_not_followed(relay: FakeRelay) -> None:
    with FakeRelay() as other:
        location = other.url.replace("ws", "http").encode()
        error = answered(relay, b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % location)
        assert error.status == 302
        with pytest.raises(AssertionError, match="nobody connected"):
            other.accept_raw(timeout=0.05)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"<html>", b'{"name": ', b"{} {}", b"\xff\xfe{", b"[" * 60_000, b'"' + b"\0" * 60_000]
)
def test_what_is_no_json_object_is_a_message_error(relay: FakeRelay, body: bytes) -> None:
    assert isinstance(answered(relay, sized(body)), MessageError)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        sized(DOCUMENT)[:-1],
        FINE + b"Content-Length: 7\r\n\r\n",
        chunked(DOCUMENT)[:-1 - len(b"0\r\n\r\n")],
        CHUNKED + b"no size\r\n",
    ],
    ids=range(6),
)  # fmt: skip
def test_an_answer_that_ends_early_is_a_lost_connection(relay: FakeRelay, answer: bytes) -> None:
    error = answered(relay, answer)
    assert isinstance(error, ConnectionLost)
    assert str(error) == f"{relay.url}: the response is incomplete"


@pytest.mark.parametrize(
    "answer",
    [
        b"\r\n\r\n",
        b"200 OK\r\n\r\n{}",
        b"HTTP/1.1 OK\r\n\r\n{}",
        b"HTTP/2 200 OK\r\n\r\n{}",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"<html>\x1b[31m" + b"x" * 10_000,
        CHUNKED + b"-5\r\n{}\r\n0\r\n\r\n",
        CHUNKED + b"2;" + b"x" * 70_000,
        FINE + b"A: b\r\n" * 101 + b"\r\n{}",
    ],
    ids=range(9),
)
def test_an_answer_that_is_no_http_is_a_handshake_error_that_shows_no_escape_sequence(
    relay: FakeRelay, answer: bytes
) -> None:
    error = answered(relay, answer)
    assert isinstance(error, HandshakeError)
    assert error.status is None
    assert str(error).isprintable()
    assert len(str(error)) < 400


def test_whatever_is_answered_comes_to_information_or_to_an_error_that_is_documented(relay: FakeRelay) -> None:
    chance = random.Random(11)
    answers = [sized(DOCUMENT), chunked(DOCUMENT, 9), unsized(DOCUMENT), b"HTTP/1.1 100 Go\r\n\r\n" + sized(DOCUMENT)]
    pieces = [
        b"\r\n",
        b"-1",
        b"-5",
        b"\0",
        b"\xff",
        b"0",
        b"9" * 30,
        b":",
        b"\n",
        b"{",
        b" ",
        b"chunked",
        b"=?u?b?//8=?=",
    ]
    outcomes = set()
    for _ in range(300):
        answer = bytearray(chance.choice(answers))
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(answer))
            answer[at : at + chance.randrange(6)] = chance.choice([b"", chance.choice(pieces)])
        outcome = answered(relay, bytes(answer))
        assert isinstance(outcome, RelayInformation | MessageError | HandshakeError | ConnectionLost), bytes(answer)
        outcomes.add(type(outcome))
    assert len(outcomes) == 4


# Without end.


def endless(relay: FakeRelay, ask: Ask, head: bytes, piece: bytes, **options: Any) -> tuple[Any, int]:
    """Return the error, and how many bytes of the answer were taken in at most."""
    information = ask(relay.url, timeout=60, **options)
    peer = requested(relay)
    peer.raw(head)
    # A server that never stops: only what the kernel's buffers hold is sent besides what is read.
    sent = 0
    with suppress(OSError):
        while True:
            peer.raw(piece)
            sent += len(piece)
            assert sent < 50 * 1024 * 1024
    return information.exception(WAIT), sent


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (FINE, b"X: " + b"y" * 997 + b"\r\n"),
        (FINE, b"y" * 1000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 40),
        (FINE + b"X: y\r\n", b" folded" * 100 + b"\r\n"),
        (b"", b"y" * 1000),
    ],
    ids=["headers", "one header", "continue", "folded", "status line"],
)
def test_a_head_without_end_is_refused_at_its_limit(relay: FakeRelay, ask: Ask, head: bytes, piece: bytes) -> None:
    error, _ = endless(relay, ask, head, piece, max_handshake_size=20_000)
    assert isinstance(error, HandshakeError)
    assert "has more than 20000 bytes" in str(error)
    assert relay.connections[-1].is_closed()


def test_a_head_of_the_size_that_it_may_have_is_read_and_one_of_a_byte_more_is_not(relay: FakeRelay) -> None:
    size = len(FINE + b"\r\n")
    assert answered(relay, unsized(DOCUMENT), max_handshake_size=size).name == "of a test"
    assert isinstance(answered(relay, unsized(DOCUMENT), max_handshake_size=size - 1), HandshakeError)


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (FINE + b"\r\n", b" " * 1000),
        (CHUNKED, b"1\r\n \r\n" * 200),
        (CHUNKED + b"0\r\n", b"X: y\r\n" * 200),
        (CHUNKED, b"1;" + b"x" * 1000 + b"\r\n \r\n"),
    ],
    ids=["body", "chunks", "trailers", "extensions"],
)
def test_a_body_without_end_is_refused_at_its_limit(relay: FakeRelay, ask: Ask, head: bytes, piece: bytes) -> None:
    error, _ = endless(relay, ask, head, piece, max_size=20_000)
    assert isinstance(error, MessageError)
    assert str(error) == f"{relay.url}: the information document has more than 20000 bytes"
    assert relay.connections[-1].is_closed()


# Without an answer.


@contextmanager
def full_backlog() -> Iterator[int]:
    """The port of a server that takes no connection any more, and refuses none."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.settimeout(0)
            filler.connect_ex(server.getsockname())
        yield server.getsockname()[1]


class Silence:
    """A server that falls silent at some point of the dialogue."""

    def __init__(self, stack: ExitStack, where: str) -> None:
        self.where = where
        self.relay = stack.enter_context(FakeRelay(tls=where == "handshake"))
        self.url = self.relay.url
        self.websocket: dict[str, Any] = dict(self.relay.websocket)
        self.dialled = threading.Event()
        if where == "connect":
            self.url = f"ws://127.0.0.1:{stack.enter_context(full_backlog())}"
            self.websocket["sockopt"] = self._dial()
        if where == "proxy":
            self.url = "ws://relay.example"
            self.websocket["proxy"] = f"http://localhost:{self.relay.port}"

    def _dial(self) -> list[Any]:
        """No socket options; asked for when they are checked, and when there is a socket."""
        dialled = self.dialled
        asked: list[None] = []

        class Options(list[Any]):
            def __iter__(self) -> Iterator[Any]:
                asked.append(None)
                if len(asked) > 1:
                    dialled.set()
                return super().__iter__()

            def __bool__(self) -> bool:
                return True

        return Options()

    def reach(self) -> None:
        """Play the relay until it says no more."""
        if self.where == "connect":
            assert self.dialled.wait(WAIT)
            return
        peer = self.relay.accept_raw()
        if self.where == "handshake":
            assert select.select([peer._wire.sock], [], [], WAIT)[0]
            return
        peer.read_request()
        said = {"head": FINE + b"X: ", "body": FINE + b"\r\n" + DOCUMENT, "chunk": CHUNKED + b"5\r\n{"}
        peer.raw(said.get(self.where, b""))

    def ended(self) -> None:
        """See the connection closed."""
        if self.where != "connect":
            assert self.relay.is_closed()


@pytest.fixture(params=["connect", "proxy", "handshake", "answer", "head", "body", "chunk"])
def silence(request: pytest.FixtureRequest) -> Iterator[Silence]:
    with ExitStack() as stack:
        yield Silence(stack, request.param)


def test_a_server_that_falls_silent_is_given_up_at_the_deadline(
    silence: Silence, ask: Ask, manual_clock: ManualClock
) -> None:
    information = ask(silence.url, timeout=3600, websocket=silence.websocket)
    silence.reach()
    manual_clock.advance(3599)
    assert not information.done()
    manual_clock.advance(2)
    assert isinstance(information.exception(WAIT), ConnectTimeout)
    assert "did not give its information within 3600 s" in str(information.exception())
    silence.ended()


def test_a_server_that_falls_silent_is_given_up_by_the_machines_clock_too(relay: FakeRelay) -> None:
    with pytest.raises(ConnectTimeout, match=r"within 0\.05 s"):
        relay_information(relay.url, timeout=0.05)


@pytest.mark.parametrize(
    ("head", "piece"),
    [(b"", b"HTTP/1.1 200 OK"), (FINE, b"X: y\r\n"), (FINE + b"\r\n", b" "), (CHUNKED, b"1\r\n \r\n"),
     (CHUNKED, b"1;x")],
    ids=["status line", "headers", "body", "chunks", "extension"],
)  # fmt: skip
def test_a_server_that_drips_is_given_up_at_the_deadline(
    relay: FakeRelay, ask: Ask, manual_clock: ManualClock, head: bytes, piece: bytes
) -> None:
    information = ask(relay.url, timeout=100)
    peer = requested(relay)
    peer.raw(head)
    for _ in range(99):
        peer.raw(piece)
        manual_clock.advance(1)
        assert not information.done()
    peer.raw(piece)
    manual_clock.advance(2)
    assert isinstance(information.exception(WAIT), ConnectTimeout)
    assert relay.is_closed()


def test_a_deadline_that_passes_while_there_is_always_something_to_read_counts(
    relay: FakeRelay, ask: Ask, manual_clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected, late = threading.Event(), threading.Event()

    def headers(given: Any) -> Headers:  # called when the connection is up
        connected.set()
        assert late.wait(WAIT)
        return Headers(given)

    monkeypatch.setattr(information_client, "Headers", headers)
    information = ask(relay.url, timeout=1)
    assert connected.wait(WAIT)
    relay.accept_raw().raw(sized(DOCUMENT))
    manual_clock.advance(2)
    late.set()
    assert isinstance(information.exception(WAIT), ConnectTimeout)


# Cancelled.


def test_a_request_that_is_cancelled_ends_at_once_wherever_it_is(silence: Silence) -> None:
    request = InformationRequest(Relay.new(silence.url, websocket=silence.websocket), timeout=3600)
    with ThreadPoolExecutor() as pool:
        information = pool.submit(request.run)
        silence.reach()
        assert not information.done()
        request.cancel()
        request.cancel()
        error = information.exception(WAIT)
    assert isinstance(error, ConnectionLost)
    assert str(error).endswith("the request for its information was cancelled")
    silence.ended()


def test_a_request_that_was_cancelled_before_it_is_run_asks_nobody(relay: FakeRelay) -> None:
    request = InformationRequest(Relay.new(relay.url))
    request.cancel()
    with pytest.raises(ConnectionLost, match="cancelled"):
        request.run()
    with pytest.raises(AssertionError, match="nobody connected"):
        relay.accept_raw(timeout=0.05)


def test_to_cancel_a_request_that_is_done_does_nothing() -> None:
    with MemoryRelay(information={"name": "of a test"}) as relay:
        request = InformationRequest(Relay.new(relay.url))
        assert request.run().name == "of a test"
        request.cancel()


class Asker(GenServer[None]):
    """Asks one relay, and ends."""

    def init(self, init_arg: Any) -> Any:
        self.request = InformationRequest(Relay.new(init_arg), timeout=3600)
        return Ok(continue_=None)

    def handle_continue(self, argument: Any, state: Any) -> Any:
        self.request.run()
        return NoReply()

    def on_cancel(self) -> None:
        self.request.cancel()


def test_an_actor_that_is_killed_while_it_asks_leaves_no_thread(relay: FakeRelay) -> None:
    pid = Asker.start(relay.url)
    requested(relay)
    pid.exit(KILL)
    assert relay.is_closed()


# Beside that.


def test_many_threads_ask_at_once() -> None:
    with MemoryRelay(tls=True, information={"name": "of a test"}) as relay, ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(relay_information, relay.url, websocket=relay.websocket) for _ in range(64)]
        assert [each.result(WAIT).name for each in asked] == ["of a test"] * 64


def test_a_relay_that_refuses_is_refused_as_the_connection_would_be() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        relay_information(f"ws://127.0.0.1:{port}")


def test_a_connection_that_is_reset_is_an_error_of_the_system(relay: FakeRelay, ask: Ask) -> None:
    information = ask(relay.url)
    requested(relay).drop()
    assert isinstance(information.exception(WAIT), ConnectionResetError)


def test_a_first_address_that_swallows_packets_costs_a_quarter_of_a_second(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, manual_clock: ManualClock
) -> None:
    """RFC 8305, section 5: as for a relay's connection."""
    with black_hole("127.0.0.2") as (hole, port), FakeRelay(port=port) as relay:
        resolve(monkeypatch, {"relay.example": [hole, "127.0.0.1"]})
        information = ask(f"ws://relay.example:{port}", timeout=3600)
        await_deadline(manual_clock, NEXT_ADDRESS)
        manual_clock.advance(NEXT_ADDRESS)
        requested(relay).raw(sized(DOCUMENT))
        assert information.result(WAIT).name == "of a test"


def test_a_lookup_that_hangs_ends_the_request_in_time_and_is_named(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, manual_clock: ManualClock
) -> None:
    with hanging_resolver(monkeypatch) as asked:
        information = ask("ws://relay.example", timeout=3600)
        assert asked.get(timeout=WAIT) == "relay.example"
        manual_clock.advance(3600)
        error = information.exception(WAIT)
        assert isinstance(error, ConnectTimeout)
        assert "the name lookup of relay.example hangs" in str(error)


@pytest.mark.parametrize("proxy", [{}, {"proxy": "http://relay.example:1"}], ids=["relay", "proxy"])
def test_a_name_without_an_address_is_an_error(monkeypatch: pytest.MonkeyPatch, proxy: Any) -> None:
    def getaddrinfo(*arguments: Any, **options: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(socket.gaierror, match="no such name"):
        relay_information("ws://relay.example", websocket=proxy)


def test_a_proxys_name_that_can_have_no_address_is_an_error() -> None:
    with pytest.raises(socket.gaierror):
        relay_information("ws://relay.example", websocket={"proxy": f"http://{'a' * 70}.example"})


def test_a_proxy_that_refuses_is_an_error_that_names_its_status(relay: FakeRelay, ask: Ask) -> None:
    information = ask("ws://relay.example", websocket={"proxy": f"http://localhost:{relay.port}"})
    requested(relay).refuse(407)
    error = information.exception(WAIT)
    assert isinstance(error, HandshakeError)
    assert error.status == 407
    assert "proxy" in str(error)


def test_a_certificate_that_nobody_knows_is_refused(ask: Ask) -> None:
    with FakeRelay(tls=True) as relay:
        information = ask(relay.url)
        with suppress(AssertionError):  # the handshake fails on the server's side too, sooner or later
            relay.accept_raw().start_tls()
        assert isinstance(information.exception(WAIT), ssl.SSLCertVerificationError)
        assert relay.is_closed()


def test_plain_http_on_a_wss_port_is_refused_by_its_name(relay: FakeRelay, ask: Ask) -> None:
    information = ask(relay.url.replace("ws://", "wss://"))
    relay.accept_raw().raw(sized(DOCUMENT))
    error = information.exception(WAIT)
    assert isinstance(error, HandshakeError)
    assert "does not speak TLS" in str(error)


def test_information_that_came_before_the_end_of_a_tls_connection_is_read(ask: Ask) -> None:
    document = json.dumps({"name": "x" * 60_000}).encode()
    with FakeRelay(tls=True) as relay:
        for answer in (sized(document), unsized(document)):
            information = ask(relay.url, websocket=relay.websocket)
            peer = relay.accept_raw()
            peer.start_tls()
            peer.read_request()
            peer.raw(answer)
            peer.disconnect()
            assert information.result(WAIT).name == "x" * 60_000


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 404 Not Found\r\n\r\n", b"no http\r\n", sized(b"[]"), sized(b"x")[:-1], FINE + b"X" * 70_000],
    ids=range(6),
)
def test_no_error_shows_a_secret_of_the_url_or_of_the_options(relay: FakeRelay, ask: Ask, answer: bytes) -> None:
    websocket = {"headers": {"X-Token": "secret"}, "cookie": "token=secret"}
    information = ask(relay.url.replace("://", "://user:secret@"), websocket=websocket)
    peer = requested(relay)
    with suppress(OSError):
        peer.raw(answer)
    peer.disconnect()
    error = information.exception(WAIT)
    assert isinstance(error, GenNostrError)
    assert "secret" not in f"{error} {error!r} {error.args} {error.__cause__!r}"
    assert "dXNlcjpzZWNyZXQ" not in f"{error!r} {error.__cause__!r}"


def test_a_compressed_document_that_nobody_requested_is_named(relay: FakeRelay) -> None:
    data = gzip.compress(DOCUMENT)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(data)
    error = answered(relay, head + data)
    assert isinstance(error, HandshakeError)
    assert "compressed document, which was not requested: 'gzip'" in str(error)


def test_the_path_is_requested_with_the_slashes_of_the_url(relay: FakeRelay) -> None:
    assert request_of(relay, relay.url + "a//b/")[0] == "GET /a//b/ HTTP/1.1"
