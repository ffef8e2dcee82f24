"""permessage-deflate (RFC 7692): the negotiation to the letter, zlib as the second opinion, and the limits.

The tables follow chapters 12 and 13 of the Autobahn test suite: the same sizes, fragments and parameters.
"""

import json
import random
import tracemalloc
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gennostr import HandshakeError, Options, ProtocolError
from gennostr.client.compression import OFFER, TAIL, THRESHOLD, Agreement, Deflater, Inflater, agreed, parse_extensions
from gennostr.client.connection import INFLATING as TURN_TO_INFLATE
from gennostr.client.connection_events import Credit
from gennostr.client.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    INFLATED,
    PING,
    PONG,
    TEXT,
    FrameReader,
    Ping,
    Pong,
    Received,
    encode_frame,
)
from gennostr.testing import PUBLIC_KEY, FakeRelay, MemoryRelay, leaks
from gennostr.testing import relay_socket as kit
from gennostr.testing.relay_socket import compression_answer
from tests.client.recorder import Recording, note

MIB = 1024 * 1024
SIZES = (0, 16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072)
BITS = range(9, 16)
RSV1 = 4


@pytest.fixture(scope="module", autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Replace the check after every test, which takes longer than most of these tests."""
    before = leaks.Snapshot()
    yield
    leaks.check(before)


# What is agreed


@pytest.mark.parametrize(
    ("value", "extensions"),
    [
        ("", []),
        (" , ,", []),
        ("a", [("a", [])]),
        ("a,b", [("a", []), ("b", [])]),
        (" a ; x ; y=1 , b;z = 2", [("a", [("x", None), ("y", "1")]), ("b", [("z", "2")])]),
        ('a; x="10"', [("a", [("x", "10")])]),
        ('a; x="1\\0"', [("a", [("x", "10")])]),  # a quoted pair
        ("a; x; x=1", [("a", [("x", None), ("x", "1")])]),
        ("\ta\t;\tx\t", [("a", [("x", None)])]),
    ],
)
def test_a_header_is_parsed_as_rfc_6455_9_1_says(value: str, extensions: Any) -> None:
    assert parse_extensions(value) == extensions


@pytest.mark.parametrize(
    "value", ["a b", ";", "a;", "a; =1", "a; x=", "a; x=,b", 'a; x="', 'a; x=""', 'a; x="1 0"', 'a; x="1"2', "ä", "a=1"]
)
def test_a_header_that_is_not_of_the_grammar_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"unexpected|missing|quoted"):
        parse_extensions(value)
    with pytest.raises(ValueError, match="an invalid Sec-WebSocket-Extensions header"):
        agreed(value, offered=True)


AGREEMENTS: dict[str, Agreement] = {
    "": Agreement(),
    "; server_no_context_takeover": Agreement(server_no_context_takeover=True),
    "; client_no_context_takeover": Agreement(client_no_context_takeover=True),
    ";server_no_context_takeover;client_no_context_takeover": Agreement(True, True),  # noqa: FBT003
    **{f"; server_max_window_bits={bits}": Agreement(server_max_window_bits=bits) for bits in range(8, 16)},
    **{f'; client_max_window_bits="{bits}"': Agreement(client_max_window_bits=bits) for bits in range(8, 16)},
    "; server_max_window_bits=9; client_max_window_bits=10": Agreement(
        server_max_window_bits=9, client_max_window_bits=10
    ),
}


@pytest.mark.parametrize(("parameters", "agreement"), AGREEMENTS.items())
def test_the_relay_may_answer_the_offer_with_any_parameter(parameters: str, agreement: Agreement) -> None:
    """RFC 7692, 7.1: the server's own may be answered to any offer, client_max_window_bits since it was offered."""
    assert agreed(f"permessage-deflate{parameters}", offered=True) == agreement


@pytest.mark.parametrize("value", ["", " ", ",,  "])
def test_without_an_extension_in_the_answer_nothing_is_agreed(value: str) -> None:
    assert agreed(value, offered=True) is None
    assert agreed(value, offered=False) is None


REFUSED = {
    "x-made-up": "'x-made-up'",
    "permessage-deflate, x-made-up; a=1": "'x-made-up'",
    "x-webkit-deflate-frame": "'x-webkit-deflate-frame'",
    "Permessage-Deflate": "'Permessage-Deflate'",
    "permessage-deflate, permessage-deflate": "'permessage-deflate' twice",
    "permessage-deflate; x": "'x'",
    "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10": "'server_max_window_bits'.* twice",
    "permessage-deflate; client_no_context_takeover; client_no_context_takeover": "'client_no_context_t.* twice",
    "permessage-deflate; server_no_context_takeover=1": "'server_no_context_takeover'.* '1'",
    "permessage-deflate; client_no_context_takeover=true": "'client_no_context_takeover'.* 'true'",
    "permessage-deflate; server_max_window_bits": "'server_max_window_bits'.* no value",
    "permessage-deflate; client_max_window_bits": "'client_max_window_bits'.* no value",
    **{
        f"permessage-deflate; {side}_max_window_bits={value}": f"'{side}_max_window_bits'.* '{value}'"
        for side in ("server", "client")
        for value in ("7", "16", "0", "08", "015", "1", "-9", "9.0", "x")
    },
}


@pytest.mark.parametrize(("value", "named"), REFUSED.items(), ids=REFUSED)
def test_an_answer_that_was_not_offered_or_is_not_legal_is_refused_by_name(value: str, named: str) -> None:
    """RFC 6455, 4.1: the client fails the connection. RFC 7692, 5 and 7.1: unknown, duplicate, invalid parameters."""
    with pytest.raises(ValueError, match=named):
        agreed(value, offered=True)


def test_what_was_not_offered_is_refused_even_if_it_is_known() -> None:
    with pytest.raises(ValueError, match="'permessage-deflate', which was not requested"):
        agreed("permessage-deflate", offered=False)


# What is read


class Sender:
    """A relay's compressor: zlib itself."""

    def __init__(self, bits: int = 15, *, takeover: bool = True, level: int = 6, strategy: int = 0) -> None:
        self._parameters = (level, zlib.DEFLATED, -bits, 8, strategy)
        self._zlib = zlib.compressobj(*self._parameters)
        self._takeover = takeover

    def payload(self, message: bytes) -> bytes:
        data = self._zlib.compress(message) + self._zlib.flush(zlib.Z_SYNC_FLUSH)
        if not self._takeover:
            self._zlib = zlib.compressobj(*self._parameters)
        return data.removesuffix(TAIL)


def frame(opcode: int, payload: bytes, *, fin: bool = True, rsv: int = 0) -> bytes:
    return kit.encode_frame(opcode, payload, fin=fin, rsv=rsv)


def compressed(payload: bytes, opcode: int = TEXT) -> bytes:
    return frame(opcode, payload, rsv=RSV1)


def fragments(payload: bytes, size: int, opcode: int = TEXT, rsv: int = RSV1) -> list[bytes]:
    """The frames of one message, `size` bytes in each."""
    parts = [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]
    last = len(parts) - 1
    return [
        frame(CONTINUATION if at else opcode, part, fin=at == last, rsv=0 if at else rsv)
        for at, part in enumerate(parts)
    ]


def all_of(reader: FrameReader, data: bytes) -> list[Received]:
    received = reader.receive(data)
    while reader.pending:
        received += reader.receive(b"")
    return received


def read(*reads: bytes, limit: int = MIB, **inflater: Any) -> list[Any]:
    """What a reader makes of `reads`; a violation is its code."""
    reader = FrameReader(limit, Inflater(**inflater))
    received = [item for data in reads for item in all_of(reader, data)]
    return [item.code if isinstance(item, ProtocolError) else item for item in received]


def text(size: int, seed: int = 1) -> bytes:
    """JSON-like text that compresses by about half."""
    draw = random.Random(seed)
    words = [f'"{draw.randbytes(4).hex()}",' for _ in range(size // 11 + 1)]
    return "".join(words).encode()[:size]


@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", SIZES)
def test_messages_of_all_sizes(size: int, opcode: int, *, takeover: bool) -> None:
    """Autobahn, 12.1 to 12.5 and 13.1, 13.2, with fewer messages."""
    sender = Sender(takeover=takeover)
    messages = [text(size, seed) if opcode == TEXT else random.Random(seed).randbytes(size) for seed in range(5)]
    stream = b"".join(compressed(sender.payload(message), opcode) for message in messages)
    assert read(stream, no_context_takeover=not takeover) == messages


@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("bits", BITS)
def test_windows_of_all_sizes(bits: int, *, takeover: bool) -> None:
    """Autobahn, 13.3 to 13.6."""
    sender = Sender(bits, takeover=takeover)
    messages = [text(size) for size in SIZES]
    stream = b"".join(compressed(sender.payload(message)) for message in messages)
    assert read(stream, window_bits=bits, no_context_takeover=not takeover) == messages


@pytest.mark.parametrize("size", [1, 2, 256, 1024, 4096, 32768])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_fragments_of_all_sizes(size: int, level: int) -> None:
    """Autobahn, 12.1.11 to 12.1.18: a compressed message of 128 KiB, fragmented by the server."""
    sender = Sender(level=level)
    messages = [text(4096 if size < 256 else 131072), b"", text(100)]
    frames = [each for message in messages for each in fragments(sender.payload(message), size)]
    assert read(b"".join(frames)) == messages
    assert read(*frames) == messages


@pytest.mark.parametrize("strategy", [zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED, zlib.Z_FILTERED])
def test_blocks_of_all_kinds(strategy: int) -> None:
    sender = Sender(strategy=strategy)
    messages = [text(5000), bytes(5000)]
    assert read(*(compressed(sender.payload(message)) for message in messages)) == messages


HELLO = bytes.fromhex("f248cdc9c90700")


@pytest.mark.parametrize(
    ("payloads", "messages"),
    [
        pytest.param([HELLO], [b"Hello"], id="7.2.3.1"),
        pytest.param([HELLO, bytes.fromhex("f200110000")], [b"Hello"] * 2, id="7.2.3.2, sharing the window"),
        pytest.param([HELLO, HELLO], [b"Hello"] * 2, id="7.2.3.2, not using it"),
        pytest.param([bytes.fromhex("000500faff48656c6c6f00")], [b"Hello"], id="7.2.3.3, a stored block"),
        pytest.param([bytes.fromhex("f348cdc9c9070000")], [b"Hello"], id="7.2.3.4, BFINAL"),
        pytest.param([bytes.fromhex("f348cdc9c9070000"), HELLO], [b"Hello"] * 2, id="7.2.3.4, and a message after it"),
        pytest.param(
            [bytes.fromhex("f348cdc9c90700") + HELLO], [b"HelloHello"], id="7.2.3.4, in the middle of a message"
        ),
        pytest.param([bytes.fromhex("f248050000 00ffffcac9c90700")], [b"Hello"], id="7.2.3.5, two blocks"),
        pytest.param([b"\x00"], [b""], id="7.2.3.6, an empty message"),
        pytest.param(
            [HELLO, b"\x00", HELLO, b"\x02\x00"], [b"Hello", b"", b"Hello", b""], id="7.2.3.6, between others"
        ),
    ],
)
def test_the_examples_of_the_rfc(payloads: Sequence[bytes], messages: Sequence[bytes]) -> None:
    """RFC 7692, 7.2.3."""
    assert read(*map(compressed, payloads)) == messages
    assert read(*(b"".join(fragments(payload, 1)) for payload in payloads)) == messages


def test_the_fragments_of_the_rfc() -> None:
    assert read(bytes.fromhex("4103f248cd 8004c9c90700")) == [b"Hello"]


def test_a_final_block_ends_the_window_as_well() -> None:
    """A reference to before it is invalid: zlib resets at the end of a stream, and so does Chromium."""
    assert read(compressed(bytes.fromhex("f348cdc9c9070000")), compressed(bytes.fromhex("f200110000"))) == [
        b"Hello",
        1007,
    ]


def test_a_reference_beyond_the_agreed_window_is_1007() -> None:
    sender = Sender(15)
    messages = [text(2000) + bytes(3000), text(2000)]
    stream = [compressed(sender.payload(message)) for message in messages]
    assert read(*stream, window_bits=15) == messages
    assert read(*stream, window_bits=9) == [messages[0], 1007]


def test_a_reference_to_another_message_is_1007_if_no_takeover_was_agreed() -> None:
    sender = Sender()
    stream = compressed(sender.payload(b"Hello")) + compressed(sender.payload(b"Hello"))
    assert read(stream, no_context_takeover=True) == [b"Hello", 1007]


def test_messages_may_be_uncompressed_among_compressed_ones_and_are_not_in_the_window() -> None:
    sender = Sender()
    first, second = sender.payload(b"Hello"), sender.payload(b"Hello")
    stream = compressed(first) + frame(TEXT, b"x" * 200) + b"".join(fragments(b"plain", 2, rsv=0)) + compressed(second)
    assert read(stream) == [b"Hello", b"x" * 200, b"plain", b"Hello"]


def test_control_frames_may_come_between_compressed_fragments() -> None:
    first, last = fragments(HELLO, 4)
    assert read(first + frame(PING, b"a") + frame(PONG, b"b") + last) == [Ping(b"a"), Pong(b"b"), b"Hello"]


@pytest.mark.parametrize("opcode", [TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG])
def test_without_an_agreement_rsv1_is_1002(opcode: int) -> None:
    (item,) = FrameReader().receive(frame(opcode, HELLO, rsv=RSV1))
    assert isinstance(item, ProtocolError)
    assert (item.code, item.reason) == (1002, "reserved bits set")


@pytest.mark.parametrize("rsv", [1, 2, 3, 5, 6, 7])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE, PING, PONG])
def test_rsv2_and_rsv3_stay_1002(opcode: int, rsv: int) -> None:
    assert read(frame(opcode, HELLO, rsv=rsv)) == [1002]


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_compressed_control_frames_are_1002(opcode: int) -> None:
    """RFC 7692, 6.1: RSV1 is for data frames."""
    assert read(frame(opcode, HELLO, rsv=RSV1)) == [1002]


@pytest.mark.parametrize("rsv", [0, RSV1])
def test_rsv1_on_a_continuation_is_1002(rsv: int) -> None:
    """RFC 7692, 6.1: only the first fragment has it."""
    assert read(frame(TEXT, HELLO[:3], fin=False, rsv=rsv) + frame(CONTINUATION, HELLO[3:], rsv=RSV1)) == [1002]


@pytest.mark.parametrize("opcode", [3, 7, 11, 15])
def test_reserved_opcodes_stay_1002(opcode: int) -> None:
    assert read(frame(opcode, b"", rsv=RSV1)) == [1002]


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"\x07", id="a block of the reserved type"),
        pytest.param(b"\x00\x01\x00\x00\x00x", id="a stored block whose lengths do not match"),
        pytest.param(b"\x02\x02\x00", id="a reference to before the start"),
        pytest.param(b"plain text, marked as compressed", id="text"),
    ],
)
@pytest.mark.parametrize("size", [1, 100_000])
def test_invalid_data_is_1007(payload: bytes, size: int) -> None:
    assert read(b"".join(fragments(payload, size))) == [1007]


