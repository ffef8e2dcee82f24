"""The table of rules is what it says: every rule has tests, and every test that it names is there."""

import ast
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from tests.otp.rules import SECTIONS, page

HERE = Path(__file__).parent
RULES = [rule for section in SECTIONS for rule in section.rules]


@cache
def names_in(file: str) -> frozenset[str]:
    """Return the names of the tests in a file below tests/otp or tests; an empty set if there is no such file."""
    for folder in (HERE, HERE.parent):
        path = folder / file
        if path.is_file():
            nodes = ast.parse(path.read_text()).body
            return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef))
    return frozenset()


def repeated(texts: Iterable[str]) -> list[str]:
    return [text for text, count in Counter(texts).items() if count > 1]


def test_every_test_that_a_rule_names_is_there() -> None:
    named = {test for rule in RULES for test in rule.tests}
    missing = []
    for each in sorted(named):
        file, _, function = each.partition("::")
        if not function.startswith("test_") or function not in names_in(file):
            missing.append(each)
    assert missing == []


def test_no_rule_is_without_a_test_and_none_names_one_twice() -> None:
    assert [rule.text for rule in RULES if not rule.tests] == []
    assert [rule.text for rule in RULES if repeated(rule.tests)] == []


def test_no_section_is_empty_and_none_is_there_twice() -> None:
    assert [section.title for section in SECTIONS if not section.rules] == []
    assert repeated(section.title for section in SECTIONS) == []


def test_no_rule_is_there_twice() -> None:
    assert repeated(rule.text for rule in RULES) == []


def test_the_page_has_every_section_and_every_rule_with_its_tests() -> None:
    words = " ".join(page().split())
    for section in SECTIONS:
        assert section.title in words
        for rule in section.rules:
            assert f"* {' '.join([rule.text, *rule.tests])}" in words
