"""Filters (NIP-01): which events a subscription requests."""

import difflib
import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from gennostr.exceptions import MessageError
from gennostr.nostr.bech32 import decode_bech32
from gennostr.nostr.event import Event
from gennostr.values import shown

MOST_SECONDS: Final = 3 * 10**11
"""A time from here on is taken for milliseconds or finer.

As milliseconds it is in 1979; as seconds it is later than any datetime.
"""
MAX_KIND: Final = 65_535

_LISTS: Final = frozenset({"ids", "authors", "kinds"})
_TIMES: Final = frozenset({"since", "until"})
_NAMES: Final = ("ids", "authors", "kinds", "since", "until", "limit", "search")
_TAG: Final = re.compile("[#&][A-Za-z]")  # &: all of the values instead of one (NIP-91)

_EVENT_ID: Final = "event ids"
_PUBLIC_KEY: Final = "public keys"
_HELD: Final[Mapping[str, str]] = {
    "ids": _EVENT_ID,
    "#e": _EVENT_ID,
    "&e": _EVENT_ID,
    "authors": _PUBLIC_KEY,
    "#p": _PUBLIC_KEY,
    "&p": _PUBLIC_KEY,
}
"""The conditions that must hold 64 hex digits by NIP-01."""
_USUALLY_HELD: Final[Mapping[str, str]] = {
    "#E": _EVENT_ID,
    "&E": _EVENT_ID,
    "#P": _PUBLIC_KEY,
    "&P": _PUBLIC_KEY,
}
"""Those that NIP-22 and NIP-57 define as ids and keys, though another kind may use the letter for any text."""
_PREFIXES: Final[Mapping[str, str]] = {_EVENT_ID: "note", _PUBLIC_KEY: "npub"}

_HEX_DIGITS: Final = b"0123456789abcdef"
_ID: Final = re.compile("[0-9a-f]{64}")
_ANY_CASE: Final = re.compile("[0-9A-Fa-f]+")
_ENTITY: Final = re.compile("(npub|note|nsec|ncryptsec|nprofile|nevent|naddr|nrelay)1", re.IGNORECASE)
_SECRET: Final = re.compile("n(crypt)?sec1", re.IGNORECASE)

_MEANT: Final[Mapping[str, str]] = {
    **dict.fromkeys(("id", "event", "events", "eventid", "eventids"), "'ids'"),
    **dict.fromkeys(("author", "pubkey", "pubkeys", "publickey", "publickeys", "npub", "npubs", "user"), "'authors'"),
    **dict.fromkeys(("kind", "type", "types"), "'kinds'"),
    **dict.fromkeys(("from", "after", "start", "newerthan"), "'since'"),
    **dict.fromkeys(("to", "before", "end", "olderthan"), "'until'"),
    **dict.fromkeys(("createdat", "time", "timestamp"), "'since' and 'until'"),
    **dict.fromkeys(("max", "count", "size"), "'limit'"),
    **dict.fromkeys(("query", "text", "content"), "'search'"),
    **dict.fromkeys(("tag", "tags", "#", "&"), "'#' and the tag's letter, such as '#t'"),
}
"""What is probably meant by names that are not similar in spelling."""


class _Repr(reprlib.Repr):
    """Like `reprlib.repr`, without secret keys: errors end up in logs."""

    def repr_str(self, x: str, level: int) -> str:
        return "'nsec1...'" if _SECRET.search(x) else super().repr_str(x, level)

    def repr_instance(self, x: object, level: int) -> str:
        return f"<{type(x).__name__} with nsec1...>" if _SECRET.search(repr(x)) else super().repr_instance(x, level)


def _brief(value: object) -> str:
    return shown(value, _Repr().repr)


class CheckedFilters(list[dict[str, Any]]):
    """Filters that were checked: `checked_filters` does not check them again."""

    __slots__ = ()


