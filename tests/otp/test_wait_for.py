"""wait_for: a name that is registered now, later, or not in time."""

import gc
import threading
import time
import weakref
from functools import partial
from typing import Any

import pytest

import gennostr as g
from gennostr import KILL, KILLED, Registry, Reply, Supervisor
from gennostr.otp.names import NAMES, Entry, NameTable
from gennostr.testing import ManualClock, Probe
from tests.otp.actors import (
    Do,
    Driven,
    Gate,
    Log,
    Trapping,
    dead,
    log_of,
    meanwhile,
    outcome_of,
    until,
    watching,
    within,
)
from tests.otp.test_interrupted_processes import interrupted

LONG = 60.0
"""Seconds that no wait here takes: what ends it is something else."""


def waits(table: NameTable, key: object, count: int = 1) -> None:
    """Return when `count` waits listen for `key`."""
    until(lambda: key in table._awaited and len(table._awaited[key]._listeners) == count)


@pytest.fixture(autouse=True)
def nothing_waits_any_more() -> Any:
    yield
    assert NAMES._awaited == {}


def test_a_name_that_is_registered_is_returned_at_once() -> None:
    with Driven.start(name="there") as server:
        assert g.wait_for("there") is server
        assert g.wait_for("there", 0) is server
        assert g.wait_for("there", None) is server


def test_a_key_of_a_registry_that_is_registered_is_returned_at_once() -> None:
    with Registry.start(name="rooms") as registry, Driven.start(name=g.via(registry, "key")) as server:
        assert g.wait_for(g.via(registry, "key")) is server
        assert g.wait_for(g.via("rooms", "key"), 0) is server


@pytest.mark.parametrize("timeout", [LONG, None])
def test_a_name_that_is_registered_later_ends_the_wait(timeout: float | None) -> None:
    with meanwhile(lambda: g.wait_for("later", timeout)) as outcome:
        waits(NAMES, "later")
        with Driven.start(name="later") as server:
            assert outcome() is server


def test_a_key_that_is_registered_later_ends_the_wait() -> None:
    with Registry.start() as registry, meanwhile(lambda: g.wait_for(g.via(registry, "key"), LONG)) as outcome:
        waits(registry.table, "key")
        with Driven.start() as server:
            within(server, lambda self: registry.register("key"))
            assert outcome() is server
        assert registry.table._awaited == {}


def test_a_probe_that_is_registered_ends_the_wait() -> None:
    with meanwhile(lambda: g.wait_for("probe", LONG)) as outcome:
        waits(NAMES, "probe")
        with Probe(name="probe") as probe:
            assert outcome() is probe.pid


def test_another_name_does_not_end_the_wait() -> None:
    with meanwhile(lambda: g.wait_for("mine", LONG)) as outcome:
        waits(NAMES, "mine")
        with Driven.start(name="another"), Driven.start(name="mine") as server:
            assert outcome() is server


@pytest.mark.parametrize("by_name", [True, False])
def test_a_name_is_waited_for_while_its_server_is_restarted(by_name: bool) -> None:  # noqa: FBT001
    gates = [Gate(), Gate()]
    remaining = list(gates)
    with Registry.start(name="rooms") as registry:
        name: Any = "worker" if by_name else g.via("rooms", "worker")
        spec = Driven.child_spec(lambda self: remaining.pop(0).wait(g.Ok("state")), name=name)
        gates[0].open()
        with Supervisor.start([spec]):
            first = g.wait_for(name, 0)
            with meanwhile(lambda: [g.wait_for(name, LONG) for _ in range(100)]) as outcome:
                first.exit(KILL)
                gates[1].reached()
                assert set(outcome()) <= {first, g.whereis(name)}
            second = g.wait_for(name, 0)
            assert second is not first
            gates[1].open()
            assert second.get_state() == "state"
        assert registry.table._awaited == {}


def test_a_registry_that_is_given_by_its_name_may_be_registered_later_too() -> None:
    with meanwhile(lambda: g.wait_for(g.via("rooms", "key"), LONG)) as outcome:
        waits(NAMES, "rooms")
        with Registry.start(name="rooms") as registry:
            waits(registry.table, "key")
            with Driven.start(name=g.via("rooms", "key")) as server:
                assert outcome() is server


