"""Frames: every rule of RFC 6455 that a client has to keep, and websocket-client as the second opinion."""

import socket
import struct
import threading
import time
import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
import websocket
from hypothesis import given, settings
from hypothesis import strategies as st

from gennostr.client.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Close,
    FrameReader,
    Ping,
    Pong,
    Received,
    encode_close,
    encode_frame,
)
from gennostr.exceptions import ProtocolError
from gennostr.testing import leaks

CONTROL = (CLOSE, PING, PONG)
FIN = 0x80
CONTROL_FRAME = 2 + 125  # bytes, at most
TIMEOUT = 5.0


@pytest.fixture(scope="module", autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Replace the check after every test, which takes longer than most of these tests."""
    before = leaks.Snapshot()
    yield
    leaks.check(before)


def length_field(size: int) -> bytes:
    if size < 126:
        return bytes([size])
    if size < 65536:
        return b"\x7e" + struct.pack("!H", size)
    return b"\x7f" + struct.pack("!Q", size)


def frame(opcode: int, payload: bytes, *, fin: bool = True, rsv: int = 0) -> bytes:
    """A server's frame: not masked."""
    return bytes([(FIN if fin else 0) | rsv << 4 | opcode]) + length_field(len(payload)) + payload


def fragments(opcode: int, parts: Sequence[bytes]) -> list[bytes]:
    """The frames of one message."""
    last = len(parts) - 1
    return [frame(CONTINUATION if at else opcode, part, fin=at == last) for at, part in enumerate(parts)]


def comparable(items: Iterable[Received]) -> list[object]:
    """Exceptions are equal only to themselves: compare what they say."""
    return [("violation", item.code, item.reason) if isinstance(item, ProtocolError) else item for item in items]


def read(*reads: bytes, max_message_size: int = 1 << 20) -> list[object]:
    reader = FrameReader(max_message_size)
    return comparable(item for data in reads for item in reader.receive(data))


def violation(stream: bytes, max_message_size: int = 1 << 20) -> int:
    """The code of the violation that is all that `stream` amounts to."""
    (item,) = FrameReader(max_message_size).receive(stream)
    assert isinstance(item, ProtocolError)
    return item.code


# What is delivered


def test_text_is_delivered_as_its_bytes() -> None:
    assert read(frame(TEXT, '["grüße"]'.encode())) == ['["grüße"]'.encode()]


def test_binary_is_delivered_like_text() -> None:
    assert read(frame(BINARY, b"[]")) == [b"[]"]


def test_an_empty_message_is_a_message() -> None:
    assert read(frame(TEXT, b"")) == [b""]


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 65537])
def test_every_form_of_length_is_read(opcode: int, size: int) -> None:
    assert read(frame(opcode, b"x" * size)) == [b"x" * size]


def test_many_frames_of_one_read_come_in_wire_order() -> None:
    stream = frame(TEXT, b"1") + frame(PING, b"2") + frame(BINARY, b"3") + frame(PONG, b"4") + frame(TEXT, b"5")
    assert read(stream) == [b"1", Ping(b"2"), b"3", Pong(b"4"), b"5"]


def test_fragments_are_one_message() -> None:
    assert read(b"".join(fragments(TEXT, [b"Hel", b"", b"lo"]))) == [b"Hello"]


def test_a_message_may_begin_and_end_with_empty_fragments() -> None:
    assert read(b"".join(fragments(TEXT, [b"", b"x", b""])) + frame(TEXT, b"next")) == [b"x", b"next"]


def test_control_frames_may_come_between_fragments_and_are_delivered_first() -> None:
    first, last = fragments(TEXT, [b"Hel", b"lo"])
    assert read(first + frame(PING, b"a") + frame(PONG, b"b") + last) == [Ping(b"a"), Pong(b"b"), b"Hello"]


def test_characters_may_be_cut_by_fragments() -> None:
    euro = "€".encode()
    assert read(b"".join(fragments(TEXT, [euro[:1], euro[1:]]))) == [euro]


@pytest.mark.parametrize("opcode", [PING, PONG])
def test_control_frames_may_be_empty_or_have_125_bytes(opcode: int) -> None:
    kind = Ping if opcode == PING else Pong
    assert read(frame(opcode, b"") + frame(opcode, b"x" * 125)) == [kind(b""), kind(b"x" * 125)]


