"""Calls, casts and messages: how each ends, what a callback may return, and what a crash leaves in the log."""

import asyncio
import dataclasses
import gc
import inspect
import itertools
import logging
import queue
import threading
import traceback
import weakref
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
    TIMEOUT,
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
    Unshowable,
    crash_reports,
    ctrl_c,
    dead,
    errors,
    fail,
    fits,
    link,
    log_of,
    meanwhile,
    outcome_of,
    provoke,
    settle,
    watching,
    within,
)


class Bare(g.GenServer[Any]):
    """Has only this callback, which returns a continue."""

    def handle_info(self, message: Any, state: Any) -> Any:
        return NoReply(continue_="argument") if message == "continue" else super().handle_info(message, state)


def keep(self: Any, from_: Any, state: Any) -> Any:
    """Leave a call unanswered; its from_ goes to the log."""
    self.log.put(from_)
    return NoReply()


def slow(gate: Gate) -> Any:
    """Return a request that is answered, after the gate, by what handle_call returns."""
    return lambda self, from_, state: Reply(gate.wait("late"))


# Replies.


def test_a_call_returns_the_reply_and_the_state_is_the_new_one() -> None:
    with Driven.start(1) as server:
        assert server.call(lambda self, from_, state: Reply("reply", state + 1)) == "reply"
        assert server.get_state() == 2


def test_a_reply_may_be_none_and_a_state_too() -> None:
    with Driven.start(1) as server:
        assert server.call(lambda self, from_, state: Reply(None, None)) is None
        assert server.get_state() is None


def test_a_reply_that_is_an_exception_is_returned_and_not_raised() -> None:
    error = ValueError("a value")
    with Driven.start() as server:
        assert server.call(lambda self, from_, state: Reply(error)) is error


def test_any_thread_may_answer_a_call() -> None:
    def request(self: Any, from_: Any, state: Any) -> Any:
        threading.Thread(target=g.reply, args=(from_, "from a thread")).start()
        return NoReply()

    with Driven.start() as server:
        assert server.call(request) == "from a thread"


def test_another_actor_may_answer_a_call() -> None:
    with Driven.start() as other, Driven.start() as server:

        def request(self: Any, from_: Any, state: Any) -> Any:
            other.cast(lambda self, state: g.reply(from_, self.pid))
            return NoReply()

        assert server.call(request) is other


@pytest.mark.parametrize("callback", ["handle_cast", "handle_info", "handle_continue"])
def test_a_call_may_be_answered_from_a_later_callback(callback: str) -> None:
    with Driven.start() as server:
        pending = server.send_request(keep)
        from_ = log_of(server).next()
        assert not pending.done()
        provoke(server, callback, lambda self: g.reply(from_, callback))
        assert pending.wait() == callback


def test_a_call_may_be_answered_from_terminate() -> None:
    class Parting(Driven):
        def terminate(self, reason: Any, state: Any) -> None:
            g.reply(state, "goodbye")

    server = Parting.start()
    pending = server.send_request(lambda self, from_, state: NoReply(from_))
    settle(server)
    server.stop()
    assert pending.wait() == "goodbye"


def test_answers_may_come_in_another_order_than_the_calls() -> None:
    with Driven.start() as server:
        pendings = [server.send_request(keep) for _ in range(3)]
        log = log_of(server)
        froms = [log.next() for _ in pendings]
        for number in (2, 0, 1):
            g.reply(froms[number], number)
        assert [pending.wait() for pending in pendings] == [0, 1, 2]


def test_the_first_reply_wins_and_later_ones_never_surface() -> None:
    def request(self: Any, from_: Any, state: Any) -> Any:
        g.reply(from_, "first")
        g.reply(from_, "second")
        threading.Thread(target=g.reply, args=(from_, "from a thread")).start()
        return Reply("third")

    with Driven.start() as server, Driven.start() as caller:
        assert server.call(request) == "first"
        assert within(caller, lambda self: server.call(request)) == "first"
        assert within(caller, lambda self: server.call(lambda self, from_, state: Reply("own"))) == "own"
        settle(server)
        settle(caller)
        assert log_of(caller).now() == []


