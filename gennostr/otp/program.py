"""Run an actor as a program, until it ends or a signal stops it."""

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
from gennostr.otp.system_limits import raise_open_files
from gennostr.values import shown


def run(server: type[GenServer[Any]], init_arg: Any = None, **options: Any) -> None:
    """Start a server, wait for Ctrl-C, SIGTERM or its end, and stop it.

    It is stopped with reason SHUTDOWN. A callback cannot be interrupted: a busy server, in init or later, stops when
    its callback returns. A second signal does not wait for that. It kills the server and raises in the main thread:
    KeyboardInterrupt for Ctrl-C (like ``asyncio.run``), or SystemExit(143) for SIGTERM (the status that a shell reports
    for a program ended by SIGTERM). The interpreter's exit then does not wait for stuck actors either.

    If called in the main thread, this function handles both signals while it runs and restores their previous handlers
    afterwards. A signal is left alone if it is ignored (``nohup``, a script's background job) or if its handler was not
    set from Python and so could not be restored.

    The soft limit of open files is raised to the hard one (at most 1,048,576) and stays raised, also for programs that
    this one starts: on Linux, each connection takes two descriptors. Windows has no such limit.

    If the server ends with a failure, it is raised here: the exception itself, or RuntimeError with the reason. A
    supervisor that gives up (more than `max_restarts` restarts within `max_seconds`) is a failure too, although its
    reason is the clean SHUTDOWN; also one that ends the server through a link. So the program's exit status is 1, and a
    service manager restarts it. An end by `auto_shutdown` is clean.

    >>> from gennostr import GenServer, Ok, Stop, run
    >>> class Job(GenServer):
    ...     def init(self, text):
    ...         return Ok(text, continue_="work")
    ...     def handle_continue(self, argument, text):
    ...         print(text)
    ...         return Stop()
    >>> run(Job, "done")
    done

    Args:
        server: the class to start: a `GenServer`, a `GenNostr`, or a `Supervisor`.
        init_arg: the argument for its init. Default None.
        options: other keyword arguments of its ``start``, for example ``name="feed"``.

    Returns:
        None, when the server has ended cleanly or its init returned IGNORE.

    Raises:
        StartError: the server did not start; see `GenServer.start`.
        AlreadyStarted: the name is taken.
        RuntimeError: the server ended with a reason that is a failure, but not an exception; or a supervisor gave up.
        Exception: the server ended with this exception.
        KeyboardInterrupt, SystemExit: a second signal arrived before the server had stopped.

    """
    raise_open_files()
    program = _Program()
    with ExitStack() as handlers:
        # SIGINT first, so that it is restored last: its default handler raises, and SIGTERM must be restored by then.
        for number in (signal.SIGINT, signal.SIGTERM):
            _handle(number, program, handlers)
        pid = server.start(init_arg, **options)
        if pid is IGNORE:
            return
        process = pid.process
        try:  # immediately after the start: from here on, a signal that raises leaves no server behind
            program.attend(process)
        finally:  # no effect if it is already dead
            process.kill()
    reason = pid.process.reason
    if not is_clean(reason):
        if isinstance(reason, Exception):
            raise reason
        raise RuntimeError(f"{pid!r} ended with reason {shown(reason)}")
    if reason is SHUTDOWN and process.gave_up:
        raise RuntimeError(f"{pid!r} ended with reason {shown(reason)}: {process.gave_up}")


class _Program:
    """The events that `run` waits for: signals and the server's end."""

    def __init__(self) -> None:
        # Filled by the first signal and by the server's end. A signal handler may only use reentrant operations, such
        # as SimpleQueue.put.
        self._events: SimpleQueue[None] = SimpleQueue()
        self._ended = False
        # Acquired atomically by the first signal: a handler can itself be interrupted by the other signal's handler.
        self._first = allocate_lock()
        # Set by the second signal before it raises: from then on, nothing waits for the server.
        self._urgent = False

    def down(self, process: Process, reason: object) -> None:
        """See `gennostr.otp.process.Watcher`."""
        del process, reason
        self._ended = True  # before the event, so that a thread that takes the event sees it
        self._events.put(None)

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGINT or SIGTERM.

        Python calls this in the main thread, at any point of `run`.
        """
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
        """Wait until `process` is dead; the first signal stops it, the second one raises."""
        if process.watch(self, waits=True):
            try:
                take(self._events)
            finally:  # also if the handler of another signal raised
                self._stop(process)

    def _stop(self, process: Process) -> None:
        if not self._urgent:
            process.deliver(StopRequest(SHUTDOWN))  # dropped if it is dead
            while not self._ended:
                take(self._events)


def _handle(number: signal.Signals, program: _Program, handlers: ExitStack) -> None:
    """Let `program` handle a signal until `handlers` closes.

    Do nothing if the signal is ignored or cannot be handled here.
    """
    before = signal.getsignal(number)
    if before is None or before is signal.SIG_IGN:
        return
    handler = program.on_signal
    try:
        signal.signal(number, handler)
    except ValueError:  # not the main thread, or an embedded Python that does not handle the process's signals
        return
    handlers.callback(_restore, number, handler, before)


def _restore(number: signal.Signals, handler: object, before: Any) -> None:
    if signal.getsignal(number) is handler:  # unless another signal's handler has replaced it in the meantime
        signal.signal(number, before)
