"""Copies of events that the client has handled: recognised by their ids, dropped, and counted."""

import itertools
import json
import random
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gennostr import KILL, GenNostr, Ok, StartError, Stop
from gennostr.client.copies import Copies, CopyFilter, _identify
from gennostr.client.options import Relay
from gennostr.client.outbox import Outbox
from gennostr.client.relay_session import FORGOTTEN
from gennostr.client.seen_events import SeenEvents, identity
from gennostr.nostr import Event, sign
from gennostr.testing import FakeConnection, FakeRelay, MemoryRelay
from gennostr.testing.relay_socket import TEXT, encode_frame
from tests.client.recorder import FAST, Recording
from tests.client.test_subscriptions import Subscriber, contents, send_nothing

SECRET = "2" * 64
ID = "0f" * 32
OWNER = bytes(8)


@cache
def signed(number: int) -> Event:
    return sign(SECRET, created_at=1_000 + number, kind=1, content=f"number {number}")


def payload(event: Event, subscription_id: str = "feed") -> bytes:
    return msgspec.json.encode(["EVENT", subscription_id, event])


# The id in the bytes.


@pytest.mark.parametrize(
    "text",
    [
        f'["EVENT","feed",{{"id":"{ID}","kind":1}}]',
        f'["EVENT", "feed", {{"kind": 1, "id": "{ID}"}}]',
        f'["EVENT","feed",{{"content":"\\"id\\":\\"{"1" * 64}\\"","id":"{ID}"}}]',
    ],
)
def test_the_id_is_found_where_relays_put_it(text: str) -> None:
    assert json.loads(text)[2]["id"] == ID
    found = _identify(text.encode())
    assert found is not None
    assert (found[0], found[3]) == (b"feed", ID.encode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        '["EVENT","',
        '["EOSE","feed"]',
        f'["EVENT","fe\\u0065d",{{"id":"{ID}"}}]',
        f'["EVENT","{"x" * 300}",{{"id":"{ID}"}}]',
        f'["EVENT",  "feed",{{"id":"{ID}"}}]',
        f'["EVENT","feed" ,{{"id":"{ID}"}}]',
        f'["EVENT","feed",{{"id" :"{ID}"}}]',
        f'["EVENT","feed",{{"\\u0069d":"{ID}"}}]',
        f'["EVENT","feed",{{"x":{{"id":"{ID}"}},"id":"{ID}"}}]',
        f'["EVENT","feed",{{"id":"{ID}","tags":[["id","x"]]}}]',
        f'["EVENT","feed",{{"id":"{ID[:-2]}"}}]',
        f'["EVENT","feed",{{"id":"{ID}00"}}]',
        f'["EVENT","feed",{{"id":"{"é" * 32}"}}]',
        '["EVENT","feed",{"id":7}]',
        '["EVENT","feed",{"id":"',
    ],
)
def test_what_is_unusual_is_decoded(text: str) -> None:
    assert _identify(text.encode()) is None


# The filter of one connection.


class Process:
    """As much of a process as claims need."""

    dead = False


class Connections:
    """The filters of two connections of one client."""

    def __init__(self) -> None:
        self.seen = SeenEvents()
        self.processes: list[Any] = [Process(), Process()]
        self.outboxes = [Outbox(Relay.new(f"wss://{name}.example")) for name in "ab"]
        for outbox in self.outboxes:
            outbox.requests[b"feed"] = OWNER
        self.one, self.other = (
            CopyFilter(self.seen, process, outbox)
            for process, outbox in zip(self.processes, self.outboxes, strict=True)
        )

    def handle(self, event: Event) -> None:
        self.seen.add(OWNER + event.id.encode(), event.created_at)


@pytest.fixture
def both() -> Connections:
    return Connections()


def sort(copies: CopyFilter, *received: Any, waited: bool = False) -> tuple[list[Any], list[Any]]:
    return copies.sort(list(received), 5.0, 2_000.0, waited=waited)


def shown(copies: list[Copies]) -> list[tuple[str, int, int | None, int | None]]:
    return [(each.subscription_id, each.count, each.oldest, each.newest) for each in copies]


