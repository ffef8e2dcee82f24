"""Tracebacks in the log: indented and escaped, so that no line of the log is a peer's.

The last line of a traceback is the exception's text, which may quote what a peer has sent. ``logger.exception`` would
write it as it is. A logger that logs tracebacks has `escape` as a filter.
"""

import logging
from typing import Final

from gennostr.values import printable, shown

MOST_SHOWN: Final = 40_000
"""Characters of a traceback that the log shows."""

_formatter = logging.Formatter()


def escape(record: logging.LogRecord) -> bool:
    """Format the traceback before a handler does: a filter that lets everything through."""
    if record.exc_info and not record.exc_text:
        # Formatting calls the exception's __str__, which is user code.
        text = shown(record.exc_info, _formatter.formatException, MOST_SHOWN)
        record.exc_text = "\n".join(f"  {printable(line)}" for line in text.split("\n"))
    return True
