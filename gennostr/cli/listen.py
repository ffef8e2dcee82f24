"""``gennostr listen``: print stored and live events of relays, until Ctrl-C."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from gennostr import GenNostr, Ok, Relay, Stop
from gennostr import run as run_program
from gennostr.cli.arguments import CLOSE_TIMEOUT, Parser, add_urls, add_verify, exit_statuses, urls_of, verifies
from gennostr.cli.filters import TIME_HELP, add_filter_arguments, filter_of
from gennostr.cli.keys import KEY_HELP, Signer, add_key_arguments, auth_signer
from gennostr.cli.terminal import Terminal, json_line, local_time, printable
from gennostr.client.gen_nostr import RelayOutcome
from gennostr.nostr import ClosedMessage, EoseMessage, EventMessage, NoticeMessage, redact
from gennostr.otp.outcomes import InitOutcome

DESCRIPTION: Final = """\
Print the events of relays, stored ones first and then live ones as they arrive, until Ctrl-C.

Each line has the relay, the time, the kind, the author and the content; on a terminal the time is local, in a pipe it
is in seconds since 1970. An event that several relays send is printed once. A lost connection is restored, and the
events of the time without it are requested. Connections and errors are reported on standard error."""

EXAMPLES: Final = """\
examples:
  gennostr listen --kinds 1 --limit 20 wss://relay.example
  gennostr listen wss://a.example wss://b.example --authors npub1... --since 2h --json
  gennostr listen wss://relay.example --kinds 1 --tag t=nostr | grep --line-buffered -i python
  gennostr listen wss://private.example --key-file ~/.nostr-key
"""


def add_arguments(parser: Parser) -> None:
    """Add the command's arguments and help texts."""
    parser.usage = "%(prog)s URL... [options]"
    parser.description = DESCRIPTION
    statuses = exit_statuses(
        _0="stopped by Ctrl-C or SIGTERM, or the reader of the output has exited",
        _1="failure",
        _2="wrong command line, or an invalid key",
    )
    parser.epilog = f"{EXAMPLES}\n{TIME_HELP}\n\n{KEY_HELP}\n\n{statuses}"
    add_urls(parser)
    add_filter_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print each event as one line of JSON")
    add_verify(parser)
    add_key_arguments(parser, auth=True)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The parsed command line."""

    urls: Sequence[str]
    filter: dict[str, Any]
    json: bool
    verify: bool
    signer: Signer | None


class Listener(GenNostr[int]):
    """A client that prints events on standard output, notes on standard error.

    The state is the number of events.
    """

    deduplicate = True

    def init(self, init_arg: Wanted) -> InitOutcome[int]:
        """Add the relays, and subscribe."""
        self.signer = init_arg.signer
        self._json = init_arg.json
        self._events = Terminal()
        self._notes = Terminal(sys.stderr)
        # Both may be the same terminal, so only one of them may own the status line.
        self._live = self._events if self._events.live else self._notes
        self._up: set[str] = set()
        for url in init_arg.urls:
            self.add_relay(url, verify=init_arg.verify, close_timeout=CLOSE_TIMEOUT)
        self.subscribe(init_arg.filter, "listen")
        return Ok(0)

    def _note(self, text: str, colour: str, state: int) -> None:
        (self._live if self._live.live else self._notes).line(printable(text), colour)
        self._show(state)

    def _show(self, state: int) -> None:
        self._live.status(f"{len(self._up)} connected · {state} events · Ctrl-C stops")

    def handle_connect(self, relay: Relay, state: int) -> RelayOutcome[int]:
        """Print that the relay is connected."""
        self._up.add(relay.url)
        self._note(f"{redact(relay.url)} connected", "green", state)
        return None

    def handle_event(self, message: EventMessage, relay: Relay, state: int) -> RelayOutcome[int]:
        """Print the event, on one line."""
        event = message.event
        if self._json:
            text = json_line(event)
        else:
            content = printable(event.content)
            time = local_time(event.created_at) if self._events.live else event.created_at
            text = f"{redact(relay.url)} {time} {event.kind} {event.pubkey[:8]} {content}"
        try:
            self._events.line(text)
        except BrokenPipeError:
            return Stop()  # the reader has exited (as head does): end as on Ctrl-C
        self._show(state + 1)
        return Ok(state + 1)

    def handle_eose(self, message: EoseMessage, relay: Relay, state: int) -> RelayOutcome[int]:
        """Print that the stored events have ended."""
        del message
        self._note(f"{redact(relay.url)} end of stored events", "dim", state)
        return None

    def handle_closed(self, message: ClosedMessage, relay: Relay, state: int) -> RelayOutcome[int]:
        """Print that the relay closed the subscription."""
        self._note(f"{redact(relay.url)} closed the subscription: {message.message}", "yellow", state)
        return None

    def handle_notice(self, message: NoticeMessage, relay: Relay, state: int) -> RelayOutcome[int]:
        """Print the relay's notice."""
        self._note(f"{redact(relay.url)} says: {message.message}", "yellow", state)
        return None

    def handle_error(self, reason: Any, relay: Relay, state: int) -> RelayOutcome[int]:
        """Print the error."""
        self._note(f"{redact(relay.url)} error: {reason}", "red", state)
        return None

    def handle_disconnect(self, reason: Any, relay: Relay, state: int) -> RelayOutcome[int]:
        """Print that the relay is disconnected, and reconnect."""
        self._up.discard(relay.url)
        self._note(f"{redact(relay.url)} disconnected, reconnecting", "yellow", state)
        return super().handle_disconnect(reason, relay, state)

    def terminate(self, reason: Any, state: int) -> None:
        """Remove the status line and print the total."""
        del reason
        self._live.status("")
        self._note(f"{state} events", "dim", state)
        self._live.status("")


def run(parsed: argparse.Namespace) -> int:
    """Listen until Ctrl-C; return the exit status."""
    signer = auth_signer(parsed)
    wanted = Wanted(urls_of(parsed), filter_of(parsed), parsed.json, verifies(parsed), signer)
    run_program(Listener, wanted)
    return 0
