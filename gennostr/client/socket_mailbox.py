"""A mailbox that waits for messages and for a socket at once.

``get`` returns the next message, or, when none waits, a `SocketReady` as soon as the watched socket can be read or
written. A writer wakes a sleeping reader through a pipe; nothing is written while the reader is awake.

The order that makes this safe: the reader says that it sleeps, then looks at the queue once more, then polls; a
writer appends, then looks whether the reader sleeps. So either the reader sees the message or the writer sees the
sleeper.

Made without a descriptor, so that making it cannot fail: `open` takes what waiting needs, in the reader's thread, where
a failure has somebody to be told to.
"""

import os
import select
import socket
import threading
from collections import deque
from dataclasses import dataclass
from queue import Empty
from typing import Final

_READ = select.POLLIN | select.POLLPRI


@dataclass(frozen=True, slots=True)
class SocketReady:
    """The watched socket can be read (or has ended), or written."""

    readable: bool
    writable: bool


READABLE: Final = SocketReady(readable=True, writable=False)
WRITABLE: Final = SocketReady(readable=False, writable=True)
READABLE_AND_WRITABLE: Final = SocketReady(readable=True, writable=True)


class SocketMailbox:
    """See `gennostr.otp.mailbox.Mailbox`."""

    def __init__(self) -> None:
        self._items: deque[object] = deque()
        self._sleeping = False
        # Protects the pipe against being written after it was closed, and its number given away.
        self._lock = threading.Lock()
        self._closed = True
        self._wake_read = self._wake_write = -1
        self._poll = select.poll()
        # The descriptor that is registered, and for what.
        self._watched: int | None = None
        self._events = 0

    def open(self) -> None:
        """Make the pipe; the reader's thread does, before its first `get`.

        Raises:
            OSError: the system has no descriptors left.

        """
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._poll.register(self._wake_read, select.POLLIN)
        self._closed = False

    def put(self, item: object, /) -> None:
        """Append `item`."""
        self._items.append(item)
        if self._sleeping:
            with self._lock:
                if not self._closed:
                    try:
                        os.write(self._wake_write, b"\0")
                    except BlockingIOError:  # it is full of wake-ups already
                        pass

    def get(self, block: bool = True, timeout: float | None = None) -> object:  # noqa: FBT001, FBT002
        """Return the next message or `SocketReady`; raise ``queue.Empty`` where there is none (in time)."""
        if self._items and (item := self._next()) is not None:
            return item
        milliseconds = None if timeout is None else timeout * 1000
        found: SocketReady | None = None
        self._sleeping = True
        try:
            ready = () if self._items else self._poll.poll(milliseconds if block else 0)
        finally:
            self._sleeping = False
        for descriptor, events in ready:
            if descriptor == self._wake_read:
                os.read(self._wake_read, 4096)
            elif events & select.POLLOUT:
                found = WRITABLE if events == select.POLLOUT else READABLE_AND_WRITABLE
            else:
                found = READABLE
        if self._items and (item := self._next()) is not None:
            return item  # the socket is still ready at the next look
        if found is not None:
            return found
        if block and timeout is None:
            return self.get()
        raise Empty

    def _next(self) -> object:
        """Return the next message, or None; who kills the reader empties the queue beside it."""
        try:
            return self._items.popleft()
        except IndexError:
            return None

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
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._wake_read)
                os.close(self._wake_write)

    def __del__(self) -> None:
        self.close()
