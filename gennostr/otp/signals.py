"""Exit and Down: the messages delivered by links and monitors."""

from dataclasses import dataclass, field

from gennostr.otp.pid import Pid
from gennostr.otp.process import MonitorRef
from gennostr.values import shown_fields


@dataclass(frozen=True, slots=True)
class Exit:
    """A linked process ended with `reason`, or an exit signal with that reason was sent.

    Delivered only if exits are trapped. `pid` is the sender, or None if a plain thread sent the signal.
    """

    pid: Pid | None
    reason: object = field(hash=False)  # can be any value, hashable or not

    __repr__ = shown_fields


@dataclass(frozen=True, slots=True)
class Down:
    """A monitored process ended with `reason`; `pid` is the name if the monitor was set on a name."""

    ref: MonitorRef
    pid: object
    reason: object = field(hash=False)

    __repr__ = shown_fields
