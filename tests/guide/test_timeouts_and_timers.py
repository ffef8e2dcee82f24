"""The test that stands in the page on timeouts and timers."""

import os
import subprocess
import sys
from pathlib import Path

from tests.guide.programs import write


def test_the_test_of_a_session_passes_as_printed(tmp_path: Path) -> None:
    write("timeouts_and_timers", "test_session.py", tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "gennostr.testing.pytest_plugin"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
