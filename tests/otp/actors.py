"""Servers that the tests drive with functions, ways to wait for what they do, and children that log what they do."""

import contextlib
import logging
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NoReturn, Self

import pytest

import gennostr as g
from gennostr import KILL, KILLED, NORMAL, SHUTDOWN, ChildSpec, NoReply, Ok, Reply, Shutdown, Stop

DEADLINE = 5.0

FATAL = (SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError, RecursionError)
"""What no ``except Exception`` catches, or what may come at any moment."""

CALLBACKS = ("handle_call", "handle_cast", "handle_info", "handle_continue")
"""The callbacks that `provoke` can make happen."""


class Log(queue.SimpleQueue[Any]):
    """What happened, in order."""

    def next(self) -> Any:
        return self.get(timeout=DEADLINE)

    def now(self) -> list[Any]:
        """Return what is there, without waiting."""
        found = []
        while not self.empty():
            found.append(self.get())
        return found


class Do:
    """A message that is a function: ``handle_info`` returns what it returns."""

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        self.function = function


class Driven(g.GenServer[Any]):
    """Calls, casts and continues are functions; messages and the end go to a log."""

    def init(self, init_arg: Any) -> Any:
        self.log = Log()
        return init_arg(self) if callable(init_arg) else Ok(init_arg)

    def handle_call(self, request: Any, from_: Any, state: Any) -> Any:
        return request(self, from_, state)

    def handle_cast(self, request: Any, state: Any) -> Any:
        return request(self, state)

    def handle_info(self, message: Any, state: Any) -> Any:
        if isinstance(message, Do):
            return message.function(self, state)
        self.log.put(message)
        return None

    def handle_continue(self, argument: Any, state: Any) -> Any:
        return argument(self, state)

    def terminate(self, reason: Any, state: Any) -> None:
        self.log.put(("terminate", reason))


class Trapping(Driven):
    trap_exit = True


def within(server: g.Pid, function: Callable[[Any], Any]) -> Any:
    """Return ``function(actor)``, called in the server's process."""
    return server.call(lambda self, from_, state: Reply(function(self)))


def provoke(server: g.Pid, callback: str, function: Callable[[Any], Any]) -> g.PendingReply | None:
    """Have `callback` (one of CALLBACKS) return ``function(actor)``; return the pending reply if it is a call."""
    match callback:
        case "handle_call":
            return server.send_request(lambda self, from_, state: function(self))
        case "handle_cast":
            server.cast(lambda self, state: function(self))
        case "handle_info":
            server.send(Do(lambda self, state: function(self)))
        case _:
            server.cast(lambda self, state: NoReply(continue_=lambda self, state: function(self)))
    return None


def log_of(server: g.Pid) -> Log:
    return within(server, lambda self: self.log)  # type: ignore[no-any-return]


def fail(error: BaseException) -> NoReturn:
    """Raise, where only an expression may stand."""
    raise error


def settle(server: g.Pid) -> None:
    """Return when the server has handled what was queued before."""
    within(server, lambda self: None)


def threads_left(server: g.Pid) -> int:
    """Ask a server, for a moment, and return how many threads of killed processes have not ended."""
    settle(server)
    return g.abandoned()


def dead() -> g.Pid:
    server: g.Pid = Driven.start()
    server.stop()
    return server


def link(server: g.Pid, other: Any) -> None:
    within(server, lambda self: g.link(other))


def monitor(server: g.Pid, target: Any) -> Any:
    return within(server, lambda self: g.monitor(target))


@contextlib.contextmanager
def watching(pid: Any) -> Iterator[Callable[[], Any]]:
    """Give a function that waits for the end of `pid` and returns its reason."""
    with Driven.start() as watcher:
        log = log_of(watcher)
        within(watcher, lambda self: g.monitor(pid))
        yield lambda: log.next().reason


def outcome_of(function: Callable[[], Any]) -> Any:
    """Return what `function` returns, or the exception that it raises."""
    try:
        return function()
    except BaseException as error:
        return error


@contextlib.contextmanager
def meanwhile(function: Callable[[], Any]) -> Iterator[Callable[[], Any]]:
    """Call `function` in a plain thread; give a function that waits for its outcome and returns that."""
    log = Log()
    thread = threading.Thread(target=lambda: log.put(outcome_of(function)))
    thread.start()
    try:
        yield log.next
    finally:
        thread.join(DEADLINE)


