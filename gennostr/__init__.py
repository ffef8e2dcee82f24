"""Erlang-style actors for threaded Python, and a Nostr relay client that works like a GenServer."""

from gennostr.client.events import REMOVE_RELAY
from gennostr.client.frames import Close
from gennostr.client.gen_nostr import GenNostr
from gennostr.client.options import Options, Relay
from gennostr.exceptions import (
    AlreadyPresent,
    AlreadyRegistered,
    AlreadyStarted,
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
    GenNostrError,
    HandshakeError,
    MaxChildren,
    MessageError,
    NoProcess,
    Overflow,
    PingTimeout,
    ProtocolError,
    RelayNotFound,
    RelayUrlError,
    StartError,
    SupervisorError,
)
from gennostr.otp import telemetry
from gennostr.otp.calls import PendingReply, as_completed, reply, send_request
from gennostr.otp.child_spec import ChildSpec
from gennostr.otp.crash_report import CrashReport
from gennostr.otp.dynamic_supervisor import DynamicSupervisor
from gennostr.otp.gen_server import GenServer
from gennostr.otp.introspection import Node, tree
from gennostr.otp.messages import Down, Exit, Registered, Unregistered
from gennostr.otp.names import via, whereis
from gennostr.otp.outcomes import IGNORE, NoReply, Ok, Reply, Stop
from gennostr.otp.pid import Pid, call, cast, demonitor, link, monitor, send, stop, unlink
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
    "CrashReport",
    "Down",
    "DynamicSupervisor",
    "Exit",
    "FailedToStartChild",
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
    "Overflow",
    "PendingReply",
    "Pid",
    "PingTimeout",
    "ProtocolError",
    "Registered",
    "Registry",
    "Relay",
    "RelayNotFound",
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
    "get_state",
    "get_status",
    "is_clean",
    "link",
    "monitor",
    "replace_state",
    "reply",
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
