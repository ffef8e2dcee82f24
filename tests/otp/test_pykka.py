"""pykka: a pid is an ActorRef, and its users' habits work: `tell`, `ask`, proxies, futures, stop and the registry."""

import queue
import threading
from collections.abc import Callable
from typing import Any

import pykka
import pytest

import gennostr as g
from gennostr import KILL, KILLED, NORMAL, DynamicSupervisor, NoReply, Ok, Registry, Reply, Stop, Supervisor
from tests.otp.actors import (
    DEADLINE,
    FATAL,
    Driven,
    Gate,
    Log,
    Trapping,
    dead,
    fail,
    fits,
    log_of,
    meanwhile,
    outcome_of,
    settle,
    watching,
    within,
)


class Plain(pykka.ThreadingActor):
    """An actor of pykka, not of this library: a message is a function that it calls."""

    use_daemon_thread = True

    def on_receive(self, message: Any) -> Any:
        return message()


class Inner:
    pykka_traversable = True

    def __init__(self) -> None:
        self.value = "inner"

    def method(self, value: Any) -> Any:
        return ("inner", value)


class Counting(Driven):
    """Has what a proxy may reach for."""

    number = 1

    def init(self, init_arg: Any) -> Any:
        self.inner = Inner()
        return super().init(init_arg)

    def add(self, more: int, *, times: int = 1) -> int:
        self.number += more * times
        return self.number

    def raising(self, error: BaseException) -> None:
        raise error

    def thread(self) -> threading.Thread:
        return threading.current_thread()


def echo(value: Any) -> Any:
    return lambda self, from_, state: Reply(value)


# ActorRef.


@pytest.mark.parametrize(
    "start",
    [Driven.start, Registry.start, lambda: Supervisor.start([]), DynamicSupervisor.start],
    ids=["GenServer", "Registry", "Supervisor", "DynamicSupervisor"],
)
def test_every_actor_is_pykkas_and_every_pid_an_actor_ref(start: Callable[[], Any]) -> None:
    with start() as server:
        assert isinstance(server, pykka.ActorRef)
        assert issubclass(server.actor_class, pykka.ThreadingActor)
        assert server.actor_urn.startswith("urn:uuid:")
        assert server.is_alive()
    assert not server.is_alive()


def test_the_actors_own_ref_is_its_pid() -> None:
    with Driven.start() as server:
        assert within(server, lambda self: (self.actor_ref, self.pid, self.actor_urn)) == (
            server,
            server,
            server.actor_urn,
        )


def test_tell_is_a_send_and_ask_is_a_call() -> None:
    with Driven.start() as server:
        assert server.tell("sent") is None
        assert server.ask(echo("asked")) == "asked"
        assert log_of(server).now() == ["sent"]


def test_telling_the_dead_is_silently_nothing() -> None:
    assert dead().tell("late") is None


def test_ask_waits_for_ever_unless_a_timeout_is_given() -> None:
    with Driven.start() as server, Gate() as gate:
        with meanwhile(lambda: server.ask(lambda self, from_, state: Reply(gate.wait("late")))) as outcome:
            gate.reached()
            gate.open()
            assert outcome() == "late"
        with pytest.raises(pykka.Timeout) as caught:
            server.ask(lambda self, from_, state: NoReply(), timeout=0.01)
        assert isinstance(caught.value, g.CallTimeout)


@pytest.mark.parametrize("block", [True, False])
def test_asking_the_dead_is_pykkas_error_at_once(block: Any) -> None:
    gone = dead()
    error = outcome_of(lambda: gone.ask("request", block=block).get(timeout=DEADLINE))
    assert isinstance(error, pykka.ActorDeadError)
    assert isinstance(error, g.NoProcess)


def test_asking_oneself_and_waiting_is_calling_self_at_once() -> None:
    with Driven.start() as server:

        def ask(self: Any) -> Any:
            return outcome_of(lambda: self.pid.ask(echo("request")))

        assert isinstance(within(server, ask), g.CallingSelf)


def test_work_that_an_actor_sends_itself_through_its_own_proxy_is_done_and_only_waiting_for_it_raises() -> None:
    """pykka's idiom ("in_future", in the documentation of ActorProxy)."""
    with Counting.start() as server:

        def put_off(self: Any) -> Any:
            proxy = self.actor_ref.proxy()
            future = proxy.add(1)
            proxy.add.defer(10)
            early = outcome_of(lambda: future.get(timeout=0.0))
            return early, outcome_of(proxy.add(100).get), self.number, future

        *raised, before, future = within(server, put_off)
        assert [type(each) for each in raised] == [g.CallingSelf, g.CallingSelf]
        assert before == 1
        assert server.proxy().number.get(timeout=DEADLINE) == 112
        assert future.get(timeout=DEADLINE) == within(server, lambda self: future.get(timeout=DEADLINE)) == 2