def checked_filters(filters: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> CheckedFilters:
    """Check what a program passes as one filter or several, and return a copy.

    Only the names of NIP-01, ``search`` (NIP-50) and ``&`` with a letter (NIP-91) are accepted. Lists may be tuples or
    sets. Ids and public keys are 64 lower-case hex digits; note1... and npub1... (NIP-19) are converted to these. Times
    are in whole seconds since 1970. The error says what to use instead, and never shows a secret key (nsec1...).

    Raises:
        TypeError: it is neither a mapping nor a list of mappings.
        MessageError: the list is empty, or a condition is invalid; the message names it and its value.

    """
    if isinstance(filters, CheckedFilters):
        return filters
    return CheckedFilters(_checked(each, by_program=True) for each in _several(filters))


def received_filters(filters: Sequence[Mapping[str, Any]]) -> CheckedFilters:
    """Check filters as a relay that received them.

    Nothing is converted, and a time is any whole number.

    Raises:
        TypeError: they are not a list of mappings.
        MessageError: the list is empty, or a condition is invalid; the message names it and its value.

    """
    return CheckedFilters(_checked(each, by_program=False) for each in _several(filters))


def _several(filters: object) -> Sequence[object]:
    several: object = [filters] if isinstance(filters, Mapping) else filters
    if isinstance(several, str) or not isinstance(several, Sequence):
        raise TypeError(f"filters are a mapping or a list of mappings, not {_brief(filters)}")
    if not several:
        raise MessageError("filters are empty: use [{}] to request all events")
    return several


def _checked(filter_: object, *, by_program: bool) -> dict[str, Any]:
    if not isinstance(filter_, Mapping):
        raise TypeError(f"a filter is a mapping, not {_brief(filter_)}")
    checked: dict[str, Any] = {}
    for name, value in filter_.items():
        if not isinstance(name, str):
            raise MessageError(f"a filter's conditions have names that are texts, not {_brief(name)}")
        checked[str(name)] = _checked_value(name, value, by_program=by_program)
    return checked


def _checked_value(name: str, value: object, *, by_program: bool) -> Any:
    if name in _TIMES:
        return _checked_time(name, value, by_program=by_program)
    if name == "limit":
        return _whole_number(name, value, "the number of stored events")
    if name == "search":
        return _typed(name, value, str, "a text")
    if name == "kinds":
        return _checked_kinds(value)
    if name not in _LISTS and not _TAG.fullmatch(name):
        raise MessageError(_unknown(name))
    texts: list[str] = _typed(name, value, list[str], "a list of texts")
    if name in _HELD:
        return _checked_ids(name, texts, _HELD[name], convert=by_program)
    if name in _USUALLY_HELD and by_program:
        return [_checked_id(name, each, _USUALLY_HELD[name]) if _looks_like_id(each) else each for each in texts]
    return texts


def _typed(name: str, value: object, type_: Any, words: str) -> Any:
    try:
        return msgspec.convert(value, type_)  # makes a new list of a list, tuple or set
    except msgspec.ValidationError as error:
        raise MessageError(f"filter {name!r} must be {words}: {error}: {_brief(value)}") from None


def _checked_kinds(value: object) -> list[int]:
    kinds: list[int] = _typed("kinds", value, list[int], "a list of integers")
    if kinds and not (min(kinds) >= 0 and max(kinds) <= MAX_KIND):
        wrong = next(each for each in kinds if not 0 <= each <= MAX_KIND)
        raise MessageError(f"filter 'kinds': {_brief(wrong)} is not a kind: these are 0 to {MAX_KIND}")
    return kinds


def _whole_number(name: str, value: object, words: str) -> int:
    if value is None:
        raise MessageError(f"filter {name!r} must be {words}, not None: leave it out")
    number: int = _typed(name, value, int, words)
    if number < 0:
        raise MessageError(f"filter {name!r} must not be negative: {_brief(value)}")
    return number


def _checked_time(name: str, value: object, *, by_program: bool) -> int:
    words = "whole seconds since 1970"
    if isinstance(value, float):
        raise MessageError(
            f"filter {name!r} must be {words}, not {_brief(value)}: use int(...), such as int(time.time())"
        )
    if any(each.__name__ == "datetime" for each in type(value).__mro__):
        raise MessageError(f"filter {name!r} must be {words}, not {_brief(value)}: use int(moment.timestamp())")
    seconds = _whole_number(name, value, words)
    if seconds < MOST_SECONDS or not by_program:
        return seconds
    for unit, one in (("milliseconds", 10**3), ("microseconds", 10**6), ("nanoseconds", 10**9)):
        if seconds // one < MOST_SECONDS:
            meant = f"{seconds} looks like {unit}: use {seconds // one}"
            break
    else:
        meant = f"{_brief(seconds)} is not a time"
    raise MessageError(f"filter {name!r} must be {words}; {meant}, or leave it out if there is no limit")


def _unknown(name: str) -> str:
    if len(name) == 1 and name.isascii() and name.isalpha():
        return f"filter {name!r} is not defined (NIP-01): did you mean '#{name}'?"
    plain = re.sub("[_ -]", "", name.casefold())
    meant = _MEANT.get(plain)
    if meant is None and name[:1] in {"#", "&"}:
        return (
            f"filter {_brief(name)} is not defined (NIP-01): relays index the tags of one letter only, "
            "such as '#e', '#p' and '#t'"
        )
    close = difflib.get_close_matches(plain[:32], _NAMES, 1)
    if meant is None and close:
        meant = repr(close[0])
    if meant is None:
        return f"filter {_brief(name)} is not defined (NIP-01): use {', '.join(_NAMES)}, or # and a tag's letter"
    return f"filter {_brief(name)} is not defined (NIP-01): did you mean {meant}?"


def _checked_ids(name: str, texts: list[str], held: str, *, convert: bool) -> list[str]:
    # All at once, for lists of many thousands: 3 ms for 20,000, a third of the time to match each.
    if set(map(len, texts)) <= {64} and not "".join(texts).encode(errors="replace").translate(None, _HEX_DIGITS):
        return texts
    if convert:
        return [_checked_id(name, each, held) for each in texts]
    wrong = next(each for each in texts if not _ID.fullmatch(each))
    raise MessageError(f"filter {name!r} holds {held} of 64 lower-case hex digits, not {_brief(wrong)}")


def _looks_like_id(text: str) -> bool:
    return bool(_ENTITY.match(text.removeprefix("nostr:")) or (len(text) == 64 and _ANY_CASE.fullmatch(text)))


def _checked_id(name: str, text: str, held: str) -> str:
    """Return the 64 hex digits of an id or key, given those or its NIP-19 form."""
    if _ID.fullmatch(text):
        return text
    entity = _ENTITY.match(text)
    prefix = "" if entity is None else entity[1].lower()
    if prefix != _PREFIXES[held]:
        raise MessageError(f"filter {name!r}: {_brief(text)} {_why_not(text, prefix, held)}")
    try:
        _, data = decode_bech32(text)
    except ValueError as error:
        problem = str(error)
    else:
        if len(data) == 32:
            return data.hex()
        problem = f"it has {len(text)} characters, not 63"
    raise MessageError(f"filter {name!r}: {_brief(text)} is not a valid {prefix}1... (NIP-19): {problem}")


def _why_not(text: str, prefix: str, held: str) -> str:
    """Return why `text` is not one of `held`, and what to use."""
    here = f"this takes {held}, 64 lower-case hex digits or {_PREFIXES[held]}1..."
    match prefix:
        case "nsec" | "ncryptsec":
            return f"is a secret key, which must never be sent to a relay: {here}"
        case "npub":
            return f"is a public key and belongs in 'authors' or '#p': {here}"
        case "note":
            return f"is an event's id and belongs in 'ids' or '#e': {here}"
        case "nprofile":
            what = "holds a public key, for 'authors' or '#p', beside relays, and is not converted"
            return f"{what}: use the key alone, 64 lower-case hex digits or npub1..."
        case "nevent":
            what = "holds an event's id, for 'ids' or '#e', beside relays, and is not converted"
            return f"{what}: use the id alone, 64 lower-case hex digits or note1..."
        case "naddr":
            what = "holds the kind, author and d tag of an event, and is not converted"
            return f"{what}: use 'kinds', 'authors' and '#d', or '#a' for events that refer to it"
        case "nrelay":
            return f"is a relay's url: {here}"
    if text.startswith("nostr:"):
        return f"begins with 'nostr:' (NIP-21): use what follows it; {here}"
    if _ANY_CASE.fullmatch(text):
        if len(text) == 64:
            return f"has upper-case digits: use lowercase: {text.lower()!r}"
        if len(text) < 64:
            return f"has {len(text)} hex digits, not 64: relays no longer match prefixes (NIP-01), use all 64"
        return f"has {len(text)} hex digits, not 64"
    return f"is not hex: {here}"


def matches(filter_: Mapping[str, Any], event: Event) -> bool:
    """Return whether an event meets every condition of a filter (NIP-01).

    Ids and keys are compared in full, `since` and `until` are both inclusive, and an empty list matches nothing. ``#``
    and a letter needs one of the values in a tag of that letter, ``&`` and a letter (NIP-91) needs all of them.
    Everything else in the filter is ignored: it does not apply to a single event (``limit``), or is unknown here
    (``search``).

    Args:
        filter_: a mapping, as in a REQ. It is not checked: `subscribe` and `fetch` do that.
        event: the event.

    >>> from gennostr.nostr import Event, matches
    >>> event = Event(id="", pubkey="", created_at=7, kind=1, tags=[["t", "nostr"]], content="", sig="")
    >>> matches({"kinds": [1], "#t": ["nostr", "relay"]}, event)
    True
    >>> matches({"since": 8}, event)
    False
    """
    for key, wanted in filter_.items():  # noqa: SIM110 - for each event: a generator costs as much as this
        if not _meets(event, key, wanted):
            return False
    return True


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
    if not _TAG.fullmatch(key):
        return True
    values = (tag[1] for tag in event.tags if len(tag) > 1 and tag[0] == key[1])
    return any(value in wanted for value in values) if key[0] == "#" else set(wanted).issubset(values)


def split_filters(
    filters: Sequence[dict[str, Any]], size: int, most: int | None = None
) -> list[list[dict[str, Any]]] | None:
    """Split the filters of one REQ into groups of at most `size` bytes.

    Together, the groups request the same events.

    The size is that of the filters as JSON with commas between them. If all fit, there is one group, unchanged.
    Otherwise the filters are distributed in their order; one that is too large by itself is cut along its longest list
    (ids, authors, kinds or tag values), and along others if that is not enough. Each part keeps the other conditions,
    including `limit`.

    Returns:
        The groups; None if it is impossible: one value from each list is too large, or it takes more than `most`
            groups.

    """
    groups: list[list[dict[str, Any]]] = []
    left = -1
    for filter_ in filters:
        if (parts := _parts(filter_, size)) is None:
            return None
        for part, length in parts:
            if length + 1 > left:  # with a comma
                if len(groups) == most:
                    return None
                groups.append([])
                left = size + 1
            groups[-1].append(part)
            left -= length + 1
    return groups


class _List:
    """A list that can be cut: any of its values meets the filter's condition."""

    def __init__(self, name: str, values: Sequence[Any]) -> None:
        self.name = name
        self.lengths = [len(_encode(each)) + 1 for each in values]  # with a comma
        self.values = values
        self.length = sum(self.lengths)
        self.longest = max(self.lengths)

    def cut(self, room: int) -> Iterator[tuple[Sequence[Any], int]]:
        """Return parts of at most `room` bytes, each with its length.

        One value is a part, whatever its length.
        """
        begin = taken = 0
        for place, length in enumerate(self.lengths):
            if taken + length > room and place > begin:
                yield self.values[begin:place], taken
                begin, taken = place, 0
            taken += length
        yield self.values[begin:], taken


def _parts(filter_: dict[str, Any], size: int) -> Iterator[tuple[dict[str, Any], int]] | None:
    """Return `filter_` in parts of at most `size` bytes, each with its length.

    None: that is impossible.
    """
    length = len(_encode(filter_))
    if length <= size:
        return iter([(filter_, length)])
    names = [name for name, value in filter_.items() if _can_be_cut(filter_, name) and len(value) > 1]
    lists = [_List(name, filter_[name]) for name in names]
    # Without the values: the last one of each list has no comma.
    rest = len(_encode({**filter_, **{name: [] for name in names}})) - len(names)
    if rest + sum(each.longest for each in lists) > size:
        return None
    return (({**filter_, **part}, rest + taken) for part, taken in _cut(lists, size - rest))


def _can_be_cut(filter_: dict[str, Any], name: str) -> bool:
    # All values of an & list must be met. And if there is an & list of the same letter, a # list may be read without
    # the values that both have (NIP-91): these must be the same for every part.
    return name in _LISTS or (name[:1] == "#" and f"&{name[1:]}" not in filter_)


def _cut(lists: Sequence[_List], room: int) -> Iterator[tuple[dict[str, Sequence[Any]], int]]:
    """Return the parts of all lists, in every combination, each with its length.

    Each has at most `room` bytes.

    Each list that is cut multiplies the number of parts: lists of less than an equal share stay whole, and the others
    share what these leave.
    """
    if not lists:
        yield {}, 0
        return
    first, *others = lists
    share = _share([each.length for each in lists], room)
    for values, length in first.cut(min(share, room - sum(each.longest for each in others))):
        for part, taken in _cut(others, room - length):
            yield {first.name: values, **part}, length + taken


def _share(lengths: Sequence[int], room: int) -> int:
    """Return the most that one of `lengths` may have of `room`.

    Shorter ones leave the rest of their share to longer ones.
    """
    several = len(lengths)
    for length in sorted(lengths):
        if length * several > room:
            return room // several
        room -= length
        several -= 1
    return max(lengths)


_encode: Final = msgspec.json.Encoder().encode
