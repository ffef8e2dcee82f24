"""Probes, with real actors on the other side."""

import asyncio
import threading
import time
from typing import Any
from unittest import mock

import pytest

import gennostr as g
from gennostr import KILLED, NOPROC, NORMAL, SHUTDOWN, Down, Exit
from gennostr.testing import Probe, ReceivedCall
from tests.otp.actors import Driven, Trapping, meanwhile, settle, watching, within


def failure(expect: Any, *arguments: Any, **keywords: Any) -> str:
    """Return what an expectation says that fails."""
    with pytest.raises(AssertionError) as caught:
        expect(*arguments, **keywords)
    return str(caught.value)


# What arrives.


def test_messages_casts_and_calls_arrive_in_order_and_are_told_apart(probe: Probe) -> None:
    with Driven.start() as server:

        def tell(self: Any) -> g.PendingReply:
            g.send(probe.pid, 1)
            g.cast(probe.pid, 2)
            return probe.pid.send_request(3)

        pending = within(server, tell)
        assert probe.expect(1) == 1
        assert probe.expect_cast(2) == 2
        call = probe.expect_call(3)
        assert call.from_.caller is server.process
        call.reply("answer")
        call.reply("late")
        assert pending.wait() == "answer"


def test_a_call_that_fails_raises_in_its_caller(probe: Probe) -> None:
    server = Driven.start()
    error = ValueError("no")
    server.send_request(lambda self, from_, state: g.Reply(probe.pid.call("question")))
    with watching(server) as reason:
        probe.expect_call("question").fail(error)
        assert reason() is error


@pytest.mark.parametrize("wanted", [5, int, lambda message: message > 4], ids=["a value", "a type", "a predicate"])
def test_what_is_wanted_is_a_value_a_type_or_a_predicate(probe: Probe, wanted: Any) -> None:
    probe.pid.send(5)
    assert probe.expect(wanted) == 5
    probe.pid.cast(5)
    assert probe.expect_cast(wanted) == 5
    pending = probe.pid  # a call comes from elsewhere: who acts as the probe cannot call it
    with meanwhile(lambda: pending.call(5)) as outcome:
        probe.expect_call(wanted).reply(6)
        assert outcome() == 6


def test_who_acts_as_the_probe_can_send_it_a_request_and_answer_it(probe: Probe) -> None:
    pending = probe.pid.send_request("x")
    with pytest.raises(g.CallingSelf):  # it is not answered yet, and could not be while this thread waits
        pending.wait()
    probe.expect_call("x").reply(1)
    assert pending.wait() == 1
    failed = g.send_request(probe.pid, "y")
    call = probe.expect_call("y")
    assert call.from_.caller is probe.pid.process
    call.fail(KeyError("y"))
    with pytest.raises(KeyError):
        failed.wait()
    assert list(g.as_completed([pending, failed], 0)) == [pending, failed]


def test_coroutines_in_the_thread_that_acts_as_the_probe_can_call_it(probe: Probe) -> None:
    async def main() -> Any:
        asking = asyncio.create_task(probe.pid.call_async("x"))
        await asyncio.sleep(0)
        probe.expect_call("x").reply(1)
        late = asyncio.create_task(probe.pid.call_async("y", 0.01))
        with pytest.raises(g.CallTimeout):
            await late
        return await asking

    assert asyncio.run(main()) == 1
    probe.expect_call("y").reply("too late")


def test_a_call_that_would_wait_for_its_own_thread_is_calling_self_at_once(probe: Probe) -> None:
    for call in (probe.pid.call, probe.pid.ask):
        with pytest.raises(g.CallingSelf):
            call("x", timeout=None)
    with pytest.raises(g.CallingSelf):
        probe.pid.stop(timeout=None)
    probe.expect_no_message(0)


def test_a_call_from_another_thread_or_of_another_probe_is_an_ordinary_one(probe: Probe) -> None:
    with meanwhile(lambda: probe.pid.call("x")) as outcome:
        probe.expect_call("x").reply(1)
        assert outcome() == 1
    with Probe() as other:
        pending = probe.pid.send_request("x")
        assert probe.expect_call("x").from_.caller is other.pid.process
    probe.stop("over")
    with pytest.raises(g.CallExit):
        pending.wait()


def test_by_name_and_via_too() -> None:
    with g.Registry.start() as registry, Probe("probe") as probe, Probe(g.via(registry, "key")) as other:
        assert g.whereis("probe") is probe.pid
        with pytest.raises(g.AlreadyStarted):
            Probe("probe")
        g.send("probe", 1)
        g.send(g.via(registry, "key"), 2)
        assert (probe.expect(int), other.expect(int)) == (1, 2)
    assert g.whereis("probe") is None
    with pytest.raises(TypeError, match="3"):
        Probe(3)  # type: ignore[arg-type]


