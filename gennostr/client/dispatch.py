"""Dispatch: what connections report to a client, one callback at a time.

Batches are taken apart here, and after each message of the mailbox one step of that is done: a flood of events delays a
call by one callback, not by the flood.

What was subscribed to, published or counted by the client's functions is handled by `gennostr.client.requests`, which
then sees each message before its callback does. A client that uses none of that has nothing in between.

Each attempt ends in one handle_disconnect: the first end reported of a connection's process counts, be it the
connection's own word, the user's removal or the process's death; what comes after it is dropped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Protocol, TypeVar

from gennostr.client.authentication import Signer
from gennostr.client.commands import ClientCommand, PendingCallback
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
from gennostr.client.functions import GenNostrPid
from gennostr.client.options import Relay
from gennostr.client.requests import Requests
from gennostr.client.supervision import Tree
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
from gennostr.otp.engine import End, Engine, Server
from gennostr.otp.envelopes import WAKE, Cast
from gennostr.otp.mailbox import Mailbox
from gennostr.otp.pid import Pid
from gennostr.otp.process import Process
from gennostr.otp.reasons import SHUTDOWN

_M = TypeVar("_M", bound=RelayMessage)
_Handler = Callable[[Any, Relay, Any], Any]


class Client(Server, Protocol):
    """What the dispatch needs of the user's object: see `gennostr.client.gen_nostr.GenNostr`."""

    signer: Signer | Sequence[Signer] | None
    deduplicate: bool

    def handle_connect(self, relay: Relay, state: Any, /) -> Any: ...  # noqa: D102
    def handle_disconnect(self, reason: Any, relay: Relay, state: Any, /) -> Any: ...  # noqa: D102
    def handle_error(self, reason: Any, relay: Relay, state: Any, /) -> Any: ...  # noqa: D102
    def handle_event(self, message: EventMessage, relay: Relay, state: Any, /) -> Any: ...  # noqa: D102
    def handle_eose(self, message: EoseMessage, relay: Relay, state: Any, /) -> Any: ...  # noqa: D102
    def handle_ok(self, message: OkMessage, relay: Relay, state: Any, /) -> Any: ...  # noqa: D102
    def handle_notice(self, message: NoticeMessage, relay: Relay, state: Any, /) -> Any: ...  # noqa: D102
    def handle_auth(self, message: AuthMessage, relay: Relay, state: Any, /) -> Any: ...  # noqa: D102
    def handle_closed(self, message: ClosedMessage, relay: Relay, state: Any, /) -> Any: ...  # noqa: D102
    def handle_count(self, message: CountMessage, relay: Relay, state: Any, /) -> Any: ...  # noqa: D102
    def handle_unknown(self, message: UnknownMessage, relay: Relay, state: Any, /) -> Any: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class _Disconnected:
    """The second half of an end: handle_error, and what it has asked for, has run."""

    relay: Relay
    reason: object


