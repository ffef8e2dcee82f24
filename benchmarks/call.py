"""Calls: microseconds for a request and its reply, against `ask` of a pykka actor; lower is better.

5,000 in a row from a plain thread, and 5,000 from one actor to another. Two thread switches dominate both: the
comparison is of what each library adds to them. Depending on where the system places the threads, a switch can take up
to three times as long, and that changes every few seconds: hence the many rounds.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pykka

from benchmarks import measure
from gennostr import GenServer, Reply

CALLS = 5_000
ROUNDS = 15


def microseconds(call: Callable[[Any], object]) -> float:
    """Return the microseconds that a call takes."""
    began = time.perf_counter()
    for _ in range(CALLS):
        call(0)
    return (time.perf_counter() - began) / CALLS * 1e6


class Echo(GenServer[None]):
    """Replies with the request."""

    def handle_call(self, request: Any, from_: Any, state: None) -> Reply[None]:
        """Reply with the request."""
        del from_, state
        return Reply(request)


class Caller(GenServer[None]):
    """Measures calls to the pid in the request."""

    def handle_call(self, request: Any, from_: Any, state: None) -> Reply[None]:
        """Reply with the microseconds that a call takes."""
        del from_, state
        return Reply(microseconds(request.call))


class TheirEcho(pykka.ThreadingActor):
    """Replies with the message."""

    def on_receive(self, message: Any) -> Any:
        """Reply with the message."""
        return message


class TheirCaller(pykka.ThreadingActor):
    """Measures asks to the actor in the message."""

    def on_receive(self, message: Any) -> float:
        """Reply with the microseconds that an ask takes."""
        return microseconds(message.ask)


def main() -> None:
    """Measure and print."""
    measure.heading("Calls, microseconds", ["gennostr", "pykka"], ROUNDS)
    echo, caller = Echo.start(), Caller.start()
    their_echo, their_caller = TheirEcho.start(), TheirCaller.start()
    thread = {"gennostr": partial(microseconds, echo.call), "pykka": partial(microseconds, their_echo.ask)}
    actor = {"gennostr": partial(caller.call, echo, None), "pykka": partial(their_caller.ask, their_echo)}
    measure.rows(
        {
            "from a thread": measure.interleaved(thread, ROUNDS),
            "from actor to actor": measure.interleaved(actor, ROUNDS),
        }
    )
    for each in (echo, caller, their_echo, their_caller):
        each.stop()


if __name__ == "__main__":
    main()
