"""What a connection tells its client. Each event carries the connection's process: one process is one attempt."""

from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from gennostr.client.options import Relay
from gennostr.client.outbox import Outbox
from gennostr.exceptions import MessageError
from gennostr.nostr.messages import RelayMessage
from gennostr.otp.process import Process


class Removal(Enum):
    """The type of REMOVE_RELAY."""

    REMOVE_RELAY = "remove_relay"

    def __repr__(self) -> str:
        return self.name

    __str__ = __repr__


REMOVE_RELAY: Final = Removal.REMOVE_RELAY
"""The reason of the disconnect that ``remove_relay`` causes."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The WebSocket is open."""

    process: Process
    relay: Relay


@dataclass(frozen=True, slots=True)
class Ended:
    """The attempt is over for `reason`; `error` is what handle_error is told first, if it was an error."""

    process: Process
    relay: Relay
    reason: object
    error: object = None


@dataclass(frozen=True, slots=True)
class Removed:
    """The relay was removed by the user."""

    process: Process | None
    relay: Relay


@dataclass(frozen=True, slots=True)
class ConnectionDown:
    """The connection's process is dead: the last of its events."""

    process: Process
    relay: Relay
    reason: object


@dataclass(frozen=True, slots=True)
class ReconnectDue:
    """The delay before the next attempt is over."""

    url: str


@dataclass(frozen=True, slots=True)
class NotMade:
    """The next attempt could not even be made: it has no connection."""

    relay: Relay
    reason: object


class Credit:
    """How much a connection has delivered and its client has not handled yet.

    The connection alone writes `_given` and `paused`, the client alone writes `_taken`. The connection sets
    `paused` and then looks at `_taken` again, the client writes `_taken` and then looks at `paused`: so one of
    the two sees the other.
    """

    MAX_BATCHES = 8
    # Two full reads: one that is handled while the next is decoded. Eight are no faster, with one relay or with eight.
    MAX_BYTES = 256 * 1024

    def __init__(self, process: Process) -> None:
        self._process = process
        self._given = (0, 0)
        self._taken = (0, 0)
        self.paused = False

    def give(self, size: int) -> None:
        """Count a batch of `size` bytes."""
        batches, bytes_ = self._given
        self._given = (batches + 1, bytes_ + size)

    def take(self, size: int) -> None:
        """Count a batch as handled, and wake the connection if it waits for that."""
        batches, bytes_ = self._taken
        self._taken = (batches + 1, bytes_ + size)
        if self.paused and not self.spent():
            self._process.deliver(RESUME)

    def spent(self) -> bool:
        """Whether no more may be delivered now."""
        given, taken = self._given, self._taken
        return given[0] - taken[0] >= self.MAX_BATCHES or given[1] - taken[1] >= self.MAX_BYTES


class Resume(Enum):
    """The type of RESUME."""

    RESUME = "resume"


RESUME: Final = Resume.RESUME
"""Told to a paused connection: read again."""


class Batch:
    """The messages of one read, in order; a MessageError stands where a message was none.

    A plain class: a frozen dataclass takes a microsecond to make, and here that is felt.
    """

    __slots__ = ("credit", "messages", "process", "relay", "size")

    def __init__(
        self,
        process: Process,
        relay: Relay,
        messages: list[RelayMessage | MessageError],
        size: int,
        credit: Credit,
    ) -> None:
        self.process = process
        self.relay = relay
        self.messages = messages
        self.size = size
        self.credit = credit

    def __repr__(self) -> str:
        return f"<Batch of {len(self.messages)} messages from {self.relay!r}>"


ConnectionEvent: TypeAlias = Connected | Ended | Removed | ConnectionDown | Batch


class ConnectionWatch:
    """Tells the client of a connection's death, whatever caused it."""

    __slots__ = ("_client", "_outbox")

    def __init__(self, client: Process, outbox: Outbox) -> None:
        self._client = client
        self._outbox = outbox

    def down(self, process: Process, reason: object) -> None:
        """See `gennostr.otp.process.Watcher`."""
        self._client.deliver(ConnectionDown(process, self._outbox.relay, reason))
