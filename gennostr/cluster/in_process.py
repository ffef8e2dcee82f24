"""An engine that runs the shards in this Python process."""

from collections.abc import Callable

from gennostr.cluster.host import Host
from gennostr.cluster.messages import FromShard, Launch, Lost, ToShard
from gennostr.exceptions import CallError, CallTimeout
from gennostr.otp.process import Process
from gennostr.otp.reasons import KILL, SHUTDOWN
from gennostr.values import shown


class InProcess:
    """Runs all shards in this Python process, for tests.

    What crosses is pickled all the same, except for the client's class and its argument. No thread or process beside
    the actors is started, so a `gennostr.testing.ManualClock` moves the shards' time too.

    >>> from gennostr import GenNostr
    >>> from gennostr.cluster import Cluster, InProcess
    >>> with Cluster.start(GenNostr, engine=InProcess()) as cluster:
    ...     [shard.number for shard in cluster.list_shards()]
    [0, 1]
    """

    def start(self, launch: Launch, receive: Callable[[FromShard], object]) -> "HostLink":
        """Start a shard; see `gennostr.cluster.engine.Engine`."""
        return HostLink(launch, receive)

    def __repr__(self) -> str:
        return "InProcess()"


class HostLink:
    """A host in this process. The actor that starts it is its parent."""

    process_id = None

    def __init__(self, launch: Launch, receive: Callable[[FromShard], object]) -> None:
        self._launch = launch
        self._receive = receive
        self._host = Host.start_link((launch, receive))
        if not self._host.process.watch(self):
            self.down(self._host.process, self._host.process.reason)

    def down(self, process: Process, reason: object) -> None:
        """Report the end; see `gennostr.otp.process.Watcher`."""
        self._receive(Lost(self._launch.epoch, f"{process.pid!r} ended with reason {shown(reason)}"))

    def send(self, message: ToShard) -> None:
        """Send a message."""
        self._host.send(message)

    def end(self, timeout: float) -> None:
        """Stop the host, and the client with it."""
        try:
            self._host.stop(SHUTDOWN, timeout)
        except CallTimeout:
            self.kill()
        except CallError:  # it was killed meanwhile
            pass

    def kill(self) -> None:
        """Kill the host and the client."""
        host = self._host.process.actor
        client = getattr(getattr(host, "server", None), "client", None)
        self._host.exit(KILL)
        if client is not None:
            client.exit(KILL)
