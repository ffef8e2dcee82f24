"""Names: what stands for a pid wherever a pid is asked for.

A name is a string, unique in this Python process, or ``via(registry, key)``. A `NameTable` holds who has which
key; reading it needs no message. The table never shows a dead process, and a process's death releases its keys
before anyone is told of it.
"""

import threading
from _thread import allocate_lock
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from gennostr.exceptions import AlreadyRegistered, NoProcess
from gennostr.otp.process import Process

if TYPE_CHECKING:
    from gennostr.otp.pid import Pid
    from gennostr.otp.registry import RegistryPid


@dataclass(frozen=True, slots=True)
class Via:
    """The name `key` in `registry`."""

    registry: "RegistryPid | str"
    key: object
    value: object = None

    def find(self) -> "RegistryPid":
        """Return the registry, dead or alive.

        Raises:
            NoProcess: nobody has its name.
            TypeError: who has its name is no registry.

        """
        if not isinstance(self.registry, str):
            return self.registry
        pid: Any = whereis(self.registry)
        if pid is None:
            raise NoProcess(self.registry)
        if not isinstance(getattr(pid, "table", None), NameTable):
            raise TypeError(f"{self.registry!r} is no registry but {pid!r}")
        return pid  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"via({self.registry!r}, {self.key!r})"


def via(registry: "RegistryPid | str", key: object, value: object = None) -> Via:
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
Target: TypeAlias = "Pid | str | Via"


class Entry:
    """Who holds a key, and the value kept with it. Whoever claims it removes it from its table."""

    __slots__ = ("_removal", "process", "value")

    def __init__(self, process: Process, value: object) -> None:
        self.process = process
        self.value = value
        self._removal = allocate_lock()

    def claim(self) -> bool:
        """Take the right to remove it; True for the first only."""
        return self._removal.acquire(False)  # noqa: FBT003


class NameTable:
    """Keys and the processes that hold them.

    `_lock` protects `_entries` against other threads. It is reentrant, for a finalizer or a signal handler may use the
    table between any two lines, and finds it valid: an entry is added in one step (setdefault), and removed by the only
    one that may, the one with its claim. Reading one takes no lock, for it is one step.
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
        with self._lock:
            entry = self._entries.setdefault(key, mine)
            if entry is not mine and entry.process.dead:  # its death is about to release it
                self._remove(key, entry.process)
                entry = self._entries.setdefault(key, mine)
        if entry is not mine:
            raise AlreadyRegistered(entry.process.pid)
        with process.lock:
            if not process.dead:
                process.keys.setdefault(self, {})[key] = None
            alive = not process.dead
        if not alive:  # it died between the two locks: its death has not seen this key
            self.release(key, process)

    def release(self, key: object, process: Process) -> bool:
        """Take `key` from `process`; False if it is not that process's."""
        if not self._remove(key, process):
            return False
        with process.lock:
            process.keys.get(self, {}).pop(key, None)
        return True

    def _remove(self, key: object, process: Process) -> bool:
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or entry.process is not process or not entry.claim():
                return False
            del self._entries[key]
            return True

    def update(self, key: object, process: Process, old: object, new: object) -> bool:
        """Replace the value if it is still `old` and `process`'s."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or entry.process is not process or entry.value is not old:
                return False
            entry.value = new
            return True

    def lookup(self, key: object) -> tuple[Process, object] | None:
        """Return who holds `key`, and the value kept with it."""
        entry = self._entries.get(key)
        return None if entry is None or entry.process.dead else (entry.process, entry.value)

    def keys(self, process: Process) -> list[object]:
        """Return the keys that `process` holds, at the cost of these alone."""
        with process.lock:
            keys = process.keys.get(self, {}).copy()
        return list(keys)

    def holds_any(self, process: Process) -> bool:
        """Whether `process` holds a key."""
        return bool(process.keys.get(self))

    def count(self) -> int:
        """Return how many keys are held."""
        return len(self._entries)

    def entries(self) -> list[tuple[object, Process, object]]:
        """Return all keys with their holders and values."""
        with self._lock:
            entries = self._entries.copy()
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


def whereis(name: Name) -> "Pid | None":
    """Return the pid that has `name`, or None."""
    check_name(name)
    process = resolve(name)
    return None if process is None or process.dead else process.pid
