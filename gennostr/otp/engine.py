"""The engine: runs one server, and leaves the server's class to its author.

The first of these that applies decides what a server does next:

    1. it was killed            its thread leaves; the killer has done the rest
    2. an exit signal           it ends without terminate: signals overtake messages (OTP)
    3. a continue               handle_continue, before any message (OTP)
    4. queued ahead             messages given to `queue_ahead`, and those that arrived while it was suspended
    5. a step of work           one step of the engine's own `work`: after each message, or when no message waits
    6. the mailbox              in order of arrival
    7. a timeout                handle_info(TIMEOUT): no message arrived in time (OTP)

`_loop` checks 1 and 2 after every wait; `_next` chooses among 3 to 7. While a server is suspended, only 1, 2 and system
messages apply; other messages are queued behind those already ahead.

Order at the end: terminate, the crash report, the reply that a Stop carries, and only then the exit, which releases
the names before it notifies anyone.

Supervisors, clients and connections have their own engines: subclasses that override the hooks, which are the public
methods from `init` to `on_thread_end`.

Performance: sending a cast takes 0.6 microseconds and handling it 0.9, of which 0.2 are for the outcome object (saved
if the callback returns None). A call takes 18 microseconds on one processor and 35 to 50 between two, nearly all of it
to wake two threads; two bare queues take 13, and 33 to 45. A start costs the start of a thread and two switches.
"""

import gc
import logging
from collections import deque
from collections.abc import Callable
from enum import Enum
from queue import Empty, SimpleQueue
from typing import Any, ClassVar, Final, Protocol, get_args

from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr

from gennostr.exceptions import BadReturnValue, CallExit, StartError
from gennostr.otp import crash_report, mailbox, system, telemetry, tracebacks
from gennostr.otp.calls import Failure, Request
from gennostr.otp.clock import clock
from gennostr.otp.envelopes import Cast, Continue, StopRequest, Wake
from gennostr.otp.outcomes import IGNORE, UNSET, NoReply, Ok, Reply, Stop
from gennostr.otp.pid import Pid
from gennostr.otp.process import DownSignal, ExitSignal, Process
from gennostr.otp.reasons import NORMAL, TIMEOUT, is_clean
from gennostr.otp.signals import Down, Exit
from gennostr.values import shown

logger = logging.getLogger(__name__)
logger.addFilter(tracebacks.escape)


class Server(Protocol):
    """What an engine needs of the user's object; see `GenServer`."""

    trap_exit: bool

    def init(self, init_arg: Any, /) -> Any: ...  # noqa: D102
    def handle_call(self, request: Any, from_: Request, state: Any, /) -> Any: ...  # noqa: D102
    def handle_cast(self, request: Any, state: Any, /) -> Any: ...  # noqa: D102
    def handle_info(self, message: Any, state: Any, /) -> Any: ...  # noqa: D102
    def handle_continue(self, argument: Any, state: Any, /) -> Any: ...  # noqa: D102
    def terminate(self, reason: Any, state: Any, /) -> object: ...  # noqa: D102
    def format_status(self, status: system.Status, /) -> system.Status: ...  # noqa: D102
    def on_cancel(self) -> None: ...  # noqa: D102


class Callbacks(Protocol):
    """The object whose callbacks handle messages.

    It is the server or, for a supervisor, its engine.
    """

    def handle_call(self, request: Any, from_: Request, state: Any, /) -> Any: ...  # noqa: D102
    def handle_cast(self, request: Any, state: Any, /) -> Any: ...  # noqa: D102
    def handle_info(self, message: Any, state: Any, /) -> Any: ...  # noqa: D102


