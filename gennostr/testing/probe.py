"""Probe: an actor whose part the test plays.

A probe has a pid and a mailbox, but no thread and no callbacks: what arrives waits, in its order, until the test
expects it. Its pid goes wherever a pid goes; it can be linked, monitored, named, called, and start actors that are
linked to it. It traps exits. In a ``with`` statement the thread acts as the probe: what it sends, links, monitors and
starts there, the probe does. ::

    with Probe() as probe:
        server = Server.start_link(probe.pid)
        call = probe.expect_call("name?")
        call.reply("probe")
        server.stop()
        probe.expect_exit(server, NORMAL)

Every expectation is about the next message; ``fish_for`` alone skips others. What is wanted may be said as

- a type: the message is of that type (or is that type itself),
- a function: it returns something true for the message,
- any other value: the message equals it.

Expectations wait `timeout` seconds of the machine's time (1 if none is given, or what `within` has left) and fail by an
AssertionError that says what was wanted, and what is there instead.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from functools import partial
from queue import Empty
from types import BuiltinFunctionType, FunctionType, MethodType, TracebackType
from typing import Any, Final, Self, TypeVar, cast, get_args, overload

from gennostr.exceptions import AlreadyRegistered, AlreadyStarted
from gennostr.otp import pid as functions
from gennostr.otp import system
from gennostr.otp.calls import Request, reply, reply_error
from gennostr.otp.crash_report import shown
from gennostr.otp.gen_server import GenServer
from gennostr.otp.messages import WAKE, Cast, Down, Exit, StopRequest
from gennostr.otp.names import Name, check_name, register_name
from gennostr.otp.pid import Pid, Target
from gennostr.otp.process import MonitorRef, Process, act_as, current
from gennostr.otp.reasons import NORMAL, SHUTDOWN

T = TypeVar("T")

PATIENCE: Final = 1.0
"""Seconds that an expectation waits if nothing else is said."""
MOST_SHOWN: Final = 10
"""Messages of the mailbox that a failure shows."""


class Anything(Enum):
    """The type of ANYTHING."""

    ANYTHING = "anything"

    def __repr__(self) -> str:
        return self.value


_PREDICATES = (FunctionType, MethodType, BuiltinFunctionType, partial)

ANYTHING: Final = Anything.ANYTHING
"""Wanted where anything will do."""


class ReceivedCall:
    """A call that waits for its answer: ``reply`` or ``fail``, from any thread; the first wins."""

    def __init__(self, request: Request) -> None:
        self.from_ = request
        self.message = request.message

    def __repr__(self) -> str:
        return f"<call {shown(self.message)} from {self.from_.caller!r}>"

    def reply(self, value: object) -> None:
        """Have the call return `value`."""
        reply(self.from_, value)

    def fail(self, exception: BaseException) -> None:
        """Have the call raise `exception`."""
        reply_error(self.from_, exception)


class Probe:
    """An actor handle without a thread. `name` is a string or a via, as for any actor.

    Raises:
        AlreadyStarted: the name is taken.
        TypeError: it is no name.

    """

    def __init__(self, name: Name | None = None) -> None:
        check_name(name)
        actor = _Actor()
        process = actor._process
        process.name = name
        if name is not None:
            try:
                register_name(name, process)
            except AlreadyRegistered as taken:
                raise AlreadyStarted(taken.pid) from None
        self.pid: Pid = process.pid
        self._process = process
        self._inbox = actor._inbox()
        # What was taken from the mailbox and is still to be expected.
        self._received: deque[object] = deque()
        # When the shared deadline of `within` is.
        self._until: float | None = None
        # Who acted in this thread before the probe did.
        self._before: list[Process | None] = []

    def __repr__(self) -> str:
        return repr(self.pid)

    # Its life.

    def __enter__(self) -> Self:
        self._before.append(current())
        act_as(self._process)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        act_as(self._before.pop())
        if not self._before:
            self.stop(SHUTDOWN)

    def stop(self, reason: object = NORMAL) -> None:
        """End the probe: who is linked gets the exit, who monitors the Down, who waits for an answer CallExit.

        The end of a ``with`` statement does so, with reason SHUTDOWN: what it has started and linked ends too.
        """
        self._process.die(reason)

    def link(self, target: Target) -> None:
        """See `gennostr.link`."""
        self._acting(lambda: functions.link(target))

    def unlink(self, target: Target) -> None:
        """See `gennostr.unlink`."""
        self._acting(lambda: functions.unlink(target))

    def monitor(self, target: Target) -> MonitorRef:
        """See `gennostr.monitor`."""
        return self._acting(lambda: functions.monitor(target))

    def demonitor(self, ref: MonitorRef, *, flush: bool = False) -> None:
        """See `gennostr.demonitor`."""
        self._acting(lambda: functions.demonitor(ref, flush=flush))

    def _acting(self, function: Callable[[], T]) -> T:
        before = current()
        act_as(self._process)
        try:
            return function()
        finally:
            act_as(before)

    # What it expects.

    @overload
    def expect(self, wanted: type[T], timeout: float | None = None) -> T: ...
    @overload
    def expect(self, wanted: Callable[[Any], object], timeout: float | None = None) -> Any: ...
    @overload
    def expect(self, wanted: T, timeout: float | None = None) -> T: ...
    def expect(self, wanted: Any = ANYTHING, timeout: float | None = None) -> Any:
        """Return the next message, which must be a sent one (no call, no cast) and the `wanted` one.

        An Exit, a Down and what a timer sends are messages like any other.
        """
        return self._expect("message", wanted, timeout)

    def expect_call(self, request: object = ANYTHING, timeout: float | None = None) -> ReceivedCall:
        """Return the next message, which must be a call with this `request`, to be answered."""
        return cast("ReceivedCall", self._expect("call", request, timeout))

    def expect_cast(self, request: object = ANYTHING, timeout: float | None = None) -> Any:
        """Return the request of the next message, which must be a cast of this `request`."""
        return self._expect("cast", request, timeout)

    def expect_exit(
        self, pid: Pid | Anything | None = ANYTHING, reason: object = ANYTHING, timeout: float | None = None
    ) -> Exit:
        """Return the next message, which must be the Exit of `pid` for `reason` (said as any wanted message)."""
        wanted = _Ended(Exit, pid, reason)
        return cast("Exit", self._expect("message", wanted, timeout))

    def expect_down(
        self, target: "Target | Anything" = ANYTHING, reason: object = ANYTHING, timeout: float | None = None
    ) -> Down:
        """Return the next message, which must be the Down of `target` (the pid or name that is monitored)."""
        wanted = _Ended(Down, target, reason)
        return cast("Down", self._expect("message", wanted, timeout))

    def expect_no_message(self, within: float = 0.1) -> None:
        """Wait `within` seconds, in which nothing may arrive, nor be there already."""
        try:
            self._front(time.monotonic() + within)
        except Empty:
            return
        raise AssertionError(f"{self!r} expected no message within {within:g} s\n{self._mailbox()}")

    def receive_n(self, n: int, timeout: float | None = None) -> list[Any]:
        """Return the next `n` messages: of a cast its request, of a call the `ReceivedCall`."""
        deadline, seconds = self._deadline(timeout)
        for count in range(n):
            try:
                self._front(deadline, count)
            except Empty:
                raise self._missed(f"{n} messages", seconds) from None
        return [_content(self._received.popleft())[1] for _ in range(n)]

    def fish_for(self, predicate: object, ignore: object = ANYTHING, timeout: float | None = None) -> Any:
        """Return the first message that fits `predicate`; those before it are dropped, and must fit `ignore`.

        Both are said as any wanted message; they are given what `receive_n` returns.
        """
        deadline, seconds = self._deadline(timeout)
        dropped: list[str] = []
        while True:
            try:
                item = self._front(deadline)
            except Empty:
                note = f"\nignored: {_shown(dropped)}" if dropped else ""
                raise self._missed(f"a message that is {said(predicate)}", seconds, note) from None
            content = _content(item)[1]
            if fits(content, predicate):
                self._received.popleft()
                return content
            if not fits(content, ignore):
                wanted = f"a message that is {said(predicate)}, or to be ignored"
                raise AssertionError(f"{self!r} expected {wanted}\nbut got {_told(item)}\n{self._mailbox()}")
            dropped.append(_told(self._received.popleft()))

    @contextmanager
    def within(self, seconds: float) -> Iterator[Self]:
        """Give all expectations in a ``with`` statement one deadline, `seconds` from now."""
        before = self._until
        deadline = time.monotonic() + seconds
        self._until = deadline if before is None else min(before, deadline)
        try:
            yield self
        finally:
            self._until = before

    # How.

    def _deadline(self, timeout: float | None) -> tuple[float, float]:
        """Return when an expectation fails, and how many seconds that is from now."""
        now = time.monotonic()
        if self._until is None:
            seconds = PATIENCE if timeout is None else timeout
        else:
            left = max(0.0, self._until - now)
            seconds = left if timeout is None else min(timeout, left)
        return now + seconds, seconds

    def _front(self, deadline: float, index: int = 0) -> object:
        """Return the message that is `index` places from the front, when it is there; queue.Empty at the deadline."""
        while len(self._received) <= index:
            remaining = deadline - time.monotonic()
            item = self._inbox.get(timeout=remaining) if remaining > 0 else self._inbox.get(block=False)
            if item is not WAKE and not (isinstance(item, Down) and item.ref.flushed):
                self._received.append(item)
        return self._received[index]

    def _expect(self, kind: str, wanted: object, timeout: float | None) -> object:
        deadline, seconds = self._deadline(timeout)
        expected = f"a {kind}" if wanted is ANYTHING else f"a {kind} that is {said(wanted)}"
        try:
            item = self._front(deadline)
        except Empty:
            raise self._missed(expected, seconds) from None
        found, content = _content(item)
        if found == kind and fits(content.message if isinstance(content, ReceivedCall) else content, wanted):
            self._received.popleft()
            return content
        raise AssertionError(f"{self!r} expected {expected}\nbut the next is {_told(item)}\n{self._mailbox()}")

    def _missed(self, wanted: str, seconds: float, note: str = "") -> AssertionError:
        mailbox = self._mailbox()
        late = "\n(what is there came just after the deadline)" if self._received and not note else ""
        return AssertionError(f"{self!r} expected {wanted} within {seconds:g} s\n{mailbox}{note}{late}")

    def _mailbox(self) -> str:
        """Show what is there."""
        try:
            while True:
                self._front(0.0, len(self._received))
        except Empty:
            pass
        ended = f"\nthe probe has ended: {shown(self._process.reason)}" if self._process.dead else ""
        if not self._received:
            return f"its mailbox is empty{ended}"
        return f"its mailbox: {_shown(list(map(_told, self._received)))}{ended}"


class _ProbeProcess(Process):
    """Answers itself what other actors' threads answer for them: a stop, and system messages."""

    __slots__ = ()

    def deliver(self, message: object) -> None:
        if not self._answer(message):
            super().deliver(message)

    def put_from(self, sender: Process | None, message: object) -> bool:
        # Not under the sender's lock, as all else is put: an end takes the locks of those who are told.
        if sender is not None and sender.is_dead():
            return False
        return self._answer(message) or super().put_from(sender, message)

    def _answer(self, message: object) -> bool:
        """Do what `message` asks for; False if it is none of those."""
        if isinstance(message, StopRequest):
            self.die(message.reason)
            return True
        actor = self.actor
        if isinstance(message, Request) and type(message.message) in _SYSTEM and isinstance(actor, _Actor):
            actor._receive_system(message)
            return True
        return False


