"""Authentication (NIP-42): the signers of a client, and the event that answers a relay's challenge."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeAlias

from gennostr.exceptions import MessageError
from gennostr.nostr.event import Event, public_key, sign
from gennostr.nostr.relay_url import redact

KIND: Final = 22242

Signer: TypeAlias = str | bytes | Callable[..., Event | None]
"""A secret key (32 bytes, or 64 hex digits), or what is called with `created_at`, `kind`, `content` and `tags`, by
name, and returns the signed event, or None for a relay that it does not want to be known to."""


def signers(given: Signer | Sequence[Signer] | None) -> list[Callable[..., Event | None]]:
    """Return all signers as callables.

    Raises:
        TypeError, ValueError: one is none; a key is never shown.
        ImportError: a key needs coincurve.

    """
    if given is None:
        return []
    several = given if isinstance(given, list | tuple) else [given]
    return [_signer(each) for each in several]


def _signer(given: object) -> Callable[..., Event | None]:
    if isinstance(given, str | bytes):
        public_key(given)
        return partial(sign, given)
    if not callable(given):
        raise TypeError(f"a signer is a secret key or a callable, not {type(given).__name__}")
    return given


def answer(signer: Callable[..., Event | None], url: str, challenge: str, now: float) -> Event | None:
    """Return the event that answers `challenge`, or None: the signer does not want to.

    Raises:
        MessageError: what the signer returned does not answer it. And whatever the signer raises.

    """
    tags = [["relay", redact(url)], ["challenge", challenge]]
    event = signer(created_at=int(now), kind=KIND, content="", tags=tags)
    if event is None:
        return None
    given: object = event  # whatever a callable has returned that no type checker saw
    if not isinstance(given, Event) or given.kind != KIND or any(tag not in given.tags for tag in tags):
        raise MessageError(f"a signer must return an event of kind {KIND} with the tags that it got: {given!r:.200}")
    return event
