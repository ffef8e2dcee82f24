"""What comes after a callback: a timeout, a continue, hibernation; and timers. Time is the tests' own."""

import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import gennostr as g
from gennostr import KILL, NORMAL, TIMEOUT, NoReply, Ok, Registry, Reply, Stop
from gennostr.otp.clock import SystemClock
from gennostr.otp.clock import clock as clock_in_force
from gennostr.testing.manual_clock import ManualClock
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
    log_of,
    monitor,
    provoke,
    settle,
    watching,
    within,
)


@pytest.fixture
def clock() -> Iterator[ManualClock]:
    with ManualClock() as manual:
        yield manual


def timing(server: g.Pid, seconds: float) -> None:
    """Have `server` wait `seconds` for its next message."""
    server.cast(lambda self, state: NoReply(timeout=seconds))


# Timeouts.


@pytest.mark.parametrize("callback", ["init", *CALLBACKS])
def test_a_timeout_may_be_asked_for_by_every_callback_and_comes_as_a_message(callback: str, clock: ManualClock) -> None:
    log = Log()

    def init(self: Any) -> Any:
        self.log = log
        return Ok(timeout=10) if callback == "init" else Ok()

    with Driven.start(init) as server:
        if callback == "handle_call":
            provoke(server, callback, lambda self: Reply(1, timeout=10))
        elif callback != "init":
            provoke(server, callback, lambda self: NoReply(timeout=10))
        clock.advance(10)
        assert log.next() is TIMEOUT


def test_a_timeout_comes_once(clock: ManualClock) -> None:
    with Driven.start() as server:
        log = log_of(server)
        timing(server, 10)
        clock.advance(10)
        assert log.next() is TIMEOUT
        clock.advance(100)
        settle(server)
        assert log.now() == []


def test_a_timeout_does_not_come_before_its_time(clock: ManualClock) -> None:
    with Driven.start() as server:
        log = log_of(server)
        timing(server, 10)
        clock.advance(9)
        assert log.now() == []
        clock.advance(1)
        assert log.next() is TIMEOUT


def test_a_timeout_that_asks_for_a_timeout_comes_again_and_again(clock: ManualClock) -> None:
    class Ticking(Driven):
        def handle_info(self, message: Any, state: Any) -> Any:
            self.log.put(message)
            return NoReply(timeout=10)

    with Ticking.start() as server:
        log = log_of(server)
        server.send("first")
        assert log.next() == "first"
        for _ in range(3):
            clock.advance(10)
            assert log.next() is TIMEOUT


CANCELLING: dict[str, Callable[[Any, Any], Any]] = {
    "a call": lambda server, other: settle(server),
    "a cast": lambda server, other: server.cast(lambda self, state: None),
    "a message": lambda server, other: server.send("message"),
    "an exit that is trapped": lambda server, other: server.exit("stranger"),
    "a Down": lambda server, other: other.stop(),
    "a timer's message": lambda server, other: g.send_after(0, server, "timer"),
    "a proxy's call": lambda server, other: server.proxy().log.get(timeout=DEADLINE),
}


@pytest.mark.parametrize("send", CANCELLING.values(), ids=CANCELLING)
def test_any_message_cancels_the_timeout(send: Any, clock: ManualClock) -> None:
    with Driven.start() as other, Trapping.start() as server:
        log = log_of(server)
        monitor(server, other)
        timing(server, 10)
        clock.settle()
        send(server, other)
        clock.advance(0)
        server.get_state()
        clock.advance(100)
        settle(server)
        assert TIMEOUT not in log.now()


def test_a_message_may_ask_for_the_timeout_anew(clock: ManualClock) -> None:
    with Driven.start() as server:
        log = log_of(server)
        timing(server, 10)
        clock.advance(6)
        timing(server, 10)
        clock.advance(6)
        assert log.now() == []
        clock.advance(4)
        assert log.next() is TIMEOUT


LOOKING: dict[str, Callable[[Any], Any]] = {
    "get_state": lambda server: server.get_state(),
    "replace_state": lambda server: server.replace_state(lambda state: state),
    "get_status": lambda server: server.get_status(),
    "statistics": lambda server: server.statistics(),
    "suspend and resume": lambda server: (server.suspend(), server.resume()),
}