def test_a_registry_that_is_given_by_its_name_may_restart_meanwhile() -> None:
    with meanwhile(lambda: g.wait_for(g.via("rooms", "key"), LONG)) as outcome:
        for _ in range(3):
            waits(NAMES, "rooms")
            with Registry.start(name="rooms") as registry:
                waits(registry.table, "key")
        with Registry.start(name="rooms"), Driven.start(name=g.via("rooms", "key")) as server:
            assert outcome() is server
    assert registry.table._awaited == {}


def test_a_registry_that_is_dead_and_given_by_its_pid_is_no_process_at_once() -> None:
    registry = Registry.start()
    with meanwhile(lambda: g.wait_for(g.via(registry, "key"), None)) as outcome:
        waits(registry.table, "key")
        registry.stop()
        assert isinstance(outcome(), g.NoProcess)
    with pytest.raises(g.NoProcess, match="'key'"):
        g.wait_for(g.via(registry, "key"), None)


@pytest.mark.parametrize("timeout", [0, 0.01])
def test_a_name_that_is_not_registered_in_time_is_no_process_and_names_the_seconds(timeout: float) -> None:
    with pytest.raises(g.NoProcess) as caught:
        g.wait_for("nobody", timeout)
    assert str(caught.value) == f"'nobody' was not registered within {timeout} s"
    assert (caught.value.target, caught.value.timeout) == ("nobody", timeout)


def test_a_key_that_is_not_registered_in_time_is_no_process() -> None:
    with Registry.start() as registry:
        with pytest.raises(g.NoProcess, match=r"via\(.*'key'\) was not registered within 0.01 s"):
            g.wait_for(g.via(registry, "key"), 0.01)
        assert registry.table._awaited == {}
        with pytest.raises(g.NoProcess):
            g.wait_for(g.via("no registry", "key"), 0.01)


def test_a_name_that_is_held_by_a_dead_process_is_not_registered() -> None:
    NAMES._entries["dead"] = Entry(dead().process, None)  # as in the moment before its death releases it
    try:
        with pytest.raises(g.NoProcess):
            g.wait_for("dead", 0.01)
    finally:
        del NAMES._entries["dead"]


def test_a_name_that_is_given_up_before_the_wait_looks_does_not_end_it() -> None:
    process = Driven().pid.process
    with meanwhile(lambda: g.wait_for("fleeting", LONG)) as outcome:
        waits(NAMES, "fleeting")
        awaited = NAMES._awaited["fleeting"]
        NAMES.listen("fleeting", lambda: NAMES.release("fleeting", process))  # while the registration wakes the waits
        NAMES.register("fleeting", process)
        assert g.whereis("fleeting") is None
        until(lambda: NAMES._awaited.get("fleeting") not in (None, awaited))
        waits(NAMES, "fleeting")
        with Driven.start(name="fleeting") as server:
            assert outcome() is server


def test_many_wait_for_one_name_and_all_get_it() -> None:
    outcomes = Log()
    threads = [threading.Thread(target=lambda: outcomes.put(g.wait_for("many", LONG))) for _ in range(30)]
    for thread in threads:
        thread.start()
    waits(NAMES, "many", 30)
    with Driven.start(name="many") as server:
        assert {outcomes.next() for _ in threads} == {server}
    for thread in threads:
        thread.join()


def test_one_that_waits_in_vain_does_not_end_the_wait_of_another() -> None:
    with meanwhile(lambda: g.wait_for("patience", LONG)) as outcome:
        waits(NAMES, "patience")
        for _ in range(20):
            with pytest.raises(g.NoProcess):
                g.wait_for("patience", 0.001)
        waits(NAMES, "patience")
        with Driven.start(name="patience") as server:
            assert outcome() is server


def test_of_starts_and_waits_at_once_no_wait_misses_a_start() -> None:
    for number in range(200):
        name = f"race {number}"
        with meanwhile(partial(g.wait_for, name, LONG)) as outcome, Driven.start(name=name) as server:
            assert outcome() is server


# In a callback.


