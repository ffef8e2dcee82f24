"""``gennostr guide``: read the guide, or the reference of one name."""

import argparse
import pydoc
import re
import sys
from importlib import import_module
from typing import Final

import gennostr.guide
from gennostr.cli.arguments import Parser, WrongCommandLine, close_to, exit_statuses

DESCRIPTION: Final = """\
Read the guide: one page for each topic, and the reference of each public name. All of it comes with the library.

Without WORD, the topics are listed. WORD is a topic; a public name, such as Supervisor; a member, such as
GenNostr.subscribe; or a package, such as gennostr.nostr. On a terminal the text is shown page by page (by $PAGER, or
less); in a pipe it is plain text."""

EXAMPLES: Final = """\
examples:
  gennostr guide
  gennostr guide tutorial
  gennostr guide Supervisor
  gennostr guide GenNostr.subscribe
  gennostr guide supervision | grep -n restart
"""

_HEADING: Final = re.compile(r"^(\S.*)\n(?:-{3,}|={3,})$", re.MULTILINE)
_SECTION: Final = re.compile(r"^( *)(Args|Attributes|Returns|Raises|Yields|Example|Examples):$", re.MULTILINE)


def add_arguments(parser: Parser) -> None:
    """Add the command's arguments and help texts."""
    parser.usage = "%(prog)s [WORD]"
    parser.description = DESCRIPTION
    statuses = exit_statuses(
        _0="the text is shown", _1="failure", _2="wrong command line, or an unknown WORD", _130="interrupted"
    )
    parser.epilog = f"{EXAMPLES}\n{statuses}"
    parser.add_argument("word", metavar="WORD", nargs="?", help="a topic or a public name")


def run(parsed: argparse.Namespace) -> int:
    """Show the text; return the exit status."""
    text = _page(parsed.word)
    if sys.stdout.isatty():
        pydoc.pager(rendered(text))
    else:
        sys.stdout.write(text)
    return 0


def _page(word: str | None) -> str:
    """Return the text of a topic or a name, or of the list of topics."""
    if word is None:
        return f"{gennostr.guide.__doc__}".strip() + "\n"
    topic = word.lower().replace("-", "_").replace(" ", "_")
    if topic in gennostr.guide.TOPICS:
        return f"{import_module(f'gennostr.guide.{topic}').__doc__}".strip() + "\n"
    from gennostr.cli import reference  # noqa: PLC0415 - imports the whole library

    text = reference.entry(word)
    if text is not None:
        return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
    members = reference.members()
    if word in members:
        raise WrongCommandLine(f"several classes have {word}: {', '.join(members[word])}")
    known = [*gennostr.guide.TOPICS, *(name for each in reference.PACKAGES for name in reference.public_names(each))]
    raise WrongCommandLine(f"no topic and no public name {word!r}{close_to(word, [*known, *members])}")


def rendered(text: str) -> str:
    """Return the text with bold headings.

    As pydoc and pagers do it: each character is printed over itself.
    """
    text = _HEADING.sub(lambda match: _bold(match[1]), text)
    return _SECTION.sub(lambda match: f"{match[1]}{_bold(match[2])}:", text)


def _bold(text: str) -> str:
    return "".join(f"{each}\b{each}" for each in text)