def test_a_timer_and_an_asyncio_less_thread_reach_it(probe: Probe) -> None:
    g.send_after(0.01, probe.pid, "tick")
    assert probe.expect("tick") == "tick"
    thread = threading.Thread(target=lambda: probe.pid.send("from a thread"))
    thread.start()
    assert probe.expect(str) == "from a thread"
    thread.join()


# Links and monitors.


def test_it_is_the_parent_of_what_is_started_linked_while_it_acts() -> None:
    with Probe() as probe:
        server = Driven.start_link()
        assert server.process.parent is probe.pid.process
        server.stop("why")
        assert probe.expect_exit(server, "why") == Exit(server, "why")
        other = Trapping.start_link()
    with watching(other) as reason:
        assert reason() is not None  # SHUTDOWN, or NOPROC if it had ended already
    assert not other.is_alive()


def test_its_end_is_told_to_who_is_linked_monitors_or_waits() -> None:
    probe = Probe()
    with Trapping.start() as server, watching(probe.pid) as reason, meanwhile(lambda: probe.pid.call(1)) as outcome:
        probe.link(server)
        probe.expect_call(1)
        probe.stop("over")
        assert reason() == "over"
        assert outcome().reason == "over"
        assert within(server, lambda self: self.log.next()) == Exit(probe.pid, "over")
    assert not probe.pid.is_alive()
    assert "ended: 'over'" in failure(probe.expect, 1, timeout=0)


def test_it_monitors_and_expects_downs(probe: Probe) -> None:
    server = Driven.start(name="server")
    refs = [probe.monitor(server), probe.monitor("server"), probe.monitor(server)]
    probe.demonitor(refs.pop())
    server.exit(g.KILL)
    assert probe.expect_down(server, KILLED) == Down(refs[0], server, KILLED)
    assert probe.expect_down("server", KILLED) == Down(refs[1], "server", KILLED)
    probe.monitor(server)
    probe.expect_down(server, NOPROC)
    probe.expect_no_message(0)


def test_a_down_that_was_flushed_does_not_come(probe: Probe) -> None:
    with Driven.start() as server:
        ref = probe.monitor(server)
    probe.demonitor(ref, flush=True)
    probe.expect_no_message(0)


def test_it_traps_exits_and_only_a_kill_or_a_stop_ends_it(probe: Probe) -> None:
    with Driven.start() as server:
        within(server, lambda self: probe.pid.exit(SHUTDOWN))
        probe.expect_exit(server, SHUTDOWN)
        probe.unlink(server)
    victim = Probe()
    with watching(victim.pid) as reason:
        victim.pid.exit(g.KILL)
        assert reason() is KILLED
    other = Probe()
    other.pid.stop("asked for")
    assert not other.pid.is_alive()


def test_it_answers_system_messages_at_once(probe: Probe) -> None:
    with Driven.start() as server:
        assert within(server, lambda self: probe.pid.get_state()) is None
        assert within(server, lambda self: probe.pid.get_status()).status == "probe"


# Failures.


def test_a_miss_says_what_was_wanted_and_shows_ten_of_the_mailbox(probe: Probe) -> None:
    for number in range(12):
        probe.pid.send(number)
    said = failure(probe.expect_cast, "it")
    assert "expected a cast that is 'it'" in said
    assert "the next is message 0" in said
    assert "12 messages" in said
    assert "message 9" in said
    assert "message 10" not in said
    assert "and 2 more" in said
    assert probe.receive_n(12) == list(range(12))  # a miss takes nothing


def test_a_miss_fails_at_its_deadline_and_not_later(probe: Probe) -> None:
    began = time.monotonic()
    said = failure(probe.expect, "it", timeout=0.05)
    assert 0.05 <= time.monotonic() - began < 0.5
    assert "within 0.05 s" in said
    assert "mailbox is empty" in said


def test_what_comes_just_after_the_deadline_is_said_to(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = probe._mailbox

    def late() -> str:
        probe.pid.send("late")
        return shown()

    monkeypatch.setattr(probe, "_mailbox", late)
    said = failure(probe.expect, "late", timeout=0)
    assert "just after the deadline" in said
    assert "message 'late'" in said


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        (lambda probe: probe.expect_exit(probe.pid, NORMAL), "Exit(<Pid"),
        (lambda probe: probe.expect_down(probe.pid, ValueError), "of type ValueError"),
        (lambda probe: probe.expect_call(), "expected a call"),
        (lambda probe: probe.expect(int), "of type int"),
        (lambda probe: probe.expect(lambda message: False), "<lambda>"),
        (lambda probe: probe.receive_n(3), "3 messages"),
        (lambda probe: probe.expect_no_message(), "no message"),
        (lambda probe: probe.fish_for("it", ignore=int), "or one to ignore"),
    ],
)
def test_each_miss_names_what_it_wanted(probe: Probe, expect: Any, said: str) -> None:
    probe.pid.send("other")
    with probe.within(0.02):
        assert said in failure(expect, probe)


