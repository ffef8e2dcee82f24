"""Probe: an actor that the test controls.

A probe has a pid and a mailbox, but no thread and no callbacks: messages wait, in order of arrival, until the test
expects them. Its pid works wherever a pid does; it can be linked, monitored, named and called, and can start actors
linked to it. It traps exits. In a ``with`` statement the thread acts as the probe: whatever the thread sends, links,
monitors or starts there, the probe does.

    with Probe() as probe:
        server = Server.start_link(probe.pid)
        call = probe.expect_call("name?")
        call.reply("probe")
        server.stop()
        probe.expect_exit(server, NORMAL)

Every expectation checks the next message; only `Probe.fish_for` skips messages. The expected message can be given as

- a type: the message must be an instance of it (or the type itself),
- a function: it must return a true value for the message; an exception that it raises propagates,
- any other value: the message must be identical or equal to it. If ``==`` raises, or returns something without a truth
  value (as arrays do), the two differ: for such messages, use a function.

Expectations wait for `timeout` seconds of machine time (default: 1, or the time left in `Probe.within`). They fail with
an AssertionError that says what was expected, and what is in the mailbox instead.

Code that runs in the test's own thread, as the probe, can send requests to the probe if it does not block until they
are answered: with `send_request`, and in coroutines with `call_async`. A blocking call could never be answered, and
raises CallingSelf at once; make it in another thread.
"""

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
from gennostr.otp.clock import MACHINE
from gennostr.otp.engine import Engine, open_signal
from gennostr.otp.envelopes import Cast, StopRequest
from gennostr.otp.gen_server import GenServer
from gennostr.otp.names import Name, check_name, register_name
from gennostr.otp.pid import Pid, Target
from gennostr.otp.process import MonitorRef, Process, act_as, current_process
from gennostr.otp.reasons import NORMAL, SHUTDOWN
from gennostr.otp.signals import Down, Exit
from gennostr.values import shown

T = TypeVar("T")

PATIENCE: Final = 1.0
"""The default timeout of an expectation, in seconds."""
MOST_SHOWN: Final = 10
"""The maximum number of messages of the mailbox shown in a failure."""


class Anything(Enum):
    """The type of ANYTHING."""

    ANYTHING = "anything"

    def __repr__(self) -> str:
        return self.value


_PREDICATES = (FunctionType, MethodType, BuiltinFunctionType, partial)

ANYTHING: Final = Anything.ANYTHING
"""Matches any message, pid or reason: ``probe.expect_exit(ANYTHING, ValueError)``."""


class ReceivedCall:
    """A call that a probe has received, to be answered with `reply` or `fail`.

    Both can be used from any thread; only the first answer counts.

    >>> from gennostr.testing import Probe
    >>> with Probe() as probe:
    ...     pending = probe.pid.send_request("2 + 3")
    ...     call = probe.expect_call()
    ...     message = call.message
    ...     call.reply(5)
    ...     answer = pending.wait()
    >>> message, answer
    ('2 + 3', 5)
    """

    def __init__(self, request: Request) -> None:
        self.from_ = request
        """What ``handle_call`` would get as `from_`; ``from_.caller`` is the calling process, or `None`."""
        self.message = request.message
        """The request of the call."""

    def __repr__(self) -> str:
        return f"<call {shown(self.message)} from {self.from_.caller!r}>"

    def reply(self, value: object) -> None:
        """Make the call return `value` in its caller."""
        reply(self.from_, value)

    def fail(self, exception: BaseException) -> None:
        """Make the call raise `exception` in its caller.

        Raises:
            TypeError: it is not an exception.

        """
        reply_error(self.from_, exception)


