"""Shared parts of the commands' parsers.

Heavy imports wait until they are needed, to keep ``--help`` fast.
"""

import argparse
import math
import re
import sys
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

from gennostr.cli.terminal import printable

CLOSE_TIMEOUT: Final = 0.5
"""Seconds that a relay may take to answer a close frame; a user who pressed Ctrl-C waits for it."""

# A secret key put on the command line by mistake must not end up in a log. (A public key looks the same.) In "nsec1..."
# as our own texts have it there is nothing to hide: at least one character of a key must follow.
_KEY: Final = re.compile(r"nsec1\w+|\b[0-9a-f]{64}\b", re.IGNORECASE)
_CODE: Final = re.compile("(npub|note|nprofile|nevent|naddr)1", re.IGNORECASE)
_LOCAL: Final = re.compile(r"localhost|.*\.localhost|127(\.[0-9]+){3}|::1")


class WrongCommandLine(Exception):
    """The command line is wrong: exit status 2, with the text on standard error."""


class Failure(Exception):
    """The command failed: exit status 1, with the text on standard error."""


class Parser(argparse.ArgumentParser):
    """A parser for people: one-line errors without keys, arguments in any order.

    The layout of examples is kept.

    Options and positional arguments may be given in any order. An option made by `add_list` takes several values, and
    leaves urls that follow them to the positional arguments.
    """

    intermixed = True
    """Whether positional arguments may be anywhere; argparse cannot do that beside commands."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        self._lists: set[str] = set()
        self._inner = False
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and exit with status 2."""
        self.exit(2, f"{self.prog}: {printable(without_keys(message))} (see {self.prog} --help)\n")

    def add_list(self, group: argparse._ActionsContainer, name: str, **options: Any) -> None:
        """Add an option to `group` that takes values with commas or spaces between them."""
        self._lists.add(name)
        each = options.pop("type")
        group.add_argument(name, type=lambda text: _listed(text, each), action="extend", **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the arguments, in any order.

        Unknown ones are an error of this parser, whose help lists the known ones.
        """
        # parse_known_intermixed_args calls this method, up to Python 3.11.
        if self._inner or not self.intermixed:
            return super().parse_known_args(args, namespace)
        self._inner = True
        try:
            parsed, rest = self.parse_known_intermixed_args(self._joined(args), namespace)
        finally:
            self._inner = False
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return parsed, []

    def _joined(self, arguments: Sequence[str]) -> list[str]:
        """Join the values of each option of `add_list` with commas.

        They end at the next option or url.
        """
        joined: list[str] = []
        rest = list(arguments)
        while rest:
            argument = rest.pop(0)
            if argument == "--":
                return [*joined, argument, *rest]
            values: list[str] = []
            if argument in self._lists:
                # The first is a value in any case: a url in its place is reported as what it is.
                while rest and not rest[0].startswith("-") and not (values and _looks_like_url(rest[0])):
                    values.append(rest.pop(0))
            joined.append(f"{argument}={','.join(values)}" if values else argument)
        return joined


def _listed(text: str, each: Any) -> list[Any]:
    try:
        return [each(value) for value in text.split(",") if value]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _looks_like_url(text: str) -> bool:
    """Return whether this is a url, with or without its scheme.

    Kinds, keys and ids have none of these characters.
    """
    return text == "localhost" or any(each in text for each in ".:/")


def without_keys(text: str) -> str:
    """Return `text` with *** in place of everything that may be a secret key."""
    return _KEY.sub("***", text)


def exit_statuses(*more: str, **statuses: str) -> str:
    """Return the exit statuses for a command's help.

    They are given as ``_0="all accepted"`` and followed by the lines of `more`.
    """
    lines = [f"  {number.removeprefix('_'):<4} {text}" for number, text in statuses.items()]
    return "\n".join(["exit status:", *lines, *more])


class RelayUrl(str):
    """A relay's url in normalized form."""

    __slots__ = ("assumed",)

    assumed: bool
    """Whether it was given without a scheme."""


class ArchivePath(str):
    """The path of a file that exists."""

    __slots__ = ()


def relay_url_or_path(text: str) -> RelayUrl | ArchivePath:
    """Return a relay's url in normalized form, or the path of a file."""
    if "://" not in text:
        if Path(text).is_file():
            return ArchivePath(text)
        if text.startswith(("/", "./", "../")) or text.endswith((".db", ".sqlite")):
            raise argparse.ArgumentTypeError(f"there is no file {text!r:.200}")
    return relay_url(text)


def relay_url(text: str) -> RelayUrl:
    """Return a relay's url in normalized form.

    Without a scheme it is wss://, or ws:// on this machine.
    """
    from gennostr.nostr import normalize_url  # noqa: PLC0415

    assumed = "://" not in text and bool(text)
    if assumed:
        if without_keys(text) != text:
            raise argparse.ArgumentTypeError("a key is not the url of a relay")
        if _CODE.match(text):
            raise argparse.ArgumentTypeError(f"not the url of a relay, but a key or an id: {text!r:.80}")
        if not _looks_like_url(text):
            raise argparse.ArgumentTypeError(f"not the url of a relay, such as wss://relay.example: {text!r:.80}")
    try:
        url = RelayUrl(normalize_url(f"{_scheme(text)}://{text}" if assumed else text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    url.assumed = assumed
    return url


def _scheme(text: str) -> str:
    """Return the scheme that is assumed.

    It is ws for relays on this machine: they are for development, and have no certificate.
    """
    try:
        host = urlsplit(f"//{text}").hostname or ""
    except ValueError:  # which normalize_url describes
        return "wss"
    return "ws" if _LOCAL.fullmatch(host) else "wss"


def announce(urls: Iterable[str]) -> None:
    """Print a notice on standard error for each url that was given without a scheme."""
    from gennostr.nostr import redact  # noqa: PLC0415

    for url in urls:
        if isinstance(url, RelayUrl) and url.assumed:
            sys.stderr.write(f"note: using {printable(redact(url))}, as the url was given without ws:// or wss://\n")


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
        raise argparse.ArgumentTypeError(f"not a number of seconds greater than 0: {text!r}")
    return number


def add_timeout(parser: argparse.ArgumentParser, default: int, meaning: str) -> None:
    """Add --timeout, with its default in seconds."""
    text = f"{meaning} (default: {default})"
    parser.add_argument("--timeout", metavar="SECONDS", type=seconds, default=float(default), help=text)


URL_FORM: Final = "wss://... or ws://...; without either, wss:// is assumed (ws:// on localhost)"
URL_HELP: Final = f"a relay: {URL_FORM}"


def add_urls(parser: argparse.ArgumentParser, *, paths: bool = False) -> None:
    """Add the argument for the relays' urls; with `paths`, also for files."""
    if paths:
        text = f"{URL_HELP}; or the path of a file that 'gennostr archive' has written"
        parser.add_argument("urls", metavar="URL", nargs="+", type=relay_url_or_path, help=text)
    else:
        parser.add_argument("urls", metavar="URL", nargs="+", type=relay_url, help=URL_HELP)


def urls_of(parsed: argparse.Namespace) -> list[str]:
    """Return the relays' urls, or the paths, without duplicates.

    Prints a notice for those that were given without a scheme.
    """
    urls = list(dict.fromkeys(parsed.urls))
    announce(urls)
    return urls


def add_verify(parser: argparse.ArgumentParser) -> None:
    """Add --no-verify."""
    parser.add_argument(
        "--no-verify",
        action="store_true",
        help="trust the relays: do not check ids and signatures (default: events that fail the check are errors)",
    )


def verifies(parsed: argparse.Namespace) -> bool:
    """Return whether to verify events.

    Raises Failure if coincurve, which that needs, is not installed.
    """
    if parsed.no_verify:
        return False
    require_coincurve("checking signatures", " (or use --no-verify)")
    return True


def require_coincurve(what: str, otherwise: str = "") -> None:
    """Raise Failure, which says `what` needs it, if coincurve is not installed."""
    if find_spec("coincurve") is None:
        raise Failure(f"{what} needs coincurve: pip install 'gennostr[crypto]'{otherwise}")


def close_to(word: str, known: Iterable[str]) -> str:
    """Return a suggestion: "; did you mean ...?", or "" if nothing is close.

    Suggested are those of `known` that are spelled like `word`.
    """
    from difflib import get_close_matches  # noqa: PLC0415 - imports much, and is seldom needed

    spelled: dict[str, str] = {}
    for each in known:
        spelled.setdefault(each.lower(), each)
    found = [spelled[each] for each in get_close_matches(word.lower(), spelled, n=3)]
    return f"; did you mean {' or '.join(found)}?" if found else ""