def test_of_many_threads_that_reply_one_wins_and_the_others_are_unharmed() -> None:
    with Driven.start() as server:
        pending = server.send_request(keep)
        from_ = log_of(server).next()
        together = threading.Barrier(8)

        def answer(number: int) -> None:
            together.wait(DEADLINE)
            g.reply(from_, number)

        threads = [threading.Thread(target=answer, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        first = pending.wait()
        for thread in threads:
            thread.join()
        assert first in range(8)
        assert pending.wait() == first


def test_a_reply_after_a_stop_that_replied_goes_nowhere() -> None:
    froms = Log()

    def request(self: Any, from_: Any, state: Any) -> Any:
        froms.put(from_)
        return Stop(NORMAL, reply="first")

    server = Driven.start()
    assert server.call(request) == "first"
    g.reply(froms.next(), "second")


@pytest.mark.parametrize("wrong", [None, 3, "from", object], ids=repr)
def test_a_reply_to_what_is_no_from_is_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError, match="from_"):
        g.reply(wrong, "value")
    with pytest.raises(TypeError, match="from_"):
        g.reply_error(wrong, ValueError())


def test_a_reply_error_is_raised_in_the_caller_and_the_server_lives() -> None:
    error = KeyError("no such account")

    def refuse(self: Any, from_: Any, state: Any) -> Any:
        g.reply_error(from_, error)
        g.reply(from_, "too late")
        return NoReply()

    with Driven.start() as server:
        assert outcome_of(lambda: server.call(refuse)) is error
        pending = server.send_request(refuse)
        assert outcome_of(lambda: pending.wait(DEADLINE)) is error
        length = sum(1 for _ in traceback.walk_tb(error.__traceback__))
        for _ in range(10):
            assert outcome_of(lambda: pending.wait(DEADLINE)) is error
        # Not longer each time it is raised.
        assert sum(1 for _ in traceback.walk_tb(error.__traceback__)) == length


@pytest.mark.parametrize("wrong", [None, "error", ValueError], ids=repr)
def test_a_reply_error_of_what_is_no_exception_is_a_type_error_and_the_call_is_still_to_be_answered(wrong: Any) -> None:
    def refuse(self: Any, from_: Any, state: Any) -> Any:
        return Reply(type(outcome_of(lambda: g.reply_error(from_, wrong))))

    with Driven.start() as server:
        assert server.call(refuse) is TypeError


# Timeouts.


def test_a_call_waits_5_seconds_by_default() -> None:
    for function in (g.call, g.Pid.call, g.Pid.call_async, g.PendingReply.wait, g.get_state, g.Pid.get_state):
        assert inspect.signature(function).parameters["timeout"].default == 5.0


def test_a_call_timeout_names_target_request_and_timeout_and_leaves_the_server_unharmed() -> None:
    with Driven.start("state", name="slow") as server:
        for target in (server, "slow"):
            with pytest.raises(TimeoutError) as caught:
                g.call(target, keep, 0.01)
            assert isinstance(caught.value, g.CallTimeout)
            assert (caught.value.target, caught.value.request, caught.value.timeout) == (target, keep, 0.01)
        assert server.is_alive()
        assert server.get_state() == "state"


def test_a_timeout_of_0_is_over_at_once_where_nobody_has_replied() -> None:
    with Driven.start() as server, pytest.raises(g.CallTimeout):
        server.call(keep, 0)


def test_a_call_without_a_timeout_waits_until_the_reply() -> None:
    with Driven.start() as server, Gate() as gate, meanwhile(lambda: server.call(slow(gate), None)) as outcome:
        gate.reached()
        gate.open()
        assert outcome() == "late"


@pytest.mark.parametrize("wrong", [-1, "1", True, float("nan")], ids=repr)
def test_a_call_timeout_that_is_no_number_of_seconds_is_refused_and_nothing_is_sent(wrong: Any) -> None:
    with Driven.start() as server:
        with pytest.raises((TypeError, ValueError), match="timeout"):
            server.call(keep, wrong)
        with pytest.raises((TypeError, ValueError), match="timeout"):
            g.send_request("nobody", "request").wait(wrong)
        with pytest.raises((TypeError, ValueError), match="timeout"):
            asyncio.run(server.call_async(keep, wrong))
        settle(server)
        assert log_of(server).now() == []


def timed_out(call: Callable[[], Any]) -> None:
    with pytest.raises(g.CallTimeout):
        call()


def echo(server: g.Pid, value: object) -> Any:
    return server.call(lambda self, from_, state: Reply(value))


def echo_within(caller: g.Pid, server: g.Pid, value: object) -> Any:
    return within(caller, lambda self: echo(server, value))


def reply_within(server: g.Pid, from_: Any, value: object) -> None:
    within(server, lambda self: g.reply(from_, value))


def test_a_late_reply_reaches_nobody_and_later_calls_get_their_own() -> None:
    with Driven.start() as server, Driven.start() as caller:
        log = log_of(server)
        timed_out(lambda: server.call(keep, 0.01))
        within(caller, lambda self: timed_out(lambda: server.call(keep, 0.01)))
        for _ in range(2):
            from_ = log.next()
            g.reply(from_, "late")
            reply_within(server, from_, "later")
        for number in range(10):
            assert echo(server, number) == number
            assert echo_within(caller, server, number) == number
        assert log_of(caller).now() == []


def test_a_late_return_value_reaches_nobody_and_later_calls_get_their_own() -> None:
    with Driven.start() as server, Driven.start() as caller:
        with Gate() as gate:
            timed_out(lambda: server.call(slow(gate), 0.01))
        with Gate() as gate:
            within(caller, lambda self: timed_out(lambda: server.call(slow(gate), 0.01)))
        for number in range(10):
            assert echo(server, number) == number
            assert echo_within(caller, server, number) == number
        assert log_of(caller).now() == []


def test_a_call_that_timed_out_is_forgotten() -> None:
    class Request:
        def __call__(self, actor: Any, from_: Any, state: Any) -> Any:
            return NoReply()

    with Driven.start() as server:
        requests = [Request() for _ in range(10)]
        kept = [weakref.ref(each) for each in requests]
        while requests:
            timed_out(lambda: server.call(requests.pop(), 0))
        settle(server)
        gc.collect()
        assert [ref() for ref in kept] == [None] * 10


def test_a_call_that_is_broken_off_by_ctrl_c_leaves_the_server_unharmed_and_gets_no_late_reply() -> None:
    def interrupt(self: Any, from_: Any, state: Any) -> Any:
        self.log.put(from_)
        press()
        return NoReply()

    with Driven.start("state") as server, ctrl_c() as press:
        log = log_of(server)
        with pytest.raises(KeyboardInterrupt):
            server.call(interrupt)
        g.reply(log.next(), "late")
        assert server.call(lambda self, from_, state: Reply("own")) == "own"
        assert server.get_state() == "state"


# Dead and unknown targets.


def nobodies() -> Iterator[Any]:
    """Yield each kind of dead or unknown target."""
    gone = dead()
    registry = Registry.start()
    registry.stop()
    with Registry.start() as living:
        yield from (gone, "never", g.via(living, "never"), g.via(registry, "never"), g.via("no registry", "never"))


def test_a_call_to_the_dead_or_unknown_is_no_process_and_a_lookup_error_at_once() -> None:
    for target in nobodies():
        with pytest.raises(LookupError) as caught:
            g.call(target, "request", None)
        assert isinstance(caught.value, g.NoProcess)
        assert caught.value.target == target


def test_a_name_whose_holder_has_died_is_unknown() -> None:
    Driven.start(name="gone").stop()
    with pytest.raises(g.NoProcess):
        g.call("gone", "request", None)


def test_casts_and_sends_to_the_dead_and_unknown_are_silently_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "gennostr")
    for target in nobodies():
        g.cast(target, "message")
        g.send(target, "message")
    gone = dead()
    gone.cast("message")
    gone.send("message")
    gone.tell("message")
    gone.exit("reason")
    assert caplog.records == []


# Calling oneself.


def test_calling_oneself_ends_at_once_by_pid_name_and_via() -> None:
    with Registry.start() as registry, Driven.start(name="self") as server:

        def call(self: Any) -> None:
            registry.register("self")
            for target in (self.pid, "self", g.via(registry, "self")):
                with pytest.raises(g.CallingSelf) as caught:
                    g.call(target, "request", None)
                assert caught.value.target == target

        within(server, call)
        assert server.is_alive()


def test_a_call_to_oneself_in_init_and_in_terminate_ends_at_once_too() -> None:
    log = Log()

    class Inward(Driven):
        def terminate(self, reason: Any, state: Any) -> None:
            log.put(outcome_of(lambda: self.pid.call("request", None)))

    server = Inward.start(lambda self: log.put(outcome_of(lambda: self.pid.call("request", None))))
    server.stop()
    assert [type(each) for each in log.now()] == [g.CallingSelf] * 2


def test_a_call_error_names_its_target_in_words() -> None:
    server = Driven.start(name="somebody")
    assert "nobody" in str(outcome_of(lambda: g.call("nobody", 1)))
    assert "somebody" in str(outcome_of(lambda: server.call(keep, 0)))
    assert "somebody" in str(within(server, lambda self: outcome_of(lambda: self.pid.call(1))))
    assert "somebody" in str(outcome_of(lambda: server.call(lambda self, from_, state: Stop("the reason"))))