class Probe:
    """An actor without a thread, controlled by the test.

    >>> from gennostr import GenServer
    >>> from gennostr.testing import Probe
    >>> class Greeter(GenServer):
    ...     def handle_info(self, message, state):
    ...         message.send("hello")
    >>> with Probe() as probe, Greeter.start() as greeter:
    ...     greeter.send(probe.pid)
    ...     probe.expect(str)
    'hello'

    A failed expectation shows the mailbox:

    >>> with Probe() as probe:
    ...     probe.pid.send("something else")
    ...     probe.expect("hello")
    Traceback (most recent call last):
    AssertionError: <Pid Probe#...> expected a message that is 'hello'
    but the next is message 'something else'
    its mailbox: 1 message
      message 'something else'

    At the end of the ``with`` statement the probe ends with reason SHUTDOWN, so actors started linked to it end too.

    Args:
        name: a name or a via to register it under, as for any actor. Default: no name.

    Attributes:
        pid: the probe's pid.

    Raises:
        AlreadyStarted: the name is taken.
        TypeError: `name` is neither text nor a via.

    """

    def __init__(self, name: Name | None = None) -> None:
        check_name(name)
        actor = _Actor()
        process = actor.pid.process
        process.name = name
        if name is not None:
            try:
                register_name(name, process)
            except AlreadyRegistered as taken:
                raise AlreadyStarted(taken.pid) from None
        self.pid: Pid = process.pid
        self._process = process
        self._inbox = process.mailbox
        # Messages taken from the mailbox and not yet expected.
        self._received: deque[object] = deque()
        # The shared deadline of `within`.
        self._until: float | None = None
        # The processes that this thread acted as before it acted as the probe.
        self._before: list[Process | None] = []

    def __repr__(self) -> str:
        return repr(self.pid)

    # Lifecycle.

    def __enter__(self) -> Self:
        self._before.append(current_process())
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
        """End the probe with `reason`.

        Linked processes get the exit signal, monitors the Down, and callers still waiting a CallExit. The end of a
        ``with`` statement does this with reason SHUTDOWN, so actors started linked to it end too.
        """
        self._process.die(reason)

    def link(self, target: Target) -> None:
        """Link the probe to `target`, a pid, name or via; see `gennostr.link`."""
        self._acting(lambda: functions.link(target))

    def unlink(self, target: Target) -> None:
        """Remove the link between the probe and `target`; see `gennostr.unlink`."""
        self._acting(lambda: functions.unlink(target))

    def monitor(self, target: Target) -> MonitorRef:
        """Monitor `target`, a pid, name or via, as the probe; see `gennostr.monitor`.

        `expect_down` receives its end.
        """
        return self._acting(lambda: functions.monitor(target))

    def demonitor(self, ref: MonitorRef, *, flush: bool = False) -> None:
        """Remove a monitor of the probe; see `gennostr.demonitor`.

        With `flush`, a Down that is in the mailbox already is discarded.
        """
        self._acting(lambda: functions.demonitor(ref, flush=flush))

    def _acting(self, function: Callable[[], T]) -> T:
        before = current_process()
        act_as(self._process)
        try:
            return function()
        finally:
            act_as(before)

    # Expectations.

    @overload
    def expect(self, wanted: Anything = ANYTHING, timeout: float | None = None) -> Any: ...
    @overload
    def expect(self, wanted: type[T], timeout: float | None = None) -> T: ...
    @overload
    def expect(self, wanted: Callable[[Any], object], timeout: float | None = None) -> Any: ...
    @overload
    def expect(self, wanted: T, timeout: float | None = None) -> T: ...
    def expect(self, wanted: Any = ANYTHING, timeout: float | None = None) -> Any:
        """Return the next message, which must match `wanted`.

        It must be neither a call nor a cast. An Exit, a Down and a timer's message are ordinary messages.

        Args:
            wanted: a type, a function or a value, see `gennostr.testing.probe`. Default: any message.
            timeout: the maximum wait, in seconds. Default: 1, or the time left in `within`.

        Raises:
            AssertionError: the next message is another, or no message arrives in time.

        """
        return self._expect("message", wanted, timeout)

    def expect_call(self, request: object = ANYTHING, timeout: float | None = None) -> ReceivedCall:
        """Return the next message, which must be a call whose request matches `request`.

        Args:
            request: a type, a function or a value. Default: any request.
            timeout: the maximum wait, in seconds. Default: 1, or the time left in `within`.

        Raises:
            AssertionError: the next message is another, or no message arrives in time.

        """
        return cast("ReceivedCall", self._expect("call", request, timeout))

    def expect_cast(self, request: object = ANYTHING, timeout: float | None = None) -> Any:
        """Return the request of the next message, which must be a cast that matches.

        Args:
            request: a type, a function or a value. Default: any request.
            timeout: the maximum wait, in seconds. Default: 1, or the time left in `within`.

        Raises:
            AssertionError: the next message is another, or no message arrives in time.

        """
        return self._expect("cast", request, timeout)

    def expect_exit(
        self, pid: Pid | Anything | None = ANYTHING, reason: object = ANYTHING, timeout: float | None = None
    ) -> Exit:
        """Return the next message, which must be the Exit of `pid` with `reason`.

        Args:
            pid: the linked process that ended. Default: any.
            reason: a type, a function or a value. Default: any reason.
            timeout: the maximum wait, in seconds. Default: 1, or the time left in `within`.

        Raises:
            AssertionError: the next message is another, or no message arrives in time.

        """
        wanted = _Ended(Exit, pid, reason)
        return cast("Exit", self._expect("message", wanted, timeout))

    def expect_down(
        self, target: "Target | Anything" = ANYTHING, reason: object = ANYTHING, timeout: float | None = None
    ) -> Down:
        """Return the next message, which must be the Down of `target` with `reason`.

        Args:
            target: the pid, name or via, as it was monitored. Default: any.
            reason: a type, a function or a value. Default: any reason.
            timeout: the maximum wait, in seconds. Default: 1, or the time left in `within`.

        Raises:
            AssertionError: the next message is another, or no message arrives in time.

        """
        wanted = _Ended(Down, target, reason)
        return cast("Down", self._expect("message", wanted, timeout))

    def expect_no_message(self, within: float = 0.1) -> None:
        """Check that the mailbox is empty and stays empty for `within` seconds.

        Raises:
            AssertionError: there is a message; it stays in the mailbox.

        """
        try:
            self._front(MACHINE.monotonic() + within)
        except Empty:
            return
        raise AssertionError(f"{self!r} expected no message within {within:g} s\n{self._mailbox()}")

    def receive_n(self, n: int, timeout: float | None = None) -> list[Any]:
        """Return the next `n` messages, in order of arrival.

        For a cast, the list has its request; for a call, a `ReceivedCall`.

        Args:
            n: how many.
            timeout: the maximum wait for all of them, in seconds. Default: 1, or the time left in `within`.

        Raises:
            AssertionError: there are fewer in time; they stay in the mailbox.

        """
        deadline, seconds = self._deadline(timeout)
        for count in range(n):
            try:
                self._front(deadline, count)
            except Empty:
                raise self._missed(f"{n} messages", seconds) from None
        return [_content(self._received.popleft())[1] for _ in range(n)]

    def fish_for(self, predicate: object, ignore: object = ANYTHING, timeout: float | None = None) -> Any:
        """Return the first message that matches `predicate`, and drop those before it.

        Messages are matched as `receive_n` returns them.

        Args:
            predicate: a type, a function or a value.
            ignore: what the dropped messages must match. Default: any message.
            timeout: the maximum wait, in seconds. Default: 1, or the time left in `within`.

        Raises:
            AssertionError: a message matches neither, or none matches `predicate` in time.

        """
        deadline, seconds = self._deadline(timeout)
        dropped: list[str] = []
        while True:
            try:
                item = self._front(deadline)
            except Empty:
                note = f"\nignored: {_listed(dropped)}" if dropped else ""
                raise self._missed(described("a message", predicate), seconds, note) from None
            content = _content(item)[1]
            if fits(content, predicate):
                self._received.popleft()
                return content
            if not fits(content, ignore):
                wanted = f"{described('a message', predicate)}, or one to ignore"
                raise AssertionError(f"{self!r} expected {wanted}\nbut got {_message(item)}\n{self._mailbox()}")
            dropped.append(_message(self._received.popleft()))

    @contextmanager
    def within(self, seconds: float) -> Iterator[Self]:
        """Set one deadline for all expectations in a ``with`` statement.

        It is `seconds` from now; expectations with a shorter timeout keep it.
        """
        before = self._until
        deadline = MACHINE.monotonic() + seconds
        self._until = deadline if before is None else min(before, deadline)
        try:
            yield self
        finally:
            self._until = before

    # Internals.

    def _deadline(self, timeout: float | None) -> tuple[float, float]:
        """Return the deadline of an expectation, and the seconds until then."""
        now = MACHINE.monotonic()
        if self._until is None:
            seconds = PATIENCE if timeout is None else timeout
        else:
            left = max(0.0, self._until - now)
            seconds = left if timeout is None else min(timeout, left)
        return now + seconds, seconds

    def _front(self, deadline: float, index: int = 0) -> object:
        """Wait for the message at `index` (0 is the next) and return it.

        Raises:
            queue.Empty: at the deadline.

        """
        while len(self._received) <= index:
            remaining = deadline - MACHINE.monotonic()
            item = self._inbox.get(timeout=remaining) if remaining > 0 else self._inbox.get(block=False)
            message = open_signal(item)
            if message is not None:
                self._received.append(message)
        return self._received[index]

    def _expect(self, kind: str, wanted: object, timeout: float | None) -> object:
        deadline, seconds = self._deadline(timeout)
        expected = described(f"a {kind}", wanted)
        try:
            item = self._front(deadline)
        except Empty:
            raise self._missed(expected, seconds) from None
        found, content = _content(item)
        if found == kind and fits(content.message if isinstance(content, ReceivedCall) else content, wanted):
            self._received.popleft()
            return content
        raise AssertionError(f"{self!r} expected {expected}\nbut the next is {_message(item)}\n{self._mailbox()}")

    def _missed(self, wanted: str, seconds: float, note: str = "") -> AssertionError:
        mailbox = self._mailbox()
        late = "\n(this arrived just after the deadline)" if self._received and not note else ""
        return AssertionError(f"{self!r} expected {wanted} within {seconds:g} s\n{mailbox}{note}{late}")

    def _mailbox(self) -> str:
        """Describe the mailbox, for a failure message."""
        try:
            while True:
                self._front(0.0, len(self._received))
        except Empty:
            pass
        ended = f"\nthe probe has ended: {shown(self._process.reason)}" if self._process.dead else ""
        if not self._received:
            return f"its mailbox is empty{ended}"
        return f"its mailbox: {_listed(list(map(_message, self._received)))}{ended}"


