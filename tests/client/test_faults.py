"""Faults of the network and of the system, made by the system itself wherever it can be asked to.

Resets and ends in the middle of things, proxies that die, names that nobody answers for, a network that goes away, a
relay that is killed over and over, a clock that is set, descriptors and threads that the system refuses, an interpreter
that exits. What needs a network of its own runs as a program in a namespace (`in_namespace`): its functions are here.
"""

import contextlib
import os
import resource
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gennostr import (
    REMOVE_RELAY,
    Close,
    ConnectionLost,
    ConnectTimeout,
    GenServer,
    HandshakeError,
    PingTimeout,
    Relay,
    Reply,
    StartError,
    Supervisor,
    abandoned,
    telemetry,
)
from gennostr.cli.local_relay import LocalRelay
from gennostr.client import connection, lookups, verification
from gennostr.nostr.messages import EventMessage
from gennostr.otp.clock import SystemClock
from gennostr.otp.process import alive
from gennostr.otp.timers import send_after
from gennostr.testing import FakeConnection, FakeRelay, make_event
from gennostr.testing.relay_socket import PING, PONG, TEXT, encode_frame
from tests.client.recorder import FAST, Callback, Recorder, Recording

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0  # seconds, for what takes a few on a busy machine
HALF_A_FRAME = encode_frame(TEXT, b'["NOTICE","' + b"x" * 200)[:40]
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: webso"


def by_address(relay: FakeRelay) -> str:
    """The relay's url without a name to look up: that would want descriptors and a thread too."""
    return relay.url.replace("localhost", "127.0.0.1")


# The connection ends in the middle of something.


def cut_off(peer: FakeConnection) -> None:
    peer.read_request()
    peer.raw(SWITCHING)


@pytest.mark.parametrize(
    ("before", "end", "kind"),
    [
        (lambda _: None, FakeConnection.drop, OSError),
        (lambda _: None, FakeConnection.disconnect, (OSError, ConnectionLost)),
        (cut_off, FakeConnection.drop, OSError),
        (cut_off, FakeConnection.disconnect, ConnectionLost),
    ],
    ids=["reset unread", "end unread", "reset within the answer", "end within the answer"],
)
def test_a_handshake_that_breaks_off_is_one_error_and_one_disconnect(
    before: Callable[[FakeConnection], None], end: Callable[[FakeConnection], None], kind: Any
) -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url], options=FAST) as client:
        peer = relay.accept_raw()
        before(peer)
        end(peer)
        error = client.expect("error").value
        assert isinstance(error, kind)
        assert client.expect("disconnect").value is error
        relay.accept()
        client.expect("connect")


@pytest.mark.parametrize(
    ("end", "kind"), [(FakeConnection.drop, ConnectionResetError), (FakeConnection.disconnect, ConnectionLost)]
)
def test_what_was_whole_is_delivered_before_an_end_within_a_frame(
    end: Callable[[FakeConnection], None], kind: type[Exception]
) -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url], options=FAST) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.raw(encode_frame(TEXT, b'["NOTICE","whole"]') + HALF_A_FRAME)
        assert client.expect("notice").value.message == "whole"
        end(peer)
        error = client.expect("error").value
        assert isinstance(error, kind)
        assert client.expect("disconnect").value is error
        relay.accept()
        client.expect("connect")


def test_a_reset_after_a_close_frame_is_no_error_for_the_close_was_delivered() -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url], options=FAST | {"close_timeout": 60.0}) as client:
        peer = relay.accept()
        client.expect("connect")
        peer.close(1001, "going away")
        assert client.expect("disconnect").value == Close(1001, "going away")
        assert peer.expect_close_frame().code == 1001
        peer.drop()
        again = relay.accept()
        client.expect("connect")
        client.expect_nothing(0.05)
        again.drop()
        client.expect("error", "disconnect")


def test_a_reset_before_our_close_frame_is_answered_leaves_nothing_of_a_removed_relay() -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url], options={"close_timeout": 60.0}) as client:
        peer = relay.accept()
        client.expect("connect")
        pid = client.feed.add_relay(relay.url)
        client.feed.remove_relay(relay.url)
        assert client.expect("disconnect").value is REMOVE_RELAY
        peer.expect_close_frame()
        dead = death_of(pid)
        peer.drop()
        assert dead.wait(PATIENCE)
        client.expect_nothing(0.05)