@pytest.mark.parametrize("size", [1, 3, 100_000])
@pytest.mark.parametrize("bad", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf"])
def test_text_that_is_not_utf8_is_1007_however_it_came(bad: bytes, size: int) -> None:
    """RFC 6455, 8.1, holds for what was inflated; a character may be cut by fragments, but not by the end."""
    payload = Sender().payload(b"good until here " + bad)
    assert read(b"".join(fragments(payload, size))) == [1007]
    assert read(b"".join(fragments(payload, size, BINARY))) == [b"good until here " + bad]
    euro = Sender().payload("€".encode())
    assert read(b"".join(fragments(euro, size))) == ["€".encode()]


# Limits


@pytest.mark.parametrize("size", [1, 1000, 100_000])
@pytest.mark.parametrize("limit", [0, 1, 100, 65_535, 65_536, 65_537, 200_000])
def test_a_message_as_big_as_allowed_is_delivered_and_a_bigger_one_is_1009(limit: int, size: int) -> None:
    for level in (0, 9):
        message = b"x" * limit
        frames = fragments(Sender(level=level).payload(message), size) if limit < 1000 or size > 1 else []
        assert read(b"".join(frames), limit=limit) == ([message] if frames else [])
        frames = fragments(Sender(level=level).payload(message + b"x"), size) if frames else []
        assert read(b"".join(frames), limit=limit) == ([1009] if frames else [])


@pytest.mark.parametrize("limit", [100, 70_000])
def test_a_message_that_cannot_be_compressed_may_be_as_big_as_allowed(limit: int) -> None:
    message = random.Random(1).randbytes(limit)
    payload = Sender().payload(message)
    assert len(payload) > limit
    assert read(compressed(payload, BINARY), limit=limit) == [message]


def test_a_frame_that_announces_much_more_than_the_limit_is_1009_before_its_payload() -> None:
    assert read(compressed(bytes(70_000))[:10], limit=1000) == [1009]
    first = frame(TEXT, HELLO[:3], fin=False, rsv=RSV1)
    assert read(first + frame(CONTINUATION, bytes(70_000))[:10], limit=1000) == [1009]


BOMB = Sender(level=9).payload(bytes(64 * MIB))
"""64 MiB of zeros."""


@pytest.mark.parametrize("size", [100, len(BOMB)])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_bomb_is_stopped_at_the_limit_while_it_is_inflated(opcode: int, size: int) -> None:
    assert len(BOMB) < 70_000
    limit = 5 * MIB
    reader = FrameReader(limit, Inflater())
    stream = b"".join(fragments(BOMB, size, opcode))
    tracemalloc.start()
    try:
        (item,) = reader.receive(stream)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(item, ProtocolError)
    assert (item.code, item.reason) == (1009, "message over 5242880 bytes")
    assert peak < 2 * limit
    assert held < MIB


def test_many_final_blocks_take_linear_time_and_memory() -> None:
    """Each ends zlib's stream: 8,000 in one message of 16 kB."""
    blocks = b"\x03\x00" * 8_000
    assert read(compressed(blocks + b"\x00"), compressed(HELLO)) == [b"", b"Hello"]


def test_a_read_that_inflates_to_much_is_delivered_in_parts() -> None:
    message = bytes(MIB)
    sender = Sender(level=9)
    stream = b"".join(compressed(sender.payload(message), BINARY) for _ in range(50)) + frame(PING, b"last")
    assert len(stream) < 2 * INFLATED
    reader = FrameReader(MIB, Inflater())
    received = reader.receive(stream)
    while reader.pending:
        assert received == [message]
        assert reader.inflated == MIB
        assert reader.buffered < len(stream)
        received = reader.receive(b"")
    assert received == [message, Ping(b"last")] or received == [Ping(b"last")]


def test_more_may_arrive_while_a_part_is_pending() -> None:
    sender = Sender()
    big, small = compressed(sender.payload(bytes(INFLATED)), BINARY), compressed(sender.payload(b"small"))
    reader = FrameReader(MIB, Inflater())
    assert reader.receive(big + big + small[:3]) == [bytes(INFLATED)]
    assert reader.pending
    assert reader.receive(small[3:] + frame(TEXT, b"late")) == [bytes(INFLATED)]
    assert reader.pending


def test_what_a_read_inflates_to_is_counted_with_its_messages() -> None:
    sender = Sender()
    reader = FrameReader(MIB, Inflater())
    reader.receive(compressed(sender.payload(bytes(1000)), BINARY) + frame(TEXT, b"plain"))
    assert (reader.inflated, reader.large) == (1000, False)
    reader.receive(compressed(sender.payload(b"x" * 70_000)))
    assert (reader.inflated, reader.large) == (70_000, True)
    reader.receive(frame(TEXT, b"plain"))
    assert (reader.inflated, reader.large) == (0, False)


# Any stream, cut anywhere


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[bytes], dict[str, Any]]:
    """A stream of messages, these, and the parameters of their inflater."""
    takeover, bits = draw(st.booleans()), draw(st.sampled_from(BITS))
    sender = Sender(bits, takeover=takeover)
    messages = draw(st.lists(st.text(max_size=300).map(str.encode) | st.sampled_from([text(5000), b"", b"x" * 70_000])))
    frames: list[bytes] = []
    for message in messages:
        plain = draw(st.booleans())
        payload = message if plain else sender.payload(message)
        frames += fragments(payload, draw(st.integers(50, 3000)), rsv=0 if plain else RSV1)
    return b"".join(frames), messages, {"window_bits": bits, "no_context_takeover": not takeover}


