"""The page `performance`: its ratios are those of its figures, and its benchmarks exist."""

import re
from pathlib import Path

from tests.guide.pages import page


def number(text: str) -> float:
    return float(re.sub(r"[^\d.]", "", text.partition("(")[0]))


def test_each_ratio_is_that_of_its_row() -> None:
    figures = 0
    ours = ""
    for line in re.findall(r"^\| (?!What).*\|$", page("performance"), re.MULTILINE):
        _, own, baseline, ratio = [cell.strip() for cell in line.strip("|").split("|")]
        ours = own or ours
        exact = number(ours) / number(baseline)
        assert abs(exact - float(ratio)) <= (0.051 if float(ratio) >= 1 else 0.0055), line  # figures are rounded, too
        figures += 1
    assert figures == 25


def test_each_benchmark_is_listed_and_those_listed_exist() -> None:
    text = page("performance") + page("security")
    names = set(re.findall(r"python -m benchmarks\.(\w+)", text))
    listed = text.partition("and so ")[2].partition("Each measures")[0]
    names |= set(re.findall(r"`(\w+)`", listed))
    folder = Path(__file__).parents[2] / "benchmarks"
    programs = {path.stem for path in folder.glob("*.py") if "\ndef main(" in path.read_text(encoding="utf-8")}
    assert names == programs - {"clients"}  # the contenders of others
