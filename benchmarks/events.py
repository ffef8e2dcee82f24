"""The events that the benchmarks send: signed, of realistic sizes, and the same in every run.

Of ten events, four are notes of a line or two, three are reactions (two tags, one character), two are replies with a
handful of tags, and one is long. Messages have 864 bytes on average; the events are by 400 authors. `notes` are
shorter, and all alike.
"""

import random
from functools import cache

import msgspec

from gennostr.nostr import Event, sign

COUNT = 20_000
NOTES = 5_000
SUBSCRIPTION = "benchmark"
_AUTHORS = 400
_WORDS = [
    *("zap", "relay", "note", "the", "of", "a", "nostr", "\u26a1", "client", "to", "and", "key", "signed"),
    *('"quoted"', "https://example.com/image.png", "so", "it\n"),
]


def _text(source: random.Random, length: int) -> str:
    words: list[str] = []
    size = 0
    while size < length:
        words.append(source.choice(_WORDS))
        size += len(words[-1]) + 1
    return " ".join(words)


def _hex(source: random.Random) -> str:
    return source.randbytes(32).hex()


@cache
def signed(count: int = COUNT) -> list[Event]:
    """Return `count` signed events."""
    source = random.Random(1)
    keys = [source.randbytes(32) for _ in range(_AUTHORS)]
    events = []
    for number in range(count):
        what = source.random()
        kind, tags = 1, []
        if what < 0.4:
            content = _text(source, source.randint(40, 280))
        elif what < 0.7:
            kind, content = 7, "+"
            tags = [["e", _hex(source), "wss://relay.example.com"], ["p", _hex(source)]]
        elif what < 0.9:
            content = _text(source, source.randint(40, 500))
            tags = [["e", _hex(source), "", "root"], *(["p", _hex(source)] for _ in range(source.randint(2, 12)))]
        else:
            kind, content = 30023, _text(source, source.randint(800, 2705))
            tags = [["d", _hex(source)], ["title", _text(source, 40)], *(["t", "nostr"] for _ in range(5))]
        key, created_at = source.choice(keys), 1_790_000_000 + number
        events.append(sign(key, created_at=created_at, kind=kind, content=content, tags=tags))
    return events


@cache
def notes() -> list[Event]:
    """Return NOTES signed notes of a line or two with at most one tag: messages of 450 bytes on average."""
    source = random.Random(2)
    keys = [source.randbytes(32) for _ in range(_AUTHORS)]
    events = []
    for number in range(NOTES):
        tags = source.choice(([], [["t", "nostr"]], [["p", _hex(source)]]))
        content, created_at = _text(source, source.randint(20, 100)), 1_790_000_000 + number
        events.append(sign(source.choice(keys), created_at=created_at, kind=1, content=content, tags=tags))
    return events


def text(event: Event, subscription: str = SUBSCRIPTION) -> bytes:
    """Return the message that delivers `event` to `subscription`."""
    return msgspec.json.encode(["EVENT", subscription, event])


def alphabetical(event: Event) -> bytes:
    """Return the same message with the event's fields in alphabetical order, in which strfry and others send them."""
    return msgspec.json.encode(["EVENT", SUBSCRIPTION, event], order="sorted")


def frame(payload: bytes, *, compressed: bool = False) -> bytes:
    """Return a final text frame, as a relay sends it."""
    size = len(payload)
    first = b"\xc1" if compressed else b"\x81"
    if size < 126:
        return first + bytes((size,)) + payload
    if size < 65536:
        return first + b"\x7e" + size.to_bytes(2, "big") + payload
    return first + b"\x7f" + size.to_bytes(8, "big") + payload
