"""What relays send, well formed and not."""

import json
import time
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gennostr.exceptions import MessageError
from gennostr.nostr import (
    AuthMessage,
    ClosedMessage,
    CountMessage,
    CountResult,
    EoseMessage,
    Event,
    EventMessage,
    NoticeMessage,
    OkMessage,
    RelayMessage,
    UnknownMessage,
    decode,
)
from gennostr.nostr.messages import MAX_VALUES

FIELDS: dict[str, Any] = {
    "id": "a1",
    "pubkey": "b2",
    "created_at": 1700000000,
    "kind": 1,
    "tags": [["e", "c3", ""], []],
    "content": 'hello "nostr" \n 🦜',
    "sig": "d4",
}
EVENT = Event(**FIELDS)
DEEP = b"[" * 60_000  # fewer than MAX_VALUES


def wire(*message: object) -> bytes:
    return json.dumps(message).encode()


def with_field(name: str, value: bytes) -> bytes:
    rest = {key: other for key, other in FIELDS.items() if key != name}
    return b'["EVENT","s",{"%s":%s,%s]' % (name.encode(), value, json.dumps(rest).encode()[1:])


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (["EVENT", "s", FIELDS], EventMessage("s", EVENT)),
        (["EOSE", "s"], EoseMessage("s")),
        (["EOSE", "s", ["finish"]], EoseMessage("s", ["finish"])),
        (["EOSE", "s", {"more": True}], EoseMessage("s", {"more": True})),
        (["OK", "a1", True], OkMessage("a1", accepted=True)),
        (["OK", "a1", True, "duplicate: have it"], OkMessage("a1", True, "duplicate: have it")),  # noqa: FBT003
        (["OK", "", False, "restricted: no"], OkMessage("", False, "restricted: no")),  # noqa: FBT003
        (["CLOSED", "s"], ClosedMessage("s")),
        (["CLOSED", "s", "error: x"], ClosedMessage("s", "error: x")),
        (["NOTICE", "hi"], NoticeMessage("hi")),
        (["AUTH", "challenge"], AuthMessage("challenge")),
        (["COUNT", "s", {"count": 3}], CountMessage("s", CountResult(3))),
        (["NEG-MSG", "s", "61"], UnknownMessage("NEG-MSG", ("s", "61"))),
        (["X"], UnknownMessage("X", ())),
        (["", {"a": [None, 1.5]}], UnknownMessage("", ({"a": [None, 1.5]},))),
        (["event", "s"], UnknownMessage("event", ("s",))),
    ],
    ids=str,
)
def test_each_message_is_read_as_its_type(message: list[object], expected: RelayMessage) -> None:
    assert decode(wire(*message)) == expected


def test_a_count_tells_its_number_and_how_it_was_found() -> None:
    message = decode(wire("COUNT", "s", {"count": 3, "approximate": True, "hll": "ff"}))
    assert isinstance(message, CountMessage)
    assert (message.count, message.approximate, message.hll) == (3, True, "ff")


def test_a_plain_count_is_exact_and_has_no_registers() -> None:
    message = decode(wire("COUNT", "s", {"count": 3}))
    assert isinstance(message, CountMessage)
    assert (message.count, message.approximate, message.hll) == (3, False, None)


@pytest.mark.parametrize(
    "message",
    [
        ["EVENT", "s", FIELDS],
        ["EOSE", "s", None],
        ["OK", "a1", True, ""],
        ["CLOSED", "s", ""],
        ["NOTICE", "hi"],
        ["AUTH", "c"],
        ["COUNT", "s", {"count": 1}],
    ],
    ids=lambda message: message[0],
)
def test_what_follows_at_the_end_is_ignored(message: list[object]) -> None:
    assert decode(wire(*message, "extra", {"x": [1]}, None)) == decode(wire(*message))


def test_fields_of_an_event_that_are_unknown_are_ignored() -> None:
    assert decode(wire("EVENT", "s", {"relay": {"x": 1}, **FIELDS, "seen": []})) == EventMessage("s", EVENT)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_bytes_are_read(kind: type) -> None:
    assert decode(kind(wire("NOTICE", "hi"))) == NoticeMessage("hi")
    assert decode(kind(wire("X", 1))) == UnknownMessage("X", (1,))
    with pytest.raises(MessageError, match="nonsense"):
        decode(kind(b"nonsense"))


