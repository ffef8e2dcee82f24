"""The programs of the page `jobs_and_pools`: the pool, and the web service with its own tests."""

import http.client
import math
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from gennostr import KILL, CallExit, as_completed, call, get_state, send_request
from gennostr.testing import Supervised
from tests.guide.pages import page
from tests.guide.running import DEADLINE, program, run_tests, write_programs


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return the module pool.py."""
    write_programs(tmp_path, "jobs_and_pools")
    monkeypatch.syspath_prepend(tmp_path)
    yield import_module("pool")
    del sys.modules["pool"]


def test_the_lines_that_use_the_pool_run_as_printed(pool: Any) -> None:
    [block] = re.findall(r"^ {4}with WorkerPool.start\(100\):\n(?: {8}.*\n)+", page("jobs_and_pools"), re.MULTILINE)
    printed: list[object] = []
    names = {
        "WorkerPool": pool.WorkerPool,
        "as_completed": as_completed,
        "call": call,
        "math": math,
        "send_request": send_request,
        "load": str.upper,
        "urls": ["a", "b", "c"],
        "print": printed.append,
    }
    exec("if True:\n" + block, names)
    assert sorted(map(str, printed)) == ["A", "B", "C"]


def test_jobs_run_at_the_same_time_and_beyond_the_limit_the_pool_is_busy(
    pool: Any, start_supervised: Supervised
) -> None:
    start_supervised(pool.WorkerPool, 2)
    four = threading.Barrier(5)
    running = [send_request("pool", (lambda _: four.wait(DEADLINE), None)) for _ in range(4)]
    waiting = [send_request("pool", (str.upper, text)) for text in "ab"]
    with pytest.raises(pool.PoolBusy, match="2 jobs are waiting"):
        call("pool", (str.upper, "c"))
    four.wait(DEADLINE)
    assert [each.wait() for each in waiting] == ["A", "B"]
    assert len({each.wait() for each in running}) == 4
    assert call("pool", (str.upper, "c")) == "C"


def test_a_job_that_raises_costs_no_worker(pool: Any, start_supervised: Supervised) -> None:
    start_supervised(pool.WorkerPool, 10)
    for _ in range(20):
        with pytest.raises(ZeroDivisionError):
            call("pool", ((1).__truediv__, 0))


def test_a_worker_that_is_killed_fails_its_job_alone(pool: Any, start_supervised: Supervised) -> None:
    start_supervised(pool.WorkerPool, 10)
    working, released = threading.Event(), threading.Event()

    def block(_: None) -> None:
        working.set()
        released.wait(DEADLINE)

    try:
        lost = send_request("pool", (block, None))
        assert working.wait(DEADLINE)
        [worker] = get_state("pool").running
        worker.exit(KILL)
        with pytest.raises(pool.JobFailed, match="KILLED"):
            lost.wait()
    finally:
        released.set()
    four = threading.Barrier(4)  # passed only if there are four workers again
    pending = [send_request("pool", (lambda _: four.wait(DEADLINE), None)) for _ in range(4)]
    assert sorted(each.wait(DEADLINE) for each in pending) == [0, 1, 2, 3]


def test_an_idle_worker_that_is_killed_gets_no_job(pool: Any, start_supervised: Supervised) -> None:
    start_supervised(pool.WorkerPool, 10)
    for _ in range(3):
        worker = get_state("pool").idle[0]
        worker.exit(KILL)
        assert call("pool", (str.upper, "a")) == "A"


def test_a_pool_that_fails_takes_its_workers_along(pool: Any, start_supervised: Supervised) -> None:
    supervisor = start_supervised(pool.WorkerPool, 10)
    with pytest.raises(CallExit):
        call("pool", None)
    assert isinstance(start_supervised.expect_crash(TypeError).reason, TypeError)
    assert supervisor.count_children().active == 2
    assert call("pool", (str.upper, "a")) == "A"


def test_the_tests_of_the_web_service_pass(tmp_path: Path) -> None:
    write_programs(tmp_path, "jobs_and_pools")
    said, status = run_tests(tmp_path, ["test_web_service.py"])
    assert status == 0, said
    assert "4 passed" in said


def test_the_web_service_fits_on_two_screens(tmp_path: Path) -> None:
    assert len(write_programs(tmp_path, "jobs_and_pools")["web_service.py"].splitlines()) <= 120


SERVICE = """
import os
import web_service

def block(text):
    print("working", flush=True)
    os.read(0, 1)
    return text.upper()

web_service.slow_hash = block
web_service.run(web_service.Service, 0)
print("ended", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_request_in_progress_end(tmp_path: Path, number: signal.Signals) -> None:
    write_programs(tmp_path, "jobs_and_pools")
    with program(tmp_path, SERVICE) as service:
        port = int(service.line().removeprefix("listening on port "))
        in_progress = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
        in_progress.request("GET", "/hash?text=hello")
        assert service.line() == "working"
        service.signal(number)
        wait_until_refused(port)
        service.write("\n")
        response = in_progress.getresponse()
        assert (response.status, response.read()) == (200, b"HELLO\n")
        in_progress.close()
        out, errors, status = service.end()
    assert (out, status) == ("ended\n", 0)
    assert [line for line in errors.splitlines() if "GET /hash" not in line] == []


def test_a_second_signal_does_not_wait_for_the_request_in_progress(tmp_path: Path) -> None:
    write_programs(tmp_path, "jobs_and_pools")
    with program(tmp_path, SERVICE) as service:
        port = int(service.line().removeprefix("listening on port "))
        in_progress = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
        in_progress.request("GET", "/hash?text=hello")
        assert service.line() == "working"
        service.signal(signal.SIGTERM)
        wait_until_refused(port)
        service.signal(signal.SIGTERM)
        assert in_progress.getresponse().status == 503
        in_progress.close()
        out, errors, status = service.end()
    assert (out, status) == ("", 143), errors


def wait_until_refused(port: int) -> None:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=DEADLINE).close()
        except OSError:
            return
    raise AssertionError("connections are still accepted")
