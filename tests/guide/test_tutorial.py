"""The programs of the tutorial."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from gennostr import (
    CallbackOutcome,
    CallOutcome,
    GenNostr,
    InitOutcome,
    NoReply,
    Ok,
    Relay,
    RelayOutcome,
    Request,
    send_after,
)
from gennostr.cli.local_relay import LocalRelay
from gennostr.nostr import EventMessage, generate_key, public_key, sign
from tests.guide.running import run, write


def test_the_word_counter_counts_standard_input(tmp_path: Path) -> None:
    text = "The fox and\nthe dog\n\nThe fox\nthe dog sleeps\n"
    assert run(write("tutorial", "word_counter.py", tmp_path), given=text) == "4 the\n2 fox\n2 dog\n"


def test_the_bot_survives_its_relays(tmp_path: Path, two_local_relays: tuple[LocalRelay, LocalRelay]) -> None:
    one, other = two_local_relays
    urls = [one.url, other.url]
    key = generate_key()
    command = [sys.executable, "-W", "error", str(write("tutorial", "bot.py", tmp_path)), *urls]
    environment = {**os.environ, "GENNOSTR_KEY": key}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, bufsize=1) as bot:
        try:
            with Asker.start((public_key(key), urls)) as asker:
                assert asker.call("hello", timeout=20) == "You said: hello"
                one.kill()
                assert asker.call("one is down", timeout=20) == "You said: one is down"
                one.start()
                other.kill()
                assert asker.call("other is down", timeout=20) == "You said: other is down"
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


class Asker(GenNostr[dict[str, Request]]):
    """Replies to a call with what the bot has answered; repeats its note while the bot does not answer.

    A note is not stored by a relay that is down, and not seen by a bot that has not subscribed yet.
    """

    deduplicate = True

    def init(self, init_arg: tuple[str, list[str]]) -> InitOutcome[dict[str, Request]]:
        self.bot, urls = init_arg
        self.key = generate_key()
        for url in urls:
            self.add_relay(url, reconnect=[0.1])
        self.subscribe({"kinds": [1], "#p": [public_key(self.key)], "limit": 0}, "answers")
        return Ok({})

    def handle_call(self, request: str, from_: Request, waiting: dict[str, Request]) -> CallOutcome[dict[str, Request]]:
        waiting[f"You said: {request}"] = from_
        self.ask(request, waiting)
        return NoReply()

    def handle_info(self, message: object, waiting: dict[str, Request]) -> CallbackOutcome[dict[str, Request]]:
        if isinstance(message, str):
            self.ask(message, waiting)
        return None

    def ask(self, text: str, waiting: dict[str, Request]) -> None:
        if f"You said: {text}" in waiting:
            self.publish(sign(self.key, kind=1, tags=[["p", self.bot]], content=text), timeout=1)
            send_after(0.5, self.pid, text)

    def handle_event(
        self, message: EventMessage, relay: Relay, waiting: dict[str, Request]
    ) -> RelayOutcome[dict[str, Request]]:
        from_ = waiting.pop(message.event.content, None)
        if from_ is not None:
            from_.reply(message.event.content)
        return None
