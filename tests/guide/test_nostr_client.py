"""The program of the page `nostr_client` follows a real relay until Ctrl-C."""

import signal
from pathlib import Path

from gennostr.cli.local_relay import LocalRelay
from gennostr.nostr import generate_key, sign
from tests.guide.clients import publish, started
from tests.guide.running import program, write_programs


def test_the_client_prints_notes_until_it_is_interrupted(tmp_path: Path, local_relay: LocalRelay) -> None:
    write_programs(tmp_path, "nostr_client")
    key = generate_key()
    publish(local_relay.url, sign(key, kind=1, content="stored"))
    with program(tmp_path, started(tmp_path, "follow.py", local_relay.url)) as follow:
        assert follow.line() == f"{local_relay.url} stored"
        publish(local_relay.url, sign(key, kind=1, content="new"))
        assert follow.line() == f"{local_relay.url} new"
        follow.signal(signal.SIGINT)
        assert follow.end() == ("2 notes\n", "", 0)
