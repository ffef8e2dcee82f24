"""What a client asks of its relays, and asks again until it is done: subscriptions, publications, counts.

The functions (`gennostr.client.functions`) run in the caller: they check their arguments and hand over. All else
belongs to the client's thread, so nothing here has a lock: a function called in a callback is done at once (see
`Requests.do`), one called elsewhere sends a `ClientCommand`, and so do timers.

What a relay sends passes through here before the user's callback: `ClientEngine` puts these methods before its handlers
when the first subscription, publication, count, signer or `deduplicate` gives them something to do, and not before.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from gennostr.client.authentication import Signer, signers
from gennostr.client.commands import ClientCommand
from gennostr.client.deliveries import Counting, Delivery, Outcome, Publication, Waiting
from gennostr.client.information_fetch import InformationFetch
from gennostr.client.options import Relay
from gennostr.client.outbox import Outbox
from gennostr.client.session import Session, unsent
from gennostr.client.subscriptions import Remainder, Seen, Subscription, foreign_key, identity, unasked
from gennostr.client.supervision import Tree
from gennostr.client.timer_queue import Deadline, TimerQueue
from gennostr.exceptions import MessageError, StartError
from gennostr.nostr.event import Event
from gennostr.nostr.messages import (
    AuthMessage,
    ClosedMessage,
    CountMessage,
    EoseMessage,
    EventMessage,
    NoticeMessage,
    OkMessage,
)
from gennostr.nostr.relay_information import RelayInformation
from gennostr.nostr.relay_url import redact
from gennostr.otp.clock import clock
from gennostr.otp.process import Process, current

logger = logging.getLogger(__name__)

PARTED: Final = 256
"""Relays that the client does not have any more and of which it is remembered how far they have got."""


@dataclass(frozen=True, slots=True)
class Published:
    """The info message to a client of which a callback has published: ``publication.result()`` is there."""

    publication: Publication


@dataclass(frozen=True, slots=True)
class Counted:
    """The info message to a client of which a callback has counted: ``counting.result()`` is there."""

    counting: Counting


class Client(Protocol):
    """What is needed of the client that all this is for."""

    process: Process

    @property
    def deduplicate(self) -> bool:
        """Whether an event that several relays send is delivered once for each subscription."""

    @property
    def signer(self) -> Signer | Sequence[Signer] | None:
        """Who answers challenges."""

    def engage(self) -> None:
        """Have messages pass through here before they are delivered, from now on."""

    def run_callback(self, name: str, *arguments: object) -> None:
        """Run a callback with `arguments` and the state, right after the one under way."""

    def run_command(self, do: Callable[[], object]) -> None:
        """Do this right after the callback under way."""


class Requests:
    """One client's; only `down` runs in another thread, when the client is dead."""

    def __init__(self, client: Client, tree: Tree) -> None:
        self._client = client
        self.process = client.process
        self._timers = TimerQueue(client.process)
        self.busy = False
        """Whether something here is under way; written by the client's thread alone."""
        self._tree = tree
        # Those that are up, whether or not there is a session: one may be made at any time.
        self._connections: dict[str, tuple[Relay, Outbox]] = {}
        self._sessions: dict[str, Session] = {}
        # Those of relays that were removed, or not reconnected to; the oldest first.
        self._parted: dict[str, None] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._seen = Seen()
        self._signers: tuple[object, list[Callable[..., Event | None]]] = (None, [])

    def do(self, function: Callable[..., object], *arguments: object) -> None:
        """Do something here; right after what is under way, if it is that which has led to this call.

        A finalizer may run between any two lines, and some of them call a signer or a callback of a future: what these
        want of the client must not find it halfway.
        """
        if self.busy:
            self._client.run_command(partial(function, *arguments))
            return
        self.busy = True
        try:
            function(*arguments)
        finally:
            self.busy = False

    # What the functions ask for.

    def subscribe(self, subscription: Subscription) -> None:
        """Keep `subscription`, in the place of one with the same id, and ask for it."""
        for session in self._sessions.values():  # what it replaces may have been for others
            if not subscription.is_for(session.url):
                session.unsubscribe(subscription.id)
        self._subscriptions[subscription.id] = subscription
        self._client.engage()
        for url in self._urls():
            if not subscription.is_for(url):
                continue
            if url in self._sessions:
                self._sessions[url].subscribe(subscription)
            else:
                self._session(url)  # a new one has all there is

    def unsubscribe(self, id_: str) -> None:
        """Keep and ask for it no more."""
        if self._subscriptions.pop(id_, None) is not None:
            for session in self._sessions.values():
                session.unsubscribe(id_)

    def send(self, waiting: Waiting[Any]) -> None:
        """Send what is waited for to its relays."""
        self._client.engage()
        there = self._urls()
        urls = sorted(there if waiting.relays is None else waiting.relays)
        waiting.open = {url: Delivery(waiting, url) for url in urls}
        if not urls:
            self._finish(waiting)
            return
        waiting.due = self.after(waiting.timeout, partial(self._time_out, waiting))
        for delivery in list(waiting.open.values()):
            if delivery.url in there:
                self._session(delivery.url).deliver(delivery)
            else:
                self.settle(delivery, Outcome("not_sent", None, f"the client has no relay {redact(delivery.url)}"))

    def settle(self, delivery: Delivery, answer: object) -> None:
        """Note a relay's answer, or what stands in its place; the last one ends the wait."""
        waiting = delivery.of
        if waiting.open.pop(delivery.url, None) is not None:
            waiting.answers[delivery.url] = answer
            if not waiting.open:
                self._finish(waiting)

    def _time_out(self, waiting: Waiting[Any]) -> None:
        within = f"within {waiting.timeout:g} s"
        for delivery in list(waiting.open.values()):
            session = self._sessions.get(delivery.url)
            if session is not None and session.forget(delivery):
                outcome = Outcome("timeout", None, f"no answer {within}")
            else:
                outcome = unsent(delivery, f"not connected, or its turn did not come, {within}")
            self.settle(delivery, outcome)

    def _finish(self, waiting: Waiting[Any]) -> None:
        if waiting.due is not None:
            waiting.due.cancel()
        waiting.finish()
        if waiting.told and not waiting.cancelled():
            # In its turn, as what another process tells: a callback is never run inside of another.
            message = Published(waiting) if isinstance(waiting, Publication) else Counted(waiting)  # type: ignore[arg-type]
            self.process.deliver(message)

    def _urls(self) -> set[str]:
        """Return all relays that the client has, also those of which the end of an attempt is on its way to it.

        The ledger has them: it forgets a relay when handle_disconnect has run and there will be no other attempt.
        """
        return self._tree.urls() | self._tree.ledger.urls()

    def _session(self, url: str) -> Session:
        session = self._sessions.get(url)
        if session is None:
            session = self._sessions[url] = Session(url, self)
            for subscription in self._subscriptions.values():
                if subscription.is_for(url):
                    session.subscribe(subscription)
            if url in self._connections:
                session.connected(*self._connections[url])
        return session

    # What happens to connections.

    def connected(self, relay: Relay, outbox: Outbox) -> None:
        """Send what there is for this relay; its handle_connect has run."""
        self._connections[relay.url] = relay, outbox
        self._parted.pop(relay.url, None)
        session = self._sessions.get(relay.url)
        if session is not None:
            session.connected(relay, outbox)
        elif self._subscriptions or self._client.deduplicate or self._client.signer is not None:
            self._client.engage()
            self._session(relay.url)

    def lost(self, url: str) -> None:
        """Take note of the end of an attempt, before the user hears of it."""
        self._connections.pop(url, None)
        session = self._sessions.get(url)
        if session is not None:
            session.lost()
        elif self._subscriptions:
            self._session(url).down = True

    def parted(self, url: str) -> None:
        """Give up a relay that nobody connects to any more, after the user has heard of the end."""
        session = self._sessions.get(url)
        if session is not None and url not in self._tree.urls():
            session.give_up()
            # How far it has got is kept: it may be added again, by the user's own backoff say.
            self._parted[url] = None
            if len(self._parted) > PARTED:
                oldest = next(iter(self._parted))
                del self._parted[oldest], self._sessions[oldest]
        for subscription in list(self._subscriptions.values()):
            self.look_at(subscription)

    def ask_information(self, relay: Relay, function: Callable[[RelayInformation | None], None]) -> None:
        """Have `function` called with the relay's information, or None."""

        def inform(information: RelayInformation | None) -> None:  # runs in the actor that has fetched it
            self.process.put_from(current(), ClientCommand(partial(function, information)))

        try:
            InformationFetch.start((self.process, relay, inform))
        except StartError:  # the system refused a thread: it goes without
            logger.exception("the information of %s was not asked for", redact(relay.url))
            function(None)

    # What relays send. The result says what the user is told.

    def event(self, message: EventMessage, relay: Relay) -> EventMessage | MessageError | bool:
        """Judge an event: verified already, it must be new, and asked for. One of another name is told by its own."""
        event, id_ = message.event, message.subscription_id
        session = self._sessions.get(relay.url)
        interest = None if session is None else session.interests.get(id_)
        if interest is None:
            if session is not None and session.forgets(id_):
                return False
            if not self._client.deduplicate:
                return True
            key = foreign_key(id_, identity(event, verified=relay.options.verify))
            new = key not in self._seen
            self._seen.add(key)
            return new
        subscription = interest.subscription
        owner = subscription.token if self._client.deduplicate else interest.token
        key = owner + identity(event, verified=relay.options.verify)
        if key in self._seen:
            interest.note(event, self.now())
            return False
        if not subscription.wants(event):
            if interest.before is not None and interest.before.wants(event):
                return False  # sent before the relay has read of the change
            return unasked(id_, event)
        self._seen.add(key)
        interest.note(event, self.now())
        return EventMessage(subscription.id, event) if isinstance(interest, Remainder) else True

    def eose(self, message: EoseMessage, relay: Relay) -> bool:
        """Take note of an EOSE."""
        session = self._sessions.get(relay.url)
        if session is None:
            return True
        tell = session.eose(message.subscription_id)
        interest = session.interests.get(message.subscription_id)
        if interest is not None:
            self.look_at(interest.subscription)
        return tell

    def closed(self, message: ClosedMessage, relay: Relay) -> bool:
        """Take note of a CLOSED."""
        session = self._sessions.get(relay.url)
        if session is None:
            return True
        tell = session.closed(message)
        interest = session.interests.get(message.subscription_id)
        if interest is not None:
            self.look_at(interest.subscription)
        return tell

    def ok(self, message: OkMessage, relay: Relay) -> bool:
        """Take note of an OK."""
        session = self._sessions.get(relay.url)
        return True if session is None else session.ok(message)

    def counted(self, message: CountMessage, relay: Relay) -> bool:
        """Take note of a COUNT."""
        session = self._sessions.get(relay.url)
        return True if session is None else session.counted(message)

    def challenged(self, message: AuthMessage, relay: Relay) -> bool:
        """Take note of a challenge."""
        session = self._sessions.get(relay.url)
        if session is not None:
            session.challenged(message)
        return True

    def noticed(self, message: NoticeMessage, relay: Relay) -> bool:
        """Take note of a NOTICE."""
        session = self._sessions.get(relay.url)
        if session is not None:
            session.notice(message)
        return True

    def look_at(self, subscription: Subscription) -> None:
        """Tell handle_eose_all, once, when no relay has anything stored still to send."""
        if subscription.complete or self._subscriptions.get(subscription.id) is not subscription:
            return
        urls = [url for url in self._urls() if subscription.is_for(url)]
        if urls and all(self._is_through(subscription, url) for url in urls):
            subscription.complete = True
            self.tell("handle_eose_all", subscription.id)

    def _is_through(self, subscription: Subscription, url: str) -> bool:
        session = self._sessions.get(url)
        if session is None:
            return False
        interest = session.interests.get(subscription.id)
        return session.down or (interest is not None and interest.settled)

    # What sessions need.

    def signers(self) -> list[Callable[..., Event | None]]:
        """Return the client's signers."""
        given = self._client.signer
        if self._signers[0] is not given:
            self._signers = (given, signers(given))
        return list(self._signers[1])

    def tell(self, callback: str, *arguments: object) -> None:
        """Have a callback run with `arguments` and the state, right after the one under way."""
        self._client.run_callback(callback, *arguments)

    def now(self) -> float:
        """Return the time of day: seconds since 1970."""
        return clock().time()

    def after(self, seconds: float, function: Callable[[], object]) -> Deadline:
        """Call `function` in the client after so many seconds."""
        return self._timers.after(seconds, function)

    def down(self, process: Process, reason: object) -> None:
        """Cancel the timer: the client is dead (see `gennostr.otp.process.Watcher`)."""
        self._timers.down(process, reason)
