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
from typing import TYPE_CHECKING, Any

from gennostr.client.connection_events import REMOVE_RELAY
from gennostr.client.dispatch import ClientEngine
from gennostr.client.error_log import error_log
from gennostr.client.functions import ClientFunctions, GenNostrPid, relay_pool
from gennostr.client.options import Relay
from gennostr.client.persistence import Store
from gennostr.client.publications import CountDone, PublicationDone
from gennostr.client.seen_events import SEEN
from gennostr.client.shard import Shard
from gennostr.client.signing import Signer, check_coincurve
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
from gennostr.otp.outcomes import CallbackOutcome, NoReply, Ok, S, Stop, Unset
from gennostr.otp.pid import Pid
from gennostr.otp.process import current_process
from gennostr.otp.start import start

logger = logging.getLogger(__name__)

RelayOutcome = Ok[S] | NoReply[S] | Stop[S] | None
"""What a relay's callback may return: `Ok`, `NoReply`, `Stop`, or None (the state is unchanged)."""


class GenNostr(ClientFunctions, GenServer[S], engine=ClientEngine):
    """A Nostr client: subclass it and override its callbacks.

    It is a `GenServer` (init, handle_call, handle_cast, handle_info, terminate, ...) with a supervised connection for
    each relay, and the functions `add_relay`, `subscribe`, `publish`, `count` and others, in its callbacks (`self`) and
    on its handle. Callbacks run one at a time, in the client's thread; the messages of one relay arrive in their order.

    Each callback gets the state last and returns ``Ok(new_state)``, `NoReply`, `Stop`, or nothing: then the state
    stays. If one raises, the client ends, and its supervisor decides.

    - handle_connect: the connection to a relay is up
    - handle_event, handle_eose, handle_eose_all: events of subscriptions, and the end of the stored ones;
      handle_events, if overridden, gets all events of a read at once
    - handle_error: something went wrong at a relay
    - handle_disconnect: a connection or an attempt has ended; the default reconnects
    - handle_ok, handle_closed, handle_notice, handle_auth, handle_count, handle_unknown: other messages

    Four attributes, on the class or set in init:

    - signer: answers AUTH challenges (NIP-42): a secret key (32 bytes or 64 hex digits, which needs the extra
      ``crypto``), a callable, or a list of these; None (the default): challenges are not answered
    - deduplicate: whether an event sent by several relays is delivered once per subscription; False by default
    - max_seen_events: how many events are remembered for that; 32,768 by default
    - store: where the client saves what must outlive it, such as a `gennostr.store.SqliteStore`; None by default

    In a cluster (see `gennostr.cluster`), ``self.shard`` is its `Shard`; elsewhere None.

    >>> from queue import SimpleQueue
    >>> from gennostr import GenNostr, Ok
    >>> from gennostr.testing import MemoryRelay
    >>> received = SimpleQueue()
    >>> class Feed(GenNostr[int]):
    ...     def init(self, urls):
    ...         for url in urls:
    ...             self.add_relay(url)
    ...         self.subscribe({"kinds": [1], "limit": 20})
    ...         return Ok(0)
    ...
    ...     def handle_event(self, message, relay, seen):
    ...         received.put((seen, message.event.content))
    ...         return Ok(seen + 1)
    >>> with MemoryRelay() as relay, Feed.start([relay.url]):
    ...     event = relay.store(content="hello")
    ...     received.get(timeout=5)
    (0, 'hello')
    """

    signer: Signer | Sequence[Signer] | None = None
    """The signer, or signers, that answer AUTH challenges (NIP-42); a class attribute, or set in init.

    A secret key (32 bytes, or 64 hex digits) signs at once. A callable runs in a thread of its own: it is called with
    `created_at`, `kind`, `content` and `tags`, by name, and returns the signed `Event`, a future of it, or None to
    decline. On the class, a plain function is a method, as usual. None (the default): challenges are not answered,
    unless handle_auth does it.
    """
    deduplicate: bool = False
    """Whether an event sent by several relays is delivered once per subscription; a class attribute, or set in init."""
    max_seen_events: int = SEEN
    """How many events the client remembers, so that each is delivered once: at least so many of the last ones, over all
    subscriptions, and at most twice as many. At least 1, by default 32,768. A class attribute, or set in init.

    Each takes some 180 bytes, or 150 if it was not verified: with the default, up to 12 MB. The client's ``statistics``
    have the number and the bytes."""

    shard: Shard | None = None
    """In a cluster, which shard the client is: set before init, by the cluster. None: it is in no cluster."""

    if not TYPE_CHECKING:  # a client's own assignment declares its type: `self.store.transaction()` has one then
        store: Store | None = None
        """Where the client saves what must outlive it, such as a `gennostr.store.SqliteStore`. A class attribute, or
        set in init before `subscribe`; None (the default): nothing is saved."""

    def handle_info(self, message: Any, state: S, /) -> CallbackOutcome[S]:
        """Handle a message of another process, a timer, an `Exit` or a `Down`.

        The default logs it, unless it is `PublicationDone` or `CountDone`.

        Args:
            message: anything.
            state: the current state.
        """
        if isinstance(message, PublicationDone | CountDone):
            return None
        return super().handle_info(message, state)

    # The callbacks. Each returns `Ok`, `NoReply`, `Stop`, or nothing.

    def handle_connect(self, relay: Relay, state: S, /) -> RelayOutcome[S]:
        """Handle the opening of a connection; what is sent here goes out first.

        Subscriptions of `subscribe` are sent by the client itself, after this. The default does nothing.

        Args:
            relay: the `Relay`; its ``connected_at`` is now.
            state: the current state.
        """

    def handle_disconnect(self, reason: Any, relay: Relay, state: S, /) -> RelayOutcome[S]:
        """Handle the end of a connection or attempt; the default reconnects.

        Called exactly once for each attempt, whatever ended it. The default calls ``self.reconnect(relay)``, unless the
        relay was removed: a client that overrides this and does not call `reconnect` gives the relay up.

        Args:
            reason: REMOVE_RELAY after `remove_relay`; a `Close` if the relay has closed the connection in order;
                otherwise the exception that handle_error was called with before.
            relay: the `Relay`.
            state: the current state.
        """
        del state
        if reason is not REMOVE_RELAY:
            self.reconnect(relay)
        return None

    def handle_error(self, reason: Any, relay: Relay, state: S, /) -> RelayOutcome[S]:
        """Handle an error; if it ends the connection, handle_disconnect is called next.

        The default logs one WARNING with the relay and the reason. Errors of the same kind (the exception's class, and
        `MessageError.problem`) at the same relay are logged once a minute, with the number left out. Override it to
        decide for yourself; ``super().handle_error(...)`` still logs.

        Args:
            reason: an exception: a `MessageError` for a message that is malformed, forged or unrequested, which does
                not end the connection; a `ConnectionFault` or another OSError if the connection failed;
                `RequestTooLarge` for a subscription that the relay cannot take; a `StoreError` if the client's store
                cannot be written.
            relay: the `Relay`.
            state: the current state.
        """
        del state
        _log(self.pid, relay, reason)
        return None

    def handle_event(self, message: EventMessage, relay: Relay, state: S, /) -> RelayOutcome[S]:
        """Handle an event of a subscription (NIP-01's EVENT). The default does nothing.

        Args:
            message: an `EventMessage`: ``message.event``, ``message.subscription_id``.
            relay: the `Relay` that has sent it.
            state: the current state.
        """

    def handle_events(self, messages: list[EventMessage], relay: Relay, state: S, /) -> RelayOutcome[S]:
        """Handle the events that one read has brought, in order, in one call.

        For clients that store events: one transaction for each call, say. A client that overrides this gets all its
        events here. The default calls `handle_event` for each; then a call or cast can come between two events.

        Args:
            messages: one `EventMessage` or more, of one relay, perhaps for several subscriptions.
            relay: the `Relay` that has sent them.
            state: the current state.

        >>> from queue import SimpleQueue
        >>> from gennostr import GenNostr
        >>> from gennostr.testing import MemoryRelay
        >>> received = SimpleQueue()
        >>> class Feed(GenNostr[None]):
        ...     def handle_events(self, messages, relay, state):
        ...         for message in messages:
        ...             received.put(message.event.content)
        >>> with MemoryRelay() as relay, Feed.start() as feed:
        ...     event = relay.store(content="hello")
        ...     subscription_id = feed.subscribe({"kinds": [1]})
        ...     connection = feed.add_relay(relay.url)
        ...     received.get(timeout=5)
        'hello'
        """
        # Reached by super() only: without an override, the dispatch calls handle_event itself.
        outcome: RelayOutcome[S] = None
        for message in messages:
            latest = self.handle_event(message, relay, state)
            if isinstance(latest, Stop):
                return latest
            if latest is not None:
                state = state if isinstance(latest.state, Unset) else latest.state
                latest.state = state
                outcome = latest
        return outcome

    def handle_eose(self, message: EoseMessage, relay: Relay, state: S, /) -> RelayOutcome[S]:
        """Handle the end of a relay's stored events (NIP-01's EOSE).

        The default does nothing.

        Args:
            message: an `EoseMessage`: ``message.subscription_id``.
            relay: the `Relay`.
            state: the current state.
        """

    def handle_eose_all(self, subscription_id: str, state: S, /) -> RelayOutcome[S]:
        """Handle the end of stored events: no relay has any left to send.

        Called once for each `subscribe`. It does not wait for a relay that is down (once an attempt has failed), has
        refused the subscription, or has been silent for its ``eose_timeout``. The default does nothing.

        Args:
            subscription_id: the id that `subscribe` returned.
            state: the current state.
        """

    def handle_ok(self, message: OkMessage, relay: Relay, state: S, /) -> RelayOutcome[S]:
        """Handle an OK (NIP-01): a relay's answer to an event.

        The future of `publish` gets it too. The default logs the refusal of an event that was sent by `send_message`,
        as one WARNING, at most once a minute for each relay.

        Args:
            message: an `OkMessage`: ``event_id``, ``accepted``, ``message``, ``prefix``.
            relay: the `Relay`.
            state: the current state.
        """
        del state
        # Some relays refuse what they have already.
        if not (message.accepted or message.prefix == "duplicate" or relay_pool(self).is_outcome(message, relay.url)):
            _log(self.pid, relay, message)
        return None

    def handle_notice(self, message: NoticeMessage, relay: Relay, state: S, /) -> RelayOutcome[S]:
        """Handle a NOTICE (NIP-01): a text for people.

        Old relays refuse subscriptions so. The default logs one WARNING with the relay and the text, at most once a
        minute for each relay.

        Args:
            message: a `NoticeMessage`: ``message.message``.
            relay: the `Relay`.
            state: the current state.
        """
        del state
        _log(self.pid, relay, message)
        return None

    def handle_auth(self, message: AuthMessage, relay: Relay, state: S, /) -> RelayOutcome[S]:
        """Handle an AUTH challenge (NIP-42). The default does nothing.

        The client's `signer` answers it without this callback; override it to answer by hand.

        Args:
            message: an `AuthMessage`: ``message.challenge``.
            relay: the `Relay`.
            state: the current state.
        """

    def handle_closed(self, message: ClosedMessage, relay: Relay, state: S, /) -> RelayOutcome[S]:
        """Handle a CLOSED (NIP-01): a relay has ended or refused a subscription.

        On this connection, the relay sends nothing more for it; after a reconnect, the client requests it again. The
        default logs one WARNING with the relay, the subscription and the relay's text, at most once a minute for each
        relay, unless it is the answer to a `count`, whose future gets it. Override it to decide for yourself;
        ``super().handle_closed(...)`` still logs.

        Args:
            message: a `ClosedMessage`: ``subscription_id``, ``message``, ``prefix``.
            relay: the `Relay`.
            state: the current state.
        """
        del state
        if not relay_pool(self).is_outcome(message, relay.url):
            _log(self.pid, relay, message)
        return None

    def handle_count(self, message: CountMessage, relay: Relay, state: S, /) -> RelayOutcome[S]:
        """Handle a COUNT (NIP-45): a relay's answer. The default does nothing.

        `count` has a future for the answers of all relays.

        Args:
            message: a `CountMessage`: ``count``, ``approximate``, ``hll``.
            relay: the `Relay`.
            state: the current state.
        """

    def handle_unknown(self, message: UnknownMessage, relay: Relay, state: S, /) -> RelayOutcome[S]:
        """Handle any other message of a relay. The default does nothing.

        Args:
            message: an `UnknownMessage`: ``label``, ``arguments``.
            relay: the `Relay`.
            state: the current state.
        """

    @classmethod
    def start(cls, init_arg: Any = None, name: Name | None = None, timeout: float | None = None) -> GenNostrPid:
        """Start a client; return its handle once init has succeeded.

        Args:
            init_arg: passed to init; None by default.
            name: a name, or a `via`, to register; None (the default): without.
            timeout: seconds that init may take; None (the default): any time.

        Raises:
            StartError: init failed; its ``reason`` is the exception, such as a ValueError for an invalid signer.
            ImportError: a secret key as the class's `signer` needs coincurve: ``pip install 'gennostr[crypto]'``.
            AlreadyStarted, NoProcess, TypeError, ValueError, RuntimeError: as `GenServer.start`.

        >>> from gennostr import GenNostr
        >>> with GenNostr.start("state") as client:
        ...     client.get_state()
        'state'
        """
        # An ImportError in the caller. That of a signer set in init is the reason of the StartError.
        check_coincurve(cls.signer)
        return start(cls, init_arg, name, timeout, None)  # type: ignore[no-any-return]

    @classmethod
    def start_link(cls, init_arg: Any = None, name: Name | None = None, timeout: float | None = None) -> GenNostrPid:
        """Start a client that is linked to the calling process; see `start`.

        In an actor: if either ends abnormally, so does the other. In a plain thread, the same as `start`.
        """
        check_coincurve(cls.signer)
        return start(cls, init_arg, name, timeout, current_process())  # type: ignore[no-any-return]


def _log(client: Pid, relay: Relay, reason: object) -> None:
    """Log an error or a refusal, at most one of its kind a minute."""
    if logger.isEnabledFor(logging.WARNING):
        line = error_log(client).line(relay.url, reason, clock().monotonic())
        if line is not None:
            logger.warning("%s", line)
