"""A finalizer or a signal handler runs between any two lines and may call any public function: nothing deadlocks.

Each line of the library that an operation comes to is tried once: a trace function calls the interruption there.
"""

import sys
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest

import gennostr as g
from gennostr import KILL, SHUTDOWN, Registry, Reply
from gennostr.otp.names import NameTable
from gennostr.otp.waits import Completion
from gennostr.testing import Probe
from tests.otp.actors import DEADLINE, Driven, Log, outcome_of


def interrupted(number: int, operation: Callable[[], object], interruption: Callable[[], object]) -> tuple[bool, Any]:
    """Run `operation`, and `interruption` at its line of that `number`; return if it came there, and its outcome."""
    log = Log()
    seen = 0

    def line(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal seen
        if event == "line":
            seen += 1
            if seen == number:
                interruption()
        return line

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        return line if str(frame.f_globals.get("__name__", "")).startswith("gennostr.otp") else None

    def run() -> None:
        with Probe():
            sys.settrace(trace)
            try:
                outcome = outcome_of(operation)
            finally:
                sys.settrace(None)
        log.put(outcome)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    outcome = log.next()
    thread.join(DEADLINE)
    return seen >= number, outcome


class World:
    """What operations and interruptions act on."""

    def __init__(self, registry: g.Pid) -> None:
        self.registry: Any = registry
        self.server: g.Pid = Driven.start()
        self.other: g.Pid = Driven.start()
        self.pending: Any = g.send_request(self.other, lambda self, from_, state: Reply(1))

    def link(self) -> None:
        g.link(self.server)
        g.unlink(self.server)

    def wait_for_server(self) -> None:
        with Driven.start(name="name"):
            g.wait_for("name", DEADLINE)

    def use_others(self) -> None:
        self.pending.wait(DEADLINE)
        outcome_of(self.register)
        outcome_of(lambda: Driven.start_link(name="name").stop(SHUTDOWN, DEADLINE))
        outcome_of(lambda: g.wait_for("name", 0))

    def end(self) -> None:
        self.server.exit(KILL)
        self.other.exit(KILL)

    def register(self) -> None:
        self.registry.register("key")
        self.registry.unregister("key")


OPERATIONS: dict[str, Callable[[World], Any]] = {
    "call": lambda world: world.server.call(lambda self, from_, state: Reply("reply"), DEADLINE),
    "cast": lambda world: world.server.cast(lambda self, state: None),
    "wait": lambda world: world.pending.wait(DEADLINE),
    "as_completed": lambda world: list(g.as_completed([world.pending], DEADLINE)),
    "future": lambda world: world.server.ask(lambda self, from_, state: Reply(1), block=False).get(timeout=DEADLINE),
    "link": World.link,
    "monitor": lambda world: g.demonitor(g.monitor(world.server)),
    "register": World.register,
    "wait_for": World.wait_for_server,
    "start": lambda world: Driven.start(name="name").stop(),
    "stop": lambda world: world.server.stop(),
    "kill": lambda world: world.server.exit(KILL),
}

INTERRUPTIONS: dict[str, Callable[[World], Any]] = {
    "a kill of the same server": lambda world: world.server.exit(KILL),
    "waits for other servers": World.use_others,
}


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_at_no_line_of_an_operation_another_deadlocks(operation: str, interruption: str) -> None:
    with Registry.start() as registry:
        reached = True
        number = 0
        while reached:
            number += 1
            world = World(registry)
            reached, outcome = interrupted(
                number,
                partial(OPERATIONS[operation], world),
                partial(outcome_of, partial(INTERRUPTIONS[interruption], world)),
            )
            # It ends as it would have, or as where the other came before or after it.
            if isinstance(outcome, BaseException):
                assert isinstance(outcome, g.CallError | g.AlreadyRegistered | g.AlreadyStarted | g.StartError)
            world.end()
            assert g.whereis("name") is None
            assert registry.count() == 0


@pytest.mark.parametrize("action", ["register", "release"])
def test_a_key_that_is_taken_at_any_line_of_another_use_of_it_has_one_holder(action: str) -> None:
    """One of the two gets AlreadyRegistered, and neither takes the key away from the other."""
    one, other = Driven().pid.process, Driven().pid.process
    reached = True
    number = 0
    while reached:
        number += 1
        table = NameTable()
        if action == "release":
            table.register("key", one)
        outcomes = Log()
        take = partial(table.register, "key", other)
        reached, outcome = interrupted(
            number, partial(getattr(table, action), "key", one), partial(note_outcome, outcomes, take)
        )
        taken = outcomes.now() == [None]
        left = [other] if taken else [one] * (action == "register")
        assert [process for _, process, _ in table.entries()] == left
        assert taken or outcome in (None, True)


def test_a_key_of_a_process_that_dies_is_its_new_holders_alone() -> None:
    """A process takes over the key of a dead one; when the death reaches the table later, the key stays."""
    one, other = Driven().pid.process, Driven().pid.process
    table = NameTable()
    table.register("key", one)
    one.dead = True  # and its death has not come to the table
    table.register("key", other)
    assert not table.release("key", one)
    assert table.lookup("key") == (other, None)


def test_a_key_may_use_the_table_where_it_is_hashed_and_compared() -> None:
    class Key:
        def __hash__(self) -> int:
            table.register(object(), process)
            return 1

        def __eq__(self, other: object) -> bool:
            table.register(object(), process)
            return self is other

    table, process = NameTable(), Driven().pid.process
    key = Key()
    table.register(Key(), process)
    table.register(key, process)
    with pytest.raises(g.AlreadyRegistered):
        table.register(key, process)
    assert table.release(key, process)
    assert table.lookup(key) is None


def test_a_completion_that_comes_at_any_line_of_listen_wait_or_unlisten_calls_a_listener_once() -> None:
    reached = True
    number = 0
    while reached:
        number += 1
        completion, heard = Completion(), Log()
        reached, outcome = interrupted(number, partial(listen_and_wait, completion, heard), partial(end, completion))
        assert outcome is None
        assert len(heard.now()) == 1


def listen_and_wait(completion: Completion, heard: Log) -> None:
    listener = partial(heard.put, "the end")
    completion.listen(listener)
    if completion.unlisten(listener):
        heard.put("taken back")
    end(completion)
    assert completion.wait(None, DEADLINE)


def end(completion: Completion) -> None:
    if not completion.done():
        completion.end()


def note_outcome(log: Log, function: Callable[[], Any]) -> None:
    log.put(outcome_of(function))
