"""Links, monitors and exit signals: which processes an end reaches, what it does to them, and in which order."""

import asyncio
import itertools
import threading
from collections.abc import Callable
from typing import Any

import pykka
import pytest

import gennostr as g
from gennostr import IGNORE, KILL, KILLED, NOPROC, NORMAL, SHUTDOWN, NoReply, Ok, Registry, Reply, Shutdown, Stop
from gennostr.otp.calls import Request
from tests.otp.actors import (
    CALLBACKS,
    DEADLINE,
    FATAL,
    Driven,
    Gate,
    Log,
    Trapping,
    crash_reports,
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

ENDS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "stop from a callback": (lambda server: server.cast(lambda self, state: Stop("why")), "why"),
    "normal stop from a callback": (lambda server: server.cast(lambda self, state: Stop()), NORMAL),
    "stop": (lambda server: server.stop("why"), "why"),
    "normal stop": (lambda server: server.stop(), NORMAL),
    "stop with SHUTDOWN": (lambda server: server.stop(SHUTDOWN), SHUTDOWN),
    "stop with Shutdown(x)": (lambda server: server.stop(Shutdown("x")), Shutdown("x")),
    "stop with None": (lambda server: server.stop(None), None),
    "stop with KILL": (lambda server: server.stop(KILL), KILL),
    "crash": (lambda server: server.cast(lambda self, state: 1 / 0), ZeroDivisionError),
    "bad return value": (lambda server: server.cast(lambda self, state: 3), g.BadReturnValue),
    "exit signal": (lambda server: server.exit("signal"), "signal"),
    "kill": (lambda server: server.exit(KILL), KILLED),
}
"""How a server that does not trap ends, and with which reason."""

UNCLEAN = {name: each for name, each in ENDS.items() if each[1] is not NORMAL}


def exited(server: g.Pid) -> Any:
    """Wait for the end of a server and return its reason, even if it is dead already."""
    with watching(server) as reason:
        reason()
    return server.process.reason


# Links.


@pytest.mark.parametrize("who", ["the one who linked", "the other"])
@pytest.mark.parametrize(("end", "expected"), UNCLEAN.values(), ids=UNCLEAN)
def test_a_linked_exit_ends_who_does_not_trap_with_the_same_reason(
    end: Callable[[Any], Any], expected: Any, who: str
) -> None:
    one, other = Driven.start(), Driven.start()
    link(one, other)
    first, last = (one, other) if who == "the one who linked" else (other, one)
    log = log_of(last)
    with watching(last) as ended:
        end(first)
        reason = ended()
    assert fits(reason, expected)
    assert reason is exited(first)
    assert log.now() == []  # no terminate


def test_a_linked_normal_exit_is_ignored_by_who_does_not_trap() -> None:
    for end, expected in ENDS.values():
        if expected is NORMAL:
            with Driven.start() as one:
                other = Driven.start()
                link(one, other)
                end(other)
                exited(other)
                settle(one)
                assert log_of(one).now() == []


@pytest.mark.parametrize(("end", "expected"), ENDS.values(), ids=ENDS)
def test_who_traps_gets_one_exit_and_lives(end: Callable[[Any], Any], expected: Any) -> None:
    with Trapping.start() as one:
        other = Driven.start()
        link(one, other)
        log = log_of(one)
        end(other)
        message = log.next()
        assert message == g.Exit(other, other.process.reason)
        assert fits(message.reason, expected)
        settle(one)
        assert log.now() == []


@pytest.mark.parametrize("kind", [ValueError, *FATAL])
def test_an_exception_goes_through_links_as_that_very_exception(kind: type[BaseException]) -> None:
    error = kind("why")
    one, other = Driven.start(), Driven.start()
    link(one, other)
    with watching(one) as reason:
        other.cast(lambda self, state: fail(error))
        assert reason() is error


def test_who_traps_gets_one_exit_however_often_linked() -> None:
    with Trapping.start() as one:
        other = Driven.start()
        for _ in range(3):
            link(one, other)
            link(other, one)
        log = log_of(one)
        other.stop("reason")
        assert log.next() == g.Exit(other, "reason")
        settle(one)
        assert log.now() == []


def test_a_link_twice_is_gone_by_one_unlink_from_either_side() -> None:
    for unlinking in (0, 1):
        with Driven.start() as one:
            other = Driven.start()
            link(one, other)
            link(one, other)
            link(other, one)
            within((one, other)[unlinking], lambda self, pid=(other, one)[unlinking]: g.unlink(pid))  # type: ignore[misc]
            other.stop("reason")
            settle(one)
            assert one.is_alive()


def test_a_link_that_was_taken_back_can_be_made_again() -> None:
    with Trapping.start() as one:
        other = Driven.start()
        for _ in range(3):
            link(one, other)
            within(one, lambda self: g.unlink(other))
        link(one, other)
        other.stop("reason")
        assert log_of(one).next() == g.Exit(other, "reason")


def test_nothing_comes_through_a_link_that_was_taken_back() -> None:
    with Driven.start() as one, Trapping.start() as trapping:
        other = Driven.start()
        for each in (one, trapping):
            link(each, other)
            within(each, lambda self: g.unlink(other))
        other.stop("reason")
        for each in (one, trapping):
            settle(each)
            assert log_of(each).now() == []


