"""A relay that the test scripts step by step, over real loopback sockets.

A test reads like the dialogue between client and relay:

    with FakeRelay() as relay, Feed.start([relay.url]):
        relay.accept()
        feed = relay.expect_req().subscription_id
        relay.event(feed, content="hello")
        relay.eose(feed)
        relay.drop()
        relay.accept()  # the client has reconnected
        assert relay.expect_req().subscription_id == feed

The relay has no thread: it does only what the test makes it do, in that order. The kernel's backlog holds connections
until the test accepts them, and its buffers hold sent data until the test reads it. Only pings are answered
automatically: while the test waits for something else, and while a `ManualClock` lets the actors settle.

A failed expectation raises an AssertionError that says what was expected and what arrived instead: immediately if
something else arrived or the connection has ended, otherwise at its deadline. Timeouts are in seconds of the machine's
clock, whatever clock the actors use. Only one thread at a time may use a relay.

Tests may break the protocol at will; that is the purpose of this relay.
"""

import math
import socket
import ssl
import struct
from collections.abc import Callable, Mapping, Sequence
from http.client import responses
from typing import Any, Final, NamedTuple, Self, TypeVar, Unpack, overload

import msgspec

from gennostr.client import poller
from gennostr.client.frames import Close
from gennostr.nostr import Event
from gennostr.otp.clock import MACHINE
from gennostr.testing.event_factory import EventFields, given_or_made
from gennostr.testing.manual_clock import helpers
from gennostr.testing.relay_socket import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Frame,
    RelaySocket,
    close_when_received,
    encode_frame,
    identity,
    listener,
)

PIECE: Final = 0.05
"""Seconds between two pieces on a throttled connection, unless a piece is a single byte."""
SHOWN: Final = 200
"""The maximum number of characters of a message shown in a failure."""

_Sent = TypeVar("_Sent", bound=Event | Mapping[str, object])


class Req(NamedTuple):
    """The contents of a REQ or a COUNT that a client has sent.

    >>> from gennostr.testing import Req
    >>> subscription_id, filters = Req("feed", [{"kinds": [1]}])
    >>> filters
    [{'kinds': [1]}]
    """

    subscription_id: str
    """The subscription id; for a COUNT, its query id."""
    filters: list[dict[str, Any]]
    """The filters, at least one, as the client has sent them."""


