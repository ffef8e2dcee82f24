"""Supervisor: starting, stopping and restarting children, giving up, and requests meanwhile."""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

import gennostr as g
from gennostr import (
    IGNORE,
    KILL,
    KILLED,
    NOPROC,
    NORMAL,
    SHUTDOWN,
    TIMEOUT,
    ChildSpec,
    Ok,
    Reply,
    Shutdown,
    Stop,
    Supervisor,
)
from gennostr.otp.process import ABANDONED_AFTER
from gennostr.testing.manual_clock import ManualClock
from tests.otp.actors import (
    DEADLINE,
    END_IDS,
    ENDS,
    FAILED_STARTS,
    FATAL,
    UNCLEAN,
    Driven,
    Gate,
    Log,
    Trapping,
    Unshowable,
    about,
    crash,
    crash_reports,
    ended_by,
    ending,
    errors,
    fail,
    fits,
    link,
    log_of,
    meanwhile,
    member,
    outcome_of,
    pid_of,
    pids_of,
    refusing,
    settled,
    started,
    threads_left,
    until,
    watching,
    within,
)

STRATEGIES = ("one_for_one", "rest_for_one", "one_for_all")


@pytest.fixture
def clock() -> Iterator[ManualClock]:
    with ManualClock() as manual:
        yield manual


def slow(gate: Gate, id_: Any = "slow", **fields: Any) -> ChildSpec:
    """Describe a child whose init waits."""
    return ChildSpec(id_, partial(Driven.start_link, lambda self: gate.wait(Ok())), **fields)


def victims(strategy: str, culprit: int, size: int) -> list[int]:
    """Return which children are restarted when `culprit` crashes."""
    match strategy:
        case "one_for_one":
            return [culprit]
        case "rest_for_one":
            return list(range(culprit, size))
        case _:
            return list(range(size))


# Starting.


def test_children_start_in_order_and_stop_in_exact_reverse_with_shutdown() -> None:
    story = Log()
    with Supervisor.start([member(number, story) for number in range(3)]):
        assert story.now() == [(0, "start"), (1, "start"), (2, "start")]
    assert story.now() == [(2, SHUTDOWN), (1, SHUTDOWN), (0, SHUTDOWN)]


def test_a_child_starts_when_the_one_before_it_has_started() -> None:
    story = Log()
    with Gate() as gate:
        children = [member(0, story), slow(gate), member(2, story)]
        with meanwhile(lambda: Supervisor.start(children)) as outcome:
            gate.reached()
            assert story.now() == [(0, "start")]
            gate.open()
            with outcome() as supervisor:
                assert story.now() == [(2, "start")]
                assert list(pids_of(supervisor)) == [0, "slow", 2]


def test_a_supervisor_without_children_runs() -> None:
    with Supervisor.start() as supervisor:
        assert supervisor.which_children() == []
        counts = supervisor.count_children()
        assert (counts.specs, counts.active, counts.supervisors, counts.workers) == (0, 0, 0, 0)


@pytest.mark.parametrize(("start", "expected"), FAILED_STARTS.values(), ids=FAILED_STARTS)
def test_a_child_that_fails_at_init_stops_those_before_it_in_reverse_and_the_rest_never_start(
    start: Any, expected: Any
) -> None:
    story = Log()
    threads = set(threading.enumerate())
    children = [member(0, story), member(1, story), ChildSpec(2, start), member(3, story)]
    with pytest.raises(g.StartError) as caught:
        Supervisor.start(children, name="failing")
    reason = caught.value.reason
    assert isinstance(reason, Shutdown)
    failed = reason.reason
    assert isinstance(failed, g.FailedToStartChild)
    assert failed.id == 2
    assert fits(failed.reason, expected)
    assert story.now() == [(0, "start"), (1, "start"), (1, SHUTDOWN), (0, SHUTDOWN)]
    assert g.whereis("failing") is None
    until(lambda: set(threading.enumerate()) <= threads)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_wherever_the_child_stands_that_fails_at_init(place: int) -> None:
    story = Log()
    children = [member(number, story, [Stop("no")] if number == place else []) for number in range(3)]
    with pytest.raises(g.StartError) as caught:
        Supervisor.start(children)
    assert caught.value.reason.reason.id == place  # type: ignore[attr-defined]
    before = range(place)
    assert story.now() == [
        *((number, "start") for number in [*before, place]),
        *((number, SHUTDOWN) for number in reversed(before)),
    ]


def test_a_child_whose_start_takes_too_long_fails() -> None:
    story = Log()
    with Gate() as gate:
        late = ChildSpec("late", partial(Driven.start_link, lambda self: gate.wait(), timeout=0.02))
        with pytest.raises(g.StartError) as caught:
            Supervisor.start([member(0, story), late])
        assert caught.value.reason.reason.reason is TIMEOUT  # type: ignore[attr-defined]
        assert story.now() == [(0, "start"), (0, SHUTDOWN)]


def test_a_child_whose_name_is_taken_fails_with_already_started() -> None:
    with Driven.start(name="taken") as server:
        with pytest.raises(g.StartError) as caught:
            Supervisor.start([ChildSpec(0, partial(Driven.start_link, name="taken"))])
        error = caught.value.reason.reason.reason  # type: ignore[attr-defined]
        assert isinstance(error, g.AlreadyStarted)
        assert error.pid is server
        assert server.is_alive()


def test_a_supervisor_whose_child_fails_is_an_exit_to_the_parent_that_links() -> None:
    def start() -> Any:
        return Supervisor.start_link([member(0, Log(), [Stop("no")])])

    with Trapping.start() as parent:
        log = log_of(parent)
        error = within(parent, lambda self: outcome_of(start))
        assert isinstance(error, g.StartError)
        assert log.next().reason is error.reason
    plain = Driven.start()
    with watching(plain) as reason:
        plain.cast(lambda self, state: start())
        ended = reason()
    assert isinstance(ended, Shutdown)
    assert isinstance(ended.reason, g.FailedToStartChild)


def test_a_child_that_crashes_while_another_starts_is_restarted_afterwards() -> None:
    story = Log()
    with Gate() as gate:
        pids = Log()
        first = member(0, story)

        def begin() -> Any:
            pid = first.start()
            pids.put(pid)
            return pid

        children = [ChildSpec(0, begin), slow(gate)]
        with meanwhile(lambda: Supervisor.start(children)) as outcome:
            gate.reached()
            one = pids.next()
            crash(one)
            gate.open()
            with outcome() as supervisor:
                assert pid_of(supervisor, 0) is pids.next()
        assert started(story) == [0, 0]


def test_a_supervisor_that_is_killed_while_it_starts_takes_those_with_it_that_have_started() -> None:
    story = Log()
    with Gate() as gate:
        children = [member(0, story), slow(gate), member(2, story)]
        with meanwhile(lambda: Supervisor.start(children, name="early")) as outcome:
            gate.reached()
            supervisor = g.whereis("early")
            assert supervisor is not None
            supervisor.exit(KILL)
            error = outcome()
            assert isinstance(error, g.StartError)
            assert error.reason is KILLED
            assert story.next() == (0, "start")
            assert story.next() == (0, KILLED)
    assert story.now() == []


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
def test_a_child_that_ignores_is_kept_without_a_pid_unless_temporary(restart: Any) -> None:
    story = Log()
    children = [member(0, story), member(1, story, [IGNORE], restart=restart), member(2, story)]
    with Supervisor.start(children) as supervisor:
        assert started(story) == [0, 1, 2]
        pids = pids_of(supervisor)
        kept = [0, 2] if restart == "temporary" else [0, 1, 2]
        assert list(pids) == kept
        assert pids.get(1) is None
        counts = supervisor.count_children()
        assert (counts.specs, counts.active, counts.supervisors, counts.workers) == (len(kept), 2, 0, len(kept))
    assert story.now() == [(2, SHUTDOWN), (0, SHUTDOWN)]


def test_a_child_is_linked_even_if_its_start_did_not_link_it() -> None:
    with Supervisor.start([ChildSpec(0, Driven.start)]) as supervisor:
        first = pid_of(supervisor, 0)
        crash(first)
        second = pid_of(supervisor, 0)
        assert second is not first
        with watching(second) as reason:
            supervisor.exit(KILL)
            assert reason() is KILLED


@pytest.mark.parametrize("link_it", [True, False])
def test_a_child_that_is_dead_when_its_start_returns_is_restarted_once(*, link_it: bool) -> None:
    starts = Log()

    def start() -> Any:
        pid = (Driven.start_link if link_it else Driven.start)()
        starts.put(pid)
        if starts.qsize() == 1:
            pid.exit("stillborn")
            with watching(pid) as reason:
                reason()
        return pid

    with Supervisor.start([ChildSpec(0, start)], max_restarts=1) as supervisor:
        assert pid_of(supervisor, 0) is starts.now()[-1]
        assert pid_of(supervisor, 0).is_alive()


def test_a_class_is_started_and_restarted_as_a_child_itself() -> None:
    story = Log()

    class App(Supervisor):
        def init(self, init_arg: Any) -> Any:
            return self.children([member("inner", init_arg)], strategy="rest_for_one")

    with Supervisor.start([(App, story)]) as top:
        inner = pid_of(top, App)
        assert story.now() == [("inner", "start")]
        crash(inner, KILL)
        assert pid_of(top, App) is not inner
        assert {story.next(), story.next()} == {("inner", KILLED), ("inner", "start")}
        assert top.which_children()[0].type == "supervisor"
    assert story.now() == [("inner", SHUTDOWN)]


# What it reports.


