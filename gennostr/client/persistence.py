"""The protocol between a client and its store: what outlives the program.

A client with a store saves, in one transaction each time, what it has handled since the last: events, how far it has
read each relay, and publications. When it starts, it opens the store and gets all of it back. `gennostr.store` has two
stores; any object with these three methods is one.

The client calls all methods in its own thread, and saves only between two callbacks. So what is saved has been handled,
and what a callback has written to the same database (`gennostr.store.SqliteStore.transaction`) is saved with it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from gennostr.client.attempt import PublishOutcome
from gennostr.client.subscriptions import Position
from gennostr.nostr.event import Event
from gennostr.values import shown

SAVE_AFTER: Final = 1.0
"""Seconds after which what was handled is saved, at the latest."""
SAVE_EVENTS: Final = 4_000
"""How many new events, about, are saved at once: with so many, the save comes earlier."""

Origin: TypeAlias = tuple[str, str]
"""The id of a subscription and the url of a relay.

The url is empty for seen events of a client with ``deduplicate``: there, an event of any relay counts for all.
"""


@dataclass(frozen=True, slots=True)
class SavedPublication:
    """A durable publication as it is saved.

    It is pending while an outcome is None. With all outcomes, it waits until the client has handled its end.

    >>> from gennostr.nostr import generate_key, sign
    >>> from gennostr.store import SavedPublication
    >>> event = sign(generate_key(), kind=1, content="hello")
    >>> SavedPublication(event, timeout=10.0, expires=None, outcomes={"wss://relay.example/": None}).expires is None
    True
    """

    event: Event
    """The signed event."""
    timeout: float
    """Seconds that each attempt at a relay may take."""
    expires: float | None
    """When it ends in any case, in seconds since 1970; None: never."""
    outcomes: dict[str, PublishOutcome | None] = field(hash=False)
    """By url: the final outcome at each relay; None: none so far."""


@dataclass(slots=True)
class SavedSubscription:
    """What is saved of a subscription with an id of the user's.

    >>> from gennostr.store import Position, SavedSubscription
    >>> saved = SavedSubscription('[{"kinds": [1]}]')
    >>> saved.positions["wss://relay.example/"] = Position(begun=1700000000, settled=True, newest=1700003600)
    >>> saved.seen
    {}
    """

    filters: str
    """A canonical text of its filters: with others, it begins anew."""
    positions: dict[str, Position] = field(default_factory=dict)
    """By url."""
    seen: dict[str, dict[bytes, int]] = field(default_factory=dict)
    """By url, or under "" for all relays together (see `Origin`): the keys of seen events, 32 or 64 bytes each, with
    the time at which they were created. The oldest first, as they were saved."""


@dataclass(slots=True)
class Saved:
    """Everything that a store holds for its client.

    >>> from gennostr.store import Saved
    >>> Saved()  # of a new store
    Saved(subscriptions={}, publications=[])
    """

    subscriptions: dict[str, SavedSubscription] = field(default_factory=dict)
    """By id."""
    publications: list[SavedPublication] = field(default_factory=list)
    """In the order in which they were first saved."""


@dataclass(slots=True)
class Changes:
    """What is new since the last save, to be applied in the order of these fields.

    It is true if there is anything.

    >>> from gennostr.store import Changes, Position
    >>> bool(Changes())
    False
    >>> position = Position(begun=1700000000, settled=True, newest=1700003600)
    >>> changes = Changes(subscriptions={"notes": None}, positions={("feed", "wss://relay.example/"): position})
    >>> [id_ for id_, filters in changes.subscriptions.items() if filters is None]  # to be deleted
    ['notes']
    """

    subscriptions: dict[str, str | None] = field(default_factory=dict)
    """By id: the filters' text of a subscription that begins anew: its positions and seen events are deleted. None: the
    subscription is deleted with these."""
    positions: dict[Origin, Position] = field(default_factory=dict)
    """Each replaces the last one."""
    seen: dict[Origin, dict[bytes, int]] = field(default_factory=dict)
    """New seen events: their keys, 32 or 64 bytes each, with the time at which they were created."""
    publications: dict[str, SavedPublication | None] = field(default_factory=dict)
    """By the event's id: publications that are new or have changed. None: it is deleted."""

    def __bool__(self) -> bool:
        return bool(self.subscriptions or self.positions or self.seen or self.publications)


class Store(Protocol):
    """What a client needs of a store.

    To keep things elsewhere than in SQLite, write a class with these methods, and run
    `gennostr.testing.StoreContract` against it.

    A store belongs to one client at a time. Its methods raise `StoreError`, and nothing else.

    >>> from gennostr.store import MemoryStore, Store
    >>> store: Store = MemoryStore()
    >>> store.open("feed", seen=1000, written=lambda: None).publications
    []
    >>> store.close()
    """

    def open(self, owner: str, *, seen: int, written: Callable[[], None]) -> Saved:
        """Take possession, and return everything that is saved.

        Args:
            owner: what the client is called; the error of another that opens the store names it.
            seen: how many seen events are kept: at least so many of the last ones, but for those that are 30 days old,
                and at most about twice as many.
            written: to be called, in the client's thread, when a callback has written something of its own that the
                next save must include; the client then saves within `SAVE_AFTER` seconds.

        Raises:
            StoreError: it is in use, damaged, of a newer version, or cannot be written.
        """

    def save(self, changes: Changes) -> None:
        """Save `changes`, and what callbacks have written since the last save.

        All of it is saved, or nothing. When this returns, it must survive the death of the program and, as far as the
        store promises that, a power cut.

        Raises:
            StoreError: nothing was saved. If its `lost` is False, the client saves the same changes, and more, later.
                If it is True, what callbacks have written is lost: the client ends, to begin again where the last save
                was.
        """

    def close(self) -> None:
        """Give up possession; what was written since the last save is discarded.

        A client calls this at its end even if it could not open the store: if another one possesses it, this does
        nothing.
        """


def is_store(value: object) -> bool:
    """Whether `value` has the methods of a store."""
    methods = ("open", "save", "close")
    return not isinstance(value, type) and all(callable(getattr(value, name, None)) for name in methods)


def check_store(value: object) -> None:
    """Raise TypeError unless `value` is a store."""
    if not is_store(value):
        raise TypeError(f"store must be a store (see gennostr.store), not {shown(value)}")
