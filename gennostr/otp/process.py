"""Processes: life, links, monitors, exit signals, and the fence that stands for kill.

A `Process` is what the library knows of one actor: its mailbox, who is linked to it, who watches it, which names
it holds, and how it ended. It has no thread of its own; an actor's thread runs `enter` and becomes it.

The rules of order, on which everything else rests:

* A process dies once. `die` marks it dead under its lock, and whoever comes later finds it dead: nobody can
  link to it, watch it or name it any more, so nobody can be forgotten by its death.
* Names are released before anyone is told: who has seen an Exit or a Down finds the name free.
* Monitors are told first, then links, and whoever waits (a call, a stop) last: when a waiting thread goes on, every
  Exit and Down of that death is in its mailbox, so what it asks a supervisor next is answered after the restart.
* What a process sent before it died is in the receiver's mailbox before its Exit or Down. A process that ends by
  itself sends and dies in one thread; for one that is killed, `put_from` holds its lock while it sends, and so
  sends either before `die` marks it dead or not at all.
* No line of the library takes the books of a second process while it holds those of one: a link is written first on the
  own side, then on the other, and taken back if the other is found dead.
* Nothing rests on the order of a store and a load without a lock, for builds without the GIL. A wait is entered, and
  `dead` and `interrupt` are read, under the lock under which a kill or an exit signal sets them.
* A finalizer or a signal handler may run and call any public function, in any thread: between two lines, says the
  language; CPython runs them after a call, at a jump back, and where a container is created. So the locks are
  reentrant, what they protect is valid at each line (`dead` is read once more after an entry was written), and `books`,
  which every death of a linked process takes, is held where none of these three happens: a finalizer that waits for
  such a death does not keep it from coming. The other lock is held while a message is put; besides, only a kill of this
  process takes it, and an unlink from it.
* A mailbox closes with the death: `die` puts CLOSED in its place, and what a sender that has looked before still puts
  into the old one goes with it.

A thread cannot be killed. Kill is a fence: `die` runs in the killer's thread, and from then on what the abandoned
thread does through this library has no effect, because every effect asks `current` first whether it is dead. If
the thread waits in a call, the kill wakes it.

An exit signal that is not trapped ends the process at its next message, and a wait (a call, a start, a stop) at once,
as it ends an Erlang process in its ``receive``: the wait raises CallExit, which unwinds the callback.

Only the thread that forked goes on in a forked child. So there every process is dead, and the locks, which lost threads
may have held, are new: see `_forget_after_fork`.
"""

import logging
import os
import threading
from collections.abc import Callable
from itertools import count
from typing import Any, ParamSpec, Protocol

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
"""Seconds after which the thread of a killed process is reported if it still runs."""


class Watcher(Protocol):
    """Who is told once when a process dies."""

    def down(self, process: "Process", reason: object) -> None:
        """`process` died of `reason`. Runs in the dying (or killing) thread; must not block."""


class Waiter(Protocol):
    """What a process waits for: it can be given up from another thread."""

    @property
    def process(self) -> "Process | None":
        """Whom it waits for."""

    def abandon(self, reason: object) -> bool:
        """End the wait with `reason`; False if it has ended already."""


class Table(Protocol):
    """Where a process is registered: see `gennostr.otp.names`."""

    def release(self, key: object, process: "Process") -> bool:
        """Forget `key` if it is still that process's."""


class Actor(Protocol):
    """What a process needs of the actor that it belongs to: see `gennostr.otp.engine`. Called from any thread."""

    @property
    def trap_exit(self) -> bool:
        """Whether exit signals are delivered as messages."""

    def on_cancel(self) -> None:
        """Unblock the callback under way: the process was killed. Runs in the killer's thread."""

    def activity(self) -> str:
        """Return in a word what it is doing."""

    def mailbox_length(self) -> int:
        """Return how many messages wait, including those put aside."""

    def children(self) -> tuple[object, ...]:
        """Return its children, newest first: pids, or ``ChildInfo`` for a supervisor's."""


