"""Every exception that gennostr raises.

::

    GenNostrError
     ├── StartError                     init failed: .reason
     ├── AlreadyStarted                 the name is taken: .pid
     ├── CallError                      a call got no reply
     │    ├── CallExit                  the server exited: .reason (pykka.ActorDeadError)
     │    ├── CallTimeout               no reply in time          (TimeoutError, pykka.Timeout)
     │    ├── NoProcess                 no such process           (LookupError, pykka.ActorDeadError)
     │    └── CallingSelf               a process called itself
     ├── BadReturnValue                 a callback returned an invalid value: .value
     ├── SupervisorError
     │    ├── FailedToStartChild        .id, .reason
     │    ├── AlreadyPresent            the id is taken by a child that is not running
     │    ├── ChildRunning
     │    ├── ChildRestarting
     │    ├── ChildNotFound             (LookupError)
     │    └── MaxChildren
     ├── AlreadyRegistered              the key is taken: .pid
     ├── RelayNotFound                  no connection to that relay (LookupError)
     ├── Overflow                       a relay's outbound queue is full
     ├── RelayUrlError                  not a relay url             (ValueError)
     ├── MessageError                   not a Nostr message         (ValueError)
     │    └── RequestTooLarge           a REQ is too large for a relay: .subscription_id, .size, .limit
     ├── AuthenticationError            a relay refused our authentication: passed to handle_error
     ├── RelayRefused                   a relay refused a query, or answered it wrongly
     ├── FetchIncomplete                some relays were not read to the end: .failed
     └── ConnectionFault                why a connection ended: passed to callbacks, not raised
          ├── HandshakeError            the upgrade was refused: .status
          ├── ConnectTimeout            not connected in time       (TimeoutError)
          ├── PingTimeout               the relay fell silent       (TimeoutError)
          ├── ProtocolError             illegal frames: .code, .reason
          └── ConnectionLost            ended without a close frame

Arguments of the wrong type raise TypeError and invalid values ValueError, as usual in Python.

All of them can be printed, copied and pickled, whatever they hold. Unpickled in another process, a part that could not
be sent (a pid, a lock, an object whose class is missing there) is replaced by its text. See `gennostr.values`.

Their text may quote what a relay has sent. ``str()`` and ``repr()`` escape control characters, so the result is safe
to print on a terminal or write to a log; the attributes and ``args`` hold the original text.
"""

import reprlib
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeAlias

import pykka

from gennostr.values import Record, printable, shown


def _quoted(value: object) -> str:
    """Return the text of `value`, escaped.

    Cut before escaping (it may be 5 MB) and after (escapes are longer).
    """
    return shown(shown(value, str), printable)


class GenNostrError(Record, Exception):
    """The base class of all gennostr exceptions."""

    def __str__(self) -> str:
        return printable(self._text())

    def _text(self) -> str:
        """Return the text that `__str__` escapes; subclasses override it."""
        if len(self.args) == 1:
            return _quoted(self.args[0])
        return f"({', '.join(map(shown, self.args))})" if self.args else ""

    @reprlib.recursive_repr()
    def __repr__(self) -> str:
        return printable(f"{type(self).__name__}({', '.join(map(shown, self.args))})")


class StartError(GenNostrError):
    """A server's init failed.

    ``reason`` is the reason init stopped with, the exception it raised, a `BadReturnValue`, or TIMEOUT.
    """

    def __init__(self, reason: object) -> None:
        super().__init__(reason)
        self.reason = reason

    def _text(self) -> str:
        return f"init failed: {shown(self.reason)}"


class AlreadyStarted(GenNostrError):
    """A process with that name, or a child with that id, is already running: ``pid``."""

    def __init__(self, pid: Any) -> None:
        super().__init__(pid)
        self.pid = pid

    def _text(self) -> str:
        return f"already started: {shown(self.pid)}"


class CallError(GenNostrError):
    """A call ended without a reply."""


class CallExit(CallError, pykka.ActorDeadError):
    """The server exited before it replied.

    ``reason`` is its exit reason, which can be NORMAL.
    """

    def __init__(self, reason: object, target: object = None) -> None:
        super().__init__(reason, target)
        self.reason = reason
        self.target = target

    def _text(self) -> str:
        return f"{shown(self.target)} exited with reason {shown(self.reason)}"


class CallTimeout(CallError, TimeoutError, pykka.Timeout):
    """No reply arrived within ``timeout`` seconds.

    The server keeps running; a late reply is dropped.
    """

    def __init__(self, target: object, request: object, timeout: float) -> None:
        # Not OSError.__init__, which would interpret the arguments as errno, strerror and filename.
        Exception.__init__(self, target, request, timeout)
        self.target = target
        self.request = request
        self.timeout = timeout

    def _text(self) -> str:
        return f"no reply from {shown(self.target)} to {shown(self.request)} within {shown(self.timeout)} s"


class NoProcess(CallError, LookupError, pykka.ActorDeadError):
    """The process does not exist: it is dead, or the name is not registered."""

    hint: ClassVar[str] = ""
    """Why no process exists at all: set in a child process that was forked while actors ran."""

    def __init__(self, target: object) -> None:
        super().__init__(target)
        self.target = target

    def _text(self) -> str:
        return f"{shown(self.target)} not found{self.hint}"


