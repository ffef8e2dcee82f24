"""Every public name has an entry: what it is, what its arguments are, and an example that runs."""

import doctest
import inspect
import pkgutil
from importlib import import_module
from types import SimpleNamespace

import pytest

import gennostr
from gennostr import cluster, nostr, store, testing

PACKAGES = (gennostr, cluster, nostr, store, testing)
NAMES = sorted({(package.__name__, name) for package in PACKAGES for name in package.__all__})
FLAGS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
MODULES = sorted(
    each.name
    for each in pkgutil.walk_packages(gennostr.__path__, "gennostr.")
    if not each.name.startswith("gennostr.guide") and not each.name.endswith("__main__")
)


def named(package: str, name: str) -> object:
    return getattr(import_module(package), name)


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_docstrings_run(module: str, no_leaks: SimpleNamespace) -> None:
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in doctest.DocTestFinder(exclude_empty=True).find(import_module(module)):
        runner.run(test, out=said.append)
    assert not said, "".join(said)


@pytest.mark.parametrize(("package", "name"), NAMES)
def test_a_public_name_has_a_docstring_and_an_example(package: str, name: str) -> None:
    value = named(package, name)
    if not inspect.isclass(value) and not inspect.isroutine(value):
        return
    text = inspect.getdoc(value) or ""
    own = value.__doc__ if inspect.isclass(value) else text
    assert own, "no docstring of its own"
    assert ">>> " in text or (inspect.isclass(value) and issubclass(value, BaseException)), "no example"


@pytest.mark.parametrize(("package", "name"), NAMES)
def test_what_a_public_class_has_is_documented(package: str, name: str) -> None:
    value = named(package, name)
    if not inspect.isclass(value):
        return
    missing = [
        key
        for key, member in vars(value).items()
        if not key.startswith("_")
        and (inspect.isroutine(member) or isinstance(member, property | classmethod | staticmethod))
        and not inspect.getdoc(member)
    ]
    assert not missing, f"no docstring: {missing}"
