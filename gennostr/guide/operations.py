"""Logs, telemetry, a look inside a running program, and what to watch.

Find out why a server ended
---------------------------

A crash is one log record at ERROR, with the traceback. Its attribute `crash_report` holds the same
as a value, for an error tracker, say:

>>> import logging
>>> from gennostr import GenServer, NoReply, Ok, Supervisor, whereis
>>> class Divider(GenServer[int]):
...     def init(self, number):
...         return Ok(number)
...     def handle_cast(self, divisor, number):
...         return NoReply(number // divisor)
>>> class Tracker(logging.Handler):
...     def emit(self, record):
...         report = getattr(record, "crash_report", None)
...         if report is not None:
...             print(report.callback, report.message, report.state, repr(report.reason))
>>> tracker = Tracker()
>>> logging.getLogger("gennostr").addHandler(tracker)
>>> with Supervisor.start([Divider.child_spec(42, name="divider")]):
...     divider = whereis("divider")
...     divider.cast(2)
...     divider.cast(0)
...     _ = divider.actor_stopped.wait(5)
handle_cast 0 21 ZeroDivisionError('integer division or modulo by zero')
>>> logging.getLogger("gennostr").removeHandler(tracker)

The log of this:

    ERROR gennostr.otp.crash_report: <Pid Divider#3 'divider'> crashed in handle_cast: ZeroDivis...
      message: 0
      state: 21
      ancestors: <Pid Supervisor#2>
      Traceback (most recent call last):
      ...
    WARNING gennostr.otp.child: <Pid Supervisor#2> restarts child 'divider': <Pid Divider#3 'di...

A `CrashReport` has `pid`, `callback`, `message`, `caller` (of a call), `state`, `reason` and
`ancestors`. Each restart is a record that names the process that ended and why, and a supervisor
that gives up is one at ERROR; so the log alone leads from the root to the cause.

The state may hold secrets. `format_status` decides what crash reports and `get_status` show:

>>> import dataclasses
>>> class Vault(GenServer[str]):
...     def init(self, secret):
...         return Ok(secret)
...     def format_status(self, status):
...         return dataclasses.replace(status, state="***")
>>> with Vault.start("password") as vault:
...     vault.get_status().state
'***'

Configure the log
-----------------

The library logs to loggers below `gennostr`, named by module, and adds no handlers. Without any
configuration, Python prints warnings and errors on standard error. As usual:

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )

Messages, calls, events and connections are not logged, at any level, as long as all is well: use
telemetry to follow them. Control characters in what a relay has sent are escaped, and passwords in
urls are left out.

Look inside
-----------

`tree` shows the actors below a pid or name, each with its status, the messages that wait in its
mailbox, its restarts, and the process it waits for in a call. It sends no messages to the actors,
so it works when they are stuck:

>>> from gennostr import call, cast, get_state, get_status, replace_state, resume, statistics
>>> from gennostr import suspend, tree
>>> class Forwarder(GenServer[str]):
...     def init(self, target):
...         return Ok(target)
...     def handle_cast(self, request, target):
...         call(target, request, timeout=None)
>>> children = [Forwarder.child_spec(to, name=name) for name, to in (("a", "b"), ("b", "a"))]
>>> from gennostr.testing import ManualClock
>>> with ManualClock() as clock, Supervisor.start(children, name="app"):
...     for name in ("a", "b"):
...         cast(name, "hello")
...     clock.settle()  # until nothing more happens
...     print(tree("app"))
Supervisor#... 'app'  running, 0 waiting
├── Forwarder#... 'a'  running, ... waiting, waits for Forwarder#... 'b'
└── Forwarder#... 'b'  running, ... waiting, waits for Forwarder#... 'a'

Two servers that wait for each other, for ever, as they have no timeout: the tree shows the cycle. A
signal handler that logs the tree is a good thing to have:

    signal.signal(signal.SIGUSR1, lambda number, frame: print(tree("app"), file=sys.stderr))

These look into one server. They take a pid or a name, are methods of pids too, wait for the
callback in progress, and raise what a call raises:

>>> with Divider.start(42, name="divider"):
...     print(get_state("divider"), replace_state("divider", lambda number: number + 42))
...     suspend("divider")  # messages wait
...     cast("divider", 2)
...     print(get_status("divider").status, get_status("divider").messages)
...     resume("divider")
...     print(get_state("divider"), statistics("divider").messages_in)
42 84
suspended 1
42 1

- `get_state`, `replace_state`: the state; the function runs in the server
- `get_status`: state, "running" or "suspended", waiting messages and children, as `format_status`
  changed them
- `statistics`: messages handled and waiting, start and uptime; of a client also how many events it
  remembers, and the bytes they take
- `suspend`, `resume`: a suspended server keeps its messages, and still answers these functions

The threads of actors are named after their classes, so `faulthandler`, `py-spy` and debuggers show
which is which.

Telemetry
---------

A handler is called for starts, stops, crashes, restarts, calls, growing mailboxes and connections,
with the event's name, its measurements (numbers) and its metadata:

>>> from gennostr import telemetry
>>> from queue import SimpleQueue
>>> events = SimpleQueue()
>>> def handler(name, measurements, metadata):
...     events.put((name, sorted(measurements), sorted(metadata)))
>>> telemetry.attach(handler)
>>> with Divider.start(42) as divider:
...     divider.cast(2)
>>> telemetry.detach(handler)
>>> while not events.empty():
...     print(*events.get())
actor.start ['duration'] ['parent', 'pid']
actor.stop ['lifetime'] ['pid', 'reason']

``help(gennostr.telemetry)`` lists all events. The handler runs in the thread where the
event happens, so it must be quick and safe to call from several threads: put into a queue, or
increment a counter of a metrics library. One that raises is detached. With nobody attached, no
event is built.

What to watch
-------------

- **Crashes and restarts**: the events `actor.crash` and `supervisor.restart`, or the log at ERROR.
- **Mailbox length**: the event `mailbox.high_water`, from 64 waiting messages on and at each
  doubling, or ``statistics(name).messages``. A mailbox that keeps growing belongs to a server that
  is too slow for what it is sent: let its clients call instead of cast, which slows them down, let
  it share its work (see the page `jobs_and_pools`), or find the callback that blocks.
- **Calls**: the event `call`, with its duration and its outcome "reply", "exit" or "timeout".
- **Abandoned threads**: `abandoned` returns how many threads of killed servers are still in a
  callback. It should be 0; each also is logged. Threads cannot be killed in Python, so give what
  blocks a timeout of its own, or implement `on_cancel`.
- **Relays**: the events `connection.up` and `connection.down`, and ``client.relay_statistics()``:
  for each relay its state, attempts and connects, messages and bytes both ways, latency of the last
  ping in seconds, last error, and messages that your callbacks have not yet taken.

>>> from gennostr import GenNostr, abandoned
>>> from gennostr.testing import MemoryRelay
>>> with MemoryRelay() as relay, ManualClock() as clock, GenNostr.start() as client:
...     _ = client.add_relay(relay.url)
...     clock.settle()
...     of_relay = client.relay_statistics()[relay.url]
...     print(of_relay.state, of_relay.attempts, of_relay.messages_received)
...     print(abandoned())
open 1 0
0

Threads and memory
------------------

- An actor is a thread. An idle one takes about 22 kB; starting and stopping one 0.2 ms.
- A client has four threads (its own, two supervisors and a registry), and one for each relay. While
  it connects, a relay has a second one. An idle connection takes about 33 kB.
- The process has one more thread for all timers.
- A relay that sends faster than the callbacks take is slowed down by TCP: at most 8 reads or 256
  KiB of a connection wait undelivered. What waits to be sent is limited to 1 MiB and 1,024
  messages for each relay (`max_queue_size`, `max_queue_messages`).
- A mailbox has no limit. See above for what to watch.

Raise the limits of the system, if there are thousands of actors: threads (``ulimit -u``, and
``pids.max`` of a container) and descriptors (``ulimit -n``, three for each connection). If the
system refuses a thread, `start` raises `StartError`. The page `performance` has the measurements.

All log records
---------------

Every record that the library writes, by logger. ``...`` stands for what varies.

`gennostr.otp.crash_report`:

- ERROR ``... crashed in ...: ...``: a callback raised, returned something invalid, or ended its
  server with a reason that is not clean. The record has the attribute `crash_report`. Fix the
  bug, or handle the case in the callback.

`gennostr.otp.child`, of all supervisors:

- WARNING ``... restarts ...: ... ended with reason ...``: a child ended and is started anew. The
  crash report before it has the cause.
- WARNING ``... could not restart ...: ...``: the child's `init` failed. The supervisor tries
  again, until its limit is reached.
- ERROR ``... gives up after ..., the last one of ...: ... ended with reason ...``: more restarts
  than `max_restarts` within `max_seconds`; the supervisor ends. Look for the crash reports before
  it. If such failures are to be expected, raise the limits, or put the child below a supervisor
  of its own.
- WARNING ``... did not stop within its shutdown time and was killed``: a child took longer than
  the `shutdown` of its child spec. Give it more time, or make `terminate` and its callbacks
  shorter.
- WARNING ``... stopped ..., which ended with reason ...``: the supervisor stopped a child, and
  its end was a failure, in `terminate`, for instance.
- WARNING ``... ignores an exit signal from ..., which is not its child: ...``: something that is
  not its child is linked to the supervisor, or has sent it an exit signal. Find out what.
- WARNING ``... ignores an unknown ...: ...``: a call, cast or message that is not for
  supervisors. Find its sender.

`gennostr.otp.supervisor`:

- INFO ``... shuts down: its significant ... ended with reason ...``: `auto_shutdown` at work.

`gennostr.otp.gen_server`:

- WARNING ``... received a message that it does not handle: ...``: the server has no
  `handle_info`. If such messages are to be ignored (a late `Down`, say), define one.

`gennostr.otp.engine`:

- ERROR ``format_status of ... raised`` and ``format_status of ... must return a Status, not
  ...``: a bug in your `format_status`; the status is shown unchanged.
- INFO ``Exception returned from ... to caller:``: a pykka proxy's caller got an exception.
- INFO ``... was killed earlier; its thread has now ended with ...``: the callback of a killed
  server raised something at last, which has no other effect.
- ERROR ``... crashed, and its crash report could not be logged``: for lack of memory, say. The
  server has ended as usual.
- ERROR ``... ended because of an error outside its callbacks``: for lack of memory, say.
  Otherwise report it as a bug.

`gennostr.otp.process`:

- WARNING ``... was killed, but its thread is still running a callback``: an abandoned thread, see
  above.
- WARNING ``... was killed; its thread is not checked later, because no timer could be started:
  ...``: the system refused the thread of timers.
- ERROR ``on_cancel of ... raised``: fix your `on_cancel`. The kill has happened all the same.
- ERROR ``... raised when it was notified of a death: ...``: a linked or waiting process could not
  be notified; the others were. Report it as a bug, unless memory ran out.

`gennostr.otp.clock`:

- ERROR ``a timer's function raised: ...``: an error in the thread of timers. Report it as a bug.

`gennostr.otp.telemetry`:

- ERROR ``the telemetry handler ... raised on ... and was detached``: fix the handler.

`gennostr.otp.system_limits`:

- DEBUG ``the soft limit of open files was raised from ... to ... (RLIMIT_NOFILE)``: by
  `gennostr.run` or the command. Nothing to do.
- DEBUG ``the soft limit of open files stays ..., as the system refuses ...: ...``: with many
  relays, raise it where the program is started (``ulimit -n``, or LimitNOFILE of systemd).

`gennostr.otp.interpreter_exit`:

- WARNING ``... did not stop in time at the exit of the interpreter and is killed``: a server that
  the program left running took more than 5 seconds to stop. Stop it in your program, or shorten
  its callbacks.

`gennostr.client.gen_nostr`, the defaults of callbacks, once a minute for each relay and kind:

- WARNING ``...: ...: ...``: the relay's url, what happened, and a text. If no events arrive, look
  here first. With the class of an error (`handle_error`), the connection failed, or the relay sent
  something invalid; the client reconnects by itself. With "closed subscription" (`handle_closed`),
  the relay refuses it; after ``auth-required:``, give the client a `signer`. With "NOTICE"
  (`handle_notice`), the relay has a text for you. With "refused event" (`handle_ok`), it refuses
  what `send_message` or `broadcast_message` has sent. Override the callback to do something else.

`gennostr.client.dispatch`, of a client with a `store`:

- ERROR ``... could not save what it has handled last``: the last save of a killed client has
  failed; the traceback has the `StoreError`. What it has handled since the one before is delivered
  to the next client again, and what its callbacks wrote is undone. Make room on the disk, say.
- ERROR ``... could not close its store``: the disk fails, say. It was saved before.

`gennostr.client.functions`:

- WARNING ``a broadcast skipped a relay: ...``: the outbound queue of a relay is full: it reads
  too slowly, or you send too much.

`gennostr.client.supervision`:

- ERROR ``the connection actor for ... could not be started; trying again later``: the system
  refused a thread or a descriptor. Raise its limits.

`gennostr.client.information_fetch`:

- DEBUG ``could not fetch the information document of ...: ...``: the relay has none (NIP-11), or
  did not send it. The client does without.

`gennostr.cluster.cluster`:

- ERROR ``... gives up shard ...``: it kept failing, as the records before this one show. Its relays
  move to the other shards, if there are any.

`gennostr.cluster.host`:

- ERROR ``... failed in a shard``: a function of the cluster's handle that has no answer, such as
  `add_relay`, raised in the shard, although its arguments were valid here.

`gennostr.cluster.log_records`:

- ERROR ``a log record of shard ... could not be handled``: a handler or filter of yours raised, or
  an attribute of the record has a class that is missing here.

`gennostr.cluster.remote_actor`:

- ERROR ``... did not pass a message on: ...``: what was cast or sent to a pid of an actor in a
  shard, or the reason of an exit signal, cannot be pickled.

`gennostr.client.relay_pool`; but for the first, they are about one relay, whose url is in the text:

- ERROR ``... has no relay, and cannot save what it has to publish``: as for handle_error with a
  `StoreError`, which has a relay. The client tries again every second.
- ERROR ``a signer failed for ...``: your signer raised; another may be tried.
- ERROR ``the information document of ... could not be requested``: the system refused a thread.
- WARNING ``... requires authentication but has sent no challenge``, ``a signer for ... has not
  signed within ... s`` and ``... has not answered an AUTH within ... s``: authentication failed,
  or is late. The relay may refuse subscriptions and publications.
- WARNING ``... has not answered a COUNT within ... s``: that relay is missing in the result, with
  the outcome "timeout".
- WARNING ``... allows ... subscriptions at once: some of the ... have to wait`` and ``... allows
  ... subscriptions at once: ... waits``: the others are sent when one is closed. Use fewer
  subscriptions, with several filters each.
- WARNING ``... has sent no EOSE for ...: handle_eose_all no longer waits for it``: raise the
  option `eose_timeout` if the relay is only slow.
- WARNING ``... allows no further REQ: stored events of the time before the reconnect may be
  missing``, ``... accepts no REQ that is large enough: stored events of the time before the
  reconnect may be missing``, ``... did not answer a REQ: stored events of the time before the
  reconnect may be missing`` and ``... refused a REQ: stored events of the time before the
  reconnect are missing``: after an outage, the relay did not send all that the subscription
  missed. `fetch` can read it.
- INFO ``... is rate-limited: no REQ for ... s``: the relay refused a REQ for now; it is sent
  again.
- WARNING ``... is rate-limited: no REQ for ... s``: it did so again, without an EOSE in between.
"""
