"""The relays of the tests do what tests rely on."""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import nostr_sdk
import pykka
import pytest
import trustme
import websocket

from gennostr.cli import local_relay as local_relay_module
from gennostr.cli.local_relay import LocalRelay
from tests import leaks
from tests.relays import NostrRelay
from tests.scripted_relay import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, ScriptedRelay

TIMEOUT = 5
PROGRAM = local_relay_module.__file__

Dial = Callable[..., "Future[Any]"]


def connect(url: str, **options: Any) -> Any:
    return closing(websocket.create_connection(url, timeout=TIMEOUT, **options))


def signed_event(content: str) -> dict[str, Any]:
    event = nostr_sdk.EventBuilder(nostr_sdk.Kind(1), content).finalize(nostr_sdk.Keys.generate())
    decoded: dict[str, Any] = json.loads(event.as_json())
    return decoded


def publish(url: str, event: dict[str, Any]) -> Any:
    """Return the relay's answer to the event."""
    with connect(url) as client:
        client.send(json.dumps(["EVENT", event]))
        return json.loads(client.recv())


def query(url: str) -> list[Any]:
    """Return all events of the relay, up to EOSE."""
    events = []
    with connect(url) as client:
        client.send(json.dumps(["REQ", "all", {"kinds": [1]}]))
        while (message := json.loads(client.recv()))[0] != "EOSE":
            events.append(message[2])
    return events


@pytest.fixture
def dial() -> Iterator[Dial]:
    """Connect in a thread, for the test's own thread plays the relay; the client is closed."""
    clients: list[Future[Any]] = []
    with ThreadPoolExecutor(max_workers=4) as executor:

        def submit(url: str, **options: Any) -> "Future[Any]":
            future = executor.submit(websocket.create_connection, url, timeout=TIMEOUT, **options)
            clients.append(future)
            return future

        yield submit
    for future in clients:
        if future.exception() is None:
            future.result().shutdown()


@pytest.fixture
def relay() -> Iterator[ScriptedRelay]:
    with ScriptedRelay() as scripted:
        yield scripted


# -- the local relay


def test_a_local_relay_returns_a_published_event(local_relay: LocalRelay) -> None:
    event = signed_event("hello")
    assert publish(local_relay.url, event) == ["OK", event["id"], True, ""]
    assert query(local_relay.url) == [event]


def test_two_local_relays_share_nothing(two_local_relays: tuple[LocalRelay, LocalRelay]) -> None:
    one, other = two_local_relays
    publish(one.url, signed_event("for one"))
    assert query(other.url) == []


def test_a_local_relay_with_auth_refuses_who_is_not_authenticated() -> None:
    with LocalRelay(auth=True) as local_relay, connect(local_relay.url) as client:
        client.send(json.dumps(["EVENT", signed_event("hello")]))
        labels = {message[0]: message for message in (json.loads(client.recv()) for _ in range(2))}
    assert labels.keys() == {"AUTH", "OK"}
    assert labels["OK"][2] is False
    assert labels["OK"][3].startswith("auth-required: ")


def test_a_killed_local_relay_ends_its_connections_and_refuses_new_ones(
    local_relay: LocalRelay,
) -> None:
    with connect(local_relay.url) as client:
        local_relay.kill()
        with pytest.raises((websocket.WebSocketConnectionClosedException, ConnectionResetError)):
            client.recv()
    with pytest.raises(ConnectionRefusedError):
        connect(local_relay.url)


@pytest.mark.parametrize("end", [LocalRelay.stop, LocalRelay.kill, lambda _: None])
def test_a_local_relay_restarts_empty_on_its_port(local_relay: LocalRelay, end: Callable[[LocalRelay], None]) -> None:
    url = local_relay.url
    publish(url, signed_event("lost"))
    end(local_relay)
    local_relay.restart()
    assert local_relay.url == url
    assert query(url) == []


def test_a_local_relay_can_be_stopped_twice(local_relay: LocalRelay) -> None:
    local_relay.stop()
    local_relay.stop()


