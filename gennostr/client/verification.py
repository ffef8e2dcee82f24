"""Verification of the events of one read, on all processors, in order.

It comes before anything else sees the events.

A signature takes some forty microseconds in C, without the interpreter's lock; everything else about an event takes
less than ten, with it. So a few threads at once pay off. The connection's own thread does the work and, where
processors are idle, helpers take events from the same list until none is left: for one relay, 35,000 events a second on
two processors.

Helpers live for one read. Starting a thread costs about as much as waking one, and little next to a hundred signatures:
so there is no pool to own, to fill up or to stop. Nothing is queued: a read is delivered, in order, when all of it is
checked, and the next does not start before.
"""

import os
from _thread import LockType, allocate_lock, start_new_thread
from collections.abc import MutableSequence
from itertools import count
from queue import SimpleQueue
from typing import Final

from gennostr.client.copies import Copies
from gennostr.exceptions import MessageError
from gennostr.nostr.event import verify
from gennostr.nostr.messages import EventMessage, RelayMessage

MAX_THREADS: Final = 5
"""The most threads at once, for all connections: one more would only wait for the interpreter's lock."""
EVENTS_PER_THREAD: Final = 16
"""The fewest events for which a helper saves more than it costs."""

# Each is held by a thread that verifies; as many are in use as there are processors. They are tried and never waited
# for, so that a finalizer in a thread that verifies can wait for another connection's end.
_permits: Final = tuple(allocate_lock() for _ in range(MAX_THREADS))


def verify_events(messages: MutableSequence[RelayMessage | MessageError | Copies]) -> None:
    """Replace each invalid event with a `MessageError`.

    Raises:
        ImportError: coincurve is not installed.

    """
    work = _Work(messages)
    helpers = work.begin()
    try:
        work.run()
    finally:
        work.end(helpers)


class _Work:
    """The events of one read, each claimed by one thread."""

    def __init__(self, messages: MutableSequence[RelayMessage | MessageError | Copies]) -> None:
        self._messages = messages
        self._claim = count().__next__  # one step of C: no two threads get the same index
        self._permits: list[LockType] = []
        self._left: SimpleQueue[None] = SimpleQueue()
        self._failure: BaseException | None = None

    def begin(self) -> int:
        """Count the caller as working, and start helpers.

        They start where processors are idle. Return how many were started.
        """
        wanted = max(0, len(self._messages) // EVENTS_PER_THREAD - 1)
        self._permits = _free_permits(1 + wanted)
        helping = self._permits[1:]
        for number, permit in enumerate(helping):
            try:
                start_new_thread(self._help, (permit,))
            except RuntimeError:  # the system refused a thread: continue without
                for each in helping[number:]:
                    each.release()
                return number
        return len(helping)

    def end(self, helpers: int) -> None:
        """Wait for the helpers; raise the exception of one that failed."""
        for permit in self._permits[:1]:
            permit.release()
        for _ in range(helpers):
            self._left.get()
        if self._failure is not None:
            raise self._failure

    def _help(self, permit: LockType) -> None:
        try:
            self.run()
        except BaseException as error:  # raised in the thread that delivers: see `end`
            self._failure = error
        finally:
            permit.release()
            self._left.put(None)

    def run(self) -> None:
        """Check events until all are claimed."""
        messages, claim = self._messages, self._claim
        while (place := claim()) < len(messages):
            message = messages[place]
            if type(message) is EventMessage:
                try:
                    verify(message.event)
                except MessageError as error:
                    error.subscription_id = message.subscription_id
                    messages[place] = error


def _free_permits(wanted: int) -> list[LockType]:
    """Acquire and return `wanted` permits, or as many as are free.

    The first is for the caller, which works even without one.
    """
    acquired: list[LockType] = []
    for permit in _permits[: _threads()]:
        if len(acquired) < wanted and permit.acquire(False):  # noqa: FBT003
            acquired.append(permit)
    return acquired


def _threads() -> int:
    """Return how many threads may verify at once."""
    return min(MAX_THREADS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
