"""Actors against pykka's: messages, calls, and start and stop. Interleaved rounds, medians, ratios.

Where the time goes: a call is ruled by two switches between threads, which cost more than all the code around them;
a cast by the mailbox (queue.SimpleQueue, in C) and one dispatch in Python.
"""

import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pykka

from gennostr import GenServer, NoReply, Ok, Reply

ROUNDS = 5
CASTS = 100_000
CALLS = 5_000
STARTS = 500


class Ours(GenServer[int]):
    """Counts."""

    def init(self, init_arg: Any) -> Ok[int]:
        """Begin with 0."""
        del init_arg
        return Ok(0)

    def handle_cast(self, request: int, state: int) -> NoReply[int]:
        """Add."""
        return NoReply(state + request)

    def handle_call(self, request: Any, from_: Any, state: int) -> Reply[int]:
        """Tell."""
        del request, from_
        return Reply(state)


class Theirs(pykka.ThreadingActor):
    """Counts."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def on_receive(self, message: Any) -> int:
        """Add or tell."""
        if message:
            self.count += message
        return self.count


def casts(cast: Callable[[Any], object], drained: Callable[[], object]) -> float:
    """Return messages per second, until the last is handled."""
    began = time.perf_counter()
    for _ in range(CASTS):
        cast(1)
    drained()
    return CASTS / (time.perf_counter() - began)


def calls(call: Callable[[], object]) -> float:
    """Return microseconds a call."""
    began = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - began) / CALLS * 1e6


def starts(start: Callable[[], Any]) -> float:
    """Return starts and stops per second."""
    began = time.perf_counter()
    for _ in range(STARTS):
        start().stop()
    return STARTS / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    ours, theirs = Ours.start(), Theirs.start()
    measures: list[tuple[str, Callable[[], float], Callable[[], float]]] = [
        (
            "cast until drained, messages/s",
            lambda: casts(ours.cast, lambda: ours.call(0, None)),
            lambda: casts(theirs.tell, lambda: theirs.ask(0)),
        ),
        ("call, us", lambda: calls(lambda: ours.call(0)), lambda: calls(lambda: theirs.ask(0))),
        ("start and stop, actors/s", lambda: starts(Ours.start), lambda: starts(Theirs.start)),
    ]
    rows: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name, _, _ in measures}
    for _ in range(ROUNDS):
        for name, mine, other in measures:
            rows[name][0].append(mine())
            rows[name][1].append(other())
    ours.stop()
    theirs.stop()
    print(f"{platform.platform()}, Python {platform.python_version()}, pykka {version('pykka')}; medians of {ROUNDS}")
    print(f"{'':32}{'gennostr':>12}{'pykka':>12}{'ratio':>8}")
    for name, (mine_seen, other_seen) in rows.items():
        mine_median, other_median = statistics.median(mine_seen), statistics.median(other_seen)
        print(f"{name:32}{mine_median:12,.0f}{other_median:12,.0f}{mine_median / other_median:8.2f}")


if __name__ == "__main__":
    main()
