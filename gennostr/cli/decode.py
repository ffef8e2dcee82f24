"""``gennostr decode``: show what is in npub1..., nevent1... and so on (NIP-19)."""

import argparse
from dataclasses import fields
from typing import Any, Final

from gennostr.cli.arguments import Parser, WrongCommandLine, exit_statuses
from gennostr.cli.standard_input import read_text
from gennostr.cli.terminal import Terminal, json_line, printable
from gennostr.nostr import nip19

DESCRIPTION: Final = """\
Show what is in npub1..., note1..., nprofile1..., nevent1..., naddr1... or nsec1... (NIP-19), with or without
"nostr:" in front: one field per line.

Without TEXT, or if it is -, it is read from standard input. A secret key, nsec1..., is read only from there; decoding
it prints the key."""

EXAMPLES: Final = """\
examples:
  gennostr decode npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg
  gennostr decode nostr:nevent1... --json | jq -r .id
  gennostr decode < ~/.nostr-key
"""

_WIDTH: Final = 12
_MAX: Final = 64 * 1024


def add_arguments(parser: Parser) -> None:
    """Add the command's arguments and help texts."""
    parser.usage = "%(prog)s [TEXT] [options]"
    parser.description = DESCRIPTION
    statuses = exit_statuses(
        _0="the fields are printed", _1="failure", _2="wrong command line, or an invalid text", _130="interrupted"
    )
    parser.epilog = f"{EXAMPLES}\n{statuses}"
    parser.add_argument("text", metavar="TEXT", nargs="?", help="npub1..., note1..., nevent1... and so on")
    parser.add_argument("--json", action="store_true", help="print the fields as one line of JSON")


def run(parsed: argparse.Namespace) -> int:
    """Print the fields; return the exit status."""
    text = parsed.text
    if text is not None and "nsec1" in text.lower():
        raise WrongCommandLine("a secret key must not be on the command line: give it on standard input")
    if text in (None, "-"):
        text = read_text("the text", _MAX)
    try:
        value = nip19.decode(text.strip())
    except ValueError as error:
        raise WrongCommandLine(str(error)) from None
    shown: dict[str, Any] = {"form": type(value).__name__.lower()}
    for each in fields(value):
        content = getattr(value, each.name)
        if content is not None and content != ():
            shown[each.name] = list(content) if isinstance(content, tuple) else content
    terminal = Terminal()
    if parsed.json:
        terminal.line(json_line(shown))
        return 0
    for name, content in shown.items():
        for one in content if isinstance(content, list) else [content]:
            label = "relay" if name == "relays" else name.replace("_", " ")
            terminal.line(f"{label:{_WIDTH}}{printable(str(one))}")
    return 0
