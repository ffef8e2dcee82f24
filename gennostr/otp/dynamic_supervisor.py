"""DynamicSupervisor: children started on demand, each on its own.

Children have no ids and no order: they are named by their pids, all are stopped at the same time, and one that
is not restarted disappears. The restart policy is `gennostr.otp.supervisor`'s, with strategy one_for_one.
"""

import logging
from functools import partial
from typing import Any

from gennostr.exceptions import AlreadyStarted, ChildNotFound, MaxChildren, StartError
from gennostr.otp.calls import Failure, Request
from gennostr.otp.child_spec import ChildSpec, check_number, to_child_spec
from gennostr.otp.gen_server import GenServer
from gennostr.otp.messages import Cast, Exit
from gennostr.otp.names import Name
from gennostr.otp.outcomes import IGNORE, CallOutcome, Ok, Outcome, Reply, Stop
from gennostr.otp.pid import Pid
from gennostr.otp.reasons import SHUTDOWN, is_clean
from gennostr.otp.supervisor import (
    Child,
    ChildAction,
    ChildInfo,
    ChildrenPid,
    CountChildren,
    Intensity,
    StartChild,
    WhichChildren,
    begin_child,
    count_children,
    end_children,
    failure,
)

logger = logging.getLogger(__name__)


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
        """Stop a child; return when it is down.

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
        cls, name: Name | None = None, timeout: float | None = None, **flags: Any
    ) -> Any:
        """Start a dynamic supervisor without children; see `GenServer.start`.

        `max_children` (None: any number), `extra_arguments` (they come before each child's own),
        `max_restarts` within `max_seconds` for all children together.

        Raises:
            TypeError, ValueError: a value that cannot be; the message names it.

        """
        return super().start(_checked(**flags), name, timeout)

    @classmethod
    def start_link(  # type: ignore[override]
        cls, name: Name | None = None, timeout: float | None = None, **flags: Any
    ) -> Any:
        """Start a dynamic supervisor linked to the calling process; see `start`."""
        return super().start_link(_checked(**flags), name, timeout)

    @classmethod
    def child_spec(cls, init_arg: Any = None, **overrides: Any) -> ChildSpec:
        """Return how a supervisor starts this one; `init_arg` is a mapping of start's keywords."""
        fields: dict[str, Any] = {
            "id": cls,
            "start": partial(cls.start_link, **(init_arg or {})),
            "type": "supervisor",
        }
        return ChildSpec(**(fields | overrides))

    def _init(self, init_arg: object) -> object:
        assert isinstance(init_arg, dict)  # noqa: S101
        self._max_children: int | None = init_arg["max_children"]
        self._extra_arguments: tuple[object, ...] = init_arg["extra_arguments"]
        self._intensity = Intensity(init_arg["max_restarts"], init_arg["max_seconds"])
        self._running: dict[Pid, Child] = {}
        # Children whose restart failed, and who are tried again: they still count.
        self._restarting: dict[Child, None] = {}
        self._expected: set[Pid] = set()
        return Ok(None)

    def _all(self) -> list[Child]:
        return [*self._running.values(), *self._restarting]

    def _children(self) -> tuple[object, ...]:
        return tuple(
            ChildInfo(None, info.pid, info.type, info.start)
            for info in (child.info() for child in reversed(self._all()))
        )

    def _terminate(self, reason: object) -> None:
        end_children(self._process, list(self._running.values()), self._expected)
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
        logger.warning("%r got a call that it does not handle: %r", self.pid, request)
        return Reply(Failure(TypeError(f"not a dynamic supervisor's request: {request!r}")))

    def _add(self, spec: ChildSpec) -> object:
        if self._max_children is not None and len(self._all()) >= self._max_children:
            raise MaxChildren(self._max_children)
        child = Child(spec, None)
        try:
            self._begin(child)
        except (StartError, AlreadyStarted):
            raise
        except BaseException as error:
            raise StartError(error) from error
        return IGNORE if child.pid is None else child.pid

    def _begin(self, child: Child) -> None:
        child.pid = begin_child(self._process, child.spec, self._extra_arguments)
        if child.pid is not None:
            self._running[child.pid] = child

    def _terminate_child(self, pid: object) -> None:
        child = self._running.pop(pid, None) if isinstance(pid, Pid) else None
        if child is None:
            raise ChildNotFound(pid)
        end_children(self._process, [child], self._expected)

    def handle_info(self, message: Any, state: None) -> Outcome[Any]:
        """Meet the end of a child."""
        if not isinstance(message, Exit):
            return super().handle_info(message, state)
        child = self._running.pop(message.pid, None) if message.pid is not None else None
        if child is None:
            self._expected.discard(message.pid)
            return None
        spec = child.spec
        if spec.restart == "permanent" or (spec.restart == "transient" and not is_clean(message.reason)):
            return self._restart(child, message.reason)
        return None

    def handle_cast(self, request: Any, state: None) -> Outcome[Any]:
        """Try a failed restart again."""
        del state
        if isinstance(request, Child) and request in self._restarting:
            del self._restarting[request]
            return self._restart(request, None)
        return None

    def _may_restart(self, child: Child) -> bool | None:
        """Count a restart: True to do it, False to give up altogether, None to let this child go."""
        del child
        return self._intensity.add()

    def _restart(self, child: Child, reason: object) -> Outcome[Any]:
        ended, child.pid = child.pid, None
        may = self._may_restart(child)
        if may is None:
            return None
        if not may:
            logger.error("%r gives up: too many restarts, last of %r", self.pid, ended)
            return Stop(SHUTDOWN)
        logger.info("%r restarts %r, which ended: %r", self.pid, ended, reason)
        child.restarting = False
        try:
            self._begin(child)
        except BaseException as error:
            logger.info("%r could not restart %r: %r", self.pid, ended, failure(error))
            child.restarting = True
            self._restarting[child] = None
            self._process.mailbox.put(Cast(child))
        else:
            child.restarts += 1
        return None


def _checked(
    max_children: int | None = None,
    extra_arguments: tuple[object, ...] = (),
    max_restarts: int = 3,
    max_seconds: float = 5.0,
) -> dict[str, Any]:
    if max_children is not None:
        check_number("max_children", max_children)
    check_number("max_restarts", max_restarts)
    check_number("max_seconds", max_seconds)
    return {
        "max_children": max_children,
        "extra_arguments": tuple(extra_arguments),
        "max_restarts": max_restarts,
        "max_seconds": max_seconds,
    }
