"""Make signed events for tests.

Every event that the kit makes is valid: it has the right id, the right author and, if coincurve is installed, the
right signature, so that clients with `verify=True` accept it. `make_event` documents the fields; `MemoryRelay.store`
and `FakeConnection.event` take the same ones.

Signing takes about 0.1 ms. A test or a benchmark that needs many events and no signatures can save that time:

    make_event(kind=20_001, sig="0" * 128)
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import count
from typing import Any, Final, TypedDict, TypeVar, Unpack

from gennostr.nostr import Event, event_id, public_key
from gennostr.nostr.curve import coincurve
from gennostr.otp.clock import clock

SECRET_KEY: Final = "7e57" * 16
"""The secret key that signs the kit's events: 64 hex digits, known to everybody. Only for tests."""
PUBLIC_KEY: Final = "c4fc37813394fefa0024d3bb8b4d3e7d250ea8e1329938a77fa0f50d87f65e27"
"""The public key of `SECRET_KEY`: 64 hex digits, the author of the kit's events. Available without coincurve."""
NO_SIGNATURE: Final = "0" * 128
"""The `sig` of an event that cannot be signed: valid hex, and nobody's signature."""

_ID: Final = re.compile(r"[0-9a-f]{64}")
_numbers = count(1)
_Given = TypeVar("_Given", bound=Event | Mapping[str, object])


class EventFields(TypedDict, total=False):
    """The arguments of `make_event`; all of them have defaults.

    For functions of a test that pass them on:

    >>> from typing import Unpack
    >>> from gennostr.testing import EventFields, make_event
    >>> def reaction(**fields: Unpack[EventFields]):
    ...     return make_event(kind=7, content="+", **fields)
    >>> reaction(created_at=5).created_at
    5
    """

    content: str
    kind: int
    created_at: int
    tags: Sequence[Sequence[str]]
    pubkey: str
    id: str
    sig: str
    secret_key: str


def make_event(**fields: Unpack[EventFields]) -> Event:
    """Return a signed event, made from the given fields and defaults.

    Without arguments it is a text note of `PUBLIC_KEY`, different from all others:

    >>> from gennostr.nostr import verify
    >>> from gennostr.testing import PUBLIC_KEY, make_event
    >>> event = make_event(content="hello", tags=[["t", "greeting"]])
    >>> event.kind, event.content, event.pubkey == PUBLIC_KEY
    (1, 'hello', True)
    >>> verify(event)  # raises MessageError if the event is forged

    Another author, and a forged event:

    >>> make_event(secret_key="02" * 32).pubkey == PUBLIC_KEY
    False
    >>> verify(make_event(sig="0" * 128))
    Traceback (most recent call last):
    gennostr.exceptions.MessageError: event ...: the signature is not that of ...

    Signatures are deterministic: the same fields give the same event. Without coincurve
    (``pip install 'gennostr[crypto]'``), `sig` is 128 zeros, and everything else is the same.

    Args:
        content: the text; default: "event 1", "event 2", ...
        kind: the kind; default: 1, a text note.
        created_at: in seconds since 1970; default: now, on the installed clock (see `ManualClock`).
        tags: lists of text; default: no tags.
        secret_key: the author's, as 64 hex digits; default: `SECRET_KEY`.
        pubkey: default: the public key of `secret_key`. With the public key of somebody else, `sig` is 128 zeros,
            unless `secret_key` is given too: then it signs, which makes a forged event.
        id: default: the right one for these fields. A wrong id is signed as it is, if it is 64 hex digits.
        sig: default: the signature of `id` by `secret_key`.

    Raises:
        TypeError: there is no such field.
        ValueError: `secret_key` is not a valid secret key.
        MessageError: a text cannot be encoded as UTF-8 (a lone surrogate), and no `id` is given.
        ImportError: `secret_key` is given, and coincurve is not installed.

    """
    unknown = fields.keys() - EventFields.__annotations__.keys()
    if unknown:
        raise TypeError(f"make_event has no argument {', '.join(map(repr, sorted(unknown)))}")
    content = fields.get("content", f"event {next(_numbers)}")
    kind = fields.get("kind", 1)
    created_at = fields.get("created_at", int(clock().time()))
    tags = [list(tag) for tag in fields.get("tags", ())]
    secret_key = fields.get("secret_key")
    author = PUBLIC_KEY if secret_key is None else _public_key(secret_key)
    pubkey = fields.get("pubkey", author)
    id_ = fields["id"] if "id" in fields else event_id(pubkey, created_at, kind, tags, content)
    if "sig" in fields:
        sig = fields["sig"]
    elif secret_key is None and pubkey != PUBLIC_KEY:  # only its author can sign it
        sig = NO_SIGNATURE
    else:
        sig = _signature(secret_key or SECRET_KEY, id_)
    return Event(id_, pubkey, created_at, kind, tags, content, sig)


def given_or_made(event: _Given | None, fields: EventFields) -> _Given | Event:
    """Return `event`, or one made from `fields`.

    Raises:
        TypeError: both are given.

    """
    if event is None:
        return make_event(**fields)
    if fields:
        raise TypeError("pass an event or the fields of one, not both")
    return event


def _signature(secret_key: str, id_: str) -> str:
    """Return the signature of `id_`, or zeros if it cannot be signed.

    BIP-340 allows signatures without random data: the same event gets the same one, so that events can be compared.
    """
    key = _private_key(secret_key)
    if key is None or not _ID.fullmatch(id_):
        return NO_SIGNATURE
    return str(key.sign_schnorr(bytes.fromhex(id_), None).hex())


# Tests use few keys and many events, and making a key from its digits takes as long as a signature.
@lru_cache(maxsize=64)
def _private_key(secret_key: str) -> Any:
    """Return coincurve's form of a valid secret key; None without coincurve."""
    try:
        return coincurve().PrivateKey(bytes.fromhex(secret_key))
    except ImportError:  # an extra: the kit works without it
        return None


@lru_cache(maxsize=64)
def _public_key(secret_key: str) -> str:
    return public_key(secret_key)
