"""What the parts of a client send to the client itself."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClientCommand:
    """Do this, in the client's thread."""

    do: Callable[[], object]


@dataclass(frozen=True, slots=True)
class PendingCallback:
    """Run a callback with `arguments` and the state."""

    callback: str
    arguments: tuple[object, ...]