def test_a_local_relay_does_not_start_twice(local_relay: LocalRelay) -> None:
    with pytest.raises(RuntimeError, match=rf"the local relay {local_relay.url} is running"):
        local_relay.start()


def test_a_local_relay_has_no_url_before_its_first_start() -> None:
    with pytest.raises(RuntimeError, match="no port before its first start"):
        _ = LocalRelay().url


def test_a_local_relay_picks_another_port_when_its_first_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = local_relay_module.free_port()
    with socket.create_server(("127.0.0.1", 0)) as rival:
        ports = iter([rival.getsockname()[1], free])
        monkeypatch.setattr(local_relay_module, "free_port", lambda: next(ports))
        with LocalRelay() as local_relay:
            assert local_relay.port == free


def test_a_local_relay_whose_port_was_taken_says_so(local_relay: LocalRelay) -> None:
    local_relay.stop()
    with (
        socket.create_server(("127.0.0.1", local_relay.port)),
        pytest.raises(RuntimeError, match=f"port {local_relay.port}: 'Address already in use"),
    ):
        local_relay.start()


def run_program(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_the_program_says_when_nostr_sdk_is_missing() -> None:
    with run_program("-S", PROGRAM, "--port", "20000") as program:  # -S: without site-packages
        output, _ = program.communicate(timeout=TIMEOUT)
    assert output == "failed nostr-sdk is not installed: pip install 'gennostr[demo]'\n"
    assert program.returncode == 1


@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGINT])
def test_the_program_exits_cleanly_on_a_signal(signal_: signal.Signals) -> None:
    port = local_relay_module.free_port()
    with run_program("-m", "gennostr.cli.local_relay", "--port", str(port)) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == f"ready ws://127.0.0.1:{port}/\n"
        program.send_signal(signal_)
        assert program.wait(TIMEOUT) == 0


def test_the_program_exits_cleanly_at_the_end_of_its_input() -> None:
    port = local_relay_module.free_port()
    with run_program(PROGRAM, "--port", str(port)) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stdout.readline() == f"ready ws://127.0.0.1:{port}/\n"
        program.stdin.close()
        assert program.wait(TIMEOUT) == 0


