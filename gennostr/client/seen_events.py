"""The events that a client has delivered, so that duplicates are delivered once.

A verified event is identified by its id, an unverified one by all its content. A forgery can have the id of another
event, but never all its content: so it cannot suppress that event.
"""

import hashlib
from typing import Final

import msgspec

from gennostr.nostr.event import Event

SEEN: Final = 32_768
"""Events that a client remembers, over all its subscriptions: at least so many, at most twice as many."""

_encode = msgspec.json.Encoder().encode


class SeenEvents:
    """At least the last SEEN events.

    Two generations, so that forgetting costs nothing.
    """

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
    """Return a key that differs for any two events."""
    return bytes.fromhex(event.id) if verified else hashlib.blake2b(_encode(event), digest_size=32).digest()


def foreign_key(subscription_id: str, event: bytes) -> bytes:
    """Return the key of an event for an unknown subscription id.

    The relay chose that id.
    """
    return hashlib.blake2b(subscription_id.encode() + event, digest_size=32).digest()
