"""What a hostile relay can do to a client, and the limits that hold.

Anyone can run a relay, and use it to attack the clients that connect to it. If a client checks the
signatures, and observes limits, a relay can do little more than withhold events. Here one sends an
event with a forged text, and then the real one:

>>> from queue import Queue
>>> from gennostr import GenNostr, Ok
>>> from gennostr.nostr import Event, generate_key, sign
>>> from gennostr.testing import FakeRelay
>>> class Feed(GenNostr[None]):
...     def init(self, init_arg):
...         url, self.seen = init_arg
...         self.add_relay(url, verify=True)
...         self.subscribe({"kinds": [1]}, "notes")
...         return Ok(None)
...     def handle_event(self, message, relay, state):
...         self.seen.put(message.event.content)
...     def handle_error(self, reason, relay, state):
...         self.seen.put(f"{type(reason).__name__}: {reason.problem}")
>>> event = sign(generate_key(), kind=1, content="I owe you 1")
>>> forged = Event.from_dict({**event.to_dict(), "content": "I owe you 1000000"})
>>> seen = Queue()
>>> with FakeRelay() as relay, Feed.start((relay.url, seen)):
...     connection = relay.accept()
...     _ = connection.expect_req()
...     _ = connection.event("notes", forged), connection.event("notes", event)
...     print(seen.get(timeout=5), "-", seen.get(timeout=5))
MessageError: forged - I owe you 1

`verify` is off by default: it needs an extra, `pip install 'gennostr[crypto]'`, and takes most of
the time that an event costs (page `performance`). Turn it on, unless you trust the relay or check
events yourself, with `gennostr.nostr.verify(event)`.

What a relay may try, and what it comes to
------------------------------------------

The names are options of `add_relay`, with their defaults; times are in seconds. Where the
connection ends, `handle_disconnect` is called, and the backoff follows. Exceptions are passed to
`handle_error`.

Messages:

- A frame that breaks RFC 6455: `ProtocolError`; the connection is closed with 1002 or 1007.
- A message over `max_message_size` (5 MiB): the same with 1009, as soon as a header announces it.
- A compressed message that has more than `max_message_size` bytes decompressed: the same, while it
  is being decompressed.
- An extension, a parameter or a subprotocol that was not requested: `HandshakeError` that names it.
- A message of more than 262,144 values, about 30 MiB in memory: `MessageError`; the connection
  stays open.
- No JSON, wrong types, deep nesting, huge numbers: one `MessageError` each; the connection stays
  open.
- A forged event, with `verify=True`: one `MessageError` each; the connection stays open.
- An event that was not requested, in a subscription of `subscribe`: one `MessageError` each.
- Line ends and escape sequences in texts: they are escaped in crash reports, errors and on the
  terminal.

Refusals and silence:

- A challenge after each verdict on the one before: it is answered when something was refused since,
  after a growing delay.
- No EOSE, no answer to a COUNT: it is not waited for after `eose_timeout` (10).
- Refusals in a loop: a REQ is sent again once, or after 5 to 300 seconds, or when another was
  closed.
- Silence, half-open connections: `PingTimeout`, after `ping_interval` and `ping_timeout` (30 each).

Connecting:

- An answer over `max_handshake_size` (64 KiB): `HandshakeError`.
- An answer that is not 101, a redirect: `HandshakeError` with its status; no body is read, and no
  redirect followed.
- A connect slower than `connect_timeout` (15): `ConnectTimeout`; this is DNS, TCP, proxy, TLS and
  upgrade together.
- A certificate that is expired, for another host, or issued by an unknown authority; TLS 1.1 and
  before: an `ssl.SSLError` that says which. `wss` is never tried as `ws`.

Floods:

- Events faster than your callbacks: no more is read (page `nostr_client`, "What is guaranteed").
- A relay that does not read: `Overflow` in the sender, over `max_queue_size` (1 MiB) or
  `max_queue_messages` (1,024).
- Pings without end: one pong each, while less than 64 KiB waits to be sent.
- No thread or descriptor left: an error of that attempt; if `add_relay` finds no thread, it raises
  `StartError`.

Secrets
-------

Passwords in urls are never in a log or a `repr`, and the `websocket` option (headers, cookies,
proxy) is not in that of `Options`. How to keep a secret key is on the page `authentication`. What
your own code logs is yours to escape, and a state that holds secrets is shown in crash reports,
unless the server's `format_status` hides it.

Not defended
------------

- `verify` is off by default.
- Events come with whatever subscription id the relay gives them. Those of `subscribe` must match
  its filters; others are delivered as they are.
- A relay that sends a byte now and then is alive, and a message that never ends is held to its
  limit.
- Limits hold for each connection, not for all together. They are bytes of the wire: a text of 5 MiB
  with one character beyond U+FFFF takes 20 MiB in Python.
- A relay that floods takes the processor time that its bytes take; remove it.
- Whole numbers of any size arrive in `created_at`, say 2 to the power of 64: more than SQLite's
  integers, or `datetime`, can hold.

Try it
------

From a checkout, with `pip install -e '.[bench]'`:

    python -m benchmarks.attacks  # 42 attacks on a client: what it was sent, its memory, the time
    python -m benchmarks.fuzz     # the frame reader against websocket-client's: a million streams
    python -m benchmarks.soak     # a night of flapping relays
"""
