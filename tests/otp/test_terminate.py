"""terminate and stop: when terminate runs, what its crash does, and what the caller of stop gets."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import gennostr as g
from gennostr import (
    IGNORE,
    KILL,
    KILLED,
    NORMAL,
    SHUTDOWN,
    NoReply,
    Ok,
    Registry,
    Reply,
    Shutdown,
    Stop,
)
from tests.otp.actors import (
    CALLBACKS,
    DEADLINE,
    FATAL,
    Driven,
    Gate,
    Log,
    Trapping,
    crash_reports,
    ctrl_c,
    dead,
    fail,
    fits,
    link,
    log_of,
    meanwhile,
    monitor,
    outcome_of,
    provoke,
    settle,
    threads_left,
    until,
    watching,
    within,
)

REASONS = [NORMAL, SHUTDOWN, Shutdown("x"), "reason", None, 0, KILL, KILLED]
"""KILL and KILLED are reasons like others where a server ends by itself."""


class Ending(Driven):
    """Calls its argument with itself in terminate."""

    def init(self, init_arg: Any) -> Any:
        self.log, self.end = Log(), init_arg
        return Ok("the state")

    def terminate(self, reason: Any, state: Any) -> Any:
        self.log.put(("terminate", reason, state))
        return self.end(self)


class EndingTrapping(Ending):
    trap_exit = True


def endless(actor: Any) -> Any:
    return endless(actor)


# When terminate runs.


@pytest.mark.parametrize("reason", REASONS, ids=repr)
@pytest.mark.parametrize("callback", CALLBACKS)
def test_terminate_runs_on_a_stop_with_its_reason(callback: str, reason: Any) -> None:
    server = Driven.start()
    log = log_of(server)
    with watching(server) as ended:
        provoke(server, callback, lambda self: Stop(reason))
        assert ended() == reason
    assert log.now() == [("terminate", reason)]


@pytest.mark.parametrize("state", [(), ("new",), (None,)], ids=["left out", "new", "None"])
@pytest.mark.parametrize("callback", CALLBACKS)
def test_terminate_gets_the_state_of_the_stop_or_else_the_last_one(callback: str, state: Any) -> None:
    server = Ending.start(lambda self: None)
    log = log_of(server)
    provoke(server, callback, lambda self: Stop("why", *state))
    assert log.next() == ("terminate", "why", *(state or ("the state",)))


def test_terminate_runs_on_a_stop_with_a_reply() -> None:
    server = Driven.start()
    log = log_of(server)
    assert server.call(lambda self, from_, state: Stop(NORMAL, reply="bye")) == "bye"
    assert log.now() == [("terminate", NORMAL)]


def test_terminate_runs_on_a_stop_from_the_continue_of_init() -> None:
    log = Log()

    def init(self: Any) -> Any:
        self.log = log
        return Ok(continue_=lambda self, state: Stop("why"))

    Driven.start(init)
    assert log.next() == ("terminate", "why")


@pytest.mark.parametrize("kind", [ValueError, *FATAL])
@pytest.mark.parametrize("callback", CALLBACKS)
def test_terminate_runs_on_a_crash_in_a_callback_with_the_exception_and_the_state_before(
    callback: str, kind: type[BaseException]
) -> None:
    error = kind("in the callback")
    server = Ending.start(lambda self: None)
    log = log_of(server)
    with watching(server) as reason:
        provoke(server, callback, lambda self: fail(error))
        assert reason() is error
    assert log.now() == [("terminate", error, "the state")]


@pytest.mark.parametrize("reason", REASONS, ids=repr)
def test_terminate_runs_when_stopped_from_outside(reason: Any) -> None:
    server = Driven.start()
    log = log_of(server)
    server.stop(reason)
    assert log.now() == [("terminate", reason)]


@contextlib.contextmanager
def named(kind: str, cls: Any = Driven, argument: Any = None) -> Iterator[tuple[g.Pid, Any]]:
    """Start a server; give its pid, and the pid, the name or the via to reach it by."""
    with Registry.start() as registry:
        target: Any = {"pid": None, "name": "the server", "via": g.via(registry, "key")}[kind]
        server = cls.start(argument, name=target)
        yield server, target or server
        server.stop(block=True)


@pytest.mark.parametrize("kind", ["pid", "name", "via"])
def test_a_server_is_stopped_by_pid_by_name_and_by_via(kind: str) -> None:
    with named(kind) as (server, target):
        log = log_of(server)
        g.stop(target, "why")
        assert log.now() == [("terminate", "why")]
        assert not server.is_alive()


PARENTAL: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "stopped": (lambda parent: parent.stop(), NORMAL),
    "stopped with SHUTDOWN": (lambda parent: parent.stop(SHUTDOWN), SHUTDOWN),
    "stopped with a reason": (lambda parent: parent.stop("parental"), "parental"),
    "Stop": (lambda parent: parent.cast(lambda self, state: Stop("parental")), "parental"),
    "crash": (lambda parent: parent.cast(lambda self, state: 1 / 0), ZeroDivisionError),
    "exit signal": (lambda parent: parent.exit("parental"), "parental"),
    "kill": (lambda parent: parent.exit(KILL), KILLED),
}


@pytest.mark.parametrize(("end", "expected"), PARENTAL.values(), ids=PARENTAL)
def test_the_parents_exit_runs_terminate_where_exits_are_trapped_and_never_reaches_handle_info(
    end: Callable[[Any], Any], expected: Any
) -> None:
    parent = Driven.start()
    child = within(parent, lambda self: Trapping.start_link())
    log = log_of(child)
    with watching(child) as reason:
        end(parent)
        ended = reason()
    assert fits(ended, expected)
    assert log.now() == [("terminate", ended)]


@pytest.mark.parametrize(("end", "expected"), PARENTAL.values(), ids=PARENTAL)
def test_the_parents_exit_ends_a_child_that_does_not_trap_without_terminate_unless_it_is_normal(
    end: Callable[[Any], Any], expected: Any
) -> None:
    parent = Driven.start()
    child = within(parent, lambda self: Driven.start_link())
    log = log_of(child)
    with watching(parent) as parents, watching(child) as childs:
        end(parent)
        reason = parents()
        if expected is NORMAL:
            settle(child)
            child.stop("alive")
            assert childs() == "alive"
            assert log.now() == [("terminate", "alive")]
        else:
            assert childs() == reason
            assert log.now() == []


@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, "parental"], ids=repr)
def test_an_exit_signal_that_the_parent_sends_is_as_its_exit(reason: Any) -> None:
    with Driven.start() as parent:
        child = within(parent, lambda self: Trapping.start_link())
        log = log_of(child)
        with watching(child) as ended:
            within(parent, lambda self: g.unlink(child))
            within(parent, lambda self: child.exit(reason))
            assert ended() == reason
        assert log.now() == [("terminate", reason)]


def test_a_parents_exit_comes_after_what_was_queued_before() -> None:
    parent = Driven.start()
    child = within(parent, lambda self: Trapping.start_link())
    log = log_of(child)
    with watching(child) as reason:
        for number in range(10):
            within(parent, lambda self, number=number: child.send(number))  # type: ignore[misc]
        parent.stop("parental")
        child.send("too late")
        assert reason() == "parental"
    assert log.now() == [*range(10), ("terminate", "parental")]


def test_the_exit_of_who_started_without_a_link_is_no_parents_exit() -> None:
    starter = Driven.start()
    with within(starter, lambda self: Trapping.start()) as server:
        starter.stop("over")
        settle(server)
        assert log_of(server).now() == []


def test_the_exit_of_a_parent_that_was_unlinked_does_nothing() -> None:
    parent = Driven.start()
    with within(parent, lambda self: Trapping.start_link()) as child:
        within(child, lambda self: g.unlink(parent))
        parent.stop("parental")
        settle(child)
        assert log_of(child).now() == []


def test_the_exit_of_another_than_the_parent_reaches_handle_info() -> None:
    with Driven.start() as parent:
        child = within(parent, lambda self: Trapping.start_link())
        stranger = Driven.start()
        link(child, stranger)
        stranger.stop("strange")
        assert log_of(child).next() == g.Exit(stranger, "strange")
        assert child.is_alive()


@pytest.mark.parametrize("reason", [SHUTDOWN, Shutdown("x"), "signal", KILLED], ids=repr)
def test_terminate_does_not_run_on_an_exit_signal_to_a_server_that_does_not_trap(reason: Any) -> None:
    server = Driven.start()
    log = log_of(server)
    with watching(server) as ended:
        server.exit(reason)
        assert ended() == reason
    assert log.now() == []


def test_terminate_does_not_run_on_a_linked_exit_to_a_server_that_does_not_trap() -> None:
    one, other = Driven.start(), Driven.start()
    link(one, other)
    log = log_of(one)
    with watching(one) as ended:
        other.stop("linked")
        assert ended() == "linked"
    assert log.now() == []


@pytest.mark.parametrize("outcome", [None, Stop("own"), 3, ValueError()], ids=repr)
def test_terminate_does_not_run_where_an_exit_signal_came_during_the_last_callback(outcome: Any) -> None:
    server = Driven.start()
    log = log_of(server)
    with Gate() as gate, watching(server) as ended:
        server.cast(lambda self, state: gate.wait() or (fail(outcome) if isinstance(outcome, Exception) else outcome))
        gate.reached()
        server.exit("signal")
        gate.open()
        assert ended() == "signal"
    assert log.now() == []


@pytest.mark.parametrize("cls", [Driven, Trapping])
def test_terminate_does_not_run_on_a_kill(cls: type[Driven]) -> None:
    server = cls.start()
    log = log_of(server)
    server.exit(KILL)
    assert not server.is_alive()
    with Driven.start() as bystander:
        until(lambda: threads_left(bystander) == 0)
    assert log.now() == []


@pytest.mark.parametrize("outcome", [None, Stop("late"), 3, ValueError()], ids=repr)
def test_terminate_does_not_run_when_the_callback_of_a_killed_server_ends(outcome: Any) -> None:
    server = Trapping.start()
    log = log_of(server)
    with Gate() as gate, Driven.start() as bystander:
        server.cast(lambda self, state: gate.wait() or (fail(outcome) if isinstance(outcome, Exception) else outcome))
        gate.reached()
        server.exit(KILL)
        gate.open()
        until(lambda: threads_left(bystander) == 0)
    assert log.now() == []


# trap_exit.


def test_trap_exit_may_be_true_on_the_class() -> None:
    with Trapping.start() as server:
        server.exit("signal")
        assert log_of(server).next() == g.Exit(None, "signal")


def test_trap_exit_is_false_on_a_plain_class() -> None:
    assert g.GenServer.trap_exit is False


@pytest.mark.parametrize("callback", ["init", *CALLBACKS])
def test_trap_exit_may_be_set_in_a_callback(callback: str) -> None:
    def trap(self: Any) -> Any:
        self.trap_exit = True
        return Ok() if callback == "init" else Reply(1) if callback == "handle_call" else None

    with Driven.start(trap if callback == "init" else None) as server:
        if callback != "init":
            provoke(server, callback, trap)
        settle(server)
        server.exit("signal")
        assert log_of(server).next() == g.Exit(None, "signal")


def test_trap_exit_that_is_taken_back_lets_signals_end_the_server_again() -> None:
    server = Trapping.start()
    log = log_of(server)
    within(server, lambda self: setattr(self, "trap_exit", False))
    with watching(server) as reason:
        server.exit("signal")
        assert reason() == "signal"
    assert log.now() == []


def test_trap_exit_of_one_server_says_nothing_of_another_of_its_class() -> None:
    with Driven.start() as one:
        within(one, lambda self: setattr(self, "trap_exit", True))
        other = Driven.start()
        with watching(other) as reason:
            other.exit("signal")
            assert reason() == "signal"


# How terminate runs.


def test_terminate_runs_once_whatever_comes_besides() -> None:
    with Gate() as gate:
        server = EndingTrapping.start(lambda self: gate.wait())
        log = log_of(server)
        stops = [server.stop("first", block=False)]
        gate.reached()
        server.exit("signal")
        server.exit(NORMAL)
        stops += [server.stop("second", block=False)]
        server.cast(lambda self, state: Stop("third"))
        with watching(server) as reason:
            gate.open()
            assert reason() == "first"
        assert [stop.get(timeout=DEADLINE) for stop in stops] == [True, True]
    assert log.now() == [("terminate", "first", "the state")]


def test_an_exit_signal_during_terminate_does_not_undo_it() -> None:
    """Busy to its end, it has no next message."""
    with Gate() as gate:
        server = Ending.start(lambda self: (gate.wait(), self.log.put("ended")))
        log = log_of(server)
        with watching(server) as reason:
            server.stop("first", block=False)
            gate.reached()
            server.exit("signal")
            gate.open()
            assert reason() == "first"
        assert log.now() == [("terminate", "first", "the state"), "ended"]


def test_terminate_runs_in_the_servers_own_thread_as_its_process() -> None:
    found = Log()
    server = Ending.start(lambda self: found.put((threading.current_thread(), outcome_of(lambda: self.pid.call(1)))))
    thread = within(server, lambda self: threading.current_thread())
    server.stop()
    ended_in, error = found.next()
    assert ended_in is thread
    assert isinstance(error, g.CallingSelf)
    thread.join(DEADLINE)
    assert not thread.is_alive()


def test_a_server_is_alive_and_has_its_name_until_terminate_has_run() -> None:
    found = Log()
    server = Ending.start(lambda self: found.put((self.pid.is_alive(), g.whereis("parting"))), name="parting")
    server.stop()
    assert found.next() == (True, server)
    assert not server.is_alive()
    assert g.whereis("parting") is None


@pytest.mark.parametrize("value", [3, None, Ok(), Stop("other"), Reply(1), NoReply("other"), IGNORE], ids=repr)
def test_what_terminate_returns_is_nothing_to_anybody(value: Any) -> None:
    server = Ending.start(lambda self: value)
    with watching(server) as reason:
        server.stop("why")
        assert reason() == "why"


def test_a_class_without_terminate_ends_all_the_same() -> None:
    server = g.GenServer.start()
    with watching(server) as reason:
        server.stop("why")
        assert reason() == "why"


def test_terminate_may_call_and_send_and_what_it_sends_comes_before_the_exit_and_the_down() -> None:
    with Trapping.start() as receiver:

        def end(self: Any) -> None:
            assert within(receiver, lambda receiver: "called") == "called"
            for number in range(10):
                receiver.send(number)

        server = Ending.start(end)
        link(receiver, server)
        monitor(receiver, server)
        log = log_of(receiver)
        server.stop("why")
        *sent, one, other = [log.next() for _ in range(12)]
        assert sent == list(range(10))
        assert {type(one), type(other)} == {g.Exit, g.Down}


def test_terminate_may_start_stop_link_monitor_and_register() -> None:
    with Registry.start() as registry, Driven.start() as bystander:

        def end(self: Any) -> None:
            other = Driven.start()
            g.link(other)
            g.unlink(other)
            g.demonitor(g.monitor(other))
            other.stop()
            registry.register("late")
            assert registry.lookup("late") == (self.pid, None)
            g.link(bystander)

        server = Ending.start(end)
        server.stop(timeout=DEADLINE)
        assert registry.count() == 0
        settle(bystander)


def test_who_was_linked_in_terminate_is_told_of_the_exit() -> None:
    with Trapping.start() as other:
        server = Ending.start(lambda self: g.link(other))
        server.stop("why")
        assert log_of(other).next() == g.Exit(server, "why")


def test_what_was_queued_behind_a_stop_is_not_handled() -> None:
    server = Driven.start()
    log = log_of(server)
    with Gate() as gate, watching(server) as reason:
        server.cast(lambda self, state: gate.wait(Stop("why")))
        gate.reached()
        server.send("behind")
        server.cast(lambda self, state: self.log.put("behind"))
        gate.open()
        assert reason() == "why"
    assert log.now() == [("terminate", "why")]


def test_a_message_that_terminate_sends_to_itself_is_not_handled() -> None:
    server = Ending.start(lambda self: (self.pid.send("own"), self.pid.cast(lambda self, state: 1 / 0)))
    log = log_of(server)
    server.stop("why")
    assert log.now() == [("terminate", "why", "the state")]


# A crash in terminate.


@pytest.mark.parametrize("kind", [ValueError, StopIteration, *FATAL])
def test_a_crash_in_terminate_replaces_the_reason_and_the_stopper_gets_it(kind: type[BaseException]) -> None:
    error = kind("in terminate")
    server = Ending.start(lambda self: fail(error))
    with Trapping.start() as linked, Driven.start() as bystander, watching(server) as reason:
        link(linked, server)
        with pytest.raises(g.CallExit) as caught:
            server.stop()
        assert caught.value.reason is error
        assert caught.value.target == server
        assert reason() is error
        assert log_of(linked).next() == g.Exit(server, error)
        assert bystander.is_alive()


def test_a_terminate_without_end_is_a_recursion_error() -> None:
    with pytest.raises(g.CallExit) as caught:
        Ending.start(endless).stop()
    assert isinstance(caught.value.reason, RecursionError)


@pytest.mark.parametrize("kind", [ValueError, *FATAL])
@pytest.mark.parametrize("callback", CALLBACKS)
def test_a_crash_in_terminate_after_a_crash_replaces_that_one(
    callback: str, kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    error = kind("in terminate")
    server = Ending.start(lambda self: fail(error))
    with watching(server) as reason:
        provoke(server, callback, lambda self: fail(ZeroDivisionError("before")))
        assert reason() is error
    (report,) = crash_reports(caplog)
    assert (report.reason, report.callback) == (error, "terminate")


def test_a_crash_in_terminate_does_not_look_like_a_consequence_of_the_one_before() -> None:
    server = Ending.start(lambda self: fail(ValueError("in terminate")))
    with pytest.raises(g.CallExit) as caught:
        server.call(lambda self, from_, state: fail(ZeroDivisionError()))
    reason = caught.value.reason
    assert isinstance(reason, ValueError)
    assert reason.__context__ is None


def test_a_crash_in_terminate_at_the_parents_exit_replaces_that_reason() -> None:
    error = ValueError("in terminate")
    parent = Driven.start()
    child = within(parent, lambda self: EndingTrapping.start_link(lambda self: fail(error)))
    with watching(child) as reason:
        parent.stop(SHUTDOWN)
        assert reason() is error


def test_a_call_error_left_uncaught_in_terminate_is_the_reason() -> None:
    server = Ending.start(lambda self: g.call("nobody", "request"))
    with pytest.raises(g.CallExit) as caught:
        server.stop()
    assert isinstance(caught.value.reason, g.NoProcess)


def test_names_and_keys_are_free_after_a_crash_in_terminate() -> None:
    with Registry.start() as registry:
        server = Ending.start(lambda self: fail(SystemExit()), name="crashing")
        within(server, lambda self: registry.register("key"))
        assert isinstance(outcome_of(server.stop), g.CallExit)
        assert g.whereis("crashing") is None
        assert registry.lookup("key") is None
        assert not server.is_alive()


# stop: when it is handled, and what its callers get.


def test_stop_is_handled_in_mailbox_order() -> None:
    server = Driven.start()
    log = log_of(server)
    for number in range(100):
        if number % 2:
            server.send(number)
        else:
            server.cast(lambda self, state, number=number: self.log.put(number))
    server.stop()
    assert log.now() == [*range(100), ("terminate", NORMAL)]


def test_a_call_that_was_queued_before_a_stop_is_answered() -> None:
    server = Driven.start()
    with Gate() as gate:
        server.cast(lambda self, state: gate.wait())
        gate.reached()
        before = server.send_request(lambda self, from_, state: Reply("answered"))
        stop = server.stop(block=False)
        behind = server.send_request(lambda self, from_, state: Reply("answered"))
        gate.open()
        assert before.wait() == "answered"
        assert stop.get(timeout=DEADLINE) is True
        error = outcome_of(behind.wait)
        assert isinstance(error, g.CallExit)
        assert error.reason is NORMAL


def test_a_continue_runs_before_a_stop_that_is_queued() -> None:
    server = Driven.start()
    log = log_of(server)
    with Gate() as gate:
        server.cast(lambda self, state: gate.wait(NoReply(continue_=lambda self, state: self.log.put("continued"))))
        gate.reached()
        stop = server.stop(block=False)
        gate.open()
        assert stop.get(timeout=DEADLINE) is True
    assert log.now() == ["continued", ("terminate", NORMAL)]


def test_stop_returns_when_the_server_is_dead_and_its_name_is_free() -> None:
    for _ in range(20):
        server = Driven.start(name="fleeting")
        g.stop("fleeting")
        assert not server.is_alive()
        assert g.whereis("fleeting") is None


def test_stop_is_normal_and_waits_for_ever_by_default() -> None:
    with Gate() as gate:
        server = Ending.start(lambda self: gate.wait())
        log = log_of(server)
        with meanwhile(server.stop) as outcome:
            gate.reached()
            gate.open()
            assert outcome() is True
        assert log.now() == [("terminate", NORMAL, "the state")]


def test_the_function_stop_returns_nothing() -> None:
    returned: Any = g.stop(Driven.start())  # type: ignore[func-returns-value]
    assert returned is None


@pytest.mark.parametrize("reason", [float("nan"), [1], ValueError("the reason"), Shutdown([2])], ids=repr)
def test_stop_returns_when_the_server_ends_with_the_reason_that_was_given_whatever_it_is(reason: Any) -> None:
    Driven.start().stop(reason, DEADLINE)


def test_a_reason_that_cannot_be_compared_is_a_reason_all_the_same() -> None:
    class Incomparable:
        def __eq__(self, other: object) -> bool:
            raise ValueError("in eq")

        __hash__ = None  # type: ignore[assignment]

    reason = Incomparable()
    Driven.start().stop(reason)
    error = ValueError("in terminate")
    server = Ending.start(lambda self: fail(error))
    caught = outcome_of(lambda: server.stop(reason))
    assert isinstance(caught, g.CallExit)
    assert caught.reason is error


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (lambda self: fail(ZeroDivisionError()), ZeroDivisionError),
        (lambda self: Stop("own"), "own"),
        (lambda self: 3, g.BadReturnValue),
    ],
    ids=["crash", "stop", "bad return value"],
)
def test_who_stops_a_server_that_ends_before_for_another_reason_gets_that(end: Any, expected: Any) -> None:
    server = Driven.start()
    with Gate() as gate, Driven.start() as stopper:
        server.cast(lambda self, state: gate.wait() or end(self))
        gate.reached()
        stop = stopper.send_request(lambda self, from_, state: Reply(outcome_of(lambda: server.stop("mine"))))
        until(lambda: g.tree(stopper).waits_for)
        gate.open()
        error = stop.wait()
        assert isinstance(error, g.CallExit)
        assert fits(error.reason, expected)


def test_who_stops_a_server_that_ends_before_for_the_same_reason_is_content() -> None:
    server = Driven.start()
    with Gate() as gate, Driven.start() as stopper:
        server.cast(lambda self, state: gate.wait(Stop("the same")))
        gate.reached()
        stop = stopper.send_request(lambda self, from_, state: Reply(outcome_of(lambda: server.stop("the same"))))
        until(lambda: g.tree(stopper).waits_for)
        gate.open()
        assert stop.wait() is True


def test_of_two_who_stop_a_server_the_first_is_obeyed_and_the_other_hears_of_it() -> None:
    with Gate() as gate:
        server = Driven.start()
        with Driven.start() as one, Driven.start() as other:
            server.cast(lambda self, state: gate.wait())
            gate.reached()
            stops = []
            for stopper, reason in ((one, "first"), (other, "second")):
                stops.append(
                    stopper.send_request(
                        lambda self, from_, state, reason=reason: Reply(outcome_of(lambda: server.stop(reason)))
                    )
                )
                until(lambda stopper=stopper: g.tree(stopper).waits_for)  # type: ignore[misc]
            gate.open()
            assert stops[0].wait() is True
            error = stops[1].wait()
            assert isinstance(error, g.CallExit)
            assert error.reason == "first"


def test_many_threads_may_stop_a_server_at_once() -> None:
    server = Driven.start()
    log = log_of(server)
    outcomes, together = Log(), threading.Barrier(8)

    def stop() -> None:
        together.wait(DEADLINE)
        outcomes.put(outcome_of(server.stop))

    threads = [threading.Thread(target=stop) for _ in range(8)]
    for thread in threads:
        thread.start()
    found = [outcomes.next() for _ in threads]
    for thread in threads:
        thread.join()
    assert True in found
    assert set(found) <= {True, False}
    assert log.now() == [("terminate", NORMAL)]


@pytest.mark.parametrize(("cls", "expected"), [(Driven, "signal"), (Trapping, "mine")])
def test_who_stops_a_server_that_an_exit_signal_overtakes_hears_of_that_unless_it_is_trapped(
    cls: type[Driven], expected: str
) -> None:
    server = cls.start()
    with Gate() as gate, Driven.start() as stopper:
        server.cast(lambda self, state: gate.wait())
        gate.reached()
        stop = stopper.send_request(lambda self, from_, state: Reply(outcome_of(lambda: server.stop("mine"))))
        until(lambda: g.tree(stopper).waits_for)
        server.exit("signal")
        gate.open()
        outcome = stop.wait()
    assert (True if outcome is True else outcome.reason) == (True if expected == "mine" else "signal")


@pytest.mark.parametrize("where", ["callback", "terminate"])
def test_who_stops_a_server_that_is_killed_meanwhile_gets_call_exit_killed(where: str) -> None:
    with Gate() as gate:
        server = Ending.start(lambda self: gate.wait())
        if where == "callback":
            server.cast(lambda self, state: gate.wait())
            gate.reached()
        with Driven.start() as stopper:
            stop = stopper.send_request(lambda self, from_, state: Reply(outcome_of(lambda: server.stop("mine"))))
            until(lambda: g.tree(stopper).waits_for)
            gate.reached()
            server.exit(KILL)
            error = stop.wait()
        assert isinstance(error, g.CallExit)
        assert error.reason is KILLED


def test_who_traps_and_stops_a_linked_server_has_its_exit_when_stop_has_returned() -> None:
    server = Driven.start()
    with Trapping.start() as stopper:

        def stop(self: Any) -> None:
            g.link(server)
            server.stop("why")
            self.pid.send("stopped")

        within(stopper, stop)
        log = log_of(stopper)
        assert [log.next(), log.next()] == [g.Exit(server, "why"), "stopped"]


def test_who_does_not_trap_and_stops_a_linked_server_for_a_failure_ends_with_it() -> None:
    server, stopper = Driven.start(), Driven.start()
    link(stopper, server)
    log = log_of(stopper)
    with watching(stopper) as reason:
        stopper.cast(lambda self, state: server.stop("why") and None)
        assert reason() == "why"
    assert log.now() == []


def test_a_stop_from_a_callback_of_another_ends_the_one_and_not_the_other() -> None:
    server = Driven.start()
    with Driven.start() as stopper:
        within(stopper, lambda self: server.stop("why"))
        assert not server.is_alive()


def test_a_call_error_of_stop_left_uncaught_ends_the_one_who_called_it() -> None:
    gone, stopper = dead(), Driven.start()
    with watching(stopper) as reason:
        stopper.cast(lambda self, state: g.stop(gone))
        assert isinstance(reason(), g.NoProcess)


# stop: during init.


def test_a_stop_during_init_is_handled_after_it() -> None:
    log = Log()
    with Gate() as gate:

        def init(self: Any) -> Any:
            self.log = log
            gate.wait()

        with meanwhile(lambda: Driven.start(init, name="early")) as started:
            gate.reached()
            server = g.whereis("early")
            assert server is not None
            stop = server.stop("early", block=False)
            gate.open()
            assert started() is server
        assert stop.get(timeout=DEADLINE) is True
    assert log.now() == [("terminate", "early")]


def test_a_stop_during_an_init_that_fails_hears_of_the_failure() -> None:
    with Gate() as gate, Driven.start() as stopper:
        with meanwhile(lambda: Driven.start(lambda self: gate.wait(Stop("failed")), name="early")) as started:
            gate.reached()
            stop = stopper.send_request(lambda self, from_, state: Reply(outcome_of(lambda: g.stop("early"))))
            until(lambda: g.tree(stopper).waits_for)
            gate.open()
            assert started().reason == "failed"
        error = stop.wait()
        assert isinstance(error, g.CallExit)
        assert error.reason == "failed"


# stop: timeouts.


@pytest.mark.parametrize("kind", ["pid", "name", "via"])
@pytest.mark.parametrize("where", ["callback", "terminate"])
def test_a_stop_that_times_out_raises_and_the_server_still_stops_later(where: str, kind: str) -> None:
    with Gate() as gate, named(kind, Ending, lambda self: gate.wait()) as (server, target):
        log = log_of(server)
        if where == "callback":
            server.cast(lambda self, state: gate.wait())
            gate.reached()
        with watching(server) as reason:
            with pytest.raises(TimeoutError) as caught:
                g.stop(target, "late", 0.01)
            assert isinstance(caught.value, g.CallTimeout)
            assert (caught.value.target, caught.value.timeout) == (target, 0.01)
            assert server.is_alive()
            gate.open()
            assert reason() == "late"
        assert log.now() == [("terminate", "late", "the state")]


def test_an_actor_whose_stop_timed_out_gets_nothing_of_it_later() -> None:
    with Gate() as gate, Driven.start() as stopper:
        server = Ending.start(lambda self: gate.wait())
        error = within(stopper, lambda self: outcome_of(lambda: server.stop(timeout=0.01)))
        assert isinstance(error, g.CallTimeout)
        with watching(server) as reason:
            gate.open()
            assert reason() is NORMAL
        settle(stopper)
        assert log_of(stopper).now() == []


@pytest.mark.parametrize("wrong", [-1, "1", True, float("nan")], ids=repr)
def test_a_timeout_of_stop_that_is_no_number_of_seconds_is_refused_and_nothing_stops(wrong: Any) -> None:
    with Driven.start(name="unharmed") as server:
        for stop in (
            lambda: server.stop(timeout=wrong),
            lambda: server.stop(timeout=wrong, block=True),
            lambda: g.stop("unharmed", timeout=wrong),
        ):
            with pytest.raises((TypeError, ValueError), match="timeout"):
                stop()
        settle(server)
        assert log_of(server).now() == []


def test_a_stop_that_is_broken_off_by_ctrl_c_still_stops_the_server() -> None:
    with Gate() as gate, ctrl_c() as press:

        def end(self: Any) -> None:
            press()
            gate.wait()

        server = Ending.start(end)
        with watching(server) as reason:
            with pytest.raises(KeyboardInterrupt):
                server.stop("why")
            assert server.is_alive()
            gate.open()
            assert reason() == "why"


# stop: of dead and unknown targets, and of the caller itself.


def test_stopping_the_dead_and_the_unknown_is_no_process_at_once() -> None:
    gone = dead()
    with Registry.start() as registry:
        for target in (gone, "nobody", g.via(registry, "nobody"), g.via("no registry", "nobody")):
            with pytest.raises(g.NoProcess) as caught:
                g.stop(target)
            assert caught.value.target == target
        for _ in range(2):
            assert gone.stop() is False  # as pykka has it


def test_stopping_oneself_is_calling_self_at_once_by_pid_name_and_via() -> None:
    with Registry.start() as registry, Driven.start(name="self") as server:

        def stop(self: Any) -> None:
            registry.register("self")
            for target in (self.pid, "self", g.via(registry, "self")):
                with pytest.raises(g.CallingSelf) as caught:
                    g.stop(target)
                assert caught.value.target == target

        within(server, stop)
        assert server.is_alive()
        assert log_of(server).now() == []


def test_stopping_oneself_left_uncaught_is_a_crash() -> None:
    server = Driven.start()
    log = log_of(server)
    with watching(server) as reason:
        server.cast(lambda self, state: g.stop(self.pid))
        ended = reason()
    assert isinstance(ended, g.CallingSelf)
    assert log.now() == [("terminate", ended)]


def test_two_that_stop_each_other_in_terminate_wait_for_each_other_until_a_timeout() -> None:
    """Nothing says that this is a good idea; but it ends, and with an error that says so."""
    one = Ending.start(lambda self: g.stop("other", timeout=0.05))
    other = Ending.start(lambda self: g.stop(one, timeout=5.0), name="other")
    with watching(other) as others:
        error = outcome_of(one.stop)
        assert isinstance(error, g.CallExit)
        assert isinstance(error.reason, g.CallTimeout)
        # By then one is dead of another reason than it was stopped with, or dead already.
        assert isinstance(others(), g.CallExit | g.NoProcess)


# with.


@pytest.mark.parametrize("error", [None, ZeroDivisionError(), KeyboardInterrupt()], ids=repr)
def test_with_stops_the_server_at_its_end_and_after_an_error(error: BaseException | None) -> None:
    server = Driven.start()
    log = log_of(server)

    def use() -> None:
        with server as entered:
            assert entered is server
            if error is not None:
                raise error

    assert outcome_of(use) is error
    assert not server.is_alive()
    assert log.now() == [("terminate", NORMAL)]


def test_with_does_not_mind_a_server_that_has_ended() -> None:
    with Driven.start() as server:
        server.stop("ended")
    with Driven.start() as server:
        server.exit(KILL)
    assert not server.is_alive()


# A kill in the middle of terminate.


def test_a_kill_during_terminate_ends_the_server_at_once_and_what_terminate_does_later_is_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Gate() as gate, Driven.start() as receiver, Driven.start() as bystander:

        def end(self: Any) -> None:
            gate.wait()
            receiver.send("late")
            fail(ValueError("late"))

        server = Ending.start(end, name="ending")
        with watching(server) as reason:
            server.stop("first", block=False)
            gate.reached()
            server.exit(KILL)
            assert not server.is_alive()
            assert g.whereis("ending") is None
            assert reason() is KILLED
        gate.open()
        until(lambda: threads_left(bystander) == 0)
        settle(receiver)
        assert log_of(receiver).now() == []
    assert crash_reports(caplog) == []


def test_a_parents_exit_during_terminate_changes_nothing() -> None:
    with Gate() as gate:
        parent = Driven.start()
        child = within(parent, lambda self: EndingTrapping.start_link(lambda self: gate.wait()))
        log = log_of(child)
        with watching(child) as reason:
            child.stop("own", block=False)
            gate.reached()
            parent.stop("parental")
            gate.open()
            assert reason() == "own"
        assert log.now() == [("terminate", "own", "the state")]
