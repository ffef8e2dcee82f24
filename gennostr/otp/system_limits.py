"""Limits of the operating system: open files and threads.

A connection takes a thread and two descriptors, so some 500 relays reach the usual soft limit of 1024 open files.
Systems keep it low for programs that use ``select``, which fails beyond 1024; programs that need more are expected to
raise it to the hard limit. Nothing here happens on import.
"""

import errno
import logging
import threading
from types import ModuleType
from typing import Final

from gennostr.otp import tracebacks

logger = logging.getLogger(__name__)
logger.addFilter(tracebacks.escape)

MOST_FILES: Final = 1 << 20
"""The highest limit that is set, as a hard limit may be infinite. Linux allows no more by default (fs.nr_open)."""
OPEN_MAX: Final = 10_240
"""The next one to try: macOS refuses more, though its hard limit is infinite (setrlimit(2), COMPATIBILITY)."""
_FILES_USED_UP: Final = {errno.EMFILE, getattr(errno, "WSAEMFILE", errno.EMFILE)}
_NO_THREAD: Final = "can't start new thread"


def _resource() -> ModuleType | None:
    """Return the module ``resource``, or None.

    Windows lacks it, and has no such limits either.
    """
    try:
        import resource  # noqa: PLC0415
    except ImportError:
        return None
    return resource


def raise_open_files() -> None:
    """Raise the soft limit of open files to the hard one.

    This applies to this process and to the programs that it starts from now on. The limit is never lowered, and stays
    raised. If the system refuses, nothing changes.
    """
    resource = _resource()
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    infinite = resource.RLIM_INFINITY  # -1 on Linux, the greatest number on macOS
    most = MOST_FILES if hard == infinite else min(hard, MOST_FILES)
    for limit in (most, min(most, OPEN_MAX)):
        if soft == infinite or soft >= limit:
            return
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        except (OSError, ValueError) as error:
            logger.debug("the soft limit of open files stays %s, as the system refuses %s: %s", soft, limit, error)
        else:
            logger.debug("the soft limit of open files was raised from %s to %s (RLIMIT_NOFILE)", soft, limit)
            return


def explained(error: BaseException) -> BaseException:
    """Return `error`, or one that explains it.

    If the system has refused a descriptor or a thread, the new error names the limit and what to do.
    """
    new: BaseException
    # Subclasses such as gaierror have numbers of their own.
    if type(error) is OSError and error.errno in _FILES_USED_UP:
        new = OSError(error.errno, f"{error.strerror}: {_about_files()}", error.filename)
    elif type(error) is OSError and error.errno == errno.ENFILE:
        more = "all programs together have reached the system's limit (fs.file-max on Linux)"
        new = OSError(error.errno, f"{error.strerror}: {more}", error.filename)
    elif isinstance(error, RuntimeError) and str(error) == _NO_THREAD:
        new = RuntimeError(f"{_NO_THREAD}: {_about_threads()}")
    else:
        return error
    new.__cause__ = error
    return new.with_traceback(error.__traceback__)


def _about_files() -> str:
    resource = _resource()
    if resource is None:
        return "this process is at the system's limit"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = f"the limit of this process is {soft} (RLIMIT_NOFILE), and each connection takes two"
    if soft == hard:
        return f"{text}; it is the hard limit, which the administrator sets (ulimit -Hn, LimitNOFILE= of systemd)"
    limit = "more" if hard == resource.RLIM_INFINITY else f"up to {hard}"
    return f"{text}; `ulimit -n` or resource.setrlimit allows {limit}, and gennostr.run raises it by itself"


def _about_threads() -> str:
    text = f"this process has {threading.active_count()}, and each actor and connection takes one"
    resource = _resource()
    if resource is None or not hasattr(resource, "RLIMIT_NPROC"):
        return f"{text}; memory or the system's limit is used up"
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    limit = "none" if soft == resource.RLIM_INFINITY else str(soft)
    return (
        f"{text}; either memory is used up, or a limit of threads is reached: the user's is {limit} (RLIMIT_NPROC, "
        "ulimit -u), a container has its own (pids.max)"
    )
