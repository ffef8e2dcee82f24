"""The table of events, beside a model that is written as the NIPs say it."""

import random
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gennostr.nostr import Event, event_id, matches
from gennostr.otp import clock
from gennostr.otp.clock import MACHINE
from gennostr.store import events as module
from gennostr.store.events import EventTable
from gennostr.testing import MemoryRelay, make_event

ALICE, BOB = "a1" * 32, "b0" * 32
SIG = "0" * 128


class Model:
    """What a relay keeps, as a list."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.deleted: list[tuple[str, str]] = []  # author and id
        self.addresses: list[tuple[str, str, int]] = []  # author, address, and up to when

    def purge(self, now: int) -> None:
        self.events = [event for event in self.events if not expired(event, now)]

    def add(self, event: Event, now: int) -> bool:
        self.purge(now)
        if event in self.events or 20_000 <= event.kind < 30_000 or expired(event, now) or self.is_deleted(event):
            return False
        its = address(event)
        for other in [each for each in self.events if its is not None and address(each) == its]:
            if order(other) < order(event):
                return False
            self.events.remove(other)
        self.events.append(event)
        if event.kind == 5:
            self.deleted += [(event.pubkey, tag[1]) for tag in event.tags if tag[0] == "e"]
            named = [tag[1] for tag in event.tags if tag[0] == "a" and tag[1].split(":")[1] == event.pubkey]
            self.addresses += [(event.pubkey, each, event.created_at) for each in named]
            self.events = [each for each in self.events if not self.is_deleted(each)]
        return True

    def is_deleted(self, event: Event) -> bool:
        if event.kind == 5:
            return False
        return (event.pubkey, event.id) in self.deleted or any(
            (author, each) == (event.pubkey, address(event)) and event.created_at <= until
            for author, each, until in self.addresses
        )

    def query(self, filters: Sequence[Mapping[str, Any]], now: int) -> list[Event]:
        self.purge(now)
        found: dict[str, Event] = {}
        for each in filters:
            matching = sorted((event for event in self.events if matches(each, event)), key=order)
            found |= {event.id: event for event in matching[: each.get("limit")]}
        return sorted(found.values(), key=order)


def order(event: Event) -> tuple[int, str]:
    return -event.created_at, event.id


def expired(event: Event, now: int) -> bool:
    return next((int(tag[1]) <= now for tag in event.tags if tag[0] == "expiration"), False)


def address(event: Event) -> str | None:
    if event.kind in (0, 3) or 10_000 <= event.kind < 20_000:
        return f"{event.kind}:{event.pubkey}:"
    if 30_000 <= event.kind < 40_000:
        d = next((tag[1] for tag in event.tags if tag[0] == "d" and len(tag) > 1), "")
        return f"{event.kind}:{event.pubkey}:{d}"
    return None


def made(pubkey: str, created_at: int, kind: int, tags: list[list[str]], content: str = "") -> Event:
    return Event(event_id(pubkey, created_at, kind, tags, content), pubkey, created_at, kind, tags, content, SIG)


@contextmanager
def table(*, search: bool = False) -> Iterator[EventTable]:
    with closing(sqlite3.connect(":memory:")) as database:
        found = EventTable(database)
        found.create(search=search)
        yield found


class At:
    """A clock that shows one time of day."""

    def __init__(self, now: float) -> None:
        self.now = now

    def time(self) -> float:
        return self.now

    def __getattr__(self, name: str) -> Any:
        return getattr(MACHINE, name)


@contextmanager
def time_of_day(now: float) -> Iterator[At]:
    shown = At(now)
    before = clock.install(shown)
    try:
        yield shown
    finally:
        clock.install(before)


authors = st.sampled_from([ALICE, BOB])
times = st.integers(0, 3)
values = st.sampled_from(["", "x", "y", "X" * 64, ALICE, "é\0"])
tag = st.one_of(
    st.tuples(st.sampled_from(["t", "p", "d"]), values).map(list),
    st.integers(1, 4).map(lambda time: ["expiration", str(time)]),
    st.just(["d"]),
    st.just(["long", "x"]),
)
plain = st.builds(
    made,
    authors,
    times,
    st.sampled_from([0, 1, 7, 3, 10_002, 20_001, 30_023, 30_023, 39_999]),
    st.lists(tag, max_size=3),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Events, and deletions of some of them, by their authors and by others, in any order and some of them twice."""
    some = draw(st.lists(plain, min_size=1, max_size=8))
    for _ in range(draw(st.integers(0, 3))):
        named = draw(st.lists(st.sampled_from(some), min_size=1, max_size=3))
        tags = [["e", event.id] for event in named if draw(st.booleans()) or address(event) is None]
        tags += [["a", text] for event in named if (text := address(event)) is not None]
        some.append(made(draw(authors), draw(times), 5, tags))
    return draw(st.permutations([*some, *draw(st.lists(st.sampled_from(some), max_size=3))]))