@settings(deadline=None, max_examples=60)
@given(streams(), st.lists(st.integers(0, 10_000), max_size=5))
def test_a_legal_stream_says_the_same_however_it_is_cut(stream: Any, places: list[int]) -> None:
    data, messages, parameters = stream
    assert read(data, **parameters) == messages
    cuts = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    assert read(*(data[begin:end] for begin, end in pairwise(cuts)), **parameters) == messages


@settings(deadline=None, max_examples=200)
@given(st.lists(st.binary(max_size=60), max_size=5), st.integers(1, 70))
def test_any_payload_is_what_zlib_makes_of_it(payloads: list[bytes], size: int) -> None:
    expected: list[Any] = []
    inflate = zlib.decompressobj(-15)
    for payload in payloads:
        out, rest = b"", payload + TAIL
        try:
            while rest:
                out += inflate.decompress(rest)
                rest = inflate.unused_data
                if inflate.eof:
                    inflate = zlib.decompressobj(-15)
        except zlib.error:
            expected.append(1007)
            break
        expected.append(out)
    frames = [b"".join(fragments(payload, size, BINARY)) for payload in payloads]
    assert read(*frames) == expected
    assert read(*(compressed(payload, BINARY) for payload in payloads)) == expected


# What is sent


@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("bits", BITS)
def test_what_is_compressed_keeps_to_the_agreed_window(bits: int, *, takeover: bool) -> None:
    deflater = Deflater(bits, no_context_takeover=not takeover)
    inflater = Inflater(bits, no_context_takeover=not takeover)
    for message in [text(size) for size in SIZES if size] * 2:
        payload = deflater.message(message)
        if payload is not None:
            assert len(payload) < len(message)
            assert inflater.message(payload, MIB) == message


