"""What a relay takes, as its document and its refusals show, and what a session makes of it. No sockets, no threads."""

import json
from typing import Any

import pytest

from gennostr import Relay
from gennostr.client.effects import CheckComplete, Log, Send, SetDeadline
from gennostr.client.relay_limits import SIZES, SMALLEST_SIZE, RelayLimits
from gennostr.client.relay_session import ENDLESS, LARGE, RelaySession
from gennostr.client.subscriptions import Instant, Subscription
from gennostr.nostr.relay_information import Limitation, RelayInformation

AUTHORS = [f"{number:064x}" for number in range(1_000)]
RELAY = Relay.new("ws://relay.example")


def at(seconds: float) -> Instant:
    return Instant(seconds, 1_700_000_000 + seconds)


def sent(effects: list[Any]) -> list[list[Any]]:
    return [json.loads(each.payload) for each in effects if isinstance(each, Send)]


def test_what_was_too_large_is_tried_with_the_next_limit_that_relays_have() -> None:
    limits = RelayLimits()
    limits.connected(1_000_000, 0)
    assert limits.size == 1_000_000
    seen = []
    size = 900_000
    while limits.learn_size(size):
        assert limits.size is not None
        seen.append(size := limits.size)
    assert seen == [each for each in SIZES if each < 900_000]
    assert limits.size == SMALLEST_SIZE


def test_the_lowest_limit_counts_and_a_document_that_says_too_little_is_not_believed() -> None:
    limits = RelayLimits()
    limits.connected(1_000_000, 0)
    limits.inform(RelayInformation(limitation=Limitation(max_message_length=16, max_subscriptions=9)))
    assert (limits.size, limits.subscriptions) == (SMALLEST_SIZE, 9)
    assert limits.learn_subscriptions(3)
    assert not limits.learn_subscriptions(4)
    assert limits.subscriptions == 3
    assert limits.learn_limit(500)
    assert not limits.learn_limit(500)
    assert not limits.learn_limit(0)
    assert not limits.learn_limit(None)
    assert limits.max_limit == 500


def test_a_relay_without_a_document_is_asked_again_on_a_later_connection() -> None:
    limits = RelayLimits()
    limits.connected(1_000, 0)
    assert limits.ask(0)
    assert not limits.ask(1)
    limits.inform(None)
    limits.connected(1_000, 300)
    assert not limits.ask(300)
    limits.connected(1_000, 301)
    assert limits.ask(301)


def test_a_large_req_that_was_the_end_of_two_connections_without_a_word_is_sent_in_parts() -> None:
    session = RelaySession(RELAY.url)
    session.subscribe(Subscription("big", [{"authors": AUTHORS}], None), at(0))
    session.connected(RELAY, at(0))
    assert [each[1] for each in sent(session.informed(None, at(0)))] == ["big"]
    session.disconnected(1006)
    assert [each[1] for each in sent(session.connected(RELAY, at(1)))] == ["big"]
    session.disconnected()
    reqs = sent(session.connected(RELAY, at(2)))
    assert len(reqs) > 1
    assert sorted(author for req in reqs for author in req[2]["authors"]) == AUTHORS
    assert all(len(json.dumps(req, separators=(",", ":"))) < 4 * LARGE for req in reqs)


@pytest.mark.parametrize("answered", [True, False])
def test_a_small_req_or_one_that_was_answered_is_not_taken_for_too_large(answered: bool) -> None:  # noqa: FBT001
    session = RelaySession(RELAY.url)
    filters = [{"authors": AUTHORS}] if answered else [{"kinds": [1]}]
    session.subscribe(Subscription("feed", filters, None), at(0))
    for number in range(4):
        session.connected(RELAY, at(number))
        session.informed(None, at(number))
        if answered:
            session.subscriptions["feed"].note(1_600_000_000, number, 1_700_000_000)
        session.disconnected(1006)
    assert len(sent(session.connected(RELAY, at(9)))) == 1


def test_a_relay_that_sends_an_event_now_and_then_and_never_eose_is_not_waited_for_for_ever() -> None:
    session = RelaySession(RELAY.url)
    subscription = Subscription("feed", [{"kinds": [1]}], None)
    session.subscribe(subscription, at(0))
    effects = session.connected(RELAY, at(0))
    now = 0.0
    while not any(isinstance(each, CheckComplete) for each in effects):
        assert not session.is_complete(subscription)
        (deadline,) = [each for each in effects if isinstance(each, SetDeadline)]
        now += deadline.seconds
        session.subscriptions["feed"].note(1_600_000_000, now - 1, 1_700_000_000)
        assert now < 2 * ENDLESS * 10
        effects = session.deadline_expired("silence", at(now))
    assert now >= ENDLESS * 10
    assert session.is_complete(subscription)
    assert any(isinstance(each, Log) and "'feed'" in each.text for each in effects)
