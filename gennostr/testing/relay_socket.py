"""A relay's end of a WebSocket (RFC 6455): TLS, the upgrade and the frames, over a socket that never blocks.

Who serves decides when: `RelaySocket` reads what has arrived, writes what the socket takes, and waits for nothing. It
holds the client to section 5: frames are masked, whole, and without reserved bits. Nothing holds the relay to
anything: what a test sends, goes out.

A connection ends in stages, so that nothing that was sent is lost (RFC 9112, section 9.6). A system resets a connection
whose socket is closed while data of the client's are unread or still arrive (RFC 1122, section 4.2.2.13), and the reset
destroys what the client has not received. So `RelaySocket.finish` ends the relay's direction only, and the socket is
closed when the client has ended its own, or has received nothing for `LINGER` seconds; until then `RelaySocket.linger`
discards what arrives. `see_out` does so for a relay that stops.
"""

import base64
import hashlib
import math
import re
import secrets
import select
import socket
import ssl
import struct
import sys
from collections import deque
from collections.abc import Iterable, Mapping
from functools import cache, partial
from typing import Final, NamedTuple

from gennostr.client.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Close, apply_mask
from gennostr.otp.clock import SystemClock

__all__ = ["BINARY", "CLOSE", "CONTINUATION", "PING", "PONG", "TEXT", "Frame", "RelaySocket", "encode_frame"]

HOST: Final = "127.0.0.1"
ATTEMPTS: Final = 20
"""At a port that nobody else has."""
READ_SIZE: Final = 64 * 1024
WRITE_SIZE: Final = 64 * 1024
DISCARDED_READS: Final = 64
"""Reads after which `RelaySocket.linger` leaves the rest for its next call: a client may send faster than it reads."""
LINGER: Final = 2.0
"""Seconds after which a socket is closed whose connection the relay has ended: without a byte that the client received,
and without its own end."""
LONGEST_LINGER: Final = 30.0
"""The same, however slowly a client receives."""
monotonic: Final = SystemClock.monotonic
"""The machine's clock, whatever clock the actors have."""
ACKNOWLEDGED_POLL: Final = 0.005
"""Seconds between two looks at what a client has acknowledged, of which there is no event."""
_WOULD_BLOCK: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = re.compile(r"^sec-websocket-key: *(\S+)", re.IGNORECASE | re.MULTILINE)


class Frame(NamedTuple):
    """A frame of the client's, unmasked."""

    opcode: int
    payload: bytes

    def close(self) -> Close:
        """Return what a close frame says; the code is None where it gave none."""
        if len(self.payload) < 2:
            return Close(None, "")
        (code,) = struct.unpack(">H", self.payload[:2])
        return Close(code, self.payload[2:].decode(errors="replace"))


