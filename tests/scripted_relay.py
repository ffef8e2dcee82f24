"""A relay whose part the test plays itself, line by line, over real loopback sockets.

There is no thread in it: what the relay does, the test does, in order, and nothing else happens.
The kernel's backlog holds connections until the test accepts them, and its buffers hold what was
sent until the test reads it. Every wait has a timeout in seconds and ends in a TimeoutError; where
a message was expected, the end of the connection is an EOFError and its reset a
ConnectionResetError.

A test reads like the dialogue it makes::

    with ScriptedRelay() as relay:
        ...  # the client connects to relay.url
        peer = relay.accept()
        peer.expect("REQ")
        peer.send(["EOSE", "feed"])
        peer.drop()

Protocol: RFC 6455. Nothing here keeps a test from breaking it; that is what it is for.
"""

import base64
import contextlib
import hashlib
import json
import re
import socket
import ssl
import struct
import time
from types import TracebackType
from typing import Any, Self

from gennostr.cli.local_relay import HOST, free_port

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
NO_STATUS = 1005  # a close frame without a code (section 7.1.5)


class ScriptedRelay:
    """Listens on one port of localhost. With ``tls``, a server's context, its url is wss."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._peers: list[Peer] = []
        self._listener: socket.socket | None = None
        self.port = free_port()
        self.url = f"{'ws' if tls is None else 'wss'}://localhost:{self.port}/"

    def __enter__(self) -> Self:
        self.start_listening()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop_listening()
        for peer in self._peers:
            peer.disconnect()

    def start_listening(self) -> None:
        """Accept connections into the backlog, again or for the first time, on the same port."""
        self._listener = socket.create_server((HOST, self.port), backlog=64)

    def stop_listening(self) -> None:
        """Refuse connections from now on and reset those that were not accepted."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def accept(self, timeout: float = 5) -> "Peer":
        """Accept the next connection: TCP, TLS if the relay has it, and the upgrade with 101."""
        peer = self.accept_raw(timeout)
        if self._tls is not None:
            peer.start_tls(self._tls)
        peer.read_request(timeout)
        peer.upgrade()
        return peer

    def accept_raw(self, timeout: float = 5) -> "Peer":
        """Accept the next TCP connection and stay silent."""
        assert self._listener is not None, "the relay is not listening"
        self._listener.settimeout(timeout)
        try:
            connection, _ = self._listener.accept()
        except TimeoutError:
            raise TimeoutError(f"nobody connected to {self.url} within {timeout} s") from None
        peer = Peer(connection)
        self._peers.append(peer)
        return peer