@contextlib.contextmanager
def ctrl_c() -> Iterator[Callable[[], None]]:
    """Give a function that interrupts the main thread as Ctrl-C does: once, and for certain.

    It sends the signal again until that is heard, for one that comes just before a thread begins to wait may not wake
    it. Leaving waits for a signal that is under way, so that none is left for a later handler.
    """
    main = threading.main_thread().ident
    assert main is not None
    over: list[str] = []  # not an Event: the handler may interrupt whatever locks
    sending, ended = threading.Lock(), threading.Event()

    def interrupt_once(*details: object) -> None:
        if not over:
            over.append("heard")
            raise KeyboardInterrupt

    def press() -> None:
        while True:
            with sending:
                if over:
                    return
                signal.pthread_kill(main, signal.SIGINT)
            ended.wait(0.01)

    before = signal.signal(signal.SIGINT, interrupt_once)
    try:
        yield press
    finally:
        over.append("left")
        with sending:
            ended.set()
        signal.signal(signal.SIGINT, before)


def until(ask: Callable[[], Any]) -> Any:
    """Ask an actor again and again until its answer is true; return that."""
    deadline = time.monotonic() + DEADLINE
    while not (answer := ask()):
        assert time.monotonic() < deadline
    return answer


def fits(reason: object, expected: object) -> bool:
    """Whether a reason is the expected one, or of the expected type."""
    return isinstance(reason, expected) if isinstance(expected, type) else reason == expected


class Gate:
    """Where a callback waits until the test lets it go on."""

    def __init__(self) -> None:
        self._reached, self._opened = threading.Event(), threading.Event()

    def wait(self, outcome: Any = None) -> Any:
        """Wait, in a callback; return `outcome`."""
        self._reached.set()
        assert self._opened.wait(DEADLINE)
        return outcome

    def reached(self) -> None:
        """Return when a callback waits here."""
        assert self._reached.wait(DEADLINE)

    def open(self) -> None:
        self._opened.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.open()


class Busy:
    """A named server that is in a callback; after `leave`, ``then(actor)`` runs there and its outcome is logged."""

    def __init__(self, then: Callable[[Any], Any] = lambda actor: None, cls: type[Driven] = Trapping) -> None:
        self.gate, self.outcome = Gate(), Log()

        def busy(actor: Any, state: Any) -> Any:
            self.gate.wait()
            self.outcome.put(outcome_of(lambda: then(actor)))

        self.pid: g.Pid = cls.start(name="busy")
        self.pid.cast(busy)
        self.gate.reached()

    def kill(self) -> None:
        self.pid.exit(KILL)

    def leave(self) -> Any:
        """Let the callback end; return the outcome of its last part."""
        self.gate.open()
        return self.outcome.next()


class Unshowable:
    """A value whose repr raises until `mend` is called."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error: BaseException | None = error or ValueError("in repr")

    def mend(self) -> None:
        self.error = None

    def __repr__(self) -> str:
        if self.error is not None:
            raise self.error
        return "mended"


def crash_reports(caplog: pytest.LogCaptureFixture) -> list[g.CrashReport]:
    return [record.crash_report for record in caplog.records if hasattr(record, "crash_report")]


def about(caplog: pytest.LogCaptureFixture, *words: object) -> list[logging.LogRecord]:
    """Return the log records that have all of the words in their text."""
    return [record for record in caplog.records if all(str(word) in record.getMessage() for word in words)]


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


# Children of supervisors.


class Member(Driven):
    """Logs (its id, what happened) in a log that all share."""

    trap_exit = True

    def init(self, init_arg: Any) -> Any:
        self.log = Log()
        self.id, self.story, outcomes = init_arg
        self.story.put((self.id, "start"))
        return outcomes.pop(0) if outcomes else Ok()

    def terminate(self, reason: Any, state: Any) -> None:
        self.story.put((self.id, reason))


def member(id_: Any, story: Log, outcomes: Any = (), **fields: Any) -> ChildSpec:
    """Describe a child whose init returns the `outcomes` in turn, and Ok after these."""
    listed = outcomes if isinstance(outcomes, list) else list(outcomes)
    return ChildSpec(id_, partial(Member.start_link, (id_, story, listed)), **fields)


def pids_of(supervisor: Any) -> dict[Any, Any]:
    """Return the pid (or the `ChildInfo` value in its place) by the child's id, in start order."""
    return {child.id: child.pid for child in reversed(supervisor.which_children())}


def pid_of(supervisor: Any, id_: Any) -> Any:
    return pids_of(supervisor)[id_]


def crash(pid: g.Pid, reason: Any = "crash") -> None:
    """End `pid` for `reason`, and wait until its supervisor has its Exit: links are notified in order."""
    with Trapping.start() as linked:
        log = log_of(linked)
        within(linked, lambda self: g.link(pid))
        if reason is KILL:
            pid.exit(KILL)
        else:
            pid.cast(lambda self, state: Stop(reason))
        assert isinstance(log.next(), g.Exit)


