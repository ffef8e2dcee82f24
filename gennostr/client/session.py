"""What goes on with one relay besides its connection: open REQs, events and counts without an answer, authentication.

A `Session` outlives its connections, and the client's thread alone has it. Each connection begins anew: no REQ is open
there, nobody is authenticated, and what was sent on the last one and not answered is sent once more.

REQs go out in the order in which they were asked for, no more at once than the relay says it allows (NIP-11). The first
needs no permission; before a second one, the relay's information is asked for, and where there is none there is no
limit. A relay that says ``rate-limited`` gets none for a while.

What a relay refuses until it knows who asks goes to `gennostr.client.authentication` meanwhile.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from gennostr.client.authentication import Authentication, Refused, Signing
from gennostr.client.deliveries import Delivery, Outcome, Publication
from gennostr.client.options import Relay
from gennostr.client.outbox import Outbox
from gennostr.client.subscriptions import Interest, Remainder, Subscription
from gennostr.client.timer_queue import Deadline
from gennostr.exceptions import Overflow
from gennostr.nostr.encoding import encode
from gennostr.nostr.messages import AuthMessage, ClosedMessage, CountMessage, EoseMessage, NoticeMessage, OkMessage
from gennostr.nostr.relay_information import RelayInformation
from gennostr.nostr.relay_url import redact

logger = logging.getLogger(__name__)

MAX_IN_FLIGHT: Final = 256
"""Events and counts at one relay that wait for its answer at once; others wait for their turn."""
FIRST_IN_FLIGHT: Final = 2
"""The same, for a client with signers, until the relay has answered one: old relays make who is refused wait, each
time for longer."""
HOLD: Final = 0.25
"""Seconds that a relay has, to which we were known on an earlier connection, to ask who we are before it is asked."""
COOL_DOWN: Final = (5.0, 300.0)
"""Seconds without a REQ after ``rate-limited``: at first, doubled each time, and at most."""
ASK_AGAIN: Final = 300.0
"""Seconds after which a relay that has not told its limits is asked again, when it is connected to again."""
FULL: Final = 20
"""Stored events from which on a relay may have had more of them, unless it says that it gives fewer at once."""
STUCK: Final = 1.0
"""Seconds until a REQ that found the outbox full is tried again."""
FORGOTTEN: Final = 256
"""Ids of subscriptions that were closed and whose last events may still come."""


class Host(Signing, Protocol):
    """What a session needs of the client's requests."""

    def ask_information(self, relay: Relay, function: Callable[[RelayInformation | None], None]) -> None:
        """Have `function` called with the relay's information, or None."""

    def settle(self, delivery: Delivery, answer: object) -> None:
        """Note a relay's answer, or what stands in its place."""

    def tell(self, callback: str, *arguments: object) -> None:
        """Have a callback run with `arguments` and the state, right after the one under way."""

    def look_at(self, subscription: Subscription) -> None:
        """See whether all relays have sent what they have stored for `subscription`."""


