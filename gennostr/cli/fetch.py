"""``gennostr fetch``: all stored events of relays that match a filter."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from heapq import merge
from itertools import groupby
from typing import Final

from gennostr import FetchIncomplete, FetchProgress
from gennostr import fetch as fetch_events
from gennostr.cli.arguments import (
    CLOSE_TIMEOUT,
    ArchivePath,
    Failure,
    Parser,
    WrongCommandLine,
    add_timeout,
    add_urls,
    add_verify,
    exit_statuses,
    urls_of,
    verifies,
)
from gennostr.cli.filters import TIME_HELP, add_filter_arguments, filter_of
from gennostr.cli.keys import KEY_HELP, add_key_arguments, auth_signer
from gennostr.cli.progress import Progress
from gennostr.cli.terminal import Terminal, error_text, json_line, local_time, printable
from gennostr.client.pages import order
from gennostr.exceptions import StoreError
from gennostr.nostr import redact

DESCRIPTION: Final = """\
Print all stored events of relays that match, as lines of JSON, newest first and without duplicates, then exit. A relay
sends at most a few hundred events at once; further requests are sent until there are no more.

The path of a file that "gennostr archive" has written is read likewise, without a relay.

On a terminal, standard error shows how far each relay has been read: events, pages, and the oldest date; with tqdm
(pip install 'gennostr[cli]') also the rate, and a bar if --limit is given."""

EXAMPLES: Final = """\
examples:
  gennostr fetch wss://relay.example --authors npub1... > mine.jsonl
  gennostr fetch wss://a.example wss://b.example --kinds 0 3 10002 --since 30d
  gennostr fetch wss://relay.example --kinds 1 --limit 1000 | jq -r .content
  gennostr fetch notes.db --tag t=nostr --since 7d
"""


def add_arguments(parser: Parser) -> None:
    """Add the command's arguments and help texts."""
    parser.usage = "%(prog)s URL... [options]\n       %(prog)s PATH... [options]"
    parser.description = DESCRIPTION
    statuses = exit_statuses(
        _0="all relays were read to the end, or the reader of the output has exited",
        _1="some were not: standard error says which and why; the events that arrived are printed",
        _2="wrong command line, or an invalid key",
        _130="interrupted",
    )
    parser.epilog = f"{EXAMPLES}\n{TIME_HELP}\n\n{KEY_HELP}\n\n{statuses}"
    add_urls(parser, paths=True)
    add_filter_arguments(parser)
    add_timeout(parser, 30, "give up a relay that sends nothing or cannot be reached for this long")
    add_verify(parser)
    add_key_arguments(parser, auth=True)


def run(parsed: argparse.Namespace) -> int:
    """Fetch and print the events; return the exit status."""
    files = [each for each in dict.fromkeys(parsed.urls) if isinstance(each, ArchivePath)]
    if files:
        return _read(files, parsed)
    signer, verify = auth_signer(parsed), verifies(parsed)
    events, notes = Terminal(), Terminal(sys.stderr)
    # Both may be the same terminal, so only one of them may own the status line.
    live = events if events.live and notes.live else notes
    with (
        fetch_events(
            filter_of(parsed),
            urls_of(parsed),
            signer=signer,
            verify=verify,
            timeout=parsed.timeout,
            close_timeout=CLOSE_TIMEOUT,
        ) as found,
        Progress(live, lambda: _shown(found.progress, parsed.limit)),
    ):
        try:
            for event in found:
                events.line(json_line(event))
        except FetchIncomplete as incomplete:
            live.status("")
            for url, reason in incomplete.failed.items():
                text = f"{url}: not read to its end: {error_text(reason)}"
                sys.stderr.write(f"gennostr fetch: {printable(text)}\n")
            return 1
    return 0


def _read(files: Sequence[str], parsed: argparse.Namespace) -> int:
    """Print the events of archives."""
    from gennostr.store import Events  # noqa: PLC0415 - for these alone

    if len(files) < len(dict.fromkeys(parsed.urls)):
        raise WrongCommandLine("give either relays or files")
    filter_, events = filter_of(parsed), Terminal()
    with ExitStack() as stack:
        try:
            found = [stack.enter_context(Events(file)).query(filter_) for file in files]
        except (StoreError, ValueError) as error:
            raise Failure(error_text(error)) from None
        for _, same in groupby(merge(*found, key=order), key=order):
            events.line(json_line(next(same)))
    return 0


def _shown(progress: Mapping[str, FetchProgress], limit: int | None) -> tuple[int, int | None, str]:
    parts: list[str] = []
    for url, each in progress.items():
        oldest = "" if each.oldest is None else f" to {local_time(each.oldest)}"
        state = ", failed" if each.error is not None else ", done" if each.done else ""
        pages = "1 page" if each.pages == 1 else f"{each.pages:,} pages"
        parts.append(f"{redact(url)} {pages}{oldest}{state}")
    total = None if limit is None else limit * len(progress)
    return sum(each.events for each in progress.values()), total, " · ".join(parts)
