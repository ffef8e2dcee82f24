"""The twelve defects of the original, each not repeated; named after what it did wrong."""

import threading
from typing import Any

import pytest

from gennostr import REMOVE_RELAY, Close, GenNostr, Ok, Relay, RelayNotFound, RelayUrlError, Stop
from gennostr.client.options import Options
from gennostr.nostr.messages import EoseMessage
from gennostr.testing.fake_relay import FakeRelay
from gennostr.testing.relay_socket import TEXT, encode_frame
from tests.client.recorder import FAST, Recorder, Recording


def test_defect_1_one_client_module_per_program() -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url]) as one, Recording(urls=[relay.url]) as other:
        relay.accept()
        relay.accept()
        one.expect("connect")
        other.expect("connect")


def test_defect_2_eose_given_to_handle_event_and_others_dropped() -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url]) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.send_text('[ "EOSE" , "s"]')
        peer.send_text('["CLOSED","s"]')
        peer.send_text('["COUNT","s",{"count":1}]')
        peer.send_text('["WHAT"]')
        assert isinstance(client.expect("eose").value, EoseMessage)
        client.expect("closed", "count", "unknown")


def test_defect_3_no_handle_disconnect_after_a_refused_connect() -> None:
    with FakeRelay() as relay:
        relay.stop_listening()
        with Recording(urls=[relay.url], options=FAST) as client:
            for _ in range(5):
                client.expect("error", "disconnect")


def test_defect_4_reconnect_counter_never_reset_and_no_way_to_cancel() -> None:
    with FakeRelay() as relay, Recording(options=FAST) as client:
        relay.stop_listening()
        client.feed.add_relay(relay.url, reconnect=[60.0])
        client.expect("error", "disconnect")
        assert client.feed.call("handle_disconnect has returned")
        client.feed.remove_relay(relay.url)
        assert client.expect("disconnect").value is REMOVE_RELAY
        relay.listen()
        client.feed.add_relay(relay.url, close_timeout=0.05)
        relay.accept()
        assert client.expect("connect").relay.reconnect_counter == 0


def test_defect_5_zombies_after_http_403_and_a_silent_server() -> None:
    options = {"connect_timeout": 0.1}
    with FakeRelay() as relay, Recording(urls=[relay.url], options=options, reconnect=False) as client:
        peer = relay.accept_raw()
        client.expect("error", "disconnect")
        assert client.feed.list_relays() == []
        assert peer.is_closed()


def test_defect_6_sending_too_early_crashes() -> None:
    def early(client: Recorder, relay: Relay) -> None:
        with pytest.raises(RelayNotFound):
            client.send_message(["CLOSE", "x"], "wss://unknown.example")

    with FakeRelay() as relay, Recording(urls=[relay.url], connect=early) as client:
        client.feed.send_message(["CLOSE", "early"], relay.url)
        peer = relay.accept()
        client.expect("connect")
        assert peer.receive() == ["CLOSE", "early"]


def test_defect_7_code_and_text_of_a_close_frame_lost() -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url], reconnect=False) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.close(1001, "restart")
        assert client.expect("disconnect").value == Close(1001, "restart")
        assert peer.expect_close_frame().code == 1001


def test_defect_8_default_callbacks_crash_the_client() -> None:
    class Bare(GenNostr[None]):
        def init(self, init_arg: str) -> Any:
            self.add_relay(init_arg, **FAST)
            return Ok(None)

    with FakeRelay() as relay, Bare.start(relay.url) as feed:
        peer = relay.accept()
        for text in ("[1]", '["EOSE","s"]', '["NOTICE","n"]', '["OK","0",true]', '["AUTH","c"]', '["WHAT"]'):
            peer.send_text(text)
        peer.drop()
        relay.accept()  # reconnected by default, after the default handle_error
        assert feed.is_alive()


def test_defect_9_invalid_utf8_takes_every_connection_down() -> None:
    with FakeRelay() as bad, FakeRelay() as good, Recording(urls=[good.url], options=FAST) as client:
        quiet = good.accept()
        client.expect("connect")
        client.feed.add_relay(bad.url, **FAST, close_timeout=0.05)  # type: ignore[misc]
        for _ in range(6):
            peer = bad.accept()
            client.expect("connect")
            peer.send_frame(1, b'["\xff"]')
            client.expect("error", "disconnect")
        quiet.send(["NOTICE", "still here"])
        while client.next().name != "notice":
            pass


def test_defect_10_stop_with_a_state_alone_is_not_handled() -> None:
    ended = threading.Event()

    class Ending(Recorder):
        def terminate(self, reason: Any, state: Any) -> None:
            assert state == "last"
            ended.set()

    with FakeRelay() as relay, Recording(Ending, urls=[relay.url], notice=lambda *_: Stop(state="last")) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.send(["NOTICE", "x"])
        assert ended.wait(5)


def test_defect_11_normalize_url_is_not_idempotent() -> None:
    once = Relay.normalize_url("WSS://u:p@Relay.Example:443//a//b/?x=1&x=2#f")
    assert once == "wss://u:p@relay.example/a/b?x=1&x=2"
    assert Relay.normalize_url(once) == once
    with pytest.raises(RelayUrlError):
        Relay.normalize_url("relay.example")


def test_defect_12_no_backpressure() -> None:
    gate = threading.Event()

    def wait(*_: object) -> None:
        gate.wait(20)

    text = '["NOTICE","' + "x" * 60_000 + '"]'
    with FakeRelay() as relay, Recording(urls=[relay.url], notice=wait) as client:
        peer = relay.accept()
        client.expect("connect")
        sent = 0
        try:
            while sent < 64 * 1024 * 1024:
                peer.raw(encode_frame(TEXT, text.encode()), timeout=0.5)
                sent += len(text)
        except TimeoutError:
            pass
        # What the kernel's buffers and eight batches hold, and no more.
        assert sent < 32 * 1024 * 1024
        gate.set()
        client.expect("notice")


def test_options_have_the_original_defaults() -> None:
    assert list(Options().reconnect) == [0.5, 1.0, 5.0, 10.0, 30.0]
    assert Options().tasks == {"garbage_collector": 3600.0}
