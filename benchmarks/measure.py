"""How the benchmarks measure: contenders take turns in rounds within one run; results are medians and their ratios."""

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROUNDS = 5


def machine(*packages: str) -> str:
    """Return a line that describes the machine and the package versions."""
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} not installed")
    versions = ", ".join([f"Python {platform.python_version()}", *found])
    return f"{platform.platform()}, {os.cpu_count()} cores; {versions}"


def interleaved(contenders: Mapping[str, Callable[[], float]], rounds: int = ROUNDS) -> dict[str, float]:
    """Run every contender once per round; return the median of each."""
    seen: dict[str, list[float]] = {name: [] for name in contenders}
    for name in _turns(contenders, rounds):
        seen[name].append(contenders[name]())
    return {name: statistics.median(values) for name, values in seen.items()}


def figures(
    contenders: Mapping[str, Callable[[], Mapping[str, float]]], rounds: int = ROUNDS
) -> dict[str, dict[str, float]]:
    """Run every contender once per round; return the medians of each figure, by figure and contender."""
    seen: dict[str, dict[str, list[float]]] = {}
    for name in _turns(contenders, rounds):
        for what, value in contenders[name]().items():
            seen.setdefault(what, {each: [] for each in contenders})[name].append(value)
    return {what: {name: statistics.median(values) for name, values in line.items()} for what, line in seen.items()}


def _turns(contenders: Iterable[str], rounds: int) -> Iterator[str]:
    """Yield the names of the contenders in the order in which they run."""
    names = [*contenders]
    for number in range(rounds):
        # Each round begins with the next contender, so that none always has the same position.
        first = number % len(names)
        yield from names[first:] + names[:first]


def in_process(module: str, *arguments: str) -> dict[str, float]:
    """Run ``python -m module arguments`` in its own process; return the figures that it prints as JSON."""
    done = subprocess.run([sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


def table(title: str, ours: str, figures: Mapping[str, float], unit: str) -> None:
    """Print the figures, and the ratio of `ours` to each of the others."""
    print(f"\n{title}")
    width = max(map(len, figures)) + 2
    for name, value in figures.items():
        ratio = "" if name == ours else f"{figures[ours] / value:10.2f}"
        print(f"  {name:{width}}{_shown(value):>12} {unit}{ratio}")


def rows(figures: Mapping[str, Mapping[str, float]]) -> None:
    """Print a line for each measurement: the figure of each contender, ours first, and ours / theirs for each."""
    columns = [*dict.fromkeys(name for line in figures.values() for name in line)]
    width = max(map(len, figures)) + 2
    ratios = "".join(f"{'ratio':>8}" for _ in columns[1:])
    print(f"\n{'':{width}}{''.join(f'{name:>18}' for name in columns)}{ratios}")
    for what, line in figures.items():
        shown = "".join(f"{_shown(value):>18}" for value in line.values())
        ours, *theirs = line.values()
        print(f"{what:{width}}{shown}{''.join(f'{ours / each:8.2f}' for each in theirs)}")


def resident() -> int:
    """Return the resident memory of this process in bytes (Linux)."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def heading(what: str, packages: Sequence[str], rounds: int = ROUNDS) -> None:
    """Print what is measured, and on which machine."""
    print(what)
    print(f"{machine(*packages)}; medians of {rounds}, the last column is ours / theirs")
