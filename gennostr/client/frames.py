"""WebSocket frames (RFC 6455), as a client reads and writes them.

Bytes in, messages out, and no I/O.

The rules, and the close code for a violation:

- 1002: A relay's frame is not masked (5.1). Reserved bits are zero unless compression was agreed, opcodes are known,
  lengths in their shortest form and below 2**63 (5.2). A continuation continues something, and no message begins inside
  another (5.4). Control frames are final and carry 125 bytes at most (5.5). The payload of a close frame is empty, or a
  code that may be sent and a reason (5.5.1, 7.4).
- 1007: Text is UTF-8 (8.1), and so is the reason in a close frame. Compressed data is valid.
- 1009: A message has ``max_message_size`` bytes at most.

If permessage-deflate was agreed (RFC 7692), RSV1 marks the first frame of a compressed message (6). It is a violation
on continuations and control frames. All rules about messages apply to what was inflated: UTF-8, and
``max_message_size``, at which inflating stops. A compressed frame may have a little more than ``max_message_size``,
since data that cannot be compressed grows.

websocket-client's own reader is laxer: it accepts masked frames, longer lengths than needed, fragmented pong and close
frames, and has no limit. It does the handshake; the frames are read here.

Text and binary messages are both delivered as ``bytes``: to Nostr, both are JSON. Text is checked as a whole, once, in
C; the JSON decoder would not do, as it does not check what it skips. A binary message need not be UTF-8, so it is no
violation here if it is not: it is delivered as it is, and its decoder finds out.

How it works: `FrameReader.receive` is the hot path of the library, and cuts all complete frames out of one read. Final
text frames of 126 bytes to 64 KiB, which are most of what a relay sends, are cut in one tight loop that creates nothing
but their payloads; everything else takes the slow branch. The rest of a read, the start of a frame, is kept with the
number of bytes needed to continue: first to complete the header, then the frame. Until these have arrived, reads are
appended unexamined, so a frame is copied a fixed number of times however it arrives, and time is linear in the bytes.

Limits are enforced while reading: a header that announces too much is refused before its payload arrives. What is held
is appended to bytearrays, never listed: a list of two-byte reads, or fragments, takes twenty times their bytes, and the
sender chooses their size. So between reads no more is held than ``max_message_size`` and one control frame.

Compressed fragments are inflated as they arrive. One read may become a thousand times as many bytes, so after
`INFLATED` bytes `FrameReader.receive` returns, with `FrameReader.pending` set, and holds the rest of the read.
"""

import codecs
import os
import zlib
from dataclasses import dataclass
from struct import Struct
from typing import Final, TypeAlias

from gennostr.client.compression import Inflater
from gennostr.exceptions import ProtocolError
from gennostr.nostr.messages import LARGE

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

PROTOCOL_ERROR: Final = 1002
INVALID_DATA: Final = 1007
TOO_BIG: Final = 1009

INFLATED: Final = 128 * 1024
"""The bytes of inflated messages after which a read is interrupted: as many as a read has without compression."""

_RSV1 = 0x40
_FIN_TEXT = 0x80 | TEXT
_FIN_COMPRESSED_TEXT = 0x80 | _RSV1 | TEXT
# The first two bytes of a final text frame whose length, 126 bytes to 64 KiB, is in the two that follow.
_MEDIUM_TEXT = _FIN_TEXT << 8 | 126
_HEAD = Struct("!HH").unpack_from
_LENGTH_16 = Struct("!H")
_LENGTH_64 = Struct("!Q")
_DECODER = codecs.getincrementaldecoder("utf-8")
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
    """A relay's close frame: the reason of handle_disconnect if it closed in order.

    >>> from gennostr import Close
    >>> Close(1001, "restarting").code
    1001
    """

    code: int | None
    """The close code (RFC 6455, 7.4); None if the relay gave no code."""
    reason: str
    """The relay's text; may be empty."""


Received: TypeAlias = bytes | Ping | Pong | Close | ProtocolError


