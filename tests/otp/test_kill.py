"""Kill: a fence between an actor and the thread that cannot be killed, and what is left of that thread."""

import asyncio
import contextlib
import gc
import logging
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pykka
import pytest

import gennostr as g
from gennostr import (
    IGNORE,
    KILL,
    KILLED,
    NORMAL,
    TIMEOUT,
    ChildSpec,
    DynamicSupervisor,
    NoReply,
    Ok,
    Registry,
    Reply,
    Stop,
    Supervisor,
)
from gennostr.otp.process import ABANDONED_AFTER
from tests.otp.actors import (
    CALLBACKS,
    DEADLINE,
    FATAL,
    Busy,
    Driven,
    Gate,
    Log,
    Trapping,
    crash_reports,
    errors,
    fail,
    link,
    log_of,
    meanwhile,
    monitor,
    outcome_of,
    pid_of,
    provoke,
    settle,
    threads_left,
    until,
    watching,
    within,
)

FENCE = 0.2  # seconds


def gone(bystander: g.Pid) -> None:
    """Return when no thread of a killed process is left."""
    until(lambda: threads_left(bystander) == 0)


# What is so when a kill has been sent.


@pytest.mark.parametrize("cls", [Driven, Trapping])
def test_a_killed_busy_actor_is_not_alive_and_its_names_and_keys_are_free_at_once(cls: type[Driven]) -> None:
    with Registry.start() as registry:
        busy = Busy(cls=cls)
        named = cls.start(lambda self: Ok(registry.register("key")), name=g.via(registry, "via"))  # type: ignore[func-returns-value]
        with Gate() as gate:
            named.cast(lambda self, state: gate.wait())
            gate.reached()
            for pid in (busy.pid, named):
                pid.exit(KILL)
                assert not pid.is_alive()
                assert pid.process.reason is KILLED
            assert g.whereis("busy") is None
            assert g.whereis(g.via(registry, "via")) is None
            assert registry.select() == []
            assert g.abandoned() == 2
            for target in (busy.pid, named, "busy", g.via(registry, "via")):
                with pytest.raises(g.NoProcess):
                    g.call(target, "request", None)
        busy.leave()


def test_it_takes_less_than_200_ms_until_everybody_knows() -> None:
    def elapsed() -> float:
        busy = Busy()
        with Trapping.start() as other, watching(busy.pid) as reason, Driven.start() as caller:
            link(other, busy.pid)
            log = log_of(other)
            call = caller.send_request(lambda self, from_, state: Reply(outcome_of(lambda: busy.pid.call("request"))))
            until(lambda: g.tree(caller).waits_for)
            began = time.monotonic()
            busy.kill()
            assert log.next() == g.Exit(busy.pid, KILLED)
            assert reason() is KILLED
            assert call.wait().reason is KILLED
            with Driven.start(name="busy"):
                took = time.monotonic() - began
            busy.leave()
        return took

    # The best of a few: a machine may be busy with other things than ours.
    assert any(elapsed() < FENCE for _ in range(5))


@contextlib.contextmanager
def stuck(where: str) -> Iterator[tuple[g.Pid, Gate]]:
    """Give a server that is at the named point of its life until the gate opens; it is killed afterwards."""
    with Driven.start() as other, Gate() as gate:

        def keep(self: Any, from_: Any, state: Any) -> Any:
            gate._reached.set()
            return NoReply()

        def asked(self: Any) -> g.PendingReply:
            return g.send_request(other, keep)

        class Stuck(Trapping):
            def terminate(self, reason: Any, state: Any) -> None:
                gate.wait()

        waits: dict[str, Callable[[Any], Any]] = {
            "call": lambda self: other.call(keep, None),
            "stop": lambda self: Slow.start().stop(),
            "start": lambda self: Driven.start(lambda self: gate.wait(), name="under init"),
            "start_link": lambda self: Driven.start_link(lambda self: gate.wait()),
            "get_state": lambda self: other.get_state(None),
            "the wait for a pending reply": lambda self: asked(self).wait(None),
            "as_completed": lambda self: next(g.as_completed([asked(self)])),
            "call_async": lambda self: asyncio.run(other.call_async(keep, None)),
            "two tasks that call": lambda self: asyncio.run(both(other.call_async, keep)),
            "a future": lambda self: other.ask(keep, block=False).get(),
        }

        async def both(call: Callable[..., Any], keep: Any) -> None:
            await asyncio.gather(call(keep, None), call(keep, None), return_exceptions=True)

        class Slow(Driven):
            def terminate(self, reason: Any, state: Any) -> None:
                gate.wait()

        server: g.Pid = Stuck.start()
        if where in CALLBACKS:
            provoke(server, where, lambda self: gate.wait())
        elif where == "terminate":
            server.stop(block=False)
        elif where == "get_state":
            other.cast(lambda self, state: gate.wait())
            server.cast(lambda self, state: waits[where](self))
        elif where == "idle":
            gate._reached.set()
        elif where == "suspended":
            server.suspend()
            gate._reached.set()
        elif where == "waiting for a timeout":
            server.call(lambda self, from_, state: Reply(1, timeout=1000))
            gate._reached.set()
        else:
            server.cast(lambda self, state: waits[where](self))
        gate.reached()
        yield server, gate
        server.exit(KILL)
        gate.open()
        gone(other)
        if where == "start":  # not linked, it lives
            g.stop("under init")


