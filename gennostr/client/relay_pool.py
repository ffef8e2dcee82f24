"""All relays of one client: its sessions, their effects, and what spans relays.

Everything about subscriptions, publications, counts and authentication arrives here in the client's thread: messages
before the user's callback gets them, commands of the client's functions, deadlines, the ends of connections. It goes to
the relay's `RelaySession`, which returns effects, and these are performed here. So nothing here needs a lock.

Seen events and handle_eose_all span relays and belong to the pool. Events bypass the sessions' state machine: only its
tables are needed to judge them.
"""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, get_args

from gennostr.client.attempt import Attempt, PublishOutcome
from gennostr.client.commands import (
    ClientCommand,
    DeadlinesDue,
    Forget,
    Informed,
    SaveNow,
    SendToRelays,
    Signed,
    SilenceDue,
    Subscribe,
    Unsubscribe,
)
from gennostr.client.connection import MORE
from gennostr.client.connection_events import Batch
from gennostr.client.copies import Copies
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
from gennostr.client.information_fetch import InformationFetch
from gennostr.client.options import Relay
from gennostr.client.outbox import Outbox
from gennostr.client.persistence import SAVE_AFTER, Store
from gennostr.client.publications import CountDone, PendingAnswers, Publication, PublicationDone
from gennostr.client.relay_session import FORGOTTEN, RelaySession
from gennostr.client.seen_events import foreign_key, identity
from gennostr.client.signing import SecretKey, Signer, SignerTask, checked, signers, unsigned
from gennostr.client.subscriptions import Instant, RelaySubscription, Subscription
from gennostr.client.supervision import ConnectionTable
from gennostr.client.timer_queue import Deadline, TimerQueue
from gennostr.exceptions import MessageError, Overflow, StartError, StoreError
from gennostr.nostr.messages import AuthMessage, EventMessage, RelayMessage
from gennostr.nostr.relay_information import RelayInformation
from gennostr.nostr.relay_url import redact
from gennostr.otp import tracebacks
from gennostr.otp.clock import clock
from gennostr.otp.process import Process

if TYPE_CHECKING:  # a client without a store does not pay for these
    from gennostr.client.durable_publications import Backlog, DurablePublications
    from gennostr.client.journal import Journal

logger = logging.getLogger(__name__)
logger.addFilter(tracebacks.escape)

REMOVED: Final = 256
"""How many relays that the client no longer has keep their resume points."""

_Due: TypeAlias = "tuple[RelaySession, Key] | PendingAnswers[Any] | Attempt | Backlog | Literal['save']"
"""What a deadline is for.

One of a session's; the timeout of a publication or count; of a durable publication, its expiry, the timeout of an
attempt, or the end of a relay's pause; or the next save.
"""


class Client(Protocol):
    """What the pool needs from the client."""

    @property
    def deduplicate(self) -> bool:
        """Whether an event sent by several relays is delivered once per subscription."""

    @property
    def signer(self) -> Signer | Sequence[Signer] | None:
        """The signer, or signers, that answer challenges."""

    @property
    def has_store(self) -> bool:
        """Whether the client has a store. Read in any thread."""

    @property
    def journal(self) -> "Journal | None":
        """What is to be saved, if the client has a store."""

    def run_callback(self, name: str, *arguments: object, first: ClientCommand | None = None) -> None:
        """Run a callback with `arguments` and the state, right after the current one.

        `first`, if given, is executed right before it.
        """

    def run_command(self, command: ClientCommand) -> None:
        """Pass `command` to the pool right after the current callback."""

    def run_behind(self, command: ClientCommand) -> None:
        """Pass `command` to the pool after everything that relays have sent so far."""


