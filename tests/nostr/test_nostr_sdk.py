"""Events and signatures against nostr-sdk, the reference implementation."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gennostr.exceptions import MessageError
from gennostr.nostr import Event, EventMessage, decode, nip19, public_key, sign, verify
from tests.nostr.test_nostr_event import AUTHOR, ODD_TEXTS, REAL, SECRET

nostr_sdk = pytest.importorskip("nostr_sdk", reason="nostr-sdk is not installed")
pytest.importorskip("coincurve", reason="signing needs coincurve, which is not installed")


def as_json(event: Event) -> str:
    return event.to_json()


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


# NIP-19: both write the same texts, since both write the values in the same order.

ids = st.binary(min_size=32, max_size=32).map(bytes.hex)
pubkeys = st.integers(1, 2**200).map(lambda key: public_key(f"{key:064x}"))
kinds = st.integers(0, 65_535)
relays = st.lists(
    st.sampled_from(["wss://relay.example", "ws://127.0.0.1:7777", "wss://a.example/path?b=c"]), max_size=3
)


@settings(max_examples=30)
@given(pubkeys, ids, st.integers(1, 2**200).map(lambda key: f"{key:064x}"))
def test_nostr_sdk_has_the_same_npub_note_and_nsec(pubkey: str, id_: str, secret: str) -> None:
    for theirs, ours in (
        (nostr_sdk.PublicKey.parse(pubkey).to_bech32(), nip19.Npub(pubkey)),
        (nostr_sdk.EventId.parse(id_).to_bech32(), nip19.Note(id_)),
        (nostr_sdk.SecretKey.parse(secret).to_bech32(), nip19.Nsec(secret)),
    ):
        assert ours.encode() == theirs
        assert nip19.decode(theirs) == ours


@settings(max_examples=30)
@given(pubkeys, relays)
def test_nostr_sdk_has_the_same_nprofile(pubkey: str, urls: list[str]) -> None:
    key = nostr_sdk.PublicKey.parse(pubkey)
    theirs = nostr_sdk.Nip19Profile(key, [nostr_sdk.RelayUrl.parse(url) for url in urls])
    ours = nip19.Nprofile(pubkey, tuple(urls))
    assert ours.encode() == theirs.to_bech32()
    assert nip19.decode(theirs.to_nostr_uri()) == ours


@settings(max_examples=30)
@given(ids, relays, st.none() | pubkeys, st.none() | kinds)
def test_nostr_sdk_has_the_same_nevent(id_: str, urls: list[str], author: str | None, kind: int | None) -> None:
    theirs = nostr_sdk.Nip19Event(
        nostr_sdk.EventId.parse(id_),
        None if author is None else nostr_sdk.PublicKey.parse(author),
        None if kind is None else nostr_sdk.Kind(kind),
        [nostr_sdk.RelayUrl.parse(url) for url in urls],
    )
    ours = nip19.Nevent(id_, tuple(urls), author, kind)
    assert ours.encode() == theirs.to_bech32()
    assert nip19.decode(theirs.to_nostr_uri()) == ours


@settings(max_examples=30)
@given(st.text(st.characters(codec="utf-8"), max_size=60), pubkeys, kinds, relays)
def test_nostr_sdk_has_the_same_naddr(identifier: str, pubkey: str, kind: int, urls: list[str]) -> None:
    address = nostr_sdk.Coordinate(nostr_sdk.Kind(kind), nostr_sdk.PublicKey.parse(pubkey), identifier)
    theirs = nostr_sdk.Nip19Coordinate(address, [nostr_sdk.RelayUrl.parse(url) for url in urls])
    ours = nip19.Naddr(identifier, pubkey, kind, tuple(urls))
    assert ours.encode() == theirs.to_bech32()
    assert nip19.decode(theirs.to_nostr_uri()) == ours
