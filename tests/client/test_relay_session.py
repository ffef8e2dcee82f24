"""What a relay session does, as a specification: messages, commands and time go in, effects come out.

There is no socket, thread or clock here. How relays word their refusals is in test_dialect_table.py, authentication in
test_session_authentication.py.
"""

from typing import Any

import pytest

from gennostr.client.attempt import PublishOutcome
from gennostr.client.attempt_queue import FIRST_IN_FLIGHT, MAX_IN_FLIGHT
from gennostr.client.effects import CheckComplete, Deliver, Settle
from gennostr.client.relay_limits import FETCH_AGAIN, FULL_ANSWER, SMALLEST_SIZE
from gennostr.client.relay_session import (
    COOL_DOWN,
    ENDLESS,
    FORGOTTEN,
    FULL_OUTBOX,
    LARGE,
    MAX_PARTS,
    TOO_BIG,
)
from gennostr.client.subscriptions import LENIENCE, OVERLAP, Backfill, Subscription
from gennostr.exceptions import RequestTooLarge
from gennostr.nostr.messages import ClosedMessage, EoseMessage, NoticeMessage, OkMessage, UnknownMessage
from tests.client.session_driver import START, URL, SessionDriver

T = 10.0
"""The default of eose_timeout."""
TOO_MANY = "error: too many concurrent REQs"


def ids(count: int, digit: str = "a") -> list[str]:
    """Return so many ids of 64 digits: 67 bytes each in a list."""
    return [f"{number:063d}{digit}" for number in range(count)]


def open_reqs(*names: str, **options: Any) -> SessionDriver:
    """Return a session at a relay without limits, with an open REQ of each of these names."""
    driver = SessionDriver(**options)
    driver.inform()
    for name in names:
        driver.subscribe(name)
    assert driver.labels() == [f"REQ {name}" for name in names]
    return driver


# The order of REQs, and the document that a second one needs.


def test_a_req_is_sent_at_once_and_the_second_after_the_document() -> None:
    driver = SessionDriver()
    driver.subscribe("a", {"kinds": [1]}, {"kinds": [2], "limit": 5})
    assert driver.sent() == [["REQ", "a", {"kinds": [1]}, {"kinds": [2], "limit": 5}]]
    assert driver.documents_requested == 0
    driver.subscribe("b")
    driver.subscribe("c")
    assert driver.sent() == []
    assert driver.documents_requested == 1
    driver.inform()
    assert driver.labels() == ["REQ b", "REQ c"]


def test_reqs_go_out_in_the_order_of_subscribing_once_connected() -> None:
    driver = SessionDriver(up=False)
    for name in "cab":
        driver.subscribe(name)
    assert driver.effects == []
    driver.connect()
    assert driver.labels() == ["REQ c"]
    driver.inform()
    assert driver.labels() == ["REQ a", "REQ b"]


def test_a_second_req_goes_without_the_document_when_none_is_open() -> None:
    driver = SessionDriver()
    driver.subscribe("a")
    driver.unsubscribe("a")
    driver.subscribe("b")
    assert driver.labels() == ["REQ a", "CLOSE a", "REQ b"]
    assert driver.documents_requested == 0


def test_the_document_is_requested_once_whatever_connections_do() -> None:
    driver = SessionDriver()
    driver.subscribe("a")
    driver.subscribe("b")
    driver.reconnect()
    driver.subscribe("c")
    driver.inform(max_subscriptions=9)
    driver.sleep(2 * FETCH_AGAIN)
    driver.reconnect()
    assert driver.documents_requested == 1


@pytest.mark.parametrize(("passed", "requested"), [(FETCH_AGAIN, 1), (FETCH_AGAIN + 1, 2)])
def test_a_relay_that_had_no_document_is_asked_for_it_again_on_a_later_connection(
    passed: float, requested: int
) -> None:
    driver = SessionDriver()
    driver.subscribe("a")
    driver.subscribe("b")
    driver.inform()
    driver.sleep(passed)
    driver.reconnect()
    assert driver.documents_requested == requested
    driver.sent()
    driver.inform(max_subscriptions=9)
    assert driver.labels() == ["REQ b"] * (requested - 1)


def test_no_more_reqs_are_open_than_the_document_allows() -> None:
    driver = SessionDriver()
    for name in "abcd":
        driver.subscribe(name)
    driver.inform(max_subscriptions=2)
    assert driver.labels() == ["REQ a", "REQ b"]
    assert len(driver.warnings()) == 1
    driver.eose("a")  # its REQ stays open
    assert driver.labels() == []
    driver.unsubscribe("a")
    assert driver.labels() == ["CLOSE a", "REQ c"]
    driver.closed("b", "error: shutting down")
    assert driver.labels() == ["REQ d"]


def test_a_budget_that_is_not_exceeded_is_not_logged() -> None:
    driver = SessionDriver()
    driver.subscribe("a")
    driver.subscribe("b")
    driver.inform(max_subscriptions=2)
    assert driver.labels() == ["REQ a", "REQ b"]
    assert driver.warnings() == []


def test_unsubscribing_what_waits_in_line_sends_nothing() -> None:
    driver = SessionDriver()
    driver.subscribe("a")
    driver.subscribe("b")
    driver.unsubscribe("b")
    driver.unsubscribe("nonesuch")
    driver.inform()
    assert driver.labels() == ["REQ a"]


def test_an_id_in_use_gets_the_new_filters_without_a_close() -> None:
    driver = open_reqs("feed")
    driver.subscribe("feed", {"kinds": [7]})
    assert driver.sent() == [["REQ", "feed", {"kinds": [7]}]]
    driver.unsubscribe("feed")
    assert driver.labels() == ["CLOSE feed"]


def test_what_a_subscription_has_replaced_is_known_until_the_first_eose() -> None:
    driver = SessionDriver()
    old = driver.subscribe("feed", {"kinds": [1]})
    driver.subscribe("feed", {"kinds": [7]})
    request = driver.session.subscriptions["feed"]
    assert request.before is old
    assert not driver.session.forgets("feed")
    driver.eose()
    assert request.before is None


def test_an_id_that_was_unsubscribed_is_known_as_the_one_before_too() -> None:
    driver = SessionDriver()
    old = driver.subscribe("feed", {"kinds": [1]})
    driver.unsubscribe("feed")
    assert driver.session.forgets("feed")
    driver.subscribe("feed", {"kinds": [7]})
    assert driver.session.subscriptions["feed"].before is old
    assert not driver.session.forgets("feed")
    driver.closed()
    assert driver.session.subscriptions["feed"].before is None


def test_the_last_messages_of_a_closed_subscription_are_not_delivered() -> None:
    driver = open_reqs("feed")
    driver.unsubscribe("feed")
    driver.eose("feed")
    driver.closed("feed", "error: x")
    assert driver.called() == []
    driver.reconnect()
    assert not driver.session.forgets("feed")


def test_only_so_many_closed_subscriptions_are_remembered() -> None:
    driver = SessionDriver()
    for number in range(FORGOTTEN + 1):
        driver.subscribe(f"s{number}")
        driver.unsubscribe(f"s{number}")
    assert [driver.session.forgets(f"s{number}") for number in (0, 1, FORGOTTEN)] == [False, True, True]


def test_messages_for_ids_that_the_session_does_not_know_are_delivered() -> None:
    driver = SessionDriver()
    driver.eose("mine")
    driver.closed("mine", "x")
    driver.accept("event")
    driver.counted("mine")
    driver.notice("hello")
    driver.challenge("c")
    driver.receive(UnknownMessage("NEG-MSG", ("x",)))
    names = ["handle_eose", "handle_closed", "handle_ok", "handle_count", "handle_notice", "handle_auth"]
    names.append("handle_unknown")
    assert [name for name, _ in driver.called()] == names
    assert driver.sent() == []


# Refusals: one too many, too fast, for good.


def test_one_too_many_waits_until_another_is_closed_and_the_limit_is_remembered() -> None:
    driver = open_reqs("a", "b", "c")
    driver.closed("c", TOO_MANY)
    assert driver.called() == []
    assert driver.labels() == []
    assert "allows 2 subscriptions at once: 'c' waits" in driver.warnings()[0]
    driver.subscribe("d")
    driver.eose("a")
    driver.sleep(3)
    assert driver.labels() == []
    driver.unsubscribe("a")
    assert driver.labels() == ["CLOSE a", "REQ c"]
    driver.reconnect()
    assert driver.labels() == ["REQ b", "REQ c"]
    driver.unsubscribe("b")
    assert driver.labels() == ["CLOSE b", "REQ d"]


def test_of_two_limits_that_refusals_have_shown_the_lower_counts() -> None:
    driver = open_reqs("a", "b", "c", "d")
    driver.closed("d", TOO_MANY)
    driver.closed("c", TOO_MANY)
    driver.inform(max_subscriptions=3)
    assert driver.labels() == []
    driver.unsubscribe("a")
    assert driver.labels() == ["CLOSE a", "REQ d"]
    assert len([line for line in driver.warnings() if "allows" in line and "waits" in line]) == 2


