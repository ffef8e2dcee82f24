"""Tracebacks in the log, indented and escaped: a peer cannot forge a log line.

The last line of a traceback is the exception's text, which may quote data from a peer; ``logger.exception`` would write
it unchanged. Every logger that logs tracebacks has `escape` as a filter.
"""

import logging
from typing import Final

from gennostr.values import printable, shown

MOST_SHOWN: Final = 40_000
"""Maximum number of characters of a traceback to log."""

_formatter = logging.Formatter()


def escape(record: logging.LogRecord) -> bool:
    """Format and escape the traceback before a handler does.

    A logging filter that accepts every record.
    """
    if record.exc_info and not record.exc_text:
        # Formatting calls the exception's __str__, which is user code.
        text = shown(record.exc_info, _formatter.formatException, MOST_SHOWN)
        record.exc_text = "\n".join(f"  {printable(line)}" for line in text.split("\n"))
    return True
