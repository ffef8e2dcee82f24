"""Trees of supervisors, and graphs of links and monitors, against their models, in random walks.

A walk does one operation at a time, to the model and to the real thing; then the real thing must have done what the
model says, no less and no more. The models say what is modelled; what is not: time (so no timers either), and
operations at the same time.

Nothing here sleeps, and nothing waits for what should happen: that would be blind to what should not. After each
operation a walk waits until no actor does anything any more (`Company.settle`), and then looks.

GENNOSTR_EXAMPLES: walks of each kind, random ones; without it there are a few, and always the same.
"""

import logging
import math
import os
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

import gennostr as g
from gennostr import IGNORE, KILL, KILLED, NOPROC, NORMAL, SHUTDOWN, Shutdown
from gennostr.otp import child as requests
from gennostr.otp import reasons, system
from gennostr.otp.dynamic_supervisor import DynamicSupervisorEngine
from gennostr.otp.process import Process
from tests.otp import supervision_model as model
from tests.otp.actors import DEADLINE
from tests.otp.supervision_model import (
    Count,
    Crash,
    Delete,
    DynamicSpec,
    End,
    Note,
    Restart,
    Spec,
    StartChild,
    SupervisorSpec,
    Terminate,
    Which,
    WorkerSpec,
)

EXAMPLES = os.environ.get("GENNOSTR_EXAMPLES")


def walks(examples: int, steps: int) -> settings:
    """Return how often a machine runs."""
    return settings(
        max_examples=int(EXAMPLES or examples),
        stateful_step_count=steps,
        derandomize=EXAMPLES is None,
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1, "gennostr")


class EndWatcher:
    """A watcher that is a function of the reason."""

    def __init__(self, tell: Callable[[object], object]) -> None:
        self.tell = tell

    def down(self, process: Process, reason: object) -> None:
        self.tell(reason)


class Company:
    """The actors of a walk, in starting order."""

    def __init__(self) -> None:
        self.pids: list[Any] = []
        self._ended: dict[g.Pid, threading.Event] = {}

    def join(self, pid: Any) -> None:
        """Take an actor in; called in its init, or while it does nothing."""
        ended = self._ended[pid] = threading.Event()
        self.pids.append(pid)
        # As a waiter: so every other process is notified of its death before this is.
        pid.process.watch(EndWatcher(lambda reason: ended.set()), waits=True)

    def settle(self) -> None:
        """Return when all actors are idle.

        That is when each reports twice that nothing is left to do, and has handled nothing in between.
        """
        before: object = None
        while (now := self._look()) is None or now != before:
            before = now

    def _look(self) -> list[object] | None:
        """Return the living actors, and how much each has handled; None if one was not at rest."""
        living = []
        for pid in self.pids[:]:
            if not pid.is_alive():
                assert self._ended[pid].wait(DEADLINE)
                continue
            try:
                rest = pid.call(system.GetRest())
            except (g.CallExit, g.NoProcess):
                return None
            if rest is None:
                return None
            living.append((pid, rest))
        return [len(self.pids), *living]

    def clear(self) -> None:
        """End all, whatever they do: parents first, for these would start others."""
        while living := [pid for pid in self.pids if pid.is_alive()]:
            for pid in living:
                pid.exit(KILL)


# Trees: the real thing.


