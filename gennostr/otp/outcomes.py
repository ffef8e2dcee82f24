"""Outcomes: what callbacks return: the reply, the state, and what is next.

Every outcome can omit the state, which then stays unchanged. `Ok`, `Reply` and `NoReply` also take one of

- `timeout`: seconds. If no message arrives in that time, ``handle_info`` is called once with TIMEOUT. With 0, a message
  that is already waiting is handled first.
- `hibernate`: True to collect garbage before waiting for the next message.
- `continue_`: call ``handle_continue`` with this argument before any other message is handled.

Returning ``None`` leaves the state unchanged; only ``handle_call`` must not return it.
"""

from enum import Enum
from typing import Any, Final, Generic, TypeAlias, TypeVar

from gennostr.otp.reasons import NORMAL
from gennostr.values import shown

S = TypeVar("S")


class Unset(Enum):
    """The type of UNSET, which stands for an omitted argument.

    None cannot: it is an ordinary value.
    """

    UNSET = "unset"

    def __repr__(self) -> str:
        return self.name


UNSET: Final = Unset.UNSET


class Ignore(Enum):
    """The type of IGNORE, which init returns if there is nothing to run.

    ``start`` then returns IGNORE instead of a pid. Compare with ``is``.
    """

    IGNORE = "ignore"

    def __repr__(self) -> str:
        return self.name

    __str__ = __repr__


# Typed as Any, so that type checkers allow comparing it with the result of start, whose type is a handle.
IGNORE: Final[Any] = Ignore.IGNORE
"""Returned by init if there is nothing to run; ``start`` then returns it too.

A supervisor keeps such a child without a pid. Compare with ``is``. OTP: the `ignore` of gen_server's init.

>>> from gennostr import IGNORE, GenServer
>>> class Optional(GenServer):
...     def init(self, enabled):
...         return None if enabled else IGNORE
>>> Optional.start(False) is IGNORE
True
"""


