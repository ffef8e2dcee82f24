"""The clock: the single source of every deadline and time of day in the library.

A clock gives the time, waits on a mailbox until a deadline, and calls functions when they are due. `SystemClock` is the
real one; tests can replace it (``install``) to control time themselves.

Durations are real, whatever a test does to the module ``time``: even if ``time.monotonic`` is patched or freezegun is
active, timeouts keep their length and timers fire when they are due. The time of day (``Relay.connected_at``, the
``created_at`` of an authentication) is what ``time.time`` returns at that moment, so it is frozen if a test has frozen
it; no wait depends on it.

The system clock runs calls in one thread, ``gennostr-timers``, which exists only while a call is pending.

Nothing here ever waits for a lock, because a finalizer or a signal handler can run between any two lines and use the
clock, even in the timer thread. So callers pass calls through a SimpleQueue, whose ``put`` is documented to be
reentrant, and only the timer thread uses everything else.

Each of thousands of connections sets and cancels timers, nearly all for later than the next call that is due. Those do
not wake the timer thread: while it sleeps, a list holds a token, the time until which it sleeps, and only a caller
whose call is not later pops the token and wakes it. The thread adds the token and then looks at the queue once more; a
caller puts its call in the queue and then looks for the token. The queue orders the two: a call that the thread missed
was put after that, so its caller finds the token.
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
from gennostr.otp.mailbox import SIGNAL_DELAY, in_main_thread
from gennostr.values import Handle, shown

logger = logging.getLogger(__name__)
logger.addFilter(tracebacks.escape)


class TimedMailbox(Protocol):
    """What a clock needs of a mailbox; see `gennostr.otp.mailbox`."""

    def get(self, block: bool = True, timeout: float | None = None) -> object: ...  # noqa: FBT001, FBT002, D102

    def put(self, item: object) -> None: ...  # noqa: D102


class ScheduledCall(Protocol):
    """A call that is due later; public as ``Timer``, which `send_after` returns.

    Pass it to `cancel_timer`, which returns the seconds that were left.

    >>> from gennostr import cancel_timer, send_after
    >>> timer = send_after(60, "clock", "tick")
    >>> (cancel_timer(timer) or 0) > 59
    True
    """

    @property
    def when(self) -> float:
        """When it is due, in seconds on the monotonic scale of its clock."""

    def cancel(self) -> bool:
        """Cancel the call and drop its function.

        Return False if it is running, has run, or was cancelled. For timers, use `cancel_timer`.
        """


class Clock(Protocol):
    """A source of time, and waits based on it. All times are in seconds."""

    def monotonic(self) -> float:
        """Return the time on a scale that never goes backwards."""

    def time(self) -> float:
        """Return the time of day in seconds since 1970 (UTC)."""

    def take(self, mailbox: TimedMailbox, deadline: float) -> object:
        """Return the next item of `mailbox`; raise ``queue.Empty`` at `deadline`.

        An item that waits is returned even at or past `deadline`.
        """

    def call_at(self, when: float, function: Callable[[], object]) -> ScheduledCall:
        """Call `function` at `when`, in a thread of the clock; it must not block."""


def _module_of_our_own() -> ModuleType:
    """Return a second instance of the module ``time``.

    Patching functions of the shared instance, before or after this module is imported, does not affect it.
    """
    spec = importlib.util.find_spec("time")
    assert spec is not None  # noqa: S101
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_time: Final = _module_of_our_own()
# On Linux, both read the same clock. time-machine before 3.0 patches time.monotonic in C, for all modules.
_monotonic: Final[Callable[[], float]] = (
    partial(_time.clock_gettime, _time.CLOCK_MONOTONIC) if sys.platform == "linux" else _time.monotonic
)


WAITS_IGNORE_SIGNALS = os.name == "nt"
"""Whether the wait for a lock, and so for a queue, ends at its timeout even if Ctrl-C is pressed meanwhile.

