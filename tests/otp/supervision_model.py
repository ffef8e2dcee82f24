"""Supervision as a model: plain objects in one thread, and what each step must leave behind.

Modelled: inits that succeed, fail or ignore; ends by a crash, a stop, an exit signal, a kill or the parent's end;
terminate, and one that raises; suspension and what waits meanwhile; the restart types, the strategies, the restart
intensity, retries and what is answered between them; significant children; every request to a supervisor and its
errors; the order of all that. A process is owned by the one that started it, which is all the linking there is here.

Not modelled: time (no restart is ever forgotten, every child stops in its shutdown time), names, monitors and other
links, calls between processes, and operations that overlap: the next begins when the last has settled.

Most of what happens is one chain of events, each the cause of the next. Where several things happen at the same time
(the children of a killed supervisor end while it is restarted) there are several chains; so `World.order` has for each
event those that it must come after, and any order in which these do is right.

`Worker`, `Supervisor` and `Dynamic` are processes; their ``...Spec`` says how one is started. The policies are the
functions and methods that consist of one ``match``.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

from gennostr import Shutdown
from gennostr.otp import reasons
from gennostr.otp.reasons import KILLED, NORMAL, SHUTDOWN

Key: TypeAlias = tuple[str, int]
"""A process: the id in its specification, and how many inits of that id came before, counting this one."""

Event: TypeAlias = tuple[Key, str, object]
"""What happened to whom: a plan's word (what init did), "received", "terminate" or "end"; and the details."""

Plan: TypeAlias = Literal["ok", "ignore", "stop", "raise"]
"""What an init does."""


