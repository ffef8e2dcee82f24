"""The engine of a cluster on one machine: a Python process for each shard.

A shard is a new interpreter, as multiprocessing's start method "spawn" makes one: it imports the program's main module
under another name, and then the modules of the client's class. `gennostr.cluster.process` is its program.

The two ends of a socketpair are the link: the child inherits one. It has no address, so no other user or process can
reach it, there is no secret to keep, and nothing is unpickled that another process has sent. When either process ends,
however it does, the system closes its end, and the other reads the end of the stream.

Three threads and no lock: the shard's actor only puts messages in a queue, one thread writes them, as many as wait at
once, and one reads. A shard that reads nothing (it is stopped, or busy in native code) blocks the writing thread alone.
multiprocessing's own Process is not used: it keeps a helper process and joins or terminates its children at exit, where
the actors are to stop them in order.
"""

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from gennostr.cluster.log_records import levels
from gennostr.cluster.messages import FromShard, Launch, Lost, ToShard, packed

END: Final = None
"""Sent instead of messages: end in order."""
_PROGRAM: Final = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "import sys; from multiprocessing.connection import Connection; connection = Connection({}); "
    "preparation = connection.recv(); sys.path[:] = preparation['sys_path']; "
    "from gennostr.cluster.process import main; main(connection, preparation)"
)
_KILL_TIME: Final = 10.0
"""Seconds in which the system ends a process that was killed."""

importing_main = False
"""Whether this is a shard that is importing the program's main module."""


class Processes:
    """Runs each shard in a Python process of its own; the default.

    The client's class and its argument are pickled: the class must be at the top level of a module, and if that is the
    program itself, what it does stands below ``if __name__ == "__main__":``. On POSIX systems only.

    >>> from gennostr.cluster import Processes
    >>> Processes()
    Processes()
    """

    def start(self, launch: Launch, receive: Callable[[FromShard], object]) -> "ProcessLink":
        """Start a shard; see `gennostr.cluster.engine.Engine`."""
        if importing_main:
            raise RuntimeError(
                "a shard imports the program's main module, and that starts a cluster: what the program does must "
                'stand below `if __name__ == "__main__":`'
            )
        return ProcessLink(launch, receive)

    def __repr__(self) -> str:
        return "Processes()"


class ProcessLink:
    """A child process, and the socket to it."""

    def __init__(self, launch: Launch, receive: Callable[[FromShard], object]) -> None:
        data = packed(launch, "the client's class or its argument")
        self._epoch = launch.epoch
        self._receive = receive
        self._outgoing: SimpleQueue[ToShard | None] = SimpleQueue()
        self._over = threading.Event()
        self._connection, theirs = Pipe()
        try:
            try:
                number = theirs.fileno()
                flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001 - as multiprocessing does
                command = [sys.executable, *flags, "-P", "-c", _PROGRAM.format(number)]
                self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[number])  # noqa: S603
            finally:
                theirs.close()
        except BaseException:
            self._connection.close()
            raise
        self._first = [pickle.dumps(_preparation() | {"epoch": launch.epoch}), data]
        self._writer = threading.Thread(target=self._write, name=f"gennostr-shard-{self.process_id}-out", daemon=True)
        reader = threading.Thread(target=self._read, name=f"gennostr-shard-{self.process_id}-in", daemon=True)
        try:
            self._writer.start()
            reader.start()
        except BaseException:
            self._process.kill()
            self._process.wait()
            self._connection.close()
            self._outgoing.put(END)
            raise

    @property
    def process_id(self) -> int:
        """The process id."""
        return self._process.pid

    def send(self, message: ToShard) -> None:
        """Queue a message."""
        self._outgoing.put(message)

    def end(self, timeout: float) -> None:
        """Request the end, and kill the process if it does not come."""
        self._outgoing.put(END)
        if not self._over.wait(timeout):
            self.kill()
            self._over.wait(_KILL_TIME)

    def kill(self) -> None:
        """Kill the process (SIGKILL), stopped or not."""
        self._process.kill()

    def _write(self) -> None:
        """Send what is queued, until the end was sent or the process has ended."""
        try:
            for data in self._first:
                self._connection.send_bytes(data)
            self._first.clear()
            more = True
            while more:
                messages = taken(self._outgoing)
                more = END not in messages
                self._connection.send_bytes(pickle.dumps(messages))
        except (OSError, ValueError):  # the process has ended: the reading thread reports it
            pass

    def _read(self) -> None:
        """Pass on what the process sends; after its end, clean up and report it."""
        try:
            while True:
                for message in pickle.loads(self._connection.recv_bytes()):  # noqa: S301 - our own child
                    self._receive(message)
        except (EOFError, OSError):
            pass
        finally:
            self._process.kill()  # its end of the socket is closed: it has ended, or is about to
            status = self._process.wait()
            self._outgoing.put(END)
            self._writer.join()
            self._connection.close()
            self._over.set()
            self._receive(Lost(self._epoch, f"process {self.process_id} ended with status {status}"))


def taken(queue: "SimpleQueue[Any]") -> list[Any]:
    """Return what is in a queue; wait for the first item."""
    items = [queue.get()]
    try:
        while len(items) < 1000:
            items.append(queue.get_nowait())
    except Empty:
        pass
    return items


def _preparation() -> dict[str, object]:
    """Return what a child needs before it can unpickle the client's class.

    As `multiprocessing.spawn.get_preparation_data`, which sets multiprocessing's start method besides.
    """
    main, directory = sys.modules["__main__"], str(Path.cwd())
    prepared: dict[str, object] = {
        "sys_path": [each or directory for each in sys.path],
        "sys_argv": sys.argv,
        "dir": directory,
        "levels": levels(),
    }
    name = getattr(main.__spec__, "name", None)
    path = getattr(main, "__file__", None)
    if name is not None:
        prepared["init_main_from_name"] = name
    elif path is not None:
        prepared["init_main_from_path"] = os.path.abspath(path)  # noqa: PTH100 - pathlib resolves links as well
    return prepared