def test_which_children_is_newest_first_and_tells_id_pid_type_and_start() -> None:
    story = Log()
    inner = ChildSpec("inner", partial(Supervisor.start_link, []), type="supervisor")
    children = [member(0, story), inner, member(1, story, [IGNORE])]
    with Supervisor.start(children) as supervisor:
        added = member("added", story)
        pid = supervisor.start_child(added)
        infos = supervisor.which_children()
        assert [info.id for info in infos] == ["added", 1, "inner", 0]
        assert [info.type for info in infos] == ["worker", "worker", "supervisor", "worker"]
        assert [info.start for info in infos] == [added.start, *(spec.start for spec in reversed(children))]
        assert infos[0].pid is pid
        assert infos[1].pid is None
        assert all(isinstance(info.pid, g.Pid) for info in infos[2:])


def test_count_children_counts_specs_active_supervisors_and_workers() -> None:
    story = Log()
    inner = ChildSpec("inner", partial(Supervisor.start_link, []), type="supervisor")

    def counts() -> tuple[int, int, int, int]:
        found = supervisor.count_children()
        return found.specs, found.active, found.supervisors, found.workers

    with Supervisor.start([member(0, story), inner, member(1, story, [IGNORE])]) as supervisor:
        assert counts() == (3, 2, 1, 2)
        supervisor.terminate_child("inner")
        assert counts() == (3, 1, 1, 2)
        supervisor.delete_child("inner")
        assert counts() == (2, 1, 0, 2)
        supervisor.start_child(member("temporary", story, restart="temporary"))
        assert counts() == (3, 2, 0, 3)
        crash(pid_of(supervisor, "temporary"))
        assert counts() == (2, 1, 0, 2)


# Stopping: each its shutdown time, and then killed.


def test_a_child_stops_when_the_one_after_it_is_down() -> None:
    story = Log()
    with Gate() as gate:
        supervisor = Supervisor.start([member(0, story), ending(1, story, lambda self: gate.wait())])
        first = pid_of(supervisor, 0)
        with meanwhile(supervisor.stop) as outcome:
            gate.reached()
            assert within(first, lambda self: None) is None  # it lives, and has no exit in its mailbox
            assert story.now() == [(0, "start"), (1, "start"), (1, SHUTDOWN)]
            gate.open()
            assert outcome() is True
    assert story.now() == [(0, SHUTDOWN)]


def test_a_child_that_does_not_stop_in_its_shutdown_time_is_killed() -> None:
    story = Log()
    with Gate() as gate:
        supervisor = Supervisor.start([member(0, story), ending(1, story, lambda self: gate.wait(), shutdown=0.2)])
        with watching(pid_of(supervisor, 1)) as reason:
            supervisor.stop()
            assert reason() is KILLED
        gate.open()
    assert story.now() == [(0, "start"), (1, "start"), (1, SHUTDOWN), (0, SHUTDOWN)]


def test_a_child_that_is_in_a_callback_when_its_shutdown_time_is_over_is_killed_and_its_caller_told() -> None:
    story = Log()
    with Gate() as gate:
        supervisor = Supervisor.start([member("stuck", story, shutdown=0.05)])
        child = pid_of(supervisor, "stuck")
        with meanwhile(lambda: child.call(lambda self, from_, state: gate.wait(), None)) as outcome:
            gate.reached()
            supervisor.stop(timeout=DEADLINE)
            assert child.process.reason is KILLED
            error = outcome()
            assert isinstance(error, g.CallExit)
            assert error.reason is KILLED
    assert story.now() == [("stuck", "start")]  # no terminate


def test_each_child_has_a_shutdown_time_of_its_own() -> None:
    story = Log()
    with Gate() as gate:
        fields: dict[str, Any] = {"shutdown": 0.2}
        supervisor = Supervisor.start([ending(number, story, lambda self: gate.wait(), **fields) for number in (0, 1)])
        began = time.monotonic()
        supervisor.stop()
        assert time.monotonic() - began >= 0.4  # one after another
        gate.open()
    assert story.now()[2:] == [(1, SHUTDOWN), (0, SHUTDOWN)]


def test_a_stop_returns_within_200_ms_of_the_shutdown_time_though_the_child_never_ends_its_callback() -> None:
    took = []
    for _ in range(5):  # the machine may be busy: at least one must be in time
        with Gate() as gate:
            supervisor = Supervisor.start([ending(0, Log(), gate.wait, shutdown=0.1)])
            began = time.monotonic()
            supervisor.stop()
            took.append(time.monotonic() - began)
        if took[-1] <= 0.3:
            break
    assert min(took) >= 0.1
    assert min(took) <= 0.3


def test_a_shutdown_time_of_0_kills_who_is_not_down_at_once() -> None:
    with Gate() as gate:
        supervisor = Supervisor.start([ending(0, Log(), lambda self: gate.wait(), shutdown=0)])
        with watching(pid_of(supervisor, 0)) as reason:
            supervisor.stop()
            assert reason() is KILLED


def test_a_brutal_kill_gives_no_time() -> None:
    story = Log()
    supervisor = Supervisor.start([member(0, story, shutdown="brutal_kill")])
    with watching(pid_of(supervisor, 0)) as reason:
        supervisor.stop()
        assert reason() is KILLED
    assert story.now() == [(0, "start")]


def test_terminate_child_and_a_siblings_restart_kill_brutally_too() -> None:
    story = Log()
    children = [member(0, story), member(1, story, shutdown="brutal_kill")]
    with Supervisor.start(children, strategy="one_for_all") as supervisor:
        for end in (lambda: supervisor.terminate_child(1), lambda: crash(pid_of(supervisor, 0))):
            with watching(pid_of(supervisor, 1)) as reason:
                end()  # type: ignore[no-untyped-call]
                assert reason() is KILLED
            if pid_of(supervisor, 1) is None:
                supervisor.restart_child(1)
    assert (1, SHUTDOWN) not in story.now()


def test_a_shutdown_time_without_end_waits_until_the_child_is_down() -> None:
    story = Log()
    with Gate() as gate:
        supervisor = Supervisor.start([ending(0, story, lambda self: gate.wait(), shutdown=math.inf)])
        child = pid_of(supervisor, 0)
        with watching(child) as reason, meanwhile(supervisor.stop) as outcome:
            gate.reached()
            with pytest.raises(g.CallTimeout):
                supervisor.stop(timeout=0.05)
            assert child.is_alive()
            gate.open()
            assert outcome() is True
            assert reason() is SHUTDOWN


def test_a_child_that_does_not_trap_exits_stops_without_terminate() -> None:
    log = Log()

    class Plain(Driven):
        def terminate(self, reason: Any, state: Any) -> None:
            log.put(reason)

    supervisor = Supervisor.start([Plain])
    with watching(pid_of(supervisor, Plain)) as reason:
        supervisor.stop()
        assert reason() is SHUTDOWN
    assert log.now() == []


def test_a_child_that_is_killed_for_its_shutdown_time_is_counted_and_logged_once(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    with Driven.start() as bystander, Gate() as gate:
        supervisor = Supervisor.start([member(0, Log(), shutdown=0)])
        child = pid_of(supervisor, 0)
        child.cast(lambda self, state: gate.wait())
        gate.reached()
        supervisor.stop()
        assert g.abandoned() == 1
        (record,) = about(caplog, repr(child))
        assert record.levelno == logging.WARNING
        assert "shutdown time" in record.getMessage()
        clock.advance(ABANDONED_AFTER)
        _, record = about(caplog, repr(child))
        assert "still running a callback" in record.getMessage()
        clock.advance(10**6)
        gate.open()
        until(lambda: threads_left(bystander) == 0)
        assert len(about(caplog, repr(child))) == 2


def test_what_the_abandoned_thread_of_a_killed_child_does_later_has_no_effect() -> None:
    outcomes = Log()
    with Trapping.start() as receiver, g.Registry.start() as registry, Gate() as gate:

        def late(self: Any) -> None:
            gate.wait()
            for effect in (
                lambda: g.send(receiver, "late"),
                lambda: registry.register("late"),
                lambda: g.link(receiver),
                lambda: Driven.start(name="late"),
                lambda: receiver.call(lambda self, from_, state: g.Reply("late")),
            ):
                outcomes.put(outcome_of(effect))
            fail(ValueError("late"))

        supervisor = Supervisor.start([ending(0, Log(), late, shutdown=0.2)])
        supervisor.terminate_child(0)
        second = supervisor.restart_child(0)  # the replacement runs while the thread is there
        assert g.abandoned() == 1
        assert second.is_alive()
        supervisor.suspend()  # or it could start a third before it is killed, which would run `late` while it lives
        second.exit(KILL)
        supervisor.exit(KILL)
        gate.open()
        until(lambda: threads_left(receiver) == 0)
        assert outcomes.next() is None
        assert [type(outcome) for outcome in outcomes.now()] == [g.CallExit] * 4
        assert log_of(receiver).now() == []
        assert registry.count() == 0
        assert g.whereis("late") is None


def test_a_replacement_runs_while_the_thread_of_the_killed_victim_is_still_in_its_callback() -> None:
    story = Log()
    with Driven.start() as bystander, Gate() as gate:
        stuck = [gate.wait]  # the first of them only
        children = [member(0, story), ending(1, story, lambda self: stuck and stuck.pop()(), shutdown=0.2)]
        with Supervisor.start(children, strategy="one_for_all") as supervisor:
            before = pids_of(supervisor)
            crash(before[0])
            after = pids_of(supervisor)
            assert g.abandoned() == 1
            assert not before[1].is_alive()
            assert within(after[1], lambda self: "runs") == "runs"
            gate.open()
            until(lambda: threads_left(bystander) == 0)
            assert pids_of(supervisor) == after


STRANGE_ENDS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "a crash": (lambda self: fail(ValueError("in terminate")), ValueError),
    "SystemExit": (lambda self: fail(SystemExit()), SystemExit),
    "a kill of itself": (lambda self: self.pid.exit(KILL), KILLED),
}


