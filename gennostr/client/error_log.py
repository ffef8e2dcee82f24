"""What the defaults of a client's callbacks log of errors and refusals.

It is limited so that no relay can fill the log.

A CLOSED, a NOTICE and an OK that refuses an event each count as an error of their own kind. The first error of a kind
at a relay is logged at once. Later ones are counted, and the next line of that kind, at the earliest `INTERVAL` seconds
later, says how many were left out: a relay that is down for a day is one line a minute, and so are a million forged
events.
"""

from typing import Any, Final, TypeAlias

from gennostr.exceptions import MessageError
from gennostr.nostr.messages import ClosedMessage, NoticeMessage, OkMessage
from gennostr.nostr.relay_url import redact
from gennostr.otp.pid import Pid
from gennostr.values import printable, shown

INTERVAL: Final = 60.0
"""Seconds between two lines about errors of one kind at one relay."""
MOST: Final = 1024
"""The most lines within `INTERVAL`, over all relays and kinds; also the number of entries kept."""
MOST_SHOWN: Final = 500
"""The most characters of an error's text in a line."""

_Kind: TypeAlias = type | tuple[type, str]


class _Entry:
    """The last line about one kind of error at one relay."""

    __slots__ = ("left_out", "logged_at")

    def __init__(self, logged_at: float) -> None:
        self.logged_at = logged_at
        self.left_out = 0
        """The number of errors since then."""

    def covers(self, now: float) -> bool:
        """Whether it is too early for the next line.

        It is not if the clock was set back, as tests do.
        """
        return self.logged_at <= now < self.logged_at + INTERVAL


class ErrorLog:
    """The errors of one client that were logged, by relay and kind.

    It logs nothing itself, and has no clock.

    It belongs to the client's thread. A call from another thread, or from a finalizer during a call, can at worst
    miscount.
    """

    def __init__(self) -> None:
        self._entries: dict[tuple[str, _Kind], _Entry] = {}
        # Errors that got no entry, because all entries were in use.
        self._others = 0

    def line(self, url: str, error: object, now: float) -> str | None:
        """Return the line to log about `error` at the relay `url`, or None.

        `error` is what handle_error was called with, or a message that refuses something. None: it is too early for
        another line.
        """
        key = url, _kind(error)
        entry = self._entries.get(key)
        if entry is not None and entry.covers(now):
            entry.left_out += 1
            return None
        if entry is None and len(self._entries) >= MOST:
            self._forget(now)
            if len(self._entries) >= MOST:
                self._others += 1
                return None
        self._entries[key] = _Entry(now)
        text = _line(redact(url), error)
        if entry is not None and entry.left_out:
            text += f" ({entry.left_out} more like this in the last {now - entry.logged_at:.0f} s)"
        if self._others:
            text += f" ({self._others} errors of other kinds or relays were not logged)"
            self._others = 0
        return text

    def _forget(self, now: float) -> None:
        """Drop the entries that no longer suppress anything."""
        for key, entry in list(self._entries.items()):
            if not entry.covers(now):
                self._entries.pop(key, None)


def error_log(client: Pid) -> ErrorLog:
    """Return the client's log, created at first use.

    So a client that overrides the callbacks that log has none.

    It is stored on the handle, of which a client has one for its whole life: so it ends with the client, and takes no
    name on the user's object.
    """
    held: dict[str, Any] = vars(client)
    log: ErrorLog | None = held.get("error_log")
    if log is None:
        log = held.setdefault("error_log", ErrorLog())  # one step: two threads get the same one
    return log


def _kind(error: object) -> _Kind:
    return (type(error), error.problem) if isinstance(error, MessageError) else type(error)


def _line(url: str, error: object) -> str:
    match error:
        case ClosedMessage(id_, text):
            return printable(f"{url}: closed subscription {shown(id_, repr, MOST_SHOWN)}: {_cut(text)}")
        case OkMessage(id_, _, text):
            return printable(f"{url}: refused event {_cut(id_)}: {_cut(text)}")
        case NoticeMessage(text):
            return printable(f"{url}: NOTICE: {_cut(text)}")
    text = shown(error, str, MOST_SHOWN).removeprefix(f"{url}: ")
    if isinstance(error, BaseException):
        name = type(error).__name__
        text = f"{name}: {text}" if text else name
    return printable(f"{url}: {text}")


def _cut(text: str) -> str:
    return shown(text, str, MOST_SHOWN)
