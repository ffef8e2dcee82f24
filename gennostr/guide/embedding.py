r"""Actors in your program: threads, web servers, asyncio, signals, fork and exit.

Call an actor from a web server
-------------------------------

Any thread may start, call and stop actors. So the handlers of a threaded web server call them as
they would a function, and the actor's state needs no lock: it handles one call after the other.
A complete program, on the standard library alone:

    # hits.py
    from collections import Counter
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    from gennostr import CallError, GenServer, Ok, Reply, Request, Supervisor, call


    class Hits(GenServer[Counter[str]]):
        def init(self, init_arg: None) -> Ok[Counter[str]]:
            return Ok(Counter())

        def handle_call(self, path: str, from_: Request, hits: Counter[str]) -> Reply[Counter[str]]:
            hits[path] += 1
            return Reply(hits[path])


    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # in a thread for each request
            try:
                status, text = 200, f"{self.path}: {call('hits', self.path)}\n"
            except CallError:  # it took 5 seconds, or has just crashed and is being started anew
                status, text = 503, "try again later\n"
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())


    if __name__ == "__main__":
        with (
            Supervisor.start([Hits.child_spec(name="hits")]),
            ThreadingHTTPServer(("127.0.0.1", 8000), Handler) as server,
        ):
            server.serve_forever()  # until Ctrl-C

``curl http://127.0.0.1:8000/a`` prints ``/a: 1``, then ``/a: 2``. The page `jobs_and_pools` has a
service with a rate limiter, a worker pool, a periodic job and an orderly end.

With Flask, or any other framework that handles requests in threads, a view does the same:

    @app.get("/<path>")
    def view(path: str) -> str:
        return f"{path}: {call('hits', path)}\n"

Start the supervisor in the process that serves requests. A server that forks its workers, such as
gunicorn, imports the application in each worker, after the fork, so the module may start it. With
gunicorn's ``--preload`` it does not: there, start it in the hook ``post_fork``.

With statements
---------------

``with Server.start(...) as pid:`` stops the server at the end of the block, with reason NORMAL, and
waits for that. If the server has crashed meanwhile, the statement raises `CallExit`, so the failure
does not pass unnoticed:

>>> from gennostr import CallExit, GenServer, NoReply, Ok, Reply
>>> class Divider(GenServer[int]):
...     def init(self, number):
...         return Ok(number)
...     def handle_cast(self, divisor, number):
...         return NoReply(number // divisor)
...     def handle_call(self, request, from_, number):
...         return Reply(number)
>>> try:
...     with Divider.start(42) as divider:
...         divider.cast(0)
... except CallExit as error:
...     error.reason
ZeroDivisionError('integer division or modulo by zero')

It raises nothing if a call or stop has raised that exit already, or if the exit was sent with
`Pid.exit`. An exception of the block itself leaves the ``with`` statement whatever `terminate`
raises. Without a ``with`` statement, `Pid.stop` stops a server.

A plain thread has no mailbox, so it cannot receive messages, and `link` and `monitor` raise
RuntimeError there; `start_link` is the same as `start`. To hear from an actor, a thread calls it,
or gives it something that is made for threads, such as a `queue.Queue` or a `Future`.
``pid.actor_stopped.wait(timeout)`` waits for an actor's end.

In asyncio
----------

`Pid.call_async` is `call` for coroutines, and the function `call_async` takes a name or a via as
well; the event loop keeps running meanwhile:

>>> import asyncio
>>> async def main():
...     with Divider.start(42) as one, Divider.start(7) as other:
...         return await asyncio.gather(one.call_async("?"), other.call_async("?"))
>>> asyncio.run(main())
[42, 7]

It raises what `call` raises, and may be cancelled; a late reply is then dropped. `cast`, `send` and
`publish` do not wait, and can be used as they are; so can `add_relay`, which waits for a thread to
start, but not for the network. What does wait (`start`, `stop`, `call`, the methods of a
supervisor) blocks the loop's thread until it returns, and for ever if the server in turn waits for
that loop. Use ``await asyncio.to_thread(pid.stop)``, or accept it: starting or stopping a server
whose `init` and `terminate` are quick takes less than a millisecond.

A publication and a count are awaitable:

>>> from gennostr import GenNostr
>>> from gennostr.nostr import sign
>>> from gennostr.testing import MemoryRelay
>>> async def publish(url):
...     with GenNostr.start() as client:
...         client.add_relay(url)
...         event = sign("01" * 32, created_at=1700000000, kind=1, content="hello")
...         outcomes = await client.publish(event)
...         return [outcome.kind for outcome in outcomes.values()]
>>> with MemoryRelay() as relay:
...     asyncio.run(publish(relay.url))
['accepted']

In the other direction, an actor hands something to a loop with ``loop.call_soon_threadsafe``, and
starts a coroutine with `asyncio.run_coroutine_threadsafe`, whose future sends the result back:

>>> from gennostr import reply
>>> class Sleeper(GenServer[None]):
...     def init(self, loop):
...         self.loop = loop
...     def handle_call(self, seconds, from_, state):
...         future = asyncio.run_coroutine_threadsafe(asyncio.sleep(seconds, "woken"), self.loop)
...         future.add_done_callback(lambda done: reply(from_, done.result()))
...         return NoReply()
>>> async def main():
...     with Sleeper.start(asyncio.get_running_loop()) as sleeper:
...         return await sleeper.call_async(0.001)
>>> asyncio.run(main())
'woken'

A FastAPI application starts its actors in its lifespan, and awaits them in its routes:

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with Hits.start(name="hits") as app.state.hits:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/{path}")
    async def view(path: str, request: Request) -> str:
        return f"{path}: {await request.app.state.hits.call_async(path)}"

The pid in ``app.state`` is that of this start. If a supervisor restarts the server, look it up for
each request: ``whereis("hits")`` returns its pid, or None while it is being started anew, and
``await asyncio.to_thread(wait_for, "hits")`` waits until it has one.

A whole program, and its signals
--------------------------------

`run` starts a server, which may be a supervisor, and returns when it has ended:

    # wall_clock.py
    import time

    from gennostr import GenServer, NoReply, Ok, run, send_after


    class Ticker(GenServer[int]):
        def init(self, interval: float) -> Ok[int]:
            self.interval = interval
            send_after(interval, self.pid, "tick")
            return Ok(0)

        def handle_info(self, message: str, ticks: int) -> NoReply[int]:
            send_after(self.interval, self.pid, "tick")
            print(time.strftime("%H:%M:%S"), flush=True)
            return NoReply(ticks + 1)

        def terminate(self, reason: object, ticks: int) -> None:
            print(f"{ticks} ticks, ended by {reason}", flush=True)


    if __name__ == "__main__":
        run(Ticker, 1.0)

- **Ctrl-C and SIGTERM** stop the server with reason SHUTDOWN, after the callback in progress and
  the messages already queued. `terminate` is called, `run` returns, and the program ends with
  status 0. If the server is a supervisor, it stops its children in reverse order; `terminate` is
  called on those that have ``trap_exit = True``.
- **A second signal** does not wait for a callback that hangs. It kills the server and raises
  KeyboardInterrupt or, for SIGTERM, SystemExit(143), and the interpreter's exit does not wait for
  stuck actors either.
- **The server's own end** ends the program too: `run` returns after a clean one, and otherwise
  raises the exception that it crashed with, or RuntimeError with the reason.
- **Handlers.** Called in the main thread, `run` sets the handlers of both signals, and restores the
  previous ones. A signal that is ignored, as in a background job of a script, stays ignored.

In a program that has handlers of its own, stop the tree there, or, better, wake the main thread,
and stop the tree in it. Signal handlers and finalizers may call any public function: nothing waits
for a lock that their own thread holds.

The end of the program
----------------------

Actors are daemon threads, so a program that forgets to stop them ends all the same. At its end,
those started with `start` are stopped in order, the newest first, each with its tree. This may take
5 seconds for all together; then the rest is killed, and each of these is logged. Handlers
registered with `atexit` after ``import gennostr`` run before that, and still find the actors alive.

A thread cannot be killed in Python. ``pid.exit(KILL)`` is a fence: at once the actor is dead for
all others, its names are free, and nothing that its thread still does through this library has an
effect. The thread itself ends when its callback returns. `on_cancel` is called on such a server, in
the killer's thread, and may unblock the callback, by closing its socket, for example.

Names on your class
-------------------

All names on your class and on ``self`` are yours, except the public ones of its base class,
pykka's, and one that is mangled. A class is checked when it is defined, so a mistake is found at
import:

>>> class Wrong(GenServer[int]):
...     async def handle_call(self, request, from_, state):
...         return Reply(42)
Traceback (most recent call last):
TypeError: Wrong.handle_call must be a plain function: nothing awaits what an async one returns

A callback that contains ``yield``, or does not take its arguments, is a TypeError as well, and so
is a class that overrides a private name of pykka's. Callbacks are plain functions: for coroutines,
see above.

Copies and pickles
------------------

A pid, monitor, timer or pending reply refers to something in this process: copying returns the same
object, and pickling raises TypeError.

>>> import copy, pickle
>>> with Divider.start(42) as divider:
...     copy.deepcopy([divider]) == [divider]
True
>>> pickle.dumps(divider)
Traceback (most recent call last):
TypeError: cannot pickle <Pid Divider#3>: ...

Exceptions and crash reports can be pickled, and so be logged or raised in another process, whatever
they hold. What cannot be sent is replaced by its text:

>>> pickle.loads(pickle.dumps(CallExit(ZeroDivisionError("zero"), divider)))
CallExit(ZeroDivisionError('zero'), <Pid Divider#...>)

Fork and processes
------------------

Threads do not survive a fork, so actors live on in the parent only. In the child, calls raise
`NoProcess` and `start` raises RuntimeError, both with a text that says why, and casts do nothing.
Fork before the first actor starts, and the child may have actors of its own. For worker processes,
use ``multiprocessing.get_context("spawn")``, which does not fork.
"""
