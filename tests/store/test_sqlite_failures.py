"""What can fail under a SQLite store: the disk, the file, other programs, and the process itself."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from gennostr import StoreError
from gennostr.client.persistence import Changes, Saved
from gennostr.store import Position, SqliteStore, sqlite

NOTES = Changes(subscriptions={"notes": "filters"})
WAIT = 30.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "feed.db"


def opened(store: SqliteStore, owner: str = "feed") -> Saved:
    return store.open(owner, seen=100_000, written=lambda: None)


def seen(number: int, count: int = 1000) -> Changes:
    return Changes(seen={("notes", ""): {(number * 1000 + each).to_bytes(32, "big"): 1 for each in range(count)}})


def count_seen(saved: Saved) -> int:
    return len(saved.subscriptions["notes"].seen.get("", {}))


def filled(path: Path) -> SqliteStore:
    """Return an open store with contents: 5,000 seen events, positions, and the user's rows."""
    store = SqliteStore(path)
    opened(store)
    store.save(NOTES)
    with store.transaction() as database:
        database.execute("CREATE TABLE rows (text)")
    for number in range(5):
        store.save(seen(number))
    positions = {("notes", f"wss://{each}"): Position(each, settled=True, newest=None) for each in range(100)}
    store.save(Changes(positions=positions))
    return store


def add(store: SqliteStore, text: str = "one") -> None:
    with store.transaction() as database:
        database.execute("INSERT INTO rows VALUES (?)", (text,))


def count_rows(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        ((count,),) = database.execute("SELECT count(*) FROM rows")
    return int(count)


def error_of(function: Callable[[], object]) -> StoreError:
    with pytest.raises(StoreError) as caught:
        function()
    return caught.value


# Errors of start.


def test_a_directory_that_does_not_exist(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "nowhere" / "feed.db")
    expected = f"{tmp_path}/nowhere/feed.db cannot be opened: its directory does not exist"
    assert str(error_of(lambda: opened(store))) == expected


def test_a_path_that_is_a_directory(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    assert str(error_of(lambda: opened(store))) == f"{tmp_path} cannot be opened: it is a directory"


def test_a_link_to_itself(path: Path) -> None:
    path.symlink_to(path)
    assert str(path) in str(error_of(lambda: opened(SqliteStore(path))))


def test_a_file_that_is_not_a_database(path: Path) -> None:
    path.write_text("not a database\n" * 1000)
    error = error_of(lambda: opened(SqliteStore(path)))
    assert str(error) == f"{path} cannot be opened: file is not a database"
    assert isinstance(error.__cause__, sqlite3.DatabaseError)
    assert path.read_text() == "not a database\n" * 1000


def test_a_lock_file_that_is_something_else(path: Path) -> None:
    lock = path.with_name("feed.db-lock")
    lock.write_text("something else\n" * 1000)
    error = error_of(lambda: opened(SqliteStore(path)))
    assert str(error) == f"{lock} cannot be opened: file is not a database"
    assert lock.read_text() == "something else\n" * 1000


@contextmanager
def mounted(directory: Path, *options: str) -> Iterator[None]:
    """Mount a small file system in memory."""
    done = subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", directory], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip("mounting a file system is not permitted")
    try:
        yield
    finally:
        # Lazily: a failed test leaves files open in it.
        subprocess.run(["umount", "--lazy", directory], check=True)


def test_a_file_system_that_is_read_only(tmp_path: Path) -> None:
    with mounted(tmp_path):
        filled(tmp_path / "feed.db").close()
        subprocess.run(["mount", "-o", "remount,ro", tmp_path], check=True)
        text = str(error_of(lambda: opened(SqliteStore(tmp_path / "feed.db"))))
        assert text.startswith(f"{tmp_path}/feed.db")
        assert text.endswith(("unable to open database file", "attempt to write a readonly database"))


def test_a_failed_start_leaves_the_file_to_others(path: Path) -> None:
    filled(path).close()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE gennostr_meta SET value = '2' WHERE name = 'version'")
    store = SqliteStore(path)
    error_of(lambda: opened(store))
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE gennostr_meta SET value = '1' WHERE name = 'version'")
    opened(store)
    store.close()


# Damage.


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE gennostr_seen SET keys = substr(keys, 1, 100)",
        "UPDATE gennostr_seen SET times = x'00'",
        "UPDATE gennostr_seen SET form = 'other'",
        "UPDATE gennostr_seen SET subscription = 'unknown'",
        "UPDATE gennostr_publications SET event = '{}'",
        "UPDATE gennostr_meta SET value = 'x' WHERE name = 'version'",
        "DROP TABLE gennostr_positions",
    ],
)
def test_contents_that_cannot_be_read(statement: str, path: Path) -> None:
    store = filled(path)
    with store.transaction() as database:
        database.execute("INSERT INTO gennostr_publications VALUES (1, '1', '{\"id\": \"1\"}', 1, NULL)")
    store.save(Changes())
    store.close()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement)
    error = error_of(lambda: opened(SqliteStore(path)))
    assert str(error).startswith((f"{path} is damaged: ", f"{path} cannot be opened: "))
    assert error.__cause__ is not None


