"""DynamicSupervisor: children started on demand, each on its own.

Children have no ids and no order: they are named by their pids, all are stopped at the same time, and one that
is not restarted disappears. The restart policy is `gennostr.otp.supervisor`'s, with strategy one_for_one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from gennostr.exceptions import ChildNotFound, MaxChildren
from gennostr.otp.calls import Failure, Request
from gennostr.otp.child_spec import ChildSpec, check_count, to_child_spec
from gennostr.otp.crash_report import shown
from gennostr.otp.gen_server import GenServer
from gennostr.otp.messages import Cast, Exit
from gennostr.otp.names import Name
from gennostr.otp.outcomes import IGNORE, CallOutcome, Ok, Outcome, Reply, Stop
from gennostr.otp.pid import Pid
from gennostr.otp.reasons import SHUTDOWN
from gennostr.otp.supervisor import (
    Child,
    ChildAction,
    ChildInfo,
    ChildrenPid,
    CountChildren,
    Intensity,
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


class DynamicSupervisor(GenServer[Any]):
    """Start with ``DynamicSupervisor.start(max_children=None, ...)``."""

    trap_exit = True
    _pid_class = DynamicSupervisorPid

    @classmethod
    def start(  # type: ignore[override]
        cls,
        max_children: int | None = None,
        extra_arguments: Sequence[object] = (),
        max_restarts: int = 3,
        max_seconds: float = 5.0,
        name: Name | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Start a dynamic supervisor without children; see `GenServer.start`.

        `max_children` (None: any number), `extra_arguments` (they come before each child's own),
        `max_restarts` within `max_seconds` for all children together.

        Raises:
            TypeError, ValueError: a value that cannot be; the message names it.

        """
        flags = _Flags(max_children, extra_arguments, max_restarts, max_seconds)
        return super().start(flags, name, timeout)

    @classmethod
    def start_link(  # type: ignore[override]
        cls,
        max_children: int | None = None,
        extra_arguments: Sequence[object] = (),
        max_restarts: int = 3,
        max_seconds: float = 5.0,
        name: Name | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Start a dynamic supervisor linked to the calling process; see `start`."""
        flags = _Flags(max_children, extra_arguments, max_restarts, max_seconds)
        return super().start_link(flags, name, timeout)

    @classmethod
    def child_spec(cls, init_arg: Any = None, **overrides: Any) -> ChildSpec:
        """Return how a supervisor starts this one; `init_arg` is a mapping of start's keywords."""
        fields: dict[str, Any] = {
            "id": cls,
            "start": partial(cls.start_link, **(init_arg or {})),
            "type": "supervisor",
        }
        return ChildSpec(**(fields | overrides))

    def __init__(self) -> None:
        super().__init__()
        self._running: dict[Pid, Child] = {}
        # Children whose restart failed, and who are tried again: they still count.
        self._restarting: dict[Child, None] = {}

    def _init(self, init_arg: object) -> object:
        assert isinstance(init_arg, _Flags)  # noqa: S101
        self._flags = init_arg
        self._intensity = Intensity(init_arg.max_restarts, init_arg.max_seconds)
        return Ok(None)

    def _all(self) -> list[Child]:
        return [*self._running.values(), *self._restarting]

    def _children(self) -> tuple[ChildInfo, ...]:
        return tuple(replace(child.info(), id=None) for child in reversed(self._all()))

    def _terminate(self, reason: object) -> None:
        end_children(self._process, list(self._running.values()))
        super()._terminate(reason)

    def handle_call(self, request: Any, from_: Request, state: None) -> CallOutcome[Any]:
        """Serve the handle."""
        del from_, state
        try:
            match request:
                case StartChild(spec):
                    return Reply(self._add(spec))
                case ChildAction("terminate", pid):
                    self._terminate_child(pid)
                    return Reply(None)
                case WhichChildren():
                    return Reply(list(self._children()))
                case CountChildren():
                    return Reply(count_children(self._all()))
        except Exception as error:
            return Reply(Failure(error))
        log_request(self._process, "call", request)
        return Reply(Failure(TypeError(f"not a dynamic supervisor's request: {shown(request)}")))

    def _add(self, spec: ChildSpec) -> object:
        most = self._flags.max_children
        if most is not None and len(self._running) + len(self._restarting) >= most:
            raise MaxChildren(most)
        return started(self._begin, Child(spec))

    def _begin(self, child: Child) -> object:
        child.begin(self._process, self._flags.extra_arguments)
        if child.pid is None:
            return IGNORE
        self._running[child.pid] = child
        return child.pid

    def _terminate_child(self, pid: object) -> None:
        if not isinstance(pid, Pid):
            raise ChildNotFound(pid)
        child = self._running.pop(pid, None)
        if child is not None:
            end_children(self._process, [child])
            return
        # One that is being restarted goes by the last pid that it had.
        child = next((each for each in self._restarting if each.last is pid), None)
        if child is None:
            raise ChildNotFound(pid)
        del self._restarting[child]

    def handle_info(self, message: Any, state: None) -> Outcome[Any]:
        """Meet the end of a child."""
        if not isinstance(message, Exit):
            return super().handle_info(message, state)
        child = None if message.pid is None else self._running.pop(message.pid, None)
        if child is None:
            log_exit(self._process, message)
            return None
        return self._restart(child) if child.ended(message.reason) else None

    def handle_cast(self, request: Any, state: None) -> Outcome[Any]:
        """Try a failed restart again."""
        del state
        if not isinstance(request, Child):
            log_request(self._process, "cast", request)
        elif request in self._restarting:  # not terminated meanwhile
            del self._restarting[request]
            return self._restart(request)
        return None

    def _may_restart(self, child: Child) -> bool | None:
        """Count a restart: True to do it, False to give up altogether, None to let this child go."""
        del child
        return self._intensity.add()

    def _restart(self, child: Child) -> Outcome[Any]:
        may = self._may_restart(child)
        if may is None:
            return None
        if not log_restart(self._process, child, may=may, intensity=self._intensity):
            return Stop(SHUTDOWN)
        if not child.begin_again(self._process, self._flags.extra_arguments):
            self._restarting[child] = None
            self._process.mailbox.put(Cast(child))
        elif child.pid is not None:
            self._running[child.pid] = child
        return None
