"""Filters (NIP-01): which events a subscription asks for."""

from collections.abc import Mapping
from typing import Any

from gennostr.nostr.event import Event


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
