"""What a client sends (NIP-01, 42, 45, 77): lists, checked and encoded; JSON text passes as it is."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gennostr.exceptions import MessageError
from gennostr.nostr.event import Event

_encoder = msgspec.json.Encoder()
_MAX_SUBSCRIPTION_ID = 64


def encode(message: str | Sequence[object]) -> bytes:
    """Return `message` as the payload of a text frame.

    A str is JSON text and passes as it is. A list or tuple begins with its label; those that the NIPs define are
    checked, others pass.

    Raises:
        TypeError: it is neither a str, a list nor a tuple.
        MessageError: its shape is not the label's, or it cannot be written as JSON or UTF-8; the message says what.

    """
    if isinstance(message, str):
        if not message.strip():
            raise MessageError(f"a message must not be empty: {message!r}")
        try:
            return message.encode()
        except UnicodeEncodeError as error:
            raise MessageError(f"a message must be valid Unicode: {error}") from None
    if not isinstance(message, list | tuple):
        raise TypeError(f"a message is JSON text or a list, not {message!r}")
    _check(message)
    try:
        return _encoder.encode(message)
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageError(f"{message[0]} cannot be written as JSON: {error}") from None


def _check(message: Sequence[Any]) -> None:
    if not message or not isinstance(message[0], str):
        raise MessageError(f"a message begins with its label, a text: {message!r}")
    label, arguments = message[0], message[1:]
    match label:
        case "EVENT" | "AUTH":
            _count(label, arguments, 1, 1)
            if not isinstance(arguments[0], Event | Mapping):
                raise MessageError(f"{label} takes an event, not {arguments[0]!r}")
        case "REQ" | "COUNT":
            _count(label, arguments, 2, None)
            _subscription_id(label, arguments[0])
            for filter_ in arguments[1:]:
                _filter(label, filter_)
        case "CLOSE" | "NEG-CLOSE":
            _count(label, arguments, 1, 1)
            _subscription_id(label, arguments[0])
        case "NEG-OPEN":
            _count(label, arguments, 3, 3)
            _subscription_id(label, arguments[0])
            _filter(label, arguments[1])
            _hex(label, arguments[2])
        case "NEG-MSG":
            _count(label, arguments, 2, 2)
            _subscription_id(label, arguments[0])
            _hex(label, arguments[1])


def _count(label: str, arguments: Sequence[object], least: int, most: int | None) -> None:
    if len(arguments) < least or (most is not None and len(arguments) > most):
        wanted = str(least) if least == most else f"at least {least}"
        raise MessageError(f"{label} takes {wanted} arguments, not {len(arguments)}: {arguments!r}")


def _subscription_id(label: str, value: object) -> None:
    if not isinstance(value, str) or not 1 <= len(value) <= _MAX_SUBSCRIPTION_ID:
        raise MessageError(f"{label} takes a subscription id of 1 to 64 characters, not {value!r}")


def _filter(label: str, value: object) -> None:
    if not isinstance(value, Mapping):
        raise MessageError(f"{label} takes filters that are mappings, not {value!r}")


def _hex(label: str, value: object) -> None:
    try:
        if isinstance(value, str) and bytes.fromhex(value) is not None:
            return
    except ValueError:
        pass
    raise MessageError(f"{label} takes a hex text, not {value!r}")
