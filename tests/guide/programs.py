"""Run the programs that stand in pages."""

import os
import subprocess
import sys
from pathlib import Path

from tests.guide.pages import programs


def write(topic: str, name: str, directory: Path) -> Path:
    """Write a program of a page to a file, as a reader would."""
    path = directory / name
    path.write_text(programs(topic)[name])
    return path


def run(path: Path, *arguments: str, given: str = "") -> str:
    """Run a program to its end and return what it prints; warnings and other exit statuses than 0 are errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path), *arguments],
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout
