"""Kills a client with an `SqliteStore` at random moments, again and again, and looks at what the file says.

    python -m tests.store.crashes [--rounds 50] [--seed N] [--relay sdk|nostr-relay|memory ...] [--deduplicate]

A round: new events are stored at the relays; the client starts, handles them and more that arrive meanwhile, publishes
durably, in callbacks and from another thread, and is killed by SIGKILL between its start and some 200 ms after its
first event. In some rounds a relay is killed and restarted as well, before or during the client's run. All relays keep
their events: "sdk" is nostr-sdk's with LMDB, "nostr-relay" the one from PyPI with SQLite, "memory" a `MemoryRelay` in a
process of its own, which is stopped and started. With more than one ``--relay``, some events are at one, most at all of
them. With ``--deduplicate``, events are verified too, so that connections drop copies undecoded.

Each event that the client handles is a row of a table without any constraint, written in `SqliteStore.transaction`; so
is each event that it publishes in a callback, and each `PublicationDone`. After each kill, in a copy of the file:

- no event has two rows (with ``--deduplicate`` not even if several relays have it);
- an event is saved as seen exactly if it has a row;
- a saved position skips nothing: each event that the relay has, and that was created before the point from which the
  next REQ will resume, has a row;
- each publication whose row was committed, or whose `wait_saved` has returned, is pending or done, and done once.

At the end the client runs without being killed. Then all events have their row, and all publications are done: a relay
has each event that it is said to have accepted, and none that was not saved first.

The events are up to 20 s apart, out of order by up to 50 s, and in the past. A subscription resumes 60 s before the
newest event: if they were new, each REQ would have all of them, and hide what a wrong position skips. The client's
process is a fork of this one, which has imported everything and has no other thread: an interpreter takes 0.3 s to
start. The seed decides what the driver does; when a kill arrives, and what it meets, is different each time.
"""

import argparse
import asyncio
import json
import logging
import math
import os
import random
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import websocket

from gennostr import KILL, CallExit, GenNostr, NoProcess, Ok, PublicationDone, StoreError
from gennostr.cli.local_relay import HOST, free_port, url_at
from gennostr.client import durable_publications, relay_limits, relay_pool
from gennostr.client.seen_events import identity
from gennostr.client.subscriptions import OVERLAP
from gennostr.nostr import Event, generate_key, sign
from gennostr.store import SqliteStore, tables
from gennostr.testing import MemoryRelay
from tests.relays import NostrRelay

WAIT = 30.0
"""Seconds after which something that must happen has failed."""
NOTE, ANSWER = 1, 7
"""The kinds of what the client receives, and of what it publishes."""
SUBSCRIPTION = "notes"
NOBODY = "ws://127.0.0.1:9/"
APART = 20
"""The most seconds between two events."""
LATE = 25
"""The most seconds by which an event is dated early or late: two of these are less than the overlap of two REQs."""
SEEN = 1_000
PAGE = 20
"""How many events a `MemoryRelay` sends at once; the client takes no other answer for complete either."""
RESTARTS = {"memory": 0.2, "sdk": 0.15, "nostr-relay": 0.12}
"""In how many rounds a relay restarts: that takes from 2 ms to a second."""
TABLES = """
CREATE TABLE IF NOT EXISTS received (id TEXT, url TEXT, answered INTEGER);
CREATE TABLE IF NOT EXISTS intended (id TEXT, about TEXT);
CREATE TABLE IF NOT EXISTS done (id TEXT, outcomes TEXT)
"""


class FailureError(Exception):
    """A callback fails."""


class CrashError(AssertionError):
    """Something was lost, or happened twice."""


# The client.


@dataclass(frozen=True)
class Run:
    """One run of the client."""

    path: Path
    urls: Sequence[str]
    key: str
    """The secret key, in hex, with which it signs."""
    deduplicate: bool
    save_after: float
    """Seconds between two saves."""
    answers: int
    """It answers one event of so many."""
    publish_after: float | None
    """Seconds between two publications from another thread; None: no thread does."""
    in_batches: bool
    """Whether it handles several events in one call."""
    fails: float
    """The probability with which a callback raises, or kills its client; then the client is started again."""
    lives: float | None
    """Seconds after which the client is killed in its process, and started again; None: it is not."""
    report: int
    """The pipe to the driver."""

    def say(self, *words: str) -> None:
        os.write(self.report, (" ".join(words) + "\n").encode())  # short enough to be atomic


