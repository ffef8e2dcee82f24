"""The handle of an actor, and the same operations as functions of any target."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias, overload

import pykka

from gennostr.exceptions import CallExit, CallingSelf, CallTimeout, NoProcess
from gennostr.otp import calls, system
from gennostr.otp.calls import PendingReply, wait_down
from gennostr.otp.calls import call as _call
from gennostr.otp.envelopes import Cast, StopRequest
from gennostr.otp.names import Name, Via, check_name, resolve
from gennostr.otp.outcomes import check_seconds
from gennostr.otp.process import MonitorRef, Process, current, fenced, this_process
from gennostr.otp.reasons import NOPROC, NORMAL, is_clean
from gennostr.values import Handle, shown


class Pid(Handle, pykka.ActorRef[Any]):
    """The handle of one actor: a ``pykka.ActorRef`` that also calls, casts, links and stops.

    ``process`` is what the library knows of the actor; it is not for users.
    """

    process: Process

    def __repr__(self) -> str:
        name = self.process.name
        named = "" if name is None else f" {shown(name.key if isinstance(name, Via) else name)}"
        return f"<Pid {self.actor_class.__name__}#{self.process.number}{named}>"

    __str__ = __repr__

    @property
    def actor_stopped(self) -> threading.Event:
        """An event that is set once it is dead; pykka's, and made when it is asked for."""
        event = threading.Event()
        if not self.process.watch(calls.Request(None, self.process, None, event.set), waits=True):
            event.set()
        return event

    @actor_stopped.setter
    def actor_stopped(self, event: threading.Event) -> None:
        """Ignore the one that pykka's reference takes from its actor."""

    def is_alive(self) -> bool:
        """Whether it has not ended: true until terminate has run, false once anybody was told."""
        return not self.process.dead

    def call(self, request: object, timeout: float | None = 5.0) -> Any:
        """See `call`."""
        return _call(self, request, timeout)

    def send_request(self, request: object) -> PendingReply:
        """See `send_request`."""
        return calls.send_request(self, request)

    async def call_async(self, request: object, timeout: float | None = 5.0) -> Any:  # noqa: ASYNC109
        """Like `call`, but for coroutines: the event loop goes on meanwhile."""
        return await calls.call_async(self, request, timeout)

    def cast(self, request: object) -> None:
        """See `cast`."""
        process, sender = self.process, current()
        if sender is None:  # as put_from does, without the way there
            process.mailbox.put(Cast(request))
        else:
            process.put_from(sender, Cast(request))

    def send(self, message: object) -> None:
        """See `send`."""
        process, sender = self.process, current()
        if sender is None:
            process.mailbox.put(message)
        else:
            process.put_from(sender, message)

    tell = send

    def exit(self, reason: object) -> None:
        """Send an exit signal: NORMAL is ignored, KILL cannot be, any other ends who does not trap exits."""
        if not fenced():
            self.process.signal(current(), reason)

    def ask(self, message: object, *, block: bool = True, timeout: float | None = None) -> Any:
        """Call as pykka does: no timeout unless given, and a future with ``block=False``."""
        if block:
            return _call(self, message, timeout)
        # An actor may ask itself so, for a callback to come; only waiting for that raises.
        return _Future(PendingReply(self, message, to_self=True).wait)

    @overload
    def stop(self, reason: object = NORMAL, timeout: float | None = None, *, block: Literal[True] = True) -> bool: ...
    @overload
    def stop(
        self, reason: object = NORMAL, timeout: float | None = None, *, block: Literal[False]
    ) -> pykka.Future[bool]: ...
    @overload
    def stop(
        self, reason: object = NORMAL, timeout: float | None = None, *, block: bool = True
    ) -> bool | pykka.Future[bool]: ...
    def stop(
        self, reason: object = NORMAL, timeout: float | None = None, *, block: bool = True
    ) -> bool | pykka.Future[bool]:
        """See `stop`; but return False if it is dead already, as pykka does, or else True.

        With ``block=False``, return a future of that.
        """
        if block:
            try:
                stop(self, reason, timeout)
            except NoProcess:
                return False
            return True
        alive = self.is_alive()
        self.process.put_from(current(), StopRequest(reason))

        def stopped(timeout: float | None) -> bool:
            if alive and self.process is current() and self.is_alive():
                raise CallingSelf(self)
            if alive and wait_down(self.process, timeout) is None:
                assert timeout is not None  # noqa: S101
                raise CallTimeout(self, StopRequest(reason), timeout)
            return alive

        return _Future(stopped)

    def get_state(self, timeout: float | None = 5.0) -> Any:
        """See `gennostr.get_state`; works while it is suspended too, as all of these."""
        return system.get_state(self, timeout)

    def replace_state(self, function: Callable[[Any], object], timeout: float | None = 5.0) -> Any:
        """See `gennostr.replace_state`."""
        return system.replace_state(self, function, timeout)

    def suspend(self, timeout: float | None = 5.0) -> None:
        """See `gennostr.suspend`."""
        system.suspend(self, timeout)

    def resume(self, timeout: float | None = 5.0) -> None:
        """See `gennostr.resume`."""
        system.resume(self, timeout)

    def get_status(self, timeout: float | None = 5.0) -> system.Status:
        """See `gennostr.get_status`."""
        return system.get_status(self, timeout)

    def statistics(self, timeout: float | None = 5.0) -> system.Statistics:
        """See `gennostr.statistics`."""
        return system.statistics(self, timeout)

    def __enter__(self) -> Self:
        """Stop it on the way out.

        An exception of the body leaves the ``with`` statement, whatever terminate raises. Without one, an unclean end
        raises CallExit, even if it came earlier, during the body. It is not raised where somebody knows: a call or stop
        has raised that exit already, in any thread, or the end was sent with `exit`.
        """
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process = self.process
        try:
            stop(self)
        except NoProcess:
            unclean = not process.end_known and not is_clean(process.reason)
            if kind is None and unclean:
                process.end_known = True
                raise CallExit(process.reason, self) from None
        except CallExit as exit_:
            if kind is None and not is_clean(exit_.reason):
                raise


