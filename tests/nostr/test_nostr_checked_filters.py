"""What a program gives as filters: converted, or refused with what to use instead."""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gennostr.exceptions import MessageError
from gennostr.nostr.filters import CheckedFilters, checked_filters, received_filters

HEX = "7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e"
NPUB = "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg"
NOTE = "note10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qnx3ujq"
NSEC = "nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5"
PARTS = [NSEC[place : place + 6] for place in range(5, len(NSEC) - 6, 6)]
NPROFILE = (
    "nprofile1qqsrhuxx8l9ex335q7he0f09aej04zpazpl0ne2cgukyawd24mayt8gpp4mhxue69uhhytnc9e3k7mgpz4mhxue69uhkg6nzv9ejuumpv3"
    "4kytnrdaksjlyr9p"
)
IDS = ["ids", "#e", "&e", "#E", "&E"]
KEYS = ["authors", "#p", "&p", "#P", "&P"]
NIP_01 = ["ids", "#e", "authors", "#p"]


class Kind(IntEnum):
    NOTE = 1


def refusal(filter_: Any) -> str:
    with pytest.raises(MessageError) as raised:
        checked_filters(filter_)
    return str(raised.value)


LEGAL: list[dict[str, Any]] = [
    {},
    {"ids": [HEX], "authors": [HEX, "0" * 64], "kinds": [0, 1, 65_535], "since": 0, "until": 1_700_000_000, "limit": 0},
    {"ids": [], "authors": [], "kinds": [], "#e": [], "#p": [], "#t": [], "&t": []},
    {"#a": [f"30023:{HEX}:x"], "#d": [""], "#t": ["nostr", "é", "\ud800"], "#K": ["1"], "#i": [NPUB], "&t": ["a", "b"]},
    {"#E": ["an estimate"], "#P": ["a price", "abcd"], "&P": ["x"]},  # of a kind with other ideas of P than NIP-22's
    {"search": "cats"},
    {"since": 2, "until": 1},  # empty, as the last page of many is
    {"until": int(datetime.max.replace(tzinfo=UTC).timestamp())},
]


@pytest.mark.parametrize("filter_", LEGAL, ids=" ".join)
def test_legal_filters_pass_unchanged_as_copies(filter_: dict[str, Any]) -> None:
    for check in (checked_filters, received_filters):
        checked = check([filter_])
        assert checked == [filter_]
        assert list(checked[0]) == list(filter_)
        for name, value in filter_.items():
            assert checked[0][name] is not value or not isinstance(value, list)
    assert checked_filters(filter_) == [filter_]


def test_what_was_checked_is_not_checked_again() -> None:
    checked = checked_filters({"ids": [HEX]})
    assert checked_filters(checked) is checked
    page = CheckedFilters([{**checked[0], "until": 1_700_000_000_000}])
    assert checked_filters(page) is page


@pytest.mark.parametrize("of", [tuple, set, frozenset])
def test_tuples_and_sets_become_lists(of: Callable[[list[Any]], Any]) -> None:
    filter_ = {"authors": of([NPUB]), "kinds": of([Kind.NOTE]), "#t": of(["x"]), "&t": of(["y"])}
    assert checked_filters(filter_) == [{"authors": [HEX], "kinds": [1], "#t": ["x"], "&t": ["y"]}]
    assert checked_filters(({}, {"limit": 1})) == [{}, {"limit": 1}]


@pytest.mark.parametrize(("names", "text"), [(IDS, NOTE), (KEYS, NPUB)])
def test_npub_and_note_become_hex(names: list[str], text: str) -> None:
    for name in names:
        for spelling in (text, text.upper()):
            assert checked_filters({name: ["0" * 64, spelling, HEX]}) == [{name: ["0" * 64, HEX, HEX]}]


@pytest.mark.parametrize("name", IDS + KEYS)
def test_upper_case_hex_is_refused_with_its_lower_case(name: str) -> None:
    assert f"use lowercase: '{HEX}'" in refusal({name: [HEX, HEX.upper()]})


@pytest.mark.parametrize("name", NIP_01)
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("abcd", "'abcd' has 4 hex digits, not 64: relays no longer match prefixes"),
        (HEX[:-1], "has 63 hex digits"),
        (f"{HEX}0", "has 65 hex digits"),
        ("", "is not hex: this takes "),
        (f"{HEX[:-1]}g", "is not hex: this takes "),
        (f" {HEX}", "is not hex: this takes "),
        (f"{HEX}\n", "is not hex: this takes "),
        ("\ud800" * 64, "is not hex: this takes "),
        ("٣" * 64, "is not hex: this takes "),  # digits, but not ASCII
        (f"nostr:{NPUB}", "'nostr:'"),
        ("alice@example.com", "is not hex: this takes "),
    ],
)
def test_what_is_not_64_hex_digits_is_refused(name: str, text: str, words: str) -> None:
    error = refusal({name: [HEX, text]})
    assert words in error
    assert f"'{name}'" in error