@pytest.mark.parametrize("look", LOOKING.values(), ids=LOOKING)
def test_get_state_and_the_like_restart_a_timeout_and_do_not_cancel_it(look: Any, clock: ManualClock) -> None:
    with Driven.start() as server:
        log = log_of(server)
        timing(server, 10)
        clock.settle()
        for _ in range(3):
            clock.advance(6)
            assert log.now() == []
            look(server)
        clock.advance(10)
        assert log.next() is TIMEOUT
        clock.advance(100)
        settle(server)
        assert log.now() == []


def test_a_timeout_of_0_with_an_empty_mailbox_fires_at_once() -> None:
    with Driven.start() as server:
        log = log_of(server)
        timing(server, 0)
        assert log.next() is TIMEOUT


def test_a_message_that_is_queued_goes_before_a_timeout_of_0_and_cancels_it() -> None:
    def cast(self: Any, state: Any) -> Any:
        g.send(self.pid, "queued")
        return NoReply(timeout=0)

    with Driven.start() as server:
        log = log_of(server)
        server.cast(cast)
        assert log.next() == "queued"
        settle(server)
        assert log.now() == []


def test_a_timeout_of_0_of_init_lets_a_message_that_is_queued_go_first() -> None:
    def init(self: Any) -> Any:
        g.send(self.pid, "queued")
        return Ok(timeout=0)

    with Driven.start(init) as server:
        log = log_of(server)
        assert log.next() == "queued"
        settle(server)
        assert log.now() == []


def test_a_continue_that_follows_an_outcome_with_a_timeout_does_not_inherit_it(clock: ManualClock) -> None:
    with Driven.start() as server:
        log = log_of(server)
        timing(server, 10)
        server.cast(lambda self, state: NoReply(continue_=lambda self, state: None))
        settle(server)
        clock.advance(100)
        settle(server)
        assert log.now() == []


def test_a_message_that_waited_while_suspended_cancels_the_timeout(clock: ManualClock) -> None:
    with Driven.start() as server:
        log = log_of(server)
        timing(server, 10)
        server.suspend()
        server.send("message")
        clock.advance(100)
        server.resume()
        settle(server)
        clock.advance(100)
        settle(server)
        assert log.now() == ["message"]


def test_a_timeout_does_not_surface_while_suspended(clock: ManualClock) -> None:
    with Driven.start() as server:
        log = log_of(server)
        timing(server, 10)
        server.suspend()
        clock.advance(100)
        server.get_state()
        assert log.now() == []
        server.resume()
        clock.advance(10)
        assert log.next() is TIMEOUT


def test_a_flushed_down_does_not_cancel_a_timeout(clock: ManualClock) -> None:
    gone = dead()
    with Driven.start() as watcher:
        log = log_of(watcher)

        def flush(self: Any, state: Any) -> Any:
            g.demonitor(g.monitor(gone), flush=True)
            return NoReply(timeout=10)

        watcher.cast(flush)
        clock.advance(10)
        assert log.next() is TIMEOUT


def test_a_server_with_a_timeout_can_be_stopped_and_killed_meanwhile(clock: ManualClock) -> None:
    one, other = Driven.start(), Driven.start()
    for server in (one, other):
        timing(server, 10)
    one.stop()
    with watching(other) as reason:
        other.exit("signal")
        assert reason() == "signal"


def test_a_timeout_without_end_is_none_that_comes(clock: ManualClock) -> None:
    with Driven.start() as server:
        log = log_of(server)
        timing(server, float("inf"))
        clock.advance(10**9)
        settle(server)
        assert log.now() == []


@pytest.mark.parametrize("wrong", [-1, -0.5, "1", "soon", True, float("nan"), [1]], ids=repr)
@pytest.mark.parametrize("outcome", [Ok, NoReply, lambda **fields: Reply(1, **fields)], ids=["Ok", "NoReply", "Reply"])
def test_a_timeout_that_is_no_number_of_seconds_is_refused_where_it_is_made(outcome: Any, wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="timeout"):
        outcome(timeout=wrong)


@pytest.mark.parametrize(
    "fields",
    [{"timeout": 1, "hibernate": True}, {"timeout": 0, "continue_": None}, {"hibernate": True, "continue_": 1}],
    ids=str,
)
def test_only_one_of_timeout_hibernate_and_continue_can_follow(fields: Any) -> None:
    for outcome in (Ok, NoReply, lambda **fields: Reply(1, **fields)):
        with pytest.raises(ValueError, match="one of timeout, hibernate and continue_"):
            outcome(**fields)