class Broken(Exception):
    """What an init or a terminate raises: equal to another of the same process."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Broken) and self.args == other.args

    def __hash__(self) -> int:
        return hash(self.args)


@dataclass(frozen=True)
class Unstarted:
    """Why a supervisor did not start: a child did not."""

    id: str
    reason: object


class Failed(Exception):
    """A start failed."""

    def __init__(self, reason: object) -> None:
        super().__init__(reason)
        self.reason = reason


class Refused(Exception):
    """A request was refused: the name of the error, and what it carries."""

    def __init__(self, name: str, detail: object = None) -> None:
        super().__init__(name, detail)
        self.answer = ("raises", name, detail)


def answer_of(do: Callable[[], object]) -> object:
    """Return the answer to the caller of `do`: what it returns, or how it failed."""
    try:
        return do()
    except Refused as refused:
        return refused.answer
    except Failed as failed:
        return ("raises", "StartError", failed.reason)


# Specifications.


@dataclass(frozen=True)
class Spec:
    """How a child is started, restarted and stopped."""

    id: str
    restart: str = "permanent"
    significant: bool = False
    shutdown: str | None = None


@dataclass(frozen=True)
class WorkerSpec(Spec):
    """A server. `broken`: its terminate raises."""

    traps: bool = False
    broken: bool = False


@dataclass(frozen=True)
class SupervisorSpec(Spec):
    """A supervisor and the children that it starts with."""

    children: tuple[Spec, ...] = ()
    strategy: str = "one_for_one"
    max_restarts: int = 3
    auto_shutdown: str = "never"


@dataclass(frozen=True)
class DynamicSpec(Spec):
    """A dynamic supervisor."""

    max_children: int | None = None
    extra_arguments: tuple[str, ...] = ()
    max_restarts: int = 3


# Messages.


@dataclass(frozen=True)
class Crash:
    """A callback raises `error`."""

    error: Exception


@dataclass(frozen=True)
class End:
    """A callback returns ``Stop(reason)``."""

    reason: object


@dataclass(frozen=True)
class Note:
    """A callback notes `text`."""

    text: str


@dataclass(frozen=True)
class Exit:
    """An end, or an exit signal, as received where exits are trapped; `sender` is None for a plain thread."""

    sender: "Process | None"
    reason: object


@dataclass(frozen=True)
class TryAgain:
    """To oneself: the restart of this child failed."""

    child: "Child"


@dataclass(eq=False)
class Request:
    """A request to a supervisor, one of the following, and how it was answered."""

    action: "StartChild | Terminate | Restart | Delete | Which | Count"
    answer: object = "not yet"


@dataclass(frozen=True)
class StartChild:
    spec: Spec


@dataclass(frozen=True)
class Terminate:
    """`child` is an id, or a process where ids are not kept."""

    child: object


@dataclass(frozen=True)
class Restart:
    id: str


@dataclass(frozen=True)
class Delete:
    id: str


@dataclass(frozen=True)
class Which:
    pass


@dataclass(frozen=True)
class Count:
    pass


# Policies of a child's end.


def is_clean(reason: object) -> bool:
    match reason:
        case reasons.NORMAL | reasons.SHUTDOWN | Shutdown():
            return True
        case _:
            return False


def comes_back(restart: str, reason: object) -> bool:
    match restart, is_clean(reason):
        case ("permanent", _) | ("transient", False):
            return True
        case _:
            return False


def is_kept(restart: str) -> bool:
    """Whether a child that has ended, and does not come back, can be started again by request."""
    return restart != "temporary"


# Processes.


class World:
    """All processes there have been, and the events of the present step."""

    def __init__(self) -> None:
        self.plans: dict[str, list[Plan]] = {}
        """What the next inits of an id do; when these are used up, they succeed."""
        self.inits: Counter[str] = Counter()
        self.processes: dict[Key, Process] = {}
        self.order: dict[Event, frozenset[Event]] = {}
        self._last: frozenset[Event] = frozenset()

    def step(self) -> None:
        """Begin a step."""
        self.order = {}
        self._last = frozenset()

    def note(self, key: Key, what: str, detail: object = None) -> None:
        """Note an event that follows from the last."""
        event = (key, what, detail)
        assert event not in self.order, f"an event happens once: {event}"
        self.order[event] = self._last
        self._last = frozenset([event])

    def aside(self, happens: Callable[[], object]) -> None:
        """Let something begin here, and what comes next not wait for it."""
        before = self._last
        happens()
        self._last = before

    def together(self, happen: Iterable[Callable[[], object]]) -> None:
        """Let several things begin here; what comes next waits for all."""
        before = after = self._last
        for happens in happen:
            self._last = before
            happens()
            after = (after | self._last) - before
        self._last = after or before

    def start(self, spec: Spec, parent: "Process | None", extra: tuple[str, ...] = ()) -> "Process | None":
        """Start a process; None if its init ignores. Raises Failed."""
        self.inits[spec.id] += 1
        key = (spec.id, self.inits[spec.id])
        process = process_of(self, spec, key, parent)
        self.processes[key] = process
        plan = self.plans.get(spec.id)
        does: Plan = plan.pop(0) if plan else "ok"
        self.note(key, does, extra)
        match does:
            case "ok":
                process.begin()
                return process
            case "ignore":
                process.die(NORMAL)
                return None
            case "stop":
                process.die("no")
            case "raise":
                process.die(Broken("init", key))
        raise Failed(process.reason)


class Process:
    """What all processes have in common."""

    def __init__(self, world: World, spec: Spec, key: Key, parent: "Process | None") -> None:
        self.world = world
        self.spec = spec
        self.key = key
        self.parent = parent
        self.started: list[Process] = []
        if parent is not None:
            parent.started.append(self)
        self.traps = True
        self.linked = True
        self.alive = True
        self.reason: object = None
        self.suspended = False
        self.busy = False
        self.mailbox: list[object] = []

    def __repr__(self) -> str:
        return "{}#{}".format(*self.key)

    def begin(self) -> None:
        """Do what init does after it has been noted."""

    def receive(self, message: object) -> None:
        """Handle a message now, or when what came before it has been."""
        if self.alive:
            self.mailbox.append(message)
            self.run()
        elif isinstance(message, Request):
            message.answer = ("raises", "NoProcess", None)

    def run(self) -> None:
        """Handle the waiting messages."""
        if self.busy:
            return
        self.busy = True
        while self.mailbox and self.alive and not self.suspended:
            self.handle(self.mailbox.pop(0))
        self.busy = False

    def suspend(self) -> None:
        self.suspended = True

    def resume(self) -> None:
        self.suspended = False
        self.run()

    def handle(self, message: object) -> None:
        """Handle one message."""
        raise NotImplementedError

    def signal(self, reason: object, sender: "Process | None" = None) -> None:
        """Receive an exit signal: from a linked process, or from `exit` (without a sender: in a plain thread)."""
        if not self.alive:
            return
        match reason, self.traps, sender is not None and sender is self.parent:
            case reasons.KILL, _, _:
                self.die(KILLED)
            case _, True, True:  # waits neither for a resume nor for what was postponed
                self.end(reason)
            case _, True, False:
                self.receive(Exit(sender, reason))
            case reasons.NORMAL, False, _:
                pass
            case _:
                self.die(reason)

    def stop(self, reason: object) -> None:
        """End because a plain thread wants it and waits for it, which a suspension does not postpone."""
        if not self.alive:
            raise Refused("NoProcess")
        self.end(reason)
        if self.reason != reason:
            raise Refused("CallExit", self.reason)

    def end(self, reason: object) -> None:
        """End in good order."""
        raise NotImplementedError

    def die(self, reason: object) -> None:
        """End at once, and notify the processes that it started, and the one that started it."""
        self.alive = False
        self.reason = reason
        self.world.note(self.key, "end", reason)
        for message in self.mailbox:
            if isinstance(message, Request):
                message.answer = ("raises", "CallExit", reason)
        self.mailbox.clear()
        for process in self.started:
            if process.alive:
                self.world.aside(partial(process.signal, reason, self))
        if self.linked and self.parent is not None:
            self.parent.receive(Exit(self, reason))


class Worker(Process):
    """A server. It notes what it receives, and its terminate."""

    def __init__(self, world: World, spec: WorkerSpec, key: Key, parent: Process | None) -> None:
        super().__init__(world, spec, key, parent)
        self.broken = spec.broken
        self.traps = spec.traps
        self.received = 0

    def handle(self, message: object) -> None:
        match message:
            case Crash(error):
                self.end(error)
            case End(reason):
                self.end(reason)
            case Note(text):
                self.note(text)
            case Exit(None, reason):
                self.note(("exit", None, reason))
            case Exit(Process(key=key), reason):
                self.note(("exit", key, reason))

    def note(self, what: object) -> None:
        self.received += 1
        self.world.note(self.key, "received", (self.received, what))

    def end(self, reason: object) -> None:
        self.world.note(self.key, "terminate", reason)
        self.die(Broken("terminate", self.key) if self.broken else reason)


@dataclass(eq=False)
class Child:
    """A supervisor's child: the process that it knows of, which may have ended meanwhile, if there is one."""

    spec: Spec
    process: "Process | Literal['restarting'] | None" = None
    last: "Process | None" = None
    """The last process that ended by itself: its pid still identifies a child that is being restarted."""

    def shown(self) -> object:
        """Return what which_children shows in the place of the pid."""
        return self.process.key if isinstance(self.process, Process) else self.process

    def type(self) -> str:
        return "worker" if isinstance(self.spec, WorkerSpec) else "supervisor"


