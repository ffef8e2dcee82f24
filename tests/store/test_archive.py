"""An archive fills a file, resumes, and is read meanwhile."""

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gennostr import KILL, SHUTDOWN, ChildSpec, GenNostrPid, StartError, Stop, StoreError, Supervisor
from gennostr.nostr import Event
from gennostr.store import Archive, ArchiveOptions, ArchiveProgress, Events
from gennostr.store import archive as module
from gennostr.testing import FakeRelay, MemoryRelay, Probe, make_event

NOTES = {"kinds": [1]}
PATIENCE = 20.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.db"


def fill(relay: MemoryRelay, number: int, begin: int = 1_700_000_000) -> list[Event]:
    return [relay.store(created_at=begin + 60 * place) for place in range(number)]


def stored(archive: GenNostrPid) -> dict[str, ArchiveProgress]:
    found: dict[str, ArchiveProgress] = archive.call("stored", timeout=PATIENCE)
    return found


def ids(path: Path, **filter_: Any) -> list[str]:
    with Events(path) as events:
        return [event.id for event in events.query(filter_)]


def is_archive(path: Path) -> bool:
    """Whether the client has saved for the first time."""
    try:
        Events(path).close()
    except StoreError:
        return False
    return True


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def newest_first(events: list[Event]) -> list[str]:
    return [event.id for event in sorted(events, key=lambda event: (-event.created_at, event.id))]


def test_it_keeps_what_relays_have_stored_however_few_they_send_at_once_and_what_is_new(path: Path) -> None:
    with MemoryRelay(max_limit=10) as one, MemoryRelay() as other:
        events = fill(one, 105)
        for event in events[50:]:
            other.store(event)
        events += fill(other, 5, 1_600_000_000)
        other.store(kind=7)
        with Archive.start(ArchiveOptions(path, [one.url, other.url], NOTES)) as archive:
            progress = stored(archive)
            assert [each.done for each in progress.values()] == [True, True]
            assert sum(each.added for each in progress.values()) == 110
            events.append(one.store(content="new"))
            wait_until(lambda: is_archive(path) and ids(path) == newest_first(events))


def test_a_restart_resumes_and_reads_no_history_twice(path: Path) -> None:
    with MemoryRelay(max_limit=20) as relay:
        events = fill(relay, 100)
        options = ArchiveOptions(path, [relay.url], NOTES)
        with Archive.start(options) as archive:
            assert stored(archive)[relay.url].added == 100
        events += fill(relay, 50, 1_700_100_000)
        with Archive.start(options) as archive:
            progress = stored(archive)[relay.url]
            assert (progress.added, progress.done) == (50, True)
            assert progress.received < 60
        assert ids(path) == newest_first(events)


class Stopping(Archive):
    """Ends when it has stored some of the history."""

    def handle_call(self, request: Any, from_: Any, state: Any, /) -> Any:
        outcome = super().handle_call(request, from_, state)
        return Stop(SHUTDOWN, reply=None) if sum(each.added for each in state.progress().values()) > 50 else outcome


def test_an_interrupted_history_resumes_where_it_was_saved(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 20)
    with MemoryRelay(max_limit=20) as relay:
        events = fill(relay, 200)
        with Probe() as probe:
            archive = Stopping.start(ArchiveOptions(path, [relay.url], NOTES))
            probe.monitor(archive)
            probe.expect_down(archive, timeout=PATIENCE)
        assert 50 < len(ids(path)) < 150
        events += fill(relay, 30, 1_700_100_000)
        with Archive.start(ArchiveOptions(path, [relay.url], NOTES)) as archive:
            assert stored(archive)[relay.url].received < 200
        assert ids(path) == newest_first(events)


def test_with_other_filters_it_begins_anew_and_misses_nothing(path: Path) -> None:
    with MemoryRelay(max_limit=25) as relay:
        for begin, filters in enumerate((NOTES, {"kinds": [7]}, NOTES, NOTES)):
            for number in range(80):
                relay.store(kind=1 + number % 2 * 6, created_at=1_700_000_000 + begin * 3600 + number)
            with Archive.start(ArchiveOptions(path, [relay.url], filters)) as archive:
                assert stored(archive)[relay.url].done
        wanted = [event for event in relay.events[:160] if event.kind == 7]
        assert ids(path, kinds=[7]) == newest_first(wanted)
        assert ids(path, kinds=[1]) == newest_first([event for event in relay.events if event.kind == 1])


@pytest.mark.parametrize("name", ["limit", "search"])
def test_a_filter_that_does_not_ask_for_all_events_is_refused(path: Path, name: str) -> None:
    with pytest.raises(StartError) as caught:
        Archive.start(ArchiveOptions(path, [], [{}, {name: 5 if name == "limit" else "x"}]))
    assert f"filter '{name}' is not for an archive" in str(caught.value.reason)


