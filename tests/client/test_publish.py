"""Publications and counts: one outcome for each relay, whatever the relay does."""

import asyncio
import concurrent.futures
import hashlib
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from gennostr import KILL, CallExit, CallingSelf, GenNostr, NoProcess, NoReply, Ok, Reply, abandoned
from gennostr.client import relay_pool, relay_session
from gennostr.client.publications import PendingAnswers
from gennostr.nostr import Event, HyperLogLog, sign
from gennostr.testing import FakeRelay, ManualClock, MemoryRelay, make_event
from tests.client.recorder import Recorder, Recording
from tests.client.test_subscriptions import subscribed
from tests.interruptions import Interruption, interruptions
from tests.otp.actors import Driven, outcome_of, until

KEY = "01" * 32


def note(content: str = "hello") -> Event:
    return sign(KEY, created_at=int(time.time()), kind=1, content=content)


@pytest.fixture
def relay() -> Iterator[FakeRelay]:
    with FakeRelay() as fake:
        yield fake


def test_five_relays_have_five_outcomes() -> None:
    with (
        FakeRelay() as accepts,
        FakeRelay() as rejects,
        FakeRelay() as silent,
        FakeRelay() as drops,
        FakeRelay() as down,
    ):
        down.stop_listening()
        relays = [accepts, rejects, silent, drops, down]
        with subscribed(*relays) as client:
            began = time.monotonic()
            publication = client.feed.publish(note(), timeout=1.0)
            for each in relays[:4]:
                each.accept()
                each.expect_event()
            accepts.ok(publication.event.id)
            rejects.ok(publication.event.id, accepted=False, message="blocked: not today")
            drops.drop()
            drops.accept()
            assert drops.expect_event() == publication.event
            drops.drop()
            outcomes = publication.result()
            assert time.monotonic() - began < 1.5
            assert {each: outcomes[each.url].kind for each in relays} == {
                accepts: "accepted",
                rejects: "rejected",
                silent: "timeout",
                drops: "disconnected",
                down: "not_sent",
            }
            assert [bool(outcomes[each.url]) for each in relays] == [True, False, False, False, False]
            assert outcomes[rejects.url].prefix == "blocked"
            assert outcomes[rejects.url].message == "blocked: not today"


def test_a_duplicate_is_accepted(relay: FakeRelay) -> None:
    with subscribed(relay) as client:
        publication = client.feed.publish(note())
        relay.accept()
        relay.ok(relay.expect_event().id, accepted=False, message="duplicate: have it")
        assert publication.result(5)[relay.url]


def test_what_was_dropped_is_sent_again_and_accepted(relay: FakeRelay) -> None:
    with subscribed(relay) as client:
        publication = client.feed.publish(note())
        relay.accept()
        relay.expect_event()
        relay.drop()
        relay.accept()
        relay.ok(relay.expect_event().id)
        assert publication.result(5)[relay.url]


def test_what_was_dropped_goes_before_what_was_published_since(relay: FakeRelay) -> None:
    with subscribed(relay) as client:
        events = [note(str(number)) for number in range(3)]
        publications = [client.feed.publish(event) for event in events[:2]]
        relay.accept()
        assert [relay.expect_event(), relay.expect_event()] == events[:2]
        relay.stop_listening()
        relay.drop()
        client.expect("connect", "error", "disconnect")
        publications.append(client.feed.publish(events[2]))
        relay.listen()
        relay.accept()
        for event in events:
            assert relay.expect_event() == event
            relay.ok(event.id)
        assert all(each.result(5)[relay.url] for each in publications)


def test_a_relay_that_is_removed_or_was_never_there_has_its_outcome_at_once(relay: FakeRelay) -> None:
    with subscribed(relay) as client:
        publication = client.feed.publish(note(), relays=[relay.url, "ws://127.0.0.1:1"], timeout=60)
        relay.accept()
        relay.expect_event()
        client.feed.remove_relay(relay.url)
        kinds = {url: outcome.kind for url, outcome in publication.result(5).items()}
        assert kinds == {relay.url: "disconnected", "ws://127.0.0.1:1/": "not_sent"}
        assert client.feed.publish(note()).result(5) == {}


