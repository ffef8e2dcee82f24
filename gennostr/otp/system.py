"""System messages: what every server understands, whatever its callbacks are, and while it is suspended too."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class GetState:
    """Asks for the state."""


@dataclass(frozen=True, slots=True)
class ReplaceState:
    """Replaces the state by ``function(state)``."""

    function: Callable[[object], object]


@dataclass(frozen=True, slots=True)
class Suspend:
    """Lets messages wait."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Ends `Suspend`."""


@dataclass(frozen=True, slots=True)
class GetStatus:
    """Asks for a `Status`."""


@dataclass(frozen=True, slots=True)
class Status:
    """What a server is doing: `status` is "running" or "suspended", `messages` how many wait."""

    name: object
    status: str
    state: object
    messages: int
    children: tuple[object, ...]


SystemMessage: TypeAlias = GetState | ReplaceState | Suspend | Resume | GetStatus
