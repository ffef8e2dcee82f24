"""A relay's end of a WebSocket (RFC 6455): TLS, the upgrade and the frames, over a socket that never blocks.

Who serves decides when: `RelaySocket` reads what has arrived, writes what the socket takes, and waits for nothing. It
holds the client to section 5: frames are masked, whole, and without reserved bits. Nothing holds the relay to
anything: what a test sends, goes out.
"""

import base64
import hashlib
import re
import secrets
import socket
import ssl
import struct
from collections import deque
from collections.abc import Mapping
from functools import cache
from typing import Final, NamedTuple

from gennostr.client.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Close, apply_mask

__all__ = ["BINARY", "CLOSE", "CONTINUATION", "PING", "PONG", "TEXT", "Frame", "RelaySocket", "encode_frame"]

HOST: Final = "127.0.0.1"
ATTEMPTS: Final = 20
"""At a port that nobody else has."""
READ_SIZE: Final = 64 * 1024
WRITE_SIZE: Final = 64 * 1024
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

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Begin the server's side of the handshake; `read` goes on with it."""
        self.sock = context.wrap_socket(self.sock, server_side=True, do_handshake_on_connect=False)
        self.shaking = True

    def upgrade(self) -> None:
        """Answer the request with 101; from here on frames are read. ValueError: it asks for no WebSocket."""
        key = _KEY.search(self.request)
        if key is None:
            raise ValueError(f"not an upgrade request: {self.request!r:.200}")
        digest = hashlib.sha1(f"{key[1]}{_GUID}".encode()).digest()  # noqa: S324 - RFC 6455's choice
        self.out += (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
        )
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
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
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
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
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

    def disconnect(self) -> None:
        """End the connection (FIN), without a close frame and without TLS's close_notify."""
        try:
            # Closing with bytes unread would be a reset.
            while socket.socket.recv(self.sock, READ_SIZE):
                pass
        except OSError:
            pass  # all read, or ended before
        self._close("the relay ended the connection")

    def reset(self) -> None:
        """Reset the connection (RST)."""
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass  # closed before
        self._close("the relay reset the connection")

    def _close(self, end: str) -> None:
        self.out.clear()
        self.sock.close()
        self.end = self.end or end

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
