"""A client that is killed at random moments, while real relays restart: see `tests.store.crashes`."""

import subprocess
import sys
from pathlib import Path

import pytest

ROUNDS = 25
TIMEOUT = 300.0


@pytest.mark.parametrize(
    "options",
    [["--relay=nostr-relay"], ["--relay=sdk", "--relay=memory", "--deduplicate"]],
    ids=["one relay", "two relays with the same events"],
)
def test_whenever_it_is_killed_nothing_is_lost_or_done_twice(options: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.store.crashes", f"--rounds={ROUNDS}", *options],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    assert f"{ROUNDS} rounds" in ended.stdout
