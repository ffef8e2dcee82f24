"""What a relay may write into its messages: each is delivered once, where it belongs, and none writes into the log."""

import logging

import msgspec
import pytest

from gennostr import (
    Close,
    Count,
    FetchProgress,
    HandshakeError,
    MessageError,
    ProtocolError,
    PublishOutcome,
    RelayRefused,
    RelayStatistics,
)
from gennostr.nostr import Event, sign
from gennostr.nostr.messages import decode
from gennostr.nostr.relay_information import parse_information
from gennostr.testing.fake_relay import FakeRelay
from tests.client.recorder import Recording, note
from tests.client.test_tree import await_death

REAL = sign("1" * 64, created_at=1, kind=1, content="real")
OTHER = sign("1" * 64, created_at=2, kind=1, content="other")
EVIL = "calm\n2026-01-01 ERROR all is lost\r\x1b[2J\x9b31m\u2028\u202eevil\x00"


def is_clean(text: str) -> bool:
    """No line is the relay's, and no character is a control character but our own line ends."""
    return not any(line.startswith("2026-01-01") for line in text.splitlines()) and all(
        each == "\n" or each.isprintable() for each in text
    )


@pytest.mark.parametrize(
    "forged",
    [
        msgspec.structs.replace(REAL, content="changed"),
        msgspec.structs.replace(REAL, sig=OTHER.sig),
        msgspec.structs.replace(REAL, id=OTHER.id),
        msgspec.structs.replace(REAL, pubkey="f" * 64),
    ],
    ids=["content", "signature", "id", "key"],
)
def test_a_forged_event_is_an_error_and_the_real_one_behind_it_an_event(forged: Event) -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url], options={"verify": True}) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.event("s", forged)
        peer.event("s", REAL)
        assert isinstance(client.expect("error").value, MessageError)
        assert client.expect("event").value.event == REAL


def test_an_event_for_a_subscription_that_nobody_asked_for_comes_with_its_id() -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url]) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.event("never asked for", note())
        assert client.expect("event").value.subscription_id == "never asked for"


@pytest.mark.parametrize(
    "text",
    [
        '["EVENT",["s"],{}]',
        '["EOSE",{"a":1}]',
        '["OK",["unhashable"],true,""]',
        '["CLOSED",null,""]',
        '["NOTICE",{}]',
        '["AUTH",[[]]]',
        '["COUNT","s",{"count":"many"}]',
        '[["EVENT"]]',
        '[{"EVENT":1}]',
        "[NaN]",
        '["X",1e400]',
        '{"EVENT":1}',
    ],
)
def test_a_value_where_another_should_be_is_one_error_and_the_connection_lives(text: str) -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url]) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.send_text(text)
        peer.notice("still here")
        assert isinstance(client.expect("error").value, MessageError)
        assert client.expect("notice").value.message == "still here"


@pytest.mark.parametrize("size", [1_000_000, 5_000_000])
def test_a_huge_string_is_delivered_as_it_is(size: int) -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url]) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.notice("x" * size)
        assert len(client.expect("notice").value.message) == size


def test_a_notice_writes_no_line_of_its_own_into_a_crash_report(caplog: pytest.LogCaptureFixture) -> None:
    def fail(client: object, relay: object) -> None:
        raise ValueError(EVIL)

    with caplog.at_level(logging.WARNING), FakeRelay() as relay:
        client = Recording(urls=[relay.url], notice=fail)
        peer = relay.accept()
        peer.notice(EVIL)
        client.expect("connect", "notice")
        await_death(client.feed)
    assert "evil" in caplog.text
    assert "Traceback" in caplog.text
    assert [line for line in caplog.text.split("\n") if not is_clean(line)] == []


def test_the_reason_of_an_end_is_shown_without_control_characters() -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url], reconnect=False) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.close(4000, EVIL)
        closed = client.expect("disconnect").value
        assert closed == Close(4000, EVIL)
        assert is_clean(repr(closed))


def test_a_status_line_is_shown_without_control_characters() -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url], reconnect=False) as client:
        peer = relay.accept_raw()
        peer.read_request()
        peer.raw(b"HTTP/1.1 403 \x1b[2J\x9b\nevil\r\n\r\n")
        error = client.expect("error").value
        assert isinstance(error, HandshakeError)
        assert is_clean(str(error))


def test_a_message_that_is_none_is_shown_without_control_characters() -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url]) as client:
        peer = relay.accept()
        client.expect("connect")
        for text in (EVIL, f'["{EVIL}', '["\\u001b[2J\\n2026-01-01",1e999]', '["OK","\\u001b\\n2026-01-01",1]'):
            peer.send_text(text)
            assert is_clean(str(client.expect("error").value))


@pytest.mark.parametrize(
    "value",
    [
        decode(msgspec.json.encode(message))
        for message in (
            ["EVENT", EVIL, note(EVIL)],
            ["EOSE", EVIL],
            ["OK", EVIL, False, EVIL],
            ["CLOSED", EVIL, EVIL],
            ["NOTICE", EVIL],
            ["AUTH", EVIL],
            ["COUNT", EVIL, {"count": 1}],
            [EVIL, EVIL, {EVIL: [EVIL]}],
        )
    ]
    + [
        PublishOutcome("rejected", EVIL, EVIL),
        Close(4000, EVIL),
        Count(0, False, None, {"wss://a.example/": PublishOutcome("rejected", None, EVIL)}),  # noqa: FBT003
        FetchProgress(error=RelayRefused(EVIL)),
        RelayStatistics(url="wss://a.example/", state="backoff", last_error=ProtocolError(1002, EVIL)),
        parse_information(msgspec.json.encode({"name": EVIL, "description": EVIL, "software": EVIL})),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_relay_has_sent_can_be_printed(value: object) -> None:
    assert str(value).isprintable()
    assert repr(value).isprintable()