class ExitSignal:
    """An exit signal in the mailbox of a process that traps exits. `sender` is None for a plain thread."""

    __slots__ = ("reason", "sender")

    def __init__(self, sender: "Process | None", reason: object) -> None:
        self.sender = sender
        self.reason = reason


class DownSignal:
    """The news, in the mailbox of the monitor's owner, that what `ref` watches has ended."""

    __slots__ = ("reason", "ref")

    def __init__(self, ref: "MonitorRef", reason: object) -> None:
        self.ref = ref
        self.reason = reason


class MonitorRef(Handle):
    """One monitor: compares by identity, as references do."""

    __slots__ = ("flushed", "owner", "target", "watched")

    def __init__(self, owner: "Process", watched: "Process | None", target: object) -> None:
        self.owner = owner
        self.watched = watched
        self.target = target
        self.flushed = False

    def down(self, process: "Process", reason: object) -> None:
        """Tell the owner, unless it has taken the monitor back."""
        del process
        if not self.owner.take(self):
            return
        self.owner.deliver(DownSignal(self, reason))


class Process(Handle):
    """One actor's control block.

    `books` protects `interrupt`, `thread`, and what is added to `waits`, `links`, `watchers` and `monitors`, which goes
    with a death that comes later; taking something out is a single step. `lock` orders what the process sends with its
    death. `dead` and `reason` are written under both, and read again under one of them by whoever must be sure.
    """

    __slots__ = (
        "actor", "books", "dead", "end_known", "interrupt", "keys", "links", "lock", "mailbox", "monitors", "name",
        "number", "parent", "pid", "reason", "restarts", "started", "thread", "waits", "watchers",
    )  # fmt: skip

    _numbers = count(1)

    def __init__(self, pid: Any, actor: Actor, mailbox: Mailbox) -> None:
        # A `gennostr.otp.pid.Pid`, which is built on this.
        self.pid: Any = pid
        self.actor: Actor | None = actor
        self.mailbox = mailbox
        self.number = next(self._numbers)
        self.name: object = None
        self.parent: Process | None = None
        # How many restarts of its child specification led to this process.
        self.restarts = 0
        # Seconds, on the clock's monotonic scale.
        self.started = clock().monotonic()
        self.lock = threading.RLock()
        self.books = threading.RLock()
        self.dead = False
        self.reason: object = None
        # Whether somebody knows how it ends: a call has raised its exit, or it was sent with ``exit``. Then leaving a
        # ``with`` statement does not raise it.
        self.end_known = False
        # The exit signal that ends a process which does not trap exits, at its next message or in a wait.
        self.interrupt: tuple[object] | None = None
        self.links: dict[Process, None] = {}
        # Who is told of the death; True for those who wait, and are told last.
        self.watchers: dict[Watcher, bool] = {}
        self.monitors: dict[MonitorRef, None] = {}
        # The keys that it holds, by table.
        self.keys: dict[Table, dict[object, None]] = {}
        self.thread: int | None = None
        # What its thread waits for: several where a finalizer waits inside a wait, or an event loop's tasks do.
        self.waits: dict[Waiter, None] = {}

    def __repr__(self) -> str:
        return repr(self.pid)

    def is_dead(self) -> bool:
        """Return `dead` as it is now: another thread may have changed it since it was last looked at."""
        return self.dead

    # Messages.

    def deliver(self, message: object) -> None:
        """Put `message` in the mailbox; a dead process's drops it."""
        self.mailbox.put(message)

    def put_from(self, sender: "Process | None", message: object) -> bool:
        """Put `message` in the mailbox unless `sender`, whose thread this is, has been killed: then False.

        One step as seen by a killer, so that nothing of the sender comes after the news of its death.
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
        """What its thread waits for in a call, if it does."""
        waits = list(self.waits)
        return waits[-1] if waits else None

    def check_wait(self) -> None:
        """Raise CallExit if the process must not wait: it was killed, or an exit signal has come that it does not trap.

        In terminate too: such a signal ends an Erlang process wherever it waits.
        """
        with self.books:
            dead, reason, interrupt = self.dead, self.reason, self.interrupt
        if dead:
            raise CallExit(reason, self.pid)
        if interrupt is not None:
            raise CallExit(interrupt[0], self.pid)

    def begin_wait(self, waiter: Waiter) -> None:
        """Give up `waiter` if a kill or an exit signal has come, or when one comes; until it is taken out of `waits`.

        That needs no lock: it is one step, and a waiter that was given up is woken after `dead` or `interrupt` was set.
        """
        with self.books:
            self.waits[waiter] = None
            ended = self.dead or self.interrupt is not None
        if ended:
            waiter.abandon(NORMAL)

    # Watchers and monitors.

    def watch(self, watcher: Watcher, *, waits: bool = False) -> bool:
        """Have `watcher` told of the death; False if the process is dead already.

        One that `waits` lets a thread go on, and is told when everybody else has been.
        """
        with self.books:
            if not self.dead:
                self.watchers[watcher] = waits
            return not self.dead

    def unwatch(self, watcher: Watcher) -> None:
        """Take `watch` back."""
        self.watchers.pop(watcher, None)

    def monitor(self, watched: "Process | None", target: object) -> MonitorRef:
        """Monitor `watched`, named `target` in the Down; nobody there gives Down(NOPROC) at once."""
        ref = MonitorRef(self, watched, target)
        with self.books:
            if not self.dead:
                self.monitors[ref] = None
            dead = self.dead
        if dead or watched is self:
            return ref
        if watched is None or not watched.watch(ref):
            ref.down(self, NOPROC)
        elif self.is_dead():  # killed meanwhile: its unwatch came before the watch, as the order of two steps shows
            watched.unwatch(ref)
        return ref

    def take(self, ref: MonitorRef) -> bool:
        """Take `ref` out of the monitors; True for the one that does."""
        return self.monitors.pop(ref, 0) != 0

    def demonitor(self, ref: MonitorRef, *, flush: bool = False) -> bool:
        """Take a monitor back; with `flush`, a Down that is queued already is not delivered either."""
        found = self.take(ref)
        if found and ref.watched is not None:
            ref.watched.unwatch(ref)
        if ref.owner is self:
            ref.flushed = ref.flushed or flush
        return found

    # Links and exit signals.

    def link(self, other: "Process") -> bool:
        """Link the two; a dead `other` is an exit signal NOPROC to this one. False if this one is dead."""
        if other is self:
            return True
        if not self.note_link(other):
            return False
        if not other.note_link(self):
            self.signal(other, NOPROC, linked=True)
        elif self.is_dead():  # killed meanwhile: its death came to `other` before the link, as above
            other.unlink(self)
            return False
        return True

    def unlink(self, other: "Process") -> bool:
        """Take the link back on both sides; afterwards no exit signal comes through it."""
        with other.lock:  # its death takes the link away and puts the exit in the mailbox under this lock
            found = self.strike_link(other)
        other.strike_link(self)
        return found

    def note_link(self, other: "Process") -> bool:
        """Write this side of a link; False if this process is dead."""
        with self.books:
            if not self.dead:
                self.links[other] = None
            return not self.dead

    def strike_link(self, other: "Process") -> bool:
        """Take this side of a link away; False if there was none."""
        return self.links.pop(other, 0) != 0

    def signal(self, sender: "Process | None", reason: object, *, linked: bool = False) -> None:
        """Deliver an exit signal: by a link's death (`linked`) or by ``exit``."""
        if reason is KILL and not linked:
            self.kill()
            return
        if linked and sender is not None and not self.strike_link(sender):
            return  # unlinked meanwhile, or told already
        actor = self.actor
        if actor is None:
            return  # dead
        if actor.trap_exit:
            self.mailbox.put(ExitSignal(sender, reason))
        elif reason is not NORMAL or sender is self:
            interrupt = (reason,)
            # The first signal decides; it overtakes the messages that wait, and ends the waits under way.
            with self.books:
                if self.interrupt is None and not self.dead:
                    self.interrupt = interrupt
                    self.end_known = not linked
            self.mailbox.put(WAKE)
            for waiter in list(self.waits):
                waiter.abandon(reason)

    def kill(self) -> None:
        """Die of KILLED, from any thread; see `abandoned` for what becomes of the thread."""
        actor, inbox = self.actor, self.mailbox
        if not self.die(KILLED):
            return
        self.end_known = True
        inbox.put(WAKE)
        self._count_abandoned()
        if actor is not None:
            try:
                actor.on_cancel()
            except BaseException:  # whatever it is, it must not end the killer
                logger.exception("on_cancel of %r failed", self.pid)

    def _count_abandoned(self) -> None:
        """Count the thread until it leaves, unless it is the killer's own, or has not begun or left already."""
        with self.books:
            thread = self.thread
        if thread is None or thread == threading.get_ident():
            return
        report: ScheduledCall | None = None
        try:
            report = clock().call_at(clock().monotonic() + ABANDONED_AFTER, self._report_abandoned)
        except RuntimeError as error:  # the system refused the timer thread: the kill has happened all the same
            logger.warning("%r was killed; whether its thread ends is not watched: %s", self.pid, error)
        with self.books:  # `leave` holds it too: the thread is either counted here or has left
            left = self.thread is None
            if not left:
                _abandoned[self] = report
        if left and report is not None:
            report.cancel()

    def _report_abandoned(self) -> None:
        if self in _abandoned:
            logger.warning("%r was killed, but its thread is still in a callback", self.pid)

    # Life and death.

    def announce(self) -> None:
        """List the process as alive, here and in pykka's registry; `die` takes it from both."""
        _alive[self] = None
        # Not by `register` and `unregister`: the lock that they take may be held by a thread whose finalizer waits for
        # this process. An append and a remove are single steps.
        pykka.ActorRegistry._actor_refs.append(self.pid)  # noqa: SLF001
        with self.books:  # a death is seen here, or comes later and takes both back itself
            dead = self.dead
        if dead:  # found by its name, and killed
            self._withdraw()

    def _withdraw(self) -> None:
        _alive.pop(self, None)
        try:
            pykka.ActorRegistry._actor_refs.remove(self.pid)  # noqa: SLF001 - see `announce`
        except ValueError:  # not announced yet, or withdrawn already
            pass

    def die(self, reason: object) -> bool:
        """End the process: free its names, tell watchers and links. False if it is dead already."""
        if self.is_dead():
            return False
        links: dict[Process, None] = {}
        watchers: dict[Watcher, bool] = {}
        monitors: dict[MonitorRef, None] = {}
        with self.lock, self.books:
            # One line, for a finalizer between two could kill as well.
            dead, self.dead, self.reason = self.dead, True, self.reason if self.dead else reason
            if dead:
                return False
            interrupt, self.interrupt = self.interrupt, None
            inbox, self.mailbox = self.mailbox, CLOSED
            links, self.links = self.links, links
            watchers, self.watchers = self.watchers, watchers
            monitors, self.monitors = self.monitors, monitors
            actor, self.actor = self.actor, None
        # Kept until here: the last reference to an object may run its finalizer, and not under the locks.
        del interrupt, actor
        # Most processes have few of these, and a start and stop feels each copy of nothing.
        if self.waits:
            for waiter in list(self.waits):
                _tell(waiter.abandon, reason)
        self._withdraw()
        if self.keys:
            for table, held in self.keys.copy().items():
                for key in list(held):
                    table.release(key, self)
        # Copies, for what was about to be taken out may still be.
        for ref in list(monitors) if monitors else ():
            if ref.watched is not None:
                ref.watched.unwatch(ref)
        watching = watchers.copy()
        for watcher, waits in watching.items():
            if not waits:
                _tell(watcher.down, self, reason)
        for other in list(links) if links else ():
            with self.lock:  # as `unlink` does
                _tell(other.signal, self, reason, linked=True)
        if telemetry.handlers:
            lifetime = clock().monotonic() - self.started
            name = "actor.stop" if is_clean(reason) else "actor.crash"
            telemetry.emit(name, {"lifetime": lifetime}, {"pid": self.pid, "reason": reason})
        for watcher, waits in watching.items():
            if waits:
                _tell(watcher.down, self, reason)
        mailboxes.drop(inbox)
        return True

    # The thread.

    def enter(self) -> None:
        """Make the calling thread this process's: what it does, the process does."""
        thread = threading.get_ident()
        with self.books:  # a kill either finds the thread, or comes before `is_dead`, which is looked at next
            self.thread = thread
        _local.process = self

    def leave(self) -> None:
        """End what `enter` began."""
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
# Every living process, in starting order. No lock: each use is one dict operation, or works on a copy.
_alive: dict[Process, None] = {}