POSIX systems interrupt it (PEP 475), Windows does not.
"""


def _take_in_slices(mailbox: TimedMailbox, deadline: float) -> object:
    """Return the next item of `mailbox`.

    Between slices of the wait, signal handlers run.
    """
    while (remaining := deadline - _monotonic()) > SIGNAL_DELAY:
        try:
            return mailbox.get(timeout=SIGNAL_DELAY)
        except Empty:
            pass
    return mailbox.get(timeout=remaining) if remaining > 0 else mailbox.get(block=False)


class _ScheduledCall(Handle):
    """A pending call.

    The thread that acquires `_claim` (atomically) runs or cancels it; `_claim` is never released.
    """

    __slots__ = ("_claim", "_clock", "_function", "when")

    def __init__(self, when: float, function: Callable[[], object], clock: "SystemClock") -> None:
        self.when = when
        self._function: Callable[[], object] | None = function
        self._clock = clock
        self._claim = allocate_lock()

    @property
    def over(self) -> bool:
        """Whether the call has run, is running, or was cancelled."""
        return self._claim.locked()

    def cancel(self) -> bool:
        """See `ScheduledCall.cancel`."""
        if not self.withdraw():
            return False
        self._clock.cancelled(self.when)
        return True

    def withdraw(self) -> bool:
        """Cancel the call without waking the timer thread."""
        if not self._claim.acquire(False):  # noqa: FBT003
            return False
        self._function = None  # also releases the message that it would have sent
        return True

    def run(self) -> None:
        """Call the function, unless it was cancelled."""
        if not self._claim.acquire(False):  # noqa: FBT003
            return
        function, self._function = self._function, None
        assert function is not None  # noqa: S101
        try:
            function()
        except BaseException:  # no failure may lose the calls that follow
            logger.exception("a timer's function raised: %s", shown(function))


MOST_ARRIVALS: Final = 256
"""How many calls and cancellations wait for the timer thread at most before it is woken to sort them in."""


class SystemClock:
    """The clock of the machine."""

    def __init__(self) -> None:
        self.start_anew()

    def start_anew(self) -> None:
        """Forget all calls and the timer thread.

        A forked child has neither, and its locks may be held forever.
        """
        # Filled from any thread, finalizer or signal handler: new calls, and None for each cancelled call.
        self._arrivals: SimpleQueue[_ScheduledCall | None] = SimpleQueue()
        # The token: until when the timer thread sleeps. And what wakes it.
        self._asleep: list[float] = []
        self._wakes: SimpleQueue[None] = SimpleQueue()
        # Held by the one timer thread that serves; others that fail to acquire it end. Only its holder uses the
        # attributes below.
        self._serving = allocate_lock()
        self._heap: list[tuple[float, int, _ScheduledCall]] = []
        self._order = count()
        # How many calls were cancelled since cancelled calls were last removed from the heap.
        self._cancelled = 0

    monotonic = staticmethod(_monotonic)

    @staticmethod
    def time() -> float:
        """Return the time of day, as ``time.time`` returns it now."""
        return time.time()

    @staticmethod
    def take(mailbox: TimedMailbox, deadline: float) -> object:
        """Return the next item of `mailbox`; raise ``queue.Empty`` at `deadline`."""
        if WAITS_IGNORE_SIGNALS and in_main_thread():
            return _take_in_slices(mailbox, deadline)
        remaining = deadline - _monotonic()
        if remaining <= 0:
            return mailbox.get(block=False)
        return mailbox.get(timeout=min(remaining, threading.TIMEOUT_MAX))

    def call_at(self, when: float, function: Callable[[], object]) -> ScheduledCall:
        """Call `function` at `when`, in the timer thread.

        Raises:
            RuntimeError: the timer thread was not running and the system refused to create it.

        """
        call = _ScheduledCall(float(when), function, self)
        if self._serving.locked():
            self._arrivals.put(call)
            self._wake(call.when)
            # A timer thread checks the queue once more after releasing `_serving`. So if it missed the call, it had
            # released the lock before the call was put, and this check sees that: the queue orders the two.
            if self._serving.locked():
                return call
        # Every caller that finds no thread starts one, and so gets its own RuntimeError; only one of the threads
        # serves. Relying on another caller's thread would mean waiting for a caller that this one may have interrupted.
        try:
            threading.Thread(target=self._run, args=(call,), name="gennostr-timers", daemon=True).start()
        except RuntimeError:
            if call.withdraw():
                raise
        return call

    def cancelled(self, when: float) -> None:
        """Count a call, due at `when`, that was cancelled."""
        self._arrivals.put(None)
        self._wake(when)  # if it was the next one: perhaps none is left, and the thread ends

    def _wake(self, when: float) -> None:
        """Wake the timer thread if it would sleep past `when`.

        Also if much has arrived since it fell asleep.
        """
        asleep = self._asleep
        if not asleep:
            return
        try:
            if when > asleep[0] and self._arrivals.qsize() < MOST_ARRIVALS:
                return
            asleep.pop()
        except IndexError:  # it woke up by itself, or another caller wakes it
            return
        self._wakes.put(None)

    def _run(self, call: _ScheduledCall) -> None:
        arrivals, serving = self._arrivals, self._serving
        arrivals.put(call)  # perhaps for the second time; it still runs only once
        while not arrivals.empty() and serving.acquire(False):  # noqa: FBT003
            try:
                self._serve()
            finally:
                serving.release()

    def _serve(self) -> None:
        """Run calls as they become due; return when no call is pending."""
        while True:
            for _ in range(self._arrivals.qsize()):  # bounded, so that a flood of arrivals cannot delay a call forever
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
            self._sleep(heap[0][0], remaining)

    def _sleep(self, until: float, seconds: float) -> None:
        """Sleep until a call is due; see `_wake`."""
        self._asleep.append(until)
        try:
            if self._arrivals.empty():  # looked at after the token was added
                # A caller that popped an earlier token may only wake this sleep: then there is nothing to do.
                self._wakes.get(timeout=min(seconds, threading.TIMEOUT_MAX))
        except Empty:
            pass
        finally:
            self._asleep.clear()

    def _arrived(self, call: _ScheduledCall | None) -> None:
        if call is not None:
            heapq.heappush(self._heap, (call.when, next(self._order), call))
            return
        # A cancelled call stays in the heap until it is due, unless cancelled calls outnumber the others.
        self._cancelled += 1
        if 2 * self._cancelled > len(self._heap) + 64:
            self._heap = [entry for entry in self._heap if not entry[2].over]
            heapq.heapify(self._heap)
            self._cancelled = 0


MACHINE: Final = SystemClock()
"""The machine's clock, even while another is installed; the testing kit uses it for its own timeouts."""
_installed: Clock = MACHINE
if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=MACHINE.start_anew)