# Continues.


def test_the_reply_is_delivered_before_the_continue_runs() -> None:
    with Driven.start() as server, Gate() as gate:
        reply = server.call(lambda self, from_, state: Reply("reply", continue_=lambda self, state: gate.wait()))
        assert reply == "reply"  # though the continue has not ended
        gate.reached()


def test_a_continue_runs_before_queued_messages_and_continues_chain() -> None:
    def first(self: Any, state: Any) -> Any:
        self.log.put("first")
        return NoReply(continue_=lambda self, state: self.log.put("second"))

    def begin(self: Any, state: Any) -> Any:
        g.send(self.pid, "queued")
        return NoReply(continue_=first)

    with Driven.start() as server:
        log = log_of(server)
        server.cast(begin)
        assert [log.next() for _ in range(3)] == ["first", "second", "queued"]


def test_ten_thousand_continues_chain_before_a_message_that_waits() -> None:
    class Counting(Driven):
        def handle_continue(self, argument: int, state: int) -> Any:
            return NoReply(state + 1, continue_=argument - 1) if argument else NoReply(state + 1)

    with Counting.start(0) as server, Gate() as gate:
        server.cast(lambda self, state: gate.wait(NoReply(continue_=9_999)))
        gate.reached()
        waiting = server.send_request(lambda self, from_, state: Reply(state))
        gate.open()
        assert waiting.wait() == 10_000


@pytest.mark.parametrize("callback", ["init", *CALLBACKS])
def test_every_callback_may_ask_for_a_continue_and_its_state_comes_along(callback: str) -> None:
    def continued(self: Any, state: Any) -> Any:
        self.log.put(("continued", state))

    log = Log()

    def init(self: Any) -> Any:
        self.log = log
        return Ok("new", continue_=continued) if callback == "init" else Ok("old")

    with Driven.start(init) as server:
        if callback == "handle_call":
            pending = provoke(server, callback, lambda self: Reply(1, "new", continue_=continued))
            assert pending is not None
            assert pending.wait() == 1
        elif callback != "init":
            provoke(server, callback, lambda self: NoReply("new", continue_=continued))
        assert log.next() == ("continued", "new")


def test_a_call_may_be_answered_from_its_continue() -> None:
    def request(self: Any, from_: Any, state: Any) -> Any:
        return NoReply(continue_=lambda self, state: g.reply(from_, "from the continue"))

    with Driven.start() as server:
        assert server.call(request) == "from the continue"


def test_a_continue_may_have_none_for_an_argument() -> None:
    class Noting(Driven):
        def handle_continue(self, argument: Any, state: Any) -> Any:
            self.log.put(("continued", argument))

    with Noting.start() as server:
        log = log_of(server)
        server.cast(lambda self, state: NoReply(continue_=None))
        assert log.next() == ("continued", None)


@pytest.mark.parametrize("reason", ["stopped", NORMAL], ids=repr)
def test_a_continue_may_stop(reason: Any) -> None:
    server = Driven.start()
    log = log_of(server)
    with watching(server) as ended:
        server.cast(lambda self, state: NoReply(continue_=lambda self, state: Stop(reason)))
        assert ended() == reason
    assert log.now() == [("terminate", reason)]


def test_what_was_queued_behind_a_continue_that_stops_is_not_handled() -> None:
    server = Driven.start()
    log = log_of(server)
    with Gate() as gate, watching(server) as ended:
        server.cast(lambda self, state: gate.wait(NoReply(continue_=lambda self, state: Stop("stopped"))))
        gate.reached()
        server.send("queued")
        gate.open()
        assert ended() == "stopped"
    assert log.now() == [("terminate", "stopped")]


def test_an_exit_signal_ends_a_server_before_its_continue() -> None:
    server = Driven.start()
    log = log_of(server)
    with Gate() as gate, watching(server) as reason:
        server.cast(lambda self, state: gate.wait(NoReply(continue_=lambda self, state: self.log.put("continued"))))
        gate.reached()
        server.exit("signal")
        gate.open()
        assert reason() == "signal"
    assert log.now() == []


