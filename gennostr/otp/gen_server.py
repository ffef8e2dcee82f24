"""GenServer: a process that handles one message at a time by callbacks.

    user module                         this module
    -----------                         -----------
    init(init_arg)                <---  start, start_link
    handle_call(request, from_, state)  <---  call
    handle_cast(request, state)   <---  cast
    handle_info(message, state)   <---  send, Exit, Down, timers, TIMEOUT
    handle_continue(arg, state)   <---  an outcome's continue_
    terminate(reason, state)      <---  Stop, a crash, stop(), the parent's exit where exits are trapped

Order within one turn of the loop: an exit signal that ends the process comes before anything queued; a continue
comes before anything queued; what waits ahead (postponed while suspended, or work a subclass took apart) is
handled in turn with the mailbox; the rest is the mailbox's order.

Order at the end: terminate, the crash report, the reply that a Stop carries, and only then the exit, which
releases the names before it tells anyone.
"""

import gc
import logging
from _thread import allocate_lock
from collections import deque
from functools import partial
from queue import Empty
from typing import Any, ClassVar, Generic, cast

import pykka
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr

from gennostr.exceptions import AlreadyRegistered, AlreadyStarted, BadReturnValue, StartError
from gennostr.otp import mailbox, system
from gennostr.otp.calls import Failure, Request
from gennostr.otp.child_spec import ChildSpec
from gennostr.otp.clock import clock
from gennostr.otp.messages import WAKE, Cast, Down, Exit, StopRequest
from gennostr.otp.names import Name, check_name, register_name
from gennostr.otp.outcomes import (
    IGNORE,
    UNSET,
    CallOutcome,
    InitOutcome,
    NoReply,
    Ok,
    Outcome,
    Reply,
    S,
    Stop,
    check_seconds,
)
from gennostr.otp.pid import Pid
from gennostr.otp.process import Process, check_fence
from gennostr.otp.reasons import NORMAL, TIMEOUT, is_clean

logger = logging.getLogger(__name__)

_PROXY = frozenset({ProxyCall, ProxyGetAttr, ProxySetAttr})
_SYSTEM = frozenset({system.GetState, system.ReplaceState, system.Suspend, system.Resume, system.GetStatus})


