"""The SQLite store: the callbacks' transactions, possession of the file, and what is in it."""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gennostr import PublishOutcome, StoreError
from gennostr.client.persistence import Changes, Saved, SavedPublication, SavedSubscription
from gennostr.nostr import Event
from gennostr.store import Position, SqliteStore, sqlite
from gennostr.testing import ManualClock

NOTES = Changes(subscriptions={"notes": "filters"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "feed.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    """Return a store that is open, with a table of the user's."""
    store = SqliteStore(path)
    opened(store)
    with store.transaction() as database:
        database.execute("CREATE TABLE rows (text)")
    store.save(NOTES)
    yield store
    store.close()


def opened(store: SqliteStore, owner: str = "feed", seen: int = 1000) -> Saved:
    return store.open(owner, seen=seen, written=lambda: None)


def add(store: SqliteStore, text: str) -> None:
    with store.transaction() as database:
        database.execute("INSERT INTO rows VALUES (?)", (text,))


def run(store: SqliteStore, *statements: str, then: BaseException | None = None) -> sqlite3.Cursor | None:
    """Execute statements in a transaction, and raise `then` in it; return the last one's cursor after its first row."""
    cursor = None
    with store.transaction() as database:
        for statement in statements:
            cursor = database.execute(statement)
            cursor.fetchone()
        if then is not None:
            raise then
    return cursor


def rows(path: Path) -> list[str]:
    """Return the rows that another program sees."""
    with closing(sqlite3.connect(path)) as database:
        return [text for (text,) in database.execute("SELECT text FROM rows ORDER BY rowid")]


def in_thread(function: Callable[[], object]) -> None:
    thread = threading.Thread(target=function, name="another")
    thread.start()
    thread.join()


# The path.


def test_nothing_is_opened_before_a_client_starts(tmp_path: Path) -> None:
    assert repr(SqliteStore(tmp_path / "nowhere" / "feed.db")) == f"SqliteStore('{tmp_path}/nowhere/feed.db')"
    SqliteStore(tmp_path / "feed.db").close()
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("path", [None, 3, b"feed.db", ["feed.db"]])
def test_a_path_of_the_wrong_type_is_an_error(path: Any) -> None:
    with pytest.raises(TypeError, match=r"PathLike"):
        SqliteStore(path)


@pytest.mark.parametrize("path", ["", "a\0b", ":memory:"])
def test_what_is_not_the_path_of_a_file_is_an_error(path: str) -> None:
    with pytest.raises(ValueError, match="not the path of a file"):
        SqliteStore(path)


def test_the_path_is_that_of_the_working_directory_at_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore("feed.db")
    monkeypatch.chdir(tmp_path)
    opened(store)
    store.close()
    assert (tmp_path / "feed.db").exists()


def test_a_name_that_looks_like_a_uri_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = SqliteStore("file:feed.db?mode=memory")
    opened(store)
    store.close()
    assert (tmp_path / "file:feed.db?mode=memory").exists()


# Transactions of callbacks.


def test_what_a_callback_writes_is_durable_with_the_next_save(store: SqliteStore, path: Path) -> None:
    add(store, "one")
    add(store, "two")
    assert rows(path) == []
    store.save(Changes())
    assert rows(path) == ["one", "two"]


def test_what_a_callback_writes_is_seen_by_the_next_one(store: SqliteStore) -> None:
    add(store, "one")
    with store.transaction() as database:
        assert database.execute("SELECT text FROM rows").fetchall() == [("one",)]


def test_what_is_not_saved_is_discarded_at_close(store: SqliteStore, path: Path) -> None:
    add(store, "one")
    store.close()
    assert rows(path) == []


def test_a_transaction_that_raises_is_undone_and_the_others_are_not(store: SqliteStore, path: Path) -> None:
    add(store, "one")
    with pytest.raises(LookupError):
        run(store, "INSERT INTO rows VALUES ('two')", then=LookupError())
    add(store, "three")
    store.save(Changes())
    assert rows(path) == ["one", "three"]


def test_a_transaction_within_another_is_undone_alone(store: SqliteStore, path: Path) -> None:
    with store.transaction() as database:
        database.execute("INSERT INTO rows VALUES ('one')")
        with pytest.raises(LookupError):
            run(store, "INSERT INTO rows VALUES ('two')", then=LookupError())
        add(store, "three")
    store.save(Changes())
    assert rows(path) == ["one", "three"]


def test_a_transaction_within_another_is_undone_with_it(store: SqliteStore, path: Path) -> None:
    def outer() -> None:
        with store.transaction():
            add(store, "one")
            raise LookupError

    with pytest.raises(LookupError):
        outer()
    store.save(Changes())
    assert rows(path) == []


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("commit", lambda database: database.commit()),
        ("rollback", lambda database: database.rollback()),
        ("close", lambda database: database.close()),
        ("executescript", lambda database: database.executescript("SELECT 1")),
    ],
)
def test_a_callback_cannot_end_the_clients_transaction(
    name: str, use: Callable[[sqlite3.Connection], None], store: SqliteStore, path: Path
) -> None:
    with store.transaction() as database:
        database.execute("INSERT INTO rows VALUES ('one')")
        with pytest.raises(StoreError, match=f"{name}.* the client's: it commits .*store.transaction"):
            use(database)
        database.execute("INSERT INTO rows VALUES ('two')")
    assert rows(path) == []
    store.save(Changes())
    assert rows(path) == ["one", "two"]


