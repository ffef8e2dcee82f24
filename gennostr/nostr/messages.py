"""The messages that relays send (NIP-01, 42, 45): typed, decoded from bytes.

Lenient where relays differ: optional elements may be missing at the end, null or of another type (they then have their
defaults), and unknown ones may follow. An array that begins with another string is an `UnknownMessage`; anything else
is a `MessageError`.

A value, such as an empty tag, takes three bytes on the wire and seventy in memory. So a long message may have at most
MAX_VALUES of them, about 30 MiB: 5 MiB on the wire could otherwise become 130.

The decoder does not check UTF-8 in what it skips (unknown fields of an event, elements after the last one it knows);
the transport checks the whole text before it is decoded, and closes the connection if it is not UTF-8.
"""

import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec

from gennostr.exceptions import MessageError
from gennostr.nostr.event import Event

# Any single word, not only those that NIP-01 and 42 list: other NIPs and relays add theirs. So plain prose from a relay
# may appear to have a prefix: compare it with the word you expect.
_PREFIX = re.compile(r"([a-z][a-z-]*): ")


class EventMessage(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="EVENT"):
    """An EVENT (NIP-01): an event for a subscription, passed to handle_event.

    >>> from gennostr.nostr import Event, EventMessage
    >>> event = Event(id="", pubkey="", created_at=0, kind=1, tags=[], content="hi", sig="")
    >>> EventMessage("feed", event).event.content
    'hi'
    """

    subscription_id: str
    """The id of the subscription, as passed to ``subscribe`` or in a REQ."""
    event: Event
    """The event; unless the relay's option ``verify`` is on, nobody has checked its id and signature."""


class EoseMessage(msgspec.Struct, frozen=True, array_like=True, tag="EOSE"):
    """An EOSE (NIP-01): the end of stored events, passed to handle_eose.

    >>> from gennostr.nostr import decode
    >>> decode(b'["EOSE", "feed"]')
    EoseMessage(subscription_id='feed', hints=None)
    """

    subscription_id: str
    """The id of the subscription."""
    hints: Any = None
    """What the relay adds about further stored events (NIP-67), such as ``["more"]``; None without it."""

    def __hash__(self) -> int:
        return hash(self.subscription_id)  # the hints may not be hashable


def more_stored(hints: object) -> bool | None:
    """Return whether an EOSE's `hints` say that the relay has more stored events.

    None: they do not say (NIP-67). Some relays send a hint without a list around it.

    >>> more_stored(["more"]), more_stored("finish"), more_stored(None)
    (True, False, None)
    """
    words = hints if isinstance(hints, list) else [hints]
    if "more" in words:
        return True
    return False if "finish" in words else None


class OkMessage(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="OK"):
    """An OK (NIP-01): whether the relay has accepted an event, passed to handle_ok.

    >>> from gennostr.nostr import decode
    >>> message = decode(b'["OK", "5c83", false, "blocked: you are banned"]')
    >>> message.accepted, message.prefix
    (False, 'blocked')
    """

    event_id: str
    """The id of the event."""
    accepted: bool
    """Whether the relay has the event now. Some relays send False for one that they had already: see `prefix`."""
    message: str = ""
    """Why, often with a prefix; may be empty."""

    @property
    def prefix(self) -> str | None:
        """The machine-readable word before ": ", such as "duplicate"; None without one."""
        match = _PREFIX.match(self.message)
        return match[1] if match else None


class ClosedMessage(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="CLOSED"):
    """A CLOSED (NIP-01): the end of a subscription, passed to handle_closed.

    The relay has ended it, or refused it.

    >>> from gennostr.nostr import decode
    >>> decode(b'["CLOSED", "feed", "auth-required: members only"]').prefix
    'auth-required'
    """

    subscription_id: str
    """The id of the subscription, or of the COUNT."""
    message: str = ""
    """Why, often with a prefix; may be empty."""

    @property
    def prefix(self) -> str | None:
        """The machine-readable word before ": ", such as "restricted"; None without one."""
        match = _PREFIX.match(self.message)
        return match[1] if match else None


class NoticeMessage(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="NOTICE"):
    """A NOTICE (NIP-01): a text for people, passed to handle_notice.

    >>> from gennostr.nostr import decode
    >>> decode(b'["NOTICE", "we restart at noon"]').message
    'we restart at noon'
    """

    message: str
    """The text."""


class AuthMessage(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="AUTH"):
    """An AUTH (NIP-42): a challenge to sign, passed to handle_auth.

    A client's `signer` answers it.

    >>> from gennostr.nostr import decode
    >>> decode(b'["AUTH", "8d1f"]').challenge
    '8d1f'
    """

    challenge: str
    """The text to sign, in a ``challenge`` tag."""


class CountResult(msgspec.Struct, frozen=True, gc=False):
    """The object in a COUNT message (NIP-45).

    Also one relay's answer in `Count.by_relay`.

    >>> from gennostr.nostr import CountResult
    >>> CountResult(238, approximate=True).count
    238
    """

    count: int
    """The number of events."""
    approximate: bool = False
    """Whether the relay says that it is an estimate."""
    hll: str | None = None
    """The registers of a `HyperLogLog`, 512 hex digits; None if the relay sent no registers."""


