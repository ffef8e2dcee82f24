"""Keys, ids and references as texts for people (NIP-19): npub1... and others.

- npub1..., nsec1...: a public and a secret key
- note1...: the id of an event
- nprofile1..., nevent1..., naddr1...: a key, an id or an address, with relays where it may be found

`decode` reads any of them, also after ``nostr:`` (NIP-21), and returns a value of one of the classes here; each of
these has `encode`.

>>> from gennostr.nostr import nip19
>>> nip19.decode("npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg").pubkey
'7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e'

No error message and no repr shows a secret key. nrelay1... (deprecated by NIP-19) and ncryptsec1... (NIP-49) are not
decoded.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from gennostr.nostr.bech32 import decode_bech32, encode_bech32
from gennostr.values import brief

MAX_LENGTH: Final = 5000
"""The most characters that are decoded, as NIP-19 recommends."""

_MAX_KIND: Final = 65_535
_MAX_VALUE: Final = 255
"""The length of a value is one byte."""
_ID: Final = re.compile("[0-9a-f]{64}")
_SPECIAL, _RELAY, _AUTHOR, _KIND = range(4)
"""The types of values in nprofile, nevent and naddr."""


@dataclass(frozen=True, slots=True)
class Npub:
    """A public key: npub1....

    >>> from gennostr.nostr import nip19
    >>> nip19.Npub("7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e").encode()
    'npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg'
    """

    pubkey: str
    """64 lower-case hex digits."""

    def __post_init__(self) -> None:
        _check_id("pubkey", self.pubkey)

    def encode(self) -> str:
        """Return it as npub1...."""
        return encode_bech32("npub", bytes.fromhex(self.pubkey))


@dataclass(frozen=True, slots=True)
class Nsec:
    """A secret key: nsec1.... Its repr does not show it.

    >>> from gennostr.nostr import generate_key, nip19
    >>> key = generate_key()
    >>> text = nip19.Nsec(key).encode()
    >>> text[:5], nip19.decode(text).secret_key == key
    ('nsec1', True)
    >>> nip19.decode(text)
    Nsec(secret_key=<hidden>)
    """

    secret_key: str = field(repr=False)
    """64 lower-case hex digits."""

    def __post_init__(self) -> None:
        if not isinstance(self.secret_key, str):
            raise TypeError(f"secret_key must be a text, not {type(self.secret_key).__name__}")
        if not _ID.fullmatch(self.secret_key):
            raise ValueError("secret_key must be 64 lower-case hex digits; the value is not shown here")

    def __repr__(self) -> str:
        return "Nsec(secret_key=<hidden>)"

    def encode(self) -> str:
        """Return it as nsec1...: as secret as the key itself."""
        return encode_bech32("nsec", bytes.fromhex(self.secret_key))


@dataclass(frozen=True, slots=True)
class Note:
    """The id of an event: note1....

    >>> from gennostr.nostr import nip19
    >>> nip19.Note("dc90c95f09947507c1044e8f48bcf6350aa6bff1507dd4acfc755b9239b5c962").encode()
    'note1mjgvjhcfj36s0sgyf685308kx592d0l32p7aft8uw4deywd4e93qyztmda'
    """

    id: str
    """64 lower-case hex digits."""

    def __post_init__(self) -> None:
        _check_id("id", self.id)

    def encode(self) -> str:
        """Return it as note1...."""
        return encode_bech32("note", bytes.fromhex(self.id))


@dataclass(frozen=True, slots=True)
class Nprofile:
    """A public key and relays on which its events may be found: nprofile1....

    >>> from gennostr.nostr import nip19
    >>> key = "7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e"
    >>> text = nip19.Nprofile(key, relays=["wss://relay.example"]).encode()
    >>> nip19.decode(text).relays
    ('wss://relay.example',)
    """

    pubkey: str
    """64 lower-case hex digits."""
    relays: tuple[str, ...] = ()
    """Urls, the best first; none by default. Each is ASCII of at most 255 characters."""

    def __post_init__(self) -> None:
        _check_id("pubkey", self.pubkey)
        object.__setattr__(self, "relays", _checked_relays(self.relays))

    def encode(self) -> str:
        """Return it as nprofile1...."""
        return _encode("nprofile", bytes.fromhex(self.pubkey), self.relays)


@dataclass(frozen=True, slots=True)
class Nevent:
    """The id of an event, with hints of where to find it: nevent1....

    >>> from gennostr.nostr import nip19
    >>> id_ = "dc90c95f09947507c1044e8f48bcf6350aa6bff1507dd4acfc755b9239b5c962"
    >>> text = nip19.Nevent(id_, relays=["wss://relay.example"], kind=1).encode()
    >>> nip19.decode(text).kind
    1
    """

    id: str
    """64 lower-case hex digits."""
    relays: tuple[str, ...] = ()
    """Urls of relays that may have the event; none by default. Each is ASCII of at most 255 characters."""
    author: str | None = None
    """The public key of the event's author; None (the default): not given."""
    kind: int | None = None
    """The kind of the event, 0 to 65535; None (the default): not given."""

    def __post_init__(self) -> None:
        _check_id("id", self.id)
        object.__setattr__(self, "relays", _checked_relays(self.relays))
        if self.author is not None:
            _check_id("author", self.author)
        if self.kind is not None:
            _check_kind(self.kind)

    def encode(self) -> str:
        """Return it as nevent1...."""
        return _encode("nevent", bytes.fromhex(self.id), self.relays, self.author, self.kind)


