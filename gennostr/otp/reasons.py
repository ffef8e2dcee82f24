"""Exit reasons: why a process ended.

NORMAL, SHUTDOWN and ``Shutdown(x)`` are clean. Any other value is a failure; if a callback raises, the exception itself
is the reason. KILLED is the reason of a process that was sent KILL, NOPROC means that there was no such process, and
TIMEOUT that init took too long.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from gennostr.values import Record, shown_fields


class Reason(Enum):
    """The named reasons; compare them with ``is``."""

    NORMAL = "normal"
    SHUTDOWN = "shutdown"
    KILL = "kill"
    KILLED = "killed"
    NOPROC = "noproc"
    TIMEOUT = "timeout"

    def __repr__(self) -> str:
        return self.name

    __str__ = __repr__


NORMAL: Final = Reason.NORMAL
SHUTDOWN: Final = Reason.SHUTDOWN
KILL: Final = Reason.KILL
KILLED: Final = Reason.KILLED
NOPROC: Final = Reason.NOPROC
TIMEOUT: Final = Reason.TIMEOUT
"""The reason of a start that took too long, and the message that handle_info receives after a timeout."""


@dataclass(frozen=True, slots=True)
class Shutdown(Record):
    """A clean exit reason with an explanation."""

    reason: object = field(hash=False)  # can be any value, hashable or not

    __repr__ = shown_fields


def is_clean(reason: object) -> bool:
    """Return whether `reason` is clean; only failures restart a transient child."""
    return reason is NORMAL or reason is SHUTDOWN or isinstance(reason, Shutdown)