def test_unlinking_drops_no_exit_that_is_queued_already() -> None:
    with Trapping.start() as one, Gate() as gate:
        other = Driven.start()
        link(one, other)
        log = log_of(one)
        one.cast(lambda self, state: gate.wait() or g.unlink(other))  # type: ignore[func-returns-value]
        gate.reached()
        other.stop("reason")
        gate.open()
        settle(one)
        assert log.now() == [g.Exit(other, "reason")]


def test_unlinking_drops_no_message() -> None:
    with Driven.start() as one, Driven.start() as other, Gate() as gate:
        link(one, other)
        log = log_of(one)
        one.cast(lambda self, state: gate.wait() or g.unlink(other))  # type: ignore[func-returns-value]
        gate.reached()
        within(other, lambda self: [one.send(number) for number in range(5)])  # type: ignore[func-returns-value]
        gate.open()
        settle(one)
        assert log.now() == list(range(5))


def test_unlinking_who_is_not_linked_is_dead_or_unknown_is_nothing() -> None:
    gone = dead()
    with Registry.start() as registry, Driven.start() as one, Driven.start() as other:

        def unlink(self: Any) -> None:
            for target in (other, gone, "nobody", g.via(registry, "nobody"), self.pid):
                g.unlink(target)

        within(one, unlink)
        settle(one)


@pytest.mark.parametrize("kind", ["pid", "name", "via"])
def test_links_and_unlinks_work_by_pid_by_name_and_by_via(kind: str) -> None:
    with Registry.start() as registry, Trapping.start() as one:
        target: Any = {"pid": None, "name": "the other", "via": g.via(registry, "key")}[kind]
        for unlink in (False, True):
            other = Driven.start(name=target)
            link(one, target or other)
            if unlink:
                within(one, lambda self, other=other: g.unlink(target or other))  # type: ignore[misc]
            other.stop("reason")
            settle(one)
            assert log_of(one).now() == ([] if unlink else [g.Exit(other, "reason")])


def test_linking_to_the_dead_is_an_exit_noproc_to_who_traps() -> None:
    gone = dead()
    with Trapping.start() as one:
        link(one, gone)
        assert log_of(one).next() == g.Exit(gone, NOPROC)


@pytest.mark.parametrize("target", ["nobody", g.via("no registry", "nobody")], ids=["name", "via"])
def test_linking_to_the_unknown_is_an_exit_noproc_to_who_traps(target: Any) -> None:
    with Trapping.start() as one:
        within(one, lambda self: g.link(target))
        assert log_of(one).next().reason is NOPROC
        settle(one)
        assert log_of(one).now() == []


@pytest.mark.parametrize("target", [None, "nobody", g.via("no registry", "nobody")], ids=["pid", "name", "via"])
def test_linking_to_the_dead_and_unknown_is_an_error_to_who_does_not_trap(target: Any) -> None:
    there = target or dead()
    with Driven.start() as one:
        error = within(one, lambda self: outcome_of(lambda: g.link(there)))
        assert isinstance(error, g.NoProcess)
        assert error.target == there
        settle(one)  # caught, it harms nobody
    one = Driven.start()
    with watching(one) as ended:
        one.cast(lambda self, state: g.link(there))
        assert isinstance(ended(), g.NoProcess)


def test_a_link_to_oneself_is_nothing() -> None:
    with Trapping.start() as one:
        link(one, one)
        within(one, lambda self: g.unlink(self.pid))
        link(one, one)
        one.stop("reason")
        assert exited(one) == "reason"


@pytest.mark.parametrize("where", ["init", "terminate", *CALLBACKS])
def test_any_callback_may_link(where: str) -> None:
    class Linking(Driven):
        def terminate(self, reason: Any, state: Any) -> None:
            if where == "terminate":
                g.link(one)

    def do(self: Any) -> Any:
        g.link(one)
        return Reply(1) if where == "handle_call" else None

    with Trapping.start() as one:
        other = Linking.start((lambda self: g.link(one)) if where == "init" else None)
        if where in CALLBACKS:
            provoke_and_settle(other, where, do)
        other.stop("reason")
        assert log_of(one).next() == g.Exit(other, "reason")


def provoke_and_settle(server: g.Pid, callback: str, function: Callable[[Any], Any]) -> None:
    provoke(server, callback, function)
    settle(server)


@pytest.mark.parametrize(("end", "expected"), UNCLEAN.values(), ids=UNCLEAN)
def test_start_link_links_the_parent_to_the_child_too(end: Callable[[Any], Any], expected: Any) -> None:
    with Trapping.start() as trapping:
        child = within(trapping, lambda self: Driven.start_link())
        end(child)
        message = log_of(trapping).next()
        assert message.pid is child
        assert fits(message.reason, expected)
    parent = Driven.start()
    child = within(parent, lambda self: Driven.start_link())
    with watching(parent) as reason:
        end(child)
        assert fits(reason(), expected)


@pytest.mark.parametrize("wrong", [3, None, b"name", object()], ids=["int", "None", "bytes", "object"])
def test_a_link_or_a_monitor_of_what_is_no_target_is_a_type_error(wrong: Any) -> None:
    with Driven.start() as one:
        for function in (g.link, g.unlink, g.monitor):
            error = within(one, lambda self, function=function: outcome_of(lambda: function(wrong)))  # type: ignore[misc]
            assert isinstance(error, TypeError)


class Plain(pykka.ThreadingActor):
    """An actor of pykka, not of this library."""

    use_daemon_thread = True

    def on_receive(self, message: Any) -> Any:
        return outcome_of(message)


