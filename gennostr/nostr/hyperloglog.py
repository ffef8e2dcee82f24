"""HyperLogLog (NIP-45): about how many different authors, over several relays.

256 bytes estimate the number, and those of several relays can be merged.

Each register holds one more than the longest run of zero bits among the pubkeys that fall on it. So a pubkey counts
once however often it is added, here or at another relay, and the registers of several relays merge into those of all
their events. The standard error is 1.04 / sqrt(256): 6.5 %.
"""

import math
import re
from dataclasses import dataclass
from typing import Final, Self

from gennostr.exceptions import MessageError

REGISTERS: Final = 256
_ALPHA: Final = 0.7213 / (1 + 1.079 / REGISTERS)
_LINEAR: Final = 2.5 * REGISTERS
"""Up to here, the number of registers that are still zero is more precise (Flajolet et al., 2007, figure 3)."""
_HEX = re.compile(r"[0-9A-Fa-f]{512}")
_PUBKEY = re.compile(r"[0-9A-Fa-f]{64}")
_LAST_OFFSET: Final = 30
"""A pubkey has 32 bytes: the register number's, and at least one for the value."""


@dataclass(frozen=True, slots=True)
class HyperLogLog:
    """An estimate of the number of different authors (NIP-45).

    Those of several relays can be merged. Immutable: `add` and `merge` return new ones. `Count.hll` has the one for a
    count by several relays.

    >>> from gennostr.nostr import HyperLogLog
    >>> one = HyperLogLog().add("7e" * 32, offset=8)
    >>> other = HyperLogLog().add("7e" * 32, offset=8).add("3b" * 32, offset=8)
    >>> one.merge(other).estimate()
    2
    """

    registers: bytes = bytes(REGISTERS)
    """256 registers of one byte each; by default, nothing was counted."""

    def __post_init__(self) -> None:
        if len(self.registers) != REGISTERS:
            raise ValueError(f"a HyperLogLog has {REGISTERS} registers, not {len(self.registers)}")

    @classmethod
    def from_hex(cls, text: str) -> Self:
        """Return the registers given by the `hll` of a COUNT.

        Args:
            text: 512 hex digits.

        Raises:
            MessageError: it is not 512 hexadecimal digits.

        """
        if not _HEX.fullmatch(text):
            raise MessageError(f"hll is not {2 * REGISTERS} hexadecimal digits: {text!r:.80}")
        return cls(bytes.fromhex(text))

    def hex(self) -> str:
        """Return the text that `from_hex` reads."""
        return self.registers.hex()

    def add(self, pubkey: str, offset: int) -> Self:
        """Return a copy to which the author of an event was added.

        The byte at `offset` of the pubkey is the register's number; the number of zero bits that follow it, plus one,
        is its value.

        Args:
            pubkey: the author: 64 hex digits.
            offset: 0 to 30; derived from the filter, as NIP-45 says: 8 to 23.

        Raises:
            ValueError: the pubkey is not 64 hexadecimal digits, or nothing of it follows the offset.

        """
        if not _PUBKEY.fullmatch(pubkey):
            raise ValueError(f"pubkey is not 64 hexadecimal digits: {pubkey!r:.80}")
        if not 0 <= offset <= _LAST_OFFSET:
            raise ValueError(f"offset must be 0 to {_LAST_OFFSET}, not {offset}")
        key = bytes.fromhex(pubkey)
        rest = key[offset + 1 :]
        value = 8 * len(rest) - int.from_bytes(rest, "big").bit_length() + 1
        number = key[offset]
        registers = bytearray(self.registers)
        registers[number] = max(registers[number], value)
        return type(self)(bytes(registers))

    def merge(self, *others: "HyperLogLog") -> Self:
        """Return one that has counted what this one and the others have.

        It has the highest value of each register.
        """
        if not others:
            return self
        return type(self)(bytes(map(max, self.registers, *(other.registers for other in others))))

    def estimate(self) -> int:
        """Return about how many different pubkeys were added."""
        estimate = _ALPHA * REGISTERS**2 / math.fsum(2.0**-value for value in self.registers)
        zeros = self.registers.count(0)
        if zeros and estimate <= _LINEAR:
            estimate = REGISTERS * math.log(REGISTERS / zeros)
        return round(estimate)