@pytest.mark.parametrize("data", [b' \t\r\n["NOTICE","hi"]\n', b'[ "NOTICE" , "hi" ]', rb'["\u004eOTICE","\u0068i"]'])
def test_white_space_and_escapes_make_no_difference(data: bytes) -> None:
    assert decode(data) == NoticeMessage("hi")


LEGAL: dict[str, list[Any]] = {
    "EVENT": ["EVENT", "s", FIELDS],
    "EOSE": ["EOSE", "s"],
    "OK": ["OK", "a1", True],
    "CLOSED": ["CLOSED", "s"],
    "NOTICE": ["NOTICE", "x"],
    "AUTH": ["AUTH", "x"],
    "COUNT": ["COUNT", "s", {"count": 1}],
}
TYPED_ELEMENTS = [(label, at) for label, message in LEGAL.items() for at in range(1, len(message))]


@pytest.mark.parametrize(("label", "at"), TYPED_ELEMENTS)
def test_an_element_of_the_wrong_type_is_an_error_that_says_where(label: str, at: int) -> None:
    message = [*LEGAL[label][:at], 7, *LEGAL[label][at + 1 :]]
    with pytest.raises(MessageError, match=rf"got `int` - at `\$\[{at}\]`"):
        decode(wire(*message))


@pytest.mark.parametrize("field", FIELDS)
def test_an_event_without_one_of_its_fields_is_an_error_that_names_it(field: str) -> None:
    rest = {name: value for name, value in FIELDS.items() if name != field}
    with pytest.raises(MessageError, match=f"missing required field `{field}`"):
        decode(wire("EVENT", "s", rest))


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_of_the_wrong_type_is_an_error_that_names_it(field: str) -> None:
    with pytest.raises(MessageError, match=rf"- at `\$\[2\]\.{field}`"):
        decode(with_field(field, b"true"))


@pytest.mark.parametrize("message", [*LEGAL.values(), ["NEG-MSG", "s", "61"]], ids=lambda message: message[0])
def test_a_message_cut_off_anywhere_is_an_error(message: list[object]) -> None:
    data = wire(*message)
    for end in range(len(data)):
        with pytest.raises(MessageError):
            decode(data[:end])


@pytest.mark.parametrize("label", LEGAL)
def test_a_label_in_other_letters_is_unknown(label: str) -> None:
    assert decode(wire(label.lower(), "s")) == UnknownMessage(label.lower(), ("s",))


def test_an_unknown_message_may_be_nested_within_reason() -> None:
    message = decode(b'["X",' + b"[" * 100 + b"]" * 100 + b"]")
    assert isinstance(message, UnknownMessage)
    assert len(message.arguments) == 1


def test_messages_are_frozen() -> None:
    message: Any = decode(wire("NOTICE", "hi"))
    with pytest.raises(AttributeError, match="immutable"):
        message.message = "other"


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("duplicate: have it", "duplicate"),
        ("auth-required: sign in", "auth-required"),
        ("rate-limited: ", "rate-limited"),
        ("invalid: id: wrong", "invalid"),
        ("shadowed: a word that NIP-01 does not list", "shadowed"),
        ("", None),
        ("no prefix at all", None),
        ("two words: are no prefix", None),
        ("Error: nor is a capital", None),
        ("error:nor without a space", None),
        (": nor nothing", None),
        ("-: nor a hyphen", None),
        ("\nerror: nor on another line", None),
        ("https://example", None),
    ],
)
def test_the_prefix_is_the_single_word_before_the_colon(text: str, prefix: str | None) -> None:
    assert OkMessage("a1", accepted=False, message=text).prefix == prefix
    assert ClosedMessage("s", text).prefix == prefix


@pytest.mark.parametrize(
    "word",
    [
        "duplicate",
        "pow",
        "blocked",
        "rate-limited",
        "invalid",
        "restricted",
        "mute",
        "error",
        "auth-required",
        "unsupported",
    ],
)
def test_every_prefix_of_nip_01_and_nip_42_is_read(word: str) -> None:
    message = decode(wire("OK", "a1", False, f"{word}: because"))  # noqa: FBT003
    assert isinstance(message, OkMessage)
    assert message.prefix == word


