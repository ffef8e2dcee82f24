"""The programs of the page `persistence`, their tests, and a feed that is killed while it runs."""

import signal
import sqlite3
import time
from pathlib import Path

import pytest

from gennostr.cli.local_relay import LocalRelay
from gennostr.nostr import generate_key, sign
from tests.guide.clients import publish, started
from tests.guide.running import Program, program, run_tests, write_programs

LOG = "import logging, sys; logging.basicConfig(stream=sys.stdout, level=logging.INFO); "
"""So that a test waits for a line of the log, where it would have to look at the database again and again."""


def test_the_tests_of_the_page_pass_as_printed(tmp_path: Path) -> None:
    write_programs(tmp_path, "persistence")
    said, status = run_tests(tmp_path)
    assert status == 0, said
    assert "9 passed" in said


BROKEN = {
    "test_it_keeps_stored_and_new_notes_each_once": ("feed.py", "INSERT OR IGNORE", "INSERT"),
    "test_a_writer_that_is_killed_loses_nothing": (
        "feed.py",
        "            return  # the next save",
        "            self.unsaved.clear()  # the next save",
    ),
    "test_it_resumes_after_a_restart_however_few_events_a_relay_sends_at_once": (
        "feed.py",
        "fetch({**NOTES, ",
        'fetch({**NOTES, "limit": 10, ',
    ),
    "test_rejected_events_are_reported_and_few_are_in_flight": (
        "mirror.py",
        "settle(IN_FLIGHT - 1)",
        "settle(IN_FLIGHT)",
    ),
    "test_it_stops_when_the_target_is_silent_and_says_so": ("mirror.py", "result.unsent =", "_ ="),
    "test_a_source_that_is_not_read_to_its_end_is_reported": ("mirror.py", "result.unread = error", "pass"),
}
"""What to break, by the test that must find it."""


@pytest.mark.parametrize("test", BROKEN)
def test_the_tests_of_the_page_find_a_program_that_is_broken(test: str, tmp_path: Path) -> None:
    name, part, replacement = BROKEN[test]
    text = write_programs(tmp_path, "persistence")[name]
    assert part in text
    (tmp_path / name).write_text(text.replace(part, replacement))
    for path in tmp_path.glob("test_*.py"):
        path.write_text(path.read_text().replace("time.monotonic() + 10", "time.monotonic() + 2"))
    said, status = run_tests(tmp_path, options=["-k", test])
    assert status == 1, said
    assert test in said


def stored(path: Path) -> set[str]:
    """Return the ids in a database; opening it must find it whole, whatever killed its writer."""
    database = sqlite3.connect(path)
    try:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {id_ for (id_,) in database.execute("SELECT id FROM events")}
    finally:
        database.close()


def saved(feed: Program, number: int) -> None:
    """Wait until a feed has saved so many events."""
    while number > 0:
        line = feed.line()
        assert line, "the feed has ended"
        number -= int(line.rpartition("saved ")[2]) if "saved" in line else 0


def test_a_feed_that_is_killed_resumes_and_misses_nothing(
    tmp_path: Path, two_local_relays: tuple[LocalRelay, LocalRelay]
) -> None:
    write_programs(tmp_path, "persistence")
    one, other = two_local_relays
    key, now = generate_key(), int(time.time())
    notes = [sign(key, kind=1, content=str(number), created_at=now - number) for number in range(40)]
    code = LOG + started(tmp_path, "feed.py", str(tmp_path / "notes.db"), one.url, other.url)
    publish(one.url, *notes[:10])
    with program(tmp_path, code) as feed:
        saved(feed, 10)
        publish(other.url, *notes[10:20])
        saved(feed, 10)
        feed.signal(signal.SIGKILL)
        feed.end()
    assert stored(tmp_path / "notes.db") == {note.id for note in notes[:20]}
    publish(one.url, *notes[20:30])  # while it is down
    with program(tmp_path, code) as feed:
        while notes[20].id not in stored(tmp_path / "notes.db"):
            saved(feed, 1)
        publish(other.url, *notes[30:])
        feed.signal(signal.SIGINT)  # what it has received is saved at the end
        _, errors, status = feed.end()
    assert status == 0, errors
    with program(tmp_path, code) as feed:
        saved(feed, 1)  # some minutes are read twice
        while len(stored(tmp_path / "notes.db")) < 40:
            saved(feed, 1)
        feed.signal(signal.SIGINT)
        assert feed.end()[2] == 0
    assert stored(tmp_path / "notes.db") == {note.id for note in notes}


def test_the_mirror_runs_as_a_program(tmp_path: Path, two_local_relays: tuple[LocalRelay, LocalRelay]) -> None:
    write_programs(tmp_path, "persistence")
    source, target = two_local_relays
    publish(source.url, *[sign(generate_key(), kind=1, content="note") for _ in range(20)])
    for _ in range(2):
        with program(tmp_path, started(tmp_path, "mirror.py", source.url, target.url, '{"kinds": [1]}')) as mirror:
            assert mirror.end() == ("20 accepted, 0 rejected\n", "", 0)
