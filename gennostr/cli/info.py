"""``gennostr info``: show a relay's information document (NIP-11)."""

import argparse
from collections.abc import Iterator
from dataclasses import fields
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final

import msgspec

from gennostr import ConnectionLost, relay_information
from gennostr.cli.arguments import URL_HELP, Failure, Parser, add_timeout, announce, exit_statuses, relay_url
from gennostr.cli.terminal import Terminal, json_line, printable
from gennostr.nostr import Limitation, RelayInformation, redact

DESCRIPTION: Final = """\
Show the information document of a relay (NIP-11): who runs it, on what software, which NIPs it supports, and its
limits. A field that the document does not have is not shown."""

EXAMPLES: Final = """\
examples:
  gennostr info wss://relay.example
  gennostr info wss://relay.example --json | jq .limitation
"""

_TEXTS: Final = {
    "name": "name",
    "description": "description",
    "software": "software",
    "version": "version",
    "contact": "contact",
    "pubkey": "public key",
    "self_": "its own key",
    "privacy_policy": "privacy policy",
    "terms_of_service": "terms of service",
    "icon": "icon",
    "banner": "banner",
}
_UNITS: Final = {
    "max_message_length": " bytes",
    "max_content_length": " characters",
    "created_at_lower_limit": " s ago",
    "created_at_upper_limit": " s ahead",
}
_KNOWN: Final = frozenset({*_TEXTS, "self", "supported_nips", "limitation"})
_WIDTH: Final = 24


def add_arguments(parser: Parser) -> None:
    """Add the command's arguments and help texts."""
    parser.usage = "%(prog)s URL [options]"
    parser.description = DESCRIPTION
    statuses = exit_statuses(
        _0="the document is shown",
        _1="the relay cannot be reached, or has no information document",
        _2="wrong command line",
        _130="interrupted",
    )
    parser.epilog = f"{EXAMPLES}\n{statuses}"
    parser.add_argument("url", metavar="URL", type=relay_url, help=URL_HELP)
    parser.add_argument("--json", action="store_true", help="print the document itself, as one line of JSON")
    add_timeout(parser, 10, "how long the request may take")


def run(parsed: argparse.Namespace) -> int:
    """Request the document and show it; return the exit status."""
    announce([parsed.url])
    answer = _requested(parsed.url, parsed.timeout)
    if isinstance(answer, Exception):
        url, problem = redact(parsed.url), str(answer) or type(answer).__name__
        if isinstance(answer, ConnectionLost):  # as nostr-sdk's relay does: all but a WebSocket is closed at once
            problem = "the relay closed the connection instead of answering: it may have no information document"
        raise Failure(problem if problem.startswith(url) else f"{url}: {problem}")  # the system's errors contain no url
    terminal = Terminal()
    if parsed.json:
        terminal.line(json_line(answer.document))
        return 0
    for label, value in [("url", redact(parsed.url)), *_lines(answer)]:
        # Line breaks of a text are kept, with the lines aligned below each other; nothing else can start a new line.
        first, *rest = value.split("\n")
        terminal.line(f"{printable(label):{_WIDTH}}{printable(first)}")
        for line in rest:
            terminal.line(f"{'':{_WIDTH}}{printable(line)}")
    return 0


def _requested(url: str, timeout: float) -> RelayInformation | Exception:
    """Return the information document, or the exception that prevented it.

    Uses a thread, as the system's resolver cannot be interrupted. If it gets stuck there, the thread ends with us.
    """
    answers = SimpleQueue[RelayInformation | Exception]()

    def request() -> None:
        try:
            answers.put(relay_information(url, timeout=timeout))
        except Exception as error:
            answers.put(error)

    Thread(target=request, name="gennostr-info", daemon=True).start()
    try:
        return answers.get(timeout=timeout + 1.0)
    except Empty:
        return TimeoutError(f"no answer within {timeout:g} s")


def _lines(information: RelayInformation) -> Iterator[tuple[str, str]]:
    """Yield the label and text of each field that the document has."""
    for name, label in _TEXTS.items():
        text = getattr(information, name)
        if text:
            yield label, text
    if information.supported_nips:
        yield "NIPs", " ".join(map(str, information.supported_nips))
    for each in fields(Limitation):
        limit = getattr(information.limitation, each.name)
        if limit is not None:
            yield each.name.replace("_", " "), _limit(limit) + _UNITS.get(each.name, "")
    others: dict[str, Any] = {name: value for name, value in information.document.items() if name not in _KNOWN}
    given = information.document.get("limitation")
    known = {each.name for each in fields(Limitation)}
    for name, value in (given if isinstance(given, dict) else {}).items():
        if name not in known:
            others[f"limitation {name}"] = value
    for name, value in others.items():
        yield name, msgspec.json.encode(value).decode()


def _limit(limit: int | bool) -> str:  # noqa: FBT001 - limits are of either type
    return ("yes" if limit else "no") if isinstance(limit, bool) else f"{limit:,}"
