"""GenServer: an actor that handles one message at a time in its callbacks.

    your class                          called for
    ----------                          ----------
    init(init_arg)                      start, start_link
    handle_call(request, from_, state)  call
    handle_cast(request, state)         cast
    handle_info(message, state)         send, Exit, Down, timers, TIMEOUT
    handle_continue(argument, state)    an outcome with continue_
    terminate(reason, state)            Stop, a crash, stop(), the parent's exit if exits are trapped

This is the whole contract of a server class. A separate object, the engine (`gennostr.otp.engine`), runs the server, so
every name on the class and on self is yours, except the public names defined here and pykka's.
"""

import logging
import threading
from functools import partial
from typing import Any, ClassVar, Generic, Unpack

import pykka

from gennostr.otp import (
    interpreter_exit,  # noqa: F401 - loaded with the first server, for `gennostr` to find at exit
    system,
)
from gennostr.otp.callbacks import check_class
from gennostr.otp.calls import Request
from gennostr.otp.child_spec import ChildSpec, Overrides
from gennostr.otp.engine import Engine
from gennostr.otp.envelopes import StopRequest
from gennostr.otp.names import Name, check_name
from gennostr.otp.outcomes import CallbackOutcome, CallOutcome, InitOutcome, Ok, S
from gennostr.otp.pid import Pid
from gennostr.otp.process import current_process
from gennostr.otp.reasons import NORMAL
from gennostr.otp.start import start
from gennostr.values import Concise, shown

logger = logging.getLogger(__name__)

# The engines of the library's own classes; a subclass uses the engine of its nearest base.
_engines: dict[type, type[Engine]] = {}


