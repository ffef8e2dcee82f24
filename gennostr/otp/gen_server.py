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
from gennostr.otp.process import check_fence
from gennostr.otp.reasons import NORMAL
from gennostr.otp.start import start
from gennostr.values import shown

logger = logging.getLogger(__name__)

# The engines of the library's own classes; a subclass uses the engine of its nearest base.
_engines: dict[type, type[Engine]] = {}


class GenServer(pykka.ThreadingActor, Generic[S]):
    """A server defined by its callbacks; each callback receives the current state.

    Callbacks run in the server's own thread, one at a time. If a callback raises (even SystemExit), this server alone
    ends, and the exception is its exit reason.

    A class is checked when it is defined.

    Raises:
        TypeError: a callback is ``async``, contains ``yield`` or does not accept its arguments, or the class overrides
            one of pykka's private names; the message names it.

    """

    use_daemon_thread: ClassVar[bool] = True
    trap_exit: bool = False
    """If True, exit signals arrive as `Exit` messages. Set it on the class, or on self in a callback."""

    # The callbacks.

    def init(self, init_arg: Any, /) -> InitOutcome[S]:
        """Return `Ok`, IGNORE, `Stop`, or None (the state is None); ``start`` waits for it."""
        return Ok(init_arg)

    def handle_call(self, request: Any, from_: Request, state: S, /) -> CallOutcome[S]:
        """Handle a call; return `Reply`, `NoReply` or `Stop`.

        After `NoReply`, call ``reply(from_, value)`` later.
        """
        del from_, state
        raise NotImplementedError(f"{type(self).__name__} has no handle_call: {shown(request)}")

    def handle_cast(self, request: Any, state: S, /) -> CallbackOutcome[S]:
        """Handle a cast; return `NoReply`, `Stop`, or None."""
        del state
        raise NotImplementedError(f"{type(self).__name__} has no handle_cast: {shown(request)}")

    def handle_info(self, message: Any, state: S, /) -> CallbackOutcome[S]:
        """Handle any other message; return `NoReply`, `Stop`, or None. The default logs the message."""
        del state
        logger.warning("%r got a message that it does not handle: %s", self.pid, shown(message))
        return None

    def handle_continue(self, argument: Any, state: S, /) -> CallbackOutcome[S]:
        """Continue after a callback that returned ``continue_``; return `NoReply`, `Stop`, or None."""
        del state
        raise NotImplementedError(f"{type(self).__name__} has no handle_continue: {shown(argument)}")

    def terminate(self, reason: Any, state: S, /) -> object:
        """Clean up. Not called after an untrapped exit signal, a kill, or a failed init."""

    def format_status(self, status: system.Status, /) -> system.Status:
        """Change what get_status and crash reports show, for example to hide secrets in the state.

        Return ``dataclasses.replace(status, state=...)``. For a crash report, `message` and `reason` of `status` are
        set too.
        """
        return status

    def on_cancel(self) -> None:
        """Unblock the running callback: the server was killed. Runs in the killer's thread."""

    # Starting.

    @classmethod
    def start(cls, init_arg: Any = None, name: Name | None = None, timeout: float | None = None) -> Pid:
        """Start a server; return its pid once init has succeeded, or IGNORE if init returned it.

        Raises:
            StartError: init returned `Stop` or an invalid value, raised, or took longer than `timeout` seconds; or the
                system refused to create a thread.
            AlreadyStarted: the name is taken; init did not run.
            NoProcess: `name` is a via whose registry is dead.
            TypeError, ValueError: `name` or `timeout` is invalid.
            RuntimeError: this process was forked while actors were running.

        """
        return start(cls, init_arg, name, timeout, None)  # type: ignore[no-any-return]

    @classmethod
    def start_link(cls, init_arg: Any = None, name: Name | None = None, timeout: float | None = None) -> Pid:
        """Like `start`, but linked to the calling process before init runs.

        In a plain thread, the same as `start`.
        """
        return start(cls, init_arg, name, timeout, check_fence())  # type: ignore[no-any-return]

    @classmethod
    def child_spec(cls, init_arg: Any = None, *, name: Name | None = None, **overrides: Unpack[Overrides]) -> ChildSpec:
        """Return a child spec for this server: permanent, with 5 s to shut down.

        With `name`, the server registers that name at each start and restart. The id is `name` if given, otherwise the
        class, so one supervisor can have several named servers of a class. `overrides` are fields of `ChildSpec`.

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
        """This server's pid."""
        return self.__gennostr_engine.pid

    def stop(self) -> None:
        """Stop with reason NORMAL after the messages already queued.

        In a callback, prefer to return `Stop`.
        """
        self.__gennostr_engine.process.deliver(StopRequest(NORMAL))

    # What pykka needs.

    def __init__(self) -> None:
        super().__init__()
        engine = _engine_class(type(self))
        inbox: Any = self.actor_inbox
        # The library's only name in the user's namespace, mangled with the library's own name.
        self.__gennostr_engine = engine(self, engine.pid_class(self), inbox)
        self._actor_ref = self.__gennostr_engine.pid

    def __init_subclass__(cls, *, engine: type[Engine] | None = None, **more: Any) -> None:
        """Check the class; `engine` is for the library's own classes."""
        super().__init_subclass__(**more)
        check_class(cls, GenServer, _engine_class(cls).own_callbacks)
        if engine is not None:
            _engines[cls] = engine

    @classmethod
    def _create_actor_inbox(cls) -> Any:
        return _engine_class(cls).create_mailbox()

    def _actor_loop(self) -> None:
        self.__gennostr_engine.run()


_engines[GenServer] = Engine


def _engine_class(cls: type) -> type[Engine]:
    for base in cls.__mro__:
        engine = _engines.get(base)
        if engine is not None:
            return engine
    raise TypeError(f"{cls!r} is no class of servers")
