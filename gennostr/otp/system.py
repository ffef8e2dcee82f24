"""System messages: handled by every server, independent of its callbacks, even while it is suspended.

The functions take a pid, a name or a via; a pid also has them as methods.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from gennostr.otp.calls import call
from gennostr.values import shown_fields


@dataclass(frozen=True, slots=True)
class GetState:
    """Request the state."""


@dataclass(frozen=True, slots=True)
class ReplaceState:
    """Replace the state with ``function(state)``."""

    function: Callable[[object], object]


@dataclass(frozen=True, slots=True)
class Suspend:
    """Stop handling messages; they wait until `Resume`."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Undo `Suspend`."""


@dataclass(frozen=True, slots=True)
class GetStatus:
    """Request the `Status`."""


@dataclass(frozen=True, slots=True)
class GetStatistics:
    """Request the `Statistics`."""


@dataclass(frozen=True, slots=True)
class GetRest:
    """Request a `Rest`, or None while the server is busy; for clocks that wait until servers are idle."""


@dataclass(frozen=True, slots=True)
class Rest:
    """The state of an idle server: messages `handled` so far, and whether it waits with a timeout (`timed`)."""

    handled: int
    timed: bool


@dataclass(frozen=True, slots=True)
class Status:
    """What a server is doing.

    `status` is "running" or "suspended". `messages` is the number of waiting messages. `children` are newest first.
    `message` and `reason` describe the crash and are set only when format_status is called for a crash report.
    """

    name: object
    status: str
    state: object = field(hash=False)  # can be any value, hashable or not; so can message and reason
    messages: int
    children: tuple[object, ...]
    message: object = field(default=None, hash=False)
    reason: object = field(default=None, hash=False)

    __repr__ = shown_fields


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a server has done since it started.

    It started at `started_at` (seconds since 1970), `uptime` seconds ago. `messages_in` is the number of messages
    handled: calls, casts and others, but neither system messages nor what a client's relays send. `messages` is the
    number of waiting messages.
    """

    started_at: float
    uptime: float
    messages_in: int
    messages: int


SystemMessage: TypeAlias = GetState | ReplaceState | Suspend | Resume | GetStatus | GetStatistics | GetRest


def get_state(target: object, timeout: float | None = 5.0) -> Any:
    """Return the server's state.

    Like the other functions here, it waits at most `timeout` seconds and raises what `call` raises.
    """
    return call(target, GetState(), timeout)


def replace_state(target: object, function: Callable[[Any], object], timeout: float | None = 5.0) -> Any:
    """Set the state to ``function(state)`` and return it.

    If `function` raises, the exception is raised here and the server keeps running.
    """
    return call(target, ReplaceState(function), timeout)


def suspend(target: object, timeout: float | None = 5.0) -> None:
    """Suspend the server: messages wait until `resume`; only system messages and stop are handled."""
    call(target, Suspend(), timeout)


def resume(target: object, timeout: float | None = 5.0) -> None:
    """Resume a suspended server: the messages that waited are handled first, in order."""
    call(target, Resume(), timeout)


def get_status(target: object, timeout: float | None = 5.0) -> Status:
    """Return the server's `Status`, as changed by its format_status."""
    return cast("Status", call(target, GetStatus(), timeout))


def statistics(target: object, timeout: float | None = 5.0) -> Statistics:
    """Return the server's `Statistics`."""
    return cast("Statistics", call(target, GetStatistics(), timeout))
