"""An archive: a client that keeps all events of its filters in an SQLite file.

Two readers fill it. A subscription brings what is new, and after a restart what was missed: the client's store has its
resume point. What a relay had stored before that is read once, by a `fetch` in an actor of its own, newest first. After
each batch, the time down to which the relay was read is saved with the events, so an interrupted history resumes there.

The two overlap: a history begins after the EOSE of its relay's subscription, in the transaction of which the resume
point is saved as well.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from sqlite3 import Connection
from typing import Any, Final

import msgspec

from gennostr.client.fetch import fetch
from gennostr.client.gen_nostr import GenNostr, RelayOutcome
from gennostr.client.options import Relay, RelayOptions
from gennostr.client.signing import Signer
from gennostr.exceptions import FetchIncomplete, MessageError
from gennostr.nostr.event import Event
from gennostr.nostr.filters import checked_filters
from gennostr.nostr.messages import ClosedMessage, EoseMessage, EventMessage
from gennostr.nostr.relay_url import normalize_url
from gennostr.otp.calls import Request, reply
from gennostr.otp.clock import ScheduledCall as Timer
from gennostr.otp.gen_server import GenServer
from gennostr.otp.outcomes import CallbackOutcome, CallOutcome, InitOutcome, NoReply, Ok, Reply, Stop
from gennostr.otp.pid import Pid, unlink
from gennostr.otp.reasons import SHUTDOWN
from gennostr.otp.timers import cancel_timer, send_after
from gennostr.store.events import EventTable, Filters
from gennostr.store.sqlite import SqliteStore

SUBSCRIPTION: Final = "archive"
"""The id of an archive's subscription."""
BATCH: Final = 500
"""How many events of a history are stored at once."""
RETRY: Final = 60.0
"""Seconds after which a history is read again that could not be read to its end."""

_SCHEMA: Final = """CREATE TABLE IF NOT EXISTS gennostr_histories (
    url TEXT PRIMARY KEY, filters BLOB NOT NULL, down_to INTEGER, done INTEGER NOT NULL) WITHOUT ROWID"""


@dataclass(frozen=True, slots=True)
class ArchiveOptions:
    """What an `Archive` keeps and where: the argument of its `start`.

    >>> from gennostr.store import ArchiveOptions
    >>> ArchiveOptions("notes.db", ["wss://relay.example"], {"kinds": [1]}).search
    False
    """

    path: str | os.PathLike[str]
    """The file; see `SqliteStore`."""
    urls: Sequence[str] = field(repr=False)
    """Those of the relays."""
    filters: Filters = field(default_factory=dict)
    """A filter of NIP-01 or a list of filters, without ``limit`` and ``search``; by default all events. With other
    filters than before, the relays are read anew, and what is in the file stays."""
    signer: Signer | Sequence[Signer] | None = field(default=None, repr=False)
    """For relays that require authentication; see `GenNostr.signer`."""
    search: bool = False
    """Whether to keep a full-text index (fts5), for filters with ``search``. A file that has one keeps it."""
    again: bool = False
    """Whether to read all that the relays have stored once more, at each start. It finds events that have reached a
    relay late, by the times that their authors wrote in them, while the archive was not running."""
    timeout: float = 30.0
    """Seconds that a relay may be silent or unreachable while its history is read."""
    relay_options: RelayOptions = field(default_factory=RelayOptions, repr=False)
    """Options of the relays, as for `add_relay`; ``verify`` is True by default here."""


@dataclass(frozen=True, slots=True)
class ArchiveProgress:
    """How far an archive has read one relay, since the archive was started.

    >>> from gennostr.store import ArchiveProgress
    >>> ArchiveProgress(received=12, added=10).done
    False
    """

    received: int = 0
    """How many events the relay has sent."""
    added: int = 0
    """How many of them were new; an event that several relays send counts for the first."""
    oldest: int | None = None
    """Down to which time its history was read, in seconds since 1970."""
    done: bool = False
    """Whether it was read: all that it had stored when the archive was started is in the file."""
    error: str | None = None
    """Why not, if it has failed: the last error."""


