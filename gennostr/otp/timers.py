"""Timers: messages that arrive later."""

from functools import partial
from typing import TypeAlias

from gennostr.otp.clock import ScheduledCall, clock
from gennostr.otp.names import resolve
from gennostr.otp.outcomes import check_seconds
from gennostr.otp.process import acting

Timer: TypeAlias = ScheduledCall
"""What `send_after` returns and `cancel_timer` takes."""


def send_after(delay: float, dest: object, message: object) -> Timer:
    """Send `message` to `dest` (a pid, name or via) in `delay` seconds; return the timer.

    A name is looked up when the timer fires. A timer for the dead or the unknown vanishes.

    Raises:
        TypeError, ValueError: `delay` is no number of seconds, zero or more; `dest` is no target.
        RuntimeError: this is a child that was forked while actors ran.

    """
    acting()
    check_seconds("delay", delay)
    resolve(dest)
    return clock().call_at(clock().monotonic() + delay, partial(fire, dest, message))


def fire(dest: object, message: object) -> None:
    """Send `message` now: a timer is over."""
    process = resolve(dest)
    if process is not None:
        process.deliver(message)


def cancel_timer(timer: Timer) -> float | None:
    """Cancel; return the seconds that were left, or None if the timer has fired or was cancelled.

    The message is released at once, though the timer may be kept.
    """
    acting()
    if not timer.cancel():
        return None
    return max(0.0, timer.when - clock().monotonic())
