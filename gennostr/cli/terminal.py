"""What the commands print: plain lines for a pipe; colour and a live status line for a terminal."""

import os
import sys
import threading
from typing import Final, TextIO

COLOURS: Final = {
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "cyan": "36",
}
WIDTH: Final = 100


def printable(text: str) -> str:
    """Return `text` on one line and without control characters: a relay must not write to the terminal."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


class Terminal:
    """Lines on `out`, and, where `out` is a terminal, a status line below them. `_lock` keeps lines whole."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = sys.stdout if out is None else out
        self.live = self._out.isatty() and os.environ.get("TERM") != "dumb"
        self._colour = self.live and "NO_COLOR" not in os.environ
        self._status = ""
        self._lock = threading.Lock()

    def line(self, text: str, colour: str | None = None) -> None:
        """Print one line."""
        if self._colour and colour is not None:
            text = f"\x1b[{COLOURS[colour]}m{text}\x1b[0m"
        with self._lock:
            self._clear()
            self._out.write(f"{text}\n")
            self._draw()

    def status(self, text: str) -> None:
        """Show `text` below the lines, if this is a terminal."""
        if not self.live:
            return
        with self._lock:
            self._clear()
            self._status = text[:WIDTH]
            self._draw()

    def _clear(self) -> None:
        if self._status:
            self._out.write("\r\x1b[K")

    def _draw(self) -> None:
        if self._status:
            self._out.write(self._status)
        self._out.flush()
