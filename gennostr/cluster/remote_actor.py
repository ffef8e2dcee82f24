"""Pids of actors in shards: pids of actors here that stand for those there.

So it can be called, monitored, linked and registered as any other pid. Messages are passed on, exit signals too. The
actor there is monitored: when it ends, the one here ends with the same reason; when the shard is lost, with
NOCONNECTION, whether or not the actor there lives on.
"""

import logging
from dataclasses import dataclass
from functools import partial
from typing import Any

from gennostr.cluster.messages import packed
from gennostr.cluster.requests import Forward
from gennostr.exceptions import CallExit, NoProcess
from gennostr.otp.calls import PendingReply, Request, reply, reply_error
from gennostr.otp.engine import Engine
from gennostr.otp.gen_server import GenServer
from gennostr.otp.outcomes import CallbackOutcome, CallOutcome, NoReply, Ok, Stop
from gennostr.otp.pid import Pid
from gennostr.otp.reasons import KILL, NOCONNECTION
from gennostr.otp.signals import Exit

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Over:
    """The actor there has ended."""


class RemoteEngine(Engine):
    """The engine of an actor that stands for another."""

    server: "RemoteActor"

    def reports(self, callback: str) -> bool:
        """Return False: what has failed is reported where it ran."""
        del callback
        return False

    def on_thread_end(self) -> None:
        """Kill the actor there, if the one here was killed."""
        self.server.kill()
        super().on_thread_end()


class RemoteActor(GenServer[None], engine=RemoteEngine):
    """Stands for an actor of a shard: for its client, or for the one with a name."""

    trap_exit = True
    end: PendingReply | None = None

    def init(self, argument: tuple[Pid, str | None]) -> Ok[None]:
        """Monitor the actor there."""
        self.shard, self.name = argument
        self.over = False
        self.end = PendingReply(self.shard, self._forward("await_end"))
        self.end.completion.listen(partial(self.pid.send, _Over()))
        return Ok(None)

    def handle_call(self, request: Any, from_: Request, state: None) -> CallOutcome[None]:
        """Pass a call on."""
        del state
        try:
            pending = PendingReply(self.shard, self._forward("call", request))
        except TypeError as error:
            reply_error(from_, error)
        else:
            pending.completion.listen(partial(_replied, from_, pending))
        return NoReply()

    def handle_cast(self, request: Any, state: None) -> None:
        """Pass a cast on."""
        del state
        self._send("cast", request)

    def handle_info(self, message: Any, state: None) -> CallbackOutcome[None]:
        """Pass a message or an exit signal on; end with the actor there."""
        del state
        if isinstance(message, _Over):
            self.over = True
            return Stop(self._reason())
        if isinstance(message, Exit):
            self._send("exit", message.reason)
        else:
            self._send("send", message)
        return None

    def terminate(self, reason: Any, state: None) -> None:
        """Stop the actor there, if this is a stop of the one here."""
        del state
        if not self.over and self.shard.is_alive() and self.end is not None:
            self._send("stop", reason)
            self.over = True
            ended = self._reason()
            if ended is not reason and ended != reason:
                raise CallExit(ended, self.pid)

    def kill(self) -> None:
        """Kill the actor there, unless it has ended."""
        if self.end is not None and not self.over:
            self.shard.cast(self._forward("exit", KILL))

    def _reason(self) -> object:
        """Wait for the end of the actor there; return its reason."""
        assert self.end is not None  # noqa: S101
        try:
            return self.end.wait(None)
        except CallExit as error:
            return error.reason
        except NoProcess:
            return NOCONNECTION

    def _send(self, operation: str, argument: object) -> None:
        try:
            self.shard.cast(self._forward(operation, argument))
        except TypeError as error:
            logger.error("%r did not pass a message on: %s", self.pid, error)  # noqa: TRY400 - the text says all

    def _forward(self, operation: str, argument: object = None) -> Forward:
        return Forward("actor", packed((self.name, operation, argument), "the message"))


def _replied(from_: Request, pending: PendingReply) -> None:
    """Pass a reply on; called in any thread.

    Without one, as the actor there has ended, the end of the one here ends the call.
    """
    if pending.request is None or pending.request.exit is not None:
        return
    try:
        reply(from_, pending.request.result(pending.target))
    except CallExit:
        pass
    except BaseException as error:
        reply_error(from_, error)