class RelaySocket:
    """One accepted connection. No method waits."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # each send is a segment
        self.sock = sock
        self.shaking = False
        """Whether a TLS handshake is under way."""
        self.request = ""
        """The head of the HTTP request, once it is there."""
        self.unread = bytearray()
        """What has arrived and is no whole request, or no whole frame, yet."""
        self.frames: deque[Frame] = deque()
        """The frames that nobody has taken."""
        self.pings: list[Frame] = []
        """Those of all frames that are pings without an answer."""
        self.cut = 0
        """How many frames there were in all."""
        self.out = bytearray()
        """What waits to be written."""
        self.end: str | None = None
        """How the connection ended, in words; None while the client may send."""
        self.upgraded = False
        self.over = False
        """Whether the relay has ended the connection: nothing can be added to `out`."""
        self.shut = False
        """Whether the FIN is out."""
        self._client_ended = False
        self._notify = False
        # When the socket is closed: with each byte that is received later, but never later than the second.
        self._deadline = self._last_deadline = math.inf
        # How many bytes the client had still to receive, when that was looked at last.
        self._left = math.inf

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Begin the server's side of the handshake; `read` goes on with it."""
        self.shaking = True
        try:
            self.sock = context.wrap_socket(self.sock, server_side=True, do_handshake_on_connect=False)
        except OSError as error:  # the client has ended before; the socket is closed
            self.end = f"the connection failed: {error}"

    def upgrade(self, headers: Mapping[str, str] | None = None) -> None:
        """Answer the request with 101; from here on frames are read. ValueError: it asks for no WebSocket."""
        key = _KEY.search(self.request)
        if key is None:
            raise ValueError(f"not an upgrade request: {self.request!r:.200}")
        digest = hashlib.sha1(f"{key[1]}{_GUID}".encode()).digest()  # noqa: S324 - RFC 6455's choice
        self.out += (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n"
        )
        for name, value in (headers or {}).items():
            self.out += f"{name}: {value}\r\n".encode()
        self.out += b"\r\n"
        self.upgraded = True
        self._cut_all()

    def read(self) -> None:
        """Take in what has arrived. Raises nothing: an end, in whatever way, is kept in `end`."""
        if self.end is not None:
            return
        try:
            if self.shaking:
                assert isinstance(self.sock, ssl.SSLSocket)  # noqa: S101
                self.sock.do_handshake()
                self.shaking = False
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
        """Write what the socket takes, `size` bytes at most; return how many. OSError: it takes no more, ever."""
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
        """Have the pongs written next."""
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
        """Begin an orderly end: what is in `out` is still sent, then TLS's close_notify if wanted, then FIN.

        It is done by `linger`, which is to be called now, whenever the socket is ready, and at times without: until it
        returns True, and then `close` is.
        """
        if not self.over:
            self.over = True
            self.end = self.end or "the relay ended the connection"
            self._notify = notify and not self.shaking
            self._last_deadline = monotonic() + LONGEST_LINGER

    def linger(self) -> bool:
        """Do what can be done for an end that has begun; return whether the socket is to be closed."""
        if not self.over:
            return False
        try:
            self.write()
            if not self.out and not self.shut:
                self._send_close_notify()
                # Not SSLSocket.shutdown, which would throw the TLS state away.
                socket.socket.shutdown(self.sock, socket.SHUT_WR)
                self.shut = True
        except _WOULD_BLOCK:
            pass
        except OSError:
            return True  # reset by the client, or closed: nothing more can arrive
        try:
            # After the FIN no TLS is spoken; before it, OpenSSL may still need what arrives.
            recv = partial(socket.socket.recv, self.sock) if self.shut else self.sock.recv
            for _ in range(DISCARDED_READS):
                if self._client_ended or not recv(READ_SIZE):
                    self._client_ended = True
                    break
        except _WOULD_BLOCK:
            pass
        except OSError:
            self._client_ended = True  # whatever it is, nothing can be read any more
        now = monotonic()
        left = len(self.out) + (unacknowledged(self.sock) or 0)
        if left < self._left:
            self._left = left
            self._deadline = min(now + LINGER, self._last_deadline)
        return (self.shut and self._client_ended) or now >= self._deadline

    @property
    def is_received(self) -> bool:
        """Whether the client's system has all that was sent, the end included; False where nobody can know.

        From then on not even a reset takes any of it away: what has arrived is read before.
        """
        return self.shut and unacknowledged(self.sock) == 0

    def close(self) -> None:
        """Close the socket of a connection that has ended."""
        self.out.clear()
        self.sock.close()

    def disconnect(self) -> None:
        """End the connection (FIN) and close it at once, for whoever cannot linger. What is in `out` is not sent."""
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
            pass  # closed before
        self.close()

    def _send_close_notify(self) -> None:
        """Send TLS's close_notify if it is still to be sent; the client's is not waited for."""
        if self._notify and isinstance(self.sock, ssl.SSLSocket):
            try:
                self.sock.unwrap()
            except ssl.SSLWantWriteError:
                raise
            except (ssl.SSLError, ValueError):
                pass  # it is sent and the client's is not there yet, or TLS has failed before
        self._notify = False

    def _cut_all(self) -> None:
        while self.upgraded and (frame := self._cut_frame()) is not None:
            self.cut += 1
            self.frames.append(frame)
            if frame.opcode == PING:
                self.pings.append(frame)

    def _cut_frame(self) -> Frame | None:
        """Return the next frame; None if it is not all there, or is none (then this is the end)."""
        unread = self.unread
        if len(unread) < 2:
            return None
        first, second = unread[0], unread[1]
        if first & 0xF0 != 0x80 or not second & 0x80:
            wrong = "an unmasked frame" if first & 0xF0 == 0x80 else "a fragment, or reserved bits"
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
        frame = Frame(first & 0x0F, apply_mask(bytes(unread[start:stop]), bytes(unread[at:start])))
        del unread[:stop]
        return frame


