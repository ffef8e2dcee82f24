'''Names and registries: find actors by name, or by key.

You want to reach a server without passing its pid around, and to reach its successor after a
restart. Give it a name:

>>> from gennostr import CallExit, GenServer, Ok, Reply, Supervisor, call, cast, whereis
>>> class Cache(GenServer[dict[str, str]]):
...     def init(self, init_arg):
...         return Ok({})
...     def handle_cast(self, item, values):
...         key, value = item
...         values[key] = value
...     def handle_call(self, key, from_, values):
...         return Reply(values[key])

>>> with Cache.start(name="cache"):
...     cast("cache", ("colour", "blue"))
...     call("cache", "colour")
'blue'

A name is a string, and belongs to one running actor of this Python process. ``name=`` is an
argument of `start`, `start_link` and `child_spec`. All functions that take a pid take a name too:
`call`, `cast`, `send`, `send_request`, `stop`, `link`, `monitor`, `send_after`, `wait_for`,
`tree`, `get_state` and its relatives.

``whereis(name)`` returns the pid, or None:

>>> with Cache.start(name="cache") as cache:
...     whereis("cache") == cache
True
>>> whereis("cache") is None
True

- The name is registered before `init` runs, so that the server can be found by it there, and is
  free as soon as the server is dead: when a call has raised `CallExit`, when a `Down` has arrived,
  or when `start` has failed.
- A name that is taken raises `AlreadyStarted`, with the `pid` of the owner. The second server's
  `init` does not run.
- An unknown name: `call` and `stop` raise `NoProcess`, `cast` and `send` do nothing, ``monitor``
  delivers a `Down` with the reason `NOPROC`.

>>> call("cache", "colour")
Traceback (most recent call last):
    ...
gennostr.exceptions.NoProcess: 'cache' not found

While a server restarts
-----------------------

A supervisor starts a named child again under the same name. In between, nobody has it: a call
raises `NoProcess`, a cast is dropped. Treat `NoProcess` as you treat `CallExit`: the request was
not answered, so try again or report it. (After `NoProcess`, it was certainly not handled; after
`CallExit`, part of the work may have been done.) To wait for the restart, use `wait_for`. It
returns the pid as soon as the name is registered, and raises `NoProcess` if that takes longer than
its timeout of 5 seconds:

>>> from gennostr import wait_for
>>> with Supervisor.start([Cache.child_spec(name="cache")]):
...     try:
...         call("cache", "no such key")
...     except CallExit as error:
...         print("failed:", repr(error.reason))
...     pid = wait_for("cache")
...     cast("cache", ("colour", "blue"))
...     call("cache", "colour")
failed: KeyError('no such key')
'blue'

>>> wait_for("nobody", timeout=0.01)
Traceback (most recent call last):
    ...
gennostr.exceptions.NoProcess: 'nobody' was not registered within 0.01 s

The name is registered before `init` has run; a call to the pid waits until then. `wait_for`
returns the actor that has the name now. So use it after you have seen the failure, as here:
before, it returns the server that is about to fail. ``timeout=0`` only looks, and ``timeout=None``
waits without a limit.

Many actors of one kind: a registry
-----------------------------------

For one actor for each user, room or file, names as strings get clumsy. A `Registry` maps keys to
actors. A key is any hashable value, and each entry can carry a value. ``via(registry, key)`` goes
wherever a name goes:

>>> from gennostr import Registry, RegistryPid, via
>>> with Registry.start(name="rooms") as rooms:
...     blue = Cache.start(name=via("rooms", ("floor 1", "blue")))
...     red = Cache.start(name=via("rooms", ("floor 1", "red"), "locked"))
...     cast(via("rooms", ("floor 1", "red")), ("colour", "red"))
...     print(call(via("rooms", ("floor 1", "red")), "colour"))
...     print(rooms.lookup(("floor 1", "red")) == (red, "locked"), rooms.count())
...     stopped = red.stop()
...     print(whereis(via("rooms", ("floor 1", "red"))), rooms.count())
...     stopped = blue.stop()
red
True 2
None 1

An entry disappears with its actor. A key that is taken raises `AlreadyStarted`, as a name does.
The registry in a `via` is its pid or its name. With its name, the `via` remains valid when the
registry is restarted.

In a real program, the registry and the supervisor of the actors are siblings:

    # rooms.py
    """Chat rooms that are started when somebody first speaks in them."""

    from gennostr import AlreadyStarted, CallbackOutcome, CallOutcome, DynamicSupervisor
    from gennostr import DynamicSupervisorPid, GenServer, InitOutcome, Ok, Pid, Registry, Reply
    from gennostr import Request, Supervisor, SupervisorFlags, call, via, whereis


    class Room(GenServer[list[str]]):
        def init(self, topic: str) -> InitOutcome[list[str]]:
            return Ok([])

        def handle_cast(self, line: str, lines: list[str]) -> CallbackOutcome[list[str]]:
            lines.append(line)
            return None

        def handle_call(
            self, request: str, from_: Request, lines: list[str]
        ) -> CallOutcome[list[str]]:
            return Reply(list(lines))


    class Chat(Supervisor):
        def init(self, init_arg: object) -> SupervisorFlags:
            return self.children(
                [Registry.child_spec(name="rooms"), DynamicSupervisor.child_spec(name="desk")],
                strategy="rest_for_one",
            )


    def open_room(topic: str) -> Pid:
        supervisor = whereis("desk")
        assert isinstance(supervisor, DynamicSupervisorPid)
        try:
            room: Pid = supervisor.start_child(Room.child_spec(topic, name=via("rooms", topic)))
        except AlreadyStarted as error:  # another thread was faster
            room = error.pid
        return room


    def say(topic: str, line: str) -> None:
        room = whereis(via("rooms", topic)) or open_room(topic)
        room.cast(line)


    if __name__ == "__main__":
        with Chat.start():
            say("tea", "hello")
            say("tea", "is there any left?")
            say("biscuits", "hello?")
            print(call(via("rooms", "tea"), "lines"), call(via("rooms", "biscuits"), "lines"))

The functions of a registry
---------------------------

- ``register(key, value=None)`` registers the calling actor, in a callback. An actor can hold any
  number of keys, besides its name. If the key is taken by a living actor, it raises
  `AlreadyRegistered`, with that `pid`. In a plain thread it raises `RuntimeError`.
- ``unregister(key)`` gives up an own key; another's is left alone.
- ``lookup(key)`` returns ``(pid, value)``, or None.
- ``keys(pid)`` returns the keys that an actor holds, ``count()`` the number of all.
- ``select()`` returns all entries as ``(key, pid, value)``.
- ``update_value(key, function)`` replaces the value of an own key by ``function(value)`` and
  returns ``(new, old)``; `LookupError` if the caller does not hold the key.
- ``dispatch(key, function)`` calls ``function([(pid, value)])`` in the calling thread if the key
  is registered.

Reads look into a table, under a lock; they send no message, so they also work while the registry
is busy. Keys compare as they do in a `dict`: 1 and 1.0 are the same key.

>>> class Player(GenServer[RegistryPid]):
...     def init(self, init_arg):
...         registry, name = init_arg
...         registry.register(name, 0)
...         return Ok(registry)
...     def handle_call(self, points, from_, registry):
...         [name] = registry.keys(self.pid)
...         new, old = registry.update_value(name, lambda score: score + points)
...         return Reply(new)

>>> with Registry.start() as players:
...     ann, bob = Player.start((players, "ann")), Player.start((players, "bob"))
...     print(ann.call(3), bob.call(5), ann.call(4))
...     print(sorted((name, score) for name, pid, score in players.select()))
...     players.dispatch("bob", lambda entries: print(entries == [(bob, 5)]))
...     stopped = ann.stop(), bob.stop()
3 5 7
[('ann', 7), ('bob', 5)]
True

An actor that registers a key is linked to the registry. If the registry crashes or its supervisor
stops it, they end with it (unless they trap exits), because nobody could find them any more; their
supervisor starts them again, and they register anew. That is why `Chat` above is "rest_for_one",
with the registry first. After ``registry.stop()``, with the reason `NORMAL`, they live on, without
an entry.

Every function of a dead registry raises `NoProcess`.

Listen to a registry
--------------------

Listeners, pids or names, receive ``Registered(registry, key, pid, value)`` and
``Unregistered(registry, key, pid)`` in `handle_info`. They receive nothing when an actor dies:
monitor it.

>>> from gennostr.testing import Probe
>>> with Probe(name="door") as probe, Registry.start(listeners=["door"]) as registry:
...     with Cache.start(name=via(registry, "blue")) as blue:
...         message = probe.expect()
...         print(type(message).__name__, message.key, message.pid == blue)
Registered blue True
'''
