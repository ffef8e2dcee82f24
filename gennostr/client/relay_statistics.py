"""What each relay has delivered and cost: counters, state, and ping latency.

Also what a client remembers.

A client has one `RelayCounters`. It has a record for each relay that was added and not removed, and a record has the
`AttemptCounters` of each running attempt: two, while one closes and the next has started. When a connection is dead,
the counts of its attempt are added to the record.

None of this sends messages: readers read the numbers where they are kept.
"""

import copy
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from queue import Empty, SimpleQueue
from typing import Final, Literal, TypeAlias

from gennostr.client.connection_events import Credit
from gennostr.client.outbox import Outbox
from gennostr.nostr.relay_url import redact
from gennostr.otp.process import Process
from gennostr.otp.reasons import is_clean
from gennostr.otp.system import Statistics
from gennostr.values import Record, shown

PATIENCE: Final = 0.5
"""Seconds to wait for another thread's change; only a finalizer that waits for this thread can delay it longer."""

State: TypeAlias = Literal["connecting", "open", "closing", "backoff"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientStatistics(Statistics):
    """A client's `Statistics`, and what the events take that it remembers.

    `statistics` returns them for a client.

    >>> from gennostr import GenNostr
    >>> with GenNostr.start() as client:
    ...     client.statistics().seen_events
    0
    """

    seen_events: int
    """How many events the client remembers, so that each is delivered once; see `GenNostr.max_seen_events`."""
    seen_bytes: int
    """About how many bytes of memory these take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayStatistics(Record):
    """A relay's status and its counters over all attempts since it was added.

    `relay_statistics` returns them.

    >>> from gennostr import RelayStatistics
    >>> RelayStatistics(url="wss://relay.example/", state="open", attempts=3, connects=2).reconnects
    1
    """

    url: str
    """The normalized url."""
    state: State
    """"connecting", "open", "closing" or "backoff".

    "closing": the attempt has ended, but not its close handshake. "backoff": not connected; the next attempt waits for
    its delay, or for handle_disconnect to request it.
    """
    connected_at: float | None = None
    """Seconds since 1970; None unless the connection is open."""
    attempts: int = 0
    """How many attempts to connect were made."""
    connects: int = 0
    """How many of the attempts succeeded."""
    messages_received: int = 0
    """Messages delivered to the client, including invalid ones, which are delivered as errors."""
    copies: int = 0
    """How many of these were copies of events that were handled already: they were dropped without decoding them.

    Only relays with ``verify=True`` have any.
    """
    messages_sent: int = 0
    """Messages taken to be written, whether or not the relay received them."""
    bytes_received: int = 0
    """Bytes of WebSocket frames with their headers, without the handshake and without the overhead of TLS.

    A compressed message counts as it is on the wire.
    """
    bytes_sent: int = 0
    """Likewise, of the frames that were sent."""
    latency: float | None = None
    """Seconds from the last answered ping until its answer was read; a client that lags delays the reading.

    None: no ping was answered.
    """
    last_error: object = field(default=None, hash=False)
    """The last error that ended an attempt, as passed to handle_error; an exception without its traceback."""
    undelivered: int = 0
    """Bytes that the client has not handled yet, as the limit counts them: decompressed, and each message
    counts 256 extra."""

    @property
    def reconnects(self) -> int:
        """How many times it was reconnected."""
        return max(0, self.connects - 1)

    def __repr__(self) -> str:
        texts = [f"{each.name}={shown(getattr(self, each.name))}" for each in fields(self)[1:]]
        return f"RelayStatistics({', '.join([f'url={redact(self.url)!r}', *texts])})"


class AttemptCounters:
    """The counters of one attempt.

    Only its connection's thread writes the numbers, so an addition needs no lock: no other write can come between its
    read and its write, and a reader finds each number as it was at some moment. Nobody reads what the thread of a
    killed connection still counts.
    """

    __slots__ = (
        "bytes_received", "bytes_sent", "connects", "copies", "credit", "error", "latency", "messages_received",
        "messages_sent", "over", "process",
    )  # fmt: skip

    def __init__(self, process: Process | None = None, credit: Credit | None = None) -> None:
        self.process = process
        self.credit = credit
        self.connects = 0
        self.messages_received = 0
        self.copies = 0
        self.messages_sent = 0
        self.bytes_received = 0
        self.bytes_sent = 0
        self.latency: float | None = None
        self.error: object = None
        self.over = False
        """Whether the attempt has ended, and only the close handshake is left."""

    def end(self, error: object) -> None:
        """Record the end, and the error if there was one."""
        self.error = _without_frames(error)
        self.over = True

    def undelivered(self) -> int:
        """Return how many bytes the client has not handled yet."""
        return 0 if self.credit is None else self.credit.undelivered()

    def add(self, other: "AttemptCounters") -> None:
        """Add the counts of `other`, a later one."""
        self.connects += other.connects
        self.messages_received += other.messages_received
        self.copies += other.copies
        self.messages_sent += other.messages_sent
        self.bytes_received += other.bytes_received
        self.bytes_sent += other.bytes_sent
        self.latency = self.latency if other.latency is None else other.latency
        self.error = self.error if other.error is None else other.error


class _Record:
    """The counts of one relay.

    The totals of ended attempts, and the counters of the running ones.

    The three parts are replaced together and never modified, so a reader gets a consistent view.
    """

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: tuple[int, AttemptCounters, tuple[AttemptCounters, ...]] = (0, AttemptCounters(), ())

    @property
    def running(self) -> tuple[AttemptCounters, ...]:
        """The counters of the attempts that have not ended."""
        return self._parts[2]

    def begin(self, counted: AttemptCounters) -> None:
        """Add an attempt."""
        attempts, past, running = self._parts
        self._parts = (attempts + 1, past, (*running, counted))

    def end(self, counted: AttemptCounters) -> None:
        """Add an attempt to the totals, even one that was never started."""
        attempts, past, running = self._parts
        total = AttemptCounters()
        total.add(past)
        total.add(counted)
        self._parts = (attempts, total, tuple(each for each in running if each is not counted))

    def statistics(self, url: str, state: State | None, connected_at: float | None) -> RelayStatistics:
        """Return the statistics.

        A state of None means that there is neither a connection nor a pending attempt.
        """
        attempts, past, running = self._parts
        total, undelivered = AttemptCounters(), 0
        for counted in (past, *running):
            total.add(counted)
            undelivered += counted.undelivered()
        return RelayStatistics(
            url=url,
            state=state or ("closing" if running else "backoff"),
            connected_at=connected_at,
            attempts=attempts,
            connects=total.connects,
            messages_received=total.messages_received,
            copies=total.copies,
            messages_sent=total.messages_sent,
            bytes_received=total.bytes_received,
            bytes_sent=total.bytes_sent,
            latency=total.latency,
            last_error=total.error,
            undelivered=undelivered,
        )


class _Changes:
    """Changes to one structure, made one after the other.

    A finalizer or a signal handler can interrupt a change in its own thread, and request another change or wait for a
    thread that does. So changes are put in a queue, and whichever thread has the turn makes them: mostly the caller
    itself. Other threads wait for their turn, but not for ever, so that their change has been made when they continue.
    Code that interrupts the thread with the turn leaves its change to that thread. After giving up the turn, a thread
    checks the queue again.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[Callable[[], object]] = SimpleQueue()
        # Reentrant, so that code that interrupts a change can see that in `_making`, which this lock protects.
        self._turn = threading.RLock()
        self._making = False

    def make(self, change: Callable[[], object]) -> None:
        """Make `change`, which must not raise.

        Or leave it to the change that this call has interrupted.
        """
        self._queue.put(change)
        while self._turn.acquire(timeout=PATIENCE):
            try:
                if self._making:
                    return
                self._make_all()
            finally:
                self._turn.release()
            if self._queue.empty():
                return

    def _make_all(self) -> None:
        try:
            self._making = True
            while True:
                self._queue.get(block=False)()
        except Empty:
            pass
        finally:
            self._making = False


class RelayCounters:
    """The statistics of one client's relays.

    Everything is written in `_changes`, except for the numbers in the counters. Readers need no lock: copying the dict
    is one step, and a record gives a consistent view.
    """

    def __init__(self) -> None:
        self._changes = _Changes()
        self._records: dict[str, _Record] = {}

    def begin(self, url: str, process: Process, outbox: Outbox, credit: Credit) -> AttemptCounters:
        """Count an attempt and return its counters.

        They are added to the totals when `process` dies.
        """
        counted = AttemptCounters(process, credit)
        self._changes.make(partial(self._begin, url, counted, outbox))
        end = _End(self, url, counted)
        if not process.watch(end):
            end.down(process, process.reason)
        return counted

    def _begin(self, url: str, counted: AttemptCounters, outbox: Outbox) -> None:
        # An attempt that was removed before this has no record to be added to; `over` was set before `forget`.
        if not outbox.over:
            self._records.setdefault(url, _Record()).begin(counted)

    def end(self, url: str, counted: AttemptCounters) -> None:
        """Add an attempt whose connection is dead to the totals."""
        self._changes.make(partial(self._end, url, counted))

    def _end(self, url: str, counted: AttemptCounters) -> None:
        record = self._records.get(url)
        if record is not None and counted in record.running:  # otherwise it was forgotten
            record.end(counted)

    def not_made(self, url: str, error: object) -> None:
        """Count an attempt that failed before it had a connection."""
        counted = AttemptCounters()
        counted.end(error)
        self._changes.make(partial(self._not_made, url, counted))

    def _not_made(self, url: str, counted: AttemptCounters) -> None:
        record = self._records.setdefault(url, _Record())
        record.begin(counted)
        record.end(counted)

    def urls(self) -> set[str]:
        """Return the relays that had attempts and are not forgotten."""
        return set(self._records)

    def has(self, url: str) -> bool:
        """Return whether `url` is one of `urls`."""
        return url in self._records

    def forget(self, url: str, process: Process | None = None) -> None:
        """Forget a relay when `process` is over.

        If another process connects to it, it was added anew and stays.
        """
        self._changes.make(partial(self._forget, url, process))

    def _forget(self, url: str, process: Process | None) -> None:
        record = self._records.get(url)
        if record is None:
            return
        for counted in record.running:
            counted.over = counted.over or counted.process is process
        if all(counted.over for counted in record.running):
            del self._records[url]

    def statistics(self, standing: Mapping[str, tuple[State, float | None]]) -> dict[str, RelayStatistics]:
        """Return the statistics by url.

        `standing` has (state, connected_at) of those that are or will be connected.
        """
        records = self._records.copy()
        urls = dict.fromkeys((*records, *standing))
        return {url: records.get(url, _Record()).statistics(url, *standing.get(url, (None, None))) for url in urls}


class _End:
    """Adds the counts of an attempt to its record when its connection is dead."""

    __slots__ = ("_counted", "_counters", "_url")

    def __init__(self, counters: RelayCounters, url: str, counted: AttemptCounters) -> None:
        self._counters = counters
        self._url = url
        self._counted = counted

    def down(self, process: Process, reason: object) -> None:
        """See `gennostr.otp.process.Watcher`."""
        del process
        if not self._counted.over and not is_clean(reason):
            self._counted.end(reason)
        self._counters.end(self._url, self._counted)


class Pings:
    """The unanswered pings of one connection.

    The oldest one that is remembered, and the newest.

    Two are enough, however many there are. A relay need only answer the newest (RFC 6455, 5.5.3); and while pings are
    sent faster than they are answered, the next answer is the oldest's. Each has a payload that cannot be guessed, so
    no answer can come before its ping.
    """

    __slots__ = ("_newest", "_oldest")

    def __init__(self) -> None:
        self._oldest: tuple[bytes, float] | None = None
        self._newest: tuple[bytes, float] | None = None

    def send(self, now: float) -> bytes:
        """Return the payload of a ping that is sent now."""
        payload = os.urandom(8)
        self._newest = (payload, now)
        if self._oldest is None:
            self._oldest = self._newest
        return payload

    def answered(self, payload: bytes, now: float) -> float | None:
        """Return how many seconds the ping with `payload` took.

        None if the payload is of another ping.
        """
        oldest, newest = self._oldest, self._newest
        if newest is not None and newest[0] == payload:
            self._oldest = self._newest = None  # it answers all earlier ones too
            return now - newest[1]
        if oldest is not None and oldest[0] == payload:
            self._oldest = newest
            return now - oldest[1]
        return None


def _without_frames(error: object) -> object:
    """Return a copy of an exception without its traceback.

    That would keep the dead connection alive, and all that it has read.
    """
    if not isinstance(error, BaseException):
        return error
    try:
        return copy.copy(error)
    except Exception:  # an exception class of others, which cannot be copied
        return error