def check_seconds(name: str, value: object) -> float:
    """Return `value` if it is a valid number of seconds to wait: zero or more.

    Raises:
        TypeError: `value` is not an int or float.
        ValueError: `value` is negative or NaN.

    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of seconds, not {shown(value)}")
    if not value >= 0:
        raise ValueError(f"{name} must be zero or more seconds, not {shown(value)}")
    return value


class _Next(Generic[S]):
    """The base of `Ok`, `NoReply` and `Reply`: the state, and what to do next."""

    __slots__ = ("next", "state")

    def __init__(
        self,
        state: S | Unset = UNSET,
        *,
        timeout: float | None = None,
        hibernate: bool = False,
        continue_: object = UNSET,
    ) -> None:
        self.state = state
        # (timeout, hibernate, continue_), or None, which is cheap to create and to check in the receive loop.
        self.next: tuple[float | None, bool, object] | None = None
        if timeout is not None or hibernate or continue_ is not UNSET:
            if timeout is not None:
                check_seconds("timeout", timeout)
            if (timeout is not None) + bool(hibernate) + (continue_ is not UNSET) > 1:
                raise ValueError("only one of timeout, hibernate and continue_ can be given")
            self.next = (timeout, hibernate, continue_)

    @property
    def timeout(self) -> float | None:
        """The timeout in seconds, or None."""
        return None if self.next is None else self.next[0]

    @property
    def hibernate(self) -> bool:
        """Whether to collect garbage before waiting."""
        return self.next is not None and self.next[1]

    @property
    def continue_(self) -> object:
        """The argument for handle_continue, or UNSET."""
        return UNSET if self.next is None else self.next[2]

    def __repr__(self) -> str:
        fields = [f"state={shown(self.state)}"]
        if self.timeout is not None:
            fields.append(f"timeout={self.timeout!r}")
        if self.hibernate:
            fields.append("hibernate=True")
        if self.continue_ is not UNSET:
            fields.append(f"continue_={shown(self.continue_)}")
        return f"{type(self).__name__}({', '.join(fields)})"

    def _key(self) -> tuple[object, ...]:
        return (self.state, self.timeout, self.hibernate, self.continue_)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._key() == other._key()

    __hash__ = None  # type: ignore[assignment]


class Ok(_Next[S]):
    """Returned by init: it succeeded. Returned by a relay's callback: continue.

    >>> from gennostr import GenServer, Ok, Reply
    >>> class Counter(GenServer[int]):
    ...     def init(self, start):
    ...         return Ok(start)
    ...     def handle_call(self, request, from_, count):
    ...         return Reply(count)
    >>> with Counter.start(5) as counter:
    ...     counter.call("count")
    5

    OTP: ``{ok, State}``, with a timeout, ``hibernate`` or ``{continue, Continue}``.

    Args:
        state: the new state. Omitted: unchanged; in init, None.
        timeout: seconds. If no message arrives in that time, handle_info is called with TIMEOUT. Default None: no
            timeout.
        hibernate: True to collect garbage before waiting for the next message. Default False.
        continue_: call handle_continue with this argument before any message. Omitted: do not.

    Raises:
        TypeError, ValueError: `timeout` is not a number of seconds, or more than one of the last three is given.

    """

    __slots__ = ()


class NoReply(_Next[S]):
    """Returned by a callback: continue. In ``handle_call``: reply later.

    After a NoReply from ``handle_call`` the caller keeps waiting: call ``reply(from_, value)`` later, from any callback
    or thread. The arguments are those of `Ok`. OTP: ``{noreply, State}``.

    >>> from gennostr import GenServer, NoReply, Ok, reply
    >>> class Gate(GenServer):
    ...     def init(self, init_arg):
    ...         return Ok([])
    ...     def handle_call(self, request, from_, waiting):
    ...         return NoReply([*waiting, from_])
    ...     def handle_cast(self, request, waiting):
    ...         for from_ in waiting:
    ...             reply(from_, request)
    ...         return NoReply([])
    >>> with Gate.start() as gate:
    ...     pending = gate.send_request("enter")
    ...     gate.cast("open")
    ...     pending.wait()
    'open'

    Args:
        state: the new state. Omitted: unchanged.
        timeout: seconds. If no message arrives in that time, handle_info is called with TIMEOUT. Default None: no
            timeout.
        hibernate: True to collect garbage before waiting for the next message. Default False.
        continue_: call handle_continue with this argument before any message. Omitted: do not.

    Raises:
        TypeError, ValueError: `timeout` is not a number of seconds, or more than one of the last three is given.

    """

    __slots__ = ()


class Reply(_Next[S]):
    """Returned by ``handle_call``: reply to the caller.

    The reply is delivered before a `continue_` runs. OTP: ``{reply, Reply, State}``.

    >>> from gennostr import GenServer, Ok, Reply
    >>> class Counter(GenServer[int]):
    ...     def init(self, start):
    ...         return Ok(start)
    ...     def handle_call(self, request, from_, count):
    ...         return Reply(count, count + 1)
    >>> with Counter.start(5) as counter:
    ...     counter.call("next"), counter.call("next")
    (5, 6)

    Args:
        value: the reply; any value.
        state: the new state. Omitted: unchanged.
        timeout: seconds. If no message arrives in that time, handle_info is called with TIMEOUT. Default None: no
            timeout.
        hibernate: True to collect garbage before waiting for the next message. Default False.
        continue_: call handle_continue with this argument before any message. Omitted: do not.

    Raises:
        TypeError, ValueError: `timeout` is not a number of seconds, or more than one of the last three is given.

    """

    __slots__ = ("value",)

    def __init__(
        self,
        value: object,
        state: S | Unset = UNSET,
        *,
        timeout: float | None = None,
        hibernate: bool = False,
        continue_: object = UNSET,
    ) -> None:
        self.value = value
        if timeout is None and not hibernate and continue_ is UNSET:  # what _Next does, without the function call
            self.state = state
            self.next = None
        else:
            super().__init__(state, timeout=timeout, hibernate=hibernate, continue_=continue_)

    def __repr__(self) -> str:
        return f"Reply({shown(self.value)}, {super().__repr__()[6:]}"

    def _key(self) -> tuple[object, ...]:
        return (self.value, *super()._key())


class Stop(Generic[S]):
    """Returned by a callback: end this server, after terminate.

    A clean reason (NORMAL, SHUTDOWN or a `Shutdown`) ends it quietly; any other is logged as a crash. From
    ``handle_call`` without `reply`, the caller gets a `CallExit` with the reason. From init, ``start`` raises
    `StartError`, and terminate does not run. OTP: ``{stop, Reason, State}`` and ``{stop, Reason, Reply, State}``.

    >>> from gennostr import NORMAL, GenServer, Stop
    >>> class Till(GenServer):
    ...     def handle_call(self, request, from_, state):
    ...         return Stop(NORMAL, reply="closed")
    >>> Till.start().call("close")
    'closed'

    Args:
        reason: the exit reason; any value. Default NORMAL.
        state: the state that terminate receives. Omitted: unchanged.
        reply: from ``handle_call``, what the caller gets, after terminate and before the exit. Omitted: no reply.

    """

    __slots__ = ("reason", "reply", "state")

    def __init__(self, reason: object = NORMAL, state: S | Unset = UNSET, *, reply: object = UNSET) -> None:
        self.reason = reason
        self.state = state
        self.reply = reply

    def __repr__(self) -> str:
        reply = "" if self.reply is UNSET else f", reply={shown(self.reply)}"
        return f"Stop({shown(self.reason)}, state={shown(self.state)}{reply})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return (self.reason, self.state, self.reply) == (other.reason, other.state, other.reply)

    __hash__ = None  # type: ignore[assignment]


InitOutcome: TypeAlias = Ok[S] | Stop[S] | Ignore | None
"""What init may return: `Ok`, `Stop`, IGNORE, or None (the state is None)."""
CallOutcome: TypeAlias = Reply[S] | NoReply[S] | Stop[S]
"""What ``handle_call`` may return: `Reply`, `NoReply` or `Stop`."""
CallbackOutcome: TypeAlias = NoReply[S] | Stop[S] | None
"""What the other callbacks may return: `NoReply`, `Stop`, or None (the state is unchanged)."""
