"""Durable publications: saved before they are sent, and sent until each relay has given a final answer."""

import concurrent.futures
import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from gennostr import KILL, NORMAL, CallExit, CallingSelf, NoProcess, PublicationDone, PublishOutcome, Stop
from gennostr.client.persistence import Store
from gennostr.nostr import Event
from gennostr.store import MemoryStore, SqliteStore
from gennostr.testing import FakeRelay, ManualClock, MemoryRelay, make_event
from tests.store.clients import FAST, WAIT, Feed, Observed, Run, dropping

NOBODY = "ws://127.0.0.1:9/"


def test_it_is_saved_before_it_is_sent(relay: MemoryRelay) -> None:
    store, event = Observed(), make_event()
    store.before_save = lambda changes: relay_had.append(bool(relay.events))
    relay_had = list[bool]()
    with Run(store, relay, filters=False) as run:
        publication = run.client.publish(event, durable=True)
        assert publication.result(WAIT)[relay.url].kind == "accepted"
        assert relay_had[0] is False


def test_it_is_sent_by_the_next_run_and_its_end_is_delivered_once(store: Store, relay: MemoryRelay) -> None:
    event = make_event()
    relay.stop()
    with Run(store, relay, filters=False) as run:
        publication = run.client.publish(event, durable=True)
        publication.wait_saved(WAIT)
        assert run.client.publications() == [publication]
        assert publication.outcomes == {}
    with pytest.raises(CallExit):
        publication.result(WAIT)
    relay.start()
    with Run(store, relay, filters=False) as run:
        done = run.seen.get(timeout=WAIT)
        assert isinstance(done, PublicationDone)
        assert done.publication.event == event
        assert done.publication.result(0)[relay.url].kind == "accepted"
        run.client.call(lambda client: None)
        assert run.client.publications() == []
    assert relay.events == [event]
    with Run(store, relay, filters=False) as run:
        run.client.call(lambda client: None)
        assert run.seen.empty()
        assert run.client.publications() == []


def test_each_relay_is_sent_it_until_that_relay_has_answered(store: Store, relay: MemoryRelay) -> None:
    event = make_event()
    with MemoryRelay() as late:
        late.stop()
        with Run(store, relay, late, filters=False) as run:
            publication = run.client.publish(event, durable=True)
            while not publication.outcomes:
                run.client.call(lambda client: None)
        late.start()
        relay.stop()  # it has answered: the next run need not reach it
        with Run(store, relay, late, filters=False) as run:
            outcomes = run.seen.get(timeout=WAIT).publication.result(0)
            assert {url: each.kind for url, each in outcomes.items()} == dict.fromkeys(
                [relay.url, late.url], "accepted"
            )


def test_its_end_is_delivered_again_if_it_was_not_handled(store: Store, relay: MemoryRelay) -> None:
    def fail(client: Feed, message: Any) -> None:
        raise ValueError("not handled")

    with Run(store, relay, filters=False, info=fail) as run:
        run.client.publish(make_event(content="mine"), durable=True)
        while run.client.is_alive():
            time.sleep(0)
    with Run(store, relay, filters=False) as run:
        assert run.seen.get(timeout=WAIT).publication.event.content == "mine"


@pytest.mark.parametrize("ending", [Stop(NORMAL), KILL])
def test_its_end_is_delivered_once_if_that_ends_the_client(ending: Any, store: Store, relay: MemoryRelay) -> None:
    def end(client: Feed, message: Any) -> Any:
        if ending is not KILL:
            return ending
        client.pid.exit(KILL)
        return None

    with Run(store, relay, filters=False, info=end) as run:
        run.client.publish(make_event(), durable=True)
        assert isinstance(run.seen.get(timeout=WAIT), PublicationDone)
        while run.client.is_alive():
            time.sleep(0)
    with Run(store, relay, filters=False) as run:
        run.client.call(lambda client: None)
        assert run.seen.empty()
        assert run.client.publications() == []


def test_what_a_failed_callback_has_published_is_neither_saved_nor_sent(store: Store, relay: MemoryRelay) -> None:
    def fail(client: Feed) -> None:
        client.publish(make_event(), durable=True)
        raise ValueError("half done")

    with Run(store, relay, filters=False) as run, pytest.raises(CallExit):
        run.client.call(fail)
    with Run(store, relay, filters=False) as run:
        assert run.client.publications() == []
    assert relay.events == []


@pytest.mark.parametrize(
    "refusal", ["rate-limited: slow down", "error: could not connect to the database", "auth-required: who are you?"]
)
def test_after_a_refusal_for_now_it_is_sent_again(refusal: str, manual_clock: ManualClock) -> None:
    with FakeRelay() as fake, Run(MemoryStore(), fake, filters=False) as run, dropping(fake):
        connection = fake.accept()
        publication = run.client.publish(make_event(), durable=True)
        for pause in (5.0, 10.0, 20.0):
            event = connection.expect_event()
            connection.ok(event.id, accepted=False, message=refusal)
            manual_clock.advance(pause - 0.1)
            assert not publication.done()
            manual_clock.advance(0.2)
        connection.ok(connection.expect_event().id)
        assert publication.result(WAIT)[fake.url].kind == "accepted"


