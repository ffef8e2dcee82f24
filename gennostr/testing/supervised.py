"""Servers that a test starts and need not stop: the fixture `start_supervised`."""

import logging
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any, Self

from gennostr.otp.calls import Request
from gennostr.otp.child import ChildInfo
from gennostr.otp.child_spec import ChildSpec
from gennostr.otp.clock import MACHINE
from gennostr.otp.crash_report import CrashReport
from gennostr.otp.crash_report import logger as crash_logger
from gennostr.otp.gen_server import GenServer
from gennostr.otp.outcomes import UNSET
from gennostr.otp.pid import Pid
from gennostr.otp.process import Process
from gennostr.otp.supervisor import Supervisor, SupervisorPid
from gennostr.testing.probe import described, fits

MOST_RESTARTS = 1_000_000
"""So many that the supervisor never gives up: the test decides what a crash means."""
STOP_TIMEOUT = 10.0
"""Seconds within which all servers of a test must stop."""


class ExpectedCrash:
    """The crash that `Supervised.crashes` expects.

    `report` is set when the ``with`` statement has ended.

    >>> from gennostr import GenServer
    >>> from gennostr.testing import Supervised
    >>> class Fragile(GenServer):
    ...     def handle_cast(self, request, state):
    ...         raise ValueError(request)
    >>> with Supervised() as start_supervised:
    ...     server = start_supervised(Fragile)
    ...     with start_supervised.crashes(ValueError) as crash:
    ...         server.cast("boom")
    >>> crash.report.callback, crash.report.message
    ('handle_cast', 'boom')
    """

    def __init__(self) -> None:
        self._report: CrashReport | None = None

    def __repr__(self) -> str:
        return "<ExpectedCrash, not yet known>" if self._report is None else f"<ExpectedCrash {self._report.pid!r}>"

    @property
    def report(self) -> CrashReport:
        """The report of the crash.

        Raises:
            AssertionError: the ``with`` statement has not ended, or its body has raised before any crash.

        """
        if self._report is None:
            raise AssertionError("the crash report is available when the `with` statement has ended")
        return self._report


def _await_end(process: Process) -> bool:
    """Wait until `process` is dead; return False after `STOP_TIMEOUT`.

    A crash is reported shortly before the death. Waiters are notified of it last: the names are free by then, and the
    supervisor has the exit in its mailbox. The timeout is in machine time, as a manual clock stands still meanwhile.
    """
    ended = threading.Event()
    return not process.watch(Request(None, process, None, ended.set), waits=True) or ended.wait(STOP_TIMEOUT)


class _Arriving(logging.Handler):
    """Puts the crash reports of a supervisor's servers in a queue.

    Those of the actors that the servers have started, too.
    """

    def __init__(self, supervisor: Pid) -> None:
        super().__init__(logging.ERROR)
        self._supervisor = supervisor
        self.reports: SimpleQueue[CrashReport] = SimpleQueue()

    def emit(self, record: logging.LogRecord) -> None:
        report = getattr(record, "crash_report", None)
        if isinstance(report, CrashReport) and self._supervisor in report.ancestors:
            self.reports.put(report)