class Stage(Company):
    """The world of a tree of actors: what they do in init, their pids, and what has happened, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.plans: dict[str, list[model.Plan]] = {}
        self.inits: Counter[str] = Counter()
        self.by_key: dict[object, Any] = {}
        self.keys: dict[g.Pid, model.Key] = {}
        self.happened: list[model.Event] = []

    def enter(self, actor: Any, spec: Spec, extra: tuple[str, ...]) -> model.Plan:
        """Note an init and return what it is to do."""
        self.inits[spec.id] += 1
        key = actor.key = (spec.id, self.inits[spec.id])
        self.by_key[key] = actor.pid
        self.keys[actor.pid] = key
        actor.stage = self
        actor.pid.process.watch(EndWatcher(lambda reason: self.note(key, "end", seen(reason))))
        self.join(actor.pid)
        plan = self.plans.get(spec.id)
        does: model.Plan = plan.pop(0) if plan else "ok"
        self.note(key, does, extra)
        return does

    def note(self, key: model.Key, what: str, detail: object = None) -> None:
        self.happened.append((key, what, detail))

    def child(self, spec: Spec) -> g.ChildSpec:
        kind = "worker" if isinstance(spec, WorkerSpec) else "supervisor"
        fields: dict[str, Any] = {"restart": spec.restart, "significant": spec.significant, "shutdown": spec.shutdown}
        return g.ChildSpec(spec.id, partial(self.start, spec), type=kind, **fields)  # type: ignore[arg-type]

    def request(self, action: object) -> object:
        """Return the real request."""
        match action:
            case StartChild(spec):
                return requests.StartChild(self.child(spec))
            case Terminate(child):
                return requests.ChildAction("terminate", self.by_key.get(child, child))
            case Restart(id_):
                return requests.ChildAction("restart", id_)
            case Delete(id_):
                return requests.ChildAction("delete", id_)
            case Which():
                return requests.WhichChildren()
            case _:
                return requests.CountChildren()

    def answer(self, ask: Callable[[], Any]) -> object:
        """Return what the model would say of what `ask` returns or raises."""
        try:
            return self.shown(ask())
        except (g.StartError, g.CallExit) as error:
            return ("raises", type(error).__name__, seen(error.reason))
        except g.AlreadyStarted as error:
            return ("raises", "AlreadyStarted", self.keys[error.pid])
        except (g.SupervisorError, g.NoProcess, ValueError) as error:
            return ("raises", type(error).__name__, None)

    def shown(self, value: object) -> object:
        match value:
            case model.Process(key=key):
                return key
            case g.Pid():
                return self.keys[value]
            case requests.ChildInfo(id_, pid, type_):
                return (id_, self.shown(pid), type_)
            case requests.ChildCounts():
                return (value.specs, value.active, value.supervisors, value.workers)
            case list():
                return [self.shown(each) for each in value]
            case g.IGNORE:
                return None
            case _:
                return value

    def start(self, *arguments: Any) -> Any:
        """Start an actor, linked to the one that calls; extra arguments come first."""
        *extra, spec = arguments
        match spec:
            case WorkerSpec():
                return Performer.start_link((self, spec, tuple(extra)))
            case SupervisorSpec():
                return Boss.start_link((self, spec, tuple(extra)))
            case DynamicSpec():
                pool: Any = type("Pool", (Pool,), {"argument": (self, spec, tuple(extra))})
                return pool.start_link(spec.max_children, spec.extra_arguments, spec.max_restarts, math.inf)
            case _:
                raise TypeError(spec)


def perform(does: model.Plan, key: model.Key, otherwise: Callable[[], Any]) -> Any:
    """Return what init returns, or raise."""
    match does:
        case "ignore":
            return IGNORE
        case "stop":
            return g.Stop("no")
        case "raise":
            raise model.Broken("init", key)
        case _:
            return otherwise()


class Performer(g.GenServer[Any]):
    """A worker, or the owner of a tree."""

    stage: Stage
    key: model.Key

    def init(self, init_arg: Any) -> Any:
        stage, self.spec, extra = init_arg
        self.trap_exit = self.spec.traps
        self.received = 0
        return perform(stage.enter(self, self.spec, extra), self.key, g.Ok)

    def handle_call(self, request: Callable[[], Any], from_: Any, state: Any) -> Any:
        return g.Reply(self.stage.answer(request))

    def handle_cast(self, request: Any, state: Any) -> Any:
        return self.handle_info(request, state)

    def handle_info(self, message: Any, state: Any) -> Any:
        match message:
            case Crash(error):
                raise error
            case End(reason):
                return g.Stop(reason)
            case Note(text):
                self.note(text)
            case g.Exit(pid, reason):
                self.note(("exit", None if pid is None else self.stage.keys[pid], seen(reason)))
        return None

    def note(self, what: object) -> None:
        self.received += 1
        self.stage.note(self.key, "received", (self.received, what))

    def terminate(self, reason: Any, state: Any) -> None:
        self.stage.note(self.key, "terminate", seen(reason))
        if self.spec.broken:
            raise model.Broken("terminate", self.key)


class Boss(g.Supervisor):
    """A supervisor."""

    key: model.Key

    def init(self, init_arg: Any) -> Any:
        stage, spec, extra = init_arg
        children = map(stage.child, spec.children)
        flags = partial(self.children, children, spec.strategy, spec.max_restarts, math.inf, spec.auto_shutdown)
        return perform(stage.enter(self, spec, extra), self.key, flags)


class PoolEngine(DynamicSupervisorEngine):
    server: Any

    def init(self, argument: object) -> object:
        stage, spec, extra = self.server.argument
        return perform(stage.enter(self.server, spec, extra), self.server.key, partial(super().init, argument))


class Pool(g.DynamicSupervisor, engine=PoolEngine):
    """A dynamic supervisor. Its init takes flags alone, so each has a class of its own for the rest."""

    key: model.Key
    argument: tuple[Stage, DynamicSpec, tuple[str, ...]]


def seen(reason: object) -> object:
    """Return `reason` as the model has it."""
    match reason:
        case Shutdown(g.FailedToStartChild() as failed):
            return Shutdown(model.Unstarted(str(failed.id), seen(failed.reason)))
        case _:
            return reason


# Trees: the walk.

RESTARTS = st.sampled_from(["permanent", "transient", "temporary"])
REASONS = st.sampled_from([NORMAL, SHUTDOWN, Shutdown("x"), "reason"])
SIGNALS = st.sampled_from([NORMAL, SHUTDOWN, Shutdown("x"), "reason", KILL])
MOST_RESTARTS = st.sampled_from([100, 100, 100, 3, 2, 1, 0])
PLANS = st.lists(st.sampled_from(["stop", "raise", "ignore", "ok"]), max_size=4)
FAILURES = st.lists(st.sampled_from(["stop", "raise"]), min_size=1, max_size=3)
MESSAGES = st.one_of(
    st.builds(lambda: Crash(RuntimeError("crash"))),
    st.builds(End, REASONS),
    st.builds(Note, st.sampled_from(["one", "two"])),
)


@st.composite
def children(draw: st.DrawFn, id_: str, depth: int, kinds: str, auto_shutdown: str) -> Spec:
    """Draw a child, with at most `depth` floors of supervisors."""
    fields: dict[str, Any] = {"restart": draw(RESTARTS), "shutdown": draw(st.sampled_from([None, None, "brutal_kill"]))}
    if auto_shutdown != "never" and fields["restart"] != "permanent":
        fields["significant"] = draw(st.sampled_from([True, True, False]))
    match draw(st.sampled_from(kinds)) if depth else "w":
        case "s":
            mine = draw(st.sampled_from(["never", "any_significant", "all_significant"]))
            return SupervisorSpec(
                id_,
                **fields,
                children=tuple(
                    draw(children(f"{id_}.{number}", depth - 1, "wwwsd", mine))
                    for number in range(draw(st.integers(1, 4)))
                ),
                strategy=draw(st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"])),
                max_restarts=draw(MOST_RESTARTS),
                auto_shutdown=mine,
            )
        case "d":
            return DynamicSpec(
                id_,
                **fields,
                max_children=draw(st.sampled_from([None, 1, 1, 2, 0])),
                extra_arguments=draw(st.sampled_from([(), ("extra",), ("one", "two")])),
                max_restarts=draw(MOST_RESTARTS),
            )
        case _:
            broken = draw(st.sampled_from([False, False, False, True]))
            return WorkerSpec(id_, **fields, traps=draw(st.booleans()), broken=broken)


def ids(spec: Spec) -> list[str]:
    """Return the ids of all that are started with `spec`, its own included."""
    below = spec.children if isinstance(spec, SupervisorSpec) else ()
    return [spec.id, *(id_ for child in below for id_ in ids(child))]


@st.composite
def actions(draw: st.DrawFn, parent: model.Parent, fresh: str) -> Any:
    """Draw a request to a supervisor: also with an id that is taken or unknown, or with what it must refuse."""
    if draw(st.sampled_from([True, len(parent.children()) < 3, False])):
        id_, mine = fresh, "never"
        if isinstance(parent, model.Supervisor):
            id_ = draw(st.sampled_from([fresh, fresh, *parent.by_id]))
            mine = draw(st.sampled_from([parent.auto_shutdown, parent.auto_shutdown, "any_significant"]))
        return StartChild(draw(children(id_, 1, "wwwsd", mine)))
    if isinstance(parent, model.Supervisor):
        id_ = draw(st.sampled_from([*parent.by_id, "unknown"]))
        return draw(st.sampled_from([Terminate(id_), Terminate(id_), Restart(id_), Delete(id_), Which(), Count()]))
    key = draw(st.sampled_from([process.key for process in [*parent.started, parent]]))
    return draw(st.sampled_from([Terminate(key), Which(), Count()]))


def one_of(those: Callable[[Any], list[Any]]) -> st.SearchStrategy[Any]:
    """Draw one of what is there at that moment."""
    return st.runner().flatmap(lambda machine: st.sampled_from(those(machine)))


# Where nothing lives beneath the owner, all that can be done is to start a tree.
planted = precondition(lambda machine: machine.living(model.Parent))


class Trees(RuleBasedStateMachine):
    """One owner, which traps exits, and the trees that it has started; its end is the end of the walk."""

    def __init__(self) -> None:
        super().__init__()
        self.world = model.World()
        self.stage = Stage()
        self.asked: list[tuple[model.Request, g.PendingReply]] = []
        self.as_supposed = True

    def living(self, kind: type[model.Process] = model.Process) -> list[Any]:
        return [process for process in self.world.processes.values() if process.alive and isinstance(process, kind)]

    def known(self, kind: type[model.Process] = model.Process) -> list[Any]:
        """Return those beneath the owner that live, newest first, and one that is dead."""
        dead = [process for process in self.world.processes.values() if not process.alive and isinstance(process, kind)]
        return [each for each in self.living(kind)[::-1] + dead[-1:] if each is not self.owner]

    def beneath(self) -> list[Any]:
        """Return those of `known` that have a parent. Roots are not restarted: a walk that ends many shows little."""
        return [each for each in self.known() if each.parent is not self.owner]

    def supervised(self) -> list[Any]:
        """Return those whose supervisor would restart them at once."""
        return [
            process
            for parent in self.living(model.Parent)
            for process in parent.started
            if process.alive and not parent.suspended
        ]

    def pid(self, process: model.Process) -> Any:
        return self.stage.by_key[process.key]

    def step(self, supposed: Callable[[], object], real: Callable[[], object]) -> None:
        """Do one operation, to the model and to the real thing, and compare."""
        self.as_supposed = False
        self.world.step()
        answer = self.stage.shown(model.answer_of(supposed))
        assert self.stage.answer(real) == answer
        self.stage.settle()
        self.compare()
        self.as_supposed = True

    def compare(self) -> None:
        happened, self.stage.happened = self.stage.happened, []
        order = self.world.order
        assert Counter(happened) == Counter(order.keys()), (happened, list(order))
        place = {event: at for at, event in enumerate(happened)}
        for event, causes in order.items():
            for cause in causes:
                assert place[cause] < place[event], (happened, list(order))
        answered = [(request, pending) for request, pending in self.asked if request.answer != "not yet"]
        self.asked = [(request, pending) for request, pending in self.asked if request.answer == "not yet"]
        for request, pending in answered:
            assert self.stage.answer(pending.wait) == self.stage.shown(request.answer), request
        assert not any(pending.done() for _, pending in self.asked)
        for parent in self.living(model.Parent):
            for action in (Which(), Count()):
                if not parent.suspended:
                    asked = partial(self.pid(parent).call, self.stage.request(action))
                    assert self.stage.answer(asked) == parent.do(action)

    def plan(self, id_: str, plan: list[model.Plan]) -> None:
        for plans in (self.world.plans, self.stage.plans):
            plans[id_] = plan[:]

    def ask(self, parent: model.Parent, action: Any) -> None:
        """Send a request; a suspended supervisor will answer later."""
        request = model.Request(action)

        def send() -> None:
            self.asked.append((request, self.pid(parent).send_request(self.stage.request(action))))

        self.step(partial(parent.receive, request), send)

    @initialize(data=st.data(), broken=st.booleans(), ending=SIGNALS)
    def start(self, data: st.DataObject, *, broken: bool, ending: object) -> None:
        spec = WorkerSpec("owner", traps=True, broken=broken)
        self.ending = ending

        def start() -> model.Process | None:
            self.owner: Any = self.world.start(spec, None)
            return self.owner

        self.step(start, lambda: Performer.start((self.stage, spec, ())))
        self.start_a_tree(data, [])

    @precondition(lambda self: len(self.living()) < 10)
    @rule(data=st.data(), plan=PLANS)
    def start_a_tree(self, data: st.DataObject, plan: list[model.Plan]) -> None:
        spec = data.draw(children(f"tree{len(self.world.processes)}", 2, "ssd", "never"))
        self.plan(data.draw(st.sampled_from(ids(spec))), plan)
        start = partial(self.pid(self.owner).call, partial(self.stage.start, spec))
        self.step(partial(self.world.start, spec, self.owner), start)
        for pool in self.living(model.Dynamic):  # one without children would be a poor tree
            if not pool.started and not pool.suspended:
                for number in range(data.draw(st.integers(1, 3))):
                    self.ask(pool, StartChild(data.draw(children(f"{pool.spec.id}+{number}", 1, "wwwsd", "never"))))

    @planted
    @rule(process=one_of(known), plan=PLANS)
    def plan_inits(self, process: model.Process, plan: list[model.Plan]) -> None:
        self.plan(process.spec.id, plan)

    def draw_and_ask(self, parent: model.Parent, plan: list[model.Plan], data: st.DataObject) -> None:
        """Send some requests; the inits of the children to be started follow `plan`."""
        for _ in range(data.draw(st.integers(1, 4))):
            action = data.draw(actions(parent, f"{parent.spec.id}+{len(self.world.processes)}"))
            if isinstance(action, StartChild):
                self.plan(data.draw(st.sampled_from(ids(action.spec))), plan)
            self.ask(parent, action)

    @precondition(lambda self: self.living(model.Parent) and len(self.living()) < 25)
    @rule(parent=one_of(lambda self: self.known(model.Parent)), plan=PLANS, data=st.data())
    def ask_a_supervisor(self, parent: model.Parent, plan: list[model.Plan], data: st.DataObject) -> None:
        self.draw_and_ask(parent, plan, data)

    @precondition(lambda self: self.supervised() and len(self.living()) < 25)
    @rule(child=one_of(lambda self: self.supervised()), fails=FAILURES, data=st.data())
    def ask_one_that_restarts(self, child: model.Process, fails: list[model.Plan], data: st.DataObject) -> None:
        """Have requests wait at a supervisor together with a child's end, to be answered while it tries."""
        parent: Any = child.parent
        self.suspend_or_resume(parent)
        self.step(partial(child.signal, KILL), partial(self.pid(child).exit, KILL))
        self.plan(data.draw(st.sampled_from([child.spec.id, *(each.spec.id for each in parent.children())])), fails)
        self.draw_and_ask(parent, [], data)
        self.ask(parent, Which())
        self.suspend_or_resume(parent)

    @planted
    @precondition(lambda self: self.known(model.Worker))
    @rule(
        process=one_of(lambda self: self.known(model.Worker)), message=MESSAGES, how=st.sampled_from(["send", "cast"])
    )
    def tell_a_worker(self, process: model.Worker, message: object, how: str) -> None:
        self.step(partial(process.receive, message), partial(getattr(self.pid(process), how), message))

    @planted
    @precondition(lambda self: self.beneath())
    @rule(process=one_of(beneath), reason=SIGNALS)
    def send_an_exit_signal(self, process: model.Process, reason: object) -> None:
        self.step(partial(process.signal, reason), partial(self.pid(process).exit, reason))

    @planted
    @rule(process=one_of(known), reason=SIGNALS)
    def have_the_owner_send_one(self, process: model.Process, reason: object) -> None:
        signal = partial(self.pid(process).exit, reason)
        self.step(partial(process.signal, reason, self.owner), partial(self.pid(self.owner).call, signal))

    @planted
    @rule(process=one_of(known), reason=REASONS)
    def stop(self, process: model.Process, reason: object) -> None:
        self.step(partial(process.stop, reason), partial(g.stop, self.pid(process), reason, DEADLINE))

    @planted
    @rule(process=one_of(lambda self: self.living()[:0:-1]))
    def suspend_or_resume(self, process: model.Process) -> None:
        if process.suspended:
            self.step(process.resume, self.pid(process).resume)
        else:
            self.step(process.suspend, self.pid(process).suspend)

    def teardown(self) -> None:
        try:
            if self.as_supposed:
                pid, ending = self.pid(self.owner), self.ending
                if ending is KILL:
                    self.step(partial(self.owner.signal, KILL), partial(pid.exit, KILL))
                else:
                    self.step(partial(self.owner.receive, End(ending)), partial(pid.cast, End(ending)))
                assert not self.living()
        finally:
            self.stage.clear()


