"""Each attempt that fails: one handle_error, one handle_disconnect, and the next attempt after a delay."""

import ssl
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import trustme

from gennostr import (
    REMOVE_RELAY,
    ConnectionLost,
    ConnectTimeout,
    HandshakeError,
    Overflow,
    PingTimeout,
    ProtocolError,
    Relay,
)
from gennostr.cli.local_relay import LocalRelay
from gennostr.testing.fake_relay import FakeConnection, FakeRelay
from gennostr.testing.relay_socket import TEXT, encode_frame
from tests.client.recorder import FAST, Recording


def test_a_refused_connection_is_tried_again_after_each_refusal() -> None:
    with FakeRelay() as relay:
        relay.stop_listening()
        with Recording(urls=[relay.url], options={"reconnect": [0.02, 0.1, 0.3]}) as client:
            ends = []
            for _ in range(4):
                assert isinstance(client.expect("error").value, ConnectionRefusedError)
                ends.append(client.expect("disconnect"))
            gaps = [later.at - end.at for end, later in pairwise(ends)]
            assert gaps[0] < gaps[1] < gaps[2]
            assert [end.relay.reconnect_counter for end in ends] == [0, 1, 2, 3]
            relay.listen()
            relay.accept()
            client.expect("connect")


def test_http_403_is_an_error_with_its_status() -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url], reconnect=False) as client:
        peer = relay.accept_raw()
        peer.read_request()
        peer.refuse(403, b"go away")
        error = client.expect("error").value
        assert isinstance(error, HandshakeError)
        assert error.status == 403
        assert client.expect("disconnect").value is error
        assert peer.is_closed()


def test_a_redirect_is_not_followed() -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url], reconnect=False) as client:
        peer = relay.accept_raw()
        peer.read_request()
        peer.raw(b"HTTP/1.1 302 Found\r\nLocation: ws://localhost:1/\r\n\r\n")
        assert client.expect("error").value.status == 302
        client.expect("disconnect")


def test_a_silent_relay_is_an_error_after_connect_timeout() -> None:
    options = {"connect_timeout": 0.2}
    with FakeRelay() as relay, Recording(urls=[relay.url], options=options, reconnect=False) as client:
        peer = relay.accept_raw()
        assert isinstance(client.expect("error").value, ConnectTimeout)
        client.expect("disconnect")
        assert peer.is_closed()


def test_an_unresolvable_host_is_an_error_like_any_other() -> None:
    with Recording(urls=["ws://no-such-host.invalid"], reconnect=False) as client:
        assert isinstance(client.expect("error").value, OSError)
        client.expect("disconnect")
        client.expect_nothing(0.05)


def test_an_endless_handshake_header_is_refused_at_its_limit() -> None:
    options = {"max_handshake_size": 2000}
    with FakeRelay() as relay, Recording(urls=[relay.url], options=options, reconnect=False) as client:
        peer = relay.accept_raw()
        peer.read_request()
        peer.raw(b"HTTP/1.1 101 Switching Protocols\r\n" + b"X: y\r\n" * 1000)
        assert isinstance(client.expect("error").value, HandshakeError)
        client.expect("disconnect")


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (FakeConnection.drop, ConnectionResetError),
        (FakeConnection.disconnect, ConnectionLost),
        (lambda peer: peer.send_frame(1, b"x", masked=True), ProtocolError),
        (lambda peer: peer.raw(b"\x81\x20half"), None),
    ],
    ids=["reset", "end without close", "masked frame", "half a frame"],
)
def test_an_end_without_a_close_frame_is_an_error(end: Callable[[FakeConnection], object], kind: Any) -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url], reconnect=False) as client:
        peer = relay.accept()
        client.expect("connect")
        end(peer)
        if kind is None:
            peer.disconnect()
            kind = ConnectionLost
        error = client.expect("error").value
        assert isinstance(error, kind)
        assert client.expect("disconnect").value is error
        client.expect_nothing(0.05)


@pytest.mark.parametrize(("payload", "code"), [(b'["NOTICE","\xff"]', 1007), (b'["' + b"x" * 3000, 1009)])
def test_illegal_messages_close_with_their_code(payload: bytes, code: int) -> None:
    options = {"max_message_size": 2000}
    with FakeRelay() as relay, Recording(urls=[relay.url], options=options, reconnect=False) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.send_frame(1, payload)
        assert client.expect("error").value.code == code
        client.expect("disconnect")
        assert peer.expect_close_frame().code == code


def test_a_relay_that_falls_silent_is_pinged_and_given_up() -> None:
    options = {"ping_interval": 0.1, "ping_timeout": 0.1}
    with FakeRelay() as relay, Recording(urls=[relay.url], options=options, reconnect=False) as client:
        peer = relay.accept()
        client.expect("connect")
        assert peer.receive_frame()[0] == 0x9
        assert isinstance(client.expect("error").value, PingTimeout)
        client.expect("disconnect")