@pytest.mark.parametrize("convert", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("cut", [None, 1, 3])
def test_a_read_may_be_bytes_a_bytearray_or_a_memoryview(convert: Any, cut: int | None) -> None:
    stream = frame(TEXT, b"text") + frame(PING, b"ping")
    reader = FrameReader()
    received = [item for data in (stream[:cut], stream[cut:] if cut else b"") for item in reader.receive(convert(data))]
    assert received == [b"text", Ping(b"ping")]
    assert type(received[0]) is bytes


def test_what_is_delivered_and_held_outlives_the_buffer_it_was_read_into() -> None:
    reader = FrameReader()
    buffer = bytearray(frame(TEXT, b"first") + frame(TEXT, b"second")[:-3])
    received = reader.receive(memoryview(buffer))
    buffer[:] = bytes(len(buffer))
    assert received + reader.receive(b"ond") == [b"first", b"second"]


@pytest.mark.parametrize("first_read", range(1, 12))
@pytest.mark.parametrize("size", [10, 126, 65536])
def test_a_message_is_delivered_by_the_read_of_its_last_byte(size: int, first_read: int) -> None:
    message = b"x" * size
    stream = frame(TEXT, message)
    reader = FrameReader()
    assert reader.receive(stream[:first_read]) == []
    assert reader.receive(stream[first_read:-1]) == []
    assert reader.receive(stream[-1:]) == [message]


def test_an_empty_read_changes_nothing() -> None:
    stream = frame(TEXT, b"text")
    assert read(b"", stream[:3], b"", stream[3:], b"") == [b"text"]


def test_the_examples_of_rfc_6455_section_5_7_are_read() -> None:
    assert read(bytes.fromhex("810548656c6c6f")) == [b"Hello"]
    assert read(bytes.fromhex("010348656c 80026c6f")) == [b"Hello"]
    assert read(bytes.fromhex("890548656c6c6f")) == [Ping(b"Hello")]
    assert read(bytes.fromhex("827e0100") + bytes(256)) == [bytes(256)]
    assert read(bytes.fromhex("827f0000000000010000") + bytes(65536)) == [bytes(65536)]


# Close


def test_a_close_frame_gives_its_code_and_reason() -> None:
    assert read(frame(CLOSE, b"\x03\xe9" + "tschüß".encode())) == [Close(1001, "tschüß")]


def test_a_close_frame_may_have_a_code_alone() -> None:
    assert read(frame(CLOSE, b"\x03\xe8")) == [Close(1000, "")]


def test_an_empty_close_frame_has_no_code() -> None:
    assert read(frame(CLOSE, b"")) == [Close(None, "")]


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999])
def test_codes_that_may_be_sent_are_accepted(code: int) -> None:
    assert read(frame(CLOSE, struct.pack("!H", code))) == [Close(code, "")]


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535])
def test_codes_that_may_not_be_sent_are_1002(code: int) -> None:
    assert violation(frame(CLOSE, struct.pack("!H", code))) == 1002


def test_of_all_codes_those_that_rfc_6455_and_its_registry_allow_are_accepted() -> None:
    accepted = set()
    for code in range(65536):
        (item,) = FrameReader().receive(frame(CLOSE, struct.pack("!H", code)))
        if isinstance(item, Close):
            accepted.add(code)
    assert accepted == {1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)}


def test_a_close_frame_may_have_125_bytes() -> None:
    assert read(frame(CLOSE, b"\x03\xe8" + b"x" * 123)) == [Close(1000, "x" * 123)]


def test_an_illegal_code_is_1002_even_if_its_reason_is_not_utf8() -> None:
    assert violation(frame(CLOSE, b"\x03\xed\xff")) == 1002


def test_a_close_payload_of_one_byte_is_1002() -> None:
    assert violation(frame(CLOSE, b"\x03")) == 1002


def test_a_close_reason_that_is_not_utf8_is_1007() -> None:
    assert violation(frame(CLOSE, b"\x03\xe8\xff")) == 1007


def test_a_close_frame_may_interrupt_a_message() -> None:
    assert read(frame(TEXT, b"beg", fin=False) + frame(CLOSE, b"")) == [Close(None, "")]