class Feed(GenNostr[Run]):
    """Writes a row for each event, for each event that it publishes, and for each publication that is done."""

    def init(self, init_arg: Run) -> Ok[Run]:
        self.store: SqliteStore = SqliteStore(init_arg.path)
        self.deduplicate = init_arg.deduplicate
        self.max_seen_events = SEEN
        with self.store.transaction() as database:
            for statement in TABLES.split(";"):
                database.execute(statement)
        for url in init_arg.urls:
            self.add_relay(url, reconnect=[0.01, 0.05], close_timeout=0.05, verify=init_arg.deduplicate)
        self.subscribe({"kinds": [NOTE]}, SUBSCRIPTION)
        return Ok(init_arg)

    def handle_event(self, message: Any, relay: Any, state: Run) -> None:
        self._received([message], relay, state)

    def _received(self, messages: Sequence[Any], relay: Any, state: Run) -> None:
        answered = [each.event.id for each in messages if int(each.event.id[:8], 16) % state.answers == 0]
        with self.store.transaction() as database:
            rows = [(each.event.id, relay.url, each.event.id in answered) for each in messages]
            database.executemany("INSERT INTO received VALUES (?, ?, ?)", rows)
        if random.random() < state.fails:
            raise FailureError
        for id_ in answered:
            self._publish(state, "an answer", f"{id_} at {relay.url}")
        state.say("handled", " ".join(each.event.id for each in messages))

    def handle_info(self, message: Any, state: Run) -> None:
        assert isinstance(message, PublicationDone)
        event = message.publication.event
        outcomes = {url: each.kind for url, each in message.publication.result().items()}
        with self.store.transaction() as database:
            database.execute("INSERT INTO done VALUES (?, ?)", (event.id, json.dumps(outcomes)))
        if random.random() < state.fails:
            if random.random() < 0.5:
                raise FailureError
            self.pid.exit(KILL)  # takes effect when this has returned
            return
        if event.content.startswith("an answer") and event.id[0] in "0123":
            self._publish(state, "a second one", event.id)

    def handle_error(self, reason: Any, relay: Any, state: Run) -> None:
        if isinstance(reason, StoreError):
            state.say("error", repr(reason))

    def _publish(self, state: Run, what: str, about: str) -> None:
        """Publish durably, and write a row in the transaction of this callback."""
        event = _answer(state, f"{what} to {about}")
        options: dict[str, Any] = {}
        if event.id[-1] in "01":
            options = {"relays": [*state.urls, NOBODY], "expires": time.time() + 0.5}
        self.publish(event, durable=True, timeout=2.0, **options)
        with self.store.transaction() as database:
            database.execute("INSERT INTO intended VALUES (?, ?)", (event.id, about))


class FeedInBatches(Feed):
    """Handles the events of one read in one call."""

    def handle_events(self, messages: Any, relay: Any, state: Run) -> None:
        self._received(messages, relay, state)


class _Errors(logging.Handler):
    """Reports what is logged as an error."""

    def __init__(self, run: Run) -> None:
        super().__init__(logging.ERROR)
        self._run = run

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if FailureError.__name__ not in text:
            self._run.say("error", repr(text)[:2_000])


def _answer(run: Run, content: str) -> Event:
    # At a time of its own, so that the driver can read all of them page by page.
    return sign(run.key, kind=ANSWER, content=content, created_at=int(time.time()) - random.randrange(10**6))


