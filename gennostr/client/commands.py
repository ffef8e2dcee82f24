"""What the parts of a client send to the client itself: values, handled in its thread by its `RelayPool`."""

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
    """A signer has signed the answer to a challenge, has declined (None), or has failed."""

    url: str
    turn: int
    event: Event | BaseException | None


@dataclass(frozen=True, slots=True)
class DeadlinesDue:
    """The first deadline of the client's `TimerQueue` has come."""


@dataclass(frozen=True, slots=True)
class SilenceDue:
    """A relay may have been silent for too long: sent behind what it has sent and was not handled yet."""

    url: str


ClientCommand: TypeAlias = Subscribe | Unsubscribe | SendToRelays | Informed | Signed | DeadlinesDue | SilenceDue


@dataclass(frozen=True, slots=True)
class PendingCallback:
    """Run a callback of the user's with `arguments` and the state."""

    callback: str
    arguments: tuple[object, ...]
