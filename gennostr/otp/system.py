"""System messages: what every server understands, whatever its callbacks are, and while it is suspended too.

The functions take a pid, a name or a via; a pid has them as methods.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from gennostr.otp.calls import call
from gennostr.values import shown_fields


@dataclass(frozen=True, slots=True)
class GetState:
    """Asks for the state."""


@dataclass(frozen=True, slots=True)
class ReplaceState:
    """Replaces the state by ``function(state)``."""

    function: Callable[[object], object]


@dataclass(frozen=True, slots=True)
class Suspend:
    """Lets messages wait."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Ends `Suspend`."""


@dataclass(frozen=True, slots=True)
class GetStatus:
    """Asks for a `Status`."""


@dataclass(frozen=True, slots=True)
class GetStatistics:
    """Asks for `Statistics`."""


@dataclass(frozen=True, slots=True)
class GetRest:
    """Asks for a `Rest`, or None while something is left to do: for clocks that wait for that."""


@dataclass(frozen=True, slots=True)
class Rest:
    """A server at rest: so many messages were `handled` so far, and where it is `timed` it waits with a timeout."""

    handled: int
    timed: bool


@dataclass(frozen=True, slots=True)
class Status:
    """What a server is doing: `status` is "running" or "suspended", and so many `messages` wait.

    `children` are newest first. `message` and `reason` are those of a crash, in what format_status gets for a report.
    """

    name: object
    status: str
    state: object = field(hash=False)  # any value, and some have no hash: so message and reason
    messages: int
    children: tuple[object, ...]
    message: object = field(default=None, hash=False)
    reason: object = field(default=None, hash=False)

    __repr__ = shown_fields


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a server has done: it started at `started_at` (seconds since 1970), `uptime` seconds ago.

    `messages_in` were handled (calls, casts and others; neither system messages nor what a client's relays send), and
    so many `messages` wait.
    """

    started_at: float
    uptime: float
    messages_in: int
    messages: int


SystemMessage: TypeAlias = GetState | ReplaceState | Suspend | Resume | GetStatus | GetStatistics | GetRest


def get_state(target: object, timeout: float | None = 5.0) -> Any:
    """Return the server's state. This and the others wait `timeout` seconds and raise what `call` raises."""
    return call(target, GetState(), timeout)


def replace_state(target: object, function: Callable[[Any], object], timeout: float | None = 5.0) -> Any:
    """Set the state to ``function(state)`` and return it; what that raises, is raised here alone."""
    return call(target, ReplaceState(function), timeout)


def suspend(target: object, timeout: float | None = 5.0) -> None:
    """Let messages wait until `resume`; only system messages and stop are handled meanwhile."""
    call(target, Suspend(), timeout)


def resume(target: object, timeout: float | None = 5.0) -> None:
    """End `suspend`: what waited is handled first, in its order."""
    call(target, Resume(), timeout)


def get_status(target: object, timeout: float | None = 5.0) -> Status:
    """Return what the server is doing, through its format_status."""
    return cast("Status", call(target, GetStatus(), timeout))


def statistics(target: object, timeout: float | None = 5.0) -> Statistics:
    """Return what the server has done."""
    return cast("Statistics", call(target, GetStatistics(), timeout))
