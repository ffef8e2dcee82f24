"""What a test left behind: threads, child processes, file descriptors, actors.

A `Snapshot` is what there is at one moment; `check` waits until nothing is there that was not in
it. Processes and descriptors are read from /proc; where there is none, they go unchecked.
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

POLL = 0.01  # seconds; there is no event for "a descriptor was closed"


def threads() -> frozenset[threading.Thread]:
    """Return the threads there are."""
    return frozenset(threading.enumerate())


def children() -> frozenset[int]:
    """Return the pids of our child processes, zombies included: nobody has waited for those."""
    if not Path("/proc/self/stat").exists():
        return frozenset()
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # mostly there are none, and reading about every process of the machine takes long
        return frozenset()
    found = set()
    for name in filter(str.isdecimal, os.listdir("/proc")):  # noqa: PTH208 - Path takes three times as long
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 - it may have ended
            # "pid (name) state parent ...", and the name may hold anything.
            _, _, rest = file.read().rpartition(b") ")
            if int(rest.split(maxsplit=2)[1]) == os.getpid():
                found.add(int(name))
    return frozenset(found)


def descriptors() -> frozenset[tuple[int, str]]:
    """Return our open descriptors and what each leads to."""
    found = set()
    for entry in Path("/proc/self/fd").glob("*"):
        with contextlib.suppress(OSError):  # the one that listed the directory
            found.add((int(entry.name), str(entry.readlink())))
    return frozenset(found)


def actors() -> frozenset[str]:
    """Return the actors that run, as text."""
    return frozenset(str(actor) for actor in pykka.ActorRegistry.get_all())


@dataclass(frozen=True)
class Snapshot:
    """What there is now."""

    threads: frozenset[threading.Thread] = field(default_factory=threads)
    children: frozenset[int] = field(default_factory=children)
    descriptors: frozenset[tuple[int, str]] = field(default_factory=descriptors)
    actors: frozenset[str] = field(default_factory=actors)


def check(before: Snapshot, timeout: float = 5.0) -> None:
    """Return once nothing is left that was not there before; AssertionError after the timeout."""
    deadline = MACHINE.monotonic() + timeout
    while left := left_behind(before, Snapshot()):
        if MACHINE.monotonic() > deadline:
            raise AssertionError("left behind:\n" + "\n".join(left))
        time.sleep(POLL)


def left_behind(before: Snapshot, after: Snapshot) -> list[str]:
    """Describe each thing in after that is not in before."""
    return [
        *map(describe_thread, after.threads - before.threads),
        *map(describe_child, after.children - before.children),
        *(f"descriptor {fd}: {to}" for fd, to in sorted(after.descriptors - before.descriptors)),
        *(f"actor {actor}" for actor in sorted(after.actors - before.actors)),
    ]


def describe_thread(thread: threading.Thread) -> str:
    """Say which thread that is, and where it is."""
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - documented, for debugging
    return f"thread {thread.name}, now at\n" + "".join(traceback.format_stack(frame))


def describe_child(pid: int) -> str:
    """Say what that process runs."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        command = ""
    return f"process {pid}: {command or 'ended, and nobody waited for it'}"
