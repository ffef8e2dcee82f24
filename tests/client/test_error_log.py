"""What a client that overrides no handle_error logs: the relay and the reason, once a minute for each kind of error.

The limit is pure, and tested without a client; that each error arrives there is tested with a relay.
"""

import logging
import queue
import random
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from gennostr import (
    AuthenticationError,
    ConnectTimeout,
    FetchIncomplete,
    GenNostr,
    HandshakeError,
    MessageError,
    Ok,
    ProtocolError,
    PublishOutcome,
    Relay,
    RelayRefused,
)
from gennostr.client.error_log import INTERVAL, MOST, MOST_SHOWN, ErrorLog, error_log
from gennostr.nostr import ClosedMessage, NoticeMessage, OkMessage, sign
from gennostr.otp.reasons import KILLED
from gennostr.testing import FakeRelay, ManualClock, recording
from gennostr.values import printable

URL = "wss://relay.example/"
WAIT = 10.0
EVIL = "calm\n2026-01-01 ERROR all is lost\r\x1b[2J\x9b31m\u2028\u202e\u2066evil\x00\x7f"
EVENT = sign("11" * 32, created_at=1, kind=1, content="x")


# The limit.


def test_the_first_error_is_a_line_with_relay_kind_and_reason() -> None:
    error = HandshakeError("the relay answered 'HTTP/1.1 403'", 403)
    assert ErrorLog().line(URL, error, 0.0) == f"{URL}: HandshakeError: the relay answered 'HTTP/1.1 403'"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (TimeoutError(), "TimeoutError"),
        (ConnectTimeout(f"{URL}: not connected within 3 s"), "ConnectTimeout: not connected within 3 s"),
        (ConnectionRefusedError(111, "Connection refused"), "ConnectionRefusedError: [Errno 111] Connection refused"),
        (KILLED, str(KILLED)),
    ],
    ids=["without a text", "with the url", "the system's", "no exception"],
)
def test_a_line_says_what_there_is_to_say_once(error: object, text: str) -> None:
    assert ErrorLog().line(URL, error, 0.0) == f"{URL}: {text}"


def test_credentials_are_not_shown() -> None:
    assert ErrorLog().line("wss://me:secret@relay.example/", TimeoutError("late"), 0.0) == f"{URL}: TimeoutError: late"


def test_the_next_line_of_a_kind_comes_after_a_minute_and_counts_what_was_left_out() -> None:
    log = ErrorLog()
    assert log.line(URL, TimeoutError("1"), 100.0) is not None
    for number in range(41):
        assert log.line(URL, TimeoutError("2"), 100.0 + number) is None
    assert log.line(URL, TimeoutError("3"), 100.0 + INTERVAL - 0.001) is None
    assert log.line(URL, TimeoutError("4"), 175.0) == f"{URL}: TimeoutError: 4 (42 more like this in the last 75 s)"
    assert log.line(URL, TimeoutError("5"), 175.0 + INTERVAL) == f"{URL}: TimeoutError: 5"


@pytest.mark.parametrize(
    "other",
    [
        ("wss://other.example/", MessageError("x")),
        (URL, ProtocolError(1002, "x")),
        (URL, MessageError("x", "forged")),
        (URL, MessageError("x", "unrequested")),
    ],
    ids=["relay", "class", "forged", "unrequested"],
)
def test_another_relay_or_kind_has_a_line_of_its_own(other: tuple[str, Exception]) -> None:
    log = ErrorLog()
    assert log.line(URL, MessageError("x"), 0.0) is not None
    assert log.line(*other, 0.0) is not None
    assert log.line(URL, MessageError("y"), 0.0) is None
    assert log.line(*other, 0.0) is None


def test_every_error_is_a_line_or_counted_in_one() -> None:
    chance = random.Random(16)
    kinds = [TimeoutError("x"), MessageError("x"), MessageError("x", "forged"), KILLED]
    log, now, errors, lines, counted = ErrorLog(), 0.0, 0, 0, 0
    last: dict[tuple[str, int], float] = {}
    for _ in range(20_000):
        now += chance.choice([0.0, 0.1, 1.0, 20.0])
        url, kind = f"wss://{chance.randrange(3)}.example/", chance.randrange(len(kinds))
        errors += 1
        line = log.line(url, kinds[kind], now)
        if line is not None:
            assert now - last.get((url, kind), -INTERVAL) >= INTERVAL
            last[url, kind] = now
            lines += 1
            counted += int(line.rpartition("(")[2].split()[0]) if "more like this" in line else 0
    for url, kind in last:  # the rest is in the lines after
        line = log.line(url, kinds[kind], now + INTERVAL)
        assert line is not None
        lines, errors = lines + 1, errors + 1
        counted += int(line.rpartition("(")[2].split()[0]) if "more like this" in line else 0
    assert lines + counted == errors


