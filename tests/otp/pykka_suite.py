"""pykka's own test suite, run on a GenServer in place of its ThreadingActor.

::

    python -m tests.otp.pykka_suite                             # needs PyPI
    python -m tests.otp.pykka_suite --sdist pykka-4.5.0.tar.gz  # needs it for pytest-mock, unless that is installed
    python -m tests.otp.pykka_suite -- -rx -k registry          # what follows "--" is pytest's; -rx shows the reasons

The ordinary suite leaves it out, because it downloads: pip fetches pykka's sdist, which has the tests, and pytest-mock,
which they use, into a temporary folder.

This file plays two parts. Run as above, it prepares the folder and starts pytest there. That pytest loads it as a
plugin, which replaces the fixture ``runtime``, so that pykka's tests build their actors on `PykkaActor`, and expects
the tests in `DIFFERENCES` to fail. The exit status is pytest's: 0 if no other test fails. Differences that no longer
exist are named at the end; remove them.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Generator, Sequence
from functools import partialmethod
from pathlib import Path
from typing import Any, Final, NamedTuple

import pykka
import pytest

from gennostr import CallExit, GenServer, NoReply, Ok, Reply

VERSION: Final = "4.5.0"
"""The release of pykka that `DIFFERENCES` is about: its tests run on its own sources, whichever is installed."""

TIMEOUT: Final = 300.0
"""Seconds for the whole run, which takes about 20."""


class Difference(NamedTuple):
    """Why a test of pykka's fails."""

    reason: str
    always: bool = True
    """False where the outcome depends on which of two threads comes first."""


PID = Difference(
    "A pid is shown as Erlang shows one: by a short number and its registered name, the same in every log line and "
    "error. pykka shows the word ActorRef, or its class and URN; `actor_urn` has the URN."
)
CRASH_REPORT = Difference(
    "A server that crashes logs one crash report, as gen_server does: the callback, message, state and reason of its "
    "end. pykka logs its own sentence for each exception, so a failure of on_failure is a second record there."
)
FATAL = Difference(
    "What a callback raises, whatever it is, is the exit reason of that server alone, and is logged as a crash. pykka "
    "takes what is not an Exception as a request to stop all actors, and logs that at DEBUG."
)
SEND = Difference("Sending to a dead process does nothing, as `!` does: it may die at any moment anyway. pykka raises.")
TERMINATING = Difference(
    "A server is alive, and listed, until terminate has run: a process that gets its Down finds its work done. pykka "
    "marks an actor as stopped before on_stop and on_failure, and the test looks while they run.",
    always=False,
)
STOPPING = Difference(
    "As in gen_server:stop/1, stopping a server that is ending for another reason raises that reason. pykka's stop "
    "returns a bool; the fixture calls it at the end while on_failure runs.",
    always=False,
)

DIFFERENCES: Final[dict[str, Difference]] = {
    "proxy/test_proxy.py::test_repr_contains_actor_urn": PID,
    "proxy/test_proxy.py::test_str_contains_actor_urn": PID,
    "proxy/test_static_method_calls.py::test_call_to_unknown_method_raises_attribute_error": PID,
    "proxy/test_static_method_calls.py::test_deferred_call_to_unknown_method_raises_attribute_error": PID,
    "test_logging.py::test_unexpected_messages_are_logged": PID,
    "test_ref.py::test_repr_contains_actor_urn": PID,
    "test_ref.py::test_repr_reveals_that_this_is_a_ref": PID,
    "test_ref.py::test_str_contains_actor_urn": PID,
    "test_logging.py::test_exception_in_on_failure_is_logged": CRASH_REPORT,
    "test_logging.py::test_exception_in_on_start_is_logged": CRASH_REPORT,
    "test_logging.py::test_exception_in_on_stop_is_logged": CRASH_REPORT,
    "test_logging.py::test_exception_is_logged_when_not_reply_requested": CRASH_REPORT,
    "test_logging.py::test_base_exception_is_logged": FATAL,
    "test_ref.py::test_tell_fails_if_actor_is_stopped": SEND,
    "test_actor.py::test_actor_is_stopped_when_unhandled_exceptions_are_raised": TERMINATING,
    "test_actor.py::test_all_actors_are_stopped_on_base_exception": TERMINATING,
    "test_actor.py::test_on_failure_failure_causes_actor_to_stop": TERMINATING,
    "test_actor.py::test_on_stop_failure_causes_actor_to_stop": TERMINATING,
    "test_actor.py::test_on_failure_is_called_when_exception_cannot_be_returned": STOPPING,
}


