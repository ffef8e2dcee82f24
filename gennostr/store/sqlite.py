"""A store in an SQLite file, which the client's callbacks can write to as well.

One transaction is open at most. It begins when a callback first writes (`SqliteStore.transaction`), or with the save
itself, and ends with the save. So a callback's rows, and the position that says that the callback has run, are one
commit.

Durability: the file is in WAL mode with ``synchronous=FULL``, so SQLite has the system write each commit to the disk
before it returns. What is saved survives a power cut.

Possession: one store uses a file at a time. It holds a lock on a second file, ``PATH-lock``, from the first use to
`close`. This one is an empty SQLite database in an exclusive transaction, because SQLite has locks on every system that
end with the process, however it ends, and that exclude other connections of the same process as well. The main file
cannot be locked in that way, as nothing else could read it then. The lock file stays when the store is closed: if it
were deleted, another process could lock the deleted one, and a third one a new one.
"""

import os
import socket
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, NoReturn, Self, TypeVar

from gennostr.client.persistence import Changes, Saved
from gennostr.exceptions import StoreError
from gennostr.otp.clock import system_time
from gennostr.store import tables
from gennostr.values import brief

PATIENCE: Final = 2.0
"""Seconds for which a store waits until another one has given up the file: that of a client that is ending."""
BUSY_TIMEOUT: Final = 5.0
"""Seconds for which a store waits until other programs have ended their transactions."""


C = TypeVar("C", bound=sqlite3.Connection)

BLOCK: Final = "gennostr_transaction"
SAVE: Final = "gennostr_save"
"""The savepoints of a callback's ``with`` block, and of a save. A name stands for the last one that has it."""


class _Connection(sqlite3.Connection):
    """What `SqliteStore.transaction` returns: it cannot end the client's transaction.

    A ``with`` block is a part of that: if it raises, its statements are undone.
    """

    possession: "_Possession"

    def commit(self) -> None:
        _refuse("commit()")

    def rollback(self) -> None:
        _refuse("rollback()")

    def close(self) -> None:
        _refuse("close()")

    def executescript(self, *_: object) -> NoReturn:
        _refuse("executescript(), which commits first,")

    def __enter__(self) -> Self:
        self.possession.begin_block()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        if error is None:
            self.possession.end_block()
        else:
            self.possession.undo_block(error)
        return False


def _refuse(what: str) -> NoReturn:
    raise StoreError(
        f"{what} is the client's: it commits within a second, with its own positions. Use "
        "`with self.store.transaction() as database: database.execute(...)`; an exception in it undoes its statements"
    )


