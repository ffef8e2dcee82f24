"""The messages that links and monitors deliver."""

from dataclasses import dataclass

from gennostr.otp.pid import Pid
from gennostr.otp.process import MonitorRef


@dataclass(frozen=True, slots=True)
class Exit:
    """A linked process ended with `reason`, or a process sent that exit signal; delivered where exits are trapped.

    `pid` is None if a plain thread sent it.
    """

    pid: Pid | None
    reason: object


@dataclass(frozen=True, slots=True)
class Down:
    """A monitored process ended with `reason`; `pid` is the name if the monitor was set on a name."""

    ref: MonitorRef
    pid: object
    reason: object
