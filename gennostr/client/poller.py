"""Wait until sockets are ready, by poll or by select.

Windows has select only.

`create` returns ``select.poll()`` where it exists. Elsewhere it returns a `SelectPoller`, which has the same three
methods. Both are used by one thread at a time.
"""

import math
import os
import select
import sys
import time
from typing import Final, Protocol

from gennostr.otp.clock import MACHINE
from gennostr.otp.mailbox import SIGNAL_DELAY, in_main_thread

# The module lacks these as well if it lacks poll. The values are those of Linux, macOS and the BSDs.
POLLIN: Final[int] = getattr(select, "POLLIN", 0x01)
POLLPRI: Final[int] = getattr(select, "POLLPRI", 0x02)
POLLOUT: Final[int] = getattr(select, "POLLOUT", 0x04)
POLLNVAL: Final[int] = getattr(select, "POLLNVAL", 0x20)


class Poller(Protocol):
    """What is used of a poll object."""

    def register(self, descriptor: int, events: int, /) -> None:
        """Watch `descriptor` for `events`, and for nothing else from now on."""

    def unregister(self, descriptor: int, /) -> None:
        """Stop watching `descriptor`; raise KeyError if it was not watched."""

    def poll(self, milliseconds: float | None = None, /) -> list[tuple[int, int]]:
        """Return the descriptors that are ready, and for what.

        The list is empty if the time ends first; None: it has no end.
        """


class SelectPoller:
    """A poll object made of select.

    On Windows, select takes sockets only, and at most 512 of them; a connection waits for two.
    """

    def __init__(self) -> None:
        self._events: dict[int, int] = {}

    def register(self, descriptor: int, events: int, /) -> None:
        """See `Poller.register`."""
        self._events[descriptor] = events

    def unregister(self, descriptor: int, /) -> None:
        """See `Poller.unregister`."""
        del self._events[descriptor]

    def poll(self, milliseconds: float | None = None, /) -> list[tuple[int, int]]:
        """See `Poller.poll`.

        A select on Windows ignores Ctrl-C, so the main thread, in which signal handlers run, waits in slices.
        """
        remaining = math.inf if milliseconds is None else max(0.0, milliseconds / 1000)
        deadline = MACHINE.monotonic() + remaining
        while True:
            ready = self._select(min(remaining, SIGNAL_DELAY) if in_main_thread() else remaining)
            remaining = deadline - MACHINE.monotonic()
            if ready or remaining <= 0:
                return ready

    def _select(self, seconds: float) -> list[tuple[int, int]]:
        reading = [descriptor for descriptor, events in self._events.items() if events & POLLIN]
        writing = [descriptor for descriptor, events in self._events.items() if events & POLLOUT]
        if not reading and not writing:
            time.sleep(min(seconds, SIGNAL_DELAY))  # Windows refuses three empty lists
            return []
        try:
            # A connect that fails makes a socket writable on POSIX, and exceptional on Windows.
            readable, writable, failed = select.select(
                reading, writing, writing, None if seconds == math.inf else seconds
            )
        except (OSError, ValueError):
            closed = [(descriptor, POLLNVAL) for descriptor in self._events if not _is_open(descriptor)]
            if closed:  # as by poll; the thread that then uses it gets the error
                return closed
            raise
        ready = dict.fromkeys(readable, POLLIN)
        for descriptor in {*writable, *failed}:
            ready[descriptor] = ready.get(descriptor, 0) | POLLOUT
        return list(ready.items())


def _is_open(descriptor: int) -> bool:
    try:
        select.select([descriptor], [], [], 0)
    except (OSError, ValueError):
        return False
    return True


def create() -> Poller:
    """Return a new poller."""
    if hasattr(select, "poll"):
        return select.poll()
    return SelectPoller()


def system_error(number: int) -> str:
    """Return the system's text for an error of a socket."""
    if sys.platform != "win32":
        return os.strerror(number)
    else:  # noqa: RET505 - type checkers look at the platform
        # The C library has no texts for errors of sockets there.
        import ctypes  # noqa: PLC0415

        return ctypes.FormatError(number).strip()