def test_a_refusal_without_an_id_is_the_oldest_events(relay: FakeRelay) -> None:
    with subscribed(relay) as client:
        one, other = client.feed.publish(note("one")), client.feed.publish(note("other"))
        relay.accept()
        relay.expect_event()
        relay.expect_event()
        relay.ok("", accepted=False, message="blocked: no")
        relay.ok(other.event.id)
        assert one.result(5)[relay.url].kind == "rejected"
        assert other.result(5)[relay.url].kind == "accepted"


def test_thousands_at_once_do_not_overflow_the_outbox() -> None:
    with MemoryRelay() as relay, subscribed(relay) as client:
        publications = [client.feed.publish(note(str(number)), timeout=60) for number in range(3_000)]
        assert all(publication.result()[relay.url] for publication in publications)
        assert len(relay.events) == 3_000


def test_it_can_be_awaited() -> None:
    with MemoryRelay() as relay, subscribed(relay) as client:

        async def publish() -> list[Any]:
            return await asyncio.gather(*(client.feed.publish(note(str(number))) for number in range(3)))

        assert [each[relay.url].kind for each in asyncio.run(publish())] == ["accepted"] * 3


class Publisher(GenNostr[Any]):
    """Publishes in its callbacks, and passes on the messages about their ends."""

    def init(self, init_arg: Any) -> Any:
        url, self.told = init_arg
        self.add_relay(url)
        return Ok(None)

    def handle_connect(self, relay: Any, state: Any) -> None:
        self.publish(note())
        self.count({"kinds": [1]})

    def handle_call(self, request: Any, from_: Any, state: Any) -> Any:
        self.publish(note()).result()

    def handle_info(self, message: Any, state: Any) -> Any:
        self.told.put(message)
        return NoReply()


def test_in_a_callback_the_outcome_comes_as_a_message() -> None:
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with MemoryRelay() as relay, Publisher.start((relay.url, told)):
        published = told.get(timeout=5)
        assert published.publication.result()[relay.url].kind == "accepted"
        assert told.get(timeout=5).counting.result().count == 1


def test_what_a_callback_has_cancelled_is_not_delivered() -> None:
    class Cancelling(Publisher):
        def handle_connect(self, relay: Any, state: Any) -> None:
            self.publish(note("cancelled")).cancel()
            self.publish(note("not cancelled"))

    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with MemoryRelay() as relay, Cancelling.start((relay.url, told)):
        assert told.get(timeout=5).publication.event.content == "not cancelled"


def test_to_wait_for_it_in_a_callback_of_its_client_is_an_error_and_no_deadlock() -> None:
    with MemoryRelay() as relay:
        feed = Publisher.start((relay.url, queue.SimpleQueue()))
        with pytest.raises(CallExit) as caught:
            feed.call("publish and wait")
        assert isinstance(caught.value.reason, CallingSelf)


def test_the_end_of_the_client_ends_the_wait(relay: FakeRelay) -> None:
    client = Recorder.start({"urls": [relay.url]})
    publication = client.publish(note(), timeout=60)
    relay.accept()
    relay.expect_event()
    stopper = threading.Thread(target=client.stop)
    stopper.start()
    with pytest.raises(CallExit):
        publication.result(5)
    stopper.join()
    with pytest.raises(NoProcess):
        client.publish(note())


def test_it_times_out_on_the_clock_that_is_installed(relay: FakeRelay) -> None:
    with ManualClock() as clock, subscribed(relay) as client:
        publication = client.feed.publish(note(), timeout=10)
        relay.accept()
        relay.expect_event()
        clock.advance(9.9)
        assert not publication.done()
        clock.advance(0.2)
        assert publication.result()[relay.url].kind == "timeout"
        relay.drop()  # time stands still: a close frame would be waited for


