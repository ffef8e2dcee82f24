"""One budget of REQs for each relay: no more at once than it allows, and none for a while when it asks for that."""

from typing import Any

import pytest

from gennostr.client import information_fetch
from gennostr.testing import FakeRelay, ManualClock, MemoryRelay
from tests.client.test_subscriptions import subscribed


def ids(client: Any, number: int) -> set[str]:
    """The subscriptions of the next EOSEs."""
    found: set[str] = set()
    while len(found) < number:
        callback = client.next()
        assert callback.name != "closed", callback
        if callback.name == "eose":
            found.add(callback.value.subscription_id)
    return found


def test_no_more_reqs_are_open_than_the_relay_says_it_allows() -> None:
    information = {"limitation": {"max_subscriptions": 2}}
    with MemoryRelay(information=information, max_subscriptions=2) as relay, subscribed(relay) as client:
        names = [client.feed.subscribe({"kinds": [1]}, f"feed-{number}") for number in range(5)]
        begun = ids(client, 2)
        for _ in range(3):
            done = begun.pop()
            client.feed.unsubscribe(done)
            names.remove(done)
            begun |= ids(client, 1)
        assert begun == set(names)
        relay.drop()
        assert ids(client, 2) == begun


def test_where_no_req_is_left_for_the_rest_of_an_outage_it_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    information = {"limitation": {"max_subscriptions": 1}}
    with MemoryRelay(information=information, max_limit=100) as relay, subscribed(relay) as client:
        relay.store(created_at=1_000)
        client.feed.subscribe({"kinds": [1]}, "feed")
        client.expect("connect", "event", "eose", "eose_all")
        relay.stop()
        for number in range(150):
            relay.store(created_at=2_000 + number)
        relay.start()
        assert ids(client, 1) == {"feed"}
        assert "allows no further REQ: stored events of the time before the reconnect may be missing" in caplog.text
        relay.store(created_at=3_000, content="live")
        assert client.expect("event").value.event.content == "live"


def test_a_relay_that_states_no_limit_has_no_limit() -> None:
    with FakeRelay() as relay, subscribed(relay) as client:
        for number in range(3):
            client.feed.subscribe({}, f"feed-{number}")
        relay.accept()
        assert relay.expect_req().subscription_id == "feed-0"
        asking = relay.accept_raw()
        asking.read_request()
        assert asking.asks_for_information
        assert "\r\n" in asking.request
        asking.refuse(404)
        socket_of_the_relay = relay.connections[0]
        assert [socket_of_the_relay.expect_req().subscription_id for _ in range(2)] == ["feed-1", "feed-2"]


def test_nobody_waits_for_ever_for_a_relay_that_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(information_fetch, "TIMEOUT", 0.2)
    with FakeRelay() as relay, subscribed(relay) as client:
        client.feed.subscribe({}, "one")
        client.feed.subscribe({}, "other")
        relay.accept()
        relay.expect_req()
        assert relay.expect_req(timeout=10).subscription_id == "other"
        relay.drop()
        relay.accept()  # the request for information, which was given up, does not count
        assert {relay.expect_req().subscription_id, relay.expect_req(timeout=10).subscription_id} == {"one", "other"}


@pytest.mark.parametrize("old_style", [False, True])
def test_a_relay_that_limits_the_rate_gets_no_req_for_a_while(old_style: bool) -> None:  # noqa: FBT001
    with ManualClock() as clock, FakeRelay() as relay, subscribed(relay) as client:
        client.feed.subscribe({}, "feed")
        relay.accept()
        relay.expect_req()
        for seconds in (5, 10, 20):
            if old_style:
                relay.notice("rate-limited")
            else:
                relay.closed("feed", "rate-limited: slow down")
            clock.advance(seconds - 0.1)
            client.feed.send_message(["CLOSE", "nothing came before this"], relay.url)
            assert relay.expect_close() == "nothing came before this"
            clock.advance(0.2)
            assert relay.expect_req().subscription_id == "feed"
        relay.eose("feed")
        relay.closed("feed", "rate-limited: slow down")
        clock.advance(5.1)
        relay.expect_req()
        relay.drop()  # time stands still: a close frame would be waited for
