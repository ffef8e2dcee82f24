"""What the model of the relay session has found: values in, effects out."""

from typing import Any

import msgspec
import pytest

from gennostr.client.effects import CheckComplete, Deliver, Effect, RequestInformation, Send, SetDeadline, Sign
from gennostr.client.options import Options, Relay
from gennostr.client.relay_session import FULL_OUTBOX, RelaySession
from gennostr.client.subscriptions import Backfill, Instant, Subscription
from gennostr.nostr.event import Event
from gennostr.nostr.messages import AuthMessage, ClosedMessage, EoseMessage, NoticeMessage, OkMessage
from gennostr.nostr.relay_information import Limitation, RelayInformation

URL = "wss://relay.example"
BEGIN = Instant(1000.0, 1_700_000_000.0)
NOTES: dict[str, Any] = {"kinds": [1]}
TWO_AT_ONCE = RelayInformation(limitation=Limitation(max_subscriptions=2))


def later(seconds: float) -> Instant:
    return Instant(BEGIN.monotonic + seconds, BEGIN.time + seconds)


def connected(information: RelayInformation | None = None, *, signers: int = 0) -> RelaySession:
    """Return a session that is connected, and knows the document."""
    session = RelaySession(URL)
    session.connected(Relay(URL, Options()), BEGIN, signers=signers)
    session.informed(information, BEGIN)
    return session


def subscription(id_: str, *filters: dict[str, Any]) -> Subscription:
    return Subscription(id_, list(filters) or [NOTES], None)


def sent(effects: list[Effect]) -> list[Any]:
    return [msgspec.json.decode(each.payload) for each in effects if isinstance(each, Send)]


def delivered(effects: list[Effect]) -> list[tuple[str, object]]:
    return [(each.callback, each.argument) for each in effects if isinstance(each, Deliver)]


def test_what_has_two_reqs_is_through_when_one_was_given_up_and_the_other_has_its_eose() -> None:
    session = connected()
    feed = subscription("feed", {"kinds": [1]}, {"kinds": [2]})
    session.subscribe(feed, BEGIN)
    first, second = sent(session.received(ClosedMessage("feed", "blocked: too many filters"), BEGIN))
    session.subscriptions[second[1]].note(5, later(9).monotonic, later(9).time)
    session.deadline_expired("silence", later(10))  # of the first alone
    assert not session.is_complete(feed)

    effects = session.received(EoseMessage(second[1]), later(11))

    assert session.is_complete(feed)
    assert effects == [CheckComplete(feed)]
    assert first == ["REQ", "feed", {"kinds": [1]}]


def test_an_eose_for_a_req_that_waits_for_its_turn_is_none_of_it() -> None:
    session = connected(RelayInformation(limitation=Limitation(max_subscriptions=1)))
    session.subscribe(subscription("one"), BEGIN)
    session.subscribe(subscription("two"), BEGIN)

    assert session.received(EoseMessage("two"), BEGIN) == []
    assert sent(session.unsubscribe("one", BEGIN)) == [["CLOSE", "one"], ["REQ", "two", NOTES]]


def test_an_eose_shows_that_a_notice_has_meant_another() -> None:
    session = connected()
    session.subscribe(subscription("one"), BEGIN)
    session.subscribe(subscription("two"), BEGIN)
    session.received(NoticeMessage("ERROR: too many concurrent REQs"), BEGIN)

    effects = session.received(EoseMessage("two"), BEGIN)

    assert delivered(effects) == [("handle_eose", EoseMessage("two"))]


def test_what_may_be_open_is_closed() -> None:
    session = connected()
    session.subscribe(subscription("one"), BEGIN)
    session.subscribe(subscription("two"), BEGIN)
    session.received(NoticeMessage("ERROR: too many concurrent REQs"), BEGIN)

    assert sent(session.unsubscribe("two", BEGIN)) == [["CLOSE", "two"]]


def test_what_is_refused_after_it_was_given_up_is_not_waited_for_again() -> None:
    session = connected()
    one, two = subscription("one"), subscription("two")
    session.subscribe(one, BEGIN)
    session.subscribe(two, BEGIN)
    session.deadline_expired("silence", later(10))

    session.received(ClosedMessage("two", "error: too many concurrent REQs"), later(11))

    assert session.is_complete(two)


def test_what_is_refused_after_its_eose_is_waited_for_only_so_long() -> None:
    session = connected()
    one, two = subscription("one"), subscription("two")
    session.subscribe(one, BEGIN)
    session.subscribe(two, BEGIN)
    session.received(EoseMessage("one"), BEGIN)
    session.received(EoseMessage("two"), BEGIN)
    session.deadline_expired("silence", later(10))

    effects = session.received(ClosedMessage("two", "error: too many concurrent REQs"), later(11))

    assert sent(effects) == []
    assert SetDeadline("silence", 10.0) in effects
    assert CheckComplete(two) in session.deadline_expired("silence", later(21))
    assert session.is_complete(two)


def test_handle_eose_is_called_once_for_a_connection() -> None:
    session = connected()
    session.subscribe(subscription("one"), BEGIN)
    assert delivered(session.received(EoseMessage("one"), BEGIN)) == [("handle_eose", EoseMessage("one"))]
    session.received(ClosedMessage("one", "rate-limited: slow down"), BEGIN)
    assert [each[:2] for each in sent(session.deadline_expired("cool-down", later(5)))] == [["REQ", "one"]]

    assert delivered(session.received(EoseMessage("one"), later(6))) == []

    session.disconnected()
    session.connected(Relay(URL, Options()), later(7))
    assert delivered(session.received(EoseMessage("one"), later(8))) == [("handle_eose", EoseMessage("one"))]


