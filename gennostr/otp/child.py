"""A child of a supervisor: code shared by both kinds of supervisors.

The current process of a child, its start and restart, the shutdown of many children, the restart intensity, and log
records about children.
"""

import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gennostr.exceptions import AlreadyStarted, BadReturnValue, StartError
from gennostr.otp import telemetry
from gennostr.otp.calls import Request, wait_down
from gennostr.otp.child_spec import ChildSpec, check_count, check_number
from gennostr.otp.clock import clock
from gennostr.otp.outcomes import IGNORE
from gennostr.otp.pid import Pid
from gennostr.otp.process import Process
from gennostr.otp.reasons import SHUTDOWN, is_clean
from gennostr.otp.signals import Exit
from gennostr.values import shown, shown_fields

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChildInfo:
    """One child, as returned by which_children.

    >>> from gennostr import ChildSpec, GenServer, Pid, Supervisor
    >>> with Supervisor.start([ChildSpec("cache", GenServer.start_link)]) as supervisor:
    ...     (child,) = supervisor.which_children()
    >>> child.id, child.type, isinstance(child.pid, Pid)
    ('cache', 'worker', True)

    Attributes:
        id: the id of its specification; None for a child of a dynamic supervisor.
        pid: its pid; None if it is not running; "restarting" while a failed restart is tried again.
        type: "worker" or "supervisor".
        start: the callable that starts it.

    """

    id: object
    pid: Pid | Literal["restarting"] | None
    type: str
    start: Callable[..., Any] = field(hash=False)  # a partial's arguments may not be hashable

    __repr__ = shown_fields


@dataclass(frozen=True, slots=True)
class ChildCounts:
    """The numbers of children, as returned by count_children.

    >>> from gennostr import ChildSpec, GenServer, Supervisor
    >>> with Supervisor.start([ChildSpec("cache", GenServer.start_link)]) as supervisor:
    ...     supervisor.count_children()
    ChildCounts(specs=1, active=1, supervisors=0, workers=1)

    Attributes:
        specs: all children, running or not.
        active: those that are running.
        supervisors: those of type "supervisor", running or not.
        workers: those of type "worker", running or not.

    """

    specs: int
    active: int
    supervisors: int
    workers: int


def check_intensity(max_restarts: object, max_seconds: object) -> None:
    """Raise TypeError or ValueError if the restart intensity is invalid.

    The message names the field and its value.
    """
    check_count("max_restarts", max_restarts)
    check_number("max_seconds", max_seconds)
    if max_seconds == 0:
        raise ValueError(
            f"max_seconds must be greater than 0, not {max_seconds!r}: it is the period in which restarts are counted"
        )


class RestartIntensity:
    """Counts restarts: at most `most` are allowed within `seconds`."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._times: deque[float] = deque()

    def __str__(self) -> str:
        return f"more than {self._most} restarts in {self._seconds:g} s"

    def add(self) -> bool:
        """Count a restart; return False if there are too many."""
        now = clock().monotonic()
        times = self._times
        times.append(now)
        while times and times[0] < now - self._seconds:
            times.popleft()
        return len(times) <= self._most


class Child:
    """A child and its current process."""

    __slots__ = ("last", "pid", "reason", "restarting", "restarts", "spec")

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.pid: Pid | None = None
        # The last process that ended.
        self.last: Pid | None = None
        # Why the last process ended, or why the next one did not start.
        self.reason: object = None
        self.restarting = False
        self.restarts = 0

    def info(self) -> ChildInfo:
        """Return the child as a `ChildInfo`."""
        pid = "restarting" if self.restarting else self.pid
        return ChildInfo(self.spec.id, pid, self.spec.type, self.spec.start)  # type: ignore[arg-type]

    def exited(self, reason: object) -> bool:
        """Record the child's end; return whether to restart it."""
        restart = self.spec.restart
        # In this order for readers in other threads: a child to be restarted never looks like one that is not.
        self.restarting = restart == "permanent" or (restart == "transient" and not is_clean(reason))
        self.last, self.pid = self.pid, None
        self.reason = reason
        return self.restarting

    def start(self, supervisor: Process, extra_arguments: Sequence[object] = ()) -> None:
        """Start the child in the supervisor's process, or raise what its start raises.

        The child's pid is None if start returned IGNORE.
        """
        pid = self.spec.call_start(extra_arguments)
        if pid is IGNORE:
            self.pid = None
            return
        if not isinstance(pid, Pid):
            raise StartError(BadReturnValue(pid))
        process = pid.process
        # If start did not link, link here: otherwise the supervisor would never learn of the child's death.
        if process.parent is None:
            process.parent = supervisor
        with supervisor.lock:
            linked = process in supervisor.links
        if not linked:
            supervisor.link(process)
        self.pid = pid

    def restart(self, supervisor: Process, extra_arguments: Sequence[object] = ()) -> bool:
        """Restart the child; return False if it does not start.

        `reason` then holds the failure.
        """
        self.restarting = True
        try:
            self.start(supervisor, extra_arguments)
        except BaseException as error:
            self.pid = None
            self.reason = failure(error)
            logger.warning("%r could not restart %s: %s", supervisor.pid, self, shown(self.reason))
            return False
        self.restarting = False
        self.restarts += 1
        if self.pid is not None:
            self.pid.process.restarts = self.restarts
        if telemetry.handlers:
            metadata = {"supervisor": supervisor.pid, "id": self.spec.id, "pid": self.pid, "reason": self.reason}
            telemetry.emit("supervisor.restart", {"restarts": self.restarts}, metadata)
        return True

    def release(self, from_: Request) -> None:
        """Reply now if the caller is the child itself.

        It then stops waiting and can end.
        """
        if self.pid is not None and from_.caller is self.pid.process:
            from_.reply(None)

    def __str__(self) -> str:
        return f"child {shown_id(self.spec.id)}"


