"""The command, as a user runs it: in a process of its own."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import nostr_sdk
import websocket

from gennostr.cli.local_relay import LocalRelay

COMMAND = [sys.executable, "-W", "error", "-m", "gennostr.cli"]
ROOT = Path(__file__).parents[2]


def publish(relay: LocalRelay, content: str) -> str:
    """Publish a note, signed as that relay computes ids, and return its id."""
    event = nostr_sdk.EventBuilder(nostr_sdk.Kind(1), content).finalize(nostr_sdk.Keys.generate())
    with contextlib.closing(websocket.create_connection(relay.url, timeout=5)) as client:
        client.send(f'["EVENT",{event.as_json()}]')
        assert json.loads(client.recv())[:3] == ["OK", event.id().to_hex(), True]
    return str(event.id().to_hex())


def test_demo_shows_everything_and_exits_0() -> None:
    began = time.monotonic()
    done = subprocess.run([*COMMAND, "demo"], capture_output=True, text=True, cwd=ROOT, check=False, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - began < 20
    lines = done.stdout.splitlines()
    assert sum(" EVENT " in line for line in lines) == 40
    assert sum(" EOSE " in line for line in lines) == 3
    assert any("ConnectionSupervisor" in line for line in lines)
    assert any("disconnected; attempt 1" in line for line in lines)
    assert lines[-1].startswith("saw 3 connects, 40 events")
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


def test_demo_says_what_is_amiss_and_exits_1() -> None:
    program = (
        "import sys; sys.modules['nostr_sdk'] = None; import gennostr.cli.local_relay as relay;"
        "relay.START_TIMEOUT = 0.0; from gennostr.cli import main; sys.exit(main(['demo']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1
    assert "amiss: TimeoutError" in done.stdout


def test_listen_prints_one_json_event_a_line_until_ctrl_c(local_relay: LocalRelay) -> None:
    events = [publish(local_relay, f"note {number}\n\x1b[31m") for number in range(3)]
    arguments = ["listen", local_relay.url, "--kinds", "1", "--limit", "20", "--json"]
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as listener:
        assert listener.stdout is not None
        lines = [listener.stdout.readline() for _ in events]
        assert sorted(json.loads(line)["id"] for line in lines) == sorted(events)
        listener.send_signal(signal.SIGINT)
        rest, said = listener.communicate(timeout=10)
        assert listener.returncode == 0, said
        assert rest == b""
        assert b"3 events" in said


def test_listen_escapes_control_characters(local_relay: LocalRelay) -> None:
    publish(local_relay, "a\x1b[31mb\nc")
    with subprocess.Popen(
        [*COMMAND, "listen", local_relay.url], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT
    ) as listener:
        assert listener.stdout is not None
        assert listener.stdout.readline().endswith(b" a\\x1b[31mb\\nc\n")
        listener.terminate()
        assert listener.wait(10) == 0


def test_listen_shows_a_live_status_line_on_a_terminal(local_relay: LocalRelay) -> None:
    publish(local_relay, "hello")
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(
        [*COMMAND, "listen", local_relay.url], stdout=slave, stderr=slave, cwd=ROOT, env=environment
    ) as listener:
        os.close(slave)
        shown = b""
        while b"1 connected \xc2\xb7 1 events" not in shown:
            shown += os.read(master, 4096)
        assert b"\x1b[32m" in shown
        listener.send_signal(signal.SIGINT)
        try:
            while os.read(master, 4096):
                pass
        except OSError:  # the other end is closed
            pass
        assert listener.wait(10) == 0
    os.close(master)


def test_a_wrong_command_line_says_what_is_wrong_and_exits_2() -> None:
    for arguments, said in [
        (["listen", "http://relay.example"], "http://relay.example"),
        (["listen", "wss://relay.example", "--kinds", "one"], "one"),
        (["listen", "wss://relay.example", "--authors", "me"], "me"),
        ([], "command"),
    ]:
        done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, cwd=ROOT, check=False)
        assert done.returncode == 2
        assert said in done.stderr
