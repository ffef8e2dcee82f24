"""Supervisor and DynamicSupervisor: starting, stopping, restarting, and giving up."""

import logging
import threading
from functools import partial
from typing import Any

import pytest

import gennostr as g
from gennostr import (
    IGNORE,
    KILL,
    KILLED,
    NORMAL,
    SHUTDOWN,
    ChildSpec,
    DynamicSupervisor,
    Ok,
    Shutdown,
    Stop,
    Supervisor,
)
from tests.otp.actors import DEADLINE, Driven, Log, Trapping, log_of, watching, within


class Member(Driven):
    """Logs (its id, what happened) in a log that all share."""

    trap_exit = True

    def init(self, init_arg: Any) -> Any:
        self.log = Log()
        self.id, self.story, outcomes = init_arg
        self.story.put((self.id, "start"))
        return outcomes.pop(0) if outcomes else Ok()

    def terminate(self, reason: Any, state: Any) -> None:
        self.story.put((self.id, reason))


def member(id_: Any, story: Log, outcomes: Any = (), **fields: Any) -> ChildSpec:
    """Describe a child whose init returns the `outcomes` in turn, and Ok after these."""
    listed = outcomes if isinstance(outcomes, list) else list(outcomes)
    return ChildSpec(id_, partial(Member.start_link, (id_, story, listed)), **fields)


def pid_of(supervisor: Any, id_: Any) -> Any:
    return next(child.pid for child in supervisor.which_children() if child.id == id_)


def crash(pid: g.Pid, reason: Any = "crash") -> None:
    """End `pid` for `reason`, and wait until its supervisor has been told: links are told in turn."""
    with Trapping.start() as linked:
        log = log_of(linked)
        within(linked, lambda self: g.link(pid))
        if reason is KILL:
            pid.exit(KILL)
        else:
            pid.cast(lambda self, state: Stop(reason))
        assert isinstance(log.next(), g.Exit)


def started(story: Log) -> list[Any]:
    return [id_ for id_, what in story.now() if what == "start"]


# Starting and stopping.


def test_children_start_in_order_and_stop_in_reverse_with_shutdown() -> None:
    story = Log()
    with Supervisor.start([member(number, story) for number in range(3)]):
        assert story.now() == [(0, "start"), (1, "start"), (2, "start")]
    assert story.now() == [(2, SHUTDOWN), (1, SHUTDOWN), (0, SHUTDOWN)]


def test_a_child_that_does_not_stop_in_its_shutdown_time_is_killed() -> None:
    go = threading.Event()

    class Stubborn(Member):
        def terminate(self, reason: Any, state: Any) -> None:
            go.wait(DEADLINE)

    supervisor = Supervisor.start(
        [ChildSpec("stubborn", partial(Stubborn.start_link, (0, Log(), [])), shutdown=0.02)],
    )
    with watching(pid_of(supervisor, "stubborn")) as reason:
        supervisor.stop()
        assert reason() is KILLED
    go.set()


def test_a_brutal_kill_gives_no_time() -> None:
    story = Log()
    supervisor = Supervisor.start([member(0, story, shutdown="brutal_kill")])
    with watching(pid_of(supervisor, 0)) as reason:
        supervisor.stop()
        assert reason() is KILLED
    assert story.now() == [(0, "start")]


def test_which_children_is_newest_first_and_count_children_counts() -> None:
    story = Log()
    inner = ChildSpec("inner", partial(Supervisor.start_link, []), type="supervisor")
    with Supervisor.start([member(0, story), inner, member(1, story, [IGNORE])]) as supervisor:
        assert [child.id for child in supervisor.which_children()] == [1, "inner", 0]
        counts = supervisor.count_children()
        assert (counts.specs, counts.active, counts.supervisors, counts.workers) == (3, 2, 1, 2)


def test_a_child_that_fails_at_start_stops_those_before_it_and_the_rest_never_start() -> None:
    story = Log()
    with pytest.raises(g.StartError) as caught:
        Supervisor.start([member(0, story), member(1, story), member(2, story, [Stop("no")]), member(3, story)])
    reason = caught.value.reason
    assert isinstance(reason, Shutdown)
    failed = reason.reason
    assert isinstance(failed, g.FailedToStartChild)
    assert (failed.id, failed.reason) == (2, "no")
    assert story.now() == [(0, "start"), (1, "start"), (2, "start"), (1, SHUTDOWN), (0, SHUTDOWN)]


