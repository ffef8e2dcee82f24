"""DynamicSupervisor: children without ids, started on demand, each on its own, all stopped at the same time."""

import logging
import math
import threading
import time
from collections.abc import Iterator
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
from gennostr.testing.manual_clock import ManualClock
from tests.otp.actors import (
    DEADLINE,
    END_IDS,
    ENDS,
    FAILED_STARTS,
    FATAL,
    Driven,
    Gate,
    Log,
    Trapping,
    about,
    crash,
    dead,
    ended_by,
    ending,
    errors,
    fail,
    fits,
    link,
    log_of,
    meanwhile,
    member,
    pid_of,
    refusing,
    started,
    threads_left,
    until,
    watching,
    within,
)


@pytest.fixture
def clock() -> Iterator[ManualClock]:
    with ManualClock() as manual:
        yield manual


def pids_in(supervisor: Any) -> list[Any]:
    """Return the pids of its children, in starting order."""
    return [info.pid for info in reversed(supervisor.which_children())]


def counts_of(supervisor: Any) -> tuple[int, int, int, int]:
    found = supervisor.count_children()
    return found.specs, found.active, found.supervisors, found.workers


# Starting children.


def test_start_child_returns_the_pid_of_a_child_without_an_id() -> None:
    with DynamicSupervisor.start() as supervisor:
        spec = member("id", Log())
        pid = supervisor.start_child(spec)
        (child,) = supervisor.which_children()
        assert (child.id, child.pid, child.type, child.start) == (None, pid, "worker", spec.start)
        assert pid.is_alive()


def test_ids_are_not_kept_and_may_be_the_same() -> None:
    with DynamicSupervisor.start() as supervisor:
        spec = member("same", Log())
        pids = [supervisor.start_child(spec) for _ in range(3)]
        assert len(set(pids)) == 3
        assert [info.id for info in supervisor.which_children()] == [None] * 3
        with pytest.raises(g.ChildNotFound):
            supervisor.terminate_child("same")  # type: ignore[arg-type]


def test_which_children_is_newest_first_and_count_children_counts() -> None:
    with DynamicSupervisor.start() as supervisor:
        assert supervisor.which_children() == []
        assert counts_of(supervisor) == (0, 0, 0, 0)
        pids = [supervisor.start_child(child) for child in (Driven, DynamicSupervisor, member(0, Log()))]
        assert [info.pid for info in supervisor.which_children()] == pids[::-1]
        assert [info.type for info in supervisor.which_children()] == ["worker", "supervisor", "worker"]
        assert counts_of(supervisor) == (3, 3, 1, 2)
        supervisor.terminate_child(pids[1])
        assert counts_of(supervisor) == (2, 2, 0, 2)


def test_a_child_may_be_a_class_or_a_class_with_its_argument() -> None:
    with DynamicSupervisor.start() as supervisor:
        assert supervisor.start_child(Driven).get_state() is None
        assert supervisor.start_child((Driven, "argument")).get_state() == "argument"


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
def test_a_child_that_ignores_is_not_kept(restart: Any) -> None:
    with DynamicSupervisor.start(max_children=1) as supervisor:
        assert supervisor.start_child(member(0, Log(), [IGNORE], restart=restart)) is IGNORE
        assert supervisor.which_children() == []
        assert counts_of(supervisor) == (0, 0, 0, 0)
        assert supervisor.start_child(member(0, Log())).is_alive()


