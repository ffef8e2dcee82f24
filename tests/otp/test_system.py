"""System messages: get_state, replace_state, suspend, resume, get_status and statistics, of a server as it is."""

import contextlib
import dataclasses
import inspect
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import gennostr as g
from gennostr import (
    KILL,
    KILLED,
    NORMAL,
    SHUTDOWN,
    DynamicSupervisor,
    NoReply,
    Ok,
    Registry,
    Reply,
    Stop,
    Supervisor,
)
from tests.otp.actors import (
    DEADLINE,
    FATAL,
    Driven,
    Gate,
    Log,
    Trapping,
    crash_reports,
    dead,
    errors,
    fail,
    link,
    log_of,
    meanwhile,
    monitor,
    outcome_of,
    settle,
    until,
    watching,
    within,
)

ASKING: dict[str, Callable[[Any], Any]] = {
    "get_state": g.get_state,
    "replace_state": lambda target: g.replace_state(target, lambda state: state),
    "suspend": g.suspend,
    "resume": g.resume,
    "get_status": g.get_status,
    "statistics": g.statistics,
}
"""Each of the system messages, to a pid, a name or a via."""


@contextlib.contextmanager
def named(kind: str, cls: Any = Driven, argument: Any = None) -> Iterator[tuple[g.Pid, Any]]:
    """Start a server; give its pid, and the pid, the name or the via to reach it by."""
    with Registry.start() as registry:
        target: Any = {"pid": None, "name": "the server", "via": g.via(registry, "key")}[kind]
        with cls.start(argument, name=target) as server:
            yield server, target or server


def with_timeout(ask: str, target: Any, timeout: Any) -> Any:
    match ask:
        case "replace_state":
            return g.replace_state(target, lambda state: state, timeout)
        case _:
            return getattr(g, ask)(target, timeout)


# By pid, by name and by via; also while suspended.


@pytest.mark.parametrize("suspended", [False, True], ids=["running", "suspended"])
@pytest.mark.parametrize("kind", ["pid", "name", "via"])
def test_every_system_message_works_by_pid_by_name_and_by_via_also_while_suspended(
    kind: str,
    suspended: bool,  # noqa: FBT001
) -> None:
    with named(kind, argument=1) as (server, target):
        if suspended:
            server.suspend()
        assert g.get_state(target) == 1
        assert g.replace_state(target, lambda state: state + 1) == 2
        assert g.get_state(target) == 2
        status = g.get_status(target)
        assert (status.status, status.state) == ("suspended" if suspended else "running", 2)
        assert g.statistics(target).messages == 0
        g.suspend(target)
        assert g.get_status(target).status == "suspended"
        g.resume(target)
        assert g.get_status(target).status == "running"


def test_a_pid_has_them_as_methods() -> None:
    with Driven.start(1) as server:
        assert server.replace_state(lambda state: state + 1) == 2
        assert server.get_state() == 2
        returned: list[Any] = [server.suspend(), server.resume()]  # type: ignore[func-returns-value]
        assert returned == [None, None]
        assert server.get_status() == g.get_status(server)
        assert server.statistics().messages_in == 0


@pytest.mark.parametrize(
    "start",
    [g.GenServer.start, Registry.start, lambda: Supervisor.start([]), DynamicSupervisor.start],
    ids=["GenServer", "Registry", "Supervisor", "DynamicSupervisor"],
)
def test_every_kind_of_server_answers_system_messages_whatever_its_callbacks_are(start: Any) -> None:
    with start() as server:
        server.suspend()
        assert server.get_status().status == "suspended"
        before = server.get_state()
        assert server.replace_state(lambda state: state) is before
        server.resume()
        assert server.get_status().status == "running"
        assert server.statistics().uptime >= 0


def test_system_messages_never_reach_a_callback() -> None:
    with Driven.start() as server:
        for ask in ASKING.values():
            ask(server)
        assert log_of(server).now() == []


@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING)
def test_a_system_message_may_come_from_a_callback_of_another(ask: Callable[[Any], Any]) -> None:
    with Driven.start() as server, Driven.start() as asking:
        within(asking, lambda self: ask(server))
        server.resume()
        assert log_of(asking).now() == []


