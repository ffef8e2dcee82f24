"""What a user's type checker says: handles have their types, and a misspelled option or method is an error."""

import inspect
import re
import typing
from pathlib import Path

import mypy.api
import pykka

import gennostr

PROGRAM = """
from typing import Any

from gennostr import (
    IGNORE, CallbackOutcome, CallOutcome, ChildCounts, ChildInfo, DynamicSupervisor, Exit, GenNostr, GenServer,
    InitOutcome, MonitorRef, NoReply, Ok, Registry, Relay, RelayOutcome, Reply, Request, Statistics, Status, Supervisor,
    SupervisorFlags, Timer, call, monitor, reply, reply_error, run, send_after,
)

class Counter(GenServer[int]):
    asking: Request

    def init(self, start: int) -> InitOutcome[int]:
        return Ok(start) if start >= 0 else IGNORE

    def handle_call(self, question: str, from_: Request, count: int) -> CallOutcome[int]:
        if question == "later":
            self.asking = from_
            return NoReply()
        return Reply(count)

    def handle_cast(self, step: int, count: int) -> CallbackOutcome[int]:
        reply(self.asking, count)
        reply_error(self.asking, ValueError(step))
        return NoReply(count + step)

    def handle_info(self, message: object, count: int) -> CallbackOutcome[int]:
        if isinstance(message, Exit) and message.pid is not None:
            message.pid.cast("farewell")
        return super().handle_info(message, count)

    def terminate(self, why: object, count: int) -> None:
        ref: MonitorRef = monitor(self.pid)
        timer: Timer = send_after(1, self.pid, ref)

class Feed(GenNostr[int]):
    def init(self, urls: list[str]) -> InitOutcome[int]:
        for url in urls:
            self.add_relay(url, ping_interval=5.0, reconnect=[1, 5])
        return Ok(0)

    def handle_connect(self, which: Relay, seen: int) -> RelayOutcome[int]:
        return Ok(seen + 1)

class App(Supervisor):
    def init(self, urls: list[str]) -> SupervisorFlags:
        return self.children([Counter.child_spec(7, name="counter", restart="transient"), (Feed, urls)], max_seconds=9)

reveal_type(Counter.start(1))  # Pid
reveal_type(Counter.start_link(1, name="c"))  # Pid
reveal_type(Supervisor.start([Counter], strategy="one_for_all"))  # SupervisorPid
reveal_type(App.start_link(["ws://a"]))  # SupervisorPid
reveal_type(DynamicSupervisor.start(max_children=3))  # DynamicSupervisorPid
reveal_type(Registry.start(name="r"))  # RegistryPid
reveal_type(Feed.start(["ws://a"]))  # GenNostrPid
with Counter.start(2) as counter, App.start([]) as app, Feed.start([]) as feed:
    reveal_type(counter)  # Pid
    reveal_type(app)  # SupervisorPid
    reveal_type(feed)  # GenNostrPid
    children: list[ChildInfo] = app.which_children()
    counts: ChildCounts = app.count_children()
    status: Status = counter.get_status()
    statistics: Statistics = counter.statistics()
    if Counter.start(-1) is IGNORE:
        print("nothing to run")
    run(Feed, ["ws://a"], name="feed")

def wrong() -> None:
    counter.kast(1)  # error: attr-defined
    Counter.start(1, nmae="c")  # error: call-arg
    Counter.child_spec(1, restrat="transient")  # error: call-arg
    Counter.child_spec(1, restart="often")  # error: arg-type
    Supervisor.start([Counter], max_restart=3)  # error: call-arg
    Supervisor.start([Counter], strategy="one_for_two")  # error: arg-type
    DynamicSupervisor.start(max_childern=3)  # error: call-arg
    feed.add_relay("ws://a", ping_intervall=5)  # error: call-arg
    feed.add_relay("ws://a", verify="yes")  # error: arg-type
    app.start_chlid(Counter)  # error: attr-defined
"""


def test_a_strictly_typed_program(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    said, _, _ = mypy.api.run(["--strict", "--no-error-summary", "--no-incremental", str(program)])
    found = re.findall(r'program\.py:(\d+): (error: .*\[([a-z-]+)\]|note: Revealed type is "([^"]*)")', said)
    heard: dict[int, set[str]] = {}
    for line, _, code, revealed in found:
        heard.setdefault(int(line), set()).add(f"error: {code}" if code else revealed.rpartition(".")[2])
    wanted = {
        number: {line.partition("  # ")[2]} for number, line in enumerate(PROGRAM.splitlines(), 1) if "  # " in line
    }
    assert heard == wanted, said


def test_annotations_of_public_names_can_be_read_at_run_time() -> None:
    """But not those of the classes that are pykka's too: pykka imports some of their types for type checkers alone."""
    for name in gennostr.__all__:
        value = getattr(gennostr, name)
        if isinstance(value, type):
            for method in vars(value).values():
                if inspect.isfunction(method):
                    typing.get_type_hints(method)
        if inspect.isfunction(value) or (
            isinstance(value, type) and not issubclass(value, (pykka.Actor, pykka.ActorRef))
        ):
            typing.get_type_hints(value)
