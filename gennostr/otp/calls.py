"""Calls: a request, and the one reply or exit that ends it.

A call watches the server, sends the request, and waits for the reply, the server's death or the timeout, whichever
comes first. The `Request` itself is the watcher, and ends once: the first to `claim` it decides the outcome, and
anything later (a second reply, a reply after the timeout) is discarded. So no call can wait on a dead process, whatever
happened to its mailbox.

There are three ways to wait: `call` blocks, `call_async` awaits, and `send_request` returns a `PendingReply` to wait
for later.
"""

from _thread import allocate_lock
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from gennostr.exceptions import CallExit, CallingSelf, CallTimeout, NoProcess
from gennostr.otp import telemetry
from gennostr.otp.clock import clock
from gennostr.otp.mailbox import take
from gennostr.otp.names import resolve
from gennostr.otp.outcomes import UNSET, check_seconds
from gennostr.otp.process import Process, current_process
from gennostr.otp.reasons import NORMAL
from gennostr.otp.waits import Completion, InterruptibleWait, async_event, wait_for_item
from gennostr.values import Handle, shown


class Request(Handle):
    """A pending request: the `from_` of ``handle_call``.

    Pass it to `reply` or `reply_error`, from any actor or thread; the first reply wins. It compares by identity, so it
    can be kept in a set or dict. Its methods are the library's own.

    >>> from gennostr import GenServer, NoReply, reply
    >>> class Desk(GenServer):
    ...     def handle_call(self, request, from_, state):
    ...         print(type(from_).__name__, from_.message)
    ...         reply(from_, "done")
    ...         return NoReply()
    >>> with Desk.start() as desk:
    ...     desk.call("stamp")
    Request stamp
    'done'

    Attributes:
        message: the request.
        process, caller, value, exit, abandoned: the library's own.

    """

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
        """Claim the right to end this request; return True for the first caller only."""
        return self._claim.acquire(False)  # noqa: FBT003

    def reply(self, value: object) -> None:
        """End the request with `value`."""
        if self.claim():
            self.fulfil(value)

    def fulfil(self, value: object) -> None:
        """End the claimed request with `value`."""
        self.value = value
        self._on_done()
        # Last, so that the waiting thread wakes up during it. A death in between finds the request already claimed.
        self.process.unwatch(self)

    def down(self, process: Process, reason: object) -> None:
        """End the request with the server's exit."""
        del process
        if self.claim():
            self.exit = (reason,)
            self._on_done()

    def abandon(self, reason: object) -> bool:
        """End the request because nobody waits for it any more.

        A later reply is discarded. Return False if it has already ended.
        """
        if not self.claim():
            return False
        self.process.unwatch(self)
        self.abandoned = True
        self.exit = (reason,)
        self._on_done()
        return True

    def result(self, target: object) -> object:
        """Return the reply, or raise the exit or exception that ended the request."""
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
        # Restored at each raise; otherwise it would grow with each wait for the same reply.
        self.trace = exception.__traceback__


def reply(from_: Request, value: object) -> None:
    """Reply to a call, from any actor or thread.

    The first reply wins; later ones, and one that arrives after the caller's timeout, are discarded. OTP:
    ``gen_server:reply/2``.

    >>> from gennostr import GenServer, NoReply, reply
    >>> class Slow(GenServer):
    ...     def handle_call(self, request, from_, state):
    ...         self.pid.cast((from_, request))
    ...         return NoReply()
    ...     def handle_cast(self, request, state):
    ...         from_, number = request
    ...         reply(from_, number * 2)
    >>> with Slow.start() as slow:
    ...     slow.call(21)
    42

    Args:
        from_: the second argument of ``handle_call``.
        value: the reply; any value.

    Raises:
        TypeError: `from_` is not a `Request`.

    """
    if not isinstance(from_, Request):
        raise TypeError(f"reply takes the from_ argument of handle_call, not {shown(from_)}")
    me = current_process()
    if me is None:
        won = from_.claim()
    else:
        with me.lock:  # atomic with the check of `dead`, as in Process.put_from
            won = not me.dead and from_.claim()
    if won:
        from_.fulfil(value)


