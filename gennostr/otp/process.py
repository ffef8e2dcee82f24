"""Processes: life and death, links, monitors, exit signals, and the kill fence.

A `Process` is the library's record of one actor: its mailbox, its links and watchers, the names it holds, and how it
ended. It has no thread of its own; an actor's thread becomes the process by calling `enter`.

Everything else relies on these ordering rules:

* A process dies once. `die` marks it dead under its lock. After that, nobody can link to it, watch it or register a
  name for it, so its death misses nobody.
* Names are released before anyone is notified: a process that has received an Exit or a Down finds the name free.
* Notify monitors first, then links, then waiters (a call, a stop): when a waiting thread resumes, every Exit and Down
  of that death is in its receiver's mailbox, so a supervisor handles the thread's next request after the restart.
* What a process sent before it died is in the receiver's mailbox before its Exit or Down. A process that ends by
  itself sends and dies in one thread. If it is killed, `put_from` holds its lock while sending, so the message is sent
  either before `die` marks the process dead or not at all.
* No code acquires the `books` of a second process while it holds those of another: a link is written on the own side
  first, then on the other, and removed if the other process turns out to be dead.
* Nothing relies on the order of a store and a load without a lock, for builds without the GIL. A wait is entered, and
  `dead` and `interrupt` are read, under the same lock under which a kill or an exit signal sets them.
* A finalizer or a signal handler may run in any thread and call any public function: between any two lines, according
  to the language; CPython runs them after a call, at a backward jump, and when a container is created. So the locks are
  reentrant; what they protect is valid at each line (`dead` is read again after an entry is written); and while
  `books`, which every death of a linked process acquires, is held, none of these three happens, so a finalizer that
  waits for such a death cannot block it. The other lock, `lock`, is held while a message is put; apart from that, only
  a kill of this process and an unlink from it acquire it.
* A mailbox closes when its process dies: `die` replaces it with CLOSED. A sender that fetched the old mailbox before
  still puts its message there, where it is discarded.

A thread cannot be killed. Kill is a fence: `die` runs in the killer's thread, and from then on nothing that the
abandoned thread does through this library has an effect, because every effect first checks whether the
`current_process` is dead. If the thread is waiting in a call, the kill wakes it.

An untrapped exit signal ends the process at its next message, and ends a wait (a call, a start, a stop) at once, as it
ends an Erlang process in its ``receive``: the wait raises CallExit, which unwinds the callback.

In a forked child, only the thread that forked continues. So every process is dead there, and the locks, which the lost
threads may have held, are replaced: see `_forget_after_fork`.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any, ClassVar, ParamSpec, Protocol

import pykka

from gennostr.exceptions import CallExit, NoProcess
from gennostr.otp import mailbox as mailboxes
from gennostr.otp import telemetry, tracebacks
from gennostr.otp.clock import ScheduledCall, clock
from gennostr.otp.envelopes import WAKE
from gennostr.otp.mailbox import CLOSED, Mailbox
from gennostr.otp.reasons import KILL, KILLED, NOPROC, NORMAL, is_clean
from gennostr.values import Handle, shown

logger = logging.getLogger(__name__)
logger.addFilter(tracebacks.escape)

P = ParamSpec("P")

ABANDONED_AFTER = 0.2
"""Seconds after which the thread of a killed process is logged if it is still running."""


class ActorRefs:
    """The living actors in pykka's registry: a list whose `remove` does not search.

    Each end of an actor removes its handle: in a list, that takes longer the more actors are alive. It has what pykka
    uses of the list. Each method is one atomic step of a dict, or works on a copy.
    """

    def __init__(self, refs: Iterable[Any] = ()) -> None:
        self._refs: dict[Any, None] = dict.fromkeys(refs)

    def append(self, ref: Any) -> None:
        """Add `ref` at the end."""
        self._refs[ref] = None

    def remove(self, ref: Any) -> None:
        """Remove `ref`; raise ValueError if it is missing."""
        try:
            del self._refs[ref]
        except KeyError:
            raise ValueError(f"{ref!r} is not in the registry") from None

    def __contains__(self, ref: object) -> bool:
        return ref in self._refs

    def __len__(self) -> int:
        return len(self._refs)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._refs))

    def __getitem__(self, index: Any) -> Any:
        return list(self._refs)[index]


# Only for speed, so a pykka that keeps its actors in another way keeps them.
if isinstance(getattr(pykka.ActorRegistry, "_actor_refs", None), list):
    with pykka.ActorRegistry._actor_refs_lock:  # noqa: SLF001 - another thread may be starting an actor of pykka's own
        pykka.ActorRegistry._actor_refs = ActorRefs(pykka.ActorRegistry._actor_refs)  # type: ignore[assignment] # noqa: SLF001


class Watcher(Protocol):
    """An object to notify once when a process dies."""

    def down(self, process: "Process", reason: object) -> None:
        """Handle the death of `process`.

        Runs in the dying (or killing) thread; must not block.
        """


class Waiter(Protocol):
    """A wait of a process; another thread can abandon it."""

    @property
    def process(self) -> "Process | None":
        """The process it waits for."""

    def abandon(self, reason: object) -> bool:
        """End the wait with `reason`; return False if it has already ended."""


class Table(Protocol):
    """A table in which a process is registered; see `gennostr.otp.names`."""

    def release(self, key: object, process: "Process") -> bool:
        """Release `key` if `process` still holds it."""


class Actor(Protocol):
    """What a process needs of its actor; see `gennostr.otp.engine`.

    Called from any thread.
    """

    @property
    def trap_exit(self) -> bool:
        """Whether exit signals are delivered as messages."""

    def on_cancel(self) -> None:
        """Unblock the running callback: the process was killed.

        Runs in the killer's thread.
        """

    def activity(self) -> str:
        """Return one word for what the actor is doing."""

    def mailbox_length(self) -> int:
        """Return the number of waiting messages, including deferred ones."""

    def children(self) -> tuple[object, ...]:
        """Return the actor's children, newest first.

        They are pids, or ``ChildInfo`` for a supervisor.
        """


class ExitSignal:
    """An exit signal in the mailbox of a process that traps exits.

    `sender` is None for a plain thread.
    """

    __slots__ = ("reason", "sender")

    def __init__(self, sender: "Process | None", reason: object) -> None:
        self.sender = sender
        self.reason = reason


class DownSignal:
    """A message to a monitor's owner: the process that `ref` watches has ended."""

    __slots__ = ("reason", "ref")

    def __init__(self, ref: "MonitorRef", reason: object) -> None:
        self.ref = ref
        self.reason = reason


