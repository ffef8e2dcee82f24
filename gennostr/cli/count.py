"""``gennostr count``: how many events match at relays (NIP-45)."""

import argparse
import sys
from typing import Any, Final

from gennostr import Count, CountRequest
from gennostr.cli.arguments import Parser, add_timeout, add_urls, exit_statuses, urls_of
from gennostr.cli.filters import TIME_HELP, add_filter_arguments, filter_of
from gennostr.cli.keys import KEY_HELP, add_key_arguments, auth_signer
from gennostr.cli.one_request import OneRequest
from gennostr.cli.terminal import Terminal, json_line, printable
from gennostr.nostr import CountResult, redact

DESCRIPTION: Final = """\
Show how many events match at each relay, counted by the relay itself (NIP-45), and for several relays the number at all
of them together.

Relays share events, so their numbers cannot be added up. Where they send registers (HyperLogLog), these are merged into
an estimate; otherwise the total is the greatest of the numbers, and there may be more."""

EXAMPLES: Final = """\
examples:
  gennostr count wss://relay.example --kinds 3 --tag p=npub1...
  gennostr count wss://a.example wss://b.example --kinds 1 --since 1d
  gennostr count wss://relay.example --authors npub1... --json | jq .count
"""

_WIDTH: Final = 12


def add_arguments(parser: Parser) -> None:
    """Add the command's arguments and help texts."""
    parser.usage = "%(prog)s URL... [options]"
    parser.description = DESCRIPTION
    statuses = exit_statuses(
        _0="all relays answered",
        _1="some relays did not answer, or another failure",
        _2="wrong command line, or an invalid key",
        _3="no relay answered",
        _130="interrupted before all answers had arrived",
    )
    parser.epilog = f"{EXAMPLES}\n{TIME_HELP}\n\n{KEY_HELP}\n\n{statuses}"
    add_urls(parser)
    add_filter_arguments(parser)
    add_timeout(parser, 10, "time for connecting and the answer together")
    parser.add_argument("--json", action="store_true", help="print the result as one line of JSON")
    add_key_arguments(parser, auth=True)


def run(parsed: argparse.Namespace) -> int:
    """Request the numbers and print them; return the exit status."""
    filter_, urls, timeout = filter_of(parsed), urls_of(parsed), parsed.timeout
    request = OneRequest(urls, timeout, auth_signer(parsed), lambda client: client.count(filter_, urls, timeout))
    if not request.run() or not isinstance(request.pending, CountRequest):
        return 130
    count = request.pending.result()
    answered = _report_json(count, request) if parsed.json else _report(count, request)
    if answered == len(urls):
        return 0
    sys.stderr.write(f"gennostr count: {answered} of {len(urls)} relays answered\n")
    return 1 if answered else 3


def _report(count: Count, request: OneRequest) -> int:
    """Print a line for each relay; return how many answered."""
    terminal = Terminal()
    answered = 0
    for url, result in count.by_relay.items():
        if isinstance(result, CountResult):
            answered += 1
            about = " (approximate)" if result.approximate else ""
            terminal.line(f"{result.count:<{_WIDTH}} {printable(redact(url))}{about}")
        else:
            problem = request.problem(url, result.kind, result.message)
            terminal.line(printable(f"{'-':<{_WIDTH}} {redact(url)} {result.kind} {problem}".rstrip()), "red")
    if answered > 1:
        how = "at all relays together (estimate)" if count.hll is not None else "at least, at all relays together"
        terminal.line(f"{count.count:<{_WIDTH}} {how}")
    return answered


def _report_json(count: Count, request: OneRequest) -> int:
    """Print one line; return how many relays answered."""
    relays: list[dict[str, Any]] = []
    for url, result in count.by_relay.items():
        if isinstance(result, CountResult):
            relays.append({"relay": redact(url), "count": result.count, "approximate": bool(result.approximate)})
        else:
            problem = request.problem(url, result.kind, result.message)
            relays.append({"relay": redact(url), "outcome": result.kind, "message": problem})
    answered = sum("count" in each for each in relays)
    total = count.count if answered else None
    Terminal().line(json_line({"count": total, "approximate": count.approximate, "relays": relays}))
    return answered
