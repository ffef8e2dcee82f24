"""One message to one relay that has one answer: an event (NIP-01's OK) or a count (NIP-45).

The futures that wait for the answers of several relays are in `gennostr.client.publications`.
"""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from gennostr.nostr.messages import ClosedMessage, OkMessage

Kind: TypeAlias = Literal["accepted", "rejected", "timeout", "disconnected", "not_sent"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one event at one relay; true if the relay has it.

    ``kind``: "accepted", the relay's OK, or it had it already; "rejected", and `prefix` and `message` say why;
    "timeout", it was sent and not answered; "disconnected", the connection was lost after it was sent (and lost again
    after a reconnect, or there was no reconnect in time); "not_sent", there was no connection to send it on.
    """

    kind: Kind
    prefix: str | None = None
    """The machine-readable word of the relay's answer, such as "blocked"."""
    message: str = ""

    def __bool__(self) -> bool:
        return self.kind == "accepted"

    @classmethod
    def of(cls, answer: OkMessage | ClosedMessage) -> "Outcome":
        """Return what a relay's answer says; that it has the event already counts as accepted.

        A CLOSED answers a COUNT that is refused.
        """
        prefix = answer.prefix
        accepted = type(answer) is OkMessage and (answer.accepted or prefix == "duplicate")
        return cls("accepted" if accepted else "rejected", prefix, answer.message)


class Attempt:
    """One message to one relay. The client's thread alone uses it."""

    __slots__ = ("drops", "expired", "heard", "is_event", "key", "payload", "pending", "retried", "sent", "url")

    def __init__(self, key: str, payload: bytes, url: str, pending: Any = None, *, is_event: bool = True) -> None:
        self.key = key
        """What the relay's answer names: the event's id, or the count's."""
        self.payload = payload
        """The message as it is sent, encoded once for all relays."""
        self.url = url
        self.pending = pending
        """Who waits for the answer; opaque to the session, but for ``done()``."""
        self.is_event = is_event
        self.sent = False
        self.expired = False
        """Whether its time is over: it is settled in a moment."""
        self.drops = 0
        """How many connections were lost with it unanswered."""
        self.heard = 0.0
        """When it was sent, on the monotonic clock."""
        self.forget_connection()

    def forget_connection(self) -> None:
        """Start afresh with the next connection."""
        self.retried = False
        """Whether it was sent again after an authentication, on this connection."""

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.pending is not None and self.pending.done()

    def unsent(self, why: str) -> Outcome:
        """Return the outcome where no answer can come, because the relay is not there."""
        return Outcome("disconnected" if self.sent else "not_sent", None, why)

    def __repr__(self) -> str:
        return f"<Attempt {self.key[:8]} at {self.url}>"
