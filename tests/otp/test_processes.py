"""Processes: links, monitors, exit signals, kill, names, registries, timers, and pykka's own calls."""

import asyncio
import threading
from typing import Any

import pykka
import pytest

import gennostr as g
from gennostr import KILL, KILLED, NOPROC, NORMAL, SHUTDOWN, NoReply, Ok, Registry, Reply, Stop
from tests.otp.actors import DEADLINE, Driven, Log, Trapping, fail, log_of, settle, watching, within


def link(server: g.Pid, other: Any) -> None:
    within(server, lambda self: g.link(other))


def monitor(server: g.Pid, target: Any) -> Any:
    return within(server, lambda self: g.monitor(target))


def dead() -> g.Pid:
    server: g.Pid = Driven.start()
    server.stop()
    return server


# Links and exit signals.


@pytest.mark.parametrize("reason", ["reason", SHUTDOWN], ids=str)
def test_a_linked_exit_ends_who_does_not_trap_with_the_same_reason(reason: Any) -> None:
    one, other = Driven.start(), Driven.start()
    link(one, other)
    with watching(one) as ended:
        other.stop(reason)
        assert ended() is reason


def test_a_linked_exit_runs_both_ways() -> None:
    one, other = Driven.start(), Driven.start()
    link(one, other)
    with watching(other) as ended:
        one.stop("reason")
        assert ended() == "reason"


def test_a_linked_normal_exit_is_ignored() -> None:
    with Driven.start() as one:
        other = Driven.start()
        link(one, other)
        other.stop()
        settle(one)
        assert log_of(one).now() == []


def test_who_traps_exits_gets_one_exit_however_often_linked() -> None:
    with Trapping.start() as one:
        other = Driven.start()
        link(one, other)
        link(one, other)
        link(other, one)
        log = log_of(one)
        other.stop("reason")
        assert log.next() == g.Exit(other, "reason")
        settle(one)
        assert log.now() == []


def test_who_traps_exits_hears_of_a_normal_one_too() -> None:
    with Trapping.start() as one:
        other = Driven.start()
        link(one, other)
        other.stop()
        assert log_of(one).next() == g.Exit(other, NORMAL)


def test_nothing_comes_through_a_link_that_was_taken_back() -> None:
    with Driven.start() as one:
        other = Driven.start()
        link(one, other)
        within(one, lambda self: g.unlink(other))
        other.stop("reason")
        settle(one)
        assert one.is_alive()


def test_linking_to_the_dead_is_an_exit_noproc_to_who_traps() -> None:
    gone = dead()
    with Trapping.start() as one:
        link(one, gone)
        assert log_of(one).next() == g.Exit(gone, NOPROC)


def test_linking_to_the_dead_is_an_error_to_who_does_not_trap() -> None:
    gone = dead()
    with Driven.start() as one, watching(one) as ended:
        one.cast(lambda self, state: g.link(gone))
        assert isinstance(ended(), g.NoProcess)


def test_exit_normal_from_another_is_ignored() -> None:
    with Driven.start() as one:
        one.exit(NORMAL)
        settle(one)
        assert one.is_alive()


def test_exit_normal_from_another_is_an_exit_to_who_traps() -> None:
    with Trapping.start() as one, Driven.start() as sender:
        within(sender, lambda self: one.exit(NORMAL))
        assert log_of(one).next() == g.Exit(sender, NORMAL)


def test_an_exit_signal_to_a_busy_actor_takes_effect_before_its_next_message() -> None:
    go = threading.Event()
    one = Driven.start()
    log = log_of(one)
    with watching(one) as ended:
        one.cast(lambda self, state: go.wait(DEADLINE) and None)
        one.send("queued")
        one.exit("reason")
        go.set()
        assert ended() == "reason"
    assert log.now() == []


def test_the_messages_of_one_come_before_its_exit_and_its_down() -> None:
    with Trapping.start() as receiver:
        log = log_of(receiver)
        sender = Driven.start()
        link(receiver, sender)
        monitor(receiver, sender)

        def send_and_stop(self: Any, state: Any) -> Any:
            for number in range(100):
                g.send(receiver, number)
            return Stop("done")

        sender.cast(send_and_stop)
        assert [log.next() for _ in range(100)] == list(range(100))
        assert {type(log.next()), type(log.next())} == {g.Exit, g.Down}


