"""The program of a shard that is a process.

`gennostr.cluster.processes` starts it.
"""

import logging
import os
import pickle
import sys
import threading
from multiprocessing import spawn
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, NoReturn

from gennostr.cluster import processes
from gennostr.cluster.host import Host
from gennostr.cluster.log_records import LogForwarder, apply_levels
from gennostr.cluster.messages import Ended, FromShard, Launch, Logged, packed_reason
from gennostr.cluster.processes import END, taken
from gennostr.exceptions import CallError
from gennostr.otp.pid import Pid
from gennostr.otp.process import Process
from gennostr.otp.reasons import SHUTDOWN


def main(connection: "Connection[Any, Any]", preparation: dict[str, Any]) -> NoReturn:
    """Run the shard until its client, the driver or the driver's request ends it."""
    os.set_inheritable(connection.fileno(), False)  # noqa: FBT003 - what the client starts must not keep it open
    outgoing = _Outgoing(connection)
    apply_levels(preparation["levels"])
    shutdown = 0.0
    host: Pid | None = None
    try:
        launch_data = connection.recv_bytes()
        launch = _unpickle(launch_data, preparation, outgoing)
        if launch is not None:
            shutdown = launch.shutdown
            epoch = launch.epoch
            # Instead of the handlers that the main module may have added: they have the records in the driver.
            forwarder = LogForwarder(lambda data: outgoing.put(Logged(epoch, data)), outgoing.waiting)
            logging.getLogger().handlers[:] = [forwarder]
            host = Host.start((launch, outgoing.put))
            if not host.process.watch(outgoing):
                outgoing.finish()
            _serve(connection, host)
    except (EOFError, OSError):  # the driver has ended, or closed its end
        pass
    if host is not None:
        try:
            host.stop(SHUTDOWN, shutdown)
        except CallError:  # the client is stuck
            pass
    outgoing.finish()


def _serve(connection: "Connection[Any, Any]", host: Pid) -> None:
    """Pass messages to the host until the end is requested."""
    while True:
        for message in pickle.loads(connection.recv_bytes()):  # noqa: S301 - the driver's, by the inherited socket
            if message is END:
                return
            host.send(message)


def _unpickle(data: bytes, preparation: dict[str, Any], outgoing: "_Outgoing") -> Launch | None:
    """Import the program's main module and unpickle what to run; report a failure."""
    names = ("sys_path", "sys_argv", "dir", "init_main_from_name", "init_main_from_path")
    processes.importing_main = True
    try:
        spawn.prepare({name: preparation[name] for name in names if name in preparation})
        launch: Launch = pickle.loads(data)  # noqa: S301
    except BaseException as error:
        outgoing.put(Ended(preparation["epoch"], packed_reason(error)))
        return None
    finally:
        processes.importing_main = False
    return launch


class _Outgoing:
    """What goes to the driver: a queue, and a thread that writes it.

    When the host has ended, so does this process: after the last message.
    """

    def __init__(self, connection: "Connection[Any, Any]") -> None:
        self._connection = connection
        self._queue: SimpleQueue[FromShard | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="gennostr-shard-out", daemon=True)
        self._thread.start()

    def put(self, message: FromShard) -> None:
        """Queue a message; called in any thread."""
        self._queue.put(message)

    def waiting(self) -> int:
        """Return how many messages wait."""
        return self._queue.qsize()

    def down(self, process: Process, reason: object) -> None:
        """End this process: the host has ended; see `gennostr.otp.process.Watcher`."""
        del process, reason
        self._queue.put(END)

    def finish(self) -> NoReturn:
        """Write what is queued, and end this process."""
        self._queue.put(END)
        self._thread.join(10.0)
        os._exit(0)

    def _write(self) -> None:
        try:
            more = True
            while more:
                messages = taken(self._queue)
                more = END not in messages
                self._connection.send_bytes(pickle.dumps([each for each in messages if each is not END]))
        except (OSError, ValueError):  # the driver has ended
            pass
        finally:
            # Not by the interpreter's own exit, which waits for the program's other threads.
            for stream in (sys.stdout, sys.stderr):
                try:
                    stream.flush()
                except (OSError, ValueError, AttributeError):
                    pass
            os._exit(0)
