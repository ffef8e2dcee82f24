"""A relay's information (NIP-11): typed, and of a document with faults all that is not one of them."""

import json
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from gennostr.exceptions import MessageError
from gennostr.nostr import Limitation, RelayInformation
from gennostr.nostr.relay_information import parse_information

TEXTS = {
    "name": "a relay",
    "description": "of a test\n\nand no other",
    "banner": "https://relay.example/banner.jpg",
    "icon": "https://relay.example/icon.jpg",
    "pubkey": "bf2bee5281149c7c350f5d12ae32f514c7864ff10805182f4178538c2c421007",
    "contact": "mailto:admin@relay.example",
    "software": "https://relay.example/software",
    "version": "1.0.1",
    "privacy_policy": "https://relay.example/privacy",
    "terms_of_service": "https://relay.example/terms",
}
LIMITS: dict[str, Any] = {
    "max_message_length": 16384,
    "max_subscriptions": 300,
    "max_limit": 5000,
    "max_subid_length": 100,
    "max_event_tags": 100,
    "max_content_length": 8196,
    "min_pow_difficulty": 30,
    "auth_required": True,
    "payment_required": False,
    "restricted_writes": True,
    "created_at_lower_limit": 31536000,
    "created_at_upper_limit": 3,
    "default_limit": 500,
}
OWN = "f44df01bb3cd9b4af2b0c4a06e3f2d9b6b4b0e2c4a1e6c0d8b5d7a9e1f3c2b4a"
DOCUMENT = TEXTS | {"self": OWN, "supported_nips": [1, 11, 45], "limitation": LIMITS, "relay_countries": ["CA"]}
FAULTS: list[Any] = [None, True, 1.5, -1, "text", "20", ["list"], {"map": 1}, 2**64, 10**300]


def parsed(document: Any) -> RelayInformation:
    return parse_information(json.dumps(document).encode())


def test_every_field_of_a_document_is_read() -> None:
    information = parsed(DOCUMENT)
    assert {name: getattr(information, name) for name in TEXTS} == TEXTS
    assert information.self_ == OWN
    assert information.supported_nips == (1, 11, 45)
    assert information.limitation == Limitation(**LIMITS)
    assert {each.name for each in fields(Limitation)} == set(LIMITS)
    assert information.document == DOCUMENT


def test_of_an_empty_document_nothing_is_known() -> None:
    assert parsed({}) == RelayInformation()
    known = [value for each in fields(RelayInformation) if (value := getattr(parsed({}), each.name)) is not None]
    assert known == [(), Limitation(), {}]
    assert {getattr(Limitation(), each.name) for each in fields(Limitation)} == {None}


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
@pytest.mark.parametrize("name", [*TEXTS, "self"])
def test_a_text_of_another_type_is_none_and_costs_no_other_field(name: str, fault: Any) -> None:
    information = parsed(DOCUMENT | {name: fault})
    wanted = fault if isinstance(fault, str) else None
    assert getattr(information, "self_" if name == "self" else name) == wanted
    assert {each: getattr(information, each) for each in TEXTS if each != name} == {
        each: text for each, text in TEXTS.items() if each != name
    }
    assert information.limitation.max_limit == 5000


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_of_another_type_or_size_is_none_and_costs_no_other_limit(name: str, fault: Any) -> None:
    information = parsed(DOCUMENT | {"limitation": LIMITS | {name: fault}})
    wanted = True if fault is True and isinstance(LIMITS[name], bool) else None
    assert information.limitation == Limitation(**(LIMITS | {name: wanted}))
    assert information.name == "a relay"


@pytest.mark.parametrize("number", [0, -1, -(2**70)])
def test_a_limit_with_which_a_relay_would_be_none_is_not_said(number: int) -> None:
    names = ["max_subscriptions", "max_limit", "default_limit", "max_message_length", "max_subid_length"]
    assert parsed({"limitation": dict.fromkeys(names, number)}).limitation == Limitation()


def test_no_work_no_tags_and_no_content_are_limits() -> None:
    none: dict[str, Any] = dict.fromkeys(
        ["min_pow_difficulty", "max_event_tags", "max_content_length", "created_at_upper_limit"], 0
    )
    assert parsed({"limitation": none}).limitation == Limitation(**none)


@pytest.mark.parametrize("limits", [None, [], [LIMITS], "none", 5, True], ids=repr)
def test_limits_that_are_no_object_are_none(limits: Any) -> None:
    assert parsed(DOCUMENT | {"limitation": limits}).limitation == Limitation()


@pytest.mark.parametrize(
    ("nips", "read"),
    [
        ([1, "11", "5A", None, True, 1.5, [2], 45], (1, 45)),
        ([], ()),
        (None, ()),
        ({"1": 11}, ()),
        ("1, 11", ()),
        (11, ()),
    ],
    ids=repr,
)
def test_of_the_supported_nips_those_are_read_that_are_numbers(nips: Any, read: tuple[int, ...]) -> None:
    assert parsed(DOCUMENT | {"supported_nips": nips}).supported_nips == read


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"null", b'"text"', b"7", b"<html>", b"{} {}", b'{"name": "\xff"',
        b'{"name": 1' + b"0" * 5000, b'{"a":' * 100_000, b'{"a":' + b"[" * 100_000, b"\x00\xff" * 100,
    ],
    ids=range(13),
)  # fmt: skip
def test_what_is_no_json_object_is_a_message_error_that_shows_its_beginning(data: bytes) -> None:
    with pytest.raises(MessageError, match="not a relay's information") as caught:
        parse_information(data)
    assert str(caught.value).endswith(repr(data[:80]))
    assert len(str(caught.value)) < 500


def test_information_is_a_value() -> None:
    information = parsed(DOCUMENT)
    assert information == parsed(DOCUMENT)
    with pytest.raises(FrozenInstanceError):
        information.name = "another"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        information.limitation.max_limit = 1  # type: ignore[misc]


def test_texts_are_shown_without_their_line_ends_and_escape_sequences() -> None:
    assert "\x1b" not in repr(parsed({"name": "\x1b[31m"}))


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b'\xef\xbb\xbf{"name":"x"}', "x"),
        (b'{"name":"caf\xe9"}', "café"),
        (b'{"name":"caf\xe9 \xc3\xa9"}', "café é"),
        (rb'{"name":"x","description":"\ud800"}', "x"),
        (rb'{"name":"x\ud800"}', "x?"),
        (b'{"name":"x","fee":NaN,"fees":[-Infinity]}', "x"),
    ],
    ids=["byte order mark", "Latin-1", "both encodings", "lone surrogate", "in the field", "no numbers"],
)
def test_an_oddity_of_the_text_costs_one_field_at_most(data: bytes, name: str) -> None:
    information = parse_information(data[:-1] + b',"limitation":{"max_limit":500.0,"max_subscriptions":20.5}}')
    assert information.name == name
    assert information.limitation == Limitation(max_limit=500)
    assert all(json.dumps(each, allow_nan=False).encode() for each in information.document.values())


def test_whole_numbers_may_be_written_as_floats() -> None:
    found = parse_information(b'{"supported_nips":[1.0,11,1.5,1e400],"limitation":{"created_at_lower_limit":1e6}}')
    assert found.supported_nips == (1, 11)
    assert found.limitation.created_at_lower_limit == 1_000_000
