"""A store in memory: what is saved lives as long as the process."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from gennostr.client.persistence import Changes, Origin, Saved, SavedPublication, SavedSubscription
from gennostr.client.subscriptions import Position
from gennostr.exceptions import StoreError

PATIENCE: Final = 2.0
"""Seconds for which `MemoryStore.open` waits until another client has closed the store."""


class MemoryStore:
    """A store that lasts as long as the process.

    For tests, and for a client whose supervisor restarts it: the next one resumes where the last one has saved.

    >>> from gennostr.store import Changes, MemoryStore
    >>> store = MemoryStore()
    >>> saved = store.open("feed", seen=1000, written=lambda: None)
    >>> store.save(Changes(subscriptions={"notes": '[{"kinds":[1]}]'}))
    >>> store.close()
    >>> store.open("feed", seen=1000, written=lambda: None).subscriptions["notes"].filters
    '[{"kinds":[1]}]'
    >>> store.close()
    """

    def __init__(self) -> None:
        self._free = threading.Lock()
        """Held while the store is open."""
        self._owner = ""
        self._thread: threading.Thread | None = None
        """The thread that has opened it."""
        self._most = 0
        self._filters: dict[str, str] = {}
        self._positions: dict[Origin, Position] = {}
        # One entry for each save and origin, the oldest first.
        self._seen: deque[tuple[Origin, dict[bytes, int]]] = deque()
        self._count = 0
        self._publications: dict[str, SavedPublication] = {}

    def open(self, owner: str, *, seen: int, written: Callable[[], None]) -> Saved:  # noqa: ARG002 - for other stores
        """Take possession; see `Store.open`."""
        if not self._free.acquire(timeout=PATIENCE):
            raise StoreError(f"the memory store is in use by {self._owner!r}")
        self._owner, self._thread, self._most = owner, threading.current_thread(), seen
        saved = Saved({id_: SavedSubscription(text) for id_, text in self._filters.items()})
        for (id_, url), position in self._positions.items():
            saved.subscriptions[id_].positions[url] = position
        for (id_, url), events in self._seen:
            saved.subscriptions[id_].seen.setdefault(url, {}).update(events)
        saved.publications = [_copied(each) for each in self._publications.values()]
        return saved

    def save(self, changes: Changes) -> None:
        """Save `changes`; see `Store.save`."""
        if self._thread is not threading.current_thread():
            raise StoreError("this thread has not opened the memory store")
        for id_, text in changes.subscriptions.items():
            self._filters.pop(id_, None)
            self._positions = {origin: each for origin, each in self._positions.items() if origin[0] != id_}
            self._seen = deque(each for each in self._seen if each[0][0] != id_)
            self._count = sum(len(events) for _, events in self._seen)
            if text is not None:
                self._filters[id_] = text
        self._positions |= {origin: each for origin, each in changes.positions.items() if origin[0] in self._filters}
        for origin, events in changes.seen.items():
            if origin[0] in self._filters:
                self._seen.append((origin, {**events}))
                self._count += len(events)
        while self._seen and self._count - len(self._seen[0][1]) >= self._most:
            self._count -= len(self._seen.popleft()[1])
        for id_, publication in changes.publications.items():
            if publication is None:
                self._publications.pop(id_, None)
            else:
                self._publications[id_] = _copied(publication)

    def close(self) -> None:
        """Give up possession; see `Store.close`."""
        if self._thread is threading.current_thread():
            self._thread = None
            self._free.release()


def _copied(publication: SavedPublication) -> SavedPublication:
    return replace(publication, outcomes={**publication.outcomes})
