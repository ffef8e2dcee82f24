"""Events (NIP-01): their canonical form, id and signature.

The id is the sha256 of the canonical JSON; the signature is BIP-340 Schnorr over the id. Signing and verifying need
coincurve (``pip install 'gennostr[crypto]'``), ids do not.

Reading an event only checks its types. Its hex digits, its id and its author are checked by `verify`.
"""

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from gennostr.exceptions import MessageError


class Event(msgspec.Struct, frozen=True, gc=False):
    """A signed event. `id`, `pubkey` and `sig` are lower-case hex, `created_at` is in seconds since 1970."""

    id: str
    pubkey: str
    created_at: int
    kind: int
    tags: list[list[str]]
    content: str
    sig: str

    def __hash__(self) -> int:
        return hash(self.id)  # the tags are lists and not hashable; equal events have the same id

    def compute_id(self) -> str:
        """Return the id that the event must have, whatever `id` says.

        Raises:
            MessageError: a text in it cannot be encoded as UTF-8.

        """
        return event_id(self.pubkey, self.created_at, self.kind, self.tags, self.content)


_encode = msgspec.json.Encoder().encode
_ESCAPED_CONTROLS = tuple((b"\\u%04x" % code, bytes([code])) for code in range(0x20))
_KEY = re.compile(r"[0-9a-f]{64}")
_SIGNATURE = re.compile(r"[0-9a-f]{128}")
_SECRET_KEY = re.compile(r"[0-9A-Fa-f]{64}")


def serialize(pubkey: str, created_at: int, kind: int, tags: Sequence[Sequence[str]], content: str) -> bytes:
    r"""Return the canonical JSON of an event, in UTF-8.

    Exactly as NIP-01 says: only ``\n \" \\ \r \t \b \f`` are escaped. The other control characters are written
    unescaped, though JSON would escape them (as some implementations do: their ids of such events differ).

    Raises:
        MessageError: a text in it cannot be encoded as UTF-8 (a lone surrogate).

    """
    try:
        data = _encode([0, pubkey, created_at, kind, tags, content])
    except UnicodeEncodeError as error:
        raise MessageError(f"an event's text must be valid Unicode: {error}") from None
    except ValueError as error:  # a number with more digits than int converts to text
        raise MessageError(f"an event cannot be written as JSON: {error}") from None
    if b"\\u00" not in data:
        return data
    # msgspec writes the other control characters as \u00xx. A plain "u00" after an escaped backslash looks the same, so
    # those backslashes are first replaced by a byte that UTF-8 never has. Whole replacements, not one call for each
    # escape: a relay chooses how many there are.
    data = data.replace(b"\\\\", b"\xff")
    for escape, control in _ESCAPED_CONTROLS:
        data = data.replace(escape, control)
    return data.replace(b"\xff", b"\\\\")


def event_id(pubkey: str, created_at: int, kind: int, tags: Sequence[Sequence[str]], content: str) -> str:
    """Return the id that an event with these fields has.

    Raises:
        MessageError: a text in it cannot be encoded as UTF-8.

    """
    return hashlib.sha256(serialize(pubkey, created_at, kind, tags, content)).hexdigest()


def public_key(secret_key: str | bytes) -> str:
    """Return the public key (x only, hex) of a secret key, which is 32 bytes or 64 hex digits.

    Raises:
        TypeError: it is neither text nor bytes.
        ValueError: it is not a valid secret key.
        ImportError: coincurve is not installed.

    """
    return _x_only(_private_key(secret_key))


def sign(
    secret_key: str | bytes,
    *,
    created_at: int,
    kind: int,
    content: str,
    tags: Sequence[Sequence[str]] = (),
) -> Event:
    """Return a signed event; `created_at` is in seconds since 1970.

    Raises:
        TypeError: `secret_key` is neither text nor bytes.
        ValueError: `secret_key` is not a valid secret key.
        MessageError: a field has the wrong type, or a text in it cannot be encoded as UTF-8.
        ImportError: coincurve is not installed.

    """
    key = _private_key(secret_key)
    fields = {
        "id": "",
        "pubkey": _x_only(key),
        "created_at": created_at,
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


def verify(event: Event) -> None:
    """Check the form of the public key and the signature, the id, and the signature itself.

    Raises:
        MessageError: one of them is wrong; the message names it, and its `problem` is "forged".
        ImportError: coincurve is not installed.

    """
    # coincurve passes a key to C without checking its length: a short one would be read past its end.
    if not _KEY.fullmatch(event.pubkey):
        text = f"event {event.id!r:.80}: pubkey is not 64 lower-case hex digits: {event.pubkey!r:.80}"
        raise MessageError(text, "forged")
    if not _SIGNATURE.fullmatch(event.sig):
        text = f"event {event.id!r:.80}: sig is not 128 lower-case hex digits: {event.sig!r:.160}"
        raise MessageError(text, "forged")
    computed = event.compute_id()
    if computed != event.id:
        raise MessageError(f"event {event.id!r:.80}: the id is wrong, its content has {computed!r}", "forged")
    _check_signature(event.pubkey, computed, event.sig)


@lru_cache(maxsize=8192)
def _check_signature(pubkey: str, message: str, signature: str) -> None:
    """Raise MessageError if `_is_signed` is false.

    Only successes are cached, because a call that raises is not. Many relays send the same event; that it is the same
    is known from its id, which `message` is: computed, not claimed.
    """
    if not _is_signed(pubkey, message, signature):
        raise MessageError(f"event {message!r}: the signature is not that of {pubkey!r}", "forged")


def _is_signed(pubkey: str, message: str, signature: str) -> bool:
    """Whether `signature` is `pubkey`'s over `message` (BIP-340), all of them hex of the right length."""
    key = _public_key(pubkey)
    return key is not None and bool(key.verify(bytes.fromhex(signature), bytes.fromhex(message)))


@lru_cache(maxsize=2048)
def _public_key(pubkey: str) -> Any:
    """Return coincurve's form of a key, or None if it is nobody's: not a point of the curve."""
    try:
        return _coincurve().PublicKeyXOnly(bytes.fromhex(pubkey))
    except ValueError:
        return None


def _private_key(secret_key: str | bytes) -> Any:
    # The value itself stays out of the messages: it is a secret.
    if not isinstance(secret_key, str | bytes):
        raise TypeError(f"a secret key is text or bytes, not {type(secret_key).__name__}")
    secret = secret_key.hex() if isinstance(secret_key, bytes) else secret_key
    private_key = _coincurve().PrivateKey
    if _SECRET_KEY.fullmatch(secret):
        try:
            return private_key(bytes.fromhex(secret))
        except ValueError:
            pass  # zero, or not below the order of the curve
    raise ValueError("a secret key is 32 bytes, or 64 hex digits, of the curve's range") from None


def _x_only(private_key: Any) -> str:
    return str(private_key.public_key_xonly.format().hex())


def _coincurve() -> Any:
    try:
        import coincurve  # noqa: PLC0415 - an extra: asked for when it is needed
    except ImportError:
        raise ImportError("signing and verifying need coincurve: pip install 'gennostr[crypto]'") from None
    return coincurve
