"""Connect to Nostr relays, and react to what they send.

Follow the notes of a relay. This client counts them and passes their texts on:

>>> from queue import Queue
>>> from gennostr import GenNostr, Ok, Reply
>>> from gennostr.testing import MemoryRelay
>>> class Feed(GenNostr[int]):
...     def init(self, init_arg):
...         url, self.texts = init_arg
...         self.add_relay(url)
...         self.subscribe({"kinds": [1]}, "notes")
...         return Ok(0)
...     def handle_event(self, message, relay, seen):
...         self.texts.put(message.event.content)
...         return Ok(seen + 1)
...     def handle_call(self, request, from_, seen):
...         return Reply(seen)
>>> texts = Queue()
>>> with MemoryRelay() as relay, Feed.start((relay.url, texts)) as feed:
...     _ = relay.store(kind=1, content="hello")
...     print(texts.get(timeout=5))
...     _ = relay.store(kind=1, content="world")
...     print(texts.get(timeout=5), feed.call("how many?"))
hello
world 2

`MemoryRelay` is a relay for tests on a port of this machine. As a program, with a relay of your
own, until Ctrl-C:

    # follow.py
    import sys
    from typing import Any

    from gennostr import GenNostr, Ok, Relay, run
    from gennostr.nostr import EventMessage


    class Feed(GenNostr[int]):
        def init(self, urls: list[str]) -> Ok[int]:
            for url in urls:
                self.add_relay(url, verify=True)
            self.subscribe({"kinds": [1], "limit": 20}, "notes")
            return Ok(0)

        def handle_event(self, message: EventMessage, relay: Relay, seen: int) -> Ok[int]:
            print(relay.url, message.event.content, flush=True)
            return Ok(seen + 1)

        def terminate(self, reason: Any, seen: int) -> None:
            print(seen, "notes")


    if __name__ == "__main__":
        run(Feed, sys.argv[1:])  # python follow.py wss://relay.example ...

Nostr in one paragraph
----------------------

A *relay* is a server that stores and forwards events, and clients talk to it over a WebSocket. An
*event* is a signed JSON object: its author's public key, a time, a kind (1 is a short note, 0 a
profile), tags, a text, an id that is the hash of all these, and a signature. A *filter* says which
events are wanted, such as `{"kinds": [1], "authors": [...]}`. A client sends its filters in a REQ;
this opens a *subscription*: the relay sends the events that it has stored, newest first, then
EOSE ("end of stored events"), and then each new event as it arrives. To *publish*, a client sends
an EVENT, and the relay answers OK with true or false. The protocol is specified in documents called
NIPs; NIP-01 is the basis.

A client is an actor
--------------------

`GenNostr` is a `GenServer` (see the page `actors`): an object with a thread of its own, which takes
one message after the other. What relays send, and what other threads send to it, is passed to its
methods, the callbacks. They run one at a time, so a client's own data needs no lock. A callback
that waits delays the next one, but loses no event: the relay is slowed down by TCP.

`Feed.start(argument)` returns when `init` has returned, before any relay is connected. Its result
is a handle that every thread may use. `Feed.start(...)` in a `with` statement stops the client at
the end; `run(Feed, argument)` is a whole program. A client is supervised like any server: it can be
the child of a `Supervisor` (see the page `supervision`).

The same functions exist in callbacks (`self.add_relay`) and on the handle (`feed.add_relay`), and
they run in the thread that calls them:

- `add_relay`, `remove_relay`, `reconnect`, `list_relays`: on this page;
- `send_message`, `broadcast_message`, `ping`, `relay_statistics`: on this page;
- `subscribe`, `unsubscribe`, `count`: page `subscriptions`;
- `publish`: page `publishing`;
- `publications`, `forget`: page `persistence`.

Four attributes, on the class or set in `init`:

- `signer`: how it answers challenges (page `authentication`);
- `deduplicate` and `max_seen_events`: page `subscriptions`;
- `store`: where it keeps what must outlive the program (page `persistence`). None by default.

The callbacks
-------------

All have a default, so a client overrides those that it needs. Each gets the state last, and returns
what becomes of it:

- `init(argument)`: `Ok(state)`; `IGNORE` or `Stop(reason)`, if there is nothing to run;
  or nothing, and the state is None. Add relays and subscribe here.
- `handle_connect(relay, state)`: a connection is open.
- `handle_disconnect(reason, relay, state)`: an attempt or a connection has ended. The default
  reconnects, unless the reason is `REMOVE_RELAY`.
- `handle_error(reason, relay, state)`: an error; if it ended the connection, `handle_disconnect`
  is called next. The default logs it.
- `handle_event(message, relay, state)`: an event. `message.event` has the fields `id`, `pubkey`,
  `created_at` (seconds since 1970), `kind`, `tags`, `content` and `sig`;
  `message.subscription_id` says what it is for.
- `handle_events(messages, relay, state)`: if you override it, all events of one read in one call,
  and no `handle_event`.
- `handle_eose(message, relay, state)`: this relay has no more stored events for
  `message.subscription_id`.
- `handle_eose_all(subscription_id, state)`: no relay has; once for each `subscribe`.
- `handle_ok(message, relay, state)`: the answer to an EVENT: `event_id`, `accepted`, `message`,
  `prefix`. The default logs a refusal, unless `publish` sent the event: its future has it.
- `handle_closed(message, relay, state)`: the relay has ended or refused a subscription:
  `subscription_id`, `message`, `prefix`. The default logs it.
- `handle_notice(message, relay, state)`: a text for people: `message.message`. The default logs it.
- `handle_auth(message, relay, state)`: a challenge: `message.challenge`. If the client has a
  signer, it has been taken care of (page `authentication`).
- `handle_count(message, relay, state)`: the answer to a COUNT (NIP-45): `subscription_id`,
  `count`, `approximate`. The function `count` collects such answers.
- `handle_unknown(message, relay, state)`: any other message: `label` and `arguments`.
- `handle_call`, `handle_cast`, `handle_info`, `handle_continue`, `terminate`: as for every
  `GenServer`, page `actors`.

Those from `handle_connect` to `handle_unknown` return `Ok(state)`, `Stop(reason, state)`, or
nothing. The state may be left out everywhere, and then stays what it was: `Ok()`, `Stop(reason)`.
`Ok`, `Reply` and `NoReply` also take `timeout=seconds` (a `TIMEOUT` message to `handle_info` if
nothing else arrives in time), `hibernate=True` (collect garbage before waiting) and
`continue_=argument` (call `handle_continue` next). Anything else ends the client with
`BadReturnValue`; so does an exception with itself as the reason. Both are one record in the log.

`relay` is a value: `url` (normalized), `options`, `connected_at` (seconds since 1970, or None) and
`reconnect_counter` (attempts since it was last up for 30 seconds).

If no events come, look at the log
----------------------------------

A refused connection, a bad certificate, a message that is no JSON, an event that was forged: all of
these are passed to `handle_error`, and its default logs them at WARNING. Python prints warnings on
the standard error without any configuration.

>>> import logging
>>> class Lines(logging.Handler):
...     def emit(self, record):
...         lines.put(record.getMessage())
>>> lines, handler, logger = Queue(), Lines(), logging.getLogger("gennostr.client")
>>> logger.addHandler(handler)
>>> with Feed.start(("ws://127.0.0.1:1", texts)):
...     print(lines.get(timeout=5))
ws://127.0.0.1:1/: ConnectionRefusedError: [Errno 111] Connection refused
>>> logger.removeHandler(handler)

A relay that refuses a subscription says so with CLOSED, or with a NOTICE if it is an old one. The
defaults of `handle_closed` and `handle_notice` log it as well:

>>> from gennostr.testing import FakeRelay
>>> logger.addHandler(handler)
>>> with FakeRelay() as relay, Feed.start((relay.url, texts)):
...     connection = relay.accept()
...     connection.closed(connection.expect_req().subscription_id, "blocked: members only")
...     print(lines.get(timeout=5))
ws://localhost:.../: closed subscription 'notes': blocked: members only
>>> logger.removeHandler(handler)

Errors of the same kind at the same relay are logged once a minute, with the number of those left
out. The kind is the exception's class, and for a `MessageError` its `problem`; CLOSED, NOTICE and
the refusal of an event are a kind each. Override a callback to decide for yourself;
`super().handle_closed(message, relay, state)` still logs. If the log is empty and no events come,
the relay has nothing that matches.

What is passed to `handle_error` is an exception. Those that end the connection:

- `OSError`, including `ssl.SSLError` and `ConnectionRefusedError`: no connection;
- `ConnectTimeout`: it took longer than `connect_timeout`;
- `HandshakeError`: the relay answered the upgrade with something else than 101: `.status`;
- `PingTimeout`: the relay fell silent;
- `ProtocolError`: frames that break RFC 6455: `.code` and `.reason`;
- `ConnectionLost`: the connection ended without a close frame;
- anything else that went wrong, such as a `TypeError` for a value in the `websocket` option.

Those that do not:

- `MessageError`: a message or an event that is wrong; `.problem` is "malformed", "forged" or
  "unrequested" (it matches no filter of its subscription);
- `RequestTooLarge`: a REQ that cannot be made small enough for the relay: `.subscription_id`,
  `.size`, `.limit` (a `MessageError` too);
- `AuthenticationError`: the relay has refused a signer (page `authentication`);
- `StoreError`: the client's store cannot be written (page `persistence`); the relay is any one;
- what a signer has raised.

Connecting, and connecting again
--------------------------------

`add_relay(url)` starts a connection and returns at once. Adding a url twice is not an error: the
existing connection is returned. Urls are normalized first, as browsers do it:
`WSS://Relay.Example:443` is `wss://relay.example/`, and this is the text that callbacks, results
and statistics use. What is requested keeps the slashes of the url that was given (`relay.target`).
A host outside ASCII needs ``pip install 'gennostr[idna]'``.

>>> from gennostr import Relay
>>> Relay.normalize_url("WSS://Relay.Example:443")
'wss://relay.example/'

Each attempt to connect ends in exactly one `handle_disconnect`, whatever ended it. Its default
calls `self.reconnect(relay)`, which tries again after the relay's next delay: 0.5, 1, 5, 10, 30
seconds and then always 30, each longer or shorter by up to 25 %, so that not all clients come
back at the same moment. A connection that was up for 30 seconds begins with the first delay again.
It never gives up by itself; your callback can:

    def handle_disconnect(self, reason, relay, state):
        if relay.reconnect_counter >= 20:
            return Stop(Shutdown("the relay is away"), state)
        return super().handle_disconnect(reason, relay, state)

If you override it and do not call `reconnect`, the relay is not tried again. The reason is the
error, or a `Close` with `code` and `reason` where the relay has closed the connection in order, or
`REMOVE_RELAY` after `remove_relay`, which works during an attempt and during backoff as well.
`reconnect(relay, delay=0)` tries now; there is one pending attempt for each relay.

`list_relays()` returns the urls of all connections, those that are being opened included, but not
those that wait for their next attempt. `relay_statistics()` has these too:

>>> with MemoryRelay() as relay, Feed.start((relay.url, texts)) as feed:
...     _ = relay.store(kind=1, content="hello")
...     _ = texts.get(timeout=5)
...     statistics = feed.relay_statistics()[relay.url]
...     print(statistics.state, statistics.connects, statistics.reconnects)
open 1 0

It maps urls to `RelayStatistics`: `state` ("connecting", "open", "closing" or "backoff"),
`connected_at` (seconds since 1970), `attempts`, `connects`, `reconnects`, `messages_received`,
`copies` (dropped undecoded), `messages_sent`, `bytes_received`, `bytes_sent` (bytes of frames),
`latency` (of the last ping, in seconds), `last_error` (that ended an attempt) and `undelivered`
(bytes that wait for the client's callbacks). `ping(relay)` measures the latency anew.

What a relay says of itself (NIP-11) is returned by the function `relay_information`, without a
client:

>>> from gennostr import relay_information
>>> with MemoryRelay(information={"name": "Test", "limitation": {"max_limit": 500}}) as relay:
...     information = relay_information(relay.url)
>>> information.name, information.limitation.max_limit
('Test', 500)

It blocks for at most `timeout` seconds (10), and the document may have `max_size` bytes (64 KiB).
It raises `HandshakeError` (`.status`) for a relay that has no such document.

Options of a relay
------------------

Keyword arguments of `add_relay`, and fields of `Options`. Times are in seconds, sizes in bytes. A
value that is wrong raises a `TypeError` or `ValueError` that names the option, and nothing is
started.

- `verify`, False: check the id and the signature of each event first of all, in the connection's
  thread. A wrong one is a `MessageError`. It needs `pip install 'gennostr[crypto]'`.
- `reconnect`, (0.5, 1, 5, 10, 30): the delays before attempts to reconnect; the last repeats.
- `connect_timeout`, 15: DNS, TCP, proxy, TLS and upgrade together.
- `ping_interval`, 30: a relay that is silent for so long gets a ping.
- `ping_timeout`, 30: one that stays silent for so long after it is given up (`PingTimeout`).
- `close_timeout`, 3: how long the relay may take to answer a close frame.
- `eose_timeout`, 10, None for ever: a relay that sends no event and no EOSE for so long is not
  waited for by `handle_eose_all`; the same for the answer to a COUNT.
- `max_message_size`, 5 MiB: the largest message to receive, reassembled and decompressed.
- `compression`, True: permessage-deflate is offered to the relay.
- `max_handshake_size`, 64 KiB: the largest answer to the upgrade.
- `max_queue_size`, 1 MiB: the total size of the messages that wait to be sent.
- `max_queue_messages`, 1024: the number of messages that wait to be sent.
- `tasks`, `{"garbage_collector": 3600}`: the periodic tasks of the connection's thread, and the
  seconds between two runs. There is this one; `{}` turns it off.
- `websocket`, `{}`: a mapping for the WebSocket, whose names are those of websocket-client:
  `headers` (a list of "Name: value"), `cookie`, `host`, `origin`, `subprotocols` (a list),
  `sockopt` (a list of arguments of `socket.setsockopt`), `sslopt` (a mapping: `context`, or
  `ca_certs`, `ca_cert_path`, `certfile`, `keyfile`, `password`, `cert_reqs`, `check_hostname`,
  `ciphers`, `server_hostname`), and `proxy`, the url of an HTTP proxy, "http://host:port". The
  environment's proxies are not used.

The `websocket` option is not shown by the `repr` of `Options`, and passwords in urls are never in a
log: nearly any of them may hold a secret.

Idle processors help with a flood of events to verify, even one relay's, which stay in their order.

Raw messages
------------

`subscribe`, `publish` and `count` know the protocol: they send again after a reconnect, observe the
limits of relays, and time out. They cost nothing unless used: until then, what relays send goes
straight to the callbacks, and a client can speak the protocol by itself:

>>> class Raw(GenNostr[None]):
...     def init(self, init_arg):
...         url, self.texts = init_arg
...         self.add_relay(url)
...     def handle_connect(self, relay, state):
...         self.send_message(["REQ", "mine", {"kinds": [1], "limit": 1}], relay)
...     def handle_event(self, message, relay, state):
...         self.texts.put((message.subscription_id, message.event.content))
...     def handle_eose(self, message, relay, state):
...         self.send_message(["CLOSE", "mine"], relay)
>>> with MemoryRelay() as relay:
...     _ = relay.store(kind=1, content="hello")
...     with Raw.start((relay.url, texts)):
...         print(texts.get(timeout=5))
('mine', 'hello')

`send_message(message, relay)` takes a list, or its JSON text, and checks that it is a message of
NIP-01; what is wrong with it is a `MessageError`. `relay` is a url or a `Relay`. Before the
connection is open, the message waits, and is sent after those that `handle_connect` sends; when an
attempt fails, it is lost with it. So a REQ belongs in `handle_connect`, which is called after each
reconnect. `RelayNotFound` says that there is no connection, `Overflow` that `max_queue_size` or
`max_queue_messages` is reached: the relay does not read. `broadcast_message(message)` sends to
every connection and returns the urls for which it was queued.

Use raw messages for what the functions do not do: a new NIP, a test of a relay. For everything
else, `subscribe` is shorter and misses nothing after a reconnect.

The tree
--------

Each client has a tree of actors of its own, and `print(gennostr.tree(feed))` shows it as it stands,
with the phase of each connection:

    your code ──start──▶ GenNostr client             callbacks run here, one at a time
                           │ linked
                           ▼
                         PrimarySupervisor           one_for_one
                           ├── ConnectionRegistry    url → connection, unique
                           └── ConnectionSupervisor
                                 ├── Connection wss://a    one thread, one WebSocket
                                 └── Connection wss://b    one thread, one WebSocket

Any number of clients may run in a program; they share nothing. If either end of the link dies, so
does the other: no thread, socket or name is left. (A client with `trap_exit = True` gets an `Exit`
in `handle_info` instead; it should return `Stop(message.reason)`.) If a connection crashes, there
is an error, a disconnect, and after the delay a new connection; the other relays notice nothing.

What is guaranteed
------------------

- Each attempt to connect ends in exactly one `handle_disconnect`, whatever ended it: refusal, DNS,
  TLS, HTTP 403, timeout, close frame, reset, silence, a crash of the connection, a restart of its
  supervisor, removal. An error is passed to `handle_error` first; a relay's close frame and a
  removal are not errors.
- Messages of one relay reach the callbacks in the order of the wire.
- What was requested with `subscribe` is delivered without gaps and once, across lost
  connections, relays that are killed and started again, and restarts within the tree; with a
  `store`, across restarts of the program. The page `limitations` says what is beyond that. Each
  publication has one outcome for each relay, and ends within its timeout; one with `durable=True`,
  when each relay has given a final answer.
- Every wait for a relay ends, whatever it sends or does not send, and no relay can make the client
  send in a loop: what it refuses is sent again once, or after a delay that doubles, or when
  something was closed.
- A relay that floods is slowed by TCP: a connection has at most 8 undelivered reads, or 256 KiB (a
  message counts 256 bytes besides its own), and then reads no more. A call waits for the callback
  under way and for one event at most, however many wait. What waits to be sent is bounded too;
  beyond that, `send_message` raises `Overflow` in the caller.
- What a callback raises, `SystemExit` included, ends that client alone, with one report in the log
  that names the client, the message and the state.
- A connection that keeps crashing is left to the backoff, and costs the other relays nothing.
- After `remove_relay`, `handle_disconnect` is called at once, during a hanging connect and during
  backoff too.
"""