def test_a_child_that_ignores_is_kept_without_a_pid_unless_temporary() -> None:
    story = Log()
    children = [member(0, story, [IGNORE]), member(1, story, [IGNORE], restart="temporary")]
    with Supervisor.start(children) as supervisor:
        assert [(child.id, child.pid) for child in supervisor.which_children()] == [(0, None)]


def test_duplicate_ids_are_refused() -> None:
    story = Log()
    with pytest.raises(ValueError, match="same"):
        Supervisor.start([member("same", story), member("same", story)])
    assert story.now() == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("strategy", "one_for_two"), ("max_restarts", -1), ("max_seconds", "5"), ("auto_shutdown", "sometimes")],
)
def test_a_bad_flag_is_rejected_naming_field_and_value(field: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=field) as caught:
        Supervisor.start([], **{field: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("restart", "always"),
        ("shutdown", -1),
        ("shutdown", "kill"),
        ("type", "actor"),
        ("significant", 1),
        ("start", 3),
    ],
)
def test_a_bad_field_of_a_spec_is_rejected_naming_field_and_value(field: str, value: Any) -> None:
    fields: dict[str, Any] = {"id": 0, "start": Driven.start_link} | {field: value}
    with pytest.raises((TypeError, ValueError), match=field) as caught:
        ChildSpec(**fields)
    assert repr(value) in str(caught.value)


# Restarts.


@pytest.mark.parametrize(
    ("restart", "reason", "comes_back", "is_kept"),
    [
        ("permanent", "crash", True, True),
        ("permanent", NORMAL, True, True),
        ("transient", "crash", True, True),
        ("transient", NORMAL, False, True),
        ("transient", SHUTDOWN, False, True),
        ("transient", Shutdown("x"), False, True),
        ("temporary", "crash", False, False),
        ("temporary", NORMAL, False, False),
    ],
    ids=str,
)
def test_what_a_restart_type_does(restart: Any, reason: Any, comes_back: Any, is_kept: Any) -> None:
    story = Log()
    with Supervisor.start([member(0, story, restart=restart)]) as supervisor:
        first = pid_of(supervisor, 0)
        crash(first, reason)
        children = supervisor.which_children()
        assert bool(children) == is_kept
        if is_kept:
            assert (children[0].pid is not None) == comes_back
            assert children[0].pid is not first


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("one_for_one", [(1, "crash"), (1, "start")]),
        ("rest_for_one", [(1, "crash"), (2, SHUTDOWN), (1, "start"), (2, "start")]),
        ("one_for_all", [(1, "crash"), (2, SHUTDOWN), (0, SHUTDOWN), (0, "start"), (1, "start"), (2, "start")]),
    ],
)
def test_what_a_strategy_does_to_the_siblings(strategy: Any, expected: Any) -> None:
    story = Log()
    with Supervisor.start([member(number, story) for number in range(3)], strategy=strategy) as supervisor:
        story.now()
        crash(pid_of(supervisor, 1))
        supervisor.which_children()
        assert story.now() == expected


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
@pytest.mark.parametrize(("restart", "reason"), [("temporary", "crash"), ("transient", NORMAL)], ids=str)
def test_an_end_without_a_restart_touches_no_sibling(strategy: Any, restart: Any, reason: Any) -> None:
    story = Log()
    children = [member(0, story), member(1, story, restart=restart), member(2, story)]
    with Supervisor.start(children, strategy=strategy) as supervisor:
        story.now()
        crash(pid_of(supervisor, 1), reason)
        supervisor.which_children()
        assert story.now() == [(1, reason)]


def test_temporary_victims_are_dropped() -> None:
    story = Log()
    children = [member(0, story), member(1, story, restart="temporary")]
    with Supervisor.start(children, strategy="one_for_all") as supervisor:
        crash(pid_of(supervisor, 0))
        assert [child.id for child in supervisor.which_children()] == [0]


def test_one_for_all_also_revives_siblings_that_had_ended() -> None:
    story = Log()
    children = [member(0, story), member(1, story, restart="transient")]
    with Supervisor.start(children, strategy="one_for_all") as supervisor:
        crash(pid_of(supervisor, 1), NORMAL)
        assert pid_of(supervisor, 1) is None
        crash(pid_of(supervisor, 0))
        assert pid_of(supervisor, 1) is not None


def test_more_restarts_than_allowed_stop_the_children_and_the_supervisor_with_shutdown() -> None:
    story = Log()
    supervisor = Supervisor.start([member(0, story), member(1, story)], max_restarts=1)
    with watching(supervisor) as reason:
        crash(pid_of(supervisor, 1))
        crash(pid_of(supervisor, 1))
        assert reason() is SHUTDOWN
    assert story.now()[-1] == (0, SHUTDOWN)


