"""Every exception that gennostr raises.

The tree:

    GenNostrError
     ├── ActorError                     an error of the actors, which have nothing to do with Nostr
     │    ├── StartError                init failed: .reason
     │    ├── AlreadyStarted            the name is taken: .pid
     │    ├── CallError                 a call got no reply
     │    │    ├── CallExit             the server exited: .reason (pykka.ActorDeadError)
     │    │    ├── CallTimeout          no reply in time          (TimeoutError, pykka.Timeout)
     │    │    ├── NoProcess            no such process           (LookupError, pykka.ActorDeadError)
     │    │    └── CallingSelf          a process called itself
     │    ├── BadReturnValue            a callback returned an invalid value: .value
     │    ├── SupervisorError
     │    │    ├── FailedToStartChild   .id, .reason
     │    │    ├── AlreadyPresent       the id is taken by a child that is not running
     │    │    ├── ChildRunning
     │    │    ├── ChildRestarting
     │    │    ├── ChildNotFound        (LookupError)
     │    │    └── MaxChildren
     │    └── AlreadyRegistered         the key is taken: .pid
     ├── RelayNotFound                  no connection to that relay (LookupError)
     ├── Overflow                       a relay's outbound queue is full
     ├── RelayUrlError                  not a relay url             (ValueError)
     ├── MessageError                   not a Nostr message         (ValueError)
     │    └── RequestTooLarge           a REQ is too large for a relay: .subscription_id, .size, .limit
     ├── AuthenticationError            a relay refused our authentication: passed to handle_error
     ├── RelayRefused                   a relay refused a query, or answered it wrongly
     ├── FetchIncomplete                some relays were not read to the end: .failed
     ├── StoreError                     a client's store cannot be opened or written: .lost
     └── ConnectionFault                why a connection ended: passed to callbacks, not raised
          ├── HandshakeError            the upgrade was refused: .status, .headers
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

from gennostr.values import Concise, Record, printable, shown


def _quoted(value: object) -> str:
    """Return the text of `value`, escaped.

    Cut before escaping (it may be 5 MB) and after (escapes are longer).
    """
    return shown(shown(value, str), printable)


class GenNostrError(Record, Exception, metaclass=Concise):
    """The base class of all gennostr exceptions.

    ``except GenNostrError`` catches everything that gennostr itself raises, except TypeError and ValueError for invalid
    arguments. Each one can be printed on a terminal, copied, and pickled.

    >>> from gennostr import GenNostrError, call
    >>> try:
    ...     call("nobody", "ping")
    ... except GenNostrError as error:
    ...     print(error)
    'nobody' not found
    """

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


class ActorError(GenNostrError):
    """The base class of the errors that have to do with actors.

    ``except ActorError`` catches failed starts, calls, requests to supervisors and registrations, and nothing about
    Nostr and relays.

    >>> from gennostr import ActorError, call
    >>> try:
    ...     call("nobody", "ping")
    ... except ActorError as error:
    ...     print(error)
    'nobody' not found
    """


class StartError(ActorError):
    """A server did not start.

    Raised by ``start``, ``start_link``, ``start_child``, ``restart_child`` and `gennostr.run`. The server has ended by
    then, and its name is free. If the reason is an exception, it is the ``__cause__`` too, with its traceback.

    >>> from gennostr import GenServer, StartError, Stop
    >>> class Storage(GenServer):
    ...     def init(self, path):
    ...         return Stop("no such disk")
    >>> try:
    ...     Storage.start("/dev/tape")
    ... except StartError as error:
    ...     print(error.reason)
    no such disk

    Attributes:
        reason: the reason of the `Stop` that init returned; the exception that it raised; a `BadReturnValue`; TIMEOUT
            if it took too long; ``Shutdown(FailedToStartChild(id, reason))`` if a supervisor's child did not start; or
            a RuntimeError if the system refused to create a thread.

    """

    def __init__(self, reason: object) -> None:
        super().__init__(reason)
        self.reason = reason

    def _text(self) -> str:
        return f"init failed: {shown(self.reason)}"


class AlreadyStarted(ActorError):
    """The name is taken by a running process, or the id by a running child.

    Raised by ``start`` and ``start_link`` if the name is taken (init did not run), and by ``start_child`` and
    ``restart_child`` if the child's name, or for ``start_child`` its id, is taken.

    >>> from gennostr import AlreadyStarted, GenServer
    >>> with GenServer.start(name="cache") as cache:
    ...     try:
    ...         GenServer.start(name="cache")
    ...     except AlreadyStarted as error:
    ...         print(error.pid is cache)
    True

    Attributes:
        pid: the process that holds the name or the id.

    """

    def __init__(self, pid: Any) -> None:
        super().__init__(pid)
        self.pid = pid

    def _text(self) -> str:
        return f"already started: {shown(self.pid)}"


class CallError(ActorError):
    """A call ended without a reply; the base of the four exceptions that say why.

    Raised in the caller by `gennostr.call`, `Pid.call`, `Pid.call_async`, `PendingReply.wait`, `gennostr.stop`, and the
    functions that use a call, such as get_state. Uncaught in a callback, it ends that server, as in OTP.

    >>> from gennostr import CallError, call
    >>> try:
    ...     call("nobody", "ping")
    ... except CallError as error:
    ...     print(type(error).__name__)
    NoProcess
    """


class CallExit(CallError, pykka.ActorDeadError):
    """The server ended before it replied.

    Raised at once when the server ends, whatever the call's timeout; if it was killed, too. `gennostr.stop` raises it
    if the server ended for another reason than the one given. A wait also raises it if the waiting process itself was
    killed, or received an exit signal that it does not trap. Also a `pykka.ActorDeadError`.

    >>> from gennostr import CallExit, GenServer, Stop
    >>> class Till(GenServer):
    ...     def handle_call(self, request, from_, state):
    ...         return Stop()
    >>> till = Till.start()
    >>> try:
    ...     till.call("close")
    ... except CallExit as error:
    ...     print(error.reason)
    NORMAL

    Attributes:
        reason: the server's exit reason, which can be NORMAL; if a callback raised, the exception itself.
        target: the pid, name or via that was called.

    """

    def __init__(self, reason: object, target: object = None) -> None:
        super().__init__(reason, target)
        self.reason = reason
        self.target = target

    def _text(self) -> str:
        return f"{shown(self.target)} exited with reason {shown(self.reason)}"


class CallTimeout(CallError, TimeoutError, pykka.Timeout):
    """No reply arrived in time.

    The server is not affected and keeps running; a late reply is discarded. Raised by calls, by `PendingReply.wait`
    (the request is then still pending), and by `gennostr.stop` (the server will still stop). Also a TimeoutError and a
    `pykka.Timeout`.

    >>> from gennostr import CallTimeout, GenServer, NoReply
    >>> class Silent(GenServer):
    ...     def handle_call(self, request, from_, state):
    ...         return NoReply()
    >>> with Silent.start() as silent:
    ...     try:
    ...         silent.call("hello", timeout=0.01)
    ...     except CallTimeout as error:
    ...         print(error.request, error.timeout)
    hello 0.01

    Attributes:
        target: the pid, name or via that was called.
        request: the request that got no reply.
        timeout: the seconds that the caller waited.

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
    """The target is dead, or nothing is registered under the name.

    Raised at once by calls, by `gennostr.stop` and `gennostr.tree`, by `gennostr.link` if the caller does not trap
    exits, and by the methods of a dead registry; by `wait_for` after its timeout. ``cast`` and ``send`` never raise it.
    Also a LookupError and a `pykka.ActorDeadError`.

    >>> from gennostr import NoProcess, stop
    >>> try:
    ...     stop("nobody")
    ... except NoProcess as error:
    ...     print(error.target)
    nobody

    Attributes:
        target: the pid, name or via that was given.
        timeout: the seconds that `wait_for` waited; None for any other function.

    """

    hint: ClassVar[str] = ""
    """Why no process exists at all: set in a child process that was forked while actors ran."""

    def __init__(self, target: object, timeout: float | None = None) -> None:
        super().__init__(*((target,) if timeout is None else (target, timeout)))
        self.target = target
        self.timeout = timeout

    def _text(self) -> str:
        if self.timeout is not None:
            return f"{shown(self.target)} was not registered within {shown(self.timeout)} s{self.hint}"
        return f"{shown(self.target)} not found{self.hint}"


