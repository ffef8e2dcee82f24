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

Where the time goes: sending a cast takes 0.6 microseconds and handling it 0.9, of which 0.2 are the outcome object's (a
callback that returns nothing spares them). A call takes 18 on one processor, and 35 to 50 between two, where waking
two threads is nearly all of it; two bare queues take 13, and 33 to 45. A start is a thread's start, and two switches.
"""

import atexit
import gc
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, ClassVar, Generic, cast, get_args

import pykka
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr

from gennostr.exceptions import AlreadyRegistered, AlreadyStarted, BadReturnValue, CallExit, StartError
from gennostr.otp import crash_report, interpreter_exit, mailbox, system, telemetry
from gennostr.otp.calls import Failure, Request, wait
from gennostr.otp.child_spec import ChildSpec
from gennostr.otp.clock import clock
from gennostr.otp.crash_report import shown
from gennostr.otp.messages import WAKE, Cast, Continue, Down, Exit, StopRequest
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
from gennostr.otp.process import Process, acting, check_fence
from gennostr.otp.reasons import NORMAL, TIMEOUT, is_clean

logger = logging.getLogger(__name__)

_PROXY = frozenset({ProxyCall, ProxyGetAttr, ProxySetAttr})
_SYSTEM = frozenset(get_args(system.SystemMessage))

atexit.register(interpreter_exit.stop_roots)


class _End(Exception):
    """Unwinds the loop: the process ends with `reason`, after terminate.

    `callback` is whose doing it is, for the report; `answer` is the reply that goes out before the exit.
    """

    def __init__(self, reason: object, callback: object, answer: tuple[Request, object] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.callback = getattr(callback, "__name__", str(callback))
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
    _process_class: ClassVar[type[Process]] = Process

    # The callbacks.

    def init(self, init_arg: Any) -> InitOutcome[S]:
        """Return `Ok`, IGNORE or `Stop`; start returns when this has."""
        return Ok(init_arg)

    def handle_call(self, request: Any, from_: Request, state: S) -> CallOutcome[S]:
        """Answer a call: `Reply`, `NoReply` (and later ``reply(from_, value)``) or `Stop`."""
        del from_, state
        raise NotImplementedError(f"{type(self).__name__} has no handle_call: {shown(request)}")

    def handle_cast(self, request: Any, state: S) -> Outcome[S]:
        """Handle a cast: `NoReply`, `Stop`, or nothing."""
        del state
        raise NotImplementedError(f"{type(self).__name__} has no handle_cast: {shown(request)}")

    def handle_info(self, message: Any, state: S) -> Outcome[S]:
        """Handle any other message: `NoReply`, `Stop`, or nothing."""
        del state
        logger.warning("%r got a message that it does not handle: %s", self.pid, shown(message))
        return None

    def handle_continue(self, argument: Any, state: S) -> Outcome[S]:
        """Go on after a callback that asked for it: `NoReply`, `Stop`, or nothing."""
        del state
        raise NotImplementedError(f"{type(self).__name__} has no handle_continue: {shown(argument)}")

    def terminate(self, reason: Any, state: S) -> object:
        """Clean up. Not run after an exit signal that is not trapped, a kill, or a failed init."""

    def format_status(self, status: system.Status) -> system.Status:
        """Change what get_status and a crash report show, to hide secrets in the state.

        Return ``dataclasses.replace(status, state=...)``; where it is for a crash report, `status` also has its
        `message` and `reason`.
        """
        return status

    def on_cancel(self) -> None:
        """Unblock the callback under way: the server was killed. Runs in the killer's thread."""

    # Starting.

    @classmethod
    def start(cls, init_arg: Any = None, name: Name | None = None, timeout: float | None = None) -> Any:
        """Start a server and return its pid when init has succeeded, or IGNORE.

        Raises:
            StartError: init stopped, raised, returned something else, or took longer than `timeout` seconds; or the
                system refused a thread.
            AlreadyStarted: the name is taken; init did not run.
            NoProcess: the name is a via of a registry that is dead.
            TypeError, ValueError: `name` or `timeout` is no such thing.
            RuntimeError: this is a child forked while actors ran.

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
        me = acting()
        if me is not None:
            me.check_wait()
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
        done: SimpleQueue[object] = SimpleQueue()
        starting = actor._starting = Request(init_arg, process, parent, partial(done.put, None))
        if not process.watch(starting, waits=True):  # found by its name, and killed
            raise StartError(process.reason)
        if parent is not None and not parent.link(process):  # the starter itself was killed
            process.die(parent.reason)
            check_fence()
        try:
            process.announce()
            actor._start_actor_loop()
            started = wait(starting, done, timeout)
        except CallExit:  # the starter was killed: who is linked to it has been told
            raise
        except RuntimeError as error:  # the system refused a thread
            if parent is not None:  # the StartError says it all: no exit comes besides
                parent.unlink(process)
            process.die(error)
            raise StartError(error) from error
        except BaseException:  # Ctrl-C: nobody will have the pid, and its thread may run already
            process.kill()
            raise
        if not started:
            if parent is not None:  # the StartError says it all: no exit comes besides
                parent.unlink(process)
            process.kill()
            raise StartError(TIMEOUT)
        if starting.exit is not None:
            raise StartError(starting.exit[0])
        return starting.result(process.pid)

    # Inside.

    def __init__(self) -> None:
        super().__init__()
        pid = self._pid_class(self)
        self._actor_ref = pid
        self._process = pid.process = self._process_class(pid, self, self._inbox())
        self._state: Any = None
        self._starting: Request | None = None
        self._last: object = None
        self._deadline: float | None = None
        self._timeout = 0.0
        self._hibernate = False
        self._suspended = False
        self._handled = 0
        self._high_water = telemetry.HIGH_WATER
        self._postponed: deque[object] = deque()
        # Handled before the mailbox's next: a continue, and what was postponed, once resumed.
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

    def _inbox(self) -> mailbox.Mailbox:
        """Return its mailbox, which its process gives up when it dies."""
        return cast("mailbox.Mailbox", self.actor_inbox)

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
        except BaseException as error:
            # Whatever it is (no memory for the next step, say), a thread that ends is a process that dies.
            process.die(error)
            logger.exception("%r ended in the middle of its work", process.pid)
        finally:
            process.leave()
            # The thread's frames may outlive this in a traceback; the state must not.
            self._state = None

    def _start_up(self) -> bool:
        """Run init and tell the starter; True if the process lives."""
        process = self._process
        starting = self._starting
        assert starting is not None  # noqa: S101
        try:
            outcome = self._init(starting.message)
        except BaseException as error:
            if process.interrupt is not None:  # in a wait of init
                self._leave_early(error, "init")  # the starter sees the exit
                return False
            return self._fail_start(starting, error)
        self._starting = None
        kind = type(outcome)
        if kind is Ok or outcome is None:
            if process.interrupt is not None:
                process.die(process.interrupt[0])  # the starter sees the exit
            if process.is_dead():
                return False
            if telemetry.handlers:
                parent = None if process.parent is None else process.parent.pid
                duration = clock().monotonic() - process.started
                telemetry.emit("actor.start", {"duration": duration}, {"pid": process.pid, "parent": parent})
            if outcome is not None:
                self._follow(outcome, self.init, ok=True)
            starting.reply(process.pid)
            return True
        if outcome is IGNORE:
            claimed = starting.claim()  # False if the starter was ended meanwhile
            process.die(NORMAL)
            if claimed:
                starting.fulfil(IGNORE)
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
            starting.fulfil(Failure(error))
        return False

    def _init(self, init_arg: object) -> object:
        """Run init; a hook for servers that have work of their own before it."""
        return self.init(init_arg)

    def _main(self) -> None:
        process = self._process
        inbox = self._inbox()
        get = inbox.get
        item: object
        try:
            while True:
                if self._ahead or self._work or self._deadline is not None or self._hibernate:
                    item = self._await(inbox)
                else:
                    item = get()
                # Looked at after the wait: a signal that came meanwhile overtakes what was queued before it.
                if process.interrupt is not None or process.dead:
                    self._leave_early()
                    return
                waiting = len(self._work)
                if item is not WAKE:
                    self._receive(item)
                # What has only joined the work lets the mailbox's next go first: a call waits for one step, not for
                # one step for each of those that came before it.
                if (
                    self._work
                    and not self._suspended
                    and not self._ahead
                    and (len(self._work) <= waiting or inbox.empty())
                ):
                    self._step()
        except _End as unwound:
            end = unwound.with_traceback(None)
        # Outside of the except clause, so that what terminate raises is not shown as a consequence of this.
        self._finish(end)

    def _await(self, inbox: mailbox.Mailbox) -> object:
        """Return the next item where more than the mailbox decides what it is; WAKE where work goes on."""
        if not self._suspended:
            if self._ahead:
                return self._ahead.popleft()
            if self._work and inbox.empty():
                return WAKE
            if self._deadline is not None:
                try:
                    return clock().take(inbox, self._deadline)
                except Empty:
                    self._deadline = None
                    return TIMEOUT
        if self._hibernate and inbox.empty():
            gc.collect()
        return inbox.get()

    def _step(self) -> None:
        """Do one step of `_work`; a hook for servers that fill it."""

    def _receive(self, item: Any) -> None:
        """Handle one item of the mailbox."""
        kind = type(item)
        # Told apart by types alone, once: this is on the way of every message.
        if (type(item.message) in _SYSTEM if kind is Request else kind in _ENDS) and self._receive_system(item):
            return
        if self._suspended:
            self._postponed.append(item)
            return
        if kind is Down and item.ref.flushed:
            return
        self._deadline = None
        self._hibernate = False
        self._last = item
        self._handled += 1
        if telemetry.handlers:
            self._look_at_mailbox()
        if kind is Cast:
            self._handle(self.handle_cast, item.message)
        elif kind is Request:
            self._receive_call(item)
        elif kind is Continue:
            self._handle(self.handle_continue, item.argument)
        elif kind in _PROXY:
            self._handle(self._proxy_told, item)
        else:
            self._receive_info(item)

    def _receive_info(self, message: object) -> None:
        """Handle a message that is neither call nor cast; a hook for a server's own messages."""
        self._handle(self.handle_info, message)

    def _receive_call(self, request: Request) -> None:
        message = request.message
        if type(message) in _PROXY:
            # As pykka has it: what the called method raises goes to the caller, and the actor lives on.
            try:
                request.reply(self._proxy(message))
            except Exception as error:
                request.reply(Failure(error))
            except BaseException as error:
                raise _End(error, self._proxy) from error
            return
        try:
            outcome: Any = self.handle_call(message, request, self._state)
        except BaseException as error:
            raise _End(error, self.handle_call) from error
        kind = type(outcome)
        if kind is Reply:
            if outcome.state is not UNSET:
                self._state = outcome.state
            if not self._process.dead:
                request.reply(outcome.value)
            if outcome.next is not None:
                self._next(*outcome.next)
        elif kind is NoReply:
            self._follow(outcome, self.handle_call)
        elif kind is Stop:
            if outcome.state is not UNSET:
                self._state = outcome.state
            answer = None if outcome.reply is UNSET else (request, outcome.reply)
            raise _End(outcome.reason, self.handle_call, answer)
        else:
            raise _End(BadReturnValue(outcome), self.handle_call)

    def _receive_system(self, item: object) -> bool:
        """Handle what is handled even while suspended; False if `item` is an Exit that is a message like others."""
        if isinstance(item, StopRequest):
            raise _End(item.reason, "stop")
        if isinstance(item, Exit):
            parent = self._process.parent
            if parent is None or item.pid is not parent.pid:
                return False
            raise _End(item.reason, "stop")
        assert isinstance(item, Request)  # noqa: S101
        match item.message:
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
            case system.GetStatistics():
                item.reply(self._statistics())
            case system.GetRest():  # without the effect on a timeout that looking has
                deadline = None if self._suspended else self._deadline
                rests = self._at_rest() and (deadline is None or deadline > clock().monotonic())
                item.reply(system.Rest(self._handled, deadline is not None) if rests else None)
                return True
            case _:
                item.reply(self._status())
        if self._deadline is not None:  # looked at, not cancelled: it starts over
            self._deadline = clock().monotonic() + self._timeout
        return True

    # What it tells about itself; `_activity` and `_children` may be asked from any thread.

    def _activity(self) -> str:
        """Say in a word what it is doing; a hook for servers that know better."""
        if self._starting is not None:
            return "starting"
        return "suspended" if self._suspended else "running"

    def _children(self) -> tuple[object, ...]:
        """Return its children, newest first: who was started linked to it; a hook for supervisors."""
        process = self._process
        with process.lock:
            links = list(process.links)
        return tuple(each.pid for each in reversed(links) if each.parent is process)

    def _mailbox_length(self) -> int:
        return self._inbox().qsize() + len(self._ahead) + len(self._postponed)

    def _at_rest(self) -> bool:
        """Whether nothing is left to do; a hook for servers that wait for more than messages."""
        return self._suspended or not (self._ahead or self._work or not self._inbox().empty())

    def _status(self, message: object = None, reason: object = None) -> system.Status:
        status = system.Status(
            name=self._process.name,
            status=self._activity(),
            state=self._state,
            messages=self._mailbox_length(),
            children=self._children(),
            message=message,
            reason=reason,
        )
        try:
            formatted: object = self.format_status(status)
            if isinstance(formatted, system.Status):
                return formatted
            logger.error("format_status of %r returned no Status: %r", self.pid, type(formatted))
        except BaseException:
            logger.exception("format_status of %r failed", self.pid)
        return status

    def _statistics(self) -> system.Statistics:
        uptime = clock().monotonic() - self._process.started
        return system.Statistics(clock().time() - uptime, uptime, self._handled, self._mailbox_length())

    def _look_at_mailbox(self) -> None:
        """Tell telemetry of a mailbox that has grown."""
        length = self._mailbox_length()
        if length >= self._high_water:
            self._high_water = 2 * length
            telemetry.emit("mailbox.high_water", {"length": length}, {"pid": self.pid})

    def _proxy_told(self, message: object, state: object) -> None:
        del state
        self._proxy(message)

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

    def _handle(self, callback: Callable[[Any, S], object], message: object) -> None:
        """Call a callback and do what its outcome says; what it raises ends the server."""
        try:
            outcome = callback(message, self._state)
        except BaseException as error:
            raise _End(error, callback) from error
        if type(outcome) is NoReply and outcome.next is None:  # as _follow does
            if outcome.state is not UNSET:
                self._state = outcome.state
        elif outcome is not None:
            self._follow(outcome, callback)

    def _follow(self, outcome: Any, callback: Any, *, ok: bool = False) -> None:
        kind = type(outcome)
        if kind is NoReply or (ok and kind is Ok):
            if outcome.state is not UNSET:
                self._state = outcome.state
            if outcome.next is not None:
                self._next(*outcome.next)
        elif kind is Stop:
            if outcome.state is not UNSET:
                self._state = outcome.state
            raise _End(outcome.reason, callback)
        else:
            raise _End(BadReturnValue(outcome), callback)

    def _next(self, timeout: float | None, hibernate: bool, continue_: object) -> None:  # noqa: FBT001
        """Arrange what comes after this callback."""
        if continue_ is not UNSET:
            self._ahead.appendleft(Continue(continue_))
        elif timeout is not None:
            self._timeout = timeout
            self._deadline = clock().monotonic() + timeout
        else:
            self._hibernate = hibernate

    # The end.

    def _finish(self, end: _End) -> None:
        """Terminate, report, answer, exit: in this order."""
        process = self._process
        reason, callback = end.reason, end.callback
        if process.dead or process.interrupt is not None:
            self._leave_early(reason, callback)
            return
        try:
            self._terminate(reason)
        except BaseException as error:
            reason, callback = error, "terminate"
            ended = process.interrupt is not None  # in a wait
        else:
            ended = False
        if ended or process.is_dead():  # killed meanwhile
            self._leave_early(reason, callback)
            return
        try:
            if not is_clean(reason):
                self._report(reason, callback)
            if end.answer is not None and not process.dead:
                end.answer[0].reply(end.answer[1])
        finally:  # a log handler may raise: the exit is told all the same
            process.die(reason)

    def _terminate(self, reason: object) -> None:
        """Run terminate; a hook for servers that have work of their own around it."""
        self.terminate(reason, self._state)

    def _leave_early(self, reason: object = None, callback: str = "") -> None:
        """End by an exit signal or a kill: no terminate. What a callback raised meanwhile is not lost."""
        process = self._process
        interrupt = process.interrupt
        if interrupt is None:  # killed: all is done but for leaving
            if isinstance(reason, BaseException) and not isinstance(reason, CallExit):
                logger.info("the thread of %r, which was killed, ended by %r", self.pid, reason)
            return
        try:
            if isinstance(reason, BaseException) and getattr(reason, "reason", reason) is not interrupt[0]:
                self._report(reason, callback)
        finally:
            process.die(interrupt[0])

    def _report(self, reason: object, callback: str) -> None:
        """Log the one crash report. Nothing that goes wrong here may keep the process from dying."""
        try:
            last = self._last
            message = last.argument if isinstance(last, Continue) else last
            if isinstance(last, Request | Cast):
                message = last.message
            status = self._status(message, reason)
            caller = last.caller if isinstance(last, Request) else None
            crash_report.log(
                crash_report.CrashReport(
                    pid=self.pid,
                    callback=callback,
                    message=status.message,
                    caller=None if caller is None else caller.pid,
                    state=status.state,
                    reason=status.reason,
                    ancestors=crash_report.ancestors(self._process),
                )
            )
        except BaseException:
            logger.exception("%r crashed, and so did the report of it", self.pid)


_ENDS = frozenset({StopRequest, Exit})