# Futures.


def test_ask_without_blocking_is_a_future() -> None:
    with Driven.start() as server, Gate() as gate:
        future = server.ask(lambda self, from_, state: Reply(gate.wait("late")), block=False)
        assert isinstance(future, pykka.Future)
        gate.reached()
        with pytest.raises(pykka.Timeout):
            future.get(timeout=0.01)
        gate.open()
        assert [future.get(timeout=DEADLINE) for _ in range(2)] == ["late", "late"]


def test_a_future_may_be_polled_by_several_threads_and_keeps_nothing_of_those_that_gave_up() -> None:
    with Driven.start() as server, Gate() as gate:
        future = server.ask(lambda *_: gate.wait(Reply("reply")), block=False)
        gate.reached()
        with meanwhile(lambda: future.get(timeout=DEADLINE)) as other:
            for timeout in (-1, 0, 0.0, 0.001):
                with pytest.raises(pykka.Timeout):
                    future.get(timeout=timeout)
            gate.open()
            assert other() == future.get(timeout=DEADLINE) == "reply"
        assert future.map(str.upper).get(timeout=DEADLINE) == "REPLY"
        with pytest.raises(queue.Full):
            future.set("other")


def test_futures_may_be_gathered() -> None:
    with Driven.start() as server:
        futures = [server.ask(echo(number), block=False) for number in range(10)]
        assert pykka.get_all(futures, timeout=DEADLINE) == list(range(10))
        assert futures[0].join(*futures[1:]).map(sum).get(timeout=DEADLINE) == 45


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (lambda server: server.cast(lambda self, state: 1 / 0), ZeroDivisionError),
        (lambda server: server.stop("why"), "why"),
        (lambda server: server.stop(), NORMAL),
        (lambda server: server.exit(KILL), KILLED),
    ],
    ids=["crash", "stop", "normal stop", "kill"],
)
def test_a_future_of_a_server_that_ends_raises_what_a_call_would(end: Callable[[Any], Any], expected: Any) -> None:
    server = Driven.start()
    future = server.ask(lambda self, from_, state: NoReply(), block=False)
    end(server)
    with pytest.raises(g.CallExit) as caught:
        future.get(timeout=DEADLINE)
    assert fits(caught.value.reason, expected)


def test_a_future_of_a_stop_without_a_reply_raises_call_exit() -> None:
    future = Driven.start().ask(lambda self, from_, state: Stop("reason"), block=False)
    with pytest.raises(g.CallExit) as caught:
        future.get(timeout=DEADLINE)
    assert caught.value.reason == "reason"


# Plain actors beside ours.


def test_a_plain_actor_can_tell_ask_and_stop_ours_and_use_a_proxy() -> None:
    plain = Plain.start()
    try:
        server = Counting.start("state")
        log = log_of(server)
        assert plain.ask(lambda: server.tell("sent"), timeout=DEADLINE) is None
        assert plain.ask(lambda: server.ask(lambda self, from_, state: Reply(state)), timeout=DEADLINE) == "state"
        assert plain.ask(lambda: server.proxy().add(2).get(timeout=DEADLINE), timeout=DEADLINE) == 3
        assert plain.ask(server.stop, timeout=DEADLINE) is True
        assert log.now() == ["sent", ("terminate", NORMAL)]
    finally:
        plain.stop()


def test_ours_can_tell_and_ask_a_plain_actor() -> None:
    plain = Plain.start()
    try:
        with Driven.start() as server:
            assert within(server, lambda self: plain.ask(lambda: "asked", timeout=DEADLINE)) == "asked"
            log = log_of(server)
            within(server, lambda self: plain.tell(lambda: server.send("answered")))
            assert log.next() == "answered"
    finally:
        plain.stop()


def test_a_plain_actor_may_answer_a_call_of_ours() -> None:
    plain = Plain.start()

    def delegate(self: Any, from_: Any, state: Any) -> Any:
        plain.tell(lambda: g.reply(from_, "from a plain actor"))
        return NoReply()

    try:
        with Driven.start() as server:
            assert server.call(delegate) == "from a plain actor"
    finally:
        plain.stop()


@pytest.mark.parametrize("kind", FATAL)
def test_what_would_stop_all_of_pykkas_actors_ends_ours_alone(kind: type[BaseException]) -> None:
    plain = Plain.start()
    try:
        server = Driven.start()
        with watching(server) as reason:
            server.cast(lambda self, state: fail(kind()))
            assert isinstance(reason(), kind)
        assert plain.ask(lambda: "alive", timeout=DEADLINE) == "alive"
    finally:
        plain.stop()


# Proxies.


