"""Lookups of host names: one at a time for each host.

Everything that waits for a host shares its lookup.

The system's resolver blocks and cannot be interrupted, for minutes if no name server answers. So each lookup runs in a
daemon thread of its own, and an attempt that starts meanwhile waits for the same lookup: however many relays and
attempts wait for a host, one thread hangs. An attempt that gives up leaves the lookup running, for the next attempt to
join. Nothing is kept of a lookup that has ended: names are cached by the system, or not at all.

Running lookups are listed in one table per process, keyed by process id: a forked child has none of the threads, and so
finds none of the lookups.

Nothing here waits for a lock, since a finalizer or a signal handler may look up a name between any two lines. The table
and the waiters are dicts, used in single atomic steps:

* A waiter is added, and then the answer is read; the thread sets the answer, and then calls the waiters. So a waiter
  that the thread missed finds the answer. Popping a waiter decides which of the two calls it: once.
* A lookup is in the table before its thread is started, and anyone that finds it without a thread starts one, for its
  own caller may have been interrupted in between. The threads try one lock, and those that fail to acquire it end.
"""

import copy
import os
import socket
import threading
from _thread import allocate_lock
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

Address: TypeAlias = tuple[int, int, int, str, Any]
"""One of the addresses that getaddrinfo returns."""
Answer: TypeAlias = Sequence[Address] | Exception
"""The addresses of a host, or why it has no address."""

_running: Final[dict[tuple[int, str], "_Lookup"]] = {}


class Lookup:
    """One wait for the addresses of a host.

    `done` is called once `answer` has one, from any thread and perhaps before this returns; it must neither block nor
    raise.
    """

    def __init__(self, host: str, port: int, done: Callable[[], None]) -> None:
        self._port = port
        key = (os.getpid(), host)
        self._shared = _running.get(key) or _running.setdefault(key, _Lookup(key, port))
        self._shared.waiters[self] = done
        self._shared.start()

    def answer(self) -> Answer | None:
        """Return the answer; None: the resolver has not returned."""
        answer = self._shared.answer
        if isinstance(answer, Exception):
            return copy.copy(answer)  # raised by several, each with its own traceback
        if answer is None or self._port == self._shared.port:
            return answer
        return [(*rest, (where[0], self._port, *where[2:])) for *rest, where in answer]  # type: ignore[misc]

    def cancel(self) -> None:
        """Wait no longer; the lookup continues."""
        self._shared.waiters.pop(self, None)


class _Lookup:
    """A running lookup, with all that wait for it."""

    def __init__(self, key: tuple[int, str], port: int) -> None:
        self._key = key
        self.port = port
        self.waiters: dict[Lookup, Callable[[], None]] = {}
        self.answer: Answer | None = None
        self.thread: threading.Thread | None = None
        # Acquired, and never released, by the thread that does it.
        self._claim = allocate_lock()

    def start(self) -> None:
        """Start the thread unless it was started; call the waiters if it has ended."""
        if self.thread is None:
            thread = threading.Thread(target=self._run, name=f"gennostr-lookup {self._key[1]}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                if self._claim.acquire(False):  # noqa: FBT003
                    self._end(error)  # no other caller has started a thread either
            else:
                self.thread = thread
        if self.answer is not None:
            self._call()

    def _run(self) -> None:
        if not self._claim.acquire(False):  # noqa: FBT003
            return
        answer: Answer
        try:
            answer = look_up(self._key[1], self.port)
        except Exception as error:
            answer = error
        self._end(answer)

    def _end(self, answer: Answer) -> None:
        # Removed first: an attempt made after the answer gets a new one.
        _running.pop(self._key, None)
        self.answer = answer
        self._call()

    def _call(self) -> None:
        while self.waiters:
            try:
                _, done = self.waiters.popitem()
            except KeyError:  # the other thread has popped the last
                return
            done()


def running() -> list[threading.Thread]:
    """Return the threads of the running lookups."""
    here = os.getpid()
    return [each.thread for (pid, _), each in list(_running.items()) if pid == here and each.thread is not None]


def look_up(host: str, port: int) -> Sequence[Address]:
    """Return the addresses of `host`, by the system's resolver; OSError: it has none."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that is too long
        raise socket.gaierror(socket.EAI_NONAME, f"{host!r}: {error}") from None
