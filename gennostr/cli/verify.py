"""``gennostr verify``: check the ids and signatures of events."""

import argparse
import sys
from typing import Final

from gennostr.cli.arguments import Parser, exit_statuses, require_coincurve
from gennostr.cli.standard_input import lines
from gennostr.cli.terminal import Terminal, json_line, printable
from gennostr.nostr import Event, verify

DESCRIPTION: Final = """\
Check events, which are lines of JSON on standard input: their form, ids and signatures (NIP-01).

Standard error has a line for each invalid event, with the number of its line and what is wrong, and the totals at the
end. With --print, the valid events are printed on standard output."""

EXAMPLES: Final = """\
examples:
  gennostr verify < events.jsonl
  gennostr fetch wss://relay.example --authors npub1... --no-verify | gennostr verify --print > valid.jsonl
"""

MAX_LINE: Final = 16 * 1024 * 1024
"""Bytes that a line may have: memory is bounded."""


def add_arguments(parser: Parser) -> None:
    """Add the command's arguments and help texts."""
    parser.description = DESCRIPTION
    statuses = exit_statuses(
        _0="every event is valid",
        _1="at least one event is invalid, or another failure",
        _2="wrong command line",
        _130="interrupted",
    )
    parser.epilog = f"{EXAMPLES}\n{statuses}"
    parser.add_argument("--print", action="store_true", help="print the valid events, one line of JSON each")


def run(parsed: argparse.Namespace) -> int:
    """Check standard input; return the exit status."""
    require_coincurve("checking signatures")
    terminal = Terminal()
    valid = invalid = 0
    for number, line in enumerate(lines("events", MAX_LINE), 1):
        if line is not None and not line.strip():
            continue
        try:
            if line is None:
                raise ValueError(f"longer than {MAX_LINE:,} bytes")  # noqa: TRY301
            event = Event.from_json(line)
            verify(event)
        except ValueError as error:
            invalid += 1
            sys.stderr.write(f"gennostr verify: line {number}: {printable(str(error))}\n")
        else:
            valid += 1
            if parsed.print:
                terminal.line(json_line(event))
    sys.stderr.write(f"gennostr verify: {valid + invalid:,} events: {valid:,} valid, {invalid:,} invalid\n")
    return 1 if invalid else 0
