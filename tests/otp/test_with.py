"""Leaving ``with Server.start() as pid:``: what is raised, and what is not."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

import gennostr as g
from gennostr import KILL, SHUTDOWN, Stop
from tests.otp.actors import Driven, fail, outcome_of, watching, within


class Untidy(Driven):
    """Raises in terminate."""

    def terminate(self, reason: Any, state: Any) -> None:
        raise KeyError("in terminate")


def leave_after(body: Callable[[g.Pid], object], server: Any = Driven) -> Any:
    """Return what leaving ``with`` raises, or None."""
    try:
        with server.start() as pid:
            body(pid)
    except BaseException as error:
        return error


def die_by(message: Callable[[g.Pid], object]) -> Callable[[g.Pid], object]:
    """Do something that ends a server, and wait for its end."""

    def body(pid: g.Pid) -> None:
        with watching(pid) as ended:
            message(pid)
            ended()

    return body


def test_the_exception_of_the_body_is_not_replaced_by_one_of_terminate() -> None:
    error = ValueError("the body's own")
    assert leave_after(lambda pid: fail(error), Untidy) is error


def test_an_error_in_terminate_leaves_a_with_statement_that_raised_nothing() -> None:
    error = leave_after(lambda pid: None, Untidy)
    assert isinstance(error, g.CallExit)
    assert isinstance(error.reason, KeyError)


CRASHES: dict[str, Callable[[g.Pid], object]] = {
    "a crash": lambda pid: pid.cast(lambda self, state: fail(ZeroDivisionError())),
    "an unclean stop": lambda pid: pid.cast(lambda self, state: Stop("bad")),
    "the crash of a linked process": lambda pid: within(
        pid, lambda self: Driven.start_link().cast(lambda self, state: fail(ZeroDivisionError()))
    ),
    "a crash that nobody waited for": lambda pid: pid.send_request(lambda *_: fail(ZeroDivisionError())),
}


@pytest.mark.parametrize("crash", CRASHES.values(), ids=CRASHES)
def test_an_unclean_end_in_the_body_is_raised_where_a_with_statement_is_left(crash: Callable[[g.Pid], object]) -> None:
    error = leave_after(die_by(crash))
    assert isinstance(error, g.CallExit)
    assert isinstance(error.reason, ZeroDivisionError) or error.reason == "bad"


KNOWN: dict[str, Callable[[g.Pid], object]] = {
    "a clean end": die_by(lambda pid: pid.cast(lambda self, state: Stop(SHUTDOWN))),
    "a stop": lambda pid: pid.stop("bad"),
    "a kill": lambda pid: pid.exit(KILL),
    "an exit signal": die_by(lambda pid: pid.exit("bad")),
    "a call that raised it": lambda pid: outcome_of(lambda: pid.call(lambda *_: fail(ZeroDivisionError()))),
    "a pending reply that raised it": lambda pid: outcome_of(
        pid.send_request(lambda *_: fail(ZeroDivisionError())).wait
    ),
}


@pytest.mark.parametrize("body", KNOWN.values(), ids=KNOWN)
def test_an_end_that_is_clean_or_known_is_not_raised_where_a_with_statement_is_left(
    body: Callable[[g.Pid], object],
) -> None:
    assert leave_after(body) is None


def test_a_with_statement_of_a_supervisor_is_left_in_the_same_way() -> None:
    def crash(pid: Any) -> None:
        with watching(pid) as ended:
            pid.stop("bad", block=False)
            ended()

    error = leave_after(crash, SimpleNamespace(start=lambda: g.Supervisor.start([])))
    assert isinstance(error, g.CallExit)
    assert error.reason == "bad"