@pytest.mark.parametrize("statements", [["COMMIT"], ["END"], ["ROLLBACK"], ["COMMIT", "BEGIN"], ["ROLLBACK", "BEGIN"]])
def test_a_callback_that_ends_it_by_a_statement_ends_the_client(statements: list[str], store: SqliteStore) -> None:
    add(store, "one")
    with pytest.raises(StoreError, match="COMMIT, END or ROLLBACK") as caught:
        run(store, *statements)
    assert caught.value.lost
    uses: list[Callable[[], object]] = [
        lambda: store.save(Changes()),
        lambda: add(store, "two"),
        lambda: store.save(NOTES),
    ]
    for use in uses:
        with pytest.raises(StoreError, match="is lost") as caught:
            use()
        assert caught.value.lost
    store.close()
    opened(store)
    add(store, "three")
    store.save(Changes())


def test_an_exception_after_a_rollback_is_raised_and_the_client_ends(store: SqliteStore) -> None:
    with pytest.raises(LookupError) as caught:
        run(store, "ROLLBACK", then=LookupError())
    assert "is lost" in caught.value.__notes__[0]
    with pytest.raises(StoreError, match="is lost") as lost:
        store.save(Changes())
    assert lost.value.lost


def test_a_statement_with_more_rows_to_write_is_an_error_and_undone(store: SqliteStore, path: Path) -> None:
    add(store, "one")
    with pytest.raises(StoreError, match="statements in progress") as caught:
        run(store, "INSERT INTO rows VALUES ('two'), ('three') RETURNING text")
    assert not caught.value.lost
    del caught  # and with it the cursor
    add(store, "four")
    store.save(Changes())
    assert rows(path) == ["one", "four"]


def test_a_query_with_more_rows_to_return_disturbs_nothing(store: SqliteStore, path: Path) -> None:
    for text in ("one", "two", "three"):
        add(store, text)
    cursor = run(store, "SELECT text FROM rows")
    assert cursor is not None
    store.save(Changes())
    assert rows(path) == ["one", "two", "three"]
    add(store, "four")
    store.close()
    opened(store)
    add(store, "five")
    store.save(Changes())
    store.close()
    del cursor
    assert rows(path) == ["one", "two", "three", "five"]


def test_init_can_create_tables_before_the_client_has_opened_the_store(path: Path) -> None:
    store = SqliteStore(path)
    calls: list[str] = []
    with store.transaction() as database:
        database.execute("CREATE TABLE rows (text)")
    store.open("feed", seen=1000, written=lambda: calls.append("written"))
    assert calls == ["written"]
    add(store, "one")
    store.save(NOTES)
    assert rows(path) == ["one"]
    store.close()
    assert [*opened(store).subscriptions] == ["notes"]
    store.close()


def test_what_init_writes_is_discarded_if_the_client_does_not_start(path: Path) -> None:
    store = SqliteStore(path)
    with store.transaction() as database:
        database.execute("CREATE TABLE rows (text)")
    with pytest.raises(StoreError, match="no client has opened it"):
        store.save(NOTES)
    store.close()
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT name FROM sqlite_schema WHERE name = 'rows'").fetchall() == []


