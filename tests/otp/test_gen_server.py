"""GenServer: start, calls, messages, continues, timeouts, the end, and system messages."""

import gc
import logging
import threading
import time
from typing import Any

import pytest

import gennostr as g
from gennostr import IGNORE, KILL, NORMAL, SHUTDOWN, TIMEOUT, NoReply, Ok, Reply, Shutdown, Stop
from tests.otp.actors import DEADLINE, Driven, Log, Trapping, fail, log_of, settle, watching, within


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


# Start and init.


def test_a_class_without_init_has_its_argument_as_the_state() -> None:
    with g.GenServer.start(["argument"]) as server:
        assert server.get_state() == ["argument"]


def test_an_init_that_returns_none_leaves_the_state_none() -> None:
    with Driven.start(lambda self: None) as server:
        assert server.get_state() is None


def test_an_ok_without_a_state_leaves_it_none() -> None:
    with Driven.start(lambda self: Ok()) as server:
        assert server.get_state() is None


def test_an_ignored_start_returns_ignore_and_leaves_no_name() -> None:
    assert Driven.start(lambda self: IGNORE, name="ignoring") is IGNORE
    assert g.whereis("ignoring") is None


def test_an_ignored_start_link_is_a_normal_exit_to_a_parent_that_traps() -> None:
    with Trapping.start() as parent:
        assert within(parent, lambda self: Driven.start_link(lambda self: IGNORE)) is IGNORE
        settle(parent)
        told = log_of(parent).now()
        assert [message.reason for message in told] == [NORMAL]


def test_an_init_that_stops_is_a_start_error_with_its_reason() -> None:
    with pytest.raises(g.StartError) as caught:
        Driven.start(lambda self: Stop("reason"))
    assert caught.value.reason == "reason"


def test_an_init_that_raises_gives_that_very_exception_with_its_traceback() -> None:
    error = ValueError("in init")
    with pytest.raises(g.StartError) as caught:
        Driven.start(lambda self: fail(error))
    assert caught.value.reason is error
    assert error.__traceback__ is not None


@pytest.mark.parametrize("value", [42, "text", NoReply(), Reply(1)], ids=repr)
def test_an_init_that_returns_another_value_is_a_bad_return_value(value: Any) -> None:
    with pytest.raises(g.StartError) as caught:
        Driven.start(lambda self: value)
    assert isinstance(caught.value.reason, g.BadReturnValue)
    assert caught.value.reason.value is value


@pytest.mark.parametrize("init", [lambda self: Stop("x"), lambda self: fail(ValueError()), lambda self: 3])
def test_terminate_never_runs_after_a_failed_init(init: Any) -> None:
    log = Log()

    class Failing(Driven):
        def terminate(self, reason: Any, state: Any) -> None:
            log.put(reason)

    with pytest.raises(g.StartError):
        Failing.start(init)
    assert log.now() == []


def test_a_start_timeout_is_a_start_error_and_frees_the_name() -> None:
    go = threading.Event()
    try:
        with pytest.raises(g.StartError) as caught:
            Driven.start(lambda self: go.wait(DEADLINE), name="slow", timeout=0.02)
        assert caught.value.reason is TIMEOUT
        assert g.whereis("slow") is None
    finally:
        go.set()


def test_nothing_of_a_start_that_timed_out_arrives_later() -> None:
    go, done = threading.Event(), threading.Event()
    with Driven.start() as receiver:

        def init(self: Any) -> Any:
            go.wait(DEADLINE)
            g.send(receiver, "late")
            done.set()
            return Ok()

        with pytest.raises(g.StartError):
            Driven.start(init, timeout=0.02)
        go.set()
        assert done.wait(DEADLINE)
        settle(receiver)
        assert log_of(receiver).now() == []


def test_start_link_with_a_failing_init_ends_a_parent_that_does_not_trap() -> None:
    with Driven.start() as parent, watching(parent) as reason:
        parent.cast(lambda self, state: Driven.start_link(lambda self: Stop("inner")) and None)
        assert reason() == "inner"


