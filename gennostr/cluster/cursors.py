"""How far the clients of shards have read, if they have no store.

In the shard, the client has a `CursorStore`: the positions that another store would save once a second go to the
cluster, and are kept by `Cursors`. The next incarnation starts with them, and resumes there. Seen events are not handed
over: pickling their keys would add a fifth to what an unverified event takes.
"""

from collections.abc import Callable

from gennostr.client.persistence import Changes, Origin, Saved, SavedSubscription
from gennostr.client.subscriptions import Position


class CursorStore:
    """A store in the shard that hands positions to the cluster.

    See `gennostr.client.persistence.Store`.
    """

    def __init__(self, saved: Saved, send: Callable[[Changes], object]) -> None:
        self._saved = saved
        self._send = send

    def open(self, owner: str, *, seen: int, written: Callable[[], None]) -> Saved:
        """Return what the last incarnation has handed over."""
        del owner, seen, written
        return self._saved

    def save(self, changes: Changes) -> None:
        """Hand over what is new, without the seen events."""
        if changes.subscriptions or changes.positions:
            self._send(Changes(changes.subscriptions, changes.positions))

    def close(self) -> None:
        """Do nothing: what was handed over stays."""


class Cursors:
    """What one shard has handed over.

    Its actors' threads use it, one after the other.
    """

    def __init__(self) -> None:
        self._filters: dict[str, str] = {}
        self._positions: dict[Origin, Position] = {}

    def apply(self, changes: Changes) -> None:
        """Keep `changes`."""
        for id_, text in changes.subscriptions.items():
            self._filters.pop(id_, None)
            self._positions = {origin: each for origin, each in self._positions.items() if origin[0] != id_}
            if text is not None:
                self._filters[id_] = text
        self._positions |= {origin: each for origin, each in changes.positions.items() if origin[0] in self._filters}

    def saved(self) -> Saved:
        """Return all of it, for the next incarnation."""
        saved = Saved({id_: SavedSubscription(text) for id_, text in self._filters.items()})
        for (id_, url), position in self._positions.items():
            saved.subscriptions[id_].positions[url] = position
        return saved
