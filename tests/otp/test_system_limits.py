"""Limits of the operating system: raised by `run`, and named when they are reached."""

import errno
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from gennostr.otp import system_limits
from gennostr.otp.system_limits import explained

resource = pytest.importorskip("resource", reason="this system has no such limits")

ROOT = Path(__file__).parents[2]


def limits_after(program: str, soft: int, hard: int) -> list[int]:
    """Run `program` with these limits of open files; return those that it ends with."""
    source = f"""
import json, resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
{program}
print(json.dumps(resource.getrlimit(resource.RLIMIT_NOFILE)))
"""
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    limits: list[int] = json.loads(done.stdout.splitlines()[-1])
    return limits


RUN = """
import gennostr as g
class Server(g.GenServer):
    def init(self, argument):
        return g.Stop(g.NORMAL) if argument else g.Ok(timeout=0)
    def handle_info(self, message, state):
        return g.Stop(g.NORMAL)
"""


def test_run_raises_the_soft_limit_of_open_files_to_the_hard_one() -> None:
    """The soft limit is what a process may raise by itself up to the hard one (POSIX, getrlimit)."""
    assert limits_after(f"{RUN}\ng.run(Server)", 256, 512) == [512, 512]


def test_the_command_raises_it_too() -> None:
    program = "from gennostr.cli import main\nmain(['info', 'ws://127.0.0.1:1', '--timeout', '1'])"
    assert limits_after(program, 256, 512) == [512, 512]


def test_an_import_and_a_start_do_not() -> None:
    assert limits_after(f"{RUN}\nServer.start().stop()", 256, 512) == [256, 512]


class Resource:
    """The module ``resource`` of a system that allows at most `allowed` open files, whatever its hard limit says."""

    RLIMIT_NOFILE = 7
    RLIMIT_NPROC = 6

    def __init__(self, soft: int, hard: int, *, allowed: int, infinity: int = -1) -> None:
        self.RLIM_INFINITY = infinity
        self.limits = soft, hard
        self._allowed = allowed

    def getrlimit(self, what: int) -> tuple[int, int]:
        assert what in (self.RLIMIT_NOFILE, self.RLIMIT_NPROC)
        return self.limits

    def setrlimit(self, what: int, limits: tuple[int, int]) -> None:
        assert what == self.RLIMIT_NOFILE
        if not 0 <= limits[0] <= self._allowed:
            raise ValueError("current limit exceeds maximum limit")
        self.limits = limits


MACOS = 2**63 - 1
"""Its RLIM_INFINITY (sys/resource.h)."""


@pytest.mark.parametrize(
    ("system", "soft"),
    [
        (Resource(1024, 524_288, allowed=524_288), 524_288),
        (Resource(1024, 2**30, allowed=2**30), 2**20),
        (Resource(1024, -1, allowed=2**30), 2**20),
        (Resource(-1, -1, allowed=2**30), -1),
        (Resource(2**21, 2**30, allowed=2**30), 2**21),
        (Resource(256, MACOS, allowed=10_240, infinity=MACOS), 10_240),
        (Resource(12_000, MACOS, allowed=10_240, infinity=MACOS), 12_000),
        (Resource(MACOS, MACOS, allowed=10_240, infinity=MACOS), MACOS),
        (Resource(256, 4096, allowed=256), 256),
    ],
    ids=["usual", "vast", "infinite", "raised", "above", "macOS", "macOS, above", "macOS, infinite", "refused"],
)
def test_the_limit_is_raised_as_far_as_is_sensible_and_never_lowered(
    system: Resource, soft: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """setrlimit(2) of macOS, COMPATIBILITY: at most OPEN_MAX, though the hard limit is infinite."""
    hard = system.limits[1]
    monkeypatch.setattr(system_limits, "_resource", lambda: system)
    system_limits.raise_open_files()
    assert system.limits == (soft, hard)


def test_a_system_without_limits_has_none_raised_or_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_limits, "_resource", lambda: None)
    system_limits.raise_open_files()
    assert "Too many: this process is at the system's limit" in str(explained(OSError(errno.EMFILE, "Too many")))
    assert "each actor and connection takes one" in str(explained(RuntimeError("can't start new thread")))


@pytest.mark.parametrize(
    ("soft", "hard", "words"),
    [
        (
            256,
            4096,
            "is 256 (RLIMIT_NOFILE), and each connection takes two; `ulimit -n` .* up to 4096, and gennostr.run",
        ),
        (256, -1, "is 256 (RLIMIT_NOFILE), .* allows more, and gennostr.run raises it"),
        (256, 256, "is 256 (RLIMIT_NOFILE), .* the hard limit, which the administrator sets"),
    ],
)
def test_a_refused_descriptor_is_an_error_that_names_the_limit_and_what_to_do(
    soft: int, hard: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_limits, "_resource", lambda: Resource(soft, hard, allowed=hard))
    refused = OSError(errno.EMFILE, "Too many open files", "/a/file")
    error: Any = explained(refused)
    assert (type(error), error.errno, error.filename, error.__cause__) == (OSError, errno.EMFILE, "/a/file", refused)
    with pytest.raises(OSError, match=words.replace("(", r"\(").replace(")", r"\)")):
        raise error


def test_a_system_without_descriptors_and_a_refused_thread_are_named_too() -> None:
    assert "fs.file-max" in str(explained(OSError(errno.ENFILE, "Too many open files in system")))
    text = str(explained(RuntimeError("can't start new thread")))
    assert text.startswith(f"can't start new thread: this process has {threading.active_count()}, and each actor")
    assert "RLIMIT_NPROC" in text


@pytest.mark.parametrize("error", [OSError(errno.ECONNREFUSED, "refused"), RuntimeError("another"), ValueError()])
def test_any_other_error_stays_itself(error: Exception) -> None:
    assert explained(error) is error