@dataclass(slots=True)
class _Relay:
    """What the archive knows of one relay."""

    progress: ArchiveProgress = field(default_factory=ArchiveProgress)
    reader: Pid | None = None
    """The actor that reads its history."""
    again: Timer | None = None
    """When its history is read again."""
    down_to: int | None = None
    whole: bool = False
    """Whether its history was read."""
    live: bool = False
    """Whether its subscription has had an EOSE."""

    def note(self, received: Sequence[Event], added: int) -> None:
        self.progress = replace(
            self.progress, received=self.progress.received + len(received), added=self.progress.added + added
        )

    def judge(self, error: str | None = None) -> None:
        self.progress = replace(self.progress, done=self.whole and self.live, error=error, oldest=self.down_to)


@dataclass(slots=True)
class Archived:
    """The state of an `Archive`.

    A crash report shows it, and urls can contain passwords.
    """

    options: ArchiveOptions = field(repr=False)
    filters: Sequence[dict[str, Any]]
    text: bytes = field(repr=False)
    """The filters, as they are saved."""
    relays: dict[str, _Relay] = field(default_factory=dict, repr=False)
    settled: bool = False
    """Whether no relay's subscription has stored events left to send."""
    waiting: list[Request] = field(default_factory=list)
    """Calls of "stored" that were not answered yet."""

    def progress(self) -> dict[str, ArchiveProgress]:
        """Return how far each relay was read."""
        return {url: each.progress for url, each in self.relays.items()}

    def answer(self) -> None:
        """Answer those that wait for all stored events, if they were read."""
        if self.settled and not any(each.reader for each in self.relays.values()):
            for request in self.waiting:
                reply(request, self.progress())
            self.waiting.clear()


@dataclass(frozen=True, slots=True)
class _Read:
    """Events that were read from a relay's history."""

    url: str = field(repr=False)
    events: Sequence[Event]
    down_to: int | None
    """The time down to which there are no others; None: unknown."""


@dataclass(frozen=True, slots=True)
class _End:
    """The end of a relay's history."""

    url: str = field(repr=False)
    error: str | None


@dataclass(frozen=True, slots=True)
class _Again:
    """The history of a relay is to be read again."""

    url: str = field(repr=False)


