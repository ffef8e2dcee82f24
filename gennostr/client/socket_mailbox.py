"""A mailbox that waits for messages and for a socket at once.

``get`` returns the next message, or, when none waits, a `SocketReady` as soon as the watched socket can be read or
written. A writer wakes a sleeping reader through a pipe; nothing is written while the reader is awake.

Two things are shared, and both are used in single steps that are atomic: a deque of messages, and a list that holds a
token while the reader sleeps. Whoever pops the token wakes the reader. The reader adds the token and then takes from
the deque once more; a writer appends to the deque and then looks for the token. The deque orders the two: a message
that the reader missed was appended after that, and so its writer finds the token. No lock is held, so a finalizer or a
signal handler may ``put`` between any two lines of either.

Made without a descriptor, so that making it cannot fail: `open` takes what waiting needs, in the reader's thread, where
a failure has somebody to be told to.
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
"""Seconds of one poll, which takes no more milliseconds than fit into a C int."""


@dataclass(frozen=True, slots=True)
class SocketReady:
    """The watched socket can be read (or has ended), or written."""

    readable: bool
    writable: bool


READABLE: Final = SocketReady(readable=True, writable=False)
WRITABLE: Final = SocketReady(readable=False, writable=True)
READABLE_AND_WRITABLE: Final = SocketReady(readable=True, writable=True)


class _Pipe:
    """Closed when nobody holds it any more: a writer that has got it writes to no other file of the same number."""

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
        """Make the pipe; the reader's thread does, before its first `get`.

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
                os.write(pipe.write, b"\0")  # one for each time that the reader goes to sleep, so it is never full

    def get(self, block: bool = True, timeout: float | None = None) -> object:  # noqa: FBT001, FBT002
        """Return the next message or `SocketReady`; raise ``queue.Empty`` where there is none (in time)."""
        if self._items and (item := self._next()) is not None:
            return item
        deadline = None if timeout is None or not block else MACHINE.monotonic() + timeout
        milliseconds = 0 if not block else None if timeout is None else _milliseconds(timeout)
        asleep, items = self._asleep, self._items
        while True:
            asleep.append(None)
            try:
                item = self._next()  # not only a look, which the deque would not order
                ready = [] if item is not None else self._poll.poll(milliseconds)
            finally:
                asleep.clear()  # a token that is not there any more is with somebody who wakes it now or has done so
            if item is not None:
                return item
            found = self._found(ready)
            if items and (item := self._next()) is not None:
                return item  # the socket is still ready at the next look
            if found is not None:
                return found
            # Nothing: the time is over, or a writer has woken it late, for a message that was taken already.
            if not block:
                raise Empty
            if deadline is not None:
                remaining = deadline - MACHINE.monotonic()
                if remaining <= 0:
                    raise Empty
                milliseconds = _milliseconds(remaining)

    def _found(self, ready: list[tuple[int, int]]) -> SocketReady | None:
        """Return what of the socket is ready; take from the pipe what was written there."""
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
        """Return the next message, or None; who kills the reader empties the queue beside it."""
        try:
            return self._items.popleft()
        except IndexError:
            return None

    def get_nowait(self) -> object:
        """Return the next message; raise ``queue.Empty`` where there is none. It looks at neither socket nor pipe."""
        item = self._next()
        if item is None:
            raise Empty
        return item

    def empty(self) -> bool:
        """Whether no message waits."""
        return not self._items

    def qsize(self) -> int:
        """How many messages wait."""
        return len(self._items)

    def ready(self) -> bool:
        """Whether the watched socket is ready, or a message has just come; only the reader's thread may ask."""
        return bool(self._poll.poll(0))

    def watch(self, sock: socket.socket | None, *, read: bool = False, write: bool = False) -> None:
        """Wait for `sock` to be readable, writable or both; for neither, it is not looked at."""
        events = (_READ if read else 0) | (select.POLLOUT if write else 0)
        descriptor = sock.fileno() if sock is not None and events else -1
        if descriptor == self._watched and events == self._events:
            return  # as after nearly every read
        if self._watched is not None and self._watched != descriptor:
            self._poll.unregister(self._watched)
            self._watched = None
        if descriptor >= 0:
            self._poll.register(descriptor, events)  # in place of what it was registered for
            self._watched = descriptor
        self._events = events

    def close(self) -> None:
        """Close the pipe; only the reader's thread may, when it reads no more."""
        self._pipe = None


def _milliseconds(seconds: float) -> int:
    """Return how long poll is to wait: whole milliseconds, rounded up, so that it returns once the time is over."""
    return math.ceil(min(seconds, _LONGEST) * 1000)
