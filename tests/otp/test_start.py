"""Start and init: what start returns or raises, and what is there when it does."""

import inspect
import itertools
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pykka
import pytest

import gennostr as g
from gennostr import (
    IGNORE,
    KILL,
    KILLED,
    NORMAL,
    SHUTDOWN,
    TIMEOUT,
    DynamicSupervisor,
    NoReply,
    Ok,
    Registry,
    Reply,
    Shutdown,
    Stop,
    Supervisor,
    telemetry,
)
from gennostr.otp.envelopes import WAKE
from tests.otp.actors import (
    DEADLINE,
    FATAL,
    Driven,
    Gate,
    Log,
    Trapping,
    crash_reports,
    ctrl_c,
    fail,
    fits,
    log_of,
    meanwhile,
    outcome_of,
    settle,
    threads_left,
    until,
    watching,
    within,
)

# What init returns.


def test_start_returns_the_pid_when_init_has_returned_and_not_before() -> None:
    with Gate() as gate:
        order = Log()

        def init(self: Any) -> Any:
            gate.wait()
            order.put("init")
            return Ok(7)

        def start() -> Any:
            pid = Driven.start(init)
            order.put("started")
            return pid

        with meanwhile(start) as outcome:
            gate.reached()
            assert order.now() == []
            gate.open()
            pid = outcome()
        assert order.now() == ["init", "started"]
        assert isinstance(pid, g.Pid)
        assert pid.get_state() == 7
        pid.stop()


def test_a_continue_of_init_runs_after_start_has_returned() -> None:
    go, log = threading.Event(), Log()
    with Driven.start(lambda self: Ok(continue_=lambda self, state: log.put(go.wait(DEADLINE)))):
        go.set()  # only now, when start has returned, can the continue end
        assert log.next() is True


def test_a_continue_of_init_runs_before_any_queued_message() -> None:
    log = Log()

    def init(self: Any) -> Any:
        self.log = log
        g.send(self.pid, "queued")
        return Ok(continue_=lambda self, state: log.put("continued"))

    with Driven.start(init):
        assert [log.next(), log.next()] == ["continued", "queued"]


@pytest.mark.parametrize("end", [Stop("why"), Stop(NORMAL), 42], ids=repr)
def test_a_continue_of_init_that_ends_the_server_ends_it_after_a_start_that_succeeded(end: Any) -> None:
    with Gate() as gate:
        server = Driven.start(lambda self: Ok(continue_=lambda self, state: gate.wait(end)))
        with watching(server) as reason:
            gate.open()
            assert reason() == (end.reason if isinstance(end, Stop) else server.process.reason)
        assert not server.is_alive()


def test_a_class_without_init_has_its_argument_as_the_state() -> None:
    with g.GenServer.start(["argument"]) as server:
        assert server.get_state() == ["argument"]


def test_an_init_that_returns_none_leaves_the_state_none() -> None:
    with Driven.start(lambda self: None) as server:
        assert server.get_state() is None


def test_an_ok_without_a_state_leaves_it_none() -> None:
    with Driven.start(lambda self: Ok()) as server:
        assert server.get_state() is None


@pytest.mark.parametrize("start", [Driven.start, Driven.start_link], ids=["start", "start_link"])
def test_an_ignored_start_returns_ignore_and_leaves_no_name(start: Any) -> None:
    assert start(lambda self: IGNORE, name="ignoring") is IGNORE
    assert g.whereis("ignoring") is None


def test_an_ignored_start_is_a_process_that_ends_normally() -> None:
    pids = Log()
    with Driven.start() as watcher:
        log = log_of(watcher)

        def init(self: Any) -> Any:
            pids.put(self.pid)
            within(watcher, lambda watcher: g.monitor(self.pid))
            return IGNORE

        assert Driven.start(init) is IGNORE
        assert log.next().reason is NORMAL
        assert not pids.next().is_alive()


