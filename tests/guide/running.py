"""Programs of the guide, written to a directory and run there as a reader would."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.guide.pages import programs

ROOT = Path(__file__).parents[2]
DEADLINE = 20.0
"""Seconds within which everything happens that a test waits for."""


def write_programs(directory: Path, topic: str) -> dict[str, str]:
    """Write the programs of a page to `directory`; return them by file name."""
    found = programs(topic)
    for name, text in found.items():
        (directory / name).write_text(text)
    return found


def write(topic: str, name: str, directory: Path) -> Path:
    """Write one program of a page to `directory`; return its path."""
    path = directory / name
    path.write_text(programs(topic)[name])
    return path


def environment(directory: Path) -> dict[str, str]:
    """Return an environment in which programs find this gennostr, and each other."""
    return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{directory}", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


class Program:
    """A running program; the test writes to it, reads from it and sends it signals."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def line(self) -> str:
        """Return the next line that it prints."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")

    def write(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self) -> tuple[str, str, int]:
        """Wait for its end; return what else it printed, its errors, and its status."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        return self._process.stdout.read(), self._process.stderr.read(), self._process.wait()


@contextmanager
def program(directory: Path, code: str) -> Iterator[Program]:
    """Run Python code that can import the programs in `directory`; it is killed after `DEADLINE`."""

    def default_signals() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it, and so would its child

    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code],
        cwd=directory,
        env=environment(directory),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=default_signals,  # noqa: PLW1509
    ) as process:
        watchdog = threading.Timer(DEADLINE, process.kill)
        watchdog.start()
        try:
            yield Program(process)
        finally:
            watchdog.cancel()
            process.kill()


def run(path: Path, *arguments: str, given: str = "") -> str:
    """Run a program to its end and return what it prints; warnings and other exit statuses than 0 are errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path), *arguments],
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment(path.parent),
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def run_tests(directory: Path, names: Iterable[str] = (), options: Iterable[str] = ()) -> tuple[str, int]:
    """Run pytest in `directory`, with our plugin and, to be fast, no other; return its output and status."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    command += ["-p", "gennostr.testing.pytest_plugin", *options, *names]
    done = subprocess.run(
        command, cwd=directory, env=environment(directory), capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr, done.returncode
