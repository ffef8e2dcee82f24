"""Names: a string or a via, wherever a pid is accepted."""

import typing
from collections.abc import Callable
from typing import Any

import pytest

import gennostr as g
from gennostr import KILL, NORMAL, SHUTDOWN, Registry, Reply, Stop
from gennostr.otp.registry import RegistryPid
from tests.otp.actors import Driven, Log, Unshowable, crash_reports, log_of, monitor, outcome_of, watching, within


def test_whereis_is_none_for_the_unknown_and_a_type_error_for_another_thing() -> None:
    assert g.whereis("nobody") is None
    with pytest.raises(TypeError):
        g.whereis(3)  # type: ignore[arg-type]


def test_whereis_of_a_via_is_none_where_nobody_has_the_key_or_nobody_is_the_registry() -> None:
    with Registry.start() as registry:
        assert g.whereis(g.via(registry, "nobody")) is None
    assert g.whereis(g.via(registry, "nobody")) is None
    assert g.whereis(g.via("no registry", "nobody")) is None


def test_calls_casts_sends_and_stops_work_by_name() -> None:
    with Driven.start(name="named") as server:
        log = log_of(server)
        g.send("named", "sent")
        g.cast("named", lambda self, state: self.log.put("cast"))
        assert g.call("named", lambda self, from_, state: Reply("called")) == "called"
        assert log.now() == ["sent", "cast"]
        g.stop("named")
        assert not server.is_alive()


def test_a_via_name_serves_wherever_a_pid_does() -> None:
    with Registry.start() as registry:
        name = g.via(registry, ("room", 7), "value")
        key = g.via(registry, ("room", 7))
        with Driven.start(5, name=name) as server, Driven.start() as other:
            log = log_of(server)
            assert g.whereis(key) is server
            assert registry.lookup(("room", 7)) == (server, "value")
            g.send(key, "sent")
            g.cast(key, lambda self, state: self.log.put("cast"))
            assert g.call(key, lambda self, from_, state: Reply(state)) == 5
            assert g.send_request(key, lambda self, from_, state: Reply(state)).wait() == 5
            assert g.get_state(key) == 5
            assert log.now() == ["sent", "cast"]
            ref = within(other, lambda self: g.monitor(key))
            g.stop(key)
            assert log_of(other).next() == g.Down(ref, key, NORMAL)
        with pytest.raises(g.NoProcess):
            g.call(name, 1)


def test_a_via_without_a_value_registers_none() -> None:
    with Registry.start() as registry, Driven.start(name=g.via(registry, "key")) as server:
        assert registry.lookup("key") == (server, None)


def test_a_registry_that_is_given_by_its_name_is_looked_up_at_each_use() -> None:
    name = g.via("rooms", "key")
    for _ in range(2):
        with Registry.start(name="rooms"), Driven.start(name=name) as server:
            assert g.whereis(name) is server
            assert g.call(name, lambda self, from_, state: Reply(self.pid)) is server


def test_a_name_may_be_taken_for_none_a_string_or_a_via() -> None:
    with Registry.start() as registry, Driven.start(name=None) as one, Driven.start(name="") as other:
        assert one.get_status().name is None
        assert g.whereis("") is other
        with Driven.start(name=g.via(registry, None)) as third:
            assert g.whereis(g.via(registry, None)) is third


@pytest.mark.parametrize("registry", [None, 3, Registry, Driven], ids=repr)
def test_a_via_of_what_is_no_registry_is_a_type_error_where_it_is_made(registry: Any) -> None:
    with pytest.raises(TypeError, match="via"):
        g.via(registry, "key")


def test_a_via_of_a_pid_that_is_no_registry_is_a_type_error_where_it_is_made() -> None:
    with Driven.start() as server, pytest.raises(TypeError, match="via"):
        g.via(server, "key")  # type: ignore[arg-type]


def test_a_via_whose_registrys_name_is_anothers_is_a_type_error_where_it_is_used() -> None:
    with Driven.start(name="no registry"), pytest.raises(TypeError, match="no registry"):
        g.call(g.via("no registry", "key"), "request")


def test_a_via_with_a_key_that_cannot_be_hashed_is_a_type_error_where_it_is_made() -> None:
    with pytest.raises(TypeError, match="hash"):
        g.via("registry", [])


