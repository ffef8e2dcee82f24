"""Subscriptions that outlive their connections: asked for again from where they ended, each event once."""

import contextlib
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest

from gennostr import MessageError, Relay
from gennostr.client import relay_pool
from gennostr.client.seen_events import SEEN, SeenEvents
from gennostr.nostr import Event, sign
from gennostr.testing import FakeRelay, ManualClock, MemoryRelay
from tests.client.recorder import Recorder, Recording

FAST = {"reconnect": [0.01]}
KEY = "01" * 32


class Subscriber(Recorder):
    """A recorder that notes the end of all stored events too, and cross-relay deduplication if the script wants it."""

    def init(self, init_arg: Any) -> Any:
        self.deduplicate = init_arg.get("deduplicate", False)
        self.signer = init_arg.get("signer")
        return super().init(init_arg)

    def handle_eose_all(self, subscription_id: str, state: Any) -> Any:
        return self._record("eose_all", subscription_id, Relay.new("ws://all.example"))


@pytest.fixture
def relay() -> Iterator[FakeRelay]:
    with FakeRelay() as fake:
        yield fake


def subscribed(*relays: FakeRelay | MemoryRelay, **script: Any) -> Recording:
    options = {**FAST, **script.pop("options", {})}
    return Recording(Subscriber, urls=[each.url for each in relays], options=options, **script)


@contextlib.contextmanager
def dropping(*relays: FakeRelay) -> Iterator[None]:
    """Drop all connections at the end, however that comes: where time stands still, a close frame is waited for."""
    try:
        yield
    finally:
        for relay in relays:
            for connection in relay.connections:
                connection.drop()


def now() -> int:
    return int(time.time())


def send_nothing(relay: FakeRelay) -> None:
    """Answer the request for the relay's information, which comes before a second REQ."""
    asking = relay.accept_raw()
    asking.read_request()
    assert asking.asks_for_information
    asking.refuse(404)
    asking.disconnect()
    relay.connections.remove(asking)


def signed(content: str, created_at: int | None = None) -> Event:
    return sign(KEY, created_at=now() if created_at is None else created_at, kind=1, content=content)


def contents(client: Recording, number: int) -> list[str]:
    """The next events' contents; other callbacks are passed over."""
    found: list[str] = []
    while len(found) < number:
        callback = client.next()
        if callback.name == "event":
            found.append(callback.value.event.content)
    return found


def until_all_stored_is_delivered(client: Recording) -> None:
    while client.next().name != "eose_all":
        pass


def test_each_relay_gets_the_req_when_it_connects_and_its_eose_is_delivered(relay: FakeRelay) -> None:
    with subscribed(relay) as client:
        assert client.feed.subscribe({"kinds": [1]}, "feed") == "feed"
        relay.accept()
        assert relay.expect_req() == ("feed", [{"kinds": [1]}])
        relay.event("feed", content="one")
        assert contents(client, 1) == ["one"]
        client.feed.unsubscribe("feed")
        assert relay.expect_close() == "feed"
        relay.event("feed", content="late")
        relay.event("other", content="another's")
        assert contents(client, 1) == ["another's"]


def test_a_subscription_goes_on_after_a_reconnect_from_a_minute_before_the_newest_event(relay: FakeRelay) -> None:
    with subscribed(relay) as client:
        client.feed.subscribe([{"kinds": [1], "limit": 5, "until": 9_000}, {"kinds": [7], "since": 4_990}], "feed")
        relay.accept()
        relay.expect_req()
        relay.event("feed", created_at=5_000, content="stored")
        relay.eose("feed")
        live = relay.event("feed", created_at=5_030, content="live")
        client.expect("connect", "event", "eose", "eose_all", "event")
        relay.drop()
        relay.accept()
        assert relay.expect_req().filters == [
            {"kinds": [1], "until": 9_000, "since": 4_970},
            {"kinds": [7], "since": 4_990},
        ]
        relay.event("feed", live)
        relay.event("feed", created_at=5_040, content="new")
        assert contents(client, 1) == ["new"]