def test_start_link_with_a_failing_init_tells_a_parent_that_traps_and_raises_there() -> None:
    def start(self: Any) -> Any:
        with pytest.raises(g.StartError) as caught:
            Driven.start_link(lambda self: Stop("inner"))
        return caught.value.reason

    with Trapping.start() as parent:
        assert within(parent, start) == "inner"
        message = log_of(parent).next()
        assert isinstance(message, g.Exit)
        assert message.reason == "inner"


def test_a_start_error_left_uncaught_ends_a_trapping_parent_with_the_inner_reason() -> None:
    with Trapping.start() as parent, watching(parent) as reason:
        parent.cast(lambda self, state: Driven.start_link(lambda self: Stop("inner")))
        assert reason().reason == "inner"


def test_start_with_a_failing_init_harms_no_parent() -> None:
    def start(self: Any) -> None:
        with pytest.raises(g.StartError):
            Driven.start(lambda self: Stop("inner"))

    with Driven.start() as parent:
        within(parent, start)
        settle(parent)
        assert parent.is_alive()


def test_a_server_finds_itself_by_its_name_in_init() -> None:
    with Driven.start(lambda self: Ok(g.whereis("me")), name="me") as server:
        assert server.get_state() is server


def test_a_taken_name_is_already_started_and_the_second_init_never_runs() -> None:
    ran = threading.Event()
    with Driven.start(name="taken") as server:
        with pytest.raises(g.AlreadyStarted) as caught:
            Driven.start(lambda self: ran.set(), name="taken")
        assert caught.value.pid is server
        assert not ran.is_set()


def test_a_taken_name_sends_no_exit_to_the_linking_process() -> None:
    def start(self: Any) -> None:
        with pytest.raises(g.AlreadyStarted):
            Driven.start_link(name="taken")

    with Driven.start(name="taken"), Trapping.start() as parent:
        within(parent, start)
        settle(parent)
        assert log_of(parent).now() == []


def test_a_name_is_free_again_when_a_failed_start_has_returned() -> None:
    for _ in range(50):
        with pytest.raises(g.StartError):
            Driven.start(lambda self: Stop("no"), name="again")
    with Driven.start(name="again") as server:
        assert g.whereis("again") is server


@pytest.mark.parametrize("name", [1, b"bytes", ("a", "b"), object])
def test_another_kind_of_name_is_a_type_error_in_the_caller(name: Any) -> None:
    with pytest.raises(TypeError, match="name"):
        Driven.start(name=name)


def test_a_via_name_is_found_wherever_a_pid_is_asked_for() -> None:
    with g.Registry.start() as registry, Driven.start(5, name=g.via(registry, "key", "value")) as server:
        name = g.via(registry, "key")
        assert g.whereis(name) is server
        assert g.call(name, lambda self, from_, state: Reply(state)) == 5
        assert registry.lookup("key") == (server, "value")


def test_a_taken_via_name_is_already_started() -> None:
    with g.Registry.start() as registry, Driven.start(name=g.via(registry, 1)) as server:
        with pytest.raises(g.AlreadyStarted) as caught:
            Driven.start(name=g.via(registry, 1))
        assert caught.value.pid is server


def test_the_default_child_spec_is_permanent_with_the_class_as_id() -> None:
    spec = Driven.child_spec("argument")
    assert (spec.id, spec.restart, spec.shutdown, spec.type) == (Driven, "permanent", 5, "worker")


# Calls.


def test_a_call_returns_the_reply_and_the_state_is_the_new_one() -> None:
    with Driven.start(1) as server:
        assert server.call(lambda self, from_, state: Reply("reply", state + 1)) == "reply"
        assert server.get_state() == 2


def test_a_reply_may_be_none_and_a_state_too() -> None:
    with Driven.start(1) as server:
        assert server.call(lambda self, from_, state: Reply(None, None)) is None
        assert server.get_state() is None


def test_a_call_timeout_names_target_request_and_timeout() -> None:
    def request(self: Any, from_: Any, state: Any) -> Any:
        return NoReply()

    with Driven.start() as server:
        with pytest.raises(TimeoutError) as caught:
            server.call(request, 0.01)
        assert isinstance(caught.value, g.CallTimeout)
        assert (caught.value.target, caught.value.request, caught.value.timeout) == (server, request, 0.01)
        assert server.is_alive()


