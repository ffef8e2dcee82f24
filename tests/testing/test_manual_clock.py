"""Time that a test moves, with everything that waits for time."""

import gc
import threading
import time
from typing import Any

import pytest

import gennostr as g
from gennostr import REMOVE_RELAY, TIMEOUT, GenNostr, NoReply, Ok, Options, Relay, Supervisor
from gennostr.otp.clock import clock
from gennostr.testing import FakeRelay, ManualClock, Probe
from tests.otp.actors import (
    Driven,
    Gate,
    Log,
    Trapping,
    crash,
    ending,
    log_of,
    meanwhile,
    member,
    outcome_of,
    pid_of,
    within,
)

HOUR = 3600.0


def test_a_day_of_timers_passes_in_order_and_at_once(probe: Probe, manual_clock: ManualClock) -> None:
    began = time.monotonic()
    for hours in [3, 1, 24, 2]:
        g.send_after(hours * HOUR, probe.pid, hours)
    timer = g.send_after(5 * HOUR, probe.pid, 5)
    assert manual_clock.next_due() == HOUR
    manual_clock.advance(2.5 * HOUR)
    assert probe.receive_n(2) == [1, 2]
    probe.expect_no_message(0)
    assert g.cancel_timer(timer) == 2.5 * HOUR
    manual_clock.advance(24 * HOUR)
    assert probe.receive_n(2) == [3, 24]
    assert manual_clock.next_due() is None
    assert time.monotonic() - began < 5


def test_the_time_that_programs_read_moves_with_it(manual_clock: ManualClock) -> None:
    """And ``time.time`` and ``time.monotonic`` do not: the kit's own timeouts, and everybody's locks, go by them."""
    monotonic, system, machine = g.monotonic_time(), g.system_time(), time.time()
    assert (monotonic, system) == (manual_clock.monotonic(), manual_clock.time())
    assert system == pytest.approx(machine, abs=5)
    manual_clock.advance(HOUR)
    assert g.monotonic_time() - monotonic == HOUR
    assert g.system_time() - system == pytest.approx(HOUR)
    assert time.time() - machine < HOUR
    with Driven.start() as server:
        assert within(server, lambda self: g.monotonic_time()) == monotonic + HOUR


def test_between_two_deadlines_the_actors_come_to_rest(probe: Probe, manual_clock: ManualClock) -> None:
    """A timer that is set because of another one is due at its own time, though one step passes both."""

    class Ticking(g.GenServer[int]):
        def init(self, init_arg: Any) -> Any:
            g.send_after(10, self.pid, "tick")
            return Ok(0)

        def handle_info(self, message: Any, state: int) -> Any:
            other.send((self.pid, state + 1))
            return NoReply(state + 1)

    class Other(g.GenServer[None]):
        def handle_info(self, message: Any, state: Any) -> Any:
            ticking, count = message
            probe.pid.send((count, clock().monotonic() - start))
            g.send_after(10, ticking, "tick")

    start = clock().monotonic()
    with Other.start() as other, Ticking.start():
        manual_clock.advance(95)
        assert probe.receive_n(9) == [(count, pytest.approx(10.0 * count)) for count in range(1, 10)]
        probe.expect_no_message(0)


def test_a_servers_timeout_a_call_and_a_start_wait_by_it(manual_clock: ManualClock) -> None:
    with Driven.start(lambda self: Ok(timeout=600)) as server:
        log = log_of(server)
        within(server, lambda self: None)  # which cancels it
        server.cast(lambda self, state: NoReply(timeout=600))
        manual_clock.advance(599)
        assert log.now() == []
        manual_clock.advance(1)
        assert log.next() is TIMEOUT
        with meanwhile(lambda: server.call(lambda self, from_, state: NoReply(), 60)) as outcome:
            manual_clock.settle()
            _wait_for_deadline(manual_clock)
            manual_clock.advance(60)
            assert isinstance(outcome(), g.CallTimeout)
    with Gate() as gate:
        with meanwhile(lambda: Driven.start(lambda self: gate.wait(), timeout=60)) as outcome:
            gate.reached()
            _wait_for_deadline(manual_clock)
            manual_clock.advance(60)
            assert outcome().reason is TIMEOUT
        gate.open()


def _wait_for_deadline(manual_clock: ManualClock) -> None:
    """Return when the plain thread that is to wait does so: of plain threads the clock knows nothing before."""
    manual_clock._wait_until(lambda: bool(manual_clock._due))
    assert manual_clock._due


def test_a_shutdown_time_is_over_when_the_test_says_so(manual_clock: ManualClock) -> None:
    with Gate() as gate:
        supervisor = Supervisor.start([ending(1, Log(), lambda self: gate.wait(), shutdown=30.0)])
        child = pid_of(supervisor, 1)
        with meanwhile(supervisor.stop) as outcome:
            gate.reached()
            manual_clock.advance(29)
            assert child.is_alive()
            manual_clock.advance(1)
            assert not child.is_alive()
            outcome()
        gate.open()


