"""The tables in which a `SqliteStore` keeps what its client saves.

All names begin with ``gennostr_``: the rest of the file is the user's. So is ``PRAGMA user_version``: the version of
these tables is a row in one of them.

The seen events are a log. Each save appends one row for each origin, which holds all its new keys and times as two
blobs: 1,000 events cost one insertion, not 1,000. A row's id is that of the row before plus its number of events. So
the rows of the last N events are a range of ids, and what is older is deleted by one search in the primary key.
"""

import struct
from collections.abc import Collection, Mapping
from sqlite3 import Connection, Cursor
from typing import Any, Final

from gennostr.client.attempt import PublishOutcome
from gennostr.client.persistence import Changes, Origin, Saved, SavedPublication, SavedSubscription
from gennostr.client.subscriptions import Position
from gennostr.nostr.event import Event

FORGET_AFTER: Final = 30 * 24 * 3600
"""Seconds after which seen events are forgotten, even if they are of the last ones."""

STEPS: Final = (
    """
    CREATE TABLE gennostr_subscriptions (id TEXT PRIMARY KEY, filters TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE gennostr_positions (
        subscription TEXT NOT NULL, url TEXT NOT NULL, begun INTEGER NOT NULL, settled INTEGER NOT NULL, newest INTEGER,
        PRIMARY KEY (subscription, url)
    ) WITHOUT ROWID;
    CREATE TABLE gennostr_seen (
        id INTEGER PRIMARY KEY, subscription TEXT NOT NULL, url TEXT NOT NULL, saved_at INTEGER NOT NULL,
        form TEXT NOT NULL, times BLOB NOT NULL, keys BLOB NOT NULL
    );
    CREATE INDEX gennostr_seen_by_subscription ON gennostr_seen (subscription);
    CREATE TABLE gennostr_publications (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, event TEXT NOT NULL, timeout REAL NOT NULL, expires REAL
    );
    CREATE TABLE gennostr_outcomes (
        number INTEGER PRIMARY KEY, publication TEXT NOT NULL, url TEXT NOT NULL, kind TEXT, prefix TEXT, message TEXT
    );
    CREATE INDEX gennostr_outcomes_by_publication ON gennostr_outcomes (publication);
    """,
)
"""What makes a file of version N one of version N + 1, from version 0 on, which has no tables.

A step that is in a release never changes: files exist that have gone through it.
"""
VERSION: Final = len(STEPS)


class NewerVersionError(Exception):
    """The file was written by a later gennostr."""


def migrate(database: Connection) -> None:
    """Bring the tables to `VERSION`, in the open transaction."""
    database.execute("CREATE TABLE IF NOT EXISTS gennostr_meta (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID")
    version = int(read_meta(database).get("version") or 0)
    if version > VERSION:
        raise NewerVersionError(
            f"its tables are of version {version}, and this gennostr knows versions up to {VERSION}"
        )
    for step in STEPS[version:]:
        # Not executescript, which would commit first.
        for statement in step.split(";"):
            database.execute(statement)
    if version < VERSION:
        write_meta(database, {"version": str(VERSION)})


def read_meta(database: Connection) -> dict[str, str | None]:
    """Return the file's own facts, by name."""
    return {_string(name): _optional(value) for name, value in _rows(database, "SELECT name, value FROM gennostr_meta")}


def write_meta(database: Connection, values: Mapping[str, str]) -> None:
    """Replace facts of the file."""
    rows = [(name, _text(value)) for name, value in values.items()]
    database.executemany("INSERT OR REPLACE INTO gennostr_meta VALUES (?, ?)", rows)


# Reading.


def read(database: Connection) -> Saved:
    """Return everything that is saved.

    Raises:
        ValueError: a row does not hold what was written, or anything else that its decoding raises.

    """
    saved = Saved()
    for id_, filters in _rows(database, "SELECT id, filters FROM gennostr_subscriptions"):
        saved.subscriptions[_string(id_)] = SavedSubscription(_string(filters))
    for id_, url, begun, settled, newest in _rows(
        database, "SELECT subscription, url, begun, settled, newest FROM gennostr_positions"
    ):
        saved.subscriptions[_string(id_)].positions[_string(url)] = Position(begun, bool(settled), newest)
    for id_, url, form, times, keys in _rows(
        database, "SELECT subscription, url, form, times, keys FROM gennostr_seen ORDER BY id"
    ):
        seen = saved.subscriptions[_string(id_)].seen.setdefault(_string(url), {})
        seen.update(zip(_unpacked(_string(form), keys), struct.unpack(f"<{len(times) // 8}q", times), strict=True))
    outcomes: dict[str, dict[str, PublishOutcome | None]] = {}
    for id_, url, kind, prefix, message in _rows(
        database, "SELECT publication, url, kind, prefix, message FROM gennostr_outcomes ORDER BY number"
    ):
        outcomes.setdefault(_string(id_), {})[_string(url)] = (
            None if kind is None else PublishOutcome(_string(kind), _optional(prefix), _string(message))  # type: ignore[arg-type]
        )
    for id_, event, timeout, expires in _rows(
        database, "SELECT id, event, timeout, expires FROM gennostr_publications ORDER BY number"
    ):
        saved.publications.append(
            SavedPublication(Event.from_json(event), timeout, expires, outcomes.get(_string(id_), {}))
        )
    return saved


def _rows(database: Connection, query: str) -> Cursor:
    cursor = database.cursor()
    cursor.row_factory = None  # whatever the user has set on the connection
    return cursor.execute(query)


# Writing.


