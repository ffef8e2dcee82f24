"""Parsing frames: our reader against websocket-client's, on the same bytes; and whether the time stays linear.

Text frames of 864 bytes, the average size of an event with its envelope, in reads of 64 KiB. There is no JSON and no
socket: only the frame reader is measured. websocket-client reads from a buffer through its recv hook, with its UTF-8
check off.

The second table is of messages that are cheap to send but could be expensive to receive: one large frame in reads of
1,448 bytes, as TCP delivers them, and one message in many fragments of one byte each. It shows nanoseconds per byte:
if the time is linear, they are the same at four times the size.
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
    """Return the number of messages that our reader found, and the seconds."""
    reader = FrameReader()
    began = time.perf_counter()
    count = sum(len(reader.receive(stream[at : at + read])) for at in range(0, len(stream), read))
    return count, time.perf_counter() - began


def theirs(stream: bytes, frames: int) -> float:
    """Return the seconds that websocket-client takes for `frames` frames."""
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
    """Return the frames per second of our reader."""
    count, seconds = ours(stream)
    assert count == FRAMES
    return FRAMES / seconds


def large(mebibytes: int) -> float:
    """Return the nanoseconds per byte for one frame of `mebibytes` MiB."""
    size = mebibytes * MEBIBYTE
    count, seconds = ours(b"\x81\x7f" + struct.pack("!Q", size) + b"x" * size, SEGMENT)
    assert count == 1
    return seconds / size * 1e9


def fragments(number: int) -> float:
    """Return the nanoseconds per byte for one message in `number` fragments of one byte."""
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
