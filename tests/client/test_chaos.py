"""Supervision under fire: relays that flap, users in many threads, and a killer, all at once.

Each round has a seed, which it prints. GENNOSTR_CHAOS_SEED gives the first round's (the next have the numbers that
follow), GENNOSTR_CHAOS_ROUNDS the number of rounds. A seed repeats which thread does what; when, the threads decide.
"""

import gc
import logging
import os
import random
import secrets
import select
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from queue import SimpleQueue
from typing import Any, Final, Self

import pytest

from gennostr import (
    KILL,
    KILLED,
    NORMAL,
    REMOVE_RELAY,
    SHUTDOWN,
    CallExit,
    CallTimeout,
    Close,
    GenNostr,
    GenServer,
    NoProcess,
    Ok,
    Overflow,
    Pid,
    Relay,
    RelayNotFound,
    Reply,
    StartError,
    Supervisor,
    telemetry,
    tree,
)
from gennostr.client import connection as connection_module
from gennostr.client.connection import Connection, Tick
from gennostr.client.connection_events import Removed
from gennostr.client.dispatch import ClientEngine
from gennostr.client.functions import GenNostrPid
from gennostr.exceptions import CallError
from gennostr.otp.child import StartChild
from gennostr.otp.process import Process, abandoned, current_process
from gennostr.otp.timers import send_after
from gennostr.testing.fake_relay import FakeRelay
from gennostr.testing.memory_relay import MemoryRelay
from gennostr.testing.relay_socket import CLOSE, TEXT, RelaySocket, encode_frame, listener
from tests.client.recorder import FAST, Recorder, Recording
from tests.client.test_tree import actors, await_death

ROUNDS: Final = int(os.environ.get("GENNOSTR_CHAOS_ROUNDS", "3"))
SEED: Final = os.environ.get("GENNOSTR_CHAOS_SEED")
STORM: Final = 1.2
"""Seconds that a round's storm lasts."""
PATIENCE: Final = 20.0
"""Seconds until all must be at rest again."""
OPTIONS: Final[dict[str, Any]] = {
    "reconnect": [0.01, 0.03],
    "connect_timeout": 0.5,
    "ping_interval": 0.4,
    "ping_timeout": 0.4,
    "close_timeout": 0.1,
}