def test_a_plain_thread_and_another_kind_of_actor_can_neither_link_nor_monitor() -> None:
    plain = Plain.start()
    try:
        with Driven.start() as server:
            ref = monitor(server, server)
            for function in (
                lambda: g.link(server),
                lambda: g.unlink(server),
                lambda: g.monitor(server),
                lambda: g.demonitor(ref),
            ):
                with pytest.raises(RuntimeError, match="plain thread"):
                    function()
                assert isinstance(plain.ask(function, timeout=DEADLINE), RuntimeError)
    finally:
        plain.stop()


# Many links.


@pytest.mark.parametrize("end", ["crash", "kill"])
def test_a_long_chain_of_links_dies_all_with_one_reason_and_one_report(
    end: str, caplog: pytest.LogCaptureFixture
) -> None:
    chain = [Driven.start() for _ in range(200)]
    for one, other in itertools.pairwise(chain):
        link(one, other)
    middle = chain[100]
    with watching(chain[0]) as first, watching(chain[-1]) as last:
        ENDS[end][0](middle)
        reasons = {id(first()), id(last())}
    assert {exited(each) for each in chain} == {middle.process.reason}
    assert reasons == {id(middle.process.reason)}
    assert [report.pid for report in crash_reports(caplog)] == ([middle] if end == "crash" else [])


def test_a_chain_of_links_dies_as_far_as_one_who_traps() -> None:
    with Trapping.start() as trapping, Driven.start() as behind:
        chain = [*[Driven.start() for _ in range(5)], trapping, behind]
        for one, other in itertools.pairwise(chain):
            link(one, other)
        chain[0].stop("reason")
        assert log_of(trapping).next() == g.Exit(chain[4], "reason")
        assert [exited(each) for each in chain[:5]] == ["reason"] * 5
        settle(behind)


def test_a_chain_of_links_to_one_who_ended_normally_goes_no_further() -> None:
    """The links of the dead are gone: what comes later does not jump the gap."""
    with Driven.start() as last:
        first, middle = Driven.start(), Driven.start()
        link(first, middle)
        link(middle, last)
        middle.stop()
        first.stop("reason")
        settle(last)


@pytest.mark.parametrize("end", ["stop", "crash", "kill", "exit signal"])
def test_a_cycle_of_links_dies_all(end: str) -> None:
    cycle = [Driven.start() for _ in range(10)]
    for one, other in itertools.pairwise([*cycle, cycle[0]]):
        link(one, other)
    ENDS[end][0](cycle[3])
    assert {exited(each) for each in cycle} == {cycle[3].process.reason}


@pytest.mark.parametrize("end", ["stop", "crash", "kill", "exit signal"])
def test_where_all_are_linked_with_all_one_reason_ends_them_all(end: str) -> None:
    group = [Driven.start() for _ in range(12)]
    for one, other in itertools.combinations(group, 2):
        link(one, other)
    ENDS[end][0](group[5])
    assert {exited(each) for each in group} == {group[5].process.reason}


def test_a_hundred_who_trap_each_get_one_exit_of_the_one_in_the_middle() -> None:
    middle = Driven.start()
    around = [Trapping.start() for _ in range(100)]
    for each in around:
        link(each, middle)
    middle.stop("reason")
    for each in around:
        assert log_of(each).next() == g.Exit(middle, "reason")
        settle(each)
        assert log_of(each).now() == []
        each.stop()


def test_two_that_are_linked_and_end_at_once_end_each_once() -> None:
    for _ in range(30):
        one, other = Driven.start(), Driven.start()
        link(one, other)
        together = threading.Barrier(2)
        for server, reason in ((one, "one"), (other, "other")):
            server.cast(
                lambda self, state, reason=reason, together=together: (together.wait(DEADLINE), Stop(reason))[1]
            )
        assert exited(one) in ("one", "other")
        assert exited(other) in ("one", "other")


def test_a_link_made_while_the_other_ends_is_either_an_error_or_an_exit_but_never_nothing() -> None:
    with Trapping.start() as one:
        log = log_of(one)
        for _ in range(100):
            other = Driven.start()
            with meanwhile(lambda other=other: other.stop("reason")):  # type: ignore[misc]
                link(one, other)
                message = log.next()
                assert message.pid is other
                assert message.reason in ("reason", NOPROC)
        settle(one)
        assert log.now() == []


# Exit signals.


@pytest.mark.parametrize("reason", ["reason", None, 0, SHUTDOWN, Shutdown("x"), KILLED, NOPROC], ids=repr)
def test_an_exit_signal_ends_who_does_not_trap_and_is_an_exit_to_who_does(reason: Any) -> None:
    with Driven.start() as sender, Trapping.start() as trapping:
        server = Driven.start()
        within(sender, lambda self: server.exit(reason))
        assert exited(server) == reason
        within(sender, lambda self: trapping.exit(reason))
        assert log_of(trapping).next() == g.Exit(sender, reason)
        trapping.exit(reason)
        assert log_of(trapping).next() == g.Exit(None, reason)


def test_exit_normal_from_another_is_ignored_by_who_does_not_trap() -> None:
    with Driven.start() as one, Driven.start() as sender:
        one.exit(NORMAL)
        within(sender, lambda self: one.exit(NORMAL))
        settle(one)
        assert log_of(one).now() == []


def test_exit_normal_from_another_is_an_exit_to_who_traps() -> None:
    with Trapping.start() as one, Driven.start() as sender:
        within(sender, lambda self: one.exit(NORMAL))
        assert log_of(one).next() == g.Exit(sender, NORMAL)
        one.exit(NORMAL)
        assert log_of(one).next() == g.Exit(None, NORMAL)


