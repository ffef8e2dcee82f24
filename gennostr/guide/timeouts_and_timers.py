'''Timeouts and timers: how long things may take, and what happens later.

You want a bound on every wait, and to do things later or again and again. All times are seconds,
as float or int.

A call that takes too long
--------------------------

>>> import threading
>>> from gennostr import CallTimeout, GenServer, NoReply, Ok, Reply
>>> class Printer(GenServer[int]):
...     paper = threading.Event()  # stands for a slow device
...     def init(self, init_arg):
...         return Ok(0)
...     def handle_call(self, text, from_, printed):
...         self.paper.wait()
...         return Reply(printed + 1, printed + 1)

>>> with Printer.start() as printer:
...     try:
...         printer.call("a report", timeout=0.05)
...     except CallTimeout as error:
...         print(str(error).replace(repr(printer), "the printer"))
...     Printer.paper.set()
...     printer.call("another one")
no reply from the printer to 'a report' within 0.05 s
2

The default timeout of a call is 5 seconds; ``timeout=None`` waits without a limit. What a
`CallTimeout` means:

- The caller does not know whether the work was or will be done. Here, the report was printed after
  all: the second call says 2. A request that must not be done twice needs an id by which the
  server recognizes it.
- The server is not affected. Its late reply is discarded and never reaches anybody.
- A `CallTimeout` is a `TimeoutError`, and a `CallError`. In a callback that does not catch it, it
  ends that server, as any other exception does.

A call inside a callback also needs a timeout shorter than that of the callback's own caller, or
that caller gives up first. To leave the wait to others, use `send_request` and `wait`, or reply
later; see `actors`. After a `CallTimeout` from ``pending.wait(timeout)``, the request is still
pending, and `wait` can be called again.

The timeouts of other functions
-------------------------------

- ``start(argument, timeout=None)``: for `init`. When it is over, the server is killed, and
  `StartError` has the reason `TIMEOUT`.
- ``stop(target, timeout=None)`` and ``pid.stop(timeout=...)``: when it is over, `CallTimeout` is
  raised, and the server still stops later. A stop waits its turn in the mailbox. A server that is
  stuck in a callback can only be killed: ``pid.exit(KILL)``.
- ``get_state(target, timeout=5.0)`` and the other functions that look into a server: as for
  `call`.
- ``wait_for(name, timeout=5.0)``: `NoProcess` when it is over.
- ``as_completed(pending, timeout=None)``: one for all together. `TimeoutError` when it is over.
- The methods of a supervisor's handle, such as `start_child`, wait without a limit.
- `shutdown`, a field of a child spec: how long a supervisor waits for a child to stop before it
  kills it: 5 seconds for a worker, without a limit for a supervisor; see `supervision`.

A negative timeout, or one that is not a number, raises `ValueError` or `TypeError` in the caller.

Later
-----

``send_after(delay, target, message)`` sends a message to `handle_info` of a pid, a name or a
`via`. It returns a timer, and ``cancel_timer(timer)`` returns the seconds that were left, or None
if the timer had fired or was cancelled before.

Tests and these examples do not wait: a `ManualClock` stops the library's clock, and `advance`
moves it. In your program, leave it out.

>>> from gennostr import cancel_timer, send_after
>>> from gennostr.testing import ManualClock, Probe
>>> with ManualClock() as clock, Probe() as probe:
...     reminder = send_after(60, probe.pid, "tea is ready")
...     clock.advance(60)
...     print(probe.expect())
...     reminder = send_after(60, probe.pid, "tea is ready")
...     clock.advance(20)
...     print(cancel_timer(reminder), cancel_timer(reminder))
tea is ready
40.0 None

- A name is looked up when the timer fires. If the target is dead or unknown then, the message is
  dropped.
- A message of a timer that has fired may still be in the mailbox when you cancel it. If that
  matters, put a number into the message, and ignore all but the latest.
- A timer belongs to nobody: it fires even if the actor that set it has ended. An actor that sends
  a timer's message to its own pid needs no clean-up: after its end, the message is dropped. With a
  name, the successor would get it.
- One thread serves all timers of the program.

Again and again
---------------

A server that does something periodically sends itself a message, and again when it has handled it:

>>> class Heartbeat(GenServer[int]):
...     def init(self, interval):
...         self.interval = interval
...         send_after(interval, self.pid, "beat")
...         return Ok(0)
...     def handle_info(self, message, beats):
...         send_after(self.interval, self.pid, "beat")
...         return NoReply(beats + 1)
...     def handle_call(self, request, from_, beats):
...         return Reply(beats)

>>> with ManualClock() as clock, Heartbeat.start(10) as heartbeat:
...     clock.advance(35)
...     heartbeat.call("how many?")
3

At most one beat waits in the mailbox, even if handling one takes longer than the interval. When
the server ends, so do its beats; when a supervisor starts it again, `init` starts them anew. To
keep an exact rhythm, compute the delay from the time at which the next beat is due.
`jobs_and_pools` has complete programs.

When nothing happens
--------------------

`Ok`, `Reply` and `NoReply` take ``timeout=seconds``: if no message arrives in that time,
`handle_info` gets `TIMEOUT`. A session that ends itself when idle:

>>> from gennostr import TIMEOUT, Stop
>>> class Session(GenServer[list[str]]):
...     def init(self, init_arg):
...         return Ok([], timeout=30)
...     def handle_cast(self, line, lines):
...         return NoReply([*lines, line], timeout=30)
...     def handle_info(self, message, lines):
...         if message is TIMEOUT:
...             return Stop()
...         return NoReply(timeout=30)
...     def terminate(self, reason, lines):
...         print("idle after", lines)

>>> with ManualClock() as clock, Session.start() as session:
...     clock.advance(29)
...     session.cast("hello")
...     clock.advance(29)
...     print(session.is_alive())
...     clock.advance(1)
True
idle after ['hello']

- It is set once, by one outcome. Any message cancels it, so each callback that wants it again
  returns it again.
- Functions that look into a server, such as `get_state`, do not cancel it; it starts anew after
  them.
- With ``timeout=0``, a message that is waiting already is handled first, and cancels it; otherwise
  `TIMEOUT` arrives at once.
- For something that must happen whatever else arrives, use `send_after`.

Hibernate
---------

``hibernate=True`` is accepted wherever ``timeout`` is. The server then runs Python's garbage
collector before it waits for its next message: good after a callback that has left a lot of
garbage in cycles, and before a long rest. It never changes results.

Deadlines in tests
------------------

`ManualClock`, or the fixture `manual_clock` of pytest, stops the clock for all of the library:
timers, timeouts, shutdown times, restart windows, and the delays and keepalives of clients.
``advance(seconds)`` moves it, one deadline after the other, and lets the actors come to rest in
between. ``next_due()`` returns the seconds to the next deadline, or None. So a test of an hour
takes milliseconds, and never fails on a slow machine:

    # test_session.py
    """A test that takes no time of its own: the clock is moved by hand."""

    from gennostr import TIMEOUT, CallbackOutcome, GenServer, InitOutcome, Ok, Stop
    from gennostr.testing import ManualClock, Probe


    class Session(GenServer[None]):
        def init(self, idle: float) -> InitOutcome[None]:
            return Ok(None, timeout=idle)

        def handle_info(self, message: object, state: None) -> CallbackOutcome[None]:
            return Stop("idle") if message is TIMEOUT else None


    def test_a_session_ends_after_an_hour(manual_clock: ManualClock, probe: Probe) -> None:
        session = Session.start(3600)
        probe.monitor(session)
        manual_clock.advance(3599)
        assert session.is_alive()
        assert manual_clock.next_due() == 1
        manual_clock.advance(1)
        probe.expect_down(session, "idle")

Code of your own that reads the time should read it from the library, so that a manual clock moves
it too: ``monotonic_time()`` for intervals, ``system_time()`` for the time of day, both in seconds.

>>> from gennostr import monotonic_time
>>> with ManualClock() as clock:
...     begin = monotonic_time()
...     clock.advance(3600)
...     monotonic_time() - begin
3600.0
'''
