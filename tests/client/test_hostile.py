"""A relay that says anything at any time, while its client subscribes, publishes and counts: every wait ends.

What is said is chosen at random, from all that a relay can say, about what was asked for and what was not; the seed is
in the test's name.
"""

import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from gennostr import RelayNotFound
from gennostr.client import authentication, relay_session
from gennostr.client.publications import PendingAnswers
from gennostr.testing import FakeRelay, make_event
from tests.client.recorder import Recording
from tests.client.test_subscriptions import Subscriber

STEPS = 250
IDS = ["a", "b", "c"]
REFUSALS = [
    "auth-required: who are you?",
    "restricted: no",
    "rate-limited: slow down",
    "error: no",
    "duplicate: had it",
    "rate-limited",
    "",
]
FILTERS: list[Any] = [
    {"kinds": [1]},
    {"kinds": [1], "limit": 0},
    [{"kinds": [7]}, {"kinds": [1], "limit": 5}],
    {"ids": ["0" * 64]},
]


class Dialogue:
    """Both ends of it, and what the relay has read."""

    def __init__(self, relay: FakeRelay, client: Recording, seed: int) -> None:
        self.relay = relay
        self.feed = client.feed
        self.random = random.Random(seed)
        self.asked = ["nonesuch"]
        self.published = [""]
        self.waits: list[PendingAnswers[Any]] = []
        relay.accept()

    def id(self) -> str:
        return self.random.choice([*self.asked[-8:], *IDS])

    def step(self) -> None:
        """Let one of the two do something, and read what has come."""
        chosen: Callable[[], object] = self.random.choice([*[self.say] * 3, self.ask])
        try:
            chosen()
        except RelayNotFound:
            pass  # it is in between two attempts
        while (message := self.heard()) is not None:
            if message[0] in ("REQ", "COUNT"):
                self.asked.append(message[1])
            elif message[0] in ("EVENT", "AUTH"):
                self.published.append(message[1]["id"])

    def heard(self) -> list[Any] | None:
        try:
            message: list[Any] = self.relay.receive(timeout=0.001)
        except AssertionError:  # nothing came, or the connection has gone
            if self.relay.is_closed(timeout=0):
                self.relay.accept()
            return None
        return message

    def ask(self) -> None:
        choice, feed = self.random.choice, self.feed
        match self.random.randrange(12):
            case 0 | 1 | 2:
                feed.subscribe(choice(FILTERS), choice([*IDS, None]))
            case 3 | 4:
                feed.unsubscribe(self.id())
            case 5 | 6 | 7:
                self.waits.append(feed.publish(make_event(), timeout=choice([0.01, 0.5, 0.8])))
            case 8:
                self.waits.append(feed.count({"kinds": [1]}, timeout=choice([0.01, 0.5])))
            case 9 if self.waits:
                choice(self.waits).cancel()
            case 10:
                self.relay.drop()
                self.relay.accept()
            case _:
                feed.remove_relay(self.relay.url)
                feed.add_relay(self.relay.url, reconnect=[0.001], close_timeout=0.05)
                self.relay.accept()

    def say(self) -> None:
        choice, relay = self.random.choice, self.relay
        match self.random.randrange(8):
            case 0 | 1:
                now, id_ = int(time.time()), self.id()
                for _ in range(choice([1, 1, 25])):
                    age = choice([now, 1_000, 9_999_999_999, now - self.random.randrange(100), -5])
                    relay.event(id_, kind=choice([1, 1, 1, 7]), created_at=age)
            case 2:
                relay.eose(self.id())
            case 3:
                relay.closed(self.id(), choice(REFUSALS))
            case 4:
                relay.ok(choice(self.published[-6:]), accepted=choice([True, False]), message=choice(REFUSALS))
            case 5:
                relay.auth(f"prove it {self.random.random()}")
            case 6:
                relay.notice(choice(REFUSALS))
            case _:
                relay.send(["COUNT", self.id(), {"count": 1, "hll": choice([None, "00" * 256, "zz"])}])


@pytest.mark.parametrize("signer", [None, "01" * 32, ["01" * 32, "02" * 32]], ids=["nobody", "one", "two"])
@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_a_relay_says_the_client_lives_and_every_wait_ends(
    monkeypatch: pytest.MonkeyPatch, seed: int, signer: Any
) -> None:
    monkeypatch.setattr(relay_session, "COOL_DOWN", (0.02, 0.05))
    monkeypatch.setattr(relay_session, "HOLD", 0.01)
    monkeypatch.setattr(relay_session, "FULL_OUTBOX", 0.01)
    monkeypatch.setattr(authentication, "TIMEOUT", 0.05)
    options = {"reconnect": [0.001], "max_queue_messages": 50, "close_timeout": 0.05}
    with (
        FakeRelay() as relay,
        Recording(Subscriber, urls=[relay.url], options=options, deduplicate=seed % 2 == 0, signer=signer) as client,
    ):
        dialogue = Dialogue(relay, client, seed)
        for _ in range(STEPS):
            dialogue.step()
        assert client.feed.is_alive()
        for wait in dialogue.waits:
            if not wait.cancelled():
                assert wait.result(10) is not None
        relay.drop()
