"""What stands in single backticks on a page is the name of something that exists."""

import re
from importlib import import_module

import pytest

import gennostr
from gennostr import cluster, guide, nostr, store, testing
from tests.guide.pages import page

PAGES = ("embedding", "jobs_and_pools", "testing", "operations", "cluster")
PACKAGES = (gennostr, cluster, nostr, store, testing)
FIXTURES = {"probe", "manual_clock", "fake_relay", "start_supervised", "no_leaks"}
ELSEWHERE = {"atexit", "crash_report", "faulthandler", "py-spy", "ProcessPoolExecutor", "Future", "conftest.py"}
"""Names of other packages and of files."""


def exists(name: str, text: str) -> bool:
    """Whether `name` is public here, an attribute or a parameter of something that is, or defined by the page."""
    if name in {*FIXTURES, *ELSEWHERE, *guide.TOPICS} or f"# {name}\n" in text:
        return True
    first, _, rest = name.partition(".")
    if first in ("gennostr", "queue", "asyncio", "time"):
        return resolves(name)
    owners = [value for package in PACKAGES for value in vars(package).values()]
    classes = [getattr(package, each) for package in PACKAGES for each in package.__all__]
    if rest:
        return any(hasattr(each, rest) for each in classes if getattr(each, "__name__", None) == first) or (
            f"{name}" in (gennostr.telemetry.__doc__ or "") or f"{first} = " in text
        )
    return (
        any(first in package.__all__ for package in PACKAGES)
        or any(hasattr(each, first) for each in classes if isinstance(each, type))
        or any(first in getattr(each, "__annotations__", ()) for each in [*owners, *classes])
        or re.search(rf"\b(def|class|as) {first}\b|\b{first}\b ?=", text) is not None
        or re.search(rf"^ +{first}: ", "\n".join(each.__doc__ or "" for each in classes), re.MULTILINE) is not None
    )


def resolves(path: str) -> bool:
    """Whether `path` is a module, or an attribute of one."""
    try:
        import_module(path)
    except ImportError:
        module, _, name = path.rpartition(".")
        return bool(module) and hasattr(import_module(module), name)
    return True


@pytest.mark.parametrize("topic", PAGES)
def test_the_names_of_a_page_exist(topic: str) -> None:
    text = page(topic)
    prose = "\n".join(line for line in text.splitlines() if not line.startswith(("    ", ">>>", "...")))
    names = set(re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"``.*?``", "", prose, flags=re.DOTALL)))
    assert names
    assert sorted(name for name in names if not exists(name, text)) == []