def test_a_damaged_page_is_an_error_or_has_nothing_that_matters(path: Path) -> None:
    """Each page in turn is overwritten.

    SQLite has no checksums: of pages with nothing but keys of seen events, the keys are others.
    """
    store = filled(path)
    store.close()
    whole = opened(store)
    store.close()
    data = path.read_bytes()
    size = 4096
    errors = 0
    for start in range(0, len(data), size):
        path.write_bytes(data[:start] + b"\xa5" * size + data[start + size :])
        try:
            saved = opened(store)
        except StoreError:
            errors += 1
        else:
            assert saved.subscriptions["notes"].positions == whole.subscriptions["notes"].positions
            store.close()
    assert errors >= 5
    path.write_bytes(data)
    assert opened(store) == whole
    store.close()


# A full disk.


def test_a_full_disk(tmp_path: Path) -> None:
    """Nothing is lost that is in memory: the same changes are saved when there is space again."""
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(disk, "-o", "size=2m"):
        path, ballast = disk / "feed.db", disk / "ballast"
        store = filled(path)
        ballast.write_bytes(bytes(1_000_000))
        number, error = until_full(lambda number: store.save(seen(number)))
        assert str(error) == f"{path} cannot be written: database or disk is full"
        assert not error.lost
        assert not error_of(lambda: store.save(seen(number))).lost
        ballast.unlink()
        store.save(seen(number))
        store.close()
        assert count_seen(opened(store)) == (number + 1) * 1000
        store.close()


def test_a_full_disk_loses_what_callbacks_have_written(tmp_path: Path) -> None:
    """SQLite rolls back a transaction that it cannot commit. So the client has to end, and begin at the last save."""
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(disk, "-o", "size=2m"):
        path, ballast = disk / "feed.db", disk / "ballast"
        store = filled(path)
        ballast.write_bytes(bytes(1_000_000))

        def handle(number: int) -> None:
            add(store)
            store.save(seen(number))

        number, error = until_full(handle)
        assert error.lost
        ballast.unlink()
        for use in (lambda: store.save(seen(number)), lambda: add(store)):
            assert error_of(use).lost
        store.close()
        saved = opened(store)
        assert count_seen(saved) == number * 1000
        assert count_rows(path) == number - 5
        handle(number)
        store.close()


def test_a_disk_that_is_full_at_the_start(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(disk, "-o", "size=256k"):
        (disk / "ballast").write_bytes(bytes(240_000))
        error = error_of(lambda: opened(SqliteStore(disk / "feed.db")))
        assert str(disk / "feed.db") in str(error)
        assert "full" in str(error) or "disk I/O" in str(error)


def until_full(save: Callable[[int], object]) -> tuple[int, StoreError]:
    """Return the number of the first save that fails, and its error; the first save has number 5."""
    for number in range(5, 1000):
        try:
            save(number)
        except StoreError as error:
            return number, error
    raise AssertionError("the disk was never full")


def test_a_file_that_may_not_grow_loses_what_callbacks_have_written(path: Path) -> None:
    """Here a statement of the save fails, not the commit."""
    store = filled(path)
    limit_pages(store)
    add(store)
    for _ in range(2):
        assert error_of(lambda: store.save(seen(5))).lost
    store.close()
    assert count_rows(path) == 0
    opened(store)
    add(store)
    store.save(seen(5))
    store.close()
    assert count_rows(path) == 1
    assert count_seen(opened(store)) == 6000
    store.close()


def limit_pages(store: SqliteStore) -> None:
    """Forbid the file to grow, until it is closed."""
    with store.transaction() as database:
        ((pages,),) = database.execute("PRAGMA page_count")
        database.execute(f"PRAGMA max_page_count = {pages}")
    store.save(Changes())


def test_a_failed_save_of_positions_alone_can_be_repeated(path: Path) -> None:
    store = filled(path)
    limit_pages(store)
    assert not error_of(lambda: store.save(seen(5))).lost
    store.save(Changes(positions={("notes", "wss://0"): Position(9, settled=True, newest=9)}))
    store.close()
    saved = opened(store)
    assert count_seen(saved) == 5000
    assert saved.subscriptions["notes"].positions["wss://0"].begun == 9
    store.close()


def test_what_cannot_be_encoded_is_a_store_error_and_nothing_is_saved(path: Path) -> None:
    store = filled(path)
    add(store)
    changes = Changes(subscriptions={"half": "filters"}, positions={("notes", ""): None})  # type: ignore[dict-item]
    error = error_of(lambda: store.save(changes))
    assert str(error).startswith(f"{path} cannot be written: AttributeError")
    assert not error.lost
    store.save(Changes())
    assert count_rows(path) == 1
    store.close()
    assert [*opened(store).subscriptions] == ["notes"]
    store.close()


# Other programs.


def test_a_file_that_another_program_writes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0.05)
    store = filled(path)
    with another_program(WRITER, path):
        for use in (lambda: store.save(seen(5)), lambda: add(store)):
            error = error_of(use)
            assert str(error) == f"{path} cannot be written: database is locked"
            assert not error.lost
        store.save(Changes())  # nothing is to be written
    store.save(seen(5))
    store.close()
    assert count_seen(opened(store)) == 6000
    store.close()


