"""Values that are shown, copied, hashed and pickled, whatever they hold.

The sources: the `copy` and `pickle` modules and the data model's rule for `__hash__` in Python's documentation; the
logging cookbook, "Logging to a single file from multiple processes" (QueueHandler) and "Sending and receiving logging
events across a network" (SocketHandler).
"""

import copy
import dataclasses
import inspect
import json
import logging
import logging.handlers
import pickle
import pickletools
import queue
import sys
import threading
import types
import typing
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pykka
import pytest

import gennostr as g
from gennostr import exceptions
from gennostr.otp.system import Status
from gennostr.testing import ManualClock, Probe
from gennostr.values import MOST_SHOWN, Text, shown
from tests.otp.actors import FATAL, Driven, Gate, Unshowable, dead, fail, log_of, meanwhile, outcome_of, within

CAUGHT = tuple(kind for kind in FATAL if kind is not KeyboardInterrupt)
LARGE = 200_000
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
SHORT = 5 * MOST_SHOWN
"""No text is longer, whatever is in it."""


class Odd(Exception):
    """Is pickled, and cannot be made again: a pitfall of exceptions with an __init__ of their own."""

    def __init__(self, one: object, other: object) -> None:
        super().__init__(one)


class Refusing:
    """Cannot be pickled or copied, and says so by any exception."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error


class Exiting:
    """Can be pickled; unpickling it exits."""

    def __reduce__(self) -> Any:
        return sys.exit, (1,)


class Counting:
    """Counts how often it is pickled."""

    pickled = 0

    def __reduce__(self) -> Any:
        Counting.pickled += 1
        return Counting, ()


def deep(levels: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(levels):
        nested = [nested]
    return nested


def circle() -> list[Any]:
    items: list[Any] = [threading.Lock()]
    items.append((items,))
    return items


def in_itself() -> g.CallExit:
    error = g.CallExit(None)
    error.reason = {"the error": error, "lock": threading.Lock()}
    return error


def chain(length: int) -> g.CallExit:
    error = g.CallExit(threading.Lock())
    for _ in range(length):
        error = g.CallExit([error, threading.Lock()])
    return error


HARD: dict[str, Callable[[], Any]] = {
    "lock": threading.Lock,
    "pid": dead,
    "function": lambda: lambda: None,
    "iterator": lambda: iter(lambda: 0, 1),
    "module": lambda: sys,
    "odd exception": lambda: Odd(1, 2),
    "exception with a lock": lambda: ValueError(threading.Lock()),
    "exits where it is read": Exiting,
    **{f"refuses by {kind.__name__}": partial(Refusing, kind("no")) for kind in CAUGHT},
    "cannot be shown": lambda: Unshowable(RecursionError("no")),
    "deep": lambda: deep(5_000),
    "circle": circle,
    "error in itself": in_itself,
    "chain of errors": lambda: chain(20),
    "long text": lambda: "x" * LARGE,
    "long, with a lock": lambda: [b"x" * LARGE, threading.Lock()],
    "set": lambda: {threading.Lock(), *"ab"},
    "Down": lambda: g.Down(None, dead(), 1),  # type: ignore[arg-type]
}
"""Payloads that cannot be pickled, read, copied or shown, or are large."""

QUICK = ("lock", "pid", "function", "odd exception", "cannot be shown")

KINDS = [kind for kind in vars(exceptions).values() if isinstance(kind, type) and issubclass(kind, g.GenNostrError)]


def made(kind: type[Exception], payload: object) -> Exception:
    """Return an exception in which `payload` stands for each argument."""
    wanted = len(inspect.signature(kind.__init__).parameters) - 1 if inspect.isfunction(kind.__init__) else 1
    return kind(*[payload] * wanted)


# C0, C1, DEL, the escape sequences of a terminal, ends of lines in all their forms, and changes of direction.
CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))]
HOSTILE = "".join(["calm\x1b[2J\x9b31m\u2028\u2029\ud800evil", *CONTROLS])
RELAYS_OWN = [HOSTILE, Text(HOSTILE), {HOSTILE: ValueError(HOSTILE)}, {"wss://a.example/": g.RelayRefused(HOSTILE)}]


@pytest.mark.parametrize("payload", RELAYS_OWN, ids=["text", "unpickled text", "mapping", "nested"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_exception_writes_nothing_to_a_terminal_but_text(kind: type[Exception], payload: object) -> None:
    error = made(kind, payload)
    for each in (error, copy.copy(error), sent(error), g.FetchIncomplete({"wss://b.example/": error})):
        for text in (str(each), repr(each), f"{each}", f"{g.StartError(each)}"):
            assert text.isprintable()
            assert "evil" in text
    assert error.args[0] == payload


@pytest.mark.parametrize("name", ["message", "reason", "url", "failed", "value", "target"])
def test_the_attributes_of_an_exception_keep_the_original_text(name: str) -> None:
    with_it = [made(kind, HOSTILE) for kind in KINDS]
    assert {getattr(error, name) for error in with_it if hasattr(error, name)} == {HOSTILE}


def test_the_text_of_an_exception_is_not_long_when_all_of_it_is_escaped() -> None:
    for kind in KINDS:
        for text in (str(made(kind, "\u202e" * LARGE)), repr(made(kind, "\u202e" * LARGE))):
            assert len(text) < SHORT


def sent(value: Any, protocol: int | None = None) -> Any:
    """Return `value` as another process gets it."""
    return pickle.loads(pickle.dumps(value, protocol))


# Handles: their copies are themselves, and they stay in their process.


@pytest.fixture
def handles() -> Iterator[dict[str, Any]]:
    """One of each kind."""
    with (
        Driven.start() as server,
        g.Registry.start() as registry,
        g.Supervisor.start([]) as supervisor,
        g.DynamicSupervisor.start() as dynamic,
        Probe() as probe,
    ):
        pending = server.send_request(unanswered)
        timer = g.send_after(60, probe.pid, "late")
        yield {
            "pid": server,
            "registry": registry,
            "supervisor": supervisor,
            "dynamic supervisor": dynamic,
            "probe's pid": probe.pid,
            "monitor": g.monitor(server),
            "from_": log_of(server).next(),
            "pending reply": pending,
            "timer": timer,
            "process": server.process,
        }
        g.cancel_timer(timer)


def unanswered(self: Any, from_: Any, state: Any) -> Any:
    self.log.put(from_)
    return g.NoReply()


@dataclasses.dataclass
class Room:
    owner: Any
    tags: list[Any]


def test_a_copy_of_a_handle_is_itself(handles: dict[str, Any]) -> None:
    for name, handle in handles.items():
        assert copy.copy(handle) is handle, name
        assert copy.deepcopy(handle) is handle, name
        assert copy.deepcopy({"tags": [], "owner": (handle,)})["owner"] == (handle,), name
        room = Room(handle, [{handle: 1}])
        assert dataclasses.asdict(room) == {"owner": handle, "tags": [{handle: 1}]}, name


def test_a_handle_says_why_it_is_not_pickled(handles: dict[str, Any]) -> None:
    for handle in handles.values():
        for protocol in PROTOCOLS:
            for value in (handle, [{"owner": handle}]):
                with pytest.raises(TypeError, match="process and has no meaning in another") as caught:
                    pickle.dumps(value, protocol)
                assert type(handle).__name__ in str(caught.value)


def test_a_timer_of_the_manual_clock_is_copied_as_itself() -> None:
    with ManualClock(), Probe() as probe:
        timer = g.send_after(1, probe.pid, "late")
        assert copy.deepcopy([timer]) == [timer]
        with pytest.raises(TypeError, match="has no meaning in another"):
            pickle.dumps(timer)
        g.cancel_timer(timer)


def test_a_via_is_copied_as_itself_and_pickled_if_its_registry_has_a_name() -> None:
    key = object()  # equal to itself alone: a copy of it names nobody
    with g.Registry.start() as registry:
        for name in (g.via(registry, key), g.via("rooms", key, ["value"])):
            assert copy.copy(name) is name
            assert copy.deepcopy([name])[0] is name
        with pytest.raises(TypeError, match="has no meaning in another"):
            pickle.dumps(g.via(registry, "key"))
    assert sent(g.via("rooms", "key")) == g.via("rooms", "key")


def test_a_state_that_holds_handles_is_copied(handles: dict[str, Any]) -> None:
    state = {
        "by name": handles,
        "list": [*handles.values()],
        "messages": [g.Down(handles["monitor"], handles["pid"], 1)],
    }
    assert copy.deepcopy(state) == state


# Exceptions.


@pytest.mark.parametrize("payload", HARD)
def test_an_exception_is_shown_copied_and_pickled_whatever_it_holds(payload: str) -> None:
    for kind in KINDS if payload in QUICK else (g.CallTimeout, g.StartError, g.ChildNotFound, g.FetchIncomplete):
        error = made(kind, HARD[payload]())
        for other in (error, copy.copy(error), copy.deepcopy(error), sent(error)):
            assert type(other) is kind
            assert vars(other).keys() == vars(error).keys(), kind
            assert len(other.args) == len(error.args), kind
            assert 0 < len(str(other)) < SHORT, kind
            assert 0 < len(repr(other)) < SHORT, kind
            assert repr(other).startswith(kind.__name__)


@pytest.mark.parametrize("payload", [None, 1, "text", {"a": [1, (2.0, {b"x"})]}, g.SHUTDOWN, Room(1, [2])], ids=repr)
def test_an_exception_comes_back_as_it_was(payload: Any) -> None:
    for kind in KINDS:
        error = made(kind, payload)
        error.add_note("a note")
        for other in (copy.deepcopy(error), *(sent(error, protocol) for protocol in PROTOCOLS)):
            assert (type(other), vars(other), other.args) == (kind, vars(error), error.args)
            assert (str(other), repr(other)) == (str(error), repr(error))


def test_a_call_timeout_keeps_its_types_and_attributes() -> None:
    server = dead()
    error = g.CallTimeout(server, {"lock": threading.Lock(), "n": 1}, 0.5)
    other = sent(error)
    assert (isinstance(other, TimeoutError), isinstance(other, pykka.Timeout)) == (True, True)
    assert (other.target, other.request["n"], other.timeout) == (repr(server), 1, 0.5)
    assert other.args == (other.target, other.request, other.timeout)
    assert other.args[1] is other.request
    assert str(other) == str(error)
    assert error.errno is None  # an OSError's arguments would be something else


def test_what_can_be_pickled_stays_itself_beside_what_cannot() -> None:
    lock, server = threading.Lock(), dead()
    kept = {"a": [1, {"deep": (2, {3})}], "reason": g.NORMAL, "room": Room(1, [])}
    reason = {"kept": kept, "lock": [lock, "beside"], server: (server, {server, 1}), "again": kept}
    other = sent(g.StartError(reason)).reason
    text = repr(server)
    assert other == {"kept": kept, "lock": [repr(lock), "beside"], text: (text, {text, 1}), "again": kept}
    assert other["kept"]["reason"] is g.NORMAL
    assert other["kept"] is other["again"]
    assert type(other["lock"][0]) is Text


def test_a_clean_end_is_clean_in_another_process() -> None:
    reason = sent(g.CallExit(g.Shutdown(threading.Lock()))).reason
    assert g.is_clean(reason)
    assert "lock" in reason.reason


def test_a_list_that_holds_itself_comes_back_so() -> None:
    items: list[Any] = [1]
    items.append(items)
    error: Any = g.StartError(items)
    for other in (sent(error).reason, copy.deepcopy(error).reason):
        assert other[1] is other
    items.append(threading.Lock())
    other = sent(g.StartError(items)).reason
    assert other[1] is other
    assert "lock" in other[2]


def test_an_exception_of_a_class_that_is_missing_there_comes_as_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("only_here")
    exec("class Own(Exception):\n    pass", vars(module))
    monkeypatch.setitem(sys.modules, "only_here", module)
    data = pickle.dumps(g.CallExit(vars(module)["Own"]("boom"), "target"))
    assert type(pickle.loads(data).reason) is vars(module)["Own"]
    monkeypatch.delitem(sys.modules, "only_here")
    other = pickle.loads(data)
    assert (other.reason, other.target) == ("Own('boom')", "target")


def test_a_deep_copy_shares_what_cannot_be_copied_and_copies_the_rest() -> None:
    lock, server, rest = threading.Lock(), dead(), [1, [2]]
    error: Any = g.CallExit({"lock": lock, "pid": server, "rest": rest}, server)
    other = copy.deepcopy(error)
    assert other is not error
    assert other.target is server
    assert other.reason == error.reason
    assert (other.reason["lock"], other.reason["pid"]) == (lock, server)
    assert other.reason["rest"] is not rest
    assert other.reason["rest"][1] is not rest[1]
    # As in any deep copy, an object that is held twice is copied once.
    twice = copy.deepcopy([error, {"again": error}])
    assert twice[0] is twice[1]["again"]


def test_an_error_that_holds_itself_is_copied_in_its_circle() -> None:
    other: Any = copy.deepcopy(in_itself())
    assert other.reason["the error"] is other


def test_a_long_chain_of_errors_is_pickled_in_a_few_kilobytes() -> None:
    assert len(pickle.dumps(chain(400))) < 100_000


def test_nothing_is_pickled_before_it_is_asked_for() -> None:
    Counting.pickled = 0
    error = g.CallTimeout("target", Counting(), 1.0)
    _ = str(error), repr(error), copy.copy(error)
    assert Counting.pickled == 0


def test_a_large_payload_is_pickled_once() -> None:
    data = pickle.dumps(g.CallTimeout("target", "x" * LARGE, 1.0))
    assert len(data) < 1.1 * LARGE
    data = pickle.dumps(g.CallTimeout("target", [b"x" * LARGE], 1.0))
    assert len(data) < 1.1 * LARGE
    assert sum(1 for opcode, _, _ in pickletools.genops(data) if opcode.name == "STOP") == 1


def test_a_users_subclass_with_arguments_of_its_own_is_pickled() -> None:
    error = Own("one", other="two")
    other = sent(error)
    assert (type(other), vars(other), other.args) == (Own, vars(error), error.args)


class Own(g.CallExit):
    def __init__(self, one: object, *, other: object) -> None:
        super().__init__((one, other), "target")
        self.other = other


# Ctrl-C does not come from a repr.


def test_ctrl_c_during_a_repr_is_not_swallowed() -> None:
    error = g.StartError(Unshowable(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        str(error)
    with pytest.raises(KeyboardInterrupt):
        pickle.dumps(g.StartError(Refusing(KeyboardInterrupt())))
    with pytest.raises(KeyboardInterrupt):
        copy.deepcopy(g.StartError(Refusing(KeyboardInterrupt())))


def test_in_another_thread_a_keyboard_interrupt_is_the_reprs_own() -> None:
    with meanwhile(lambda: str(g.StartError(Unshowable(KeyboardInterrupt())))) as outcome:
        assert "Unshowable, whose repr raised KeyboardInterrupt" in outcome()


# Calls that end with the actor.


def test_an_ask_that_is_queued_when_the_actor_stops_is_pykkas_error() -> None:
    with Gate() as gate:
        server = Driven.start()
        server.cast(lambda self, state: gate.wait(g.Stop()))
        gate.reached()
        future = server.ask("queued", block=False)
        gate.open()
        error = outcome_of(lambda: future.get(timeout=5))
    assert isinstance(error, g.CallExit)
    assert isinstance(error, pykka.ActorDeadError)


# The crash report.


class Boom(Exception):
    """Refuses to be pickled and shown."""

    def __init__(self) -> None:
        super().__init__(threading.Lock(), lambda: None)


@pytest.fixture
def crash(caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    """The record of a crash in which nothing can be pickled."""
    server = Driven.start({"lock": threading.Lock(), 1: (2, [3])})

    def boom(self: Any, from_: Any, state: Any) -> Any:
        state["self"] = self
        raise Boom

    with pytest.raises(g.CallExit):
        server.call(boom)
    (record,) = (each for each in caplog.records if hasattr(each, "crash_report"))
    return record


def arrives(record: logging.LogRecord) -> None:
    """Check a crash's record in another process."""
    report: Any = record.__dict__["crash_report"]
    assert [type(report)] == [g.CrashReport]
    assert "crashed in handle_call: Boom(" in record.getMessage()
    assert "Traceback" in record.getMessage()
    assert (report.callback, report.caller, report.ancestors) == ("handle_call", None, ())
    assert report.pid.startswith("<Pid Driven#")
    assert report.reason.startswith("Boom(")
    assert report.state[1] == (2, [3])
    assert "lock" in report.state["lock"]
    assert str(report) in record.getMessage()


