"""A relay's end of a WebSocket (RFC 6455), over a non-blocking socket.

TLS, the upgrade, and the frames.

The caller decides when to act: `RelaySocket` reads what has arrived, writes what the socket accepts, and never waits.
It enforces section 5 on the client: frames must be masked, unfragmented, and without reserved bits. What the relay
sends is not checked at all, so that tests can send anything. Messages are compressed both ways if `RelaySocket.upgrade`
agrees to it (permessage-deflate, RFC 7692).

A connection ends in stages, so that no sent data is lost (RFC 9112, section 9.6). If a socket is closed while data from
the client is unread or still arriving, the system resets the connection (RFC 1122, section 4.2.2.13), and the reset
destroys data that the client has not yet received. So `RelaySocket.finish` ends only the relay's direction, and the
socket is closed once the client has ended its own, or has received nothing for `LINGER` seconds; until then
`RelaySocket.linger` discards incoming data. `close_when_received` does this for a relay that stops.
"""

import base64
import hashlib
import math
import re
import secrets
import socket
import ssl
import struct
import sys
import zlib
from collections import deque
from collections.abc import Iterable, Mapping
from functools import cache, partial
from typing import Final, NamedTuple

from gennostr.client import poller
from gennostr.client.compression import EXTENSION, Deflater, Inflater, Parameters, agreed, parse_extensions
from gennostr.client.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Close, apply_mask
from gennostr.otp.clock import SystemClock

__all__ = ["BINARY", "CLOSE", "CONTINUATION", "PING", "PONG", "TEXT", "Frame", "RelaySocket", "encode_frame"]

HOST: Final = "127.0.0.1"
ATTEMPTS: Final = 20
"""Attempts to find a free port."""
READ_SIZE: Final = 64 * 1024
WRITE_SIZE: Final = 64 * 1024
DISCARDED_READS: Final = 64
"""The maximum number of reads per `RelaySocket.linger` call, as a client may send faster than we discard."""
LINGER: Final = 2.0
"""Seconds after which the socket of a connection that the relay has ended is closed, if the client has received nothing
and has not ended it too."""
LONGEST_LINGER: Final = 30.0
"""Seconds after which it is closed in any case, even if the client still receives."""
monotonic: Final = SystemClock.monotonic
"""The machine's clock, whatever clock the actors use."""
ACKNOWLEDGED_POLL: Final = 0.005
"""Seconds between polls of what the client has acknowledged, as no event reports it."""
MAX_INFLATED: Final = 64 * 1024 * 1024
"""The most bytes of a compressed message from the client, decompressed."""
MOST_POLLED: Final = 256
"""The most sockets in one poll, as some systems have a limit. The others are looked at after the next poll too."""
_WOULD_BLOCK: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = re.compile(r"^sec-websocket-key: *(\S+)", re.IGNORECASE | re.MULTILINE)
# The names of headers (RFC 9110, section 5.1) and media types (8.3.1) are case-insensitive.
_ACCEPTS_INFORMATION = re.compile(r"^accept:.*\bapplication/nostr\+json\b", re.IGNORECASE | re.MULTILINE)
_OFFERS = re.compile(r"^sec-websocket-extensions:(.*?)\r?$", re.IGNORECASE | re.MULTILINE)
_BITS = re.compile(r"[89]|1[0-5]")


class Frame(NamedTuple):
    """A frame from the client, unmasked."""

    opcode: int
    payload: bytes

    def close(self) -> Close:
        """Return the code and reason of a close frame; without a payload, `None` and ""."""
        if len(self.payload) < 2:
            return Close(None, "")
        (code,) = struct.unpack(">H", self.payload[:2])
        return Close(code, self.payload[2:].decode(errors="replace"))