def test_trees_of_supervisors_do_what_the_model_says() -> None:
    run_state_machine_as_test(Trees, settings=walks(70, 40))


# Links and monitors: the model.


class Node:
    """An actor with links and monitors: what it has received from whom, and the messages that wait in suspension."""

    def __init__(self, number: int, *, traps: bool) -> None:
        self.number = number
        self.traps = traps
        self.alive = True
        self.reason: object = None
        self.suspended = False
        self.links: dict[Node, None] = {}
        self.watchers: dict[Monitor, None] = {}
        self.waiting: list[tuple[Node | None, object]] = []
        self.got: defaultdict[str, list[object]] = defaultdict(list)

    def __repr__(self) -> str:
        return f"node{self.number}"

    def get(self, sender: "Node | None", message: object) -> None:
        self.waiting.append((sender, message))
        self.run()

    def run(self) -> None:
        while self.waiting and self.alive and not self.suspended:
            sender, message = self.waiting.pop(0)
            match message:
                case Farewell(others, end):
                    for other in others:
                        other.get(self, "farewell")
                    self.die(reason_of(end))
                case ("down", Monitor(flushed=True), _, _):
                    pass
                case _:
                    self.got[str(sender)].append(message)

    def die(self, reason: object) -> None:
        """End, and notify: watchers first, then links."""
        if not self.alive:
            return
        self.alive = False
        self.reason = reason
        for monitor in self.watchers:
            monitor.owner.get(self, ("down", monitor, monitor.named, reason))
        links, self.links = self.links, {}
        for other in links:
            other.links.pop(self, None)
            other.signal(self, reason, linked=True)

    def signal(self, sender: "Node | None", reason: object, *, linked: bool = False) -> None:
        match reason, self.traps:
            case reasons.KILL, _ if not linked:
                self.die(KILLED)
            case _, True:
                self.get(sender, ("exit", str(sender), reason))
            case reasons.NORMAL, False if sender is not self:
                pass
            case _:
                self.die(reason)

    def link(self, other: "Node", *, by_name: bool) -> None:
        match other.alive, self.traps:
            case True, _ if other is not self:
                self.links[other] = other.links[self] = None
            case False, True:
                self.signal(None if by_name else other, NOPROC, linked=True)
            case False, False:
                raise model.Refused("NoProcess")

    def unlink(self, other: "Node") -> None:
        self.links.pop(other, None)
        other.links.pop(self, None)

    def monitor(self, monitor: "Monitor") -> None:
        if monitor.target.alive:
            monitor.target.watchers[monitor] = None
        else:
            self.get(monitor.target, ("down", monitor, monitor.named, NOPROC))

    def suspend_or_resume(self) -> None:
        self.suspended = not self.suspended
        self.run()


