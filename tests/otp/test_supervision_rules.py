"""Supervisor, DynamicSupervisor and Registry, rule by rule."""

import queue
import threading
from functools import partial
from typing import Any

import pytest

import gennostr as g
from gennostr import IGNORE, KILL, NORMAL, SHUTDOWN, ChildSpec, NoReply, Ok, Reply, Shutdown, Stop

Log = queue.SimpleQueue[tuple[str, Any]]


class Worker(g.GenServer[Any]):
    """Logs its start and its end; init_arg is (log, id, what init does)."""

    trap_exit = True

    def init(self, init_arg: Any) -> Any:
        self.log, self.id, *behaviour = init_arg
        if behaviour:
            outcome = behaviour[0](self)
            if outcome is not None:
                return outcome
        self.log.put(("start", self.id))
        return Ok(self.id)

    def handle_call(self, request: Any, from_: Any, state: Any) -> Any:
        return Reply(request(self))

    def handle_cast(self, request: Any, state: Any) -> Any:
        return Stop(request)

    def terminate(self, reason: Any, state: Any) -> None:
        self.log.put(("end", self.id))


def spec(log: Log, id_: str, *behaviour: Any, **options: Any) -> ChildSpec:
    return Worker.child_spec((log, id_, *behaviour), id=id_, **options)


def drain(log: Log, count: int) -> list[tuple[str, Any]]:
    return [log.get(timeout=5) for _ in range(count)]


def pids(supervisor: Any) -> dict[Any, Any]:
    return {info.id: info.pid for info in supervisor.which_children()}


def end(pid: Any, reason: Any = "crash") -> None:
    """End a child by its own hand, and wait until it is dead."""
    done = threading.Event()

    class Watch:
        def down(self, process: Any, reason: object) -> None:
            done.set()

    pid.process.watch(Watch())
    pid.cast(reason)
    assert done.wait(5)


def test_children_start_in_order_and_stop_in_reverse() -> None:
    log: Log = queue.SimpleQueue()
    with g.Supervisor.start([spec(log, each) for each in "abc"]) as supervisor:
        assert [info.id for info in supervisor.which_children()] == ["c", "b", "a"]
        counts = supervisor.count_children()
        assert (counts.specs, counts.active, counts.supervisors, counts.workers) == (3, 3, 0, 3)
    assert drain(log, 6) == [*(("start", each) for each in "abc"), *(("end", each) for each in "cba")]


def test_a_child_that_fails_at_init_stops_those_before_it_in_reverse_and_the_rest_never_start() -> None:
    log: Log = queue.SimpleQueue()
    children = [spec(log, "a"), spec(log, "b"), spec(log, "c", lambda self: Stop("no")), spec(log, "d")]
    with pytest.raises(g.StartError) as caught:
        g.Supervisor.start(children)
    assert isinstance(caught.value.reason, Shutdown)
    failed = caught.value.reason.reason
    assert isinstance(failed, g.FailedToStartChild)
    assert (failed.id, failed.reason) == ("c", "no")
    assert drain(log, 4) == [("start", "a"), ("start", "b"), ("end", "b"), ("end", "a")]
    assert log.empty()


@pytest.mark.parametrize(
    ("strategy", "events"),
    [
        ("one_for_one", ["end b", "start b"]),
        ("one_for_all", ["end b", "end c", "end a", "start a", "start b", "start c"]),
        ("rest_for_one", ["end b", "end c", "start b", "start c"]),
    ],
)
def test_the_strategies(strategy: Any, events: list[str], caplog: pytest.LogCaptureFixture) -> None:
    log: Log = queue.SimpleQueue()
    with g.Supervisor.start([spec(log, each) for each in "abc"], strategy=strategy) as supervisor:
        drain(log, 3)
        end(pids(supervisor)["b"])
        assert [" ".join(each) for each in drain(log, len(events))] == events
        assert all(isinstance(pid, g.Pid) for pid in pids(supervisor).values())


