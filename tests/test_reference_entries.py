"""Entries are complete: each parameter has a line, and constants, which `help` and doctest do not see, have one too."""

import ast
import doctest
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import FunctionType, SimpleNamespace

import pytest

import gennostr

FLAGS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
ROOT = Path(gennostr.__file__).parent
CONSTANTS = sorted(
    name
    for name in gennostr.__all__
    if name.isupper() or name in {"InitOutcome", "CallOutcome", "CallbackOutcome", "RelayOutcome", "Timer"}
)

OWN = {
    "MonitorRef.down",
    "Registry.handle_info",
    "Registry.init",
    "RegistryPid.register_process",
    "Request.abandon",
    "Request.down",
    "Request.fulfil",
    "Request.reply",
    "Request.result",
    "SupervisorFlags.check_significant",
}
"""Functions that the library itself calls; their parameters are not for users."""
FUNCTIONS: dict[str, FunctionType] = {}
for each in gennostr.__all__:
    value = getattr(gennostr, each)
    if str(getattr(value, "__module__", "")).startswith(("gennostr.otp", "gennostr.exceptions")):
        members = vars(value) if inspect.isclass(value) else {"": value}
        for key, member in members.items():
            function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
            if isinstance(function, FunctionType) and not key.startswith("_"):
                FUNCTIONS[f"{each}.{key}".strip(".")] = function


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - OWN))
def test_each_parameter_has_a_line(name: str) -> None:
    text = inspect.getdoc(FUNCTIONS[name]) or ""
    parameters = [each for each in inspect.signature(FUNCTIONS[name]).parameters if each not in {"self", "cls"}]
    assert [each for each in parameters if not re.search(rf"^    {each}: \S", text, re.MULTILINE)] == []


def entries(path: Path) -> Iterator[tuple[str, int, str]]:
    """The name, line and text of each attribute docstring of a module and its classes."""
    tree = ast.parse(path.read_text())
    for body in (tree.body, *(node.body for node in ast.walk(tree) if isinstance(node, ast.ClassDef))):
        for one, other in pairwise(body):
            if isinstance(one, ast.Assign | ast.AnnAssign) and isinstance(other, ast.Expr):
                text = other.value.value if isinstance(other.value, ast.Constant) else None
                target = one.targets[0] if isinstance(one, ast.Assign) else one.target
                if isinstance(text, str):
                    yield ast.unparse(target), other.lineno, text


MODULES = {path: list(entries(path)) for path in sorted(ROOT.rglob("*.py"))}
WITH_EXAMPLES = [path for path, found in MODULES.items() if any(">>> " in text for _, _, text in found)]


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_public_constant_has_an_entry(name: str) -> None:
    found = [text for each in MODULES.values() for target, _, text in each if target == name]
    assert found, "no docstring below its assignment"
    assert all(len(text.splitlines()[0]) < 100 for text in found)


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_of_constants_run(path: Path, no_leaks: SimpleNamespace) -> None:
    module = import_module(".".join(path.relative_to(ROOT.parent).with_suffix("").parts))
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for name, line, text in MODULES[path]:
        runner.run(
            doctest.DocTestParser().get_doctest(text, vars(module).copy(), name, str(path), line), out=said.append
        )
    assert not said, "".join(said)
