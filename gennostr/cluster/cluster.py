"""Cluster: one client class in several processes.

    Cluster                     the relays, the subscriptions, and which shard has what
     └── DynamicSupervisor      stops all shards at the same time
          ├── Supervisor        restarts shard 0, up to max_restarts in max_seconds
          │    └── ShardProcess     one incarnation of it: the link to its process
          └── Supervisor        shard 1
               └── ShardProcess

A shard that keeps failing uses up its own supervisor's restarts, not those of others: then it is given up, and its
relays move to the remaining shards. When none is left, the cluster ends.

Only the cluster changes what shards have. A shard's actor is a pipe: when its client has started, the cluster sends it
the subscriptions and the relays that it should have, and from then on what changes. Everything goes through one mailbox
and one link, so it arrives in order.
"""

import logging
from collections import Counter
from functools import partial
from itertools import count
from typing import Any, Unpack

from gennostr.client.gen_nostr import GenNostr
from gennostr.cluster.assignment import assign
from gennostr.cluster.cluster_pid import ClusterPid, check_shards
from gennostr.cluster.cursors import Cursors
from gennostr.cluster.engine import Engine
from gennostr.cluster.messages import packed
from gennostr.cluster.processes import Processes
from gennostr.cluster.requests import (
    AddRelay,
    AddSubscription,
    AwaitStarted,
    ClusterOptions,
    Forward,
    ListShards,
    MonitorShards,
    RemoveRelay,
    RemoveSubscription,
    Resize,
    Routes,
    ShardDown,
    ShardFailed,
    ShardInfo,
    ShardPlan,
    ShardReady,
    ShardUp,
)
from gennostr.cluster.shard_process import ShardProcess
from gennostr.exceptions import ChildNotFound, FailedToStartChild, RelayNotFound, StartError
from gennostr.nostr.relay_url import redact
from gennostr.otp import engine as engines
from gennostr.otp.calls import Request, reply, reply_error
from gennostr.otp.child import check_intensity
from gennostr.otp.child_spec import ChildSpec, Overrides
from gennostr.otp.dynamic_supervisor import DynamicSupervisor, DynamicSupervisorEngine, DynamicSupervisorPid
from gennostr.otp.gen_server import GenServer
from gennostr.otp.mailbox import Mailbox
from gennostr.otp.names import Name, check_name
from gennostr.otp.outcomes import CallbackOutcome, CallOutcome, NoReply, Ok, Reply, Stop, check_seconds
from gennostr.otp.pid import Pid, monitor
from gennostr.otp.process import current_process
from gennostr.otp.reasons import NOCONNECTION, SHUTDOWN, Shutdown
from gennostr.otp.signals import Down, Exit
from gennostr.otp.start import start
from gennostr.otp.supervisor import Supervisor
from gennostr.values import shown

logger = logging.getLogger(__name__)

_SPARE = 5.0
"""Seconds that a shard's actor has to stop beyond the time that its client has."""


class ClusterEngine(engines.Engine):
    """The engine of a cluster: its handle has the functions of a client."""

    pid_class = ClusterPid

    def __init__(self, server: engines.Server, pid: Pid, inbox: Mailbox) -> None:
        super().__init__(server, pid, inbox)
        assert isinstance(pid, ClusterPid)  # noqa: S101
        pid.routes = Routes()


class _PoolEngine(DynamicSupervisorEngine):
    """Leaves it to the cluster to report the cluster's own failure."""

    def reports(self, callback: str) -> bool:
        """Return False for a stop: the cluster's start timed out, or it was killed."""
        return callback != "stop"


class _Pool(DynamicSupervisor, engine=_PoolEngine):
    """Supervises the shards' supervisors."""


