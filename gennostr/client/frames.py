"""WebSocket frames (RFC 6455), as a client reads and writes them: bytes in, messages out, and no I/O.

`FrameReader.receive` is the hot path of the library: it cuts all complete frames out of one read. Unmasked final text
frames, which is what a relay sends all day, are cut in one tight loop; everything else (fragments, control
frames, violations) takes the slow branch.

Limits are kept while reading: a header that announces more than may come is refused before its payload arrives,
so no more than ``max_message_size`` and one read is ever held. Time is linear in the bytes: a partial frame is
collected in a list of chunks and joined once it is complete.

A text message must be UTF-8 as a whole; that is checked once, in C. A binary message is delivered as it is: who
decodes it finds out.
"""

import os
from dataclasses import dataclass
from struct import Struct
from typing import Final, TypeAlias

from gennostr.exceptions import ProtocolError

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

PROTOCOL_ERROR: Final = 1002
INVALID_DATA: Final = 1007
TOO_BIG: Final = 1009

_FIN_TEXT = 0x80 | TEXT
_LENGTH_16 = Struct("!H")
_LENGTH_64 = Struct("!Q")
_CLOSE_CODES = frozenset({*range(1000, 1004), *range(1007, 1015)})


@dataclass(frozen=True, slots=True)
class Ping:
    """A ping, to be answered with its payload."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """A pong."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """The peer's close frame; the code is None where it gave none."""

    code: int | None
    reason: str


Received: TypeAlias = bytes | Ping | Pong | Close | ProtocolError


