"""Thousands of relays in one client: the time until all are connected, what each costs at rest, and the time to stop.

Ours is one client; the relays are added through its handle one after the other, and the clock stops at the last
handle_connect. The comparison is the least that threads can do: one for each connection, which calls websocket-client's
create_connection and waits in recv; to stop, each is sent a close frame and ends when the relay has answered it.

* connect: seconds from the first until the last is connected, and the same for each connection
* memory: growth of the process (RSS) per connection, after garbage collection
* descriptors and threads: those that the connections added, per connection
* at rest: processor time in percent of one processor, over REST seconds in which nothing happens
* stop: seconds until every connection is closed and every thread has ended

Each contender runs in its own process, and the relays in another, which waits for all its sockets at once (epoll on
Linux) and answers close frames and pings. One relay is connected before the clock starts, so that neither is charged
for imports.

``python -m benchmarks.many`` measures 500, 1,000, 2,000 and 5,000; ``python -m benchmarks.many N ...`` others. A
process needs two descriptors for each relay (``ulimit -Hn``). ``python -m benchmarks.many NAME URL COUNT`` runs one
contender: it prints its figures as JSON.
"""

import gc
import json
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import websocket

from benchmarks import measure
from benchmarks.connect import gennostr
from benchmarks.relays import _frames, _upgrade, in_own_process
from gennostr.otp.system_limits import raise_open_files

COUNTS = (500, 1_000, 2_000, 5_000)
ROUNDS = 3
REST = 3.0
_CLOSE, _PING = 8, 9


# The relays.


class _Idle:
    """One connection of the idle relays."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.data = bytearray()
        self.upgraded = False

    def read(self) -> bool:
        """Handle what has arrived; return False when the connection is over."""
        try:
            chunk = self.sock.recv(65536)
            if not chunk:
                return False
            self.data += chunk
            if not self.upgraded:
                head, end, rest = bytes(self.data).partition(b"\r\n\r\n")
                if not end:
                    return True
                answer = _upgrade(head)
                if answer is None:
                    return False
                self.sock.sendall(answer)
                self.upgraded, self.data = True, bytearray(rest)
            for opcode, payload in _frames(self.data):
                if opcode == _CLOSE:
                    self.sock.sendall(b"\x88\x00")
                    return False
                if opcode == _PING:
                    self.sock.sendall(bytes((0x8A, len(payload))) + payload)
        except OSError:
            return False
        return True


def _run(pipe: Connection) -> None:
    raise_open_files()
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    listener.settimeout(0)
    pipe.send(listener.getsockname()[1])
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(pipe, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.data is not None:
                if not key.data.read():
                    selector.unregister(key.fileobj)
                    key.data.sock.close()
            elif key.fileobj is pipe:
                return
            else:
                with suppress(BlockingIOError):
                    while True:
                        sock, _ = listener.accept()
                        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        selector.register(sock, selectors.EVENT_READ, _Idle(sock))


@contextmanager
def idle_relays() -> Iterator[str]:
    """Run the relays' process; yield the url, to which a path is to be appended."""
    with in_own_process(_run) as url:
        yield url


# The contenders.


@contextmanager
def threads(connected: threading.Semaphore) -> Iterator[Callable[[str], object]]:
    """Use websocket-client, and a thread for each connection."""
    socks: list[Any] = []
    running: list[threading.Thread] = []

    def run(url: str) -> None:
        sock = websocket.create_connection(url)
        socks.append(sock)
        connected.release()
        with suppress(websocket.WebSocketException, OSError):
            while sock.recv_data_frame(control_frame=True)[0] != _CLOSE:
                pass
        sock.shutdown()  # type: ignore[no-untyped-call]

    def add(url: str) -> None:
        thread = threading.Thread(target=run, args=(url,))
        running.append(thread)
        thread.start()

    yield add
    for sock in socks:
        sock.send_close()
    for thread in running:
        thread.join()


CONTENDERS: dict[str, Callable[[threading.Semaphore], AbstractContextManager[Callable[[str], Any]]]] = {
    "gennostr": gennostr,
    "websocket-client": threads,
}


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def many(name: str, url: str, count: int) -> dict[str, float]:
    """Connect to `count` relays, rest and stop; return the figures."""
    raise_open_files()
    connected = threading.Semaphore(0)
    with CONTENDERS[name](connected) as add:
        add(f"{url}/first")
        connected.acquire()
        time.sleep(0.2)
        gc.collect()
        memory, descriptors, running = measure.resident(), _descriptors(), _threads()
        processor = time.process_time()
        began = time.perf_counter()
        for number in range(count):
            add(f"{url}/{number}")
        for _ in range(count):
            connected.acquire()
        seconds = time.perf_counter() - began
        processor = time.process_time() - processor
        time.sleep(1)  # what the last ones still do after handle_connect, and the name lookups' threads
        gc.collect()
        figures = {
            "connect": seconds,
            "each": seconds / count * 1000,
            "connect_processor": processor / count * 1000,
            "memory": (measure.resident() - memory) / count / 1000,
            "descriptors": (_descriptors() - descriptors) / count,
            "threads": (_threads() - running) / count,
        }
        rest, began = time.process_time(), time.perf_counter()
        time.sleep(REST)
        figures["rest"] = (time.process_time() - rest) / (time.perf_counter() - began) * 100
        processor = time.process_time()
        began = time.perf_counter()
    while _threads() > 2:  # the last threads' last lines
        time.sleep(0.001)
        if time.perf_counter() - began > 60:
            break
    figures["stop"] = time.perf_counter() - began
    figures["stop_processor"] = (time.process_time() - processor) / count * 1000
    return figures


_ROWS = {
    "connect": "connect, s",
    "each": "  each, ms",
    "connect_processor": "  processor time of each, ms",
    "memory": "memory of each, kB",
    "descriptors": "descriptors of each",
    "threads": "threads of each",
    "rest": "processor at rest, %",
    "stop": "stop, s",
    "stop_processor": "  processor time to stop each, ms",
}


def main() -> None:
    """Measure and print, or run as a contender."""
    match sys.argv[1:]:
        case [name, url, count] if name in CONTENDERS:
            print(json.dumps(many(name, url, int(count))))
        case arguments:
            compare([int(each) for each in arguments] or list(COUNTS))


def _run_one(name: str, url: str, count: int, figures: dict[str, list[dict[str, float]]]) -> float:
    figures[name].append(measure.in_process("benchmarks.many", name, url, str(count)))
    return figures[name][-1]["connect"]


def compare(counts: list[int]) -> None:
    """Measure and print."""
    measure.heading("Thousands of relays", ["gennostr", "websocket-client"], ROUNDS)
    for count in counts:
        figures: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
        with idle_relays() as url:
            measure.interleaved({name: partial(_run_one, name, url, count, figures) for name in CONTENDERS}, ROUNDS)
        print(f"\n{count:,} relays")
        measure.rows(
            {
                text: {name: sorted(each[key] for each in found)[ROUNDS // 2] for name, found in figures.items()}
                for key, text in _ROWS.items()
            }
        )


if __name__ == "__main__":
    main()
