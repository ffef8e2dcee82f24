"""Events in SQLite, kept as relays keep them and found by filters.

What is kept follows NIP-01 (of a replaceable or addressable event the newest version alone, of ephemeral ones nothing),
NIP-09 (deletions by the author) and NIP-40 (expiry).

Each index makes adding slower, so there are few: an event is found by its id; by its author, kind or time, newest
first; by its address, if it has one; and by its one-letter tags. A tag is indexed as a whole number of 63 bits, which
takes a quarter of the space and half of the time of its text. Two tags may have the same number, so every event found
by one is compared with the filter. The same holds for everything in a filter beyond what its index finds.

The functions of a table run in the transaction of their connection, and neither begin nor commit one.
"""

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from heapq import merge
from itertools import islice
from string import ascii_letters
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from gennostr.exceptions import StoreError
from gennostr.nostr.event import Event
from gennostr.nostr.filters import MAX_KIND, checked_filters, matches
from gennostr.otp.clock import clock

Filters: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]]

DELETION: Final = 5
EPHEMERAL: Final = range(20_000, 30_000)
REPLACEABLE: Final = frozenset({0, 3, *range(10_000, 20_000)})
ADDRESSABLE: Final = range(30_000, 40_000)

RUN: Final = 500
"""How many events are added at once, and how many values of a condition are read side by side, each in the order of its
index. More values than that are read so many at a time, and what each time finds is sorted as a whole."""

VERSION: Final = 1
"""The version of the tables. A file of a later one is refused; one of an earlier one is to be migrated by `create`."""

_SCHEMA: Final = (
    "CREATE TABLE gennostr_events_version (version INTEGER NOT NULL)",
    # d: of an addressable event its d tag, of a replaceable one nothing (''), of others NULL.
    """CREATE TABLE gennostr_events (
        seq INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, pubkey BLOB NOT NULL, created_at INTEGER NOT NULL,
        kind INTEGER NOT NULL, tags BLOB NOT NULL, content TEXT NOT NULL, sig BLOB NOT NULL, d TEXT,
        expires INTEGER)""",
    "CREATE INDEX gennostr_by_author ON gennostr_events (pubkey, created_at, kind)",
    "CREATE INDEX gennostr_by_kind ON gennostr_events (kind, created_at)",
    "CREATE INDEX gennostr_by_time ON gennostr_events (created_at)",
    """CREATE UNIQUE INDEX gennostr_by_address ON gennostr_events (pubkey, kind, d)
        WHERE d IS NOT NULL""",
    "CREATE INDEX gennostr_by_expiry ON gennostr_events (expires) WHERE expires IS NOT NULL",
    """CREATE TABLE gennostr_tags (
        tag INTEGER, created_at INTEGER, seq INTEGER, PRIMARY KEY (tag, created_at, seq)) WITHOUT ROWID""",
    # target: an id, or the kind and d tag of an address; until: up to when events of the address are deleted.
    """CREATE TABLE gennostr_deletions (
        target, pubkey BLOB, until INTEGER, PRIMARY KEY (target, pubkey)) WITHOUT ROWID""",
)
_SEARCH: Final = (
    "CREATE VIRTUAL TABLE gennostr_search USING fts5 (content, content = 'gennostr_events', content_rowid = 'seq')",
    """CREATE TRIGGER gennostr_search_add AFTER INSERT ON gennostr_events BEGIN
        INSERT INTO gennostr_search (rowid, content) VALUES (new.seq, new.content); END""",
    """CREATE TRIGGER gennostr_search_remove AFTER DELETE ON gennostr_events BEGIN
        INSERT INTO gennostr_search (gennostr_search, rowid, content) VALUES ('delete', old.seq, old.content); END""",
    "INSERT INTO gennostr_search (gennostr_search) VALUES ('rebuild')",
)
_COLUMNS: Final = "e.created_at, e.id, e.pubkey, e.kind, e.tags, e.content, e.sig"
_EXTENSION: Final = re.compile(r"[a-z_]+:(?!//)\S*")
"""A word of a search that is an option (NIP-50), such as ``language:en``: those that are not supported are ignored."""

_Found: TypeAlias = tuple[int, str, Event]
"""An event after what NIP-01 sorts it by: the newest first, and of one second the lowest id."""
_LETTERS: Final = frozenset(ascii_letters)
_encode: Final = msgspec.json.Encoder().encode
_decode_tags: Final = msgspec.json.Decoder(list[list[str]]).decode


