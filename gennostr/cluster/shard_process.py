"""A shard's actor in the driver: one incarnation of the shard.

It owns the link to the shard, passes requests on, and dies with the shard: its supervisor then starts the next one. A
call that waits for the shard waits for this actor, so the shard's loss ends it.
"""

from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

from gennostr.client.shard import Shard
from gennostr.cluster import log_records
from gennostr.cluster.engine import Link
from gennostr.cluster.messages import (
    Done,
    Ended,
    FromShard,
    Handled,
    Invoke,
    Launch,
    Logged,
    Lost,
    Ping,
    Pong,
    Started,
    exception_of,
    unpacked,
)
from gennostr.cluster.remote_actor import RemoteActor
from gennostr.cluster.requests import AwaitStarted, Forward, Represent, ShardFailed, ShardPlan, ShardReady
from gennostr.exceptions import StartError
from gennostr.otp.calls import Request, reply, reply_error
from gennostr.otp.clock import ScheduledCall, clock
from gennostr.otp.engine import Engine
from gennostr.otp.gen_server import GenServer
from gennostr.otp.outcomes import CallbackOutcome, CallOutcome, NoReply, Ok, Reply, Stop
from gennostr.otp.pid import Pid
from gennostr.otp.reasons import NOCONNECTION
from gennostr.otp.signals import Exit

_MANY = 100
"""Requests that may be open before the abandoned ones are looked for."""


@dataclass(frozen=True, slots=True)
class _Beat:
    """It is time for the next heartbeat."""


class ShardEngine(Engine):
    """The engine of a shard's actor: the shard does not outlive it."""

    server: "ShardProcess"

    def reports(self, callback: str) -> bool:
        """Return whether the end is a crash that is not reported yet.

        The shard reports its client's own.
        """
        return not self.server.client_ended and super().reports(callback)

    def on_cancel(self) -> None:
        """End the shard: its actor was killed."""
        self.server.kill()

    def on_thread_end(self) -> None:
        """End the shard, however its actor has ended."""
        self.server.kill()
        super().on_thread_end()


class ShardProcess(GenServer[None], engine=ShardEngine):
    """One incarnation of a shard."""

    trap_exit = True
    link: Link | None = None
    timer: ScheduledCall | None = None
    client_ended = False

    def init(self, plan: ShardPlan) -> Ok[None]:
        """Start the shard; its client starts meanwhile."""
        self.plan = plan
        self.epoch = next(plan.epochs)
        self.started = False
        self.failure: StartError | None = None
        # Whether a heartbeat is not answered yet.
        self.silent = False
        # Requests that wait for the client's start, and for its answers.
        self.starters: list[Request] = []
        self.open: dict[int, Request] = {}
        self.references = count()
        self.crowded = _MANY
        self.representatives: dict[str | None, Pid] = {}
        options = plan.options
        shard = Shard(plan.number, plan.of)
        launch = Launch(options.client, options.init_arg, shard, self.epoch, plan.cursors.saved(), options.shutdown)
        self.link = options.engine.start(launch, self.received)
        plan.routes.pids[plan.number] = self.pid
        return Ok(None)

    def received(self, message: FromShard) -> None:
        """Take a message of the shard; called in the link's thread."""
        if message.epoch != self.epoch:
            return  # of an incarnation that was taken for dead
        if isinstance(message, Logged):
            log_records.handle(message.fields, self.plan.number)
        else:
            self.pid.send(message)

    def kill(self) -> None:
        """End the shard now; called in any thread."""
        if self.timer is not None:
            self.timer.cancel()
        link, self.link = self.link, None
        if link is not None:
            link.kill()

    def handle_call(self, request: Any, from_: Request, state: None) -> CallOutcome[None]:
        """Pass a request on; the answer comes later."""
        match request:
            case Forward(function, arguments):
                reference = next(self.references)
                self.open[reference] = from_
                if len(self.open) > self.crowded:
                    self.open = {key: each for key, each in self.open.items() if not each.abandoned}
                    self.crowded = 2 * len(self.open) + _MANY
                self._send(Invoke(reference, function, arguments))
            case Represent(name):
                return Reply(self._representative(name))
            case AwaitStarted():
                if self.started:
                    reply(from_, None)
                elif self.failure is not None:
                    reply_error(from_, self.failure)
                else:
                    self.starters.append(from_)
            case _:
                return super().handle_call(request, from_, state)
        return NoReply()

    def handle_cast(self, request: Any, state: None) -> CallbackOutcome[None]:
        """Pass a request on that has no answer."""
        if isinstance(request, Forward):
            self._send(Invoke(None, request.function, request.arguments))
            return None
        return super().handle_cast(request, state)

    def handle_info(self, message: Any, state: None) -> CallbackOutcome[None]:
        """Handle a message of the shard."""
        match message:
            case Done(_, reference, value, failed):
                from_ = self.open.pop(reference, None)
                if from_ is not None:
                    self._answer(from_, value, failed=failed)
            case Started():
                self.started = True
                link = self.link
                process_id = None if link is None else link.process_id
                self.plan.cluster.send(ShardReady(self.plan.number, self.epoch, self.pid, process_id))
                for from_ in self.starters:
                    reply(from_, None)
                self.starters.clear()
                self._beat()
            case Ended(_, reason):
                self.client_ended = True
                return self._over(unpacked(reason))
            case Handled(_, changes):
                self.plan.cursors.apply(unpacked(changes))
            case Pong():
                self.silent = False
            case _Beat():
                if self.silent:
                    return self._over(NOCONNECTION)
                self._beat()
            case Lost():  # the crash report shows it
                return self._over(NOCONNECTION)
            case Exit():  # of an actor that stands for one there, or an engine's own, whose link reports it
                pass
            case _:
                return super().handle_info(message, state)
        return None

    def terminate(self, reason: Any, state: None) -> None:
        """End the shard in order."""
        del state
        link, self.link = self.link, None
        if link is not None:
            link.end(0.0 if reason is NOCONNECTION else self.plan.options.shutdown)

    def _over(self, reason: object) -> Stop[None] | None:
        """End with the shard, and be restarted.

        One that never ran is left to what has started it.
        """
        if self.started or self.epoch > self.plan.first:
            return Stop(reason)
        if self.failure is None:
            self.failure = StartError(reason)
            for from_ in self.starters:
                reply_error(from_, self.failure)
            self.plan.cluster.send(ShardFailed(self.plan.number, reason))
        return None

    def _beat(self) -> None:
        """Request a sign of life, and look for it later."""
        heartbeat = self.plan.options.heartbeat
        if heartbeat is not None and self.link is not None:
            self.silent = True
            self.link.send(Ping())
            self.timer = clock().call_at(clock().monotonic() + heartbeat, partial(self.pid.send, _Beat()))

    def _send(self, message: Invoke) -> None:
        if self.link is not None:
            self.link.send(message)

    def _representative(self, name: str | None) -> Pid:
        """Return the actor that stands for one of the shard."""
        known = self.representatives.get(name)
        if known is None or not known.is_alive():
            known = self.representatives[name] = RemoteActor.start_link((self.pid, name))
        return known

    def _answer(self, from_: Request, value: bytes, *, failed: bool) -> None:
        try:
            if failed:
                reply_error(from_, exception_of(value))
            else:
                reply(from_, unpacked(value))
        except Exception as error:  # a class that is missing here
            reply_error(from_, error)