def test_a_limit_that_is_known_is_not_logged_again() -> None:
    driver = open_reqs("a", "b")
    driver.closed("b", TOO_MANY)
    driver.unsubscribe("a")
    driver.subscribe("c")
    driver.warnings()
    driver.closed("b", TOO_MANY)  # none is open: it cannot be a limit of that kind
    assert [line for line in driver.warnings() if "allows" in line] == []


def test_the_only_req_that_is_one_too_many_is_sent_again_after_a_while() -> None:
    driver = open_reqs("a")
    driver.closed("a", TOO_MANY)
    driver.sleep(COOL_DOWN[0] - 0.001)
    assert driver.labels() == []
    driver.sleep(0.001)
    assert driver.labels() == ["REQ a"]
    driver.subscribe("b")  # and there is no limit of 0
    assert driver.labels() == ["REQ b"]


def test_an_eose_of_what_was_put_back_in_line_opens_it() -> None:
    driver = open_reqs("a", "b")
    driver.notice(TOO_MANY)  # the last is meant, it seems
    assert driver.called("handle_notice") == [NoticeMessage(TOO_MANY)]
    driver.eose("b")
    assert driver.called("handle_eose") == [EoseMessage("b")]
    driver.unsubscribe("b")
    assert driver.labels() == ["CLOSE b"]


def test_an_eose_of_the_req_that_was_replaced_is_not_taken_for_the_new_ones() -> None:
    driver = open_reqs("a", "feed", "c")
    driver.closed("c", "rate-limited: slow down")
    driver.subscribe("feed", {"kinds": [7]})
    driver.eose("feed")
    assert driver.called("handle_eose") == []
    driver.sleep(COOL_DOWN[0])
    assert driver.labels() == ["CLOSE feed", "REQ feed", "REQ c"]  # closed at once: it must not stay open


def test_too_fast_stops_all_reqs_for_a_time_that_doubles() -> None:
    driver = open_reqs("a", "b", eose_timeout=None)
    driver.eose("b")
    delay, most = COOL_DOWN
    for seconds in [delay, 2 * delay, 4 * delay, 8 * delay, 16 * delay, 32 * delay, most, most]:
        driver.closed("a", "rate-limited: slow down")
        driver.closed("a", "rate-limited: slow down")  # said twice, it counts once
        assert driver.deadlines == {"cool-down": driver.now.monotonic + seconds}
        driver.sleep(seconds - 0.001)
        assert driver.labels() == []
        driver.sleep(0.001)
        assert driver.labels() == ["REQ a"]
    assert driver.called("handle_closed") == []


def test_several_reqs_that_are_too_fast_at_once_count_once() -> None:
    driver = open_reqs("a", "b", "c")
    driver.closed("a", "rate-limited: slow down")
    driver.sleep(1)
    driver.closed("b", "rate-limited: slow down")
    driver.notice("rate-limited")
    assert driver.deadlines["cool-down"] == driver.now.monotonic + COOL_DOWN[0] - 1
    driver.sleep(COOL_DOWN[0] - 1)
    assert driver.labels() == ["REQ a", "REQ b", "REQ c"]


def test_after_an_eose_the_time_begins_anew() -> None:
    driver = open_reqs("a", eose_timeout=None)
    for _ in range(3):
        driver.closed("a", "rate-limited: slow down")
        driver.sleep(COOL_DOWN[1])
    driver.eose("a")
    driver.closed("a", "rate-limited: slow down")
    assert driver.deadlines == {"cool-down": driver.now.monotonic + COOL_DOWN[0]}


def test_new_reqs_wait_too_while_the_relay_is_too_slow_and_events_do_not() -> None:
    driver = open_reqs("a")
    driver.closed("a", "rate-limited: slow down")
    driver.subscribe("b")
    driver.publish("e1")
    driver.unsubscribe("b")
    driver.subscribe("c")
    assert driver.labels() == ["EVENT e1"]
    driver.reconnect()
    assert driver.labels() == ["EVENT e1"]
    driver.sleep(COOL_DOWN[0])
    assert driver.labels() == ["REQ a", "REQ c"]


def test_a_notice_of_too_much_haste_can_mean_each_req_without_an_answer() -> None:
    driver = open_reqs("a", "b", "c")
    driver.eose("b")
    driver.notice("rate-limited")
    driver.sleep(COOL_DOWN[0])
    assert driver.labels() == ["REQ a", "REQ c"]
    driver.eose("a")
    driver.eose("c")
    driver.subscribe("d")
    driver.closed("a", "rate-limited: slow down")
    driver.sleep(COOL_DOWN[0])  # this time a CLOSED said which one was meant
    assert driver.labels() == ["REQ d", "REQ a"]


@pytest.mark.parametrize("text", ["", "bye", "error: x", "blocked: no", "invalid: no", "restricted: no"])
def test_a_final_refusal_is_delivered_and_ends_the_wait(text: str) -> None:
    driver = open_reqs("a")
    driver.closed("a", text)
    assert driver.called() == [("handle_closed", ClosedMessage("a", text))]
    assert driver.through == ["a"]
    driver.closed("a", text)
    driver.eose("a")
    driver.sleep(1000)
    driver.subscribe("b")
    assert driver.labels() == ["REQ b"]
    assert driver.called() == []
    driver.reconnect()
    assert driver.labels() == ["REQ a", "REQ b"]


def test_a_req_whose_id_is_in_use_is_closed_and_sent_again_once() -> None:
    driver = open_reqs("a")
    text = "duplicate: a already opened"
    driver.closed("a", text)
    assert driver.labels() == ["CLOSE a", "REQ a"]
    assert driver.called() == []
    driver.closed("a", text)
    assert driver.labels() == []
    assert driver.called() == [("handle_closed", ClosedMessage("a", text))]


def test_a_limit_that_is_too_high_is_lowered_for_all_and_on_each_connection() -> None:
    driver = SessionDriver()
    driver.subscribe("a", {"kinds": [1], "limit": 5000}, {"kinds": [2], "limit": 10}, {"kinds": [3]})
    driver.sent()
    driver.closed("a", "blocked: limit too high: 5000 (max 500)")
    lowered = ["REQ", "a", {"kinds": [1], "limit": 500}, {"kinds": [2], "limit": 10}, {"kinds": [3]}]
    assert driver.sent() == [lowered]
    driver.closed("a", "blocked: limit too high: 500 (max 500)")  # which it had
    assert driver.called("handle_closed") == [ClosedMessage("a", "blocked: limit too high: 500 (max 500)")]
    driver.reconnect()
    assert driver.sent() == [lowered]
    driver.closed("a", "blocked: limit too high: 500 (max 100)")
    assert driver.sent()[0][2]["limit"] == 100


def test_a_limit_that_is_lower_by_one_each_time_is_not_tried_for_ever() -> None:
    driver = open_reqs()
    driver.subscribe("a", {"kinds": [1], "limit": 5000})
    for most in range(4999, 4900, -1):
        driver.closed("a", f"blocked: limit too high (max {most})")
    assert len(driver.sent()) == 2
    assert len(driver.called("handle_closed")) == 1


@pytest.mark.parametrize(
    "text",
    [
        "auth-required: x",
        "restricted: x",
        "rate-limited: x",
        "error: too many concurrent REQs",
        "error: too many filters",
        "error: message too large",
        "blocked: limit too high (max {number})",
        "duplicate: feed already opened",
        "",
    ],
)
@pytest.mark.parametrize("by_notice", [False, True])
def test_a_relay_that_refuses_everything_gets_little(text: str, by_notice: bool) -> None:  # noqa: FBT001
    driver = SessionDriver(signers=1)
    driver.inform()
    filters = [{"kinds": [number], "limit": 5000} for number in range(5)]
    for id_ in ("feed", "more"):
        driver.subscribe(id_, *filters)
    sent = challenges = 0
    for number in range(999_999_999, 999_999_999 - 200, -1):  # 200 s
        for message in driver.sent():
            sent += 1
            if message[0] == "REQ":
                refusal = text.format(number=number)
                if by_notice:
                    driver.notice(refusal)
                else:
                    driver.closed(message[1], refusal)
        if len(driver.signs) > challenges:
            challenges = len(driver.signs)
            driver.sign(f"auth{challenges}")
            driver.accept(f"auth{challenges}")
        driver.challenge(f"c{number}")
        driver.sleep(1)
    assert sent <= 40


# The end of stored events, and what a relay leaves out.


def test_an_eose_is_delivered_before_what_may_follow_and_counts_once() -> None:
    driver = open_reqs("a")
    subscription = driver.session.subscriptions["a"].subscription
    assert not driver.session.is_complete(subscription)
    driver.effects.clear()
    driver.eose("a", ["finish"])
    assert driver.effects == [Deliver("handle_eose", EoseMessage("a", ["finish"])), CheckComplete(subscription)]
    assert driver.session.is_complete(subscription)
    driver.effects.clear()
    driver.eose("a")
    assert driver.effects == []


def test_a_subscription_that_the_session_does_not_have_is_not_complete() -> None:
    assert not SessionDriver().session.is_complete(Subscription("x", [{}], None))