def reply_error(from_: Request, exception: BaseException) -> None:
    """Reply to a call with an exception, which is raised in the caller.

    Otherwise like `reply`. The server keeps running. If a callback raises instead, the server dies, and the caller gets
    `CallExit`.

    >>> from gennostr import GenServer, NoReply, Reply, reply_error
    >>> class Prices(GenServer):
    ...     def handle_call(self, request, from_, prices):
    ...         if request not in prices:
    ...             reply_error(from_, KeyError(request))
    ...             return NoReply()
    ...         return Reply(prices[request])
    >>> with Prices.start({"tea": 3}) as prices:
    ...     prices.call("tea")
    ...     try:
    ...         prices.call("gold")
    ...     except KeyError as error:
    ...         print("no price for", error)
    3
    no price for 'gold'

    Args:
        from_: the second argument of ``handle_call``.
        exception: what the caller's wait raises.

    Raises:
        TypeError: `from_` is not a `Request`, or `exception` is not an exception.

    """
    if not isinstance(exception, BaseException):
        raise TypeError(f"reply_error takes an exception, not {shown(exception)}")
    reply(from_, Failure(exception))


def request(
    target: object,
    message: object,
    on_done: Callable[[], object],
    envelope: object = None,
    *,
    to_self: bool = False,
    blocks: bool = False,
) -> Request:
    """Send a request; `on_done` is called, in any thread, once the request has ended.

    Raises:
        NoProcess, CallingSelf: see `call`. With `to_self`, a process may send itself a request, without waiting for it.
            So may a process that `answers_itself`, unless its thread `blocks` until the request is answered.

    """
    me = current_process()
    if me is not None and (me.dead or me.interrupt is not None):
        me.check_wait()
    process = resolve(target)
    if process is None:
        raise NoProcess(target)
    if process is me and not to_self and (blocks or not process.answers_itself):
        raise CallingSelf(target)
    pending = Request(message, process, me, on_done)
    # Watched before it is sent: from here on the server's death ends the request, wherever the message is.
    if not process.watch(pending, waits=True):
        raise NoProcess(target)
    if not process.put_from(me, pending if envelope is None else envelope):
        process.unwatch(pending)
        assert me is not None  # noqa: S101 - a plain thread's messages are always put
        me.check_wait()  # killed in the meantime
    return pending


def wait(pending: Request, done: "SimpleQueue[object]", timeout: float | None) -> bool:
    """Wait until `pending` has ended, which fills `done`.

    Return False if it was abandoned after `timeout` seconds.

    Raises:
        CallExit: the waiting process was killed or received an exit signal that it does not trap.

    """
    me = pending.caller or current_process()  # saves a call one lookup
    try:
        if me is not None:
            me.begin_wait(pending)
        ended = wait_for_item(done, timeout)
        if not ended and not pending.abandon(NORMAL):
            done.get()  # a reply or exit won the race against the timeout and is being delivered
            ended = True
    except BaseException:  # Ctrl-C
        pending.abandon(NORMAL)
        raise
    finally:
        if me is not None:
            me.waits.pop(pending, None)
    # A reply that arrived first is not lost: the exit signal then takes effect at the next wait or message.
    if me is not None and (me.dead or pending.abandoned):
        me.check_wait()
    return ended


def call(target: object, message: object, timeout: float | None = 5.0, *, envelope: object = None) -> object:
    """Send `message` to ``handle_call`` and return the reply.

    Waits at most `timeout` seconds; None waits forever.

    Raises:
        NoProcess: the target is dead or unknown (raised at once).
        CallingSelf: the target is the calling process (raised at once).
        CallExit: the server ended before it replied.
        CallTimeout: no reply within `timeout`; the server is not affected, and a late reply is discarded.

    """
    if timeout is not None and not (type(timeout) is float and timeout >= 0):
        check_seconds("timeout", timeout)
    began = clock().monotonic() if telemetry.handlers else None
    done: SimpleQueue[object] = SimpleQueue()
    pending = request(target, message, partial(done.put, None), envelope, blocks=True)
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


async def call_async(  # the timeout is the call's own: it decides whether a reply still counts
    target: object,
    message: object,
    timeout: float | None = 5.0,  # noqa: ASYNC109
) -> object:
    """Like `call`, but for a coroutine: the event loop keeps running while it waits."""
    if timeout is not None:
        check_seconds("timeout", timeout)
    done, wake = async_event()
    began = clock().monotonic() if telemetry.handlers else None
    pending = request(target, message, wake)
    me = current_process()
    # Uses the library's clock, because the loop's own clock stands still if ``time.monotonic`` is patched.
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
    ended = not pending.abandoned  # abandoned here means by the timer: a kill or an exit signal would have raised
    if began is not None:
        _measure(pending, target, began, ended=ended)
    if not ended:
        assert timeout is not None  # noqa: S101
        raise CallTimeout(target, message, timeout)
    return pending.result(target)


