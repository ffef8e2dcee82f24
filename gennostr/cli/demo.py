"""``gennostr demo``: the lifecycle of a client, with two local relays."""

import argparse
import os
import time
from collections import Counter
from contextlib import ExitStack
from typing import Any, Final

from gennostr import GenNostr, Ok, Relay, tree
from gennostr.cli.arguments import exit_statuses
from gennostr.cli.local_relay import LocalRelay
from gennostr.cli.terminal import Terminal, printable
from gennostr.client.gen_nostr import RelayOutcome
from gennostr.nostr import EoseMessage, EventMessage, OkMessage, sign
from gennostr.otp.outcomes import CallOutcome, InitOutcome, NoReply, Reply

DESCRIPTION: Final = """\
The lifecycle of a client in a few seconds, with two relays that it starts on this machine (they need nostr-sdk:
pip install 'gennostr[demo]'): connect, subscribe, publish 20 notes, receive them from both relays, lose a relay,
reconnect, stop. Nothing leaves the machine."""
NOTES: Final = 20
TIME_LIMIT: Final = 18.0
"""The time limit of the whole demo, in seconds."""


class StepFailed(Exception):
    """An expected event did not happen."""


class Watcher(GenNostr[Counter[str]]):
    """A client that prints and counts what happens.

    It replies to a call ``("until", what, number)`` once the count is reached.
    """

    def init(self, init_arg: tuple[Terminal, list[str]]) -> InitOutcome[Counter[str]]:
        """Add the relays."""
        self._terminal, urls = init_arg
        self._waiting: list[tuple[str, int, Any]] = []
        for url in urls:
            self.add_relay(url, reconnect=[0.5, 1.0, 1.0])
        return Ok(Counter())

    def handle_call(self, request: Any, from_: Any, state: Counter[str]) -> CallOutcome[Counter[str]]:
        """Reply now, or once the count is reached."""
        _, what, number = request
        if state[what] >= number:
            return Reply(state[what])
        self._waiting.append((what, number, from_))
        return NoReply()

    def _happened(self, what: str, text: str, colour: str, state: Counter[str]) -> None:
        state[what] += 1
        self._terminal.line(text, colour)
        self._terminal.status(" · ".join(f"{count} {name}" for name, count in state.items()))
        for entry in [each for each in self._waiting if each[0] == what and state[what] >= each[1]]:
            self._waiting.remove(entry)
            entry[2].reply(state[what])

    def handle_connect(self, relay: Relay, state: Counter[str]) -> RelayOutcome[Counter[str]]:
        """Subscribe."""
        self.send_message(["REQ", "demo", {"kinds": [1]}], relay)
        self._happened("connects", f"{relay.url} connected", "green", state)
        return None

    def handle_event(self, message: EventMessage, relay: Relay, state: Counter[str]) -> RelayOutcome[Counter[str]]:
        """Show the event."""
        content = printable(message.event.content)
        self._happened("events", f"{relay.url} EVENT {message.event.id[:8]} {content}", "cyan", state)
        return None

    def handle_ok(self, message: OkMessage, relay: Relay, state: Counter[str]) -> RelayOutcome[Counter[str]]:
        """Count accepted events."""
        if message.accepted:
            state["accepted"] += 1
        else:
            self._terminal.line(f"{relay.url} refused: {printable(message.message)}", "red")
        return None

    def handle_eose(self, message: EoseMessage, relay: Relay, state: Counter[str]) -> RelayOutcome[Counter[str]]:
        """Show that the stored events have ended."""
        self._happened("eoses", f"{relay.url} EOSE {message.subscription_id}", "blue", state)
        return None

    def handle_error(self, reason: Any, relay: Relay, state: Counter[str]) -> RelayOutcome[Counter[str]]:
        """Show the error."""
        self._happened("errors", f"{relay.url} error: {printable(str(reason))}", "red", state)
        return None

    def handle_disconnect(self, reason: Any, relay: Relay, state: Counter[str]) -> RelayOutcome[Counter[str]]:
        """Show the backoff, and reconnect."""
        delays = relay.options.reconnect
        delay = delays[min(relay.reconnect_counter, len(delays) - 1)]
        text = f"{relay.url} disconnected; attempt {relay.reconnect_counter + 1} in about {delay} s"
        self._happened("disconnects", text, "yellow", state)
        return super().handle_disconnect(reason, relay, state)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Set the help texts; the command takes no arguments."""
    parser.description = DESCRIPTION
    parser.epilog = exit_statuses(_0="every step succeeded", _1="a step failed", _130="interrupted")


def run(parsed: argparse.Namespace) -> int:
    """Run the demo; return the exit status."""
    del parsed
    terminal = Terminal()
    begun = time.monotonic()
    try:
        summary = _play(terminal, begun + TIME_LIMIT)
    except Exception as error:
        terminal.status("")
        terminal.line(f"failed: {type(error).__name__}: {error}", "red")
        return 1
    terminal.line(f"{summary}, in {time.monotonic() - begun:.1f} s", "green")
    return 0


def _play(terminal: Terminal, deadline: float) -> str:
    with ExitStack() as stack:
        relays = [stack.enter_context(LocalRelay()) for _ in range(2)]
        urls = [relay.url for relay in relays]
        terminal.line(f"two relays: {' '.join(urls)}", "dim")
        feed = stack.enter_context(Watcher.start((terminal, urls)))

        def until(what: str, number: int) -> None:
            try:
                feed.call(("until", what, number), max(0.1, deadline - time.monotonic()))
            except TimeoutError:
                seen = feed.get_state()[what]
                raise StepFailed(f"saw {seen} {what}, expected {number}") from None

        until("connects", 2)
        until("eoses", 2)
        key = os.urandom(32)
        for number in range(1, NOTES + 1):
            note = sign(key, created_at=int(time.time()), kind=1, content=f"note {number} of {NOTES}")
            feed.broadcast_message(["EVENT", note])
        until("events", 2 * NOTES)
        for line in str(tree(feed)).splitlines():
            terminal.line(line)
        terminal.line(f"killing {urls[0]}", "dim")
        relays[0].kill()
        until("disconnects", 2)  # the connection, and at least one refused attempt
        terminal.line(f"starting {urls[0]} again", "dim")
        relays[0].start()
        until("connects", 3)
        until("eoses", 3)
        if sorted(feed.list_relays()) != sorted(urls):
            raise StepFailed(f"connected to {feed.list_relays()}, expected {urls}")
        seen = feed.get_state()
        if seen["accepted"] != 2 * NOTES:
            raise StepFailed(f"the relays accepted {seen['accepted']} of {2 * NOTES} notes")
        terminal.line("stopping", "dim")
        feed.stop()
        terminal.status("")
    counts = ("connects", "events", "accepted", "eoses", "errors", "disconnects")
    return "saw " + ", ".join(f"{seen[name]} {name}" for name in counts)
