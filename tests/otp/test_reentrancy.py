"""A finalizer or a signal handler runs between any two lines and may call any public function: nothing deadlocks.

Each line of the library that an operation comes to is tried once: a trace function calls the interruption there.
"""

import sys
import threading
from collections.abc import Callable
from itertools import count
from types import FrameType
from typing import Any

import pytest

import gennostr as g
from gennostr import KILL, Registry, Reply
from gennostr.otp.calls import Completion
from gennostr.otp.names import NameTable
from gennostr.testing import Probe
from tests.otp.actors import DEADLINE, Driven, Log, outcome_of


def interrupted(number: int, operation: Callable[[], object], interruption: Callable[[], object]) -> tuple[bool, Any]:
    """Run `operation`, and `interruption` at the line of that `number`; return whether it came there, and its outcome."""
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
        self.completion = Completion()
        self.pending: Any = g.send_request(self.server, lambda self, from_, state: None if state else Reply(1))

    def register(self) -> None:
        self.registry.register("key")
        self.registry.unregister("key")


OPERATIONS: dict[str, Callable[[World], Any]] = {
    "call": lambda world: world.server.call(lambda self, from_, state: Reply("reply"), DEADLINE),
    "cast": lambda world: world.server.cast(lambda self, state: None),
    "wait": lambda world: world.pending.wait(DEADLINE),
    "as_completed": lambda world: list(g.as_completed([world.pending], DEADLINE)),
    "future": lambda world: world.server.ask(lambda self, from_, state: Reply(1), block=False).get(timeout=DEADLINE),
    "link": lambda world: (g.link(world.server), g.unlink(world.server)),
    "monitor": lambda world: g.demonitor(g.monitor(world.server)),
    "register": World.register,
    "start": lambda world: Driven.start(name="name").stop(),
    "stop": lambda world: world.server.stop(),
    "kill": lambda world: world.server.exit(KILL),
}

INTERRUPTIONS: dict[str, Callable[[World], Any]] = {
    "kill": lambda world: world.server.exit(KILL),
    "wait": lambda world: world.pending.wait(DEADLINE),
    "register": World.register,
    "start": lambda world: Driven.start(name="name").exit(KILL),
}


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_at_no_line_of_an_operation_another_deadlocks(operation: str, interruption: str) -> None:
    with Registry.start() as registry:
        for number in count(1):
            world = World(registry)
            reached, outcome = interrupted(
                number,
                lambda world=world: OPERATIONS[operation](world),
                lambda world=world: outcome_of(lambda: INTERRUPTIONS[interruption](world)),
            )
            # It ends as it would have, or as where the other came before or after it.
            if isinstance(outcome, BaseException):
                assert isinstance(outcome, g.CallError | g.AlreadyRegistered | g.AlreadyStarted | g.StartError)
            world.server.exit(KILL)
            assert g.whereis("name") is None
            assert registry.count() == 0
            if not reached:
                break


@pytest.mark.parametrize("action", ["register", "release"])
def test_a_key_that_is_taken_at_any_line_of_another_use_of_it_has_one_holder(action: str) -> None:
    """Either of them is told that the other has it, and neither takes it away from the other."""
    for number in count(1):
        table = NameTable()
        one, other = Driven()._process, Driven()._process
        if action == "release":
            table.register("key", one)
        use = getattr(table, action)
        outcomes = Log()
        reached, outcome = interrupted(
            number,
            lambda: use("key", one),
            lambda: outcomes.put(outcome_of(lambda: table.register("key", other))),
        )
        taken = not outcomes.empty() and outcomes.next() is None
        assert [process for _, process, _ in table.entries()] == ([other] if taken else [one] * (action == "register"))
        assert (outcome is None or outcome is True) or taken
        if not reached:
            break


def test_a_key_may_use_the_table_where_it_is_hashed_and_compared() -> None:
    class Key:
        def __hash__(self) -> int:
            table.register(object(), process)
            return 1

        def __eq__(self, other: object) -> bool:
            table.register(object(), process)
            return self is other

    table, process = NameTable(), Driven()._process
    table.register(Key(), process)
    key = Key()
    table.register(key, process)
    assert table.release(key, process)
    with pytest.raises(g.AlreadyRegistered):
        for each in table.keys(process):
            table.register(each, process)


def test_a_completion_that_comes_at_any_line_of_listen_wait_or_unlisten_calls_a_listener_once() -> None:
    for number in count(1):
        completion, heard = Completion(), Log()

        def listen(completion: Completion = completion, heard: Log = heard) -> None:
            def listener() -> None:
                heard.put("end")

            completion.listen(listener)
            if completion.unlisten(listener):
                heard.put("taken back")
            if not completion.done():
                completion.end()
            assert completion.wait(None, DEADLINE)

        reached, outcome = interrupted(number, listen, lambda: completion.done() or completion.end())  # noqa: B023
        assert outcome is None
        assert len(heard.now()) == 1
        if not reached:
            break
