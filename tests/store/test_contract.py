"""Both stores pass the contract, and behave as a model of it under random changes and crashes."""

import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gennostr import PublishOutcome
from gennostr.client.persistence import Changes, Origin, Saved, SavedPublication, Store
from gennostr.nostr import Event
from gennostr.store import MemoryStore, Position, SqliteStore
from gennostr.testing import StoreContract


class TestMemoryStore(StoreContract):
    def make_store(self, tmp_path: Path) -> MemoryStore:
        return MemoryStore()


class TestSqliteStore(StoreContract):
    def make_store(self, tmp_path: Path) -> SqliteStore:
        return SqliteStore(tmp_path / "feed.db")

    def reopen(self, store: Store, tmp_path: Path) -> SqliteStore:
        return SqliteStore(tmp_path / "feed.db")


SEEN = 10


@dataclass
class Model:
    """What a store must return: written once more, in the plainest way."""

    filters: dict[str, str] = field(default_factory=dict)
    positions: dict[Origin, Position] = field(default_factory=dict)
    seen: list[tuple[Origin, bytes, int] | None] = field(default_factory=list)
    """None in the place of a deleted one."""
    largest: int = 0
    """The number of events in the largest save."""
    publications: list[SavedPublication] = field(default_factory=list)

    def save(self, changes: Changes) -> None:
        for id_, text in changes.subscriptions.items():
            self.filters.pop(id_, None)
            if text is not None:
                self.filters[id_] = text
            self.positions = {origin: each for origin, each in self.positions.items() if origin[0] != id_}
            self.seen = [None if each is None or each[0][0] == id_ else each for each in self.seen]
        self.positions |= {origin: each for origin, each in changes.positions.items() if origin[0] in self.filters}
        new = [(origin, key, time) for origin, each in changes.seen.items() for key, time in each.items()]
        self.seen += [each for each in new if each[0][0] in self.filters]
        self.largest = max(self.largest, len(new))
        for id_, publication in changes.publications.items():
            places = [place for place, each in enumerate(self.publications) if each.event.id == id_]
            if publication is None:
                for place in places:
                    del self.publications[place]
            elif places:
                self.publications[places[0]] = publication
            else:
                self.publications.append(publication)

    def check(self, saved: Saved) -> None:
        assert {id_: each.filters for id_, each in saved.subscriptions.items()} == self.filters
        assert {
            (id_, url): position
            for id_, each in saved.subscriptions.items()
            for url, position in each.positions.items()
        } == self.positions
        assert saved.publications == self.publications
        last = {(origin, key): time for origin, key, time in (each for each in self.seen[-SEEN:] if each is not None)}
        ever = {(origin, key): time for origin, key, time in (each for each in self.seen if each is not None)}
        found = {
            ((id_, url), key): time
            for id_, each in saved.subscriptions.items()
            for url, events in each.seen.items()
            for key, time in events.items()
        }
        assert last.items() <= found.items() <= ever.items()
        assert len(found) <= 2 * SEEN + self.largest


IDS = st.sampled_from(["notes", "profiles", ""])
ORIGINS = st.tuples(IDS, st.sampled_from(["wss://a", "wss://b", ""]))
TIMES = st.integers(-(2**63), 2**63 - 1)
KEYS = st.integers(0, 99).map(lambda number: number.to_bytes(32, "big")) | st.integers(0, 99).map(
    lambda number: f"{number:064x}".encode()
)
OUTCOMES = st.none() | st.builds(
    PublishOutcome, st.sampled_from(["accepted", "rejected"]), st.none() | st.just("blocked"), st.text(max_size=5)
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
PUBLICATIONS = st.builds(
    SavedPublication,
    st.builds(Event, st.just(""), TEXTS, TIMES, st.integers(0, 9), st.lists(st.lists(TEXTS)), TEXTS, TEXTS),
    st.floats(0, 100),
    st.none() | st.floats(0, 2e9),
    st.dictionaries(TEXTS, OUTCOMES, max_size=3),
)


def identified(publications: dict[str, SavedPublication | None]) -> dict[str, SavedPublication | None]:
    return {
        id_: each and replace(each, event=Event.from_dict(each.event.to_dict() | {"id": id_}))
        for id_, each in publications.items()
    }


CHANGES = st.builds(
    Changes,
    subscriptions=st.dictionaries(IDS, st.none() | TEXTS),
    positions=st.dictionaries(ORIGINS, st.builds(Position, TIMES, st.booleans(), st.none() | TIMES), max_size=4),
    seen=st.dictionaries(ORIGINS, st.dictionaries(KEYS, TIMES, max_size=8), max_size=4),
    publications=st.dictionaries(st.sampled_from("123"), st.none() | PUBLICATIONS).map(identified),
)
STEPS = st.lists(st.just("write") | st.just("restart") | CHANGES, max_size=20)


@settings(max_examples=100, deadline=None)
@given(steps=STEPS)
def test_a_memory_store_behaves_as_the_model(steps: list[str | Changes]) -> None:
    store, model = MemoryStore(), Model()
    for step in [*steps, "restart"]:
        model.check(store.open("feed", seen=SEEN, written=lambda: None))
        if isinstance(step, Changes):
            store.save(step)
            model.save(step)
        store.close()


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_an_sqlite_store_behaves_as_the_model(steps: list[str | Changes]) -> None:
    """With rows of the user's, which are in the file if, and only if, a save came after them."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "feed.db"
        store, model = SqliteStore(path), Model()
        saved_rows = rows = 0
        with store.transaction() as database:
            database.execute("CREATE TABLE rows (text)")
        store.open("feed", seen=SEEN, written=lambda: None)
        store.save(Changes())
        for step in [*steps, "restart"]:
            if step == "write":
                with store.transaction() as database:
                    database.execute("INSERT INTO rows VALUES ('')")
                rows += 1
            elif isinstance(step, Changes):
                store.save(step)
                model.save(step)
                saved_rows = rows
            else:
                store.close()
                store = SqliteStore(path)
                rows = saved_rows
                with closing(sqlite3.connect(path)) as reader:
                    assert reader.execute("SELECT count(*) FROM rows").fetchone() == (rows,)
                model.check(store.open("feed", seen=SEEN, written=lambda: None))
        store.close()


def test_the_model_finds_a_store_that_forgets() -> None:
    """The test of the test: a store that drops what it was given is noticed."""
    model = Model()
    model.save(Changes(subscriptions={"notes": ""}, seen={("notes", ""): {b"1" * 32: 1}}))
    store = MemoryStore()
    saved = store.open("feed", seen=SEEN, written=lambda: None)
    store.close()
    with pytest.raises(AssertionError):
        model.check(saved)
