"""The progress of long work on a terminal.

A bar by tqdm, if that is installed, or else a plain status line.
"""

import shutil
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Final, Self

from gennostr.cli.terminal import Terminal

REDRAW: Final = 0.2
"""Seconds between updates."""
WIDTH: Final = 64
"""The most columns that a bar takes; what it is about needs room beside it."""


class Progress:
    """A thread that updates the status line of `terminal`.

    It has a thread since nothing else runs while relays are silent.

    `shown` returns the number of events so far, how many there will be (None if that is unknown), and further text. It
    is called in that thread.
    """

    def __init__(self, terminal: Terminal, shown: Callable[[], tuple[int, int | None, str]]) -> None:
        self._terminal = terminal
        self._shown = shown
        self._began = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="gennostr-progress", daemon=True)

    def __enter__(self) -> Self:
        if self._terminal.live:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        if self._terminal.live:
            self._thread.join()
            self._terminal.status("")

    def _draw(self) -> None:
        while not self._over.is_set():
            try:
                self._terminal.status(status(*self._shown(), time.monotonic() - self._began))
            except OSError:  # the terminal was closed
                return
            self._over.wait(REDRAW)


def status(done: int, total: int | None, text: str, elapsed: float) -> str:
    """Return the status line."""
    meter = _meter()
    if meter is None:
        of = "" if total is None else f" of {total:,}"
        return f"{done:,}{of} events · {text}"
    width = min(WIDTH, shutil.get_terminal_size().columns - 1)
    unicode = str(sys.stderr.encoding).lower().startswith("utf")
    total = None if total is not None and total < done else total  # relays count roughly, and events arrive meanwhile
    return f"{meter(done, total, elapsed, ncols=width, unit=' events', ascii=not unicode)} · {text}"


@cache
def _meter() -> Any:
    """Return tqdm's function for the text of a bar, or None without tqdm."""
    if find_spec("tqdm") is None:
        return None
    from tqdm import tqdm  # noqa: PLC0415 - an extra

    return tqdm.format_meter