class _Packed(NamedTuple):
    """An event as it is stored, its `seq` aside."""

    id: bytes
    pubkey: bytes
    created_at: int
    kind: int
    tags: bytes
    content: str
    sig: bytes
    d: str | None
    expires: int | None


class _Plan(NamedTuple):
    """How the events of a filter are found.

    There is one statement for each of `values`; their results are merged.
    """

    source: str
    time: str
    """The column of `source` by which it is sorted."""
    column: str | None
    values: Sequence[Any]
    exact: bool
    """Whether all that it finds matches the filter."""


class EventTable:
    """The events in an SQLite database.

    >>> import sqlite3
    >>> from gennostr.nostr import sign
    >>> from gennostr.store.events import EventTable
    >>> table = EventTable(sqlite3.connect(":memory:"))
    >>> table.create()
    >>> key = "01" * 32
    >>> events = [sign(key, kind=kind, content="hello", created_at=1_700_000_000 + kind) for kind in (0, 1, 1)]
    >>> table.add(events)
    2
    >>> [event.kind for event in table.query({"kinds": [0, 1]})], table.count({"kinds": [1]})
    ([1, 0], 1)

    Args:
        connection: of the calling thread.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._database = connection

    def create(self, *, search: bool = False) -> None:
        """Create the tables, unless they exist.

        Args:
            search: whether there is to be a full-text index (fts5), for filters with ``search``; one that exists
                stays. False by default. Adding takes about twice as long with it.

        Raises:
            StoreError: the tables are of a later gennostr.
        """
        if self._database.execute("SELECT 1 FROM sqlite_schema WHERE name = 'gennostr_events_version'").fetchone():
            self.check_version()
        else:
            for statement in _SCHEMA:
                self._database.execute(statement)
            self._database.execute("INSERT INTO gennostr_events_version VALUES (?)", (VERSION,))
        if search and not self._has_search():
            for statement in _SEARCH:
                self._database.execute(statement)

    def check_version(self) -> None:
        """Check that the tables can be used.

        Raises:
            StoreError: they are of a later gennostr.
            sqlite3.Error: the file has no such tables.
        """
        (version,) = self._database.execute("SELECT max(version) FROM gennostr_events_version").fetchone()
        if version > VERSION:
            raise StoreError(f"its events are of version {version}, and this gennostr knows versions up to {VERSION}")

    def add(self, events: Iterable[Event]) -> int:
        """Add events; return how many were new.

        Not added: events that the table has; ephemeral, expired and deleted ones; old versions of replaceable and
        addressable ones; and what no relay should send: ids, keys and signatures that are not lower-case hex, kinds and
        times that are out of range. Ids and signatures are not checked: see `gennostr.nostr.verify`. An event of kind 5
        deletes what its tags name, if that is its author's, also what arrives later.

        Args:
            events: in the order in which they arrived.
        """
        self.purge()
        now = int(clock().time())
        added = 0
        run: list[Event] = []
        for event in events:
            if event.kind in EPHEMERAL:
                continue
            run.append(event)
            if event.kind == DELETION or len(run) == RUN:
                added += self._add(run, now)
                run = []
        return added + self._add(run, now)

    def query(self, filters: Filters) -> Iterator[Event]:
        """Return an iterator over the events that match, newest first, each once.

        Within one second, the lowest id comes first. Events are read as they are needed; do not write to the table
        meanwhile.

        Args:
            filters: a filter of NIP-01 or a list of filters, as for `GenNostr.subscribe`; ``limit`` applies to each.

        Raises:
            TypeError, ValueError: a filter is invalid; or it has ``search``, and the table was created without it.
        """
        return (event for _, _, event in self._found(filters))

    def count(self, filters: Filters) -> int:
        """Return how many events match one of the filters; ``limit`` is ignored.

        Args:
            filters: as for `query`.
        """
        wanted = [{name: value for name, value in each.items() if name != "limit"} for each in checked_filters(filters)]
        if len(wanted) == 1:
            plan = _plan(wanted[0])
            if plan.exact:
                parts = _statements(plan, wanted[0], "count(*)", int(clock().time()))
                return sum(self._database.execute(*each).fetchone()[0] for each in parts)
        return sum(1 for _ in self._found(wanted))

    def purge(self) -> None:
        """Remove the events that have expired (NIP-40).

        They are not returned in any case, and `add` does this as well.
        """
        self._remove("expires <= ?", int(clock().time()))

    # Adding.

    def _add(self, events: Sequence[Event], now: int) -> int:
        """Add at most `RUN` events, of which only the last may be a deletion."""
        new: dict[bytes, tuple[_Packed, set[int]]] = {}
        for event in events:
            found = _packed(event)
            if found is not None and (found[0].expires is None or found[0].expires > now):
                new.setdefault(found[0].id, found)
        if not new:
            return 0
        deleted = self._deleted(new)
        first = seq = self._database.execute("SELECT ifnull(max(seq), 0) FROM gennostr_events").fetchone()[0]
        rows: dict[int, tuple[_Packed, set[int]]] = {}
        # The newest version of each address of the run: its order, and its seq.
        newest: dict[tuple[bytes, int, str], tuple[tuple[int, bytes], int]] = {}
        for packed, tags in new.values():
            if deleted and packed.kind != DELETION and _is_deleted(packed, deleted):
                continue
            seq += 1
            if packed.d is not None:
                address, order = (packed.pubkey, packed.kind, packed.d), (-packed.created_at, packed.id)
                other, its_seq = newest.get(address) or self._version(*address)
                if other <= order:
                    continue
                if its_seq in rows:
                    del rows[its_seq]
                elif its_seq:
                    self._remove("seq = ?", its_seq)
                newest[address] = order, seq
            rows[seq] = packed, tags
        added = self._database.executemany(
            "INSERT INTO gennostr_events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
            [(seq, *packed) for seq, (packed, _) in rows.items()],
        ).rowcount
        if added < len(rows):  # the table has had some of them
            there = self._database.execute("SELECT seq FROM gennostr_events WHERE seq > ?", (first,))
            rows = {seq: rows[seq] for (seq,) in there}
        self._database.executemany(
            "INSERT INTO gennostr_tags VALUES (?, ?, ?)",
            [(tag, packed.created_at, seq) for seq, (packed, tags) in rows.items() for tag in tags],
        )
        if events[-1].kind == DELETION and any(packed.id.hex() == events[-1].id for packed, _ in rows.values()):
            self._delete(events[-1])
        return len(rows)

    def _version(self, pubkey: bytes, kind: int, d: str) -> tuple[tuple[int, bytes], int]:
        """Return the stored version of an address: its order and its seq, or 0."""
        found = self._database.execute(
            "SELECT -created_at, id, seq FROM gennostr_events WHERE pubkey = ? AND kind = ? AND d = ?",
            (pubkey, kind, d),
        ).fetchone()
        return ((2**63, b""), 0) if found is None else (found[:2], found[2])

    def _deleted(self, new: Mapping[bytes, tuple[_Packed, object]]) -> dict[tuple[object, bytes], int | None]:
        """Return what was deleted of new events and their addresses, and up to when.

        By target and author.
        """
        if self._database.execute("SELECT 1 FROM gennostr_deletions LIMIT 1").fetchone() is None:
            return {}
        targets = [*new, *{_target(packed.kind, packed.d) for packed, _ in new.values() if packed.d is not None}]
        statement = f"SELECT target, pubkey, until FROM gennostr_deletions WHERE target IN {_marks(targets)}"
        return {(target, pubkey): until for target, pubkey, until in self._database.execute(statement, targets)}

    def _delete(self, deletion: Event) -> None:
        """Delete what `deletion` names (NIP-09), and remember it."""
        pubkey, until = bytes.fromhex(deletion.pubkey), deletion.created_at
        for tag in deletion.tags:
            match tag:
                case ["e", text, *_] if (id_ := _unhex(text)) is not None:
                    self._database.execute(
                        "INSERT OR IGNORE INTO gennostr_deletions VALUES (?, ?, NULL)", (id_, pubkey)
                    )
                    self._remove("id = ? AND pubkey = ? AND kind != ?", id_, pubkey, DELETION)
                case ["a", text, *_] if (address := _address(text, deletion.pubkey)) is not None:
                    kind, d = address
                    self._database.execute(
                        "INSERT INTO gennostr_deletions VALUES (?, ?, ?) "
                        "ON CONFLICT DO UPDATE SET until = max(until, excluded.until)",
                        (_target(kind, d), pubkey, until),
                    )
                    self._remove("pubkey = ? AND kind = ? AND d = ? AND created_at <= ?", pubkey, kind, d, until)

    def _remove(self, where: str, *values: object) -> None:
        found = self._database.execute(
            f"SELECT seq, created_at, tags FROM gennostr_events WHERE {where}", values
        ).fetchall()
        for seq, created_at, tags in found:
            self._database.executemany(
                "DELETE FROM gennostr_tags WHERE tag = ? AND created_at = ? AND seq = ?",
                [(tag, created_at, seq) for tag in _indexed(_decode_tags(tags))[0]],
            )
            self._database.execute("DELETE FROM gennostr_events WHERE seq = ?", (seq,))

    # Finding.

    def _found(self, filters: Filters) -> Iterator[_Found]:
        wanted = checked_filters(filters)
        if any("search" in each for each in wanted) and not self._has_search():
            raise ValueError("a filter has 'search', and the events were stored without a full-text index")
        now = int(clock().time())
        return _once(merge(*[self._matching(each, now) for each in wanted]))

    def _matching(self, filter_: dict[str, Any], now: int) -> Iterator[_Found]:
        """Return what matches one filter, in order."""
        plan, limit = _plan(filter_), None
        if "limit" in filter_:
            limit = min(filter_["limit"], 2**31)  # a filter may have any number, SQLite and islice may not
        end = f" ORDER BY {plan.time} DESC, e.id"
        if plan.exact and limit is not None:
            end += f" LIMIT {limit:d}"
        parts = _statements(plan, filter_, _COLUMNS, now)
        found = _once(merge(*[map(_event, self._database.execute(f"{text}{end}", values)) for text, values in parts]))
        if not plan.exact:
            found = (each for each in found if matches(filter_, each[2]))
        return islice(found, limit)

    def _has_search(self) -> bool:
        statement = "SELECT 1 FROM sqlite_schema WHERE name = 'gennostr_search'"
        return self._database.execute(statement).fetchone() is not None


def _once(found: Iterator[_Found]) -> Iterator[_Found]:
    last = ""
    for each in found:
        if each[1] != last:
            last = each[1]
            yield each


def _event(row: tuple[int, bytes, bytes, int, bytes, str, bytes]) -> _Found:
    created_at, id_, pubkey, kind, tags, content, sig = row
    digits = id_.hex()
    event = Event(digits, pubkey.hex(), created_at, kind, _decode_tags(tags), content, sig.hex())
    return -created_at, digits, event


def _plan(filter_: Mapping[str, Any]) -> _Plan:
    """Return how to find the events of a checked filter."""
    rest = filter_.keys() - {"since", "until", "limit", "kinds"}
    events = "gennostr_events AS e"
    if "search" in filter_ and (words := _words(filter_["search"])):
        source = f"{events} JOIN gennostr_search ON gennostr_search.rowid = e.seq"
        return _Plan(source, "e.created_at", "gennostr_search", [words], exact=rest == {"search"})
    if "ids" in filter_:
        ids = [bytes.fromhex(each) for each in filter_["ids"]]
        return _Plan(events, "e.created_at", "e.id", ids, exact=rest == {"ids"})
    # By the list with the fewest values; of NIP-91's, all of which an event must have, one will do.
    lists = {name: value[:1] if name[0] == "&" else value for name, value in filter_.items() if name[0] in "#&"}
    lists = {name: value for name, value in lists.items() if value or name[0] == "#"}
    if lists:
        name = min(lists, key=lambda each: len(lists[each]))
        source = "gennostr_tags AS t CROSS JOIN gennostr_events AS e ON e.seq = t.seq"
        return _Plan(source, "t.created_at", "t.tag", [_number(name[1], each) for each in lists[name]], exact=False)
    if "authors" in filter_:
        authors = [bytes.fromhex(each) for each in filter_["authors"]]
        source = f"{events} INDEXED BY gennostr_by_author"
        return _Plan(source, "e.created_at", "e.pubkey", authors, exact=rest == {"authors"})
    if "kinds" in filter_:
        source = f"{events} INDEXED BY gennostr_by_kind"
        return _Plan(source, "e.created_at", "e.kind", filter_["kinds"], exact=not rest)
    return _Plan(f"{events} INDEXED BY gennostr_by_time", "e.created_at", None, (), exact=not rest - {"search"})


def _statements(
    plan: _Plan, filter_: Mapping[str, Any], columns: str, now: int
) -> Iterator[tuple[str, Sequence[object]]]:
    """Yield the statements that find the events, each with its values.

    Order and limit are left to the caller.
    """
    where, values = ["(e.expires IS NULL OR e.expires > ?)"], [now]
    for name, sign in (("since", ">="), ("until", "<=")):
        if name in filter_:
            where.append(f"{plan.time} {sign} ?")
            values.append(filter_[name])
    kinds = sorted(set(filter_.get("kinds", ())))
    if "kinds" in filter_ and plan.column != "e.kind":
        where.append(f"e.kind IN ({', '.join(map(str, kinds))})")  # checked: these are whole numbers
    begin = f"SELECT {columns} FROM {plan.source} WHERE {' AND '.join(where)}"
    if plan.column is None:
        yield begin, values
        return
    chosen = [*dict.fromkeys(plan.values)]
    size = 1 if len(chosen) <= RUN else RUN
    for at in range(0, len(chosen), size):
        part = chosen[at : at + size]
        condition = "MATCH ?" if plan.column == "gennostr_search" else "= ?" if size == 1 else f"IN {_marks(part)}"
        yield f"{begin} AND {plan.column} {condition}", [*values, *part]
    if not chosen:
        yield f"{begin} AND FALSE", values


def _words(search: str) -> str:
    """Return a search as fts5 writes it: all words must be there; '' if it has none."""
    words = [word for word in search.replace("\0", " ").split() if not _EXTENSION.fullmatch(word)]
    return " ".join('"' + word.replace('"', '""') + '"' for word in words)


def _marks(values: Iterable[object]) -> str:
    return f"({', '.join('?' for _ in values)})"


def _unhex(text: str, size: int = 32) -> bytes | None:
    """Return the bytes of lower-case hex; None if it is anything else."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        return None
    return data if len(data) == size and data.hex() == text else None


