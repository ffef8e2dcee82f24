"""Memory of an idle actor, of an idle connection, and of a client that is slower than its relays.

* An actor: 2,000 that do nothing, ours against pykka's.
* A connection: the 500 of `benchmarks.connect`, against websocket-client with a thread for each.
* A slow callback: eight relays send 20,000 events each as fast as the client reads, and handle_event takes 1 ms. The
  process must not grow with the backlog, and a call to the client must not wait for it: every 50 ms the main thread
  makes a call and reads the process's size. The output is the peak above the size with all connected, and the longest
  call, over the first 20 s; with ``--whole``, over all 160,000 events, which must all arrive (3 minutes).

Memory is the growth of the process (RSS), after garbage collection, divided by the number of actors or connections.
Each contender runs in its own process.

``python -m benchmarks.memory actors NAME`` and ``python -m benchmarks.memory slow URL SECONDS`` run such a process: it
prints its figures as JSON.
"""

import gc
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from threading import Semaphore
from typing import Any

import pykka

from benchmarks import connect, events, measure
from benchmarks.relays import relay_process
from gennostr import GenNostr, GenServer, NoReply, Ok, Relay, Reply

ACTORS = 2_000
SLOW_RELAYS = 8
SLOW_EVENTS = SLOW_RELAYS * events.COUNT
CALLBACK_SECONDS = 0.001
FIRST_SECONDS = 20
WHOLE_SECONDS = 400
"""Time limit in seconds for all events: more than twice the time of their callbacks."""


def actors(name: str) -> dict[str, float]:
    """Return the memory of an idle actor in bytes."""
    start: Callable[[], Any] = GenServer.start if name == "gennostr" else pykka.ThreadingActor.start
    start()
    gc.collect()
    before = measure.resident()
    for _ in range(ACTORS):
        start()
    gc.collect()
    size = (measure.resident() - before) / ACTORS
    pykka.ActorRegistry.stop_all()
    return {"bytes": size}


def slow(url: str, seconds: str) -> dict[str, float]:
    """Return the number of events that a client with a slow callback handles, its growth, and the longest call."""
    connected = Semaphore(0)

    class Slow(GenNostr[int]):
        def init(self, init_arg: Any) -> Ok[int]:
            del init_arg
            for number in range(SLOW_RELAYS):
                self.add_relay(f"{url}/flood/{number}")
            return Ok(0)

        def handle_connect(self, relay: Relay, state: int) -> None:
            del relay, state
            connected.release()

        def handle_event(self, message: Any, relay: Relay, state: int) -> NoReply[int]:
            del message, relay
            time.sleep(CALLBACK_SECONDS)
            return NoReply(state + 1)

        def handle_call(self, request: Any, from_: Any, state: int) -> Reply[int]:
            del request, from_
            return Reply(state)

    with Slow.start() as client:
        for _ in range(SLOW_RELAYS):
            connected.acquire()
        gc.collect()
        before = peak = measure.resident()
        longest, handled = 0.0, 0
        end = time.perf_counter() + float(seconds)
        client.broadcast_message(["REQ", events.SUBSCRIPTION, {}])
        while handled < SLOW_EVENTS and time.perf_counter() < end:
            time.sleep(0.05)
            called = time.perf_counter()
            handled = client.call("how many?", None)
            longest = max(longest, time.perf_counter() - called)
            peak = max(peak, measure.resident())
        return {"handled": handled, "bytes": peak - before, "longest": longest}


def main() -> None:
    """Measure and print, or run as a contender."""
    match sys.argv[1:]:
        case ["actors", name]:
            print(json.dumps(actors(name)))
        case ["slow", url, seconds]:
            print(json.dumps(slow(url, seconds)))
        case arguments:
            compare(whole=arguments == ["--whole"])


def compare(*, whole: bool) -> None:
    """Measure and print."""
    measure.heading("Memory", ["gennostr", "pykka", "websocket-client"])

    def size(module: str, *arguments: str) -> float:
        return measure.in_process(f"benchmarks.{module}", *arguments)["bytes"]

    idle = {name: partial(size, "memory", "actors", name) for name in ("gennostr", "pykka")}
    measure.rows({"an idle actor, bytes": measure.interleaved(idle)})
    with relay_process(SLOW_RELAYS) as url:
        connections = {name: partial(size, "connect", name, url) for name in connect.CONTENDERS}
        measure.rows({"an idle connection, bytes": measure.interleaved(connections)})
        found = measure.in_process("benchmarks.memory", "slow", url, str(WHOLE_SECONDS if whole else FIRST_SECONDS))
    print(f"\na slow callback, {found['handled']:,.0f} of {SLOW_EVENTS:,} events handled:")
    print(f"  grown by {found['bytes'] / 2**20:.1f} MiB, longest call {found['longest'] * 1000:.1f} ms")
    if whole and found["handled"] != SLOW_EVENTS:
        sys.exit("events were lost")


if __name__ == "__main__":
    main()