class Supervised:
    """Starts servers for one test and collects their crash reports.

    They run under a supervisor of the test's own. The fixture `start_supervised` is one. In other test frameworks, use
    it in a ``with`` statement: at its end, the servers are stopped in reverse order, and a crash that was not expected
    raises AssertionError.

    >>> from gennostr import GenServer, Ok, Reply
    >>> from gennostr.testing import Supervised
    >>> class Counter(GenServer):
    ...     def init(self, start):
    ...         return Ok(start)
    ...
    ...     def handle_call(self, request, from_, count):
    ...         return Reply(count)
    >>> with Supervised() as start_supervised:
    ...     counter = start_supervised(Counter, 5)
    ...     counter.call("get")
    5
    >>> counter.is_alive()
    False

    Only one thread at a time may use it; the servers may crash in any thread.
    """

    # The log handler runs in the thread of a crash, and does nothing but put the report in a queue, in one atomic step.
    # The rest is used by the test's thread alone: it takes reports from the queue, numbers them in that order, and
    # removes one when it was expected.

    def __init__(self) -> None:
        self._supervisor: SupervisorPid = Supervisor.start([], max_restarts=MOST_RESTARTS)
        self._handler = _Arriving(self._supervisor)
        self._arriving = self._handler.reports
        # Those not expected so far, by number, oldest first.
        self._reports: dict[int, CrashReport] = {}
        # How many were taken from the queue.
        self._arrived = 0
        # How many servers were started.
        self._count = 0
        crash_logger.addHandler(self._handler)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        crashes = self.end()
        if crashes and kind is None:
            raise AssertionError("\n".join(["a server crashed, which the test did not expect:", *crashes]))

    def __call__(self, child: type[GenServer[Any]] | ChildSpec, argument: Any = UNSET, **overrides: Any) -> Any:
        """Start a server and return its pid.

        It is restarted after a crash, as its child spec says.

        Args:
            child: a server class, or a child spec.
            argument: the argument of the class's init. Default: `None`.
            overrides: fields of the child spec, such as ``restart="temporary"``, and options of `start`, such as
                ``name="counter"``. Each child gets a unique id.

        Raises:
            StartError: it did not start.
            TypeError: an argument has the wrong type, or a child spec is given with further arguments.
            ValueError: an argument is invalid; the message names it.

        """
        if isinstance(child, ChildSpec):
            if argument is not UNSET or overrides:
                raise TypeError(
                    "a child spec is complete: pass neither an argument nor overrides with it "
                    "(dataclasses.replace changes a field)"
                )
            return self._supervisor.start_child(child)
        self._count += 1
        fields = {"id": (child, self._count)} | overrides
        given = () if argument is UNSET else (argument,)
        return self._supervisor.start_child(child.child_spec(*given, **fields))

    def expect_crash(self, reason: object = BaseException, timeout: float = 1.0) -> CrashReport:
        """Wait for the next crash and return its report.

        This crash does not fail the test. Call it after the line that causes the crash; `crashes` is for before. When
        it returns, the server is dead and its name is free; `gennostr.wait_for` waits for the next one of that name.

        Args:
            reason: the expected exit reason, given like a probe's expected message: a type, a value or a function.
                Default: any exception.
            timeout: the maximum wait, in seconds of machine time.

        Raises:
            AssertionError: no crash happened in time, or the next one had another reason, and still fails the test.

        """
        return self._expect(0, reason, timeout)

    @contextmanager
    def crashes(self, reason: object = BaseException, timeout: float = 1.0) -> Iterator[ExpectedCrash]:
        """Expect a crash during a ``with`` statement; this crash does not fail the test.

        At its end, this waits for the crash, if it has not happened yet, and sets `ExpectedCrash.report`. The server is
        then dead and its name free. Crashes from before do not count. If the body raises, as a call does whose server
        crashes, the exception propagates; a crash that caused it has been reported by then and is expected as well, so
        the two can be combined:

            with pytest.raises(CallExit), start_supervised.crashes(ValueError) as crash:
                server.call("boom")

        Args:
            reason: the expected exit reason, given like a probe's expected message: a type, a value or a function.
                Default: any exception.
            timeout: the maximum wait at the end of the body, in seconds of machine time.

        Raises:
            AssertionError: no crash happened in time, or the first one had another reason, and still fails the test.

        """
        self._take_arrived()
        first = self._arrived
        crash = ExpectedCrash()
        try:
            yield crash
        except BaseException:
            # A crash is reported before any caller hears of it, so there is nothing to wait for.
            self._take_arrived()
            number = self._next(first)
            if number is not None and fits(self._reports[number].reason, reason):
                crash._report = self._reports.pop(number)  # noqa: SLF001 - of the same module
                _await_end(crash.report.pid.process)
            raise
        crash._report = self._expect(first, reason, timeout)  # noqa: SLF001

    def _expect(self, first: int, reason: object, timeout: float) -> CrashReport:
        """Remove and return the report that comes next, of those from number `first` on."""
        wanted = f"a crash with {described('a reason', reason)}"
        deadline = MACHINE.monotonic() + timeout
        self._take_arrived()
        while (number := self._next(first)) is None:
            try:
                self._take(self._arriving.get(timeout=max(0.0, deadline - MACHINE.monotonic())))
            except Empty:
                raise AssertionError(
                    f"expected {wanted}, but no server crashed within {timeout:g} s\n"
                    "(to expect a crash before it happens: `with start_supervised.crashes(...):`)"
                ) from None
        report = self._reports[number]
        if not fits(report.reason, reason):
            raise AssertionError(f"expected {wanted}, but\n{report}")
        del self._reports[number]
        _await_end(report.pid.process)
        return report

    def _next(self, first: int) -> int | None:
        return min((number for number in self._reports if number >= first), default=None)

    def _take(self, report: CrashReport) -> None:
        self._reports[self._arrived] = report
        self._arrived += 1

    def _take_arrived(self) -> None:
        try:
            while True:
                self._take(self._arriving.get_nowait())
        except Empty:
            pass

    def _stop(self) -> None:
        """Stop the supervisor."""
        process = self._supervisor.process
        self._supervisor.stop(block=False)
        if not _await_end(process):
            children = () if process.actor is None else process.actor.children()
            pids = [child.pid for child in children if isinstance(child, ChildInfo) and isinstance(child.pid, Pid)]
            for pid in (self._supervisor, *pids):
                pid.process.kill()
            raise AssertionError(f"the servers did not stop within {STOP_TIMEOUT:g} s and were killed: {pids}")

    def end(self) -> list[str]:
        """Stop the servers in reverse order; return unexpected crash reports, as text.

        The fixture and the end of a ``with`` statement call this.

        Raises:
            AssertionError: a server did not stop within 10 s; all of them were killed.

        """
        try:
            self._stop()
        finally:
            crash_logger.removeHandler(self._handler)
        self._take_arrived()
        texts = []
        for report in self._reports.values():
            lines = [str(report)]
            if isinstance(report.reason, BaseException):
                lines += traceback.format_exception(report.reason)
            texts.append("\n".join(lines))
        return texts