@pytest.mark.parametrize(
    ("restart", "reason", "after"),
    [
        ("permanent", NORMAL, "restarted"),
        ("permanent", "crash", "restarted"),
        ("transient", NORMAL, "kept"),
        ("transient", SHUTDOWN, "kept"),
        ("transient", Shutdown("x"), "kept"),
        ("transient", "crash", "restarted"),
        ("temporary", NORMAL, "gone"),
        ("temporary", "crash", "gone"),
    ],
    ids=str,
)
def test_the_restart_types(restart: Any, reason: Any, after: str) -> None:
    log: Log = queue.SimpleQueue()
    with g.Supervisor.start([spec(log, "a", restart=restart)]) as supervisor:
        first = pids(supervisor)["a"]
        end(first, reason)
        children = pids(supervisor)
        if after == "gone":
            assert children == {}
        elif after == "kept":
            assert children == {"a": None}
        else:
            assert children["a"] is not first
            assert children["a"].is_alive()


def test_three_restarts_are_three_tries_and_then_the_supervisor_gives_up() -> None:
    log: Log = queue.SimpleQueue()
    starts: Log = queue.SimpleQueue()
    fail = threading.Event()

    def behave(self: Any) -> Any:
        starts.put(("try", None))
        return Stop("no") if fail.is_set() else None

    supervisor = g.Supervisor.start([spec(log, "a"), spec(log, "b", behave)], max_restarts=3, max_seconds=5.0)
    fail.set()
    with g.GenServer.start() as other:
        assert other.is_alive()
        end(pids(supervisor)["b"])
        while supervisor.is_alive():
            try:
                supervisor.count_children()  # it answers between the tries, or is gone
            except (g.CallExit, g.NoProcess):
                break
    assert supervisor.process.reason is SHUTDOWN
    assert starts.qsize() == 1 + 3
    assert drain(log, 4)[-1] == ("end", "a")


def test_admin_calls_and_their_errors() -> None:
    log: Log = queue.SimpleQueue()
    with g.Supervisor.start([spec(log, "a")]) as supervisor:
        pid = supervisor.start_child(spec(log, "b"))
        with pytest.raises(g.AlreadyStarted) as caught:
            supervisor.start_child(spec(log, "b"))
        assert caught.value.pid is pid
        with pytest.raises(g.ChildRunning):
            supervisor.restart_child("b")
        with pytest.raises(g.ChildRunning):
            supervisor.delete_child("b")
        supervisor.terminate_child("b")
        supervisor.terminate_child("b")
        assert pids(supervisor)["b"] is None
        with pytest.raises(g.AlreadyPresent):
            supervisor.start_child(spec(log, "b"))
        assert supervisor.restart_child("b").is_alive()
        supervisor.terminate_child("b")
        supervisor.delete_child("b")
        for call in (supervisor.terminate_child, supervisor.restart_child, supervisor.delete_child):
            with pytest.raises(g.ChildNotFound):
                call("b")
        with pytest.raises(g.StartError) as failed:
            supervisor.start_child(spec(log, "c", lambda self: Stop("no")))
        assert failed.value.reason == "no"
        assert "c" not in pids(supervisor)
        assert supervisor.start_child(spec(log, "d", lambda self: IGNORE)) is IGNORE
        assert pids(supervisor)["d"] is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"strategy": "none"},
        {"max_restarts": -1},
        {"max_seconds": "long"},
        {"auto_shutdown": "maybe"},
        {"nonsense": 1},
    ],
    ids=str,
)
def test_a_bad_flag_is_named_in_the_caller(wrong: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=next(iter(wrong))):
        g.Supervisor.start([], **wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"restart": "often"},
        {"shutdown": -1},
        {"shutdown": "soon"},
        {"type": "boss"},
        {"significant": True},
        {"significant": 1},
    ],
    ids=str,
)
def test_a_bad_child_spec_is_named_in_the_caller(wrong: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=next(iter(wrong))):
        Worker.child_spec(None, **wrong)


