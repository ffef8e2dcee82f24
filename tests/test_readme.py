"""README.rst: short, and its programs run as they are printed."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import gennostr
from gennostr import guide
from gennostr.cli import COMMANDS
from gennostr.cli.local_relay import LocalRelay

README = (Path(__file__).parents[1] / "README.rst").read_text()
CODE = re.compile(r"(?:\.\. code-block:: python|::)\n\n((?:    .*\n|\n)+)")

SHORTEST = """\
from gennostr import GenNostr, Ok, Reply, run

class Feed(GenNostr[int]):
    def init(self, urls):
        for url in urls:
            self.add_relay(url)
        return Ok(0)

    def handle_connect(self, relay, seen):
        self.send_message(["REQ", "feed", {"kinds": [1], "limit": 20}], relay)

    def handle_event(self, message, relay, seen):
        print(relay.url, message.event.content)
        return Ok(seen + 1)

    def handle_call(self, request, from_, seen):
        return Reply(seen)
"""
"""A client as it was first promised: no annotations, and the protocol by hand."""


def programs() -> list[str]:
    blocks = re.findall(r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)", README)
    return [textwrap.dedent(block) for block in blocks]


def test_it_is_short_enough_to_be_read() -> None:
    assert len(README.splitlines()) <= 250
    prose = CODE.sub("\n", README)
    assert len(re.findall(r"[A-Za-z]\S*", prose)) <= 750  # five minutes aloud, at 150 words a minute


def test_the_server_runs_as_printed() -> None:
    server, _, _ = programs()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", server], capture_output=True, text=True, timeout=20, check=True
    )
    printed = re.findall(r"#.*?: (42|40)\b|# ('counter' exited .*)", server)
    assert done.stdout.splitlines() == [number or text for number, text in printed]
    assert done.stderr.count("crashed in handle_call: ValueError('volume')") == 1


@pytest.mark.parametrize("feed", ["the README's", "the shortest"])
def test_the_client_runs_as_printed(feed: str, local_relay: LocalRelay, capsys: Any) -> None:
    _, client, embedding = programs()
    names: dict[str, Any] = {"relay_url": local_relay.url, "__name__": "a_program"}
    exec(client if feed == "the README's" else SHORTEST, names)
    exec(embedding, names)
    *events, outcomes, seen = capsys.readouterr().out.splitlines()
    assert outcomes.startswith(f"{{'{local_relay.url}': PublishOutcome(kind='accepted'")
    assert int(seen) >= len(events)


def test_what_it_names_exists() -> None:
    topics = README.partition("Where to read on\n")[2].partition("Performance\n")[0]
    named = set(re.findall(r"``(\w+)``", topics.partition("====\n")[2])) & {*guide.TOPICS, *gennostr.__all__}
    assert named == set(guide.TOPICS)
    commands = README.partition("The command ``gennostr``")[2].partition("``gennostr COMMAND")[0]
    assert {*re.findall(r"``(\w+)``", commands), "demo", "guide"} == set(COMMANDS)
