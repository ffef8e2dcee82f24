"""How a relay session authenticates (NIP-42), as a specification: messages and time go in, effects come out."""

from itertools import pairwise

import pytest

from gennostr.client.authentication import AGAIN, SIGNING, TIMEOUT
from gennostr.client.relay_session import HOLD
from gennostr.exceptions import AuthenticationError
from gennostr.nostr.messages import AuthMessage, ClosedMessage, OkMessage
from tests.client.session_driver import SessionDriver

WHO = "auth-required: who are you"
NO = "restricted: not you"


def known() -> SessionDriver:
    """Return a session at a relay that has accepted its signer."""
    driver = SessionDriver(signers=1)
    driver.inform()
    driver.challenge("first")
    driver.sign()
    driver.accept()
    assert driver.labels() == ["AUTH auth"]
    driver.called()
    return driver


def test_a_challenge_is_delivered_and_answered_at_once() -> None:
    driver = SessionDriver(signers=1)
    driver.challenge("x")
    assert driver.called() == [("handle_auth", AuthMessage("x"))]
    assert [(sign.challenge, sign.signer) for sign in driver.signs] == [("x", 0)]
    driver.sign("auth")
    [[label, event]] = driver.sent()
    assert (label, event["id"], event["tags"][0]) == ("AUTH", "auth", ["challenge", "x"])
    driver.accept("auth")
    assert driver.called() == []
    assert driver.deadlines.keys() <= {"silence"}


def test_without_a_signer_nothing_is_answered_or_kept() -> None:
    driver = SessionDriver()
    driver.subscribe("a")
    driver.publish("e1")
    driver.challenge()
    driver.closed("a", WHO)
    driver.refuse("e1", WHO)
    assert driver.called("handle_closed", "handle_ok") == [
        ("handle_closed", ClosedMessage("a", WHO)),
        ("handle_ok", OkMessage("e1", accepted=False, message=WHO)),
    ]
    assert driver.settled() == [("e1", "rejected")]
    assert driver.signs == []
    assert driver.deadlines.keys() <= {"silence"}


@pytest.mark.parametrize("what", ["REQ", "EVENT", "COUNT"])
@pytest.mark.parametrize("text", [WHO, NO])
@pytest.mark.parametrize("order", ["challenge refusal accept", "refusal challenge accept", "challenge accept refusal"])
def test_what_was_refused_is_sent_once_more_whichever_comes_first(what: str, text: str, order: str) -> None:
    driver = SessionDriver(signers=1)
    match what:
        case "REQ":
            driver.subscribe("x")
        case "EVENT":
            driver.publish("x")
        case _:
            driver.count("x")

    def refuse() -> None:
        if what == "EVENT":
            driver.refuse("x", text)
        else:
            driver.closed("x", text)

    for step in order.split():
        if step == "challenge":
            driver.challenge()
            driver.sign()
        elif step == "accept":
            driver.accept()
        else:
            refuse()
    final = text == NO and order.endswith("refusal")
    assert driver.labels() == [f"{what} x", "AUTH auth", *[f"{what} x"] * (not final)]
    refusals = ("handle_closed", "handle_ok")
    assert len(driver.called(*refusals)) == final
    driver.sleep(20)
    refuse()  # for the second time, it is final
    driver.challenge("y")
    driver.sleep(1000)
    assert driver.labels() == []
    if not final:
        assert len(driver.called(*refusals)) == 1
    if what == "EVENT":
        assert driver.settled() == [("x", "rejected")]


@pytest.mark.parametrize("text", [WHO, NO])
def test_after_a_refused_authentication_a_refusal_is_final(text: str) -> None:
    driver = SessionDriver(signers=1)
    driver.inform()
    driver.subscribe("a")
    driver.publish("e1")
    driver.closed("a", text)
    driver.refuse("e1", text)
    driver.challenge()
    driver.sign()
    driver.refuse("auth", "error: bad signature")
    [error] = driver.called("handle_error")
    assert isinstance(error, AuthenticationError)
    assert "bad signature" in str(error)
    assert driver.called("handle_closed") == [ClosedMessage("a", text)]
    assert driver.settled() == [("e1", "rejected")]
    driver.subscribe("b")
    driver.closed("b", text)
    assert driver.called("handle_closed") == [ClosedMessage("b", text)]
    assert driver.through == ["a", "b"]
    assert driver.labels() == ["REQ a", "EVENT e1", "AUTH auth", "REQ b"]


