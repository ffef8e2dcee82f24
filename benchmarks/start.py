"""Starting and stopping actors, per second, against a bare pykka actor.

500 are started and stopped, one after the other, from a plain thread. Our start returns when init has succeeded, and
our stop when the server is dead and its monitors and links have been notified; pykka's start returns at once. There are
many rounds, because the system's placement of the threads makes a factor of two, and changes every few seconds.

Without a counterpart in pykka: a child of a DynamicSupervisor, started and terminated; and 500 children that are
started and then stopped with their supervisor.
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
    """Return how many times per second `once` can be called."""
    began = time.perf_counter()
    for _ in range(STARTS):
        once()
    return STARTS / (time.perf_counter() - began)


def started_and_terminated() -> float:
    """Return children per second, one at a time."""
    with DynamicSupervisor.start() as supervisor:
        return per_second(lambda: supervisor.terminate_child(supervisor.start_child(GenServer)))


def stopped_together() -> float:
    """Return children per second, all started before the supervisor is stopped."""
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
