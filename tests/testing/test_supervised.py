"""Servers of a test, and the crashes that it expects; the fixture has a file of its own."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

import gennostr as g
from gennostr import CallExit, Ok, Reply
from gennostr.testing import ExpectedCrash, Supervised


class Fragile(g.GenServer[Any]):
    def init(self, init_arg: Any) -> Any:
        return Ok(init_arg)

    def handle_call(self, request: Any, from_: Any, state: Any) -> Any:
        if isinstance(request, Exception):
            raise request
        return Reply(state)

    def handle_cast(self, request: Any, state: Any) -> Any:
        raise request


@pytest.fixture
def servers() -> Iterator[Supervised]:
    """Supervised servers whose unexpected crashes are the test's business."""
    supervised = Supervised()
    yield supervised
    supervised.end()


def test_a_crash_can_be_expected_before_it_happens(servers: Supervised) -> None:
    server = servers(Fragile, "state")
    with servers.crashes(ValueError) as crash:
        assert "not yet" in repr(crash)
        with pytest.raises(AssertionError, match="when the `with` statement has ended"):
            _ = crash.report
        server.cast(ValueError("boom"))
    assert isinstance(crash, ExpectedCrash)
    assert (crash.report.pid, crash.report.state) == (server, "state")
    assert repr(server) in repr(crash)
    assert servers.end() == []


def test_when_a_crash_was_seen_the_name_is_free_for_the_next_server(servers: Supervised) -> None:
    for _ in range(50):
        servers(Fragile, name="crashing", restart="temporary").cast(ValueError("boom"))
        servers.expect_crash(ValueError)
    server = servers(Fragile, name="restarted")
    with servers.crashes(ValueError):
        server.cast(ValueError("boom"))
    assert g.wait_for("restarted") is not server


def test_a_crash_that_a_call_raises_is_expected_too(servers: Supervised) -> None:
    server = servers(Fragile)
    with pytest.raises(CallExit), servers.crashes(ValueError) as crash:
        server.call(ValueError("boom"))
    assert crash.report.callback == "handle_call"
    assert servers.end() == []


def test_an_exception_of_the_body_propagates_and_no_crash_is_waited_for(servers: Supervised) -> None:
    with pytest.raises(LookupError, match="the body"), servers.crashes(timeout=60) as crash:
        raise LookupError("the body's own")
    with pytest.raises(AssertionError):
        _ = crash.report


def test_an_exception_of_the_body_does_not_excuse_another_crash(servers: Supervised) -> None:
    server = servers(Fragile)
    with pytest.raises(CallExit), servers.crashes(TypeError):
        server.call(ValueError("boom"))
    [text] = servers.end()
    assert "ValueError('boom')" in text


def test_a_crash_from_before_does_not_count(servers: Supervised) -> None:
    server = servers(Fragile, restart="temporary")
    with pytest.raises(CallExit):
        server.call(ValueError("before"))
    with pytest.raises(AssertionError, match="no server crashed within"), servers.crashes(timeout=0.01):
        pass
    other = servers(Fragile)
    with servers.crashes(ValueError) as crash:
        other.cast(ValueError("during"))
    assert str(crash.report.reason) == "during"
    assert str(servers.expect_crash(ValueError).reason) == "before"
    assert servers.end() == []


def test_expectations_can_be_nested_and_the_inner_takes_the_first_that_it_sees(servers: Supervised) -> None:
    server, other = servers(Fragile), servers(Fragile)
    with servers.crashes(KeyError) as outer:
        with pytest.raises(CallExit):
            server.call(KeyError("outer"))
        with servers.crashes(ValueError) as inner:
            other.cast(ValueError("inner"))
    assert isinstance(inner.report.reason, ValueError)
    assert isinstance(outer.report.reason, KeyError)
    assert servers.end() == []


def test_a_crash_of_another_reason_is_shown_and_stays_unexpected(servers: Supervised) -> None:
    server = servers(Fragile)
    with (
        pytest.raises(AssertionError, match=r"expected a crash with a reason of type TypeError, but\n.*ValueError"),
        servers.crashes(TypeError),
    ):
        server.cast(ValueError("boom"))
    with pytest.raises(AssertionError, match="that is 'other'"):
        servers.expect_crash("other")
    servers.expect_crash(lambda reason: str(reason) == "boom")
    assert servers.end() == []


def test_expecting_too_early_shows_how_to(servers: Supervised) -> None:
    with pytest.raises(AssertionError, match=r"start_supervised\.crashes"):
        servers.expect_crash(timeout=0.01)


def test_a_with_statement_does_what_the_fixture_does() -> None:
    with Supervised() as servers:
        kept = servers(Fragile)
    assert not kept.is_alive()
    unexpected = pytest.raises(AssertionError, match=r"the test did not expect(.|\n)*ValueError")
    with unexpected, Supervised() as servers, pytest.raises(CallExit):
        servers(Fragile).call(ValueError("boom"))
    with pytest.raises(LookupError, match="the body"), Supervised() as servers:  # noqa: PT012
        kept = servers(Fragile)
        raise LookupError("the body's own")
    assert not kept.is_alive()


def test_crashes_of_other_servers_and_what_else_is_logged_are_nothing_to_it(servers: Supervised) -> None:
    server = Fragile.start()
    with pytest.raises(CallExit):
        server.call(ValueError("of no test's server"))
    logging.getLogger("gennostr.otp.crash_report").error("without a report")
    assert servers.end() == []
