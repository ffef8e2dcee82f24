"""The one clock: every deadline and every time of day in the library comes from here.

A clock gives the time, waits for a mailbox until a deadline, and calls functions when they are due. `SystemClock` is
the real one; another can be installed in its place (``install``), so that tests move time themselves.

Durations are real, whatever a test does to the module ``time``: with ``time.monotonic`` patched, or under freezegun, a
timeout keeps its length and a timer fires when it is due. The time of day (``Relay.connected_at``, the ``created_at``
of an authentication) is what ``time.time`` returns at that moment, frozen where a test has frozen it; no wait depends
on it.

The system clock calls from one thread, ``gennostr-timers``, which lives as long as a call is pending.

No lock here is ever waited for. A finalizer or a signal handler can run between any two lines and use the clock, in
the timer thread as well: so callers hand over through a SimpleQueue, whose ``put`` is documented to be reentrant, and
everything else belongs to the timer thread.
"""

import heapq
import importlib.util
import logging
import os
import sys
import threading
import time
from _thread import allocate_lock
from collections.abc import Callable
from functools import partial
from itertools import count
from queue import Empty, SimpleQueue
from types import ModuleType
from typing import Final, Protocol

from gennostr.otp import tracebacks
from gennostr.values import Handle, shown

logger = logging.getLogger(__name__)
logger.addFilter(tracebacks.escape)


class TimedMailbox(Protocol):
    """What a clock needs of a mailbox: see `gennostr.otp.mailbox`."""

    def get(self, block: bool = True, timeout: float | None = None) -> object: ...  # noqa: FBT001, FBT002, D102

    def put(self, item: object) -> None: ...  # noqa: D102


class ScheduledCall(Protocol):
    """A call that is due at ``when`` (seconds on its clock's monotonic scale)."""

    @property
    def when(self) -> float: ...  # noqa: D102

    def cancel(self) -> bool:
        """Take it back and drop its function; False if it is running, has run, or was cancelled before."""


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


def _module_of_our_own() -> ModuleType:
    """Return a second instance of the module ``time``.

    Whatever replaces functions in the one that everybody has, before or after this module is imported, does not find
    them here.
    """
    spec = importlib.util.find_spec("time")
    assert spec is not None  # noqa: S101
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_time: Final = _module_of_our_own()
# On Linux the two read the same clock; time-machine before 3.0 changes time.monotonic in C, for all modules.
_monotonic: Final[Callable[[], float]] = (
    partial(_time.clock_gettime, _time.CLOCK_MONOTONIC) if sys.platform == "linux" else _time.monotonic
)


class _ScheduledCall(Handle):
    """Whoever acquires `_claim`, which is one step, runs the call or cancels it. It is never released."""

    __slots__ = ("_arrivals", "_claim", "_function", "when")

    def __init__(
        self, when: float, function: Callable[[], object], arrivals: "SimpleQueue[_ScheduledCall | None]"
    ) -> None:
        self.when = when
        self._function: Callable[[], object] | None = function
        self._arrivals = arrivals
        self._claim = allocate_lock()

    @property
    def over(self) -> bool:
        """Whether it has run, is running, or was cancelled."""
        return self._claim.locked()

    def cancel(self) -> bool:
        """See `ScheduledCall.cancel`."""
        if not self.withdraw():
            return False
        self._arrivals.put(None)
        return True

    def withdraw(self) -> bool:
        """Cancel it without waking the timer thread."""
        if not self._claim.acquire(False):  # noqa: FBT003
            return False
        self._function = None  # and with it the message that it would have sent
        return True

    def run(self) -> None:
        """Call the function, unless it was cancelled."""
        if not self._claim.acquire(False):  # noqa: FBT003
            return
        function, self._function = self._function, None
        assert function is not None  # noqa: S101
        try:
            function()
        except BaseException:  # whatever it is, the calls to come must not be lost
            logger.exception("a timer's function failed: %s", shown(function))