class Peer:
    """The relay's end of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # each send is a segment
        self._socket = connection
        self._buffer = bytearray()
        self.request = ""

    # -- handshake

    def start_tls(self, context: ssl.SSLContext, timeout: float = 5) -> None:
        """Do the server's side of the TLS handshake."""
        self._socket.settimeout(timeout)
        self._socket = context.wrap_socket(self._socket, server_side=True)

    def read_request(self, timeout: float = 5) -> str:
        """Read the head of the HTTP request, which stays in ``request``."""
        deadline = time.monotonic() + timeout
        while b"\r\n\r\n" not in self._buffer:
            self._fill("the upgrade request", deadline)
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        self._buffer[:] = rest
        self.request = head.decode("ascii")
        return self.request

    def upgrade_response(self) -> bytes:
        """Return the 101 that answers the request, to be sent with whatever should come with it."""
        key = re.search(r"^sec-websocket-key: *(\S+)", self.request, re.IGNORECASE | re.MULTILINE)
        assert key is not None, f"not an upgrade request: {self.request!r}"
        digest = hashlib.sha1(f"{key[1]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
        return (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
        )

    def upgrade(self) -> None:
        """Answer the request with 101."""
        self.send_raw(self.upgrade_response())

    def refuse(self, status: int = 403, body: bytes = b"", reason: str = "Forbidden") -> None:
        """Answer the request with another status; the connection stays open."""
        head = f"HTTP/1.1 {status} {reason}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.send_raw(head.encode() + body)

    # -- receiving

    def receive(self, timeout: float = 5) -> Any:
        """Return the next text frame's JSON. Pings are answered, pongs skipped."""
        deadline = time.monotonic() + timeout
        opcode, payload = self._receive_data(deadline, "a message")
        assert opcode == TEXT, f"the client sent opcode {opcode:#x}: {describe(opcode, payload)}"
        return json.loads(payload)

    def expect(self, label: str, timeout: float = 5) -> Any:
        """Return the next message that begins with the label; others before it are skipped."""
        deadline = time.monotonic() + timeout
        while True:
            message = json.loads(self._receive_data(deadline, label)[1])
            if message[0] == label:
                return message

    def expect_close(self, timeout: float = 5) -> tuple[int, str]:
        """Return code and reason of the client's close frame (1005 if it has none), unanswered.

        Data before it is skipped.
        """
        deadline = time.monotonic() + timeout
        while True:
            opcode, payload = self._receive_frame(deadline, "a close frame")
            if opcode == CLOSE:
                return read_close(payload)
            if opcode == PING:
                self.send_frame(PONG, payload)

    def receive_frame(self, timeout: float = 5) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame, whatever it is, unanswered."""
        return self._receive_frame(time.monotonic() + timeout, "a frame")

    def is_closed(self, timeout: float = 5) -> bool:
        """Tell whether the client ends the TCP connection within the timeout.

        What it sends before stays readable.
        """
        deadline = time.monotonic() + timeout
        with contextlib.suppress(TimeoutError):
            while True:
                try:
                    self._fill("the end of the connection", deadline)
                except (EOFError, ConnectionError):
                    return True
        return False

    # -- sending

    def send(self, message: list[Any]) -> None:
        """Send a list as JSON in a text frame."""
        self.send_text(json.dumps(message))

    def send_text(self, text: str) -> None:
        """Send a text frame."""
        self.send_frame(TEXT, text.encode())

    def send_frame(self, opcode: int, payload: bytes, *, fin: bool = True, masked: bool = False, rsv: int = 0) -> None:
        """Send one frame, legal or not; ``rsv`` is the three reserved bits as a number."""
        self.send_raw(encode_frame(opcode, payload, fin=fin, masked=masked, rsv=rsv))

    def send_raw(self, data: bytes, timeout: float = 5) -> None:
        """Send bytes as they are. A client that reads too little ends this in a TimeoutError."""
        self._socket.settimeout(timeout)
        self._socket.sendall(data)

    def ping(self, payload: bytes = b"") -> None:
        """Send a ping."""
        self.send_frame(PING, payload)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame; the TCP connection stays open."""
        self.send_frame(CLOSE, struct.pack(">H", code) + reason.encode())

    # -- ending the TCP connection

    def drop(self) -> None:
        """Reset the connection (RST), as a crash or a middlebox does."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def half_close(self) -> None:
        """End our direction (FIN); the client's stays open."""
        # Not SSLSocket.shutdown, which would throw the TLS state away: reading must go on.
        socket.socket.shutdown(self._socket, socket.SHUT_WR)

    def disconnect(self) -> None:
        """End the connection (FIN) without a close frame, and without TLS's close_notify."""
        with contextlib.suppress(OSError):
            self._socket.settimeout(0)
            # Closing with bytes unread would be a reset.
            while socket.socket.recv(self._socket, 65536):
                pass
        self._socket.close()

    # -- machinery

    def _receive_data(self, deadline: float, awaited: str) -> tuple[int, bytes]:
        while True:
            opcode, payload = self._receive_frame(deadline, awaited)
            if opcode == PING:
                self.send_frame(PONG, payload)
            elif opcode == CLOSE:
                raise EOFError(f"waiting for {awaited}: {describe(opcode, payload)}")
            elif opcode != PONG:
                return opcode, payload

    def _receive_frame(self, deadline: float, awaited: str) -> tuple[int, bytes]:
        """Cut one frame off, holding the client to section 5: masked, whole, no reserved bits."""
        first, second = self._cut(2, deadline, awaited)
        opcode, length = first & 0x0F, second & 0x7F
        assert first & 0xF0 == 0x80, f"fragment or reserved bits in {first:#04x} {second:#04x}"
        assert second & 0x80, f"the client sent an unmasked frame with opcode {opcode:#x}"
        if length == 126:
            (length,) = struct.unpack(">H", self._cut(2, deadline, awaited))
        elif length == 127:
            (length,) = struct.unpack(">Q", self._cut(8, deadline, awaited))
        mask = self._cut(4, deadline, awaited)
        return opcode, apply_mask(self._cut(length, deadline, awaited), mask)

    def _cut(self, size: int, deadline: float, awaited: str) -> bytes:
        while len(self._buffer) < size:
            self._fill(awaited, deadline)
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _fill(self, awaited: str, deadline: float) -> None:
        """Read once into the buffer."""
        remaining = deadline - time.monotonic()
        in_vain = f"waited for {awaited} in vain; unread is {bytes(self._buffer[:200])!r}"
        if remaining <= 0:
            raise TimeoutError(in_vain)
        self._socket.settimeout(remaining)
        try:
            data = self._socket.recv(65536)
        except TimeoutError:
            raise TimeoutError(in_vain) from None
        except ssl.SSLEOFError:
            data = b""  # TCP ended without TLS's close_notify
        if not data:
            raise EOFError(f"waiting for {awaited}: the client ended the connection")
        self._buffer += data


def encode_frame(opcode: int, payload: bytes, *, fin: bool = True, masked: bool = False, rsv: int = 0) -> bytes:
    """Return one frame's bytes (section 5.2)."""
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


def apply_mask(payload: bytes, mask: bytes) -> bytes:
    """Mask or unmask a payload: the same operation (section 5.3)."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


def read_close(payload: bytes) -> tuple[int, str]:
    """Return a close frame's code and reason."""
    if not payload:
        return NO_STATUS, ""
    (code,) = struct.unpack(">H", payload[:2])
    return code, payload[2:].decode()


def describe(opcode: int, payload: bytes) -> str:
    """Say what a frame is, for a failure's message."""
    if opcode == CLOSE:
        return "the client closed with {} {!r}".format(*read_close(payload))
    return repr(payload[:200])
