"""Real relays, killed and started again in the middle: no event that was published is missed or delivered twice."""

import time
from collections import Counter
from typing import Any, Protocol

import pytest

from gennostr.cli.local_relay import LocalRelay
from gennostr.nostr import Event, public_key, sign
from tests.client.recorder import Recording
from tests.client.test_subscriptions import Subscriber
from tests.relays import NostrRelay

KEY = "01" * 32


class RealRelay(Protocol):
    """What the two relays have in common."""

    @property
    def url(self) -> str: ...
    def start(self) -> None: ...
    def kill(self) -> None: ...


def note(number: int) -> Event:
    return sign(KEY, created_at=int(time.time()), kind=1, content=str(number))


def feed(relay: RealRelay, **script: Any) -> Recording:
    options = {"reconnect": [0.05], "verify": True}
    client = Recording(Subscriber, urls=[relay.url], options=options, signer=KEY, deduplicate=True, **script)
    client.feed.subscribe({"kinds": [1]}, "feed")
    return client


def publish(client: Recording, numbers: range) -> None:
    """Publish notes; again those that a relay that was killed did not take."""
    waiting = [note(number) for number in numbers]
    deadline = time.monotonic() + 60
    while waiting:
        assert time.monotonic() < deadline
        publications = [client.feed.publish(event, timeout=30) for event in waiting]
        waiting = [each.event for each in publications if not all(each.result().values())]


def told(client: Recording, number: int) -> Counter[str]:
    """So many events, by content, and what else comes until one more, the last."""
    seen: Counter[str] = Counter()
    deadline = time.monotonic() + 60
    while len(seen) < number:
        callback = client.next(timeout=max(0.0, deadline - time.monotonic()))
        if callback.name == "event":
            seen[callback.value.event.content] += 1
    return seen


@pytest.mark.parametrize("auth", [False, True])
def test_nostr_relay_which_keeps_its_events(auth: bool) -> None:  # noqa: FBT001
    with NostrRelay(keep=True, members=[public_key(KEY)] if auth else []) as relay, feed(relay) as client:
        for number in range(0, 100, 50):
            publish(client, range(number, number + 25))
            relay.kill()
            publications = [client.feed.publish(note(each), timeout=60) for each in range(number + 25, number + 50)]
            relay.start()
            assert all(all(each.result().values()) for each in publications)
        publish(client, range(100, 101))
        assert told(client, 101) == Counter(str(number) for number in range(101))


@pytest.mark.parametrize("auth", [False, True])
def test_nostr_sdks_relay_which_forgets_them(auth: bool) -> None:  # noqa: FBT001
    with LocalRelay(auth=auth) as relay, feed(relay) as client:
        seen: Counter[str] = Counter()
        for number in range(0, 100, 20):
            publish(client, range(number, number + 20))
            seen += told(client, 20)  # what it has delivered before it is killed it cannot deliver again
            relay.kill()
            relay.start()
        publish(client, range(100, 101))
        seen += told(client, 1)
        assert seen == Counter(str(number) for number in range(101))