def test_a_class_restarts_as_a_child_itself() -> None:
    log: Log = queue.SimpleQueue()

    class App(g.Supervisor):
        def init(self, init_arg: Any) -> Any:
            return self.children([spec(init_arg, "inner")], strategy="rest_for_one")

    with g.Supervisor.start([(App, log)]) as top:
        inner = pids(top)[App]
        assert log.get(timeout=5) == ("start", "inner")
        inner.exit(KILL)
        assert {log.get(timeout=5), log.get(timeout=5)} == {("end", "inner"), ("start", "inner")}
        assert pids(top)[App] is not inner
        assert top.which_children()[0].type == "supervisor"


def test_a_child_that_does_not_stop_in_time_is_killed() -> None:
    gate = threading.Event()
    log: Log = queue.SimpleQueue()
    supervisor = g.Supervisor.start([spec(log, "stuck", shutdown=0.05)])
    child = pids(supervisor)["stuck"]
    entered = threading.Event()
    caller = threading.Thread(target=hold, args=(child, entered, gate))
    caller.start()
    assert entered.wait(5)
    supervisor.stop(timeout=2)
    assert child.process.reason is g.KILLED
    gate.set()
    caller.join()


def hold(child: Any, entered: threading.Event, gate: threading.Event) -> None:
    def stuck(self: Any) -> None:
        entered.set()
        gate.wait(5)

    with pytest.raises(g.CallExit):
        child.call(stuck, None)


@pytest.mark.parametrize(("auto_shutdown", "ends"), [("any_significant", 1), ("all_significant", 2)])
def test_significant_children_end_their_supervisor(auto_shutdown: Any, ends: int) -> None:
    log: Log = queue.SimpleQueue()
    children = [spec(log, each, restart="transient", significant=True) for each in "ab"]
    supervisor = g.Supervisor.start([*children, spec(log, "c")], auto_shutdown=auto_shutdown)
    running = pids(supervisor)
    for id_ in "ab"[:ends]:
        assert supervisor.is_alive()
        end(running[id_], NORMAL)
    with pytest.raises((g.CallExit, g.NoProcess)):
        supervisor.which_children()
    assert supervisor.process.reason is SHUTDOWN


def test_the_parents_exit_stops_a_supervisor_in_order_with_the_same_reason() -> None:
    log: Log = queue.SimpleQueue()
    started: queue.SimpleQueue[Any] = queue.SimpleQueue()
    parent = Worker.start((log, "parent"))
    parent.call(lambda self: started.put(g.Supervisor.start_link([spec(log, "a"), spec(log, "b")])))
    supervisor = started.get()
    drain(log, 3)
    parent.cast("bye")
    assert drain(log, 3) == [("end", "parent"), ("end", "b"), ("end", "a")]
    with pytest.raises((g.CallExit, g.NoProcess)):
        supervisor.which_children()
    assert supervisor.process.reason == "bye"


# DynamicSupervisor.


def test_a_dynamic_supervisor_starts_counts_and_ends_children() -> None:
    log: Log = queue.SimpleQueue()
    with g.DynamicSupervisor.start(max_children=2) as supervisor:
        one = supervisor.start_child(spec(log, "a"))
        supervisor.start_child(spec(log, "b"))
        with pytest.raises(g.MaxChildren):
            supervisor.start_child(spec(log, "c"))
        supervisor.terminate_child(one)
        assert not one.is_alive()
        with pytest.raises(g.ChildNotFound):
            supervisor.terminate_child(one)
        assert supervisor.start_child(spec(log, "d", lambda self: IGNORE)) is IGNORE
        assert supervisor.count_children().specs == 1
        assert [info.id for info in supervisor.which_children()] == [None]
        with pytest.raises(TypeError, match="child"):
            supervisor.start_child("nonsense")


def test_extra_arguments_come_before_the_childs_own() -> None:
    log: Log = queue.SimpleQueue()

    def start(first: Any, second: Any, *, keyword: Any) -> Any:
        return Worker.start_link((log, (first, second, keyword)))

    with g.DynamicSupervisor.start(extra_arguments=("extra",)) as supervisor:
        supervisor.start_child(ChildSpec("x", partial(start, "own", keyword="kept")))
        assert log.get(timeout=5) == ("start", ("extra", "own", "kept"))