def test_a_plain_thread_can_neither_link_nor_monitor() -> None:
    with Driven.start() as server:
        for function in (g.link, g.monitor, g.unlink):
            with pytest.raises(RuntimeError):
                function(server)


# Monitors.


def test_a_monitor_tells_the_reason_with_its_reference() -> None:
    with Driven.start() as watcher:
        server = Driven.start()
        ref = monitor(watcher, server)
        server.stop("reason")
        assert log_of(watcher).next() == g.Down(ref, server, "reason")


def test_monitors_stack() -> None:
    with Driven.start() as watcher:
        server = Driven.start()
        refs = {monitor(watcher, server) for _ in range(3)}
        log = log_of(watcher)
        server.stop()
        assert {log.next().ref for _ in range(3)} == refs


def test_a_monitor_of_the_dead_is_noproc() -> None:
    gone = dead()
    with Driven.start() as watcher:
        ref = monitor(watcher, gone)
        assert log_of(watcher).next() == g.Down(ref, gone, NOPROC)


def test_a_monitor_of_an_unknown_name_is_noproc_with_the_name() -> None:
    with Driven.start() as watcher:
        ref = monitor(watcher, "nobody")
        assert log_of(watcher).next() == g.Down(ref, "nobody", NOPROC)


def test_a_monitor_of_a_name_tells_the_name() -> None:
    with Driven.start() as watcher:
        server = Driven.start(name="somebody")
        ref = monitor(watcher, "somebody")
        server.stop()
        assert log_of(watcher).next() == g.Down(ref, "somebody", NORMAL)


def test_no_down_comes_after_demonitor() -> None:
    with Driven.start() as watcher:
        server = Driven.start()
        ref = monitor(watcher, server)
        within(watcher, lambda self: g.demonitor(ref))
        server.stop()
        settle(watcher)
        assert log_of(watcher).now() == []


@pytest.mark.parametrize("flush", [False, True])
def test_demonitor_leaves_a_queued_down_unless_it_flushes(flush: Any) -> None:
    gone = dead()
    with Driven.start() as watcher:

        def monitor_and_back(self: Any) -> None:
            g.demonitor(g.monitor(gone), flush=flush)  # the Down is queued by the time monitor returns

        within(watcher, monitor_and_back)
        settle(watcher)
        assert len(log_of(watcher).now()) == (0 if flush else 1)


def test_when_a_down_is_seen_the_name_and_the_keys_are_free() -> None:
    with Registry.start() as registry:
        for _ in range(50):
            server = Driven.start(name="fleeting")
            within(server, lambda self: registry.register("key"))
            with watching(server) as ended:
                server.cast(lambda self, state: Stop())
                ended()
                assert g.whereis("fleeting") is None
                assert registry.lookup("key") is None


# Kill.


def test_a_kill_cannot_be_trapped_and_is_seen_as_killed() -> None:
    server = Trapping.start()
    with watching(server) as ended:
        server.exit(KILL)
        assert ended() is KILLED


def test_a_kill_spreads_over_links_as_killed() -> None:
    one, other = Driven.start(), Driven.start()
    link(one, other)
    with watching(one) as ended:
        other.exit(KILL)
        assert ended() is KILLED


def test_a_linked_killed_can_be_trapped() -> None:
    with Trapping.start() as one:
        other = Driven.start()
        link(one, other)
        other.exit(KILL)
        assert log_of(one).next() == g.Exit(other, KILLED)


class Busy:
    """A named server that is killed in a callback; `then` runs in its abandoned thread."""

    def __init__(self, then: Any) -> None:
        self.go, self.done, self.error = threading.Event(), threading.Event(), Log()
        began = threading.Event()

        def busy(actor: Any, state: Any) -> Any:
            began.set()
            self.go.wait(DEADLINE)
            try:
                then(actor)
            except g.CallExit as error:
                self.error.put(error)
            finally:
                self.done.set()

        self.pid = Trapping.start(name="busy")
        self.pid.cast(busy)
        assert began.wait(DEADLINE)

    def kill(self) -> None:
        self.pid.exit(KILL)

    def leave(self) -> None:
        self.go.set()
        assert self.done.wait(DEADLINE)