@pytest.mark.parametrize(
    "refusal", ["blocked: you are banned", "invalid: no", "pow: 20 bits needed", "restricted: members only"]
)
def test_after_a_refusal_for_good_it_is_not(refusal: str) -> None:
    with FakeRelay() as fake, Run(MemoryStore(), fake, filters=False) as run, dropping(fake):
        connection = fake.accept()
        publication = run.client.publish(make_event(), durable=True)
        connection.ok(connection.expect_event().id, accepted=False, message=refusal)
        assert publication.result(WAIT)[fake.url] == PublishOutcome("rejected", refusal.partition(":")[0], refusal)


def test_without_an_answer_it_is_sent_again(manual_clock: ManualClock) -> None:
    with FakeRelay() as fake, Run(MemoryStore(), fake, filters=False) as run, dropping(fake):
        connection = fake.accept()
        publication = run.client.publish(make_event(), timeout=3.0, durable=True)
        connection.expect_event()
        manual_clock.advance(3.1)
        manual_clock.advance(5.1)
        connection.ok(connection.expect_event().id)
        assert publication.result(WAIT)[fake.url].kind == "accepted"


def test_a_pause_is_the_relays_not_the_events(manual_clock: ManualClock) -> None:
    with FakeRelay() as fake, Run(MemoryStore(), fake, filters=False) as run, dropping(fake):
        connection = fake.accept()
        run.client.publish(make_event(content="first"), durable=True)
        connection.ok(connection.expect_event().id, accepted=False, message="rate-limited: slow down")
        manual_clock.advance(1.0)
        run.client.publish(make_event(content="second"), durable=True).wait_saved(WAIT)
        manual_clock.advance(4.5)
        assert sorted([connection.expect_event().content, connection.expect_event().content]) == ["first", "second"]


@pytest.mark.parametrize("how", ["option", "tag"])
def test_it_ends_where_it_has_no_answer_when_it_expires(
    how: str, relay: MemoryRelay, manual_clock: ManualClock
) -> None:
    end = int(manual_clock.time()) + 100
    event = make_event(tags=[["expiration", str(end)]] if how == "tag" else [])
    with Run(MemoryStore(), relay, filters=False) as run:
        expires = float(end) if how == "option" else None
        publication = run.client.publish(event, [relay.url, NOBODY], durable=True, expires=expires)
        manual_clock.advance(90.0)
        assert not publication.done()
        manual_clock.advance(11.0)
        outcomes = publication.result(WAIT)
        assert {url: each.kind for url, each in outcomes.items()} == {relay.url: "accepted", NOBODY: "expired"}
        assert run.seen.get(timeout=WAIT).publication is publication


def test_one_that_has_expired_between_two_runs_ends_at_once(store: Store, manual_clock: ManualClock) -> None:
    with Run(store, filters=False) as run:
        expires = manual_clock.time() + 10
        run.client.publish(make_event(), [NOBODY], durable=True, expires=expires).wait_saved(WAIT)
    manual_clock.advance(11.0)
    with Run(store, filters=False) as run:
        assert run.seen.get(timeout=WAIT).publication.result(0)[NOBODY].kind == "expired"


