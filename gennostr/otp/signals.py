"""Exit and Down: the messages delivered by links and monitors."""

from dataclasses import dataclass, field

from gennostr.otp.pid import Pid, Target
from gennostr.otp.process import MonitorRef
from gennostr.values import shown_fields


@dataclass(frozen=True, slots=True)
class Exit:
    """The message of a link, delivered to ``handle_info`` if exits are trapped.

    A linked process ended, or another process or thread sent an exit signal with `Pid.exit`. One that does not trap
    exits never receives this message: it ends too, unless the reason is NORMAL. OTP: ``{'EXIT', Pid, Reason}``.

    >>> from gennostr import Exit, GenServer, NoReply, Ok, Shutdown, reply
    >>> class Parent(GenServer):
    ...     trap_exit = True
    ...     def init(self, init_arg):
    ...         return Ok(GenServer.start_link())
    ...     def handle_call(self, request, from_, child):
    ...         child.stop(Shutdown("done"))
    ...         return NoReply(from_)
    ...     def handle_info(self, message, from_):
    ...         reply(from_, message)
    >>> with Parent.start() as parent:
    ...     print(parent.call("stop the child"))
    Exit(pid=<Pid GenServer#...>, reason=Shutdown(reason='done'))

    Attributes:
        pid: the process that ended or sent the signal; None if a plain thread sent it, or if `link` was given a name
            that is not registered.
        reason: why it ended, or the reason of the signal; any value.

    """

    pid: Pid | None
    reason: object = field(hash=False)  # can be any value, hashable or not

    __repr__ = shown_fields


@dataclass(frozen=True, slots=True)
class Down:
    """The message of a monitor: the process has ended.

    It is delivered to ``handle_info``, after all messages that the process sent, and its names are free by then. OTP:
    ``{'DOWN', Ref, process, Pid, Reason}``.

    >>> from gennostr import GenServer, NoReply, Ok, Shutdown, monitor, reply, stop
    >>> class Watcher(GenServer):
    ...     def init(self, target):
    ...         return Ok(monitor(target))
    ...     def handle_call(self, request, from_, ref):
    ...         return NoReply((ref, from_))
    ...     def handle_info(self, message, state):
    ...         ref, from_ = state
    ...         reply(from_, (message.ref is ref, message.reason))
    >>> job = GenServer.start()
    >>> with Watcher.start(job) as watcher:
    ...     pending = watcher.send_request("how did it end?")
    ...     stop(job, Shutdown("done"))
    ...     pending.wait()
    (True, Shutdown(reason='done'))

    Attributes:
        ref: what `monitor` returned.
        pid: the process or, if the monitor was set on a name or a via, that name or via.
        reason: why it ended; NOPROC if there was no such process.

    """

    ref: MonitorRef
    pid: Target
    reason: object = field(hash=False)

    __repr__ = shown_fields