def test_a_restart_window_passes(manual_clock: ManualClock) -> None:
    supervisor = Supervisor.start([member(1, Log())], max_restarts=1, max_seconds=60)
    for _ in range(3):
        crash(pid_of(supervisor, 1))
        manual_clock.advance(61)
    crash(pid_of(supervisor, 1))
    manual_clock.advance(59)
    assert supervisor.is_alive()
    crash(pid_of(supervisor, 1))
    manual_clock.settle()
    assert not supervisor.is_alive()


class Feed(GenNostr[Any]):
    def init(self, init_arg: Any) -> Any:
        url, self.probe = init_arg
        self.add_relay(url, tasks={"garbage_collector": HOUR})

    def handle_connect(self, relay: Relay, state: Any) -> Any:
        self.probe.send(("connect", relay.reconnect_counter))

    def handle_disconnect(self, reason: Any, relay: Relay, state: Any) -> Any:
        self.probe.send(("disconnect", type(reason).__name__))
        return super().handle_disconnect(reason, relay, state)


def test_backoff_over_minutes_takes_milliseconds(
    probe: Probe, manual_clock: ManualClock, fake_relay: FakeRelay
) -> None:
    fake_relay.stop_listening()
    url = fake_relay.url.replace("localhost", "127.0.0.1")  # a name would be looked up, in the system's own time
    began = time.monotonic()
    with Feed.start((url, probe.pid)):
        attempts = []
        manual_clock.settle()
        for _ in range(10):
            probe.expect(("disconnect", "ConnectionRefusedError"))
            delay = manual_clock.next_due()
            assert delay is not None
            attempts.append(delay)
            manual_clock.advance(delay)
        took = time.monotonic() - began
        probe.expect(("disconnect", "ConnectionRefusedError"))
        for delay, wanted in zip(attempts, [*Options().reconnect, 30.0, 30.0, 30.0, 30.0, 30.0], strict=True):
            assert wanted * 0.75 <= delay <= wanted * 1.25
        assert sum(attempts) > 120
        assert took < 2


def test_an_hour_with_an_open_connection_is_an_hour_of_pings_and_a_garbage_collection(
    probe: Probe, manual_clock: ManualClock, fake_relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected = []
    with Feed.start((fake_relay.url, probe.pid)) as feed:
        connection = fake_relay.accept()
        probe.expect(("connect", 0))
        monkeypatch.setattr(gc, "collect", lambda: collected.append(clock().monotonic()))
        manual_clock.advance(HOUR)
        assert len(collected) == 1
        probe.expect_no_message(0)
        connection.stall()
        manual_clock.advance(61)
        probe.expect(("disconnect", "PingTimeout"))
        feed.remove_relay(fake_relay.url)
        probe.expect(("disconnect", type(REMOVE_RELAY).__name__))


def test_a_blocked_actor_is_not_waited_for_and_one_that_works_for_ever_is_an_error(
    manual_clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Gate() as gate, Driven.start() as server:
        server.cast(lambda self, state: gate.wait())
        gate.reached()
        began = time.monotonic()
        manual_clock.advance(1)
        assert time.monotonic() - began < 2
        gate.open()
    monkeypatch.setattr("gennostr.testing.manual_clock.PATIENCE", 0.3)
    stop = threading.Event()

    class Restless(g.GenServer[None]):
        def handle_info(self, message: Any, state: Any) -> Any:
            if not stop.is_set():
                self.pid.send(message)

    with Restless.start() as restless:
        restless.send("again")
        assert isinstance(outcome_of(lambda: manual_clock.advance(1)), TimeoutError)
        stop.set()


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_time_does_not_go_back(manual_clock: ManualClock, seconds: float) -> None:
    with pytest.raises(ValueError, match=str(seconds)):
        manual_clock.advance(seconds)


def test_who_waits_when_it_is_taken_away_goes_on_by_the_clock_before_and_timers_are_gone(probe: Probe) -> None:
    before = clock()
    with ManualClock():
        timer = g.send_after(0.05, probe.pid, "timer")
        server = Trapping.start(lambda self: Ok(timeout=0.05))
    assert clock() is before
    assert g.cancel_timer(timer) is None
    within(server, lambda self: self.log.put("asked"))
    assert log_of(server).now() in (["asked"], [TIMEOUT, "asked"])
    probe.expect_no_message(0.1)
    server.stop()


def test_it_tells_the_time_of_day(manual_clock: ManualClock) -> None:
    before = clock().time()
    assert before == pytest.approx(time.time(), abs=60)
    manual_clock.advance(HOUR)
    assert clock().time() == pytest.approx(before + HOUR)
