"""Actors inside other programs: at the interpreter's exit, under fork, beside asyncio."""

import asyncio
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import gennostr as g
from gennostr import NoReply, Reply, Stop
from tests.otp.actors import DEADLINE, Driven, within

ROOT = Path(__file__).parents[2]

SAYING = """
    import os, select, sys, threading, time
    import gennostr as g

    class Saying(g.GenServer):
        def init(self, name):
            return g.Ok(name)

        def handle_call(self, request, from_, name):
            return request(self) if callable(request) else g.Reply(request)

        def terminate(self, reason, name):
            print(name, reason, flush=True)
"""

# From Python 3.12 on, os.fork() warns where other threads run: these programs fork there to show what comes of it.
FORK_IS_MEANT = "ignore:This process (pid=:DeprecationWarning"


def program(text: str, **options: Any) -> subprocess.Popen[str]:
    source = textwrap.dedent(SAYING) + textwrap.dedent(text)
    command = [sys.executable, "-W", FORK_IS_MEANT, "-c", source]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def output(text: str, timeout: float = 20) -> tuple[list[str], str, int]:
    """Run a program; its lines, its errors, and its exit status."""
    with program(text) as running:
        try:
            out, err = running.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            running.kill()
            raise
    return out.splitlines(), err, running.returncode


# The interpreter's exit.


def test_a_program_that_forgets_to_stop_exits_and_its_roots_are_stopped_newest_first() -> None:
    lines, err, status = output("""
        Saying.start("first")
        g.Supervisor.start([(Saying, "child")])
        Saying.start("last")
    """)
    # The child does not trap exits: SHUTDOWN ends it without terminate, as its supervisor's stop does anywhere.
    assert (lines, err, status) == (["last SHUTDOWN", "first SHUTDOWN"], "", 0)


def test_a_tree_is_stopped_in_reverse_order_at_exit() -> None:
    lines, err, status = output("""
        class Trapping(Saying):
            trap_exit = True

        g.Supervisor.start([g.ChildSpec(n, lambda n=n: Trapping.start_link(n)) for n in range(3)])
    """)
    assert (lines, err, status) == (["2 SHUTDOWN", "1 SHUTDOWN", "0 SHUTDOWN"], "", 0)


def test_an_exception_in_the_main_thread_stops_the_roots_too() -> None:
    lines, err, status = output("""
        Saying.start("root")
        raise SystemExit(3)
    """)
    assert (lines, err, status) == (["root SHUTDOWN"], "", 3)


def test_an_actor_that_is_stuck_delays_the_exit_by_a_few_seconds_at_most_and_is_reported() -> None:
    lines, err, status = output("""
        import gennostr.otp.interpreter_exit
        gennostr.otp.interpreter_exit.EXIT_TIMEOUT = 0.2
        Saying.start("other")
        stuck = [Saying.start("stuck"), Saying.start("stuck")]
        for each in stuck:
            each.send_request(lambda self: threading.Event().wait())
    """)
    # The newest first: the two that are stuck use up the time, and the other, which is idle, needs none.
    assert (lines, status) == (["other SHUTDOWN"], 0)
    assert err.count("did not stop in time at the exit of the interpreter and is killed") == 2


# Fork.


FORKED = """
    import logging
    logging.disable()
    server = Saying.start("server", name="server")
    registry = g.Registry.start()
    linked = threading.Event()
    child = os.fork()
    if child == 0:
        def say(what):
            try:
                print(repr(what()), flush=True)
            except Exception as error:
                print(type(error).__name__, "this process was forked" in str(error), flush=True)

        {do}
        os._exit(0)
    ended = select.select([os.pidfd_open(child)], [], [], 10)[0]
    if not ended:
        os.kill(child, 9)
        sys.exit("the child hangs")
    os.waitpid(child, 0)
    assert server.call("in the parent all is well") == "in the parent all is well"
"""


@pytest.mark.parametrize(
    ("do", "said"),
    [
        ("server.call(1)", "NoProcess True"),
        ("g.call('server', 1)", "NoProcess True"),
        ("server.get_state()", "NoProcess True"),
        ("g.stop(server)", "NoProcess True"),
        ("server.stop()", "False"),
        ("server.send_request(1).wait()", "NoProcess True"),
        ("registry.count()", "NoProcess True"),
        ("server.ask(1)", "NoProcess True"),
        ("Saying.start('child')", "RuntimeError True"),
        ("g.Supervisor.start([])", "RuntimeError True"),
        ("g.send_after(1, 'server', 1)", "RuntimeError True"),
        ("server.cast(1)", "None"),
        ("server.send(1)", "None"),
        ("server.exit(g.KILL)", "None"),
        ("server.is_alive()", "False"),
        ("g.whereis('server')", "None"),
        ("g.tree(server).status", "'dead'"),
        ("g.abandoned()", "0"),
    ],
)
def test_a_child_forked_while_actors_run_says_so_instead_of_hanging(do: str, said: str) -> None:
    lines, err, status = output(FORKED.format(do=f"say(lambda: {do})"))
    assert (lines, err, status) == ([said, "server SHUTDOWN"], "", 0)