def test_a_relay_that_is_down_is_reported_and_the_others_are_read(path: Path) -> None:
    refusing = FakeRelay()
    refusing.stop_listening()
    with refusing, MemoryRelay() as relay:
        fill(relay, 3)
        with Archive.start(ArchiveOptions(path, [refusing.url, relay.url])) as archive:
            progress = stored(archive)
            assert progress[relay.url] == ArchiveProgress(received=6, added=3, oldest=1_700_000_000, done=True)
            assert not progress[refusing.url].done
            assert "refused" in (progress[refusing.url].error or "")


def test_a_relay_that_is_added_later_is_read_as_well(path: Path) -> None:
    with MemoryRelay() as one, MemoryRelay(max_limit=20) as other:
        events = fill(other, 50)
        for added in (50, 0):
            with Archive.start(ArchiveOptions(path, [one.url])) as archive:
                stored(archive)
                archive.add_relay(other.url)
                wait_until(lambda: other.url in archive.call("progress") and archive.call("progress")[other.url].done)
                assert archive.call("progress")[other.url].added == added
        assert ids(path) == newest_first(events)


def test_with_no_relay_that_answers_it_says_so_at_once(path: Path) -> None:
    refusing = FakeRelay()
    refusing.stop_listening()
    with refusing, Archive.start(ArchiveOptions(path, [refusing.url])) as archive:
        assert "refused" in (stored(archive)[refusing.url].error or "")


def test_what_a_subclass_subscribes_to_is_not_kept(path: Path) -> None:
    class Curious(Archive):
        def handle_eose(self, message: Any, relay: Any, state: Any, /) -> Any:
            if message.subscription_id == module.SUBSCRIPTION:
                self.subscribe({"kinds": [7]}, "reactions")
            else:
                self.subscribe({"kinds": [8]}, "end")
            return super().handle_eose(message, relay, state)

        def handle_events(self, messages: Any, relay: Any, state: Any, /) -> Any:
            seen.extend(each.event.id for each in messages)
            return super().handle_events(messages, relay, state)

    seen: list[str] = []
    with MemoryRelay() as relay:
        note, reaction = relay.store(created_at=1), relay.store(kind=7, created_at=2)
        with Curious.start(ArchiveOptions(path, [relay.url], NOTES)) as archive:
            stored(archive)
            wait_until(lambda: reaction.id in seen)
    assert ids(path) == [note.id]


def test_a_history_that_fails_is_not_done_and_is_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY", 0.05)
    with FakeRelay() as relay, Archive.start(ArchiveOptions(path, [relay.url])) as archive:
        live = relay.accept(timeout=PATIENCE)
        live.eose(live.expect_req(timeout=PATIENCE).subscription_id)
        one, other = make_event(created_at=2), make_event(created_at=1)
        history = relay.accept(timeout=PATIENCE)
        id_ = history.expect_req(timeout=PATIENCE).subscription_id
        history.event(id_, one)
        history.closed(id_, "error: the disk is full")
        progress = stored(archive)[relay.url]
        assert (progress.added, progress.done, progress.error) == (1, False, "error: the disk is full")
        history = relay.accept(timeout=PATIENCE)
        id_ = history.expect_req(timeout=PATIENCE).subscription_id
        history.event(id_, one)
        history.event(id_, other)
        history.send(["EOSE", id_, ["finish"]])
        wait_until(lambda: archive.call("progress")[relay.url].done)
    assert ids(path) == [one.id, other.id]


def test_rules_of_relays_are_kept_across_restarts(path: Path) -> None:
    with MemoryRelay() as relay:
        old, new = (relay.store(kind=0, content=text, created_at=at) for text, at in (("old", 1), ("new", 2)))
        note = relay.store(created_at=3)
        options = ArchiveOptions(path, [relay.url])
        with Archive.start(options) as archive:
            stored(archive)
        assert ids(path) == [note.id, new.id]
        deletion = relay.store(kind=5, tags=[["e", note.id]])
        with Archive.start(options) as archive:
            stored(archive)
        assert ids(path) == [deletion.id, new.id]
        assert old.id not in ids(path)


def test_it_can_be_supervised(path: Path) -> None:
    with MemoryRelay() as relay, Probe():
        events = fill(relay, 10)
        spec: ChildSpec = Archive.child_spec(ArchiveOptions(path, [relay.url]))
        with Supervisor.start([spec]) as supervisor:
            [child] = supervisor.which_children()
            assert isinstance(child.pid, GenNostrPid)
            stored(child.pid)
            child.pid.exit(KILL)
            wait_until(
                lambda: (
                    isinstance(supervisor.which_children()[0].pid, GenNostrPid)
                    and supervisor.which_children()[0].pid != child.pid
                )
            )
            events += fill(relay, 1, 1_700_100_000)
            wait_until(lambda: ids(path) == newest_first(events))


