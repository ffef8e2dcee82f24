"""What a finalizer or a signal handler calls between any two steps of the clock and of telemetry.

Python runs both between any two bytecodes (docs: ``gc``, and "Execution of Python signal handlers"); the library
promises that nothing deadlocks and that both calls have their effect.
"""

import gc
import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial

import pytest

import gennostr as g
from gennostr import KILL
from gennostr.otp import clock as clocks
from gennostr.otp import telemetry, timers
from gennostr.otp.clock import SystemClock, clock
from gennostr.testing import ManualClock, manual_clock
from tests.interruptions import interruptions
from tests.otp.actors import DEADLINE, Driven, Log, within

HOUR = 3600.0


@pytest.fixture(scope="module")
def server() -> Iterator[g.Pid]:
    with Driven.start(name="sink") as server:
        yield server


def sink() -> g.Pid:
    server = g.whereis("sink")
    assert server is not None
    return server


def nothing(*_: object) -> None:
    """A telemetry handler."""


def cancelled(dest: object) -> None:
    assert g.cancel_timer(g.send_after(HOUR, dest, "never")) is not None


def attached() -> None:
    handler = partial(nothing)
    telemetry.attach(handler)
    telemetry.emit("name", {}, {})
    telemetry.detach(handler)


def killed() -> None:
    Driven.start().exit(KILL)


OPERATIONS: dict[str, Callable[[], object]] = {
    "timers": lambda: cancelled("sink"),
    "telemetry": attached,
}
INTERRUPTIONS: dict[str, Callable[[], object]] = OPERATIONS | {
    "kill": killed,
    "call": lambda: within(sink(), lambda self: cancelled("sink")),
}


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_step_may_be_interrupted_by_a_function_of_the_same_kind(
    operation: str, interruption: str, server: g.Pid
) -> None:
    for place in interruptions(clocks, timers, telemetry):
        place.during(OPERATIONS[operation], INTERRUPTIONS[interruption])
    assert not telemetry.handlers


def test_a_timer_that_is_set_between_any_two_steps_of_setting_another_fires_as_that_does() -> None:
    for place in interruptions(clocks):
        machine, log = SystemClock(), Log()
        call = partial(machine.call_at, 0.0)
        place.during(partial(call, partial(log.put, 1)), partial(call, partial(log.put, 2)))
        expected = {1, 2} if place.happened else {1}
        assert {log.next() for _ in expected} == expected


def test_the_timer_thread_may_be_interrupted_anywhere_by_timers_that_are_set_and_cancelled() -> None:
    def interrupt() -> None:
        assert machine.call_at(machine.monotonic() + HOUR, partial(log.put, "never")).cancel()
        machine.call_at(0.0, partial(log.put, "meanwhile"))

    def operation() -> None:
        now = machine.monotonic()
        pending = machine.call_at(now + HOUR, partial(log.put, "never"))
        machine.call_at(now, partial(log.put, "due"))
        assert log.next() in ("due", "meanwhile")
        assert pending.cancel()

    for place in interruptions(clocks):
        machine, log = SystemClock(), Log()
        place.during(operation, interrupt, threads=True)
        if place.happened:
            assert log.next() in ("due", "meanwhile")
        assert log.now() == []


def _note(log: Log, timer: clocks.ScheduledCall) -> None:
    log.put(timer.cancel())


def test_of_those_who_cancel_and_the_thread_that_fires_exactly_one_has_a_timer() -> None:
    """Erlang's cancel_timer (erlang(3)): it returns a time only if the message will not come."""
    for place in interruptions(clocks):
        machine, log, cancels = SystemClock(), Log(), Log()
        timer = machine.call_at(machine.monotonic() + HOUR, partial(log.put, "fired"))
        cancels.put(place.during(timer.cancel, partial(_note, cancels, timer)))
        assert sorted(cancels.now()) == ([False, True] if place.happened else [True])
    for _ in range(200):
        machine, log = SystemClock(), Log()
        timer = machine.call_at(0.0, partial(log.put, "fired"))
        if timer.cancel():
            machine.call_at(0.0, partial(log.put, "after"))
            assert log.next() == "after"
        else:
            assert log.next() == "fired"


def test_a_manual_clock_may_be_used_between_any_two_of_its_steps() -> None:
    def interrupt() -> None:
        later.cancel()
        clock().call_at(clock().monotonic() + 1, partial(log.put, "meanwhile"))

    for place in interruptions(manual_clock, every=7):
        log = Log()
        with ManualClock() as manual:
            later = clock().call_at(clock().monotonic() + 5, partial(log.put, "later"))
            clock().call_at(clock().monotonic() + 4, partial(log.put, "due"))
            place.during(partial(manual.advance, 10), interrupt)
            manual.advance(1)
        seen = log.now()
        assert seen.count("due") == 1
        assert seen.count("meanwhile") == place.happened
        assert seen.count("later") <= 1


