"""Fuzz the frame reader: ``python -m benchmarks.fuzz [STREAMS] [--seed N]``, a million streams by default.

Half of the streams are valid: whole and fragmented messages, control frames between them, lengths around the limits of
each length encoding, characters split between fragments, with or without a close frame at the end. The other half are
such streams, damaged, or random bytes. websocket-client's reader gets each stream whole, ours in random pieces.

For a valid stream, both readers must return the same. For a damaged one, ours must not raise, must end with its first
violation or close frame, must buffer no more than a message and a control frame, and must return the same up to there.
If the other reader refuses a stream, ours must, too; ours may refuse more, but only by a rule that the other does not
have: see `STRICTER`.

Half of all streams are compressed (permessage-deflate), with parameters chosen at random, and compared with zlib: whole
and fragmented messages, compressed and not, of all kinds of blocks, of sizes up to the limit and beyond. Half of these
are damaged, in payloads and in the first bytes of frames. zlib gets each payload byte by byte, without a limit. Ours
must return the same messages, and end at the same frame with the same code.

Differences are printed with their streams; the exit status is then 1.
"""

import argparse
import multiprocessing
import random
import re
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import websocket

from benchmarks.measure import machine
from gennostr.client.compression import Inflater
from gennostr.client.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    INFLATED,
    PING,
    PONG,
    TEXT,
    Close,
    FrameReader,
    Ping,
    Pong,
    Received,
)
from gennostr.exceptions import ProtocolError
from gennostr.testing.relay_socket import encode_frame

LIMIT = 1 << 17
SIZES = (0, 1, 2, 3, 5, 20, 40, 124, 125, 126, 127, 128, 200, 300)
BIG_SIZES = (65535, 65536, 65537)
ALPHABETS = ("a", "azAZ09{}[]\"',: ", "\x00\x7f\x80\u07ff\u0800\uffff\U00010000\U0010ffff", "Zürich 東京 🙂")
CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999)
STRICTER = (
    "masked frame",
    "length not in its shortest form",
    "illegal length",
    "fragmented control frame",  # a pong or close
    "control frame over 125 bytes",  # a pong
    "message over",
    "that is not UTF-8",  # it accepts a character cut off by the end of the text
)
"""The violations that websocket-client's reader may accept."""

TAIL = b"\x00\x00\xff\xff"
PADDING = bytes(66_000)
UNREADABLE = "a frame whose payload is too long to be given"

BOTH, FAR = -1, -2

Said: TypeAlias = list[tuple[Any, ...]]


def _payload(draw: random.Random, opcode: int) -> bytes:
    size = draw.choice(BIG_SIZES) if draw.random() < 0.002 else draw.choice(SIZES)
    if opcode == BINARY:
        return draw.randbytes(size)
    if size > 1000:
        return b"x" * size
    return "".join(draw.choices(draw.choice(ALPHABETS), k=size)).encode()


def _control(draw: random.Random) -> bytes:
    return encode_frame(draw.choice((PING, PONG)), draw.randbytes(draw.choice((0, 1, 4, 125))))


def valid(draw: random.Random) -> bytes:
    """Return a valid stream."""
    parts: list[bytes] = []
    for _ in range(draw.randrange(1, 5)):
        opcode = draw.choice((TEXT, TEXT, TEXT, BINARY, PING))
        if opcode == PING:
            parts.append(_control(draw))
            continue
        payload = _payload(draw, opcode)
        cuts = sorted(draw.randrange(len(payload) + 1) for _ in range(draw.choice((0, 0, 1, 3))))
        ends = [*cuts, len(payload)]
        begin = 0
        for number, end in enumerate(ends):
            parts.append(encode_frame(CONTINUATION if number else opcode, payload[begin:end], fin=number == len(cuts)))
            begin = end
            if draw.random() < 0.2 and number < len(cuts):
                parts.append(_control(draw))
    ending = draw.random()
    if ending < 0.2:
        parts.append(
            encode_frame(CLOSE, struct.pack("!H", draw.choice(CODES)) + draw.choice(("", "bye", "ende 終")).encode())
        )
    elif ending < 0.25:
        parts.append(encode_frame(CLOSE, b""))
    return b"".join(parts)