class Archive(GenNostr[Archived]):
    """A client that keeps all events of its filters in an SQLite file.

    It reads what the relays have stored, however few events a relay sends at once, and then keeps what is new. When it
    is started again on the same file, it resumes: nothing is missed, and no history is read twice. `Events` reads
    the file, in any thread or process, meanwhile or later.

    Kept are, as by NIP-01, 09 and 40, the newest versions of replaceable and addressable events, no ephemeral ones, and
    what neither was deleted by its author nor has expired; see `EventTable.add`.

    Calls of the handle:

    - ``archive.call("progress")`` returns an `ArchiveProgress` for each relay, by its normalized url;
    - ``archive.call("stored", timeout=None)`` returns the same, once all that the relays have stored was read, as far
      as they can be reached.

    A history that cannot be read to its end (a relay is silent, refuses, or sends forged events) is read again after a
    minute. Subclass it to see events as they arrive: override `handle_events`, and call that of `Archive` first.

    >>> import tempfile
    >>> from gennostr.store import Archive, ArchiveOptions, Events
    >>> from gennostr.testing import MemoryRelay
    >>> directory = tempfile.TemporaryDirectory()
    >>> path = f"{directory.name}/notes.db"
    >>> with MemoryRelay() as relay:
    ...     stored = [relay.store(content=text, created_at=time) for time, text in enumerate(["one", "two"])]
    ...     with Archive.start(ArchiveOptions(path, [relay.url], {"kinds": [1]})) as archive:
    ...         archive.call("stored", timeout=None)[relay.url].done
    True
    >>> with Events(path) as events:
    ...     [event.content for event in events.query({"kinds": [1]})]
    ['two', 'one']
    >>> directory.cleanup()
    """

    deduplicate = True

    def init(self, init_arg: ArchiveOptions) -> InitOutcome[Archived]:
        """Open the file, add the relays, and subscribe.

        Args:
            init_arg: an `ArchiveOptions`.
        """
        filters = checked_filters(init_arg.filters)
        for name in ("limit", "search"):
            if any(name in each for each in filters):
                raise MessageError(f"filter {name!r} is not for an archive, which keeps all events: leave it out")
        text = msgspec.json.encode(filters, order="sorted")
        self.signer = init_arg.signer
        self.store = SqliteStore(init_arg.path)
        with self._transaction() as database:
            EventTable(database).create(search=init_arg.search)
            database.execute(_SCHEMA)
            # Of other filters, the subscription begins anew. So does the history: what is between is in neither.
            database.execute("DELETE FROM gennostr_histories WHERE filters != ? OR ?", (text, init_arg.again))
        state = Archived(init_arg, filters, text, settled=not init_arg.urls)
        for url in init_arg.urls:
            self._relay(normalize_url(url), state)
            self.add_relay(url, **_with_verify(init_arg.relay_options))
        self.subscribe(filters, SUBSCRIPTION)
        return Ok(state)

    def _transaction(self) -> Connection:
        assert isinstance(self.store, SqliteStore)  # noqa: S101
        return self.store.transaction()

    def _relay(self, url: str, state: Archived) -> _Relay:
        """Return what is known of a relay; it may have been added by the handle."""
        relay = state.relays.get(url)
        if relay is None:
            relay = state.relays[url] = _Relay()
            with self._transaction() as database:
                saved = database.execute(
                    "SELECT down_to, done FROM gennostr_histories WHERE url = ?", (url,)
                ).fetchone()
            if saved is not None:
                relay.down_to, relay.whole = saved[0], bool(saved[1])
        return relay

    def _add(self, url: str, events: Sequence[Event], state: Archived) -> None:
        # Without a `with` block, which would cost a fifth of this: if it raises, the archive ends, and all is undone.
        added = EventTable(self._transaction()).add(events)
        self._relay(url, state).note(events, added)

    def handle_events(self, messages: list[EventMessage], relay: Relay, state: Archived, /) -> RelayOutcome[Archived]:
        """Add the events to the file."""
        self._add(relay.url, [each.event for each in messages if each.subscription_id == SUBSCRIPTION], state)
        return None

    def handle_eose(self, message: EoseMessage, relay: Relay, state: Archived, /) -> RelayOutcome[Archived]:
        """Read the relay's history, unless it was read."""
        if message.subscription_id == SUBSCRIPTION:
            found = self._relay(relay.url, state)
            found.live = True
            found.judge()
            self._read_history(relay.url, state)
        return None

    def handle_eose_all(self, subscription_id: str, state: Archived, /) -> RelayOutcome[Archived]:
        """Answer the calls of "stored", if no history is being read."""
        if subscription_id == SUBSCRIPTION:
            state.settled = True
            state.answer()
        return None

    def _read_history(self, url: str, state: Archived) -> None:
        relay = self._relay(url, state)
        if relay.whole or relay.reader is not None:
            return
        filters = state.filters
        if relay.down_to is not None:
            filters = [{**each, "until": min(relay.down_to, each.get("until", relay.down_to))} for each in filters]
        # Linked: if one of the two crashes, so does the other, and the supervisor starts the archive again.
        relay.reader = _History.start_link(_Task(self.pid, url, filters, state.options))

    def handle_call(self, request: Any, from_: Request, state: Archived, /) -> CallOutcome[Archived]:
        """Answer "progress" and "stored", and store what histories bring."""
        match request:
            case "progress":
                return Reply(state.progress())
            case "stored":
                state.waiting.append(from_)
                state.answer()
                return NoReply()
            case _Read(url, events, down_to):
                self._add(url, events, state)
                if down_to is not None:
                    self._save_history(url, down_to, state, done=False)
                return Reply(None)
            case _End(url, error):
                relay = state.relays[url]
                relay.reader = None
                if error is None:
                    self._save_history(url, relay.down_to, state, done=True)
                else:
                    relay.judge(error)
                    relay.again = send_after(RETRY, self.pid, _Again(url))
                state.answer()
                return Reply(None)
        return super().handle_call(request, from_, state)

    def _save_history(self, url: str, down_to: int | None, state: Archived, *, done: bool) -> None:
        with self._transaction() as database:
            row = (url, state.text, down_to, done)
            database.execute("INSERT OR REPLACE INTO gennostr_histories VALUES (?, ?, ?, ?)", row)
        relay = state.relays[url]
        relay.down_to, relay.whole = down_to, done
        relay.judge()

    def handle_info(self, message: Any, state: Archived, /) -> CallbackOutcome[Archived]:
        """Read a history again that could not be read to its end."""
        if not isinstance(message, _Again):
            return super().handle_info(message, state)
        self._read_history(message.url, state)
        return None

    def handle_error(self, reason: Any, relay: Relay, state: Archived, /) -> RelayOutcome[Archived]:
        """Keep the error for the progress, and log it."""
        self.note_error(reason, relay, state)
        return super().handle_error(reason, relay, state)

    def handle_closed(self, message: ClosedMessage, relay: Relay, state: Archived, /) -> RelayOutcome[Archived]:
        """Keep the relay's refusal for the progress, and log it."""
        self.note_error(message.message or "closed without a reason", relay, state)
        return super().handle_closed(message, relay, state)

    @staticmethod
    def note_error(reason: object, relay: Relay, state: Archived) -> None:
        """Keep an error of a relay that was not read yet, for the progress.

        For a subclass that overrides handle_error and logs nothing.

        Args:
            reason: the error, or its text.
            relay: the relay.
            state: the state.
        """
        found = state.relays.get(relay.url)
        if found is not None and not found.live:
            found.judge(str(reason) or type(reason).__name__)

    def terminate(self, reason: Any, state: Archived, /) -> None:
        """End the actors that read histories."""
        for relay in state.relays.values():
            if relay.again is not None:
                cancel_timer(relay.again)
            if relay.reader is not None:
                unlink(relay.reader)  # its end is not to interrupt this one
                relay.reader.exit(SHUTDOWN)
        super().terminate(reason, state)