def resumed(**options: Any) -> SessionDriver:
    """Return a session whose REQ was sent again after a drop, from a minute before START."""
    driver = SessionDriver(**options)
    driver.subscribe()
    driver.event(START)
    driver.eose()
    driver.drop()
    driver.sleep(1000)
    driver.connect()
    assert driver.sent()[1:] == [["REQ", "feed", {"kinds": [1], "since": START - OVERLAP}]]
    driver.inform(max_subscriptions=9)
    driver.called()
    driver.through.clear()
    return driver


def page(driver: SessionDriver) -> tuple[str, dict[str, Any]]:
    """Return the id and the filter of the page that was just requested."""
    [[label, id_, filter_]] = driver.sent()
    assert label == "REQ"
    assert id_.startswith("rest-")
    return id_, filter_


def test_a_full_answer_after_a_reconnect_is_completed_page_by_page() -> None:
    driver = resumed()
    driver.events(START + 500, FULL_ANSWER)
    driver.eose()
    id_, filter_ = page(driver)
    assert filter_ == {"kinds": [1], "since": START - OVERLAP, "until": START + 500 - FULL_ANSWER + 1}
    rest = driver.session.subscriptions[id_]
    assert rest.subscription.id == "feed"
    assert rest.token == driver.session.subscriptions["feed"].token  # seen events are seen
    assert driver.called() == []
    driver.events(START + 481, FULL_ANSWER, id_)
    driver.eose(id_)
    assert page(driver) == (id_, {"kinds": [1], "since": START - OVERLAP, "until": START + 462})
    driver.events(START + 462, FULL_ANSWER - 1, id_)
    assert driver.through == []
    driver.eose(id_)  # not a full one: the last
    assert driver.labels() == [f"CLOSE {id_}"]
    assert driver.called() == [("handle_eose", EoseMessage("feed"))]
    assert driver.through == ["feed"]
    driver.eose(id_)
    driver.closed(id_)
    assert driver.called() == []
    driver.reconnect()
    assert driver.sent() == [["REQ", "feed", {"kinds": [1], "since": START + 500 - OVERLAP}]]


def test_the_eose_that_was_held_back_is_delivered_before_handle_eose_all() -> None:
    driver = resumed()
    driver.events(START + 500, FULL_ANSWER)
    driver.eose()
    id_, _ = page(driver)
    driver.effects.clear()
    driver.eose(id_)
    kinds = [type(effect) for effect in driver.effects]
    assert kinds.index(Deliver) < kinds.index(CheckComplete)


@pytest.mark.parametrize(
    ("stored", "limits", "paged"),
    [
        (FULL_ANSWER - 1, {}, False),
        (FULL_ANSWER, {}, True),
        (5, {"max_limit": 5}, True),
        (4, {"max_limit": 5}, False),
        (7, {"max_limit": 500, "default_limit": 7}, True),
        (6, {"max_limit": 500, "default_limit": 7}, False),
        (FULL_ANSWER, {"max_limit": 500, "default_limit": 100}, True),  # it may have meant less
    ],
)
def test_how_many_events_are_a_full_answer(stored: int, limits: dict[str, int], paged: bool) -> None:  # noqa: FBT001
    driver = resumed()
    if limits:
        driver.inform(**limits)
    driver.events(START + 500, stored)
    driver.eose()
    assert bool(driver.sent()) is paged
    assert bool(driver.called("handle_eose")) is not paged


@pytest.mark.parametrize("hints", ["finish", ["finish"], ["x", "finish"]])
def test_a_relay_that_says_it_has_finished_is_not_asked_for_a_page(hints: object) -> None:
    driver = resumed()
    driver.events(START + 500, 3 * FULL_ANSWER)
    driver.eose("feed", hints)
    assert driver.sent() == []
    assert driver.called("handle_eose") == [EoseMessage("feed", hints)]


@pytest.mark.parametrize("hints", ["more", ["more"], ["finish", "more"]])
def test_a_relay_that_says_it_has_more_is_asked_for_pages_until_it_says_otherwise(hints: object) -> None:
    driver = resumed()
    driver.events(START + 500, 2)
    driver.eose("feed", hints)
    id_, filter_ = page(driver)
    assert filter_["until"] == START + 499
    driver.events(START + 499, 2, id_)
    driver.eose(id_, hints)
    assert page(driver)[1]["until"] == START + 498
    driver.events(START + 498, 3 * FULL_ANSWER, id_)
    driver.eose(id_, "finish")
    assert driver.labels() == [f"CLOSE {id_}"]


@pytest.mark.parametrize("hints", [None, 3, "x", [], {"more": True}, [["more"]], ["x"]])
def test_unknown_hints_say_nothing(hints: object) -> None:
    for stored in (FULL_ANSWER - 1, FULL_ANSWER):
        driver = resumed()
        driver.events(START + 500, stored)
        driver.eose("feed", hints)
        assert len(driver.sent()) == (stored == FULL_ANSWER)


def test_more_of_nothing_is_not_asked_for() -> None:
    driver = resumed()
    driver.eose("feed", "more")
    assert driver.sent() == []
    assert driver.called("handle_eose") == [EoseMessage("feed", "more")]


def test_the_first_answer_of_a_subscription_is_not_completed() -> None:
    driver = SessionDriver()
    driver.subscribe()
    driver.events(START, 500)
    driver.eose("feed", "more")  # a limit of its own, or the relay's: this is what was asked for
    assert driver.labels() == ["REQ feed"]
    assert driver.called("handle_eose") == [EoseMessage("feed", "more")]


def test_a_page_that_is_not_older_than_the_last_is_the_last() -> None:
    driver = resumed()
    driver.events(START + 500, FULL_ANSWER)
    driver.eose()
    id_, filter_ = page(driver)
    driver.events(filter_["until"] + FULL_ANSWER, FULL_ANSWER, id_)  # the relay ignores until
    driver.eose(id_, "more")
    assert driver.labels() == [f"CLOSE {id_}"]
    assert driver.called("handle_eose") == [EoseMessage("feed")]


def test_a_second_that_takes_up_a_whole_page_does_not_hide_what_is_before_it() -> None:
    driver = resumed()
    for _ in range(FULL_ANSWER):
        driver.event(START + 500)
    driver.eose()
    id_, filter_ = page(driver)
    assert filter_["until"] == START + 500
    for _ in range(FULL_ANSWER):
        driver.event(START + 500, id_)
    driver.eose(id_)
    assert page(driver)[1]["until"] == START + 499


def test_there_is_no_page_before_1970() -> None:
    driver = resumed()
    driver.event(1)
    driver.eose("feed", "more")
    id_, filter_ = page(driver)
    assert filter_["until"] == 1
    driver.event(0, id_)
    driver.eose(id_, "more")
    assert page(driver)[1]["until"] == 0
    driver.event(0, id_)
    driver.eose(id_, "more")
    assert driver.labels() == [f"CLOSE {id_}"]


def test_a_page_keeps_an_until_of_the_filters() -> None:
    driver = SessionDriver()
    driver.subscribe("feed", {"kinds": [1], "until": START + 100}, {"kinds": [2], "limit": 3})
    driver.eose()
    driver.sleep(500)
    driver.reconnect()
    driver.sent()
    driver.inform()
    driver.events(START + 300, FULL_ANSWER)
    driver.eose()
    [[_, _, first, second]] = driver.sent()
    assert (first["until"], second["until"]) == (START + 100, START + 281)


def test_where_the_budget_has_no_req_for_pages_the_eose_is_delivered_without() -> None:
    driver = resumed()
    driver.inform(max_subscriptions=1)
    driver.events(START + 500, FULL_ANSWER)
    driver.eose()
    assert driver.called("handle_eose") == [EoseMessage("feed")]
    assert driver.labels() == []
    assert "allows no further REQ" in driver.warnings()[-1]


def test_a_relay_that_refuses_a_page_harms_nothing() -> None:
    driver = resumed()
    driver.events(START + 500, FULL_ANSWER)
    driver.eose()
    id_, _ = page(driver)
    driver.closed(id_, "blocked: no")
    assert driver.called() == [("handle_eose", EoseMessage("feed"))]
    assert driver.labels() == []
    assert driver.through == ["feed"]


@pytest.mark.parametrize("text", [TOO_MANY, "error: message too large", "blocked: limit too high: 500 (max 0)"])
def test_a_page_that_cannot_be_had_is_left_out(text: str) -> None:
    driver = resumed()
    driver.events(START + 500, FULL_ANSWER)
    driver.eose()
    id_, _ = page(driver)
    driver.closed(id_, text)
    assert driver.called() == [("handle_eose", EoseMessage("feed"))]
    assert driver.labels() == []
    assert len(driver.warnings()) >= 1
    assert id_ not in driver.session.subscriptions