def test_without_a_with_statement_it_is_the_open_transaction_as_well(store: SqliteStore, path: Path) -> None:
    store.transaction().execute("INSERT INTO rows VALUES ('one')")
    database = store.transaction()
    with pytest.raises(sqlite3.OperationalError), database:
        database.executemany("INSERT INTO rows SELECT ? WHERE json(?)", [("two", "1"), ("two", "no JSON")])
    with database:
        database.execute("INSERT INTO rows VALUES ('three')")
    assert rows(path) == []
    store.save(Changes())
    assert rows(path) == ["one", "three"]
    with database:  # of an earlier callback: it begins the next transaction
        database.execute("INSERT INTO rows VALUES ('four')")
    assert rows(path) == ["one", "three"]
    store.save(Changes())
    assert rows(path) == ["one", "three", "four"]


def test_the_client_is_notified_of_each_transaction(path: Path) -> None:
    store = SqliteStore(path)
    calls: list[str] = []
    store.open("feed", seen=1000, written=lambda: calls.append("written"))
    with store.transaction() as database:
        database.execute("CREATE TABLE rows (text)")
    assert len(calls) == 1
    store.save(Changes())
    add(store, "one")
    assert len(calls) == 2
    store.close()


def test_only_the_clients_thread_can_use_it(store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "PATIENCE", 0.05)
    errors: list[StoreError] = []

    def use() -> None:
        with pytest.raises(StoreError, match=r"in use by 'feed' .*; only callbacks of its client") as caught:
            add(store, "one")
        errors.append(caught.value)
        with pytest.raises(StoreError, match="opened by another thread") as caught:
            store.save(Changes())
        errors.append(caught.value)

    in_thread(use)
    assert [error.lost for error in errors] == [False, False]
    add(store, "two")
    store.save(Changes())
    assert rows(path) == ["two"]


def test_a_transaction_waits_for_a_client_that_is_ending(store: SqliteStore) -> None:
    """As in init of a client that replaces one that was killed in a callback."""
    began = threading.Event()

    def successor() -> None:
        began.set()
        add(store, "one")
        opened(store)
        store.save(Changes())
        store.close()

    thread = threading.Thread(target=successor)
    thread.start()
    began.wait(10)
    store.close()
    thread.join()
    opened(store)
    with store.transaction() as database:
        assert database.execute("SELECT text FROM rows").fetchall() == [("one",)]


def test_what_the_user_sets_on_the_connection_does_not_change_what_is_read(path: Path) -> None:
    store = SqliteStore(path)
    opened(store)
    store.save(NOTES)
    store.close()
    with store.transaction() as database:
        database.row_factory = lambda cursor, row: dict(zip(cursor.description, row, strict=True))
        database.text_factory = bytes
    assert opened(store).subscriptions == {"notes": SavedSubscription("filters")}
    store.close()


# Possession.


def test_two_stores_of_one_file_exclude_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "PATIENCE", 0.05)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "link.db").symlink_to("real/feed.db")
    first = SqliteStore(tmp_path / "real" / "feed.db")
    opened(first, "the first")
    monkeypatch.chdir(tmp_path)
    for name in ("real/feed.db", "./real/../real/feed.db", "link/feed.db", "link.db"):
        with pytest.raises(StoreError, match=rf"{name} is in use by 'the first' \(process {os.getpid()} on "):
            opened(SqliteStore(name))
    first.close()
    for name in ("real/feed.db", "link.db"):
        store = SqliteStore(name)
        opened(store)
        store.close()


def test_a_store_waits_for_one_that_is_closing(store: SqliteStore, path: Path) -> None:
    other = SqliteStore(path)
    began = threading.Event()

    def second() -> None:
        began.set()
        opened(other)
        other.close()

    thread = threading.Thread(target=second)
    thread.start()
    began.wait(10)
    store.close()
    thread.join()
    opened(store)


