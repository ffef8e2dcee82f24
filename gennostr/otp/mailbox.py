"""The mailbox: where a process's messages wait, in the order in which they arrived.

The standard mailbox is ``queue.SimpleQueue``: written in C, unbounded, safe for any number of threads. A class of
actors may bring its own (a connection's waits on its socket too); this is what the receive loop needs of it.

A mailbox is never closed. A message for the dead is dropped by its sender when it can see the death, and by
nobody reading it when it cannot; what must not be lost that way, a call, does not rely on the mailbox: it
watches the process, and hears of the death from there.
"""

from queue import Empty, SimpleQueue
from typing import Protocol


class Mailbox(Protocol):
    """An unbounded queue with any number of writers and one reader."""

    def put(self, item: object, /) -> None:
        """Append `item`; never blocks."""

    def get(self, block: bool = True, timeout: float | None = None) -> object:  # noqa: FBT001, FBT002
        """Return the next item; raise ``queue.Empty`` where there is none (in time)."""

    def empty(self) -> bool:
        """Whether nothing waits."""

    def qsize(self) -> int:
        """How many items wait."""


def create() -> Mailbox:
    """Return a new standard mailbox."""
    return SimpleQueue()


def drop(mailbox: Mailbox) -> None:
    """Throw away what waits: its reader is dead."""
    try:
        while not mailbox.empty():
            mailbox.get(block=False)
    except Empty:  # the reader, about to leave, took the last one
        pass