def test_with_takeover_a_message_refers_to_the_one_before() -> None:
    kept, fresh = Deflater(), Deflater(no_context_takeover=True)
    sizes = [[len(each.message(text(2000)) or b"") for _ in range(2)] for each in (kept, fresh)]
    assert sizes[0][1] < sizes[0][0] / 10
    assert sizes[1][1] == sizes[1][0]


def test_with_a_window_of_8_bits_nothing_is_compressed() -> None:
    """zlib cannot keep to it. RFC 7692, 6: a sender may send any message as it is."""
    assert Deflater(8).message(bytes(10_000)) is None


def test_what_would_not_become_smaller_is_not_compressed_nor_referred_to() -> None:
    deflater, inflater = Deflater(), Inflater()
    random_data = random.Random(1).randbytes(2000)
    assert deflater.message(random_data) is None
    payload = deflater.message(random_data + bytes(2000))
    assert payload is not None
    assert inflater.message(payload, MIB) == random_data + bytes(2000)


def test_after_a_rest_nothing_before_it_is_referred_to() -> None:
    deflater = Deflater()
    deflater.message(text(2000))
    deflater.rest()
    payload = deflater.message(text(2000))
    assert payload is not None
    assert Inflater().message(payload, MIB) == text(2000)


def test_a_compressed_frame_has_rsv1() -> None:
    for size in (10, 200, 70_000):
        data = encode_frame(TEXT, bytes(size), compressed=True)
        assert data[0] == 0xC1
        assert data[1:] == encode_frame(TEXT, bytes(size), data[-size - 4 : -size])[1:]