@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, "reason"], ids=repr)
def test_an_exit_signal_to_oneself_ends_who_does_not_trap_even_when_normal(reason: Any) -> None:
    server = Driven.start()
    log = log_of(server)
    with watching(server) as ended:
        server.cast(lambda self, state: self.pid.exit(reason))
        assert ended() == reason
    assert log.now() == []


def test_an_exit_signal_to_oneself_is_an_exit_to_who_traps() -> None:
    with Trapping.start() as one:
        for reason in (NORMAL, "reason"):
            within(one, lambda self, reason=reason: self.pid.exit(reason))  # type: ignore[misc]
            assert log_of(one).next() == g.Exit(one, reason)


def test_a_callback_goes_on_to_its_end_after_an_exit_signal_to_oneself() -> None:
    server = Driven.start()
    log = log_of(server)
    with watching(server) as ended:
        server.cast(lambda self, state: (self.pid.exit("signal"), self.log.put("went on"), None)[2])
        assert ended() == "signal"
    assert log.now() == ["went on"]


def test_an_exit_signal_to_the_dead_is_nothing() -> None:
    gone = dead()
    for reason in ("reason", NORMAL, KILL):
        gone.exit(reason)
    assert gone.process.reason is NORMAL


def test_an_exit_signal_needs_no_link_and_makes_none() -> None:
    with Trapping.start() as sender:
        server = Driven.start()
        within(sender, lambda self: server.exit("reason"))
        exited(server)
        settle(sender)
        assert log_of(sender).now() == []


def test_an_exit_signal_spreads_over_links() -> None:
    one, other = Driven.start(), Driven.start()
    link(one, other)
    one.exit("signal")
    assert exited(other) == "signal"


def test_an_exit_signal_to_a_busy_actor_that_does_not_trap_takes_effect_at_its_next_message() -> None:
    one = Driven.start()
    log = log_of(one)
    with Gate() as gate, watching(one) as ended:
        one.cast(lambda self, state: gate.wait() or self.log.put("went on"))
        one.send("queued")
        gate.reached()
        one.exit("signal")
        assert one.is_alive()
        gate.open()
        assert ended() == "signal"
    assert log.now() == ["went on"]


def test_a_linked_exit_to_a_busy_actor_that_does_not_trap_takes_effect_at_its_next_message() -> None:
    one, other = Driven.start(), Driven.start()
    link(one, other)
    log = log_of(one)
    with Gate() as gate, watching(one) as ended:
        one.cast(lambda self, state: gate.wait() or self.log.put("went on"))
        one.send("queued")
        gate.reached()
        other.stop("linked")
        assert one.is_alive()
        gate.open()
        assert ended() == "linked"
    assert log.now() == ["went on"]


def test_an_exit_signal_to_a_busy_actor_that_traps_waits_in_its_mailbox() -> None:
    with Trapping.start() as one, Gate() as gate:
        log = log_of(one)
        one.cast(lambda self, state: gate.wait())
        gate.reached()
        one.send("before")
        one.exit("signal")
        one.send("after")
        gate.open()
        settle(one)
        assert log.now() == ["before", g.Exit(None, "signal"), "after"]


def test_a_call_in_which_an_exit_signal_came_is_still_answered_and_then_the_server_ends() -> None:
    server = Driven.start()
    with Gate() as gate, watching(server) as ended:
        pending = server.send_request(lambda self, from_, state: Reply(gate.wait("answer")))
        gate.reached()
        server.exit("signal")
        gate.open()
        assert pending.wait() == "answer"
        assert ended() == "signal"


WAITS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "call": lambda self, other, keep: other.call(keep, None),
    "send_request": lambda self, other, keep: other.send_request(keep).wait(None),
    "as_completed": lambda self, other, keep: list(g.as_completed([other.send_request(keep)])),
    "call_async": lambda self, other, keep: asyncio.run(other.call_async(keep, None)),
    "a future": lambda self, other, keep: other.ask(keep, block=False).get(),
    "stop": lambda self, other, keep: (other.cast(lambda self, state: keep(self, None, state)), other.stop()),
    "the future of a stop": lambda self, other, keep: (
        other.cast(lambda self, state: keep(self, None, state)),
        other.stop(block=False).get(),
    ),
    "start": lambda self, other, keep: Driven.start(lambda child: (keep(child, None, None), IGNORE)[1]),
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_an_exit_signal_that_is_not_trapped_ends_a_process_at_once_where_it_waits(wait: Callable[..., Any]) -> None:
    """As in Erlang, where it ends a process in its ``receive`` (reference manual, Processes: Sending Exit Signals)."""
    with Driven.start() as other, Gate() as gate:
        caller = Driven.start()
        unwound = Log()

        def ask(self: Any, state: Any) -> None:
            try:
                wait(self, other, lambda self, from_, state: gate.wait(NoReply()))
            except g.CallExit as exit_:
                unwound.put((exit_.reason, exit_.target))
                unwound.put(outcome_of(lambda: other.call("nothing may wait any more", None)))
                raise

        with watching(caller) as ended:
            caller.cast(ask)
            gate.reached()
            until(lambda: caller.process.waiting)
            caller.exit("signal")
            assert ended() == "signal"
            assert unwound.next() == ("signal", caller)
            assert isinstance(unwound.next(), g.CallExit)
            assert caller.process.waiting is None
        gate.open()