def test_a_crashs_record_goes_through_a_queue_handler(crash: logging.LogRecord) -> None:
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    logging.handlers.QueueHandler(waiting).emit(crash)
    arrives(sent(waiting.get()))  # what a queue of multiprocessing does


def test_a_crashs_record_goes_through_a_socket_handler(crash: logging.LogRecord) -> None:
    data = logging.handlers.SocketHandler("localhost", 1).makePickle(crash)
    record = logging.makeLogRecord(pickle.loads(data[4:]))
    record.msg = logging.Formatter().format(record)  # as a QueueHandler sends it
    arrives(record)


def taken_apart(value: Any) -> Any:
    """What formatters do that take dataclasses apart, such as python-json-logger."""
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else str(value)


@pytest.mark.parametrize("default", [str, repr, taken_apart])
def test_a_crashs_record_is_written_as_json(crash: logging.LogRecord, default: Any) -> None:
    written = json.loads(json.dumps(crash.__dict__, default=default))
    assert "crashed in handle_call" in written["crash_report"] or "callback='handle_call'" in written["crash_report"]
    assert "Boom" in written["crash_report"]


def test_a_report_is_copied_and_hashed_and_does_not_change(crash: logging.LogRecord) -> None:
    report = crash.__dict__["crash_report"]
    for other in (copy.copy(report), copy.deepcopy(report)):
        assert other.pid is report.pid
        assert str(other) == str(report)
        assert (other.reason, other.state["lock"]) == (report.reason, report.state["lock"])
    assert copy.copy(report) == report
    assert len({report, copy.copy(report)}) == 1
    assert report != str(report)
    with pytest.raises(AttributeError):
        report.state = None
    with pytest.raises(AttributeError):
        del report.state


