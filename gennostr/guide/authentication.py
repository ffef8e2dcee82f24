'''Use relays that want to know who you are.

Some relays answer only to clients that have proved who they are (NIP-42). Give the client a secret
key as its `signer`; it does the rest:

>>> from queue import Queue
>>> from gennostr import GenNostr, Ok
>>> from gennostr.nostr import generate_key, public_key
>>> from gennostr.testing import FakeRelay, make_event
>>> class Member(GenNostr[None]):
...     def init(self, init_arg):
...         url, self.signer, self.texts = init_arg
...         self.add_relay(url)
...         self.subscribe({"kinds": [1]}, "members")
...         return Ok(None)
...     def handle_event(self, message, relay, state):
...         self.texts.put(message.event.content)
>>> key, texts = generate_key(), Queue()
>>> with FakeRelay() as relay, Member.start((relay.url, key, texts)):
...     connection = relay.accept()  # the rest of this block plays the relay's part
...     _ = connection.expect_req()
...     connection.auth("a challenge")
...     connection.closed("members", "auth-required: members only")
...     proof = connection.expect_auth()
...     print(proof.pubkey == public_key(key), proof.tags)
...     connection.ok(proof.id)
...     _ = connection.expect_req()  # sent again
...     _ = connection.event("members", make_event(kind=1, content="for members"))
...     print(texts.get(timeout=5))
True [['relay', 'ws://localhost:.../'], ['challenge', 'a challenge']]
for members

A program that reads its key from a file or from the environment, never from its command line, which
every user of the machine can see:

    # member.py
    import os
    import stat
    import sys
    from pathlib import Path

    from gennostr import GenNostr, Ok, Relay, run
    from gennostr.nostr import EventMessage, nip19


    def secret_key() -> str:
        """Return the key in the file that GENNOSTR_KEY_FILE names, or that in GENNOSTR_KEY."""
        if name := os.environ.get("GENNOSTR_KEY_FILE"):
            path = Path(name)
            if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                sys.exit(f"{path} can be read by others: chmod 600 {path}")
            text = path.read_text().strip()
        else:
            text = os.environ.pop("GENNOSTR_KEY")  # not passed on to processes started later
        if text.startswith("nsec1"):
            found = nip19.decode(text)
            assert isinstance(found, nip19.Nsec)
            return found.secret_key
        return text  # 64 hex digits: the client checks it


    class Member(GenNostr[None]):
        def init(self, urls: list[str]) -> Ok[None]:
            self.signer = secret_key()
            for url in urls:
                self.add_relay(url, verify=True)
            self.subscribe({"kinds": [1], "limit": 20}, "members")
            return Ok(None)

        def handle_event(self, message: EventMessage, relay: Relay, state: None) -> None:
            print(message.event.content, flush=True)


    if __name__ == "__main__":
        run(Member, sys.argv[1:])

It needs `pip install 'gennostr[crypto]'`.

Signers
-------

`signer` is an attribute of the client: set it on the class, or in `init`. `fetch` has an argument
of this name. It is one of these, and an invalid one is an error of `start`:

- a secret key: 64 hex digits, or 32 bytes;
- a callable. It gets `created_at`, `kind`, `content` and `tags` by name, and returns the signed
  event, a `concurrent.futures.Future` of it, or None for a relay that it does not want to be known
  to: the tags say which relay it is;
- a list of those, for a relay that wants several: one after the other is used;
- None, the default: challenges are not answered.

A client that has a signer answers every relay's challenge. To be known to some relays alone, use a
callable:

>>> from gennostr.nostr import sign
>>> def known_to(relays, key):
...     def signer(*, created_at, kind, content, tags):
...         if dict(tags)["relay"] not in relays:
...             return None
...         return sign(key, created_at=created_at, kind=kind, content=content, tags=tags)
...     return signer
>>> signer = known_to(["wss://relay.example/"], key)
>>> fields = {"created_at": 1700000000, "kind": 22242, "content": ""}
>>> signer(**fields, tags=[["relay", "wss://other.example/"], ["challenge", "x"]]) is None
True

Keys that are elsewhere
-----------------------

A callable runs in a thread of its own, so it may take its time and ask a person: no callback waits
for it. It has 300 seconds. So the key may live in another process, in hardware, or at a remote
signer (NIP-46), and this program never sees it. The callable sends the fields there, and returns
the event that comes back; or it returns a future at once, which another thread, say that of another
client, completes:

>>> from concurrent.futures import Future
>>> requests = Queue()
>>> def remote(**fields):
...     answer = Future()
...     requests.put((fields, answer))
...     return answer
>>> with FakeRelay() as relay, Member.start((relay.url, remote, texts)):
...     connection = relay.accept()
...     _ = connection.expect_req()
...     connection.auth("a challenge")
...     fields, answer = requests.get(timeout=5)  # what follows may be done in any thread, later
...     answer.set_result(sign(key, **fields))
...     print(connection.expect_auth().kind)
22242

An exception from the callable, or in the future, is passed to `handle_error`.

Events that you publish are signed before, by your program: `publish` takes a signed event, and does
not use the signer.

What is sent again
------------------

What a relay has refused before it has accepted a signer, with `auth-required` or `restricted`
(which some relays send to clients that they do not know yet), is sent once more after its OK,
whichever came first: REQs, published events and COUNTs. `restricted` is final for a client that is
authenticated.

After a reconnect, the relay sends a new challenge, which is answered again.

When a relay refuses a signer, `handle_error` is called with an `AuthenticationError`, and the next
signer is used, if there is one; the connection stays open. A relay that sends one challenge after
another gets an answer only when it has refused something since, and after a delay that doubles, up
to a minute.

`handle_auth` is called with each challenge, whether or not it is answered. A client without a
signer may answer by itself, with raw messages: sign an event of kind 22242 with the tags `relay`
and `challenge`, and send `["AUTH", event]`.
'''
