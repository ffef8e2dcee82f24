"""What the parts of a cluster send each other in the driver, and what they share."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gennostr.client.gen_nostr import GenNostr
from gennostr.client.options import Relay
from gennostr.cluster.assignment import assign
from gennostr.cluster.cursors import Cursors
from gennostr.cluster.engine import Engine
from gennostr.otp.pid import Pid


class Routes:
    """Where relays and shards are: read by any thread, without a message.

    Each attribute is replaced or changed by one thread in one atomic step.
    """

    def __init__(self) -> None:
        self.numbers: tuple[int, ...] = ()
        """The shards that have relays; written by the cluster."""
        self.pids: dict[int, Pid] = {}
        """By number, the actor of a shard's last incarnation, alive or dead; written by that actor."""
        self.cursors: dict[int, Cursors] = {}
        """By number, what the clients of a shard have handed over; written by the cluster."""
        self.relays: dict[str, Relay] = {}
        """The cluster's relays by url; written by the cluster."""
        self.owners: dict[str, int] = {}
        """The shard of each of these; written by the cluster."""

    def owner(self, url: str) -> int:
        """Return the number of the shard that has a relay."""
        owner = self.owners.get(url)
        return assign(url, self.numbers) if owner is None else owner

    def current(self) -> dict[int, Pid]:
        """Return the actors of the shards that have relays, by number."""
        pids = self.pids.copy()
        return {number: pids[number] for number in self.numbers if number in pids}

    def relays_of(self, number: int) -> list[str]:
        """Return the urls of the relays of a shard."""
        return [url for url, owner in self.owners.copy().items() if owner == number]


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """The argument of a cluster's start."""

    client: type[GenNostr[Any]]
    init_arg: Any = field(repr=False)  # in child specs, which are logged; it may hold a secret
    shards: int
    engine: Engine
    max_restarts: int
    max_seconds: float
    shutdown: float
    heartbeat: float | None


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """The argument of a shard's actor, for each of its incarnations."""

    cluster: Pid
    options: ClusterOptions
    number: int
    of: int
    routes: Routes
    cursors: Cursors
    first: int
    """The epoch of the first incarnation."""
    epochs: Iterator[int]


@dataclass(frozen=True, slots=True)
class Forward:
    """To a shard's actor: call a function of the client with pickled arguments."""

    function: str
    arguments: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AwaitStarted:
    """To a shard's actor: reply when the client has started."""


@dataclass(frozen=True, slots=True)
class Represent:
    """To a shard's actor: return the pid of an actor that stands for one there.

    `name` is that one's name; None: it is the client.
    """

    name: str | None


@dataclass(frozen=True, slots=True)
class ShardReady:
    """To the cluster: a shard's client has started."""

    number: int
    epoch: int
    pid: Pid
    process_id: int | None


@dataclass(frozen=True, slots=True)
class ShardFailed:
    """To the cluster: the client of a shard's first incarnation did not start."""

    number: int
    reason: object


@dataclass(frozen=True, slots=True)
class AddRelay:
    """To the cluster: add a relay."""

    relay: Relay


@dataclass(frozen=True, slots=True)
class RemoveRelay:
    """To the cluster: remove a relay."""

    url: str


@dataclass(frozen=True, slots=True)
class AddSubscription:
    """To the cluster: subscribe in every shard; pickled arguments."""

    id: str
    arguments: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class RemoveSubscription:
    """To the cluster: unsubscribe in every shard."""

    id: str


@dataclass(frozen=True, slots=True)
class Resize:
    """To the cluster: have so many shards."""

    shards: int


@dataclass(frozen=True, slots=True)
class MonitorShards:
    """To the cluster: send `ShardUp` and `ShardDown` to `pid`."""

    pid: Pid


@dataclass(frozen=True, slots=True)
class ListShards:
    """To the cluster: return the `ShardInfo` of all shards."""


# What users see.


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """A shard of a cluster; `ClusterPid.list_shards` returns them.

    >>> from gennostr.cluster import ShardInfo
    >>> ShardInfo(0, epoch=1, process_id=4711, relays=8).is_up
    True

    Attributes:
        number: its number, from 0.
        epoch: the number of its incarnation, from 1; None while it starts.
        process_id: the process id of its process; None while it starts, and if it has none of its own.
        relays: how many of the cluster's relays it has.

    """

    number: int
    epoch: int | None
    process_id: int | None
    relays: int

    @property
    def is_up(self) -> bool:
        """Whether its client has started."""
        return self.epoch is not None


@dataclass(frozen=True, slots=True)
class ShardUp:
    """An info message after `ClusterPid.monitor_shards`: a shard has started.

    Its client's init has succeeded, in its first or a later incarnation.

    >>> from gennostr import GenNostr
    >>> from gennostr.cluster import Cluster, InProcess
    >>> from gennostr.testing import Probe
    >>> with Cluster.start(GenNostr, engine=InProcess()) as cluster, Probe() as probe:
    ...     cluster.monitor_shards()
    ...     moved = cluster.resize(3)
    ...     probe.expect()
    {0: 1, 1: 1}
    ShardUp(number=2, epoch=1)

    Attributes:
        number: the shard's number.
        epoch: the number of its incarnation, from 1.

    """

    number: int
    epoch: int


@dataclass(frozen=True, slots=True)
class ShardDown:
    """An info message after `ClusterPid.monitor_shards`: a shard has ended.

    It is followed by the `ShardUp` of its next incarnation, unless it was removed or is given up.

    >>> from gennostr.cluster import ShardDown
    >>> from gennostr import NOCONNECTION
    >>> ShardDown(0, epoch=1, reason=NOCONNECTION)
    ShardDown(number=0, epoch=1, reason=NOCONNECTION)

    Attributes:
        number: the shard's number.
        epoch: the number of the incarnation that has ended.
        reason: NOCONNECTION if its process was lost; otherwise the exit reason of its client, or its text.

    """

    number: int
    epoch: int
    reason: object = field(hash=False)
