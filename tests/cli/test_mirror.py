"""gennostr mirror."""

import json
import os
import pty
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import pytest

from gennostr.cli import mirror
from gennostr.cli.local_relay import LocalRelay
from gennostr.nostr import Event
from gennostr.testing import FakeConnection, FakeRelay, MemoryRelay
from tests.cli.command import (
    AT_ONCE,
    COMMAND,
    KEY,
    PATIENCE,
    ROOT,
    environment,
    gennostr,
    note,
    running,
    signal_and_time,
)


def notes(number: int, each_second: int = 1) -> list[Event]:
    return [note(f"note {place}", created_at=1_700_000_000 + place // each_second) for place in range(number)]


@contextmanager
def two_relays(*, first: list[Event], second: list[Event]) -> Iterator[tuple[MemoryRelay, MemoryRelay]]:
    with MemoryRelay() as one, MemoryRelay() as other:
        for relay, events in ((one, first), (other, second)):
            for event in events:
                relay.store(event)
        yield one, other


def ids(relay: MemoryRelay) -> set[str]:
    return {event.id for event in relay.events}


def totals(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    found: dict[str, int] = json.loads(done.stdout)
    return found


def test_only_what_the_other_does_not_have_is_sent() -> None:
    events = notes(700, each_second=3)
    with two_relays(first=events, second=[*events[100:400], note("its own", 1_700_000_050)]) as (one, other):
        done = gennostr("mirror", one.url, other.url, "--json", status=0)
        assert totals(done) == {"read": 700, "present": 300, "copied": 400, "rejected": 0, "no_answer": 0}
        assert done.stderr == ""
        assert ids(one) <= ids(other)
        again = gennostr("mirror", one.url, other.url, status=0)
        assert again.stdout == "read 700, present 700, copied 0, rejected 0, no answer 0\n"


def test_the_filter_selects_and_its_limit_is_that_of_the_first_relay() -> None:
    events = notes(20)
    newer = [note(f"newer {number}", created_at=1_800_000_000 + number) for number in range(10)]
    with two_relays(first=[*events, note("reaction", kind=7)], second=[*newer, *events[15:]]) as (one, other):
        done = gennostr("mirror", one.url, other.url, "--kinds", "1", "--limit", "8", "--json", status=0)
        assert totals(done) == {"read": 8, "present": 5, "copied": 3, "rejected": 0, "no_answer": 0}
        assert ids(other) == {event.id for event in [*newer, *events[12:]]}


def test_forged_events_are_not_copied() -> None:
    forged = msgspec.structs.replace(note("forged"), sig="0" * 128)
    with two_relays(first=[note("genuine"), forged], second=[]) as (one, other):
        assert "1 forged" in gennostr("mirror", one.url, other.url, status=1).stderr
        assert [event.content for event in other.events] == ["genuine"]


def test_real_relays_with_authentication(local_relay: LocalRelay) -> None:
    with LocalRelay(auth=True) as private:
        gennostr("publish", local_relay.url, "--content", "hello", key=KEY, status=0)
        done = gennostr("mirror", local_relay.url, private.url, "--auth", "--json", key=KEY, status=0)
        assert totals(done)["copied"] == 1
        assert json.loads(gennostr("fetch", private.url, "--auth", key=KEY, status=0).stdout)["content"] == "hello"


def answering(relay: FakeRelay, answer: Callable[[Event], tuple[bool, str]], number: int) -> None:
    """Answer the REQ for what the relay has with nothing, and `number` events with `answer`."""
    left = number
    while left:
        match relay.receive(timeout=PATIENCE):
            case ["REQ", id_, *_]:
                relay.eose(id_)
            case ["EVENT", dict() as fields]:
                left -= 1
                accepted, message = answer(Event(**fields))
                relay.ok(fields["id"], accepted, message)


def test_each_rejected_event_is_reported_and_the_status_is_3() -> None:
    events = notes(5)
    with two_relays(first=events, second=[]) as (one, _), FakeRelay() as other:
        with running("mirror", one.url, other.url, "--no-compare") as copying:
            other.accept(timeout=PATIENCE)
            bad = events[2].id
            answering(other, lambda event: (event.id != bad, "blocked: \x1b no" if event.id == bad else ""), 5)
            out, said = copying.communicate(timeout=PATIENCE)
        assert copying.returncode == 3
        assert out == "read 5, present 0, copied 4, rejected 1, no answer 0\n"
        assert said == f"{bad} kind 1 rejected blocked: \\x1b no\n"


def test_a_rate_limited_event_is_sent_again() -> None:
    with two_relays(first=notes(1), second=[]) as (one, _), FakeRelay() as other:
        with running("mirror", one.url, other.url, "--no-compare") as copying:
            other.accept(timeout=PATIENCE)
            answers = iter([(False, "rate-limited: slow down"), (True, "")])
            answering(other, lambda event: next(answers), 2)
            out, said = copying.communicate(timeout=PATIENCE)
        assert (copying.returncode, said) == (0, "")
        assert out == "read 1, present 0, copied 1, rejected 0, no answer 0\n"


def test_a_relay_that_cannot_be_reached_is_one_line_and_1() -> None:
    refusing = FakeRelay()
    refusing.stop_listening()
    with MemoryRelay() as relay, refusing:
        relay.store(note("one"))
        to = gennostr("mirror", relay.url, refusing.url, "--timeout", "1", status=1)
        assert "refused" in to.stderr
        assert len(to.stderr.splitlines()) == 1
        from_ = gennostr("mirror", refusing.url, relay.url, "--timeout", "1", status=1)
        assert f"{refusing.url}: not read to its end" in from_.stderr
        assert "same relay" in gennostr("mirror", relay.url, relay.url, status=2).stderr


def test_one_that_goes_silent_is_given_up() -> None:
    with two_relays(first=notes(mirror.SILENT + 10), second=[]) as (one, _), FakeRelay() as other:
        with running("mirror", one.url, other.url, "--no-compare", "--timeout", "1") as copying:
            other.accept(timeout=PATIENCE)
            for _ in range(8):  # a session sends the first few, and waits for an answer
                other.expect_event(timeout=PATIENCE)
            out, said = copying.communicate(timeout=PATIENCE)
        assert copying.returncode == 1
        assert f"did not answer {mirror.SILENT} events in a row" in said
        assert "no answer 64" in out


def test_a_relay_whose_events_cannot_be_read_gets_all_of_them() -> None:
    with two_relays(first=notes(2), second=[]) as (one, _), FakeRelay() as other:
        with running("mirror", one.url, other.url) as copying:
            # Two connections: one writes, the other reads.
            connections = [other.accept(timeout=PATIENCE) for _ in range(2)]
            reader, id_ = next(found for each in connections * 20 if (found := _reader(each)))
            reader.closed(id_, "blocked: write only")
            [writer] = [each for each in connections if each is not reader]
            for _ in range(2):
                writer.ok(writer.expect_event(timeout=PATIENCE).id)
            out, said = copying.communicate(timeout=PATIENCE)
        assert copying.returncode == 0
        assert out == "read 2, present 0, copied 2, rejected 0, no answer 0\n"
        assert "not everything that it has could be read" in said


def _reader(connection: FakeConnection) -> tuple[FakeConnection, str] | None:
    """Return the connection with the id of its REQ, if it has sent one: the other sends nothing before its answer."""
    try:
        return connection, connection.expect_req(timeout=0.5).subscription_id
    except (AssertionError, TimeoutError):
        return None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_ends_it_at_once_and_the_same_command_goes_on(number: int) -> None:
    """It is interrupted where the other relay has accepted 100 events, and is silent about the next ones."""
    events = notes(300)
    with two_relays(first=events, second=[]) as (one, other):
        with FakeRelay() as halting:
            with running("mirror", one.url, halting.url, "--json") as copying:
                connections = [halting.accept(timeout=PATIENCE) for _ in range(2)]
                reader, id_ = next(found for each in connections * 20 if (found := _reader(each)))
                reader.eose(id_)
                [writer] = [each for each in connections if each is not reader]
                for _ in range(100):
                    event = writer.expect_event(timeout=PATIENCE)
                    other.store(event)
                    writer.ok(event.id)
                writer.expect_event(timeout=PATIENCE)
                assert signal_and_time(copying, number) < AT_ONCE
                out, said = copying.communicate()
            assert copying.returncode == 130
            assert "run the same command again to resume" in said
            assert json.loads(out)["copied"] <= 100
        done = gennostr("mirror", one.url, other.url, "--json", status=0)
        assert totals(done) == {"read": 300, "present": 100, "copied": 200, "rejected": 0, "no_answer": 0}
        assert ids(one) == ids(other)


@pytest.mark.parametrize("tqdm", [True, False])
def test_a_terminal_shows_how_far_it_is(tqdm: bool) -> None:  # noqa: FBT001
    master, slave = pty.openpty()
    program = "import sys; sys.argv[0] = 'gennostr'; from gennostr.cli import main; sys.exit(main())"
    if not tqdm:
        program = f"import gennostr.cli.progress as p; p._meter = lambda: None; {program}"
    command = [COMMAND[0], "-c", program]
    with (
        two_relays(first=notes(3), second=[]) as (one, _),
        FakeRelay() as other,
        subprocess.Popen(
            [*command, "mirror", one.url, other.url, "--no-compare"],
            stdout=subprocess.DEVNULL,
            stderr=slave,
            cwd=ROOT,
            env=environment(TERM="xterm", COLUMNS="160", PYTHONIOENCODING="utf-8"),
        ) as copying,
    ):
        os.close(slave)
        try:
            other.accept(timeout=PATIENCE)
            other.ok(other.expect_event(timeout=PATIENCE).id)
            shown = b""
            wanted = b"3/3 [" if tqdm else b"3 of 3 events"
            while wanted not in shown or b"0 rejected" not in shown:
                shown += os.read(master, 4096)
        finally:
            copying.kill()
    os.close(master)
