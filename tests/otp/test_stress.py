"""Races at a size that finds them: calls against stops and kills, and a thousand children.

GENNOSTR_STRESS multiplies the sizes (1 in the suite).
"""

import os
import queue
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

import gennostr as g
from gennostr import KILL, SHUTDOWN, ChildSpec, Reply, Supervisor
from gennostr.otp.engine import Engine
from gennostr.testing import leaks
from tests.otp.actors import Driven, Log, settle

SIZE = int(os.environ.get("GENNOSTR_STRESS", "1"))
THREADS = 8


class Interruptible(queue.SimpleQueue[object]):
    """A mailbox written in Python, as a connection's is: threads may take turns in the middle of its put."""

    def put(self, item: object, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002
        super().put(item)


class InterruptibleEngine(Engine):
    create_mailbox = staticmethod(Interruptible)


class Receiver(Driven, engine=InterruptibleEngine):
    pass


@pytest.fixture
def switching() -> Iterator[None]:
    """Let threads take turns as often as the interpreter can: what may come between two steps, does."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Echo(g.GenServer[None]):
    """Answers a call with its request, in one of the ways there are."""

    def handle_call(self, request: int, from_: Any, state: None) -> Any:
        match request % 4:
            case 0:
                return Reply(request)
            case 1:
                g.reply(from_, request)
                g.reply(from_, "a second answer")
                return g.NoReply()
            case 2:
                return Reply(request, continue_=from_)
            case _:
                threading.Thread(target=g.reply, args=(from_, request)).start()
                return g.NoReply()

    def handle_continue(self, from_: Any, state: None) -> None:
        g.reply(from_, "a second answer")


@pytest.mark.usefixtures("switching")
def test_every_call_that_races_a_stop_or_a_kill_ends_once_with_its_reply_or_an_exit() -> None:
    calls, ends = 10_000 * SIZE, 100 * SIZE
    servers: list[g.Pid] = [Echo.start() for _ in range(16)]
    outcomes: Log = Log()
    go = threading.Barrier(THREADS)

    def end_and_replace(turn: int) -> None:
        at = turn % len(servers)
        server, servers[at] = servers[at], Echo.start()
        match turn % 4:
            case 0:
                server.exit(KILL)
            case 1:
                server.exit("reason")
            case 2:
                server.stop(SHUTDOWN, block=False)
            case _:
                server.stop(block=True)

    def work(number: int) -> None:
        seen: Counter[str] = Counter()
        every = calls // ends
        go.wait(10)
        for turn in range(number, calls, THREADS):
            if turn % every == 0:
                end_and_replace(turn // every)
            try:
                got = servers[(turn * 7) % len(servers)].call(turn, 60)
                seen["reply" if got == turn else f"wrong: {got} for {turn}"] += 1
            except g.CallExit as error:
                seen[f"exit {error.reason!r}"] += 1
            except g.NoProcess:
                seen["no process"] += 1
        outcomes.put(seen)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    total: Counter[str] = Counter()
    for _ in threads:
        total += outcomes.get(timeout=300)
    for thread in threads:
        thread.join()
    for server in servers:
        server.stop()
    assert total.total() == calls
    assert set(total) <= {"reply", "no process", "exit KILLED", "exit 'reason'", "exit SHUTDOWN", "exit NORMAL"}
    assert total["reply"] > calls / 2


@pytest.mark.usefixtures("switching")
def test_messages_of_a_killed_sender_never_come_after_its_down() -> None:
    """The fence is exact: a send is before the kill, or it is not at all."""

    class Sender(g.GenServer[None]):
        def handle_cast(self, to: g.Pid, state: None) -> None:
            while True:
                to.send("message")
                if not self.pid.is_alive():
                    to.send("too late")
                    return

    with Receiver.start() as receiver:
        log: Log = receiver.call(lambda self, from_, state: Reply(self.log))
        for _ in range(100 * SIZE):
            sender = Sender.start()
            receiver.call(lambda self, from_, state, sender=sender: Reply(g.monitor(sender)))
            sender.cast(receiver)
            assert log.next() == "message"
            sender.exit(KILL)
            settle(receiver)
            seen = log.now()
            assert isinstance(seen.pop(), g.Down)
            assert set(seen) <= {"message"}


def start_crash_restart_stop(count: int) -> float:
    """Do that to `count` children of one supervisor; return the seconds it took."""
    started: Log = Log()

    class Child(g.GenServer[None]):
        def init(self, init_arg: None) -> Any:
            started.put(self.pid)
            return g.Ok()

    began = time.perf_counter()
    specs = [ChildSpec(number, Child.start_link) for number in range(count)]
    with Supervisor.start(specs, max_restarts=count) as supervisor:
        first = [started.next() for _ in range(count)]
        for pid in first:
            pid.exit("crash")
        again = [started.next() for _ in range(count)]
        assert {info.pid for info in supervisor.which_children()} == set(again)
    return time.perf_counter() - began


def test_a_thousand_children_crash_and_restart_and_leave_neither_thread_nor_descriptor(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("CRITICAL", "gennostr")
    before = leaks.Snapshot()
    start_crash_restart_stop(1000)
    leaks.check(before)
    assert g.abandoned() == 0
