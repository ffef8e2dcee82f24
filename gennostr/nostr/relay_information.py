"""The information document of a relay (NIP-11), typed.

Relays write it by hand, and no two alike. So each field stands for itself: if it is missing, invalid or of another
type, it is None or empty, and the other fields are kept. Fields not listed here are in `RelayInformation.document`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from gennostr.exceptions import MessageError

_TEXTS: Final = (
    "name",
    "description",
    "banner",
    "icon",
    "pubkey",
    "contact",
    "software",
    "version",
    "privacy_policy",
    "terms_of_service",
)
_FLAGS: Final = ("auth_required", "payment_required", "restricted_writes")
_NUMBERS: Final = {
    # With the least valid value: for the first five, zero would make a relay useless.
    "max_message_length": 1,
    "max_subscriptions": 1,
    "max_limit": 1,
    "default_limit": 1,
    "max_subid_length": 1,
    "max_event_tags": 0,
    "max_content_length": 0,
    "min_pow_difficulty": 0,
    "created_at_lower_limit": 0,
    "created_at_upper_limit": 0,
}
_TOO_MUCH: Final = 2**64
"""Too large for a REQ as well, which can then request as many as the relay sends."""


@dataclass(frozen=True, slots=True)
class Limitation:
    """What a relay demands of its clients; None if it does not say.

    `max_content_length` is in characters, `max_message_length` in bytes; the limits of `created_at` are in seconds from
    now; `max_limit` is the most events that the relay sends for a filter.
    """

    max_message_length: int | None = None
    max_subscriptions: int | None = None
    max_limit: int | None = None
    max_subid_length: int | None = None
    max_event_tags: int | None = None
    max_content_length: int | None = None
    min_pow_difficulty: int | None = None
    auth_required: bool | None = None
    payment_required: bool | None = None
    restricted_writes: bool | None = None
    created_at_lower_limit: int | None = None
    created_at_upper_limit: int | None = None
    default_limit: int | None = None


@dataclass(frozen=True, slots=True)
class RelayInformation:
    """What a relay says about itself; None if it does not say.

    `self_` is the document's "self", the relay's own pubkey.
    """

    name: str | None = None
    description: str | None = None
    banner: str | None = None
    icon: str | None = None
    pubkey: str | None = None
    self_: str | None = None
    contact: str | None = None
    supported_nips: tuple[int, ...] = ()
    software: str | None = None
    version: str | None = None
    privacy_policy: str | None = None
    terms_of_service: str | None = None
    limitation: Limitation = Limitation()
    document: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)
    """The whole document, as received."""


def parse_information(data: bytes) -> RelayInformation:
    """Return the information in a document.

    Raises:
        MessageError: it is not a JSON object.

    """
    try:
        document = msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise MessageError(f"not a relay's information: {error}: {data[:80]!r}") from None
    texts = {name: _text(document.get(name)) for name in _TEXTS}
    nips = document.get("supported_nips")
    limits = document.get("limitation")
    return RelayInformation(
        **texts,
        self_=_text(document.get("self")),
        supported_nips=tuple(nip for nip in nips if type(nip) is int) if isinstance(nips, list) else (),
        limitation=_limitation(limits) if isinstance(limits, dict) else Limitation(),
        document=document,
    )


def _limitation(given: Mapping[str, Any]) -> Limitation:
    limits: dict[str, Any] = {name: _number(given.get(name), least) for name, least in _NUMBERS.items()}
    limits |= {name: value for name in _FLAGS if isinstance(value := given.get(name), bool)}
    return Limitation(**limits)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object, least: int) -> int | None:
    return value if type(value) is int and least <= value < _TOO_MUCH else None