class SystemClock:
    """The machine's clock."""

    def __init__(self) -> None:
        self.start_anew()

    def start_anew(self) -> None:
        """Forget all calls and the timer thread. A forked child has neither, and perhaps a lock held for ever."""
        # From any thread, finalizer and signal handler: calls to come, and None for one that was cancelled.
        self._arrivals: SimpleQueue[_ScheduledCall | None] = SimpleQueue()
        # Held by the one timer thread that serves; others try it and go away. What follows is its holder's alone.
        self._serving = allocate_lock()
        self._heap: list[tuple[float, int, _ScheduledCall]] = []
        self._order = count()
        # How many calls were cancelled since the heap was last cleared of such.
        self._cancelled = 0

    monotonic = staticmethod(_monotonic)

    @staticmethod
    def time() -> float:
        """Return the time of day, as ``time.time`` gives it now."""
        return time.time()

    @staticmethod
    def take(mailbox: TimedMailbox, deadline: float) -> object:
        """Take the next item of `mailbox`; raise ``queue.Empty`` at `deadline`."""
        remaining = deadline - _monotonic()
        if remaining <= 0:
            return mailbox.get(block=False)
        return mailbox.get(timeout=min(remaining, threading.TIMEOUT_MAX))

    def call_at(self, when: float, function: Callable[[], object]) -> ScheduledCall:
        """Call `function` at `when`, in the timer thread.

        Raises:
            RuntimeError: the timer thread was needed and the system refused it.

        """
        call = _ScheduledCall(float(when), function, self._arrivals)
        if self._serving.locked():
            self._arrivals.put(call)
            # A timer thread looks at the queue once more after it has let go. So if it missed the call, it had let go
            # before the call was put, and that is seen here: the queue, which both went through, orders the two.
            if self._serving.locked():
                return call
        # Each caller that finds no thread starts one, and so gets its own RuntimeError; of several threads, one serves.
        # To rely on another caller's thread would be to wait for a caller that this one may have interrupted.
        try:
            threading.Thread(target=self._run, args=(call,), name="gennostr-timers", daemon=True).start()
        except RuntimeError:
            if call.withdraw():
                raise
        return call

    def _run(self, call: _ScheduledCall) -> None:
        arrivals, serving = self._arrivals, self._serving
        arrivals.put(call)  # a second time perhaps: it runs once
        while not arrivals.empty() and serving.acquire(False):  # noqa: FBT003
            try:
                self._serve()
            finally:
                serving.release()

    def _serve(self) -> None:
        """Run the calls as they fall due; return when none is pending any more."""
        while True:
            for _ in range(self._arrivals.qsize()):  # no more, so that a flood of them delays no call without end
                self._arrived(self._arrivals.get())
            heap = self._heap
            while heap and heap[0][2].over:
                heapq.heappop(heap)
            if not heap:
                return
            remaining = heap[0][0] - _monotonic()
            if remaining <= 0:
                heapq.heappop(heap)[2].run()
                continue
            try:
                self._arrived(self._arrivals.get(timeout=min(remaining, threading.TIMEOUT_MAX)))
            except Empty:
                pass

    def _arrived(self, call: _ScheduledCall | None) -> None:
        if call is not None:
            heapq.heappush(self._heap, (call.when, next(self._order), call))
            return
        # A cancelled call stays in the heap until it is due, unless such calls outnumber the others.
        self._cancelled += 1
        if 2 * self._cancelled > len(self._heap) + 64:
            self._heap = [entry for entry in self._heap if not entry[2].over]
            heapq.heapify(self._heap)
            self._cancelled = 0


MACHINE: Final = SystemClock()
"""The machine's clock, whichever is in force: the testing kit measures its own patience by it."""
_installed: Clock = MACHINE
os.register_at_fork(after_in_child=MACHINE.start_anew)


def clock() -> Clock:
    """Return the clock in force."""
    return _installed


def install(new: Clock) -> Clock:
    """Make `new` the clock of everything that starts to wait from now on; return the one before."""
    global _installed
    before, _installed = _installed, new
    return before
