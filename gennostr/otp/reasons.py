"""Exit reasons: why a process ended.

NORMAL, SHUTDOWN and ``Shutdown(x)`` are clean. Any other value is a failure; if a callback raises, the exception itself
is the reason. KILLED is the reason of a process that was sent KILL, NOPROC means that there was no such process,
NOCONNECTION that another Python process was lost, and TIMEOUT that init took too long.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from gennostr.values import Record, shown_fields


class Reason(Enum):
    """The named reasons; compare them with ``is``.

    - NORMAL: the server has done its work; clean.
    - SHUTDOWN: its supervisor, `run` or the interpreter's exit stopped it; clean.
    - KILL: sent with ``pid.exit(KILL)``, which ends any process at once, without terminate.
    - KILLED: the process was sent KILL.
    - NOPROC: there was no process to link or monitor.
    - NOCONNECTION: another Python process was lost, and what ran there with it; see `gennostr.cluster`.
    - TIMEOUT: the start took too long; also handle_info's message after a timeout.

    >>> from gennostr import NORMAL, GenServer, stop
    >>> class Guest(GenServer):
    ...     def terminate(self, reason, state):
    ...         print("goodbye" if reason is NORMAL else reason)
    >>> stop(Guest.start())
    goodbye
    """

    NORMAL = "normal"
    SHUTDOWN = "shutdown"
    KILL = "kill"
    KILLED = "killed"
    NOPROC = "noproc"
    NOCONNECTION = "noconnection"
    TIMEOUT = "timeout"

    def __repr__(self) -> str:
        return self.name

    __str__ = __repr__


NORMAL: Final = Reason.NORMAL
"""The reason of a server that has done its work: the default of `Stop` and of `stop`.

Clean: it ends no linked process, and a transient child is not restarted. OTP: ``normal``.
"""
SHUTDOWN: Final = Reason.SHUTDOWN
"""The reason of a server that its supervisor, `run` or the interpreter's exit stops.

Clean, but it ends linked processes that do not trap exits. OTP: ``shutdown``.
"""
KILL: Final = Reason.KILL
"""Sent with ``pid.exit(KILL)``: ends any process at once, whatever it is doing and trapping.

terminate does not run. Its links and monitors see KILLED. A thread cannot be interrupted, though: one that is busy in
a callback ends when the callback returns, and nothing that it does until then has an effect; see `abandoned`. OTP:
``exit(Pid, kill)``.

>>> from gennostr import KILL, GenServer
>>> server = GenServer.start()
>>> server.exit(KILL)
>>> server.is_alive()
False
"""
KILLED: Final = Reason.KILLED
"""The reason of a process that was sent KILL. OTP: ``killed``."""
NOPROC: Final = Reason.NOPROC
"""The reason in an `Exit` or `Down` if there was no process to link or monitor. OTP: ``noproc``."""
NOCONNECTION: Final = Reason.NOCONNECTION
"""The reason if another Python process was lost, and what ran there with it: a shard of a cluster.

Whether it has died or cannot be reached looks the same from here. A failure: not clean. OTP: ``noconnection``.
"""
TIMEOUT: Final = Reason.TIMEOUT
"""The reason of a start that took too long, and handle_info's message after a timeout."""


@dataclass(frozen=True, slots=True)
class Shutdown(Record):
    """A clean exit reason with an explanation.

    OTP: ``{shutdown, Term}``.

    >>> from gennostr import CallExit, GenServer, Shutdown, Stop, is_clean
    >>> class Job(GenServer):
    ...     def handle_call(self, request, from_, state):
    ...         return Stop(Shutdown("no work left"))
    >>> try:
    ...     Job.start().call("next")
    ... except CallExit as error:
    ...     print(error.reason, is_clean(error.reason))
    Shutdown(reason='no work left') True

    Args:
        reason: the explanation; any value.

    """

    reason: object = field(hash=False)  # can be any value, hashable or not

    __repr__ = shown_fields


def is_clean(reason: object) -> bool:
    """Return whether an exit reason is clean.

    NORMAL, SHUTDOWN and each `Shutdown` are clean. Any other reason is a failure: it is logged as a crash, and a
    supervisor restarts a transient child after it.

    >>> from gennostr import KILLED, NORMAL, Shutdown, is_clean
    >>> is_clean(NORMAL), is_clean(Shutdown("moved")), is_clean(KILLED), is_clean(ValueError("bad"))
    (True, True, False, False)

    Args:
        reason: any value, for example the `reason` of an `Exit`, a `Down` or a `CallExit`.

    """
    return reason is NORMAL or reason is SHUTDOWN or isinstance(reason, Shutdown)