# The server ends.


ENDS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "crash": (lambda server: server.cast(lambda self, state: fail(ZeroDivisionError())), ZeroDivisionError),
    "bad return value": (lambda server: server.cast(lambda self, state: 3), g.BadReturnValue),
    "stop": (lambda server: server.cast(lambda self, state: Stop("reason")), "reason"),
    "stop, normal": (lambda server: server.cast(lambda self, state: Stop()), NORMAL),
    "stop from outside": (lambda server: server.stop(SHUTDOWN, block=False), SHUTDOWN),
    "exit signal": (lambda server: server.exit("signal"), "signal"),
    "kill": (lambda server: server.exit(KILL), KILLED),
}


@pytest.mark.parametrize(("end", "expected"), ENDS.values(), ids=ENDS)
def test_a_server_that_ends_during_the_call_is_call_exit_with_its_reason(end: Any, expected: Any) -> None:
    server = Driven.start()
    log = log_of(server)
    with meanwhile(lambda: server.call(keep, None)) as outcome:
        log.next()  # it has arrived, and is not answered
        end(server)
        error = outcome()
    assert isinstance(error, g.CallExit)
    assert error.target == server
    assert fits(error.reason, expected)
    assert error.reason is server.process.reason


def test_a_crash_is_told_to_the_caller_as_that_very_exception() -> None:
    error = ValueError("during")
    server = Driven.start()
    with pytest.raises(g.CallExit) as caught:
        server.call(lambda self, from_, state: fail(error))
    assert caught.value.reason is error


def test_a_crash_can_still_tell_where_it_was_raised() -> None:
    def raising(actor: Any) -> Any:
        raise ZeroDivisionError

    def told(error: BaseException) -> list[str]:
        return [frame.name for frame in traceback.extract_tb(error.__traceback__)]

    server, linked = Driven.start(), Driven.start()
    link(linked, server)
    with watching(server) as watched, watching(linked) as spread:
        error = outcome_of(lambda: server.call(lambda self, from_, state: raising(self)))
        for reason in (error.reason, watched(), spread()):
            assert told(reason)[-1] == "raising"
            assert "handle_call" in told(reason)


@pytest.mark.parametrize(("end", "expected"), ENDS.values(), ids=ENDS)
def test_a_call_that_waits_behind_the_end_of_its_server_is_call_exit(end: Any, expected: Any) -> None:
    """No call can wait on a dead process, wherever its request was."""
    server = Driven.start()
    with Gate() as gate:
        server.cast(lambda self, state: gate.wait())
        gate.reached()
        end(server)
        if expected is KILLED:
            with pytest.raises(g.NoProcess):
                server.call(keep, None)
            return
        pendings = [server.send_request(keep) for _ in range(3)]
        gate.open()
        for pending in pendings:
            error = outcome_of(pending.wait)
            assert isinstance(error, g.CallExit)
            assert error.reason is server.process.reason


def test_the_caller_of_a_deferred_reply_hears_of_the_death_instead() -> None:
    server = Driven.start()
    log = log_of(server)
    caller = Driven.start()
    with watching(caller) as reason:
        caller.cast(lambda self, state: server.call(keep))
        from_ = log.next()
        server.stop("gone")
        assert reason().reason == "gone"
        g.reply(from_, "too late")


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda self, server: g.call("nobody", "request"), g.NoProcess),
        (lambda self, server: self.pid.call("request"), g.CallingSelf),
        (lambda self, server: server.call(keep, 0.01), g.CallTimeout),
        (lambda self, server: server.call(lambda self, from_, state: Stop("end")), g.CallExit),
    ],
    ids=["NoProcess", "CallingSelf", "CallTimeout", "CallExit"],
)
@pytest.mark.parametrize("callback", CALLBACKS)
def test_a_call_error_left_uncaught_ends_the_calling_server_with_it(callback: str, call: Any, kind: Any) -> None:
    server, caller = Driven.start(), Driven.start()
    log = log_of(caller)
    with watching(caller) as reason:
        provoke(caller, callback, lambda self: call(self, server))
        ended = reason()
    assert isinstance(ended, kind)
    assert log.now() == [("terminate", ended)]
    server.stop(block=True)


def test_calls_racing_stops_and_kills_all_end() -> None:
    servers = [Driven.start(0) for _ in range(40)]
    ended: queue.SimpleQueue[int] = queue.SimpleQueue()

    def work(number: int) -> None:
        count = 0
        for turn in range(400):
            server = servers[(turn * 7 + number) % len(servers)]
            try:
                server.call(lambda self, from_, state: Reply(1), timeout=10)
            except (g.CallExit, g.NoProcess):
                pass
            count += 1
            if turn % 40 == number:
                server.exit(KILL if number % 2 else SHUTDOWN)
        ended.put(count)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    assert [ended.get(timeout=30) for _ in threads] == [400] * 8
    for thread in threads:
        thread.join()
    for server in servers:
        server.stop(block=True)


# Stop from handle_call.


@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, Shutdown("x"), "other"], ids=repr)
def test_stop_without_a_reply_is_call_exit_even_when_normal(reason: Any) -> None:
    server = Driven.start()
    with pytest.raises(g.CallExit) as caught:
        server.call(lambda self, from_, state: Stop(reason))
    assert caught.value.reason == reason


@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, "other"], ids=repr)
def test_stop_with_a_reply_runs_terminate_first_then_replies_then_exits(reason: Any) -> None:
    order = Log()

    class Parting(Driven):
        def terminate(self, reason: Any, state: Any) -> None:
            order.put("terminate")

    def call_and_wait(self: Any, state: Any) -> None:
        order.put(server.call(lambda self, from_, state: Stop(reason, reply="reply")))

    server = Parting.start()
    with Trapping.start() as caller:
        log = log_of(caller)
        link(caller, server)
        caller.cast(call_and_wait)
        assert log.next() == g.Exit(server, reason)
    assert order.now() == ["terminate", "reply"]


def test_the_reply_of_a_stop_is_not_delivered_before_terminate_has_ended() -> None:
    with Gate() as gate:

        class Slow(Driven):
            def terminate(self, reason: Any, state: Any) -> None:
                gate.wait()

        server = Slow.start()
        pending = server.send_request(lambda self, from_, state: Stop(NORMAL, reply="bye"))
        gate.reached()
        assert not pending.done()
        assert server.is_alive()
        gate.open()
        assert pending.wait() == "bye"
        with watching(server) as reason:
            assert reason() in (NORMAL, g.NOPROC)


