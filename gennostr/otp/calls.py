"""Calls: a request, and the one reply or exit that ends it.

A call is: watch the server, send the request, wait for the reply, for the server's death or for the timeout,
whichever comes first. The `Request` itself is the watcher, and ends once: whoever `claim`s it decides the outcome,
and what comes later (a second reply, the reply to a call that timed out) reaches nobody. So no call can wait
on a dead process, whatever happened to its mailbox.

Three ways to wait for the same thing: `call` blocks, `call_async` awaits, `send_request` gives a `PendingReply` to
wait for when it suits.
"""

from _thread import allocate_lock
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from gennostr.exceptions import CallExit, CallingSelf, CallTimeout, NoProcess
from gennostr.otp import telemetry
from gennostr.otp.clock import clock
from gennostr.otp.mailbox import take
from gennostr.otp.names import resolve
from gennostr.otp.outcomes import UNSET, check_seconds
from gennostr.otp.process import Process, check_fence, current
from gennostr.otp.reasons import NORMAL
from gennostr.values import Handle, shown

if TYPE_CHECKING:
    import asyncio


class Request(Handle):
    """A request under way: what ``handle_call`` gets as `from_`."""

    __slots__ = ("_claim", "_on_done", "abandoned", "caller", "exit", "message", "process", "value")

    def __init__(
        self,
        message: object,
        process: Process,
        caller: Process | None,
        on_done: Callable[[], object],
    ) -> None:
        self.message = message
        self.process = process
        self.caller = caller
        self.value: object = UNSET
        self.exit: tuple[object] | None = None
        self.abandoned = False
        self._on_done = on_done
        self._claim = allocate_lock()

    def __repr__(self) -> str:
        return f"<Request {shown(self.message)} from {self.caller!r} to {self.process!r}>"

    def claim(self) -> bool:
        """Take the right to end this request; True for the first only."""
        return self._claim.acquire(False)  # noqa: FBT003

    def reply(self, value: object) -> None:
        """End it with `value`."""
        if self.claim():
            self.fulfil(value)

    def fulfil(self, value: object) -> None:
        """End it with `value`, having claimed it."""
        self.value = value
        self._on_done()
        # Not before: who waits is woken first, and wakes up meanwhile. A death in between finds the claim taken.
        self.process.unwatch(self)

    def down(self, process: Process, reason: object) -> None:
        """End it with the server's exit."""
        del process
        if self.claim():
            self.exit = (reason,)
            self._on_done()

    def abandon(self, reason: object) -> bool:
        """End it with an exit that is not the server's: nobody waits any more, and a reply reaches nobody."""
        if not self.claim():
            return False
        self.process.unwatch(self)
        self.abandoned = True
        self.exit = (reason,)
        self._on_done()
        return True

    def result(self, target: object) -> object:
        """Return the reply, or raise what it ended with."""
        if self.exit is not None:
            self.process.end_known = True
            raise CallExit(self.exit[0], target)
        if type(self.value) is Failure:
            raise self.value.exception.with_traceback(self.value.trace)
        return self.value


class Failure:
    """A reply that is raised in the caller."""

    __slots__ = ("exception", "trace")

    def __init__(self, exception: BaseException) -> None:
        self.exception = exception
        # Restored each time it is raised, or it would grow with each wait for the same reply.
        self.trace = exception.__traceback__


def reply(from_: Request, value: object) -> None:
    """Answer a call, from any actor or thread. The first reply wins; later ones go nowhere."""
    if not isinstance(from_, Request):
        raise TypeError(f"reply needs the from_ of handle_call, not {shown(from_)}")
    me = current()
    if me is None:
        won = from_.claim()
    else:
        with me.lock:  # one step with the look at `dead`, as in Process.put_from
            won = not me.dead and from_.claim()
    if won:
        from_.fulfil(value)


def reply_error(from_: Request, exception: BaseException) -> None:
    """Answer a call by an exception, which is raised in the caller; otherwise as `reply`.

    The server is unharmed. Of an exception that a callback raises, on the other hand, the server dies, and the caller
    gets CallExit. ::

        def handle_call(self, request, from_, state):
            if request not in state:
                reply_error(from_, KeyError(request))
                return NoReply()
            return Reply(state[request])

    """
    if not isinstance(exception, BaseException):
        raise TypeError(f"reply_error needs an exception, not {shown(exception)}")
    reply(from_, Failure(exception))