@pytest.mark.parametrize(("end", "expected"), STRANGE_ENDS.values(), ids=STRANGE_ENDS)
def test_a_child_that_exits_for_another_reason_at_shutdown_is_logged_and_the_others_stop_as_ever(
    end: Any, expected: Any, caplog: pytest.LogCaptureFixture
) -> None:
    story = Log()
    supervisor = Supervisor.start([member(0, story), ending(1, story, end), member(2, story)])
    child = pid_of(supervisor, 1)
    with watching(child) as reason, watching(supervisor) as supervisors:
        supervisor.stop()
        ended = reason()
        assert fits(ended, expected)
        assert supervisors() is NORMAL
    assert story.now()[3:] == [(2, SHUTDOWN), (1, SHUTDOWN), (0, SHUTDOWN)]
    records = about(caplog, repr(supervisor), repr(child), repr(ended))
    assert records
    assert all(record.name.startswith("gennostr.") for record in records)
    assert all(record.levelno >= logging.WARNING for record in records)


@pytest.mark.parametrize("how", ["stop", "terminate_child"])
def test_a_child_that_exits_as_it_was_told_is_not_logged(how: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "gennostr")
    supervisor = Supervisor.start([member(0, Log()), Driven, member(2, Log(), shutdown="brutal_kill")])
    if how == "terminate_child":
        for id_ in (0, Driven, 2):
            supervisor.terminate_child(id_)
    supervisor.stop()
    assert caplog.records == []


def test_a_child_that_has_unlinked_itself_is_stopped_all_the_same() -> None:
    story = Log()
    with Supervisor.start([member(0, story), member(1, story), member(2, story)]) as supervisor:
        pids = pids_of(supervisor)
        for pid in pids.values():
            within(pid, lambda self: g.unlink(supervisor))
        supervisor.terminate_child(0)
        assert not pids[0].is_alive()
        assert pid_of(supervisor, 0) is None
        with watching(pids[1]) as reason:  # unlinked, its end is no news to the supervisor
            pids[1].stop("crash")
            assert reason() == "crash"
        supervisor.terminate_child(1)
        assert pid_of(supervisor, 1) is None
    assert not pids[2].is_alive()
    assert story.now()[3:] == [(0, SHUTDOWN), (1, "crash"), (2, SHUTDOWN)]


def test_a_child_that_has_unlinked_itself_and_does_not_stop_is_killed_after_its_shutdown_time() -> None:
    with Gate() as gate:
        supervisor = Supervisor.start([ending(0, Log(), lambda self: gate.wait(), shutdown=0.2)])
        child = pid_of(supervisor, 0)
        within(child, lambda self: g.unlink(supervisor))
        supervisor.stop()
        assert child.process.reason is KILLED


def test_a_child_that_asks_its_supervisor_while_it_is_stopped_by_it_is_killed_after_its_shutdown_time() -> None:
    story = Log()
    asking = ending(1, story, lambda self: supervisor.which_children(), shutdown=0.2)
    supervisor = Supervisor.start([member(0, story), asking])
    with watching(pid_of(supervisor, 1)) as reason:
        supervisor.stop()
        assert reason() is KILLED
    assert story.now()[2:] == [(1, SHUTDOWN), (0, SHUTDOWN)]


# Restarts: which ends are followed by one.


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
@pytest.mark.parametrize(("end", "clean"), ENDS, ids=END_IDS)
def test_a_permanent_child_is_always_restarted_a_transient_one_after_an_unclean_end_and_a_temporary_one_never(
    end: Any, clean: Any, restart: Any
) -> None:
    story = Log()
    with Supervisor.start([member(0, story, restart=restart)]) as supervisor:
        first = pid_of(supervisor, 0)
        ended_by(first, end)
        children = pids_of(supervisor)
        match restart, clean:
            case "temporary", _:
                assert children == {}
            case "transient", True:
                assert children == {0: None}
            case _:
                assert children[0] is not first
                assert children[0].is_alive()
        assert len(started(story)) == (2 if children.get(0) else 1)


CLEAN_REASONS: list[Any] = [NORMAL, SHUTDOWN, Shutdown("x"), Shutdown(None), Shutdown(ValueError()), Shutdown(KILLED)]
UNCLEAN_REASONS: list[Any] = [
    KILL, KILLED, NOPROC, TIMEOUT, IGNORE, None, 0, True, "normal", "NORMAL", "shutdown", ("shutdown", "x"),
    Shutdown, ValueError("x"), SystemExit(0), g.StartError(NORMAL), g.CallExit(NORMAL),
]  # fmt: skip


def test_clean_reasons_are_normal_shutdown_and_shutdown_with_a_reason_and_no_others() -> None:
    assert [reason for reason in CLEAN_REASONS if g.is_clean(reason) is not True] == []
    assert [reason for reason in UNCLEAN_REASONS if g.is_clean(reason) is not False] == []


@pytest.mark.parametrize("reason", [*CLEAN_REASONS, *UNCLEAN_REASONS], ids=repr)
def test_what_is_clean_decides_whether_a_transient_child_comes_back(reason: Any) -> None:
    with Supervisor.start([member(0, Log(), restart="transient")]) as supervisor:
        first = pid_of(supervisor, 0)
        assert ended_by(first, lambda pid: pid.stop(reason)) is reason
        second = pid_of(supervisor, 0)
        assert (second is None) == g.is_clean(reason)
        assert second is None or (second is not first and second.is_alive())


@pytest.mark.parametrize(("restart", "comes_back"), [("permanent", True), ("transient", True), ("temporary", False)])
@pytest.mark.parametrize("reason", ["signal", KILLED, ValueError("signal")], ids=repr)
def test_an_exit_signal_to_a_child_that_does_not_trap_is_an_unclean_end(
    reason: Any, restart: Any, comes_back: Any
) -> None:
    with Supervisor.start([ChildSpec(0, Driven.start_link, restart=restart)]) as supervisor:
        first = pid_of(supervisor, 0)
        assert ended_by(first, lambda pid: pid.exit(reason)) == reason
        assert (pids_of(supervisor) != {}) == comes_back
        assert pids_of(supervisor).get(0) is not first


def test_a_shutdown_signal_to_a_transient_child_is_a_clean_end() -> None:
    with Supervisor.start([ChildSpec(0, Driven.start_link, restart="transient")]) as supervisor:
        ended_by(pid_of(supervisor, 0), lambda pid: pid.exit(SHUTDOWN))
        assert pids_of(supervisor) == {0: None}


def test_a_child_whose_terminate_crashes_after_a_clean_stop_has_an_unclean_end() -> None:
    broken = ending(0, Log(), lambda self: fail(ValueError()), restart="transient")
    supervisor = Supervisor.start([broken])
    first = pid_of(supervisor, 0)
    assert isinstance(ended_by(first, lambda pid: pid.cast(lambda self, state: Stop(NORMAL))), ValueError)
    assert pid_of(supervisor, 0) is not first
    assert pid_of(supervisor, 0).is_alive()
    supervisor.stop()


def test_a_restarted_child_has_its_name_again() -> None:
    children = [ChildSpec(0, partial(Driven.start_link, name="mine"))]
    with Supervisor.start(children, max_restarts=10**6) as supervisor:
        for end in UNCLEAN.values():
            first = g.whereis("mine")
            assert first is not None
            ended_by(first, end)
            assert pid_of(supervisor, 0) is g.whereis("mine")
            assert pid_of(supervisor, 0) is not first


def test_a_restart_that_ignores_keeps_the_child_without_a_pid() -> None:
    story = Log()
    with Supervisor.start([member(0, story, [Ok(), IGNORE]), member(1, story)]) as supervisor:
        crash(pid_of(supervisor, 0))
        assert pid_of(supervisor, 0) is None
        assert supervisor.restart_child(0) is pid_of(supervisor, 0)
        assert started(story) == [0, 1, 0, 0]


def test_a_restart_is_logged_with_supervisor_child_pid_and_reason(caplog: pytest.LogCaptureFixture) -> None:
    with Supervisor.start([member("mine", Log())], name="boss") as supervisor:
        first = pid_of(supervisor, "mine")
        crash(first, "the cause")
        supervisor.count_children()
        (record,) = about(caplog, "restarts", repr(supervisor), "'mine'", repr(first), "'the cause'")
        assert record.name.startswith("gennostr.")


# Restarts: what a strategy does to the siblings.


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("culprit", [0, 1, 2])
def test_a_strategy_stops_its_victims_in_reverse_and_starts_them_in_order(strategy: Any, culprit: int) -> None:
    story = Log()
    with Supervisor.start([member(number, story) for number in range(3)], strategy=strategy) as supervisor:
        story.now()
        before = pids_of(supervisor)
        crash(before[culprit])
        after = pids_of(supervisor)
        stricken = victims(strategy, culprit, 3)
        assert story.now() == [
            (culprit, "crash"),
            *((number, SHUTDOWN) for number in reversed(stricken) if number != culprit),
            *((number, "start") for number in stricken),
        ]
        assert [number for number in before if after[number] is not before[number]] == stricken
        assert all(pid.is_alive() for pid in after.values())
    assert story.now() == [(2, SHUTDOWN), (1, SHUTDOWN), (0, SHUTDOWN)]  # in the order that they had


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(("restart", "reason"), [("temporary", "crash"), ("transient", NORMAL)], ids=str)
def test_a_temporary_childs_crash_and_a_transients_clean_end_touch_no_sibling(
    strategy: Any, restart: Any, reason: Any
) -> None:
    story = Log()
    children = [member(0, story), member(1, story, restart=restart), member(2, story)]
    with Supervisor.start(children, strategy=strategy) as supervisor:
        story.now()
        crash(pid_of(supervisor, 1), reason)
        supervisor.which_children()
        assert story.now() == [(1, reason)]