class CountMessage(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="COUNT"):
    """A COUNT (NIP-45): how many events match, passed to handle_count.

    >>> from gennostr.nostr import decode
    >>> message = decode(b'["COUNT", "followers", {"count": 238}]')
    >>> message.count, message.approximate
    (238, False)
    """

    subscription_id: str
    """The id that the COUNT was sent with."""
    result: CountResult
    """The numbers; `count`, `approximate` and `hll` are short for its fields."""

    @property
    def count(self) -> int:
        """The number of events."""
        return self.result.count

    @property
    def approximate(self) -> bool:
        """Whether the relay says that it is an estimate."""
        return self.result.approximate

    @property
    def hll(self) -> str | None:
        """The registers of a `HyperLogLog`, 512 hex digits; None if the relay sent none."""
        return self.result.hll


class UnknownMessage(msgspec.Struct, frozen=True):
    """Any other array that begins with a string, passed to handle_unknown.

    >>> from gennostr.nostr import decode
    >>> decode(b'["NEG-MSG", "sync", "61"]')
    UnknownMessage(label='NEG-MSG', arguments=('sync', '61'))
    """

    label: str
    """The first element of the array."""
    arguments: tuple[Any, ...]
    """The others, decoded from JSON."""

    def __hash__(self) -> int:
        return hash((self.label, len(self.arguments)))  # lists and objects are not hashable


_Known: TypeAlias = EventMessage | EoseMessage | OkMessage | ClosedMessage | NoticeMessage | AuthMessage | CountMessage
RelayMessage: TypeAlias = _Known | UnknownMessage

LARGE: Final = 65_536
"""The size in bytes from which a message's values are counted before it is decoded: a smaller one cannot hold many."""
MAX_VALUES: Final = 262_144
"""Arrays, strings and so on in one message: at most about 30 MiB decoded. A list of 50,000 contacts, each a tag of four
strings, has about 250,000."""

# A string, or its start up to the end of the data if it is cut off. Possessive, so that no input takes long.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_STRINGS = re.compile(rb'(?:[^"]{0,65536}+"[^"\\]*+(?:\\.[^"\\]*+)*+"?){1,1000}+', re.DOTALL)
_OPTIONS: Final = {"approximate": bool, "hll": str}
_LABELS = frozenset({"EVENT", "EOSE", "OK", "CLOSED", "NOTICE", "AUTH", "COUNT"})
decode_known: Callable[[bytes | bytearray | memoryview], _Known] = msgspec.json.Decoder(_Known).decode
"""A quick `decode` for callers that fall back to it: no LARGE messages, and raises whatever msgspec does."""
_decode_any = msgspec.json.Decoder(list[Any]).decode
# ValueError: UnicodeDecodeError, and numbers with more digits than int accepts.
_UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)


def decode(data: bytes | bytearray | memoryview) -> RelayMessage:
    """Return the message in the payload of one WebSocket message.

    Args:
        data: JSON in UTF-8.

    Returns:
        An EventMessage, EoseMessage, OkMessage, ClosedMessage, NoticeMessage, AuthMessage or CountMessage; an
            UnknownMessage for another label. Elements missing at the end have their defaults, further ones are ignored.

    Raises:
        MessageError: it is not a message, or has over 262,144 values; the error has the reason and the first bytes.

    >>> from gennostr.nostr import decode
    >>> decode(b'["OK", "5c83", true, ""]')
    OkMessage(event_id='5c83', accepted=True, message='')
    >>> decode(b'["OK", 1]')
    Traceback (most recent call last):
    gennostr.exceptions.MessageError: not a relay's message: ...
    """
    if len(data) >= LARGE and _has_too_many_values(bytes(data)):
        raise _error(f"over {MAX_VALUES} values", data)
    try:
        return decode_known(data)
    except msgspec.ValidationError as error:
        problem = str(error)
    except _UNREADABLE as error:
        raise _error(str(error), data) from None
    # Valid JSON as far as it was read, but none of our types: read all of it, and distinguish an unknown message from a
    # broken one by its label.
    try:
        parts = _decode_any(data)
    except _UNREADABLE as error:
        raise _error(str(error), data) from None
    if not parts or not isinstance(parts[0], str):
        raise _error(problem, data)
    if parts[0] not in _LABELS:
        return UnknownMessage(parts[0], tuple(parts[1:]))
    try:
        known: _Known = msgspec.convert(_without_odd_options(parts), _Known)
    except msgspec.ValidationError:
        raise _error(problem, data) from None
    return known


def _without_odd_options(parts: list[Any]) -> list[Any]:
    """Return a message without its optional values of the wrong type, such as null.

    They then have their defaults: a message whose required parts are right is not lost for them.
    """
    match parts:
        case ["OK", _, _, message, *_] if not isinstance(message, str):
            return parts[:3]
        case ["CLOSED", _, message, *_] if not isinstance(message, str):
            return parts[:2]
        case ["COUNT", id_, {"count": count, **options}, *_]:
            kept = {name: options[name] for name, type_ in _OPTIONS.items() if isinstance(options.get(name), type_)}
            return ["COUNT", id_, {"count": count} | kept]
    return parts


def _has_too_many_values(data: bytes) -> bool:
    # Each value but the first has a comma or a bracket before it. First a count that strings can only make too high.
    if data.count(b",") + data.count(b"[") + data.count(b"{") <= MAX_VALUES:
        return False
    # Then without the strings; a thousand at a time, since sub() keeps all that it removes for a while, and copies
    # none.
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
