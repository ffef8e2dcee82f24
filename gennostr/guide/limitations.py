"""What the library does not do, and where its guarantees end.

What it guarantees is on the pages `actors` and `nostr_client`, what a hostile relay can do on the
page `security`.

A blocked thread, for example, cannot be ended from outside. The actor is dead at once, for
everybody; its thread is counted until its blocking call returns:

>>> import threading
>>> from gennostr import KILL, GenServer, abandoned, whereis
>>> class Stuck(GenServer[None]):
...     def handle_cast(self, event, state):
...         entered.set()
...         event.wait()
>>> entered, event = threading.Event(), threading.Event()
>>> before = abandoned()
>>> pid = Stuck.start(name="stuck")
>>> pid.cast(event)
>>> entered.wait(timeout=5)
True
>>> pid.exit(KILL)
>>> pid.is_alive(), whereis("stuck"), abandoned() - before
(False, None, 1)
>>> event.set()  # the blocking call returns, and the thread ends

Actors
------

- A thread cannot be killed. `pid.exit(KILL)` is a fence: at once the actor is dead for everybody,
  its names are free, its mailbox is dropped, and nothing that its thread still does through this
  library has an effect; the thread itself ends when its blocking call returns (a call to another
  actor returns at once). A server's `on_cancel` may unblock it. `gennostr.abandoned()` counts such
  threads, and each is logged once.
- An exit signal ends a busy actor that does not trap exits before its next message, or where it
  waits for another actor: not anywhere else in a callback.
- There are no actors in a process that was forked while actors ran. Fork before the first one
  starts.
- A server whose `init` returns `IGNORE` makes `start` return `IGNORE`, which its type does not say.
- Not ported from OTP: nodes, multi_call, code_change, process dictionaries.

Subscriptions
-------------

- A subscription resumes from 60 seconds before the newest event. An event that is older than that,
  and reached the relay only while the connection was lost or the program was away, is missed there.
- What a relay leaves out after a long outage is requested by a REQ of its own; where the relay
  allows no more REQs, that is logged, and the rest is missed.
- The first REQ of a subscription is not continued: a relay that sends at most 500 stored events
  sends the newest 500. `fetch` reads all.
- Without `verify`, what a relay says of an event's age is believed: a forged timestamp can advance
  the resume point, at most to the present.
- By default, at least the last 32,768 events are remembered as seen, for a whole client; when a
  relay repeats older ones, they are delivered again.
- Filters that were split for a relay keep their `limit` in each part: more stored events than that
  can arrive.
- A subscription resumes by the relay's clock if its answer to the upgrade has a date, otherwise by
  this machine's. If that is fast, and the relay had nothing stored at first, events of the
  difference are missed after a reconnect.
- If one second holds more events than a relay sends at once, `fetch` cannot get the rest. It
  reports this if there are 100 or more, as many as an earlier page that was cut, or if older events
  follow.

Restarts of the program
-----------------------

- A client without a `store` (page `persistence`) keeps nothing: after a restart, what is stored is
  delivered again, and publications without an outcome are lost.
- After a crash, a client with a store gets again what it had handled in the last second, about
  4,000 events at most. What its callbacks have written by `transaction()` for these is undone.
- A subscription without an id of yours, or with other filters than in the last run (a computed
  `since`, say), begins anew.
- The state is not kept, nor the list of relays, nor publications without `durable=True`.
- A file has one client at a time. One that was killed keeps it until its callback returns.

Clusters
--------

- Without a store in each shard, a restarted shard delivers events of the last minute before its end
  again. A relay that moves to another shard is new there, with or without a store.
- Publications of a cluster are not durable. A shard's client can publish durably itself.
- A program that forks while its cluster runs leaves the shards running until that child has ended
  too: it has inherited the driver's ends of their connections.
- Shards that are processes need a POSIX system.

Relays and connections
----------------------

- A client that has a signer answers every relay's challenge, unless the signer is a callable that
  returns None. A callable has 300 seconds for it.
- The id of an event with control characters (other than newline, carriage return, tab, backspace
  and form feed) is computed from their escaped form, as clients in Rust, JavaScript and Go do, and
  not from NIP-01's letter. `verify` accepts both.
- Proxies are given in `websocket={"proxy": "http://host:port"}`; the environment's are not used.
  SOCKS proxies (``socks5h://`` and so on) need ``pip install 'gennostr[socks]'``.
- A and AAAA records are requested by one call of the system's resolver: if it hangs for one of
  them, it delays both.
- Windows: the library is written for it, and a part of its tests runs without the names that Python
  lacks there, but it was never run on Windows itself. ``gennostr relay`` needs POSIX signals.
"""
