"""Calls: a request, and the one reply or exit that ends it.

A call is: watch the server, send the request, wait for the reply, for the server's death or for the timeout,
whichever comes first. The `Request` itself is the watcher, and ends once: whoever `claim`s it decides the outcome,
and what comes later (a second reply, the reply to a call that timed out) reaches nobody. So no call can wait
on a dead process, whatever happened to its mailbox.
"""

from _thread import allocate_lock
from collections.abc import Callable

from gennostr.exceptions import CallExit, CallingSelf, CallTimeout, NoProcess
from gennostr.otp.clock import clock
from gennostr.otp.names import resolve
from gennostr.otp.outcomes import UNSET, check_seconds
from gennostr.otp.process import Process, check_fence, fenced


class Request:
    """A request under way: what ``handle_call`` gets as `from_`."""

    __slots__ = ("_claim", "_on_done", "caller", "exit", "message", "process", "value")

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
        self._on_done = on_done
        self._claim = allocate_lock()

    def __repr__(self) -> str:
        return f"<Request {self.message!r} from {self.caller!r} to {self.process!r}>"

    def claim(self) -> bool:
        """Take the right to end this request; True for the first only."""
        return self._claim.acquire(False)  # noqa: FBT003

    def reply(self, value: object) -> None:
        """End it with `value`."""
        if self.claim():
            self.process.unwatch(self)
            self.value = value
            self._on_done()

    def down(self, process: Process, reason: object) -> None:
        """End it with the server's exit."""
        del process
        if self.claim():
            self.exit = (reason,)
            self._on_done()

    def result(self, target: object) -> object:
        """Return the reply, or raise CallExit, once it has ended."""
        if self.exit is not None:
            raise CallExit(self.exit[0], target)
        return self.value


class Failure:
    """A reply that is raised in the caller."""

    __slots__ = ("exception",)

    def __init__(self, exception: BaseException) -> None:
        self.exception = exception


def reply(from_: Request, value: object) -> None:
    """Answer a call, from any actor or thread. The first reply wins; later ones go nowhere."""
    if not isinstance(from_, Request):
        raise TypeError(f"reply needs the from_ of handle_call, not {from_!r}")
    if not fenced():
        from_.reply(value)


def _open(target: object, me: Process | None) -> Process:
    process = resolve(target)
    if process is None:
        raise NoProcess(target)
    if process is me:
        raise CallingSelf(target)
    return process


def request(target: object, message: object, on_done: Callable[[], object], envelope: object = None) -> Request:
    """Send a request; `on_done` is called, in whatever thread, when it has ended.

    Raises:
        NoProcess, CallingSelf: see `call`.

    """
    me = check_fence()
    process = _open(target, me)
    pending = Request(message, process, me, on_done)
    # Watched before it is sent: from here on the server's death ends it, wherever the message is then.
    if not process.watch(pending):
        raise NoProcess(target)
    process.mailbox.put(pending if envelope is None else envelope)
    return pending


def call(target: object, message: object, timeout: float | None = 5.0, *, envelope: object = None) -> object:
    """Send `message` to ``handle_call`` and return the reply; wait `timeout` seconds (None: for ever).

    Raises:
        NoProcess: nobody there (at once).
        CallingSelf: the target is the caller (at once).
        CallExit: the server ended before it replied.
        CallTimeout: no reply in time; the server is unharmed and its reply goes nowhere.

    """
    if timeout is not None:
        check_seconds("timeout", timeout)
    done = allocate_lock()
    done.acquire()
    pending = request(target, message, done.release, envelope)
    if not clock().acquire(done, timeout):
        if timeout is not None and pending.claim():
            pending.process.unwatch(pending)
            raise CallTimeout(target, message, timeout)
        done.acquire()  # the reply won the race: it is being delivered
    value = pending.result(target)
    if type(value) is Failure:
        raise value.exception
    return value


async def call_async(  # the timeout is a call's own, and decides who may still reply
    target: object,
    message: object,
    timeout: float | None = 5.0,  # noqa: ASYNC109
) -> object:
    """Like `call`, for a coroutine: the event loop goes on while it waits."""
    if timeout is not None:
        check_seconds("timeout", timeout)
    import asyncio  # noqa: PLC0415 - a third of the time that importing gennostr would take; who calls this has it

    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def wake() -> None:
        try:
            loop.call_soon_threadsafe(done.set)
        except RuntimeError:  # the loop was closed meanwhile: nobody waits any more
            pass

    pending = request(target, message, wake)
    try:
        async with asyncio.timeout(timeout):
            await done.wait()
    except TimeoutError:
        if timeout is not None and pending.claim():
            raise CallTimeout(target, message, timeout) from None
        await done.wait()  # the reply won the race: it is being delivered
    finally:
        pending.process.unwatch(pending)
    value = pending.result(target)
    if type(value) is Failure:
        raise value.exception
    return value


def wait_down(process: Process, timeout: float | None) -> tuple[object] | None:
    """Wait until `process` is dead: (reason,), or None if it is not within `timeout` seconds."""
    done = allocate_lock()
    done.acquire()
    watch = Request(None, process, None, done.release)
    if not process.watch(watch):
        return (process.reason,)
    if clock().acquire(done, timeout):
        return watch.exit
    process.unwatch(watch)
    return None
