"""The programs of README.rst run as they are printed."""

import re
import textwrap
import time
from pathlib import Path
from typing import Any

from gennostr.cli.local_relay import LocalRelay
from gennostr.nostr import sign

README = (Path(__file__).parents[1] / "README.rst").read_text()


def programs() -> list[str]:
    blocks = re.findall(r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)", README)
    return [textwrap.dedent(block) for block in blocks]


def test_the_client_runs_as_printed(local_relay: LocalRelay, capsys: Any) -> None:
    names: dict[str, Any] = {"relay_url": local_relay.url}
    program, embedding = programs()
    exec(program, names)
    with names["Feed"].start([local_relay.url]) as feed:
        event = sign("01" * 32, created_at=int(time.time()), kind=1, content="as printed")
        feed.send_message(["EVENT", event], local_relay.url)
        deadline = time.monotonic() + 5
        while feed.call("how many?") == 0:  # each call waits for its turn among the events
            assert time.monotonic() < deadline
    assert capsys.readouterr().out == f"{local_relay.url} as printed\n"
    exec(embedding.replace("wss://other.example", "ws://127.0.0.1:1"), names)
