"""Filters too large for one REQ: groups that fit, and ask for the same events together."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gennostr.nostr import Event, matches
from gennostr.nostr.filters import split_filters

KEYS = [f"{number:064x}" for number in range(2_000)]


def size_of(filters: list[dict[str, Any]]) -> int:
    """The bytes of the filters with commas between them."""
    return len(json.dumps(filters, separators=(",", ":"), ensure_ascii=False).encode()) - len("[]")


def test_what_fits_is_one_group_unchanged() -> None:
    filters: list[dict[str, Any]] = [{}, {"authors": KEYS}, {"kinds": [1], "limit": 5}]
    assert split_filters(filters, size_of(filters)) == [filters]
    assert split_filters([{}], 2) == [[{}]]


def test_filters_are_shared_out_in_their_order() -> None:
    filters: list[dict[str, Any]] = [{"#t": [name * 10]} for name in "abcde"]
    one = size_of(filters[:1])
    assert split_filters(filters, 2 * one + 1) == [filters[:2], filters[2:4], filters[4:]]
    assert split_filters(filters, 2 * one) == [[each] for each in filters]
    assert split_filters(filters, one - 1) is None


def test_a_filter_is_cut_along_its_longest_list() -> None:
    filter_ = {"kinds": [1, 2, 3], "authors": KEYS, "since": 5, "limit": 7, "search": "x"}
    groups = split_filters([filter_], 16_384)
    assert groups is not None
    assert len(groups) == -(-size_of([filter_]) // 16_384)
    assert [key for [part] in groups for key in part["authors"]] == KEYS
    for [part] in groups:
        assert list(part) == list(filter_)
        assert {**part, "authors": KEYS} == filter_


def test_the_last_part_shares_its_group_with_what_follows() -> None:
    groups = split_filters([{"ids": KEYS[:3]}, {"kinds": [1]}], 160)
    assert groups == [[{"ids": KEYS[:2]}], [{"ids": KEYS[2:3]}, {"kinds": [1]}]]


def test_two_long_lists_are_both_cut_if_one_leaves_no_room_for_the_other() -> None:
    filter_: dict[str, Any] = {"authors": KEYS[:1_000], "#e": KEYS[1_000:], "#t": ["x", "y"]}
    groups = split_filters([filter_], size_of([{**filter_, "#e": KEYS[:1]}]))
    assert groups is not None
    assert len(groups) == 4  # not 1,000, as with the authors left whole
    asked = {(author, id_) for [part] in groups for author in part["authors"] for id_ in part["#e"]}
    assert len(asked) == 1_000_000
    assert all(part["#t"] == ["x", "y"] for [part] in groups)


def test_every_combination_of_values_is_asked_for_once() -> None:
    texts = ["x" * 120, "y" * 120, "z" * 120]  # one takes more than its share
    filter_: dict[str, Any] = {"#t": texts, "authors": KEYS[:9], "kinds": list(range(9)), "limit": 1}
    groups = split_filters([filter_], 300)
    assert groups is not None
    parts = [part for group in groups for part in group]
    asked = sorted(
        (a, t, kind) for each in parts for a in each["authors"] for t in each["#t"] for kind in each["kinds"]
    )
    assert asked == sorted((author, text, kind) for author in KEYS[:9] for text in texts for kind in range(9))
    assert all(list(part) == list(filter_) and [] not in part.values() for part in parts)


def test_a_filter_whose_single_values_do_not_fit_has_no_parts() -> None:
    filter_ = {"authors": KEYS[:9], "#t": ["x" * 500, "y"], "#e": KEYS[:9]}
    least = size_of([{"authors": KEYS[:1], "#t": ["x" * 500], "#e": KEYS[:1]}])
    assert split_filters([filter_], least - 1) is None
    groups = split_filters([filter_], least)
    assert groups is not None
    assert all(size_of(group) <= least for group in groups)
    assert split_filters([{}, {"search": "x" * 100}], 100) is None
    assert split_filters([{}], 1) is None


def test_no_more_groups_than_wanted_are_made() -> None:
    filter_ = {"authors": KEYS, "#e": KEYS, "#p": KEYS}  # by single values: 8,000,000,000
    assert split_filters([filter_], 300, 1_000) is None
    assert split_filters([{"authors": KEYS[:4]}], 80, 4) == [[{"authors": [key]}] for key in KEYS[:4]]
    assert split_filters([{"authors": KEYS[:4]}], 80, 3) is None


@pytest.mark.parametrize(
    "filter_", [{"&t": ["x" * 9, "y" * 9]}, {"&t": ["x"], "#t": ["x", "y" * 9, "z" * 9]}, {"ids": []}]
)
def test_conditions_that_must_all_be_met_are_not_cut(filter_: dict[str, Any]) -> None:
    size = size_of([filter_])
    assert split_filters([filter_], size) == [[filter_]]
    assert split_filters([filter_], size - 1) is None


def test_other_tags_are_cut_beside_those_that_must_all_be_met() -> None:
    groups = split_filters([{"&t": ["x", "y"], "#e": KEYS[:2]}], 100)
    assert groups == [[{"&t": ["x", "y"], "#e": [key]}] for key in KEYS[:2]]


# Few values, so that events and filters meet; of many lengths, as texts are.
TEXTS = st.sampled_from(["", "a", "b", 'q"', "\\\n", "é€", "😀" * 5, "x" * 40, "\x07"])
IDS = st.sampled_from(KEYS[:6])
KINDS = st.sampled_from([0, 1, 7, 10_002, 65_535])
TIMES = st.integers(0, 3)
FILTERS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "ids": st.lists(IDS, max_size=6),
        "authors": st.lists(IDS, max_size=6),
        "kinds": st.lists(KINDS, max_size=6),
        "#t": st.lists(TEXTS, max_size=6),
        "#P": st.lists(TEXTS, max_size=6),
        "&t": st.lists(TEXTS, max_size=2),
        "since": TIMES,
        "until": TIMES,
        "limit": st.integers(0, 500),
        "search": TEXTS,
    },
)
TAGS = st.lists(st.tuples(st.sampled_from(["t", "P", "x"]), TEXTS).map(list), max_size=4)
EVENTS = st.builds(Event, id=IDS, pubkey=IDS, created_at=TIMES, kind=KINDS, tags=TAGS, content=TEXTS, sig=st.just(""))


@given(st.lists(FILTERS, min_size=1, max_size=4), st.integers(0, 400), st.lists(EVENTS, min_size=1, max_size=20))
def test_the_groups_fit_and_ask_for_what_the_whole_does(
    filters: list[dict[str, Any]], size: int, events: list[Event]
) -> None:
    groups = split_filters(filters, size)
    assert groups == split_filters(filters, size)
    if groups is None:
        assert size_of(filters) > size
        return
    assert all(group and size_of(group) <= size for group in groups)
    if size_of(filters) <= size:
        assert groups == [filters]
    parts = [part for group in groups for part in group]
    for name in ("ids", "authors", "kinds", "#t", "#P"):
        assert all(part.get(name) != [] for part in parts) or any(each.get(name) == [] for each in filters)
    for name in ("since", "until", "limit", "search", "&t"):
        wanted = [each.get(name) for each in filters]
        assert [part.get(name) for part in parts if part.get(name) not in wanted] == []
    for event in events:
        assert any(matches(each, event) for each in filters) is any(matches(part, event) for part in parts)


@given(FILTERS, st.integers(0, 400))
def test_it_finds_no_way_only_if_the_largest_single_values_are_too_large(filter_: dict[str, Any], size: int) -> None:
    def largest(name: str, value: Any) -> Any:
        if not isinstance(value, list) or name[0] == "&" or (name == "#t" and "&t" in filter_):
            return value
        return sorted(value, key=lambda each: len(json.dumps(each, ensure_ascii=False).encode()))[-1:]

    single = {name: largest(name, value) for name, value in filter_.items()}
    assert (split_filters([filter_], size) is None) is (size_of([single]) > size)
