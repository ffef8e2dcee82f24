"""The fixtures, in test files of their own: pytest is run on these as a user runs it."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

HEAD = """
import threading, pytest
import gennostr as g
from gennostr import *

class Server(GenServer):
    trap_exit = True

    def init(self, arg):
        return Ok(arg)

    def handle_cast(self, request, state):
        raise ValueError(request)

    def terminate(self, reason, state):
        print("terminated", state)
"""


def pytest_says(directory: Path, *options: str, autoload: bool = False) -> tuple[str, int]:
    """Return what pytest says of a directory's test files, and its status.

    Our plugin is loaded by its name, and no other: Hypothesis' alone takes two seconds. That pytest finds ours by
    itself is a test of its own.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-s", *options]
    environment = dict(os.environ)
    if not autoload:
        command += ["-p", "gennostr.testing.pytest_plugin"]
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr, done.returncode


def run(directory: Path, text: str, *options: str) -> tuple[str, int]:
    """Return what pytest says of a test file, and its status."""
    (directory / "test_it.py").write_text(HEAD + textwrap.dedent(text))
    return pytest_says(directory, *options)


def test_supervised_servers_are_stopped_in_reverse_and_an_expected_crash_fails_nothing(tmp_path: Path) -> None:
    said, status = run(
        tmp_path,
        """
        def test_stop(start_supervised, no_leaks):
            for number in range(3):
                assert start_supervised(Server, number).get_state() == number

        def test_crash(start_supervised):
            server = start_supervised(Server, "crashing", restart="temporary")
            server.cast("boom")
            report = start_supervised.expect_crash(ValueError)
            assert report.message == "boom" and report.pid is server
            with pytest.raises(AssertionError, match="no server crashed"):
                start_supervised.expect_crash(timeout=0.01)
        """,
    )
    assert status == 0, said
    assert said.index("terminated 2") < said.index("terminated 1") < said.index("terminated 0")


def test_a_crash_that_nobody_expected_fails_the_test_with_its_report(tmp_path: Path) -> None:
    said, status = run(
        tmp_path,
        """
        def test_crash(start_supervised):
            server = start_supervised(Server)
            with pytest.raises(CallExit):
                server.cast("the reason")
                server.call(1)

        def test_a_crash_of_what_it_started(start_supervised):
            class Parent(GenServer):
                def init(self, arg):
                    return Ok(Server.start_link())
            parent = start_supervised(Parent, restart="temporary")
            parent.get_state().cast("below")
            with pytest.raises(AssertionError, match="TypeError"):
                start_supervised.expect_crash(TypeError)

        def test_no_start(start_supervised):
            with pytest.raises(TypeError, match="neither an argument"):
                start_supervised(Server.child_spec(1), 2)
            with pytest.raises(StartError):
                start_supervised(Server, name=3)
        """,
    )
    assert status == 1, said
    assert "which the test did not expect" in said
    assert "crashed in handle_cast: ValueError('the reason')" in said
    assert "crashed in handle_cast: ValueError('below')" in said
    assert "Traceback" in said


def test_probe_clock_and_relay_come_ready(tmp_path: Path) -> None:
    said, status = run(
        tmp_path,
        """
        class Feed(GenNostr):
            def init(self, url):
                self.add_relay(url)

            def handle_connect(self, relay, state):
                self.send_message(["REQ", "feed", {"kinds": [1]}], relay)

        def test_all(no_leaks, probe, manual_clock, fake_relay, start_supervised):
            feed = start_supervised(Feed, fake_relay.url)
            connection = fake_relay.accept()
            assert connection.expect_req().filters == [{"kinds": [1]}]
            connection.drop()
            manual_clock.advance(1)
            assert fake_relay.accept().expect_req().subscription_id == "feed"
            probe.monitor(feed)
            feed.exit(KILL)
            probe.expect_down(feed, KILLED)
        """,
    )
    assert status == 0, said


def test_what_is_left_behind_is_told(tmp_path: Path) -> None:
    said, status = run(
        tmp_path,
        """
        import gennostr.testing.leaks as leaks
        leaks.check.__defaults__ = (0.1,)

        def test_leak(no_leaks):
            Server.start("left")
        """,
    )
    assert status == 1, said
    assert "left behind" in said
    assert "Server" in said


def test_pytest_finds_the_plugin_which_imports_nothing_until_a_fixture_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\ndef test_it(): print(sorted(n for n in sys.modules if 'gennostr' in n))"
    )
    said, status = pytest_says(tmp_path, "-p", "no:hypothesispytest", autoload=True)
    assert status == 0, said
    assert "'gennostr', 'gennostr.testing', 'gennostr.testing.pytest_plugin']" in said


FIXTURES = ("probe", "manual_clock", "fake_relay", "no_leaks", "start_supervised")
ACTORS_OF_THE_EXAMPLES = """
import gennostr
from gennostr import GenNostr, GenServer, Ok, Reply

class Greeter(GenServer):
    def handle_info(self, message, state):
        match message:
            case "greet", pid:
                pid.send("hello")

class Feed(GenNostr):
    def init(self, url):
        self.add_relay(url)
        self.subscribe({"kinds": [1]})
        return Ok(0)

    def handle_event(self, message, relay, count):
        return Ok(count + 1)

class Counter(GenServer):
    def init(self, start):
        return Ok(start)

    def handle_call(self, request, from_, count):
        return Reply(count + 1, count + 1)

    def handle_cast(self, request, count):
        raise ValueError(request)
"""


def test_each_fixture_says_what_it_is_with_an_example_that_runs(tmp_path: Path) -> None:
    said, _ = run(tmp_path, "", "--fixtures", "-vv")
    examples = ""
    for fixture in FIXTURES:
        _, found, rest = said.partition(f"\n{fixture} ")
        assert found, fixture
        text = re.split(r"\n(?! |\n)", rest)[0]
        examples += textwrap.dedent(re.sub(r"^ {0,7}\S.*$", "", text.partition("\n")[2], flags=re.MULTILINE))
    assert examples.count("def test_") == 7, examples
    (tmp_path / "test_it.py").write_text(ACTORS_OF_THE_EXAMPLES + examples)
    said, status = pytest_says(tmp_path)
    assert status == 0, said
    assert "7 passed" in said
