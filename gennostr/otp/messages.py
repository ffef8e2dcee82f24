"""What travels between processes: the messages a user meets, and the envelopes he does not."""

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

from gennostr.values import shown, shown_fields

if TYPE_CHECKING:
    from gennostr.otp.pid import Pid
    from gennostr.otp.process import MonitorRef


@dataclass(frozen=True, slots=True)
class Exit:
    """A linked process, or one that called ``exit``, ended with `reason`; told to who traps exits.

    `pid` is None where a plain thread sent it.
    """

    pid: "Pid | None"
    reason: object = field(hash=False)  # any value, and some have no hash

    __repr__ = shown_fields


@dataclass(frozen=True, slots=True)
class Down:
    """A monitored process ended; `pid` is the name that was given if the monitor was set on a name."""

    ref: "MonitorRef"
    pid: object
    reason: object = field(hash=False)

    __repr__ = shown_fields


@dataclass(frozen=True, slots=True)
class Registered:
    """Told to a registry's listeners: `pid` has registered `key`."""

    registry: object
    key: object
    pid: "Pid"
    value: object = field(hash=False)

    __repr__ = shown_fields


@dataclass(frozen=True, slots=True)
class Unregistered:
    """Told to a registry's listeners: `pid` has given `key` up (not told when it died)."""

    registry: object
    key: object
    pid: "Pid"

    __repr__ = shown_fields


class Cast:
    """The envelope of a cast."""

    __slots__ = ("message",)

    def __init__(self, message: object) -> None:
        self.message = message

    def __repr__(self) -> str:
        return f"Cast({shown(self.message)})"


class Continue:
    """The envelope of a continue; it waits in no mailbox."""

    __slots__ = ("argument",)

    def __init__(self, argument: object) -> None:
        self.argument = argument

    def __repr__(self) -> str:
        return f"Continue({shown(self.argument)})"


@dataclass(frozen=True, slots=True)
class StopRequest:
    """Terminate with `reason`, when what was queued before has been handled."""

    reason: object = field(hash=False)

    __repr__ = shown_fields


class Wake(Enum):
    """Put in a mailbox to make its owner look up; says nothing itself."""

    WAKE = "wake"


WAKE: Final = Wake.WAKE