class MonitorRef(Handle):
    """One monitor, returned by `monitor`; its `Down` carries it as ``ref``.

    It compares by identity, like an Erlang reference.

    >>> from gennostr import GenServer, Reply, demonitor, monitor
    >>> class Watcher(GenServer):
    ...     def handle_call(self, request, from_, state):
    ...         ref = monitor(request)
    ...         demonitor(ref, flush=True)
    ...         return Reply((type(ref).__name__, ref.target))
    >>> with Watcher.start() as watcher:
    ...     watcher.call("cache")
    ('MonitorRef', 'cache')

    Attributes:
        target: the pid, name or via that was given to `monitor`.
        owner, watched, flushed: the library's own.

    """

    __slots__ = ("flushed", "owner", "target", "watched")

    def __init__(self, owner: "Process", watched: "Process | None", target: object) -> None:
        self.owner = owner
        self.watched = watched
        # A `gennostr.otp.pid.Target`, which depends on this module.
        self.target: Any = target
        self.flushed = False

    def __repr__(self) -> str:
        return f"<MonitorRef of {shown(self.target)}>"

    def down(self, process: "Process", reason: object) -> None:
        """Notify the owner, unless it has removed the monitor."""
        del process
        if not self.owner.take(self):
            return
        self.owner.deliver(DownSignal(self, reason))


