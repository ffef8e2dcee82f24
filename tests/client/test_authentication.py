"""Authentication (NIP-42): whatever the order of the messages, what was refused is sent once more."""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from gennostr import AuthenticationError, StartError
from gennostr.cli.local_relay import LocalRelay
from gennostr.nostr import Event, public_key, sign
from gennostr.testing import FakeRelay, ManualClock
from tests.client.recorder import Recording
from tests.client.test_subscriptions import Subscriber, contents, subscribed
from tests.relays import NostrRelay

KEY = "01" * 32
OTHER = "02" * 32


@pytest.fixture
def relay() -> Iterator[FakeRelay]:
    with FakeRelay() as fake:
        yield fake


def note(content: str = "hello", key: str = KEY) -> Event:
    return sign(key, created_at=int(time.time()), kind=1, content=content)


def tags(event: Event) -> dict[str, str]:
    return {tag[0]: tag[1] for tag in event.tags}


def test_a_challenge_is_answered_at_once(relay: FakeRelay) -> None:
    with subscribed(relay, signer=KEY):
        relay.accept()
        relay.auth("prove it")
        event = relay.expect_auth()
        assert event.kind == 22242
        assert tags(event) == {"relay": relay.url, "challenge": "prove it"}
        assert event.pubkey == public_key(KEY)
        assert abs(event.created_at - time.time()) < 10


@pytest.mark.parametrize("challenge_first", [True, False])
def test_what_was_refused_is_sent_once_more_whichever_comes_first(
    relay: FakeRelay,
    challenge_first: bool,  # noqa: FBT001
) -> None:
    with subscribed(relay, signer=KEY) as client:
        client.feed.subscribe({"kinds": [1]}, "feed")
        publication = client.feed.publish(note())
        counting = client.feed.count({"kinds": [1]})
        relay.accept()
        relay.expect_req()
        relay.expect_event()
        id_, _ = relay.expect_count()
        if challenge_first:
            relay.auth("prove it")
        relay.closed("feed", "auth-required: who are you?")
        relay.ok(publication.event.id, accepted=False, message="auth-required: who are you?")
        relay.closed(id_, "auth-required: who are you?")
        if not challenge_first:
            relay.auth("prove it")
        answer = relay.expect_auth()
        relay.notice("nothing more is sent before the OK")
        client.expect("connect", "auth", "notice")
        relay.ok(answer.id)
        assert relay.expect_req().subscription_id == "feed"
        assert relay.expect_event() == publication.event
        assert relay.expect_count().subscription_id == id_
        relay.ok(publication.event.id)
        relay.count(id_, 7)
        relay.closed("feed", "auth-required: still no")
        assert publication.result(5)[relay.url]
        assert counting.result(5).count == 7
        assert client.expect("ok", "closed").value.message == "auth-required: still no"


def test_what_is_refused_after_the_ok_is_sent_once_more_too(relay: FakeRelay) -> None:
    with subscribed(relay, signer=KEY) as client:
        client.feed.subscribe({"kinds": [1]}, "feed")
        relay.accept()
        relay.expect_req()
        relay.auth("prove it")
        relay.ok(relay.expect_auth().id)
        relay.closed("feed", "auth-required: you were nobody when you asked")
        assert relay.expect_req().subscription_id == "feed"


def test_restricted_is_never_tried_again(relay: FakeRelay) -> None:
    with subscribed(relay, signer=KEY) as client:
        publication = client.feed.publish(note())
        client.feed.subscribe({}, "feed")
        relay.accept()
        relay.expect_req()
        relay.expect_event()
        relay.auth("prove it")
        relay.ok(relay.expect_auth().id)
        relay.ok(publication.event.id, accepted=False, message="restricted: members only")
        relay.closed("feed", "restricted: members only")
        assert publication.result(5)[relay.url].prefix == "restricted"
        client.expect("connect", "auth", "ok", "closed")


def test_a_refused_authentication_is_an_error_and_ends_what_waited_for_it(relay: FakeRelay) -> None:
    with subscribed(relay, signer=KEY) as client:
        client.feed.subscribe({}, "feed")
        publication = client.feed.publish(note())
        relay.accept()
        relay.expect_req()
        relay.expect_event()
        relay.closed("feed", "auth-required: no")
        relay.ok(publication.event.id, accepted=False, message="auth-required: no")
        relay.auth("prove it")
        relay.ok(relay.expect_auth().id, accepted=False, message="error: I do not believe you")
        error = client.expect("connect", "auth", "error").value
        assert isinstance(error, AuthenticationError)
        assert "I do not believe you" in str(error)
        assert client.expect("closed").value.message == "auth-required: no"
        assert publication.result(5)[relay.url].prefix == "auth-required"


def test_the_latest_challenge_is_answered_when_the_answer_under_way_is_through(relay: FakeRelay) -> None:
    with subscribed(relay, signer=KEY):
        relay.accept()
        relay.auth("one")
        first = relay.expect_auth()
        relay.auth("two")
        relay.auth("three")
        relay.ok(first.id, accepted=False, message="error: too late")
        assert tags(relay.expect_auth())["challenge"] == "three"