def count(children: Iterable[Child]) -> tuple[int, int, int, int]:
    """Return how many there are, how many of them run, and how many are supervisors and workers."""
    children = list(children)
    types = [child.type() for child in children]
    active = sum(isinstance(child.process, Process) for child in children)
    return len(children), active, types.count("supervisor"), types.count("worker")


class Parent(Process):
    """What both kinds of supervisors have in common."""

    max_restarts: int
    restarts = 0

    def handle(self, message: object) -> None:
        match message:
            case Exit(Process() as process, reason):
                found = [child for child in self.children() if child.process is process]
                for child in found:
                    child.last = process
                    self.child_ended(child, reason)
            case Exit(None, _):
                pass  # a stranger's
            case TryAgain(child):
                if child in self.children() and child.process == "restarting":
                    self.restart(child)
            case Request(action):
                message.answer = answer_of(partial(self.do, action))

    def children(self) -> list[Child]:
        """Return the children in starting order."""
        raise NotImplementedError

    def do(self, action: object) -> object:
        """Do what was asked."""
        raise NotImplementedError

    def child_ended(self, child: Child, reason: object) -> None:
        """Meet a child's own end."""
        raise NotImplementedError

    def restart(self, child: Child) -> None:
        """Restart a child, or try to, or give up."""
        self.restarts += 1
        if self.restarts > self.max_restarts:
            self.end(SHUTDOWN)
        else:
            self.do_restart(child)

    def do_restart(self, child: Child) -> None:
        raise NotImplementedError

    def start_again(self, child: Child, extra: tuple[str, ...] = ()) -> bool:
        """Start a child; False if that failed, and is to be tried again after what else waits."""
        try:
            child.process = self.world.start(child.spec, self, extra)
        except Failed:
            child.process = "restarting"
            self.mailbox.append(TryAgain(child))
            return False
        return True

    def stop_child(self, child: Child) -> None:
        """End a child for reasons that are not its own; nothing follows from it."""
        process, child.process = child.process, None
        if not isinstance(process, Process) or not process.alive:
            return
        process.linked = False
        match child.spec.shutdown:
            case "brutal_kill":
                process.die(KILLED)
            case _:
                process.signal(SHUTDOWN, self)


