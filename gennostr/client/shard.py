"""A client's place in a cluster."""

from dataclasses import dataclass

from gennostr.client.persistence import Store


@dataclass(frozen=True, slots=True)
class Shard:
    """Which shard of a cluster a client is: ``self.shard`` in its callbacks.

    >>> from gennostr.cluster import Shard
    >>> shard = Shard(0, of=2)
    >>> f"events-{shard.number}.db"
    'events-0.db'

    Args:
        number: its number, from 0. A restarted shard keeps it.
        of: how many shards the cluster had when this one was started.

    """

    number: int
    of: int


@dataclass(frozen=True, slots=True)
class InShard:
    """The argument of a client's start in a shard.

    Its init gets `init_arg`; ``self.shard`` is set by then.
    """

    shard: Shard
    init_arg: object
    store: Store
    """Saves how far the client has read, if it has no store of its own."""