def test_a_reply_that_came_before_an_exit_signal_is_not_lost() -> None:
    """The signal takes effect at the next wait."""
    with Driven.start() as other:
        caller = Driven.start()
        log = log_of(caller)

        def answer(self: Any, from_: Any, state: Any) -> Any:
            g.reply(from_, 1)
            caller.exit("signal")
            return NoReply()

        def ask(self: Any, state: Any) -> None:
            self.log.put(other.call(answer))
            until(lambda: self.pid.process.interrupt)
            self.log.put(outcome_of(lambda: other.call(lambda *_: Reply(2))))

        with watching(caller) as ended:
            caller.cast(ask)
            assert ended() == "signal"
        first, second = log.now()
        assert first == 1
        assert isinstance(second, g.CallExit)


def test_an_exit_signal_that_ends_a_wait_is_no_crash(caplog: pytest.LogCaptureFixture) -> None:
    with Driven.start() as other, Gate() as gate:
        caller = Driven.start()
        call = caller.send_request(lambda self, from_, state: other.call(lambda *_: gate.wait(NoReply()), None))
        gate.reached()
        caller.exit("signal")
        with pytest.raises(g.CallExit) as caught:
            call.wait()
        assert caught.value.reason == "signal"
        gate.open()
    assert caplog.records == []


def test_an_exit_signal_ends_a_wait_in_init_and_the_starter_gets_its_reason() -> None:
    with Driven.start() as other, Gate() as gate:
        starting: Log = Log()

        def init(self: Any) -> Any:
            starting.put(self.pid)
            other.call(lambda *_: gate.wait(NoReply()), None)

        starter = threading.Thread(target=lambda: starting.put(outcome_of(lambda: Driven.start(init))))
        starter.start()
        server = starting.next()
        gate.reached()
        server.exit("signal")
        error = starting.next()
        starter.join()
        assert isinstance(error, g.StartError)
        assert error.reason == "signal"
        gate.open()


def test_an_exit_signal_ends_a_wait_in_terminate_too(caplog: pytest.LogCaptureFixture) -> None:
    class Lingering(Driven):
        def terminate(self, reason: Any, state: Any) -> None:
            state.call(lambda *_: gate.wait(NoReply()), None)

    with Driven.start() as other, Gate() as gate:
        server = Lingering.start(other)
        stopping = server.stop(block=False)
        gate.reached()
        with watching(server) as ended:
            server.exit("signal")
            assert ended() == "signal"
        assert stopping.get(timeout=DEADLINE) is True
        gate.open()
    assert caplog.records == []


@pytest.mark.parametrize("reason", [KILL, "signal"])
def test_a_kill_and_an_exit_signal_end_a_wait_inside_a_wait_and_the_outer_one_too(reason: Any) -> None:
    """A finalizer may run inside a wait, and wait itself."""
    with Driven.start() as other, Gate() as gate:
        caller = Driven.start()
        ended = Log()

        def ask(self: Any, state: Any) -> None:
            process = self.pid.process
            outer = Request(None, other.process, process, lambda: ended.put("outer"))
            process.begin_wait(outer)
            ended.put(outcome_of(lambda: other.call(lambda *_: gate.wait(NoReply()), None)))
            process.waits.pop(outer)
            ended.put(outcome_of(process.check_wait))

        caller.cast(ask)
        gate.reached()
        caller.exit(reason)
        assert [type(ended.next()) for _ in range(3)] == [str, g.CallExit, g.CallExit]
        gate.open()


def test_a_child_that_has_itself_terminated_ends_at_once_and_not_after_its_shutdown_time() -> None:
    with g.Supervisor.start([Driven.child_spec(id="child", shutdown=DEADLINE)]) as supervisor:
        child = supervisor.which_children()[0].pid
        with watching(child) as ended:
            child.cast(lambda self, state: supervisor.terminate_child("child"))  # type: ignore[union-attr]
            assert ended() is SHUTDOWN


def test_the_first_of_several_exit_signals_is_the_reason() -> None:
    one = Driven.start()
    with Gate() as gate, watching(one) as ended:
        one.cast(lambda self, state: gate.wait())
        gate.reached()
        one.exit(NORMAL)
        one.exit("first")
        one.exit("second")
        gate.open()
        assert ended() == "first"


def test_a_kill_overtakes_an_exit_signal_that_waits() -> None:
    one = Driven.start()
    with Gate() as gate, watching(one) as ended:
        one.cast(lambda self, state: gate.wait())
        gate.reached()
        one.exit("signal")
        one.exit(KILL)
        assert ended() is KILLED


@pytest.mark.parametrize("cls", [Driven, Trapping])
def test_a_kill_cannot_be_trapped_and_is_seen_and_spread_as_killed(cls: type[Driven]) -> None:
    server, linked = cls.start(), Driven.start()
    with Trapping.start() as trapping:
        link(linked, server)
        link(trapping, server)
        with watching(server) as ended, watching(linked) as spread:
            server.exit(KILL)
            assert ended() is KILLED
            assert spread() is KILLED
        assert log_of(trapping).next() == g.Exit(server, KILLED)


def test_a_reason_kill_that_comes_over_a_link_is_no_kill() -> None:
    with Trapping.start() as trapping:
        server, linked = Driven.start(), Driven.start()
        link(trapping, server)
        link(linked, server)
        with watching(linked) as reason:
            server.stop(KILL)
            assert log_of(trapping).next() == g.Exit(server, KILL)
            assert reason() is KILL


# Monitors.


