"""Starting a server: what happens in the thread that calls ``start``."""

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
    """Make a server, start its thread and return its pid when init has succeeded; see `GenServer.start`.

    `parent` is linked to it from before init; None: nobody.
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
    # Named before init runs, so that init finds itself and a second start finds it.
    if name is not None:
        try:
            register_name(name, process)
        except AlreadyRegistered as taken:
            raise AlreadyStarted(taken.pid) from None
    done: SimpleQueue[object] = SimpleQueue()
    starting = engine.starting = Request(init_arg, process, parent, partial(done.put, None))
    if not process.watch(starting, waits=True):  # found by its name, and killed
        raise StartError(process.reason)
    if parent is not None and not parent.link(process):  # the starter itself was killed
        process.die(parent.reason)
        check_fence()
    try:
        process.announce()
        server._start_actor_loop()  # noqa: SLF001 - pykka's way to start an actor's thread
        if wait(starting, done, timeout):
            return _started(starting)
    except CallExit:  # the starter was killed: those linked to it have been notified
        raise
    except RuntimeError as error:  # the system refused a thread
        if parent is not None:  # the StartError says it all: no exit comes as well
            parent.unlink(process)
        process.die(error)
        raise StartError(error) from error
    except BaseException:  # Ctrl-C: nobody will have the pid, and its thread may run; or it is dead already
        process.kill()
        raise
    if parent is not None:  # the StartError says it all: no exit comes as well
        parent.unlink(process)
    process.kill()
    raise StartError(TIMEOUT)


def _started(starting: Request) -> Any:
    """Return the pid or IGNORE, or raise what the start ended with."""
    if starting.exit is not None:
        raise StartError(starting.exit[0])
    return starting.result(starting.process.pid)
