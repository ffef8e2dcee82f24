"""The start of a server, in the thread that calls ``start``."""

from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any

import pykka

from gennostr.exceptions import AlreadyRegistered, AlreadyStarted, CallExit, StartError
from gennostr.otp.calls import Request, wait
from gennostr.otp.engine import Engine
from gennostr.otp.names import Name, check_name, register_name
from gennostr.otp.outcomes import check_seconds
from gennostr.otp.process import Process, acting, check_fence
from gennostr.otp.reasons import TIMEOUT


def start(
    make: Callable[[], pykka.ThreadingActor],
    init_arg: object,
    name: Name | None,
    timeout: float | None,
    parent: Process | None,
) -> Any:
    """Start a server and return its pid once init has succeeded; see `GenServer.start`.

    `parent`, unless None, is linked to the server before init runs.
    """
    me = acting()
    if me is not None:
        me.check_wait()
    check_name(name)
    if timeout is not None:
        check_seconds("timeout", timeout)
    server = make()
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
        check_fence()
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
        process.die(error)
        raise StartError(error) from error
    except BaseException:  # Ctrl-C: nobody will have the pid, but its thread may be running; no effect if it is dead
        process.kill()
        raise
    if parent is not None:  # the StartError is enough; do not deliver an exit signal too
        parent.unlink(process)
    process.kill()
    raise StartError(TIMEOUT)


def _started(starting: Request) -> Any:
    """Return the pid or IGNORE, or raise the error of the start."""
    if starting.exit is not None:
        raise StartError(starting.exit[0])
    return starting.result(starting.process.pid)
