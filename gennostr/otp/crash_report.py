"""The crash report: the one log record of a server that ends for a failure.

It is logged at ERROR, as text and, for programs, as the record's attribute ``crash_report``. What a peer has sent may
be in the message, the state, and the text of the exception: control characters are escaped, and a traceback is
indented, so that nobody can write a line of his own into the log.

The record can be sent to another process by a QueueHandler or SocketHandler, where text replaces what could not be
pickled, and written by JSON formatters.
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
    """What a server was doing when it crashed. State, message and reason have been through format_status.

    Immutable, but not a dataclass: JSON formatters take dataclasses apart and fail at a state that JSON cannot hold,
    whereas of any other object they write the text.
    """

    __slots__ = ("ancestors", "callback", "caller", "message", "pid", "reason", "state")

    pid: Pid
    callback: str
    """The one that raised, or whose outcome ended the server; "stop" where it was stopped from outside."""
    message: object
    """What that callback was given; where it was stop or terminate, the last message before."""
    caller: Pid | None
    """Who called, if `message` is a call; None for a plain thread too."""
    state: object
    reason: object
    ancestors: tuple[Pid, ...]
    """The starter, its starter, and so on, as far as they were linked."""

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
        raise AttributeError(f"a crash report does not change: {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a crash report does not change: {name}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CrashReport):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __hash__(self) -> int:
        return hash((self.pid, self.callback))  # message, state and reason may be values without a hash

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
    """Return who started `process`, who started that one, and so on."""
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