def test_memory_and_lines_are_bounded_over_all_relays() -> None:
    log = ErrorLog()
    lines = [log.line(f"wss://{number}.example/", TimeoutError("x"), 1.0) for number in range(3 * MOST)]
    assert [line is not None for line in lines] == [True] * MOST + [False] * 2 * MOST
    assert log.line("wss://0.example/", TimeoutError("x"), 2.0) is None
    line = log.line("wss://new.example/", TimeoutError("x"), 1.0 + INTERVAL)
    assert line == (f"wss://new.example/: TimeoutError: x ({2 * MOST} errors of other kinds or relays were not logged)")
    for number in range(5 * MOST):
        log.line(f"wss://{number}.example/", TimeoutError("x"), 1000.0 * number)
        assert len(log._entries) <= MOST


def test_a_clock_that_goes_back_keeps_nothing_quiet() -> None:
    log = ErrorLog()
    assert log.line(URL, TimeoutError(), 1e9) is not None
    assert log.line(URL, TimeoutError(), 5.0) is not None
    assert log.line(URL, TimeoutError(), 6.0) is None


class Odd(Exception):
    def __str__(self) -> str:
        raise SystemExit


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError(EVIL),
        FetchIncomplete({f"wss://{EVIL}.example/": RelayRefused(EVIL)}),
        HandshakeError(EVIL),
        ProtocolError(1002, EVIL),
        MessageError(EVIL),
        OSError(EVIL),
        ValueError(EVIL, EVIL),
        EVIL,
        Odd("evil"),
        RelayRefused(EVIL * 100_000),
        ValueError("\u202e" * 1_000_000),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_line_is_one_line_and_short_whatever_the_relay_has_sent(error: object) -> None:
    line = ErrorLog().line(URL, error, 0.0)
    assert line is not None
    assert line.isprintable()
    assert len(line) < 10 * MOST_SHOWN


# The client.


