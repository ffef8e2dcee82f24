"""Servers that a test starts and need not stop: the fixture ``start_supervised``."""

import logging
import threading
import traceback
from queue import Empty, SimpleQueue
from typing import Any

from gennostr.otp.calls import Request
from gennostr.otp.child import ChildInfo
from gennostr.otp.child_spec import ChildSpec
from gennostr.otp.crash_report import CrashReport
from gennostr.otp.crash_report import logger as crash_logger
from gennostr.otp.gen_server import GenServer
from gennostr.otp.outcomes import UNSET
from gennostr.otp.pid import Pid
from gennostr.otp.supervisor import Supervisor, SupervisorPid
from gennostr.testing.probe import fits, said

MOST_RESTARTS = 1_000_000
"""So many that the supervisor never gives up: the test decides what a crash means."""
STOP_TIMEOUT = 10.0
"""Seconds within which all servers of a test must stop."""


class Supervised(logging.Handler):
    """Starts servers under its own supervisor and collects their crash reports."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._supervisor: SupervisorPid = Supervisor.start([], max_restarts=MOST_RESTARTS)
        self._reports: SimpleQueue[CrashReport] = SimpleQueue()
        self._count = 0
        crash_logger.addHandler(self)

    def __call__(self, child: type[GenServer[Any]] | ChildSpec, argument: Any = UNSET, **overrides: Any) -> Any:
        """Start `child` (a server class and the argument of its init, or a child spec) and return its pid.

        `overrides` are fields of the child spec, such as ``restart="temporary"``. Each child gets a unique id, and is
        restarted after a crash as its child spec says.

        Raises:
            StartError: it did not start.
            TypeError: an argument has the wrong type, or a child spec is given with further arguments.
            ValueError: an argument is invalid; the message names it.

        """
        if isinstance(child, ChildSpec):
            if argument is not UNSET or overrides:
                raise TypeError("a child specification says all: it takes neither an argument nor overrides")
            return self._supervisor.start_child(child)
        self._count += 1
        fields = {"id": (child, self._count)} | overrides
        given = () if argument is UNSET else (argument,)
        return self._supervisor.start_child(child.child_spec(*given, **fields))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the crash report of one of our servers, or of an actor that one of them has started."""
        report = getattr(record, "crash_report", None)
        if isinstance(report, CrashReport) and self._supervisor in report.ancestors:
            self._reports.put(report)

    def expect_crash(self, reason: object = BaseException, timeout: float = 1.0) -> CrashReport:
        """Wait at most `timeout` seconds for the next crash and return its report.

        This crash does not fail the test. `reason` is given like a probe's expected message: a type, a value or a
        function.

        Raises:
            AssertionError: no crash happened, or its reason was another.

        """
        wanted = f"a crash whose reason is {said(reason)}"
        try:
            report = self._reports.get(timeout=timeout)
        except Empty:
            raise AssertionError(f"expected {wanted} within {timeout:g} s, and none came") from None
        if not fits(report.reason, reason):
            self._reports.put(report)
            raise AssertionError(f"expected {wanted}, but\n{report}")
        return report

    def _stop(self) -> None:
        """Stop the supervisor. The timeout is in machine time, as a manual clock stands still meanwhile."""
        process = self._supervisor.process
        stopped = threading.Event()
        if process.watch(Request(None, process, None, stopped.set), waits=True):
            self._supervisor.stop(block=False)
            if not stopped.wait(STOP_TIMEOUT):
                children = () if process.actor is None else process.actor.children()
                pids = [child.pid for child in children if isinstance(child, ChildInfo) and isinstance(child.pid, Pid)]
                for pid in (self._supervisor, *pids):
                    pid.process.kill()
                raise AssertionError(f"the servers did not stop within {STOP_TIMEOUT:g} s and were killed: {pids}")

    def end(self) -> list[str]:
        """Stop the servers in reverse order; return the reports of unexpected crashes, as text."""
        try:
            self._stop()
        finally:
            crash_logger.removeHandler(self)
        texts = []
        while not self._reports.empty():
            report = self._reports.get()
            lines = [str(report)]
            if isinstance(report.reason, BaseException):
                lines += traceback.format_exception(report.reason)
            texts.append("\n".join(lines))
        return texts
