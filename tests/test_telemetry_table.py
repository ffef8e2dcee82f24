"""The table of events in the module's docstring is complete: names, measurements and metadata as emitted."""

import ast
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import gennostr
from gennostr import ChildSpec, GenNostr, GenServer, NoReply, Reply, Supervisor, telemetry
from gennostr.testing import MemoryRelay
from tests.otp.actors import DEADLINE

ENTRY = re.compile(r"^- ``([\w.]+)``: .*?Measurements:\s(.*?)Metadata:\s(.*?)(?=^- |\Z)", re.MULTILINE | re.DOTALL)
SOURCES = sorted(Path(gennostr.__file__).parent.rglob("*.py"))


def keys(text: str) -> set[str]:
    """The names in double backticks outside parentheses."""
    return set(re.findall(r"``(\w+)``", re.sub(r"\([^()]*\)", "", text)))


def table() -> dict[str, tuple[set[str], set[str]]]:
    found = ENTRY.findall(telemetry.__doc__ or "")
    return {name: (keys(measurements), keys(metadata)) for name, measurements, metadata in found}


class Seen:
    """Keeps the keys of each event."""

    def __init__(self) -> None:
        self.shapes: dict[str, set[tuple[frozenset[str], frozenset[str]]]] = {}
        self._emitted = {name: threading.Event() for name in table()}

    def __call__(self, name: str, measurements: Mapping[str, float], metadata: Mapping[str, object]) -> None:
        self.shapes.setdefault(name, set()).add((frozenset(measurements), frozenset(metadata)))
        self._emitted[name].set()

    def wait(self, name: str) -> None:
        assert self._emitted[name].wait(DEADLINE), f"{name} was not emitted"


@pytest.fixture
def seen() -> Iterator[Seen]:
    handler = Seen()
    telemetry.attach(handler)
    yield handler
    telemetry.detach(handler)


class Busy(GenServer[None]):
    """Is busy from a cast until the event that the cast carries."""

    def handle_cast(self, request: threading.Event, state: None) -> None:
        request.wait(DEADLINE)

    def handle_call(self, request: object, from_: gennostr.Request, state: None) -> Reply[None]:
        return Reply(request)

    def handle_info(self, message: object, state: None) -> NoReply[None]:
        return NoReply()


def test_each_event_is_emitted_as_the_table_says(seen: Seen) -> None:
    with Supervisor.start([ChildSpec("busy", Busy.start_link)]) as supervisor:
        (child,) = supervisor.which_children()
        assert isinstance(child.pid, gennostr.Pid)
        child.pid.exit("failure")
        seen.wait("supervisor.restart")
    with Busy.start() as busy:
        go = threading.Event()
        busy.cast(go)
        for _ in range(2 * telemetry.HIGH_WATER):
            busy.send("message")
        go.set()
        busy.call("done")
    with MemoryRelay() as relay, GenNostr.start() as client:
        client.add_relay(relay.url)
        seen.wait("connection.up")
        client.remove_relay(relay.url)
        seen.wait("connection.down")
    for name in table():
        seen.wait(name)
    assert seen.shapes == {
        name: {(frozenset(measurements), frozenset(metadata))} for name, (measurements, metadata) in table().items()
    }


def test_the_table_has_each_name_that_the_source_emits() -> None:
    emitted = {
        argument.value
        for path in SOURCES
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "telemetry.emit"
        for argument in call.args[:1]
        if isinstance(argument, ast.Constant)
    }
    assert len(emitted) >= 7  # those of an end are a variable
    assert emitted <= set(table())
