"""The protocol state of one relay.

It has the open subscriptions, the unanswered EVENT and COUNT messages, and the authentication.

A pure core: each method takes an input, with the time, and returns a list of effects to perform
(`gennostr.client.effects`). It has no socket, clock, thread, log or user code; `RelayPool` performs the effects.

A session outlives its connections. Each connection starts afresh: no REQ is open, nobody is authenticated, and what was
sent on the last one and not answered is sent once more.

REQs are sent in the order in which they were subscribed to, at most as many at once as the relay allows, by its
information document (NIP-11) or by its refusals. The first is sent at once, unless it is large; before a second one,
the document is fetched; without one, there is no limit.

Every wait ends, whatever the relay does: ``eose_timeout`` seconds without an event complete a subscription's part in
handle_eose_all, and end a COUNT; authentication has deadlines of its own. And no relay can drive a loop: what it
refuses is sent again once, or after a delay that doubles, or when another of our subscriptions was closed.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from gennostr.client import dialects
from gennostr.client.attempt import Attempt, PublishOutcome
from gennostr.client.attempt_queue import AttemptQueue
from gennostr.client.authentication import Authentication, Refused, Verdict
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
)
from gennostr.client.options import Relay
from gennostr.client.relay_limits import SMALLEST_SIZE, RelayLimits
from gennostr.client.subscriptions import Backfill, Instant, Position, RelaySubscription, Subscription
from gennostr.exceptions import RequestTooLarge
from gennostr.nostr.encoding import write
from gennostr.nostr.event import Event
from gennostr.nostr.filters import split_filters
from gennostr.nostr.messages import (
    AuthMessage,
    ClosedMessage,
    CountMessage,
    EoseMessage,
    NoticeMessage,
    OkMessage,
    RelayMessage,
    UnknownMessage,
    more_stored,
)
from gennostr.nostr.relay_information import RelayInformation
from gennostr.nostr.relay_url import redact

HOLD: Final = 0.25
"""Seconds to wait for a challenge before sending REQs, if the relay accepted a signer on an earlier connection."""
COOL_DOWN: Final = (5.0, 300.0)
"""Seconds without a REQ after ``rate-limited``: first, doubled each time, and at most."""
FULL_OUTBOX: Final = 1.0
"""Seconds until messages that did not fit into the outbox are tried again."""
FORGOTTEN: Final = 256
"""How many closed subscriptions are remembered by id, because their last events can still arrive."""
LARGE: Final = 16_384
"""Bytes of a REQ from which on the relay's information document is fetched before it is sent."""
MAX_PARTS: Final = 256
"""The most REQs for one subscription at one relay."""
TOO_BIG: Final = 1009
"""The code of a close frame for a message that is too large (RFC 6455, 7.4.1)."""
ENDLESS: Final = 60
"""After this many times ``eose_timeout``, a REQ is no longer waited for, even if events arrive."""
ROUNDING: Final = 1e-6
"""Seconds by which a deadline can seem to be early."""


