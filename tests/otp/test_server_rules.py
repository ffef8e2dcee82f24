"""GenServer, calls, names, links, monitors, exit signals and timers, rule by rule."""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

import pykka
import pytest

import gennostr as g
from gennostr import IGNORE, KILL, KILLED, NOPROC, NORMAL, SHUTDOWN, TIMEOUT, NoReply, Ok, Reply, Stop


class Scripted(g.GenServer[Any]):
    """Calls and casts are functions of (server, state, from_); what it gets otherwise goes to its queue."""

    def init(self, init_arg: Any) -> Any:
        self.seen: queue.SimpleQueue[Any] = queue.SimpleQueue()
        return init_arg(self) if callable(init_arg) else Ok(init_arg)

    def handle_call(self, request: Any, from_: Any, state: Any) -> Any:
        return request(self, state, from_)

    def handle_cast(self, request: Any, state: Any) -> Any:
        return request(self, state)

    def handle_info(self, message: Any, state: Any) -> Any:
        self.seen.put(("info", message))

    def handle_continue(self, argument: Any, state: Any) -> Any:
        self.seen.put(("continue", argument))

    def terminate(self, reason: Any, state: Any) -> None:
        self.seen.put(("terminate", reason))


def seen(server: Any) -> "queue.SimpleQueue[Any]":
    return server.call(lambda self, state, from_: Reply(self.seen))  # type: ignore[no-any-return]


def in_server(server: Any, function: Callable[[Any], Any]) -> Any:
    """Call `function` in the server's process and return what it returns."""
    return server.call(lambda self, state, from_: Reply(function(self)))


def down(pid: g.Pid) -> Any:
    """Wait for the end of `pid` and return its reason."""
    with Scripted.start() as watcher:
        inbox = seen(watcher)
        in_server(watcher, lambda self: g.monitor(pid))
        _, message = inbox.get(timeout=5)
        assert isinstance(message, g.Down)
        return message.reason


# Start and init.


def test_start_returns_when_init_has_succeeded() -> None:
    with Scripted.start(7) as server:
        assert server.get_state() == 7


def test_ignore_ends_normally_and_start_returns_it() -> None:
    assert Scripted.start(lambda self: IGNORE, name="ignored") is IGNORE
    assert g.whereis("ignored") is None


@pytest.mark.parametrize("outcome", [Stop("why"), 42, "nonsense"], ids=repr)
def test_an_init_that_stops_or_returns_something_else_is_a_start_error(outcome: Any) -> None:
    with pytest.raises(g.StartError) as caught:
        Scripted.start(lambda self: outcome, name="failing")
    reason = caught.value.reason
    assert reason == "why" if isinstance(outcome, Stop) else reason.value == outcome  # type: ignore[attr-defined]
    assert g.whereis("failing") is None


def test_an_init_that_raises_gives_the_exception_as_the_reason() -> None:
    error = ValueError("no")

    def init(self: Any) -> Any:
        raise error

    with pytest.raises(g.StartError) as caught:
        Scripted.start(init)
    assert caught.value.reason is error


def test_a_continue_of_init_runs_before_queued_messages() -> None:
    def init(self: Any) -> Any:
        self.pid.send("queued")
        return Ok(None, continue_="first")

    with Scripted.start(init) as server:
        inbox = seen(server)
        assert [inbox.get(timeout=5), inbox.get(timeout=5)] == [("continue", "first"), ("info", "queued")]


def test_a_start_that_takes_too_long_is_killed() -> None:
    gate = threading.Event()
    pids: queue.SimpleQueue[g.Pid] = queue.SimpleQueue()

    def init(self: Any) -> Any:
        pids.put(self.pid)
        gate.wait(5)
        return Ok(None)

    with pytest.raises(g.StartError) as caught:
        Scripted.start(init, name="slow", timeout=0.05)
    assert caught.value.reason is TIMEOUT
    assert not pids.get().is_alive()
    assert g.whereis("slow") is None
    assert g.abandoned() == 1
    gate.set()


def test_a_taken_name_is_refused_and_its_init_never_runs() -> None:
    with Scripted.start(1, name="taken") as server:
        with pytest.raises(g.AlreadyStarted) as caught:
            Scripted.start(lambda self: pytest.fail("init ran"), name="taken")
        assert caught.value.pid is server
        assert g.call("taken", lambda self, state, from_: Reply(state)) == 1


@pytest.mark.parametrize("name", [7, b"name", ("a",)], ids=repr)
def test_a_name_of_the_wrong_type_is_a_type_error_in_the_caller(name: Any) -> None:
    with pytest.raises(TypeError, match="name"):
        Scripted.start(1, name=name)