def test_a_drop_before_eose_asks_for_all_again(relay: FakeRelay) -> None:
    with subscribed(relay) as client:
        client.feed.subscribe({"kinds": [1], "limit": 5}, "feed")
        relay.accept()
        relay.expect_req()
        newest = relay.event("feed", created_at=5_000, content="newest")
        contents(client, 1)
        relay.drop()
        relay.accept()
        assert relay.expect_req().filters == [{"kinds": [1], "limit": 5}]
        relay.event("feed", newest)
        relay.event("feed", created_at=4_000, content="older")
        assert contents(client, 1) == ["older"]


def test_a_drop_before_the_second_eose_keeps_the_first_ones_place(relay: FakeRelay) -> None:
    with subscribed(relay) as client:
        client.feed.subscribe({"kinds": [1]}, "feed")
        relay.accept()
        relay.expect_req()
        relay.event("feed", created_at=5_000)
        relay.eose("feed")
        client.expect("connect", "event", "eose")
        relay.drop()
        relay.accept()
        assert relay.expect_req().filters == [{"kinds": [1], "since": 4_940}]
        relay.event("feed", created_at=8_000)
        contents(client, 1)
        relay.drop()
        relay.accept()
        assert relay.expect_req().filters == [{"kinds": [1], "since": 4_940}]


def test_an_older_event_after_a_reconnect_moves_nothing_back(relay: FakeRelay) -> None:
    with subscribed(relay) as client:
        client.feed.subscribe({"kinds": [1]}, "feed")
        relay.accept()
        relay.expect_req()
        relay.event("feed", created_at=5_000)
        relay.eose("feed")
        relay.drop()
        relay.accept()
        relay.expect_req()
        relay.event("feed", created_at=4_950)
        relay.eose("feed")
        contents(client, 2)
        relay.drop()
        relay.accept()
        assert relay.expect_req().filters == [{"kinds": [1], "since": 4_940}]


def test_an_event_from_the_future_moves_nothing(relay: FakeRelay) -> None:
    with subscribed(relay) as client:
        client.feed.subscribe({"kinds": [1]}, "feed")
        relay.accept()
        relay.expect_req()
        relay.event("feed", created_at=5_000)
        relay.event("feed", created_at=9_999_999_999)
        relay.eose("feed")
        relay.event("feed", created_at=9_999_999_999)
        contents(client, 3)
        relay.drop()
        relay.accept()
        assert relay.expect_req().filters == [{"kinds": [1], "since": 4_940}]


def test_a_forged_event_moves_nothing_and_hides_nothing(relay: FakeRelay) -> None:
    real = signed("real", 5_000)
    forged = Event(real.id, real.pubkey, now(), 1, [], "forged", real.sig)
    with subscribed(relay, options={"verify": True}, deduplicate=True) as client:
        client.feed.subscribe({"kinds": [1]}, "feed")
        relay.accept()
        relay.expect_req()
        relay.event("feed", forged)
        relay.event("feed", real)
        relay.eose("feed")
        assert client.expect("connect", "error").value.args[0].startswith(f"event {real.id!r}: the id is wrong")
        assert client.expect("event").value.event.content == "real"
        relay.drop()
        relay.accept()
        assert relay.expect_req().filters == [{"kinds": [1], "since": 4_940}]


def test_without_verification_a_forged_event_hides_nothing_either(relay: FakeRelay) -> None:
    real = signed("real")
    with subscribed(relay, deduplicate=True) as client:
        client.feed.subscribe({"kinds": [1]}, "feed")
        relay.accept()
        relay.expect_req()
        relay.event("feed", Event(real.id, real.pubkey, real.created_at, 1, [], "forged", real.sig))
        relay.event("feed", real)
        assert contents(client, 2) == ["forged", "real"]


def test_a_subscription_never_resumes_before_1970(relay: FakeRelay) -> None:
    with subscribed(relay) as client:
        client.feed.subscribe({"kinds": [1]}, "feed")
        relay.accept()
        relay.expect_req()
        relay.event("feed", created_at=5)
        relay.eose("feed")
        client.expect("connect", "event", "eose")
        relay.drop()
        relay.accept()
        assert relay.expect_req().filters == [{"kinds": [1], "since": 0}]


def accept_at(relay: FakeRelay, time_: float | None, date: str | None = None) -> None:
    """Accept a connection as a relay whose clock shows `time_`; None: it does not say."""
    connection = relay.accept_raw()
    connection.read_request()
    if time_ is not None:
        date = formatdate(time_, usegmt=True)
    connection.upgrade(headers=None if date is None else {"Date": date})


