"""Erlang-style actors for threaded Python, and a Nostr client built on them.

The guide begins with ``gennostr guide tutorial``, or ``python -m pydoc gennostr.guide.tutorial``. ``gennostr guide
NAME`` and ``help(gennostr.NAME)`` show the entry of one of these names:

- Servers: `GenServer`; what callbacks return: `Ok`, `Reply`, `NoReply`, `Stop`, `IGNORE` (their types: `InitOutcome`,
  `CallOutcome`, `CallbackOutcome`); `Request`, `reply`, `reply_error`, `TIMEOUT`; `run`
- Calls and messages: `Pid`, `call`, `call_async`, `cast`, `send`, `stop`, `send_request`, `PendingReply`,
  `as_completed`
- Supervision: `Supervisor`, `DynamicSupervisor`, `ChildSpec`, `SupervisorFlags`, `SupervisorPid`,
  `DynamicSupervisorPid`, `ChildInfo`, `ChildCounts`
- Links and monitors: `link`, `unlink`, `monitor`, `demonitor`, `MonitorRef`, `Exit`, `Down`; reasons: `NORMAL`,
  `SHUTDOWN`, `Shutdown`, `KILL`, `KILLED`, `NOPROC`, `NOCONNECTION`,
  `is_clean`
- Names: `whereis`, `wait_for`, `via`, `Via`, `Registry`, `RegistryPid`, `Registered`, `Unregistered`
- Time: `send_after`, `cancel_timer`, `Timer`, `monotonic_time`, `system_time`
- A look inside: `tree`, `Node`, `get_state`, `replace_state`, `get_status`, `Status`, `statistics`, `Statistics`,
  `suspend`, `resume`, `abandoned`, `CrashReport`, `telemetry`
- The Nostr client: `GenNostr`, `GenNostrPid`, `RelayOutcome`, `Relay`, `Options`, `RelayOptions`, `REMOVE_RELAY`,
  `Close`, `RelayStatistics`, `ClientStatistics`, `relay_information`
- Publications, counts, stored events: `Publication`, `PublicationDone`, `PublishOutcome`, `CountRequest`, `CountDone`,
  `Count`, `fetch`, `Fetch`, `FetchProgress`
- Exceptions: all below `GenNostrError`; `gennostr.exceptions` draws the tree

`gennostr.nostr` has events, filters, messages and keys; `gennostr.testing` the test kit.
"""

import atexit

# Imported for its side effect: logging registers an atexit handler that closes the log handlers. atexit runs handlers
# in reverse order of registration, so ours, registered later, runs first: the actors still log how they ended.
import logging  # noqa: F401
import sys
from importlib import import_module
from typing import TYPE_CHECKING

# Names are imported on first use: a program that needs only the exceptions, or a pytest run that does not use the
# plugin, does not pay for the rest.

if TYPE_CHECKING:
    from gennostr.client.attempt import PublishOutcome
    from gennostr.client.connection_events import REMOVE_RELAY
    from gennostr.client.fetch import Fetch, FetchProgress, fetch
    from gennostr.client.frames import Close
    from gennostr.client.functions import GenNostrPid
    from gennostr.client.gen_nostr import GenNostr, RelayOutcome
    from gennostr.client.information_client import relay_information
    from gennostr.client.options import Options, Relay, RelayOptions
    from gennostr.client.publications import (
        Count,
        CountDone,
        CountRequest,
        Publication,
        PublicationDone,
    )
    from gennostr.client.relay_statistics import ClientStatistics, RelayStatistics
    from gennostr.exceptions import (
        ActorError,
        AlreadyPresent,
        AlreadyRegistered,
        AlreadyStarted,
        AuthenticationError,
        BadReturnValue,
        CallError,
        CallExit,
        CallingSelf,
        CallTimeout,
        ChildNotFound,
        ChildRestarting,
        ChildRunning,
        ConnectionFault,
        ConnectionLost,
        ConnectTimeout,
        FailedToStartChild,
        FetchIncomplete,
        GenNostrError,
        HandshakeError,
        MaxChildren,
        MessageError,
        NoProcess,
        Overflow,
        PingTimeout,
        ProtocolError,
        RelayNotFound,
        RelayRefused,
        RelayUrlError,
        RequestTooLarge,
        StartError,
        StoreError,
        SupervisorError,
    )
    from gennostr.otp import telemetry
    from gennostr.otp.calls import PendingReply, Request, as_completed, reply, reply_error, send_request
    from gennostr.otp.child import ChildCounts, ChildInfo
    from gennostr.otp.child_spec import ChildSpec
    from gennostr.otp.clock import monotonic_time, system_time
    from gennostr.otp.crash_report import CrashReport
    from gennostr.otp.dynamic_supervisor import DynamicSupervisor, DynamicSupervisorPid
    from gennostr.otp.gen_server import GenServer
    from gennostr.otp.introspection import Node, tree
    from gennostr.otp.names import Via, via
    from gennostr.otp.outcomes import IGNORE, CallbackOutcome, CallOutcome, InitOutcome, NoReply, Ok, Reply, Stop
    from gennostr.otp.pid import Pid, call, call_async, cast, demonitor, link, monitor, send, stop, unlink, whereis
    from gennostr.otp.process import MonitorRef, abandoned
    from gennostr.otp.program import run
    from gennostr.otp.reasons import (
        KILL,
        KILLED,
        NOCONNECTION,
        NOPROC,
        NORMAL,
        SHUTDOWN,
        TIMEOUT,
        Shutdown,
        is_clean,
    )
    from gennostr.otp.registration import wait_for
    from gennostr.otp.registry import Registered, Registry, RegistryPid, Unregistered
    from gennostr.otp.signals import Down, Exit
    from gennostr.otp.supervisor import Supervisor, SupervisorFlags, SupervisorPid
    from gennostr.otp.system import (
        Statistics,
        Status,
        get_state,
        get_status,
        replace_state,
        resume,
        statistics,
        suspend,
    )
    from gennostr.otp.timers import Timer, cancel_timer, send_after

    __version__: str

    # The former names, until 1.0: see _RENAMED.
    Counted = CountDone
    Counting = CountRequest
    Outcome = PublishOutcome
    Published = PublicationDone

