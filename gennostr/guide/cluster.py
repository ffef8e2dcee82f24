"""One client class on several processes: shards, their relays, and their deaths.

Verifying takes processors, and one Python process uses little more than one of them. A `Cluster`
runs the same client class in several processes, its shards, and gives each relay to one of them:

>>> from gennostr import GenNostr, Ok, Reply
>>> from gennostr.cluster import Cluster, InProcess
>>> from gennostr.testing import MemoryRelay, make_event
>>> class Counter(GenNostr[int]):
...     def init(self, start):
...         return Ok(start)
...     def handle_event(self, message, relay, seen):
...         return Ok(seen + 1)
...     def handle_call(self, request, from_, seen):
...         return Reply(seen)
>>> with MemoryRelay() as one, MemoryRelay() as other:
...     with Cluster.start(Counter, 0, shards=2, engine=InProcess()) as cluster:
...         for relay in (one, other):
...             cluster.add_relay(relay.url)
...         id_ = cluster.subscribe({"kinds": [1]}, id="notes")
...         outcomes = cluster.publish(make_event(content="hello")).result()
...         print(*[outcome.kind for outcome in outcomes.values()])
...         counts = cluster.call_all("seen")
accepted accepted

`InProcess` keeps all of this in one process, for tests. Leave out ``engine=``, and each shard is
a process of its own:

    # indexer.py
    import sys

    from gennostr import GenNostr, Ok, Relay, Reply, Request
    from gennostr.cluster import Cluster
    from gennostr.nostr import EventMessage
    from gennostr.store import SqliteStore


    class Indexer(GenNostr[None]):
        def init(self, folder: str) -> Ok[None]:
            assert self.shard is not None  # it is, in a cluster
            self.store = SqliteStore(f"{folder}/events-{self.shard.number}.db")
            with self.store.transaction() as database:
                database.execute("CREATE TABLE IF NOT EXISTS notes (id TEXT, content TEXT)")
            return Ok(None)

        def handle_events(self, messages: list[EventMessage], relay: Relay, state: None) -> None:
            rows = [(message.event.id, message.event.content) for message in messages]
            with self.store.transaction() as database:
                database.executemany("INSERT INTO notes VALUES (?, ?)", rows)

        def handle_call(self, request: str, from_: Request, state: None) -> Reply[None]:
            with self.store.transaction() as database:
                return Reply(database.execute("SELECT count(*) FROM notes").fetchone()[0])


    if __name__ == "__main__":
        folder, *urls = sys.argv[1:]
        with Cluster.start(Indexer, folder, shards=2) as cluster:
            cluster.subscribe({"kinds": [1]}, id="notes")
            for url in urls:
                cluster.add_relay(url)
            for line in sys.stdin:
                print(sum(cluster.call_all("count").values()), flush=True)

Each process imports the program's main module again, so what the program does stands below
``if __name__ == "__main__":``. The client's class and its argument are pickled: the class is at
the top level of a module.

What runs where
---------------

- The callbacks run in the shards, each in its own client; there, ``self.shard`` is its `Shard`,
  with a `number` and how many there are (`of`). In a client without a cluster it is None. What a
  callback needs, such as files, it opens in `init`, which runs in each shard.
- Relays and subscriptions are added on the cluster's handle (`ClusterPid`). Its functions have
  the names of a client's: `add_relay`, `remove_relay`, `list_relays`, `relay_statistics`,
  `send_message`, `broadcast_message`, `subscribe`, `unsubscribe`, `publish` and `count`. They
  check their arguments in the caller, and merge what the shards answer. A relay that a client
  adds itself, in `init` say, is added in each shard.
- A relay's url decides which shard has it, and nothing else does. `handle_eose_all` comes in each
  shard, for its own relays.
- `call` and `cast` go to one shard's client (``shard=0`` by default), `call_all` and `cast_all`
  to all. What is sent is pickled, replies too. An exception that the client passes to
  `reply_error` is raised in the caller; one that cannot be pickled and unpickled is a
  RuntimeError with its text. A call that goes to another process takes a few hundred
  microseconds.

Pids of actors in shards
------------------------

``cluster.client(1)`` is a pid of shard 1's client, and ``cluster.whereis("cache", shard=1)`` of
an actor that its `init` has started under that name. They are ordinary pids: `call`, `cast`,
`send`, `stop`, `exit`, `monitor` and `link` work, and the pid can be registered here. Each is the
pid of an actor here that stands for the one there, and ends with it, for the same reason; with
NOCONNECTION, if the shard is lost. A pid of one incarnation is not one of the next.

The death of a shard
--------------------

A shard whose process ends, however it does, is restarted by its supervisor, and gets the
cluster's relays and subscriptions again. The others do not notice. Calls that wait for it raise
`CallExit` with the reason NOCONNECTION; publications and counts have the outcome "disconnected"
at its relays. If a callback raises, that ends the shard as well: then the reason is the
exception, and the crash report is logged here.

- With a store in each shard, as above, the next incarnation resumes where the last one was, and
  what was written in a transaction with it is written once.
- Without a store, the client hands to the cluster, once a second, how far it has read, and the
  next incarnation resumes there: events of the last minute before its end are delivered again.
  That is for subscriptions of the cluster, not for those of `init`.
- A process that is stopped, or whose interpreter hangs, does not end. Each shard is sent a
  heartbeat every ``heartbeat`` seconds (30); one that has not answered by the next time is killed,
  and restarted. A callback that is busy does not count as silence, unless it holds the
  interpreter's lock in native code all that time.
- Each incarnation has an epoch. Whatever an earlier one still sends is dropped.
- More than `max_restarts` restarts in `max_seconds`: the shard is given up, and its relays move
  to the others. When none is left, the cluster ends with NOCONNECTION, and its supervisor
  decides.
- `monitor_shards` sends an actor or a probe `ShardUp` and `ShardDown`; `list_shards` shows them.
- When the program ends, in order or by ``kill -9``, the shards end: they read the end of their
  connection to it. They ignore Ctrl-C and SIGTERM, which a terminal or a service manager sends to
  all processes of a program; their driver stops them in order.

A cluster is an actor like any other: ``Cluster.child_spec(Indexer, folder, shards=4)`` puts it
under a supervisor, and ``gennostr.run(Cluster, Indexer, init_arg=folder)`` makes it a program.

More shards, fewer shards
-------------------------

``cluster.resize(3)`` starts a third shard and moves a third of the relays to it, each with one
disconnect (`REMOVE_RELAY`); no other relay moves. ``cluster.resize(2)`` stops it again. A relay
that has moved is new to its shard: stored events are requested again there.

Measured on two processors with eight relays (``python -m benchmarks.cluster``), two shards handle
2.4 times the events of one client, and 1.4 times if they are verified; a shard that was killed
reads its relays again after 0.3 s.

How many? A shard for each processor that is to verify; callbacks that are fast add little. Each
shard remembers the events that it has seen, and knows nothing of the others: an event that ten
relays send is verified, and handled, in each shard that has one of them. With two shards, that is
nearly twice; with 16, 7.6 times on average (16 · (1 - (15/16)¹⁰)). So give relays that send the
same events to one cluster with few shards, and write events by their id.

The log
-------

Log records of a shard are log records here: of the same logger, with the attribute ``shard`` and
"shard 1: " before the text. The levels are those that the program's loggers have when the shard
is started; handlers and filters are those of the program. If a shard logs faster than its records
can be sent, records are dropped, and their number is logged.

Engines
-------

`Processes` is the default: a new interpreter for each shard (as multiprocessing's "spawn" makes
one), on a POSIX system. It inherits one end of a socketpair: it listens on nothing, and there is
no secret. An engine is an object with one method, see `gennostr.cluster.Engine`: a shard may be
whatever can start Python and carry messages in order.
"""