@pytest.mark.parametrize("ask", ASKING)
def test_a_system_message_waits_5_seconds_or_what_is_given_and_leaves_the_server_unharmed(ask: str) -> None:
    assert inspect.signature(getattr(g, ask)).parameters["timeout"].default == 5.0
    with Driven.start(1) as server, Gate() as gate:
        server.cast(lambda self, state: gate.wait())
        gate.reached()
        with pytest.raises(g.CallTimeout) as caught:
            with_timeout(ask, server, 0.01)
        assert (caught.value.target, caught.value.timeout) == (server, 0.01)
        gate.open()
        server.resume()
        assert server.get_state() == 1


@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING)
def test_a_system_message_to_the_dead_and_the_unknown_is_no_process(ask: Callable[[Any], Any]) -> None:
    with Registry.start() as registry:
        for target in (dead(), "nobody", g.via(registry, "nobody"), g.via("no registry", "nobody")):
            with pytest.raises(g.NoProcess) as caught:
                ask(target)
            assert caught.value.target == target


@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING)
def test_a_system_message_to_oneself_is_calling_self_by_pid_and_by_name(ask: Callable[[Any], Any]) -> None:
    with Driven.start(name="self") as server:
        for target in (server, "self"):
            error = within(server, lambda self, target=target: outcome_of(lambda: ask(target)))  # type: ignore[misc]
            assert isinstance(error, g.CallingSelf)


@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING)
@pytest.mark.parametrize(
    ("end", "expected"),
    [(lambda server: server.exit(KILL), KILLED), (lambda server: server.exit("signal"), "signal")],
    ids=["kill", "exit signal"],
)
def test_a_system_message_to_who_ends_before_it_answers_is_call_exit(
    end: Any, expected: Any, ask: Callable[[Any], Any]
) -> None:
    server = Driven.start()
    with Gate() as gate, Driven.start() as asking:
        server.cast(lambda self, state: gate.wait())
        gate.reached()
        asked = asking.send_request(lambda self, from_, state: Reply(outcome_of(lambda: ask(server))))
        until(lambda: g.tree(asking).waits_for)
        end(server)
        gate.open()
        error = asked.wait()
    assert isinstance(error, g.CallExit)
    assert error.reason == expected


def test_a_system_message_behind_a_stop_is_call_exit() -> None:
    server = Driven.start()
    with Gate() as gate, Driven.start() as asking:
        server.cast(lambda self, state: gate.wait(Stop("why")))
        gate.reached()
        asked = asking.send_request(lambda self, from_, state: Reply(outcome_of(server.get_state)))
        until(lambda: g.tree(asking).waits_for)
        gate.open()
        error = asked.wait()
    assert isinstance(error, g.CallExit)
    assert error.reason == "why"


def test_a_system_message_during_init_is_answered_after_it() -> None:
    with Gate() as gate, meanwhile(lambda: Driven.start(lambda self: gate.wait(Ok("made")), name="early")) as started:
        gate.reached()
        with meanwhile(lambda: g.get_state("early")) as state:
            gate.open()
            assert state() == "made"
        started().stop()


# get_state.


def test_get_state_is_answered_in_mailbox_order() -> None:
    with Driven.start(0) as server:
        for _ in range(100):
            server.cast(lambda self, state: NoReply(state + 1))
        assert server.get_state() == 100


@pytest.mark.parametrize("state", [None, False, g.IGNORE, ValueError("a state"), Ok(1)], ids=repr)
def test_a_state_may_be_any_value(state: Any) -> None:
    with Driven.start(lambda self: Ok(state)) as server:
        assert server.get_state() is state


# replace_state.


@pytest.mark.parametrize("value", [None, "new", ValueError("a state")], ids=repr)
def test_replace_state_sets_the_state_to_what_the_function_returns_and_returns_that(value: Any) -> None:
    with Driven.start("old") as server:
        seen = Log()
        assert server.replace_state(lambda state: (seen.put(state), value)[1]) is value  # type: ignore[func-returns-value]
        assert seen.now() == ["old"]
        assert server.get_state() is value
        assert within(server, lambda self: self.pid.process.actor.state) is value


