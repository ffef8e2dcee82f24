"""gennostr fetch."""

import json
import os
import pty
import signal
import socket
import subprocess

from gennostr.cli.local_relay import LocalRelay
from gennostr.testing import FakeRelay, MemoryRelay, make_event
from tests.cli.command import AT_ONCE, COMMAND, KEY, ROOT, environment, gennostr, line, note, running, signal_and_time


def test_all_events_come_newest_first_and_each_once_from_two_relays() -> None:
    with MemoryRelay() as one, MemoryRelay() as other:
        events = [note(f"note {number}", created_at=1_700_000_000 + number) for number in range(30)]
        for number, event in enumerate(events):
            for relay in (one, other)[: 2 if number % 3 else 1]:
                relay.store(event)
        done = gennostr("fetch", one.url, other.url, status=0)
        assert [json.loads(each)["id"] for each in done.stdout.splitlines()] == [each.id for each in reversed(events)]
        assert done.stderr == ""


def test_the_filter_is_the_command_lines() -> None:
    wanted = note("wanted", created_at=1_700_000_500)
    with MemoryRelay() as relay:
        for event in (wanted, note("old", created_at=1_600_000_000), note("another kind", 1_700_000_500, kind=7)):
            relay.store(event)
        arguments = ["--kinds", "1", "2", "--authors", wanted.pubkey, "--since", "2023-11-14", "--until", "1700000500"]
        done = gennostr("fetch", relay.url, *arguments, status=0)
        assert [json.loads(each)["id"] for each in done.stdout.splitlines()] == [wanted.id]


def test_a_relay_that_cannot_be_reached_is_named_and_the_rest_is_printed() -> None:
    refusing = FakeRelay()
    refusing.stop_listening()
    with MemoryRelay() as relay, refusing:
        event = relay.store(note("here"))
        done = gennostr("fetch", relay.url, refusing.url, "--timeout", "1", status=1)
        assert [json.loads(each)["id"] for each in done.stdout.splitlines()] == [event.id]
        [said] = done.stderr.splitlines()
        assert refusing.url in said
        assert relay.url not in said


def test_forged_events_are_printed_only_with_no_verify() -> None:
    with MemoryRelay() as relay:
        genuine, forged = note("genuine"), make_event(content="forged", sig="0" * 128)
        relay.store(genuine)
        relay.store(forged)
        assert [json.loads(each)["id"] for each in gennostr("fetch", relay.url).stdout.splitlines()] == [genuine.id]
        assert len(gennostr("fetch", relay.url, "--no-verify", status=0).stdout.splitlines()) == 2


def test_a_relay_that_requires_authentication_gets_it_if_that_was_requested() -> None:
    with LocalRelay(auth=True) as relay:
        gennostr("publish", relay.url, "--content", "secret", key=KEY, status=0)
        assert json.loads(gennostr("fetch", relay.url, "--auth", key=KEY, status=0).stdout)["content"] == "secret"
        alone = gennostr("fetch", relay.url, "--timeout", "2", key=KEY, status=1)
        assert alone.stdout == ""
        assert "auth-required" in alone.stderr


def test_no_event_can_write_to_the_terminal() -> None:
    with MemoryRelay() as relay:
        event = relay.store(note("a\x1b[31m\x9b31m\x7f\u202eb\nc"))
        [text] = gennostr("fetch", relay.url, status=0).stdout.splitlines()
        assert text.isprintable()
        assert json.loads(text)["content"] == event.content


def test_ctrl_c_while_a_relay_is_silent_or_hangs_ends_it_at_once_with_130() -> None:
    with FakeRelay() as relay:
        for number in (signal.SIGINT, signal.SIGTERM):
            with running("fetch", relay.url) as fetching:
                relay.accept(timeout=20)
                relay.expect_req(timeout=20)
                relay.stall()
                assert signal_and_time(fetching, number) < AT_ONCE
                assert fetching.returncode == 130
                assert fetching.communicate() == ("", "")
        with running("fetch", relay.url) as fetching:
            relay.accept_raw(timeout=20)  # the upgrade is never answered
            assert signal_and_time(fetching, signal.SIGINT) < AT_ONCE
            assert fetching.returncode == 130


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    with MemoryRelay() as relay:
        for number in range(200):
            relay.store(note("x" * 2000, created_at=1_700_000_000 + number))
        with running("fetch", relay.url) as fetching:
            line(fetching)
            assert fetching.stdout is not None
            fetching.stdout.close()
            assert fetching.wait(20) == 0
            assert fetching.stderr is not None
            assert fetching.stderr.read() == ""


def test_a_terminal_shows_how_far_it_is() -> None:
    master, slave = pty.openpty()
    with (
        FakeRelay() as relay,
        subprocess.Popen(
            [*COMMAND, "fetch", relay.url],
            stdout=subprocess.DEVNULL,
            stderr=slave,
            cwd=ROOT,
            env=environment(TERM="xterm", COLUMNS="160", TZ="UTC"),
        ) as fetching,
    ):
        os.close(slave)
        try:
            relay.accept(timeout=20)
            first = relay.expect_req(timeout=20).subscription_id
            for number in range(3):
                relay.event(first, note(f"note {number}", created_at=1_700_000_000 - number))
            relay.eose(first)
            shown = b""
            while b"2023-11-14 22:13" not in shown:
                shown += os.read(master, 4096)
            assert b"1 page to" in shown
        finally:
            fetching.kill()
    os.close(master)


def test_a_hanging_name_or_port_does_not_hold_up_ctrl_c() -> None:
    full = socket.create_server(("127.0.0.1", 0), backlog=0)  # accepts nobody: TCP itself hangs once it is full
    with full, socket.socket() as first, socket.socket() as second:
        for sock in (first, second):
            sock.settimeout(0)
            sock.connect_ex(full.getsockname())
        with FakeRelay() as relay, running("fetch", relay.url, f"ws://127.0.0.1:{full.getsockname()[1]}") as fetching:
            relay.accept(timeout=20)
            assert signal_and_time(fetching, signal.SIGINT) < AT_ONCE
            assert fetching.returncode == 130
