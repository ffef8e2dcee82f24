"""Durations are real, whatever a test does to the module ``time``; the time of day is what that module says.

``queue.Queue.get`` and ``concurrent.futures.Future.result`` keep their timeouts where ``time.monotonic`` is patched;
so do calls. freezegun replaces the functions of ``time`` there and wherever a module holds them (its README).
"""

import ast
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from queue import Empty
from typing import Any
from unittest import mock

import pytest

import gennostr as g
from gennostr import CallTimeout, NoReply, Ok, Reply
from gennostr.client.socket_mailbox import SocketMailbox
from gennostr.otp.clock import MACHINE, clock
from gennostr.testing import Probe
from tests.otp.actors import DEADLINE, Driven, Gate, Log, log_of

PACKAGE = Path(g.__file__).parent
REAL = {name: getattr(time, name) for name in ("monotonic", "monotonic_ns", "perf_counter", "time", "time_ns")}


@contextmanager
def frozen(value: float) -> Iterator[None]:
    """Replace the functions of ``time`` as freezegun does: in every module that holds one, but for its list."""

    def fake() -> float:
        return value

    spared = ("threading", "queue", "_pytest", "pytest", "asyncio", "logging", __name__)
    found = [
        (module, name, function)
        for module in list(sys.modules.values())
        if not getattr(module, "__name__", "").startswith(spared)
        for name, function in list(vars(module).items())
        if any(function is real for real in REAL.values())
    ]
    assert found
    try:
        for module, name, _ in found:
            setattr(module, name, fake)
        yield
    finally:
        for module, name, function in found:
            setattr(module, name, function)


def patched(value: float) -> AbstractContextManager[Any]:
    return mock.patch("time.monotonic", return_value=value)


@pytest.fixture(params=[0.0, 1e9], ids="{:g}".format)
def value(request: pytest.FixtureRequest) -> float:
    """What the clock stands at: in the past, and in the future."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(params=[patched, frozen], ids=lambda how: how.__name__)
def standing(request: pytest.FixtureRequest, value: float) -> Iterator[None]:
    """time.monotonic stands still."""
    with request.param(value):
        yield


def took(operation: Callable[[], object]) -> float:
    began = REAL["perf_counter"]()
    operation()
    return REAL["perf_counter"]() - began  # type: ignore[no-any-return]


@pytest.mark.usefixtures("standing")
def test_a_call_has_its_whole_timeout_and_no_more() -> None:
    with Driven.start() as server, Gate() as gate:
        assert server.call(lambda self, from_, state: Reply("done"), timeout=DEADLINE) == "done"
        server.cast(lambda self, state: gate.wait())
        gate.reached()

        def call() -> None:
            with pytest.raises(CallTimeout):
                server.call(lambda self, from_, state: Reply("late"), timeout=0.05)

        assert 0.05 <= took(call) < DEADLINE
        gate.open()
        server.stop(timeout=DEADLINE)


@pytest.mark.usefixtures("standing")
def test_a_start_and_a_servers_timeouts_keep_their_length() -> None:
    log = Log()

    class Waiting(g.GenServer[None]):
        def init(self, init_arg: Any) -> Any:
            return Ok(timeout=0.02)

        def handle_info(self, message: Any, state: Any) -> Any:
            log.put(message)
            return NoReply(timeout=0.02)

    server: g.Pid = Waiting.start(timeout=DEADLINE)
    assert 0.02 <= took(lambda: [log.next() for _ in range(2)]) < DEADLINE
    server.stop(timeout=DEADLINE)


@pytest.mark.usefixtures("standing")
def test_a_timer_fires_when_it_is_due() -> None:
    with Driven.start() as server:
        log = log_of(server)
        assert 0.02 <= took(lambda: (g.send_after(0.02, server, "due"), log.next())) < DEADLINE
        timer = g.send_after(60, server, "never")
        assert 55 < (g.cancel_timer(timer) or 0) <= 60


@pytest.mark.usefixtures("standing")
def test_the_mailbox_of_a_connection_and_the_testing_kit_wait_as_long_as_they_say() -> None:
    box = SocketMailbox()
    box.open()

    def wait() -> None:
        with pytest.raises(Empty):
            box.get(timeout=0.02)

    assert 0.02 <= took(wait) < DEADLINE
    box.close()
    with Probe() as probe:
        assert 0.02 <= took(lambda: probe.expect_no_message(0.02)) < DEADLINE
        probe.pid.send("message")
        probe.expect("message")


def test_the_monotonic_clock_runs_on_where_it_stood_still_when_the_library_was_imported() -> None:
    program = """
import time
from unittest import mock
with mock.patch("time.monotonic", return_value=0.0), mock.patch("time.time", return_value=86400.0):
    import gennostr as g
    from gennostr.otp.clock import MACHINE
    class Server(g.GenServer):
        def handle_info(self, message, state): return g.NoReply(state + [message])
        def handle_call(self, request, from_, state): return g.NoReply() if request == "never" else g.Reply(state)
    with Server.start([]) as server:
        g.send_after(0.01, server, "fired")
        while server.call("state") != ["fired"]: pass
        try: server.call("never", timeout=0.01)
        except g.CallTimeout: print("whole", MACHINE.time())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == ("whole 86400.0\n", "")


def test_the_time_of_day_is_that_of_the_program() -> None:
    """A test that freezes the time of day finds it in ``connected_at``, beside that of datetime and of its log."""
    with mock.patch("time.time", return_value=86_400.0):
        assert clock().time() == 86_400.0
    assert abs(clock().time() - time.time()) < DEADLINE


def test_the_clock_counts_as_the_machines_does() -> None:
    assert abs(MACHINE.monotonic() - time.monotonic()) < DEADLINE


def test_only_the_clock_reads_the_time() -> None:
    """The command line is a program of its own, in which no test freezes the time.

    And `sign` takes the present from the system by default, as the protocol layer has no clock.
    """
    readers = {
        str(path.relative_to(PACKAGE))
        for layer in ("otp", "nostr", "client", "testing")
        for path in (PACKAGE / layer).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Attribute) and ast.unparse(node) in {f"time.{name}" for name in REAL})
        or (
            isinstance(node, ast.ImportFrom)
            and node.module in ("time", "datetime")
            and [each.name for each in node.names] != ["UTC"]  # a time zone, not the time
        )
        or (isinstance(node, ast.Import) and any(each.name == "datetime" for each in node.names))
    }
    # `sign` dates an event that is given no time, and nothing waits for that.
    assert readers == {"otp/clock.py", "nostr/keys.py"}