@pytest.mark.parametrize("when", ["before", "while signing", "while it is judged"])
def test_restricted_before_the_verdict_is_not_final(when: str) -> None:
    driver = SessionDriver(signers=1)
    driver.subscribe("a")
    if when == "before":
        driver.closed("a", NO)
    driver.challenge()
    if when == "while signing":
        driver.closed("a", NO)
    driver.sign()
    if when == "while it is judged":
        driver.closed("a", NO)
    driver.accept()
    assert driver.labels() == ["REQ a", "AUTH auth", "REQ a"]


def test_restricted_to_who_is_known_is_final() -> None:
    driver = known()
    driver.subscribe("a")
    driver.publish("e1")
    driver.challenge("second")
    driver.closed("a", NO)
    driver.refuse("e1", NO)
    assert driver.called("handle_closed") == [ClosedMessage("a", NO)]
    assert driver.settled() == [("e1", "rejected")]
    driver.sleep(1000)
    assert driver.labels() == ["REQ a", "EVENT e1"]


def test_a_refusal_from_before_the_relay_knew_us_is_no_verdict() -> None:
    driver = known()
    driver.subscribe("a")
    driver.closed("a", WHO)
    assert driver.labels() == ["REQ a", "REQ a"]
    driver.closed("a", WHO)
    assert driver.called("handle_closed") == [ClosedMessage("a", WHO)]
    assert driver.labels() == []


def test_what_is_kept_and_closed_is_not_sent_again() -> None:
    driver = SessionDriver(signers=1)
    driver.inform()
    driver.subscribe("a")
    driver.subscribe("b")
    driver.closed("a", WHO)
    driver.closed("b", WHO)
    driver.unsubscribe("a")
    driver.subscribe("b", {"kinds": [7]})
    driver.challenge()
    driver.sign()
    driver.accept()
    assert driver.labels() == ["REQ a", "REQ b", "REQ b", "AUTH auth"]


def test_nor_is_its_refusal_delivered() -> None:
    driver = SessionDriver(signers=1)
    driver.subscribe("a")
    driver.closed("a", WHO)
    driver.unsubscribe("a")
    driver.challenge()
    driver.sign()
    driver.refuse()
    assert driver.called("handle_closed") == []


def test_what_is_kept_is_not_given_up_for_silence() -> None:
    driver = SessionDriver(signers=1)
    driver.subscribe("a")
    driver.closed("a", WHO)
    driver.challenge()
    driver.sleep(60)  # a prompt
    assert driver.through == []
    driver.sign()
    driver.accept()
    driver.sleep(9.5)
    assert driver.through == []
    driver.sleep(0.5)
    assert driver.through == ["a"]


def test_a_drop_sends_what_was_kept_on_the_next_connection() -> None:
    driver = SessionDriver(signers=1)
    driver.inform()
    driver.publish("e1")
    driver.subscribe("a")
    driver.closed("a", WHO)
    driver.refuse("e1", WHO)
    driver.publish("e2")
    driver.reconnect()
    assert driver.labels() == ["EVENT e1", "REQ a", "EVENT e2", "REQ a", "EVENT e1", "EVENT e2"]
    driver.refuse("e1", WHO)  # a new connection: it may be kept again
    assert driver.settled() == []


def test_events_that_were_kept_go_before_those_that_wait() -> None:
    driver = SessionDriver(signers=1)
    for number in range(5):
        driver.publish(f"e{number}")
    driver.refuse("e0", WHO)
    driver.refuse("e1", WHO)
    driver.challenge()
    driver.sign()
    driver.accept()
    assert driver.labels() == ["EVENT e0", "EVENT e1", "EVENT e2", "EVENT e3", "AUTH auth"]
    driver.accept("e2")
    assert driver.labels() == ["EVENT e0", "EVENT e1", "EVENT e4"]


# Several signers, slow ones, and those that decline.


def test_several_signers_answer_one_after_the_other() -> None:
    driver = SessionDriver(signers=3)
    driver.subscribe("a")
    driver.closed("a", WHO)
    driver.challenge()
    for number in range(3):
        assert [sign.signer for sign in driver.signs] == list(range(number + 1))
        assert driver.called("handle_closed") == []
        driver.sign(f"auth{number}")
        if number == 1:
            driver.accept("auth1")
        else:
            driver.refuse(f"auth{number}")
    assert driver.labels() == ["REQ a", "AUTH auth0", "AUTH auth1", "AUTH auth2", "REQ a"]
    assert len(driver.called("handle_error")) == 2


def test_a_signer_that_declines_is_skipped() -> None:
    driver = SessionDriver(signers=2)
    driver.subscribe("a")
    driver.closed("a", WHO)
    driver.challenge()
    driver.sign(None)
    driver.sign("auth")
    driver.accept()
    assert driver.labels() == ["REQ a", "AUTH auth", "REQ a"]