@pytest.mark.parametrize(("start", "expected"), FAILED_STARTS.values(), ids=FAILED_STARTS)
def test_start_child_raises_the_childs_failure_and_does_not_keep_it(
    start: Any, expected: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with DynamicSupervisor.start(max_children=2, max_restarts=0) as supervisor:
        one = supervisor.start_child(Driven)
        with pytest.raises(g.StartError) as caught:
            supervisor.start_child(ChildSpec(0, start))
        assert fits(caught.value.reason, expected)
        assert pids_in(supervisor) == [one]
        supervisor.start_child(Driven)  # it does not count either
    assert errors(caplog) == []
    assert about(caplog, "which is not its child") == []


def test_start_child_whose_name_is_taken_tells_by_whom() -> None:
    with Driven.start(name="taken") as server, DynamicSupervisor.start() as supervisor:
        with pytest.raises(g.AlreadyStarted) as caught:
            supervisor.start_child(ChildSpec(0, partial(Driven.start_link, name="taken")))
        assert caught.value.pid is server
        assert supervisor.which_children() == []


def test_children_are_started_by_request_at_the_same_time_from_many_threads() -> None:
    together = threading.Barrier(8)
    pids = Log()
    with DynamicSupervisor.start(max_children=5) as supervisor:

        def start() -> None:
            together.wait(DEADLINE)
            try:
                pids.put(supervisor.start_child(Driven))
            except g.MaxChildren as error:
                pids.put(error)

        threads = [threading.Thread(target=start) for _ in range(8)]
        for thread in threads:
            thread.start()
        found = [pids.next() for _ in threads]
        for thread in threads:
            thread.join()
        assert {each for each in found if isinstance(each, g.Pid)} == set(pids_in(supervisor))
        assert sum(isinstance(each, g.MaxChildren) for each in found) == 3


# max_children.


def test_there_are_never_more_than_max_children() -> None:
    story = Log()
    with DynamicSupervisor.start(max_children=2) as supervisor:
        one = supervisor.start_child(member(1, story))
        supervisor.start_child(member(2, story))
        for _ in range(2):
            with pytest.raises(g.MaxChildren) as caught:
                supervisor.start_child(member(3, story))
            assert caught.value.args == (2,)
        assert started(story) == [1, 2]  # the third was never started
        supervisor.terminate_child(one)
        supervisor.start_child(member(4, story))
        with pytest.raises(g.MaxChildren):
            supervisor.start_child(member(5, story))


def test_max_children_0_allows_none() -> None:
    with DynamicSupervisor.start(max_children=0) as supervisor:
        with pytest.raises(g.MaxChildren):
            supervisor.start_child(Driven)
        assert supervisor.which_children() == []


def test_a_child_that_ended_and_is_not_restarted_makes_room() -> None:
    with DynamicSupervisor.start(max_children=1) as supervisor:
        for _ in range(3):
            crash(supervisor.start_child(member(0, Log(), restart="temporary")))
        assert supervisor.which_children() == []


def test_a_restarted_child_counts_once() -> None:
    with DynamicSupervisor.start(max_children=2) as supervisor:
        crash(supervisor.start_child(member(0, Log())))
        supervisor.start_child(Driven)
        with pytest.raises(g.MaxChildren):
            supervisor.start_child(Driven)


def test_a_child_whose_restart_fails_shows_as_restarting_and_still_counts() -> None:
    outcomes = refusing()
    with DynamicSupervisor.start(max_children=1, max_restarts=10**9) as supervisor:
        crash(supervisor.start_child(member(0, Log(), outcomes)))
        (child,) = supervisor.which_children()
        assert (child.id, child.pid) == (None, "restarting")
        assert counts_of(supervisor) == (1, 0, 0, 1)
        with pytest.raises(g.MaxChildren):
            supervisor.start_child(Driven)
        outcomes.clear()
        until(lambda: supervisor.count_children().active == 1)
        with pytest.raises(g.MaxChildren):
            supervisor.start_child(Driven)


# extra_arguments.


def given(*arguments: Any, **keywords: Any) -> Any:
    """Start a child whose state is its arguments."""
    return Driven.start_link((*arguments, keywords))


@pytest.mark.parametrize("extra", [(), ("extra",), ["one", "two"], (None,), ((),)], ids=repr)
@pytest.mark.parametrize(
    ("start", "own", "keywords"),
    [(given, (), {}), (partial(given, "own", keyword="kept"), ("own",), {"keyword": "kept"})],
    ids=["function", "partial"],
)
def test_extra_arguments_come_before_the_childs_own_at_each_start(
    start: Any, own: Any, keywords: Any, extra: Any
) -> None:
    with DynamicSupervisor.start(extra_arguments=extra) as supervisor:
        first = supervisor.start_child(ChildSpec(0, start))
        assert first.get_state() == (*extra, *own, keywords)
        crash(first)
        (second,) = pids_in(supervisor)
        assert second is not first
        assert second.get_state() == (*extra, *own, keywords)


def test_extra_arguments_that_a_child_cannot_take_are_its_failure() -> None:
    with DynamicSupervisor.start(extra_arguments=("extra",)) as supervisor:
        with pytest.raises(g.StartError) as caught:
            supervisor.start_child(ChildSpec(0, lambda: Driven.start_link()))  # noqa: PLW0108
        assert isinstance(caught.value.reason, TypeError)
        assert supervisor.which_children() == []


def test_extra_arguments_are_those_of_the_start_whatever_becomes_of_the_list() -> None:
    extra = ["extra"]
    with DynamicSupervisor.start(extra_arguments=extra) as supervisor:
        extra.append("late")
        assert supervisor.start_child(ChildSpec(0, given)).get_state() == ("extra", {})


# Restarts.


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
@pytest.mark.parametrize(("end", "clean"), ENDS, ids=END_IDS)
def test_a_child_is_restarted_as_its_kind_says_and_else_disappears(end: Any, clean: Any, restart: Any) -> None:
    story = Log()
    with DynamicSupervisor.start() as supervisor:
        first = supervisor.start_child(member(0, story, restart=restart))
        sibling = supervisor.start_child(member("sibling", Log()))
        ended_by(first, end)
        pids = pids_in(supervisor)
        assert first not in pids
        assert sibling in pids
        assert sibling.is_alive()
        if restart == "permanent" or (restart == "transient" and not clean):
            assert len(pids) == 2
            assert all(pid.is_alive() for pid in pids)
            assert started(story) == [0, 0]
        else:
            assert pids == [sibling]
            assert started(story) == [0]
        with pytest.raises(g.ChildNotFound):
            supervisor.terminate_child(first)


def test_a_restart_that_ignores_removes_the_child() -> None:
    with DynamicSupervisor.start(max_children=1) as supervisor:
        crash(supervisor.start_child(member(0, Log(), [Ok(), IGNORE])))
        assert supervisor.which_children() == []
        assert counts_of(supervisor) == (0, 0, 0, 0)
        assert supervisor.start_child(Driven).is_alive()


def test_a_restart_that_ignores_after_tries_that_failed_removes_the_child() -> None:
    story = Log()
    with DynamicSupervisor.start() as supervisor:
        crash(supervisor.start_child(member(0, story, [Ok(), Stop("no"), IGNORE])))
        until(lambda: supervisor.which_children() == [])
        assert started(story) == [0, 0, 0]


@pytest.mark.parametrize("most", [0, 1, 3])
def test_a_restart_that_fails_is_tried_again_and_each_try_counts(most: int) -> None:
    story = Log()
    supervisor = DynamicSupervisor.start(max_restarts=most)
    with watching(supervisor) as reason:
        supervisor.start_child(member("other", story))
        crash(supervisor.start_child(member(0, story, [Ok(), *[Stop("no")] * 9])))
        assert reason() is SHUTDOWN
    told = story.now()
    assert [what for id_, what in told if id_ == 0] == ["start", "crash", *["start"] * most]
    assert told[-1] == ("other", SHUTDOWN)


@pytest.mark.parametrize("kind", [ValueError, *FATAL])
def test_whatever_a_restart_raises_it_is_tried_again(kind: type[BaseException]) -> None:
    tries = Log()

    def start() -> Any:
        tries.put("try")
        return fail(kind()) if 1 < tries.qsize() < 4 else Driven.start_link()

    with DynamicSupervisor.start(max_restarts=3) as supervisor:
        crash(supervisor.start_child(ChildSpec(0, start)))
        until(lambda: supervisor.count_children().active == 1)
        assert len(tries.now()) == 4


def test_while_it_is_trying_the_supervisor_answers_its_other_requests() -> None:
    with DynamicSupervisor.start(max_restarts=10**9) as supervisor:
        crash(supervisor.start_child(member(0, Log(), refusing())))
        other = supervisor.start_child(member(1, Log()))
        assert counts_of(supervisor) == (2, 1, 0, 2)
        assert set(pids_in(supervisor)) == {"restarting", other}
        crash(other)
        (second,) = set(pids_in(supervisor)) - {"restarting"}
        assert second.is_alive()
        supervisor.terminate_child(second)
        assert pids_in(supervisor) == ["restarting"]


def test_a_supervisor_can_be_stopped_while_it_is_trying() -> None:
    story = Log()
    supervisor = DynamicSupervisor.start(max_restarts=10**9)
    supervisor.start_child(member("other", story))
    crash(supervisor.start_child(member(0, Log(), refusing())))
    supervisor.stop()
    assert story.now() == [("other", "start"), ("other", SHUTDOWN)]


@pytest.mark.parametrize("most", [0, 1, 3])
def test_intensity_is_shared_by_all_children(most: int) -> None:
    supervisor = DynamicSupervisor.start(max_restarts=most)
    children = [supervisor.start_child(member(number, Log())) for number in range(most + 1)]
    with watching(supervisor) as reason:
        for child in children[:-1]:
            crash(child)
            assert supervisor.count_children().active == most + 1
        crash(children[-1])
        assert reason() is SHUTDOWN
    with pytest.raises((g.CallExit, g.NoProcess)):
        supervisor.count_children()
    assert not any(child.is_alive() for child in children)


def test_a_restart_counts_for_max_seconds_and_not_longer(clock: ManualClock) -> None:
    supervisor = DynamicSupervisor.start(max_restarts=1, max_seconds=10)
    one, other = (supervisor.start_child(member(number, Log())) for number in range(2))
    with watching(supervisor) as reason:
        crash(one)
        assert supervisor.count_children().active == 2
        clock.advance(10.1)
        crash(other)
        assert supervisor.count_children().active == 2
        clock.advance(10)
        crash(pids_in(supervisor)[0])
        assert reason() is SHUTDOWN


def test_a_supervisor_that_gives_up_says_why(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = DynamicSupervisor.start(max_restarts=0)
    child = supervisor.start_child(member(0, Log()))
    with watching(supervisor) as reason:
        crash(child, "the cause")
        assert reason() is SHUTDOWN
    (record,) = about(caplog, "gives up", repr(supervisor), "0 restarts", repr(child), "'the cause'")
    assert record.levelno == logging.ERROR


def test_a_child_that_is_dead_when_its_start_returns_is_restarted_once() -> None:
    starts = Log()

    def start() -> Any:
        pid = Driven.start_link()
        starts.put(pid)
        if starts.qsize() == 1:
            pid.exit("stillborn")
            with watching(pid) as reason:
                reason()
        return pid

    with DynamicSupervisor.start(max_restarts=1) as supervisor:
        supervisor.start_child(ChildSpec(0, start))
        assert pids_in(supervisor) == starts.now()[1:]


# terminate_child.


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
def test_terminate_child_returns_when_it_is_down_and_then_it_is_not_found(restart: Any) -> None:
    story = Log()
    with DynamicSupervisor.start(max_restarts=0) as supervisor:
        sibling = supervisor.start_child(Driven)
        pid = supervisor.start_child(member(0, story, restart=restart))
        supervisor.terminate_child(pid)
        assert not pid.is_alive()
        assert story.now() == [(0, "start"), (0, SHUTDOWN)]
        with pytest.raises(g.ChildNotFound) as caught:
            supervisor.terminate_child(pid)
        assert isinstance(caught.value, LookupError)
        assert caught.value.args == (pid,)
        assert pids_in(supervisor) == [sibling]


def test_terminate_child_gives_a_child_its_shutdown_time_and_then_kills_it() -> None:
    with Driven.start() as bystander, Gate() as gate, DynamicSupervisor.start() as supervisor:
        pid = supervisor.start_child(ending(0, Log(), lambda self: gate.wait(), shutdown=0.2))
        supervisor.terminate_child(pid)
        assert pid.process.reason is KILLED
        assert g.abandoned() == 1
        assert supervisor.which_children() == []
        assert supervisor.start_child(Driven).is_alive()
        gate.open()
        until(lambda: threads_left(bystander) == 0)


def test_terminate_child_kills_brutally() -> None:
    story = Log()
    with DynamicSupervisor.start() as supervisor:
        pid = supervisor.start_child(member(0, story, shutdown="brutal_kill"))
        supervisor.terminate_child(pid)
        assert pid.process.reason is KILLED
        assert story.now() == [(0, "start")]


def test_terminate_child_of_a_stranger_is_child_not_found_and_harms_nobody() -> None:
    with DynamicSupervisor.start() as supervisor, DynamicSupervisor.start() as other, Driven.start() as stranger:
        child = supervisor.start_child(Driven)
        anothers = other.start_child(Driven)
        link(stranger, supervisor)
        nobody: list[Any] = [None, "child", 0, []]
        for pid in (stranger, anothers, other, supervisor, dead(), *nobody):
            with pytest.raises(g.ChildNotFound):
                supervisor.terminate_child(pid)
        assert pids_in(supervisor) == [child]
        assert all(pid.is_alive() for pid in (child, stranger, anothers))


@pytest.mark.parametrize(
    "end", [lambda self: fail(ValueError()), lambda self: self.pid.exit(KILL)], ids=["crash", "kill of itself"]
)
def test_terminate_child_of_a_child_that_exits_for_another_reason_is_logged_and_not_followed_by_a_restart(
    end: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with DynamicSupervisor.start(max_restarts=0) as supervisor:
        pid = supervisor.start_child(ending(0, Log(), end))
        supervisor.terminate_child(pid)
        assert not pid.is_alive()
        assert supervisor.which_children() == []
    assert about(caplog, repr(supervisor), repr(pid), repr(pid.process.reason))


def test_terminate_child_ends_the_tries_of_a_child_under_restart() -> None:
    """It has the pid of the process that ended, until there is another."""
    story = Log()
    with DynamicSupervisor.start(max_children=1, max_restarts=10**9) as supervisor:
        pid = supervisor.start_child(member(0, story, refusing()))
        crash(pid)
        assert pids_in(supervisor) == ["restarting"]
        supervisor.terminate_child(pid)
        assert supervisor.which_children() == []
        story.now()
        assert counts_of(supervisor) == (0, 0, 0, 0)
        assert story.now() == []
        with pytest.raises(g.ChildNotFound):
            supervisor.terminate_child(pid)
        assert supervisor.start_child(Driven).is_alive()


# Stopping.


def test_all_children_are_stopped_at_the_same_time() -> None:
    together = threading.Barrier(3)
    story = Log()
    with DynamicSupervisor.start() as supervisor:
        for number in range(3):  # the barrier breaks, and is a crash, unless all three are here
            supervisor.start_child(ending(number, story, lambda self: together.wait(DEADLINE)))
        assert started(story) == [0, 1, 2]
    assert not together.broken
    assert sorted(story.now()) == [(number, SHUTDOWN) for number in range(3)]


def test_three_stuck_children_are_stopped_in_the_shutdown_time_of_one() -> None:
    with Driven.start() as bystander, Gate() as gate:
        supervisor = DynamicSupervisor.start()
        children = [
            supervisor.start_child(ending(number, Log(), lambda self: gate.wait(), shutdown=0.3)) for number in range(3)
        ]
        began = time.monotonic()
        supervisor.stop()
        assert 0.3 <= time.monotonic() - began < 0.9  # and not one after another
        assert [child.process.reason for child in children] == [KILLED] * 3
        assert g.abandoned() == 3
        gate.open()
        until(lambda: threads_left(bystander) == 0)


def test_each_child_has_its_own_shutdown_time_at_the_end() -> None:
    story = Log()
    with Gate() as gate, Gate() as stuck:
        supervisor = DynamicSupervisor.start()
        fast = supervisor.start_child(ending("fast", story, lambda self: stuck.wait(), shutdown=0.2))
        slow = supervisor.start_child(ending("slow", story, lambda self: gate.wait(), shutdown=math.inf))
        brutal = supervisor.start_child(member("brutal", story, shutdown="brutal_kill"))
        plain = supervisor.start_child(Driven)
        with watching(fast) as first, meanwhile(supervisor.stop) as outcome:
            assert first() is KILLED
            assert slow.is_alive()
            gate.open()
            assert outcome() is True
        assert (slow.process.reason, brutal.process.reason, plain.process.reason) == (SHUTDOWN, KILLED, SHUTDOWN)


def test_a_child_that_dies_while_all_are_stopped_does_not_keep_the_others_from_it() -> None:
    story = Log()
    supervisor = DynamicSupervisor.start()
    ends = [lambda self: fail(ValueError()), lambda self: self.pid.exit(KILL), lambda self: None]
    for number, end in enumerate(ends):
        supervisor.start_child(ending(number, story, end))
    with watching(supervisor) as reason:
        supervisor.stop()
        assert reason() is NORMAL
    assert sorted(story.now()[3:]) == [(number, SHUTDOWN) for number in range(3)]


def test_a_child_that_has_unlinked_itself_is_stopped_all_the_same() -> None:
    with DynamicSupervisor.start() as supervisor:
        one, other = (supervisor.start_child(member(number, Log())) for number in range(2))
        for pid in (one, other):
            within(pid, lambda self: g.unlink(supervisor))
        supervisor.terminate_child(one)
        assert not one.is_alive()
    assert not other.is_alive()


@pytest.mark.parametrize("reason", ["parental", NORMAL, SHUTDOWN, Shutdown("x"), None], ids=repr)
def test_the_parents_exit_stops_it_with_the_same_reason(reason: Any) -> None:
    story = Log()
    parent = Driven.start()
    supervisor = within(parent, lambda self: DynamicSupervisor.start_link())
    for number in range(2):
        supervisor.start_child(member(number, story))
    with watching(supervisor) as ended:
        parent.cast(lambda self, state: Stop(reason))
        assert ended() is reason
    assert sorted(story.now()[2:]) == [(0, SHUTDOWN), (1, SHUTDOWN)]


def test_killed_its_trapping_children_run_terminate_and_the_others_die() -> None:
    story = Log()
    supervisor = DynamicSupervisor.start()
    trapping, other = supervisor.start_child(member(0, story)), supervisor.start_child(Driven)
    with watching(trapping) as one, watching(other) as two:
        supervisor.exit(KILL)
        assert (one(), two()) == (KILLED, KILLED)
    assert story.now() == [(0, "start"), (0, KILLED)]


def test_a_strangers_exit_is_logged_and_ignored(caplog: pytest.LogCaptureFixture) -> None:
    with DynamicSupervisor.start(max_restarts=0) as supervisor:
        child = supervisor.start_child(Driven)
        supervisor.exit("from a thread")
        stranger = Driven.start()
        link(stranger, supervisor)
        crash(stranger, "from a link")
        assert pids_in(supervisor) == [child]
        for words in (["from a thread"], ["from a link", repr(stranger)]):
            assert len(about(caplog, "which is not its child", repr(supervisor), *words)) == 1


def test_a_strangers_messages_are_logged_and_ignored(caplog: pytest.LogCaptureFixture) -> None:
    with DynamicSupervisor.start() as supervisor:
        child = supervisor.start_child(Driven)
        supervisor.send("a message")
        supervisor.cast("a cast")
        with pytest.raises(TypeError, match="a call"):
            supervisor.call("a call")
        assert pids_in(supervisor) == [child]
        for word in ("a message", "a cast", "a call"):
            (record,) = about(caplog, word, repr(supervisor))
            assert record.levelno == logging.WARNING


# As a child.


def test_a_dynamic_supervisor_is_restarted_by_its_supervisor_without_its_children() -> None:
    story = Log()
    with Supervisor.start([DynamicSupervisor]) as top:
        first = pid_of(top, DynamicSupervisor)
        first.start_child(member(0, story))
        assert ended_by(first, lambda pid: pid.exit(KILL)) is KILLED
        second = pid_of(top, DynamicSupervisor)
        assert second is not first
        assert second.which_children() == []
        assert [story.next(), story.next()] == [(0, "start"), (0, KILLED)]


def test_its_parent_sees_shutdown_when_it_gives_up() -> None:
    with Trapping.start() as parent:
        log = log_of(parent)
        supervisor = within(parent, lambda self: DynamicSupervisor.start_link(max_restarts=0))
        crash(supervisor.start_child(member(0, Log())))
        assert log.next() == g.Exit(supervisor, SHUTDOWN)