def test_the_types_of_a_reports_fields_can_be_looked_up() -> None:
    hints = typing.get_type_hints(g.CrashReport)
    assert hints["pid"] is g.Pid
    assert set(hints) == set(inspect.signature(g.CrashReport).parameters)


@pytest.mark.parametrize("text", ["x" * LARGE, "line\n" * 100_000])
def test_a_long_text_of_an_exception_is_cut_in_the_record(text: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(g.CallExit):
        Driven.start().call(lambda self, from_, state: fail(ValueError(text)))
    (record,) = (each for each in caplog.records if hasattr(each, "crash_report"))
    assert "ValueError" in str(record.exc_text)
    assert len(logging.Formatter().format(record)) < 400_000
    assert record.__dict__["crash_report"].reason.args == (text,)


# Texts.


def broken_and_long() -> list[Any]:
    return [*(Unshowable(kind("in repr")) for kind in CAUGHT), "x" * LARGE, [b"x" * LARGE]]


TEXTS: dict[str, Callable[[Any], Any]] = {
    "Exit": lambda value: g.Exit(None, value),
    "Down": lambda value: g.Down(None, value, value),  # type: ignore[arg-type]
    "Registered": lambda value: g.Registered(value, value, None, value),  # type: ignore[arg-type]
    "Unregistered": lambda value: g.Unregistered(value, value, None),  # type: ignore[arg-type]
    "Shutdown": g.Shutdown,
    "Ok": lambda value: g.Ok(value, continue_=value),
    "NoReply": g.NoReply,
    "Reply": lambda value: g.Reply(value, value),
    "Stop": lambda value: g.Stop(value, value, reply=value),
    "ChildSpec": lambda value: g.ChildSpec(0 if isinstance(value, list) else value, start=lambda: value),
    "via": lambda value: g.via("rooms", 0 if isinstance(value, list) else value, value),
    "CrashReport": lambda value: g.CrashReport(value, "init", value, value, value, value, (value,)),
    "PendingReply": lambda value: dead().send_request(value),
    "Shown": lambda value: [shown(value)],
}


@pytest.mark.parametrize("kind", TEXTS)
def test_messages_outcomes_and_handles_have_a_text_whatever_they_hold(kind: str) -> None:
    for value in broken_and_long():
        subject = TEXTS[kind](value)
        for text in (repr(subject), str(subject)):
            assert 0 < len(text) < 2 * SHORT


def test_handles_of_actors_have_a_text_whatever_their_names_and_states_are() -> None:
    for value in broken_and_long():
        name = g.via("rooms", 0 if isinstance(value, list) else value)
        with g.Registry.start("rooms"), Driven.start(value, name) as server:
            subjects = [server, g.tree(server), server.get_status(), g.NoProcess(name), server.process]
            subjects.append(within(server, lambda self: self.pid))
            for subject in subjects:
                assert 0 < len(repr(subject)) < SHORT
                assert 0 < len(str(subject)) < SHORT


def wrong_values(value: Any) -> list[Callable[[], Any]]:
    spec: dict[str, Any] = {"id": 0, "start": Driven.start}
    return [
        *(
            lambda field=field: g.ChildSpec(**spec | {field: value})
            for field in ("start", "restart", "shutdown", "type", "significant")
        ),
        lambda: g.ChildSpec([value], Driven.start),
        lambda: g.Supervisor.start([value]),
        lambda: g.Ok(timeout=value),
        lambda: g.send_after(value, "nobody", 0),
        lambda: g.whereis([value]),  # type: ignore[arg-type]
        lambda: g.via([value], 0),  # type: ignore[arg-type]
        lambda: g.cast([value], 0),  # type: ignore[arg-type]
        lambda: g.reply(value, 0),
        lambda: g.demonitor(value),
        lambda: Driven.start(timeout=value),
        lambda: g.telemetry.attach([value]),  # type: ignore[arg-type]
    ]


def test_an_argument_that_is_wrong_is_named_whatever_it_is() -> None:
    for value in broken_and_long():
        for wrong in wrong_values(value):
            error = outcome_of(wrong)
            assert isinstance(error, TypeError | ValueError), wrong
            assert len(str(error)) < SHORT


# Values that do not change have a hash, and equal ones have the same (data model, `object.__hash__`).


class NoHash:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self) -> Any:
        return g.IGNORE


