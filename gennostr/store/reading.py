"""Reading the events in a file, beside the client that writes them."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from gennostr.exceptions import StoreError
from gennostr.nostr.event import Event
from gennostr.store.events import EventTable, Filters


class Events:
    """The events that an `Archive` keeps in a file, to be read.

    The file is opened read-only. Its writer neither waits for a reader nor makes it wait, and may be in another
    process. What the writer has saved can be found at once; it saves within a second.

    For the thread that has made it.

    >>> import tempfile
    >>> from gennostr.store import Archive, ArchiveOptions, Events
    >>> directory = tempfile.TemporaryDirectory()
    >>> path = f"{directory.name}/all.db"
    >>> _ = Archive.start(ArchiveOptions(path, [])).stop()
    >>> with Events(path) as events:
    ...     events.count({})
    0
    >>> directory.cleanup()

    Args:
        path: the file.

    Raises:
        StoreError: it does not exist, cannot be read, or holds no archive.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        try:
            uri = f"{Path(path).resolve(strict=True).as_uri()}?mode=ro"
            self._database = sqlite3.connect(uri, uri=True, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{self._path} cannot be opened: {error}") from error
        try:
            EventTable(self._database).check_version()  # the first statement opens the file
        except (sqlite3.Error, StoreError) as error:
            self._database.close()
            reason = str(error)
            if not isinstance(error, StoreError):
                reason = "it holds no archive" if "no such table" in reason else reason
            raise StoreError(f"{self._path} cannot be read: {reason}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Events({self._path!r})"

    def query(self, filters: Filters) -> Iterator[Event]:
        """Return an iterator over the events that match, newest first, each once.

        Within one second, the lowest id comes first. Events are read as they are needed, and those that arrive
        meanwhile are not among them.

        Args:
            filters: a filter of NIP-01 or a list of filters, as for `subscribe`; ``limit`` applies to each.

        Raises:
            TypeError, ValueError: a filter is invalid; or it has ``search``, and the archive has no full-text index.
        """
        return EventTable(self._database).query(filters)

    def count(self, filters: Filters) -> int:
        """Return how many events match one of the filters; ``limit`` is ignored.

        Args:
            filters: as for `query`.
        """
        return EventTable(self._database).count(filters)

    def close(self) -> None:
        """Close the file. Closing twice does no harm."""
        self._database.close()