def request(
    target: object,
    message: object,
    on_done: Callable[[], object],
    envelope: object = None,
    *,
    to_self: bool = False,
) -> Request:
    """Send a request; `on_done` is called, in whatever thread, when it has ended.

    Raises:
        NoProcess, CallingSelf: see `call`; a process may send itself a request that it does not wait for (`to_self`).

    """
    me = check_fence()
    if me is not None and me.interrupt is not None:
        me.check_wait()
    process = resolve(target)
    if process is None:
        raise NoProcess(target)
    if process is me and not to_self:
        raise CallingSelf(target)
    pending = Request(message, process, me, on_done)
    # Watched before it is sent: from here on the server's death ends it, wherever the message is then.
    if not process.watch(pending, waits=True):
        raise NoProcess(target)
    if not process.put_from(me, pending if envelope is None else envelope):
        process.unwatch(pending)
        check_fence()
    return pending


def wait(pending: Request, done: "SimpleQueue[object]", timeout: float | None) -> bool:
    """Wait until `pending` has ended, which fills `done`; False if it was given up after `timeout` seconds.

    Raises:
        CallExit: the process that waits was killed, or an exit signal came that it does not trap.

    """
    me = pending.caller or current()  # one lookup less for a call
    try:
        if me is not None:
            me.begin_wait(pending)
        ended = _filled(done, timeout)
        if not ended and not pending.abandon(NORMAL):
            done.get()  # something won the race against the timeout, and is being delivered
            ended = True
    except BaseException:  # Ctrl-C
        pending.abandon(NORMAL)
        raise
    finally:
        if me is not None:
            me.waits.pop(pending, None)
    # A reply that came first is not lost: an exit signal then takes effect at the next wait, or the next message.
    if me is not None and (me.dead or pending.abandoned):
        me.check_wait()
    return ended


def _filled(done: "SimpleQueue[object]", timeout: float | None) -> bool:
    """Wait until something is in `done`; False if nothing is within `timeout` seconds."""
    if timeout is None:
        take(done)
        return True
    now = clock()
    try:
        now.take(done, now.monotonic() + timeout)
    except Empty:
        return False
    return True


class _Pause:
    """A wait, in a ``with`` statement, that a kill or an exit signal ends by `wake`; then CallExit is raised.

    `process` is whom it waits for. `wait` does the same for a request that nobody else waits for.
    """

    __slots__ = ("_me", "_wake", "process")

    def __init__(self, process: Process | None, wake: Callable[[], object]) -> None:
        self.process = process
        self._me = current()
        self._wake = wake

    def abandon(self, reason: object) -> bool:
        """End the wait; see `gennostr.otp.process.Waiter`."""
        del reason
        self._wake()
        return True

    def __enter__(self) -> None:
        if self._me is not None:
            self._me.begin_wait(self)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._me is not None:
            self._me.waits.pop(self, None)
            if kind is None:
                self._me.check_wait()


