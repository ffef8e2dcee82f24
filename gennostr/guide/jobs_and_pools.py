r"""Periodic jobs, worker pools, and work that takes long.

Do something every minute
-------------------------

A server sends itself a message, and sends it again whenever it arrives. The manual clock of the
test kit makes an hour of it short:

>>> from gennostr import GenServer, NoReply, Ok, send_after
>>> from gennostr.testing import ManualClock
>>> class Sweeper(GenServer[int]):
...     def init(self, interval):
...         self.interval = interval
...         send_after(interval, self.pid, "sweep")
...         return Ok(0)
...     def handle_info(self, message, sweeps):
...         send_after(self.interval, self.pid, "sweep")
...         return NoReply(sweeps + 1)  # the work goes here
>>> with ManualClock() as clock, Sweeper.start(60.0) as sweeper:
...     clock.advance(3600)
...     sweeper.get_state()
60

- **No overlap.** Callbacks of a server run one at a time, so the next run waits until this one has
  returned. Calls to the server wait as well: if the work takes long, see below how it stays out of
  the server's thread.
- **Interval or pause.** If `send_after` comes first in the callback, the interval is from start to
  start, and after a run that took longer than the interval, the next one begins at once. If it
  comes last, the interval is the pause between two runs.
- **The first run** is one interval after the start. To have it at once, let `init` return
  ``Ok(state, continue_="sweep")`` and do the work in `handle_continue`; `start` does not wait for
  that.
- **The end.** A timer needs no cleanup: its message to a server that has ended is dropped.
  `cancel_timer` takes what `send_after` returned.

Without drift
-------------

Each run above begins a little late (the timer's thread and the server's have to wake up, and the
server may be busy), and the delays add up. A job that must keep step computes its times from the
first one. This one also skips the runs that it missed while it was busy:

>>> from gennostr import monotonic_time
>>> class Metronome(GenServer[int]):
...     def init(self, interval):
...         self.interval = interval
...         self.due = monotonic_time()
...         self.wait()
...         return Ok(0)
...     def handle_info(self, message, beats):
...         self.wait()
...         return NoReply(beats + 1)
...     def wait(self):
...         missed = (monotonic_time() - self.due) // self.interval
...         self.due += (missed + 1) * self.interval
...         send_after(max(0.0, self.due - monotonic_time()), self.pid, "beat")
>>> with ManualClock() as clock, Metronome.start(0.5) as metronome:
...     clock.advance(60)
...     metronome.get_state()
120

`monotonic_time` and `system_time` are `time.monotonic` and `time.time`, but follow a manual clock
in tests. At three in the morning, local time:

>>> from datetime import datetime, timedelta
>>> from gennostr import system_time
>>> def seconds_until(hour):
...     now = datetime.fromtimestamp(system_time())
...     due = now.replace(hour=hour, minute=0, second=0, microsecond=0)
...     if due <= now:
...         due += timedelta(days=1)
...     return due.timestamp() - now.timestamp()  # right across a change of summer time
>>> 0 < seconds_until(3) <= 25 * 3600
True

Compute it anew before each `send_after`: timers follow the monotonic clock, which does not notice
when the system's time is set.

A job that fails
----------------

Below a supervisor, a run that raises ends the server, is logged with its message and state, and
the server is started anew, with a new state and a new timer:

>>> from gennostr import Supervisor
>>> answers = iter([1, OSError("no network"), 2])
>>> class Poll(GenServer[None]):
...     def init(self, interval):
...         self.interval = interval
...         send_after(interval, self.pid, "poll")
...     def handle_info(self, message, state):
...         send_after(self.interval, self.pid, "poll")
...         answer = next(answers)
...         if isinstance(answer, Exception):
...             raise answer
...         print(answer)
>>> with ManualClock() as clock, Supervisor.start([(Poll, 60.0)]):
...     clock.advance(180)
1
2

A supervisor gives up after more than 3 restarts in 5 seconds, so a job that runs every minute may
fail for ever, and one that runs ten times a second may not. That is the reason not to do the work
in `init`: it would fail again at each restart, at once. Failures that you expect, such as a
network that is down, are better caught in the callback.

A pool of workers
-----------------

Each worker is a server that does one job at a time. A pool knows which are idle, keeps a bounded
queue for when none is, and learns from a monitor that a worker has died:

    # pool.py
    # Jobs are run by workers, each of which has one at a time; the others wait in a queue.

    from collections import deque
    from collections.abc import Callable
    from dataclasses import dataclass, field
    from typing import Any

    from gennostr import Down, GenServer, NoReply, Ok, Pid, Request, Supervisor, SupervisorFlags
    from gennostr import cast, monitor, reply, reply_error


    class PoolBusy(Exception):
        pass  # the queue is full


    class JobFailed(Exception):
        pass  # the worker ended before it had a result


    @dataclass(frozen=True)
    class Job:
        function: Callable[[Any], object]
        argument: object
        from_: Request  # the caller that waits for the result


    @dataclass
    class Jobs:
        limit: int
        idle: deque[Pid] = field(default_factory=deque[Pid])
        running: dict[Pid, Job] = field(default_factory=dict[Pid, Job])
        waiting: deque[Job] = field(default_factory=deque[Job])


    class Pool(GenServer[Jobs]):
        # call("pool", (function, argument)) returns what the function returns, or raises.

        def init(self, limit: int) -> Ok[Jobs]:
            return Ok(Jobs(limit))

        def handle_call(self, request: Any, from_: Request, jobs: Jobs) -> NoReply[Jobs]:
            if len(jobs.waiting) >= jobs.limit:
                reply_error(from_, PoolBusy(f"{jobs.limit} jobs are waiting"))
            else:
                function, argument = request
                jobs.waiting.append(Job(function, argument, from_))
                self.dispatch(jobs)
            return NoReply()  # the worker will reply

        def handle_cast(self, message: tuple[str, Pid], jobs: Jobs) -> None:
            event, worker = message
            if event == "started":
                monitor(worker)  # a Down arrives if it dies
            jobs.running.pop(worker, None)
            jobs.idle.append(worker)
            self.dispatch(jobs)

        def handle_info(self, message: Any, jobs: Jobs) -> None:
            match message:
                case Down(pid=Pid() as worker, reason=reason):
                    if worker in jobs.idle:
                        jobs.idle.remove(worker)
                    job = jobs.running.pop(worker, None)
                    if job is not None:
                        reply_error(job.from_, JobFailed(reason))
                case _:
                    super().handle_info(message, jobs)  # which logs it

        def dispatch(self, jobs: Jobs) -> None:
            while jobs.idle and jobs.waiting:
                worker, job = jobs.idle.popleft(), jobs.waiting.popleft()
                jobs.running[worker] = job
                worker.cast(job)


    class Worker(GenServer[str]):
        def init(self, pool: str) -> Ok[str]:
            cast(pool, ("started", self.pid))
            return Ok(pool)

        def handle_cast(self, job: Job, pool: str) -> None:
            try:
                reply(job.from_, job.function(job.argument))
            except Exception as error:  # the caller's business; the worker carries on
                reply_error(job.from_, error)
            cast(pool, ("finished", self.pid))


    class WorkerPool(Supervisor):
        # The pool and its four workers; if the pool fails, all start anew.

        def init(self, limit: int) -> SupervisorFlags:
            workers = [Worker.child_spec("pool", id=number) for number in range(4)]
            children = [Pool.child_spec(limit, name="pool"), Supervisor.child_spec(workers)]
            return self.children(children, strategy="rest_for_one")

Jobs return their result, or raise, in the caller:

    with WorkerPool.start(100):
        call("pool", (math.factorial, 20))                      # waits at most 5 seconds
        pending = [send_request("pool", (load, url)) for url in urls]
        for each in as_completed(pending, timeout=60.0):
            print(each.wait())

- **Results** go from the worker directly to the caller: `from_`, which `handle_call` gets, can be
  passed on to any actor or thread. The pool returns ``NoReply()`` and is free for the next call.
- **The queue is bounded.** Beyond its limit a call raises at once, and the caller can slow down,
  or report it. Without a limit, a pool that is too slow takes all memory.
- **A job that raises** does not end its worker. A worker that ends all the same (a bug, a kill)
  fails its job alone; the supervisor starts another, which reports to the pool from its `init`.
- **A caller that has stopped waiting** is not noticed here: its job is run, and the reply dropped.
- **Threads** run Python code one at a time, in builds with the GIL. So a pool serves work that
  waits (network, disk), or that releases the GIL, as hashing, compressing and numpy do. For other
  computations, let the function of a job call a `ProcessPoolExecutor`, created with
  ``mp_context=multiprocessing.get_context("spawn")``: do not fork while actors run.

A worker for each job
---------------------

If jobs are rare or differ much, start an actor for each, below a dynamic supervisor that limits
their number. Its call raises `CallExit` with the job's exception if the job fails:

>>> from gennostr import CallExit, DynamicSupervisor, MaxChildren, Stop
>>> class Task(GenServer[None]):
...     def init(self, function):
...         self.function = function
...     def handle_call(self, argument, from_, state):
...         return Stop(reply=self.function(argument))
>>> with DynamicSupervisor.start(max_children=2) as tasks:
...     task = tasks.start_child(Task.child_spec(str.upper, restart="temporary"))
...     print(task.call("done", timeout=60.0))
...     task = tasks.start_child(Task.child_spec(int, restart="temporary"))
...     try:
...         task.call("none", timeout=60.0)
...     except CallExit as error:
...         print(repr(error.reason))
...     for _ in range(3):
...         try:
...             _ = tasks.start_child(Task.child_spec(len, restart="temporary"))
...         except MaxChildren:
...             print("try again later")
DONE
ValueError("invalid literal for int() with base 10: 'none'")
try again later

``restart="temporary"``: a task that has ended, cleanly or not, is not started again. An actor
costs about 22 kB, and 0.2 ms to start and stop.

Work that takes long
--------------------

A server that works for a second answers no call for a second. Let a thread pool do the work, and
send the result back as a message:

>>> from concurrent.futures import ThreadPoolExecutor
>>> from gennostr import Reply, reply, reply_error
>>> class Powers(GenServer[int]):
...     trap_exit = True  # so that terminate is called when a supervisor stops it
...     def init(self, threads):
...         self.executor = ThreadPoolExecutor(threads)
...         return Ok(0)
...     def handle_call(self, request, from_, finished):
...         if request == "finished?":
...             return Reply(finished)
...         future = self.executor.submit(pow, *request)
...         future.add_done_callback(lambda done: self.pid.send((done, from_)))
...         return NoReply()
...     def handle_info(self, message, finished):
...         future, from_ = message
...         if error := future.exception():
...             reply_error(from_, error)
...         else:
...             reply(from_, future.result())
...         return NoReply(finished + 1)
...     def terminate(self, reason, finished):
...         self.executor.shutdown(cancel_futures=True)
>>> with Powers.start(4) as powers:
...     print(powers.call((2, 10)))
...     powers.call("finished?")
1024
1

The callback of the future runs in the executor's thread. It only sends; all that touches the
server's state happens in `handle_info`, in the server's own thread. If nothing is to be done with
the state, the callback may `reply` itself.

A web service
-------------

A rate limiter, a pool, a periodic job and a graceful shutdown. Requests come in threads of the
standard library's HTTP server, which call the actors by name; `pool.py` is the program above:

    # web_service.py
    # GET /hash?text=... returns a slow hash; an address may send ten requests a second.

    import hashlib
    import sys
    import threading
    from collections import Counter
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from typing import Any
    from urllib.parse import parse_qs, urlsplit

    from gennostr import CallError, GenServer, NoReply, Ok, Reply, Supervisor, SupervisorFlags
    from gennostr import call, cast, run, send_after
    from pool import JobFailed, PoolBusy, WorkerPool


    class Limiter(GenServer[Counter[str]]):
        # Counts the requests of each address, and forgets them every second.

        def init(self, limit: int) -> Ok[Counter[str]]:
            self.limit = limit
            send_after(1.0, self.pid, "a second later")
            return Ok(Counter())

        def handle_call(self, address: str, from_: Any, seen: Counter[str]) -> Reply[Counter[str]]:
            seen[address] += 1
            return Reply(seen[address] <= self.limit)

        def handle_info(self, message: str, seen: Counter[str]) -> NoReply[Counter[str]]:
            send_after(1.0, self.pid, message)
            return NoReply(Counter())


    class Report(GenServer[Counter[int]]):
        # A periodic job: prints how many answers had which status.

        def init(self, interval: float) -> Ok[Counter[int]]:
            self.interval = interval
            send_after(interval, self.pid, "print")
            return Ok(Counter())

        def handle_cast(self, status: int, answers: Counter[int]) -> None:
            answers[status] += 1

        def handle_info(self, message: str, answers: Counter[int]) -> NoReply[Counter[int]]:
            send_after(self.interval, self.pid, message)
            print("answers:", dict(sorted(answers.items())), flush=True)
            return NoReply(Counter())


    def slow_hash(text: str) -> str:
        return hashlib.pbkdf2_hmac("sha256", text.encode(), b"salt", 100_000).hex()


    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # seconds that a client may be silent

        def do_GET(self) -> None:
            status, text = self.respond()
            cast("report", status)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(f"{text}\n".encode())

        def respond(self) -> tuple[int, str]:
            url = urlsplit(self.path)
            if url.path != "/hash":
                return 404, "not found"
            try:
                if not call("limiter", self.client_address[0]):
                    return 429, "too many requests"
                [text] = parse_qs(url.query).get("text", [""])
                return 200, call("pool", (slow_hash, text), timeout=10.0)
            except ValueError:
                return 400, "give one text"
            except (PoolBusy, JobFailed, CallError):  # or a server is being restarted
                return 503, "try again later"


    class Listener(ThreadingHTTPServer):
        daemon_threads = False  # so that server_close waits for requests in progress


    class Web(GenServer[Listener]):
        trap_exit = True  # terminate is called when the supervisor stops this server

        def init(self, port: int) -> Ok[Listener]:
            listener = Listener(("127.0.0.1", port), Handler)
            print(f"listening on port {listener.server_port}", flush=True)
            threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True).start()
            return Ok(listener)

        def handle_call(self, request: str, from_: Any, listener: Listener) -> Reply[Listener]:
            return Reply(listener.server_port)

        def terminate(self, reason: object, listener: Listener) -> None:
            listener.shutdown()  # accept no more connections
            listener.server_close()  # wait for the requests in progress


    class Service(Supervisor):
        def init(self, port: int) -> SupervisorFlags:
            children = [  # started in this order, stopped in the opposite one
                Limiter.child_spec(10, name="limiter"),
                Report.child_spec(60.0, name="report"),
                WorkerPool.child_spec(100),
                Web.child_spec(port, name="web", shutdown=30.0),
            ]
            return self.children(children)


    if __name__ == "__main__":
        run(Service, int(sys.argv[1]))

``python web_service.py 8000`` runs it. What happens then:

- **A request** runs in a thread of its own. It asks the limiter, and then waits for the pool, in
  calls that end after 5 and 10 seconds at most.
- **A worker dies** in a job: that request gets status 503, and the next one another worker. A
  limiter that crashes is started anew; the requests in between get 503 as well, because a call to
  a name that nobody has raises `NoProcess`, a `CallError`.
- **Ctrl-C or SIGTERM**: `run` stops the supervisor, which stops its children in reverse order, each
  when the one before has ended. So the web server is the first: it accepts no more connections,
  waits for the requests in progress, for which all the others are still there, and then the
  workers, the pool, the report and the limiter end. ``shutdown=30.0`` limits the wait; a second
  signal ends it at once.

Its tests start the whole service below the test kit's supervisor (see the page `testing`), and
send it real requests. A second, and two minutes, pass at once on the manual clock:

    # test_web_service.py
    import http.client
    import threading
    from urllib.parse import quote

    import pytest
    from gennostr import KILL, call, get_state
    from gennostr.testing import ManualClock, Supervised

    import web_service


    def get(text: str, path: str = "/hash?text=") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", call("web", "port"), timeout=10)
        try:
            connection.request("GET", path + quote(text))
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()


    def test_a_text_is_hashed(start_supervised: Supervised) -> None:
        start_supervised(web_service.Service, 0)
        assert get("hello") == (200, web_service.slow_hash("hello") + "\n")
        assert get("hello", path="/other")[0] == 404
        assert get("hello&text=bye", path="/hash?text=")[0] == 200  # quoted
        assert get("", path="/hash?text=one&text=two")[0] == 400


    def test_ten_requests_a_second(
        manual_clock: ManualClock, start_supervised: Supervised, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(web_service, "slow_hash", str.upper)
        start_supervised(web_service.Service, 0)
        assert [get("a")[0] for _ in range(11)] == [200] * 10 + [429]
        manual_clock.advance(1.0)
        assert get("a") == (200, "A\n")


    def test_the_report_is_printed_every_minute(
        manual_clock: ManualClock,
        start_supervised: Supervised,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(web_service, "slow_hash", str.upper)
        start_supervised(web_service.Service, 0)
        get("a")
        get("a", path="/")
        manual_clock.advance(120.0)
        _, *lines = capsys.readouterr().out.splitlines()
        assert lines == ["answers: {200: 1, 404: 1}", "answers: {}"]


    def test_a_worker_is_killed_in_its_job(
        start_supervised: Supervised, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        working, released = threading.Event(), threading.Event()

        def block(text: str) -> str:
            working.set()
            released.wait(10)
            return text

        monkeypatch.setattr(web_service, "slow_hash", block)
        start_supervised(web_service.Service, 0)
        answers: list[tuple[int, str]] = []
        client = threading.Thread(target=lambda: answers.append(get("a")))
        client.start()
        assert working.wait(10)
        [worker] = get_state("pool").running
        worker.exit(KILL)
        client.join(10)
        released.set()
        assert answers == [(503, "try again later\n")]
        assert get("b") == (200, "b\n")  # by another worker; the killed one has a successor
"""
