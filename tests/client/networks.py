"""Networks for tests: names with chosen addresses, resolvers that hang, addresses that swallow packets."""

import queue
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from gennostr.testing import ManualClock

REAL = socket.getaddrinfo


def resolve(monkeypatch: pytest.MonkeyPatch, names: Mapping[str, Sequence[str]]) -> list[str]:
    """Let these names have these addresses, in this order; return a list that gets each name that is looked up."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, *more: Any, **named: Any) -> Any:
        if host not in names:
            return REAL(host, port, *more, **named)
        asked.append(host)
        return [found for each in names[host] for found in REAL(each, port, type=socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@contextmanager
def hanging_resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator["queue.SimpleQueue[str]"]:
    """Let all lookups hang until the end of the block; gives a queue of the names that are looked up."""
    asked: queue.SimpleQueue[str] = queue.SimpleQueue()
    over = threading.Event()
    threads: list[threading.Thread] = []

    def getaddrinfo(host: str, port: int, *more: Any, **named: Any) -> Any:
        threads.append(threading.current_thread())
        asked.put(host)
        over.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "no name server answers")

    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", getaddrinfo)
        try:
            yield asked
        finally:
            over.set()
            for thread in threads:
                thread.join()


@contextmanager
def black_hole(address: str) -> Iterator[tuple[str, int]]:
    """An address and a port that swallow SYNs: a listening socket whose backlog is full."""
    with ExitStack() as kept:
        hole = kept.enter_context(socket.socket())
        hole.bind((address, 0))
        hole.listen(0)
        for _ in range(4):
            filler = kept.enter_context(socket.socket())
            filler.setblocking(False)  # noqa: FBT003
            filler.connect_ex(hole.getsockname())
        yield hole.getsockname()


def await_deadline(clock: ManualClock, seconds: float) -> None:
    """Wait until the next deadline is due in so many seconds."""
    patience = time.monotonic() + 5
    while (due := clock.next_due()) != seconds:
        assert time.monotonic() < patience, f"the next deadline is due in {due} s, not in {seconds}"
