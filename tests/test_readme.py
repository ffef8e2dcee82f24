"""The programs of README.rst run as they are printed."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gennostr import GenNostr, NoReply, Ok, send_after
from gennostr.cli.local_relay import LocalRelay
from gennostr.nostr import EventMessage, public_key, sign

README = (Path(__file__).parents[1] / "README.rst").read_text()


def programs() -> list[str]:
    blocks = re.findall(r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)", README)
    return [textwrap.dedent(block) for block in blocks]


def test_the_client_runs_as_printed(local_relay: LocalRelay, capsys: Any) -> None:
    names: dict[str, Any] = {"relay_url": local_relay.url}
    program, embedding, *_ = programs()
    exec(program, names)
    with names["Feed"].start([local_relay.url]) as feed:
        event = sign("01" * 32, created_at=int(time.time()), kind=1, content="as printed")
        feed.send_message(["EVENT", event], local_relay.url)
        deadline = time.monotonic() + 5
        while feed.call("how many?") == 0:  # each call waits for its turn among the events
            assert time.monotonic() < deadline
    assert capsys.readouterr().out == f"{local_relay.url} as printed\n"
    exec(embedding.replace("wss://other.example", "ws://127.0.0.1:1"), names)


def test_the_bot_runs_as_printed_and_survives_its_relays(two_local_relays: tuple[LocalRelay, LocalRelay]) -> None:
    _, _, program, _ = programs()
    assert len([line for line in program.splitlines() if line]) <= 31
    key = "02" * 32
    one, other = two_local_relays
    for example, url in (("wss://relay.example", one.url), ("wss://other.example", other.url)):
        assert example in program
        program = program.replace(example, url)
    command = [sys.executable, "-W", "error", "-c", program]
    environment = {**os.environ, "GENNOSTR_KEY": key}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, bufsize=1) as bot:
        try:
            with Answers.start((public_key(key), [one.url, other.url])) as user:
                assert user.call("hello", timeout=20) == "You said: hello"
                one.kill()
                assert user.call("one is down", timeout=20) == "You said: one is down"
                one.start()
                other.kill()
                assert user.call("other is down", timeout=20) == "You said: other is down"
            # The second answer is settled when the first relay is back, which may be after the third was delivered.
            said = printed(bot, lambda so_far: so_far.count("accepted") >= 3)
        finally:
            bot.send_signal(signal.SIGINT)
            bot.communicate(timeout=10)
    assert bot.returncode == 0
    assert said.count("accepted") >= 3


def printed(program: "subprocess.Popen[str]", enough: Callable[[str], bool], seconds: float = 20) -> str:
    """Read what `program` prints until it is enough, or time is up."""
    assert program.stdout is not None
    watchdog = threading.Timer(seconds, program.kill)
    watchdog.start()
    said = ""
    while not enough(said) and (line := program.stdout.readline()):
        said += line
    watchdog.cancel()
    return said


class Answers(GenNostr[None]):
    """Answers a call with what the bot has answered; asks again when nobody was there to hear it."""

    def init(self, init_arg: Any) -> Any:
        self.bot, urls = init_arg
        self.key = "03" * 32
        for url in urls:
            self.add_relay(url, reconnect=[0.1])
        self.subscribe({"kinds": [1], "#p": [public_key(self.key)], "limit": 0}, "answers")
        self.waiting: dict[str, Any] = {}
        self.deduplicate = True
        return Ok(None)

    def handle_call(self, request: str, from_: Any, state: None) -> Any:
        self.waiting[f"You said: {request}"] = from_
        return self.handle_info(request, state)

    def handle_info(self, message: Any, state: None) -> Any:
        if isinstance(message, str) and f"You said: {message}" in self.waiting:
            tags = [["p", self.bot]]
            self.publish(sign(self.key, created_at=int(time.time()), kind=1, tags=tags, content=message), timeout=1)
            send_after(0.5, self.pid, message)
        return NoReply()

    def handle_event(self, message: EventMessage, relay: Any, state: None) -> Any:
        from_ = self.waiting.pop(message.event.content, None)
        if from_ is not None:
            from_.reply(message.event.content)


def run_tests(directory: Path, *texts: str) -> tuple[str, int]:
    """Return what pytest says of test files, and its status; with our plugin and, to be fast, no other."""
    for number, text in enumerate(texts):
        (directory / f"test_{number}.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=0", "-vv"]
    command += ["-p", "gennostr.testing.pytest_plugin"]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr, done.returncode


def test_the_test_runs_as_printed_and_fast(tmp_path: Path) -> None:
    *_, text = programs()
    assert len(text.strip().splitlines()) <= 25
    said, status = run_tests(tmp_path, text)
    assert status == 0, said
    took = re.search(r"([\d.]+)s call", said)
    assert took is not None
    assert float(took[1]) < 0.5  # on an idle machine a tenth of that


BROKEN = {
    "a message REQ": ("self.send_message", "len"),
    "expected a message that is 'hello'": ("self.owner.send(message.event.content)", "pass"),
    "[{'kinds': [2]}]": ('{"kinds": [1]}], relay', '{"kinds": [2]}], relay'),
    "nobody connected": ("def handle_event", "def handle_disconnect(self, *_): pass\n    def handle_event"),
    "crashed in handle_event: AttributeError": ("[*seen, message.event.id]", "[*seen, message.id]"),
}


def test_the_test_as_printed_says_what_is_wrong_with_a_client_that_is_broken(tmp_path: Path) -> None:
    *_, text = programs()
    for part, _ in BROKEN.values():
        assert part in text
    texts = [text.replace(*each, 1).replace("accept()", "accept(timeout=0.5)") for each in BROKEN.values()]
    said, status = run_tests(tmp_path, *texts)
    assert status == 1
    parts = re.split(r"\n_+ (?:ERROR at teardown of )?test_\w+ _+\n", said.partition("short test summary")[0])
    for number, words in enumerate(BROKEN):
        assert any(words in part for part in parts if f"test_{number}." in part), words


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
