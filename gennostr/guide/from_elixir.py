"""Coming from Elixir: the same thing here, and what differs.

You know GenServer and Supervisor, and want to write the same in Python. A counter in Elixir:

    defmodule Counter do
      use GenServer
      def start_link(n), do: GenServer.start_link(__MODULE__, n, name: :counter)
      def init(n), do: {:ok, n}
      def handle_call(:value, _from, n), do: {:reply, n, n}
      def handle_cast({:add, k}, n), do: {:noreply, n + k}
    end

    Supervisor.start_link([{Counter, 40}], strategy: :one_for_one)
    GenServer.cast(:counter, {:add, 2})
    GenServer.call(:counter, :value)

The same here:

>>> from gennostr import GenServer, NoReply, Ok, Reply, Supervisor, call, cast
>>> class Counter(GenServer[int]):
...     def init(self, n):
...         return Ok(n)
...     def handle_call(self, request, from_, n):
...         return Reply(n, n)
...     def handle_cast(self, request, n):
...         match request:
...             case ("add", k):
...                 return NoReply(n + k)

>>> with Supervisor.start([Counter.child_spec(40, name="counter")], strategy="one_for_one"):
...     cast("counter", ("add", 2))
...     call("counter", "value")
42

Outcomes
--------

In all of these, the state can be left out and is unchanged then:

    {:ok, s}                                    Ok(s)
    {:ok, s, 1500}                              Ok(s, timeout=1.5)
    {:ok, s, :hibernate}                        Ok(s, hibernate=True)
    {:ok, s, {:continue, x}}                    Ok(s, continue_=x)
    {:reply, r, s}                              Reply(r, s)
    {:noreply, s}                               NoReply(s), or return nothing
    {:stop, reason, s}                          Stop(reason, s)
    {:stop, reason, r, s}                       Stop(reason, s, reply=r)
    {:stop, s} (gen_nostr)                      Stop(), Stop(state=s)
    :ignore                                     IGNORE

`Reply` and `NoReply` take the same keywords as `Ok`.

Functions
---------

Of GenServer, Process and others:

    Counter.start_link(40)                      Counter.start_link(40), in a callback
    GenServer.start(Counter, 40, name: :c)      Counter.start(40, name="c")
    GenServer.call(pid, request)                pid.call(request), call(pid_or_name, request)
    GenServer.call(pid, request, :infinity)     pid.call(request, timeout=None)
    GenServer.cast(pid, request)                pid.cast(request), cast(pid_or_name, request)
    send(pid, message)                          pid.send(message), send(pid_or_name, message)
    GenServer.reply(from, value)                reply(from_, value)
    GenServer.stop(pid, reason)                 pid.stop(reason), stop(pid_or_name, reason)
    GenServer.whereis(name)                     whereis(name)
    :gen_server.send_request(pid, request)      pid.send_request(request), then .wait(timeout)
    :gen_server.receive_response with a         as_completed(pending, timeout)
      collection
    Process.send_after(pid, message, 1500)      send_after(1.5, pid, message)
    Process.cancel_timer(ref)                   cancel_timer(timer)
    Process.monitor(pid)                        monitor(pid_or_name)
    Process.demonitor(ref, [:flush])            demonitor(ref, flush=True)
    Process.link(pid), Process.unlink(pid)      link(pid), unlink(pid)
    Process.exit(pid, :kill)                    pid.exit(KILL)
    Process.alive?(pid)                         pid.is_alive()
    Process.flag(:trap_exit, true)              self.trap_exit = True, or on the class
    self()                                      self.pid
    :sys.get_state(name)                        get_state(name), pid.get_state()
    :sys.replace_state, suspend, resume,        replace_state, suspend, resume,
      get_status, statistics                      get_status, statistics
    :telemetry.attach(id, event, fun, config)   telemetry.attach(function): every event, by name

Messages and reasons
--------------------

What arrives, and why something ended:

    {:EXIT, pid, reason}                        Exit(pid, reason)
    {:DOWN, ref, :process, pid, reason}         Down(ref, pid, reason)
    :timeout                                    TIMEOUT
    :normal, :shutdown, {:shutdown, x}          NORMAL, SHUTDOWN, Shutdown(x)
    :kill, :killed, :noproc                     KILL, KILLED, NOPROC
    an exception in a callback                  the exception itself is the reason
    exit with {:timeout, _} in the caller       CallTimeout is raised
    exit with {:noproc, _} in the caller        NoProcess is raised
    exit with {reason, _} in the caller         CallExit(reason) is raised
    exit with {:calling_self, _}                CallingSelf is raised

Supervisors and registries
--------------------------

Children, and how to find them:

    {Limiter, arg}                              (Limiter, arg)
    {Limiter, name: Limiter} as a child         Limiter.child_spec(arg, name="limiter")
    Supervisor.child_spec({Limiter, a},         Limiter.child_spec(a, id="x", restart="transient")
      id: :x, restart: :transient)
    %{id: .., start: {M, f, args}}              ChildSpec("id", partial(f, *args))
    use Supervisor,                             class App(Supervisor):
      Supervisor.init(children, opts)             init returns self.children(children, **opts)
    Supervisor.start_child(sup, spec)           sup.start_child(spec)
    Supervisor.which_children(sup)              sup.which_children()
    DynamicSupervisor.start_child(sup, spec)    sup.start_child(spec)
    {Registry, keys: :unique, name: R}          Registry.child_spec(name="R")
    {:via, Registry, {reg, key}}                via(reg, key), reg a pid or a name
    Registry.lookup(reg, key)                   reg.lookup(key): (pid, value), or None
    GenNostr.add_relay(url)                     self.add_relay(url), outside feed.add_relay(url)

What differs
------------

- Times are seconds, not milliseconds.
- `start` from a plain thread links to nobody, and `start_link` there does the same: a thread is no
  process. A ``with`` statement around `start` stops the server at its end. At the end of the
  program, actors that still run are stopped in order.
- Supervisors start children with the `start_link` that every server class has; you do not write
  one.
- The default id of a child is its name if it has one, otherwise its class.
- A name is a string, or a `via`.
- Callbacks are methods, so `self` can hold data besides the state. A restart makes a new object:
  nothing of `self` survives.
- Messages are not copied. Send immutable values, or leave a value alone after sending it.
- An actor has no ``receive`` of its own: what is not a call or a cast arrives in `handle_info`, in
  order.
- If a callback raises, the exception itself is the reason, with its traceback; not a pair with a
  stack trace.
- Functions of supervisors and registries raise `AlreadyStarted`, `ChildNotFound`,
  `AlreadyRegistered` and so on, instead of returning ``{:error, reason}``. `start` raises
  `StartError`.
- `handle_call` must return an outcome. The other callbacks may return nothing, and the state is
  unchanged.
- A thread cannot be preempted or killed. `KILL` is a fence around it, and an exit signal takes
  effect before the next message, or where the actor waits for another; see `supervision`.
- Each actor is a thread: thousands are fine, millions are not.
- `Registry` has unique keys only, so `dispatch` passes at most one entry. Keys compare as in a
  `dict`: 1 and 1.0 are the same.
- Not ported: nodes, ``multi_call`` and ``abcast``, ``code_change``, process dictionaries,
  ``throw`` as a return value.
"""
