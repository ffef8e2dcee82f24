"""The mailbox: holds a process's messages in order of arrival.

The standard mailbox is ``queue.SimpleQueue``: written in C, unbounded, safe for any number of threads. A class of
actors can use its own (a connection's also waits on its socket); `Mailbox` is what the receive loop needs of it.

A mailbox closes atomically with the death of its process: CLOSED replaces it (see `gennostr.otp.process`). If a sender
still holds the old mailbox, its message is never read. A call, which must not be lost that way, does not rely on the
mailbox: it watches the process and so is notified of the death.
"""

import os
import threading
from queue import Empty, SimpleQueue
from typing import Final, Protocol, TypeVar

T = TypeVar("T")

SIGNAL_DELAY: Final = 0.5
"""Maximum seconds before a main thread that waits without a timeout notices a signal."""


_main_thread = threading.main_thread().ident


def _forked() -> None:
    global _main_thread  # noqa: PLW0603 - the thread that forked is the child's main thread
    _main_thread = threading.get_ident()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_forked)


def in_main_thread() -> bool:
    """Whether this is the main thread, in which Python runs signal handlers."""
    return threading.get_ident() == _main_thread


class Mailbox(Protocol):
    """An unbounded queue with any number of writers and one reader."""

    def put(self, item: object, /) -> None:
        """Append `item` without blocking."""

    def get(self, block: bool = True, timeout: float | None = None) -> object:  # noqa: FBT001, FBT002
        """Return the next item; raise ``queue.Empty`` if nothing arrives (in time)."""

    def get_nowait(self) -> object:
        """Return the next item that was put; raise ``queue.Empty`` if it is empty.

        Callable from any thread.
        """

    def empty(self) -> bool:
        """Return whether no item waits."""

    def qsize(self) -> int:
        """Return the number of waiting items."""


class Closed:
    """The mailbox of a dead process: always empty."""

    def put(self, item: object, /) -> None:
        """Drop `item`."""

    def get(self, block: bool = True, timeout: float | None = None) -> object:  # noqa: ARG002, FBT001, FBT002
        """Raise ``queue.Empty``."""
        raise Empty

    def get_nowait(self) -> object:
        """Raise ``queue.Empty``."""
        raise Empty

    def empty(self) -> bool:
        """Return True."""
        return True

    def qsize(self) -> int:
        """Return 0."""
        return 0


CLOSED: Final = Closed()


def create() -> Mailbox:
    """Return a new standard mailbox."""
    return SimpleQueue()


def take(queue: "SimpleQueue[T]") -> T:
    """Wait for the next item without a timeout; return it.

    Signal handlers still run meanwhile.

    Handlers run in the main thread, and a signal interrupts its wait only if the system delivers it to that thread
    during the wait. A signal that arrives just before the wait interrupts nothing, and if two arrive at once, another
    thread can receive one. If the wait had no end, such a signal would go unnoticed until the next one.
    """
    if threading.get_ident() != _main_thread:
        return queue.get()
    while True:
        try:
            return queue.get(timeout=SIGNAL_DELAY)
        except Empty:
            pass


def drop(mailbox: Mailbox) -> None:
    """Discard all items of a mailbox whose reader is dead."""
    try:
        while True:
            mailbox.get_nowait()
    except Empty:
        pass
