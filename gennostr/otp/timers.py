"""Timers: messages that arrive later."""

from functools import partial
from typing import TypeAlias

from gennostr.otp.clock import ScheduledCall, clock
from gennostr.otp.names import resolve
from gennostr.otp.outcomes import check_seconds
from gennostr.otp.process import check_may_act

Timer: TypeAlias = ScheduledCall
"""What `send_after` returns and `cancel_timer` takes."""


def send_after(delay: float, dest: object, message: object) -> Timer:
    """Send a message later; return the timer.

    A name is looked up when the timer fires. If `dest` is then dead or unknown, the message is dropped. All timers
    share one thread. OTP: ``erlang:send_after/3``.

    >>> from gennostr import GenServer, NoReply, reply, send_after
    >>> class Waiter(GenServer):
    ...     def handle_call(self, request, from_, state):
    ...         return NoReply(from_)
    ...     def handle_info(self, message, from_):
    ...         reply(from_, message)
    >>> with Waiter.start() as waiter:
    ...     pending = waiter.send_request("next message")
    ...     timer = send_after(0.01, waiter, "tick")
    ...     pending.wait()
    'tick'

    Args:
        delay: seconds from now, zero or more.
        dest: a pid, name or via, whose ``handle_info`` receives the message.
        message: any value.

    Returns:
        A timer for `cancel_timer`.

    Raises:
        TypeError: `delay` is not a number, or `dest` is not a pid, name or via.
        ValueError: `delay` is negative or NaN.
        RuntimeError: the system refused to create the timer thread, or this process was forked while actors were
            running.
        CallExit: the calling process was killed.

    """
    check_may_act()
    check_seconds("delay", delay)
    resolve(dest)
    return clock().call_at(clock().monotonic() + delay, partial(fire, dest, message))


def fire(dest: object, message: object) -> None:
    """Send the `message` of a timer that fires."""
    process = resolve(dest)
    if process is not None:
        process.deliver(message)


def cancel_timer(timer: Timer) -> float | None:
    """Cancel a timer; return the seconds that were left.

    The timer drops its reference to the message at once, even if the timer object is kept. Any thread may cancel it.
    OTP: ``erlang:cancel_timer/1``.

    >>> from gennostr import cancel_timer, send_after
    >>> timer = send_after(60, "clock", "tick")
    >>> 59 < (cancel_timer(timer) or 0) <= 60
    True
    >>> cancel_timer(timer)

    Args:
        timer: what `send_after` returned.

    Returns:
        The seconds that were left, or None if it has fired or was cancelled before. Then the message may be in the
        mailbox.

    Raises:
        RuntimeError: this process was forked while actors were running.
        CallExit: the calling process was killed.

    """
    check_may_act()
    if not timer.cancel():
        return None
    return max(0.0, timer.when - clock().monotonic())
