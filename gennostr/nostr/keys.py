"""Secret keys, and signing with them (NIP-01, BIP-340).

The rest of `gennostr.nostr` is pure. Here are its two exceptions: `generate_key` draws random bytes, and `sign` reads
the system's clock (``time.time()``) if it is called without `created_at`; a manual clock of the test kit does not
change that.
"""

import re
import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from gennostr.exceptions import MessageError
from gennostr.nostr.curve import coincurve
from gennostr.nostr.event import Event

_SECRET_KEY: Final = re.compile(r"[0-9A-Fa-f]{64}")
_ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
"""The order of secp256k1: secret keys are below it (SEC 2, section 2.4.1)."""


def generate_key() -> str:
    """Return a new secret key: 64 hex digits, from the system's source of randomness.

    Keep it secret: all who have it can sign as you, and it cannot be replaced. `nip19.Nsec(key).encode()` is its form
    for people (nsec1...), `public_key(key)` is what others know you by. Needs no extra.

    >>> from gennostr.nostr import generate_key
    >>> len(generate_key())
    64
    """
    import secrets  # noqa: PLC0415 - slow to import, and most programs have a key

    return f"{secrets.randbelow(_ORDER - 1) + 1:064x}"


def public_key(secret_key: str | bytes) -> str:
    """Return the public key of a secret key: 64 lower-case hex digits.

    Args:
        secret_key: 32 bytes, or 64 hex digits.

    Raises:
        TypeError: it is neither text nor bytes.
        ValueError: it is not a valid secret key.
        ImportError: coincurve is not installed: ``pip install 'gennostr[crypto]'``.

    >>> from gennostr.nostr import public_key
    >>> public_key("67dea2ed018072d675f5415ecfaed7d2597555e202d85b3d65ea4e58d2d92ffa")
    '7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e'
    """
    return _x_only(_private_key(secret_key))


def sign(
    secret_key: str | bytes,
    *,
    kind: int,
    content: str,
    tags: Sequence[Sequence[str]] = (),
    created_at: int | None = None,
) -> Event:
    """Return a signed event (NIP-01).

    Args:
        secret_key: the author's key: 32 bytes, or 64 hex digits.
        kind: 0 to 65535; 1 is a note.
        content: the text.
        tags: lists of texts, such as ``[["t", "nostr"]]``; they are copied. By default, the event has no tags.
        created_at: in seconds since 1970; None (the default) is the present, by the system's clock.

    Raises:
        TypeError: `secret_key` is neither text nor bytes.
        ValueError: `secret_key` is not a valid secret key; the message does not show it.
        MessageError: a field has the wrong type, or a text in it cannot be encoded as UTF-8. It is a ValueError.
        ImportError: coincurve is not installed: ``pip install 'gennostr[crypto]'``.

    >>> from gennostr.nostr import generate_key, sign, verify
    >>> event = sign(generate_key(), kind=1, content="hello", tags=[["t", "nostr"]])
    >>> verify(event)  # raises MessageError if it was changed
    """
    key = _private_key(secret_key)
    fields = {
        "id": "",
        "pubkey": _x_only(key),
        "created_at": int(time.time()) if created_at is None else created_at,
        "kind": kind,
        "tags": tags,
        "content": content,
        "sig": "",
    }
    try:
        # The tags are copied: a signed event must not change with its author's list.
        event = msgspec.convert(fields, Event)
    except msgspec.ValidationError as error:
        raise MessageError(f"not an event: {error}") from None
    id_ = event.compute_id()
    signature: bytes = key.sign_schnorr(bytes.fromhex(id_))
    return msgspec.structs.replace(event, id=id_, sig=signature.hex())


def _private_key(secret_key: str | bytes) -> Any:
    # The value itself stays out of the messages: it is a secret.
    if not isinstance(secret_key, str | bytes):
        raise TypeError(f"a secret key is text or bytes, not {type(secret_key).__name__}")
    secret = secret_key.hex() if isinstance(secret_key, bytes) else secret_key
    private_key = coincurve().PrivateKey
    if not _SECRET_KEY.fullmatch(secret):
        raise ValueError(_wrong_form(secret_key))
    try:
        return private_key(bytes.fromhex(secret))
    except ValueError:
        raise ValueError("a secret key must be from 1 to the order of secp256k1 less 1: this one is not") from None


def _wrong_form(secret_key: str | bytes) -> str:
    if isinstance(secret_key, bytes):
        return f"a secret key is 32 bytes, or 64 hex digits, not {len(secret_key)} bytes"
    if secret_key.lower().startswith("nsec1"):
        return "a secret key is 32 bytes, or 64 hex digits, not nsec1...: use nip19.decode(text).secret_key"
    return f"a secret key is 32 bytes, or 64 hex digits, not a text of {len(secret_key)} characters"


def _x_only(private_key: Any) -> str:
    return str(private_key.public_key_xonly.format().hex())