@pytest.mark.parametrize(("end", "expected"), ENDS.values(), ids=ENDS)
def test_a_monitor_tells_every_end_once_with_its_reference_and_reason(end: Callable[[Any], Any], expected: Any) -> None:
    with Driven.start() as watcher:
        server = Driven.start()
        ref = monitor(watcher, server)
        log = log_of(watcher)
        end(server)
        message = log.next()
        assert message == g.Down(ref, server, server.process.reason)
        assert fits(message.reason, expected)
        settle(watcher)
        assert log.now() == []


def test_a_monitor_neither_ends_the_watcher_nor_the_watched() -> None:
    with Driven.start() as server:
        watcher = Driven.start()
        monitor(watcher, server)
        watcher.stop("reason")
        settle(server)
        assert log_of(server).now() == []


def test_monitors_stack() -> None:
    with Driven.start() as watcher:
        server = Driven.start()
        refs = [monitor(watcher, server) for _ in range(5)]
        assert len(set(refs)) == 5
        log = log_of(watcher)
        server.stop()
        assert {log.next().ref for _ in range(5)} == set(refs)
        settle(watcher)
        assert log.now() == []


def test_one_of_several_monitors_can_be_taken_back() -> None:
    with Driven.start() as watcher:
        server = Driven.start()
        refs = [monitor(watcher, server) for _ in range(3)]
        within(watcher, lambda self: g.demonitor(refs[1]))
        log = log_of(watcher)
        server.stop()
        settle(watcher)
        assert {message.ref for message in log.now()} == {refs[0], refs[2]}


def test_many_may_monitor_one() -> None:
    server = Driven.start()
    watchers = [Driven.start() for _ in range(50)]
    refs = [monitor(watcher, server) for watcher in watchers]
    server.stop("reason")
    for watcher, ref in zip(watchers, refs, strict=True):
        assert log_of(watcher).next() == g.Down(ref, server, "reason")
        watcher.stop()


def test_a_monitor_of_the_dead_is_noproc() -> None:
    gone = dead()
    with Driven.start() as watcher:
        for _ in range(2):
            ref = monitor(watcher, gone)
            assert log_of(watcher).next() == g.Down(ref, gone, NOPROC)


def test_a_monitor_of_an_unknown_name_is_noproc_with_the_name_that_was_given() -> None:
    gone = Registry.start(name="gone")
    gone.stop()
    with Registry.start() as registry, Driven.start() as watcher:
        for target in (
            "nobody",
            g.via(registry, "nobody"),
            g.via(registry, "nobody", "a value"),
            g.via(gone, "nobody"),
            g.via("gone", "nobody"),
        ):
            ref = monitor(watcher, target)
            message = log_of(watcher).next()
            assert message == g.Down(ref, target, NOPROC)
            assert message.pid is target


def test_a_monitor_of_a_name_tells_the_name_that_was_given() -> None:
    with Registry.start() as registry, Driven.start() as watcher:
        for target in ("somebody", g.via(registry, "somebody")):
            server = Driven.start(name=target)
            refs = [monitor(watcher, target), monitor(watcher, server)]
            server.stop("reason")
            log = log_of(watcher)
            assert sorted([log.next(), log.next()], key=lambda down: refs.index(down.ref)) == [
                g.Down(refs[0], target, "reason"),
                g.Down(refs[1], server, "reason"),
            ]


def test_a_monitor_of_a_name_stays_with_who_had_it() -> None:
    with Driven.start() as watcher:
        first = Driven.start(name="passed on")
        monitor(watcher, "passed on")
        first.stop("first")
        with Driven.start(name="passed on"):
            assert log_of(watcher).next().reason == "first"
        settle(watcher)
        assert log_of(watcher).now() == []


def test_a_monitor_of_oneself_is_nothing() -> None:
    with Driven.start(name="self") as server:
        refs = [monitor(server, server), monitor(server, "self")]
        for ref in refs:
            within(server, lambda self, ref=ref: g.demonitor(ref, flush=True))  # type: ignore[misc]
        monitor(server, server)
        settle(server)
        assert log_of(server).now() == []


def test_no_down_comes_after_demonitor() -> None:
    with Driven.start() as watcher:
        server = Driven.start()
        ref = monitor(watcher, server)
        for flush in (False, True, False):
            within(watcher, lambda self, flush=flush: g.demonitor(ref, flush=flush))  # type: ignore[misc]
        server.stop()
        settle(watcher)
        assert log_of(watcher).now() == []


@pytest.mark.parametrize("flush", [False, True])
def test_demonitor_leaves_a_queued_down_unless_it_flushes(flush: Any) -> None:
    with Driven.start() as watcher, Gate() as gate:
        server = Driven.start()
        kept, ref = monitor(watcher, server), monitor(watcher, server)
        log = log_of(watcher)
        watcher.cast(lambda self, state: gate.wait() or g.demonitor(ref, flush=flush))  # type: ignore[func-returns-value]
        gate.reached()
        watcher.send("before")
        server.stop()
        watcher.send("after")
        gate.open()
        settle(watcher)
        first, *downs, last = log.now()
        assert (first, last) == ("before", "after")
        assert {down.ref for down in downs} == ({kept} if flush else {kept, ref})


@pytest.mark.parametrize("flush", [False, True])
def test_demonitor_in_the_callback_that_set_a_monitor_of_the_dead_leaves_its_down_unless_it_flushes(flush: Any) -> None:
    gone = dead()
    with Driven.start() as watcher:
        # The Down is queued by the time monitor returns.
        within(watcher, lambda self: g.demonitor(g.monitor(gone), flush=flush))
        settle(watcher)
        assert len(log_of(watcher).now()) == (0 if flush else 1)


