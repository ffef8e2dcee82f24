"""Supervisor: starts children in order, restarts them when they end, stops them in reverse order.

What happens to a child that ends:

    restart     after a clean end        after a failure
    permanent   restarted                restarted
    transient   kept without a pid       restarted
    temporary   forgotten                forgotten

What a restart does to the other children:

    one_for_one     nothing
    one_for_all     all are stopped in reverse order, then all are started in order
    rest_for_one    those started after it are stopped in reverse order, then it and they are started in order

Every restart attempt counts. If there are more than ``max_restarts`` within ``max_seconds``, the supervisor stops its
children and then itself with reason SHUTDOWN. A failed restart is retried at once; between attempts the supervisor
handles its other requests.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypedDict, Unpack

from gennostr.exceptions import (
    AlreadyPresent,
    AlreadyStarted,
    BadReturnValue,
    ChildNotFound,
    ChildRestarting,
    ChildRunning,
    FailedToStartChild,
)
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
    failure,
    log_exit,
    log_request,
    log_restart,
    started,
)
from gennostr.otp.child_spec import ChildSpec, Overrides, check_choice, to_child_spec
from gennostr.otp.engine import Engine, Server
from gennostr.otp.envelopes import Cast
from gennostr.otp.gen_server import GenServer
from gennostr.otp.mailbox import Mailbox
from gennostr.otp.names import Name
from gennostr.otp.outcomes import IGNORE, UNSET, CallbackOutcome, CallOutcome, InitOutcome, Ok, Reply, Stop
from gennostr.otp.pid import Pid
from gennostr.otp.process import check_fence
from gennostr.otp.reasons import SHUTDOWN, Shutdown
from gennostr.otp.signals import Exit
from gennostr.otp.start import start
from gennostr.values import shown

logger = logging.getLogger(__name__)

Strategy: TypeAlias = Literal["one_for_one", "one_for_all", "rest_for_one"]
AutoShutdown: TypeAlias = Literal["never", "any_significant", "all_significant"]


class SupervisorOptions(TypedDict, total=False):
    """The keyword arguments of ``Supervisor.start`` and ``Supervisor.children``."""

    strategy: Strategy
    max_restarts: int
    max_seconds: float
    auto_shutdown: AutoShutdown


@dataclass(frozen=True, slots=True)
class SupervisorFlags(Ok[None]):
    """Children and restart policy, returned by a supervisor's init; made by `Supervisor.children`."""

    children: tuple[ChildSpec, ...]
    strategy: Strategy = "one_for_one"
    max_restarts: int = 3
    max_seconds: float = 5.0
    auto_shutdown: AutoShutdown = "never"

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", UNSET)
        object.__setattr__(self, "next", None)
        check_choice("strategy", self.strategy, ("one_for_one", "one_for_all", "rest_for_one"))
        check_choice("auto_shutdown", self.auto_shutdown, ("never", "any_significant", "all_significant"))
        check_intensity(self.max_restarts, self.max_seconds)
        ids: set[object] = set()
        for spec in self.children:
            if spec.id in ids:
                raise ValueError(f"children must have ids of their own: {shown(spec.id)} is there twice")
            ids.add(spec.id)
            self.check_significant(spec)

    def check_significant(self, spec: ChildSpec) -> None:
        """Raise ValueError for a significant child if auto_shutdown is "never"."""
        if spec.significant and self.auto_shutdown == "never":
            raise ValueError(f"significant must be False where auto_shutdown is never: child {shown(spec.id)}")


@dataclass(frozen=True, slots=True)
class _TryAgain:
    """Retry the failed restart of child `id`."""

    id: object