def test_start_link_with_a_failing_init_ends_a_parent_that_does_not_trap() -> None:
    parent = Scripted.start()
    with pytest.raises(g.CallExit):
        in_server(parent, lambda self: (Scripted.start_link(lambda child: Stop("inner")), self.pid)[1])
    assert down(parent) is NOPROC
    assert parent.process.reason == "inner"


def test_start_link_with_a_failing_init_is_an_exit_to_a_parent_that_traps() -> None:
    def start(self: Any) -> Any:
        self.trap_exit = True
        with pytest.raises(g.StartError):
            Scripted.start_link(lambda child: Stop("inner"))
        return True

    with Scripted.start() as parent:
        assert in_server(parent, start)
        message = seen(parent).get(timeout=5)[1]
        assert isinstance(message, g.Exit)
        assert message.reason == "inner"


# Call, cast, info.


def test_a_call_that_times_out_leaves_the_server_unharmed_and_its_late_reply_reaches_nobody() -> None:
    with Scripted.start("state") as server:
        pending: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def keep(self: Any, state: Any, from_: Any) -> Any:
            pending.put(from_)
            return NoReply()

        with pytest.raises(g.CallTimeout) as caught:
            server.call(keep, timeout=0.05)
        assert isinstance(caught.value, TimeoutError)
        assert (caught.value.target, caught.value.timeout) == (server, 0.05)
        g.reply(pending.get(), "late")
        assert server.get_state() == "state"


def test_the_first_reply_wins() -> None:
    def twice(self: Any, state: Any, from_: Any) -> Any:
        g.reply(from_, "first")
        return Reply("second")

    with Scripted.start() as server:
        assert server.call(twice) == "first"


def test_another_thread_may_reply() -> None:
    def later(self: Any, state: Any, from_: Any) -> Any:
        threading.Thread(target=g.reply, args=(from_, "from a thread")).start()
        return NoReply()

    with Scripted.start() as server:
        assert server.call(later) == "from a thread"


@pytest.mark.parametrize("by_name", [False, True], ids=["by pid", "by name"])
def test_calling_oneself_ends_at_once(by_name: bool) -> None:  # noqa: FBT001
    server = Scripted.start(name="self")
    target = "self" if by_name else server
    with pytest.raises(g.CallExit) as caught:
        server.call(lambda self, state, from_: g.call(target, 1))
    assert isinstance(caught.value.reason, g.CallingSelf)


def test_calling_the_dead_or_the_unknown_ends_at_once_and_casts_to_them_are_nothing() -> None:
    server = Scripted.start(name="short")
    server.stop()
    for dead in (server, "short", "never"):
        with pytest.raises(g.NoProcess) as none:
            g.call(dead, 1)
        assert isinstance(none.value, LookupError)
        g.cast(dead, 1)
        g.send(dead, 1)


@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, "why"], ids=repr)
def test_stop_without_a_reply_is_call_exit_even_when_normal(reason: Any) -> None:
    server = Scripted.start()
    with pytest.raises(g.CallExit) as caught:
        server.call(lambda self, state, from_: Stop(reason))
    assert caught.value.reason == reason


def test_stop_with_a_reply_runs_terminate_first() -> None:
    server = Scripted.start()
    inbox = seen(server)
    assert server.call(lambda self, state, from_: Stop(NORMAL, reply="bye")) == "bye"
    assert inbox.get(block=False) == ("terminate", NORMAL)


@pytest.mark.parametrize("value", [None, 42, Ok(1), IGNORE], ids=repr)
def test_a_bad_return_value_of_handle_call_ends_the_server(value: Any) -> None:
    server = Scripted.start()
    with pytest.raises(g.CallExit) as caught:
        server.call(lambda self, state, from_: value)
    assert isinstance(caught.value.reason, g.BadReturnValue)
    assert caught.value.reason.value is value


def test_none_leaves_the_state_and_an_outcome_may_leave_it_out() -> None:
    with Scripted.start("state") as server:
        server.cast(lambda self, state: None)
        server.cast(lambda self, state: NoReply())
        assert server.call(lambda self, state, from_: Reply(1)) == 1
        assert server.get_state() == "state"
        assert server.call(lambda self, state, from_: Reply(1, None)) == 1
        assert server.get_state() is None


def test_handlers_that_are_not_there_end_the_server_saying_so() -> None:
    class Bare(g.GenServer[Any]):
        pass

    server = Bare.start(1)
    with pytest.raises(g.CallExit) as caught:
        server.call("request")
    assert "handle_call" in str(caught.value.reason)
    server = Bare.start(1)
    server.cast("request")
    down(server)
    assert "handle_cast" in str(server.process.reason)


