"""``gennostr listen``: events of the user's own relays, until Ctrl-C."""

import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from gennostr import GenNostr, Ok, Relay, Stop, run
from gennostr.cli.terminal import Terminal, printable
from gennostr.client.gen_nostr import RelayOutcome
from gennostr.nostr import ClosedMessage, EoseMessage, EventMessage, NoticeMessage, redact
from gennostr.otp.outcomes import InitOutcome


class Listener(GenNostr[int]):
    """Prints events on standard output, and what else happens on standard error; the state counts events."""

    def init(self, init_arg: tuple[Sequence[str], dict[str, Any], bool]) -> InitOutcome[int]:
        """Add the relays."""
        urls, self._filter, self._json = init_arg
        self._events = Terminal()
        self._notes = Terminal(sys.stderr)
        # One terminal shows both: the status line must be one's alone.
        self._live = self._events if self._events.live else self._notes
        self._up: set[str] = set()
        for url in urls:
            self.add_relay(url)
        return Ok(0)

    def _note(self, text: str, colour: str, state: int) -> None:
        (self._live if self._live.live else self._notes).line(printable(text), colour)
        self._show(state)

    def _show(self, state: int) -> None:
        self._live.status(f"{len(self._up)} connected · {state} events · Ctrl-C stops")

    def handle_connect(self, relay: Relay, state: int) -> RelayOutcome[int]:
        """Subscribe."""
        self.send_message(["REQ", "listen", self._filter], relay)
        self._up.add(relay.url)
        self._note(f"{redact(relay.url)} connected", "green", state)
        return None

    def handle_event(self, message: EventMessage, relay: Relay, state: int) -> RelayOutcome[int]:
        """Print the event, on one line."""
        event = message.event
        if self._json:
            text = msgspec.json.encode(event).decode()
        else:
            content = printable(event.content)
            text = f"{redact(relay.url)} {event.created_at} {event.kind} {event.pubkey[:8]} {content}"
        try:
            self._events.line(text)
        except BrokenPipeError:
            return Stop()  # who read it has gone (as head does): that is an end like Ctrl-C
        self._show(state + 1)
        return Ok(state + 1)

    def handle_eose(self, message: EoseMessage, relay: Relay, state: int) -> RelayOutcome[int]:
        """Say that stored events are over."""
        del message
        self._note(f"{redact(relay.url)} end of stored events", "dim", state)
        return None

    def handle_closed(self, message: ClosedMessage, relay: Relay, state: int) -> RelayOutcome[int]:
        """Say that the relay ended the subscription."""
        self._note(f"{redact(relay.url)} closed the subscription: {message.message}", "yellow", state)
        return None

    def handle_notice(self, message: NoticeMessage, relay: Relay, state: int) -> RelayOutcome[int]:
        """Show what the relay says."""
        self._note(f"{redact(relay.url)} says: {message.message}", "yellow", state)
        return None

    def handle_error(self, reason: Any, relay: Relay, state: int) -> RelayOutcome[int]:
        """Show the error."""
        self._note(f"{redact(relay.url)} error: {reason}", "red", state)
        return None

    def handle_disconnect(self, reason: Any, relay: Relay, state: int) -> RelayOutcome[int]:
        """Say it, and reconnect."""
        self._up.discard(relay.url)
        self._note(f"{redact(relay.url)} disconnected, reconnecting", "yellow", state)
        return super().handle_disconnect(reason, relay, state)

    def terminate(self, reason: Any, state: int) -> None:
        """Leave the terminal clean."""
        del reason
        self._live.status("")
        self._note(f"{state} events", "dim", state)
        self._live.status("")


def main(urls: Sequence[str], filter_: dict[str, Any], *, json: bool) -> int:
    """Listen until Ctrl-C; return the exit status."""
    run(Listener, (urls, filter_, json))
    return 0