class _ProbeProcess(Process):
    """A probe's process.

    It handles stops and system messages itself, as there is no thread to do so.
    """

    __slots__ = ()
    answers_itself = True

    def deliver(self, message: object) -> None:
        if not self._answer(message):
            super().deliver(message)

    def put_from(self, sender: Process | None, message: object) -> bool:
        # Not under the sender's lock, unlike other messages: a stop takes the locks of the processes it notifies.
        if sender is not None and sender.is_dead():
            return False
        return self._answer(message) or super().put_from(sender, message)

    def _answer(self, message: object) -> bool:
        """Handle a stop or a system message; return False for any other message."""
        if isinstance(message, StopRequest):
            self.die(message.reason)
            return True
        actor = self.actor
        if isinstance(message, Request) and type(message.message) in _SYSTEM and isinstance(actor, _Engine):
            actor.receive_system(message)
            return True
        return False


class _Engine(Engine):
    """A probe's engine, which answers system messages; it never runs."""

    process_class = _ProbeProcess

    def activity(self) -> str:
        return "probe"


class _Actor(GenServer[None], engine=_Engine):
    """The actor that makes a probe a process; it is never started."""

    trap_exit = True


_Actor.__name__ = "Probe"


_SYSTEM = frozenset(get_args(system.SystemMessage))


