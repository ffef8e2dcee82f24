"""A clock that only moves when a test advances it.

Every deadline of the library uses the installed clock: timers, timeouts of callbacks and calls, shutdown times,
restart intensities, backoff, keepalive. With a `ManualClock` installed, a test that spans an hour takes milliseconds
and is deterministic:

    with ManualClock() as clock:
        ...
        clock.advance(3600)

`ManualClock.advance` triggers the deadlines one by one, in order, and lets the actors settle before and after each:
every actor has handled its messages, including what its socket has received, and is waiting again. It does not wait for
an actor that is blocked outside of the library (on an event of the test, or on a relay that does not answer the
upgrade), nor for a lookup of a name that hangs.

What the code under test should read
------------------------------------

Code that measures time itself reads `gennostr.monotonic_time` or `gennostr.system_time`, which follow the installed
clock. ``time.monotonic()`` and ``time.time()`` do not follow it: they belong to the whole process, and replacing them
would also stop the waits of locks, queues, sockets and asyncio, on which the test itself relies. Libraries that replace
them (freezegun, time-machine) do not move the actors' deadlines. `gennostr.nostr.sign` without `created_at` reads
``time.time()`` too, as it knows of no clock: pass ``created_at=int(gennostr.system_time())``.

Install the clock before the actors start and remove it after they have stopped, as times measured on two clocks cannot
be compared. After it is removed, waits under way continue on the previous clock; pending timers never fire.
"""

import contextlib
import sys
import threading
from _thread import allocate_lock
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final, Self

from gennostr.client import lookups
from gennostr.otp import clock, system
from gennostr.otp.calls import Request
from gennostr.otp.clock import MACHINE, Clock, ScheduledCall, TimedMailbox
from gennostr.otp.envelopes import WAKE
from gennostr.otp.process import Process, alive
from gennostr.otp.reasons import NORMAL
from gennostr.values import Handle

PATIENCE: Final = 10.0
"""Seconds of machine time within which the actors must settle."""
STUCK: Final = 0.005
"""Seconds of machine time after which a thread that has not moved counts as blocked."""

helpers: dict[Callable[[], int], None] = {}
"""Functions that do other work which must finish before the actors are at rest (that of test relays). Each does what it
can and returns the amount of work done since its start."""


class _Call(Handle):
    __slots__ = ("_clock", "function", "when")

    def __init__(self, owner: "ManualClock", when: float, function: Callable[[], object]) -> None:
        self._clock = owner
        self.when = when
        self.function: Callable[[], object] | None = function

    def cancel(self) -> bool:
        if not self._clock.remove(self):
            return False
        self.function = None  # drops the message that it would have sent, too
        return True

    def run(self) -> None:
        function, self.function = self.function, None
        assert function is not None  # noqa: S101
        function()


class _Wait:
    __slots__ = ("mailbox", "over", "when")

    def __init__(self, mailbox: TimedMailbox, when: float) -> None:
        self.mailbox = mailbox
        self.when = when
        self.over = False

    def wake(self) -> None:
        """Make the waiting thread check the clock.

        Called once, by the thread that removed this from `_due`.
        """
        self.mailbox.put(WAKE)