class SupervisorPid(ChildrenPid):
    """The handle of a supervisor. Its methods wait without a timeout."""

    def start_child(self, child: Any) -> Any:
        """Add a child after the others and start it; return its pid, or IGNORE.

        Raises:
            AlreadyStarted: a running child already has this id, or the child's name is taken.
            AlreadyPresent: a child that is not running already has this id.
            StartError: the child failed to start; its specification is not kept.
            TypeError, ValueError: `child` is not a valid child specification.

        """
        return self.call(StartChild(to_child_spec(child)), None)

    def terminate_child(self, id: object) -> None:  # noqa: A002 - OTP's name
        """Stop a child but keep its specification, unless the child is temporary.

        Raises:
            ChildNotFound: no child has this id.

        """
        self.call(ChildAction("terminate", id), None)

    def restart_child(self, id: object) -> Any:  # noqa: A002
        """Start a child that is not running; return its pid, or IGNORE.

        Raises:
            ChildNotFound: no child has this id.
            ChildRunning, ChildRestarting: the child is running or being restarted.
            StartError: the child failed to start.

        """
        return self.call(ChildAction("restart", id), None)

    def delete_child(self, id: object) -> None:  # noqa: A002
        """Delete the specification of a child that is not running.

        Raises:
            ChildNotFound: no child has this id.
            ChildRunning, ChildRestarting: the child is running or being restarted.

        """
        self.call(ChildAction("delete", id), None)


class _Engine(Engine):
    """The engine of a supervisor; the server's init returns the flags."""

    pid_class = SupervisorPid
    own_callbacks = frozenset({"handle_call", "handle_cast"})

    def __init__(self, server: Server, pid: Pid, inbox: Mailbox) -> None:
        super().__init__(server, pid, inbox)
        self.callbacks = self
        self._by_id: dict[object, Child] = {}
        self._by_pid: dict[Pid, Child] = {}

    def init(self, argument: object) -> object:
        """Call the server's init and start the children it returns."""
        flags: object = self.server.init(argument)
        if not isinstance(flags, SupervisorFlags):
            return flags if flags is IGNORE or isinstance(flags, Stop) else Stop(BadReturnValue(flags))
        self._flags = flags
        self._intensity = RestartIntensity(flags.max_restarts, flags.max_seconds)
        for spec in flags.children:
            try:
                self._keep(Child(spec))
            except BaseException as error:
                self._end_in_reverse(self._by_id.values())
                return Stop(Shutdown(FailedToStartChild(spec.id, failure(error))))
        return Ok(None)

    def children(self) -> tuple[ChildInfo, ...]:
        """Return the children, newest first."""
        return tuple(child.info() for child in reversed(list(self._by_id.values())))

    def terminate(self, reason: object) -> None:
        """Stop the children, then run terminate."""
        self._end_in_reverse(self._by_id.values())
        super().terminate(reason)

    # Starting and stopping children.

    def _begin(self, child: Child) -> object:
        """Start `child`; return its pid, or IGNORE."""
        child.start(self.process)
        if child.pid is None:
            return IGNORE
        self._by_pid[child.pid] = child
        return child.pid

    def _keep(self, child: Child) -> object:
        """Start a new child and keep it, unless it is temporary and its start returned IGNORE."""
        pid = self._begin(child)
        if pid is not IGNORE or child.spec.restart != "temporary":
            self._by_id[child.spec.id] = child
        return pid

    def _end_in_reverse(self, children: Iterable[Child]) -> None:
        for child in reversed(list(children)):
            if child.pid is not None:
                self._by_pid.pop(child.pid, None)
            end_children(self.process, [child])

    # Requests.

    def handle_call(self, request: Any, from_: Request, state: None) -> CallOutcome[Any]:
        """Handle a request from the handle."""
        del state
        try:
            match request:
                case StartChild(spec):
                    return Reply(self._add(spec))
                case ChildAction("terminate", id_):
                    child = self._find(id_)
                    child.release(from_)
                    self._terminate_child(child)
                    return Reply(None)
                case ChildAction("restart", id_):
                    return Reply(started(self._begin, self._idle(id_)))
                case ChildAction("delete", id_):
                    del self._by_id[self._idle(id_).spec.id]
                    return Reply(None)
                case WhichChildren():
                    return Reply(list(self.children()))
                case CountChildren():
                    return Reply(count_children(self._by_id.values()))
        except Exception as error:
            return Reply(Failure(error))
        log_request(self.process, "call", request)
        return Reply(Failure(TypeError(f"not a supervisor's request: {shown(request)}")))

    def handle_cast(self, request: Any, state: None) -> CallbackOutcome[Any]:
        """Retry a failed restart."""
        del state
        if not isinstance(request, _TryAgain):
            log_request(self.process, "cast", request)
            return None
        child = self._by_id.get(request.id)
        if child is None or not child.restarting:
            return None  # terminated or deleted in the meantime
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

    def handle_info(self, message: Any, state: None) -> CallbackOutcome[Any]:
        """Handle the exit of a child."""
        if not isinstance(message, Exit):
            return self.server.handle_info(message, state)  # type: ignore[no-any-return]
        child = None if message.pid is None else self._by_pid.pop(message.pid, None)
        if child is None:
            log_exit(self.process, message)
            return None
        if child.exited(message.reason):
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

    def _restart(self, child: Child) -> CallbackOutcome[Any]:
        if not log_restart(self.process, child, may=self._intensity.add(), intensity=self._intensity):
            return Stop(SHUTDOWN)
        victims = self._victims(child)
        self._end_in_reverse(victims)
        for victim in victims:
            if victim.spec.restart == "temporary":
                del self._by_id[victim.spec.id]
        for each in victims:
            if each.spec.id not in self._by_id:
                continue
            if not each.restart(self.process):
                for victim in victims:  # only this one is retried; the others are started after it
                    victim.restarting = victim is each
                self.process.mailbox.put(Cast(_TryAgain(each.spec.id)))
                return None
            if each.pid is not None:
                self._by_pid[each.pid] = each
        return None

    def _victims(self, child: Child) -> list[Child]:
        """Return the children to stop and start together with `child`, in start order."""
        if self._flags.strategy == "one_for_one":
            return [child]
        children = list(self._by_id.values())
        return children if self._flags.strategy == "one_for_all" else children[children.index(child) :]


