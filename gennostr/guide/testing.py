"""Test actors and clients: probes, a manual clock, relays, crashes and leaks.

Test an actor
-------------

The test kit is `gennostr.testing`; pytest finds its fixtures by itself as soon as gennostr is
installed. A server and its tests, in a file that runs as it stands, in a tenth of a second:

    # test_batcher.py
    from gennostr import GenServer, NoReply, Ok, Pid, Timer, cancel_timer, send_after, wait_for
    from gennostr.testing import ManualClock, Probe, Supervised


    class Batcher(GenServer[list[str]]):
        # Sends what it gets to its owner: three at once, or after 5 seconds.

        def init(self, owner: Pid) -> Ok[list[str]]:
            self.owner = owner
            self.timer: Timer | None = None
            return Ok([])

        def handle_cast(self, item: str, items: list[str]) -> NoReply[list[str]]:
            items = [*items, item.strip()]
            if len(items) == 1:
                self.timer = send_after(5.0, self.pid, "flush")
            return self.flush(items) if len(items) == 3 else NoReply(items)

        def handle_info(self, message: str, items: list[str]) -> NoReply[list[str]]:
            return self.flush(items)

        def flush(self, items: list[str]) -> NoReply[list[str]]:
            if self.timer is not None:
                cancel_timer(self.timer)
            self.owner.send(items)
            return NoReply([])


    def test_three_at_once(start_supervised: Supervised, probe: Probe) -> None:
        batcher = start_supervised(Batcher, probe.pid)
        for item in ("a", "b", "c", "d"):
            batcher.cast(item)
        probe.expect(["a", "b", "c"])


    def test_fewer_after_five_seconds(
        manual_clock: ManualClock, start_supervised: Supervised, probe: Probe
    ) -> None:
        batcher = start_supervised(Batcher, probe.pid)
        batcher.cast("a")
        manual_clock.advance(4.9)
        probe.expect_no_message(within=0)
        manual_clock.advance(0.1)
        probe.expect(["a"])


    def test_it_is_restarted_after_a_crash(start_supervised: Supervised, probe: Probe) -> None:
        batcher = start_supervised(Batcher.child_spec(probe.pid, name="batcher"))
        probe.monitor(batcher)
        batcher.cast(42)
        report = start_supervised.expect_crash(AttributeError)
        assert (report.callback, report.message) == ("handle_cast", 42)
        probe.expect_down(batcher)
        assert wait_for("batcher").get_state() == []

The annotations are for type checkers and editors; the fixtures work without them.

- `probe` is an actor that the test plays: its pid goes where the server expects one.
- `manual_clock` holds the time; `advance` moves it, and returns when all that was due is done.
- `start_supervised` starts a server, stops it after the test, the newest first, and fails the test
  if it crashed, unless the test expects that.

Test a client of relays
-----------------------

`fake_relay` is a relay on a real socket that does what the test makes it do, and nothing else. A
client must request its feed again whenever the relay has dropped it:

    # test_feed.py
    from gennostr import GenNostr, NoReply, Ok, Pid, Relay
    from gennostr.nostr import EventMessage
    from gennostr.testing import FakeRelay, ManualClock, Probe, Supervised


    class Feed(GenNostr[list[str]]):
        def init(self, init_arg: tuple[str, Pid]) -> Ok[list[str]]:
            url, self.owner = init_arg
            self.add_relay(url)
            return Ok([])

        def handle_connect(self, relay: Relay, seen: list[str]) -> None:
            self.send_message(["REQ", "feed", {"kinds": [1]}], relay)

        def handle_event(
            self, message: EventMessage, relay: Relay, seen: list[str]
        ) -> NoReply[list[str]]:
            self.owner.send(message.event.content)
            return NoReply([*seen, message.event.id])


    def test_the_feed_is_requested_again(
        manual_clock: ManualClock, start_supervised: Supervised, fake_relay: FakeRelay, probe: Probe
    ) -> None:
        start_supervised(Feed, (fake_relay.url, probe.pid))
        connection = fake_relay.accept()
        assert connection.expect_req().filters == [{"kinds": [1]}]
        connection.event("feed", content="hello")
        probe.expect("hello")
        connection.drop()
        manual_clock.advance(0.7)  # seconds; the first delay is 0.5 s, plus or minus a quarter
        assert fake_relay.accept().expect_req().subscription_id == "feed"

If an expectation is not met, the message says what was expected and what there was instead, such as
"expected a REQ message but got ..." or the contents of the probe's mailbox.

The fixtures
------------

- `probe`: a `Probe`
- `manual_clock`: a `ManualClock`, installed during the test
- `fake_relay`: a `FakeRelay`, listening
- `start_supervised`: a `Supervised`, called as ``start_supervised(Server, argument)``
- `no_leaks`: fails a test that leaves a thread, a child process, a descriptor or an actor

Each is described below. Outside of pytest, and if a test needs several of them, use the classes in
``with`` statements. If plugins are not loaded automatically (PYTEST_DISABLE_PLUGIN_AUTOLOAD), add
``-p gennostr.testing.pytest_plugin``.

Probes
------

A probe has a pid and a mailbox, but no thread. What arrives waits, in its order, until the test
expects it:

>>> from gennostr.testing import Probe
>>> with Probe() as probe:
...     probe.pid.send("hello")
...     probe.pid.cast(("put", 1))
...     pending = probe.pid.send_request("name?")
...     print(probe.expect(str), probe.expect_cast())
...     probe.expect_call("name?").reply("probe")
...     pending.wait()
hello ('put', 1)
'probe'

- `expect`, `expect_call`, `expect_cast`, `expect_exit` and `expect_down` take the next message.
  What is expected is a type, a function that returns whether a message matches, or a value that it
  equals. They wait for a second of the machine's time, or ``timeout`` seconds.
- A call is answered by ``reply(value)`` or ``fail(exception)`` of what `expect_call` returns.
- `receive_n` takes several messages, `fish_for` the first that matches, dropping those before it,
  and `expect_no_message` none. `within` gives several expectations one deadline.
- The test's thread acts as the probe, which traps exits: what it links, monitors and starts with
  `start_link`, the probe does.

>>> from gennostr import NORMAL, GenServer, monitor
>>> with Probe(name="owner") as probe:
...     server = GenServer.start_link()
...     ref = monitor(server)
...     _ = server.stop()
...     down = probe.expect_down(server, NORMAL)
...     print(down.ref == ref, probe.expect_exit(server).reason)
True NORMAL

A test that has other servers talk to each other needs no probe: call them, and look at their state
with `Pid.get_state`, which is answered after all messages that were sent before.

The clock
---------

With a `ManualClock`, time stands still for timers, timeouts, shutdown times, restart windows,
backoff and keepalive, until `advance` moves it. What falls due does so one deadline after the
other, and the actors come to rest before each: they have handled their messages, and what their
sockets have received. So an hour takes milliseconds, and a test of time is deterministic.
`next_due` returns the seconds until the next deadline, `settle` only waits for the actors.

>>> from gennostr import monotonic_time, send_after
>>> from gennostr.testing import ManualClock
>>> with ManualClock() as clock, Probe() as probe:
...     began = monotonic_time()
...     timer = send_after(3600, probe.pid, "an hour later")
...     print(clock.next_due())
...     clock.advance(3600)
...     print(probe.expect(), monotonic_time() - began)
3600.0
an hour later 3600.0

- **Code under test** that reads the time itself reads `gennostr.monotonic_time` and
  `gennostr.system_time`, which follow this clock. ``time.time()`` does not.
- **Install it first.** Actors that run before the clock is installed keep times of the other one.
  As a fixture: name `manual_clock` before the fixtures that start actors.
- **Real work takes real time.** A callback that computes or waits for the network is not made
  faster. `advance` waits for it, but not for an actor that blocks outside of the library.

Crashes
-------

``start_supervised(Server, argument)``, or with a child spec, starts the server below a supervisor
of the test, as in production: after a crash it is started anew. Each crash that the test does not
expect fails it, with the crash report: the callback, the message and the state. Outside of pytest
it is a `Supervised` in a ``with`` statement:

>>> from gennostr import CallExit, Ok, Reply
>>> from gennostr.testing import Supervised
>>> class Divider(GenServer[int]):
...     def init(self, number):
...         return Ok(number)
...     def handle_call(self, divisor, from_, number):
...         return Reply(number // divisor)
>>> with Supervised() as start_supervised:
...     divider = start_supervised(Divider, 42)
...     try:
...         with start_supervised.crashes(ZeroDivisionError) as crash:
...             divider.call(0)
...     except CallExit as error:
...         print(repr(error.reason), crash.report.message, crash.report.state)
ZeroDivisionError('integer division or modulo by zero') 0 42

``with start_supervised.crashes(...)`` expects a crash in its block, and
``start_supervised.expect_crash(...)`` waits for one that was caused before. What is expected is
given as to a probe. Both give the `CrashReport`.

`gennostr.wait_for` waits until a name is registered, while its server is being started anew, in
tests as in programs.

Relays
------

`FakeRelay` plays the relay's part step by step. ``accept()`` returns the next connection, and all
its methods work on the relay too, for the newest connection:

>>> from gennostr import GenNostr
>>> from gennostr.testing import FakeRelay
>>> class Notes(GenNostr[None]):
...     def init(self, url):
...         self.add_relay(url)
...         self.subscribe({"kinds": [1]}, "notes")
>>> with FakeRelay() as relay, Notes.start(relay.url) as notes:
...     connection = relay.accept()
...     print(connection.expect_req())
...     connection.eose("notes")
...     notes.unsubscribe("notes")
...     connection.expect_close()
Req(subscription_id='notes', filters=[{'kinds': [1]}])
'notes'

- From the client: `expect_req`, `expect_event`, `expect_close`, `expect_auth`, `expect_count`,
  `receive`, `skip_to`; and of the WebSocket `expect_close_frame`, `receive_frame`, `expect_end`
- To the client: `event`, `eose`, `ok`, `closed`, `notice`, `auth`, `count`, `send`, `raw`
- Faults: `drop` (a reset), `disconnect`, `half_close`, `close`, `stall` (it reads no more),
  `throttle` (it sends slowly); and before the upgrade ``relay.refuse(403)``, ``stop_listening()``
- ``FakeRelay(tls=True)`` makes a certificate, with ``pip install 'gennostr[testing]'``; the client
  trusts it with ``add_relay(relay.url, websocket=relay.websocket)``
- Requests for the relay's information (NIP-11) are answered with 404

`MemoryRelay` works by itself: it keeps events in memory and answers subscriptions, publications and
counts, for tests that need a relay and not each message. ``relay.store(content="hello")`` is like a
publication of another client. `drop`, `stop` and `start` interrupt it; `max_limit`,
`max_subscriptions` and `information` give it limits:

>>> from gennostr import fetch
>>> from gennostr.testing import MemoryRelay
>>> with MemoryRelay(max_limit=2) as relay:
...     stored = [relay.store(created_at=second) for second in (1, 2, 3)]
...     [event.created_at for event in fetch({"kinds": [1]}, [relay.url])]
[3, 2, 1]

The events of the kit (`make_event`, `store`, and `event` of a connection) are signed with
`gennostr.testing.SECRET_KEY`, so that clients with ``verify=True`` accept them.

For a client with a `store`, a `gennostr.store.MemoryStore` is one that lasts as long as the test:
start the client twice with the same, to test what it does after a restart (page `persistence`).

Callbacks without a thread
--------------------------

Callbacks are methods. `recording` makes a server that does not run, and a list of what its
callbacks do:

>>> from gennostr import Relay
>>> from gennostr.testing import Sent, recording
>>> class Feed(GenNostr[int]):
...     def handle_connect(self, relay, seen):
...         self.send_message(["REQ", "feed", {"kinds": [1]}], relay)
>>> with recording(Feed) as (feed, actions):
...     feed.handle_connect(Relay.new("wss://relay.example"), 0)
>>> actions == [Sent(["REQ", "feed", {"kinds": [1]}], "wss://relay.example/")]
True

Nothing is connected, and timers are recorded as `Scheduled` and do not fire. The other actions are
`Added`, `Removed`, `Reconnecting`, `Broadcast`, `Subscribed`, `Unsubscribed`, `PublishedEvent`,
`Forgotten`, `RequestedCount` and `Pinged`. Messages to other actors are sent, so a probe can
receive them.

Leaks
-----

A test that uses `no_leaks` fails if it leaves something behind, and says what. For all tests of a
project, in `conftest.py`:

    @pytest.fixture(autouse=True)
    def nothing_left_behind(no_leaks):
        pass

Processes and descriptors are found on Linux only. What fixtures of a wider scope hold is not a
leak.

Tests that do not wait
----------------------

A test that sleeps is slow, and fails on a busy machine all the same. Wait for what happens instead:
a call returns when all that the caller sent before is handled; a probe's expectation and
`Pid.stop` have a deadline; and time passes on the manual clock.
"""
