"""The effects of a relay session, as values.

`gennostr.client.relay_pool` performs them, in order.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from gennostr.client.attempt import Attempt, PublishOutcome
from gennostr.client.subscriptions import RelaySubscription, Subscription
from gennostr.nostr.event import Event
from gennostr.nostr.messages import CountResult

Key: TypeAlias = Literal["silence", "hold", "full", "cool-down", "challenge", "signature", "answer", "verdict"]
"""The deadlines of a session: one for each key, so setting one replaces the one before."""


@dataclass(frozen=True, slots=True)
class Send:
    """Queue a message for the relay.

    If it does not fit, it and all after it go back by `RelaySession.not_sent`.
    """

    payload: bytes
    subject: "RelaySubscription | Attempt | Event | str"
    """What it is for: a REQ, an event or count, an AUTH's event, or the id in a CLOSE."""


@dataclass(frozen=True, slots=True)
class Deliver:
    """Run a user's callback with this message or error and the relay.

    For example handle_eose.
    """

    callback: str
    argument: object


@dataclass(frozen=True, slots=True)
class Settle:
    """An attempt has its answer, or an outcome that says why it is missing."""

    attempt: Attempt
    answer: PublishOutcome | CountResult


@dataclass(frozen=True, slots=True)
class CheckComplete:
    """Check whether handle_eose_all is due.

    This relay has no stored event left to send, or is no longer waited for.
    """

    subscription: Subscription


@dataclass(frozen=True, slots=True)
class SetDeadline:
    """Call `RelaySession.deadline_expired` with `key` after so many seconds.

    It replaces the deadline that was set before with this key.
    """

    key: Key
    seconds: float


@dataclass(frozen=True, slots=True)
class CancelDeadline:
    """Cancel the deadline of `key`."""

    key: Key


@dataclass(frozen=True, slots=True)
class RequestInformation:
    """Fetch the relay's information document (NIP-11).

    It is passed to `RelaySession.informed`.
    """


@dataclass(frozen=True, slots=True)
class Sign:
    """Have a signer sign the answer to a challenge (NIP-42).

    It is passed to `RelaySession.signed` with `turn`.
    """

    challenge: str
    signer: int
    """The index of the signer among the client's."""
    turn: int
    """Distinguishes this signature from earlier ones that are still pending."""


@dataclass(frozen=True, slots=True)
class Log:
    """Log a line."""

    level: Literal["warning", "info"]
    text: str


Effect: TypeAlias = (
    Send | Deliver | Settle | CheckComplete | SetDeadline | CancelDeadline | RequestInformation | Sign | Log
)
