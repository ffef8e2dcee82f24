"""gennostr publish."""

import json
import signal
import time
from contextlib import ExitStack

import msgspec

from gennostr.cli.local_relay import LocalRelay
from gennostr.nostr import public_key
from gennostr.testing import FakeRelay, MemoryRelay, make_event
from tests.cli.command import AT_ONCE, KEY, environment, gennostr, note, running, signal_and_time


def test_a_note_is_signed_and_accepted_by_a_real_relay(local_relay: LocalRelay) -> None:
    done = gennostr(
        "publish", local_relay.url, "--content", "hello", "--tag", "t=nostr", "--kind", "30", key=KEY, status=0
    )
    assert done.stdout == f"{local_relay.url} accepted\n"
    assert done.stderr == ""
    fetched = json.loads(gennostr("fetch", local_relay.url, status=0).stdout)
    assert (fetched["pubkey"], fetched["content"], fetched["kind"]) == (public_key(KEY), "hello", 30)
    assert fetched["tags"] == [["t", "nostr"]]


def test_the_note_comes_from_standard_input_without_its_last_line_break() -> None:
    with MemoryRelay() as relay:
        gennostr("publish", relay.url, stdin="two\nlines\n", key=KEY, status=0)
        assert [event.content for event in relay.events] == ["two\nlines"]


def test_nothing_on_standard_input_is_no_note() -> None:
    with MemoryRelay() as relay:
        assert "--content ''" in gennostr("publish", relay.url, key=KEY, status=2).stderr
        assert relay.events == []
        gennostr("publish", relay.url, "--content", "", key=KEY, status=0)
        assert [event.content for event in relay.events] == [""]


def test_a_signed_event_is_published_as_it_is_without_a_key() -> None:
    event = note("signed elsewhere")
    with MemoryRelay() as relay:
        gennostr("publish", relay.url, "--event", stdin=msgspec.json.encode(event).decode(), status=0)
        assert relay.events == [event]


def test_a_forged_or_malformed_event_is_not_sent() -> None:
    changed, forged = msgspec.structs.replace(note("one"), content="another"), make_event(sig="0" * 128)
    with MemoryRelay() as relay:
        for stdin in (*(msgspec.json.encode(each).decode() for each in (changed, forged)), "{}", "no JSON"):
            done = gennostr("publish", relay.url, "--event", stdin=stdin, status=1)
            assert len(done.stderr.splitlines()) == 1
        assert relay.events == []


def test_each_relays_outcome_is_one_line_of_json_and_some_accepted_is_1() -> None:
    refusing = FakeRelay()
    refusing.stop_listening()
    with MemoryRelay() as relay, refusing:
        done = gennostr("publish", relay.url, refusing.url, "--content", "x", "--json", key=KEY, status=1)
        [event] = relay.events
        outcomes = {each["relay"]: each for each in map(json.loads, done.stdout.splitlines())}
        assert outcomes[relay.url] == {
            "relay": relay.url,
            "outcome": "accepted",
            "prefix": None,
            "message": "",
            "event": event.id,
        }
        assert outcomes[refusing.url]["outcome"] == "not_sent"
        assert "refused" in outcomes[refusing.url]["message"]
        assert f"1 of 2 relays have {event.id}" in done.stderr


def test_a_relay_that_refuses_the_connection_is_not_waited_for() -> None:
    refusing = FakeRelay()
    refusing.stop_listening()
    began = time.monotonic()
    with refusing:
        done = gennostr("publish", refusing.url, "--content", "x", "--timeout", "25", key=KEY, status=3)
    assert time.monotonic() - began < 15
    assert f"{refusing.url} not_sent" in done.stdout


def test_what_a_relay_says_is_shown_without_its_control_characters() -> None:
    with (
        FakeRelay() as relay,
        running("publish", relay.url, "--content", "x", env=environment(GENNOSTR_KEY=KEY)) as publisher,
    ):
        relay.accept(timeout=20)
        relay.ok(relay.expect_event(timeout=20).id, accepted=False, message="blocked: \x1b[31mno\nmore")
        out, said = publisher.communicate(timeout=20)
        assert publisher.returncode == 3
        assert out == f"{relay.url} rejected blocked: \\x1b[31mno\\nmore\n"
        assert "0 of 1" in said


def test_a_silent_relay_is_a_timeout() -> None:
    with (
        FakeRelay() as relay,
        running(
            "publish", relay.url, "--content", "x", "--timeout", "1", env=environment(GENNOSTR_KEY=KEY)
        ) as publisher,
    ):
        relay.accept(timeout=20)
        relay.expect_event(timeout=20)
        out, _ = publisher.communicate(timeout=20)
        assert publisher.returncode == 3
        assert f"{relay.url} timeout" in out


def test_ctrl_c_while_a_relay_is_silent_ends_it_at_once_with_130() -> None:
    with FakeRelay() as relay, ExitStack() as stack:
        for number in (signal.SIGINT, signal.SIGTERM):
            publisher = stack.enter_context(
                running("publish", relay.url, "--content", "x", env=environment(GENNOSTR_KEY=KEY))
            )
            relay.accept(timeout=20)
            relay.expect_event(timeout=20)
            relay.stall()
            assert signal_and_time(publisher, number) < AT_ONCE
            assert publisher.returncode == 130
            assert publisher.communicate() == ("", "")


def test_a_relay_that_requires_authentication_gets_it() -> None:
    with LocalRelay(auth=True) as relay:
        gennostr("publish", relay.url, "--content", "x", key=KEY, status=0)
