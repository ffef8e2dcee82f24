'''Supervision: restarts, child specs, strategies, links and monitors.

You want a failed part of your program to be started again, and everything to end in order when the
program ends. A supervisor does both.

>>> from gennostr import CallExit, GenServer, Ok, Reply, Supervisor, call
>>> class Account(GenServer[int]):
...     def init(self, balance):
...         return Ok(balance)
...     def handle_call(self, amount, from_, balance):
...         return Reply(balance + amount, balance + amount)

>>> accounts = [Account.child_spec(0, name="ann"), Account.child_spec(0, name="bob")]
>>> with Supervisor.start(accounts, strategy="one_for_one") as supervisor:
...     print(call("ann", 5), call("bob", 7))
...     try:
...         call("ann", "five")
...     except CallExit as error:
...         print("ann failed:", type(error.reason).__name__)
...     print(supervisor.count_children())
...     print(call("ann", 0), call("bob", 0))
5 7
ann failed: TypeError
ChildCounts(specs=2, active=2, supervisors=0, workers=2)
0 7

Ann's server crashed and was started again, with the state that `init` gives it. Bob's was not
affected. At the end of the ``with`` statement, both were stopped, Bob's first.

If a call that is under way fails because its server died, the supervisor already knows, and so do
links and monitors. So whatever you request from the supervisor next, such as `count_children`
above, is answered after the restart. The same holds after a `stop`. (A call that begins in the
very moment of the death can raise before that.) To wait by name instead, use `wait_for`; see
`names_and_registries`.

Describe the children
---------------------

A child is described by a `ChildSpec`. You rarely write one yourself:

- ``Account`` alone means ``Account.child_spec()``;
- ``(Account, 0)`` means ``Account.child_spec(0)``;
- ``Account.child_spec(0, name="ann", restart="transient")`` overrides fields.

The fields, with their defaults in a `child_spec`:

- `id`: the name, if `name` is given, otherwise the class. Ids must be unique within a supervisor;
  for two children of a class, give names or ids.
- `start`: a callable that starts the child and returns its pid, or `IGNORE`. It runs in the
  supervisor's process and must link the child to it, as `start_link` does.
- `restart`: "permanent" (the default), "transient" or "temporary"; see below.
- `shutdown`: how long the child may take to stop: seconds, ``math.inf``, or "brutal_kill". The
  default is 5 seconds for a worker and ``math.inf`` for a supervisor.
- `type`: "worker" or "supervisor". It only serves `count_children` and the default of `shutdown`.
- `significant`: whether the child's end can end the supervisor; False.

>>> spec = Account.child_spec(0, name="ann", shutdown=10)
>>> spec.id, spec.restart, spec.shutdown
('ann', 'permanent', 10)

Write a `ChildSpec` yourself if there is something to do at each start and restart, such as reading
what the last server has saved:

>>> from gennostr import ChildSpec
>>> def saved_balance():
...     return 22  # in your program, from a file
>>> spec = ChildSpec("saved", lambda: Account.start_link(saved_balance()))
>>> with Supervisor.start([spec]) as supervisor:
...     [child] = supervisor.which_children()
...     child.pid.call(0)
22

The argument in a spec is passed again at each restart, and it is the same object: if a server
changes it, its successor starts with the changed one. Give a mutable argument to `init` as a
template, and copy it there.

A wrong field or option raises `ValueError` or `TypeError` in the caller. The message names it.

When is a child restarted?
--------------------------

- "permanent": always.
- "transient": only if it failed. Reasons `NORMAL`, `SHUTDOWN` and ``Shutdown(x)`` are clean
  (``is_clean(reason)``); then the supervisor keeps the spec, without a pid, and `restart_child`
  can start it.
- "temporary": never. The supervisor drops its spec.

A child whose `init` returns `IGNORE` is kept without a pid, unless it is temporary.

Order
-----

Children are started one after another, in the order of the list; the next one starts when the
`init` of the previous has returned. They are stopped one after another in the reverse order. So
put first what others need.

If a child does not start, those before it are stopped, and `start` raises:

>>> from gennostr import StartError, Stop
>>> class Broken(GenServer[None]):
...     def init(self, init_arg):
...         return Stop("no disk")

>>> try:
...     Supervisor.start([(Account, 0), Broken])
... except StartError as error:
...     print(repr(error.reason.reason))
FailedToStartChild(<class '...Broken'>, 'no disk')

To stop a child, the supervisor sends it the exit signal `SHUTDOWN`. A server that does not trap
exits ends before its next message, **without** `terminate`. With ``trap_exit = True`` in its
class, it runs `terminate` and can save its data. If it has not ended after its `shutdown` time, it
is killed.

Strategies
----------

- "one_for_one": restart the child that failed. For independent children.
- "one_for_all": stop all others, and start all again. For children that are useless without each
  other.
- "rest_for_one": stop the children after it in the list, and start it and them again. For children
  that depend on those before them.

>>> class Part(GenServer[str]):
...     def init(self, name):
...         print("start", name)
...         return Ok(name)
...     def handle_call(self, request, from_, name):
...         return Reply(request.upper())

>>> parts = [Part.child_spec(name, name=name) for name in ("database", "cache", "web")]
>>> with Supervisor.start(parts, strategy="rest_for_one") as supervisor:
...     try:
...         call("cache", None)
...     except CallExit:
...         pass  # the cache has failed
...     print(supervisor.count_children().active, "are running")
start database
start cache
start web
start cache
start web
3 are running

Children that must be stopped are stopped in reverse order, and started in order. A temporary
child's crash and a transient child's clean end do not touch the others. Temporary children that
are stopped because of another child are dropped. "one_for_all" also starts again children that had
ended before.

Giving up
---------

Restarts do not help if the cause persists. With ``max_restarts=3, max_seconds=5.0``, the defaults,
the fourth restart within 5 seconds does not happen. The supervisor stops its children and ends,
with the reason `SHUTDOWN`. The log has one record at ERROR that names the child and its last
reason.

A restart whose `init` fails is tried again at once, and each try counts. Under "one_for_all", each
try first stops what the last one had started; under "rest_for_one", what has started is kept, and
the next try begins with the child that failed. While a supervisor tries, it answers other
requests.

If the supervisor is itself the child of a supervisor, that one restarts it, with all its children:
a larger part of the program gets a fresh start. If this does not help either, the next one gives
up, and so on up to the root. So let one supervisor own what belongs together, and nest them:

>>> from gennostr import tree, wait_for
>>> class Accounts(Supervisor):
...     def init(self, names):
...         return self.children(
...             [Account.child_spec(0, name=name) for name in names], max_restarts=1
...         )

>>> class App(Supervisor):
...     def init(self, init_arg):
...         return self.children(
...             [(Accounts, ["ann", "bob"]), Part.child_spec("web", name="web")],
...             strategy="rest_for_one",
...         )

>>> with App.start() as app:
...     for attempt in ("first", "second"):
...         try:
...             call("ann", attempt)
...         except CallExit:
...             restarted = wait_for("ann")
...     print(app.count_children())
...     print(tree(app))
start web
start web
ChildCounts(specs=2, active=2, supervisors=1, workers=1)
App#...  running, 0 waiting
├── Accounts#...  running, 0 waiting, restarted once
│   ├── Account#... 'ann'  running, 0 waiting
│   └── Account#... 'bob'  running, 0 waiting
└── Part#... 'web'  running, 0 waiting, restarted once

The first restart of ann was within the limit. The second was one too many: `Accounts` gave up, and
`App` restarted it, together with the child that comes after it in the list.

A root supervisor that gives up has nobody above it. `run` raises RuntimeError with the cause, so
the program's exit status is 1, and systemd's ``Restart=on-failure`` starts it again. `SHUTDOWN` is
a clean reason, so a ``with`` statement around the supervisor raises nothing: look at the log, which
has the cause. After an end by `auto_shutdown`, `run` returns.

A supervisor as a class
-----------------------

`App` above is one: a subclass of `Supervisor` whose `init` returns ``self.children(...)``, or
`IGNORE`. The arguments are the list and, by keyword, `strategy`, `max_restarts`, `max_seconds` and
`auto_shutdown`. The class can be a child, has a `child_spec`, and can be a whole program:

    # shop.py
    """A supervised shop: a stock, and a clerk who depends on it."""

    from gennostr import CallOutcome, GenServer, InitOutcome, Ok, Reply, Request
    from gennostr import Supervisor, SupervisorFlags, call, run


    class Stock(GenServer[dict[str, int]]):
        trap_exit = True  # so that terminate runs when the program ends

        def init(self, items: dict[str, int]) -> InitOutcome[dict[str, int]]:
            return Ok(dict(items))  # a copy: a restart gets the same argument again

        def handle_call(
            self, item: str, from_: Request, items: dict[str, int]
        ) -> CallOutcome[dict[str, int]]:
            items[item] -= 1
            return Reply(items[item])

        def terminate(self, reason: object, items: dict[str, int]) -> None:
            print("left:", items)


    class Clerk(GenServer[None]):
        def init(self, item: str) -> InitOutcome[None]:
            print("one sold, left:", call("stock", item))
            return Ok(None)


    class Shop(Supervisor):
        def init(self, init_arg: object) -> SupervisorFlags:
            return self.children(
                [Stock.child_spec({"tea": 3}, name="stock"), (Clerk, "tea")],
                strategy="rest_for_one",
            )


    if __name__ == "__main__":
        run(Shop)

Change the children of a running supervisor
-------------------------------------------

>>> with Supervisor.start([Account.child_spec(0, name="ann")]) as supervisor:
...     bob = supervisor.start_child(Account.child_spec(0, name="bob"))
...     print([child.id for child in supervisor.which_children()])
...     supervisor.terminate_child("bob")
...     print(supervisor.count_children())
...     bob = supervisor.restart_child("bob")
...     supervisor.terminate_child("bob")
...     supervisor.delete_child("bob")
...     print([child.id for child in supervisor.which_children()])
['bob', 'ann']
ChildCounts(specs=2, active=1, supervisors=0, workers=2)
['ann']

- ``start_child(spec)`` adds a child after the others and returns its pid, or `IGNORE`. A child
  that does not start is not kept, and raises `StartError`. An id that is taken raises
  `AlreadyStarted`, with the pid, or `AlreadyPresent` if that child is not running.
- ``terminate_child(id)`` stops a child and keeps its spec, unless it is temporary. It does nothing
  if the child is not running.
- ``restart_child(id)`` starts a child that is not running: after `terminate_child`, or after a
  clean end.
- ``delete_child(id)`` removes the spec of a child that is not running.
- An unknown id raises `ChildNotFound`; the last two raise `ChildRunning` or `ChildRestarting` if
  the child is running or is being restarted.
- ``which_children()`` returns a list of `ChildInfo`, newest first: `id`, `pid`, `type` and
  `start`. The pid is ``None`` for a child that is not running, and "restarting" for one whose
  restart has failed and is being tried again.
- ``count_children()`` returns `ChildCounts`: all specs, those that are active, and how many of all
  are supervisors and workers.

These methods wait without a timeout.

Children on demand
------------------

For children that come and go, such as one for each session, use a `DynamicSupervisor`. It starts
without children, has no ids, and takes a limit:

>>> from gennostr import DynamicSupervisor, MaxChildren
>>> with DynamicSupervisor.start(max_children=2) as sessions:
...     one = sessions.start_child((Account, 1))
...     two = sessions.start_child(Account.child_spec(2, restart="temporary"))
...     try:
...         sessions.start_child((Account, 3))
...     except MaxChildren:
...         print("full")
...     sessions.terminate_child(one)
...     print(sessions.count_children())
full
ChildCounts(specs=1, active=1, supervisors=0, workers=1)

- Children are identified by their pids. ``terminate_child(pid)`` returns when the child has ended,
  and raises `ChildNotFound` for a pid that is not a child.
- A child that is not restarted, or whose restart returns `IGNORE`, disappears: sessions are
  usually "temporary" or "transient".
- `max_restarts` within `max_seconds` applies to all children together.
- A child whose restart has failed and is being tried again still counts for `max_children`.
- All children are stopped at the same time.
- ``extra_arguments=[...]`` go before each child's own arguments.
- As the child of another supervisor:
  ``DynamicSupervisor.child_spec({"max_children": 2}, name="sessions")``.

End the supervisor with a child
-------------------------------

Sometimes the end of a child is the end of a task. Mark such a child with ``significant=True`` and
start the supervisor with ``auto_shutdown="any_significant"``: when the child has ended for good,
the supervisor stops the others and ends with `SHUTDOWN`. With "all_significant", the last
significant child's end does this. Only an end of the child's own counts: any end of a temporary
child, and a clean end of a transient one. A permanent child cannot be significant.

>>> from gennostr.testing import Probe
>>> class Job(GenServer[None]):
...     def handle_call(self, request, from_, state):
...         return Stop(reply="done")

>>> job = Job.child_spec(name="job", restart="transient", significant=True)
>>> with Probe() as probe:
...     supervisor = Supervisor.start([(Account, 0), job], auto_shutdown="any_significant")
...     ref = probe.monitor(supervisor)
...     print(call("job", "do it"))
...     print(probe.expect_down(supervisor).reason)
done
SHUTDOWN

Links
-----

A link connects two actors for life and death: when one ends uncleanly, the other ends too, with
the same reason. Supervisors are built on links. `start_link` starts a server linked to the actor
that starts it, ``link(pid)`` links the calling actor to another, and ``unlink(pid)`` ends that. So
a server that owns helpers cannot outlive them, nor they it:

>>> from gennostr import whereis
>>> class Owner(GenServer[None]):
...     def init(self, init_arg):
...         Account.start_link(0, name="helper")

>>> owner = Owner.start()
>>> with Probe() as probe:
...     ref = probe.monitor(owner)
...     whereis("helper").exit("broken")
...     print(probe.expect_down(owner).reason)
broken

- The reason `NORMAL` does not spread over links. All others do, `SHUTDOWN` included.
- An actor that traps exits (``trap_exit = True`` in the class, or ``self.trap_exit = True`` in a
  callback) does not end with its links. Its `handle_info` gets ``Exit(pid, reason)`` instead, for
  `NORMAL` too.
- Its parent is different: when the actor that started it with `start_link` ends, a server that
  traps exits runs `terminate` and ends too.
- Links do not stack: linked twice, one `Exit`, and one `unlink` removes it.
- A link to a dead actor: an actor that traps exits gets ``Exit(pid, NOPROC)``, another one the
  exception `NoProcess`.
- If `init` fails after `start_link`, the actor that called it gets the `StartError` and the exit
  signal.
- A plain thread cannot be linked. `start_link` there is the same as `start`, and `link` raises
  `RuntimeError`.

Here the owner lives on, and learns what happened:

>>> from gennostr import Exit
>>> class Careful(GenServer[list[str]]):
...     trap_exit = True
...     def init(self, init_arg):
...         Account.start_link(0, name="helper")
...         return Ok([])
...     def handle_info(self, message, seen):
...         if isinstance(message, Exit):
...             seen.append(message.reason)
...     def handle_call(self, request, from_, seen):
...         return Reply(seen)

>>> with Careful.start() as careful:
...     try:
...         call("helper", "five")
...     except CallExit as error:
...         print(careful.call("seen") == [error.reason])
True

Exit signals and reasons
------------------------

``pid.exit(reason)`` sends an exit signal, without waiting:

- `NORMAL` is ignored, or delivered as an `Exit` to an actor that traps exits.
- `KILL` cannot be trapped. The actor ends, and the reason that all others see is `KILLED`.
- Any other reason ends an actor that does not trap exits, without `terminate`; it takes effect
  before its next message, or where it waits for another actor. One that traps gets an `Exit`.

Prefer ``pid.stop(reason)``: it lets the server finish what is queued, and runs `terminate`.

The reasons: `NORMAL`, `SHUTDOWN`, ``Shutdown(why)``, `KILLED`, `NOPROC` (the actor was dead or
unknown), an exception that a callback raised, or any value. The first three are clean.

Python cannot kill a thread, so `KILL` is a fence. At once, the actor is dead for all others: its
names are free, its mailbox is dropped, links, monitors and callers get `KILLED`, and nothing that
its thread still does through this library has an effect. The thread itself ends when its blocking
call returns. Override `on_cancel` to unblock it, for example by closing a socket; it runs in the
killer's thread. ``gennostr.abandoned()`` counts such threads, and each one is logged.

Monitors
--------

A monitor is one-way: it reports an actor's end and does nothing else. ``monitor(target)`` in a
callback sends ``Down(ref, target, reason)`` to `handle_info` when the target ends.

>>> from gennostr import Down, monitor
>>> class Watcher(GenServer[list[object]]):
...     def init(self, targets):
...         self.refs = [monitor(target) for target in targets]
...         return Ok([])
...     def handle_info(self, message, ended):
...         if isinstance(message, Down):
...             ended.append((message.pid, message.reason))
...     def handle_call(self, request, from_, ended):
...         return Reply(ended)

>>> with Account.start(0, name="ann") as ann, Watcher.start(["ann", "nobody"]) as watcher:
...     stopped = ann.stop()
...     watcher.call("who has ended?")
[('nobody', NOPROC), ('ann', NORMAL)]

- The target is a pid, a name or a `via`; `Down.pid` is what was given.
- A dead or unknown target gives a `Down` with `NOPROC` at once.
- Monitors stack: two monitors, two `Down`. ``demonitor(ref)`` removes one; a `Down` that is
  already queued still arrives, unless ``flush=True``.
- An actor's own messages arrive before its `Down` or `Exit`. When a `Down` arrives, the names of
  the dead are free.
- In a test, a `Probe` can monitor and link; see `testing`.

Link what must live and die together. Monitor what you only want to know about. Supervise what must
run.

What the log says
-----------------

One record at ERROR for each crash, with the report; one at WARNING for each restart, which names
the process that ended and why; one at ERROR for a supervisor that gives up. So the log alone leads
from the root to the cause. A supervisor logs and ignores messages and exit signals from strangers.
When a supervisor is killed, its children that trap exits run `terminate` with `KILLED`; the others
just die.
'''
