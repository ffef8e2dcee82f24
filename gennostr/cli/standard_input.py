"""Reading standard input: a text as a whole, or lines of bounded length."""

import sys
from collections.abc import Iterator

from gennostr.cli.arguments import Failure


def announce_terminal(what: str) -> None:
    """Print a notice if standard input is a terminal.

    Otherwise the command would wait for it in silence.
    """
    if sys.stdin.isatty():
        sys.stderr.write(f"reading {what} from the terminal; Ctrl-D ends it\n")


def read_text(what: str, limit: int = -1) -> str:
    """Return standard input, at most `limit` bytes of it. Failure: it is not UTF-8."""
    announce_terminal(what)
    try:
        return sys.stdin.buffer.read(limit).decode()
    except UnicodeDecodeError as error:
        raise Failure(f"standard input is not UTF-8: {error}") from None


def lines(what: str, limit: int) -> Iterator[bytes | None]:
    """Yield the lines of standard input.

    One of more than `limit` bytes is skipped, and None in its place.
    """
    announce_terminal(what)
    while line := sys.stdin.buffer.readline(limit + 1):
        whole = len(line) <= limit
        while not line.endswith(b"\n") and not whole:
            line = sys.stdin.buffer.readline(limit)
            if not line:
                break
        yield line if whole else None
