'''Keep events in a database, and copy them from relay to relay.

Two complete programs with their tests: a feed that fills SQLite, and a mirror. Save them under the
names in their first lines, and run them:

    python feed.py notes.db wss://relay.example wss://other.example
    python mirror.py wss://from.example wss://to.example '{"kinds": [0, 1]}'
    python -m pytest test_feed_store.py test_mirror.py

They need `pip install 'gennostr[crypto]'`.

A feed that fills SQLite
------------------------

Three kinds of actors, each with one task. `Writer` owns the database. `Feed` is the client: it
receives new notes, and keeps them until they are saved. For each relay, a `History` reads what the
relay has stored, and ends.

    # feed.py
    """Keep the notes of some relays in SQLite: python feed.py notes.db wss://relay.example ..."""

    import logging
    import sqlite3
    import sys
    import time
    from typing import Any

    from gennostr import (
        NORMAL,
        CallbackOutcome,
        CallError,
        Exit,
        FetchIncomplete,
        GenNostr,
        GenServer,
        Ok,
        Pid,
        Relay,
        RelayOutcome,
        Reply,
        Shutdown,
        Stop,
        Supervisor,
        SupervisorFlags,
        call,
        fetch,
        run,
        send_after,
    )
    from gennostr.nostr import ClosedMessage, EoseMessage, Event, EventMessage

    NOTES = {"kinds": [1]}
    FIRST = 24 * 3600  # seconds: how far back to read at the very first start
    MARGIN = 15 * 60  # seconds read twice after a restart, for late events and clocks that differ
    BATCH = 500  # events
    SCHEMA = """
    CREATE TABLE IF NOT EXISTS events
        (id TEXT PRIMARY KEY, created_at INTEGER, pubkey TEXT, json TEXT);
    CREATE TABLE IF NOT EXISTS relays (url TEXT PRIMARY KEY, since INTEGER);
    """


    class Writer(GenServer[sqlite3.Connection]):
        """Owns the database. A save is one transaction, and the reply comes after its commit."""

        trap_exit = True  # terminate is called at shutdown

        def init(self, path: str) -> Ok[sqlite3.Connection]:
            database = sqlite3.connect(path)  # in this server's thread, as sqlite3 demands
            database.execute("PRAGMA journal_mode = WAL")
            database.executescript(SCHEMA)
            return Ok(database)

        def handle_call(self, request: Any, from_: Any, database: sqlite3.Connection) -> Reply[Any]:
            if request == "resume points":
                return Reply(dict(database.execute("SELECT url, since FROM relays")))
            events, since = request
            rows = [(e.id, min(e.created_at, 2**63 - 1), e.pubkey, e.to_json()) for e in events]
            with database:  # events and resume points: all of it, or nothing
                database.executemany("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?)", rows)
                database.executemany("INSERT OR REPLACE INTO relays VALUES (?, ?)", since.items())
            return Reply(len(rows))

        def terminate(self, reason: Any, database: sqlite3.Connection) -> None:
            database.close()


    class History(GenServer[None]):
        """Reads what one relay has stored since its resume point, and ends."""

        def init(self, init_arg: tuple[Pid, str, int]) -> Ok[None]:
            return Ok(None, continue_=init_arg)  # start_link returns now, handle_continue follows

        def handle_continue(self, argument: tuple[Pid, str, int], state: None) -> Stop[None]:
            feed, url, since = argument
            events: list[Event] = []
            reason: object = NORMAL
            try:
                for event in fetch({**NOTES, "since": since}, [url]):
                    events.append(event)
                    if len(events) == BATCH:
                        feed.call(events, timeout=None)  # returns when they are saved: no flood
                        events = []
            except FetchIncomplete as error:  # raised after the last event
                logging.warning("history of %s, to be read again: %s", url, error)
                reason = Shutdown(error)
            feed.call(events, timeout=None)
            return Stop(reason)


    class Feed(GenNostr[None]):
        """Receives new notes, and keeps each until the writer has committed it."""

        trap_exit = True  # terminate is called at shutdown, and the end of a History is a message

        def init(self, urls: list[str]) -> Ok[None]:
            self.unsaved: list[Event] = []
            self.newest: dict[str, int] = {}  # by relay: up to where nothing is missing
            self.live: set[str] = set()  # relays that have sent EOSE on their present connection
            self.read: set[str] = set()  # relays whose History has ended well
            self.readers: dict[Pid, tuple[str, int]] = {}  # each with its relay and its start
            self.resume_points: dict[str, int] = call("writer", "resume points")
            for url in urls:
                self.add_relay(url, verify=True)
            self.subscribe({**NOTES, "limit": 0}, "notes")  # what is stored is History's to read
            send_after(1, self.pid, "save")
            return Ok(None)

        def handle_event(self, message: EventMessage, relay: Relay, state: None) -> None:
            event = message.event
            self.unsaved.append(event)
            if event.created_at <= time.time():
                self.newest[relay.url] = max(event.created_at, self.newest.get(relay.url, 0))
            if len(self.unsaved) % BATCH == 0:
                self.save()

        def handle_eose(self, message: EoseMessage, relay: Relay, state: None) -> None:
            self.live.add(relay.url)
            self.read_history(relay.url)

        def handle_closed(self, message: ClosedMessage, relay: Relay, state: None) -> None:
            logging.warning("%s refuses the subscription: %s", relay.url, message.message)

        def handle_disconnect(self, reason: Any, relay: Relay, state: None) -> RelayOutcome[None]:
            self.live.discard(relay.url)
            return super().handle_disconnect(reason, relay, state)  # reconnects

        def handle_info(self, message: Any, state: None) -> CallbackOutcome[None]:
            match message:
                case "save":
                    self.save()
                    send_after(1, self.pid, "save")
                case "read", url:
                    self.read_history(url)
                case Exit(pid=pid, reason=reason) if pid in self.readers:
                    url, started = self.readers.pop(pid)
                    if reason == NORMAL:
                        self.read.add(url)
                        self.newest[url] = max(started, self.newest.get(url, 0))
                    else:
                        send_after(60, self.pid, ("read", url))
                case Exit(reason=reason):  # of the client's connections, all of them
                    return Stop(reason)
                case _:
                    return super().handle_info(message, state)
            return None

        def handle_call(self, request: list[Event], from_: Any, state: None) -> Reply[None]:
            """Take what a History has read; reply with how many events wait for the writer."""
            self.unsaved.extend(request)
            self.save()
            return Reply(len(self.unsaved))

        def terminate(self, reason: Any, state: None) -> None:
            self.save()  # the supervisor stops the writer after this

        def read_history(self, url: str) -> None:
            if url in self.read or any(url == each for each, _ in self.readers.values()):
                return
            now = int(time.time())
            since = self.resume_points.get(url, now - FIRST)
            self.readers[History.start_link((self.pid, url, since))] = (url, now)

        def save(self) -> None:
            complete = self.live & self.read
            since = {url: self.newest[url] - MARGIN for url in complete}
            changed = {url: at for url, at in since.items() if self.resume_points.get(url) != at}
            if not self.unsaved and not changed:
                return
            try:
                call("writer", (tuple(self.unsaved), changed), timeout=30)
            except CallError as error:
                logging.warning("%d events wait for the writer: %s", len(self.unsaved), error)
                return  # the next save has them, and finds the writer that the supervisor restarts
            logging.info("saved %d", len(self.unsaved))
            self.unsaved.clear()
            self.resume_points.update(changed)


    class App(Supervisor):
        def init(self, init_arg: tuple[str, list[str]]) -> SupervisorFlags:
            path, urls = init_arg
            writer = Writer.child_spec(path, name="writer")
            return self.children([writer, Feed.child_spec(urls, name="feed")])


    if __name__ == "__main__":
        logging.basicConfig(level=logging.INFO)
        run(App, (sys.argv[1], sys.argv[2:]))

What it guarantees, and why
---------------------------

An event that was received is in the database after a moment, once, whatever fails meanwhile:

- *The writer crashes, is killed, or hangs.* `Feed` keeps each event until the writer has replied,
  and the writer replies after the commit. If the call fails, the next save has the same events,
  and finds the writer that the supervisor has restarted. It does not matter how far the failed save
  had come: the id is the primary key, so what is there already is ignored.
- *The client crashes, or the whole program is killed.* Up to a second of events is lost with its
  memory. They are requested again at the next start, from the resume point in the database. It is
  written in the same transaction as the events, so it can never be ahead of them. That is also so
  after a power failure: if the disk loses the last transactions, it loses their resume points too.
- *The program is away for a day.* At the next start, `fetch` reads all that the relays have
  stored since, however few they send at once. A REQ with `since` would not do: its answer ends
  where the relay's limit is reached.

The resume point is the delicate part. Stored events arrive newest first, so the newest event in the
database says nothing about those before it. Therefore the resume point of a relay advances only
while two things are true: its `History` has read to the end without an error, and the subscription
is live, with an EOSE on its present connection. After a lost connection, the client itself requests
what was missed, and the next EOSE comes after the last of it. `FetchIncomplete` leaves the resume
point where it is, and the relay is read again after a minute. 15 minutes are read twice, for
events that reach a relay late and for authors whose clocks are wrong; and an event from the
future does not count.

Nothing grows without bound. `Feed` and `History` wait in a call while the writer commits, and a
client whose callback waits reads no more from its relays. A batch is what has arrived since the
last save, so batches grow when there is much to do.

Not covered: events that a relay has deleted, or never stores, while the program is away; events
that reach a relay more than 15 minutes after the time that their authors wrote in them, while the
program is away; and what stands on the page `limitations`. If the writer fails more than
three times in 5 seconds (the disk is full), the supervisor gives up, and the program ends, with the
reason in the log. Let something start it again; the exit status is 1, so systemd's
`Restart=on-failure` does.

For another filter than `NOTES`, use another database: the resume points belong to the filter.

Its tests
---------

With the test kit (page `testing`): real relays, a real database, and a writer that dies.

    # test_feed_store.py
    import sqlite3
    import time
    from pathlib import Path
    from typing import Any

    import pytest
    from gennostr import KILL, call, whereis
    from gennostr.nostr import sign
    from gennostr.testing import MemoryRelay

    from feed import App, Writer

    KEY = "01" * 32


    def publish(number: int, *relays: MemoryRelay, text: str = "note") -> None:
        now = int(time.time())
        for each in range(number):
            event = sign(KEY, kind=1, content=f"{text} {each}", created_at=now - each)
            for relay in relays:
                relay.store(event)


    def stored(path: Path) -> list[str]:
        database = sqlite3.connect(path)
        try:
            return [text for (text,) in database.execute("SELECT json ->> 'content' FROM events")]
        finally:
            database.close()


    def until_stored(path: Path, number: int) -> None:
        deadline = time.monotonic() + 10
        while len(stored(path)) < number:
            assert time.monotonic() < deadline, f"{len(stored(path))} of {number} events"
            call("feed", [])  # saves what it has


    @pytest.fixture
    def path(tmp_path: Path) -> Path:
        return tmp_path / "notes.db"


    def test_it_keeps_stored_and_new_notes_each_once(path: Path, start_supervised: Any) -> None:
        with MemoryRelay() as one, MemoryRelay() as other:
            publish(20, one, other, text="stored")
            start_supervised(App, (str(path), [one.url, other.url]))
            until_stored(path, 20)
            publish(20, one, other, text="new")
            until_stored(path, 40)
            assert len(set(stored(path))) == 40


    def test_a_writer_that_is_killed_loses_nothing(path: Path, start_supervised: Any) -> None:
        with MemoryRelay() as relay:
            start_supervised(App, (str(path), [relay.url]))
            publish(1, relay, text="first")
            until_stored(path, 1)
            writer = whereis("writer")
            assert writer is not None
            writer.suspend()  # saves wait in its mailbox, and are lost with it
            publish(700, relay, text="meanwhile")
            writer.exit(KILL)
            publish(10, relay, text="later")
            until_stored(path, 711)
            assert whereis("writer") != writer


    def test_a_writer_that_crashes_in_a_save_does_it_again(
        path: Path, start_supervised: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        handle_call, failures = Writer.handle_call, [sqlite3.OperationalError("disk I/O error")]

        def fail_once(self: Writer, request: Any, from_: Any, database: sqlite3.Connection) -> Any:
            if failures and request != "resume points":
                raise failures.pop()
            return handle_call(self, request, from_, database)

        with MemoryRelay() as relay:
            start_supervised(App, (str(path), [relay.url]))
            monkeypatch.setattr(Writer, "handle_call", fail_once)
            publish(5, relay)
            until_stored(path, 5)
            start_supervised.expect_crash(sqlite3.OperationalError)


    def test_it_resumes_after_a_restart_however_few_events_a_relay_sends_at_once(
        path: Path, start_supervised: Any
    ) -> None:
        with MemoryRelay(max_limit=10) as relay:
            with App.start((str(path), [relay.url])):
                publish(5, relay, text="before")
                until_stored(path, 5)
            publish(100, relay, text="while it was down")
            start_supervised(App, (str(path), [relay.url]))
            until_stored(path, 105)

A mirror
--------

Copies all that matches from one relay to another, and reports what was not copied.

    # mirror.py
    """Copy events: python mirror.py wss://from.example wss://to.example '{"kinds": [1]}'."""

    import json
    import sys
    from concurrent.futures import FIRST_COMPLETED, wait
    from dataclasses import dataclass, field
    from typing import Any

    from gennostr import FetchIncomplete, GenNostr, Ok, Publication, fetch
    from gennostr.nostr import Event

    IN_FLIGHT = 64  # events sent and not yet answered
    TIMEOUT = 30  # seconds for each answer


    class Target(GenNostr[None]):
        def init(self, url: str) -> Ok[None]:
            self.add_relay(url)
            return Ok(None)


    @dataclass
    class Result:
        accepted: int = 0
        rejected: list[tuple[Event, str]] = field(default_factory=list[tuple[Event, str]])
        """With the relay's reasons."""
        unread: BaseException | None = None
        """Why the source was not read to its end."""
        unsent: str | None = None
        """Why it stopped: the target did not answer."""

        @property
        def complete(self) -> bool:
            return not self.rejected and self.unread is None and self.unsent is None


    def mirror(
        source: str, target: str, wanted: dict[str, Any], timeout: float = TIMEOUT
    ) -> Result:
        """Publish to `target` all events of `source` that match; `target` may have some already."""
        result = Result()
        in_flight: dict[Publication, Event] = {}

        def settle(at_most: int) -> None:
            """Wait until `at_most` events are in flight."""
            while len(in_flight) > at_most:
                wait(in_flight, return_when=FIRST_COMPLETED)
                for publication in [each for each in in_flight if each.done()]:
                    event = in_flight.pop(publication)
                    [outcome] = publication.result().values()
                    if outcome:  # accepted; a duplicate too
                        result.accepted += 1
                    elif outcome.kind == "rejected":
                        result.rejected.append((event, outcome.message))
                    else:
                        result.unsent = f"{event.id}: {outcome.kind}"

        with Target.start(target) as client, fetch(wanted, [source]) as events:
            try:
                for event in events:
                    settle(IN_FLIGHT - 1)
                    if result.unsent:
                        break
                    in_flight[client.publish(event, timeout=timeout)] = event
            except FetchIncomplete as error:  # raised after the last event that could be read
                result.unread = error
            settle(0)
        return result


    def main(source: str, target: str, wanted: str) -> int:
        result = mirror(source, target, json.loads(wanted))
        for event, reason in result.rejected:
            print(f"rejected {event.id}: {reason}", file=sys.stderr)
        if result.unread:
            print(result.unread, file=sys.stderr)
        if result.unsent:
            print(f"stopped, {target} does not answer: {result.unsent}", file=sys.stderr)
        print(f"{result.accepted} accepted, {len(result.rejected)} rejected")
        return 0 if result.complete else 1


    if __name__ == "__main__":
        sys.exit(main(*sys.argv[1:]))

- *Complete.* `fetch` reads the source to its end, page by page, checks the signatures, and says
  so when it could not: the result's `unread`.
- *Bounded.* 64 events are in flight. The next one is read when one of them is answered, so neither
  this program nor the target's queue holds the whole source.
- *Honest.* Each event has an outcome. Rejected ones are listed with the relay's reason, and
  the others go on. When the target does not answer at all, sending more is pointless: it stops,
  and what was not sent is the result's `unsent`.
- *Repeatable.* An event that the target has already is a duplicate, and counts as accepted. So
  after a failure, run it again. What was rejected as `rate-limited` is copied then, too.

The exit status is 0 only if everything was copied. To copy in the other direction as well, exchange
the urls.

Its tests
---------

Where a relay must do what a test says, `fake_relay` is one that does nothing else; the mirror runs
in another thread meanwhile.

    # test_mirror.py
    from concurrent.futures import ThreadPoolExecutor

    import pytest
    from gennostr.nostr import sign
    from gennostr.testing import FakeRelay, MemoryRelay

    from mirror import IN_FLIGHT, mirror

    KEY = "01" * 32
    NOTES = {"kinds": [1]}


    def fill(relay: MemoryRelay, number: int) -> None:
        for each in range(number):
            relay.store(sign(KEY, kind=1, content=str(each), created_at=1_700_000_000 + each))


    def ids(relay: MemoryRelay) -> set[str]:
        return {event.id for event in relay.events}


    def test_all_that_matches_is_copied_however_few_events_the_source_sends_at_once() -> None:
        with MemoryRelay(max_limit=50) as source, MemoryRelay() as target:
            fill(source, 300)
            source.store(sign(KEY, kind=7, content="+", created_at=1_700_000_000))
            result = mirror(source.url, target.url, NOTES)
            assert result.complete
            assert result.accepted == len(target.events) == 300


    def test_it_can_be_run_again() -> None:
        with MemoryRelay() as source, MemoryRelay() as target:
            fill(source, 100)
            mirror(source.url, target.url, {**NOTES, "limit": 60})
            assert mirror(source.url, target.url, NOTES).complete
            assert ids(target) == ids(source)


    def test_rejected_events_are_reported_and_few_are_in_flight(fake_relay: FakeRelay) -> None:
        with MemoryRelay() as source, ThreadPoolExecutor(1) as other_thread:
            fill(source, IN_FLIGHT + 1)
            running = other_thread.submit(mirror, source.url, fake_relay.url, NOTES, timeout=5)
            connection = fake_relay.accept()
            events = [connection.expect_event() for _ in range(IN_FLIGHT)]
            with pytest.raises(AssertionError):
                connection.receive(timeout=0.2)  # the next comes only after an answer
            connection.ok(events[0].id, False, "blocked: not on the list")
            events.append(connection.expect_event())
            for event in events[1:]:
                connection.ok(event.id)
            result = running.result(timeout=10)
            assert result.rejected == [(events[0], "blocked: not on the list")]
            assert result.accepted == IN_FLIGHT


    def test_it_stops_when_the_target_is_silent_and_says_so(fake_relay: FakeRelay) -> None:
        with MemoryRelay() as source, ThreadPoolExecutor(1) as other_thread:
            fill(source, 2 * IN_FLIGHT)
            running = other_thread.submit(mirror, source.url, fake_relay.url, NOTES, timeout=0.2)
            connection = fake_relay.accept()
            result = running.result(timeout=10)
            assert result.accepted == 0
            assert result.unsent is not None
            assert result.unsent.endswith("timeout")
            assert connection.expect_event()


    def test_a_source_that_is_not_read_to_its_end_is_reported(fake_relay: FakeRelay) -> None:
        with MemoryRelay() as target, ThreadPoolExecutor(1) as other_thread:
            running = other_thread.submit(mirror, fake_relay.url, target.url, NOTES)
            connection = fake_relay.accept()
            subscription = connection.expect_req().subscription_id
            connection.event(subscription, sign(KEY, kind=1, content="one"))
            connection.closed(subscription, "error: the disk is full")
            result = running.result(timeout=10)
            assert result.accepted == 1
            assert "the disk is full" in str(result.unread)
'''
