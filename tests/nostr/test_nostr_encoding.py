"""What clients send, and which error they get when it is wrong."""

import json
import math
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gennostr.exceptions import MessageError
from gennostr.nostr import Event, encode

EVENT = Event("a1", "b2", 1, 2, [["e", "f"]], "🦜", "c3")
FIELDS = {
    "id": "a1",
    "pubkey": "b2",
    "created_at": 1,
    "kind": 2,
    "tags": [["e", "f"]],
    "content": "🦜",
    "sig": "c3",
}


class Topic(StrEnum):
    NOSTR = "nostr"


class Text(str):
    __slots__ = ()


@given(st.text().filter(str.strip))
def test_any_text_passes_as_its_utf_8(text: str) -> None:
    assert encode(text) == text.encode()


def test_a_kind_of_str_is_json_text_too() -> None:
    assert encode(Text('["CLOSE","s"]')) == b'["CLOSE","s"]'


@pytest.mark.parametrize("text", ['["CLOSE","s"]', ' [ "CLOSE" , "s" ]\n', '["🦜"]', "not even JSON"])
def test_text_passes_as_it_is(text: str) -> None:
    assert encode(text) == text.encode()


@pytest.mark.parametrize(
    "message",
    [
        ["EVENT", FIELDS],
        ["REQ", "s", {}],
        ["REQ", "s" * 64, {"kinds": [1], "#t": ["x"]}, {"ids": []}],
        ["CLOSE", "s"],
        ["AUTH", FIELDS],
        ["COUNT", "s", {"kinds": [3]}],
        ["NEG-OPEN", "s", {}, "61"],
        ["NEG-MSG", "s", "aB01"],
        ["NEG-CLOSE", "s"],
        ["X"],
        ["X", None, True, -1, 1.5, "\x01\u2028", [[]], {"a": {}}, 2**64],
    ],
    ids=str,
)
def test_a_list_and_a_tuple_are_written_as_json(message: list[object]) -> None:
    assert json.loads(encode(message)) == message
    assert encode(tuple(message)) == encode(message)


def test_json_is_written_without_white_space_and_in_utf_8() -> None:
    assert encode(["REQ", "s", {"search": "ü 🦜"}]) == '["REQ","s",{"search":"ü 🦜"}]'.encode()


@pytest.mark.parametrize("label", ["EVENT", "AUTH", "X"])
def test_an_event_is_written_as_its_json_object(label: str) -> None:
    assert json.loads(encode([label, EVENT])) == [label, FIELDS]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (MappingProxyType({"a": 1}), {"a": 1}),
        ({"t"}, ["t"]),
        (frozenset({1}), [1]),
        ((1, 2), [1, 2]),
        (Topic.NOSTR, "nostr"),
        (Text("x"), "x"),
    ],
    ids=str,
)
def test_pythons_own_collections_and_kin_are_written_as_their_json(value: object, expected: object) -> None:
    assert json.loads(encode(["X", value])) == ["X", expected]


@pytest.mark.parametrize("label", ["EVENT", "AUTH"])
def test_an_event_may_be_a_mapping_of_any_kind(label: str) -> None:
    assert json.loads(encode([label, MappingProxyType(FIELDS)])) == [label, FIELDS]


def test_what_is_inside_an_event_or_a_filter_is_for_the_relay_to_judge() -> None:
    assert encode(["EVENT", {}]) == b'["EVENT",{}]'
    assert encode(["REQ", "s", {"kinds": "no list"}]) == b'["REQ","s",{"kinds":"no list"}]'


@pytest.mark.parametrize("character", ["s", "é", "🦜"])
def test_the_64_of_a_subscription_id_are_characters_not_bytes(character: str) -> None:
    assert encode(["CLOSE", character * 64]) == f'["CLOSE","{character * 64}"]'.encode()
    with pytest.raises(MessageError, match="1 to 64 characters"):
        encode(["CLOSE", character * 65])


@pytest.mark.parametrize("label", ["req", "Event", "", "NEG-ERR", " REQ"])
def test_the_shape_of_an_unknown_label_is_not_checked(label: str) -> None:
    assert json.loads(encode([label, 1, None])) == [label, 1, None]


@pytest.mark.parametrize("label", ["REQ", "COUNT", "CLOSE", "NEG-OPEN", "NEG-MSG", "NEG-CLOSE"])
@pytest.mark.parametrize("wrong", ["", "s" * 65, None, 7, ["s"]], ids=lambda value: ascii(value)[:10])
def test_every_label_that_takes_a_subscription_id_checks_it(label: str, wrong: object) -> None:
    arguments: dict[str, list[Any]] = {"REQ": [{}], "COUNT": [{}], "NEG-OPEN": [{}, "61"], "NEG-MSG": ["61"]}
    with pytest.raises(MessageError, match=f"{label} takes a subscription id of 1 to 64 characters, not "):
        encode([label, wrong, *arguments.get(label, [])])


@pytest.mark.parametrize(
    ("label", "most"),
    [("EVENT", 1), ("AUTH", 1), ("CLOSE", 1), ("NEG-OPEN", 3), ("NEG-MSG", 2), ("NEG-CLOSE", 1)],
)
@pytest.mark.parametrize("difference", [-1, 1])
def test_one_argument_too_few_or_too_many_is_an_error(label: str, most: int, difference: int) -> None:
    count = most + difference
    with pytest.raises(MessageError, match=rf"{label} takes {most} argument\(s\), not {count}"):
        encode([label, *["s"] * count])


@pytest.mark.parametrize(
    "message",
    [["EVENT", {"content": "\ud800"}], ["REQ", "\ud800", {}], ["REQ", "s", {"search": "\udfff"}], ["\ud800"]],
    ids=ascii,
)
def test_a_lone_surrogate_anywhere_is_an_error(message: list[object]) -> None:
    with pytest.raises(MessageError, match="surrogates not allowed"):
        encode(message)


