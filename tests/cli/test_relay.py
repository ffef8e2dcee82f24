"""gennostr relay."""

import json
import signal
import socket
import subprocess
import sys
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from gennostr.cli.local_relay import HOST, free_port
from gennostr.testing import MemoryRelay
from tests.cli.command import AT_ONCE, KEY, PATIENCE, ROOT, gennostr, line, note, running, signal_and_time


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


def test_it_runs_on_at_the_end_of_standard_input() -> None:
    with running("relay", "--port", "0") as relay:  # whose standard input is /dev/null
        url = line(relay).strip()
        gennostr("publish", url, "--content", "still there", key=KEY, status=0)


def test_with_auth_it_requires_authentication() -> None:
    with running("relay", "--port", "0", "--auth") as relay:
        url = line(relay).strip()
        assert "auth-required" in gennostr("fetch", url, "--timeout", "2", status=1).stderr
        gennostr("fetch", url, "--auth", key=KEY, status=0)


def test_the_port_is_the_given_one() -> None:
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


def test_it_has_an_information_document_and_a_browser_gets_an_answer() -> None:
    with running("relay", "--port", "0") as relay:
        url = line(relay).strip()
        assert "gennostr relay" in gennostr("info", url, status=0).stdout
        document = json.loads(gennostr("info", url, "--json", status=0).stdout)
        assert 45 in document["supported_nips"]
        with pytest.raises(HTTPError) as answer:
            urlopen(url.replace("ws://", "http://"), timeout=PATIENCE)
        with answer.value as response:
            assert response.code == 426
            assert b"Nostr relay" in response.read()


def test_many_connections_and_large_messages_pass_through_the_front() -> None:
    with running("relay", "--port", "0") as relay, MemoryRelay() as source:
        url = line(relay).strip()
        for number in range(50):
            source.store(note("x" * 20_000, created_at=1_700_000_000 + number))
        gennostr("mirror", source.url, url, status=0)
        assert len(gennostr("fetch", url, status=0).stdout.splitlines()) == 50
        assert gennostr("count", url, status=0).stdout.split()[0] == "50"


def test_it_stops_at_once_and_quietly_while_clients_are_connected() -> None:
    with running("relay", "--port", "0") as relay:
        url = line(relay).strip()
        with (
            running("listen", url) as listener,
            socket.create_connection((HOST, int(url.rpartition(":")[2].strip("/")))) as half,
        ):
            half.sendall(b"GET / HTTP")
            assert listener.stderr is not None
            assert "connected" in listener.stderr.readline()
            assert signal_and_time(relay, signal.SIGTERM) < AT_ONCE
        assert relay.communicate() == ("", "events are kept in memory only; Ctrl-C stops the relay\n")


def test_what_is_not_http_is_disconnected() -> None:
    with running("relay", "--port", "0") as relay:
        port = int(line(relay).strip().rpartition(":")[2].strip("/"))
        for sent in (b"\x00\xff\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"y" * 100_000):
            with socket.create_connection((HOST, port)) as client:
                client.sendall(sent)
                client.settimeout(PATIENCE)
                try:
                    while client.recv(4096):
                        pass
                except ConnectionResetError:  # it had not read everything
                    pass


def test_a_relay_that_requires_authentication_has_no_document_and_info_says_so() -> None:
    with running("relay", "--port", "0", "--auth") as relay:
        said = gennostr("info", line(relay).strip(), status=1).stderr
    assert "it may have no information document" in said