class _Possession:
    """A file while it is in use: its connection, and the lock. Used by one thread."""

    def __init__(self, path: str, database: _Connection, lock: sqlite3.Connection) -> None:
        self.path = path
        self.database = database
        database.possession = weakref.proxy(self)  # no cycle: a store that is dropped is closed at once
        self.lock = lock
        self.thread = threading.current_thread()
        self.process = os.getpid()
        self.seen: int | None = None
        """How many seen events are kept; None: a callback has written, but no client has opened the store."""
        self.written: Callable[[], None] = lambda: None
        self.begun = False
        """Whether callbacks have begun the transaction that the next save will end."""

    def is_mine(self) -> bool:
        """Whether this thread has taken it."""
        # After a fork, the thread that forked is the same object in both processes.
        return self.thread is threading.current_thread() and self.process == os.getpid()

    def begin(self) -> None:
        """Begin the transaction, if it is not open, and have the client save it."""
        self.check_not_lost()
        if not self.begun:
            try:
                # IMMEDIATE: a transaction that reads first and writes later fails if another program writes between.
                self.database.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                raise StoreError(f"{self.path} cannot be written: {error}") from error
            self.begun = True
            self.written()

    def check_not_lost(self) -> None:
        """Raise StoreError if the transaction has ended, other than by a save."""
        if self.begun and not self.database.in_transaction:
            raise StoreError(
                f"{self.path}: what callbacks have written since the last save is lost, or was committed without it: "
                "a callback has executed COMMIT, END or ROLLBACK, or SQLite has rolled back after an error",
                lost=True,
            )

    def begin_block(self) -> None:
        """Begin a ``with`` block of a callback."""
        self.begin()
        self.database.execute(f"SAVEPOINT {BLOCK}")

    def end_block(self) -> None:
        """End a block whose statements count."""
        self.check_not_lost()
        try:
            self.database.execute(f"RELEASE {BLOCK}")
        except sqlite3.Error as error:
            self.undo_savepoint(BLOCK)
            self.check_not_lost()
            raise StoreError(f"{self.path}: a transaction() cannot end: {error}") from error

    def undo_block(self, error: BaseException) -> None:
        """Undo a block that has raised `error`."""
        self.undo_savepoint(BLOCK)
        try:
            self.check_not_lost()
        except StoreError as lost:
            error.add_note(str(lost))

    def undo_savepoint(self, name: str) -> None:
        """Undo everything since the last savepoint of that name."""
        try:
            self.database.execute(f"ROLLBACK TO {name}")
        except sqlite3.Error:
            # It is missing: SQLite has rolled back everything, or a callback has executed COMMIT, and perhaps BEGIN.
            # `check_not_lost` finds either.
            if self.database.in_transaction:
                self.database.execute("ROLLBACK")
            return
        # Impossible while a statement that writes has more rows to return. Then it stays, and does no harm.
        with suppress(sqlite3.Error):
            self.database.execute(f"RELEASE {name}")

    def end(self) -> None:
        """Discard what is not saved, and give up the file."""
        # The lock is the last to go: the next owner finds the file closed.
        with closing(self.lock):
            try:
                # Not left to close: a cursor that the user still holds would keep the transaction open.
                if self.database.in_transaction:
                    self.database.execute("ROLLBACK")
            finally:
                sqlite3.Connection.close(self.database)


