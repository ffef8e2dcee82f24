"""How fast it is, beside others, and how to measure it again.

From a checkout:

    pip install -e '.[bench]'
    python -m benchmarks.receive

and so `verify`, `overlap`, `batches`, `many`, `live`, `publish`, `archive`, `mailbox`, `call`,
`start`, `connect`, `memory`, `frames` and `cluster`. Each measures against others in the same run,
in turns, each in a process of its own where that matters, and prints medians, ratios, machine and
versions. `overlap` measures nostr-tools as well, if `node` and `npm` are installed.

What was measured
-----------------

On a shared machine with two cores, with CPython 3.11, monstr 0.1.9, nostr-sdk 0.45.1,
websocket-client 1.9.2 and pykka 4.5:

| What                                     | gennostr  | baseline                     | ratio |
|------------------------------------------|----------:|------------------------------|------:|
| events/s to the callback, 1 relay        |   139,257 | 64,736 (monstr)              |   2.2 |
| the same                                 |           | 14,691 (plain port [1])      |   9.5 |
| events/s to the callback, 8 relays       |    80,225 | 44,733 (monstr)              |   1.8 |
| the same                                 |           | 12,233 (plain port)          |   6.6 |
| verified events/s, 1 relay               |    15,426 | 9,239 (monstr [2])           |   1.7 |
| the same                                 |           | 3,927 (nostr-sdk)            |   3.9 |
| verified events/s, 8 relays              |    12,223 | 8,801 (monstr)               |   1.4 |
| the same                                 |           | 3,502 (nostr-sdk)            |   3.5 |
| subscribed events/s [5], 1 relay         |    13,707 | 3,927 (nostr-sdk)            |   3.5 |
| subscribed events/s, 8 relays            |    11,050 | 3,502 (nostr-sdk)            |   3.2 |
| the same events from 8 relays [6], /s    |    67,380 | 45,190 (nostr-sdk)           |   1.5 |
| the same events from 16 relays, /s       |    94,922 | 70,609 (nostr-sdk)           |   1.3 |
| the same from 8 relays [7], CPU µs each  |      12.8 | 19.0 (nostr-sdk)             |  0.67 |
| stored in SQLite [8], µs an event        |      23.3 | 57.1 (handle_event)          |  0.41 |
| live, relay to callback, median, µs      |       185 | 210 (monstr)                 |  0.88 |
| live, processor time of an event, µs     |       162 | 204 (monstr)                 |  0.79 |
| published events/s, until the last OK    |    44,384 | 9,813 (websocket-client)     |   4.5 |
| publish and await the OK, µs             |       276 | 168 (websocket-client [3])   |   1.6 |
| cast until handled, messages/s           |   559,754 | 60,343 (pykka)               |   9.3 |
| call, µs                                 |      28.7 | 47.4 (pykka)                 |  0.61 |
| start and stop, actors/s                 |     3,013 | 3,025 (pykka)                |   1.0 |
| an idle actor, kB                        |      21.0 | 21.7 (pykka)                 |  0.97 |
| 500 relays connected, s                  |      1.23 | 1.00 (threads [4])           |   1.2 |
| one of 5,000 idle connections [9], kB    |      32.6 | 23.6 (threads)               |   1.4 |
| cutting frames of 864 bytes, /s          | 1,348,430 | 165,170 (websocket-client)   |   8.2 |

The ratio is gennostr's figure divided by the baseline's: for times and memory, less is better.

- [1] websocket-client's `recv`, `json`, and pykka's `tell`.
- [2] Its own check, which is of signatures alone; gennostr and nostr-sdk check ids too.
- [3] `send` and `recv` in one thread; ours goes through two actors.
- [4] websocket-client, and a thread for each.
- [5] By `subscribe`: verified, each delivered once, matched with the filter.
- [6] Likewise; on the wire, with all copies, until the last EOSE. Measured later, by `overlap`.
- [7] Processor time by the events on the wire: less is better. Measured on a day when the machine
  was faster: then 104,127 and 77,319 events/s from 8 relays, and 139,880 and 111,524 from 16.
- [8] By handle_events, in one transaction for each call; by handle_event, in one for each event.
  Unverified; with `verify`, 64.5 and 89.6. Measured later, by `batches`.
- [9] 500, 1,000 and 2,000 take as much each; at rest, 5,000 take 0.03 % of a processor. Measured
  later, by `many`.

How far to trust it
-------------------

These figures are of a day on which the machine was slow. On one when it was twice as fast, the
ratios to monstr were 2.3 and 2.0 receiving, 1.9 and 1.6 verifying, 0.74 and 0.70 live; to nostr-sdk
2.9 and 2.5; and to pykka 5.6 casting and 0.89 calling. On a third day, to monstr: 1.7 and 1.6
receiving, 2.0 and 1.3 verifying, 0.92 live. On a machine that is busy besides, pykka's casts come
in bunches, which spares it half of its time: then our ratio is nearer to 2.

A store costs little: with resume positions and seen events saved, a client receives 0.99 of the
events/s that it receives without. An `Archive`, which keeps each event, receives 0.59 of them with
signatures checked, and 0.28 without (`python -m benchmarks.archive`). Of a million events, it finds
those of an author and kind in 3.8 ms (at most 500), those with an "e" tag in 0.03 ms, and 500 of
many with a "t" tag in 4.2 ms.

A callback that takes a millisecond, under eight relays that flood it with 160,000 events, lost
none; memory grew by 11 MiB, and the longest call to the client took 2.5 ms.

What costs what
---------------

- `verify` costs most, because of the signatures. They are checked in native code that does not
  hold Python's lock, so idle processors help, even with one relay's events, which stay in their
  order. A copy of an event that was handled is recognised by its id and not decoded: it costs 3 to
  8 µs, and a new event 60 to 100.
- `subscribe`, `publish` and `count` cost nothing unless used: until then, what relays send goes
  straight to the callbacks.
- Telemetry costs one look at an empty dict for each message, as long as no handler is attached.
- Python's garbage collector takes 1 µs of the 80 that a new verified event costs with eight relays,
  and more the more objects a program keeps: 5.6 of 10.5 where 160,000 unverified events are all
  kept. There, `gc.set_threshold(50_000, 20, 20)` lowers the cost of an event from 9.8 to 6.3 µs of
  processor time. That is left to you: the library changes no setting of the collector.
- Each relay and each actor is a thread. Idle, they cost memory (above) and no time.
- A callback that waits delays the client's other callbacks. Leave slow work to other actors, such
  as a worker pool (page `jobs_and_pools`).
"""
