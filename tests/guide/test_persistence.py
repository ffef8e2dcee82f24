"""The program of the page `persistence` is killed where it hurts, started again, and has lost nothing."""

import json
import signal
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from queue import SimpleQueue

import pytest

from gennostr import GenNostr, Relay
from gennostr.cli.local_relay import LocalRelay
from gennostr.client.persistence import SAVE_EVENTS
from gennostr.nostr import Event, EventMessage, generate_key, sign
from gennostr.testing import MemoryRelay
from tests.guide.clients import publish, started
from tests.guide.pages import page
from tests.guide.running import DEADLINE, Program, program, write_programs

KEY = generate_key()
"""The author's."""
NOW = int(time.time())

LOG = "import logging, sys; logging.basicConfig(stream=sys.stdout, level=logging.INFO)\n"
"""So that a test waits for a line of the log, where it would have to look at the database again and again."""
DEADLY = """
import os, runpy, signal, sys
sys.path.insert(0, {directory!r})
import greeter
from gennostr.store import SqliteStore

owner, name, calls = {owner}, {name!r}, 0
method = getattr(owner, name)

def die():
    print("killed", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

def deadly(*arguments):
    global calls
    calls += 1
    if {before} and calls == {number}:
        die()
    result = method(*arguments)
    if calls == {number}:
        die()
    return result

setattr(owner, name, deadly)
greeter.run(greeter.Greeter, ({path!r}, {urls!r}))
"""
"""A run of the program that kills itself before or after one of its calls of one method."""
MOMENTS = {
    "in a callback": ("greeter.Greeter", "handle_events", 2, False),
    "before a save": ("SqliteStore", "save", 2, True),
    "after a save": ("SqliteStore", "save", 2, False),
    "before an end is handled": ("greeter.Greeter", "handle_info", 1, True),
    "after an end was handled": ("greeter.Greeter", "handle_info", 2, False),
}


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_programs(tmp_path, "persistence")
    monkeypatch.setenv("GENNOSTR_KEY", generate_key())
    return tmp_path


def introductions(*numbers: int) -> list[Event]:
    """Return notes of the last minutes, one for each number."""
    tags = [["t", "introductions"]]
    return [sign(KEY, kind=1, content=str(each), created_at=NOW - each, tags=tags) for each in numbers]


def rows(path: Path) -> dict[str, dict[str, str] | None]:
    """Return the outcomes of each note's answer; opening the file must find it whole, whatever killed its writer."""
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        found = database.execute("SELECT id, outcomes FROM notes").fetchall()
        return {id_: None if outcomes is None else json.loads(outcomes) for id_, outcomes in found}


def answers(relay: MemoryRelay) -> list[str]:
    """Return the notes that a relay has an answer to, one for each answer."""
    return sorted(event.tags[0][1] for event in relay.events if event.kind == 7)


@contextmanager
def greeter(directory: Path, *urls: str) -> Iterator[Program]:
    """Run the program; at the end, stop it in order."""
    with program(directory, LOG + started(directory, "greeter.py", str(directory / "greeter.db"), *urls)) as running:
        yield running
        running.signal(signal.SIGINT)
        _, errors, status = running.end()
        assert (errors, status) == ("", 0)


def until_answered(running: Program, ids: Iterable[str]) -> None:
    """Wait until the answer to each note has ended."""
    missing = set(ids)
    while missing:
        line = running.line()
        assert line, "the program has ended"
        missing -= {each for each in missing if f"answered {each}" in line}


def test_the_pages_say_how_much_is_saved_at_once() -> None:
    for topic in ("persistence", "limitations"):
        assert f"about {SAVE_EVENTS:,} events" in " ".join(page(topic).split())


@pytest.mark.parametrize("moment", MOMENTS)
def test_each_note_has_one_row_and_one_answer_wherever_it_is_killed(moment: str, directory: Path) -> None:
    owner, name, number, before = MOMENTS[moment]
    path = directory / "greeter.db"
    notes = introductions(*range(6))
    with MemoryRelay() as one, MemoryRelay() as other:
        deadly = DEADLY.format(
            directory=str(directory),
            owner=owner,
            name=name,
            number=number,
            before=before,
            path=str(path),
            urls=[one.url, other.url],
        )
        one.store(notes[0])
        with program(directory, deadly) as running:
            for note in notes[1:3]:
                one.store(note)
                other.store(note)
            assert running.end() == ("killed\n", "", -signal.SIGKILL)
        for note in notes[3:]:
            other.store(note)  # while it is away
        ended = {id_ for id_, outcomes in rows(path).items() if outcomes is not None}
        with greeter(directory, one.url, other.url) as running:
            until_answered(running, {note.id for note in notes} - ended)
        accepted = dict.fromkeys([one.url, other.url], "accepted")
        assert rows(path) == {note.id: accepted for note in notes}
        assert answers(one) == answers(other) == sorted(note.id for note in notes)


class Reader(GenNostr[None]):
    """Passes on the answers that a relay gets."""

    def init(self, init_arg: tuple[str, SimpleQueue[Event]]) -> None:
        url, self.answers = init_arg
        self.add_relay(url)
        self.subscribe({"kinds": [7]})

    def handle_event(self, message: EventMessage, relay: Relay, state: None) -> None:
        self.answers.put(message.event)


def test_it_answers_at_a_relay_that_was_down_when_it_was_killed(directory: Path, local_relay: LocalRelay) -> None:
    path, notes = directory / "greeter.db", introductions(*range(20))
    with MemoryRelay() as late:
        late.stop()
        code = LOG + started(directory, "greeter.py", str(path), local_relay.url, late.url)
        answered: SimpleQueue[Event] = SimpleQueue()
        with program(directory, code) as running, Reader.start((local_relay.url, answered)):
            publish(local_relay.url, *notes[:10])
            first = {answered.get(timeout=DEADLINE).tags[0][1] for _ in range(10)}
            running.signal(signal.SIGKILL)  # what was sent is in the file
            running.end()
        assert first == {note.id for note in notes[:10]}
        assert rows(path) == dict.fromkeys(first)
        late.start()
        publish(local_relay.url, *notes[10:])
        with greeter(directory, local_relay.url, late.url) as running:
            until_answered(running, {note.id for note in notes})
        accepted = dict.fromkeys([local_relay.url, late.url], "accepted")
        assert rows(path) == {note.id: accepted for note in notes}
        assert answers(late) == sorted(note.id for note in notes)
