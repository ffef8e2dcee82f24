"""What a client sends by send_message, and what it knows of the connection that it sends to."""

import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from gennostr import REMOVE_RELAY, Relay, RelayNotFound
from gennostr.client.connection import Connection
from gennostr.testing import FakeRelay, make_event
from gennostr.testing.relay_socket import TEXT, encode_frame
from tests.client.recorder import Recorder, Recording
from tests.client.test_tree import await_death


class Listening(Recorder):
    """Calls what it is sent."""

    def handle_info(self, message: Any, state: Any) -> None:
        message(self)


@pytest.fixture
def relay() -> Iterator[FakeRelay]:
    with FakeRelay() as fake:
        yield fake


def started(relay: FakeRelay, **script: Any) -> tuple[Recording, Any]:
    """A client without reconnect, and its connection."""
    client = Recording(Listening, reconnect=False, **script)
    return client, client.feed.add_relay(relay.url, close_timeout=0.05)


def end(relay: FakeRelay, connection: Any) -> None:
    """Drop the connection, and wait until that is known, though not to the client."""
    relay.drop()
    await_death(connection)


def test_what_the_client_sends_before_it_has_learnt_of_the_end_goes_with_the_connection(relay: FakeRelay) -> None:
    def answer(client: Any, relay_: Relay) -> None:
        end(relay, connection)
        for _ in range(3_000):  # more than the outbox holds
            client.send_message(["CLOSE", "x"], relay_)
        client.ping(relay_)

    client, connection = started(relay, event=answer)
    with client:
        relay.accept()
        relay.event("feed")
        client.expect("connect", "event", "error", "disconnect")
        client.expect_nothing(0.05)


def test_so_does_what_it_sends_for_other_reasons(relay: FakeRelay) -> None:
    def say(client: Any) -> None:
        end(relay, connection)
        client.send_message(["CLOSE", "x"], relay.url)
        client.seen.put("said")

    client, connection = started(relay)
    with client:
        relay.accept()
        client.expect("connect")
        client.feed.send(say)
        assert client.seen.get(timeout=5) == "said"  # type: ignore[comparison-overlap]
        client.expect("error", "disconnect")


def test_so_does_what_it_sends_after_another_thread_has_removed_the_relay(relay: FakeRelay) -> None:
    def answer(client: Any, relay_: Relay) -> None:
        remover = threading.Thread(target=client.pid.remove_relay, args=(relay.url,))
        remover.start()
        remover.join(5)
        client.send_message(["CLOSE", "x"], relay_)

    for callback in ("connect", "event"):
        client, _ = started(relay, **{callback: answer})
        with client:
            relay.accept()
            if callback == "event":
                relay.event("feed")
                client.expect("connect")
            assert client.expect(callback, "disconnect").value is REMOVE_RELAY


def test_after_it_has_removed_the_relay_it_knows(relay: FakeRelay) -> None:
    def remove(client: Any) -> None:
        client.remove_relay(relay.url)
        with pytest.raises(RelayNotFound):
            client.send_message(["CLOSE", "x"], relay.url)
        with pytest.raises(RelayNotFound):
            client.ping(relay.url)

    client, _ = started(relay, event=lambda client, _: remove(client))
    with client:
        relay.accept()
        relay.event("feed")
        client.expect("connect", "event", "disconnect")


def test_after_it_has_removed_the_relay_only_handle_disconnect_follows(relay: FakeRelay) -> None:
    def answer(client: Any, relay_: Relay) -> None:
        client.send_message(["CLOSE", "an answer to each"], relay_)
        client.remove_relay(relay_)

    client, _ = started(relay, event=answer)
    with client:
        relay.accept()
        event = encode_frame(TEXT, msgspec.json.encode(["EVENT", "feed", make_event()]))
        relay.raw(event * 3)  # one read
        assert client.expect("connect", "event", "disconnect").value is REMOVE_RELAY
        client.expect_nothing(0.05)
        client.feed.add_relay(relay.url, close_timeout=0.05)
        relay.accept()
        relay.raw(event)
        client.expect("connect", "event", "disconnect")


