"""``gennostr archive``: keep all events that match in a file."""

import argparse
import sys
from collections.abc import Mapping
from typing import Any, Final

from gennostr import CallError, CallExit, NoReply, Relay, Request, Shutdown, StartError, Stop, StoreError
from gennostr.cli.arguments import (
    CLOSE_TIMEOUT,
    Failure,
    Parser,
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
from gennostr.client.gen_nostr import RelayOutcome
from gennostr.nostr import ClosedMessage, redact
from gennostr.otp.outcomes import CallOutcome
from gennostr.store import Archive, ArchiveOptions, ArchiveProgress, Events
from gennostr.store.archive import Archived

DESCRIPTION: Final = """\
Keep all events of relays that match in an SQLite file, then exit; with --follow, continue with new ones until Ctrl-C.

Run it again to add what is new: each relay is read from where the last run has ended, and a history that was
interrupted is resumed. With other options that select events, the relays are read anew.

As on a relay, newer versions of replaceable events replace older ones, authors can delete their events (NIP-09), and
expired ones are removed (NIP-40). Read the file with "gennostr fetch PATH", also while it is being written.

On a terminal, standard error shows how far each relay was read. The totals are printed on standard output:

  received  events that the relays sent
  added     new ones of these
  stored    events in the file that match"""

EXAMPLES: Final = """\
examples:
  gennostr archive mine.db wss://relay.example --authors npub1...
  gennostr archive notes.db wss://a.example wss://b.example --kinds 0,1,3 --since 30d --follow
  gennostr fetch mine.db --kinds 1 --limit 20
"""


def add_arguments(parser: Parser) -> None:
    """Add the command's arguments and help texts."""
    parser.usage = "%(prog)s PATH URL... [options]"
    parser.description = DESCRIPTION
    statuses = exit_statuses(
        _0="all relays were read to the end, or --follow was stopped by Ctrl-C or SIGTERM",
        _1="some were not: standard error says which and why; or another failure, such as a full disk",
        _2="wrong command line, or an invalid key",
        _130="interrupted: run the same command again to resume",
    )
    parser.epilog = f"{EXAMPLES}\n{TIME_HELP}\n\n{KEY_HELP}\n\n{statuses}"
    parser.add_argument("path", metavar="PATH", help="the file, which is created if need be")
    add_urls(parser)
    add_filter_arguments(parser, some=False)
    parser.add_argument("--again", action="store_true", help="read all that the relays have stored once more")
    parser.add_argument("--follow", action="store_true", help="continue with new events, until Ctrl-C")
    parser.add_argument(
        "--full-text",
        action="store_true",
        help="index the words, for 'gennostr fetch PATH --search'; the file keeps it",
    )
    add_timeout(parser, 30, "give up a relay that sends nothing or cannot be reached for this long")
    parser.add_argument("--json", action="store_true", help="print the totals as one line of JSON")
    add_verify(parser)
    add_key_arguments(parser, auth=True)


class Filler(Archive):
    """The archive; what goes wrong is printed instead of logged."""

    def handle_call(self, request: Any, from_: Request, state: Archived) -> CallOutcome[Archived]:
        """Never answer "end": the call ends with the archive."""
        return NoReply() if request == "end" else super().handle_call(request, from_, state)

    def handle_error(self, reason: Any, relay: Relay, state: Archived) -> RelayOutcome[Archived]:
        """Keep the error for the report; end, if the file cannot be written."""
        if isinstance(reason, StoreError):
            return Stop(Shutdown(reason))
        self.note_error(reason, relay, state)
        return None

    def handle_closed(self, message: ClosedMessage, relay: Relay, state: Archived) -> RelayOutcome[Archived]:
        """Keep the refusal for the report."""
        self.note_error(message.message or "the relay closed the subscription", relay, state)
        return None


def run(parsed: argparse.Namespace) -> int:
    """Fill the file; return the exit status."""
    signer, verify, filter_ = auth_signer(parsed), verifies(parsed), filter_of(parsed)
    options = ArchiveOptions(
        parsed.path,
        urls_of(parsed),
        filter_,
        signer,
        search=parsed.full_text,
        again=parsed.again,
        timeout=parsed.timeout,
        relay_options={"verify": verify, "close_timeout": CLOSE_TIMEOUT},
    )
    notes = Terminal(sys.stderr)
    progress: Mapping[str, ArchiveProgress] = {}

    def shown() -> tuple[int, int | None, str]:
        nonlocal progress
        try:
            progress = archive.call("progress")
        except CallError:  # it is busy, or has ended
            pass
        return sum(each.received for each in progress.values()), None, _shown(progress)

    status = 0
    try:
        with Filler.start(options) as archive:
            try:
                with Progress(notes, shown):
                    progress = archive.call("stored", timeout=None)
                    status = _report_failures(progress)
                    if parsed.follow:
                        archive.call("end", timeout=None)
            finally:
                if archive.is_alive():
                    progress = archive.call("progress", timeout=None)
    except StartError as error:
        raise Failure(error_text(error.reason)) from None
    except CallExit as error:
        reason = error.reason.reason if isinstance(error.reason, Shutdown) else error.reason
        raise Failure(f"the archive has ended: {error_text(reason)}") from None
    except KeyboardInterrupt:
        if not parsed.follow:
            _report(options, progress, as_json=parsed.json)
            sys.stderr.write("gennostr archive: interrupted; run the same command again to resume\n")
            return 130
        status = 0
    _report(options, progress, as_json=parsed.json)
    return status


def _report_failures(progress: Mapping[str, ArchiveProgress]) -> int:
    """Print which relays were not read to their end; return the exit status."""
    failed = {
        url: each.error or "the end of its stored events did not come"
        for url, each in progress.items()
        if not each.done
    }
    for url, reason in failed.items():
        sys.stderr.write(f"gennostr archive: {printable(f'{redact(url)}: not read to its end: {reason}')}\n")
    return 1 if failed else 0


def _report(options: ArchiveOptions, progress: Mapping[str, ArchiveProgress], *, as_json: bool) -> None:
    try:
        with Events(options.path) as events:
            stored = events.count(options.filters)
    except StoreError as error:  # nothing could be saved
        raise Failure(str(error)) from None
    fields = {
        "received": sum(each.received for each in progress.values()),
        "added": sum(each.added for each in progress.values()),
        "stored": stored,
    }
    text = ", ".join(f"{name} {number:,}" for name, number in fields.items())
    Terminal().line(json_line(fields) if as_json else text)


def _shown(progress: Mapping[str, ArchiveProgress]) -> str:
    parts: list[str] = []
    for url, each in progress.items():
        oldest = "" if each.oldest is None or each.done else f" to {local_time(each.oldest)}"
        state = ", done" if each.done else ", failed" if each.error is not None else ""
        parts.append(f"{redact(url)} {each.added:,} new{oldest}{state}")
    return " · ".join(parts)