class PendingReply(Handle):
    """The pending reply to a request sent by `send_request`.

    Any number of threads can wait for it, any number of times. It compares by identity and can be a dict key, to record
    what each pending reply is for. OTP: the request id of ``gen_server:send_request/2``.

    >>> from gennostr import GenServer, Reply
    >>> class Square(GenServer):
    ...     def handle_call(self, request, from_, state):
    ...         return Reply(request * request)
    >>> with Square.start() as square:
    ...     pending = square.send_request(12)
    ...     pending.wait(), pending.done(), pending.message
    (144, True, 12)

    Attributes:
        target: the pid, name or via that was given.
        message: the request.
        completion, request: the library's own.

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
        """Return whether the request has ended, so that `wait` returns or raises at once."""
        return self.completion.done()

    def wait(self, timeout: float | None = 5.0) -> Any:
        """Return the reply.

        OTP: ``gen_server:wait_response/2``.

        Args:
            timeout: seconds to wait; None waits forever. Default 5.0.

        Raises:
            NoProcess: the target was dead or unknown.
            CallExit: the server ended before it replied.
            CallTimeout: no reply yet; the request is still pending, and `wait` can be called again.
            CallingSelf: the target is the waiting process itself, which could not reply while it waits.
            TypeError, ValueError: `timeout` is not a number of seconds.
            BaseException: what the server passed to `reply_error`.

        """
        if timeout is not None:
            check_seconds("timeout", timeout)
        me = current_process()
        if me is not None:
            me.check_wait()
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
    """Send a request to ``handle_call`` of a server; do not wait for the reply.

    Useful to send several requests at once; see also `as_completed`. OTP: ``gen_server:send_request/2``.

    >>> from gennostr import GenServer, Reply, send_request
    >>> class Square(GenServer):
    ...     def handle_call(self, request, from_, state):
    ...         return Reply(request * request)
    >>> with Square.start(name="square"):
    ...     pendings = [send_request("square", number) for number in (1, 2, 3)]
    ...     [pending.wait() for pending in pendings]
    [1, 4, 9]

    Args:
        target: a pid, a name or a via. If it is dead or unknown, `PendingReply.wait` raises NoProcess, as in OTP.
        message: the request; any value.

    Returns:
        A `PendingReply`, at once.

    Raises:
        CallingSelf: the target is the calling process.
        TypeError: `target` is not a pid, name or via.

    """
    return PendingReply(target, message)


def as_completed(pendings: Iterable[PendingReply], timeout: float | None = None) -> Iterator[PendingReply]:
    """Iterate over pending replies in the order in which they end, each once.

    OTP: ``gen_server:receive_response/3`` with a collection of request ids.

    >>> from gennostr import GenServer, Reply, as_completed, send_request
    >>> class Square(GenServer):
    ...     def handle_call(self, request, from_, state):
    ...         return Reply(request * request)
    >>> with Square.start() as one, Square.start() as two:
    ...     pendings = {send_request(one, 3): "one", send_request(two, 4): "two"}
    ...     sorted((pendings[each], each.wait()) for each in as_completed(pendings))
    [('one', 9), ('two', 16)]

    Args:
        pendings: what `send_request` returned.
        timeout: seconds for all of them together; None, the default, waits forever.

    Returns:
        An iterator of pending replies that have ended, so their ``wait`` returns or raises at once.

    Raises:
        TimeoutError: raised by the iterator if some have not ended in time; they are still pending.
        TypeError, ValueError: `timeout` is not a number of seconds.

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
    # The first reply not known to have ended. An ended reply stays ended, so this only increases.
    first = 0
    try:
        for left in range(len(pendings), 0, -1):
            while first < len(pendings) - 1 and pendings[first].done():
                first += 1
            awaited = pendings[first].request
            try:
                with InterruptibleWait(None if awaited is None else awaited.process, partial(arrived.put, None)):
                    ended: Any = take(arrived) if deadline is None else clock().take(arrived, deadline)
            except Empty:
                raise TimeoutError(f"{left} of {len(pendings)} replies did not arrive in time") from None
            yield ended
    finally:
        for pending, listener in listeners.items():
            pending.completion.unlisten(listener)


def wait_down(process: Process, timeout: float | None) -> tuple[object] | None:
    """Wait until `process` is dead; return (reason,).

    Return None if it is alive after `timeout` seconds.
    """
    done: SimpleQueue[object] = SimpleQueue()
    watch = Request(None, process, None, partial(done.put, None))
    if not process.watch(watch, waits=True):
        return (process.reason,)
    return watch.exit if wait(watch, done, timeout) else None
