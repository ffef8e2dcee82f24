"""Supervisor: starts children in order, restarts them, stops them in reverse.

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
from gennostr.otp.process import current_process
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
    """Children and restart policy; made by `Supervisor.children` for init to return.

    >>> from gennostr import GenServer, Supervisor
    >>> flags = Supervisor.children([GenServer], strategy="one_for_all")
    >>> flags.strategy, flags.max_restarts, flags.max_seconds, len(flags.children)
    ('one_for_all', 3, 5.0, 1)

    OTP: the ``{ok, {SupFlags, ChildSpecs}}`` of a supervisor's init.

    Args:
        children: the `ChildSpec` of each child, in start order.
        strategy: "one_for_one" (the default), "one_for_all" or "rest_for_one".
        max_restarts: the supervisor gives up after more restarts than this within `max_seconds`. Default 3.
        max_seconds: the seconds within which restarts are counted, more than 0. Default 5.0.
        auto_shutdown: "never" (the default), or whether the supervisor ends after the end of a significant child
            ("any_significant") or of all of them ("all_significant").

    Raises:
        TypeError, ValueError: a value is invalid; the message names it.

    """

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
                raise ValueError(f"the ids of children must be unique: {shown(spec.id)} is used twice")
            ids.add(spec.id)
            self.check_significant(spec)

    def check_significant(self, spec: ChildSpec) -> None:
        """Raise ValueError for a significant child if auto_shutdown is "never"."""
        if spec.significant and self.auto_shutdown == "never":
            raise ValueError(f"significant must be False if auto_shutdown is 'never': child {shown(spec.id)}")


@dataclass(frozen=True, slots=True)
class _TryAgain:
    """Retry the failed restart of child `id`."""

    id: object


class SupervisorPid(ChildrenPid):
    """The handle of a supervisor. Its own methods wait without a timeout.

    A supervisor that is starting or stopping a child replies when that is done. Each method raises what `Pid.call`
    raises, too.

    >>> from gennostr import ChildSpec, GenServer, Supervisor
    >>> with Supervisor.start() as supervisor:
    ...     pid = supervisor.start_child(ChildSpec("cache", GenServer.start_link))
    ...     supervisor.terminate_child("cache")
    ...     pid.is_alive(), supervisor.restart_child("cache").is_alive()
    (False, True)
    """

    def start_child(self, child: Any) -> Any:
        """Add a child after the others and start it.

        OTP: ``supervisor:start_child/2``.

        Args:
            child: a `ChildSpec`, a server class, or ``(class, argument)``.

        Returns:
            Its pid, or IGNORE (then its specification is kept unless it is temporary).

        Raises:
            AlreadyStarted: a running child already has this id, or the child's name is taken.
            AlreadyPresent: a child that is not running already has this id.
            StartError: the child failed to start; its specification is not kept.
            TypeError, ValueError: `child` is not a valid child specification.
            NoProcess, CallingSelf, CallExit: as for `Pid.call`.

        """
        return self.call(StartChild(to_child_spec(child)), None)

    def terminate_child(self, id: object) -> None:  # noqa: A002 - OTP's name
        """Stop a child but keep its specification, unless the child is temporary.

        Does nothing to one that is not running. OTP: ``supervisor:terminate_child/2``.

        Args:
            id: the id of the child's specification.

        Raises:
            ChildNotFound: no child has this id.
            NoProcess, CallingSelf, CallExit: as for `Pid.call`.

        """
        self.call(ChildAction("terminate", id), None)

    def restart_child(self, id: object) -> Any:  # noqa: A002
        """Start a child that is not running.

        OTP: ``supervisor:restart_child/2``.

        Args:
            id: the id of the child's specification.

        Returns:
            Its pid, or IGNORE.

        Raises:
            ChildNotFound: no child has this id.
            ChildRunning, ChildRestarting: the child is running or being restarted.
            StartError: the child failed to start.
            AlreadyStarted: the child's name is taken.
            NoProcess, CallingSelf, CallExit: as for `Pid.call`.

        """
        return self.call(ChildAction("restart", id), None)

    def delete_child(self, id: object) -> None:  # noqa: A002
        """Delete the specification of a child that is not running.

        OTP: ``supervisor:delete_child/2``.

        Args:
            id: the id of the child's specification.

        Raises:
            ChildNotFound: no child has this id.
            ChildRunning, ChildRestarting: the child is running or being restarted.
            NoProcess, CallingSelf, CallExit: as for `Pid.call`.

        """
        self.call(ChildAction("delete", id), None)


class SupervisorEngine(Engine):
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
        """Start a new child and keep it; return its pid, or IGNORE.

        A temporary child whose start returned IGNORE is not kept.
        """
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
        return Reply(Failure(TypeError(f"a supervisor does not handle this call: {shown(request)}")))

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
            logger.info("%r shuts down: its significant %s ended with reason %s", self.pid, child, shown(child.reason))
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


class Supervisor(GenServer[None], engine=SupervisorEngine):
    """A process that starts, stops and restarts its children.

    Start it with its children:

    >>> from gennostr import GenServer, Supervisor, get_state, wait_for
    >>> children = [GenServer.child_spec({}, name="cache"), GenServer.child_spec([], name="log")]
    >>> with Supervisor.start(children, strategy="rest_for_one") as supervisor:
    ...     wait_for("cache").exit("failure")
    ...     supervisor.count_children().active
    2

    or as a class of its own, which can be a child itself:

    >>> class App(Supervisor):
    ...     def init(self, path):
    ...         return self.children([GenServer.child_spec(path, name="cache")], max_restarts=10)
    >>> with App.start("a.txt", name="app"):
    ...     get_state("cache")
    'a.txt'

    A child that ends is restarted if it is permanent, or transient and ended with a failure. Its siblings are left
    alone ("one_for_one"), or restarted with it: all of them ("one_for_all"), or those started after it
    ("rest_for_one"). After more than `max_restarts` restarts within `max_seconds`, the supervisor stops its children
    and ends with SHUTDOWN. Each restart is logged at WARNING by ``gennostr.otp.child``. OTP: the behaviour
    ``supervisor``.

    Attributes:
        trap_exit: True.

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

        >>> from gennostr import GenServer, Supervisor
        >>> class App(Supervisor):
        ...     def init(self, init_arg):
        ...         return self.children([(GenServer, init_arg)], strategy="one_for_all")
        >>> with App.start("state") as app:
        ...     app.count_children().workers
        1

        Args:
            children: each a `ChildSpec`, a server class, or ``(class, argument)``, in start order. Ids must differ.
            strategy: "one_for_one" (the default), "one_for_all" or "rest_for_one".
            max_restarts: the supervisor gives up after more restarts than this within `max_seconds`. Default 3.
            max_seconds: the seconds within which restarts are counted, more than 0. Default 5.0.
            auto_shutdown: "never" (the default), or whether the supervisor ends after the end of a significant child
                ("any_significant") or of all of them ("all_significant").

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
        """Start a supervisor and its children, in order.

        OTP: ``supervisor:start_link/2``.

        Args:
            init_arg: the children, as for `children`; for a subclass with an init of its own, the argument for that.
                Default: no children.
            name: a name to register before init runs: a string, or what `via` returns. Default None: no name.
            timeout: seconds that the start of all children may take together. Default None: no limit.
            options: ``strategy``, ``max_restarts``, ``max_seconds`` and ``auto_shutdown``, as for `children`; not for a
                subclass with an init of its own.

        Returns:
            A `SupervisorPid`, once all children have started; or IGNORE if init returned it.

        Raises:
            StartError: a child did not start; the reason is ``Shutdown(FailedToStartChild(id, reason))``, and those
                before it were stopped in reverse order.
            TypeError, ValueError: a value is invalid; the message names it.
            AlreadyStarted, NoProcess, RuntimeError, CallExit: as for `GenServer.start`.

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
        """Like `start`, but linked to the calling process.

        In a plain thread, the same as `start`. OTP: ``supervisor:start_link/2``.

        Args:
            init_arg: the children, or the argument for init; as for `start`.
            name: a name to register. Default None: no name.
            timeout: seconds that the start of all children may take together. Default None: no limit.
            options: as for `start`.

        Returns:
            A `SupervisorPid`, once all children have started; or IGNORE if init returned it.

        Raises:
            StartError, TypeError, ValueError, AlreadyStarted, NoProcess, RuntimeError, CallExit: as for `start`.

        """
        return start(cls, _argument(cls, init_arg, options), name, timeout, current_process())  # type: ignore[no-any-return]

    @classmethod
    def child_spec(cls, init_arg: Any = (), *, name: Name | None = None, **overrides: Unpack[Overrides]) -> ChildSpec:
        """Return a child spec for this supervisor: permanent, with no limit to shut down.

        >>> from gennostr import GenServer, Supervisor
        >>> pools = Supervisor.child_spec([GenServer], name="pools")
        >>> with Supervisor.start([pools]) as app:
        ...     app.count_children().supervisors
        1

        Args:
            init_arg: the argument of ``start_link``: the children, or the argument for init.
            name: the name to register, and the id. Default None: the id is the class.
            overrides: fields of `ChildSpec`: id, start, restart, shutdown, type, significant.

        Raises:
            TypeError, ValueError: a field is invalid; the message names it.

        """
        overrides.setdefault("type", "supervisor")
        return super().child_spec(init_arg, name=name, **overrides)

    def init(self, init_arg: Any, /) -> InitOutcome[None]:
        """Return ``self.children(...)``, IGNORE or `Stop`.

        The default uses the arguments of ``start``.

        Args:
            init_arg: the argument of ``start``.

        """
        return init_arg  # type: ignore[no-any-return]


def _argument(cls: type[Supervisor], init_arg: Any, options: Mapping[str, Any]) -> Any:
    """Return the argument for init."""
    if cls.init is Supervisor.init:
        return init_arg if isinstance(init_arg, SupervisorFlags) else cls.children(init_arg, **options)
    if options:
        raise TypeError(f"start does not accept {', '.join(options)}: {cls.__name__}.init returns these options")
    return init_arg