class Warnings(logging.Handler):
    """What is logged at WARNING or above, to be waited for."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.put(f"{record.levelname} {self.format(record)}")


@pytest.fixture
def warnings() -> Iterator["queue.SimpleQueue[str]"]:
    handler = Warnings()
    logging.getLogger("gennostr").addHandler(handler)
    yield handler.lines
    logging.getLogger("gennostr").removeHandler(handler)


class Plain(GenNostr[None]):
    """Overrides nothing that concerns errors."""

    ends = 0

    def init(self, init_arg: Any) -> Any:
        url, self.over, options = init_arg
        self.add_relay(url, close_timeout=0.05, **options)
        self.subscribe({"kinds": [1]}, "s")
        return Ok(None)

    def handle_disconnect(self, reason: Any, relay: Relay, state: None) -> Any:
        self.ends += 1
        if self.ends == 5:
            self.over.set()
        return super().handle_disconnect(reason, relay, state)

    def handle_notice(self, message: Any, relay: Relay, state: None) -> Any:
        if message.message == "that is all":
            self.over.set()
            return None
        return super().handle_notice(message, relay, state)


class Silent(Plain):
    def handle_error(self, reason: Any, relay: Relay, state: None) -> Any:
        return None


class Louder(Plain):
    def handle_error(self, reason: Any, relay: Relay, state: None) -> Any:
        return super().handle_error(reason, relay, state)


@pytest.mark.parametrize("cls", [Plain, Louder])
def test_forged_and_undecodable_messages_are_one_warning_each(
    cls: type[Plain], warnings: "queue.SimpleQueue[str]", fake_relay: FakeRelay
) -> None:
    over = threading.Event()
    with cls.start((fake_relay.url, over, {"verify": True})):
        peer = fake_relay.accept()
        peer.expect_req()
        for _ in range(50):
            peer.event("s", msgspec.structs.replace(EVENT, sig="2" * 128))
            peer.send_text("[1]")
        peer.notice("that is all")
        assert over.wait(WAIT)
    lines = [warnings.get(timeout=WAIT) for _ in range(2)]
    assert warnings.empty()
    start = f"WARNING {fake_relay.url}: MessageError: "
    assert all(line.startswith(start) for line in lines)
    assert ["the signature is not that of" in line for line in lines] == [True, False]
    assert ["not a relay's message" in line for line in lines] == [False, True]


def test_a_relay_that_cannot_be_reached_is_one_warning_and_not_one_for_each_attempt(
    warnings: "queue.SimpleQueue[str]", fake_relay: FakeRelay
) -> None:
    fake_relay.stop_listening()
    over = threading.Event()
    with Plain.start((fake_relay.url, over, {"reconnect": [0.01]})):
        assert over.wait(WAIT)
    assert "ConnectionRefusedError" in warnings.get(timeout=WAIT)
    assert warnings.empty()


def test_a_client_that_overrides_handle_error_decides_for_itself(
    warnings: "queue.SimpleQueue[str]", fake_relay: FakeRelay
) -> None:
    over = threading.Event()
    with Silent.start((fake_relay.url, over, {})) as client:
        peer = fake_relay.accept()
        peer.send_text("[1]")
        peer.notice("that is all")
        assert over.wait(WAIT)
    assert warnings.empty()
    assert "error_log" not in vars(client)


# Refusals.


def _line_after(relay: FakeRelay, warnings: "queue.SimpleQueue[str]", refuse: Any, cls: type[Plain] = Plain) -> str:
    """Return what is logged if the relay does ``refuse(connection)`` after the REQ; nothing else may be logged."""
    over = threading.Event()
    with cls.start((relay.url, over, {})):
        peer = relay.accept()
        peer.expect_req()
        refuse(peer)
        peer.notice("that is all")
        assert over.wait(WAIT)
    line = warnings.get_nowait()
    assert warnings.empty()
    return line


@pytest.mark.parametrize("text", ["blocked: no", "auth-required: members only", "error: out of order", "", EVIL])
def test_a_refused_subscription_is_one_warning_with_relay_subscription_and_text(
    text: str, warnings: "queue.SimpleQueue[str]", fake_relay: FakeRelay
) -> None:
    line = _line_after(fake_relay, warnings, lambda peer: peer.closed("s", text))
    assert line == f"WARNING {fake_relay.url}: closed subscription 's': {printable(text)}"


def test_a_notice_is_one_warning(warnings: "queue.SimpleQueue[str]", fake_relay: FakeRelay) -> None:
    line = _line_after(fake_relay, warnings, lambda peer: peer.notice(f"you are banned{EVIL}"))
    assert line == f"WARNING {fake_relay.url}: NOTICE: {printable(f'you are banned{EVIL}')}"


def test_refusals_fill_no_log(warnings: "queue.SimpleQueue[str]", fake_relay: FakeRelay) -> None:
    def refuse(peer: Any) -> None:
        for number in range(50):
            peer.closed(f"own-{number}", "blocked: no")

    line = _line_after(fake_relay, warnings, refuse)
    assert line == f"WARNING {fake_relay.url}: closed subscription 'own-0': blocked: no"


def test_each_kind_of_refusal_has_a_line_of_its_own() -> None:
    log = ErrorLog()
    assert log.line(URL, ClosedMessage("s", "no"), 0.0) == f"{URL}: closed subscription 's': no"
    assert log.line(URL, NoticeMessage("no"), 0.0) == f"{URL}: NOTICE: no"
    assert log.line(URL, OkMessage("ab", accepted=False, message="no"), 0.0) == f"{URL}: refused event ab: no"
    assert log.line(URL, ClosedMessage("t", "no"), 1.0) is None
    again = log.line(URL, ClosedMessage("s", "no"), INTERVAL)
    assert again == f"{URL}: closed subscription 's': no (1 more like this in the last 60 s)"


def test_a_refusal_of_any_length_is_a_line_of_a_bounded_one() -> None:
    line = ErrorLog().line(URL, ClosedMessage("s" * 100_000, "x" * 100_000), 0.0)
    assert line is not None
    assert len(line) < 3 * MOST_SHOWN


def test_a_client_that_overrides_handle_closed_decides_for_itself(
    warnings: "queue.SimpleQueue[str]", fake_relay: FakeRelay
) -> None:
    class Deaf(Plain):
        def handle_closed(self, message: Any, relay: Relay, state: None) -> Any:
            return None

        def handle_notice(self, message: Any, relay: Relay, state: None) -> Any:
            self.over.set()

    over = threading.Event()
    with Deaf.start((fake_relay.url, over, {})):
        peer = fake_relay.accept()
        peer.expect_req()
        peer.closed("s", "blocked: no")
        peer.notice("bye")
        assert over.wait(WAIT)
    assert warnings.empty()


def test_the_answer_to_our_own_close_is_not_logged(warnings: "queue.SimpleQueue[str]", fake_relay: FakeRelay) -> None:
    over = threading.Event()
    with Plain.start((fake_relay.url, over, {})) as client:
        peer = fake_relay.accept()
        peer.expect_req()
        client.unsubscribe("s")
        peer.expect_close()
        peer.closed("s", "closed as you wished")
        peer.notice("that is all")
        assert over.wait(WAIT)
    assert warnings.empty()


def test_a_refused_event_is_logged_if_no_publication_has_the_answer(
    warnings: "queue.SimpleQueue[str]", fake_relay: FakeRelay
) -> None:
    over = threading.Event()
    with Plain.start((fake_relay.url, over, {})) as client:
        peer = fake_relay.accept()
        peer.expect_req()
        published = client.publish(EVENT)
        peer.expect_event()
        peer.ok(EVENT.id, accepted=False, message="blocked: no")
        assert published.result(WAIT)[fake_relay.url].prefix == "blocked"
        counted = client.count({})
        id_ = peer.expect_count().subscription_id
        peer.closed(id_, "blocked: no")
        outcome = counted.result(WAIT).by_relay[fake_relay.url]
        assert isinstance(outcome, PublishOutcome)
        assert outcome.prefix == "blocked"
        for accepted, text in [(True, ""), (False, "duplicate: have it"), (False, "blocked: no")]:
            client.send_message(["EVENT", EVENT], fake_relay.url)
            peer.expect_event()
            peer.ok(EVENT.id, accepted=accepted, message=text)
        peer.notice("that is all")
        assert over.wait(WAIT)
    assert warnings.get_nowait() == f"WARNING {fake_relay.url}: refused event {EVENT.id}: blocked: no"
    assert warnings.empty()


def test_the_answer_to_a_publication_is_not_logged_in_a_client_that_passes_it_on(
    warnings: "queue.SimpleQueue[str]", fake_relay: FakeRelay
) -> None:
    class Passing(Plain):
        def handle_ok(self, message: Any, relay: Relay, state: None) -> Any:
            return super().handle_ok(message, relay, state)

    over = threading.Event()
    with Passing.start((fake_relay.url, over, {})) as client:
        peer = fake_relay.accept()
        peer.expect_req()
        published = client.publish(EVENT)
        peer.expect_event()
        peer.ok(EVENT.id, accepted=False, message="blocked: no")
        peer.notice("that is all")
        assert not published.result(WAIT)[fake_relay.url]
        assert over.wait(WAIT)
    assert warnings.empty()


def test_refusals_that_a_test_passes_to_a_callback_are_logged(warnings: "queue.SimpleQueue[str]") -> None:
    with recording(GenNostr) as (client, _):
        client.handle_closed(ClosedMessage("s", "no"), Relay.new(URL), None)
        client.handle_ok(OkMessage("ab", accepted=False), Relay.new(URL), None)
    assert warnings.get_nowait() == f"WARNING {URL}: closed subscription 's': no"
    assert warnings.get_nowait() == f"WARNING {URL}: refused event ab: "


def test_what_a_relay_says_of_an_authentication_is_escaped_in_the_log(
    warnings: "queue.SimpleQueue[str]", fake_relay: FakeRelay
) -> None:
    class Known(Plain):
        def signer(self, **template: Any) -> Any:
            return sign("11" * 32, **template)

    with Known.start((fake_relay.url, threading.Event(), {})):
        peer = fake_relay.accept()
        peer.expect_req()
        peer.auth("challenge")
        peer.ok(peer.expect_auth().id, accepted=False, message=f"restricted: {EVIL}")
        line = warnings.get(timeout=WAIT)
    assert line.startswith(f"WARNING {fake_relay.url}: AuthenticationError: ")
    assert "evil" in line
    assert line.isprintable()


def test_callbacks_that_a_test_calls_itself_log_as_well(warnings: "queue.SimpleQueue[str]") -> None:
    relay = Relay.new(URL)
    for _ in range(2):  # each client has a log of its own
        with recording(Plain) as (client, _):
            for _ in range(3):
                assert client.handle_error(TimeoutError("late"), relay, None) is None
        assert warnings.get(timeout=WAIT) == f"WARNING {URL}: TimeoutError: late"
        assert warnings.empty()


def test_the_minute_is_one_of_the_librarys_clock(warnings: "queue.SimpleQueue[str]") -> None:
    class Reporting(GenNostr[None]):
        def handle_cast(self, request: Any, state: None) -> Any:
            return self.handle_error(request, Relay.new(URL), state)

    with ManualClock() as clock, Reporting.start() as client:
        for seconds in (0.0, INTERVAL / 2, INTERVAL / 2):
            clock.advance(seconds)
            client.cast(TimeoutError("late"))
            client.get_state()
    assert warnings.get(timeout=WAIT) == f"WARNING {URL}: TimeoutError: late"
    assert warnings.get(timeout=WAIT) == f"WARNING {URL}: TimeoutError: late (1 more like this in the last 60 s)"
    assert warnings.empty()


def test_a_client_has_one_log_for_life(warnings: "queue.SimpleQueue[str]") -> None:
    del warnings
    with recording(Plain) as (client, _), recording(Plain) as (other, _):
        assert error_log(client.pid) is error_log(client.pid)
        assert error_log(client.pid) is not error_log(other.pid)