def test_an_unhandled_message_is_one_warning_and_the_server_lives(caplog: pytest.LogCaptureFixture) -> None:
    class Bare(g.GenServer[Any]):
        pass

    with Bare.start(1) as server:
        server.send("surprise")
        assert server.get_state() == 1
    assert [(record.levelname, record.name.partition(".")[0]) for record in caplog.records] == [("WARNING", "gennostr")]


def test_a_crash_is_one_report_that_names_what_matters(caplog: pytest.LogCaptureFixture) -> None:
    server = Scripted.start("the state", name="crasher")
    with pytest.raises(g.CallExit) as caught:
        server.call(lambda self, state, from_: 1 / 0)
    assert isinstance(caught.value.reason, ZeroDivisionError)
    (record,) = [each for each in caplog.records if each.levelno >= logging.ERROR]
    text = record.getMessage()
    assert "crasher" in text
    assert "the state" in text
    assert "ZeroDivisionError" in text
    assert record.exc_info is not None


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, MemoryError, RecursionError])
def test_no_exception_in_a_callback_harms_another_actor(kind: type[BaseException]) -> None:
    def crash(self: Any, state: Any, from_: Any) -> Any:
        raise kind

    with Scripted.start() as other:
        server = Scripted.start()
        with pytest.raises(g.CallExit) as caught:
            server.call(crash)
        assert isinstance(caught.value.reason, kind)
        assert other.is_alive()


# Timeout, continue, hibernate, timers.


def test_a_timeout_comes_once_and_a_message_cancels_it() -> None:
    with Scripted.start() as server:
        inbox = seen(server)
        server.cast(lambda self, state: NoReply(timeout=0.02))
        assert inbox.get(timeout=5) == ("info", TIMEOUT)
        server.cast(lambda self, state: NoReply(timeout=0.2))
        server.send("message")
        assert inbox.get(timeout=5) == ("info", "message")
        with pytest.raises(queue.Empty):
            inbox.get(timeout=0.3)


def test_a_timeout_of_0_lets_a_queued_message_go_first() -> None:
    def both(self: Any, state: Any) -> Any:
        self.pid.send("queued")
        return NoReply(timeout=0)

    with Scripted.start() as server:
        inbox = seen(server)
        server.cast(both)
        assert inbox.get(timeout=5) == ("info", "queued")
        server.cast(lambda self, state: NoReply(timeout=0))
        assert inbox.get(timeout=5) == ("info", TIMEOUT)


def test_a_reply_is_delivered_before_its_continue_and_continues_chain() -> None:
    order: queue.SimpleQueue[Any] = queue.SimpleQueue()
    gate = threading.Event()

    class Chain(Scripted):
        def handle_continue(self, argument: Any, state: Any) -> Any:
            gate.wait(5)
            order.put(argument)
            return NoReply(continue_=argument - 1) if argument else None

    with Chain.start() as server:
        assert server.call(lambda self, state, from_: Reply("replied", continue_=2)) == "replied"
        gate.set()
        assert [order.get(timeout=5) for _ in range(3)] == [2, 1, 0]


def test_hibernate_never_changes_results() -> None:
    with Scripted.start(lambda self: Ok(5, hibernate=True)) as server:
        assert server.call(lambda self, state, from_: Reply(state, hibernate=True)) == 5
        server.cast(lambda self, state: NoReply(6, hibernate=True))
        assert server.get_state() == 6


@pytest.mark.parametrize("wrong", [-1, "soon", float("nan")], ids=repr)
def test_a_bad_timeout_is_named(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="timeout"):
        NoReply(timeout=wrong)


def test_send_after_delivers_and_cancel_timer_returns_what_was_left() -> None:
    with Scripted.start(name="timed") as server:
        inbox = seen(server)
        g.send_after(0.02, "timed", "tick")
        assert inbox.get(timeout=5) == ("info", "tick")
        timer = g.send_after(60, server, "never")
        left = g.cancel_timer(timer)
        assert left is not None
        assert 59 < left <= 60
        assert g.cancel_timer(timer) is None


# Stop, terminate, system messages.


def test_stop_is_handled_after_what_was_queued_before() -> None:
    server = Scripted.start()
    inbox = seen(server)
    server.send(1)
    server.stop()
    assert [inbox.get(block=False), inbox.get(block=False)] == [("info", 1), ("terminate", NORMAL)]
    with pytest.raises(g.NoProcess):
        server.stop()
    assert server.stop(block=True) is False