def test_nor_does_handle_connect_follow(relay: FakeRelay) -> None:
    busy, allowed = threading.Event(), threading.Event()

    def remove(client: Any) -> None:
        busy.set()
        assert allowed.wait(5)
        client.remove_relay(relay.url)

    client, _ = started(relay, connect=lambda client, relay_: client.send_message(["CLOSE", "x"], relay_))
    with client:
        client.feed.send(remove)
        assert busy.wait(5)
        relay.accept()
        relay.notice("and this waits for the client")
        allowed.set()
        assert client.expect("disconnect").value is REMOVE_RELAY
        client.expect_nothing(0.05)


def test_after_handle_disconnect_it_knows(relay: FakeRelay) -> None:
    def say(client: Any, relay_: Relay) -> None:
        with pytest.raises(RelayNotFound):
            client.send_message(["CLOSE", "x"], relay_)

    client, _ = started(relay, error=say, disconnect=say)
    with client:
        relay.accept()
        client.expect("connect")
        relay.drop()
        client.expect("error", "disconnect")
        assert client.feed.call("alive") == "alive"


def test_another_thread_learns_of_the_end_at_once(relay: FakeRelay) -> None:
    gone, tried = threading.Event(), threading.Event()

    def wait(client: Any, relay_: Relay) -> None:
        end(relay, connection)
        gone.set()
        assert tried.wait(5)

    client, connection = started(relay, event=wait)
    with client:
        relay.accept()
        relay.event("feed")
        assert gone.wait(5)
        try:
            with pytest.raises(RelayNotFound):
                client.feed.send_message(["CLOSE", "x"], relay.url)
        finally:
            tried.set()
        client.expect("connect", "event", "error", "disconnect")


def test_what_handle_connect_sends_goes_first_and_what_others_send_meanwhile_behind_what_waited(
    relay: FakeRelay,
) -> None:
    connecting, sent = threading.Event(), threading.Event()

    def greet(client: Any, relay_: Relay) -> None:
        client.send_message(["CLOSE", "first"], relay_)
        connecting.set()
        assert sent.wait(5)
        client.send_message(["CLOSE", "second"], relay_)

    client, _ = started(relay, connect=greet)
    with client:
        client.feed.send_message(["CLOSE", "waited"], relay.url)
        client.feed.subscribe({"kinds": [1]}, "feed")
        relay.accept()
        assert connecting.wait(5)
        client.feed.send_message(["CLOSE", "meanwhile"], relay.url)
        sent.set()
        client.expect("connect")
        client.feed.call("handle_connect is over")
        client.feed.send_message(["CLOSE", "after"], relay.url)
        messages = [relay.receive() for _ in range(6)]
    assert [id_ for _, id_, *_ in messages if id_ != "feed"] == ["first", "second", "waited", "meanwhile", "after"]
    assert messages.index(["REQ", "feed", {"kinds": [1]}]) >= 2


def test_what_handle_connect_sends_to_another_relay_has_no_precedence(relay: FakeRelay) -> None:
    with FakeRelay() as other:

        def greet(client: Any, relay_: Relay) -> None:
            if relay_.url == relay.url:
                client.send_message(["CLOSE", "from the greeting of another"], other.url)

        client, _ = started(relay, connect=greet)
        with client:
            client.feed.add_relay(other.url, close_timeout=0.05)
            client.feed.send_message(["CLOSE", "waited"], other.url)
            relay.accept()
            client.expect("connect")
            other.accept()
            assert [other.expect_close(), other.expect_close()] == ["waited", "from the greeting of another"]


