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

    A name is looked up when the timer fires. If `dest` is then dead or unknown, the message is dropped.

    Raises:
        TypeError: `delay` is not a number, or `dest` is not a pid, name or via.
        ValueError: `delay` is negative or NaN.
        RuntimeError: this process was forked while actors were running.

    """
    acting()
    check_seconds("delay", delay)
    resolve(dest)
    return clock().call_at(clock().monotonic() + delay, partial(fire, dest, message))


def fire(dest: object, message: object) -> None:
    """Send the `message` of a timer that fires."""
    process = resolve(dest)
    if process is not None:
        process.deliver(message)


def cancel_timer(timer: Timer) -> float | None:
    """Cancel a timer; return the seconds left, or None if it has fired or was cancelled.

    The timer drops its reference to the message at once, even if the timer object is kept.
    """
    acting()
    if not timer.cancel():
        return None
    return max(0.0, timer.when - clock().monotonic())