def write(database: Connection, changes: Changes, *, seen: int, now: float) -> None:
    """Apply `changes`, in the open transaction.

    Args:
        database: the connection.
        changes: what is new.
        seen: how many of the last seen events are kept.
        now: the time of day, in seconds since 1970.

    """
    if changes.subscriptions:
        ids = [(_text(id_),) for id_ in changes.subscriptions]
        database.executemany("DELETE FROM gennostr_subscriptions WHERE id = ?", ids)
        database.executemany("DELETE FROM gennostr_positions WHERE subscription = ?", ids)
        database.executemany("DELETE FROM gennostr_seen WHERE subscription = ?", ids)
        begun = [(_text(id_), _text(text)) for id_, text in changes.subscriptions.items() if text is not None]
        database.executemany("INSERT INTO gennostr_subscriptions VALUES (?, ?)", begun)
    # Rows of a subscription that is not there would never be read, nor deleted: they are not written.
    known = {_string(id_) for (id_,) in _rows(database, "SELECT id FROM gennostr_subscriptions")}
    if changes.positions:
        database.executemany(
            "INSERT OR REPLACE INTO gennostr_positions VALUES (?, ?, ?, ?, ?)",
            [
                (_text(id_), _text(url), _integer(each.begun), each.settled, _integer(each.newest))
                for (id_, url), each in changes.positions.items()
                if id_ in known
            ],
        )
    if changes.seen:
        new = {origin: events for origin, events in changes.seen.items() if events and origin[0] in known}
        _append_seen(database, new, int(now))
        keep_last_seen(database, seen)
    if changes.publications:
        _write_publications(database, changes.publications)


def _append_seen(database: Connection, seen: Mapping[Origin, Mapping[bytes, int]], now: int) -> None:
    count = _last_seen(database)
    rows = []
    for (id_, url), events in seen.items():
        count += len(events)
        rows.append((count, _text(id_), _text(url), now, *_packed(events), _packed_times(events.values())))
    database.executemany(
        "INSERT INTO gennostr_seen (id, subscription, url, saved_at, form, keys, times) VALUES (?, ?, ?, ?, ?, ?, ?)",
        rows,
    )


def keep_last_seen(database: Connection, seen: int) -> None:
    """Delete the rows of seen events that hold none of the last `seen` ones."""
    database.execute("DELETE FROM gennostr_seen WHERE id <= ?", (_last_seen(database) - seen,))


def forget_old_seen(database: Connection, now: float) -> None:
    """Delete seen events that were saved `FORGET_AFTER` seconds before `now`."""
    database.execute("DELETE FROM gennostr_seen WHERE saved_at < ?", (int(now) - FORGET_AFTER,))


def _last_seen(database: Connection) -> int:
    ((last,),) = _rows(database, "SELECT coalesce(max(id), 0) FROM gennostr_seen")
    return int(last)


def _write_publications(database: Connection, publications: Mapping[str, SavedPublication | None]) -> None:
    kept = [(_text(id_), each) for id_, each in publications.items() if each is not None]
    ended = [(_text(id_),) for id_, each in publications.items() if each is None]
    database.executemany("DELETE FROM gennostr_outcomes WHERE publication = ?", [*ended, *((id_,) for id_, _ in kept)])
    database.executemany("DELETE FROM gennostr_publications WHERE id = ?", ended)
    # One that changes keeps its number, and with it its place in the order.
    database.executemany(
        "INSERT INTO gennostr_publications (id, event, timeout, expires) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (id) DO UPDATE SET event = excluded.event, timeout = excluded.timeout, expires = excluded.expires",
        [(id_, each.event.to_json(), each.timeout, each.expires) for id_, each in kept],
    )
    database.executemany(
        "INSERT INTO gennostr_outcomes (publication, url, kind, prefix, message) VALUES (?, ?, ?, ?, ?)",
        [(id_, _text(url), *_parts(outcome)) for id_, each in kept for url, outcome in each.outcomes.items()],
    )


def _parts(outcome: PublishOutcome | None) -> tuple[object, ...]:
    if outcome is None:
        return None, None, None
    return outcome.kind, None if outcome.prefix is None else _text(outcome.prefix), _text(outcome.message)


# Keys of seen events.


def _packed(keys: Collection[bytes]) -> tuple[str, bytes]:
    """Return how the keys are packed, and the bytes.

    A verified event's key is the hex text of its id, of which half the bytes are needed, and another one is a hash.
    """
    joined = b"".join(keys)
    lengths = {len(key) for key in keys}
    if lengths == {64}:
        try:
            packed = bytes.fromhex(joined.decode())
        except ValueError:
            packed = b""
        if packed.hex().encode() == joined:  # fromhex also reads capitals and skips spaces
            return "hex", packed
    if lengths == {32}:
        return "raw", joined
    return "any", b"".join(bytes([len(key)]) + key for key in keys)


def _unpacked(form: str, packed: bytes) -> list[bytes]:
    if form == "any":
        keys = []
        at = 0
        while at < len(packed):
            end = at + 1 + packed[at]
            keys.append(packed[at + 1 : end])
            at = end
        return keys
    size = {"hex": 64, "raw": 32}[form]
    joined = packed.hex().encode() if form == "hex" else packed
    return [joined[at : at + size] for at in range(0, len(joined), size)]


def _packed_times(times: Collection[int]) -> bytes:
    try:
        return struct.pack(f"<{len(times)}q", *times)
    except struct.error:
        return struct.pack(f"<{len(times)}q", *map(_integer, times))


# Values that SQLite does not know.


def _integer(number: int | None) -> int | None:
    """Return the nearest number of 64 bits: a relay can send events of any time."""
    return None if number is None else max(-(2**63), min(number, 2**63 - 1))


def _text(text: str) -> str | bytes:
    """Return a text as it is stored: as bytes if it is not valid Unicode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def _string(value: Any) -> str:
    """Return the text that `_text` has stored."""
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else str(value)


def _optional(value: Any) -> str | None:
    return None if value is None else _string(value)
