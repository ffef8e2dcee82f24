"""Every callback and function of the client, against real relays and one that the test plays."""

import queue
import secrets
import time
from typing import Any

import pytest

from gennostr import (
    KILL,
    REMOVE_RELAY,
    BadReturnValue,
    CallExit,
    Close,
    GenNostr,
    MessageError,
    Ok,
    Relay,
    RelayNotFound,
    Stop,
    telemetry,
)
from gennostr.cli.local_relay import LocalRelay
from gennostr.nostr import sign
from gennostr.testing.fake_relay import FakeRelay
from gennostr.testing.manual_clock import ManualClock
from gennostr.testing.relay_socket import TEXT, encode_frame
from tests.client.recorder import FAST, Recorder, Recording, note
from tests.otp.actors import watching
from tests.relays import NostrRelay

SECRET = "01" * 32


def subscribe(client: Recorder, relay: Relay) -> None:
    client.send_message(["REQ", "s", {"kinds": [1]}], relay)


def test_publish_and_receive_on_nostr_sdks_relay(local_relay: LocalRelay) -> None:
    publish_and_receive(local_relay)


def test_publish_and_receive_on_nostr_relay(nostr_relay: NostrRelay) -> None:
    publish_and_receive(nostr_relay)


def publish_and_receive(relay: LocalRelay | NostrRelay) -> None:
    # Asked for by its id, and unlike any other: nostr-relay keeps what other tests have published.
    event = sign(SECRET, created_at=int(time.time()), kind=1, content=secrets.token_hex())

    def subscribe_to_it(client: Recorder, relay: Relay) -> None:
        client.send_message(["REQ", "s", {"ids": [event.id]}], relay)

    with Recording(urls=[relay.url], connect=subscribe_to_it) as client:
        client.expect("connect", "eose")
        client.feed.send_message(["EVENT", event], relay.url)
        seen = {callback.name: callback.value for callback in (client.next(), client.next())}
        assert seen["event"].event == event
        assert seen["ok"].event_id == event.id
        assert seen["ok"].accepted


def test_count_on_a_real_relay(local_relay: LocalRelay) -> None:
    with Recording(urls=[local_relay.url]) as client:
        client.expect("connect")
        client.feed.send_message('["COUNT","c",{"kinds":[1]}]', local_relay.url)
        assert client.expect("count").value.count == 0


def test_each_message_reaches_its_callback_in_wire_order() -> None:
    messages: list[tuple[str, list[Any]]] = [
        ("event", ["EVENT", "s", note()]),
        ("eose", ["EOSE", "s"]),
        ("ok", ["OK", "0" * 64, False, "blocked: no"]),
        ("notice", ["NOTICE", "hi"]),
        ("auth", ["AUTH", "challenge"]),
        ("closed", ["CLOSED", "s", "error: x"]),
        ("count", ["COUNT", "c", {"count": 3}]),
        ("unknown", ["NEG-MSG", "n", "00"]),
        ("error", [1, 2]),
    ]
    with FakeRelay() as relay, Recording(urls=[relay.url]) as client:
        peer = relay.accept()
        client.expect("connect")
        for _, message in messages:
            peer.send(message)
        seen = [client.next() for _ in messages]
        assert [callback.name for callback in seen] == [name for name, _ in messages]
        assert seen[2].value.prefix == "blocked"
        assert isinstance(seen[-1].value, MessageError)
        client.expect_nothing(0.05)  # content never closes a connection


@pytest.mark.parametrize(
    ("outcome", "ends"), [(None, False), (Ok(), False), (Stop(), True), (Stop("why"), True)], ids=repr
)
def test_outcomes_of_a_relay_callback(outcome: Any, *, ends: bool) -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url], notice=lambda *_: outcome) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.send(["NOTICE", "x"])
        client.expect("notice")
        if ends:
            with pytest.raises((CallExit, LookupError)):
                client.feed.call(1)
            assert peer.expect_close_frame() == Close(1000, "")
        else:
            assert client.feed.call(1) == 1


def test_what_handle_connect_sends_goes_before_what_was_queued() -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url], connect=subscribe) as client:
        peer = relay.accept_raw()
        client.feed.send_message(["CLOSE", "early"], relay.url)
        peer.read_request()
        peer.upgrade()
        assert peer.receive()[0] == "REQ"
        assert peer.receive() == ["CLOSE", "early"]


def test_messages_that_follow_the_upgrade_in_one_segment_are_read() -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url]) as client:
        peer = relay.accept_raw()
        peer.read_request()
        peer.upgrade(encode_frame(TEXT, b'["NOTICE","at once"]'))
        client.expect("connect", "notice")


def test_a_ping_is_answered_with_its_payload() -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url]):
        peer = relay.accept()
        peer.ping(b"are you there")
        assert peer.receive_frame() == (0xA, b"are you there")


def test_broadcast_returns_the_urls_it_was_queued_for(two_local_relays: tuple[LocalRelay, LocalRelay]) -> None:
    urls = [relay.url for relay in two_local_relays]
    with Recording(urls=urls) as client:
        client.expect("connect", "connect")
        assert sorted(client.feed.broadcast_message(["CLOSE", "x"])) == sorted(urls)