def test_a_transaction_takes_possession_without_a_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "PATIENCE", 0.05)
    first = SqliteStore(path)
    with first.transaction():
        pass
    with pytest.raises(StoreError, match=rf"in use \(process {os.getpid()} on "):
        opened(SqliteStore(path))
    opened(first, "feed")
    first.save(Changes())
    with pytest.raises(StoreError, match=rf"in use by 'feed' \(process {os.getpid()} on "):
        opened(SqliteStore(path))
    first.close()


def test_another_thread_can_close_it_when_the_clients_has_ended(path: Path) -> None:
    store = SqliteStore(path)
    in_thread(lambda: opened(store))
    store.close()
    opened(store)
    in_thread(store.close)
    store.save(NOTES)
    store.close()


def test_a_forked_process_cannot_use_the_store_and_does_not_disturb_it(path: Path) -> None:
    # In a process of its own: in this one, other threads run.
    program = f"""
import os, sys, threading
from gennostr import StoreError
from gennostr.store import Changes, SqliteStore, sqlite
sqlite.PATIENCE = 0.05
store = SqliteStore({str(path)!r})
store.open("feed", seen=1, written=lambda: None)
with store.transaction() as database:
    database.execute("CREATE TABLE rows (text)")
    database.execute("INSERT INTO rows VALUES ('one')")
child = os.fork()
if child == 0:
    for use in (lambda: store.save(Changes()), lambda: store.transaction().__enter__(),
                lambda: store.open("child", seen=1, written=print)):
        try:
            use()
        except StoreError as error:
            print(error, flush=True)
    store.close()
    sys.exit()
assert os.waitpid(child, 0)[1] == 0

def fork_in_thread():
    child = os.fork()
    if child == 0:  # here, the thread that has opened the store does not exist
        store.close()
        try:
            store.save(Changes(subscriptions={{"other": "filters"}}))
        except StoreError as error:
            print(error, flush=True)
        os._exit(0)
    os.waitpid(child, 0)

thread = threading.Thread(target=fork_in_thread)
thread.start()
thread.join()
store.save(Changes(subscriptions={{"notes": "filters"}}))
store.close()
store.open("feed", seen=1, written=lambda: None)
store.close()
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    lines = done.stdout.splitlines()
    assert "opened by another" in lines[0]
    assert "in use by 'feed'" in lines[1]
    assert "in use by 'feed'" in lines[2]
    assert "opened by another" in lines[3]
    assert rows(path) == ["one"]


# What is in the file.


def test_the_users_tables_and_versions_are_the_users(store: SqliteStore, path: Path) -> None:
    with store.transaction() as database:
        database.execute("PRAGMA user_version = 7")
        database.execute("PRAGMA application_id = 8")
    store.save(Changes())
    store.close()
    opened(store)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (7,)
        assert database.execute("PRAGMA application_id").fetchone() == (8,)
        names = {name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert {name for name in names if not name.startswith("gennostr_")} == {"rows"}


def test_commits_survive_a_power_cut(store: SqliteStore) -> None:
    """As SQLite promises it for these settings."""
    with store.transaction() as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert database.execute("PRAGMA synchronous").fetchone() == (2,)


def test_only_the_lock_stays_beside_a_file_that_is_closed(store: SqliteStore, path: Path) -> None:
    store.close()
    assert sorted(each.name for each in path.parent.iterdir()) == ["feed.db", "feed.db-lock"]


def test_seen_events_are_forgotten_after_thirty_days(path: Path) -> None:
    store = SqliteStore(path)
    position = Position(1, settled=True, newest=2)
    with ManualClock() as clock:
        opened(store)
        store.save(NOTES)
        store.save(Changes(positions={("notes", ""): position}, seen={("notes", ""): {b"1" * 32: 1}}))
        clock.advance(20 * 24 * 3600)
        store.save(Changes(seen={("notes", ""): {b"2" * 32: 2}}))
        store.close()
        clock.advance(11 * 24 * 3600)
        assert opened(store).subscriptions["notes"] == SavedSubscription(
            "filters", {"": position}, {"": {b"2" * 32: 2}}
        )
        store.close()


def test_fewer_seen_events_are_kept_if_the_next_run_wants_fewer(store: SqliteStore) -> None:
    for number in range(10):
        store.save(Changes(seen={("notes", ""): {bytes([number]) * 32: number}}))
    store.close()
    assert [*opened(store, seen=3).subscriptions["notes"].seen[""].values()] == [7, 8, 9]


def test_the_file_does_not_grow_without_end(store: SqliteStore, path: Path) -> None:
    """Though the store is open all the time."""
    for number in range(100):
        events = {(100 * number + each).to_bytes(32, "big"): each for each in range(100)}
        store.save(Changes(seen={("notes", ""): events}))
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT sum(length(keys)) FROM gennostr_seen").fetchone() == (32 * 1000,)


def test_text_that_is_not_unicode_is_kept(store: SqliteStore) -> None:
    """As JSON of a relay can contain."""
    text = "\ud800 and \udc80"
    event = Event("1", "", 1, 1, [], "", "")
    store.save(
        Changes(
            subscriptions={text: text},
            positions={(text, text): Position(1, settled=True, newest=2)},
            seen={(text, text): {b"1" * 32: 1}},
            publications={"1": SavedPublication(event, 1.0, None, {text: PublishOutcome("rejected", text, text)})},
        )
    )
    store.close()
    saved = opened(store)
    expected = {text: Position(1, settled=True, newest=2)}
    assert saved.subscriptions[text] == SavedSubscription(text, expected, {text: {b"1" * 32: 1}})
    assert saved.publications[0].outcomes == {text: PublishOutcome("rejected", text, text)}


def test_times_that_no_integer_of_sqlite_holds_become_the_nearest(store: SqliteStore) -> None:
    """As an unverified event can have."""
    huge, most = 10**30, 2**63 - 1
    store.save(
        Changes(
            positions={("notes", ""): Position(-huge, settled=True, newest=huge)},
            seen={("notes", ""): {b"1" * 32: huge, b"2" * 32: -huge, b"3" * 32: 3}},
        )
    )
    store.close()
    saved = opened(store).subscriptions["notes"]
    assert saved.positions == {"": Position(-most - 1, settled=True, newest=most)}
    assert saved.seen == {"": {b"1" * 32: most, b"2" * 32: -most - 1, b"3" * 32: 3}}


def test_nothing_is_written_for_an_unknown_subscription(store: SqliteStore, path: Path) -> None:
    """It would never be deleted."""
    origin = ("unknown", "wss://a")
    store.save(Changes(positions={origin: Position(1, settled=True, newest=2)}, seen={origin: {b"1" * 32: 1}}))
    with closing(sqlite3.connect(path)) as database:
        for table in ("gennostr_positions", "gennostr_seen"):
            assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


# Versions of the tables.

VERSION_1 = """
CREATE TABLE gennostr_meta (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
INSERT INTO gennostr_meta VALUES
    ('host', 'vm'), ('owner', 'feed'), ('process', '8652'), ('version', '1');
CREATE TABLE gennostr_outcomes (
    number INTEGER PRIMARY KEY, publication TEXT NOT NULL, url TEXT NOT NULL, kind TEXT, prefix TEXT, message TEXT
);
INSERT INTO gennostr_outcomes VALUES
    (1, '5c83', 'wss://a', NULL, NULL, NULL),
    (2, '5c83', 'wss://b', 'rejected', 'blocked', 'blocked: no'),
    (3, '5c84', 'wss://a', 'accepted', NULL, '');
CREATE TABLE gennostr_positions (
    subscription TEXT NOT NULL, url TEXT NOT NULL, begun INTEGER NOT NULL, settled INTEGER NOT NULL, newest INTEGER,
    PRIMARY KEY (subscription, url)
) WITHOUT ROWID;
INSERT INTO gennostr_positions VALUES
    ('notes', 'wss://a', 1700000000, 1, 1700000100), ('notes', 'wss://b', 1700000001, 0, NULL);
CREATE TABLE gennostr_publications (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, event TEXT NOT NULL, timeout REAL NOT NULL, expires REAL
);
INSERT INTO gennostr_publications VALUES
    (
        1, '5c83',
        '{"id":"5c83","pubkey":"7e7e","created_at":1,"kind":1,"tags":[["t","a"]],"content":"hello","sig":"a0"}',
        30.0, NULL
    ),
    (
        2, '5c84',
        '{"id":"5c84","pubkey":"7e7e","created_at":2,"kind":1,"tags":[],"content":"bye","sig":"a0"}',
        0.5, 1800000000.25
    );
CREATE TABLE gennostr_seen (
    id INTEGER PRIMARY KEY, subscription TEXT NOT NULL, url TEXT NOT NULL, saved_at INTEGER NOT NULL,
    form TEXT NOT NULL, times BLOB NOT NULL, keys BLOB NOT NULL
);
INSERT INTO gennostr_seen VALUES
    (
        2, 'notes', '', 99999999999, 'hex', X'5AF153650000000064F1536500000000',
        X'5C835C835C835C835C835C835C835C835C835C835C835C835C835C835C835C83\
A000A000A000A000A000A000A000A000A000A000A000A000A000A000A000A000'
    ),
    (
        3, 'notes', 'wss://a', 99999999999, 'raw', X'FFFFFFFFFFFFFFFF',
        X'0101010101010101010101010101010101010101010101010101010101010101'
    ),
    (
        5, 'notes', 'wss://b', 99999999999, 'any', X'02000000000000000300000000000000',
        X'200202020202020202020202020202020202020202020202020202020202020202\
4035433833354338333543383335433833354338333543383335433833354338333543383335433833\
354338333543383335433833354338333543383335433833'
    );
CREATE TABLE gennostr_subscriptions (id TEXT PRIMARY KEY, filters TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO gennostr_subscriptions VALUES ('notes', '[{"kinds": [1]}]');
CREATE INDEX gennostr_seen_by_subscription ON gennostr_seen (subscription);
CREATE INDEX gennostr_outcomes_by_publication ON gennostr_outcomes (publication);
"""
"""A file as the first version has written it. It stays as it is: such files exist."""

CONTENTS = Saved(
    subscriptions={
        "notes": SavedSubscription(
            filters='[{"kinds": [1]}]',
            positions={
                "wss://a": Position(1_700_000_000, settled=True, newest=1_700_000_100),
                "wss://b": Position(1_700_000_001, settled=False, newest=None),
            },
            seen={
                "": {b"5c83" * 16: 1_700_000_090, b"a000" * 16: 1_700_000_100},
                "wss://a": {b"\1" * 32: -1},
                "wss://b": {b"\2" * 32: 2, b"5C83" * 16: 3},
            },
        )
    },
    publications=[
        SavedPublication(
            event=Event("5c83", "7e7e", 1, 1, [["t", "a"]], "hello", "a0"),
            timeout=30.0,
            expires=None,
            outcomes={"wss://a": None, "wss://b": PublishOutcome("rejected", "blocked", "blocked: no")},
        ),
        SavedPublication(
            event=Event("5c84", "7e7e", 2, 1, [], "bye", "a0"),
            timeout=0.5,
            expires=1_800_000_000.25,
            outcomes={"wss://a": PublishOutcome("accepted")},
        ),
    ],
)


@pytest.mark.parametrize("script", [VERSION_1])
def test_a_file_of_each_version_opens(script: str, path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(script)
    store = SqliteStore(path)
    assert opened(store) == CONTENTS
    store.save(Changes(subscriptions={"profiles": "filters"}))
    store.close()
    assert opened(store).subscriptions == {**CONTENTS.subscriptions, "profiles": SavedSubscription("filters")}
    store.close()


def test_a_new_file_has_the_tables_of_the_last_version(path: Path, tmp_path: Path) -> None:
    store = SqliteStore(path)
    opened(store)
    store.close()
    with closing(sqlite3.connect(tmp_path / "other.db")) as database:
        database.executescript(VERSION_1)
    assert layout(path) == layout(tmp_path / "other.db")


def layout(path: Path) -> list[Any]:
    with closing(sqlite3.connect(path)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_schema ORDER BY name")]
        return [(name, database.execute(f"PRAGMA table_xinfo ('{name}')").fetchall()) for name in tables]


def test_a_file_of_a_newer_version_is_an_error_and_stays_as_it_is(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(VERSION_1.replace("('version', '1')", "('version', '3')"))
    for _ in range(2):
        with pytest.raises(StoreError, match=r"feed.db cannot be opened: its tables are of version 3, .* up to 1$"):
            opened(SqliteStore(path))
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT value FROM gennostr_meta WHERE name = 'owner'").fetchone() == ("feed",)