def _with_verify(options: RelayOptions) -> RelayOptions:
    return {"verify": True, **options}


@dataclass(frozen=True, slots=True)
class _Task:
    """What a `_History` reads, and for whom."""

    archive: Pid
    url: str = field(repr=False)
    filters: Sequence[dict[str, Any]]
    options: ArchiveOptions = field(repr=False)


class _History(GenServer[None]):
    """Reads what one relay has stored, newest first, and ends.

    The archive replies when it has stored a batch: no more events than that wait, and those of the fetch's pages.
    """

    def init(self, init_arg: _Task) -> InitOutcome[None]:
        """Return at once; the reading follows."""
        return Ok(None, continue_=init_arg)

    def handle_continue(self, argument: _Task, state: None, /) -> CallbackOutcome[None]:
        """Read all events."""
        del state
        task, options, error = argument, argument.options, None
        batch: list[Event] = []
        with fetch(
            task.filters,
            [task.url],
            signer=options.signer,
            timeout=options.timeout,
            **_with_verify(options.relay_options),
        ) as found:

            def deliver() -> None:
                # After an error, events are delivered that may have others between them which are missing.
                known = batch and found.progress[task.url].error is None
                task.archive.call(_Read(task.url, tuple(batch), batch[-1].created_at if known else None), timeout=None)
                batch.clear()

            try:
                for event in found:
                    batch.append(event)
                    if len(batch) == BATCH:
                        deliver()
            except FetchIncomplete as incomplete:  # raised after the last event
                [reason] = incomplete.failed.values()
                error = str(reason) or type(reason).__name__
            deliver()
        task.archive.call(_End(task.url, error), timeout=None)
        return Stop()