@pytest.mark.parametrize(("strategy", "left"), [("one_for_all", [1]), ("rest_for_one", [0, 1])])
def test_temporary_victims_are_stopped_and_dropped(strategy: Any, left: list[int]) -> None:
    story = Log()
    children = [
        member(0, story, restart="temporary"),
        member(1, story),
        member(2, story, restart="temporary"),
    ]
    with Supervisor.start(children, strategy=strategy) as supervisor:
        story.now()
        crash(pid_of(supervisor, 1))
        assert list(pids_of(supervisor)) == left
        assert story.now() == [
            (1, "crash"),
            (2, SHUTDOWN),
            *([(0, SHUTDOWN)] if 0 not in left else []),
            (1, "start"),
        ]
        assert supervisor.start_child(member(2, story)) is pid_of(supervisor, 2)  # its id is free


@pytest.mark.parametrize("end", ["ended", "terminated", "ignored"])
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("place", [0, 2])
def test_siblings_that_had_ended_are_revived_with_the_victims(strategy: Any, place: int, end: str) -> None:
    story = Log()
    first = [IGNORE] if end == "ignored" else []
    children = [member(0, story), member(1, story), member(2, story)]
    children[place] = member(place, story, first, restart="transient")
    with Supervisor.start(children, strategy=strategy) as supervisor:
        match end:
            case "ended":
                crash(pid_of(supervisor, place), NORMAL)
            case "terminated":
                supervisor.terminate_child(place)
        assert pid_of(supervisor, place) is None
        crash(pid_of(supervisor, 1))
        assert (pid_of(supervisor, place) is not None) == (place in victims(strategy, 1, 3))


def test_a_sibling_that_ignores_at_a_restart_is_kept_without_a_pid_until_the_next() -> None:
    story = Log()
    children = [member(0, story), member(1, story, [Ok(), IGNORE]), member(2, story)]
    with Supervisor.start(children, strategy="one_for_all") as supervisor:
        crash(pid_of(supervisor, 0))
        pids = pids_of(supervisor)
        assert pids[1] is None
        assert pids[0].is_alive()
        assert pids[2].is_alive()
        story.now()
        crash(pids[2])
        assert all(pid.is_alive() for pid in pids_of(supervisor).values())
        assert story.now() == [(2, "crash"), (0, SHUTDOWN), (0, "start"), (1, "start"), (2, "start")]


@pytest.mark.parametrize("end", [end for end, _ in STRANGE_ENDS.values()], ids=STRANGE_ENDS)
@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_a_sibling_that_dies_while_it_is_stopped_for_a_restart_is_started_with_it_and_counts_no_more(
    strategy: Any, end: Any
) -> None:
    story = Log()
    ends: list[Any] = [end]  # the next time, it stops as it should
    children = [member(0, story), ending(1, story, lambda self: ends and ends.pop()(self)), member(2, story)]
    with Supervisor.start(children, strategy=strategy, max_restarts=1) as supervisor:
        story.now()
        before = pids_of(supervisor)
        crash(before[0])
        after = pids_of(supervisor)
        assert all(pid.is_alive() for pid in after.values())
        assert set(after.values()).isdisjoint(before.values())
        assert story.now() == [
            (0, "crash"), (2, SHUTDOWN), (1, SHUTDOWN), (0, "start"), (1, "start"), (2, "start"),
        ]  # fmt: skip
        supervisor.count_children()
        assert supervisor.is_alive()


@pytest.mark.parametrize(("strategy", "restarts"), [("one_for_all", 1), ("rest_for_one", 1), ("one_for_one", 2)])
def test_a_sibling_that_is_dead_already_when_it_is_stopped_for_a_restart_counts_no_more(
    strategy: Any, restarts: int
) -> None:
    story = Log()
    children = [member(0, story), member(1, story)]
    for allowed in (restarts, restarts - 1):
        supervisor = Supervisor.start(children, strategy=strategy, max_restarts=allowed)
        with watching(supervisor) as reason:
            supervisor.suspend()  # both deaths wait for it together
            for pid in pids_of_suspended(supervisor):
                crash(pid)
            supervisor.resume()
            if allowed < restarts:
                assert reason() is SHUTDOWN
            else:
                assert all(pid.is_alive() for pid in pids_of(supervisor).values())
                supervisor.stop()


def pids_of_suspended(supervisor: Any) -> list[g.Pid]:
    """Return the children's pids, in starting order, of a supervisor that answers nothing but this."""
    return [info.pid for info in reversed(supervisor.get_status().children)]


# How often.


@pytest.mark.parametrize("most", [0, 1, 3, 5])
def test_more_than_max_restarts_stop_the_children_in_reverse_and_the_supervisor_with_shutdown(most: int) -> None:
    story = Log()
    supervisor = Supervisor.start([member(number, story) for number in range(3)], max_restarts=most)
    with watching(supervisor) as reason:
        for _ in range(most):
            crash(pid_of(supervisor, 1))
            assert pid_of(supervisor, 1).is_alive()
        story.now()
        crash(pid_of(supervisor, 1))
        assert reason() is SHUTDOWN
    assert story.now() == [(1, "crash"), (2, SHUTDOWN), (0, SHUTDOWN)]


def test_restarts_of_all_children_count_together() -> None:
    supervisor = Supervisor.start([member(number, Log()) for number in range(4)], max_restarts=3)
    with watching(supervisor) as reason:
        for number in range(4):
            crash(pid_of(supervisor, number))
        assert reason() is SHUTDOWN


def test_an_end_that_is_not_followed_by_a_restart_does_not_count() -> None:
    children = [member(number, Log(), restart="temporary") for number in range(5)]
    with Supervisor.start([*children, member("one", Log(), restart="transient")], max_restarts=0) as supervisor:
        for number in range(5):
            crash(pid_of(supervisor, number))
        crash(pid_of(supervisor, "one"), NORMAL)
        assert pids_of(supervisor) == {"one": None}


def test_a_restart_by_request_does_not_count() -> None:
    with Supervisor.start([member(0, Log())], max_restarts=0) as supervisor:
        for _ in range(5):
            supervisor.terminate_child(0)
            supervisor.restart_child(0)
        assert pid_of(supervisor, 0).is_alive()