def test_copies_are_dropped_and_their_counts_precede_an_eose(both: Connections) -> None:
    for number in (1, 2, 1_200):
        both.handle(signed(number))
    eose = b'["EOSE","feed"]'
    frames = [payload(signed(number)) for number in (1, 1_200, 3, 2)]
    needed, parked = sort(both.one, *frames, eose)
    assert parked == []
    copies = needed[1]
    assert needed == [payload(signed(3)), copies, eose]
    # The newest that counts is not the one from the future, which is dated 2,200 at 2,000.
    assert shown([copies]) == [("feed", 3, 1_001, 1_002)]
    assert both.one.count == 3
    assert both.outboxes[0].heard == {b"feed": 5.0}
    assert both.one.take() == []


def test_an_event_of_another_subscription_is_no_copy(both: Connections) -> None:
    both.handle(signed(1))
    both.outboxes[0].requests[b"other"] = b"another!"
    frame = payload(signed(1), "other")
    assert sort(both.one, frame) == ([frame], [])


@pytest.mark.parametrize("foreign", [False, True])
def test_an_event_for_an_unknown_id_is_one_only_where_these_are_delivered_once(
    both: Connections, *, foreign: bool
) -> None:
    both.outboxes[0].foreign = both.outboxes[1].foreign = foreign
    frame = payload(signed(1), "theirs")
    assert sort(both.one, frame) == ([frame], [])
    assert len(both.one.claimed) == foreign
    for key in both.one.claimed:
        both.seen.add(key, 1)
    assert sort(both.other, frame) == ([] if foreign else [frame], [])


def test_what_another_connection_brings_is_waited_for_with_all_that_follows(both: Connections) -> None:
    first, second, third = (payload(signed(number)) for number in (1, 2, 3))
    assert sort(both.one, second) == ([second], [])
    assert sort(both.other, first, second, third) == ([first], [second, third])
    assert not both.other.is_waiting_over([second, third])
    woken: list[Any] = []
    both.handle(signed(2))
    both.seen.end_claims(both.one.claimed, both.processes[0])
    both.seen.wake(lambda process, url: woken.append((process, url)))
    assert woken == [(both.processes[1], "wss://b.example/")]
    assert sort(both.other, second, third) == ([third], [])


def test_a_claim_that_ends_while_a_connection_begins_to_wait_is_not_waited_for(both: Connections) -> None:
    frame = payload(signed(1))
    sort(both.one, frame)
    assert sort(both.other, frame) == ([], [frame])
    both.seen.end_claims(both.one.claimed, both.processes[0])
    assert both.other.is_waiting_over([frame])


def test_an_event_is_not_waited_for_for_ever(both: Connections) -> None:
    frames = [payload(signed(number)) for number in (1, 2)]
    sort(both.one, *frames)
    assert sort(both.other, *frames) == ([], frames)
    assert sort(both.other, *frames, waited=True) == (frames[:1], frames[1:])


def test_a_dead_connections_claim_is_taken_over(both: Connections) -> None:
    frame = payload(signed(1))
    sort(both.one, frame)
    both.processes[0].dead = True
    assert sort(both.other, frame) == ([frame], [])
    both.seen.end_claims(both.one.claimed, both.processes[0])  # it has no claim left to end
    both.processes[0].dead = False
    assert sort(both.one, frame) == ([], [frame])


def test_a_relay_that_has_sent_something_invalid_claims_nothing(both: Connections) -> None:
    both.one.distrust()
    frame = payload(signed(1))
    assert sort(both.one, frame) == ([frame], [])
    assert sort(both.other, frame) == ([frame], [])


# In a client.


@pytest.fixture
def relays() -> Iterator[list[FakeRelay]]:
    with FakeRelay() as one, FakeRelay() as other, FakeRelay() as third:
        yield [one, other, third]


class Casting(Subscriber):
    """Calls what is cast to it."""

    def handle_cast(self, request: Any, state: Any) -> None:
        request(self)


def verifying(*relays: FakeRelay | MemoryRelay, **script: Any) -> Recording:
    urls = [each.url for each in relays]
    return Recording(Casting, urls=urls, options=FAST | {"verify": True}, deduplicate=True, **script)