PLACES = [
    *CALLBACKS, "terminate", "call", "stop", "start", "start_link", "get_state",
    "idle", "suspended", "waiting for a timeout",
]  # fmt: skip


@pytest.mark.parametrize("where", PLACES)
def test_links_monitors_and_callers_are_told_killed_wherever_the_actor_was(where: str) -> None:
    with stuck(where) as (server, _), Trapping.start() as trapping, Driven.start() as caller:
        linked = Driven.start()
        # The server may be busy: the others link to it.
        link(trapping, server)
        link(linked, server)
        ref = monitor(trapping, server)
        call = caller.send_request(lambda self, from_, state: Reply(outcome_of(lambda: server.call(until, None))))
        if where not in ("idle", "waiting for a timeout"):
            until(lambda: g.tree(caller).waits_for)
            server.exit(KILL)
            assert call.wait().reason is KILLED
        else:
            server.exit(KILL)
        assert not server.is_alive()
        log = log_of(trapping)
        found = [log.next(), log.next()]
        assert g.Exit(server, KILLED) in found
        assert g.Down(ref, server, KILLED) in found
        with watching(linked) as reason:
            reason()
        assert linked.process.reason is KILLED
        settle(trapping)
        assert log.now() == []


@pytest.mark.parametrize("where", ["call", "stop", "start", "start_link", "get_state"])
def test_a_killed_actor_that_waits_for_another_unwinds_at_once_and_the_other_is_unharmed(where: str) -> None:
    with stuck(where) as (server, _), Driven.start() as bystander:
        server.exit(KILL)
        gone(bystander)  # though the gate is shut: the other is as busy as it was


@pytest.mark.parametrize(
    "where", ["the wait for a pending reply", "as_completed", "call_async", "two tasks that call", "a future"]
)
def test_a_killed_actor_that_waits_for_a_reply_in_another_way_than_in_a_call_unwinds_at_once_too(where: str) -> None:
    with stuck(where) as (server, _), Driven.start() as bystander:
        server.exit(KILL)
        gone(bystander)


@pytest.mark.parametrize("where", PLACES)
def test_neither_terminate_nor_any_callback_runs_after_a_kill(where: str) -> None:
    with stuck(where) as (server, gate), Driven.start() as bystander:
        log = Log()
        server.send("waiting")
        server.cast(lambda self, state: log.put("waiting"))
        server.exit(KILL)
        server.send("late")
        server.cast(lambda self, state: log.put("late"))
        gate.open()
        gone(bystander)
        assert [each for each in log.now() if each == "late" or where not in ("idle", "waiting for a timeout")] == []


WAITING: dict[str, Callable[[Any], Any]] = {
    "call": lambda server: server.call("request", None),
    "ask": lambda server: server.ask("request"),
    "ask without blocking": lambda server: server.ask("request", block=False).get(timeout=DEADLINE),
    "call_async": lambda server: asyncio.run(server.call_async("request", None)),
    "send_request": lambda server: server.send_request("request").wait(None),
    "as_completed": lambda server: next(g.as_completed([server.send_request("request")])).wait(),
    "a proxy": lambda server: server.proxy().log.get(timeout=DEADLINE),
    "stop": lambda server: server.stop(),
    "get_state": lambda server: server.get_state(None),
    "replace_state": lambda server: server.replace_state(lambda state: 1, None),
    "suspend": lambda server: server.suspend(None),
    "get_status": lambda server: server.get_status(None),
}


@pytest.mark.parametrize("wait", WAITING.values(), ids=WAITING)
def test_whoever_waits_for_a_killed_actor_gets_call_exit_killed(wait: Callable[[Any], Any]) -> None:
    busy = Busy(lambda actor: settled.wait(DEADLINE))
    settled = threading.Event()
    before = busy.pid.process.mailbox.qsize()
    with meanwhile(lambda: wait(busy.pid)) as outcome:
        until(lambda: busy.pid.process.mailbox.qsize() > before)
        busy.kill()
        error = outcome()
    assert isinstance(error, g.CallExit)
    assert error.reason is KILLED
    settled.set()
    busy.leave()


def test_a_call_that_was_being_handled_gets_call_exit_killed() -> None:
    server = Driven.start()
    with (
        Gate() as gate,
        meanwhile(lambda: server.call(lambda self, from_, state: Reply(gate.wait("late")), None)) as outcome,
    ):
        gate.reached()
        server.exit(KILL)
        error = outcome()
    assert isinstance(error, g.CallExit)
    assert error.reason is KILLED