def test_a_continue_runs_before_a_suspension_that_is_queued() -> None:
    def suspend_then_continue(self: Any, from_: Any, state: Any) -> Any:
        return Reply("reply", continue_=lambda self, state: self.log.put("continued"))

    with Driven.start() as server:
        log = log_of(server)
        assert server.call(suspend_then_continue) == "reply"
        server.suspend()
        assert log.now() == ["continued"]
        server.resume()


# Hibernation.


@pytest.mark.parametrize("callback", ["init", *CALLBACKS])
def test_hibernate_is_accepted_from_every_callback_and_changes_no_result(callback: str) -> None:
    init = lambda self: Ok(5, hibernate=True) if callback == "init" else Ok(4)  # noqa: E731
    with Driven.start(init) as server:
        if callback == "handle_call":
            assert server.call(lambda self, from_, state: Reply("reply", state + 1, hibernate=True)) == "reply"
        elif callback != "init":
            provoke(server, callback, lambda self: NoReply(5, hibernate=True))
            settle(server)
        assert server.get_state() == 5
        assert server.call(lambda self, from_, state: Reply(state, hibernate=True)) == 5
        server.send("message")
        assert log_of(server).next() == "message"


@pytest.mark.parametrize("callback", ["init", *CALLBACKS])
def test_a_server_that_hibernates_collects_garbage_before_it_waits(callback: str) -> None:
    collecting: list[threading.Thread] = []
    collected = Log()

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start" and threading.current_thread() in collecting:
            collected.put(threading.current_thread())

    def init(self: Any) -> Any:
        collecting.append(threading.current_thread())
        return Ok(hibernate=callback == "init")

    gc.callbacks.append(note)
    gc.disable()  # so that no other collection is taken for this one
    try:
        with Driven.start(init) as server:
            if callback == "handle_call":
                provoke(server, callback, lambda self: Reply(1, hibernate=True))
            elif callback != "init":
                provoke(server, callback, lambda self: NoReply(hibernate=True))
            assert collected.next() in collecting
            settle(server)
            assert collected.now() == []
    finally:
        gc.enable()
        gc.callbacks.remove(note)


# Timers.


def test_send_after_delivers_a_message_when_it_is_due_and_not_before(clock: ManualClock) -> None:
    with Driven.start() as server:
        log = log_of(server)
        g.send_after(10, server, "due")
        clock.advance(9)
        settle(server)
        assert log.now() == []
        clock.advance(1)
        assert log.next() == "due"
        clock.advance(100)
        settle(server)
        assert log.now() == []


def test_send_after_delivers_by_the_machines_clock() -> None:
    with Driven.start(name="timed") as server:
        log = log_of(server)
        g.send_after(0.04, server, "second")
        g.send_after(0.01, "timed", "first")
        assert [log.next(), log.next()] == ["first", "second"]


def test_timers_deliver_in_the_order_of_time_and_those_of_one_time_in_that_of_their_setting() -> None:
    with Driven.start() as server:
        log = log_of(server)
        go = clock_in_force().monotonic() + 0.05
        g.send_after(0.08, server, "last")
        for number in range(5):
            clock_in_force().call_at(go, lambda number=number: server.send(number))  # type: ignore[misc]
        g.send_after(0, server, "first")
        assert [log.next() for _ in range(7)] == ["first", 0, 1, 2, 3, 4, "last"]


def test_a_timer_may_be_set_in_a_callback_for_oneself(clock: ManualClock) -> None:
    with Driven.start() as server:
        log = log_of(server)
        within(server, lambda self: g.send_after(10, self.pid, "tick"))
        clock.advance(10)
        assert log.next() == "tick"


def test_cancel_timer_returns_the_seconds_left_and_then_none(clock: ManualClock) -> None:
    with Driven.start() as server:
        timer = g.send_after(60, server, "never")
        clock.advance(15)
        assert g.cancel_timer(timer) == 45
        assert g.cancel_timer(timer) is None
        clock.advance(100)
        settle(server)
        assert log_of(server).now() == []


def test_cancel_timer_returns_the_seconds_left_by_the_machines_clock() -> None:
    with Driven.start() as server:
        timer = g.send_after(60, server, "never")
        left = g.cancel_timer(timer)
        assert left is not None
        assert 55 < left <= 60
        assert g.cancel_timer(timer) is None


def test_cancelling_a_timer_that_has_fired_is_none() -> None:
    with Driven.start() as server:
        timer = g.send_after(0, server, "fired")
        assert log_of(server).next() == "fired"
        assert g.cancel_timer(timer) is None