def test_finalizers_and_weakref_callbacks_may_set_timers_wherever_the_collector_runs(server: g.Pid) -> None:
    class Garbage:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            cancelled("sink")

    def collect() -> None:
        garbage = Garbage()
        callbacks.append(weakref.ref(garbage, lambda _: cancelled(server)))
        del garbage
        gc.collect()

    callbacks: list[object] = []
    gc.disable()  # it runs where it is made to
    gc.freeze()  # and has little to look at
    try:
        for place in interruptions(timers):
            place.during(lambda: cancelled("sink"), collect)
    finally:
        gc.unfreeze()
        gc.enable()


# Which thread starts the timer thread.


def test_a_caller_that_is_refused_a_thread_has_set_no_timer_and_others_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """One is refused while another, which interrupts it, is not: each gets its own answer."""
    machine, log = SystemClock(), Log()
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        monkeypatch.setattr(threading.Thread, "start", start)
        machine.call_at(machine.monotonic() + 0.02, partial(log.put, "the other"))
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    with pytest.raises(RuntimeError, match="can't start"):
        machine.call_at(0.0, partial(log.put, "refused"))
    assert log.next() == "the other"
    assert log.now() == []


def test_refusals_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    machine = SystemClock()
    monkeypatch.setattr(threading.Thread, "start", refused)
    for _ in range(10):
        with pytest.raises(RuntimeError):
            machine.call_at(0.0, nothing)
    assert machine._arrivals.empty()
    assert machine._heap == []


def test_many_threads_set_and_cancel_timers_at_once_and_each_fires_or_is_cancelled() -> None:
    machine, fired = SystemClock(), Log()
    cancelled = Log()

    def work(worker: int) -> None:
        for number in range(300):
            timer = machine.call_at(machine.monotonic() + 0.0005, partial(fired.put, (worker, number)))
            if number % 3 == 0 and timer.cancel():
                cancelled.put((worker, number))

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(DEADLINE)
    gone = cancelled.now()
    seen = [fired.next() for _ in range(1200 - len(gone))]
    assert sorted(seen + gone) == [(worker, number) for worker in range(4) for number in range(300)]
    assert fired.now() == []


# What a timer keeps in memory.


class Message:
    """One that can be watched."""


def test_a_cancelled_timer_frees_its_message_though_its_handle_is_kept(server: g.Pid) -> None:
    """As asyncio's ``Handle.cancel`` does, which drops its callback and arguments."""
    other = g.send_after(HOUR, server, "pending")  # so that the timer thread has other things to wait for
    message = Message()
    seen = weakref.ref(message)
    timer = g.send_after(HOUR, server, message)
    del message
    assert seen() is not None
    assert g.cancel_timer(timer) is not None
    assert seen() is None
    g.cancel_timer(other)


def test_a_timer_that_has_fired_keeps_nothing_while_the_next_is_waited_for() -> None:
    machine, freed = SystemClock(), threading.Event()

    def set_one() -> clocks.ScheduledCall:
        message = Message()
        weakref.finalize(message, freed.set)
        return machine.call_at(0.0, partial(nothing, message))

    pending = machine.call_at(machine.monotonic() + HOUR, nothing)
    fired = set_one()
    assert freed.wait(DEADLINE)
    assert not fired.cancel()
    assert pending.cancel()


def test_a_manual_clocks_timer_frees_its_message_when_it_is_cancelled(server: g.Pid) -> None:
    with ManualClock():
        message = Message()
        seen = weakref.ref(message)
        timer = g.send_after(HOUR, "nobody", message)
        del message
        assert g.cancel_timer(timer) == HOUR
        assert seen() is None


def test_cancelled_timers_take_no_more_room_than_those_that_are_pending() -> None:
    machine = SystemClock()
    pending = [machine.call_at(machine.monotonic() + HOUR, nothing) for _ in range(100)]
    for _ in range(1000):
        machine.call_at(machine.monotonic() + HOUR, nothing).cancel()
    seen: queue.SimpleQueue[int] = queue.SimpleQueue()
    machine.call_at(0.0, lambda: seen.put(len(machine._heap)))
    assert seen.get(timeout=DEADLINE) <= 2 * len(pending) + 64
    for timer in pending:
        assert timer.cancel()