@pytest.mark.parametrize("suspended", [False, True], ids=["running", "suspended"])
@pytest.mark.parametrize("kind", [ValueError, StopIteration, *FATAL])
def test_a_function_that_raises_leaves_the_state_and_the_server(
    kind: type[BaseException],
    suspended: bool,  # noqa: FBT001
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = kind("in the function")
    with Driven.start("state") as server:
        if suspended:
            server.suspend()
        assert outcome_of(lambda: server.replace_state(lambda state: fail(error))) is error
        assert server.get_state() == "state"
        assert server.get_status().status == ("suspended" if suspended else "running")
        server.resume()
        settle(server)
    assert errors(caplog) == []


def test_replacements_from_many_threads_are_all_made() -> None:
    with Driven.start(0) as server:
        together = threading.Barrier(8)

        def increment() -> None:
            together.wait(DEADLINE)
            for _ in range(50):
                server.replace_state(lambda state: state + 1)

        threads = [threading.Thread(target=increment) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.get_state() == 400


def test_a_replaced_state_is_what_the_next_callback_and_terminate_get() -> None:
    log = Log()

    class Parting(Driven):
        def terminate(self, reason: Any, state: Any) -> None:
            log.put(state)

    server = Parting.start("old")
    server.replace_state(lambda state: "new")
    assert server.call(lambda self, from_, state: Reply(state)) == "new"
    server.stop()
    assert log.now() == ["new"]


# suspend and resume.


def test_messages_of_every_kind_wait_while_suspended_and_keep_their_order() -> None:
    with Driven.start() as server:
        log = log_of(server)
        server.suspend()
        pendings = []
        for number in range(0, 30, 3):
            server.send(number)
            server.cast(lambda self, state, number=number: self.log.put(number + 1))
            pendings.append(
                server.send_request(lambda self, from_, state, number=number: Reply(self.log.put(number + 2)))
            )
        assert server.get_status().messages == 30
        assert server.statistics().messages == 30
        assert server.statistics().messages_in == 1  # that asked for the log
        assert log.now() == []
        assert not any(pending.done() for pending in pendings)
        server.resume()
        server.send("after")
        assert [log.next() for _ in range(31)] == [*range(30), "after"]
        assert [pending.wait() for pending in pendings] == [None] * 10


def test_suspend_is_handled_in_mailbox_order() -> None:
    with Driven.start() as server, Gate() as gate:
        log = log_of(server)
        server.cast(lambda self, state: gate.wait())
        server.send("before")
        gate.reached()
        with meanwhile(server.suspend) as suspended:
            gate.open()
            suspended()
        server.send("after")
        settled = server.get_status().messages
        assert (log.now(), settled) == (["before"], 1)
        server.resume()
        assert log.next() == "after"


def test_what_waited_is_handled_before_what_came_after_though_suspended_again_meanwhile() -> None:
    with Driven.start() as server:
        log = log_of(server)
        for turn in range(3):
            server.suspend()
            for number in range(5):
                server.send((turn, number))
            server.resume()
        assert [log.next() for _ in range(15)] == [(turn, number) for turn in range(3) for number in range(5)]


def test_a_suspension_in_the_middle_of_what_waited_keeps_the_rest_waiting_or_handles_it_but_never_loses_it() -> None:
    with Driven.start() as server, Gate() as gate:
        log = log_of(server)
        server.suspend()
        server.cast(lambda self, state: gate.wait())
        for number in range(5):
            server.send(number)
        server.resume()
        gate.reached()
        with meanwhile(server.suspend) as suspended:
            gate.open()
            suspended()
        server.send(5)
        server.resume()
        server.send(6)
        assert [log.next() for _ in range(7)] == list(range(7))


def test_suspending_twice_and_resuming_who_is_not_suspended_are_nothing_special() -> None:
    with Driven.start() as server:
        server.resume()
        server.suspend()
        server.suspend()
        server.send("waiting")
        server.resume()
        assert log_of(server).next() == "waiting"
        server.resume()
        settle(server)


def test_a_call_to_who_is_suspended_may_time_out_and_is_handled_all_the_same_later() -> None:
    with Driven.start(0) as server:
        server.suspend()
        with pytest.raises(g.CallTimeout):
            server.call(lambda self, from_, state: Reply("late", state + 1), 0.01)
        server.resume()
        assert server.call(lambda self, from_, state: Reply("own")) == "own"
        assert server.get_state() == 1


def test_downs_trapped_exits_timers_and_proxies_wait_while_suspended() -> None:
    with Trapping.start() as server:
        log = log_of(server)
        other = Driven.start()
        link(server, other)
        ref = monitor(server, other)
        server.suspend()
        proxied = server.proxy().log
        other.stop("why")
        server.exit("signal")
        g.send_after(0, server, "timer")
        until(lambda: server.get_status().messages == 5)
        assert log.now() == []
        server.resume()
        assert proxied.get(timeout=DEADLINE) is log
        settle(server)
        found = log.now()
        assert sorted(map(repr, found)) == sorted(
            map(repr, [g.Exit(other, "why"), g.Down(ref, other, "why"), g.Exit(None, "signal"), "timer"])
        )
        assert found[2:] == [g.Exit(None, "signal"), "timer"]


def test_a_down_that_waited_while_suspended_can_still_be_flushed() -> None:
    with Driven.start() as server, Driven.start() as other:
        log = log_of(server)
        refs = Log()
        ref = monitor(server, other)
        server.suspend()
        server.cast(lambda self, state: refs.put(g.demonitor(ref, flush=True)))  # type: ignore[func-returns-value]
        other.stop()
        until(lambda: server.get_status().messages == 2)
        server.resume()
        settle(server)
        assert refs.now() == [None]
        assert log.now() == []


def test_a_suspended_server_can_be_stopped_and_what_waited_is_not_handled() -> None:
    server = Driven.start()
    log = log_of(server)
    server.suspend()
    server.send("waiting")
    waiting = server.send_request(lambda self, from_, state: Reply(1))
    server.stop("why", DEADLINE)
    assert log.now() == [("terminate", "why")]
    error = outcome_of(waiting.wait)
    assert isinstance(error, g.CallExit)
    assert error.reason == "why"


def test_a_suspended_server_ends_by_an_exit_signal_that_it_does_not_trap() -> None:
    server = Driven.start()
    log = log_of(server)
    server.suspend()
    with watching(server) as reason:
        server.exit("signal")
        assert reason() == "signal"
    assert log.now() == []


def test_a_suspended_server_ends_by_a_linked_exit_that_it_does_not_trap() -> None:
    server, other = Driven.start(), Driven.start()
    link(server, other)
    server.suspend()
    with watching(server) as reason:
        other.stop(SHUTDOWN)
        assert reason() is SHUTDOWN


def test_a_suspended_server_that_traps_terminates_at_its_parents_exit() -> None:
    parent = Driven.start()
    child = within(parent, lambda self: Trapping.start_link())
    log = log_of(child)
    child.suspend()
    child.send("waiting")
    with watching(child) as reason:
        parent.stop("parental")
        assert reason() == "parental"
    assert log.now() == [("terminate", "parental")]


def test_a_suspended_server_can_be_killed() -> None:
    server = Driven.start(name="suspended")
    server.suspend()
    waiting = server.send_request(lambda self, from_, state: Reply(1))
    server.exit(KILL)
    assert not server.is_alive()
    assert g.whereis("suspended") is None
    error = outcome_of(waiting.wait)
    assert isinstance(error, g.CallExit)
    assert error.reason is KILLED


def test_a_suspended_supervisor_answers_when_it_is_resumed() -> None:
    with Supervisor.start([Driven]) as supervisor:
        supervisor.suspend()
        with meanwhile(supervisor.count_children) as counts:
            until(lambda: supervisor.get_status().messages)
            supervisor.resume()
            assert counts().active == 1


# get_status.


@pytest.mark.parametrize("kind", ["pid", "name", "via"])
def test_get_status_tells_name_status_state_messages_and_children(kind: str) -> None:
    with named(kind, Trapping, "state") as (server, target):
        children = [within(server, lambda self: Driven.start_link()) for _ in range(3)]
        within(server, lambda self: g.link(Driven.start(lambda self: Ok(), name="linked")))
        server.suspend()
        server.send("waiting")
        status = g.get_status(target)
        assert (status.name, status.status) == (None if kind == "pid" else target, "suspended")
        assert (status.state, status.messages) == ("state", 1)
        assert (status.message, status.reason) == (None, None)
        assert status.children == tuple(reversed(children))
        g.stop("linked")
        for child in children:
            child.stop()
        assert g.get_status(target).children == ()


def test_the_status_of_a_server_that_is_asked_has_no_message_of_its_own() -> None:
    with Driven.start() as server:
        server.send("handled")
        status = server.get_status()
        assert (status.messages, status.message) == (0, None)


# format_status.


@pytest.mark.parametrize("suspended", [False, True], ids=["running", "suspended"])
@pytest.mark.parametrize("kind", ["pid", "name", "via"])
def test_format_status_changes_what_get_status_tells_and_not_the_state(
    kind: str,
    suspended: bool,  # noqa: FBT001
) -> None:
    class Secretive(Driven):
        def format_status(self, status: Any) -> Any:
            return dataclasses.replace(status, state=status.state.replace("password", "hidden"))

    with named(kind, Secretive, "a password") as (server, target):
        if suspended:
            server.suspend()
        assert g.get_status(target).state == "a hidden"
        assert g.get_state(target) == "a password"
        g.resume(target)


def test_format_status_gets_message_and_reason_for_a_crash_report_alone() -> None:
    seen = Log()

    class Noting(Driven):
        def format_status(self, status: Any) -> Any:
            seen.put((status.state, status.message, status.reason))
            return status

    server = Noting.start("state")
    server.get_status()
    assert seen.now() == [("state", None, None)]
    with pytest.raises(g.CallExit):
        server.call(crash := lambda self, from_, state: fail(ZeroDivisionError("why")))
    ((state, message, reason),) = seen.now()
    assert (state, message) == ("state", crash)
    assert isinstance(reason, ZeroDivisionError)


@pytest.mark.parametrize("suspended", [False, True], ids=["running", "suspended"])
@pytest.mark.parametrize("kind", [ValueError, *FATAL])
def test_a_format_status_that_raises_loses_nothing_and_is_logged(
    kind: type[BaseException],
    suspended: bool,  # noqa: FBT001
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Raising(Driven):
        def format_status(self, status: Any) -> Any:
            raise kind("in the hook")

    with Raising.start("the state") as server:
        if suspended:
            server.suspend()
        status = server.get_status()
        assert (status.state, status.status) == ("the state", "suspended" if suspended else "running")
        (record,) = errors(caplog)
        assert record.name.startswith("gennostr.")
        assert "format_status" in record.getMessage()
        assert server.get_state() == "the state"
        server.resume()


@pytest.mark.parametrize("end", ["crash", "unclean stop", "bad return value", "crash in terminate"])
@pytest.mark.parametrize("kind", [ValueError, *FATAL])
def test_a_format_status_that_raises_costs_no_crash_report(
    kind: type[BaseException], end: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Raising(Driven):
        def format_status(self, status: Any) -> Any:
            raise kind("in the hook")

        def terminate(self, reason: Any, state: Any) -> None:
            if end == "crash in terminate":
                raise ZeroDivisionError

    server = Raising.start("the state")
    with watching(server) as reason:
        if end in ("unclean stop", "crash in terminate"):
            outcome_of(lambda: server.stop("unclean"))
        else:
            server.cast(lambda self, state: 3 if end == "bad return value" else 1 / 0)
        ended = reason()
    (report,) = crash_reports(caplog)
    assert report.state == "the state"
    if end != "unclean stop":
        assert report.reason is ended


def test_a_format_status_without_end_loses_nothing() -> None:
    class Endless(Driven):
        def format_status(self, status: Any) -> Any:
            return self.format_status(status)

    with Endless.start("the state") as server:
        assert server.get_status().state == "the state"


@pytest.mark.parametrize("value", [None, "text", 3, {"state": 1}], ids=repr)
def test_a_format_status_that_returns_another_thing_loses_nothing_and_is_logged(
    value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Wrong(Driven):
        def format_status(self, status: Any) -> Any:
            return value

    with Wrong.start("the state") as server:
        assert server.get_status().state == "the state"
    assert len(errors(caplog)) == 1


# statistics.


def test_statistics_count_messages_of_every_kind_and_no_system_messages() -> None:
    with Driven.start() as server:
        settle(server)
        server.cast(lambda self, state: None)
        server.send("message")
        for ask in ASKING.values():
            ask(server)
        assert server.statistics().messages_in == 3


def test_statistics_tell_since_when_a_server_runs_and_how_many_messages_wait() -> None:
    with Driven.start() as server:
        first = server.statistics()
        server.suspend()
        server.send("waiting")
        second = server.statistics()
        assert second.uptime >= first.uptime >= 0
        assert second.started_at == pytest.approx(first.started_at, abs=1)
        assert (first.messages, second.messages) == (0, 1)
        server.resume()


def test_system_messages_leave_nothing_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "gennostr")
    with Driven.start() as server:
        for ask in ASKING.values():
            ask(server)
        server.stop(NORMAL)
    assert caplog.records == []