def test_a_file_that_another_program_writes_cannot_be_opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0.05)
    filled(path).close()
    store = SqliteStore(path)
    with another_program(WRITER, path):
        assert str(error_of(lambda: opened(store))) == f"{path} cannot be opened: database is locked"
    opened(store)
    store.close()


def test_a_file_that_another_program_reads_can_be_written(path: Path) -> None:
    store = filled(path)
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM rows").fetchone() == (0,)
        add(store)
        store.save(seen(5))
        assert reader.execute("SELECT count(*) FROM rows").fetchone() == (0,)
    assert count_rows(path) == 1
    store.close()


WRITER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN IMMEDIATE")
print("ready", flush=True)
sys.stdin.read()
database.close()
"""

OWNER = """
import sys
from gennostr.store import Changes, SqliteStore
store = SqliteStore(sys.argv[1])
store.open("the first", seen=1000, written=lambda: None)
store.save(Changes(subscriptions={"first": "filters"}))
with store.transaction() as database:
    database.execute("CREATE TABLE half_done (text)")
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_program(program: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """Run another program until the end of the statement."""
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        if process.stdin is not None:
            process.stdin.close()
        process.wait(WAIT)


def test_a_store_that_another_process_uses_until_it_is_killed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "PATIENCE", 0.05)
    store = SqliteStore(path)
    with another_program(OWNER, path) as process:
        error = error_of(lambda: opened(store, "the second"))
        assert str(error) == f"{path} is in use by 'the first' (process {process.pid} on {os.uname().nodename})"
        assert not error.lost
        process.send_signal(signal.SIGKILL)
        process.wait(WAIT)
        assert [*opened(store, "the second").subscriptions] == ["first"]
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT name FROM sqlite_schema WHERE name = 'half_done'").fetchall() == []
    store.close()


# A process that is killed.

KILLED = """
import os, sys
from gennostr.store import Changes, Position, SqliteStore

def run():
    store = SqliteStore(sys.argv[1])
    position = store.open("feed", seen=1000, written=lambda: None).subscriptions["notes"].positions.get("wss://a")
    number = 0 if position is None else position.begun
    while True:
        # One to three callbacks before each save.
        for _ in range(number % 3 + 1):
            number += 1
            with store.transaction() as database:
                database.execute("INSERT INTO rows VALUES (?)", (number,))
        store.save(Changes(
            positions={("notes", "wss://a"): Position(number, settled=True, newest=None)},
            seen={("notes", "wss://a"): {number.to_bytes(32, "big"): number}},
        ))

print("ready", flush=True)
for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        run()
    print(child, flush=True)
    os.waitpid(child, 0)
    print("dead", flush=True)
"""
"""For each line that it reads, it forks a process that works until it is killed: the imports take the most time."""


def test_rows_and_positions_agree_after_each_kill(path: Path) -> None:
    store = filled(path)
    store.close()
    chance = random.Random(20)
    counts = [0]
    with another_program(KILLED, path) as process, closing(sqlite3.connect(path, timeout=WAIT)) as reader:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(30):
            print("go", file=process.stdin, flush=True)
            child = int(process.stdout.readline())
            # After a number of rows that differs, as seen from outside.
            least = counts[-1] + chance.randrange(1, 40)
            while reader.execute("SELECT count(*) FROM rows").fetchone()[0] < least:
                assert process.poll() is None
            os.kill(child, signal.SIGKILL)
            assert process.stdout.readline() == "dead\n"
            saved = opened(store).subscriptions["notes"]
            store.close()
            number = saved.positions["wss://a"].begun
            numbers = [int(each) for (each,) in reader.execute("SELECT text FROM rows ORDER BY rowid")]
            assert numbers == [*range(1, number + 1)]
            assert [*saved.seen["wss://a"].values()][-1] == number
            counts.append(number)
    assert counts == sorted(set(counts))
