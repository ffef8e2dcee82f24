"""How the project speaks: words that readers stumbled over do not come back."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path
    for folder in ("gennostr", "tests", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
    if path != Path(__file__)
)
CODE = re.compile(r"``[^`]*``|`[^`]*`|\S*[._]tell\S*|\btell\(|^\s*(?:>>>|\.\.\.) .*$", re.MULTILINE)
"""Code within prose: pykka's `tell` is the name of a method, and an example may ask whether something is None."""
AVOIDED = {
    r"\b(tell|tells|told|telling)\b": "call, deliver, send, raise, log, return or report",
    r"\b(is|are) (?-i:none)\b": "is invalid, or None in code",
    r"\bwho (does|do)\b": "what does it: a caller, a program, a relay",
    r"\bwhoever\b": "name it",
    r"\bone that is none\b": "name it",
}


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Comments and texts of a module, with their lines."""
    source = path.read_text()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


@pytest.mark.parametrize("path", [*FILES, ROOT / "README.rst", ROOT / "CHANGELOG.rst"], ids=lambda p: p.name)
def test_prose_uses_one_verb_for_one_action(path: Path) -> None:
    texts = prose(path) if path.suffix == ".py" else [(1, path.read_text())]
    found = [
        f"{path.relative_to(ROOT)}:{line}: {match[0]!r} in {text[max(0, match.start() - 40) : match.end() + 40]!r}"
        for line, text in ((line, CODE.sub("``", text)) for line, text in texts)
        for words in AVOIDED
        for match in re.finditer(words, text, re.IGNORECASE)
    ]
    assert not found, "\n".join(found)


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text.splitlines()[0]


@pytest.mark.parametrize("path", [each for each in FILES if "gennostr" in each.parts], ids=lambda p: p.name)
def test_the_first_line_of_a_docstring_is_a_summary(path: Path) -> None:
    long = [f"{path}:{line}: {first}" for line, first in docstrings(path) if len(first) >= 80]
    assert not long, "\n".join(long)