class _Ended:
    """An expected Exit or Down."""

    def __init__(self, kind: type[Exit | Down], pid: object, reason: object) -> None:
        self.kind = kind
        self.pid = pid
        self.reason = reason

    def __repr__(self) -> str:
        is_a_rule = isinstance(self.reason, (type, *_PREDICATES))
        reason = described("a reason", self.reason) if is_a_rule else shown(self.reason)
        return f"{self.kind.__name__}({shown(self.pid)}, {reason})"

    def fits(self, message: object) -> bool:
        return (
            isinstance(message, self.kind)
            and (self.pid is ANYTHING or message.pid is self.pid or _equals(self.pid, message.pid))
            and fits(message.reason, self.reason)
        )


def _content(item: object) -> tuple[str, Any]:
    """Return the kind of message that `item` is, and what the test gets for it."""
    if isinstance(item, Cast):
        return "cast", item.message
    if isinstance(item, Request):
        return "call", ReceivedCall(item)
    return "message", item


def fits(content: object, wanted: object) -> bool:
    """Return whether `content` matches `wanted`.

    The module's docstring has the rules.
    """
    if wanted is ANYTHING or content is wanted:
        return True
    if isinstance(wanted, _Ended):
        return wanted.fits(content)
    if isinstance(wanted, type):
        return isinstance(content, wanted)
    if isinstance(wanted, _PREDICATES):
        return bool(wanted(content))
    return _equals(wanted, content)


def _equals(wanted: object, content: object) -> bool:
    """Return whether the two are equal; False if they cannot be compared.

    A mailbox may hold any object, and none may prevent a failure message that shows the mailbox. `wanted` is on the
    left of ``==``: the test chooses it, and it may define its own equality, as `unittest.mock.ANY` does.
    """
    try:
        return bool(wanted == content)
    except Exception:  # the message's own code may raise anything
        return False


def described(noun: str, wanted: object) -> str:
    """Describe what is expected, for a failure message.

    The result is `noun` and the rule that it must match.
    """
    if wanted is ANYTHING:
        return noun
    if isinstance(wanted, type):
        return f"{noun} of type {wanted.__name__}"
    if isinstance(wanted, FunctionType):
        return f"{noun} that {wanted.__name__} (line {wanted.__code__.co_firstlineno}) accepts"
    if isinstance(wanted, _PREDICATES):
        return f"{noun} that {shown(wanted)} accepts"
    return f"{noun} that is {shown(wanted)}"


def _message(item: object) -> str:
    """Describe a message, for a failure message."""
    kind, content = _content(item)
    return repr(content) if kind == "call" else f"{kind} {shown(content)}"


def _listed(described: list[str]) -> str:
    """Return described messages one below the other, with their number."""
    lines = "".join(f"\n  {each}" for each in described[:MOST_SHOWN])
    more = f"\n  and {len(described) - MOST_SHOWN} more" if len(described) > MOST_SHOWN else ""
    return f"{len(described)} message{'s' * (len(described) != 1)}{lines}{more}"
