"""The relays that the benchmarks use: one process, which only sends bytes that it has prepared.

What a connection receives depends on the path of its url, not on its query:

``/flood/N``      on a REQ: EOSE, then all events at once
``/compressed/N``  the same as ``/flood/N``, with permessage-deflate if the client offers it: zlib's default level, a
                  window of 32 KiB, context takeover
``/slice/N/M``    on a REQ: EOSE, then the Nth of M parts of the events
``/overlap/ORDER/FIELDS/N``  on a REQ: the notes that all such relays have, in the Nth relay's own order (see
                  ORDERS, FIELDS), then EOSE
``/live/RATE``    on a REQ: EOSE, then one event at a time, RATE a second; its content is the time of sending,
                  in nanoseconds on the machine's monotonic clock
``/stored``       on a REQ: the newest of the events that its ``until`` and ``limit`` allow, at most 500, then EOSE
``/accept``       an OK for each EVENT

So the benchmarks measure the client: draining such a relay takes 0.3 microseconds per event, and getting an OK takes 6.
"""

import base64
import hashlib
import multiprocessing
import random
import re
import select
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from multiprocessing.connection import Connection
from typing import Any

import msgspec

from benchmarks import events
from gennostr.client.frames import apply_mask
from gennostr.nostr import Event

_CLOSE = 8
_ID = re.compile(rb'"id": ?"([0-9a-f]{64})"')
_EOSE = events.frame(b'["EOSE","%s"]' % events.SUBSCRIPTION.encode())


ORDERS = {"equal": 0, "nearly": 10, "shuffled": 1e9}
"""The orders in which relays with the same events send them: newest first, each event this many seconds early or late
at most, as far as the relay is concerned. The events are a second apart."""
FIELDS: dict[str, Callable[[Event], bytes]] = {"usual": events.text, "alphabetical": events.alphabetical}
"""The orders of an event's fields: with ``usual``, its id comes first; with ``alphabetical``, after its content."""


@cache
def _overlap(order: str, fields: str, number: str) -> bytes:
    """Return what one of the relays sends that have the same events."""
    source, spread = random.Random(number), ORDERS[order]
    sent = sorted(events.notes(), key=lambda event: source.uniform(-spread, spread) - event.created_at)
    return b"".join(events.frame(FIELDS[fields](event)) for event in sent) + _EOSE


class _Streams:
    """The frames to send, prepared once before the first client connects."""

    def __init__(self) -> None:
        self.frames = [events.frame(events.text(event)) for event in events.signed()]

    def compressed(self) -> bytes:
        deflate = zlib.compressobj(wbits=-15)
        frames = []
        for payload in (b'["EOSE","%s"]' % events.SUBSCRIPTION.encode(), *map(events.text, events.signed())):
            data = (deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]
            frames.append(events.frame(data, compressed=True))
        return b"".join(frames)

    def part(self, number: int, parts: int) -> bytes:
        size = len(self.frames) // parts
        return _EOSE + b"".join(self.frames[number * size : (number + 1) * size])


def _upgrade(head: bytes, *, compressed: bool = False) -> bytes | None:
    agreed = compressed and re.search(rb"(?i)sec-websocket-extensions:.*permessage-deflate", head)
    extension = b"Sec-WebSocket-Extensions: permessage-deflate\r\n" if agreed else b""
    key = re.search(rb"(?i)sec-websocket-key:[ \t]*(\S+)", head)
    if key is None:
        return None
    accept = base64.b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n" + extension + b"\r\n"
    )


def _frames(data: bytearray) -> Iterator[tuple[int, bytes]]:
    """Remove the complete masked frames from `data`; yield their opcodes and payloads."""
    while len(data) >= 6:
        length, at = data[1] & 0x7F, 2
        if length == 126:
            length, at = int.from_bytes(data[2:4], "big"), 4
        elif length == 127:
            length, at = int.from_bytes(data[2:10], "big"), 10
        if len(data) < at + 4 + length:
            return
        opcode, key, payload = data[0] & 15, bytes(data[at : at + 4]), bytes(data[at + 4 : at + 4 + length])
        del data[: at + 4 + length]
        yield opcode, apply_mask(payload, key)


@cache
def _stored() -> list[bytes]:
    return [msgspec.json.encode(event) for event in events.signed()]