def test_a_proxy_reads_sets_and_calls_in_the_servers_thread() -> None:
    with Counting.start() as server:
        proxy = server.proxy()
        assert proxy.number.get(timeout=DEADLINE) == 1
        assert proxy.add(2).get(timeout=DEADLINE) == 3
        assert proxy.add(2, times=10).get(timeout=DEADLINE) == 23
        proxy.number = 10
        assert proxy.number.get(timeout=DEADLINE) == 10
        assert proxy.thread().get(timeout=DEADLINE) is within(server, lambda self: threading.current_thread())


def test_a_proxy_reaches_through_what_is_traversable() -> None:
    with Counting.start() as server:
        proxy = server.proxy()
        assert proxy.inner.value.get(timeout=DEADLINE) == "inner"
        assert proxy.inner.method(1).get(timeout=DEADLINE) == ("inner", 1)
        proxy.inner.value = "other"
        assert proxy.inner.value.get(timeout=DEADLINE) == "other"


def test_a_proxys_call_may_be_deferred() -> None:
    with Counting.start() as server:
        assert server.proxy().add.defer(5) is None
        assert server.proxy().number.get(timeout=DEADLINE) == 6


def test_what_a_deferred_call_raises_ends_the_server() -> None:
    error = ValueError("the method's")
    server = Counting.start()
    with watching(server) as reason:
        server.proxy().raising.defer(error)
        assert reason() is error


def test_proxies_and_messages_keep_their_order() -> None:
    with Counting.start() as server:
        log = log_of(server)
        proxy = server.proxy()
        for number in range(0, 30, 3):
            server.send(number)
            server.cast(lambda self, state, number=number: self.log.put(number + 1))
            proxy.handle_info.defer(number + 2, None)
        settle(server)
        assert log.now() == list(range(30))


@pytest.mark.parametrize("kind", [ValueError, StopIteration, AttributeError])
def test_what_a_proxys_method_raises_goes_to_the_caller_and_the_server_lives(kind: type[Exception]) -> None:
    error = kind("the method's")
    with Counting.start() as server:
        with pytest.raises(kind) as caught:
            server.proxy().raising(error).get(timeout=DEADLINE)
        assert caught.value is error
        assert server.is_alive()


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_is_no_exception_ends_the_server_from_a_proxys_method_too(kind: type[BaseException]) -> None:
    server = Counting.start()
    with pytest.raises(g.CallExit) as caught:
        server.proxy().raising(kind()).get(timeout=DEADLINE)
    assert isinstance(caught.value.reason, kind)


def test_a_proxys_call_to_who_dies_meanwhile_is_call_exit() -> None:
    server = Counting.start()
    with Gate() as gate:
        server.cast(lambda self, state: gate.wait())
        gate.reached()
        future = server.proxy().add(1)
        server.exit(KILL)
        with pytest.raises(g.CallExit) as caught:
            future.get(timeout=DEADLINE)
        assert caught.value.reason is KILLED


def test_a_proxy_of_the_dead_is_pykkas_error() -> None:
    server = Counting.start()
    proxy = server.proxy()
    server.stop()
    with pytest.raises(pykka.ActorDeadError):
        proxy.add(1).get(timeout=DEADLINE)
    with pytest.raises(pykka.ActorDeadError):
        server.proxy()


# stop.


def test_pykkas_stop_runs_terminate_after_what_was_queued_and_is_true() -> None:
    server = Driven.start()
    log = log_of(server)
    server.send("queued")
    assert server.stop(block=True, timeout=DEADLINE) is True
    assert not server.is_alive()
    assert log.now() == ["queued", ("terminate", NORMAL)]


def test_pykkas_stop_of_the_dead_is_false() -> None:
    """Of ActorRef.stop: "False if actor was already dead"."""
    assert dead().stop() is False
    assert dead().stop(block=True) is False
    assert dead().stop(block=False).get(timeout=DEADLINE) is False


def test_pykkas_stop_without_blocking_is_a_future_that_is_true_when_it_is_dead() -> None:
    server = Driven.start()
    log = log_of(server)
    with Gate() as gate:
        server.cast(lambda self, state: gate.wait())
        gate.reached()
        future = server.stop("why", block=False)
        assert isinstance(future, pykka.Future)
        assert server.is_alive()
        gate.open()
        assert future.get(timeout=DEADLINE) is True
        assert not server.is_alive()
        assert future.get(timeout=DEADLINE) is True
    assert log.now() == [("terminate", "why")]


def test_pykkas_stop_without_blocking_may_be_polled_and_an_actor_cannot_wait_for_its_own() -> None:
    server = Driven.start()
    with Gate() as gate:
        server.cast(lambda self, state: gate.wait())
        gate.reached()
        future = server.stop(block=False)
        with pytest.raises(pykka.Timeout):
            future.get(timeout=0)
        gate.open()
        assert future.get(timeout=DEADLINE) is True
    server = Driven.start()
    assert isinstance(within(server, lambda self: outcome_of(self.pid.stop(block=False).get)), g.CallingSelf)


