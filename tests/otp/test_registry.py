"""Registries: unique keys, their holders, their listeners, and how an end releases them."""

import inspect
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import gennostr as g
from gennostr import KILL, KILLED, Registry, Reply, Stop
from gennostr.otp.names import NameTable
from gennostr.otp.process import Process
from tests.otp.actors import (
    DEADLINE,
    Driven,
    Log,
    Trapping,
    dead,
    fail,
    log_of,
    outcome_of,
    settle,
    watching,
    within,
)

# Keys.


def test_a_key_belongs_to_one_process() -> None:
    with Registry.start() as registry, Driven.start() as one, Driven.start() as other:
        within(one, lambda self: registry.register("key", "value"))
        for process in (one, other):
            error = within(process, lambda self: outcome_of(lambda: registry.register("key")))
            assert isinstance(error, g.AlreadyRegistered)
            assert error.pid is one
        assert registry.lookup("key") == (one, "value")


def test_of_many_that_register_a_key_at_once_one_gets_it() -> None:
    with Registry.start() as registry:
        servers = [Driven.start() for _ in range(8)]
        together, outcomes = threading.Barrier(8), Log()

        def register(self: Any, state: Any) -> None:
            together.wait(DEADLINE)
            outcomes.put(outcome_of(lambda: registry.register("key", self.pid)))

        for server in servers:
            server.cast(register)
        found = [outcomes.next() for _ in servers]
        holder, value = registry.lookup("key") or (None, None)
        assert holder is value
        assert found.count(None) == 1
        assert {each.pid for each in found if each is not None} == {holder}
        for server in servers:
            server.stop()


def test_unregister_gives_up_own_keys_only_and_is_idempotent() -> None:
    with Registry.start() as registry, Driven.start() as one, Driven.start() as other:
        within(one, lambda self: registry.register("key"))
        within(other, lambda self: registry.unregister("key"))
        assert registry.lookup("key") == (one, None)
        within(one, lambda self: registry.unregister("key"))
        within(one, lambda self: registry.unregister("key"))
        assert registry.lookup("key") is None
        within(other, lambda self: registry.register("key"))
        assert registry.lookup("key") == (other, None)


def test_keys_select_and_count_tell_what_is_held() -> None:
    with Registry.start() as registry, Driven.start() as one, Driven.start() as other:
        assert (registry.keys(one), registry.select(), registry.count()) == ([], [], 0)
        within(one, lambda self: registry.register("a", "aa"))
        within(one, lambda self: registry.register("b", "bb"))
        within(other, lambda self: registry.register("c"))
        assert sorted(registry.keys(one)) == ["a", "b"]
        assert registry.keys(dead()) == []
        assert sorted(registry.select(), key=str) == sorted(
            [("a", one, "aa"), ("b", one, "bb"), ("c", other, None)], key=str
        )
        assert registry.count() == 3


def test_keys_compare_as_pythons_do() -> None:
    with Registry.start() as registry, Driven.start() as one:
        within(one, lambda self: registry.register(1))
        assert registry.lookup(1.0) == (one, None)
        for equal in (1.0, True):
            error = within(one, lambda self, equal=equal: outcome_of(lambda: registry.register(equal)))  # type: ignore[misc]
            assert isinstance(error, g.AlreadyRegistered)


def test_the_documentation_says_how_keys_compare() -> None:
    assert "1 and 1.0 are one key" in (inspect.getdoc(inspect.getmodule(Registry)) or "")


def test_a_key_that_cannot_be_hashed_is_a_type_error() -> None:
    with Registry.start() as registry, Driven.start() as one:
        assert isinstance(within(one, lambda self: outcome_of(lambda: registry.register([]))), TypeError)
        assert registry.count() == 0


def test_two_registries_know_nothing_of_each_other() -> None:
    with Registry.start() as first, Registry.start() as second, Driven.start() as one, Driven.start() as other:
        within(one, lambda self: first.register("key"))
        within(other, lambda self: second.register("key"))
        assert (first.lookup("key"), second.lookup("key")) == ((one, None), (other, None))


# Values.


def test_update_value_returns_the_new_and_the_old() -> None:
    with Registry.start() as registry, Driven.start() as one:
        within(one, lambda self: registry.register("key", 1))
        assert within(one, lambda self: registry.update_value("key", lambda value: value + 1)) == (2, 1)
        assert registry.lookup("key") == (one, 2)


def test_update_value_of_anothers_key_or_of_none_is_a_lookup_error() -> None:
    other = Driven.start()
    with Registry.start() as registry, Driven.start() as one, watching(other) as ended:
        within(one, lambda self: registry.register("key", 1))
        error = within(one, lambda self: outcome_of(lambda: registry.update_value("nothing", lambda value: 2)))
        assert isinstance(error, LookupError)
        other.cast(lambda self, state: fail(RuntimeError(registry.update_value("key", lambda value: 2))))
        assert isinstance(ended(), LookupError)
        assert registry.lookup("key") == (one, 1)


