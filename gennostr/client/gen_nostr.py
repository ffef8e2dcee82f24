"""GenNostr: a Nostr client that works like a GenServer.

    from the relays                                 callback
    ---------------                                 --------
    the connection is up                            handle_connect(relay, state)
    an error                                        handle_error(reason, relay, state)
    a connection or attempt has ended               handle_disconnect(reason, relay, state)
    EVENT, EOSE, OK, NOTICE, AUTH, CLOSED, COUNT    handle_event(message, relay, state), ...
    any other message                               handle_unknown(message, relay, state)
    the last EOSE of a subscription                 handle_eose_all(subscription_id, state)

in addition to all callbacks of GenServer. `gennostr.client.dispatch` calls them.
"""

import logging
from collections.abc import Sequence
from typing import Any

from gennostr.client.connection_events import REMOVE_RELAY
from gennostr.client.dispatch import ClientEngine
from gennostr.client.error_log import error_log
from gennostr.client.functions import ClientFunctions, GenNostrPid
from gennostr.client.options import Relay
from gennostr.client.publications import CountDone, PublicationDone
from gennostr.client.signing import Signer
from gennostr.nostr.messages import (
    AuthMessage,
    ClosedMessage,
    CountMessage,
    EoseMessage,
    EventMessage,
    NoticeMessage,
    OkMessage,
    UnknownMessage,
)
from gennostr.otp.clock import clock
from gennostr.otp.gen_server import GenServer
from gennostr.otp.names import Name
from gennostr.otp.outcomes import CallbackOutcome, NoReply, Ok, S, Stop
from gennostr.otp.process import check_fence
from gennostr.otp.start import start

logger = logging.getLogger(__name__)

RelayOutcome = Ok[S] | NoReply[S] | Stop[S] | None


class GenNostr(ClientFunctions, GenServer[S], engine=ClientEngine):
    """A Nostr client: subclass it and override its callbacks."""

    signer: Signer | Sequence[Signer] | None = None
    """The signer, or signers, that answer AUTH challenges (NIP-42); a class attribute, or set in init.

    On the class, a plain function is a method, as usual. None: challenges are not answered, unless handle_auth does it.
    See `gennostr.client.signing.Signer`.
    """
    deduplicate: bool = False
    """Whether an event sent by several relays is delivered once per subscription; a class attribute, or set in init."""

    def handle_info(self, message: Any, state: S, /) -> CallbackOutcome[S]:
        """Handle an info message; the default logs it, unless it is `PublicationDone` or `CountDone`."""
        if isinstance(message, PublicationDone | CountDone):
            return None
        return super().handle_info(message, state)

    # The callbacks. Each returns `Ok`, `NoReply`, `Stop`, or nothing.

    def handle_connect(self, relay: Relay, state: S, /) -> RelayOutcome[S]:
        """Handle the opening of a connection."""

    def handle_disconnect(self, reason: Any, relay: Relay, state: S, /) -> RelayOutcome[S]:
        """Handle the end of a connection or attempt; the default reconnects unless the relay was removed."""
        del state
        if reason is not REMOVE_RELAY:
            self.reconnect(relay)
        return None

    def handle_error(self, reason: Any, relay: Relay, state: S, /) -> RelayOutcome[S]:
        """Handle an error; if it ends the connection, handle_disconnect is called next.

        The default logs one WARNING with the relay and the reason. Errors of the same kind (the exception's class, and
        `MessageError.problem`) at the same relay are logged once a minute, with the number left out. Override it to
        decide for yourself; ``super().handle_error(...)`` still logs.
        """
        del state
        if logger.isEnabledFor(logging.WARNING):
            line = error_log(self.pid).line(relay.url, reason, clock().monotonic())
            if line is not None:
                logger.warning("%s", line)
        return None

    def handle_event(self, message: EventMessage, relay: Relay, state: S, /) -> RelayOutcome[S]:
        """Handle an EVENT (NIP-01)."""

    def handle_eose(self, message: EoseMessage, relay: Relay, state: S, /) -> RelayOutcome[S]:
        """Handle an EOSE (NIP-01)."""

    def handle_eose_all(self, subscription_id: str, state: S, /) -> RelayOutcome[S]:
        """Handle the end of stored events: no relay of the subscription has any left to send.

        Called once for each `subscribe`. It does not wait for a relay that is down (once an attempt has failed), has
        refused the subscription, or has been silent for its ``eose_timeout``.
        """

    def handle_ok(self, message: OkMessage, relay: Relay, state: S, /) -> RelayOutcome[S]:
        """Handle an OK (NIP-01)."""

    def handle_notice(self, message: NoticeMessage, relay: Relay, state: S, /) -> RelayOutcome[S]:
        """Handle a NOTICE (NIP-01)."""

    def handle_auth(self, message: AuthMessage, relay: Relay, state: S, /) -> RelayOutcome[S]:
        """Handle an AUTH challenge (NIP-42)."""

    def handle_closed(self, message: ClosedMessage, relay: Relay, state: S, /) -> RelayOutcome[S]:
        """Handle a CLOSED (NIP-01)."""

    def handle_count(self, message: CountMessage, relay: Relay, state: S, /) -> RelayOutcome[S]:
        """Handle a COUNT (NIP-45)."""

    def handle_unknown(self, message: UnknownMessage, relay: Relay, state: S, /) -> RelayOutcome[S]:
        """Handle any other message."""

    @classmethod
    def start(cls, init_arg: Any = None, name: Name | None = None, timeout: float | None = None) -> GenNostrPid:
        """Start a client; see `GenServer.start`."""
        return start(cls, init_arg, name, timeout, None)  # type: ignore[no-any-return]

    @classmethod
    def start_link(cls, init_arg: Any = None, name: Name | None = None, timeout: float | None = None) -> GenNostrPid:
        """Start a client linked to the calling process; see `GenServer.start_link`."""
        return start(cls, init_arg, name, timeout, check_fence())  # type: ignore[no-any-return]