def test_a_message_that_was_not_given_has_no_prefix() -> None:
    assert OkMessage("a1", accepted=True).prefix is None
    assert ClosedMessage("s").prefix is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (b"nonsense", "malformed"),
        (b"{}", "Expected `array`, got `object`"),
        (b"null", "Expected `array`, got `null`"),
        (b'"NOTICE"', "Expected `array`, got `str`"),
        (b"[]", "at least length 1"),
        (b'[1,"NOTICE"]', "Expected `str`"),
        (b'[["NOTICE"]]', "Expected `str`"),
        (b'["NOTICE","hi"', "truncated"),
        (b'["NOTICE","hi"]]', "trailing"),
        (b'\xef\xbb\xbf["NOTICE","hi"]', "malformed"),
        (b'["NOTICE"]', "at least length 2, got 1"),
        (b'["NOTICE",null]', "Expected `str`, got `null`"),
        (b'["AUTH"]', "at least length 2, got 1"),
        (b'["EOSE"]', "at least length 2, got 1"),
        (b'["CLOSED"]', "at least length 2, got 1"),
        (b'["OK","a1"]', "at least length 3, got 2"),
        (b'["OK","a1","true"]', r"Expected `bool`, got `str` - at `\$\[2\]`"),
        (b'["OK","a1",1]', "Expected `bool`, got `int`"),
        (b'["COUNT","s",{}]', "missing required field `count`"),
        (b'["COUNT","s",{"count":"3"}]', r"Expected `int`, got `str` - at `\$\[2\].count`"),
        (b'["COUNT","s",{"count":1.0}]', "Expected `int`, got `float`"),
        (b'["EVENT","s"]', "at least length 3, got 2"),
        (b'["EVENT","s",{}]', "missing required field `id`"),
        (b'["EVENT","s",[]]', "Expected `object`, got `array`"),
        (with_field("created_at", b"1.5"), r"Expected `int`, got `float` - at `\$\[2\].created_at`"),
        (with_field("created_at", b"1e400"), "out of range"),
        (with_field("created_at", b"1" * 5000), "out of range"),
        (with_field("kind", b'"1"'), r"Expected `int`, got `str` - at `\$\[2\].kind`"),
        (with_field("tags", b'[["e",null]]'), r"Expected `str`, got `null` - at `\$\[2\].tags\[0\]\[1\]`"),
        (with_field("tags", b'["e"]'), "Expected `array`, got `str`"),
        (with_field("content", b'"\x01"'), "invalid character"),
        (with_field("content", b'"\xff"'), "can't decode byte 0xff"),
        (with_field("content", rb'"\ud800"'), ""),
        (b'["X",\xff]', "malformed|invalid character"),
        (b'["X","\xff"]', "can't decode byte 0xff"),
        (b'["X",1e999]', "Number out of range"),
        (b'["X",' + b"1" * 5000 + b"]", "out of range"),
        (DEEP, "recursion"),
        (b'["X",' + DEEP, "recursion"),
        (b'["NOTICE","x",' + DEEP, "recursion"),
        (b'["EOSE","s",' + DEEP, "recursion"),
        (b'["EVENT","s",' + DEEP, "recursion|Expected `object`"),
        (with_field("tags", DEEP), "recursion|Expected `str`"),
        (with_field("unknown", DEEP), "recursion"),
        (b'{"a":' * 30_000, "Expected `array`|recursion"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_what_is_no_message_is_one_error_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(MessageError, match=f"not a relay's message: .*({reason})"):
        decode(data)


def test_an_error_shows_the_first_80_bytes_and_nothing_that_a_terminal_obeys() -> None:
    data = b'["\x1b[31m\x00\xe2\x80\xae' + b"x" * 1_000_000
    with pytest.raises(MessageError) as caught:
        decode(data)
    text = str(caught.value)
    assert text.endswith(repr(data[:80]))
    assert text.isascii()
    assert text.isprintable()


def test_the_label_of_an_unreadable_unknown_message_does_not_flood_the_error() -> None:
    with pytest.raises(MessageError) as caught:
        decode(b'["' + b"x" * 1_000_000 + b'",1e999]')
    assert len(str(caught.value)) < 300


def tags(number: int, tag: bytes = b'["t"]') -> bytes:
    return with_field("tags", b"[" + b",".join([tag] * number) + b"]")


def test_fifty_thousand_contacts_are_read() -> None:
    contact = b'["p","' + b"a" * 64 + b'","wss://relay.example","me"]'
    message = decode(tags(50_000, contact))
    assert isinstance(message, EventMessage)
    assert len(message.event.tags) == 50_000


@pytest.mark.parametrize("value", [b"[]", b"{}", b'"ab"', b"[1]", b'{"a":1}', b"1.5"])
def test_the_values_of_a_message_take_thirty_mebibytes_at_most(value: bytes) -> None:
    values = MAX_VALUES // (2 if value[:1] in (b"[", b"{") else 1) - 2  # a bracket counts, as a comma does
    tracemalloc.start()
    try:
        message = decode(b'["X",' + b",".join([value] * values) + b"]")
        assert isinstance(message, UnknownMessage)
        assert tracemalloc.get_traced_memory()[0] < 33_000_000
    finally:
        tracemalloc.stop()


ODD = [b"null", b"5", b"[]", b"{}", b"true"]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'["OK","id",true,%b]', OkMessage("id", accepted=True)),
        (b'["OK","id",false,%b,"more"]', OkMessage("id", accepted=False)),
        (b'["CLOSED","s",%b]', ClosedMessage("s")),
        (b'["COUNT","s",{"count":5,"hll":%b}]', CountMessage("s", CountResult(5))),
    ],
)
def test_an_odd_optional_value_costs_that_value_and_not_the_message(
    data: bytes, expected: RelayMessage, odd: bytes
) -> None:
    assert decode(data.replace(b"%b", odd)) == expected