def test_a_dynamic_child_is_restarted_and_intensity_is_shared() -> None:
    log: Log = queue.SimpleQueue()
    supervisor = g.DynamicSupervisor.start(max_restarts=2)
    for each in "abc":
        supervisor.start_child(spec(log, each))
    drain(log, 3)
    for info in supervisor.which_children():
        end(info.pid)
    with pytest.raises((g.CallExit, g.NoProcess)):
        supervisor.count_children()
    assert supervisor.process.reason is SHUTDOWN


def test_dynamic_children_are_stopped_at_the_same_time() -> None:
    log: Log = queue.SimpleQueue()
    barrier = threading.Barrier(3, timeout=5)

    class Meeting(Worker):
        def terminate(self, reason: Any, state: Any) -> None:
            barrier.wait()  # passes only if all three are here
            super().terminate(reason, state)

    with g.DynamicSupervisor.start() as supervisor:
        for each in "abc":
            supervisor.start_child((Meeting, (log, each)))
        drain(log, 3)
    assert {each for _, each in drain(log, 3)} == set("abc")


# Registry.


class Holder(g.GenServer[Any]):
    """Calls functions in its process."""

    def handle_call(self, request: Any, from_: Any, state: Any) -> Any:
        return Reply(request())

    def handle_info(self, message: Any, state: Any) -> Any:
        state.put(message)
        return NoReply()


def test_a_registry_holds_unique_keys_and_a_death_releases_them() -> None:
    with g.Registry.start() as registry:
        holder = Holder.start()
        holder.call(lambda: registry.register("key", 1))
        assert registry.lookup("key") == (holder, 1)
        with Holder.start() as other, pytest.raises(g.CallExit) as caught:
            other.call(lambda: registry.register("key"))
        assert isinstance(caught.value.reason, g.AlreadyRegistered)
        assert caught.value.reason.pid is holder
        assert registry.keys(holder) == ["key"]
        assert registry.select() == [("key", holder, 1)]
        assert holder.call(lambda: registry.update_value("key", lambda value: value + 1)) == (2, 1)
        found: list[Any] = []
        registry.dispatch("key", found.extend)
        registry.dispatch("other", found.extend)
        assert found == [(holder, 2)]
        holder.stop()
        assert registry.count() == 0


def test_a_name_in_a_registry_serves_wherever_a_pid_does() -> None:
    with g.Registry.start() as registry:
        name = g.via(registry, ("room", 7), "value")
        with Holder.start(name=name) as holder:
            assert g.whereis(name) is holder
            assert g.call(name, lambda: "called") == "called"
            assert registry.lookup(("room", 7)) == (holder, "value")
            with pytest.raises(g.AlreadyStarted):
                Holder.start(name=name)
        with pytest.raises(g.NoProcess):
            g.call(name, 1)


def test_listeners_hear_of_registrations_and_not_of_deaths() -> None:
    heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with Holder.start(heard, name="listener"), g.Registry.start("rooms", ["listener"]) as registry:
        holder = Holder.start()
        holder.call(lambda: registry.register("a", 1))
        holder.call(lambda: registry.unregister("a"))
        holder.call(lambda: registry.unregister("a"))
        holder.call(lambda: registry.register("b"))
        holder.stop()
        assert [heard.get(timeout=5) for _ in range(3)] == [
            g.Registered("rooms", "a", holder, 1),
            g.Unregistered("rooms", "a", holder),
            g.Registered("rooms", "b", holder, None),
        ]
        assert heard.empty()


def test_a_registry_that_is_killed_takes_its_registrants_with_it() -> None:
    registry = g.Registry.start()
    holder = Holder.start(name=g.via(registry, "key"))
    registry.exit(KILL)
    with pytest.raises((g.CallExit, g.NoProcess)):
        holder.call(lambda: "alive")
    with pytest.raises(g.NoProcess):
        registry.lookup("key")
