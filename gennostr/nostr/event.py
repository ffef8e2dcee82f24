"""Events (NIP-01): their JSON, canonical form, id and signature.

The id is the sha256 of the canonical JSON; the signature is BIP-340 Schnorr over the id. Verifying needs coincurve
(``pip install 'gennostr[crypto]'``), ids do not. Events are signed by `gennostr.nostr.sign`.

Reading an event only checks its types. Its hex digits, its id and its author are checked by `verify`.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Self

import msgspec

from gennostr.exceptions import MessageError
from gennostr.nostr.curve import coincurve
from gennostr.values import brief


class Event(msgspec.Struct, frozen=True, gc=False):
    """A signed event (NIP-01): immutable, hashable, equal if all of its fields are.

    `sign` makes one, relays send them in an `EventMessage`, and `from_json` and `from_dict` read what was stored. Only
    the types of the fields are checked there; `verify` checks the id, the author and the signature.

    >>> from gennostr.nostr import Event, generate_key, sign
    >>> event = sign(generate_key(), kind=1, content="hello", tags=[["t", "nostr"]])
    >>> event.content, event.tags
    ('hello', [['t', 'nostr']])
    >>> event == Event.from_json(event.to_json())
    True
    """

    id: str
    """The sha256 of the canonical JSON: 64 lower-case hex digits."""
    pubkey: str
    """The author's public key: 64 lower-case hex digits."""
    created_at: int
    """When the author says that it was made, in seconds since 1970."""
    kind: int
    """What it is: 1 is a note; 0 to 65535."""
    tags: list[list[str]]
    """Each a list whose first item is the tag's name, such as ``["t", "nostr"]``."""
    content: str
    """The text; for some kinds JSON or encrypted."""
    sig: str
    """The BIP-340 signature of the id: 128 lower-case hex digits."""

    def __hash__(self) -> int:
        return hash(self.id)  # the tags are lists and not hashable; equal events have the same id

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return the event in a JSON text.

        Unknown fields are ignored; call `verify` to check its signature.

        Args:
            text: a JSON object, as `to_json` returns it or a relay sends it in an EVENT message; bytes are UTF-8.

        Raises:
            TypeError: `text` is neither text nor bytes.
            MessageError: it is not valid JSON, or not an event; the message says what is wrong. It is a ValueError.

        >>> from gennostr.nostr import Event
        >>> Event.from_json('{"id": "5c83"}')
        Traceback (most recent call last):
        gennostr.exceptions.MessageError: not an event: Object missing required field `pubkey`: '{"id": "5c83"}'
        """
        if not isinstance(text, str | bytes):
            raise TypeError(f"an event's JSON is text or bytes, not {brief(text)}")
        try:
            # The decoder does not check UTF-8 in fields that it skips: str.encode and bytes.decode do.
            return msgspec.json.decode(text.encode() if isinstance(text, str) else text.decode(), type=cls)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise MessageError(f"not an event: {error}: {text[:80]!r}") from None

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> Self:
        """Return the event in a mapping, such as ``json.loads`` of an event.

        The tags are copied. Unknown fields are ignored; call `verify` to check its signature.

        Args:
            mapping: the seven fields by their names.

        Raises:
            TypeError: it is not a mapping.
            MessageError: a field is missing or has the wrong type; the message names it. It is a ValueError.

        >>> from gennostr.nostr import Event
        >>> Event.from_dict({"id": "5c83", "kind": "1"})
        Traceback (most recent call last):
        gennostr.exceptions.MessageError: not an event: Object missing required field `pubkey`
        """
        if not isinstance(mapping, Mapping):
            raise TypeError(f"an event's fields are a mapping, not {brief(mapping)}")
        try:
            return msgspec.convert(dict(mapping), cls)
        except (msgspec.ValidationError, RecursionError) as error:
            raise MessageError(f"not an event: {error}") from None

    def to_json(self) -> str:
        """Return the event as compact JSON: what relays accept and `from_json` reads.

        Raises:
            MessageError: a text in it cannot be encoded as UTF-8 (a lone surrogate), or a field has the wrong type.

        >>> from gennostr.nostr import Event
        >>> Event(id="", pubkey="", created_at=0, kind=1, tags=[["t", "a"]], content="hi", sig="").to_json()
        '{"id":"","pubkey":"","created_at":0,"kind":1,"tags":[["t","a"]],"content":"hi","sig":""}'
        """
        try:
            return _encode(self).decode()
        except (TypeError, ValueError, RecursionError) as error:
            raise MessageError(f"an event cannot be written as JSON: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a new dict, with a copy of the tags.

        `from_dict` reads it, ``json.dumps`` writes it.

        >>> from gennostr.nostr import Event
        >>> Event(id="", pubkey="", created_at=0, kind=1, tags=[], content="hi", sig="").to_dict()
        {'id': '', 'pubkey': '', 'created_at': 0, 'kind': 1, 'tags': [], 'content': 'hi', 'sig': ''}
        """
        fields = msgspec.structs.asdict(self)
        return fields | {"tags": [[*tag] for tag in self.tags]}

    def compute_id(self) -> str:
        """Return the id that the event must have, whatever `id` says; see `event_id`.

        Raises:
            MessageError: a text in it cannot be encoded as UTF-8.

        >>> from gennostr.nostr import Event
        >>> event = Event(id="claimed", pubkey="", created_at=0, kind=1, tags=[], content="hi", sig="")
        >>> event.compute_id() == event.id
        False
        """
        return event_id(self.pubkey, self.created_at, self.kind, self.tags, self.content)

    def has_valid_id(self) -> bool:
        """Return whether `id` is the sha256 of the event.

        There are two forms that clients hash: control characters are escaped, or not; see `serialize`.

        Raises:
            MessageError: a text in it cannot be encoded as UTF-8.

        >>> from gennostr.nostr import Event, event_id
        >>> Event(event_id("", 0, 1, [], "hi"), "", 0, 1, [], "hi", "").has_valid_id()
        True
        """
        data = serialize(self.pubkey, self.created_at, self.kind, self.tags, self.content)
        if hashlib.sha256(data).hexdigest() == self.id:
            return True
        return b"\\u00" in data and hashlib.sha256(_unescaped(data)).hexdigest() == self.id


