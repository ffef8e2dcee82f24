"""500 relays at once: the time until the last is connected, and the threads that this takes.

Ours is one client; the relays are added through its handle one after the other, and the clock stops at the 500th
handle_connect. The comparison is the least that threads can do: 500 of them, each calling websocket-client's
create_connection and then waiting. Lower is better.

Each contender runs in its own process, the relays in another. One relay is connected before the clock starts, so that
neither is charged for imports. Threads are counted a second after the last is connected: those that the 500 added, and
the others.

``python -m benchmarks.connect NAME URL`` runs one contender: it prints its figures as JSON.
"""

import gc
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import websocket

from benchmarks import measure
from benchmarks.relays import relay_process
from gennostr import GenNostr, Relay

RELAYS = 500


@contextmanager
def gennostr(connected: threading.Semaphore) -> Iterator[Callable[[str], object]]:
    """Use this library."""

    class Client(GenNostr[None]):
        def handle_connect(self, relay: Relay, state: None) -> None:
            del relay, state
            connected.release()

    with Client.start() as client:
        yield client.add_relay


@contextmanager
def threads(connected: threading.Semaphore) -> Iterator[Callable[[str], object]]:
    """Use websocket-client, and a thread for each connection."""
    over = threading.Event()

    def run(url: str) -> None:
        sock = websocket.create_connection(url)
        connected.release()
        over.wait()
        sock.shutdown()  # type: ignore[no-untyped-call]

    yield lambda url: threading.Thread(target=run, args=(url,)).start()
    over.set()


CONTENDERS: dict[str, Callable[[threading.Semaphore], AbstractContextManager[Callable[[str], Any]]]] = {
    "gennostr": gennostr,
    "websocket-client": threads,
}


def connect(name: str, url: str) -> dict[str, float]:
    """Connect all; return the seconds, the numbers of threads, and the bytes of memory per connection."""
    connected = threading.Semaphore(0)
    with CONTENDERS[name](connected) as add:
        add(f"{url}/accept/first")
        connected.acquire()
        time.sleep(0.2)  # the dialling threads have ended by then
        gc.collect()
        memory, others = measure.resident(), threading.active_count() - 1
        began = time.perf_counter()
        for number in range(RELAYS):
            add(f"{url}/accept/{number}")
        for _ in range(RELAYS):
            connected.acquire()
        seconds = time.perf_counter() - began
        time.sleep(1)
        gc.collect()
        return {
            "seconds": seconds,
            "threads": threading.active_count() - 1 - others,
            "others": others,
            "bytes": (measure.resident() - memory) / RELAYS,
        }


def main() -> None:
    """Measure and print, or run as a contender."""
    if len(sys.argv) > 1:
        print(json.dumps(connect(*sys.argv[1:])))
        return
    measure.heading(f"{RELAYS} relays connected", ["gennostr", "websocket-client"])
    figures: dict[str, dict[str, float]] = {}

    def seconds(name: str, url: str) -> float:
        figures[name] = measure.in_process("benchmarks.connect", name, url)
        return figures[name]["seconds"]

    with relay_process(streams=False) as url:
        medians = measure.interleaved({name: partial(seconds, name, url) for name in CONTENDERS})
    measure.rows(
        {
            "until the last is connected, s": medians,
            "threads of the 500": {name: found["threads"] for name, found in figures.items()},
            "other threads": {name: found["others"] for name, found in figures.items()},
        }
    )


if __name__ == "__main__":
    main()
