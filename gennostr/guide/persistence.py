'''Lose nothing when the program ends, however it ends.

A client with a store resumes where its last run has ended:

>>> from queue import Queue
>>> from tempfile import TemporaryDirectory
>>> from gennostr import GenNostr
>>> from gennostr.store import SqliteStore
>>> from gennostr.testing import MemoryRelay
>>> class Feed(GenNostr[None]):
...     def init(self, init_arg):
...         path, url, self.texts = init_arg
...         self.store = SqliteStore(path)
...         self.add_relay(url)
...         self.subscribe({"kinds": [1]}, id="notes")
...     def handle_event(self, message, relay, state):
...         self.texts.put(message.event.content)
>>> texts, directory = Queue(), TemporaryDirectory()
>>> path = directory.name + "/feed.db"
>>> with MemoryRelay() as relay:
...     _ = relay.store(kind=1, content="stored")
...     with Feed.start((path, relay.url, texts)):
...         print(texts.get(timeout=5))
...     _ = relay.store(kind=1, content="while the program was away")
...     with Feed.start((path, relay.url, texts)):
...         print(texts.get(timeout=5))
stored
while the program was away

Without a store, the second run would get both. SQLite is in Python's standard library; nothing
else is needed, and nothing is imported unless a program uses it.

What is kept
------------

- How far each subscription was read at each relay: its *position*. The subscription must have an id
  of yours (`subscribe(filters, id="notes")`), by which the next run finds it.
- The ids of the events that were handled last: as many as `max_seen_events` says (32,768), for 30
  days at most. A subscription resumes 60 seconds before its newest event; by the ids, what comes
  again is not delivered again.
- Publications with `durable=True`, with the outcomes so far.
- Tables of your own, in the same file (below).

All else ends with the program: the state, the list of relays, subscriptions without an id of yours,
other publications, counts, timers. `init` adds the relays and subscribes in each run, as it does
without a store.

A program that survives its own kill -9
---------------------------------------

It keeps notes with the hashtag "introductions" in a table of its own, and answers each with a "+".
Save it as `greeter.py`, and run it:

    GENNOSTR_KEY=... python greeter.py greeter.db wss://relay.example

It needs `pip install 'gennostr[crypto]'`, to sign and to verify.

    # greeter.py
    """Keep introductions in SQLite, and answer each once: python greeter.py FILE URL ..."""

    import json
    import logging
    import os
    import sys
    from typing import Any

    from gennostr import CallbackOutcome, GenNostr, Ok, PublicationDone, Relay, run
    from gennostr.nostr import EventMessage, sign
    from gennostr.store import SqliteStore

    TABLE = """
    CREATE TABLE IF NOT EXISTS notes (id TEXT PRIMARY KEY, json TEXT NOT NULL, outcomes TEXT)
    """


    class Greeter(GenNostr[None]):
        def init(self, init_arg: tuple[str, list[str]]) -> Ok[None]:
            path, urls = init_arg
            self.key = os.environ["GENNOSTR_KEY"]  # 64 hex digits
            self.store = SqliteStore(path)
            with self.store.transaction() as database:
                database.execute(TABLE)
            for url in urls:
                self.add_relay(url, verify=True)
            self.subscribe({"kinds": [1], "#t": ["introductions"]}, id="introductions")
            return Ok(None)

        def handle_events(self, messages: list[EventMessage], relay: Relay, state: None) -> None:
            with self.store.transaction() as database:
                for message in messages:
                    note = message.event
                    inserted = database.execute(
                        "INSERT OR IGNORE INTO notes (id, json) VALUES (?, ?)",
                        (note.id, note.to_json()),
                    )
                    if inserted.rowcount:  # another relay may have sent it before
                        tags = [["e", note.id], ["p", note.pubkey]]
                        answer = sign(self.key, kind=7, content="+", tags=tags)
                        self.publish(answer, durable=True)

        def handle_info(self, message: Any, state: None) -> CallbackOutcome[None]:
            if not isinstance(message, PublicationDone):
                return super().handle_info(message, state)
            note_id = message.publication.event.tags[0][1]
            outcomes = {url: each.kind for url, each in message.publication.result().items()}
            with self.store.transaction() as database:
                database.execute(
                    "UPDATE notes SET outcomes = ? WHERE id = ?", (json.dumps(outcomes), note_id)
                )
            logging.info("answered %s: %s", note_id, outcomes)
            return None


    if __name__ == "__main__":
        logging.basicConfig(level=logging.INFO)
        run(Greeter, (sys.argv[1], sys.argv[2:]))

Kill it at any moment, and start it again: each note has one row, and each relay has one answer to
it. In the test suite it is killed in the callback, before and after a save, and before and after an
answer's end was handled.

- A row, its answer and the client's position are one transaction. If it was committed, the note is
  not delivered again; if not, nothing of it is left, and the note is delivered once more.
- An answer is sent after that commit, not before. So no relay has an answer that the program does
  not know of.
- What is sent after a restart is the answer that was saved, with the same id. A relay that has it
  already says so, which counts as accepted.
- `PublicationDone` is delivered until a callback has handled it. The UPDATE and the deletion of the
  publication are one transaction as well.

Meanwhile, ``sqlite3 greeter.db 'SELECT id, outcomes FROM notes'`` shows how far it is.

Commit after handling
---------------------

The client saves between two callbacks, never during one: within a second after it has handled
something, or about 4,000 events, and at its end. An event counts as seen, and a position moves,
only when the callback has returned. A callback that raises ends the client without a save; its
supervisor starts the next one where the last save was.

So each event is handled *at least once*. What the callback writes by `self.store.transaction()` is
committed in the same save, so it is written *exactly once*:

- `with self.store.transaction() as database:` gives an `sqlite3.Connection`. Use it in callbacks,
  `init` and `terminate` included, and not in other threads. If the body raises, its statements are
  undone. `self.store.transaction().execute(...)` works as well.
- The client commits. `database.commit()`, `rollback()`, `close()` and `executescript()` raise a
  `StoreError`, and COMMIT, END and ROLLBACK must not be executed.
- Names that begin with `gennostr_` are the store's; all other tables, and `PRAGMA user_version`,
  are yours.
- Other programs, and other threads with a connection of their own, can read at any time what was
  committed. They can write to tables of their own, but wait from a callback's first write to the
  next save: for a second, about. If one of them writes for more than 5 seconds, `transaction()`
  raises a `StoreError`.
- SQLite delays the client's other callbacks, but loses no event. `handle_events` gets all events of
  a read in one call, and so costs less than `handle_event`.

Files, other databases and requests to servers are not part of the transaction: there, an event can
have its effect twice. Give what you write a key, such as the event's id, so that the second time
changes nothing.

How many events can be delivered again
--------------------------------------

- After a crash or a kill -9: what was handled since the last save. That is what arrived in the last
  second, at most about 4,000 events, and what the callback under way has got.
- After a power cut: the same. Each save is a transaction with ``synchronous=FULL`` in WAL mode, so
  the system has written it to the disk before the client continues. (A disk that reports as written
  what is still in its cache can lose that.)
- After an end in order, by `stop` or Ctrl-C: none.
- While saves fail (the disk is full, say): all that was handled since the last one that succeeded.
- After any end while a relay sends what was missed in an outage: the position moves only when the
  relay has sent all of that. If more than `max_seen_events` were handled by then, the relay sends
  them again, and they are no longer known: they are delivered, and written, twice. Set
  `max_seen_events` above what the longest outage brings, or give your table a primary key.

Durable publications
--------------------

`publish(event, relays=None, timeout=10, *, durable=True, expires=None)` saves the event, and then
sends it to each relay until that relay has given a final answer: in this run, or in a later one
with the same store. `relays` are the urls; None means all that the client has now.

- *Final* are "accepted", and "rejected" for good: `blocked`, `invalid`, `pow`, `restricted` and so
  on. A duplicate is accepted.
- After anything else the relay gets it again: no answer within `timeout` seconds, a lost
  connection, or a rejection that says `rate-limited`, `error` or `auth-required`. If the relay was
  connected, all its durable events pause for 5 seconds, then 10, and so on up to 300, until it
  gives a final answer; if not, they are sent when the connection is up again.
- *expires* is a time in seconds since 1970 at which it ends in any case; the event's own tag
  "expiration" (NIP-40) counts as well. Relays without a final answer then have the outcome
  "expired". Without either, it waits for as long as it takes, also for a relay that the client no
  longer has.
- `publications()` lists those that are pending, those of earlier runs included, the oldest first.
  Each has its `event`, and its `outcomes` so far.
- `forget(event_id)` abandons one, as `cancel()` of its future does.
- `wait_saved()` waits until it is in the store: from then on, the end of the program does not lose
  it. That is for threads that publish on the handle. In a callback it raises `CallingSelf`: what a
  callback publishes is saved, and sent, when it has returned, together with what it has handled.
- When all relays have answered, `handle_info` is called with `PublicationDone`, whichever thread
  has published: once, or again if the program ended before that was saved.
- The same event, published again while it is pending, is the same publication, perhaps with more
  relays: both futures end, and `PublicationDone` is delivered once.

>>> from gennostr import PublicationDone
>>> from gennostr.nostr import generate_key, sign
>>> class Writer(Feed):
...     def handle_info(self, message, state):
...         if isinstance(message, PublicationDone):
...             ended.put(message.publication)
>>> ended, note = Queue(), sign(generate_key(), kind=7, content="+")
>>> with MemoryRelay() as relay:
...     relay.stop()
...     with Writer.start((path, relay.url, texts)) as writer:
...         writer.publish(note, durable=True).wait_saved(timeout=5)
...         print([each.event == note for each in writer.publications()])
...     relay.start()
...     with Writer.start((path, relay.url, texts)):
...         publication = ended.get(timeout=5)
...         print(publication.event == note, publication.result()[relay.url].kind)
[True]
True accepted
>>> directory.cleanup()

Each durable publication costs one commit, or one for all that a callback has published. Other
publications cost none.

One client for each file
------------------------

A store belongs to one client at a time, from `init` to its end. It holds a lock on a second file,
`PATH-lock`, which the system releases when the process ends, however it ends. Another client, in
this process or another, waits for 2 seconds and then fails to start, with an error that names
the holder:

    StartError: init failed: StoreError("feed.db is in use by 'Feed' (process 4711 on myhost)")

So a supervisor can restart a client at once. But a client that was killed (`KILL`) keeps the store
until its callback has returned, since a thread cannot be killed. Until then its supervisor cannot
start the next one; it tries again, within its limit of restarts.

Keep the file on a local disk. The files beside it, such as `PATH-wal`, belong to it while it is
open: copy it with the `backup` of a connection of your own. `PATH-lock` stays, and is empty. A
process that forks while it is open must end the child by `exec` or `os._exit`.

When it cannot be opened or written
-----------------------------------

At the start, the client's `StartError` has a `StoreError` as its reason: the file is in use,
damaged, read-only or no database, the disk is full, or the tables are those of a newer gennostr.
Older tables are brought up to date, and then earlier versions of gennostr refuse the file.

At run time, when a save fails, `handle_error` is called with a `StoreError` and one of the client's
relays, once until a save succeeds. Its default logs it; so does a client without relays. The client
keeps what is not saved in its memory and tries again every second; events arrive meanwhile, and no
durable publication is sent that is not saved. If it cannot save at its end either, the client ends
with that error as its reason.

If the error's `lost` is True, SQLite has undone what callbacks have written since the last save:
memory and file no longer agree, and the client ends, with the error as the reason. The next one
begins where the last save was. So supervise it, and have something restart the program.

What begins anew
----------------

A subscription resumes if its id and its filters are those of the last run. Otherwise all that
matches is requested, and delivered, as for a new one:

- *other filters.* Neither the order of the filters nor that in their lists matters. But a filter
  with a computed time, such as `{"since": int(time.time()) - 3600}`, is another one in each run: it
  never resumes. Give it no `since`, or a fixed one.
- *another url.* A relay is known by its normalized url.
- *unsubscribe.* It deletes what was saved. So does a second `subscribe` with the same id in one
  run.

With `deduplicate`, ids are kept for all relays together: if you turn it on or off, events of the
overlap are delivered once more.

An archive
----------

`Archive` is a client that keeps all events of its filters in an SQLite file. It reads what the
relays have stored, however few events a relay sends at once, and then keeps what is new:

>>> from gennostr.store import Archive, ArchiveOptions, Events
>>> from gennostr.testing import MemoryRelay
>>> directory = TemporaryDirectory()
>>> path = f"{directory.name}/notes.db"
>>> with MemoryRelay() as relay:
...     for second in range(3):
...         _ = relay.store(content=f"note {second}", created_at=second, tags=[["t", "nostr"]])
...     with Archive.start(ArchiveOptions(path, [relay.url], {"kinds": [1]})) as archive:
...         progress = archive.call("stored", timeout=None)  # waits until all of it was read
...         print(progress[relay.url].added, progress[relay.url].done)
3 True
>>> with Events(path) as events:
...     print([event.content for event in events.query({"#t": ["nostr"], "limit": 2})])
...     print(events.count({"kinds": [1]}))
['note 2', 'note 1']
3
>>> directory.cleanup()

From a shell:

    gennostr archive notes.db wss://relay.example --kinds 1 --follow
    gennostr fetch notes.db --tag t=nostr --limit 20

Started again on the same file, it resumes. What was missed meanwhile comes through the client's
resume point; a history that was interrupted continues where it was saved: what came in the last
second is read again. With other filters, the relays are read anew, and what is in the file stays.
`Archive.child_spec(ArchiveOptions(...))` puts it below a supervisor. A history that cannot be read
to its end is read again after a minute, and after each restart.

The file has what a relay would have (NIP-01, 09, 40): the newest version of a replaceable or
addressable event; nothing ephemeral; nothing that its author has deleted, also if it arrives after
the deletion; and nothing that has expired. Signatures are checked, unless
`relay_options={"verify": False}`.

`Events(path)` opens the file for reading, in any thread or process, while the archive writes to
it: neither waits for the other. What has arrived can be read as soon as the client has saved it,
within a second. `query` takes the filters of `subscribe` and reads events as they are needed;
`search` (NIP-50) works if the archive was started with `search=True`, once.

A client of your own can keep events in the same way, next to what else it stores:

    class Feed(GenNostr[None]):
        store = SqliteStore("feed.db")

        def init(self, urls):
            with self.store.transaction() as database:
                EventTable(database).create()
            ...

        def handle_events(self, messages, relay, state):
            with self.store.transaction() as database:
                EventTable(database).add([message.event for message in messages])

Not covered: an event that reaches a relay more than a minute after the time that its author wrote
in it, while the archive is not running; and more events of one second than a relay sends at once
(the history is then not `done`). With `again=True` (`gennostr archive --again`), all that the
relays have stored is read once more, which finds the first.

To copy from one relay to another, no store is needed: ``gennostr mirror`` compares the two while it
reads them.

Other stores, other databases
-----------------------------

`MemoryStore()` lasts as long as the process: for tests, and for a client that a supervisor restarts
(as an attribute of the class, so that the next one has the same).

To keep things elsewhere, write a class with the methods `open`, `save` and `close` of the protocol
`gennostr.store.Store`, whose docstrings say what each must do. `save` gets a `Changes` and applies
all of it, or nothing. `gennostr.testing.StoreContract` has the tests that every store must pass.
For exactly once, it also needs a transaction in which callbacks can write, as `SqliteStore` has.

What it does not do
-------------------

- The first request of a subscription is sent as you wrote it: a relay that sends at most 500 stored
  events sends the newest 500. `fetch` reads all. What the relay gets while the program is away is
  requested page by page (page `subscriptions`).
- A position is 60 seconds before the newest event. An event that is older than that, and reaches
  the relay only while the program is away, is not requested.
- Ephemeral events (kinds 20000 to 29999) are not stored by relays: those that are sent while the
  program is away are missed.
- If a relay repeats events that are older than the ids that are kept, they are delivered again.
- Pending publications are in memory as well as in the store, and the ids of seen events (200 bytes
  each). A relay that never answers lets durable ones pile up, unless they expire.
'''
