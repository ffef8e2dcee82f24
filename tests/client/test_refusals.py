"""Relays and outboxes that refuse: what is too large for good blocks nothing, and no relay drives a loop."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gennostr import RequestTooLarge
from gennostr.nostr import Event, sign
from gennostr.testing import FakeRelay, ManualClock
from tests.client.test_authentication import KEY
from tests.client.test_subscriptions import dropping, send_nothing, subscribed


@pytest.fixture
def relay() -> Iterator[FakeRelay]:
    with FakeRelay() as fake:
        yield fake


def ids(number: int) -> list[str]:
    return [f"{each:064x}" for each in range(number)]


def size(label: str, id_: str, *filters: dict[str, Any]) -> int:
    return len(json.dumps([label, id_, *filters], separators=(",", ":")))


# What our own outbox can never hold.


def test_a_req_larger_than_the_outbox_is_refused_in_the_caller_and_blocks_nothing(relay: FakeRelay) -> None:
    with subscribed(relay, options={"max_queue_size": 5_000}) as client:
        large = {"ids": ids(100)}
        expected = (
            f"the REQ of subscription 'large' has {size('REQ', 'large', large)} bytes, more than the max_queue_size"
        )
        with pytest.raises(ValueError, match=expected) as caught:
            client.feed.subscribe(large, "large")
        assert str(caught.value).endswith(f"of {relay.url}: 5000")
        client.feed.subscribe({"ids": ids(50)}, "feed")
        relay.accept()
        assert relay.expect_req() == ("feed", [{"ids": ids(50)}])
        with pytest.raises(ValueError, match="large"):
            client.feed.subscribe(large, "large")
        client.feed.send_message(["CLOSE", "the next message"], relay.url)
        assert relay.expect_close() == "the next message"
        client.feed.unsubscribe("large")  # it never was
        client.feed.send_message(["CLOSE", "the last message"], relay.url)
        assert relay.expect_close() == "the last message"


def test_a_refused_req_leaves_the_one_with_its_id_as_it_was(relay: FakeRelay) -> None:
    with subscribed(relay, options={"max_queue_size": 5_000}) as client:
        client.feed.subscribe({"kinds": [1]}, "feed")
        relay.accept()
        relay.expect_req()
        with pytest.raises(ValueError, match="max_queue_size"):
            client.feed.subscribe({"ids": ids(100)}, "feed")
        relay.event("feed", content="still here")
        relay.drop()
        relay.accept()
        assert relay.expect_req().filters == [{"kinds": [1]}]
        assert client.expect("connect", "event").value.event.content == "still here"


def test_a_count_larger_than_the_outbox_is_refused_in_the_caller(relay: FakeRelay) -> None:
    with subscribed(relay, options={"max_queue_size": 5_000}) as client:
        with pytest.raises(ValueError, match=r"the COUNT has \d+ bytes, more than the max_queue_size of .*: 5000"):
            client.feed.count({"ids": ids(100)})
        counting = client.feed.count({"ids": ids(50)})
        relay.accept()
        relay.count(relay.expect_count().subscription_id, 3)
        assert counting.result(5).count == 3


def test_only_the_outboxes_of_the_relays_that_are_named_count(relay: FakeRelay) -> None:
    with FakeRelay() as small, subscribed(relay) as client:
        client.feed.add_relay(small.url, max_queue_size=5_000, close_timeout=0.05)
        small.accept()
        client.feed.subscribe({"ids": ids(100)}, "feed", relays=[relay.url])
        relay.accept()
        assert relay.expect_req().subscription_id == "feed"
        with pytest.raises(ValueError, match=f"max_queue_size of {small.url}"):
            client.feed.subscribe({"ids": ids(100)}, "all")


def test_in_a_callback_the_error_is_the_callers_too(relay: FakeRelay) -> None:
    def ask(client: Any, relay_: Any) -> None:
        with pytest.raises(ValueError, match="max_queue_size"):
            client.subscribe({"ids": ids(100)}, "large")
        client.subscribe({"kinds": [1]}, "feed")

    with subscribed(relay, options={"max_queue_size": 5_000}, connect=ask):
        relay.accept()
        assert relay.expect_req().subscription_id == "feed"


# What a relay does not take, which says so by the end of the connection.


def test_a_req_at_which_a_relay_closes_with_1009_is_divided(relay: FakeRelay) -> None:
    wanted = ids(200)  # 13 KB
    with subscribed(relay) as client:
        client.feed.subscribe({"ids": wanted}, "large")
        relay.accept()
        assert relay.expect_req().subscription_id == "large"
        relay.close(1009, "too big")
        relay.expect_close_frame()
        relay.disconnect()
        relay.accept()
        first = relay.expect_req()
        send_nothing(relay)
        parts = [first, relay.expect_req()]
        while sum(len(filter_["ids"]) for part in parts for filter_ in part.filters) < len(wanted):
            parts.append(relay.expect_req())
        assert sorted(id_ for part in parts for filter_ in part.filters for id_ in filter_["ids"]) == wanted
        client.feed.subscribe({"kinds": [1]}, "small")
        assert relay.expect_req().subscription_id == "small"
        client.expect("connect", "disconnect", "eose_all", "connect")
        for part in parts:
            relay.eose(part.subscription_id)
        relay.notice("one EOSE for all of them")
        assert client.expect("eose").value.subscription_id == "large"
        client.expect("notice")


def test_a_req_that_cannot_be_divided_is_set_aside_and_others_go_on(relay: FakeRelay) -> None:
    large = {"search": "x" * 5_000}
    with subscribed(relay) as client:
        client.feed.subscribe({"kinds": [1]}, "small")
        relay.accept()
        relay.expect_req()
        relay.eose("small")
        client.expect("connect", "eose", "eose_all")
        client.feed.subscribe(large, "large")
        send_nothing(relay)
        assert relay.expect_req().subscription_id == "large"
        relay.close(1009, "too big")
        relay.expect_close_frame()
        relay.disconnect()
        client.expect("disconnect")
        for _ in range(3):  # whatever happens next, it is not sent again
            relay.accept()
            assert relay.expect_req().subscription_id == "small"
            while client.next().name != "connect":
                pass
            client.feed.call("everything before this was handled")
            client.feed.send_message(["CLOSE", "the next message"], relay.url)
            assert relay.expect_close() == "the next message"
            relay.drop()


def test_what_was_set_aside_is_an_error_once_and_handle_eose_all_does_not_wait_for_it(relay: FakeRelay) -> None:
    with FakeRelay() as other, subscribed(relay, other) as client:
        relay.accept()
        other.accept()
        client.expect("connect", "connect")
        client.feed.subscribe({"search": "x" * 5_000}, "large")
        relay.expect_req()
        other.expect_req()
        relay.close(1009, "too big")
        relay.expect_close_frame()
        relay.disconnect()
        relay.accept()
        client.expect("disconnect", "connect")
        error = client.expect("error").value
        assert isinstance(error, RequestTooLarge)
        assert "'large'" in str(error)
        relay.drop()
        relay.accept()
        client.expect("error", "disconnect", "connect")
        other.eose("large")
        client.expect("eose", "eose_all")
        client.expect_nothing(0.05)


def test_an_event_at_which_a_relay_closes_with_1009_is_rejected_and_not_sent_again(relay: FakeRelay) -> None:
    with subscribed(relay) as client:
        large, small = (
            client.feed.publish(sign(KEY, created_at=1, kind=1, content=content)) for content in ("x" * 20_000, "small")
        )
        relay.accept()
        assert relay.expect_event() == large.event
        assert relay.expect_event() == small.event
        relay.close(1009, "too big")
        relay.expect_close_frame()
        relay.disconnect()
        outcome = large.result(5)[relay.url]
        assert outcome.kind == "rejected"
        assert "too large for the relay" in outcome.message
        relay.accept()
        assert relay.expect_event() == small.event
        relay.ok(small.event.id)
        assert small.result(5)[relay.url]
        client.expect("connect", "disconnect", "connect", "ok")


# Storms of challenges.


def refuse(relay: FakeRelay, answer: Event, challenge: str) -> None:
    relay.ok(answer.id, accepted=False, message="error: I do not believe you")
    relay.auth(challenge)


def accept(relay: FakeRelay, answer: Event, challenge: str) -> None:
    relay.ok(answer.id)
    relay.auth(challenge)


def challenge_first(relay: FakeRelay, answer: Event, challenge: str) -> None:
    relay.auth(challenge)
    relay.ok(answer.id)


def challenge_first_and_refuse(relay: FakeRelay, answer: Event, challenge: str) -> None:
    relay.auth(challenge)
    relay.ok(answer.id, accepted=False, message="error: too late")


def refuse_all(relay: FakeRelay, answer: Event, challenge: str) -> None:
    refuse(relay, answer, challenge)
    for id_ in ("feed", "other"):
        relay.closed(id_, "auth-required: who are you?")


def challenge_only(relay: FakeRelay, answer: Event, challenge: str) -> None:
    relay.auth(challenge)


@pytest.mark.parametrize(
    "answer", [refuse, accept, challenge_first, challenge_first_and_refuse, refuse_all, challenge_only]
)
def test_challenges_without_end_are_answered_a_few_times(
    relay: FakeRelay, answer: Callable[[FakeRelay, Event, str], None]
) -> None:
    with ManualClock() as clock, subscribed(relay, signer=KEY) as client, dropping(relay):
        client.feed.subscribe({"kinds": [1]}, "feed")
        relay.accept()
        relay.expect_req()
        relay.closed("feed", "auth-required: who are you?")
        relay.auth("challenge 0")
        sent: list[str] = []
        for step in range(200):  # two seconds
            clock.settle()
            client.feed.send_message(["CLOSE", f"step {step}"], relay.url)
            while (message := relay.receive())[1] != f"step {step}":
                sent.append(message[0])
                if message[0] == "AUTH":
                    answer(relay, Event(**message[1]), f"challenge {len(sent)}")
                elif message[0] == "REQ":
                    relay.closed(message[1], "auth-required: who are you?")
            clock.advance(0.01)
        assert 1 <= sent.count("AUTH") <= 5
        assert sent.count("REQ") <= 5