# With a relay


def bytes_sent(client: Recording, peer: Any, url: str) -> int:
    """What the client has counted when it answers a ping: all that it sent before, for one thread does both."""
    peer.ping()
    while peer.receive_frame().opcode != PONG:
        pass
    return client.feed.relay_statistics()[url].bytes_sent


def long_note(number: int = 0) -> dict[str, Any]:
    return note(json.dumps([f"{number}: a sentence that is repeated"] * 100))


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        True,
        "permessage-deflate",
        'permessage-deflate; server_no_context_takeover; server_max_window_bits="9"',
        "permessage-deflate; client_no_context_takeover; client_max_window_bits=9",
        "permessage-deflate; client_max_window_bits=8",
    ],
)
def test_messages_are_compressed_both_ways_as_agreed(*, answer: bool | str, tls: bool) -> None:
    with (
        FakeRelay(compression=answer, tls=tls) as relay,
        Recording(urls=[relay.url], options={"websocket": relay.websocket}) as client,
    ):
        peer = relay.accept()
        assert f"Sec-WebSocket-Extensions: {OFFER}" in peer.request.split("\r\n")
        client.expect("connect")
        received = [long_note(number) for number in range(3)]
        for event in received:
            peer.event("feed", event)
        assert [client.expect("event").value.event.content for _ in received] == [e["content"] for e in received]
        sent = [["EVENT", long_note(number)] for number in range(3)]
        for message in sent:
            client.feed.broadcast_message(message)
        assert [peer.receive() for _ in sent] == sent
        size = len(json.dumps(sent, separators=(",", ":")))
        size_sent = bytes_sent(client, peer, relay.url)
        statistics = client.feed.relay_statistics()[relay.url]
        assert statistics.bytes_received < size / 3
        if answer == "permessage-deflate; client_max_window_bits=8":
            assert size_sent > size * 0.9
        else:
            assert size_sent < size / 3
        assert (statistics.messages_received, statistics.messages_sent) == (3, 3)