class Flapping(threading.Thread):
    """A relay with moods: it echoes, and does all the rest that relays do until `calm` is called."""

    MOODS = ("echo", "echo", "echo", "refuse", "reset", "mute", "garbage", "close", "drop", "deaf")

    def __init__(self, seed: int) -> None:
        super().__init__(name=f"relay {seed}", daemon=True)
        self._random = random.Random(seed)
        self._listener: socket.socket | None = listener(None)
        self._port: int = self._listener.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self._port}/"
        self._moods: dict[RelaySocket, str] = {}
        self._wake, self._woken = socket.socketpair()
        self._calm = self._over = False
        self.start()

    def calm(self) -> None:
        """Do nothing but echo from now on."""
        self._calm = True
        self._wake.send(b"x")

    def stop(self) -> None:
        self._over = True
        self._wake.send(b"x")
        self.join(PATIENCE)
        for sock in (self._wake, self._woken):
            sock.close()

    def run(self) -> None:
        while not self._over:
            self._turn()
        for peer in self._moods:
            peer.disconnect()
        if self._listener is not None:
            self._listener.close()

    def _turn(self) -> None:
        watched = {self._woken.fileno(): None} | {
            peer.sock.fileno(): peer for peer, mood in self._moods.items() if mood != "deaf"
        }
        poll = select.poll()
        for descriptor in watched:
            poll.register(descriptor, select.POLLIN)
        if self._listener is not None:
            poll.register(self._listener, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(None if self._calm else 10)}
        if self._woken.fileno() in ready:
            self._woken.recv(100)
        if self._listener is not None and self._listener.fileno() in ready:
            self._accept(self._listener)
        for descriptor, peer in watched.items():
            if descriptor in ready and peer is not None:
                self._serve(peer)
        if self._calm:
            for peer in [each for each, mood in self._moods.items() if mood != "echo"]:
                peer.reset()
            if self._listener is None:
                self._listener = listener(self._port)
        else:
            self._whim()
        self._moods = {peer: mood for peer, mood in self._moods.items() if peer.end is None}

    def _accept(self, listening: socket.socket) -> None:
        try:
            accepted, _ = listening.accept()
        except OSError:  # the client has given up
            return
        self._moods[RelaySocket(accepted)] = "echo" if self._calm else self._random.choice(self.MOODS)

    def _whim(self) -> None:
        """Now and then, whatever the clients do: end a connection, or stop listening for a while."""
        if self._moods and self._random.random() < 0.1:
            self._random.choice([RelaySocket.reset, RelaySocket.disconnect])(self._random.choice(list(self._moods)))
        if self._random.random() < 0.05:
            if self._listener is None:
                self._listener = listener(self._port)
            else:
                self._listener.close()
                self._listener = None

    def _serve(self, peer: RelaySocket) -> None:
        try:
            peer.read()
            if peer.request and not peer.upgraded:
                self._answer(peer, self._moods[peer])
            while peer.frames:
                frame = peer.frames.popleft()
                if frame.opcode == TEXT:
                    peer.out += encode_frame(TEXT, b'["NOTICE","echo"]')
                elif frame.opcode == CLOSE:
                    peer.out += encode_frame(CLOSE, frame.payload)
                    peer.write()
                    peer.disconnect()
                    return
            peer.answer_pings()
            peer.write()
        except (OSError, ValueError):
            peer.reset()
        if peer.end is not None:
            peer.sock.close()

    def _answer(self, peer: RelaySocket, mood: str) -> None:
        if mood == "reset":
            peer.reset()
        elif mood == "refuse":
            peer.out += b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
            peer.write()
            peer.disconnect()
        elif mood != "mute":
            peer.upgrade()
            if mood == "garbage":
                peer.out += self._random.randbytes(self._random.randrange(2, 200))
            elif mood == "close":
                peer.out += encode_frame(TEXT, b'["AUTH","x"]') + encode_frame(CLOSE, b"\x03\xe9going away")
            peer.write()
            if mood == "drop":
                peer.reset()


class Story:
    """What the callbacks of one client got."""

    def __init__(self, client: Process, urls: list[str]) -> None:
        self.client = client
        self.urls = urls
        self.attempts: dict[Process, list[str]] = {}
        """Each attempt's callbacks."""
        self.given_up = 0
        """Disconnects of attempts that were removed before they began."""
        self.connected: dict[str, list[Process]] = {}
        """The attempts that came so far as handle_connect, by url."""

    @property
    def pid(self) -> GenNostrPid:
        assert isinstance(self.client.pid, GenNostrPid)
        return self.client.pid

    @property
    def has_tree(self) -> bool:
        primary = self.pid.connections.primary
        return not self.client.dead and primary is not None and not primary.process.dead

    def ended(self) -> bool:
        """Whether every attempt that has begun has come to its disconnect."""
        return self.client.dead or all("disconnect" in told for told in self.attempts.values())

    def answered(self) -> bool:
        """Whether every relay has a connection that works."""
        if not self.has_tree:
            return True
        return sorted(self.pid.list_relays()) == sorted(self.urls) and all(
            any("notice" in self.attempts[each] and "disconnect" not in self.attempts[each] for each in attempts)
            for attempts in (self.connected.get(url, []) for url in self.urls)
        )

    def check(self) -> None:
        if self.client.dead:
            reason = self.client.reason
            if isinstance(reason, StartError):  # a connection was killed as it began, in the client's init
                reason = reason.reason
            # Its tree was killed under its add_relay; or it ended, itself or by a link, as was asked for.
            bereft = isinstance(reason, NoProcess | CallExit) and reason.target is self.pid.connections.primary
            asked = reason in (KILLED, SHUTDOWN, NORMAL) or str(reason) == "chaos"
            assert bereft or asked, f"{self.client} died of {reason!r}"
        for attempt, told in self.attempts.items():
            counts = Counter(told)
            shown = f"{attempt} of {self.client}: {told}"
            assert counts["disconnect"] <= 1, f"more ends than one: {shown}"
            assert counts["connect"] <= 1, f"connected twice: {shown}"
            assert "disconnect" not in told[:-1], f"delivered after its end: {shown}"
            if "notice" in told or "auth" in told:
                assert told[0] == "connect", f"delivered before it was connected: {shown}"


