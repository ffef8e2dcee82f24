"""HyperLogLog counts authors: registers as NIP-45 says, merged by their maximum, and an estimate within its error."""

import hashlib

import pytest

from gennostr.exceptions import MessageError
from gennostr.nostr import HyperLogLog

STANDARD_ERROR = 1.04 / 256**0.5


def pubkey(number: int) -> str:
    return hashlib.sha256(b"author %d" % number).hexdigest()


def counted(numbers: range, offset: int = 16) -> HyperLogLog:
    found = HyperLogLog()
    for number in numbers:
        found = found.add(pubkey(number), offset)
    return found


def register(key: str, offset: int) -> tuple[int, int]:
    """The one register that a pubkey sets."""
    registers = HyperLogLog().add(key, offset).registers
    ((number, value),) = [(number, value) for number, value in enumerate(registers) if value]
    return number, value


# -- registers


@pytest.mark.parametrize(
    ("following", "value"),
    [("80" + "00" * 14, 1), ("ff" * 15, 1), ("40" + "00" * 14, 2), ("01" + "ff" * 14, 8), ("0001" + "00" * 13, 16)],
)
def test_the_zero_bits_behind_the_byte_at_the_offset_and_one_more_are_its_registers_value(
    following: str, value: int
) -> None:
    assert register("00" * 16 + "ab" + following, 16) == (0xAB, value)


def test_the_offset_says_which_byte_of_the_pubkey_is_the_registers_number() -> None:
    key = bytes(range(0x80, 0xA0)).hex()
    assert [register(key, offset) for offset in (0, 8, 23, 30)] == [(0x80, 1), (0x88, 1), (0x97, 1), (0x9E, 1)]


def test_zeros_to_the_end_of_the_pubkey_are_all_counted() -> None:
    assert register("00" * 32, 23) == (0, 8 * 8 + 1)


def test_a_register_keeps_its_highest_value() -> None:
    low, high = "00" * 16 + "07" + "80" * 15, "00" * 16 + "07" + "01" * 15
    for order in ([low, high], [high, low]):
        found = HyperLogLog()
        for key in order:
            found = found.add(key, 16)
        assert found.registers[7] == 8


def test_a_pubkey_that_was_added_counts_once() -> None:
    found = counted(range(100))
    assert found.add(pubkey(7), 16) == found


def test_adding_changes_nothing_that_was_there() -> None:
    empty = HyperLogLog()
    empty.add(pubkey(1), 8)
    assert empty == HyperLogLog(bytes(256))


@pytest.mark.parametrize("key", ["", "ab", "zz" * 32, "00" * 33, " " + "0" * 63])
def test_a_pubkey_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        HyperLogLog().add(key, 8)


@pytest.mark.parametrize("offset", [-1, 31, 32])
def test_an_offset_behind_which_nothing_is_left_is_refused(offset: int) -> None:
    with pytest.raises(ValueError, match="offset must be 0 to 30"):
        HyperLogLog().add("00" * 32, offset)


def test_other_than_256_registers_are_refused() -> None:
    with pytest.raises(ValueError, match="256 registers, not 255"):
        HyperLogLog(bytes(255))


# -- hex


def test_what_is_written_as_hex_is_read_again_in_either_case() -> None:
    found = counted(range(1000))
    assert len(found.hex()) == 512
    assert HyperLogLog.from_hex(found.hex()) == HyperLogLog.from_hex(found.hex().upper()) == found


@pytest.mark.parametrize(
    "text", ["", "00", "0" * 511, "0" * 513, "g" * 512, " " + "0" * 511, "00 " * 256, "0" * 512 + "\n", "\u0660" * 512]
)
def test_a_text_that_is_no_hll_is_a_message_error_that_shows_its_beginning(text: str) -> None:
    with pytest.raises(MessageError, match="512 hexadecimal digits") as caught:
        HyperLogLog.from_hex(text)
    assert repr(text)[:20] in str(caught.value)
    assert len(str(caught.value)) < 200


# -- merging


def test_merged_registers_are_those_of_all_that_was_added_anywhere() -> None:
    parts = [counted(range(start, start + 500)) for start in (0, 300, 600)]
    assert parts[0].merge(*parts[1:]) == counted(range(1100))


def test_the_order_of_a_merge_does_not_matter_nor_does_a_repetition() -> None:
    one, other = counted(range(50)), counted(range(40, 90))
    assert one.merge(other) == other.merge(one) == one.merge(other, one, other)
    assert one.merge() == one


# -- the estimate


def test_of_nothing_the_estimate_is_none() -> None:
    assert HyperLogLog().estimate() == 0


@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_a_few_are_counted_exactly_where_no_register_is_met_twice(count: int) -> None:
    found = HyperLogLog()
    for number in range(count):
        found = found.add(f"{number:02x}" + "ff" * 31, 0)
    assert found.estimate() == count


@pytest.mark.parametrize("count", [20, 100, 300, 640, 900, 3_000, 20_000])
def test_the_estimate_is_within_three_standard_errors(count: int) -> None:
    estimate = counted(range(count)).estimate()
    assert abs(estimate - count) <= 3 * STANDARD_ERROR * count


def test_the_estimate_is_unbiased_where_its_two_formulas_meet() -> None:
    # At 2.5 times the registers; with either formula beyond its range, the mean would be off.
    for count in (400, 640, 1000):
        estimates = [counted(range(start, start + count)).estimate() for start in range(0, 60_000, 2_000)]
        mean = sum(estimates) / len(estimates)
        assert abs(mean - count) <= 0.06 * count


def test_where_many_were_added_a_register_that_is_still_zero_does_not_rule_the_estimate() -> None:
    assert HyperLogLog(bytes([0] + [5] * 255)).estimate() == pytest.approx(5246, rel=0.01)


@pytest.mark.parametrize("value", [1, 57, 186, 255])
def test_registers_that_no_pubkey_can_make_are_only_a_large_number(value: int) -> None:
    found = HyperLogLog(bytes([value] * 256))
    assert found.estimate() == pytest.approx(0.7183 * 256 * 2.0**value, rel=0.01)