def test_a_late_reply_reaches_nobody() -> None:
    with Driven.start() as server, Driven.start() as caller:

        def call(self: Any) -> Any:
            with pytest.raises(g.CallTimeout):
                server.call(lambda self, from_, state: NoReply(from_), 0.01)

        within(caller, call)
        within(server, lambda self: g.reply(self._state, "late"))
        assert within(caller, lambda self: server.call(lambda self, from_, state: Reply("own"))) == "own"
        assert log_of(caller).now() == []


def test_a_call_to_the_dead_or_unknown_is_no_process_and_a_lookup_error() -> None:
    server = Driven.start(name="gone")
    server.stop()
    for target in (server, "gone", "never"):
        with pytest.raises(LookupError) as caught:
            g.call(target, "request")
        assert isinstance(caught.value, g.NoProcess)


def test_calling_oneself_ends_at_once_by_pid_name_and_via() -> None:
    with g.Registry.start() as registry, Driven.start(name="self") as server:

        def call(self: Any) -> None:
            self.pid.process  # noqa: B018 - the handle is there
            registry.register("self")
            for target in (self.pid, "self", g.via(registry, "self")):
                with pytest.raises(g.CallingSelf):
                    g.call(target, "request")

        within(server, call)
        assert server.is_alive()


def test_a_server_that_dies_during_the_call_is_call_exit_with_its_reason() -> None:
    error = ValueError("during")
    server = Driven.start()
    with pytest.raises(g.CallExit) as caught:
        server.call(lambda self, from_, state: fail(error))
    assert caught.value.reason is error


def test_a_call_error_left_uncaught_ends_the_calling_server() -> None:
    with Driven.start() as server, watching(server) as reason:
        server.cast(lambda self, state: g.call("nobody", "request"))
        assert isinstance(reason(), g.NoProcess)


@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, Shutdown("x"), "other"], ids=repr)
def test_stop_without_a_reply_is_call_exit_even_when_normal(reason: Any) -> None:
    server = Driven.start()
    with pytest.raises(g.CallExit) as caught:
        server.call(lambda self, from_, state: Stop(reason))
    assert caught.value.reason == reason


def test_stop_with_a_reply_runs_terminate_first_then_replies_then_exits() -> None:
    release, log = threading.Event(), Log()

    class Slow(Driven):
        def terminate(self, reason: Any, state: Any) -> None:
            release.wait(DEADLINE)
            log.put("terminated")

    server = Slow.start()
    with watching(server) as reason:
        timer = threading.Timer(0.01, release.set)
        timer.start()
        assert server.call(lambda self, from_, state: Stop(NORMAL, reply="bye")) == "bye"
        assert log.now() == ["terminated"]
        assert reason() is NORMAL
        timer.join()


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


def test_the_first_reply_wins_and_later_ones_never_surface() -> None:
    def request(self: Any, from_: Any, state: Any) -> Any:
        g.reply(from_, "first")
        g.reply(from_, "second")
        return Reply("third")

    with Driven.start() as server, Driven.start() as caller:
        assert within(caller, lambda self: server.call(request)) == "first"
        settle(server)
        settle(caller)
        assert log_of(caller).now() == []


def test_the_caller_of_a_deferred_reply_hears_of_the_death_instead() -> None:
    server = Driven.start()
    server.cast(lambda self, state: NoReply(0))
    with Driven.start() as caller, watching(caller) as reason:
        caller.cast(lambda self, state: server.call(lambda self, from_, state: NoReply(from_)))
        while not server.get_state():
            settle(server)
        server.stop("gone")
        assert reason().reason == "gone"


# Casts and messages.


def test_casts_and_sends_to_the_dead_and_unknown_are_silently_nothing() -> None:
    server = Driven.start(name="gone")
    server.stop()
    for target in (server, "gone", "never"):
        g.cast(target, "message")
        g.send(target, "message")


