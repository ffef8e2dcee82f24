"""A client that sends one event or one COUNT to relays.

It ends when all outcomes are known.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gennostr import CountDone, CountRequest, GenNostr, Ok, Publication, PublicationDone, Relay, Stop
from gennostr import run as run_program
from gennostr.cli.arguments import CLOSE_TIMEOUT
from gennostr.cli.keys import Signer
from gennostr.cli.terminal import error_text
from gennostr.client.gen_nostr import RelayOutcome
from gennostr.otp.outcomes import CallbackOutcome, InitOutcome


@dataclass
class OneRequest:
    """What to send, and the future of its outcomes."""

    urls: Sequence[str]
    timeout: float
    signer: Signer | None
    send: Callable[["Requester"], Publication | CountRequest]
    pending: Publication | CountRequest | None = None
    errors: dict[str, str] = field(default_factory=dict)
    """The last error of each relay, by url."""

    def run(self) -> bool:
        """Send it and wait for all outcomes; return False if a signal ended that first."""
        run_program(Requester, self)
        return self.pending is not None and self.pending.done() and self.pending.exception() is None

    def problem(self, url: str, kind: str, message: str) -> str:
        """Return `message` with the relay's last error, if that explains it."""
        if url in self.errors and kind in ("disconnected", "not_sent", "timeout"):
            return f"{message}: {self.errors[url]}" if message else self.errors[url]
        return message


class Requester(GenNostr[OneRequest]):
    """Sends the request, and stops when all outcomes are known."""

    def init(self, init_arg: OneRequest) -> InitOutcome[OneRequest]:
        """Add the relays, and send."""
        self.signer = init_arg.signer
        self._up: set[str] = set()
        for url in init_arg.urls:
            self.add_relay(url, connect_timeout=init_arg.timeout, close_timeout=CLOSE_TIMEOUT)
        init_arg.pending = init_arg.send(self)
        return Ok(init_arg)

    def handle_connect(self, relay: Relay, state: OneRequest) -> RelayOutcome[OneRequest]:
        """Remember that the relay was connected."""
        del state
        self._up.add(relay.url)
        return None

    def handle_error(self, reason: Any, relay: Relay, state: OneRequest) -> RelayOutcome[OneRequest]:
        """Keep the error, to be printed if the relay does not answer."""
        state.errors[relay.url] = error_text(reason)
        return None

    def handle_disconnect(self, reason: Any, relay: Relay, state: OneRequest) -> RelayOutcome[OneRequest]:
        """Reconnect after a lost connection; after a failed attempt, give the relay up."""
        if relay.url in self._up:
            self._up.discard(relay.url)
            return super().handle_disconnect(reason, relay, state)
        return None

    def handle_info(self, message: Any, state: OneRequest) -> CallbackOutcome[OneRequest]:
        """Stop when all outcomes are known."""
        return Stop() if isinstance(message, PublicationDone | CountDone) else super().handle_info(message, state)