class FrameReader:
    """Cuts a stream into messages.

    A message has at most `max_message_size` bytes, reassembled and inflated. With an `inflater`, messages may be
    compressed.
    """

    def __init__(self, max_message_size: int = 5 * 1024 * 1024, inflater: Inflater | None = None) -> None:
        self._max = max_message_size
        self._inflater = inflater
        # What a frame of a compressed message may have: more than zlib makes of data that it cannot compress (its
        # deflateBound).
        self._max_compressed = max_message_size + (max_message_size >> 3) + (max_message_size >> 6) + 64
        # The start of an incomplete frame, and how many bytes complete it, or its header.
        self._partial = bytearray()
        self._needed = 0
        # The fragments of an incomplete message, and its opcode; 0 (CONTINUATION) without one.
        self._fragments = bytearray()
        self._fragments_opcode = 0
        self._compressed = False
        self._over = False
        self.large = False
        """Whether the last read completed a message of LARGE bytes or more."""
        self.inflated = 0
        """The bytes of the compressed messages, inflated, that the last read completed."""
        self.pending = False
        """Whether more of what was read can be cut now: call ``receive(b"")`` before reading on."""

    @property
    def buffered(self) -> int:
        """The number of bytes held for incomplete frames and messages."""
        return len(self._partial) + len(self._fragments)

    @property
    def over(self) -> bool:
        """Whether a close frame or a violation has ended the stream."""
        return self._over

    def receive(self, data: bytes | bytearray | memoryview) -> list[Received]:
        """Return what `data` completes, in wire order; nothing of `data` itself is kept.

        A violation is not raised but returned, as the last item: a `ProtocolError` with the code for the close frame.
        After it, or after a `Close`, nothing more is read: further calls return ``[]``.
        """
        self.large = self.pending = False
        self.inflated = 0
        if self._over:
            return []
        if not isinstance(data, bytes):
            data = bytes(data)
        if self._partial:
            if len(self._partial) + len(data) < self._needed:
                self._partial += data
                return []
            data = b"".join((self._partial, data))
            self._partial.clear()
        received: list[Received] = []
        append = received.append
        end = len(data)
        limit = self._max
        at = 0
        while end - at >= 2:
            if not self._fragments_opcode:
                while end - at >= 4:
                    head, length = _HEAD(data, at)
                    stop = at + 4 + length
                    if head != _MEDIUM_TEXT or not 126 <= length <= limit or stop > end:
                        break  # whatever it is, it is found again below
                    payload = data[at + 4 : stop]
                    at = stop
                    if not payload.isascii() and not _is_utf8(payload):
                        append(self._violation(INVALID_DATA, "text that is not UTF-8"))
                        return received
                    append(payload)
                if end - at < 2:
                    break
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
                if length >= LARGE:
                    self.large = True
                payload = data[start:stop]
                at = stop
                if not payload.isascii() and not _is_utf8(payload):
                    append(self._violation(INVALID_DATA, "text that is not UTF-8"))
                    return received
                append(payload)
                continue
            if (
                first == _FIN_COMPRESSED_TEXT
                and not self._fragments_opcode
                and self._inflater is not None
                and length <= self._max_compressed
            ):
                stop = start + length
                if stop > end:
                    break
                message = self._inflate(self._inflater, data[start:stop])
                at = stop
                append(message)
                if not isinstance(message, bytes):
                    return received
                if self.inflated >= INFLATED:
                    self.pending = at < end
                    break
                continue
            # From here on the rare frames. Their headers are checked before their payloads arrive.
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
                if isinstance(item, Close | ProtocolError):
                    return received
                if self.inflated >= INFLATED:
                    self.pending = at < end
                    break
        if at < end:
            self._partial += data[at:]
            self._needed = 0 if self.pending else _needed(self._partial)
        return received

    def _inflate(self, inflater: Inflater, payload: bytes) -> bytes | ProtocolError:
        """Return the text in the only frame of a compressed message."""
        try:
            message = inflater.message(payload, self._max)
        except zlib.error as error:
            return self._violation(INVALID_DATA, f"invalid compressed data: {error}")
        if message is None:
            return self._violation(TOO_BIG, f"message over {self._max} bytes")
        size = len(message)
        self.inflated += size
        if size >= LARGE:
            self.large = True
        if not message.isascii() and not _is_utf8(message):
            return self._violation(INVALID_DATA, "text that is not UTF-8")
        return message

    def _end(self) -> None:
        self._over = True
        self.pending = False
        self._partial.clear()
        self._fragments.clear()
        self._inflater = None

    def _violation(self, code: int, reason: str) -> ProtocolError:
        self._end()
        return ProtocolError(code, reason)

    def _judge(self, first: int, length: int) -> ProtocolError | None:
        """Return what is wrong with a frame, judging by its header."""
        opcode = first & 0x0F
        if first & 0x70:
            if self._inflater is None or first & 0x70 != _RSV1:
                return self._violation(PROTOCOL_ERROR, "reserved bits set")
            if opcode >= CLOSE:
                return self._violation(PROTOCOL_ERROR, "reserved bits set: RSV1 on a control frame")
            if opcode == CONTINUATION:
                return self._violation(PROTOCOL_ERROR, "reserved bits set: RSV1 on a continuation")
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
        if first & _RSV1 or (self._compressed and self._fragments_opcode):
            if length > self._max_compressed:
                return self._violation(TOO_BIG, f"compressed frame over {self._max_compressed} bytes")
        elif len(self._fragments) + length > self._max:
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
            self._compressed = bool(first & _RSV1)
        if self._compressed:
            violation = self._inflate_fragment(payload, last=bool(first & 0x80))
            if violation is not None:
                return violation
        else:
            self._fragments += payload
        if not first & 0x80:
            return None
        message = bytes(self._fragments)
        if self._compressed:
            self.inflated += len(message)
        if len(message) >= LARGE:
            self.large = True
        text = self._fragments_opcode == TEXT
        self._fragments.clear()
        self._fragments_opcode = 0
        if text and not _is_utf8(message):
            return self._violation(INVALID_DATA, "text that is not UTF-8")
        return message

    def _inflate_fragment(self, payload: bytes, *, last: bool) -> ProtocolError | None:
        inflater, out = self._inflater, self._fragments
        assert inflater is not None  # noqa: S101 - found by `_judge`
        try:
            fits = inflater.feed(payload, out, self._max) and (not last or inflater.finish(out, self._max))
        except zlib.error as error:
            return self._violation(INVALID_DATA, f"invalid compressed data: {error}")
        return None if fits else self._violation(TOO_BIG, f"message over {self._max} bytes")

    def _close(self, payload: bytes) -> Close | ProtocolError:
        if not payload:
            self._end()
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
        self._end()
        return Close(code, reason)