def test_a_killed_busy_actor_is_dead_at_once_and_a_replacement_may_run() -> None:
    busy = Busy(lambda actor: None)
    busy.kill()
    assert not busy.pid.is_alive()
    assert g.whereis("busy") is None
    assert g.abandoned() == 1
    with Driven.start(name="busy") as replacement:
        assert g.whereis("busy") == replacement
        busy.leave()
        settle(replacement)
        assert g.whereis("busy") == replacement


def test_who_waits_for_a_killed_actor_gets_call_exit() -> None:
    busy = Busy(lambda actor: None)
    with Driven.start() as caller, watching(caller) as ended:
        caller.cast(lambda self, state: busy.pid.call("request"))
        settled = threading.Timer(0.02, busy.kill)
        settled.start()
        reason = ended()
        settled.join()
    # The call may also come after the kill.
    assert isinstance(reason, g.NoProcess) or reason.reason is KILLED
    busy.leave()


def test_what_an_abandoned_thread_sends_reaches_nobody() -> None:
    with Driven.start() as receiver:

        def then(actor: Any) -> None:
            g.send(receiver, "late")
            receiver.send("late")
            g.cast(receiver, lambda self, state: Stop("late"))
            receiver.exit("late")

        busy = Busy(then)
        busy.kill()
        busy.leave()
        settle(receiver)
        assert log_of(receiver).now() == []


def test_what_an_abandoned_thread_replies_reaches_nobody() -> None:
    with Driven.start() as server, Driven.start() as caller:
        log = Log()
        caller.cast(
            lambda self, state: log.put(server.call(lambda self, from_, state: (self.log.put(from_), NoReply())[1]))
        )
        from_ = next_of(server)
        busy = Busy(lambda actor: g.reply(from_, "late"))
        busy.kill()
        busy.leave()
        g.reply(from_, "in time")
        assert log.next() == "in time"


def next_of(server: g.Pid) -> Any:
    return log_of(server).next()


@pytest.mark.parametrize(
    "effect",
    [
        lambda receiver, registry: g.link(receiver),
        lambda receiver, registry: g.monitor(receiver),
        lambda receiver, registry: registry.register("late"),
        lambda receiver, registry: g.send_after(0, receiver, "late"),
        lambda receiver, registry: receiver.stop(),
        lambda receiver, registry: receiver.call("late"),
        lambda receiver, registry: Driven.start(name="late"),
    ],
    ids=["link", "monitor", "register", "send_after", "stop", "call", "start"],
)
def test_what_an_abandoned_thread_asks_for_unwinds_it(effect: Any) -> None:
    with Driven.start() as receiver, Registry.start() as registry:
        busy = Busy(lambda actor: effect(receiver, registry))
        busy.kill()
        busy.leave()
        assert isinstance(busy.error.next(), g.CallExit)
        settle(receiver)
        assert log_of(receiver).now() == []
        assert registry.count() == 0
        assert g.whereis("late") is None


def test_on_cancel_runs_in_the_killers_thread() -> None:
    go, began, threads = threading.Event(), threading.Event(), Log()

    class Cancellable(Driven):
        def on_cancel(self) -> None:
            threads.put(threading.current_thread())
            go.set()

    def wait(self: Any, state: Any) -> None:
        began.set()
        go.wait(DEADLINE)

    server = Cancellable.start()
    server.cast(wait)
    assert began.wait(DEADLINE)
    server.exit(KILL)
    assert threads.next() is threading.current_thread()


# Names.


def test_whereis_is_none_for_the_unknown_and_a_type_error_for_another_thing() -> None:
    assert g.whereis("nobody") is None
    with pytest.raises(TypeError):
        g.whereis(3)  # type: ignore[arg-type]


def test_calls_casts_and_sends_work_by_name() -> None:
    with Driven.start(name="named") as server:
        log = log_of(server)
        g.send("named", "sent")
        g.cast("named", lambda self, state: self.log.put("cast"))
        assert g.call("named", lambda self, from_, state: Reply("called")) == "called"
        assert log.now() == ["sent", "cast"]
        g.stop("named")
        assert not server.is_alive()


def test_another_kind_of_target_is_a_type_error() -> None:
    for function in (g.call, g.cast, g.send):
        with pytest.raises(TypeError, match="target"):
            function(3, "message")  # type: ignore[arg-type]


# Registries.