class SqliteStore:
    """A store in an SQLite file, in which callbacks can keep tables of their own.

    Nothing is opened before a client starts, so it can be an attribute of the class:

        class Feed(GenNostr[None]):
            store = SqliteStore("feed.db")

            def init(self, urls):
                with self.store.transaction() as database:
                    database.execute("CREATE TABLE IF NOT EXISTS notes (id TEXT PRIMARY KEY, content TEXT)")
                ...

            def handle_event(self, message, relay, state):
                with self.store.transaction() as database:
                    database.execute("INSERT INTO notes VALUES (?, ?)", (message.event.id, message.event.content))

    The row and the client's position are one commit. So after a crash, or a power cut, each stored event has exactly
    one row.

    The file is in WAL mode. Other programs can read it at any time; to write to it, they wait up to a second, until the
    next save. Do not copy or delete it while it is open, and do not keep it on a network drive.

    Args:
        path: the file, which is created if need be, in a directory that exists. Beside it, SQLite keeps ``PATH-wal``
            and ``PATH-shm`` while it is open, and ``PATH-lock`` stays.

    Raises:
        TypeError: `path` is not a path.
        ValueError: it is empty, has a null character, or is ":memory:": use `MemoryStore`.

    >>> import tempfile
    >>> from gennostr.store import Changes, SqliteStore
    >>> directory = tempfile.TemporaryDirectory()
    >>> store = SqliteStore(f"{directory.name}/feed.db")
    >>> saved = store.open("feed", seen=1000, written=lambda: None)
    >>> store.save(Changes(subscriptions={"notes": '[{"kinds":[1]}]'}))
    >>> store.close()
    >>> store.open("feed", seen=1000, written=lambda: None).subscriptions["notes"].filters
    '[{"kinds":[1]}]'
    >>> store.close()
    >>> directory.cleanup()
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        text: object = os.fspath(path)
        if not isinstance(text, str):
            raise TypeError(f"a path is a str or an os.PathLike[str], not {brief(path)}")
        if not text or "\0" in text or text == ":memory:":
            raise ValueError(f"not the path of a file: {text!r}" + " (use MemoryStore)" * (text == ":memory:"))
        self._path = text
        self._possession: _Possession | None = None

    def __repr__(self) -> str:
        return f"SqliteStore({self._path!r})"

    def open(self, owner: str, *, seen: int, written: Callable[[], None]) -> Saved:
        """Take possession; see `Store.open`. For clients."""
        held = self._possession
        if held is None or not held.is_mine() or held.seen is not None:
            held = self._take(owner)
        try:
            with self._described("opened"):
                return self._opened(held, owner, seen, written)
        except BaseException:
            self.close()
            raise

    def _opened(self, held: _Possession, owner: str, seen: int, written: Callable[[], None]) -> Saved:
        held.check_not_lost()
        database = held.database
        if not held.begun:
            database.execute("BEGIN IMMEDIATE")
        tables.write_meta(database, {"owner": owner})
        tables.forget_old_seen(database, system_time())
        tables.keep_last_seen(database, seen)
        if not held.begun:
            database.execute("COMMIT")
        saved = tables.read(database)
        held.seen, held.written = seen, written
        if held.begun:
            written()
        return saved

    def save(self, changes: Changes) -> None:
        """Save `changes` and what callbacks have written; see `Store.save`. For clients."""
        held = self._mine()
        if held.seen is None:
            raise StoreError(f"{self._path} is not open: a callback has written to it, but no client has opened it")
        held.check_not_lost()
        if not changes and not held.begun:
            return
        database = held.database
        try:
            with self._described("written"):
                try:
                    database.execute(f"SAVEPOINT {SAVE}" if held.begun else "BEGIN IMMEDIATE")
                    tables.write(database, changes, seen=held.seen, now=system_time())
                    database.execute("COMMIT")
                except BaseException:
                    # What callbacks have written stays, if SQLite has not rolled back everything.
                    if held.begun:
                        held.undo_savepoint(SAVE)
                    elif database.in_transaction:
                        database.execute("ROLLBACK")
                    raise
        except StoreError as error:
            error.lost = held.begun and not database.in_transaction
            raise
        held.begun = False

    def close(self) -> None:
        """Give up possession; see `Store.close`. For clients.

        In a thread that has not taken possession, it does nothing, unless the one that has has ended.
        """
        held = self._possession
        if held is None or held.process != os.getpid() or (held.thread.is_alive() and not held.is_mine()):
            return
        self._possession = None
        with self._described("closed"):
            held.end()

    def transaction(self) -> sqlite3.Connection:
        """Return the connection to the file, in the client's open transaction.

        For the callbacks of the client whose store it is; call it in each. What its statements write becomes durable
        with the client's next save, within about a second and together with the fact that this callback has run. In a
        ``with`` statement, an exception in the body undoes its statements; blocks can be nested.

        In init too, to create tables; these are durable with the first save.

        The client commits: ``commit()``, ``rollback()``, ``close()`` and ``executescript()`` raise StoreError, and
        ``COMMIT``, ``END`` and ``ROLLBACK`` must not be executed.

        Raises:
            StoreError: the file cannot be opened, or another program writes to it for more than 5 seconds; another
                thread uses the store; or what callbacks have written since the last save is lost (the client ends).

        >>> import tempfile
        >>> from gennostr.store import SqliteStore
        >>> directory = tempfile.TemporaryDirectory()
        >>> store = SqliteStore(f"{directory.name}/feed.db")
        >>> with store.transaction() as database:
        ...     _ = database.execute("CREATE TABLE notes (id TEXT PRIMARY KEY, content TEXT)")
        ...     _ = database.execute("INSERT INTO notes VALUES ('5c83', 'hello')")
        >>> with store.transaction() as database:
        ...     database.execute("SELECT content FROM notes").fetchall()
        [('hello',)]
        >>> store.close()
        >>> directory.cleanup()
        """
        held = self._possession
        if held is None or not held.is_mine():
            # Waits, as open does: the init of a client's successor may run before the client's thread has ended.
            held = self._take("", "; only callbacks of its client can use transaction()")
        held.begin()
        return held.database

    def _mine(self) -> _Possession:
        held = self._possession
        if held is None:
            raise StoreError(f"{self._path} is not open")
        if not held.is_mine():
            raise StoreError(f"{self._path} was opened by another thread or process")
        return held

    def _take(self, owner: str, hint: str = "") -> _Possession:
        """Lock the file, open it, and bring its tables up to date."""
        with self._described("opened"):
            path = Path(self._path).resolve()  # so that a link to the file finds the same lock
            lock = self._locked(path, hint)
            try:
                database = _connect(str(path), BUSY_TIMEOUT, _Connection)
                try:
                    # Where a file system does not support WAL, SQLite uses a journal, which is as durable.
                    database.execute("PRAGMA journal_mode = WAL")
                    database.execute("PRAGMA synchronous = FULL")
                    database.execute("PRAGMA fullfsync = ON")  # macOS: the disk's cache as well; elsewhere the default
                    # For many rows in a transaction, as an archive has them: what a savepoint can undo stays
                    # in memory, and pages that change with every save are copied from the WAL once in 16 MB.
                    database.execute("PRAGMA temp_store = MEMORY")
                    database.execute("PRAGMA cache_size = -16000")
                    database.execute("PRAGMA wal_autocheckpoint = 4000")
                    database.execute("BEGIN IMMEDIATE")
                    tables.migrate(database)
                    # For the error of another that opens the file. It also shows whether the file can be written.
                    facts = {"owner": owner, "process": str(os.getpid()), "host": socket.gethostname()}
                    tables.write_meta(database, facts)
                    database.execute("COMMIT")
                except BaseException:
                    sqlite3.Connection.close(database)
                    raise
            except BaseException:
                lock.close()
                raise
        held = self._possession = _Possession(self._path, database, lock)
        return held

    def _locked(self, path: Path, hint: str) -> sqlite3.Connection:
        """Return a connection that holds the lock of a file."""
        if path.is_dir():
            raise StoreError(f"{self._path} cannot be opened: it is a directory")
        if not path.parent.is_dir():
            raise StoreError(f"{self._path} cannot be opened: its directory does not exist")
        lock = _connect(f"{path}-lock", PATIENCE, sqlite3.Connection)
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            lock.close()
            if _is_busy(error):
                raise StoreError(f"{self._path} is in use{_holder(path)}{hint}") from error
            raise StoreError(f"{self._path}-lock cannot be opened: {error}") from error
        return lock

    @contextmanager
    def _described(self, done: str) -> Iterator[None]:
        """Raise StoreError with the path for anything that goes wrong."""
        try:
            yield
        except StoreError:
            raise
        except (sqlite3.Error, OSError, tables.NewerVersionError) as error:
            raise StoreError(f"{self._path} cannot be {done}: {error}") from error
        except Exception as error:
            # Decoding what was read raises all kinds.
            what = "is damaged" if done == "opened" else f"cannot be {done}"
            raise StoreError(f"{self._path} {what}: {type(error).__name__}: {error}") from error


def _connect(path: str, timeout: float, factory: type[C]) -> C:
    # isolation_level=None: the module sqlite3 begins no transactions of its own. check_same_thread=False: a possession
    # whose thread has ended can be closed in another.
    return sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False, factory=factory)


def _is_busy(error: sqlite3.Error) -> bool:
    # The lower byte; the others say why. An error of the module itself has no code.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _holder(path: Path) -> str:
    """Return who has the lock of a file, as the file says."""
    try:
        with closing(_connect(str(path), PATIENCE, sqlite3.Connection)) as database:
            facts: dict[str, Any] = tables.read_meta(database)
    except sqlite3.Error as error:
        return f" (by whom, cannot be read: {error})"
    owner = f" by {facts['owner']!r}" if facts.get("owner") else ""
    return f"{owner} (process {facts.get('process')} on {facts.get('host')})"