def test_a_page_larger_than_the_relay_takes_is_left_out() -> None:
    driver = SessionDriver()
    driver.inform()
    driver.subscribe("feed", {"search": "x" * 3000})
    size = len(driver.sends[0].payload)
    driver.eose()
    driver.reconnect()
    driver.inform(max_message_length=size + 30)  # with a since, and not with an until besides
    driver.sent()
    driver.events(START + 500, FULL_ANSWER)
    driver.called()
    driver.eose()
    assert driver.labels() == []
    assert driver.called() == [("handle_eose", EoseMessage("feed"))]
    assert "accepts no REQ that is large enough" in driver.warnings()[-1]


def test_a_page_that_the_relay_is_too_slow_for_is_requested_later() -> None:
    driver = resumed()
    driver.events(START + 500, FULL_ANSWER)
    driver.eose()
    id_, filter_ = page(driver)
    driver.closed(id_, "rate-limited: slow down")
    driver.sleep(COOL_DOWN[0])
    assert page(driver) == (id_, filter_)


def test_a_page_is_sent_again_after_an_authentication() -> None:
    driver = resumed(signers=1)
    driver.events(START + 500, FULL_ANSWER)
    driver.eose()
    id_, filter_ = page(driver)
    driver.closed(id_, "auth-required: who are you")
    driver.challenge()
    driver.sign()
    assert driver.labels() == ["AUTH auth"]
    driver.accept()
    assert page(driver) == (id_, filter_)
    driver.closed(id_, "auth-required: who are you")
    assert driver.called("handle_eose") == [EoseMessage("feed")]


def test_each_part_has_pages_of_its_own() -> None:
    driver, (big, second, third) = divided()
    for part in (big, second, third):
        driver.eose(part)
    driver.reconnect()
    driver.sent()
    driver.called()
    driver.events(START, FULL_ANSWER, second)
    for part in (second, third, big):
        driver.eose(part)
    id_, filter_ = page(driver)
    assert filter_["authors"] == driver.session.subscriptions[second].filters[0]["authors"]
    assert driver.called() == []
    driver.eose(id_)
    assert driver.called() == [("handle_eose", EoseMessage("big"))]


def test_a_closed_of_the_req_ends_its_pages_too() -> None:
    driver = resumed()
    driver.events(START + 500, FULL_ANSWER)
    driver.eose()
    id_, _ = page(driver)
    driver.closed("feed", "blocked: no")
    assert driver.called() == [("handle_closed", ClosedMessage("feed", "blocked: no"))]
    assert driver.labels() == [f"CLOSE {id_}"]
    driver.eose(id_)
    assert driver.called() == []


def test_unsubscribing_ends_the_pages_too() -> None:
    driver = resumed()
    driver.events(START + 500, FULL_ANSWER)
    driver.eose()
    id_, _ = page(driver)
    driver.unsubscribe()
    assert sorted(driver.labels()) == sorted([f"CLOSE {id_}", "CLOSE feed"])
    assert driver.session.forgets(id_)


def test_a_second_eose_between_two_pages_asks_for_nothing_more() -> None:
    driver = resumed()
    driver.events(START + 500, FULL_ANSWER)
    driver.eose()
    id_, _ = page(driver)
    for _ in range(5):
        driver.eose()
    assert driver.called() == []
    assert driver.sent() == []
    driver.eose(id_)
    assert driver.called("handle_eose") == [EoseMessage("feed")]


def test_a_drop_between_two_pages_resumes_where_the_first_began() -> None:
    driver = resumed()
    driver.events(START + 500, FULL_ANSWER)
    driver.eose()
    id_, _ = page(driver)
    driver.events(START + 481, FULL_ANSWER, id_)
    driver.reconnect()
    assert driver.sent() == [["REQ", "feed", {"kinds": [1], "since": START - OVERLAP}]]
    assert not any(isinstance(each, Backfill) for each in driver.session.subscriptions.values())


def test_the_page_is_sent_before_reqs_that_wait() -> None:
    driver = resumed()
    driver.inform(max_subscriptions=3)
    driver.subscribe("b")
    driver.closed("b", "rate-limited: slow down")
    driver.subscribe("c")
    driver.events(START + 500, FULL_ANSWER)
    driver.eose()
    driver.sent()
    driver.sleep(COOL_DOWN[0])
    labels = driver.labels()
    assert labels[0].startswith("REQ rest-")
    assert labels[1:] == ["REQ b"]


# Where a subscription resumes.


def since(driver: SessionDriver, name: str = "feed") -> int | None:
    """Reconnect, and return since when the REQ of this name wants events."""
    driver.reconnect()
    [filter_] = [message[2] for message in driver.sent() if message[1] == name][-1:]
    found: int | None = filter_.get("since")
    return found


def test_it_resumes_a_minute_before_the_newest_event_without_the_limit() -> None:
    driver = SessionDriver()
    driver.subscribe("feed", {"kinds": [1], "limit": 20, "since": 5}, {"kinds": [2], "since": START + 900})
    driver.events(START - 100, 3)
    driver.eose()
    driver.sleep(1000)
    driver.event(START + 950)
    driver.event(START + 940)  # an older one moves nothing back
    driver.sent()
    driver.reconnect()
    start = START + 950 - OVERLAP
    assert driver.sent() == [["REQ", "feed", {"kinds": [1], "since": start}, {"kinds": [2], "since": START + 900}]]


def test_a_drop_before_the_first_eose_requests_all_again() -> None:
    driver = SessionDriver()
    driver.subscribe("feed", {"kinds": [1], "limit": 20})
    driver.events(START, 19)
    driver.reconnect()
    assert [message[2] for message in driver.sent()] == [{"kinds": [1], "limit": 20}] * 2


def test_a_drop_before_the_second_eose_keeps_the_place_of_the_first() -> None:
    driver = SessionDriver()
    driver.subscribe()
    driver.event(START - 1000)
    driver.eose()
    assert since(driver) == START - 1000 - OVERLAP
    driver.event(START)
    assert since(driver) == START - 1000 - OVERLAP
    driver.event(START)
    driver.eose()
    assert since(driver) == START - OVERLAP


def test_an_older_answer_does_not_move_the_place_back() -> None:
    driver = SessionDriver()
    driver.subscribe()
    driver.event(START)
    driver.eose()
    assert since(driver) == START - OVERLAP
    driver.event(START - 50)
    driver.eose()
    driver.event(START - 30)
    assert since(driver) == START - OVERLAP


@pytest.mark.parametrize(("ahead", "counts"), [(LENIENCE, True), (LENIENCE + 1, False)])
@pytest.mark.parametrize("live", [True, False])
def test_an_event_from_the_future_does_not_count(ahead: int, counts: bool, live: bool) -> None:  # noqa: FBT001
    driver = SessionDriver()
    driver.subscribe()
    driver.event(START - 500)
    if live:
        driver.eose()
    driver.event(START + ahead)
    if not live:
        driver.eose()
    assert since(driver) == (START + ahead if counts else START - 500) - OVERLAP


def test_the_future_is_that_of_the_relays_clock() -> None:
    driver = SessionDriver(clock_offset=3600.0)
    driver.subscribe()
    driver.event(START + 3600)
    driver.eose()
    driver.event(START + 3600 + LENIENCE + 1)
    assert since(driver) == START + 3600 - OVERLAP


def test_a_clock_that_the_relay_does_not_show_is_ours_again() -> None:
    driver = SessionDriver(clock_offset=3600.0)
    driver.subscribe()
    driver.drop()
    driver.connect(clock_offset=None)
    driver.event(START + 3600 + 50)
    driver.eose()
    assert since(driver) == START + 3600 - OVERLAP


@pytest.mark.parametrize("offset", [None, -500.0, 500.0])
def test_where_nothing_was_stored_it_resumes_a_minute_before_it_began(offset: float | None) -> None:
    driver = SessionDriver(clock_offset=offset)
    driver.subscribe("feed", {"kinds": [1], "limit": 20})
    driver.eose()
    driver.sleep(7777)
    driver.sent()
    driver.reconnect()
    began = START + int(offset or 0)
    assert driver.sent() == [["REQ", "feed", {"kinds": [1], "since": began - OVERLAP}]]


def test_it_does_not_resume_before_1970() -> None:
    driver = SessionDriver()
    driver.subscribe()
    driver.event(5)
    driver.eose()
    assert since(driver) == 0


def test_a_slow_clock_puts_all_in_the_future_and_requests_no_more_than_at_first() -> None:
    driver = SessionDriver()
    driver.subscribe("feed", {"kinds": [1], "limit": 20})
    driver.events(START + 86_400, 20)
    driver.eose()
    assert since(driver) == START - OVERLAP


@pytest.mark.parametrize("settled", [True, False])
def test_live_only_resumes_when_it_began(settled: bool) -> None:  # noqa: FBT001
    driver = SessionDriver()
    driver.subscribe("feed", {"kinds": [1], "limit": 0})
    assert driver.sent() == [["REQ", "feed", {"kinds": [1], "limit": 0}]]
    if settled:
        driver.eose()
    driver.sleep(7777)
    driver.reconnect()
    assert driver.sent() == [["REQ", "feed", {"kinds": [1], "since": START}]]
    driver.event(START + 7000)
    driver.eose()
    assert since(driver) == START + 7000 - OVERLAP