def test_a_stop_may_reply_none_and_set_the_state_for_terminate() -> None:
    log = Log()

    class Parting(Driven):
        def terminate(self, reason: Any, state: Any) -> None:
            log.put(state)

    assert Parting.start("old").call(lambda self, from_, state: Stop(NORMAL, "new", reply=None)) is None
    assert log.next() == "new"


@pytest.mark.parametrize("kind", [ValueError, *FATAL])
def test_stop_with_a_reply_still_replies_when_terminate_crashes(kind: type[BaseException]) -> None:
    class Crashing(Driven):
        def terminate(self, reason: Any, state: Any) -> None:
            raise kind

    server = Crashing.start()
    with watching(server) as reason:
        assert server.call(lambda self, from_, state: Stop(NORMAL, reply="bye")) == "bye"
        assert isinstance(reason(), kind)


def test_stop_without_a_reply_is_call_exit_with_the_error_of_a_terminate_that_crashes() -> None:
    class Crashing(Driven):
        def terminate(self, reason: Any, state: Any) -> None:
            raise ValueError("in terminate")

    with pytest.raises(g.CallExit) as caught:
        Crashing.start().call(lambda self, from_, state: Stop(NORMAL))
    assert isinstance(caught.value.reason, ValueError)


def test_a_reply_before_the_stop_wins_over_the_reply_of_the_stop() -> None:
    def request(self: Any, from_: Any, state: Any) -> Any:
        g.reply(from_, "first")
        return Stop(NORMAL, reply="second")

    assert Driven.start().call(request) == "first"


def test_stop_with_a_reply_of_a_server_killed_in_terminate_is_call_exit_killed() -> None:
    with Gate() as gate:

        class Slow(Driven):
            def terminate(self, reason: Any, state: Any) -> None:
                gate.wait()

        server = Slow.start()
        pending = server.send_request(lambda self, from_, state: Stop(NORMAL, reply="bye"))
        gate.reached()
        server.exit(KILL)
        with pytest.raises(g.CallExit) as caught:
            pending.wait()
        assert caught.value.reason is KILLED


# Casts and messages.


def test_casts_and_messages_are_handled_in_the_order_in_which_one_sends_them() -> None:
    with Driven.start() as server:
        log = log_of(server)
        for number in range(100):
            if number % 2:
                server.send(number)
            else:
                server.cast(lambda self, state, number=number: self.log.put(number))
        settle(server)
        assert log.now() == list(range(100))


def test_a_cast_and_a_send_return_nothing_and_do_not_wait() -> None:
    with Driven.start() as server, Gate() as gate:
        server.cast(lambda self, state: gate.wait())
        gate.reached()
        returned: list[Any] = [function("not handled yet") for function in (server.cast, server.send)]
        assert returned == [None, None]
        server.exit(KILL)


@pytest.mark.parametrize("callback", ["handle_call", "handle_cast", "handle_continue"])
def test_a_callback_that_is_not_there_ends_the_server_saying_so(callback: str) -> None:
    server = Bare.start()
    with watching(server) as reason:
        if callback == "handle_call":
            with pytest.raises(g.CallExit):
                server.call("request")
        elif callback == "handle_cast":
            server.cast("request")
        else:
            server.send("continue")
        ended = reason()
    assert isinstance(ended, NotImplementedError)
    assert callback in str(ended)
    assert "Bare" in str(ended)


@pytest.mark.parametrize("callback", ["handle_call", "handle_cast"])
def test_a_callback_that_is_not_there_says_so_even_of_a_request_whose_repr_raises(callback: str) -> None:
    server = Bare.start()
    with watching(server) as reason:
        if callback == "handle_call":
            server.send_request(Unshowable())
        else:
            server.cast(Unshowable())
        ended = reason()
    assert isinstance(ended, NotImplementedError)
    assert callback in str(ended)


def test_a_message_that_is_not_handled_is_one_warning_and_the_server_lives(caplog: pytest.LogCaptureFixture) -> None:
    with g.GenServer.start(3) as server:
        server.send("surprise")
        assert server.get_state() == 3
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert record.name.startswith("gennostr.")
        assert "surprise" in record.getMessage()