class CallingSelf(CallError):
    """A process called itself: it would wait forever for its own reply."""

    def __init__(self, target: object) -> None:
        super().__init__(target)
        self.target = target

    def _text(self) -> str:
        return f"process called itself: {shown(self.target)}"


class BadReturnValue(GenNostrError):
    """A callback returned ``value``, which is not a valid outcome for it."""

    def __init__(self, value: object) -> None:
        super().__init__(value)
        self.value = value

    def _text(self) -> str:
        return f"bad return value: {shown(self.value)}"


class SupervisorError(GenNostrError):
    """A supervisor could not do what was requested."""


class FailedToStartChild(SupervisorError):
    """The child ``id`` did not start.

    ``reason`` is the reason of its StartError, or the exception that it raised.
    """

    def __init__(self, id: object, reason: object) -> None:  # noqa: A002 - OTP's name
        super().__init__(id, reason)
        self.id = id
        self.reason = reason

    def _text(self) -> str:
        return f"child {shown(self.id)} failed to start: {shown(self.reason)}"


class AlreadyPresent(SupervisorError):
    """A child with that id exists but is not running."""


class ChildRunning(SupervisorError):
    """The child is running: terminate it first."""


class ChildRestarting(SupervisorError):
    """The child is being restarted."""


class ChildNotFound(SupervisorError, LookupError):
    """The supervisor has no such child."""


class MaxChildren(SupervisorError):
    """The dynamic supervisor has reached its limit of children."""


class AlreadyRegistered(GenNostrError):
    """The key is already registered by ``pid``."""

    def __init__(self, pid: Any) -> None:
        super().__init__(pid)
        self.pid = pid

    def _text(self) -> str:
        return f"already registered by {shown(self.pid)}"


class RelayNotFound(GenNostrError, LookupError):
    """The client has no connection to that relay; ``url`` holds no credentials."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url

    def _text(self) -> str:
        return f"no connection to {_quoted(self.url)}"


class Overflow(GenNostrError):
    """The relay's outbound queue is full; the message was not queued."""


class RelayUrlError(GenNostrError, ValueError):
    """The text is not a relay url; the message quotes it and says what is wrong."""


MessageProblem: TypeAlias = Literal["malformed", "forged", "unrequested"]


class MessageError(GenNostrError, ValueError):
    """A message that breaks NIP-01.

    Raised for a message to be sent, passed to handle_error for a received one.
    """

    problem: MessageProblem = "malformed"
    """What is wrong. "malformed": the shape of the message. "forged": the event's id, key or signature does not match
    its content. "unrequested": the event matches no filter of its subscription."""
    subscription_id: str | None = None
    """The id of the subscription for which the relay sent the "forged" or "unrequested" event."""

    def __init__(self, text: object, problem: MessageProblem = "malformed") -> None:
        super().__init__(text)
        if problem != "malformed":  # the class default: thousands may be queued, and an instance attribute takes memory
            self.problem = problem


class RequestTooLarge(MessageError):
    """A REQ is larger than the relay accepts."""

    def __init__(self, subscription_id: str, size: int, limit: int, relay: str) -> None:
        GenNostrError.__init__(self, subscription_id, size, limit, relay)
        self.subscription_id = subscription_id
        self.size = size
        self.limit = limit
        self.relay = relay

    def _text(self) -> str:
        size, limit = shown(self.size), shown(self.limit)
        return f"the REQ of {shown(self.subscription_id)} has {size} bytes: {_quoted(self.relay)} takes {limit}"


class AuthenticationError(GenNostrError):
    """A relay refused our authentication (NIP-42).

    Passed to handle_error, as the connection stays open.
    """


class RelayRefused(GenNostrError):
    """A relay refused a query or answered it wrongly.

    This is why `fetch` could not read it to the end.
    """


class FetchIncomplete(GenNostrError):
    """Some relays could not be read to the end: ``failed`` maps urls to reasons."""

    def __init__(self, failed: Mapping[str, BaseException]) -> None:
        super().__init__(failed)
        self.failed = failed

    def _text(self) -> str:
        failed: object = self.failed
        if not isinstance(failed, Mapping):  # unpickled, and replaced by its text
            return _quoted(failed)
        return "; ".join(f"{url}: {_quoted(reason)}" for url, reason in failed.items())


class ConnectionFault(GenNostrError):
    """Why a connection ended.

    Passed to handle_error and handle_disconnect, never raised to the caller.
    """


class HandshakeError(ConnectionFault):
    """The response to the upgrade was not a valid 101.

    ``status`` is the HTTP status, or None if there was none.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message, status)
        self.message = message
        self.status = status

    def _text(self) -> str:
        return _quoted(self.message)


class ConnectTimeout(ConnectionFault, TimeoutError):
    """DNS, TCP, TLS and the upgrade together took longer than ``connect_timeout``."""


class PingTimeout(ConnectionFault, TimeoutError):
    """The relay fell silent.

    Nothing was received for ``ping_interval``, nor for another ``ping_timeout`` after a ping.
    """


class ProtocolError(ConnectionFault):
    """The relay violated RFC 6455 or a limit.

    ``code`` and ``reason`` are those of our close frame.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def _text(self) -> str:
        return f"{_quoted(self.reason)} (closed with {shown(self.code)})"


class ConnectionLost(ConnectionFault):
    """The connection ended without a close frame."""
