"""Clients that run in shards, and what tests ask of them: all of it can be imported there."""

import contextlib
import logging
import os
import signal
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gennostr import Exit, GenNostr, GenServer, NoReply, Ok, Reply, Stop, reply, reply_error
from gennostr.client.options import RelayOptions
from gennostr.cluster import ClusterPid
from gennostr.store import SqliteStore

WAIT = 20.0
FAST = RelayOptions(reconnect=[0.01], close_timeout=0.05)


class Feed(GenNostr[None]):
    """Keeps what it gets; a call runs a function on it."""

    def init(self, argument: Any) -> Any:
        self.argument = argument
        self.seen: list[str] = []
        self.ends: list[tuple[str, str]] = []
        self.waiting: list[tuple[frozenset[str], Any]] = []
        return Ok(None)

    def handle_event(self, message: Any, relay: Any, state: None) -> None:
        self.seen.append(message.event.content)
        self.answer()

    def answer(self) -> None:
        """Answer calls that wait for events which have arrived."""
        for each in list(self.waiting):
            if each[0] <= set(self.seen):
                self.waiting.remove(each)
                reply(each[1], sorted(self.seen))

    def handle_disconnect(self, reason: Any, relay: Any, state: None) -> Any:
        self.ends.append((relay.url, str(reason)))
        return super().handle_disconnect(reason, relay, state)

    def handle_call(self, request: Any, from_: Any, state: None) -> Any:
        if isinstance(request, Until):
            self.waiting.append((request.contents, from_))
            self.answer()
            return NoReply()
        result = request(self)
        if isinstance(result, Stop):
            return result
        if isinstance(result, BaseException):
            reply_error(from_, result)
            return NoReply()
        return NoReply() if result is NoReply else Reply(result)

    def handle_cast(self, request: Callable[..., Any], state: None) -> None:
        request(self)


@dataclass(frozen=True)
class Until:
    """A call that is answered when events with these contents have arrived."""

    contents: frozenset[str]


class Odd(Exception):
    """An exception that can be pickled, but not unpickled."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} and {other}")


class Plain(Exception):
    """An exception that crosses."""


# What a call can ask for.


def shard(client: Feed) -> Any:
    return client.shard


def argument(client: Feed) -> Any:
    return client.argument


def seen(client: Feed) -> list[str]:
    return sorted(client.seen)


def ends(client: Feed) -> list[tuple[str, str]]:
    return client.ends


def waiting(client: Feed) -> list[Any]:
    return [each for each, _ in client.waiting]


def process_id(client: Feed) -> int:
    return os.getpid()


def crash(client: Feed) -> Any:
    raise Plain("on purpose")


def leave(client: Feed) -> Any:
    return Stop("enough")


def never(client: Feed) -> Any:
    return NoReply


def plain_error(client: Feed) -> Any:
    return Plain("text", 1)


def odd_error(client: Feed) -> Any:
    return Odd("one", "other")


def lock(client: Feed) -> Any:
    return threading.Lock()


def note(client: Feed) -> None:
    client.seen.append("noted")


def warn(client: Feed) -> None:
    logging.getLogger("tests.cluster.own").warning("something %s", "odd", extra={"number": 5, "lock": threading.Lock()})


def warn_often(client: Feed) -> None:
    for number in range(5_000):
        logging.getLogger("tests.cluster.own").warning("%d", number)


def raise_signal(client: Feed) -> int:
    signal.raise_signal(signal.SIGINT)
    return 1


def busy(client: Feed) -> Any:
    while True:
        pass


class Worker(GenServer[list[Any]]):
    """An actor of a shard that is not its client: keeps what it gets."""

    trap_exit = True

    def init(self, argument: Any) -> Any:
        return Ok([])

    def handle_call(self, request: Any, from_: Any, got: list[Any]) -> Any:
        if request == "crash":
            raise Plain("on purpose")
        if request == "error":
            reply_error(from_, Plain("an error"))
            return NoReply()
        return Reply(got)

    def handle_cast(self, request: Any, got: list[Any]) -> Any:
        return NoReply([*got, ("cast", request)])

    def handle_info(self, message: Any, got: list[Any]) -> Any:
        return NoReply([*got, ("exit", message.reason) if isinstance(message, Exit) else message])


def start_worker(client: Feed) -> None:
    Worker.start(name="worker")


# Clients with other inits.


class Broken(Feed):
    """Its init fails in shard 1, if there is no file `argument`."""

    def init(self, argument: str) -> Any:
        assert self.shard is not None
        if self.shard.number == 1 and not Path(argument).exists():
            raise Plain("no file")
        return super().init(argument)


class Failing(Feed):
    """Its init fails in each shard, once a file `argument` exists."""

    def init(self, argument: str) -> Any:
        if Path(argument).exists():
            raise Plain("a file")
        return super().init(argument)


class Tidy(Feed):
    """Writes a file when it terminates."""

    def terminate(self, reason: Any, state: None) -> None:
        assert self.shard is not None
        Path(self.argument, f"terminated-{self.shard.number}").write_text(str(reason))


class Busy(Feed):
    """Is busy for ever after its init."""

    def init(self, argument: Any) -> Any:
        super().init(argument)
        return Ok(None, continue_=None)

    def handle_continue(self, argument: Any, state: None) -> Any:
        busy(self)


class Archive(GenNostr[None]):
    """Writes each event to its store's database, in the same transaction in which the store saves that it has it."""

    def init(self, folder: str) -> Any:
        assert self.shard is not None
        self.store = SqliteStore(Path(folder, f"{self.shard.number}.db"))
        with self.store.transaction() as database:
            database.execute("CREATE TABLE IF NOT EXISTS notes (content TEXT)")
        return Ok(None)

    def handle_events(self, messages: Any, relay: Any, state: None) -> None:
        with self.store.transaction() as database:
            database.executemany("INSERT INTO notes VALUES (?)", [(each.event.content,) for each in messages])

    def handle_call(self, request: Any, from_: Any, state: None) -> Any:
        with self.store.transaction() as database:
            return Reply(database.execute("SELECT count(*) FROM notes").fetchone()[0])


def archived(folder: Path) -> list[str]:
    """Return what all shards have written."""
    found: list[str] = []
    for path in sorted(folder.glob("*.db")):
        with contextlib.closing(sqlite3.connect(path)) as database:
            found += [content for (content,) in database.execute("SELECT content FROM notes")]
    return found


# The tests' side.


def lose(cluster: ClusterPid, number: int) -> None:
    """Kill a shard: its process, or what runs in its place."""
    process_id = next(each.process_id for each in cluster.list_shards() if each.number == number)
    if process_id is not None:
        os.kill(process_id, signal.SIGKILL)
        return
    actor: Any = cluster.routes.pids[number].process.actor
    actor.server.link.kill()