filters = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "ids": st.just([]),
            "authors": st.lists(authors, max_size=2),
            "kinds": st.lists(st.sampled_from([0, 1, 5, 7, 30_023]), max_size=3),
            "#t": st.lists(values, max_size=3),
            "#d": st.lists(values, max_size=3),
            "&t": st.lists(values, max_size=2),
            "since": times,
            "until": times,
            "limit": st.integers(0, 3),
        },
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=200, deadline=None)
@given(histories(), st.data())
def test_it_keeps_and_finds_what_the_model_does(history: list[Event], data: st.DataObject) -> None:
    model = Model()
    with table() as events, time_of_day(0) as shown:
        while history:
            number = data.draw(st.integers(1, len(history)))
            now, history = history[:number], history[number:]
            events.add(now)
            for event in now:
                model.add(event, int(shown.now))
            everything = model.query([{}], int(shown.now))
            assert list(events.query({})) == everything
            asked = data.draw(filters)
            for each in asked:
                if "ids" in each:
                    each["ids"] = [event.id for event in everything[::2]]
            assert list(events.query(asked)) == model.query(asked, int(shown.now))
            plain = [{name: value for name, value in each.items() if name != "limit"} for each in asked]
            assert events.count(asked) == len(model.query(plain, int(shown.now)))
            shown.now += data.draw(st.integers(0, 1))
        events.purge()
        stored = events._database.execute("SELECT count(*) FROM gennostr_events").fetchone()
        tags = events._database.execute(
            "SELECT count(*) FROM gennostr_tags WHERE seq NOT IN (SELECT seq FROM gennostr_events)"
        )
        assert (stored, tags.fetchone()) == ((len(model.query([{}], int(shown.now))),), (0,))


@pytest.mark.parametrize("run", [1, 3, 500])
def test_the_size_of_a_run_changes_nothing(run: int, monkeypatch: pytest.MonkeyPatch) -> None:
    source = random.Random(run)
    some = [
        made(
            source.choice([ALICE, BOB]),
            source.randrange(20),
            source.choice([0, 1, 30_000]),
            [["d", str(source.randrange(3))]],
        )
        for _ in range(60)
    ]
    some += [made(ALICE, 30, 5, [["e", event.id] for event in some[::3]]), *some]
    monkeypatch.setattr(module, "RUN", run)
    model = Model()
    with table() as events:
        for event in some:
            model.add(event, 40)
        events.add(some)
        assert list(events.query({})) == model.query([{}], 40)
        by_all: list[dict[str, Any]] = [
            {"authors": [ALICE, BOB], "kinds": [0, 1]},
            {"#d": ["0", "1", "2"]},
            {"ids": [each.id for each in some]},
        ]
        for each in by_all:
            assert list(events.query(each)) == model.query([each], 40)
            assert events.count(each) == len(model.query([each], 40))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.builds(made, authors, times, st.just(1), st.lists(tag, max_size=3)), max_size=8), filters)
def test_it_answers_as_the_test_kits_relay_does(some: list[Event], asked: list[dict[str, Any]]) -> None:
    some = [event for event in some if not expired(event, 2**62)]
    with table() as events:
        events.add(some)
        assert list(events.query(asked)) == list(relay_with(some)._stored(asked))


def relay_with(events: Sequence[Event]) -> MemoryRelay:
    """Return a relay that does not run."""
    relay = object.__new__(MemoryRelay)
    relay._events, relay._max_limit = {event.id: event for event in events}, None
    return relay


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=4), max_size=4),
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.integers(0, 65_535).filter(lambda kind: not 20_000 <= kind < 30_000),
    st.sampled_from(["", SIG, "ab"]),
)
def test_an_event_comes_back_as_it_was(content: str, tags: list[list[str]], time: int, kind: int, sig: str) -> None:
    tags = [each for each in tags if each[:1] != ["expiration"]]
    event = Event(event_id(ALICE, time, kind, tags, content), ALICE, time, kind, tags, content, sig)
    with table() as events:
        assert events.add([event]) == 1
        assert list(events.query({"ids": [event.id]})) == [event]


