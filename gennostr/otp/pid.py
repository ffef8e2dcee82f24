"""Pid, the handle of an actor, and its operations as functions of any target."""

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
from gennostr.otp.process import MonitorRef, Process, current_process, require_process
from gennostr.otp.reasons import NOPROC, NORMAL, is_clean
from gennostr.values import Concise, Handle, shown


class Pid(Handle, pykka.ActorRef[Any], metaclass=Concise):
    """The handle of one actor, returned by ``start``; an extended ``pykka.ActorRef``.

    Any thread or actor may use it. It stays valid, and equal to itself alone, after the actor's end. It can be copied,
    but not pickled: it means nothing in another Python process. In a ``with`` statement it stops the actor at the end
    of the block.

    The functions of the same names (`gennostr.call`, `gennostr.cast`, `gennostr.send`, `gennostr.stop`, ...) take a
    name or a via as well.

    >>> from gennostr import GenServer, NoReply, Ok, Reply
    >>> class Counter(GenServer[int]):
    ...     def init(self, start):
    ...         return Ok(start)
    ...     def handle_call(self, request, from_, count):
    ...         return Reply(count)
    ...     def handle_cast(self, request, count):
    ...         return NoReply(count + request)
    >>> with Counter.start(5) as counter:
    ...     counter.cast(2)
    ...     counter.call("count")
    7
    >>> counter.is_alive()
    False

    Attributes:
        actor_class: the server's class (pykka's name).
        actor_urn: a unique text (pykka's name).
        process: the library's own record of the actor; not for users.

    """

    process: Process

    def __repr__(self) -> str:
        name = self.process.name
        named = "" if name is None else f" {shown(name.key if isinstance(name, Via) else name)}"
        return f"<Pid {self.actor_class.__name__}#{self.process.number}{named}>"

    __str__ = __repr__

    @property
    def actor_stopped(self) -> threading.Event:
        """A ``threading.Event`` that is set once the actor is dead.

        Part of pykka's API, created on access; to be notified of the end, use `monitor`.
        """
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
        """Send `request` to ``handle_call`` and return the reply.

        Blocks the calling thread; in a coroutine, await `call_async` instead. OTP: ``gen_server:call/3``.

        Args:
            request: any value.
            timeout: seconds to wait for the reply; None waits forever. Default 5.0.

        Returns:
            The reply.

        Raises:
            NoProcess: the actor is dead (raised at once).
            CallingSelf: it is the calling process (raised at once).
            CallExit: it ended before it replied.
            CallTimeout: no reply within `timeout`; the server is not affected, and a late reply is discarded.
            TypeError, ValueError: `timeout` is not a number of seconds.
            BaseException: what the server passed to `reply_error`.

        """
        return _call(self, request, timeout)

    def send_request(self, request: object) -> PendingReply:
        """Send `request` to ``handle_call`` without waiting for the reply.

        Args:
            request: any value.

        Returns:
            A `PendingReply`; its ``wait`` returns the reply, or raises NoProcess if the actor is dead.

        Raises:
            CallingSelf: it is the calling process.

        """
        return calls.send_request(self, request)

    async def call_async(self, request: object, timeout: float | None = 5.0) -> Any:  # noqa: ASYNC109
        """Like `call`, but for coroutines: the event loop keeps running.

        If the task is cancelled, the reply is discarded.

        >>> import asyncio
        >>> from gennostr import GenServer, Reply
        >>> class Echo(GenServer):
        ...     def handle_call(self, request, from_, state):
        ...         return Reply(request)
        >>> async def main(echo):
        ...     return await asyncio.gather(echo.call_async(1), echo.call_async(2))
        >>> with Echo.start() as echo:
        ...     asyncio.run(main(echo))
        [1, 2]

        Args:
            request: any value.
            timeout: seconds to wait for the reply; None waits forever. Default 5.0.

        Returns:
            The reply.

        Raises:
            NoProcess, CallingSelf, CallExit, CallTimeout, TypeError, ValueError: as for `call`.
            RuntimeError: no event loop is running.

        """
        return await calls.call_async(self, request, timeout)

    def cast(self, request: object) -> None:
        """Send `request` to ``handle_cast``; do nothing if the actor is dead.

        Returns at once and never raises. OTP: ``gen_server:cast/2``.

        Args:
            request: any value.

        """
        process, sender = self.process, current_process()
        if sender is None:  # what put_from does, without the function call
            process.mailbox.put(Cast(request))
        else:
            process.put_from(sender, Cast(request))

    def send(self, message: object) -> None:
        """Send `message` to ``handle_info``; do nothing if the actor is dead.

        Returns at once and never raises. pykka's name for it is ``tell``. OTP: ``erlang:send/2``.

        Args:
            message: any value.

        """
        process, sender = self.process, current_process()
        if sender is None:
            process.mailbox.put(message)
        else:
            process.put_from(sender, message)

    tell = send
    proxy = pykka.ActorRef.proxy  # pykka's own, named here because `help` lists a class's own names

    def exit(self, reason: object) -> None:
        """Send an exit signal; do nothing if the actor is dead.

        From another process or thread, NORMAL is ignored, KILL ends the actor whatever it does, and any other reason
        ends an actor that does not trap exits: when its current callback returns or waits, before any queued message,
        and without terminate. One that traps exits receives an `Exit` instead (for NORMAL too, but not for KILL). To
        stop an actor in order, use `stop`. OTP: ``erlang:exit/2``.

        Args:
            reason: any value.

        """
        sender = current_process()
        if sender is None or not sender.dead:
            self.process.signal(sender, reason)

    def ask(self, message: object, *, block: bool = True, timeout: float | None = None) -> Any:
        """Call with pykka's semantics: no timeout by default, or a future.

        Args:
            message: the request, for ``handle_call``.
            block: False to return a ``pykka.Future`` of the reply at once. Default True.
            timeout: with `block`, the seconds to wait for the reply; None, the default, waits forever.

        Returns:
            The reply, or its future.

        Raises:
            NoProcess, CallingSelf, CallExit, CallTimeout, TypeError, ValueError: as for `call`; without `block`, by the
                future's ``get``.

        """
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
        """Stop the actor after the messages already queued, and wait until it is dead.

        terminate runs. OTP: ``gen_server:stop/3``.

        Args:
            reason: the exit reason; any value. Default NORMAL.
            timeout: seconds to wait; None, the default, waits forever.
            block: False to return a ``pykka.Future`` of the result at once. Default True.

        Returns:
            Whether the actor was alive. The function `gennostr.stop` raises NoProcess instead of returning False.

        Raises:
            CallingSelf: it is the calling process.
            CallExit: it ended for another reason, for example a crash in terminate.
            CallTimeout: it is still alive after `timeout` seconds; it will still stop.
            TypeError, ValueError: `timeout` is not a number of seconds.

        """
        if block:
            try:
                stop(self, reason, timeout)
            except NoProcess:
                return False
            return True
        alive = self.is_alive()
        self.process.put_from(current_process(), StopRequest(reason))

        def stopped(timeout: float | None) -> bool:
            if alive and self.process is current_process() and self.is_alive():
                raise CallingSelf(self)
            if alive and wait_down(self.process, timeout) is None:
                assert timeout is not None  # noqa: S101
                raise CallTimeout(self, StopRequest(reason), timeout)
            return alive

        return _Future(stopped)

    def get_state(self, timeout: float | None = 5.0) -> Any:
        """Return the server's state, even while it is suspended.

        Args:
            timeout: seconds to wait; None waits forever. Default 5.0.

        Raises:
            NoProcess, CallingSelf, CallExit, CallTimeout: as for `call`.

        """
        return system.get_state(self, timeout)

    def replace_state(self, function: Callable[[Any], object], timeout: float | None = 5.0) -> Any:
        """Set the state to ``function(state)`` and return it, even while suspended.

        Args:
            function: runs in the server's thread. If it raises, the exception is raised here, and the server keeps
                running.
            timeout: seconds to wait; None waits forever. Default 5.0.

        Raises:
            NoProcess, CallingSelf, CallExit, CallTimeout: as for `call`.

        """
        return system.replace_state(self, function, timeout)

    def suspend(self, timeout: float | None = 5.0) -> None:
        """Suspend the server: messages wait until `resume`.

        Only system messages (get_state and the like), stop and exit signals are handled.

        Args:
            timeout: seconds to wait; None waits forever. Default 5.0.

        Raises:
            NoProcess, CallingSelf, CallExit, CallTimeout: as for `call`.

        """
        system.suspend(self, timeout)

    def resume(self, timeout: float | None = 5.0) -> None:
        """Resume a suspended server.

        The messages that waited are handled first, in order. Does nothing if it is not suspended.

        Args:
            timeout: seconds to wait; None waits forever. Default 5.0.

        Raises:
            NoProcess, CallingSelf, CallExit, CallTimeout: as for `call`.

        """
        system.resume(self, timeout)

    def get_status(self, timeout: float | None = 5.0) -> system.Status:
        """Return the server's `Status`, as changed by its format_status.

        Args:
            timeout: seconds to wait; None waits forever. Default 5.0.

        Raises:
            NoProcess, CallingSelf, CallExit, CallTimeout: as for `call`.

        """
        return system.get_status(self, timeout)

    def statistics(self, timeout: float | None = 5.0) -> system.Statistics:
        """Return the server's `Statistics`, even while it is suspended.

        Args:
            timeout: seconds to wait; None waits forever. Default 5.0.

        Raises:
            NoProcess, CallingSelf, CallExit, CallTimeout: as for `call`.

        """
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
        """Return the value or raise its exception.

        Raises:
            pykka.Timeout: there is no value after `timeout` seconds.

        """
        if self._wait is None:  # made by map, filter, join or reduce
            return super().get(timeout=timeout)
        return self._wait(None if timeout is None else max(timeout, 0.0))