@pytest.mark.parametrize("error", [ValueError("in repr"), RecursionError("in repr"), SystemExit("in repr")], ids=repr)
def test_a_message_that_is_not_handled_and_whose_repr_raises_is_one_warning_and_the_server_lives(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    server = g.GenServer.start(3)
    message = Unshowable(error)
    server.send(message)
    assert outcome_of(server.get_state) == 3
    message.mend()
    server.stop()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize("kind", [NotImplementedError, AttributeError])
@pytest.mark.parametrize("callback", CALLBACKS)
def test_an_error_of_user_code_in_a_handler_is_that_error(callback: str, kind: type[Exception]) -> None:
    error = kind("the user's")
    server = Driven.start()
    with watching(server) as reason:
        provoke(server, callback, lambda self: fail(error))
        assert reason() is error


def test_an_attribute_that_a_handler_does_not_find_is_an_attribute_error() -> None:
    server = Driven.start()
    with watching(server) as reason:
        server.cast(lambda self, state: self.handle_nothing())
        ended = reason()
    assert isinstance(ended, AttributeError)
    assert "handle_nothing" in str(ended)


# What a callback returns.


@pytest.mark.parametrize("callback", CALLBACKS[1:])
def test_a_handler_that_returns_none_leaves_the_state(callback: str) -> None:
    with Driven.start("state") as server:
        provoke(server, callback, lambda self: None)
        settle(server)
        assert server.get_state() == "state"


@pytest.mark.parametrize("callback", CALLBACKS)
def test_an_outcome_with_the_state_left_out_leaves_it_and_one_with_none_does_not(callback: str) -> None:
    with Driven.start("state") as server:
        outcome = Reply if callback == "handle_call" else lambda value, *state: NoReply(*state)
        provoke(server, callback, lambda self: outcome(1))
        settle(server)
        assert server.get_state() == "state"
        provoke(server, callback, lambda self: outcome(1, None))
        settle(server)
        assert server.get_state() is None


@pytest.mark.parametrize("callback", CALLBACKS)
def test_a_stop_sets_the_state_that_terminate_gets(callback: str) -> None:
    log = Log()

    class Ending(Driven):
        def terminate(self, reason: Any, state: Any) -> None:
            log.put((reason, state))

    provoke(Ending.start("old"), callback, lambda self: Stop("why", "new"))
    assert log.next() == ("why", "new")


WRONG = [7, 0, False, "text", Ok(1), Ok(), IGNORE, NoReply, TIMEOUT, (NoReply(),)]


@pytest.mark.parametrize("value", [*WRONG, Reply(1)], ids=repr)
@pytest.mark.parametrize("callback", CALLBACKS[1:])
def test_a_bad_return_value_is_the_reason_and_terminate_runs(callback: str, value: Any) -> None:
    server = Driven.start()
    log = log_of(server)
    with watching(server) as reason:
        provoke(server, callback, lambda self: value)
        ended = reason()
    assert isinstance(ended, g.BadReturnValue)
    assert ended.value is value
    assert log.now() == [("terminate", ended)]


@pytest.mark.parametrize("value", [*WRONG, None], ids=repr)
def test_a_bad_return_value_of_handle_call_is_the_reason_and_told_to_the_caller(value: Any) -> None:
    server = Driven.start()
    log = log_of(server)
    with pytest.raises(g.CallExit) as caught:
        server.call(lambda self, from_, state: value)
    assert isinstance(caught.value.reason, g.BadReturnValue)
    assert caught.value.reason.value is value
    assert log.now() == [("terminate", caught.value.reason)]


@pytest.mark.parametrize("outcome", [Reply("raised"), NoReply("raised"), Stop(NORMAL, reply="raised")], ids=repr)
def test_an_outcome_that_is_raised_is_an_error_and_no_outcome(outcome: Any) -> None:
    server = Driven.start("the state")
    with watching(server) as reason:
        error = outcome_of(lambda: server.call(lambda self, from_, state: fail(outcome)))
        assert isinstance(error, g.CallExit)
        assert isinstance(error.reason, TypeError)
        assert reason() is error.reason


def test_a_bad_return_value_after_an_early_reply_does_not_take_the_reply_back() -> None:
    def request(self: Any, from_: Any, state: Any) -> Any:
        g.reply(from_, "early")
        return 3

    server = Driven.start()
    with watching(server) as reason:
        assert server.call(request) == "early"
        assert isinstance(reason(), g.BadReturnValue)


# Whatever is raised.


@pytest.mark.parametrize("kind", [ValueError, StopIteration, *FATAL])
@pytest.mark.parametrize("callback", CALLBACKS)
def test_no_exception_in_a_callback_harms_more_than_its_server(callback: str, kind: type[BaseException]) -> None:
    with Driven.start() as bystander:
        server = Driven.start()
        log = log_of(server)
        error = kind()
        with watching(server) as reason:
            pending = provoke(server, callback, lambda self: fail(error))
            waiting = server.send_request(keep)
            assert reason() is error
        if pending is not None:
            assert outcome_of(lambda: pending.wait(DEADLINE)).reason is error
        assert isinstance(outcome_of(lambda: waiting.wait(DEADLINE)), g.CallExit | g.NoProcess)
        assert log.now() == [("terminate", error)]
        assert bystander.is_alive()


def test_a_callback_without_end_is_a_recursion_error_of_its_server(caplog: pytest.LogCaptureFixture) -> None:
    def endless(self: Any, from_: Any, state: Any) -> Any:
        return endless(self, from_, state)

    with Driven.start() as bystander:
        with pytest.raises(g.CallExit) as caught:
            Driven.start().call(endless)
        assert isinstance(caught.value.reason, RecursionError)
        assert bystander.is_alive()
    assert len(crash_reports(caplog)) == 1


@pytest.mark.parametrize("kind", FATAL)
def test_an_exception_in_the_hook_for_the_status_neither_ends_the_server_nor_its_callers(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    class Raising(Driven):
        def format_status(self, status: Any) -> Any:
            raise kind

    server = Raising.start("the state")
    assert server.get_status().state == "the state"
    with pytest.raises(g.CallExit) as caught:
        server.call(lambda self, from_, state: fail(ValueError("why")))
    assert isinstance(caught.value.reason, ValueError)
    (report,) = crash_reports(caplog)
    assert (report.state, str(report.reason)) == ("the state", "why")


class Broken(logging.Handler):
    """A log handler that fails."""

    def __init__(self, kind: type[BaseException]) -> None:
        super().__init__()
        self.kind = kind

    def emit(self, record: logging.LogRecord) -> None:
        raise self.kind


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)  # which reports the failed log handler
@pytest.mark.parametrize("kind", [ValueError, SystemExit, MemoryError])
def test_a_log_handler_that_raises_keeps_no_server_from_dying(kind: type[BaseException]) -> None:
    """Callers of the server get its exit, whatever becomes of the report."""
    handler = Broken(kind)
    server = Driven.start()
    logging.getLogger("gennostr").addHandler(handler)
    try:
        outcome = outcome_of(lambda: server.call(lambda self, from_, state: fail(ZeroDivisionError()), 1))
    finally:
        logging.getLogger("gennostr").removeHandler(handler)
        server.exit(KILL)
    assert isinstance(outcome, g.CallExit)
    assert isinstance(outcome.reason, ZeroDivisionError)


# Crash reports.


def crash_in(callback: str, error: Any, state: object = "the state") -> g.Pid:
    """Let a server crash by `error`, and wait until it is dead."""
    server: g.Pid = Driven.start(state, name="crashing")
    with watching(server) as reason:
        provoke(server, callback, lambda self: fail(error))
        reason()
    return server


def test_a_crash_is_reported_exactly_once_with_all_that_matters(caplog: pytest.LogCaptureFixture) -> None:
    error = ValueError("the reason")
    with Driven.start(name="caller") as caller:
        server = Driven.start("the state", name="crashing")

        def call(self: Any) -> None:
            with pytest.raises(g.CallExit):
                server.call(crash)

        def crash(self: Any, from_: Any, state: Any) -> Any:
            raise error

        within(caller, call)
    (record,) = errors(caplog)
    text = record.getMessage()
    for part in ("'crashing'", "the reason", "crash", "'caller'", "the state", "ValueError", "handle_call"):
        assert part in text
    assert record.name.startswith("gennostr.")
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert record.exc_info[2] is not None
    (report,) = crash_reports(caplog)
    assert (report.pid, report.message, report.caller) == (server, crash, caller)
    assert (report.state, report.reason, report.callback) == ("the state", error, "handle_call")


@pytest.mark.parametrize("callback", CALLBACKS)
def test_a_crash_in_any_callback_is_one_report_that_names_it(callback: str, caplog: pytest.LogCaptureFixture) -> None:
    error = ValueError("why")
    server = crash_in(callback, error)
    (report,) = crash_reports(caplog)
    assert (report.pid, report.callback, report.reason, report.state) == (server, callback, error, "the state")
    assert report.message is not None
    assert report.caller is None
    assert len(errors(caplog)) == 1


def test_a_crash_at_a_timeout_is_one_report_that_names_the_timeout(caplog: pytest.LogCaptureFixture) -> None:
    class Late(g.GenServer[Any]):
        def init(self, init_arg: Any) -> Any:
            return Ok("the state", timeout=0)

        def handle_info(self, message: Any, state: Any) -> Any:
            raise ValueError("why")

    with watching(Late.start()) as reason:
        reason()
    (report,) = crash_reports(caplog)
    assert (report.callback, report.message) == ("handle_info", TIMEOUT)


def test_a_bad_return_value_is_one_report_with_the_value(caplog: pytest.LogCaptureFixture) -> None:
    server = Driven.start()
    with watching(server) as reason:
        server.cast(lambda self, state: "nonsense")
        reason()
    (record,) = errors(caplog)
    assert "nonsense" in record.getMessage()


def test_a_crash_in_terminate_is_one_report_with_its_own_reason(caplog: pytest.LogCaptureFixture) -> None:
    class Crashing(Driven):
        def terminate(self, reason: Any, state: Any) -> None:
            raise ValueError("in terminate")

    server = Crashing.start("the state")
    with watching(server) as reason:
        server.cast(lambda self, state: 1 / 0)
        ended = reason()
    (record,) = errors(caplog)
    (report,) = crash_reports(caplog)
    assert (report.reason, report.callback, report.state) == (ended, "terminate", "the state")
    assert record.exc_info is not None
    assert record.exc_info[1] is ended


@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, Shutdown("x")], ids=repr)
@pytest.mark.parametrize("how", ["stop", "callback", "reply"])
def test_a_clean_end_is_not_reported(how: str, reason: Any, caplog: pytest.LogCaptureFixture) -> None:
    server = Driven.start()
    if how == "stop":
        server.stop(reason)
    elif how == "reply":
        server.call(lambda self, from_, state: Stop(reason, reply=1))
    else:
        assert isinstance(outcome_of(lambda: server.call(lambda self, from_, state: Stop(reason))), g.CallExit)
    with pytest.raises((g.CallExit, g.NoProcess)):
        server.call(keep)
    assert caplog.records == []


