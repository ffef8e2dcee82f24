"""The deadlines of one client, on one timer."""

import heapq
from collections.abc import Callable
from itertools import count

from gennostr.client.commands import ClientCommand
from gennostr.otp.clock import ScheduledCall, clock
from gennostr.otp.process import Process
from gennostr.otp.timers import send_after

_numbers = count(1)


class Deadline:
    """A function that is called at a time, unless `cancel` comes first."""

    def __init__(self, function: Callable[[], object]) -> None:
        self.function: Callable[[], object] | None = function

    def cancel(self) -> None:
        """Do not call it."""
        self.function = None


class TimerQueue:
    """Belongs to the client's thread; only `down` runs in another one, when the client is dead."""

    def __init__(self, client: Process) -> None:
        self._client = client
        # The earliest first, and the one timer, which is for that.
        self._deadlines: list[tuple[float, int, Deadline]] = []
        self._crowded = 1_024
        self._timer: ScheduledCall | None = None

    def after(self, seconds: float, function: Callable[[], object]) -> Deadline:
        """Call `function` in the client after so many seconds."""
        deadline = Deadline(function)
        if len(self._deadlines) >= self._crowded:  # most were cancelled: an answer comes long before its timeout
            self._deadlines = [each for each in self._deadlines if each[2].function is not None]
            heapq.heapify(self._deadlines)
            self._crowded = max(1_024, 2 * len(self._deadlines))
        heapq.heappush(self._deadlines, (clock().monotonic() + seconds, next(_numbers), deadline))
        if self._deadlines[0][2] is deadline:
            self._wind()
        return deadline

    def _wind(self) -> None:
        """Set the timer for the first."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        while self._deadlines and self._deadlines[0][2].function is None:
            heapq.heappop(self._deadlines)
        if self._deadlines:
            delay = max(0.0, self._deadlines[0][0] - clock().monotonic())
            self._timer = timer = send_after(delay, self._client.pid, ClientCommand(self._ring))
            if self._client.is_dead():  # killed meanwhile: `down` may have missed this one
                timer.cancel()

    def _ring(self) -> None:
        self._timer = None
        now = clock().monotonic()
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline = heapq.heappop(self._deadlines)[2]
            if deadline.function is not None:
                deadline.function()
        self._wind()

    def down(self, process: Process, reason: object) -> None:
        """Cancel the timer: the client is dead (see `gennostr.otp.process.Watcher`)."""
        del process, reason
        timer = self._timer
        if timer is not None:
            timer.cancel()
