"""The events that a connection sends to its client.

Each carries the connection's process: one process is one attempt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from gennostr.client.copies import Copies
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
    outbox: Outbox


@dataclass(frozen=True, slots=True)
class Ended:
    """The attempt has ended for `reason`.

    `error`, if there was one, is passed to handle_error first.
    """

    process: Process
    relay: Relay
    reason: object
    error: object = None


@dataclass(frozen=True, slots=True)
class Removed:
    """The relay was removed by the user; `by_client`: in the client's own thread."""

    process: Process | None
    relay: Relay
    by_client: bool = False


@dataclass(frozen=True, slots=True)
class ConnectionDown:
    """The connection's process is dead; the last of its events."""

    process: Process
    relay: Relay
    reason: object


@dataclass(frozen=True, slots=True)
class ReconnectDue:
    """The delay before the next attempt is over."""

    url: str


@dataclass(frozen=True, slots=True)
class NotMade:
    """The connection actor for the next attempt could not be started."""

    relay: Relay
    reason: object


class Credit:
    """How much a connection has delivered that its client has not handled yet.

    The connection counts; the client returns the size of each batch that it has handled, through a list. No lock is
    needed: the two lists below are used in atomic steps (an empty deque takes 760 bytes, and a sum has no order), and
    only the connection uses the rest.
    """

    MAX_BATCHES = 8
    # Two full reads: one is handled while the next is decoded. Eight are no faster, with one relay or with eight.
    MAX_BYTES = 256 * 1024

    def __init__(self, process: Process) -> None:
        self._process = process
        self.paused = False
        """Whether the connection waits for the client, as `spent` found."""
        self._batches = 0
        # Total bytes; the client has not handled the difference.
        self._given = 0
        self._taken = 0
        self._handled: list[int] = []
        # A token while the connection waits. The connection adds it and then takes from the sizes; the client appends
        # there and then looks for the token. That list orders the two: anything the connection missed was appended
        # after that, so the client finds the token.
        self._waits: list[None] = []

    def give(self, size: int) -> bool:
        """Count a batch of `size` bytes, and return `spent()`; called by the connection."""
        self._batches += 1
        self._given += size
        return self.spent()

    def spent(self) -> bool:
        """Return whether to pause: then RESUME is sent when the client has handled more.

        The connection calls it after each batch, and when RESUME has arrived.
        """
        self.paused = self._over() and self._still_over()
        return self.paused

    def _over(self) -> bool:
        return self._batches >= self.MAX_BATCHES or self._given - self._taken >= self.MAX_BYTES

    def _still_over(self) -> bool:
        self._settle()
        if not self._over():
            return False
        if not self._waits:
            self._waits.append(None)
        self._settle()
        if self._over():
            return True
        self._waits.clear()
        return False

    def _settle(self) -> None:
        try:
            while True:
                self._taken += self._handled.pop()
                self._batches -= 1
        except IndexError:
            pass

    def take(self, size: int) -> None:
        """Count a batch as handled, and wake the connection if it waits.

        Called by the client.
        """
        self._handled.append(size)
        if self._waits:
            try:
                self._waits.pop()
            except IndexError:  # the connection has caught up by itself
                return
            self._process.deliver(RESUME)

    def undelivered(self) -> int:
        """Return how many bytes the client has not handled yet; any thread may call it."""
        # In this order: nothing is taken before it was given, so the difference is never negative.
        taken = self._taken
        taken += sum(self._handled.copy())
        return self._given - taken


class Resume(Enum):
    """The type of RESUME."""

    RESUME = "resume"


RESUME: Final = Resume.RESUME
"""Sent to a paused connection: read again."""


class Batch:
    """The messages of one read, in order.

    A MessageError stands for each invalid message, and `Copies` for those that were dropped.

    A plain class: a frozen dataclass takes a microsecond to create, which matters here.
    """

    __slots__ = ("claims", "credit", "messages", "process", "relay", "size")

    def __init__(
        self,
        process: Process,
        relay: Relay,
        messages: list[RelayMessage | MessageError | Copies],
        size: int,
        credit: Credit,
    ) -> None:
        self.process = process
        self.relay = relay
        self.messages = messages
        self.size = size
        self.credit = credit
        # The keys of the events that other connections wait for: see `gennostr.client.copies`.
        self.claims: Sequence[bytes] = ()

    def __repr__(self) -> str:
        return f"<Batch of {len(self.messages)} messages from {self.relay!r}>"


ConnectionEvent: TypeAlias = Connected | Ended | Removed | ConnectionDown | Batch


class ConnectionWatch:
    """Reports a connection's death to the client, whatever caused it."""

    __slots__ = ("_client", "_outbox")

    def __init__(self, client: Process, outbox: Outbox) -> None:
        self._client = client
        self._outbox = outbox

    def down(self, process: Process, reason: object) -> None:
        """See `gennostr.otp.process.Watcher`."""
        self._client.deliver(ConnectionDown(process, self._outbox.relay, reason))
