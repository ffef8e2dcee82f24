"""Which events a client has delivered, so that duplicates are delivered once.

An event that was verified is known by its id; one that was not, by all of it. A forgery has the id of another event,
but never all of it: so it hides nothing.
"""

import hashlib
from typing import Final

import msgspec

from gennostr.nostr.event import Event

SEEN: Final = 32_768
"""Events that a client remembers at least, for all its subscriptions together; at most twice as many."""

_encode = msgspec.json.Encoder().encode


class SeenEvents:
    """The last SEEN events at least. Two generations, so that forgetting costs nothing."""

    def __init__(self) -> None:
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()

    def __contains__(self, key: bytes) -> bool:
        return key in self._young or key in self._old

    def add(self, key: bytes) -> None:
        """Remember `key`."""
        self._young.add(key)
        if len(self._young) >= SEEN:
            self._old, self._young = self._young, set()


def identity(event: Event, *, verified: bool) -> bytes:
    """Return what is different for every two events."""
    return bytes.fromhex(event.id) if verified else hashlib.blake2b(_encode(event), digest_size=32).digest()


def foreign_key(subscription_id: str, event: bytes) -> bytes:
    """Return the key of an event for a subscription that the client does not keep; a relay chose its id."""
    return hashlib.blake2b(subscription_id.encode() + event, digest_size=32).digest()
