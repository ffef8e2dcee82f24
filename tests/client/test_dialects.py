"""The texts that relays refuse with, and those that only look like it."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gennostr.client import dialects
from gennostr.client.dialects import LOOKED_AT, PREFIXES, Dialect, Meaning, limit, meaning, subject
from tests.client.dialect_rows import NOT_REFUSALS, ROWS


@pytest.mark.parametrize(("text", "name"), [(row[2], row[3]) for row in ROWS], ids=[f"{r[0]}: {r[2]}" for r in ROWS])
def test_refusals_of_relays_are_understood(text: str, name: str) -> None:
    assert meaning(text) is Meaning[name]


@pytest.mark.parametrize("text", NOT_REFUSALS)
def test_what_is_no_refusal_is_not_taken_for_one(text: str) -> None:
    assert meaning(text) is None


def test_rows_are_of_many_relays_and_say_where_they_come_from() -> None:
    assert len({row[0] for row in ROWS}) >= 20
    assert len({row[:3] for row in ROWS}) == len(ROWS)
    assert all(row[1] in {"NOTICE", "CLOSED", "OK"} and row[4] for row in ROWS)
    assert {row[3] for row in ROWS} == set(Meaning.__members__)


EXPECTED = {row[2]: Meaning[row[3]] for row in ROWS} | dict.fromkeys(NOT_REFUSALS)


@pytest.mark.parametrize("table", ["DIALECTS", "REFINEMENTS"])
def test_every_pattern_has_a_source_and_decides_about_some_text(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: tuple[Dialect, ...] = getattr(dialects, table)
    idle = []
    for row in rows:
        assert row.source
        monkeypatch.setattr(dialects, table, tuple(each for each in rows if each is not row))
        if all(meaning(text) is expected for text, expected in EXPECTED.items()):
            idle.append(row.pattern.pattern)
    assert idle == []


@pytest.mark.parametrize("word", sorted(PREFIXES))
def test_every_word_decides_about_some_text(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Meaning.FAILED if PREFIXES[word] is Meaning.REFUSED else Meaning.REFUSED
    monkeypatch.setitem(PREFIXES, word, other)
    assert any(meaning(text) is not expected for text, expected in EXPECTED.items())


@pytest.mark.parametrize(("word", "expected"), PREFIXES.items())
def test_a_word_decides_where_the_rest_says_no_more(word: str, expected: Meaning) -> None:
    assert meaning(f"{word}: xyzzy") is expected
    assert meaning(f"  {word.upper()}:\n\txyzzy") is expected
    assert meaning(f"{word}s: xyzzy") is None


@pytest.mark.parametrize("word", ["auth-required", "duplicate", "pow", "pow-adaptive", "mute"])
def test_nothing_after_some_words_says_more_than_they_do(word: str) -> None:
    assert meaning(f"{word}: rate limit, too many subscriptions, error: message too large") is PREFIXES[word]


@pytest.mark.parametrize("text", [row[2] for row in ROWS])
def test_case_and_white_space_do_not_matter(text: str) -> None:
    assert meaning("\n " + text.upper().replace(" ", " \t ") + "\r\n") is meaning(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("REQ new sub_id feed not allowed, already at max subs=10", 10),  # monstr
        ("blocked: No more than 32 subscriptions are allowed at any one time", 32),  # chorus
        ("Subscription rejected: Too many subscriptions: Number of subscriptions must be less than or equal to 7", 7),
        (
            "Too many filters: Number of filters per susbscription must be less then or equal to 5",
            5,
        ),
        ("message too large (131073 > 131072)", 131072),  # nostr-rs-relay
        ("blocked: limit too high: 50000 (max 500)", 500),  # purplepag.es
        ("invalid: limitation.max_limit 1000", 1000),  # rnostr
        ("invalid: limitation.max_filters 10", 10),
        ("error: limit exceeds max_limit of 1000", 1000),
        ("error: limit exceeds 200", 200),
        ("restricted: limit must not exceed 500", 500),
        ("blocked: subscription limit reached (20)", 20),
        ("error: max subscriptions limit of 10 reached", 10),
        ('invalid: "[2].limit" must be less than or equal to 5000', 5000),  # nostream
        ("Maximum concurrent subscription count reached: 20", 20),
        ("ERROR: too many concurrent REQs", None),
        ("blocked: limit too high: 5 (max 0)", None),
        ("blocked: limit too high: 5 (max 99999999999999999999)", None),
        ("rate-limited: max 10 a second", None),
        ("rate-limited: active subscriptions exceed max size 1048576 bytes", None),  # bytes, not subscriptions
        ("We take max 10 subscriptions", None),
        ("", None),
    ],
)
def test_the_number_that_a_refusal_names(text: str, expected: int | None) -> None:
    assert limit(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("feed-1: error: invalid filter", "feed-1"),
        ("feed-1", "feed-1"),  # cagliostr: the text is the third element
        ("feed-1: closed: too many steps", "feed-1"),
        ("REQ new sub_id feed-1 not allowed, already at max subs=10", "feed-1"),
        ("REQ command for sub_id that already exists - feed-1", "feed-1"),
        ("Subscription rejected: Duplicate subscription feed-1: Ignorning", "feed-1"),
        ("duplicate: feed-1 already opened", "feed-1"),
        ("a b: auth-required: c", "a b"),
        ("it", None),  # too short
        ("feed-1-2: error: invalid filter", None),
        ("FEED-1: error: invalid filter", None),
        ("error: invalid filter", None),
        ("closed for repair", None),
        ("closed: too many steps", "closed"),
        ("we closed feed-1", None),
        ("", None),
    ],
)
def test_the_subscription_that_a_notice_names(text: str, expected: str | None) -> None:
    ids = ["feed", "feed-1", "it", "error", "closed", "filter", "a b", "("]
    assert subject(text, ids) == expected


@given(st.text(min_size=3, max_size=64).filter(lambda id_: id_ == id_.strip() and id_.lower() not in PREFIXES))
def test_any_id_is_found_before_a_colon(id_: str) -> None:
    assert subject(f"{id_}: error: no", ["other", id_]) == id_


@given(st.text(max_size=600))
def test_any_text_has_a_meaning_or_none(text: str) -> None:
    assert meaning(text) in {None, *Meaning}
    assert (limit(text) or 1) > 0
    assert subject(text, ["feed"]) in {None, "feed"}


# What a pattern that backtracks, or reads all of a text, takes seconds for.
HOSTILE = [
    "x" * (5 << 20),
    " " * (5 << 20),
    "error: " * (5 << 17),
    "a: " * (5 << 17),
    "req new sub_id " * (5 << 17),
    "duplicate subscription " * (5 << 17),
    "auth" * (5 << 20),
    "error: too many " + "a " * (5 << 20),
    "error: count " * (5 << 18),
    "error: bad req: subscription error: " + "invalid " * (5 << 18),
    "error: (" + "9" * (5 << 20),
    "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}" * (5 << 20),
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:24])
def test_a_long_hostile_text_takes_milliseconds(text: str) -> None:
    ids = ["feed", "xxx", text[:64]] * 1000

    def read() -> None:
        meaning(text)
        limit(text)
        subject(text, ids)

    read()
    fastest = min(_seconds(read) for _ in range(5))
    assert fastest < 0.05


def _seconds(function: Callable[[], None]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def test_nothing_is_read_beyond_the_first_characters() -> None:
    assert meaning("error: " + "x" * LOOKED_AT + " too many subscriptions") is Meaning.FAILED
    assert meaning(" " * LOOKED_AT + "error: x") is None
    assert max(len(row[2]) for row in ROWS) < LOOKED_AT
