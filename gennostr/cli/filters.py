"""The options that select events: a filter (NIP-01) from the command line."""

import argparse
import re
import time
from datetime import UTC, datetime
from typing import Any, Final

from gennostr.cli.arguments import Parser, whole_number, without_keys
from gennostr.cli.keys import pubkey

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

TIME_HELP: Final = """\
times (--since, --until):
  1700000000              seconds since 1970
  2024-05-01T12:00        a date, with or without a time; in UTC unless it has an offset such as +02:00
  90s 30m 2h 7d 1w        this long ago: seconds, minutes, hours, days or weeks"""


def add_filter_arguments(parser: Parser, *, default: str = "all", some: bool = True) -> None:
    """Add the options that make up a filter; an event must match all of them.

    With `some`, also those that request only some of the events that match: --limit and --search.
    """
    group = parser.add_argument_group(
        f"which events (default: {default})",
        "--kinds, --authors and --ids take several values, with commas or spaces between them: --kinds 1,6,7",
    )
    parser.add_list(group, "--kinds", metavar="KIND", type=kind, help="events of these kinds")
    parser.add_list(
        group, "--authors", metavar="KEY", type=author, help="by the authors with these public keys, hex or npub1..."
    )
    parser.add_list(group, "--ids", metavar="ID", type=_id, help="with these ids, hex or note1...")
    group.add_argument("--since", metavar="TIME", type=_since, help="created at this time or later")
    group.add_argument("--until", metavar="TIME", type=_until, help="created at this time or earlier")
    if some:
        group.add_argument("--limit", metavar="N", type=whole_number, help="at most N stored events from each relay")
    group.add_argument(
        "--tag",
        metavar="NAME=VALUE",
        type=_tag,
        action="append",
        help="with this tag, such as t=nostr or e=ID; NAME is one letter. Repeat it for more: an event must match "
        "every NAME, by any of its VALUEs",
    )
    if some:
        group.add_argument("--search", metavar="TEXT", help="that match TEXT, at relays that support search (NIP-50)")


def filter_of(parsed: argparse.Namespace) -> dict[str, Any]:
    """Return the filter; it is empty if no option was given."""
    names = ("kinds", "authors", "ids", "since", "until", "limit", "search")
    wanted = {name: getattr(parsed, name) for name in names if getattr(parsed, name, None) is not None}
    for name, value in parsed.tag or ():
        wanted.setdefault(f"#{name}", []).append(value)
    return wanted


def moment(text: str) -> int:
    """Parse a time (see TIME_HELP) into seconds since 1970."""
    if re.fullmatch("[0-9]{1,20}", text):
        return int(text)
    ago = re.fullmatch("([0-9]{1,12})([smhdw])", text)
    if ago:
        return max(0, int(time.time()) - int(ago[1]) * _UNITS[ago[2]])
    try:
        date = datetime.fromisoformat(text)
        return max(0, int((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()))
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"not a time such as 1700000000, 2024-05-01 or 2h: {text!r}") from None


def _since(text: str) -> int:
    return int(_checked("since", moment(text)))


def _until(text: str) -> int:
    return int(_checked("until", moment(text)))


def kind(text: str) -> int:
    """Parse a kind, 0 to 65535."""
    return int(_checked("kinds", [whole_number(text)])[0])


def author(text: str) -> str:
    """Parse a public key, hex or npub1...."""
    try:
        return pubkey(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{without_keys(repr(text))}: {error}") from None


def _id(text: str) -> str:
    return str(_checked("ids", [text])[0])


def _tag(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not re.fullmatch("[A-Za-z]", name):
        raise argparse.ArgumentTypeError(f"not NAME=VALUE with a NAME of one letter: {text!r}")
    return name, str(_checked(f"#{name}", [value])[0])


def _checked(name: str, value: object) -> Any:
    """Return a condition's value as a REQ contains it.

    npub1... and note1... become hex.
    """
    from gennostr.nostr.filters import checked_filters  # noqa: PLC0415

    try:
        return checked_filters({name: value})[0][name]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