_encode = msgspec.json.Encoder().encode
_ESCAPED_CONTROLS = tuple((b"\\u%04x" % code, bytes([code])) for code in range(0x20))
_KEY = re.compile(r"[0-9a-f]{64}")
_SIGNATURE = re.compile(r"[0-9a-f]{128}")


def serialize(pubkey: str, created_at: int, kind: int, tags: Sequence[Sequence[str]], content: str) -> bytes:
    r"""Return the canonical JSON of an event, in UTF-8.

    As NIP-01 says: ``\n \" \\ \r \t \b \f`` are escaped, other characters are not. With one exception: NIP-01 wants
    other control characters unescaped, which is not JSON. The clients in use (in Rust, JavaScript and Go) hash them as
    ``\u00xx``, and so does this. `verify` accepts both forms.

    Args:
        pubkey: the author's public key: 64 lower-case hex digits.
        created_at: in seconds since 1970.
        kind: 0 to 65535.
        tags: lists of texts.
        content: the text.

    Raises:
        MessageError: a text in it cannot be encoded as UTF-8 (a lone surrogate).

    >>> from gennostr.nostr import serialize
    >>> serialize("7e7e9c", 1700000000, 1, [["t", "nostr"]], "hi")
    b'[0,"7e7e9c",1700000000,1,[["t","nostr"]],"hi"]'
    """
    try:
        return _encode([0, pubkey, created_at, kind, tags, content])
    except UnicodeEncodeError as error:
        raise MessageError(f"an event's text must be valid Unicode: {error}") from None
    except ValueError as error:  # a number with more digits than int converts to text
        raise MessageError(f"an event cannot be written as JSON: {error}") from None