@dataclass(frozen=True, slots=True)
class Naddr:
    """The address of an event of which the newest version counts: naddr1....

    It is addressable (with a d tag) or replaceable.

    >>> from gennostr.nostr import nip19
    >>> key = "7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e"
    >>> nip19.decode(nip19.Naddr("my-article", key, 30023).encode())
    Naddr(identifier='my-article', pubkey='7e7e...', kind=30023, relays=())
    """

    identifier: str
    """The value of the event's d tag, at most 255 bytes of UTF-8; empty for a replaceable event without one."""
    pubkey: str
    """The author: 64 lower-case hex digits."""
    kind: int
    """The kind of the event, 0 to 65535."""
    relays: tuple[str, ...] = ()
    """Urls of relays that may have the event; none by default. Each is ASCII of at most 255 characters."""

    def __post_init__(self) -> None:
        if not isinstance(self.identifier, str):
            raise TypeError(f"identifier must be a text, not {brief(self.identifier)}")
        if len(self.identifier.encode(errors="surrogatepass")) > _MAX_VALUE:
            raise ValueError(f"identifier must be at most {_MAX_VALUE} bytes long: {brief(self.identifier)}")
        _check_id("pubkey", self.pubkey)
        _check_kind(self.kind)
        object.__setattr__(self, "relays", _checked_relays(self.relays))

    def encode(self) -> str:
        """Return it as naddr1....

        Raises:
            ValueError: the identifier cannot be encoded as UTF-8 (a lone surrogate).

        """
        return _encode("naddr", self.identifier.encode(), self.relays, self.pubkey, self.kind)


Entity: TypeAlias = Npub | Nsec | Note | Nprofile | Nevent | Naddr
"""What `decode` returns."""


def decode(text: str) -> Entity:
    """Return the Npub, Nsec, Note, Nprofile, Nevent or Naddr in a text of NIP-19.

    ``nostr:`` before it (NIP-21) is skipped. Types of values that are not known are ignored, as NIP-19 says, and so is
    a relay that is not ASCII. If a value that can be there once is repeated, the first one counts.

    Args:
        text: at most 5000 characters, in lower or upper case.

    Raises:
        TypeError: it is not a text.
        ValueError: it is not valid; the message says why, and never shows a secret key.

    >>> from gennostr.nostr import nip19
    >>> nip19.decode("nostr:note1mjgvjhcfj36s0sgyf685308kx592d0l32p7aft8uw4deywd4e93qyztmda").id
    'dc90c95f09947507c1044e8f48bcf6350aa6bff1507dd4acfc755b9239b5c962'
    >>> nip19.decode("note1mjgvjhcfj36")
    Traceback (most recent call last):
    ValueError: not a valid note1... (NIP-19): its checksum is wrong: a character is missing or mistyped
    """
    if not isinstance(text, str):
        raise TypeError(f"a NIP-19 text is a str, not {type(text).__name__}")
    # The text is in no message: a secret key with a mistake in its prefix would be shown.
    if len(text) > MAX_LENGTH:
        raise ValueError(f"not NIP-19: it has {len(text)} characters, more than the {MAX_LENGTH} that are decoded")
    is_uri = text[:6].lower() == "nostr:"
    bare = text[6:] if is_uri else text
    prefix = bare.partition("1")[0].lower()
    if prefix not in _DECODERS or "1" not in bare:
        raise ValueError(_NOT_DECODED.get(prefix, f"not NIP-19: it begins with none of {', '.join(_DECODERS)} and 1"))
    if is_uri and prefix == "nsec":
        raise ValueError("a secret key (nsec1...) must not follow 'nostr:' (NIP-21)")
    try:
        return _DECODERS[prefix](_data(bare, prefix))
    except ValueError as error:
        raise ValueError(f"not a valid {prefix}1... (NIP-19): {error}") from None