class GenServer(pykka.ThreadingActor, Generic[S], metaclass=Concise):
    """A server defined by its callbacks; each callback receives the current state.

    Subclass it, define the callbacks that you need, and start it. Callbacks run in the server's own thread, one at a
    time. If a callback raises (even SystemExit), this server alone ends, and the exception is its exit reason.
    ``GenServer[S]`` names the type of the state for type checkers.

    >>> from gennostr import GenServer, NoReply, Ok, Reply
    >>> class Counter(GenServer[int]):
    ...     def init(self, start):
    ...         return Ok(start)
    ...     def handle_call(self, request, from_, count):
    ...         return Reply(count)
    ...     def handle_cast(self, request, count):
    ...         return NoReply(count + request)
    >>> with Counter.start(5, name="counter") as counter:
    ...     counter.cast(2)
    ...     counter.call("count")
    7

    Any other name is yours, on the class and on self, except those of pykka, whose ThreadingActor this is:
    ``actor_ref`` (the same as `pid`), ``actor_urn``, ``actor_inbox`` and ``actor_stopped``. pykka's hooks
    (``on_start``, ``on_stop``, ``on_failure``, ``on_receive``) are not called: init, terminate and handle_info take
    their place. An ``__init__`` of your own has no arguments, calls ``super().__init__()`` first, and runs in the
    thread that calls ``start``; init is usually the better place. A class is checked when it is defined. OTP: the
    behaviour ``gen_server``.

    Attributes:
        trap_exit: if True, exit signals arrive as `Exit` messages. Set it on the class, or on self in a callback.
            Default False: an exit signal ends the server.
        use_daemon_thread: pykka's name; True, the default, so that a server that is still busy does not keep the
            interpreter from exiting.

    Raises:
        TypeError: a callback is ``async``, contains ``yield`` or does not accept its arguments, or the class overrides
            one of pykka's private names; the message names it.

    """

    use_daemon_thread: ClassVar[bool] = True
    trap_exit: bool = False
    """If True, exit signals arrive as `Exit` messages. Set it on the class, or on self in a callback."""

    # The callbacks.

    def init(self, init_arg: Any, /) -> InitOutcome[S]:
        """Return the first state; ``start`` waits for it.

        The default is ``Ok(init_arg)``. Its name is registered already, so init finds itself by it. OTP: ``init/1``.

        Args:
            init_arg: the argument of ``start``.

        Returns:
            `Ok`; IGNORE, if there is nothing to run; `Stop`, if it cannot start; or None (the state is None).

        """
        return Ok(init_arg)

    def handle_call(self, request: Any, from_: Request, state: S, /) -> CallOutcome[S]:
        """Handle a call.

        The default raises, which ends the server. OTP: ``handle_call/3``.

        Args:
            request: what the caller passed to ``call``.
            from_: the pending request; after `NoReply`, pass it to `reply` later.
            state: the current state.

        Returns:
            `Reply`, `NoReply` or `Stop`. None is invalid: the caller would wait in vain.

        """
        del from_, state
        raise NotImplementedError(f"{type(self).__name__} does not implement handle_call: {shown(request)}")

    def handle_cast(self, request: Any, state: S, /) -> CallbackOutcome[S]:
        """Handle a cast.

        The default raises, which ends the server. OTP: ``handle_cast/2``.

        Args:
            request: what the sender passed to ``cast``.
            state: the current state.

        Returns:
            `NoReply`, `Stop`, or None (the state is unchanged).

        """
        del state
        raise NotImplementedError(f"{type(self).__name__} does not implement handle_cast: {shown(request)}")

    def handle_info(self, message: Any, state: S, /) -> CallbackOutcome[S]:
        """Handle any other message: of ``send``, a timer, a link, a monitor, a timeout.

        These are `Exit`, `Down` and TIMEOUT, and what others send. The default logs the message at WARNING. OTP:
        ``handle_info/2``.

        Args:
            message: any value.
            state: the current state.

        Returns:
            `NoReply`, `Stop`, or None (the state is unchanged).

        """
        del state
        logger.warning("%r received a message that it does not handle: %s", self.pid, shown(message))
        return None

    def handle_continue(self, argument: Any, state: S, /) -> CallbackOutcome[S]:
        """Continue after a callback that returned an outcome with ``continue_``.

        It runs before any other message. The default raises, which ends the server. OTP: ``handle_continue/2``.

        >>> from gennostr import GenServer, NoReply, Ok, Reply
        >>> class Cache(GenServer):
        ...     def init(self, path):
        ...         return Ok({}, continue_=path)
        ...     def handle_continue(self, path, cache):
        ...         return NoReply({"loaded": path})
        ...     def handle_call(self, request, from_, cache):
        ...         return Reply(cache)
        >>> with Cache.start("a.txt") as cache:
        ...     cache.call("all")
        {'loaded': 'a.txt'}

        Args:
            argument: the ``continue_`` of the outcome.
            state: the current state.

        Returns:
            `NoReply`, `Stop`, or None (the state is unchanged).

        """
        del state
        raise NotImplementedError(f"{type(self).__name__} does not implement handle_continue: {shown(argument)}")

    def terminate(self, reason: Any, state: S, /) -> object:
        """Clean up before the server ends.

        Called after a `Stop`, a crash in a callback, and ``stop``; if exits are trapped, also when the parent exits.
        Not called after an untrapped exit signal, a kill, or a failed init. If it raises, that is the exit reason. OTP:
        ``terminate/2``.

        Args:
            reason: why the server ends.
            state: the last state.

        Returns:
            Any value; it is ignored.

        """

    def format_status(self, status: system.Status, /) -> system.Status:
        """Change what get_status and crash reports show, for example to hide secrets.

        If it raises, the status is shown unchanged, and the failure is logged. OTP: ``format_status/1``.

        >>> from dataclasses import replace
        >>> from gennostr import GenServer, get_status
        >>> class Vault(GenServer):
        ...     def format_status(self, status):
        ...         return replace(status, state="<hidden>")
        >>> with Vault.start("secret") as vault:
        ...     get_status(vault).state
        '<hidden>'

        Args:
            status: the `Status`; for a crash report, its `message` and `reason` are set too.

        Returns:
            A `Status`, for example ``dataclasses.replace(status, state=...)``.

        """
        return status

    def on_cancel(self) -> None:
        """Unblock the running callback: the server was killed.

        Called in the killer's thread while a callback may be running, so it must be quick and thread-safe: shut down a
        socket, set an event. The default does nothing.
        """

    # Starting.

    @classmethod
    def start(cls, init_arg: Any = None, name: Name | None = None, timeout: float | None = None) -> Pid:
        """Start a server; return its pid once init has succeeded.

        OTP: ``gen_server:start/4``.

        >>> from gennostr import GenServer
        >>> cache = GenServer.start({}, name="cache")
        >>> cache.stop()
        True

        Args:
            init_arg: the argument for init. Default None.
            name: a name to register before init runs: a string, or what `via` returns. Default None: no name.
            timeout: seconds that init may take; then the server is killed. Default None: no limit.

        Returns:
            The pid, or IGNORE if init returned it.

        Raises:
            StartError: init returned `Stop` or an invalid value, raised, or took longer than `timeout` seconds; or the
                system refused to create a thread.
            AlreadyStarted: the name is taken; init did not run.
            NoProcess: `name` is a via whose registry is dead.
            TypeError, ValueError: `name` or `timeout` is invalid.
            TypeError: the class has an ``__init__`` that takes arguments or does not call ``super().__init__()``.
            RuntimeError: this process was forked while actors were running.
            CallExit: the calling process was killed, or received an exit signal that it does not trap, while it waited.

        """
        return start(cls, init_arg, name, timeout, None)  # type: ignore[no-any-return]

    @classmethod
    def start_link(cls, init_arg: Any = None, name: Name | None = None, timeout: float | None = None) -> Pid:
        """Like `start`, but linked to the calling process before init runs.

        When either ends, for any reason but NORMAL, the other ends too, unless it traps exits; see `link`. In a plain
        thread there is no process to link to: the same as `start`. OTP: ``gen_server:start_link/4``.

        >>> from gennostr import SHUTDOWN, GenServer, Ok, Reply, stop
        >>> class Parent(GenServer):
        ...     def init(self, init_arg):
        ...         return Ok(GenServer.start_link())
        ...     def handle_call(self, request, from_, child):
        ...         return Reply(child)
        >>> parent = Parent.start()
        >>> child = parent.call("which child?")
        >>> stop(parent, SHUTDOWN)
        >>> child.actor_stopped.wait(5.0)
        True

        Args:
            init_arg: the argument for init. Default None.
            name: a name to register before init runs: a string, or what `via` returns. Default None: no name.
            timeout: seconds that init may take; then the server is killed. Default None: no limit.

        Returns:
            The pid, or IGNORE if init returned it.

        Raises:
            StartError: as for `start`. If init failed, the exit signal arrives through the link too: a calling actor
                that traps exits also receives an `Exit`, and any other ends with the same reason.
            AlreadyStarted, NoProcess, TypeError, ValueError, RuntimeError, CallExit: as for `start`.

        """
        return start(cls, init_arg, name, timeout, current_process())  # type: ignore[no-any-return]

    @classmethod
    def child_spec(cls, init_arg: Any = None, *, name: Name | None = None, **overrides: Unpack[Overrides]) -> ChildSpec:
        """Return a child spec for this server: permanent, with 5 s to shut down.

        With `name`, the server registers that name at each start and restart. The id is `name` if given, otherwise the
        class, so one supervisor can have several named servers of a class. Elixir: ``child_spec/1``.

        >>> from gennostr import GenServer
        >>> spec = GenServer.child_spec({}, name="cache", restart="transient", shutdown=2.0)
        >>> spec.id, spec.restart, spec.shutdown
        ('cache', 'transient', 2.0)

        Args:
            init_arg: the argument for init. Default None.
            name: the name to register. Default None: no name.
            overrides: fields of `ChildSpec`: id, start, restart, shutdown, type, significant.

        Raises:
            TypeError, ValueError: a field is invalid; the message names it.

        """
        check_name(name)
        start = partial(cls.start_link, init_arg) if name is None else partial(cls.start_link, init_arg, name=name)
        fields: Overrides = {"id": cls if name is None else name, "start": start}
        return ChildSpec(**(fields | overrides))

    # For callbacks.

    @property
    def pid(self) -> Pid:
        """This server's pid, for callbacks."""
        return self.__gennostr_engine.pid

    def stop(self) -> None:
        """Stop with reason NORMAL after the messages already queued.

        For callbacks, in which returning `Stop` is better; from outside, use `Pid.stop`.
        """
        self.__gennostr_engine.process.deliver(StopRequest(NORMAL))

    # What pykka needs.

    def __init__(self) -> None:
        """Create the server object; ``start`` does this, without arguments.

        A class can have an ``__init__`` of its own, without arguments, which calls this one first. It runs in the
        thread that calls ``start``; prefer `init`, which runs in the server's own thread.
        """
        super().__init__()
        engine = _engine_class(type(self))
        inbox: Any = self.actor_inbox
        # The library's only name in the user's namespace, mangled with the library's own name.
        self.__gennostr_engine = engine(self, engine.pid_class(self), inbox)
        self._actor_ref = self.__gennostr_engine.pid

    def __init_subclass__(cls, *, engine: type[Engine] | None = None, **more: Any) -> None:
        """Check the class; `engine` is for the library's own classes."""
        super().__init_subclass__(**more)
        if engine is not None:
            _engines[cls] = engine
        check_class(cls, GenServer, _engines, _engine_class(cls).own_callbacks)

    @classmethod
    def _create_actor_inbox(cls) -> Any:
        return _engine_class(cls).create_mailbox()

    @property
    def actor_stopped(self) -> threading.Event:
        """A ``threading.Event`` that is set once the actor is dead.

        Part of pykka's API, created on access.
        """
        # pykka's own constructor reads it, before there is a pid, for the handle that the pid replaces.
        engine: Engine | None = self.__dict__.get("_GenServer__gennostr_engine")
        return threading.Event() if engine is None else engine.pid.actor_stopped

    @actor_stopped.setter
    def actor_stopped(self, event: threading.Event) -> None:
        """Ignore the event that pykka creates for each actor: it takes a kilobyte."""

    def _start_actor_loop(self) -> None:
        # As pykka does, but the thread has the number of the pid.
        pid = self.__gennostr_engine.pid
        name = f"{pid.actor_class.__name__}#{pid.process.number}"
        threading.Thread(target=self._actor_loop, name=name, daemon=self.use_daemon_thread).start()

    def _actor_loop(self) -> None:
        self.__gennostr_engine.run()


_engines[GenServer] = Engine


def _engine_class(cls: type) -> type[Engine]:
    for base in cls.__mro__:
        engine = _engines.get(base)
        if engine is not None:
            return engine
    raise TypeError(f"{cls!r} is not a GenServer class")
