"""The start of a server, in the thread that calls ``start``."""

import inspect
from functools import partial
from queue import SimpleQueue
from typing import Any, Final

import pykka

from gennostr.exceptions import AlreadyRegistered, AlreadyStarted, CallExit, StartError
from gennostr.otp.calls import Request, wait
from gennostr.otp.engine import Engine
from gennostr.otp.names import Name, check_name, register_name
from gennostr.otp.outcomes import check_seconds
from gennostr.otp.process import Process, check_may_act, current_process
from gennostr.otp.reasons import TIMEOUT
from gennostr.otp.system_limits import explained

_SET_BY_INIT: Final = frozenset({"_actor_ref", "_GenServer__gennostr_engine"})
"""What ``GenServer.__init__`` sets, and every use of the server needs."""


def start(
    cls: type[pykka.ThreadingActor],
    init_arg: object,
    name: Name | None,
    timeout: float | None,
    parent: Process | None,
) -> Any:
    """Start a server and return its pid; see `GenServer.start`.

    `parent`, unless None, is linked to the server before init runs.

    Raises:
        TypeError: the class has an ``__init__`` that takes arguments, or does not call ``super().__init__()``.

    """
    check_may_act()
    me = current_process()
    if me is not None:
        me.check_wait()
    check_name(name)
    if timeout is not None:
        check_seconds("timeout", timeout)
    server = _create(cls)
    pid: Any = server.actor_ref
    process: Process = pid.process
    engine = process.actor
    assert isinstance(engine, Engine)  # noqa: S101
    process.name = name
    process.parent = parent
    # Register the name before init runs, so that init can look it up and a second start finds it taken.
    if name is not None:
        try:
            register_name(name, process)
        except AlreadyRegistered as taken:
            raise AlreadyStarted(taken.pid) from None
    done: SimpleQueue[object] = SimpleQueue()
    starting = engine.starting = Request(init_arg, process, parent, partial(done.put, None))
    if not process.watch(starting, waits=True):  # killed by a process that found its name
        raise StartError(process.reason)
    if parent is not None and not parent.link(process):  # the starter itself was killed
        process.die(parent.reason)
        parent.check_wait()
    try:
        process.announce()
        server._start_actor_loop()  # noqa: SLF001 - pykka's way to start an actor's thread
        if wait(starting, done, timeout):
            return _started(starting)
    except CallExit:  # the starter was killed; the processes linked to it have been notified
        raise
    except RuntimeError as error:  # the system refused a thread
        if parent is not None:  # the StartError is enough; do not deliver an exit signal too
            parent.unlink(process)
        reason = explained(error)
        process.die(reason)
        raise StartError(reason) from error
    except BaseException:  # Ctrl-C: nobody will have the pid, but its thread may be running; no effect if it is dead
        process.kill()
        raise
    if parent is not None:  # the StartError is enough; do not deliver an exit signal too
        parent.unlink(process)
    process.kill()
    raise StartError(TIMEOUT)


def _create(cls: type[pykka.ThreadingActor]) -> pykka.ThreadingActor:
    """Return a new server object.

    A class may have an ``__init__`` of its own, without arguments, which runs in the thread that calls start. If it
    cannot work, the error says what to write instead.
    """
    where = f"{cls.__qualname__}.__init__"
    try:
        server = cls()
        _ = server.actor_ref  # it has none if super().__init__() was never called
    except AttributeError as error:
        if error.name not in _SET_BY_INIT:
            raise
        raise TypeError(
            f"{where} must call super().__init__() first. Or put its code into init(self, init_arg), which runs in the "
            "server's own thread"
        ) from error
    except TypeError as error:
        try:
            inspect.signature(cls.__init__).bind(None)
        except TypeError as mismatch:
            raise TypeError(
                f"{where} is called without arguments: {mismatch}. Write init(self, init_arg) instead: it gets the "
                "argument given to start(init_arg)"
            ) from error
        raise
    return server


def _started(starting: Request) -> Any:
    """Return the pid or IGNORE, or raise the error of the start."""
    if starting.exit is not None:
        raise StartError(starting.exit[0])
    return starting.result(starting.process.pid)
