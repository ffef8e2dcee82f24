"""Waits of processes: with a deadline, and ended by a kill or an exit signal.

Deadlines are on the library's clock.

Whatever waits for another process waits in one of these: a call, a pending reply, a publication, `wait_for`.
"""

from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from gennostr.otp.clock import clock
from gennostr.otp.mailbox import take
from gennostr.otp.process import Process, current_process

if TYPE_CHECKING:
    import asyncio


def wait_for_item(done: "SimpleQueue[object]", timeout: float | None) -> bool:
    """Wait for an item in `done`; return False if none arrives in time."""
    if timeout is None:
        take(done)
        return True
    now = clock()
    try:
        now.take(done, now.monotonic() + timeout)
    except Empty:
        return False
    return True


class InterruptibleWait:
    """A context manager for a wait that a kill or an exit signal can end.

    The signal calls `wake`, and leaving the context raises CallExit. `process` is the process waited for. The function
    `gennostr.otp.calls.wait` does the same for a request with only one waiter.
    """

    __slots__ = ("_me", "_wake", "process")

    def __init__(self, process: Process | None, wake: Callable[[], object]) -> None:
        self.process = process
        self._me = current_process()
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
    """A one-time event with listeners, for which any number of threads can wait.

    It uses no lock: between any two lines a finalizer may run and wait for something that another thread needs the lock
    to provide. Each line is one atomic operation on a dict or a queue, and their order matters: a listener is added
    before `_ended` is checked, and `_ended` is filled before the listeners are read, so one side sees the other. Only
    the thread that removes a listener from the dict calls it.
    """

    __slots__ = ("_ended", "_listeners")

    def __init__(self) -> None:
        # Filled on completion, and never emptied.
        self._ended: SimpleQueue[None] = SimpleQueue()
        self._listeners: dict[Callable[[], object], None] = {}

    def done(self) -> bool:
        """Return whether it has completed."""
        return not self._ended.empty()

    def end(self, cause: object = None) -> None:
        """Complete it; called once, in any thread.

        As a future's callback, it receives the future as `cause` and ignores it.
        """
        del cause
        self._ended.put(None)
        for listener in list(self._listeners):
            if self.unlisten(listener):
                listener()

    def listen(self, function: Callable[[], object]) -> None:
        """Call `function` once, on completion.

        If it is already complete, call it now, in this thread.
        """
        self._listeners[function] = None
        if self.done() and self.unlisten(function):
            function()

    def unlisten(self, function: Callable[[], object]) -> bool:
        """Undo `listen`; return False if `function` was called or is about to be."""
        return self._listeners.pop(function, 0) is None

    def has_listeners(self) -> bool:
        """Return whether anything listens for it at this moment."""
        return bool(list(self._listeners))

    def wait(self, process: Process | None, timeout: float | None) -> bool:
        """Wait for completion; return False after `timeout` seconds.

        `process` is the process that it depends on.

        Raises:
            CallExit: the waiting process was killed or received an exit signal that it does not trap.

        """
        done: SimpleQueue[object] = SimpleQueue()
        listener = partial(done.put, None)
        self.listen(listener)
        try:
            with InterruptibleWait(process, listener):
                ended = wait_for_item(done, timeout)
        finally:
            missed = self.unlisten(listener)
        return ended or not missed

    async def wait_async(self, process: Process | None) -> None:
        """Like `wait`, but for a coroutine and without a timeout."""
        done, wake = async_event()
        self.listen(wake)
        try:
            with InterruptibleWait(process, wake):
                await done.wait()
        finally:
            self.unlisten(wake)


def async_event() -> "tuple[asyncio.Event, Callable[[], None]]":
    """Return an event of the running loop, and a function that sets it.

    The function can be called in any thread.
    """
    import asyncio  # noqa: PLC0415 - a third of the import time of gennostr; a caller in a loop has imported it

    loop = asyncio.get_running_loop()
    event = asyncio.Event()

    def wake() -> None:
        try:
            loop.call_soon_threadsafe(event.set)
        except RuntimeError:  # the loop was closed in the meantime: nobody is waiting
            pass

    return event, wake
