"""One relay's session against a relay that sends anything at any time and a client that commands anything.

A walk is a string of bytes, three for each step (`World.step`): hypothesis draws and shrinks it, zeros are no step, and
the steps of a walk that fails are printed. There is no thread, socket or real clock: `World` performs the effects as
`RelayPool` does, and after every effect it checks what must hold:

1. Every wait ends: where the relay says nothing more, subscriptions are through, attempts are settled and no deadline
   is set, after a bounded time. And what becomes through says so, for handle_eose_all.
2. No message without a cause: a REQ for a live subscription, and again only for a refusal, a page or a cool-down; a
   CLOSE for what was requested; an EVENT or COUNT for an attempt that nobody has settled; an AUTH for a signature, and
   no more of them than the time since the connection allows. A relay that refuses all the time drives no loop.
3. Nothing is delivered twice, and nothing of what the user has closed.
4. After the last disturbance a relay that answers everything serves everything.
5. A REQ after a reconnect requests no more than the subscription did, and skips nothing.
6. No more REQs are open than the information document allows.

GENNOSTR_EXAMPLES: walks, of 100 steps each, random ones; without it there are a few, and always the same. 100,000
steps::

    GENNOSTR_EXAMPLES=1000 pytest -n0 tests/client/test_relay_session_model.py
"""

import math
import os
from collections import Counter
from collections.abc import Callable
from operator import itemgetter
from typing import Any, Final

import msgspec
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from gennostr.client import dialects
from gennostr.client.attempt import Attempt, PublishOutcome
from gennostr.client.dialects import Meaning
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
from gennostr.client.relay_session import TOO_BIG, RelaySession
from gennostr.client.subscriptions import LENIENCE, OVERLAP, Backfill, Instant, RelaySubscription, Subscription
from gennostr.exceptions import RequestTooLarge
from gennostr.nostr.encoding import encode
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
from tests.client.dialect_rows import NOT_REFUSALS, ROWS

EXAMPLES: Final = os.environ.get("GENNOSTR_EXAMPLES")
STEPS: Final = 100

URL: Final = "wss://relay.example"
BEGIN: Final = 1_700_000_000
IDS: Final = ("feed-0", "feed-1", "feed-2", "feed-3", "feed-4")
KEYS: Final = [f"{number:064x}" for number in range(1, 301)]
FILTERS: Final[list[list[dict[str, Any]]]] = [
    [{"kinds": [1]}],
    [{"kinds": [1], "limit": 10}],
    [{"kinds": [0], "limit": 0}],
    [{"ids": KEYS[:3]}],
    [{"kinds": [1], "since": BEGIN - 1000}],
    [{"kinds": [1], "limit": 500, "until": BEGIN + 10**6}],
    [{"kinds": [1], "limit": 5}, {"kinds": [2]}, {"ids": KEYS[:1], "limit": 1}],
    [{"kinds": [kind], "limit": 100 + kind} for kind in range(5)],
    [{"authors": KEYS[:40], "kinds": [1], "limit": 100}],
    [{"kinds": [1], "search": "x" * 3000}],
    [{"kinds": [1], "until": BEGIN - 500, "limit": 50}, {"kinds": [2], "limit": 1000}],
    [{"authors": KEYS, "limit": 100}, {"#p": KEYS[:30], "limit": 20}],
]
INFORMATION: Final = [
    None,
    RelayInformation(),
    *(
        RelayInformation(limitation=each)
        for each in (
            Limitation(max_subscriptions=1),
            Limitation(max_subscriptions=2),
            Limitation(max_subscriptions=3, default_limit=3),
            Limitation(max_message_length=1),
            Limitation(max_message_length=2048, max_subscriptions=20),
            Limitation(max_message_length=10**9, max_subscriptions=10**9),
            Limitation(max_limit=1),
            Limitation(default_limit=1, max_subscriptions=2),
        )
    ),
]
TEXTS: Final = {each: [row[2] for row in ROWS if row[3] == each.name] for each in Meaning}
MEANINGS: Final = list(Meaning)
OPTIONS: Final = [
    Options(),
    Options(),
    Options(eose_timeout=2.0),
    Options(eose_timeout=None),
    Options(max_queue_size=5000),
]
OFFSETS: Final = (None, 0.0, 3600.0, -3600.0)
TIMEOUT: Final = 30.0
"""Seconds after which an attempt times out: the pool's business, here the world's."""
FETCH_TIMEOUT: Final = 10.0
"""Seconds after which a fetch of the information document ends without one."""
MOST_SIGNERS: Final = 2
SOON: Final = 150.0
"""Seconds within which all subscriptions are through, whatever happened, if signers sign at once: a late answer to a
challenge, an AUTH of each signer without an OK, and silence."""
HAMMER: Final = 16
"""How often a relay that refuses everything refuses, while no time passes."""


