"""The information document of a relay (NIP-11), typed.

Relays write it by hand, and no two alike. So each field stands for itself: if it is missing, invalid or of another
type, it becomes None or empty, and the others are kept. Fields not listed here are in `RelayInformation.document`.

The same holds for the text itself: a byte order mark is skipped, bytes that are not UTF-8 are read as Latin-1, a lone
surrogate becomes "?", a number that is not finite becomes null, and whole numbers may be written as floats.
"""

import json
import math
import re
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
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
_TOO_MUCH: Final = 2**64
"""Too large for a REQ as well, which can then request as many as the relay sends."""


@dataclass(frozen=True, slots=True)
class Limitation:
    """The limits of a relay, in its information document (NIP-11).

    A limit that the relay does not give has the value None.

    >>> from gennostr.nostr import Limitation
    >>> limits = Limitation(max_subscriptions=20)
    >>> limits.max_subscriptions, limits.auth_required
    (20, None)
    """

    max_message_length: int | None = None
    """The largest message that it accepts, in bytes of JSON."""
    max_subscriptions: int | None = None
    """The most subscriptions that can be open on one connection."""
    max_limit: int | None = None
    """The most events that it sends for a filter, whatever its ``limit``."""
    max_subid_length: int | None = None
    """The longest subscription id, in characters."""
    max_event_tags: int | None = None
    """The most tags of an event."""
    max_content_length: int | None = None
    """The longest content of an event, in characters."""
    min_pow_difficulty: int | None = None
    """The proof of work that events need (NIP-13), in leading zero bits of the id."""
    auth_required: bool | None = None
    """Whether clients must authenticate (NIP-42) before anything else."""
    payment_required: bool | None = None
    """Whether it accepts only those who have paid."""
    restricted_writes: bool | None = None
    """Whether events must meet some condition to be accepted."""
    created_at_lower_limit: int | None = None
    """How old an event can be, in seconds before the present."""
    created_at_upper_limit: int | None = None
    """How far in the future an event can be dated, in seconds."""
    default_limit: int | None = None
    """The most events that it sends for a filter without ``limit``."""


@dataclass(frozen=True, slots=True)
class RelayInformation:
    """A relay's information document (NIP-11); `relay_information` fetches it.

    Texts that the relay does not give have the value None. Nothing in it is checked: it is what the relay claims.

    >>> from gennostr import relay_information
    >>> from gennostr.testing import MemoryRelay
    >>> with MemoryRelay(information={"name": "a relay", "supported_nips": [1, 11]}) as relay:
    ...     found = relay_information(relay.url)
    >>> found.name, found.supported_nips, found.limitation.max_limit
    ('a relay', (1, 11), None)
    """

    name: str | None = None
    """The name of the relay."""
    description: str | None = None
    """A description for people."""
    banner: str | None = None
    """The url of a wide image."""
    icon: str | None = None
    """The url of a small image."""
    pubkey: str | None = None
    """The public key of the operator."""
    self_: str | None = None
    """The public key of the relay itself: "self" in the document."""
    contact: str | None = None
    """How to reach the operator, such as ``mailto:``."""
    supported_nips: tuple[int, ...] = ()
    """The numbers of the NIPs that the relay says it supports; empty if it does not say."""
    software: str | None = None
    """The relay's software, usually as a url."""
    version: str | None = None
    """The version of the software."""
    privacy_policy: str | None = None
    """The url of the privacy policy."""
    terms_of_service: str | None = None
    """The url of the terms of service."""
    limitation: Limitation = Limitation()
    """The limits; all None if the relay gives no limits."""
    document: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)
    """The whole document, as received."""


def parse_information(data: bytes) -> RelayInformation:
    """Return the information in a document.

    Raises:
        MessageError: it is not a JSON object.

    """
    try:
        document = _decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        try:
            document = _decode(_mended(data))
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise MessageError(f"not a relay's information: {error}: {data[:80]!r}") from None
    texts = {name: _text(document.get(name)) for name in _TEXTS}
    nips = document.get("supported_nips")
    limits = document.get("limitation")
    return RelayInformation(
        **texts,
        self_=_text(document.get("self")),
        supported_nips=tuple(int(nip) for nip in nips if _is_whole(nip)) if isinstance(nips, list) else (),
        limitation=_limitation(limits) if isinstance(limits, dict) else Limitation(),
        document=document,
    )


def _mended(data: bytes) -> bytes:
    """Return a document that is not JSON in UTF-8 as JSON in UTF-8; see the module.

    Raises:
        ValueError, RecursionError: it is not JSON in any encoding.

    """
    text = data.decode("utf-8-sig", "surrogateescape")
    text = re.sub("[\udc80-\udcff]", lambda match: chr(ord(match[0]) - 0xDC00), text)
    document = json.loads(text, parse_constant=_finite, parse_float=_finite)
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _is_whole(value: object) -> bool:
    return type(value) is int or (isinstance(value, float) and value.is_integer())


def _limitation(given: Mapping[str, Any]) -> Limitation:
    limits: dict[str, Any] = {name: _number(given.get(name), least) for name, least in _NUMBERS.items()}
    limits |= {name: value for name in _FLAGS if isinstance(value := given.get(name), bool)}
    return Limitation(**limits)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any, least: int) -> int | None:
    return int(value) if _is_whole(value) and least <= value < _TOO_MUCH else None
