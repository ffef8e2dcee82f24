"""The actor that pykka's own suite is run on, and the list of what may fail there; the suite itself needs PyPI."""

from typing import Any

from tests.otp.actors import DEADLINE, Log, outcome_of, watching
from tests.otp.pykka_suite import DIFFERENCES, PykkaActor


class Noting(PykkaActor):
    def __init__(self, log: Log, *, fails: bool = False) -> None:
        super().__init__()
        self.log = log
        self.fails = fails

    def on_start(self) -> None:
        self.log.put("on_start")
        if self.fails:
            raise ValueError("on_start")

    def on_receive(self, message: Any) -> Any:
        self.log.put(message)
        if isinstance(message, BaseException):
            raise message
        return "received"

    def on_stop(self) -> None:
        self.log.put("on_stop")

    def on_failure(self, kind: Any, error: Any, trace: Any) -> None:
        self.log.put(("on_failure", kind, error))


def test_pykkas_callbacks_are_called_in_its_order() -> None:
    log = Log()
    actor = Noting.start(log)
    actor.tell("sent")
    assert actor.ask("asked", timeout=DEADLINE) == "received"
    assert actor.actor_class.__name__ == "Noting"
    assert issubclass(actor.actor_class, Noting)
    actor.stop(timeout=DEADLINE)
    assert log.now() == ["on_start", "sent", "asked", "on_stop"]


def test_an_exception_calls_on_failure() -> None:
    log = Log()
    error = ValueError("no")
    actor = Noting.start(log)
    with watching(actor) as reason:
        actor.tell(error)
        assert reason() is error
    assert log.now() == ["on_start", error, ("on_failure", ValueError, error)]


def test_what_is_not_an_exception_calls_on_stop() -> None:
    """As pykka has it, for which that is a request to stop."""
    log = Log()
    error = KeyboardInterrupt()
    actor = Noting.start(log)
    with watching(actor) as reason:
        actor.tell(error)
        assert reason() is error
    assert log.now() == ["on_start", error, "on_stop"]


def test_start_returns_though_on_start_fails() -> None:
    log = Log()
    actor = Noting.start(log, fails=True)
    assert log.next() == "on_start"
    assert log.next()[:2] == ("on_failure", ValueError)
    outcome_of(lambda: actor.stop(timeout=DEADLINE))  # it is dead afterwards, whatever this says of it
    assert not actor.is_alive()


def test_the_list_is_short_and_gives_its_reasons() -> None:
    assert len(DIFFERENCES) <= 20
    assert all(difference.reason for difference in DIFFERENCES.values())