def test_demonitor_after_the_down_has_come_is_nothing() -> None:
    gone = dead()
    with Driven.start() as watcher:
        ref = monitor(watcher, gone)
        log_of(watcher).next()
        returned = [within(watcher, lambda self, flush=flush: g.demonitor(ref, flush=flush)) for flush in (False, True)]  # type: ignore[misc]
        assert returned == [None, None]
        monitor(watcher, gone)
        assert log_of(watcher).next().reason is NOPROC


@pytest.mark.parametrize("flush", [False, True])
def test_a_monitor_can_be_taken_back_by_who_set_it_alone(flush: Any) -> None:
    with Driven.start() as watcher, Driven.start() as other:
        server = Driven.start()
        ref = monitor(watcher, server)
        within(other, lambda self: outcome_of(lambda: g.demonitor(ref, flush=flush)))
        server.stop()
        settle(watcher)
        assert log_of(watcher).now() == [g.Down(ref, server, NORMAL)]


@pytest.mark.parametrize("wrong", [None, 3, "name"], ids=repr)
def test_demonitor_of_what_is_no_reference_is_a_type_error(wrong: Any) -> None:
    with Driven.start() as watcher:
        for flush in (False, True):
            error = within(watcher, lambda self, flush=flush: outcome_of(lambda: g.demonitor(wrong, flush=flush)))  # type: ignore[misc]
            assert isinstance(error, TypeError)


@pytest.mark.parametrize("where", ["init", *CALLBACKS])
def test_any_callback_may_monitor(where: str) -> None:
    with Driven.start() as server:
        log = Log()

        def init(self: Any) -> Any:
            self.log = log
            if where == "init":
                g.monitor(server)

        def do(self: Any) -> Any:
            g.monitor(server)
            return Reply(1) if where == "handle_call" else None

        with Driven.start(init) as watcher:
            if where in CALLBACKS:
                provoke_and_settle(watcher, where, do)
            server.stop("reason")
            assert log.next().reason == "reason"


def test_a_monitor_of_a_server_in_terminate_tells_its_end() -> None:
    with Gate() as gate, Driven.start() as watcher:

        class Slow(Driven):
            def terminate(self, reason: Any, state: Any) -> None:
                gate.wait()

        server = Slow.start()
        server.stop("reason", block=False)
        gate.reached()
        ref = monitor(watcher, server)
        gate.open()
        assert log_of(watcher).next() == g.Down(ref, server, "reason")


def test_a_monitor_of_a_server_in_init_tells_how_that_ended() -> None:
    with Driven.start() as watcher, Gate() as gate:
        with meanwhile(lambda: Driven.start(lambda self: gate.wait(Stop("failed")), name="early")) as started:
            gate.reached()
            ref = monitor(watcher, "early")
            gate.open()
            assert isinstance(started(), g.StartError)
        assert log_of(watcher).next() == g.Down(ref, "early", "failed")


def test_a_monitor_set_while_the_other_ends_tells_it_exactly_once() -> None:
    with Driven.start() as watcher:
        log = log_of(watcher)
        for _ in range(100):
            server = Driven.start()
            with meanwhile(server.stop):
                ref = monitor(watcher, server)
                message = log.next()
                assert message.ref is ref
                assert message.reason in (NORMAL, NOPROC)
        settle(watcher)
        assert log.now() == []


def test_a_demonitor_while_the_other_ends_leaves_one_down_at_most_and_with_flush_none() -> None:
    with Driven.start() as watcher:
        log = log_of(watcher)
        for turn in range(100):
            server = Driven.start()
            ref = monitor(watcher, server)
            flush = bool(turn % 2)

            def take_back(self: Any, ref: Any = ref, flush: Any = flush) -> Any:
                g.demonitor(ref, flush=flush)
                return self.log.now()  # what came before

            with meanwhile(server.stop) as stopped:
                before = within(watcher, take_back)
                stopped()
            settle(watcher)
            after = log.now()
            assert len(before) + len(after) <= 1
            assert not (flush and after)


def test_monitors_and_links_leave_nothing_with_who_lives() -> None:
    with Driven.start() as server:
        for _ in range(3):
            other = Trapping.start()
            link(other, server)
            monitor(other, server)
            monitor(server, other)
            link(server, other)
            other.stop()
        refs = [within(server, lambda self: g.monitor("nobody")) for _ in range(3)]
        assert len(refs) == 3
        settle(server)
        left = within(server, lambda self: (len(self.pid.process.links), len(self.pid.process.monitors)))
        watchers = within(server, lambda self: len(self.pid.process.watchers))
        assert (left, watchers) == ((0, 0), 1)  # this call's own


def test_who_is_linked_and_monitors_gets_both() -> None:
    with Trapping.start() as one:
        other = Driven.start()
        link(one, other)
        ref = monitor(one, other)
        other.stop("reason")
        log = log_of(one)
        found = [log.next(), log.next()]
        assert g.Exit(other, "reason") in found
        assert g.Down(ref, other, "reason") in found


def test_monitor_references_compare_by_identity() -> None:
    with Driven.start() as watcher, Driven.start() as server:
        one, other = monitor(watcher, server), monitor(watcher, server)
        assert one == one  # noqa: PLR0124
        assert one != other
        assert {one: 1, other: 2}[one] == 1


# Order.


