"""The shard's side: an actor that runs one client and executes requests.

Every engine runs it: it knows nothing of what carries the messages.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from gennostr.client.functions import GenNostrPid
from gennostr.client.persistence import Changes
from gennostr.client.publications import PendingAnswers
from gennostr.client.shard import InShard
from gennostr.cluster.cursors import CursorStore
from gennostr.cluster.messages import (
    FUNCTIONS,
    Done,
    Ended,
    FromShard,
    Handled,
    Invoke,
    Launch,
    Ping,
    Pong,
    Started,
    packed,
    packed_reason,
    unpacked,
)
from gennostr.exceptions import CallError, NoProcess, RelayNotFound, StartError
from gennostr.otp import tracebacks
from gennostr.otp.calls import PendingReply
from gennostr.otp.gen_server import GenServer
from gennostr.otp.outcomes import IGNORE, CallbackOutcome, NoReply, Ok, Stop
from gennostr.otp.pid import monitor, stop, whereis
from gennostr.otp.process import MonitorRef
from gennostr.otp.reasons import NORMAL, SHUTDOWN
from gennostr.otp.signals import Down, Exit
from gennostr.otp.timers import send_after
from gennostr.values import Handle

logger = logging.getLogger(__name__)
logger.addFilter(tracebacks.escape)


_PAUSE: Final = 0.01
"""Seconds until a relay is removed again."""
_TRIES: Final = 1000
"""How often: a callback that runs for longer than this takes has removed a relay itself, or never will."""


@dataclass(frozen=True, slots=True)
class _RemoveAgain:
    """Remove a relay that could not be removed."""

    url: str


class Host(GenServer[None]):
    """Runs the client of one shard; ends when the client does."""

    trap_exit = True

    def init(self, argument: tuple[Launch, Callable[[FromShard], object]]) -> Ok[None]:
        """Return at once: the client's init may take long."""
        self.launch, self.answer = argument
        self.client: GenNostrPid | None = None
        # Relays to remove as soon as the client lets it, and how often that may be tried.
        self.unwanted: dict[str, int] = {}
        # Requests that are answered when an actor ends.
        self.awaited: dict[MonitorRef, Invoke] = {}
        return Ok(None, continue_="start")

    def handle_continue(self, argument: Any, state: None) -> CallbackOutcome[None]:
        """Start the client."""
        del argument, state
        launch = self.launch
        try:
            client: Any = launch.client.start_link(
                InShard(launch.shard, launch.init_arg, CursorStore(launch.saved, self._handled))
            )
        except StartError as error:
            return self._end(error.reason)
        except Exception as error:
            return self._end(error)
        if client is IGNORE:
            return self._end(NORMAL)
        self.client = client
        self.answer(Started(launch.epoch))
        return NoReply()

    def handle_info(self, message: Any, state: None) -> CallbackOutcome[None]:
        """Do what a message requests; end with the client."""
        if isinstance(message, Invoke):
            self._invoke(message)
        elif isinstance(message, Ping):
            self.answer(Pong(self.launch.epoch))
        elif isinstance(message, _RemoveAgain):
            self._remove(message.url)
        elif isinstance(message, Down):
            awaiting = self.awaited.pop(message.ref, None)
            if awaiting is not None and awaiting.ref is not None:
                self.answer(Done(self.launch.epoch, awaiting.ref, packed_reason(message.reason), failed=False))
        elif isinstance(message, Exit):
            if message.pid is self.client:
                self.client = None
                return self._end(message.reason)
        else:
            return super().handle_info(message, state)
        return None

    def terminate(self, reason: Any, state: None) -> None:
        """Stop the client in order: its terminate runs."""
        del reason, state
        client, self.client = self.client, None
        if client is not None:
            try:
                stop(client, SHUTDOWN, self.launch.shutdown)
            except CallError:  # it crashed, which its crash report shows, or is stuck
                client.process.kill()

    def _handled(self, changes: Changes) -> None:
        """Hand over what the client has handled; called in its thread."""
        self.answer(Handled(self.launch.epoch, packed(changes, "a position")))

    def _end(self, reason: object) -> Stop[None]:
        self.answer(Ended(self.launch.epoch, packed_reason(reason)))
        return Stop(SHUTDOWN)

    def _invoke(self, message: Invoke) -> None:
        assert message.function in FUNCTIONS, message  # noqa: S101
        try:
            arguments = unpacked(message.arguments)
            if message.function == "actor":
                self._operate(message, *arguments)
                return
            if message.function == "call":
                pending = PendingReply(self.client, arguments[0])
                pending.completion.listen(partial(self._replied, message, pending))
                return
            if message.function == "remove_relay":
                self.unwanted[arguments[0]] = _TRIES
                self._remove(arguments[0])
                return
            if message.function == "add_relay":
                self.unwanted.pop(arguments[0].url, None)
            result = getattr(self.client, message.function)(*arguments)
            if isinstance(result, PendingAnswers):
                result.add_done_callback(partial(self._answered, message))
                return
        except BaseException as error:
            self._failed(message, error)
        else:
            self._done(message, None if isinstance(result, Handle) else result)

    def _operate(self, message: Invoke, name: str | None, operation: str, argument: Any) -> None:
        """Do something to an actor of this process.

        To the one with `name`; None: to the client.
        """
        pid = self.client if name is None else whereis(name)
        target: Any = name if pid is None else pid  # a name that nobody has is reported as any other
        match operation:
            case "exists":
                self._done(message, pid is not None)
            case "await_end":
                self.awaited[monitor(target)] = message
            case "call":
                pending = PendingReply(target, argument)
                pending.completion.listen(partial(self._replied, message, pending))
            case "cast" if pid is not None:
                pid.cast(argument)
            case "send" if pid is not None:
                pid.send(argument)
            case "exit" if pid is not None:
                pid.exit(argument)
            case "stop" if pid is not None:
                pid.stop(argument, block=False)

    def _remove(self, url: str) -> None:
        """Remove a relay.

        A relay whose connection has just ended cannot be removed before the client's handle_disconnect has run: then it
        is in backoff, or the client has given it up.
        """
        client, tries = self.client, self.unwanted.pop(url, 0)
        if client is None or not tries:
            return  # it was added again meanwhile
        try:
            client.remove_relay(url)
        except RelayNotFound:
            if url in client.connections.known():
                self.unwanted[url] = tries - 1
                send_after(_PAUSE, self.pid, _RemoveAgain(url))

    def _replied(self, message: Invoke, pending: PendingReply) -> None:
        """Answer with the client's reply; called in the thread that has replied."""
        request = pending.request
        if request is None:
            self._failed(message, NoProcess(pending.target))
            return
        try:
            value = request.result(pending.target)
        except BaseException as error:
            self._failed(message, error)
        else:
            self._done(message, value)

    def _answered(self, message: Invoke, future: Any) -> None:
        error = future.exception(0)
        if error is None:
            self._done(message, future.result(0))
        else:
            self._failed(message, error)

    def _done(self, message: Invoke, value: object) -> None:
        if message.ref is None:
            return
        try:
            data = packed(value, "the reply")
        except TypeError as error:
            self._failed(message, error)
        else:
            self.answer(Done(self.launch.epoch, message.ref, data, failed=False))

    def _failed(self, message: Invoke, error: BaseException) -> None:
        if message.ref is not None:
            self.answer(Done(self.launch.epoch, message.ref, packed_reason(error), failed=True))
        else:
            logger.error("%s failed in a shard", message.function, exc_info=error)