def test_a_supervisor_that_gives_up_says_why(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor.start([member("mine", Log())], max_restarts=0, max_seconds=7)
    child = pid_of(supervisor, "mine")
    with watching(supervisor) as reason:
        crash(child, "the cause")
        assert reason() is SHUTDOWN
    (record,) = about(caplog, "gives up", repr(supervisor), "0 restarts", "7 s", "'mine'", repr(child), "'the cause'")
    assert record.levelno == logging.ERROR


def test_a_restart_counts_for_max_seconds_and_not_longer(clock: ManualClock) -> None:
    supervisor = Supervisor.start([member(0, Log())], max_restarts=2, max_seconds=10)
    with watching(supervisor) as reason:
        for seconds in (6, 6, 6, 6):  # never more than two in ten seconds
            crash(pid_of(supervisor, 0))
            assert pid_of(supervisor, 0).is_alive()
            clock.advance(seconds)
        crash(pid_of(supervisor, 0))
        assert pid_of(supervisor, 0).is_alive()
        clock.advance(3)
        crash(pid_of(supervisor, 0))  # with those of 9 and 3 seconds ago
        assert reason() is SHUTDOWN


def test_a_restart_max_seconds_ago_still_counts(clock: ManualClock) -> None:
    supervisor = Supervisor.start([member(0, Log())], max_restarts=1, max_seconds=10)
    with watching(supervisor) as reason:
        crash(pid_of(supervisor, 0))
        assert pid_of(supervisor, 0).is_alive()
        clock.advance(10)
        crash(pid_of(supervisor, 0))
        assert reason() is SHUTDOWN


def test_the_default_intensity_is_3_restarts_in_5_seconds(clock: ManualClock) -> None:
    supervisor = Supervisor.start([member(0, Log())])
    with watching(supervisor) as reason:
        for seconds in (0, 0, 5.1, 0, 0, 5):
            crash(pid_of(supervisor, 0))
            assert pid_of(supervisor, 0).is_alive()
            clock.advance(seconds)
        crash(pid_of(supervisor, 0))
        assert reason() is SHUTDOWN


def test_with_max_seconds_without_end_no_restart_is_forgotten(clock: ManualClock) -> None:
    supervisor = Supervisor.start([member(0, Log())], max_restarts=1, max_seconds=math.inf)
    with watching(supervisor) as reason:
        crash(pid_of(supervisor, 0))
        assert pid_of(supervisor, 0).is_alive()
        clock.advance(10**9)
        crash(pid_of(supervisor, 0))
        assert reason() is SHUTDOWN


def test_restarts_outside_max_seconds_are_forgotten_by_the_machines_clock() -> None:
    with Supervisor.start([member(0, Log())], max_restarts=1, max_seconds=1e-6) as supervisor:
        for _ in range(5):
            crash(pid_of(supervisor, 0))
        assert pid_of(supervisor, 0).is_alive()


# Restarts that fail.


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("most", [0, 1, 3])
@pytest.mark.parametrize(
    "failure", [Stop("no"), Stop(NORMAL), Stop(SHUTDOWN), Stop(Shutdown("x")), 3], ids=["no", "n", "s", "s(x)", "value"]
)
def test_a_restart_that_fails_is_tried_again_and_each_try_counts(failure: Any, most: int, strategy: Any) -> None:
    story = Log()
    children = [member(0, story, [Ok(), *[failure] * 9])]
    supervisor = Supervisor.start(children, strategy=strategy, max_restarts=most)
    with watching(supervisor) as reason:
        crash(pid_of(supervisor, 0))
        assert reason() is SHUTDOWN
    assert started(story) == [0] * (1 + most)


@pytest.mark.parametrize("kind", [ValueError, *FATAL])
def test_whatever_a_restart_raises_it_is_tried_again(kind: type[BaseException]) -> None:
    tries = Log()
    spec = member(0, Log())

    def start() -> Any:
        tries.put("try")
        return fail(kind()) if 1 < tries.qsize() < 4 else spec.start()

    with Supervisor.start([ChildSpec(0, start)], max_restarts=3) as supervisor:
        crash(pid_of(supervisor, 0))
        assert settled(supervisor, 0).is_alive()
        assert len(tries.now()) == 4


def test_restarts_and_failed_tries_count_together() -> None:
    story = Log()
    children = [member(0, story, [Ok(), Ok(), *[Stop("no")] * 9]), member(1, story)]
    supervisor = Supervisor.start(children, max_restarts=3)
    with watching(supervisor) as reason:
        crash(pid_of(supervisor, 0))
        crash(pid_of(supervisor, 0))
        assert reason() is SHUTDOWN
    assert started(story) == [0, 1, 0, 0, 0]


def test_failed_tries_count_for_max_seconds_too(clock: ManualClock) -> None:
    """Within one moment of the clock, however long that takes, there are max_restarts tries."""
    story = Log()
    supervisor = Supervisor.start([member(0, story, refusing())], max_restarts=20, max_seconds=1e-6)
    with watching(supervisor) as reason:
        crash(pid_of(supervisor, 0))
        assert reason() is SHUTDOWN
    assert started(story) == [0] * 21


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_the_failed_restart_of_a_sibling_counts_too(strategy: Any) -> None:
    story = Log()
    children = [member(0, story), member(1, story, refusing())]
    supervisor = Supervisor.start(children, strategy=strategy, max_restarts=3)
    with watching(supervisor) as reason:
        crash(pid_of(supervisor, 0))
        assert reason() is SHUTDOWN
    whole = [0, 1]
    assert started(story) == [*whole, *(whole * 3 if strategy == "one_for_all" else [*whole, 1, 1])]


def test_one_for_all_first_stops_those_already_restarted_and_starts_over_when_a_restart_fails() -> None:
    story = Log()
    children = [member(0, story), member(1, story), member(2, story, [Ok(), Stop("no")]), member(3, story)]
    with Supervisor.start(children, strategy="one_for_all") as supervisor:
        story.now()
        crash(pid_of(supervisor, 0))
        settled(supervisor, 2)
        tried = [(0, "start"), (1, "start"), (2, "start")]
        assert story.now() == [
            (0, "crash"), (3, SHUTDOWN), (2, SHUTDOWN), (1, SHUTDOWN),
            *tried, (1, SHUTDOWN), (0, SHUTDOWN), *tried, (3, "start"),
        ]  # fmt: skip
        assert all(pid.is_alive() for pid in pids_of(supervisor).values())


def test_rest_for_one_keeps_those_already_restarted_and_retries_from_the_failing_child() -> None:
    story = Log()
    children = [member(0, story), member(1, story), member(2, story, [Ok(), Stop("no")]), member(3, story)]
    with Supervisor.start(children, strategy="rest_for_one") as supervisor:
        story.now()
        first = pid_of(supervisor, 0)
        crash(pid_of(supervisor, 1))
        settled(supervisor, 2)
        assert story.now() == [
            (1, "crash"), (3, SHUTDOWN), (2, SHUTDOWN),
            (1, "start"), (2, "start"), (2, "start"), (3, "start"),
        ]  # fmt: skip
        assert pid_of(supervisor, 0) is first


def test_a_child_whose_trouble_ends_while_it_is_tried_again_runs() -> None:
    outcomes = refusing()
    with Supervisor.start([member(0, Log(), outcomes)], max_restarts=10**9) as supervisor:
        crash(pid_of(supervisor, 0))
        assert pid_of(supervisor, 0) == "restarting"
        outcomes.clear()
        assert settled(supervisor, 0).is_alive()


def test_while_it_is_trying_the_supervisor_answers_its_other_requests() -> None:
    story = Log()
    children = [member(0, Log(), refusing()), member(1, story)]
    with Supervisor.start(children, max_restarts=10**9) as supervisor:
        crash(pid_of(supervisor, 0))
        assert pid_of(supervisor, 0) == "restarting"
        counts = supervisor.count_children()
        assert (counts.specs, counts.active, counts.supervisors, counts.workers) == (2, 1, 0, 2)
        assert supervisor.start_child(member(2, story)).is_alive()
        supervisor.terminate_child(1)
        supervisor.delete_child(1)
        first = pid_of(supervisor, 2)
        crash(first)  # that one is restarted meanwhile
        assert pid_of(supervisor, 2) is not first
        assert supervisor.get_status().status == "running"
        assert pids_of(supervisor) == {0: "restarting", 2: pid_of(supervisor, 2)}
    assert story.now()[-1] == (2, SHUTDOWN)


def test_a_child_under_restart_is_neither_restarted_nor_deleted_nor_started_by_request() -> None:
    with Supervisor.start([member(0, Log(), refusing())], max_restarts=10**9) as supervisor:
        crash(pid_of(supervisor, 0))
        for request in (supervisor.restart_child, supervisor.delete_child):
            with pytest.raises(g.ChildRestarting):
                request(0)
        with pytest.raises(g.AlreadyPresent):
            supervisor.start_child(member(0, Log()))
        assert pid_of(supervisor, 0) == "restarting"


def test_terminate_child_ends_the_tries_of_a_child_under_restart() -> None:
    story, outcomes = Log(), refusing()
    with Supervisor.start([member(0, story, outcomes)], max_restarts=10**9) as supervisor:
        crash(pid_of(supervisor, 0))
        supervisor.terminate_child(0)
        story.now()
        for _ in range(3):
            assert pid_of(supervisor, 0) is None
        assert story.now() == []
        outcomes.clear()
        assert supervisor.restart_child(0) is pid_of(supervisor, 0)
        supervisor.terminate_child(0)
        supervisor.delete_child(0)
        assert supervisor.which_children() == []


def test_siblings_that_come_after_a_child_under_restart_wait_without_a_pid() -> None:
    story, outcomes = Log(), refusing()
    children = [member(0, story), member(1, story, outcomes), member(2, story)]
    with Supervisor.start(children, strategy="rest_for_one", max_restarts=10**9) as supervisor:
        first = pid_of(supervisor, 0)
        crash(pid_of(supervisor, 1))
        assert pids_of(supervisor) == {0: first, 1: "restarting", 2: None}
        outcomes.clear()
        assert settled(supervisor, 1).is_alive()
        assert pid_of(supervisor, 2).is_alive()
        assert pid_of(supervisor, 0) is first


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_supervisor_can_be_stopped_while_it_is_trying(strategy: Any) -> None:
    story = Log()
    children = [member(0, story), member(1, story, refusing())]
    supervisor = Supervisor.start(children, strategy=strategy, max_restarts=10**9)
    crash(pid_of(supervisor, 1))
    with watching(supervisor) as reason:
        supervisor.stop()
        assert reason() is NORMAL
    assert story.now()[-1] == (0, SHUTDOWN)


def test_the_parents_exit_stops_a_supervisor_that_is_trying() -> None:
    story = Log()
    parent = Driven.start()
    start = partial(Supervisor.start_link, [member(0, story), member(1, Log(), refusing())], max_restarts=10**9)
    supervisor = within(parent, lambda self: start())
    crash(pid_of(supervisor, 1))
    with watching(supervisor) as reason:
        parent.exit("parental")
        assert reason() == "parental"
    assert story.now() == [(0, "start"), (0, SHUTDOWN)]


def test_a_supervisor_can_be_killed_while_it_is_trying() -> None:
    supervisor = Supervisor.start([member(0, Log(), refusing())], max_restarts=10**9)
    crash(pid_of(supervisor, 0))
    with watching(supervisor) as reason:
        supervisor.exit(KILL)
        assert reason() is KILLED


# Requests.


def test_start_child_starts_after_the_others_and_returns_the_pid() -> None:
    story = Log()
    with Supervisor.start([member(0, story)]) as supervisor:
        pid = supervisor.start_child(member(1, story))
        assert pid is pid_of(supervisor, 1)
        assert list(pids_of(supervisor)) == [0, 1]
    assert story.now() == [(0, "start"), (1, "start"), (1, SHUTDOWN), (0, SHUTDOWN)]


def test_start_child_refuses_an_id_that_is_taken() -> None:
    story = Log()
    with Supervisor.start([]) as supervisor:
        pid = supervisor.start_child(member(0, story))
        with pytest.raises(g.AlreadyStarted) as caught:
            supervisor.start_child(member(0, story))
        assert caught.value.pid is pid
        supervisor.terminate_child(0)
        with pytest.raises(g.AlreadyPresent):
            supervisor.start_child(member(0, story))
        supervisor.delete_child(0)
        supervisor.start_child(member(0, story))
        assert started(story) == [0, 0]


def test_an_added_child_is_restarted_as_the_others_are() -> None:
    with Supervisor.start([]) as supervisor:
        first = supervisor.start_child(member(0, Log()))
        crash(first)
        assert pid_of(supervisor, 0).is_alive()
        assert pid_of(supervisor, 0) is not first


@pytest.mark.parametrize(("start", "expected"), FAILED_STARTS.values(), ids=FAILED_STARTS)
def test_start_child_raises_the_childs_failure_and_does_not_keep_it(
    start: Any, expected: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with Supervisor.start([member(0, Log())], max_restarts=0) as supervisor:
        before = supervisor.which_children()
        with pytest.raises(g.StartError) as caught:
            supervisor.start_child(ChildSpec(1, start))
        assert fits(caught.value.reason, expected)
        assert supervisor.which_children() == before
        assert supervisor.start_child(member(1, Log())).is_alive()
    assert errors(caplog) == []
    assert about(caplog, "which is not its child") == []


def test_start_child_whose_name_is_taken_tells_by_whom() -> None:
    with Driven.start(name="taken") as server, Supervisor.start([]) as supervisor:
        with pytest.raises(g.AlreadyStarted) as caught:
            supervisor.start_child(ChildSpec(0, partial(Driven.start_link, name="taken")))
        assert caught.value.pid is server
        assert supervisor.which_children() == []


@pytest.mark.parametrize("restart", ["permanent", "transient"])
def test_start_child_and_restart_child_return_ignore_and_keep_the_child_without_a_pid(restart: Any) -> None:
    with Supervisor.start([]) as supervisor:
        assert supervisor.start_child(member(0, Log(), [IGNORE, IGNORE], restart=restart)) is IGNORE
        assert pids_of(supervisor) == {0: None}
        with pytest.raises(g.AlreadyPresent):
            supervisor.start_child(member(0, Log()))
        assert supervisor.restart_child(0) is IGNORE
        assert pids_of(supervisor) == {0: None}
        assert supervisor.restart_child(0) is pid_of(supervisor, 0)


def test_start_child_of_a_temporary_child_that_ignores_returns_ignore_and_does_not_keep_it() -> None:
    with Supervisor.start([]) as supervisor:
        assert supervisor.start_child(member(0, Log(), [IGNORE], restart="temporary")) is IGNORE
        assert supervisor.which_children() == []
        assert supervisor.start_child(member(0, Log())).is_alive()


def test_restart_child_starts_what_was_terminated_or_had_ended_in_its_old_place() -> None:
    story = Log()
    with Supervisor.start([member(0, story, restart="transient"), member(1, story)]) as supervisor:
        for end in (lambda: supervisor.terminate_child(0), lambda: crash(pid_of(supervisor, 0), NORMAL)):
            with pytest.raises(g.ChildRunning):
                supervisor.restart_child(0)
            first = pid_of(supervisor, 0)
            end()  # type: ignore[no-untyped-call]
            assert supervisor.restart_child(0) is pid_of(supervisor, 0)
            assert pid_of(supervisor, 0) is not first
        assert list(pids_of(supervisor)) == [0, 1]
        story.now()
    assert story.now() == [(1, SHUTDOWN), (0, SHUTDOWN)]


def test_restart_child_raises_the_childs_failure_and_keeps_it_without_a_pid() -> None:
    with Supervisor.start([member(0, Log(), [Ok(), Stop("no")])], max_restarts=0) as supervisor:
        supervisor.terminate_child(0)
        with pytest.raises(g.StartError) as caught:
            supervisor.restart_child(0)
        assert caught.value.reason == "no"
        assert pids_of(supervisor) == {0: None}
        assert supervisor.restart_child(0).is_alive()


def test_terminate_child_is_idempotent_and_keeps_the_spec() -> None:
    story = Log()
    with Supervisor.start([member(0, story)]) as supervisor:
        child = pid_of(supervisor, 0)
        supervisor.terminate_child(0)
        assert not child.is_alive()
        supervisor.terminate_child(0)
        assert pid_of(supervisor, 0) is None
        assert story.now() == [(0, "start"), (0, SHUTDOWN)]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_terminate_child_touches_no_sibling(strategy: Any) -> None:
    story = Log()
    with Supervisor.start([member(number, story) for number in range(3)], strategy=strategy) as supervisor:
        before = pids_of(supervisor)
        supervisor.terminate_child(1)
        assert pids_of(supervisor) == before | {1: None}


def test_terminate_child_drops_a_temporary_child() -> None:
    with Supervisor.start([member(0, Log(), restart="temporary")]) as supervisor:
        supervisor.terminate_child(0)
        assert supervisor.which_children() == []
        with pytest.raises(g.ChildNotFound):
            supervisor.terminate_child(0)


@pytest.mark.parametrize("end", [end for end, _ in STRANGE_ENDS.values()], ids=STRANGE_ENDS)
def test_terminate_child_returns_when_it_is_down_however_it_ends(end: Any) -> None:
    with Supervisor.start([ending(0, Log(), end)], max_restarts=0) as supervisor:
        child = pid_of(supervisor, 0)
        supervisor.terminate_child(0)
        assert not child.is_alive()
        assert pids_of(supervisor) == {0: None}


def test_delete_child_needs_a_child_that_does_not_run() -> None:
    story = Log()
    with Supervisor.start([member(0, story), member(1, story)]) as supervisor:
        with pytest.raises(g.ChildRunning):
            supervisor.delete_child(0)
        supervisor.terminate_child(0)
        supervisor.delete_child(0)
        assert list(pids_of(supervisor)) == [1]
        with pytest.raises(g.ChildNotFound):
            supervisor.delete_child(0)


@pytest.mark.parametrize("id_", ["unknown", None, Driven, (1, 2)], ids=repr)
def test_an_unknown_id_is_child_not_found_and_that_is_a_lookup_error(id_: Any) -> None:
    with Supervisor.start([member(0, Log())]) as supervisor:
        for request in (supervisor.terminate_child, supervisor.restart_child, supervisor.delete_child):
            with pytest.raises(g.ChildNotFound) as caught:
                request(id_)
            assert isinstance(caught.value, LookupError)
            assert caught.value.args == (id_,)


def test_an_id_that_cannot_be_hashed_is_an_error_in_the_caller_and_the_supervisor_is_unharmed() -> None:
    with Supervisor.start([member(0, Log())]) as supervisor:
        before = supervisor.which_children()
        for request in (supervisor.terminate_child, supervisor.restart_child, supervisor.delete_child):
            with pytest.raises((TypeError, LookupError)):
                request([])
        assert supervisor.which_children() == before


@pytest.mark.parametrize("request_", ["which_children", "count_children"])
def test_a_supervisor_that_is_gone_is_no_process(request_: str) -> None:
    supervisor = Supervisor.start([])
    supervisor.stop()
    with pytest.raises(g.NoProcess):
        getattr(supervisor, request_)()
    with pytest.raises(g.NoProcess):
        supervisor.start_child(Driven)


# Its own end.


@pytest.mark.parametrize(
    "reason", ["parental", NORMAL, SHUTDOWN, Shutdown("x"), None, ValueError("parental")], ids=repr
)
def test_the_parents_exit_stops_it_in_order_with_the_same_reason(reason: Any) -> None:
    story = Log()
    parent = Driven.start()
    supervisor = within(parent, lambda self: Supervisor.start_link([member(0, story), member(1, story)]))
    with watching(supervisor) as ended:
        parent.cast(lambda self, state: Stop(reason))
        assert ended() is reason
    assert story.now()[2:] == [(1, SHUTDOWN), (0, SHUTDOWN)]


def test_the_parents_death_by_a_signal_or_a_kill_stops_it_in_order_too() -> None:
    for signal, reason in (("signal", "signal"), (KILL, KILLED)):
        story = Log()
        parent = Driven.start()
        start = partial(Supervisor.start_link, [member(0, story), Driven])
        supervisor = within(parent, lambda self, start=start: start())  # type: ignore[misc]
        with watching(supervisor) as ended:
            parent.exit(signal)
            assert ended() == reason
        assert story.now() == [(0, "start"), (0, SHUTDOWN)]


@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, "crash"], ids=repr)
def test_a_stop_ends_it_with_that_reason_and_the_children_with_shutdown(reason: Any) -> None:
    story = Log()
    supervisor = Supervisor.start([member(0, story), member(1, story)])
    with watching(supervisor) as ended:
        supervisor.stop(reason)
        assert ended() == reason
    assert story.now()[2:] == [(1, SHUTDOWN), (0, SHUTDOWN)]