def test_if_all_signers_decline_the_refusal_is_delivered() -> None:
    driver = SessionDriver(signers=2)
    driver.subscribe("a")
    driver.closed("a", WHO)
    driver.challenge()
    driver.sign(None)
    driver.sign(None)
    assert driver.called("handle_closed", "handle_error") == [("handle_closed", ClosedMessage("a", WHO))]
    assert driver.through == ["a"]


def test_a_signer_has_five_minutes() -> None:
    driver = SessionDriver(signers=1)
    driver.subscribe("a")
    driver.closed("a", WHO)
    driver.challenge()
    driver.sleep(SIGNING - 0.001)
    assert driver.called("handle_closed") == []
    driver.sleep(0.001)
    assert driver.called("handle_closed") == [ClosedMessage("a", WHO)]
    assert "has not signed within 300 s" in driver.warnings()[0]
    driver.sign()  # too late
    assert driver.labels() == ["REQ a"]


def test_a_slow_signer_is_followed_by_the_next_and_its_signature_is_not_taken_for_that() -> None:
    driver = SessionDriver(signers=2)
    driver.challenge()
    first = driver.signs[-1].turn
    driver.sleep(SIGNING)
    driver.sign("late", turn=first)
    assert driver.labels() == []
    driver.sign("second")
    assert driver.labels() == ["AUTH second"]
    driver.sign("again")
    assert driver.labels() == []


def test_a_signature_for_an_earlier_connection_is_not_used() -> None:
    driver = SessionDriver(signers=1)
    driver.challenge("old")
    old = driver.signs[-1].turn
    driver.reconnect()
    driver.sign("stale", turn=old)
    driver.challenge("new")
    driver.sign("stale", turn=old)
    assert driver.labels() == []
    driver.sign("fresh")
    assert driver.labels() == ["AUTH fresh"]


def test_an_ok_of_an_earlier_answer_is_not_taken_for_the_next() -> None:
    driver = SessionDriver(signers=2)
    driver.challenge()
    driver.sign("one")
    driver.sleep(TIMEOUT)
    driver.sign("two")
    driver.refuse("one")
    assert driver.called("handle_error") == []
    assert "verdict" in driver.deadlines
    driver.accept("two")
    assert "verdict" not in driver.deadlines


def test_signers_may_change() -> None:
    driver = SessionDriver()
    driver.challenge()
    driver.subscribe("a")
    driver.signers = 1
    driver.closed("a", WHO)  # the challenge is there
    driver.sleep(0)
    driver.sign()
    driver.accept()
    assert driver.labels() == ["REQ a", "AUTH auth", "REQ a"]


# What never comes.


def test_a_challenge_that_never_comes_is_not_waited_for() -> None:
    driver = SessionDriver(signers=1)
    driver.subscribe("a")
    driver.publish("e1")
    driver.closed("a", WHO)
    driver.sleep(1)
    driver.refuse("e1", WHO)
    driver.sleep(TIMEOUT - 1.001)
    assert driver.called("handle_closed") == []
    driver.sleep(0.001)
    assert driver.called("handle_closed") == [ClosedMessage("a", WHO)]
    assert driver.settled() == [("e1", "rejected")]
    assert "has sent no challenge" in driver.warnings()[-1]
    driver.publish("e2")
    driver.refuse("e2", WHO)  # it has had its time
    assert driver.settled() == [("e2", "rejected")]


def test_a_late_challenge_is_answered() -> None:
    driver = SessionDriver(signers=1)
    driver.publish("e1")
    driver.refuse("e1", WHO)
    driver.sleep(TIMEOUT)
    driver.challenge()
    driver.publish("e2")
    driver.refuse("e2", NO)
    driver.sign()
    driver.accept()
    assert driver.labels() == ["EVENT e1", "EVENT e2", "AUTH auth", "EVENT e2"]


def test_an_ok_that_never_comes_counts_as_one() -> None:
    driver = SessionDriver(signers=1)
    driver.subscribe("a")
    driver.closed("a", WHO)
    driver.challenge()
    driver.sign()
    driver.sleep(TIMEOUT - 0.001)
    assert driver.labels() == ["REQ a", "AUTH auth"]
    driver.sleep(0.001)
    assert driver.labels() == ["REQ a"]
    assert "has not answered an AUTH" in driver.warnings()[0]
    driver.refuse("auth")  # too late
    assert driver.called("handle_error") == []


# Challenges without end.


