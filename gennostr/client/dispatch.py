"""Dispatch: what connections report to a client, one callback at a time.

Batches are taken apart here: after each message of the mailbox comes one step of that, so that a flood of events delays
a call by one callback, not by the whole flood.

`gennostr.client.relay_pool` handles the client's subscriptions, publications and counts: it sees each message before
its callback does. Relays that a client uses for none of these bypass it.

Each attempt ends in one handle_disconnect. The first end reported for a connection's process counts, whether reported
by the connection, by the user's removal or by the process's death; what comes after it is dropped. A client that
removes a relay itself knows of the end at once: only handle_disconnect follows.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, get_args

from gennostr.client.commands import ClientCommand, PendingCallback, SilenceDue
from gennostr.client.connection import Command
from gennostr.client.connection_events import (
    REMOVE_RELAY,
    Batch,
    Connected,
    ConnectionDown,
    Ended,
    NotMade,
    ReconnectDue,
    Removed,
)
from gennostr.client.copies import Copies
from gennostr.client.frames import Close
from gennostr.client.functions import GenNostrPid
from gennostr.client.options import Relay, check_number
from gennostr.client.outbox import Outbox
from gennostr.client.persistence import Store, check_store, is_store
from gennostr.client.relay_pool import RelayPool
from gennostr.client.relay_session import RelaySession
from gennostr.client.relay_statistics import ClientStatistics
from gennostr.client.shard import InShard, Shard
from gennostr.client.signing import Signer
from gennostr.client.supervision import ConnectionTable
from gennostr.exceptions import MessageError, StoreError
from gennostr.nostr.messages import (
    AuthMessage,
    ClosedMessage,
    CountMessage,
    EoseMessage,
    EventMessage,
    NoticeMessage,
    OkMessage,
    UnknownMessage,
)
from gennostr.otp import telemetry, tracebacks
from gennostr.otp.calls import wait_down
from gennostr.otp.clock import clock
from gennostr.otp.engine import End, Engine, Server
from gennostr.otp.envelopes import WAKE, Cast
from gennostr.otp.mailbox import Mailbox
from gennostr.otp.pid import Pid
from gennostr.otp.process import Process
from gennostr.otp.reasons import SHUTDOWN

if TYPE_CHECKING:
    from gennostr.client.journal import Journal

logger = logging.getLogger(__name__)
logger.addFilter(tracebacks.escape)

_COMMANDS = frozenset(get_args(ClientCommand))


class Client(Server, Protocol):
    """What the dispatch needs from the user's object.

    See `gennostr.client.gen_nostr.GenNostr`.
    """

    signer: Signer | Sequence[Signer] | None
    deduplicate: bool
    max_seen_events: int
    store: Store | None
    shard: Shard | None

    def handle_connect(self, relay: Relay, state: Any, /) -> Any: ...  # noqa: D102
    def handle_disconnect(self, reason: Any, relay: Relay, state: Any, /) -> Any: ...  # noqa: D102
    def handle_error(self, reason: Any, relay: Relay, state: Any, /) -> Any: ...  # noqa: D102
    def handle_event(self, message: EventMessage, relay: Relay, state: Any, /) -> Any: ...  # noqa: D102
    def handle_events(self, messages: list[EventMessage], relay: Relay, state: Any, /) -> Any: ...  # noqa: D102
    def handle_eose(self, message: EoseMessage, relay: Relay, state: Any, /) -> Any: ...  # noqa: D102
    def handle_ok(self, message: OkMessage, relay: Relay, state: Any, /) -> Any: ...  # noqa: D102
    def handle_notice(self, message: NoticeMessage, relay: Relay, state: Any, /) -> Any: ...  # noqa: D102
    def handle_auth(self, message: AuthMessage, relay: Relay, state: Any, /) -> Any: ...  # noqa: D102
    def handle_closed(self, message: ClosedMessage, relay: Relay, state: Any, /) -> Any: ...  # noqa: D102
    def handle_count(self, message: CountMessage, relay: Relay, state: Any, /) -> Any: ...  # noqa: D102
    def handle_unknown(self, message: UnknownMessage, relay: Relay, state: Any, /) -> Any: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class _Disconnected:
    """The second half of an end: handle_error, and what it continued with, have run."""

    relay: Relay
    reason: object


class ClientEngine(Engine):
    """Runs a client: its table of connections, and the callbacks for its relays."""

    pid_class = GenNostrPid
    receives = frozenset(
        {Batch, Connected, ConnectionDown, Ended, Removed, PendingCallback, ReconnectDue, _Disconnected, *_COMMANDS}
    )
    server: Client

    def __init__(self, server: Server, pid: Pid, inbox: Mailbox) -> None:
        super().__init__(server, pid, inbox)
        self._table = ConnectionTable(self.process)
        self._pool = RelayPool(self, self.process, self._table)
        assert isinstance(pid, GenNostrPid)  # noqa: S101
        pid.connections, pid.relay_pool = self._table, self._pool
        # Attempts whose end was reported, until their processes are dead.
        self._ended: set[Process] = set()
        # Those that the client has removed itself, until that is reported: it knows, and gets nothing more from them.
        self._given_up: set[Process] = set()
        client = self.server
        self._callbacks: dict[type, Callable[[Any, Relay, Any], Any]] = {
            EventMessage: client.handle_event,
            EoseMessage: client.handle_eose,
            OkMessage: client.handle_ok,
            NoticeMessage: client.handle_notice,
            AuthMessage: client.handle_auth,
            ClosedMessage: client.handle_closed,
            CountMessage: client.handle_count,
            UnknownMessage: client.handle_unknown,
            **dict.fromkeys((MessageError, *MessageError.__subclasses__()), client.handle_error),
            # For messages that the pool keeps to itself.
            type(None): _deliver_nothing,
            Copies: _deliver_nothing,
        }
        # The first definition is the default, GenNostr's: it calls handle_event, and that goes faster from here.
        several = "handle_events"
        default = next(vars(each)[several] for each in reversed(type(client).__mro__) if several in vars(each))
        is_default = getattr(client.handle_events, "__func__", None) is default
        self._handle_batch = self._messages if is_default else self._grouped
        self._journal: Journal | None = None
        # In a cluster: what is used by a client that has no store.
        self._cursors: Store | None = None
        # The index of the next message in the batch that is the first of the work.
        self._at = 0

    # For the pool.

    @property
    def deduplicate(self) -> bool:
        """See `GenNostr.deduplicate`."""
        return self.server.deduplicate

    @property
    def signer(self) -> Signer | Sequence[Signer] | None:
        """See `GenNostr.signer`."""
        return self.server.signer

    @property
    def has_store(self) -> bool:
        """Whether the client has a store. Read in any thread."""
        return self.server.store is not None

    @property
    def _store(self) -> Store | None:
        return self._cursors if self.server.store is None else self.server.store

    @property
    def journal(self) -> "Journal | None":
        """The journal; None: the client has no store.

        The first use opens the store: init may set it.

        Raises:
            StoreError: it cannot be opened.
        """
        if self._journal is None and (store := self._store) is not None:
            self._set_seen_size()
            check_store(store)
            owner = str(self.process.name or type(self.server).__qualname__)
            self._journal = self._pool.open_journal(store, owner)
            self._handle_batch = partial(self._recorded, self._handle_batch)
        return self._journal

    def run_callback(self, name: str, *arguments: object, first: ClientCommand | None = None) -> None:
        """Run a callback with `arguments` and the state, right after the current one.

        `first`, if given, is executed right before it.
        """
        self.queue_ahead(PendingCallback(name, arguments, first))
        # A batch being handled stops only for a message in the mailbox.
        self.process.deliver(WAKE)

    def run_command(self, command: ClientCommand) -> None:
        """Pass `command` to the pool right after the current callback."""
        self.queue_ahead(command)
        self.process.deliver(WAKE)

    def run_behind(self, command: ClientCommand) -> None:
        """Pass `command` to the pool after everything that relays have sent so far."""
        self.add_work(command)

    # Hooks.

    def init(self, argument: object) -> object:
        """Start the connection table, then run init."""
        self.process.watch(self._pool)
        self._table.start()
        if type(argument) is InShard:
            self.server.shard = argument.shard
            outcome = super().init(argument.init_arg)
            self._cursors = argument.store  # only now: init may have set a store
        else:
            outcome = super().init(argument)
        self._pool.signers()  # an invalid one is reported now, not at a relay's first challenge
        self._set_seen_size()
        _ = self.journal  # a store that cannot be opened is an error of the start
        return outcome

    def _set_seen_size(self) -> None:
        size = self.server.max_seen_events
        check_number("max_seen_events", size, least=1, kinds=(int,))
        self._table.seen.size = size

    def terminate(self, reason: object) -> None:
        """Run terminate, save, stop the connections, and close the store.

        When others see the client's end, the sockets are closed. If the save fails, that is the reason of the end.
        """
        try:
            super().terminate(reason)
            self._save_last()
        finally:
            primary = self._table.primary
            if primary is not None:
                self.process.unlink(primary.process)
                primary.process.signal(self.process, SHUTDOWN)
                wait_down(primary.process, None)
            self._close_store()

    def on_thread_end(self) -> None:
        """Save, and close the store, if terminate was not called.

        A killed client saves as well: until it has closed the store, no other client can open it.
        """
        try:
            self._save_last()
        except StoreError:
            logger.exception("%r could not save what it has handled last", self.pid)
        self._close_store()
        super().on_thread_end()

    def _save_last(self) -> None:
        """Save what was handled since the last save.

        If a callback has failed, what it has left half done is not saved.
        """
        journal, failed = self._journal, self.ending is not None and self.ending.raised
        if journal is not None and not journal.closed and self.starting is None and not failed:
            journal.save(self._pool.sessions)

    def _close_store(self) -> None:
        journal, store = self._journal, self.server.store
        try:
            if journal is not None and not journal.closed:
                journal.close()
            elif journal is None and store is not None and is_store(store):  # init may have written to it, and failed
                store.close()
        except StoreError:
            logger.exception("%r could not close its store", self.pid)

    def statistics(self) -> ClientStatistics:
        """Add what the seen events take."""
        own, seen = super().statistics(), self._table.seen
        return ClientStatistics(
            own.started_at, own.uptime, own.messages_in, own.messages,
            seen_events=len(seen), seen_bytes=seen.size_in_bytes(),
        )  # fmt: skip

    def receive(self, message: Any) -> None:
        """Queue what connections report; execute what the client's own parts request."""
        match message:
            case PendingCallback(name, arguments, first):
                if first is not None:
                    self._pool.command(first)
                self.call(getattr(self.server, name), *arguments, ok=True)
            case _Disconnected(relay, reason):
                self._after_error(relay, reason)
            case ReconnectDue(url):
                failed = self._table.due(url)
                if failed is not None:
                    self.add_work(failed)
            case Removed(process, _, by_client):
                if by_client and process is not None:
                    self._given_up.add(process)
                self.add_work(message)
            case _ if type(message) in _COMMANDS:
                self._pool.command(message)
            case _:
                self.add_work(message)

    def step(self) -> None:
        """Handle messages of the first batch, or the first event.

        A batch is handled until the mailbox has something.
        """
        batch = self.work[0]
        self.handling(batch)
        if type(batch) is not Batch:
            self.work.popleft()
            self._event(batch)
            return
        process = batch.process
        if process not in self._ended and process not in self._given_up:  # what arrives after the end is dropped
            self._handle_batch(batch)
            if self._at < len(batch.messages):
                return
        self._at = 0
        self.work.popleft()
        if batch.claims:
            self._pool.end_claims(batch)
        if batch.credit.paused:
            self._pool.lagging(batch.relay.url)
        batch.credit.take(batch.size)

    def _recorded(self, handle: Callable[[Batch], None], batch: Batch) -> None:
        """Handle messages of `batch` by `handle`, and have it saved."""
        handle(batch)
        self._pool.handled(batch.relay.url)

    def _messages(self, batch: Batch) -> None:
        """Handle messages of `batch`, until something else is to be done."""
        process, nothing_waits = self.process, self.mailbox.empty
        messages, relay, callbacks = batch.messages, batch.relay, self._callbacks
        at, end = self._at, len(messages)
        # A session that a callback in this loop creates must not see these messages: they were sent before it.
        session = self._pool.sessions.get(relay.url)
        try:
            while at < end:
                message = messages[at]
                at += 1
                callback = callbacks[type(message)]
                if session is not None:
                    message = self._pool.received(session, message, relay)
                    callback = callbacks[type(message)]
                outcome = callback(message, relay, self.state)
                if outcome is not None:
                    self.follow(outcome, callback, ok=True)
                    if outcome.next is not None:
                        return
                if not nothing_waits() or process.interrupt is not None or process.dead:
                    return
        except End:
            raise
        except BaseException as error:
            raise End(error, callback) from error
        finally:
            self._at = at
            self.last = messages[at - 1]

    def _grouped(self, batch: Batch) -> None:
        """Handle messages of `batch` as `_messages` does.

        Events that follow each other go in one call.
        """
        process, nothing_waits = self.process, self.mailbox.empty
        messages, relay = batch.messages, batch.relay
        session = self._pool.sessions.get(relay.url)
        handler: Callable[[Any, Relay, Any], Any]
        while self._at < len(messages):
            item: Any = self._take_events(messages, session, relay)
            handler = self.server.handle_events
            if not item:
                if self._at == len(messages):
                    return
                item = messages[self._at]
                self._at += 1
                if session is not None:
                    item = self._pool.received(session, item, relay)
                handler = self._callbacks[type(item)]
            self.last = item
            try:
                outcome = handler(item, relay, self.state)
                if outcome is not None:
                    self.follow(outcome, handler, ok=True)
                    if outcome.next is not None:
                        return
            except End:
                raise
            except BaseException as error:
                raise End(error, handler) from error
            if not nothing_waits() or process.interrupt is not None or process.dead:
                return

    def _take_events(
        self, messages: Sequence[object], session: RelaySession | None, relay: Relay
    ) -> list[EventMessage]:
        """Return the events that come next, without those that were seen.

        Stop before anything else.
        """
        events: list[EventMessage] = []
        while self._at < len(messages):
            message = messages[self._at]
            if type(message) is not EventMessage:
                break
            if session is not None:
                message = self._pool.received(session, message, relay)
                if message is not None and type(message) is not EventMessage:
                    break  # not requested: it is judged once more, as it comes after these
            self._at += 1
            if message is not None:
                events.append(message)
        return events

    def _event(self, event: object) -> None:
        match event:
            case Connected(process, relay, outbox):
                if process not in self._ended and process not in self._given_up:
                    self._connected(process, relay, outbox)
            case Ended(process, relay, reason, error):
                if process not in self._ended:
                    self._ended.add(process)
                    self._disconnected(relay, reason, error)
            case SilenceDue():
                self._pool.command(event)
            case NotMade(relay, reason):
                self._disconnected(relay, reason, reason)
            case Removed(process, relay):
                self._removed(process, relay)
            case ConnectionDown(process, relay, reason):
                self._pool.connection_down(process)
                if process in self._ended:
                    self._ended.discard(process)
                else:
                    self._disconnected(relay, reason, reason)

    def _connected(self, process: Process, relay: Relay, outbox: Outbox) -> None:
        self._pool.connecting(relay, outbox)
        # What handle_connect sends goes before messages that wait for the connection.
        outbox.greeting = True
        try:
            self.call(self.server.handle_connect, relay, ok=True)
        finally:
            outbox.greeting = False
        found = self._table.find(relay.url)
        if found is not None and found[0] is process:  # otherwise its end is on the way
            self._pool.connected(relay)
        process.deliver(Cast(Command.READY))

    def _disconnected(self, relay: Relay, reason: object, error: object) -> None:
        if telemetry.handlers:
            uptime = 0.0 if relay.up_since is None else clock().monotonic() - relay.up_since
            telemetry.emit("connection.down", {"uptime": uptime}, {"relay": relay, "reason": reason, "error": error})
        self._pool.disconnected(relay.url, reason.code if isinstance(reason, Close) else None)
        if error is None:
            self._after_error(relay, reason)
            return
        # The rest runs after what handle_error may continue with (its continue_), and before everything else.
        self.queue_ahead(_Disconnected(relay, reason))
        self.call(self.server.handle_error, error, relay, ok=True)

    def _after_error(self, relay: Relay, reason: object) -> None:
        self.call(self.server.handle_disconnect, reason, relay, ok=True)
        self._table.relay_removed(relay.url)
        self._table.finish_removal(relay.url)
        self._pool.relay_removed(relay.url)

    def _removed(self, process: Process | None, relay: Relay) -> None:
        if process is not None:
            self._given_up.discard(process)
        if process is not None and process in self._ended:
            # It had ended by itself, and that was reported, while it was being removed: what is left to do is to cancel
            # the attempt that handle_disconnect may have requested since.
            pending = self._table.take(relay.url)
            if pending is None:
                return
            pending.cancel()
        elif process is not None:
            self._ended.add(process)
        self._disconnected(relay, REMOVE_RELAY, None)


def _deliver_nothing(message: Copies | None, relay: Relay, state: Any) -> None:
    """Do nothing."""
