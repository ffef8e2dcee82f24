"""The archive: how much it slows receiving, and how fast its file is read.

First, 20,000 events from one relay, from the REQ to the last of them: received alone, received by a client with a store
(positions and seen events), and received by one that also keeps each event, as an archive keeps what is new. Then all
that a relay has stored, in pages of 500: read by a `fetch`, and kept by an `Archive`. Both with signatures checked, as
an archive does by default, and without. Each runs in its own process, until it has saved.

Last, files of several sizes: the size of an event in it, the time to add one, and the time of queries.

``python -m benchmarks.archive SIZE...`` measures files of these numbers of events alone.
"""

import json
import random
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import measure
from benchmarks.events import COUNT, SUBSCRIPTION, signed
from benchmarks.relays import relay_process
from gennostr import GenNostr, Ok, fetch
from gennostr.nostr import Event
from gennostr.store import Archive, ArchiveOptions, Events, EventTable, SqliteStore

SIZES = (10_000, 100_000, 1_000_000)
QUERIES = 200


def receive(url: str, path: str, what: str, *, verify: bool) -> float:
    """Receive the events of a flood and do `what` with them; return the seconds until all of it is saved."""
    done, connected = threading.Event(), threading.Event()

    class Feed(GenNostr[int]):
        deduplicate = True
        store = None if what == "receive" else SqliteStore(path)

        def init(self, init_arg: Any) -> Any:
            if isinstance(self.store, SqliteStore):
                with self.store.transaction() as database:
                    EventTable(database).create()
            self.add_relay(url, verify=verify)
            return Ok(COUNT)

        def handle_connect(self, relay: Any, state: int) -> None:
            connected.set()

        def handle_events(self, messages: Any, relay: Any, left: int) -> Any:
            if what == "archive" and isinstance(self.store, SqliteStore):
                EventTable(self.store.transaction()).add([message.event for message in messages])
            left -= len(messages)
            if not left:
                done.set()
            return Ok(left)

    with Feed.start() as feed:
        connected.wait()
        began = time.perf_counter()
        feed.subscribe({}, SUBSCRIPTION)
        done.wait()
        feed.stop()
    return time.perf_counter() - began


def read(url: str, path: str, what: str, *, verify: bool) -> float:
    """Read all that a relay has stored; return the seconds until all of it is saved."""
    began = time.perf_counter()
    if what == "fetch":
        assert sum(1 for _ in fetch({}, [url], verify=verify)) == COUNT
        return time.perf_counter() - began
    with Archive.start(ArchiveOptions(path, [url], {}, relay_options={"verify": verify})) as archive:
        [progress] = archive.call("stored", timeout=None).values()
        assert progress.added == COUNT, progress
    return time.perf_counter() - began


def rates(task: str, contenders: list[str], url: str, *, verify: bool) -> None:
    """Measure and print the events per second of each contender."""
    command = ("benchmarks.archive", task, url, str(int(verify)))

    def rate(name: str) -> float:
        return COUNT / measure.in_process(*command, name)["seconds"]

    found = measure.interleaved({name: partial(rate, name) for name in contenders})
    measure.table(f"{task}, {'verified' if verify else 'unverified'}", contenders[-1], found, "events/s")


def run(task: str, url: str, verify: str, what: str) -> None:
    """Run one contender and print its figure."""
    with tempfile.TemporaryDirectory() as directory:
        function = receive if task == "receive" else read
        seconds = function(url, f"{directory}/events.db", what, verify=verify == "1")
    print(json.dumps({"seconds": seconds}))


def many(count: int) -> Iterator[Event]:
    """Yield so many events: those of all benchmarks, again and again, with other ids, times and references."""
    source, number = random.Random(4), 0
    while True:
        for event in signed():
            if number == count:
                return
            tags = [[tag[0], source.randbytes(32).hex(), *tag[2:]] if tag[0] in "edp" else tag for tag in event.tags]
            time_ = 1_700_000_000 + number
            yield msgspec.structs.replace(event, id=source.randbytes(32).hex(), created_at=time_, tags=tags)
            number += 1


def fill(path: str, count: int) -> float:
    """Add so many events as an archive does, a thousand for each commit; return the microseconds for each."""
    spent = 0.0
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        table, events = EventTable(database), many(count)
        table.create()
        while batch := [event for _, event in zip(range(1000), events, strict=False)]:
            began = time.perf_counter()
            database.execute("BEGIN")
            table.add(batch)
            database.execute("COMMIT")
            spent += time.perf_counter() - began
    return spent / count * 1e6


def timed(query: Callable[[], int]) -> str:
    """Run a query some times; return how many events it finds, and the median and the longest time."""
    times, found = [], []
    for _ in range(QUERIES):
        began = time.perf_counter()
        found.append(query())
        times.append((time.perf_counter() - began) * 1000)
    return f"{statistics.median(found):>6,.0f} {statistics.median(times):>8.2f} {max(times):>8.2f}"


def queries(path: str, count: int) -> None:
    """Print the times of queries."""
    source = random.Random(5)
    with Events(path) as events:

        def length(**filter_: Any) -> int:
            return sum(1 for _ in events.query({name.replace("tag_", "#"): each for name, each in filter_.items()}))

        some = [event for event in many(min(count, 20_000)) if source.random() < 0.1]
        authors = sorted({event.pubkey for event in some})
        referred = [tag[1] for event in some for tag in event.tags if tag[0] == "e"]
        ids = [event.id for event in some]
        for what, query in {
            "by author and kind, at most 500": lambda: length(authors=[source.choice(authors)], kinds=[7], limit=500),
            "by tag (#e)": lambda: length(tag_e=[source.choice(referred)]),
            "by tag (#t, common), at most 500": lambda: length(tag_t=["nostr"], limit=500),
            "by id": lambda: length(ids=[source.choice(ids)]),
            "by kind, at most 500": lambda: length(kinds=[1], limit=500),
        }.items():
            print(f"  {what:36}{timed(query)}")


def tables(sizes: tuple[int, ...]) -> None:
    """Measure and print files of these sizes."""
    for count in sizes:
        with tempfile.TemporaryDirectory() as directory:
            path = f"{directory}/events.db"
            added = fill(path, count)
            size = Path(path).stat().st_size / count
            print(f"\n{count:,} events: {added:.1f} us to add one, {size:,.0f} bytes in the file each")
            print(f"  {'query':36}{'found':>6} {'median':>8} {'longest':>8}  ms")
            queries(path, count)


def main() -> None:
    """Measure and print."""
    match sys.argv[1:]:
        case ["receive" | "read" as task, url, verify, what]:
            run(task, url, verify, what)
        case [_, *_] as sizes:
            tables(tuple(map(int, sizes)))
        case _:
            measure.heading("The archive", ["gennostr"])
            with relay_process(1) as url:
                for checked in (True, False):
                    rates("receive", ["receive", "store", "archive"], f"{url}/flood/0", verify=checked)
                    rates("read", ["fetch", "archive"], f"{url}/stored", verify=checked)
            tables(SIZES)


if __name__ == "__main__":
    main()
