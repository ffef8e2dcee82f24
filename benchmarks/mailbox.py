"""Casts: the throughput of one actor's mailbox, against `tell` of a pykka actor.

The clock stops when the last of 100,000 messages has been handled: an ask queued behind them returns the count.

* from one plain thread, and from four at once: sender and receiver share the interpreter, so the time is the sum of
  both. A receiver that keeps up with the sender must be woken for every message, which is expensive, and how often that
  happens depends on what else the machine does: of all figures here, pykka's vary most;
* from a full mailbox: all messages wait behind a method that is still running, and the clock starts when it is
  released. This is the receiving half alone.

Ours counts in two ways: with a new state in each outcome, and by changing the state in place and returning None.
pykka's actor counts in an attribute.
"""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pykka

from benchmarks import measure
from gennostr import GenServer, NoReply, Ok, Reply

CASTS = 100_000
ROUNDS = 9


class Counter(GenServer[int]):
    """Counts casts; each returns a new state."""

    def init(self, init_arg: Any) -> Ok[int]:
        """Begin with 0."""
        del init_arg
        return Ok(0)

    def handle_cast(self, request: Any, state: int) -> NoReply[int]:
        """Count."""
        del request
        return NoReply(state + 1)

    def handle_call(self, request: Any, from_: Any, state: int) -> Reply[int]:
        """Return the count."""
        del request, from_
        return Reply(state)

    def hold(self, gate: threading.Event) -> None:
        """Wait."""
        gate.wait()


class Changed(GenServer[list[int]]):
    """Counts casts in a state that it changes in place."""

    def init(self, init_arg: Any) -> Ok[list[int]]:
        """Begin with 0."""
        del init_arg
        return Ok([0])

    def handle_cast(self, request: Any, state: list[int]) -> None:
        """Count."""
        del request
        state[0] += 1

    def handle_call(self, request: Any, from_: Any, state: list[int]) -> Reply[list[int]]:
        """Return the count."""
        del request, from_
        return Reply(state[0])

    def hold(self, gate: threading.Event) -> None:
        """Wait."""
        gate.wait()


class Theirs(pykka.ThreadingActor):
    """Counts messages, except for the ask that requests the count."""

    def __init__(self) -> None:
        super().__init__()
        self.count = -1

    def on_receive(self, message: Any) -> int:
        """Count the message and return the count."""
        del message
        self.count += 1
        return self.count

    def hold(self, gate: threading.Event) -> None:
        """Wait."""
        gate.wait()


def one_thread(actor: Any, cast: Callable[[Any], object]) -> float:
    """Send from this thread; return messages per second."""
    began = time.perf_counter()
    _send(cast, CASTS)
    return _drained(actor, began)


def four_threads(actor: Any, cast: Callable[[Any], object]) -> float:
    """Send from four threads; return messages per second."""
    threads = [threading.Thread(target=_send, args=(cast, CASTS // 4)) for _ in range(4)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return _drained(actor, began)


def full(actor: Any, cast: Callable[[Any], object]) -> float:
    """Send while the actor is blocked, then release it; return messages per second from then on."""
    gate = threading.Event()
    actor.proxy().hold(gate)
    _send(cast, CASTS)
    began = time.perf_counter()
    gate.set()
    return _drained(actor, began)


def _send(cast: Callable[[Any], object], count: int) -> None:
    for _ in range(count):
        cast(1)


def _drained(actor: Any, began: float) -> float:
    assert actor.ask(0) == CASTS
    return CASTS / (time.perf_counter() - began)


def with_actor(kind: Any, how: Callable[[Any, Callable[[Any], object]], float]) -> float:
    """Measure a new actor of `kind`."""
    actor = kind.start()
    try:
        return how(actor, actor.tell if kind is Theirs else actor.cast)
    finally:
        actor.stop()


def main() -> None:
    """Measure and print."""
    measure.heading("Casts until the last is handled, messages/s", ["gennostr", "pykka"], ROUNDS)
    figures = {}
    for title, how in {"1 thread": one_thread, "4 threads": four_threads, "full mailbox": full}.items():
        medians = measure.interleaved(
            {
                "new state": partial(with_actor, Counter, how),
                "changed state": partial(with_actor, Changed, how),
                "pykka": partial(with_actor, Theirs, how),
            },
            ROUNDS,
        )
        for ours in ("new state", "changed state"):
            figures[f"{title}, {ours}"] = {"gennostr": medians[ours], "pykka": medians["pykka"]}
    measure.rows(figures)


if __name__ == "__main__":
    main()
