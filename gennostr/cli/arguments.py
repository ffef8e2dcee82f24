"""Shared parts of the commands' parsers. Heavy imports wait until they are needed, to keep ``--help`` fast."""

import argparse
import math
import re
from importlib.util import find_spec
from typing import Any, Final, NoReturn

from gennostr.cli.terminal import printable

CLOSE_TIMEOUT: Final = 0.5
"""Seconds that a relay may take to answer a close frame; a user who pressed Ctrl-C waits for it."""

# A secret key put on the command line by mistake must not end up in a log. (A public key looks the same.)
_KEY: Final = re.compile(r"\bnsec1\w*|\b[0-9a-f]{64}\b", re.IGNORECASE)


class WrongCommandLine(Exception):
    """The command line is wrong: exit status 2, with the text on standard error."""


class Failure(Exception):
    """The command failed: exit status 1, with the text on standard error."""


class Parser(argparse.ArgumentParser):
    """A parser that keeps the layout of examples, and prints errors on one line without keys."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and exit with status 2."""
        self.exit(2, f"{self.prog}: {printable(without_keys(message))} (see {self.prog} --help)\n")


def without_keys(text: str) -> str:
    """Return `text` with *** in place of everything that may be a secret key."""
    return _KEY.sub("***", text)


def exit_statuses(*more: str, **statuses: str) -> str:
    """Return the exit statuses for a command's help, given as ``_0="all accepted"``, followed by `more`."""
    lines = [f"  {number.removeprefix('_'):<4} {text}" for number, text in statuses.items()]
    return "\n".join(["exit status:", *lines, *more])


def relay_url(text: str) -> str:
    """Return a relay's url in normalized form."""
    from gennostr.nostr import normalize_url  # noqa: PLC0415

    try:
        return normalize_url(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def whole_number(text: str) -> int:
    """Parse a whole number, zero or more."""
    if not re.fullmatch("[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"not a whole number, zero or more: {text!r}")
    return int(text)


def seconds(text: str) -> float:
    """Parse a number of seconds greater than 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"not a number of seconds over 0: {text!r}")
    return number


def add_urls(parser: argparse.ArgumentParser) -> None:
    """Add the argument for the relays' urls."""
    parser.add_argument("urls", metavar="URL", nargs="+", type=relay_url, help="a relay: wss://... or ws://...")


def urls_of(parsed: argparse.Namespace) -> list[str]:
    """Return the relays' urls without duplicates."""
    return list(dict.fromkeys(parsed.urls))


def add_verify(parser: argparse.ArgumentParser) -> None:
    """Add --no-verify."""
    parser.add_argument(
        "--no-verify",
        action="store_true",
        help="believe relays: events whose id or signature is wrong are printed too (default: they are errors)",
    )


def verifies(parsed: argparse.Namespace) -> bool:
    """Return whether to verify events. Failure: coincurve, which that needs, is not installed."""
    if parsed.no_verify:
        return False
    if find_spec("coincurve") is None:
        raise Failure("checking signatures needs coincurve: pip install 'gennostr[crypto]' (or give --no-verify)")
    return True