class _Future(pykka.ThreadingFuture[Any]):
    """A future whose value is what `wait` returns, given the seconds to wait.

    A get hook of pykka's runs under the future's lock. This one waits without: any number of threads may, each with a
    timeout of its own, and a kill or an exit signal ends the wait of an actor.
    """

    def __init__(self, wait: Callable[[float | None], Any] | None = None) -> None:
        super().__init__()
        self._wait = wait
        if wait is not None:
            self.set_get_hook(wait)  # so that nobody can set it

    def get(self, *, timeout: float | None = None) -> Any:
        """Return the value, or raise the exception; `pykka.Timeout` after `timeout` seconds."""
        if self._wait is None:  # what map, filter, join and reduce make
            return super().get(timeout=timeout)
        return self._wait(None if timeout is None else max(timeout, 0.0))


Target: TypeAlias = Pid | str | Via
"""Where a process can be named: its pid, its name, or its key in a registry."""


def whereis(name: Name) -> Pid | None:
    """Return the pid that has `name`, or None."""
    check_name(name)
    process = resolve(name)
    return None if process is None or process.dead else process.pid


def call(target: Target, request: object, timeout: float | None = 5.0) -> Any:
    """Send `request` to ``handle_call`` of `target` and return the reply.

    Waits `timeout` seconds; None waits for ever. `target` is a pid, a name or a via. The calling thread waits: in a
    coroutine, or a callback of an event loop, that would stop the loop; there, await `Pid.call_async`.

    Raises:
        NoProcess: it is dead or unknown (at once).
        CallingSelf: it is the caller itself (at once).
        CallExit: it ended before it replied.
        CallTimeout: no reply in time; the server is unharmed, and a late reply reaches nobody.

    """
    return _call(target, request, timeout)


def cast(target: Target, request: object) -> None:
    """Send `request` to ``handle_cast`` of `target`; to the dead or unknown, silently nothing."""
    process = resolve(target)
    if process is not None:
        process.put_from(current(), Cast(request))


def send(target: Target, message: object) -> None:
    """Send `message` to ``handle_info`` of `target`; to the dead or unknown, silently nothing."""
    process = resolve(target)
    if process is not None:
        process.put_from(current(), message)


def stop(target: Target, reason: object = NORMAL, timeout: float | None = None) -> None:
    """Have `target` terminate with `reason` after what is queued already, and wait until it is dead.

    Raises:
        NoProcess: it is dead or unknown.
        CallingSelf: it is the caller.
        CallExit: it ended for another reason (a crash in terminate, say).
        CallTimeout: it is not dead in `timeout` seconds; it will still stop.

    """
    if timeout is not None:
        check_seconds("timeout", timeout)
    _await_stop(target, StopRequest(reason), timeout)


def _await_stop(target: Target, message: StopRequest, timeout: float | None) -> None:
    try:
        _call(target, message, timeout, envelope=message)
    except CallExit as exit_:
        if exit_.reason is not message.reason and not _equal(exit_.reason, message.reason):
            raise


def _equal(one: object, other: object) -> bool:
    try:
        return bool(one == other)
    except Exception:  # a reason may be any value, and some cannot be compared
        return False


def link(target: Target) -> None:
    """Link the calling process to `target`: either's unclean end ends, or is told to, the other.

    A dead or unknown target is an exit signal NOPROC to a caller that traps exits.

    Raises:
        NoProcess: the target is not there, and the caller does not trap exits.
        RuntimeError: called in a plain thread.

    """
    me = this_process()
    process = resolve(target)
    if process is not None and not process.dead:
        me.link(process)
        return
    if me.actor is None or not me.actor.trap_exit:
        raise NoProcess(target)
    if process is None:
        me.signal(None, NOPROC)
    else:
        me.link(process)


def unlink(target: Target) -> None:
    """Take the link back; afterwards no exit comes through it."""
    me = this_process()
    process = resolve(target)
    if process is not None:
        me.unlink(process)


def monitor(target: Target) -> MonitorRef:
    """Have ``Down(ref, target, reason)`` sent to the calling process when `target` ends.

    Monitors stack. A dead or unknown target gives a Down with NOPROC at once.
    """
    return this_process().monitor(resolve(target), target)


def demonitor(ref: MonitorRef, *, flush: bool = False) -> None:
    """Take a monitor back; a Down that is queued already still comes, unless `flush`.

    That of another process stays as it is.

    Raises:
        TypeError: `ref` is not what `monitor` returns.

    """
    if not isinstance(ref, MonitorRef):
        raise TypeError(f"demonitor needs what monitor returned, not {shown(ref)}")
    this_process().demonitor(ref, flush=flush)
