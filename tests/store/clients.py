"""Programs with a store, which the tests run several times."""

import contextlib
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any, Self

from gennostr import GenNostr, GenNostrPid, Ok, PublicationDone, Reply, StoreError
from gennostr.client.options import RelayOptions
from gennostr.client.persistence import Changes, Saved, Store
from gennostr.store import MemoryStore
from gennostr.testing import FakeRelay, MemoryRelay

WAIT = 10.0
FAST = RelayOptions(reconnect=[0.01], close_timeout=0.05)


class Feed(GenNostr[None]):
    """init_arg: {"store": a store, "urls": [...], and perhaps "filters", "id", "deduplicate", callbacks}."""

    def init(self, init_arg: dict[str, Any]) -> Any:
        self.script = init_arg
        self.store = init_arg["store"]
        self.deduplicate = init_arg.get("deduplicate", False)
        self.seen: SimpleQueue[Any] = init_arg["seen"]
        for url in init_arg["urls"]:
            self.add_relay(url, **FAST)
        if init_arg.get("filters", True):
            self.subscribe(init_arg.get("filters", {"kinds": [1]}), init_arg.get("id", "notes"))
        return Ok(None)

    def _run(self, name: str, *arguments: Any) -> Any:
        action = self.script.get(name)
        return None if action is None else action(self, *arguments)

    def handle_event(self, message: Any, relay: Any, state: None) -> None:
        self._run("event", message.event)
        self.seen.put(message.event.content)

    def handle_eose_all(self, subscription_id: str, state: None) -> None:
        self.seen.put("EOSE")

    def handle_error(self, reason: Any, relay: Any, state: None) -> None:
        self._run("error", reason, relay)

    def handle_info(self, message: Any, state: None) -> Any:
        outcome = self._run("info", message)
        if isinstance(message, PublicationDone):
            self.seen.put(message)
        return outcome

    def handle_call(self, request: Any, from_: Any, state: None) -> Any:
        return Reply(request(self))


class Run:
    """A run of the program: ``with Run(store, relay) as run``."""

    def __init__(self, store: Store, *relays: MemoryRelay | FakeRelay, **script: Any) -> None:
        self.seen: SimpleQueue[Any] = SimpleQueue()
        self.arguments = {"store": store, "urls": [each.url for each in relays], "seen": self.seen, **script}

    def __enter__(self) -> Self:
        self.client: GenNostrPid = Feed.start(self.arguments)
        return self

    def __exit__(self, *details: object) -> None:
        if self.client.is_alive():
            self.client.stop()

    def until_eose(self) -> list[str]:
        """Return the contents of the events before the end of the stored ones, in their order by text."""
        return sorted(iter(lambda: self.seen.get(timeout=WAIT), "EOSE"))


@contextlib.contextmanager
def dropping(relay: FakeRelay) -> Iterator[None]:
    """Drop all connections at the end: where time stands still, a client waits for a close frame."""
    try:
        yield
    finally:
        for connection in relay.connections:
            connection.drop()


class Observed:
    """A MemoryStore that counts its saves, and fails on request."""

    def __init__(self) -> None:
        self.inner = MemoryStore()
        self.saves = 0
        self.failures: list[StoreError] = []
        self.attempts = 0
        self.before_save: Callable[[Changes], object] = lambda changes: None

    @staticmethod
    def full() -> StoreError:
        return StoreError("the disk is full")

    def open(self, owner: str, *, seen: int, written: Callable[[], None]) -> Saved:
        return self.inner.open(owner, seen=seen, written=written)

    def save(self, changes: Changes) -> None:
        self.attempts += 1
        self.before_save(changes)
        if self.failures:
            raise self.failures[0]
        self.inner.save(changes)
        self.saves += 1
        self.last = changes

    def close(self) -> None:
        self.inner.close()
