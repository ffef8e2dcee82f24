"""The outbox: a bounded queue of messages to one relay, filled from any thread.

Messages sent before the connection is up wait until ``handle_connect`` has run, and are sent after its messages.

Nothing here waits for a lock, since a finalizer or a signal handler may send between any two lines. What several
threads share is used in atomic steps: a queue, lists of which one holds a token while nobody has woken the connection,
and a lock that is only tried. There may be thousands of outboxes, nearly all empty, so they use no deque: an empty one
takes 760 bytes.
"""

from _thread import allocate_lock
from collections.abc import Callable
from enum import Enum
from queue import Empty, SimpleQueue
from typing import Final

from gennostr.client.options import Relay
from gennostr.exceptions import Overflow
from gennostr.nostr.relay_url import redact


class Flush(Enum):
    """The type of FLUSH."""

    FLUSH = "flush"


FLUSH: Final = Flush.FLUSH
"""Sent to a connection: there is something to send."""


class Outbox:
    """The queue of one attempt.

    Any thread puts; only the connection's thread opens, makes ready and takes.
    """

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        """The relay's current value; only the connection writes it."""
        self.over = False
        """Whether the end of the attempt was reported: whatever happens to the connection, it is not restarted."""
        self.removed = False
        """Whether that end was a removal by the client itself, which therefore knows of it."""
        self.greeting = False
        """Whether handle_connect is running: what the client sends meanwhile goes first. Only the client writes it."""
        self.requests: dict[bytes, bytes] = {}
        """By the id of each REQ, in bytes: what is put before the ids of its events in `SeenEvents`.

        The client writes it before it puts the REQ, so a connection that gets an event for it sees the entry.
        """
        self.foreign = False
        """Whether events for other ids are delivered once, too. Only the client writes it."""
        self.heard: dict[bytes, float] = {}
        """By the id of the REQ: when the last copy was dropped, in seconds of the monotonic clock. Only the connection
        writes it."""
        self._max_size = relay.options.max_queue_size
        self._max_messages = relay.options.max_queue_messages
        # What was put, in order, and whether it goes before messages that wait for `ready`.
        self._arrived: SimpleQueue[tuple[bytes, bool]] = SimpleQueue()
        # Used by the connection only: what it has taken from there, and what of that waits for `ready`.
        self._queue: list[bytes] = []
        self._early: list[bytes] = []
        self._ready = False
        # A token, unless the connection was woken since it last looked. A thread that puts something looks for the
        # token afterwards; the connection adds the token and then looks at what was put. The queue orders the two:
        # anything the connection missed was put after that, so the thread that put it finds the token. The same holds
        # for pings.
        self._asleep: list[None] = []
        self._wake: Callable[[], None] | None = None
        # Tokens, of which the connection takes all at once.
        self._pings: list[None] = []
        # The total bytes put and taken: the first, with those still to be added to it, and the second, which only the
        # connection uses. `_adding` is held by the thread that adds.
        self._put_size = 0
        self._to_add: list[int] = []
        self._adding = allocate_lock()
        self._taken_size = 0

    def put(self, payload: bytes, *, first: bool = False) -> None:
        """Queue `payload`; `first` is for what handle_connect sends.

        The limits are exact except that threads that put at the same moment may each exceed them by one message.

        Raises:
            Overflow: it does not fit, and is not queued.

        """
        # What is just being added, by another thread or by the one that this has interrupted, is not seen: one message.
        waiting = self._put_size + (sum(self._to_add.copy()) if self._to_add else 0) - self._taken_size
        count = self._arrived.qsize() + len(self._queue) + len(self._early)
        if waiting + len(payload) > self._max_size or count >= self._max_messages:
            raise Overflow(
                f"{redact(self.relay.url)}: {count} messages of {waiting} bytes wait to be sent; the limits "
                f"are {self._max_messages} messages and {self._max_size} bytes"
            )
        self._to_add.append(len(payload))
        self._arrived.put((payload, first))
        if self._adding.acquire(False):  # noqa: FBT003 - who holds it adds this too, or the next that puts does
            try:
                while self._to_add:
                    self._put_size += self._to_add.pop()
            finally:
                self._adding.release()
        if first or self._ready:
            self._ring()

    def ping(self) -> None:
        """Request a ping, sent once for all requests before it.

        Before the connection is up, do nothing.
        """
        if self.relay.connected_at is not None:
            if not self._pings:  # several threads may add one each, at the same moment
                self._pings.append(None)
            self._ring()

    def _ring(self) -> None:
        """Wake the connection, unless it was woken already."""
        if self._asleep:
            try:
                self._asleep.pop()
            except IndexError:  # another thread did, at the same moment
                return
            assert self._wake is not None  # noqa: S101
            self._wake()

    # For the connection.

    def open(self, wake: Callable[[], None]) -> None:
        """Accept what handle_connect sends from now on: the connection is up.

        `wake` wakes it.
        """
        self._wake = wake
        self._look()
        if self._queue or self._pings:
            self._ring()

    def ready(self) -> None:
        """Let all messages through: handle_connect has run."""
        self._sort()
        self._ready = True
        self._queue.extend(self._early)
        self._early.clear()
        self._sort()  # what arrived meanwhile from threads that did not see `_ready`, and so do not ring
        if self._queue:
            self._ring()

    def take(self, budget: int) -> list[bytes]:
        """Remove and return messages of about `budget` bytes; empty when none waits."""
        self._look()
        queue, number = self._queue, 0
        while number < len(queue) and budget > 0:
            budget -= len(queue[number])
            number += 1
        taken = queue[:number]
        del queue[:number]  # moves the rest, once for many messages
        self._taken_size += sum(map(len, taken))
        return taken

    def _look(self) -> None:
        """Fetch what was put.

        From now on, a thread that puts something wakes the connection.
        """
        if not self._asleep:
            self._asleep.append(None)
        self._sort()

    def _sort(self) -> None:
        try:
            while True:
                payload, first = self._arrived.get_nowait()
                (self._queue if first or self._ready else self._early).append(payload)
        except Empty:
            pass

    def take_ping(self) -> bool:
        """Return whether a ping was requested since the last call.

        Call it after `take`, before waiting.
        """
        if not self._pings:
            return False
        self._pings.clear()
        return True