def test_update_value_with_a_function_that_raises_leaves_the_value() -> None:
    with Registry.start() as registry, Driven.start() as one:
        within(one, lambda self: registry.register("key", 1))
        error = within(one, lambda self: outcome_of(lambda: registry.update_value("key", lambda value: 1 / 0)))
        assert isinstance(error, ZeroDivisionError)
        assert registry.lookup("key") == (one, 1)


def test_dispatch_calls_with_the_entry_and_not_at_all_without() -> None:
    with Registry.start() as registry, Driven.start() as one:
        within(one, lambda self: registry.register("key", "value"))
        log = Log()
        registry.dispatch("key", log.put)
        registry.dispatch("nothing", log.put)
        assert log.now() == [[(one, "value")]]


def test_what_a_dispatched_function_raises_is_raised_to_the_caller() -> None:
    with Registry.start() as registry, Driven.start() as one:
        within(one, lambda self: registry.register("key"))
        with pytest.raises(ZeroDivisionError):
            registry.dispatch("key", lambda entries: 1 / 0)


# Listeners.


def test_listeners_hear_of_registrations_and_not_of_deaths() -> None:
    with Driven.start() as listener, Registry.start(name="registry", listeners=[listener]):
        registry: Any = g.whereis("registry")
        one = Driven.start()
        within(one, lambda self: registry.register("key", "value"))
        within(one, lambda self: registry.unregister("key"))
        within(one, lambda self: registry.register("other"))
        one.stop()
        settle(listener)
        assert log_of(listener).now() == [
            g.Registered("registry", "key", one, "value"),
            g.Unregistered("registry", "key", one),
            g.Registered("registry", "other", one, None),
        ]


def test_a_registry_without_a_name_is_told_by_its_pid_and_a_listener_that_is_not_there_harms_nobody() -> None:
    with (
        Driven.start() as listener,
        Registry.start(listeners=["nobody", dead(), listener]) as registry,
        Driven.start(name=g.via(registry, "key", "value")) as one,
    ):
        assert log_of(listener).next() == g.Registered(registry, "key", one, "value")


def test_a_listener_hears_of_the_end_of_a_registration_before_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with Driven.start() as listener, Registry.start(listeners=[listener]) as registry, Driven.start() as one:
        other = Driven.start()
        release = NameTable.release

        def release_and_take(self: NameTable, key: object, process: Process) -> bool:
            """Let the other take it as soon as it is free."""
            released = release(self, key, process)
            if process is one.process and key == "key":
                within(other, lambda self: registry.register("key"))
            return released

        monkeypatch.setattr(NameTable, "release", release_and_take)
        within(one, lambda self: registry.register("key"))
        within(one, lambda self: registry.unregister("key"))
        other.stop()
        log = log_of(listener)
        assert [(type(each), each.pid) for each in (log.next(), log.next(), log.next())] == [
            (g.Registered, one),
            (g.Unregistered, one),
            (g.Registered, other),
        ]


def test_a_listener_does_not_hear_of_the_registration_of_a_process_that_is_dead() -> None:
    """Its key may have the next owner by then, whose registration came first."""
    with Driven.start() as listener, Registry.start(listeners=[listener]) as registry:
        registry._notify(dead().process, g.Registered(registry, "key", dead(), None))
        settle(listener)
        assert log_of(listener).now() == []


# Costs.


def test_unregister_keys_and_count_do_not_go_through_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    with Registry.start() as registry, Driven.start() as one:
        for key in "abc":
            within(one, partial(lambda key, self: registry.register(key), key))
        monkeypatch.setattr(NameTable, "entries", lambda self: fail(AssertionError("the whole table was read")))
        within(one, lambda self: registry.unregister("b"))
        assert registry.keys(one) == ["a", "c"]
        assert registry.count() == 2
        assert registry.keys(dead()) == []


# Ends.


def test_a_death_releases_the_keys_and_leaves_the_registry_alive() -> None:
    ends: list[Callable[[Any], Any]] = [
        lambda server: server.stop("crash"),
        lambda server: server.exit(KILL),
        lambda server: server.cast(lambda self, state: Stop()),
    ]
    with Registry.start() as registry:
        for end in ends:
            one = Driven.start()
            within(one, lambda self: registry.register("key"))
            with watching(one) as reason:
                end(one)
                reason()
            assert registry.count() == 0
            assert registry.is_alive()


def test_a_registry_that_crashes_takes_its_registrants_with_it() -> None:
    registry = Registry.start()
    one = Driven.start()
    within(one, lambda self: registry.register("key"))
    with watching(one) as ended:
        registry.exit(KILL)
        assert ended() is KILLED


