"""Names: what stands for a pid wherever a pid is asked for.

A name is a string, unique in this Python process, or ``via(registry, key)``. A `NameTable` holds who has which
key; reading it needs no message. The table never shows a dead process, and a process's death releases its keys
before anyone is told of it.
"""

import threading
import time
from _thread import allocate_lock
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias, cast

from gennostr.exceptions import AlreadyRegistered, NoProcess
from gennostr.otp.process import Process

PATIENCE: Final = 100
"""How often a thread lets others go first, where one of them is about to free a key that a dead process held."""


class RegistryHandle(Protocol):
    """A registry's pid, as far as names go; see `gennostr.otp.registry.RegistryPid`."""

    process: Process
    table: "NameTable"

    def register_process(self, key: object, process: Process, value: object = None) -> None:
        """Give `key` to `process`."""


@dataclass(frozen=True, slots=True)
class Via:
    """The name `key` in `registry`."""

    registry: RegistryHandle | str
    key: object
    value: object = None

    def find(self) -> RegistryHandle:
        """Return the registry, dead or alive.

        Raises:
            NoProcess: nobody has its name.
            TypeError: who has its name is no registry.

        """
        if not isinstance(self.registry, str):
            return self.registry
        entry = NAMES.lookup(self.registry)
        if entry is None:
            raise NoProcess(self.registry)
        pid: object = entry[0].pid
        if not isinstance(getattr(pid, "table", None), NameTable):
            raise TypeError(f"{self.registry!r} is no registry but {pid!r}")
        return cast("RegistryHandle", pid)

    def __repr__(self) -> str:
        return f"via({self.registry!r}, {self.key!r})"


def via(registry: RegistryHandle | str, key: object, value: object = None) -> Via:
    """Name a process by `key` in `registry`; `value` is kept with it where the name is registered.

    A registry given by its own name is looked up at each use: so the via outlives the registry's restart.

    Raises:
        TypeError: `registry` is neither a registry's pid nor a string, or `key` cannot be hashed.

    """
    if not isinstance(registry, str) and not isinstance(getattr(registry, "table", None), NameTable):
        raise TypeError(f"via needs a registry's pid or name, not {registry!r}")
    hash(key)
    return Via(registry, key, value)


Name: TypeAlias = str | Via


class Entry:
    """Who holds a key, and the value kept with it. Whoever claims it, removes or replaces it in its table."""

    __slots__ = ("_removal", "process", "value")

    def __init__(self, process: Process, value: object) -> None:
        self.process = process
        self.value = value
        self._removal = allocate_lock()

    def claim(self) -> bool:
        """Take the right to remove or replace it; True for the first only."""
        return self._removal.acquire(False)  # noqa: FBT003


class NameTable:
    """Keys and the processes that hold them.

    Keys come and go without a lock: a finalizer or a signal handler may run between any two lines, and may wait there
    for a process whose end needs the table. Each step is one of a dict's: an entry is added by setdefault, and nobody
    but the one with its claim takes it out or puts another in its place. `_lock` protects the values of entries; under
    it, nothing is called.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._entries: dict[object, Entry] = {}

    def register(self, key: object, process: Process, value: object = None) -> None:
        """Give `key` to `process`.

        Raises:
            AlreadyRegistered: a living process has it.

        """
        mine = Entry(process, value)
        for _ in range(PATIENCE):
            entry = self._entries.setdefault(key, mine)
            if entry is mine or not entry.process.dead:
                break
            if entry.claim():  # its death is about to release it
                self._entries[key] = entry = mine
                break
            time.sleep(0)  # another thread is between its claim and what that allows; or a line above in this one
        if entry is not mine:
            raise AlreadyRegistered(entry.process.pid)
        process.keys.setdefault(self, {})[key] = None
        with process.books:  # its death comes later and finds the key in `keys`, or is seen here
            dead = process.dead
        if dead:
            self.release(key, process)

    def release(self, key: object, process: Process) -> bool:
        """Take `key` from `process`; False if it is not that process's."""
        entry = self._entries.get(key)
        if entry is None or entry.process is not process or not entry.claim():
            return False
        del self._entries[key]
        process.keys.get(self, {}).pop(key, None)
        return True

    def update(self, key: object, process: Process, old: object, new: object) -> bool:
        """Replace the value if it is still `old` and `process`'s."""
        entry = self._entries.get(key)
        if entry is None or entry.process is not process:
            return False
        with self._lock:
            same = entry.value is old
            if same:
                entry.value = new
        return same

    def lookup(self, key: object) -> tuple[Process, object] | None:
        """Return who holds `key`, and the value kept with it."""
        entry = self._entries.get(key)
        return None if entry is None or entry.process.dead else (entry.process, entry.value)

    def keys(self, process: Process) -> list[object]:
        """Return the keys that `process` holds, at the cost of these alone."""
        return list(process.keys.get(self, ()))

    def holds_any(self, process: Process) -> bool:
        """Whether `process` holds a key."""
        return bool(process.keys.get(self))

    def count(self) -> int:
        """Return how many keys are held."""
        return len(self._entries)

    def entries(self) -> list[tuple[object, Process, object]]:
        """Return all keys with their holders and values."""
        entries = self._entries.copy()  # in one step, which the list of its items is not
        return [(key, entry.process, entry.value) for key, entry in entries.items() if not entry.process.dead]


NAMES = NameTable()
"""The names that are strings."""


def check_name(name: object) -> None:
    """Raise TypeError unless `name` is None, a string or a via."""
    if name is not None and not isinstance(name, str | Via):
        raise TypeError(f"a name must be None, a string or via(registry, key), not {name!r}")


def register_name(name: Name, process: Process) -> None:
    """Give `name` to `process`; raises AlreadyRegistered, and NoProcess if the via's registry is dead."""
    if isinstance(name, Via):
        name.find().register_process(name.key, process, name.value)
    else:
        NAMES.register(name, process)


def resolve(target: object) -> Process | None:
    """Return the process behind a pid (dead or alive), or behind a name (None if nobody has it).

    Raises:
        TypeError: `target` is neither.

    """
    process = getattr(target, "process", None)
    if isinstance(process, Process):
        return process
    if isinstance(target, str):
        entry = NAMES.lookup(target)
    elif isinstance(target, Via):
        try:
            entry = target.find().table.lookup(target.key)
        except NoProcess:  # without its registry, nobody has the name
            entry = None
    else:
        raise TypeError(f"a target must be a pid, a name or via(registry, key), not {target!r}")
    return None if entry is None else entry[0]
