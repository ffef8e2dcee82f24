"""Registry: unique keys, each held by one process.

Reads and writes access a shared table directly, without a message to the registry's process. That process exists to be
supervised and linked: registering links the caller to it, so if the registry crashes, its registrants end too, and
table and processes never disagree. When a process dies, its keys are released before anyone is notified.

Keys are compared like dict keys: 1 and 1.0 are one key.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypedDict, Unpack

from gennostr.exceptions import NoProcess
from gennostr.otp.child_spec import ChildSpec, Overrides
from gennostr.otp.engine import Engine, Server
from gennostr.otp.gen_server import GenServer
from gennostr.otp.mailbox import Mailbox
from gennostr.otp.names import Name, NameTable, check_name, resolve
from gennostr.otp.outcomes import InitOutcome, Ok
from gennostr.otp.pid import Pid
from gennostr.otp.process import Process, current_process, require_process
from gennostr.otp.signals import Exit
from gennostr.otp.start import start
from gennostr.values import shown, shown_fields


@dataclass(frozen=True, slots=True)
class Registered:
    """Message to a registry's listeners: a process registered a key.

    >>> from gennostr import GenServer, NoReply, Registry, reply, via
    >>> class Listener(GenServer):
    ...     def handle_call(self, request, from_, state):
    ...         return NoReply(from_)
    ...     def handle_info(self, message, from_):
    ...         reply(from_, (message.registry, message.key, message.value))
    >>> with Listener.start() as listener, Registry.start("rooms", listeners=[listener]):
    ...     pending = listener.send_request("who came?")
    ...     with GenServer.start(name=via("rooms", "lobby", 1)):
    ...         pending.wait()
    ('rooms', 'lobby', 1)

    Elixir: ``{:register, registry, key, pid, value}``.

    Attributes:
        registry: the registry's name, or its pid if it has no name.
        key: the key.
        pid: the process that registered it.
        value: the value registered with it.

    """

    registry: object
    key: object
    pid: Pid
    value: object = field(hash=False)  # can be any value, hashable or not

    __repr__ = shown_fields


@dataclass(frozen=True, slots=True)
class Unregistered:
    """Message to a registry's listeners: a process released a key.

    Sent for `RegistryPid.unregister`, but not when a process dies: `monitor` it for that. It arrives before the
    `Registered` of the next owner.

    >>> from gennostr import GenServer, NoReply, Ok, Registry, Unregistered, reply
    >>> class Room(GenServer):
    ...     def init(self, registry):
    ...         registry.register("lobby")
    ...         return Ok(registry)
    ...     def handle_cast(self, request, registry):
    ...         registry.unregister("lobby")
    >>> class Listener(GenServer):
    ...     def handle_call(self, request, from_, state):
    ...         return NoReply(from_)
    ...     def handle_info(self, message, from_):
    ...         if isinstance(message, Unregistered):
    ...             reply(from_, (message.registry, message.key))
    >>> with Listener.start() as listener, Registry.start("rooms", [listener]) as registry:
    ...     pending = listener.send_request("who left?")
    ...     with Room.start(registry) as room:
    ...         room.cast("close")
    ...         pending.wait()
    ('rooms', 'lobby')

    Elixir: ``{:unregister, registry, key, pid}``.

    Attributes:
        registry: the registry's name, or its pid if it has no name.
        key: the key.
        pid: the process that released it.

    """

    registry: object
    key: object
    pid: Pid

    __repr__ = shown_fields


class RegistryPid(Pid):
    """The handle of a registry. Its own methods raise NoProcess if it is dead.

    They read and write a shared table directly, without a message, so they do not wait.

    >>> from gennostr import GenServer, Registry, via
    >>> with Registry.start() as rooms:
    ...     with GenServer.start(name=via(rooms, "lobby", "open")) as room:
    ...         rooms.lookup("lobby") == (room, "open"), rooms.keys(room), rooms.count()
    (True, ['lobby'], 1)

    Attributes:
        listeners: the pids and names that receive `Registered` and `Unregistered`.
        table: the library's own.

    """

    table: NameTable
    listeners: tuple[Any, ...] = ()

    def register(self, key: object, value: object = None) -> None:
        """Register the calling process under `key`, and link it to the registry.

        Elixir: ``Registry.register/3``.

        Args:
            key: any hashable value; keys compare as in a dict (1 and 1.0 are one key).
            value: stored with the key. Default None.

        Raises:
            AlreadyRegistered: a living process holds `key`; the exception's ``pid`` is that process.
            RuntimeError: called in a plain thread.
            NoProcess: the registry is dead.

        """
        self.register_process(key, require_process("register"), value)

    def register_process(self, key: object, process: Process, value: object = None) -> None:
        """Register a process under `key`; see `register`.

        For the library itself, which registers a server under a via.
        """
        self._check()
        self.table.register(key, process, value)
        process.link(self.process)
        self._notify(process, Registered(self._named(), key, process.pid, value))

    def unregister(self, key: object) -> None:
        """Release `key` if the calling process holds it; do nothing otherwise.

        Elixir: ``Registry.unregister/2``.

        Args:
            key: the key.

        Raises:
            RuntimeError: called in a plain thread.
            NoProcess: the registry is dead.

        """
        self._check()
        process = require_process("unregister")
        entry = self.table.lookup(key)
        if entry is None or entry[0] is not process:
            return
        # Sent before the key is free, so that it arrives before the next owner's Registered.
        self._notify(process, Unregistered(self._named(), key, process.pid))
        self.table.release(key, process)
        if not self.table.holds_any(process):
            self._unlink(process)

    def lookup(self, key: object) -> tuple[Pid, Any] | None:
        """Return (pid, value) of `key`, or None.

        The process can die at any moment, but was alive. Elixir: ``Registry.lookup/2``.

        Args:
            key: the key.

        Raises:
            NoProcess: the registry is dead.

        """
        self._check()
        entry = self.table.lookup(key)
        return None if entry is None else (entry[0].pid, entry[1])

    def keys(self, pid: Pid) -> list[Any]:
        """Return the keys that a process holds.

        Elixir: ``Registry.keys/2``.

        Args:
            pid: the process.

        Raises:
            NoProcess: the registry is dead.

        """
        self._check()
        return self.table.keys(pid.process)

    def select(self) -> list[tuple[Any, Pid, Any]]:
        """Return all entries as a list of (key, pid, value).

        Elixir: ``Registry.select/2``, for everything.

        Raises:
            NoProcess: the registry is dead.

        """
        self._check()
        return [(key, process.pid, value) for key, process, value in self.table.entries()]

    def count(self) -> int:
        """Return the number of registered keys.

        Elixir: ``Registry.count/1``.

        Raises:
            NoProcess: the registry is dead.

        """
        self._check()
        return self.table.count()

    def update_value(self, key: object, function: Callable[[Any], Any]) -> tuple[Any, Any]:
        """Set the value of `key` to ``function(value)``; return (new, old).

        Only the process that holds `key` can do this. Elixir: ``Registry.update_value/3``.

        Args:
            key: the key.
            function: is called in the calling thread; again if the value has changed in the meantime.

        Raises:
            LookupError: the calling process does not hold `key`.
            RuntimeError: called in a plain thread.
            NoProcess: the registry is dead.

        """
        self._check()
        process = require_process("update_value")
        while True:
            entry = self.table.lookup(key)
            if entry is None or entry[0] is not process:
                raise LookupError(f"{process.pid!r} does not hold {shown(key)}")
            new = function(entry[1])
            if self.table.update(key, process, entry[1], new):
                return new, entry[1]

    def dispatch(self, key: object, function: Callable[[list[tuple[Pid, Any]]], object]) -> None:
        """Call ``function([(pid, value)])`` in the calling thread if `key` is registered.

        Elixir: ``Registry.dispatch/3``.

        Args:
            key: the key.
            function: receives a list of one (pid, value). Its exception propagates.

        Raises:
            NoProcess: the registry is dead.

        """
        entry = self.lookup(key)
        if entry is not None:
            function([entry])

    def _unlink(self, process: Process) -> None:
        """Remove the link made by registering.

        One between parent and child, which existed before, is kept.
        """
        if process.parent is not self.process and self.process.parent is not process:
            process.unlink(self.process)

    def _check(self) -> None:
        if self.process.dead:
            raise NoProcess(self)

    def _named(self) -> object:
        return self if self.process.name is None else self.process.name

    def _notify(self, registrant: Process, message: object) -> None:
        """Send `message` as `registrant` to the listeners.

        So it is never sent after its death, when the key may already have a new owner.
        """
        for listener in self.listeners:
            process = resolve(listener)
            if process is not None:
                process.put_from(registrant, message)


class _RegistryProcess(Process):
    """The process of a registry.

    The exits of its registrants, which it ignores, do not wake it.
    """

    __slots__ = ()

    def signal(self, sender: Process | None, reason: object, *, linked: bool = False) -> None:
        """See `Process.signal`."""
        actor = self.actor
        if (
            linked
            and sender is not None
            and sender is not self.parent
            and isinstance(actor, _Engine)
            and actor.ignores_exits()
        ):
            self.strike_link(sender)
        else:
            super().signal(sender, reason, linked=linked)


class _Engine(Engine):
    """The engine of a registry: gives the handle its table."""

    pid_class = RegistryPid
    process_class = _RegistryProcess

    def __init__(self, server: Server, pid: Pid, inbox: Mailbox) -> None:
        super().__init__(server, pid, inbox)
        assert isinstance(pid, RegistryPid)  # noqa: S101
        pid.table = NameTable()

    def ignores_exits(self) -> bool:
        """Return whether an `Exit` would do nothing. Called from any thread.

        A subclass may handle it, and one that does not trap exits ends.
        """
        return self.trap_exit and getattr(self.server.handle_info, "__func__", None) is Registry.handle_info


class RegistryOptions(TypedDict, total=False):
    """The keyword arguments of ``Registry.start``, for a child spec."""

    name: Name | None
    listeners: Iterable[Pid | str]
    timeout: float | None


class Registry(GenServer[None], engine=_Engine):
    """A server whose handle maps unique keys to processes.

    A process that has registered is linked to the registry: if the registry crashes, it ends too. When a process dies,
    its keys are free before anyone is notified. Elixir: ``Registry`` with unique keys.

    >>> from gennostr import GenServer, Registry, call, via, whereis
    >>> with Registry.start(name="rooms") as rooms:
    ...     with GenServer.start("empty", name=via("rooms", "lobby")) as room:
    ...         whereis(via("rooms", "lobby")) is room
    ...     rooms.lookup("lobby")
    True

    Attributes:
        trap_exit: True, so that the end of a registered process does not end the registry.

    """

    trap_exit = True  # a registrant that ends must not end the registry

    @classmethod
    def start(  # type: ignore[override]
        cls,
        name: Name | None = None,
        listeners: Iterable[Pid | str] = (),
        timeout: float | None = None,
    ) -> RegistryPid:
        """Start a registry.

        Elixir: ``Registry.start_link/1``.

        Args:
            name: a name to register: a string, or what `via` returns. Default None: no name.
            listeners: pids or names that receive `Registered` and `Unregistered`, but nothing when a process dies.
                Default ().
            timeout: seconds that the start may take. Default None: no limit.

        Returns:
            A `RegistryPid`.

        Raises:
            TypeError: a listener is neither a pid nor a name.
            StartError, AlreadyStarted, NoProcess, ValueError, RuntimeError, CallExit: as for `GenServer.start`.

        """
        return start(cls, _listeners(listeners), name, timeout, None)  # type: ignore[no-any-return]

    @classmethod
    def start_link(  # type: ignore[override]
        cls,
        name: Name | None = None,
        listeners: Iterable[Pid | str] = (),
        timeout: float | None = None,
    ) -> RegistryPid:
        """Like `start`, but linked to the calling process.

        In a plain thread, the same as `start`.

        Args:
            name: a name to register: a string, or what `via` returns. Default None: no name.
            listeners: pids or names that receive `Registered` and `Unregistered`. Default ().
            timeout: seconds that the start may take. Default None: no limit.

        Returns:
            A `RegistryPid`.

        Raises:
            TypeError, StartError, AlreadyStarted, NoProcess, ValueError, RuntimeError, CallExit: as for `start`.

        """
        return start(cls, _listeners(listeners), name, timeout, current_process())  # type: ignore[no-any-return]

    @classmethod
    def child_spec(
        cls, init_arg: RegistryOptions | None = None, *, name: Name | None = None, **overrides: Unpack[Overrides]
    ) -> ChildSpec:
        """Return a child spec for this registry: permanent, with 5 s to shut down.

        >>> from gennostr import Registry, Supervisor, whereis
        >>> with Supervisor.start([Registry.child_spec({"listeners": ["door"]}, name="rooms")]):
        ...     whereis("rooms").count()
        0

        Args:
            init_arg: a mapping of other keyword arguments of ``start``: its listeners.
            name: registered at each start and restart; also the id of the child, which otherwise is the class.
            overrides: fields of `ChildSpec`.

        Raises:
            TypeError, ValueError: the name or a field is invalid; the message names it.

        """
        options: RegistryOptions = {**(init_arg or {})}
        if name is not None:
            options["name"] = name
        check_name(options.get("name"))
        fields: Overrides = {"id": cls if name is None else name, "start": partial(cls.start_link, **options)}
        return ChildSpec(**(fields | overrides))

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