def test_a_req_that_is_replaced_keeps_its_place() -> None:
    session = connected(TWO_AT_ONCE)
    for id_ in ("one", "two", "three"):
        session.subscribe(subscription(id_), BEGIN)

    assert sent(session.subscribe(subscription("two", {"kinds": [2]}), BEGIN)) == [["REQ", "two", {"kinds": [2]}]]


def test_a_req_that_is_replaced_is_closed_where_the_new_one_has_to_wait() -> None:
    session = connected(TWO_AT_ONCE)
    for id_ in ("one", "two"):
        session.subscribe(subscription(id_), BEGIN)
    session.received(ClosedMessage("one", "rate-limited: slow down"), BEGIN)

    assert sent(session.subscribe(subscription("two", {"kinds": [2]}), BEGIN)) == [["CLOSE", "two"]]
    assert sent(session.unsubscribe("two", BEGIN)) == []


def test_a_req_that_is_replaced_is_closed_where_the_outbox_is_full() -> None:
    session = connected()
    session.subscribe(subscription("one"), BEGIN)
    effects = session.subscribe(subscription("one", {"kinds": [2]}), BEGIN)
    effects = session.not_sent([each.subject for each in effects if isinstance(each, Send)], BEGIN)
    assert effects == [SetDeadline("full", FULL_OUTBOX)]

    session.unsubscribe("one", BEGIN)

    assert sent(session.deadline_expired("full", later(1))) == [["CLOSE", "one"]]


def test_a_relay_cannot_count_down_through_its_limit() -> None:
    session = connected()
    session.subscribe(subscription("one", {"kinds": [1], "limit": 1000}), BEGIN)
    again = session.received(ClosedMessage("one", "blocked: limit too high: 1000 (max 500)"), BEGIN)
    assert sent(again) == [["REQ", "one", {"kinds": [1], "limit": 500}]]

    refusal = ClosedMessage("one", "blocked: limit too high: 500 (max 499)")
    effects = session.received(refusal, BEGIN)

    assert sent(effects) == []
    assert delivered(effects) == [("handle_closed", refusal)]


@pytest.mark.parametrize("text", ["restricted: pubkey not in whitelist", "restricted: permission denied"])
def test_a_notice_that_ends_a_page_delivers_the_eose_that_waits_for_it(text: str) -> None:
    session = connected(signers=1)
    session.subscribe(subscription("one"), BEGIN)
    session.received(EoseMessage("one"), BEGIN, signers=1)
    session.disconnected()
    session.connected(Relay(URL, Options()), BEGIN, signers=1)
    challenged = session.received(AuthMessage("challenge"), BEGIN, signers=1)
    auth = Event("1" * 64, "2" * 64, 1, 22242, [], "", "3" * 128)
    session.signed(next(each.turn for each in challenged if isinstance(each, Sign)), auth, BEGIN)
    session.received(OkMessage(auth.id, accepted=False, message="restricted: no"), BEGIN, signers=1)
    session.subscriptions["one"].note(5, BEGIN.monotonic, BEGIN.time)
    effects = session.received(EoseMessage("one", ["more"]), BEGIN, signers=1)
    assert RequestInformation() not in effects
    assert any(isinstance(each, Send) and isinstance(each.subject, Backfill) for each in effects)

    effects = session.received(NoticeMessage(text), BEGIN, signers=1)

    assert delivered(effects) == [("handle_notice", NoticeMessage(text)), ("handle_eose", EoseMessage("one"))]


def paged() -> RelaySession:
    """Return a session that waits for the first page of what "one" has missed, and has another that is rate-limited."""
    session = connected()
    for id_ in ("one", "two"):
        session.subscribe(subscription(id_), BEGIN)
    session.received(EoseMessage("one"), BEGIN)
    session.disconnected()
    session.connected(Relay(URL, Options()), BEGIN)
    session.subscriptions["one"].note(500, BEGIN.monotonic, BEGIN.time)
    session.received(EoseMessage("one", ["more"]), BEGIN)
    session.received(ClosedMessage("two", "rate-limited: slow down"), BEGIN)
    return session


def test_a_page_that_waits_for_its_turn_is_closed_at_the_relay() -> None:
    session = paged()
    rest = next(each for each in session.subscriptions.values() if isinstance(each, Backfill))
    rest.note(400, BEGIN.monotonic, BEGIN.time)

    assert sent(session.received(EoseMessage(rest.id, ["more"]), BEGIN)) == [["CLOSE", rest.id]]
    assert sent(session.unsubscribe("one", BEGIN)) == [["CLOSE", "one"]]


def test_a_page_that_waits_for_its_turn_is_not_given_up_at_once() -> None:
    session = paged()
    rest = next(each for each in session.subscriptions.values() if isinstance(each, Backfill))
    rest.note(400, later(4).monotonic, later(4).time)
    session.received(EoseMessage(rest.id, ["more"]), later(4))

    assert SetDeadline("silence", 4.0) in session.deadline_expired("silence", later(10))

    assert sent(session.deadline_expired("cool-down", later(11)))[0][:2] == ["REQ", rest.id]
