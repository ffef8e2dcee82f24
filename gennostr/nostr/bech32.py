"""Bech32 (BIP-173), the encoding of NIP-19: npub1..., nsec1..., note1...."""

from typing import Final

_CHARACTERS: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES: Final = {character: value for value, character in enumerate(_CHARACTERS)}
_BASE_32: Final = str.maketrans(_CHARACTERS, "0123456789abcdefghijklmnopqrstuv")
_GENERATORS: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM: Final = 6  # characters


def encode_bech32(prefix: str, data: bytes) -> str:
    """Return `data` as bech32 in lower case, of any length.

    Args:
        prefix: ASCII in lower case, such as "npub".
        data: whole bytes; the bits that fill the last character are zero.

    >>> encode_bech32("a", bytes([1]))
    'a1qy089ch6'
    """
    size = -(-8 * len(data) // 5)
    number = int.from_bytes(data, "big") << (5 * size - 8 * len(data))
    values = [number >> 5 * place & 31 for place in reversed(range(size))]
    checksum = _remainder([*_expanded(prefix), *values, *bytes(_CHECKSUM)]) ^ 1
    values += [checksum >> 5 * place & 31 for place in reversed(range(_CHECKSUM))]
    return f"{prefix}1{''.join(_CHARACTERS[each] for each in values)}"


def decode_bech32(text: str) -> tuple[str, bytes]:
    r"""Return the prefix and the data of a bech32 text, of any length.

    BIP-173 allows 90 characters, NIP-19 more. The prefix is returned in lower case, whatever case the text has.

    Raises:
        ValueError: the text is not valid bech32. The message says why but shows none of it, as it may be a secret.

    >>> decode_bech32("a1qy089ch6")
    ('a', b'\x01')
    """
    lower = text.lower()
    prefix, _, rest = lower.rpartition("1")
    if not text.isascii() or not prefix or len(rest) < _CHECKSUM:
        raise ValueError("it is not bech32: a prefix, the digit 1, and at least six characters")
    if text not in (lower, text.upper()):
        raise ValueError("it mixes upper and lower case, which bech32 does not allow")
    values = [_VALUES.get(character, -1) for character in rest]
    if -1 in values:
        raise ValueError("it has a character that bech32 does not use")
    if _remainder([*_expanded(prefix), *values]) != 1:
        raise ValueError("its checksum is wrong: a character is missing or mistyped")
    digits = len(values) - _CHECKSUM
    size, spare = divmod(5 * digits, 8)
    number = int("0" + rest[:digits].translate(_BASE_32), 32)
    if spare > 4 or number & ((1 << spare) - 1):
        raise ValueError("its data are not whole bytes")
    return prefix, (number >> spare).to_bytes(size, "big")


def _expanded(prefix: str) -> list[int]:
    """Return the prefix as the checksum counts it (BIP-173).

    These are the high bits of each character, 0, and the low bits of each.
    """
    letters = prefix.encode()
    return [*(each >> 5 for each in letters), 0, *(each & 31 for each in letters)]


def _remainder(values: list[int]) -> int:
    checksum = 1
    for value in values:
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value ^ _REDUCED[checksum >> 25]
    return checksum


def _reduced(top: int) -> int:
    result = 0
    for bit, generator in enumerate(_GENERATORS):
        if top >> bit & 1:
            result ^= generator
    return result


_REDUCED: Final = tuple(_reduced(top) for top in range(32))
"""What the five bits shifted out at the top add to the checksum."""
