"""NIP-19: its vectors, what is written is read again, and hostile texts."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gennostr.nostr import nip19
from gennostr.nostr.bech32 import encode_bech32
from gennostr.nostr.nip19 import Naddr, Nevent, Note, Nprofile, Npub, Nsec
from tests.nostr.test_nostr_event import AUTHOR, REAL, SECRET

VECTORS = {
    "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg": Npub(
        "7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e"
    ),
    "npub180cvv07tjdrrgpa0j7j7tmnyl2yr6yr7l8j4s3evf6u64th6gkwsyjh6w6": Npub(REAL.pubkey),
    "nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5": Nsec(
        "67dea2ed018072d675f5415ecfaed7d2597555e202d85b3d65ea4e58d2d92ffa"
    ),
    "nprofile1qqsrhuxx8l9ex335q7he0f09aej04zpazpl0ne2cgukyawd24mayt8gpp4mhxue69uhhytnc9e3k7mgpz4mhxue69uhkg6nzv9ejuumpv34"
    "kytnrdaksjlyr9p": Nprofile(REAL.pubkey, ("wss://r.x.com", "wss://djbas.sadkb.com")),
}

ids = st.binary(min_size=32, max_size=32).map(bytes.hex)
relays = st.lists(st.text(string.ascii_letters + string.digits + ":/.?=-", min_size=1, max_size=255), max_size=4)
kinds = st.integers(0, 65_535)
identifiers = st.text(st.characters(codec="utf-8"), max_size=63)
entities = st.one_of(
    st.builds(Npub, ids),
    st.builds(Nsec, ids),
    st.builds(Note, ids),
    st.builds(Nprofile, ids, relays),
    st.builds(Nevent, ids, relays, st.none() | ids, st.none() | kinds),
    st.builds(Naddr, identifiers, ids, kinds, relays),
)


def tlv(*values: tuple[int, bytes]) -> bytes:
    return b"".join(bytes([type_, len(value)]) + value for type_, value in values)


KEY = bytes.fromhex(AUTHOR)


@pytest.mark.parametrize(("text", "value"), VECTORS.items(), ids=lambda each: str(each)[:8])
def test_the_vectors_of_nip_19(text: str, value: nip19.Entity) -> None:
    assert nip19.decode(text) == value
    assert value.encode() == text


@given(entities)
def test_what_is_encoded_is_decoded(value: nip19.Entity) -> None:
    text = value.encode()
    assert text == text.lower()
    assert nip19.decode(text) == value
    assert nip19.decode(text.upper()) == value


@given(entities.filter(lambda each: not isinstance(each, Nsec)))
def test_a_uri_of_nip_21_is_decoded(value: nip19.Entity) -> None:
    assert nip19.decode(f"nostr:{value.encode()}") == value
    assert nip19.decode(f"NOSTR:{value.encode().upper()}") == value


def test_a_secret_key_is_no_uri() -> None:
    with pytest.raises(ValueError, match=r"secret key .* must not follow 'nostr:'"):
        nip19.decode(f"nostr:{Nsec(SECRET).encode()}")


def test_unknown_types_are_ignored_and_the_first_of_two_values_counts() -> None:
    data = tlv((9, b"?"), (0, KEY), (1, b"wss://a"), (0, bytes(32)), (200, bytes(255)), (1, b"wss://b"))
    assert nip19.decode(encode_bech32("nprofile", data)) == Nprofile(AUTHOR, ("wss://a", "wss://b"))


def test_a_relay_that_is_not_ascii_costs_the_relay_alone() -> None:
    data = tlv((0, KEY), (1, "wss://ü".encode()), (1, b""), (1, b"\xff"), (1, b"wss://b"))
    assert nip19.decode(encode_bech32("nprofile", data)) == Nprofile(AUTHOR, ("wss://b",))


def test_the_kind_has_four_bytes_the_first_one_the_highest() -> None:
    assert encode_bech32("naddr", tlv((0, b""), (2, KEY), (3, b"\x00\x00\x75\x47"))) == (
        Naddr("", AUTHOR, 30_023).encode()
    )


@pytest.mark.parametrize(
    ("prefix", "data", "problem"),
    [
        ("npub", KEY[:31], "a key or id in it has 31 bytes, not 32"),
        ("note", KEY + b"\x00", "33 bytes, not 32"),
        ("nsec", b"", "0 bytes, not 32"),
        ("nprofile", b"", r"it has no public key \(TLV type 0\)"),
        ("nprofile", tlv((1, b"wss://a")), "no public key"),
        ("nprofile", tlv((0, KEY[:31])), "31 bytes"),
        ("nprofile", tlv((0, KEY))[:-1], r"ends within a value \(TLV\)"),
        ("nprofile", tlv((0, KEY)) + b"\x01", "ends within a value"),
        ("nprofile", tlv((0, KEY)) + b"\x01\xffwss://", "ends within a value"),
        ("nevent", tlv((1, b"wss://a")), "no event id"),
        ("nevent", tlv((0, KEY), (2, b"")), "0 bytes, not 32"),
        ("nevent", tlv((0, KEY), (3, b"\x01")), "the kind in it has 1 bytes, not 4"),
        ("nevent", tlv((0, KEY), (3, b"\x00\x01\x00\x00")), "kind must be 0 to 65535, not 65536"),
        ("naddr", tlv((2, KEY), (3, bytes(4))), "no identifier"),
        ("naddr", tlv((0, b"x"), (3, bytes(4))), "no author"),
        ("naddr", tlv((0, b"x"), (2, KEY)), "no kind"),
        ("naddr", tlv((0, b"\xff"), (2, KEY), (3, bytes(4))), "utf-8"),
        ("npub1q", KEY, "the digit 1"),
    ],
)
def test_what_is_wrong_with_the_data_is_named(prefix: str, data: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=rf"not a valid {prefix.partition('1')[0]}1\.\.\. .*{problem}"):
        nip19.decode(encode_bech32(prefix, data))


NPUB = Npub(AUTHOR).encode()
NSEC = Nsec(SECRET).encode()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "begins with none of npub, nsec, note"),
        ("npub", "begins with none of"),
        (AUTHOR, "begins with none of"),
        (f" {NPUB}", "begins with none of"),
        ("nostr:", "begins with none of"),
        (f"nostr:nostr:{NPUB}", "begins with none of"),
        ("lnbc1qqqqqqq", "begins with none of"),
        ("npub1", "not bech32"),
        (NPUB[:-1], "checksum is wrong"),
        (NPUB[:-1] + ("q" if NPUB[-1] != "q" else "p"), "checksum is wrong"),
        (NPUB[:-1] + "b", "character that bech32 does not use"),
        (NPUB[:-1] + "é", "not bech32"),
        (f"{NPUB}\n", "character that bech32 does not use"),
        (NPUB.capitalize(), "mixes upper and lower case"),
        (NPUB[:20] + NPUB[20:].upper(), "mixes upper and lower case"),
        ("npub1" + "q" * 5000, "5005 characters"),
        ("nrelay1qq", "deprecated"),
        ("ncryptsec1qq", "NIP-49"),
    ],
)
def test_what_is_wrong_with_the_text_is_named(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        nip19.decode(text)


@pytest.mark.parametrize(
    "text", [NSEC[:-1], NSEC.capitalize(), f"nostr:{NSEC}", f"{NSEC} ", f" {NSEC}", f"x{NSEC}", SECRET]
)
def test_no_error_shows_a_secret_key(text: str) -> None:
    with pytest.raises(ValueError, match="NIP-") as caught:
        nip19.decode(text)
    assert NSEC[5:20] not in str(caught.value).lower()
    assert SECRET[:8] not in str(caught.value)
    with pytest.raises(ValueError, match="secret_key must be 64") as caught:
        Nsec(text.upper())
    assert NSEC[5:20] not in str(caught.value).lower()
    assert SECRET[:8] not in str(caught.value).lower()
    with pytest.raises(ValueError, match="pubkey must be 64") as caught:
        Npub(text[:63])
    assert NSEC[5:20] not in str(caught.value).lower()


def test_no_repr_shows_a_secret_key() -> None:
    assert f"{Nsec(SECRET)} {Nsec(SECRET)!r}" == "Nsec(secret_key=<hidden>) Nsec(secret_key=<hidden>)"


def test_a_value_is_checked_when_it_is_made() -> None:
    with pytest.raises(ValueError, match="id must be 64 lower-case hex digits"):
        Note(AUTHOR.upper())
    with pytest.raises(TypeError, match="pubkey must be a text, not bytes"):
        Npub(KEY)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a list of urls"):
        Nprofile(AUTHOR, "wss://a")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a relay must be a text"):
        Nprofile(AUTHOR, [b"wss://a"])  # type: ignore[arg-type]
    for relay in ("", "wss://ü", "w" * 256):
        with pytest.raises(ValueError, match="a relay must be ASCII of 1 to 255 characters"):
            Nprofile(AUTHOR, (relay,))
    for kind in (-1, 65_536):
        with pytest.raises(ValueError, match="kind must be 0 to 65535"):
            Nevent(REAL.id, kind=kind)
    with pytest.raises(TypeError, match="kind must be an integer"):
        Naddr("", AUTHOR, "1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="author must be 64"):
        Nevent(REAL.id, author="ab")
    with pytest.raises(ValueError, match="at most 255 bytes"):
        Naddr("ü" * 128, AUTHOR, 30_023)
    with pytest.raises(ValueError, match="surrogates"):
        Naddr("\ud800", AUTHOR, 30_023).encode()
    with pytest.raises(TypeError, match="a NIP-19 text is a str, not bytes"):
        nip19.decode(b"npub1")  # type: ignore[arg-type]


def test_relays_are_kept_as_a_tuple() -> None:
    assert Nprofile(AUTHOR, ["wss://a"]) == Nprofile(AUTHOR, ("wss://a",))  # type: ignore[arg-type]
    assert hash(Nprofile(AUTHOR, ["wss://a"]))  # type: ignore[arg-type]


@given(st.text() | st.binary(max_size=120).map(lambda data: encode_bech32("nevent", data)))
def test_any_text_is_decoded_or_a_short_value_error(text: str) -> None:
    for each in (text, f"nevent1{text}", f"nostr:nsec1{text}"):
        try:
            nip19.decode(each)
        except ValueError as error:
            assert len(str(error)) < 250  # noqa: PT017 - that it is short: it does not repeat the text


@given(
    st.sampled_from(["npub", "nprofile", "nevent", "naddr"]),
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from([b"", b"\x00\x00\x00\x01", KEY, b"wss://a", b"\xff"]))),
    st.integers(0, 3),
)
def test_any_data_are_decoded_or_a_value_error(prefix: str, values: list[tuple[int, bytes]], cut: int) -> None:
    data = tlv(*values)
    try:
        value = nip19.decode(encode_bech32(prefix, data[: len(data) - cut]))
    except ValueError as error:
        assert str(error).startswith("not ")  # noqa: PT017 - that it is ours
    else:
        assert nip19.decode(value.encode()) == value
