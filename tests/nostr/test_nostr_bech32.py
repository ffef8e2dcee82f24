"""Bech32, by the vectors of BIP-173 and NIP-19."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gennostr.nostr.bech32 import decode_bech32, encode_bech32

NPUB = "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg"
NPUB_HEX = "7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e"


def test_the_vectors_of_nip_19() -> None:
    assert decode_bech32(NPUB) == ("npub", bytes.fromhex(NPUB_HEX))
    assert decode_bech32(NPUB.upper()) == ("npub", bytes.fromhex(NPUB_HEX))
    prefix, data = decode_bech32(
        "nprofile1qqsrhuxx8l9ex335q7he0f09aej04zpazpl0ne2cgukyawd24mayt8gpp4mhxue69uhhytnc9e3k7mgpz4mhxue69uhkg6nzv9ejuumpv34kytnrdaksjlyr9p"
    )
    assert (prefix, data[:2]) == ("nprofile", b"\x00\x20")
    assert data[2:34].hex() == "3bf0c63fcb93463407af97a5e5ee64fa883d107ef9e558472c4eb9aaaefa459d"


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("A12UEL5L", "a"),
        (
            "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs",
            "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio",
        ),
        ("split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w", "split"),
    ],
)
def test_the_valid_vectors_of_bip_173(text: str, prefix: str) -> None:
    assert decode_bech32(text)[0] == prefix


@pytest.mark.parametrize(
    "text",
    ["A1G7SGD8", "10a06t8", "1qzzfhee", "x1b4n0q5v", "li1dgmt3", "pzry9x0s0muk", "a12UEL5L", "", "1", "ñ1qqqqqq"],
)
def test_the_invalid_vectors_of_bip_173(text: str) -> None:
    with pytest.raises(ValueError, match=r"bech32|checksum"):
        decode_bech32(text)


def test_data_are_whole_bytes_and_the_bits_left_over_are_zero() -> None:
    assert decode_bech32("a1qy089ch6") == ("a", b"\x01")
    for text in ("a1q3g6mn3", "a1qpamnt9j"):
        with pytest.raises(ValueError, match="whole bytes"):
            decode_bech32(text)


def test_a_letter_that_only_lower_makes_ascii_is_refused() -> None:
    with pytest.raises(ValueError, match="not bech32"):
        decode_bech32(NPUB.upper().replace("K", "\N{KELVIN SIGN}"))


@given(st.integers(5, len(NPUB) - 1), st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce6mua7l"))
def test_another_character_is_found_wherever_it_is(place: int, other: str) -> None:
    if NPUB[place] != other:
        with pytest.raises(ValueError, match="checksum"):
            decode_bech32(NPUB[:place] + other + NPUB[place + 1 :])


@given(st.sampled_from(["a", "npub", "an1b"]), st.binary(max_size=100))
def test_what_is_encoded_is_decoded(prefix: str, data: bytes) -> None:
    assert decode_bech32(encode_bech32(prefix, data)) == (prefix, data)


def test_a_vector_of_nip_19_is_encoded() -> None:
    assert encode_bech32("npub", bytes.fromhex(NPUB_HEX)) == NPUB


@given(st.text())
def test_any_text_is_decoded_or_refused(text: str) -> None:
    for each in (text, f"npub1{text}"):
        try:
            decode_bech32(each)
        except ValueError as error:
            assert len(str(error)) < 80  # noqa: PT017 - that it is short: it shows nothing of the text
