"""What threads, finalizers and signal handlers hand to a client's actors between any two steps of each other.

Each place is tried (`tests.interruptions`): the interruption stands for a finalizer in the same thread, and as well for
another thread that runs just then. Nothing waits for the other, nothing is lost, and the thread that sleeps is woken.
"""

import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from queue import Empty
from typing import Any

import pytest

from gennostr import KILL, NORMAL, REMOVE_RELAY, Overflow, Relay, RelayNotFound, send_after
from gennostr.client import connection_events, outbox, relay_statistics, socket_mailbox, supervision, verification
from gennostr.client.connection_events import RESUME, Credit
from gennostr.client.outbox import Outbox
from gennostr.client.relay_statistics import RelayCounters
from gennostr.client.socket_mailbox import READABLE, SocketMailbox
from gennostr.client.supervision import ConnectionTable
from gennostr.nostr import Event, EventMessage
from gennostr.testing import FakeRelay, Probe, leaks, make_event
from tests.client.recorder import Recording
from tests.interruptions import DEADLINE, interruptions

RELAY = Relay.new("ws://relay.example")


# The mailbox that waits for a socket too.


@pytest.fixture(params=[1, 2], ids=["eventfd and poll", "socketpair and select"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """What the system has; return the number of descriptors of a waker."""
    descriptors: int = request.param
    if descriptors == 2:
        monkeypatch.delattr(os, "eventfd", raising=False)
        monkeypatch.delattr(select, "poll", raising=False)
    elif not hasattr(os, "eventfd"):
        pytest.skip("this system has no eventfd")
    return descriptors


@pytest.fixture
def box(system: int) -> Iterator[SocketMailbox]:
    box = SocketMailbox()
    box.open()
    yield box
    box.close()


def test_a_message_that_comes_at_any_step_of_a_reader_on_its_way_to_sleep_wakes_it(box: SocketMailbox) -> None:
    def interrupt() -> None:
        box.put("message")
        put_at.append(time.monotonic())

    def operation() -> object:
        try:
            return box.get(timeout=0.02)
        except Empty:
            return None

    for place in interruptions(socket_mailbox):
        put_at: list[float] = []
        began = time.monotonic()
        seen = place.during(operation, interrupt)
        if place.happened and seen is None:
            assert put_at[0] - began >= 0.02  # it came when the time was over
            assert box.get(block=False) == "message"
        else:
            assert seen == ("message" if place.happened else None)


def test_a_reader_that_is_woken_late_waits_on(box: SocketMailbox) -> None:
    """``queue.Empty`` is raised when the time is over (docs: ``queue.Queue.get``), whatever wakes the reader before."""
    assert box.waker is not None
    box.waker.wake()  # of a writer whose message was taken before
    began = time.monotonic()
    with pytest.raises(Empty):
        box.get(timeout=0.05)
    assert time.monotonic() - began >= 0.05
    box.waker.wake()
    with pytest.raises(Empty):
        box.get(block=False)


@pytest.mark.parametrize("timeout", [0.0, 0.0001, 0.0004, 0.001, 0.0015, 0.0101])
def test_a_reader_waits_as_long_as_it_says(timeout: float, box: SocketMailbox) -> None:
    """poll counts whole milliseconds: a wait that is rounded down would end before its time."""
    for _ in range(5):
        began = time.monotonic()
        with pytest.raises(Empty):
            box.get(timeout=timeout)
        assert time.monotonic() - began >= timeout


def test_a_reader_may_wait_longer_than_poll_can(box: SocketMailbox) -> None:
    threading.Timer(0.01, box.put, ["message"]).start()
    assert box.get(timeout=threading.TIMEOUT_MAX) == "message"


def test_each_of_many_messages_that_are_handed_over_one_at_a_time_wakes_the_reader(box: SocketMailbox) -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # threads take turns nearly everywhere
    turns = [threading.Semaphore(0) for _ in range(4)]

    def write(writer: int) -> None:
        for _ in range(500):
            box.put(writer)
            turns[writer].acquire()

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    try:
        for writer in writers:
            writer.start()
        for _ in range(4 * 500):
            number: Any = box.get(timeout=DEADLINE)
            turns[number].release()
    finally:
        sys.setswitchinterval(before)
    for writer in writers:
        writer.join(DEADLINE)
    assert box.empty()


@pytest.mark.usefixtures("system")
def test_a_mailbox_that_is_closed_at_any_step_of_a_writer_writes_to_no_other_file() -> None:
    """The number of a descriptor that was closed is given to the next that is opened."""
    for place in interruptions(socket_mailbox):
        box = SocketMailbox()
        box.open()
        others: list[tuple[int, int]] = []

        def close(box: SocketMailbox = box, others: list[tuple[int, int]] = others) -> None:
            box.close()
            others.extend(os.pipe() for _ in range(3))

        box._asleep.append(None)  # as the reader does on its way to sleep
        place.during(partial(box.put, "message"), close)
        for read, write in others:
            os.set_blocking(read, False)
            with pytest.raises(BlockingIOError):
                os.read(read, 1)
            os.close(read)
            os.close(write)


@pytest.mark.skipif(not leaks.descriptors(), reason="this system does not list its descriptors")
def test_an_open_mailbox_has_as_few_descriptors_as_the_system_allows_and_a_closed_one_none(system: int) -> None:
    before = leaks.descriptors()
    box = SocketMailbox()
    box.open()
    assert len(leaks.descriptors() - before) == system
    beside = SocketMailbox()
    beside.open_with(box)
    assert len(leaks.descriptors() - before) == system
    box.close()
    writer = threading.Timer(0.01, beside.put, ["message"])
    writer.start()
    assert beside.get(timeout=DEADLINE) == "message"
    beside.close()
    writer.join(DEADLINE)  # until then it may refer to the waker
    assert leaks.descriptors() == before
    box.put("message")


def test_the_socket_is_seen_beside_a_wake_up(box: SocketMailbox) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        box.watch(ours, read=True)
        theirs.send(b"x")
        assert box.waker is not None
        box.waker.wake()
        assert box.get(timeout=DEADLINE) is READABLE
        box.watch(None)


# The outbox.


class Connection:
    """What a connection does with its outbox: it takes when it is woken, and only then."""

    def __init__(self, **options: Any) -> None:
        self.outbox = Outbox(replace(Relay.new(RELAY.url, **options), connected_at=1.0))
        self.wakes: list[None] = []
        self.taken: list[bytes] = []
        self.pings = 0

    def open(self) -> None:
        self.outbox.open(partial(self.wakes.append, None))

    def started(self) -> "Connection":
        self.open()
        self.outbox.ready()
        return self

    def take(self) -> None:
        self.taken += self.outbox.take(1000)
        self.pings += self.outbox.take_ping()

    def run(self) -> None:
        while self.wakes:
            self.wakes.pop()
            self.take()


def opening(connection: Connection) -> Callable[[], None]:
    return connection.open


def making_ready(connection: Connection) -> Callable[[], None]:
    connection.open()
    connection.outbox.put(b"before")
    return connection.outbox.ready


def taking(connection: Connection) -> Callable[[], None]:
    connection.started().outbox.put(b"before")
    return connection.take


@pytest.mark.parametrize("prepare", [opening, making_ready, taking])
def test_what_is_put_at_any_step_of_the_connections_is_taken(prepare: Callable[[Connection], Any]) -> None:
    for place in interruptions(outbox):
        connection = Connection()
        operation = prepare(connection)

        def interrupt(connection: Connection = connection) -> None:
            connection.outbox.put(b"meanwhile", first=prepare is opening)  # else it waits for handle_connect
            connection.outbox.ping()

        place.during(operation, interrupt)
        connection.run()
        assert connection.taken == [b"before"] * (prepare is not opening) + [b"meanwhile"] * place.happened
        assert connection.pings == place.happened


def test_a_connection_that_takes_at_any_step_of_a_put_or_a_ping_gets_it_or_is_woken() -> None:
    for place in interruptions(outbox):
        connection = Connection().started()

        def operation(connection: Connection = connection) -> None:
            connection.outbox.put(b"message")
            connection.outbox.ping()

        place.during(operation, connection.take)
        connection.run()
        assert (connection.taken, connection.pings) == ([b"message"], 1)


def test_the_limits_hold_where_a_put_interrupts_another() -> None:
    for place in interruptions(outbox):
        connection = Connection(max_queue_size=10).started()
        box = connection.outbox
        place.during(partial(box.put, b"1234"), partial(box.put, b"5678"))
        if place.happened:
            with pytest.raises(Overflow, match="2 messages of 8 bytes wait"):
                box.put(b"9ab")
        connection.run()
        assert sorted(connection.taken) == [b"1234", b"5678"][: 1 + place.happened]
        box.put(b"0123456789")
        with pytest.raises(Overflow):
            box.put(b"x")


def test_threads_that_put_at_once_exceed_the_limits_by_a_message_each_at_most() -> None:
    connection = Connection(max_queue_messages=100, max_queue_size=1000)
    refused: list[None] = []

    def work() -> None:
        for _ in range(200):
            try:
                connection.outbox.put(b"12345")
            except Overflow:
                refused.append(None)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(DEADLINE)
    connection.started().run()
    assert 100 <= len(connection.taken) <= 104
    assert len(connection.taken) + len(refused) == 800
    connection.outbox.put(b"1" * 1000)  # nothing of it is still counted


# The credit.


class Woken:
    """In the place of a connection's process."""

    def __init__(self) -> None:
        self.messages: list[object] = []

    def deliver(self, message: object) -> None:
        self.messages.append(message)


def credit_of(process: Any, batches: int, size: int = 10) -> Credit:
    credit = Credit(process)
    for _ in range(batches):
        credit.give(size)
    return credit


@pytest.mark.parametrize(("batches", "size"), [(Credit.MAX_BATCHES, 10), (2, Credit.MAX_BYTES // 2)])
def test_a_client_that_catches_up_at_any_step_of_a_pause_ends_it(batches: int, size: int) -> None:
    def catch_up() -> None:
        for _ in range(batches):
            credit.take(size)

    for place in interruptions(connection_events):
        process = Woken()
        credit = credit_of(process, batches, size)
        assert place.during(credit.spent, catch_up) == credit.paused
        if not place.happened:
            catch_up()
        assert RESUME in process.messages or not credit.paused
        assert not credit.spent()
        assert credit.undelivered() == 0


def test_a_connection_that_pauses_at_any_step_of_its_client_is_resumed() -> None:
    def catch_up() -> None:
        for _ in range(Credit.MAX_BATCHES):
            credit.take(10)

    for place in interruptions(connection_events):
        process = Woken()
        credit = credit_of(process, Credit.MAX_BATCHES)
        place.during(catch_up, credit.spent)
        assert RESUME in process.messages or not credit.paused
        assert not credit.spent()


def test_a_connection_that_is_woken_and_may_still_not_deliver_is_woken_again() -> None:
    process = Woken()
    credit = credit_of(process, 1, 10)
    credit.give(Credit.MAX_BYTES)
    assert credit.spent()
    credit.take(10)
    assert process.messages == [RESUME]
    assert credit.spent()
    credit.take(Credit.MAX_BYTES)
    assert process.messages == [RESUME, RESUME]
    assert not credit.spent()
    credit.give(10)
    assert not credit.spent()
    credit.take(10)
    assert len(process.messages) == 2  # nobody waited


def test_what_is_undelivered_is_never_negative_while_it_is_counted() -> None:
    def operation() -> None:
        credit.give(10)
        credit.take(10)
        credit._settle()
        credit.give(5)

    def interrupt() -> None:
        seen.append(credit.undelivered())

    seen: list[int] = []
    for place in interruptions(connection_events):
        credit = credit_of(Woken(), 0)
        place.during(operation, interrupt)
        assert credit.undelivered() == 5
    assert {0, 10} <= set(seen) <= {0, 5, 10}


# Statistics.


def test_the_statistics_may_be_changed_and_read_at_any_step_of_a_change() -> None:
    url, other = RELAY.url, "ws://other.example"

    def interrupt() -> None:
        seen = counters.statistics({}).get(url)
        assert seen is None or (seen.attempts, seen.messages_received) in [(1, 7), (2, 7)]
        counters.not_made(other, OSError("meanwhile"))

    for place in interruptions(relay_statistics, every=3):
        counters = RelayCounters()
        with Probe() as first, Probe() as second:
            processes = [each.pid.process for each in (first, second)]
            counters.begin(url, processes[0], Outbox(RELAY), Credit(processes[0])).messages_received = 7

            def operation(counters: RelayCounters = counters, processes: list[Any] = processes) -> None:
                processes[0].die(NORMAL)
                counters.begin(url, processes[1], Outbox(RELAY), Credit(processes[1]))
                counters.statistics({})
                counters.forget(url, processes[1])

            place.during(operation, interrupt)
        assert url not in counters.statistics({})
        seen = counters.statistics({}).get(other)
        assert (0 if seen is None else seen.attempts) == place.happened


def test_attempts_that_are_counted_by_many_threads_are_all_counted() -> None:
    counters = RelayCounters()

    def work() -> None:
        for _ in range(200):
            counters.not_made(RELAY.url, OSError())

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(DEADLINE)
    assert counters.statistics({})[RELAY.url].attempts == 800


# Verification.


def test_verification_may_be_interrupted_by_another_and_all_processors_are_free_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def verify(event: Event) -> None:
        """Of a signature that is right."""

    monkeypatch.setattr(verification, "verify", verify)
    monkeypatch.setattr(verification, "_threads", lambda: 3)
    messages: list[Any] = [EventMessage("s", make_event())] * 64
    for place in interruptions(verification, every=11):
        place.during(
            partial(verification.verify_events, list(messages)), partial(verification.verify_events, list(messages))
        )
        assert not any(permit.locked() for permit in verification._permits)


# All of it together.


def test_a_client_may_be_used_at_any_step_of_its_own_functions() -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url], options={"reconnect": [60.0]}) as client:
        peer = relay.accept()
        client.expect("connect")
        feed = client.feed

        def operation() -> None:
            feed.send_message(["CLOSE", "operation"], relay.url)
            feed.broadcast_message(["CLOSE", "operation"])
            assert feed.relay_statistics()[relay.url].attempts == 1
            assert feed.list_relays() == [relay.url]

        def interrupt() -> None:
            feed.send_message(["CLOSE", "meanwhile"], relay.url)
            assert feed.relay_statistics()[relay.url].connects == 1
            feed.reconnect("ws://localhost:1", 3600.0)
            feed.remove_relay("ws://localhost:1")

        for place in interruptions(supervision, outbox, relay_statistics, every=5):
            place.during(operation, interrupt)
            sent = [peer.receive() for _ in range(2 + place.happened)]
            assert sent.count(["CLOSE", "operation"]) == 2


def reconnecting(table: ConnectionTable, relay: Relay) -> None:
    """What a client does at an end after which it reconnects."""
    table.schedule(relay, 3600.0)
    table.relay_removed(relay.url)
    table.finish_removal(relay.url)


def attempting(table: ConnectionTable, relay: Relay) -> None:
    """The same, and the next attempt is due at once."""
    reconnecting(table, relay)
    pending = table._pending.get(relay.url)
    if pending is not None and pending.timer is not None:
        pending.timer.cancel()  # as if it had fired
    table.due(relay.url)


def giving_up(table: ConnectionTable, relay: Relay) -> None:
    """What it does at an end after which it does not reconnect."""
    table.relay_removed(relay.url)
    table.finish_removal(relay.url)


def test_a_client_may_be_killed_at_any_step_of_an_attempt(caplog: pytest.LogCaptureFixture) -> None:
    with FakeRelay() as silent:
        relay = Relay.new(silent.url, close_timeout=0.05)
        for place in interruptions(supervision):
            with Recording(reconnect=False) as client:
                table = client.feed.connections
                place.during(partial(attempting, table, relay), partial(client.feed.exit, KILL))
    assert "could not be started" not in caplog.text


@pytest.mark.parametrize("end", [reconnecting, attempting, giving_up])
def test_a_relay_may_be_removed_at_any_step_of_its_end_and_of_its_next_attempt(
    end: Callable[[ConnectionTable, Relay], None],
) -> None:
    with FakeRelay() as silent, Recording(reconnect=False) as client:
        table, relay = client.feed.connections, Relay.new(silent.url, close_timeout=0.05)

        def remove() -> None:
            # It is gone already, and the client does not reconnect.
            with suppress(RelayNotFound) if end is giving_up else nullcontext():
                client.feed.remove_relay(relay)

        for place in interruptions(supervision, relay_statistics, every=5):
            table.counters.not_made(relay.url, OSError())
            place.during(partial(end, table, relay), remove)
            if not place.happened:
                remove()
            assert not table.has(relay.url)
            assert not table.knows(relay.url)
            assert table._unwanted == set()
            if end is not giving_up:
                assert client.expect("disconnect").value is REMOVE_RELAY
            assert client.feed.call("alive") == "alive"
        client.expect_nothing(0.05)


def test_an_attempt_that_is_due_before_its_timer_is_returned_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_once(delay: float, dest: Any, message: object) -> Any:
        timer = send_after(delay, dest, message)
        assert dest.call("handled, and what was sent before as well") == "handled, and what was sent before as well"
        return timer

    with FakeRelay() as relay, Recording() as client:
        monkeypatch.setattr(supervision, "send_after", at_once)
        client.feed.reconnect(relay.url, 0.0)
        relay.accept()
        client.expect("connect")
        assert client.feed.relay_statistics()[relay.url].attempts == 1


def test_a_mailbox_is_emptied_by_a_killer_without_a_look_at_its_waker(box: SocketMailbox) -> None:
    """The reader may close the waker meanwhile, and its number may be another file's."""
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as sock:
        box.watch(sock, write=True)
        box.put("one")
        assert box.get_nowait() == "one"
        with pytest.raises(Empty):
            box.get_nowait()
        assert box.get(block=False).writable  # type: ignore[attr-defined]