def test_the_error_of_a_registry_that_crashes_ends_its_registrants() -> None:
    registry = Registry.start()
    one = Driven.start(name=g.via(registry, "key"))
    other = Driven.start()
    within(other, lambda self: registry.register("other"))
    with watching(registry) as ended, watching(one) as ones, watching(other) as others:
        registry.cast("what a registry has no callback for")
        error = ended()
        assert isinstance(error, NotImplementedError)
        assert ones() is error
        assert others() is error


def test_a_registrant_that_traps_hears_of_the_registrys_end_once_and_one_that_has_unregistered_does_not() -> None:
    registry = Registry.start()
    with Trapping.start() as one, Trapping.start() as other, Trapping.start() as former:
        for process in (one, other, former):
            within(process, lambda self: (registry.register(self), registry.register((self, 2))))  # type: ignore[func-returns-value]
        within(other, registry.unregister)
        within(former, lambda self: (registry.unregister(self), registry.unregister((self, 2))))  # type: ignore[func-returns-value]
        registry.stop("crash")
        for process, told in ((one, 1), (other, 1), (former, 0)):
            settle(process)
            assert log_of(process).now() == [g.Exit(registry, "crash")] * told


def test_every_method_of_a_dead_registry_is_no_process() -> None:
    registry = Registry.start()
    registry.stop()
    with Driven.start() as one:
        for function in (
            lambda: registry.register("key"),
            lambda: registry.unregister("key"),
            lambda: registry.lookup("key"),
            lambda: registry.keys(one),
            registry.select,
            registry.count,
            lambda: registry.update_value("key", lambda value: value),
            lambda: registry.dispatch("key", print),
        ):
            assert isinstance(within(one, lambda self, function=function: outcome_of(function)), g.NoProcess)  # type: ignore[misc]


def test_a_plain_thread_can_read_and_not_register() -> None:
    with Registry.start() as registry:
        for function in (
            lambda: registry.register("key"),
            lambda: registry.unregister("key"),
            lambda: registry.update_value("key", lambda value: value),
        ):
            with pytest.raises(RuntimeError, match="plain thread"):
                function()
        assert registry.lookup("key") is None


def test_reads_need_no_message() -> None:
    with Registry.start() as registry, Driven.start() as one:
        registry.suspend()
        within(one, lambda self: registry.register("key"))
        assert (registry.lookup("key"), registry.count()) == ((one, None), 1)
        registry.resume()


# What a taken key, a listener given by name and a killed registry come to.


def test_registering_a_taken_key_left_uncaught_ends_the_caller_with_it() -> None:
    with Registry.start() as registry, Driven.start() as holder:
        within(holder, lambda self: registry.register("key", 1))
        other = Driven.start()
        with pytest.raises(g.CallExit) as caught:
            within(other, lambda self: registry.register("key"))
        assert isinstance(caught.value.reason, g.AlreadyRegistered)
        assert caught.value.reason.pid is holder
        assert registry.lookup("key") == (holder, 1)
        assert registry.keys(holder) == ["key"]
        assert registry.select() == [("key", holder, 1)]


def test_a_listener_may_be_given_by_its_name_and_hears_of_one_registration_once() -> None:
    with Driven.start(name="listener") as listener, Registry.start("rooms", ["listener"]) as registry:
        holder = Driven.start()
        within(holder, lambda self: registry.register("a", 1))
        within(holder, lambda self: registry.unregister("a"))
        within(holder, lambda self: registry.unregister("a"))
        within(holder, lambda self: registry.register("b"))
        holder.stop()
        settle(listener)
        assert log_of(listener).now() == [
            g.Registered("rooms", "a", holder, 1),
            g.Unregistered("rooms", "a", holder),
            g.Registered("rooms", "b", holder, None),
        ]


def test_a_registry_that_is_killed_ends_its_registrants_and_answers_no_more() -> None:
    registry = Registry.start()
    holder = Driven.start(name=g.via(registry, "key"))
    registry.exit(KILL)
    with pytest.raises((g.CallExit, g.NoProcess)):
        holder.call(lambda self, from_, state: Reply("alive"))
    with pytest.raises(g.NoProcess):
        registry.lookup("key")


def test_a_supervised_registry_is_known_by_its_name_and_notifies_its_listeners() -> None:
    """Its start takes no argument but keywords: the child spec of other servers would give it two names."""
    children = [Driven.child_spec(name="listener"), Registry.child_spec({"listeners": ["listener"]}, name="rooms")]
    with g.Supervisor.start(children, strategy="rest_for_one") as supervisor:
        holder = Driven.start(name=g.via("rooms", "blue"))
        listener = g.whereis("listener")
        assert listener is not None
        settle(listener)
        assert log_of(listener).now() == [g.Registered("rooms", "blue", holder, None)]
        assert [child.id for child in supervisor.which_children()] == ["rooms", "listener"]
    with pytest.raises(TypeError, match="a name must be"):
        Registry.child_spec(name=5)  # type: ignore[arg-type]
    with g.Supervisor.start([Registry]) as supervisor:
        assert supervisor.count_children().active == 1
