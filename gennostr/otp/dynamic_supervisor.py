"""DynamicSupervisor: children started on demand, each on its own.

Children have no ids and no order: they are named by their pids, all are stopped at the same time, and one that
is not restarted disappears. The restart policy is `gennostr.otp.supervisor`'s, with strategy one_for_one.
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
from gennostr.otp.process import check_fence
from gennostr.otp.reasons import SHUTDOWN
from gennostr.otp.signals import Exit
from gennostr.otp.start import start
from gennostr.values import shown


class DynamicSupervisorOptions(TypedDict, total=False):
    """The keywords of ``DynamicSupervisor.start``."""

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
            raise TypeError(f"extra_arguments must be a tuple or list, not {given!r}")
        object.__setattr__(self, "extra_arguments", tuple(given))


class DynamicSupervisorPid(ChildrenPid):
    """The handle of a dynamic supervisor. Its methods wait as long as it takes."""

    def start_child(self, child: Any) -> Any:
        """Start a child; return its pid, or IGNORE (and then it is not kept).

        Raises:
            MaxChildren: there are as many as there may be.
            StartError: it failed to start, and is not kept.
            TypeError, ValueError: `child` is no child specification.

        """
        return self.call(StartChild(to_child_spec(child)), None)

    def terminate_child(self, pid: Pid) -> None:
        """Stop a child; return when it is down. One under restart, named by the pid it had, is tried no more.

        Raises:
            ChildNotFound: it is no child of this supervisor.

        """
        self.call(ChildAction("terminate", pid), None)


class DynamicSupervisorEngine(Engine):
    """Supervises children that come and go."""

    pid_class = DynamicSupervisorPid
    own_callbacks = frozenset({"init", "handle_call", "handle_cast"})

    def __init__(self, server: Server, pid: Pid, inbox: Mailbox) -> None:
        super().__init__(server, pid, inbox)
        self.callbacks = self
        self._running: dict[Pid, Child] = {}
        # Children whose restart failed, and who are tried again: they still count.
        self._restarting: dict[Child, None] = {}

    def init(self, argument: object) -> object:
        """Take the options of start."""
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
        """Stop the children before terminate runs."""
        end_children(self.process, list(self._running.values()))
        super().terminate(reason)

    def handle_call(self, request: Any, from_: Request, state: None) -> CallOutcome[Any]:
        """Serve the handle."""
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
        return Reply(Failure(TypeError(f"not a dynamic supervisor's request: {shown(request)}")))

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
        # One that is being restarted goes by the last pid that it had.
        child = next((each for each in self._restarting if each.last is pid), None)
        if child is None:
            raise ChildNotFound(pid)
        del self._restarting[child]

    def handle_info(self, message: Any, state: None) -> CallbackOutcome[Any]:
        """Meet the end of a child."""
        if not isinstance(message, Exit):
            return self.server.handle_info(message, state)  # type: ignore[no-any-return]
        child = None if message.pid is None else self._running.pop(message.pid, None)
        if child is None:
            log_exit(self.process, message)
            return None
        return self._restart(child) if child.exited(message.reason) else None

    def handle_cast(self, request: Any, state: None) -> CallbackOutcome[Any]:
        """Try a failed restart again."""
        del state
        if not isinstance(request, Child):
            log_request(self.process, "cast", request)
        elif request in self._restarting:  # not terminated meanwhile
            del self._restarting[request]
            return self._restart(request)
        return None

    def may_restart(self, child: Child) -> bool | None:
        """Count a restart: True to do it, False to give up altogether, None to let this child go."""
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
    """Start with ``DynamicSupervisor.start(max_children=None, ...)``."""

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
        """Start a dynamic supervisor without children; see `GenServer.start`.

        `max_children` (None: any number), `extra_arguments` (they come before each child's own),
        `max_restarts` within `max_seconds` for all children together.

        Raises:
            TypeError, ValueError: a value that cannot be; the message names it.

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
        """Start a dynamic supervisor linked to the calling process; see `start`."""
        flags = _Flags(max_children, extra_arguments, max_restarts, max_seconds)
        return start(cls, flags, name, timeout, check_fence())  # type: ignore[no-any-return]

    @classmethod
    def child_spec(
        cls,
        init_arg: DynamicSupervisorOptions | None = None,
        *,
        name: Name | None = None,
        **overrides: Unpack[Overrides],
    ) -> ChildSpec:
        """Return how a supervisor starts this one; `init_arg` is a mapping of start's keywords."""
        options: DynamicSupervisorOptions = {**(init_arg or {})}
        if name is not None:
            options["name"] = name
        fields: Overrides = {
            "id": cls if name is None else name,
            "start": partial(cls.start_link, **options),
            "type": "supervisor",
        }
        return ChildSpec(**(fields | overrides))
