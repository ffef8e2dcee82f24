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


def section(title: str) -> str:
    """Return a section of the README in one line."""
    _, _, rest = README.partition(f"\n{title}\n{'-' * len(title)}\n")
    return " ".join(re.split(r"\n.+\n-{3,}\n", rest)[0].split())


def test_the_limitations_say_what_a_kill_is_and_when_an_exit_signal_takes_effect() -> None:
    text = section("Limitations")
    for words in (
        "A thread cannot be killed",
        "is a fence",
        "ends when its blocking call returns",
        "``gennostr.abandoned()`` counts such threads, and each is logged",
        "An exit signal ends a busy actor that does not trap exits before its next message",
    ):
        assert words in text
