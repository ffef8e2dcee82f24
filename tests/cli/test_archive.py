"""gennostr archive, and gennostr fetch of its file."""

import json
import os
import pty
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gennostr import StoreError
from gennostr.nostr import Event
from gennostr.store import Events
from gennostr.testing import FakeConnection, FakeRelay, MemoryRelay, make_event
from tests.cli.command import (
    AT_ONCE,
    COMMAND,
    PATIENCE,
    ROOT,
    environment,
    gennostr,
    note,
    running,
    signal_and_time,
)

KILLS = int(os.environ.get("KILLS", "4"))


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "notes.db")


def fill(relay: MemoryRelay, number: int, begin: int = 1_700_000_000) -> list[Event]:
    return [relay.store(note(f"note {place}", begin + 60 * place)) for place in range(number)]


def printed(done: "subprocess.CompletedProcess[str]") -> list[str]:
    return [json.loads(line)["id"] for line in done.stdout.splitlines()]


def newest_first(*events: Event) -> list[str]:
    return [event.id for event in sorted(events, key=lambda event: (-event.created_at, event.id))]


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def stored(path: str) -> int:
    """Return how many events are saved."""
    try:
        with Events(path) as events:
            return events.count({})
    except StoreError:
        return 0  # not even the tables


def test_it_keeps_all_that_relays_have_and_resumes(path: str) -> None:
    with MemoryRelay(max_limit=40) as one, MemoryRelay() as other:
        events = fill(one, 100)
        for event in (*events[:30], own := note("its own", 1_600_000_000)):
            other.store(event)
        one.store(note("another kind", kind=7))
        command = ["archive", path, one.url, other.url, "--kinds", "1"]
        assert gennostr(*command, status=0).stdout.endswith(", added 101, stored 101\n")
        new = fill(one, 20, 1_700_100_000)
        totals = json.loads(gennostr(*command, "--json", status=0).stdout)
        assert (totals["added"], totals["stored"]) == (20, 121)
        assert totals["received"] < 60
        assert printed(gennostr("fetch", path, status=0)) == newest_first(*events, own, *new)


def test_its_file_is_read_as_a_relay_is(path: str, tmp_path: Path) -> None:
    with MemoryRelay() as relay:
        relays = relay.store(make_event(content="about relays", created_at=3, tags=[["t", "nostr"]]))
        reaction, both = relay.store(make_event(kind=7, created_at=2)), relay.store(make_event(created_at=1))
        gennostr("archive", path, relay.url, "--full-text", status=0)
        own = relay.store(make_event(created_at=4))
        gennostr("archive", str(tmp_path / "other.db"), relay.url, "--kinds", "1", status=0)

        def found(*arguments: str) -> list[str]:
            here, there = (
                gennostr("fetch", path, *arguments, status=0),
                gennostr("fetch", relay.url, *arguments, "--until", "3"),
            )
            assert here.stdout == there.stdout
            return printed(here)

        assert found() == newest_first(relays, reaction, both)
        assert found("--kinds", "7", "1", "--limit", "2") == newest_first(relays, reaction)
        assert found("--tag", "t=nostr") == found("--since", "3") == [relays.id]
        assert found("--ids", both.id, "--authors", both.pubkey) == [both.id]
        assert printed(gennostr("fetch", path, "--search", "relays", status=0)) == [relays.id]
        two = gennostr("fetch", path, str(tmp_path / "other.db"), path, status=0)
        assert printed(two) == newest_first(own, relays, reaction, both)


def test_what_cannot_be_read_is_one_line(path: str, tmp_path: Path) -> None:
    Path(path).write_text("no database" * 1000)
    assert (
        gennostr("fetch", path, status=1).stderr == f"gennostr fetch: {path} cannot be read: file is not a database\n"
    )
    for missing in ("missing.db", "./missing", str(tmp_path / "missing")):
        assert "there is no file" in gennostr("fetch", missing, status=2).stderr
    assert "either relays or files" in gennostr("fetch", path, "wss://relay.example", status=2).stderr
    other = str(tmp_path / "other.db")
    with MemoryRelay() as relay:
        assert "not a database" in gennostr("archive", path, relay.url, status=1).stderr
        assert len(gennostr("archive", f"{tmp_path}/none/x.db", relay.url, status=1).stderr.splitlines()) == 1
        gennostr("archive", other, relay.url, status=0)
    assert "without a full-text index" in gennostr("fetch", other, "--search", "x", status=1).stderr


@pytest.mark.parametrize("option", ["--limit", "--search"])
def test_an_option_that_selects_some_events_is_not_there(path: str, option: str) -> None:
    assert option in gennostr("archive", path, "wss://relay.example", option, "1", status=2).stderr


