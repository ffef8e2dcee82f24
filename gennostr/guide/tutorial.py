'''Tutorial: a supervised word counter, then a bot that answers on Nostr.

This page builds two programs. The first counts words and needs no network. On the way it shows a
server, calls and casts, a crash, a supervisor, a name, and the tree. The second is a Nostr bot.
You can paste every example into a Python prompt (Python 3.11 or newer, Linux or macOS).

A server
--------

A server is a class with callbacks. It has a thread and a mailbox of its own. Other threads send it
messages; it handles them one at a time, so its state needs no lock.

>>> from gennostr import GenServer, Ok, Reply
>>> class Words(GenServer[dict[str, int]]):
...     def init(self, init_arg):
...         return Ok({})
...     def handle_cast(self, line, counts):
...         for word in line.lower().split():
...             counts[word] = counts.get(word, 0) + 1
...     def handle_call(self, word, from_, counts):
...         return Reply(counts.get(word.lower(), 0))

>>> with Words.start() as words:
...     words.cast("The quick brown fox jumps over the lazy dog")
...     words.call("the")
2

What happened:

- `start` created the server, ran `init` in the server's thread, and returned when `init` had
  returned `Ok`. The value in `Ok` is the server's state: here a dictionary.
- `start` returned a **pid**, the handle of the running server. Any thread can use it.
- `cast` put a message into the mailbox and returned at once. The server passed it to
  `handle_cast`.
- `call` put a message into the mailbox and waited for the reply. Messages from one thread are
  handled in the order in which they were sent, so the call saw the words of the cast.
- Each callback gets the state as its last argument. `handle_cast` returned nothing: the state
  stays the same object, which the callback has changed in place. A callback can also return a new
  state; see `actors`.
- The ``with`` statement stopped the server at its end.

Crash it
--------

A word must be a string. The number 7 has no `lower`, so `handle_call` raises, and that ends the
server:

>>> with Words.start() as words:
...     words.call(7)
Traceback (most recent call last):
    ...
gennostr.exceptions.CallExit: <Pid Words#...> exited with reason AttributeError("'int' object ...

The caller does not wait until its timeout: the call ends at once, and `CallExit.reason` is the
exception. No other server is affected. The log has one record, at level ERROR, with everything
that is needed to find the mistake:

    <Pid Words#2> crashed in handle_call: AttributeError("'int' object has no attribute 'lower'")
      message: 7
      state: {}
      Traceback (most recent call last):
        ...
        File "words.py", line 9, in handle_call
          return Reply(counts.get(word.lower(), 0))
      AttributeError: 'int' object has no attribute 'lower'

Supervise it
------------

The words are still to be counted after a mistake like this. A supervisor starts the server, and
starts it again when it fails:

>>> from gennostr import CallExit, Supervisor
>>> with Supervisor.start([Words]) as supervisor:
...     [child] = supervisor.which_children()
...     try:
...         child.pid.call(7)
...     except CallExit:
...         print("crashed")
...     [restarted] = supervisor.which_children()
...     restarted.pid.call("the"), restarted.pid == child.pid
crashed
(0, False)

The second server is a new one: it has a new pid, and `init` has given it a new, empty state.
Nothing of the failed server is left that could make the new one fail too. A server whose state
must survive keeps it somewhere else, for example in a file or another server, and reads it in
`init`.

Name it
-------

A pid refers to one server, and is of no use after a restart. A name refers to the server that has
the name now. With `name`, each restart registers it again:

>>> from gennostr import call, cast, wait_for
>>> with Supervisor.start([Words.child_spec(name="words")]) as supervisor:
...     cast("words", "The quick brown fox")
...     print(call("words", "the"))
...     try:
...         call("words", 7)
...     except CallExit as error:
...         print(error)
...     restarted = wait_for("words")
...     cast("words", "the lazy dog")
...     print(call("words", "the"))
1
'words' exited with reason AttributeError("'int' object has no attribute 'lower'")
1

- `child_spec` describes a child of a supervisor: which class, which argument, which name, and what
  to do when it ends; see `supervision`.
- For a moment during a restart, nobody has the name. A call by name raises `NoProcess` then, and a
  cast is dropped. `wait_for` waits until the name is registered, and returns the pid.

See the tree
------------

`tree` shows the supervisor and its children, with the number of waiting messages and restarts:

>>> from gennostr import tree
>>> with Supervisor.start([Words.child_spec(name="words")], name="app") as supervisor:
...     try:
...         call("words", 7)
...     except CallExit:
...         print(supervisor.count_children())
...     print(tree(supervisor))
ChildCounts(specs=1, active=1, supervisors=0, workers=1)
Supervisor#... 'app'  running, 0 waiting
└── Words#... 'words'  running, 0 waiting, restarted once

The whole program
-----------------

It counts the words of its standard input and prints the three most frequent ones. Run it with
``python word_counter.py < some_text.txt``:

    # word_counter.py
    """Print the three most frequent words of standard input."""

    import sys
    from collections import Counter

    from gennostr import CallbackOutcome, CallOutcome, GenServer, InitOutcome, Ok, Reply, Request
    from gennostr import Supervisor, call, cast


    class Words(GenServer[Counter[str]]):
        def init(self, init_arg: object) -> InitOutcome[Counter[str]]:
            return Ok(Counter())

        def handle_cast(self, line: str, counts: Counter[str]) -> CallbackOutcome[Counter[str]]:
            counts.update(line.lower().split())
            return None

        def handle_call(
            self, how_many: int, from_: Request, counts: Counter[str]
        ) -> CallOutcome[Counter[str]]:
            return Reply(counts.most_common(how_many))


    if __name__ == "__main__":
        with Supervisor.start([Words.child_spec(name="words")]):
            for line in sys.stdin:
                cast("words", line)
            for word, count in call("words", 3):
                print(count, word)

The annotations are optional. With them, ``mypy --strict`` checks the callbacks: `InitOutcome`,
`CallOutcome` and `CallbackOutcome` are what `init`, `handle_call` and the other callbacks return.

A bot that survives its relays
------------------------------

A Nostr client is a server too. Its class is `GenNostr`, and it has more callbacks: one for each
kind of message that a relay sends. This bot answers each note that mentions it, once, on all of
its relays:

    # bot.py
    """Answer all notes that mention this bot, on the relays given as arguments."""

    import os
    import sys

    from gennostr import GenNostr, InitOutcome, Ok, PublicationDone, Relay, RelayOutcome, run
    from gennostr.nostr import EventMessage, public_key, sign


    class Bot(GenNostr[int]):
        deduplicate = True  # deliver an event once, even if several relays send it

        def init(self, urls: list[str]) -> InitOutcome[int]:
            self.key = self.signer = os.environ["GENNOSTR_KEY"]
            self.me = public_key(self.key)
            print("public key:", self.me, flush=True)
            for url in urls:
                self.add_relay(url, verify=True)
            self.subscribe({"kinds": [1], "#p": [self.me], "limit": 0}, "mentions")
            return Ok(0)

        def handle_event(
            self, message: EventMessage, relay: Relay, answered: int
        ) -> RelayOutcome[int]:
            note = message.event
            if note.pubkey == self.me:
                return None
            tags = [["e", note.id, relay.url, "reply"], ["p", note.pubkey]]
            self.publish(sign(self.key, kind=1, content=f"You said: {note.content}", tags=tags))
            return Ok(answered + 1)

        def handle_info(self, message: object, answered: int) -> None:
            if isinstance(message, PublicationDone):
                outcomes = message.publication.result()
                print({url: outcome.kind for url, outcome in outcomes.items()}, flush=True)


    if __name__ == "__main__":
        run(Bot, sys.argv[1:])

It needs ``pip install 'gennostr[crypto]'`` for signatures, a secret key, and at least one relay.
To try it on this machine, start a development relay in a second terminal with ``gennostr relay``
(``pip install 'gennostr[demo]'``), and give its url to the bot:

    export GENNOSTR_KEY=$(python -c "import gennostr.nostr as n; print(n.generate_key())")
    python bot.py ws://127.0.0.1:7447

In a third terminal, mention it in a note. The key must be another one, as the bot ignores its own
notes; the value of the tag ``p`` is the public key that the bot has printed:

    export GENNOSTR_KEY=$(python -c "import gennostr.nostr as n; print(n.generate_key())")
    gennostr publish ws://127.0.0.1:7447 --tag p=PUBLIC_KEY --content "hello"
    gennostr listen ws://127.0.0.1:7447

What it does:

- `add_relay` starts a connection and returns at once. Each relay has its own connection,
  supervised below the client. With ``verify=True``, an event whose id or signature is wrong is an
  error, and never reaches `handle_event`.
- `subscribe` sends a REQ to each relay when it connects. When a relay was away, it is sent again
  and requests the events since then: notes written meanwhile are answered too. With ``"limit": 0``
  the bot starts with new notes and leaves out stored ones.
- `handle_event` is called for each note. `publish` sends the answer to all relays and returns at
  once; when the outcome at each relay is known, the client receives `PublicationDone`.
- `signer` authenticates the bot at relays that require it.
- `run` starts the bot and waits until Ctrl-C, SIGTERM or the bot's end; then it stops it in order.
- A relay that cannot be reached is logged at WARNING, and tried again after about 0.5, 1, 5, 10
  and then every 30 seconds.

Where to go next: `actors` has all callbacks and what they return, `supervision` the strategies,
`nostr_client` the callbacks of a client, and `testing` shows how to test both.
'''