def test_a_result_that_is_not_there_in_time_is_a_timeout(relay: FakeRelay) -> None:
    with subscribed(relay) as client:
        publication = client.feed.publish(note())
        with pytest.raises(TimeoutError):
            publication.result(0.01)
        publication.cancel()
        relay.accept()
        relay.event("x", content="the client lives")
        client.expect("connect", "event")


@pytest.mark.parametrize(
    ("event", "words"),
    [({"id": "x"}, "missing required"), (msgspec.structs.replace(note(), content="other"), "the id is wrong")],
)
def test_a_bad_event_is_raised_in_the_caller(event: Any, words: str) -> None:
    with subscribed() as client, pytest.raises(ValueError, match=words):
        client.feed.publish(event)


def test_a_cancelled_publication_is_done_for_who_waits_for_futures() -> None:
    """Of concurrent.futures.wait: done are "futures that completed (finished or cancelled futures)"."""
    with subscribed() as client:
        before: PendingAnswers[Any] = PendingAnswers(client.feed.process, None, 60)
        later: PendingAnswers[Any] = PendingAnswers(client.feed.process, None, 60)
        before.cancel()
        waiting = threading.Thread(target=lambda: found.put(concurrent.futures.wait([later], 5).done))
        found: queue.SimpleQueue[Any] = queue.SimpleQueue()
        waiting.start()
        assert concurrent.futures.wait([before], 5).done == {before}
        assert list(concurrent.futures.as_completed([before], 5)) == [before]
        assert later.cancel()
        assert later.cancel()
        assert found.get(timeout=5) == {later}
        waiting.join()


def test_polling_a_result_leaves_nothing_behind() -> None:
    with subscribed() as client:
        waiting: PendingAnswers[Any] = PendingAnswers(client.feed.process, None, 60)
        callbacks: list[Any] = waiting._done_callbacks  # type: ignore[attr-defined]
        before = len(callbacks)
        for poll in (waiting.result, waiting.exception):
            for timeout in (0, 0.0001):
                with pytest.raises(TimeoutError):
                    poll(timeout)

        async def polled() -> None:
            task = asyncio.ensure_future(waiting)
            await asyncio.wait({task}, timeout=0)
            task.cancel()
            await asyncio.wait({task})

        asyncio.run(polled())
        assert waiting.cancelled()
        assert len(callbacks) == before
        assert waiting._completion._listeners == {}


def test_a_publication_cannot_be_waited_for_in_a_callback_of_its_client_in_any_way() -> None:
    def attempts(self: Any) -> list[Any]:
        waiting: PendingAnswers[Any] = PendingAnswers(self.pid.process, None, 60)

        async def wait() -> None:
            await waiting

        return [outcome_of(each) for each in (waiting.result, waiting.exception, lambda: asyncio.run(wait()))]

    class Client(Recorder):
        def handle_call(self, request: Any, from_: Any, state: Any) -> Any:
            return Reply(request(self))

    with Client.start({"urls": []}) as client:
        assert [type(each) for each in client.call(attempts)] == [CallingSelf] * 3


@pytest.mark.parametrize("how", ["result", "await"])
def test_a_killed_actor_that_waits_for_a_publication_is_woken(how: str) -> None:
    def wait(self: Any, state: Any) -> None:
        if how == "result":
            waiting.result()
        else:
            asyncio.run(awaited())

    async def awaited() -> None:
        await waiting

    with subscribed() as client:
        waiting: PendingAnswers[Any] = PendingAnswers(client.feed.process, None, 60)
        actor = Driven.start()
        actor.cast(wait)
        until(lambda: actor.process.waiting)
        actor.exit(KILL)
        until(lambda: abandoned() == 0)
        assert not waiting.done()


