"""Stop the actors when the interpreter exits.

Actors run in daemon threads, so a program that does not stop them exits anyway. Before it does, the root actors (those
started with ``start``, not ``start_link``, which nobody else stops) are stopped in order, newest first, each with its
tree.

`gennostr` registers this with `atexit` when the package is imported, not when this module is. Exit handlers run in
reverse order of registration, so one that a program registers after ``import gennostr`` still finds its actors alive.
"""

import logging
from typing import Final

from gennostr.exceptions import CallError, CallTimeout
from gennostr.otp.clock import clock
from gennostr.otp.process import Process, alive
from gennostr.otp.reasons import SHUTDOWN

logger = logging.getLogger(__name__)

EXIT_TIMEOUT: Final = 5.0
"""Seconds for all root actors together to stop at exit; then they are killed."""
LEAST_TIME: Final = 0.1
"""Minimum seconds for each root, so that a stuck actor does not keep the others from running terminate."""

# Only set to True, and read once at exit, both by the main thread.
_hurried = False


def hurry() -> None:
    """Give each root only LEAST_TIME at exit, after a second signal.

    Safe in signal handlers.
    """
    global _hurried  # noqa: PLW0603
    _hurried = True


def stop_roots() -> None:
    """Stop every root actor in order with reason SHUTDOWN.

    Kill those that do not stop in time.
    """
    deadline = clock().monotonic() + (0 if _hurried else EXIT_TIMEOUT)
    for process in reversed(alive()):
        if process.parent is not None:
            continue
        try:
            process.pid.stop(SHUTDOWN, max(LEAST_TIME, deadline - clock().monotonic()))
        except CallTimeout:
            _kill(process)
        except CallError:
            pass  # it has already ended, or crashed in terminate, which its crash report shows
        except (KeyboardInterrupt, SystemExit):  # a signal during this wait: the others get only LEAST_TIME
            deadline = clock().monotonic()
            _kill(process)


def _kill(process: Process) -> None:
    logger.warning("%r did not stop in time at the exit of the interpreter and is killed", process.pid)
    process.kill()