Target: TypeAlias = Pid | str | Via
"""What identifies a process: its pid, its name, or its key in a registry."""


def whereis(name: Name) -> Pid | None:
    """Return the pid registered under a name, or None.

    OTP: ``erlang:whereis/1``; Elixir: ``GenServer.whereis/1``.

    >>> from gennostr import GenServer, whereis
    >>> with GenServer.start(name="cache") as cache:
    ...     whereis("cache") is cache
    True
    >>> whereis("cache")

    Args:
        name: a string, or what `via` returns.

    Raises:
        TypeError: `name` is neither.

    """
    check_name(name)
    process = resolve(name)
    return None if process is None or process.dead else process.pid


def call(target: Target, request: object, timeout: float | None = 5.0) -> Any:
    """Send a request to ``handle_call`` of a server and return the reply.

    Blocks the calling thread, and so would block an event loop; in a coroutine, await `call_async` instead. OTP:
    ``gen_server:call/3``.

    >>> from gennostr import GenServer, Reply, call
    >>> class Echo(GenServer):
    ...     def handle_call(self, request, from_, state):
    ...         return Reply(request)
    >>> with Echo.start(name="echo") as pid:
    ...     call("echo", "hello"), call(pid, "hello", timeout=1.0)
    ('hello', 'hello')

    Args:
        target: a pid, a name or a via.
        request: any value.
        timeout: seconds to wait for the reply; None waits forever. Default 5.0.

    Returns:
        The reply.

    Raises:
        NoProcess: the target is dead or unknown (raised at once).
        CallingSelf: the target is the calling process (raised at once).
        CallExit: the target ended before it replied.
        CallTimeout: no reply within `timeout`; the server is not affected, and a late reply is discarded.
        TypeError, ValueError: `target` is not a pid, name or via, or `timeout` is not a number of seconds.
        BaseException: what the server passed to `reply_error`.

    """
    return _call(target, request, timeout)