class Book:
    """All stories, and a condition that is notified of each line."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.stories: dict[Process, Story] = {}
        self.dialled: Counter[Process] = Counter()
        self.wrong: list[str] = []

    def open(self, client: Process, urls: list[str]) -> None:
        with self.changed:
            self.stories[client] = Story(client, urls)

    def note(self, client: Process, attempt: Process | None, name: str, url: str) -> None:
        with self.changed:
            story = self.stories[client]
            if attempt is None:
                story.given_up += 1
            else:
                story.attempts.setdefault(attempt, []).append(name)
                if name == "connect":
                    story.connected.setdefault(url, []).append(attempt)
            self.changed.notify_all()

    def hear(self, name: str, measurements: object, metadata: Any) -> None:
        """A telemetry handler: each start of a connection is an attempt."""
        if name == "actor.start" and metadata["pid"].actor_class is Connection:
            connection = metadata["pid"].process
            client = connection.parent.parent.parent
            with self.changed:
                self.stories[client].attempts.setdefault(connection, [])
        elif name == "connection.attempt":
            process = current_process()
            assert process is not None
            with self.changed:
                self.dialled[process] += 1

    def complain(self, what: str) -> None:
        with self.changed:
            self.wrong.append(what)

    def pick(self, chance: random.Random) -> Story:
        """Return one client, nearly always a living one."""
        with self.changed:
            stories = [each for each in self.stories.values() if not each.client.dead or chance.random() < 0.01]
            return chance.choice(stories or list(self.stories.values()))

    def all(self) -> list[Story]:
        with self.changed:
            return list(self.stories.values())

    def await_all(self, met: Callable[[Story], bool], within: float = PATIENCE) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: all(map(met, self.stories.values())), within)


class ChaosEngine(ClientEngine):
    """Notes which attempt a callback is for."""

    server: Any

    def _event(self, event: Any) -> None:
        # A removal behind the attempt's end, or without one, ends the wait for the next attempt.
        waiting = isinstance(event, Removed) and (event.process is None or event.process in self._ended)
        self.server.attempt = None if waiting else event.process
        super()._event(event)

    def _messages(self, batch: Any) -> None:
        self.server.attempt = batch.process
        super()._messages(batch)


class Client(GenNostr[None], engine=ChaosEngine):
    """Writes down what its callbacks get, attempt by attempt; sends in its callbacks, as clients do."""

    def init(self, init_arg: tuple[Book, list[str]]) -> Any:
        self.book, urls = init_arg
        self.attempt: Process | None = None
        self.book.open(self.pid.process, urls)
        for url in urls:
            self.add_relay(url, **OPTIONS)
        return Ok(None)

    def _note(self, name: str, relay: Relay) -> None:
        self.book.note(self.pid.process, self.attempt, name, relay.url)

    def handle_call(self, request: Any, from_: Any, state: None) -> Any:
        return Reply(request)

    def handle_cast(self, request: Any, state: None) -> None:
        self.broadcast_message(["CLOSE", "cast"])

    def handle_info(self, message: Any, state: None) -> None:
        pass

    def handle_connect(self, relay: Relay, state: None) -> None:
        self._note("connect", relay)
        self.send_message(["REQ", "feed", {}], relay)

    def handle_disconnect(self, reason: Any, relay: Relay, state: None) -> None:
        self._note("disconnect", relay)
        if self.attempt is None and reason is not REMOVE_RELAY:
            self.book.complain(f"an end without an attempt: {reason!r}")
        super().handle_disconnect(reason, relay, state)

    def handle_error(self, reason: Any, relay: Relay, state: None) -> None:
        self._note("error", relay)

    def handle_notice(self, message: Any, relay: Relay, state: None) -> None:
        self._note("notice", relay)

    def handle_auth(self, message: Any, relay: Relay, state: None) -> None:
        self._note("auth", relay)
        self.send_message(["CLOSE", "signed"], relay)


class Trapping(Client):
    trap_exit = True


class User:
    """Does what users do, in its own thread; whatever is not an answer that was promised is a complaint."""

    def __init__(self, book: Book, seed: int) -> None:
        self.book = book
        self.random = random.Random(seed)
        self.done: Counter[str] = Counter()

    def act(self) -> None:
        story = self.book.pick(self.random)
        name = self.random.choices(
            ["call", "cast", "info", "send", "broadcast", "add", "remove", "list", "reconnect", "stop"],
            [8, 4, 2, 8, 4, 8, 8, 4, 4, 0.15],
        )[0]
        self.done[name] += 1
        try:
            self._do(name, story.pid, self.random.choice(story.urls))
        except (RelayNotFound, Overflow, CallExit, NoProcess) as error:
            self.done[type(error).__name__] += 1
        except CallTimeout as error:
            if error.timeout != 0.001:
                self.book.complain(f"{name}: {error!r}")
        except StartError as error:
            # Killed as it began; that the registry or a supervisor is being restarted is no reason.
            if isinstance(error.reason, CallError):
                self.book.complain(f"{name}: {error!r}")

    def _do(self, name: str, client: GenNostrPid, url: str) -> None:
        match name:
            case "call":
                timeout = 0.001 if self.random.random() < 0.1 else PATIENCE
                if client.call(url, timeout) != url:
                    self.book.complain("a call got another's answer")
            case "cast":
                client.cast("cast")
            case "info":
                client.send("info")
            case "send":
                client.send_message(["CLOSE", "x"], url)
            case "broadcast":
                client.broadcast_message(["CLOSE", "x"])
            case "add":
                client.add_relay(url, **OPTIONS)
            case "remove":
                client.remove_relay(url)
            case "list":
                urls = client.list_relays()
                if len(urls) != len(set(urls)):
                    self.book.complain(f"a relay is listed twice: {urls}")
            case "reconnect":
                client.reconnect(Relay.new(url, **OPTIONS), self.random.choice([None, 0, 0.02]))
            case "stop":
                client.stop(SHUTDOWN, block=self.random.random() < 0.5)


class Actor(GenServer[User]):
    """A user that is an actor, and may be killed in the middle of a call."""

    def handle_cast(self, request: object, state: User) -> None:
        state.act()


class Killer:
    """Ends actors of the trees, and users that are actors."""

    def __init__(self, book: Book, seed: int) -> None:
        self.book = book
        self.random = random.Random(seed)
        self.done: Counter[str] = Counter()

    def act(self) -> None:
        story = self.book.pick(self.random)
        kind = self.random.choices(
            ["Connection", "ConnectionRegistry", "ConnectionSupervisor", "PrimarySupervisor", "client"],
            [20, 3, 3, 0.4, 0.4],
        )[0]
        tree = story.pid.connections
        victim: Pid | None
        match kind:
            case "Connection":
                connections = tree.connections()
                victim = self.random.choice(connections)[1].pid if connections else None
            case "ConnectionRegistry":
                victim = tree._registry
            case "ConnectionSupervisor":
                victim = tree._supervisor
            case "PrimarySupervisor":
                victim = tree.primary
            case _:
                victim = story.pid
        if victim is not None:
            self.done[kind] += 1
            victim.exit(self.random.choice([KILL, KILL, RuntimeError("chaos"), SHUTDOWN, NORMAL]))


@pytest.fixture(autouse=True)
def switching() -> Iterator[None]:
    """Let threads take turns often: what may come between two steps, does."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@contextmanager
