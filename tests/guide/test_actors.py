"""The program of the page on actors."""

import re
from pathlib import Path

from tests.guide.running import run, write


def test_the_ticker_prints_the_time_and_ends(tmp_path: Path) -> None:
    assert re.fullmatch(r"\d\d:\d\d:\d\d\n", run(write("actors", "ticker.py", tmp_path), "1"))