def test_a_key_belongs_to_one_process() -> None:
    with Registry.start() as registry, Driven.start() as one, Driven.start() as other:

        def register(self: Any) -> Any:
            with pytest.raises(g.AlreadyRegistered) as caught:
                registry.register("key")
            return caught.value.pid

        within(one, lambda self: registry.register("key", "value"))
        assert registry.lookup("key") == (one, "value")
        assert within(other, register) is one


def test_unregister_gives_up_own_keys_only_and_is_idempotent() -> None:
    with Registry.start() as registry, Driven.start() as one, Driven.start() as other:
        within(one, lambda self: registry.register("key"))
        within(other, lambda self: registry.unregister("key"))
        assert registry.lookup("key") == (one, None)
        within(one, lambda self: registry.unregister("key"))
        within(one, lambda self: registry.unregister("key"))
        assert registry.lookup("key") is None


def test_keys_select_and_count_tell_what_is_held() -> None:
    with Registry.start() as registry, Driven.start() as one, Driven.start() as other:
        within(one, lambda self: registry.register("a", "aa"))
        within(one, lambda self: registry.register("b", "bb"))
        within(other, lambda self: registry.register("c"))
        assert sorted(registry.keys(one)) == ["a", "b"]
        assert sorted(registry.select(), key=str) == sorted(
            [("a", one, "aa"), ("b", one, "bb"), ("c", other, None)], key=str
        )
        assert registry.count() == 3


def test_update_value_returns_the_new_and_the_old() -> None:
    with Registry.start() as registry, Driven.start() as one:
        within(one, lambda self: registry.register("key", 1))
        assert within(one, lambda self: registry.update_value("key", lambda value: value + 1)) == (2, 1)
        assert registry.lookup("key") == (one, 2)


def test_update_value_of_anothers_key_is_a_lookup_error() -> None:
    with Registry.start() as registry, Driven.start() as one, Driven.start() as other, watching(other) as ended:
        within(one, lambda self: registry.register("key", 1))
        other.cast(lambda self, state: fail(RuntimeError(registry.update_value("key", lambda value: 2))))
        assert isinstance(ended(), LookupError)
        assert registry.lookup("key") == (one, 1)


def test_dispatch_calls_with_the_entry_and_not_at_all_without() -> None:
    with Registry.start() as registry, Driven.start() as one:
        within(one, lambda self: registry.register("key", "value"))
        log = Log()
        registry.dispatch("key", log.put)
        registry.dispatch("nothing", log.put)
        assert log.now() == [[(one, "value")]]


def test_listeners_hear_of_registrations_and_not_of_deaths() -> None:
    with Driven.start() as listener, Registry.start(name="registry", listeners=[listener]):
        registry: Any = g.whereis("registry")
        one = Driven.start()
        within(one, lambda self: registry.register("key", "value"))
        within(one, lambda self: registry.unregister("key"))
        within(one, lambda self: registry.register("other"))
        one.stop()
        settle(listener)
        assert log_of(listener).now() == [
            g.Registered("registry", "key", one, "value"),
            g.Unregistered("registry", "key", one),
            g.Registered("registry", "other", one, None),
        ]


def test_a_death_releases_the_keys_and_leaves_the_registry_alive() -> None:
    with Registry.start() as registry:
        one = Driven.start()
        within(one, lambda self: registry.register("key"))
        one.stop("crash")
        assert registry.count() == 0
        assert registry.is_alive()


def test_a_registry_that_crashes_takes_its_registrants_with_it() -> None:
    registry = Registry.start()
    one = Driven.start()
    within(one, lambda self: registry.register("key"))
    with watching(one) as ended:
        registry.exit(KILL)
        assert ended() is KILLED


def test_keys_compare_as_pythons_do() -> None:
    with Registry.start() as registry, Driven.start() as one:
        within(one, lambda self: registry.register(1))
        assert registry.lookup(1.0) == (one, None)


# Timers.


def test_send_after_delivers_in_order_of_time() -> None:
    with Driven.start() as server:
        log = log_of(server)
        g.send_after(0.04, server, "second")
        g.send_after(0.01, server, "first")
        assert [log.next(), log.next()] == ["first", "second"]


def test_cancel_timer_returns_the_seconds_left_and_then_none() -> None:
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