def _packed(event: Event) -> tuple[_Packed, set[int]] | None:
    """Return an event and its tags as they are stored; None: it is not stored."""
    created_at, kind, content = event.created_at, event.kind, event.content
    digits = event.id + event.pubkey + event.sig
    if len(event.id) != 64 or len(event.pubkey) != 64 or not 0 <= kind <= MAX_KIND or not -(2**63) < created_at < 2**63:
        return None
    try:
        data = bytes.fromhex(digits)
        if data.hex() != digits:
            return None
        content.encode()
        tags, numbers, expires = (_encode(event.tags), *_indexed(event.tags)) if event.tags else (b"[]", set(), None)
    except ValueError:  # no hex, or a lone surrogate
        return None
    d = None
    if kind in REPLACEABLE:
        d = ""
    elif kind in ADDRESSABLE:
        d = next((tag[1] for tag in event.tags if len(tag) > 1 and tag[0] == "d"), "")
    return _Packed(data[:32], data[32:64], created_at, kind, tags, content, data[64:], d, expires), numbers


def _indexed(tags: Iterable[Sequence[str]]) -> tuple[set[int], int | None]:
    """Return the numbers of an event's one-letter tags, and when it expires (NIP-40)."""
    numbers, expires = set(), None
    for tag in tags:
        if len(tag) > 1:
            if tag[0] in _LETTERS:
                numbers.add(_number(tag[0], tag[1]))
            elif tag[0] == "expiration" and expires is None and re.fullmatch("[0-9]{1,18}", tag[1]):
                expires = int(tag[1])
    return numbers, expires


