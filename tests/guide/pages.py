"""The guide's pages, and the programs in them."""

import inspect
import re
import textwrap
from importlib import import_module


def page(topic: str) -> str:
    """The text of a page."""
    return inspect.cleandoc(import_module(f"gennostr.guide.{topic}").__doc__ or "") + "\n"


def programs(topic: str) -> dict[str, str]:
    """The programs of a page: indented blocks that begin with a comment which names their file."""
    found = {}
    for block in re.findall(r"(?:^ {4}.*\n|^\n)+", page(topic), re.MULTILINE):
        text = textwrap.dedent(block).strip("\n") + "\n"
        if name := re.match(r"# (\w+\.py)\n", text):
            found[name[1]] = text
    return found