def test_the_mailbox_of_the_killed_is_dropped() -> None:
    class Message:
        pass

    busy = Busy()
    messages = [Message() for _ in range(10)]
    kept = [weakref.ref(message) for message in messages]
    for message in messages:
        busy.pid.send(message)
        busy.pid.cast(message)
    del message
    messages.clear()
    busy.kill()
    late = Message()
    kept.append(weakref.ref(late))
    busy.pid.send(late)
    del late
    gc.collect()
    assert [ref() for ref in kept] == [None] * 11  # though its thread is still in the callback
    busy.leave()


def test_a_replacement_may_run_while_the_old_thread_is_still_busy() -> None:
    busy = Busy()
    busy.kill()
    replacement: g.Pid = Driven.start("new", name="busy")
    with replacement:
        assert g.whereis("busy") == replacement
        assert g.call("busy", lambda self, from_, state: Reply(state)) == "new"
        busy.leave()
        gone(replacement)
        assert g.whereis("busy") == replacement
        assert replacement.get_state() == "new"


def test_a_supervisor_replaces_a_killed_child_while_its_thread_is_still_busy() -> None:
    with Supervisor.start([ChildSpec("child", partial(Driven.start_link, name="child"))]) as supervisor:
        (child,) = supervisor.which_children()
        with Gate() as gate:
            child.pid.cast(lambda self, state: gate.wait())  # type: ignore[union-attr]
            gate.reached()
            child.pid.exit(KILL)  # type: ignore[union-attr]
            again = pid_of(supervisor, "child")
            assert again != child.pid
            assert g.whereis("child") == again
            assert g.abandoned() == 1
        gone(again)


@pytest.mark.parametrize("callback", CALLBACKS)
def test_an_actor_may_kill_itself_and_its_callback_goes_on_fenced(callback: str) -> None:
    outcomes = Log()
    with Driven.start() as receiver:

        def kill(self: Any) -> Any:
            self.pid.exit(KILL)
            outcomes.put((self.pid.is_alive(), g.abandoned()))
            receiver.send("late")
            outcomes.put(outcome_of(lambda: receiver.call("late")))
            return Reply("late", "late")

        server = Trapping.start()
        with watching(server) as reason:
            provoke(server, callback, kill)
            assert reason() in (KILLED, g.NOPROC)
        assert outcomes.next() == (False, 0)
        assert isinstance(outcomes.next(), g.CallExit)
        gone(receiver)
        settle(receiver)
        assert log_of(receiver).now() == []


def test_a_kill_of_the_dead_is_nothing() -> None:
    server = Driven.start()
    server.stop("own")
    server.exit(KILL)
    assert server.process.reason == "own"
    assert g.abandoned() == 0


