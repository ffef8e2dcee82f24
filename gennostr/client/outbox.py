"""The outbox: what waits to be sent to one relay, bounded, filled from any thread.

What is sent before the connection is up waits until ``handle_connect`` has run, and goes after what that sent.
"""

import threading
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
    """`_lock` protects everything here."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        """The relay as it stands; the connection alone writes it."""
        self.over = False
        """Whether the end of the attempt was told: whatever becomes of the connection, it is not restarted."""
        self.ping_wanted = False
        """Whether the relay is to be pinged. The connection takes it back, without the lock, and then pings: so whoever
        has asked before has his ping."""
        self._max_size = relay.options.max_queue_size
        self._max_messages = relay.options.max_queue_messages
        self._lock = threading.Lock()
        self._queue: deque[bytes] = deque()
        self._early: deque[bytes] = deque()
        self._ready = False
        self._size = 0
        self._wake: Callable[[], None] | None = None
        self._told = False

    def put(self, payload: bytes, *, first: bool = False) -> None:
        """Queue `payload`; `first` is for what handle_connect sends.

        Raises:
            Overflow: it does not fit any more, and is not queued.

        """
        with self._lock:
            size = self._size + len(payload)
            count = len(self._queue) + len(self._early)
            if size > self._max_size or count >= self._max_messages:
                raise Overflow(
                    f"{redact(self.relay.url)}: {count} messages of {self._size} bytes wait to be sent; the limits "
                    f"are {self._max_messages} messages and {self._max_size} bytes"
                )
            self._size = size
            (self._queue if first or self._ready else self._early).append(payload)
            wake = self._wake if self._queue and not self._told else None
            self._told = self._told or wake is not None
        if wake is not None:
            wake()

    def ping(self) -> None:
        """Have the relay pinged, once for all who ask before that happens; before the connection is up, nothing."""
        with self._lock:
            if self.relay.connected_at is None:
                return
            self.ping_wanted = True
            wake = None if self._told else self._wake
            self._told = self._told or wake is not None
        if wake is not None:
            wake()

    def open(self, wake: Callable[[], None]) -> None:
        """Take what handle_connect sends from now on: the connection is up, and `wake` calls it."""
        with self._lock:
            self._wake = wake
            self._told = bool(self._queue) or self.ping_wanted
        if self._told:
            wake()

    def ready(self) -> None:
        """Let everything through: handle_connect has run."""
        with self._lock:
            self._ready = True
            self._queue.extend(self._early)
            self._early.clear()
            wake = self._wake if self._queue and not self._told else None
            self._told = self._told or wake is not None
        if wake is not None:
            wake()

    def take(self, budget: int) -> list[bytes]:
        """Remove and return messages of about `budget` bytes; empty when nothing waits."""
        taken: list[bytes] = []
        with self._lock:
            while self._queue and budget > 0:
                payload = self._queue.popleft()
                self._size -= len(payload)
                budget -= len(payload)
                taken.append(payload)
            if not self._queue:
                self._told = False
        return taken
