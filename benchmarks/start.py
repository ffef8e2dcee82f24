"""Starting and stopping actors, per second, against a bare pykka actor.

500 are started and stopped, one after the other, from a plain thread. Ours returns from start when init has succeeded,
and from stop when the server is dead and all who watched it have been told; pykka's start returns at once. There are
many rounds, because where the system places the threads makes a factor of two, and changes every few seconds.

For what has no counterpart there, ours alone: a child of a DynamicSupervisor, started and terminated; and 500 that are
started there and then stopped with their supervisor.
"""

import time
from collections.abc import Callable
from functools import partial

import pykka

from benchmarks import measure
from gennostr import DynamicSupervisor, GenServer

STARTS = 500
ROUNDS = 15


def per_second(once: Callable[[], object]) -> float:
    """Return how many times a second `once` can be done."""
    began = time.perf_counter()
    for _ in range(STARTS):
        once()
    return STARTS / (time.perf_counter() - began)


def started_and_terminated() -> float:
    """Return children per second, one at a time."""
    with DynamicSupervisor.start() as supervisor:
        return per_second(lambda: supervisor.terminate_child(supervisor.start_child(GenServer)))


def stopped_together() -> float:
    """Return children per second, all alive before they are stopped."""
    began = time.perf_counter()
    with DynamicSupervisor.start() as supervisor:
        for _ in range(STARTS):
            supervisor.start_child(GenServer)
    return STARTS / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    measure.heading("Starts and stops, actors/s", ["gennostr", "pykka"], ROUNDS)
    alone = {
        "gennostr": partial(per_second, lambda: GenServer.start().stop()),
        "pykka": partial(per_second, lambda: pykka.ThreadingActor.start().stop()),
    }
    measure.rows(
        {
            "start and stop": measure.interleaved(alone, ROUNDS),
            "a child, started and terminated": measure.interleaved({"gennostr": started_and_terminated}, ROUNDS),
            "500 children, stopped together": measure.interleaved({"gennostr": stopped_together}, ROUNDS),
        }
    )


if __name__ == "__main__":
    main()
