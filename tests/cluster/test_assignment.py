"""Which shard has a relay: balanced, stable, and moved by nothing but its own shard's end."""

import subprocess
import sys
from collections import Counter
from functools import cache

from gennostr.cluster.assignment import assign

URLS = [f"wss://relay-{number}.example/" for number in range(10_000)]


@cache
def places(shards: int) -> list[int]:
    return [assign(url, range(shards)) for url in URLS]


def test_relays_are_spread_evenly() -> None:
    counts = Counter(places(64))
    assert sorted(counts) == list(range(64))
    # 156 on average; a deviation of 12.4 is expected, and four of these are not exceeded.
    assert 156 - 50 < min(counts.values()) <= max(counts.values()) < 156 + 50


def test_a_shard_more_takes_its_share_and_moves_nothing_else() -> None:
    before, after = places(64), places(65)
    moved = [(one, other) for one, other in zip(before, after, strict=True) if one != other]
    assert {other for _, other in moved} == {64}
    assert 100 < len(moved) < 210


def test_a_lost_shard_moves_its_own_relays_alone_and_to_all_others() -> None:
    before = places(64)
    after = [assign(url, [number for number in range(64) if number != 17]) for url in URLS]
    moved = [(one, other) for one, other in zip(before, after, strict=True) if one != other]
    assert {one for one, _ in moved} == {17}
    assert len(moved) == before.count(17)
    assert len({other for _, other in moved}) > 50


def test_the_order_of_the_shards_does_not_matter() -> None:
    assert [assign(url, [2, 0, 1]) for url in URLS[:100]] == places(3)[:100]


def test_another_python_process_decides_alike() -> None:
    program = (
        f"from gennostr.cluster.assignment import assign; print(*[assign(url, range(7)) for url in {URLS[:50]!r}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "5"}
    )
    assert [int(each) for each in done.stdout.split()] == places(7)[:50]