def test_after_a_close_nothing_is_read_and_nothing_is_held() -> None:
    reader = FrameReader()
    received = reader.receive(frame(TEXT, b"beg", fin=False) + frame(CLOSE, b"") + frame(TEXT, b"late") + b"\x81")
    assert received == [Close(None, "")]
    assert reader.receive(frame(PING, b"later")) == []
    assert reader.buffered == 0
    assert reader.over


# Violations


def test_a_violation_is_the_last_item_and_what_was_complete_before_it_is_delivered() -> None:
    received = FrameReader().receive(frame(TEXT, b"good") + frame(TEXT, b"bad", rsv=4) + frame(TEXT, b"late"))
    assert received[0] == b"good"
    assert isinstance(received[1], ProtocolError)
    assert len(received) == 2


def test_after_a_violation_nothing_is_read_and_nothing_is_held() -> None:
    reader = FrameReader()
    assert not reader.over
    reader.receive(frame(TEXT, b"beg", fin=False) + frame(PING, b"", fin=False) + b"\x81")
    assert reader.receive(frame(TEXT, b"late")) == []
    assert reader.buffered == 0
    assert reader.over


@pytest.mark.parametrize("opcode", [TEXT, BINARY, *CONTROL])
def test_a_masked_frame_is_1002(opcode: int) -> None:
    assert violation(encode_frame(opcode, b"")) == 1002


@pytest.mark.parametrize("size", [5, 126, 65536])
def test_a_masked_frame_of_any_length_is_1002_before_its_payload(size: int) -> None:
    assert violation(encode_frame(TEXT, bytes(size))[:2]) == 1002


@pytest.mark.parametrize("rsv", [1, 2, 4, 7])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, *CONTROL])
def test_reserved_bits_are_1002(opcode: int, rsv: int) -> None:
    assert violation(frame(opcode, b"", rsv=rsv)) == 1002


def test_reserved_bits_on_a_continuation_are_1002() -> None:
    assert violation(frame(TEXT, b"beg", fin=False) + frame(CONTINUATION, b"in", rsv=4)) == 1002


@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_reserved_opcodes_are_1002(*, opcode: int, fin: bool) -> None:
    assert violation(frame(opcode, b"", fin=fin)) == 1002


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_reserved_opcodes_inside_a_message_are_1002(opcode: int) -> None:
    assert violation(frame(TEXT, b"beg", fin=False) + frame(opcode, b"")) == 1002


@pytest.mark.parametrize("opcode", CONTROL)
def test_a_fragmented_control_frame_is_1002(opcode: int) -> None:
    assert violation(frame(opcode, b"", fin=False)) == 1002


@pytest.mark.parametrize("size", [126, 65536])
@pytest.mark.parametrize("opcode", CONTROL)
def test_a_control_frame_over_125_bytes_is_1002_before_its_payload(opcode: int, size: int) -> None:
    assert violation(bytes([FIN | opcode]) + length_field(size)) == 1002


@pytest.mark.parametrize("fin", [True, False])
def test_a_continuation_of_nothing_is_1002(*, fin: bool) -> None:
    assert violation(frame(CONTINUATION, b"", fin=fin)) == 1002


def test_a_continuation_after_the_last_fragment_is_1002() -> None:
    stream = b"".join(fragments(TEXT, [b"a", b"b"])) + frame(CONTINUATION, b"c")
    *messages, last = FrameReader().receive(stream)
    assert messages == [b"ab"]
    assert isinstance(last, ProtocolError)
    assert last.code == 1002


@pytest.mark.parametrize("begun", [b"beg", b""])
@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_inside_a_fragmented_one_is_1002(*, opcode: int, fin: bool, begun: bytes) -> None:
    assert violation(frame(TEXT, begun, fin=False) + frame(opcode, b"in", fin=fin)) == 1002


@pytest.mark.parametrize(
    "length",
    [b"\x7e\x00\x00", b"\x7e\x00\x7d", b"\x7f" + bytes(8), b"\x7f" + struct.pack("!Q", 65535)],
)
def test_a_length_not_in_its_shortest_form_is_1002(length: bytes) -> None:
    assert violation(bytes([FIN | TEXT]) + length) == 1002