def test_a_local_relay_does_not_outlive_a_killed_owner() -> None:
    owner = (
        "from gennostr.cli.local_relay import LocalRelay; import os, signal; relay = LocalRelay();"
        "relay.start(); print(relay.port, relay._process.pid, flush=True);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    with run_program("-W", "ignore", "-c", owner) as program:
        output, _ = program.communicate(timeout=TIMEOUT)
    port, pid = map(int, output.split())
    with socket.socket() as client:
        client.settimeout(TIMEOUT)
        # It may still be there for a moment: then it ends this connection with itself.
        if client.connect_ex(("127.0.0.1", port)) == 0:
            with suppress(ConnectionResetError):
                assert client.recv(1) == b"", f"relay {pid} still runs"


# -- nostr-relay


def test_nostr_relay_returns_a_published_event(nostr_relay: NostrRelay) -> None:
    event = signed_event("hello")
    assert publish(nostr_relay.url, event)[:3] == ["OK", event["id"], True]
    assert event in query(nostr_relay.url)


def test_nostr_relay_serves_its_information_document(nostr_relay: NostrRelay) -> None:
    client = http.client.HTTPConnection("127.0.0.1", nostr_relay.port, timeout=TIMEOUT)
    with closing(client):
        client.request("GET", "/", headers={"Accept": "application/nostr+json"})
        assert json.load(client.getresponse())["name"] == "gennostr test relay"


def test_nostr_relay_restarts_empty_on_its_port() -> None:
    with NostrRelay() as nostr_relay:
        publish(nostr_relay.url, signed_event("lost"))
        nostr_relay.kill()
        with pytest.raises(ConnectionRefusedError):
            connect(nostr_relay.url)
        nostr_relay.restart()
        assert query(nostr_relay.url) == []


# -- the scripted relay


def test_a_scripted_relay_upgrades_and_talks(relay: ScriptedRelay, dial: Dial) -> None:
    dialled = dial(relay.url)
    peer = relay.accept()
    client = dialled.result(TIMEOUT)
    client.send('["REQ","a",{}]')
    client.send('["CLOSE","a"]')
    peer.send(["EOSE", "a"])
    assert peer.request.startswith("GET / HTTP/1.1\r\n")
    assert peer.receive() == ["REQ", "a", {}]
    assert peer.expect("CLOSE") == ["CLOSE", "a"]
    assert client.recv() == '["EOSE", "a"]'


def test_a_scripted_relay_speaks_tls(dial: Dial) -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with ScriptedRelay(tls=server) as relay:
        dialled = dial(relay.url, sslopt={"context": trusting})
        peer = relay.accept()
        assert relay.url == f"wss://localhost:{relay.port}/"
        peer.send(["NOTICE", "secret"])
        client = dialled.result(TIMEOUT)
        assert client.recv() == '["NOTICE", "secret"]'
        peer.half_close()
        client.send('["CLOSE","still readable"]')
        with pytest.raises((websocket.WebSocketConnectionClosedException, ssl.SSLEOFError)):
            client.recv()
        assert peer.receive() == ["CLOSE", "still readable"]


def test_a_scripted_relay_refuses_an_upgrade(relay: ScriptedRelay, dial: Dial) -> None:
    dialled = dial(relay.url + "path")
    peer = relay.accept_raw()
    assert peer.read_request().startswith("GET /path ")
    peer.refuse(429, b"slow down", "Too Many Requests")
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        dialled.result(TIMEOUT)
    assert caught.value.status_code == 429
    assert caught.value.resp_body == b"slow down"


def test_a_scripted_relay_sends_nothing_on_its_own(relay: ScriptedRelay) -> None:
    with socket.create_connection(("127.0.0.1", relay.port)) as client:
        peer = relay.accept_raw()
        client.settimeout(0)
        with pytest.raises(BlockingIOError):
            client.recv(1)
        with pytest.raises(TimeoutError, match="waited for the upgrade request in vain"):
            peer.read_request(timeout=0.05)


def test_a_scripted_relay_that_nobody_calls_says_so(relay: ScriptedRelay) -> None:
    with pytest.raises(TimeoutError, match=f"nobody connected to {relay.url} within 0.05 s"):
        relay.accept(timeout=0.05)


def test_a_scripted_relay_stops_listening_and_starts_again_on_its_port(relay: ScriptedRelay, dial: Dial) -> None:
    relay.stop_listening()
    with pytest.raises(ConnectionRefusedError):
        connect(relay.url)
    relay.start_listening()
    dialled = dial(relay.url)
    relay.accept()
    assert dialled.result(TIMEOUT).connected


@pytest.fixture
def pair(relay: ScriptedRelay, dial: Dial) -> tuple[Any, Any]:
    """A client and its peer, upgraded."""
    dialled = dial(relay.url)
    peer = relay.accept()
    return dialled.result(TIMEOUT), peer


def test_a_peer_answers_pings_while_it_waits_for_a_message(pair: tuple[Any, Any]) -> None:
    client, peer = pair
    client.ping("are you there")
    client.send('["CLOSE","a"]')
    peer.receive()
    opcode, frame = client.recv_data_frame(control_frame=True)
    assert (opcode, frame.data) == (PONG, b"are you there")


def test_a_peer_hands_out_frames_as_they_come(pair: tuple[Any, Any]) -> None:
    client, peer = pair
    client.ping("one")
    client.send_binary(bytes(70_000))
    assert peer.receive_frame() == (PING, b"one")
    assert peer.receive_frame() == (BINARY, bytes(70_000))


def test_a_peer_sends_frames_as_the_test_wants_them(pair: tuple[Any, Any]) -> None:
    client, peer = pair
    peer.send_frame(TEXT, b"frag", fin=False)
    peer.ping(b"between")
    peer.send_frame(CONTINUATION, b"ment" * 200)
    assert client.recv() == "frag" + "ment" * 200
    assert peer.receive_frame() == (PONG, b"between")
    peer.send_frame(TEXT, b"masked", masked=True)
    assert client.recv() == "masked"
    peer.send_frame(TEXT, b"reserved", rsv=4)
    with pytest.raises(websocket.WebSocketProtocolException, match="rsv"):
        client.recv()


def test_a_peer_rejects_an_unmasked_frame(pair: tuple[Any, Any]) -> None:
    client, peer = pair
    client.sock.sendall(b"\x81\x02[]")
    with pytest.raises(AssertionError, match="unmasked frame"):
        peer.receive()


def test_a_peer_closes_with_code_and_reason(pair: tuple[Any, Any]) -> None:
    client, peer = pair
    peer.close(4000, "go away")
    opcode, frame = client.recv_data_frame(control_frame=True)
    assert (opcode, frame.data) == (CLOSE, b"\x0f\xa0go away")


def test_a_peer_reads_the_clients_close_frame(pair: tuple[Any, Any]) -> None:
    client, peer = pair
    client.send('["CLOSE","before"]')
    client.send_close(1001, b"leaving")
    assert peer.expect_close() == (1001, "leaving")


def test_a_peer_reports_a_close_where_a_message_was_expected(pair: tuple[Any, Any]) -> None:
    client, peer = pair
    client.send_close(1009, b"too big")
    with pytest.raises(EOFError, match="waiting for EOSE: the client closed with 1009 'too big'"):
        peer.expect("EOSE")


def test_a_dropped_peer_resets_the_connection(pair: tuple[Any, Any]) -> None:
    client, peer = pair
    peer.drop()
    with pytest.raises(ConnectionResetError):
        client.recv()


def test_a_disconnected_peer_ends_the_connection_without_a_reset(pair: tuple[Any, Any]) -> None:
    client, peer = pair
    client.send("unread")
    assert not peer.is_closed(timeout=0.05)  # and so "unread" has arrived
    peer.disconnect()
    with pytest.raises(websocket.WebSocketConnectionClosedException):
        client.recv()


def test_a_peer_knows_whether_the_client_has_gone(pair: tuple[Any, Any]) -> None:
    client, peer = pair
    assert not peer.is_closed(timeout=0.05)
    client.send('["CLOSE","last words"]')
    client.shutdown()
    assert peer.is_closed()
    assert peer.receive() == ["CLOSE", "last words"]


# -- the check after every test


def test_the_leak_check_passes_when_nothing_is_left() -> None:
    leaks.check(leaks.Snapshot(), timeout=0)


def test_the_leak_check_names_a_thread_and_where_it_is() -> None:
    before = leaks.Snapshot()
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="the leaked one")
    thread.start()
    try:
        with pytest.raises(AssertionError, match=r"(?s)thread the leaked one, .* in wait"):
            leaks.check(before, timeout=0)
    finally:
        release.set()
        thread.join()
    leaks.check(before)


