"""The deadlines of one client, on one timer."""

import heapq
from itertools import count
from typing import Generic, TypeVar

from gennostr.otp.clock import ScheduledCall, clock
from gennostr.otp.process import Process
from gennostr.otp.timers import send_after

K = TypeVar("K")
_numbers = count(1)


class Deadline(Generic[K]):
    """A cancellable deadline."""

    __slots__ = ("key",)

    def __init__(self, key: K) -> None:
        self.key: K | None = key

    def cancel(self) -> None:
        """Cancel it."""
        self.key = None


class TimerQueue(Generic[K]):
    """Deadlines, used by the client's thread.

    Only `down` runs in another thread, when the client is dead.
    """

    def __init__(self, client: Process, message: object) -> None:
        self._client = client
        # What the client is sent when the first deadline arrives; it then calls `due`.
        self._message = message
        # The earliest first, and the only timer, which is for that one.
        self._deadlines: list[tuple[float, int, Deadline[K]]] = []
        self._crowded = 1_024
        self._timer: ScheduledCall | None = None
        self._timer_at = 0.0

    def after(self, seconds: float, key: K) -> Deadline[K]:
        """Add a deadline for `key` after so many seconds."""
        deadline = Deadline(key)
        if len(self._deadlines) >= self._crowded:  # most were cancelled: an answer comes long before its timeout
            self._deadlines = [each for each in self._deadlines if each[2].key is not None]
            heapq.heapify(self._deadlines)
            self._crowded = max(1_024, 2 * len(self._deadlines))
        at = clock().monotonic() + seconds
        heapq.heappush(self._deadlines, (at, next(_numbers), deadline))
        # A timer that is too early finds nothing due, and is set for the next: cheaper than cancelling it and setting
        # another.
        if self._timer is None or at < self._timer_at:
            self._wind()
        return deadline

    def _wind(self) -> None:
        """Set the timer for the first deadline."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        while self._deadlines and self._deadlines[0][2].key is None:
            heapq.heappop(self._deadlines)
        if self._deadlines:
            self._timer_at = self._deadlines[0][0]
            delay = max(0.0, self._timer_at - clock().monotonic())
            self._timer = timer = send_after(delay, self._client.pid, self._message)
            if self._client.is_dead():  # killed meanwhile: `down` may have missed this timer
                timer.cancel()

    def due(self) -> list[Deadline[K]]:
        """Return the deadlines that are due, in order.

        Called when the message has arrived.

        Handling one can cancel the next: its key becomes None then.
        """
        now = clock().monotonic()
        due: list[Deadline[K]] = []
        while self._deadlines and self._deadlines[0][0] <= now:
            due.append(heapq.heappop(self._deadlines)[2])
        self._wind()
        return due

    def down(self, process: Process, reason: object) -> None:
        """Cancel the timer: the client is dead (see `gennostr.otp.process.Watcher`)."""
        del process, reason
        timer = self._timer
        if timer is not None:
            timer.cancel()
