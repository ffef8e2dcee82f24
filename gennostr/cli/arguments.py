"""What the commands' parsers share. Nothing heavy is imported before it is needed: ``--help`` is to be quick."""

import argparse
import math
import re
from importlib.util import find_spec
from typing import Any, Final, NoReturn

from gennostr.cli.terminal import printable

CLOSE_TIMEOUT: Final = 0.5
"""Seconds that a relay may take to answer a close frame: who pressed Ctrl-C waits for it."""

# A secret key that stands on the command line by mistake must not go on into a log. (A public key looks the same.)
_KEY: Final = re.compile(r"\bnsec1\w*|\b[0-9a-f]{64}\b", re.IGNORECASE)


class WrongCommandLine(Exception):
    """What was asked for cannot be done like this: exit status 2, and the text on standard error."""


class Failure(Exception):
    """It could not be done: exit status 1, and the text on standard error."""


class Parser(argparse.ArgumentParser):
    """A parser that keeps examples as they stand, and whose errors are one line without any key."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and exit with 2."""
        self.exit(2, f"{self.prog}: {printable(without_keys(message))} (see {self.prog} --help)\n")


def without_keys(text: str) -> str:
    """Return `text` with *** for all that may be a secret key."""
    return _KEY.sub("***", text)


def exit_statuses(*more: str, **statuses: str) -> str:
    """Return the part of a command's help that lists them: ``_0="all accepted"``; `more` follows."""
    lines = [f"  {number.removeprefix('_'):<4} {text}" for number, text in statuses.items()]
    return "\n".join(["exit status:", *lines, *more])


def relay_url(text: str) -> str:
    """Return the one spelling of a relay's url."""
    from gennostr.nostr import normalize_url  # noqa: PLC0415

    try:
        return normalize_url(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def whole_number(text: str) -> int:
    """Return a whole number, zero or more."""
    if not re.fullmatch("[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"not a whole number, zero or more: {text!r}")
    return int(text)


def seconds(text: str) -> float:
    """Return a time over 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"not a number of seconds over 0: {text!r}")
    return number


def add_urls(parser: argparse.ArgumentParser) -> None:
    """Add the relays."""
    parser.add_argument("urls", metavar="URL", nargs="+", type=relay_url, help="a relay: wss://... or ws://...")


def urls_of(parsed: argparse.Namespace) -> list[str]:
    """Return the relays, each once."""
    return list(dict.fromkeys(parsed.urls))


def add_verify(parser: argparse.ArgumentParser) -> None:
    """Add --no-verify."""
    parser.add_argument(
        "--no-verify",
        action="store_true",
        help="believe relays: events whose id or signature is wrong are printed too (default: they are errors)",
    )


def verifies(parsed: argparse.Namespace) -> bool:
    """Return whether events are to be checked; Failure: what that needs is not installed."""
    if parsed.no_verify:
        return False
    if find_spec("coincurve") is None:
        raise Failure("checking signatures needs coincurve: pip install 'gennostr[crypto]' (or give --no-verify)")
    return True