def test_a_challenge_after_the_verdict_is_answered_when_something_is_refused() -> None:
    driver = known()
    for number in range(100):
        driver.challenge(f"c{number}")
    driver.sleep(1000)
    assert len(driver.signs) == 1
    driver.subscribe("a")
    driver.closed("a", WHO)
    driver.sleep(AGAIN[0])
    assert driver.signs[-1].challenge == "c99"
    driver.sign("second")
    driver.accept("second")
    assert driver.labels() == ["REQ a", "AUTH second", "REQ a"]


def test_the_latest_challenge_is_answered_when_the_answer_under_way_was_refused() -> None:
    driver = SessionDriver(signers=1)
    driver.subscribe("a")
    driver.closed("a", WHO)
    driver.challenge("one")
    driver.sign("first")
    driver.challenge("two")
    driver.challenge("three")
    assert len(driver.signs) == 1
    driver.refuse("first")
    assert driver.called("handle_closed") == []
    driver.sleep(0)
    assert [sign.challenge for sign in driver.signs] == ["one", "three"]
    driver.sign("second")
    driver.accept("second")
    assert driver.labels() == ["REQ a", "AUTH first", "AUTH second", "REQ a"]


def test_a_new_challenge_after_a_refused_answer_is_another_chance() -> None:
    driver = SessionDriver(signers=1)
    driver.challenge("one")
    driver.sign("first")
    driver.refuse("first")
    driver.challenge("two")
    assert len(driver.signs) == 1
    driver.subscribe("a")
    driver.closed("a", WHO)
    driver.sleep(0)
    driver.sign("second")
    driver.accept("second")
    assert driver.labels() == ["AUTH first", "REQ a", "AUTH second", "REQ a"]


def test_restricted_is_not_final_while_another_answer_is_to_come() -> None:
    driver = SessionDriver(signers=1)
    driver.challenge("c0")
    for number in range(2):
        driver.sleep(0)
        driver.sign(f"auth{number}")
        driver.challenge(f"c{number + 1}")
        driver.refuse(f"auth{number}")
    assert "answer" in driver.deadlines
    driver.subscribe("a")
    driver.closed("a", NO)
    assert driver.called("handle_closed") == []
    driver.sleep(AGAIN[1])
    driver.sign()
    driver.sent()
    driver.accept()
    assert driver.labels() == ["REQ a"]


def test_and_not_when_it_was_accepted() -> None:
    driver = SessionDriver(signers=1)
    driver.subscribe("a")
    driver.closed("a", WHO)
    driver.challenge("one")
    driver.sign()
    driver.challenge("two")
    driver.accept()
    driver.sleep(1000)
    assert driver.labels() == ["REQ a", "AUTH auth", "REQ a"]
    assert len(driver.signs) == 1


def test_the_delays_between_answers_grow() -> None:
    driver = SessionDriver(signers=1)
    moments = []
    driver.challenge("c0")
    for number in range(1, 13):
        moments.append(driver.now.monotonic)
        driver.sign(f"auth{number}")
        driver.challenge(f"c{number}")
        driver.refuse(f"auth{number}")
        driver.challenge(f"d{number}")  # while it waits: it is the one that is answered
        driver.sleep(driver.deadlines["answer"] - driver.now.monotonic)
        assert driver.signs[-1].challenge == f"d{number}"
    assert [after - before for before, after in pairwise(moments)] == [0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]


@pytest.mark.parametrize("accepts", [True, False])
@pytest.mark.parametrize("refuses", [True, False])
@pytest.mark.parametrize("early", [True, False])
def test_a_storm_of_challenges_is_answered_a_few_times(accepts: bool, refuses: bool, early: bool) -> None:  # noqa: FBT001
    driver = SessionDriver(signers=1)
    driver.inform()
    subscriptions = number = answered = 0
    driver.challenge("c")
    for _ in range(400):  # for 200 s
        if driver.signs and driver.signs[-1].turn != answered:
            answered = driver.signs[-1].turn
            number += 1
            driver.sign(f"auth{number}")
            if early:
                driver.challenge(f"e{number}")
            if accepts:
                driver.accept(f"auth{number}")
            else:
                driver.refuse(f"auth{number}")
        driver.challenge(f"c{driver.now.monotonic}")
        if refuses:
            subscriptions += 1
            driver.subscribe(f"s{subscriptions}")
            driver.closed(f"s{subscriptions}", WHO)
        driver.sleep(0.5)
    answers = driver.labels()
    auths = [label for label in answers if label.startswith("AUTH")]
    # At 0, 1, 3, 7, 15, 31, 63, 123 and 183 seconds, and the one at once.
    assert len(auths) <= 10
    # Each REQ at most twice.
    assert len(answers) - len(auths) <= 2 * subscriptions
    if accepts and not refuses:
        assert len(auths) == 1