def test_an_events_age_is_judged_by_the_relays_clock(relay: FakeRelay) -> None:
    theirs = now() - 3_600  # ours is an hour fast
    with subscribed(relay) as client:
        client.feed.subscribe({"kinds": [1]}, "feed")
        accept_at(relay, theirs)
        relay.expect_req()
        assert client.expect("connect").relay.clock_offset == pytest.approx(-3_600, abs=5)
        relay.event("feed", created_at=theirs - 500)
        relay.event("feed", created_at=theirs + 1_800, content="from the future")
        relay.eose("feed")
        contents(client, 2)
        relay.drop()
        accept_at(relay, theirs)
        assert relay.expect_req().filters == [{"kinds": [1], "since": theirs - 560}]


def test_a_subscription_without_events_resumes_by_the_relays_clock(relay: FakeRelay) -> None:
    for offset in (-3_600, 3_600):
        with subscribed(relay) as client:
            client.feed.subscribe({"kinds": [1], "limit": 0}, "feed")
            before = now()
            accept_at(relay, before + offset)
            relay.expect_req()
            relay.eose("feed")
            client.expect("connect", "eose")
            relay.drop()
            accept_at(relay, now() + offset)
            [filter_] = relay.expect_req().filters
            # At most a minute earlier than the first REQ, and later never: what came between is not skipped.
            assert before + offset - 65 <= filter_["since"] <= before + offset


@pytest.mark.parametrize("date", [None, "", "yesterday", "Thu, 99 Nov 2026 00:00:00 GMT", "\xff" * 20, "0" * 5_000])
def test_a_relay_that_does_not_say_its_time_is_judged_by_our_clock(relay: FakeRelay, date: str | None) -> None:
    with subscribed(relay) as client:
        client.feed.subscribe({"kinds": [1]}, "feed")
        accept_at(relay, None, date)
        relay.expect_req()
        assert client.expect("connect").relay.clock_offset in (None, 0.0)
        relay.event("feed", created_at=now() - 500)
        relay.event("feed", created_at=now() + 3_600)
        relay.eose("feed")
        contents(client, 2)
        relay.drop()
        relay.accept()
        [filter_] = relay.expect_req().filters
        assert now() - 570 <= filter_["since"] <= now() - 550


def test_live_only_asks_for_what_came_since_it_began(relay: FakeRelay) -> None:
    with subscribed(relay) as client:
        before = now()
        client.feed.subscribe({"kinds": [1], "limit": 0}, "feed")
        relay.accept()
        assert relay.expect_req().filters == [{"kinds": [1], "limit": 0}]
        relay.drop()
        relay.accept()
        [filter_] = relay.expect_req().filters
        assert before <= filter_["since"] <= now()
        assert "limit" not in filter_


def test_what_was_not_asked_for_is_an_error(relay: FakeRelay) -> None:
    with subscribed(relay) as client:
        client.feed.subscribe({"kinds": [1]}, "feed")
        relay.accept()
        relay.expect_req()
        relay.event("feed", kind=7)
        error = client.expect("connect", "error").value
        assert isinstance(error, MessageError)
        assert "matches no filter of its subscription 'feed'" in str(error)


def test_an_id_that_is_in_use_gets_the_new_filters(relay: FakeRelay) -> None:
    with subscribed(relay) as client:
        client.feed.subscribe({"kinds": [1]}, "feed")
        relay.accept()
        relay.expect_req()
        client.feed.subscribe({"kinds": [7]}, "feed")
        assert relay.expect_req() == ("feed", [{"kinds": [7]}])
        relay.event("feed", kind=1, content="sent before the relay had read it")
        relay.event("feed", kind=7, content="+")
        assert client.expect("connect", "event").value.event.content == "+"