def test_a_strangers_exit_is_logged_and_ignored(caplog: pytest.LogCaptureFixture) -> None:
    with Supervisor.start([member(0, Log())], max_restarts=0) as supervisor:
        before = supervisor.which_children()
        supervisor.exit("from a thread")
        supervisor.exit(SHUTDOWN)
        stranger = Driven.start()
        within(stranger, lambda self: supervisor.exit("from a process"))
        link(stranger, supervisor)
        crash(stranger, "from a link")
        assert supervisor.which_children() == before
        for words in (["from a thread"], ["SHUTDOWN"], ["from a process"], ["from a link", repr(stranger)]):
            (record,) = about(caplog, "which is not its child", repr(supervisor), *words)
            assert record.name.startswith("gennostr.")


def test_a_strangers_messages_are_logged_and_ignored(caplog: pytest.LogCaptureFixture) -> None:
    with Supervisor.start([member(0, Log())], max_restarts=0) as supervisor:
        before = supervisor.which_children()
        supervisor.send("a message")
        supervisor.cast("a cast")
        with pytest.raises(TypeError, match="a call"):
            supervisor.call("a call")
        assert supervisor.which_children() == before
        for word in ("a message", "a cast", "a call"):
            (record,) = about(caplog, word, repr(supervisor))
            assert record.levelno == logging.WARNING