def test_a_client_may_publish_the_next_when_one_is_done(relay: FakeRelay) -> None:
    with subscribed(relay) as client:
        feed = client.feed
        first, second, third = note("1"), note("2"), note("3")
        more = []
        one = feed.publish(first)
        one.add_done_callback(lambda _: more.append(feed.publish(third)))
        other = feed.publish(second)
        one.cancel()
        relay.accept()
        sent = [relay.expect_event(), relay.expect_event()]
        assert {event.id for event in sent} <= {first.id, second.id, third.id}
        for event in sent:
            relay.ok(event.id)
        assert other.result(5)[relay.url]
        assert more[0].result(5)[relay.url]


def test_a_callback_of_a_future_may_use_the_client_and_its_wishes_come_true_in_order(relay: FakeRelay) -> None:
    threads: list[int] = []

    def next_ones(feed: Any) -> None:
        threads.append(threading.get_ident())
        feed.subscribe({"kinds": [1]}, "one")
        more.append(feed.publish(note("next")))
        feed.subscribe({"kinds": [2]}, "one")
        feed.unsubscribe("one")
        more.append(feed.count({"kinds": [3]}))
        feed.subscribe({"kinds": [4]}, "two")
        feed.send_message(["CLOSE", "the last message"], relay.url)

    def note_thread(client: Any, relay: Any) -> None:
        threads.append(threading.get_ident())

    more: list[PendingAnswers[Any]] = []
    with subscribed(relay, notice=note_thread) as client:
        relay.accept()
        client.expect("connect")
        publication = client.feed.publish(note("first"))
        publication.add_done_callback(lambda _: next_ones(client.feed))
        relay.ok(relay.expect_event().id)
        # What is sent as it is goes at once; the rest when the callback is over.
        assert relay.expect_close() == "the last message"
        assert relay.expect_req() == ("one", [{"kinds": [1]}])
        assert relay.expect_event().content == "next"
        assert relay.expect_req() == ("one", [{"kinds": [2]}])
        assert relay.expect_close() == "one"
        id_, filters = relay.expect_count()
        assert filters == [{"kinds": [3]}]
        assert relay.expect_req() == ("two", [{"kinds": [4]}])
        relay.ok(more[0].key)
        relay.count(id_, 3)
        assert more[0].result(5)[relay.url]
        assert more[1].result(5).count == 3
        relay.notice("which thread is that?")
        client.expect("ok", "ok", "notice")
        assert threads[0] == threads[1]


@pytest.mark.parametrize("how", ["answered", "timed out", "disconnected", "no relay", "cancelled"])
def test_however_a_publication_ends_its_callback_may_publish_the_next(relay: FakeRelay, how: str) -> None:
    with ManualClock() as clock, subscribed(relay, reconnect=False) as client:
        relay.accept()
        client.expect("connect")
        results: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def again(publication: Any) -> None:
            results.put(client.feed.publish(note("next"), relays=[relay.url]))

        relays = ["ws://nowhere.example/"] if how == "no relay" else [relay.url]
        publication = client.feed.publish(note("first"), relays=relays, timeout=5)
        if how != "no relay":
            relay.expect_event()
        if how == "disconnected":
            relay.drop()
            client.expect("error")
        publication.add_done_callback(again)
        if how == "answered":
            relay.ok(publication.event.id)
        elif how == "timed out":
            clock.advance(5.1)
        elif how == "cancelled":
            publication.cancel()
        following = results.get(timeout=5)
        if how != "disconnected":
            relay.ok(relay.expect_event().id)
        assert bool(following.result(5)[relay.url]) == (how != "disconnected")
        relay.drop()


class Running(Recorder):
    """Runs what it is called with."""

    def handle_call(self, request: Any, from_: Any, state: Any) -> Any:
        return Reply(request(self))


