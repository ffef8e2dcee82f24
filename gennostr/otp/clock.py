"""The one clock that every deadline of the library reads.

A clock tells the time, wakes who waits and calls functions when they are due. `SystemClock` is the real one;
another may be installed in its place (``install``), so that tests move time themselves. Nothing else in the
library reads the time or waits with a timeout.

The system clock calls from one thread, ``gennostr-timers``, which lives as long as a call is pending.
"""

import heapq
import logging
import os
import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Protocol

from gennostr.values import Handle, shown

logger = logging.getLogger(__name__)


class TimedMailbox(Protocol):
    """What a clock needs of a mailbox: see `gennostr.otp.mailbox`."""

    def get(self, block: bool = True, timeout: float | None = None) -> object: ...  # noqa: FBT001, FBT002, D102

    def put(self, item: object) -> None: ...  # noqa: D102


class ScheduledCall(Protocol):
    """A call that is due at ``when`` (seconds on its clock's monotonic scale)."""

    @property
    def when(self) -> float: ...  # noqa: D102

    def cancel(self) -> bool:
        """Take it back; False if it is running, has run, or was cancelled before."""


class Clock(Protocol):
    """Time, and waiting for it. All times are seconds."""

    def monotonic(self) -> float:
        """Return the time on a scale that never goes back."""

    def time(self) -> float:
        """Return the time of day, as seconds since 1970 in UTC."""

    def take(self, mailbox: TimedMailbox, deadline: float) -> object:
        """Take the next item of `mailbox`; raise ``queue.Empty`` at `deadline`. A waiting item goes first."""

    def call_at(self, when: float, function: Callable[[], object]) -> ScheduledCall:
        """Call `function` at `when`, in a thread of the clock's; it must not block."""


class _ScheduledCall(Handle):
    __slots__ = ("_clock", "function", "pending", "when")

    def __init__(self, clock: "SystemClock", when: float, function: Callable[[], object]) -> None:
        self._clock = clock
        self.when = when
        self.function = function
        self.pending = True

    def cancel(self) -> bool:
        return self._clock.cancel(self)


class SystemClock:
    """The machine's clock."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        # Protects everything below; notified when the next due call or the end of all may have changed.
        self._changed = threading.Condition(threading.Lock())
        self._heap: list[tuple[float, int, _ScheduledCall]] = []
        self._order = count()
        self._pending = 0
        self._thread: threading.Thread | None = None

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)

    def take(self, mailbox: TimedMailbox, deadline: float) -> object:
        """Take the next item of `mailbox`; raise ``queue.Empty`` at `deadline`."""
        remaining = min(deadline - time.monotonic(), threading.TIMEOUT_MAX)
        if remaining <= 0:
            return mailbox.get(block=False)
        return mailbox.get(timeout=remaining)

    def call_at(self, when: float, function: Callable[[], object]) -> ScheduledCall:
        """Call `function` at `when`, in the timer thread.

        Raises:
            RuntimeError: the timer thread was needed and the system refused it.

        """
        call = _ScheduledCall(self, when, function)
        with self._changed:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="gennostr-timers", daemon=True)
                thread.start()
                self._thread = thread
            heapq.heappush(self._heap, (when, next(self._order), call))
            self._pending += 1
            if self._heap[0][2] is call:
                self._changed.notify()
        return call

    def cancel(self, call: _ScheduledCall) -> bool:
        """Take `call` back; see `ScheduledCall.cancel`."""
        with self._changed:
            if not call.pending:
                return False
            call.pending = False
            self._pending -= 1
            # A cancelled call stays in the heap until it is due, unless such calls outnumber the others.
            if len(self._heap) > 2 * self._pending + 64:
                self._heap = [entry for entry in self._heap if entry[2].pending]
                heapq.heapify(self._heap)
            if not self._pending:
                self._changed.notify()
            return True

    def _run(self) -> None:
        while True:
            with self._changed:
                call = self._next()
                if call is None:
                    self._heap.clear()
                    self._thread = None
                    return
            try:
                call.function()
            except BaseException:  # whatever it is, the calls to come must not be lost
                logger.exception("a timer's function failed: %s", shown(call.function))

    def _next(self) -> _ScheduledCall | None:
        """Wait for the next due call; None when none is pending any more."""
        while self._pending:
            when, _, call = self._heap[0]
            if not call.pending:
                heapq.heappop(self._heap)
                continue
            remaining = when - time.monotonic()
            if remaining <= 0:
                heapq.heappop(self._heap)
                call.pending = False
                self._pending -= 1
                return call
            self._changed.wait(min(remaining, threading.TIMEOUT_MAX))
        return None


_system = SystemClock()
_installed: Clock = _system
# A forked child has neither the timer thread nor, perhaps, the lock free: its clock starts anew, with no calls.
os.register_at_fork(after_in_child=_system._begin)


def clock() -> Clock:
    """Return the clock in force."""
    return _installed


def install(new: Clock) -> Clock:
    """Make `new` the clock of everything that starts to wait from now on; return the one before."""
    global _installed
    before, _installed = _installed, new
    return before
