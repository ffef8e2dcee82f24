"""Names: accepted wherever a pid is.

A name is a string, unique in this Python process, or ``via(registry, key)``. A `NameTable` maps keys to the processes
that hold them; reading it needs no message. The table never returns a dead process, and when a process dies, its keys
are released before anyone is notified.
"""

import threading
import time
from _thread import allocate_lock
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias, runtime_checkable

from gennostr.exceptions import AlreadyRegistered, NoProcess
from gennostr.otp.process import Process
from gennostr.otp.waits import Completion
from gennostr.values import Shared, shown

PATIENCE: Final = 100
"""How many times a thread yields to others, one of which is about to free the key of a dead process."""


class Entry:
    """The holder of a key, and its value.

    Only the thread that claims an entry removes or replaces it.
    """

    __slots__ = ("_removal", "process", "value")

    def __init__(self, process: Process, value: object) -> None:
        self.process = process
        self.value = value
        self._removal = allocate_lock()

    def claim(self) -> bool:
        """Claim the right to change the entry; return True for the first caller only."""
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
        # By key, what ends when the key is registered; only for keys that something waits for.
        self._awaited: dict[object, Completion] = {}

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
        self._wake(key)

    def release(self, key: object, process: Process) -> bool:
        """Release `key`; return False if `process` does not hold it."""
        entry = self._entries.get(key)
        if entry is None or entry.process is not process or not entry.claim():
            return False
        del self._entries[key]
        process.keys.get(self, {}).pop(key, None)
        return True

    def listen(self, key: object, function: Callable[[], object]) -> Completion:
        """Call `function` once, when a process is registered under `key`.

        It may be called earlier, too: what waits has to look again, and to listen again. Look up the key after this
        call, not before: `_awaited` is written here before the entries are read, and a registration reads it after it
        has written the entry. Each access to it is one atomic step of one dict, so one side sees the other.
        """
        completion = self._awaited.setdefault(key, Completion())
        completion.listen(function)  # called at once if the completion was woken in the meantime
        return completion

    def unlisten(self, key: object, completion: Completion, function: Callable[[], object]) -> None:
        """Undo `listen`, which has returned `completion`."""
        completion.unlisten(function)
        if self._awaited.get(key) is completion and not completion.has_listeners():
            # A listener may be added just now, or the key may have another completion by now: it is woken, and looks.
            self._wake(key)

    def _wake(self, key: object) -> None:
        """Remove the completion of `key` and end it.

        Nothing is removed from `_awaited` without being ended.
        """
        completion = self._awaited.pop(key, None)
        if completion is not None:
            completion.end()

    def update(self, key: object, process: Process, old: object, new: object) -> bool:
        """Replace the value of `key`; return whether this was done.

        It is done if `process` holds the key and the value is still `old`.
        """
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
    """What names need of a registry's handle; see `RegistryPid`."""

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
    """A name in a registry; made by `via`, and accepted wherever a name is.

    Two are equal if their registries, keys and values are.

    >>> from gennostr import GenServer, Registry, via, whereis
    >>> with Registry.start(name="rooms") as registry:
    ...     lobby = via("rooms", "lobby")
    ...     with GenServer.start(name=lobby) as room:
    ...         print(lobby, whereis(lobby) is room)
    via('rooms', 'lobby') True

    Attributes:
        registry: the registry's pid or name.
        key: the key in it.
        value: the value that is stored with the key when a process is started under this name; None by default.

    """

    registry: RegistryHandle | str
    key: object
    value: object = field(default=None, hash=False)  # can be any value, hashable or not

    def find(self) -> RegistryHandle:
        """Return the registry's pid, dead or alive.

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
            raise TypeError(f"the process named {shown(self.registry)} is not a registry: {handle!r}")
        return handle

    def __repr__(self) -> str:
        return f"via({shown(self.registry)}, {shown(self.key)})"


def via(registry: RegistryHandle | str, key: object, value: object = None) -> Via:
    """Return the name `key` in `registry`.

    A registry given by its name is looked up at each use, so the via stays valid when the registry restarts. OTP:
    ``{via, Module, Name}``; Elixir: ``{:via, Registry, {registry, key, value}}``.

    >>> from gennostr import GenServer, Registry, call, get_state, via
    >>> with Registry.start(name="rooms") as registry:
    ...     with GenServer.start("empty", name=via("rooms", "lobby", value=1)) as room:
    ...         get_state(via("rooms", "lobby"))
    ...         registry.lookup("lobby") == (room, 1)
    'empty'
    True

    Args:
        registry: the registry's pid or name.
        key: any hashable value.
        value: stored with the key if a process is started under this name. Default None.

    Raises:
        TypeError: `registry` is neither a registry's pid nor a string, or `key` is not hashable.

    """
    if not isinstance(registry, str) and not isinstance(registry, RegistryHandle):
        raise TypeError(f"via takes a registry's pid or name, not {shown(registry)}")
    hash(key)
    return Via(registry, key, value)


Name: TypeAlias = str | Via
"""A name of a process: a string, or what `via` returns."""


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
    """Return the process of a pid or name.

    A pid's process can be dead. The result is None for a name that is not registered.

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