async def call_async(target: Target, request: object, timeout: float | None = 5.0) -> Any:  # noqa: ASYNC109
    """Like `call`, but for coroutines: the event loop keeps running.

    If the task is cancelled, the reply is discarded.

    >>> import asyncio
    >>> from gennostr import GenServer, Reply, call_async
    >>> class Echo(GenServer):
    ...     def handle_call(self, request, from_, state):
    ...         return Reply(request)
    >>> async def main():
    ...     return await asyncio.gather(call_async("echo", 1), call_async("echo", 2))
    >>> with Echo.start(name="echo"):
    ...     asyncio.run(main())
    [1, 2]

    Args:
        target: a pid, a name or a via.
        request: any value.
        timeout: seconds to wait for the reply; None waits forever. Default 5.0.

    Returns:
        The reply.

    Raises:
        NoProcess, CallingSelf, CallExit, CallTimeout, TypeError, ValueError: as for `call`.
        BaseException: what the server passed to `reply_error`.
        RuntimeError: no event loop is running.

    """
    return await calls.call_async(target, request, timeout)


def cast(target: Target, request: object) -> None:
    """Send a request to ``handle_cast`` of a server; do not wait.

    Does nothing if the target is dead or unknown. OTP: ``gen_server:cast/2``.

    >>> from gennostr import GenServer, NoReply, Ok, cast, get_state
    >>> class Log(GenServer):
    ...     def init(self, init_arg):
    ...         return Ok([])
    ...     def handle_cast(self, request, lines):
    ...         return NoReply([*lines, request])
    >>> with Log.start(name="log"):
    ...     cast("log", "started")
    ...     get_state("log")
    ['started']

    Args:
        target: a pid, a name or a via.
        request: any value.

    Raises:
        TypeError: `target` is not a pid, name or via.

    """
    process = resolve(target)
    if process is not None:
        process.put_from(current_process(), Cast(request))


