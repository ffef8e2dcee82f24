"""The commands that a client's parts send to the client.

They are values, handled in the client's thread by its `RelayPool`.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

from gennostr.client.publications import PendingAnswers
from gennostr.client.subscriptions import Subscription
from gennostr.nostr.event import Event
from gennostr.nostr.relay_information import RelayInformation


@dataclass(frozen=True, slots=True)
class Subscribe:
    """`subscribe` was called."""

    subscription: Subscription


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """`unsubscribe` was called."""

    id: str


@dataclass(frozen=True, slots=True)
class SendToRelays:
    """`publish` or `count` was called."""

    pending: PendingAnswers[Any]


@dataclass(frozen=True, slots=True)
class Informed:
    """A relay's information document was fetched; None: it has none."""

    url: str
    information: RelayInformation | None


@dataclass(frozen=True, slots=True)
class Signed:
    """A signer has signed the answer to a challenge, declined (None), or failed."""

    url: str
    turn: int
    event: Event | BaseException | None


@dataclass(frozen=True, slots=True)
class DeadlinesDue:
    """The first deadline of the client's `TimerQueue` has arrived."""


@dataclass(frozen=True, slots=True)
class SilenceDue:
    """A relay may have been silent for too long.

    Handled after the messages that it has sent so far.
    """

    url: str


@dataclass(frozen=True, slots=True)
class SaveNow:
    """A durable publication is to be saved, and then sent."""


@dataclass(frozen=True, slots=True)
class Forget:
    """A durable publication is to be deleted.

    Its end was handled, or it was abandoned.
    """

    id: str


ClientCommand: TypeAlias = (
    Subscribe | Unsubscribe | SendToRelays | Informed | Signed | DeadlinesDue | SilenceDue | SaveNow | Forget
)


@dataclass(frozen=True, slots=True)
class PendingCallback:
    """Run a user's callback with `arguments` and the state."""

    callback: str
    arguments: tuple[object, ...]
    first: ClientCommand | None = None
    """Executed right before: no save, and no end of the client, comes between the two."""