def test_live_only_never_resumes_before_it_began() -> None:
    driver = SessionDriver()
    driver.subscribe("feed", {"kinds": [1], "limit": 0})
    driver.eose()
    driver.event(START + 5)
    assert since(driver) == START


def test_a_list_of_ids_is_requested_as_it_is() -> None:
    driver = SessionDriver()
    filter_ = {"ids": ids(2), "limit": 1}
    driver.subscribe("feed", filter_, {"kinds": [1]})
    driver.event(START)
    driver.eose()
    driver.sent()
    driver.reconnect()
    assert driver.sent() == [["REQ", "feed", filter_, {"kinds": [1], "since": START - OVERLAP}]]


def test_a_new_subscription_of_an_old_id_requests_everything() -> None:
    driver = SessionDriver()
    driver.subscribe()
    driver.event(START)
    driver.eose()
    driver.subscribe()
    driver.reconnect()
    assert [message[2] for message in driver.sent()] == [{"kinds": [1]}] * 3


# Silence.


def test_a_relay_that_sends_no_eose_is_not_waited_for() -> None:
    driver = open_reqs("a")
    subscription = driver.session.subscriptions["a"].subscription
    driver.sleep(T - 0.001)
    assert driver.through == []
    driver.sleep(0.001)
    assert driver.through == ["a"]
    assert driver.session.is_complete(subscription)
    [warning] = driver.warnings()
    assert warning.startswith(f"warning: {URL}/ has sent no EOSE for 'a'")
    driver.sleep(1000)
    assert driver.through == ["a"]
    assert driver.deadlines == {}
    driver.eose("a")
    driver.eose("a")
    assert driver.called("handle_eose") == [EoseMessage("a")]


def test_the_time_begins_with_each_stored_event() -> None:
    driver = open_reqs("a", eose_timeout=3.0)
    driver.sleep(2)
    driver.event(START, "a")
    driver.sleep(2.5)
    driver.event(START - 1, "a")
    driver.sleep(2.999)
    assert driver.through == []
    driver.sleep(0.001)
    assert driver.through == ["a"]


def test_events_without_end_are_waited_for_only_so_long() -> None:
    driver = open_reqs("a")
    begun = driver.now.monotonic
    while not driver.through:
        driver.sleep(T / 2)
        driver.event(START, "a")
        assert driver.now.monotonic - begun < (ENDLESS + 3) * T
    assert driver.now.monotonic - begun > ENDLESS * T
    driver.eose("a")
    assert driver.called("handle_eose") == [EoseMessage("a")]


def test_a_relay_that_is_not_read_because_of_us_is_not_silent() -> None:
    driver = open_reqs("a")
    driver.count("c1")
    driver.sleep(8)
    driver.session.lagging(driver.now)
    driver.sleep(T - 0.001)
    assert driver.through == []
    assert driver.settled() == []
    driver.sleep(0.001)
    assert driver.through == ["a"]
    assert driver.settled() == [("c1", "timeout")]


def test_each_subscription_has_its_own_time() -> None:
    driver = SessionDriver()
    driver.inform()
    ends = {}
    for name in "abc":
        driver.subscribe(name)
        ends[name] = driver.now.monotonic + T
        driver.sleep(2)
    for name, end in ends.items():
        driver.sleep(end - driver.now.monotonic - 0.01)
        assert name not in driver.through
        driver.sleep(0.01)
        assert name in driver.through
    assert driver.through == ["a", "b", "c"]


def test_live_events_are_not_waited_for() -> None:
    driver = open_reqs("a")
    driver.eose("a")
    driver.through.clear()
    driver.sleep(1000)
    assert driver.through == []
    assert driver.warnings() == []


def test_none_waits_for_ever() -> None:
    driver = open_reqs("a", eose_timeout=None)
    driver.count()
    driver.sleep(1e9)
    assert driver.through == []
    assert driver.settled() == []
    assert driver.deadlines == {}


def test_what_waits_in_line_is_not_waited_for_either() -> None:
    driver = SessionDriver()
    driver.subscribe("a")
    driver.subscribe("b")  # for a document that never comes
    driver.eose("a")
    driver.sleep(T)
    assert driver.through == ["a", "b"]
    driver.inform()
    assert driver.labels() == ["REQ a", "REQ b"]
    driver.eose("b")
    assert driver.called("handle_eose") == [EoseMessage("a"), EoseMessage("b")]


def test_nor_is_what_a_relay_is_too_slow_for() -> None:
    driver = open_reqs("a", eose_timeout=3.0)
    driver.closed("a", "rate-limited: slow down")
    driver.subscribe("b")
    driver.sleep(3)
    assert driver.through == ["a", "b"]
    driver.sleep(2)
    assert driver.labels() == ["REQ a", "REQ b"]


def test_one_too_many_whose_eose_was_there_is_waited_for_no_longer_than_another() -> None:
    driver = open_reqs("a", "b")
    driver.eose("a")
    driver.eose("b")
    driver.through.clear()
    driver.sleep(50)
    driver.closed("b", TOO_MANY)
    driver.sleep(T)
    assert driver.through == ["b"]


def test_a_silent_page_is_given_up_and_the_eose_delivered() -> None:
    driver = resumed()
    driver.events(START + 500, FULL_ANSWER)
    driver.sleep(T - 1)
    driver.eose()
    id_, _ = page(driver)
    driver.sleep(T - 1)
    assert driver.warnings() == []
    assert driver.through == []
    driver.events(START + 481, 3, id_)
    driver.sleep(T - 0.001)
    assert driver.called() == []
    assert driver.through == []
    driver.sleep(0.001)
    assert driver.called() == [("handle_eose", EoseMessage("feed"))]
    assert driver.through == ["feed"]
    assert driver.labels() == [f"CLOSE {id_}"]
    assert len(driver.warnings()) == 1


def test_a_page_that_waits_for_its_turn_has_its_time_too() -> None:
    driver = resumed()
    driver.subscribe("other")
    driver.events(START + 500, FULL_ANSWER)
    driver.eose()
    [_, [_, id_, _]] = driver.sent()
    driver.eose("other")
    driver.sleep(T - 1)
    driver.closed("other", "rate-limited: slow down")
    driver.events(START + 481, FULL_ANSWER, id_)
    driver.eose(id_, "more")  # the next page waits for the end of the cool-down, and is not given up at once
    driver.through.clear()
    driver.sleep(COOL_DOWN[0])
    assert driver.labels() == ["CLOSE " + id_, "REQ " + id_, "REQ other"]
    assert driver.called("handle_eose") == [EoseMessage("other")]


def test_a_silent_count_is_given_up() -> None:
    driver = SessionDriver()
    driver.count("c1")
    driver.sleep(1)
    driver.count("c2")
    driver.sleep(T - 1.001)
    assert driver.settled() == []
    driver.sleep(0.001)
    assert driver.settled() == [("c1", "timeout")]
    driver.sleep(1)
    assert driver.settled() == [("c2", "timeout")]
    driver.counted("c1")
    assert driver.settled() == []
    assert len(driver.warnings()) == 2


def test_silence_about_an_event_is_the_publications_own_affair() -> None:
    driver = SessionDriver()
    driver.publish()
    driver.sleep(1000)
    assert driver.settled() == []
    assert driver.deadlines == {}


def test_the_time_begins_again_with_each_connection() -> None:
    driver = open_reqs("a")
    driver.sleep(9)
    driver.drop()
    assert driver.session.is_complete(driver.session.subscriptions["a"].subscription)
    driver.sleep(100)
    driver.connect()
    assert not driver.session.is_complete(driver.session.subscriptions["a"].subscription)
    driver.sleep(9.5)
    assert driver.through == []
    driver.sleep(0.5)
    assert driver.through == ["a"]


# Large messages.


