"""The Autobahn test suite's cases for clients, chapters 1 to 7, 9 and 10, as a table of streams.

Each is read whole, and in small reads. The numbers are the suite's; 12 and 13 are in `tests.client.test_compression`.
"""

import struct
from functools import cache
from typing import Any

import pytest

from gennostr.client.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Close, FrameReader, Ping, Pong
from gennostr.exceptions import ProtocolError
from tests.client.test_frames import fragments, frame

Case = tuple[str, bytes, list[Any]]
"""Number, stream, and what is to come of it; a number stands for the code of a violation."""

GREETING = "Hello-µ@ßöäüàá-UTF-8!!".encode()
BAD = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"


def close(code: int | None, reason: bytes = b"") -> bytes:
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


def message(opcode: int, *parts: bytes) -> bytes:
    return b"".join(fragments(opcode, parts))


def lengths() -> list[Case]:
    """1.1 and 1.2: text and binary of each form of length."""
    sizes = (0, 125, 126, 127, 128, 65535, 65536, 65536)
    return [
        (f"1.{chapter}.{number}", frame(opcode, b"*" * size), [b"*" * size])
        for chapter, opcode in ((1, TEXT), (2, BINARY))
        for number, size in enumerate(sizes, 1)
    ]


def pings() -> list[Case]:
    """2: pings of up to 125 bytes, pongs that answer nothing, and ten pings at once."""
    binary = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
    several = [f"payload-{number}".encode() for number in range(10)]
    return [
        ("2.1", frame(PING, b""), [Ping(b"")]),
        ("2.2", frame(PING, b"Hello, world!"), [Ping(b"Hello, world!")]),
        ("2.3", frame(PING, binary), [Ping(binary)]),
        ("2.4", frame(PING, b"\xfe" * 125), [Ping(b"\xfe" * 125)]),
        ("2.5", frame(PING, b"\xfe" * 126), [1002]),
        ("2.6", frame(PING, b"\xfe" * 125), [Ping(b"\xfe" * 125)]),
        ("2.7", frame(PONG, b""), [Pong(b"")]),
        ("2.8", frame(PONG, b"unsolicited pong payload"), [Pong(b"unsolicited pong payload")]),
        ("2.9", frame(PONG, b"unsolicited") + frame(PING, b"ping"), [Pong(b"unsolicited"), Ping(b"ping")]),
        *(
            (number, b"".join(frame(PING, each) for each in several), [Ping(each) for each in several])
            for number in ("2.10", "2.11")
        ),
    ]


def reserved() -> list[Case]:
    """3 and 4: reserved bits and opcodes, alone and after a message."""
    hello = frame(TEXT, b"Hello, world!")
    after = [b"Hello, world!", 1002]
    return [
        ("3.1", frame(TEXT, b"Hello, world!", rsv=1), [1002]),
        ("3.2", hello + frame(TEXT, b"Hello, world!", rsv=2) + frame(PING, b""), after),
        ("3.3", hello + frame(TEXT, b"Hello, world!", rsv=3) + frame(PING, b""), after),
        ("3.4", hello + frame(TEXT, b"Hello, world!", rsv=4) + frame(PING, b""), after),
        ("3.5", frame(BINARY, b"\x00\xff\xfe", rsv=5), [1002]),
        ("3.6", frame(PING, b"Hello, world!", rsv=6), [1002]),
        ("3.7", frame(CLOSE, b"", rsv=7), [1002]),
        *(
            (f"4.{chapter}.{number}", before + frame(opcode, payload) + frame(PING, b""), [*first, 1002])
            for chapter, opcodes in ((1, range(3, 8)), (2, range(11, 16)))
            for number, (opcode, payload) in enumerate(zip(opcodes, (b"", b"x", b"", b"x", b""), strict=True), 1)
            for before, first in ([(b"", [])] if number <= 2 else [(hello, [b"Hello, world!"])])
        ),
    ]


