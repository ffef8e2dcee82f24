"""A mailbox that waits for messages and for a socket at once.

``get`` returns the next message or, when none waits, a `SocketReady` as soon as the watched socket can be read or
written. A writer wakes a sleeping reader through a pipe; nothing is written while the reader is awake.

Two things are shared, and both are used in atomic steps: a deque of messages, and a list that holds a token while the
reader sleeps. The thread that pops the token wakes the reader. The reader adds the token and then takes from the deque
once more; a writer appends to the deque and then looks for the token. The deque orders the two: a message that the
reader missed was appended after that, so its writer finds the token. No lock is held, so a finalizer or a signal
handler may ``put`` between any two lines of either.

Creating one takes no descriptor, and so cannot fail: `open` gets what waiting needs, in the reader's thread, where a
failure can be reported.
"""

import math
import os
import select
import socket
from collections import deque
from dataclasses import dataclass
from queue import Empty
from typing import Final

from gennostr.otp.clock import MACHINE

_READ = select.POLLIN | select.POLLPRI
_LONGEST: Final = 3600.0
"""The longest single poll in seconds: its milliseconds must fit into a C int."""


@dataclass(frozen=True, slots=True)
class SocketReady:
    """The watched socket can be read (or has ended), or written."""

    readable: bool
    writable: bool


READABLE: Final = SocketReady(readable=True, writable=False)
WRITABLE: Final = SocketReady(readable=False, writable=True)
READABLE_AND_WRITABLE: Final = SocketReady(readable=True, writable=True)


class _Pipe:
    """A pipe that is closed when nothing refers to it any more.

    So a writer never writes to another file with the same number.
    """

    __slots__ = ("read", "write")

    def __init__(self, ends: tuple[int, int]) -> None:
        self.read, self.write = ends

    def __del__(self) -> None:
        os.close(self.read)
        os.close(self.write)


class SocketMailbox:
    """See `gennostr.otp.mailbox.Mailbox`."""

    def __init__(self) -> None:
        self._items: deque[object] = deque()
        # One token while the reader sleeps.
        self._asleep: list[None] = []
        self._pipe: _Pipe | None = None
        self._poll = select.poll()
        # The descriptor that is registered, and for what.
        self._watched: int | None = None
        self._events = 0

    def open(self) -> None:
        """Create the pipe; called in the reader's thread, before its first `get`.

        Raises:
            OSError: the system has no descriptors left.

        """
        self._pipe = pipe = _Pipe(os.pipe())
        self._poll.register(pipe.read, select.POLLIN)

    def put(self, item: object, /) -> None:
        """Append `item`."""
        self._items.append(item)
        if self._asleep:
            try:
                self._asleep.pop()
            except IndexError:  # another writer wakes it
                return
            pipe = self._pipe
            if pipe is not None:
                os.write(pipe.write, b"\0")  # one per sleep of the reader, so the pipe is never full

    def get(self, block: bool = True, timeout: float | None = None) -> object:  # noqa: FBT001, FBT002
        """Return the next message or `SocketReady`.

        Raise ``queue.Empty`` if there is no message, or if it does not arrive in time.
        """
        if self._items and (item := self._next()) is not None:
            return item
        deadline = None if timeout is None or not block else MACHINE.monotonic() + timeout
        milliseconds = 0 if not block else None if timeout is None else _milliseconds(timeout)
        asleep, items = self._asleep, self._items
        while True:
            asleep.append(None)
            try:
                item = self._next()  # takes, not only looks, since only taking is ordered by the deque
                ready = [] if item is not None else self._poll.poll(milliseconds)
            finally:
                asleep.clear()  # a missing token was taken by a writer that wakes the reader now or has done so
            if item is not None:
                return item
            found = self._found(ready)
            if items and (item := self._next()) is not None:
                return item  # the socket is still ready at the next poll
            if found is not None:
                return found
            # Nothing: the time is over, or a writer has woken the reader late, for a message that was taken already.
            if not block:
                raise Empty
            if deadline is not None:
                remaining = deadline - MACHINE.monotonic()
                if remaining <= 0:
                    raise Empty
                milliseconds = _milliseconds(remaining)

    def _found(self, ready: list[tuple[int, int]]) -> SocketReady | None:
        """Return how the socket is ready; empty the pipe."""
        found: SocketReady | None = None
        for descriptor, events in ready:
            if descriptor != self._watched:
                os.read(descriptor, 4096)
            elif events & select.POLLOUT:
                found = WRITABLE if events == select.POLLOUT else READABLE_AND_WRITABLE
            else:
                found = READABLE
        return found

    def _next(self) -> object:
        """Return the next message, or None.

        The thread that kills the reader also empties the queue.
        """
        try:
            return self._items.popleft()
        except IndexError:
            return None

    def get_nowait(self) -> object:
        """Return the next message; raise ``queue.Empty`` without one.

        Checks neither socket nor pipe.
        """
        item = self._next()
        if item is None:
            raise Empty
        return item

    def empty(self) -> bool:
        """Whether no message waits."""
        return not self._items

    def qsize(self) -> int:
        """Return how many messages wait."""
        return len(self._items)

    def ready(self) -> bool:
        """Return whether the socket is ready, or a message has just arrived.

        For the reader's thread only.
        """
        return bool(self._poll.poll(0))

    def watch(self, sock: socket.socket | None, *, read: bool = False, write: bool = False) -> None:
        """Wait for `sock` to be readable, writable or both.

        If neither, it is not watched.
        """
        events = (_READ if read else 0) | (select.POLLOUT if write else 0)
        descriptor = sock.fileno() if sock is not None and events else -1
        if descriptor == self._watched and events == self._events:
            return  # as after nearly every read
        if self._watched is not None and self._watched != descriptor:
            self._poll.unregister(self._watched)
            self._watched = None
        if descriptor >= 0:
            self._poll.register(descriptor, events)  # replaces what it was registered for
            self._watched = descriptor
        self._events = events

    def close(self) -> None:
        """Close the pipe; for the reader's thread only, when it reads no more."""
        self._pipe = None


def _milliseconds(seconds: float) -> int:
    """Return the timeout for poll, in whole milliseconds.

    Rounded up, so that it returns once the time is over.
    """
    return math.ceil(min(seconds, _LONGEST) * 1000)