def test_what_a_finalizer_wants_of_the_client_comes_true_wherever_it_interrupts_it() -> None:
    with MemoryRelay() as relay, Recording(Running, urls=[relay.url]) as client:
        client.expect("connect")
        for place in interruptions(relay_pool, relay_session, every=13):

            def work(client: Any, place: Interruption = place) -> list[PendingAnswers[Any]]:
                wanted: list[PendingAnswers[Any]] = []

                def finalize() -> None:
                    client.unsubscribe("feed")
                    wanted.append(client.publish(make_event()))
                    client.subscribe({"kinds": [2]}, "finalizer")

                with place.tracing(finalize):
                    client.subscribe({"kinds": [1]}, "feed")
                    wanted.append(client.publish(make_event()))
                    client.unsubscribe("feed")
                    client.unsubscribe("unknown")
                return wanted

            for publication in client.feed.call(work):
                assert publication.result(5)[relay.url]
            [session] = client.feed.relay_pool.sessions.values()
            assert list(session.subscriptions) in ([], ["finalizer"])
            assert list(session._open) == list(session.subscriptions)
            client.feed.unsubscribe("finalizer")


def test_publications_whose_callbacks_publish_the_next_take_no_stack() -> None:
    done: queue.SimpleQueue[int] = queue.SimpleQueue()

    def chain(feed: Any, number: int) -> None:
        if number == 3_000:
            done.put(number)
        else:
            feed.publish(note(), relays=[]).add_done_callback(lambda _: chain(feed, number + 1))

    with subscribed() as client:
        chain(client.feed, 0)
        assert done.get(timeout=10) == 3_000


def test_counts_of_several_relays_are_merged() -> None:
    with MemoryRelay() as one, MemoryRelay() as other, subscribed(one, other) as client:
        for number in range(3):
            one.store(note(str(number)))
        other.store(note("0"))
        count = client.feed.count({"kinds": [1]}).result()
        assert (count.count, count.approximate) == (3, True)
        assert {url: each.count for url, each in count.by_relay.items()} == {one.url: 3, other.url: 1}  # type: ignore[union-attr]


def test_registers_are_merged_and_numbers_are_not_added_up() -> None:
    keys = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(3_000)]
    halves = [HyperLogLog(), HyperLogLog()]
    for number, key in enumerate(keys):
        for half in (0, 1):
            if number % 3 in (half, 2):  # a third of them is known to both
                halves[half] = halves[half].add(key, 8)
    with FakeRelay() as one, FakeRelay() as other, subscribed(one, other) as client:
        counting = client.feed.count({"kinds": [7]})
        for relay, registers in zip((one, other), halves, strict=True):
            relay.accept()
            relay.send(["COUNT", relay.expect_count().subscription_id, {"count": 2_000, "hll": registers.hex()}])
        count = counting.result(5)
        assert count.hll is not None
        assert 2_600 < count.count < 3_400
        assert count.approximate


@pytest.mark.parametrize("hll", ["", "zz", 3, None])
def test_registers_that_are_none_do_not_spoil_the_number(relay: FakeRelay, hll: object) -> None:
    with subscribed(relay) as client:
        counting = client.feed.count({})
        relay.accept()
        id_ = relay.expect_count().subscription_id
        relay.send(["COUNT", id_, {"count": 5, "hll": hll}])
        if isinstance(hll, int):  # not a COUNT at all
            relay.count(id_, 5)
        assert counting.result(5).count == 5


def test_a_relay_that_does_not_count_has_an_outcome_in_its_place(relay: FakeRelay) -> None:
    with subscribed(relay) as client:
        counting = client.feed.count([{"kinds": [1]}, {"kinds": [7]}])
        relay.accept()
        id_, filters = relay.expect_count()
        assert filters == [{"kinds": [1]}, {"kinds": [7]}]
        relay.closed(id_, "unsupported: COUNT")
        count = counting.result(5)
        assert count.count == 0
        assert count.by_relay[relay.url].prefix == "unsupported"  # type: ignore[union-attr]
