"""gennostr info."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

from gennostr.testing import FakeRelay
from tests.cli.command import AT_ONCE, gennostr, running, signal_and_time
from tests.relays import NostrRelay

DOCUMENT = {
    "name": "a relay\x1b[31m",
    "description": "first\nsecond \u202e",
    "supported_nips": [1, 11, 42],
    "software": "some",
    "limitation": {"max_message_length": 16384, "auth_required": False, "payment_required": True, "odd": [1]},
    "retention": [{"time": 3600}],
}


@contextmanager
def serving(body: bytes, status: int = 200) -> Iterator[str]:
    """A server that answers every GET with this; its url as a relay's."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def test_what_a_relay_says_is_shown_limits_and_all_and_writes_nothing_to_the_terminal() -> None:
    with serving(json.dumps(DOCUMENT).encode()) as url:
        done = gennostr("info", url, status=0)
    shown = [each.split(maxsplit=1) for each in done.stdout.splitlines()]
    assert ["name", "a relay\\x1b[31m"] in shown
    assert done.stdout.splitlines()[3].strip() == "second \\u202e"
    assert ["NIPs", "1 11 42"] in shown
    lines = [" ".join(each) for each in (line.split() for line in done.stdout.splitlines())]
    assert "max message length 16,384 bytes" in lines
    assert "auth required no" in lines
    assert "payment required yes" in lines
    assert 'retention [{"time":3600}]' in lines
    assert "limitation odd [1]" in lines
    assert all(line.isprintable() for line in done.stdout.splitlines())


def test_json_is_the_document_itself() -> None:
    with serving(json.dumps(DOCUMENT).encode()) as url:
        [text] = gennostr("info", url, "--json", status=0).stdout.splitlines()
    assert text.isprintable()
    assert json.loads(text) == DOCUMENT


def test_a_real_relay(nostr_relay: NostrRelay) -> None:
    assert "gennostr test relay" in gennostr("info", nostr_relay.url, status=0).stdout


def test_a_relay_without_information_is_one_line_and_1() -> None:
    refusing = FakeRelay()
    refusing.stop_listening()
    with serving(b"no \x1b[31m JSON") as one, serving(b"", status=404) as other, refusing:
        for url, said in ((one, "JSON"), (other, "404"), (refusing.url, "refused")):
            done = gennostr("info", url, status=1)
            assert done.stdout == ""
            [text] = done.stderr.splitlines()
            assert said in text
            assert text.isprintable()


def test_a_silent_relay_is_given_up_after_the_timeout_and_ctrl_c_ends_it_at_once() -> None:
    with FakeRelay() as relay:
        assert "0.3 s" in gennostr("info", relay.url, "--timeout", "0.3", status=1).stderr
        relay.accept_raw()
        with running("info", relay.url) as asking:
            relay.accept_raw(timeout=20)
            assert signal_and_time(asking, signal.SIGINT) < AT_ONCE
            assert asking.returncode == 130
            assert asking.communicate() == ("", "")