def test_an_id_that_was_unsubscribed_may_be_used_again_at_once(relay: FakeRelay) -> None:
    with subscribed(relay) as client:
        client.feed.subscribe({"kinds": [1]}, "feed")
        relay.accept()
        relay.expect_req()
        client.feed.unsubscribe("feed")
        client.feed.subscribe({"kinds": [7]}, "feed")
        assert relay.expect_close() == "feed"
        assert relay.expect_req().filters == [{"kinds": [7]}]
        relay.event("feed", kind=1, content="sent before the relay had read it")
        relay.event("feed", kind=7, content="+")
        relay.eose("feed")
        relay.event("feed", kind=1, content="sent after")
        assert client.expect("connect", "event").value.event.content == "+"
        client.expect("eose", "eose_all", "error")


def test_several_relays_and_the_end_of_all_stored_events() -> None:
    with FakeRelay() as one, FakeRelay() as other, FakeRelay() as down:
        down.stop_listening()
        with subscribed(one, other, down, reconnect=False) as client:
            client.feed.subscribe({"kinds": [1]}, "feed")
            for relay in (one, other):
                relay.accept()
                relay.expect_req()
            one.eose("feed")
            other.closed("feed", "error: no")
            names = [client.next().name for _ in range(7)]
            assert names[-1] == "eose_all"
            assert sorted(names[:-1]) == ["closed", "connect", "connect", "disconnect", "eose", "error"]


@pytest.mark.parametrize(("deduplicate", "times"), [(False, 2), (True, 1)])
def test_what_two_relays_send_is_delivered_once_if_that_is_wanted(deduplicate: bool, times: int) -> None:  # noqa: FBT001
    event = signed("shared")
    with MemoryRelay() as one, MemoryRelay() as other:
        one.store(other.store(event))
        one.store(signed("a"))
        other.store(signed("b"))
        with subscribed(one, other, options={"verify": True}, deduplicate=deduplicate) as client:
            client.feed.subscribe({}, "feed")
            client.feed.subscribe({"kinds": [1]}, "another")  # delivered for each subscription
            found = contents(client, 2 * (times + 2))
            assert found.count("shared") == 2 * times


def test_only_the_relays_that_are_named_are_asked() -> None:
    with FakeRelay() as one, FakeRelay() as other, subscribed(one, other) as client:
        client.feed.subscribe({}, "one", relays=[one.url])
        client.feed.subscribe({}, "all")
        other.accept()
        assert other.expect_req().subscription_id == "all"
        one.accept()
        assert one.expect_req().subscription_id == "one"


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ([], "filters are empty"),
        ("kinds", "not 'kinds'"),
        ({"kinds": 1}, "filter 'kinds'"),
        ({"#e": "x"}, "filter '#e'"),
        ({"since": -1}, "negative"),
        ({"kind": [1]}, "did you mean 'kinds'"),
        ({"authors": ["abcd"]}, "no longer match prefixes"),
        ([{}, None], "not None"),
    ],
)
def test_a_bad_filter_is_raised_in_the_caller(filters: Any, words: str) -> None:
    with subscribed() as client, pytest.raises((TypeError, ValueError), match=words):
        client.feed.subscribe(filters)


@pytest.mark.parametrize("deduplicate", [False, True])
def test_a_thousand_events_over_ten_restarts_come_once_each(deduplicate: bool) -> None:  # noqa: FBT001
    with MemoryRelay() as relay:
        options = {"verify": True}
        with subscribed(relay, options=options, deduplicate=deduplicate) as client:
            client.feed.subscribe({"kinds": [1]}, "feed")
            wanted = []
            start = now() - 1_000
            for number in range(1_000):
                if number % 100 == 50:
                    relay.stop()
                if number % 100 == 60:
                    relay.start()
                wanted.append(str(number))
                relay.store(signed(str(number), start + number))
            assert sorted(contents(client, 1_000), key=int) == wanted
            last = relay.store(signed("last"))
            assert contents(client, 1) == [last.content]