def clock() -> Clock:
    """Return the installed clock."""
    return _installed


def install(new: Clock) -> Clock:
    """Install a clock; return the previous one.

    All waits that start from now on use it.
    """
    global _installed
    before, _installed = _installed, new
    return before


def monotonic_time() -> float:
    """Return the time in seconds on a scale that never goes backwards.

    For durations and deadlines:

    >>> import gennostr
    >>> began = gennostr.monotonic_time()
    >>> gennostr.monotonic_time() - began < 60
    True

    Like ``time.monotonic()``, but on the clock of the library's own timers and timeouts: under a
    `gennostr.testing.ManualClock` it moves exactly when they do. ``time.monotonic()`` itself always reads the machine's
    clock, because other code (locks, queues, asyncio) relies on it. The zero point has no meaning. Erlang's
    ``erlang:monotonic_time``.
    """
    return float(_installed.monotonic())  # an exact float, whatever an installed clock returns


def system_time() -> float:
    """Return the time of day in seconds since 1970 (UTC).

    >>> import gennostr
    >>> gennostr.system_time() > 1_700_000_000
    True

    Like ``time.time()``, but it follows a `gennostr.testing.ManualClock`. It goes backwards when the machine's clock is
    set back: use `monotonic_time` to measure durations. Erlang's ``erlang:system_time``.
    """
    return _installed.time()
