"""Supervisor: starts children in order, restarts them when they end, stops them in reverse order.

What the end of a child does:

    restart     after a clean end        after a failure
    permanent   restarted                restarted
    transient   kept without a pid       restarted
    temporary   forgotten                forgotten

What a restart does to the siblings:

    one_for_one     nothing
    one_for_all     all are stopped in reverse order, then all are started in order
    rest_for_one    those started after it are stopped in reverse, then it and they are started in order

Each restart, and each try to restart, is counted: more than ``max_restarts`` within ``max_seconds``, and the
supervisor stops its children and itself, reason SHUTDOWN. A restart that fails is tried again at once; between the
tries the supervisor answers its other requests.
"""

import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from gennostr.exceptions import (
    AlreadyPresent,
    AlreadyStarted,
    BadReturnValue,
    ChildNotFound,
    ChildRestarting,
    ChildRunning,
    FailedToStartChild,
    StartError,
)
from gennostr.otp import telemetry
from gennostr.otp.calls import Failure, Request, wait_down
from gennostr.otp.child_spec import ChildSpec, check_choice, check_count, check_number, to_child_spec
from gennostr.otp.clock import clock
from gennostr.otp.crash_report import shown
from gennostr.otp.gen_server import GenServer
from gennostr.otp.messages import Cast, Exit
from gennostr.otp.names import Name
from gennostr.otp.outcomes import IGNORE, CallOutcome, Ok, Outcome, Reply, Stop
from gennostr.otp.pid import Pid
from gennostr.otp.process import Process
from gennostr.otp.reasons import SHUTDOWN, Shutdown, is_clean

logger = logging.getLogger(__name__)

Strategy: TypeAlias = Literal["one_for_one", "one_for_all", "rest_for_one"]
AutoShutdown: TypeAlias = Literal["never", "any_significant", "all_significant"]


@dataclass(frozen=True, slots=True)
class Flags:
    """The children of a supervisor and how they are restarted."""

    children: tuple[ChildSpec, ...]
    strategy: Strategy = "one_for_one"
    max_restarts: int = 3
    max_seconds: float = 5.0
    auto_shutdown: AutoShutdown = "never"

    def __post_init__(self) -> None:
        check_choice("strategy", self.strategy, ("one_for_one", "one_for_all", "rest_for_one"))
        check_choice("auto_shutdown", self.auto_shutdown, ("never", "any_significant", "all_significant"))
        check_intensity(self.max_restarts, self.max_seconds)
        ids: set[object] = set()
        for spec in self.children:
            if spec.id in ids:
                raise ValueError(f"children must have ids of their own: {spec.id!r} is there twice")
            ids.add(spec.id)
            self.check_significant(spec)

    def check_significant(self, spec: ChildSpec) -> None:
        """Raise ValueError for a significant child that could never matter."""
        if spec.significant and self.auto_shutdown == "never":
            raise ValueError(f"significant must be False where auto_shutdown is never: child {spec.id!r}")


@dataclass(frozen=True, slots=True)
class ChildInfo:
    """One child, as which_children tells: its `pid` is None while it does not run."""

    id: object
    pid: Pid | Literal["restarting"] | None
    type: str
    start: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class ChildCounts:
    """How many children there are; `active` are those that run."""

    specs: int
    active: int
    supervisors: int
    workers: int


def check_intensity(max_restarts: object, max_seconds: object) -> None:
    """Raise TypeError or ValueError naming the field and its value if it is no restart intensity."""
    check_count("max_restarts", max_restarts)
    check_number("max_seconds", max_seconds)