def test_what_a_relay_leaves_out_of_a_long_outage_is_asked_for_page_by_page() -> None:
    with MemoryRelay(max_limit=100) as relay, subscribed(relay, options={"verify": True}) as client:
        start = now() - 10_000
        relay.store(signed("first", start))
        client.feed.subscribe({"kinds": [1], "limit": 3}, "feed")
        until_all_stored_is_delivered(client)
        relay.stop()
        for number in range(450):
            relay.store(signed(str(number), start + number // 3))
        relay.start()
        found = contents(client, 450)
        assert sorted(found, key=int) == [str(number) for number in range(450)]
        client.expect("eose")
        relay.drop()
        client.expect("error", "disconnect", "connect", "eose")
        relay.store(signed("live"))
        assert contents(client, 1) == ["live"]


def test_a_drop_between_two_pages_begins_where_the_first_began(relay: FakeRelay) -> None:
    with subscribed(relay) as client:
        client.feed.subscribe({"kinds": [1]}, "feed")
        relay.accept()
        relay.expect_req()
        relay.event("feed", created_at=5_000)
        relay.eose("feed")
        client.expect("connect", "event", "eose", "eose_all")
        relay.drop()
        relay.accept()
        relay.expect_req()
        for number in range(100):
            relay.event("feed", created_at=8_000 + number)
        relay.eose("feed")
        send_nothing(relay)
        rest = relay.expect_req()
        assert rest.filters == [{"kinds": [1], "since": 4_940, "until": 8_000}]
        relay.event(rest.subscription_id, created_at=7_000, content="older")
        relay.event("feed", created_at=9_000, content="live")
        assert contents(client, 102)[-2:] == ["older", "live"]
        relay.drop()
        relay.accept()
        assert relay.expect_req() == ("feed", [{"kinds": [1], "since": 4_940}])
        relay.eose("feed")
        client.expect("error", "disconnect", "connect", "eose")


def test_a_relay_that_ends_a_subscription_between_its_pages_harms_nothing(relay: FakeRelay) -> None:
    with ManualClock() as clock, subscribed(relay) as client:
        client.feed.subscribe({"kinds": [1], "limit": 0}, "feed")
        relay.accept()
        relay.expect_req()
        relay.drop()
        clock.advance(1)
        relay.accept()
        relay.expect_req()
        for ending in ("rate-limited: slow down", "error: no"):
            for _ in range(20):
                relay.event("feed", created_at=now())
            relay.eose("feed")
            if ending.startswith("rate"):
                send_nothing(relay)
            rest = relay.expect_req().subscription_id
            relay.closed("feed", ending)
            assert relay.expect_close() == rest
            relay.event(rest, created_at=now(), content="late")
            relay.eose(rest)
            clock.advance(6)
            if ending.startswith("rate"):
                [filter_] = relay.expect_req().filters
                assert "limit" not in filter_
        seen = contents(client, 40)
        assert "late" not in seen
        while client.next().name != "closed":
            pass
        client.expect_nothing()
        relay.drop()


def test_unsubscribe_gives_up_the_pages_too(relay: FakeRelay) -> None:
    with subscribed(relay) as client:
        client.feed.subscribe({"kinds": [1], "limit": 0}, "feed")
        relay.accept()
        relay.expect_req()
        relay.drop()
        relay.accept()
        relay.expect_req()
        for _ in range(100):
            relay.event("feed", created_at=now())
        relay.eose("feed")
        send_nothing(relay)
        rest = relay.expect_req().subscription_id
        client.feed.unsubscribe("feed")
        assert {relay.expect_close(), relay.expect_close()} == {"feed", rest}


def test_an_eose_that_is_said_again_and_again_asks_for_nothing_more(relay: FakeRelay) -> None:
    with subscribed(relay) as client:
        client.feed.subscribe({"kinds": [1], "limit": 0}, "feed")
        relay.accept()
        relay.expect_req()
        relay.drop()
        relay.accept()
        relay.expect_req()
        for _ in range(100):
            relay.event("feed", created_at=now())
        for _ in range(3):
            relay.eose("feed")
        send_nothing(relay)
        rest = relay.expect_req().subscription_id
        relay.eose(rest)
        relay.eose(rest)
        relay.eose("feed")
        assert relay.expect_close() == rest
        relay.notice("that was all")
        contents(client, 100)
        client.expect("eose", "notice")


def test_a_callback_may_send_to_a_relay_that_has_gone(relay: FakeRelay) -> None:
    def answer(client: Any, relay_: Relay) -> None:
        relay.drop()
        until_gone(client, relay_)
        client.send_message(["CLOSE", "x"], relay_)

    def until_gone(client: Any, relay_: Relay) -> None:
        deadline = time.monotonic() + 5
        while relay_.url in client.list_relays():
            assert time.monotonic() < deadline

    with subscribed(relay, signer=KEY, closed=answer) as client:
        client.feed.subscribe({}, "feed")
        relay.accept()
        relay.expect_req()
        relay.closed("feed", "auth-required: no")
        relay.auth("prove it")
        relay.ok(relay.expect_auth().id, accepted=False, message="error: no")
        client.expect("connect", "auth", "error", "closed", "eose_all", "error", "disconnect")


def test_a_second_that_takes_up_a_whole_page_does_not_hide_what_is_before_it() -> None:
    with MemoryRelay(max_limit=100) as relay, subscribed(relay, options={"verify": True}) as client:
        start = now() - 10_000
        relay.store(signed("first", start))
        client.feed.subscribe({"kinds": [1]}, "feed")
        until_all_stored_is_delivered(client)
        relay.stop()
        for number in range(10):
            relay.store(signed(f"before {number}", start + 10))
        for number in range(150):
            relay.store(signed(f"crowd {number}", start + 20))
        relay.start()
        found = contents(client, 110)
        assert sum(content.startswith("before") for content in found) == 10


def test_what_another_relay_has_sent_does_not_end_the_pages_of_one() -> None:
    with MemoryRelay() as one, MemoryRelay(max_limit=100) as other:
        options = {"verify": True}
        with subscribed(one, other, options=options, deduplicate=True) as client:
            start = now() - 10_000
            one.store(other.store(signed("first", start)))
            client.feed.subscribe({"kinds": [1]}, "feed")
            until_all_stored_is_delivered(client)
            other.stop()
            for number in range(50):
                other.store(signed(f"only here {number}", start + number))
            for number in range(300):
                one.store(other.store(signed(f"on both {number}", start + 100 + number)))
            assert len(set(contents(client, 300))) == 300
            other.start()
            assert {content[:9] for content in contents(client, 50)} == {"only here"}


def test_a_subscription_that_begins_while_connected_is_asked_for_once(relay: FakeRelay) -> None:
    with subscribed(relay) as client:
        relay.accept()
        client.expect("connect")
        client.feed.subscribe({}, "feed")
        assert relay.expect_req().subscription_id == "feed"
        client.feed.send_message(["CLOSE", "the next message"], relay.url)
        assert relay.expect_close() == "the next message"


def test_a_relay_that_was_removed_and_is_added_again_goes_on_where_it_was(relay: FakeRelay) -> None:
    with subscribed(relay, reconnect=False) as client:
        client.feed.subscribe({"kinds": [1]}, "feed")
        for removed in (True, False):
            relay.accept()
            filters = relay.expect_req().filters
            if removed:
                old = relay.event("feed", created_at=5_000, content="old")
            relay.eose("feed")
            if removed:
                client.expect("connect", "event", "eose")
                client.feed.remove_relay(relay.url)
                while client.next().name != "disconnect":
                    pass
                client.feed.add_relay(relay.url, close_timeout=0.05)
        assert filters == [{"kinds": [1], "since": 4_940}]
        client.expect("connect", "eose")
        relay.event("feed", old)
        relay.event("feed", created_at=5_001, content="new")
        assert contents(client, 1) == ["new"]


def test_only_so_many_relays_that_are_gone_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_pool, "REMOVED", 2)
    with FakeRelay() as nobody:
        nobody.stop_listening()
        urls = [f"{nobody.url}{number}" for number in range(4)]
        with Recording(Subscriber, reconnect=False) as client:
            client.feed.subscribe({}, "feed")
            for url in urls:
                client.feed.add_relay(url)
                while client.next().name != "disconnect":
                    pass
            kept = client.feed.relay_pool.sessions
            client.feed.call("all that was delivered has been handled")
            assert len(kept) == 2
            client.feed.unsubscribe("feed")
            client.feed.add_relay(urls[0])
            while client.next().name != "disconnect":
                pass


def test_what_was_seen_is_bounded_and_the_latest_is_remembered() -> None:
    seen = SeenEvents()
    keys = [number.to_bytes(8, "big") for number in range(3 * SEEN)]
    for key in keys:
        seen.add(key, 7)
    assert all(seen.get(key) == 7 for key in keys[-SEEN:])
    assert len(seen) <= 2 * SEEN
    assert seen.get(keys[0]) is None
