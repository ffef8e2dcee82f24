"""Make events, sign them, publish them, and know what became of them.

>>> from gennostr import GenNostr, Ok
>>> from gennostr.nostr import generate_key, sign
>>> from gennostr.testing import MemoryRelay
>>> class Client(GenNostr[None]):
...     def init(self, urls):
...         for url in urls:
...             self.add_relay(url)
...         return Ok(None)
>>> key = generate_key()
>>> note = sign(key, kind=1, content="hello", tags=[["t", "introductions"]])
>>> with MemoryRelay() as relay, Client.start([relay.url]) as client:
...     outcomes = client.publish(note).result()
...     print(outcomes[relay.url].kind, [event.content for event in relay.events])
accepted ['hello']

As a program that publishes a line of text to some relays and reports each of them:

    # post.py
    import os
    import sys

    from gennostr import GenNostr, Ok
    from gennostr.nostr import sign


    class Client(GenNostr[None]):
        def init(self, urls: list[str]) -> Ok[None]:
            for url in urls:
                self.add_relay(url)
            return Ok(None)


    def main(text: str, urls: list[str]) -> bool:
        note = sign(os.environ["GENNOSTR_KEY"], kind=1, content=text)  # 64 hex digits
        with Client.start(urls) as client:
            outcomes = client.publish(note, timeout=10).result()
        for url, outcome in outcomes.items():
            print(url, outcome.kind, outcome.message)
        return any(outcomes.values())  # an outcome is true if the relay has the event


    if __name__ == "__main__":
        sys.exit(0 if main(sys.argv[1], sys.argv[2:]) else 1)

Keys
----

A secret key is 32 random bytes, written as 64 hex digits. All who have it can sign as you, and
it cannot be replaced, so keep it out of source code, logs and command lines (page
`authentication`). Others know you by the public key, which is computed from it:

>>> from gennostr.nostr import public_key
>>> author = public_key("01" * 32)
>>> author
'1b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f'

`generate_key()` needs no extra. `public_key`, `sign` and `verify` need
`pip install 'gennostr[crypto]'`.

npub1..., note1... and others
-----------------------------

For people, keys and ids are written as texts with a checksum (NIP-19). The module `nip19` has a
class for each kind, with `encode`, and the function `decode` for all of them:

>>> from gennostr.nostr import nip19
>>> nip19.Npub(author).encode()
'npub1rwzv24nmzfjypx2a8m264ws9vht3uxp5vpypnluuzl67n4waq78suk0wul'
>>> nip19.decode("npub1rwzv24nmzfjypx2a8m264ws9vht3uxp5vpypnluuzl67n4waq78suk0wul").pubkey == author
True
>>> nip19.Nevent(note.id, relays=["wss://relay.example"], kind=1).encode()
'nevent1...'

- `Npub(pubkey)` and `Nsec(secret_key)`, whose `repr` does not show the key;
- `Note(id)`: the id of an event;
- `Nprofile(pubkey, relays=())`: with relays on which to look for it;
- `Nevent(id, relays=(), author=None, kind=None)`;
- `Naddr(identifier, pubkey, kind, relays=())`: an event of which the newest version counts.

`decode` also reads them after `nostr:`, and raises a `ValueError` that says what is wrong.

Events
------

`sign(secret_key, *, kind, content, tags=(), created_at=None)` returns an `Event` with its id and
signature; `created_at` is in whole seconds since 1970, and None is the present. `kind` is 0 to
65535, `tags` is a list of lists of texts. An event is immutable; to change one, sign a new one.

>>> from gennostr.nostr import Event, verify
>>> text = note.to_json()
>>> Event.from_json(text) == note
True
>>> verify(Event.from_json(text.replace("hello", "goodbye")))
Traceback (most recent call last):
gennostr.exceptions.MessageError: ...

`to_json` and `from_json` are for text, `to_dict` and `from_dict` for a dict with the seven fields.
Reading checks the types alone: call `verify` for an event from elsewhere. It raises a
`MessageError`, whose `problem` is "forged".

Publish
-------

`publish(event, relays=None, timeout=10)` sends an event, an `Event` or a dict, to all relays of the
client, or to those in `relays`, a list of urls. Relays that connect within `timeout` seconds get it
too, so it may be called right after `add_relay`. The id must match the content, otherwise it raises
a `MessageError`; the signature is for the relay to check.

It returns at once, with a `Publication`: a `concurrent.futures.Future` of a dict from urls
(normalized, as in `relay.url`) to outcomes. So there are three ways to wait:

- In a thread: `publication.result()`. No timeout is needed: each publication ends within its own.
  `concurrent.futures.wait` and `as_completed` take publications as well.
- In a coroutine: `outcomes = await publication`; the event loop runs on.
- In a callback of the client, neither, as the client would wait for itself: `result()` raises
  `CallingSelf`. Where a callback has published, `handle_info` is called with
  `PublicationDone(publication)`, and then `message.publication.result()` does not wait.

In a coroutine:

>>> import asyncio
>>> async def post(client):
...     outcomes = await client.publish(note)
...     return [outcome.kind for outcome in outcomes.values()]
>>> with MemoryRelay() as relay, Client.start([relay.url]) as client:
...     asyncio.run(post(client))
['accepted']

In callbacks:

>>> from queue import Queue
>>> from gennostr import PublicationDone
>>> class Greeter(Client):
...     def handle_connect(self, relay, state):
...         self.publish(note)
...     def handle_info(self, message, state):
...         if isinstance(message, PublicationDone):
...             done.put(message.publication)
>>> done = Queue()
>>> with MemoryRelay() as relay, Greeter.start([relay.url]):
...     publication = done.get(timeout=5)
...     print(publication.event == note, publication.result()[relay.url].kind)
True accepted

`publication.cancel()` ends it early. If the client ends first, `result()` raises `CallExit`.

Outcomes
--------

Each relay has exactly one `PublishOutcome`. It is true if the relay has the event. `kind` is:

- "accepted": the relay sent an OK, or has the event already ("duplicate");
- "rejected": `prefix` and `message` say why;
- "timeout": it was sent, and not answered in time;
- "disconnected": the connection was lost after it was sent, and lost again after a reconnect, or
  not restored in time;
- "not_sent": there was no connection in time, or the client has no such relay: `message`;
- "expired": of a durable publication, which ended before the relay gave a final answer.

>>> with MemoryRelay() as relay, Client.start([relay.url]) as client:
...     outcomes = client.publish(note, relays=[relay.url, "ws://nobody.example"]).result()
...     print(outcomes[relay.url].kind, bool(outcomes[relay.url]))
...     print(outcomes["ws://nobody.example/"].message)
accepted True
the client has no relay ws://nobody.example/

To publish again what has failed is safe: an event is identified by its id, and a relay that has it
already answers "duplicate", which counts as accepted. After a lost connection this is done for you,
once.

The `prefix` of a rejection is the word before ": " in the relay's message; NIP-01 defines these:

- `blocked`: the relay does not take events of this author, address or kind;
- `invalid`: the event is wrong: its id, its signature, or its `created_at` is out of bounds;
- `pow`: it demands proof of work (NIP-13);
- `rate-limited`: too much at once; publish it again later;
- `restricted`: this author may not write there;
- `mute`: nobody has received it (an ephemeral event);
- `error`: the relay could not store it; it may help to try later.

`auth-required` is final if the client has no signer; with one, the event is sent again after the
authentication, by itself (page `authentication`).

Until it is accepted
--------------------

`publish(event, durable=True)` of a client with a `store` saves the event, and sends it until each
relay has accepted it or rejected it for good: however often the connection is lost, the relay is
out of order, or the program itself ends and is started again. See the page `persistence`.

>>> from gennostr.store import MemoryStore
>>> class Writer(Client):
...     store = MemoryStore()  # lasts as long as the process; a SqliteStore, longer
>>> with MemoryRelay() as relay, Writer.start([relay.url]) as writer:
...     publication = writer.publish(note, durable=True)
...     print(publication.result()[relay.url].kind)
accepted

In bulk
-------

Any number of publications may be open. At most 256 for each relay are in flight; the rest wait in a
local queue, and their timeout runs meanwhile. To publish many events, wait for some before the
next:

>>> from concurrent.futures import FIRST_COMPLETED, wait
>>> notes = (sign(key, kind=1, content=f"note {number}") for number in range(200))
>>> in_flight, accepted = set(), 0
>>> with MemoryRelay() as relay, Client.start([relay.url]) as client:
...     for each in notes:
...         in_flight.add(client.publish(each))
...         if len(in_flight) == 64:
...             done, in_flight = wait(in_flight, return_when=FIRST_COMPLETED)
...             accepted += sum(all(each.result().values()) for each in done)
...     accepted += sum(all(each.result().values()) for each in in_flight)
>>> accepted
200

The command ``gennostr mirror`` copies events from one relay to another in this way.
"""