def test_killed_its_trapping_children_run_terminate_and_the_others_die() -> None:
    story = Log()
    plain = ChildSpec("plain", Driven.start_link)
    supervisor = Supervisor.start([member(0, story), plain, member(1, story)])
    pids = pids_of(supervisor)
    with watching(pids[0]) as zero, watching(pids["plain"]) as other, watching(pids[1]) as one:
        supervisor.exit(KILL)
        assert (zero(), other(), one()) == (KILLED, KILLED, KILLED)
    ends = story.now()[2:]
    assert sorted(ends, key=str) == [(0, KILLED), (1, KILLED)]


def test_killed_while_it_stops_a_child_it_takes_the_others_with_it() -> None:
    story = Log()
    with Gate() as gate:
        supervisor = Supervisor.start([member(0, story), ending(1, story, lambda self: gate.wait())])
        first = pid_of(supervisor, 0)
        with watching(first) as reason, meanwhile(supervisor.stop) as outcome:
            gate.reached()
            supervisor.exit(KILL)
            error = outcome()
            assert isinstance(error, g.CallExit)
            assert error.reason is KILLED
            assert reason() is KILLED


# Significant children.


@pytest.mark.parametrize("restart", ["transient", "temporary"])
@pytest.mark.parametrize(("end", "clean"), ENDS, ids=END_IDS)
def test_any_significant_ends_the_supervisor_with_the_first_final_end(end: Any, clean: Any, restart: Any) -> None:
    story = Log()
    children = [member(number, story, restart=restart, significant=True) for number in range(2)]
    supervisor = Supervisor.start([*children, member("other", story)], auto_shutdown="any_significant")
    first = pid_of(supervisor, 0)
    with watching(supervisor) as reason:
        ended_by(first, end)
        if clean or restart == "temporary":
            assert reason() is SHUTDOWN
            assert story.now()[-2:] == [("other", SHUTDOWN), (1, SHUTDOWN)]
        else:
            assert pid_of(supervisor, 0).is_alive()
            assert pid_of(supervisor, 0) is not first
            supervisor.stop()
            assert reason() is NORMAL


@pytest.mark.parametrize("restart", ["transient", "temporary"])
@pytest.mark.parametrize(("end", "clean"), ENDS, ids=END_IDS)
def test_all_significant_ends_the_supervisor_with_the_last_final_end(end: Any, clean: Any, restart: Any) -> None:
    story = Log()
    children = [member(number, story, restart=restart, significant=True) for number in range(2)]
    supervisor = Supervisor.start([*children, member("other", story)], auto_shutdown="all_significant")
    with watching(supervisor) as reason:
        ended_by(pid_of(supervisor, 0), end)
        assert supervisor.count_children().active == (2 if clean or restart == "temporary" else 3)
        ended_by(pid_of(supervisor, 1), end)
        if clean or restart == "temporary":
            assert reason() is SHUTDOWN
            assert story.now()[-1] == ("other", SHUTDOWN)
        else:
            assert supervisor.count_children().active == 3
            supervisor.stop()
            assert reason() is NORMAL


AUTO = ("any_significant", "all_significant")


@pytest.mark.parametrize("auto_shutdown", AUTO)
@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
def test_the_end_of_a_child_that_is_not_significant_does_not_count(restart: Any, auto_shutdown: Any) -> None:
    significant = member("significant", Log(), restart="transient", significant=True)
    children = [member(0, Log(), restart=restart), significant]
    with Supervisor.start(children, auto_shutdown=auto_shutdown) as supervisor:
        crash(pid_of(supervisor, 0), NORMAL)
        assert pid_of(supervisor, "significant").is_alive()


@pytest.mark.parametrize("auto_shutdown", AUTO)
@pytest.mark.parametrize("restart", ["transient", "temporary"])
def test_terminate_child_does_not_count_as_a_significant_end(restart: Any, auto_shutdown: Any) -> None:
    child = member(0, Log(), restart=restart, significant=True)
    with Supervisor.start([child], auto_shutdown=auto_shutdown) as supervisor:
        supervisor.terminate_child(0)
        assert pids_of(supervisor) == ({0: None} if restart == "transient" else {})


def test_terminate_child_of_a_child_under_restart_does_not_count_as_a_significant_end() -> None:
    child = member(0, Log(), refusing(), restart="transient", significant=True)
    with Supervisor.start([child], auto_shutdown="any_significant", max_restarts=10**9) as supervisor:
        crash(pid_of(supervisor, 0))
        assert pid_of(supervisor, 0) == "restarting"
        supervisor.terminate_child(0)
        assert pids_of(supervisor) == {0: None}


@pytest.mark.parametrize("auto_shutdown", AUTO)
@pytest.mark.parametrize("restart", ["transient", "temporary"])
@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_a_siblings_restart_does_not_count_as_a_significant_end(
    strategy: Any, restart: Any, auto_shutdown: Any
) -> None:
    story = Log()
    children = [member(0, story), member(1, story, restart=restart, significant=True)]
    with Supervisor.start(children, strategy=strategy, auto_shutdown=auto_shutdown) as supervisor:
        crash(pid_of(supervisor, 0))
        pids = pids_of(supervisor)
        assert pids[0].is_alive()
        assert list(pids) == ([0, 1] if restart == "transient" else [0])


def test_a_significant_child_that_was_terminated_is_not_waited_for_by_all_significant() -> None:
    children = [member(number, Log(), restart="transient", significant=True) for number in range(3)]
    supervisor = Supervisor.start(children, auto_shutdown="all_significant")
    with watching(supervisor) as reason:
        supervisor.terminate_child(0)
        crash(pid_of(supervisor, 1), NORMAL)
        assert pid_of(supervisor, 2).is_alive()
        crash(pid_of(supervisor, 2), NORMAL)
        assert reason() is SHUTDOWN


def test_all_significant_does_not_end_when_the_last_is_terminated_but_when_it_is_started_and_ends() -> None:
    children = [member(number, Log(), restart="transient", significant=True) for number in range(2)]
    supervisor = Supervisor.start(children, auto_shutdown="all_significant")
    with watching(supervisor) as reason:
        crash(pid_of(supervisor, 0), NORMAL)
        supervisor.terminate_child(1)
        assert pids_of(supervisor) == {0: None, 1: None}
        crash(supervisor.restart_child(1), NORMAL)
        assert reason() is SHUTDOWN


def test_all_significant_waits_for_a_child_under_restart() -> None:
    outcomes = refusing()
    children = [
        member(0, Log(), outcomes, restart="transient", significant=True),
        member(1, Log(), restart="transient", significant=True),
    ]
    supervisor = Supervisor.start(children, auto_shutdown="all_significant", max_restarts=10**9)
    with watching(supervisor) as reason:
        crash(pid_of(supervisor, 0))
        crash(pid_of(supervisor, 1), NORMAL)
        assert pids_of(supervisor) == {0: "restarting", 1: None}
        outcomes.clear()
        crash(settled(supervisor, 0), NORMAL)
        assert reason() is SHUTDOWN


def test_a_significant_child_may_be_added() -> None:
    supervisor = Supervisor.start([], auto_shutdown="any_significant")
    with watching(supervisor) as reason:
        crash(supervisor.start_child(member(0, Log(), restart="temporary", significant=True)))
        assert reason() is SHUTDOWN


@pytest.mark.parametrize("auto_shutdown", AUTO)
def test_a_significant_child_that_ignores_or_fails_does_not_count(auto_shutdown: Any) -> None:
    fields: dict[str, Any] = {"restart": "temporary", "significant": True}
    with Supervisor.start([member(0, Log(), [IGNORE], **fields)], auto_shutdown=auto_shutdown) as supervisor:
        assert supervisor.start_child(member(1, Log(), [IGNORE], **fields)) is IGNORE
        with pytest.raises(g.StartError):
            supervisor.start_child(member(2, Log(), [Stop("no")], **fields))
        assert supervisor.which_children() == []


def test_never_is_the_default_and_a_supervisor_outlives_all_of_its_children() -> None:
    with Supervisor.start([member(0, Log(), restart="temporary")]) as supervisor:
        crash(pid_of(supervisor, 0))
        assert supervisor.which_children() == []


@pytest.mark.parametrize(
    ("restart", "comes_back", "is_kept"),
    [("permanent", True, True), ("transient", False, True), ("temporary", False, False)],
)
def test_the_parent_of_a_supervisor_that_shuts_down_by_itself_sees_shutdown(
    restart: Any, comes_back: Any, is_kept: Any
) -> None:
    leaf = member("leaf", Log(), restart="transient", significant=True)
    start = partial(Supervisor.start_link, [leaf], auto_shutdown="any_significant")
    inner = ChildSpec("inner", start, restart=restart, type="supervisor")
    with Supervisor.start([inner]) as outer:
        first = pid_of(outer, "inner")
        assert ended_by(first, lambda pid: crash(pid_of(pid, "leaf"), NORMAL)) is SHUTDOWN
        pids = pids_of(outer)
        assert ("inner" in pids) == is_kept
        assert pids.get("inner") is not first
        assert (pids.get("inner") is not None) == comes_back