def _data(text: str, prefix: str) -> bytes:
    found, data = decode_bech32(text)
    if found != prefix:  # there is another 1: by BIP-173, all before the last one is the prefix
        raise ValueError("it has a character that bech32 does not use, the digit 1")
    return data


def _nprofile(data: bytes) -> Nprofile:
    values = _values(data)
    return Nprofile(_id(_one(values, _SPECIAL, "public key")), _relays(values))


def _nevent(data: bytes) -> Nevent:
    values = _values(data)
    author = values.get(_AUTHOR)
    kind = values.get(_KIND)
    return Nevent(
        _id(_one(values, _SPECIAL, "event id")),
        _relays(values),
        None if author is None else _id(author[0]),
        None if kind is None else _kind(kind[0]),
    )


def _naddr(data: bytes) -> Naddr:
    values = _values(data)
    identifier, author = _one(values, _SPECIAL, "identifier"), _one(values, _AUTHOR, "author")
    return Naddr(identifier.decode(), _id(author), _kind(_one(values, _KIND, "kind")), _relays(values))


_DECODERS: Final[Mapping[str, Callable[[bytes], Entity]]] = {
    "npub": lambda data: Npub(_id(data)),
    "nsec": lambda data: Nsec(_id(data)),
    "note": lambda data: Note(_id(data)),
    "nprofile": _nprofile,
    "nevent": _nevent,
    "naddr": _naddr,
}
_NOT_DECODED: Final[Mapping[str, str]] = {
    "nrelay": "nrelay1... is deprecated (NIP-19): a relay's url is written as it is",
    "ncryptsec": "ncryptsec1... is a secret key that is encrypted with a password (NIP-49), and is not decoded here",
}


def _values(data: bytes) -> dict[int, list[bytes]]:
    """Return the values of a TLV by their types.

    Each value has a byte for its type and a byte for its length before it.
    """
    values: dict[int, list[bytes]] = {}
    at = 0
    while at < len(data):
        end = at + 2 + data[at + 1] if at + 1 < len(data) else len(data) + 1
        if end > len(data):
            raise ValueError("it ends within a value (TLV)")
        values.setdefault(data[at], []).append(data[at + 2 : end])
        at = end
    return values


def _one(values: Mapping[int, list[bytes]], type_: int, what: str) -> bytes:
    if type_ not in values:
        raise ValueError(f"it has no {what} (TLV type {type_})")
    return values[type_][0]


def _id(data: bytes) -> str:
    if len(data) != 32:
        raise ValueError(f"a key or id in it has {len(data)} bytes, not 32")
    return data.hex()


def _kind(data: bytes) -> int:
    if len(data) != 4:
        raise ValueError(f"the kind in it has {len(data)} bytes, not 4")
    return int.from_bytes(data, "big")


def _relays(values: Mapping[int, list[bytes]]) -> tuple[str, ...]:
    return tuple(each.decode("ascii") for each in values.get(_RELAY, ()) if each and each.isascii())


def _encode(
    prefix: str, special: bytes, relays: Iterable[str], author: str | None = None, kind: int | None = None
) -> str:
    def values() -> Iterator[tuple[int, bytes]]:
        # In any order, by NIP-19; this one is rust-nostr's.
        yield _SPECIAL, special
        if author is not None:
            yield _AUTHOR, bytes.fromhex(author)
        if kind is not None:
            yield _KIND, kind.to_bytes(4, "big")
        for relay in relays:
            yield _RELAY, relay.encode("ascii")

    return encode_bech32(prefix, b"".join(bytes([type_, len(value)]) + value for type_, value in values()))


def _check_id(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a text, not {type(value).__name__}")
    # Not shown: a secret key may have been passed by mistake, and errors end up in logs.
    if not _ID.fullmatch(value):
        raise ValueError(f"{name} must be 64 lower-case hex digits, not a text of {len(value)} characters")


def _check_kind(kind: object) -> None:
    if not isinstance(kind, int) or isinstance(kind, bool):
        raise TypeError(f"kind must be an integer, not {brief(kind)}")
    if not 0 <= kind <= _MAX_KIND:
        raise ValueError(f"kind must be 0 to {_MAX_KIND}, not {brief(kind)}")


def _checked_relays(relays: Iterable[str]) -> tuple[str, ...]:
    if isinstance(relays, str):
        raise TypeError(f"relays must be a list of urls, not one text: {brief(relays)}")
    several = tuple(relays)
    for each in several:
        if not isinstance(each, str):
            raise TypeError(f"a relay must be a text, not {brief(each)}")
        if not each.isascii() or not 0 < len(each) <= _MAX_VALUE:
            raise ValueError(f"a relay must be ASCII of 1 to {_MAX_VALUE} characters, not {brief(each)}")
    return several
