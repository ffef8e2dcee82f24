"""Detect threads, processes, descriptors and actors that a test leaves behind.

A `Snapshot` records what exists at one moment; `check` waits until nothing exists that is not in it. Processes and
descriptors are read from /proc; on systems without it, they are not checked.
"""

import contextlib
import os
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import pykka

from gennostr.otp.clock import MACHINE

POLL = 0.01  # seconds; no event reports that a descriptor was closed


def threads() -> frozenset[threading.Thread]:
    """Return all running threads."""
    return frozenset(threading.enumerate())


def children() -> frozenset[int]:
    """Return the pids of our child processes.

    They include zombies: processes that have ended and that nobody has waited for.
    """
    if not Path("/proc/self/stat").exists():
        return frozenset()
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # the usual case; reading about every process of the machine takes long
        return frozenset()
    found = set()
    for name in filter(str.isdecimal, os.listdir("/proc")):  # noqa: PTH208 - Path takes three times as long
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 - it may have ended
            # "pid (name) state parent ...", where the name may contain anything.
            _, _, rest = file.read().rpartition(b") ")
            if int(rest.split(maxsplit=2)[1]) == os.getpid():
                found.add(int(name))
    return frozenset(found)


def descriptors() -> frozenset[tuple[int, str]]:
    """Return our open descriptors and the target of each."""
    found = set()
    for entry in Path("/proc/self/fd").glob("*"):
        with contextlib.suppress(OSError):  # the descriptor that listed the directory
            found.add((int(entry.name), str(entry.readlink())))
    return frozenset(found)


def actors() -> frozenset[str]:
    """Return all running actors, as text."""
    return frozenset(str(actor) for actor in pykka.ActorRegistry.get_all())


@dataclass(frozen=True)
class Snapshot:
    """The threads, child processes, descriptors and actors that exist at one moment."""

    threads: frozenset[threading.Thread] = field(default_factory=threads)
    children: frozenset[int] = field(default_factory=children)
    descriptors: frozenset[tuple[int, str]] = field(default_factory=descriptors)
    actors: frozenset[str] = field(default_factory=actors)


def check(before: Snapshot, timeout: float = 5.0) -> None:
    """Wait until nothing exists that is not in `before`.

    Raises:
        AssertionError: something still does after `timeout` seconds; the message lists it.

    """
    deadline = MACHINE.monotonic() + timeout
    while left := left_behind(before, Snapshot()):
        if MACHINE.monotonic() > deadline:
            raise AssertionError("left behind:\n" + "\n".join(left))
        time.sleep(POLL)


def left_behind(before: Snapshot, after: Snapshot) -> list[str]:
    """Describe each item of `after` that is not in `before`."""
    return [
        *map(describe_thread, after.threads - before.threads),
        *map(describe_child, after.children - before.children),
        *(f"descriptor {fd}: {to}" for fd, to in sorted(after.descriptors - before.descriptors)),
        *(f"actor {actor}" for actor in sorted(after.actors - before.actors)),
    ]


def describe_thread(thread: threading.Thread) -> str:
    """Return the name of a thread and its current stack."""
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - documented, for debugging
    return f"thread {thread.name}, now at\n" + "".join(traceback.format_stack(frame))


def describe_child(pid: int) -> str:
    """Return the pid of a process and its command line."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        command = ""
    return f"process {pid}: {command or 'ended, and nobody waited for it'}"
