"""Cutting frames: ours against websocket-client's, on the same bytes; and whether time stays linear in them.

Text frames of 864 bytes, as an event with its envelope has on average, in reads of 64 KiB; no JSON, no socket:
what is measured is the cutter. websocket-client reads from a buffer through its recv hook, with its UTF-8 check off.

The second table is of messages that are cheap to send and could be dear to receive: one large frame in reads of 1,448
bytes, as TCP brings them, and one message in many fragments of a byte each. Nanoseconds a byte: the same at four times
the size, where time is linear.
"""

import struct
import time

import websocket

from benchmarks import measure
from gennostr.client.frames import FrameReader

FRAMES = 30_000
READ = 64 * 1024
SEGMENT = 1448
FRAME = b"\x81\x7e" + struct.pack("!H", 864) + b"x" * 864
MEBIBYTE = 1024 * 1024


def ours(stream: bytes, read: int = READ) -> tuple[int, float]:
    """Return how many messages our reader found, and the seconds."""
    reader = FrameReader()
    began = time.perf_counter()
    count = sum(len(reader.receive(stream[at : at + read])) for at in range(0, len(stream), read))
    return count, time.perf_counter() - began


def theirs(stream: bytes, frames: int) -> float:
    """Return the seconds that websocket-client takes for so many frames."""
    place = 0

    def recv(size: int) -> bytes:
        nonlocal place
        place += size
        return stream[place - size : place]

    reader = websocket.frame_buffer(recv, skip_utf8_validation=True)
    began = time.perf_counter()
    for _ in range(frames):
        reader.recv_frame()
    return time.perf_counter() - began


def cut(stream: bytes) -> float:
    """Return our frames per second."""
    count, seconds = ours(stream)
    assert count == FRAMES
    return FRAMES / seconds


def large(mebibytes: int) -> float:
    """Return the nanoseconds a byte of one frame of so many MiB."""
    size = mebibytes * MEBIBYTE
    count, seconds = ours(b"\x81\x7f" + struct.pack("!Q", size) + b"x" * size, SEGMENT)
    assert count == 1
    return seconds / size * 1e9


def fragments(number: int) -> float:
    """Return the nanoseconds a byte of one message in so many fragments of a byte."""
    stream = b"\x01\x01x" + b"\x00\x01x" * (number - 2) + b"\x80\x01x"
    count, seconds = ours(stream, SEGMENT)
    assert count == 1
    return seconds / len(stream) * 1e9


def main() -> None:
    """Measure and print."""
    measure.heading("Cutting frames", ["gennostr", "websocket-client"])
    stream = FRAME * FRAMES
    found = measure.interleaved({"gennostr": lambda: cut(stream), "theirs": lambda: FRAMES / theirs(stream, FRAMES)})
    measure.rows(
        {"frames of 864 bytes, frames/s": {"gennostr": found["gennostr"], "websocket-client": found["theirs"]}}
    )
    sizes = measure.interleaved(
        {
            "a frame of 1 MiB": lambda: large(1),
            "a frame of 4 MiB": lambda: large(4),
            "2,500 fragments": lambda: fragments(2_500),
            "10,000 fragments": lambda: fragments(10_000),
        }
    )
    measure.rows({what: {"ns/byte": value} for what, value in sizes.items()})


if __name__ == "__main__":
    main()