def test_small_messages_are_sent_as_they_are() -> None:
    small = json.dumps(["CLOSE", "x" * (THRESHOLD - 16)], separators=(",", ":"))
    assert len(small) < THRESHOLD
    with FakeRelay(compression=True) as relay, Recording(urls=[relay.url]) as client:
        peer = relay.accept()
        client.expect("connect")
        client.feed.broadcast_message(small)
        peer.expect_close()
        assert bytes_sent(client, peer, relay.url) > len(small)


def test_a_relay_that_does_not_answer_the_offer_gets_plain_messages() -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url]) as client:
        peer = relay.accept()
        client.expect("connect")
        client.feed.broadcast_message(["EVENT", long_note()])
        assert peer.receive() == ["EVENT", long_note()]
        peer.send_frame(TEXT, HELLO, rsv=RSV1)
        assert client.expect("error").value.code == 1002


def test_without_compression_nothing_is_offered_and_the_answer_is_refused() -> None:
    with (
        FakeRelay(compression="permessage-deflate") as relay,
        Recording(urls=[relay.url], options={"compression": False}, reconnect=False) as client,
    ):
        assert "sec-websocket-extensions" not in relay.accept().request.lower()
        error = client.expect("error").value
        assert isinstance(error, HandshakeError)
        assert "'permessage-deflate', which was not requested" in str(error)


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ("Sec-WebSocket-Extensions: x-made-up", "x-made-up"),
        ("sec-websocket-extensions:permessage-deflate ; server_max_window_bits=7 ", "server_max_window_bits"),
        ("Sec-WebSocket-Extensions: permessage-deflate\r\nSec-Websocket-Extensions: permessage-deflate", "twice"),
    ],
)
def test_a_wrong_answer_fails_the_handshake_by_name(headers: str, named: str) -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url], reconnect=False) as client:
        peer = relay.accept_raw()
        peer.read_request()
        first, _, rest = headers.partition(":")
        peer.upgrade(headers={first: rest.strip(" ")})
        error = client.expect("error").value
        assert isinstance(error, HandshakeError)
        assert named in str(error)
        assert client.expect("disconnect").value is error


