"""The messages that links and monitors deliver."""

from dataclasses import dataclass, field

from gennostr.otp.pid import Pid
from gennostr.otp.process import MonitorRef
from gennostr.values import shown_fields


@dataclass(frozen=True, slots=True)
class Exit:
    """A linked process ended with `reason`, or a process sent that exit signal; delivered where exits are trapped.

    `pid` is None if a plain thread sent it.
    """

    pid: Pid | None
    reason: object = field(hash=False)  # any value, and some have no hash

    __repr__ = shown_fields


@dataclass(frozen=True, slots=True)
class Down:
    """A monitored process ended with `reason`; `pid` is the name if the monitor was set on a name."""

    ref: MonitorRef
    pid: object
    reason: object = field(hash=False)

    __repr__ = shown_fields