def attached(handler: telemetry.Handler) -> Iterator[None]:
    telemetry.attach(handler)
    try:
        yield
    finally:
        telemetry.detach(handler)


class Threads:
    """Threads that act until the storm is over, and must then end."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.threads: list[threading.Thread] = []

    def run(self, act: Callable[[], object], seed: int, pace: float) -> None:
        pauses = random.Random(seed)

        def loop() -> None:
            while not self.over.wait(pauses.random() * pace):
                act()

        thread = threading.Thread(target=loop, name=f"{act}")
        self.threads.append(thread)
        thread.start()

    def join(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), f"{thread.name} hangs"


class Storm:
    """One round."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.book = Book()
        self.stack = ExitStack()

    def __enter__(self) -> Self:
        self.stack.enter_context(attached(self.book.hear))
        self.relays = [Flapping(self.random.randrange(2**32)) for _ in range(3)]
        for relay in self.relays:
            self.stack.callback(relay.stop)
        plan = (self.book, [relay.url for relay in self.relays])
        for kind in (Client, Trapping):
            client = kind.start(plan)
            self.stack.callback(self._stop, client)
        specs = [kind.child_spec(plan, id=number) for number, kind in enumerate((Client, Client, Trapping))]
        supervisor = Supervisor.start(specs, max_restarts=1_000_000)
        self.stack.callback(supervisor.stop, block=True)
        return self

    def __exit__(self, *details: object) -> None:
        self.stack.close()

    @staticmethod
    def _stop(client: Pid) -> None:
        try:
            client.stop(block=True)
        except (NoProcess, CallExit):
            pass  # it is dead already

    def blow(self) -> Counter[str]:
        threads = Threads()
        users = [User(self.book, self.random.randrange(2**32)) for _ in range(4)]
        killer = Killer(self.book, self.random.randrange(2**32))
        for user in users:
            threads.run(user.act, self.random.randrange(2**32), 0.006)
        threads.run(killer.act, self.random.randrange(2**32), 0.03)
        # And one who works as actors do, and is killed as they are.
        busy = [Actor.start(User(self.book, self.random.randrange(2**32))) for _ in range(2)]

        def drive() -> None:
            at = self.random.randrange(len(busy))
            busy[at].cast("act")
            if self.random.random() < 0.05:
                busy[at].exit(KILL)
                busy[at] = Actor.start(User(self.book, self.random.randrange(2**32)))

        threads.run(drive, self.random.randrange(2**32), 0.01)
        threading.Event().wait(STORM)
        threads.join()
        for each in busy:
            self._stop(each)
        return sum((user.done for user in users), killer.done)

    def check(self) -> None:
        book = self.book
        for relay in self.relays:
            relay.calm()
        for story in book.all():
            for url in story.urls:
                if story.has_tree:
                    story.pid.add_relay(url, **OPTIONS)
        assert book.await_all(Story.answered), self.shown(Story.answered)
        for story in book.all():
            if not story.client.dead:
                assert story.pid.call("alive?") == "alive?"
            if story.has_tree:
                names = set(actors(story.pid))
                assert names >= {"PrimarySupervisor", "ConnectionRegistry", "ConnectionSupervisor", "Connection"}
        self.end()
        assert book.wrong == []
        for story in book.all():
            story.check()
        # Each client that was alive has reported each attempt that it made, and each was made once.
        assert set(book.dialled.values()) == {1}
        assert set(book.dialled) <= {attempt for story in book.all() for attempt in story.attempts}

    def end(self) -> None:
        """Remove all relays, until all attempts have ended."""
        deadline = time.monotonic() + PATIENCE
        while True:
            for story in self.book.all():
                for url in story.urls:
                    try:
                        story.pid.remove_relay(url)
                    except RelayNotFound:
                        pass
            if self.book.await_all(Story.ended, 0.5):
                return
            assert time.monotonic() < deadline, self.shown(Story.ended)

    def shown(self, met: Callable[[Story], bool]) -> str:
        lines = []
        for story in self.book.all():
            if not met(story):
                lines.append(f"{story.client} traps={isinstance(story.client.actor, Trapping)}")
                lines += [f"  {each}: {told}" for each, told in story.attempts.items() if "disconnect" not in told]
                lines.append(str(tree(story.pid)))
                lines.append(str(story.pid.connections._pending))
        return "\n".join(lines)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_after_a_storm_every_attempt_has_one_end_and_every_tree_is_whole_or_down(
    number: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "gennostr")
    seed = secrets.randbelow(2**32) if SEED is None else int(SEED) + number
    print(f"GENNOSTR_CHAOS_SEED={seed}")  # noqa: T201 - shown where the round fails
    with Storm(seed) as storm:
        done = storm.blow()
        storm.check()
        attempts = sum(len(story.attempts) for story in storm.book.all())
        clients = len(storm.book.stories)
    gc.collect()
    assert abandoned() == 0
    print(f"{clients} clients, {attempts} attempts, {dict(done)}")  # noqa: T201


