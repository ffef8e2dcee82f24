"""Names: what stands for a pid wherever a pid is asked for.

A name is a string, unique in this Python process, or ``via(registry, key)``. A `NameTable` holds who has which
key; reading it needs no message. The table never shows a dead process, and a process's death releases its keys
before anyone is told of it.
"""

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from gennostr.exceptions import AlreadyRegistered, NoProcess
from gennostr.otp.process import Process
from gennostr.values import Shared, shown

if TYPE_CHECKING:
    from gennostr.otp.pid import Pid
    from gennostr.otp.registry import RegistryPid


@dataclass(frozen=True, slots=True)
class Via(Shared):
    """The name `key` in `registry`."""

    registry: "RegistryPid | str"
    key: object
    value: object = field(default=None, hash=False)  # any value, and some have no hash

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
            raise TypeError(f"{shown(self.registry)} is no registry but {pid!r}")
        return pid  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"via({shown(self.registry)}, {shown(self.key)})"


def via(registry: "RegistryPid | str", key: object, value: object = None) -> Via:
    """Name a process by `key` in `registry`; `value` is kept with it where the name is registered.

    A registry given by its own name is looked up at each use: so the via outlives the registry's restart.

    Raises:
        TypeError: `registry` is neither a registry's pid nor a string, or `key` cannot be hashed.

    """
    if not isinstance(registry, str) and not isinstance(getattr(registry, "table", None), NameTable):
        raise TypeError(f"via needs a registry's pid or name, not {shown(registry)}")
    hash(key)
    return Via(registry, key, value)


Name: TypeAlias = str | Via
Target: TypeAlias = "Pid | str | Via"


class NameTable:
    """Keys and the processes that hold them. `_lock` protects `_entries`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[object, tuple[Process, object]] = {}

    def register(self, key: object, process: Process, value: object = None) -> None:
        """Give `key` to `process`.

        Raises:
            AlreadyRegistered: a living process has it.

        """
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and not entry[0].dead:
                raise AlreadyRegistered(entry[0].pid)
            self._entries[key] = (process, value)
        with process.lock:
            alive = not process.dead
            if alive:
                process.keys[(self, key)] = None
        if not alive:  # it died between the two locks: its death has not seen this key
            self.release(key, process)

    def release(self, key: object, process: Process) -> bool:
        """Take `key` from `process`; False if it is not that process's."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or entry[0] is not process:
                return False
            del self._entries[key]
        with process.lock:
            process.keys.pop((self, key), None)
        return True

    def update(self, key: object, process: Process, old: object, new: object) -> bool:
        """Replace the value if it is still `old` and `process`'s."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or entry[0] is not process or entry[1] is not old:
                return False
            self._entries[key] = (process, new)
            return True

    def lookup(self, key: object) -> tuple[Process, object] | None:
        """Return the holder of `key` and the value kept with it."""
        entry = self._entries.get(key)
        return None if entry is None or entry[0].dead else entry

    def entries(self) -> list[tuple[object, Process, object]]:
        """Return all keys with their holders and values."""
        with self._lock:
            entries = list(self._entries.items())
        return [(key, process, value) for key, (process, value) in entries if not process.dead]


NAMES = NameTable()
"""The names that are strings."""


def check_name(name: object) -> None:
    """Raise TypeError unless `name` is None, a string or a via."""
    if name is not None and not isinstance(name, str | Via):
        raise TypeError(f"a name must be None, a string or via(registry, key), not {shown(name)}")


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
        raise TypeError(f"a target must be a pid, a name or via(registry, key), not {shown(target)}")
    return None if entry is None else entry[0]


def whereis(name: Name) -> "Pid | None":
    """Return the pid that has `name`, or None."""
    check_name(name)
    process = resolve(name)
    return None if process is None or process.dead else process.pid
