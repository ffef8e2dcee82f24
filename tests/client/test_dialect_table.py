"""What a relay session does about each refusal of the table of dialects: the same whatever the relay's words are."""

import pytest

from gennostr.client import dialects
from gennostr.client.attempt import PublishOutcome
from gennostr.client.dialects import Meaning
from gennostr.client.relay_session import COOL_DOWN
from gennostr.nostr.messages import ClosedMessage
from tests.client.dialect_rows import NOT_REFUSALS, ROWS, Row
from tests.client.session_driver import SessionDriver

IDS = [f"{number:064x}" for number in range(100)]
LIMIT = 100_000
"""More than any of the limits that a relay of the table names."""


def rows(kind: str, *meanings: Meaning) -> list[Row]:
    """Return the rows of this kind of message and these meanings; all if none are given."""
    return [row for row in ROWS if row[1] == kind and (not meanings or Meaning[row[3]] in meanings)]


def named(row: Row) -> str:
    return f"{row[0]}: {row[2]}"


def ended(driver: SessionDriver, id_: str, text: str) -> None:
    """Check that the REQ was refused for good: that is delivered, nothing waits, and nothing is sent again."""
    assert driver.called("handle_closed") == [ClosedMessage(id_, text)]
    assert driver.through[-1] == id_
    driver.sleep(1000)
    driver.unsubscribe("other")
    driver.subscribe("later")
    assert driver.labels() in (["CLOSE other", "REQ later"], ["REQ later"])
    assert driver.called("handle_closed") == []


def sent_again_after_a_while(driver: SessionDriver, id_: str) -> None:
    assert driver.called("handle_closed") == []
    driver.sleep(COOL_DOWN[0] - 0.001)
    driver.subscribe("later")
    assert driver.labels() == []
    driver.sleep(0.001)
    assert sorted(driver.labels()) == sorted([f"REQ {id_}", "REQ later"])


def sent_again_when_another_is_closed(driver: SessionDriver, id_: str) -> None:
    assert driver.called("handle_closed") == []
    driver.sleep(1000)
    driver.subscribe("later")
    assert driver.labels() == []
    driver.unsubscribe("other")
    assert driver.labels() == ["CLOSE other", f"REQ {id_}"]


def sent_again_once_known(driver: SessionDriver, label: str) -> None:
    assert driver.called("handle_closed", "handle_ok") == []
    driver.challenge()
    driver.sign()
    driver.accept()
    assert driver.labels() == ["AUTH auth", label]


def sent_in_parts(driver: SessionDriver, id_: str) -> None:
    messages = driver.sent()
    assert [message[2:] for message in messages] == [[{"kinds": [1], "limit": LIMIT}], [{"kinds": [2]}]]
    assert messages[0][1] == id_
    assert driver.called("handle_closed") == []


def sent_with_lower_limit(driver: SessionDriver, id_: str, text: str) -> None:
    assert driver.called("handle_closed") == []
    assert driver.sent() == [["REQ", id_, {"kinds": [1], "limit": dialects.limit(text)}, {"kinds": [2]}]]


def with_reqs(id_: str, *, signers: int = 1) -> SessionDriver:
    """Return a session with two REQs: "other", which was answered, and `id_`."""
    driver = SessionDriver(signers=signers)
    driver.inform()
    driver.subscribe("other")
    driver.eose("other")
    driver.subscribe(id_, {"kinds": [1], "limit": LIMIT}, {"kinds": [2]})
    driver.called()
    driver.sent()
    return driver


@pytest.mark.parametrize("row", rows("CLOSED"), ids=named)
def test_a_closed(row: Row) -> None:
    text, meaning = row[2], Meaning[row[3]]
    driver = with_reqs("feed")
    driver.closed("feed", text)
    match meaning:
        case Meaning.RATE_LIMITED:
            sent_again_after_a_while(driver, "feed")
        case Meaning.TOO_MANY:
            sent_again_when_another_is_closed(driver, "feed")
        case Meaning.AUTH_REQUIRED | Meaning.RESTRICTED:
            sent_again_once_known(driver, "REQ feed")
        case Meaning.TOO_LARGE:
            sent_in_parts(driver, "feed")
        case Meaning.LIMIT_TOO_HIGH if dialects.limit(text):
            sent_with_lower_limit(driver, "feed", text)
        case Meaning.DUPLICATE:
            assert driver.labels() == ["CLOSE feed", "REQ feed"]
            driver.closed("feed", text)
            ended(driver, "feed", text)
        case _:
            ended(driver, "feed", text)


@pytest.mark.parametrize("row", rows("CLOSED", Meaning.AUTH_REQUIRED, Meaning.RESTRICTED), ids=named)
def test_a_closed_of_a_client_without_signer(row: Row) -> None:
    driver = with_reqs("feed", signers=0)
    driver.closed("feed", row[2])
    ended(driver, "feed", row[2])


@pytest.mark.parametrize("row", rows("CLOSED"), ids=named)
def test_a_closed_of_a_count(row: Row) -> None:
    text, meaning = row[2], Meaning[row[3]]
    driver = SessionDriver(signers=1)
    driver.count("c1")
    driver.sent()
    driver.closed("c1", text)
    if meaning in {Meaning.AUTH_REQUIRED, Meaning.RESTRICTED}:
        sent_again_once_known(driver, "COUNT c1")
        return
    assert driver.settled() == [("c1", "rejected")]
    driver.count("c2")
    assert driver.labels() == ["COUNT c2"] * (meaning is not Meaning.UNSUPPORTED_COUNT)


