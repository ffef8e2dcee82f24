"""All names on a server's class and on self are its author's, but for the public ones and pykka's."""

import io
import queue
import random
import string
import tokenize
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

import gennostr
from gennostr import DynamicSupervisor, GenNostr, GenServer, NoReply, Ok, Reply, Stop, Supervisor, tree
from gennostr.otp.callbacks import PYKKAS
from gennostr.testing import MemoryRelay, Probe

WAIT = 10.0
CHUNK = 12
"""Names that a client and a supervisor have at once: a start of these takes a thread each for three to five actors."""


def private_names() -> list[str]:
    """Every identifier with a leading underscore in the library's own source, and 200 random ones."""
    names: set[str] = set()
    for path in Path(gennostr.__file__).parent.rglob("*.py"):
        for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
            if token.type == tokenize.NAME and token.string.startswith("_") and not token.string.endswith("__"):
                names.add(token.string)
    chance = random.Random(15)
    names |= {"_" * chance.randrange(3) + "".join(chance.choices(string.ascii_lowercase, k=8)) for _ in range(200)}
    return sorted(names - PYKKAS)


NAMES = private_names()


def intrude(*_arguments: object, **_keywords: object) -> Any:
    raise AssertionError("the library called a method of its user's")


def in_init(names: Iterable[str]) -> dict[str, Any]:
    return {"chosen": tuple(names)}


def on_the_class(names: Iterable[str]) -> dict[str, Any]:
    return dict.fromkeys(names, 42)


def as_methods(names: Iterable[str]) -> dict[str, Any]:
    return dict.fromkeys(names, intrude)


WAYS: list[Callable[[Iterable[str]], dict[str, Any]]] = [in_init, on_the_class, as_methods]


class Server(GenServer[int]):
    chosen: tuple[str, ...] = ()

    def init(self, start: int) -> Any:
        for name in self.chosen:
            setattr(self, name, {"my": "own"})
        return Ok(start, continue_=1)

    def handle_continue(self, number: int, state: int) -> Any:
        return NoReply(state + number, timeout=60)

    def handle_call(self, request: Any, from_: Any, state: int) -> Any:
        return Reply((request, state, all(getattr(self, name) == {"my": "own"} for name in self.chosen)))

    def handle_cast(self, number: int, state: int) -> Any:
        return NoReply(state + number)

    def handle_info(self, message: Any, state: int) -> Any:
        return Stop(reply=message) if message is None else NoReply(state * message)


@pytest.mark.parametrize("way", WAYS)
def test_a_server_and_a_probe_s_counterpart(way: Callable[[Iterable[str]], dict[str, Any]]) -> None:
    with Probe() as probe:
        for name in NAMES:
            cls: type[Server] = type("Mine", (Server,), way([name]))
            server = cls.start_link(1)
            server.cast(3)
            server.send(2)
            assert server.call("x") == ("x", 10, True), name
            assert str(tree(server)).startswith("Mine#"), name
            server.suspend()
            server.resume()
            assert (server.get_state(), server.get_status().status) == (10, "running"), name
            assert server.statistics().messages_in == 4, name  # a continue counts
            server.stop()
            probe.expect_exit(server)


class Family(Supervisor):
    chosen: tuple[str, ...] = ()

    def init(self, _: Any) -> Any:
        for name in self.chosen:
            setattr(self, name, {"my": "own"})
        return self.children([(Server, 1), DynamicSupervisor], strategy="one_for_all")


def chunks() -> Iterable[list[str]]:
    names = iter(NAMES)
    while chunk := list(islice(names, CHUNK)):
        yield chunk


@pytest.mark.parametrize("way", WAYS)
def test_a_supervisor(way: Callable[[Iterable[str]], dict[str, Any]]) -> None:
    for names in chunks():
        cls: type[Family] = type("Mine", (Family,), way(names))
        with cls.start() as family, Probe() as probe:
            pool, server = (each.pid for each in family.which_children())
            assert isinstance(server, gennostr.Pid)
            probe.monitor(server)
            server.exit("crash")
            probe.expect_down(server, "crash")
            assert family.count_children().active == 2
            assert pool not in [each.pid for each in family.which_children()]
            family.terminate_child(Server)
            family.delete_child(Server)
            assert [each.id for each in family.which_children()] == [DynamicSupervisor]


class Feed(GenNostr[int]):
    chosen: tuple[str, ...] = ()
    deduplicate = True

    def init(self, argument: tuple[str, "queue.SimpleQueue[Any]"]) -> Any:
        for name in self.chosen:
            setattr(self, name, {"my": "own"})
        url, self.said = argument
        self.add_relay(url)
        self.subscribe({"kinds": [1]}, "notes")
        return Ok(0)

    def handle_connect(self, relay: Any, state: int) -> None:
        self.said.put("connect")

    def handle_event(self, message: Any, relay: Any, state: int) -> Any:
        self.said.put(message.event.content)
        return Ok(state + 1)

    def handle_eose_all(self, id_: str, state: int) -> None:
        self.said.put(id_)

    def handle_disconnect(self, reason: Any, relay: Any, state: int) -> None:
        self.said.put(reason)

    def handle_call(self, request: Any, from_: Any, state: int) -> Any:
        return Reply((state, self.list_relays()))


@pytest.mark.parametrize("way", WAYS)
def test_a_client(way: Callable[[Iterable[str]], dict[str, Any]]) -> None:
    with MemoryRelay() as relay:
        relay.store(kind=1, content="stored")
        for names in chunks():
            said: queue.SimpleQueue[Any] = queue.SimpleQueue()
            cls: type[Feed] = type("Mine", (Feed,), way(names))
            with cls.start((relay.url, said)) as feed:
                assert [said.get(timeout=WAIT) for _ in range(3)] == ["connect", "stored", "notes"]
                assert feed.call("x") == (1, [relay.url])
                assert feed.count({"kinds": [1]}).result(WAIT).count == 1
                feed.remove_relay(relay.url)
                assert said.get(timeout=WAIT) is gennostr.REMOVE_RELAY