def test_encoding_does_not_change_the_message() -> None:
    filter_ = {"kinds": (1,), "#t": {"x"}}
    message = ["REQ", "s", filter_]
    encode(message)
    assert message == ["REQ", "s", {"kinds": (1,), "#t": {"x"}}]
    assert message[2] is filter_


def test_a_mapping_of_any_kind_is_a_filter() -> None:
    assert encode(["REQ", "s", MappingProxyType({"kinds": (1,)})]) == b'["REQ","s",{"kinds":[1]}]'


@pytest.mark.parametrize("message", [b"[]", bytearray(b"[]"), None, 7, {"REQ": 1}, {"REQ"}, EVENT], ids=repr)
def test_another_type_is_a_type_error_that_names_it(message: Any) -> None:
    with pytest.raises(TypeError, match=f"not {type(message).__name__}$"):
        encode(message)


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("", "must not be empty: ''"),
        (" \n", r"must not be empty: ' \\n'"),
        ('["\ud800"]', "valid Unicode.*surrogates not allowed"),
        ([], r"begins with its label, a text: \[\]"),
        ([1, "x"], r"begins with its label, a text: \[1, 'x'\]"),
        ([["REQ"]], "begins with its label"),
        (["EVENT"], r"EVENT takes 1 argument\(s\), not 0"),
        (["EVENT", {}, {}], r"EVENT takes 1 argument\(s\), not 2"),
        (["EVENT", "a1"], "EVENT takes an event, not 'a1'"),
        (["AUTH", "challenge"], "AUTH takes an event, not 'challenge'"),
        (["REQ"], r"REQ takes at least 2 argument\(s\), not 0"),
        (["REQ", "s"], r"REQ takes at least 2 argument\(s\), not 1: \['s'\]"),
        (["REQ", "", {}], "REQ takes a subscription id of 1 to 64 characters, not ''"),
        (["REQ", "s" * 65, {}], "REQ takes a subscription id of 1 to 64 characters"),
        (["REQ", 7, {}], "REQ takes a subscription id of 1 to 64 characters, not 7"),
        (["REQ", "s", [{}]], r"REQ takes filters that are mappings, not \[{}\]"),
        (["REQ", "s", {}, None], "REQ takes filters that are mappings, not None"),
        (["COUNT", "s"], r"COUNT takes at least 2 argument\(s\)"),
        (["COUNT", "s", 1], "COUNT takes filters that are mappings, not 1"),
        (["CLOSE"], r"CLOSE takes 1 argument\(s\), not 0"),
        (["CLOSE", None], "CLOSE takes a subscription id of 1 to 64 characters, not None"),
        (["CLOSE", "s", "t"], r"CLOSE takes 1 argument\(s\), not 2"),
        (["NEG-OPEN", "s", {}], r"NEG-OPEN takes 3 argument\(s\), not 2"),
        (["NEG-OPEN", "s", "x", "61"], "NEG-OPEN takes filters that are mappings, not 'x'"),
        (["NEG-OPEN", "s", {}, "6"], "NEG-OPEN takes a hex text, not '6'"),
        (["NEG-MSG", "s", "61 61"], "NEG-MSG takes a hex text, not '61 61'"),
        (["NEG-MSG", "s", "61\n"], r"NEG-MSG takes a hex text, not '61\\n'"),
        (["NEG-MSG", "s", "٦١"], "NEG-MSG takes a hex text"),
        (["REQ", "s", EVENT], "REQ takes filters that are mappings, not Event"),
        (["NEG-MSG", "s", ""], "NEG-MSG takes a hex text, not ''"),
        (["NEG-MSG", "s", b"a"], "NEG-MSG takes a hex text, not b'a'"),
        (["NEG-CLOSE", ""], "NEG-CLOSE takes a subscription id"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_wrong_shape_is_an_error_that_names_the_value_and_what_is_wrong(message: Any, problem: str) -> None:
    with pytest.raises(MessageError, match=problem):
        encode(message)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (math.nan, "not a JSON value: nan"),
        ({"since": math.inf}, "not a JSON value: inf"),
        ([[-math.inf]], "not a JSON value: -inf"),
        ({"ids": [b"\x01"]}, r"not a JSON value: b'\\x01'"),
        ({1: 2}, "a key must be a text, not 1"),
        ({None: 2}, "a key must be a text, not None"),
        ({object}, "not a JSON value: <class 'object'>"),
        (1j, "not a JSON value: 1j"),
        ("\ud800", "surrogates not allowed"),
        ({"\ud800": 1}, "surrogates not allowed"),
        (10**5000, "4300 digits"),
    ],
    ids=[
        "nan",
        "inf",
        "-inf",
        "bytes",
        "int key",
        "None key",
        "object",
        "complex",
        "surrogate",
        "surrogate key",
        "huge",
    ],
)
def test_what_json_has_no_word_for_is_an_error_and_never_sent_as_something_else(value: object, problem: str) -> None:
    with pytest.raises(MessageError, match=f"'X'.*{problem}"):
        encode(["X", value])


def test_a_list_that_holds_itself_is_an_error() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(MessageError, match="recursion"):
        encode(["X", endless])


def test_an_error_about_a_message_stays_short() -> None:
    for wrong in ("x" * 1_000_000, ["x" * 1_000_000] * 100):
        with pytest.raises(MessageError) as caught:
            encode(["REQ", wrong, {}])
        assert len(str(caught.value)) < 1000


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


@given(st.lists(JSON))
def test_any_json_is_read_back_as_it_was(arguments: list[object]) -> None:
    assert json.loads(encode(["X", *arguments])) == ["X", *arguments]