class RelaySocket:
    """One accepted connection. No method blocks."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # each send is a segment
        self.sock = sock
        self.in_handshake = False
        """Whether a TLS handshake is under way."""
        self.request = ""
        """The head of the HTTP request, once it has arrived."""
        self.unread = bytearray()
        """Received data that is not yet a whole request or a whole frame."""
        self.frames: deque[Frame] = deque()
        """Received frames that have not been consumed."""
        self.pings: list[Frame] = []
        """Received pings that have not been answered."""
        self.frames_received = 0
        """The total number of frames received."""
        self.out = bytearray()
        """Data still to be written."""
        self.end: str | None = None
        """A description of how the connection ended; `None` while the client may send."""
        self.upgraded = False
        self.over = False
        """Whether the relay has ended the connection: nothing may be added to `out`."""
        self.shut = False
        """Whether the FIN has been sent."""
        self._client_ended = False
        self._notify = False
        self._inflater: Inflater | None = None
        self._deflater: Deflater | None = None
        # When to close the socket: each byte that the client receives postpones the first, at most to the second.
        self._deadline = self._last_deadline = math.inf
        # The number of bytes that the client had not yet received at the last check.
        self._left = math.inf

    @property
    def asks_for_information(self) -> bool:
        """Whether the request is for the relay's information document (NIP-11)."""
        return _ACCEPTS_INFORMATION.search(self.request) is not None

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Begin the server side of the handshake; `read` continues it."""
        self.in_handshake = True
        try:
            self.sock = context.wrap_socket(self.sock, server_side=True, do_handshake_on_connect=False)
        except OSError as error:  # the client has already disconnected; the socket is closed
            self.end = f"the connection failed: {error}"

    def upgrade(self, headers: Mapping[str, str] | None = None, *, compression: bool | str = False) -> None:
        """Answer the request with 101, and read frames from now on.

        Args:
            headers: further headers of the answer.
            compression: whether to compress if the client offers it, or the Sec-WebSocket-Extensions header to answer
                with, whatever the client offers.

        Raises:
            ValueError: it is not an upgrade request.

        """
        key = _KEY.search(self.request)
        if key is None:
            raise ValueError(f"not an upgrade request: {self.request!r:.200}")
        digest = hashlib.sha1(f"{key[1]}{_GUID}".encode()).digest()  # noqa: S324 - RFC 6455's choice
        self.out += (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n"
        )
        answer = (
            compression if isinstance(compression, str) else compression_answer(self.request) if compression else None
        )
        if answer is not None:
            self._compress(answer)
            headers = {**(headers or {}), "Sec-WebSocket-Extensions": answer}
        for name, value in (headers or {}).items():
            self.out += f"{name}: {value}\r\n".encode()
        self.out += b"\r\n"
        self.upgraded = True
        self._cut_all()

    def _compress(self, answer: str) -> None:
        agreement = agreed(answer, offered=True)
        assert agreement is not None, answer  # noqa: S101
        self._inflater = Inflater(
            agreement.client_max_window_bits, no_context_takeover=agreement.client_no_context_takeover
        )
        self._deflater = Deflater(
            agreement.server_max_window_bits, no_context_takeover=agreement.server_no_context_takeover
        )

    def message(self, opcode: int, payload: bytes) -> bytes:
        """Return the frame of a message.

        It is compressed if the upgrade has agreed to it and it becomes smaller.
        """
        compressed = None if self._deflater is None else self._deflater.message(payload)
        return encode_frame(opcode, payload) if compressed is None else encode_frame(opcode, compressed, rsv=4)

    def read(self) -> None:
        """Read what has arrived.

        Raises nothing: if the connection has ended, `end` says how.
        """
        if self.end is not None:
            return
        try:
            if self.in_handshake:
                assert isinstance(self.sock, ssl.SSLSocket)  # noqa: S101
                self.sock.do_handshake()
                self.in_handshake = False
            while data := self.sock.recv(READ_SIZE):
                self.unread += data
            self.end = "the client ended the connection"
        except _WOULD_BLOCK:
            pass
        except ssl.SSLEOFError:  # without TLS's close_notify
            self.end = "the client ended the connection"
        except ConnectionError:
            self.end = "the client reset the connection"
        except OSError as error:
            self.end = f"the connection failed: {error}"
        if not self.upgraded and not self.request and b"\r\n\r\n" in self.unread:
            head, _, rest = bytes(self.unread).partition(b"\r\n\r\n")
            self.request = head.decode("latin-1")
            self.unread[:] = rest
        self._cut_all()

    def write(self, size: int | None = None) -> int:
        """Write what the socket accepts, at most `size` bytes; return how many.

        Raises:
            OSError: the connection is dead.

        """
        written = 0
        try:
            while self.out and written != size:
                limit = WRITE_SIZE if size is None else min(WRITE_SIZE, size - written)
                sent = self.sock.send(bytes(self.out[:limit]))
                del self.out[:sent]
                written += sent
        except _WOULD_BLOCK:
            pass
        except OSError:
            self.out.clear()
            raise
        return written

    def answer_pings(self) -> None:
        """Queue a pong for each unanswered ping."""
        for ping in self.pings:
            self.out += encode_frame(PONG, ping.payload)
        self.pings.clear()

    @property
    def waits_to_read(self) -> bool:
        """Whether there is something to do when the socket becomes readable."""
        return not self._client_ended

    @property
    def waits_to_write(self) -> bool:
        """Whether there is something to do when the socket becomes writable."""
        return bool(self.out) or (self.over and not self.shut)

    def finish(self, *, notify: bool = False) -> None:
        """Begin an orderly end of the connection.

        What is in `out` is sent, then TLS's close_notify if `notify`, then FIN. `linger` does the work. Call it now,
        whenever the socket is ready, and from time to time, until it returns True; then call `close`.
        """
        if not self.over:
            self.over = True
            self.end = self.end or "the relay ended the connection"
            self._notify = notify and not self.in_handshake
            self._last_deadline = monotonic() + LONGEST_LINGER

    def linger(self) -> bool:
        """Continue the end that `finish` began, without waiting.

        Return whether to close the socket now.
        """
        if not self.over:
            return False
        try:
            self.write()
            if not self.out and not self.shut:
                self._send_close_notify()
                # Not SSLSocket.shutdown, which would discard the TLS state.
                socket.socket.shutdown(self.sock, socket.SHUT_WR)
                self.shut = True
        except _WOULD_BLOCK:
            pass
        except OSError:
            return True  # reset by the client, or closed: nothing more can arrive
        try:
            # After the FIN, TLS no longer matters; before it, OpenSSL may still need the incoming data.
            recv = partial(socket.socket.recv, self.sock) if self.shut else self.sock.recv
            for _ in range(DISCARDED_READS):
                if self._client_ended or not recv(READ_SIZE):
                    self._client_ended = True
                    break
        except _WOULD_BLOCK:
            pass
        except OSError:
            self._client_ended = True  # whatever the cause, nothing more can be read
        now = monotonic()
        left = len(self.out) + (unacknowledged(self.sock) or 0)
        if left < self._left:
            self._left = left
            self._deadline = min(now + LINGER, self._last_deadline)
        return (self.shut and self._client_ended) or now >= self._deadline

    @property
    def is_received(self) -> bool:
        """Whether the client's system has received all data and the FIN.

        False if this cannot be known. From then on, not even a reset can destroy any of it: data that has arrived is
        read before the reset.
        """
        return self.shut and unacknowledged(self.sock) == 0

    def close(self) -> None:
        """Close the socket of a connection that has ended."""
        self.out.clear()
        self.sock.close()

    def disconnect(self) -> None:
        """End the connection (FIN) and close it at once, for callers that cannot linger.

        Discards `out`.
        """
        self.out.clear()
        self.finish()
        self.linger()
        self.close()

    def reset(self) -> None:
        """Reset the connection (RST)."""
        self.over = True
        self.end = self.end or "the relay reset the connection"
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass  # already closed
        self.close()

    def _send_close_notify(self) -> None:
        """Send TLS's close_notify once, without waiting for the client's."""
        if self._notify and isinstance(self.sock, ssl.SSLSocket):
            try:
                self.sock.unwrap()
            except ssl.SSLWantWriteError:
                raise
            except (ssl.SSLError, ValueError):
                pass  # sent, but the client's has not arrived yet; or TLS has failed before
        self._notify = False

    def _cut_all(self) -> None:
        while self.upgraded and (frame := self._cut_frame()) is not None:
            self.frames_received += 1
            self.frames.append(frame)
            if frame.opcode == PING:
                self.pings.append(frame)

    def _cut_frame(self) -> Frame | None:
        """Return the next frame; None if it is incomplete, or illegal, which sets `end`."""
        unread = self.unread
        if len(unread) < 2:
            return None
        first, second = unread[0], unread[1]
        compressed = first & 0xF0 == 0xC0 and first & 0x0F in (TEXT, BINARY) and self._inflater is not None
        is_whole = first & 0xF0 == 0x80 or compressed
        if not is_whole or not second & 0x80:
            wrong = "an unmasked frame" if is_whole else "a fragment, or reserved bits"
            self.end = f"the client sent {wrong}: {bytes(unread[:20])!r}"
            return None
        length, at = second & 0x7F, 2
        if length >= 126:
            at, form = (4, ">H") if length == 126 else (10, ">Q")
            if len(unread) < at:
                return None
            (length,) = struct.unpack(form, unread[2:at])
        start, stop = at + 4, at + 4 + length
        if len(unread) < stop:
            return None
        payload = apply_mask(bytes(unread[start:stop]), bytes(unread[at:start]))
        if compressed:
            assert self._inflater is not None  # noqa: S101
            try:
                message = self._inflater.message(payload, MAX_INFLATED)
            except zlib.error as error:
                self.end = f"the client sent invalid compressed data: {error}"
                return None
            if message is None:
                self.end = f"the client sent a message that has more than {MAX_INFLATED} bytes decompressed"
                return None
            payload = message
        frame = Frame(first & 0x0F, payload)
        del unread[:stop]
        return frame


def compression_answer(request: str) -> str | None:
    """Return the Sec-WebSocket-Extensions header that accepts an offer.

    None: `request` has none that can be accepted. The first offer whose parameters are legal is accepted (RFC 7692,
    7.1), with everything that it requests or hints at. A window of 8 bits for the relay is declined, since zlib cannot
    keep to it.
    """
    for value in _OFFERS.findall(request):
        try:
            offers = parse_extensions(value)
        except ValueError:
            continue
        for name, parameters in offers:
            if name == EXTENSION and (answer := _answer(parameters)) is not None:
                return "; ".join([EXTENSION, *answer])
    return None


def _answer(parameters: Parameters) -> list[str] | None:
    answer: list[str] = []
    for name, value in parameters:
        match name:
            case "server_no_context_takeover" | "client_no_context_takeover" if value is None:
                answer.append(name)
            case "client_max_window_bits" if value is None:
                pass  # it would accept a limit, and we have none
            case "server_max_window_bits" | "client_max_window_bits" if value is not None and _BITS.fullmatch(value):
                if (name, value) == ("server_max_window_bits", "8"):
                    return None
                answer.append(f"{name}={value}")
            case _:
                return None
    names = [name for name, _ in parameters]
    return answer if len(names) == len(set(names)) else None


def encode_frame(opcode: int, payload: bytes, *, fin: bool = True, masked: bool = False, rsv: int = 0) -> bytes:
    """Return a frame's bytes (section 5.2), legal or not.

    `rsv` holds the three reserved bits as a number.
    """
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    flag = 0x80 if masked else 0
    if len(payload) < 126:
        head = struct.pack(">BB", first, flag | len(payload))
    elif len(payload) < 2**16:
        head = struct.pack(">BBH", first, flag | 126, len(payload))
    else:
        head = struct.pack(">BBQ", first, flag | 127, len(payload))
    if masked:
        mask = b"mask"
        return head + mask + apply_mask(payload, mask)
    return head + payload


if sys.platform == "linux":
    import fcntl
    import termios

    def unacknowledged(sock: socket.socket) -> int | None:
        """Return how many bytes are sent but not acknowledged; `None` if unknown.

        The FIN counts as one.
        """
        try:
            # tcp(7) calls it SIOCOUTQ, which is the same number.
            return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        except (OSError, ValueError):  # the socket is closed
            return None
else:

    def unacknowledged(sock: socket.socket) -> int | None:  # noqa: ARG001
        """Return None: this system does not report it."""
        return None


def close_when_received(wires: Iterable[RelaySocket]) -> None:
    """Close connections on which `RelaySocket.finish` was called, once they end.

    Waits for each until none of its data can be lost any more: the client has received everything, or has ended the
    connection too. `RelaySocket.linger` sets the time limits.
    """
    wires = list(wires)
    try:
        waiting = wires
        while waiting := [wire for wire in waiting if not (wire.linger() or wire.is_received)]:
            poll = poller.create()
            for wire in waiting[:MOST_POLLED]:
                wanted = (poller.POLLIN if wire.waits_to_read else 0) | (poller.POLLOUT if wire.waits_to_write else 0)
                poll.register(wire.sock.fileno(), wanted)
            poll.poll(ACKNOWLEDGED_POLL * 1000)
    finally:
        for wire in wires:
            wire.close()


def listener(port: int | None) -> socket.socket:
    """Return a socket that listens on `port` of 127.0.0.1; `None` is a free port.

    Systems use the ports from 32768 up for outgoing connections. A relay's port is below: while the relay is down, a
    client that keeps connecting to a port of that range can get the same port as its own end, and connect to itself.
    """
    if port is not None:
        return socket.create_server((HOST, port), backlog=64)
    for _ in range(ATTEMPTS):
        try:
            return socket.create_server((HOST, 20_000 + secrets.randbelow(12_000)), backlog=64)
        except OSError:
            pass  # the port is taken
    raise RuntimeError(f"no free port on {HOST} in {ATTEMPTS} attempts")


class Identity(NamedTuple):
    """A relay's url scheme, TLS context, and the options of clients that trust it.

    `context` is `None` without TLS.
    """

    scheme: str
    context: ssl.SSLContext | None
    websocket: Mapping[str, object]


def identity(tls: bool | ssl.SSLContext) -> Identity:  # noqa: FBT001 - the relay's own argument
    """Return the identity for `tls`.

    Raises:
        ImportError: `tls` is True, and trustme is not installed.

    """
    if isinstance(tls, ssl.SSLContext):
        return Identity("wss", tls, {})
    if not tls:
        return Identity("ws", None, {})
    server, client = _certificate()
    return Identity("wss", server, {"sslopt": {"context": client}})


@cache
def _certificate() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return TLS contexts for a server on localhost and a client that trusts it.

    One pair per process: a key takes long to make.
    """
    try:
        import trustme  # noqa: PLC0415 - an optional dependency, imported on use
    except ImportError:
        raise ImportError("a relay with TLS needs trustme: pip install 'gennostr[testing]'") from None
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", HOST).configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client