def test_nested_supervisors_shut_down_by_themselves_up_to_where_it_does_not_matter() -> None:
    story = Log()
    fields: dict[str, Any] = {"restart": "transient", "significant": True}
    spec = member("leaf", story, **fields)
    for depth in range(3):
        start = partial(Supervisor.start_link, [member(depth, story), spec], auto_shutdown="all_significant")
        spec = ChildSpec("inner", start, type="supervisor", **fields)
    supervisor = Supervisor.start([member("other", story), spec], auto_shutdown="any_significant")
    story.now()
    leaf = supervisor
    for id_ in ("inner", "inner", "inner", "leaf"):
        leaf = pid_of(leaf, id_)
    with watching(supervisor) as reason:
        crash(leaf, NORMAL)
        assert reason() is SHUTDOWN
    assert story.now() == [("leaf", NORMAL), *((depth, SHUTDOWN) for depth in range(3)), ("other", SHUTDOWN)]


# Trees.


def test_a_tree_stops_in_exact_reverse_of_its_start() -> None:
    story = Log()

    def floor(depth: int) -> ChildSpec:
        below = [floor(depth - 1)] if depth else []
        children = [member((depth, "before"), story), *below, member((depth, "after"), story)]
        return ChildSpec(depth, partial(Supervisor.start_link, children), type="supervisor")

    with Supervisor.start([floor(3)]):
        order = started(story)
        assert order == [*((depth, "before") for depth in (3, 2, 1, 0)), *((depth, "after") for depth in (0, 1, 2, 3))]
    assert story.now() == [(id_, SHUTDOWN) for id_ in reversed(order)]


def test_a_supervisor_that_is_killed_for_its_shutdown_time_takes_its_children_with_it() -> None:
    story = Log()
    with Gate() as gate:
        children = [member("idle", story), ending("stuck", story, lambda self: gate.wait(), shutdown=math.inf)]
        inner = ChildSpec("inner", partial(Supervisor.start_link, children), type="supervisor", shutdown=0.2)
        outer = Supervisor.start([inner])
        pid = pid_of(outer, "inner")
        pids = pids_of(pid)
        with watching(pid) as inners, watching(pids["idle"]) as idle, watching(pids["stuck"]) as stuck:
            outer.stop()
            assert inners() is KILLED
            assert idle() is KILLED
            gate.open()
            assert stuck() is SHUTDOWN  # it was terminating for that already
    assert story.now()[2:] == [("stuck", SHUTDOWN), ("idle", KILLED)]


def test_the_failure_of_a_leaf_five_floors_deep_can_be_understood_from_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    spec = member("leaf", Log())
    for depth in range(5, 0, -1):
        spec = ChildSpec(f"floor {depth}", partial(Supervisor.start_link, [spec], max_restarts=0), type="supervisor")
    with Supervisor.start([spec], name="top") as top:

        def line() -> list[Any]:
            """Return the pids, from the leaf to the top."""
            pids: list[Any] = [top]
            for id_ in (*(f"floor {depth}" for depth in range(1, 6)), "leaf"):
                pids.append(pid_of(pids[-1], id_))
            return pids[::-1]

        leaf, *above = before = line()
        ended_by(above[-2], lambda pid: leaf.cast(lambda self, state: fail(ValueError("the cause"))))
        after = line()
        assert after[-1] is top
        assert set(after[:-1]).isdisjoint(before[:-1])
        assert all(pid.is_alive() for pid in after)
    report, *gave_up, restart = caplog.records
    assert crash_reports(caplog) == [report.__dict__["crash_report"]]
    text = report.getMessage()
    assert text.startswith(f"{leaf!r} crashed in handle_cast: ValueError('the cause')")
    assert ", ".join(map(repr, above)) in text
    assert report.exc_info is not None
    # From the leaf up: which supervisor gave up because of which child, and why that ended; and which one restarted it.
    ids = ["'leaf'", *(f"'floor {depth}'" for depth in range(5, 0, -1))]
    reasons = ["ValueError('the cause')", *["SHUTDOWN"] * 5]
    links = list(zip(above, ids, before, reasons, strict=False))
    for record, (boss, id_, child, reason) in zip(gave_up, links, strict=False):
        assert record.getMessage().startswith(f"{boss!r} gives up")
        assert f"child {id_}" in record.getMessage()
        assert record.getMessage().endswith(f"{child!r} ended with reason {reason}")
    assert len(gave_up) == 5
    boss, id_, child, reason = links[-1]
    assert restart.getMessage() == f"{boss!r} restarts child {id_}: {child!r} ended with reason {reason}"


# What cannot be shown, and logs that fail.


class Broken(logging.Handler):
    """A log handler that fails, in a ``with`` statement."""

    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError("in the handler")

    def __enter__(self) -> None:
        logging.getLogger("gennostr").addHandler(self)

    def __exit__(self, *details: object) -> None:
        logging.getLogger("gennostr").removeHandler(self)


@pytest.mark.parametrize("failing", [False, True], ids=["first try", "second try"])
@pytest.mark.parametrize("which", ["id", "reason"])
def test_a_child_is_restarted_even_if_its_id_or_reason_cannot_be_shown(which: str, failing: Any) -> None:
    id_ = Unshowable() if which == "id" else 0
    reason = Unshowable() if which == "reason" else "crash"
    with Supervisor.start([member(id_, Log(), [Ok(), Stop(reason)] if failing else [])]) as supervisor:
        first = pid_of(supervisor, id_)
        crash(first, reason)
        second = settled(supervisor, id_)
        assert second is not first
        assert second.is_alive()


def test_a_supervisor_gives_up_with_shutdown_even_if_the_childs_id_cannot_be_shown() -> None:
    id_, story = Unshowable(), Log()
    supervisor = Supervisor.start([member(0, story), member(id_, Log())], max_restarts=0)
    with watching(supervisor) as reason:
        crash(pid_of(supervisor, id_))
        assert reason() is SHUTDOWN
    assert story.now() == [(0, "start"), (0, SHUTDOWN)]


def test_what_a_stranger_sends_that_cannot_be_shown_is_ignored_too() -> None:
    with Supervisor.start([member(0, Log())]) as supervisor:
        before = supervisor.which_children()
        supervisor.send(Unshowable())
        supervisor.cast(Unshowable())
        with pytest.raises(TypeError):
            supervisor.call(Unshowable())
        supervisor.exit(Unshowable())
        assert supervisor.which_children() == before


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)  # which may report the failed log handler
def test_a_log_handler_that_raises_keeps_no_child_from_being_killed() -> None:
    with Gate() as gate, Driven.start() as bystander:
        supervisor = Supervisor.start([member(0, Log()), ending(1, Log(), lambda self: gate.wait(), shutdown=0.2)])
        pids = pids_of(supervisor)
        with Broken():
            outcome_of(supervisor.stop)
        is_left = pids[1].is_alive()
        pids[1].exit(KILL)  # so that it does not stay where it is left
        gate.open()
        until(lambda: threads_left(bystander) == 0 and not pids[0].is_alive())
        assert not is_left


# A child that ends itself.


@pytest.mark.parametrize(
    ("kind", "shutdown", "way"),
    [
        *[(kind, shutdown, "itself") for kind in (Driven, Trapping) for shutdown in (60.0, math.inf, "brutal_kill")],
        # One that traps exits has its shutdown time here, as in Erlang: nobody knows that it waits for its supervisor.
        *[(Driven, shutdown, "by another") for shutdown in (60.0, math.inf)],
    ],
)
def test_a_child_that_has_itself_terminated_ends_at_once(kind: type[Driven], shutdown: Any, way: str) -> None:
    """Its callback waits for the supervisor, which waits for it: in Erlang, as long as the shutdown time."""
    with Supervisor.start([kind.child_spec(None, shutdown=shutdown)]) as supervisor, Driven.start() as other:

        def terminate(*_: Any) -> Any:
            return Reply(supervisor.terminate_child(kind))  # type: ignore[func-returns-value]

        child = pid_of(supervisor, kind)
        with watching(child) as reason:
            if way == "itself":
                child.cast(lambda *_: terminate() and None)
            else:
                child.cast(lambda *_: other.call(terminate, None))
            assert reason() is (KILLED if shutdown == "brutal_kill" else SHUTDOWN)
        assert [info.pid for info in supervisor.which_children()] == [None]


def test_a_dynamic_child_that_has_itself_terminated_ends_at_once() -> None:
    with g.DynamicSupervisor.start() as supervisor:
        child = supervisor.start_child(Trapping.child_spec(None, shutdown=60.0))
        with watching(child) as reason:
            child.cast(lambda self, state: supervisor.terminate_child(self.pid))
            assert reason() is SHUTDOWN


# Names.


def test_a_supervised_child_has_its_name_again_after_a_restart() -> None:
    """As in Elixir, where the arguments of a child's start have a ``name:``."""
    children = [Driven.child_spec(number, name=f"number {number}") for number in (1, 2)]
    with Supervisor.start([*children, g.DynamicSupervisor.child_spec(name="pool")]) as supervisor:
        assert [info.id for info in supervisor.which_children()] == ["pool", "number 2", "number 1"]
        first = g.whereis("number 1")
        assert first is not None
        crash(first)
        second = pid_of(supervisor, "number 1")
        assert second not in (None, first)
        assert g.whereis("number 1") == second
        assert second.get_state() == 1
        assert g.whereis("pool") == pid_of(supervisor, "pool")
