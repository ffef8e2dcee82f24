"""Events (NIP-01): their canonical form, id and signature.

The id is the sha256 of the canonical JSON; the signature is BIP-340 Schnorr over the id. Signing and verifying need
coincurve (``pip install 'gennostr[crypto]'``), ids do not.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from gennostr.exceptions import MessageError


class Event(msgspec.Struct, frozen=True, gc=False):
    """A signed event. `id`, `pubkey` and `sig` are lower-case hex, `created_at` seconds since 1970."""

    id: str
    pubkey: str
    created_at: int
    kind: int
    tags: list[list[str]]
    content: str
    sig: str


_encoder = msgspec.json.Encoder()
# msgspec writes every other control character as \u00xx, where NIP-01 wants it verbatim; an escaped backslash before a
# plain "u00" looks alike, so the pairs of backslashes are consumed with it.
_ESCAPE = re.compile(rb"\\(u00[01][0-9a-f]|.)", re.DOTALL)


def _unescape(match: re.Match[bytes]) -> bytes:
    escape = match[1]
    return bytes([int(escape[3:], 16)]) if len(escape) == 5 else match[0]


def serialize(pubkey: str, created_at: int, kind: int, tags: Sequence[Sequence[str]], content: str) -> bytes:
    """Return the canonical JSON of an event, in UTF-8.

    Raises:
        MessageError: a text in it cannot be UTF-8 (a lone surrogate).

    """
    try:
        data = _encoder.encode([0, pubkey, created_at, kind, tags, content])
    except UnicodeEncodeError as error:
        raise MessageError(f"an event's text must be valid Unicode: {error}") from None
    return _ESCAPE.sub(_unescape, data) if b"\\u00" in data else data


def event_id(pubkey: str, created_at: int, kind: int, tags: Sequence[Sequence[str]], content: str) -> str:
    """Return the id that an event with these fields has."""
    return hashlib.sha256(serialize(pubkey, created_at, kind, tags, content)).hexdigest()


def _coincurve() -> Any:
    try:
        import coincurve  # noqa: PLC0415 - an extra: asked for when it is needed
    except ImportError:
        raise ImportError("signing and verifying need coincurve: pip install 'gennostr[crypto]'") from None
    return coincurve


def _private_key(secret_key: str | bytes) -> Any:
    try:
        secret = bytes.fromhex(secret_key) if isinstance(secret_key, str) else bytes(secret_key)
        if len(secret) == 32:
            return _coincurve().PrivateKey(secret)
    except ValueError:
        pass
    # The value itself stays out of the message: it is a secret.
    raise ValueError("a secret key is 32 bytes, or 64 hex digits, of the curve's range")


def public_key(secret_key: str | bytes) -> str:
    """Return the public key (x only, hex) of a secret key.

    Raises:
        ValueError: it is no secret key.

    """
    return str(_private_key(secret_key).public_key_xonly.format().hex())


def sign(
    secret_key: str | bytes,
    *,
    created_at: int,
    kind: int,
    content: str,
    tags: Sequence[Sequence[str]] = (),
) -> Event:
    """Return a signed event.

    Raises:
        ValueError: `secret_key` is none.
        MessageError: a text in it cannot be UTF-8.

    """
    key = _private_key(secret_key)
    pubkey = key.public_key_xonly.format().hex()
    lists = [list(tag) for tag in tags]
    id_ = event_id(pubkey, created_at, kind, lists, content)
    signature = key.sign_schnorr(bytes.fromhex(id_)).hex()
    return Event(id_, pubkey, created_at, kind, lists, content, signature)


def verify(event: Event) -> None:
    """Check id and signature.

    Raises:
        MessageError: one of them is wrong; the message names it.

    """
    computed = event_id(event.pubkey, event.created_at, event.kind, event.tags, event.content)
    if computed != event.id:
        raise MessageError(f"event id {event.id!r} is wrong: its content has {computed}")
    try:
        key = _coincurve().PublicKeyXOnly(bytes.fromhex(event.pubkey))
        valid = key.verify(bytes.fromhex(event.sig), bytes.fromhex(event.id))
    except ValueError as error:
        raise MessageError(f"event {event.id}: malformed pubkey or signature: {error}") from None
    if not valid:
        raise MessageError(f"event {event.id}: the signature is not its author's")