def fragmented() -> list[Case]:
    """5: fragments, and what may come between them."""
    one, two = fragments(TEXT, [b"fragment1", b"fragment2"])
    whole, ping = [b"fragment1fragment2"], frame(PING, b"ping")
    lone, lone_first = frame(CONTINUATION, b"non-continuation"), frame(CONTINUATION, b"non-continuation", fin=False)
    third = fragments(TEXT, [b"fragment1", b"fragment2", b"fragment3"])
    return [
        ("5.1", b"".join(fragments(PING, [b"fragment1", b"fragment2"])), [1002]),
        ("5.2", b"".join(fragments(PONG, [b"fragment1", b"fragment2"])), [1002]),
        *((f"5.{number}", one + two, whole) for number in (3, 4, 5)),
        *((f"5.{number}", one + ping + two, [Ping(b"ping"), *whole]) for number in (6, 7, 8)),
        *((f"5.{number}", lone + frame(TEXT, b"Hello, world!"), [1002]) for number in (9, 10, 11)),
        *((f"5.{number}", lone_first + frame(TEXT, b"Hello, world!"), [1002]) for number in (12, 13, 14)),
        ("5.15", one + two + lone_first + frame(TEXT, b"x"), [*whole, 1002]),
        ("5.16", lone_first + one + two, [1002]),
        ("5.17", lone + one + two, [1002]),
        ("5.18", one + frame(TEXT, b"fragment2"), [1002]),
        *(
            (
                f"5.{number}",
                third[0] + ping + third[1] + ping + third[2],
                [Ping(b"ping")] * 2 + [b"".join((b"fragment1", b"fragment2", b"fragment3"))],
            )
            for number in (19, 20)
        ),
    ]


VALID = [
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5",
    b"\x00",
    b"\xc2\x80",
    b"\xe0\xa0\x80",
    b"\xf0\x90\x80\x80",
    b"\x7f",
    b"\xdf\xbf",
    b"\xef\xbf\xbf",
    b"\xf4\x8f\xbf\xbf",
    b"\xed\x9f\xbf",
    b"\xee\x80\x80",
    b"\xef\xbf\xbd",
    *(f"{chr(plane << 16 | low)}".encode() for plane in range(17) for low in (0xFFFE, 0xFFFF)),
]
"""6.5, 6.7, 6.9, 6.11, 6.22, 6.23: first and last characters of each length, and noncharacters."""