SENDING_ENDS: dict[str, Callable[[Any], Any]] = {
    "stop from the callback": lambda self: Stop("why"),
    "crash": lambda self: 1 / 0,
    "bad return value": lambda self: 3,
    "exit signal to itself": lambda self: self.pid.exit("why"),
    "kill of itself": lambda self: self.pid.exit(KILL),
}


@pytest.mark.parametrize("end", SENDING_ENDS.values(), ids=SENDING_ENDS)
def test_the_messages_of_one_come_before_its_exit_and_its_down(end: Callable[[Any], Any]) -> None:
    with Trapping.start() as receiver:
        log = log_of(receiver)
        sender = Driven.start()
        link(receiver, sender)
        monitor(receiver, sender)

        def send_and_end(self: Any, state: Any) -> Any:
            for number in range(100):
                if number % 2:
                    g.send(receiver, number)
                else:
                    g.cast(receiver, lambda self, state, number=number: self.log.put(number))
            return end(self)

        sender.cast(send_and_end)
        assert [log.next() for _ in range(100)] == list(range(100))
        assert {type(log.next()), type(log.next())} == {g.Exit, g.Down}
        settle(receiver)
        assert log.now() == []


@pytest.mark.parametrize("end", ["stop", "exit signal", "kill"])
def test_the_messages_of_one_that_is_ended_while_it_sends_come_before_its_exit_and_none_after(end: str) -> None:
    for _ in range(10):
        with Trapping.start() as receiver:
            log = log_of(receiver)
            sender = Driven.start()
            link(receiver, sender)
            ref = monitor(receiver, sender)

            def go_on(self: Any, number: Any, receiver: Any = receiver) -> Any:
                receiver.send(number)
                self.pid.cast(go_on)
                return NoReply(number + 1)

            sender.replace_state(lambda state: 0)
            sender.cast(go_on)
            assert log.next() == 0
            ENDS[end][0](sender)
            exited(sender)
            until(lambda receiver=receiver: threads_left(receiver) == 0)  # type: ignore[misc]
            settle(receiver)
            *numbers, one, other = log.now()
            assert numbers == list(range(1, len(numbers) + 1))
            assert {type(one), type(other)} == {g.Exit, g.Down}
            assert ref in (getattr(one, "ref", None), getattr(other, "ref", None))


def test_a_killed_sender_that_sends_without_pause_is_cut_off_at_its_exit() -> None:
    for _ in range(10):
        with Trapping.start() as receiver, Gate() as gate:
            log = log_of(receiver)
            sender = Driven.start()
            link(receiver, sender)

            def flood(self: Any, state: Any, receiver: Any = receiver, gate: Gate = gate) -> None:
                for number in itertools.count():
                    receiver.send(number)
                    if number == 10:
                        gate._reached.set()
                    if gate._opened.is_set():
                        return

            sender.cast(flood)
            gate.reached()
            sender.exit(KILL)
            settle(receiver)
            gate.open()
            until(lambda receiver=receiver: threads_left(receiver) == 0)  # type: ignore[misc]
            *numbers, last = log.now()
            assert numbers == list(range(len(numbers)))
            assert last == g.Exit(sender, KILLED)


@pytest.mark.parametrize(("end", "expected"), ENDS.values(), ids=ENDS)
def test_when_an_exit_or_a_down_has_been_seen_the_dead_has_neither_name_nor_key_and_is_not_alive(
    end: Callable[[Any], Any], expected: Any
) -> None:
    found = Log()

    class Looking(Trapping):
        def handle_info(self, message: Any, state: Any) -> Any:
            if isinstance(message, g.Exit | g.Down):
                watched: Any = message.pid
                found.put(
                    (
                        g.whereis("fleeting"),
                        registry.lookup("key"),
                        g.whereis(g.via(registry, "via")),
                        watched.is_alive(),
                        type(outcome_of(lambda: watched.call("request"))),
                    )
                )

    with Registry.start() as registry, Looking.start() as watcher:
        server = Driven.start(lambda self: Ok(registry.register("key")), name="fleeting")  # type: ignore[func-returns-value]
        within(server, lambda self: registry.register("via"))
        link(watcher, server)
        monitor(watcher, server)
        end(server)
        for _ in range(2):
            assert found.next() == (None, None, None, False, g.NoProcess)


def test_who_was_told_of_an_end_can_start_the_next_one_under_the_name() -> None:
    class Succession(Trapping):
        def handle_info(self, message: Any, state: Any) -> Any:
            self.log.put(Driven.start(name="succession"))

    for connect in (link, monitor):
        with Succession.start() as watcher:
            first = Driven.start(name="succession")
            connect(watcher, first)
            first.exit(KILL)
            with log_of(watcher).next() as second:
                assert g.whereis("succession") is second


def test_a_monitor_shows_what_it_monitors() -> None:
    class Watcher(g.GenServer[None]):
        def handle_call(self, request: Any, from_: Any, state: None) -> Any:
            return g.Reply(repr(g.monitor(request)))

    with Watcher.start() as watcher, g.GenServer.start() as other:
        assert watcher.call(other) == f"<MonitorRef of {other}>"
        assert watcher.call("cache") == "<MonitorRef of 'cache'>"


def test_a_thread_has_the_number_of_its_pid() -> None:
    class Named(g.GenServer[None]):
        def handle_call(self, request: Any, from_: Any, state: None) -> Any:
            return g.Reply(threading.current_thread().name)

    with Named.start(name="registered") as pid:
        assert repr(pid) == f"<Pid {pid.call('thread')} 'registered'>"
