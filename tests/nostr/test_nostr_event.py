"""Ids, against NIP-01's words."""

import hashlib
import json
import subprocess
import sys
import time

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gennostr.exceptions import MessageError
from gennostr.nostr import Event, event_id, public_key, serialize, verify
from gennostr.nostr.event import _check_signature, _public_key

SECRET = "b7e151628aed2a6abf7158809cf4f3c762e7160f38b4da56a784d9045190cfef"
AUTHOR = "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659"

# A note of 2022, as relays have it.
REAL = Event(
    id="dc90c95f09947507c1044e8f48bcf6350aa6bff1507dd4acfc755b9239b5c962",
    pubkey="3bf0c63fcb93463407af97a5e5ee64fa883d107ef9e558472c4eb9aaaefa459d",
    created_at=1644271588,
    kind=1,
    tags=[],
    content="now that https://blueskyweb.org/blog/2-7-2022-overview was announced we can stop working on nostr?",
    sig=(
        "230e9d8f0ddaf7eb70b5f7741ccfa37e87a455c9a469282e3464e2052d3192cd"
        "63a167e196e381ef9d7e69e9ea43af2443b839974dc85d8aaab9efe1d9296524"
    ),
)

# What NIP-01 and JSON implementations agree on, and what a careless encoder gets wrong.
ODD_TEXTS = [
    "",
    "plain",
    'quote " backslash \\ slash /',
    "\n\r\t\b\f",
    r"\n \u0001 \\u0001 are no escapes here",
    "\x7f\x80\x9f",
    "\u2028\u2029\u00a0\ufeff",
    "🦜 e\u0301 \U0010ffff",
    "<script>&amp;</script>",
]


# The canonical form


def test_the_canonical_json_is_nip_01s_array_without_white_space() -> None:
    assert serialize("ab", 1, 2, [["e", "f"], []], "x") == b'[0,"ab",1,2,[["e","f"],[]],"x"]'


def test_seven_characters_are_escaped() -> None:
    data = serialize("", 0, 0, [], '\n"\\\r\t\b\f')
    assert data == rb'[0,"",0,0,[],"\n\"\\\r\t\b\f"]'


CONTROLS = [chr(code) for code in range(0x20) if chr(code) not in "\n\r\t\b\f"]


def letters(text: str) -> bytes:
    """NIP-01 to the letter: seven characters are escaped, all others stand as they are."""
    escapes = {"\n": r"\n", '"': r"\"", "\\": r"\\", "\r": r"\r", "\t": r"\t", "\b": r"\b", "\f": r"\f"}
    escaped = "".join(escapes.get(character, character) for character in text)
    return f'[0,"",0,0,[],"{escaped}"]'.encode()


@pytest.mark.parametrize("text", ["\x7f", "\x80", "\x9f", "\u2028", "/", "<&>"])
def test_every_other_character_stands_as_it_is(text: str) -> None:
    assert serialize("", 0, 0, [[text]], text) == f'[0,"",0,0,[["{text}"]],"{text}"]'.encode()


@pytest.mark.parametrize("control", CONTROLS)
def test_other_control_characters_are_escaped_as_the_clients_in_use_do(control: str) -> None:
    """nostr-protocol/nips#1403: Rust, JavaScript and Go hash the u00xx form."""
    escaped = f"\\u{ord(control):04x}"
    assert serialize("", 0, 0, [[control]], control) == f'[0,"",0,0,[["{escaped}"]],"{escaped}"]'.encode()


def written(text: str, id_: bytes) -> Event:
    """An event with this content, whose id is the sha256 of `id_`."""
    return Event(hashlib.sha256(id_).hexdigest(), "", 0, 0, [], text, "")


@given(st.text(st.sampled_from('\\u0001\x00\x01\x1fn"\nü🦜')))
@example("\\u0001\x01\\\\u0001\\\x01\\")
def test_an_id_is_valid_in_both_forms_and_in_no_other(text: str) -> None:
    compact = json.dumps([0, "", 0, 0, [], text], separators=(",", ":"), ensure_ascii=False).encode()
    assert written(text, compact).has_valid_id()
    assert written(text, letters(text)).has_valid_id()
    assert not written(text, compact + b" ").has_valid_id()
    first, *rest = [character for character in text if character in "\x00\x01\x1f"] or [""]
    if rest:  # one of them escaped, and one not
        mixed = letters(text).replace(first.encode(), b"\\u%04x" % ord(first), 1)
        assert not written(text, mixed).has_valid_id()


def test_escapes_without_end_cost_no_more_than_their_bytes() -> None:
    event = Event("forged", "", 0, 0, [], "\n" * 2_000_000 + "\x01", "")
    started = time.process_time()
    assert not event.has_valid_id()
    assert time.process_time() - started < 1.0  # one call for each escape took 1.7 s, whole replacements 0.1 s


@pytest.mark.parametrize("where", ["content", "tag"])
def test_a_lone_surrogate_is_a_clear_value_error(where: str) -> None:
    content, tags = ("\ud800", []) if where == "content" else ("", [["\ud800"]])
    with pytest.raises(ValueError, match=r"valid Unicode.*surrogates not allowed") as caught:
        event_id("", 0, 0, tags, content)
    assert isinstance(caught.value, MessageError)


def test_the_id_is_the_sha256_of_the_canonical_json() -> None:
    assert event_id("ab", 1, 2, [], "\x01") == hashlib.sha256(rb'[0,"ab",1,2,[],"\u0001"]').hexdigest()


def test_an_event_computes_its_id_whatever_it_claims() -> None:
    assert msgspec.structs.replace(REAL, id="forged").compute_id() == REAL.id


# The extra


def test_without_coincurve_ids_are_computed_and_signing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "coincurve", None)
    _check_signature.cache_clear()
    _public_key.cache_clear()
    assert REAL.compute_id() == REAL.id
    for needs_it in (lambda: verify(REAL), lambda: public_key(SECRET)):
        with pytest.raises(ImportError, match=r"pip install 'gennostr\[crypto\]'"):
            needs_it()


def test_importing_the_protocol_imports_no_extra() -> None:
    program = "import gennostr.nostr, sys; print({'coincurve', 'nostr_sdk'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
