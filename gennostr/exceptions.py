"""Every exception that gennostr raises.

::

    GenNostrError
     ├── StartError                     init did not succeed: .reason
     ├── AlreadyStarted                 the name is taken: .pid
     ├── CallError                      a call got no reply
     │    ├── CallExit                  the server ended: .reason (pykka.ActorDeadError)
     │    ├── CallTimeout               no reply in time          (TimeoutError, pykka.Timeout)
     │    ├── NoProcess                 nobody there              (LookupError, pykka.ActorDeadError)
     │    └── CallingSelf               a process called itself
     ├── BadReturnValue                 a callback returned something else: .value
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
     ├── AuthenticationError            a relay refused who we are: told, not raised
     ├── RelayRefused                   a relay gives no more
     ├── FetchIncomplete                some relays were not read to their end: .failed
     └── ConnectionFault                why a connection ended: told, not raised
          ├── HandshakeError            the upgrade was refused: .status
          ├── ConnectTimeout            not connected in time       (TimeoutError)
          ├── PingTimeout               the relay fell silent       (TimeoutError)
          ├── ProtocolError             illegal frames: .code, .reason
          └── ConnectionLost            ended without a close frame

Wrong types raise TypeError and wrong values ValueError, as everywhere in Python.

They can be printed, copied and pickled whatever they hold. In another process, text replaces what could not be sent
with them: a pid, a lock, an object whose class is missing there. See `gennostr.values`.

Their text may quote what a relay has sent. ``str()`` and ``repr()`` escape control characters, so that they can be
printed on a terminal and written to a log as they are; the attributes and ``args`` hold the original text.
"""

import reprlib
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeAlias

import pykka

from gennostr.values import Record, printable, shown


def _quoted(value: object) -> str:
    """Return the text of `value`, escaped. It is cut before, for it may be 5 MB, and after, for escapes are longer."""
    return shown(shown(value, str), printable)


class GenNostrError(Record, Exception):
    """The root of the tree."""

    def __str__(self) -> str:
        return printable(self._text())

    def _text(self) -> str:
        """Return the text that `__str__` escapes: what a subclass overrides."""
        if len(self.args) == 1:
            return _quoted(self.args[0])
        return f"({', '.join(map(shown, self.args))})" if self.args else ""

    @reprlib.recursive_repr()
    def __repr__(self) -> str:
        return printable(f"{type(self).__name__}({', '.join(map(shown, self.args))})")


class StartError(GenNostrError):
    """A server's init did not succeed.

    ``reason`` is what init stopped with, the exception it raised, a `BadReturnValue`, or TIMEOUT.
    """

    def __init__(self, reason: object) -> None:
        super().__init__(reason)
        self.reason = reason

    def _text(self) -> str:
        return f"init failed: {shown(self.reason)}"


class AlreadyStarted(GenNostrError):
    """A process with that name, or a child with that id, is running: ``pid``."""

    def __init__(self, pid: Any) -> None:
        super().__init__(pid)
        self.pid = pid

    def _text(self) -> str:
        return f"already started: {shown(self.pid)}"


class CallError(GenNostrError):
    """A call ended without a reply."""


class CallExit(CallError, pykka.ActorDeadError):
    """The server ended before it replied: ``reason`` is its exit reason, even NORMAL."""

    def __init__(self, reason: object, target: object = None) -> None:
        super().__init__(reason, target)
        self.reason = reason
        self.target = target

    def _text(self) -> str:
        return f"{shown(self.target)} exited with reason {shown(self.reason)}"


class CallTimeout(CallError, TimeoutError, pykka.Timeout):
    """No reply came within ``timeout`` seconds. The server is unharmed; its reply is dropped."""

    def __init__(self, target: object, request: object, timeout: float) -> None:
        # Not OSError's, which would take them for errno, strerror and the name of a file.
        Exception.__init__(self, target, request, timeout)
        self.target = target
        self.request = request
        self.timeout = timeout

    def _text(self) -> str:
        return f"no reply from {shown(self.target)} to {shown(self.request)} within {shown(self.timeout)} s"


class NoProcess(CallError, LookupError, pykka.ActorDeadError):
    """There is no such process: it is dead, or the name is not registered."""

    hint: ClassVar[str] = ""
    """Why there is none, where that concerns all: set in a child that was forked while actors ran."""

    def __init__(self, target: object) -> None:
        super().__init__(target)
        self.target = target

    def _text(self) -> str:
        return f"{shown(self.target)} not found{self.hint}"