def test_sending_to_an_unknown_relay_raises_in_the_caller_and_harms_nothing() -> None:
    with Recording() as client:
        with pytest.raises(RelayNotFound, match=r"relay\.example"):
            client.feed.send_message(["CLOSE", "x"], "wss://relay.example")
        with pytest.raises(RelayNotFound):
            client.feed.remove_relay("wss://relay.example")
        assert client.feed.call(1) == 1


def test_one_url_in_two_spellings_is_one_relay() -> None:
    with FakeRelay() as relay, Recording(reconnect=False) as client:
        plain = relay.url.replace("localhost", "LOCALHOST") + "//a/"
        first = client.feed.add_relay(plain)
        assert client.feed.add_relay(f"{relay.url}a") is first
        assert client.feed.list_relays() == [f"{relay.url}a"]


def test_a_relay_value_carries_its_options() -> None:
    with FakeRelay() as relay, Recording() as client:
        wanted = Relay.new(url=relay.url, websocket={"headers": {"X-Test": "yes"}}, close_timeout=0.05)
        client.feed.add_relay(wanted)
        peer = relay.accept_raw()
        assert "X-Test: yes" in peer.read_request()
        peer.upgrade()
        told = client.expect("connect").relay
        assert told.options == wanted.options
        assert told.connected_at == pytest.approx(time.time(), abs=5)


def test_a_removed_relay_is_reported_at_once_and_closed_behind() -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url]) as client:
        peer = relay.accept()
        client.expect("connect")
        client.feed.remove_relay(relay.url)
        assert client.feed.list_relays() == []
        told = client.expect("disconnect", timeout=1)
        assert told.value is REMOVE_RELAY
        assert told.relay.connected_at is not None
        assert peer.expect_close_frame() == Close(1000, "")
        peer.close(1000)
        assert peer.is_closed()
        client.expect_nothing()


def test_a_removed_relay_can_be_added_again_at_once() -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url]) as client:
        relay.accept()
        client.expect("connect")
        client.feed.remove_relay(relay.url)
        client.feed.add_relay(relay.url, close_timeout=0.05)
        relay.accept()
        names = {client.next().name, client.next().name}
        assert names == {"disconnect", "connect"}
        assert client.feed.list_relays() == [relay.url]


def test_the_close_frame_of_a_relay_is_reported_answered_and_no_error() -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url], options=FAST) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.close(4000, "go away")
        assert client.expect("disconnect").value == Close(4000, "go away")
        assert peer.expect_close_frame() == Close(4000, "")
        relay.accept()
        client.expect("connect")


@pytest.mark.parametrize(
    "wrong",
    ["relay.example", "http://relay.example", "wss://", "wss://h:0", "wss://a b", 7, None, ["wss://h"]],
    ids=repr,
)
def test_a_bad_url_is_an_exception_in_the_caller_that_names_it(wrong: Any) -> None:
    with Recording() as client:
        with pytest.raises((ValueError, TypeError)) as caught:
            client.feed.add_relay(wrong)
        assert repr(wrong) in str(caught.value)
        assert client.feed.list_relays() == []


@pytest.mark.parametrize(
    "options",
    [
        {"nonsense": 1},
        {"connect_timeout": -1},
        {"connect_timeout": "soon"},
        {"ping_interval": 0},
        {"reconnect": []},
        {"reconnect": [-0.5]},
        {"tasks": {"garbage_collector": -1}},
        {"tasks": {"dishes": 1}},
        {"websocket": {"nonsense": 1}},
        {"max_message_size": 0},
        {"verify": "yes"},
    ],
    ids=repr,
)
def test_a_bad_option_is_an_exception_in_the_caller_that_names_it(options: Any) -> None:
    with Recording() as client:
        with pytest.raises((ValueError, TypeError), match=next(iter(options))):
            client.feed.add_relay("wss://relay.example", **options)
        assert client.feed.list_relays() == []


@pytest.mark.parametrize(
    "wrong", [[], [1], ["REQ"], ["REQ", "", {}], ["CLOSE", "x" * 65], "", 7, ["EVENT", 1]], ids=repr
)
def test_a_bad_message_is_an_exception_in_the_caller(wrong: Any) -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url]) as client, pytest.raises((ValueError, TypeError)):
        client.feed.send_message(wrong, relay.url)