class FrameReader:
    """Cuts the messages out of a stream."""

    def __init__(self, max_message_size: int = 5 * 1024 * 1024) -> None:
        self._max = max_message_size
        # The start of a frame that is not complete: its chunks, their size, and the size that completes it (or
        # its header, as far as that is known).
        self._chunks: list[bytes] = []
        self._held = 0
        self._needed = 0
        # The fragments of a message that is not complete.
        self._fragments: list[bytes] = []
        self._fragments_size = 0
        self._fragments_opcode = 0
        self._over = False

    @property
    def buffered(self) -> int:
        """Bytes held for what is not complete."""
        return self._held + self._fragments_size

    @property
    def over(self) -> bool:
        """Whether a close frame or a violation has ended the stream."""
        return self._over

    def receive(self, data: bytes) -> list[Received]:
        """Return what `data` completes, in order.

        A violation is a `ProtocolError`, with the code to close with, and the last item. After it, or after a
        Close, nothing is read any more.
        """
        if self._over:
            return []
        if self._chunks:
            self._chunks.append(data)
            self._held += len(data)
            if self._held < self._needed:
                return []
            data = b"".join(self._chunks)
            self._chunks.clear()
            self._held = 0
        received: list[Received] = []
        append = received.append
        end = len(data)
        limit = self._max
        at = 0
        while end - at >= 2:
            first = data[at]
            length = data[at + 1]
            start = at + 2
            if length < 126:
                pass
            elif length == 126:
                if end - at < 4:
                    break
                length = (data[at + 2] << 8) | data[at + 3]
                start = at + 4
                if length < 126:
                    append(self._violation(PROTOCOL_ERROR, "length not in its shortest form"))
                    return received
            elif length == 127:
                if end - at < 10:
                    break
                (length,) = _LENGTH_64.unpack_from(data, at + 2)
                start = at + 10
                if length < 65536 or length >> 63:
                    append(self._violation(PROTOCOL_ERROR, "illegal length"))
                    return received
            else:
                append(self._violation(PROTOCOL_ERROR, "masked frame from the relay"))
                return received
            if first == _FIN_TEXT and not self._fragments_opcode and length <= limit:
                stop = start + length
                if stop > end:
                    break
                payload = data[start:stop]
                at = stop
                if not payload.isascii():
                    try:
                        str(payload, "utf-8")
                    except UnicodeDecodeError:
                        append(self._violation(INVALID_DATA, "text that is not UTF-8"))
                        return received
                append(payload)
                continue
            # From here on the rare frames. Their headers are judged before their payloads arrive.
            violation = self._judge(first, length)
            if violation is not None:
                append(violation)
                return received
            stop = start + length
            if stop > end:
                break
            item = self._take(first, data[start:stop])
            at = stop
            if item is not None:
                append(item)
            if self.over:
                return received
        if at < end:
            rest = data[at:] if at else data
            self._chunks.append(rest)
            self._held = len(rest)
            self._needed = _needed(rest)
        return received

    def _violation(self, code: int, reason: str) -> ProtocolError:
        self._over = True
        self._chunks.clear()
        self._fragments.clear()
        self._held = self._fragments_size = 0
        return ProtocolError(code, reason)

    def _judge(self, first: int, length: int) -> ProtocolError | None:
        """Return what is wrong with a frame by its header."""
        opcode = first & 0x0F
        if first & 0x70:
            return self._violation(PROTOCOL_ERROR, "reserved bits set")
        if opcode in (CLOSE, PING, PONG):
            if not first & 0x80:
                return self._violation(PROTOCOL_ERROR, "fragmented control frame")
            if length > 125:
                return self._violation(PROTOCOL_ERROR, "control frame over 125 bytes")
            return None
        if opcode in (TEXT, BINARY):
            if self._fragments_opcode:
                return self._violation(PROTOCOL_ERROR, "new message inside a fragmented one")
        elif opcode != CONTINUATION:
            return self._violation(PROTOCOL_ERROR, f"reserved opcode {opcode}")
        elif not self._fragments_opcode:
            return self._violation(PROTOCOL_ERROR, "continuation of nothing")
        if self._fragments_size + length > self._max:
            return self._violation(TOO_BIG, f"message over {self._max} bytes")
        return None

    def _take(self, first: int, payload: bytes) -> Received | None:
        """Return what a complete frame, found legal by `_judge`, completes."""
        opcode = first & 0x0F
        if opcode == PING:
            return Ping(payload)
        if opcode == PONG:
            return Pong(payload)
        if opcode == CLOSE:
            return self._close(payload)
        if opcode != CONTINUATION:
            self._fragments_opcode = opcode
        if payload:  # empty fragments must not pile up
            self._fragments.append(payload)
            self._fragments_size += len(payload)
        if not first & 0x80:
            return None
        message = b"".join(self._fragments)
        kind = self._fragments_opcode
        self._fragments.clear()
        self._fragments_size = self._fragments_opcode = 0
        if kind == TEXT and not message.isascii():
            try:
                str(message, "utf-8")
            except UnicodeDecodeError:
                return self._violation(INVALID_DATA, "text that is not UTF-8")
        return message

    def _close(self, payload: bytes) -> Received:
        if not payload:
            self._over = True
            return Close(None, "")
        if len(payload) == 1:
            return self._violation(PROTOCOL_ERROR, "close frame of one byte")
        (code,) = _LENGTH_16.unpack_from(payload)
        if code not in _CLOSE_CODES and not 3000 <= code <= 4999:
            return self._violation(PROTOCOL_ERROR, f"illegal close code {code}")
        try:
            reason = str(payload[2:], "utf-8")
        except UnicodeDecodeError:
            return self._violation(INVALID_DATA, "close reason that is not UTF-8")
        self._over = True
        return Close(code, reason)


def _needed(start: bytes) -> int:
    """Return how many bytes from `start` complete its frame, or its header."""
    if len(start) < 2:
        return 2
    length = start[1]
    if length < 126:
        return 2 + length
    if length == 126:
        return 4 if len(start) < 4 else 4 + ((start[2] << 8) | start[3])
    return 10 if len(start) < 10 else 10 + int(_LENGTH_64.unpack_from(start, 2)[0])


def encode_frame(opcode: int, payload: bytes) -> bytes:
    """Return a final frame, masked as a client's must be."""
    size = len(payload)
    key = os.urandom(4)
    if size < 126:
        header = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65536:
        header = bytes((0x80 | opcode, 0xFE)) + _LENGTH_16.pack(size)
    else:
        header = bytes((0x80 | opcode, 0xFF)) + _LENGTH_64.pack(size)
    # One XOR over the whole payload: a loop over its bytes costs two to three times as much.
    mask = int.from_bytes((key * (size // 4 + 1))[:size], "little")
    masked = int.from_bytes(payload, "little") ^ mask
    return header + key + masked.to_bytes(size, "little")


def encode_close(code: int, reason: str = "") -> bytes:
    """Return a close frame; `reason` is cut to what fits into it."""
    text = reason.encode("utf-8", "replace")[:123].decode("utf-8", "ignore").encode()
    return encode_frame(CLOSE, _LENGTH_16.pack(code) + text)
