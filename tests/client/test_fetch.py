"""Backfill: all stored events, in order, each once, however few a relay gives at once."""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from gennostr import KILL, SHUTDOWN, FetchIncomplete, GenServer, MessageError, Ok, RelayRefused, RequestTooLarge, fetch
from gennostr.client import fetch as fetching
from gennostr.client import information_fetch
from gennostr.client.options import Relay
from gennostr.nostr import Event, matches, sign
from gennostr.testing import FakeRelay, MemoryRelay, make_event

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


@pytest.fixture(autouse=True)
def no_wait_for_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    """The relays that are played here do not answer the request for their information."""
    monkeypatch.setattr(information_fetch, "TIMEOUT", 0.1)


@contextmanager
def playing(play: Callable[[FakeRelay, str, dict[str, Any]], object]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A relay that answers each REQ by `play(relay, id, filter)`; its url, and the filters that it got."""
    filters: list[dict[str, Any]] = []

    def run(relay: FakeRelay) -> None:
        relay.accept()
        while True:
            label, id_, *more = relay.receive()
            if label == "REQ":
                filters.extend(more)
                play(relay, id_, more[0])

    with FakeRelay() as relay, ThreadPoolExecutor(1) as player:
        played = player.submit(run, relay)
        yield relay.url, filters
        with pytest.raises((AssertionError, OSError)):  # the client has gone
            played.result(5)


def giving(stored: list[Event], cap: int, hints: Callable[[bool], list[object]] = lambda _: []) -> Any:
    """A relay's answers: the first events that match in the order of `stored`, and EOSE with hints."""

    def play(relay: FakeRelay, id_: str, filter_: dict[str, Any]) -> None:
        found = [event for event in stored if matches(filter_, event)]
        page = found[: min(cap, filter_["limit"])]
        for event in page:
            relay.event(id_, event)
        relay.send(["EOSE", id_, *hints(len(page) == len(found))])

    return play


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


def test_more_events_in_a_second_than_the_relay_gives_are_reported_and_the_rest_is_read() -> None:
    with MemoryRelay(max_limit=100) as relay:
        events = stored(relay, 250, 1)
        older = relay.store(sign(KEY, created_at=1_600_000_000, kind=1, content="older"))
        got: list[Event] = []
        with pytest.raises(
            FetchIncomplete, match="are in the second 1700000000, and the relay sends no more"
        ) as caught:
            got.extend(fetch({}, [relay.url]))
        assert list(caught.value.failed) == [relay.url]
        assert got == [*in_order(events)[:100], older]


def test_a_small_page_that_one_second_takes_up_is_reported_too() -> None:
    with MemoryRelay(max_limit=10) as relay:
        newer = [relay.store(sign(KEY, created_at=1_700_000_100 + each, kind=1, content="x")) for each in range(40)]
        stored(relay, 30, 1)
        got: list[Event] = []
        with pytest.raises(FetchIncomplete, match="at least 10 events are in the second 1700000000"):
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
        # The last one is whether there is anything newer: no page but the first had other seconds.
        for page in ([*events[:4], events[7], events[5]], [events[6], events[4], events[7]], [events[4]], []):
            id_ = relay.expect_req().subscription_id
            for event in page:
                relay.event(id_, event)
            relay.eose(id_)
            assert relay.expect_close() == id_
        assert found.result(5) == events


def test_a_relay_that_cannot_be_read_is_reported_after_what_the_others_have() -> None:
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


def test_a_relay_that_gives_its_oldest_events_first_is_read_to_its_end() -> None:
    oldest_first = [make_event(created_at=1_700_000_000 + 3 * number) for number in range(300)]
    with playing(giving(oldest_first, 50)) as (url, filters):
        assert list(fetch({"kinds": [1]}, [url], verify=False, close_timeout=0.05)) == oldest_first[::-1]
    assert all(each["limit"] > 0 for each in filters)


def test_a_limit_within_a_second_gives_the_lowest_ids() -> None:
    one_second = in_order([make_event(created_at=1_700_000_000) for _ in range(150)])
    with playing(giving(one_second, 100)) as (url, filters):
        assert list(fetch({"limit": 2}, [url], verify=False, close_timeout=0.05)) == one_second[:2]
    assert all(each["limit"] > 0 for each in filters)
    assert list(fetch({"limit": 0}, [url], verify=False)) == []


@pytest.mark.parametrize("hint", ["finish", ["finish"]])
def test_a_relay_that_says_finish_gets_one_request(hint: object) -> None:
    events = in_order([make_event(created_at=1_700_000_000 + number // 2) for number in range(40)])
    with playing(giving(events, 50, lambda _: [hint])) as (url, filters):
        assert list(fetch({}, [url], verify=False, close_timeout=0.05)) == events
    assert len(filters) == 1


def test_a_relay_that_says_more_for_ever_does_not_pass_for_complete() -> None:
    events = in_order([make_event(created_at=1_700_000_000 + number) for number in range(40)])
    with playing(giving(events, 15, lambda _: [["more"]])) as (url, _):
        got: list[Event] = []
        with pytest.raises(FetchIncomplete, match="it says that it has more events but sends none"):
            got.extend(fetch({}, [url], verify=False, close_timeout=0.05))
        assert got == events


@pytest.mark.parametrize(
    "stray", ['["NOTICE",null]', '["NOTICE","busy"]', "[]", "x", '["OK",1]', '["EVENT","other",{}]', '["EVENT"]']
)
def test_a_stray_message_does_not_affect_it(stray: str) -> None:
    def play(relay: FakeRelay, id_: str, filter_: dict[str, Any]) -> None:
        del filter_
        relay.send_text(stray)
        relay.eose(id_)
        relay.send_text(stray)

    with playing(play) as (url, _):
        assert list(fetch({}, [url], close_timeout=0.05)) == []


def fields_of(event: Event, **changed: object) -> dict[str, object]:
    return {name: getattr(event, name) for name in event.__struct_fields__} | changed


GENUINE = sign(KEY, created_at=1_700_000_000, kind=1, content="")


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        (fields_of(GENUINE, sig="2" * 128), "1 forged .*the signature is not that of"),
        (fields_of(GENUINE, content="changed"), "1 forged .*the id is wrong"),
        (fields_of(sign(KEY, created_at=1, kind=7, content="")), "1 unrequested .*matches no filter"),
        (fields_of(GENUINE, kind="1"), "1 undecodable .*Expected `int`, got `str`"),
    ],
)
def test_an_error_names_what_was_wrong_with_the_events(sent: object, named: str) -> None:
    def play(relay: FakeRelay, id_: str, filter_: dict[str, Any]) -> None:
        del filter_
        relay.send(["EVENT", id_, sent])
        relay.eose(id_)

    with playing(play) as (url, _):
        with pytest.raises(FetchIncomplete, match=named) as caught:
            next(fetch({"kinds": [1]}, [url], close_timeout=0.05))
        assert isinstance(caught.value.failed[url], RelayRefused)


def test_an_event_that_is_rejected_beside_others_does_not_end_it() -> None:
    with MemoryRelay() as relay:
        events = stored(relay, 30, 20)
        relay.store(make_event(created_at=1_700_000_010, sig="0" * 128))
        assert list(fetch({}, [relay.url])) == in_order(events)


def test_a_relay_that_falls_silent_in_the_middle_of_a_page_has_given_what_came() -> None:
    events = in_order([make_event(created_at=1_700_000_000 + number) for number in range(5)])

    def play(relay: FakeRelay, id_: str, filter_: dict[str, Any]) -> None:
        del filter_
        for event in events:
            relay.event(id_, event)

    with playing(play) as (url, _):
        got: list[Event] = []
        with pytest.raises(FetchIncomplete, match=r"nothing was received for 0\.3 s"):
            got.extend(fetch({}, [url], verify=False, timeout=0.3, close_timeout=0.05))
        assert got == events


@pytest.mark.parametrize("kind", [1, 7], ids=["live events", "unrequested events"])
def test_a_relay_that_never_ends_a_page_is_given_up_whatever_else_it_sends(kind: int) -> None:
    over = threading.Event()

    def play(relay: FakeRelay, id_: str, filter_: dict[str, Any]) -> None:
        del filter_
        created_at = 1_700_000_000
        while not over.wait(0.02):
            created_at += 1
            relay.event(id_, kind=kind, created_at=created_at)

    with playing(play) as (url, _):
        with pytest.raises(FetchIncomplete, match="nothing was received" if kind == 1 else "unrequested"):
            list(fetch({"kinds": [1]}, [url], verify=False, timeout=0.3, close_timeout=0.05))
        over.set()


def test_a_filter_larger_than_the_queue_is_refused_at_once() -> None:
    with pytest.raises(MessageError, match=r"has 67\d{3} bytes, more than the max_queue_size: 60000") as caught:
        fetch({"authors": [f"{number:064x}" for number in range(1000)]}, ["ws://a"], max_queue_size=60_000)
    assert isinstance(caught.value, ValueError)


def test_a_large_filter_is_requested_in_parts_and_its_limit_is_for_all_of_them() -> None:
    authors = [f"{number:064x}" for number in range(1500)]
    events = in_order(
        [make_event(created_at=1_700_000_000 + number % 40, pubkey=authors[97 * number % 1500]) for number in range(90)]
    )
    wanted: list[dict[str, Any]] = [{"authors": authors, "limit": 25}, {"ids": [events[-1].id]}]
    with (
        playing(giving(events, 20)) as (url, filters),
        fetch(wanted, [url], verify=False, close_timeout=0.05) as found,
    ):
        assert list(found) == [*events[:25], events[-1]]
        assert found.progress[url].done
    parts = [each["authors"] for each in filters if each.keys() == {"authors", "limit"}]
    assert sorted(author for part in parts for author in part) == authors
    assert all(len(json.dumps(each)) < 40_000 for each in filters)


def test_an_event_that_two_parts_of_a_filter_give_is_counted_once() -> None:
    tags = [f"{number:064x}" for number in range(1000)]
    events = in_order(
        [make_event(created_at=1_700_000_000 + number, tags=[["e", tags[0]], ["e", tags[-1]]]) for number in range(30)]
    )
    with playing(giving(events, 20)) as (url, _):
        assert list(fetch({"#e": tags, "limit": 12}, [url], verify=False, close_timeout=0.05)) == events[:12]


def test_a_request_that_is_set_aside_ends_its_part_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    event = make_event(kind=2)

    class SettingAside(fetching.Reader):
        def handle_info(self, message: Any, state: Any, /) -> Any:
            if isinstance(message, MessageError):
                return self.handle_error(message, Relay.new(url), state)
            return super().handle_info(message, state)

        def handle_connect(self, relay: Relay, state: Any, /) -> Any:
            self.pid.send(RequestTooLarge("page-1", 70_000, 65_536, url))
            return super().handle_connect(relay, state)

    def play(relay: FakeRelay, id_: str, filter_: dict[str, Any]) -> None:
        if filter_["kinds"] == [2]:
            giving([event], 20)(relay, id_, filter_)

    monkeypatch.setattr(fetching, "Reader", SettingAside)
    with playing(play) as (url, _):
        got: list[Event] = []
        with pytest.raises(FetchIncomplete, match="the REQ of 'page-1' has 70000 bytes"):
            got.extend(fetch([{"kinds": [1]}, {"kinds": [2]}], [url], verify=False, close_timeout=0.05))
        assert got == [event]


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


@pytest.mark.parametrize("reason", [SHUTDOWN, KILL])
def test_its_client_ends_with_an_actor_that_ends_while_it_reads(reason: object) -> None:
    class Reading(GenServer[None]):
        def init(self, url: str) -> Ok[None]:
            return Ok(None, continue_=url)

        def handle_continue(self, argument: str, state: None) -> None:
            with fetch({}, [argument]) as events:
                for _ in events:
                    pass

    with FakeRelay() as relay:
        reading = Reading.start(relay.url)
        connection = relay.accept()
        connection.expect_req()
        reading.exit(reason)
        connection.expect_end()


@pytest.mark.parametrize(
    ("filters", "relays", "options"),
    [([], ["ws://a"], {}), ({}, [], {}), ({}, "ws://a", {}), ({}, ["http://a"], {}), ({}, ["ws://a"], {"nonesuch": 1})],
)
def test_bad_arguments_are_raised_at_once(filters: Any, relays: Any, options: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        fetch(filters, relays, **options)


def test_a_page_is_never_divided_for_a_relay_that_takes_no_large_req() -> None:
    """Events of two REQs are not one page: the relay is named as one that was not read."""
    authors = [f"{number:064x}" for number in range(300)]
    information = {"limitation": {"max_message_length": 4_096}}
    with MemoryRelay(information=information) as relay, pytest.raises(FetchIncomplete) as caught:
        list(fetch({"authors": authors}, [relay.url]))
    assert isinstance(caught.value.failed[relay.url], RequestTooLarge)