def test_of_many_kills_at_once_one_is_the_end() -> None:
    cancelled = Log()

    class Cancellable(Driven):
        def on_cancel(self) -> None:
            cancelled.put(threading.current_thread())

    with Gate() as gate, Trapping.start() as other:
        server = Cancellable.start()
        link(other, server)
        monitor(other, server)
        server.cast(lambda self, state: gate.wait())
        gate.reached()
        together = threading.Barrier(8)
        threads = [
            threading.Thread(target=lambda: (together.wait(DEADLINE), server.exit(KILL), server.exit(KILL)))  # type: ignore[func-returns-value]
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        settle(other)
        assert len(log_of(other).now()) == 2
        assert len(cancelled.now()) == 1
        assert g.abandoned() == 1


def test_a_kill_against_a_stop_ends_the_server_once_and_whoever_waits_hears_of_it() -> None:
    with Trapping.start() as other:
        log = log_of(other)
        for _ in range(50):
            server = Driven.start()
            link(other, server)
            with meanwhile(lambda server=server: server.stop("stop")) as stopped:  # type: ignore[misc]
                server.exit(KILL)
                outcome = stopped()
            message = log.next()
            assert message.reason in ("stop", KILLED)
            if message.reason == "stop":
                assert outcome is True
            else:
                assert isinstance(outcome, g.NoProcess) or outcome.reason is KILLED
        settle(other)
        assert log.now() == []


def test_a_kill_that_comes_over_a_link_can_be_trapped_and_else_runs_no_terminate() -> None:
    parent = Driven.start()
    child = within(parent, lambda self: Driven.start_link())
    log = log_of(child)
    with watching(child) as reason:
        parent.exit(KILL)
        assert reason() is KILLED
    assert log.now() == []


def test_a_kill_is_no_crash_report(caplog: pytest.LogCaptureFixture) -> None:
    busy = Busy()
    busy.kill()
    busy.leave()
    assert crash_reports(caplog) == []
    assert errors(caplog) == []


def test_the_killed_are_not_in_pykkas_registry() -> None:
    busy = Busy()
    assert busy.pid in pykka.ActorRegistry.get_all()
    busy.kill()
    assert busy.pid not in pykka.ActorRegistry.get_all()
    busy.leave()


# What the abandoned thread does later has no effect.


class World(SimpleNamespace):
    """What an abandoned thread can lay its hands on; `untouched` is true as long as it has not changed anything."""

    receiver: Any
    registry: Any
    supervisor: Any
    dynamic: Any
    replacement: Any
    from_: Any
    ref: Any
    timer: Any

    def untouched(self) -> bool:
        settle(self.receiver)
        settle(self.replacement)
        spec_ids = [child.id for child in self.supervisor.which_children()]
        return (
            log_of(self.receiver).now() == []
            and log_of(self.replacement).now() == []
            and self.receiver.get_state() == "the state"
            and self.receiver.get_status().status == "running"
            and self.registry.select() == [("key", self.replacement, "value")]
            and g.whereis("busy") is self.replacement
            and g.whereis("late") is None
            and spec_ids == ["child"]
            and self.supervisor.count_children().active == 1
            and self.dynamic.count_children().specs == 0
            and self.links() == (0, 0, 2)  # the pending call, and the one that asks
        )

    def links(self) -> Any:
        return within(
            self.receiver,
            lambda actor: tuple(len(getattr(actor.pid.process, each)) for each in ("links", "monitors", "watchers")),
        )


@contextlib.contextmanager
def world() -> Iterator[tuple[World, Any]]:
    """Give the world, and an unanswered call of the receiver."""
    with (
        Driven.start("the state", name="receiver") as receiver,
        Registry.start(name="registry") as registry,
        Supervisor.start([ChildSpec("child", Driven.start_link)]) as supervisor,
        DynamicSupervisor.start() as dynamic,
    ):
        pending = receiver.send_request(lambda self, from_, state: NoReply(self.log.put(from_) or state))
        from_ = log_of(receiver).next()
        timer = g.send_after(1000, receiver, "due")
        yield (
            World(
                receiver=receiver, registry=registry, supervisor=supervisor, dynamic=dynamic, from_=from_, timer=timer
            ),
            pending,
        )
        assert g.cancel_timer(timer) is not None  # nobody has cancelled it before
        g.reply(from_, "in time")
        assert pending.wait() == "in time"


SILENT: dict[str, Callable[[World, Any], Any]] = {
    "reply": lambda world, actor: g.reply(world.from_, "late"),
    "send": lambda world, actor: world.receiver.send("late"),
    "send, by name": lambda world, actor: g.send("receiver", "late"),
    "pykka's send": lambda world, actor: world.receiver.tell("late"),
    "cast": lambda world, actor: world.receiver.cast(lambda self, state: NoReply("late")),
    "cast, by name": lambda world, actor: g.cast("receiver", lambda self, state: Stop("late")),
    "exit": lambda world, actor: world.receiver.exit("late"),
    "exit, normal": lambda world, actor: world.replacement.exit(NORMAL),
    "kill": lambda world, actor: world.receiver.exit(KILL),
    "exit of itself": lambda world, actor: actor.pid.exit("late"),
    "kill of itself": lambda world, actor: actor.pid.exit(KILL),
    "send to itself": lambda world, actor: actor.pid.send("late"),
    "trap_exit": lambda world, actor: setattr(actor, "trap_exit", False),
    "broadcast": lambda world, actor: pykka.ActorRegistry.broadcast("late"),
}
"""What is silently nothing."""

REFUSED: dict[str, Callable[[World, Any], Any]] = {
    "link": lambda world, actor: g.link(world.receiver),
    "link, by name": lambda world, actor: g.link("receiver"),
    "unlink": lambda world, actor: g.unlink(world.receiver),
    "monitor": lambda world, actor: g.monitor(world.receiver),
    "monitor of nobody": lambda world, actor: g.monitor("nobody"),
    "demonitor": lambda world, actor: g.demonitor(world.ref),
    "register": lambda world, actor: world.registry.register("late"),
    "unregister": lambda world, actor: world.registry.unregister("key"),
    "update_value": lambda world, actor: world.registry.update_value("key", lambda value: "late"),
    "call": lambda world, actor: world.receiver.call(lambda self, from_, state: Reply(1, "late")),
    "call, by name": lambda world, actor: g.call("receiver", lambda self, from_, state: Reply(1, "late")),
    "ask": lambda world, actor: world.receiver.ask(lambda self, from_, state: Reply(1, "late")),
    "call_async": lambda world, actor: asyncio.run(
        world.receiver.call_async(lambda self, from_, state: Reply(1, "late"))
    ),
    "send_request": lambda world, actor: world.receiver.send_request(lambda self, from_, state: Reply(1, "late")),
    "get_state": lambda world, actor: world.receiver.get_state(),
    "replace_state": lambda world, actor: world.receiver.replace_state(lambda state: "late"),
    "suspend": lambda world, actor: world.receiver.suspend(),
    "resume": lambda world, actor: world.receiver.resume(),
    "stop": lambda world, actor: world.receiver.stop(),
    "stop, by name": lambda world, actor: g.stop("receiver"),
    "send_after": lambda world, actor: g.send_after(0, world.receiver, "late"),
    "cancel_timer": lambda world, actor: g.cancel_timer(world.timer),
    "start": lambda world, actor: Driven.start(name="late"),
    "start_link": lambda world, actor: Driven.start_link(name="late"),
    "start of a registry": lambda world, actor: Registry.start(name="late"),
    "start of a supervisor": lambda world, actor: Supervisor.start([Driven], name="late"),
    "start_child": lambda world, actor: world.supervisor.start_child(ChildSpec("late", Driven.start_link)),
    "start_child, dynamic": lambda world, actor: world.dynamic.start_child(ChildSpec("late", Driven.start_link)),
    "terminate_child": lambda world, actor: world.supervisor.terminate_child("child"),
    "call of itself": lambda world, actor: actor.pid.call("late"),
    "stop of itself": lambda world, actor: actor.pid.stop(),
}
"""What raises CallExit, which unwinds the callback."""

UNSAID: dict[str, Callable[[World, Any], Any]] = {
    "stop without waiting": lambda world, actor: world.receiver.stop(block=False),
    "stop, as pykka's": lambda world, actor: world.receiver.stop(block=True),
    "self.stop": lambda world, actor: actor.stop(),
    "ask without blocking": lambda world, actor: world.receiver.ask(
        lambda self, from_, state: Reply(1, "late"), block=False
    ),
    "a proxy's attribute": lambda world, actor: setattr(world.receiver.proxy(), "late", 1),
    "a proxy's call": lambda world, actor: world.receiver.proxy().terminate("late", None),
    "cast to nobody": lambda world, actor: g.cast("nobody", "late"),
}
"""What may do either, as long as it has no effect."""


@pytest.mark.parametrize(
    ("effect", "refused"),
    [
        *[pytest.param(effect, False, id=name) for name, effect in SILENT.items()],
        *[pytest.param(effect, True, id=name) for name, effect in REFUSED.items()],
        *[pytest.param(effect, None, id=name) for name, effect in UNSAID.items()],
    ],
)
def test_nothing_that_an_abandoned_thread_does_has_an_effect(effect: Callable[[World, Any], Any], refused: Any) -> None:
    with world() as (there, _):
        busy = Busy(lambda actor: effect(there, actor))
        busy.kill()
        with Driven.start(lambda self: Ok(there.registry.register("key", "value")), name="busy") as replacement:
            there.replacement, there.ref = replacement, monitor(replacement, there.receiver)
            within(replacement, lambda self: g.demonitor(there.ref))
            outcome = busy.leave()
            gone(there.receiver)
            assert there.untouched()
            assert not isinstance(getattr(there.receiver.process.actor.server, "late", None), int)
        if refused is not None:
            assert isinstance(outcome, g.CallExit) == refused
        if refused:
            assert outcome.reason is KILLED
            assert outcome.target is busy.pid


OUTCOMES: dict[str, Any] = {
    "nothing": lambda: None,
    "a new state": lambda: NoReply("late"),
    "a stop": lambda: Stop("late", "late"),
    "a stop with a reply": lambda: Stop("late", reply="late"),
    "a reply": lambda: Reply("late", "late"),
    "a continue": lambda: NoReply(continue_=lambda self, state: self.log.put("late")),
    "a reply and a continue": lambda: Reply("late", continue_=lambda self, state: self.log.put("late")),
    "a timeout": lambda: NoReply(timeout=0),
    "hibernate": lambda: NoReply(hibernate=True),
    "a bad return value": lambda: 3,
    "IGNORE": lambda: IGNORE,
    "an exception": lambda: fail(ValueError("late")),
    "SystemExit": lambda: fail(SystemExit("late")),
    "KeyboardInterrupt": lambda: fail(KeyboardInterrupt("late")),
    "a call error": lambda: fail(g.CallExit("late")),
}


@pytest.mark.parametrize("outcome", OUTCOMES.values(), ids=OUTCOMES)
@pytest.mark.parametrize("callback", CALLBACKS)
def test_nothing_that_the_callback_of_a_killed_actor_comes_to_has_an_effect(
    callback: str, outcome: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    with Driven.start() as bystander, Gate() as gate:
        server = Trapping.start("the state", name="killed")
        log = log_of(server)
        pending = provoke(server, callback, lambda self: gate.wait() or outcome())
        gate.reached()
        server.exit(KILL)
        with Driven.start(name="killed") as replacement:
            gate.open()
            gone(bystander)
            assert g.whereis("killed") is replacement
        assert log.now() == []
        if pending is not None:
            error = outcome_of(pending.wait)
            assert isinstance(error, g.CallExit)
            assert error.reason is KILLED
        assert server.process.reason is KILLED
        assert crash_reports(caplog) == []
        assert errors(caplog) == []


@pytest.mark.parametrize("outcome", [Ok("late"), IGNORE, Stop("late"), 3, ValueError("late")], ids=repr)
def test_nothing_that_the_init_of_a_killed_actor_comes_to_has_an_effect(
    outcome: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with Driven.start() as bystander, Gate() as gate:

        def init(self: Any) -> Any:
            gate.wait()
            return fail(outcome) if isinstance(outcome, Exception) else outcome

        with meanwhile(lambda: Driven.start(init, name="early")) as started:
            gate.reached()
            early = g.whereis("early")
            assert early is not None
            early.exit(KILL)
            error = started()
        assert isinstance(error, g.StartError)
        assert error.reason is KILLED
        with Driven.start(name="early") as replacement:
            gate.open()
            gone(bystander)
            assert g.whereis("early") is replacement
        assert crash_reports(caplog) == []


def test_an_abandoned_thread_may_still_look() -> None:
    """What has no effect needs no fence."""

    def look(actor: Any) -> Any:
        found.put((actor.pid.is_alive(), g.whereis("receiver"), receiver.is_alive(), g.abandoned(), repr(actor.pid)))

    found = Log()
    with Driven.start(name="receiver") as receiver:
        busy = Busy(look)
        busy.kill()
        assert busy.leave() is None
        assert found.next() == (False, receiver, True, 1, repr(busy.pid))


def test_a_call_error_that_unwinds_an_abandoned_thread_ends_it() -> None:
    """No check is needed in the callback: the first call after it leads out of the callback."""
    with Driven.start() as receiver, Gate() as gate:
        reached: list[str] = []

        def work(self: Any, state: Any) -> None:
            gate.wait()
            receiver.call(lambda self, from_, state: Reply(1))
            reached.append("behind the fence")

        server = Driven.start()
        server.cast(work)
        gate.reached()
        server.exit(KILL)
        gate.open()
        gone(receiver)
        assert reached == []


def test_who_was_started_by_an_actor_without_a_link_survives_its_kill() -> None:
    busy = Busy()
    starter = Driven.start()
    with within(starter, lambda self: Driven.start()) as other:
        starter.exit(KILL)
        settle(other)
    busy.kill()
    busy.leave()


def test_a_timer_that_a_killed_actor_has_set_for_itself_vanishes_and_one_for_another_comes() -> None:
    with Driven.start() as receiver:
        server = Driven.start()
        within(server, lambda self: (g.send_after(0.01, self.pid, "own"), g.send_after(0.02, receiver, "other's")))
        server.exit(KILL)
        assert log_of(receiver).next() == "other's"


# Waiting in a call.


def test_a_killed_actor_that_waits_in_a_call_is_woken_and_the_late_reply_reaches_nobody() -> None:
    with Driven.start() as server:
        outcomes = Log()
        caller = Driven.start()

        def ask(self: Any, state: Any) -> None:
            keep = lambda self, from_, state: NoReply(self.log.put(from_))  # noqa: E731
            outcomes.put(outcome_of(lambda: server.call(keep, None)))

        caller.cast(ask)
        from_ = log_of(server).next()
        caller.exit(KILL)
        error = outcomes.next()
        assert isinstance(error, g.CallExit)
        assert error.reason is KILLED
        g.reply(from_, "late")
        gone(server)
        assert server.call(lambda self, from_, state: Reply("own")) == "own"


def test_killed_in_a_start_link_it_takes_the_one_under_init_with_it() -> None:
    with Gate() as gate, Driven.start() as bystander:
        starter = Driven.start()
        starter.cast(lambda self, state: Driven.start_link(lambda self: gate.wait(), name="early") and None)  # type: ignore[truthy-bool]
        gate.reached()
        early = g.whereis("early")
        assert early is not None
        with watching(early) as reason:
            starter.exit(KILL)
            assert not starter.is_alive()
            gate.open()
            assert reason() is KILLED
        gone(bystander)


@pytest.mark.parametrize("kill", ["the first", "the last"])
def test_a_kill_in_a_chain_of_calls_unwinds_it_from_there(kill: str) -> None:
    """Each waits for the next, and the last for ever."""
    with Driven.start() as silent, Driven.start() as bystander:
        chain = [Driven.start() for _ in range(5)]

        def ask(targets: list[g.Pid]) -> Any:
            if not targets:
                return silent.call(lambda self, from_, state: NoReply(), None)
            first, *rest = targets
            return first.call(lambda self, from_, state: Reply(ask(rest)), None)

        with meanwhile(lambda: ask(chain)) as outcome:
            until(lambda: g.tree(chain[-1]).waits_for is silent)
            victim = chain[0] if kill == "the first" else chain[-1]
            victim.exit(KILL)
            reason = outcome()
            for _ in range(len(chain) if kill == "the last" else 1):
                assert isinstance(reason, g.CallExit)
                reason = reason.reason
            assert reason is KILLED
        for each in chain:
            each.exit(KILL)
        gone(bystander)


# on_cancel.


class Cancellable(Driven):
    """Calls ``state(self)`` when it is killed."""

    def init(self, init_arg: Any) -> Any:
        self.cancelled = init_arg
        return super().init(None)

    def on_cancel(self) -> None:
        self.cancelled(self)


def busy_in(server: g.Pid, gate: Gate) -> None:
    server.cast(lambda self, state: gate.wait())
    gate.reached()


def test_on_cancel_runs_in_the_killers_thread_when_all_else_is_done_and_can_unblock_the_callback() -> None:
    with Gate() as gate, Trapping.start() as other:
        found = Log()

        def cancel(self: Any) -> None:
            found.put((threading.current_thread(), self.pid.is_alive(), g.whereis("cancellable")))
            gate.open()

        server = Cancellable.start(cancel, name="cancellable")
        link(other, server)
        busy_in(server, gate)
        server.exit(KILL)
        assert found.now() == [(threading.current_thread(), False, None)]
        gone(other)
        assert log_of(other).now() == [g.Exit(server, KILLED)]


def test_on_cancel_runs_in_the_thread_of_an_actor_that_kills_and_acts_for_that_one() -> None:
    with Gate() as gate, Trapping.start() as killer:
        found = Log()

        def cancel(self: Any) -> None:
            found.put(threading.current_thread())
            killer.send("from on_cancel")
            found.put(outcome_of(lambda: killer.call(1)))

        server = Cancellable.start(cancel)
        busy_in(server, gate)
        within(killer, lambda self: server.exit(KILL))
        assert found.next() is within(killer, lambda self: threading.current_thread())
        assert isinstance(found.next(), g.CallingSelf)
        assert log_of(killer).next() == "from on_cancel"


def test_on_cancel_of_a_child_runs_in_the_thread_of_the_supervisor_that_kills_it() -> None:
    with Gate() as gate:
        found = Log()
        spec = ChildSpec(
            "child",
            partial(Cancellable.start_link, lambda self: found.put(threading.current_thread())),
            shutdown="brutal_kill",
        )
        with Supervisor.start([spec]) as supervisor:
            (child,) = supervisor.which_children()
            busy_in(child.pid, gate)  # type: ignore[arg-type]
            supervisor.terminate_child("child")
            assert found.next().ident == supervisor.process.thread
            assert not child.pid.is_alive()  # type: ignore[union-attr]


def test_on_cancel_runs_where_a_start_timed_out() -> None:
    with Gate() as gate:
        found = Log()

        class Slow(Driven):
            def init(self, init_arg: Any) -> Any:
                gate.wait()

            def on_cancel(self) -> None:
                found.put(threading.current_thread())
                gate.open()

        with pytest.raises(g.StartError) as caught:
            Slow.start(timeout=0.02)
        assert caught.value.reason is TIMEOUT
        assert found.now() == [threading.current_thread()]


@pytest.mark.parametrize("where", ["handle_cast", "terminate", "idle"])
def test_on_cancel_runs_once_wherever_the_actor_was(where: str) -> None:
    with Gate() as gate, Driven.start() as bystander:
        found = Log()

        class Ending(Cancellable):
            def terminate(self, reason: Any, state: Any) -> None:
                gate.wait()

        server = Ending.start(lambda self: found.put("cancelled"))
        if where == "handle_cast":
            busy_in(server, gate)
        elif where == "terminate":
            server.stop(block=False)
            gate.reached()
        for _ in range(3):
            server.exit(KILL)
        gate.open()
        gone(bystander)
        assert found.now() == ["cancelled"]


@pytest.mark.parametrize(
    "end",
    [
        lambda server: server.stop(),
        lambda server: server.exit("signal"),
        lambda server: server.cast(lambda self, state: 1 / 0),
        lambda server: server.stop(KILL),
    ],
    ids=["stop", "exit signal", "crash", "stop with KILL"],
)
def test_on_cancel_runs_at_no_other_end(end: Callable[[Any], Any]) -> None:
    found = Log()
    server = Cancellable.start(lambda self: found.put("cancelled"))
    with watching(server) as reason:
        end(server)
        reason()
    assert found.now() == []


@pytest.mark.parametrize("kind", [ValueError, StopIteration, *FATAL])
@pytest.mark.parametrize("by", ["thread", "actor"])
def test_an_on_cancel_that_raises_harms_nobody_and_is_logged_once(
    by: str, kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    with Gate() as gate, Trapping.start() as other:
        server = Cancellable.start(lambda self: fail(kind("in on_cancel")), name="raising")
        link(other, server)
        busy_in(server, gate)
        with watching(server) as reason:
            if by == "thread":
                server.exit(KILL)
            else:
                within(other, lambda self: server.exit(KILL))
            assert reason() in (KILLED, g.NOPROC)
        assert g.whereis("raising") is None
        assert g.abandoned() == 1
        (record,) = errors(caplog)
        assert record.name.startswith("gennostr.")
        assert "on_cancel" in record.getMessage()
        assert record.exc_info is not None
        assert isinstance(record.exc_info[1], kind)
        assert log_of(other).next() == g.Exit(server, KILLED)


def test_an_on_cancel_without_end_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    class Endless(Driven):
        def on_cancel(self) -> None:
            self.on_cancel()

    server = Endless.start()
    server.exit(KILL)
    assert not server.is_alive()
    (record,) = errors(caplog)
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], RecursionError)


def test_an_on_cancel_may_kill_another() -> None:
    with Gate() as one_gate, Gate() as other_gate, Driven.start() as bystander:
        other = Cancellable.start(lambda self: other_gate.open())
        one = Cancellable.start(lambda self: (other.exit(KILL), one_gate.open()))  # type: ignore[func-returns-value]
        busy_in(one, one_gate)
        busy_in(other, other_gate)
        one.exit(KILL)
        assert not other.is_alive()
        gone(bystander)


def test_a_killer_that_its_victims_on_cancel_kills_is_dead_and_fenced() -> None:
    with Driven.start() as receiver:
        killer = Driven.start()
        victim = Cancellable.start(lambda self: killer.exit(KILL))

        def kill(self: Any, state: Any) -> None:
            victim.exit(KILL)
            receiver.send("late")

        killer.cast(kill)
        with watching(killer) as reason:
            reason()
        assert killer.process.reason is KILLED
        assert victim.process.reason is KILLED
        gone(receiver)
        settle(receiver)
        assert log_of(receiver).now() == []


# The thread that is left.


def test_the_threads_that_are_left_are_counted_until_they_end() -> None:
    with Driven.start() as bystander, contextlib.ExitStack() as stack:
        gates = [stack.enter_context(Gate()) for _ in range(3)]
        servers = [Driven.start() for _ in gates]
        for count, (server, gate) in enumerate(zip(servers, gates, strict=True), 1):
            busy_in(server, gate)
            server.exit(KILL)
            server.exit(KILL)
            assert g.abandoned() == count
        for count, gate in enumerate(gates, 1):
            gate.open()
            until(lambda count=count: threads_left(bystander) == 3 - count)  # type: ignore[misc]
            assert g.abandoned() == 3 - count


def test_the_thread_of_a_killed_actor_that_was_idle_ends_by_itself() -> None:
    with Driven.start() as bystander:
        servers = [Driven.start() for _ in range(10)]
        threads = [within(server, lambda self: threading.current_thread()) for server in servers]
        for server in servers:
            server.exit(KILL)
        gone(bystander)
        for thread in threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()


def test_the_thread_ends_when_its_callback_does() -> None:
    with Gate() as gate:
        server = Driven.start()
        thread = within(server, lambda self: threading.current_thread())
        busy_in(server, gate)
        server.exit(KILL)
        assert thread.is_alive()
        gate.open()
        thread.join(DEADLINE)
        assert not thread.is_alive()


def test_the_state_of_a_killed_actor_is_let_go_when_its_thread_has_ended() -> None:
    class State:
        pass

    with Gate() as gate, Driven.start() as bystander:
        server = Driven.start(lambda self: Ok(State()))
        state = weakref.ref(server.get_state())
        busy_in(server, gate)
        server.exit(KILL)
        gate.open()
        gone(bystander)
        until(lambda: (gc.collect(), state() is None)[1])


class Records(logging.Handler):
    """Keeps the records of the library from WARNING on, for tests that wait for them."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.log: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()

    def emit(self, record: logging.LogRecord) -> None:
        self.log.put(record)

    def __enter__(self) -> "queue.SimpleQueue[logging.LogRecord]":
        logging.getLogger("gennostr").addHandler(self)
        return self.log

    def __exit__(self, *details: object) -> None:
        logging.getLogger("gennostr").removeHandler(self)


def test_a_thread_that_is_still_busy_after_a_while_is_logged_exactly_once_and_names_the_actor() -> None:
    with Records() as log, Gate() as gate, Driven.start() as bystander:
        server = Driven.start(name="stuck for long")
        busy_in(server, gate)
        began = time.monotonic()
        for _ in range(3):
            server.exit(KILL)
        record = log.get(timeout=DEADLINE)
        assert time.monotonic() - began >= ABANDONED_AFTER
        assert record.levelno == logging.WARNING
        assert record.name.startswith("gennostr.")
        assert "'stuck for long'" in record.getMessage()
        assert g.abandoned() == 1
        # A second one would be due before this.
        g.send_after(ABANDONED_AFTER, bystander, "later")
        assert log_of(bystander).next() == "later"
        gate.open()
        gone(bystander)
        assert log.empty()


def test_each_thread_that_is_still_busy_is_logged() -> None:
    with Records() as log, contextlib.ExitStack() as gates:
        servers = [Driven.start() for _ in range(3)]
        for server in servers:  # each at a gate of its own: an empty mailbox does not say that the callback has begun
            busy_in(server, gates.enter_context(Gate()))
            server.exit(KILL)
        texts = [log.get(timeout=DEADLINE).getMessage() for _ in servers]
        for server in servers:
            assert sum(repr(server) in text for text in texts) == 1


def test_a_thread_that_ends_soon_is_not_logged() -> None:
    with Records() as log, Driven.start() as bystander:
        began = time.monotonic()
        for _ in range(10):
            server = Driven.start()
            with Gate() as gate:
                busy_in(server, gate)
                server.exit(KILL)
            Driven.start().exit(KILL)
        gone(bystander)
        soon = time.monotonic() - began < ABANDONED_AFTER
        timers = "gennostr-timers"
        until(lambda: all(thread.name != timers for thread in threading.enumerate()))  # nothing is due any more
        assert log.empty() or not soon