def test_the_leak_check_waits_for_a_thread_that_ends_in_time() -> None:
    before = leaks.Snapshot()
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    timer = threading.Timer(0.1, release.set)
    timer.start()
    leaks.check(before)
    assert not thread.is_alive()


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="there is no /proc")


@needs_proc
def test_the_leak_check_names_a_socket() -> None:
    before = leaks.Snapshot()
    with socket.socket(), pytest.raises(AssertionError, match=r"descriptor \d+: socket:"):
        leaks.check(before, timeout=0)


@needs_proc
def test_the_leak_check_names_a_process() -> None:
    before = leaks.Snapshot()
    with (
        subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process,
        pytest.raises(AssertionError, match=f"process {process.pid}: cat"),
    ):
        leaks.check(before, timeout=0)


@needs_proc
def test_the_leak_check_names_a_process_that_nobody_waited_for() -> None:
    before = leaks.Snapshot()
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is not collected
    try:
        with pytest.raises(AssertionError, match=f"process {process.pid}: ended, and nobody"):
            leaks.check(before, timeout=0)
    finally:
        process.wait()


class Forgotten(pykka.ThreadingActor):
    pass


def test_the_leak_check_names_an_actor() -> None:
    before = leaks.Snapshot()
    actor = Forgotten.start()
    try:
        with pytest.raises(AssertionError, match="actor Forgotten"):
            leaks.check(before, timeout=0)
    finally:
        actor.stop()
