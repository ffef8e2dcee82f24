"""The events that a client has handled, so that duplicates are delivered once.

A verified event is identified by its id, an unverified one by all its content. A forgery can have the id of another
event, but never all its content: so it cannot suppress that event.

The client's thread adds an event when it has judged it, and runs its callback next. The connections' threads look
events up, to drop copies (`gennostr.client.copies`), and claim those that nobody has yet: each operation on a dict or
deque is atomic, so no lock is needed.
"""

import hashlib
import sys
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

import msgspec

from gennostr.nostr.event import Event
from gennostr.otp.process import Process

SEEN: Final = 32_768
"""Events that a client remembers, over all its subscriptions: at least so many, at most twice as many."""

_encode = msgspec.json.Encoder().encode


class SeenEvents:
    """At least the last `size` events, and the claims to events on their way.

    Two generations, so that forgetting costs nothing.
    """

    def __init__(self, size: int = SEEN) -> None:
        self.size = size
        # When each event was created, in seconds since 1970.
        self._young: dict[bytes, int] = {}
        self._old: dict[bytes, int] = {}
        # Which connection verifies an event, or has sent it to the client, which has not handled it yet.
        self._claims: dict[bytes, Process] = {}
        # The connections that wait for an event that another has claimed. They add themselves and then look at the
        # claim once more; the client ends claims and then looks here. So none waits for a claim that has ended.
        self._waiting: deque[tuple[Process, str]] = deque()
        # How many generations have ended, and what `take_new` has returned: the first so many events of the generation
        # that was young then, and all before it.
        self._ended = 0
        self._taken_in = 0
        self._taken = 0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: bytes) -> int | None:
        """Return when the event with `key` was created; None: it is not here.

        Another thread may replace a generation between the two lines: an event that is forgotten at that moment is then
        missed, as it would be a moment later.
        """
        created_at = self._young.get(key)
        return self._old.get(key) if created_at is None else created_at

    def lookups(self) -> tuple[Callable[[bytes], int | None], Callable[[bytes], int | None]]:
        """Return `get` in two steps, for many keys: to be called one after the other.

        What is added after a change of generations is not found.
        """
        return self._young.get, self._old.get

    def add(self, key: bytes, created_at: int) -> None:
        """Remember an event; for the client's thread."""
        self._young[key] = created_at
        if len(self._young) >= self.size:
            # In this order: an event of the young generation is always in one of the two.
            self._old = self._young
            self._young = {}
            self._ended += 1

    def size_in_bytes(self) -> int:
        """Return about how many bytes the events take; for the client's thread.

        The keys of a table are of nearly one size: its first one stands for all.
        """
        total = 0
        for table in (self._young, self._old):
            total += sys.getsizeof(table)
            for key, created_at in islice(table.items(), 1):
                total += len(table) * (sys.getsizeof(key) + sys.getsizeof(created_at))
        return total

    # For a client that saves them.

    def count_new(self) -> int:
        """Return how many events `take_new` would return.

        Fewer, if a generation has ended since it was called.
        """
        return len(self._young) - (self._taken if self._taken_in == self._ended else 0)

    def take_new(self) -> list[tuple[bytes, int]]:
        """Return the events that were added since the last call, the oldest first.

        Those that were forgotten meanwhile are left out. A dict keeps the order in which its keys were added, so adding
        an event costs nothing more.
        """
        new: list[tuple[bytes, int]] = []
        ended = self._ended - self._taken_in
        if ended:
            new += _last(self._old, len(self._old) - (self._taken if ended == 1 else 0))
        new += _last(self._young, self.count_new())
        self._taken_in, self._taken = self._ended, len(self._young)
        return new

    # Claims.

    def claim(self, key: bytes, process: Process) -> bool:
        """Return whether `process` is now the one that brings an event to the client.

        A dead connection's claim is taken over: it may never have sent the event.
        """
        holder = self._claims.setdefault(key, process)
        if holder is process:
            return True
        if holder.dead:
            self._claims[key] = process
            return True
        return False

    def is_claimed(self, key: bytes, process: Process) -> bool:
        """Whether a live connection other than `process` has a claim."""
        holder = self._claims.get(key)
        return holder is not None and holder is not process and not holder.dead

    def wait(self, process: Process, url: str) -> None:
        """Have the connection `process` to `url` woken when claims have ended."""
        self._waiting.append((process, url))

    def end_claims(self, keys: Iterable[bytes], process: Process) -> None:
        """End claims of `process`: the client has handled, or dropped, what it brought."""
        for key in keys:
            if self._claims.get(key) is process:  # otherwise it was taken over
                del self._claims[key]

    def end_all_claims(self, process: Process) -> None:
        """End the claims that a dead connection has left."""
        self.end_claims(list(self._claims), process)

    def wake(self, wake: Callable[[Process, str], None]) -> None:
        """Call `wake` for each connection that waits; claims have ended."""
        # Those that add themselves meanwhile have seen that the claims have ended, or wait for others.
        for _ in range(len(self._waiting)):
            wake(*self._waiting.popleft())


def _last(events: dict[bytes, int], count: int) -> list[tuple[bytes, int]]:
    """Return the last `count` items, in their order."""
    last = list(islice(reversed(events.items()), count))
    last.reverse()
    return last


def identity(event: Event, *, verified: bool) -> bytes:
    """Return a key that differs for any two events."""
    return event.id.encode() if verified else hashlib.blake2b(_encode(event), digest_size=32).digest()


def foreign_key(subscription_id: bytes, event: bytes) -> bytes:
    """Return the key of an event for an unknown subscription id.

    The relay chose that id.
    """
    return hashlib.blake2b(subscription_id + event, digest_size=32).digest()
