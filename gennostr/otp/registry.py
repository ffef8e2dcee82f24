"""Registry: unique keys, each held by one process.

Reads and writes go straight to a locked table, with no message to the registry's process. That process exists to be
supervised and linked to: whoever registers is linked to it, so a registry that crashes takes its registrants with
it, and the two never disagree. A death releases the keys before anyone hears of it.

Keys compare as Python's do: 1 and 1.0 are one key.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from gennostr.exceptions import NoProcess
from gennostr.otp.engine import Engine, Server
from gennostr.otp.gen_server import GenServer
from gennostr.otp.mailbox import Mailbox
from gennostr.otp.names import Name, NameTable, check_name, resolve
from gennostr.otp.outcomes import InitOutcome, Ok
from gennostr.otp.pid import Pid
from gennostr.otp.process import Process, check_fence, this_process
from gennostr.otp.signals import Exit
from gennostr.otp.start import start
from gennostr.values import shown, shown_fields


@dataclass(frozen=True, slots=True)
class Registered:
    """Sent to a registry's listeners: `pid` has registered `key`."""

    registry: object
    key: object
    pid: Pid
    value: object = field(hash=False)  # any value, and some have no hash

    __repr__ = shown_fields


@dataclass(frozen=True, slots=True)
class Unregistered:
    """Sent to a registry's listeners: `pid` has given `key` up (not sent when it died)."""

    registry: object
    key: object
    pid: Pid

    __repr__ = shown_fields


class RegistryPid(Pid):
    """The handle of a registry. Every method raises NoProcess if the registry is dead."""

    table: NameTable
    listeners: tuple[Any, ...] = ()

    def register(self, key: object, value: object = None) -> None:
        """Give `key` to the calling process, with `value`.

        Raises:
            AlreadyRegistered: a process has it; ``.pid`` tells which.

        """
        self.register_process(key, this_process(), value)

    def register_process(self, key: object, process: Process, value: object = None) -> None:
        """Do `register` for `process`."""
        self._check()
        self.table.register(key, process, value)
        process.link(self.process)
        self._notify(process, Registered(self._named(), key, process.pid, value))

    def unregister(self, key: object) -> None:
        """Give up `key` if the calling process has it."""
        self._check()
        process = this_process()
        entry = self.table.lookup(key)
        if entry is None or entry[0] is not process:
            return
        # Before the key is free, so that it comes before the Registered of the next owner.
        self._notify(process, Unregistered(self._named(), key, process.pid))
        self.table.release(key, process)
        if not self.table.holds_any(process):
            self._unlink(process)

    def lookup(self, key: object) -> tuple[Pid, Any] | None:
        """Return the holder of `key` and its value."""
        self._check()
        entry = self.table.lookup(key)
        return None if entry is None else (entry[0].pid, entry[1])

    def keys(self, pid: Pid) -> list[Any]:
        """Return the keys that `pid` holds."""
        self._check()
        return self.table.keys(pid.process)

    def select(self) -> list[tuple[Any, Pid, Any]]:
        """Return every (key, pid, value)."""
        self._check()
        return [(key, process.pid, value) for key, process, value in self.table.entries()]

    def count(self) -> int:
        """Return how many keys are held."""
        self._check()
        return self.table.count()

    def update_value(self, key: object, function: Callable[[Any], Any]) -> tuple[Any, Any]:
        """Set the value of the calling process's `key` to ``function(value)``; return (new, old).

        Raises:
            LookupError: the calling process does not have the key.

        """
        self._check()
        process = this_process()
        while True:
            entry = self.table.lookup(key)
            if entry is None or entry[0] is not process:
                raise LookupError(f"{process.pid!r} does not hold {shown(key)}")
            new = function(entry[1])
            if self.table.update(key, process, entry[1], new):
                return new, entry[1]

    def dispatch(self, key: object, function: Callable[[list[tuple[Pid, Any]]], object]) -> None:
        """Call ``function([(pid, value)])`` here if somebody has `key`."""
        entry = self.lookup(key)
        if entry is not None:
            function([entry])

    def _unlink(self, process: Process) -> None:
        """Undo the link that registering made; one between parent and child was there before."""
        if process.parent is not self.process and self.process.parent is not process:
            process.unlink(self.process)

    def _check(self) -> None:
        if self.process.dead:
            raise NoProcess(self)

    def _named(self) -> object:
        return self if self.process.name is None else self.process.name

    def _notify(self, registrant: Process, message: object) -> None:
        """Send `message` as `registrant`: not after its death, when the key may have a new owner already."""
        for listener in self.listeners:
            process = resolve(listener)
            if process is not None:
                process.put_from(registrant, message)


class _Engine(Engine):
    """Gives the registry's handle its table."""

    pid_class = RegistryPid

    def __init__(self, server: Server, pid: Pid, inbox: Mailbox) -> None:
        super().__init__(server, pid, inbox)
        assert isinstance(pid, RegistryPid)  # noqa: S101
        pid.table = NameTable()


class Registry(GenServer[None], engine=_Engine):
    """Start with ``Registry.start(name=None, listeners=())``.

    Listeners (pids or names) get `Registered` and `Unregistered`; nothing is said on a death.
    """

    trap_exit = True  # its registrants come and go

    @classmethod
    def start(  # type: ignore[override]
        cls,
        name: Name | None = None,
        listeners: Iterable[Pid | str] = (),
        timeout: float | None = None,
    ) -> RegistryPid:
        """Start a registry; see `GenServer.start`."""
        return start(cls, _listeners(listeners), name, timeout, None)  # type: ignore[no-any-return]

    @classmethod
    def start_link(  # type: ignore[override]
        cls,
        name: Name | None = None,
        listeners: Iterable[Pid | str] = (),
        timeout: float | None = None,
    ) -> RegistryPid:
        """Start a registry linked to the calling process; see `GenServer.start_link`."""
        return start(cls, _listeners(listeners), name, timeout, check_fence())  # type: ignore[no-any-return]

    def init(self, init_arg: Any, /) -> InitOutcome[None]:
        """Take the listeners."""
        pid = self.pid
        assert isinstance(pid, RegistryPid)  # noqa: S101
        pid.listeners = init_arg or ()
        return Ok(None)

    def handle_info(self, message: Any, state: None, /) -> None:
        """Let registrants die in peace."""
        if not isinstance(message, Exit):
            super().handle_info(message, state)


def _listeners(listeners: Iterable[Pid | str]) -> tuple[Pid | str, ...]:
    checked = tuple(listeners)
    for listener in checked:
        if not isinstance(listener, Pid):
            check_name(listener)
    return checked