@pytest.mark.parametrize(
    "change",
    [
        {"id": "x"},
        {"id": "AB" * 32},
        {"pubkey": "ab" * 31},
        {"sig": "no hex"},
        {"kind": 65_536},
        {"kind": -1},
        {"created_at": 2**63},
        {"content": "\ud800"},
        {"tags": [["t", "\ud800"]]},
    ],
    ids=str,
)
def test_what_no_relay_should_send_is_left_out(change: dict[str, Any]) -> None:
    event = Event(**{**make_event().to_dict(), **change})
    with table() as events:
        assert events.add([event, make_event(content="next")]) == 1
        assert [each.content for each in events.query({})] == ["next"]


def test_a_tag_with_the_number_of_another_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = make_event(tags=[["t", "one"]]), make_event(tags=[["t", "other"]])
    monkeypatch.setattr(module, "_number", lambda letter, value: 1)
    with table() as events:
        events.add([one, other])
        assert list(events.query({"#t": ["one"]})) == [one]
        assert events.count({"#t": ["other"], "#p": []}) == 0
        assert events.count({"#t": ["other"]}) == 1


def test_the_search_finds_events_with_all_words() -> None:
    with table() as events:
        events.add([make_event(content="Nostr relays in Python", kind=kind) for kind in (1, 30_023)])
        with pytest.raises(ValueError, match="full-text index"):
            events.query({"search": "nostr"})
        events.create(search=True)  # what is there is indexed
        events.create(search=True)
        events.add(
            [make_event(content='a "quoted" text about relays', created_at=1), made(ALICE, 1, 0, [], "relays, old")]
        )
        events.add([made(ALICE, 2, 0, [], "replaced")])

        def count(search: str, **more: Any) -> int:
            assert len(list(events.query({"search": search, **more}))) == events.count({"search": search, **more})
            return events.count({"search": search, **more})

        assert (count("RELAYS python"), count("relays"), count("relays", kinds=[1]), count("old")) == (2, 3, 2, 0)
        assert (count('"quoted" language:en'), count("quoted\0relays"), count("https://x"), count("- * OR (")) == (
            1,
            1,
            0,
            0,
        )
        assert count("language:en") == count("") == 4
        assert [each.kind for each in events.query({"search": "relays", "kinds": [30_023], "limit": 1})] == [30_023]


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        ({}, "gennostr_by_time"),
        ({"kinds": [1]}, "gennostr_by_kind (kind=?)"),
        ({"authors": [ALICE], "kinds": [1], "since": 5}, "gennostr_by_author (pubkey=? AND created_at>?)"),
        ({"#t": ["x"], "authors": [ALICE], "until": 5}, "USING PRIMARY KEY (tag=? AND created_at<?)"),
        ({"ids": ["0" * 64]}, "sqlite_autoindex_gennostr_events_1 (id=?)"),
    ],
)
def test_events_are_read_in_the_order_of_an_index(wanted: dict[str, Any], index: str) -> None:
    """Only the events of one second are sorted: the first of a million comes as fast as of a hundred."""
    said: list[str] = []
    with table() as events:
        execute: Callable[..., Any] = events._database.execute
        [(statement, its_values)] = module._statements(module._plan(wanted), wanted, module._COLUMNS, 0)
        order_ = f" ORDER BY {module._plan(wanted).time} DESC, e.id"
        said = [row[3] for row in execute(f"EXPLAIN QUERY PLAN {statement}{order_}", its_values)]
    assert index in said[0]
    assert "USE TEMP B-TREE FOR ORDER BY" not in said or "ids" in wanted


def test_a_limit_can_be_any_number() -> None:
    with table() as events:
        events.add([make_event()])
        assert len([*events.query({"limit": 10**30}), *events.query({"kinds": [1], "#t": [], "limit": 10**30})]) == 1


def test_a_filter_is_checked() -> None:
    with table() as events, pytest.raises(ValueError, match="did you mean 'kinds'"):
        events.query({"kind": 1})