@pytest.mark.parametrize("length", [1 << 63, (1 << 64) - 1])
def test_a_length_with_its_top_bit_set_is_1002(length: int) -> None:
    assert violation(bytes([FIN | TEXT]) + b"\x7f" + struct.pack("!Q", length)) == 1002


@pytest.mark.parametrize(
    "stream",
    [
        frame(TEXT, b"x", rsv=4),
        frame(PING, b"", rsv=1),
        frame(3, b""),
        frame(11, b""),
        frame(PING, b"", fin=False),
        frame(PING, bytes(126)),
        frame(CONTINUATION, b"x"),
        frame(TEXT, b"beg", fin=False) + frame(TEXT, b"in"),
        frame(CLOSE, b"\x03"),
        frame(CLOSE, b"\x03\xed"),
        frame(CLOSE, b"\x03\xe8\xff"),
    ],
    ids=lambda stream: stream[:8].hex(),
)
def test_what_websocket_client_refuses_is_refused(stream: bytes) -> None:
    ours, theirs = socket.socketpair()
    client = websocket.WebSocket()
    with ours, theirs:
        ours.settimeout(TIMEOUT)
        client.sock = ours
        client.connected = True
        theirs.sendall(stream)
        with pytest.raises((websocket.WebSocketProtocolException, websocket.WebSocketPayloadException)):
            client.recv_data_frame(control_frame=True)
    assert violation(stream) in (1002, 1007)


# UTF-8

NOT_UTF8 = {
    "a byte that never occurs": b"\xff",
    "a character cut off at the end": "€".encode()[:2],
    "an overlong form": b"\xc0\xaf",
    "a surrogate": b"\xed\xa0\x80",
    "beyond the last character": b"\xf4\x90\x80\x80",
}


@pytest.mark.parametrize("bad", NOT_UTF8.values(), ids=NOT_UTF8)
def test_text_that_is_not_utf8_is_1007(bad: bytes) -> None:
    assert violation(frame(TEXT, b"good until here " + bad)) == 1007


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 200_000])
def test_characters_of_a_long_text_may_lie_anywhere_and_a_cut_one_is_1007(size: int) -> None:
    text = b"x" * (size - 3) + "\u20ac".encode() + "\U0001f642".encode() * 20_000
    assert read(frame(TEXT, text)) == [text]
    assert violation(frame(TEXT, text[:-1])) == 1007
    assert violation(frame(TEXT, text[: size - 1] + text[size:])) == 1007


def test_a_long_text_is_checked_without_holding_it_four_times() -> None:
    data = frame(TEXT, b"x" * 900_000 + "\U0001f642".encode())
    reader = FrameReader()
    tracemalloc.start()
    try:
        assert len(reader.receive(data)) == 1
        assert tracemalloc.get_traced_memory()[1] < 2 * len(data)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("bad", NOT_UTF8.values(), ids=NOT_UTF8)
def test_fragmented_text_that_is_not_utf8_as_a_whole_is_1007(bad: bytes) -> None:
    assert violation(b"".join(fragments(TEXT, [b"good until here ", bad, b""]))) == 1007


def test_a_character_may_be_cut_by_fragments_with_control_frames_between() -> None:
    parrot = "🦜".encode()
    wire = frame(PING, b"\xff").join(fragments(TEXT, [parrot[at : at + 1] for at in range(4)]))
    assert read(wire) == [Ping(b"\xff")] * 3 + [parrot]


def test_a_character_left_open_by_fragments_with_control_frames_between_is_1007() -> None:
    wire = frame(PONG, b"").join(fragments(TEXT, [b"\xe2", b"\x82", b""]))
    *controls, last = FrameReader().receive(wire)
    assert controls == [Pong(b"")] * 2
    assert isinstance(last, ProtocolError)
    assert last.code == 1007


def test_binary_that_is_not_utf8_is_delivered_unchanged() -> None:
    assert read(frame(BINARY, b"\xff") + b"".join(fragments(BINARY, [b"\xff", b"\xfe"]))) == [b"\xff", b"\xff\xfe"]


# Size


