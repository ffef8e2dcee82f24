"""The program of the page on supervision."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.guide.running import write


def test_the_shop_sells_and_closes_in_order(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-u", str(write("supervision", "shop.py", tmp_path))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as shop:
        assert shop.stdout is not None
        try:
            assert shop.stdout.readline() == "one sold, left: 2\n"
        finally:
            shop.send_signal(signal.SIGINT)
        rest, _ = shop.communicate(timeout=20)
    assert rest == "left: {'tea': 2}\n"
    assert shop.returncode == 0
