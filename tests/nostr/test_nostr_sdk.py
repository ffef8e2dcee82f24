"""Events and signatures against nostr-sdk, the reference implementation."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gennostr.exceptions import MessageError
from gennostr.nostr import Event, EventMessage, decode, public_key, sign, verify
from tests.nostr.test_nostr_event import AUTHOR, ODD_TEXTS, REAL, SECRET

nostr_sdk = pytest.importorskip("nostr_sdk", reason="nostr-sdk is not installed")
pytest.importorskip("coincurve", reason="signing needs coincurve, which is not installed")


def as_json(event: Event) -> str:
    return msgspec.json.encode(event).decode()


def signed_by_nostr_sdk(content: str, tags: list[list[str]]) -> str:
    unsigned = {"pubkey": AUTHOR, "created_at": 1700000000, "kind": 1, "tags": tags, "content": content}
    signed = nostr_sdk.UnsignedEvent.from_json(json.dumps(unsigned)).sign(nostr_sdk.Keys.parse(SECRET))
    return str(signed.as_json())


def check_both_ways(text: str) -> None:
    tags = [["t", text], ["x"]]
    ours = sign(SECRET, created_at=1700000000, kind=1, content=text, tags=tags)
    assert nostr_sdk.Event.from_json(as_json(ours)).verify()
    theirs = decode(f'["EVENT","s",{signed_by_nostr_sdk(text, tags)}]'.encode())
    assert isinstance(theirs, EventMessage)
    verify(theirs.event)
    assert theirs.event.id == ours.id


@pytest.mark.parametrize("text", ODD_TEXTS, ids=ascii)
def test_nostr_sdk_and_we_accept_each_others_events(text: str) -> None:
    check_both_ways(text)


# Not the control characters that NIP-01 wants verbatim: nostr-sdk, as most JSON encoders, writes them as \u00xx.
AGREED = st.characters(codec="utf-8", exclude_characters=[chr(c) for c in range(0x20) if chr(c) not in "\n\r\t\b\f"])


@settings(max_examples=50)
@given(st.text(AGREED))
def test_nostr_sdk_and_we_accept_each_others_events_whatever_the_text(text: str) -> None:
    check_both_ways(text)


@settings(max_examples=50)
@given(
    st.integers(0, 2**40),
    st.integers(0, 65535),
    st.lists(st.lists(st.text(AGREED, max_size=10), min_size=1, max_size=4), max_size=4),
)
def test_nostr_sdk_accepts_our_events_whatever_the_time_the_kind_and_the_tags(
    created_at: int, kind: int, tags: list[list[str]]
) -> None:
    ours = sign(SECRET, created_at=created_at, kind=kind, content="", tags=tags)
    theirs = nostr_sdk.Event.from_json(as_json(ours))
    assert theirs.verify()
    assert theirs.id().to_hex() == ours.id


@pytest.mark.parametrize(
    "changes",
    [
        {"content": "y"},
        {"created_at": 2},
        {"kind": 2},
        {"tags": [["t"]]},
        {"pubkey": REAL.pubkey},
        {"id": REAL.id},
        {"sig": REAL.sig},
    ],
    ids="".join,
)
def test_nostr_sdk_and_we_refuse_the_same_forged_events(changes: dict[str, Any]) -> None:
    forged = msgspec.structs.replace(sign(SECRET, created_at=1, kind=1, content="x"), **changes)
    assert not nostr_sdk.Event.from_json(as_json(forged)).verify()
    with pytest.raises(MessageError):
        verify(forged)


def test_nostr_sdk_has_the_same_public_key_for_a_secret_key() -> None:
    keys = nostr_sdk.Keys.generate()
    assert public_key(keys.secret_key().to_hex()) == keys.public_key().to_hex()