def test_stopping_it_while_a_history_is_read_ends_both(path: Path) -> None:
    """The check after every test finds what was left behind."""
    with FakeRelay() as relay, Archive.start(ArchiveOptions(path, [relay.url])) as archive:
        connection = relay.accept(timeout=PATIENCE)
        connection.eose(connection.expect_req(timeout=PATIENCE).subscription_id)
        history = relay.accept(timeout=PATIENCE)
        history.expect_req(timeout=PATIENCE)
        assert archive.call("progress")[relay.url].done is False


def test_an_index_for_searches_is_made_and_kept(path: Path) -> None:
    with MemoryRelay() as relay:
        relay.store(content="relays in Python")
        for search in (False, True, False):
            with Archive.start(ArchiveOptions(path, [relay.url], search=search)) as archive:
                stored(archive)
    with Events(path) as events:
        assert events.count({"search": "python"}) == 1


def test_events_are_read_in_other_threads_while_they_are_written(path: Path) -> None:
    found: list[int] = []
    with MemoryRelay(max_limit=50) as relay:
        fill(relay, 500)
        with Archive.start(ArchiveOptions(path, [relay.url])) as archive:
            over = threading.Event()

            def read() -> None:
                with Events(path) as events:
                    while not over.is_set():
                        found.append(sum(1 for _ in events.query(NOTES)))

            wait_until(lambda: is_archive(path))
            reader = threading.Thread(target=read)
            reader.start()
            stored(archive)
            wait_until(lambda: bool(found) and found[-1] == 500)
            over.set()
            reader.join()
    assert found == sorted(found)


def test_a_history_can_be_read_again(path: Path) -> None:
    with MemoryRelay() as relay:
        fill(relay, 3)
        for again, added in ((False, 3), (False, 0), (True, 1)):
            with Archive.start(ArchiveOptions(path, [relay.url], again=again)) as archive:
                assert stored(archive)[relay.url].added == added
            if added == 3:
                relay.store(created_at=1)


def test_a_crash_report_shows_no_secret(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Crashing(Archive):
        def handle_cast(self, request: Any, state: Any, /) -> Any:
            raise RuntimeError(str(request))

    options = ArchiveOptions(
        path, ["ws://user:password@127.0.0.1:1"], signer="5e" * 32, relay_options={"websocket": {"cookie": "c00kie"}}
    )
    with Probe() as probe:
        archive = Crashing.start(options)
        probe.monitor(archive)
        archive.cast(module._Task(archive, "ws://user:password@127.0.0.1:1", [], options))
        probe.expect_down(archive, timeout=PATIENCE)
    assert "Archived(" in caplog.text
    assert "_Task(" in caplog.text
    assert not [secret for secret in ("password", "5e5e", "c00kie") if secret in caplog.text + repr(options)]


def test_a_file_of_a_later_version_is_refused(path: Path) -> None:
    Archive.start(ArchiveOptions(path, [])).stop()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE gennostr_events_version SET version = 2")
    said = "its events are of version 2, and this gennostr knows versions up to 1"
    with pytest.raises(StoreError, match=f"{path} cannot be read: {said}"):
        Events(path)
    with pytest.raises(StartError) as caught:
        Archive.start(ArchiveOptions(path, []))
    assert said in str(caught.value.reason)


def test_a_file_in_use_is_reported_with_its_holder(path: Path) -> None:
    with Archive.start(ArchiveOptions(path, [])), pytest.raises(StartError) as caught:
        Archive.start(ArchiveOptions(path, []))
    assert isinstance(caught.value.reason, StoreError)
    assert "is in use" in str(caught.value.reason)


@pytest.fixture(params=["missing", "text", "directory", "database"])
def no_archive(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    found = tmp_path / request.param
    match request.param:
        case "text":
            found.write_text("no database" * 1000)
        case "directory":
            found.mkdir()
        case "database":
            with closing(sqlite3.connect(found)) as database:
                database.execute("CREATE TABLE other (x)")
    said = {
        "missing": "No such file",
        "text": "not a database",
        "directory": "cannot be",
        "database": "no archive",
    }
    return found, said[request.param]


def test_what_is_no_archive_is_an_error_that_names_it(no_archive: tuple[Path, str]) -> None:
    path, said = no_archive
    with pytest.raises(StoreError, match=said) as caught:
        Events(path)
    assert str(path) in str(caught.value)