def _page(message: bytes) -> bytes:
    """Return what a relay sends that has the events, for a REQ with one filter."""
    _, id_, filter_ = msgspec.json.decode(message)
    first = events.signed()[0].created_at  # they are a second apart
    end = min(len(_stored()), max(0, filter_.get("until", 2**40) - first + 1))
    begin = max(0, end - min(500, filter_.get("limit", 500)), filter_.get("since", 0) - first)
    frames = [events.frame(b'["EVENT","%s",%s]' % (id_.encode(), each)) for each in reversed(_stored()[begin:end])]
    return b"".join(frames) + events.frame(b'["EOSE","%s"]' % id_.encode())


def _live(sock: socket.socket, rate: float, stop: threading.Event) -> None:
    event = events.signed(10)[0]
    start, _, end = events.text(event).partition(event.content.encode())
    begin, number = time.monotonic(), 0
    with suppress(OSError):  # the client has disconnected
        while not stop.is_set():
            number += 1
            wait = begin + number / rate - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            sock.sendall(events.frame(b"%s%d%s" % (start, time.monotonic_ns(), end)))


def _serve(sock: socket.socket, streams: dict[str, bytes]) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    data = bytearray()
    stop = threading.Event()
    try:
        while b"\r\n\r\n" not in data:
            chunk = sock.recv(4096)
            if not chunk:
                return
            data += chunk
        head, _, rest = bytes(data).partition(b"\r\n\r\n")
        answer = _upgrade(head, compressed=head.startswith(b"GET /compressed/"))
        if answer is None:  # a client that requests the information document first
            sock.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/nostr+json\r\n"
                b"Content-Length: 2\r\nConnection: close\r\n\r\n{}"
            )
            return
        path = head.split(b" ", 2)[1].decode().partition("?")[0]
        if path.startswith("/overlap/"):
            _overlap(*path.split("/")[2:])  # prepared before the client is connected: its clock does not run yet
        if path == "/stored":
            _stored()
        sock.sendall(answer)
        data = bytearray(rest)
        while True:
            oks = []
            for opcode, message in _frames(data):
                if opcode == _CLOSE:
                    sock.sendall(b"\x88\x00")  # a client may wait for it
                    return
                if message.startswith(b'["REQ"'):
                    kind, *arguments = path.strip("/").split("/")
                    if kind == "live":
                        sock.sendall(_EOSE)
                        threading.Thread(target=_live, args=(sock, float(arguments[0]), stop), daemon=True).start()
                    elif kind == "stored":
                        sock.sendall(_page(message))
                    elif kind == "overlap":
                        sock.sendall(_overlap(*arguments))
                    elif kind in ("flood", "compressed", "slice"):
                        sock.sendall(streams[path.strip("/")])
                elif message.startswith(b'["EVENT"') and (id_ := _ID.search(message)):
                    oks.append(events.frame(b'["OK","%s",true,""]' % id_[1]))
            if oks:
                sock.sendall(b"".join(oks))
            chunk = sock.recv(262144)
            if not chunk:
                return
            data += chunk
    except OSError:
        pass  # the client has disconnected
    finally:
        stop.set()
        sock.close()


def _run(pipe: Connection, parts: int, *, streams_wanted: bool, compressed: bool) -> None:
    streams: dict[str, bytes] = {}
    if streams_wanted:
        prepared = _Streams()
        whole = prepared.part(0, 1)
        for number in range(parts):
            streams[f"flood/{number}"] = whole
            streams[f"slice/{number}/{parts}"] = prepared.part(number, parts)
        streams["flood/0"] = streams["slice/0/1"] = whole
        if compressed:
            streams |= dict.fromkeys([f"compressed/{number}" for number in range(parts)], prepared.compressed())
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    pipe.send(listener.getsockname()[1])
    watched: list[Any] = [listener, pipe]
    while True:
        ready, _, _ = select.select(watched, [], [])
        if pipe in ready:
            return
        sock, _ = listener.accept()
        threading.Thread(target=_serve, args=(sock, streams), daemon=True).start()


@contextmanager
def in_own_process(serve: Callable[..., object], *arguments: object) -> Iterator[str]:
    """Run ``serve(pipe, *arguments)``, which sends its port and ends with the pipe; yield the url.

    A path is to be appended to it.
    """
    context: Any = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        yield f"ws://127.0.0.1:{ours.recv()}"
    finally:
        ours.close()
        process.join()


@contextmanager
def relay_process(parts: int = 8, *, streams: bool = True, compressed: bool = False) -> Iterator[str]:
    """Run the relays' process; yield the url, to which a path is to be appended."""
    with in_own_process(partial(_run, streams_wanted=streams, compressed=compressed), parts) as url:
        yield url