class Intensity:
    """Counts restarts: `add` is False when more than `most` fell within `seconds`."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._times: deque[float] = deque()

    def __str__(self) -> str:
        return f"more than {self._most} restarts in {self._seconds:g} s"

    def add(self) -> bool:
        """Count one now."""
        now = clock().monotonic()
        times = self._times
        times.append(now)
        while times and times[0] < now - self._seconds:
            times.popleft()
        return len(times) <= self._most


class Child:
    """A child and its present process."""

    __slots__ = ("last", "pid", "reason", "restarting", "restarts", "spec")

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.pid: Pid | None = None
        # The last process that ended, and why it did, or the next did not start.
        self.last: Pid | None = None
        self.reason: object = None
        self.restarting = False
        self.restarts = 0

    def info(self) -> ChildInfo:
        """Return it as which_children tells it."""
        pid = "restarting" if self.restarting else self.pid
        return ChildInfo(self.spec.id, pid, self.spec.type, self.spec.start)  # type: ignore[arg-type]

    def ended(self, reason: object) -> bool:
        """Note its end, and return whether a restart is to follow."""
        restart = self.spec.restart
        # In this order for who looks from outside: a child to be restarted never looks like one that is not.
        self.restarting = restart == "permanent" or (restart == "transient" and not is_clean(reason))
        self.last, self.pid = self.pid, None
        self.reason = reason
        return self.restarting

    def begin(self, supervisor: Process, extra_arguments: Sequence[object] = ()) -> None:
        """Start it in the supervisor's process; its pid is None if it ignores. Raises what start raises."""
        pid = self.spec.begin(extra_arguments)
        if pid is IGNORE:
            self.pid = None
            return
        if not isinstance(pid, Pid):
            raise StartError(BadReturnValue(pid))
        process = pid.process
        # A start that did not link is linked here: a death that nobody hears of would be a child lost.
        if process.parent is None:
            process.parent = supervisor
        with supervisor.lock:
            linked = process in supervisor.links
        if not linked:
            supervisor.link(process)
        self.pid = pid

    def begin_again(self, supervisor: Process, extra_arguments: Sequence[object] = ()) -> bool:
        """Restart it; False, with the failure in `reason`, if it does not start."""
        self.restarting = True
        try:
            self.begin(supervisor, extra_arguments)
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

    def __str__(self) -> str:
        return f"child {shown_id(self.spec.id)}"


def count_children(children: Iterable[Child]) -> ChildCounts:
    """Count for count_children."""
    infos = [child.info() for child in children]
    supervisors = sum(info.type == "supervisor" for info in infos)
    active = sum(isinstance(info.pid, Pid) for info in infos)
    return ChildCounts(len(infos), active, supervisors, len(infos) - supervisors)


def end_children(supervisor: Process, children: Iterable[Child]) -> None:
    """Stop `children` at the same time: SHUTDOWN, each its shutdown time, then kill."""
    waiting: list[tuple[Process, float | None]] = []
    for child in children:
        pid, child.pid = child.pid, None
        if pid is None:
            continue
        process = pid.process
        # Unlinked, for its exit is waited for here. One that is in the supervisor's mailbox already is nobody's there.
        supervisor.unlink(process)
        if child.spec.shutdown == "brutal_kill":
            process.kill()
        else:
            assert child.spec.shutdown is not None  # noqa: S101
            seconds = child.spec.shutdown
            process.signal(supervisor, SHUTDOWN)
            deadline = None if seconds == math.inf else clock().monotonic() + seconds
            waiting.append((process, deadline))
    for process, deadline in waiting:
        left = None if deadline is None else max(0.0, deadline - clock().monotonic())
        end = wait_down(process, left)
        if end is None:
            process.kill()
            logger.warning("%r did not stop in its shutdown time and was killed", process.pid)
        elif not is_clean(end[0]):
            logger.warning("%r stopped %r, which ended by %s", supervisor.pid, process.pid, shown(end[0]))


def log_exit(supervisor: Process, message: Exit) -> None:
    """Log the exit of a stranger; that of an own child that was stopped, or never started, is no news."""
    if message.pid is None or message.pid.process.parent is not supervisor:
        logger.warning("%r got the exit of a stranger, %r: %s", supervisor.pid, message.pid, shown(message.reason))