class Completion:
    """An end that comes once: whoever listens is called, and any number of threads may wait for it.

    Without a lock, for a finalizer may wait, between any two lines, for what another thread would need the lock for.
    Each line is one step of a dict or of a queue, and these have an order: a listener is written before `_ended` is
    looked at, and `_ended` is filled before the listeners are looked at, so one of the two sees the other. Whoever
    takes a listener out of the dict calls it.
    """

    __slots__ = ("_ended", "_listeners")

    def __init__(self) -> None:
        # Filled when it has come, and never emptied.
        self._ended: SimpleQueue[None] = SimpleQueue()
        self._listeners: dict[Callable[[], object], None] = {}

    def done(self) -> bool:
        """Whether it has come."""
        return not self._ended.empty()

    def end(self, cause: object = None) -> None:
        """Let it come; called once, in any thread. As a callback of a future it gets that, and needs nothing of it."""
        del cause
        self._ended.put(None)
        for listener in list(self._listeners):
            if self.unlisten(listener):
                listener()

    def listen(self, function: Callable[[], object]) -> None:
        """Call `function` once, when it comes: in this thread if it has come already."""
        self._listeners[function] = None
        if self.done() and self.unlisten(function):
            function()

    def unlisten(self, function: Callable[[], object]) -> bool:
        """Take `listen` back; False if `function` was called, or is about to be."""
        return self._listeners.pop(function, 0) is None

    def wait(self, process: Process | None, timeout: float | None) -> bool:
        """Wait for it; False if it has not come within `timeout` seconds. `process` is whom it depends on.

        Raises:
            CallExit: the process that waits was killed, or an exit signal came that it does not trap.

        """
        done: SimpleQueue[object] = SimpleQueue()
        listener = partial(done.put, None)
        self.listen(listener)
        try:
            with _Pause(process, listener):
                ended = _filled(done, timeout)
        finally:
            missed = self.unlisten(listener)
        return ended or not missed

    async def wait_async(self, process: Process | None) -> None:
        """Like `wait`, for a coroutine, and without a timeout."""
        done, wake = _async_event()
        self.listen(wake)
        try:
            with _Pause(process, wake):
                await done.wait()
        finally:
            self.unlisten(wake)


def call(target: object, message: object, timeout: float | None = 5.0, *, envelope: object = None) -> object:
    """Send `message` to ``handle_call`` and return the reply; wait `timeout` seconds (None: for ever).

    Raises:
        NoProcess: nobody there (at once).
        CallingSelf: the target is the caller (at once).
        CallExit: the server ended before it replied.
        CallTimeout: no reply in time; the server is unharmed and its reply goes nowhere.

    """
    if timeout is not None and not (type(timeout) is float and timeout >= 0):
        check_seconds("timeout", timeout)
    began = clock().monotonic() if telemetry.handlers else None
    done: SimpleQueue[object] = SimpleQueue()
    pending = request(target, message, partial(done.put, None), envelope)
    ended = wait(pending, done, timeout)
    if began is not None and envelope is None:
        _measure(pending, target, began, ended=ended)
    if not ended:
        assert timeout is not None  # noqa: S101
        raise CallTimeout(target, message, timeout)
    return pending.result(target)


def _measure(pending: Request, target: object, began: float, *, ended: bool) -> None:
    outcome = "timeout" if not ended else "reply" if pending.exit is None else "exit"
    telemetry.emit(
        "call",
        {"duration": clock().monotonic() - began},
        {"target": target, "request": pending.message, "outcome": outcome},
    )


async def call_async(  # the timeout is a call's own, and decides who may still reply
    target: object,
    message: object,
    timeout: float | None = 5.0,  # noqa: ASYNC109
) -> object:
    """Like `call`, for a coroutine: the event loop goes on while it waits."""
    if timeout is not None:
        check_seconds("timeout", timeout)
    done, wake = _async_event()
    began = clock().monotonic() if telemetry.handlers else None
    pending = request(target, message, wake)
    me = current()
    # By the library's clock, for the loop's own stands still where ``time.monotonic`` is patched.
    timer = None
    if timeout is not None:
        timer = clock().call_at(clock().monotonic() + timeout, partial(pending.abandon, NORMAL))
    try:
        if me is not None:
            me.begin_wait(pending)
        await done.wait()
    except BaseException:  # the task was cancelled
        pending.abandon(NORMAL)
        raise
    finally:
        if timer is not None:
            timer.cancel()
        if me is not None:
            me.waits.pop(pending, None)
    if me is not None and (me.dead or pending.abandoned):
        me.check_wait()
    ended = not pending.abandoned  # otherwise by the timer: a kill or an exit signal has raised
    if began is not None:
        _measure(pending, target, began, ended=ended)
    if not ended:
        assert timeout is not None  # noqa: S101
        raise CallTimeout(target, message, timeout)
    return pending.result(target)


def _async_event() -> "tuple[asyncio.Event, Callable[[], None]]":
    """Return an event of the running loop, and a function that sets it from any thread."""
    import asyncio  # noqa: PLC0415 - a third of the time that importing gennostr would take; a caller in a loop has it

    loop = asyncio.get_running_loop()
    event = asyncio.Event()

    def wake() -> None:
        try:
            loop.call_soon_threadsafe(event.set)
        except RuntimeError:  # the loop was closed meanwhile: nobody waits any more
            pass

    return event, wake


