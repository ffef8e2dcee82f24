"""The messages that clients send (NIP-01, 42, 45, 77): checked, and encoded.

Lists are checked and encoded, JSON text is passed through.

The shape of messages with labels from the NIPs is checked, so that their author learns of a mistake from an error and
not from a relay's NOTICE. What is inside a filter or an event is not checked: relays and NIPs differ there.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gennostr.exceptions import MessageError
from gennostr.nostr.event import Event
from gennostr.values import brief

_MAX_SUBSCRIPTION_ID = 64
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")


def encode(message: str | Sequence[object]) -> bytes:
    """Return a message to a relay as the payload of a text frame, in UTF-8.

    Args:
        message: JSON text, which is passed through, or a list or tuple that begins with its label. The shape of EVENT,
            AUTH, REQ, COUNT, CLOSE, NEG-OPEN, NEG-MSG and NEG-CLOSE is checked; other labels pass. An `Event` in it
            becomes its JSON object.

    Raises:
        TypeError: it is not a str, a list or a tuple.
        MessageError: its shape does not fit its label, or it cannot be written as JSON or UTF-8; the message says what.
            It is a ValueError.

    >>> from gennostr.nostr import encode
    >>> encode(["REQ", "feed", {"kinds": [1], "limit": 20}])
    b'["REQ","feed",{"kinds":[1],"limit":20}]'
    >>> encode(["REQ", "feed"])
    Traceback (most recent call last):
    gennostr.exceptions.MessageError: REQ takes at least 2 argument(s), not 1: ('feed',)
    """
    if isinstance(message, str):
        if not message or message.isspace():
            raise MessageError(f"a message must not be empty: {brief(message)}")
        try:
            return message.encode()
        except UnicodeEncodeError as error:
            raise MessageError(f"a message must be valid Unicode: {error}") from None
    if not isinstance(message, list | tuple):
        raise TypeError(f"a message is JSON text, a list or a tuple, not {type(message).__name__}")
    label = _check_shape(message)
    try:
        _check_values(label, message)
        return _encode(message)
    except MessageError:
        raise
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageError(f"{brief(label)} cannot be written as JSON: {error}") from None


def write(message: Sequence[object]) -> bytes:
    """Return the payload of a message whose parts were checked before."""
    return _encode(message)


def _check_shape(message: Sequence[Any]) -> str:
    if not message or not isinstance(message[0], str):
        raise MessageError(f"a message begins with its label, a text: {brief(message)}")
    label, arguments = message[0], message[1:]
    match label:
        case "EVENT" | "AUTH":
            _check_count(label, arguments, 1, 1)
            if not isinstance(arguments[0], Event | Mapping):
                raise MessageError(f"{label} takes an event, not {brief(arguments[0])}")
        case "REQ" | "COUNT":
            _check_count(label, arguments, 2, None)
            _check_subscription_id(label, arguments[0])
            for filter_ in arguments[1:]:
                _check_filter(label, filter_)
        case "CLOSE" | "NEG-CLOSE":
            _check_count(label, arguments, 1, 1)
            _check_subscription_id(label, arguments[0])
        case "NEG-OPEN":
            _check_count(label, arguments, 3, 3)
            _check_subscription_id(label, arguments[0])
            _check_filter(label, arguments[1])
            _check_hex(label, arguments[2])
        case "NEG-MSG":
            _check_count(label, arguments, 2, 2)
            _check_subscription_id(label, arguments[0])
            _check_hex(label, arguments[1])
    return label


def _check_count(label: str, arguments: Sequence[object], least: int, most: int | None) -> None:
    if len(arguments) < least or (most is not None and len(arguments) > most):
        wanted = f"{least}" if least == most else f"at least {least}"
        raise MessageError(f"{label} takes {wanted} argument(s), not {len(arguments)}: {brief(arguments)}")


def _check_subscription_id(label: str, value: object) -> None:
    if not isinstance(value, str) or not 1 <= len(value) <= _MAX_SUBSCRIPTION_ID:
        raise MessageError(f"{label} takes a subscription id of 1 to 64 characters, not {brief(value)}")


def _check_filter(label: str, value: object) -> None:
    if not isinstance(value, Mapping):
        raise MessageError(f"{label} takes filters that are mappings, not {brief(value)}")


def _check_hex(label: str, value: object) -> None:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise MessageError(f"{label} takes a hex text, not {brief(value)}")


def _check_values(label: str, value: object) -> None:
    """Refuse what msgspec would send as something else.

    It writes NaN as null, bytes as base64 and keys as texts.
    """
    if value is None or isinstance(value, _PLAIN):
        return
    if isinstance(value, dict) or isinstance(value, Mapping):  # noqa: SIM101 - the exact type is the fast one
        for key, item in value.items():
            if not isinstance(key, str):
                raise MessageError(f"{brief(label)}: a key must be a text, not {brief(key)}")
            _check_values(label, item)
    elif isinstance(value, _ARRAYS):
        for item in value:
            _check_values(label, item)
    elif not (isinstance(value, float) and math.isfinite(value)):
        raise MessageError(f"{brief(label)}: not a JSON value: {brief(value)}")


def _plain(value: object) -> object:
    # For values that passed the check but msgspec does not know: mappings other than dict, and subclasses of the plain
    # types.
    if isinstance(value, Mapping):
        return dict(value)
    for plain in (str, int, float):
        if isinstance(value, plain):
            return plain(value)
    raise TypeError(f"not a JSON value: {brief(value)}")


_PLAIN = (str, int, Event)
_ARRAYS = (list, tuple, set, frozenset)
_encode = msgspec.json.Encoder(enc_hook=_plain).encode