def log_request(supervisor: Process, kind: str, request: object) -> None:
    """Log a call or cast that is none of the handle's."""
    logger.warning("%r got a %s that it does not handle: %s", supervisor.pid, kind, shown(request))


def failure(error: BaseException) -> object:
    """Return the reason for which a start failed."""
    return error.reason if isinstance(error, StartError) else error


def shown_id(id_: object) -> str:
    """Return a child's id as text: by default that is a class, and its name says enough."""
    return id_.__name__ if isinstance(id_, type) else shown(id_)


def started(start: Callable[[Child], object], child: Child) -> object:
    """Return what ``start(child)`` returns; for the caller, every failure is a StartError or says who is there."""
    try:
        return start(child)
    except (StartError, AlreadyStarted):
        raise
    except BaseException as error:
        raise StartError(error) from error


def log_restart(supervisor: Process, child: Child, *, may: bool, intensity: Intensity) -> bool:
    """Log that `child` is restarted, or, where it may not be, that the supervisor gives up; return `may`."""
    if may:
        logger.warning("%r restarts %s; %r ended: %s", supervisor.pid, child, child.last, shown(child.reason))
    else:
        text = "%r gives up: %s, the last of %s; %r ended: %s"
        logger.error(text, supervisor.pid, intensity, child, child.last, shown(child.reason))
    return may


# Requests, from the handle to the supervisor.


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
    """Ask for the children."""


@dataclass(frozen=True, slots=True)
class CountChildren:
    """Ask for their numbers."""


@dataclass(frozen=True, slots=True)
class _TryAgain:
    """A restart failed; try `id` again."""

    id: object


class ChildrenPid(Pid):
    """The handle of what has children: what both kinds of supervisors are asked."""

    def which_children(self) -> list[ChildInfo]:
        """Return the children, newest first; those of a dynamic supervisor have None for an id."""
        return self.call(WhichChildren(), None)  # type: ignore[no-any-return]

    def count_children(self) -> ChildCounts:
        """Return how many children there are."""
        return self.call(CountChildren(), None)  # type: ignore[no-any-return]


class SupervisorPid(ChildrenPid):
    """The handle of a supervisor. Its methods wait for the supervisor as long as that takes."""

    def start_child(self, child: Any) -> Any:
        """Add a child after the others and start it; return its pid, or IGNORE.

        Raises:
            AlreadyStarted, AlreadyPresent: the id is taken, by a child that runs or one that does not.
            StartError: it failed to start, and is not kept.
            TypeError, ValueError: `child` is no child specification.

        """
        return self.call(StartChild(to_child_spec(child)), None)

    def terminate_child(self, id: object) -> None:  # noqa: A002 - OTP's name
        """Stop a child and keep its specification (a temporary one's is dropped).

        Raises:
            ChildNotFound: there is none with that id.

        """
        self.call(ChildAction("terminate", id), None)

    def restart_child(self, id: object) -> Any:  # noqa: A002
        """Start a child that does not run; return its pid, or IGNORE.

        Raises:
            ChildNotFound, ChildRunning, ChildRestarting: there is none, or it is not to be started.
            StartError: it failed to start.

        """
        return self.call(ChildAction("restart", id), None)

    def delete_child(self, id: object) -> None:  # noqa: A002
        """Drop the specification of a child that does not run.

        Raises:
            ChildNotFound, ChildRunning, ChildRestarting: there is none, or it is not to be dropped.

        """
        self.call(ChildAction("delete", id), None)