@pytest.mark.parametrize("relays", [1, 0])
def test_while_the_store_fails_nothing_is_sent_and_the_client_goes_on(
    relays: int, relay: MemoryRelay, manual_clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    store, errors = Observed(), list[object]()
    store.failures.append(Observed.full())
    with Run(store, filters=False, error=lambda client, reason, relay: errors.append(reason)) as run:
        if relays:
            run.client.add_relay(relay.url, **FAST)
        publication = run.client.publish(make_event(), [NOBODY], durable=True)
        for _ in range(3):
            manual_clock.advance(1.0)
        assert store.attempts >= 3
        reported = [each for each in errors if each is store.failures[0]]
        logged = [each for each in caplog.records if "cannot save" in each.getMessage()]
        assert (len(reported), len(logged)) == ((1, 0) if relays else (0, 1))
        assert run.client.publications() == [publication]
        assert not publication.is_saved
        store.failures.clear()
        manual_clock.advance(1.0)
        publication.wait_saved(WAIT)


@pytest.mark.parametrize("how", ["forget", "cancel"])
def test_an_abandoned_one_is_deleted(how: str, store: Store) -> None:
    with Run(store, filters=False) as run:
        publication = run.client.publish(make_event(), [NOBODY], durable=True)
        publication.wait_saved(WAIT)
        if how == "cancel":
            assert publication.cancel()
        else:
            run.client.forget(publication.event.id)
        run.client.call(lambda client: None)
        assert publication.cancelled()
        assert run.client.publications() == []
    with Run(store, filters=False) as run:
        assert run.client.publications() == []


def test_the_same_event_is_one_publication(store: Store, relay: MemoryRelay) -> None:
    event = make_event()
    with MemoryRelay() as other, Run(store, filters=False) as run:
        first = run.client.publish(event, [relay.url], durable=True)
        second = run.client.publish(event, [other.url], durable=True)
        second.wait_saved(WAIT)
        assert run.client.publications() == [first]
        for url in (relay.url, other.url):
            run.client.add_relay(url, **FAST)
        assert list(second.result(WAIT)) == [other.url]
        assert sorted(first.result(WAIT)) == sorted([relay.url, other.url])
        assert run.seen.get(timeout=WAIT).publication is first
        third = run.client.publish(event, [relay.url], durable=True)  # once more, now that it has ended
        assert third.result(WAIT)[relay.url].kind == "accepted"


def test_more_relays_for_a_pending_event_are_saved_first(relay: MemoryRelay) -> None:
    store, event, had = Observed(), make_event(), list[bool]()
    with Run(store, relay, filters=False) as run:
        run.client.publish(event, [NOBODY], durable=True).wait_saved(WAIT)
        store.before_save = lambda changes: had.append(bool(relay.events))
        more = run.client.publish(event, [relay.url], durable=True)
        more.wait_saved(WAIT)
        assert had[0] is False
        while not run.client.publications()[0].outcomes:
            run.client.call(lambda client: None)
        assert sorted(run.client.publications()[0].outcomes) == [relay.url]


def test_many_wait_for_a_relay_and_all_arrive(store: Store, relay: MemoryRelay) -> None:
    relay.stop()
    events = [make_event(content=str(number)) for number in range(600)]
    with Run(store, relay, filters=False) as run:
        for each in events:
            publication = run.client.publish(each, durable=True)
        publication.wait_saved(WAIT)
    relay.start()
    with Run(store, relay, filters=False) as run:
        left = run.client.publications()
        assert [each.event.content for each in left][:3] == ["0", "1", "2"] or len(left) < len(events)
        concurrent.futures.wait(left, WAIT)
    assert {each.id for each in relay.events} == {each.id for each in events}


def test_a_callback_may_not_wait_for_its_own_save() -> None:
    def publish(client: Feed) -> Exception:
        publication = client.publish(make_event(), [NOBODY], durable=True)
        with pytest.raises(CallingSelf) as caught:
            publication.wait_saved()
        return caught.value

    with Run(MemoryStore(), filters=False) as run:
        assert isinstance(run.client.call(publish), CallingSelf)
        assert run.client.publications()[0].outcomes == {}


def test_a_dead_client_publishes_nothing() -> None:
    with Run(MemoryStore(), filters=False) as run:
        run.client.exit(KILL)
        with pytest.raises(NoProcess):
            run.client.publish(make_event(), durable=True)


def test_wait_saved_ends_with_the_client() -> None:
    store = Observed()
    with Run(store, filters=False) as run:
        store.failures.append(Observed.full())
        publication = run.client.publish(make_event(), [NOBODY], durable=True)
        with pytest.raises(TimeoutError, match="not saved"):
            publication.wait_saved(0)
        store.failures.clear()
        run.client.stop("enough")
        if not publication.is_saved:
            with pytest.raises(CallExit):
                publication.wait_saved(WAIT)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"durable": True, "expires": "soon"}, "expires"),
        ({"durable": True, "expires": -1}, "expires"),
        ({"durable": True, "expires": float("nan")}, "expires"),
        ({"expires": 1.0}, "durable"),
        ({"relays": None, "durable": True}, "relays"),
    ],
)
def test_invalid_arguments_are_errors_of_the_caller(arguments: dict[str, Any], match: str) -> None:
    with Run(MemoryStore(), filters=False) as run:
        with pytest.raises((TypeError, ValueError), match=match):
            run.client.publish(make_event(), **{"relays": [NOBODY], **arguments})
        assert run.client.publications() == []


def test_what_a_callback_writes_is_saved_with_its_publications(tmp_path: Path, relay: MemoryRelay) -> None:
    def handle(client: Feed, event: Event) -> None:
        with client.store.transaction() as database:
            database.execute("CREATE TABLE IF NOT EXISTS answered (id TEXT PRIMARY KEY)")
            database.execute("INSERT INTO answered VALUES (?)", [event.id])
        client.publish(make_event(content="answer", kind=2), durable=True)

    question = relay.store(kind=1)
    with Run(SqliteStore(tmp_path / "feed.db"), relay, event=handle) as run:
        assert run.seen.get(timeout=WAIT) == question.content
        while not isinstance(run.seen.get(timeout=WAIT), PublicationDone):
            pass
        with contextlib.closing(sqlite3.connect(tmp_path / "feed.db")) as database:
            assert database.execute("SELECT id FROM answered").fetchall() == [(question.id,)]