@pytest.mark.parametrize("limit", [100, 1000, 100_000])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_as_big_as_allowed_is_delivered(opcode: int, limit: int) -> None:
    message = b"x" * limit
    assert read(frame(opcode, message), max_message_size=limit) == [message]
    assert read(*fragments(opcode, [message[:7], message[7:]]), max_message_size=limit) == [message]


@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("limit", [100, 1000, 100_000])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_bigger_one_is_1009_before_its_payload(*, opcode: int, limit: int, fin: bool) -> None:
    assert violation(bytes([(FIN if fin else 0) | opcode]) + length_field(limit + 1), limit) == 1009


@pytest.mark.parametrize("limit", [100, 1000, 100_000])
def test_too_big_a_message_is_1009_with_the_last_byte_of_its_header_and_no_sooner(limit: int) -> None:
    header = bytes([FIN | TEXT]) + length_field(limit + 1)
    reader = FrameReader(limit)
    for at in range(len(header) - 1):
        assert reader.receive(header[at : at + 1]) == []
    (item,) = reader.receive(header[-1:])
    assert isinstance(item, ProtocolError)
    assert item.code == 1009


def test_where_nothing_is_allowed_empty_messages_are() -> None:
    assert read(frame(TEXT, b"") + b"".join(fragments(TEXT, [b"", b""])), max_message_size=0) == [b"", b""]
    assert violation(bytes([FIN | TEXT, 1]), 0) == 1009


def test_fragments_that_would_be_too_big_together_are_1009_before_the_payload() -> None:
    stream = frame(TEXT, bytes(60), fin=False) + frame(CONTINUATION, bytes(40), fin=False)
    assert violation(stream + bytes([CONTINUATION, 1]), 100) == 1009


def test_each_message_has_the_whole_limit_to_itself() -> None:
    halves = fragments(TEXT, [b"x" * 50, b"x" * 50])
    assert read(*halves, *halves, frame(TEXT, b"y" * 100), max_message_size=100) == [b"x" * 100] * 2 + [b"y" * 100]


def test_control_frames_do_not_count_as_a_part_of_the_message() -> None:
    first, last = fragments(TEXT, [b"x" * 5, b"x" * 5])
    assert read(first + frame(PING, b"y" * 125) + last, max_message_size=10) == [Ping(b"y" * 125), b"x" * 10]


def test_the_limit_is_5_mib_unless_another_is_set() -> None:
    header = bytes([FIN | TEXT, 127])
    reader = FrameReader()
    assert reader.receive(header + struct.pack("!Q", 5 * 1024 * 1024)) == []
    assert not reader.over
    (item,) = FrameReader().receive(header + struct.pack("!Q", 5 * 1024 * 1024 + 1))
    assert isinstance(item, ProtocolError)
    assert item.code == 1009


# Memory and time


def test_buffered_counts_the_partial_frame_and_the_fragments() -> None:
    reader = FrameReader()
    assert reader.buffered == 0
    reader.receive(frame(TEXT, b"12345", fin=False) + frame(PING, b"abc")[:4])
    assert reader.buffered == 5 + 4
    reader.receive(b"c")
    assert reader.buffered == 5
    reader.receive(frame(CONTINUATION, b"6"))
    assert reader.buffered == 0