def connected(client: Recording, relays: list[FakeRelay]) -> list[FakeConnection]:
    client.feed.subscribe({"kinds": [1]}, "feed")
    peers = [relay.accept() for relay in relays]
    for peer in peers:
        peer.expect_req()
    return peers


def test_a_copy_is_dropped_unread_and_counted(relays: list[FakeRelay]) -> None:
    with verifying(*relays[:2]) as client:
        one, other = connected(client, relays[:2])
        one.event("feed", signed(1))
        one.eose("feed")
        assert contents(client, 1) == ["number 1"]
        # Not even JSON, but for its beginning: it was not decoded.
        other.send_text(payload(signed(1)).decode()[:-40])
        other.eose("feed")
        while client.next().name != "eose_all":
            pass
        statistics = client.feed.relay_statistics()
        assert {url: each.copies for url, each in statistics.items()} == {relays[0].url: 0, relays[1].url: 1}
        assert statistics[relays[1].url].messages_received == 2
        other.drop()
        relays[1].accept()
        assert relays[1].expect_req().filters == [{"kinds": [1], "since": 1_001 - 60}]


def test_copies_that_no_message_follows_count_at_the_end_of_the_connection(relays: list[FakeRelay]) -> None:
    with verifying(*relays[:2]) as client:
        one, other = connected(client, relays[:2])
        other.eose("feed")
        one.event("feed", signed(1))
        while client.next().name != "event":
            pass
        other.event("feed", signed(1))
        other.drop()
        relays[1].accept()
        assert relays[1].expect_req().filters == [{"kinds": [1], "since": 1_001 - 60}]


def test_an_event_that_went_with_a_removed_relay_comes_from_another(relays: list[FakeRelay]) -> None:
    with verifying(*relays[:2]) as client:
        one, other = connected(client, relays[:2])
        client.expect("connect", "connect")
        blocked, go_on = threading.Event(), threading.Event()

        def block(recorder: Subscriber) -> None:
            blocked.set()
            go_on.wait(5)
            recorder.remove_relay(relays[0].url)  # what it has brought is dropped

        client.feed.cast(block)
        assert blocked.wait(5)
        one.event("feed", signed(1))
        await_undelivered(client, relays[0])
        other.event("feed", signed(1))
        other.eose("feed")
        go_on.set()
        assert client.expect("disconnect", "event").relay.url == relays[1].url
        client.expect("eose")


def await_undelivered(client: Recording, relay: FakeRelay) -> None:
    """Wait until a relay's message waits for the client."""
    deadline = threading.Event()
    for _ in range(500):
        if client.feed.relay_statistics()[relay.url].undelivered:
            return
        deadline.wait(0.01)
    raise AssertionError("nothing has arrived")


def test_a_connection_that_is_killed_while_others_wait_for_it_leaves_nothing_out(relays: list[FakeRelay]) -> None:
    with verifying(*relays[:2], reconnect=False) as client:
        one, other = connected(client, relays[:2])
        client.expect("connect", "connect")
        pid = client.feed.add_relay(relays[0].url)
        client.feed.suspend()
        one.event("feed", signed(1))
        await_undelivered(client, relays[0])
        other.event("feed", signed(1))
        other.event("feed", signed(2))
        pid.exit(KILL)
        client.feed.resume()
        assert sorted(contents(client, 2)) == ["number 1", "number 2"]


@pytest.mark.parametrize("seed", range(6))
def test_each_real_event_is_delivered_once_whatever_else_comes(relays: list[FakeRelay], seed: int) -> None:
    """Any interleaving of real, forged, duplicated and mutilated copies."""
    choose = random.Random(seed)
    events = [signed(number) for number in range(40)]
    streams: list[list[bytes]] = [[] for _ in relays]
    for event in events:
        real = payload(event)
        forged = payload(msgspec.structs.replace(event, content="forged"))
        mutilated = [
            real[: choose.randrange(len(real))],
            real.replace(b'"id":"', b'"id":"00'),
            real.replace(event.id.encode(), events[0].id.encode()),
            real.replace(b'"sig":', b'"sig":1,"sig":'),
            real.replace(b'{"id"', b'{"x":{"id":"' + events[1].id.encode() + b'"},"id"'),
            json.dumps(json.loads(real), indent=choose.choice([None, 1])).encode(),
            real.replace(b'"feed"', b'"fe\\u0065d"'),
        ]
        for stream in streams:
            stream += [choose.choice([forged, real, *mutilated]) for _ in range(choose.randrange(3))]
        choose.choice(streams).append(real)
    for stream in streams:
        choose.shuffle(stream)
    with verifying(*relays) as client:
        peers = connected(client, relays)
        writers = [
            threading.Thread(target=write, args=(peer, stream, random.Random(seed)))
            for peer, stream in zip(peers, streams, strict=True)
        ]
        for writer in writers:
            writer.start()
        found = []
        while (callback := client.next()).name != "eose_all":
            if callback.name == "event":
                found.append(callback.value.event)
        for writer in writers:
            writer.join(5)
    assert sorted(found, key=lambda each: each.created_at) == events