class ClientEngine(Engine):
    """Runs a client: its tree of connections, and its relays' callbacks."""

    pid_class = GenNostrPid
    receives = frozenset(
        {Batch, Connected, ConnectionDown, Ended, Removed, ClientCommand, PendingCallback, ReconnectDue, _Disconnected}
    )
    server: Client

    def __init__(self, server: Server, pid: Pid, inbox: Mailbox) -> None:
        super().__init__(server, pid, inbox)
        self._tree = Tree(self.process)
        self._requests = Requests(self, self._tree)
        assert isinstance(pid, GenNostrPid)  # noqa: S101
        pid.tree, pid.requests = self._tree, self._requests
        self._engaged = False
        # Attempts whose end was reported, until their processes are dead.
        self._ended: set[Process] = set()
        client = self.server
        self._handlers: dict[type, _Handler] = {
            EventMessage: client.handle_event,
            EoseMessage: client.handle_eose,
            OkMessage: client.handle_ok,
            NoticeMessage: client.handle_notice,
            AuthMessage: client.handle_auth,
            ClosedMessage: client.handle_closed,
            CountMessage: client.handle_count,
            UnknownMessage: client.handle_unknown,
            MessageError: client.handle_error,
        }
        # The place in the batch that is the first of the work.
        self._at = 0

    # For the requests.

    @property
    def deduplicate(self) -> bool:
        """See `GenNostr.deduplicate`."""
        return self.server.deduplicate

    @property
    def signer(self) -> Signer | Sequence[Signer] | None:
        """See `GenNostr.signer`."""
        return self.server.signer

    def engage(self) -> None:
        """Have messages pass through the requests before they are delivered, from now on."""
        if self._engaged:
            return
        self._engaged = True
        requests, client = self._requests, self.server
        self._handlers |= {
            EventMessage: self._judged(requests.event, client.handle_event),
            EoseMessage: self._judged(requests.eose, client.handle_eose),
            OkMessage: self._judged(requests.ok, client.handle_ok),
            ClosedMessage: self._judged(requests.closed, client.handle_closed),
            CountMessage: self._judged(requests.counted, client.handle_count),
            AuthMessage: self._judged(requests.challenged, client.handle_auth),
            NoticeMessage: self._judged(requests.noticed, client.handle_notice),
        }

    def _judged(self, judge: Callable[[_M, Relay], _M | MessageError | bool], callback: _Handler) -> _Handler:
        """Return a handler that delivers what `judge` returns: for True the message, for False nothing."""
        requests = self._requests

        @wraps(callback)  # a crash report names the user's
        def handle(message: _M, relay: Relay, state: Any) -> Any:
            requests.busy = True  # see Requests.do
            try:
                verdict = judge(message, relay)
            finally:
                requests.busy = False
            if isinstance(verdict, bool):
                return callback(message, relay, state) if verdict else None
            if isinstance(verdict, MessageError):
                return self.server.handle_error(verdict, relay, state)
            return callback(verdict, relay, state)

        return handle

    def run_callback(self, name: str, *arguments: object) -> None:
        """Run a callback with `arguments` and the state, right after the one under way."""
        self.then(PendingCallback(name, arguments))
        # A batch under way stops for what is in the mailbox, and looks at nothing else.
        self.process.deliver(WAKE)

    def run_command(self, do: Callable[[], object]) -> None:
        """Do this right after the callback under way."""
        self.then(ClientCommand(do))
        self.process.deliver(WAKE)

    # Hooks.

    def init(self, argument: object) -> object:
        """Start the tree, then run init."""
        self.process.watch(self._requests)
        self._tree.start()
        outcome = super().init(argument)
        self._requests.signers()  # an invalid one is reported now, not when a relay first asks
        return outcome

    def terminate(self, reason: object) -> None:
        """Run terminate, then stop the tree: whoever sees the client's end finds the sockets closed."""
        try:
            super().terminate(reason)
        finally:
            primary = self._tree.primary
            if primary is not None:
                self.process.unlink(primary.process)
                primary.process.signal(self.process, SHUTDOWN)
                wait_down(primary.process, None)

    def receive(self, message: Any) -> None:
        """Put what connections report with the work; do what the client's own parts want."""
        match message:
            case ClientCommand(do):
                self._requests.do(do)
            case PendingCallback(name, arguments):
                last = arguments[-1]
                self._tree.serving = last.url if isinstance(last, Relay) else None
                try:
                    self.call(getattr(self.server, name), *arguments, ok=True)
                finally:
                    self._tree.serving = None
            case _Disconnected(relay, reason):
                self._after_error(relay, reason)
            case ReconnectDue(url):
                failed = self._tree.due(url)
                if failed is not None:
                    self.add_work(failed)
            case _:
                self.add_work(message)

    def step(self) -> None:
        """Handle messages of the first batch until the mailbox has something, or the event that is first."""
        batch = self.work[0]
        self.handling(batch)
        if type(batch) is not Batch:
            self.work.popleft()
            self._event(batch)
            return
        if batch.process not in self._ended:  # what arrives after the end is dropped
            self._messages(batch)
            if self._at < len(batch.messages):
                return
        self._at = 0
        self.work.popleft()
        batch.credit.take(batch.size)

    def _messages(self, batch: Batch) -> None:
        """Handle messages of `batch`, one after the other, until something else is to be done."""
        process, nothing_waits = self.process, self.mailbox.empty
        messages, relay, handlers = batch.messages, batch.relay, self._handlers
        at, end = self._at, len(messages)
        self._tree.serving = relay.url
        try:
            while at < end:
                message = messages[at]
                at += 1
                handler = handlers[type(message)]
                outcome = handler(message, relay, self.state)
                if outcome is not None:
                    self.follow(outcome, handler, ok=True)
                    if outcome.next is not None:
                        return
                if not nothing_waits() or process.interrupt is not None or process.dead:
                    return
        except End:
            raise
        except BaseException as error:
            raise End(error, handler) from error
        finally:
            self._tree.serving = None
            self._at = at
            self.last = message

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
            self.call(self.server.handle_connect, relay, ok=True)
        finally:
            tree.connecting = tree.serving = None
        found = tree.find(relay.url)
        if found is not None and found[0] is process:  # otherwise its end is on the way
            self._requests.do(self._requests.connected, relay, found[1])
        process.deliver(Cast(Command.READY))

    def _disconnected(self, relay: Relay, reason: object, error: object) -> None:
        if telemetry.handlers:
            uptime = 0.0 if relay.up_since is None else clock().monotonic() - relay.up_since
            telemetry.emit("connection.down", {"uptime": uptime}, {"relay": relay, "reason": reason, "error": error})
        self._requests.do(self._requests.lost, relay.url)
        if error is None:
            self._after_error(relay, reason)
            return
        # The rest comes after what handle_error may ask for (its continue_), and before all else.
        self.then(_Disconnected(relay, reason))
        self.call(self.server.handle_error, error, relay, ok=True)

    def _after_error(self, relay: Relay, reason: object) -> None:
        self.call(self.server.handle_disconnect, reason, relay, ok=True)
        self._tree.parted(relay.url)
        self._requests.do(self._requests.parted, relay.url)

    def _removed(self, process: Process | None, relay: Relay) -> None:
        if process is not None and process in self._ended:
            # It had ended by itself, and that was reported, while it was being removed: what is left is to give up
            # the attempt that handle_disconnect may have asked for since.
            pending = self._tree.take(relay.url)
            if pending is None:
                return
            pending.cancel()
        elif process is not None:
            self._ended.add(process)
        self._disconnected(relay, REMOVE_RELAY, None)