class _End(Exception):
    """Unwinds the loop: the process ends with `reason`, after terminate."""

    def __init__(self, reason: object, answer: tuple[Request, object] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.answer = answer


class GenServer(pykka.ThreadingActor, Generic[S]):
    """A server whose behaviour is its callbacks, and whose state is handed to each of them.

    Every callback runs in the server's own thread, one at a time. What a callback raises, SystemExit included, is
    the reason for which this server, and no other, ends.
    """

    use_daemon_thread = True
    trap_exit: bool = False
    """True: exit signals come as `Exit` messages. Set it on the class, or on self in a callback."""

    _pid_class: ClassVar[type[Pid]] = Pid

    # The callbacks.

    def init(self, init_arg: Any) -> InitOutcome[S]:
        """Return `Ok`, IGNORE or `Stop`; start returns when this has."""
        return Ok(init_arg)

    def handle_call(self, request: Any, from_: Request, state: S) -> CallOutcome[S]:
        """Answer a call: `Reply`, `NoReply` (and later ``reply(from_, value)``) or `Stop`."""
        del from_, state
        raise NotImplementedError(f"{type(self).__name__} has no handle_call: {request!r}")

    def handle_cast(self, request: Any, state: S) -> Outcome[S]:
        """Handle a cast: `NoReply`, `Stop`, or nothing."""
        del state
        raise NotImplementedError(f"{type(self).__name__} has no handle_cast: {request!r}")

    def handle_info(self, message: Any, state: S) -> Outcome[S]:
        """Handle any other message: `NoReply`, `Stop`, or nothing."""
        del state
        logger.warning("%r got a message that it does not handle: %r", self.pid, message)
        return None

    def handle_continue(self, argument: Any, state: S) -> Outcome[S]:
        """Go on after a callback that asked for it: `NoReply`, `Stop`, or nothing."""
        del state
        raise NotImplementedError(f"{type(self).__name__} has no handle_continue: {argument!r}")

    def terminate(self, reason: Any, state: S) -> object:
        """Clean up. Not run after an exit signal that is not trapped, a kill, or a failed init."""

    def format_status(self, status: system.Status) -> system.Status:
        """Change what get_status and a crash report show, to hide secrets in the state."""
        return status

    def on_cancel(self) -> None:
        """Unblock the callback under way: the server was killed. Runs in the killer's thread."""

    # Starting.

    @classmethod
    def start(cls, init_arg: Any = None, name: Name | None = None, timeout: float | None = None) -> Any:
        """Start a server and return its pid when init has succeeded, or IGNORE.

        Raises:
            StartError: init stopped, raised, returned something else, or took longer than `timeout` seconds.
            AlreadyStarted: the name is taken; init did not run.
            TypeError, ValueError: `name` or `timeout` is no such thing.

        """
        return cls._spawn(init_arg, name, timeout, None)

    @classmethod
    def start_link(cls, init_arg: Any = None, name: Name | None = None, timeout: float | None = None) -> Any:
        """Like `start`, linked to the calling process from before init; in a plain thread, the same as start."""
        return cls._spawn(init_arg, name, timeout, check_fence())

    @classmethod
    def child_spec(cls, init_arg: Any = None, **overrides: Any) -> ChildSpec:
        """Return how a supervisor starts this server: id the class, permanent, 5 s to shut down."""
        fields: dict[str, Any] = {"id": cls, "start": partial(cls.start_link, init_arg)}
        return ChildSpec(**(fields | overrides))

    @classmethod
    def _spawn(cls, init_arg: object, name: Name | None, timeout: float | None, parent: Process | None) -> Any:
        check_fence()
        check_name(name)
        if timeout is not None:
            check_seconds("timeout", timeout)
        actor = cls()
        process = actor._process
        process.name = name
        process.parent = parent
        # Named before init runs, so that init finds itself and a second start finds it.
        if name is not None:
            try:
                register_name(name, process)
            except AlreadyRegistered as taken:
                raise AlreadyStarted(taken.pid) from None
        done = allocate_lock()
        done.acquire()
        starting = Request(init_arg, process, parent, done.release)
        process.watch(starting)
        if parent is not None:
            parent.link(process)
        actor._starting = starting
        pykka.ActorRegistry.register(process.pid)
        try:
            actor._start_actor_loop()
        except RuntimeError as error:  # the system refused a thread
            process.die(error)
            raise
        if not clock().acquire(done, timeout):
            if starting.claim():
                process.unwatch(starting)
                if parent is not None:  # the StartError says it all: no exit comes besides
                    parent.unlink(process)
                process.kill()
                raise StartError(TIMEOUT)
            done.acquire()
        if starting.exit is not None:
            raise StartError(starting.exit[0])
        outcome = starting.value
        if isinstance(outcome, Failure):
            raise outcome.exception
        return outcome

    # Inside.

    def __init__(self) -> None:
        super().__init__()
        pid = self._pid_class(self)
        self._actor_ref = pid
        self._process = pid.process = Process(pid, self, cast("mailbox.Mailbox", self.actor_inbox))
        self._state: Any = None
        self._starting: Request | None = None
        self._last: object = None
        self._deadline: float | None = None
        self._timeout = 0.0
        self._hibernate = False
        self._suspended = False
        self._postponed: deque[object] = deque()
        # Handled before the mailbox's next: what was postponed, once resumed.
        self._ahead: deque[object] = deque()
        # What a subclass took apart: one step is done after each message, so that neither waits for the other.
        self._work: deque[Any] = deque()

    @property
    def pid(self) -> Pid:
        """This server's pid."""
        return self._process.pid

    @staticmethod
    def _create_actor_inbox() -> Any:
        return mailbox.create()

    def stop(self) -> None:
        """Stop with reason NORMAL after what is queued already; inside a callback prefer `Stop`."""
        self._process.deliver(StopRequest(NORMAL))

    def _actor_loop(self) -> None:
        process = self._process
        process.enter()
        try:
            # Killed before its thread came to life (its start timed out): init must not run any more.
            if not process.is_dead() and self._start_up():
                self._main()
        finally:
            process.leave()
            # The thread's frames may outlive this in a traceback; the state must not.
            self._state = None

    def _start_up(self) -> bool:
        """Run init and tell the starter; True if the process lives."""
        process = self._process
        starting = self._starting
        assert starting is not None  # noqa: S101
        self._starting = None
        try:
            outcome = self._init(starting.message)
        except BaseException as error:
            return self._fail_start(starting, error)
        kind = type(outcome)
        if kind is Ok or outcome is None:
            if process.interrupt is not None:
                process.die(process.interrupt[0])  # the starter sees the exit
                return False
            if isinstance(outcome, Ok):
                self._state = None if outcome.state is UNSET else outcome.state
            starting.reply(process.pid)
            if outcome is not None:
                try:
                    self._follow(outcome)
                except _End as end:
                    self._finish(end.reason, end.answer)
                    return False
            return True
        if outcome is IGNORE:
            if starting.claim():
                process.die(NORMAL)
                starting.value = IGNORE
                starting._on_done()
            return False
        if isinstance(outcome, Stop):
            return self._fail_start(starting, outcome.reason)
        return self._fail_start(starting, BadReturnValue(outcome))

    def _fail_start(self, starting: Request, reason: object) -> bool:
        # Claimed first, so that the starter gets the failure and not the exit; ended before it is told, so that
        # the name is free when it hears.
        claimed = starting.claim()
        self._process.die(reason)
        if claimed:
            error = StartError(reason)
            if isinstance(reason, BaseException):
                error.__cause__ = reason
            starting.value = Failure(error)
            starting._on_done()
        return False

    def _init(self, init_arg: object) -> object:
        """Run init; a hook for servers that have work of their own before it."""
        return self.init(init_arg)

    def _main(self) -> None:
        process = self._process
        inbox = process.mailbox
        get = inbox.get
        try:
            while True:
                if self._ahead and not self._suspended:
                    item = self._ahead.popleft()
                elif self._work and not self._suspended and inbox.empty():
                    item = WAKE
                elif self._deadline is None or self._suspended:
                    if self._hibernate and inbox.empty():
                        gc.collect()
                    item = get()
                else:
                    try:
                        item = clock().take(inbox, self._deadline)
                    except Empty:
                        self._deadline = None
                        item = TIMEOUT
                # Looked at after the wait: a signal that came meanwhile overtakes what was queued before it.
                if process.interrupt is not None or process.dead:
                    self._leave_early(None)
                    return
                if item is not WAKE:
                    self._receive(item)
                if self._work and not self._suspended:
                    self._step()
        except _End as end:
            self._finish(end.reason, end.answer)

    def _step(self) -> None:
        """Do one step of `_work`; a hook for servers that fill it."""

    def _receive(self, item: object) -> None:
        """Handle one item of the mailbox."""
        kind = type(item)
        if kind in _SYSTEM_ENVELOPES and self._receive_system(item):
            return
        if self._suspended:
            self._postponed.append(item)
            return
        if kind is Down and cast("Down", item).ref.flushed:
            return
        self._deadline = None
        self._hibernate = False
        self._last = item
        if kind is Cast:
            self._follow(self._run(self.handle_cast, cast("Cast", item).message, self._state))
        elif kind is Request:
            self._receive_call(cast("Request", item))
        elif kind in _PROXY:
            self._run(self._proxy, item)
        else:
            self._receive_info(item)

    def _receive_info(self, message: object) -> None:
        """Handle a message that is neither call nor cast; a hook for a server's own messages."""
        self._follow(self._run(self.handle_info, message, self._state))

    def _receive_call(self, request: Request) -> None:
        message = request.message
        if type(message) in _PROXY:
            # As pykka has it: what the called method raises goes to the caller, and the actor lives on.
            try:
                request.reply(self._proxy(message))
            except Exception as error:
                request.reply(Failure(error))
            return
        outcome = self._run(self.handle_call, message, request, self._state)
        kind = type(outcome)
        if kind is Reply:
            if outcome.state is not UNSET:
                self._state = outcome.state
            if not self._process.dead:
                request.reply(outcome.value)
            if not outcome.plain:
                self._next(outcome)
        elif kind is NoReply:
            self._follow(outcome)
        elif kind is Stop:
            if outcome.state is not UNSET:
                self._state = outcome.state
            raise _End(outcome.reason, None if outcome.reply is UNSET else (request, outcome.reply))
        else:
            raise _End(BadReturnValue(outcome))

    def _receive_system(self, item: object) -> bool:
        """Handle what is handled even while suspended; False if `item` is not such a thing."""
        if isinstance(item, StopRequest):
            raise _End(item.reason)
        if isinstance(item, Exit):
            parent = self._process.parent
            if parent is None or item.pid is not parent.pid:
                return False
            raise _End(item.reason)
        assert isinstance(item, Request)  # noqa: S101
        message = item.message
        if type(message) not in _SYSTEM:
            return False
        match message:
            case system.GetState():
                item.reply(self._state)
            case system.ReplaceState(function):
                try:
                    self._state = function(self._state)
                except BaseException as error:
                    item.reply(Failure(error))
                else:
                    item.reply(self._state)
            case system.Suspend():
                self._suspended = True
                item.reply(None)
            case system.Resume():
                self._suspended = False
                self._ahead.extend(self._postponed)
                self._postponed.clear()
                item.reply(None)
            case _:
                item.reply(self._status())
        if self._deadline is not None:  # looked at, not cancelled: it starts over
            self._deadline = clock().monotonic() + self._timeout
        return True

    def _children(self) -> tuple[object, ...]:
        """Return what get_status shows as children; a hook for supervisors."""
        return ()

    def _status(self) -> system.Status:
        status = system.Status(
            name=self._process.name,
            status="suspended" if self._suspended else "running",
            state=self._state,
            messages=self._process.mailbox.qsize() + len(self._ahead) + len(self._postponed),
            children=self._children(),
        )
        try:
            return self.format_status(status)
        except Exception:
            logger.exception("format_status of %r failed", self.pid)
            return status

    def _proxy(self, message: Any) -> Any:
        """Do what a pykka proxy asks."""
        *path, last = message.attr_path
        target: Any = self
        for attribute in path:
            target = getattr(target, attribute)
        match message:
            case ProxyCall():
                return getattr(target, last)(*message.args, **message.kwargs)
            case ProxySetAttr():
                return setattr(target, last, message.value)
            case _:
                return getattr(target, last)

    def _run(self, callback: Any, *arguments: object) -> Any:
        """Call a callback; what it raises ends the server."""
        try:
            return callback(*arguments)
        except BaseException as error:
            raise _End(error) from error

    def _follow(self, outcome: Any, *, ok: bool = False) -> None:
        """Do what a callback's outcome says: `Ok` is one where `ok` is true, and from init."""
        if outcome is None:
            return
        kind = type(outcome)
        if kind is NoReply or (kind is Ok and (ok or self._last is None)):
            if outcome.state is not UNSET:
                self._state = outcome.state
            if not outcome.plain:
                self._next(outcome)
        elif kind is Stop:
            if outcome.state is not UNSET:
                self._state = outcome.state
            raise _End(outcome.reason)
        else:
            raise _End(BadReturnValue(outcome))

    def _next(self, outcome: Any) -> None:
        """Arrange what comes after this callback."""
        if outcome.continue_ is not UNSET:
            if self._process.dead or self._process.interrupt is not None:
                return
            self._last = ("continue", outcome.continue_)
            self._follow(self._run(self.handle_continue, outcome.continue_, self._state))
        elif outcome.timeout is not None:
            self._timeout = outcome.timeout
            self._deadline = clock().monotonic() + outcome.timeout
        else:
            self._hibernate = outcome.hibernate

    def _finish(self, reason: object, answer: tuple[Request, object] | None) -> None:
        """Terminate, report, answer, exit: in this order."""
        process = self._process
        if process.dead or process.interrupt is not None:
            self._leave_early(reason)
            return
        try:
            self._terminate(reason)
        except BaseException as error:
            reason = error
        if not is_clean(reason):
            self._report(reason)
        if answer is not None and not process.dead:
            answer[0].reply(answer[1])
        process.die(reason)

    def _terminate(self, reason: object) -> None:
        """Run terminate; a hook for servers that have work of their own after it."""
        self.terminate(reason, self._state)

    def _leave_early(self, reason: object) -> None:
        """End by an exit signal or a kill: no terminate. What a callback raised meanwhile is not lost."""
        process = self._process
        interrupt = process.interrupt
        if interrupt is None:
            return  # killed: all is done but for leaving
        if isinstance(reason, BaseException) and getattr(reason, "reason", reason) is not interrupt[0]:
            self._report(reason)
        process.die(interrupt[0])

    def _report(self, reason: object) -> None:
        """Log the one crash report."""
        status = self._status()
        last = self._last
        caller = last.caller if isinstance(last, Request) else None
        message = last.message if isinstance(last, Request | Cast) else last
        logger.error(
            "%r crashed\n  reason: %r\n  last message: %r\n  from: %r\n  state: %r",
            self.pid,
            reason,
            message,
            caller,
            status.state,
            exc_info=reason if isinstance(reason, BaseException) else None,
        )


_SYSTEM_ENVELOPES = frozenset({Request, StopRequest, Exit})
