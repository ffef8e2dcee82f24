"""The crash report: the one log record of a server that ends with a failure.

It is logged at ERROR as text and, for programs, as the record's attribute ``crash_report``. The message, the state and
the exception text may contain data from a peer: control characters are escaped and tracebacks indented, so that a peer
cannot forge a log line.

A QueueHandler or SocketHandler can send the record to another process (text replaces what cannot be pickled), and JSON
formatters can write it.
"""

import logging
from typing import NoReturn

from gennostr.otp import tracebacks
from gennostr.otp.pid import Pid
from gennostr.otp.process import Process
from gennostr.values import Record, shown

logger = logging.getLogger(__name__)
logger.addFilter(tracebacks.escape)


class CrashReport(Record):
    """What a server was doing when it crashed: the log record's ``crash_report``.

    Logged once at ERROR by ``gennostr.otp.crash_report`` for each server that ends with a failure. State, message and
    reason are those that format_status returned.

    >>> import logging
    >>> from gennostr import CallExit, CrashReport, GenServer, Reply
    >>> reports: list[CrashReport] = []
    >>> class Keep(logging.Handler):
    ...     def emit(self, record):
    ...         if hasattr(record, "crash_report"):
    ...             reports.append(record.crash_report)
    >>> handler = Keep()
    >>> logging.getLogger("gennostr").addHandler(handler)
    >>> class Divider(GenServer):
    ...     def handle_call(self, request, from_, state):
    ...         return Reply(state / request)
    >>> divider = Divider.start(5)
    >>> try:
    ...     divider.call(0)
    ... except CallExit:
    ...     print(reports[0].callback, reports[0].message, reports[0].state, repr(reports[0].reason))
    handle_call 0 5 ZeroDivisionError('division by zero')
    >>> logging.getLogger("gennostr").removeHandler(handler)

    Immutable, but not a dataclass: JSON formatters convert dataclasses field by field and fail on a state that JSON
    cannot represent; any other object they write as text.

    Attributes:
        pid: the server.
        callback: the callback that raised or whose outcome ended the server; "stop" if it was stopped from outside.
        message: the message passed to that callback; for "stop" and "terminate", the last message before it.
        caller: the caller, if `message` is a call from a process; otherwise None.
        state: the state before that callback, or its outcome's.
        reason: the exit reason; if a callback raised, the exception, with its traceback.
        ancestors: the process that started the server, its starter, and so on, as far as they were linked.

    """

    __slots__ = ("ancestors", "callback", "caller", "message", "pid", "reason", "state")

    pid: Pid
    callback: str
    message: object
    caller: Pid | None
    state: object
    reason: object
    ancestors: tuple[Pid, ...]

    def __init__(
        self,
        pid: Pid,
        callback: str,
        message: object,
        caller: Pid | None,
        state: object,
        reason: object,
        ancestors: tuple[Pid, ...],
    ) -> None:
        values = (ancestors, callback, caller, message, pid, reason, state)
        for name, value in zip(self.__slots__, values, strict=True):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a crash report is immutable: {name} can be neither set nor deleted")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a crash report is immutable: {name} can be neither set nor deleted")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CrashReport):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __hash__(self) -> int:
        return hash((self.pid, self.callback))  # message, state and reason may not be hashable

    def __repr__(self) -> str:
        names = ("pid", "callback", "message", "caller", "state", "reason", "ancestors")
        return f"CrashReport({', '.join(f'{name}={shown(getattr(self, name))}' for name in names)})"

    def __str__(self) -> str:
        sender = "" if self.caller is None else f" from {shown(self.caller)}"
        lines = [
            f"{shown(self.pid)} crashed in {self.callback}: {shown(self.reason)}",
            f"  message: {shown(self.message)}{sender}",
            f"  state: {shown(self.state)}",
        ]
        if self.ancestors:
            lines.append(f"  ancestors: {', '.join(map(shown, self.ancestors))}")
        return "\n".join(lines)


def ancestors(process: Process) -> tuple[Pid, ...]:
    """Return the process that started `process`, its starter, and so on."""
    found = []
    parent = process.parent
    while parent is not None:
        found.append(parent.pid)
        parent = parent.parent
    return tuple(found)


def log(report: CrashReport) -> None:
    """Log `report`, with the traceback if the reason is an exception."""
    exception = report.reason if isinstance(report.reason, BaseException) else None
    logger.error("%s", report, exc_info=exception, extra={"crash_report": report})
