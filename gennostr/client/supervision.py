"""The supervision tree below a client.

Also what the client's functions do with it.

    PrimarySupervisor             one_for_one
      ├── ConnectionRegistry      url → connection (with its outbox)
      └── ConnectionSupervisor    one Connection per relay

The client, its handle and the actors below share a `ConnectionTable`. It knows the current registry and supervisor,
which may be restarted, and which relays wait for their next attempt. Its methods run in the caller.
"""

import logging
import random
from dataclasses import replace
from functools import partial
from typing import Final

from gennostr.client.connection import Command, Connection
from gennostr.client.connection_events import NotMade, ReconnectDue, Removed
from gennostr.client.options import Relay
from gennostr.client.outbox import Outbox
from gennostr.client.relay_statistics import RelayCounters, RelayStatistics, State
from gennostr.client.seen_events import SeenEvents
from gennostr.exceptions import (
    AlreadyRegistered,
    AlreadyStarted,
    CallError,
    NoProcess,
    RelayNotFound,
    StartError,
)
from gennostr.nostr.relay_url import redact
from gennostr.otp import tracebacks
from gennostr.otp.child import Child, RestartIntensity
from gennostr.otp.child_spec import ChildSpec
from gennostr.otp.clock import ScheduledCall
from gennostr.otp.dynamic_supervisor import DynamicSupervisor, DynamicSupervisorEngine, DynamicSupervisorPid
from gennostr.otp.engine import Server
from gennostr.otp.envelopes import Cast
from gennostr.otp.mailbox import Mailbox
from gennostr.otp.names import Via, via
from gennostr.otp.pid import Pid
from gennostr.otp.process import Process, current_process
from gennostr.otp.registry import Registry, RegistryPid
from gennostr.otp.supervisor import Supervisor, SupervisorEngine, SupervisorFlags, SupervisorPid
from gennostr.otp.timers import send_after

logger = logging.getLogger(__name__)
logger.addFilter(tracebacks.escape)

JITTER: Final = 0.25
CRASHES: Final = 2
CRASH_SECONDS: Final = 30.0
"""If a connection crashes more than CRASHES times within so many seconds, the client's backoff takes over."""


class ConnectionRegistry(Registry):
    """url → connection, unique."""


class _ConnectionSupervisorEngine(DynamicSupervisorEngine):
    """Gives each url its own restart intensity instead of a shared one."""

    def __init__(self, server: Server, pid: Pid, inbox: Mailbox) -> None:
        super().__init__(server, pid, inbox)
        # By url, for those that have crashed: the attempt after a backoff is another child.
        self._budgets: dict[object, RestartIntensity] = {}

    def may_restart(self, child: Child) -> bool | None:
        """Count a restart.

        Return None, to give the child up, if the url's intensity is exceeded.
        """
        name = None if child.last is None else child.last.process.name
        if isinstance(name, Via) and isinstance(name.value, Outbox) and name.value.over:
            return None  # it failed while it was closing
        budget = self._budgets.setdefault(child.spec.id, RestartIntensity(CRASHES, CRASH_SECONDS))
        return True if budget.add() else None


class ConnectionSupervisor(DynamicSupervisor, engine=_ConnectionSupervisorEngine):
    """Supervises the connections."""


class _PrimarySupervisorEngine(SupervisorEngine):
    """Leaves it to the client to report the client's own failure."""

    def reports(self, callback: str) -> bool:
        """Return False for a stop by the client.

        It has failed in init, received an exit signal, or was killed.
        """
        return callback != "stop"


class PrimarySupervisor(Supervisor, engine=_PrimarySupervisorEngine):
    """Supervises the registry and the connection supervisor."""

    def init(self, init_arg: "ConnectionTable", /) -> SupervisorFlags:
        """Return the flags and the two children."""
        return self.children(
            [
                ChildSpec("ConnectionRegistry", init_arg.start_registry),
                ChildSpec("ConnectionSupervisor", init_arg.start_supervisor, type="supervisor"),
            ]
        )


