"""Exit reasons: why a process ended.

NORMAL, SHUTDOWN and ``Shutdown(x)`` are the clean ones. Any other value is a failure: an exception that a
callback let through is itself the reason. KILLED is seen where KILL was sent, NOPROC where there was
nobody, TIMEOUT where init took too long.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from gennostr.values import Record, shown_fields


class Reason(Enum):
    """The reasons that have a name of their own; compare them with ``is``."""

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
"""Both the reason of a start that took too long and the message that a server's timeout sends it."""


@dataclass(frozen=True, slots=True)
class Shutdown(Record):
    """A clean end that says why."""

    reason: object = field(hash=False)  # any value, and some have no hash

    __repr__ = shown_fields


def is_clean(reason: object) -> bool:
    """Whether `reason` is no failure: it alone decides if a transient child is restarted."""
    return reason is NORMAL or reason is SHUTDOWN or isinstance(reason, Shutdown)