class Refusing:
    """A message that cannot be compared."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise TypeError("no comparing")

    def __repr__(self) -> str:
        return "<refusing>"


class Elementwise(Refusing):
    """A message whose comparison has no truth value, as that of an array."""

    __hash__ = None

    def __eq__(self, other: object) -> Any:
        return self

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")


@pytest.mark.parametrize("kind", [Refusing, Elementwise])
@pytest.mark.parametrize("wrap", [lambda message: message, lambda message: ("data", message)], ids=["bare", "nested"])
def test_a_message_that_cannot_be_compared_equals_itself_alone(probe: Probe, kind: Any, wrap: Any) -> None:
    mine = kind()
    for send in (probe.pid.send, probe.pid.cast):
        send(wrap(mine))
    with meanwhile(lambda: probe.pid.call(wrap(mine))) as outcome:
        for expect in (probe.expect, probe.expect_cast, probe.expect_call):
            for other in ("tick", wrap("tick"), wrap(kind())):
                assert "<refusing>" in failure(expect, other).partition("mailbox: ")[2]
            found = expect(wrap(mine))
        found.reply("answer")
        assert outcome() == "answer"


@pytest.mark.parametrize("kind", [Refusing, Elementwise])
def test_a_reason_or_name_that_cannot_be_compared_equals_itself_alone(probe: Probe, kind: Any) -> None:
    reason = kind()
    server = Driven.start()
    probe.link(server)
    probe.monitor(server)
    server.exit(reason)
    for expect in (probe.expect_down, probe.expect_exit):
        assert "<refusing>" in failure(expect, server, kind())
        assert "<refusing>" in failure(expect, kind(), reason)
        assert expect(server, reason).reason is reason


def test_fishing_passes_what_cannot_be_compared(probe: Probe) -> None:
    for message in [Refusing(), Elementwise(), "it"]:
        probe.pid.send(message)
    assert "<refusing>" in failure(probe.fish_for, "it", ignore="nothing")
    assert probe.fish_for("it") == "it"


def test_what_is_made_to_equal_anything_does(probe: Probe) -> None:
    probe.pid.send(Refusing())
    assert isinstance(probe.expect(mock.ANY), Refusing)


@pytest.mark.parametrize("message", ["it", Refusing(), Elementwise()], ids=repr)
def test_an_exception_of_a_predicate_passes_through_and_takes_nothing(probe: Probe, message: Any) -> None:
    def predicate(message: Any) -> object:
        raise LookupError("of the test's own")

    probe.pid.send(message)
    for expect in (probe.expect, probe.fish_for, lambda wanted: probe.fish_for("other", ignore=wanted)):
        with pytest.raises(LookupError, match="of the test's own"):
            expect(predicate)
    assert probe.expect(object) is message


# The rest.


def test_fishing_drops_what_may_be_ignored_and_leaves_what_follows(probe: Probe) -> None:
    for message in [1, 2, "it", 3]:
        probe.pid.send(message)
    assert probe.fish_for("it", ignore=int) == "it"
    assert probe.expect(3) == 3
    probe.pid.cast(4)
    assert "ignored" in failure(probe.fish_for, "it", timeout=0.01)
    probe.expect_no_message(0)


def test_received_are_requests_of_casts_and_calls_to_be_answered(probe: Probe) -> None:
    probe.pid.cast(1)
    with meanwhile(lambda: probe.pid.call(2)) as outcome:
        first, second = probe.receive_n(2)
        assert first == 1
        assert isinstance(second, ReceivedCall)
        assert second.message == 2
        second.reply(3)
        assert outcome() == 3


def test_expectations_within_share_one_deadline(probe: Probe) -> None:
    began = time.monotonic()
    with probe.within(0.05):
        failure(probe.expect, 1)
        failure(probe.expect, 1)
        failure(probe.expect, 1, timeout=10)
        with probe.within(10):
            failure(probe.expect, 1)
    assert time.monotonic() - began < 0.5
    probe.pid.send(1)
    assert probe.expect(1) == 1


def test_a_thousand_probes_cost_no_thread() -> None:
    before = threading.active_count()
    probes = [Probe() for _ in range(1000)]
    assert threading.active_count() == before
    with Driven.start() as server:
        within(server, lambda self: list(map(g.send, (probe.pid for probe in probes), range(1000))))
        assert [probe.expect(int) for probe in probes] == list(range(1000))
        settle(server)