def test_a_bomb_ends_the_connection_with_1009() -> None:
    with FakeRelay(compression=True) as relay, Recording(urls=[relay.url], reconnect=False) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.send_frame(TEXT, BOMB, rsv=RSV1)
        error = client.expect("error").value
        assert isinstance(error, ProtocolError)
        assert error.code == 1009
        assert peer.expect_close_frame().code == 1009


def test_invalid_data_ends_the_connection_with_1007() -> None:
    with FakeRelay(compression=True) as relay, Recording(urls=[relay.url], reconnect=False) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.send_frame(TEXT, b"\x07", rsv=RSV1)
        assert client.expect("error").value.code == 1007
        assert peer.expect_close_frame().code == 1007


MANY = 200


def many(sender: Sender, count: int = MANY) -> bytes:
    """One read of events that have 128 KiB each when inflated, then EOSE."""
    messages = [json.dumps(["EVENT", "feed", note("x" * INFLATED)]).encode()] * count
    data = b"".join(compressed(sender.payload(message)) for message in messages)
    return data + compressed(sender.payload(b'["EOSE","feed"]'))


@pytest.mark.parametrize("tls", [False, True])
def test_a_read_that_inflates_a_thousandfold_waits_for_the_client(*, tls: bool) -> None:
    """It is inflated as fast as the client handles it: what is undelivered is bounded as without compression."""
    undelivered: list[int] = []
    with (
        FakeRelay(compression=True, tls=tls) as relay,
        Recording(
            urls=[relay.url],
            options={"websocket": relay.websocket},
            event=lambda client, relay: undelivered.append(client.relay_statistics()[relay.url].undelivered),
        ) as client,
    ):
        peer = relay.accept()
        client.expect("connect")
        peer.raw(many(Sender(level=9)))
        peer.disconnect()  # a failure that was read is handled after all that came before it
        client.expect(*["event"] * MANY, "eose", "error", "disconnect")
    assert len(undelivered) == MANY
    assert max(undelivered) < Credit.MAX_BYTES + 3 * INFLATED