def test_a_tls_record_that_breaks_off_is_one_error_after_what_was_whole() -> None:
    with FakeRelay(tls=True) as relay:
        options = FAST | {"websocket": relay.websocket}
        with Recording(urls=[relay.url], options=options) as client:
            peer = relay.accept()
            client.expect("connect")
            peer.raw(encode_frame(TEXT, b'["NOTICE","whole"]'))
            client.expect("notice")
            # The head of a record of application data that says 1,000 bytes, and ten of them.
            socket.socket.send(peer._wire.sock, b"\x17\x03\x03" + struct.pack(">H", 1000) + b"x" * 10)
            peer.disconnect()
            error = client.expect("error").value
            assert isinstance(error, OSError | ConnectionLost)
            assert client.expect("disconnect").value is error
            relay.accept()
            client.expect("connect")


def death_of(pid: Any) -> threading.Event:
    """An event that is set when the actor is dead."""
    dead = threading.Event()

    class Watch:
        def down(self, process: Any, reason: object) -> None:
            dead.set()

    if not pid.process.watch(Watch()):
        dead.set()
    return dead


# Names.


def test_a_name_with_a_hundred_addresses_that_all_refuse_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    tried: list[Any] = []
    real = socket.socket.connect_ex

    class Watched(socket.socket):
        def connect_ex(self, address: Any) -> int:
            tried.append(address)
            return real(self, address)

    def getaddrinfo(*_: Any, **__: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (f"127.0.1.{number}", port)) for number in range(1, 101)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket, "socket", Watched)
    with Recording(urls=[f"ws://relay.example:{port}"], reconnect=False) as client:
        error = client.expect("error", timeout=PATIENCE).value
        assert isinstance(error, ConnectionRefusedError)
        assert client.expect("disconnect").value is error
        assert len(tried) == 100
        client.expect_nothing(0.05)


def test_a_name_that_has_no_address_at_all_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    with Recording(urls=["ws://relay.example"], reconnect=False) as client:
        error = client.expect("error").value
        assert isinstance(error, ConnectionLost)
        assert "no address" in str(error)
        assert client.expect("disconnect").value is error
        client.expect_nothing(0.05)


# A proxy.


@pytest.fixture
def proxy() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        yield listener


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (None, OSError),
        (b"", ConnectionLost),
        (b"HTTP/1.1 200 Connec", ConnectionLost),
        (b"HTTP/1.1 200 Connection established\r\n\r\n", ConnectionLost),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", HandshakeError),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nno!", HandshakeError),
        (b"\x05\x00 this is SOCKS\r\n\r\n", HandshakeError),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000, HandshakeError),
    ],
    ids=["dies", "ends", "half an answer", "ends behind its answer", "407", "502", "garbage", "an endless header"],
)
def test_a_proxy_that_fails_is_one_error_and_one_disconnect(
    proxy: socket.socket, answer: bytes | None, kind: type[Exception]
) -> None:
    websocket = {"proxy": f"http://127.0.0.1:{proxy.getsockname()[1]}"}
    with Recording(urls=["ws://relay.example"], options={"websocket": websocket}, reconnect=False) as client:
        peer, _ = proxy.accept()
        with peer:
            if answer is None:
                reset_on_close(peer)
            else:
                assert peer.recv(4096).startswith(b"CONNECT relay.example:80 HTTP/1.1\r\n")
                with contextlib.suppress(OSError):  # it may be refused before all of it is out
                    peer.sendall(answer)
                    peer.shutdown(socket.SHUT_WR)
                if answer.startswith(b"HTTP/1.1 200 Connection"):
                    peer.recv(4096)  # the upgrade: unread, it would turn the end into a reset
        error = client.expect("error", timeout=PATIENCE).value
        assert isinstance(error, kind)
        assert client.expect("disconnect").value is error
        client.expect_nothing(0.05)


