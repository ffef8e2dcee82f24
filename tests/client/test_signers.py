"""Signers over the wire: whose thread they run in, what they may return, and what becomes of what comes too late."""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

import pytest

from gennostr import MessageError, StartError
from gennostr.client import relay_pool
from gennostr.nostr import Event, sign
from gennostr.testing import FakeRelay
from tests.client.recorder import Recording
from tests.client.test_authentication import KEY, OTHER, note, tags
from tests.client.test_faults import no_threads
from tests.client.test_subscriptions import Subscriber, subscribed


@pytest.fixture
def relay() -> Iterator[FakeRelay]:
    with FakeRelay() as fake:
        yield fake


class Remote:
    """A signer somewhere else: what it is asked for waits in a queue, and the test answers."""

    def __init__(self) -> None:
        self.asked: SimpleQueue[tuple[dict[str, Any], Future[Any]]] = SimpleQueue()

    def __call__(self, **fields: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.asked.put((fields, future))
        return future

    def next(self) -> tuple[dict[str, Any], Future[Any]]:
        """What it was asked for, and the future that it has returned."""
        return self.asked.get(timeout=5)


def raising(error: BaseException) -> Callable[..., Event]:
    def signer(**fields: Any) -> Event:
        raise error

    return signer


def returning(value: object) -> Callable[..., Any]:
    return lambda **fields: value


def expect_nothing_sent(relay: FakeRelay, client: Recording) -> None:
    """What the client was sent so far has led to no message."""
    client.feed.call("everything before this was handled")
    client.feed.send_message(["CLOSE", "the next message"], relay.url)
    assert relay.expect_close() == "the next message"


def test_a_callable_may_wait_and_delays_no_callback(relay: FakeRelay) -> None:
    asked, allowed = threading.Event(), threading.Event()
    threads: list[int] = []

    def prompt(**fields: Any) -> Event:
        threads.append(threading.get_ident())
        asked.set()
        assert allowed.wait(5)
        return sign(KEY, **fields)

    with subscribed(relay, signer=prompt, notice=lambda client, relay: threads.append(threading.get_ident())) as client:
        relay.accept()
        relay.auth("prove it")
        assert asked.wait(5)
        relay.notice("meanwhile")
        client.expect("connect", "auth", "notice")
        assert client.feed.call("answered") == "answered"
        assert threads[0] != threads[1]
        allowed.set()
        assert tags(relay.expect_auth())["challenge"] == "prove it"


def test_a_method_of_the_class_is_a_signer(relay: FakeRelay) -> None:
    class Member(Subscriber):
        def init(self, init_arg: Any) -> Any:
            outcome = super().init(init_arg)
            del self.signer  # the method is there again
            return outcome

        def signer(self, **fields: Any) -> Event:
            return sign(self.script["key"], **fields)

    with Recording(Member, urls=[relay.url], key=OTHER):
        relay.accept()
        relay.auth("prove it")
        assert relay.expect_auth().pubkey == note(key=OTHER).pubkey


def test_a_secret_key_signs_in_the_clients_thread(relay: FakeRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_pool, "SignerTask", None)
    with subscribed(relay, signer=KEY):
        relay.accept()
        relay.auth("prove it")
        relay.expect_auth()


def test_a_future_is_waited_for_and_may_be_completed_anywhere(relay: FakeRelay) -> None:
    remote = Remote()
    with subscribed(relay, signer=remote) as client:
        relay.accept()
        relay.auth("prove it")
        fields, future = remote.next()
        expect_nothing_sent(relay, client)
        future.set_result(sign(KEY, **fields))
        assert tags(relay.expect_auth()) == {"relay": relay.url, "challenge": "prove it"}


def test_a_future_that_is_done_already_is_as_good(relay: FakeRelay) -> None:
    def signer(**fields: Any) -> Future[Event]:
        future: Future[Event] = Future()
        future.set_result(sign(KEY, **fields))
        return future

    with subscribed(relay, signer=signer):
        relay.accept()
        relay.auth("prove it")
        relay.expect_auth()


def test_a_future_that_is_cancelled_declines(relay: FakeRelay, caplog: pytest.LogCaptureFixture) -> None:
    remote = Remote()
    with subscribed(relay, signer=[remote, OTHER]) as client:
        relay.accept()
        relay.auth("prove it")
        assert remote.next()[1].cancel()
        assert relay.expect_auth().pubkey == note(key=OTHER).pubkey
        client.expect("connect", "auth")
        client.expect_nothing(0.05)
    assert caplog.text == ""


@pytest.mark.parametrize("error", [OSError("out of reach"), SystemExit("no more"), KeyboardInterrupt("stop")])
def test_a_future_that_fails_is_an_error_and_the_next_signers_turn(
    relay: FakeRelay, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    remote = Remote()
    with subscribed(relay, signer=[remote, OTHER]) as client:
        relay.accept()
        relay.auth("prove it")
        remote.next()[1].set_exception(error)
        assert relay.expect_auth().pubkey == note(key=OTHER).pubkey
        assert client.expect("connect", "auth", "error").value is error
    [record] = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert record.getMessage() == f"a signer failed for {relay.url}"
    assert record.exc_info is not None
    assert record.exc_info[1] is error


@pytest.mark.parametrize("error", [SystemExit("no more"), KeyboardInterrupt("stop"), GeneratorExit()])
def test_whatever_a_signer_raises_harms_nothing(relay: FakeRelay, error: BaseException) -> None:
    with subscribed(relay, signer=[raising(error), OTHER]) as client:
        relay.accept()
        relay.auth("prove it")
        assert relay.expect_auth().pubkey == note(key=OTHER).pubkey
        assert client.expect("connect", "auth", "error").value is error


class Unprintable:
    def __repr__(self) -> str:
        raise OSError("no words")


@pytest.mark.parametrize(
    "make",
    [
        lambda fields: "signed",
        lambda fields: Unprintable(),
        lambda fields: note(),
        lambda fields: sign(KEY, **fields | {"tags": [["relay", "ws://other.example"], ["challenge", "prove it"]]}),
        lambda fields: sign(KEY, **fields | {"tags": [fields["tags"][0], ["challenge", "another"]]}),
        lambda fields: Event("1" * 64, "2" * 64, 1, 22242, None, "", "3" * 128),  # type: ignore[arg-type]
        lambda fields: Event("1" * 64, "2" * 64, 1, 22242, fields["tags"], object(), "3" * 128),  # type: ignore[arg-type]
        lambda fields: Event("1" * 64, "2" * 64, 1, 22242, fields["tags"], "\ud800", "3" * 128),
        lambda fields: Event(object(), "2" * 64, 1, 22242, fields["tags"], "", "3" * 128),  # type: ignore[arg-type]
    ],
    ids=["text", "unprintable", "kind", "relay", "challenge", "no tags", "content", "no text", "id"],
)
@pytest.mark.parametrize("later", [False, True], ids=["returned", "future"])
def test_a_wrong_return_value_is_an_error_and_the_next_signers_turn(
    relay: FakeRelay,
    make: Callable[[dict[str, Any]], Any],
    later: bool,  # noqa: FBT001
) -> None:
    def signer(**fields: Any) -> Any:
        if not later:
            return make(fields)
        future: Future[Any] = Future()
        future.set_result(make(fields))
        return future

    with subscribed(relay, signer=[signer, OTHER]) as client:
        relay.accept()
        relay.auth("prove it")
        error = client.expect("connect", "auth", "error").value
        assert isinstance(error, MessageError)
        assert "a signer must return" in str(error)
        assert relay.expect_auth().pubkey == note(key=OTHER).pubkey
        assert client.feed.is_alive()


def test_what_was_signed_for_an_earlier_connection_is_not_sent(relay: FakeRelay) -> None:
    remote = Remote()
    with subscribed(relay, signer=remote) as client:
        relay.accept()
        relay.auth("one")
        fields, first = remote.next()
        relay.drop()
        relay.accept()
        client.expect("connect", "auth", "error", "disconnect", "connect")
        first.set_result(sign(KEY, **fields))
        expect_nothing_sent(relay, client)
        relay.auth("two")
        fields, second = remote.next()
        second.set_result(sign(KEY, **fields))
        assert tags(relay.expect_auth())["challenge"] == "two"


def test_what_was_signed_for_an_earlier_connection_is_not_taken_for_what_is_to_be_signed_now(relay: FakeRelay) -> None:
    remote = Remote()
    with subscribed(relay, signer=remote) as client:
        relay.accept()
        relay.auth("one")
        old, first = remote.next()
        relay.drop()
        relay.accept()
        relay.auth("two")
        new, second = remote.next()
        first.set_exception(OSError("the connection was lost"))
        assert str(client.expect("connect", "auth", "error", "disconnect", "connect", "auth", "error").value)
        expect_nothing_sent(relay, client)
        second.set_result(sign(KEY, **new))
        assert tags(relay.expect_auth())["challenge"] == "two"
        assert old != new


def test_what_comes_after_the_client_has_ended_harms_nothing(
    relay: FakeRelay, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    answers: list[Callable[[Future[Any], Event], object]] = [
        lambda future, event: future.set_result(event),
        lambda future, event: future.set_exception(OSError("too late")),
        lambda future, event: future.cancel(),
    ]
    for answer in answers:
        remote = Remote()
        with subscribed(relay, signer=remote):
            relay.accept()
            relay.auth("prove it")
            fields, future = remote.next()
        answer(future, sign(KEY, **fields))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert capsys.readouterr().err == ""


def test_a_client_does_not_wait_for_a_signer_to_end(relay: FakeRelay, caplog: pytest.LogCaptureFixture) -> None:
    asked, allowed, ended = threading.Event(), threading.Event(), threading.Event()

    def prompt(**fields: Any) -> Event:
        asked.set()
        assert allowed.wait(5)
        ended.set()
        return sign(KEY, **fields)

    with subscribed(relay, signer=prompt):
        relay.accept()
        relay.auth("prove it")
        assert asked.wait(5)
    assert not ended.is_set()
    allowed.set()
    assert ended.wait(5)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_where_there_is_no_thread_for_a_signer_it_is_an_error_and_the_next_ones_turn(relay: FakeRelay) -> None:
    with subscribed(relay, signer=[lambda **fields: sign(KEY, **fields), OTHER]) as client:
        relay.accept()
        client.expect("connect")
        with no_threads():
            relay.auth("prove it")
            error = client.expect("auth", "error").value
            assert isinstance(error, StartError)
            assert "can't start new thread" in str(error)
            answer = relay.expect_auth()
        assert answer.pubkey == note(key=OTHER).pubkey
        relay.ok(answer.id)
        relay.notice("it goes on")
        client.expect("notice")


def test_a_signer_may_use_the_client(relay: FakeRelay) -> None:
    started: SimpleQueue[Any] = SimpleQueue()

    def signer(**fields: Any) -> Event:
        feed = started.get(timeout=5)
        feed.subscribe({"kinds": [1]}, "from the signer")
        assert feed.publish(note("from the signer")).result(5)[relay.url]
        return sign(KEY, **fields)

    with subscribed(relay, signer=signer) as client:
        started.put(client.feed)
        relay.accept()
        relay.auth("prove it")
        assert relay.expect_req().subscription_id == "from the signer"
        event = relay.expect_event()
        assert event.content == "from the signer"
        relay.ok(event.id)
        assert tags(relay.expect_auth())["challenge"] == "prove it"
