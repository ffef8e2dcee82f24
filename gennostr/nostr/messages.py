"""What a relay sends (NIP-01, 42, 45): typed messages, decoded from a frame's bytes.

Lenient where relays differ: what is optional may be missing at the end, and what is unknown may follow. An array that
begins with another string is an `UnknownMessage`; anything else is a `MessageError`.

A value, an empty tag say, takes three bytes on the wire and seventy here. So a long message may have MAX_VALUES of them
at most: 5 MiB could else become 130.

The decoder does not check UTF-8 inside what it skips (unknown fields of an event, elements after the last one it
knows); the transport checks the whole text, and closes on what is not UTF-8, before it is decoded.
"""

import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec

from gennostr.exceptions import MessageError
from gennostr.nostr.event import Event

# Any single word, not only those that NIP-01 and 42 list: other NIPs and relays add theirs. A relay that sends plain
# prose may so appear to have a prefix: compare it with the word you expect.
_PREFIX = re.compile(r"([a-z][a-z-]*): ")


class EventMessage(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="EVENT"):
    """An event for a subscription."""

    subscription_id: str
    event: Event


class EoseMessage(msgspec.Struct, frozen=True, array_like=True, tag="EOSE"):
    """All stored events of a subscription were sent; `hints` as NIP-67 has them, or None."""

    subscription_id: str
    hints: Any = None

    def __hash__(self) -> int:
        return hash(self.subscription_id)  # the hints may have no hash


class OkMessage(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="OK"):
    """An event was accepted, or why not."""

    event_id: str
    accepted: bool
    message: str = ""

    @property
    def prefix(self) -> str | None:
        """The machine-readable word before ": ", such as "duplicate" or "auth-required"."""
        match = _PREFIX.match(self.message)
        return match[1] if match else None


class ClosedMessage(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="CLOSED"):
    """A subscription was ended by the relay."""

    subscription_id: str
    message: str = ""

    @property
    def prefix(self) -> str | None:
        """The machine-readable word before ": ", such as "error" or "restricted"."""
        match = _PREFIX.match(self.message)
        return match[1] if match else None


class NoticeMessage(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="NOTICE"):
    """A text for humans."""

    message: str


class AuthMessage(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="AUTH"):
    """A challenge to sign (NIP-42)."""

    challenge: str


class CountResult(msgspec.Struct, frozen=True, gc=False):
    """The object of a COUNT."""

    count: int
    approximate: bool = False
    hll: str | None = None


class CountMessage(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="COUNT"):
    """How many events match (NIP-45)."""

    subscription_id: str
    result: CountResult

    @property
    def count(self) -> int:
        """The number."""
        return self.result.count

    @property
    def approximate(self) -> bool:
        """Whether the relay says that it is an estimate."""
        return self.result.approximate

    @property
    def hll(self) -> str | None:
        """The HyperLogLog registers (hex), if the relay gave them."""
        return self.result.hll


class UnknownMessage(msgspec.Struct, frozen=True):
    """Any other array that begins with a string."""

    label: str
    arguments: tuple[Any, ...]

    def __hash__(self) -> int:
        return hash((self.label, len(self.arguments)))  # lists and objects have no hash


_Known: TypeAlias = EventMessage | EoseMessage | OkMessage | ClosedMessage | NoticeMessage | AuthMessage | CountMessage
RelayMessage: TypeAlias = _Known | UnknownMessage

LARGE: Final = 65_536
"""Bytes from which on a message's values are counted before it is decoded: what is smaller cannot hold many."""
MAX_VALUES: Final = 65_536
"""Arrays, strings and so on in one message; an event with 20,000 tags of two strings has 60,020 or so."""

# A string, as far as it goes: where its end is missing, to the end. Possessive, so that no input takes it long.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_STRINGS = re.compile(rb'(?:[^"]{0,65536}+"[^"\\]*+(?:\\.[^"\\]*+)*+"?){1,1000}+', re.DOTALL)
_LABELS = frozenset({"EVENT", "EOSE", "OK", "CLOSED", "NOTICE", "AUTH", "COUNT"})
decode_known: Callable[[bytes | bytearray | memoryview], _Known] = msgspec.json.Decoder(_Known).decode
"""`decode` for who falls back to it, and gives it what is LARGE: quick, and raises whatever msgspec does."""
_decode_any = msgspec.json.Decoder(list[Any]).decode
# ValueError: UnicodeDecodeError, and numbers of more digits than int takes.
_UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)


def decode(data: bytes | bytearray | memoryview) -> RelayMessage:
    """Return the message in one frame's payload.

    Raises:
        MessageError: it is not one; the message has the reason and the first bytes.

    """
    if len(data) >= LARGE and _has_too_many_values(bytes(data)):
        raise _error(f"over {MAX_VALUES} values", data)
    try:
        return decode_known(data)
    except msgspec.ValidationError as error:
        problem = str(error)
    except _UNREADABLE as error:
        raise _error(str(error), data) from None
    # JSON as far as it was read, but none of our types: read it whole, and let the label tell an unknown message
    # from a broken one.
    try:
        parts = _decode_any(data)
    except _UNREADABLE as error:
        raise _error(str(error), data) from None
    if not parts or not isinstance(parts[0], str) or parts[0] in _LABELS:
        raise _error(problem, data)
    return UnknownMessage(parts[0], tuple(parts[1:]))


def _has_too_many_values(data: bytes) -> bool:
    # Each value but the first has a comma or a bracket before it. First a count that strings can only make too high.
    if data.count(b",") + data.count(b"[") + data.count(b"{") <= MAX_VALUES:
        return False
    # Then without the strings; a thousand at a time, for sub() keeps all that it takes out a while, and none is copied.
    view = memoryview(data)
    values = at = 0
    while at < len(data) and values <= MAX_VALUES:
        run = _STRINGS.match(data, at)
        end = at + LARGE if run is None else run.end()
        bare = data[at:end] if run is None else _STRING.sub(b"", view[at:end])
        values += bare.count(b",") + bare.count(b"[") + bare.count(b"{")
        at = end
    return values > MAX_VALUES


def _error(problem: str, data: bytes | bytearray | memoryview) -> MessageError:
    return MessageError(f"not a relay's message: {problem}: {bytes(data[:80])!r}")
