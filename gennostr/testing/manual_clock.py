"""A clock that stands still until a test moves it.

Every deadline of the library reads the clock in force: timers, timeouts of callbacks and calls, shutdown times,
restart intensities, backoff, keepalive. With a `ManualClock` in its place a test of an hour takes milliseconds, and
does the same each time::

    with ManualClock() as clock:
        ...
        clock.advance(3600)

`advance` makes one deadline come true after the other, and before and after each lets the actors come to rest: each
has handled what it got, what its socket holds included, and waits again. One that is blocked outside of the library
(an event of the test's, a relay that does not answer the upgrade) is not waited for.

Install it before the actors start and take it away after they have stopped: what they measured on one clock says
little on another. Who still waits then goes on by the clock before; a timer that is still to fire never does.
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

from gennostr.otp import clock, system
from gennostr.otp.calls import Request
from gennostr.otp.clock import MACHINE, Clock, ScheduledCall, TimedMailbox
from gennostr.otp.envelopes import WAKE
from gennostr.otp.process import Process, alive
from gennostr.otp.reasons import NORMAL
from gennostr.values import Handle

PATIENCE: Final = 10.0
"""Seconds, of the machine's, in which the actors must come to rest."""
STUCK: Final = 0.005
"""Seconds, of the machine's, after which a thread that has not moved counts as blocked."""

helpers: dict[Callable[[], int], None] = {}
"""What else has work to do before the actors are at rest (fake relays): it does it, and returns how much in all."""


class _Call(Handle):
    __slots__ = ("_clock", "function", "when")

    def __init__(self, owner: "ManualClock", when: float, function: Callable[[], object]) -> None:
        self._clock = owner
        self.when = when
        self.function: Callable[[], object] | None = function

    def cancel(self) -> bool:
        if not self._clock.remove(self):
            return False
        self.function = None  # and with it the message that it would have sent
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
        """Have who waits look at the clock. For whoever has taken it out of `ManualClock._due`, and so once."""
        self.mailbox.put(WAKE)


