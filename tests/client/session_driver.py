"""A relay session without a relay: a test plays the relay and the client, and moves the clock.

What goes in are messages, commands and time. What comes out is collected here: the messages that were sent, decoded;
the callbacks; the answers of publications; the log. A deadline expires at its time, when the clock is moved past it.
"""

import json
from collections.abc import Sequence
from typing import Any

from gennostr.client.attempt import Attempt, PublishOutcome
from gennostr.client.effects import (
    CancelDeadline,
    CheckComplete,
    Deliver,
    Effect,
    Key,
    Log,
    RequestInformation,
    Send,
    SetDeadline,
    Settle,
    Sign,
)
from gennostr.client.options import Options, Relay
from gennostr.client.relay_session import RelaySession
from gennostr.client.subscriptions import Instant, Subscription
from gennostr.nostr.event import Event
from gennostr.nostr.messages import (
    AuthMessage,
    ClosedMessage,
    CountMessage,
    CountResult,
    EoseMessage,
    NoticeMessage,
    OkMessage,
    RelayMessage,
)
from gennostr.nostr.relay_information import Limitation, RelayInformation

URL = "wss://relay.example"
START = 1_700_000_000
"""The time at which each test begins, in seconds since 1970."""


class SessionDriver:
    """One session, and all that it has wanted since it was last looked at."""

    def __init__(self, *, signers: int = 0, up: bool = True, clock_offset: float | None = None, **options: Any) -> None:
        self.relay = Relay(Relay.normalize_url(URL), Options(**options), clock_offset=clock_offset)
        self.session = RelaySession(self.relay.url)
        self.signers = signers
        self.now = Instant(5000.0, float(START))
        self.sends: list[Send] = []
        self.calls: list[tuple[str, Any]] = []
        self.outcomes: list[tuple[str, PublishOutcome | CountResult]] = []
        self.through: list[str] = []
        """The subscriptions of which the session has said that no stored event is to come."""
        self.log: list[str] = []
        self.signs: list[Sign] = []
        self.documents_requested = 0
        self.deadlines: dict[Key, float] = {}
        self.effects: list[Effect] = []
        """All, in order."""
        if up:
            self.connect()

    def perform(self, effects: Sequence[Effect]) -> None:
        self.effects += effects
        for effect in effects:
            match effect:
                case Send():
                    self.sends.append(effect)
                case Deliver(callback, argument):
                    self.calls.append((callback, argument))
                case Settle(attempt, answer):
                    self.outcomes.append((attempt.key, answer))
                case CheckComplete(subscription):
                    self.through.append(subscription.id)
                case SetDeadline(key, seconds):
                    assert seconds >= 0
                    self.deadlines[key] = self.now.monotonic + seconds
                case CancelDeadline(key):
                    self.deadlines.pop(key, None)
                case RequestInformation():
                    self.documents_requested += 1
                case Sign():
                    self.signs.append(effect)
                case Log(level, text):
                    self.log.append(f"{level}: {text}")

    # What was wanted since it was last looked at.

    def sent(self) -> list[Any]:
        """Return the messages sent since the last call."""
        messages = [json.loads(each.payload) for each in self.sends]
        self.sends.clear()
        return messages

    def labels(self) -> list[str]:
        """Return the messages sent since the last call, each by its label and id: ``REQ feed``."""
        return [f"{label} {rest['id'] if isinstance(rest, dict) else rest}" for label, rest, *_ in self.sent()]

    def called(self, *names: str) -> list[Any]:
        """Return what callbacks (of these names, if any are given) were called with since the last call."""
        calls = [each for each in self.calls if not names or each[0] in names]
        self.calls = [each for each in self.calls if each not in calls]
        return [argument for _, argument in calls] if len(names) == 1 else calls

    def settled(self) -> list[tuple[str, Any]]:
        """Return the answers since the last call: the key, and what became of it."""
        outcomes = [(key, each.kind if isinstance(each, PublishOutcome) else each.count) for key, each in self.outcomes]
        self.outcomes.clear()
        return outcomes

    def warnings(self) -> list[str]:
        """Return the lines logged since the last call."""
        lines = self.log.copy()
        self.log.clear()
        return lines

    # Time.

    def sleep(self, seconds: float) -> None:
        """Let time pass; deadlines expire at theirs, in order."""
        end = self.now.monotonic + seconds
        while self.deadlines:
            key = min(self.deadlines, key=self.deadlines.__getitem__)
            if self.deadlines[key] > end:
                break
            self._go_to(self.deadlines.pop(key))
            self.perform(self.session.deadline_expired(key, self.now))
        self._go_to(end)

    def _go_to(self, moment: float) -> None:
        passed = max(0.0, moment - self.now.monotonic)
        self.now = Instant(self.now.monotonic + passed, self.now.time + passed)

    # The connection.

    def connect(self, **changes: Any) -> None:
        if changes:
            self.relay = Relay(self.relay.url, self.relay.options, **changes)
        self.perform(self.session.connected(self.relay, self.now, signers=self.signers))

    def drop(self, code: int | None = None) -> None:
        self.perform(self.session.disconnected(code))
        assert not self.deadlines.keys() - {"cool-down"}  # what waits for the relay waits no more

    def reconnect(self, **changes: Any) -> None:
        self.drop()
        self.connect(**changes)

    def inform(self, **limits: Any) -> None:
        """Give the session the relay's information document, with these limits; without limits: it has no document."""
        document = RelayInformation(limitation=Limitation(**limits)) if limits else None
        self.perform(self.session.informed(document, self.now))

    def overflow(self, sends: Sequence[Send] | None = None) -> None:
        """Take back `sends`, by default all that was not looked at: the outbox is full."""
        taken = list(self.sends if sends is None else sends)
        self.sends = [each for each in self.sends if each not in taken]
        self.perform(self.session.not_sent([each.subject for each in taken], self.now))

    # What the client does.

    def subscribe(self, id_: str = "feed", *filters: dict[str, Any]) -> Subscription:
        subscription = Subscription(id_, list(filters) or [{"kinds": [1]}], None)
        self.perform(self.session.subscribe(subscription, self.now))
        return subscription

    def unsubscribe(self, id_: str = "feed") -> None:
        self.perform(self.session.unsubscribe(id_, self.now))

    def publish(self, key: str = "e1", *, size: int = 0, pending: Any = None) -> Attempt:
        payload = json.dumps(["EVENT", {"id": key, "content": "x" * size}]).encode()
        attempt = Attempt(key, payload, self.relay.url, pending)
        self.perform(self.session.send(attempt, self.now))
        return attempt

    def count(self, key: str = "c1") -> Attempt:
        payload = json.dumps(["COUNT", key, {}]).encode()
        attempt = Attempt(key, payload, self.relay.url, is_event=False)
        self.perform(self.session.send(attempt, self.now))
        return attempt

    def time_out(self, attempt: Attempt, seconds: float = 30.0) -> None:
        self.perform(self.session.timed_out(attempt, seconds, self.now))

    def sign(self, id_: str | None = "auth", turn: int | None = None) -> None:
        """Sign the latest challenge with an event of this id; None: decline."""
        sign = self.signs[-1]
        event = None
        if id_ is not None:
            tags = [["challenge", sign.challenge], ["signer", str(sign.signer)]]
            event = Event(id_, "ab" * 32, int(self.now.time), 22242, tags, "", "cd" * 64)
        self.perform(self.session.signed(sign.turn if turn is None else turn, event, self.now))

    # What the relay sends.

    def receive(self, message: RelayMessage) -> None:
        self.perform(self.session.received(message, self.now, signers=self.signers))

    def event(self, created_at: int, id_: str = "feed") -> None:
        """Receive an event, as the pool does that judges it: it is noted at the request with this id."""
        request = self.session.subscriptions[id_]
        request.note(created_at, self.now.monotonic, self.now.time + self.session.clock_offset)

    def events(self, newest: int, several: int, id_: str = "feed") -> None:
        """Receive several stored events, newest first, one each second."""
        for created_at in range(newest, newest - several, -1):
            self.event(created_at, id_)

    def eose(self, id_: str = "feed", hints: Any = None) -> None:
        self.receive(EoseMessage(id_, hints))

    def closed(self, id_: str = "feed", text: str = "") -> None:
        self.receive(ClosedMessage(id_, text))

    def notice(self, text: str) -> None:
        self.receive(NoticeMessage(text))

    def challenge(self, challenge: str = "x") -> None:
        self.receive(AuthMessage(challenge))

    def accept(self, id_: str = "auth") -> None:
        self.receive(OkMessage(id_, accepted=True))

    def refuse(self, id_: str = "auth", text: str = "blocked: no") -> None:
        self.receive(OkMessage(id_, accepted=False, message=text))

    def counted(self, key: str = "c1", number: int = 3) -> None:
        self.receive(CountMessage(key, CountResult(number)))