@pytest.mark.parametrize(
    ("names", "text", "words"),
    [
        (IDS, NPUB, "is a public key and belongs in 'authors' or '#p': this takes event ids"),
        (KEYS, NOTE, "is an event's id and belongs in 'ids' or '#e': this takes public keys"),
        (IDS + KEYS, NPROFILE, "holds a public key, for 'authors' or '#p'"),
        (IDS + KEYS, "nevent1qqs", "holds an event's id, for 'ids' or '#e'"),
        (IDS + KEYS, "naddr1qqs", "use 'kinds', 'authors' and '#d', or '#a'"),
        (IDS + KEYS, "nrelay1qqs", "is a relay's url"),
        (KEYS, NPUB[:-1] + "q", "not a valid npub1... (NIP-19): its checksum is wrong"),
        (KEYS, NPUB[:-1], "not a valid npub1... (NIP-19): its checksum is wrong"),
        (KEYS, "npub1x", "not a valid npub1... (NIP-19)"),
        (KEYS, NPUB[0].upper() + NPUB[1:], "not a valid npub1... (NIP-19): it mixes upper and lower case"),
        (KEYS, "npub106246s", "not a valid npub1... (NIP-19): it has 11 characters, not 63"),  # no data at all
        (IDS, NOTE[:-1] + "p", "not a valid note1... (NIP-19): its checksum is wrong"),
        (IDS, NPUB.replace("npub", "note"), "not a valid note1... (NIP-19): its checksum is wrong"),
    ],
)
def test_other_entities_of_nip_19_are_refused_by_name(names: list[str], text: str, words: str) -> None:
    for name in names:
        assert words in refusal({name: [HEX, text]})


@pytest.mark.parametrize(
    "text", [NSEC, NSEC.upper(), NSEC[:-1], f"nostr:{NSEC}", f" {NSEC}", f"my key: {NSEC}", f"ncryptsec1{NSEC}"]
)
def test_no_error_shows_a_secret_key(text: str) -> None:
    for filter_ in (
        *({name: [text]} for name in NIP_01),
        {"authors": text},
        {"authors": {"x": [text]}},
        {"authors": ["0" * 64, 7, text.encode()]},
        {"authors": [[[text]]]},
        {"authors": [Kind.NOTE, ValueError(text)]},
        {"kinds": [text]},
        {"since": text},
        {"limit": text},
        {"search": [text]},
        {text: [text]},
        {f"#{text}": [text]},
        {"author": [text]},
    ):
        assert not any(part in refusal(filter_).lower() for part in PARTS)
    for filters in (text, [text], [{}, text]):
        with pytest.raises(TypeError) as raised:
            checked_filters(filters)  # type: ignore[arg-type]
        assert not any(part in str(raised.value).lower() for part in PARTS)
    assert "secret key" in refusal({"authors": [NSEC]})


@pytest.mark.parametrize("kind", [-1, 65_536, 70_000, 10**30, True, 1.0, "1", None])
def test_kinds_are_0_to_65535(kind: Any) -> None:
    assert "filter 'kinds'" in refusal({"kinds": [0, 65_535, kind]})
    with pytest.raises(MessageError):
        received_filters([{"kinds": [kind]}])


def test_the_kind_that_is_none_is_named() -> None:
    assert (
        refusal({"kinds": [0, 65_535, 65_536, 70_000]}) == "filter 'kinds': 65536 is not a kind: these are 0 to 65535"
    )


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("kind", "'kinds'"),
        ("author", "'authors'"),
        ("pubkey", "'authors'"),
        ("pubkeys", "'authors'"),
        ("public_key", "'authors'"),
        ("id", "'ids'"),
        ("event_id", "'ids'"),
        ("Kinds", "'kinds'"),
        ("KINDS", "'kinds'"),
        ("kidns", "'kinds'"),
        ("autors", "'authors'"),
        ("sinse", "'since'"),
        ("unitl", "'until'"),
        ("limits", "'limit'"),
        ("created_at", "'since' and 'until'"),
        ("e", "'#e'"),
        ("p", "'#p'"),
        ("t", "'#t'"),
        ("P", "'#P'"),
        ("tags", "'#' and the tag's letter"),
        ("tag", "'#' and the tag's letter"),
        ("#", "'#' and the tag's letter"),
        ("#title", "tags of one letter only"),
        ("&title", "tags of one letter only"),
        ("#1", "tags of one letter only"),
        ("#é", "tags of one letter only"),
        ("#e\n", "tags of one letter only"),
        ("relays", "use ids, authors, kinds, since, until, limit, search"),
        ("", "use ids, authors, kinds"),
        ("é", "use ids, authors, kinds"),
        ("x" * 10_000, "use ids, authors, kinds"),
    ],
)
def test_an_unknown_name_is_refused_with_the_one_meant(name: str, meant: str) -> None:
    error = refusal({name: ["x"]})
    assert meant in error
    assert len(error) < 250


