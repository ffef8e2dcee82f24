"""What becomes of the actors when the interpreter exits.

They run in daemon threads, so a program that forgets them exits all the same; before it does, those that nobody else
stops (the roots: started with ``start``, not ``start_link``) are stopped in order, the newest first, and each takes its
tree with it.

`gennostr` registers this with `atexit` when it is imported itself, not when this module is: handlers run in the reverse
order of their registration, and one that a program registers after ``import gennostr`` still finds its actors alive.
"""

import logging
from typing import Final

from gennostr.exceptions import CallError, CallTimeout
from gennostr.otp.clock import clock
from gennostr.otp.process import Process, alive
from gennostr.otp.reasons import SHUTDOWN

logger = logging.getLogger(__name__)

EXIT_TIMEOUT: Final = 5.0
"""Seconds that all root actors together have to stop when the interpreter exits; then they are killed."""
LEAST_TIME: Final = 0.1
"""Seconds that each of them has all the same, so that one that is stuck does not cost the others their terminate."""

# Only ever set, and read once at exit, by the main thread.
_hurried = False


def hurry() -> None:
    """Give each root only LEAST_TIME at exit: the user has asked twice for the end. For signal handlers."""
    global _hurried  # noqa: PLW0603
    _hurried = True


def stop_roots() -> None:
    """Stop every root actor in order, reason SHUTDOWN; kill what has not stopped in time."""
    deadline = clock().monotonic() + (0 if _hurried else EXIT_TIMEOUT)
    for process in reversed(alive()):
        if process.parent is not None:
            continue
        try:
            process.pid.stop(SHUTDOWN, max(LEAST_TIME, deadline - clock().monotonic()))
        except CallTimeout:
            _kill(process)
        except CallError:
            pass  # it ended meanwhile, or in terminate, which its crash report says
        except (KeyboardInterrupt, SystemExit):  # a signal while this waits: the others get the least time
            deadline = clock().monotonic()
            _kill(process)


def _kill(process: Process) -> None:
    logger.warning("%r did not stop before the interpreter exits, and is killed", process.pid)
    process.kill()
