"""GenNostr: a Nostr client that works like a GenServer.

    from the relays                                 callback
    ---------------                                 --------
    the connection is up                            handle_connect(relay, state)
    an error                                        handle_error(reason, relay, state)
    the end of an attempt                           handle_disconnect(reason, relay, state)
    EVENT, EOSE, OK, NOTICE, AUTH, CLOSED, COUNT    handle_event(message, relay, state), ...
    any other message                               handle_unknown(message, relay, state)
    the last EOSE of a subscription                 handle_eose_all(subscription_id, state)

beside all of GenServer's. The connections' batches are taken apart here, one message for each message of the
mailbox: a flood of events delays a call by one callback, not by the flood.

What was subscribed to, published or counted by the client's functions is seen to by `gennostr.client.requests`, which
then sees each message before its callback does. A client that uses none of that has nothing between.

Each attempt ends in one handle_disconnect: the first end that is told of a connection's process counts, be it the
connection's own word, the user's removal or the process's death; what comes after it is dropped.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

from gennostr.client.authentication import Signer
from gennostr.client.connection import Command
from gennostr.client.events import (
    REMOVE_RELAY,
    Batch,
    Connected,
    ConnectionDown,
    Ended,
    NotMade,
    ReconnectDue,
    Removed,
)
from gennostr.client.options import Relay
from gennostr.client.requests import Counted, Order, Published, RequestFunctions, Requests, Told
from gennostr.client.supervision import RelayFunctions, Tree
from gennostr.exceptions import MessageError
from gennostr.nostr.messages import (
    AuthMessage,
    ClosedMessage,
    CountMessage,
    EoseMessage,
    EventMessage,
    NoticeMessage,
    OkMessage,
    RelayMessage,
    UnknownMessage,
)
from gennostr.otp import telemetry
from gennostr.otp.calls import wait_down
from gennostr.otp.clock import clock
from gennostr.otp.gen_server import GenServer, _End
from gennostr.otp.messages import Cast
from gennostr.otp.names import Name
from gennostr.otp.outcomes import NoReply, Ok, Outcome, S, Stop
from gennostr.otp.pid import Pid
from gennostr.otp.process import Process
from gennostr.otp.reasons import SHUTDOWN

RelayOutcome = Ok[S] | NoReply[S] | Stop[S] | None

_M = TypeVar("_M", bound=RelayMessage)

_EVENTS = frozenset({Batch, Connected, ConnectionDown, Ended, Removed})


class GenNostrPid(RelayFunctions, RequestFunctions, Pid):
    """The handle of a client: a pid with the client's functions."""