NO_HASH = NoHash()
UNHASHABLE: Any = [{"no": "hash"}]
FROZEN: dict[str, Callable[[], Any]] = {
    "Exit": lambda: g.Exit(None, UNHASHABLE),
    "Down": lambda: g.Down(None, "name", UNHASHABLE),  # type: ignore[arg-type]
    "Registered": lambda: g.Registered("rooms", "key", None, UNHASHABLE),  # type: ignore[arg-type]
    "Unregistered": lambda: g.Unregistered("rooms", "key", None),  # type: ignore[arg-type]
    "Shutdown": lambda: g.Shutdown(UNHASHABLE),
    "via": lambda: g.via("rooms", "key", UNHASHABLE),
    "ChildSpec": lambda: g.ChildSpec("id", NO_HASH),
    "CrashReport": lambda: g.CrashReport(None, "init", UNHASHABLE, None, UNHASHABLE, UNHASHABLE, ()),  # type: ignore[arg-type]
    "Node": lambda: g.Node("name", None, "running", children=(g.Node("other", None, "dead"),)),
    "Status": lambda: Status("name", "running", UNHASHABLE, 0, (), UNHASHABLE, UNHASHABLE),
}


@pytest.mark.parametrize("kind", FROZEN)
def test_equal_values_are_one_in_a_set_whatever_they_hold(kind: str) -> None:
    one, other = FROZEN[kind](), FROZEN[kind]()
    assert one == other
    assert hash(one) == hash(other)
    assert len({one, other}) == 1