class CallingSelf(CallError):
    """A process called or stopped itself: it would wait forever for its own reply.

    Raised at once, whether the process used its pid, its name or a via. In a callback, call the method instead of
    sending a request, or return `Stop`. Uncaught, as here, it ends the server:

    >>> from gennostr import CallExit, GenServer, Reply
    >>> class Echo(GenServer):
    ...     def handle_call(self, request, from_, state):
    ...         return Reply(self.pid.call(request))
    >>> echo = Echo.start()
    >>> try:
    ...     echo.call("hello")
    ... except CallExit as error:
    ...     print(type(error.reason).__name__)
    CallingSelf

    Attributes:
        target: the pid, name or via that was called.

    """

    def __init__(self, target: object) -> None:
        super().__init__(target)
        self.target = target

    def _text(self) -> str:
        return f"process called itself: {shown(self.target)}"


class BadReturnValue(ActorError):
    """A callback returned a value that is not a valid outcome for it.

    Never raised in a caller: it is the reason of the server's exit or, after init, of the `StartError`.

    >>> from gennostr import BadReturnValue, GenServer, StartError
    >>> class Careless(GenServer):
    ...     def init(self, init_arg):
    ...         return 42
    >>> try:
    ...     Careless.start()
    ... except StartError as error:
    ...     print(error.reason, isinstance(error.reason, BadReturnValue))
    bad return value: 42 True

    Attributes:
        value: what the callback returned.

    """

    def __init__(self, value: object) -> None:
        super().__init__(value)
        self.value = value

    def _text(self) -> str:
        return f"bad return value: {shown(self.value)}"


