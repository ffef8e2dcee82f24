"""What a relay session wants done, as values: `gennostr.client.relay_pool` performs them, in order."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from gennostr.client.attempt import Attempt, Outcome
from gennostr.client.subscriptions import RelaySubscription, Subscription
from gennostr.nostr.event import Event
from gennostr.nostr.messages import CountResult

Key: TypeAlias = Literal["silence", "hold", "full", "cool-down", "challenge", "signature", "answer", "verdict"]
"""The deadlines of a session: one each, so that to set one replaces the one before."""


@dataclass(frozen=True, slots=True)
class Send:
    """Queue a message for the relay. What does not fit goes back by `RelaySession.not_sent`, and all after it."""

    payload: bytes
    subject: "RelaySubscription | Attempt | Event | str"
    """What it is about: a REQ, an event or count, an AUTH's event, or the id that a CLOSE names."""


@dataclass(frozen=True, slots=True)
class Deliver:
    """Run a callback of the user's, such as handle_eose, with this message or error and the relay."""

    callback: str
    argument: object


@dataclass(frozen=True, slots=True)
class Settle:
    """An attempt has its answer, or what stands in its place."""

    attempt: Attempt
    answer: Outcome | CountResult


@dataclass(frozen=True, slots=True)
class CheckComplete:
    """See whether handle_eose_all is due: this relay has no stored event left to send, or is not waited for."""

    subscription: Subscription


@dataclass(frozen=True, slots=True)
class SetDeadline:
    """Call `RelaySession.deadline_expired` with `key` after so many seconds, instead of what was set for it before."""

    key: Key
    seconds: float


@dataclass(frozen=True, slots=True)
class CancelDeadline:
    """Let the deadline of `key` pass unnoticed."""

    key: Key


@dataclass(frozen=True, slots=True)
class RequestInformation:
    """Fetch the relay's information document (NIP-11), and hand it to `RelaySession.informed`."""


@dataclass(frozen=True, slots=True)
class Sign:
    """Have a signer sign the answer to a challenge (NIP-42), and hand it to `RelaySession.signed` with `turn`."""

    challenge: str
    signer: int
    """Which of the client's signers, from 0."""
    turn: int
    """Tells this signature from earlier ones that are still to come."""


@dataclass(frozen=True, slots=True)
class Log:
    """Write a line to the log."""

    level: Literal["warning", "info"]
    text: str


Effect: TypeAlias = (
    Send | Deliver | Settle | CheckComplete | SetDeadline | CancelDeadline | RequestInformation | Sign | Log
)
