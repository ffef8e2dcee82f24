"""System messages: every server handles them itself, even while it is suspended.

The functions take a pid, a name or a via; a pid also has them as methods. OTP: the module ``sys``.
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
    """Request a `Rest`, or None while the server is busy.

    For clocks that wait until servers are idle.
    """


@dataclass(frozen=True, slots=True)
class Rest:
    """The state of an idle server.

    Attributes:
        handled: the messages handled so far.
        timed: whether it waits with a timeout.

    """

    handled: int
    timed: bool


@dataclass(frozen=True, slots=True)
class Status:
    """What a server is doing, as returned by `get_status`.

    OTP: ``sys:get_status/1`` and ``gen_server:format_status/1``.

    >>> from gennostr import GenServer, get_status
    >>> with GenServer.start("idle", name="cache") as cache:
    ...     status = get_status(cache)
    >>> status.name, status.status, status.state, status.messages
    ('cache', 'running', 'idle', 0)

    Attributes:
        name: the registered name or via, or None.
        status: "running" or "suspended".
        state: the state, or what format_status made of it.
        messages: the number of waiting messages.
        children: the children, newest first: pids, or for a supervisor `ChildInfo`.
        message: the last message; None unless format_status is called for a crash report.
        reason: the exit reason; None unless format_status is called for a crash report.

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
    """What a server has done since it started, as returned by `statistics`.

    OTP: ``sys:statistics/2``.

    >>> from gennostr import GenServer, Reply, statistics
    >>> class Echo(GenServer):
    ...     def handle_call(self, request, from_, state):
    ...         return Reply(request)
    >>> with Echo.start() as echo:
    ...     _ = echo.call("one"), echo.call("two")
    ...     statistics(echo).messages_in
    2

    Attributes:
        started_at: when it started, in seconds since 1970 (UTC).
        uptime: the seconds since then.
        messages_in: the messages handled: calls, casts and others, but neither system messages nor what a client's
            relays send.
        messages: the number of waiting messages.

    """

    started_at: float
    uptime: float
    messages_in: int
    messages: int


SystemMessage: TypeAlias = GetState | ReplaceState | Suspend | Resume | GetStatus | GetStatistics | GetRest


def get_state(target: object, timeout: float | None = 5.0) -> Any:
    """Return a server's state.

    For tests and consoles; the state is not copied. It works while the server is suspended. OTP: ``sys:get_state/2``.

    >>> from gennostr import GenServer, get_state
    >>> with GenServer.start([1, 2], name="cache"):
    ...     get_state("cache")
    [1, 2]

    Args:
        target: a pid, a name or a via.
        timeout: seconds to wait; None waits forever. Default 5.0.

    Raises:
        NoProcess, CallingSelf, CallExit, CallTimeout: as for `gennostr.call`.

    """
    return call(target, GetState(), timeout)


def replace_state(target: object, function: Callable[[Any], object], timeout: float | None = 5.0) -> Any:
    """Set a server's state to ``function(state)`` and return it.

    It works while the server is suspended. OTP: ``sys:replace_state/3``.

    >>> from gennostr import GenServer, replace_state
    >>> with GenServer.start(1, name="count"):
    ...     replace_state("count", lambda count: count + 1)
    2

    Args:
        target: a pid, a name or a via.
        function: runs in the server's thread. If it raises, the exception is raised here, and the server keeps its
            state and keeps running.
        timeout: seconds to wait; None waits forever. Default 5.0.

    Raises:
        NoProcess, CallingSelf, CallExit, CallTimeout: as for `gennostr.call`.

    """
    return call(target, ReplaceState(function), timeout)


def suspend(target: object, timeout: float | None = 5.0) -> None:
    """Suspend a server: messages wait until `resume`.

    Only system messages (get_state and the like), stop and exit signals are handled. OTP: ``sys:suspend/2``.

    >>> from gennostr import GenServer, get_status, resume, suspend
    >>> with GenServer.start(name="cache") as cache:
    ...     suspend("cache")
    ...     cache.get_status().status
    ...     resume("cache")
    'suspended'

    Args:
        target: a pid, a name or a via.
        timeout: seconds to wait; None waits forever. Default 5.0.

    Raises:
        NoProcess, CallingSelf, CallExit, CallTimeout: as for `gennostr.call`.

    """
    call(target, Suspend(), timeout)


def resume(target: object, timeout: float | None = 5.0) -> None:
    """Resume a suspended server.

    The messages that waited are handled first, in order. Does nothing if it is not suspended. OTP: ``sys:resume/2``.

    >>> from gennostr import GenServer, Reply, resume, suspend
    >>> class Echo(GenServer):
    ...     def handle_call(self, request, from_, state):
    ...         return Reply(request)
    >>> with Echo.start() as echo:
    ...     suspend(echo)
    ...     pending = echo.send_request("hello")
    ...     resume(echo)
    ...     pending.wait()
    'hello'

    Args:
        target: a pid, a name or a via.
        timeout: seconds to wait; None waits forever. Default 5.0.

    Raises:
        NoProcess, CallingSelf, CallExit, CallTimeout: as for `gennostr.call`.

    """
    call(target, Resume(), timeout)


def get_status(target: object, timeout: float | None = 5.0) -> Status:
    """Return a server's `Status`, as changed by its format_status.

    It works while the server is suspended. OTP: ``sys:get_status/2``.

    >>> from gennostr import GenServer, get_status
    >>> with GenServer.start("idle", name="cache"):
    ...     get_status("cache").state
    'idle'

    Args:
        target: a pid, a name or a via.
        timeout: seconds to wait; None waits forever. Default 5.0.

    Raises:
        NoProcess, CallingSelf, CallExit, CallTimeout: as for `gennostr.call`.

    """
    return cast("Status", call(target, GetStatus(), timeout))


def statistics(target: object, timeout: float | None = 5.0) -> Statistics:
    """Return a server's `Statistics`: uptime, messages handled and waiting.

    It works while the server is suspended. OTP: ``sys:statistics/2``.

    >>> from gennostr import GenServer, statistics
    >>> with GenServer.start(name="cache"):
    ...     statistics("cache").messages
    0

    Args:
        target: a pid, a name or a via.
        timeout: seconds to wait; None waits forever. Default 5.0.

    Raises:
        NoProcess, CallingSelf, CallExit, CallTimeout: as for `gennostr.call`.

    """
    return cast("Statistics", call(target, GetStatistics(), timeout))