def test_a_callback_waits_for_a_name() -> None:
    with Driven.start() as waiter:
        pending = waiter.send_request(lambda self, from_, state: Reply(g.wait_for("friend", LONG)))
        waits(NAMES, "friend")
        assert g.tree(waiter).waits_for is None
        with Driven.start(name="friend") as server:
            assert pending.wait() is server


def test_a_server_finds_its_own_name() -> None:
    with Driven.start(lambda self: g.Ok(g.wait_for("myself", 0)), name="myself") as server:
        assert server.get_state() is server


def test_a_kill_ends_the_wait() -> None:
    ends = Log()
    with Driven.start() as waiter:
        waiter.cast(lambda self, state: ends.put(outcome_of(lambda: g.wait_for("nobody", None))))
        waits(NAMES, "nobody")
        waiter.exit(KILL)
        outcome = ends.next()
    assert isinstance(outcome, g.CallExit)
    assert outcome.reason is KILLED


def test_an_exit_signal_ends_the_wait_and_the_process() -> None:
    waiter = Driven.start()
    with watching(waiter) as reason:
        waiter.cast(lambda self, state: g.wait_for("nobody", None))
        waits(NAMES, "nobody")
        waiter.exit("enough")
        assert reason() == "enough"


def test_a_trapped_exit_signal_does_not_end_the_wait() -> None:
    with Trapping.start() as waiter:
        log = log_of(waiter)
        pending = waiter.send_request(lambda self, from_, state: Reply(g.wait_for("friend", LONG)))
        waits(NAMES, "friend")
        waiter.exit("trapped")
        with Driven.start(name="friend") as server:
            assert pending.wait() is server
        assert log.next() == g.Exit(None, "trapped")


def test_a_killed_process_waits_for_nothing() -> None:
    ends = Log()
    with Gate() as gate, Driven.start() as waiter:

        def late(self: Any, state: Any) -> None:
            gate.wait()
            ends.put(outcome_of(lambda: g.wait_for("nobody", None)))

        waiter.cast(late)
        gate.reached()
        waiter.exit(KILL)
        gate.open()
        assert isinstance(ends.next(), g.CallExit)


# On a manual clock.


def test_a_manual_clock_ends_the_wait_of_a_callback(manual_clock: ManualClock) -> None:
    ends = Log()
    with Driven.start() as waiter:
        waiter.cast(lambda self, state: ends.put(outcome_of(lambda: g.wait_for("nobody", 3600))))
        manual_clock.advance(3599)
        assert ends.empty()
        manual_clock.advance(1)
        assert str(ends.next()) == "'nobody' was not registered within 3600 s"


def test_on_a_manual_clock_a_name_ends_the_wait_of_a_thread(manual_clock: ManualClock) -> None:
    with meanwhile(lambda: g.wait_for("later", 3600)) as outcome:
        waits(NAMES, "later")
        manual_clock.advance(1800)
        with Driven.start(name="later") as server:
            assert outcome() is server


def test_a_timer_that_starts_a_server_on_a_manual_clock_ends_the_wait(manual_clock: ManualClock) -> None:
    servers = Log()
    with Driven.start() as starter, Driven.start() as waiter:
        within(starter, lambda self: g.send_after(60, self.pid, _start_server(servers)))
        pending = waiter.send_request(lambda self, from_, state: Reply(g.wait_for("timed", 3600)))
        manual_clock.advance(59)
        assert not pending.done()
        manual_clock.advance(1)
        with servers.next() as server:
            assert pending.wait() is server


def _start_server(servers: Log) -> Do:
    return Do(lambda self, state: servers.put(Driven.start(name="timed")))


# Bad arguments.


@pytest.mark.parametrize(
    "target", [3, None, b"name", object(), dead], ids=["int", "None", "bytes", "object", "function"]
)
def test_another_kind_of_target_is_a_type_error_that_names_it(target: Any) -> None:
    with pytest.raises(TypeError, match="wait_for takes a name or via"):
        g.wait_for(target)


def test_a_pid_is_a_type_error() -> None:
    with Driven.start() as server, pytest.raises(TypeError, match=f"not {server!r}"):
        g.wait_for(server)  # type: ignore[arg-type]


