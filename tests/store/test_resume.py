"""Clients with a store resume where they ended, and deliver nothing twice."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from gennostr import KILL, CallExit, GenNostr, Ok, StartError, Stop, StoreError, Supervisor
from gennostr.client.persistence import SAVE_EVENTS, Store
from gennostr.nostr import Event
from gennostr.store import MemoryStore, SqliteStore
from gennostr.testing import FakeRelay, ManualClock, MemoryRelay, Probe, make_event
from tests.store.clients import FAST, WAIT, Feed, Observed, Run


def stored(relay: MemoryRelay, *contents: str) -> None:
    """Store a note for each of `contents`, each a minute newer than the last."""
    for number, content in enumerate(contents):
        relay.store(content=content, kind=1, created_at=1_700_000_000 + 60 * (len(relay.events) + number))


def test_a_second_run_gets_only_what_is_new(store: Store, relay: MemoryRelay) -> None:
    stored(relay, "a", "b", "c")
    with Run(store, relay) as run:
        assert run.until_eose() == ["a", "b", "c"]
    stored(relay, "d")
    with Run(store, relay) as run:
        assert run.until_eose() == ["d"]


def test_the_second_run_asks_only_for_what_is_new(store: Store) -> None:
    event = make_event(kind=1)
    with FakeRelay() as fake:
        with Run(store, fake) as run:
            connection = fake.accept()
            req = connection.expect_req()
            assert req.filters == [{"kinds": [1]}]
            connection.event(req.subscription_id, event)
            connection.eose(req.subscription_id)
            assert run.until_eose() == [event.content]
        with Run(store, fake):
            assert fake.accept().expect_req().filters == [{"kinds": [1], "since": event.created_at - 60}]


def test_before_eose_an_event_proves_nothing(store: Store) -> None:
    event = make_event(kind=1, content="newest")
    with FakeRelay() as fake:
        with Run(store, fake) as run:
            connection = fake.accept()
            connection.event(connection.expect_req().subscription_id, event)
            assert run.seen.get(timeout=WAIT) == "newest"
        with Run(store, fake) as run:
            connection = fake.accept()
            req = connection.expect_req()
            assert "since" not in req.filters[0]
            connection.event(req.subscription_id, event)
            connection.event(req.subscription_id, content="older", kind=1)
            connection.eose(req.subscription_id)
            assert run.until_eose() == ["older"]


def test_with_other_filters_it_begins_anew(store: Store, relay: MemoryRelay) -> None:
    stored(relay, "a")
    with Run(store, relay, filters=[{"kinds": [1, 7]}, {"kinds": [6], "#t": ["x", "y"]}]) as run:
        assert run.until_eose() == ["a"]
    with Run(store, relay, filters=[{"#t": ["y", "x"], "kinds": [6]}, {"kinds": [7, 1]}]) as run:  # these are the same
        assert run.until_eose() == []
    with Run(store, relay, filters=[{"kinds": [1]}]) as run:
        assert run.until_eose() == ["a"]


def test_an_id_of_the_librarys_is_not_saved(store: Store, relay: MemoryRelay) -> None:
    stored(relay, "a")
    for _ in range(2):
        with Run(store, relay, id=None) as run:
            assert run.until_eose() == ["a"]


def test_unsubscribe_deletes_what_was_saved(store: Store, relay: MemoryRelay) -> None:
    stored(relay, "a")
    with Run(store, relay) as run:
        assert run.until_eose() == ["a"]
        run.client.unsubscribe("notes")
    with Run(store, relay) as run:
        assert run.until_eose() == ["a"]


def test_a_second_subscribe_in_one_run_begins_anew(store: Store, relay: MemoryRelay) -> None:
    stored(relay, "a")
    with Run(store, relay) as run:
        assert run.until_eose() == ["a"]
        run.client.subscribe({"kinds": [1]}, "notes")
        assert run.until_eose() == ["a"]
    with Run(store, relay) as run:
        assert run.until_eose() == []


def test_an_event_of_another_relay_is_not_delivered_again_after_a_restart(store: Store, relay: MemoryRelay) -> None:
    stored(relay, "a", "b")
    with Run(store, relay, deduplicate=True) as run:
        assert run.until_eose() == ["a", "b"]
    with MemoryRelay() as other:
        for event in relay.events:
            other.store(event)
        stored(other, "c")
        with Run(store, relay, other, deduplicate=True) as run:
            assert run.until_eose() == ["c"]


def test_a_relay_that_is_added_later_resumes_as_well(store: Store, relay: MemoryRelay) -> None:
    stored(relay, "a")
    with Run(store, relay) as run:
        assert run.until_eose() == ["a"]
    stored(relay, "b")
    with Run(store) as run:
        run.client.add_relay(relay.url, **FAST)
        assert run.until_eose() == ["b"]


def test_an_event_whose_callback_fails_is_delivered_again(store: Store, relay: MemoryRelay) -> None:
    stored(relay, "a")
    failures = iter([ValueError("the first time")])

    def event(client: Feed, event: Event) -> None:
        for failure in failures:
            raise failure

    run = Run(store, relay, event=event)
    with Supervisor.start([Feed.child_spec(run.arguments)]):
        assert run.until_eose() == ["a"]


def test_what_was_handled_is_saved_in_time(relay: MemoryRelay, manual_clock: ManualClock) -> None:
    store = Observed()
    with Run(store, relay) as run:
        assert run.until_eose() == []
        manual_clock.advance(1.0)
        relay.store(content="a", kind=1)
        assert run.seen.get(timeout=WAIT) == "a"
        before = store.saves
        manual_clock.advance(0.99)
        assert store.saves == before
        manual_clock.advance(0.02)
        assert store.saves == before + 1
        assert [len(each) for each in store.last.seen.values()] == [1]


def test_many_events_are_saved_earlier(relay: MemoryRelay, manual_clock: ManualClock) -> None:
    store = Observed()
    for number in range(SAVE_EVENTS + 10):
        relay.store(content=str(number), kind=1)
    with Run(store, relay) as run:
        run.until_eose()
        assert store.saves >= 1


def test_a_killed_client_saves_what_it_has_handled(store: Store, relay: MemoryRelay) -> None:
    stored(relay, "a")
    run = Run(store, relay).__enter__()
    assert run.until_eose() == ["a"]
    run.client.exit(KILL)
    with Run(store, relay) as run:
        assert run.until_eose() == []


def test_a_store_that_cannot_be_opened_is_an_error_of_the_start(store: Store, relay: MemoryRelay) -> None:
    with Run(store, relay), pytest.raises(StartError) as caught:
        Run(store, relay).__enter__()
    assert isinstance(caught.value.reason, StoreError)


def test_while_the_store_fails_the_client_goes_on_and_saves_later(
    relay: MemoryRelay, manual_clock: ManualClock
) -> None:
    store, errors = Observed(), list[object]()
    store.failures.append(StoreError("the disk is full"))
    with Run(store, relay, error=lambda client, reason, relay: errors.append((reason, relay.url))) as run:
        assert run.until_eose() == []
        relay.store(content="a", kind=1)
        assert run.seen.get(timeout=WAIT) == "a"
        for _ in range(3):
            manual_clock.advance(1.0)
        assert store.attempts >= 3
        assert errors == [(store.failures[0], relay.url)]  # once, until a save has succeeded
        store.failures.clear()
        relay.store(content="b", kind=1)
        assert run.seen.get(timeout=WAIT) == "b"
        manual_clock.advance(1.0)
        assert store.saves == 1
    with Run(store, relay) as run:
        assert run.until_eose() == []


def test_a_client_whose_writes_are_lost_ends(relay: MemoryRelay, manual_clock: ManualClock, probe: Probe) -> None:
    store = Observed()
    store.failures.append(StoreError("the disk is full", lost=True))
    with Run(store, relay) as run:
        probe.monitor(run.client)
        assert run.until_eose() == []
        manual_clock.advance(1.0)
        probe.expect_down(run.client, store.failures[0])


def test_a_failed_init_gives_up_the_store(tmp_path: Path) -> None:
    class Failing(GenNostr[None]):
        def init(self, store: SqliteStore) -> Ok[None]:
            self.store = store
            with self.store.transaction() as database:
                database.execute("CREATE TABLE notes (id TEXT)")
            raise ValueError("after that")

    store = SqliteStore(tmp_path / "feed.db")
    with pytest.raises(StartError):
        Failing.start(store)
    with Run(store), contextlib.closing(sqlite3.connect(tmp_path / "feed.db")) as database:
        assert database.execute("SELECT name FROM sqlite_master WHERE name = 'notes'").fetchall() == []


@pytest.mark.parametrize("store", [5, "feed.db", MemoryStore, object()])
def test_what_is_no_store_is_an_error_of_the_start(store: Any) -> None:
    with pytest.raises(StartError) as caught:
        Run(store).__enter__()
    assert isinstance(caught.value.reason, TypeError)
    assert "store" in str(caught.value.reason)


def test_a_client_that_cannot_save_at_its_end_ends_with_the_error(relay: MemoryRelay, probe: Probe) -> None:
    store = Observed()
    with Run(store, relay) as run:
        assert run.until_eose() == []
        relay.store(content="a", kind=1)
        assert run.seen.get(timeout=WAIT) == "a"
        probe.monitor(run.client)
        store.failures.append(Observed.full())
        with pytest.raises(CallExit) as caught:
            run.client.stop()
        assert caught.value.reason is store.failures[0]
        probe.expect_down(run.client, store.failures[0])
        store.failures.clear()
    with Run(store, relay) as run:
        assert run.until_eose() == ["a"]


@pytest.mark.parametrize("reason", [None, ValueError("enough"), "enough"])
def test_a_client_that_stops_itself_saves_whatever_the_reason(
    reason: Any, store: Store, relay: MemoryRelay, probe: Probe
) -> None:
    class Stopping(Feed):
        def handle_cast(self, request: Any, state: None) -> Any:
            return Stop(reason)

    stored(relay, "a")
    run = Run(store, relay)
    client = Stopping.start(run.arguments)
    probe.monitor(client)
    assert run.until_eose() == ["a"]
    client.cast("stop")
    probe.expect_down(client, reason)
    with Run(store, relay) as run:
        assert run.until_eose() == []


def test_a_client_without_a_store_saves_nothing_and_publishes_nothing_durably() -> None:
    with Run(None) as run:  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="store"):
            run.client.publish(make_event(), ["wss://relay.example"], durable=True)
        assert run.client.publications() == []
        run.client.forget("id")
        run.client.call(lambda client: None)
