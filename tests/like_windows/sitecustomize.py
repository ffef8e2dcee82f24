"""Takes from Python what it lacks on Windows, in every process that is started with this folder in PYTHONPATH.

It shows what the library assumes of a system, not that it runs on Windows:

    PYTHONPATH=.:tests/like_windows python -m pytest -n 0 tests/otp tests/client

select takes sockets alone, and not none, and reports a connect that failed as exceptional; a connect continues with
WSAEWOULDBLOCK; a socketpair is a TCP connection (docs: ``select``, ``socket``; Winsock: ``select``, ``connect``).
"""

import asyncio  # noqa: F401 - it needs what is removed, as do these, when they are imported
import errno
import multiprocessing.util  # noqa: F401
import os
import select
import selectors
import signal
import socket
import stat
import subprocess  # noqa: F401
import sys
from typing import Any

WSAEWOULDBLOCK = 10035
WSAEINVAL = 10022
WSAENOTSOCK = 10038

REMOVED = {
    os: ["eventfd", "eventfd_read", "eventfd_write", "fork", "forkpty", "register_at_fork", "sched_getaffinity"],
    select: ["poll", "epoll", "POLLIN", "POLLOUT", "POLLPRI", "POLLERR", "POLLHUP", "POLLNVAL", "POLLRDHUP"],
    signal: ["pthread_sigmask", "pthread_kill", "sigwait", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIG_BLOCK"],
    socket: ["AF_UNIX"],
}

_poll = select.poll
_pollerr = select.POLLERR
_select = select.select
_connect_ex = socket.socket.connect_ex


def select_sockets(reading: Any, writing: Any, exceptional: Any, timeout: float | None = None) -> Any:
    """Select as Winsock does."""
    every = [each if isinstance(each, int) else each.fileno() for each in (*reading, *writing, *exceptional)]
    if not every:
        raise OSError(WSAEINVAL, "an invalid argument was supplied")
    for descriptor in every:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise OSError(WSAENOTSOCK, "an operation was attempted on something that is not a socket")
    readable, writable, failed = _select(reading, writing, exceptional, timeout)
    for each in list(writable):
        poller = _poll()
        poller.register(each, 0)
        if any(events & _pollerr for _, events in poller.poll(0)):
            writable.remove(each)
            if each in exceptional and each not in failed:
                failed.append(each)
    return readable, writable, failed


def connect_ex(self: socket.socket, address: Any) -> int:
    """Connect as Winsock does."""
    number = _connect_ex(self, address)
    return WSAEWOULDBLOCK if number == errno.EINPROGRESS else number


def socketpair(*_: Any) -> tuple[socket.socket, socket.socket]:
    """Return two ends of a TCP connection."""
    with socket.socket() as listening:  # as in the module: no function is called that tests replace
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        one = socket.socket()
        one.connect(listening.getsockname())
        other, _ = listening.accept()
    return one, other


class Selector(selectors.SelectSelector):
    """The default selector of Windows."""

    def _select(self, reading: Any, writing: Any, _: Any, timeout: float | None = None) -> Any:
        readable, writable, failed = select_sockets(reading, writing, writing, timeout)
        return readable, writable + failed, []


for module, names in REMOVED.items():
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
sys.modules["resource"] = None  # type: ignore[assignment] # an import fails
errno.WSAEWOULDBLOCK = WSAEWOULDBLOCK  # type: ignore[attr-defined]
select.select = select_sockets
selectors.DefaultSelector = Selector  # type: ignore[misc,assignment]
socket.socket.connect_ex = connect_ex  # type: ignore[method-assign,assignment]
socket.socketpair = socketpair  # type: ignore[assignment]