# Old relays.


def test_an_old_relay_refuses_by_a_notice_and_sends_no_ok() -> None:
    driver = SessionDriver(signers=1)
    driver.inform()
    driver.subscribe("a")
    driver.subscribe("b")
    driver.notice(WHO)
    assert driver.called("handle_closed") == []
    driver.challenge()
    driver.sign()
    assert driver.labels() == ["REQ a", "REQ b", "AUTH auth", "REQ a", "REQ b"]
    driver.notice(WHO)  # once more: these are final, and the notice has said so
    assert driver.called("handle_closed") == []
    driver.sleep(1000)
    assert driver.labels() == []


def test_its_notice_may_come_after_the_answer() -> None:
    driver = SessionDriver(signers=1)
    driver.subscribe("a")
    driver.challenge()
    driver.sign()
    driver.notice(WHO)
    assert driver.labels() == ["REQ a", "AUTH auth", "REQ a"]


def test_restricted_is_not_final_where_no_ok_was_the_relays_word() -> None:
    driver = SessionDriver(signers=1)
    driver.inform()
    driver.subscribe("a")
    driver.notice("restricted: NIP-42 auth required")
    driver.challenge()
    driver.sign()
    driver.sent()
    driver.subscribe("b")
    driver.closed("b", NO)
    assert driver.labels() == ["REQ b", "REQ b"]
    driver.closed("b", NO)
    assert driver.called("handle_closed") == [ClosedMessage("b", NO)]


def test_it_refuses_events_without_their_ids() -> None:
    driver = SessionDriver(signers=1)
    driver.publish("e1")
    driver.publish("e2")
    driver.refuse("", WHO)
    driver.challenge()
    driver.sign()
    assert driver.labels() == ["EVENT e1", "EVENT e2", "AUTH auth", "EVENT e1"]
    driver.accept("e2")
    driver.accept("e1")
    assert driver.settled() == [("e2", "accepted"), ("e1", "accepted")]


def test_an_old_relay_is_one_on_the_next_connection_too() -> None:
    driver = SessionDriver(signers=1)
    driver.subscribe("a")
    driver.notice(WHO)
    driver.challenge()
    driver.sign()
    driver.reconnect()
    driver.challenge()
    driver.sent()
    driver.sign()
    assert driver.labels() == ["AUTH auth", "REQ a"]


def test_a_notice_that_wants_authentication_ends_the_req_of_a_client_without_signer() -> None:
    driver = SessionDriver()
    driver.subscribe("a")
    driver.notice(WHO)
    assert driver.called("handle_closed") == [ClosedMessage("a", WHO)]


def test_what_a_notice_has_refused_waits_for_nothing() -> None:
    driver = known()
    driver.subscribe("a")
    driver.notice(WHO)
    driver.notice(WHO)
    assert driver.labels() == ["REQ a", "REQ a"]
    driver.sleep(10)
    assert driver.session.is_complete(driver.session.subscriptions["a"].subscription)


# A relay that has known us.


def test_a_relay_that_knew_us_has_a_moment_to_send_its_challenge() -> None:
    driver = known()
    driver.subscribe("a")
    driver.publish("e1")
    driver.sent()
    driver.reconnect()
    assert driver.labels() == []
    driver.challenge()
    driver.sign()
    assert driver.labels() == ["AUTH auth"]
    driver.accept()
    assert driver.labels() == ["REQ a", "EVENT e1"]
    assert "hold" not in driver.deadlines


def test_after_that_moment_it_gets_its_reqs() -> None:
    driver = known()
    driver.subscribe("a")
    driver.sent()
    driver.reconnect()
    driver.sleep(HOLD - 0.001)
    assert driver.labels() == []
    driver.sleep(0.001)
    assert driver.labels() == ["REQ a"]


@pytest.mark.parametrize("signers", [0, 1])
def test_one_that_never_knew_us_gets_them_at_once(signers: int) -> None:
    driver = known() if signers == 0 else SessionDriver(signers=1)
    driver.signers = signers
    driver.subscribe("a")
    driver.sent()
    driver.reconnect()
    assert driver.labels() == ["REQ a"]


def test_one_that_has_refused_us_since_is_not_waited_for() -> None:
    driver = known()
    driver.reconnect()
    driver.challenge()
    driver.sign()
    driver.refuse()
    driver.subscribe("a")
    driver.reconnect()
    assert driver.labels()[-1] == "REQ a"