class _Key(str):
    """A url as a registry key: equal to its text, but shown without credentials."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(redact(self))


class _Attempt:
    """The next attempt to connect to a relay, waiting for its delay."""

    __slots__ = ("relay", "timer")

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.timer: ScheduledCall | None = None

    def cancel(self) -> None:
        """Prevent the ReconnectDue.

        Without a timer yet, `ConnectionTable.schedule` sees that it was taken.
        """
        if self.timer is not None:
            self.timer.cancel()


class ConnectionTable:
    """One client's connections and pending attempts."""

    def __init__(self, client: Process) -> None:
        self.client = client
        self.seen = SeenEvents()
        self.primary: SupervisorPid | None = None
        self.counters = RelayCounters()
        self._registry: RegistryPid | None = None
        self._supervisor: DynamicSupervisorPid | None = None
        # The relays in backoff. No lock, so that a finalizer or a signal handler can add and remove relays anywhere:
        # each use is one operation of the dict, which is atomic, or works on a copy.
        self._pending: dict[str, _Attempt] = {}
        # Relays whose removal was requested while they had neither a connection nor a pending attempt, as the client
        # was handling an end, or making the next attempt: see `finish_removal`.
        self._unwanted: set[str] = set()

    # Start and stop.

    def start(self) -> None:
        """Start the tree, linked to the client; called in the client's thread."""
        self.client.watch(self)
        self.primary = PrimarySupervisor.start_link(self)

    def start_registry(self) -> Pid:
        """Start the registry; called by the primary supervisor."""
        self._registry = ConnectionRegistry.start_link()
        return self._registry

    def start_supervisor(self) -> Pid:
        """Start the connection supervisor; called by the primary supervisor."""
        supervisor: DynamicSupervisorPid = ConnectionSupervisor.start_link()
        self._supervisor = supervisor
        return supervisor

    def down(self, process: Process, reason: object) -> None:
        """Drop the pending attempts: the client is dead.

        See `gennostr.otp.process.Watcher`.
        """
        del process, reason
        for url in list(self._pending):
            self._give_up(url)

    # Statistics.

    def statistics(self) -> dict[str, RelayStatistics]:
        """Return the statistics of every relay."""
        if self.client.dead:
            return {}
        standing: dict[str, tuple[State, float | None]]
        # Those in backoff first: a relay that is connected meanwhile is then found in both.
        standing = dict.fromkeys(list(self._pending), ("backoff", None))
        for url, _, outbox in self.connections():
            connected_at = outbox.relay.connected_at
            standing[url] = ("connecting" if connected_at is None else "open", connected_at)
        return self.counters.statistics(standing)

    def relay_removed(self, url: str) -> None:
        """Forget the statistics of a relay whose handle_disconnect has run.

        It has neither a connection nor a pending attempt.
        """
        if not self.has(url):
            self.counters.forget(url)

    # Connections.

    def connections(self) -> list[tuple[str, Process, Outbox]]:
        """Return all connections."""
        registry = self._registry
        if registry is None or registry.process.dead:
            return []
        return [(str(key), process, outbox) for key, process, outbox in registry.table.entries()]  # type: ignore[misc]

    def known(self) -> set[str]:
        """Return all relays of the client.

        Includes those whose end has not yet been handled.

        The counters have each relay that had an attempt, until handle_disconnect has run and no attempt is pending.
        """
        return {*self.counters.urls(), *self._pending.copy()}

    def knows(self, url: str) -> bool:
        """Return whether `url` is one of `known`, without looking at the others."""
        return self.counters.has(url) or url in self._pending

    def relays(self) -> list[Relay]:
        """Return all relays, connected or in backoff, with their options."""
        waiting = [attempt.relay for attempt in self._pending.copy().values()]
        return [outbox.relay for _, _, outbox in self.connections()] + waiting

    def urls(self) -> set[str]:
        """Return the relays that are connected or will be again: all that the client has."""
        # Those in backoff before and after: whichever way a relay changes meanwhile, it is seen.
        before = set(self._pending)
        connected = {url for url, _, _ in self.connections()}
        return before | connected | set(self._pending)

    def has(self, url: str) -> bool:
        """Return whether `url` is one of `urls`, without looking at the others.

        Each end of a connection leads here: with thousands of relays, when the network fails, at thousands of ends.
        """
        # In the same order as `urls`: whichever way the relay changes meanwhile, it is seen.
        if url in self._pending:
            return True
        registry = self._registry
        connected = registry is not None and not registry.process.dead and registry.table.lookup(url) is not None
        return connected or url in self._pending

    def find(self, url: str) -> tuple[Process, Outbox] | None:
        """Return the connection to `url`, if there is one."""
        registry = self._registry
        return None if registry is None else registry.table.lookup(url)  # type: ignore[return-value]

    def add(self, relay: Relay) -> Pid:
        """Start a connection now, or return the existing one.

        Raises what `open` raises.
        """
        self._unwanted.discard(relay.url)
        self._give_up(relay.url)
        pid = self.open(relay)
        self.finish_removal(relay.url)
        return pid

    def open(self, relay: Relay) -> Pid:
        """Start a connection, or return the existing one.

        Raises:
            NoProcess: the client is dead.
            StartError: it could not be started (the system refused a thread or a descriptor).

        """
        tries = 100
        while True:
            found = self.find(relay.url)
            if found is not None:
                return found[0].pid  # type: ignore[no-any-return]
            try:
                supervisor = self._supervisor
                if self.client.dead or supervisor is None or self.primary is None:
                    raise NoProcess(self.client.pid)
                spec = ChildSpec(_Key(relay.url), partial(self._start, relay), restart="transient")
                return supervisor.start_child(spec)  # type: ignore[no-any-return]
            except (AlreadyStarted, AlreadyRegistered) as there:
                return there.pid  # type: ignore[no-any-return]
            except (CallError, StartError) as error:
                if isinstance(error, StartError) and not isinstance(error.reason, CallError):
                    raise
                if self.client.dead:
                    raise NoProcess(self.client.pid) from error
                # The supervisor or the registry is being restarted: the primary answers when that is done. This may
                # take many tries: a death is reported to its watchers one after the other, and the primary may answer
                # before it knows.
                tries -= 1
                if tries == 0 or self.primary is None:
                    raise
                self.primary.which_children()

    def _start(self, relay: Relay) -> Pid:
        """Start a connection; called by the connection supervisor, for restarts too."""
        registry = self._registry
        assert registry is not None  # noqa: S101
        outbox = Outbox(relay)
        return Connection.start_link(
            (self.client, registry, relay, outbox, self.counters, self.seen),
            name=via(registry, _Key(relay.url), outbox),
        )

    def take(self, url: str) -> _Attempt | None:
        """Remove and return a pending attempt."""
        return self._pending.pop(url, None)

    def _give_up(self, url: str) -> None:
        """Cancel a pending attempt."""
        pending = self.take(url)
        if pending is not None:
            pending.cancel()

    def schedule(self, relay: Relay, delay: float | None = None) -> None:
        """Start the delay before the next attempt, unless one is pending."""
        if self.primary is None or self.primary.process.dead:
            return  # a client that traps exits has outlived its tree: nothing could make an attempt
        delays = relay.options.reconnect
        if delay is None:
            delay = delays[min(relay.reconnect_counter, len(delays) - 1)]
            delay *= random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - spreads load, keeps no secret
            if relay.retry_after is not None:  # never earlier, and spread too, for all clients may have got the same
                wanted = min(relay.retry_after, max(delays))
                delay = max(delay, wanted * random.uniform(1, 1 + JITTER))  # noqa: S311
        counter = relay.reconnect_counter + 1
        following = replace(
            relay, connected_at=None, clock_offset=None, up_since=None, reconnect_counter=counter, retry_after=None
        )
        attempt = _Attempt(following)
        before = self._pending.setdefault(relay.url, attempt)
        if before is not attempt:
            if delay > 0:
                return
            self._pending[relay.url] = attempt
        # Only after the attempt is in the dict, for the timer may fire at once.
        try:
            attempt.timer = send_after(delay, self.client.pid, ReconnectDue(relay.url))
        except RuntimeError:  # the system refuses a thread for the timers: what was pending stays pending
            if self._pending.get(relay.url) is attempt:
                self.take(relay.url)
                if before is not attempt:
                    self._pending.setdefault(relay.url, before)
            raise
        if before is not attempt:
            before.cancel()
        if self.client.is_dead():  # `down` drops what is there when it runs, which may have been before this
            self._give_up(relay.url)
        if self._pending.get(relay.url) is not attempt:  # it was taken, perhaps before it had its timer
            attempt.cancel()

    def due(self, url: str) -> NotMade | None:
        """Make the attempt whose delay is over.

        Or return why it could not be made. Called in the client's thread.
        """
        pending = self.take(url)
        if pending is None:
            return None  # cancelled, or made already
        try:
            self.open(pending.relay)
            self.finish_removal(url)
        except Exception as error:
            if self.client.dead:  # killed meanwhile: it makes no attempt any more
                return None
            if isinstance(error, StartError) and isinstance(error.reason, RuntimeError):
                # The system refused a thread: no connection counts the attempt or reports its end.
                self.counters.not_made(url, error)
                return NotMade(pending.relay, error)
            logger.exception("the connection actor for %s could not be started; trying again later", redact(url))
            self.schedule(pending.relay)
        return None

    def remove(self, url: str) -> None:
        """Close the connection to `url`, or cancel the next attempt.

        The client gets `Removed`.

        Raises:
            RelayNotFound: there is neither, and no end is being handled.
        """
        if self._remove(url):
            return
        if self.client.dead or not self.counters.has(url):
            raise RelayNotFound(redact(url))
        self._unwanted.add(url)
        # Once more: `finish_removal` may have looked before this.
        if self._remove(url) or not self.counters.has(url):
            self._unwanted.discard(url)

    def finish_removal(self, url: str) -> None:
        """Remove a relay if that was requested a moment ago.

        Called when handle_disconnect has run, and when an attempt was made: from here on, `remove` finds the relay.
        """
        if url in self._unwanted:
            self._unwanted.discard(url)
            self._remove(url)

    def _remove(self, url: str) -> bool:
        """Close the connection to `url`, or cancel the next attempt.

        Return False if there is neither.
        """
        pending = self.take(url)
        if pending is not None:
            pending.cancel()
        found = self.find(url)
        if found is not None and self._registry is not None:
            process, outbox = found
            # Whichever thread releases the name is the one that removes; from here on, the url is free for add_relay.
            # The lock keeps the connection from dying in between: its death would arrive first, and this would be a
            # second end.
            with process.lock:
                removed = not process.dead and self._registry.table.release(url, process)
                if removed:
                    outbox.over = True
                    outbox.removed = current_process() is self.client
                    self.counters.forget(url, process)
                    self.client.deliver(Removed(process, outbox.relay, outbox.removed))
            if removed:
                process.deliver(Cast(Command.REMOVE))
                return True
        if pending is None:
            return False
        self.counters.forget(url)
        self.client.deliver(Removed(None, pending.relay))
        return True