class SupervisorError(ActorError):
    """A supervisor could not do what was requested; the base of these exceptions.

    Raised in the caller of a method of `SupervisorPid` or `DynamicSupervisorPid`. The supervisor is not affected.

    >>> from gennostr import Supervisor, SupervisorError
    >>> with Supervisor.start() as supervisor:
    ...     try:
    ...         supervisor.restart_child("cache")
    ...     except SupervisorError as error:
    ...         print(repr(error))
    ChildNotFound('cache')
    """


class FailedToStartChild(SupervisorError):
    """A child did not start, and so neither did its supervisor.

    Never raised itself: the supervisor's StartError has the reason ``Shutdown(FailedToStartChild(id, reason))``.

    >>> from gennostr import ChildSpec, GenServer, StartError, Stop, Supervisor
    >>> class Broken(GenServer):
    ...     def init(self, init_arg):
    ...         return Stop("no disk")
    >>> try:
    ...     Supervisor.start([ChildSpec("storage", Broken.start_link)])
    ... except StartError as error:
    ...     print(error.reason)
    Shutdown(reason=FailedToStartChild('storage', 'no disk'))

    Attributes:
        id: the id of its specification.
        reason: the reason of its StartError, or the exception that its start raised.

    """

    def __init__(self, id: object, reason: object) -> None:  # noqa: A002 - OTP's name
        super().__init__(id, reason)
        self.id = id
        self.reason = reason

    def _text(self) -> str:
        return f"child {shown(self.id)} failed to start: {shown(self.reason)}"


class AlreadyPresent(SupervisorError):
    """A child with that id exists but is not running.

    Raised by `SupervisorPid.start_child`; start that one with `SupervisorPid.restart_child`, or delete it. ``args``
    holds the id.

    >>> from gennostr import AlreadyPresent, ChildSpec, GenServer, Supervisor
    >>> cache = ChildSpec("cache", GenServer.start_link)
    >>> with Supervisor.start([cache]) as supervisor:
    ...     supervisor.terminate_child("cache")
    ...     try:
    ...         supervisor.start_child(cache)
    ...     except AlreadyPresent as error:
    ...         print(error)
    cache
    """


class ChildRunning(SupervisorError):
    """The child is running; terminate it first.

    Raised by `SupervisorPid.restart_child` and `SupervisorPid.delete_child`. ``args`` holds the id.

    >>> from gennostr import ChildRunning, ChildSpec, GenServer, Supervisor
    >>> with Supervisor.start([ChildSpec("cache", GenServer.start_link)]) as supervisor:
    ...     try:
    ...         supervisor.delete_child("cache")
    ...     except ChildRunning as error:
    ...         print(error)
    cache
    """


class ChildRestarting(SupervisorError):
    """The child is being restarted: its last restart failed and is tried again.

    Raised by `SupervisorPid.restart_child` and `SupervisorPid.delete_child`; `SupervisorPid.terminate_child` ends the
    attempts. ``args`` holds the id.
    """