class CallingSelf(CallError):
    """A process called itself: it would wait for ever for its own reply."""

    def __init__(self, target: object) -> None:
        super().__init__(target)
        self.target = target

    def _text(self) -> str:
        return f"process called itself: {shown(self.target)}"


class BadReturnValue(GenNostrError):
    """A callback returned ``value``, which is none of its outcomes."""

    def __init__(self, value: object) -> None:
        super().__init__(value)
        self.value = value

    def _text(self) -> str:
        return f"bad return value: {shown(self.value)}"


class SupervisorError(GenNostrError):
    """A supervisor could not do what was asked."""


class FailedToStartChild(SupervisorError):
    """The child ``id`` did not start; ``reason`` is its StartError's reason, or what it raised."""

    def __init__(self, id: object, reason: object) -> None:  # noqa: A002 - OTP's name
        super().__init__(id, reason)
        self.id = id
        self.reason = reason

    def _text(self) -> str:
        return f"child {shown(self.id)} failed to start: {shown(self.reason)}"


class AlreadyPresent(SupervisorError):
    """A child with that id is known and not running."""


class ChildRunning(SupervisorError):
    """The child runs: terminate it first."""


class ChildRestarting(SupervisorError):
    """The child is being restarted."""


class ChildNotFound(SupervisorError, LookupError):
    """The supervisor has no such child."""


class MaxChildren(SupervisorError):
    """The dynamic supervisor holds as many children as it may."""


class AlreadyRegistered(GenNostrError):
    """The key belongs to ``pid``."""

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
    """The relay's outbound queue is at its limit, and the message was not queued."""


class RelayUrlError(GenNostrError, ValueError):
    """The text is no relay url; the message names it and what is wrong."""


MessageProblem: TypeAlias = Literal["malformed", "forged", "unrequested"]


class MessageError(GenNostrError, ValueError):
    """A message that breaks NIP-01's rules: one to send, or one received, which handle_error is called with."""

    problem: MessageProblem = "malformed"
    """What is wrong. "malformed": its shape. "forged": an event's id, key or signature is not that of
    its content. "unrequested": an event matches no filter of its subscription."""
    subscription_id: str | None = None
    """The subscription for which a relay has sent an event that is "forged" or "unrequested"."""

    def __init__(self, text: object, problem: MessageProblem = "malformed") -> None:
        super().__init__(text)
        if problem != "malformed":  # the class has that: thousands may wait, and an attribute of each takes memory
            self.problem = problem


class RequestTooLarge(MessageError):
    """A REQ is larger than the relay takes."""

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
    """A relay did not accept an authentication (NIP-42): told by handle_error, for the connection lives."""


class RelayRefused(GenNostrError):
    """A relay did not give what it was asked for: why `fetch` could not read it to its end."""


class FetchIncomplete(GenNostrError):
    """Not every relay could be read to its end: ``failed`` has the others' urls, and why."""

    def __init__(self, failed: Mapping[str, BaseException]) -> None:
        super().__init__(failed)
        self.failed = failed

    def _text(self) -> str:
        failed: object = self.failed
        if not isinstance(failed, Mapping):  # unpickled, and replaced by its text
            return _quoted(failed)
        return "; ".join(f"{url}: {_quoted(reason)}" for url, reason in failed.items())


class ConnectionFault(GenNostrError):
    """Why a connection ended. Told by handle_error and handle_disconnect, never raised at a user."""


class HandshakeError(ConnectionFault):
    """The answer to the upgrade was not a valid 101: ``status`` is the HTTP status, if there was one."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message, status)
        self.message = message
        self.status = status

    def _text(self) -> str:
        return _quoted(self.message)


class ConnectTimeout(ConnectionFault, TimeoutError):
    """DNS, TCP, TLS and the upgrade together took longer than ``connect_timeout``."""


class PingTimeout(ConnectionFault, TimeoutError):
    """Nothing was received for ``ping_interval`` and, after a ping, for ``ping_timeout`` more."""


class ProtocolError(ConnectionFault):
    """The relay broke RFC 6455 or a limit; ``code`` and ``reason`` are those of our close frame."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def _text(self) -> str:
        return f"{_quoted(self.reason)} (closed with {shown(self.code)})"


class ConnectionLost(ConnectionFault):
    """The connection ended without a close frame."""