def test_an_ignored_start_link_is_a_normal_exit_to_a_parent_that_traps() -> None:
    with Trapping.start() as parent:
        assert within(parent, lambda self: Driven.start_link(lambda self: IGNORE)) is IGNORE
        settle(parent)
        told = log_of(parent).now()
        assert [message.reason for message in told] == [NORMAL]


def test_an_ignored_start_link_harms_no_parent_that_does_not_trap() -> None:
    with Driven.start() as parent:
        assert within(parent, lambda self: Driven.start_link(lambda self: IGNORE)) is IGNORE
        settle(parent)
        assert parent.is_alive()


@pytest.mark.parametrize("reason", ["why", None, 0, NORMAL, SHUTDOWN, Shutdown("x"), IGNORE, KILL], ids=repr)
def test_an_init_that_stops_is_a_start_error_with_its_reason(reason: Any) -> None:
    with pytest.raises(g.StartError) as caught:
        Driven.start(lambda self: Stop(reason), name="failing")
    assert caught.value.reason is reason
    assert g.whereis("failing") is None


def test_an_init_that_raises_gives_that_very_exception_with_its_traceback() -> None:
    error = ValueError("in init")
    with pytest.raises(g.StartError) as caught:
        Driven.start(lambda self: fail(error))
    assert caught.value.reason is error
    assert caught.value.__cause__ is error
    assert error.__traceback__ is not None


@pytest.mark.parametrize("kind", FATAL)
def test_whatever_init_raises_is_told_to_the_starter_and_harms_nobody_else(kind: type[BaseException]) -> None:
    with Driven.start() as bystander:
        with pytest.raises(g.StartError) as caught:
            Driven.start(lambda self: fail(kind()), name="failing", timeout=DEADLINE)
        assert isinstance(caught.value.reason, kind)
        assert g.whereis("failing") is None
        assert bystander.is_alive()


def test_an_init_without_end_is_a_recursion_error_to_the_starter() -> None:
    def init(self: Any) -> Any:
        return init(self)

    with pytest.raises(g.StartError) as caught:
        Driven.start(init)
    assert isinstance(caught.value.reason, RecursionError)


@pytest.mark.parametrize(
    "value", [42, 0, False, "text", "nonsense", NoReply(), Reply(1), Ok, Stop, (Ok(1),), TIMEOUT], ids=repr
)
def test_an_init_that_returns_another_value_is_a_bad_return_value(value: Any) -> None:
    with pytest.raises(g.StartError) as caught:
        Driven.start(lambda self: value, name="failing")
    assert isinstance(caught.value.reason, g.BadReturnValue)
    assert caught.value.reason.value is value
    assert g.whereis("failing") is None


@pytest.mark.parametrize("cls", [Driven, Trapping])
@pytest.mark.parametrize(
    "init",
    [
        lambda self: Stop("x"),
        lambda self: fail(ValueError()),
        lambda self: fail(SystemExit()),
        lambda self: 3,
        lambda self: IGNORE,
        lambda self: self.pid.exit(KILL),
    ],
    ids=["stop", "raise", "exit", "another value", "ignore", "kill"],
)
def test_terminate_never_runs_after_a_failed_init(init: Any, cls: type[Driven]) -> None:
    log = Log()

    class Failing(cls):  # type: ignore[misc, valid-type]
        def terminate(self, reason: Any, state: Any) -> None:
            log.put(reason)

    outcome = outcome_of(lambda: Failing.start(init))
    assert outcome is IGNORE or isinstance(outcome, g.StartError)
    assert log.now() == []


def test_a_failed_init_leaves_no_crash_report_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """The StartError is all that the caller gets."""
    with pytest.raises(g.StartError):
        Driven.start(lambda self: fail(ValueError("in init")))
    assert crash_reports(caplog) == []


# start_link and the parent.


def test_start_link_links_from_before_init() -> None:
    with Gate() as gate:
        parent = Trapping.start()
        parent.cast(lambda self, state: Driven.start_link(lambda self: gate.wait(), name="early") and None)  # type: ignore[truthy-bool]
        gate.reached()
        child = g.whereis("early")
        assert child is not None
        with watching(child) as reason:
            parent.exit(KILL)
            gate.open()
            assert reason() is KILLED


