"""What is over leaves nothing behind in a client, however often it happens."""

import gc
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from gennostr.client.attempt import Attempt
from gennostr.client.attempt_queue import MAX_IN_FLIGHT
from gennostr.client.publications import PendingAnswers
from gennostr.client.relay_pool import RelayPool
from gennostr.client.relay_session import FORGOTTEN, RelaySession
from gennostr.client.timer_queue import Deadline
from gennostr.testing import FakeRelay, ManualClock, MemoryRelay, make_event
from tests.client.test_subscriptions import dropping, send_nothing, subscribed

DEADLINES = 2_048
"""Cancelled ones that the queue may keep, with room for those that are not."""


@pytest.fixture
def relay() -> Iterator[FakeRelay]:
    with FakeRelay() as fake:
        yield fake


def living(*types: type) -> int:
    gc.collect()
    return sum(isinstance(each, types) for each in gc.get_objects())


def pool_of(client: Any) -> RelayPool:
    """The client's pool, at rest."""
    client.feed.call("everything before this was handled")
    pool = client.feed.relay_pool
    assert isinstance(pool, RelayPool)
    return pool


def assert_empty(session: RelaySession) -> None:
    for name in ("_line", "_open", "_groups", "_to_close", "subscriptions"):
        assert not getattr(session, name), name
    assert not session._attempts.in_flight
    assert not session._attempts.waiting
    assert len(session._forgotten) <= FORGOTTEN


def test_publications_that_are_settled_leave_nothing_behind() -> None:
    with MemoryRelay() as relay, subscribed(relay) as client:
        before, watchers = living(Attempt, PendingAnswers), None
        for _ in range(20):
            publications = [client.feed.publish(make_event(content=f"{number}")) for number in range(500)]
            assert all(each.result(10)[relay.url] for each in publications)
            pool = pool_of(client)
            if watchers is None:
                watchers = len(client.feed.process.watchers)
            assert len(pool._timers._deadlines) <= DEADLINES
        del publications
        assert_empty(pool.sessions[relay.url])
        assert pool._deadlines == {}
        assert len(client.feed.process.watchers) == watchers
        assert living(Attempt, PendingAnswers) <= before
        assert living(Deadline) <= DEADLINES


def test_publications_that_time_out_leave_nothing_behind(relay: FakeRelay) -> None:
    with ManualClock() as clock, subscribed(relay) as client, dropping(relay):
        relay.accept()
        client.expect("connect")
        before = living(Attempt, PendingAnswers, Deadline)
        for _ in range(10):
            publications = [client.feed.publish(make_event(), timeout=5) for _ in range(500)]
            clock.advance(5.1)
            outcomes = Counter(each.result(5)[relay.url].kind for each in publications)
            assert outcomes == {"timeout": MAX_IN_FLIGHT, "not_sent": 500 - MAX_IN_FLIGHT}
            pool = pool_of(client)
            assert_empty(pool.sessions[relay.url])
            assert pool._timers._deadlines == []
            relay.connections[-1]._wire.frames.clear()
        del publications
        assert living(Attempt, PendingAnswers, Deadline) <= before


def test_publications_that_are_cancelled_leave_nothing_behind(relay: FakeRelay) -> None:
    with ManualClock() as clock, subscribed(relay) as client, dropping(relay):
        before = living(Attempt, PendingAnswers, Deadline)
        for _ in range(10):
            for publication in [client.feed.publish(make_event(), timeout=5) for _ in range(100)]:
                publication.cancel()
        clock.advance(5.1)
        pool = pool_of(client)
        assert_empty(pool.sessions[relay.url])
        del publication
        assert living(Attempt, PendingAnswers, Deadline) <= before


def test_publications_without_a_relay_leave_nothing_behind() -> None:
    with subscribed() as client:
        before = living(Attempt, PendingAnswers, Deadline)
        for _ in range(10_000):
            assert client.feed.publish(make_event(), relays=[]).result(5) == {}
        pool = pool_of(client)
        assert pool.sessions == {}
        assert pool._timers._deadlines == []
        assert living(Attempt, PendingAnswers, Deadline) <= before


def test_subscriptions_that_are_ended_leave_nothing_behind(relay: FakeRelay) -> None:
    with ManualClock() as clock, subscribed(relay) as client, dropping(relay):
        relay.accept()
        client.expect("connect")
        for number in range(10_000):
            client.feed.subscribe({"kinds": [number % 100]}, f"feed {number}")
            if number == 0:
                relay.expect_req()
            client.feed.unsubscribe(f"feed {number}")
            if number % 500 == 0:
                clock.settle()
                relay.connections[-1]._wire.frames.clear()
        pool = pool_of(client)
        [session] = pool.sessions.values()
        assert_empty(session)
        assert pool._subscriptions == {}
        assert len(pool._deadlines) <= 2
        assert len(pool._timers._deadlines) <= DEADLINES
        clock.advance(60)
        relay.connections[-1]._wire.frames.clear()
        assert pool_of(client)._timers._deadlines == []
        client.feed.subscribe({"kinds": [1]}, "feed")
        clock.settle()
        assert relay.expect_req().subscription_id == "feed"


def test_one_id_that_is_subscribed_to_again_and_again_is_one_subscription(relay: FakeRelay) -> None:
    with ManualClock() as clock, subscribed(relay) as client, dropping(relay):
        relay.accept()
        client.expect("connect")
        for number in range(10_000):
            client.feed.subscribe({"kinds": [number % 100]}, "feed")
            if number % 500 == 0:
                clock.settle()
                relay.connections[-1]._wire.frames.clear()
        clock.settle()
        pool = pool_of(client)
        [session] = pool.sessions.values()
        assert list(session.subscriptions) == list(session._open) == ["feed"]
        assert not session._forgotten
        assert len(pool._timers._deadlines) <= DEADLINES


def test_connections_that_come_and_go_leave_nothing_behind(relay: FakeRelay) -> None:
    with subscribed(relay) as client:
        client.feed.subscribe({"kinds": [1]}, "feed")
        client.feed.subscribe({"kinds": [7]}, "other")
        kept = None
        for _ in range(30):
            relay.accept()
            assert relay.expect_req().subscription_id == "feed"
            if kept is None:
                send_nothing(relay)
            assert relay.expect_req().subscription_id == "other"
            pool = pool_of(client)
            now = (
                len(pool._connections), len(pool._up), len(pool._deadlines), len(client.feed.process.watchers),
            )  # fmt: skip
            kept = kept or now
            assert now == kept
            relay.drop()
        assert len(pool._timers._deadlines) <= DEADLINES
