"""Coming from pykka: what is added, and what differs.

You have pykka actors, and want supervision, timers or calls that cannot hang. You can move one
actor at a time. Every actor here is a ``pykka.ThreadingActor``, its pid is a ``pykka.ActorRef``,
and both kinds can send messages to each other:

>>> import pykka
>>> from gennostr import GenServer, Ok, Reply
>>> class Doubler(pykka.ThreadingActor):
...     def on_receive(self, number):
...         return 2 * number
>>> class Adder(GenServer[int]):
...     def init(self, doubler):
...         return Ok(doubler)
...     def handle_call(self, number, from_, doubler):
...         return Reply(1 + doubler.ask(number))

>>> doubler = Doubler.start()
>>> with Adder.start(doubler) as adder:
...     adder.call(20), adder.ask(20)
(41, 41)
>>> doubler.stop()
True

The same thing here
-------------------

pykka on the left:

    on_receive(self, message)             handle_call for ask(), handle_info for tell()
    on_start(self)                        init(self, init_arg); start waits for it
    on_stop(self)                         terminate(self, reason, state)
    on_failure(self, type, value, tb)     terminate(self, reason, state); reason is the exception
    Actor.start(*args, **kwargs)          Server.start(init_arg, name=None, timeout=None)
    self.actor_ref                        self.pid
    ref.tell(message)                     pid.tell(message), pid.send(message)
    ref.ask(message)                      pid.ask(message), or pid.call(request): 5 s at most
    ref.ask(message, block=False)         pid.ask(..., block=False), or pid.send_request(request)
    ref.stop(), ref.stop(block=False)     pid.stop(), pid.stop(block=False)
    ref.is_alive()                        pid.is_alive()
    ref.proxy()                           pid.proxy(), or calls and casts
    ActorRegistry.get_by_class(...)       the same, or names: see names_and_registries
    ActorRegistry.stop_all()              the same, or one supervisor above all
    pykka.ActorDeadError                  NoProcess and CallExit, both of which are ActorDeadErrors
    pykka.Timeout                         CallTimeout, which is a Timeout

A server has one argument, `init_arg`. Use a tuple, a dict or a dataclass for several values.

What is added
-------------

- `start` returns when `init` has succeeded, and raises `StartError` if it has not. In pykka, an
  actor whose `on_start` raises is dead without the caller's noticing.
- The end of an actor is noticed: by links and monitors, and a `Supervisor` starts it again.
- A call cannot hang. If the target is dead, dies, or is the caller itself, the call ends at once,
  with the reason. `call` has a timeout of 5 seconds unless you give another.
- Replies can be given later, from anywhere: `reply` and `reply_error`. `as_completed` collects
  many.
- `send_after`, timeouts of callbacks, and a manual clock for tests.
- ``with Server.start() as pid:``, and ``await pid.call_async(request)``.
- An exception in one actor never stops the others. In pykka, `SystemExit` and `KeyboardInterrupt`
  in an actor stop all.
- A crash is logged once, with the message, the state and the caller; `tree` shows the actors and
  whom they wait for.
- At the end of the program, actors that still run are stopped in order. Their threads are daemon
  threads.

What differs
------------

- `tell` reaches `handle_info`, and `ask` reaches `handle_call`. A cast is a third kind, for
  `handle_cast`. pykka's `on_receive`, `on_start`, `on_stop` and `on_failure` are not called, even
  if a class defines them.
- An exception in `handle_call` ends the server, and the caller gets `CallExit`, whose `reason` is
  the exception. In pykka, `ask` raises the actor's exception, and the actor lives on. Use
  `reply_error` for that:

>>> from gennostr import NoReply, reply_error
>>> class Root(GenServer[None]):
...     def handle_call(self, number, from_, state):
...         if number < 0:
...             reply_error(from_, ValueError(f"{number} is negative"))
...             return NoReply()
...         return Reply(number**0.5)

>>> with Root.start() as root:
...     try:
...         root.ask(-1)
...     except ValueError as error:
...         print(error)
...     root.ask(9)
-1 is negative
3.0

- `ask` has no timeout by default, as in pykka.
- `stop` waits for its turn in the mailbox, as in pykka, and returns whether the actor was alive.
  The function ``gennostr.stop`` raises `NoProcess` instead of returning False.
- A class that overrides one of pykka's private names raises `TypeError` when it is defined.
- The functions `call`, `monitor` and others take the pids of this library, not the refs of plain
  pykka actors. Use ``ref.ask(message)`` for those.

Proxies
-------

``pid.proxy()`` works: attributes and methods of the server are used in its thread, and give
futures.

>>> class Thermometer(GenServer[None]):
...     def init(self, init_arg):
...         self.degrees = 20
...     def warm(self, by):
...         self.degrees += by
...         return self.degrees

>>> with Thermometer.start() as thermometer:
...     proxy = thermometer.proxy()
...     proxy.warm(2).get(), proxy.degrees.get()
(22, 22)

Work that an actor sends itself through its own proxy runs later, as in pykka. Only waiting for it
in the actor itself raises, `CallingSelf`, as it could never end.
"""