def test_a_crash_loop_on_one_relay_goes_on_at_the_pace_of_its_backoff_and_the_others_keep_their_connections() -> None:
    with (
        FakeRelay() as looping,
        FakeRelay() as one,
        FakeRelay() as other,
        Recording(urls=[one.url, other.url], options=FAST) as client,
    ):
        peers = [one.accept(), other.accept()]
        client.expect("connect", "connect")
        kept = [client.feed.add_relay(url) for url in (one.url, other.url)]
        supervisor = actors(client.feed)["ConnectionSupervisor"]
        client.feed.add_relay(looping.url, reconnect=[0.1])
        connects, ends = [], []
        for _ in range(10):
            looping.accept()
            connects.append(client.expect("connect"))
            client.feed.add_relay(looping.url).exit(KILL)
            assert client.expect("error").value is KILLED
            ends.append(client.expect("disconnect"))
        assert {each.relay.url for each in connects + ends} == {looping.url}
        # Two are restarted at once, by the supervisor; for the rest, the backoff counts on.
        counters = [each.relay.reconnect_counter for each in connects]
        assert counters == sorted(counters)
        assert counters[-1] >= len(connects) - 3
        gaps = [connect.at - end.at for end, connect in zip(ends[2:-1], connects[3:], strict=True)]
        assert min(gaps) > 0.05
        assert [client.feed.add_relay(url) for url in (one.url, other.url)] == kept
        assert actors(client.feed)["ConnectionSupervisor"] is supervisor
        # The last handle_disconnect has been recorded, but it may not have requested its attempt yet.
        assert client.feed.call("alive") == "alive"
        client.feed.remove_relay(looping.url)
        assert client.expect("disconnect").value is REMOVE_RELAY
        for peer in peers:
            peer.notice("still here")
            assert client.expect("notice").value.message == "still here"


