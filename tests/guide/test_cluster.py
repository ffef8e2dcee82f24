"""The program of the page `cluster`."""

import subprocess
import sys
from pathlib import Path

from gennostr.testing import MemoryRelay
from tests.guide.running import environment, write


def test_the_indexer_counts_what_it_has_written(tmp_path: Path) -> None:
    path = write("cluster", "indexer.py", tmp_path)
    with MemoryRelay() as one, MemoryRelay() as other:
        for relay in (one, other):
            relay.store(kind=1, content="hello")
        command = [sys.executable, "-W", "error", str(path), str(tmp_path), one.url, other.url]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(tmp_path)
        ) as program:
            assert program.stdin is not None
            assert program.stdout is not None
            answer = ""
            while answer != "2\n":  # each turn is a call of all shards
                program.stdin.write("?\n")
                program.stdin.flush()
                answer = program.stdout.readline()
                assert answer in ("0\n", "1\n", "2\n")
            program.stdin.close()
            assert program.wait(20) == 0