class PendingReply(Handle):
    """The reply to come of a request that `send_request` has sent.

    It may be waited for in any thread, several times, and by several threads. It compares by identity, so that a dict
    can say what each of many is for. `completion` and `request` are the library's own.
    """

    def __init__(self, target: object, message: object, *, to_self: bool = False) -> None:
        self.target = target
        self.message = message
        self.completion = Completion()
        self.request: Request | None = None
        try:
            self.request = request(target, message, self.completion.end, to_self=to_self)
        except NoProcess:
            self.completion.end()

    def __repr__(self) -> str:
        status = "ended" if self.done() else "pending"
        return f"<PendingReply of {shown(self.target)} to {shown(self.message)}: {status}>"

    def done(self) -> bool:
        """Whether it has ended: `wait` returns, or raises the exit, at once."""
        return self.completion.done()

    def wait(self, timeout: float | None = 5.0) -> Any:
        """Return the reply; wait at most `timeout` seconds (None: for ever).

        Raises:
            NoProcess: there was nobody to send it to.
            CallExit: the server ended before it replied.
            CallTimeout: no reply yet; it is still pending, and may be waited for again.
            CallingSelf: it was sent to the process that would wait here, which could not answer meanwhile.

        """
        if timeout is not None:
            check_seconds("timeout", timeout)
        me = check_fence()
        process = None if self.request is None else self.request.process
        if process is not None and process is me and not self.done():
            raise CallingSelf(self.target)
        if not self.completion.wait(process, timeout):
            assert timeout is not None  # noqa: S101
            raise CallTimeout(self.target, self.message, timeout)
        if self.request is None:
            raise NoProcess(self.target)
        return self.request.result(self.target)


def send_request(target: object, message: object) -> PendingReply:
    """Send `message` to ``handle_call`` of `target` (a pid, name or via) and return at once.

    As with OTP's send_request, a dead or unknown target makes `PendingReply.wait` raise NoProcess.

    Raises:
        CallingSelf: the target is the caller.

    """
    return PendingReply(target, message)


def as_completed(pendings: Iterable[PendingReply], timeout: float | None = None) -> Iterator[PendingReply]:
    """Return an iterator over pending replies as they end, the first to end first, each once.

    `timeout` is for all together, in seconds (None: for ever).

    Raises:
        TimeoutError: from the iterator: some have not ended in time, and are still pending.

    """
    if timeout is not None:
        check_seconds("timeout", timeout)
    deadline = None if timeout is None else clock().monotonic() + timeout
    return _arrivals(list(dict.fromkeys(pendings)), deadline)


def _arrivals(pendings: list[PendingReply], deadline: float | None) -> Iterator[PendingReply]:
    arrived: SimpleQueue[Any] = SimpleQueue()
    listeners = {pending: partial(arrived.put, pending) for pending in pendings}
    for pending, listener in listeners.items():
        pending.completion.listen(listener)
    # The first that has not ended, as far as is known: done is for good, so this only ever moves on.
    first = 0
    try:
        for left in range(len(pendings), 0, -1):
            while first < len(pendings) - 1 and pendings[first].done():
                first += 1
            awaited = pendings[first].request
            try:
                with _Pause(None if awaited is None else awaited.process, partial(arrived.put, None)):
                    ended: Any = take(arrived) if deadline is None else clock().take(arrived, deadline)
            except Empty:
                raise TimeoutError(f"{left} of {len(pendings)} replies did not come in time") from None
            yield ended
    finally:
        for pending, listener in listeners.items():
            pending.completion.unlisten(listener)


def wait_down(process: Process, timeout: float | None) -> tuple[object] | None:
    """Wait until `process` is dead: (reason,), or None if it is not within `timeout` seconds."""
    done: SimpleQueue[object] = SimpleQueue()
    watch = Request(None, process, None, partial(done.put, None))
    if not process.watch(watch, waits=True):
        return (process.reason,)
    return watch.exit if wait(watch, done, timeout) else None
