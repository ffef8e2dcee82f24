"""Filters (NIP-01): which events a subscription asks for."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from gennostr.exceptions import MessageError
from gennostr.nostr.event import Event
from gennostr.values import brief

_TYPES: Final[Mapping[str, Any]] = {
    "ids": list[str],
    "authors": list[str],
    "kinds": list[int],
    "since": int,
    "until": int,
    "limit": int,
    "search": str,
}


def checked_filters(filters: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a copy of one filter or several, as a list.

    What NIP-01 defines must have its type, and tags (``#e``) are lists of texts; other names pass as they are.

    Raises:
        TypeError: it is neither a mapping nor a list of mappings.
        MessageError: there is none, or a condition is none; the message names it.

    """
    several: object = [filters] if isinstance(filters, Mapping) else filters
    if isinstance(several, str) or not isinstance(several, Sequence):
        raise TypeError(f"filters are a mapping or a list of mappings, not {brief(filters)}")
    if not several:
        raise MessageError("filters must be one at least: [{}] asks for everything")
    return [_checked(each) for each in several]


def _checked(filter_: object) -> dict[str, Any]:
    if not isinstance(filter_, Mapping):
        raise TypeError(f"a filter is a mapping, not {brief(filter_)}")
    checked: dict[str, Any] = {}
    for name, value in filter_.items():
        if not isinstance(name, str):
            raise MessageError(f"a filter's conditions have names that are texts, not {brief(name)}")
        plain = list(value) if isinstance(value, tuple | set | frozenset) else copy.deepcopy(value)
        try:
            checked[name] = msgspec.convert(plain, list[str] if name[:1] == "#" else _TYPES.get(name, Any))
        except msgspec.ValidationError as error:
            raise MessageError(f"filter {name!r}: {error}: {brief(value)}") from None
        if name in ("since", "until", "limit") and checked[name] < 0:
            raise MessageError(f"filter {name!r} must not be negative: {value!r}")
    return checked


def matches(filter_: Mapping[str, Any], event: Event) -> bool:
    """Whether `event` meets every condition of `filter_`: ids, authors, kinds, since, until, and ``#`` with a letter.

    Ids and keys are compared whole, `since` and `until` are both included, and an empty list meets nothing. Whatever
    else is in the filter is no condition on a single event (``limit``) or none that this knows (``search``): ignored.
    """
    return all(_meets(event, key, wanted) for key, wanted in filter_.items())


def _meets(event: Event, key: str, wanted: Any) -> bool:
    match key:
        case "ids":
            return event.id in wanted
        case "authors":
            return event.pubkey in wanted
        case "kinds":
            return event.kind in wanted
        case "since":
            return bool(event.created_at >= wanted)
        case "until":
            return bool(event.created_at <= wanted)
    if len(key) == 2 and key[0] == "#" and key[1].isascii() and key[1].isalpha():
        return any(len(tag) > 1 and tag[0] == key[1] and tag[1] in wanted for tag in event.tags)
    return True
