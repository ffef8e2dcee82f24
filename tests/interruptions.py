"""Interrupt an operation at every possible place, one after the other, instead of waiting for a race.

A finalizer or a signal handler may run between any two bytecodes of a thread (docs: ``gc``, ``signal``), and so may
another thread. A trace function counts the bytecodes executed in the modules under test (the lines, where tracing
bytecodes is unsafe: CPython 3.12 crashes), and calls the interruption at the n-th, for n = 1, 2, 3 ... until the
operation is shorter than that::

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
    """An interruption at the n-th place."""

    def __init__(self, files: frozenset[str], number: int) -> None:
        self._files = files
        self._number = number
        self._steps = count(1).__next__
        self._once = allocate_lock()
        self._function: Callable[[], object] = lambda: None
        self._failures: list[BaseException] = []

    @property
    def happened(self) -> bool:
        """Whether the operation reached this place."""
        return self._once.locked()

    def during(self, operation: Callable[[], object], function: Callable[[], object], *, threads: bool = False) -> Any:
        """Run `operation`, interrupted by `function` in it or (`threads`) in a thread it starts; return its result.

        Exceptions of both are raised here. AssertionError: they do not end, as each waits for the other.
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
        """Interrupt this thread's work in the ``with`` statement with `function`; its exceptions are raised there."""
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
    """Yield an interruption for each place in `modules` that the operation executes, or for every `every`-th."""
    files = frozenset(str(module.__file__) for module in modules)
    for number in count(1, every):
        interruption = Interruption(files, number)
        yield interruption
        if not interruption.happened:
            assert number > 3, "the operation does not run these modules"
            return
