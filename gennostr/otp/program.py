"""An actor as a program: run it until a signal asks it to stop."""

import signal
from _thread import allocate_lock
from contextlib import ExitStack
from queue import SimpleQueue
from types import FrameType
from typing import Any

from gennostr.otp import interpreter_exit
from gennostr.otp.envelopes import StopRequest
from gennostr.otp.gen_server import GenServer
from gennostr.otp.mailbox import take
from gennostr.otp.outcomes import IGNORE
from gennostr.otp.process import Process
from gennostr.otp.reasons import SHUTDOWN, is_clean
from gennostr.values import shown


def run(server: type[GenServer[Any]], init_arg: Any = None, **options: Any) -> None:
    """Start `server`, wait for Ctrl-C, SIGTERM or its end, and stop it in order (reason SHUTDOWN).

    A callback cannot be interrupted: a server that is busy, in init as anywhere else, stops when the callback has
    returned. The second signal does not wait for that. It kills the server and raises in the main thread
    KeyboardInterrupt for Ctrl-C (as ``asyncio.run`` does) and SystemExit(143) for SIGTERM (the status that a shell
    reports for a program ended by SIGTERM); nor does the interpreter's exit wait for actors that are stuck.

    The two signals are this function's while it runs, if it is called in the main thread; afterwards each has the
    handler that it had before. One that is ignored (``nohup``, a script's background job), or whose handler was not
    set from Python and so could not be restored, is left alone.

    A server that ended for a failure raises that failure here: the exception, or RuntimeError with the reason.

    Args:
        server: the class to start.
        init_arg: the argument of its init.
        options: what else its ``start`` takes, for example ``name="feed"``.

    Raises:
        StartError: it did not start; see `GenServer.start`.
        KeyboardInterrupt, SystemExit: a second signal came before the server had stopped.

    """
    program = _Program()
    with ExitStack() as handlers:
        # SIGINT first, and so restored last: its default handler raises, which must not leave the other one behind.
        for number in (signal.SIGINT, signal.SIGTERM):
            _handle(number, program, handlers)
        pid = server.start(init_arg, **options)
        if pid is IGNORE:
            return
        process = pid.process
        try:  # in the very next step: from here on a signal that raises leaves no server behind
            program.attend(process)
        finally:  # without effect on the dead
            process.kill()
    reason = pid.process.reason
    if not is_clean(reason):
        if isinstance(reason, Exception):
            raise reason
        raise RuntimeError(f"{pid!r} ended: {shown(reason)}")


class _Program:
    """What `run` waits for: the server's end, and signals."""

    def __init__(self) -> None:
        # Filled by the first signal and by the server's end. What a signal handler does must be reentrant, and
        # SimpleQueue.put is.
        self._events: SimpleQueue[None] = SimpleQueue()
        self._ended = False
        # Taken by the first signal, in one step: a handler can itself be interrupted by the other signal's.
        self._first = allocate_lock()
        # Set by the second signal before it raises: from then on nothing waits for the server.
        self._urgent = False

    def down(self, process: Process, reason: object) -> None:
        """See `gennostr.otp.process.Watcher`."""
        del process, reason
        self._ended = True  # before the event, so that who has taken that sees it
        self._events.put(None)

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGINT or SIGTERM; Python calls this in the main thread, between any two steps of `run`."""
        del frame
        if self._first.acquire(blocking=False):
            self._events.put(None)
            return
        self._urgent = True
        interpreter_exit.hurry()
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    def attend(self, process: Process) -> None:
        """Return when `process` is dead, by itself or stopped in order after a signal; the second signal raises."""
        if process.watch(self, waits=True):
            try:
                take(self._events)
            finally:  # also where the handler of another signal has raised
                self._stop(process)

    def _stop(self, process: Process) -> None:
        if not self._urgent:
            process.deliver(StopRequest(SHUTDOWN))  # the dead drop it
            while not self._ended:
                take(self._events)


def _handle(number: signal.Signals, program: _Program, handlers: ExitStack) -> None:
    """Have `program` handle a signal until `handlers` closes, unless it is ignored or cannot be handled here."""
    before = signal.getsignal(number)
    if before is None or before is signal.SIG_IGN:
        return
    handler = program.on_signal
    try:
        signal.signal(number, handler)
    except ValueError:  # not the main thread, or Python does not have the process's signals (it is embedded)
        return
    handlers.callback(_restore, number, handler, before)


def _restore(number: signal.Signals, handler: object, before: Any) -> None:
    if signal.getsignal(number) is handler:  # not one that another signal's handler has installed meanwhile
        signal.signal(number, before)
