"""The mailbox: where a process's messages wait, in the order in which they arrived.

The standard mailbox is ``queue.SimpleQueue``: written in C, unbounded, safe for any number of threads. A class of
actors may bring its own (a connection's waits on its socket too); this is what the receive loop needs of it.

A mailbox closes in one step with its process's death: CLOSED takes its place (see `gennostr.otp.process`). A sender
that still holds the old one puts its message where nobody reads. What must not be lost that way, a call, does not
rely on the mailbox: it watches the process, and hears of the death from there.
"""

import os
import threading
from queue import Empty, SimpleQueue
from typing import Final, Protocol, TypeVar

T = TypeVar("T")

SIGNAL_DELAY: Final = 0.5
"""Seconds after which a signal is noticed at the latest, by a main thread that waits without a timeout."""


_main_thread = threading.main_thread().ident


def _forked() -> None:
    global _main_thread  # noqa: PLW0603 - the thread that forked is the child's main thread
    _main_thread = threading.get_ident()


os.register_at_fork(after_in_child=_forked)


class Mailbox(Protocol):
    """An unbounded queue with any number of writers and one reader."""

    def put(self, item: object, /) -> None:
        """Append `item`; never blocks."""

    def get(self, block: bool = True, timeout: float | None = None) -> object:  # noqa: FBT001, FBT002
        """Return the next item; raise ``queue.Empty`` where there is none (in time)."""

    def get_nowait(self) -> object:
        """Return the next item that was put; raise ``queue.Empty`` where there is none. Any thread may."""

    def empty(self) -> bool:
        """Whether nothing waits."""

    def qsize(self) -> int:
        """How many items wait."""


class Closed:
    """The mailbox of the dead: always empty."""

    def put(self, item: object, /) -> None:
        """Drop `item`."""

    def get(self, block: bool = True, timeout: float | None = None) -> object:  # noqa: ARG002, FBT001, FBT002
        """Raise ``queue.Empty``."""
        raise Empty

    def get_nowait(self) -> object:
        """Raise ``queue.Empty``."""
        raise Empty

    def empty(self) -> bool:
        """Whether nothing waits."""
        return True

    def qsize(self) -> int:
        """How many items wait."""
        return 0


CLOSED: Final = Closed()


def create() -> Mailbox:
    """Return a new standard mailbox."""
    return SimpleQueue()


def take(queue: "SimpleQueue[T]") -> T:
    """Return the next item, however long that takes, and run signal handlers meanwhile.

    They run in the main thread, and a signal interrupts its wait only if the system delivers it to that thread while it
    waits. One that arrives just before the wait interrupts nothing, and of two at once another thread can receive one:
    without an end to the wait, such a signal would be lost until the next.
    """
    if threading.get_ident() != _main_thread:
        return queue.get()
    while True:
        try:
            return queue.get(timeout=SIGNAL_DELAY)
        except Empty:
            pass


def drop(mailbox: Mailbox) -> None:
    """Throw away what waits: its reader is dead."""
    try:
        while True:
            mailbox.get_nowait()
    except Empty:
        pass