class Monitor:
    """One monitor; `named`: it was set by name."""

    def __init__(self, owner: Node, target: Node, *, named: bool) -> None:
        self.owner, self.target, self.named = owner, target, named
        self.flushed = False

    def demonitor(self, *, flush: bool) -> None:
        self.target.watchers.pop(self, None)
        self.flushed = self.flushed or flush


@dataclass(frozen=True)
class Farewell:
    """Send something to `others`, then end."""

    others: list[Node]
    end: Crash | End


def reason_of(end: Crash | End) -> object:
    return end.error if isinstance(end, Crash) else end.reason


# Links and monitors: the real thing.


class Linked(g.GenServer[Any]):
    """A node. What it gets is noted by sender; a list has one order for each sender, and none among them."""

    def init(self, init_arg: Any) -> Any:
        self.walk, self.node = init_arg
        self.trap_exit = self.node.traps
        self.got: defaultdict[str, list[object]] = defaultdict(list)

    def handle_info(self, message: Any, state: Any) -> Any:
        match message:
            case Farewell(others, end):
                for other in others:
                    self.walk.pids[other].send((str(self.node), "farewell"))
                if isinstance(end, Crash):
                    raise end.error
                return g.Stop(end.reason)
            case g.Exit(pid, reason):
                sender = str(None if pid is None else self.walk.nodes[pid])
                self.got[sender].append(("exit", sender, reason))
            case g.Down(ref, pid, reason):
                monitor = self.walk.monitors[ref]
                assert pid == (str(monitor.target) if monitor.named else self.walk.pids[monitor.target])
                self.got[str(monitor.target)].append(("down", monitor, isinstance(pid, str), reason))
            case (sender, text):
                self.got[sender].append(text)
        return None


