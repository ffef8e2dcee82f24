"""The library without what Python lacks on Windows; see `tests.like_windows`."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SELECTION = [
    "tests/otp/test_with.py",
    "tests/client/test_sending.py",
    "tests/client/test_dial.py::test_the_next_address_is_tried_where_one_refuses",
    "tests/client/test_failures.py::test_a_refused_connection_is_tried_again_after_each_refusal",
    "tests/testing/test_memory_relay.py::test_a_client_whose_relay_was_stopped_comes_back_to_it",
]


def test_a_part_of_the_suite_passes_without_what_windows_lacks() -> None:
    """No poll, eventfd, fork, signal masks, AF_UNIX, nor pipes in select (docs: ``select``, ``os``, ``signal``)."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests/like_windows")])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *SELECTION],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
