"""Thousands of relays: what each costs does not grow with their number.

Operations are counted, not timed.
"""

import gc
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import pykka
import pytest

import gennostr as g
from gennostr.client import connection
from gennostr.client.options import Relay
from gennostr.client.outbox import Outbox
from gennostr.client.relay_session import RelaySession
from gennostr.client.supervision import ConnectionTable
from gennostr.otp import child
from gennostr.otp.calls import wait_down
from gennostr.otp.clock import MOST_ARRIVALS, SystemClock
from gennostr.otp.process import ActorRefs, Process
from gennostr.testing import MemoryRelay

DEADLINE = 10.0


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0)


def test_timers_that_are_not_the_next_do_not_wake_the_timer_thread() -> None:
    machine = SystemClock()
    first = machine.call_at(machine.monotonic() + 60, lambda: None)
    until(lambda: machine._asleep == [first.when])
    for _ in range(MOST_ARRIVALS // 2 - 1):
        machine.call_at(machine.monotonic() + 120, lambda: None).cancel()
    assert machine._asleep == [first.when]
    assert machine._wakes.empty()
    first.cancel()  # the next one: none is left, and the thread ends
    until(lambda: not machine._serving.locked())
    assert machine._heap == []


def test_a_timer_that_is_the_next_wakes_the_timer_thread() -> None:
    machine = SystemClock()
    first = machine.call_at(machine.monotonic() + 60, lambda: None)
    until(lambda: machine._asleep == [first.when])
    fired: SimpleQueue[None] = SimpleQueue()
    machine.call_at(machine.monotonic(), lambda: fired.put(None))
    fired.get(timeout=DEADLINE)
    first.cancel()


def test_arrivals_for_later_do_not_pile_up_while_the_timer_thread_sleeps() -> None:
    machine = SystemClock()
    first = machine.call_at(machine.monotonic() + 60, lambda: None)
    until(lambda: machine._asleep == [first.when])
    later = [machine.call_at(machine.monotonic() + 120, lambda: None) for _ in range(MOST_ARRIVALS)]
    until(lambda: len(machine._heap) > 1)
    for each in (*later, first):
        each.cancel()
    until(lambda: not machine._serving.locked())


def test_the_exits_of_registrants_do_not_wake_their_registry() -> None:
    with g.Registry.start() as rooms:
        for number in range(3):
            with g.GenServer.start(name=g.via(rooms, number)):
                pass
        assert rooms.process.links == {}
        assert rooms.count() == 0
        assert rooms.process.actor._handled == 0  # type: ignore[union-attr]


def test_a_registry_that_handles_exits_gets_them() -> None:
    seen: SimpleQueue[Any] = SimpleQueue()

    class Noting(g.Registry):
        def handle_info(self, message: Any, state: None, /) -> None:
            seen.put(message)

    with Noting.start() as rooms, g.GenServer.start(name=g.via(rooms, "lobby")) as room:
        room.stop()
        assert seen.get(timeout=DEADLINE) == g.Exit(room, g.NORMAL)


def test_a_supervisor_waits_first_for_the_shortest_shutdown_and_then_for_the_last_child(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited: list[Process] = []

    def noting(process: Process, timeout: float | None) -> Any:
        waited.append(process)
        return wait_down(process, timeout)

    monkeypatch.setattr(child, "wait_down", noting)
    with g.DynamicSupervisor.start() as supervisor:
        pids = [supervisor.start_child(g.GenServer.child_spec(shutdown=shutdown)) for shutdown in (5.0, 1.0, 5.0)]
    assert waited == [pids[1].process, pids[2].process, pids[0].process]


def test_an_end_of_a_connection_does_not_list_the_other_relays(monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[str] = []
    for name in ("urls", "connections"):
        original = getattr(ConnectionTable, name)

        def noting(self: ConnectionTable, name: str = name, original: Any = original) -> Any:
            listed.append(name)
            return original(self)

        monkeypatch.setattr(ConnectionTable, name, noting)
    ends: SimpleQueue[str] = SimpleQueue()

    class Client(g.GenNostr[None]):
        def handle_connect(self, relay: Relay, state: None) -> None:
            self.remove_relay(relay)

        def handle_disconnect(self, reason: Any, relay: Relay, state: None) -> None:
            ends.put(relay.url)

    with MemoryRelay() as relay, Client.start() as client:
        client.subscribe({"kinds": [1]}, relays=["wss://another.example"])
        listed.clear()  # once for a new subscription
        client.add_relay(relay.url)
        ends.get(timeout=DEADLINE)
        client.get_state()
        assert listed == []
        assert client.list_relays() == []


def test_the_end_of_stored_events_looks_at_each_relay_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    relays, looks = 40, 0
    original = RelaySession.is_complete

    def counting(self: RelaySession, subscription: Any) -> bool:
        nonlocal looks
        looks += 1
        return original(self, subscription)

    monkeypatch.setattr(RelaySession, "is_complete", counting)
    callbacks: SimpleQueue[str] = SimpleQueue()

    class Client(g.GenNostr[None]):
        def handle_connect(self, relay: Relay, state: None) -> None:
            callbacks.put("connect")

        def handle_eose(self, message: Any, relay: Relay, state: None) -> None:
            callbacks.put("eose")

        def handle_eose_all(self, subscription_id: str, state: None) -> None:
            callbacks.put("eose_all")

    with MemoryRelay() as relay, Client.start() as client:
        for number in range(relays):
            client.add_relay(f"{relay.url}{number}")
        assert {callbacks.get(timeout=DEADLINE) for _ in range(relays)} == {"connect"}
        client.subscribe({"kinds": [1]})
        called = [callbacks.get(timeout=DEADLINE) for _ in range(relays + 1)]
    assert called == ["eose"] * relays + ["eose_all"]
    assert looks <= 5 * relays


def test_thousands_of_connections_collect_garbage_once(monkeypatch: pytest.MonkeyPatch) -> None:
    collections: list[None] = []
    monkeypatch.setattr(gc, "collect", lambda: collections.append(None))
    monkeypatch.setattr(connection, "_collected", (None, 0.0))
    for _ in range(5_000):
        connection._collect_garbage(3600.0)
    assert len(collections) == 1
    by, at = connection._collected
    monkeypatch.setattr(connection, "_collected", (by, at - 3600))
    connection._collect_garbage(3600.0)
    assert len(collections) == 2


def test_an_actors_end_does_not_search_the_list_of_pykka() -> None:
    compared: list[None] = []

    class Ref:
        __hash__ = object.__hash__

        def __eq__(self, other: object) -> bool:
            compared.append(None)
            return self is other

    refs = ActorRefs()
    all_ = [Ref() for _ in range(1_000)]
    for ref in all_:
        refs.append(ref)
    for ref in all_[500:]:
        refs.remove(ref)
    assert len(compared) < 10
    assert list(map(id, refs)) == list(map(id, refs[:])) == list(map(id, all_[:500]))
    assert len(refs) == 500
    with pytest.raises(ValueError, match="not in the registry"):
        refs.remove(all_[-1])
    assert isinstance(pykka.ActorRegistry._actor_refs, ActorRefs)


def test_an_empty_outbox_holds_no_deque() -> None:
    """An empty deque takes 760 bytes, in CPython 3.11."""
    outbox = Outbox(Relay.new("wss://relay.example"))
    assert not [name for name, value in vars(outbox).items() if isinstance(value, deque)]