def _is_utf8(text: bytes) -> bool:
    try:
        if len(text) < LARGE:
            str(text, "utf-8")
        else:
            # In pieces, for a str takes up to four bytes per character.
            decoder = _DECODER()
            for at in range(0, len(text), LARGE):
                decoder.decode(text[at : at + LARGE])
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _needed(start: bytearray) -> int:
    """Return how many bytes from `start` complete its frame, or its header."""
    if len(start) < 2:
        return 2
    length = start[1]
    if length < 126:
        return 2 + length
    if length == 126:
        return 4 if len(start) < 4 else 4 + ((start[2] << 8) | start[3])
    return 10 if len(start) < 10 else 10 + int(_LENGTH_64.unpack_from(start, 2)[0])


def encode_frame(opcode: int, payload: bytes, mask_key: bytes | None = None, *, compressed: bool = False) -> bytes:
    """Return a final frame, masked as a client's must be (RFC 6455, 5.3).

    The key is random unless given. `compressed` sets RSV1 (RFC 7692, 6).

    Raises ValueError for a control frame of more than 125 bytes, and for a key that does not have 4.
    """
    size = len(payload)
    if opcode >= CLOSE and size > 125:
        raise ValueError(f"payload of {size} bytes in a control frame, which holds 125")
    key = os.urandom(4) if mask_key is None else mask_key
    if len(key) != 4:
        raise ValueError(f"masking key of {len(key)} bytes, not 4")
    first = 0x80 | opcode | (_RSV1 if compressed else 0)
    if size < 126:
        header = bytes((first, 0x80 | size))
    elif size < 65536:
        header = bytes((first, 0xFE)) + _LENGTH_16.pack(size)
    else:
        header = bytes((first, 0xFF)) + _LENGTH_64.pack(size)
    return header + key + apply_mask(payload, key)


def apply_mask(payload: bytes, key: bytes) -> bytes:
    """Mask or unmask a payload: the same operation (5.3)."""
    # One XOR over the whole payload, as of two long integers: a loop over its bytes is far slower.
    size = len(payload)
    mask = int.from_bytes((key * (size // 4 + 1))[:size], "little")
    return (int.from_bytes(payload, "little") ^ mask).to_bytes(size, "little")


def encode_close(code: int, reason: str = "") -> bytes:
    """Return a masked close frame.

    The text `reason` is cut, between characters, to the 123 bytes that fit.
    """
    text = reason.encode("utf-8", "replace")[:123].decode("utf-8", "ignore").encode()
    return encode_frame(CLOSE, _LENGTH_16.pack(code) + text)