def _run(run: Run) -> None:
    """Run the client until SIGTERM; in the child."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    logging.getLogger().addHandler(_Errors(run))
    relay_pool.SAVE_AFTER = run.save_after  # type: ignore[attr-defined]
    durable_publications.PAUSE = (0.05, 0.4)  # type: ignore[misc]
    relay_limits.FULL_ANSWER = PAGE  # type: ignore[misc]
    while not _run_once(run):
        pass


def _run_once(run: Run) -> bool:
    """Run the client until SIGTERM; return False if it has ended before."""
    client = (FeedInBatches if run.in_batches else Feed).start(run)
    killed_at = math.inf if run.lives is None else time.monotonic() + run.lives
    while not signal.sigtimedwait({signal.SIGTERM}, run.publish_after or 0.02):
        if time.monotonic() > killed_at:
            client.exit(KILL)
        try:
            if run.publish_after is not None:
                event = _answer(run, f"unasked, at {time.time_ns()}")
                client.publish(event, durable=True, timeout=2.0).wait_saved(WAIT)
                run.say("saved", event.id)
        except (CallExit, NoProcess):
            pass
        if not client.is_alive():
            return False
    client.stop()
    return True


class Child:
    """A forked process in which the client runs."""

    def __init__(self, run: Callable[[int], Run]) -> None:
        self._pipe, report = os.pipe()
        self._rest = b""
        self.dead = False
        self.status: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            self._live(run(report))
        os.close(report)

    def _live(self, run: Run) -> NoReturn:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        status = 1
        try:
            # The driver's connections, and its ends of the relays' pipes.
            os.closerange(3, run.report)
            os.closerange(run.report + 1, 1_024)
            _run(run)
            status = 0
        except BaseException:
            run.say("error", repr(traceback.format_exc())[:2_000])
        finally:
            os._exit(status)

    def kill(self) -> None:
        """Kill it now; also as a signal handler."""
        if self.status is None:  # it has not been waited for: the pid is its own
            os.kill(self.pid, signal.SIGKILL)

    def stop(self) -> None:
        """Have it stop in order."""
        if self.status is None:
            os.kill(self.pid, signal.SIGTERM)

    def words(self, seconds: float) -> Iterator[list[str]]:
        """Return what it says within some seconds, at least one read; when it has ended, `status` is set."""
        if not select.select([self._pipe], [], [], seconds)[0]:
            return
        read = os.read(self._pipe, 65_536)
        *lines, self._rest = (self._rest + read).split(b"\n")
        if not read:
            os.close(self._pipe)
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        for line in lines:
            yield line.decode().split(" ", 1)


# Relays.


class Relay:
    """A relay that keeps its events, in a process of its own; and what was stored there."""

    restarts = 0.0

    def __init__(self, kind: str, directory: Path) -> None:
        self.restarts = RESTARTS[kind]
        self.stored: dict[str, Event] = {}
        """By id, in the order of time: what it has acknowledged."""
        self.up = False
        self._process: _Server | NostrRelay = (
            NostrRelay(keep=True) if kind == "nostr-relay" else _Server(kind, directory, free_port())
        )
        self.start()
        self.url = self._process.url

    def start(self) -> None:
        self._process.start()
        url = self._process.url
        self._connection = websocket.create_connection(url, timeout=WAIT)
        self.up = True

    def kill(self) -> None:
        self.up = False
        self._process.kill()
        self._connection.close(timeout=0)

    def end(self) -> None:
        """Kill it; also if it is not up."""
        self.up = False
        self._process.__exit__(None, None, None)

    def store(self, event: Event) -> None:
        """Have it store an event; return when it says so."""
        self._connection.send(b'["EVENT",%s]' % event.to_json().encode())
        while (answer := json.loads(self._connection.recv()))[:2] != ["OK", event.id]:
            pass
        if answer[2] is not True:
            raise CrashError(f"{self.url} has refused an event: {answer}")
        self.stored[event.id] = event

    def query(self, kind: int) -> set[str]:
        """Return the ids of all its events of a kind, page by page."""
        found: set[str] = set()
        filter_: dict[str, Any] = {"kinds": [kind]}
        while True:
            self._connection.send(json.dumps(["REQ", "all", filter_]))
            page = {}
            while (answer := json.loads(self._connection.recv()))[0] != "EOSE":
                if answer[0] == "EVENT":
                    page[answer[2]["id"]] = answer[2]["created_at"]
            if page.keys() <= found:
                return found
            found |= page.keys()
            filter_["until"] = min(page.values())


class _Server:
    """A relay in a process of this module: see `_serve`."""

    def __init__(self, kind: str, directory: Path, port: int) -> None:
        self._kind = kind
        self._command = [sys.executable, "-m", "tests.store.crashes", "--serve", kind, str(directory), str(port)]
        self.url = url_at(port)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        process = self._process
        if process is None:
            process = self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
            )
        else:
            assert process.stdin is not None
            process.stdin.write(b"start\n")
            process.stdin.flush()
        self._await_line(process)

    def _await_line(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], WAIT)[0]:
            raise TimeoutError(f"a relay did not answer within {WAIT:g} s")
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("a relay has ended")
        if line.startswith(b"ws"):
            self.url = line.decode().strip()

    def kill(self) -> None:
        if self._kind == "memory":  # its events live as long as its process
            assert self._process is not None
            assert self._process.stdin is not None
            self._process.stdin.write(b"stop\n")
            self._process.stdin.flush()
            self._await_line(self._process)
        else:
            self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                pipe.close()

    def __exit__(self, *details: object) -> None:
        self._end()


def _serve(kind: str, directory: str, port: int) -> None:
    """Be a relay, until standard input ends; each line printed says that it is ready, or has stopped."""
    if kind == "sdk":
        asyncio.run(_serve_sdk(directory, port))
        return
    with MemoryRelay(max_limit=PAGE) as relay:
        print(relay.url, flush=True)  # noqa: T201
        for line in sys.stdin:
            if line == "stop\n":
                relay.stop()
            else:
                relay.start()
            print("done", flush=True)  # noqa: T201


async def _serve_sdk(directory: str, port: int) -> None:
    import nostr_sdk  # noqa: PLC0415 - the driver does without

    loop = asyncio.get_running_loop()
    nostr_sdk.uniffi_set_event_loop(loop)
    unlimited = nostr_sdk.RateLimit(max_reqs=2**32 - 1, notes_per_minute=2**32 - 1)
    database = await nostr_sdk.NostrLmdb.open(directory)
    relay = nostr_sdk.LocalRelayBuilder().addr(HOST).port(port).rate_limit(unlimited).database(database).build()
    await relay.run()
    print(url_at(port), flush=True)  # noqa: T201
    await loop.run_in_executor(None, sys.stdin.read)


# The driver.


@dataclass
class Counts:
    """What has happened."""

    kills: int = 0
    restarts: int = 0
    undone: int = 0
    """Events that were handled and not committed when the client was killed."""
    behind: int = 0
    """Events before a saved position without a row; they are sent again, as a REQ resumes 60 s earlier."""
    pending: int = 0
    """Publications that were pending when the client was killed."""
    early: int = 0
    """Kills before the first event was handled."""
    whole: int = 0
    """Runs that were not killed, since the position had not moved for too long."""
    kinds: Counter[str] = field(default_factory=Counter)
    """The outcomes of publications."""


class Crashes:
    """All rounds, with one file, some relays, and the expectations."""

    def __init__(self, directory: Path, kinds: Sequence[str], *, seed: int, rounds: int, deduplicate: bool) -> None:
        self.counts = Counts()
        self.relays: list[Relay] = []
        self._draw = random.Random(seed)
        self._directory = directory
        self._path = directory / "feed.db"
        self._deduplicate = deduplicate
        self._key = generate_key()
        # When the last event was created: they must not reach the future, which moves no position.
        self._time = int(time.time()) - (rounds + 10) * 100 * APART
        # By what a store keeps of an event: its id.
        self._ids: dict[bytes, str] = {}
        # How many events the next REQs will request.
        self._unread = 0
        # What the client has said: events handled in this round, and publications whose wait_saved has returned.
        self._handled: set[str] = set()
        self._saved: set[str] = set()
        self._child: Child | None = None
        for number, kind in enumerate(kinds):
            (directory / f"relay-{number}").mkdir()
            self.relays.append(Relay(kind, directory / f"relay-{number}"))
        # The first REQ is answered with one page, and reaches back no further; and with no event that counts, the next
        # one would resume where it was sent.
        self._store(everywhere=True)
        self.finish()

    def end(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if self._child is not None:
            self._child.kill()
        for relay in self.relays:
            relay.end()

    def _store(self, *, everywhere: bool = False) -> None:
        """Store a new event at one relay, or at all."""
        self._time += self._draw.randint(1, APART)
        assert self._time < time.time() - LATE, "the events have reached the present"
        created_at = self._time + self._draw.randint(-LATE, LATE)
        event = sign(self._key, kind=NOTE, content=str(self._time), created_at=created_at)
        self._ids[identity(event, verified=self._deduplicate)] = event.id
        relays = self.relays if everywhere or self._draw.random() < 0.6 else [self._draw.choice(self.relays)]
        for relay in relays:
            if relay.up:
                relay.store(event)

    def _start(self, **options: Any) -> Child:
        urls = [relay.url for relay in self.relays]

        def run(report: int) -> Run:
            return Run(self._path, urls, self._key, self._deduplicate, report=report, **options)

        self._child = child = Child(run)
        signal.signal(signal.SIGALRM, lambda *_: child.kill())
        return child

    def round(self) -> None:
        """Run the client, and kill it."""
        draw = self._draw
        if self._unread > SEEN // 2:  # killed too often before the last page: of more than SEEN, some would come twice
            self.counts.whole += 1
            self.finish()
        for _ in range(draw.randint(2 * PAGE, 4 * PAGE) if draw.random() < 0.1 else draw.randint(0, 4)):
            self._store()
        moment = draw.choice(["before", "during"]) if draw.random() < max(e.restarts for e in self.relays) else ""
        victim = draw.choice(self.relays)
        if moment == "before":
            victim.kill()
        child = self._start(
            save_after=draw.choice([0.003, 0.02, 0.1, 1.0]),
            answers=draw.choice([3, 10, 50]),
            publish_after=draw.choice([None, 0.01, 0.03]),
            in_batches=draw.random() < 0.5,
            fails=draw.choice([0.0, 0.0, 0.03]),
            lives=draw.choice([None, None, draw.uniform(0.02, 0.1)]),
        )
        handled = self._handled = set()
        armed = not moment and draw.random() < 0.2
        if armed:
            signal.setitimer(signal.ITIMER_REAL, draw.uniform(0.001, 0.1))
        deadline = time.monotonic() + WAIT
        while child.status is None:
            for word, about in child.words(draw.expovariate(100)):
                if word == "handled":
                    handled.update(about.split())
                elif word == "saved":
                    self._saved.add(about)
                else:
                    raise CrashError(f"the client: {about}")
            if moment and (handled or moment == "before"):
                self._restart(victim, kill=moment == "during")
                moment = ""
            if handled and not moment and not armed:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, draw.uniform(0.0001, 0.2))
            if child.status is None:
                self._store()
            if time.monotonic() > deadline:
                raise CrashError(f"the client has handled nothing within {WAIT:g} s")
        if child.status != -signal.SIGKILL:
            raise CrashError(f"the client has ended with status {child.status}")
        self.counts.kills += 1
        self.counts.early += not handled
        self._check()

    def _restart(self, relay: Relay, *, kill: bool) -> None:
        if kill:
            relay.kill()
        relay.start()
        self.counts.restarts += 1

    # What must be true.

    def _check(self) -> bool:
        """Look at a copy of the file, as the last run has left it; return whether nothing is left to do."""
        copy = self._directory / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for path in (self._path, Path(f"{self._path}-wal")):  # the log too: opening it is the next run's part
            if path.exists():
                shutil.copy(path, copy)
        with closing(sqlite3.connect(copy / self._path.name)) as database:
            return self._check_file(database)

    def _check_file(self, database: sqlite3.Connection) -> bool:
        if database.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
            raise CrashError("the file is damaged")
        there = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        if not {"gennostr_meta", "received"} <= there:
            if "received" in there or self._saved:
                raise CrashError("a table is missing")
            return False
        saved = tables.read(database)
        subscription = saved.subscriptions.get(SUBSCRIPTION)
        received = database.execute("SELECT id, url, answered FROM received ORDER BY rowid").fetchall()
        answered = {f"{id_} at {url}" for id_, url, answered in received if answered}
        intended = dict(database.execute("SELECT id, about FROM intended").fetchall())
        done = database.execute("SELECT id, outcomes FROM done").fetchall()
        # Each event once.
        rows = Counter((id_, "" if self._deduplicate else url) for id_, url, _ in received)
        self._nothing("events have two rows", [key for key, number in rows.items() if number > 1])
        seen = {
            (self._ids[key], url)
            for url, keys in ({} if subscription is None else subscription.seen).items()
            for key in keys
        }
        self._nothing("events are seen and have no row", seen - rows.keys())
        # Fewer than SEEN: a save keeps those of one relay together, not in the order in which they were handled.
        self._nothing("events have a row and are not seen", set(list(rows)[-(SEEN // 2) :]) - seen)
        self.counts.undone += len(self._handled - {id_ for id_, *_ in received})
        # No position skips an event.
        complete = True
        self._unread = 0
        for relay in self.relays:
            position = None if subscription is None else subscription.positions.get(relay.url)
            missing = [
                each for each in relay.stored.values() if (each.id, "" if self._deduplicate else relay.url) not in rows
            ]
            complete = complete and not missing
            if position is not None and position.settled and position.newest is not None:
                skipped = [each.created_at for each in missing if each.created_at < position.newest - OVERLAP]
                self._nothing(f"events of {relay.url} are skipped by {position}", skipped)
                unread = [each for each in relay.stored.values() if each.created_at >= position.newest - OVERLAP]
                self._unread += len(unread)
                self.counts.behind += sum(each.created_at < position.newest for each in missing)
        # Each publication is pending or done.
        pending = [each.event.id for each in saved.publications]
        ended = Counter(id_ for id_, _ in done)
        self._nothing("publications are done twice", [id_ for id_, number in ended.items() if number > 1])
        self._nothing("publications are pending and done", ended.keys() & set(pending))
        about = Counter(intended.values())
        self._nothing("events are answered twice", [each for each, number in about.items() if number > 1])
        self._nothing("events are answered halfway", answered ^ {each for each in about if " at " in each})
        self._nothing("publications are lost", {*intended, *self._saved} - {*pending, *ended})
        for id_, text in done:
            kinds = json.loads(text)
            if kinds.keys() - {NOBODY} != {relay.url for relay in self.relays}:
                raise CrashError(f"{id_} has the outcomes {kinds}")
            allowed = {"accepted", "expired"} if NOBODY in kinds else {"accepted"}
            self._nothing(f"outcomes of {id_} are wrong", set(kinds.values()) - allowed)
        self.counts.pending += len(pending)
        self.counts.kinds = Counter(kind for _, text in done for kind in json.loads(text).values())
        self._done = done
        return complete and not pending

    def _nothing(self, what: str, wrong: Any) -> None:
        if wrong:
            raise CrashError(f"{len(wrong)} {what}: {list(wrong)[:5]}")

    def finish(self) -> None:
        """Run the client until nothing is left to do, stop it, and look at everything."""
        deadline = time.monotonic() + WAIT
        complete = False
        while not complete:
            if time.monotonic() > deadline:
                raise CrashError(f"not all is received, or published, within {WAIT:g} s")
            child = self._start(
                save_after=0.02, answers=10, publish_after=None, in_batches=False, fails=0.0, lives=None
            )
            quiet = 0
            while child.status is None:
                said = list(child.words(0.5))
                for word, about in said:
                    if word == "error":
                        raise CrashError(f"the client: {about}")
                quiet = 0 if said else quiet + 1
                if quiet == 2:
                    child.stop()
            if child.status != 0:
                raise CrashError(f"the client has ended with status {child.status}")
            complete = self._check()
        for relay in self.relays:
            lost = relay.stored.keys() - relay.query(NOTE)
            self._nothing(f"events were lost by {relay.url}", lost)
            answers = relay.query(ANSWER)
            accepted = {id_ for id_, text in self._done if json.loads(text)[relay.url] == "accepted"}
            self._nothing(
                f"events are said to be accepted by {relay.url}, which does not have them", accepted - answers
            )
            self._nothing(f"events were sent to {relay.url} and not saved", answers - {id_ for id_, _ in self._done})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rounds; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.store.crashes")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--relay", action="append", choices=list(RESTARTS), help="one or more; default: sdk")
    parser.add_argument("--deduplicate", action="store_true")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.serve:
        _serve(given.serve[0], given.serve[1], int(given.serve[2]))
        return 0
    kinds = given.relay or ["sdk"]
    what = f"{' and '.join(kinds)}{', deduplicate' if given.deduplicate else ''}, seed {given.seed}"
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="crashes-") as directory:
        crashes = Crashes(Path(directory), kinds, seed=given.seed, rounds=given.rounds, deduplicate=given.deduplicate)
        ready = time.monotonic()
        try:
            while crashes.counts.kills < given.rounds:
                crashes.round()
            last = time.monotonic()
            crashes.finish()
        except CrashError as error:
            kept = tempfile.mkdtemp(prefix="crashes-failed-")
            shutil.copytree(directory, kept, dirs_exist_ok=True)
            print(f"FAILED after {crashes.counts.kills} rounds ({what}): {error}\nthe files: {kept}", flush=True)  # noqa: T201
            return 1
        finally:
            crashes.end()
    counts = crashes.counts
    events = len({id_ for relay in crashes.relays for id_ in relay.stored})
    print(  # noqa: T201
        f"{what}: {counts.kills} rounds, {time.monotonic() - begun:.1f} s (start {ready - begun:.1f}, "
        f"rounds {last - ready:.1f}); {events} events, {counts.undone} handled and undone, {counts.early} kills before "
        f"the first event; {dict(counts.kinds)}, {counts.pending} pending at a kill; {counts.restarts} restarts of "
        f"relays; {counts.behind} events within the overlap of a position; {counts.whole} whole runs between"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