def reset_on_close(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


# A relay that is killed, over and over.


def test_each_kill_of_a_relay_is_one_disconnect_and_events_come_again_after_each_return(
    local_relay: LocalRelay,
) -> None:
    def ask(client: Recorder, relay: Relay) -> None:
        client.send_message(["REQ", "feed", {"kinds": [1]}], relay)

    with Recording(urls=[local_relay.url], options={"reconnect": [0.05]}, connect=ask) as client:
        for _ in range(10):
            attempts = until(client, "connect", timeout=PATIENCE)
            # While it was down, each attempt was refused: one error and one disconnect each, and nothing else.
            assert [each.name for each in attempts[:-1]] == ["error", "disconnect"] * (len(attempts) // 2)
            client.expect("eose", timeout=PATIENCE)
            local_relay.kill()
            client.expect("error", "disconnect", timeout=PATIENCE)
            local_relay.start()
        until(client, "eose", timeout=PATIENCE)


def until(client: Recording, name: str, timeout: float = 5.0) -> list[Callback]:
    """The callbacks up to the first of this name."""
    seen = [client.next(timeout)]
    while seen[-1].name != name:
        seen.append(client.next(timeout))
    return seen


# The clock is set.


@pytest.mark.parametrize("step", [86_400.0, -7200.0])
def test_a_clock_that_is_set_disturbs_neither_keepalive_nor_backoff_nor_the_reconnect_counter(
    step: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    offset = 0.0
    real = time.time

    def stepped() -> float:
        return real() + offset

    monkeypatch.setattr(time, "time", stepped)
    monkeypatch.setattr(SystemClock, "time", staticmethod(stepped))
    options = {"reconnect": [0.05, 0.2], "ping_interval": 0.2, "ping_timeout": PATIENCE, "close_timeout": 0.05}
    with FakeRelay() as relay, Recording(options=options) as client:
        client.feed.add_relay(relay.url, **options)  # type: ignore[arg-type]
        peer = relay.accept()
        began = client.expect("connect").relay.connected_at
        offset = step
        assert peer.receive_frame().opcode == PING
        peer.send_frame(PONG, b"")
        client.expect_nothing(0.05)
        peer.drop()
        client.expect("error")
        end = client.expect("disconnect")
        assert end.relay.connected_at == began
        assert end.relay.reconnect_counter == 0  # up for less than a stable connection, whatever the clock says
        relay.accept()
        again = client.expect("connect").relay
        assert again.reconnect_counter == 1
        assert again.connected_at == pytest.approx(stepped(), abs=PATIENCE)


# Descriptors.


@contextlib.contextmanager
def descriptors_left(number: int) -> Iterator[None]:
    """Lower the limit so far that `number` more descriptors can be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = [os.dup(1) for _ in range(number + 1)]
    for descriptor in free:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[-1], hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("left", range(2), ids=["none", "none for the socket"])
def test_attempts_without_descriptors_are_one_error_and_one_disconnect_each_until_there_are_some(
    left: int, caplog: pytest.LogCaptureFixture
) -> None:
    with FakeRelay() as relay, Recording(options=FAST) as client:
        with descriptors_left(left):
            client.feed.add_relay(by_address(relay), reconnect=[0.02], close_timeout=0.05)
            for attempt in range(3):
                told = client.expect("error", timeout=PATIENCE)
                assert isinstance(told.value, OSError)
                assert "Too many open files: the limit of this process is" in str(told.value)
                assert told.relay.reconnect_counter == attempt
                assert client.expect("disconnect").value is told.value
        relay.accept(timeout=PATIENCE)
        until(client, "connect")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_connection_closes_in_order_without_descriptors_to_wait_with(caplog: pytest.LogCaptureFixture) -> None:
    with FakeRelay() as relay:
        client = Recording(urls=[by_address(relay)])
        peer = relay.accept()
        client.expect("connect")
        with descriptors_left(0):
            client.feed.stop()
        assert peer.expect_close_frame() == Close(1000, "")
        assert peer.is_closed()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


# Threads.


@contextlib.contextmanager
def no_threads() -> Iterator[None]:
    """Have the system refuse every new thread: none has room for such a stack.

    The timers' thread is kept by a timer, or it would end with the last one.
    """
    timer = send_after(3600, "nobody", None)
    before = threading.stack_size(1 << 47)
    try:
        yield
    finally:
        threading.stack_size(before)
        timer.cancel()


class Idle(GenServer[None]):
    """Does nothing."""


def test_a_start_without_a_thread_is_a_start_error_that_leaves_nothing() -> None:
    before = alive()
    with no_threads():
        with pytest.raises(StartError, match="can't start new thread") as failed:
            Idle.start(name="idle")
        assert alive() == before
    assert isinstance(failed.value.__cause__, RuntimeError)
    with Idle.start(name="idle") as pid:  # the name is free
        assert pid.is_alive()


def test_an_actor_survives_a_linked_start_that_the_system_refuses() -> None:
    class Starter(GenServer[None]):
        def handle_call(self, request: Any, from_: Any, state: None) -> Any:
            with pytest.raises(StartError), no_threads():
                Idle.start_link()
            return Reply(len(self.pid.process.links))

    with Starter.start() as starter:
        assert starter.call(None) == 0
        assert starter.call(None) == 0


def test_a_supervisor_whose_child_gets_no_thread_has_a_child_that_failed_to_start() -> None:
    with Supervisor.start([]) as supervisor:
        with no_threads(), pytest.raises(StartError, match="can't start new thread"):
            supervisor.start_child(Idle)
        assert supervisor.count_children().specs == 0
        supervisor.start_child(Idle)
        assert supervisor.count_children().active == 1


def test_a_relay_that_gets_no_thread_is_refused_in_the_caller_and_can_be_added_later() -> None:
    with FakeRelay() as relay, Recording() as client:
        with no_threads(), pytest.raises(StartError, match="can't start new thread"):
            client.feed.add_relay(relay.url)
        assert client.feed.list_relays() == []
        client.expect_nothing(0.05)
        client.feed.add_relay(relay.url, close_timeout=0.05)
        relay.accept()
        client.expect("connect")


def test_a_reconnect_that_gets_no_thread_is_an_attempt_that_failed_like_any_other() -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url], options={"reconnect": [0.02]}) as client:
        peer = relay.accept()
        client.expect("connect")
        with no_threads():
            peer.drop()
            client.expect("error", "disconnect")
            for _ in range(2):
                error = client.expect("error").value
                assert isinstance(error, StartError)
                assert client.expect("disconnect").value is error
            assert client.feed.call("still there") == "still there"
        relay.accept(timeout=PATIENCE)
        until(client, "connect", timeout=PATIENCE)


def test_a_lookup_that_gets_no_thread_is_an_error_of_the_attempt() -> None:
    starting, refused = threading.Event(), threading.Event()

    with FakeRelay() as relay, Recording() as client:
        # In the connection's thread, before it dials: what it wants of the system then is refused.
        def hold(name: str, measurements: Any, metadata: Any) -> None:
            if name == "connection.attempt" and not starting.is_set():
                starting.set()
                assert refused.wait(PATIENCE)

        telemetry.attach(hold)
        try:
            client.feed.add_relay(relay.url, **FAST, close_timeout=0.05)  # type: ignore[misc]
            assert starting.wait(PATIENCE)
            with no_threads():
                refused.set()
                error = client.expect("error").value
            assert isinstance(error, RuntimeError)
            assert "can't start new thread" in str(error)
            assert client.expect("disconnect").value is error
        finally:
            telemetry.detach(hold)
        relay.accept(timeout=PATIENCE)
        until(client, "connect", timeout=PATIENCE)


def test_events_are_verified_though_the_system_refuses_helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "_threads", lambda: 4)
    messages: list[Any] = [EventMessage("feed", make_event(sig="0" * 128)) for _ in range(100)]
    with no_threads():
        verification.verify_events(messages)
    assert [type(each).__name__ for each in messages] == ["MessageError"] * 100
    assert not any(permit.locked() for permit in verification._permits)


# No memory.


def test_no_memory_for_a_callback_ends_the_client_for_that_reason_and_its_connection_in_order() -> None:
    def exhausted(*_: object) -> None:
        raise MemoryError("for the test")

    with FakeRelay() as relay:
        client = Recording(urls=[relay.url], notice=exhausted)
        peer = relay.accept()
        client.expect("connect")
        dead = death_of(client.feed)
        peer.notice("x")
        client.expect("notice")
        assert peer.is_closed()
        assert dead.wait(PATIENCE)
        assert isinstance(client.feed.process.reason, MemoryError)


def test_no_memory_to_decode_is_one_error_and_one_disconnect_and_the_connection_is_made_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exhausted = threading.Event()

    def decode(text: bytes) -> Any:
        exhausted.set()
        raise MemoryError("for the test")

    with FakeRelay() as relay, Recording(urls=[relay.url], options=FAST) as client:
        peer = relay.accept()
        client.expect("connect")
        with monkeypatch.context() as patch:
            patch.setattr(connection, "decode_known", decode)
            patch.setattr(connection, "decode", decode)
            peer.notice("lost")
            assert isinstance(client.expect("error").value, MemoryError)
            client.expect("disconnect")
        relay.accept().notice("seen")
        client.expect("connect", "notice")


# A network of its own.


def in_namespace(program: Callable[[], None], prepare: str = ":") -> None:
    """Run `program` in a process with a network and mounts of its own, where only the loopback is up.

    `prepare` is a shell command that runs there before it.
    """
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("needs unshare (util-linux) and ip (iproute2)")
    allowed = subprocess.run(["unshare", "-rmn", "ip", "link", "set", "lo", "up"], capture_output=True, check=False)
    if allowed.returncode:
        pytest.skip(f"the system forbids namespaces: {allowed.stderr.decode().strip()}")
    run(
        ["unshare", "-rmn", "sh", "-c", f'ip link set lo up && {prepare} && exec "$@"', "sh"],
        f"from tests.client import test_faults; test_faults.{program.__name__}()",
    )


def run(before: list[str], program: str, timeout: float = 60.0) -> str:
    """Run a Python program; return what it prints. It must end with status 0 in time."""
    done = subprocess.run(
        [*before, sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_network_that_goes_away_is_found_by_the_ping_and_reconnected_when_it_is_back() -> None:
    in_namespace(lose_the_network)


def lose_the_network() -> None:
    def link(state: str) -> None:
        subprocess.run(["ip", "link", "set", "lo", state], check=True)

    options = {"reconnect": [0.1], "ping_interval": 0.2, "ping_timeout": 1.0, "connect_timeout": 1.0}
    with LocalRelay() as relay, Recording(urls=[relay.url], options=options) as client:
        client.expect("connect")
        link("down")
        error = client.expect("error", timeout=PATIENCE).value
        assert isinstance(error, PingTimeout), error
        assert client.expect("disconnect").value is error
        for _ in range(2):  # as long as it is down, so go the attempts
            client.expect("error", "disconnect", timeout=PATIENCE)
        link("up")
        attempts = until(client, "connect", timeout=PATIENCE)
        assert [each.name for each in attempts[:-1]] == ["error", "disconnect"] * (len(attempts) // 2)
        assert client.feed.list_relays() == [relay.url]


def test_while_a_name_server_is_silent_relays_are_removed_and_the_client_stops_at_once(tmp_path: Path) -> None:
    configuration = tmp_path / "resolv.conf"
    configuration.write_text("nameserver 127.0.0.1\noptions timeout:30 attempts:2\n")
    in_namespace(ask_a_silent_name_server, f"mount --bind {configuration} /etc/resolv.conf")


def ask_a_silent_name_server() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 53))
        server.settimeout(PATIENCE)
        with Recording(urls=["ws://relay.example"]) as client:
            assert b"relay" in server.recv(4096)  # it is asked: the system's resolver waits now
            began = time.monotonic()
            client.feed.remove_relay("ws://relay.example")
            assert client.expect("disconnect").value is REMOVE_RELAY
            assert client.feed.list_relays() == []
            client.feed.add_relay("ws://other.example", connect_timeout=0.2)
            assert isinstance(client.expect("error").value, ConnectTimeout)
            client.feed.add_relay("ws://another.example")
        # The answer would have come after a minute. What is left is a thread for each host.
        assert time.monotonic() - began < PATIENCE
        left = [thread.name for thread in lookups.running()]
        assert left == ["gennostr-lookup relay.example", "gennostr-lookup other.example", *left[2:]]
        assert abandoned() == 0


# The interpreter exits.


EXITING = """
from gennostr import GenNostr, Ok
from gennostr.testing.fake_relay import FakeRelay

class Feed(GenNostr):
    def init(self, url):
        self.add_relay(url, close_timeout=60.0)
        return Ok()

relay = FakeRelay()
feed = Feed.start(relay.url)
{phase}
print("exits")
"""
PHASES = {
    "dialling": "peer = relay.accept_raw(); peer.read_request()",
    "open": "peer = relay.accept()",
    # The pong says that the connection is up.
    "closing": "peer = relay.accept(); peer.ping(); peer.receive_frame(); "
    "feed.remove_relay(relay.url); peer.expect_close_frame()",
    "backoff": "peer = relay.accept(); relay.stop()",
}


@pytest.mark.parametrize("phase", PHASES)
def test_a_program_that_forgets_its_client_exits_within_seconds(phase: str) -> None:
    began = time.monotonic()
    assert run([], EXITING.format(phase=PHASES[phase]), timeout=PATIENCE) == "exits\n"
    assert time.monotonic() - began < PATIENCE