@pytest.mark.parametrize("how", ["stop", "callback"])
def test_an_unclean_stop_is_reported_once_with_its_reason(how: str, caplog: pytest.LogCaptureFixture) -> None:
    server = Driven.start("the state")
    if how == "stop":
        server.stop("unclean")
    else:
        assert isinstance(outcome_of(lambda: server.call(lambda self, from_, state: Stop("unclean"))), g.CallExit)
    (record,) = errors(caplog)
    (report,) = crash_reports(caplog)
    assert (report.reason, report.state) == ("unclean", "the state")
    assert report.callback == ("stop" if how == "stop" else "handle_call")
    assert record.exc_info is None


def test_an_unclean_exit_of_the_parent_is_one_report_of_the_child_that_traps(caplog: pytest.LogCaptureFixture) -> None:
    parent = Driven.start()
    child = within(parent, lambda self: Trapping.start_link())
    with watching(child) as reason:
        parent.exit("parental")
        assert reason() == "parental"
    assert [report.pid for report in crash_reports(caplog)] == [child]


@pytest.mark.parametrize("reason", [KILL, "signal"], ids=repr)
def test_an_exit_signal_is_not_reported_as_a_crash(reason: Any, caplog: pytest.LogCaptureFixture) -> None:
    server = Driven.start()
    with watching(server) as ended:
        server.exit(reason)
        ended()
    assert errors(caplog) == []


def test_a_crash_that_spreads_over_links_is_one_report(caplog: pytest.LogCaptureFixture) -> None:
    servers = [Driven.start() for _ in range(3)]
    for one, other in itertools.pairwise(servers):
        link(one, other)
    with watching(servers[-1]) as reason:
        servers[0].cast(lambda self, state: 1 / 0)
        assert isinstance(reason(), ZeroDivisionError)
    assert [report.pid for report in crash_reports(caplog)] == [servers[0]]


def test_a_crash_that_an_exit_signal_overtakes_is_reported_once_and_the_signal_is_the_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = ValueError("in the callback")
    server = Driven.start()
    with Gate() as gate, watching(server) as reason:
        server.cast(lambda self, state: gate.wait() or fail(error))
        gate.reached()
        server.exit("signal")
        gate.open()
        assert reason() == "signal"
    (report,) = crash_reports(caplog)
    assert report.reason is error


def test_a_report_names_who_cast_nothing_but_who_called(caplog: pytest.LogCaptureFixture) -> None:
    with Driven.start() as caster:
        server = Driven.start()
        with watching(server) as reason:
            within(caster, lambda self: server.cast(lambda self, state: 1 / 0))
            reason()
    (report,) = crash_reports(caplog)
    assert report.caller is None


def test_a_report_names_the_ancestors(caplog: pytest.LogCaptureFixture) -> None:
    with Trapping.start() as grandparent:
        parent = within(grandparent, lambda self: Trapping.start_link())
        child = within(parent, lambda self: Driven.start_link())
        with watching(child) as reason:
            child.cast(lambda self, state: 1 / 0)
            reason()
        within(grandparent, lambda self: None)
    assert crash_reports(caplog)[0].ancestors == (parent, grandparent)


@pytest.mark.parametrize("kind", [ValueError, *FATAL])
@pytest.mark.parametrize("what", ["state", "message", "reason"])
def test_what_has_a_repr_that_raises_is_reported_all_the_same(
    what: str, kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    broken = Unshowable(kind("in repr"))

    class Crash(Exception):
        def __repr__(self) -> str:
            return repr(broken) if what == "reason" else "Crash()"

        __str__ = __repr__

    class Failing(Driven):
        def handle_call(self, request: Any, from_: Any, state: Any) -> Any:
            raise Crash

    server = Failing.start(broken if what == "state" else "the state")
    with pytest.raises(g.CallExit) as caught:
        server.call(broken if what == "message" else "the message", 1)
    assert isinstance(caught.value.reason, Crash)
    (report,) = crash_reports(caplog)
    assert len(errors(caplog)) == 1
    broken.mend()
    assert ("the state" in str(report)) == (what != "state")


def test_a_report_of_a_large_state_is_cut_and_its_attribute_has_all(caplog: pytest.LogCaptureFixture) -> None:
    large = "x" * 100_000
    crash_in("handle_cast", ValueError(), large)
    (record,) = errors(caplog)
    assert len(record.getMessage()) < 10_000
    assert crash_reports(caplog)[0].state == large


def test_the_loggers_are_gennostrs_and_propagate(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[logging.LogRecord] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record)

    handler = Handler()
    logging.getLogger("gennostr").addHandler(handler)
    try:
        crash_in("handle_cast", ValueError())
        with g.GenServer.start() as server:
            server.send("surprise")
    finally:
        logging.getLogger("gennostr").removeHandler(handler)
    assert [record.levelno for record in seen] == [logging.ERROR, logging.WARNING]
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]  # at the root logger
    assert all(record.name.startswith("gennostr.") for record in seen)
    assert logging.getLogger("gennostr").propagate
    assert logging.getLogger("gennostr").level == logging.NOTSET