@pytest.mark.parametrize("target", [3, None, b"name", object()], ids=["int", "None", "bytes", "object"])
@pytest.mark.parametrize(
    "function",
    [
        lambda target: g.call(target, "message"),
        lambda target: g.cast(target, "message"),
        lambda target: g.send(target, "message"),
        lambda target: g.send_request(target, "message"),
        g.stop,
        g.get_state,
        lambda target: g.send_after(0, target, "message"),
    ],
    ids=["call", "cast", "send", "send_request", "stop", "get_state", "send_after"],
)
def test_another_kind_of_target_is_a_type_error(function: Callable[[Any], Any], target: Any) -> None:
    with pytest.raises(TypeError, match="target"):
        function(target)


ENDS: dict[str, Callable[[Any], Any]] = {
    "stop": lambda server: server.cast(lambda self, state: Stop()),
    "stop from outside": lambda server: server.stop(SHUTDOWN, block=False),
    "crash": lambda server: server.cast(lambda self, state: 1 / 0),
    "exit signal": lambda server: server.exit("signal"),
    "kill": lambda server: server.exit(KILL),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_when_a_down_is_seen_the_name_and_the_keys_are_free(end: Callable[[Any], Any]) -> None:
    with Registry.start() as registry, Driven.start() as watcher:
        log = log_of(watcher)
        for _ in range(20):
            server = Driven.start(name="fleeting")
            within(server, lambda self: registry.register("key"))
            monitor(watcher, server)
            end(server)
            assert isinstance(log.next(), g.Down)
            assert g.whereis("fleeting") is None
            assert registry.lookup("key") is None
            assert not server.is_alive()


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_when_a_down_is_seen_in_a_callback_its_name_can_be_taken_there(end: Callable[[Any], Any]) -> None:
    class Successor(Driven):
        def handle_info(self, message: Any, state: Any) -> Any:
            self.log.put(Driven.start(name="fleeting"))

    with Successor.start() as watcher:
        server = Driven.start(name="fleeting")
        within(watcher, lambda self: g.monitor(server))
        end(server)
        with log_of(watcher).next() as successor:
            assert g.whereis("fleeting") is successor


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_when_a_caller_hears_of_the_exit_the_name_is_free(end: Callable[[Any], Any]) -> None:
    for _ in range(20):
        server = Driven.start(name="fleeting")
        within(server, lambda self: None)
        end(server)
        with pytest.raises((g.CallExit, g.NoProcess)):
            server.call(lambda self, from_, state: g.NoReply())
        assert g.whereis("fleeting") is None


def test_a_name_that_was_free_again_belongs_to_its_new_holder_alone() -> None:
    first = Driven.start(name="passed on")
    first.stop()
    with Driven.start(name="passed on") as second:
        first.exit(KILL)
        first.stop(block=True)
        assert g.whereis("passed on") is second


def test_a_name_is_held_until_terminate_has_run() -> None:
    seen = Log()

    class Looking(Driven):
        def terminate(self, reason: Any, state: Any) -> None:
            seen.put(g.whereis("to the end"))

    server = Looking.start(name="to the end")
    server.stop()
    assert seen.next() is server
    assert g.whereis("to the end") is None


def test_a_key_whose_repr_raises_costs_neither_the_start_nor_the_end_nor_the_report(
    caplog: pytest.LogCaptureFixture,
) -> None:
    key = Unshowable()
    with Registry.start() as registry:
        try:
            server = Driven.start(name=g.via(registry, key))
            with watching(server) as reason:
                assert isinstance(outcome_of(lambda: server.call(lambda self, from_, state: 1 / 0, 1)), g.CallExit)
                assert isinstance(reason(), ZeroDivisionError)
            assert len(crash_reports(caplog)) == 1
        finally:
            key.mend()
            left = g.whereis(g.via(registry, key))
            if left is not None:
                left.exit(KILL)


def test_the_name_of_another_is_not_found_by_an_equal_key_of_another_registry() -> None:
    with Registry.start() as one, Registry.start() as other, Driven.start(name=g.via(one, "key")) as server:
        assert g.whereis(g.via(one, "key")) is server
        assert g.whereis(g.via(other, "key")) is None
        assert g.whereis("key") is None


# Types.


@pytest.mark.parametrize(
    "function",
    [
        g.via, g.whereis, g.call, g.cast, g.send, g.stop, g.link, g.unlink, g.monitor, g.demonitor,
        g.reply, g.reply_error, g.send_request, g.as_completed, g.PendingReply.wait,
        g.Pid.call, g.Pid.ask, g.Pid.stop, g.Pid.call_async, RegistryPid.register, RegistryPid.lookup, RegistryPid.keys,
    ],
    ids=lambda function: function.__qualname__,
)  # fmt: skip
def test_the_annotations_of_a_public_function_can_be_read_while_the_program_runs(function: Any) -> None:
    assert "return" in typing.get_type_hints(function)
