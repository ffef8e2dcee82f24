"""The relays of the tests do what tests rely on."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import nostr_sdk
import pykka
import pytest
import websocket

from gennostr.cli import local_relay as local_relay_module
from gennostr.cli.local_relay import LocalRelay
from gennostr.testing import leaks
from tests.relays import NostrRelay

TIMEOUT = 5
PROGRAM = local_relay_module.__file__


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