# format_status.


class Secretive(Driven):
    def format_status(self, status: Any) -> Any:
        return dataclasses.replace(status, state="hidden")


def test_format_status_hides_secrets_from_report_and_status(caplog: pytest.LogCaptureFixture) -> None:
    server = Secretive.start("password")
    assert server.get_status().state == "hidden"
    assert server.get_state() == "password"
    with pytest.raises(g.CallExit):
        server.call(lambda self, from_, state: fail(ZeroDivisionError()))
    assert "password" not in caplog.text
    assert "hidden" in caplog.text
    (report,) = crash_reports(caplog)
    assert report.state == "hidden"


def test_format_status_hides_secrets_in_message_and_reason_too(caplog: pytest.LogCaptureFixture) -> None:
    class Hiding(Driven):
        def handle_call(self, request: Any, from_: Any, state: Any) -> Any:
            raise ValueError(f"wrong: {request}")

        def format_status(self, status: Any) -> Any:
            return dataclasses.replace(status, message="hidden", reason=ValueError("hidden"))

    server = Hiding.start()
    with pytest.raises(g.CallExit) as caught:
        server.call("password")
    assert "password" in str(caught.value.reason)
    assert "password" not in caplog.text
    assert "hidden" in caplog.text


def test_format_status_of_an_unclean_stop_hides_too(caplog: pytest.LogCaptureFixture) -> None:
    Secretive.start("password").stop("unclean")
    assert "password" not in caplog.text
    assert len(crash_reports(caplog)) == 1


def test_a_format_status_that_raises_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Raising(Driven):
        def format_status(self, status: Any) -> Any:
            raise ValueError

    server = Raising.start("the state")
    assert server.get_status().state == "the state"
    server.stop("unclean")
    assert any("crashed" in record.getMessage() and "the state" in record.getMessage() for record in errors(caplog))
    assert len(crash_reports(caplog)) == 1