class ManualClock:
    """The library's clock within a ``with`` statement.

    A rate limiter reads `gennostr.monotonic_time`, and its test takes no time:

    >>> import gennostr
    >>> from gennostr import GenServer, Ok, Reply
    >>> from gennostr.testing import ManualClock
    >>> class OncePerMinute(GenServer):
    ...     def init(self, init_arg):
    ...         return Ok(float("-inf"))
    ...
    ...     def handle_call(self, request, from_, last):
    ...         now = gennostr.monotonic_time()
    ...         return Reply(True, now) if now - last >= 60 else Reply(False, last)
    >>> with ManualClock() as clock, OncePerMinute.start() as limiter:
    ...     first, second = limiter.call("allowed?"), limiter.call("allowed?")
    ...     clock.advance(60)
    ...     third = limiter.call("allowed?")
    >>> first, second, third
    (True, False, True)

    Timers and timeouts fire when the test advances to them:

    >>> from gennostr import send_after
    >>> from gennostr.testing import Probe
    >>> with ManualClock() as clock, Probe() as probe:
    ...     timer = send_after(3600, probe.pid, "an hour has passed")
    ...     clock.next_due()
    ...     clock.advance(3600)
    ...     probe.expect(str)
    3600.0
    'an hour has passed'

    ``time.time()`` and ``time.monotonic()`` do not follow: they belong to the whole process (see
    `gennostr.testing.manual_clock`). Times are in seconds; one thread at a time may advance the clock.
    """

    def __init__(self) -> None:
        # No thread ever waits for a lock here, so that a finalizer or a signal handler can use the clock anywhere.
        # `_due` is only used in single atomic steps (append, remove, copy); the thread that removes a call or a wait
        # decides what happens to it. Only the thread that advances the clock writes `_now` and `_before`.
        # Released when a wait has begun or ended; acquired by the advancing thread, which then checks its condition.
        self._changed = allocate_lock()
        # A whole number, so that sums and comparisons in tests are exact.
        self._now = float(int(MACHINE.monotonic()))
        self._epoch = MACHINE.time() - self._now
        self._due: list[_Call | _Wait] = []
        # The previous clock, while this one is installed.
        self._before: Clock | None = None
        # Blocked processes that have an unanswered GetRest: the request, the queue for its reply, and the place.
        self._blocked: dict[Process, tuple[Request, SimpleQueue[None], object]] = {}

    def __enter__(self) -> Self:
        self._before = clock.install(self)
        return self

    def __exit__(self, *details: object) -> None:
        before = self._before
        assert before is not None  # noqa: S101
        clock.install(before)
        self._before = None
        for each in list(self._due):
            if self.remove(each) and isinstance(each, _Wait):
                each.wake()  # it continues to wait, on the previous clock
        for asked, _, _ in self._blocked.values():
            asked.abandon(NORMAL)
        self._blocked.clear()

    def advance(self, seconds: float) -> None:
        """Advance the clock by `seconds`.

        Deadlines trigger in order, and the actors settle before the first and after each.

        Raises:
            ValueError: `seconds` is negative.
            TimeoutError: the actors do not settle; the message names the busy ones.

        """
        if not seconds >= 0:
            raise ValueError(f"seconds must be 0 or more, not {seconds!r}: time does not go backwards")
        self.settle()
        until = self._now + seconds
        while True:
            first = min(list(self._due), key=lambda each: each.when, default=None)
            if first is None or first.when > until:
                if self._now == until:
                    return
                self._now = until  # look once more, for a wait that began before it could see this
            elif self.remove(first):
                self._now = max(self._now, first.when)
                if isinstance(first, _Wait):
                    first.wake()
                    # The wait may belong to a plain thread, which `settle` does not know.
                    self._wait_until(lambda wait=first: wait.over)  # type: ignore[misc]
                else:
                    first.run()
                self.settle()

    def next_due(self) -> float | None:
        """Let the actors settle, and return the seconds until the next deadline.

        `None` if nothing is due, ever.

        Raises:
            TimeoutError: the actors do not settle; the message names the busy ones.

        """
        self.settle()
        return min((max(0.0, each.when - self._now) for each in list(self._due)), default=None)

    # Settling.

    def settle(self) -> None:
        """Wait until the actors are at rest, without advancing the clock.

        Every actor has handled its messages, and waits or is blocked outside of the library.

        Raises:
            TimeoutError: they are not at rest within 10 s of machine time; the message names the busy ones.

        """
        deadline = MACHINE.monotonic() + PATIENCE
        before: dict[object, object] = {}
        # Two rounds with the same result: nobody did anything between them, so no message is under way.
        while True:
            now: dict[object, object] = {work: work() for work in list(helpers)}
            for thread in lookups.running():
                thread.join(0.0 if thread in before else STUCK)
                now[thread] = _place(thread.ident) if thread.is_alive() else "ended"
            for process in alive():
                now[process] = self._examine(process, deadline, patient=not before)
            if now == before and None not in now.values():
                break
            if MACHINE.monotonic() > deadline:
                busy = [process for process, done in now.items() if done is None]
                raise TimeoutError(f"not at rest after {PATIENCE:g} s: {busy or 'some actors keep each other busy'}")
            before = now
        # An actor that waits with a timeout replied before it began to wait; its deadline must not be missed.
        timed = [each for each, rest in now.items() if isinstance(rest, system.Rest) and rest.timed]
        self._wait_until(lambda: self._wait(timed))

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds, at most PATIENCE.

        `_change` must be called whenever it may have changed.
        """
        deadline = MACHINE.monotonic() + PATIENCE
        while not condition():
            if not self._changed.acquire(timeout=max(0.0, deadline - MACHINE.monotonic())):
                return

    def _change(self) -> None:
        """Make the advancing thread check its condition again."""
        with contextlib.suppress(RuntimeError):  # already released, and not yet acquired
            self._changed.release()

    def remove(self, due: "_Call | _Wait") -> bool:
        """Remove a call or a wait from the pending ones, atomically.

        Return False if it was removed before. For the clock's own calls, not for tests.
        """
        try:
            self._due.remove(due)
        except ValueError:
            return False
        return True

    def _wait(self, processes: list[object]) -> bool:
        """Return whether all of these wait with a timeout, or are dead."""
        waited_in = {id(each.mailbox) for each in list(self._due) if isinstance(each, _Wait)}
        return all(
            process.dead or id(process.mailbox) in waited_in for process in processes if isinstance(process, Process)
        )

    def _examine(self, process: Process, deadline: float, *, patient: bool) -> object:
        """Return the process's `Rest`, or where it is blocked; None if it has more to do.

        A process that was blocked is given time to move on only if `patient`.
        """
        if process in self._blocked:
            asked, answered, place = self._blocked.pop(process)
            patience = STUCK if patient else 0.0
        else:
            asked, answered = self._ask(process)
            place = None
            patience = STUCK
        while asked.exit is None:
            if process.waiting is not None:  # for another process, which is examined itself
                asked.abandon(NORMAL)
                return process.waiting
            try:
                answered.get(timeout=patience)
            except Empty:
                before, place = place, _place(process.thread)
                if place is not None and place == before:
                    self._blocked[process] = (asked, answered, place)
                    return place
                if MACHINE.monotonic() > deadline:
                    asked.abandon(NORMAL)
                    return None
                patience = STUCK
            else:
                if asked.exit is None:
                    return asked.value
        return "dead"

    @staticmethod
    def _ask(process: Process) -> tuple[Request, "SimpleQueue[None]"]:
        answered: SimpleQueue[None] = SimpleQueue()
        asked = Request(system.GetRest(), process, None, partial(answered.put, None))
        if process.watch(asked, waits=True):
            process.deliver(asked)
        else:
            asked.abandon(process.reason)
        return asked, answered

    # The interface `gennostr.otp.clock.Clock`.

    def monotonic(self) -> float:
        """Return the time that `advance` moves, in seconds.

        `gennostr.monotonic_time` returns it too. It starts at the machine's, rounded to a whole number, so that sums
        and comparisons are exact.
        """
        return self._now

    def time(self) -> float:
        """Return the time of day in seconds since 1970 (UTC).

        `gennostr.system_time` returns it too. It is the machine's at the clock's creation, plus the time advanced
        since.
        """
        return self._epoch + self._now

    def take(self, mailbox: TimedMailbox, deadline: float) -> object:
        """Return the next item of `mailbox`; for the library.

        See `gennostr.otp.clock.Clock`.
        """
        wait = _Wait(mailbox, deadline)
        self._due.append(wait)
        # Checked only now that the wait is in the list: a thread that advances or removes the clock does so before it
        # reads the list.
        if not (self._before is None or self._now >= deadline) or not self.remove(wait):
            self._change()
            woken = False
            try:
                item = mailbox.get()
            finally:
                woken = not self.remove(wait)
                wait.over = True
                self._change()
            if item is not WAKE or not woken:  # a WAKE from elsewhere is for the actor
                return item
        if self._now < deadline:  # the clock was removed in the meantime
            now = clock.clock()
            return now.take(mailbox, now.monotonic() + deadline - self._now)
        while (item := mailbox.get(block=False)) is WAKE:
            pass  # left by a wait that something else ended at the same time
        return item

    def call_at(self, when: float, function: Callable[[], object]) -> ScheduledCall:
        """Call `function` at `when`, see `gennostr.otp.clock.Clock`; for the library.

        It is called in the thread that advances the clock.
        """
        if self._before is None:  # the clock was removed
            now = clock.clock()
            return now.call_at(now.monotonic() + when - self._now, function)
        call = _Call(self, when, function)
        self._due.append(call)
        return call


def _place(thread: int | None) -> object:
    """Return the position of a thread.

    None: it is running, or there is no thread.
    """
    frame = None if thread is None else sys._current_frames().get(thread)  # noqa: SLF001 - documented
    if frame is None or _runs(thread):
        return None
    return (id(frame), frame.f_lasti)


def _runs(ident: int | None) -> bool:
    """Return whether the thread is runnable (Linux only; elsewhere False).

    On a busy machine it may stand still for lack of a CPU.
    """
    for thread in threading.enumerate():
        if thread.ident == ident:
            try:
                stat = Path(f"/proc/self/task/{thread.native_id}/stat").read_text()
            except OSError:
                return False
            return stat.rpartition(") ")[2].startswith("R")
    return False