def test_a_child_forked_with_every_lock_held_does_not_hang() -> None:
    """What another thread holds at the moment of the fork is held for ever in the child."""
    lines, err, status = output("""
        from gennostr.otp.clock import clock
        from gennostr.otp.names import NAMES
        server = Saying.start("server", name="server")
        registry = g.Registry.start()
        locks = [each.process.lock for each in (server, registry)] + [each.process.books for each in (server, registry)]
        locks += [registry.table._lock, NAMES._lock, clock()._serving]
        held, go = threading.Event(), threading.Event()

        def hold():
            for lock in locks:
                lock.acquire()
            held.set()
            go.wait()
            for lock in locks:
                lock.release()

        holder = threading.Thread(target=hold)
        holder.start()
        held.wait()
        child = os.fork()
        if child == 0:
            for do in (
                lambda: server.call(1), lambda: g.call("server", 1), lambda: registry.lookup(1), lambda: g.stop(server),
                lambda: Saying.start(1), lambda: g.send_after(1, server, 1), lambda: server.send_request(1).wait(),
            ):
                try:
                    do()
                except (g.NoProcess, RuntimeError) as error:
                    print(type(error).__name__, flush=True)
            os._exit(0)
        go.set()
        holder.join()
        if not select.select([os.pidfd_open(child)], [], [], 10)[0]:
            os.kill(child, 9)
            print("the child hangs")
        os.waitpid(child, 0)
    """)
    said = ["NoProcess"] * 4 + ["RuntimeError"] * 2 + ["NoProcess", "server SHUTDOWN"]
    assert (lines, err, status) == (said, "", 0)


def test_a_callback_that_forks_ends_in_the_child_when_it_returns() -> None:
    lines, err, status = output("""
        def fork(self):
            return g.Reply(os.fork())

        server = Saying.start("server")
        child = server.call(fork)
        pid, status = os.waitpid(child, 0)
        print("child ended", os.waitstatus_to_exitcode(status))
    """)
    assert (lines, err, status) == (["child ended 0", "server SHUTDOWN"], "", 0)


def test_a_child_forked_before_any_actor_runs_actors_of_its_own() -> None:
    lines, err, status = output("""
        from gennostr.otp.clock import clock
        g.send_after(1000, "nobody", "a timer of the parent")
        child = os.fork()
        if child == 0:
            with Saying.start("child", name="name") as server:
                print(server.call("works"), g.whereis("name") is server, flush=True)
                fired = threading.Event()
                clock().call_at(0, fired.set)
                print(fired.wait(10), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
    """)
    assert (lines, err, status) == (["works True", "True", "child NORMAL"], "", 0)


# Beside asyncio.


def test_call_async_never_blocks_the_event_loop() -> None:
    async def main() -> tuple[Any, int]:
        turns = 0
        go = threading.Event()

        def answer(self: Any, from_: Any, state: Any) -> Any:
            go.wait(DEADLINE)
            return Reply("answer")

        with Driven.start() as server:
            task = asyncio.create_task(server.call_async(answer))
            for _ in range(100):
                await asyncio.sleep(0)
                turns += 1
            go.set()
            return await task, turns

    assert asyncio.run(main()) == ("answer", 100)


def test_a_cancelled_call_async_leaves_the_server_unharmed_and_nothing_behind() -> None:
    async def main() -> None:
        loop, kept = asyncio.get_running_loop(), asyncio.Queue[Any]()

        def keep(self: Any, from_: Any, state: Any) -> Any:
            loop.call_soon_threadsafe(kept.put_nowait, from_)
            return NoReply()

        with Driven.start() as server:
            task = asyncio.create_task(server.call_async(keep))
            from_ = await kept.get()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            g.reply(from_, "too late")
            assert within(server, lambda self: len(self.pid.process.watchers)) == 1  # this call's own

    asyncio.run(main())


def test_many_call_asyncs_run_at_once_and_each_gets_its_own_reply() -> None:
    async def main() -> list[Any]:
        with Driven.start() as server:
            calls = [
                server.call_async(lambda self, from_, state, number=number: Reply(number)) for number in range(200)
            ]
            return await asyncio.gather(*calls)

    assert asyncio.run(main()) == list(range(200))


def test_a_call_async_whose_server_dies_ends_with_the_reason() -> None:
    async def main() -> None:
        server = Driven.start()
        with pytest.raises(g.CallExit) as raised:
            await server.call_async(lambda self, from_, state: Stop("reason"))
        assert raised.value.reason == "reason"
        with pytest.raises(g.NoProcess):
            await server.call_async(1)

    asyncio.run(main())


# Many threads of the host.


def test_a_killed_actor_that_waits_in_a_call_is_woken_and_its_thread_ends() -> None:
    with Driven.start() as silent:
        waits = threading.Event()
        unwound = threading.Event()

        def ask(self: Any, state: Any) -> Any:
            waits.set()
            try:
                silent.call(lambda self, from_, state: NoReply(), None)
            finally:
                unwound.set()

        caller = Driven.start()
        caller.cast(ask)
        assert waits.wait(DEADLINE)
        deadline = time.monotonic() + DEADLINE
        while g.tree(caller).waits_for is None:
            assert time.monotonic() < deadline
        assert g.tree(caller).waits_for is silent
        caller.exit(g.KILL)
        assert unwound.wait(DEADLINE)