def test_no_restarts_allowed_is_no_restart() -> None:
    story = Log()
    supervisor = Supervisor.start([member(0, story)], max_restarts=0)
    with watching(supervisor) as reason:
        crash(pid_of(supervisor, 0))
        assert reason() is SHUTDOWN
    assert started(story) == [0]


def test_restarts_outside_max_seconds_are_forgotten() -> None:
    story = Log()
    with Supervisor.start([member(0, story)], max_restarts=1, max_seconds=0) as supervisor:
        for _ in range(5):
            crash(pid_of(supervisor, 0))
        assert pid_of(supervisor, 0) is not None


def test_a_restart_that_fails_is_tried_exactly_three_times() -> None:
    story = Log()
    supervisor = Supervisor.start([member(0, story, [Ok(), *[Stop("no")] * 9])], max_restarts=3)
    with watching(supervisor) as reason:
        crash(pid_of(supervisor, 0))
        assert reason() is SHUTDOWN
    assert started(story) == [0, 0, 0, 0]


def test_one_for_all_starts_over_when_a_restart_fails() -> None:
    story = Log()
    children = [member(0, story), member(1, story, [Ok(), Stop("no")])]
    with Supervisor.start(children, strategy="one_for_all") as supervisor:
        story.now()
        crash(pid_of(supervisor, 0))
        while pid_of(supervisor, 1) == "restarting":
            pass
        rest = [(0, "start"), (1, "start")]
        assert story.now() == [(0, "crash"), (1, SHUTDOWN), *rest, (0, SHUTDOWN), *rest]


def test_rest_for_one_keeps_those_that_are_restarted_when_another_fails() -> None:
    story = Log()
    children = [member(0, story), member(1, story, [Ok(), Stop("no")])]
    with Supervisor.start(children, strategy="rest_for_one") as supervisor:
        story.now()
        crash(pid_of(supervisor, 0))
        while pid_of(supervisor, 1) == "restarting":
            pass
        assert story.now() == [(0, "crash"), (1, SHUTDOWN), (0, "start"), (1, "start"), (1, "start")]


def test_a_supervisor_that_keeps_trying_answers_its_requests() -> None:
    story = Log()
    supervisor = Supervisor.start([member(0, story, [Ok(), *[Stop("no")] * 10**5])], max_restarts=10**9)
    with supervisor:
        crash(pid_of(supervisor, 0))
        assert pid_of(supervisor, 0) == "restarting"
        with pytest.raises(g.ChildRestarting):
            supervisor.restart_child(0)
        with pytest.raises(g.ChildRestarting):
            supervisor.delete_child(0)
        supervisor.terminate_child(0)
        assert pid_of(supervisor, 0) is None


# Requests.


def test_start_child_returns_the_pid_and_refuses_an_id_that_is_taken() -> None:
    story = Log()
    with Supervisor.start([]) as supervisor:
        pid = supervisor.start_child(member(0, story))
        with pytest.raises(g.AlreadyStarted) as caught:
            supervisor.start_child(member(0, story))
        assert caught.value.pid is pid
        supervisor.terminate_child(0)
        with pytest.raises(g.AlreadyPresent):
            supervisor.start_child(member(0, story))


def test_a_child_that_fails_in_start_child_is_not_kept() -> None:
    with Supervisor.start([]) as supervisor:
        with pytest.raises(g.StartError) as caught:
            supervisor.start_child(member(0, Log(), [Stop("no")]))
        assert caught.value.reason == "no"
        assert supervisor.which_children() == []


def test_start_child_and_restart_child_return_ignore() -> None:
    with Supervisor.start([]) as supervisor:
        assert supervisor.start_child(member(0, Log(), [IGNORE, IGNORE])) is IGNORE
        assert supervisor.restart_child(0) is IGNORE
        assert pid_of(supervisor, 0) is None


def test_a_bad_spec_is_rejected_in_the_caller_and_the_supervisor_is_unharmed() -> None:
    with Supervisor.start([]) as supervisor:
        with pytest.raises(TypeError):
            supervisor.start_child("nonsense")
        with pytest.raises(ValueError, match="significant"):
            supervisor.start_child(member(0, Log(), restart="transient", significant=True))
        assert supervisor.which_children() == []