class Supervisor(Parent):
    """A supervisor: its children have ids and an order."""

    def __init__(self, world: World, spec: SupervisorSpec, key: Key, parent: Process | None) -> None:
        super().__init__(world, spec, key, parent)
        self.strategy = spec.strategy
        self.auto_shutdown = spec.auto_shutdown
        self.max_restarts = spec.max_restarts
        self.first = spec.children
        self.by_id: dict[str, Child] = {}

    def children(self) -> list[Child]:
        return list(self.by_id.values())

    def begin(self) -> None:
        self.busy = True
        for spec in self.first:
            try:
                self.add(spec)
            except Failed as failed:
                self.end(Shutdown(Unstarted(spec.id, failed.reason)))
                raise Failed(self.reason) from None
        self.busy = False
        self.run()

    def end(self, reason: object) -> None:
        self.stop_in_reverse(self.children())
        self.die(reason)

    def stop_in_reverse(self, children: list[Child]) -> None:
        for child in reversed(children):
            self.stop_child(child)

    def add(self, spec: Spec) -> object:
        """Start a new child."""
        process = self.world.start(spec, self)
        if process is not None or is_kept(spec.restart):
            self.by_id[spec.id] = Child(spec, process)
        return None if process is None else process.key

    # Requests.

    def do(self, action: object) -> object:
        match action:
            case StartChild(Spec(significant=True)) if self.auto_shutdown == "never":
                raise Refused("ValueError")
            case StartChild(spec):
                self.refuse_to_add(self.by_id.get(spec.id))
                return self.add(spec)
            case Restart(id_):
                child = self.idle(self.by_id.get(id_))
                child.process = self.world.start(child.spec, self)
                return child.shown()
            case Delete(id_):
                self.idle(self.by_id.get(id_))
                del self.by_id[id_]
            case Terminate(str(id_)):
                if id_ not in self.by_id:
                    raise Refused("ChildNotFound")
                self.stop_child(self.by_id[id_])
                if not is_kept(self.by_id[id_].spec.restart):
                    del self.by_id[id_]
            case Which():
                return [(child.spec.id, child.shown(), child.type()) for child in reversed(self.children())]
            case Count():
                return count(self.children())
        return None

    @staticmethod
    def refuse_to_add(known: Child | None) -> None:
        match known:
            case None:
                pass
            case Child(process=Process(key=key)):
                raise Refused("AlreadyStarted", key)
            case _:
                raise Refused("AlreadyPresent")

    @staticmethod
    def idle(known: Child | None) -> Child:
        """Return a child that may be restarted or deleted by request."""
        match known:
            case None:
                raise Refused("ChildNotFound")
            case Child(process="restarting"):
                raise Refused("ChildRestarting")
            case Child(process=Process()):
                raise Refused("ChildRunning")
            case _:
                return known

    # Ends and restarts.

    def child_ended(self, child: Child, reason: object) -> None:
        if comes_back(child.spec.restart, reason):
            self.restart(child)
            return
        child.process = None
        if not is_kept(child.spec.restart):
            del self.by_id[child.spec.id]
        if child.spec.significant and self.shuts_down():
            self.end(SHUTDOWN)

    def shuts_down(self) -> bool:
        """Whether the final end of a significant child, just now, is the supervisor's."""
        match self.auto_shutdown:
            case "any_significant":
                return True
            case "all_significant":
                return not any(child.spec.significant and child.process is not None for child in self.children())
            case _:
                return False

    def victims(self, child: Child) -> list[Child]:
        """Return the children that are restarted with `child`."""
        children = self.children()
        match self.strategy:
            case "one_for_all":
                return children
            case "rest_for_one":
                return children[children.index(child) :]
            case _:
                return [child]

    def do_restart(self, child: Child) -> None:
        victims = self.victims(child)
        self.stop_in_reverse(victims)
        for victim in victims:
            if not is_kept(victim.spec.restart):
                del self.by_id[victim.spec.id]
        for victim in victims:
            if is_kept(victim.spec.restart) and not self.start_again(victim):
                break  # the rest is started when this one has been