def test_pykkas_stop_that_times_out_raises_pykkas_error_and_it_stops_later() -> None:
    server = Driven.start()
    with Gate() as gate, watching(server) as reason:
        server.cast(lambda self, state: gate.wait())
        gate.reached()
        with pytest.raises(pykka.Timeout):
            server.stop(block=True, timeout=0.01)
        gate.open()
        assert reason() is NORMAL


def test_an_actor_may_stop_itself_as_pykkas_do() -> None:
    """After what is queued already."""
    server = Driven.start()
    log = log_of(server)

    def stop(self: Any, state: Any) -> Any:
        self.pid.send("queued")
        self.stop()
        self.log.put("went on")

    with watching(server) as reason:
        server.cast(stop)
        assert reason() is NORMAL
    assert log.now() == ["went on", "queued", ("terminate", NORMAL)]


# The registry of actors.


def test_pykkas_stop_all_stops_ours_in_order_and_runs_terminate() -> None:
    servers = [Driven.start() for _ in range(3)]
    logs = [log_of(server) for server in servers]
    assert pykka.ActorRegistry.stop_all(timeout=DEADLINE) == [True, True, True]
    assert not any(server.is_alive() for server in servers)
    assert [log.now() for log in logs] == [[("terminate", NORMAL)]] * 3
    assert pykka.ActorRegistry.stop_all(timeout=DEADLINE) == []


def test_pykkas_stop_all_without_blocking_gives_futures() -> None:
    servers = [Driven.start() for _ in range(3)]
    futures = pykka.ActorRegistry.stop_all(block=False)
    assert pykka.get_all(futures, timeout=DEADLINE) == [True, True, True]
    assert not any(server.is_alive() for server in servers)


def test_pykkas_stop_all_stops_a_tree_and_plain_actors_too() -> None:
    plain = Plain.start()
    top = Supervisor.start([Driven, Supervisor.child_spec([Driven])])
    with Registry.start() as registry:
        trapping = Trapping.start(lambda self: Ok(registry.register("key")))  # type: ignore[func-returns-value]
        pykka.ActorRegistry.stop_all(timeout=DEADLINE)
        for ref in (plain, top, registry, trapping):
            assert not ref.is_alive()
    assert pykka.ActorRegistry.get_all() == []


def test_pykkas_registry_lists_the_living_by_class_name_and_urn() -> None:
    with Counting.start() as server, Driven.start() as other:
        urn = server.actor_urn
        assert set(pykka.ActorRegistry.get_all()) == {server, other}
        assert pykka.ActorRegistry.get_by_class(Counting) == [server]
        assert pykka.ActorRegistry.get_by_class_name("Counting") == [server]
        assert pykka.ActorRegistry.get_by_urn(urn) is server
    assert pykka.ActorRegistry.get_all() == []
    assert pykka.ActorRegistry.get_by_urn(urn) is None


@pytest.mark.parametrize(
    "end",
    [
        lambda server: server.cast(lambda self, state: 1 / 0),
        lambda server: server.cast(lambda self, state: Stop()),
        lambda server: server.exit("signal"),
        lambda server: server.exit(KILL),
    ],
    ids=["crash", "stop", "exit signal", "kill"],
)
def test_when_an_end_is_told_pykkas_registry_lists_the_dead_no_more(end: Callable[[Any], Any]) -> None:
    server = Driven.start()
    with watching(server) as reason:
        end(server)
        reason()
        assert server not in pykka.ActorRegistry.get_all()


@pytest.mark.parametrize("init", [lambda self: Stop("no"), lambda self: g.IGNORE, lambda self: 1 / 0])
def test_an_actor_that_did_not_start_is_not_in_pykkas_registry(init: Any) -> None:
    outcome_of(lambda: Driven.start(init))
    assert pykka.ActorRegistry.get_all() == []


def test_a_broadcast_is_a_message_to_every_actor() -> None:
    received = Log()

    class Noting(Driven):
        def handle_info(self, message: Any, state: Any) -> Any:
            received.put((self.pid, message))

    with Noting.start() as one, Noting.start() as other, Counting.start() as third:
        pykka.ActorRegistry.broadcast("to all", target_class=Noting)
        for each in (one, other, third):
            settle(each)
        assert sorted(received.now(), key=repr) == sorted([(one, "to all"), (other, "to all")], key=repr)
        assert log_of(third).now() == []


def test_pykkas_event_of_a_stopped_actor_is_set_when_it_is_dead() -> None:
    with Driven.start() as server:
        stopped = server.actor_stopped
        assert not stopped.is_set()
        server.stop()
        assert stopped.wait(DEADLINE)
        assert server.actor_stopped.is_set()