__all__ = [
    "IGNORE",
    "KILL",
    "KILLED",
    "NOCONNECTION",
    "NOPROC",
    "NORMAL",
    "REMOVE_RELAY",
    "SHUTDOWN",
    "TIMEOUT",
    "ActorError",
    "AlreadyPresent",
    "AlreadyRegistered",
    "AlreadyStarted",
    "AuthenticationError",
    "BadReturnValue",
    "CallError",
    "CallExit",
    "CallOutcome",
    "CallTimeout",
    "CallbackOutcome",
    "CallingSelf",
    "ChildCounts",
    "ChildInfo",
    "ChildNotFound",
    "ChildRestarting",
    "ChildRunning",
    "ChildSpec",
    "ClientStatistics",
    "Close",
    "ConnectTimeout",
    "ConnectionFault",
    "ConnectionLost",
    "Count",
    "CountDone",
    "CountRequest",
    "CrashReport",
    "Down",
    "DynamicSupervisor",
    "DynamicSupervisorPid",
    "Exit",
    "FailedToStartChild",
    "Fetch",
    "FetchIncomplete",
    "FetchProgress",
    "GenNostr",
    "GenNostrError",
    "GenNostrPid",
    "GenServer",
    "HandshakeError",
    "InitOutcome",
    "MaxChildren",
    "MessageError",
    "MonitorRef",
    "NoProcess",
    "NoReply",
    "Node",
    "Ok",
    "Options",
    "Overflow",
    "PendingReply",
    "Pid",
    "PingTimeout",
    "ProtocolError",
    "Publication",
    "PublicationDone",
    "PublishOutcome",
    "Registered",
    "Registry",
    "RegistryPid",
    "Relay",
    "RelayNotFound",
    "RelayOptions",
    "RelayOutcome",
    "RelayRefused",
    "RelayStatistics",
    "RelayUrlError",
    "Reply",
    "Request",
    "RequestTooLarge",
    "Shutdown",
    "StartError",
    "Statistics",
    "Status",
    "Stop",
    "StoreError",
    "Supervisor",
    "SupervisorError",
    "SupervisorFlags",
    "SupervisorPid",
    "Timer",
    "Unregistered",
    "Via",
    "abandoned",
    "as_completed",
    "call",
    "call_async",
    "cancel_timer",
    "cast",
    "demonitor",
    "fetch",
    "get_state",
    "get_status",
    "is_clean",
    "link",
    "monitor",
    "monotonic_time",
    "relay_information",
    "replace_state",
    "reply",
    "reply_error",
    "resume",
    "run",
    "send",
    "send_after",
    "send_request",
    "statistics",
    "stop",
    "suspend",
    "system_time",
    "telemetry",
    "tree",
    "unlink",
    "via",
    "wait_for",
    "whereis",
]