class ChildNotFound(SupervisorError, LookupError):
    """The supervisor has no such child.

    Raised by the methods of `SupervisorPid` that take an id, and by `DynamicSupervisorPid.terminate_child`. ``args``
    holds the id or pid. Also a LookupError.

    >>> from gennostr import ChildNotFound, Supervisor
    >>> with Supervisor.start() as supervisor:
    ...     try:
    ...         supervisor.terminate_child("cache")
    ...     except ChildNotFound as error:
    ...         print(error)
    cache
    """


class MaxChildren(SupervisorError):
    """The dynamic supervisor has reached its limit of children.

    Raised by `DynamicSupervisorPid.start_child`. ``args`` holds the limit, ``max_children``.

    >>> from gennostr import DynamicSupervisor, GenServer, MaxChildren
    >>> with DynamicSupervisor.start(max_children=1) as supervisor:
    ...     _ = supervisor.start_child(GenServer)
    ...     try:
    ...         supervisor.start_child(GenServer)
    ...     except MaxChildren as error:
    ...         print(error)
    1
    """


class AlreadyRegistered(ActorError):
    """A living process holds the key.

    Raised by `RegistryPid.register`. Starting a server under a `via` whose key is taken raises `AlreadyStarted`
    instead.

    >>> from gennostr import AlreadyRegistered, GenServer, Ok, Registry
    >>> class Room(GenServer):
    ...     def init(self, registry):
    ...         try:
    ...             registry.register("lobby")
    ...         except AlreadyRegistered as error:
    ...             return Ok(error.pid)
    ...         return Ok("the first")
    >>> with Registry.start() as registry, Room.start(registry) as one, Room.start(registry) as two:
    ...     one.get_state(), two.get_state() is one
    ('the first', True)

    Attributes:
        pid: the process that holds the key.

    """

    def __init__(self, pid: Any) -> None:
        super().__init__(pid)
        self.pid = pid

    def _text(self) -> str:
        return f"already registered by {shown(self.pid)}"


