"""The outbox: what waits to be sent to one relay, bounded, filled from any thread.

What is sent before the connection is up waits until ``handle_connect`` has run, and goes after what that sent.

No lock is waited for here: a finalizer or a signal handler may send between any two lines. What several threads use is
used in single steps that are atomic: deques, a list that holds one token while nobody has woken the connection, and a
lock that is only tried.
"""

from _thread import allocate_lock
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Final

from gennostr.client.options import Relay
from gennostr.exceptions import Overflow
from gennostr.nostr.relay_url import redact


class Flush(Enum):
    """The type of FLUSH."""

    FLUSH = "flush"


FLUSH: Final = Flush.FLUSH
"""Told to a connection: there is something to send."""


class Outbox:
    """Any thread puts; the connection's thread alone opens, makes ready and takes."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        """The relay as it stands; the connection alone writes it."""
        self.over = False
        """Whether the end of the attempt was told: whatever becomes of the connection, it is not restarted."""
        self.removed = False
        """Whether that end was a removal by the client itself, which knows of it then."""
        self.greeting = False
        """Whether handle_connect runs now: what the client sends meanwhile goes first. The client alone writes it."""
        self._max_size = relay.options.max_queue_size
        self._max_messages = relay.options.max_queue_messages
        # What was put, in order, and whether it goes before what waits for `ready`.
        self._arrived: deque[tuple[bytes, bool]] = deque()
        # The connection's alone: what it has found there, and what of that waits for `ready`.
        self._queue: deque[bytes] = deque()
        self._early: deque[bytes] = deque()
        self._ready = False
        # A token, unless somebody has woken the connection since it last looked. Who puts something looks for the token
        # afterwards; the connection adds it and then looks at what was put. The deque orders the two: what the
        # connection missed was put after that, and so whoever put it finds the token. Pings alike.
        self._asleep: list[None] = []
        self._wake: Callable[[], None] | None = None
        self._pings: deque[None] = deque(maxlen=1)
        # The bytes that were put and taken, over all: the first, with those that are still to be added to it, and the
        # second, which is the connection's. `_adding` is held by the thread that adds.
        self._put_size = 0
        self._to_add: deque[int] = deque()
        self._adding = allocate_lock()
        self._taken_size = 0

    def put(self, payload: bytes, *, first: bool = False) -> None:
        """Queue `payload`; `first` is for what handle_connect sends.

        The limits are exact but for this: threads that put at the same moment may exceed them by a message each.

        Raises:
            Overflow: it does not fit any more, and is not queued.

        """
        # What is being added now, by another thread or by the one that this has interrupted, is not seen: one message.
        waiting = self._put_size + (sum(self._to_add.copy()) if self._to_add else 0) - self._taken_size
        count = len(self._arrived) + len(self._queue) + len(self._early)
        if waiting + len(payload) > self._max_size or count >= self._max_messages:
            raise Overflow(
                f"{redact(self.relay.url)}: {count} messages of {waiting} bytes wait to be sent; the limits "
                f"are {self._max_messages} messages and {self._max_size} bytes"
            )
        self._to_add.append(len(payload))
        self._arrived.append((payload, first))
        if self._adding.acquire(False):  # noqa: FBT003 - who holds it adds this too, or the next that puts does
            try:
                while self._to_add:
                    self._put_size += self._to_add.popleft()
            finally:
                self._adding.release()
        if first or self._ready:
            self._ring()

    def ping(self) -> None:
        """Have the relay pinged, once for all who ask before that happens; before the connection is up, nothing."""
        if self.relay.connected_at is not None:
            self._pings.append(None)
            self._ring()

    def _ring(self) -> None:
        """Wake the connection, unless somebody has."""
        if self._asleep:
            try:
                self._asleep.pop()
            except IndexError:  # at the same moment
                return
            assert self._wake is not None  # noqa: S101
            self._wake()

    # The connection's.

    def open(self, wake: Callable[[], None]) -> None:
        """Take what handle_connect sends from now on: the connection is up, and `wake` calls it."""
        self._wake = wake
        self._look()
        if self._queue or self._pings.copy():
            self._ring()

    def ready(self) -> None:
        """Let everything through: handle_connect has run."""
        self._sort()
        self._ready = True
        self._queue.extend(self._early)
        self._early.clear()
        self._sort()  # what came meanwhile from threads that did not see that it is ready, and so do not ring
        if self._queue:
            self._ring()

    def take(self, budget: int) -> list[bytes]:
        """Remove and return messages of about `budget` bytes; empty when nothing waits."""
        self._look()
        taken: list[bytes] = []
        while self._queue and budget > 0:
            payload = self._queue.popleft()
            self._taken_size += len(payload)
            budget -= len(payload)
            taken.append(payload)
        return taken

    def _look(self) -> None:
        """Find what was put; whoever puts something from now on wakes the connection."""
        if not self._asleep:
            self._asleep.append(None)
        self._sort()

    def _sort(self) -> None:
        try:
            while True:
                payload, first = self._arrived.popleft()
                (self._queue if first or self._ready else self._early).append(payload)
        except IndexError:
            pass

    def take_ping(self) -> bool:
        """Whether a ping was asked for since this was last called; to be called after `take`, before waiting."""
        try:
            self._pings.pop()
        except IndexError:
            return False
        return True