def _unescaped(data: bytes) -> bytes:
    """Return a serialized event in NIP-01's letter: with u00xx unescaped."""
    # A plain "u00" after an escaped backslash looks the same, so those backslashes are first replaced by a byte that
    # UTF-8 never has. Whole replacements, not one call for each escape: a relay chooses how many there are.
    data = data.replace(b"\\\\", b"\xff")
    for escape, control in _ESCAPED_CONTROLS:
        data = data.replace(escape, control)
    return data.replace(b"\xff", b"\\\\")


def event_id(pubkey: str, created_at: int, kind: int, tags: Sequence[Sequence[str]], content: str) -> str:
    """Return the id of an event with these fields: 64 hex digits.

    It is the sha256 of what `serialize` returns.

    Raises:
        MessageError: a text in it cannot be encoded as UTF-8.

    >>> from gennostr.nostr import event_id
    >>> event_id("7e7e9c", 1700000000, 1, [], "hi")
    '73bd871adad0...'
    """
    return hashlib.sha256(serialize(pubkey, created_at, kind, tags, content)).hexdigest()


def verify(event: Event) -> None:
    """Check an event's id and signature; return nothing, or raise.

    Checks the form of the public key and of the signature, that the id is that of the content, and that the signature
    is the author's. Valid signatures are remembered, so that an event from many relays is checked once.

    Args:
        event: as read; a client's option ``verify`` does this for all events of a relay.

    Raises:
        MessageError: one of them is wrong; the message names it, and its `problem` is "forged".
        ImportError: coincurve is not installed: ``pip install 'gennostr[crypto]'``.

    >>> from gennostr.nostr import Event, generate_key, sign, verify
    >>> event = sign(generate_key(), kind=1, content="hello")
    >>> verify(event)
    >>> verify(Event.from_dict(event.to_dict() | {"content": "goodbye"}))
    Traceback (most recent call last):
    gennostr.exceptions.MessageError: event '...': the id is wrong, its content has '...'
    """
    # coincurve passes a key to C without checking its length: a short one would be read past its end.
    if not _KEY.fullmatch(event.pubkey):
        text = f"event {event.id!r:.80}: pubkey is not 64 lower-case hex digits: {event.pubkey!r:.80}"
        raise MessageError(text, "forged")
    if not _SIGNATURE.fullmatch(event.sig):
        text = f"event {event.id!r:.80}: sig is not 128 lower-case hex digits: {event.sig!r:.160}"
        raise MessageError(text, "forged")
    if not event.has_valid_id():
        computed = event.compute_id()
        raise MessageError(f"event {event.id!r:.80}: the id is wrong, its content has {computed!r}", "forged")
    _check_signature(event.pubkey, event.id, event.sig)


@lru_cache(maxsize=8192)
def _check_signature(pubkey: str, message: str, signature: str) -> None:
    """Raise MessageError if `_is_signed` is false.

    Only successes are cached, because a call that raises is not. Many relays send the same event; that it is the same
    is known from its id, which `message` is: compared with the content, not only claimed.
    """
    if not _is_signed(pubkey, message, signature):
        raise MessageError(f"event {message!r}: the signature is not that of {pubkey!r}", "forged")


def _is_signed(pubkey: str, message: str, signature: str) -> bool:
    """Whether `signature` is `pubkey`'s over `message` (BIP-340).

    All of them are hex of the right length.
    """
    key = _public_key(pubkey)
    return key is not None and bool(key.verify(bytes.fromhex(signature), bytes.fromhex(message)))


@lru_cache(maxsize=2048)
def _public_key(pubkey: str) -> Any:
    """Return coincurve's form of a key; None for an x that no point of the curve has."""
    try:
        return coincurve().PublicKeyXOnly(bytes.fromhex(pubkey))
    except ValueError:
        return None