def test_what_was_sent_before_a_violation_is_handled_goes_before_the_close_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent = threading.Event()

    def send(client: Recorder, relay: Relay) -> None:
        client.send_message(["CLOSE", "x"], relay)
        sent.set()

    ended = Connection._ended

    def late(self: Connection, end: Any) -> Any:
        # The callback of a message that came in the same read is faster than the connection here.
        assert sent.wait(5.0)
        return ended(self, end)

    monkeypatch.setattr(Connection, "_ended", late)
    with FakeRelay() as relay, Recording(notice=send, urls=[relay.url], reconnect=False) as client:
        peer = relay.accept()
        client.expect("connect")
        assert client.feed.call("alive") == "alive"  # handle_connect is over, which what follows it waits for
        peer.raw(encode_frame(TEXT, b'["NOTICE","x"]') + encode_frame(3, b""))
        assert peer.expect_close() == "x"
        assert peer.expect_close_frame().code == 1002
        client.expect("notice", "error", "disconnect")


# A relay that is removed while its end is being handled.


class Held:
    """Holds the client in a callback, until the ``with`` block ends."""

    def __init__(self) -> None:
        self._reached, self._released = threading.Event(), threading.Event()

    def __call__(self, client: Any, relay: Relay) -> None:
        self._reached.set()
        assert self._released.wait(5)

    def __enter__(self) -> None:
        assert self._reached.wait(5)

    def __exit__(self, *_: object) -> None:
        self._released.set()


@pytest.mark.parametrize("callback", ["error", "disconnect"])
def test_a_relay_that_another_thread_removes_meanwhile_is_not_reconnected(relay: FakeRelay, callback: str) -> None:
    held = Held()
    script: dict[str, Any] = {callback: held}
    with Recording(urls=[relay.url], options={"reconnect": [0.0]}, **script) as client:
        relay.accept()
        relay.drop()
        with held:
            client.feed.remove_relay(relay.url)
            client.feed.remove_relay(relay.url)
        assert client.expect("connect", "error", "disconnect").value is not REMOVE_RELAY
        assert client.expect("disconnect").value is REMOVE_RELAY
        assert client.feed.call("alive") == "alive"
        assert client.feed.relay_statistics() == {}
        client.expect_nothing(0.05)
        with pytest.raises(RelayNotFound):
            client.feed.remove_relay(relay.url)


def test_nor_is_one_that_the_client_removes_before_it_has_learnt_of_the_end(relay: FakeRelay) -> None:
    def remove(client: Any, relay_: Relay) -> None:
        end(relay, client.script["connection"])
        client.remove_relay(relay_)

    with Recording(event=remove) as client:
        client.script["connection"] = client.feed.add_relay(relay.url, reconnect=[0.0], close_timeout=0.05)
        relay.accept()
        relay.event("feed")
        assert client.expect("connect", "event", "error", "disconnect").value is not REMOVE_RELAY
        assert client.expect("disconnect").value is REMOVE_RELAY
        assert client.feed.list_relays() == []
        client.expect_nothing(0.05)


def test_one_that_is_added_again_meanwhile_stays(relay: FakeRelay) -> None:
    held = Held()
    with Recording(urls=[relay.url], disconnect=held, reconnect=False) as client:
        relay.accept()
        relay.drop()
        with held:
            client.feed.remove_relay(relay.url)
            client.feed.add_relay(relay.url, close_timeout=0.05)
        relay.accept()
        client.expect("connect", "error", "disconnect", "connect")
        client.expect_nothing(0.05)
        assert client.feed.list_relays() == [relay.url]


def test_one_that_the_client_gives_up_has_one_end(relay: FakeRelay) -> None:
    held = Held()
    with Recording(urls=[relay.url], disconnect=held, reconnect=False) as client:
        relay.accept()
        relay.drop()
        with held:
            client.feed.remove_relay(relay.url)
        client.expect("connect", "error", "disconnect")
        client.expect_nothing(0.05)
        with pytest.raises(RelayNotFound):
            client.feed.remove_relay(relay.url)
