"""``gennostr publish``: publish one event, and print the outcome at each relay."""

import argparse
import sys
import time
from typing import Final

from gennostr import Publication
from gennostr.cli.arguments import (
    Failure,
    Parser,
    WrongCommandLine,
    add_timeout,
    add_urls,
    exit_statuses,
    urls_of,
    whole_number,
)
from gennostr.cli.keys import KEY_HELP, VARIABLE, Signer, add_key_arguments, auth_signer, signer
from gennostr.cli.one_request import OneRequest
from gennostr.cli.standard_input import read_text
from gennostr.cli.terminal import Terminal, json_line, printable
from gennostr.nostr import Event, redact, verify

DESCRIPTION: Final = """\
Publish a note to relays, and print its outcome at each of them, one per line:

  accepted       the relay has it
  rejected       the relay refused it, for the reason on this line
  timeout        the relay did not answer
  disconnected   the connection was lost before the relay answered
  not_sent       there was no connection

The text of the note is --content, or standard input without it; the note is signed with your key. With --event,
standard input is an event as JSON that is already signed, and no key is needed."""

EXAMPLES: Final = """\
examples:
  gennostr publish wss://a.example wss://b.example --key-file ~/.nostr-key --content "hello"
  echo "hello" | gennostr publish wss://relay.example --tag t=nostr
  gennostr publish wss://mine.example --event --json < event.json
"""


def add_arguments(parser: Parser) -> None:
    """Add the command's arguments and help texts."""
    parser.usage = "%(prog)s URL... [options]"
    parser.description = DESCRIPTION
    statuses = exit_statuses(
        _0="all relays accepted it",
        _1="some relays accepted it and some did not, or another failure",
        _2="wrong command line, or an invalid key",
        _3="no relay accepted it",
        _130="interrupted before all outcomes were known",
    )
    parser.epilog = f"{EXAMPLES}\n{KEY_HELP}\n\n{statuses}"
    add_urls(parser)
    parser.add_argument(
        "--content", metavar="TEXT", help="the text (default: standard input, without its last line break)"
    )
    parser.add_argument("--kind", type=whole_number, help="the event's kind (default: 1, a note)")
    parser.add_argument(
        "--tag",
        metavar="NAME=VALUE",
        type=_tag,
        action="append",
        help="a tag such as t=nostr; repeat it for more tags",
    )
    parser.add_argument("--event", action="store_true", help="standard input is a signed event as JSON")
    add_timeout(parser, 10, "time for connecting and the answer together")
    parser.add_argument("--json", action="store_true", help="print each outcome as one line of JSON")
    add_key_arguments(parser, auth=True)


def _tag(text: str) -> list[str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"not NAME=VALUE: {text!r}")
    return [name, value]


def run(parsed: argparse.Namespace) -> int:
    """Publish and print the outcomes; return the exit status."""
    event, auth = _event(parsed)
    urls = urls_of(parsed)
    request = OneRequest(urls, parsed.timeout, auth, lambda client: client.publish(event, urls, parsed.timeout))
    if not request.run() or not isinstance(request.pending, Publication):
        return 130
    return _report(event, request.pending, request, as_json=parsed.json)


def _event(parsed: argparse.Namespace) -> tuple[Event, Signer | None]:
    """Return the event, and the signer that answers challenges."""
    if parsed.event:
        for name in ("content", "kind", "tag"):
            if getattr(parsed, name) is not None:
                raise WrongCommandLine(f"--event and --{name}: a signed event cannot be changed")
        auth = auth_signer(parsed)
        return _signed(read_text("a signed event")), auth
    author = signer(parsed)
    if author is None:
        raise WrongCommandLine(
            f"no key given: use --key-file PATH, or the environment variable {VARIABLE} (or --event)"
        )
    content = parsed.content
    if content is None:
        content = read_text("the note").removesuffix("\n")
        if not content:
            raise WrongCommandLine("standard input is empty (--content '' publishes an empty note)")
    kind = 1 if parsed.kind is None else parsed.kind
    # The event shows the relays who its author is, so authenticating with the same key reveals nothing more.
    return author(created_at=int(time.time()), kind=kind, content=content, tags=parsed.tag or []), author


def _signed(text: str) -> Event:
    try:
        event = Event.from_json(text)
        verify(event)
    except ValueError as error:
        raise Failure(f"standard input: {error}") from None
    return event


def _report(event: Event, publication: Publication, request: OneRequest, *, as_json: bool) -> int:
    outcomes = publication.result()
    terminal = Terminal()
    for url, outcome in outcomes.items():
        message = request.problem(url, outcome.kind, outcome.message)
        if as_json:
            fields = {"relay": redact(url), "outcome": outcome.kind, "prefix": outcome.prefix, "message": message}
            terminal.line(json_line({**fields, "event": event.id}))
        else:
            text = f"{redact(url)} {outcome.kind}" + (f" {message}" if message else "")
            terminal.line(printable(text), "green" if outcome else "red")
    accepted = sum(map(bool, outcomes.values()))
    if accepted == len(outcomes):
        return 0
    sys.stderr.write(f"gennostr publish: {accepted} of {len(outcomes)} relays have {event.id}\n")
    return 1 if accepted else 3