def damaged(draw: random.Random) -> bytes:
    """Return a stream that is most likely invalid."""
    kind = draw.randrange(6)
    if kind == 0:
        return draw.randbytes(draw.randrange(1, 60))
    data = bytearray(valid(draw))
    if kind == 1:  # a header: any opcode, any bits, any length
        data[:0] = bytes((draw.randrange(256), draw.randrange(256)))
    elif kind == 2:
        del data[draw.randrange(len(data)) :]
    elif kind == 3:
        data[0] ^= 1 << draw.randrange(8)
    elif kind == 4:
        data += encode_frame(CLOSE, draw.randbytes(draw.randrange(4)))
    else:
        for _ in range(draw.randrange(1, 4)):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(data)


def ours(pieces: Iterable[bytes], inflater: Inflater | None = None) -> tuple[Said, ProtocolError | None, int]:
    """Return the items from our reader, the violation that it found, and the most bytes that it buffered."""
    reader = FrameReader(LIMIT, inflater)
    items: list[Received] = []
    most = 0
    for piece in pieces:
        items += reader.receive(piece)
        most = max(most, reader.buffered)
        while reader.pending:
            items += reader.receive(b"")
    violation: ProtocolError | None = None
    if items and isinstance(items[-1], ProtocolError):
        violation = items.pop()  # type: ignore[assignment]
    said: Said = []
    for item in items:
        match item:
            case bytes():
                said.append(("message", item))
            case Ping(payload):
                said.append((PING, payload))
            case Pong(payload):
                said.append((PONG, payload))
            case Close(code, reason):
                said.append((CLOSE, code, reason))
            case _:
                raise AssertionError(f"{item!r} is not the last")
    if any(each[0] == CLOSE for each in said[:-1]) or (violation and said and said[-1][0] == CLOSE):
        raise AssertionError("something comes after a close frame")
    return said, violation, most


class _Stream:
    """A socket from which a stream is read."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def recv(self, size: int) -> bytes:
        data = self._data[self._at : self._at + size]
        self._at += len(data)
        return data

    def send(self, data: bytes) -> int:
        return len(data)

    def gettimeout(self) -> float:
        return 0.0

    def close(self) -> None:
        """Do nothing: the rest of the stream is not needed."""


def theirs(stream: bytes) -> tuple[Said, str]:
    """Return the items from websocket-client's reader, and the violation that it found."""
    client: Any = websocket.WebSocket()
    client.sock = _Stream(stream)
    said: Said = []
    try:
        while True:
            opcode, found = client.recv_data_frame(control_frame=True)
            data = bytes(found.data)
            if opcode in (PING, PONG):
                said.append((opcode, data))
            elif opcode != CLOSE:
                said.append(("message", data))
            else:
                code = struct.unpack("!H", data[:2])[0] if data else None
                said.append((CLOSE, code, data[2:].decode("utf-8", "replace")))
                return said, ""
    except websocket.WebSocketConnectionClosedException:
        return said, UNREADABLE if (client.frame_buffer.length or 0) > len(PADDING) else ""
    except (websocket.WebSocketProtocolException, websocket.WebSocketPayloadException) as error:
        return said, str(error) or type(error).__name__
    finally:
        client.sock = None


def pieces(draw: random.Random, stream: bytes) -> Sequence[bytes]:
    """Cut `stream` at random: nowhere, in a few places, or at every byte."""
    way = draw.randrange(4)
    if way == 0:
        return [stream]
    if way == 1 and len(stream) < 600:
        return [stream[at : at + 1] for at in range(len(stream))]
    cuts = [0, *sorted(draw.randrange(len(stream) + 1) for _ in range(draw.randrange(1, 6))), len(stream)]
    return [stream[begin:end] for begin, end in pairwise(cuts)]


def difference(stream: bytes, cut: Sequence[bytes], *, is_valid: bool) -> tuple[str, str]:
    """Return the difference between the readers, or "", and the violation that ours found."""
    said, error, held = ours(cut)
    violation = "" if error is None else error.reason
    other, refused = theirs(stream)
    if held > LIMIT + 14 + 125:
        return f"{held} bytes held", violation
    if is_valid and (violation or refused or said != other):
        return f"valid: {violation!r}, {refused!r}, {said!r}, {other!r}", violation
    if said != other[: len(said)]:
        return f"{said!r} is not how {other!r} begins", violation
    if not violation and (refused not in ("", UNREADABLE) or len(said) != len(other)):
        return f"accepted: {said!r}, but {other!r}, {refused!r}", violation
    if violation and not refused and not any(rule in violation for rule in STRICTER):
        # Ours checks a frame when it has the header, the other only with the payload, which the end may have cut off.
        _, refused = theirs(stream + PADDING)
        if not refused:
            return f"refused alone: {violation!r}; {other!r}", violation
    return "", violation