def test_what_a_count_says_of_itself_is_kept_where_it_has_the_right_type() -> None:
    message = decode(b'["COUNT","s",{"count":5,"approximate":null,"hll":"00"}]')
    assert message == CountMessage("s", CountResult(5, hll="00"))
    assert decode(b'["COUNT","s",{"count":5,"approximate":true,"hll":null}]') == CountMessage(
        "s", CountResult(5, approximate=True)
    )


@pytest.mark.parametrize(
    "data", [b'["OK",null,true,null]', b'["OK","id",null,null]', b'["CLOSED",null,null]', b'["COUNT","s",{"hll":null}]']
)
def test_a_required_value_of_the_wrong_type_costs_the_message(data: bytes) -> None:
    with pytest.raises(MessageError, match="not a relay's message"):
        decode(data)


@pytest.mark.parametrize(
    "data",
    [
        tags(1_000_000),
        tags(MAX_VALUES, b"[]"),
        with_field("tags", b"[[" + b'"a",' * MAX_VALUES + b'"a"]]'),
        b'["X",' + b"{}," * MAX_VALUES + b"{}]",
        b'["X",' + b'"\\"",' * MAX_VALUES + b"1]",
        b"[" * 5_000_000,
    ],
    ids=["tags", "empty tags", "one tag", "objects", "escaped quotes", "deep"],
)
def test_a_message_of_too_many_values_is_an_error_before_it_takes_memory(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(MessageError, match="over 262144 values"):
            decode(data)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("content", [b"," * 1_000_000, rb"\"[," * 300_000, b"[{" * 500_000])
def test_what_a_text_holds_is_not_counted_as_values(content: bytes) -> None:
    message = decode(with_field("content", b'"' + content + b'"'))
    assert isinstance(message, EventMessage)


@pytest.mark.parametrize("data", [b'"' + rb"\"" * 2_000_000, b'["X",' + b"," * 200_000 + b'"' + b"\\" * 1_000_000])
def test_counting_the_values_takes_no_long_time_whatever_comes(data: bytes) -> None:
    begun = time.monotonic()
    with pytest.raises(MessageError):
        decode(data)
    assert time.monotonic() - begun < 2.0


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'["NOTICE","hi","\xff"]', NoticeMessage("hi")),
        (with_field("unknown", b'"\xff"'), EventMessage("s", EVENT)),
    ],
    ids=["element", "field"],
)
def test_utf_8_in_what_is_skipped_is_left_to_the_transport(data: bytes, expected: RelayMessage) -> None:
    """A documented limit: a caller that decodes bytes that no transport has checked must check them first."""
    assert decode(data) == expected


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_a_message_or_a_message_error(data: bytes) -> None:
    try:
        message = decode(data)
    except MessageError:
        return
    assert isinstance(message, msgspec.Struct)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)
LABELS = st.sampled_from(["EVENT", "EOSE", "OK", "CLOSED", "NOTICE", "AUTH", "COUNT", "NEG-ERR"])


@given(LABELS, st.lists(JSON, max_size=4))
def test_any_arguments_are_a_message_or_a_message_error(label: str, arguments: list[object]) -> None:
    data = msgspec.json.encode([label, *arguments])
    try:
        message = decode(data)
    except MessageError:
        assert label != "NEG-ERR"
        return
    assert isinstance(message, UnknownMessage) == (label == "NEG-ERR")
