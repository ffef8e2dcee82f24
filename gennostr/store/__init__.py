"""What outlives the program.

Resume positions, seen events and durable publications: a client with a store loses none of them when its process ends,
however it ends. `SqliteStore` keeps them in a file:

    class Feed(GenNostr):
        store = SqliteStore("feed.db")

`MemoryStore` keeps them as long as the process lives: for tests, and for a client that a supervisor restarts. To keep
them elsewhere, write a class with the three methods of `Store`, and run `gennostr.testing.StoreContract` against it.

`Archive` is a client that keeps all events of its filters in a file, and resumes; `Events` finds them by filters, also
in other programs. With `EventTable`, a client keeps events in its own store's file.

Nothing here is imported unless a program does so.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from gennostr.client.persistence import (
    Changes,
    Origin,
    Saved,
    SavedPublication,
    SavedSubscription,
    Store,
)
from gennostr.client.subscriptions import Position
from gennostr.store.memory import MemoryStore
from gennostr.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from gennostr.store.archive import Archive, ArchiveOptions, ArchiveProgress
    from gennostr.store.events import EventTable
    from gennostr.store.reading import Events

__all__ = [
    "Archive",
    "ArchiveOptions",
    "ArchiveProgress",
    "Changes",
    "EventTable",
    "Events",
    "MemoryStore",
    "Origin",
    "Position",
    "Saved",
    "SavedPublication",
    "SavedSubscription",
    "SqliteStore",
    "Store",
]

# Imported on first use: a client with a store pays for none of them.
_NAMES = {"archive": "Archive ArchiveOptions ArchiveProgress", "events": "EventTable", "reading": "Events"}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}


if not TYPE_CHECKING:  # a type checker that sees __getattr__ would accept every misspelled name

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