def test_a_crash_in_terminate_replaces_the_reason_and_the_stopper_gets_it() -> None:
    class Crashing(g.GenServer[Any]):
        def terminate(self, reason: Any, state: Any) -> None:
            raise ValueError("in terminate")

    server = Crashing.start()
    with pytest.raises(g.CallExit) as caught:
        server.stop()
    assert isinstance(caught.value.reason, ValueError)


def test_a_stop_that_times_out_still_stops() -> None:
    gate = threading.Event()
    server = Scripted.start()
    server.cast(lambda self, state: None if gate.wait(5) else None)  # noqa: RUF034
    with pytest.raises(g.CallTimeout):
        server.stop(timeout=0.05)
    gate.set()
    assert down(server) in (NORMAL, NOPROC)


def test_suspended_messages_wait_and_system_messages_do_not() -> None:
    with Scripted.start("state") as server:
        inbox = seen(server)
        server.suspend()
        server.send(1)
        server.send(2)
        assert server.get_state() == "state"
        assert server.get_status().status == "suspended"
        assert inbox.empty()
        server.resume()
        assert [inbox.get(timeout=5), inbox.get(timeout=5)] == [("info", 1), ("info", 2)]


def test_replace_state_that_raises_leaves_the_state_and_the_server() -> None:
    with Scripted.start(1) as server:
        with pytest.raises(ZeroDivisionError):
            server.replace_state(lambda state: state / 0)
        assert server.replace_state(lambda state: state + 1) == 2


def test_format_status_hides_secrets_and_a_hook_that_raises_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    from dataclasses import replace  # noqa: PLC0415

    class Secret(Scripted):
        def format_status(self, status: Any) -> Any:
            return replace(status, state="hidden")

    server = Secret.start("password")
    with pytest.raises(g.CallExit):
        server.call(lambda self, state, from_: 1 / 0)
    assert "password" not in caplog.text
    assert "hidden" in caplog.text


# Links, monitors, exit signals.


def linked(*, trap: bool = False) -> tuple[Any, Any]:
    one, other = Scripted.start(), Scripted.start()

    def link(self: Any) -> None:
        self.trap_exit = trap
        g.link(other)

    in_server(one, link)
    return one, other


def test_a_linked_exit_ends_who_does_not_trap_with_the_same_reason() -> None:
    one, other = linked()
    other.stop("why")
    down(one)
    assert one.process.reason == "why"


def test_a_linked_normal_exit_is_ignored() -> None:
    one, other = linked()
    with one:
        other.stop()
        assert one.get_state() is None


def test_who_traps_gets_one_exit() -> None:
    one, other = linked(trap=True)
    with one:
        in_server(one, lambda self: g.link(other))
        inbox = seen(one)
        other.stop(SHUTDOWN)
        assert inbox.get(timeout=5) == ("info", g.Exit(other, SHUTDOWN))
        assert one.get_state() is None
        assert inbox.empty()


def test_nothing_comes_through_a_link_that_was_taken_back() -> None:
    one, other = linked()
    with one:
        in_server(one, lambda self: g.unlink(other))
        other.stop("why")
        assert one.get_state() is None


def test_a_kill_cannot_be_trapped_and_spreads_as_killed() -> None:
    one, other = linked(trap=True)
    with one:
        in_server(other, lambda self: setattr(self, "trap_exit", True))
        inbox = seen(one)
        other.exit(KILL)
        assert inbox.get(timeout=5) == ("info", g.Exit(other, KILLED))


def test_exit_normal_is_ignored_and_another_reason_ends() -> None:
    server = Scripted.start()
    server.exit(NORMAL)
    assert server.get_state() is None
    server.exit("enough")
    down(server)
    assert server.process.reason == "enough"


def test_terminate_does_not_run_after_an_exit_signal_that_is_not_trapped() -> None:
    server = Scripted.start()
    inbox = seen(server)
    server.exit("enough")
    down(server)
    assert inbox.empty()


def test_the_exit_of_the_parent_runs_terminate_where_exits_are_trapped() -> None:
    inboxes: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def child(self: Any) -> Any:
        self.trap_exit = True
        inboxes.put(self.seen)
        return Ok(None)

    parent = Scripted.start()
    in_server(parent, lambda self: Scripted.start_link(child))
    parent.stop(SHUTDOWN)
    assert inboxes.get().get(timeout=5) == ("terminate", SHUTDOWN)