class _Actor(GenServer[None]):
    """What makes a probe a process: it is never started."""

    trap_exit = True
    _process_class = _ProbeProcess

    def _activity(self) -> str:
        return "probe"


_Actor.__name__ = "Probe"


_SYSTEM = frozenset(get_args(system.SystemMessage))


class _Ended:
    """Wanted: an Exit or a Down."""

    def __init__(self, kind: type[Exit | Down], pid: object, reason: object) -> None:
        self.kind = kind
        self.pid = pid
        self.reason = reason

    def __repr__(self) -> str:
        return f"{self.kind.__name__}({shown(self.pid)}, {said(self.reason)})"

    def fits(self, message: object) -> bool:
        return (
            isinstance(message, self.kind)
            and (self.pid is ANYTHING or message.pid is self.pid or message.pid == self.pid)
            and fits(message.reason, self.reason)
        )


def _content(item: object) -> tuple[str, Any]:
    """Return what kind of message `item` is, and what the test gets of it."""
    if isinstance(item, Cast):
        return "cast", item.message
    if isinstance(item, Request):
        return "call", ReceivedCall(item)
    return "message", item


def fits(content: object, wanted: object) -> bool:
    """Whether `content` is what is `wanted`: see above for how that is said."""
    if wanted is ANYTHING or content is wanted:
        return True
    if isinstance(wanted, _Ended):
        return wanted.fits(content)
    if isinstance(wanted, type):
        return isinstance(content, wanted)
    if isinstance(wanted, _PREDICATES):
        return bool(wanted(content))
    return bool(content == wanted)


def said(wanted: object) -> str:
    """Say what is wanted, for a failure's message."""
    if isinstance(wanted, type):
        return f"of type {wanted.__name__}"
    if isinstance(wanted, FunctionType):
        return f"what {wanted.__name__} (line {wanted.__code__.co_firstlineno}) accepts"
    return shown(wanted)


def _told(item: object) -> str:
    kind, content = _content(item)
    return repr(content) if kind == "call" else f"{kind} {shown(content)}"


def _shown(told: list[str]) -> str:
    lines = "".join(f"\n  {each}" for each in told[:MOST_SHOWN])
    more = f"\n  and {len(told) - MOST_SHOWN} more" if len(told) > MOST_SHOWN else ""
    return f"{len(told)} message{'s' * (len(told) != 1)}{lines}{more}"