def send(target: Target, message: object) -> None:
    """Send a message to ``handle_info`` of a process; do not wait.

    Does nothing if the target is dead or unknown. OTP: ``erlang:send/2``.

    >>> from gennostr import GenServer, NoReply, Ok, get_state, send
    >>> class Log(GenServer):
    ...     def init(self, init_arg):
    ...         return Ok([])
    ...     def handle_info(self, message, lines):
    ...         return NoReply([*lines, message])
    >>> with Log.start(name="log"):
    ...     send("log", "started")
    ...     get_state("log")
    ['started']

    Args:
        target: a pid, a name or a via.
        message: any value.

    Raises:
        TypeError: `target` is not a pid, name or via.

    """
    process = resolve(target)
    if process is not None:
        process.put_from(current_process(), message)


def stop(target: Target, reason: object = NORMAL, timeout: float | None = None) -> None:
    """Stop a server after the messages already queued, and wait until it is dead.

    terminate runs. OTP: ``gen_server:stop/3``.

    >>> from gennostr import GenServer, stop, whereis
    >>> server = GenServer.start(name="cache")
    >>> stop("cache")
    >>> whereis("cache")

    Args:
        target: a pid, a name or a via.
        reason: the exit reason; any value. Default NORMAL.
        timeout: seconds to wait; None, the default, waits forever.

    Raises:
        NoProcess: the target is dead or unknown.
        CallingSelf: the target is the calling process.
        CallExit: the target ended for another reason, for example a crash in terminate.
        CallTimeout: the target is still alive after `timeout` seconds; it will still stop.
        TypeError, ValueError: `target` is not a pid, name or via, or `timeout` is not a number of seconds.

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
    """Link the calling process to another one, so that they end together.

    When either ends, for any reason but NORMAL, the other ends with the same reason. If it traps exits, it receives an
    `Exit` instead, for NORMAL too. Linking twice is the same as once. If the target is dead or unknown, a
    caller that traps exits receives an `Exit` with reason NOPROC. OTP: ``erlang:link/1``.

    >>> from gennostr import GenServer, NoReply, Ok, link, reply
    >>> class Guard(GenServer):
    ...     trap_exit = True
    ...     def init(self, target):
    ...         link(target)
    ...         return Ok(None)
    ...     def handle_call(self, request, from_, state):
    ...         return NoReply(from_)
    ...     def handle_info(self, message, from_):
    ...         reply(from_, message)
    >>> server = GenServer.start()
    >>> with Guard.start(server) as guard:
    ...     pending = guard.send_request("what happens?")
    ...     server.exit("closed")
    ...     pending.wait()
    Exit(pid=<Pid GenServer#...>, reason='closed')

    Args:
        target: a pid, a name or a via.

    Raises:
        NoProcess: the target is dead or unknown, and the caller does not trap exits.
        RuntimeError: called in a plain thread.
        TypeError: `target` is not a pid, name or via.

    """
    me = require_process("link")
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
    """Remove the link to a process; no exit signal arrives through it afterwards.

    Does nothing if there is no link. An `Exit` that is already in the mailbox still arrives. OTP: ``erlang:unlink/1``.

    >>> from gennostr import GenServer, Ok, Reply, unlink
    >>> class Parent(GenServer):
    ...     def init(self, init_arg):
    ...         return Ok(GenServer.start_link())
    ...     def handle_call(self, request, from_, child):
    ...         unlink(child)
    ...         return Reply(child)
    >>> with Parent.start() as parent:
    ...     child = parent.call("let it go")
    >>> child.is_alive(), child.stop()
    (True, True)

    Args:
        target: a pid, a name or a via.

    Raises:
        RuntimeError: called in a plain thread.
        TypeError: `target` is not a pid, name or via.

    """
    me = require_process("unlink")
    process = resolve(target)
    if process is not None:
        me.unlink(process)


def monitor(target: Target) -> MonitorRef:
    """Monitor a process: the calling process receives a `Down` when it ends.

    Each monitor sends its own Down. If the target is dead or unknown, a Down with reason NOPROC arrives at once. OTP:
    ``erlang:monitor/2``.

    >>> from gennostr import GenServer, NoReply, monitor, reply
    >>> class Watcher(GenServer):
    ...     def handle_call(self, request, from_, state):
    ...         monitor(request)
    ...         return NoReply(from_)
    ...     def handle_info(self, message, from_):
    ...         reply(from_, message.reason)
    >>> with Watcher.start() as watcher:
    ...     watcher.call("nobody")
    NOPROC

    Args:
        target: a pid, a name or a via.

    Returns:
        The reference that its `Down` carries and `demonitor` takes.

    Raises:
        RuntimeError: called in a plain thread.
        TypeError: `target` is not a pid, name or via.

    """
    return require_process("monitor").monitor(resolve(target), target)


def demonitor(ref: MonitorRef, *, flush: bool = False) -> None:
    """Remove a monitor of the calling process.

    A monitor of another process is left unchanged. OTP: ``erlang:demonitor/2``.

    >>> from gennostr import GenServer, Reply, demonitor, monitor
    >>> class Watcher(GenServer):
    ...     def handle_call(self, request, from_, state):
    ...         ref = monitor(request)
    ...         demonitor(ref, flush=True)
    ...         return Reply("no Down will arrive")
    >>> with Watcher.start() as watcher:
    ...     watcher.call("nobody")
    'no Down will arrive'

    Args:
        ref: what `monitor` returned.
        flush: True to discard a Down that is already queued. Default False: it still arrives.

    Raises:
        TypeError: `ref` is not a `MonitorRef`.
        RuntimeError: called in a plain thread.

    """
    if not isinstance(ref, MonitorRef):
        raise TypeError(f"demonitor takes a MonitorRef, as returned by monitor, not {shown(ref)}")
    require_process("demonitor").demonitor(ref, flush=flush)