# Links and monitors: the walk.

ENDS = st.one_of(
    st.builds(lambda: Crash(RuntimeError("crash"))),
    st.builds(End, st.sampled_from([NORMAL, SHUTDOWN, "reason", KILL, KILL, KILLED])),
)


def living(machine: Any) -> list[Node]:
    return [node for node in machine.pids if node.alive]


def known(machine: Any) -> list[Node]:
    """Return those that live, and the last of the dead."""
    return living(machine) + [node for node in machine.pids if not node.alive][-1:]


class Links(RuleBasedStateMachine):
    """Nodes that live, and some that have died."""

    def __init__(self) -> None:
        super().__init__()
        self.company = Company()
        self.actors: dict[Node, Linked] = {}
        self.pids: dict[Node, Any] = {}
        self.nodes: dict[g.Pid, Node] = {}
        self.monitors: dict[Any, Monitor] = {}

    def step(self, supposed: Callable[[], object], real: Callable[[], object]) -> None:
        """Do one operation, to the model and to the real thing, and compare."""
        answer = model.answer_of(supposed)
        assert self.answer(real) == answer
        self.company.settle()
        for node, pid in self.pids.items():
            assert (pid.is_alive(), pid.process.reason) == (node.alive, node.reason), node
            assert node.alive is (g.whereis(str(node)) == pid)
            if node.alive:
                assert self.actors[node].got == node.got, node
        if not living(self):  # every operation needs somebody
            self.start(traps=True)

    def refs(self) -> list[Any]:
        return [ref for ref, monitor in self.monitors.items() if monitor.owner.alive]

    def answer(self, ask: Callable[[], object]) -> object:
        """Return what the model would say of what `ask` returns or raises."""
        try:
            return ask()
        except g.NoProcess:
            return ("raises", "NoProcess", None)
        except g.CallExit as error:
            return ("raises", "CallExit", error.reason)

    def within(self, node: Node, function: Callable[[], object]) -> Callable[[], object]:
        """Return what calls `function` in the process of `node`, suspended or not."""
        return lambda: self.pids[node].replace_state(lambda state: function())

    def target(self, node: Node, *, by_name: bool) -> Any:
        return str(node) if by_name else self.pids[node]

    @initialize(traps=st.lists(st.booleans(), min_size=3, max_size=8))
    def start_some(self, traps: list[bool]) -> None:
        for each in traps:
            self.start(traps=each)

    @precondition(lambda self: len(living(self)) < 5)
    @rule(traps=st.booleans())
    def start(self, *, traps: bool) -> None:
        node = Node(len(self.pids), traps=traps)
        pid = Linked.start((self, node), name=str(node))
        pid.replace_state(lambda state: None)
        self.actors[node] = pid.process.actor.server  # type: ignore[union-attr]
        self.pids[node], self.nodes[pid] = pid, node
        self.company.join(pid)

    @rule(node=one_of(living), other=one_of(known), by_name=st.booleans())
    def link(self, node: Node, other: Node, *, by_name: bool) -> None:
        target = self.target(other, by_name=by_name)
        self.step(partial(node.link, other, by_name=by_name), self.within(node, partial(g.link, target)))

    @rule(node=one_of(living), data=st.data())
    def connect(self, node: Node, data: st.DataObject) -> None:
        for other in data.draw(st.lists(st.sampled_from(living(self)), min_size=1, max_size=3)):
            self.link(node, other, by_name=False)
            self.monitor(node, other, by_name=False)

    @rule(node=one_of(living), other=one_of(known), by_name=st.booleans())
    def unlink(self, node: Node, other: Node, *, by_name: bool) -> None:
        target = self.target(other, by_name=by_name)
        self.step(partial(node.unlink, other), self.within(node, partial(g.unlink, target)))

    @rule(node=one_of(living), other=one_of(known), by_name=st.booleans())
    def monitor(self, node: Node, other: Node, *, by_name: bool) -> None:
        monitor = Monitor(node, other, named=by_name)
        target = self.target(other, by_name=by_name)

        def real() -> None:
            self.monitors[g.monitor(target)] = monitor

        self.step(partial(node.monitor, monitor), self.within(node, real))

    @precondition(lambda self: self.refs())
    @rule(ref=one_of(lambda self: self.refs()), flush=st.booleans())
    def demonitor(self, ref: Any, *, flush: bool) -> None:
        monitor = self.monitors[ref]
        real = self.within(monitor.owner, partial(g.demonitor, ref, flush=flush))
        self.step(partial(monitor.demonitor, flush=flush), real)

    @rule(node=one_of(living), other=one_of(living), flush=st.booleans())
    def demonitor_while_the_down_waits(self, node: Node, other: Node, *, flush: bool) -> None:
        self.monitor(node, other, by_name=False)
        ref = next(reversed(self.monitors))
        if not node.suspended:
            self.suspend_or_resume(node)
        self.send_an_exit_signal(other, KILL)
        if node.alive:  # neither the same nor linked
            self.demonitor(ref, flush=flush)
            self.suspend_or_resume(node)

    @rule(node=one_of(living), traps=st.booleans())
    def trap(self, node: Node, *, traps: bool) -> None:
        real = self.within(node, partial(setattr, self.actors[node], "trap_exit", traps))
        self.step(partial(setattr, node, "traps", traps), real)

    @rule(node=one_of(living))
    def suspend_or_resume(self, node: Node) -> None:
        real = self.pids[node].resume if node.suspended else self.pids[node].suspend
        self.step(node.suspend_or_resume, real)

    @rule(node=one_of(known), reason=SIGNALS)
    def send_an_exit_signal(self, node: Node, reason: object) -> None:
        self.step(partial(node.signal, None, reason), partial(self.pids[node].exit, reason))

    @rule(node=one_of(living), other=one_of(known), reason=SIGNALS)
    def have_another_send_one(self, node: Node, other: Node, reason: object) -> None:
        def supposed() -> None:
            other.signal(node, reason)
            if node is other and reason is KILL:  # it never said that it had done it
                raise model.Refused("CallExit", KILLED)

        self.step(supposed, self.within(node, partial(self.pids[other].exit, reason)))

    @rule(node=one_of(living), end=ENDS)
    def end(self, node: Node, end: Crash | End) -> None:
        farewell = Farewell([other for other in living(self) if other is not node], end)
        self.step(partial(node.get, None, farewell), partial(self.pids[node].send, farewell))

    @rule(node=one_of(living), reason=REASONS)
    def stop(self, node: Node, reason: object) -> None:
        self.step(partial(node.die, reason), partial(g.stop, self.pids[node], reason, DEADLINE))

    def teardown(self) -> None:
        self.company.clear()


def test_links_and_monitors_tell_survivors_what_the_model_says_and_no_more() -> None:
    run_state_machine_as_test(Links, settings=walks(200, 40))