class RelaySession:
    """The session of one relay; each method returns the effects to perform."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.relay: Relay | None = None
        """The relay as it last connected."""
        self.down = False
        """Whether the last attempt has ended and no later one has succeeded."""
        self.subscriptions: dict[str, RelaySubscription] = {}
        """By the id of the REQ: a relay's events are looked up here."""
        self.clock_offset = 0.0
        """Seconds by which the relay's clock is ahead of ours."""
        self.answer: RelayMessage | None = None
        """The last message that was the answer to an attempt: whatever it says, it is the attempt's outcome."""
        self._shown = redact(url)
        self._effects: list[Effect] = []
        self._up = False
        self._limits = RelayLimits()
        # The relay's option.
        self._eose_timeout: float | None = None
        # By the id of the subscription: the REQs that make it up, without backfills.
        self._groups: dict[str, list[RelaySubscription]] = {}
        # Those whose EOSE was delivered on this connection: a REQ that is sent again has another EOSE, which is not
        # delivered.
        self._ended: set[Subscription] = set()
        # REQs: those to be sent, in order; those open at the relay; and those that were closed here.
        self._line: dict[str, RelaySubscription] = {}
        self._open: dict[str, RelaySubscription] = {}
        self._forgotten: dict[str, Subscription] = {}
        self._to_close: deque[str] = deque()
        # Why nothing is sent now, or no REQ: each ends by a deadline of that name.
        self._holding = False
        self._stuck = False
        self._cooling = False
        self._cool_down = 0.0
        self._rate_limited_by_notice = False
        self._watching = False
        # When the relay was last left unread because of us: until then, its silence cannot be judged.
        self._lagged = 0.0
        self._attempts = AttemptQueue(self._limits, self._effects)
        self._authentication = Authentication(url, self._effects)

    def _take(self) -> list[Effect]:
        effects = self._effects.copy()
        self._effects.clear()  # the authentication shares the list itself
        return effects

    # Connections.

    def connected(self, relay: Relay, now: Instant, *, signers: int = 0) -> list[Effect]:
        """Start a new connection; handle_connect has run."""
        self.relay = relay
        self.clock_offset = relay.clock_offset or 0.0
        self._eose_timeout = relay.options.eose_timeout
        self._limits.connected(relay.options.max_queue_size, now.monotonic)
        self._authentication.signers = signers
        self._up = True
        self.down = False
        self._ended.clear()
        self._attempts.connected()
        for request in self.subscriptions.values():
            request.forget_connection()
            request.heard = request.begun_at = now.monotonic
        self._line = dict(self.subscriptions)
        if self._line:
            self._watch()
        if self._authentication.known and signers:
            self._holding = True
            self._effects.append(SetDeadline("hold", HOLD))
        return self._flush(now)

    def disconnected(self, code: int | None = None) -> list[Effect]:
        """Take back unanswered messages: the connection or attempt has ended.

        `code` is that of a close frame.
        """
        if code == TOO_BIG:
            self._too_large()
        for request in self._unanswered():
            # Some servers end a connection without a word if a message is too large (uWebSockets, strfry's): a large
            # one that was the end of two connections is split.
            request.drops += 1
            if request.drops > 1 and request.size >= LARGE and self._limits.learn_size(request.size):
                request.drops = 0
        self._up = False
        self.down = True
        self._line, self._open = {}, {}
        self.subscriptions = {id_: each for id_, each in self.subscriptions.items() if not isinstance(each, Backfill)}
        self._forgotten.clear()
        self._to_close.clear()
        if self._holding:
            self._effects.append(CancelDeadline("hold"))
        if self._stuck:
            self._effects.append(CancelDeadline("full"))
        if self._watching:
            self._effects.append(CancelDeadline("silence"))
        self._holding = self._stuck = self._watching = False
        self._authentication.forget_connection()
        self._attempts.disconnected([item for item, _ in self._authentication.take() if isinstance(item, Attempt)])
        return self._take()

    def relay_removed(self) -> list[Effect]:
        """Settle everything: there is no connection, and there will be none."""
        self._attempts.give_up()
        return self._take()

    # Sending.

    def _flush(self, now: Instant) -> list[Effect]:
        """Send what can be sent, and return all effects."""
        if self._up and not (self._holding or self._stuck):
            while self._to_close:
                id_ = self._to_close.popleft()
                self._effects.append(Send(write(["CLOSE", id_]), id_))
            while self._line and not self._cooling and self._send_next(now):
                pass
            if self._attempts.waiting and self._attempts.send(now.monotonic, careful=self._authentication.signers > 0):
                self._watch()
        return self._take()

    def _send_next(self, now: Instant) -> bool:
        """Send the next REQ, or set it aside; False if it must wait."""
        id_, request = next(iter(self._line.items()))
        if self._open and not self._has_room():
            return False
        time = now.time + self.clock_offset
        filters = request.next_filters()
        most = self._limits.max_limit
        payload = write(["REQ", id_, *(filters if most is None else (_limited(each, most) for each in filters))])
        if (self._open or len(payload) >= LARGE) and not self._limits.known:
            if self._limits.ask(now.monotonic):
                self._effects.append(RequestInformation())
            return False
        limit = self._limits.size
        if limit is not None and len(payload) > limit:
            self._split(request, len(payload), limit)
            return True
        del self._line[id_]
        self._open[id_] = request
        request.sent(filters, len(payload), time)
        request.heard = request.begun_at = now.monotonic
        self._watch()
        self._effects.append(Send(payload, request))
        return True

    def _has_room(self) -> bool:
        """Whether another REQ is within the relay's limit, as far as that is known."""
        limit = self._limits.subscriptions
        if limit is None or len(self._open) < limit:
            return True
        # Open REQs stay open: a page would wait for ever, and with it the EOSE.
        for rest in [each for each in self._line.values() if isinstance(each, Backfill)]:
            self._warn("allows no further REQ: stored events of the time before the reconnect may be missing")
            self._complete(rest)
        return False

    def _split(self, request: RelaySubscription, size: int, limit: int) -> None:
        """Replace a REQ that is too large by several, or set it aside."""
        # For the id, and for the since of a resumed REQ.
        around = 32 + max(len(write(["REQ", request.id, {}])), 64) + 32 * len(request.filters)
        parts = None
        if limit > around and request.can_be_split:
            parts = split_filters(request.filters, limit - around, most=MAX_PARTS)
        if parts is None or len(parts) < 2:
            del self._line[request.id]
            if isinstance(request, Backfill):
                self._warn(
                    "accepts no REQ that is large enough: stored events of the time before the reconnect may be missing"
                )
                self._complete(request)
                return
            request.closed = True
            if not request.set_aside:
                request.set_aside = True
                error = RequestTooLarge(request.subscription.id, size, limit, self._shown)
                self._effects.append(Deliver("handle_error", error))
            self._effects.append(CheckComplete(request.subscription))
            return
        self._put_parts(request, parts)

    def _put_parts(self, request: RelaySubscription, parts: Sequence[Sequence[dict[str, Any]]]) -> None:
        """Replace a REQ in line by one for each of `parts`."""
        several = request.split(parts)
        group = self._groups[request.subscription.id]
        place = group.index(request)
        group[place : place + 1] = several
        del self._line[request.id]
        self._line = {**{each.id: each for each in several}, **self._line}
        for each in several:
            self.subscriptions[each.id] = each

    def not_sent(self, subjects: Iterable[RelaySubscription | Attempt | Event | str], now: Instant) -> list[Effect]:
        """Take back what did not fit into the outbox.

        In the order in which it was to be sent.
        """
        requests: dict[str, RelaySubscription] = {}
        attempts: list[Attempt] = []
        closes: list[str] = []
        for subject in subjects:
            if isinstance(subject, str):
                closes.append(subject)
            elif isinstance(subject, Attempt):
                attempts.append(subject)
            elif isinstance(subject, Event):
                self._conclude(self._authentication.not_sent(subject), now)
            elif self._open.pop(subject.id, None) is not None:
                subject.size = 0
                requests[subject.id] = subject
                if subject.replaces:  # the one it was to replace is still open
                    subject.replaces = False
                    closes.append(subject.id)
        self._attempts.not_sent(attempts)
        self._to_close.extendleft(reversed(closes))
        self._line = {**requests, **self._line}
        if not self._stuck:
            self._stuck = True
            self._effects.append(SetDeadline("full", FULL_OUTBOX))
        return self._take()

    def deadline_expired(self, key: Key, now: Instant) -> list[Effect]:
        """Handle a deadline that was set, not cancelled, and has expired."""
        match key:
            case "hold":
                self._holding = False
            case "full":
                self._stuck = False
            case "cool-down":
                self._cooling = False
                if self._rate_limited_by_notice:  # it can have meant any of them
                    self._rate_limited_by_notice = False
                    self._send_again(self._unanswered(), in_doubt=True)
            case "silence":
                self._watching = False
                self._look_for_silence(now)
            case _:
                self._conclude(self._authentication.deadline_expired(key), now)
        return self._flush(now)

    # Subscriptions.

    def subscribe(self, subscription: Subscription, now: Instant, position: Position | None = None) -> list[Effect]:
        """Send a REQ for `subscription`, replacing one with the same id.

        It resumes from `position`, if an earlier run of the program has saved one.
        """
        id_ = subscription.id
        replaced = self._forgotten.pop(id_, None)
        # The relay replaces an open REQ with the same id: no CLOSE is needed.
        held = self._open.pop(id_, None)
        self._drop(id_)
        self._forgotten.pop(id_, None)
        request = RelaySubscription(subscription, replaced if held is None else held.subscription)
        if position is not None:
            request.resume(position)
        request.heard = request.begun_at = now.monotonic
        self.subscriptions[id_] = request
        self._groups[id_] = [request]
        if self._up:
            if held is None:
                self._line[id_] = request
            else:
                self._line = {id_: request, **self._line}
                self._send_instead(request, now)
            self._watch()
        return self._flush(now)

    def _send_instead(self, request: RelaySubscription, now: Instant) -> None:
        """Send the first REQ in line, replacing an open one with its id.

        If it must wait, close that one.

        Both count at the relay: no other may be sent before.
        """
        waits = self._holding or self._stuck or self._cooling
        if waits or not self._send_next(now) or request.id not in self._open:
            self._to_close.append(request.id)
        else:
            request.replaces = True

    def positions(self) -> Iterator[tuple[str, Position]]:
        """Return how far each subscription that a store keeps was read here, by its id.

        Of several REQs, the one that was read least counts: so nothing is skipped.
        """
        for id_, group in self._groups.items():
            if group[0].subscription.saved:
                each = [request.position for request in group]
                positions = [position for position in each if position is not None]
                if len(positions) == len(each):
                    yield id_, _earliest(positions)

    def unsubscribe(self, id_: str, now: Instant) -> list[Effect]:
        """Close the subscription `id_`."""
        self._drop(id_)
        return self._flush(now)

    def _drop(self, id_: str) -> None:
        """Forget a subscription, and close its open REQs."""
        for request in self._groups.pop(id_, []):
            self._ended.discard(request.subscription)
            self._drop_backfill(request)
            self._close(request)

    def _close(self, request: RelaySubscription) -> None:
        id_ = request.id
        self.subscriptions.pop(id_, None)
        waited = self._line.pop(id_, None)
        self._authentication.drop(request)
        if self._open.pop(id_, None) is not None or (waited is not None and waited.in_doubt):
            self._to_close.append(id_)
        self._forgotten[id_] = request.subscription
        if len(self._forgotten) > FORGOTTEN:
            del self._forgotten[next(iter(self._forgotten))]

    def _drop_backfill(self, of: RelaySubscription) -> None:
        """Stop requesting pages for `of`: it has ended, or is requested anew."""
        if of.backfill is not None:
            self._close(of.backfill)
            of.backfill = None

    def forgets(self, id_: str) -> bool:
        """Whether this is the id of a closed subscription, whose events can still arrive."""
        return id_ in self._forgotten

    def is_complete(self, subscription: Subscription) -> bool:
        """Whether this relay has no stored event of `subscription` left to send.

        Also true if it is no longer waited for.
        """
        if self.down:
            return True
        group = self._groups.get(subscription.id)
        return group is not None and all(each.live or each.closed or each.overdue for each in group)

    def informed(self, information: RelayInformation | None, now: Instant) -> list[Effect]:
        """Use the relay's information document; None: it has none."""
        self._limits.inform(information)
        most, several = self._limits.subscriptions, len(self.subscriptions)
        if most is not None and several > most:
            self._warn(f"allows {most} subscriptions at once: some of the {several} have to wait")
        return self._flush(now)

    # Messages.

    def received(self, message: RelayMessage, now: Instant, *, signers: int | None = None) -> list[Effect]:
        """Handle a message other than an EVENT; it is delivered if a `Deliver` says so.

        `signers` is how many the client has; None: unchanged.
        """
        if signers is not None:
            self._authentication.signers = signers
        kind = type(message)
        deliver: RelayMessage | None
        # By type, the most frequent first.
        if kind is OkMessage:
            deliver = self._ok(message, now)  # type: ignore[arg-type]
        elif kind is EoseMessage:
            deliver = self._eose(message, now)  # type: ignore[arg-type]
        elif kind is ClosedMessage:
            deliver = self._closed(message, now)  # type: ignore[arg-type]
        elif kind is CountMessage:
            deliver = self._count(message)  # type: ignore[arg-type]
        else:
            deliver = message
            if kind is AuthMessage:
                self._conclude(self._authentication.challenged(message.challenge), now)  # type: ignore[union-attr]
            elif kind is NoticeMessage:
                self._notice(message.message, now)  # type: ignore[union-attr]
        if deliver is not None:
            self._effects.insert(0, Deliver(_CALLBACKS[kind], deliver))
        return self._flush(now)

    def _eose(self, message: EoseMessage, now: Instant) -> EoseMessage | None:
        id_ = message.subscription_id
        request = self._open.get(id_)
        if request is None:
            request = self._line.get(id_)
            if request is None or not request.in_doubt:
                return None if id_ in self._forgotten or id_ in self.subscriptions else message
            # It is open after all: another was meant by the refusal that put it back in line.
            request.in_doubt = False
            del self._line[id_]
            self._open[id_] = request
        self._cool_down = 0.0
        more = more_stored(message.hints)
        if isinstance(request, Backfill):
            if request.turn(self._limits.full, more=more):
                request.heard = request.begun_at = now.monotonic
                self._send_again([request])
                self._send_instead(request, now)
            else:
                self._complete(request)
            return None
        if request.live or request.backfill is not None:  # a second EOSE changes nothing
            return None
        full = request.stored >= self._limits.full if more is None else more
        if full and request.resumed is not None and request.oldest is not None:
            rest = request.backfill = Backfill(request)
            rest.heard = rest.begun_at = now.monotonic
            self.subscriptions[rest.id] = rest
            self._send_again([rest])
            return None
        return self._end_stored(request, message)

    def _end_stored(self, request: RelaySubscription, message: EoseMessage) -> EoseMessage | None:
        """Record that a REQ has no stored event left.

        Return the EOSE if it is the subscription's last.
        """
        request.eose()
        subscription = request.subscription
        if self.is_complete(subscription):  # even if another REQ was given up, so that there is no EOSE to deliver
            self._effects.append(CheckComplete(subscription))
        # If the relay has refused one of several REQs, handle_closed was called: there is no EOSE for the subscription.
        for each in self._groups[subscription.id]:
            if not (each.live or each.set_aside):
                return None
        if subscription in self._ended:
            return None
        self._ended.add(subscription)
        return message if request.id == subscription.id else EoseMessage(subscription.id, message.hints)

    def _complete(self, rest: Backfill) -> None:
        """Deliver the EOSE that was held back: nothing is left."""
        if rest.of.backfill is not rest:
            return
        self._drop_backfill(rest.of)
        place = len(self._effects)
        eose = self._end_stored(rest.of, EoseMessage(rest.subscription.id))
        if eose is not None:  # before handle_eose_all, which it may lead to
            self._effects.insert(place, Deliver("handle_eose", eose))

    def _closed(self, message: ClosedMessage, now: Instant) -> ClosedMessage | None:
        id_ = message.subscription_id
        if id_ in self._attempts.in_flight:
            return message if self._answered(id_, message, now) else None
        request = self._open.pop(id_, None)
        if request is None:
            return None if id_ in self._forgotten or id_ in self.subscriptions else message
        self._drop_backfill(request)
        meaning = dialects.meaning(message.message)
        match meaning:
            case Meaning.RATE_LIMITED:
                self._send_again([request])
                self._back_off()
            case Meaning.TOO_MANY:
                self._too_many(request)
            case Meaning.TOO_LARGE if self._make_smaller(request):
                pass
            case Meaning.LIMIT_TOO_HIGH if self._lower_limit(request, message.message):
                pass
            case Meaning.DUPLICATE if not request.retried:
                self._replace(request)
            case Meaning.AUTH_REQUIRED | Meaning.RESTRICTED if self._authentication.may_keep(meaning, [request]):
                self._conclude(self._authentication.keep([(request, message)]), now)
            case _:
                return self._end(request, message)
        return None

    def _replace(self, request: RelaySubscription) -> None:
        """Send a CLOSE and then the REQ again, once.

        The relay has another REQ with its id, and does not replace it.
        """
        self._to_close.append(request.id)
        self._send_again([request])
        request.retried = True

    def _lower_limit(self, request: RelaySubscription, text: str) -> bool:
        """Send a REQ again, once, with the limit that the relay names.

        False if it names no lower limit.
        """
        if request.lowered or not self._limits.learn_limit(dialects.limit(text)):
            return False  # a relay that lowers its limit by one each time would be sent a REQ for each
        self._send_again([request])
        request.lowered = True
        return True

    def _make_smaller(self, request: RelaySubscription) -> bool:
        """Send a REQ again in smaller parts; False if it cannot be made smaller."""
        if len(request.filters) > 1 and request.can_be_split:
            self._send_again([request])
            middle = len(request.filters) // 2
            self._put_parts(request, [request.filters[:middle], request.filters[middle:]])
            return True
        if not self._limits.learn_size(request.size):
            return False
        self._send_again([request])
        return True

    def _end(self, request: RelaySubscription, message: ClosedMessage) -> ClosedMessage | None:
        """Record that the relay has refused a REQ for good, on this connection.

        Return the CLOSED to deliver.
        """
        if isinstance(request, Backfill):
            self._warn("refused a REQ: stored events of the time before the reconnect are missing")
            self._complete(request)
            return None
        subscription = request.subscription
        group = self._groups[subscription.id]
        first = not any(each.closed and not each.set_aside for each in group)
        request.closed = True
        request.before = None
        self._effects.append(CheckComplete(subscription))
        if not first:  # of several REQs of one subscription, the first refusal is delivered
            return None
        return message if request.id == subscription.id else ClosedMessage(subscription.id, message.message)

    def _refuse(self, request: RelaySubscription, message: ClosedMessage) -> None:
        """Deliver a refusal that was kept, or came without an id, as a CLOSED."""
        place = len(self._effects)
        closed = self._end(request, message)
        if closed is not None:  # before handle_eose_all, which it may lead to
            self._effects.insert(place, Deliver("handle_closed", closed))

    def _send_again(self, requests: Iterable[RelaySubscription], *, in_doubt: bool = False) -> None:
        """Put REQs back in line; `in_doubt`: the refusal does not name them."""
        for request in requests:
            id_ = request.id
            self._open.pop(id_, None)
            self._drop_backfill(request)
            request.forget_answers()
            request.in_doubt = in_doubt
            if self.subscriptions.get(id_) is not request or not self._up:
                continue
            if isinstance(request, Backfill):
                self._line = {id_: request, **self._line}  # its place must not go to another
            else:
                self._line[id_] = request
            self._watch()  # its turn may never come

    def _unanswered(self) -> list[RelaySubscription]:
        """Return the REQs without any answer yet.

        A NOTICE without an id can mean any of them.
        """
        return [each for each in self._open.values() if not each.answered]

    def _back_off(self) -> None:
        """Send no REQ for a while, each time for longer."""
        if self._cooling:
            return
        # The first time is ordinary. A relay that does it again, without an EOSE in between, may never answer a REQ.
        again = self._cool_down > 0
        self._cool_down = min(max(COOL_DOWN[0], 2 * self._cool_down), COOL_DOWN[1])
        self._cooling = True
        text = f"{self._shown} is rate-limited: no REQ for {self._cool_down:g} s"
        self._effects.append(Log("warning", text) if again else Log("info", text))
        self._effects.append(SetDeadline("cool-down", self._cool_down))

    def _too_many(self, request: RelaySubscription, *, in_doubt: bool = False) -> None:
        """Send a REQ again when another is closed: it was one too many at once."""
        self._send_again([request], in_doubt=in_doubt)
        if not self._open:  # no other one could be closed
            self._back_off()
        elif self._limits.learn_subscriptions(len(self._open)):
            self._warn(f"allows {len(self._open)} subscriptions at once: {request.subscription.id!r} waits")

    def _too_large(self) -> None:
        """Handle a refusal that does not say which message was too large.

        Assume the largest unanswered one.
        """
        requests: list[tuple[int, RelaySubscription | Attempt]] = [(each.size, each) for each in self._unanswered()]
        attempts = [each for several in self._attempts.in_flight.values() for each in several]
        sizes = [*requests, *((len(each.payload), each) for each in attempts)]
        size, largest = max(sizes, key=lambda each: each[0], default=(0, None))
        if largest is None or size <= SMALLEST_SIZE:
            return  # it may have been the user's own message
        if isinstance(largest, Attempt):
            outcome = PublishOutcome("rejected", None, f"{size} bytes are too large for the relay")
            self._attempts.end(largest.key, outcome)
            return
        self._limits.learn_size(size)
        self._send_again([largest], in_doubt=True)

    def _notice(self, text: str, now: Instant) -> None:
        """Check whether a NOTICE is a refusal, as old relays send them."""
        meaning = dialects.meaning(text)
        if meaning is None:
            return
        unanswered = self._unanswered()
        named = dialects.subject(text, [each.id for each in unanswered])
        meant = unanswered if named is None else [each for each in unanswered if each.id == named]
        # Set if it can mean nothing else.
        one = meant[0] if len(meant) == 1 and (named is not None or not self._attempts.in_flight) else None
        match meaning:
            case Meaning.RATE_LIMITED:
                self._rate_limited_by_notice = True
                self._back_off()
            case Meaning.TOO_MANY if meant:
                # Relays read in order, so the last is the one too many.
                self._too_many(meant[-1], in_doubt=named is None)
            case Meaning.TOO_LARGE if one is None or not self._make_smaller(one):
                self._too_large()
            case Meaning.LIMIT_TOO_HIGH if one is not None and self._lower_limit(one, text):
                pass
            case Meaning.DUPLICATE if one is not None and not one.retried:
                self._replace(one)
            case Meaning.UNSUPPORTED_COUNT if self._attempts.counts():
                self._refuse_counts(text)
            case Meaning.AUTH_REQUIRED | Meaning.RESTRICTED if self._authentication.signers:
                self._refused_by_notice([each for each in meant if not each.retried], meaning, text, now)
            # What the relay does not know can be a message of the user's own: no REQ is, they are in NIP-01.
            case Meaning.TOO_LARGE | Meaning.FAILED | Meaning.UNSUPPORTED_COUNT:
                pass
            case _ if one is not None:
                del self._open[one.id]
                self._refuse(one, ClosedMessage(one.id, text))

    def _refused_by_notice(self, requests: list[RelaySubscription], meaning: Meaning, text: str, now: Instant) -> None:
        """Keep all REQs that a NOTICE of an old relay can mean.

        They are kept until we are authenticated.
        """
        self._authentication.old_style = True
        for request in requests:
            del self._open[request.id]
        if requests and self._authentication.may_keep(meaning, requests):
            refused: list[Refused] = [(each, ClosedMessage(each.id, text)) for each in requests]
            self._conclude(self._authentication.keep(refused), now)
        else:
            for request in requests:  # not delivered: any one of them may not be meant
                self._end(request, ClosedMessage(request.id, text))

    # Silence.

    def _watch(self) -> None:
        """Set the deadline for a silent relay, since an answer is waited for."""
        if not self._watching and self._eose_timeout is not None:
            self._watching = True
            self._effects.append(SetDeadline("silence", self._eose_timeout))

    def lagging(self, now: Instant) -> None:
        """Record that more of the relay's messages may wait unread, because we are slow."""
        self._lagged = now.monotonic

    def _waits(self, request: RelaySubscription) -> bool:
        """Whether `request` waits for stored events.

        Waits for a page or an authentication end by themselves.
        """
        if request.settled or request.overdue or request.backfill is not None:
            return False
        return not self._authentication.keeps(request)

    def _look_for_silence(self, now: Instant) -> None:
        """Give up what the relay has been silent about for too long."""
        timeout = self._eose_timeout
        if timeout is None or not self._up:
            return
        latest = now.monotonic - timeout + ROUNDING
        next_ = None
        for request in list(self.subscriptions.values()):
            if not self._waits(request):
                continue
            heard = max(request.heard, self._lagged)
            # Events extend the wait only for a while: a relay could send one now and then for ever.
            if heard > latest and request.begun_at > latest - ENDLESS * timeout:
                next_ = heard if next_ is None else min(next_, heard)
            elif isinstance(request, Backfill):
                self._warn("did not answer a REQ: stored events of the time before the reconnect may be missing")
                self._complete(request)
            else:
                request.overdue = True
                self._warn(f"has sent no EOSE for {request.subscription.id!r}: handle_eose_all no longer waits for it")
                self._effects.append(CheckComplete(request.subscription))
        for attempts in self._attempts.counts():
            heard = max(attempts[0].heard, self._lagged)
            if heard > latest:
                next_ = heard if next_ is None else min(next_, heard)
                continue
            self._warn(f"has not answered a COUNT within {timeout:g} s")
            self._attempts.end(attempts[0].key, PublishOutcome("timeout", None, f"no answer within {timeout:g} s"))
        if next_ is not None:
            self._watching = True
            self._effects.append(SetDeadline("silence", max(0.0, next_ + timeout - now.monotonic)))

    # Events and counts.

    def send(self, attempt: Attempt, now: Instant) -> list[Effect]:
        """Send an event or a count, when its turn comes."""
        self._attempts.add(attempt)
        return self._flush(now)

    def timed_out(self, attempt: Attempt, seconds: float, now: Instant) -> list[Effect]:
        """Stop waiting for the answer to `attempt`, after so many seconds."""
        refusal = self._authentication.drop(attempt)
        if refusal is not None:
            self._attempts.settle([attempt], PublishOutcome.of(refusal))
        else:
            self._attempts.time_out(attempt, f"within {seconds:g} s")
        return self._flush(now)

    def _ok(self, message: OkMessage, now: Instant) -> OkMessage | None:
        if message.event_id == self._authentication.event_id:
            self._conclude(self._authentication.ok(message), now)
            return None
        key = message.event_id
        if not key and not message.accepted:
            # The old style: a refusal without an id. Such relays answer in order, so it is for the oldest.
            key = self._attempts.oldest_event() or ""
            self._authentication.old_style |= bool(key)
        if key not in self._attempts.in_flight:
            return message
        return message if self._answered(key, message, now) else None

    def _answered(self, key: str, message: OkMessage | ClosedMessage, now: Instant) -> bool:
        """Settle the attempts with `key`, or keep them for the authentication.

        Return whether they are settled.
        """
        attempts = self._attempts.in_flight.pop(key)
        if not (isinstance(message, OkMessage) and message.accepted):
            meaning = dialects.meaning(message.message)
            if meaning is Meaning.UNSUPPORTED_COUNT and not attempts[0].is_event:
                self._limits.counts = False
            if self._authentication.may_keep(meaning, attempts):
                self._conclude(self._authentication.keep([(each, message) for each in attempts]), now)
                return False
        self._attempts.answered(attempts, PublishOutcome.of(message))
        self.answer = message
        return True

    def _count(self, message: CountMessage) -> CountMessage | None:
        attempts = self._attempts.in_flight.pop(message.subscription_id, None)
        if attempts is None:
            return message
        self._attempts.answered(attempts, message.result)
        return None

    def _refuse_counts(self, text: str) -> None:
        """Record that the relay does not support COUNT.

        On this connection, no other COUNT is sent to it.
        """
        self._limits.counts = False
        for attempts in self._attempts.counts():
            self._attempts.end(attempts[0].key, PublishOutcome("rejected", "unsupported", text))

    # Authentication.

    def signed(self, turn: int, event: Event | None, now: Instant) -> list[Effect]:
        """Send the event of a signer, for the `Sign` with this `turn`.

        None: it declined or failed.
        """
        self._conclude(self._authentication.signed(turn, event), now)
        return self._flush(now)

    def _conclude(self, verdict: Verdict | None, now: Instant) -> None:
        """Send again what was refused, or deliver the refusals if no signer was accepted."""
        if verdict is None:
            return
        if self._holding:
            self._holding = False
            self._effects.append(CancelDeadline("hold"))
        attempts = [item for item, _ in verdict.refused if isinstance(item, Attempt)]
        if verdict.accepted:
            requests = [item for item, _ in verdict.refused if isinstance(item, RelaySubscription)]
            for request in requests:
                request.heard = request.begun_at = now.monotonic
            self._send_again(requests)
            self._attempts.put_back(attempts)
            return
        for item, refusal in verdict.refused:
            if isinstance(item, Attempt):
                self._attempts.settle([item], PublishOutcome.of(refusal))
                continue
            assert isinstance(refusal, ClosedMessage)  # noqa: S101
            self._refuse(item, refusal)

    def _warn(self, text: str) -> None:
        self._effects.append(Log("warning", f"{self._shown} {text}"))


_CALLBACKS: Final[dict[type, str]] = {
    EoseMessage: "handle_eose",
    OkMessage: "handle_ok",
    NoticeMessage: "handle_notice",
    AuthMessage: "handle_auth",
    ClosedMessage: "handle_closed",
    CountMessage: "handle_count",
    UnknownMessage: "handle_unknown",
}


def _limited(filter_: dict[str, Any], limit: int) -> dict[str, Any]:
    """Return a filter whose limit is at most `limit`."""
    return {**filter_, "limit": limit} if filter_.get("limit", 0) > limit else filter_


def _earliest(positions: Sequence[Position]) -> Position:
    """Return the position from which all of `positions` can resume."""
    newest = [each.newest for each in positions]
    return Position(
        min(each.begun for each in positions),
        all(each.settled for each in positions),
        None if None in newest else min(each for each in newest if each is not None),
    )