def test_restart_child_starts_what_was_terminated() -> None:
    with Supervisor.start([member(0, Log())]) as supervisor:
        with pytest.raises(g.ChildRunning):
            supervisor.restart_child(0)
        supervisor.terminate_child(0)
        assert supervisor.restart_child(0) is pid_of(supervisor, 0)
        with pytest.raises(g.ChildNotFound):
            supervisor.restart_child("unknown")


def test_terminate_child_is_idempotent_and_keeps_the_spec() -> None:
    story = Log()
    with Supervisor.start([member(0, story)]) as supervisor:
        supervisor.terminate_child(0)
        supervisor.terminate_child(0)
        assert pid_of(supervisor, 0) is None
        assert story.now() == [(0, "start"), (0, SHUTDOWN)]
        with pytest.raises(LookupError):
            supervisor.terminate_child("unknown")


def test_terminate_child_drops_a_temporary_child() -> None:
    with Supervisor.start([member(0, Log(), restart="temporary")]) as supervisor:
        supervisor.terminate_child(0)
        assert supervisor.which_children() == []


def test_delete_child_needs_a_child_that_does_not_run() -> None:
    with Supervisor.start([member(0, Log())]) as supervisor:
        with pytest.raises(g.ChildRunning):
            supervisor.delete_child(0)
        supervisor.terminate_child(0)
        supervisor.delete_child(0)
        with pytest.raises(g.ChildNotFound):
            supervisor.delete_child(0)


# The supervisor's own end.


def test_the_parents_exit_stops_a_supervisor_in_order_with_the_same_reason() -> None:
    story = Log()
    parent = Driven.start()
    supervisor = within(parent, lambda self: Supervisor.start_link([member(0, story), member(1, story)]))
    with watching(supervisor) as reason:
        parent.exit("parental")
        assert reason() == "parental"
    assert story.now()[2:] == [(1, SHUTDOWN), (0, SHUTDOWN)]