def test_timers_to_the_dead_and_the_unknown_vanish() -> None:
    with Driven.start() as server:
        g.send_after(0, dead(), "lost")
        g.send_after(0, "nobody", "lost")
        g.send_after(0.01, server, "marker")
        assert log_of(server).next() == "marker"


def test_a_timers_name_is_looked_up_when_it_fires() -> None:
    g.send_after(0.05, "later", "message")
    with Driven.start(name="later") as server:
        assert log_of(server).next() == "message"


# pykka, asyncio, and with.


class Plain(pykka.ThreadingActor):
    """An actor that is none of ours."""

    use_daemon_thread = True

    def on_receive(self, message: Any) -> Any:
        server, request = message
        return server.ask(request)


class Counting(Driven):
    number = 1

    def add(self, more: int) -> int:
        self.number += more
        return self.number

    def broken(self) -> None:
        raise ValueError("the method's")


def test_ask_is_a_call_and_tell_is_a_send() -> None:
    with Driven.start() as server:
        server.tell("told")
        assert server.ask(lambda self, from_, state: Reply("asked")) == "asked"
        assert log_of(server).now() == ["told"]


def test_ask_without_blocking_is_a_future() -> None:
    with Driven.start() as server:
        assert server.ask(lambda self, from_, state: Reply("asked"), block=False).get(timeout=DEADLINE) == "asked"


def test_a_future_raises_what_a_call_would() -> None:
    server = Driven.start()
    future = server.ask(lambda self, from_, state: Stop("reason"), block=False)
    with pytest.raises(g.CallExit):
        future.get(timeout=DEADLINE)
    with pytest.raises(pykka.ActorDeadError):
        server.ask("request", block=False).get(timeout=DEADLINE)


def test_a_plain_pykka_actor_can_ask_ours() -> None:
    plain = Plain.start()
    try:
        with Driven.start() as server:
            assert plain.ask((server, lambda self, from_, state: Reply("asked")), timeout=DEADLINE) == "asked"
    finally:
        plain.stop()


def test_a_proxy_reads_sets_and_calls() -> None:
    with Counting.start() as server:
        proxy = server.proxy()
        assert proxy.add(2).get(timeout=DEADLINE) == 3
        proxy.number = 10
        assert proxy.number.get(timeout=DEADLINE) == 10


def test_what_a_proxys_method_raises_goes_to_the_caller_and_the_server_lives() -> None:
    with Counting.start() as server:
        with pytest.raises(ValueError, match="the method's"):
            server.proxy().broken().get(timeout=DEADLINE)
        assert server.is_alive()


def test_pykkas_stop_all_stops_ours_and_runs_terminate() -> None:
    server = Driven.start()
    log = log_of(server)
    pykka.ActorRegistry.stop_all(timeout=DEADLINE)
    assert not server.is_alive()
    assert log.now() == [("terminate", NORMAL)]


def test_pykkas_stop_of_the_dead_is_false() -> None:
    assert dead().stop(block=True) is False


def test_call_async_returns_while_the_loop_goes_on() -> None:
    async def main(server: Any) -> list[Any]:
        order: list[Any] = []
        pending: list[Any] = []

        def later(self: Any, from_: Any, state: Any) -> Any:
            pending.append(from_)
            return NoReply()

        async def ask() -> None:
            order.append(await server.call_async(later))

        async def answer() -> None:
            await asyncio.to_thread(settle, server)
            order.append("went on")
            g.reply(pending[0], "reply")

        await asyncio.gather(ask(), answer())
        return order

    with Driven.start() as server:
        assert asyncio.run(main(server)) == ["went on", "reply"]


def test_call_async_raises_what_a_call_would() -> None:
    async def main(server: Any) -> None:
        with pytest.raises(g.CallTimeout):
            await server.call_async(lambda self, from_, state: NoReply(), 0.01)
        with pytest.raises(g.CallExit):
            await server.call_async(lambda self, from_, state: Stop("reason"))
        with pytest.raises(g.NoProcess):
            await server.call_async("request")

    asyncio.run(main(Driven.start()))


def test_with_stops_the_server_at_the_end_and_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), Driven.start() as server:
        fail(ZeroDivisionError())
    assert not server.is_alive()


def test_with_does_not_mind_a_server_that_has_ended() -> None:
    with Driven.start(lambda self: Ok()) as server:
        server.stop()
    assert not server.is_alive()