def test_what_was_read_is_delivered_before_a_failure_to_write() -> None:
    def write(client: Any, relay: Any) -> None:
        client.send_message(["EVENT", note(text(5000).hex())], relay)

    with FakeRelay(compression=True) as relay, Recording(urls=[relay.url], event=write, reconnect=False) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.raw(many(Sender(level=9), 40))
        client.expect("event")  # all was read at once: it has 10 kB
        peer.drop()
        client.expect(*["event"] * 39, "eose", "error", "disconnect")


def test_a_turn_to_inflate_that_does_not_come_is_not_waited_for() -> None:
    """In a process forked while a connection inflated, it never comes."""
    with FakeRelay(compression=True) as relay, Recording(urls=[relay.url]) as client:
        peer = relay.accept()
        client.expect("connect")
        with TURN_TO_INFLATE:
            peer.event("feed", long_note())
            client.expect("event")


def test_a_relay_is_removed_while_a_read_is_still_inflated() -> None:
    def remove(client: Any, relay: Any) -> None:
        client.remove_relay(relay)

    with FakeRelay(compression=True) as relay, Recording(urls=[relay.url], event=remove) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.raw(many(Sender(level=9)))
        client.expect("event", "disconnect")
        assert peer.expect_close_frame().code == 1000


def test_a_deflater_is_dropped_when_the_relay_is_silent() -> None:
    with (
        FakeRelay(compression=True) as relay,
        Recording(urls=[relay.url], options={"ping_interval": 0.05}) as client,
    ):
        peer = relay.accept()
        client.expect("connect")
        message = ["EVENT", note(text(3000).hex())]
        client.feed.broadcast_message(message)
        assert peer.receive() == message
        assert peer.receive_frame().opcode == PING  # so it was silent
        before = bytes_sent(client, peer, relay.url)
        client.feed.broadcast_message(message)
        assert peer.skip_to("EVENT") == message
        # As large as the first, for it refers to nothing: with the window, or uncompressed, it would not be.
        assert before * 0.8 < bytes_sent(client, peer, relay.url) - before < before * 1.2


def test_the_extension_is_the_librarys_to_offer() -> None:
    for headers in ({"Sec-WebSocket-Extensions": "x"}, ["X: 1", "sec-websocket-extensions : permessage-deflate"]):
        with pytest.raises(ValueError, match=r"Sec-WebSocket-Extensions.*compression"):
            Options(websocket={"headers": headers})


@pytest.mark.parametrize("value", [None, 1, "yes"])
def test_compression_is_true_or_false(value: Any) -> None:
    with pytest.raises(TypeError, match="compression must be True or False, not"):
        Options(compression=value)


# The relays of the test kit


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate", "permessage-deflate"),
        (OFFER, "permessage-deflate"),
        ("x-made-up, permessage-deflate", "permessage-deflate"),
        ("permessage-deflate; client_max_window_bits=10", "permessage-deflate; client_max_window_bits=10"),
        (
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12",
        ),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", "permessage-deflate"),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; x", None),
        ("permessage-deflate; client_no_context_takeover; client_no_context_takeover", None),
        ("x-made-up", None),
        (";", None),
    ],
)
def test_the_kits_relays_accept_the_first_legal_offer(offer: str, answer: str | None) -> None:
    """RFC 7692, 5 and 7.1; Autobahn, 13.7, offers several."""
    assert compression_answer(f"GET / HTTP/1.1\r\nSec-WebSocket-Extensions: {offer}\r\nX: y") == answer


def test_a_memory_relay_compresses_both_ways() -> None:
    with MemoryRelay(compression=True) as relay, Recording(urls=[relay.url]) as client:
        stored = [relay.store(content=f"{number} hello " * 100) for number in range(10)]
        client.expect("connect")
        client.feed.broadcast_message(["REQ", "feed", {"authors": [PUBLIC_KEY] * 50}])
        for _ in stored:
            client.expect("event")
        client.expect("eose")
        statistics = client.feed.relay_statistics()[relay.url]
        assert statistics.bytes_received < 10 * 800 / 2
        assert statistics.bytes_sent < 50 * 64 / 2
