"""Events as JSON text and as dicts."""

import json
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gennostr.exceptions import MessageError
from gennostr.nostr import Event, encode
from tests.nostr.test_nostr_event import ODD_TEXTS, REAL

texts = st.text(st.characters(codec="utf-8"), max_size=20)
events = st.builds(
    Event,
    id=texts,
    pubkey=texts,
    created_at=st.integers(-(2**63), 2**64 - 1),
    kind=st.integers(0, 65_535),
    tags=st.lists(st.lists(texts, max_size=3), max_size=3),
    content=texts | st.sampled_from(ODD_TEXTS),
    sig=texts,
)


@given(events)
def test_what_is_written_is_read_again(event: Event) -> None:
    assert Event.from_json(event.to_json()) == event
    assert Event.from_json(event.to_json().encode()) == event
    assert Event.from_dict(event.to_dict()) == event
    assert json.loads(event.to_json()) == event.to_dict()
    assert Event.from_json(json.dumps(event.to_dict(), indent=2)) == event


def test_the_json_is_compact_and_what_relays_take() -> None:
    assert encode(f'["EVENT",{REAL.to_json()}]') == encode(["EVENT", REAL])
    assert " " not in msgspec.structs.replace(REAL, content="").to_json()


def test_the_dict_shares_no_tags_with_the_event() -> None:
    event = msgspec.structs.replace(REAL, tags=[["t", "a"]])
    fields = event.to_dict()
    again = Event.from_dict(fields)
    fields["tags"][0].append("changed")
    fields["tags"].append(["changed"])
    assert event.tags == again.tags == [["t", "a"]]


def test_unknown_fields_are_ignored_and_any_mapping_is_read() -> None:
    fields = REAL.to_dict() | {"relay": "wss://a", "seen_on": []}
    assert Event.from_dict(MappingProxyType(fields)) == REAL
    assert Event.from_json(json.dumps(fields)) == REAL


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in REAL.to_dict().items() if key != name}


WRONG = [without(name) for name in REAL.to_dict()] + [
    REAL.to_dict() | {name: value}
    for name, value in [("created_at", 1.5), ("kind", "1"), ("tags", [["a", 1]]), ("tags", {}), ("content", None)]
]


@pytest.mark.parametrize("fields", WRONG)
def test_what_is_not_an_event_is_named(fields: dict[str, Any]) -> None:
    name = next((each for each in REAL.to_dict() if fields.get(each) != getattr(REAL, each)), "")
    with pytest.raises(MessageError, match=f"not an event: .*{name}"):
        Event.from_dict(fields)
    with pytest.raises(MessageError, match=f"not an event: .*{name}"):
        Event.from_json(json.dumps(fields))


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", '["EVENT", {}]', "{", "[" * 100_000, "1" * 5000, f"{REAL.to_json()}x", '{"id": "\ud800"}'],
    ids=lambda text: text[:12].encode("ascii", "replace").decode(),
)
def test_what_is_not_json_or_not_an_object_is_a_message_error(text: str) -> None:
    with pytest.raises(MessageError, match="not an event: ") as caught:
        Event.from_json(text)
    assert len(str(caught.value)) < 300


def test_bytes_that_are_not_utf_8_are_a_message_error_even_in_unknown_fields() -> None:
    data = REAL.to_json().encode().replace(b"{", b'{"x":"\xff",', 1)
    with pytest.raises(MessageError, match="utf-8"):
        Event.from_json(data)


def test_other_types_are_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"text or bytes, not {'a': 1}"):
        Event.from_json({"a": 1})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"a mapping, not \[1\]"):
        Event.from_dict([1])  # type: ignore[arg-type]


def test_a_lone_surrogate_cannot_be_written() -> None:
    with pytest.raises(MessageError, match=r"cannot be written as JSON: .*surrogates"):
        msgspec.structs.replace(REAL, content="\ud800").to_json()
