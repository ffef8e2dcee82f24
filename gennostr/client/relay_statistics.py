"""What each relay has brought and cost: counters, states, and how long a ping takes.

A client has one `RelayCounters`. It has a record for each relay that was added and not removed, and a record has the
`AttemptCounters` of each attempt under way: two, while one closes and the next has begun. When a connection is dead,
what its attempt has counted is added to the record.

Nothing of this is a message to anybody: who asks reads the numbers where they are.
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
from gennostr.values import shown

PATIENCE: Final = 0.5
"""Seconds to wait for a change that another thread makes; only a finalizer that waits for us keeps it from its end."""

State: TypeAlias = Literal["connecting", "open", "closing", "backoff"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayStatistics:
    """How a relay stands, and what was counted over all attempts since it was added. Times are seconds."""

    url: str
    state: State
    """"closing": the attempt has ended, and its close handshake goes on. "backoff": there is no connection; the next
    attempt waits for its time, or for handle_disconnect to ask for it."""
    connected_at: float | None = None
    """Since 1970; None unless the connection is open."""
    attempts: int = 0
    connects: int = 0
    """How many of the attempts have succeeded."""
    messages_received: int = 0
    """Those that were told to the client; what was told as an error because it was no message is one of them."""
    messages_sent: int = 0
    """Those that were taken to be written, whether or not the relay got them."""
    bytes_received: int = 0
    """Of WebSocket frames, headers included; the handshake is not, and of TLS what is inside it."""
    bytes_sent: int = 0
    latency: float | None = None
    """From the last ping that was answered to its answer: until that was read, which a client that lags delays."""
    last_error: object = field(default=None, hash=False)
    """What handle_error was told when an attempt last ended with an error; an exception, without its traceback."""
    undelivered: int = 0
    """Bytes that the client has not handled yet, as they count for the limit: a message 256 besides its own."""

    @property
    def reconnects(self) -> int:
        """How many times it was connected to again."""
        return max(0, self.connects - 1)

    def __repr__(self) -> str:
        texts = [f"{each.name}={shown(getattr(self, each.name))}" for each in fields(self)[1:]]
        return f"RelayStatistics({', '.join([f'url={redact(self.url)!r}', *texts])})"


class AttemptCounters:
    """What one attempt counts.

    Its connection's thread alone writes the numbers: so an addition needs no lock, for no other can come between its
    reading and its writing, and whoever reads finds each number as it was at some moment. What the thread of a killed
    connection still counts, nobody reads.
    """

    __slots__ = (
        "bytes_received", "bytes_sent", "connects", "credit", "error", "latency", "messages_received",
        "messages_sent", "over", "process",
    )  # fmt: skip

    def __init__(self, process: Process | None = None, credit: Credit | None = None) -> None:
        self.process = process
        self.credit = credit
        self.connects = 0
        self.messages_received = 0
        self.messages_sent = 0
        self.bytes_received = 0
        self.bytes_sent = 0
        self.latency: float | None = None
        self.error: object = None
        self.over = False
        """Whether the attempt has ended: what is left of it is the close handshake."""

    def end(self, error: object) -> None:
        """Note the end, and the error if it was one."""
        self.error = _without_frames(error)
        self.over = True

    def undelivered(self) -> int:
        """Return how many bytes the client has not handled yet."""
        return 0 if self.credit is None else self.credit.undelivered()

    def add(self, other: "AttemptCounters") -> None:
        """Add what `other`, a later one, has counted."""
        self.connects += other.connects
        self.messages_received += other.messages_received
        self.messages_sent += other.messages_sent
        self.bytes_received += other.bytes_received
        self.bytes_sent += other.bytes_sent
        self.latency = self.latency if other.latency is None else other.latency
        self.error = self.error if other.error is None else other.error


class _Record:
    """One relay's: what the attempts that are over have counted together, and the counts of the others.

    The three are replaced together and never changed, so that a reader finds what belongs together.
    """

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: tuple[int, AttemptCounters, tuple[AttemptCounters, ...]] = (0, AttemptCounters(), ())

    @property
    def running(self) -> tuple[AttemptCounters, ...]:
        """The counts of the attempts that are not over."""
        return self._parts[2]

    def begin(self, counted: AttemptCounters) -> None:
        """Count an attempt."""
        attempts, past, running = self._parts
        self._parts = (attempts + 1, past, (*running, counted))

    def end(self, counted: AttemptCounters) -> None:
        """Add up an attempt, be it one that never began."""
        attempts, past, running = self._parts
        total = AttemptCounters()
        total.add(past)
        total.add(counted)
        self._parts = (attempts, total, tuple(each for each in running if each is not counted))

    def statistics(self, url: str, state: State | None, connected_at: float | None) -> RelayStatistics:
        """Return what there is; a state of None: there is neither a connection nor an attempt to come."""
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
            messages_sent=total.messages_sent,
            bytes_received=total.bytes_received,
            bytes_sent=total.bytes_sent,
            latency=total.latency,
            last_error=total.error,
            undelivered=undelivered,
        )


class _Changes:
    """Changes to one structure, made one after the other.

    A finalizer or a signal handler may interrupt a change in its own thread and ask for another one, or wait for a
    thread that does. So a change is put in a queue, and made by whoever has the turn: mostly the caller itself. Other
    threads wait for their turn, so that their change has been made when they go on, but not for ever; what interrupts
    the thread whose turn it is leaves its change to it. Whoever gives the turn back looks at the queue again.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[Callable[[], object]] = SimpleQueue()
        # Reentrant, so that what interrupts a change sees that it does, by `_making`, which this lock protects.
        self._turn = threading.RLock()
        self._making = False

    def make(self, change: Callable[[], object]) -> None:
        """Make `change`, which must not raise; or leave it to the one that this has interrupted."""
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

    All is written in `_changes`, except for the numbers of the counts. Readers need no lock: a copy of the dict is one
    step, and a record shows what belongs together.
    """

    def __init__(self) -> None:
        self._changes = _Changes()
        self._records: dict[str, _Record] = {}

    def begin(self, url: str, process: Process, outbox: Outbox, credit: Credit) -> AttemptCounters:
        """Count an attempt, and return what it counts in; it is added up when `process` dies."""
        counted = AttemptCounters(process, credit)
        self._changes.make(partial(self._begin, url, counted, outbox))
        end = _End(self, url, counted)
        if not process.watch(end):
            end.down(process, process.reason)
        return counted

    def _begin(self, url: str, counted: AttemptCounters, outbox: Outbox) -> None:
        # One that was removed before it began has nothing to add to; `over` was set before `forget`.
        if not outbox.over:
            self._records.setdefault(url, _Record()).begin(counted)

    def end(self, url: str, counted: AttemptCounters) -> None:
        """Add up an attempt whose connection is dead."""
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
        """Return the relays that there were attempts at, and that are not forgotten."""
        return set(self._records)

    def forget(self, url: str, process: Process | None = None) -> None:
        """Forget a relay, `process` being over; one that another connects to was added anew meanwhile, and stays."""
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
        """Return the statistics by url; `standing` are those that are connected to or will be: state, connected_at."""
        records = self._records.copy()
        urls = dict.fromkeys((*records, *standing))
        return {url: records.get(url, _Record()).statistics(url, *standing.get(url, (None, None))) for url in urls}


class _End:
    """Adds what an attempt has counted to its record when its connection is dead."""

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
    """The pings of one connection that are not answered yet: the oldest that is remembered, and the newest.

    Two are enough, however many there are. A relay need not answer any but the newest (RFC 6455, 5.5.3); and while
    pings are sent faster than they are answered, the oldest's answer is the next that comes. Each has a payload that
    cannot be guessed, so that no answer comes before its ping.
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
        """Return the seconds that the ping with `payload` took; None if it is none of those."""
        oldest, newest = self._oldest, self._newest
        if newest is not None and newest[0] == payload:
            self._oldest = self._newest = None  # the answer is one to all before it
            return now - newest[1]
        if oldest is not None and oldest[0] == payload:
            self._oldest = newest
            return now - oldest[1]
        return None


def _without_frames(error: object) -> object:
    """Return a copy that does not hold what its traceback does: the dead connection, and all that it has read."""
    if not isinstance(error, BaseException):
        return error
    try:
        return copy.copy(error)
    except Exception:  # of an exception of somebody else's, which cannot be made again
        return error
