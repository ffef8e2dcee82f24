"""Pid, the handle of an actor, and the same operations as functions that take any target."""

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
    """The handle of one actor, an extended ``pykka.ActorRef``.

    ``process`` is the library's internal record of the actor; it is not for users.
    """

    process: Process

    def __repr__(self) -> str:
        name = self.process.name
        named = "" if name is None else f" {shown(name.key if isinstance(name, Via) else name)}"
        return f"<Pid {self.actor_class.__name__}#{self.process.number}{named}>"

    __str__ = __repr__

    @property
    def actor_stopped(self) -> threading.Event:
        """An event that is set once the actor is dead; part of pykka's API, created on access."""
        event = threading.Event()
        if not self.process.watch(calls.Request(None, self.process, None, event.set), waits=True):
            event.set()
        return event

    @actor_stopped.setter
    def actor_stopped(self, event: threading.Event) -> None:
        """Ignore the event that pykka's ActorRef copies from its actor."""

    def is_alive(self) -> bool:
        """Return whether the actor is alive.

        True until terminate has run; False before anyone is notified of its death.
        """
        return not self.process.dead

    def call(self, request: object, timeout: float | None = 5.0) -> Any:
        """See `call`."""
        return _call(self, request, timeout)

    def send_request(self, request: object) -> PendingReply:
        """See `send_request`."""
        return calls.send_request(self, request)

    async def call_async(self, request: object, timeout: float | None = 5.0) -> Any:  # noqa: ASYNC109
        """Like `call`, but for coroutines: the event loop keeps running."""
        return await calls.call_async(self, request, timeout)

    def cast(self, request: object) -> None:
        """See `cast`."""
        process, sender = self.process, current()
        if sender is None:  # what put_from does, without the function call
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
        """Send an exit signal.

        NORMAL is ignored, KILL always ends the actor, and any other reason ends an actor that does not trap exits.
        """
        if not fenced():
            self.process.signal(current(), reason)

    def ask(self, message: object, *, block: bool = True, timeout: float | None = None) -> Any:
        """Call with pykka's semantics: no timeout by default; with ``block=False``, return a future."""
        if block:
            return _call(self, message, timeout)
        # An actor may send itself a request this way, for a later callback; only waiting for the reply raises.
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
        """Like the function `stop`, but return whether the actor was alive, instead of raising NoProcess.

        With ``block=False``, return a future of that result, as pykka does.
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
        """See `gennostr.get_state`; this and the methods below also work on a suspended server."""
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
        """Return self; stop the actor when the ``with`` block ends.

        An exception from the body propagates, whatever terminate raises. Without one, an unclean exit raises CallExit,
        even if the actor ended earlier, during the body. It is not raised if the exit is already known: a call or stop
        in any thread has raised it, or it was sent with `exit`.
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
    """A future whose value is the result of ``wait(timeout)``.

    pykka runs a get hook under the future's lock. This one waits without the lock: any number of threads can wait, each
    with its own timeout, and a kill or an exit signal ends an actor's wait.
    """

    def __init__(self, wait: Callable[[float | None], Any] | None = None) -> None:
        super().__init__()
        self._wait = wait
        if wait is not None:
            self.set_get_hook(wait)  # so that nobody can set it

    def get(self, *, timeout: float | None = None) -> Any:
        """Return the value or raise its exception; raise `pykka.Timeout` after `timeout` seconds."""
        if self._wait is None:  # made by map, filter, join or reduce
            return super().get(timeout=timeout)
        return self._wait(None if timeout is None else max(timeout, 0.0))


Target: TypeAlias = Pid | str | Via
"""What identifies a process: its pid, its name, or its key in a registry."""


def whereis(name: Name) -> Pid | None:
    """Return the pid registered under `name`, or None."""
    check_name(name)
    process = resolve(name)
    return None if process is None or process.dead else process.pid


def call(target: Target, request: object, timeout: float | None = 5.0) -> Any:
    """Send `request` to ``handle_call`` of `target` and return the reply.

    Waits at most `timeout` seconds; None waits forever. `target` is a pid, a name or a via. This blocks the calling
    thread, and so would block an event loop; in a coroutine, await `Pid.call_async` instead.

    Raises:
        NoProcess: the target is dead or unknown (raised at once).
        CallingSelf: the target is the calling process (raised at once).
        CallExit: the target ended before it replied.
        CallTimeout: no reply within `timeout`; the server is not affected, and a late reply is discarded.

    """
    return _call(target, request, timeout)


def cast(target: Target, request: object) -> None:
    """Send `request` to ``handle_cast`` of `target`; do nothing if it is dead or unknown."""
    process = resolve(target)
    if process is not None:
        process.put_from(current(), Cast(request))


def send(target: Target, message: object) -> None:
    """Send `message` to ``handle_info`` of `target`; do nothing if it is dead or unknown."""
    process = resolve(target)
    if process is not None:
        process.put_from(current(), message)


def stop(target: Target, reason: object = NORMAL, timeout: float | None = None) -> None:
    """Stop `target` with `reason` after the messages already queued, and wait until it is dead.

    Waits at most `timeout` seconds; None waits forever.

    Raises:
        NoProcess: the target is dead or unknown.
        CallingSelf: the target is the calling process.
        CallExit: the target ended for another reason, for example a crash in terminate.
        CallTimeout: the target is still alive after `timeout` seconds; it will still stop.

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
    except Exception:  # a reason can be any value, and comparing some values raises
        return False


def link(target: Target) -> None:
    """Link the calling process to `target`.

    When either process ends uncleanly, the other ends too or, if it traps exits, receives an `Exit`. If the target is
    dead or unknown, a caller that traps exits receives an `Exit` with reason NOPROC.

    Raises:
        NoProcess: the target is dead or unknown, and the caller does not trap exits.
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
    """Remove the link to `target`; no exit signal arrives through it afterwards."""
    me = this_process()
    process = resolve(target)
    if process is not None:
        me.unlink(process)


def monitor(target: Target) -> MonitorRef:
    """Monitor `target`: the calling process receives ``Down(ref, target, reason)`` when it ends.

    Each monitor sends its own Down. If the target is dead or unknown, a Down with reason NOPROC arrives at once.
    """
    return this_process().monitor(resolve(target), target)


def demonitor(ref: MonitorRef, *, flush: bool = False) -> None:
    """Remove a monitor of the calling process.

    A Down that is already queued still arrives, unless `flush` is True. A monitor of another process is left unchanged.

    Raises:
        TypeError: `ref` is not a `MonitorRef`.

    """
    if not isinstance(ref, MonitorRef):
        raise TypeError(f"demonitor needs what monitor returned, not {shown(ref)}")
    this_process().demonitor(ref, flush=flush)