def count_children(children: Iterable[Child]) -> ChildCounts:
    """Return the counts of `children`."""
    infos = [child.info() for child in children]
    supervisors = sum(info.type == "supervisor" for info in infos)
    active = sum(isinstance(info.pid, Pid) for info in infos)
    return ChildCounts(len(infos), active, supervisors, len(infos) - supervisors)


def end_children(supervisor: Process, children: Iterable[Child]) -> None:
    """Stop `children` concurrently.

    Signal SHUTDOWN to each, and kill each one that exceeds its shutdown time.
    """
    waiting: list[tuple[float, Process, float | None]] = []
    for child in children:
        pid, child.pid = child.pid, None
        if pid is None:
            continue
        process = pid.process
        # Unlink, because its exit is waited for here. An Exit already in the mailbox matches no child and is ignored.
        supervisor.unlink(process)
        if child.spec.shutdown == "brutal_kill":
            process.kill()
        else:
            assert child.spec.shutdown is not None  # noqa: S101
            seconds = child.spec.shutdown
            process.signal(supervisor, SHUTDOWN)
            deadline = None if seconds == math.inf else clock().monotonic() + seconds
            waiting.append((seconds, process, deadline))
    # The shortest shutdown time first. Of those with the same time, the last to be signalled first: when it has ended,
    # most others have, and thousands of children do not wake the supervisor one after the other.
    waiting.reverse()
    waiting.sort(key=lambda each: each[0])
    for _, process, deadline in waiting:
        left = None if deadline is None else max(0.0, deadline - clock().monotonic())
        end = wait_down(process, left)
        if end is None:
            process.kill()
            logger.warning("%r did not stop within its shutdown time and was killed", process.pid)
        elif not is_clean(end[0]):
            logger.warning("%r stopped %r, which ended with reason %s", supervisor.pid, process.pid, shown(end[0]))


def log_exit(supervisor: Process, message: Exit) -> None:
    """Log an unexpected exit.

    That of an own child that was stopped or never started is expected.
    """
    if message.pid is None or message.pid.process.parent is not supervisor:
        sender = "a plain thread" if message.pid is None else repr(message.pid)
        text = "%r ignores an exit signal from %s, which is not its child: %s"
        logger.warning(text, supervisor.pid, sender, shown(message.reason))


def log_request(supervisor: Process, kind: str, request: object) -> None:
    """Log a call or cast that the supervisor does not handle."""
    logger.warning("%r ignores an unknown %s: %s", supervisor.pid, kind, shown(request))


def failure(error: BaseException) -> object:
    """Return the reason of a failed start."""
    return error.reason if isinstance(error, StartError) else error


def shown_id(id_: object) -> str:
    """Return a child's id as text; for a class, the default id, only its name."""
    return id_.__name__ if isinstance(id_, type) else shown(id_)


def started(start: Callable[[Child], object], child: Child) -> object:
    """Return ``start(child)``; convert its failure to a StartError.

    AlreadyStarted passes unchanged.
    """
    try:
        return start(child)
    except (StartError, AlreadyStarted):
        raise
    except BaseException as error:
        raise StartError(error) from error


def log_restart(supervisor: Process, child: Child, *, may: bool, intensity: RestartIntensity) -> bool:
    """Log that `child` is restarted or that the supervisor gives up; return `may`."""
    if may:
        logger.warning(
            "%r restarts %s: %r ended with reason %s", supervisor.pid, child, child.last, shown(child.reason)
        )
    else:
        text = "%r gives up after %s, the last one of %s: %r ended with reason %s"
        arguments = supervisor.pid, intensity, child, child.last, shown(child.reason)
        supervisor.gave_up = text % arguments
        logger.error(text, *arguments)
    return may


# Requests from the handle to the supervisor.


@dataclass(frozen=True, slots=True)
class StartChild:
    """Add and start a child."""

    spec: ChildSpec


@dataclass(frozen=True, slots=True)
class ChildAction:
    """Do `action` ("terminate", "restart" or "delete") to a child."""

    action: str
    id: object


@dataclass(frozen=True, slots=True)
class WhichChildren:
    """Request the children."""


@dataclass(frozen=True, slots=True)
class CountChildren:
    """Request the counts of the children."""


class ChildrenPid(Pid):
    """The handle of a process with children: requests of both kinds of supervisors."""

    def which_children(self) -> list[ChildInfo]:
        """Return the children, newest first.

        Waits without a timeout, as the supervisor may be starting a child. OTP: ``supervisor:which_children/1``.

        Returns:
            One `ChildInfo` for each child.

        Raises:
            NoProcess, CallingSelf, CallExit: as for `Pid.call`.

        """
        return self.call(WhichChildren(), None)  # type: ignore[no-any-return]

    def count_children(self) -> ChildCounts:
        """Return the numbers of children.

        Waits without a timeout, as the supervisor may be starting a child. OTP: ``supervisor:count_children/1``.

        Returns:
            The `ChildCounts`.

        Raises:
            NoProcess, CallingSelf, CallExit: as for `Pid.call`.

        """
        return self.call(CountChildren(), None)  # type: ignore[no-any-return]
