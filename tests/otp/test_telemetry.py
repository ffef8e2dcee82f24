"""Telemetry: each event is emitted once, as its table says; without handlers, none is built."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

import gennostr as g
from gennostr import KILL, Reply, Supervisor, telemetry
from tests.otp.actors import DEADLINE, Driven, Log, fail, settle


class Events:
    """Keeps the events that it gets."""

    def __init__(self) -> None:
        self.log: Log = Log()

    def __call__(self, name: str, measurements: Any, metadata: Any) -> None:
        self.log.put((name, dict(measurements), dict(metadata)))

    def next(self, *names: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """The next event of one of these names; others are passed over."""
        while True:
            event: tuple[str, dict[str, Any], dict[str, Any]] = self.log.next()
            if event[0] in names:
                return event


@pytest.fixture
def events() -> Iterator[Events]:
    handler = Events()
    telemetry.attach(handler)
    yield handler
    telemetry.detach(handler)


def test_the_start_and_the_stop_of_an_actor_are_told(events: Events) -> None:
    with Driven.start() as server:
        name, measurements, metadata = events.next("actor.start")
        assert measurements["duration"] >= 0
        assert metadata == {"pid": server, "parent": None}
    name, measurements, metadata = events.next("actor.stop", "actor.crash")
    assert name == "actor.stop"
    assert measurements["lifetime"] > 0
    assert metadata == {"pid": server, "reason": g.NORMAL}


@pytest.mark.parametrize("reason", ["reason", ValueError("error")])
def test_an_unclean_end_is_a_crash(events: Events, reason: object) -> None:
    server = Driven.start()
    server.stop(reason)
    name, _, metadata = events.next("actor.stop", "actor.crash")
    assert (name, metadata) == ("actor.crash", {"pid": server, "reason": reason})


def test_a_kill_is_a_crash(events: Events) -> None:
    server = Driven.start()
    server.exit(KILL)
    name, _, metadata = events.next("actor.stop", "actor.crash")
    assert (name, metadata["reason"]) == ("actor.crash", g.KILLED)


def test_a_start_that_fails_is_told_as_a_crash_without_a_start(events: Events) -> None:
    with pytest.raises(g.StartError):
        Driven.start(lambda self: fail(ValueError("init")))
    assert events.next("actor.start", "actor.crash")[0] == "actor.crash"


def test_a_restart_is_told_with_its_supervisor_id_new_pid_and_reason(events: Events) -> None:
    with Supervisor.start([g.ChildSpec("child", Driven.start_link)]) as supervisor:
        for restarts in (1, 2):
            (child,) = supervisor.which_children()
            child.pid.exit("reason")  # type: ignore[union-attr]
            _, measurements, metadata = events.next("supervisor.restart")
            (again,) = supervisor.which_children()
            assert measurements == {"restarts": restarts}
            assert metadata == {"supervisor": supervisor, "id": "child", "pid": again.pid, "reason": "reason"}


def test_a_call_is_told_with_its_duration_and_outcome(events: Events) -> None:
    def stop(self: Any, from_: Any, state: Any) -> Any:
        return g.Stop("reason")

    def silence(self: Any, from_: Any, state: Any) -> Any:
        return g.NoReply()

    def answer(self: Any, from_: Any, state: Any) -> Any:
        return Reply(1)

    server = Driven.start()
    server.call(answer)
    with pytest.raises(g.CallTimeout):
        server.call(silence, 0.01)
    with pytest.raises(g.CallExit):
        server.call(stop)
    for request, outcome in ((answer, "reply"), (silence, "timeout"), (stop, "exit")):
        _, measurements, metadata = events.next("call")
        assert measurements["duration"] > 0
        assert metadata == {"target": server, "request": request, "outcome": outcome}


def test_a_mailbox_that_grows_is_told_at_its_high_water_and_when_it_has_doubled(events: Events) -> None:
    go = threading.Event()
    with Driven.start() as server:
        server.cast(lambda self, state: go.wait(DEADLINE) and None)
        for _ in range(200):
            server.send("message")
        go.set()
        settle(server)
        _, measurements, metadata = events.next("mailbox.high_water")
        assert metadata == {"pid": server}
        first = measurements["length"]
        assert telemetry.HIGH_WATER <= first <= 201
        assert "mailbox.high_water" not in [name for name, _, _ in events.log.now()]


def test_a_handler_that_raises_is_detached_and_logged_once_and_harms_nobody(
    events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(name: str, measurements: Any, metadata: Any) -> None:
        raise SystemExit

    telemetry.attach(failing)
    with Driven.start() as server:
        settle(server)
        settle(server)
    assert [record.getMessage().count("failing") for record in caplog.records] == [1]
    assert events.next("actor.stop")


def test_a_handler_that_is_attached_twice_is_told_once_and_detaching_is_idempotent(events: Events) -> None:
    telemetry.attach(events)
    Driven.start().stop()
    assert [name for name, _, _ in events.log.now()] == ["actor.start", "actor.stop"]
    telemetry.detach(events)
    telemetry.detach(events)
    Driven.start().stop()
    assert events.log.now() == []


def test_a_handler_that_cannot_be_called_is_refused() -> None:
    handler: Any = "handler"
    with pytest.raises(TypeError, match="'handler'"):
        telemetry.attach(handler)


def test_attaching_from_many_threads_loses_none() -> None:
    handlers = [Events() for _ in range(50)]
    threads = [threading.Thread(target=telemetry.attach, args=(each,)) for each in handlers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert set(handlers) <= set(telemetry.handlers)
    finally:
        for each in handlers:
            telemetry.detach(each)
    assert not telemetry.handlers
