"""Events in batches: what a client that stores them saves with handle_events, against handle_event.

20,000 events that one relay sends at once, to a client that inserts each into an SQLite database of its own (WAL,
``synchronous`` NORMAL): with handle_events in one transaction for each call, with handle_event in one for each event.
Then the same without the database: the client only counts. Both without and with ``verify``.

The clock runs from the REQ until the last event is committed, or counted. A client with a database checks that it has
each event. Each client runs in its own process, the relay in another.

``python -m benchmarks.batches NAME TASK VERIFY URL``, with a TASK of ``stored`` or ``counted`` and a VERIFY of ``0`` or
``1``, runs one and prints its figures as JSON.
"""

import json
import sqlite3
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

from benchmarks import measure
from benchmarks.events import COUNT, SUBSCRIPTION
from benchmarks.relays import relay_process
from gennostr import GenNostr, Ok, Relay
from gennostr.nostr import Event, EventMessage

_SCHEMA = "CREATE TABLE events (id TEXT PRIMARY KEY, created_at INTEGER, pubkey TEXT, json TEXT)"
_INSERT = "INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?)"


class Run:
    """One client's run, in microseconds for each event."""

    def __init__(self) -> None:
        self.connected, self.done = threading.Event(), threading.Event()
        self.figures: dict[str, float] = {}
        self._left, self._calls = COUNT, 0
        self._began = self._processor = 0.0

    def begin(self) -> None:
        """Start the clock, when the REQ is sent."""
        self._processor = time.process_time()
        self._began = time.perf_counter()

    def handled(self, number: int) -> None:
        """Count a call with so many events."""
        self._calls += 1
        self._left -= number
        if not self._left:
            self.figures["time"] = (time.perf_counter() - self._began) / COUNT * 1e6
            self.figures["processor"] = (time.process_time() - self._processor) / COUNT * 1e6
            self.figures["events"] = COUNT / self._calls
            self.done.set()


def _row(event: Event) -> tuple[str, int, str, str]:
    return event.id, event.created_at, event.pubkey, event.to_json()


class Client(GenNostr[sqlite3.Connection | None]):
    """What both clients have in common; the state is the database."""

    run: Run

    def init(self, init_arg: tuple[Run, Path | None]) -> Ok[sqlite3.Connection | None]:
        """Open the database, if there is to be one."""
        self.run, path = init_arg
        if path is None:
            return Ok(None)
        # Without implicit transactions: a statement by itself is one, which is the fastest for a single event.
        database = sqlite3.connect(path, isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute(_SCHEMA)
        return Ok(database)

    def handle_connect(self, relay: Relay, state: object) -> None:
        """Let the clock start."""
        self.run.connected.set()

    def terminate(self, reason: object, database: sqlite3.Connection | None) -> None:
        """Close the database."""
        if database is not None:
            database.close()


class OneByOne(Client):
    """A transaction for each event."""

    def handle_event(self, message: EventMessage, relay: Relay, database: sqlite3.Connection | None) -> None:
        """Keep an event."""
        if database is not None:
            database.execute(_INSERT, _row(message.event))
        self.run.handled(1)


class InBatches(Client):
    """A transaction for each call."""

    def handle_events(self, messages: list[EventMessage], relay: Relay, database: sqlite3.Connection | None) -> None:
        """Keep the events of a read."""
        if database is not None:
            database.execute("BEGIN")
            database.executemany(_INSERT, [_row(message.event) for message in messages])
            database.execute("COMMIT")
        self.run.handled(len(messages))


CONTENDERS: dict[str, type[Client]] = {"handle_events": InBatches, "handle_event": OneByOne}


def run(name: str, task: str, verify: str, url: str) -> dict[str, float]:
    """Run one client; return its figures."""
    run = Run()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.db" if task == "stored" else None
        with CONTENDERS[name].start((run, path)) as client:
            client.add_relay(url, verify=verify == "1")
            run.connected.wait()
            run.begin()
            client.send_message(["REQ", SUBSCRIPTION, {}], url)
            run.done.wait()
        if path is not None:
            database = sqlite3.connect(path)
            (stored,) = database.execute("SELECT count(*) FROM events").fetchone()
            database.close()
            if stored != COUNT:
                sys.exit(f"{stored:,} of {COUNT:,} events were stored")
    return run.figures


_ROWS = {"time": "us/event", "processor": "CPU, us/event", "events": "events of a call"}


def compare() -> None:
    """Measure and print."""
    measure.heading("Events in batches", ["gennostr", "coincurve"])
    print(f"SQLite {sqlite3.sqlite_version}")
    with relay_process(1) as url:
        for task in ("stored", "counted"):
            for verify in ("0", "1"):
                found = measure.figures(
                    {
                        name: partial(measure.in_process, "benchmarks.batches", name, task, verify, f"{url}/flood/0")
                        for name in CONTENDERS
                    }
                )
                print(f"\n{COUNT:,} events, {task}, {'verified' if verify == '1' else 'unverified'}")
                measure.rows({text: found[what] for what, text in _ROWS.items()})


def main() -> None:
    """Measure and print, or run as a contender."""
    match sys.argv[1:]:
        case [name, task, verify, url]:
            print(json.dumps(run(name, task, verify, url)))
        case _:
            compare()


if __name__ == "__main__":
    main()
