"""Servers that the tests drive by functions, and how to wait for an end."""

import contextlib
import queue
from collections.abc import Callable, Iterator
from typing import Any

import gennostr as g
from gennostr import Ok, Reply

DEADLINE = 5.0


class Log(queue.SimpleQueue[Any]):
    """What happened, in order."""

    def next(self) -> Any:
        return self.get(timeout=DEADLINE)

    def now(self) -> list[Any]:
        """Return what is there, without waiting."""
        found = []
        while not self.empty():
            found.append(self.get())
        return found


class Driven(g.GenServer[Any]):
    """Calls, casts and continues are functions; messages and the end go to a log."""

    def init(self, init_arg: Any) -> Any:
        self.log = Log()
        return init_arg(self) if callable(init_arg) else Ok(init_arg)

    def handle_call(self, request: Any, from_: Any, state: Any) -> Any:
        return request(self, from_, state)

    def handle_cast(self, request: Any, state: Any) -> Any:
        return request(self, state)

    def handle_info(self, message: Any, state: Any) -> Any:
        self.log.put(message)

    def handle_continue(self, argument: Any, state: Any) -> Any:
        return argument(self, state)

    def terminate(self, reason: Any, state: Any) -> None:
        self.log.put(("terminate", reason))


class Trapping(Driven):
    trap_exit = True


def within(server: g.Pid, function: Callable[[Any], Any]) -> Any:
    """Return ``function(actor)``, called in the server's process."""
    return server.call(lambda self, from_, state: Reply(function(self)))


def log_of(server: g.Pid) -> Log:
    return within(server, lambda self: self.log)  # type: ignore[no-any-return]


def fail(error: BaseException) -> Any:
    """Raise, where only an expression may stand."""
    raise error


def settle(server: g.Pid) -> None:
    """Return when the server has handled what was queued before."""
    within(server, lambda self: None)


@contextlib.contextmanager
def watching(pid: Any) -> Iterator[Callable[[], Any]]:
    """Give a function that waits for the end of `pid` and returns its reason."""
    with Driven.start() as watcher:
        log = log_of(watcher)
        within(watcher, lambda self: g.monitor(pid))
        yield lambda: log.next().reason