class ManualClock:
    """The library's clock in a ``with`` statement. All times are seconds; one thread at a time moves it."""

    def __init__(self) -> None:
        # There is no lock that anybody waits for, so that a finalizer or a signal handler may use the clock anywhere.
        # `_due` is used in single steps (append, remove, copy), each of which is atomic; whoever removes a call or a
        # wait decides what becomes of it. `_now` and `_before` are written by the thread that moves the clock alone.
        # Released when a wait has begun or is over, acquired by the thread that moves the clock, which then looks.
        self._changed = allocate_lock()
        # A whole number, so that what a test adds and compares comes out exactly.
        self._now = float(int(MACHINE.monotonic()))
        self._epoch = MACHINE.time() - self._now
        self._due: list[_Call | _Wait] = []
        # The clock before, while this one is in force.
        self._before: Clock | None = None
        # Who was asked and is blocked: the question, where the answer arrives, and the place.
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
                each.wake()  # and go on waiting, by the other clock
        for asked, _, _ in self._blocked.values():
            asked.abandon(NORMAL)
        self._blocked.clear()

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass: what falls due does so in its order, and between any two the actors come to rest.

        Raises:
            ValueError: `seconds` is negative.
            TimeoutError: the actors do not come to rest; the message names those at work.

        """
        if not seconds >= 0:
            raise ValueError(f"time does not go back: {seconds!r} seconds")
        self.settle()
        until = self._now + seconds
        while True:
            first = min(list(self._due), key=lambda each: each.when, default=None)
            if first is None or first.when > until:
                if self._now == until:
                    return
                self._now = until  # and look once more, for a wait that began before it could see that
            elif self.remove(first):
                self._now = max(self._now, first.when)
                if isinstance(first, _Wait):
                    first.wake()
                    # It may be a plain thread's, of which `settle` knows nothing.
                    self._wait_until(lambda wait=first: wait.over)  # type: ignore[misc]
                else:
                    first.run()
                self.settle()

    def next_due(self) -> float | None:
        """Return the seconds to the next deadline, None if there is none; the actors come to rest before."""
        self.settle()
        return min((max(0.0, each.when - self._now) for each in list(self._due)), default=None)

    # Rest.

    def settle(self) -> None:
        """Return when the actors are at rest.

        Raises:
            TimeoutError: they are not within ten of the machine's seconds.

        """
        deadline = MACHINE.monotonic() + PATIENCE
        before: dict[object, object] = {}
        # Two rounds with one result: nobody did anything between them, so nothing is under way to anybody.
        while True:
            now: dict[object, object] = {work: work() for work in list(helpers)}
            for process in alive():
                now[process] = self._look_at(process, deadline, patient=not before)
            if now == before and None not in now.values():
                break
            if MACHINE.monotonic() > deadline:
                busy = [process for process, done in now.items() if done is None]
                raise TimeoutError(f"not at rest after {PATIENCE:g} s: {busy or 'some actors keep each other busy'}")
            before = now
        # Each that waits with a timeout has answered before it began to wait; what it waits for must not be overlooked.
        timed = [each for each, rest in now.items() if isinstance(rest, system.Rest) and rest.timed]
        self._wait_until(lambda: self._wait(timed))

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        """Return when `condition` holds, at most PATIENCE later; it depends on what `_change` announces."""
        deadline = MACHINE.monotonic() + PATIENCE
        while not condition():
            if not self._changed.acquire(timeout=max(0.0, deadline - MACHINE.monotonic())):
                return

    def _change(self) -> None:
        """Have the thread that moves the clock look again."""
        with contextlib.suppress(RuntimeError):  # it was released already, and that was not seen yet
            self._changed.release()

    def remove(self, due: "_Call | _Wait") -> bool:
        """Take something that is due out, in one step; False if that was done before."""
        try:
            self._due.remove(due)
        except ValueError:
            return False
        return True

    def _wait(self, processes: list[object]) -> bool:
        """Whether all of these wait with a timeout, or are dead."""
        waited_in = {id(each.mailbox) for each in list(self._due) if isinstance(each, _Wait)}
        return all(
            process.dead or id(process.mailbox) in waited_in for process in processes if isinstance(process, Process)
        )

    def _look_at(self, process: Process, deadline: float, *, patient: bool) -> object:
        """Return its `Rest`, or where it is blocked; None if it has more to do.

        One that was blocked is given the time to move on if `patient`.
        """
        if process in self._blocked:
            asked, answered, place = self._blocked.pop(process)
            patience = STUCK if patient else 0.0
        else:
            asked, answered = self._ask(process)
            place = None
            patience = STUCK
        while asked.exit is None:
            if process.waiting is not None:  # for another process, which is looked at itself
                asked.abandon(NORMAL)
                return process.waiting
            try:
                answered.get(timeout=patience)
            except Empty:
                before, place = place, _place(process)
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

    # What the library asks of a clock.

    def monotonic(self) -> float:
        """Return the time that `advance` moves."""
        return self._now

    def time(self) -> float:
        """Return the time of day: the machine's when this was made, and what has passed since."""
        return self._epoch + self._now

    def take(self, mailbox: TimedMailbox, deadline: float) -> object:
        """See `gennostr.otp.clock.Clock`."""
        wait = _Wait(mailbox, deadline)
        self._due.append(wait)
        # Looked at now that it is in the list: who moves the clock, or takes it away, does that before looking there.
        if not (self._before is None or self._now >= deadline) or not self.remove(wait):
            self._change()
            woken = False
            try:
                item = mailbox.get()
            finally:
                woken = not self.remove(wait)
                wait.over = True
                self._change()
            if item is not WAKE or not woken:  # a WAKE of somebody else's is the actor's to see
                return item
        if self._now < deadline:  # taken away meanwhile
            now = clock.clock()
            return now.take(mailbox, now.monotonic() + deadline - self._now)
        while (item := mailbox.get(block=False)) is WAKE:
            pass  # the one of a wait that something else ended at the same time
        return item

    def call_at(self, when: float, function: Callable[[], object]) -> ScheduledCall:
        """See `gennostr.otp.clock.Clock`; the function is called in the thread that advances."""
        if self._before is None:  # taken away
            now = clock.clock()
            return now.call_at(now.monotonic() + when - self._now, function)
        call = _Call(self, when, function)
        self._due.append(call)
        return call


def _place(process: Process) -> object:
    """Return where the process's thread is; None if it runs, or is none."""
    thread = process.thread
    frame = None if thread is None else sys._current_frames().get(thread)  # noqa: SLF001 - documented
    if frame is None or _runs(thread):
        return None
    return (id(frame), frame.f_lasti)


def _runs(ident: int | None) -> bool:
    """Whether the thread wants a processor: on a busy machine it may stand still for want of one. Linux only."""
    for thread in threading.enumerate():
        if thread.ident == ident:
            try:
                stat = Path(f"/proc/self/task/{thread.native_id}/stat").read_text()
            except OSError:
                return False
            return stat.rpartition(") ")[2].startswith("R")
    return False
