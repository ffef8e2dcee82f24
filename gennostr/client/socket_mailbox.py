"""A mailbox that waits for messages and for a socket at once.

It waits for several sockets while one is being connected.

``get`` returns the next message or, when none waits, a `SocketReady` as soon as the watched socket can be read or
written. A writer wakes a sleeping reader through a descriptor (`_EventWaker`, `_PairWaker`); nothing is written while
the reader is awake.

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
import socket
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from queue import Empty
from typing import Final

from gennostr.client import poller
from gennostr.client.poller import POLLIN, POLLOUT, POLLPRI
from gennostr.otp.clock import MACHINE

_READ = POLLIN | POLLPRI
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


# A waker is closed when nothing refers to it any more, and a writer refers to it while it writes: so it never writes to
# another file that has got the same number. Neither kind is inherited by another program (PEP 446). A forked child has
# copies of the descriptors, which it closes in the same way. It wakes nobody, as its processes are dead
# (`gennostr.otp.process`); if it did, a reader that is woken for nothing waits on.


class _EventWaker:
    """One descriptor, an eventfd (Linux).

    It is a counter in the kernel that can be read while it is not 0.
    """

    __slots__ = ("descriptor",)

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def wake(self) -> None:
        """Make `descriptor` readable.

        It is called once per sleep of the reader at most, so the counter never overflows.
        """
        os.eventfd_write(self.descriptor, 1)

    def clear(self) -> None:
        """Reset `descriptor`, which was found readable.

        Only its one reader reads it, so this does not block.
        """
        os.eventfd_read(self.descriptor)

    def __del__(self) -> None:
        os.close(self.descriptor)


class _PairWaker:
    """Two connected sockets, for other systems.

    Select on Windows waits for nothing else.
    """

    __slots__ = ("_reader", "_writer", "descriptor")

    def __init__(self, pair: tuple[socket.socket, socket.socket]) -> None:
        self._reader, self._writer = pair
        self.descriptor = self._reader.fileno()

    def wake(self) -> None:
        """Make `descriptor` readable.

        It is called once per sleep of the reader at most, so there is always room.
        """
        self._writer.send(b"\0")

    def clear(self) -> None:
        """Read what was written."""
        self._reader.recv(4096)

    def __del__(self) -> None:
        self._writer.close()
        self._reader.close()


def _create_waker() -> _EventWaker | _PairWaker:
    """Return a new waker; OSError: the system has no descriptors left."""
    if hasattr(os, "eventfd"):
        return _EventWaker(os.eventfd(0))
    return _PairWaker(socket.socketpair())


class SocketMailbox:
    """See `gennostr.otp.mailbox.Mailbox`."""

    def __init__(self) -> None:
        self._items: deque[object] = deque()
        # One token while the reader sleeps.
        self._asleep: list[None] = []
        self.waker: _EventWaker | _PairWaker | None = None
        self._poll = poller.create()
        # The descriptor that is registered, and for what.
        self._watched: int | None = None
        self._events = 0
        # Those that `watch_any` has registered.
        self._several: list[int] = []

    def open(self) -> None:
        """Create the waker; called in the reader's thread, before its first `get`.

        Raises:
            OSError: the system has no descriptors left.

        """
        self._use(_create_waker())

    def open_with(self, other: "SocketMailbox") -> None:
        """Use the waker of another mailbox.

        The same thread has opened `other`, and does not read it any more. Takes no descriptor. No writer of `other`
        wakes it, for its reader is never asleep; a wake-up that was meant for `other` before is one for nothing here.
        """
        assert other.waker is not None  # noqa: S101
        self._use(other.waker)

    def _use(self, waker: _EventWaker | _PairWaker) -> None:
        self.waker = waker
        self._poll.register(waker.descriptor, POLLIN)

    def put(self, item: object, /) -> None:
        """Append `item`."""
        self._items.append(item)
        if self._asleep:
            try:
                self._asleep.pop()
            except IndexError:  # another writer wakes it
                return
            waker = self.waker
            if waker is not None:
                waker.wake()

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
        """Return how the socket is ready; clear the waker."""
        found: SocketReady | None = None
        waker = self.waker
        for descriptor, events in ready:
            if waker is not None and descriptor == waker.descriptor:
                waker.clear()
            elif events & POLLOUT:
                found = WRITABLE if events == POLLOUT else READABLE_AND_WRITABLE
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

        Checks neither socket nor waker.
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
        events = (_READ if read else 0) | (POLLOUT if write else 0)
        descriptor = sock.fileno() if sock is not None and events else -1
        if descriptor == self._watched and events == self._events:
            return  # as after nearly every read
        while self._several:
            self._poll.unregister(self._several.pop())
        if self._watched is not None and self._watched != descriptor:
            self._poll.unregister(self._watched)
            self._watched = None
        if descriptor >= 0:
            self._poll.register(descriptor, events)  # replaces what it was registered for
            self._watched = descriptor
        self._events = events

    def watch_any(self, readable: Iterable[socket.socket], writable: Iterable[socket.socket]) -> None:
        """Wait for one of several sockets, until the next `watch`.

        One of `readable` must be readable, or one of `writable` writable.

        Which one it was is not said: `SocketReady` means that one of them is ready or has ended.
        """
        self.watch(None)
        for socks, events in ((readable, _READ), (writable, POLLOUT)):
            for sock in socks:
                self._poll.register(sock.fileno(), events)
                self._several.append(sock.fileno())

    def close(self) -> None:
        """Close the waker; for the reader's thread only, when it reads no more.

        It is closed once no writer uses it.
        """
        self.waker = None


def _milliseconds(seconds: float) -> int:
    """Return the timeout for poll, in whole milliseconds.

    Rounded up, so that it returns once the time is over.
    """
    return math.ceil(min(seconds, _LONGEST) * 1000)