class Process(Handle):
    """One actor's control block.

    `books` protects `interrupt`, `thread`, and additions to `waits`, `links`, `watchers` and `monitors`, so that a
    later death processes them; removing an entry is atomic. `lock` orders what the process sends relative to its death.
    `dead` and `reason` are written under both locks; code that must be sure reads them again under one of the two.
    """

    __slots__ = (
        "actor", "books", "dead", "end_known", "gave_up", "interrupt", "keys", "links", "lock", "mailbox", "monitors",
        "name", "number", "parent", "pid", "reason", "restarts", "started", "thread", "waits", "watchers",
    )  # fmt: skip

    _numbers = count(1)
    answers_itself: ClassVar[bool] = False
    """Whether the thread that acts as the process also receives its messages, so that it can answer a request of its
    own, unless it blocks: a probe. An actor's thread cannot before its callback returns."""

    def __init__(self, pid: Any, actor: Actor, mailbox: Mailbox) -> None:
        # A `gennostr.otp.pid.Pid`, which depends on this module.
        self.pid: Any = pid
        self.actor: Actor | None = actor
        self.mailbox = mailbox
        self.number = next(self._numbers)
        self.name: object = None
        self.parent: Process | None = None
        # How many times its child was restarted before this process.
        self.restarts = 0
        # In seconds, on the clock's monotonic scale.
        self.started = clock().monotonic()
        self.lock = threading.RLock()
        self.books = threading.RLock()
        self.dead = False
        self.reason: object = None
        # Whether the exit is known: a call has raised it, or it was sent with ``exit``. Leaving a ``with`` statement
        # then does not raise it.
        self.end_known = False
        # Why a supervisor gave up, or one that ended this process through a link: its reason is the clean SHUTDOWN, as
        # in OTP, but `run` must not take it for success. Written by the supervisor's thread before it dies.
        self.gave_up = ""
        # The reason of an untrapped exit signal, which ends the process at its next message or in a wait.
        self.interrupt: tuple[object] | None = None
        self.links: dict[Process, None] = {}
        # Whom to notify of the death; True for waiters, which are notified last.
        self.watchers: dict[Watcher, bool] = {}
        self.monitors: dict[MonitorRef, None] = {}
        # The keys it holds, by table.
        self.keys: dict[Table, dict[object, None]] = {}
        self.thread: int | None = None
        # What its thread waits for: several if a finalizer waits during a wait, or if tasks of an event loop wait.
        self.waits: dict[Waiter, None] = {}

    def __repr__(self) -> str:
        return repr(self.pid)

    def is_dead(self) -> bool:
        """Return the current value of `dead`.

        Another thread may have changed it since the last check.
        """
        return self.dead

    # Messages.

    def deliver(self, message: object) -> None:
        """Put `message` in the mailbox; it is dropped if the process is dead."""
        self.mailbox.put(message)

    def put_from(self, sender: "Process | None", message: object) -> bool:
        """Put `message` in the mailbox; return False if the sender has been killed.

        `sender` is the calling process.

        Atomic with respect to a kill, so that no message of the sender arrives after its Exit or Down.
        """
        if sender is None:
            self.mailbox.put(message)
            return True
        with sender.lock:
            if sender.dead:
                return False
            self.mailbox.put(message)
        return True

    # Waits.

    @property
    def waiting(self) -> Waiter | None:
        """What its thread is waiting for, or None."""
        waits = list(self.waits)
        return waits[-1] if waits else None

    def check_wait(self) -> None:
        """Raise CallExit if the process must not wait.

        That is if it was killed or received an untrapped exit signal.

        This applies in terminate too: such a signal ends an Erlang process wherever it waits.
        """
        with self.books:
            dead, reason, interrupt = self.dead, self.reason, self.interrupt
        if dead:
            raise CallExit(reason, self.pid)
        if interrupt is not None:
            raise CallExit(interrupt[0], self.pid)

    def begin_wait(self, waiter: Waiter) -> None:
        """Abandon `waiter` on a kill or an exit signal, past or future.

        This ends when it is removed from `waits`.

        Removing needs no lock: it is atomic, and a waiter is abandoned only after `dead` or `interrupt` was set.
        """
        with self.books:
            self.waits[waiter] = None
            ended = self.dead or self.interrupt is not None
        if ended:
            waiter.abandon(NORMAL)

    # Watchers and monitors.

    def watch(self, watcher: Watcher, *, waits: bool = False) -> bool:
        """Notify `watcher` when the process dies; return False if it is already dead.

        A watcher with `waits` lets a waiting thread resume, and is notified after all others.
        """
        with self.books:
            if not self.dead:
                self.watchers[watcher] = waits
            return not self.dead

    def unwatch(self, watcher: Watcher) -> None:
        """Undo `watch`."""
        self.watchers.pop(watcher, None)

    def monitor(self, watched: "Process | None", target: object) -> MonitorRef:
        """Monitor `watched`, called `target` in the Down.

        If `watched` is None or dead, deliver Down(NOPROC) at once.
        """
        ref = MonitorRef(self, watched, target)
        with self.books:
            if not self.dead:
                self.monitors[ref] = None
            dead = self.dead
        if dead or watched is self:
            return ref
        if watched is None or not watched.watch(ref):
            ref.down(self, NOPROC)
        elif self.is_dead():  # killed in the meantime: `die` called unwatch before the watch above
            watched.unwatch(ref)
        return ref

    def take(self, ref: MonitorRef) -> bool:
        """Remove `ref` from the monitors; return True for the caller that removed it."""
        return self.monitors.pop(ref, 0) != 0

    def demonitor(self, ref: MonitorRef, *, flush: bool = False) -> bool:
        """Remove a monitor; return whether it was set.

        With `flush`, also discard a Down already queued.
        """
        found = self.take(ref)
        if found and ref.watched is not None:
            ref.watched.unwatch(ref)
        if ref.owner is self:
            ref.flushed = ref.flushed or flush
        return found

    # Links and exit signals.

    def link(self, other: "Process") -> bool:
        """Link both processes; return False if this one is dead.

        If `other` is dead, signal NOPROC to this one.
        """
        if other is self:
            return True
        if not self.note_link(other):
            return False
        if not other.note_link(self):
            self.signal(other, NOPROC, linked=True)
        elif self.is_dead():  # killed in the meantime: its exit signal reached `other` before the link, as above
            other.unlink(self)
            return False
        return True

    def unlink(self, other: "Process") -> bool:
        """Remove the link on both sides; no exit signal arrives through it afterwards."""
        with other.lock:  # when `other` dies, it removes the link and puts the exit in the mailbox under this lock
            found = self.strike_link(other)
        other.strike_link(self)
        return found

    def note_link(self, other: "Process") -> bool:
        """Add this side of a link; return False if this process is dead."""
        with self.books:
            if not self.dead:
                self.links[other] = None
            return not self.dead

    def strike_link(self, other: "Process") -> bool:
        """Remove this side of a link; return False if there was none."""
        return self.links.pop(other, 0) != 0

    def signal(self, sender: "Process | None", reason: object, *, linked: bool = False) -> None:
        """Deliver an exit signal.

        It comes from the death of a linked process (`linked`) or from ``exit``.
        """
        if reason is KILL and not linked:
            self.kill()
            return
        if linked and sender is not None and not self.strike_link(sender):
            return  # unlinked in the meantime, or already notified
        actor = self.actor
        if actor is None:
            return  # dead
        if actor.trap_exit:
            self.mailbox.put(ExitSignal(sender, reason))
        elif reason is not NORMAL or sender is self:
            interrupt = (reason,)
            # The first signal decides; it overtakes waiting messages and ends the current waits.
            with self.books:
                if self.interrupt is None and not self.dead:
                    self.interrupt = interrupt
                    self.end_known = not linked
                    if linked and sender is not None:
                        self.gave_up = sender.gave_up
            self.mailbox.put(WAKE)
            for waiter in list(self.waits):
                waiter.abandon(reason)

    def kill(self) -> None:
        """End the process with reason KILLED, from any thread.

        `abandoned` counts the threads that are still running.
        """
        actor, inbox = self.actor, self.mailbox
        if not self.die(KILLED):
            return
        self.end_known = True
        inbox.put(WAKE)
        self._count_abandoned()
        if actor is not None:
            try:
                actor.on_cancel()
            except BaseException:  # no failure of on_cancel may end the killer
                logger.exception("on_cancel of %r raised", self.pid)

    def _count_abandoned(self) -> None:
        """Count the thread until it leaves.

        Not counted: the killer's own thread, and one that has not started or has left.
        """
        with self.books:
            thread = self.thread
        if thread is None or thread == threading.get_ident():
            return
        report: ScheduledCall | None = None
        try:
            report = clock().call_at(clock().monotonic() + ABANDONED_AFTER, self._report_abandoned)
        except RuntimeError as error:  # the system refused the timer thread; the kill has happened anyway
            logger.warning(
                "%r was killed; its thread is not checked later, because no timer could be started: %s", self.pid, error
            )
        with self.books:  # `leave` holds it too, so the thread is either counted here or has left
            left = self.thread is None
            if not left:
                _abandoned[self] = report
        if left and report is not None:
            report.cancel()

    def _report_abandoned(self) -> None:
        if self in _abandoned:
            logger.warning("%r was killed, but its thread is still running a callback", self.pid)

    # Life and death.

    def announce(self) -> None:
        """List the process as alive, here and in pykka's registry.

        `die` removes it from both.
        """
        _alive[self] = None
        # Not with pykka's `register` and `unregister`: their lock may be held by a thread whose finalizer waits for
        # this process. An append and a remove are atomic: see `ActorRefs`.
        pykka.ActorRegistry._actor_refs.append(self.pid)  # noqa: SLF001
        with self.books:  # a death is either seen here, or comes later and removes both entries itself
            dead = self.dead
        if dead:  # killed by a process that found its name
            self._withdraw()

    def _withdraw(self) -> None:
        _alive.pop(self, None)
        try:
            pykka.ActorRegistry._actor_refs.remove(self.pid)  # noqa: SLF001 - see `announce`
        except ValueError:  # not announced yet, or already withdrawn
            pass

    def die(self, reason: object) -> bool:
        """End the process: release its names, notify watchers and links.

        Return False if it is already dead.
        """
        if self.is_dead():
            return False
        links: dict[Process, None] = {}
        watchers: dict[Watcher, bool] = {}
        monitors: dict[MonitorRef, None] = {}
        with self.lock, self.books:
            # In one line, because a finalizer that runs between two lines could kill the process too.
            dead, self.dead, self.reason = self.dead, True, self.reason if self.dead else reason
            if dead:
                return False
            interrupt, self.interrupt = self.interrupt, None
            inbox, self.mailbox = self.mailbox, CLOSED
            links, self.links = self.links, links
            watchers, self.watchers = self.watchers, watchers
            monitors, self.monitors = self.monitors, monitors
            actor, self.actor = self.actor, None
        # Kept until here: dropping the last reference to an object may run its finalizer, which must not happen under
        # the locks.
        del interrupt, actor
        # Most processes have none or few of these, and copying empty containers would slow down each start and stop.
        if self.waits:
            for waiter in list(self.waits):
                _notify(waiter.abandon, reason)
        self._withdraw()
        if self.keys:
            for table, held in self.keys.copy().items():
                for key in list(held):
                    table.release(key, self)
        # Work on copies, because another thread may still remove entries.
        for ref in list(monitors) if monitors else ():
            if ref.watched is not None:
                ref.watched.unwatch(ref)
        watching = watchers.copy()
        for watcher, waits in watching.items():
            if not waits:
                _notify(watcher.down, self, reason)
        for other in list(links) if links else ():
            with self.lock:  # as `unlink` does
                _notify(other.signal, self, reason, linked=True)
        if telemetry.handlers:
            lifetime = clock().monotonic() - self.started
            name = "actor.stop" if is_clean(reason) else "actor.crash"
            telemetry.emit(name, {"lifetime": lifetime}, {"pid": self.pid, "reason": reason})
        for watcher, waits in watching.items():
            if waits:
                _notify(watcher.down, self, reason)
        mailboxes.drop(inbox)
        return True

    # The thread.

    def enter(self) -> None:
        """Bind the calling thread to this process, so that it acts as the process."""
        thread = threading.get_ident()
        with self.books:  # a kill either finds the thread, or comes before the check of `is_dead` that follows
            self.thread = thread
        _local.process = self

    def leave(self) -> None:
        """Undo `enter`."""
        _local.process = None
        with self.books:
            self.thread = None
        report = _abandoned.pop(self, None)
        if report is not None:
            report.cancel()


