"""``gennostr fetch``: all stored events of relays that match a filter."""

import argparse
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self

from gennostr import Fetch, FetchIncomplete, FetchProgress
from gennostr import fetch as fetch_events
from gennostr.cli.arguments import CLOSE_TIMEOUT, add_urls, add_verify, exit_statuses, seconds, urls_of, verifies
from gennostr.cli.filters import TIME_HELP, add_filter_arguments, filter_of
from gennostr.cli.keys import KEY_HELP, add_key_arguments, auth_signer
from gennostr.cli.terminal import Terminal, json_line, printable
from gennostr.nostr import redact

DESCRIPTION: Final = """\
Print the stored events of relays that match, as lines of JSON, newest first and each once; then exit. Relays give a few
hundred events at once: they are asked again until there are no more.

On a terminal, standard error shows how far each relay has been read: events, pages, and the oldest date."""

EXAMPLES: Final = """\
examples:
  gennostr fetch wss://relay.example --authors npub1... > mine.jsonl
  gennostr fetch wss://a.example wss://b.example --kinds 0 3 10002 --since 30d
  gennostr fetch wss://relay.example --kinds 1 --limit 1000 | jq -r .content
"""

REDRAW: Final = 0.2
"""Seconds between updates of the status line."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments and help texts."""
    parser.usage = "%(prog)s URL... [options]"
    parser.description = DESCRIPTION
    statuses = exit_statuses(
        _0="all relays were read to the end, or who read the output has gone",
        _1="not all: standard error says which and why; the rest was printed",
        _2="wrong command line, or a key that is none",
        _130="interrupted",
    )
    parser.epilog = f"{EXAMPLES}\n{TIME_HELP}\n\n{KEY_HELP}\n\n{statuses}"
    add_urls(parser)
    add_filter_arguments(parser)
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=30.0,
        help="how long a relay may be silent or out of reach (default: 30)",
    )
    add_verify(parser)
    add_key_arguments(parser, auth=True)


def run(parsed: argparse.Namespace) -> int:
    """Fetch and print the events; return the exit status."""
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
        _Status(live, found),
    ):
        try:
            for event in found:
                events.line(json_line(event))
        except FetchIncomplete as incomplete:
            live.status("")
            for url, reason in incomplete.failed.items():
                text = f"{url}: not read to its end: {str(reason) or type(reason).__name__}"
                sys.stderr.write(f"gennostr fetch: {printable(text)}\n")
            return 1
    return 0


class _Status:
    """Updates the status line of `terminal` in its own thread, as nothing else runs while relays are silent."""

    def __init__(self, terminal: Terminal, fetch: Fetch) -> None:
        self._terminal = terminal
        self._fetch = fetch
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="gennostr-fetch-status", daemon=True)

    def __enter__(self) -> Self:
        if self._terminal.live:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        if self._terminal.live:
            self._thread.join()
            self._terminal.status("")

    def _draw(self) -> None:
        while not self._over.is_set():
            try:
                self._terminal.status(_shown(self._fetch.progress))
            except OSError:  # the terminal was closed
                return
            self._over.wait(REDRAW)


def _shown(progress: Mapping[str, FetchProgress]) -> str:
    parts = [f"{sum(each.events for each in progress.values()):,} events"]
    for url, each in progress.items():
        oldest = "" if each.oldest is None else f" to {_date(each.oldest)}"
        state = ", failed" if each.error is not None else ", done" if each.done else ""
        parts.append(f"{redact(url)} {each.pages:,} pages{oldest}{state}")
    return " · ".join(parts)


def _date(moment: int) -> str:
    try:
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):  # events from relays can have any timestamp
        return str(moment)