@pytest.mark.parametrize("callback", ["handle_call", "handle_cast", "handle_continue"])
def test_a_callback_that_is_not_there_ends_the_server_saying_so(callback: str) -> None:
    class Bare(g.GenServer[Any]):
        def handle_info(self, message: Any, state: Any) -> Any:
            return NoReply(continue_="x")

    server = Bare.start()
    with watching(server) as reason:
        if callback == "handle_call":
            with pytest.raises(g.CallExit):
                server.call("request")
        elif callback == "handle_cast":
            server.cast("request")
        else:
            server.send("request")
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


@pytest.mark.parametrize("kind", [NotImplementedError, AttributeError])
def test_an_error_of_user_code_in_a_handler_is_that_error(kind: type[Exception]) -> None:
    error = kind("the user's")
    server = Driven.start()
    with watching(server) as reason:
        server.cast(lambda self, state: fail(error))
        assert reason() is error


def test_a_handler_that_returns_none_leaves_the_state() -> None:
    with Driven.start("state") as server:
        server.cast(lambda self, state: None)
        server.send("message")
        assert server.get_state() == "state"


def test_an_outcome_with_the_state_left_out_leaves_it() -> None:
    with Driven.start("state") as server:
        server.cast(lambda self, state: NoReply())
        server.call(lambda self, from_, state: Reply(None))
        assert server.get_state() == "state"


@pytest.mark.parametrize("value", [7, "text", Ok(1), Reply(1)], ids=repr)
def test_a_bad_return_value_is_the_reason_and_terminate_runs(value: Any) -> None:
    server = Driven.start()
    log = log_of(server)
    with watching(server) as reason:
        server.cast(lambda self, state: value)
        ended = reason()
    assert isinstance(ended, g.BadReturnValue)
    assert ended.value is value
    assert log.now() == [("terminate", ended)]


def test_a_call_that_returns_none_is_a_bad_return_value() -> None:
    with pytest.raises(g.CallExit) as caught:
        Driven.start().call(lambda self, from_, state: None)
    assert isinstance(caught.value.reason, g.BadReturnValue)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_no_exception_in_a_callback_harms_more_than_its_server(kind: type[BaseException]) -> None:
    with Driven.start() as bystander:
        server = Driven.start()
        with watching(server) as reason:
            server.cast(lambda self, state: fail(kind()))
            assert isinstance(reason(), kind)
        assert bystander.is_alive()


# Continues.


def test_a_continue_of_init_runs_before_any_queued_message() -> None:
    log = Log()

    def init(self: Any) -> Any:
        self.log = log
        g.send(self.pid, "queued")
        return Ok(continue_=lambda self, state: log.put("continued"))

    with Driven.start(init):
        assert [log.next(), log.next()] == ["continued", "queued"]


def test_the_reply_is_delivered_before_the_continue_runs() -> None:
    go = threading.Event()
    with Driven.start() as server:
        wait = lambda self, state: go.wait(DEADLINE) and None  # noqa: E731
        assert server.call(lambda self, from_, state: Reply("reply", continue_=wait)) == "reply"
        go.set()


def test_continues_chain_before_queued_messages() -> None:
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


def test_a_continue_may_stop() -> None:
    server = Driven.start()
    with watching(server) as reason:
        server.cast(lambda self, state: NoReply(continue_=lambda self, state: Stop("stopped")))
        assert reason() == "stopped"


# Timeouts.


def test_a_timeout_comes_once() -> None:
    log = Log()

    def init(self: Any) -> Any:
        self.log = log
        return Ok(timeout=0.01)

    with Driven.start(init) as server:
        assert log.next() is TIMEOUT
        g.send_after(0.05, server, "marker")
        assert log.next() == "marker"


def test_a_message_cancels_the_timeout() -> None:
    with Driven.start() as server:
        log = log_of(server)
        server.cast(lambda self, state: NoReply(timeout=0.02))
        server.send("message")
        g.send_after(0.08, server, "marker")
        assert [log.next(), log.next()] == ["message", "marker"]


def test_a_timeout_of_0_with_an_empty_mailbox_fires_at_once() -> None:
    with Driven.start() as server:
        log = log_of(server)
        server.cast(lambda self, state: NoReply(timeout=0))
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