def _tell(tell: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    """Tell one of those who hear of a death; that it fails (no memory) must not keep the news from the others."""
    try:
        tell(*args, **kwargs)
    except BaseException:
        logger.exception("somebody could not be told of a death: %s", shown(args))


def current() -> Process | None:
    """Return the process whose thread this is, or None in a plain thread."""
    return _local.process


def act_as(process: Process | None) -> None:
    """Have the calling thread act as `process`, which has no thread of its own: a probe."""
    _local.process = process


def fenced() -> bool:
    """Whether this is the abandoned thread of a dead process: what it does must have no effect."""
    process = _local.process
    return process is not None and process.dead


def check_fence() -> Process | None:
    """Return `current`; in an abandoned thread raise CallExit instead, which unwinds the callback."""
    process = _local.process
    if process is not None and process.dead:
        process.check_wait()
    return process


def acting() -> Process | None:
    """Return `check_fence`'s answer, where actors can be started and timers set: in a forked child they cannot.

    Raises:
        RuntimeError: this is a child that was forked while actors ran.

    """
    if _forked:
        raise RuntimeError(_forked)
    return check_fence()


def this_process() -> Process:
    """Return the process that acts here.

    Raises:
        RuntimeError: a plain thread has none, so there is nobody to link, to name, or to tell.

    """
    process = acting()
    if process is None:
        raise RuntimeError("only a process can do that, and this is a plain thread")
    return process


def abandoned() -> int:
    """Return how many threads of killed processes have not ended yet."""
    return len(_abandoned)


def alive() -> list[Process]:
    """Return every living process, in starting order."""
    return list(_alive)


# Fork.

_forked = ""


def _forget_after_fork() -> None:
    """In a forked child: declare every process dead, for its thread is not here. Without actors, nothing happens.

    Nothing here may take a lock that a thread of the parent could have held.
    """
    global _forked  # noqa: PLW0603
    if not _alive:
        return
    _forked = (
        f"gennostr's actors run in the parent of this process ({os.getppid()}), which forked while they ran: "
        "none can be reached or started here. Fork before the first actor starts, or spawn"
    )
    NoProcess.hint = f" ({_forked})"
    me = _local.process
    if me is not None:  # an actor forked: in the child it ends when its callback returns
        me.mailbox.put(WAKE)
    for process in alive():
        process.lock = threading.RLock()
        process.books = threading.RLock()
        process.mailbox = CLOSED
        process.dead = True
        process.reason = NOPROC
        process.end_known = True  # nothing for a ``with`` statement that the child leaves to raise
        process.actor = None
    _alive.clear()
    _abandoned.clear()


os.register_at_fork(after_in_child=_forget_after_fork)