def test_a_relay_that_is_killed_and_returns_is_reconnected(local_relay: LocalRelay) -> None:
    with Recording(urls=[local_relay.url], options=FAST) as client:
        client.expect("connect")
        local_relay.kill()
        client.expect("error", "disconnect")
        local_relay.start()
        while client.next().name != "connect":
            pass


def test_the_reconnect_counter_starts_over_after_a_stable_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gennostr.client.connection.STABLE_AFTER", 0.05)
    with FakeRelay() as relay, Recording(options=FAST) as client:
        client.feed.reconnect(Relay.new(relay.url, reconnect=[0.05]), delay=0)
        peer = relay.accept()
        connected = client.expect("connect")
        assert connected.relay.reconnect_counter == 1
        peer.is_closed(timeout=0.1)  # stays up for longer than a stable connection needs
        peer.drop()
        client.expect("error")
        assert client.expect("disconnect").relay.reconnect_counter == 0


def test_remove_during_a_hanging_connect_is_reported_within_a_second() -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url]) as client:
        peer = relay.accept_raw()
        began = time.monotonic()
        client.feed.remove_relay(relay.url)
        assert client.expect("disconnect", timeout=1).value is REMOVE_RELAY
        assert time.monotonic() - began < 1
        assert peer.is_closed()
        client.expect_nothing(0.1)


def test_remove_during_backoff_cancels_the_next_attempt_and_is_reported() -> None:
    with FakeRelay() as relay:
        relay.stop_listening()
        with Recording(urls=[relay.url], options={"reconnect": [60.0]}) as client:
            client.expect("error", "disconnect")
            assert client.feed.call("handle_disconnect has returned")
            assert client.feed.list_relays() == []
            client.feed.remove_relay(relay.url)
            assert client.expect("disconnect", timeout=1).value is REMOVE_RELAY


def test_reconnect_now_makes_a_pending_attempt_at_once() -> None:
    with FakeRelay() as relay:
        relay.stop_listening()
        with Recording(urls=[relay.url], options={"reconnect": [60.0]}) as client:
            client.expect("error")
            told = client.expect("disconnect").relay
            assert client.feed.call("handle_disconnect has returned")
            relay.listen()
            client.feed.reconnect(told, delay=0)
            relay.accept()
            client.expect("connect")


def test_a_full_outbox_is_an_overflow_in_the_caller() -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url], options={"max_queue_messages": 3}) as client:
        relay.accept_raw()
        for _ in range(3):
            client.feed.send_message(["CLOSE", "x"], relay.url)
        with pytest.raises(Overflow, match="3 messages"):
            client.feed.send_message(["CLOSE", "x"], relay.url)
        assert client.feed.broadcast_message(["CLOSE", "x"]) == []


def test_a_flood_is_slowed_by_tcp_while_the_callback_is_busy_and_nothing_is_lost() -> None:
    gate = threading.Event()

    def wait(*_: object) -> None:
        gate.wait(20)

    text = '["NOTICE","' + "x" * 2000 + '"]'
    with (
        FakeRelay() as relay,
        Recording(urls=[relay.url], notice=wait) as client,
    ):
        peer = relay.accept()
        client.expect("connect")
        sent = 0
        try:
            while sent < 20_000:
                peer.raw(encode_frame(TEXT, text.encode()), timeout=1.0)
                sent += 1
        except TimeoutError:
            pass
        assert 0 < sent < 20_000
        gate.set()
        for _ in range(sent):
            client.expect("notice")


def test_tls_with_a_trusted_certificate_connects(tmp_path: Any) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    options = {"websocket": {"sslopt": {"ca_certs": str(bundle)}}}
    with FakeRelay(tls=context) as relay, Recording(urls=[relay.url], options=options) as client:
        peer = relay.accept()
        client.expect("connect")
        for number in range(100):
            peer.send(["NOTICE", f"{number} {'x' * 1000}"])
        for _ in range(100):
            client.expect("notice")


def test_tls_with_an_unknown_certificate_is_refused() -> None:
    with FakeRelay(tls=True) as relay, Recording(urls=[relay.url], reconnect=False) as client:
        with pytest.raises(AssertionError, match=r"(?i)unknown ca|certificate"):
            relay.accept()
        assert isinstance(client.expect("error").value, ssl.SSLCertVerificationError)
        client.expect("disconnect")


def test_credentials_of_a_url_are_sent_and_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with FakeRelay() as relay, Recording(reconnect=False) as client:
        url = relay.url.replace("//", "//user:secret@")
        pid = client.feed.add_relay(url)
        peer = relay.accept_raw()
        assert "Authorization: Basic dXNlcjpzZWNyZXQ=" in peer.read_request()
        peer.refuse(401)
        told = client.expect("error")
        client.expect("disconnect")
        assert "secret" not in f"{pid!r} {told!r} {caplog.text}"