def test_monitors_stack_and_a_dead_target_is_noproc_at_once() -> None:
    with Scripted.start() as watcher:
        inbox = seen(watcher)
        server = Scripted.start()
        in_server(watcher, lambda self: (g.monitor(server), g.monitor(server)))
        server.stop()
        reasons = [inbox.get(timeout=5)[1].reason for _ in range(2)]
        assert reasons == [NORMAL, NORMAL]
        in_server(watcher, lambda self: g.monitor("nobody"))
        message = inbox.get(timeout=5)[1]
        assert (message.pid, message.reason) == ("nobody", NOPROC)


def test_demonitor_with_flush_drops_a_queued_down() -> None:
    with Scripted.start() as watcher:
        inbox = seen(watcher)
        dead = Scripted.start()
        dead.stop()
        in_server(watcher, lambda self: g.demonitor(g.monitor(dead), flush=True))
        assert watcher.get_state() is None
        assert inbox.empty()
        in_server(watcher, lambda self: g.demonitor(g.monitor(dead)))
        assert inbox.get(timeout=5)[1].reason is NOPROC


def test_when_a_down_is_seen_the_name_is_free() -> None:
    for _ in range(50):
        server = Scripted.start(name="fleeting")
        server.cast(lambda self, state: Stop())
        down(server)
        assert g.whereis("fleeting") is None


def test_a_killed_actor_is_dead_at_once_and_what_its_thread_does_later_has_no_effect() -> None:
    gate, entered, left = threading.Event(), threading.Event(), threading.Event()
    with Scripted.start() as other:
        inbox = seen(other)

        def stuck(self: Any, state: Any, from_: Any) -> Any:
            entered.set()
            gate.wait(5)
            other.send("from the dead")
            g.reply(from_, "from the dead")
            with pytest.raises(g.CallExit):
                g.link(other)
            left.set()
            return Reply("from the dead")

        server = Scripted.start(name="stuck")
        outcome: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def call() -> None:
            try:
                outcome.put(server.call(stuck))
            except g.CallExit as error:
                outcome.put(error.reason)

        thread = threading.Thread(target=call)
        thread.start()
        assert entered.wait(5)
        server.exit(KILL)
        assert not server.is_alive()
        assert outcome.get(timeout=0.2) is KILLED
        assert g.abandoned() == 1
        with Scripted.start(name="stuck"):
            gate.set()
            assert left.wait(5)
        assert other.get_state() is None
        assert inbox.empty()
        thread.join()


# Embedding.


def test_a_plain_pykka_actor_can_tell_ask_and_use_a_proxy() -> None:
    class Plain(pykka.ThreadingActor):
        def on_receive(self, message: Any) -> Any:
            message.tell("told")
            return message.ask(lambda self, state, from_: Reply(state))

    class Proxied(Scripted):
        attribute = 5

        def method(self, number: int) -> int:
            return number * 2

    plain = Plain.start()
    with Proxied.start("state") as server:
        assert plain.ask(server) == "state"
        assert seen(server).get(timeout=5) == ("info", "told")
        assert server.ask(lambda self, state, from_: Reply(1), block=False).get(timeout=5) == 1
        proxy: Any = server.proxy()
        assert proxy.attribute.get(timeout=5) == 5
        assert proxy.method(4).get(timeout=5) == 8
    plain.stop()


def test_pykkas_stop_all_stops_ours() -> None:
    servers = [Scripted.start() for _ in range(3)]
    assert pykka.ActorRegistry.stop_all() == [True, True, True]
    assert not any(server.is_alive() for server in servers)


def test_call_async_does_not_block_the_loop() -> None:
    async def main(server: Any) -> Any:
        gate = threading.Event()

        def wait(self: Any, state: Any, from_: Any) -> Any:
            gate.wait(5)
            return Reply("done")

        task = asyncio.ensure_future(server.call_async(wait))
        await asyncio.sleep(0)
        gate.set()
        return await task

    with Scripted.start() as server:
        assert asyncio.run(main(server)) == "done"
        with pytest.raises(g.CallTimeout):
            asyncio.run(server.call_async(lambda self, state, from_: NoReply(), timeout=0.05))


def test_a_plain_thread_cannot_link() -> None:
    with Scripted.start() as server, pytest.raises(RuntimeError, match="plain thread"):
        g.link(server)


def test_calls_racing_stops_and_kills_all_end() -> None:
    servers = [Scripted.start(0) for _ in range(40)]
    ended: queue.SimpleQueue[int] = queue.SimpleQueue()

    def work(number: int) -> None:
        count = 0
        for turn in range(400):
            server = servers[(turn * 7 + number) % len(servers)]
            try:
                server.call(lambda self, state, from_: Reply(1), timeout=10)
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