def _number(letter: str, value: str) -> int:
    """Return the number of a tag: 56 bits of its value, and its letter."""
    if len(value) == 64:  # an id or a key, whose digits are as good as a hash
        try:
            return int(value[:14], 16) << 7 | ord(letter)
        except ValueError:
            pass
    return int.from_bytes(blake2b(value.encode(), digest_size=7).digest()) << 7 | ord(letter)


def _target(kind: int, d: str | None) -> str:
    return f"{kind}:{d}"


def _address(text: str, pubkey: str) -> tuple[int, str] | None:
    """Return the kind and the d tag of an address, if it is `pubkey`'s."""
    found = re.fullmatch("([0-9]{1,5}):([0-9a-f]{64}):(.*)", text, re.DOTALL)
    if found is None or found[2] != pubkey:
        return None
    kind, d = int(found[1]), found[3]
    if kind in ADDRESSABLE:
        return kind, d
    return (kind, d) if kind in REPLACEABLE and not d else None


def _is_deleted(packed: _Packed, deleted: Mapping[tuple[object, bytes], int | None]) -> bool:
    if (packed.id, packed.pubkey) in deleted:
        return True
    until = deleted.get((_target(packed.kind, packed.d), packed.pubkey)) if packed.d is not None else None
    return until is not None and packed.created_at <= until