def test_a_large_req_waits_for_the_document() -> None:
    driver = SessionDriver()
    driver.subscribe("a", {"ids": ids(LARGE // 67 + 1)})
    assert driver.sent() == []
    assert driver.documents_requested == 1
    driver.inform()
    assert driver.labels() == ["REQ a"]


def test_a_req_that_is_not_large_does_not() -> None:
    driver = SessionDriver()
    driver.subscribe("a", {"ids": ids(LARGE // 67 - 1)})
    assert driver.labels() == ["REQ a"]


def divided(several: int = 3, limit: int = 4096) -> tuple[SessionDriver, list[str]]:
    """Return a session whose subscription "big" was sent in parts, and the ids of these."""
    driver = SessionDriver()
    driver.inform(max_message_length=limit)
    room = (limit - 150) // 67
    driver.subscribe("big", {"authors": ids(several * room - 5)})
    messages = driver.sent()
    assert len(messages) == several
    assert [author for message in messages for author in message[2]["authors"]] == ids(several * room - 5)
    for message in messages:
        assert len(str(message)) <= limit + 2
    parts = [message[1] for message in messages]
    assert parts[0] == "big"
    assert all(part.startswith("part-") for part in parts[1:])
    return driver, parts


def test_a_req_that_is_too_large_is_sent_in_parts_with_one_eose() -> None:
    driver, (big, second, third) = divided()
    subscription = driver.session.subscriptions[big].subscription
    assert {id_: each.subscription for id_, each in driver.session.subscriptions.items()} == dict.fromkeys(
        (big, second, third), subscription
    )
    assert len({each.token for each in driver.session.subscriptions.values()}) == 1
    driver.eose(big)
    driver.eose(third)
    assert driver.called() == []
    assert driver.through == []
    assert not driver.session.is_complete(subscription)
    driver.eose(second, "finish")
    assert driver.called() == [("handle_eose", EoseMessage("big", "finish"))]
    assert driver.through == ["big"]
    assert driver.session.is_complete(subscription)


def test_the_parts_of_a_subscription_resume_separately() -> None:
    driver, (big, second, third) = divided()
    for part, newest in ((big, START - 500), (second, START - 300)):
        driver.event(newest, part)
        driver.eose(part)
    driver.reconnect()
    found = {message[1]: message[2].get("since") for message in driver.sent()}
    assert found == {big: START - 500 - OVERLAP, second: START - 300 - OVERLAP, third: None}


def test_parts_resume_where_the_whole_was() -> None:
    driver = open_reqs()
    driver.subscribe("big", {"authors": ids(100)})
    driver.event(START, "big")
    driver.eose("big")
    driver.inform(max_message_length=4096)
    driver.sent()
    driver.reconnect()
    messages = driver.sent()
    assert len(messages) > 1
    assert {message[2]["since"] for message in messages} == {START - OVERLAP}


def test_of_several_refused_parts_one_is_delivered() -> None:
    driver, (big, second, third) = divided()
    driver.closed(third, "blocked: no")
    driver.closed(big, "blocked: never")
    driver.closed(second, "blocked: no")
    assert driver.called() == [("handle_closed", ClosedMessage("big", "blocked: no"))]
    assert driver.through == ["big"] * 3
    assert driver.session.is_complete(driver.session.subscriptions[big].subscription)


def test_silent_parts_are_not_waited_for() -> None:
    driver, (big, second, third) = divided()
    driver.eose(big)
    driver.eose(third)
    driver.sleep(T)
    assert driver.session.is_complete(driver.session.subscriptions[second].subscription)
    assert driver.through == ["big"]


def test_unsubscribing_closes_all_parts() -> None:
    driver, parts = divided()
    driver.unsubscribe("big")
    assert driver.labels() == [f"CLOSE {part}" for part in parts]
    assert all(driver.session.forgets(part) for part in parts)
    assert driver.session.subscriptions == {}


def test_replacing_a_divided_subscription_closes_the_other_parts() -> None:
    driver, (_, second, third) = divided()
    driver.subscribe("big", {"kinds": [1]})
    assert driver.labels() == ["REQ big", f"CLOSE {second}", f"CLOSE {third}"]


def test_parts_stay_in_the_place_of_what_they_were() -> None:
    driver = SessionDriver()
    driver.subscribe("a")
    driver.subscribe("big", {"ids": ids(100)})
    driver.subscribe("z")
    driver.inform(max_message_length=4096)
    labels = [label.partition("-")[0] for label in driver.labels()]
    assert labels == ["REQ a", "REQ big", "REQ part", "REQ z"]


def test_what_cannot_be_divided_is_set_aside_once_and_blocks_nothing() -> None:
    driver = SessionDriver()
    driver.inform(max_message_length=2000)
    driver.subscribe("big", {"search": "x" * 3000})
    driver.subscribe("b")
    assert driver.labels() == ["REQ b"]
    [error] = driver.called("handle_error")
    assert isinstance(error, RequestTooLarge)
    assert (error.subscription_id, error.limit, error.relay) == ("big", 2000, f"{URL}/")
    assert error.size > 3000
    assert driver.through == ["big"]
    driver.eose("b")
    driver.reconnect()
    assert driver.labels() == ["REQ b"]
    assert driver.called("handle_error") == []
    assert driver.session.is_complete(driver.session.subscriptions["big"].subscription)
    driver.drop()
    driver.inform(max_message_length=9000)
    driver.connect()
    assert driver.labels() == ["REQ big", "REQ b"]  # it has learnt to take more


def test_what_takes_too_many_parts_is_set_aside() -> None:
    driver = SessionDriver(max_queue_size=SMALLEST_SIZE)
    driver.inform()
    room = (SMALLEST_SIZE - 32 - 64 - 32 - 15) // 67
    driver.subscribe("big", {"ids": ids(room * (MAX_PARTS - 1))})
    assert len(driver.sent()) <= MAX_PARTS
    driver.subscribe("bigger", {"ids": ids(room * (MAX_PARTS + 20))})
    assert driver.sent() == []
    assert [type(each) for each in driver.called("handle_error")] == [RequestTooLarge]


def test_a_message_of_just_the_limit_is_sent_whole() -> None:
    driver = SessionDriver()
    driver.subscribe("big", {"search": "x" * 3000})
    size = len(driver.sends[0].payload)
    driver.inform(max_message_length=size)
    driver.reconnect()
    assert driver.labels() == ["REQ big", "REQ big"]
    driver.inform(max_message_length=size - 1)
    driver.reconnect()
    assert driver.labels() == []


def test_a_limit_that_no_relay_means_is_taken_for_a_thousand_bytes() -> None:
    driver = SessionDriver()
    driver.inform(max_message_length=1)
    driver.subscribe("a")
    assert driver.labels() == ["REQ a"]


def test_a_close_for_a_message_that_is_too_large_means_the_largest() -> None:
    driver = open_reqs("small")
    driver.subscribe("big", {"ids": ids(100)})
    driver.subscribe("known", {"ids": ids(150)})
    driver.eose("known")  # it was not that one
    driver.sent()
    driver.drop(TOO_BIG)
    driver.connect()
    labels = [label.partition("-")[0] for label in driver.labels()]
    assert labels[:3] == ["REQ small", "REQ big", "REQ part"]
    known = labels.index("REQ known")
    assert set(labels[2:known]) == set(labels[known + 1 :]) == {"REQ part"}  # the limit is for all


def test_a_large_req_that_ends_two_connections_without_a_word_was_too_large() -> None:
    driver = open_reqs("small")
    driver.subscribe("big", {"ids": ids(LARGE // 67 + 1)})
    driver.reconnect()
    driver.eose("small")
    driver.sent()
    driver.reconnect()
    labels = [label.partition("-")[0] for label in driver.labels()]
    assert labels == ["REQ small", "REQ big", "REQ part"]


def test_one_that_was_answered_in_between_or_is_not_large_was_not() -> None:
    driver = open_reqs("small")
    driver.subscribe("big", {"ids": ids(LARGE // 67 + 1)})
    driver.drop()
    driver.connect()
    driver.eose("big")
    for _ in range(2):
        driver.sent()
        driver.reconnect()
        assert driver.labels() == ["REQ small", "REQ big"]
    driver = open_reqs()
    driver.subscribe("middle", {"ids": ids(100)})
    for _ in range(5):
        driver.reconnect()
    assert driver.labels() == ["REQ middle"] * 6


def test_another_code_does_not() -> None:
    driver = open_reqs()
    driver.subscribe("big", {"ids": ids(100)})
    driver.drop(1008)
    driver.connect()
    assert driver.labels() == ["REQ big", "REQ big"]


def test_a_message_so_small_that_every_relay_takes_it_was_not_too_large() -> None:
    driver = open_reqs("a")
    driver.publish("e1")
    driver.drop(TOO_BIG)
    driver.connect()
    assert driver.labels() == ["EVENT e1", "REQ a", "EVENT e1"]
    assert driver.settled() == []


def test_an_event_that_made_the_relay_close_is_rejected() -> None:
    driver = SessionDriver()
    driver.publish("e1", size=3000)
    driver.publish("e2", size=2000)
    driver.drop(TOO_BIG)
    assert driver.settled() == [("e1", "rejected")]
    driver.connect()
    assert driver.labels() == ["EVENT e1", "EVENT e2", "EVENT e2"]


def test_a_refused_req_of_several_filters_is_halved_until_each_has_one() -> None:
    driver = open_reqs()
    driver.subscribe("a", {"kinds": [1]}, {"kinds": [2]}, {"kinds": [3]})
    driver.sent()
    driver.closed("a", "error: too many filters")
    [first, second] = driver.sent()
    assert first == ["REQ", "a", {"kinds": [1]}]
    assert second[2:] == [{"kinds": [2]}, {"kinds": [3]}]
    driver.closed(second[1], "error: too many filters")
    assert [message[2:] for message in driver.sent()] == [[{"kinds": [2]}], [{"kinds": [3]}]]
    driver.closed("a", "error: too many filters")
    assert driver.sent() == []
    assert driver.called() == [("handle_closed", ClosedMessage("a", "error: too many filters"))]
    driver.reconnect()
    assert len(driver.sent()) == 3


def test_a_part_that_is_set_aside_is_not_the_first_that_is_refused() -> None:
    driver = open_reqs()
    driver.subscribe("a", {"search": "x" * 3000}, {"kinds": [2]})
    driver.closed("a", "error: too many filters")
    _, [_, first, _], [_, second, _] = driver.sent()
    driver.closed(first, "error: message too large")
    assert [type(error) for error in driver.called("handle_error")] == [RequestTooLarge]
    driver.closed(second, "blocked: no")
    assert driver.called("handle_closed") == [ClosedMessage("a", "blocked: no")]


def test_a_refused_req_of_one_filter_is_divided_by_its_size() -> None:
    driver = open_reqs()
    driver.subscribe("a", {"ids": ids(100)})
    driver.sent()
    driver.closed("a", "error: message too large")
    parts = driver.sent()
    assert len(parts) in {2, 3}
    assert [id_ for part in parts for id_ in part[2]["ids"]] == ids(100)
    assert driver.called() == []


def test_of_two_sizes_that_were_refused_the_smaller_counts() -> None:
    driver = open_reqs()
    driver.subscribe("small", {"ids": ids(40)})
    driver.subscribe("big", {"ids": ids(100)})
    driver.sent()
    driver.closed("small", "error: message too large")
    driver.closed("big", "error: message too large")
    assert max(len(each.payload) for each in driver.sends) <= 2048


def test_an_event_larger_than_the_relay_takes_is_rejected_unsent() -> None:
    driver = SessionDriver()
    driver.inform(max_message_length=2000)
    driver.publish("big", size=3000)
    driver.publish("small")
    assert driver.labels() == ["EVENT small"]
    assert driver.settled() == [("big", "rejected")]


def test_an_event_larger_than_the_outbox_is_not_sent() -> None:
    driver = SessionDriver(max_queue_size=2000)
    driver.publish("big", size=3000)
    assert driver.labels() == []
    assert driver.settled() == [("big", "not_sent")]


# A full outbox.


def test_what_did_not_fit_is_sent_in_its_order_after_a_while() -> None:
    driver = open_reqs("old", signers=1)
    driver.challenge()
    driver.sign()
    driver.publish("e1")
    driver.publish("e2")
    driver.subscribe("a")
    driver.subscribe("b")
    driver.unsubscribe("old")
    sends = driver.sends.copy()
    assert driver.labels() == ["AUTH auth", "EVENT e1", "EVENT e2", "REQ a", "REQ b", "CLOSE old"]
    driver.overflow(sends[1:])
    driver.subscribe("c")
    driver.publish("e3")
    driver.unsubscribe("b")
    driver.sleep(FULL_OUTBOX - 0.001)
    assert driver.labels() == []
    driver.sleep(0.001)
    assert driver.labels() == ["CLOSE old", "REQ a", "REQ c", "EVENT e1", "EVENT e2"]
    driver.accept("e1")
    assert driver.labels() == ["EVENT e3"]


def test_reqs_that_did_not_fit_go_before_those_that_wait() -> None:
    driver = SessionDriver()
    for name in "abc":
        driver.subscribe(name)
    driver.sent()
    driver.inform(max_subscriptions=2)
    driver.overflow()
    driver.sleep(FULL_OUTBOX)
    assert driver.labels() == ["REQ b"]


def test_an_overflow_during_another_waits_no_longer() -> None:
    driver = open_reqs("a", "b")
    driver.publish("e1")
    driver.publish("e2")
    sends = driver.sends.copy()
    driver.overflow(sends[1:])
    driver.sleep(0.75)
    driver.overflow(sends[:1])
    assert driver.deadlines["full"] == driver.now.monotonic + 0.25
    driver.sleep(0.25)
    assert driver.labels() == ["EVENT e1", "EVENT e2"]


def test_an_auth_that_did_not_fit_is_a_declined_one() -> None:
    driver = open_reqs(signers=1)
    driver.publish("e1")
    driver.refuse("e1", "auth-required: who are you")
    driver.challenge()
    driver.sign()
    driver.overflow([each for each in driver.sends if b"AUTH" in each.payload])
    assert driver.settled() == [("e1", "rejected")]
    assert "verdict" not in driver.deadlines


def test_a_drop_ends_the_wait_of_a_full_outbox() -> None:
    driver = open_reqs("a")
    driver.publish("e1")
    driver.overflow()
    driver.reconnect()
    assert driver.labels() == ["REQ a", "EVENT e1"]


def test_a_close_that_waits_is_not_sent_on_the_next_connection() -> None:
    driver = open_reqs("a")
    driver.publish("e1")
    driver.overflow()
    driver.unsubscribe("a")
    driver.reconnect()
    assert driver.labels() == ["EVENT e1"]


def test_an_event_that_did_not_fit_has_not_been_sent() -> None:
    driver = SessionDriver()
    attempt = driver.publish("e1")
    driver.overflow()
    driver.time_out(attempt)
    assert driver.settled() == [("e1", "not_sent")]
    assert driver.deadlines.keys() == {"full"}


def test_an_event_that_was_sent_on_an_earlier_connection_has() -> None:
    driver = SessionDriver()
    attempt = driver.publish("e1")
    driver.reconnect()
    driver.overflow()
    driver.time_out(attempt)
    assert driver.settled() == [("e1", "disconnected")]


# Events and counts.


def test_the_answer_settles_what_it_names() -> None:
    driver = SessionDriver()
    for key in ("e1", "e2", "e3"):
        driver.publish(key)
    driver.count("c1")
    driver.count("c2")
    assert driver.labels() == ["EVENT e1", "EVENT e2", "EVENT e3", "COUNT c1", "COUNT c2"]
    driver.effects.clear()
    driver.accept("e2")
    assert [type(effect) for effect in driver.effects] == [Deliver, Settle]
    driver.refuse("e1", "blocked: no")
    driver.refuse("e3", "duplicate: have it")
    driver.counted("c2", 7)
    driver.closed("c1", "error: no counts today")
    expected = [("e2", "accepted"), ("e1", "rejected"), ("e3", "accepted"), ("c2", 7), ("c1", "rejected")]
    assert driver.settled() == expected
    assert [name for name, _ in driver.called()] == ["handle_ok"] * 3 + ["handle_closed"]
    driver.accept("e2")
    assert driver.settled() == []


def test_an_outcome_says_what_the_relay_said() -> None:
    driver = SessionDriver()
    driver.publish("e1")
    driver.refuse("e1", "blocked: no")
    driver.count("c1")
    driver.closed("c1", "unsupported: no")
    assert [outcome for _, outcome in driver.outcomes] == [
        PublishOutcome("rejected", "blocked", "blocked: no"),
        PublishOutcome("rejected", "unsupported", "unsupported: no"),
    ]


def test_a_refusal_without_an_id_is_the_oldest_events() -> None:
    driver = SessionDriver()
    driver.count("c1")
    driver.publish("e1")
    driver.publish("e2")
    driver.receive(OkMessage("", accepted=True))  # says nothing
    assert driver.settled() == []
    driver.refuse("", "invalid: no")
    assert driver.settled() == [("e1", "rejected")]


def test_one_answer_is_that_of_all_with_its_key() -> None:
    driver = SessionDriver()
    first, second = driver.publish("e1"), driver.publish("e1")
    assert driver.labels() == ["EVENT e1"]
    driver.time_out(first)
    assert driver.settled() == [("e1", "timeout")]
    driver.accept("e1")
    assert driver.settled() == [("e1", "accepted")]
    assert driver.outcomes == []
    assert second.sent


@pytest.mark.parametrize("signers", [0, 1])
def test_only_so_many_are_in_flight(signers: int) -> None:
    driver = SessionDriver(signers=signers)
    keys = [f"e{number}" for number in range(MAX_IN_FLIGHT + 5)]
    for key in keys:
        driver.publish(key)
    first = FIRST_IN_FLIGHT if signers else MAX_IN_FLIGHT
    assert driver.labels() == [f"EVENT {key}" for key in keys[:first]]
    driver.accept("e0")
    assert driver.labels() == [f"EVENT {key}" for key in keys[first : MAX_IN_FLIGHT + 1]]
    driver.refuse("e1", "blocked: no")
    assert driver.labels() == [f"EVENT {keys[MAX_IN_FLIGHT + 1]}"]


def test_a_client_with_signers_is_careful_on_each_connection() -> None:
    driver = SessionDriver(signers=1)
    for number in range(5):
        driver.publish(f"e{number}")
    driver.accept("e0")
    assert len(driver.sent()) == 5
    driver.reconnect()
    assert driver.labels() == ["EVENT e1", "EVENT e2"]
    driver.count("c1")
    driver.accept("e2")
    assert driver.labels() == ["EVENT e3", "EVENT e4", "COUNT c1"]


def test_an_answered_count_ends_the_care_too() -> None:
    driver = SessionDriver(signers=1)
    driver.count("c1")
    driver.publish("e1")
    driver.publish("e2")
    driver.counted("c1")
    assert driver.labels() == ["COUNT c1", "EVENT e1", "EVENT e2"]


def test_what_a_drop_left_unanswered_is_sent_once_more_and_before_the_rest() -> None:
    driver = SessionDriver()
    driver.publish("e1")
    driver.publish("e2")
    driver.accept("e1")
    driver.settled()
    driver.drop()
    driver.publish("e3")
    assert driver.settled() == []
    driver.connect()
    assert driver.labels() == ["EVENT e1", "EVENT e2", "EVENT e2", "EVENT e3"]
    driver.drop()
    assert driver.settled() == [("e2", "disconnected")]
    driver.connect()
    assert driver.labels() == ["EVENT e3"]
    driver.accept("e3")
    assert driver.settled() == [("e3", "accepted")]


def test_what_was_dropped_goes_before_what_waited_for_its_turn() -> None:
    driver = SessionDriver(signers=1)
    for number in range(4):
        driver.publish(f"e{number}")
    driver.sent()
    driver.reconnect()
    assert driver.labels() == ["EVENT e0", "EVENT e1"]
    driver.accept("e1")
    assert driver.labels() == ["EVENT e2", "EVENT e3"]


def test_an_attempt_that_failed_loses_nothing() -> None:
    driver = SessionDriver(up=False)
    driver.publish("e1")
    for _ in range(3):
        driver.drop()
    driver.connect()
    assert driver.labels() == ["EVENT e1"]
    assert driver.settled() == []


def test_a_relay_that_was_removed_settles_all() -> None:
    driver = SessionDriver()
    driver.publish("e1")
    driver.drop()
    driver.publish("e2")
    driver.perform(driver.session.relay_removed())
    assert driver.settled() == [("e1", "disconnected"), ("e2", "not_sent")]
    driver.connect()
    assert driver.labels() == ["EVENT e1"]


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        ("unconnected", "not_sent"),
        ("waiting", "not_sent"),
        ("in flight", "timeout"),
        ("dropped", "disconnected"),
        ("kept", "rejected"),
        ("kept and dropped", "disconnected"),
    ],
)
def test_a_timeout_says_how_far_it_came(state: str, outcome: str) -> None:
    driver = SessionDriver(up=state != "unconnected", signers=int(state in {"waiting", "kept", "kept and dropped"}))
    before = [driver.publish("a"), driver.publish("b")] if state == "waiting" else []
    attempt = driver.publish("e1")
    if "kept" in state:
        driver.refuse("e1", "auth-required: no")
        assert driver.settled() == []
    if "dropped" in state:
        driver.drop()
    driver.time_out(attempt)
    assert driver.settled() == [("e1", outcome)]
    driver.accept("e1")
    driver.reconnect()
    assert driver.settled() == []
    assert "EVENT e1" not in driver.labels()[len(before) + 1 :]


def test_the_outcome_of_what_was_kept_is_its_refusal() -> None:
    driver = SessionDriver(signers=1)
    attempt = driver.publish("e1")
    driver.refuse("e1", "auth-required: no")
    driver.time_out(attempt)
    assert driver.outcomes == [("e1", PublishOutcome("rejected", "auth-required", "auth-required: no"))]


def test_a_timeout_makes_room_for_the_next() -> None:
    driver = SessionDriver(signers=1)
    first, *_ = [driver.publish(f"e{number}") for number in range(4)]
    driver.time_out(first)
    assert driver.labels() == ["EVENT e0", "EVENT e1", "EVENT e2"]


class Cancelled:
    """What waits for an answer, and does not any more."""

    def done(self) -> bool:
        return True


def test_what_nobody_waits_for_is_not_sent() -> None:
    driver = SessionDriver(up=False)
    driver.publish("e1", pending=Cancelled())
    driver.publish("e2")
    driver.connect()
    assert driver.labels() == ["EVENT e2"]
    assert driver.settled() == [("e1", "not_sent")]


def test_what_has_timed_out_in_the_same_moment_is_not_sent_because_another_has() -> None:
    driver = SessionDriver(signers=1)
    attempts = [driver.publish(f"e{number}") for number in range(4)]
    driver.sent()
    for attempt in attempts:
        attempt.expired = True
    for attempt in attempts:
        driver.time_out(attempt)
    assert driver.labels() == []
    assert driver.settled() == [("e0", "timeout"), ("e1", "timeout"), ("e2", "not_sent"), ("e3", "not_sent")]


def test_a_relay_that_does_not_know_count_gets_no_other_on_this_connection() -> None:
    driver = SessionDriver()
    driver.count("c1")
    driver.publish("e1")
    driver.count("c2")
    driver.sent()
    driver.notice("ERROR: bad msg: unknown cmd")
    assert driver.settled() == [("c1", "rejected"), ("c2", "rejected")]
    driver.count("c3")
    assert driver.sent() == []
    assert driver.outcomes == [("c3", PublishOutcome("rejected", "unsupported", "the relay does not support COUNT"))]
    driver.accept("e1")
    driver.reconnect()
    driver.count("c4")
    assert driver.labels() == ["COUNT c4"]


def test_nor_does_one_that_says_so_by_a_closed() -> None:
    driver = SessionDriver()
    driver.count("c1")
    driver.closed("c1", "unsupported: no NIP-45 here")
    driver.count("c2")
    assert driver.labels() == ["COUNT c1"]
    assert driver.settled() == [("c1", "rejected"), ("c2", "rejected")]


# A NOTICE names no request: it is taken to mean one where it can mean no other.


def test_a_notice_ends_the_one_req_that_it_can_mean() -> None:
    driver = open_reqs("a", "b")
    driver.eose("b")
    driver.effects.clear()
    driver.notice("ERROR: bad req: filter item too small")
    assert driver.effects == [
        Deliver("handle_notice", NoticeMessage("ERROR: bad req: filter item too small")),
        Deliver("handle_closed", ClosedMessage("a", "ERROR: bad req: filter item too small")),
        CheckComplete(driver.session.subscriptions["a"].subscription),
    ]


def test_where_it_can_mean_several_it_ends_none() -> None:
    driver = open_reqs("a", "b")
    driver.notice("ERROR: bad req: filter item too small")
    assert driver.called("handle_closed") == []
    driver.sleep(T)
    assert driver.through == ["a", "b"]


def test_it_can_mean_an_event_in_flight_too() -> None:
    driver = open_reqs("a")
    driver.publish("e1")
    driver.notice("blocked: no")
    assert driver.called("handle_closed") == []


def test_a_req_with_events_has_been_answered() -> None:
    driver = open_reqs("a", "b")
    driver.event(START, "b")
    driver.notice("blocked: no")
    assert driver.called("handle_closed") == [ClosedMessage("a", "blocked: no")]


def test_a_notice_that_names_a_req_means_that_one() -> None:
    driver = open_reqs("feed", "feed-1", "other")
    driver.publish("e1")
    driver.notice("feed-1: error: invalid filter")
    assert driver.called("handle_closed") == [ClosedMessage("feed-1", "feed-1: error: invalid filter")]


def test_one_too_many_that_a_notice_names_is_put_back() -> None:
    driver = open_reqs("feed-1", "feed-2", "feed-3")
    driver.notice("REQ new sub_id feed-2 not allowed, already at max subs=2")
    driver.unsubscribe("feed-3")
    assert driver.labels() == ["CLOSE feed-3", "REQ feed-2"]


def test_a_greeting_ends_nothing() -> None:
    driver = open_reqs("a")
    for text in ("Welcome to relay.example", "", "please pay"):
        driver.notice(text)
    assert [name for name, _ in driver.called()] == ["handle_notice"] * 3


def test_a_passing_trouble_in_a_notice_ends_nothing() -> None:
    driver = open_reqs("a")
    driver.notice("error: internal server error")
    driver.eose("a")
    assert [name for name, _ in driver.called()] == ["handle_notice", "handle_eose"]


def test_a_session_and_its_messages_show_no_password() -> None:
    driver = SessionDriver(up=False)
    driver.relay = type(driver.relay).new("wss://user:secret@relay.example")
    driver.session = type(driver.session)(driver.relay.url)
    driver.connect()
    driver.subscribe()
    driver.sleep(T)
    assert driver.log
    assert "secret" not in repr(driver.log)


@pytest.mark.parametrize("refused_first", [True, False])
def test_parts_of_which_one_was_refused_have_no_eose_in_either_order(refused_first: bool) -> None:  # noqa: FBT001
    driver, (big, second, third) = divided()
    driver.eose(big)
    if refused_first:
        driver.closed(second, "blocked: no")
        driver.eose(third)
    else:
        driver.eose(third)
        driver.closed(second, "blocked: no")
    assert driver.called("handle_eose") == []
    assert len(driver.called("handle_closed")) == 1
    assert driver.through[-1:] == ["big"]


def test_a_part_that_is_set_aside_does_not_withhold_the_eose_of_the_others() -> None:
    driver = SessionDriver()
    driver.inform()
    driver.subscribe("feed", {"kinds": [1]}, {"search": "x" * 3_000})
    driver.sent()
    driver.closed("feed", "error: too many filters")
    [[_, first, _], [_, second, _]] = driver.sent()
    driver.closed(second, "error: message too large")
    [error] = driver.called("handle_error")
    assert isinstance(error, RequestTooLarge)
    assert driver.called("handle_eose") == []
    driver.eose(first)
    assert len(driver.called("handle_eose")) == 1
    assert driver.through[-1:] == ["feed"]