def write(peer: FakeConnection, stream: list[bytes], choose: random.Random) -> None:
    data = b"".join(encode_frame(TEXT, each) for each in [*stream, b'["EOSE","feed"]'])
    while data:
        size = choose.randrange(1, 3_000)
        peer.raw(data[:size])
        data = data[size:]


def test_what_a_connection_knows_of_requests_is_bounded(relays: list[FakeRelay]) -> None:
    with verifying(relays[0]) as client:
        (peer,) = connected(client, relays[:1])
        client.expect("connect")
        found = client.feed.connections.find(relays[0].url)
        assert found is not None
        for number in range(FORGOTTEN + 10):
            client.feed.subscribe({"kinds": [1]}, f"number {number}", relays=[relays[0].url])
            if number == 0:
                send_nothing(relays[0])
            peer.expect_req()
            peer.closed(f"number {number}", "error: no")
            client.expect("closed")
            client.expect("eose_all")
            client.feed.unsubscribe(f"number {number}")
        assert len(found[1].requests) <= FORGOTTEN + 2


# The size of the table.


@pytest.mark.parametrize("size", [0, -1, "many", True, 1.5])
def test_a_wrong_number_of_seen_events_is_refused(size: Any) -> None:
    class Client(GenNostr[None]):
        max_seen_events = size

    with pytest.raises(StartError) as caught:
        Client.start()
    assert "max_seen_events" in str(caught.value)


def test_a_client_remembers_as_many_as_it_says(relays: list[FakeRelay]) -> None:
    class Forgetful(Subscriber):
        max_seen_events = 2

    with Recording(Forgetful, urls=[relays[0].url], options=FAST | {"verify": True}) as client:
        (peer,) = connected(client, relays[:1])
        for number in (1, 2, 3, 4):
            peer.event("feed", signed(number))
        assert contents(client, 4) == [f"number {number}" for number in (1, 2, 3, 4)]
        for number in (3, 4, 1):
            peer.event("feed", signed(number))
        assert contents(client, 1) == ["number 1"]
        assert client.feed.statistics().seen_events in (2, 3)


@pytest.mark.parametrize("verified", [True, False])
def test_statistics_have_the_memory_of_what_a_client_remembers(*, verified: bool) -> None:
    seen, event = SeenEvents(2_000), signed(0)
    tracemalloc.start()
    try:
        for number in range(5_000):
            key = OWNER + identity(msgspec.structs.replace(event, id=f"{number:064x}"), verified=verified)
            seen.add(key, 10**9 + number)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(seen) == 3_000
    assert seen.size_in_bytes() == pytest.approx(taken, rel=0.1)


@given(steps=st.lists(st.one_of(st.just("take"), st.integers(1, 9)), max_size=40), size=st.integers(1, 12))
def test_new_events_are_taken_once_and_in_order_as_far_as_they_are_remembered(steps: list[Any], size: int) -> None:
    seen, numbers = SeenEvents(size), itertools.count()
    added: list[tuple[bytes, int]] = []
    for step in [*steps, "take"]:
        if step == "take":
            new = seen.take_new()
            assert new == added[len(added) - len(new) :]
            assert len(new) >= min(len(added), size)
            assert seen.count_new() == 0
            added = []
            continue
        for _ in range(step):
            number = next(numbers)
            seen.add(b"%d" % number, number)
            added.append((b"%d" % number, number))