@pytest.mark.parametrize(("timeout", "error"), [("1", TypeError), (True, TypeError), (-1, ValueError)])
def test_a_timeout_that_is_no_number_of_seconds_is_refused(timeout: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"timeout must be .*{timeout!r}"):
        g.wait_for("nobody", timeout)


def test_a_via_whose_registrys_name_is_anothers_is_a_type_error() -> None:
    with Driven.start(name="server"), pytest.raises(TypeError, match="the process named 'server' is not a registry"):
        g.wait_for(g.via("server", "key"))


# Whatever happens meanwhile.


class World:
    """A name to wait for, and a server that may take it."""

    def __init__(self) -> None:
        self.process = Driven().pid.process

    def register(self) -> None:
        NAMES.register("any line", self.process)

    def wait_too(self) -> None:
        outcome_of(lambda: g.wait_for("any line", 0))


@pytest.mark.parametrize("also", [False, True])
def test_a_name_that_is_registered_at_any_line_of_a_wait_ends_it(also: bool) -> None:  # noqa: FBT001
    """`also`: another wait for the name ends in vain at the same line."""
    reached, number = True, 0
    while reached:
        number += 1
        world = World()

        registered = Log()

        def interruption(world: World = world, registered: Log = registered) -> None:
            if also:
                world.wait_too()
            world.register()
            registered.put(time.monotonic())

        began = time.monotonic()
        reached, outcome = interrupted(number, lambda: g.wait_for("any line", 0.05), interruption)
        if reached and registered.next() < began + 0.05:
            assert outcome is world.process.pid
        else:  # after its time: where it looks for the last time, or raises
            assert outcome is world.process.pid or isinstance(outcome, g.NoProcess)
        NAMES.release("any line", world.process)
        assert NAMES._awaited == {}


def test_a_name_that_is_registered_at_any_line_before_the_timeout_ends_the_wait_before_it() -> None:
    seconds, number = 2.0, 0
    while True:
        number += 1
        world, registered = World(), Log()

        def interruption(world: World = world, registered: Log = registered) -> None:
            registered.put(time.monotonic())
            world.register()

        began = time.monotonic()
        reached, outcome = interrupted(number, lambda: g.wait_for("any line", seconds), interruption)
        took = time.monotonic() - began
        NAMES.release("any line", world.process)
        assert reached
        if registered.next() >= began + seconds:
            break
        assert outcome is world.process.pid
        assert took < seconds  # it was woken
    assert number > 20


def test_a_wait_that_begins_at_any_line_of_another_that_ends_in_vain_is_not_lost() -> None:
    reached, number = True, 0
    while reached:
        number += 1
        world = World()
        with Driven.start() as waiter:
            pendings: list[g.PendingReply] = []

            def begin(waiter: g.Pid = waiter, pendings: list[g.PendingReply] = pendings) -> None:
                pendings.append(waiter.send_request(lambda *_: Reply(g.wait_for("any line", LONG))))
                until(lambda: waiter.process.waiting)

            reached, outcome = interrupted(number, lambda: g.wait_for("any line", 0.01), begin)
            assert isinstance(outcome, g.NoProcess)
            world.register()
            for pending in pendings:
                assert pending.wait() is world.process.pid
        NAMES.release("any line", world.process)


def test_a_wait_that_begins_and_ends_at_any_line_of_a_registration_harms_neither() -> None:
    reached, number = True, 0
    while reached:
        number += 1
        world = World()
        with meanwhile(lambda: g.wait_for("any line", LONG)) as outcome:
            waits(NAMES, "any line")
            reached, registered = interrupted(number, world.register, world.wait_too)
            assert registered is None
            assert outcome() is world.process.pid
        NAMES.release("any line", world.process)
        assert NAMES._awaited == {}


def test_a_finalizer_may_wait_for_a_name() -> None:
    ends = Log()

    class Finalized:
        pass

    garbage: Any = Finalized()
    garbage.itself = garbage
    weakref.finalize(garbage, lambda: ends.put(outcome_of(lambda: g.wait_for("nobody", 0.01))))
    del garbage
    with meanwhile(lambda: g.wait_for("nobody", LONG)) as outcome:
        waits(NAMES, "nobody")
        gc.collect()
        assert isinstance(ends.next(), g.NoProcess)
        with Driven.start(name="nobody") as server:
            assert outcome() is server
