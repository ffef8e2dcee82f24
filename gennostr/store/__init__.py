"""What outlives the program.

Resume positions, seen events and durable publications: a client with a store loses none of them when its process ends,
however it ends. `SqliteStore` keeps them in a file:

    class Feed(GenNostr):
        store = SqliteStore("feed.db")

`MemoryStore` keeps them as long as the process lives: for tests, and for a client that a supervisor restarts. To keep
them elsewhere, write a class with the three methods of `Store`, and run `gennostr.testing.StoreContract` against it.

Nothing here is imported unless a program does so.
"""

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

__all__ = [
    "Changes",
    "MemoryStore",
    "Origin",
    "Position",
    "Saved",
    "SavedPublication",
    "SavedSubscription",
    "SqliteStore",
    "Store",
]