def test_a_strangers_exit_and_message_are_ignored(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Supervisor.start([member(0, Log())]) as supervisor:
        before = pid_of(supervisor, 0)
        supervisor.exit("stranger")
        supervisor.send("message")
        assert pid_of(supervisor, 0) is before
        assert "stranger" in caplog.text
        assert "message" in caplog.text


def test_a_supervisor_that_is_killed_takes_its_children_with_it() -> None:
    story = Log()
    plain = ChildSpec("plain", Driven.start_link)
    supervisor = Supervisor.start([member(0, story), plain])
    with watching(pid_of(supervisor, 0)) as trapping, watching(pid_of(supervisor, "plain")) as other:
        supervisor.exit(KILL)
        assert trapping() is KILLED
        assert other() is KILLED
    assert story.now() == [(0, "start"), (0, KILLED)]


@pytest.mark.parametrize(("restart", "reason"), [("transient", NORMAL), ("temporary", "crash")], ids=str)
def test_any_significant_ends_the_supervisor_with_the_first(restart: Any, reason: Any) -> None:
    story = Log()
    children = [member(number, story, restart=restart, significant=True) for number in range(2)]
    supervisor = Supervisor.start(children, auto_shutdown="any_significant")
    with watching(supervisor) as ended:
        crash(pid_of(supervisor, 0), reason)
        assert ended() is SHUTDOWN


def test_all_significant_ends_the_supervisor_with_the_last() -> None:
    story = Log()
    children = [member(number, story, restart="temporary", significant=True) for number in range(2)]
    supervisor = Supervisor.start([*children, member("other", story)], auto_shutdown="all_significant")
    with watching(supervisor) as ended:
        crash(pid_of(supervisor, 0))
        assert len(supervisor.which_children()) == 2
        crash(pid_of(supervisor, 1))
        assert ended() is SHUTDOWN


def test_neither_terminate_child_nor_a_crash_that_is_restarted_counts_as_significant() -> None:
    child = member(0, Log(), restart="transient", significant=True)
    with Supervisor.start([child], auto_shutdown="any_significant") as supervisor:
        crash(pid_of(supervisor, 0))
        supervisor.terminate_child(0)
        assert pid_of(supervisor, 0) is None


def test_a_siblings_restart_does_not_count_as_a_significant_end() -> None:
    story = Log()
    children = [member(0, story), member(1, story, restart="transient", significant=True)]
    with Supervisor.start(children, strategy="one_for_all", auto_shutdown="any_significant") as supervisor:
        crash(pid_of(supervisor, 0))
        assert pid_of(supervisor, 1) is not None


# Dynamic supervisors.


def test_a_dynamic_child_has_no_id() -> None:
    with DynamicSupervisor.start() as supervisor:
        pid = supervisor.start_child(member("id", Log()))
        (child,) = supervisor.which_children()
        assert (child.id, child.pid) == (None, pid)


def test_a_dynamic_child_that_ignores_or_fails_is_not_kept() -> None:
    with DynamicSupervisor.start() as supervisor:
        assert supervisor.start_child(member(0, Log(), [IGNORE])) is IGNORE
        with pytest.raises(g.StartError):
            supervisor.start_child(member(0, Log(), [Stop("no")]))
        assert supervisor.count_children().specs == 0


def test_an_invalid_dynamic_child_is_rejected_in_the_caller() -> None:
    with DynamicSupervisor.start() as supervisor:
        with pytest.raises(TypeError):
            supervisor.start_child("nonsense")
        assert supervisor.is_alive()


def test_there_are_never_more_than_max_children() -> None:
    with DynamicSupervisor.start(max_children=1) as supervisor:
        pid = supervisor.start_child(member(0, Log()))
        with pytest.raises(g.MaxChildren):
            supervisor.start_child(member(1, Log()))
        supervisor.terminate_child(pid)
        supervisor.start_child(member(1, Log()))


def test_a_child_whose_restart_fails_shows_as_restarting_and_counts() -> None:
    with DynamicSupervisor.start(max_children=1, max_restarts=10**9) as supervisor:
        crash(supervisor.start_child(member(0, Log(), [Ok(), *[Stop("no")] * 10**5])))
        (child,) = supervisor.which_children()
        assert child.pid == "restarting"
        with pytest.raises(g.MaxChildren):
            supervisor.start_child(member(1, Log()))


def test_extra_arguments_come_before_the_childs_own() -> None:
    class Two(Driven):
        @classmethod
        def start_two(cls, first: Any, second: Any) -> Any:
            return cls.start_link((first, second))

    with DynamicSupervisor.start(extra_arguments=("extra",)) as supervisor:
        pid = supervisor.start_child(ChildSpec(0, partial(Two.start_two, "own")))
        assert pid.get_state() == ("extra", "own")


def test_a_dynamic_terminate_child_returns_when_it_is_down_and_then_it_is_not_found() -> None:
    story = Log()
    with DynamicSupervisor.start() as supervisor:
        pid = supervisor.start_child(member(0, story))
        supervisor.terminate_child(pid)
        assert not pid.is_alive()
        assert story.now() == [(0, "start"), (0, SHUTDOWN)]
        with pytest.raises(g.ChildNotFound):
            supervisor.terminate_child(pid)


def test_a_dynamic_child_that_is_not_restarted_disappears() -> None:
    with DynamicSupervisor.start() as supervisor:
        crash(supervisor.start_child(member(0, Log(), restart="temporary")))
        crash(supervisor.start_child(member(1, Log(), restart="transient")), NORMAL)
        assert supervisor.which_children() == []


def test_a_dynamic_child_whose_restart_ignores_is_removed() -> None:
    with DynamicSupervisor.start() as supervisor:
        crash(supervisor.start_child(member(0, Log(), [Ok(), IGNORE])))
        assert supervisor.which_children() == []


def test_intensity_is_shared_by_all_dynamic_children() -> None:
    supervisor = DynamicSupervisor.start(max_restarts=1)
    one, other = (supervisor.start_child(member(number, Log())) for number in range(2))
    with watching(supervisor) as reason:
        crash(one)
        crash(other)
        assert reason() is SHUTDOWN


def test_all_dynamic_children_are_stopped_at_the_same_time() -> None:
    together = threading.Barrier(3)

    class Meeting(Trapping):
        def terminate(self, reason: Any, state: Any) -> None:
            together.wait(DEADLINE)  # broken, and so a crash, unless all three are here

    with DynamicSupervisor.start() as supervisor:
        for number in range(3):
            supervisor.start_child(ChildSpec(number, Meeting.start_link))
    assert not together.broken


def test_a_strangers_exit_does_not_harm_a_dynamic_supervisor() -> None:
    with DynamicSupervisor.start() as supervisor:
        supervisor.exit("stranger")
        settled = supervisor.count_children()
        assert settled.specs == 0


def test_a_supervisor_may_be_a_child() -> None:
    story = Log()
    inner = ChildSpec("inner", partial(Supervisor.start_link, [member(0, story)]), type="supervisor")
    with Supervisor.start([inner]) as outer:
        first = pid_of(outer, "inner")
        crash(first, KILL)
        assert pid_of(outer, "inner") is not first
    assert story.now()[-1] == (0, SHUTDOWN)