Frames: TypeAlias = list[tuple[int, bytes]]
"""The first byte and the payload of each frame."""


def compressed(draw: random.Random, bits: int, *, takeover: bool) -> Frames:
    """Return a valid stream, compressed."""
    level, strategy = draw.choice((0, 1, 6, 9)), draw.choice((0, 0, 0, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED))
    deflate: Any = None
    frames: Frames = []
    for _ in range(draw.randrange(1, 5)):
        opcode = draw.choice((TEXT, TEXT, BINARY))
        message = _payload(draw, opcode)
        if draw.random() < 0.01:
            message = bytes(draw.choice((INFLATED - 1, INFLATED, LIMIT - 1, LIMIT, LIMIT + 1, 4 * LIMIT)))
        first, payload = opcode, message
        if draw.random() < 0.8:
            first |= 0x40
            if deflate is None or not takeover:
                deflate = zlib.compressobj(level, zlib.DEFLATED, -bits, draw.randrange(1, 10), strategy)
            payload = deflate.compress(message)
            if draw.random() < 0.1:  # a final block, and the empty one that must follow it (7.2.3.4)
                payload += deflate.flush(zlib.Z_FINISH) + b"\x00"
                deflate = None
            else:
                payload = (payload + deflate.flush(zlib.Z_SYNC_FLUSH))[: -len(TAIL)]
        ends = [0, *sorted(draw.randrange(len(payload) + 1) for _ in range(draw.choice((0, 0, 1, 3)))), len(payload)]
        for number, (begin, end) in enumerate(pairwise(ends)):
            last = number == len(ends) - 2
            frames.append(((CONTINUATION if number else first) | (0x80 if last else 0), payload[begin:end]))
            if draw.random() < 0.1:
                frames.append((0x80 | draw.choice((PING, PONG)), draw.randbytes(draw.choice((0, 1, 125)))))
    return frames


def damaged_frames(draw: random.Random, frames: Frames) -> Frames:
    """Return `frames`, most likely invalid."""
    for _ in range(draw.randrange(1, 4)):
        at = draw.randrange(len(frames))
        first, payload = frames[at]
        kind = draw.randrange(6)
        if kind == 0:
            frames[at] = (first ^ 1 << draw.randrange(8), payload)
        elif kind == 1:
            frames[at] = (first, draw.randbytes(draw.randrange(125)))
        elif kind == 2:
            frames[at] = (first, payload[: draw.randrange(len(payload) + 1)])
        elif kind == 3:
            frames[at] = (first, payload + draw.randbytes(draw.randrange(1, 9)))
        elif kind == 4 and len(frames) > 1:
            del frames[at]
        elif payload:
            changed = bytearray(payload)
            changed[draw.randrange(len(payload))] ^= 1 << draw.randrange(8)
            frames[at] = (first, bytes(changed))
    return [(first, payload) for first, payload in frames if first & 0x0F != CLOSE]


class _Zlib:
    """zlib's own decompressor, and our rule for what is too big."""

    def __init__(self, bits: int, *, takeover: bool) -> None:
        self.bits = bits
        self._takeover = takeover
        self._zlib = zlib.decompressobj(-bits)

    def inflate(self, data: bytes, out: bytearray) -> None:
        for byte in data:
            out += self._zlib.decompress(bytes((byte,)))
            if len(out) > LIMIT:
                raise OverflowError
            if self._zlib.eof:
                rest = self._zlib.unused_data
                self._zlib = zlib.decompressobj(-self.bits)
                out += self._zlib.decompress(rest)

    def end(self, out: bytearray) -> None:
        self.inflate(TAIL, out)
        if not self._takeover:
            self._zlib = zlib.decompressobj(-self.bits)