_NAMES = {
    "client.attempt": "PublishOutcome",
    "client.connection_events": "REMOVE_RELAY",
    "client.fetch": "Fetch FetchProgress fetch",
    "client.frames": "Close",
    "client.functions": "GenNostrPid",
    "client.gen_nostr": "GenNostr RelayOutcome",
    "client.options": "Options Relay RelayOptions",
    "client.information_client": "relay_information",
    "client.relay_statistics": "ClientStatistics RelayStatistics",
    "client.publications": "Count CountDone CountRequest Publication PublicationDone",
    "exceptions": (
        "ActorError "
        "AlreadyPresent AlreadyRegistered AlreadyStarted AuthenticationError BadReturnValue CallError CallExit "
        "CallingSelf CallTimeout ChildNotFound ChildRestarting ChildRunning ConnectionFault ConnectionLost "
        "ConnectTimeout FailedToStartChild FetchIncomplete GenNostrError HandshakeError MaxChildren MessageError "
        "NoProcess Overflow PingTimeout ProtocolError RelayNotFound RelayRefused RelayUrlError RequestTooLarge "
        "StartError StoreError SupervisorError"
    ),
    "otp.calls": "PendingReply Request as_completed reply reply_error send_request",
    "otp.child": "ChildCounts ChildInfo",
    "otp.child_spec": "ChildSpec",
    "otp.clock": "monotonic_time system_time",
    "otp.crash_report": "CrashReport",
    "otp.dynamic_supervisor": "DynamicSupervisor DynamicSupervisorPid",
    "otp.gen_server": "GenServer",
    "otp.introspection": "Node tree",
    "otp.names": "Via via",
    "otp.outcomes": "IGNORE CallbackOutcome CallOutcome InitOutcome NoReply Ok Reply Stop",
    "otp.pid": "Pid call call_async cast demonitor link monitor send stop unlink whereis",
    "otp.process": "MonitorRef abandoned",
    "otp.program": "run",
    "otp.reasons": "KILL KILLED NOCONNECTION NOPROC NORMAL SHUTDOWN TIMEOUT Shutdown is_clean",
    "otp.registration": "wait_for",
    "otp.registry": "Registered Registry RegistryPid Unregistered",
    "otp.signals": "Down Exit",
    "otp.supervisor": "Supervisor SupervisorFlags SupervisorPid",
    "otp.system": "Statistics Status get_state get_status replace_state resume statistics suspend",
    "otp.timers": "Timer cancel_timer send_after",
}
_MODULES = {"telemetry": "otp.telemetry"} | {name: module for module, names in _NAMES.items() for name in names.split()}
_RENAMED = {
    "Counted": "CountDone",
    "Counting": "CountRequest",
    "Outcome": "PublishOutcome",
    "Published": "PublicationDone",
}
"""Former names and today's: they can be imported, with a DeprecationWarning, until 1.0."""


if not TYPE_CHECKING:  # a type checker that sees __getattr__ would accept every misspelled name

    def __getattr__(name: str) -> object:
        if name in _RENAMED:
            import warnings  # noqa: PLC0415 - only programs that use a former name pay for it

            text = f"gennostr.{name} is now gennostr.{_RENAMED[name]}; the former name will be removed in 1.0"
            warnings.warn(text, DeprecationWarning, stacklevel=2)
            return getattr(sys.modules[__name__], _RENAMED[name])  # not cached: each line that uses it is warned about
        if name in _MODULES:
            module = import_module(f"{__name__}.{_MODULES[name]}")
            value = module if name == "telemetry" else getattr(module, name)
        elif name == "__version__":
            value = _version()
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        # Cached, so that __getattr__ runs once per name.
        globals()[name] = value
        return value


def _version() -> str:
    """Return the installed version, which pyproject.toml defines."""
    from importlib import metadata  # noqa: PLC0415 - takes longer to import than this whole module

    try:
        return metadata.version(__name__)
    except metadata.PackageNotFoundError:
        raise AttributeError(f"{__name__!r} has no version: it is imported from a folder, and not installed") from None


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})


def _stop_actors() -> None:
    """Stop the remaining actors at interpreter exit.

    Registered here rather than in `interpreter_exit`, which is imported later: atexit runs handlers in reverse order of
    registration, so a handler that a program registers after ``import gennostr`` still finds its actors alive.
    """
    interpreter_exit = sys.modules.get(f"{__name__}.otp.interpreter_exit")
    if interpreter_exit is not None:  # if it was never imported, no actor ever ran
        interpreter_exit.stop_roots()


atexit.register(_stop_actors)
