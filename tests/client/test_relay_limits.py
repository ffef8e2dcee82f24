"""What a relay takes, as its document and its refusals show, and what a session makes of it. No sockets, no threads."""

import json

import pytest

from gennostr.client.relay_limits import SIZES, SMALLEST_SIZE, RelayLimits
from gennostr.client.relay_session import ENDLESS, LARGE
from gennostr.nostr.relay_information import Limitation, RelayInformation
from tests.client.session_driver import SessionDriver

AUTHORS = [f"{number:064x}" for number in range(1_000)]


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
    driver = SessionDriver()
    driver.subscribe("big", {"authors": AUTHORS})
    driver.inform()
    assert driver.labels() == ["REQ big"]
    driver.drop(1006)
    driver.connect()
    assert driver.labels() == ["REQ big"]
    driver.reconnect()
    reqs = driver.sent()
    assert len(reqs) > 1
    assert sorted(author for req in reqs for author in req[2]["authors"]) == AUTHORS
    assert all(len(json.dumps(req, separators=(",", ":"))) < 4 * LARGE for req in reqs)


@pytest.mark.parametrize("answered", [True, False])
def test_a_small_req_or_one_that_was_answered_is_not_taken_for_too_large(answered: bool) -> None:  # noqa: FBT001
    driver = SessionDriver()
    driver.subscribe("feed", {"authors": AUTHORS} if answered else {"kinds": [1]})
    driver.inform()
    for _ in range(4):
        if answered:
            driver.event(1_600_000_000)
        driver.drop(1006)
        driver.sent()
        driver.connect()
    assert len(driver.sent()) == 1


def test_a_relay_that_sends_an_event_now_and_then_and_never_eose_is_not_waited_for_for_ever() -> None:
    driver = SessionDriver()
    subscription = driver.subscribe("feed")
    began = driver.now.monotonic
    while not driver.through:
        assert not driver.session.is_complete(subscription)
        driver.sleep(9.0)
        driver.event(1_600_000_000)
        assert driver.now.monotonic < began + 2 * ENDLESS * 10
    assert driver.now.monotonic >= began + ENDLESS * 10
    assert driver.session.is_complete(subscription)
    assert any("'feed'" in line for line in driver.warnings())
