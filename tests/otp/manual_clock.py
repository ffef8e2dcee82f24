"""A clock that stands still until a test moves it: timeouts and timers without waiting for them."""

import threading
from collections.abc import Callable
from typing import Self

from gennostr.otp import clock
from gennostr.otp.clock import TimedLock, TimedMailbox
from gennostr.otp.messages import WAKE
from tests.otp.actors import DEADLINE


class _Call:
    def __init__(self, owner: "ManualClock", when: float, function: Callable[[], object]) -> None:
        self.owner = owner
        self.when = when
        self.function = function

    def cancel(self) -> bool:
        return self.owner.remove(self)


class ManualClock:
    """The library's clock in a ``with`` statement. Waits for locks (calls, shutdown times) keep the machine's time."""

    def __init__(self) -> None:
        self._now = 1000.0
        # Protects all; notified when a mailbox begins to wait.
        self._changed = threading.Condition()
        self._waits: list[tuple[float, TimedMailbox]] = []
        self._calls: list[_Call] = []

    def __enter__(self) -> Self:
        self._before = clock.install(self)
        return self

    def __exit__(self, *details: object) -> None:
        clock.install(self._before)

    def advance(self, seconds: float) -> None:
        """Let time pass: what is due is called here, in its order, and who waits in vain is woken."""
        with self._changed:
            until = self._now + seconds
        while True:
            with self._changed:
                due = [call for call in self._calls if call.when <= until]
                if not due:
                    break
                call = min(due, key=lambda each: each.when)
                self._calls.remove(call)
                self._now = max(self._now, call.when)
            call.function()
        with self._changed:
            self._now = until
            for deadline, mailbox in self._waits:
                if deadline <= until:
                    mailbox.put(WAKE)

    def armed(self, seconds: float) -> None:
        """Return when a mailbox waits that has `seconds` left."""
        with self._changed:
            when = self._now + seconds
            assert self._changed.wait_for(lambda: any(each == when for each, _ in self._waits), DEADLINE)

    def remove(self, call: _Call) -> bool:
        """Cancel `call`; False if it was called, or cancelled before."""
        with self._changed:
            if call not in self._calls:
                return False
            self._calls.remove(call)
            return True

    # What the library asks of a clock.

    def monotonic(self) -> float:
        return self._now

    def time(self) -> float:
        return self._now

    def acquire(self, lock: TimedLock, timeout: float | None) -> bool:
        return lock.acquire(True, -1 if timeout is None else min(timeout, threading.TIMEOUT_MAX))  # noqa: FBT003

    def take(self, mailbox: TimedMailbox, deadline: float) -> object:
        wait = (deadline, mailbox)
        with self._changed:
            self._waits.append(wait)
            self._changed.notify_all()
        try:
            while self._now < deadline:
                item = mailbox.get()
                if item is not WAKE or self._now < deadline:
                    return item
            return mailbox.get(block=False)
        finally:
            with self._changed:
                self._waits.remove(wait)

    def call_at(self, when: float, function: Callable[[], object]) -> _Call:
        call = _Call(self, when, function)
        with self._changed:
            self._calls.append(call)
        return call