# What the storms have found.


def test_what_a_callback_sends_to_a_relay_that_has_gone_meanwhile_goes_with_it_and_ends_no_client() -> None:
    def answer(client: Recorder, relay: Relay) -> None:
        client.send_message(["CLOSE", "x"], relay)

    def too_late(client: Recorder, relay: Relay) -> None:
        with pytest.raises(RelayNotFound):
            client.send_message(["CLOSE", "x"], relay)

    script: dict[str, Any] = {"connect": answer, "auth": answer, "disconnect": too_late, "reconnect": False}
    with FakeRelay() as relay, Recording(**script) as client:
        connection = client.feed.add_relay(relay.url, close_timeout=0.05)
        client.feed.suspend()
        peer = relay.accept_raw()
        peer.read_request()
        peer.upgrade(encode_frame(TEXT, b'["AUTH","challenge"]') + encode_frame(CLOSE, b"\x03\xe8"))
        await_death(connection)
        client.feed.resume()
        client.expect("connect", "auth", "disconnect")
        assert client.feed.call("alive") == "alive"


def test_a_relay_that_is_added_while_the_registry_is_being_restarted_is_connected() -> None:
    refused = threading.Event()

    def hear(name: str, measurements: object, metadata: Any) -> None:
        if name == "call" and isinstance(metadata["request"], StartChild):
            refused.set()

    with FakeRelay() as relay, Recording() as client, attached(hear):
        pids = actors(client.feed)
        pids["PrimarySupervisor"].suspend()
        pids["ConnectionRegistry"].exit(KILL)
        added: SimpleQueue[Pid] = SimpleQueue()
        thread = threading.Thread(target=lambda: added.put(client.feed.add_relay(relay.url, close_timeout=0.05)))
        thread.start()
        assert refused.wait(5)
        pids["PrimarySupervisor"].resume()
        assert added.get(timeout=5).is_alive()
        thread.join()
        relay.accept()
        client.expect("connect")