class Dynamic(Parent):
    """A dynamic supervisor: its children have neither ids nor an order, and those that do not run are not kept."""

    def __init__(self, world: World, spec: DynamicSpec, key: Key, parent: Process | None) -> None:
        super().__init__(world, spec, key, parent)
        self.max_restarts = spec.max_restarts
        self.max_children = spec.max_children
        self.extra_arguments = spec.extra_arguments
        self.running: list[Child] = []
        self.restarting: list[Child] = []

    def children(self) -> list[Child]:
        return self.running + self.restarting

    def end(self, reason: object) -> None:
        self.world.together([partial(self.stop_child, child) for child in self.running])
        self.die(reason)

    def do(self, action: object) -> object:
        match action:
            case StartChild() if self.max_children is not None and len(self.children()) >= self.max_children:
                raise Refused("MaxChildren")
            case StartChild(spec):
                child = Child(spec, self.world.start(spec, self, self.extra_arguments))
                if child.process is not None:
                    self.running.append(child)
                return child.shown()
            case Terminate(key):
                for child in self.running:
                    if child.shown() == key:
                        self.running.remove(child)
                        self.stop_child(child)
                        return None
                for child in self.restarting:
                    if child.last is not None and child.last.key == key:
                        self.restarting.remove(child)
                        return None
                raise Refused("ChildNotFound")
            case Which():
                return [(None, child.shown(), child.type()) for child in reversed(self.children())]
            case Count():
                return count(self.children())
        return None

    def child_ended(self, child: Child, reason: object) -> None:
        self.running.remove(child)
        if comes_back(child.spec.restart, reason):
            self.restart(child)

    def do_restart(self, child: Child) -> None:
        if child in self.restarting:
            self.restarting.remove(child)
        if not self.start_again(child, self.extra_arguments):
            self.restarting.append(child)
        elif child.process is not None:
            self.running.append(child)


def process_of(world: World, spec: Spec, key: Key, parent: Process | None) -> Process:
    match spec:
        case WorkerSpec():
            return Worker(world, spec, key, parent)
        case SupervisorSpec():
            return Supervisor(world, spec, key, parent)
        case DynamicSpec():
            return Dynamic(world, spec, key, parent)
        case _:
            raise TypeError(f"no process is started by {spec!r}")
