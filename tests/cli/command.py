"""The command, in this process and in one of its own."""

import io
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from gennostr.cli import main
from gennostr.nostr import Event, sign

COMMAND = [sys.executable, "-W", "error", "-m", "gennostr.cli"]
ROOT = Path(__file__).parents[2]
KEY = "67dea2ed018072d675f5415ecfaed7d2597555e202d85b3d65ea4e58d2d92ffa"
PATIENCE = 30.0
"""Seconds that anything may take on a busy machine."""

AT_ONCE = 4.0
"""Seconds that a signal may take on a busy machine: a tenth is usual, and to wait for a relay would be ten or more."""


def environment(**more: str) -> dict[str, str]:
    """Return ours without what the command looks at, and with `more`."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("GENNOSTR_KEY", "NO_COLOR")}
    return inherited | more


def gennostr(
    *arguments: str, stdin: str = "", key: str | None = None, status: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, in this process; `key` is in its environment, and `status` is what it must exit with.

    A process of its own takes half a second to start; `running` has one.
    """
    written, complained = io.BytesIO(), io.BytesIO()
    out, err = (io.TextIOWrapper(each, encoding="utf-8", write_through=True) for each in (written, complained))
    log = logging.StreamHandler(err)  # where there is no handler, the standard library does the same
    log.setLevel(logging.WARNING)
    with (
        patch.dict(os.environ, environment(**({} if key is None else {"GENNOSTR_KEY": key})), clear=True),
        patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()))),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        logging.getLogger().addHandler(log)
        try:
            code: object = main(arguments)
        except SystemExit as end:  # argparse
            code = end.code or 0
        finally:
            logging.getLogger().removeHandler(log)
    assert isinstance(code, int)
    done = subprocess.CompletedProcess(arguments, code, written.getvalue().decode(), complained.getvalue().decode())
    if status is not None:
        assert done.returncode == status, done.stdout + done.stderr
    return done


@contextmanager
def running(*arguments: str, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run the command, with pipes for its output, and kill it in the end if it has not ended."""
    with subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment() if env is None else dict(env),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    """Return the next line of its standard output."""
    assert process.stdout is not None
    return process.stdout.readline()


def signal_and_time(process: subprocess.Popen[str], number: int) -> float:
    """Send a signal, and return the seconds until its end."""
    began = time.monotonic()
    process.send_signal(number)
    process.wait(PATIENCE)
    return time.monotonic() - began


def note(content: str, created_at: int = 1_700_000_000, kind: int = 1) -> Event:
    """Return a signed event."""
    return sign(KEY, created_at=created_at, kind=kind, content=content)
