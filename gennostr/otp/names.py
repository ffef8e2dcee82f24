"""Names: accepted wherever a pid is.

A name is a string, unique in this Python process, or ``via(registry, key)``. A `NameTable` maps keys to the processes
that hold them; reading it needs no message. The table never returns a dead process, and when a process dies, its keys
are released before anyone is notified.
"""

import threading
import time
from _thread import allocate_lock
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias, runtime_checkable

from gennostr.exceptions import AlreadyRegistered, NoProcess
from gennostr.otp.process import Process
from gennostr.values import Shared, shown

PATIENCE: Final = 100
"""How many times a thread yields to others, one of which is about to free the key of a dead process."""


class Entry:
    """The holder of a key, and its value. Whoever claims an entry removes or replaces it in its table."""

    __slots__ = ("_removal", "process", "value")

    def __init__(self, process: Process, value: object) -> None:
        self.process = process
        self.value = value
        self._removal = allocate_lock()

    def claim(self) -> bool:
        """Claim the right to remove or replace the entry; return True for the first caller only."""
        return self._removal.acquire(False)  # noqa: FBT003


class NameTable:
    """Keys and the processes that hold them.

    Keys are added and removed without a lock: between any two lines a finalizer or a signal handler may run and wait
    for a process whose end needs the table. Each step is one atomic dict operation: setdefault adds an entry, and only
    the thread that claimed an entry removes or replaces it. `_lock` protects the values of entries; no function is
    called while it is held.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._entries: dict[object, Entry] = {}

    def register(self, key: object, process: Process, value: object = None) -> None:
        """Register `process` under `key`.

        Raises:
            AlreadyRegistered: a living process holds `key`.

        """
        mine = Entry(process, value)
        for _ in range(PATIENCE):
            entry = self._entries.setdefault(key, mine)
            if entry is mine or not entry.process.dead:
                break
            if entry.claim():  # a dead process's entry, not released yet
                self._entries[key] = entry = mine
                break
            time.sleep(0)  # the entry is claimed but not yet removed, by another thread or by a caller up this stack
        if entry is not mine:
            raise AlreadyRegistered(entry.process.pid)
        process.keys.setdefault(self, {})[key] = None
        with process.books:  # either its death comes later and finds the key in `keys`, or it is seen here
            dead = process.dead
        if dead:
            self.release(key, process)

    def release(self, key: object, process: Process) -> bool:
        """Release `key`; return False if `process` does not hold it."""
        entry = self._entries.get(key)
        if entry is None or entry.process is not process or not entry.claim():
            return False
        del self._entries[key]
        process.keys.get(self, {}).pop(key, None)
        return True

    def update(self, key: object, process: Process, old: object, new: object) -> bool:
        """Replace the value of `key` if `process` holds it and its value is still `old`; return whether it did."""
        entry = self._entries.get(key)
        if entry is None or entry.process is not process:
            return False
        with self._lock:
            same = entry.value is old
            if same:
                entry.value = new
        return same

    def lookup(self, key: object) -> tuple[Process, object] | None:
        """Return (process, value) of `key`, or None."""
        entry = self._entries.get(key)
        return None if entry is None or entry.process.dead else (entry.process, entry.value)

    def keys(self, process: Process) -> list[object]:
        """Return the keys that `process` holds, without searching the table."""
        return list(process.keys.get(self, ()))

    def holds_any(self, process: Process) -> bool:
        """Return whether `process` holds any key."""
        return bool(process.keys.get(self))

    def count(self) -> int:
        """Return the number of registered keys."""
        return len(self._entries)

    def entries(self) -> list[tuple[object, Process, object]]:
        """Return all entries as (key, process, value)."""
        entries = self._entries.copy()  # copying is atomic; a list of its items is not
        return [(key, entry.process, entry.value) for key, entry in entries.items() if not entry.process.dead]


NAMES = NameTable()
"""The processes registered under string names."""


@runtime_checkable
class RegistryHandle(Protocol):
    """What names need of a registry's handle; see `gennostr.otp.registry.RegistryPid`."""

    @property
    def process(self) -> Process:
        """The registry's process."""

    @property
    def table(self) -> NameTable:
        """The registry's keys."""

    def register_process(self, key: object, process: Process, value: object = None) -> None:
        """Register `process` under `key`."""


@dataclass(frozen=True, slots=True)
class Via(Shared):
    """The name `key` in `registry`."""

    registry: RegistryHandle | str
    key: object
    value: object = field(default=None, hash=False)  # can be any value, hashable or not

    def find(self) -> RegistryHandle:
        """Return the registry, dead or alive.

        Raises:
            NoProcess: no process is registered under the registry's name.
            TypeError: the process with that name is not a registry.

        """
        if not isinstance(self.registry, str):
            return self.registry
        entry = NAMES.lookup(self.registry)
        if entry is None:
            raise NoProcess(self.registry)
        handle: object = entry[0].pid
        if not isinstance(handle, RegistryHandle):
            raise TypeError(f"{shown(self.registry)} is no registry but {handle!r}")
        return handle

    def __repr__(self) -> str:
        return f"via({shown(self.registry)}, {shown(self.key)})"


def via(registry: RegistryHandle | str, key: object, value: object = None) -> Via:
    """Return the name `key` in `registry`; registering a process under it also stores `value`.

    A registry given by its name is looked up at each use, so the via stays valid when the registry restarts.

    Raises:
        TypeError: `registry` is neither a registry's pid nor a string, or `key` is not hashable.

    """
    if not isinstance(registry, str) and not isinstance(registry, RegistryHandle):
        raise TypeError(f"via needs a registry's pid or name, not {shown(registry)}")
    hash(key)
    return Via(registry, key, value)


Name: TypeAlias = str | Via


def check_name(name: object) -> None:
    """Raise TypeError unless `name` is None, a string or a via."""
    if name is not None and not isinstance(name, str | Via):
        raise TypeError(f"a name must be None, a string or via(registry, key), not {shown(name)}")


def register_name(name: Name, process: Process) -> None:
    """Register `process` under `name`.

    Raises:
        AlreadyRegistered: a living process holds the name.
        NoProcess: `name` is a via whose registry is dead.

    """
    if isinstance(name, Via):
        name.find().register_process(name.key, process, name.value)
    else:
        NAMES.register(name, process)


def resolve(target: object) -> Process | None:
    """Return the process of a pid (dead or alive) or of a name (None if it is not registered).

    Raises:
        TypeError: `target` is neither a pid nor a name.

    """
    process = getattr(target, "process", None)
    if isinstance(process, Process):
        return process
    if isinstance(target, str):
        entry = NAMES.lookup(target)
    elif isinstance(target, Via):
        try:
            entry = target.find().table.lookup(target.key)
        except NoProcess:  # without its registry, the name is not registered
            entry = None
    else:
        raise TypeError(f"a target must be a pid, a name or via(registry, key), not {shown(target)}")
    return None if entry is None else entry[0]