def test_get_state_restarts_a_timeout_and_does_not_cancel_it() -> None:
    fired: list[float] = []

    class Timed(Driven):
        def handle_info(self, message: Any, state: Any) -> Any:
            fired.append(time.monotonic())
            self.log.put(message)

    with Timed.start() as server:
        log = log_of(server)
        server.cast(lambda self, state: NoReply(timeout=0.1))
        server.get_state()
        asked = time.monotonic()
        while time.monotonic() < asked + 0.15:
            server.get_state()
        last = time.monotonic()
        assert fired == []
        assert log.next() is TIMEOUT
        assert fired[0] - last > 0.05


@pytest.mark.parametrize("wrong", [-1, "1", True, float("nan")], ids=repr)
def test_a_timeout_that_is_no_number_of_seconds_is_refused_where_it_is_made(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="timeout"):
        NoReply(timeout=wrong)


def test_hibernate_changes_no_result_and_collects_garbage() -> None:
    collected = threading.Event()

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start" and threading.current_thread() is not threading.main_thread():
            collected.set()

    gc.callbacks.append(note)
    try:
        with Driven.start(1) as server:
            assert server.call(lambda self, from_, state: Reply("reply", 2, hibernate=True)) == "reply"
            assert collected.wait(DEADLINE)
            assert server.get_state() == 2
    finally:
        gc.callbacks.remove(note)


# The end.


def test_terminate_runs_with_the_reason_and_the_state_of_a_stop() -> None:
    log = Log()

    class Ending(Driven):
        def terminate(self, reason: Any, state: Any) -> None:
            log.put((reason, state))

    server = Ending.start("old")
    server.cast(lambda self, state: Stop("why", "new"))
    assert log.next() == ("why", "new")


def test_terminate_runs_after_a_crash() -> None:
    error = ValueError()
    server = Driven.start()
    log = log_of(server)
    server.cast(lambda self, state: fail(error))
    assert log.next() == ("terminate", error)


def test_terminate_runs_when_stopped_from_outside() -> None:
    server = Driven.start()
    log = log_of(server)
    server.stop("why")
    assert log.now() == [("terminate", "why")]


def test_terminate_runs_at_the_parents_exit_where_exits_are_trapped_and_handle_info_does_not() -> None:
    parent = Driven.start()
    child = within(parent, lambda self: Trapping.start_link())
    log = log_of(child)
    with watching(child) as reason:
        parent.exit("parental")
        assert reason() == "parental"
    assert log.now() == [("terminate", "parental")]


def test_terminate_does_not_run_after_an_exit_signal_that_is_not_trapped() -> None:
    server = Driven.start()
    log = log_of(server)
    with watching(server) as reason:
        server.exit("signal")
        assert reason() == "signal"
    assert log.now() == []


def test_terminate_does_not_run_after_a_kill() -> None:
    server = Trapping.start()
    log = log_of(server)
    server.exit(KILL)
    assert not server.is_alive()
    assert log.now() == []


def test_trap_exit_may_be_set_in_a_callback() -> None:
    with Driven.start() as server:
        log = log_of(server)
        within(server, lambda self: setattr(self, "trap_exit", True))
        server.exit("signal")
        assert log.next() == g.Exit(None, "signal")


def test_a_crash_in_terminate_replaces_the_reason_and_the_stopper_gets_it() -> None:
    error = ValueError("in terminate")

    class Crashing(Driven):
        def terminate(self, reason: Any, state: Any) -> None:
            raise error

    server = Crashing.start()
    with watching(server) as reason:
        with pytest.raises(g.CallExit) as caught:
            server.stop()
        assert caught.value.reason is error
        assert reason() is error


def test_stop_is_handled_after_what_was_queued_before() -> None:
    server = Driven.start()
    log = log_of(server)
    for number in range(100):
        server.send(number)
    server.stop()
    assert log.now() == [*range(100), ("terminate", NORMAL)]