@pytest.mark.parametrize("name", ["since", "until"])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1_700_000_000_123, "looks like milliseconds: use 1700000000"),
        (1_700_000_000_123_456, "looks like microseconds: use 1700000000"),
        (1_700_000_000_123_456_789, "looks like nanoseconds: use 1700000000"),
        (2**63 - 1, "leave it out"),
        (10**30, "is not a time, or leave it out"),
        (1_700_000_000.5, "not 1700000000.5: use int(...), such as int(time.time())"),
        (math.inf, "not inf"),
        (math.nan, "not nan"),
        (datetime(2024, 1, 1, tzinfo=UTC), "use int(moment.timestamp())"),
        (None, "leave it out"),
        ("1700000000", "whole seconds"),
        (True, "whole seconds"),
        (-1, "must not be negative: -1"),
        ([1], "whole seconds"),
    ],
)
def test_times_are_whole_seconds(name: str, value: Any, words: str) -> None:
    error = refusal({name: value})
    assert words in error
    assert f"filter '{name}'" in error


@given(st.integers(300_000_000, 2**33), st.sampled_from([10**3, 10**6, 10**9]), st.integers(0, 999))
def test_the_time_that_was_meant_is_named(seconds: int, unit: int, rest: int) -> None:
    assert f"use {seconds}," in refusal({"since": seconds * unit + rest})


def test_a_relay_takes_any_time_and_converts_nothing() -> None:
    assert received_filters([{"until": 10**15, "#P": [NPUB]}]) == [{"until": 10**15, "#P": [NPUB]}]
    for filter_ in ({"authors": [NPUB]}, {"ids": [NOTE]}, {"#e": [HEX.upper()]}, {"kind": [1]}, {"since": -1}):
        with pytest.raises(MessageError):
            received_filters([filter_])


@pytest.mark.parametrize(
    ("filter_", "words"),
    [
        ({"authors": HEX}, "filter 'authors' must be a list of texts"),
        ({"authors": None}, "filter 'authors' must be a list of texts"),
        ({"ids": [HEX, 7]}, "filter 'ids' must be a list of texts"),
        ({"#t": "x"}, "filter '#t' must be a list of texts"),
        ({"&t": ["x", None]}, "filter '&t' must be a list of texts"),
        ({"kinds": 1}, "filter 'kinds' must be a list of integers"),
        ({"limit": -1}, "filter 'limit' must not be negative"),
        ({"limit": True}, "filter 'limit'"),
        ({"limit": None}, "leave it out"),
        ({"search": b"x"}, "filter 'search' must be a text"),
        ({7: [1]}, "names that are texts, not 7"),
        ([], "filters are empty"),
    ],
)
def test_a_wrong_type_is_named(filter_: Any, words: str) -> None:
    assert words in refusal(filter_)


@pytest.mark.parametrize("filters", [None, 7, "kinds", b"kinds", [None], [{}, "x"], {1}], ids=repr)
def test_filters_are_mappings(filters: Any) -> None:
    with pytest.raises(TypeError):
        checked_filters(filters)


def test_twenty_thousand_authors_take_no_time_to_speak_of() -> None:
    authors = [f"{number:064x}" for number in range(20_000)]
    begun = time.process_time()
    assert checked_filters({"authors": authors}) == [{"authors": authors}]
    assert time.process_time() - begun < 0.5
    assert "'kinds' or" not in refusal({"authors": [*authors, "x"]})


ANY: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.sampled_from([HEX, NPUB, NOTE]),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    max_leaves=8,
)
NAMES = st.sampled_from(["ids", "authors", "kinds", "since", "until", "limit", "search", "#e", "#p", "#P", "#t", "&t"])


@given(st.dictionaries(NAMES | st.text(), ANY))
def test_any_filter_is_checked_or_refused(filter_: dict[str, Any]) -> None:
    try:
        checked = checked_filters(filter_)
    except MessageError:
        return
    assert checked_filters(list(checked)) == checked
    assert received_filters(checked) == checked