def test_a_timer_may_be_cancelled_by_another_than_who_set_it(clock: ManualClock) -> None:
    with Driven.start() as server, Driven.start() as other:
        timer = within(server, lambda self: g.send_after(10, self.pid, "never"))
        assert within(other, lambda self: g.cancel_timer(timer)) == 10
        clock.advance(10)
        settle(server)
        assert log_of(server).now() == []


def test_timers_to_the_dead_and_the_unknown_vanish(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    with Registry.start() as registry:
        for dest in (dead(), "nobody", g.via(registry, "nobody"), g.via("no registry", "nobody")):
            g.send_after(10, dest, "lost")
        clock.advance(10)
    assert caplog.records == []


def test_a_timer_to_who_dies_meanwhile_vanishes_and_its_name_may_serve_another(clock: ManualClock) -> None:
    first = Driven.start(name="passed on")
    g.send_after(10, first, "to the first")
    g.send_after(10, "passed on", "to the name")
    first.stop()
    with Driven.start(name="passed on") as second:
        clock.advance(10)
        settle(second)
        assert log_of(second).now() == ["to the name"]


def test_a_timers_name_is_looked_up_when_it_fires(clock: ManualClock) -> None:
    g.send_after(10, "later", "message")
    with Driven.start(name="later") as server:
        clock.advance(10)
        assert log_of(server).next() == "message"


def test_a_timer_outlives_who_set_it(clock: ManualClock) -> None:
    setter = Driven.start()
    with Driven.start() as server:
        within(setter, lambda self: g.send_after(10, server, "message"))
        setter.exit(KILL)
        clock.advance(10)
        assert log_of(server).next() == "message"


@pytest.mark.parametrize("wrong", [-1, "soon", True, None, float("nan")], ids=repr)
def test_a_delay_that_is_no_number_of_seconds_is_refused(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="delay"):
        g.send_after(wrong, "nobody", "message")


def timer_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "gennostr-timers"]


def test_all_timers_share_one_thread_that_ends_with_the_last_of_them() -> None:
    assert timer_threads() == []
    with Driven.start() as server, Driven.start() as other:
        timers = [g.send_after(60, server, number) for number in range(100)]
        timers += [within(other, lambda self: g.send_after(60, "nobody", "message")) for _ in range(100)]
        (thread,) = timer_threads()
        for timer in timers:
            assert g.cancel_timer(timer) is not None
        thread.join(DEADLINE)
        assert not thread.is_alive()
        g.send_after(0, server, "again")
        assert log_of(server).next() == "again"


def test_a_timer_that_fails_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    with Driven.start() as server:
        clock_in_force().call_at(0, lambda: 1 / 0)
        g.send_after(0.01, server, "after")
        assert log_of(server).next() == "after"
    (record,) = caplog.records
    assert record.name.startswith("gennostr.")


@pytest.mark.parametrize("kind", [ValueError, *FATAL])
def test_whatever_a_timers_function_raises_harms_no_other(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """A timer may run anything: a key's ``__eq__``, say, where a name is looked up."""

    def failing() -> None:
        raise kind

    machine, log = SystemClock(), Log()  # a clock of its own, for it may be the worse for it
    now = machine.monotonic()
    machine.call_at(now + 0.01, failing)
    machine.call_at(now + 0.02, lambda: log.put("after"))
    assert log.get(timeout=1) == "after"
    (record,) = caplog.records
    assert record.name.startswith("gennostr.")


# The clock.


def test_the_clock_is_installed_and_given_back() -> None:
    before = clock_in_force()
    with ManualClock() as manual:
        assert clock_in_force() is manual
    assert clock_in_force() is before


def test_a_server_measures_its_uptime_by_the_clock_in_force(clock: ManualClock) -> None:
    with Driven.start() as server:
        clock.advance(100)
        assert server.statistics().uptime == 100


def test_a_timeout_that_ends_the_server_is_no_crash_where_it_stops(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Idle(Driven):
        def handle_info(self, message: Any, state: Any) -> Any:
            return Stop(NORMAL) if message is TIMEOUT else super().handle_info(message, state)

    server = Idle.start(lambda self: Ok(timeout=10))
    with watching(server) as reason:
        clock.advance(10)
        assert reason() is NORMAL
    assert crash_reports(caplog) == []
