"""``gennostr publish``: publish one event to relays, and print the outcome at each."""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from gennostr import GenNostr, Ok, Outcome, Publication, Published, Relay, Stop
from gennostr import run as run_program
from gennostr.cli.arguments import (
    CLOSE_TIMEOUT,
    Failure,
    WrongCommandLine,
    add_urls,
    exit_statuses,
    seconds,
    urls_of,
    whole_number,
)
from gennostr.cli.keys import KEY_HELP, VARIABLE, Signer, add_key_arguments, auth_signer, signer
from gennostr.cli.terminal import Terminal, json_line, printable
from gennostr.client.gen_nostr import RelayOutcome
from gennostr.nostr import Event, redact, verify
from gennostr.otp.outcomes import CallbackOutcome, InitOutcome

DESCRIPTION: Final = """\
Publish a note to relays, and print what became of it at each of them, one per line:

  accepted       the relay has it
  rejected       it has said why not
  timeout        it has not answered
  disconnected   the connection was lost before it answered
  not_sent       there was no connection

The note is --content or else what comes from standard input, signed with your key. With --event, standard input is an
event as JSON that is signed already, and no key is needed."""

EXAMPLES: Final = """\
examples:
  gennostr publish wss://a.example wss://b.example --key-file ~/.nostr-key --content "hello"
  echo "hello" | gennostr publish wss://relay.example --tag t=nostr
  gennostr publish wss://mine.example --event --json < event.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments and help texts."""
    parser.usage = "%(prog)s URL... [options]"
    parser.description = DESCRIPTION
    statuses = exit_statuses(
        _0="all relays have accepted it",
        _1="some have and some have not, or it failed",
        _2="wrong command line, or a key that is none",
        _3="no relay has accepted it",
        _130="interrupted before that was known",
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
        help="a tag such as t=nostr; given again: one more",
    )
    parser.add_argument("--event", action="store_true", help="standard input is a whole signed event, as JSON")
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=10.0,
        help="for connecting and the answer together (default: 10)",
    )
    parser.add_argument("--json", action="store_true", help="print each outcome as one line of JSON")
    add_key_arguments(parser, auth=True)


def _tag(text: str) -> list[str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"not NAME=VALUE: {text!r}")
    return [name, value]


@dataclass
class Job:
    """The event to publish, and its publication."""

    event: Event
    urls: Sequence[str]
    timeout: float
    signer: Signer | None
    publication: Publication | None = None
    errors: dict[str, str] = field(default_factory=dict)
    """The last error of each relay, by url."""


class Publisher(GenNostr[Job]):
    """Publishes one event and stops when all outcomes are known."""

    def init(self, init_arg: Job) -> InitOutcome[Job]:
        """Add the relays, and publish."""
        self.signer = init_arg.signer
        self._up: set[str] = set()
        for url in init_arg.urls:
            self.add_relay(url, connect_timeout=init_arg.timeout, close_timeout=CLOSE_TIMEOUT)
        init_arg.publication = self.publish(init_arg.event, init_arg.urls, init_arg.timeout)
        return Ok(init_arg)

    def handle_connect(self, relay: Relay, state: Job) -> RelayOutcome[Job]:
        """Remember that the relay was connected."""
        del state
        self._up.add(relay.url)
        return None

    def handle_error(self, reason: Any, relay: Relay, state: Job) -> RelayOutcome[Job]:
        """Keep the error, to be printed if the event does not reach the relay."""
        state.errors[relay.url] = str(reason) or type(reason).__name__
        return None

    def handle_disconnect(self, reason: Any, relay: Relay, state: Job) -> RelayOutcome[Job]:
        """Reconnect after a lost connection; after a failed attempt, give the relay up."""
        if relay.url in self._up:
            self._up.discard(relay.url)
            return super().handle_disconnect(reason, relay, state)
        return None

    def handle_info(self, message: Any, state: Job) -> CallbackOutcome[Job]:
        """Stop when all outcomes are known."""
        return Stop() if isinstance(message, Published) else super().handle_info(message, state)


def run(parsed: argparse.Namespace) -> int:
    """Publish and print the outcomes; return the exit status."""
    event, auth = _event(parsed)
    job = Job(event, urls_of(parsed), parsed.timeout, auth)
    run_program(Publisher, job)
    publication = job.publication
    if publication is None or not publication.done() or publication.exception() is not None:
        return 130
    return _tell(event, publication.result(), job.errors, as_json=parsed.json)


def _event(parsed: argparse.Namespace) -> tuple[Event, Signer | None]:
    """Return the event, and the signer that answers challenges."""
    if parsed.event:
        for name in ("content", "kind", "tag"):
            if getattr(parsed, name) is not None:
                raise WrongCommandLine(f"--event and --{name}: an event that is signed already cannot be changed")
        auth = auth_signer(parsed)
        return _signed(_standard_input("a signed event")), auth
    author = signer(parsed)
    if author is None:
        raise WrongCommandLine(
            f"a key is needed: --key-file PATH, or the environment variable {VARIABLE} (or --event, for a signed event)"
        )
    content = parsed.content
    if content is None:
        content = _standard_input("the note").removesuffix("\n")
        if not content:
            raise WrongCommandLine("nothing came from standard input (--content '' publishes an empty note)")
    kind = 1 if parsed.kind is None else parsed.kind
    # The event shows the relays who its author is, so authenticating with the same key reveals nothing more.
    return author(created_at=int(time.time()), kind=kind, content=content, tags=parsed.tag or []), author


def _standard_input(what: str) -> str:
    if sys.stdin.isatty():
        sys.stderr.write(f"reading {what} from the terminal; Ctrl-D ends it\n")
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise Failure(f"standard input is not UTF-8: {error}") from None


def _signed(text: str) -> Event:
    try:
        event = msgspec.json.decode(text, type=Event)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Failure(f"standard input is not an event as JSON: {error}") from None
    verify(event)
    return event


def _tell(event: Event, outcomes: Mapping[str, Outcome], errors: Mapping[str, str], *, as_json: bool) -> int:
    terminal = Terminal()
    for url, outcome in outcomes.items():
        message = outcome.message
        if url in errors and outcome.kind in ("disconnected", "not_sent", "timeout"):
            message = f"{message}: {errors[url]}" if message else errors[url]
        if as_json:
            told = {"relay": redact(url), "outcome": outcome.kind, "prefix": outcome.prefix, "message": message}
            terminal.line(json_line({**told, "event": event.id}))
        else:
            text = f"{redact(url)} {outcome.kind}" + (f" {message}" if message else "")
            terminal.line(printable(text), "green" if outcome else "red")
    accepted = sum(map(bool, outcomes.values()))
    if accepted == len(outcomes):
        return 0
    sys.stderr.write(f"gennostr publish: {accepted} of {len(outcomes)} relays have {event.id}\n")
    return 1 if accepted else 3