class GenNostr(RelayFunctions, RequestFunctions, GenServer[S]):
    """A client: subclass it, and give it callbacks."""

    _pid_class = GenNostrPid

    signer: Signer | Sequence[Signer] | None = None
    """Who answers challenges (NIP-42); on the class, where a function is a method as ever, or set in init.

    None: nobody, unless handle_auth does. See `gennostr.client.authentication.Signer`.
    """
    deduplicate: bool = False
    """Whether an event that several relays send is told once for each subscription; on the class, or set in init."""

    def handle_info(self, message: Any, state: S) -> Outcome[S]:
        """Handle a sent message; the default logs it, unless it is `Published` or `Counted`."""
        if isinstance(message, Published | Counted):
            return None
        return super().handle_info(message, state)

    # The callbacks; each returns `Ok`, `NoReply`, `Stop`, or nothing.

    def handle_connect(self, relay: Relay, state: S) -> RelayOutcome[S]:
        """Handle the opening of a connection."""

    def handle_disconnect(self, reason: Any, relay: Relay, state: S) -> RelayOutcome[S]:
        """Handle the end of an attempt; the default reconnects unless the relay was removed."""
        del state
        if reason is not REMOVE_RELAY:
            self.reconnect(relay)
        return None

    def handle_error(self, reason: Any, relay: Relay, state: S) -> RelayOutcome[S]:
        """Handle an error; where it ends the connection, handle_disconnect comes next."""

    def handle_event(self, message: EventMessage, relay: Relay, state: S) -> RelayOutcome[S]:
        """Handle an EVENT (NIP-01)."""

    def handle_eose(self, message: EoseMessage, relay: Relay, state: S) -> RelayOutcome[S]:
        """Handle an EOSE (NIP-01)."""

    def handle_eose_all(self, subscription_id: str, state: S) -> RelayOutcome[S]:
        """Handle the end of stored events for all of a subscription's relays: none has any left to send.

        Told once for what was subscribed to by `subscribe`. A relay that is not connected is not waited for, once an
        attempt has failed; one that has closed the subscription (CLOSED) has none left.
        """

    def handle_ok(self, message: OkMessage, relay: Relay, state: S) -> RelayOutcome[S]:
        """Handle an OK (NIP-01)."""

    def handle_notice(self, message: NoticeMessage, relay: Relay, state: S) -> RelayOutcome[S]:
        """Handle a NOTICE (NIP-01)."""

    def handle_auth(self, message: AuthMessage, relay: Relay, state: S) -> RelayOutcome[S]:
        """Handle an AUTH challenge (NIP-42)."""

    def handle_closed(self, message: ClosedMessage, relay: Relay, state: S) -> RelayOutcome[S]:
        """Handle a CLOSED (NIP-01)."""

    def handle_count(self, message: CountMessage, relay: Relay, state: S) -> RelayOutcome[S]:
        """Handle a COUNT (NIP-45)."""

    def handle_unknown(self, message: UnknownMessage, relay: Relay, state: S) -> RelayOutcome[S]:
        """Handle any other message."""

    @classmethod
    def start(cls, init_arg: Any = None, name: Name | None = None, timeout: float | None = None) -> GenNostrPid:
        """Start a client; see `GenServer.start`."""
        return super().start(init_arg, name, timeout)  # type: ignore[no-any-return]

    @classmethod
    def start_link(cls, init_arg: Any = None, name: Name | None = None, timeout: float | None = None) -> GenNostrPid:
        """Start a client linked to the calling process; see `GenServer.start_link`."""
        return super().start_link(init_arg, name, timeout)  # type: ignore[no-any-return]

    # Inside.

    def __init__(self) -> None:
        super().__init__()
        self._tree = Tree(self._process)
        pid = self.pid
        assert isinstance(pid, GenNostrPid)  # noqa: S101
        pid._tree = self._tree
        pid._requests = self._requests = Requests(self, self._tree)
        self._engaged = False
        # Attempts whose end was told, until their processes are dead.
        self._ended: set[Process] = set()
        self._handlers: dict[type, Callable[[Any, Relay, Any], Any]] = {
            EventMessage: self.handle_event,
            EoseMessage: self.handle_eose,
            OkMessage: self.handle_ok,
            NoticeMessage: self.handle_notice,
            AuthMessage: self.handle_auth,
            ClosedMessage: self.handle_closed,
            CountMessage: self.handle_count,
            UnknownMessage: self.handle_unknown,
            MessageError: self.handle_error,
        }
        # The batch under way and the place in it.
        self._batch: Batch | None = None
        self._at = 0

    def _engage(self) -> None:
        """Have messages go through the requests before they are told, from now on."""
        if self._engaged:
            return
        self._engaged = True
        requests = self._requests
        self._handlers |= {
            EventMessage: self._judged(requests.event, self.handle_event),
            EoseMessage: self._judged(requests.eose, self.handle_eose),
            OkMessage: self._judged(requests.ok, self.handle_ok),
            ClosedMessage: self._judged(requests.closed, self.handle_closed),
            CountMessage: self._judged(requests.counted, self.handle_count),
            AuthMessage: self._judged(requests.challenged, self.handle_auth),
            NoticeMessage: self._judged(requests.noticed, self.handle_notice),
        }

    def _judged(
        self,
        judge: Callable[[_M, Relay], _M | MessageError | bool],
        callback: Callable[[_M, Relay, S], RelayOutcome[S]],
    ) -> Callable[[_M, Relay, S], RelayOutcome[S]]:
        """Return a handler that asks `judge` what is told: the message, nothing, or what it gives in its place."""

        @wraps(callback)  # a crash report names the user's
        def handle(message: _M, relay: Relay, state: S) -> RelayOutcome[S]:
            verdict = judge(message, relay)
            if isinstance(verdict, bool):
                return callback(message, relay, state) if verdict else None
            if isinstance(verdict, MessageError):
                return self.handle_error(verdict, relay, state)
            return callback(verdict, relay, state)

        return handle

    def _init(self, init_arg: object) -> object:
        self._process.watch(self._requests)
        self._tree.start()
        outcome = self.init(init_arg)
        self._requests.signers()  # one that is none is told now, not when a relay first asks
        return outcome

    def _terminate(self, reason: object) -> None:
        try:
            super()._terminate(reason)
        finally:
            # In order, and before the client is dead: who sees its end finds the sockets closed.
            primary = self._tree.primary
            if primary is not None:
                self._process.unlink(primary.process)
                primary.process.signal(self._process, SHUTDOWN)
                wait_down(primary.process, None)

    def _receive_info(self, message: object) -> None:
        kind = type(message)
        if kind in _EVENTS:
            self._work.append(message)
        elif kind is Order:
            assert isinstance(message, Order)  # noqa: S101
            message.do()
        elif kind is Told:
            assert isinstance(message, Told)  # noqa: S101
            last = message.arguments[-1]
            self._tree.serving = last.url if isinstance(last, Relay) else None
            try:
                self._tell(getattr(self, message.callback), *message.arguments)
            finally:
                self._tree.serving = None
        elif kind is ReconnectDue:
            assert isinstance(message, ReconnectDue)  # noqa: S101
            failed = self._tree.due(message.url)
            if failed is not None:
                self._work.append(failed)
        else:
            super()._receive_info(message)

    def _step(self) -> None:
        """Handle events until the mailbox has something: the messages of a batch, or what else a connection tells."""
        self._deadline = None
        self._hibernate = False
        batch = self._work[0]
        if type(batch) is not Batch:
            self._work.popleft()
            self._last = batch
            self._event(batch)
            return
        if batch.process not in self._ended:  # what is told after the end is dropped
            self._messages(batch)
            if self._at < len(batch.messages):
                return
        self._at = 0
        self._work.popleft()
        batch.credit.take(batch.size)

    def _messages(self, batch: Batch) -> None:
        """Handle messages of `batch`, one after the other until something else is to be done."""
        process, nothing_waits = self._process, self._inbox().empty
        messages, relay, handlers = batch.messages, batch.relay, self._handlers
        at, end = self._at, len(messages)
        self._tree.serving = relay.url
        try:
            while at < end:
                message = messages[at]
                at += 1
                handler = handlers[type(message)]
                outcome = handler(message, relay, self._state)
                if outcome is not None:
                    self._follow(outcome, handler, ok=True)
                    if outcome.next is not None:
                        return
                if not nothing_waits() or process.interrupt is not None or process.dead:
                    return
        except _End:
            raise
        except BaseException as error:
            raise _End(error, handler) from error
        finally:
            self._tree.serving = None
            self._at = at
            self._last = message

    def _tell(self, callback: Callable[..., RelayOutcome[S]], *arguments: object) -> None:
        """Call a callback of a relay, with the state last, and do what its outcome says."""
        try:
            outcome = callback(*arguments, self._state)
        except BaseException as error:
            raise _End(error, callback) from error
        if outcome is not None:
            self._follow(outcome, callback, ok=True)

    def _event(self, event: object) -> None:
        match event:
            case Connected(process, relay):
                if process not in self._ended:
                    self._connected(process, relay)
            case Ended(process, relay, reason, error):
                if process not in self._ended:
                    self._ended.add(process)
                    self._disconnected(relay, reason, error)
            case NotMade(relay, reason):
                self._disconnected(relay, reason, reason)
            case Removed(process, relay):
                self._removed(process, relay)
            case ConnectionDown(process, relay, reason):
                if process in self._ended:
                    self._ended.discard(process)
                else:
                    self._disconnected(relay, reason, reason)

    def _connected(self, process: Process, relay: Relay) -> None:
        tree = self._tree
        tree.connecting, tree.serving = process, relay.url
        try:
            self._tell(self.handle_connect, relay)
        finally:
            tree.connecting = tree.serving = None
        found = tree.find(relay.url)
        if found is not None and found[0] is process:  # otherwise its end is on the way
            self._requests.connected(relay, found[1])
        process.deliver(Cast(Command.READY))

    def _disconnected(self, relay: Relay, reason: object, error: object) -> None:
        if telemetry.handlers:
            uptime = 0.0 if relay.up_since is None else clock().monotonic() - relay.up_since
            telemetry.emit("connection.down", {"uptime": uptime}, {"relay": relay, "reason": reason, "error": error})
        self._requests.lost(relay.url)
        if error is not None:
            self._tell(self.handle_error, error, relay)
        self._tell(self.handle_disconnect, reason, relay)
        self._tree.parted(relay.url)
        self._requests.parted(relay.url)

    def _removed(self, process: Process | None, relay: Relay) -> None:
        if process is not None and process in self._ended:
            # It had ended by itself, and was told so, while it was being removed: what is left is to give up
            # the attempt that handle_disconnect may have asked for since.
            pending = self._tree.take(relay.url)
            if pending is None:
                return
            pending.cancel()
        elif process is not None:
            self._ended.add(process)
        self._disconnected(relay, REMOVE_RELAY, None)