def test_start_link_in_a_plain_thread_is_start() -> None:
    server = Driven.start_link(1)
    assert server.get_state() == 1
    server.stop("unclean")
    assert not server.is_alive()


@pytest.mark.parametrize(
    ("init", "inner"),
    [
        (lambda self: Stop("inner"), "inner"),
        (lambda self: Stop(SHUTDOWN), SHUTDOWN),
        (lambda self: fail(ZeroDivisionError()), ZeroDivisionError),
        (lambda self: 3, g.BadReturnValue),
    ],
    ids=["stop", "shutdown", "raise", "another value"],
)
def test_start_link_with_a_failing_init_ends_a_parent_that_does_not_trap_with_the_inner_reason(
    init: Any, inner: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def start(self: Any, state: Any) -> None:
        Driven.start_link(init)

    parent = Driven.start()
    log = log_of(parent)
    with watching(parent) as reason:
        parent.cast(start)
        ended = reason()
    assert fits(ended, inner)
    assert log.now() == []  # an exit signal that is not trapped: no terminate
    assert crash_reports(caplog) == []


def test_a_parent_that_does_not_trap_dies_of_a_failing_init_even_if_it_catches_the_start_error() -> None:
    def start(self: Any, state: Any) -> None:
        with pytest.raises(g.StartError) as caught:
            Driven.start_link(lambda self: Stop("inner"))
        self.log.put(caught.value.reason)

    parent = Driven.start()
    log = log_of(parent)
    with watching(parent) as reason:
        parent.cast(start)
        assert reason() == "inner"
    assert log.now() == ["inner"]


def test_start_link_with_a_failing_init_tells_a_parent_that_traps_and_raises_there() -> None:
    pids = Log()

    def init(self: Any) -> Any:
        pids.put(self.pid)
        return Stop("inner")

    def start(self: Any) -> Any:
        with pytest.raises(g.StartError) as caught:
            Driven.start_link(init)
        return caught.value.reason

    with Trapping.start() as parent:
        assert within(parent, start) == "inner"
        assert log_of(parent).next() == g.Exit(pids.next(), "inner")
        settle(parent)
        assert log_of(parent).now() == []


def test_a_start_error_left_uncaught_ends_a_trapping_parent_with_the_inner_reason() -> None:
    """Its reason is the exception that it let through, as ever; that carries the inner reason."""
    parent = Trapping.start()
    with watching(parent) as reason:
        parent.cast(lambda self, state: Driven.start_link(lambda self: Stop("inner")))
        ended = reason()
        assert isinstance(ended, g.StartError)
        assert ended.reason == "inner"


@pytest.mark.parametrize("init", [lambda self: Stop("inner"), lambda self: fail(ValueError()), lambda self: 3])
def test_start_with_a_failing_init_harms_no_parent(init: Any) -> None:
    def start(self: Any) -> None:
        with pytest.raises(g.StartError):
            Driven.start(init)

    with Trapping.start() as trapping, Driven.start() as parent:
        for each in (trapping, parent):
            within(each, start)
            settle(each)
            assert each.is_alive()
        assert log_of(trapping).now() == []


# Start timeouts.


def test_a_start_timeout_is_a_start_error_and_kills_the_process_and_frees_the_name() -> None:
    with Gate() as gate:
        pids = Log()

        def init(self: Any) -> Any:
            pids.put(self.pid)
            gate.wait()

        with pytest.raises(g.StartError) as caught:
            Driven.start(init, name="slow", timeout=0.02)
        assert caught.value.reason is TIMEOUT
        pid = pids.next()
        assert not pid.is_alive()
        assert pid.process.reason is KILLED
        assert g.whereis("slow") is None
        assert g.abandoned() == 1
        with Driven.start(name="slow") as server:  # the name can be taken again at once
            gate.open()
            assert g.whereis("slow") is server


def test_nothing_of_a_start_that_timed_out_arrives_later() -> None:
    with Driven.start() as receiver, Registry.start() as registry, Gate() as gate:
        done = Log()

        def init(self: Any) -> Any:
            gate.wait()
            g.send(receiver, "late")
            done.put(outcome_of(lambda: registry.register("late")))
            return Ok(continue_=lambda self, state: done.put("continued"))

        with pytest.raises(g.StartError):
            Driven.start(init, timeout=0.02)
        gate.open()
        assert isinstance(done.next(), g.CallExit)
        until(lambda: threads_left(receiver) == 0)
        assert log_of(receiver).now() == []
        assert registry.count() == 0
        assert done.now() == []


@pytest.mark.parametrize("outcome", [Ok(), Stop("late"), IGNORE, 3], ids=repr)
def test_a_start_that_timed_out_is_told_once_whatever_its_init_returns_later(outcome: Any) -> None:
    told = Log()

    def handler(name: str, measurements: Any, metadata: Any) -> None:
        if name.startswith("actor.") and metadata["pid"].actor_class is Late:
            told.put((name, metadata.get("reason")))

    class Late(Driven):
        pass

    with Driven.start() as bystander, Gate() as gate:
        telemetry.attach(handler)
        try:
            with pytest.raises(g.StartError) as caught:
                Late.start(lambda self: gate.wait(outcome), timeout=0.02)
            gate.open()
            until(lambda: threads_left(bystander) == 0)
        finally:
            telemetry.detach(handler)
    assert caught.value.reason is TIMEOUT
    assert told.now() == [("actor.crash", KILLED)]


@pytest.mark.parametrize("cls", [Driven, Trapping])
def test_a_start_link_that_times_out_leaves_its_parent_alive_and_without_an_exit(cls: type[Driven]) -> None:
    with cls.start() as parent, Gate() as gate:

        def start(self: Any) -> None:
            with pytest.raises(g.StartError) as caught:
                Driven.start_link(lambda self: gate.wait(), timeout=0.02)
            assert caught.value.reason is TIMEOUT

        within(parent, start)
        gate.open()
        settle(parent)
        assert parent.is_alive()
        assert log_of(parent).now() == []


def test_a_timeout_that_is_long_enough_changes_nothing() -> None:
    with Driven.start(3, timeout=DEADLINE) as server:
        assert server.get_state() == 3


def test_start_waits_for_ever_by_default() -> None:
    for start in (Driven.start, Driven.start_link, Supervisor.start, DynamicSupervisor.start, Registry.start):
        assert inspect.signature(start).parameters["timeout"].default is None


@pytest.mark.parametrize("wrong", [-1, "1", True, float("nan")], ids=repr)
@pytest.mark.parametrize("start", [Driven.start, Driven.start_link], ids=["start", "start_link"])
def test_a_start_timeout_that_is_no_number_of_seconds_is_refused_in_the_caller(start: Any, wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="timeout"):
        start(timeout=wrong, name="refused")
    assert g.whereis("refused") is None


# Ends during init.


@pytest.mark.parametrize("cls", [Driven, Trapping])
def test_a_kill_during_init_is_told_to_the_starter_at_once(cls: type[Driven]) -> None:
    with Gate() as gate, meanwhile(lambda: cls.start(lambda self: gate.wait(), name="early")) as outcome:
        gate.reached()
        pid = g.whereis("early")
        assert pid is not None
        pid.exit(KILL)
        error = outcome()
        assert isinstance(error, g.StartError)
        assert error.reason is KILLED
        assert g.whereis("early") is None
        assert g.abandoned() == 1


def test_an_exit_signal_during_init_ends_the_start_when_init_has_returned() -> None:
    with Gate() as gate, meanwhile(lambda: Driven.start(lambda self: gate.wait(), name="early")) as outcome:
        gate.reached()
        pid = g.whereis("early")
        assert pid is not None
        pid.exit("signal")
        gate.open()
        error = outcome()
    assert isinstance(error, g.StartError)
    assert error.reason == "signal"


def test_an_exit_during_init_that_is_trapped_comes_as_a_message_after_it() -> None:
    with Gate() as gate, meanwhile(lambda: Trapping.start(lambda self: gate.wait(), name="early")) as outcome:
        gate.reached()
        pid = g.whereis("early")
        assert pid is not None
        pid.exit("signal")
        gate.open()
        with outcome() as server:
            assert log_of(server).next() == g.Exit(None, "signal")


def test_a_kill_at_any_moment_of_a_start_ends_it_and_leaves_nothing() -> None:
    """A named server can be found and killed even before init: here, before each step of the start."""
    library = str(Path(g.__file__).parent)
    for turn in itertools.count():
        steps, killed = 0, Log()

        def before_step(frame: FrameType, event: str, argument: object, turn: int = turn, killed: Log = killed) -> None:
            nonlocal steps
            if event == "call" and frame.f_code.co_filename.startswith(library):
                victim = g.whereis("victim")
                if victim is not None:
                    steps += 1
                    if steps == turn + 1:
                        victim.exit(KILL)
                        killed.put(victim)

        sys.setprofile(before_step)
        try:
            outcome = outcome_of(lambda: Driven.start(name="victim", timeout=0.5))
        finally:
            sys.setprofile(None)
        if killed.empty():  # there were not so many steps
            outcome.stop()
            assert turn > 5
            break
        victim = killed.next()
        is_listed = victim in pykka.ActorRegistry.get_all()
        pykka.ActorRegistry.unregister(victim)
        assert (turn, isinstance(outcome, g.Pid) or outcome.reason) in ((turn, True), (turn, KILLED))
        assert (turn, victim.is_alive(), is_listed) == (turn, False, False)


def test_a_start_that_is_broken_off_by_ctrl_c_leaves_neither_server_nor_thread() -> None:
    inside = Log()
    with Gate() as gate, ctrl_c() as press:

        def init(self: Any) -> Any:
            inside.put((self, threading.current_thread()))
            press()
            gate.wait()

        with pytest.raises(KeyboardInterrupt):
            Driven.start(init, name="broken off")
        assert g.whereis("broken off") is None
    actor, thread = inside.next()
    thread.join(1)
    is_left = thread.is_alive()
    actor.actor_inbox.put(WAKE)  # so that it does not stay for ever where it is left
    assert not is_left


# Names, as far as they concern the start (see test_names.py for the rest).


def test_a_server_finds_itself_by_its_name_in_init() -> None:
    with Driven.start(lambda self: Ok(g.whereis("me")), name="me") as server:
        assert server.get_state() is server


def test_a_server_finds_itself_by_its_via_in_init() -> None:
    with Registry.start() as registry:
        name = g.via(registry, "me", "value")
        with Driven.start(lambda self: Ok((g.whereis(name), registry.lookup("me"))), name=name) as server:
            assert server.get_state() == (server, (server, "value"))


def test_a_taken_name_is_already_started_and_the_second_init_never_runs() -> None:
    ran = threading.Event()
    with Driven.start(1, name="taken") as server:
        for start in (Driven.start, Driven.start_link):
            with pytest.raises(g.AlreadyStarted) as caught:
                start(lambda self: ran.set(), name="taken")
            assert caught.value.pid is server
        assert not ran.is_set()
        assert g.call("taken", lambda self, from_, state: Reply(state)) == 1


def test_a_taken_via_name_is_already_started_and_the_second_init_never_runs() -> None:
    ran = threading.Event()
    with Registry.start() as registry, Driven.start(name=g.via(registry, 1, "first")) as server:
        with pytest.raises(g.AlreadyStarted) as caught:
            Driven.start(lambda self: ran.set(), name=g.via(registry, 1, "second"))
        assert caught.value.pid is server
        assert not ran.is_set()
        assert registry.lookup(1) == (server, "first")


def test_a_name_is_taken_from_before_init_on() -> None:
    with Gate() as gate, meanwhile(lambda: Driven.start(lambda self: gate.wait(), name="early")) as outcome:
        gate.reached()
        with pytest.raises(g.AlreadyStarted) as caught:
            Driven.start(name="early")
        gate.open()
        with outcome() as server:
            assert caught.value.pid is server


@pytest.mark.parametrize("cls", [Driven, Trapping])
@pytest.mark.parametrize("kind", ["string", "via"])
def test_a_taken_name_sends_no_exit_to_the_linking_process(kind: str, cls: type[Driven]) -> None:
    with Registry.start() as registry:
        name = "taken" if kind == "string" else g.via(registry, "taken")

        def start(self: Any) -> None:
            with pytest.raises(g.AlreadyStarted):
                Driven.start_link(name=name)

        with Driven.start(name=name), cls.start() as parent:
            within(parent, start)
            settle(parent)
            assert parent.is_alive()
            assert log_of(parent).now() == []


def test_an_already_started_left_uncaught_ends_the_caller_with_it() -> None:
    parent = Driven.start()
    with Driven.start(name="taken") as server, watching(parent) as reason:
        parent.cast(lambda self, state: Driven.start(name="taken"))
        ended = reason()
        assert isinstance(ended, g.AlreadyStarted)
        assert ended.pid is server


def test_of_many_starts_with_one_name_one_wins_and_the_others_learn_who() -> None:
    together = threading.Barrier(8)
    outcomes = Log()

    def start() -> None:
        together.wait(DEADLINE)
        outcomes.put(outcome_of(lambda: Driven.start(name="contested")))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    found = [outcomes.next() for _ in threads]
    for thread in threads:
        thread.join()
    (winner,) = [each for each in found if isinstance(each, g.Pid)]
    assert g.whereis("contested") is winner
    assert {each.pid for each in found if each is not winner} == {winner}
    winner.stop()


FAILING: dict[str, Callable[[Any], Any]] = {
    "stop": lambda self: Stop("no"),
    "raise": lambda self: fail(ValueError()),
    "another value": lambda self: 3,
    "ignore": lambda self: IGNORE,
}


@pytest.mark.parametrize("kind", ["string", "via"])
@pytest.mark.parametrize("init", FAILING.values(), ids=FAILING)
def test_a_name_is_free_again_when_a_failed_or_ignored_start_has_returned(init: Any, kind: str) -> None:
    with Registry.start() as registry:
        name: Any = "again" if kind == "string" else g.via(registry, "again")
        for _ in range(20):
            outcome = outcome_of(lambda: Driven.start(init, name=name))
            assert outcome is IGNORE or isinstance(outcome, g.StartError)
            assert g.whereis(name) is None
        with Driven.start(name=name) as server:
            assert g.whereis(name) is server


@pytest.mark.parametrize("name", [1, 0, False, b"bytes", ("a", "b"), object, ["list"]], ids=repr)
@pytest.mark.parametrize(
    "start",
    [Driven.start, Driven.start_link, Supervisor.start, DynamicSupervisor.start, Registry.start],
    ids=["start", "start_link", "supervisor", "dynamic supervisor", "registry"],
)
def test_another_kind_of_name_is_a_type_error_in_the_caller(start: Any, name: Any) -> None:
    with pytest.raises(TypeError, match="name"):
        start(name=name)


def test_a_type_error_for_a_name_harms_no_parent() -> None:
    def start(self: Any) -> Any:
        return outcome_of(lambda: Driven.start_link(name=3))  # type: ignore[arg-type]

    with Driven.start() as parent:
        assert isinstance(within(parent, start), TypeError)
        settle(parent)
        assert parent.is_alive()


@pytest.mark.parametrize("registry", ["nobody", "dead"])
def test_a_via_whose_registry_is_not_there_is_no_process_and_init_never_runs(registry: str) -> None:
    ran = threading.Event()
    gone = Registry.start()
    gone.stop()
    name = g.via(gone if registry == "dead" else registry, "key")
    with pytest.raises(g.NoProcess):
        Driven.start(lambda self: ran.set(), name=name)
    assert not ran.is_set()


# The default child specification.


def test_the_default_child_spec_is_a_permanent_worker_with_the_class_as_id_and_5_seconds() -> None:
    spec = Driven.child_spec("argument")
    assert (spec.id, spec.restart, spec.shutdown, spec.type) == (Driven, "permanent", 5, "worker")
    assert spec.significant is False


def test_the_default_child_spec_starts_with_start_link_and_the_argument() -> None:
    spec = Driven.child_spec("argument")
    with Trapping.start() as parent:
        child = within(parent, lambda self: spec.start())
        assert child.get_state() == "argument"
        child.stop("linked")
        assert log_of(parent).next() == g.Exit(child, "linked")


def test_any_field_of_the_default_child_spec_may_be_overridden() -> None:
    spec = Driven.child_spec("argument", id="own", restart="temporary", shutdown="brutal_kill", type="supervisor")
    assert (spec.id, spec.restart, spec.shutdown, spec.type) == ("own", "temporary", "brutal_kill", "supervisor")


# An __init__ of the class's own.


def test_a_class_may_have_an_init_method_of_pythons_too_that_runs_in_the_callers_thread() -> None:
    class Own(g.GenServer[Any]):
        def __init__(self, size: int = 3) -> None:
            super().__init__()
            self.size, self.thread = size, threading.get_ident()

        def init(self, init_arg: Any) -> Ok[Any]:
            return Ok((self.size, self.thread, self.pid, init_arg))

    with Own.start("argument") as server:
        assert server.get_state() == (3, threading.get_ident(), server, "argument")


def _nothing(self: Any) -> None:
    """Do not call ``super().__init__()``."""


def _pid_first(self: Any) -> None:
    self.own = self.pid
    super(type(self), self).__init__()


@pytest.mark.parametrize("method", [_nothing, _pid_first])
@pytest.mark.parametrize("base", [g.GenServer, g.GenNostr, Supervisor, DynamicSupervisor, Registry])
def test_one_that_forgets_super_is_a_type_error_that_says_so(base: Any, method: Any) -> None:
    cls: Any = type("Forgetful", (base,), {"__init__": method})
    for start in (cls.start, cls.start_link):
        with pytest.raises(TypeError, match=r"^Forgetful.__init__ must call super\(\).__init__\(\) first. Or .* init"):
            start(name="free")
    assert g.whereis("free") is None


@pytest.mark.parametrize("base", [g.GenServer, g.GenNostr, Supervisor, DynamicSupervisor, Registry])
def test_one_that_takes_arguments_is_a_type_error_that_says_where_they_go(base: Any) -> None:
    def own(self: Any, urls: Any) -> None:
        raise NotImplementedError

    cls: Any = type("Greedy", (base,), {"__init__": own})
    for start in (cls.start, cls.start_link):
        with pytest.raises(TypeError, match=r"^Greedy.__init__ is called without arguments: .*'urls'. .* init\("):
            start(name="free")
    assert g.whereis("free") is None


def test_what_it_raises_otherwise_is_raised_by_start() -> None:
    for error in (TypeError("own"), AttributeError("own"), AttributeError("own", name="own", obj=3), ValueError("own")):
        cls: Any = type("Raising", (Driven,), {"__init__": lambda self, error=error: fail(error)})
        with pytest.raises(type(error), match=r"^own$"):
            cls.start()


def test_a_supervisor_names_the_mistake_as_the_reason_of_its_childs_failure() -> None:
    child: Any = type("Forgetful", (g.GenServer,), {"__init__": _nothing})
    with pytest.raises(g.StartError, match=r"Forgetful.__init__ must call super\(\).__init__\(\) first"):
        Supervisor.start([child])
