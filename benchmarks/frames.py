"""Cutting frames: our reader against websocket-client's, on the same bytes. Interleaved, medians, ratio.

Text frames of 864 bytes, as an event with its envelope has on average, in reads of 64 KiB; no JSON, no socket of its
own for ours: what is measured is the cutter. websocket-client reads from a buffer through its recv hook, with its UTF-8
check off.
"""

import platform
import statistics
import struct
import time
from importlib.metadata import version

import websocket

from gennostr.client.frames import FrameReader

ROUNDS = 5
FRAMES = 30_000
READ = 64 * 1024
FRAME = b"\x81\x7e" + struct.pack("!H", 864) + b"x" * 864


def ours(stream: bytes) -> float:
    """Return frames per second."""
    reader = FrameReader()
    began = time.perf_counter()
    count = sum(len(reader.receive(stream[at : at + READ])) for at in range(0, len(stream), READ))
    assert count == FRAMES
    return FRAMES / (time.perf_counter() - began)


def theirs(stream: bytes) -> float:
    """Return frames per second."""
    place = 0

    def recv(size: int) -> bytes:
        nonlocal place
        place += size
        return stream[place - size : place]

    reader = websocket.frame_buffer(recv, skip_utf8_validation=True)
    began = time.perf_counter()
    for _ in range(FRAMES):
        reader.recv_frame()
    return FRAMES / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    stream = FRAME * FRAMES
    seen: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        seen[0].append(ours(stream))
        seen[1].append(theirs(stream))
    mine, other = statistics.median(seen[0]), statistics.median(seen[1])
    client = version("websocket-client")
    print(f"{platform.platform()}, Python {platform.python_version()}, websocket-client {client}; medians of {ROUNDS}")
    print(f"{'':20}{'gennostr':>12}{'websocket-client':>18}{'ratio':>8}")
    print(f"{'frames/s':20}{mine:12,.0f}{other:18,.0f}{mine / other:8.1f}")


if __name__ == "__main__":
    main()
