"""``gennostr top``: show the state and traffic of connections."""

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any, Final

from gennostr import GenNostr, NoReply, Ok, Relay, RelayNotFound, RelayStatistics, Stop, send_after, tree
from gennostr import run as run_program
from gennostr.cli.arguments import CLOSE_TIMEOUT, Parser, add_urls, exit_statuses, seconds, urls_of
from gennostr.cli.filters import TIME_HELP, add_filter_arguments, filter_of
from gennostr.cli.keys import KEY_HELP, Signer, add_key_arguments, auth_signer
from gennostr.cli.terminal import Terminal, error_text, printable
from gennostr.client.gen_nostr import RelayOutcome
from gennostr.nostr import EventMessage, redact
from gennostr.otp.outcomes import CallbackOutcome, InitOutcome

PING_INTERVAL: Final = 5.0
"""Seconds between pings."""

DESCRIPTION: Final = """\
Show live connections, until Ctrl-C: for each relay how long it has been connected, events per second, messages and
bytes in both directions, bytes not yet delivered to the client (undelivered), the round-trip time of a ping,
reconnects, and the last error. "mailbox" is the number of messages in the client's mailbox.

On a terminal the display is redrawn in place; in a pipe each one follows the last, after an empty line."""

EXAMPLES: Final = """\
examples:
  gennostr top wss://a.example wss://b.example
  gennostr top wss://relay.example --kinds 1 --since 1d --interval 0.5
  gennostr top wss://relay.example --once
"""

Line = tuple[str, str | None]


class Tick(Enum):
    """The timers' messages."""

    DRAW = "time to draw"
    PING = "time to ping"


def add_arguments(parser: Parser) -> None:
    """Add the command's arguments and help texts."""
    parser.usage = "%(prog)s URL... [options]"
    parser.description = DESCRIPTION
    statuses = exit_statuses(
        _0="stopped by Ctrl-C or SIGTERM; with --once: shown",
        _1="failure",
        _2="wrong command line, or an invalid key",
        _130="interrupted before --once showed anything",
    )
    parser.epilog = f"{EXAMPLES}\n{TIME_HELP}\n\n{KEY_HELP}\n\n{statuses}"
    add_urls(parser)
    parser.add_argument(
        "--interval", metavar="SECONDS", type=seconds, default=1.0, help="time between two displays (default: 1)"
    )
    parser.add_argument("--once", action="store_true", help="show one display, after the first interval, and exit")
    add_filter_arguments(parser, default="all new ones")
    add_key_arguments(parser, auth=True)


@dataclass(slots=True)
class Wanted:
    """The parsed command line, and whether anything has been shown yet."""

    urls: Sequence[str]
    filter: dict[str, Any]
    interval: float
    once: bool
    signer: Signer | None
    shown: bool = False


@dataclass
class Sample:
    """The time of the last display, and the event counts then."""

    at: float
    events: Counter[str] = field(default_factory=Counter)


class Top(GenNostr[Counter[str]]):
    """A client that counts events and draws the display.

    The state is the number of events by relay.
    """

    def init(self, init_arg: Wanted) -> InitOutcome[Counter[str]]:
        """Add the relays, subscribe, and start the timers."""
        self.signer = init_arg.signer
        self._wanted = init_arg
        self._terminal = Terminal()
        self._sample = Sample(time.monotonic())
        for url in init_arg.urls:
            self.add_relay(url, close_timeout=CLOSE_TIMEOUT)
        self.subscribe(init_arg.filter, "top")
        send_after(init_arg.interval, self.pid, Tick.DRAW)
        send_after(PING_INTERVAL, self.pid, Tick.PING)
        return Ok(Counter())

    def handle_connect(self, relay: Relay, state: Counter[str]) -> RelayOutcome[Counter[str]]:
        """Ping the relay at once, so that the first display has a latency."""
        del state
        self._ping(relay.url)
        return None

    def handle_event(self, message: EventMessage, relay: Relay, state: Counter[str]) -> RelayOutcome[Counter[str]]:
        """Count the event."""
        del message
        state[relay.url] += 1
        return None

    def handle_error(self, reason: Any, relay: Relay, state: Counter[str]) -> RelayOutcome[Counter[str]]:
        """Log nothing.

        The display shows each relay's last error, and a log line would garble it.
        """

    def handle_info(self, message: Any, state: Counter[str]) -> CallbackOutcome[Counter[str]]:
        """Draw, or ping."""
        if message is Tick.PING:
            send_after(PING_INTERVAL, self.pid, Tick.PING)
            for url in self.list_relays():
                self._ping(url)
            return NoReply()
        if message is not Tick.DRAW:
            return super().handle_info(message, state)
        try:
            self._terminal.picture(self._picture(state))
        except BrokenPipeError:
            return Stop()  # the reader has exited: end as on Ctrl-C
        finally:
            self._wanted.shown = True
        if self._wanted.once:
            return Stop()
        send_after(self._wanted.interval, self.pid, Tick.DRAW)
        return NoReply()

    def _ping(self, url: str) -> None:
        try:
            self.ping(url)
        except RelayNotFound:
            pass  # the connection has ended in the meantime

    def _picture(self, events: Counter[str]) -> list[Line]:
        now = time.monotonic()
        last, self._sample = self._sample, Sample(now, Counter(events))
        duration = max(now - last.at, 0.001)
        relays = self.relay_statistics()
        rates = {url: (events[url] - last.events[url]) / duration for url in relays}
        up = sum(each.state == "open" for each in relays.values())
        mailbox = tree(self.pid).messages
        clock = time.strftime("%H:%M:%S")
        total = f"{up} of {len(relays)} connected · {sum(rates.values()):,.1f} events/s · mailbox {mailbox:,} · {clock}"
        lines: list[Line] = [(total, None)]
        for number, each in enumerate(relays.values(), 1):
            end = number == len(relays)
            url = printable(redact(each.url))
            lines.append((f"{'└' if end else '├'}── {url}", "green" if each.state == "open" else "yellow"))
            rest = " " if end else "│"
            lines += [(f"{rest}   {text}", colour) for text, colour in _relay(each, rates[each.url])]
        return lines


def _relay(relay: RelayStatistics, rate: float) -> list[Line]:
    """Return the lines for one relay."""
    state: str = relay.state
    if relay.connected_at is not None:
        state += f" for {_duration(time.time() - relay.connected_at)}"
    parts = [state, f"{rate:,.1f} events/s"]
    if relay.latency is not None:
        parts.append(f"ping {relay.latency * 1000:,.1f} ms")
    parts.append(f"{relay.attempts:,} attempts, {relay.reconnects:,} reconnects")
    traffic = (
        f"in {relay.messages_received:,} messages, {_size(relay.bytes_received)} · "
        f"out {relay.messages_sent:,} messages, {_size(relay.bytes_sent)} · undelivered {_size(relay.undelivered)}"
    )
    lines: list[Line] = [(" · ".join(parts), None), (traffic, None)]
    if relay.last_error is not None:
        error = relay.last_error
        text = error_text(error)
        lines.append((f"last error: {printable(text)}", "red"))
    return lines


def _duration(seconds_: float) -> str:
    return str(timedelta(seconds=max(0, int(seconds_))))


def _size(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:,.1f} TB"


def run(parsed: argparse.Namespace) -> int:
    """Draw until Ctrl-C; return the exit status."""
    wanted = Wanted(
        urls_of(parsed), filter_of(parsed) or {"limit": 0}, parsed.interval, parsed.once, auth_signer(parsed)
    )
    run_program(Top, wanted)
    return 130 if wanted.once and not wanted.shown else 0