@pytest.mark.parametrize("value", [None, "text", 3], ids=repr)
def test_a_format_status_that_returns_another_thing_loses_nothing(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Wrong(Driven):
        def format_status(self, status: Any) -> Any:
            return value

    server = Wrong.start("the state")
    assert server.get_status().state == "the state"
    server.stop("unclean")
    (report,) = crash_reports(caplog)
    assert report.state == "the state"


# send_request: a request now, the reply later.


def test_send_request_returns_at_once_and_wait_gives_the_reply_as_often_as_it_is_asked() -> None:
    with Driven.start() as server, Gate() as gate:
        pending = server.send_request(slow(gate))
        gate.reached()
        assert not pending.done()
        gate.open()
        assert pending.wait() == "late"
        assert pending.done()
        assert pending.wait() == "late"
        assert pending.wait(0) == "late"


def test_a_pending_reply_says_what_it_is_for() -> None:
    with Driven.start(name="asked") as server:
        pending = g.send_request("asked", keep)
        assert (pending.target, pending.message) == ("asked", keep)
        assert "pending" in repr(pending)
        g.reply(log_of(server).next(), 1)
        assert pending.wait() == 1
        assert "ended" in repr(pending)


def test_pending_replies_are_equal_to_themselves_alone() -> None:
    with Driven.start() as server:
        one, other = (server.send_request(lambda self, from_, state: Reply(1)) for _ in range(2))
        assert one != other
        assert {one: 1, other: 2}[one] == 1


def test_a_wait_that_times_out_leaves_the_request_pending_and_its_reply_is_not_lost() -> None:
    with Driven.start() as server:
        pending = server.send_request(keep)
        with pytest.raises(g.CallTimeout) as caught:
            pending.wait(0.01)
        assert (caught.value.target, caught.value.request, caught.value.timeout) == (server, keep, 0.01)
        assert not pending.done()
        g.reply(log_of(server).next(), "not too late")
        assert pending.wait() == "not too late"


def test_a_request_to_nobody_is_told_by_wait() -> None:
    for target in nobodies():
        pending = g.send_request(target, "request")
        assert pending.done()
        with pytest.raises(g.NoProcess):
            pending.wait()
        with pytest.raises(g.NoProcess):
            pending.wait(None)


def test_a_request_to_oneself_is_refused_when_it_is_sent() -> None:
    with Driven.start() as server:
        error = within(server, lambda self: outcome_of(lambda: self.pid.send_request("request")))
        assert isinstance(error, g.CallingSelf)


def test_a_wait_for_oneself_is_refused_where_it_would_wait_for_ever() -> None:
    with Driven.start() as server:
        pending = server.send_request(keep)
        from_ = log_of(server).next()
        error = within(server, lambda self: outcome_of(lambda: pending.wait(None)))
        assert isinstance(error, g.CallingSelf)
        g.reply(from_, "reply")
        assert pending.wait() == "reply"
        assert within(server, lambda self: pending.wait(None)) == "reply"  # there is nothing to wait for now


@pytest.mark.parametrize(("end", "expected"), ENDS.values(), ids=ENDS)
def test_a_request_whose_server_ends_is_call_exit_as_often_as_it_is_asked(end: Any, expected: Any) -> None:
    server = Driven.start()
    pending = server.send_request(keep)
    log_of(server).next()
    end(server)
    for _ in range(2):
        error = outcome_of(pending.wait)
        assert isinstance(error, g.CallExit)
        assert fits(error.reason, expected)


def test_many_threads_may_wait_for_one_reply() -> None:
    with Driven.start() as server:
        pending = server.send_request(keep)
        with meanwhile(pending.wait) as one, meanwhile(pending.wait) as other:
            g.reply(log_of(server).next(), "for all")
            assert (one(), other()) == ("for all", "for all")


def test_a_process_may_wait_for_what_another_has_asked() -> None:
    with Driven.start() as server, Driven.start() as asking, Driven.start() as waiting:
        pending = within(asking, lambda self: server.send_request(lambda self, from_, state: Reply(from_.caller)))
        caller = within(waiting, lambda self: pending.wait())
        assert caller.pid is asking


def test_a_request_of_a_process_that_ends_is_answered_to_whoever_waits() -> None:
    with Driven.start() as server:
        asking = Driven.start()
        pending = within(asking, lambda self: server.send_request(keep))
        asking.stop()
        g.reply(log_of(server).next(), "reply")
        assert pending.wait() == "reply"


def test_nothing_of_a_request_comes_to_the_mailbox_of_who_sent_it() -> None:
    with Driven.start() as server, Driven.start() as asking:
        pending = within(asking, lambda self: server.send_request(lambda self, from_, state: Reply(1)))
        assert pending.wait() == 1
        settle(asking)
        assert log_of(asking).now() == []


def test_a_killed_process_that_waits_for_a_reply_is_fenced_when_it_goes_on() -> None:
    with Driven.start() as server, Driven.start() as receiver:
        outcomes = Log()
        waiting = Driven.start()

        def wait(self: Any, state: Any) -> None:
            pending = server.send_request(keep)
            outcomes.put("waits")
            outcomes.put(outcome_of(lambda: pending.wait(None)))
            outcomes.put(outcome_of(lambda: pending.wait(None)))
            g.send(receiver, "late")

        waiting.cast(wait)
        from_ = log_of(server).next()
        assert outcomes.next() == "waits"
        waiting.exit(KILL)
        g.reply(from_, "late")
        outcomes.next()
        assert isinstance(outcomes.next(), g.CallExit)
        settle(receiver)
        assert log_of(receiver).now() == []


# as_completed.


def test_as_completed_gives_pending_replies_in_the_order_in_which_they_end() -> None:
    with Driven.start() as server:
        pendings = [server.send_request(keep) for _ in range(3)]
        log = log_of(server)
        froms = [log.next() for _ in pendings]
        arriving = g.as_completed(pendings, DEADLINE)
        for number in (1, 2, 0):
            g.reply(froms[number], number)
            assert next(arriving) is pendings[number]
        assert list(arriving) == []


def test_as_completed_gives_each_once_and_those_that_have_ended_too() -> None:
    gone = dead()
    with Driven.start() as server:
        one = server.send_request(lambda self, from_, state: Reply(1))
        assert one.wait() == 1
        lost = gone.send_request("request")
        assert set(g.as_completed([one, lost, one], DEADLINE)) == {one, lost}
        assert list(g.as_completed([one, one], DEADLINE)) == [one]


def test_as_completed_of_nothing_is_over_at_once() -> None:
    assert list(g.as_completed([])) == []


def test_as_completed_gives_those_whose_server_has_ended() -> None:
    server = Driven.start()
    pending = server.send_request(keep)
    log_of(server).next()
    server.exit(KILL)
    (ended,) = g.as_completed([pending], DEADLINE)
    with pytest.raises(g.CallExit):
        ended.wait()


def test_as_completed_raises_when_its_time_is_over_and_the_rest_is_still_pending() -> None:
    with Driven.start() as server:
        pendings = [server.send_request(keep) for _ in range(3)]
        log = log_of(server)
        froms = [log.next() for _ in pendings]
        g.reply(froms[0], "first")
        arriving = g.as_completed(pendings, 0.02)
        assert next(arriving) is pendings[0]
        with pytest.raises(TimeoutError, match="2 of 3"):
            next(arriving)
        for from_ in froms[1:]:
            g.reply(from_, "later")
        assert [pending.wait() for pending in pendings] == ["first", "later", "later"]


@pytest.mark.parametrize("wrong", [-1, "1", True], ids=repr)
def test_as_completed_refuses_a_timeout_that_is_no_number_of_seconds_where_it_is_called(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="timeout"):
        g.as_completed([], wrong)


# call_async.


def test_call_async_returns_while_the_loop_goes_on() -> None:
    async def main(server: Any) -> list[Any]:
        order: list[Any] = []
        log = log_of(server)

        async def ask() -> None:
            order.append(await server.call_async(keep))

        async def answer() -> None:
            from_ = await asyncio.to_thread(log.next)
            order.append("went on")
            g.reply(from_, "reply")

        await asyncio.gather(ask(), answer())
        return order

    with Driven.start() as server:
        assert asyncio.run(main(server)) == ["went on", "reply"]


def test_call_async_raises_what_a_call_would() -> None:
    async def main(server: Any) -> None:
        with pytest.raises(g.CallTimeout) as caught:
            await server.call_async(keep, 0.01)
        assert (caught.value.target, caught.value.request, caught.value.timeout) == (server, keep, 0.01)
        with pytest.raises(g.CallExit):
            await server.call_async(lambda self, from_, state: Stop("reason"))
        with pytest.raises(g.NoProcess):
            await server.call_async("request")

    asyncio.run(main(Driven.start()))


def test_call_async_to_oneself_ends_at_once() -> None:
    with Driven.start() as server:
        error = within(server, lambda self: outcome_of(lambda: asyncio.run(self.pid.call_async("request", None))))
        assert isinstance(error, g.CallingSelf)


def test_a_late_reply_to_call_async_reaches_nobody() -> None:
    async def main(server: Any) -> Any:
        with pytest.raises(g.CallTimeout):
            await server.call_async(keep, 0.01)
        g.reply(log_of(server).next(), "late")
        return await server.call_async(lambda self, from_, state: Reply("own"))

    with Driven.start() as server:
        assert asyncio.run(main(server)) == "own"
        assert server.is_alive()


def test_a_coroutine_calls_by_pid_name_and_via() -> None:
    class Echo(g.GenServer[None]):
        def handle_call(self, request: object, from_: g.Request, state: None) -> g.Reply[None]:
            return g.Reply(request)

    async def main() -> list[object]:
        targets: list[Any] = [pid, "echo", g.via(registry, "echo")]
        return [await g.call_async(target, number) for number, target in enumerate(targets)]

    with g.Registry.start() as registry, Echo.start(name="echo") as pid, Echo.start(name=g.via(registry, "echo")):
        assert asyncio.run(main()) == [0, 1, 2]


def test_a_coroutine_that_calls_nobody_gets_no_process() -> None:
    with pytest.raises(g.NoProcess) as raised:
        asyncio.run(g.call_async("nobody", "hello"))
    assert raised.value.target == "nobody"
    with pytest.raises(TypeError):
        asyncio.run(g.call_async(5, "hello"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="timeout"):
        asyncio.run(g.call_async("nobody", "hello", timeout=-1))


def test_a_stop_that_times_out_names_the_stop() -> None:
    release = threading.Event()

    class Busy(g.GenServer[None]):
        def handle_cast(self, request: object, state: None) -> None:
            release.wait(DEADLINE)

    pid = Busy.start()
    pid.cast("work")
    with pytest.raises(g.CallTimeout) as raised:
        pid.stop(timeout=0.01)
    assert str(raised.value) == f"no reply from {pid} to stop(NORMAL) within 0.01 s"
    release.set()
    pid.actor_stopped.wait(DEADLINE)