@pytest.mark.parametrize("row", rows("OK"), ids=named)
def test_an_ok(row: Row) -> None:
    text, meaning = row[2], Meaning[row[3]]
    driver = SessionDriver(signers=1)
    driver.publish("e1")
    driver.subscribe("feed")
    driver.sent()
    driver.refuse("e1", text)
    if meaning in {Meaning.AUTH_REQUIRED, Meaning.RESTRICTED}:
        sent_again_once_known(driver, "EVENT e1")
        driver.accept("e1")
        assert driver.settled() == [("e1", "accepted")]
        return
    [(key, outcome)] = driver.outcomes
    assert key == "e1"
    assert isinstance(outcome, PublishOutcome)
    assert outcome.message == text
    assert outcome.kind == ("accepted" if meaning is Meaning.DUPLICATE else "rejected")
    driver.sleep(1000)
    assert driver.labels() == []


def id_in(text: str) -> str:
    """Return an id for the REQ that a NOTICE can mean: one that it names, if it names any."""
    return next((id_ for id_ in ("feed-1", "sub123", "Kgo0HH") if id_ in text), "feed")


@pytest.mark.parametrize("row", rows("NOTICE"), ids=named)
def test_a_notice_that_can_mean_one_req(row: Row) -> None:
    text, meaning = row[2], Meaning[row[3]]
    id_ = id_in(text)
    driver = with_reqs(id_)
    driver.notice(text)
    assert len(driver.called("handle_notice")) == 1
    match meaning:
        case Meaning.RATE_LIMITED:
            sent_again_after_a_while(driver, id_)
        case Meaning.TOO_MANY:
            sent_again_when_another_is_closed(driver, id_)
        case Meaning.AUTH_REQUIRED | Meaning.RESTRICTED:
            assert driver.called("handle_closed") == []
            driver.challenge()
            driver.sign()  # and no OK
            assert driver.labels() == ["AUTH auth", f"REQ {id_}"]
        case Meaning.TOO_LARGE:
            sent_in_parts(driver, id_)
        case Meaning.LIMIT_TOO_HIGH:
            sent_with_lower_limit(driver, id_, text)
        case Meaning.DUPLICATE:
            assert driver.labels() == ["CLOSE " + id_, "REQ " + id_]
            driver.notice(text)
            ended(driver, id_, text)
        case Meaning.FAILED | Meaning.UNSUPPORTED_COUNT:
            driver.eose(id_)  # it may have meant anything; what the relay does not know is no REQ
            assert len(driver.called("handle_eose")) == 1
        case _:
            ended(driver, id_, text)


@pytest.mark.parametrize(
    "row",
    rows(
        "NOTICE", Meaning.REFUSED, Meaning.FAILED, Meaning.UNSUPPORTED_COUNT, Meaning.LIMIT_TOO_HIGH, Meaning.DUPLICATE
    ),
    ids=named,
)
def test_a_notice_that_can_mean_any_of_several_ends_none(row: Row) -> None:
    driver = with_reqs("feed")
    driver.subscribe("more")
    driver.sent()
    driver.notice(row[2].replace("feed-1", "xyz-1"))
    assert driver.sent() == []
    assert driver.called("handle_closed") == []
    driver.eose("feed")
    driver.eose("more")
    assert len(driver.called("handle_eose")) == 2


@pytest.mark.parametrize("row", rows("NOTICE", Meaning.UNSUPPORTED_COUNT), ids=named)
def test_a_notice_ends_all_counts_of_a_relay_without_nip_45(row: Row) -> None:
    driver = with_reqs("feed")
    driver.count("c1")
    driver.sent()
    driver.notice(row[2])
    assert driver.outcomes == [("c1", PublishOutcome("rejected", "unsupported", row[2]))]
    driver.count("c2")
    assert driver.sent() == []
    driver.eose("feed")  # that was not meant
    assert len(driver.called("handle_eose")) == 1


@pytest.mark.parametrize("row", rows("NOTICE", Meaning.TOO_LARGE), ids=named)
def test_a_notice_of_a_large_message_means_the_largest(row: Row) -> None:
    driver = SessionDriver()
    driver.inform()
    driver.subscribe("small")
    driver.subscribe("large", {"ids": IDS})
    driver.publish("middle", size=3000)
    driver.sent()
    driver.notice(row[2])
    messages = driver.sent()
    assert messages[0][1] == "large"
    assert [id_ for message in messages for id_ in message[2]["ids"]] == IDS
    assert driver.settled() == []


@pytest.mark.parametrize("text", NOT_REFUSALS)
def test_what_is_no_refusal_changes_nothing(text: str) -> None:
    driver = with_reqs("feed")
    driver.count("c1")
    driver.sent()
    driver.notice(text)
    driver.sleep(5)
    assert driver.sent() == []
    assert [name for name, _ in driver.called()] == ["handle_notice"]
    assert driver.settled() == []
    driver.closed("feed", text)
    assert driver.called("handle_closed") == [ClosedMessage("feed", text)]