def test_a_connection_that_dies_while_it_is_being_removed_has_one_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url], options=FAST) as client:
        relay.accept()
        client.expect("connect")
        connection = client.feed.add_relay(relay.url)
        table = actors(client.feed)["ConnectionRegistry"].table  # type: ignore[attr-defined]
        release = table.release
        killer = threading.Thread(target=connection.exit, args=(KILL,))

        def release_and_kill(key: object, process: Process) -> bool:
            released: bool = release(key, process)
            if killer.ident is None:
                killer.start()
                killer.join(0.3)  # it waits until the removal has been delivered
            return released

        monkeypatch.setattr(table, "release", release_and_kill)
        client.feed.remove_relay(relay.url)
        killer.join()
        assert client.feed.call("all is delivered") == "all is delivered"
        assert client.expect("disconnect").value is REMOVE_RELAY
        assert client.seen.empty()
        assert actors(client.feed)["ConnectionSupervisor"].count_children().specs == 0  # type: ignore[attr-defined]


def test_a_removed_connection_that_fails_while_it_closes_is_not_restarted() -> None:
    with FakeRelay() as relay, Recording() as client:
        connection = client.feed.add_relay(relay.url, close_timeout=30.0)
        relay.accept()
        client.expect("connect")
        supervisor = actors(client.feed)["ConnectionSupervisor"]
        client.feed.remove_relay(relay.url)
        assert client.expect("disconnect").value is REMOVE_RELAY
        connection.exit(KILL)
        assert supervisor.count_children().specs == 0  # type: ignore[attr-defined]
        assert client.feed.list_relays() == []


def test_a_connection_killed_as_it_sets_a_timer_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    killed = threading.Event()

    def kill_meanwhile(delay: float, pid: Pid, tick: Tick) -> Any:
        timer = send_after(delay, pid, tick)
        if tick is Tick.CONNECT and not killed.is_set():
            killed.set()
            killer = threading.Thread(target=pid.exit, args=(KILL,))
            killer.start()
            killer.join()
        return timer

    monkeypatch.setattr(connection_module, "send_after", kill_meanwhile)
    # A relay that serves each connection: the killed one may have reached it.
    with MemoryRelay() as relay, Recording(reconnect=False) as client:
        client.feed.add_relay(relay.url, connect_timeout=3600.0, close_timeout=0.05)
        client.expect("error", "disconnect", "connect")
    # That no timer is left, the check behind every test sees.


def test_a_connection_that_fails_while_it_closes_is_not_restarted_where_its_end_was_reported() -> None:
    with FakeRelay() as relay, Recording(reconnect=False) as client:
        connection = client.feed.add_relay(relay.url, close_timeout=30.0)
        peer = relay.accept()
        client.expect("connect")
        supervisor = actors(client.feed)["ConnectionSupervisor"]
        peer.close(1001, "restart")
        assert client.expect("disconnect").value == Close(1001, "restart")
        connection.exit(KILL)
        assert supervisor.count_children().specs == 0  # type: ignore[attr-defined]
        assert client.feed.list_relays() == []
