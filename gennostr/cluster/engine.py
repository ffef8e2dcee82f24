"""The seam: how a cluster starts a shard and exchanges messages with it.

An engine has one method, and what it returns has four. So a cluster runs on processes of this machine, inside this
process, or on whatever else can start a Python process and carry messages in order.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from gennostr.cluster.messages import FromShard, Launch, ToShard


@runtime_checkable
class Engine(Protocol):
    """Starts shards: what `Cluster.start` takes as ``engine``.

    >>> from gennostr.cluster import Engine, InProcess, Processes
    >>> isinstance(Processes(), Engine), isinstance(InProcess(), Engine)
    (True, True)
    """

    def start(self, launch: Launch, receive: Callable[[FromShard], object]) -> "Link":
        """Start a shard: a process with a `gennostr.cluster.host.Host`; return at once.

        Args:
            launch: what to run.
            receive: called with each message of the shard, in order and in any one thread, and finally, once, with
                `Lost`, however the link ended. It returns soon and never raises.

        Raises:
            TypeError: the client's class or its argument cannot be sent there.
            OSError, RuntimeError: the system has refused it.

        """


class Link(Protocol):
    """One shard, as long as it lives."""

    @property
    def process_id(self) -> int | None:
        """The process id, for people; None: it has none of its own."""

    def send(self, message: ToShard) -> None:
        """Send a message; return at once, whatever the shard does.

        If the shard is lost, the message is dropped.
        """

    def end(self, timeout: float) -> None:
        """End the shard in order: the client's terminate runs.

        Return when nothing of it is left here. It is killed if it has not ended after `timeout` seconds. Called once.
        """

    def kill(self) -> None:
        """End the shard now, whatever it does; return at once.

        Called in any thread, perhaps more than once.
        """