class _Local(threading.local):
    process: Process | None = None


_local = _Local()
_abandoned: dict[Process, ScheduledCall | None] = {}
# Every living process, in start order. No lock: each use is one dict operation or works on a copy.
_alive: dict[Process, None] = {}


def _notify(receive: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    """Notify one receiver of a death.

    Log a failure, so that the others are notified anyway.
    """
    try:
        receive(*args, **kwargs)
    except BaseException:
        logger.exception("%s raised when it was notified of a death: %s", shown(receive), shown(args))


def current_process() -> Process | None:
    """Return the process of the calling thread, or None in a plain thread.

    Checks nothing: in the abandoned thread of a killed process, that process is dead, and nothing that the thread does
    may have an effect.
    """
    return _local.process


def act_as(process: Process | None) -> None:
    """Let the calling thread act as `process`, a probe.

    A probe has no thread of its own.
    """
    _local.process = process


def check_may_act() -> None:
    """Check that the calling thread may start actors, set timers, and the like.

    Raises:
        CallExit: this is the abandoned thread of a killed process; unwinds the callback.
        RuntimeError: this process was forked while actors were running.

    """
    if _forked:
        raise RuntimeError(_forked)
    process = _local.process
    if process is not None and process.dead:
        process.check_wait()


def require_process(function: str) -> Process:
    """Return the process of the calling thread, which calls `function`.

    It is checked by `check_may_act` too.

    Raises:
        RuntimeError: called in a plain thread, which cannot be linked, registered or notified.

    """
    check_may_act()
    process = _local.process
    if process is None:
        raise RuntimeError(f"{function} must be called by an actor or a probe, not in a plain thread")
    return process


def abandoned() -> int:
    """Return the number of threads of killed processes that are still running.

    A thread cannot be killed: one that was busy when its process was killed ends when its callback returns. A number
    that grows shows a callback that never returns; the log names the process.

    >>> from gennostr import abandoned
    >>> abandoned()
    0
    """
    return len(_abandoned)


def alive() -> list[Process]:
    """Return every living process, in start order."""
    return list(_alive)


# Fork.

_forked = ""


def _forget_after_fork() -> None:
    """In a forked child, mark every process dead.

    Their threads do not exist there.

    Without actors, do nothing. Nothing here may acquire a lock that a thread of the parent could have held.
    """
    global _forked  # noqa: PLW0603
    if not _alive:
        return
    _forked = (
        f"this process was forked from process {os.getppid()} while gennostr's actors were running there: actors can "
        "be neither reached nor started here. Fork before the first actor starts, or use the spawn start method"
    )
    NoProcess.hint = f" ({_forked})"
    me = _local.process
    if me is not None:  # an actor forked; in the child, it ends when its callback returns
        me.mailbox.put(WAKE)
    for process in alive():
        process.lock = threading.RLock()
        process.books = threading.RLock()
        process.mailbox = CLOSED
        process.dead = True
        process.reason = NOPROC
        process.end_known = True  # so that the child, leaving a ``with`` statement, does not raise the exit
        process.actor = None
    _alive.clear()
    _abandoned.clear()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_forget_after_fork)
