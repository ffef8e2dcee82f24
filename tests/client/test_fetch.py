"""Backfill: all stored events, in order, each once, however few a relay gives at once."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gennostr import FetchIncomplete, RelayRefused, fetch
from gennostr.nostr import Event, sign
from gennostr.testing import FakeRelay, MemoryRelay

KEY = "01" * 32


def in_order(events: list[Event]) -> list[Event]:
    return sorted(events, key=lambda event: (-event.created_at, event.id))


def stored(relay: MemoryRelay, number: int, seconds: int) -> list[Event]:
    """So many events of so many seconds, signed, in a relay."""
    ages = random.Random(number)
    return [
        relay.store(
            sign(KEY, created_at=1_700_000_000 + ages.randrange(seconds), kind=1, content=f"{relay.url} {each}")
        )
        for each in range(number)
    ]


@pytest.mark.parametrize(
    ("number", "cap", "seconds"), [(0, 5, 1), (1, 5, 1), (3, 5, 1), (500, 20, 90), (250, 250, 250)]
)
def test_all_of_them_come_in_order_and_once(number: int, cap: int, seconds: int) -> None:
    with MemoryRelay(max_limit=cap) as relay:
        events = stored(relay, number, seconds)
        with fetch({"kinds": [1]}, [relay.url]) as found:
            assert list(found) == in_order(events)
            [progress] = found.progress.values()
            assert (progress.events, progress.done, progress.error) == (number, True, None)


def test_several_relays_and_filters_are_merged() -> None:
    with MemoryRelay(max_limit=20) as one, MemoryRelay(max_limit=7) as other:
        events = stored(one, 100, 50) + stored(other, 60, 50)
        for event in events[:30]:
            other.store(event)
        found = list(fetch([{"kinds": [1]}, {"authors": [events[0].pubkey]}], [one.url, other.url]))
        assert found == in_order(events)


def test_a_limit_and_an_until_hold() -> None:
    with MemoryRelay(max_limit=20) as relay:
        events = in_order(stored(relay, 100, 60))
        assert list(fetch({"limit": 33}, [relay.url])) == events[:33]
        until = events[40].created_at
        older = [event for event in events if event.created_at <= until]
        assert list(fetch({"until": until, "limit": 25}, [relay.url])) == older[:25]


def test_events_dated_in_milliseconds_are_read_page_by_page_too() -> None:
    with MemoryRelay(max_limit=2) as relay:
        events = [
            relay.store(sign(KEY, created_at=1_700_000_000_000 + number, kind=1, content="")) for number in range(5)
        ]
        assert list(fetch({}, [relay.url])) == in_order(events)


def test_a_relay_that_is_restarted_in_the_middle_costs_nothing() -> None:
    with MemoryRelay(max_limit=10) as relay:
        events = stored(relay, 300, 200)
        found: list[Event] = []
        for event in fetch({}, [relay.url], reconnect=[0.01]):
            found.append(event)
            if len(found) % 60 == 0:
                relay.stop()
                relay.start()
        assert found == in_order(events)


def test_more_events_in_a_second_than_the_relay_gives_are_told_and_the_rest_is_read() -> None:
    with MemoryRelay(max_limit=100) as relay:
        events = stored(relay, 250, 1)
        older = relay.store(sign(KEY, created_at=1_600_000_000, kind=1, content="older"))
        got: list[Event] = []
        with pytest.raises(FetchIncomplete, match="of the second 1700000000 are all that it gives") as caught:
            got.extend(fetch({}, [relay.url]))
        assert list(caught.value.failed) == [relay.url]
        assert got == [*in_order(events)[:100], older]


def test_a_small_page_that_one_second_takes_up_is_told_too() -> None:
    with MemoryRelay(max_limit=10) as relay:
        newer = [relay.store(sign(KEY, created_at=1_700_000_100 + each, kind=1, content="x")) for each in range(40)]
        stored(relay, 30, 1)
        got: list[Event] = []
        with pytest.raises(FetchIncomplete, match="at least 10 events of the second 1700000000"):
            got.extend(fetch({}, [relay.url]))
        assert got[:40] == in_order(newer)
        assert len(got) == 50


def test_a_second_that_two_pages_share_is_in_order() -> None:
    events = in_order(
        [sign(KEY, created_at=second, kind=1, content=str(each)) for second in (9, 8) for each in range(4)]
    )
    with FakeRelay() as relay, ThreadPoolExecutor(1) as reader:
        found = reader.submit(list, fetch({}, [relay.url], close_timeout=0.05))
        relay.accept()
        # Of one second the later ids first, and a page ends in the middle of it.
        for page in ([*events[:4], events[7], events[5]], [events[6], events[4], events[7]], [events[4]]):
            id_ = relay.expect_req().subscription_id
            for event in page:
                relay.event(id_, event)
            relay.eose(id_)
            assert relay.expect_close() == id_
        assert found.result(5) == events


def test_a_relay_that_cannot_be_read_is_told_after_what_the_others_have() -> None:
    with MemoryRelay() as relay, FakeRelay() as down, FakeRelay() as refuses:
        down.stop_listening()
        events = stored(relay, 10, 10)
        found = fetch({}, [relay.url, down.url, refuses.url], timeout=0.5, reconnect=[0.05], close_timeout=0.05)
        refuses.accept()
        refuses.closed(refuses.expect_req().subscription_id, "restricted: members only")
        got: list[Event] = []
        with pytest.raises(FetchIncomplete) as caught:
            got.extend(found)
        assert got == in_order(events)
        assert isinstance(caught.value.failed[down.url], ConnectionRefusedError)
        assert str(caught.value.failed[refuses.url]) == "restricted: members only"


def test_a_relay_that_sends_what_was_not_asked_for_does_not_pass_for_complete() -> None:
    with FakeRelay() as relay:
        found = fetch({"kinds": [1]}, [relay.url], verify=False, close_timeout=0.05)
        relay.accept()
        id_ = relay.expect_req().subscription_id
        relay.event(id_, kind=7)
        relay.eose(id_)
        with pytest.raises(FetchIncomplete) as caught:
            next(found)
        assert isinstance(caught.value.failed[relay.url], RelayRefused)


def test_it_ends_its_client_when_it_is_closed_or_forgotten() -> None:
    # Nothing is left behind: the fixture of all tests sees to that.
    with MemoryRelay(max_limit=2) as relay:
        stored(relay, 20, 20)
        with fetch({}, [relay.url]) as found:
            next(found)
        assert next(found, None) is None
        deadline = time.monotonic() + 5
        found = fetch({}, [relay.url])
        process = found._reader.process  # type: ignore[union-attr]
        next(found)
        del found
        while not process.dead:
            assert time.monotonic() < deadline


@pytest.mark.parametrize(
    ("filters", "relays", "options"),
    [([], ["ws://a"], {}), ({}, [], {}), ({}, "ws://a", {}), ({}, ["http://a"], {}), ({}, ["ws://a"], {"nonesuch": 1})],
)
def test_bad_arguments_are_told_at_once(filters: Any, relays: Any, options: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        fetch(filters, relays, **options)