class Waiter:
    """Who waits for an attempt."""

    def __init__(self) -> None:
        self.cancelled = False

    def done(self) -> bool:
        return self.cancelled


def _event(number: int, created_at: int) -> Event:
    return Event(f"{number:064x}", KEYS[0], created_at, 22242, [], "", "0" * 128)


class World:
    """The relay, the client, the clocks, and the pool as far as it performs effects."""

    def __init__(self) -> None:
        self.session = RelaySession(URL)
        self.trace: list[str] = []
        self.monotonic = 1000.0
        self.time = float(BEGIN)
        self.numbers = 0
        self.deadlines: dict[Key, float] = {}
        # The client's: subscriptions, attempts without an answer and when they time out, the document, signers.
        self.subscriptions: dict[str, Subscription] = {}
        self.attempts: dict[Attempt, float] = {}
        self.answers: dict[Attempt, PublishOutcome | CountResult] = {}
        self.losses: Counter[Attempt] = Counter()
        self.asked: list[float] = []
        self.asked_in_all = 0
        self.known_most: int | None = None
        self.signers = 0
        self.signs_at_once = True
        self.signs: list[Sign] = []
        self.signatures: dict[str, int] = {}
        # From where a REQ resumes: the time of the first, and the newest event before an EOSE. And which were divided.
        self.begun: dict[bytes, float] = {}
        self.newest: dict[RelaySubscription, int] = {}
        self.divided: set[bytes] = set()
        self.errors: Counter[bytes] = Counter()
        # The outbox, and of this connection: what the relay was sent and has not ended.
        self.room: int | None = None
        self.outbox_size = 0
        self.up = False
        self.connections = 0
        self.connected_at = 0.0
        self.lagged_at = 0.0
        self._forget_connection()
        # Of the input under way.
        self.throughs: set[Subscription] = set()
        self.through: set[Subscription] = set()

    def _forget_connection(self) -> None:
        self.at_relay: dict[str, RelaySubscription] = {}
        self.requested: set[RelaySubscription] = set()
        self.again: set[RelaySubscription] = set()
        self.again_after_cool_down: set[RelaySubscription] = set()
        self.ids: dict[str, None] = {}  # in order: the same in each run
        self.closable: set[str] = set()
        self.sent: list[tuple[str, Any]] = []
        self.seen: dict[RelaySubscription, int] = {}
        self.active: dict[RelaySubscription, float] = {}
        self.sends: Counter[Attempt] = Counter()
        self.sent_at: dict[Attempt, float] = {}
        self.turn = 0
        self.auths = 0
        self.eoses: Counter[bytes] = Counter()
        self.closes: Counter[bytes] = Counter()

    def now(self) -> Instant:
        return Instant(self.monotonic, self.time)

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    # Inputs.

    def perform(self, effects: list[Effect]) -> None:
        """Perform `effects` as the pool does."""
        for each in effects:
            if isinstance(each, Send) and isinstance(each.subject, RelaySubscription):
                self.begun.setdefault(each.subject.subscription.token, self.time + self.session.clock_offset)
        for place, effect in enumerate(effects):
            match effect:
                case Send(payload, subject):
                    assert self.up, "a message without a connection"
                    if not self._put(payload):
                        rest = effects[place:]
                        subjects = [each.subject for each in rest if isinstance(each, Send)]
                        others: list[Effect] = [each for each in rest if not isinstance(each, Send)]
                        self.perform(others + self.session.not_sent(subjects, self.now()))
                        return
                    self._check_sent(payload, subject)
                case Deliver(callback, argument):
                    self._check_delivered(callback, argument)
                case Settle(attempt, answer):
                    assert attempt not in self.answers, "settled twice"
                    assert attempt in self.attempts, "settled, and was never sent by the client"
                    del self.attempts[attempt]
                    self.answers[attempt] = answer
                case CheckComplete(subscription):
                    self.throughs.add(subscription)
                case SetDeadline(key, seconds):
                    assert seconds >= 0
                    self.deadlines[key] = self.monotonic + seconds
                case CancelDeadline(key):
                    self.deadlines.pop(key, None)
                case Sign(turn=turn):
                    assert self.up
                    assert turn > self.turn
                    self.turn = turn
                    if self.signs_at_once:
                        self.sign(effect, signs=self.signers > effect.signer)
                    else:
                        self.signs.append(effect)
                case RequestInformation():
                    self.asked.append(self.monotonic + FETCH_TIMEOUT)
                    self.asked_in_all += 1
                    assert self.asked_in_all <= 1 + (self.monotonic - 1000.0) / 300, "the document, too often"
                case Log():
                    pass

    def _put(self, payload: bytes) -> bool:
        if len(payload) > self.outbox_size or self.room == 0:
            return False
        if self.room is not None:
            self.room -= 1
        return True

    def done(self, *, told: bool = True) -> None:
        """End an input: what became through must have said so."""
        session = self.session
        through = {each for each in self.subscriptions.values() if session.is_complete(each)}
        if told:
            quiet = through - self.through - self.throughs
            assert not quiet, f"through without a word: {[each.id for each in quiet]}"
        self.through = through
        self.throughs.clear()
        self._note_newest()
        self._check_places()

    def _note_newest(self) -> None:
        for request, newest in self.seen.items():
            if request.live:
                self.newest[request] = max(newest, self.newest.get(request, 0))

    def _check_places(self) -> None:
        """What is to be served is somewhere where it will be."""
        session = self.session
        kept = [each for each, _ in session._authentication._refused]
        if self.up:
            for request in session.subscriptions.values():
                places = (request.id in session._line) + (request.id in session._open) + (request in kept)
                assert places == (not request.closed), f"{request.id!r} is in {places} places"
                if isinstance(request, Backfill):
                    assert request.of.backfill is request, f"{request.id!r} is of no use"
                    assert not request.closed, f"{request.id!r} has ended, and what it completes has not"
            if not (session._stuck or session._holding):
                assert self.at_relay == session._open, "what the relay has open is not what the session has"
        assert session._groups.keys() == self.subscriptions.keys(), "a subscription too many, or too few"
        assert session._ended <= set(self.subscriptions.values())
        assert (session._line.items() | session._open.items()) <= session.subscriptions.items(), "a REQ for nobody"
        assert self.up or not (session._open or kept or session._attempts.in_flight), "open without a connection"
        if self.attempts:
            flying = [each for several in session._attempts.in_flight.values() for each in several]
            waiting = [*session._attempts.waiting, *flying, *(each for each in kept if isinstance(each, Attempt))]
            assert self.attempts.keys() == set(waiting), "an attempt that is lost"
            assert len(self.attempts) == len(waiting), "an attempt in two places"

    def received(self, message: RelayMessage) -> None:
        signers = self.signers if isinstance(message, AuthMessage) else None
        self.perform(self.session.received(message, self.now(), signers=signers))
        self.done()

    def connect(self, options: Options, offset: float | None = None) -> None:
        assert not self.up
        self.connections += 1
        self._forget_connection()
        self.up = True
        self.room = None
        self.outbox_size = options.max_queue_size
        self.connected_at = self.monotonic
        self.eose_timeout = options.eose_timeout
        relay = Relay(URL, options, clock_offset=offset)
        self.perform(self.session.connected(relay, self.now(), signers=self.signers))
        self.done(told=False)

    def disconnect(self, code: int | None) -> None:
        self.up = False
        lost = [each for several in self.session._attempts.in_flight.values() for each in several]
        self.losses.update(lost)
        self.perform(self.session.disconnected(code))
        for attempt in lost:
            assert attempt in self.answers or self.losses[attempt] < 2, "lost with two connections, and sent again"
        assert self.deadlines.keys() <= {"cool-down"}, f"deadlines without a connection: {self.deadlines}"
        self.done(told=False)

    def close(self, id_: str, text: str) -> None:
        """Have the relay send a CLOSED."""
        request = self.at_relay.pop(id_, None)
        if request is not None:
            later = dialects.meaning(text) is Meaning.RATE_LIMITED
            (self.again_after_cool_down if later else self.again).add(request)
        self.received(ClosedMessage(id_, text))

    def eose(self, id_: str, hints: object = None) -> None:
        request = self.at_relay.get(id_)
        if isinstance(request, Backfill):
            self.again.add(request)
            self.active[request] = self.monotonic
        waits = self.session._line.get(id_)
        if waits is not None and waits.in_doubt:  # what a NOTICE has put back in line is open after all
            assert waits in self.requested
            self.at_relay[id_] = waits
        self.received(EoseMessage(id_, hints))

    def notice(self, message: NoticeMessage) -> None:
        unanswered = {each for each in self.at_relay.values() if not each.answered}
        meaning = dialects.meaning(message.message)
        if meaning is Meaning.RATE_LIMITED:
            self.again_after_cool_down |= unanswered
        elif meaning is not None:
            self.again |= unanswered
        self._perform_and_forget(lambda: self.session.received(message, self.now()))

    def _perform_and_forget(self, input_: Callable[[], list[Effect]]) -> None:
        """Perform what comes of an input; what the session takes for refused by it, the relay does not have open."""
        before = set(self.session._open)
        effects = input_()
        subjects = [each.subject for each in effects if isinstance(each, Send)]
        again = {each.id for each in subjects if isinstance(each, RelaySubscription)}
        for id_ in before - (set(self.session._open) - again):
            self.at_relay.pop(id_, None)
        self.perform(effects)
        self.done()

    def expire(self, key: Key) -> None:
        del self.deadlines[key]
        if key == "cool-down":
            self.again |= self.again_after_cool_down
            self.again_after_cool_down.clear()
        waits = [
            (each, self.monotonic - self.active.get(each, -math.inf))
            for each in self.session.subscriptions.values()
            if not (each.settled or each.overdue)
        ]
        self._perform_and_forget(lambda: self.session.deadline_expired(key, self.now()))
        for request, silent in waits if key == "silence" else ():
            if request.overdue or self.session.subscriptions.get(request.id) is not request:
                assert silent >= (self.eose_timeout or 0) - 1e-3, f"{request.id!r} is given up after {silent} s"

    def sign(self, wanted: Sign, *, signs: bool) -> None:
        event = _event(2**40 + self.number(), int(self.time)) if signs else None
        if event is not None:
            self.signatures[event.id] = wanted.turn
        self.perform(self.session.signed(wanted.turn, event, self.now()))

    def inform(self, information: RelayInformation | None) -> None:
        self.asked.pop(0)
        self.known_most = None if information is None else information.limitation.max_subscriptions
        self.perform(self.session.informed(information, self.now()))
        self.done()

    def subscribe(self, id_: str, filters: list[dict[str, Any]]) -> None:
        subscription = self.subscriptions[id_] = Subscription(id_, filters, None)
        self.perform(self.session.subscribe(subscription, self.now()))
        self.done(told=False)

    def unsubscribe(self, id_: str) -> None:
        self.subscriptions.pop(id_, None)
        self.perform(self.session.unsubscribe(id_, self.now()))
        self.done()

    def send(self, key: str, *, is_event: bool = True, size: int = 0) -> Attempt:
        payload = encode(["EVENT", {"id": key, "content": "x" * size}] if is_event else ["COUNT", key, {"kinds": [1]}])
        attempt = Attempt(key, payload, URL, Waiter(), is_event=is_event)
        self.attempts[attempt] = self.monotonic + TIMEOUT
        self.perform(self.session.send(attempt, self.now()))
        self.done()
        return attempt

    def advance(self, seconds: float, fires: int = 10_000) -> int:
        """Let time pass, and what is due happen; return how much that was."""
        end = self.monotonic + seconds
        fired = 0
        while fired < fires:
            at, happen = self._next()
            if at > end:
                break
            self._pass(max(0.0, at - self.monotonic))
            happen()
            fired += 1
        if fired < fires:
            self._pass(end - self.monotonic)
        return fired

    def _next(self) -> tuple[float, Callable[[], None]]:
        """Return what is due next, and when."""
        due: list[tuple[float, Callable[[], None]]] = [(math.inf, lambda: None)]
        if self.deadlines:
            key = min(self.deadlines, key=self.deadlines.__getitem__)
            due.append((self.deadlines[key], lambda: self.expire(key)))
        if self.attempts:  # the first is the oldest, and all wait for as long
            due.append((next(iter(self.attempts.values())), self._time_out))
        if self.asked:
            due.append((self.asked[0], lambda: self.inform(None)))
        return min(due, key=itemgetter(0))

    def _pass(self, seconds: float) -> None:
        self.monotonic += seconds
        self.time += seconds

    def _time_out(self) -> None:
        """Have all attempts time out whose time is over, as the pool does: at once."""
        over = [each for each, at in self.attempts.items() if at <= self.monotonic]
        for attempt in over:
            attempt.expired = True
        for attempt in over:
            if not attempt.is_event and attempt.key in self.session._attempts.in_flight:
                waited = self.monotonic - max(self.sent_at[attempt], self.lagged_at)
                assert self.eose_timeout is None or waited <= self.eose_timeout + 1e-3, f"a COUNT waits for {waited} s"
            self.perform(self.session.timed_out(attempt, TIMEOUT, self.now()))
            assert attempt in self.answers, "timed out, and not settled"
        self.done()

    # What must hold of a message to the relay.

    def _check_sent(self, payload: bytes, subject: RelaySubscription | Attempt | Event | str) -> None:
        message = msgspec.json.decode(payload)
        label = message[0]
        if label == "REQ":
            assert isinstance(subject, RelaySubscription)
            self._check_request(subject, message[1], message[2:])
        elif label == "CLOSE":
            id_ = message[1]
            assert id_ in self.closable, f"CLOSE of {id_!r}, which was not requested"
            self.closable.remove(id_)
            self.at_relay.pop(id_, None)
        elif label == "AUTH":
            assert isinstance(subject, Event)
            assert subject.id in self.signatures, "AUTH that nobody has signed, or for the second time"
            turn = self.signatures.pop(subject.id)
            assert turn == self.turn, f"the AUTH of turn {turn} in turn {self.turn}"
            self.auths += 1
            most = MOST_SIGNERS * _rounds(self.monotonic - self.connected_at)
            assert self.auths <= most, f"{self.auths} AUTHs within {self.monotonic - self.connected_at:g} s"
        else:
            assert label in {"EVENT", "COUNT"}
            assert isinstance(subject, Attempt)
            assert subject in self.attempts, f"{label} that is settled"
            assert not subject.cancelled, f"{label} that nobody waits for"
            self.sends[subject] += 1
            self.sent_at[subject] = self.monotonic
            assert self.sends[subject] <= 2, f"{label} sent {self.sends[subject]} times on one connection"
        self.sent.append((label, subject))

    def _check_request(self, request: RelaySubscription, id_: str, filters: list[dict[str, Any]]) -> None:
        subscription = request.subscription
        assert self.subscriptions.get(subscription.id) is subscription, f"REQ {id_!r} for nobody"
        assert self.session.subscriptions.get(id_) is request, f"REQ {id_!r} that is forgotten"
        if isinstance(request, Backfill):
            assert request.of.backfill is request, "a page of nothing"
        several = len(self.session._groups[subscription.id]) > 1
        assert several or not self.closes[subscription.token], f"REQ {id_!r} after its handle_closed"
        if request in self.requested:
            assert request in self.again, f"REQ {id_!r} once more, and nothing has refused it"
            self.again.remove(request)
        self.requested.add(request)
        self.active[request] = self.monotonic
        self.ids[id_] = None
        self.closable.add(id_)
        self.at_relay[id_] = request
        if self.known_most is not None:
            assert len(self.at_relay) <= self.known_most, f"{len(self.at_relay)} REQs open, of {self.known_most}"
        first = self.begun[subscription.token]
        if several:
            self.divided.add(subscription.token)
        assert len(filters) == len(request.filters)
        for mine, sent in zip(request.filters, filters, strict=True):
            self._check_filter(request, mine, sent, first)

    def _check_filter(self, request: RelaySubscription, mine: Any, sent: dict[str, Any], first: float) -> None:
        changed = {"limit", "since", "until"}
        assert {name: each for name, each in mine.items() if name not in changed} == {
            name: each for name, each in sent.items() if name not in changed
        }
        if "limit" in mine:
            assert "limit" in sent or "since" in sent or "ids" in sent, f"without limit and since: {sent}"
        if "limit" in sent:
            assert sent["limit"] <= mine["limit"]
        if "since" in mine:
            assert sent["since"] >= mine["since"], "more than was subscribed to"
        if "until" in mine:
            assert sent["until"] <= mine["until"]
        if "since" in sent and not isinstance(request, Backfill):
            if request.subscription.token not in self.divided:
                most = max(max(self.newest.get(request, 0), int(first)) - OVERLAP, mine.get("since", 0))
                most = most if mine.get("limit") != 0 else max(most, int(first))
                assert sent["since"] <= most, f"{sent['since'] - most} s are skipped"
            if mine.get("limit") == 0:
                assert sent["since"] >= int(first), "stored events of one that wants none"

    # What must hold of what is delivered.

    def _check_delivered(self, callback: str, argument: object) -> None:
        if isinstance(argument, RequestTooLarge):
            assert argument.subscription_id is not None
            token = self.subscriptions[argument.subscription_id].token
            self.errors[token] += 1
            assert self.errors[token] == 1, "too large, twice"
            return
        if not isinstance(argument, EoseMessage | ClosedMessage):
            return
        id_ = argument.subscription_id
        subscription = self.subscriptions.get(id_)
        if subscription is None:
            assert id_ not in self.ids, f"{callback} of {id_!r}, which is not the user's any more"
            return
        delivered = self.eoses if isinstance(argument, EoseMessage) else self.closes
        delivered[subscription.token] += 1
        assert delivered[subscription.token] == 1, f"{callback} twice on one connection"
        requested = any(each.subscription is subscription for each in self.requested)
        assert requested, f"{callback} of what was not requested"

    # The relay and the client of a walk: each takes two numbers below 256, and is one line of the trace.

    def _id(self, a: int) -> str:
        """Return an id: mostly of a REQ that is open."""
        if a < 190 and self.at_relay:
            return list(self.at_relay)[-1 if a < 50 else a % len(self.at_relay)]
        if a < 215:
            return IDS[a % len(IDS)]
        if a < 245 and self.ids:
            return list(self.ids)[a % len(self.ids)]
        return "nobody's"

    def _flying(self, a: int) -> str:
        flying = list(self.session._attempts.in_flight)
        return flying[a % len(flying)] if flying and a < 230 else "0" * 64

    def _connect(self, a: int, b: int) -> None:
        if self.up:
            self.disconnect((None, None, 1006, TOO_BIG)[b % 4])
            if a < 60:
                return
        self.connect(OPTIONS[a % len(OPTIONS)], OFFSETS[b // 4 % len(OFFSETS)])

    def _disconnect(self, a: int, b: int) -> None:
        self.disconnect((None, 1006, TOO_BIG)[a % 3])
        if b % 4 == 0:
            self.perform(self.session.relay_removed())
            assert not self.attempts or all(each.url == URL for each in self.attempts)
            assert not self.attempts, "removed, and attempts wait"
            self.done(told=False)

    def _subscribe(self, a: int, b: int) -> None:
        # The largest are slow, and seldom.
        place = b % (len(FILTERS) - 2) if b < 240 else b % len(FILTERS)
        self.subscribe(IDS[a % len(IDS)], FILTERS[place])

    def _unsubscribe(self, a: int, b: int) -> None:
        self.unsubscribe(IDS[a % len(IDS)])

    def _publish(self, a: int, b: int) -> None:
        number = a % 8 if b < 100 else 1000 + self.number()
        self.send(f"{number:064x}", size=(0, 0, 0, 1500, 6000)[b % 5])

    def _count(self, a: int, b: int) -> None:
        self.send(f"count-{self.number()}", is_event=False)

    def _cancel(self, a: int, b: int) -> None:
        if self.attempts:
            list(self.attempts)[a % len(self.attempts)].pending.cancelled = True

    def _tick(self, a: int, b: int) -> None:
        """Go on to the next deadline."""
        at, _ = self._next()
        if at < math.inf:
            self.advance(max(0.0, at - self.monotonic))

    def _advance(self, a: int, b: int) -> None:
        seconds = (0.0, 0.1, 1.0, 3.0, 11.0, 61.0, 400.0)[a % 7]
        if seconds > 5:
            self.room = None
        self.advance(seconds)

    def _lag(self, a: int, b: int) -> None:
        """Have the client be slow: what the relay has sent is not read."""
        self.session.lagging(self.now())
        self.lagged_at = self.monotonic

    def _step_clock(self, a: int, b: int) -> None:
        self.time += (-86400, -100, 100, 86400)[a % 4]

    def _fill_outbox(self, a: int, b: int) -> None:
        self.room = a % 4

    def _empty_outbox(self, a: int, b: int) -> None:
        self.room = None

    def _inform(self, a: int, b: int) -> None:
        if self.asked:
            self.inform(INFORMATION[a % len(INFORMATION)])

    def _sign(self, a: int, b: int) -> None:
        if self.signs:
            self.sign(self.signs.pop(a % len(self.signs)), signs=b < 200)
            self.done()

    def _set_signers(self, a: int, b: int) -> None:
        self.signers = a % (MOST_SIGNERS + 1)
        self.signs_at_once = b % 3 == 0

    def _eose(self, a: int, b: int) -> None:
        self.eose(self._id(a), (None, None, ["more"], ["finish"], "more", {"more": 1}, 7)[b % 7])

    def _closed(self, a: int, b: int) -> None:
        self.close(self._id(a), _text(b))

    def _ok(self, a: int, b: int) -> None:
        accepted = b < 100
        key = "" if b > 230 else self._flying(a)
        self.received(OkMessage(key, accepted, "" if accepted else _text(a + b)))

    def _answer_auth(self, a: int, b: int) -> None:
        id_ = self.session._authentication.event_id
        if id_ is not None:
            self.received(OkMessage(id_, a % 3 > 0, "" if a % 3 else "restricted: no"))

    def _closed_count(self, a: int, b: int) -> None:
        self.close(self._flying(a), _text(b))

    def _counted(self, a: int, b: int) -> None:
        self.received(CountMessage(self._flying(a), CountResult(b)))

    def _challenge(self, a: int, b: int) -> None:
        self.received(AuthMessage(f"challenge-{a % 3}" if a < 128 else f"challenge-{self.number()}"))

    def _notice(self, a: int, b: int) -> None:
        if b < 40:
            self.notice(NoticeMessage(f"{self._id(a)}: {_text(b * 7)}"))
        elif b < 60:
            self.notice(NoticeMessage(f"REQ new sub_id {self._id(a)} not allowed, already at max subs={1 + b % 3}"))
        else:
            self.notice(NoticeMessage(_text(a)))

    def _events(self, a: int, b: int) -> None:
        """Have the relay send events of a subscription, as the pool notes them."""
        self._send_events(self._id(a), b)

    def _send_events(self, id_: str, b: int) -> None:
        request = self.session.subscriptions.get(id_)
        if request is None:
            return
        time = self.time + self.session.clock_offset
        for number in range((1, 3, 21)[b % 3]):
            age = (number, 500 + number, 10**6 + 10 * number, 7, -50, -1000)[b // 3 % 6]
            created_at = max(0, int(time) - age)
            if isinstance(request, Backfill) and b % 4:
                created_at = (request._until or 0) - number
            request.note(created_at, self.monotonic, time)
            if created_at <= time + LENIENCE:
                of = request.of if isinstance(request, Backfill) else request
                self.seen[of] = max(self.seen.get(of, 0), created_at)
        if not request.live:
            self.active[request] = self.monotonic
        self._note_newest()

    def _resume(self, a: int, b: int) -> None:
        """Have the connection lost, and much to come on the next one."""
        self.serve()
        if b % 4 == 0:
            self._challenge(a, b)
        self.disconnect(1006)
        self._advance(a, b)
        self.connect(OPTIONS[a % 3])
        if b % 4 == 0:
            self._challenge(a, b)
        self._advance(b, a)
        if self.at_relay:
            self._events(a, 2 + 3 * (b % 4))
            self.eose(self._id(a), (None, ["more"])[b % 2])
            if a % 4 == 0 and self.at_relay:
                self.close(next(iter(self.at_relay)), "rate-limited: slow down")
            for _ in range(b % 3 if self.at_relay else 0):
                self._send_events(list(self.at_relay)[-1], 2 + 3 * (a % 6))
                self.eose(list(self.at_relay)[-1], (None, ["more"])[a % 2])
            if b % 5 == 0:
                self._notice(b, a)

    def _serve(self, a: int, b: int) -> None:
        """Have the relay answer all that waits."""
        self.serve()

    def _hammer(self, a: int, b: int) -> None:
        """Have the relay refuse a REQ, and each that follows."""
        if not self.at_relay:
            return
        id_ = list(self.at_relay)[a % len(self.at_relay)]
        meaning = MEANINGS[b % len(MEANINGS)]
        texts = TEXTS[meaning]
        before = len(self.sent)
        for number in range(HAMMER):
            text = texts[b % len(texts)]
            if meaning is Meaning.LIMIT_TOO_HIGH:
                text = f"blocked: limit too high: 50000 (max {100 - number})"
            if b < 160:
                self.close(id_, text)
            else:
                self.notice(NoticeMessage(text))
            self.advance(0.0)
        again = sum(label == "REQ" and subject.id == id_ for label, subject in self.sent[before:])
        # Halved until it is small.
        assert again <= 8, f"{HAMMER} times {text!r}: {again} REQs for {id_!r}"

    def _storm(self, a: int, b: int) -> None:
        """Have the relay send a challenge after each verdict, and refuse in between."""
        for _ in range(6):
            self._challenge(255, 0)
            self.advance(0.0)
            self._answer_auth(a, b)
            if b % 2 and self.at_relay:
                self.close(next(iter(self.at_relay)), "auth-required: who are you?")
            if b % 3 == 0 and self.session._attempts.in_flight:
                self.received(OkMessage(self._flying(a % 230), accepted=False, message="auth-required: who are you?"))

    def _quiet(self, a: int, b: int) -> None:
        """Have the relay refuse one that it has served, perhaps, and say nothing more."""
        if self.up and b % 2:
            self.serve()
            self.advance(61.0)
            self.close(self._id(a), _text(b // 2))
        self.end_waits()

    STEPS: Final = (
        (8, _connect, False),
        (4, _disconnect, True),
        (26, _subscribe, False),
        (8, _unsubscribe, False),
        (16, _publish, False),
        (8, _count, False),
        (3, _cancel, False),
        (12, _tick, False),
        (10, _advance, False),
        (3, _step_clock, False),
        (1, _lag, True),
        (5, _fill_outbox, True),
        (3, _empty_outbox, True),
        (8, _inform, False),
        (8, _sign, False),
        (4, _set_signers, False),
        (24, _eose, True),
        (22, _closed, True),
        (14, _ok, True),
        (6, _answer_auth, True),
        (4, _closed_count, True),
        (4, _counted, True),
        (8, _challenge, True),
        (14, _notice, True),
        (18, _events, True),
        (4, _serve, True),
        (4, _resume, True),
        (2, _hammer, True),
        (2, _storm, True),
        (2, _quiet, False),
    )

    def step(self, place: int, a: int, b: int) -> None:
        """Do one step: which one, and two numbers for it; one of the relay only where there is a connection."""
        name, act, connected = TABLE[place]
        if self.up or not connected:
            self.trace.append(f"{name}({a}, {b})")
            act(self, a, b)

    # What must hold in the end.

    def end_waits(self) -> None:
        """Have the relay say nothing more: all waits must end."""
        if not self.up:
            self.connect(OPTIONS[0])
        self.room = None
        if self.numbers % 2:  # where no signer takes its time, it ends sooner
            self.signs_at_once = True
            while self.signs:
                self.sign(self.signs.pop(0), signs=False)
            self.advance(SOON)
            self._check_through()
        fired = self.advance(3000.0, fires=400)
        assert fired < 400, f"deadlines that are set for ever: {self.deadlines}"
        assert not self.deadlines, f"deadlines that are set for ever: {self.deadlines}"
        assert not self.attempts, "attempts that wait for ever"
        self._check_through()
        # And what comes now is sent at once.
        attempt = self.send(f"{3000 + self.number():064x}")
        assert self.sends[attempt] == 1, "an EVENT waits, and for nothing"
        self.subscribe("feed-now", FILTERS[0])
        most = self.session._limits.subscriptions
        sent = "feed-now" in self.at_relay or (most is not None and len(self.session._open) >= most)
        assert sent or self.asked, "a REQ waits, and for nothing"
        self.unsubscribe("feed-now")
        self.advance(TIMEOUT)

    def _check_through(self) -> None:
        if self.eose_timeout is not None:
            for each in self.subscriptions.values():
                assert self.session.is_complete(each), f"{each.id!r} is waited for for ever"

    def serve(self) -> None:
        """Have the relay answer everything that it was sent, as a relay should."""
        for label, subject in self.sent:  # which grows
            match label:
                case "REQ":
                    request = self.at_relay.get(subject.id)
                    if request is not None and request is subject and not request.live:
                        self.eose(request.id)
                case "EVENT":
                    self.received(OkMessage(subject.key, accepted=True))
                case "COUNT":
                    self.received(CountMessage(subject.key, CountResult(1)))
                case "AUTH":
                    self.received(OkMessage(subject.id, accepted=True))

    def _served(self, seconds: float) -> None:
        """Let time pass at a relay that answers everything."""
        end = self.monotonic + seconds
        for _ in range(200):
            self.serve()
            while self.asked:
                self.inform(RelayInformation())
                self.serve()
            at, _ = self._next()
            if at > end:
                break
            self.advance(max(0.0, at - self.monotonic))

    def end_well(self) -> None:
        """Have a relay that answers everything: everything must be served."""
        if self.up:
            self.disconnect(1006)
        self.signs_at_once = True
        self.connect(OPTIONS[0])
        self._served(1000.0)
        session = self.session
        new = [self.send(f"{2000 + self.number():064x}"), self.send(f"count-{self.number()}", is_event=False)]
        self._served(1.0)
        for attempt in new:
            answer = self.answers.get(attempt)
            assert answer == CountResult(1) or answer == PublishOutcome("accepted"), f"not accepted: {answer}"
        # What it has said earlier about how many it allows counts: then, one after the other.
        for _ in range(len(IDS) + 1):
            waiting = [each for each in self.subscriptions.values() if not self._is_served(each)]
            most = session._limits.subscriptions
            if not waiting:
                return
            assert most is not None, f"not served: {[each.id for each in waiting]}"
            assert len(session._open) >= most, f"not served, and there is room: {[each.id for each in waiting]}"
            held = {each.subscription.id for each in session._open.values()}
            if len(held) == 1 and self.subscriptions[next(iter(held))] in waiting:
                assert len(session._groups[next(iter(held))]) > most, "not served, and there is room"
            for id_ in held:
                self.unsubscribe(id_)
            self._served(1000.0)

    def _is_served(self, subscription: Subscription) -> bool:
        group = self.session._groups[subscription.id]
        return all(each.set_aside or (each.live and each in self.requested) for each in group)


def _text(number: int) -> str:
    """Return what a relay says: of every meaning alike, or of none."""
    if number % 16 >= len(MEANINGS):
        return NOT_REFUSALS[number % len(NOT_REFUSALS)]
    texts = TEXTS[MEANINGS[number % 16]]
    return texts[number // 16 % len(texts)]


def _rounds(seconds: float) -> int:
    """Return how many challenges can have been answered within so many seconds of a connection."""
    rounds, passed, delay = 2, 0.0, 1.0
    while passed + delay <= seconds + 1e-3:
        passed += delay
        delay = min(2 * delay, 60.0)
        rounds += 1
    return rounds


TABLE: Final = [
    (function.__name__.strip("_"), function, connected)
    for weight, function, connected in World.STEPS
    for _ in range(weight)
]


@given(st.binary(min_size=3 * STEPS, max_size=3 * STEPS))
@settings(
    max_examples=int(EXAMPLES or 200),
    derandomize=EXAMPLES is None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_a_relay_can_send_anything_at_any_time(walk: bytes) -> None:
    world = World()
    try:
        for place in range(0, len(walk), 3):
            if walk[place]:
                world.step(walk[place] - 1, walk[place + 1], walk[place + 2])
        world.trace.append("end_waits()")
        world.end_waits()
        world.trace.append("end_well()")
        world.end_well()
    except BaseException:
        note("\n".join(world.trace))
        raise


def test_every_byte_is_a_step() -> None:
    assert len(TABLE) == 255