def test_a_relay_that_cannot_be_reached_is_named_and_the_rest_is_kept(path: str) -> None:
    refusing = FakeRelay()
    refusing.stop_listening()
    with MemoryRelay() as relay, refusing:
        fill(relay, 2)
        done = gennostr("archive", path, relay.url, refusing.url, "--timeout", "1", status=1)
        [said] = done.stderr.splitlines()
        assert f"{refusing.url}: not read to its end" in said
        assert "refused" in said
        assert done.stdout.endswith("added 2, stored 2\n")


def test_forged_events_are_kept_only_with_no_verify(path: str) -> None:
    with MemoryRelay() as relay:
        genuine, forged = relay.store(note("genuine", 2)), relay.store(make_event(sig="0" * 128, created_at=1))
        gennostr("archive", path, relay.url)
        assert printed(gennostr("fetch", path)) == [genuine.id]
        gennostr("archive", f"{path}-2", relay.url, "--no-verify", status=0)
        assert printed(gennostr("fetch", f"{path}-2")) == [genuine.id, forged.id]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_with_follow_it_goes_on_until_a_signal(path: str, number: int) -> None:
    with MemoryRelay() as relay:
        fill(relay, 3)
        with running("archive", path, relay.url, "--follow") as following:
            wait_until(lambda: stored(path) == 3)
            relay.store(note("new", 1_800_000_000))
            wait_until(lambda: stored(path) == 4)
            assert signal_and_time(following, number) < AT_ONCE
            out, said = following.communicate()
        assert (following.returncode, said) == (0, "")
        assert out.endswith("added 4, stored 4\n")


def test_an_interrupted_history_is_resumed_by_the_same_command(path: str) -> None:
    events = [make_event(created_at=1_700_000_000 - place, sig="0" * 128) for place in range(1000)]
    with FakeRelay() as relay:
        with running("archive", path, relay.url, "--no-verify") as filling:
            live = relay.accept(timeout=PATIENCE)
            live.eose(live.expect_req(timeout=PATIENCE).subscription_id)
            history = relay.accept(timeout=PATIENCE)
            for _ in range(2):  # a page is delivered when the next one has shown that the relay sends its newest events
                id_, until = next_page(history)
                for event in [event for event in events if event.created_at <= until][:400]:
                    history.event(id_, event)
                history.eose(id_)
            wait_until(lambda: stored(path) == 500)
            assert signal_and_time(filling, signal.SIGINT) < AT_ONCE
            out, said = filling.communicate()
        assert (filling.returncode, out) == (130, "received 500, added 500, stored 500\n")
        assert "run the same command again to resume" in said
        with running("archive", path, relay.url, "--no-verify") as filling:
            live = relay.accept(timeout=PATIENCE)
            assert live.expect_req(timeout=PATIENCE).filters[0]["since"] > 1_700_000_000
            live.eose("archive")
            _, until = next_page(relay.accept(timeout=PATIENCE))
            assert until == events[499].created_at


def test_whatever_is_killed_nothing_is_missing_in_the_end(path: str) -> None:
    source = random.Random(KILLS)
    with MemoryRelay(max_limit=60) as relay:
        for place in range(3000):
            relay.store(make_event(created_at=1_700_000_000 + 60 * place, sig="0" * 128))
        command = ["archive", path, relay.url, "--no-verify"]
        for number in range(KILLS):
            with running(*command, "--follow") as filling:
                time.sleep(source.uniform(0.3, 2.5))  # not a wait: the moment of the kill
                filling.kill()
            relay.store(make_event(created_at=1_800_000_000 + 60 * number, sig="0" * 128))
        gennostr(*command, status=0)
        assert printed(gennostr("fetch", path)) == newest_first(*relay.events)


def next_page(history: FakeConnection) -> tuple[str, int]:
    """Return the id and the `until` of the next page that is requested."""
    while True:
        match history.receive(timeout=PATIENCE):
            case ["REQ", id_, filter_]:
                return id_, filter_.get("until", 2**40)


def test_a_terminal_shows_how_far_it_is(path: str) -> None:
    master, slave = pty.openpty()
    with (
        MemoryRelay() as relay,
        subprocess.Popen(
            [*COMMAND, "archive", path, relay.url, "--follow"],
            stdout=subprocess.DEVNULL,
            stderr=slave,
            cwd=ROOT,
            env=environment(TERM="xterm", COLUMNS="160", PYTHONIOENCODING="utf-8"),
        ) as following,
    ):
        os.close(slave)
        try:
            fill(relay, 3)
            shown = b""
            while b"3 new, done" not in shown:
                shown += os.read(master, 4096)
        finally:
            following.kill()
    os.close(master)


def test_a_file_in_use_names_its_holder(path: str) -> None:
    with MemoryRelay() as relay, running("archive", path, relay.url, "--follow") as following:
        relay.store()
        wait_until(lambda: stored(path))
        said: Any = gennostr("archive", path, relay.url, status=1).stderr
        assert f"is in use by 'Filler' (process {following.pid} on" in said
        assert len(said.splitlines()) == 1
