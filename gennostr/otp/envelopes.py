"""The library's own mailbox items, besides user messages.

`gennostr.otp.engine` handles them.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from gennostr.values import shown


class Cast:
    """The envelope of a cast."""

    __slots__ = ("message",)

    def __init__(self, message: object) -> None:
        self.message = message

    def __repr__(self) -> str:
        return f"Cast({shown(self.message)})"


class Continue:
    """The envelope of a continue; it is never put in a mailbox."""

    __slots__ = ("argument",)

    def __init__(self, argument: object) -> None:
        self.argument = argument

    def __repr__(self) -> str:
        return f"Continue({shown(self.argument)})"


@dataclass(frozen=True, slots=True)
class StopRequest:
    """Terminate with `reason` once the messages queued before have been handled."""

    reason: object = field(hash=False)  # can be any value, hashable or not

    def __repr__(self) -> str:
        # Seen in the CallTimeout of a stop: what the user wrote.
        return f"stop({shown(self.reason)})"


class Wake(Enum):
    """Put in a mailbox to wake its owner; carries no data."""

    WAKE = "wake"


WAKE: Final = Wake.WAKE
