"""The crash report: the one log record of a server that ends for a failure.

It is logged at ERROR, as text and, for programs, as the record's attribute ``crash_report``. What a peer has sent may
be in the message, the state, and the text of the exception: control characters are escaped, and a traceback is
indented, so that nobody can write a line of his own into the log.
"""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gennostr.otp.pid import Pid
    from gennostr.otp.process import Process

logger = logging.getLogger(__name__)

MOST_SHOWN: Final = 4000
"""Characters of a message or state that the text shows; the record's attribute has all."""


@dataclass(frozen=True, slots=True)
class CrashReport:
    """What a server was doing when it crashed. State, message and reason have been through format_status."""

    pid: "Pid"
    callback: str
    """The one that raised, or whose outcome ended the server; "stop" where it was stopped from outside."""
    message: object
    """What that callback was given; where it was stop or terminate, the last message before."""
    caller: "Pid | None"
    """Who called, if `message` is a call; None for a plain thread too."""
    state: object
    reason: object
    ancestors: tuple["Pid", ...]
    """The starter, its starter, and so on, as far as they were linked."""

    def __str__(self) -> str:
        sender = "" if self.caller is None else f" from {self.caller!r}"
        lines = [
            f"{self.pid!r} crashed in {self.callback}: {shown(self.reason)}",
            f"  message: {shown(self.message)}{sender}",
            f"  state: {shown(self.state)}",
        ]
        if self.ancestors:
            lines.append(f"  ancestors: {', '.join(map(repr, self.ancestors))}")
        return "\n".join(lines)


def ancestors(process: "Process") -> "tuple[Pid, ...]":
    """Return who started `process`, who started that one, and so on."""
    found = []
    parent = process.parent
    while parent is not None:
        found.append(parent.pid)
        parent = parent.parent
    return tuple(found)


def shown(value: object) -> str:
    """Return the repr of `value`, whatever it is: one that fails must not cost the report."""
    try:
        text = repr(value)
    except BaseException as error:  # a repr is user code, and a report is no place to die in
        return f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}... ({len(text)} characters)"


def _escape(record: logging.LogRecord) -> bool:
    """Format the traceback before a handler does: a filter that lets everything through."""
    if record.exc_info and not record.exc_text:
        text = _formatter.formatException(record.exc_info)
        lines = (
            "".join(each if each.isprintable() else repr(each)[1:-1] for each in line) for line in text.split("\n")
        )
        record.exc_text = "\n".join(f"  {line}" for line in lines)
    return True


_formatter = logging.Formatter()
logger.addFilter(_escape)


def log(report: CrashReport) -> None:
    """Log `report`, with the traceback if the reason is an exception."""
    exception = report.reason if isinstance(report.reason, BaseException) else None
    logger.error("%s", report, exc_info=exception, extra={"crash_report": report})
