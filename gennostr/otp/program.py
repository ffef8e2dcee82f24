"""An actor as a program: run it until it is told to stop."""

import logging
import signal
import threading
from _thread import allocate_lock
from types import FrameType
from typing import Any

from gennostr.exceptions import CallError
from gennostr.otp.gen_server import GenServer
from gennostr.otp.outcomes import IGNORE
from gennostr.otp.process import Process
from gennostr.otp.reasons import SHUTDOWN, is_clean

logger = logging.getLogger(__name__)


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
        pid: Any = server.start(init_arg, **options)
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