@contextmanager
def tracing() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def test_a_message_in_tiny_reads_takes_little_more_memory_than_its_bytes() -> None:
    size = 1 << 16
    stream = frame(TEXT, b"xy" * (size // 2))[:-1]
    with tracing():
        reader = FrameReader()
        for at in range(0, len(stream), 2):
            reader.receive(stream[at : at + 2])
        held, _ = tracemalloc.get_traced_memory()
    assert size <= reader.buffered <= held < 1.5 * size


def test_a_message_in_tiny_fragments_takes_little_more_memory_than_its_bytes() -> None:
    size = 1 << 16
    with tracing():
        reader = FrameReader()
        reader.receive(frame(TEXT, b"xy", fin=False))
        for _ in range(0, size, 2):
            reader.receive(frame(CONTINUATION, b"xy", fin=False))
        held, _ = tracemalloc.get_traced_memory()
    assert size <= reader.buffered <= held < 1.5 * size


def cpu_seconds(reads: Sequence[bytes], message: bytes) -> float:
    """What it takes to read `message`, in this thread: other work on the machine does not count."""
    reader = FrameReader()
    start = time.thread_time()
    received = [item for data in reads for item in reader.receive(data)]
    spent = time.thread_time() - start
    assert received == [message]
    return spent


# Copying what is there for every read, or every fragment, would move more than 20 GiB: seconds, not milliseconds.


def test_10000_fragments_of_a_4_mib_message_take_linear_time() -> None:
    part = b"x" * 419
    stream = b"".join(fragments(TEXT, [part] * 10_000))
    reads = [stream[at : at + 65536] for at in range(0, len(stream), 65536)]
    assert cpu_seconds(reads, part * 10_000) < 1.0


def test_a_5_mib_frame_in_small_reads_takes_linear_time() -> None:
    message = b"x" * (5 * 1024 * 1024)
    stream = frame(TEXT, message)
    reads = [stream[at : at + 512] for at in range(0, len(stream), 512)]
    assert cpu_seconds(reads, message) < 1.0


# Any stream, cut anywhere

SIZES = st.sampled_from([0, 1, 2, 124, 125, 126, 127, 1000, 65535, 65536, 65537])


def text_of(size: int, character: str) -> bytes:
    """UTF-8 of exactly `size` bytes."""
    encoded = character.encode()
    return encoded * (size // len(encoded)) + b"." * (size % len(encoded))


texts = st.text(max_size=40).map(str.encode) | st.builds(text_of, SIZES, st.sampled_from("aü€😀"))
binaries = st.binary(max_size=40) | st.builds(bytes, SIZES)
control_frames = st.builds(
    lambda opcode, payload: (frame(opcode, payload), Ping(payload) if opcode == PING else Pong(payload)),
    st.sampled_from([PING, PONG]),
    st.binary(max_size=10) | st.builds(bytes, st.sampled_from([0, 124, 125])),
)
close_frames = st.builds(
    lambda code, reason: (frame(CLOSE, struct.pack("!H", code) + reason.encode()), Close(code, reason)),
    st.sampled_from([1000, 1001, 1014, 3000, 4999]),
    st.text(max_size=30),
)


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    return [data[start:stop] for start, stop in pairwise([0, *sorted(places), len(data)])]


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[Received]]:
    """A stream in which all is legal, and what it says."""
    wire: list[bytes] = []
    said: list[Received] = []

    def control() -> None:
        for data, meaning in draw(st.lists(control_frames, max_size=2)):
            wire.append(data)
            said.append(meaning)

    for opcode in draw(st.lists(st.sampled_from([TEXT, BINARY]), max_size=4)):
        control()
        message = draw(texts if opcode == TEXT else binaries)
        places = draw(st.lists(st.integers(0, len(message)), max_size=4))
        for at, part in enumerate(fragments(opcode, cut(message, places))):
            if at:
                control()
            wire.append(part)
        said.append(message)
    control()
    data, meaning = draw(close_frames)
    return b"".join([*wire, data]), [*said, meaning]


@st.composite
def reads_of(draw: st.DrawFn, stream: bytes) -> list[bytes]:
    """The stream cut at any bytes, or, where it is short, at all of them."""
    if len(stream) < 2000 and draw(st.booleans()):
        return [stream[at : at + 1] for at in range(len(stream))]
    return cut(stream, draw(st.lists(st.integers(0, len(stream)), max_size=12)))


def read_by_websocket_client(stream: bytes) -> list[Received]:
    """What websocket-client reads from a socket that `stream` comes out of, up to the close frame."""
    ours, theirs = socket.socketpair()
    sender = threading.Thread(target=theirs.sendall, args=(stream,))
    # Its own check of UTF-8 takes 200 ns a byte.
    client = websocket.WebSocket(skip_utf8_validation=True)
    received: list[Received] = []
    with ours, theirs:
        ours.settimeout(TIMEOUT)
        theirs.settimeout(TIMEOUT)
        client.sock = ours
        client.connected = True
        sender.start()
        try:
            while not received or not isinstance(received[-1], Close):
                opcode, got = client.recv_data_frame(control_frame=True)
                if opcode == CLOSE:
                    (code,) = struct.unpack("!H", got.data[:2])
                    received.append(Close(code, got.data[2:].decode()))
                elif opcode == PING:
                    received.append(Ping(got.data))
                elif opcode == PONG:
                    received.append(Pong(got.data))
                else:
                    received.append(got.data)
        finally:
            sender.join()
    return received


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_legal_stream_says_the_same_however_it_is_cut_and_to_websocket_client(data: st.DataObject) -> None:
    stream, said = data.draw(streams())
    assert read(stream) == said
    assert read(*data.draw(reads_of(stream))) == said
    assert read_by_websocket_client(stream) == said


STREAM = b"".join(
    [
        frame(TEXT, b"[]"),
        frame(PING, b"are you there"),
        frame(TEXT, "ü".encode() * 70),
        frame(TEXT, "€".encode()[:1], fin=False),
        frame(PONG, b""),
        frame(CONTINUATION, "€".encode()[1:]),
        frame(BINARY, b"\xff"),
    ]
)
ENDS = {
    "a close frame": frame(CLOSE, b"\x03\xe8bye"),
    "a masked frame": encode_frame(TEXT, b"x", b"mask"),
    "text that is not UTF-8": frame(TEXT, b"\xff"),
    "a message that is too big": frame(BINARY, bytes(1001)),
    "nothing": b"",
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_stream_cut_in_two_at_any_byte_says_the_same(end: bytes) -> None:
    stream = STREAM + end
    whole = read(stream, max_message_size=1000)
    assert len(whole) == (7 if end else 6)
    for at in range(len(stream) + 1):
        assert read(stream[:at], stream[at:], max_message_size=1000) == whole


@given(st.lists(st.binary(max_size=30), max_size=10), st.sampled_from([0, 10, 1 << 20]))
def test_random_bytes_never_raise(reads: list[bytes], limit: int) -> None:
    reader = FrameReader(limit)
    for data in reads:
        reader.receive(data)
        assert reader.buffered <= limit + CONTROL_FRAME
    assert reader.over or reader.buffered <= sum(map(len, reads))


# Legal and illegal pieces in any order: with random bytes alone nearly every stream would end at its first byte.
pieces = (
    st.binary(max_size=20)
    | st.builds(
        frame,
        st.sampled_from([CONTINUATION, TEXT, BINARY, *CONTROL]) | st.integers(0, 15),
        st.text(max_size=30).map(str.encode) | st.binary(max_size=150),
        fin=st.booleans(),
        rsv=st.sampled_from([0, 0, 0, 0, 4]),
    )
    | st.builds(lambda code: frame(CLOSE, struct.pack("!H", code)), st.integers(0, 65535))
)


@settings(deadline=None, max_examples=150)
@given(st.data(), st.lists(pieces, max_size=12).map(b"".join), st.sampled_from([0, 50, 200]))
def test_any_bytes_are_read_without_raising_and_the_same_however_they_are_cut(
    data: st.DataObject, stream: bytes, limit: int
) -> None:
    received = read(stream, max_message_size=limit)
    assert read(*data.draw(reads_of(stream)), max_message_size=limit) == received
    ends = [item for item in received if isinstance(item, Close | tuple)]
    assert ends in ([], received[-1:])
    assert all(len(item) <= limit for item in received if isinstance(item, bytes))


@settings(deadline=None, max_examples=150)
@given(st.data(), st.lists(pieces, max_size=12).map(b"".join), st.sampled_from([0, 50, 200]))
def test_no_more_is_ever_held_than_a_message_and_a_control_frame(
    data: st.DataObject, stream: bytes, limit: int
) -> None:
    reader = FrameReader(limit)
    for part in data.draw(reads_of(stream)):
        reader.receive(part)
        assert reader.buffered <= limit + CONTROL_FRAME


def test_a_full_message_waiting_for_its_end_and_a_control_frame_is_the_most_that_is_held() -> None:
    reader = FrameReader(100)
    reader.receive(frame(TEXT, bytes(100), fin=False) + frame(PING, bytes(125))[:-1])
    assert reader.buffered == 100 + CONTROL_FRAME - 1


# Writing


def decoded_by_websocket_client(data: bytes) -> Any:
    """The frame as websocket-client's reader sees and unmasks it."""
    ours, theirs = socket.socketpair()
    sender = threading.Thread(target=theirs.sendall, args=(data,))
    client: Any = websocket.WebSocket()  # whose recv_frame has no types
    with ours, theirs:
        ours.settimeout(TIMEOUT)
        theirs.settimeout(TIMEOUT)
        client.sock = ours
        client.connected = True
        sender.start()
        try:
            return client.recv_frame()
        finally:
            sender.join()


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([TEXT, BINARY]),
    texts | binaries,
    st.none() | st.binary(min_size=4, max_size=4),
)
def test_websocket_client_reads_what_is_encoded(opcode: int, payload: bytes, mask_key: bytes | None) -> None:
    got = decoded_by_websocket_client(encode_frame(opcode, payload, mask_key))
    assert (got.fin, got.rsv1, got.rsv2, got.rsv3, got.mask_value) == (1, 0, 0, 0, 1)
    assert (got.opcode, got.data) == (opcode, payload)


@settings(deadline=None)
@given(st.sampled_from([TEXT, BINARY]), texts | binaries, st.binary(min_size=4, max_size=4))
def test_a_frame_is_the_one_that_websocket_client_writes(opcode: int, payload: bytes, key: bytes) -> None:
    theirs = websocket.ABNF(fin=1, opcode=opcode, mask_value=1, data=payload)
    theirs.get_mask_key = lambda _: key
    assert encode_frame(opcode, payload, key) == theirs.format()


@given(st.binary(max_size=125), st.binary(min_size=4, max_size=4))
def test_websocket_client_unmasks_what_is_masked(payload: bytes, key: bytes) -> None:
    data = encode_frame(PONG, payload, key)
    assert data[2:6] == key
    assert websocket.ABNF.mask(key, data[6:]) == payload


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_a_length_is_written_in_its_shortest_form(size: int) -> None:
    header = bytearray(bytes([FIN | BINARY]) + length_field(size))
    header[1] |= 0x80
    assert encode_frame(BINARY, bytes(size), b"\0\0\0\0") == header + bytes(4 + size)


def test_the_masked_example_of_rfc_6455_section_5_7_is_written() -> None:
    expected = bytes.fromhex("8185 37fa213d 7f9f4d5158")
    assert encode_frame(TEXT, b"Hello", bytes.fromhex("37fa213d")) == expected


def test_each_frame_is_masked_with_a_key_of_its_own() -> None:
    keys = {encode_frame(TEXT, b"")[2:6] for _ in range(20)}
    assert len(keys) > 1


@pytest.mark.parametrize("opcode", CONTROL)
def test_a_control_frame_over_125_bytes_is_not_written(opcode: int) -> None:
    with pytest.raises(ValueError, match="126 bytes"):
        encode_frame(opcode, bytes(126))
    assert decoded_by_websocket_client(encode_frame(PING, bytes(125))).data == bytes(125)


@pytest.mark.parametrize("key", [b"", b"abc", b"abcde"])
def test_a_masking_key_that_has_not_4_bytes_is_not_used(key: bytes) -> None:
    with pytest.raises(ValueError, match="masking key"):
        encode_frame(TEXT, b"text", key)


def closing_payload(data: bytes) -> bytes:
    got = decoded_by_websocket_client(data)
    assert (got.opcode, got.fin, got.mask_value) == (CLOSE, 1, 1)
    return bytes(got.data)


def test_a_close_frame_carries_its_code_and_reason() -> None:
    assert closing_payload(encode_close(1009, "too big: ü")) == b"\x03\xf1" + "too big: ü".encode()


def test_a_close_frame_needs_no_reason() -> None:
    assert closing_payload(encode_close(1000)) == b"\x03\xe8"


@pytest.mark.parametrize(("character", "kept"), [("x", 123), ("ü", 122), ("€", 123), ("😀", 120)])
def test_a_long_reason_is_cut_between_characters(character: str, kept: int) -> None:
    reason = closing_payload(encode_close(1000, character * 200))[2:]
    assert reason == character.encode() * (kept // len(character.encode()))


def test_a_reason_that_utf8_cannot_say_is_written_as_far_as_it_can() -> None:
    assert closing_payload(encode_close(1000, "half \ud800 pair")) == b"\x03\xe8half ? pair"