class End(Exception):
    """Unwinds the loop, so that the process calls terminate and ends with `reason`.

    `callback` raised or returned the outcome that caused this; the crash report shows it. `answer` is sent before the
    exit.
    """

    def __init__(self, reason: object, callback: object, answer: tuple[Request, object] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.callback = getattr(callback, "__name__", str(callback))
        self.answer = answer

    @property
    def raised(self) -> bool:
        """Whether something has raised `reason`, in the middle of its work."""
        return self.__cause__ is not None  # a reason may be anything, None included


class Step(Enum):
    """The type of STEP."""

    STEP = "step"


STEP: Final = Step.STEP
"""Returned by `_next` if a step of work is next."""

_NO_WORK: Final[Any] = ()

_PROXY = frozenset({ProxyCall, ProxyGetAttr, ProxySetAttr})
_SYSTEM = frozenset(get_args(system.SystemMessage))
_SIGNALS = frozenset({Wake, StopRequest, ExitSignal, DownSignal, Exit})


class Engine:
    """Runs one server.

    Only the server's thread may use it, except for methods and properties documented as usable from any thread.
    """

    pid_class: ClassVar[type[Pid]] = Pid
    """The class of the server's handle."""
    process_class: ClassVar[type[Process]] = Process
    receives: ClassVar[frozenset[type]] = frozenset()
    """The types of messages that are passed to `receive` instead of handle_info."""
    own_callbacks: ClassVar[frozenset[str]] = frozenset()
    """Callbacks that the engine implements itself; a server class that defines one is rejected."""
    create_mailbox = staticmethod(mailbox.create)

    def __init__(self, server: Server, pid: Pid, inbox: mailbox.Mailbox) -> None:
        self.server = server
        self.callbacks: Callbacks = server
        """The object whose callbacks handle messages."""
        self.pid = pid
        self.mailbox = inbox
        self.process = pid.process = self.process_class(pid, self, inbox)
        self.state: Any = None
        self.suspended = False
        self.starting: Request | None = None
        """The starter's request, until init has returned."""
        # An engine without a `step` has no work: an empty deque takes 760 bytes, and there may be thousands of servers.
        self.work: deque[Any] = _NO_WORK if type(self).step is Engine.step else deque()
        """The work for `step`, which runs once after each message; `add_work` adds to it."""
        # Whether only the mailbox decides what is next. Whatever adds to the other rows of the table sets it to False.
        self._quiet = True
        # Rows 3 and 4 of the table: handled before the next message of the mailbox. There is one continue at most, as
        # no other callback runs before it.
        self._continue: Continue | None = None
        self._ahead: SimpleQueue[object] = SimpleQueue()
        # Whether a step of work is next, even if a message waits.
        self._work_is_due = False
        self._deadline: float | None = None
        self._timeout = 0.0
        self._hibernate = False
        self.ending: End | None = None
        """Why the server ends, before `terminate` is called."""
        self.last: object = None
        """The last message handled, for the crash report."""
        self._handled = 0
        self._high_water = telemetry.HIGH_WATER

    # Hooks.

    def init(self, argument: object) -> object:
        """Run init and return its outcome."""
        return self.server.init(argument)

    def terminate(self, reason: object) -> None:
        """Run terminate."""
        self.server.terminate(reason, self.state)

    def receive(self, message: Any) -> None:
        """Handle a message of one of the types in `receives`."""

    def step(self) -> None:
        """Do one step of `work`."""

    def on_suspend(self) -> None:
        """Handle the suspension of the server."""

    def on_resume(self) -> None:
        """Handle the resumption of the server; its messages are handled next."""

    def activity(self) -> str:
        """Return one word for what the server is doing. Called from any thread."""
        if self.starting is not None:
            return "starting"
        return "suspended" if self.suspended else "running"

    def children(self) -> tuple[object, ...]:
        """Return the children, newest first. Called from any thread.

        They are pids, or ``ChildInfo`` for a supervisor.
        """
        process = self.process
        with process.lock:
            links = list(process.links)
        return tuple(each.pid for each in reversed(links) if each.parent is process)

    def at_rest(self) -> bool:
        """Return whether nothing is left to do."""
        return self.suspended or not (self._is_ahead() or self.work or not self.mailbox.empty())

    def statistics(self) -> system.Statistics:
        """Return the server's statistics."""
        uptime = clock().monotonic() - self.process.started
        return system.Statistics(clock().time() - uptime, uptime, self._handled, self.mailbox_length())

    def _is_ahead(self) -> bool:
        """Return whether something goes before the mailbox."""
        return self._continue is not None or not self._ahead.empty()

    def on_cancel(self) -> None:
        """Unblock the running callback: the server was killed.

        Runs in the killer's thread.
        """
        self.server.on_cancel()

    def reports(self, callback: str) -> bool:
        """Return whether a failure in `callback` is logged as a crash."""
        del callback
        return True

    def on_thread_end(self) -> None:
        """Clean up at the very end of the server's thread, however it ended."""

    # For the hooks.

    def call(self, callback: Callable[..., object], *arguments: object, ok: bool = False) -> None:
        """Call ``callback(*arguments, state)`` and apply its outcome.

        An exception ends the server. With `ok`, an `Ok` is accepted as a `NoReply`.
        """
        try:
            outcome = callback(*arguments, self.state)
        except BaseException as error:
            raise End(error, callback) from error
        if outcome is not None:
            self.follow(outcome, callback, ok=ok)

    def follow(self, outcome: Any, callback: object, *, ok: bool = False) -> None:
        """Apply an outcome other than None."""
        kind = type(outcome)
        if kind is NoReply or (ok and kind is Ok):
            if outcome.state is not UNSET:
                self.state = outcome.state
            if outcome.next is not None:
                self._arrange(*outcome.next)
        elif kind is Stop:
            if outcome.state is not UNSET:
                self.state = outcome.state
            raise End(outcome.reason, callback)
        else:
            raise End(BadReturnValue(outcome), callback)

    def handling(self, message: object) -> None:
        """Record that `message` is being handled.

        It cancels a timeout, and the crash report shows it.
        """
        self._deadline = None
        self._hibernate = False
        self.last = message

    def queue_ahead(self, message: object) -> None:
        """Queue `message` ahead of the mailbox, behind those already queued ahead."""
        self._ahead.put(message)
        self._quiet = False

    def add_work(self, item: object) -> None:
        """Add `item` to `work`.

        The message that added it triggers no step: the next message goes first. So a call waits for one step, instead
        of one step per earlier message that added work.
        """
        self.work.append(item)
        self._work_is_due = False
        self._quiet = False

    @property
    def trap_exit(self) -> bool:
        """Whether exit signals arrive as `Exit` messages. Read from any thread."""
        return self.server.trap_exit

    def mailbox_length(self) -> int:
        """Return the number of waiting messages. Called from any thread.

        Those queued ahead are included.
        """
        return self.mailbox.qsize() + self._ahead.qsize() + (self._continue is not None)

    # The thread.

    def run(self) -> None:
        """Run the server from init to its end; the body of its thread."""
        process = self.process
        process.enter()
        try:
            # If it was killed before its thread started (its start timed out), init must not run.
            if not process.is_dead() and self._start_up():
                self._loop()
        except BaseException as error:
            # Whatever the error is (no memory, say): if the thread ends, the process must die.
            process.die(error)
            logger.exception("%r ended because of an error outside its callbacks", process.pid)
        finally:
            process.leave()
            # A traceback may keep the thread's frames alive; they must not keep the state alive.
            self.state = None
            self.on_thread_end()

    def _start_up(self) -> bool:
        """Run init and reply to the starter; return True if the process is alive."""
        process, starting = self.process, self.starting
        assert starting is not None  # noqa: S101
        try:
            outcome: Any = self.init(starting.message)
        except BaseException as error:
            if process.interrupt is not None:  # during a wait in init
                self._leave_early(error, "init")  # the starter receives the exit
                return False
            return self._fail_start(starting, error)
        self.starting = None
        kind = type(outcome)
        if kind is Ok or outcome is None:
            if process.interrupt is not None:
                process.die(process.interrupt[0])  # the starter receives the exit
            if process.is_dead():
                return False
            if telemetry.handlers:
                parent = None if process.parent is None else process.parent.pid
                duration = clock().monotonic() - process.started
                telemetry.emit("actor.start", {"duration": duration}, {"pid": process.pid, "parent": parent})
            if outcome is not None:
                self.follow(outcome, self.init, ok=True)
            starting.reply(process.pid)
            return True
        if outcome is IGNORE:
            claimed = starting.claim()  # False if the starter has stopped waiting
            process.die(NORMAL)
            if claimed:
                starting.fulfil(IGNORE)
            return False
        if isinstance(outcome, Stop):
            return self._fail_start(starting, outcome.reason)
        return self._fail_start(starting, BadReturnValue(outcome))

    def _fail_start(self, starting: Request, reason: object) -> bool:
        # Claim first, so that the starter receives the failure and not the exit; die before replying, so that the name
        # is free when the starter learns of the failure.
        claimed = starting.claim()
        self.process.die(reason)
        if claimed:
            error = StartError(reason)
            if isinstance(reason, BaseException):
                error.__cause__ = reason
            starting.fulfil(Failure(error))
        return False

    def _loop(self) -> None:
        process, get = self.process, self.mailbox.get
        try:
            while True:
                item = get() if self._quiet else self._next()
                # Checked after the wait: a signal that arrived during it overtakes messages queued before it.
                if process.interrupt is not None or process.dead:
                    self._leave_early()
                    return
                if item is STEP:
                    self.step()
                else:
                    self._receive(item)
        except End as unwound:
            end = unwound.with_traceback(None)
        except BaseException as error:  # raised by the engine itself: it ends the server as if a callback had raised it
            end = End(error, _innermost(error))
            end.__cause__ = error
        # Outside the except clause, so that an exception from terminate is not chained to this one.
        self._finish(end)

    def _next(self) -> object:
        """Return what is next, by rows 3 to 7 of the table."""
        inbox = self.mailbox
        # Before the checks that follow: if a finalizer queues something ahead after a check, it sets this to False.
        self._quiet = True
        if not (self.suspended or self._is_ahead() or self.work or self._deadline is not None):
            if self._hibernate and inbox.empty():
                gc.collect()
            return inbox.get()
        self._quiet = False
        if self.suspended:
            return inbox.get()
        if self._continue is not None:
            following, self._continue = self._continue, None
            return following
        if not self._ahead.empty():
            return self._ahead.get_nowait()
        if self.work:
            if self._work_is_due or inbox.empty():
                self._work_is_due = False
                return STEP
            self._work_is_due = True  # after this message, unless it adds more work
            return inbox.get()
        assert self._deadline is not None  # noqa: S101
        try:
            return clock().take(inbox, self._deadline)
        except Empty:
            self._deadline = None
            return TIMEOUT

    # Messages.

    def _receive(self, item: Any) -> None:
        """Handle one item from the mailbox or queued ahead of it."""
        kind = type(item)
        # Dispatched by type alone, for speed: every message passes here.
        if kind is Request:
            if type(item.message) in _SYSTEM:
                self.receive_system(item)
                return
        elif kind in _SIGNALS:
            item = self._receive_signal(item)
            if item is None:
                return
            kind = type(item)
        if self.suspended:
            self._ahead.put(item)
            return
        self._deadline = None
        self._hibernate = False
        self.last = item
        self._handled += 1
        if telemetry.handlers:
            self._check_high_water()
        if kind is Cast:
            self._handle(self.callbacks.handle_cast, item.message)
        elif kind is Request:
            self._receive_call(item)
        elif kind in self.receives:
            self.receive(item)
        elif kind is Continue:
            self._handle(self.server.handle_continue, item.argument)
        elif kind in _PROXY:
            self._handle(self._proxy_sent, item)
        else:
            self._handle(self.callbacks.handle_info, item)

    def _handle(self, callback: Callable[[Any, Any], object], message: object) -> None:
        """Do the same as `call` with one argument, but faster.

        It has a fast path for the most frequent outcomes.
        """
        try:
            outcome: Any = callback(message, self.state)
        except BaseException as error:
            raise End(error, callback) from error
        if type(outcome) is NoReply and outcome.next is None:
            if outcome.state is not UNSET:
                self.state = outcome.state
        elif outcome is not None:
            self.follow(outcome, callback)

    def _receive_call(self, request: Request) -> None:
        message = request.message
        if type(message) in _PROXY:
            # As in pykka, an exception of the method goes to the caller, and the actor keeps running. If the caller
            # never reads its future, this log record is the only trace.
            try:
                request.reply(self._proxy(message))
            except Exception as error:
                logger.info("Exception returned from %r to caller:", self.pid, exc_info=True)
                request.reply(Failure(error))
            except BaseException as error:
                raise End(error, self._proxy) from error
            return
        callback = self.callbacks.handle_call
        try:
            outcome: Any = callback(message, request, self.state)
        except BaseException as error:
            raise End(error, callback) from error
        kind = type(outcome)
        if kind is Reply:
            if outcome.state is not UNSET:
                self.state = outcome.state
            if not self.process.dead:
                request.reply(outcome.value)
            if outcome.next is not None:
                self._arrange(*outcome.next)
        elif kind is NoReply:
            self.follow(outcome, callback)
        elif kind is Stop:
            if outcome.state is not UNSET:
                self.state = outcome.state
            answer = None if outcome.reply is UNSET else (request, outcome.reply)
            raise End(outcome.reason, callback, answer)
        else:
            raise End(BadReturnValue(outcome), callback)

    def _receive_signal(self, item: object) -> object:
        """Handle a stop or a signal; return the message for the callbacks, or None."""
        if isinstance(item, StopRequest):
            raise End(item.reason, "stop")
        if self.suspended and isinstance(item, DownSignal):
            return item  # converted when it is handled; until then, demonitor can flush it
        message = open_signal(item)
        if isinstance(message, Exit):
            parent = self.process.parent
            if parent is not None and message.pid is parent.pid:
                raise End(message.reason, "stop")
        return message

    def receive_system(self, request: Request) -> None:
        """Handle a system message, even while suspended.

        For a probe, this runs in the caller's thread.
        """
        match request.message:
            case system.GetState():
                request.reply(self.state)
            case system.ReplaceState(function):
                try:
                    self.state = function(self.state)
                except BaseException as error:
                    request.reply(Failure(error))
                else:
                    request.reply(self.state)
            case system.Suspend():
                self.suspended = True
                self._quiet = False
                self.on_suspend()
                request.reply(None)
            case system.Resume():
                self.suspended = False
                self.on_resume()
                request.reply(None)
            case system.GetStatistics():
                request.reply(self.statistics())
            case system.GetRest():  # unlike the other system messages, it does not restart a timeout
                deadline = None if self.suspended else self._deadline
                rests = self.at_rest() and (deadline is None or deadline > clock().monotonic())
                request.reply(system.Rest(self._handled, deadline is not None) if rests else None)
                return
            case _:
                request.reply(self._status())
        if self._deadline is not None:  # restart the timeout
            self._deadline = clock().monotonic() + self._timeout

    def _arrange(self, timeout: float | None, hibernate: bool, continue_: object) -> None:  # noqa: FBT001
        """Schedule what an outcome requests to do next."""
        self._quiet = False
        if continue_ is not UNSET:
            self._continue = Continue(continue_)
        elif timeout is not None:
            self._timeout = timeout
            self._deadline = clock().monotonic() + timeout
        else:
            self._hibernate = hibernate

    def _proxy_sent(self, message: object, state: object) -> None:
        del state
        self._proxy(message)

    def _proxy(self, message: Any) -> Any:
        """Execute the request of a pykka proxy."""
        *path, last = message.attr_path
        target: Any = self.server
        for attribute in path:
            target = getattr(target, attribute)
        match message:
            case ProxyCall():
                return getattr(target, last)(*message.args, **message.kwargs)
            case ProxySetAttr():
                return setattr(target, last, message.value)
            case _:
                return getattr(target, last)

    # Reports.

    def _status(self, message: object = None, reason: object = None) -> system.Status:
        status = system.Status(
            name=self.process.name,
            status=self.activity(),
            state=self.state,
            messages=self.mailbox_length(),
            children=self.children(),
            message=message,
            reason=reason,
        )
        try:
            formatted: object = self.server.format_status(status)
            if isinstance(formatted, system.Status):
                return formatted
            logger.error("format_status of %r must return a Status, not %s", self.pid, type(formatted).__name__)
        except BaseException:
            logger.exception("format_status of %r raised", self.pid)
        return status

    def _check_high_water(self) -> None:
        """Emit a telemetry event if the mailbox has grown past the high-water mark."""
        length = self.mailbox_length()
        if length >= self._high_water:
            self._high_water = 2 * length
            telemetry.emit("mailbox.high_water", {"length": length}, {"pid": self.pid})

    # The end.

    def _finish(self, end: End) -> None:
        """Run terminate, log the crash report, send the answer, and exit, in this order."""
        process = self.process
        self.ending = end
        reason, callback = end.reason, end.callback
        if process.dead or process.interrupt is not None:
            self._leave_early(reason, callback)
            return
        try:
            self.terminate(reason)
        except BaseException as error:
            reason, callback = error, "terminate"
            ended = process.interrupt is not None  # during a wait in terminate
        else:
            ended = False
        if ended or process.is_dead():  # killed in the meantime
            self._leave_early(reason, callback)
            return
        try:
            if not is_clean(reason) and self.reports(callback):
                self._report(reason, callback)
            if end.answer is not None and not process.dead:
                end.answer[0].reply(end.answer[1])
        finally:  # a log handler may raise; the exit must be sent anyway
            process.die(reason)

    def _leave_early(self, reason: object = None, callback: str = "") -> None:
        """End by an exit signal or a kill, without terminate.

        An exception of a callback is still logged.
        """
        process = self.process
        interrupt = process.interrupt
        if interrupt is None:  # killed: the killer has done everything else
            if isinstance(reason, BaseException) and not isinstance(reason, CallExit):
                logger.info("%r was killed earlier; its thread has now ended with %s", self.pid, shown(reason))
            return
        try:
            if isinstance(reason, BaseException) and getattr(reason, "reason", reason) is not interrupt[0]:
                self._report(reason, callback)
        finally:
            process.die(interrupt[0])

    def _report(self, reason: object, callback: str) -> None:
        """Log the one crash report. No failure here may keep the process from dying."""
        try:
            last = self.last
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
                    ancestors=crash_report.ancestors(self.process),
                )
            )
        except BaseException:
            logger.exception("%r crashed, and its crash report could not be logged", self.pid)


def open_signal(item: object) -> object:
    """Convert a mailbox item to the message for its owner.

    None if it has none or it was flushed.
    """
    if isinstance(item, Wake):
        return None
    if isinstance(item, ExitSignal):
        return Exit(None if item.sender is None else item.sender.pid, item.reason)
    if isinstance(item, DownSignal):
        return None if item.ref.flushed else Down(item.ref, item.ref.target, item.reason)
    return item


def _innermost(error: BaseException) -> str:
    """Return the name of the function that raised `error`."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else trace.tb_frame.f_code.co_name
