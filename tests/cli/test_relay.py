"""gennostr relay."""

import signal
import socket
import subprocess
import sys

from gennostr.cli.local_relay import HOST, free_port
from tests.cli.command import AT_ONCE, KEY, PATIENCE, ROOT, gennostr, line, running, signal_and_time


def test_it_prints_its_url_serves_and_stops_at_once_with_0() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        with running("relay", "--port", "0") as relay:
            url = line(relay).strip()
            gennostr("publish", url, "--content", "hello", key=KEY, status=0)
            assert '"hello"' in gennostr("fetch", url, status=0).stdout
            assert signal_and_time(relay, number) < AT_ONCE
            assert relay.returncode == 0
            assert relay.communicate()[0] == ""


def test_two_signals_mean_what_one_means() -> None:
    with running("relay", "--port", "0") as relay:
        line(relay)
        relay.send_signal(signal.SIGTERM)
        signal_and_time(relay, signal.SIGINT)
        assert relay.returncode == 0
        assert relay.communicate()[0] == ""


def test_it_goes_on_where_standard_input_is_at_its_end() -> None:
    with running("relay", "--port", "0") as relay:  # whose standard input is /dev/null
        url = line(relay).strip()
        gennostr("publish", url, "--content", "still there", key=KEY, status=0)


def test_with_auth_it_wants_to_know_who_it_is() -> None:
    with running("relay", "--port", "0", "--auth") as relay:
        url = line(relay).strip()
        assert "auth-required" in gennostr("fetch", url, "--timeout", "2", status=1).stderr
        gennostr("fetch", url, "--auth", key=KEY, status=0)


def test_the_port_is_the_one_that_was_asked_for() -> None:
    port = free_port()
    with running("relay", "--port", str(port)) as relay:
        assert line(relay) == f"ws://127.0.0.1:{port}/\n"


def test_a_port_that_is_taken_is_one_line_and_1() -> None:
    port = free_port()
    with socket.socket() as taken:
        taken.bind((HOST, port))
        taken.listen()
        with running("relay", "--port", str(port)) as relay:  # nostr-sdk would leave descriptors in this process
            _, said = relay.communicate(timeout=PATIENCE)
    assert relay.returncode == 1
    [text] = said.splitlines()
    assert f"port {port} is taken" in text
    assert gennostr("relay", "--port", "65536", status=2).stdout == ""


def test_without_nostr_sdk_it_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['nostr_sdk'] = None;"
        "from gennostr.cli import main; sys.exit(main(['relay', '--port', '0']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1
    assert done.stderr == "gennostr relay: nostr-sdk is not installed: pip install 'gennostr[demo]'\n"
