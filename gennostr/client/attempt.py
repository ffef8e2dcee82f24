"""One message to one relay that gets one answer.

The message is an event (NIP-01's OK answers it) or a count (NIP-45). The futures for the answers of several relays are
in `gennostr.client.publications`.
"""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from gennostr.nostr.messages import ClosedMessage, OkMessage

Kind: TypeAlias = Literal["accepted", "rejected", "timeout", "disconnected", "not_sent", "expired"]


@dataclass(frozen=True, slots=True)
class PublishOutcome:
    """The outcome of one event at one relay; true if the relay has the event.

    ``kind`` is one of:

    - "accepted": the relay sent an OK, or had the event already;
    - "rejected": `prefix` and `message` say why;
    - "timeout": it was sent and not answered;
    - "disconnected": the connection was lost after it was sent (and lost again after a reconnect, or not restored in
      time);
    - "not_sent": there was no connection to send it on;
    - "expired": of a durable publication: there was no final answer in time.

    >>> from gennostr import PublishOutcome
    >>> outcome = PublishOutcome("rejected", "blocked", "blocked: you are banned")
    >>> bool(outcome), outcome.prefix
    (False, 'blocked')
    """

    kind: Kind
    """What has happened; see above."""
    prefix: str | None = None
    """The machine-readable prefix of the relay's answer, such as "blocked"; None without one."""
    message: str = ""
    """The relay's text, or why there is no answer; may be empty."""

    def __bool__(self) -> bool:
        return self.kind == "accepted"

    @classmethod
    def of(cls, answer: OkMessage | ClosedMessage) -> "PublishOutcome":
        """Return the outcome of a relay's answer; "duplicate" also counts as accepted.

        A CLOSED is the answer to a COUNT that the relay refuses.
        """
        prefix = answer.prefix
        accepted = type(answer) is OkMessage and (answer.accepted or prefix == "duplicate")
        return cls("accepted" if accepted else "rejected", prefix, answer.message)


class Attempt:
    """One message to one relay. Used by the client's thread only."""

    __slots__ = ("drops", "expired", "heard", "is_event", "key", "payload", "pending", "retried", "sent", "url")

    def __init__(self, key: str, payload: bytes, url: str, pending: Any = None, *, is_event: bool = True) -> None:
        self.key = key
        """The id by which the relay's answer refers to it: the event's, or the count's."""
        self.payload = payload
        """The message, encoded once for all relays."""
        self.url = url
        self.pending = pending
        """What waits for the answer; the session only calls its ``done()``."""
        self.is_event = is_event
        self.sent = False
        self.expired = False
        """Whether its time is up: it is about to be settled."""
        self.drops = 0
        """How many connections were lost before it was answered."""
        self.heard = 0.0
        """When it was sent, on the monotonic clock."""
        self.forget_connection()

    def forget_connection(self) -> None:
        """Reset what belongs to the last connection."""
        self.retried = False
        """Whether it was sent again after authentication, on this connection."""

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.pending is not None and self.pending.done()

    def unsent(self, why: str) -> PublishOutcome:
        """Return the outcome if no answer can arrive: the relay is not connected."""
        return PublishOutcome("disconnected" if self.sent else "not_sent", None, why)

    def __repr__(self) -> str:
        return f"<Attempt {self.key[:8]} at {self.url}>"