def encode_frame(opcode: int, payload: bytes, *, fin: bool = True, masked: bool = False, rsv: int = 0) -> bytes:
    """Return a frame's bytes (section 5.2), legal or not; `rsv` is the three reserved bits as a number."""
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
        """Return how many bytes were sent and not acknowledged, FIN being one; None where the system does not say."""
        try:
            # tcp(7): SIOCOUTQ, which is this number.
            return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        except (OSError, ValueError):  # the socket is closed
            return None
else:

    def unacknowledged(sock: socket.socket) -> int | None:  # noqa: ARG001
        """Return None: nobody knows."""
        return None


def see_out(wires: Iterable[RelaySocket]) -> None:
    """Wait for the end of the connections that `RelaySocket.finish` has ended, and close them.

    A connection is waited for until nothing of it can be lost any more: its client has received all, or has ended it
    too. The time is `RelaySocket.linger`'s.
    """
    wires = list(wires)
    try:
        waiting = wires
        while waiting := [wire for wire in waiting if not (wire.linger() or wire.is_received)]:
            poll = select.poll()
            for wire in waiting:
                wanted = (select.POLLIN if wire.waits_to_read else 0) | (select.POLLOUT if wire.waits_to_write else 0)
                poll.register(wire.sock, wanted)
            poll.poll(ACKNOWLEDGED_POLL * 1000)
    finally:
        for wire in wires:
            wire.close()


def listener(port: int | None) -> socket.socket:
    """Return a socket that listens on `port` of 127.0.0.1; None: on one that is free.

    Systems number outgoing connections from 32768 up. A relay's port is below: while the relay is down, a client that
    keeps trying a port from that range can be given the same port as its own end, and is then connected to itself.
    """
    if port is not None:
        return socket.create_server((HOST, port), backlog=64)
    for _ in range(ATTEMPTS):
        try:
            return socket.create_server((HOST, 20_000 + secrets.randbelow(12_000)), backlog=64)
        except OSError:
            pass  # somebody has it
    raise RuntimeError(f"no free port on {HOST} in {ATTEMPTS} attempts")


class Identity(NamedTuple):
    """How a relay is reached: the context of its TLS, if any, and what a client needs to trust it."""

    scheme: str
    context: ssl.SSLContext | None
    websocket: Mapping[str, object]


def identity(tls: bool | ssl.SSLContext) -> Identity:  # noqa: FBT001 - what the relay was given
    """Return the identity that `tls` stands for; ImportError: a certificate is wanted, and there is no trustme."""
    if isinstance(tls, ssl.SSLContext):
        return Identity("wss", tls, {})
    if not tls:
        return Identity("ws", None, {})
    server, client = _certificate()
    return Identity("wss", server, {"sslopt": {"context": client}})


@cache
def _certificate() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return contexts for a server that is localhost and for a client that trusts it; one pair for the process."""
    try:
        import trustme  # noqa: PLC0415 - an extra: asked for when it is needed
    except ImportError:
        raise ImportError("a relay with TLS needs trustme: pip install 'gennostr[testing]'") from None
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", HOST).configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client
