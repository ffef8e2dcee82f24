"""Programs: `run` and its signals, and the interpreter's exit, with real processes and real signals."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import gennostr as g
from gennostr import Ok, Stop
from gennostr.otp import mailbox
from gennostr.otp.process import alive
from tests.otp.actors import DEADLINE, watching

ROOT = Path(__file__).parents[2]
TIMEOUT = 20.0
"""Seconds after which a program is killed: then its status is -9."""

PRELUDE = """
    import os, signal, sys, threading
    import gennostr as g
    from gennostr.otp import interpreter_exit, program

    interpreter_exit.EXIT_TIMEOUT = 1000
    on_signal = program._Program.on_signal
    confirmed = threading.Event()

    def confirm(self, number, frame):
        on_signal(self, number, frame)
        os.write(1, b"confirmed\\n")
        confirmed.set()

    program._Program.on_signal = confirm

    def hang():
        os.write(1, b"hangs\\n")
        threading.Event().wait()

    class Server(g.GenServer):
        def init(self, does):
            if does == "init":
                hang()
            return g.Ok(does, continue_=None)

        def handle_continue(self, argument, does):
            os.write(1, b"ready\\n")
            if does == "callback":
                hang()

        def handle_cast(self, function, does):
            function()

        def terminate(self, reason, does):
            os.write(1, f"{does} {reason}\\n".encode())
            if does == "terminate":
                hang()