class PykkaActor(GenServer[None]):
    """A pykka actor as a GenServer: pykka's callbacks are called where OTP has their counterparts."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> Any:
        """Start it as pykka does, with the arguments of ``__init__``.

        A GenServer's argument goes to `init`, and ``__init__`` has none: those given here are bound to the class.
        """
        bound: Any = type(cls.__name__, (cls,), {"__init__": partialmethod(cls.__init__, *args, **kwargs)})
        return super(PykkaActor, bound).start()

    # pykka's start does not wait for on_start, which comes before any message: that is OTP's continue.
    def init(self, init_arg: object) -> Ok[None]:
        return Ok(None, continue_=None)

    def handle_continue(self, argument: object, state: None) -> None:
        self.on_start()

    def handle_call(self, request: object, from_: object, state: None) -> Reply[None]:
        return Reply(self.on_receive(request))

    def handle_info(self, message: object, state: None) -> NoReply[None]:
        self.on_receive(message)
        return NoReply()

    def terminate(self, reason: object, state: None) -> None:
        if isinstance(reason, Exception):
            self.on_failure(type(reason), reason, reason.__traceback__)
        else:
            self.on_stop()


# The plugin.

_collected: Final[set[str]] = set()
_differed: Final[set[str]] = set()


def _name(nodeid: str) -> str:
    """Return the key in `DIFFERENCES` of a test: without its parameters, relative to pykka's tests."""
    return nodeid.partition("[")[0].removeprefix("tests/")


def pytest_plugin_registered(plugin: Any) -> None:
    """Replace the fixture in pykka's conftest, before pytest collects the fixtures there."""
    if getattr(plugin, "__name__", None) != "tests.conftest":
        return

    @pytest.fixture(scope="session")
    def runtime() -> Any:
        return plugin.Runtime(
            name="gennostr",
            actor_class=PykkaActor,
            event_class=threading.Event,
            future_class=pykka.ThreadingFuture,
            sleep_func=time.sleep,
        )

    plugin.runtime = runtime


def pytest_itemcollected(item: pytest.Item) -> None:
    name = _name(item.nodeid)
    _collected.add(name)
    if name in DIFFERENCES:
        item.add_marker(pytest.mark.xfail(reason=DIFFERENCES[name].reason, strict=False))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Note what differs. A teardown may fail only as `STOPPING` says: xfail alone would forgive it anything."""
    report = yield
    if hasattr(report, "wasxfail") and report.skipped:
        if call.when == "teardown" and call.excinfo is not None and not isinstance(call.excinfo.value, CallExit):
            report.outcome = "failed"
            del report.wasxfail
        else:
            _differed.add(_name(item.nodeid))
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    known = DIFFERENCES.keys() & _collected
    terminalreporter.section("differences from pykka")
    terminalreporter.line(f"{len(_differed)} of {len(known)} tests failed that may; {len(DIFFERENCES)} are listed")
    for name in sorted(known - _differed):
        if DIFFERENCES[name].always:
            terminalreporter.line(f"may be removed from the list, for it passes: {name}")


# The command.


def _pip(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *arguments], check=True, timeout=TIMEOUT)


def _run(folder: Path, sdist: Path | None, arguments: Sequence[str]) -> int:
    """Prepare `folder` and run pytest in it; return its exit status."""
    if sdist is None:
        _pip("download", "--no-deps", "--no-binary", ":all:", "--dest", folder, f"pykka=={VERSION}")
        sdist = folder / f"pykka-{VERSION}.tar.gz"
    packages = folder / "packages"
    if importlib.util.find_spec("pytest_mock") is None:
        _pip("install", "--no-deps", "--target", packages, "pytest-mock")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    root = folder / f"pykka-{VERSION}"
    here = Path(__file__).resolve()
    # pykka's tests are a package named "tests", as ours: this file goes by another name there.
    paths = [root / "src", packages, here.parents[2], here.parent]
    plugins = ["-p", "pytest_mock", "-p", here.stem, "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "--rootdir", ".", *plugins, "-o", "faulthandler_timeout=60", "tests"]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "",
    }
    return subprocess.run([*command, *arguments], cwd=root, env=environment, check=False, timeout=TIMEOUT).returncode


def main() -> int:
    summary, _, _ = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(prog="python -m tests.otp.pykka_suite", description=summary)
    parser.add_argument("--sdist", type=Path, help=f"pykka-{VERSION}.tar.gz, if you have it")
    parser.add_argument("arguments", nargs="*", metavar="-- ARGUMENT", help="for pytest")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return _run(Path(folder), options.sdist, options.arguments)


if __name__ == "__main__":
    sys.exit(main())
