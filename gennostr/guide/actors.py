'''Actors: servers, calls, casts and messages.

You want several threads to use one piece of state: a cache, a connection, a rate limiter. Put it
into a server. The server has its own thread and a mailbox, and handles one message at a time: no
lock, no race on the state.

>>> from gennostr import GenServer, NoReply, Ok, Reply
>>> class Counter(GenServer[int]):
...     def init(self, start):
...         return Ok(start)
...     def handle_call(self, request, from_, count):
...         return Reply(count)
...     def handle_cast(self, step, count):
...         return NoReply(count + step)

>>> with Counter.start(40) as counter:
...     counter.cast(2)
...     counter.call("value")
42

`start` returns a pid: the handle that threads and other actors use. "Process" and "actor" mean the
same thing on these pages; a server is an actor whose class is a `GenServer`.

Start and stop
--------------

``Counter.start(40)`` makes the server, calls ``init(40)`` in the server's thread, and returns the
pid when `init` has succeeded. If it has not, `start` raises `StartError`, and no thread is left:

>>> from gennostr import IGNORE, StartError, Stop
>>> class Store(GenServer[None]):
...     def init(self, path):
...         if path is None:
...             return IGNORE
...         if not path.endswith(".db"):
...             return Stop("not a database")
...         return Ok(None)

>>> Store.start("notes.txt")
Traceback (most recent call last):
    ...
gennostr.exceptions.StartError: init failed: 'not a database'

>>> Store.start(None)
IGNORE

- ``Stop(reason)`` raises ``StartError(reason)``. If `init` raises, `StartError.reason` is the
  exception.
- `IGNORE` means "nothing to run here": `start` returns `IGNORE` instead of a pid. The type of
  `start` does not mention this, so that its result can be used as a pid without a check.
- ``start(arg, timeout=2)`` waits at most 2 seconds for `init`, then kills the server and raises
  ``StartError(TIMEOUT)``. By default it waits without a limit.
- ``start(arg, name="counter")`` registers a name before `init` runs; see `names_and_registries`.
- `start_link` also links the new server to the actor that starts it; see `supervision`.
- Without an `init` of its own, a server's state is the argument of `start`.

``pid.stop()`` sends a stop, waits until the server is dead, and returns True, or False if it was
dead before. What was queued before is handled first. A ``with`` statement does the same at its
end:

- An exception of its body leaves the statement, even if `terminate` raises too.
- If the server crashed meanwhile, the statement raises `CallExit`, so that a crash does not go
  unnoticed. It does not if a call or `stop` has already raised that exit, or if the server was
  ended by ``pid.exit(reason)``.

What callbacks get and return
-----------------------------

The state is the last argument of every callback. The outcome says what becomes of it.

- ``init(self, init_arg)``: return ``Ok(state)``, `IGNORE`, ``Stop(reason)``, or nothing, in which
  case the state is ``None``.
- ``handle_call(self, request, from_, state)`` handles a call: return ``Reply(value, state)``;
  ``NoReply(state)``, and reply later; or ``Stop(reason, state, reply=value)``.
- ``handle_cast(self, request, state)`` handles a cast: return ``NoReply(state)``,
  ``Stop(reason, state)``, or nothing.
- ``handle_info(self, message, state)`` handles all other messages, from `send`, timers, links,
  monitors and timeouts: return the same as `handle_cast`.
- ``handle_continue(self, argument, state)`` handles ``continue_=argument``: return the same.
- ``terminate(self, reason, state)`` cleans up: its result is ignored.

A request, a message or a reply can be any object: a string, a tuple, a dataclass. It is not
copied: after sending a list, do not change it.

The state can be left out of an outcome. Then it stays what it was: ``Reply(value)``,
``NoReply()``, ``Stop(reason)``; ``Stop()`` has the reason `NORMAL`. So there are two styles, and
both are fine. With an immutable state, as in `Counter`, return the new one. With a mutable state,
change it in place and leave it out, or keep it in attributes of `self` and ignore the argument:

>>> class Cache(GenServer[None]):
...     def init(self, init_arg):
...         self.values = {}
...     def handle_cast(self, item, state):
...         key, value = item
...         self.values[key] = value
...     def handle_call(self, key, from_, state):
...         return Reply(self.values.get(key))

>>> with Cache.start() as cache:
...     cache.cast(("colour", "blue"))
...     cache.call("colour")
'blue'

`Ok`, `Reply` and `NoReply` also take ``timeout=seconds`` and ``hibernate=True`` (see
`timeouts_and_timers`) or ``continue_=argument``, described below. Anything else that a callback
returns ends the server with the reason ``BadReturnValue(value)``; from `handle_call`, that
includes nothing at all, as the caller waits for a reply.

A callback that is missing: `handle_call`, `handle_cast` and `handle_continue` end the server with
a `NotImplementedError` that says so. `handle_info` logs the message at WARNING, and the server
lives.

Call, cast, send
----------------

All three exist as methods of a pid, and as functions that also take a name or a `via`:

- ``pid.call(request, timeout=5.0)`` waits for the reply and returns it.
- ``pid.cast(request)`` does not wait, and never raises. If the server is dead or the name unknown,
  the request is dropped.
- ``pid.send(message)`` is like a cast, and arrives in `handle_info`.

Messages from one thread or actor to another arrive in sending order. There is no order among
different senders.

A call ends with the reply, or raises one of these. All of them are a `CallError` and, like all
errors of actors, an `ActorError`:

- `NoProcess`: the target is dead, or its name is not registered. Raised at once.
- `CallExit`: the server ended before it replied; ``.reason`` says why, and can be `NORMAL`.
- `CallTimeout`: no reply within `timeout` seconds (None waits without a limit). The server is not
  affected and may still do the work, but the late reply is discarded.
- `CallingSelf`: a server that calls itself, directly, could only wait for ever. Raised at once. If
  A calls B while B calls A, each call ends at its timeout; `tree` shows who waits for whom.

A call blocks its thread. In a coroutine, use ``await pid.call_async(request)``, or
``await call_async(name, request)``; see `embedding`.

Many calls at once
------------------

`send_request` sends a call without waiting and returns a `PendingReply`. Its `wait` returns the
reply. `as_completed` yields those that have ended, the first one first:

>>> from gennostr import as_completed
>>> with Counter.start(1) as one, Counter.start(2) as two:
...     pending = [one.send_request("value"), two.send_request("value")]
...     sorted(each.wait() for each in as_completed(pending, timeout=5))
[1, 2]

`wait` raises what `call` raises. After a `CallTimeout` from `wait`, the request is still pending,
and `wait` can be called again. A `PendingReply` can be a dictionary key, to remember what it is
for.

Reply later
-----------

`from_` stands for the waiting caller. To reply later, keep it, return `NoReply`, and call
``reply``: from another callback, another actor or any thread. Meanwhile the server handles other
messages. This queue gives items to waiting consumers:

>>> from collections import deque
>>> from gennostr import reply
>>> class Queue(GenServer[None]):
...     def init(self, init_arg):
...         self.items, self.waiting = deque(), deque()
...     def handle_call(self, request, from_, state):
...         if self.items:
...             return Reply(self.items.popleft())
...         self.waiting.append(from_)
...         return NoReply()
...     def handle_cast(self, item, state):
...         if self.waiting:
...             reply(self.waiting.popleft(), item)
...         else:
...             self.items.append(item)

>>> with Queue.start() as queue:
...     first = queue.send_request("next")
...     queue.cast("a job")
...     first.wait()
'a job'

The first reply wins; a second one, or one that comes after the caller's timeout, is discarded.

To make the call raise in the caller without ending the server, reply with an exception:

>>> from gennostr import reply_error
>>> class Prices(GenServer[dict[str, int]]):
...     def handle_call(self, item, from_, prices):
...         if item not in prices:
...             reply_error(from_, KeyError(item))
...             return NoReply()
...         return Reply(prices[item])

>>> with Prices.start({"tea": 3}) as prices:
...     prices.call("coffee")
Traceback (most recent call last):
    ...
KeyError: 'coffee'

Continue after a reply
----------------------

`start` waits for `init`, and a caller waits for its reply. What nobody needs to wait for goes into
`handle_continue`. It runs after the reply, or after `start` has returned, and before any message
that waits in the mailbox:

>>> class Index(GenServer[list[str]]):
...     def init(self, folder):
...         return Ok([], continue_=folder)
...     def handle_continue(self, folder, names):
...         return NoReply([f"{folder}/{name}" for name in ("a", "b")])  # slow in real life
...     def handle_call(self, request, from_, names):
...         return Reply(names)

>>> with Index.start("notes") as index:
...     index.call("names")
['notes/a', 'notes/b']

A continue can return ``continue_`` again, or `Stop`.

Stop and clean up
-----------------

A server ends itself by returning `Stop`. In `handle_call`, ``Stop(reason, reply=value)`` first
runs `terminate`, then delivers the reply, then the server is dead. A `Stop` without a reply raises
`CallExit` in the caller, even with the reason `NORMAL`.

>>> class Session(GenServer[str]):
...     def handle_call(self, request, from_, user):
...         return Stop(reply=f"good bye, {user}")
...     def terminate(self, reason, user):
...         print(f"clean up for {user}: {reason!r}")

>>> with Session.start("ann") as session:
...     session.call("log out")
clean up for ann: NORMAL
'good bye, ann'

`terminate` runs

- after a `Stop`, after a crash in a callback, and on ``pid.stop()``;
- when a supervisor or other parent stops the server, **if it traps exits**: set
  ``trap_exit = True`` in the class, or ``self.trap_exit = True`` in a callback. A server that must
  close files or flush data at the end of the program needs this.

It does not run after a failed `init`, after an exit signal to a server that does not trap exits,
or after a kill. If `terminate` itself raises, that exception becomes the exit reason, and the
caller of `stop` gets it as a `CallExit`.

Reasons `NORMAL`, `SHUTDOWN` and ``Shutdown(x)`` are clean: they are not logged. All others are
failures; see `supervision`.

When a callback raises
----------------------

The server ends, and the exception is its exit reason: the same object, with its traceback. Even
`SystemExit` ends this server alone. Callers get `CallExit`, links and monitors get the reason, a
supervisor restarts it. The log gets one record, at level ERROR, from a logger below ``gennostr``.
It names the server, the callback, the message, the state, the caller and the ancestors, and has
the traceback. Its attribute `crash_report` holds the same as a `CrashReport`:

>>> import logging
>>> from gennostr import CallExit
>>> class Alarm(logging.Handler):
...     def emit(self, record):
...         report = record.crash_report
...         print(f"{report.callback} failed, message {report.message!r}, state {report.state!r}")
>>> alarm = Alarm(level=logging.ERROR)
>>> logging.getLogger("gennostr").addHandler(alarm)

>>> with Prices.start({"tea": 3}) as prices:
...     try:
...         prices.call(["tea"])
...     except CallExit as error:
...         print(type(error.reason))
handle_call failed, message ['tea'], state {'tea': 3}
<class 'TypeError'>

>>> logging.getLogger("gennostr").removeHandler(alarm)

Override `format_status` to keep secrets out of the log: it gets a `Status` and returns one, for
example ``dataclasses.replace(status, state="hidden")``.

Exceptions and crash reports can be pickled and sent to another process, whatever they hold: text
replaces what cannot be sent.

A whole program
---------------

``run(Server, argument)`` starts a server, waits until Ctrl-C, SIGTERM or the server's end, and
stops it in order. `embedding` has the details, and all about threads, web servers and asyncio. A
program of one server:

    # ticker.py
    """Print the time once a second, until Ctrl-C or, with an argument, so many times."""

    import sys
    import time

    from gennostr import CallbackOutcome, GenServer, InitOutcome, NoReply, Ok, Stop, run, send_after


    class Ticker(GenServer[int]):
        def init(self, times: int) -> InitOutcome[int]:
            send_after(0, self.pid, "tick")
            return Ok(times)

        def handle_info(self, message: object, left: int) -> CallbackOutcome[int]:
            if left == 0:
                return Stop()
            print(time.strftime("%H:%M:%S"), flush=True)
            send_after(1, self.pid, "tick")
            return NoReply(left - 1)


    if __name__ == "__main__":
        run(Ticker, int(sys.argv[1]) if len(sys.argv) > 1 else -1)

Good to know
------------

- All names on your class and on `self` are yours, except the public names of `GenServer` and of
  pykka's actor, and one mangled name.
- A class is checked when it is defined. A callback that is ``async``, contains ``yield`` or does
  not accept its arguments raises a `TypeError` that names it; so does a class that overrides a
  private name of pykka's.
- Copying a pid, monitor, timer or pending reply gives the same object. Pickling one raises
  `TypeError`, as it refers to something in this process.
- An idle server costs one thread, with little memory; `performance` has figures.
- Actors are also pykka actors: `from_pykka` shows what that gives you.
- ``pid.get_state()`` returns the state of a running server, for debugging; `operations` has more.
'''
