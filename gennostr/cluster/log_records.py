"""The log records of shards: sent by the shard, handled by the same loggers here."""

import copy
import logging
import pickle
from collections.abc import Callable
from typing import Any, Final

from gennostr.cluster.messages import unpacked
from gennostr.otp import tracebacks
from gennostr.values import shown

logger = logging.getLogger(__name__)
logger.addFilter(tracebacks.escape)

MOST_WAITING: Final = 1000
"""How many messages may wait to be sent before log records are dropped."""

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({})))


class LogForwarder(logging.Handler):
    """Sends a shard's log records to the cluster, by `send`.

    If more than `MOST_WAITING` messages wait to be sent, according to `waiting`, records are dropped and counted.
    """

    def __init__(self, send: Callable[[bytes], object], waiting: Callable[[], int]) -> None:
        super().__init__()
        self._send = send
        self._waiting = waiting
        self._dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record, or drop it."""
        if self._waiting() >= MOST_WAITING:
            self._dropped += 1
            return
        dropped, self._dropped = self._dropped, 0
        if dropped:
            text = f"{dropped} log records of a shard were dropped: they came faster than they could be sent"
            self._send(fields_of(logging.makeLogRecord({"name": __name__, "levelno": logging.WARNING, "msg": text})))
        self._send(fields_of(record))


def fields_of(record: logging.LogRecord) -> bytes:
    """Return the fields of a record pickled.

    Its message and traceback become text; what else cannot be pickled does too.
    """
    tracebacks.escape(record)
    fields: dict[str, Any] = copy.copy(vars(record))
    fields["msg"] = shown(record, logging.LogRecord.getMessage, 1_000_000)
    fields["args"] = fields["exc_info"] = None
    for name in fields.keys() - _STANDARD:
        try:
            pickle.dumps(fields[name])
        except Exception:
            fields[name] = shown(fields[name])
    return pickle.dumps(fields)


def handle(data: bytes, number: int) -> None:
    """Pass a shard's record to the logger of the same name, with the shard's number."""
    try:
        record = logging.makeLogRecord(unpacked(data))
        record.levelname = logging.getLevelName(record.levelno)
        record.shard = number
        record.msg = f"shard {number}: {record.msg}"
        own = logging.getLogger(record.name)
        if own.isEnabledFor(record.levelno):
            own.handle(record)
    except Exception:  # a class that is missing here, or a filter that fails
        logger.exception("a log record of shard %d could not be handled", number)


def levels() -> dict[str, int]:
    """Return the levels that are set on loggers, by name; "" is the root."""
    loggers = {"": logging.getLogger(), **logging.root.manager.loggerDict.copy()}
    found = {name: getattr(logger, "level", 0) for name, logger in loggers.items()}
    return {name: level for name, level in found.items() if level}


def apply_levels(levels: dict[str, int]) -> None:
    """Set these levels."""
    for name, level in levels.items():
        logging.getLogger(name or None).setLevel(level)