def test_telemetry_reports_each_attempt_and_its_end() -> None:
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def handler(name: str, measurements: Any, metadata: Any) -> None:
        if name.startswith("connection."):
            told.put((name, dict(measurements), dict(metadata)))

    telemetry.attach(handler)
    try:
        with FakeRelay() as relay, Recording(urls=[relay.url], options=FAST) as client:
            relay.accept().drop()
            client.expect("connect", "error", "disconnect")
            relay.accept()
            client.expect("connect")
            client.feed.remove_relay(relay.url)
            removed = client.expect("disconnect")
            events = [told.get(timeout=5) for _ in range(6)]
    finally:
        telemetry.detach(handler)
    names = [name.removeprefix("connection.") for name, _, _ in events]
    assert names == ["attempt", "up", "down"] * 2
    assert [events[0][1], events[3][1]] == [{"reconnect_counter": 0}, {"reconnect_counter": 1}]
    assert 0 < events[1][1]["duration"] < 5
    lost, gone = events[2], events[5]
    assert 0 <= lost[1]["uptime"] < 5
    assert lost[2]["error"] is lost[2]["reason"]
    assert isinstance(lost[2]["reason"], OSError)
    assert gone[2] == {"relay": removed.relay, "reason": REMOVE_RELAY, "error": None}


@pytest.mark.parametrize("end", ["drop", "kill"])
def test_telemetry_reports_an_uptime_that_a_clock_that_is_set_does_not_change(end: str) -> None:
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def handler(name: str, measurements: Any, metadata: Any) -> None:
        if name == "connection.down":
            told.put((measurements["uptime"], metadata["relay"]))

    telemetry.attach(handler)
    try:
        with FakeRelay() as relay, ManualClock() as clock, Recording(urls=[relay.url], reconnect=False) as client:
            peer = relay.accept()
            connected = client.expect("connect").relay
            clock.advance(20)
            clock._epoch += 86_400
            if end == "drop":
                peer.drop()
            else:
                client.feed.add_relay(relay.url).exit(KILL)
            assert client.expect("error", "disconnect").relay == connected
            assert told.get(timeout=5) == (20.0, connected)
            relay.stop()
    finally:
        telemetry.detach(handler)


@pytest.mark.parametrize("name", ["connect", "disconnect", "event", "error"])
def test_a_crash_report_names_the_callback(name: str, caplog: pytest.LogCaptureFixture) -> None:
    def fail(client: Any, relay: Any) -> None:
        raise ValueError("in the callback")

    with FakeRelay() as relay:
        script: dict[str, Any] = {name: fail}
        client = Recording(urls=[relay.url], options=FAST, **script)
        with watching(client.feed) as ended:
            peer = relay.accept()
            peer.send(["EVENT", "sub", note()])
            peer.drop()
            assert isinstance(ended(), ValueError)
    (report,) = [record.__dict__["crash_report"] for record in caplog.records if "crash_report" in record.__dict__]
    assert report.callback == f"handle_{name}"


def test_a_bad_return_value_names_the_callback(caplog: pytest.LogCaptureFixture) -> None:
    with FakeRelay() as relay:
        client = Recording(urls=[relay.url], connect=lambda client, relay: "nonsense")
        with watching(client.feed) as ended:
            relay.accept()
            assert isinstance(ended(), BadReturnValue)
    (report,) = [record.__dict__["crash_report"] for record in caplog.records if "crash_report" in record.__dict__]
    assert report.callback == "handle_connect"


def test_what_handle_error_continues_with_comes_before_handle_disconnect(fake_relay: FakeRelay) -> None:
    """OTP, gen_server: a continue is handled right after the callback that asks for it."""
    said: queue.SimpleQueue[str] = queue.SimpleQueue()

    class Client(GenNostr[None]):
        def init(self, url: str) -> Any:
            self.add_relay(url, reconnect=[60])
            return Ok(None)

        def handle_error(self, reason: Any, relay: Relay, state: None) -> Any:
            said.put("error")
            return Ok(continue_="error")

        def handle_disconnect(self, reason: Any, relay: Relay, state: None) -> Any:
            said.put("disconnect")
            return Ok(continue_="disconnect")

        def handle_continue(self, argument: str, state: None) -> None:
            said.put(f"continue of {argument}")

    with Client.start(fake_relay.url) as client:
        fake_relay.accept().drop()
        order = [said.get(timeout=5) for _ in range(4)]
        assert order == ["error", "continue of error", "disconnect", "continue of disconnect"]
        assert client.is_alive()


def test_what_the_library_calls_for_the_user_ends_a_client_as_a_callback_does(
    fake_relay: FakeRelay, caplog: pytest.LogCaptureFixture
) -> None:
    """A signer that signs nothing is found when a subscription wants it: terminate runs, and there is one report."""
    reasons: queue.SimpleQueue[object] = queue.SimpleQueue()

    class Client(GenNostr[int]):
        def init(self, url: str) -> Any:
            self.add_relay(url)
            return Ok(7)

        def handle_cast(self, signer: Any, state: int) -> None:
            self.signer = signer

        def terminate(self, reason: object, state: int) -> None:
            reasons.put((reason, state))

    client = Client.start(fake_relay.url)
    with watching(client) as reason:
        peer = fake_relay.accept()
        client.cast(42)
        client.subscribe({"kinds": [1]})
        peer.auth("challenge")
        ended: Any = reason()
        assert isinstance(ended, TypeError)
        assert reasons.get(timeout=5) == (ended, 7)
    reports = [record for record in caplog.records if getattr(record, "crash_report", None)]
    assert [record.crash_report.pid for record in reports] == [client]  # type: ignore[attr-defined]
