"""The output of the commands.

Plain lines in a pipe; colour and a live status line or display on a terminal.
"""

import json
import os
import re
import shutil
import sys
import threading
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, TextIO

COLOURS: Final = {
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "cyan": "36",
}

_CONTROLS: Final = re.compile("[\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def printable(text: str) -> str:
    """Return `text` on one line with control characters escaped.

    So a relay cannot control the terminal.
    """
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def error_text(error: object) -> str:
    """Return the text of an error, or its type if it has no text."""
    return str(error) or type(error).__name__


def json_line(value: Any) -> str:
    """Return `value` as one line of JSON, with terminal control characters escaped."""
    import msgspec  # noqa: PLC0415 - for the commands that need it

    # JSON itself escapes only those below 0x20. Others can only occur within strings, where an escape means the same.
    text = msgspec.json.encode(value).decode()
    if not str(sys.stdout.encoding).lower().startswith("utf"):  # it may be unable to encode all characters
        text = json.dumps(json.loads(text), separators=(",", ":"))
    return _CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def local_time(moment: int) -> str:
    """Return a moment, in seconds since 1970, as local date and time.

    Events can have any number; one that is not a date is returned as it is.
    """
    try:
        return datetime.fromtimestamp(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return str(moment)


def fitting(text: str, width: int) -> str:
    """Return the longest start of `text` that fits in `width` columns."""
    if len(text) <= width and text.isascii():
        return text
    columns = 0
    for place, each in enumerate(text):
        columns += 2 if unicodedata.east_asian_width(each) in "WF" else 1
        if columns > width:
            return text[:place]
    return text


class Terminal:
    """Lines on `out` and, if it is a terminal, a status line below them.

    `_lock` keeps lines whole.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = sys.stdout if out is None else out
        self.live = self._out.isatty() and os.environ.get("TERM") != "dumb"
        self._colour = self.live and "NO_COLOR" not in os.environ
        self._status = ""
        self._drawn = 0
        self._lock = threading.Lock()

    def line(self, text: str, colour: str | None = None) -> None:
        """Print one line."""
        text = self._coloured(text, colour)
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
            self._status = fitting(text, shutil.get_terminal_size().columns - 1)
            self._draw()

    def picture(self, lines: Sequence[tuple[str, str | None]]) -> None:
        """Show lines of (text, colour).

        On a terminal they replace the previous ones, elsewhere they follow.
        """
        size = shutil.get_terminal_size()
        with self._lock:
            if self.live:
                lines = [(fitting(text, size.columns - 1), colour) for text, colour in lines[: size.lines - 1]]
                if self._drawn:
                    self._out.write(f"\x1b[{self._drawn}F\x1b[J")
            elif self._drawn:
                self._out.write("\n")
            self._drawn = len(lines)
            self._out.write("".join(f"{self._coloured(text, colour)}\n" for text, colour in lines))
            self._out.flush()

    def _coloured(self, text: str, colour: str | None) -> str:
        return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m" if self._colour and colour is not None else text

    def _clear(self) -> None:
        if self._status:
            self._out.write("\r\x1b[K")

    def _draw(self) -> None:
        if self._status:
            self._out.write(self._status)
        self._out.flush()
