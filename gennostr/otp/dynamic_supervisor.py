"""DynamicSupervisor: children started on demand, independent of each other.

Children have no ids and no order: they are identified by pid, all are stopped at the same time, and a child that is not
restarted is forgotten. The restart policy is that of `gennostr.otp.supervisor` with strategy one_for_one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypedDict, Unpack

from gennostr.exceptions import ChildNotFound, MaxChildren
from gennostr.otp.calls import Failure, Request
from gennostr.otp.child import (
    Child,
    ChildAction,
    ChildInfo,
    ChildrenPid,
    CountChildren,
    RestartIntensity,
    StartChild,
    WhichChildren,
    check_intensity,
    count_children,
    end_children,
    log_exit,
    log_request,
    log_restart,
    started,
)
from gennostr.otp.child_spec import ChildSpec, Overrides, check_count, to_child_spec
from gennostr.otp.engine import Engine, Server
from gennostr.otp.envelopes import Cast
from gennostr.otp.gen_server import GenServer
from gennostr.otp.mailbox import Mailbox
from gennostr.otp.names import Name
from gennostr.otp.outcomes import IGNORE, CallbackOutcome, CallOutcome, Ok, Reply, Stop
from gennostr.otp.pid import Pid
from gennostr.otp.process import current_process
from gennostr.otp.reasons import SHUTDOWN
from gennostr.otp.signals import Exit
from gennostr.otp.start import start
from gennostr.values import shown


class DynamicSupervisorOptions(TypedDict, total=False):
    """The keyword arguments of ``DynamicSupervisor.start``."""

    max_children: int | None
    extra_arguments: Sequence[object]
    max_restarts: int
    max_seconds: float
    name: Name | None
    timeout: float | None


@dataclass(frozen=True, slots=True)
class _Flags:
    max_children: int | None
    extra_arguments: Sequence[object]
    max_restarts: int
    max_seconds: float

    def __post_init__(self) -> None:
        if self.max_children is not None:
            check_count("max_children", self.max_children)
        check_intensity(self.max_restarts, self.max_seconds)
        given: object = self.extra_arguments
        if not isinstance(given, tuple | list):
            raise TypeError(f"extra_arguments must be a tuple or list, not {shown(given)}")
        object.__setattr__(self, "extra_arguments", tuple(given))


class DynamicSupervisorPid(ChildrenPid):
    """The handle of a dynamic supervisor. Its own methods wait without a timeout.

    Each method raises what `Pid.call` raises, too.

    >>> from gennostr import DynamicSupervisor, GenServer
    >>> with DynamicSupervisor.start() as supervisor:
    ...     pid = supervisor.start_child((GenServer, "state"))
    ...     supervisor.terminate_child(pid)
    ...     supervisor.which_children()
    []
    """

    def start_child(self, child: Any) -> Any:
        """Start a child.

        Elixir: ``DynamicSupervisor.start_child/2``.

        Args:
            child: a `ChildSpec`, a server class, or ``(class, argument)``. Its id is not used.

        Returns:
            Its pid, or IGNORE (then the child is not kept).

        Raises:
            MaxChildren: the supervisor already has `max_children` children.
            AlreadyStarted: the child's name is taken.
            StartError: the child failed to start and is not kept.
            TypeError, ValueError: `child` is not a valid child specification.
            NoProcess, CallingSelf, CallExit: as for `Pid.call`.

        """
        return self.call(StartChild(to_child_spec(child)), None)

    def terminate_child(self, pid: Pid) -> None:
        """Stop a child and return once it has ended.

        A child being restarted is identified by its last pid and is not retried. Elixir:
        ``DynamicSupervisor.terminate_child/2``.

        Args:
            pid: the child's pid.

        Raises:
            ChildNotFound: `pid` is not a child of this supervisor.
            NoProcess, CallingSelf, CallExit: as for `Pid.call`.

        """
        self.call(ChildAction("terminate", pid), None)


class DynamicSupervisorEngine(Engine):
    """The engine of a dynamic supervisor."""

    pid_class = DynamicSupervisorPid
    own_callbacks = frozenset({"init", "handle_call", "handle_cast"})

    def __init__(self, server: Server, pid: Pid, inbox: Mailbox) -> None:
        super().__init__(server, pid, inbox)
        self.callbacks = self
        self._running: dict[Pid, Child] = {}
        # Children whose failed restart will be retried; they still count as children.
        self._restarting: dict[Child, None] = {}

    def init(self, argument: object) -> object:
        """Store the options given to ``start``."""
        assert isinstance(argument, _Flags)  # noqa: S101
        self._flags = argument
        self._intensity = RestartIntensity(argument.max_restarts, argument.max_seconds)
        return Ok(None)

    def _all(self) -> list[Child]:
        return [*self._running.values(), *self._restarting]

    def children(self) -> tuple[ChildInfo, ...]:
        """Return the children, newest first."""
        return tuple(replace(child.info(), id=None) for child in reversed(self._all()))

    def terminate(self, reason: object) -> None:
        """Stop the children, then run terminate."""
        end_children(self.process, list(self._running.values()))
        super().terminate(reason)

    def handle_call(self, request: Any, from_: Request, state: None) -> CallOutcome[Any]:
        """Handle a request from the handle."""
        del state
        try:
            match request:
                case StartChild(spec):
                    return Reply(self._add(spec))
                case ChildAction("terminate", pid):
                    self._terminate_child(pid, from_)
                    return Reply(None)
                case WhichChildren():
                    return Reply(list(self.children()))
                case CountChildren():
                    return Reply(count_children(self._all()))
        except Exception as error:
            return Reply(Failure(error))
        log_request(self.process, "call", request)
        return Reply(Failure(TypeError(f"a dynamic supervisor does not handle this call: {shown(request)}")))

    def _add(self, spec: ChildSpec) -> object:
        most = self._flags.max_children
        if most is not None and len(self._running) + len(self._restarting) >= most:
            raise MaxChildren(most)
        return started(self._begin, Child(spec))

    def _begin(self, child: Child) -> object:
        child.start(self.process, self._flags.extra_arguments)
        if child.pid is None:
            return IGNORE
        self._running[child.pid] = child
        return child.pid

    def _terminate_child(self, pid: object, from_: Request) -> None:
        if not isinstance(pid, Pid):
            raise ChildNotFound(pid)
        child = self._running.pop(pid, None)
        if child is not None:
            child.release(from_)
            end_children(self.process, [child])
            return
        # A child being restarted is identified by its last pid.
        child = next((each for each in self._restarting if each.last is pid), None)
        if child is None:
            raise ChildNotFound(pid)
        del self._restarting[child]

    def handle_info(self, message: Any, state: None) -> CallbackOutcome[Any]:
        """Handle the exit of a child."""
        if not isinstance(message, Exit):
            return self.server.handle_info(message, state)  # type: ignore[no-any-return]
        child = None if message.pid is None else self._running.pop(message.pid, None)
        if child is None:
            log_exit(self.process, message)
            return None
        return self._restart(child) if child.exited(message.reason) else None

    def handle_cast(self, request: Any, state: None) -> CallbackOutcome[Any]:
        """Retry a failed restart."""
        del state
        if not isinstance(request, Child):
            log_request(self.process, "cast", request)
        elif request in self._restarting:  # not terminated in the meantime
            del self._restarting[request]
            return self._restart(request)
        return None

    def may_restart(self, child: Child) -> bool | None:
        """Count a restart; return whether to restart.

        True to restart, False to shut down, None to drop this child.
        """
        del child
        return self._intensity.add()

    def _restart(self, child: Child) -> CallbackOutcome[Any]:
        may = self.may_restart(child)
        if may is None:
            return None
        if not log_restart(self.process, child, may=may, intensity=self._intensity):
            return Stop(SHUTDOWN)
        if not child.restart(self.process, self._flags.extra_arguments):
            self._restarting[child] = None
            self.process.mailbox.put(Cast(child))
        elif child.pid is not None:
            self._running[child.pid] = child
        return None


class DynamicSupervisor(GenServer[None], engine=DynamicSupervisorEngine):
    """A supervisor of children that are started on demand, independent of each other.

    Children are identified by pid. A child that is not restarted is forgotten; all are stopped at the same time. After
    more than `max_restarts` restarts within `max_seconds`, of all children together, the supervisor stops them and ends
    with SHUTDOWN. Elixir: ``DynamicSupervisor``; OTP: a supervisor with ``simple_one_for_one``.

    >>> from gennostr import DynamicSupervisor, GenServer
    >>> with DynamicSupervisor.start(max_children=100, name="jobs") as jobs:
    ...     pids = [jobs.start_child((GenServer, number)) for number in range(3)]
    ...     [pid.get_state() for pid in pids], jobs.count_children().active
    ([0, 1, 2], 3)

    Attributes:
        trap_exit: True.

    """

    trap_exit = True

    @classmethod
    def start(  # type: ignore[override]
        cls,
        max_children: int | None = None,
        extra_arguments: Sequence[object] = (),
        max_restarts: int = 3,
        max_seconds: float = 5.0,
        name: Name | None = None,
        timeout: float | None = None,
    ) -> DynamicSupervisorPid:
        """Start a dynamic supervisor without children.

        Elixir: ``DynamicSupervisor.start_link/1``.

        Args:
            max_children: how many children it may have at once. Default None: no limit.
            extra_arguments: a tuple or list that goes before each child's own arguments. Default ().
            max_restarts: it gives up after more restarts than this within `max_seconds`. Default 3.
            max_seconds: the seconds within which restarts are counted, more than 0. Default 5.0.
            name: a name to register: a string, or what `via` returns. Default None: no name.
            timeout: seconds that the start may take. Default None: no limit.

        Returns:
            A `DynamicSupervisorPid`.

        Raises:
            TypeError, ValueError: a value is invalid; the message names it.
            StartError, AlreadyStarted, NoProcess, RuntimeError, CallExit: as for `GenServer.start`.

        """
        flags = _Flags(max_children, extra_arguments, max_restarts, max_seconds)
        return start(cls, flags, name, timeout, None)  # type: ignore[no-any-return]

    @classmethod
    def start_link(  # type: ignore[override]
        cls,
        max_children: int | None = None,
        extra_arguments: Sequence[object] = (),
        max_restarts: int = 3,
        max_seconds: float = 5.0,
        name: Name | None = None,
        timeout: float | None = None,
    ) -> DynamicSupervisorPid:
        """Like `start`, but linked to the calling process.

        In a plain thread, the same as `start`.

        Args:
            max_children: how many children it may have at once. Default None: no limit.
            extra_arguments: a tuple or list that goes before each child's own arguments. Default ().
            max_restarts: it gives up after more restarts than this within `max_seconds`. Default 3.
            max_seconds: the seconds within which restarts are counted, more than 0. Default 5.0.
            name: a name to register: a string, or what `via` returns. Default None: no name.
            timeout: seconds that the start may take. Default None: no limit.

        Returns:
            A `DynamicSupervisorPid`.

        Raises:
            TypeError, ValueError, StartError, AlreadyStarted, NoProcess, RuntimeError, CallExit: as for `start`.

        """
        flags = _Flags(max_children, extra_arguments, max_restarts, max_seconds)
        return start(cls, flags, name, timeout, current_process())  # type: ignore[no-any-return]

    @classmethod
    def child_spec(
        cls,
        init_arg: DynamicSupervisorOptions | None = None,
        *,
        name: Name | None = None,
        **overrides: Unpack[Overrides],
    ) -> ChildSpec:
        """Return a child spec for this supervisor: permanent, with no limit to shut down.

        >>> from gennostr import DynamicSupervisor, Supervisor
        >>> jobs = DynamicSupervisor.child_spec({"max_children": 10}, name="jobs")
        >>> with Supervisor.start([jobs]) as app:
        ...     app.count_children().supervisors
        1

        Args:
            init_arg: a mapping of keyword arguments of ``start``. Default None: its defaults.
            name: the name to register, and the id. Default None: the id is the class.
            overrides: fields of `ChildSpec`: id, start, restart, shutdown, type, significant.

        Raises:
            TypeError, ValueError: a field is invalid; the message names it.

        """
        options: DynamicSupervisorOptions = {**(init_arg or {})}
        if name is not None:
            options["name"] = name
        fields: Overrides = {
            "id": cls if name is None else name,
            "start": partial(cls.start_link, **options),
            "type": "supervisor",
        }
        return ChildSpec(**(fields | overrides))
