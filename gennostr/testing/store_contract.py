"""The tests that every store must pass, as a class of pytest tests."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gennostr.client.attempt import PublishOutcome
from gennostr.client.persistence import Changes, Saved, SavedPublication, SavedSubscription, Store
from gennostr.client.subscriptions import Position
from gennostr.exceptions import StoreError
from gennostr.nostr.event import Event

ODD_TEXTS = ("", " ", "\0", "a\nb", "'; DROP TABLE x; --", "%s", "日本語", "🤙", "e\u0301", "x" * 10_000)
"""Ids, urls and texts that a store must keep as they are."""


class StoreContract:
    r"""The contract of `Store`, as tests.

    Inherit from it in a test module, and pytest runs them against your store:

        from gennostr.testing import StoreContract

        class TestMyStore(StoreContract):
            def make_store(self, tmp_path):
                return MyStore(tmp_path / "my.db")

            def reopen(self, store, tmp_path):
                return MyStore(tmp_path / "my.db")

    Two of them open the store while it is open, and so take as long as it waits for the other one. What no test of this
    kind can show is left to yours: that what was saved survives the death of the process, and that a failed save has
    saved nothing.

    >>> from pathlib import Path
    >>> from gennostr.store import MemoryStore
    >>> from gennostr.testing import StoreContract
    >>> class TestMemoryStore(StoreContract):
    ...     def make_store(self, tmp_path):
    ...         return MemoryStore()
    >>> TestMemoryStore().test_a_new_store_is_empty(Path())
    """

    # Overridden in subclasses.

    def make_store(self, tmp_path: Path) -> Store:
        """Return a new store without contents; override it.

        Args:
            tmp_path: a directory of the test's own.

        """
        raise NotImplementedError

    def reopen(self, store: Store, tmp_path: Path) -> Store:  # noqa: ARG002 - for subclasses
        """Return the store as the next run of the program makes it.

        Override it if that is another object, as it is for a store in a file.

        Args:
            store: the one that `make_store` has returned.
            tmp_path: the same directory.

        """
        return store

    # What is saved.

    def test_a_new_store_is_empty(self, tmp_path: Path) -> None:
        """Return nothing from a new store."""
        store = self.make_store(tmp_path)
        assert _open(store) == Saved()
        store.close()

    def test_everything_that_was_saved_is_returned(self, tmp_path: Path) -> None:
        """Return each field as it was saved."""
        changes = Changes(
            subscriptions={"notes": "filters 1", "profiles": "filters 2", "unread": "filters 3"},
            positions={
                ("notes", "wss://a"): Position(begun=1_700_000_000, settled=True, newest=1_700_000_100),
                ("notes", "wss://b"): Position(begun=0, settled=False, newest=None),
                ("profiles", "wss://a"): Position(begun=-1, settled=True, newest=0),
            },
            seen={("notes", "wss://a"): {_key(1): 10, _hex_key(2): -20}, ("profiles", ""): {_hex_key(3): 30}},
            publications={
                "1": _publication(1, {"wss://a": None, "wss://b": PublishOutcome("accepted")}),
                "2": replace(_publication(2, {}), timeout=0.25, expires=1_800_000_000.5),
            },
        )
        assert self._saved(tmp_path, changes) == Saved(
            subscriptions={
                "notes": SavedSubscription(
                    filters="filters 1",
                    positions={
                        "wss://a": Position(begun=1_700_000_000, settled=True, newest=1_700_000_100),
                        "wss://b": Position(begun=0, settled=False, newest=None),
                    },
                    seen={"wss://a": {_key(1): 10, _hex_key(2): -20}},
                ),
                "profiles": SavedSubscription(
                    filters="filters 2",
                    positions={"wss://a": Position(begun=-1, settled=True, newest=0)},
                    seen={"": {_hex_key(3): 30}},
                ),
                "unread": SavedSubscription(filters="filters 3"),
            },
            publications=[*changes.publications.values()],  # type: ignore[list-item] # none is deleted
        )

    def test_saves_add_up(self, tmp_path: Path) -> None:
        """Return what several saves have saved, in one run and in several."""
        store = self.make_store(tmp_path)
        _open(store)
        store.save(Changes(subscriptions={"notes": "filters"}))
        store.save(Changes(positions={("notes", "wss://a"): Position(1, settled=False, newest=None)}))
        store.save(Changes(seen={("notes", "wss://a"): {_key(1): 1}}))
        store.close()
        store = self.reopen(store, tmp_path)
        _open(store)
        store.save(Changes(positions={("notes", "wss://b"): Position(2, settled=True, newest=5)}))
        store.save(Changes(seen={("notes", "wss://a"): {_key(2): 2}, ("notes", "wss://b"): {_key(1): 1}}))
        store.close()
        saved = self._reopened(store, tmp_path).subscriptions["notes"]
        assert saved.positions == {
            "wss://a": Position(1, settled=False, newest=None),
            "wss://b": Position(2, settled=True, newest=5),
        }
        assert saved.seen == {"wss://a": {_key(1): 1, _key(2): 2}, "wss://b": {_key(1): 1}}

    def test_saving_nothing_changes_nothing(self, tmp_path: Path) -> None:
        """Accept empty changes, and empty parts of changes."""
        nothing = Changes(seen={("notes", "wss://a"): {}})
        saved = self._saved(tmp_path, Changes(subscriptions={"notes": "filters"}), Changes(), nothing)
        assert saved.subscriptions["notes"].filters == "filters"
        assert not any(saved.subscriptions["notes"].seen.values())

    def test_opening_and_closing_changes_nothing(self, tmp_path: Path) -> None:
        """Return the same in each run."""
        store = self.make_store(tmp_path)
        _open(store)
        store.save(Changes(subscriptions={"notes": "filters"}, publications={"1": _publication(1, {"wss://a": None})}))
        store.close()
        first = self._reopened(store, tmp_path)
        assert self._reopened(store, tmp_path) == first
        assert [*first.subscriptions] == ["notes"]

    def test_what_was_saved_is_independent_of_the_values_passed_in_and_out(self, tmp_path: Path) -> None:
        """Keep no dict of the caller's, and return none of the store's own."""
        store = self.make_store(tmp_path)
        outcomes: dict[str, PublishOutcome | None] = {"wss://a": None}
        events = {_key(1): 1}
        changes = Changes(
            subscriptions={"notes": "filters"},
            positions={("notes", "wss://a"): Position(1, settled=True, newest=2)},
            seen={("notes", "wss://a"): events},
            publications={"1": _publication(1, outcomes)},
        )
        _open(store)
        store.save(changes)
        outcomes["wss://b"] = PublishOutcome("accepted")
        events[_key(2)] = 2
        changes.positions.clear()
        store.close()
        for _ in range(2):
            saved = self._reopened(store, tmp_path)
            assert saved.publications[0].outcomes == {"wss://a": None}
            assert saved.subscriptions["notes"].seen == {"wss://a": {_key(1): 1}}
            assert saved.subscriptions["notes"].positions == {"wss://a": Position(1, settled=True, newest=2)}
            saved.publications[0].outcomes["wss://c"] = None
            saved.subscriptions["notes"].seen["wss://a"].clear()
            saved.subscriptions["notes"].positions.clear()

    def test_odd_texts_stay_as_they_are(self, tmp_path: Path) -> None:
        """Keep any Unicode text, as an id, a url, filters and a message."""
        saved = self._saved(
            tmp_path,
            Changes(
                subscriptions={text: text for text in ODD_TEXTS},
                positions={(text, text): Position(1, settled=True, newest=2) for text in ODD_TEXTS},
                seen={(text, text): {_key(1): 1} for text in ODD_TEXTS},
                publications={
                    str(number): _publication(number, {text: PublishOutcome("rejected", text, text)}, text)
                    for number, text in enumerate(ODD_TEXTS)
                },
            ),
        )
        assert saved.subscriptions.keys() == set(ODD_TEXTS)
        for text in ODD_TEXTS:
            subscription = saved.subscriptions[text]
            assert subscription.filters == text
            assert [*subscription.positions] == [*subscription.seen] == [text]
        for text, publication in zip(ODD_TEXTS, saved.publications, strict=True):
            assert publication.event.content == text
            assert publication.event.tags == [["t", text], []]
            assert publication.outcomes == {text: PublishOutcome("rejected", text, text)}

    # Subscriptions.

    def test_a_position_replaces_the_last_one(self, tmp_path: Path) -> None:
        """Return the last position of each origin."""
        saved = self._saved(
            tmp_path,
            Changes(subscriptions={"notes": "filters"}),
            *(
                Changes(positions={("notes", url): Position(number, settled=bool(number % 2), newest=number)})
                for number in range(5)
                for url in ("wss://a", "wss://b")
            ),
            Changes(positions={("notes", "wss://b"): Position(9, settled=False, newest=None)}),
        )
        assert saved.subscriptions["notes"].positions == {
            "wss://a": Position(4, settled=False, newest=4),
            "wss://b": Position(9, settled=False, newest=None),
        }

    def test_a_subscription_begins_anew(self, tmp_path: Path) -> None:
        """Delete what belongs to it, before the rest of the changes applies."""
        saved = self._saved(
            tmp_path,
            _two_subscriptions(),
            Changes(
                subscriptions={"notes": "other filters"},
                positions={("notes", "wss://b"): Position(9, settled=False, newest=None)},
                seen={("notes", "wss://b"): {_key(9): 9}},
            ),
        )
        assert saved.subscriptions == {
            "notes": SavedSubscription(
                "other filters", {"wss://b": Position(9, settled=False, newest=None)}, {"wss://b": {_key(9): 9}}
            ),
            "profiles": _PROFILES,
        }

    def test_a_subscription_begins_anew_with_the_same_filters(self, tmp_path: Path) -> None:
        """Delete what belongs to it, whatever its filters are."""
        saved = self._saved(tmp_path, _two_subscriptions(), Changes(subscriptions={"notes": "filters"}))
        assert saved.subscriptions == {"notes": SavedSubscription("filters"), "profiles": _PROFILES}

    def test_a_subscription_is_deleted(self, tmp_path: Path) -> None:
        """Delete a subscription with its positions and events, and no other one."""
        deleted = Changes(subscriptions={"notes": None, "unknown": None})
        assert self._saved(tmp_path, _two_subscriptions(), deleted).subscriptions == {"profiles": _PROFILES}

    def test_nothing_of_a_deleted_subscription_comes_back(self, tmp_path: Path) -> None:
        """Return no position and no event from before a deletion."""
        deleted, again = Changes(subscriptions={"notes": None}), Changes(subscriptions={"notes": "filters"})
        saved = self._saved(tmp_path, _two_subscriptions(), deleted, again)
        assert saved.subscriptions["notes"] == SavedSubscription("filters")

    def test_many_subscriptions_and_relays(self, tmp_path: Path) -> None:
        """Keep 100 subscriptions at 20 relays apart."""
        ids, urls = [f"subscription {number}" for number in range(100)], [f"wss://{number}" for number in range(20)]
        numbers = {(id_, url): number for number, (id_, url) in enumerate((id_, url) for id_ in ids for url in urls)}
        saved = self._saved(
            tmp_path,
            Changes(
                subscriptions={id_: f"filters of {id_}" for id_ in ids},
                positions={origin: Position(number, settled=True, newest=None) for origin, number in numbers.items()},
                seen={origin: {_key(number): number} for origin, number in numbers.items()},
            ),
            seen=10_000,
        )
        assert {
            (id_, url): position.begun
            for id_, each in saved.subscriptions.items()
            for url, position in each.positions.items()
        } == numbers
        assert {
            (id_, url): events for id_, each in saved.subscriptions.items() for url, events in each.seen.items()
        } == {origin: {_key(number): number} for origin, number in numbers.items()}

    # Seen events.

    def test_keys_and_times_of_all_kinds(self, tmp_path: Path) -> None:
        """Keep each key of 32 or 64 bytes, and each time of 64 bits."""
        kinds: list[dict[bytes, int]] = [
            {_key(1): 1},
            {_hex_key(1): 2, _hex_key(2): 2**62},
            {_hex_key(0xABCDEF).upper(): 3, _hex_key(4): 4},
            {b"00 " * 21 + b" ": 0},
            {b"\0" * 32: 5, b"\xff" * 32: -(2**62)},
            {b"\0" * 64: 6, b" " * 64: 7, b"0 " * 32: 8, b"\xff" * 64: 9, b"0" * 64: 10},
            {_key(5): 11, _hex_key(6): 12, _key(7): 13, b"0" * 32: 14},
        ]
        saves = [Changes(seen={("notes", ""): each}) for each in kinds]
        saved = self._saved(tmp_path, Changes(subscriptions={"notes": "filters"}), *saves)
        everything = {key: time for each in kinds for key, time in each.items()}
        assert saved.subscriptions["notes"].seen[""] == everything
        assert [*saved.subscriptions["notes"].seen[""]] == [*everything]

    def test_an_event_seen_again_has_its_last_time(self, tmp_path: Path) -> None:
        """Return one entry for a key that was saved twice."""
        saves = [Changes(seen={("notes", ""): {_key(1): time}}) for time in (1, 2)]
        saved = self._saved(tmp_path, Changes(subscriptions={"notes": "filters"}), *saves)
        assert saved.subscriptions["notes"].seen == {"": {_key(1): 2}}

    def test_the_last_seen_events_are_kept(self, tmp_path: Path) -> None:
        """Keep as many as `open` says or up to twice as many, in their order."""
        store = self.make_store(tmp_path)
        _open(store, seen=100)
        store.save(Changes(subscriptions={"notes": "filters", "profiles": "filters"}))
        for number in range(0, 1000, 20):
            store.save(
                Changes(
                    seen={
                        ("notes", "wss://a"): {_key(each): each for each in range(number, number + 15)},
                        ("profiles", "wss://b"): {_key(each): each for each in range(number + 15, number + 20)},
                    }
                )
            )
        store.close()
        subscriptions = self._reopened(store, tmp_path, seen=100).subscriptions
        kept = [
            [*subscriptions["notes"].seen["wss://a"].values()],
            [*subscriptions["profiles"].seen["wss://b"].values()],
        ]
        assert kept[0] == sorted(kept[0])
        assert kept[1] == sorted(kept[1])
        both = sorted(kept[0] + kept[1])
        assert both[-100:] == [*range(900, 1000)]
        assert len(both) <= 2 * 100 + 20

    def test_the_last_seen_events_are_kept_if_each_is_saved_alone(self, tmp_path: Path) -> None:
        """Bound the events, not the saves."""
        store = self.make_store(tmp_path)
        _open(store, seen=10)
        store.save(Changes(subscriptions={"notes": "filters"}))
        for number in range(50):
            store.save(Changes(seen={("notes", ""): {_key(number): number}}))
        store.close()
        kept = [*self._reopened(store, tmp_path, seen=10).subscriptions["notes"].seen[""].values()]
        assert kept[-10:] == [*range(40, 50)]
        assert len(kept) <= 2 * 10 + 1

    def test_a_save_of_more_events_than_are_kept_is_kept(self, tmp_path: Path) -> None:
        """Accept saves of any size."""
        events = {_hex_key(number): number for number in range(5000)}
        saved = self._saved(
            tmp_path,
            Changes(subscriptions={"notes": "filters"}, seen={("notes", ""): {_key(1): 1}}),
            Changes(seen={("notes", ""): events}),
            seen=10,
        )
        kept = [*saved.subscriptions["notes"].seen[""]]
        assert kept[-10:] == [*events][-10:]

    # Publications.

    def test_outcomes_of_all_kinds(self, tmp_path: Path) -> None:
        """Keep each outcome, with its prefix and message, or without."""
        outcomes: dict[str, PublishOutcome | None] = {
            "wss://1": None,
            "wss://2": PublishOutcome("accepted"),
            "wss://3": PublishOutcome("accepted", "duplicate", "duplicate: have it"),
            "wss://4": PublishOutcome("rejected", "blocked", "blocked: you are banned"),
            "wss://5": PublishOutcome("timeout", None, "no answer"),
            "wss://6": PublishOutcome("disconnected", "", ""),
            "wss://7": PublishOutcome("not_sent"),
        }
        saved = self._saved(tmp_path, Changes(publications={"1": _publication(1, outcomes)}))
        assert saved.publications == [_publication(1, outcomes)]

    def test_a_publication_changes(self, tmp_path: Path) -> None:
        """Replace a publication that is saved again, as a whole."""
        first = _publication(1, {"wss://a": None, "wss://b": None})
        second = replace(
            _publication(1, {"wss://a": PublishOutcome("accepted"), "wss://c": None}), timeout=7.5, expires=1.5
        )
        saved = self._saved(tmp_path, Changes(publications={"1": first}), Changes(publications={"1": second}))
        assert saved.publications == [second]

    def test_publications_are_returned_in_the_order_in_which_they_were_first_saved(self, tmp_path: Path) -> None:
        """Keep the place of one that changes, not of one that was deleted."""
        each = {str(number): _publication(number, {"wss://a": None}) for number in range(10)}
        changed = {id_: replace(each[id_], outcomes={"wss://a": PublishOutcome("accepted")}) for id_ in ("8", "3")}
        saved = self._saved(
            tmp_path,
            Changes(publications={id_: each[id_] for id_ in "42"}),
            Changes(publications={id_: each[id_] for id_ in "98310"}),
            Changes(publications={"2": None, **changed}),
            Changes(publications={"2": each["2"], "7": each["7"]}),
        )
        assert [one.event.id for one in saved.publications] == list("49831027")
        assert [one.event.id for one in saved.publications if one.outcomes != {"wss://a": None}] == ["8", "3"]

    def test_a_publication_is_deleted(self, tmp_path: Path) -> None:
        """Delete a publication with its outcomes, and no other one."""
        one, other = _publication(1, {"wss://a": PublishOutcome("accepted")}), _publication(2, {"wss://a": None})
        saves = Changes(publications={"1": one, "2": other}), Changes(publications={"1": None, "unknown": None})
        assert self._saved(tmp_path, *saves).publications == [other]

    def test_nothing_of_a_deleted_publication_comes_back(self, tmp_path: Path) -> None:
        """Return no outcome from before a deletion."""
        one = _publication(1, {"wss://a": PublishOutcome("accepted")})
        saves = Changes(publications={"1": one}), Changes(publications={"1": None})
        again = Changes(publications={"1": _publication(1, {})})
        assert self._saved(tmp_path, *saves, again).publications == [_publication(1, {})]

    # Possession.

    def test_a_store_that_is_open_cannot_be_opened(self, tmp_path: Path) -> None:
        """Refuse a second client, naming the first, until that one has closed."""
        store = self.make_store(tmp_path)
        _open(store, owner="the first")
        store.save(Changes(subscriptions={"notes": "filters"}))
        error = _refused(lambda: _open(self.reopen(store, tmp_path), owner="the second"))
        assert "the first" in str(error)
        store.save(Changes(subscriptions={"notes": "other filters"}))
        store.close()
        other = self.reopen(store, tmp_path)
        assert _open(other, owner="the second").subscriptions["notes"].filters == "other filters"
        other.close()

    def test_a_client_that_was_refused_does_not_close_the_store(self, tmp_path: Path) -> None:
        """Ignore `close` in a thread that has not opened the store."""
        store = self.make_store(tmp_path)
        _open(store, owner="the first")
        refused: list[StoreError] = []

        def second() -> None:
            refused.append(_refused(lambda: _open(store, owner="the second")))
            store.close()

        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        assert "the first" in str(refused[0])
        store.save(Changes(subscriptions={"notes": "filters"}))
        store.close()
        assert [*self._reopened(store, tmp_path).subscriptions] == ["notes"]

    def test_close_can_be_repeated(self, tmp_path: Path) -> None:
        """Accept `close` before `open`, and twice."""
        store = self.make_store(tmp_path)
        store.close()
        _open(store)
        store.close()
        store.close()
        assert self._reopened(store, tmp_path) == Saved()

    def test_a_store_that_is_not_open_cannot_be_written(self, tmp_path: Path) -> None:
        """Refuse to save before `open`, and after `close`."""
        store = self.make_store(tmp_path)
        changes = Changes(subscriptions={"notes": "filters"})
        _refused(lambda: store.save(changes))
        _open(store)
        store.close()
        _refused(lambda: store.save(changes))
        assert self._reopened(store, tmp_path) == Saved()

    def test_each_run_can_be_in_another_thread(self, tmp_path: Path) -> None:
        """Let one thread open the store after another has closed it."""
        store = self.make_store(tmp_path)

        def run(number: int) -> None:
            _open(store)
            store.save(Changes(subscriptions={str(number): "filters"}))
            store.close()

        for number in range(3):
            thread = threading.Thread(target=run, args=(number,))
            thread.start()
            thread.join()
        assert sorted(self._reopened(store, tmp_path).subscriptions) == ["0", "1", "2"]

    # Helpers.

    def _saved(self, tmp_path: Path, *saves: Changes, seen: int = 1000) -> Saved:
        """Return what the next run finds after `saves`."""
        store = self.make_store(tmp_path)
        _open(store, seen=seen)
        for changes in saves:
            store.save(changes)
        store.close()
        return self._reopened(store, tmp_path, seen=seen)

    def _reopened(self, store: Store, tmp_path: Path, *, seen: int = 1000) -> Saved:
        """Return what the next run finds."""
        again = self.reopen(store, tmp_path)
        saved = _open(again, seen=seen)
        again.close()
        return saved


def _open(store: Store, *, owner: str = "feed", seen: int = 1000) -> Saved:
    return store.open(owner, seen=seen, written=lambda: None)


def _refused(call: Callable[[], object]) -> StoreError:
    try:
        call()
    except StoreError as error:
        return error
    raise AssertionError("no StoreError was raised")


def _key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def _hex_key(number: int) -> bytes:
    return f"{number:064x}".encode()


def _publication(number: int, outcomes: dict[str, PublishOutcome | None], text: str = "hello") -> SavedPublication:
    event = Event(str(number), "5c83" * 16, 1_700_000_000 + number, 1, [["t", text], []], text, "a0" * 64)
    return SavedPublication(event, timeout=30.0, expires=None, outcomes=outcomes)


_PROFILES = SavedSubscription("filters 2", {"wss://a": Position(3, settled=True, newest=4)}, {"wss://a": {_key(1): 1}})


def _two_subscriptions() -> Changes:
    return Changes(
        subscriptions={"notes": "filters", "profiles": "filters 2"},
        positions={
            ("notes", "wss://a"): Position(1, settled=True, newest=2),
            ("notes", "wss://b"): Position(1, settled=True, newest=2),
            ("profiles", "wss://a"): Position(3, settled=True, newest=4),
        },
        seen={
            ("notes", "wss://a"): {_key(1): 1, _key(2): 2},
            ("notes", "wss://b"): {_key(1): 1},
            ("profiles", "wss://a"): {_key(1): 1},
        },
    )