class Cluster(GenServer[None], engine=ClusterEngine):
    """A client class that runs in several shards, each of which is a process.

    Each shard runs one client of the class, which is an ordinary `GenNostr`; its callbacks run there, and
    ``self.shard`` says which one it is. Relays and subscriptions are added on the cluster's handle: each relay is
    connected to by one shard, which its url decides. Do not add relays in init, which runs in each shard.

    >>> from gennostr import GenNostr, Ok, Reply
    >>> from gennostr.cluster import Cluster, InProcess
    >>> from gennostr.testing import MemoryRelay
    >>> class Counter(GenNostr[int]):
    ...     def init(self, start):
    ...         return Ok(start)
    ...     def handle_event(self, message, relay, seen):
    ...         return Ok(seen + 1)
    ...     def handle_call(self, request, from_, seen):
    ...         return Reply((self.shard.number, seen))
    >>> with MemoryRelay() as relay, Cluster.start(Counter, 0, shards=2, engine=InProcess()) as cluster:
    ...     id_ = cluster.subscribe({"kinds": [1]}, id="notes")
    ...     cluster.add_relay(relay.url)
    ...     cluster.call_all("seen")
    {0: (0, 0), 1: (1, 0)}

    A shard that is lost is restarted, with its relays and subscriptions. Then ``self.shard`` is the same, so a client
    with a store of its own in each shard (``SqliteStore(f"events-{self.shard.number}.db")``) resumes where it was.
    """

    trap_exit = True

    @classmethod
    def start(  # type: ignore[override]
        cls,
        client: type[GenNostr[Any]],
        init_arg: Any = None,
        shards: int = 2,
        engine: Engine | None = None,
        name: Name | None = None,
        timeout: float | None = None,
        *,
        max_restarts: int = 3,
        max_seconds: float = 5.0,
        shutdown: float = 5.0,
        heartbeat: float | None = 30.0,
    ) -> ClusterPid:
        """Start a cluster; return its handle once init has succeeded in every shard.

        Args:
            client: the class of the clients.
            init_arg: the argument of each client's init. Default None.
            shards: how many shards, at least 1. Default 2.
            engine: what runs the shards. Default: `Processes`.
            name: a name to register, or a `via`. Default None: no name.
            timeout: seconds that the start may take. Default None: no limit.
            max_restarts: a shard is given up after more restarts than this within `max_seconds`. Default 3.
            max_seconds: the seconds within which restarts are counted. Default 5.0.
            shutdown: the seconds that a client has to end when its shard is stopped; then it is killed. Default 5.0.
            heartbeat: the seconds that a shard has to answer a sign of life, whatever its client does; otherwise it is
                taken for lost, killed and restarted. Default 30.0; None: only its process's end counts.

        Raises:
            StartError: a client's init failed, with its reason; or a shard could not be started.
            AlreadyStarted, NoProcess: as for `GenServer.start`.
            TypeError, ValueError: an argument is invalid.

        """
        options = cls._options(client, init_arg, shards, engine, max_restarts, max_seconds, shutdown, heartbeat)
        return start(cls, options, name, timeout, None)  # type: ignore[no-any-return]

    @classmethod
    def start_link(  # type: ignore[override]
        cls,
        client: type[GenNostr[Any]],
        init_arg: Any = None,
        shards: int = 2,
        engine: Engine | None = None,
        name: Name | None = None,
        timeout: float | None = None,
        *,
        max_restarts: int = 3,
        max_seconds: float = 5.0,
        shutdown: float = 5.0,
        heartbeat: float | None = 30.0,
    ) -> ClusterPid:
        """Like `start`, but linked to the calling process.

        In a plain thread, the same as `start`.

        Args:
            client: the class of the clients.
            init_arg: the argument of each client's init. Default None.
            shards: how many shards, at least 1. Default 2.
            engine: what runs the shards. Default: `Processes`.
            name: a name to register, or a `via`. Default None: no name.
            timeout: seconds that the start may take. Default None: no limit.
            max_restarts: a shard is given up after more restarts than this within `max_seconds`. Default 3.
            max_seconds: the seconds within which restarts are counted. Default 5.0.
            shutdown: the seconds that a client has to end when its shard is stopped; then it is killed. Default 5.0.
            heartbeat: the seconds that a shard has to answer a sign of life, whatever its client does; otherwise it is
                taken for lost, killed and restarted. Default 30.0; None: only its process's end counts.

        Raises:
            StartError, AlreadyStarted, NoProcess, TypeError, ValueError: as for `start`.

        """
        options = cls._options(client, init_arg, shards, engine, max_restarts, max_seconds, shutdown, heartbeat)
        return start(cls, options, name, timeout, current_process())  # type: ignore[no-any-return]

    @classmethod
    def child_spec(  # type: ignore[override]
        cls,
        client: type[GenNostr[Any]],
        init_arg: Any = None,
        shards: int = 2,
        engine: Engine | None = None,
        *,
        name: Name | None = None,
        max_restarts: int = 3,
        max_seconds: float = 5.0,
        heartbeat: float | None = 30.0,
        **overrides: Unpack[Overrides],
    ) -> ChildSpec:
        """Return a child spec for a cluster: permanent, of type "supervisor".

        The id is `name`, or the client's class.

        Args:
            client: the class of the clients.
            init_arg: the argument of each client's init. Default None.
            shards: how many shards. Default 2.
            engine: what runs the shards. Default: `Processes`.
            name: the name to register. Default None: no name.
            max_restarts: a shard is given up after more restarts than this within `max_seconds`. Default 3.
            max_seconds: the seconds within which restarts are counted. Default 5.0.
            heartbeat: as for `start`. Default 30.0.
            overrides: fields of `ChildSpec`.

        Raises:
            TypeError, ValueError: an argument is invalid.

        """
        check_name(name)
        cls._options(client, init_arg, shards, engine, max_restarts, max_seconds, 5.0, heartbeat)
        start = partial(
            cls.start_link,
            client,
            init_arg,
            shards,
            engine,
            name,
            max_restarts=max_restarts,
            max_seconds=max_seconds,
            heartbeat=heartbeat,
        )
        fields: Overrides = {"id": client if name is None else name, "start": start, "type": "supervisor"}
        return ChildSpec(**(fields | overrides))

    @staticmethod
    def _options(
        client: object,
        init_arg: object,
        shards: int,
        engine: Engine | None,
        max_restarts: int,
        max_seconds: float,
        shutdown: float,
        heartbeat: float | None,
    ) -> ClusterOptions:
        if not (isinstance(client, type) and issubclass(client, GenNostr)):
            raise TypeError(f"client must be a GenNostr class, not {shown(client)}")
        if engine is None:
            engine = Processes()
        if isinstance(engine, type) or not isinstance(engine, Engine):
            raise TypeError(f"engine must be an engine, such as Processes(), not {shown(engine)}")
        check_intensity(max_restarts, max_seconds)
        check_seconds("shutdown", shutdown)
        if heartbeat is not None:
            check_seconds("heartbeat", heartbeat)
        count = check_shards(shards)
        return ClusterOptions(client, init_arg, count, engine, max_restarts, max_seconds, shutdown, heartbeat)

    # Starting.

    def init(self, options: ClusterOptions) -> Ok[None] | Stop[None]:
        """Start the shards together, and wait until all clients have started."""
        self.options = options
        pid = self.pid
        assert isinstance(pid, ClusterPid)  # noqa: S101
        self.routes = pid.routes
        self.subscriptions: dict[str, bytes] = {}
        self.supervisors: dict[Pid, int] = {}
        self.ready: dict[int, ShardReady] = {}
        # The last epoch of each shard, also of those that were removed.
        self.epochs: dict[int, int] = {}
        self.watchers: set[Pid] = set()
        self.resizing: tuple[Request, tuple[int, ...]] | None = None
        self.pool: DynamicSupervisorPid = _Pool.start_link()
        numbers = tuple(range(options.shards))
        try:
            for number in numbers:
                self._start_shard(number, options.shards)
            for number in numbers:
                self.routes.pids[number].call(AwaitStarted(), None)
        except StartError as error:
            self.pool.stop(SHUTDOWN)
            return Stop(_root(error.reason))
        self.routes.numbers = numbers
        return Ok(None)

    def _start_shard(self, number: int, of: int) -> None:
        options = self.options
        first = self.epochs.get(number, 0) + 1
        cursors = self.routes.cursors[number] = Cursors()
        plan = ShardPlan(self.pid, options, number, of, self.routes, cursors, first, count(first))
        child = ChildSpec(f"shard {number}", partial(ShardProcess.start_link, plan), shutdown=options.shutdown + _SPARE)
        supervisor = partial(
            Supervisor.start_link, [child], max_restarts=options.max_restarts, max_seconds=options.max_seconds
        )
        pid = self.pool.start_child(ChildSpec(number, supervisor, restart="temporary", type="supervisor"))
        self.supervisors[pid] = number
        monitor(pid)

    # Requests.

    def handle_call(self, request: Any, from_: Request, state: None) -> CallOutcome[None]:
        """Change the relays, the subscriptions, or the shards."""
        del state
        match request:
            case AddRelay(relay):
                self.routes.relays[relay.url] = relay
                owner = self.routes.owners[relay.url] = self.routes.owner(relay.url)
                self._send(owner, "add_relay", relay)
            case RemoveRelay(url):
                if self.routes.relays.pop(url, None) is None:
                    reply_error(from_, RelayNotFound(redact(url)))
                    return NoReply()
                self._send(self.routes.owners.pop(url), "remove_relay", url)
            case AddSubscription(id_, arguments):
                self.subscriptions[id_] = arguments
                for ready in self.ready.values():
                    ready.pid.cast(Forward("subscribe", arguments))
            case RemoveSubscription(id_):
                self.subscriptions.pop(id_, None)
                for number in self.ready:
                    self._send(number, "unsubscribe", id_)
            case ListShards():
                relays = Counter(self.routes.owners.values())
                return Reply([self._info(number, relays[number]) for number in self.routes.numbers])
            case MonitorShards(pid):
                if pid not in self.watchers:
                    self.watchers.add(pid)
                    monitor(pid)
                return Reply({number: ready.epoch for number, ready in sorted(self.ready.items())})
            case Resize(shards):
                return self._resize(from_, tuple(range(shards)))
            case _:
                text = f"a cluster does not handle this call: {shown(request)}; its handle's `call` goes to a shard"
                reply_error(from_, TypeError(text))
                return NoReply()
        return Reply(None)

    def _info(self, number: int, relays: int) -> ShardInfo:
        ready = self.ready.get(number)
        if ready is None:
            return ShardInfo(number, None, None, relays)
        return ShardInfo(number, ready.epoch, ready.process_id, relays)

    def _send(self, number: int, function: str, *arguments: object) -> None:
        """Send a shard what has changed, if it is up.

        Otherwise it is sent all of it when it is.
        """
        ready = self.ready.get(number)
        if ready is not None:
            ready.pid.cast(Forward(function, packed(arguments, "the request")))

    # Shards come and go.

    def handle_info(self, message: Any, state: None) -> CallbackOutcome[None]:
        """Handle the start and the end of shards."""
        match message:
            case ShardReady():
                self._on_ready(message)
            case ShardFailed(number, reason):
                self._cancel_resize(StartError(reason))
            case Down(_, pid, reason) if pid in self.supervisors:
                return self._on_given_up(self.supervisors.pop(pid), reason)
            case Down(_, pid, reason):
                self.watchers.discard(pid)
                for number, ready in list(self.ready.items()):
                    if ready.pid is pid:
                        del self.ready[number]
                        self._notify(ShardDown(number, ready.epoch, reason))
            case Exit(pid, reason) if pid is self.pool:
                return Stop(reason)
            case _:
                return super().handle_info(message, state)
        return None

    def _on_ready(self, ready: ShardReady) -> None:
        number = ready.number
        monitor(ready.pid)
        self.ready[number] = ready
        self.epochs[number] = ready.epoch
        for arguments in self.subscriptions.values():
            ready.pid.cast(Forward("subscribe", arguments))
        if number in self.routes.numbers:
            for url in self.routes.relays_of(number):
                self._send(number, "add_relay", self.routes.relays[url])
        self._notify(ShardUp(number, ready.epoch))
        self._move_if_ready()

    def _on_given_up(self, number: int, reason: object) -> CallbackOutcome[None]:
        """Move the relays of a shard whose supervisor has given up."""
        self.routes.pids.pop(number, None)
        numbers = self.routes.numbers
        if number not in numbers:  # a new one, which had started and then failed
            self._cancel_resize(StartError(reason))
            return None
        logger.error("%r gives up shard %d", self.pid, number)
        remaining = tuple(each for each in numbers if each != number)
        if not remaining:
            return Stop(NOCONNECTION)
        self._assign(remaining)
        return None

    def _notify(self, message: object) -> None:
        for pid in self.watchers:
            pid.send(message)

    # Resizing.

    def _resize(self, from_: Request, target: tuple[int, ...]) -> CallOutcome[None]:
        if self.resizing is not None:
            reply_error(from_, RuntimeError("another resize of the cluster is under way"))
            return NoReply()
        self.resizing = from_, target
        try:
            for number in target:
                if number not in self.routes.numbers:
                    self._start_shard(number, len(target))
        except StartError as error:
            self._cancel_resize(StartError(_root(error.reason)))
        self._move_if_ready()
        return NoReply()

    def _cancel_resize(self, error: StartError) -> None:
        """Stop the new shards: one did not start."""
        if self.resizing is not None:
            from_, target = self.resizing
            self.resizing = None
            for number in target:
                if number not in self.routes.numbers:
                    self._stop_shard(number)
            reply_error(from_, error)

    def _move_if_ready(self) -> None:
        """Move the relays if all new shards are up."""
        if self.resizing is None:
            return
        from_, target = self.resizing
        if any(number not in self.ready and number not in self.routes.numbers for number in target):
            return
        self.resizing = None
        before = self.routes.numbers
        # First, so that a relay is disconnected before its next shard connects to it.
        for number in before:
            if number not in target:
                self._stop_shard(number)
        reply(from_, self._assign(target))

    def _assign(self, target: tuple[int, ...]) -> int:
        """Move the relays to their shards among `target`; return how many have moved."""
        before = self.routes.owners
        after = {url: assign(url, target) for url in before}
        self.routes.numbers, self.routes.owners = target, after
        moved = [url for url in after if after[url] != before[url]]
        for url in moved:
            if before[url] in target:
                self._send(before[url], "remove_relay", url)
            self._send(after[url], "add_relay", self.routes.relays[url])
        return len(moved)

    def _stop_shard(self, number: int) -> None:
        """Stop a shard, and wait for its end."""
        for pid, each in list(self.supervisors.items()):
            if each == number:
                del self.supervisors[pid]
                try:
                    self.pool.terminate_child(pid)
                except ChildNotFound:  # it has given up just now
                    pass
        self.routes.pids.pop(number, None)
        self.routes.cursors.pop(number, None)

    def terminate(self, reason: Any, state: None) -> None:
        """Stop all shards together."""
        del reason, state
        self.pool.stop(SHUTDOWN)


def _root(reason: object) -> object:
    """Return why a child of a child did not start."""
    while isinstance(reason, Shutdown) and isinstance(reason.reason, FailedToStartChild):
        reason = reason.reason.reason
    return reason