def test_several_signers_answer_one_after_the_other(relay: FakeRelay) -> None:
    asked: list[dict[str, Any]] = []

    def nobody(**fields: Any) -> None:
        asked.append(fields)

    with subscribed(relay, signer=[KEY, nobody, partial(sign, OTHER)]) as client:
        client.feed.subscribe({}, "feed")
        relay.accept()
        relay.expect_req()
        relay.closed("feed", "auth-required: all of you")
        relay.auth("prove it")
        one = relay.expect_auth()
        relay.ok(one.id)
        other = relay.expect_auth()
        relay.ok(other.id)
        assert [one.pubkey, other.pubkey] == [public_key(KEY), public_key(OTHER)]
        assert asked[0]["tags"] == [["relay", relay.url], ["challenge", "prove it"]]
        relay.expect_req()


def test_a_signer_that_fails_is_reported_and_harms_nothing(relay: FakeRelay) -> None:
    def broken(**fields: Any) -> Event:
        raise OSError("no device")

    with subscribed(relay, signer=[broken, lambda **fields: note()]) as client:
        relay.accept()
        relay.auth("prove it")
        assert str(client.expect("connect", "auth", "error").value) == "no device"
        assert "a signer must return" in str(client.expect("error").value)


def test_without_a_signer_a_refusal_is_reported(relay: FakeRelay) -> None:
    with subscribed(relay) as client:
        client.feed.subscribe({}, "feed")
        relay.accept()
        relay.expect_req()
        relay.auth("prove it")
        relay.closed("feed", "auth-required: who are you?")
        client.expect("connect", "auth", "closed")


def test_a_challenge_that_never_comes_is_not_waited_for_for_ever(relay: FakeRelay) -> None:
    with ManualClock() as clock, subscribed(relay, signer=KEY) as client:
        client.feed.subscribe({}, "feed")
        relay.accept()
        relay.expect_req()
        relay.closed("feed", "auth-required: who are you?")
        clock.advance(10.1)
        client.expect("connect", "closed")
        relay.drop()  # time stands still: a close frame would be waited for


def test_a_late_challenge_is_not_taken_for_none(relay: FakeRelay) -> None:
    with ManualClock() as clock, subscribed(relay, signer=KEY, options={"eose_timeout": None}) as client:
        client.feed.subscribe({}, "feed")
        relay.accept()
        relay.expect_req()
        relay.closed("feed", "auth-required: who are you?")
        clock.advance(9)
        relay.auth("prove it")
        answer = relay.expect_auth()
        clock.advance(5)
        relay.notice("fifteen seconds after the refusal")
        client.expect("connect", "auth", "notice")
        relay.ok(answer.id)
        assert relay.expect_req().subscription_id == "feed"
        clock.advance(10)
        relay.notice("nothing else was sent")
        client.expect("notice")
        relay.drop()  # time stands still: a close frame would be waited for


def test_a_relay_that_never_answers_an_auth_is_asked_again_all_the_same(relay: FakeRelay) -> None:
    with ManualClock() as clock, subscribed(relay, signer=KEY) as client:
        client.feed.subscribe({}, "feed")
        relay.accept()
        relay.expect_req()
        relay.auth("prove it")
        relay.closed("feed", "auth-required: who are you?")
        relay.expect_auth()
        client.expect("connect", "auth")
        clock.advance(10.1)
        assert relay.expect_req().subscription_id == "feed"
        relay.drop()


@pytest.mark.parametrize("signer", [3, "xyz", ["01"], object()])
def test_an_invalid_signer_is_reported_at_the_start_and_never_shown(signer: Any) -> None:
    with pytest.raises(StartError) as caught:
        subscribed(signer=signer)
    assert isinstance(caught.value.reason, TypeError | ValueError)
    assert "xyz" not in str(caught.value)


def test_nostr_sdks_relay_lets_in_who_authenticates() -> None:
    with LocalRelay(auth=True) as relay, Recording(Subscriber, urls=[relay.url], signer=KEY) as client:
        client.feed.subscribe({"kinds": [1]}, "feed")
        assert client.feed.publish(note("one")).result()[relay.url]
        assert contents(client, 1) == ["one"]
        assert client.feed.count({"kinds": [1]}).result().count == 1


def test_nostr_relay_lets_in_who_authenticates_in_the_old_style() -> None:
    with NostrRelay(members=[public_key(KEY)]) as relay:
        with Recording(Subscriber, urls=[relay.url], signer=KEY, options={"verify": True}) as client:
            client.feed.subscribe({"kinds": [1]}, "feed")
            assert client.feed.publish(note("one"), timeout=20).result()[relay.url]
            assert contents(client, 1) == ["one"]
        with Recording(Subscriber, urls=[relay.url], signer=OTHER) as client:
            outcome = client.feed.publish(note("two", OTHER), timeout=20).result()[relay.url]
            assert (outcome.kind, outcome.prefix) == ("rejected", "restricted")