# Events in batches.


class Batches(Subscriber):
    """Records the contents of the events of each call."""

    def handle_events(self, messages: list[Any], relay: Relay, state: Any) -> Any:
        return self._record("events", [each.event.content for each in messages], relay)


def one_read(peer: FakeConnection, *payloads: bytes) -> None:
    peer.raw(b"".join(encode_frame(TEXT, each) for each in payloads))


def test_events_that_follow_each_other_come_in_one_call(relays: list[FakeRelay]) -> None:
    with Recording(Batches, urls=[relays[0].url], options=FAST | {"verify": True}) as client:
        (peer,) = connected(client, relays[:1])
        forged = msgspec.structs.replace(signed(9), content="forged")
        real = [payload(signed(number)) for number in range(6)]
        unrequested = payload(sign(SECRET, created_at=1, kind=2, content="other"))
        one_read(peer, *real[:3], real[1], payload(forged), real[3], unrequested, real[4], b'["EOSE","feed"]', real[5])
        seen = [(each.name, each.value) for each in (client.next() for _ in range(9)) if each.name != "eose_all"]
        assert [name for name, _ in seen[1:]] == ["events", "error", "events", "error", "events", "eose", "events"]
        assert [value for name, value in seen if name == "events"] == [
            ["number 0", "number 1", "number 2"],
            ["number 3"],
            ["number 4"],
            ["number 5"],
        ]


def test_without_a_subscription_they_do_too(relays: list[FakeRelay]) -> None:
    with Recording(Batches, urls=[relays[0].url], options=FAST) as client:
        peer = relays[0].accept()
        one_read(peer, *(payload(signed(number)) for number in range(3)))
        client.expect("connect")
        assert client.expect("events").value == ["number 0", "number 1", "number 2"]


@pytest.mark.parametrize(
    ("outcome", "states"),
    [
        (lambda state: Ok(state + 1), [0, 1, 2]),
        (lambda state: None, [0, 0, 0]),
        (lambda state: Stop(state=state), [0]),
    ],
)
def test_the_default_calls_handle_event_for_each(
    relays: list[FakeRelay], outcome: Callable[[int], Any], states: list[int]
) -> None:
    found: list[int] = []
    done = threading.Event()

    class Counting(GenNostr[int]):
        def init(self, init_arg: Any) -> Any:
            self.add_relay(relays[0].url, **FAST)
            return Ok(0)

        def handle_events(self, messages: list[Any], relay: Relay, state: int) -> Any:
            return super().handle_events(messages, relay, state)

        def handle_event(self, message: Any, relay: Relay, state: int) -> Any:
            found.append(state)
            return outcome(state)

        def handle_eose(self, message: Any, relay: Relay, state: int) -> Any:
            done.set()

        def terminate(self, reason: Any, state: int) -> None:
            done.set()

    with Counting.start():
        peer = relays[0].accept()
        one_read(peer, *(payload(signed(number)) for number in range(3)), b'["EOSE","feed"]')
        assert done.wait(5)
    assert found == states


def test_a_crash_in_it_names_it(relays: list[FakeRelay], start_supervised: Any) -> None:
    class Crashing(GenNostr[None]):
        def init(self, init_arg: Any) -> Any:
            self.add_relay(relays[0].url, close_timeout=0.05)
            return Ok(None)

        def handle_events(self, messages: list[Any], relay: Relay, state: None) -> Any:
            raise ValueError("broken")

    with start_supervised.crashes(ValueError) as crash:
        start_supervised(Crashing)
        one_read(relays[0].accept(), payload(signed(1)))
    assert crash.report.callback == "handle_events"


def test_a_memory_relay_in_a_flood_of_copies_is_read_to_its_end() -> None:
    with MemoryRelay() as one, MemoryRelay() as other:
        for number in range(300):
            one.store(other.store(signed(number)))
        with verifying(one, other) as client:
            client.feed.subscribe({"kinds": [1]}, "feed")
            found = contents(client, 300)
            while client.next().name != "eose_all":
                pass
            assert sorted(found) == sorted(signed(number).content for number in range(300))
            assert sum(each.copies for each in client.feed.relay_statistics().values()) <= 300