def judged(frames: Frames, other: _Zlib) -> tuple[Said, int]:
    """Return what frames say by RFC 6455, RFC 7692 and zlib, and the code of the violation that ends them, or 0.

    The code is BOTH if a message is just over the limit when it ends, and something follows: then it depends on how the
    bytes are fed whether that, if it is invalid, is seen first. It is FAR if a reference goes back beyond a window of
    less than 32 KiB: zlib accepts it within the output of one call, so what follows depends on how the bytes are fed.
    """
    said: Said = []
    opcode = is_compressed = 0
    out = bytearray()
    for first, payload in frames:
        kind, final, rsv = first & 0x0F, first & 0x80, first & 0x70
        if kind in (PING, PONG):
            if rsv or not final or len(payload) > 125:
                return said, 1002
            said.append((kind, payload))
            continue
        begins = kind in (TEXT, BINARY)
        if rsv not in (0, 0x40) or kind > BINARY or begins == bool(opcode) or (rsv and not begins):
            return said, 1002
        if begins:
            opcode, is_compressed = kind, rsv
        if is_compressed and len(payload) > LIMIT + (LIMIT >> 3) + (LIMIT >> 6) + 64:
            return said, 1009  # by its header: valid data is never that large
        try:
            if is_compressed:
                other.inflate(payload, out)
                if final:
                    other.end(out)
            else:
                out += payload
        except zlib.error as error:
            return said, FAR if "too far back" in str(error) and other.bits < 15 else 1007
        except OverflowError:
            return said, BOTH if len(out) == LIMIT + 1 else 1009
        if len(out) > LIMIT:
            return said, 1009
        if final:
            if opcode == TEXT:
                try:
                    out.decode()
                except UnicodeDecodeError:
                    return said, 1007
            said.append(("message", bytes(out)))
            opcode = 0
            out.clear()
    return said, 0


def compression(draw: random.Random, *, is_valid: bool) -> tuple[str, str, bytes]:
    """Return the difference between our reader and zlib, or "", the violation that ours found, and the stream."""
    bits, takeover = draw.randrange(9, 16), draw.random() < 0.7
    frames = compressed(draw, bits, takeover=takeover)
    if not is_valid:
        frames = damaged_frames(draw, frames)
    stream = b"".join(
        encode_frame(first & 0x0F, payload, fin=first > 0x7F, rsv=first >> 4 & 7) for first, payload in frames
    )
    said, error, held = ours(pieces(draw, stream), Inflater(bits, no_context_takeover=not takeover))
    other, code = judged(frames, _Zlib(bits, takeover=takeover))
    violation = "" if error is None else error.reason
    if held > LIMIT + len(stream) + 14:
        return f"{held} bytes held", violation, stream
    ended = 0 if error is None else error.code
    is_same = ended in (1007, 1009) if code == BOTH else ended == code
    if code == FAR and not is_valid:
        said, is_same = said[: len(other)], True
    if said != other or not is_same or (is_valid and ended not in (0, 1009)):
        return f"bits {bits}, takeover {takeover}: {error!r}, {code}, {said!r}, {other!r}", violation, stream
    return "", violation, stream


def work(arguments: tuple[int, int]) -> tuple[int, int, Counter[str], list[str]]:
    """Fuzz (count, seed); return the numbers of streams and bytes, the violations, and the differences."""
    count, seed = arguments
    draw = random.Random(seed)
    size, found, differences = 0, Counter[str](), list[str]()
    for number in range(count):
        is_valid, is_compressed = number % 2 == 0, number % 4 < 2
        stream = b""
        try:
            if is_compressed:
                text, violation, stream = compression(draw, is_valid=is_valid)
            else:
                stream = valid(draw) if is_valid else damaged(draw)
                text, violation = difference(stream, pieces(draw, stream), is_valid=is_valid)
        except Exception as error:  # exactly what must not happen
            text, violation = f"raised {error!r}", ""
        size += len(stream)
        if text:
            differences.append(f"{stream.hex()}: {text}"[:2000])
        # Some violations end with a number, which is dropped.
        what = re.sub(r" \d+( bytes)?$", "", violation) or ("valid" if is_valid else "damaged, no violation")
        found[f"{'compressed' if is_compressed else 'plain'}: {what}"] += 1
    return count, size, found, differences


def main() -> int:
    """Fuzz and print the results; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz")
    parser.add_argument("streams", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    given = parser.parse_args()
    print(f"{given.streams:,} streams, seed {given.seed}; {machine('websocket-client')}", flush=True)
    begun = time.monotonic()
    share = max(1, given.streams // 100)
    jobs = [(share, given.seed * 1000 + number) for number in range(-(-given.streams // share))]
    streams, size, found, differences = 0, 0, Counter[str](), list[str]()
    with multiprocessing.get_context("spawn").Pool() as pool:
        for done in pool.imap_unordered(work, jobs):
            streams, size = streams + done[0], size + done[1]
            found += done[2]
            differences += done[3]
    for violation, number in found.most_common():
        print(f"{number:12,}  {violation}")
    print(f"{streams:,} streams of {size:,} bytes in {time.monotonic() - begun:.0f} s: {len(differences)} differences")
    for text in differences[:10]:
        print(text)
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