def settled(supervisor: Any, id_: Any) -> Any:
    """Return the child's pid once it is not restarting any more."""
    until(lambda: pid_of(supervisor, id_) != "restarting")
    return pid_of(supervisor, id_)


def started(story: Log) -> list[Any]:
    return [id_ for id_, what in story.now() if what == "start"]


class Ending(Member):
    """Calls ``end(self)`` in terminate."""

    def init(self, init_arg: Any) -> Any:
        *own, self.end = init_arg
        return super().init(own)

    def terminate(self, reason: Any, state: Any) -> None:
        super().terminate(reason, state)
        self.end(self)


def ending(id_: Any, story: Log, end: Callable[[Any], object], **fields: Any) -> ChildSpec:
    """Describe a child that calls ``end(actor)`` when it terminates."""
    return ChildSpec(id_, partial(Ending.start_link, (id_, story, [], end)), **fields)


def refusing() -> list[Any]:
    """Return the outcomes of a child that starts once and then no more, until the list is cleared."""
    return [Ok(), *[Stop("no")] * 10**5]


def ended_by(pid: g.Pid, end: Callable[[g.Pid], object]) -> Any:
    """Call ``end(pid)``, which ends it; return the reason once its supervisor has its Exit, as `crash` does."""
    with Trapping.start() as linked:
        log = log_of(linked)
        within(linked, lambda self: g.link(pid))
        end(pid)
        return log.next().reason


CLEAN: dict[str, Callable[[g.Pid], object]] = {
    "stop NORMAL": lambda pid: pid.cast(lambda self, state: Stop(NORMAL)),
    "stop SHUTDOWN": lambda pid: pid.cast(lambda self, state: Stop(SHUTDOWN)),
    "stop Shutdown(x)": lambda pid: pid.cast(lambda self, state: Stop(Shutdown("x"))),
    "stopped": lambda pid: pid.stop(),
    "stopped with Shutdown(x)": lambda pid: pid.stop(Shutdown("x")),
}
"""Ends of a child that are no failure."""


def _raising(kind: type[BaseException]) -> Callable[[g.Pid], object]:
    return lambda pid: pid.cast(lambda self, state: fail(kind()))


UNCLEAN: dict[str, Callable[[g.Pid], object]] = {
    "stop crash": lambda pid: pid.cast(lambda self, state: Stop("crash")),
    "stop None": lambda pid: pid.cast(lambda self, state: Stop(None)),
    "stop KILLED": lambda pid: pid.cast(lambda self, state: Stop(KILLED)),
    "stop 'normal'": lambda pid: pid.cast(lambda self, state: Stop("normal")),
    "stopped with crash": lambda pid: pid.stop("crash"),
    "another value": lambda pid: pid.cast(lambda self, state: 3),
    "killed": lambda pid: pid.exit(KILL),
    **{kind.__name__: _raising(kind) for kind in (ValueError, *FATAL)},
}
"""Ends of a child that are failures."""

ENDS = [*((end, True) for end in CLEAN.values()), *((end, False) for end in UNCLEAN.values())]
"""All of them, and whether each is clean."""

END_IDS = [*CLEAN, *UNCLEAN]


def _start(kind: type[BaseException]) -> Callable[[], Any]:
    return partial(Driven.start_link, lambda self: fail(kind()))


FAILED_STARTS: dict[str, tuple[Callable[..., Any], Any]] = {
    "stop": (partial(Driven.start_link, lambda self: Stop("no")), "no"),
    "stop normal": (partial(Driven.start_link, lambda self: Stop(NORMAL)), NORMAL),
    "stop shutdown": (partial(Driven.start_link, lambda self: Stop(SHUTDOWN)), SHUTDOWN),
    "another value": (partial(Driven.start_link, lambda self: 3), g.BadReturnValue),
    "killed": (partial(Driven.start_link, lambda self: self.pid.exit(KILL)), KILLED),
    "unlinked": (partial(Driven.start, lambda self: Stop("no")), "no"),
    **{f"raise {kind.__name__}": (_start(kind), kind) for kind in (ValueError, *FATAL)},
    **{f"start raises {kind.__name__}": (partial(fail, kind()), kind) for kind in (ValueError, *FATAL)},
    "start returns none": (lambda: None, g.BadReturnValue),
    "start returns a number": (lambda: 3, g.BadReturnValue),
    "start cannot be called so": (lambda argument: None, TypeError),
}
"""Starts of a child that do not succeed, and the reason of each, or its type."""
