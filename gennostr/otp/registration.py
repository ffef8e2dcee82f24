"""Wait until a process is registered under a name: `wait_for`."""

from functools import partial
from queue import SimpleQueue

from gennostr.exceptions import NoProcess
from gennostr.otp.calls import Request
from gennostr.otp.clock import clock
from gennostr.otp.names import NAMES, Name, NameTable, Via, resolve
from gennostr.otp.outcomes import check_seconds
from gennostr.otp.pid import Pid
from gennostr.otp.process import Process, check_may_act
from gennostr.otp.waits import InterruptibleWait, wait_for_item
from gennostr.values import shown


def wait_for(target: Name, timeout: float | None = 5.0) -> Pid:
    """Return the pid registered under a name; wait until there is one.

    While a supervisor restarts a server, its name is not registered for a moment, and a call by name raises NoProcess.
    Code that has to reach the server anyway waits for it first:

    >>> from gennostr import KILL, GenServer, Supervisor, wait_for
    >>> with Supervisor.start([GenServer.child_spec("ready", name="worker")]):
    ...     wait_for("worker").exit(KILL)
    ...     wait_for("worker").get_state()
    'ready'

    A server registers its name before its init runs; calls to the returned pid wait until init has returned. A process
    that was asked to stop keeps its name until it has ended, so it can be the one returned. The wait blocks the calling
    thread, which can be an actor's; a kill or an exit signal ends it.

    Args:
        target: a name, or a `via`. If the registry of the via is given by its name, it may be restarting too.
        timeout: seconds to wait; 0 only looks, None waits forever.

    Raises:
        NoProcess: nothing was registered under `target` within `timeout` seconds; or `target` is a via of a registry
            that is dead, and is given by its pid (raised at once).
        CallExit: the waiting process was killed or received an exit signal that it does not trap.
        TypeError, ValueError: `target` or `timeout` is invalid, or the registry's name belongs to another process.
        RuntimeError: this process was forked while actors were running.

    """
    given: object = target
    if not isinstance(given, str | Via):
        raise TypeError(f"wait_for takes a name or via(registry, key), not {shown(given)}")
    if timeout is not None:
        check_seconds("timeout", timeout)
    check_may_act()
    deadline = None if timeout is None else clock().monotonic() + timeout
    in_time = True
    while True:
        process = resolve(target)
        if process is not None:
            return process.pid  # type: ignore[no-any-return]
        if not in_time:
            raise NoProcess(target, timeout)
        table, key, registry = _place(target)
        if registry is not None and registry.dead and isinstance(target, Via) and not isinstance(target.registry, str):
            raise NoProcess(target)  # for good: nothing can be registered with it any more
        left = None if deadline is None else max(0.0, deadline - clock().monotonic())
        in_time = _wait(table, key, registry, left)


def _place(target: Name) -> tuple[NameTable, object, Process | None]:
    """Return where a process has to be registered next.

    That is the table, the key, and the process of the table's registry.

    Also return the process of the table's registry, if it has one.
    """
    if isinstance(target, str):
        return NAMES, target, None
    try:
        handle = target.find()
    except NoProcess:  # first, the registry has to be registered
        return NAMES, target.registry, None
    return handle.table, target.key, handle.process


def _wait(table: NameTable, key: object, registry: Process | None, timeout: float | None) -> bool:
    """Wait until it is worth looking again.

    That is when `key` was registered, or `registry` has ended.

    Return False after `timeout` seconds. True only means that it is worth looking again.
    """
    woken: SimpleQueue[object] = SimpleQueue()
    wake = partial(woken.put, None)
    watch = None if registry is None else Request(None, registry, None, wake)
    registration = table.listen(key, wake)
    try:
        # Both are checked only now: what happens from here on calls `wake`.
        if watch is not None and not watch.process.watch(watch, waits=True):
            return True
        if table.lookup(key) is not None:
            return True
        with InterruptibleWait(None, wake):  # leaving it raises CallExit if a kill or an exit signal called `wake`
            return wait_for_item(woken, timeout)
    finally:
        table.unlisten(key, registration, wake)
        if watch is not None:
            watch.process.unwatch(watch)