"""


class Program:
    """A program under way, that prints lines and is sent signals."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def expect(self, *lines: str) -> None:
        assert self.process.stdout is not None
        for line in lines:
            assert self.process.stdout.readline() == f"{line}\n"

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def send_and_confirm(self, number: signal.Signals) -> None:
        """Send the first signal, and return when its handler has run: two at once could be one."""
        self.send(number)
        self.expect("confirmed")

    def interrupt(self) -> None:
        """Send SIGINT until it ends: a wait that has a timeout may not notice one that arrives as it begins."""
        while self.process.poll() is None:
            self.send(signal.SIGINT)
            try:
                self.process.wait(2)
            except subprocess.TimeoutExpired:
                pass

    def end(self) -> tuple[list[str], str, int]:
        """Wait for its end; the lines left, its errors, and its exit status."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        # Not by communicate, which knows nothing of what readline has read ahead.
        out, err = self.process.stdout.read(), self.process.stderr.read()
        return out.splitlines(), err, self.process.wait()


@contextmanager
def program(text: str, *, prelude: str = PRELUDE, ignored: signal.Signals | None = None) -> Iterator[Program]:
    def before() -> None:
        # A shell's background jobs ignore SIGINT, and their children inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if ignored is not None:
            signal.signal(ignored, signal.SIG_IGN)

    source = textwrap.dedent(prelude) + textwrap.dedent(text)
    with subprocess.Popen(
        [sys.executable, "-c", source],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,  # noqa: PLW1509
    ) as process:
        watchdog = threading.Timer(TIMEOUT, process.kill)
        watchdog.start()
        try:
            yield Program(process)
        finally:
            watchdog.cancel()
            process.kill()


def output(text: str, *, prelude: str = PRELUDE) -> tuple[list[str], str, int]:
    with program(text, prelude=prelude) as running:
        return running.end()


STATUS = {signal.SIGINT: -signal.SIGINT, signal.SIGTERM: 128 + signal.SIGTERM}
"""What ends a program the second time: an uncaught KeyboardInterrupt ends CPython by SIGINT; SystemExit(143)."""


# The first signal.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_stops_its_server_in_order_at_a_signal(number: signal.Signals) -> None:
    with program("""
        g.run(Server, "server")
        print("after")
    """) as running:
        running.expect("ready")
        running.send_and_confirm(number)
        assert running.end() == (["server SHUTDOWN", "after"], "", 0)


def test_a_signal_during_init_stops_the_server_in_order_when_init_has_returned() -> None:
    with program("""
        class Slow(Server):
            def init(self, does):
                os.write(1, b"init\\n")
                confirmed.wait()
                return super().init(does)

        g.run(Slow, "server")
        print("after")
    """) as running:
        running.expect("init")
        running.send_and_confirm(signal.SIGINT)
        out, err, status = running.end()
    # Its continue comes before anything in the mailbox, the stop included.
    assert (out, err, status) == (["ready", "server SHUTDOWN", "after"], "", 0)


# The second.


@pytest.mark.parametrize(
    ("does", "first", "second"),
    [
        ("init", signal.SIGINT, signal.SIGINT),
        ("init", signal.SIGTERM, signal.SIGTERM),
        ("callback", signal.SIGINT, signal.SIGINT),
        ("callback", signal.SIGTERM, signal.SIGINT),
        ("terminate", signal.SIGINT, signal.SIGINT),
        ("terminate", signal.SIGTERM, signal.SIGTERM),
        ("terminate", signal.SIGINT, signal.SIGTERM),
    ],
)
def test_a_second_signal_ends_a_program_whose_server_hangs(
    does: str, first: signal.Signals, second: signal.Signals
) -> None:
    """As ``asyncio.run`` (Python's docs, "Handling Keyboard Interruption"); EXIT_TIMEOUT would be 1000 seconds."""
    with program(f"g.run(Server, {does!r})") as running:
        running.expect(*{"init": ["hangs"], "callback": ["ready", "hangs"], "terminate": ["ready"]}[does])
        running.send_and_confirm(first)
        if does == "terminate":
            running.expect("terminate SHUTDOWN", "hangs")
        running.send(second)
        out, err, status = running.end()
    assert (out, status) == ([], STATUS[second])
    assert ("KeyboardInterrupt" in err) is (second is signal.SIGINT)


def test_after_the_second_signal_the_exit_waits_for_no_actor_that_hangs_but_stops_the_others_in_order() -> None:
    with program("""
        well = Server.start("well")
        stuck = Server.start("stuck")
        stuck.cast(hang)
        g.run(Server, "callback")
    """) as running:
        running.expect("ready")
        lines = {running.process.stdout.readline() for _ in range(4)} if running.process.stdout else set()
        assert lines == {"ready\n", "hangs\n"}
        running.send_and_confirm(signal.SIGTERM)
        running.send(signal.SIGTERM)
        out, err, status = running.end()
    assert (out, status) == (["well SHUTDOWN"], 143)
    assert "did not stop in time at the exit of the interpreter and is killed" in err


def test_a_program_that_catches_the_second_interrupt_finds_its_server_dead_and_its_handlers_restored() -> None:
    with program("""
        def mine(number, frame):
            raise AssertionError

        signal.signal(signal.SIGTERM, mine)
        try:
            g.run(Server, "callback", name="server")
        except KeyboardInterrupt:
            print(g.whereis("server"))
            print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
            print(signal.getsignal(signal.SIGTERM) is mine)
    """) as running:
        running.expect("ready", "hangs")
        running.send_and_confirm(signal.SIGINT)
        running.send(signal.SIGINT)
        out, _, status = running.end()
    assert (out, status) == (["None", "True", "True"], 0)


# Which signals are handled.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_was_inherited_as_ignored_stays_ignored(number: signal.Signals) -> None:
    """A shell ignores SIGINT for background jobs in a script (POSIX, Shell Command Language, 2.11)."""
    with program(
        f"""
        signal.signal(signal.SIGWINCH, lambda number, frame: g.send("server", "end"))

        class Ending(Server):
            def handle_info(self, message, does):
                return g.Stop(does)

        g.run(Ending, g.NORMAL, name="server")
        print(signal.getsignal({int(number)}) is signal.SIG_IGN)
        """,
        ignored=number,
    ) as running:
        running.expect("ready")
        running.send(number)
        running.send(signal.SIGWINCH)
        assert running.end() == (["NORMAL NORMAL", "True"], "", 0)


class Ending(g.GenServer[Any]):
    """Calls its argument, and ends with what that returns."""

    def init(self, init_arg: Any) -> Any:
        return Ok(init_arg, continue_=None)

    def handle_continue(self, argument: Any, state: Any) -> Any:
        return Stop(state())


def normally() -> object:
    return g.NORMAL


@pytest.fixture(autouse=True)
def handlers() -> Iterator[dict[int, Any]]:
    """Handlers of this test for the two signals, which `run` has to restore."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}

    def mine(number: int, frame: object) -> None:
        raise AssertionError

    mines: dict[int, Any] = {signal.SIGINT: mine, signal.SIGTERM: signal.SIG_DFL}
    for number, handler in mines.items():
        signal.signal(number, handler)
    yield mines
    for number, handler in before.items():
        signal.signal(number, handler)


def installed() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}


@pytest.mark.parametrize("reason", [g.NORMAL, "failed"])
def test_the_handlers_are_restored(handlers: dict[int, Any], reason: object) -> None:
    during: list[Any] = []

    def end() -> object:
        during.append(installed())
        return reason

    if reason is g.NORMAL:
        g.run(Ending, end)
    else:
        with pytest.raises(RuntimeError, match="failed"):
            g.run(Ending, end)
    assert installed() == handlers
    for number, handler in handlers.items():
        assert during[0][number] != handler


def test_the_handlers_are_restored_when_the_start_fails(handlers: dict[int, Any]) -> None:
    class Failing(g.GenServer[Any]):
        def init(self, init_arg: Any) -> Any:
            return Stop("failed")

    with pytest.raises(g.StartError):
        g.run(Failing)
    assert installed() == handlers


def test_a_handler_that_was_not_set_from_python_is_left_alone(
    handlers: dict[int, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``signal.getsignal`` gives None for it, which ``signal.signal`` refuses: it could not be restored."""
    real = signal.getsignal
    monkeypatch.setattr(signal, "getsignal", lambda number: None if number == signal.SIGTERM else real(number))
    during: list[Any] = []

    def end() -> object:
        during.append(real(signal.SIGTERM))
        return g.NORMAL

    g.run(Ending, end)
    assert during == [handlers[signal.SIGTERM]]


def test_in_another_thread_than_the_main_one_the_signals_are_left_alone(handlers: dict[int, Any]) -> None:
    during: list[Any] = []

    def end() -> object:
        during.append(installed())
        return g.NORMAL

    thread = threading.Thread(target=g.run, args=(Ending, end))
    thread.start()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert during == [handlers]


def send_itself(number: signal.Signals) -> Callable[[], object]:
    def send() -> object:
        os.kill(os.getpid(), number)
        return g.NORMAL

    return send


def test_a_handler_that_another_signal_has_installed_meanwhile_is_kept(handlers: dict[int, Any]) -> None:
    changed = threading.Event()

    def new(number: int, frame: object) -> None:
        raise AssertionError

    def change(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, new)
        changed.set()

    def end() -> object:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert changed.wait(DEADLINE)
        return g.NORMAL

    signal.signal(signal.SIGUSR1, change)
    g.run(Ending, end)
    assert installed() == {**handlers, signal.SIGTERM: new}


# Signals at the edges.


def test_a_signal_before_the_start_stops_the_server() -> None:
    ended: list[object] = []

    class Early(g.GenServer[Any]):
        @classmethod
        def start(cls, *args: Any, **options: Any) -> Any:
            signal.raise_signal(signal.SIGINT)
            return super().start(*args, **options)

        def terminate(self, reason: Any, state: Any) -> None:
            ended.append(reason)

    g.run(Early)
    assert ended == [g.SHUTDOWN]


def test_a_signal_between_the_start_and_the_wait_stops_the_server() -> None:
    ended: list[object] = []

    class Late(g.GenServer[Any]):
        @classmethod
        def start(cls, *args: Any, **options: Any) -> Any:
            pid = super().start(*args, **options)
            signal.raise_signal(signal.SIGINT)
            return pid

        def terminate(self, reason: Any, state: Any) -> None:
            ended.append(reason)

    g.run(Late)
    assert ended == [g.SHUTDOWN]


def test_a_signal_while_the_server_ends_by_itself_changes_nothing() -> None:
    class Last(Ending):
        def terminate(self, reason: Any, state: Any) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    g.run(Last, normally)
    with pytest.raises(RuntimeError, match="failed"):
        g.run(Last, lambda: "failed")


def test_a_signal_that_another_thread_receives_stops_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system chooses the thread; where it is another one, nothing interrupts the main thread's wait."""
    monkeypatch.setattr(mailbox, "SIGNAL_DELAY", 0.01)
    ended: list[object] = []

    class Receiving(g.GenServer[Any]):
        def init(self, init_arg: Any) -> Any:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # inherited from the main thread
            return Ok(init_arg, timeout=0)

        def handle_info(self, message: Any, state: Any) -> Any:
            os.kill(os.getpid(), signal.SIGINT)

        def terminate(self, reason: Any, state: Any) -> None:
            ended.append(reason)

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        g.run(Receiving)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    assert ended == [g.SHUTDOWN]


def test_what_the_handler_of_another_signal_raises_stops_the_server_in_order_and_is_raised(
    handlers: dict[int, Any],
) -> None:
    ended: list[object] = []

    class Living(g.GenServer[Any]):
        def init(self, init_arg: Any) -> Any:
            return Ok(init_arg, continue_=None)

        def handle_continue(self, argument: Any, state: Any) -> Any:
            os.kill(os.getpid(), signal.SIGUSR1)

        def terminate(self, reason: Any, state: Any) -> None:
            ended.append(reason)

    raising = threading.Event()

    class Patient(Living):
        @classmethod
        def start(cls, *args: Any, **options: Any) -> Any:
            pid = super().start(*args, **options)
            raising.set()  # not before: there would be no pid to stop
            return pid

        def handle_continue(self, argument: Any, state: Any) -> Any:
            assert raising.wait(DEADLINE)
            return super().handle_continue(argument, state)

    def hang_up(number: int, frame: object) -> None:
        raise OSError("hung up")

    signal.signal(signal.SIGUSR1, hang_up)
    with pytest.raises(OSError, match="hung up"):
        g.run(Patient)
    assert ended == [g.SHUTDOWN]
    assert installed() == handlers
    assert alive() == []


# Its end.


def test_run_returns_when_its_server_ends_and_raises_what_it_failed_with() -> None:
    g.run(Ending, normally)
    g.run(Ending, lambda: g.Shutdown("done"))
    with pytest.raises(RuntimeError, match="a reason"):
        g.run(Ending, lambda: "a reason")
    error = ValueError("this one")
    with pytest.raises(ValueError, match="this one") as raised:
        g.run(Ending, lambda: error)
    assert raised.value is error


class Sinking(g.GenServer[Any]):
    """Ends as soon as it has started, with `reason`."""

    def init(self, init_arg: Any) -> Any:
        return Ok(init_arg, continue_=None)

    def handle_continue(self, argument: Any, reason: Any) -> Any:
        return Stop(reason)


class Leaving(g.Supervisor):
    def init(self, init_arg: Any) -> Any:
        reason, options = init_arg
        spec = Sinking.child_spec(reason, restart="transient", significant="auto_shutdown" in options)
        return self.children([spec], max_restarts=1, **options)


class Dynamic(g.GenServer[Any]):
    """A server that is linked to a supervisor which gives up."""

    def init(self, init_arg: Any) -> Any:
        return Ok(None, continue_=None)

    def handle_continue(self, argument: Any, state: Any) -> Any:
        supervisor = g.DynamicSupervisor.start_link(max_restarts=0)
        supervisor.start_child((Sinking, "bad"))


@pytest.mark.parametrize(("server", "init_arg"), [(Leaving, ("bad", {})), (Dynamic, None)])
def test_run_raises_when_a_supervisor_gives_up(server: Any, init_arg: Any) -> None:
    with pytest.raises(RuntimeError, match=r"ended with reason SHUTDOWN: .* gives up after more than . restarts"):
        g.run(server, init_arg)
    assert alive() == []


def test_links_and_monitors_of_a_supervisor_that_gives_up_see_shutdown() -> None:
    supervisor = Leaving.start(("bad", {}))
    with watching(supervisor) as reason:
        assert reason() in (g.SHUTDOWN, g.NOPROC)
    assert supervisor.process.reason is g.SHUTDOWN


def test_run_returns_after_an_automatic_shutdown() -> None:
    g.run(Leaving, (g.NORMAL, {"auto_shutdown": "all_significant"}))


def test_the_exit_status_of_a_program_whose_supervisor_gives_up_is_1() -> None:
    code = """
        import gennostr as g
        class Bad(g.GenServer):
            def init(self, init_arg):
                return g.Ok(None, continue_=None)
            def handle_continue(self, argument, state):
                raise ValueError("bad")
        class App(g.Supervisor):
            def init(self, init_arg):
                return self.children([Bad])
        g.run(App)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 1
    assert "gives up after more than 3 restarts" in done.stderr.splitlines()[-1]


def test_run_of_a_server_that_ignores_returns() -> None:
    class Ignoring(g.GenServer[Any]):
        def init(self, init_arg: Any) -> Any:
            return g.IGNORE

    g.run(Ignoring)


# The interpreter's exit.


@pytest.mark.parametrize("late", ["", "import logging"])
def test_a_handler_registered_after_import_gennostr_finds_its_actors_alive(late: str) -> None:
    """`atexit` runs handlers in the reverse order of their registration, and names are imported when first used."""
    lines, err, status = output(
        f"""
        import atexit
        import gennostr
        {late}
        atexit.register(lambda: print("alive" if server.is_alive() else "dead", server.get_state()))
        server = gennostr.GenServer.start("state")
        """,
        prelude="",
    )
    assert (lines, err, status) == (["alive state"], "", 0)


def test_what_is_logged_while_actors_stop_at_exit_reaches_the_log(tmp_path: Path) -> None:
    """`logging` closes its handlers at exit; a file opened with mode "w" then drops what comes later."""
    log = tmp_path / "log"
    _, err, status = output(
        f"""
        import gennostr
        import logging
        logging.basicConfig(filename={str(log)!r}, filemode="w")

        class Server(gennostr.GenServer):
            def terminate(self, reason, state):
                logging.warning("ends: %s", reason)

        Server.start()
        """,
        prelude="",
    )
    assert (err, status) == ("", 0)
    assert log.read_text() == "WARNING:root:ends: SHUTDOWN\n"


def test_a_program_that_starts_no_actor_loads_nothing_at_exit() -> None:
    lines, err, status = output(
        """
        import atexit, sys
        atexit.register(lambda: print(*[name for name in sys.modules if name.startswith("gennostr.")]))
        import gennostr
        """,
        prelude="",
    )
    assert (lines, err, status) == ([""], "", 0)


def test_ctrl_c_while_the_exit_waits_for_an_actor_that_hangs_does_not_wait_for_it_and_stops_the_others() -> None:
    with program("""
        Server.start("well")
        Server.start("terminate")
    """) as running:
        running.expect("ready", "ready", "terminate SHUTDOWN", "hangs")
        running.interrupt()
        out, err, status = running.end()
    assert (out, status) == (["well SHUTDOWN"], 0)
    assert "did not stop in time at the exit of the interpreter and is killed" in err
    assert "Traceback" not in err
