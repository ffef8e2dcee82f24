"""Filters: each condition of NIP-01, alone and together."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gennostr.nostr import Event, matches

AUTHOR, ID = "a" * 64, "1" * 64
EVENT = Event(
    id=ID,
    pubkey=AUTHOR,
    created_at=1000,
    kind=1,
    tags=[["e", "one", "wss://relay.example"], ["e", "two"], ["P", "big"], ["t"], [], ["name", "x"], ["é", "x"]],
    content="hello",
    sig="2" * 128,
)

MET: list[dict[str, Any]] = [
    {},
    {"ids": ["0" * 64, ID]},
    {"authors": [AUTHOR]},
    {"kinds": [0, 1]},
    {"since": 1000},
    {"until": 1000},
    {"#e": ["two"]},
    {"#e": ["nothing", "one"]},
    {"#P": ["big"]},
    {"&e": ["two", "one"]},
    {"&e": ["one"], "#e": ["one", "three"]},
]
UNMET: list[dict[str, Any]] = [
    {"ids": ["0" * 64]},
    {"ids": [ID[:8]]},  # prefixes are no ids any more
    {"ids": []},
    {"authors": [AUTHOR.upper()]},
    {"authors": []},
    {"kinds": [0, 2]},
    {"kinds": []},
    {"since": 1001},
    {"until": 999},
    {"#e": ["wss://relay.example"]},  # the first value of a tag alone is indexed
    {"#e": []},
    {"#p": ["big"]},  # letters have cases
    {"#t": [""]},
    {"#x": ["one"]},
    {"&e": ["one", "three"]},
    {"&x": ["one"]},
    {"&p": ["big"]},
]
IGNORED: list[dict[str, Any]] = [
    {"limit": 0},
    {"search": "goodbye"},
    {"#name": ["y"]},
    {"#": ["y"]},
    {"#1": ["y"]},
    {"#é": ["y"]},
    {"&name": ["y"]},
    {"&": ["y"]},
    {"x": ["y"]},
]


@pytest.mark.parametrize("filter_", MET, ids=repr)
def test_a_condition_that_is_met(filter_: dict[str, Any]) -> None:
    assert matches(filter_, EVENT)


@pytest.mark.parametrize("filter_", UNMET, ids=repr)
def test_a_condition_that_is_not_met(filter_: dict[str, Any]) -> None:
    assert not matches(filter_, EVENT)


@pytest.mark.parametrize("filter_", IGNORED, ids=repr)
def test_what_is_no_condition_on_an_event_is_ignored(filter_: dict[str, Any]) -> None:
    assert matches(filter_, EVENT)


@given(st.lists(st.sampled_from(MET + UNMET + IGNORED)))
def test_conditions_are_joined_by_and(filters: list[dict[str, Any]]) -> None:
    joined: dict[str, Any] = {}
    for filter_ in filters:
        joined |= filter_
    assert matches(joined, EVENT) is all(matches({key: value}, EVENT) for key, value in joined.items())