INVALID = [
    BAD,
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xf7\xbf\xbf\xbf",
    b"\xfb\xbf\xbf\xbf\xbf",
    b"\xfd\xbf\xbf\xbf\xbf\xbf",
    b"\xf4\x90\x80\x80",
    *(b"\x80\xbf"[: size % 2 + 1] * (size // 2 + 1) for size in range(8)),
    *(bytes([lead, 0x20]) for lead in (*range(0xC0, 0xE0), *range(0xE0, 0xF0), *range(0xF0, 0xFE))),
    *(b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf"),
    *(b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"),
    *(b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf"),
    *(b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80"),
    *(
        b"\xed\xa0\x80",
        b"\xed\xad\xbf",
        b"\xed\xae\x80",
        b"\xed\xaf\xbf",
        b"\xed\xb0\x80",
        b"\xed\xbe\x80",
        b"\xed\xbf\xbf",
    ),
    b"\xed\xa0\x80\xed\xb0\x80",
]
"""6.3, 6.4, 6.6, 6.8, 6.10, 6.12 to 6.21: too long, cut, overlong, surrogates, impossible bytes."""


def utf8() -> list[Case]:
    """6: text in one frame, in fragments, and cut within characters."""
    return [
        ("6.1.1", frame(TEXT, b""), [b""]),
        ("6.1.2", message(TEXT, b"", b"", b""), [b""]),
        ("6.1.3", message(TEXT, b"", b"middle frame payload", b""), [b"middle frame payload"]),
        ("6.2.1", frame(TEXT, GREETING), [GREETING]),
        ("6.2.2", message(TEXT, GREETING[:9], GREETING[9:]), [GREETING]),
        ("6.2.3", message(TEXT, *(bytes([each]) for each in GREETING)), [GREETING]),
        *((f"6 valid {text!r}", frame(TEXT, text), [text]) for text in VALID),
        *(
            (f"6 valid {text!r} in parts", message(TEXT, *(bytes([each]) for each in text), b""), [text])
            for text in VALID
        ),
        *((f"6 invalid {text!r}", frame(TEXT, text), [1007]) for text in INVALID),
        *(
            (f"6 invalid {text!r} in parts", message(TEXT, *(bytes([each]) for each in text), b""), [1007])
            for text in INVALID
        ),
        ("6 binary", frame(BINARY, BAD), [BAD]),
    ]


def closes() -> list[Case]:
    """7: closing, what follows a close frame, its code and its reason."""
    hello = frame(TEXT, b"Hello World!")
    ended = Close(1000, "")
    return [
        ("7.1.1", hello + close(1000), [b"Hello World!", ended]),
        ("7.1.2", close(1000) + close(1000), [ended]),
        ("7.1.3", close(1000) + frame(PING, b""), [ended]),
        ("7.1.4", close(1000) + hello, [ended]),
        ("7.1.5", fragments(TEXT, [b"fragment1", b"x"])[0] + close(1000) + frame(CONTINUATION, b"x"), [ended]),
        ("7.1.6", frame(TEXT, b"BAsd7&jh23" * 26214) + close(1000), [b"BAsd7&jh23" * 26214, ended]),
        ("7.3.1", close(None), [Close(None, "")]),
        ("7.3.2", frame(CLOSE, b"a"), [1002]),
        ("7.3.3", close(1000), [ended]),
        ("7.3.4", close(1000, b"Hello World!"), [Close(1000, "Hello World!")]),
        ("7.3.5", close(1000, b"*" * 123), [Close(1000, "*" * 123)]),
        ("7.3.6", close(1000, b"*" * 124), [1002]),
        ("7.5.1", close(1000, BAD), [1007]),
        *(
            (f"7.7 {code}", close(code), [Close(code, "")])
            for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
        ),
        *((f"7.9 {code}", close(code), [1002]) for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999)),
        *((f"7.13 {code}", close(code), [1002]) for code in (5000, 65535)),
    ]


@cache
def large() -> list[Case]:
    """9 and 10: messages of up to 4 MiB, in frames from 64 bytes up, and automatic fragmentation."""
    size = 4 << 20
    text = b"*" * size
    return [
        *((f"9.{chapter}", frame(opcode, text), [text]) for chapter, opcode in ((1, TEXT), (2, BINARY))),
        *(
            (f"9.{chapter} in {part}", message(opcode, *([b"*" * part] * (size // part))), [text])
            for chapter, opcode in ((3, TEXT), (4, BINARY))
            for part in (64, 4096, 262144, size)
        ),
        ("10.1.1", message(TEXT, *([b"*" * 1300] * 50), b"*" * 536), [b"*" * 65536]),
    ]


def outcome(stream: bytes, step: int) -> list[Any]:
    reader = FrameReader()
    found = [item for at in range(0, len(stream), step) for item in reader.receive(stream[at : at + step])]
    return [item.code if isinstance(item, ProtocolError) else item for item in found]


SMALL = [*pings(), *reserved(), *fragmented(), *utf8(), *closes()]


@pytest.mark.parametrize(("number", "stream", "expected"), SMALL, ids=[case[0] for case in SMALL])
def test_a_case_of_the_suite(number: str, stream: bytes, expected: list[Any]) -> None:
    for step in (len(stream), 7, 1) if len(stream) < 1_000 else (len(stream), 997):
        assert outcome(stream, step) == expected, (number, step)


@pytest.mark.parametrize("number", range(len(lengths() + large())))
def test_a_case_of_large_messages(number: int) -> None:
    """9.5 to 9.8 are the same messages in reads of 256 to 2048 bytes."""
    name, stream, expected = (lengths() + large())[number]
    for step in (len(stream), 1_024):
        assert outcome(stream, step) == expected, (name, step)
