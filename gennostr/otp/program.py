"""Actors as a program: run one until it is told to stop, and stop what is left when the interpreter exits.

Actors run in daemon threads, so a program that forgets them exits all the same; before it does, those that nobody else
stops (the roots: started with ``start``, not ``start_link``) are stopped in order, the newest first, and each takes its
tree with it.
"""

import atexit
import logging
import signal
import threading
from _thread import allocate_lock
from types import FrameType
from typing import Any, Final

from gennostr.exceptions import CallError, CallTimeout
from gennostr.otp.clock import clock
from gennostr.otp.gen_server import GenServer
from gennostr.otp.outcomes import IGNORE
from gennostr.otp.process import Process, alive
from gennostr.otp.reasons import SHUTDOWN, is_clean

logger = logging.getLogger(__name__)

EXIT_TIMEOUT: Final = 5.0
"""Seconds that all root actors together have to stop when the interpreter exits; then they are killed."""
LEAST_TIME: Final = 0.1
"""Seconds that each of them has all the same, so that one that is stuck does not cost the others their terminate."""


class _Wait:
    def __init__(self) -> None:
        self.lock = allocate_lock()
        self.lock.acquire()
        self.signalled = False

    def down(self, process: Process, reason: object) -> None:
        del process, reason
        self._release()

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.signalled = True
        self._release()

    def _release(self) -> None:
        try:
            self.lock.release()
        except RuntimeError:  # released already
            pass


def run(server: type[GenServer[Any]], init_arg: Any = None, **options: Any) -> None:
    """Start `server`, wait for Ctrl-C, SIGTERM or its end, and stop it in order (reason SHUTDOWN).

    The two signals are this function's while it runs, if it is called in the main thread. A server that ended for a
    failure raises that failure here: the exception, or RuntimeError with the reason.

    Raises:
        StartError: it did not start; see `GenServer.start`.

    """
    wait = _Wait()
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, wait.on_signal)
    try:
        pid = server.start(init_arg, **options)
        if pid is IGNORE:
            return
        if pid.process.watch(wait, waits=True):
            wait.lock.acquire()
        if wait.signalled:
            try:
                pid.stop(SHUTDOWN)
            except CallError:
                pass  # it ended meanwhile; its reason is looked at below
        reason = pid.process.reason
        if not is_clean(reason):
            if isinstance(reason, Exception):
                raise reason
            raise RuntimeError(f"{pid!r} ended: {reason!r}")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@atexit.register
def stop_roots() -> None:
    """Stop every root actor in order, reason SHUTDOWN; kill what has not stopped in time."""
    deadline = clock().monotonic() + EXIT_TIMEOUT
    for process in reversed(alive()):
        if process.parent is not None:
            continue
        try:
            process.pid.stop(SHUTDOWN, max(LEAST_TIME, deadline - clock().monotonic()))
        except CallTimeout:
            logger.warning("%r did not stop before the interpreter exits, and is killed", process.pid)
            process.kill()
        except CallError:
            pass  # it ended meanwhile, or in terminate, which its crash report says