class FakeRelay:
    """A scripted relay on a localhost port.

    It listens from its creation until `stop` or the end of a ``with`` statement. All methods of `FakeConnection` work
    on the relay too: they apply to the connection that was accepted last.

    >>> from gennostr import GenNostr, Ok
    >>> from gennostr.testing import FakeRelay, Probe
    >>> class Feed(GenNostr):
    ...     def init(self, init_arg):
    ...         url, self.owner = init_arg
    ...         self.add_relay(url)
    ...         self.subscribe({"kinds": [1]}, "feed")
    ...         return Ok()
    ...
    ...     def handle_event(self, message, relay, state):
    ...         self.owner.send(message.event.content)
    >>> with Probe() as probe, FakeRelay() as relay, Feed.start((relay.url, probe.pid)):
    ...     connection = relay.accept()
    ...     id, filters = relay.expect_req()
    ...     event = relay.event(id, content="hello")
    ...     content = probe.expect(str)
    >>> filters, content
    ([{'kinds': [1]}], 'hello')

    Args:
        tls: True creates a certificate, which clients trust if they are given `websocket`; this needs trustme
            (``pip install 'gennostr[testing]'``). With your own server-side SSLContext, you arrange the trust
            yourself. Default: no TLS.
        port: the port on localhost; default: a free one.
        compression: True compresses messages both ways (permessage-deflate, RFC 7692) if the client offers it; a text
            is the Sec-WebSocket-Extensions header to respond with, such as
            ``"permessage-deflate; server_no_context_takeover; client_max_window_bits=10"``. `send_frame` and `raw` do
            not compress. Default: no compression.

    Attributes:
        url: what a client connects to, ``ws://localhost:PORT/`` or ``wss://...``.
        port: the port.
        websocket: options for a client that is to trust the certificate:
            ``add_relay(relay.url, websocket=relay.websocket)``.
        connections: all accepted connections, in order of acceptance.

    Raises:
        ImportError: `tls` is True, and trustme is not installed.
        OSError: the port is in use.

    """

    def __init__(
        self, *, tls: bool | ssl.SSLContext = False, port: int | None = None, compression: bool | str = False
    ) -> None:
        self._identity = identity(tls)
        self._compression = compression
        self._listener: socket.socket | None = listener(port)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{self._identity.scheme}://localhost:{self.port}/"
        self.websocket: Mapping[str, object] = self._identity.websocket
        self.connections: list[FakeConnection] = []
        # Their sockets until they are closed: a connection ended by us is kept until the client has ended it, too.
        self._wires: list[RelaySocket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<FakeRelay {self.url}>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(FakeConnection, name):
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")
        if not self.connections:
            raise AssertionError(f"{name}: {self.url} has accepted no connection yet; call accept() first")
        return getattr(self.connections[-1], name)

    def listen(self) -> None:
        """Listen again on the same port; clients wait until they are accepted."""
        if self._listener is None:
            self._listener = listener(self.port)

    def stop_listening(self) -> None:
        """Refuse new connections and reset those not yet accepted; others stay open.

        `listen` undoes it.
        """
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def stop(self) -> None:
        """Stop listening and end all connections.

        Sent data is not lost: this waits for clients that have not received all of it, as long as they receive
        something every two seconds, for at most 30 seconds.
        """
        self.stop_listening()
        for connection in self.connections:
            connection.disconnect()
        wires, self._wires = self._wires, []
        close_when_received(wires)

    def accept(self, *, timeout: float = 5.0) -> "FakeConnection":
        """Accept the next connection: TCP, TLS if enabled, and the upgrade with 101.

        Requests for the information document (NIP-11), which a client with several subscriptions sends, are answered
        with 404 and skipped.

        Args:
            timeout: the maximum wait for all of it, in seconds.

        Raises:
            AssertionError: no client connects in time, or it sends no upgrade request.

        """
        deadline, remaining = MACHINE.monotonic() + timeout, timeout
        while True:
            connection = self._accept_request(remaining)
            if not connection.asks_for_information:
                connection.upgrade()
                return connection
            connection.refuse(404)
            connection.disconnect()
            self.connections.remove(connection)
            remaining = max(0.0, deadline - MACHINE.monotonic())

    def refuse(
        self, status: int = 403, body: bytes = b"", reason: str | None = None, *, timeout: float = 5.0
    ) -> "FakeConnection":
        """Accept the next connection and answer its request with an HTTP error.

        Any status but 101 will do. The connection stays open.

        Args:
            status: the status code; default: 403 Forbidden.
            body: the body of the response.
            reason: the reason phrase; default: the standard one of `status`.
            timeout: the maximum wait, in seconds.

        Raises:
            AssertionError: no client connects in time, or it sends no request.

        """
        connection = self._accept_request(timeout)
        connection.refuse(status, body, reason)
        return connection

    def accept_raw(self, *, timeout: float = 5.0) -> "FakeConnection":
        """Accept the next TCP connection and send nothing.

        `FakeConnection.start_tls`, `FakeConnection.read_request` and `FakeConnection.upgrade` continue it.

        Args:
            timeout: the maximum wait, in seconds.

        Raises:
            AssertionError: no client connects in time, or the relay does not listen.

        """
        if self._listener is None:
            raise AssertionError(f"{self.url} does not listen, so no client can connect")
        self._listener.settimeout(timeout)
        try:
            accepted, _ = self._listener.accept()
        except (TimeoutError, BlockingIOError):
            raise AssertionError(f"nobody connected to {self.url} within {timeout:g} s") from None
        for each in self._wires:
            if each.linger():
                each.close()
        wire = RelaySocket(accepted)
        self._wires = [each for each in self._wires if each.sock.fileno() >= 0] + [wire]
        connection = FakeConnection(wire, self._identity.context, compression=self._compression)
        self.connections.append(connection)
        return connection

    def _accept_request(self, timeout: float) -> "FakeConnection":
        deadline = MACHINE.monotonic() + timeout
        connection = self.accept_raw(timeout=timeout)
        if self._identity.context is not None:
            connection.start_tls(timeout=max(0.0, deadline - MACHINE.monotonic()))
        connection.read_request(timeout=max(0.0, deadline - MACHINE.monotonic()))
        return connection


class _Expected:
    """What the test expects, and its deadline."""

    def __init__(self, what: str, timeout: float) -> None:
        self.what = what
        self.timeout = timeout
        self.deadline = MACHINE.monotonic() + timeout


class FakeConnection:
    """The relay's end of one connection.

    `FakeRelay.accept` and its variants create it. `FakeRelay` has the same methods, which apply to its latest
    connection. With several clients, or after a reconnect, a test keeps the connections apart:

    >>> from gennostr import GenNostr, Ok
    >>> from gennostr.testing import FakeRelay
    >>> class Feed(GenNostr):
    ...     def init(self, url):
    ...         self.add_relay(url, reconnect=[0.01])
    ...         self.subscribe({"kinds": [1]}, "feed")
    ...         return Ok()
    >>> with FakeRelay() as relay, Feed.start(relay.url) as feed:
    ...     first = relay.accept()
    ...     _ = first.expect_req()
    ...     first.drop()
    ...     second = relay.accept()  # the client has reconnected
    ...     second.expect_req().subscription_id
    'feed'

    Methods that wait take `timeout`, the maximum wait in seconds (default: 5). Expectations fail with an
    AssertionError that says what was expected and what happened instead. They skip pongs, and pings, which are
    answered. Sending on a connection that has ended raises ConnectionError.
    """

    def __init__(self, wire: RelaySocket, context: ssl.SSLContext | None, *, compression: bool | str = False) -> None:
        self._wire = wire
        self._context = context
        self._compression = compression
        self._stalled = False
        # Bytes per second, and when the next piece may be sent.
        self._rate: float | None = None
        self._next_piece = 0.0

    def __repr__(self) -> str:
        return f"<FakeConnection {self._wire.end or 'open'}>"

    # The handshake. `FakeRelay.accept` does all of it.

    @property
    def request(self) -> str:
        """The head of the HTTP request; empty until it has been read."""
        return self._wire.request

    @property
    def asks_for_information(self) -> bool:
        """Whether the request is for the relay's information document (NIP-11)."""
        return self._wire.asks_for_information

    def start_tls(self, *, timeout: float = 5.0) -> None:
        """Do the server side of the TLS handshake.

        Raises:
            AssertionError: the relay has no TLS, or the handshake fails or takes longer than `timeout` seconds.

        """
        if self._context is None:
            raise AssertionError("the relay has no TLS: create it with tls=True")
        expected = _Expected("a TLS handshake", timeout)
        self._wire.start_tls(self._context)
        if not self._until(lambda: not self._wire.in_handshake, expected):
            raise self._failure(expected)

    def read_request(self, *, timeout: float = 5.0) -> str:
        """Read the head of the HTTP request and return it.

        Raises:
            AssertionError: it does not arrive within `timeout` seconds.

        """
        expected = _Expected("the upgrade request", timeout)
        if not self._until(lambda: bool(self._wire.request), expected):
            raise self._failure(expected)
        return self._wire.request

    def upgrade(self, rest: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Answer the request with 101, so that the connection becomes a WebSocket.

        Args:
            rest: bytes to send directly after the response, in the same segment.
            headers: additional headers.

        Raises:
            AssertionError: the request is not one for a WebSocket.

        """
        try:
            self._wire.upgrade(headers, compression=self._compression)
        except ValueError as error:
            raise AssertionError(str(error)) from None
        self.raw(rest)
        if not self._stalled:
            helpers[self._work] = None

    def refuse(self, status: int = 403, body: bytes = b"", reason: str | None = None) -> None:
        """Answer the request with an HTTP error, any status but 101.

        The connection stays open.

        Args:
            status: the status code; default: 403 Forbidden.
            body: the body of the response.
            reason: the reason phrase; default: the standard one of `status`.

        """
        if reason is None:
            reason = responses.get(status, "Refused")
        self.raw(f"HTTP/1.1 {status} {reason}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    # What the client sends. Expectations skip pongs, and pings that are answered.

    def expect_req(self, *, timeout: float = 5.0) -> Req:
        """Return the next message, which must be a REQ.

        Raises:
            AssertionError: another message arrives, or none within `timeout` seconds.

        """
        return _req(self._expect("REQ", timeout))

    def expect_count(self, *, timeout: float = 5.0) -> Req:
        """Return the next message, which must be a COUNT (NIP-45).

        Answer it with `count`.

        Raises:
            AssertionError: another message arrives, or none within `timeout` seconds.

        """
        return _req(self._expect("COUNT", timeout))

    def expect_event(self, *, timeout: float = 5.0) -> Event:
        """Return the event of the next message, which must be an EVENT.

        Answer it with `ok`. Its id and signature are not checked: `gennostr.nostr.verify` does that.

        Raises:
            AssertionError: another message arrives, or none within `timeout` seconds.

        """
        return _event(self._expect("EVENT", timeout))

    def expect_auth(self, *, timeout: float = 5.0) -> Event:
        """Return the event of the next message, which must be an AUTH (NIP-42).

        Answer it with `ok`.

        Raises:
            AssertionError: another message arrives, or none within `timeout` seconds.

        """
        return _event(self._expect("AUTH", timeout))

    def expect_close(self, *, timeout: float = 5.0) -> str:
        """Return the subscription id of the next message, which must be a CLOSE.

        For the WebSocket's close frame, see `expect_close_frame`.

        Raises:
            AssertionError: another message arrives, or none within `timeout` seconds.

        """
        message = self._expect("CLOSE", timeout)
        match message:
            case [_, str(subscription_id)]:
                return subscription_id
        raise AssertionError(f"not a valid CLOSE: {_shown_message(message)}")

    def receive(self, *, timeout: float = 5.0) -> list[Any]:
        """Return the next message, whatever its label, decoded from JSON.

        Raises:
            AssertionError: what arrives is not a message (a JSON array), or nothing does within `timeout` seconds.

        """
        return self._message(_Expected("a message", timeout))

    def skip_to(self, label: str, *, timeout: float = 5.0) -> list[Any]:
        """Return the next message with this label, and discard the messages before it.

        Args:
            label: such as "REQ", "CLOSE" or "EVENT".
            timeout: the maximum wait, in seconds.

        Raises:
            AssertionError: no such message arrives in time.

        """
        expected = _Expected(f"{_article(label)} {label} message", timeout)
        while (message := self._message(expected))[0] != label:
            pass
        return message

    def expect_close_frame(self, *, timeout: float = 5.0) -> Close:
        """Return the code and reason of the next frame, which must be a close frame.

        It is not answered; `close` does that.

        Raises:
            AssertionError: another frame arrives, or none within `timeout` seconds.

        """
        expected = _Expected("a close frame", timeout)
        frame = self._next(expected)
        if frame.opcode != CLOSE:
            raise AssertionError(f"expected {expected.what}, got {_shown(frame)}")
        return frame.close()

    def expect_end(self, *, timeout: float = 5.0) -> None:
        """Wait until the client ends the TCP connection.

        Data that it sends before stays readable.

        Raises:
            AssertionError: the connection is still open after `timeout` seconds.

        """
        if not self.is_closed(timeout=timeout):
            came = f"; the client has sent {_shown(self._wire.frames[0])}" if self._wire.frames else ""
            raise AssertionError(f"expected the end of the connection, but it is still open after {timeout:g} s{came}")

    def is_closed(self, *, timeout: float = 5.0) -> bool:
        """Return whether the client ends the TCP connection within `timeout` seconds.

        Data that it sends before stays readable.
        """
        return self._until(lambda: self._wire.end is not None, _Expected("the end of the connection", timeout))

    def receive_frame(self, *, timeout: float = 5.0) -> Frame:
        """Return the opcode and payload of the next frame, whatever it is.

        A ping returned here is not answered.

        Raises:
            AssertionError: no frame arrives within `timeout` seconds.

        """
        expected = _Expected("a frame", timeout)
        frame = self._frame(expected, answer=False)
        self._wire.pings = [ping for ping in self._wire.pings if ping is not frame]
        return frame

    # What the relay sends.

    @overload
    def event(self, subscription_id: str, **fields: Unpack[EventFields]) -> Event: ...
    @overload
    def event(self, subscription_id: str, event: _Sent) -> _Sent: ...
    def event(
        self,
        subscription_id: str,
        event: Event | Mapping[str, object] | None = None,
        **fields: Unpack[EventFields],
    ) -> Event | Mapping[str, object]:
        """Send a subscription an event, and return the event.

        Args:
            subscription_id: the id of the client's REQ.
            event: the event, or any dict in its place. Default: a signed event, made from `fields`.
            fields: see `make_event`.

        Raises:
            TypeError: both an event and fields are given.

        """
        sent = given_or_made(event, fields)
        self.send(["EVENT", subscription_id, sent])
        return sent

    def eose(self, subscription_id: str) -> None:
        """Send EOSE: all stored events of this subscription have been sent."""
        self.send(["EOSE", subscription_id])

    def ok(self, event_id: str, accepted: bool = True, message: str = "") -> None:  # noqa: FBT001, FBT002
        """Send OK, the answer to an EVENT or an AUTH.

        Args:
            event_id: the id of the event.
            accepted: False to refuse it: ``ok(event.id, False, "blocked: no")``.
            message: the reason, for humans.

        """
        self.send(["OK", event_id, accepted, message])

    def closed(self, subscription_id: str, message: str = "") -> None:
        """Send CLOSED: the relay has refused or ended a subscription.

        Args:
            subscription_id: the id of the client's REQ or COUNT.
            message: the reason, with a prefix such as "auth-required: " or "error: ".

        """
        self.send(["CLOSED", subscription_id, message])

    def notice(self, text: str) -> None:
        """Send a NOTICE, a text for humans."""
        self.send(["NOTICE", text])

    def auth(self, challenge: str) -> None:
        """Send a challenge to sign (NIP-42)."""
        self.send(["AUTH", challenge])

    def count(self, subscription_id: str, number: int) -> None:
        """Answer a COUNT (NIP-45) with `number`."""
        self.send(["COUNT", subscription_id, {"count": number}])

    def send(self, message: Sequence[object]) -> None:
        """Send a list as JSON in a text frame; it need not be a message of the protocol."""
        self.raw(self._wire.message(TEXT, msgspec.json.encode(message)))

    def send_text(self, text: str) -> None:
        """Send `text` in a text frame; it need not be JSON."""
        self.raw(self._wire.message(TEXT, text.encode()))

    def send_frame(self, opcode: int, payload: bytes, *, fin: bool = True, masked: bool = False, rsv: int = 0) -> None:
        """Send one frame, legal or not (RFC 6455, section 5.2).

        Args:
            opcode: 1 is text, 2 binary, 8 close, 9 ping, 10 pong, 0 a continuation.
            payload: the data.
            fin: False: further fragments follow.
            masked: True: mask it, which only clients may do.
            rsv: the three reserved bits, as a number from 0 to 7.

        """
        self.raw(encode_frame(opcode, payload, fin=fin, masked=masked, rsv=rsv))

    def raw(self, data: bytes, *, timeout: float = 5.0) -> None:
        """Send bytes unchanged.

        Args:
            data: the bytes.
            timeout: the maximum wait for the client to read, in seconds.

        Raises:
            TimeoutError: the client reads too slowly; the remaining bytes are sent before the next data.
            ConnectionError: the connection has ended.

        """
        if self._wire.over:
            raise ConnectionError(f"cannot send: {self._wire.end}")
        self._wire.out += data
        # The time that our own throttling takes does not count against the client.
        needed = 0.0 if self._rate is None else len(self._wire.out) / self._rate
        deadline = MACHINE.monotonic() + timeout + needed
        while True:
            self._flush()
            waits = len(self._wire.out)
            if not waits:
                return
            if MACHINE.monotonic() >= deadline:
                raise TimeoutError(
                    f"the client reads too slowly: {waits} bytes are unsent after {timeout + needed:g} s"
                )
            self._wait(deadline, read=False)

    def ping(self, payload: bytes = b"") -> None:
        """Send a ping; `receive_frame` returns the pong."""
        self.send_frame(PING, payload)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame; the TCP connection stays open.

        Args:
            code: the close code (RFC 6455, section 7.4); default: 1000, a normal end.
            reason: the reason, for humans.

        """
        self.send_frame(CLOSE, struct.pack(">H", code) + reason.encode())

    # Failures.

    def drop(self) -> None:
        """Reset the connection (RST), as after a crash or by a middlebox."""
        self._wire.reset()
        self._forget()

    def disconnect(self) -> None:
        """End the connection (FIN) without a close frame and without TLS's close_notify.

        Data that was sent arrives before the FIN. Unread data is lost, and so is data not yet sent because the client
        reads too slowly (see `raw`).
        """
        self._wire.out.clear()
        self._wire.finish()
        if self._wire.linger():
            self._wire.close()
        self._forget()

    def half_close(self) -> None:
        """Shut down our sending direction (FIN); the client's stays open."""
        # Not SSLSocket.shutdown, which would discard the TLS state: reading must still work.
        socket.socket.shutdown(self._wire.sock, socket.SHUT_WR)

    def stall(self) -> None:
        """Read nothing and answer no pings until `resume`, like a relay that hangs.

        Sending still works.
        """
        self._stalled = True
        helpers.pop(self._work, None)

    def resume(self) -> None:
        """Read and answer pings again, after `stall`."""
        self._stalled = False
        if self._wire.upgraded and self._wire.end is None:
            helpers[self._work] = None

    def throttle(self, bytes_per_second: float | None) -> None:
        """Limit the rate at which data is sent, from now on.

        Args:
            bytes_per_second: the rate; it is sent in small pieces. None: no limit.

        Raises:
            ValueError: the rate is not a finite number above 0.

        """
        if bytes_per_second is not None and not 0 < bytes_per_second < math.inf:
            raise ValueError(f"bytes_per_second must be a finite number above 0, not {bytes_per_second!r}")
        self._rate = bytes_per_second
        self._next_piece = 0.0

    # Internals.

    def _expect(self, label: str, timeout: float) -> list[Any]:
        expected = _Expected(f"{_article(label)} {label} message", timeout)
        message = self._message(expected)
        if message[0] != label:
            raise AssertionError(f"expected {expected.what}, got {_shown_message(message)}")
        return message

    def _message(self, expected: _Expected) -> list[Any]:
        frame = self._next(expected)
        if frame.opcode == CLOSE:
            self._wire.frames.appendleft(frame)  # no frame follows it, so the next expectation must see it too
            raise AssertionError(f"expected {expected.what}, but the client sent {_shown(frame)}")
        if frame.opcode == TEXT:
            try:
                message = msgspec.json.decode(frame.payload)
            except (msgspec.DecodeError, ValueError, RecursionError):
                message = None
            if isinstance(message, list) and message:
                return message
        raise AssertionError(f"expected {expected.what}, got something that is not a message: {_shown(frame)}")

    def _next(self, expected: _Expected) -> Frame:
        """Return the next frame that is neither ping nor pong."""
        while True:
            frame = self._frame(expected)
            if frame.opcode not in (PING, PONG):
                return frame

    def _frame(self, expected: _Expected, *, answer: bool = True) -> Frame:
        if not self._until(lambda: bool(self._wire.frames), expected, answer=answer):
            raise self._failure(expected)
        return self._wire.frames.popleft()

    def _failure(self, expected: _Expected) -> AssertionError:
        stalled = ": the connection is stalled" if self._stalled else ""
        why = self._wire.end or f"nothing arrived within {expected.timeout:g} s{stalled}"
        if self._wire.unread:
            why += f"; it has sent part of a request or a frame: {bytes(self._wire.unread[:SHOWN])!r}"
        return AssertionError(f"expected {expected.what}, but {why}")

    def _until(self, done: Callable[[], bool], expected: _Expected, *, answer: bool = True) -> bool:
        """Read until `done()` is true.

        Return False if the deadline passes or the connection ends first.
        """
        while True:
            self._read_and_write(answer=answer)
            if done():
                return True
            if self._wire.end is not None or MACHINE.monotonic() >= expected.deadline:
                return False
            self._wait(expected.deadline)

    def _read_and_write(self, *, answer: bool = True) -> None:
        """Read, answer pings and write, without waiting. Raises nothing."""
        if self._stalled:
            return
        self._wire.read()
        if self._wire.end is not None:
            self._forget()
            return
        if answer:
            self._wire.answer_pings()
        try:
            self._flush()
        except OSError:
            pass  # reading will show how the connection ended

    def _work(self) -> int:
        """See `gennostr.testing.manual_clock.helpers`."""
        self._read_and_write()
        return self._wire.frames_received

    def _forget(self) -> None:
        helpers.pop(self._work, None)

    def _flush(self) -> None:
        """Write as much as the socket accepts and the rate allows."""
        if self._rate is None:
            self._wire.write()
        elif MACHINE.monotonic() >= self._next_piece:
            written = self._wire.write(max(1, int(self._rate * PIECE)))
            self._next_piece = MACHINE.monotonic() + written / self._rate

    def _wait(self, deadline: float, *, read: bool = True) -> None:
        """Wait until there may be something to do, or until the deadline."""
        now = MACHINE.monotonic()
        events = poller.POLLIN if read and not self._stalled else 0
        if self._wire.out:
            if self._rate is None or now >= self._next_piece:
                events |= poller.POLLOUT
            else:
                deadline = min(deadline, self._next_piece)
        poll = poller.create()
        if events:
            poll.register(self._wire.sock.fileno(), events)
        poll.poll(max(0.0, deadline - now) * 1000)


def _article(label: str) -> str:
    return "an" if label[:1] in ("A", "E", "I", "O", "U") else "a"


def _req(message: list[Any]) -> Req:
    match message:
        case [_, str(subscription_id), *filters] if filters and all(isinstance(each, dict) for each in filters):
            return Req(subscription_id, filters)
    raise AssertionError(f"not a valid {message[0]}: {_shown_message(message)}")


def _event(message: list[Any]) -> Event:
    try:
        (event,) = message[1:]
        return msgspec.convert(event, Event)
    except ValueError as error:  # includes msgspec's errors
        raise AssertionError(f"not a valid {message[0]}: {error}: {_shown_message(message)}") from None


def _shown(frame: Frame) -> str:
    """Describe a frame for a failure message."""
    if frame.opcode == TEXT:
        return _cut(frame.payload.decode(errors="replace"))
    if frame.opcode == CLOSE:
        close = frame.close()
        return f"a close frame with {close.code} {close.reason!r}"
    name = {BINARY: "a binary frame", PING: "a ping", PONG: "a pong"}.get(frame.opcode, f"opcode {frame.opcode:#x}")
    return f"{name}: {_cut(repr(frame.payload))}"


def _shown_message(message: list[Any]) -> str:
    return _cut(msgspec.json.encode(message).decode())


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text)} characters)"
