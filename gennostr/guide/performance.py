"""How fast it is, beside others, and how to measure it again.

From a checkout:

    pip install -e '.[bench]'
    python -m benchmarks.receive

and so `verify`, `live`, `publish`, `mailbox`, `call`, `start`, `connect`, `memory` and `frames`.
Each measures against others in the same run, in turns, each in a process of its own where that
matters, and prints medians, ratios, machine and versions.

What was measured
-----------------

On a shared machine with two cores, with CPython 3.11, monstr 0.1.9, nostr-sdk 0.45.1,
websocket-client 1.9.2 and pykka 4.5:

| What                                     | gennostr  | baseline                     | ratio |
|------------------------------------------|----------:|------------------------------|------:|
| events/s to the callback, 1 relay        |   291,824 | 125,035 (monstr)             |   2.3 |
| the same                                 |           | 40,588 (plain port [1])      |   7.2 |
| events/s to the callback, 8 relays       |   218,222 | 111,321 (monstr)             |   2.0 |
| the same                                 |           | 21,045 (plain port)          |  10.4 |
| verified events/s, 1 relay               |    34,960 | 18,145 (monstr [2])          |   1.9 |
| the same                                 |           | 11,910 (nostr-sdk)           |   2.9 |
| verified events/s, 8 relays              |    27,965 | 17,662 (monstr)              |   1.6 |
| the same                                 |           | 11,307 (nostr-sdk)           |   2.5 |
| subscribed events/s [5], 1 relay         |    29,729 | 11,380 (nostr-sdk)           |   2.6 |
| subscribed events/s, 8 relays            |    23,232 | 10,673 (nostr-sdk)           |   2.2 |
| live, relay to callback, median, µs      |        73 | 98 (monstr)                  |  0.74 |
| live, processor time of an event, µs     |        63 | 90 (monstr)                  |  0.70 |
| published events/s, until the last OK    |    74,023 | 15,590 (websocket-client)    |   4.7 |
| publish and await the OK, µs             |       202 | 116 (websocket-client [3])   |   1.7 |
| cast until handled, messages/s           | 1,139,966 | 202,067 (pykka)              |   5.6 |
| call, µs                                 |        46 | 52 (pykka)                   |  0.89 |
| start and stop, actors/s                 |     4,729 | 4,874 (pykka)                |  0.97 |
| an idle actor, kB                        |      21.6 | 21.8 (pykka)                 |  0.99 |
| 500 relays connected, s                  |      0.45 | 0.35 (threads [4])           |   1.3 |
| an idle connection, kB                   |        36 | 21 (threads)                 |   1.7 |
| cutting frames of 864 bytes, /s          | 2,474,413 | 261,340 (websocket-client)   |   9.5 |

The ratio is gennostr's figure divided by the baseline's: for times and memory, less is better.

- [1] websocket-client's `recv`, `json`, and pykka's `tell`.
- [2] Its own check, which is of signatures alone; gennostr and nostr-sdk check ids too.
- [3] `send` and `recv` in one thread; ours goes through two actors.
- [4] websocket-client, and a thread for each.
- [5] By `subscribe`: verified, each delivered once, matched with the filter. From a run of its own,
  of `benchmarks.verify`.

How far to trust it
-------------------

In a noisier run, the ratios to monstr were 2.3 and 1.8 receiving, 1.7 and 1.4 verifying, 0.78 and
0.67 live. On a machine that is busy besides, pykka's casts come in bunches, which spares it half of
its time: then our ratio is nearer to 2 than to 5.

A callback that takes a millisecond, under eight relays that flood it with 160,000 events, lost
none; memory grew by 11 MiB, and the longest call to the client took 4.2 ms.

What costs what
---------------

- `verify` costs most, because of the signatures. They are checked in native code that does not
  hold Python's lock, so idle processors help, even with one relay's events, which stay in their
  order. A signature that was right is remembered: the same event from another relay costs less.
- `subscribe`, `publish` and `count` cost nothing unless used: until then, what relays send goes
  straight to the callbacks.
- Telemetry costs one look at an empty dict for each message, as long as no handler is attached.
- Each relay and each actor is a thread. Idle, they cost memory (above) and no time.
- A callback that waits delays the client's other callbacks. Leave slow work to other actors: a
  worker pool (page `jobs_and_pools`), or a writer (page `persistence`).
"""
