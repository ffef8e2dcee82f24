"""Fuzz the frame reader: ``python -m benchmarks.fuzz [STREAMS] [--seed N]``, a million streams by default.

Half of the streams are valid: whole and fragmented messages, control frames between them, lengths around the limits of
each length encoding, characters split between fragments, with or without a close frame at the end. The other half are
such streams, damaged, or random bytes. websocket-client's reader gets each stream whole, ours in random pieces.

For a valid stream, both readers must return the same. For a damaged one, ours must not raise, must end with its first
violation or close frame, must buffer no more than a message and a control frame, and must return the same up to there.
If the other reader refuses a stream, ours must, too; ours may refuse more, but only by a rule that the other does not
have: see `STRICTER`.

Differences are printed with their streams; the exit status is then 1.
"""

import argparse
import multiprocessing
import random
import re
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import websocket

from benchmarks.measure import machine
from gennostr.client.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
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

PADDING = bytes(66_000)
UNREADABLE = "a frame whose payload is too long to be given"

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


def ours(pieces: Iterable[bytes]) -> tuple[Said, str, int]:
    """Return the items from our reader, the violation that it found, and the most bytes that it buffered."""
    reader = FrameReader(LIMIT)
    items: list[Received] = []
    most = 0
    for piece in pieces:
        items += reader.receive(piece)
        most = max(most, reader.buffered)
    violation = ""
    if items and isinstance(items[-1], ProtocolError):
        violation = items.pop().reason  # type: ignore[union-attr]
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
    said, violation, held = ours(cut)
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


def work(arguments: tuple[int, int]) -> tuple[int, int, Counter[str], list[str]]:
    """Fuzz (count, seed); return the numbers of streams and bytes, the violations, and the differences."""
    count, seed = arguments
    draw = random.Random(seed)
    size, found, differences = 0, Counter[str](), list[str]()
    for number in range(count):
        is_valid = number % 2 == 0
        stream = valid(draw) if is_valid else damaged(draw)
        size += len(stream)
        try:
            text, violation = difference(stream, pieces(draw, stream), is_valid=is_valid)
        except Exception as error:  # exactly what must not happen
            text, violation = f"raised {error!r}", ""
        if text:
            differences.append(f"{stream.hex()}: {text}"[:2000])
        # Some violations end with a number, which is dropped.
        found[re.sub(r" \d+( bytes)?$", "", violation) or ("valid" if is_valid else "damaged, no violation")] += 1
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