class RelayNotFound(GenNostrError, LookupError):
    """The client has no connection to that relay.

    Raised by a client's functions that take a relay, ``send_message`` and ``remove_relay`` for example, if it was never
    added or has been removed. Also a LookupError.

    Attributes:
        url: the relay's url, without credentials.

    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url

    def _text(self) -> str:
        return f"no connection to {_quoted(self.url)}"


class Overflow(GenNostrError):
    """The relay's outbound queue is full; the message was not queued.

    Raised by ``send_message``: the relay reads more slowly than the program writes. Try again later, or drop the
    message.
    """


class RelayUrlError(GenNostrError, ValueError):
    """The text is not a relay url; the message quotes it and says what is wrong.

    Raised by `Relay.new`, `Relay.normalize_url`, and every function that takes a url. Also a ValueError.
    """


MessageProblem: TypeAlias = Literal["malformed", "forged", "unrequested"]


class MessageError(GenNostrError, ValueError):
    """A message that breaks NIP-01.

    Raised for a message to be sent, passed to handle_error for a received one. Also a ValueError.

    Attributes:
        problem: what is wrong. "malformed": the shape of the message. "forged": the event's id, key or signature does
            not match its content. "unrequested": the event matches no filter of its subscription.
        subscription_id: the subscription for which the relay sent the "forged" or "unrequested" event, otherwise None.

    """

    problem: MessageProblem = "malformed"
    subscription_id: str | None = None

    def __init__(self, text: object, problem: MessageProblem = "malformed") -> None:
        super().__init__(text)
        if problem != "malformed":  # the class default: thousands may be queued, and an instance attribute takes memory
            self.problem = problem


class RequestTooLarge(MessageError):
    """A REQ is larger than the relay accepts and cannot be split further.

    Passed to handle_error once; the subscription continues at the other relays.

    Attributes:
        subscription_id: the subscription's id.
        size: the bytes of the REQ.
        limit: the bytes that the relay accepts.
        relay: the relay's url.

    """

    def __init__(self, subscription_id: str, size: int, limit: int, relay: str) -> None:
        GenNostrError.__init__(self, subscription_id, size, limit, relay)
        self.subscription_id = subscription_id
        self.size = size
        self.limit = limit
        self.relay = relay

    def _text(self) -> str:
        size, limit = shown(self.size), shown(self.limit)
        return (
            f"the REQ of {shown(self.subscription_id)} has {size} bytes: {_quoted(self.relay)} accepts at most {limit}"
        )


class AuthenticationError(GenNostrError):
    """A relay refused our authentication (NIP-42).

    Passed to handle_error; the connection stays open. The text quotes the relay's reason.
    """


class RelayRefused(GenNostrError):
    """A relay refused a query or answered it wrongly, so `fetch` could not finish it.

    It is a value of `FetchIncomplete.failed`. The text quotes the relay, or says what was wrong with its answer.
    """


class FetchIncomplete(GenNostrError):
    """Some relays could not be read to the end.

    Raised by the iterator of `fetch`, after all events that arrived.

    Attributes:
        failed: maps the urls of these relays to the reasons, which are exceptions.

    """

    def __init__(self, failed: Mapping[str, BaseException]) -> None:
        super().__init__(failed)
        self.failed = failed

    def _text(self) -> str:
        failed: object = self.failed
        if not isinstance(failed, Mapping):  # unpickled, and replaced by its text
            return _quoted(failed)
        return "; ".join(f"{url}: {_quoted(reason)}" for url, reason in failed.items())


class StoreError(GenNostrError):
    """A client's store cannot be opened or written.

    If it cannot be opened, the client does not start; if it cannot be written, handle_error is called.

    >>> from gennostr import StoreError
    >>> str(StoreError("feed.db: the disk is full"))
    'feed.db: the disk is full'
    """

    def __init__(self, *args: object, lost: bool = False) -> None:
        super().__init__(*args)
        self.lost = lost
        """Whether what callbacks have written since the last save is lost: the client then ends, and a new one begins
        where the last save was. Otherwise the client tries again."""


class ConnectionFault(GenNostrError):
    """Why a connection ended; the base of the five that follow.

    Passed to handle_error and handle_disconnect, not raised in a caller.
    """


class HandshakeError(ConnectionFault):
    """The response to the WebSocket upgrade was not a valid 101.

    Passed to handle_error and handle_disconnect (RFC 6455, section 4.1). `relay_information` raises it for an invalid
    response too.

    Attributes:
        message: what was wrong, with the first line of the response.
        status: the HTTP status, or None if there was none.

        headers: the header fields of the response, a dict: names are in lower case, and the values of a repeated name
            are joined with ", "; empty if there was no response.
        location: where a redirect leads, as the relay wrote it; None if it is not a redirect. Redirects are not
            followed.
        retry_after: seconds after which the relay wants the next attempt (Retry-After, also if it is a date); None if
            it does not say. The reconnect delay is at least this, up to the longest delay of the option `reconnect`.

    >>> from gennostr import HandshakeError
    >>> HandshakeError("the relay answered 301", 301, {"location": "https://new.example/"}).location
    'https://new.example/'
    """

    def __init__(
        self,
        message: str,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, status)
        self.message = message
        self.status = status
        self.headers: Mapping[str, str] = {} if headers is None else headers
        # Copied and unpickled exceptions are made anew, perhaps with a text in place of the headers.
        self.location: str | None = headers.get("location") if isinstance(headers, Mapping) else None
        self.retry_after = retry_after

    def _text(self) -> str:
        return _quoted(self.message)


class ConnectTimeout(ConnectionFault, TimeoutError):
    """The connection was not open in time: DNS, TCP, TLS and the upgrade together.

    The option ``connect_timeout`` sets the time, in seconds. Also a TimeoutError.
    """


class PingTimeout(ConnectionFault, TimeoutError):
    """The relay fell silent.

    Nothing was received for ``ping_interval`` seconds, nor for another ``ping_timeout`` seconds after a ping (both are
    options). Also a TimeoutError.
    """


class ProtocolError(ConnectionFault):
    """The relay violated RFC 6455 or a limit, and we closed the connection.

    Attributes:
        code: the status code of our close frame (RFC 6455, section 7.4), for example 1002, or 1009 for a message that
            is too large.
        reason: the text of our close frame.

    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def _text(self) -> str:
        return f"{_quoted(self.reason)} (closed with {shown(self.code)})"


class ConnectionLost(ConnectionFault):
    """The connection ended without a close frame, for example by a reset."""