class RelayPool:
    """The pool of one client.

    Only `down` runs in another thread, when the client is dead.
    """

    def __init__(self, client: Client, process: Process, table: ConnectionTable) -> None:
        self.process = process
        self.sessions: dict[str, RelaySession] = {}
        """By url. A relay has none until the client uses it for something that this pool handles."""
        self._client = client
        self._table = table
        self._timers: TimerQueue[_Due] = TimerQueue(process, DeadlinesDue())
        # Whether a method of the pool is running: see `command`.
        self._busy = False
        # As far as the client knows, with or without a session: the connections, and of these the relays whose
        # handle_connect has run.
        self._connections: dict[str, Outbox] = {}
        self._up: dict[str, Relay] = {}
        # Relays that were removed, or not reconnected; the oldest first.
        self._removed: dict[str, None] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._deadlines: dict[tuple[str, Key], Deadline[_Due]] = {}
        self._seen = table.seen
        self._durable: DurablePublications | None = None

    # Commands of the client's functions.

    def command(self, command: ClientCommand) -> None:
        """Execute `command`.

        If a method of the pool has led to this call, it is executed right after that.

        A finalizer can run between any two lines, and futures run callbacks of the user's: what these request from the
        client must not find the pool in an intermediate state.
        """
        if self._busy:
            self._client.run_command(command)
            return
        self._busy = True
        try:
            match command:
                case Subscribe(subscription):
                    self._subscribe(subscription)
                case Unsubscribe(id_):
                    self._unsubscribe(id_)
                case SendToRelays(pending):
                    self._send(pending)
                case DeadlinesDue():
                    self._expire()
                case SilenceDue(url):
                    self._silence(url)
                case Signed():
                    self._signed(command)
                case Informed(url, information):
                    self._informed(url, information)
                case SaveNow():
                    self.save()
                case Forget(id_):
                    if self._client.journal is not None and self._durable is not None:
                        self._durable.forget(id_)
        finally:
            self._busy = False

    def _subscribe(self, subscription: Subscription) -> None:
        """Keep `subscription`, replacing one with the same id, and send its REQs."""
        now = _now()
        journal = self._client.journal
        if journal is not None and subscription.saved:
            journal.begin(subscription)
            if self._client.deduplicate:
                journal.restore(subscription.token, (subscription.id, ""))
        for session in list(self.sessions.values()):  # the one it replaces may have been for other relays
            if not subscription.is_for(session.url):
                self._perform(session, session.unsubscribe(subscription.id, now))
        self._subscriptions[subscription.id] = subscription
        for url in self._table.known():
            if not subscription.is_for(url):
                continue
            if url in self._connections:  # what still comes for the one that it replaces is decoded and judged
                self._connections[url].requests.pop(subscription.id.encode(), None)
            if url in self.sessions:
                self._subscribe_at(self.sessions[url], subscription, now)
            else:
                self._session(url)  # a new session gets all subscriptions

    def _subscribe_at(self, session: RelaySession, subscription: Subscription, now: Instant) -> None:
        """Send the REQ of `subscription` to one relay.

        It resumes where an earlier run of the program has ended.
        """
        journal = self._client.journal if subscription.saved else None
        position = None if journal is None else journal.position(subscription.id, session.url)
        effects = session.subscribe(subscription, now, position)
        if journal is not None and not self._client.deduplicate:
            journal.restore(session.subscriptions[subscription.id].token, (subscription.id, session.url))
        self._perform(session, effects)

    def _unsubscribe(self, id_: str) -> None:
        journal = self._client.journal
        if journal is not None:
            journal.end(id_)
        if self._subscriptions.pop(id_, None) is not None:
            now = _now()
            for session in list(self.sessions.values()):
                self._perform(session, session.unsubscribe(id_, now))

    def _send(self, pending: PendingAnswers[Any]) -> None:
        """Send a publication or count to its relays."""
        if pending.durable:
            if self._client.journal is not None and self._durable is not None:
                self._durable.add(pending)
            return
        there = self._table.known()
        urls = sorted(there if pending.relays is None else pending.relays)
        pending.open = {
            url: Attempt(pending.key, pending.payload, url, pending, is_event=pending.is_event) for url in urls
        }
        if not urls:
            self._finish(pending)
            return
        pending.deadline = self._timers.after(pending.timeout, pending)
        for attempt in list(pending.open.values()):
            if attempt.url in there:
                self.send(attempt)
            else:
                self._settle(
                    attempt, PublishOutcome("not_sent", None, f"the client has no relay {redact(attempt.url)}")
                )

    def _settle(self, attempt: Attempt, answer: object) -> None:
        """Record a relay's answer, or the reason why it is missing.

        The last one completes the future.
        """
        pending: PendingAnswers[Any] = attempt.pending
        if pending.open.pop(attempt.url, None) is not None:
            if pending.durable and self._durable is not None:
                self._durable.settled(attempt, answer)
                return
            pending.answers[attempt.url] = answer
            if not pending.open:
                self._finish(pending)

    def _finish(self, pending: PendingAnswers[Any]) -> None:
        if pending.deadline is not None:
            pending.deadline.cancel()
        pending.finish()
        if pending.notifies and not pending.cancelled():
            # In its turn, like a message from another process: a callback never runs inside another.
            done = PublicationDone(pending) if isinstance(pending, Publication) else CountDone(pending)  # type: ignore[arg-type]
            self.process.deliver(done)

    def _expire(self) -> None:
        deadlines = self._timers.due()
        for deadline in deadlines:
            if isinstance(deadline.key, PendingAnswers) and not deadline.key.durable:
                for attempt in deadline.key.open.values():
                    attempt.expired = True  # so that none is sent because another has made room
        for deadline in deadlines:
            due = deadline.key
            if isinstance(due, tuple):
                session, key = due
                if key == "silence":
                    # A slow client does not make a relay silent: messages that it has not handled yet go first.
                    self._client.run_behind(SilenceDue(session.url))
                    continue
                self._perform(session, session.deadline_expired(key, _now()))
            elif isinstance(due, PendingAnswers) and not due.durable:
                for attempt in list(due.open.values()):
                    self.time_out(attempt)
            elif due == "save":
                self._save_in_turn()
            elif due is not None and self._durable is not None:
                self._durable.deadline_expired(due)

    def _silence(self, url: str) -> None:
        session = self.sessions.get(url)
        if session is not None:
            outbox = self._connections.get(url)
            for id_, heard in () if outbox is None else outbox.heard.copy().items():
                request = session.subscriptions.get(id_.decode())
                if request is not None and not request.live:
                    request.heard = max(request.heard, heard)
            self._perform(session, session.deadline_expired("silence", _now()))

    def _informed(self, url: str, information: RelayInformation | None) -> None:
        session = self.sessions.get(url)
        if session is not None:
            self._perform(session, session.informed(information, _now()))

    def _session(self, url: str) -> RelaySession:
        session = self.sessions.get(url)
        if session is None:
            session = self.sessions[url] = RelaySession(url)
            now = _now()
            for subscription in self._subscriptions.values():
                if subscription.is_for(url):
                    self._subscribe_at(session, subscription, now)
            relay = self._up.get(url)
            if relay is not None:
                self._perform(session, session.connected(relay, now, signers=len(self.signers())))
        return session

    # Connections.

    def connecting(self, relay: Relay, outbox: Outbox) -> None:
        """Record a connection, before its handle_connect runs."""
        self._connections[relay.url] = outbox
        outbox.foreign = self._client.deduplicate

    def connected(self, relay: Relay) -> None:
        """Send everything for this relay; its handle_connect has run."""
        self._busy = True
        try:
            self._up[relay.url] = relay
            self._removed.pop(relay.url, None)
            session = self.sessions.get(relay.url)
            if session is not None:
                self._perform(session, session.connected(relay, _now(), signers=len(self.signers())))
            elif self._subscriptions or self._client.deduplicate or self._client.signer is not None:
                self._session(relay.url)
            if self._durable is not None:
                self._durable.connected(relay.url)
        finally:
            self._busy = False

    def disconnected(self, url: str, code: int | None) -> None:
        """Record the end of an attempt, before the user's callback.

        `code` is that of a close frame.
        """
        self._busy = True
        try:
            self._connections.pop(url, None)
            self._up.pop(url, None)
            session = self.sessions.get(url)
            if session is None and self._subscriptions:
                session = self._session(url)
            if session is not None:
                self._perform(session, session.disconnected(code))
        finally:
            self._busy = False

    def relay_removed(self, url: str) -> None:
        """Give up a relay without connection or pending attempt.

        Called after handle_disconnect; other relays are ignored.
        """
        self._busy = True
        try:
            session = self.sessions.get(url)
            if session is not None and not self._table.has(url):
                self._perform(session, session.relay_removed())
                # Its resume points are kept: it may be added again, for example by a backoff of the user's own.
                self._removed[url] = None
                if len(self._removed) > REMOVED:
                    oldest = next(iter(self._removed))
                    del self._removed[oldest], self.sessions[oldest]
                    for key in get_args(Key):
                        self._cancel_deadline(oldest, key)
            for subscription in list(self._subscriptions.values()):
                self._check_complete(subscription)
        finally:
            self._busy = False

    def lagging(self, url: str) -> None:
        """Record that the relay is not read now.

        The client has not handled what was read.
        """
        session = self.sessions.get(url)
        if session is not None:
            session.lagging(_now())

    def is_connected(self, url: str) -> bool:
        """Whether there is a connection as far as the client knows.

        Its end may be on the way.
        """
        outbox = self._connections.get(url)
        return outbox is not None and not outbox.removed

    # Messages from relays.

    def is_outcome(self, message: RelayMessage, url: str) -> bool:
        """Whether `message` is the outcome of a publication or count.

        It must be the last one of the relay `url`.
        """
        session = self.sessions.get(url)
        return session is not None and session.answer is message

    def received(self, session: RelaySession, message: RelayMessage | MessageError | Copies, relay: Relay) -> Any:
        """Handle a message.

        Return the `RelayMessage` or `MessageError` to deliver, or None.
        """
        self._busy = True
        try:
            kind = type(message)
            if kind is EventMessage:
                return self._event(session, message, relay)  # type: ignore[arg-type]
            if isinstance(message, MessageError):
                return message
            if isinstance(message, Copies):
                self._copies(session, message)
                return None
            # Signers can be changed: a challenge is answered by the current ones.
            effects = session.received(message, _now(), signers=len(self.signers()) if kind is AuthMessage else None)
            if not effects:
                return None
            first = effects[0]
            deliver = None
            if type(first) is Deliver and type(first.argument) is kind:
                del effects[0]
                deliver = first.argument
            self._perform(session, effects)
            return deliver
        finally:
            self._busy = False

    def _event(self, session: RelaySession, message: EventMessage, relay: Relay) -> Any:
        """Judge an event that was verified already: it must be new, and requested."""
        event, id_ = message.event, message.subscription_id
        request = session.subscriptions.get(id_)
        if request is None:
            if session.forgets(id_):
                return None
            if not self._client.deduplicate:
                return message
            key = foreign_key(id_.encode(), identity(event, verified=relay.options.verify))
            new = self._seen.get(key) is None
            self._seen.add(key, event.created_at)
            return message if new else None
        subscription = request.subscription
        key = self._owner(request) + identity(event, verified=relay.options.verify)
        machine = clock()
        if self._seen.get(key) is not None:
            request.note(event.created_at, machine.monotonic(), machine.time() + session.clock_offset)
            return None
        if not subscription.wants(event):
            if request.before is not None and request.before.wants(event):
                return None  # sent before the relay read the new REQ
            text = f"event {event.id!r:.80} matches no filter of its subscription {id_!r:.80}"
            error = MessageError(text, "unrequested")
            error.subscription_id = subscription.id
            return error
        self._seen.add(key, event.created_at)
        request.note(event.created_at, machine.monotonic(), machine.time() + session.clock_offset)
        return message if id_ == subscription.id else EventMessage(subscription.id, event)

    def _owner(self, request: RelaySubscription) -> bytes:
        """Return what is put before the ids of a REQ's events.

        An event is delivered once for each.
        """
        return request.subscription.token if self._client.deduplicate else request.token

    def _copies(self, session: RelaySession, copies: Copies) -> None:
        """Count copies that a connection has dropped."""
        request = session.subscriptions.get(copies.subscription_id)
        if request is not None and copies.oldest is not None:
            request.note_copies(copies.count, copies.oldest, copies.newest, clock().monotonic())

    def end_claims(self, batch: Batch) -> None:
        """Wake the connections that wait for events of `batch`.

        It was handled or dropped.
        """
        self._seen.end_claims(batch.claims, batch.process)
        self._seen.wake(self._continue)

    def connection_down(self, process: Process) -> None:
        """Wake the connections that wait for events of a dead one."""
        self._seen.end_all_claims(process)
        self._seen.wake(self._continue)

    def _continue(self, process: Process, url: str) -> None:
        self.lagging(url)  # it was not read meanwhile, because of us
        process.deliver(MORE)

    # The store.

    def open_journal(self, store: Store, owner: str) -> "Journal":
        """Open `store`, and save in it from now on.

        Raises:
            StoreError: it cannot be opened.
        """
        from gennostr.client.durable_publications import DurablePublications  # noqa: PLC0415 - see above
        from gennostr.client.journal import Journal  # noqa: PLC0415

        journal = Journal(store, owner, self._seen, lambda: self._timers.after(SAVE_AFTER, "save"))
        self._durable = DurablePublications(self, self._client, self._timers, journal)
        self._durable.load()
        return journal

    def handled(self, url: str) -> None:
        """Have saved, within `SAVE_AFTER` seconds, what was handled of a relay.

        At once if it is much.
        """
        journal = self._client.journal
        assert journal is not None  # noqa: S101
        journal.read.add(url)
        if journal.full:
            self.save()
        else:
            journal.arm()

    def _save_in_turn(self) -> None:
        """Save what is new: the timer has ended."""
        journal = self._client.journal
        if journal is not None:
            journal.armed = False
            self.save()

    def save(self) -> None:
        """Save what is new; called between two callbacks.

        Raises:
            StoreError: what callbacks have written is lost; the client must end.
        """
        journal = self._client.journal
        if journal is None:
            return
        first = not journal.failing
        try:
            journal.save(self.sessions)
        except StoreError as error:
            if error.lost:
                raise
            journal.arm()
            relay = next(iter(self._table.relays()), None)
            if first and relay is not None:  # until a save has succeeded
                self._client.run_callback("handle_error", error, relay)
            elif first:
                logger.exception("%r has no relay, and cannot save what it has to publish", self.process.pid)
        else:
            if self._durable is not None:
                self._durable.saved()

    # For durable publications.

    def publications(self) -> list[Publication]:
        """Return those that are pending. Called from any thread."""
        return [] if self._durable is None else list(self._durable.pending.copy().values())

    @property
    def has_store(self) -> bool:
        """Whether the client has a store. Read in any thread."""
        return self._client.has_store

    def outbox_size(self, url: str) -> int | None:
        """Return the most bytes that a relay's outbox takes.

        None: it is not connected, or handle_connect runs.
        """
        relay = self._up.get(url)
        return None if relay is None else relay.options.max_queue_size

    def send(self, attempt: Attempt) -> None:
        """Send an event or a count to a relay, when its turn comes."""
        session = self._session(attempt.url)
        self._perform(session, session.send(attempt, _now()))

    def time_out(self, attempt: Attempt) -> None:
        """Stop waiting for the answer to `attempt`: its timeout has passed."""
        session = self._session(attempt.url)
        self._perform(session, session.timed_out(attempt, attempt.pending.timeout, _now()))

    # Effects.

    def _perform(self, session: RelaySession, effects: list[Effect]) -> None:
        """Perform `effects` in order."""
        for place, effect in enumerate(effects):
            match effect:
                case Send(payload, subject):
                    try:
                        self._put(session.url, payload, subject)
                    except Overflow:
                        rest = effects[place:]
                        subjects = [each.subject for each in rest if isinstance(each, Send)]
                        others: list[Effect] = [each for each in rest if not isinstance(each, Send)]
                        # All at once: what did not fit goes back in its order, and nothing overtakes it.
                        self._perform(session, others + session.not_sent(subjects, _now()))
                        return
                case Settle(attempt, answer):
                    self._settle(attempt, answer)
                case Deliver(callback, argument):
                    self._client.run_callback(callback, argument, session.relay)
                case CheckComplete(subscription):
                    self._check_complete(subscription)
                case SetDeadline(key, seconds):
                    self._set_deadline(session, key, seconds)
                case CancelDeadline(key):
                    self._cancel_deadline(session.url, key)
                case Sign():
                    self._sign(session, effect)
                case RequestInformation():
                    self._request_information(session)
                case Log(level, text):
                    logger.log(_LEVELS[level], text)

    def _put(self, url: str, payload: bytes, subject: object) -> None:
        outbox = self._connections.get(url)
        if outbox is None:
            return
        if isinstance(subject, RelaySubscription):
            requests = outbox.requests
            requests[subject.id.encode()] = self._owner(subject)
            if len(requests) > len(self.sessions[url].subscriptions) + FORGOTTEN:  # the relay has ended many itself
                oldest = next(iter(requests))
                del requests[oldest]
                outbox.heard.pop(oldest, None)
        # With `first`: handle_connect has run, and what others sent before it must not wait for this.
        outbox.put(payload, first=True)
        if isinstance(subject, str):  # a CLOSE
            outbox.requests.pop(subject.encode(), None)
            outbox.heard.pop(subject.encode(), None)

    def _set_deadline(self, session: RelaySession, key: Key, seconds: float) -> None:
        self._cancel_deadline(session.url, key)
        self._deadlines[session.url, key] = self._timers.after(seconds, (session, key))

    def _cancel_deadline(self, url: str, key: Key) -> None:
        deadline = self._deadlines.pop((url, key), None)
        if deadline is not None:
            deadline.cancel()

    def _check_complete(self, subscription: Subscription) -> None:
        """Call handle_eose_all, once, when no relay has a stored event left to send.

        It looks at all relays only when those that it waited for have no more, not at each EOSE.
        """
        if subscription.complete or self._subscriptions.get(subscription.id) is not subscription:
            return
        awaited = subscription.awaited
        while awaited:
            if self._awaits(subscription, awaited[-1]):
                return
            awaited.pop()
        urls = {*self.sessions, *self._table.known()} if subscription.relays is None else subscription.relays
        awaited += [url for url in urls if self._awaits(subscription, url)]
        if not awaited and any(map(self._table.knows, urls)):
            subscription.complete = True
            self._client.run_callback("handle_eose_all", subscription.id)

    def _awaits(self, subscription: Subscription, url: str) -> bool:
        """Whether stored events of `subscription` may still come from one of its relays."""
        session = self.sessions.get(url)
        if session is None:
            return self._table.knows(url)
        return url not in self._removed and not session.is_complete(subscription)

    def _request_information(self, session: RelaySession) -> None:
        try:
            InformationFetch.start((self.process, session.relay))
        except StartError:  # the system refused a thread: continue without
            logger.exception("the information document of %s could not be requested", redact(session.url))
            self._client.run_command(Informed(session.url, None))

    # Signers.

    def signers(self) -> list[Callable[..., Any]]:
        """Return the client's signers."""
        return signers(self._client.signer)

    def _sign(self, session: RelaySession, wanted: Sign) -> None:
        """Have the answer to a challenge signed.

        At once by a key, in a separate thread by a callable.
        """
        url, turn = session.url, wanted.turn
        fields = unsigned(url, wanted.challenge, clock().time())
        event: object = None
        several = self.signers()
        if wanted.signer < len(several):  # otherwise they were changed meanwhile
            signer = several[wanted.signer]
            if not isinstance(signer, SecretKey):
                try:
                    SignerTask.start((self.process, url, turn, signer, fields))
                except StartError as error:  # the system refused a thread
                    event = error
                else:
                    return
            else:
                event = signer(**fields)
        self._signed(Signed(url, turn, checked(event, fields)))

    def _signed(self, signed: Signed) -> None:
        session = self.sessions.get(signed.url)
        if session is None:
            return
        event = signed.event
        if isinstance(event, BaseException):
            logger.error("a signer failed for %s", redact(signed.url), exc_info=event)
            self._client.run_callback("handle_error", event, session.relay)
            event = None
        self._perform(session, session.signed(signed.turn, event, _now()))

    def down(self, process: Process, reason: object) -> None:
        """Cancel the timer: the client is dead (see `gennostr.otp.process.Watcher`)."""
        self._timers.down(process, reason)


_LEVELS: Final = {"info": logging.INFO, "warning": logging.WARNING}


def _now() -> Instant:
    machine = clock()
    return Instant(machine.monotonic(), machine.time())
