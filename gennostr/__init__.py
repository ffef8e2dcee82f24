"""Erlang-style actors for threaded Python, and a Nostr relay client that works like a GenServer.

Each name is imported when it is first asked for: who imports only the exceptions, or a plugin of pytest that is not
used, does not pay for the rest.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gennostr.client.deliveries import Count, Counting, Outcome, Publication
    from gennostr.client.events import REMOVE_RELAY
    from gennostr.client.fetch import Fetch, FetchProgress, fetch
    from gennostr.client.frames import Close
    from gennostr.client.gen_nostr import GenNostr
    from gennostr.client.options import Options, Relay
    from gennostr.client.relay_information import relay_information
    from gennostr.client.relay_statistics import RelayStatistics
    from gennostr.client.requests import Counted, Published
    from gennostr.exceptions import (
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
        StartError,
        SupervisorError,
    )
    from gennostr.otp import telemetry
    from gennostr.otp.calls import PendingReply, as_completed, reply, reply_error, send_request
    from gennostr.otp.child_spec import ChildSpec
    from gennostr.otp.crash_report import CrashReport
    from gennostr.otp.dynamic_supervisor import DynamicSupervisor
    from gennostr.otp.gen_server import GenServer
    from gennostr.otp.introspection import Node, tree
    from gennostr.otp.messages import Down, Exit, Registered, Unregistered
    from gennostr.otp.names import via
    from gennostr.otp.outcomes import IGNORE, NoReply, Ok, Reply, Stop
    from gennostr.otp.pid import Pid, call, cast, demonitor, link, monitor, send, stop, unlink, whereis
    from gennostr.otp.process import abandoned
    from gennostr.otp.program import run
    from gennostr.otp.reasons import (
        KILL,
        KILLED,
        NOPROC,
        NORMAL,
        SHUTDOWN,
        TIMEOUT,
        Shutdown,
        is_clean,
    )
    from gennostr.otp.registry import Registry
    from gennostr.otp.supervisor import Supervisor
    from gennostr.otp.system import get_state, get_status, replace_state, resume, statistics, suspend
    from gennostr.otp.timers import cancel_timer, send_after

__all__ = [
    "IGNORE",
    "KILL",
    "KILLED",
    "NOPROC",
    "NORMAL",
    "REMOVE_RELAY",
    "SHUTDOWN",
    "TIMEOUT",
    "AlreadyPresent",
    "AlreadyRegistered",
    "AlreadyStarted",
    "AuthenticationError",
    "BadReturnValue",
    "CallError",
    "CallExit",
    "CallTimeout",
    "CallingSelf",
    "ChildNotFound",
    "ChildRestarting",
    "ChildRunning",
    "ChildSpec",
    "Close",
    "ConnectTimeout",
    "ConnectionFault",
    "ConnectionLost",
    "Count",
    "Counted",
    "Counting",
    "CrashReport",
    "Down",
    "DynamicSupervisor",
    "Exit",
    "FailedToStartChild",
    "Fetch",
    "FetchIncomplete",
    "FetchProgress",
    "GenNostr",
    "GenNostrError",
    "GenServer",
    "HandshakeError",
    "MaxChildren",
    "MessageError",
    "NoProcess",
    "NoReply",
    "Node",
    "Ok",
    "Options",
    "Outcome",
    "Overflow",
    "PendingReply",
    "Pid",
    "PingTimeout",
    "ProtocolError",
    "Publication",
    "Published",
    "Registered",
    "Registry",
    "Relay",
    "RelayNotFound",
    "RelayRefused",
    "RelayStatistics",
    "RelayUrlError",
    "Reply",
    "Shutdown",
    "StartError",
    "Stop",
    "Supervisor",
    "SupervisorError",
    "Unregistered",
    "abandoned",
    "as_completed",
    "call",
    "cancel_timer",
    "cast",
    "demonitor",
    "fetch",
    "get_state",
    "get_status",
    "is_clean",
    "link",
    "monitor",
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
    "telemetry",
    "tree",
    "unlink",
    "via",
    "whereis",
]

_NAMES = {
    "client.deliveries": "Count Counting Outcome Publication",
    "client.events": "REMOVE_RELAY",
    "client.fetch": "Fetch FetchProgress fetch",
    "client.frames": "Close",
    "client.gen_nostr": "GenNostr",
    "client.options": "Options Relay",
    "client.relay_information": "relay_information",
    "client.relay_statistics": "RelayStatistics",
    "client.requests": "Counted Published",
    "exceptions": (
        "AlreadyPresent AlreadyRegistered AlreadyStarted AuthenticationError BadReturnValue CallError CallExit "
        "CallingSelf CallTimeout ChildNotFound ChildRestarting ChildRunning ConnectionFault ConnectionLost "
        "ConnectTimeout FailedToStartChild FetchIncomplete GenNostrError HandshakeError MaxChildren MessageError "
        "NoProcess Overflow PingTimeout ProtocolError RelayNotFound RelayRefused RelayUrlError StartError "
        "SupervisorError"
    ),
    "otp.calls": "PendingReply as_completed reply reply_error send_request",
    "otp.child_spec": "ChildSpec",
    "otp.crash_report": "CrashReport",
    "otp.dynamic_supervisor": "DynamicSupervisor",
    "otp.gen_server": "GenServer",
    "otp.introspection": "Node tree",
    "otp.messages": "Down Exit Registered Unregistered",
    "otp.names": "via",
    "otp.outcomes": "IGNORE NoReply Ok Reply Stop",
    "otp.pid": "Pid call cast demonitor link monitor send stop unlink whereis",
    "otp.process": "abandoned",
    "otp.program": "run",
    "otp.reasons": "KILL KILLED NOPROC NORMAL SHUTDOWN TIMEOUT Shutdown is_clean",
    "otp.registry": "Registry",
    "otp.supervisor": "Supervisor",
    "otp.system": "get_state get_status replace_state resume statistics suspend",
    "otp.timers": "cancel_timer send_after",
}
_MODULES = {"telemetry": "otp.telemetry"} | {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_MODULES[name]}")
    # Kept, so that this is asked once for each name.
    value = globals()[name] = module if name == "telemetry" else getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