def test_a_stop_that_times_out_raises_and_the_server_still_stops() -> None:
    go = threading.Event()
    server = Driven.start()
    with watching(server) as reason:
        server.cast(lambda self, state: go.wait(DEADLINE) and None)
        with pytest.raises(g.CallTimeout):
            server.stop(timeout=0.01)
        go.set()
        assert reason() is NORMAL


def test_stopping_the_dead_is_no_process() -> None:
    server = Driven.start()
    server.stop()
    with pytest.raises(g.NoProcess):
        server.stop()


def test_stopping_oneself_by_the_handle_is_calling_self() -> None:
    with Driven.start() as server, watching(server) as reason:
        server.cast(lambda self, state: g.stop(self.pid))
        assert isinstance(reason(), g.CallingSelf)


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
    for part in ("'crashing'", "the reason", "crash", "'caller'", "the state"):
        assert part in text
    assert record.name.startswith("gennostr.")
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert record.exc_info[2] is not None


@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, Shutdown("x")], ids=repr)
def test_a_clean_end_is_not_reported(reason: Any, caplog: pytest.LogCaptureFixture) -> None:
    Driven.start().stop(reason)
    assert caplog.records == []


def test_an_unclean_stop_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    Driven.start().stop("unclean")
    assert len(errors(caplog)) == 1


def test_format_status_hides_secrets_from_report_and_status(caplog: pytest.LogCaptureFixture) -> None:
    import dataclasses  # noqa: PLC0415

    class Secretive(Driven):
        def format_status(self, status: Any) -> Any:
            return dataclasses.replace(status, state="hidden")

    server = Secretive.start("password")
    assert server.get_status().state == "hidden"
    server.stop("unclean")
    assert "password" not in caplog.text
    assert "hidden" in caplog.text


def test_a_format_status_that_raises_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Raising(Driven):
        def format_status(self, status: Any) -> Any:
            raise ValueError

    server = Raising.start("the state")
    assert server.get_status().state == "the state"
    server.stop("unclean")
    assert any("crashed" in record.getMessage() and "the state" in record.getMessage() for record in errors(caplog))


# System messages.


def test_system_messages_work_by_name_through_whereis() -> None:
    with Driven.start(1, name="system"):
        pid = g.whereis("system")
        assert pid is not None
        assert pid.replace_state(lambda state: state + 1) == 2
        assert pid.get_status().name == "system"


def test_a_replacement_that_raises_leaves_the_state_and_the_server() -> None:
    with Driven.start("state") as server:
        with pytest.raises(ZeroDivisionError):
            server.replace_state(lambda state: 1 / 0)
        assert server.get_state() == "state"


def test_messages_wait_while_suspended_and_keep_their_order() -> None:
    with Driven.start() as server:
        log = log_of(server)
        server.suspend()
        for number in range(5):
            server.send(number)
        status = server.get_status()
        assert (status.status, status.messages) == ("suspended", 5)
        assert log.now() == []
        server.resume()
        server.send(5)
        assert [log.next() for _ in range(6)] == [0, 1, 2, 3, 4, 5]


def test_a_call_waits_while_suspended() -> None:
    with Driven.start() as server:
        server.suspend()
        with pytest.raises(g.CallTimeout):
            server.call(lambda self, from_, state: Reply(1), 0.01)
        server.resume()
        assert server.call(lambda self, from_, state: Reply(2)) == 2


def test_the_state_is_read_and_replaced_while_suspended() -> None:
    with Driven.start(1) as server:
        server.suspend()
        assert server.replace_state(lambda state: state + 1) == 2
        assert server.get_state() == 2


def test_a_suspended_server_can_be_stopped() -> None:
    server = Driven.start()
    server.suspend()
    server.stop(timeout=DEADLINE)
    assert not server.is_alive()


def test_a_timeout_does_not_surface_while_suspended() -> None:
    with Driven.start() as server:
        log = log_of(server)
        server.cast(lambda self, state: NoReply(timeout=0.02))
        server.suspend()
        with pytest.raises(g.CallTimeout):
            server.call(lambda self, from_, state: Reply(1), 0.06)
        assert TIMEOUT not in log.now()
        server.resume()
