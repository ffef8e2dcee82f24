"""The package's own attributes: lazy names, the version, the telemetry module, type hints."""

import ast
import importlib
import importlib.metadata
import inspect
import subprocess
import sys
import tomllib
import typing
from pathlib import Path
from typing import Any

import pytest

import gennostr
import gennostr.telemetry
import gennostr.telemetry as imported_as
from gennostr import telemetry as imported_from
from gennostr.otp import telemetry

ROOT = Path(__file__).parents[1]


def printed(program: str) -> list[str]:
    """Run a program in a fresh interpreter; the lines that it prints."""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


# The version.


def test_the_version_is_that_of_the_installed_distribution() -> None:
    assert gennostr.__version__ == importlib.metadata.version("gennostr")
    assert "__version__" in dir(gennostr)


def test_the_version_is_written_in_pyproject_alone() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert gennostr.__version__ == version
    assert [path for path in ROOT.glob("gennostr/**/*.py") if f'"{version}"' in path.read_text()] == []


def test_where_it_is_not_installed_there_is_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attribute that is missing raises AttributeError, so that getattr with a default and hasattr work."""

    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.delitem(vars(gennostr), "__version__", raising=False)
    assert getattr(gennostr, "__version__", None) is None
    with pytest.raises(AttributeError, match="not installed"):
        _ = gennostr.__version__


# Telemetry.


def test_telemetry_is_one_module_however_it_is_imported() -> None:
    """A handler attached by one name is detached by another."""
    assert gennostr.telemetry is telemetry
    assert imported_as is telemetry
    assert imported_from is telemetry
    assert importlib.import_module("gennostr.telemetry") is telemetry

    events: list[str] = []

    def handler(name: str, measurements: Any, metadata: Any) -> None:
        events.append(name)

    gennostr.telemetry.attach(handler)
    telemetry.emit("attached", {}, {})
    telemetry.detach(handler)
    gennostr.telemetry.emit("detached", {}, {})
    assert events == ["attached"]


@pytest.mark.parametrize(
    "statement",
    [
        "import gennostr.telemetry as found",
        "from gennostr import telemetry as found",
        "import gennostr; found = gennostr.telemetry",
    ],
)
def test_telemetry_is_one_module_whichever_import_comes_first(statement: str) -> None:
    program = f"{statement}; import gennostr.telemetry as t, gennostr.otp.telemetry as o; print(found is t is o)"
    assert printed(program) == ["True"]


def test_the_public_module_of_telemetry_shows_type_checkers_what_is_documented() -> None:
    path = ROOT / "gennostr" / "telemetry.py"
    names: dict[str, Any] = {"__name__": "copy", "sys": sys}
    exec(compile(path.read_text(), path, "exec"), names)
    sys.modules.pop("copy")
    for name in names["__all__"]:
        assert names[name] is getattr(telemetry, name)


# Names.


def test_importing_the_package_imports_none_of_its_modules() -> None:
    """A program that imports only the exceptions, or a pytest plugin that is not used, does not pay for the rest."""
    program = "import sys, gennostr; print(*[name for name in sys.modules if name.startswith('gennostr.')])"
    assert printed(program) == [""]


def test_every_public_name_is_found_and_listed() -> None:
    assert sorted(gennostr.__all__) == sorted(set(gennostr.__all__))
    assert set(gennostr.__all__) <= set(dir(gennostr))
    assert printed("from gennostr import *; import gennostr; print({*gennostr.__all__} <= {*globals()})") == ["True"]


FUNCTIONS = [name for name in gennostr.__all__ if inspect.isfunction(getattr(gennostr, name))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_type_hints_of_public_functions_can_be_evaluated(name: str) -> None:
    """Frameworks that inject arguments or build command lines from signatures call `typing.get_type_hints`."""
    hints = typing.get_type_hints(getattr(gennostr, name))
    assert hints.keys() == {*inspect.signature(getattr(gennostr, name)).parameters, "return"}


def test_type_checkers_do_not_see_getattr() -> None:
    """Where they see it, each misspelled name is taken for one of the module's."""
    seen = ast.parse(Path(gennostr.__file__).read_text()).body
    assert "__getattr__" not in [node.name for node in seen if isinstance(node, ast.FunctionDef)]