class Supervisor(GenServer[Any]):
    """Start with ``Supervisor.start(children, strategy=...)``, or subclass: init returns ``self.children(...)``."""

    trap_exit = True
    _pid_class = SupervisorPid

    @staticmethod
    def children(
        children: Iterable[Any],
        strategy: Strategy = "one_for_one",
        max_restarts: int = 3,
        max_seconds: float = 5.0,
        auto_shutdown: AutoShutdown = "never",
    ) -> Flags:
        """Return what a supervisor's init returns.

        Raises:
            TypeError, ValueError: a value that cannot be; the message names it.

        """
        specs = tuple(to_child_spec(child) for child in children)
        return Flags(specs, strategy, max_restarts, max_seconds, auto_shutdown)

    @classmethod
    def start(
        cls,
        init_arg: Any = (),
        name: Name | None = None,
        timeout: float | None = None,
        **flags: Any,
    ) -> Any:
        """Start a supervisor and its children; see `GenServer.start` and `children`.

        Raises:
            StartError: a child did not start: its reason is ``Shutdown(FailedToStartChild(id, reason))``.

        """
        return super().start(cls._argument(init_arg, flags), name, timeout)

    @classmethod
    def start_link(
        cls,
        init_arg: Any = (),
        name: Name | None = None,
        timeout: float | None = None,
        **flags: Any,
    ) -> Any:
        """Start a supervisor linked to the calling process; see `start`."""
        return super().start_link(cls._argument(init_arg, flags), name, timeout)

    @classmethod
    def child_spec(cls, init_arg: Any = (), **overrides: Any) -> ChildSpec:
        """Return how a supervisor starts this one."""
        return super().child_spec(init_arg, **({"type": "supervisor"} | overrides))

    @classmethod
    def _argument(cls, init_arg: Any, flags: dict[str, Any]) -> Any:
        if cls.init is Supervisor.init:
            return init_arg if isinstance(init_arg, Flags) else cls.children(init_arg, **flags)
        if flags:
            raise TypeError(f"{cls.__name__}.init says how it supervises: {', '.join(flags)} not taken")
        return init_arg

    def init(self, init_arg: Any) -> Any:
        """Return ``self.children(...)``, or IGNORE; the default takes it from start."""
        return init_arg

    def __init__(self) -> None:
        super().__init__()
        self._by_id: dict[object, Child] = {}
        self._by_pid: dict[Pid, Child] = {}

    def _init(self, init_arg: object) -> object:
        flags = self.init(init_arg)
        if not isinstance(flags, Flags):
            return flags if flags is IGNORE or isinstance(flags, Stop) else Stop(BadReturnValue(flags))
        self._flags = flags
        self._intensity = Intensity(flags.max_restarts, flags.max_seconds)
        for spec in flags.children:
            try:
                self._keep(Child(spec))
            except BaseException as error:
                self._end_in_reverse(self._by_id.values())
                return Stop(Shutdown(FailedToStartChild(spec.id, failure(error))))
        return Ok(None)

    def _children(self) -> tuple[ChildInfo, ...]:
        return tuple(child.info() for child in reversed(list(self._by_id.values())))

    def _terminate(self, reason: object) -> None:
        self._end_in_reverse(self._by_id.values())
        super()._terminate(reason)

    # Starting and stopping children.

    def _begin(self, child: Child) -> object:
        """Start `child`; return its pid, or IGNORE."""
        child.begin(self._process)
        if child.pid is None:
            return IGNORE
        self._by_pid[child.pid] = child
        return child.pid

    def _keep(self, child: Child) -> object:
        """Start a new child and keep it, unless it is temporary and ignores."""
        pid = self._begin(child)
        if pid is not IGNORE or child.spec.restart != "temporary":
            self._by_id[child.spec.id] = child
        return pid

    def _end_in_reverse(self, children: Iterable[Child]) -> None:
        for child in reversed(list(children)):
            if child.pid is not None:
                self._by_pid.pop(child.pid, None)
            end_children(self._process, [child])

    # Requests.

    def handle_call(self, request: Any, from_: Request, state: None) -> CallOutcome[Any]:
        """Serve the handle."""
        del from_, state
        try:
            match request:
                case StartChild(spec):
                    return Reply(self._add(spec))
                case ChildAction("terminate", id_):
                    self._terminate_child(self._find(id_))
                    return Reply(None)
                case ChildAction("restart", id_):
                    return Reply(started(self._begin, self._idle(id_)))
                case ChildAction("delete", id_):
                    del self._by_id[self._idle(id_).spec.id]
                    return Reply(None)
                case WhichChildren():
                    return Reply(list(self._children()))
                case CountChildren():
                    return Reply(count_children(self._by_id.values()))
        except Exception as error:
            return Reply(Failure(error))
        log_request(self._process, "call", request)
        return Reply(Failure(TypeError(f"not a supervisor's request: {shown(request)}")))

    def handle_cast(self, request: Any, state: None) -> Outcome[Any]:
        """Try a failed restart again."""
        del state
        if not isinstance(request, _TryAgain):
            log_request(self._process, "cast", request)
            return None
        child = self._by_id.get(request.id)
        if child is None or not child.restarting:
            return None  # settled meanwhile, by request
        return self._restart(child)

    def _find(self, id_: object) -> Child:
        child = self._by_id.get(id_)
        if child is None:
            raise ChildNotFound(id_)
        return child

    def _idle(self, id_: object) -> Child:
        child = self._find(id_)
        if child.restarting:
            raise ChildRestarting(id_)
        if child.pid is not None:
            raise ChildRunning(id_)
        return child

    def _add(self, spec: ChildSpec) -> object:
        self._flags.check_significant(spec)
        known = self._by_id.get(spec.id)
        if known is not None:
            raise AlreadyPresent(spec.id) if known.pid is None else AlreadyStarted(known.pid)
        return started(self._keep, Child(spec))

    def _terminate_child(self, child: Child) -> None:
        child.restarting = False
        self._end_in_reverse([child])
        if child.spec.restart == "temporary":
            del self._by_id[child.spec.id]

    # Ends and restarts.

    def handle_info(self, message: Any, state: None) -> Outcome[Any]:
        """Meet the end of a child."""
        if not isinstance(message, Exit):
            return super().handle_info(message, state)
        child = None if message.pid is None else self._by_pid.pop(message.pid, None)
        if child is None:
            log_exit(self._process, message)
            return None
        if child.ended(message.reason):
            return self._restart(child)
        if child.spec.restart == "temporary":
            del self._by_id[child.spec.id]
        if child.spec.significant and self._must_shut_down():
            logger.info("%r shuts down: %s, which is significant, ended: %s", self.pid, child, shown(child.reason))
            return Stop(SHUTDOWN)
        return None

    def _must_shut_down(self) -> bool:
        if self._flags.auto_shutdown == "any_significant":
            return True
        return self._flags.auto_shutdown == "all_significant" and not any(
            child.spec.significant and (child.pid is not None or child.restarting) for child in self._by_id.values()
        )

    def _restart(self, child: Child) -> Outcome[Any]:
        if not log_restart(self._process, child, may=self._intensity.add(), intensity=self._intensity):
            return Stop(SHUTDOWN)
        victims = self._victims(child)
        self._end_in_reverse(victims)
        for victim in victims:
            if victim.spec.restart == "temporary":
                del self._by_id[victim.spec.id]
        for each in victims:
            if each.spec.id not in self._by_id:
                continue
            if not each.begin_again(self._process):
                for victim in victims:  # this one alone is tried again; the others come after it
                    victim.restarting = victim is each
                self.pid.process.mailbox.put(Cast(_TryAgain(each.spec.id)))
                return None
            if each.pid is not None:
                self._by_pid[each.pid] = each
        return None

    def _victims(self, child: Child) -> list[Child]:
        """Return who is stopped and started with `child`, in starting order."""
        if self._flags.strategy == "one_for_one":
            return [child]
        children = list(self._by_id.values())
        return children if self._flags.strategy == "one_for_all" else children[children.index(child) :]
