"""Registry: unique keys, each held by one process.

Reads and writes access a shared table directly, without a message to the registry's process. That process exists to be
supervised and linked: registering links the caller to it, so if the registry crashes, its registrants end too, and
table and processes never disagree. When a process dies, its keys are released before anyone is notified.

Keys are compared like dict keys: 1 and 1.0 are one key.
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
    """Message to a registry's listeners: `pid` registered `key`."""

    registry: object
    key: object
    pid: Pid
    value: object = field(hash=False)  # can be any value, hashable or not

    __repr__ = shown_fields


@dataclass(frozen=True, slots=True)
class Unregistered:
    """Message to a registry's listeners: `pid` unregistered `key`. Not sent when a process dies."""

    registry: object
    key: object
    pid: Pid

    __repr__ = shown_fields


class RegistryPid(Pid):
    """The handle of a registry. Every method raises NoProcess if the registry is dead."""

    table: NameTable
    listeners: tuple[Any, ...] = ()

    def register(self, key: object, value: object = None) -> None:
        """Register the calling process under `key`, with `value`.

        Raises:
            AlreadyRegistered: a living process holds `key`; the exception's ``pid`` is that process.

        """
        self.register_process(key, this_process(), value)

    def register_process(self, key: object, process: Process, value: object = None) -> None:
        """Register `process` under `key`, with `value`; see `register`."""
        self._check()
        self.table.register(key, process, value)
        process.link(self.process)
        self._notify(process, Registered(self._named(), key, process.pid, value))

    def unregister(self, key: object) -> None:
        """Release `key` if the calling process holds it."""
        self._check()
        process = this_process()
        entry = self.table.lookup(key)
        if entry is None or entry[0] is not process:
            return
        # Sent before the key is free, so that it arrives before the next owner's Registered.
        self._notify(process, Unregistered(self._named(), key, process.pid))
        self.table.release(key, process)
        if not self.table.holds_any(process):
            self._unlink(process)

    def lookup(self, key: object) -> tuple[Pid, Any] | None:
        """Return (pid, value) of `key`, or None."""
        self._check()
        entry = self.table.lookup(key)
        return None if entry is None else (entry[0].pid, entry[1])

    def keys(self, pid: Pid) -> list[Any]:
        """Return the keys that `pid` holds."""
        self._check()
        return self.table.keys(pid.process)

    def select(self) -> list[tuple[Any, Pid, Any]]:
        """Return all entries as (key, pid, value)."""
        self._check()
        return [(key, process.pid, value) for key, process, value in self.table.entries()]

    def count(self) -> int:
        """Return the number of registered keys."""
        self._check()
        return self.table.count()

    def update_value(self, key: object, function: Callable[[Any], Any]) -> tuple[Any, Any]:
        """Set the value of `key` to ``function(value)``; return (new, old).

        Only the process that holds `key` can do this.

        Raises:
            LookupError: the calling process does not hold `key`.

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
        """Call ``function([(pid, value)])`` in the calling thread if `key` is registered."""
        entry = self.lookup(key)
        if entry is not None:
            function([entry])

    def _unlink(self, process: Process) -> None:
        """Remove the link made by registering, but keep one between parent and child, which existed before."""
        if process.parent is not self.process and self.process.parent is not process:
            process.unlink(self.process)

    def _check(self) -> None:
        if self.process.dead:
            raise NoProcess(self)

    def _named(self) -> object:
        return self if self.process.name is None else self.process.name

    def _notify(self, registrant: Process, message: object) -> None:
        """Send `message` as `registrant`, so never after its death, when the key may already have a new owner."""
        for listener in self.listeners:
            process = resolve(listener)
            if process is not None:
                process.put_from(registrant, message)


class _Engine(Engine):
    """The engine of a registry: gives the handle its table."""

    pid_class = RegistryPid

    def __init__(self, server: Server, pid: Pid, inbox: Mailbox) -> None:
        super().__init__(server, pid, inbox)
        assert isinstance(pid, RegistryPid)  # noqa: S101
        pid.table = NameTable()


class Registry(GenServer[None], engine=_Engine):
    """A server whose handle maps unique keys to processes.

    Start it with ``Registry.start(name=None, listeners=())``. Listeners (pids or names) receive `Registered` and
    `Unregistered`, but nothing when a process dies.
    """

    trap_exit = True  # a registrant that ends must not end the registry

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
        """Like `start`, but link the registry to the calling process; see `GenServer.start_link`."""
        return start(cls, _listeners(listeners), name, timeout, check_fence())  # type: ignore[no-any-return]

    def init(self, init_arg: Any, /) -> InitOutcome[None]:
        """Store the listeners."""
        pid = self.pid
        assert isinstance(pid, RegistryPid)  # noqa: S101
        pid.listeners = init_arg or ()
        return Ok(None)

    def handle_info(self, message: Any, state: None, /) -> None:
        """Ignore the exits of registrants."""
        if not isinstance(message, Exit):
            super().handle_info(message, state)


def _listeners(listeners: Iterable[Pid | str]) -> tuple[Pid | str, ...]:
    checked = tuple(listeners)
    for listener in checked:
        if not isinstance(listener, Pid):
            check_name(listener)
    return checked
