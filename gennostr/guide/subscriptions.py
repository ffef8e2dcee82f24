"""Receive events without gaps, and read what relays have stored.

Subscribe once. The relay is restarted, and what was published meanwhile arrives all the same:

>>> from queue import Queue
>>> from gennostr import GenNostr, Ok
>>> from gennostr.testing import MemoryRelay
>>> class Feed(GenNostr[None]):
...     def init(self, init_arg):
...         self.events, urls = init_arg
...         for url in urls:
...             self.add_relay(url, reconnect=[0.05])
...         self.subscribe({"kinds": [1]}, "notes")
...         return Ok(None)
...     def handle_event(self, message, relay, state):
...         self.events.put(message.event.content)
...     def handle_eose_all(self, subscription_id, state):
...         self.events.put("no more stored events")
>>> events = Queue()
>>> with MemoryRelay() as relay:
...     _ = relay.store(kind=1, content="stored")
...     with Feed.start((events, [relay.url])):
...         print(events.get(timeout=5), "-", events.get(timeout=5))
...         relay.stop()
...         _ = relay.store(kind=1, content="while it was down")
...         relay.start()
...         print(events.get(timeout=5))
stored - no more stored events
while it was down

(The client logs a WARNING for the lost connection.) For all stored events, and nothing after,
there is a function that is an iterator:

>>> from gennostr import fetch
>>> from gennostr.nostr import generate_key, sign
>>> key = generate_key()
>>> with MemoryRelay(max_limit=2) as relay:  # sends 2 events at a time; most relays, some hundred
...     for second in range(5):
...         _ = relay.store(sign(key, kind=1, content=f"note {second}", created_at=second))
...     print([event.content for event in fetch({"kinds": [1]}, [relay.url])])
['note 4', 'note 3', 'note 2', 'note 1', 'note 0']

Subscribe and unsubscribe
-------------------------

`subscribe(filters, id=None, relays=None)` returns the id of the subscription. `filters` is a filter
or a list of filters: an event is wanted if one of them matches. `id` has 1 to 64 characters; None
makes one up; a subscription with the same id is replaced. `relays` is a list of urls; None means
every relay that the client has or will have. It may be called at any time, before a relay is added
or connected too, in callbacks or on the handle.

Each relay gets a REQ when it connects. An event is delivered to `handle_event`, with the
subscription's id in `message.subscription_id`. `unsubscribe(id)` sends a CLOSE, and events still on
their way are not delivered; an unknown id is ignored.

After a reconnect
-----------------

Each relay gets the REQ again, without its `limit`, and from where it ended: the *resume point*.
This is 60 seconds before the newest event that the relay has sent for this subscription up to its
last EOSE or after it; or 60 seconds before the first REQ if there was no event. Events dated more
than 60 seconds ahead do not advance it. Duplicates are delivered once.

A relay may leave out events after a long outage, because it sends only so many at once. If it has
sent 20 events or more, or says that it has more (NIP-67), the rest is requested page by page, and
its EOSE is delivered after the last page.

This is so after a reconnect. The first REQ is sent as you wrote it, once: a relay that sends at
most 500 events answers it with the newest 500, EOSE, and new events. To have all stored events,
read them with `fetch`, and subscribe for new ones with `"limit": 0`.

After a restart of the program
------------------------------

A client with a `store` resumes in the same way when the program is started again, for subscriptions
whose `id` you have chosen. Events are delivered once, across runs too:

    class Feed(GenNostr[None]):
        store = SqliteStore("feed.db")  # from gennostr.store

Without a store, each run begins anew. The page `persistence` has a complete program.

End of stored events
--------------------

`handle_eose(message, relay, state)` is called for each relay, also after each reconnect.
`handle_eose_all(subscription_id, state)` is called once for each `subscribe`, when no relay has
stored events left to send: a program that wants a picture of the present shows it then. It does not
wait for a relay that is down (once an attempt has failed), that has refused the subscription, or
that has been silent for its `eose_timeout` (10 s; this is logged).

Filters
-------

A filter is a dict with some of these keys; an event must match all of them:

- `ids`, `authors`: lists of 64 lower-case hex digits. `npub1...`, for ids `note1...`, are accepted
  as well;
- `kinds`: a list of integers;
- `#e`, `#p`, `#t` and so on, for each letter: a list of texts, of which a tag of that name must
  have one as its first value (hex, `npub1...` or `note1...` for `#e` and `#p`);
- `&t` and so on: the same, but the event must have all of the texts, for relays that have NIP-91;
- `since`, `until`: whole seconds since 1970, both inclusive;
- `limit`: the most stored events to send, the newest ones; 0 for new events alone;
- `search`: a text, for relays that have NIP-50.

A mistake is a `MessageError` (a `ValueError`) that says what to use:

>>> with Feed.start((events, [])) as feed:
...     feed.subscribe({"kind": [1]})
Traceback (most recent call last):
gennostr.exceptions.MessageError: filter 'kind' is not defined (NIP-01): did you mean 'kinds'?
>>> with Feed.start((events, [])) as feed:
...     feed.subscribe({"since": 1700000000.5})
Traceback (most recent call last):
gennostr.exceptions.MessageError: filter 'since' must be whole seconds since 1970, ...

An event that matches no filter of its subscription is an error (`MessageError`, its `problem` is
"unrequested"), and is not delivered.

The same event from several relays
----------------------------------

Relays share events. By default, an event that three relays send is delivered three times, each with
its relay. With the class attribute `deduplicate = True`, it is delivered once for each
subscription, from the relay that was first:

>>> class Once(Feed):
...     deduplicate = True
>>> with MemoryRelay() as one, MemoryRelay() as other:
...     note = sign(key, kind=1, content="on two relays")
...     _ = one.store(note), other.store(note)
...     with Once.start((events, [one.url, other.url])):
...         print(events.get(timeout=5), "-", events.get(timeout=5))
on two relays - no more stored events

At least the last 32,768 events are remembered, for the whole client, and at most twice as many. The
class attribute `max_seen_events` sets another number. Each takes some 180 bytes if it was verified,
and 150 if not: `client.statistics()` has `seen_events`, the number, and `seen_bytes`.

With `verify=True`, a copy of an event that was handled costs little: the connection finds its id
in the bytes and drops it, without decoding it. `relay_statistics()` counts these as `copies`. If
several relays send a new event at the same moment, it is decoded and verified once.

Many events at once
-------------------

A client that stores events can override `handle_events`. It gets the events that one read has
brought, in order, in one call, and `handle_event` is not called:

>>> class Batches(Feed):
...     def handle_events(self, messages, relay, state):
...         self.events.put([message.event.content for message in messages])
>>> with MemoryRelay() as relay:
...     _ = relay.store(kind=1, content="hello")
...     with Batches.start((events, [relay.url])):
...         print(events.get(timeout=5))
['hello']

How many there are depends on the network: one when an event is new, hundreds while stored events
arrive. In one SQLite transaction for each call, 20,000 events were stored in 0.4 of the time that
one for each event took. Without a transaction to share, nothing is saved.

Signatures
----------

A relay can invent events. With `add_relay(url, verify=True)`, id and signature of each event are
checked first of all, in the connection's thread, and a wrong one is an error instead of an event.
What is remembered of what was seen, and of signatures that were right, is bounded, and a forged
event hides no real one, verified or not. It needs `pip install 'gennostr[crypto]'`.

The limits of relays
--------------------

A client that has more than one subscription for a relay, or a large one, fetches the relay's
information (NIP-11) by itself and observes `max_subscriptions` and `max_message_length`: other REQs
wait for their turn. Filters that are too large for a relay are sent as several REQs. A REQ that
cannot be made small enough is passed to `handle_error` as `RequestTooLarge`; the others are not
delayed by it. A REQ that is larger than the option `max_queue_size` raises in `subscribe`.

A relay that refuses answers CLOSED, or with a NOTICE. Refusals are understood in the words of some
30 relays (`gennostr.client.dialects` lists them): after "too many", a REQ waits until another one
is closed; after `rate-limited`, none is sent for 5 seconds, then 10, and so on up to 300; after
`auth-required` it is sent again once the relay has accepted a signer (page `authentication`). Any
other refusal is final for this connection; `handle_closed` is called with it, and its default logs
it.

Count
-----

`count(filters, relays=None, timeout=10)` asks for the number of events (NIP-45):

>>> with MemoryRelay() as relay, Feed.start((events, [relay.url])) as feed:
...     _ = relay.store(kind=7), relay.store(kind=7)
...     result = feed.count({"kinds": [7]}).result()
...     print(result.count, result.approximate, result.by_relay[relay.url].count)
2 False 2

Its result is a future, like that of `publish`: `feed.count(...).result()` in a thread,
`await feed.count(...)` in a coroutine, and a `CountDone` message (its field is `counting`) in
`handle_info`, if a callback of the client has called it. The fields of a `Count`:

- `count`: the greatest of the relays' numbers, or an estimate of how many different events they
  have together, where relays send HyperLogLog registers, which are merged (`hll`);
- `approximate`: whether it is not exact;
- `by_relay`: for each url, the relay's own `CountResult`, or the outcome of the request. A relay
  that does not answer within its `eose_timeout` has the outcome "timeout".

Fetch
-----

`fetch(filters, relays, *, signer=None, timeout=30, **options)` needs no client. It iterates over
all stored events of all the relays, newest first (within one second, the lowest id first), each
once, however few a relay sends at once and in whatever order. A filter's `limit` applies to each
relay. Pages are read as they are needed, plus two ahead, so a program that reads a million events
does not hold them. `verify` is on unless `verify=False` is given; the other options are those of
`add_relay`; `signer` is for relays that require authentication.

A relay may fail: it is silent or unreachable for `timeout` seconds, refuses, or sends events that
are forged, unrequested or undecodable. The others are read to their end. After the last event,
`FetchIncomplete` is raised, and its `failed` maps urls to reasons:

>>> from gennostr import FetchIncomplete
>>> with MemoryRelay() as relay:
...     _ = relay.store(sign(key, kind=1, content="hello"))
...     found = []
...     try:
...         for event in fetch({"kinds": [1]}, [relay.url, "ws://127.0.0.1:1"], timeout=1):
...             found.append(event.content)
...     except FetchIncomplete as error:
...         print(found, "but", error)
['hello'] but ws://127.0.0.1:1/: [Errno 111] Connection refused

So a loop that ends without it has read everything. Note that `list(fetch(...))` loses the events
when it raises; collect them as above. `fetch(...)` can be closed early: with `close()`, or as a
context manager.

`progress` shows how far each relay has been read: `events`, `pages`, `oldest` (the `created_at`
of the oldest event so far, or None), `done` and `error`.

>>> with MemoryRelay(max_limit=2) as relay:
...     for second in range(4):
...         _ = relay.store(sign(key, kind=1, content=f"note {second}", created_at=second))
...     with fetch({"kinds": [1]}, [relay.url]) as stored:
...         newest = next(stored)
...         rest = list(stored)
...         progress = stored.progress[relay.url]
...     print(newest.content, len(rest), progress.events, progress.oldest, progress.done)
note 3 3 4 0 True
"""
