"""Something that runs between any two steps of something else: each place is tried once, instead of waited for.

A finalizer or a signal handler may run between any two bytecodes of a thread (docs: ``gc``, ``signal``), and another
thread does. A trace counts the bytecodes that run in the modules under test (the lines, where tracing of bytecodes is
not sound: CPython 3.12 crashes), and calls the interruption at the n-th, for n = 1, 2, 3 ... as long as there are so
many::

    for place in interruptions(clock, timers):
        place.during(operation, interruption)
        ... what must be true now
"""

import contextlib
import sys
import threading
import traceback
from _thread import allocate_lock
from collections.abc import Callable, Iterator
from itertools import count
from types import FrameType, ModuleType
from typing import Any

DEADLINE = 5.0


class Interruption:
    """The n-th place."""

    def __init__(self, files: frozenset[str], number: int) -> None:
        self._files = files
        self._number = number
        self._steps = count(1).__next__
        self._once = allocate_lock()
        self._function: Callable[[], object] = lambda: None
        self._failures: list[BaseException] = []

    @property
    def happened(self) -> bool:
        """Whether there were so many places."""
        return self._once.locked()

    def during(self, operation: Callable[[], object], function: Callable[[], object], *, threads: bool = False) -> Any:
        """Return what `operation` returns, `function` having interrupted it, or (`threads`) a thread that it starts.

        What either raises is raised here. AssertionError if they do not end: each waits for the other.
        """
        self._function = function
        outcome: list[object] = []
        if threads:
            threading.settrace(self._trace)
        thread = threading.Thread(target=self._run, args=(operation, outcome), daemon=True)
        thread.start()
        thread.join(DEADLINE)
        threading.settrace(None)
        if thread.is_alive():
            frame = sys._current_frames()[thread.ident or 0]
            raise AssertionError(f"does not end:\n{''.join(traceback.format_stack(frame)[-8:])}")
        for failure in self._failures:
            raise failure
        return outcome[0]

    @contextlib.contextmanager
    def tracing(self, function: Callable[[], object]) -> Iterator[None]:
        """Have `function` interrupt what this thread does in the ``with`` statement; what it raises is raised there."""
        self._function = function
        sys.settrace(self._trace)
        try:
            yield
        finally:
            sys.settrace(None)
        for failure in self._failures:
            raise failure

    def _run(self, operation: Callable[[], object], outcome: list[object]) -> None:
        sys.settrace(self._trace)
        try:
            outcome.append(operation())
        except BaseException as failure:
            self._failures.append(failure)
        finally:
            sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_filename not in self._files:
            return None
        frame.f_trace_opcodes = sys.version_info < (3, 12)
        return self._step

    def _step(self, frame: FrameType, event: str, argument: object) -> Any:
        if event in ("line", "opcode") and self._steps() >= self._number and self._once.acquire(blocking=False):
            sys.settrace(None)
            try:
                self._function()
            except BaseException as failure:
                self._failures.append(failure)
        return self._step


def interruptions(*modules: ModuleType, every: int = 1) -> Iterator[Interruption]:
    """Return an interruption for each place in what runs of `modules`, or for every so many-th."""
    files = frozenset(str(module.__file__) for module in modules)
    for number in count(1, every):
        interruption = Interruption(files, number)
        yield interruption
        if not interruption.happened:
            assert number > 3, "the operation does not run these modules"
            return