class Supervisor(GenServer[None], engine=_Engine):
    """A process that starts, stops and restarts its children.

    Start it with ``Supervisor.start(children, strategy=...)``, or subclass it and return ``self.children(...)`` from
    init.
    """

    trap_exit = True

    @staticmethod
    def children(
        children: Iterable[Any],
        strategy: Strategy = "one_for_one",
        max_restarts: int = 3,
        max_seconds: float = 5.0,
        auto_shutdown: AutoShutdown = "never",
    ) -> SupervisorFlags:
        """Return the flags for a supervisor's init to return.

        `children` are specifications, server classes, or ``(class, argument)``, in start order. The supervisor gives up
        after more than `max_restarts` restarts within `max_seconds` (greater than 0).

        Raises:
            TypeError, ValueError: a value is invalid; the message names it.

        """
        specs = tuple(to_child_spec(child) for child in children)
        return SupervisorFlags(specs, strategy, max_restarts, max_seconds, auto_shutdown)

    @classmethod
    def start(
        cls,
        init_arg: Any = (),
        name: Name | None = None,
        timeout: float | None = None,
        **options: Unpack[SupervisorOptions],
    ) -> SupervisorPid:
        """Start a supervisor and its children; see `GenServer.start` and `children`.

        Raises:
            StartError: a child did not start; the reason is ``Shutdown(FailedToStartChild(id, reason))``.

        """
        return start(cls, _argument(cls, init_arg, options), name, timeout, None)  # type: ignore[no-any-return]

    @classmethod
    def start_link(
        cls,
        init_arg: Any = (),
        name: Name | None = None,
        timeout: float | None = None,
        **options: Unpack[SupervisorOptions],
    ) -> SupervisorPid:
        """Like `start`, but link the supervisor to the calling process."""
        return start(cls, _argument(cls, init_arg, options), name, timeout, check_fence())  # type: ignore[no-any-return]

    @classmethod
    def child_spec(cls, init_arg: Any = (), *, name: Name | None = None, **overrides: Unpack[Overrides]) -> ChildSpec:
        """Return a child spec for this supervisor; see `GenServer.child_spec`."""
        overrides.setdefault("type", "supervisor")
        return super().child_spec(init_arg, name=name, **overrides)

    def init(self, init_arg: Any, /) -> InitOutcome[None]:
        """Return ``self.children(...)`` or IGNORE; the default uses the arguments of ``start``."""
        return init_arg  # type: ignore[no-any-return]


def _argument(cls: type[Supervisor], init_arg: Any, options: Mapping[str, Any]) -> Any:
    """Return the argument for init."""
    if cls.init is Supervisor.init:
        return init_arg if isinstance(init_arg, SupervisorFlags) else cls.children(init_arg, **options)
    if options:
        raise TypeError(f"{cls.__name__}.init says how it supervises: {', '.join(options)} not taken")
    return init_arg
