"""What a client with a store has handled since it last saved.

The client writes down here what must outlive it: the events it has seen, how far it has read each relay, and its
durable publications. All of it is saved at once, in one transaction, at most `SAVE_AFTER` seconds after the first.

Saves happen between two callbacks only. Until its callback has returned, an event is neither saved as seen nor does a
saved position depend on it; if the callback raises, the client ends without a save, and the store discards what
callbacks have written. So an event is handled at least once, and what its callback writes to the same database is saved
exactly once.

For the client's thread only.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from gennostr.client.persistence import (
    SAVE_EVENTS,
    Changes,
    Origin,
    SavedPublication,
    SavedSubscription,
    Store,
)
from gennostr.client.relay_session import RelaySession
from gennostr.client.seen_events import SeenEvents
from gennostr.client.subscriptions import Position, Subscription

_TOKEN: Final = 8
"""Bytes of the token that precedes an event's identity in a key of `SeenEvents`."""


class Journal:
    """The journal of one client.

    Raises:
        StoreError: the store cannot be opened.

    """

    def __init__(self, store: Store, owner: str, seen: SeenEvents, set_timer: Callable[[], object]) -> None:
        self.read: set[str] = set()
        """The urls of relays whose messages were handled since the last save."""
        self.armed = False
        """Whether a timer is set for the next save."""
        self.closed = False
        self.failing = False
        """Whether the last save has failed."""
        self._store = store
        self._seen = seen
        self._set_timer = set_timer
        # Whether callbacks have written something that the next save includes.
        self._written = False
        # What is to be saved, besides new events and positions; if a save fails, the next one includes it.
        self._changes = Changes()
        # Whose events the keys are, by the tokens that they begin with.
        self._origins: dict[bytes, Origin] = {}
        saved = store.open(owner, seen=seen.size, written=self._callback_has_written)
        self.publications: Sequence[SavedPublication] = saved.publications
        """What an earlier run has left, the oldest first."""
        # Those that an earlier run has left, and those of this one, which are also in `_begun`.
        self._subscriptions = saved.subscriptions
        self._begun: set[str] = set()

    # Subscriptions.

    def begin(self, subscription: Subscription) -> None:
        """Have `subscription` resume where an earlier run ended, or begin anew."""
        id_, text = subscription.id, _canonical(subscription.filters)
        earlier = self._subscriptions.get(id_)
        if earlier is None or id_ in self._begun or earlier.filters != text:
            self.end(id_)
            self._subscriptions[id_] = SavedSubscription(text)
            self._changes.subscriptions[id_] = text
        self._begun.add(id_)

    def end(self, id_: str) -> None:
        """Delete a subscription: it was closed."""
        if self._subscriptions.pop(id_, None) is None:
            return
        self._begun.discard(id_)
        self._origins = {token: origin for token, origin in self._origins.items() if origin[0] != id_}
        changes = self._changes
        changes.positions = {origin: each for origin, each in changes.positions.items() if origin[0] != id_}
        changes.seen = {origin: each for origin, each in changes.seen.items() if origin[0] != id_}
        changes.subscriptions[id_] = None

    def position(self, id_: str, url: str) -> Position | None:
        """Return where subscription `id_` resumes at a relay; None: it begins there."""
        subscription = self._subscriptions.get(id_)
        return None if subscription is None else subscription.positions.get(url)

    def restore(self, token: bytes, origin: Origin) -> None:
        """Remember what an earlier run has seen of `origin`.

        It is kept under `token`, as all its events from now on.
        """
        subscription = self._subscriptions.get(origin[0])
        if subscription is not None:
            self._origins[token] = origin
            self._collect_events()
            for key, created_at in subscription.seen.pop(origin[1], {}).items():
                self._seen.add(token + key, created_at)
            self._seen.take_new()  # these are saved

    # Entries.

    def add_publication(self, publication: SavedPublication) -> None:
        """Save a publication that is new or has changed."""
        self._changes.publications[publication.event.id] = publication
        self.arm()

    def delete_publication(self, id_: str) -> None:
        """Delete a publication, by the id of its event."""
        self._changes.publications[id_] = None
        self.arm()

    def _callback_has_written(self) -> None:
        self._written = True
        self.arm()

    # Saving.

    def arm(self) -> None:
        """Set the timer for the next save, unless it is set."""
        if not self.armed:
            self.armed = True
            self._set_timer()

    @property
    def full(self) -> bool:
        """Whether so many events are new that they should be saved now."""
        return self._seen.count_new() >= SAVE_EVENTS and not self.failing

    def save(self, sessions: Mapping[str, RelaySession]) -> None:
        """Save what is new.

        Call it between two callbacks.

        Raises:
            StoreError: nothing was saved.
        """
        self._collect(sessions)
        if self._changes or self._written:
            self.failing = True  # until it has succeeded
            self._store.save(self._changes)
            self._changes = Changes()
            self._written = False
        self.failing = False

    def _collect(self, sessions: Mapping[str, RelaySession]) -> None:
        """Add events and positions to the changes."""
        positions = self._changes.positions
        for url in self.read:
            session = sessions.get(url)
            for id_, position in () if session is None else session.positions():
                subscription = self._subscriptions.get(id_)
                if subscription is not None and subscription.positions.get(url) != position:
                    subscription.positions[url] = positions[id_, url] = position
        self.read.clear()
        self._collect_events()

    def _collect_events(self) -> None:
        seen = self._changes.seen
        # Most events belong to the same origin as the one before.
        token, events = b"?", None
        for key, created_at in self._seen.take_new():
            if not key.startswith(token):
                token = key[:_TOKEN]
                origin = self._origins.get(token)
                events = None if origin is None else seen.setdefault(origin, {})
            # Others are of subscriptions without an id of the user's, or were closed meanwhile.
            if events is not None:
                events[key[_TOKEN:]] = created_at
        if self.failing:
            for events in seen.values():
                for key in list(events)[: -2 * self._seen.size]:  # more are not kept anyway
                    del events[key]

    def close(self) -> None:
        """Close the store; what is not saved is discarded."""
        self.closed = True
        self._store.close()


def _canonical(filters: Sequence[Mapping[str, Any]]) -> str:
    """Return a text that is the same for filters that mean the same."""
    texts = [
        json.dumps(
            {name: sorted(value) if isinstance(value, list) else value for name, value in each.items()}, sort_keys=True
        )
        for each in filters
    ]
    return json.dumps(sorted(texts))