class Session:
    """One relay's. Messages are given to it before the user's callback, and some methods say whether that is to run."""

    def __init__(self, url: str, requests: Host) -> None:
        self.url = url
        self.down = False
        """Whether the last attempt has ended and no other has succeeded."""
        self.interests: dict[str, Interest] = {}
        self._requests = requests
        self._relay: Relay | None = None
        self._outbox: Outbox | None = None
        # REQs: to be sent, in order; open at the relay; and those that were closed here.
        self._line: dict[str, Interest] = {}
        self._open: dict[str, Interest] = {}
        self._forgotten: dict[str, Subscription] = {}
        self._to_close: list[str] = []
        self._stuck = False
        # The budget: None is no limit, as far as is known.
        self._asked_at: float | None = None
        self._known = False
        self._silent = False
        self._limit: int | None = None
        self._full = FULL
        self._cool_down = 0.0
        self._cooling = False
        # Events and counts: to be sent, in order; and without an answer, by id.
        self._queue: deque[Delivery] = deque()
        self._in_flight: dict[str, list[Delivery]] = {}
        self._some_answered = False
        self._authentication = Authentication(url, requests, self._send, self._fail, self._through)
        # While it is not None, nothing is sent: it is likely that the relay asks first who we are.
        self._holding: Deadline | None = None

    # The connection.

    def connected(self, relay: Relay, outbox: Outbox) -> None:
        """Begin with a new connection; handle_connect has run."""
        self._relay, self._outbox = relay, outbox
        self.down = False
        for interest in self.interests.values():
            interest.forget_connection()
        self._line = dict(self.interests)
        if self._silent and self._asked_at is not None and self._requests.now() - self._asked_at > ASK_AGAIN:
            self._asked_at, self._known = None, False
        self._some_answered = False
        if self._authentication.known and self._requests.signers():
            self._holding = self._requests.after(HOLD, self._release)
        self._pump()

    def lost(self) -> None:
        """Take back what was not answered: the connection is gone, or the attempt has failed."""
        self._outbox = None
        self.down = True
        self._line, self._open = {}, {}
        self.interests = {id_: each for id_, each in self.interests.items() if not isinstance(each, Remainder)}
        self._forgotten.clear()
        self._to_close.clear()
        if self._holding is not None:
            self._holding.cancel()
            self._holding = None
        self._authentication.forget_connection()
        again = [item for item, _ in self._authentication.take() if isinstance(item, Delivery)]
        for deliveries in self._in_flight.values():
            for delivery in deliveries:
                delivery.drops += 1
                if delivery.drops > 1:
                    self._settle(delivery, Outcome("disconnected", None, "the connection was lost twice"))
                else:
                    again.append(delivery)
        self._in_flight.clear()
        for delivery in again:
            delivery.forget_connection()
        self._queue.extendleft(reversed(again))

    def give_up(self) -> None:
        """Settle everything: nobody connects to this relay any more."""
        queue, self._queue = self._queue, deque()
        for delivery in queue:
            self._settle(delivery, unsent(delivery, "no connection, and none is to come"))

    def _pump(self) -> None:
        """Send what may be sent."""
        if self._outbox is None or self._holding is not None:
            return
        while self._to_close and self._put(["CLOSE", self._to_close[0]]):
            self._to_close.pop(0)
        while self._line and not self._cooling and self._may_open():
            id_, interest = next(iter(self._line.items()))
            if not self._put(["REQ", id_, *interest.ask(self._requests.now())]):
                break
            del self._line[id_]
            self._open[id_] = interest
        if self._known and self._limit is not None and len(self._open) >= self._limit:
            # Those that are open stay so: it would wait for ever, and with it the EOSE.
            for rest in [each for each in self._line.values() if isinstance(each, Remainder)]:
                logger.warning("%s allows no other REQ: what it may have left out is missing", redact(self.url))
                self._complete(rest)
        careful = not self._some_answered and bool(self._requests.signers())
        most = FIRST_IN_FLIGHT if careful else MAX_IN_FLIGHT
        while self._queue and len(self._in_flight) < most:
            # Taken out first: whoever waits for it may be told in `_deliver`, and publish the next.
            delivery = self._queue.popleft()
            if not self._deliver(delivery):
                self._queue.appendleft(delivery)
                break

    def _release(self) -> None:
        if self._holding is not None:
            self._holding.cancel()
            self._holding = None
            self._pump()

    def _put(self, message: list[Any]) -> bool:
        """Queue a message; False if it does not fit now, and `_pump` is called again."""
        try:
            self._send(message)
        except Overflow:
            if not self._stuck:
                self._stuck = True
                self._requests.after(STUCK, self._unstick)
            return False
        return True

    def _send(self, message: list[Any]) -> None:
        """Queue a message, if there is a connection; or raise Overflow."""
        if self._outbox is not None:
            # With `first`: handle_connect has run, and what others sent before it must not wait for this.
            self._outbox.put(encode(message), first=True)

    def _unstick(self) -> None:
        self._stuck = False
        self._pump()

    # REQs.

    def subscribe(self, subscription: Subscription) -> None:
        """Ask for `subscription`, in the place of one with the same id."""
        id_ = subscription.id
        held = self._open.pop(id_, None)
        self._line.pop(id_, None)
        self._drop(self.interests.get(id_))
        forgotten = self._forgotten.pop(id_, None)
        interest = Interest(subscription, forgotten if held is None else held.subscription)
        self.interests[id_] = interest
        if self._outbox is not None:
            self._line[id_] = interest
            self._pump()

    def unsubscribe(self, id_: str) -> None:
        """Ask for it no more."""
        interest = self.interests.pop(id_, None)
        self._line.pop(id_, None)
        self._drop(interest)
        if self._open.pop(id_, None) is not None:
            self._to_close.append(id_)
        if interest is not None:
            self._forgotten[id_] = interest.subscription
            if len(self._forgotten) > FORGOTTEN:
                del self._forgotten[next(iter(self._forgotten))]
        self._pump()

    def forgets(self, id_: str) -> bool:
        """Whether what still comes for this id is not wanted any more."""
        return id_ in self._forgotten

    def _drop(self, interest: Interest | None) -> None:
        """Give up what else there is of it."""
        self._authentication.drop(interest)
        self._drop_remainder(interest)

    def _drop_remainder(self, interest: Interest | None) -> None:
        """Ask for its pages no more: it has ended, or is asked for anew."""
        for rest in [each for each in self.interests.values() if isinstance(each, Remainder) and each.of is interest]:
            self.unsubscribe(rest.id)

    def _may_open(self) -> bool:
        """Whether one more REQ is within the relay's budget; asks the relay for it where that matters."""
        if not self._open:
            return True
        if not self._known and self._asked_at is None:
            self._asked_at = self._requests.now()
            assert self._relay is not None  # noqa: S101
            self._requests.ask_information(self._relay, self.informed)
        return self._known and (self._limit is None or len(self._open) < self._limit)

    def informed(self, information: RelayInformation | None) -> None:
        """Take the relay's information, or None: it has none to give."""
        self._known = True
        self._silent = information is None
        if information is None:
            self._limit, self._full = None, FULL
        else:
            limitation = information.limitation
            self._limit = limitation.max_subscriptions
            self._full = min(limitation.max_limit or FULL, limitation.default_limit or FULL, FULL)
        if self._limit is not None and len(self.interests) > self._limit:
            logger.warning(
                "%s allows %d subscriptions at once: some of %d wait",
                redact(self.url),
                self._limit,
                len(self.interests),
            )
        self._pump()

    def _cool(self) -> None:
        """Send no REQ for a while, each time for longer."""
        if self._cooling:
            return
        self._cool_down = min(max(COOL_DOWN[0], 2 * self._cool_down), COOL_DOWN[1])
        self._cooling = True
        logger.info("%s is rate-limited: no REQ for %g s", redact(self.url), self._cool_down)
        self._requests.after(self._cool_down, self._cooled)

    def _cooled(self) -> None:
        self._cooling = False
        self._again(self._unanswered())
        self._pump()

    def _unanswered(self) -> list[Interest]:
        """Return the REQs of which nothing has come yet: a NOTICE, which does not say, may have meant any of them."""
        return [each for each in self._open.values() if not each.settled and not each.stored]

    def _again(self, interests: Iterable[Interest]) -> None:
        """Put REQs back in line."""
        for interest in interests:
            id_ = interest.id
            self._open.pop(id_, None)
            self._drop_remainder(interest)
            retried = interest.retried
            interest.forget_connection()
            interest.retried = retried
            if self.interests.get(id_) is not interest or self._outbox is None:
                continue
            if isinstance(interest, Remainder):
                self._line = {id_: interest, **self._line}  # its place must not go to another
            else:
                self._line[id_] = interest

    def eose(self, id_: str) -> bool:
        """Note that all stored events were sent; return whether the user is to be told."""
        interest = self._open.get(id_)
        if interest is None:
            return not self.forgets(id_)
        self._cool_down = 0.0
        if isinstance(interest, Remainder):
            if interest.turn(self._full):
                self._again([interest])
                self._pump()
            else:
                self._complete(interest)
            return False
        if interest.live:  # said once more: it changes nothing
            return True
        if any(isinstance(each, Remainder) and each.of is interest for each in self.interests.values()):
            return False
        if interest.resumed is not None and interest.stored >= self._full:
            rest = Remainder(interest)
            self.interests[rest.id] = rest
            self._again([rest])
            self._pump()
            return False
        interest.eose()
        return True

    def _complete(self, rest: Remainder) -> None:
        """Tell the EOSE that was kept back: there is nothing left."""
        if self.interests.get(rest.id) is not rest:
            return
        self.unsubscribe(rest.id)
        rest.of.eose()
        self._requests.tell("handle_eose", EoseMessage(rest.of.id), self._relay)
        self._requests.look_at(rest.subscription)

    def closed(self, message: ClosedMessage) -> bool:
        """Note the end of a subscription or count; return whether the user is to be told."""
        id_ = message.subscription_id
        if id_ in self._in_flight:
            return self._answered(id_, message)
        interest = self._open.pop(id_, None)
        if interest is None:
            return not self.forgets(id_)
        self._drop_remainder(interest)
        if message.prefix == "rate-limited":
            self._again([interest])
            self._cool()
            tell = False
        elif message.prefix == "auth-required" and self._authentication.keep([(interest, message)]):
            tell = False
        else:
            tell = not isinstance(interest, Remainder)
            self._end(interest)
        self._pump()
        return tell

    def _end(self, interest: Interest) -> None:
        """Note that the relay has refused it for good, on this connection."""
        if isinstance(interest, Remainder):
            logger.warning("%s does not tell all that it has left out", redact(self.url))
            self._complete(interest)
        else:
            interest.closed = True
            interest.before = None

    def notice(self, message: NoticeMessage) -> None:
        """Look for a refusal in what a relay says in the old style."""
        word = message.message.partition(":")[0]
        if word == "rate-limited":
            self._cool()
        elif word in {"restricted", "auth-required"} and self._requests.signers():
            self._authentication.old_style = True
            meant = [each for each in self._unanswered() if not each.retried]
            for interest in meant:
                del self._open[interest.id]
            if not self._authentication.keep([(each, ClosedMessage(each.id, message.message)) for each in meant]):
                for interest in meant:
                    self._end(interest)
                    self._requests.look_at(interest.subscription)
            self._pump()

    # Events and counts.

    def deliver(self, delivery: Delivery) -> None:
        """Send it, when its turn comes."""
        self._queue.append(delivery)
        self._pump()

    def forget(self, delivery: Delivery) -> bool:
        """Wait no more for its answer; return whether it was on its way."""
        key = delivery.of.key
        together = self._in_flight.get(key, [])
        if delivery in together:
            together.remove(delivery)
            if not together:
                del self._in_flight[key]
            self._pump()
            return True
        if delivery in self._queue:  # near its left end: the oldest times out first
            self._queue.remove(delivery)
            return False
        return self._authentication.drop(delivery)

    def _deliver(self, delivery: Delivery) -> bool:
        """Send it; False if it must wait."""
        key = delivery.of.key
        if delivery.of.done():  # cancelled
            self._settle(delivery, unsent(delivery, "cancelled"))
        elif key in self._in_flight:  # one answer is both's
            self._in_flight[key].append(delivery)
            delivery.sent = True
        else:
            try:
                self._send(delivery.of.message)
            except Overflow as error:
                if self._in_flight:
                    return False  # an answer, or the end, comes first
                self._settle(delivery, unsent(delivery, str(error)))
                return True
            self._in_flight[key] = [delivery]
            delivery.sent = True
        return True

    def _settle(self, delivery: Delivery, outcome: object) -> None:
        self._requests.settle(delivery, outcome)

    def ok(self, message: OkMessage) -> bool:
        """Take a relay's answer to an event; return whether the user is to be told."""
        if self._authentication.takes(message):
            return False
        key = message.event_id
        if not key and not message.accepted:
            # The old style: a refusal without an id. Such relays answer in order, so it is the oldest's.
            events = (each for each, all_ in self._in_flight.items() if isinstance(all_[0].of, Publication))
            key = next(events, "")
            self._authentication.old_style |= bool(key)
        return self._answered(key, message) if key in self._in_flight else True

    def _answered(self, key: str, message: OkMessage | ClosedMessage) -> bool:
        """Settle what has the key `key`, or keep it until after the authentication."""
        deliveries = self._in_flight.pop(key)
        words = {"auth-required"}
        if isinstance(message, OkMessage) and not message.event_id:
            words.add("restricted")
        refused = message.prefix in words and not (isinstance(message, OkMessage) and message.accepted)
        kept = refused and self._authentication.keep([(delivery, message) for delivery in deliveries])
        if not kept:
            self._some_answered = True
            for delivery in deliveries:
                self._settle(delivery, _outcome(message))
        self._pump()
        return not kept

    def counted(self, message: CountMessage) -> bool:
        """Take the answer to a COUNT; return whether the user is to be told: it was the user's own."""
        deliveries = self._in_flight.pop(message.subscription_id, None)
        if deliveries is None:
            return True
        self._some_answered = True
        for delivery in deliveries:
            self._settle(delivery, message.result)
        self._pump()
        return False

    # Authentication.

    def challenged(self, message: AuthMessage) -> None:
        """Answer the challenge."""
        self._authentication.challenged(message.challenge)

    def _fail(self, error: BaseException) -> None:
        self._requests.tell("handle_error", error, self._relay)

    def _through(self, accepted: bool, refused: list[Refused]) -> None:  # noqa: FBT001
        """Send again what was refused, or, where nobody was accepted, tell its refusal."""
        self._release()
        if accepted:
            self._again(item for item, _ in refused if isinstance(item, Interest))
            self._queue.extendleft(reversed([item for item, _ in refused if isinstance(item, Delivery)]))
        else:
            for item, message in refused:
                if isinstance(item, Delivery):
                    self._settle(item, _outcome(message))
                    continue
                self._end(item)
                if not isinstance(item, Remainder):
                    self._requests.tell("handle_closed", message, self._relay)
                    self._requests.look_at(item.subscription)
        self._pump()


def unsent(delivery: Delivery, why: str) -> Outcome:
    """Return the outcome of a delivery for which the relay is not there."""
    return Outcome("disconnected" if delivery.sent else "not_sent", None, why)


def _outcome(message: OkMessage | ClosedMessage) -> Outcome:
    if isinstance(message, OkMessage):
        return Outcome.of(message)
    return Outcome("rejected", message.prefix, message.message)
