"""GenServer: a process that handles one message at a time by callbacks.

    your class                          called for
    ----------                          ----------
    init(init_arg)                      start, start_link
    handle_call(request, from_, state)  call
    handle_cast(request, state)         cast
    handle_info(message, state)         send, Exit, Down, timers, TIMEOUT
    handle_continue(argument, state)    an outcome's continue_
    terminate(reason, state)            Stop, a crash, stop(), the parent's exit if exits are trapped

This is the contract, and all that a class of servers has to know. What runs it (`gennostr.otp.engine`) is another
object: so all names on the class and on self are yours, but for the public ones here and pykka's.
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

# The engines of the library's own classes; a subclass has the one of its nearest base.
_engines: dict[type, type[Engine]] = {}


class GenServer(pykka.ThreadingActor, Generic[S]):
    """A server whose behaviour is its callbacks, and whose state is passed to each of them.

    Every callback runs in the server's own thread, one at a time. What a callback raises, SystemExit included, is
    the reason for which this server, and no other, ends.

    A class is checked when it is made.

    Raises:
        TypeError: a callback is ``async``, contains ``yield`` or does not take its arguments, or the class overrides a
            private name of pykka's; the message names it.

    """

    use_daemon_thread: ClassVar[bool] = True
    trap_exit: bool = False
    """True: exit signals arrive as `Exit` messages. Set it on the class, or on self in a callback."""

    # The callbacks.

    def init(self, init_arg: Any, /) -> InitOutcome[S]:
        """Return `Ok`, IGNORE, `Stop` or nothing (the state is None); start returns when this has."""
        return Ok(init_arg)

    def handle_call(self, request: Any, from_: Request, state: S, /) -> CallOutcome[S]:
        """Answer a call: `Reply`, `NoReply` (and later ``reply(from_, value)``) or `Stop`."""
        del from_, state
        raise NotImplementedError(f"{type(self).__name__} has no handle_call: {shown(request)}")

    def handle_cast(self, request: Any, state: S, /) -> CallbackOutcome[S]:
        """Handle a cast: `NoReply`, `Stop`, or nothing."""
        del state
        raise NotImplementedError(f"{type(self).__name__} has no handle_cast: {shown(request)}")

    def handle_info(self, message: Any, state: S, /) -> CallbackOutcome[S]:
        """Handle any other message: `NoReply`, `Stop`, or nothing. The default logs it."""
        del state
        logger.warning("%r got a message that it does not handle: %s", self.pid, shown(message))
        return None

    def handle_continue(self, argument: Any, state: S, /) -> CallbackOutcome[S]:
        """Continue after a callback whose outcome had ``continue_``: `NoReply`, `Stop`, or nothing."""
        del state
        raise NotImplementedError(f"{type(self).__name__} has no handle_continue: {shown(argument)}")

    def terminate(self, reason: Any, state: S, /) -> object:
        """Clean up. Not run after an exit signal that is not trapped, a kill, or a failed init."""

    def format_status(self, status: system.Status, /) -> system.Status:
        """Change what get_status and a crash report show, to hide secrets in the state.

        Return ``dataclasses.replace(status, state=...)``; for a crash report, `status` also has its `message` and
        `reason`.
        """
        return status

    def on_cancel(self) -> None:
        """Unblock the callback under way: the server was killed. Runs in the killer's thread."""

    # Starting.

    @classmethod
    def start(cls, init_arg: Any = None, name: Name | None = None, timeout: float | None = None) -> Pid:
        """Start a server and return its pid when init has succeeded, or IGNORE if init returned that.

        Raises:
            StartError: init stopped, raised, returned something else, or took longer than `timeout` seconds; or the
                system refused a thread.
            AlreadyStarted: the name is taken; init did not run.
            NoProcess: the name is a via of a registry that is dead.
            TypeError, ValueError: `name` or `timeout` is invalid.
            RuntimeError: this is a child forked while actors ran.

        """
        return start(cls, init_arg, name, timeout, None)  # type: ignore[no-any-return]

    @classmethod
    def start_link(cls, init_arg: Any = None, name: Name | None = None, timeout: float | None = None) -> Pid:
        """Like `start`, linked to the calling process from before init; in a plain thread, the same as start."""
        return start(cls, init_arg, name, timeout, check_fence())  # type: ignore[no-any-return]

    @classmethod
    def child_spec(cls, init_arg: Any = None, *, name: Name | None = None, **overrides: Unpack[Overrides]) -> ChildSpec:
        """Return how a supervisor starts this server: permanent, with 5 s to shut down.

        With `name` the server is started under that name, also after a restart. The id is the class, or the name where
        there is one, so that several servers of a class can have one supervisor. `overrides` are fields of `ChildSpec`.

        Raises:
            TypeError, ValueError: a field is invalid; the message names it.

        """
        check_name(name)
        start = partial(cls.start_link, init_arg) if name is None else partial(cls.start_link, init_arg, name=name)
        fields: Overrides = {"id": cls if name is None else name, "start": start}
        return ChildSpec(**(fields | overrides))

    # What a callback may use.

    @property
    def pid(self) -> Pid:
        """This server's pid."""
        return self.__gennostr_engine.pid

    def stop(self) -> None:
        """Stop with reason NORMAL after what is queued already; inside a callback prefer `Stop`."""
        self.__gennostr_engine.process.deliver(StopRequest(NORMAL))

    # What pykka needs.

    def __init__(self) -> None:
        super().__init__()
        engine = _engine_class(type(self))
        inbox: Any = self.actor_inbox
        # The one name of the library's in the user's namespace, mangled with the library's own name.
        self.__gennostr_engine = engine(self, engine.pid_class(self), inbox)
        self._actor_ref = self.__gennostr_engine.pid

    def __init_subclass__(cls, *, engine: type[Engine] | None = None, **more: Any) -> None:
        """Check the class; `engine` is for the library's own."""
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
