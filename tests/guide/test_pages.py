"""Every page exists, is listed once, and its examples run as they are printed."""

import doctest
import pkgutil
import re
from importlib import import_module
from types import SimpleNamespace

import pytest

from gennostr import guide
from tests.guide.pages import page, programs

FLAGS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL


def test_the_list_of_topics_is_complete() -> None:
    assert sorted(guide.TOPICS) == sorted(each.name for each in pkgutil.iter_modules(guide.__path__))
    assert re.findall(r"^- `(\w+)`: ", guide.__doc__ or "", re.MULTILINE) == list(guide.TOPICS)


@pytest.mark.parametrize("topic", guide.TOPICS)
def test_the_examples_of_a_page_run(topic: str, no_leaks: SimpleNamespace) -> None:
    module = import_module(f"gennostr.guide.{topic}")
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in doctest.DocTestFinder().find(module, globs={"__name__": "__main__"}):  # where a reader pastes them
        runner.run(test, out=said.append)
    assert not said, "".join(said)


@pytest.mark.parametrize("topic", guide.TOPICS)
def test_a_page_is_text_for_every_reader(topic: str) -> None:
    """Plain in a terminal, and Markdown for a generator: no markup that only one of them understands."""
    text = page(topic)
    assert "::\n" not in text
    assert not re.search(r"^\.\. |:\w+:`", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 100
    for name, program in programs(topic).items():
        compile(program, name, "exec")
