"""A memory relay stores, answers, sends live events, and can be cut off."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

import pytest
import websocket

from gennostr import ConnectionLost
from gennostr.nostr import Event
from gennostr.testing import leaks, make_event, memory_relay, relay_socket
from gennostr.testing.manual_clock import ManualClock, helpers
from gennostr.testing.memory_relay import MemoryRelay
from gennostr.testing.relay_socket import CLOSE, PONG, TEXT, encode_frame
from tests.client.recorder import FAST, Recorder, Recording

TIMEOUT = 5


@pytest.fixture
def relay() -> Iterator[MemoryRelay]:
    with MemoryRelay() as memory:
        yield memory


class Client:
    """Says and hears lists."""

    def __init__(self, relay: MemoryRelay) -> None:
        options: dict[str, Any] = {"timeout": TIMEOUT, **relay.websocket}
        self.websocket: Any = websocket.create_connection(relay.url, **options)

    def close(self) -> None:
        self.websocket.shutdown()

    def say(self, *message: object) -> None:
        self.websocket.send(json.dumps(message))

    def hear(self) -> Any:
        return json.loads(self.websocket.recv())

    def ask(self, *message: object) -> Any:
        self.say(*message)
        return self.hear()

    def query(self, *filters: object) -> list[str]:
        """Return the contents of what a subscription finds."""
        self.say("REQ", "query", *filters)
        contents = []
        while (message := self.hear())[0] == "EVENT":
            contents.append(message[2]["content"])
        assert message == ["EOSE", "query"]
        return contents


@pytest.fixture
def client(relay: MemoryRelay) -> Iterator[Client]:
    with closing(Client(relay)) as connected:
        yield connected


def fields(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__struct_fields__}


# -- the protocol


def test_a_published_event_is_accepted_stored_and_found(relay: MemoryRelay, client: Client) -> None:
    event = make_event(content="hello")
    assert client.ask("EVENT", fields(event)) == ["OK", event.id, True, ""]
    assert relay.events == [event]
    assert client.ask("REQ", "s", {"ids": [event.id]}) == ["EVENT", "s", fields(event)]
    assert client.hear() == ["EOSE", "s"]


def test_a_duplicate_is_said_to_be_one(relay: MemoryRelay, client: Client) -> None:
    event = relay.store()
    assert client.ask("EVENT", fields(event)) == ["OK", event.id, True, "duplicate: already have this event"]
    assert relay.events == [event]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"content": "another"}, "the id is not that of the content"),
        ({"kind": "one"}, "Expected `int`"),
        ({"id": 7}, "Expected `str`"),
    ],
)
def test_an_invalid_event_is_refused(relay: MemoryRelay, client: Client, change: dict[str, Any], problem: str) -> None:
    event = fields(make_event()) | change
    label, id_, accepted, message = client.ask("EVENT", event)
    assert (label, id_, accepted) == ("OK", str(event["id"]), False)
    assert message.startswith(f"invalid: {problem}")
    assert relay.events == []


def test_stored_events_come_newest_first_and_up_to_a_limit(relay: MemoryRelay, client: Client) -> None:
    for created_at in (2, 1, 4, 3):
        relay.store(content=f"{created_at}", created_at=created_at, kind=created_at % 2)
    assert client.query({}) == ["4", "3", "2", "1"]
    assert client.query({"limit": 2}) == ["4", "3"]
    assert client.query({"limit": 0}) == []
    assert client.query({"kinds": [1], "limit": 1}) == ["3"]
    assert client.query({"kinds": [0], "limit": 1}, {"since": 4}, {"until": 1}) == ["4", "1"]


def test_of_events_of_one_age_the_lowest_id_comes_first(relay: MemoryRelay, client: Client) -> None:
    events = [relay.store(created_at=1) for _ in range(5)]
    assert client.query({}) == [event.content for event in sorted(events, key=lambda event: event.id)]


def test_a_subscription_gets_what_is_published_after_its_eose(relay: MemoryRelay, client: Client) -> None:
    with closing(Client(relay)) as other:
        assert other.ask("REQ", "live", {"kinds": [7], "limit": 0}) == ["EOSE", "live"]
        client.ask("EVENT", fields(make_event(kind=1)))
        event = make_event(kind=7)
        client.ask("EVENT", fields(event))
        assert other.hear() == ["EVENT", "live", fields(event)]
        assert other.ask("COUNT", "c", {}) == ["COUNT", "c", {"count": 2}]


def test_a_publisher_hears_its_ok_and_then_its_event(client: Client) -> None:
    client.ask("REQ", "s", {})
    assert client.ask("EVENT", fields(make_event()))[0] == "OK"
    assert client.hear()[0] == "EVENT"


def test_an_ephemeral_event_goes_to_the_living_alone(relay: MemoryRelay, client: Client) -> None:
    client.ask("REQ", "s", {})
    client.ask("EVENT", fields(make_event(kind=20_001)))
    assert client.hear()[2]["kind"] == 20_001
    assert relay.events == []


def test_a_subscription_of_the_same_name_replaces_the_first(relay: MemoryRelay, client: Client) -> None:
    client.ask("REQ", "s", {"kinds": [1]})
    client.ask("REQ", "s", {"kinds": [2]})
    relay.store(kind=1)
    relay.store(kind=2)
    assert client.hear()[2]["kind"] == 2


def test_a_closed_subscription_gets_nothing_more(relay: MemoryRelay, client: Client) -> None:
    client.ask("REQ", "s", {"limit": 0})
    client.say("CLOSE", "s")
    client.say("CLOSE", "never opened")
    assert client.ask("COUNT", "c", {}) == ["COUNT", "c", {"count": 0}]
    relay.store()
    assert client.ask("COUNT", "c", {}, {"kinds": [1]}) == ["COUNT", "c", {"count": 1}]


@pytest.mark.parametrize("label", ["REQ", "COUNT"])
@pytest.mark.parametrize(
    "filter_",
    [
        7,
        {"kinds": "one"},
        {"#e": [1]},
        {"limit": -1},
        {"since": "now"},
        {"kind": [1]},
        {"authors": ["npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg"]},  # for people, not for relays
    ],
    ids=repr,
)
def test_an_impossible_filter_closes_the_subscription(client: Client, label: str, filter_: Any) -> None:
    answer = client.ask(label, "s", {}, filter_)
    assert answer[:2] == ["CLOSED", "s"]
    assert answer[2].startswith("invalid: ")


@pytest.mark.parametrize("text", ["no json", "{}", "[]", '["REQ","s"]', '["WHAT"]', '["AUTH",{}]', "[" * 100_000])
def test_what_is_not_understood_is_a_notice(client: Client, text: str) -> None:
    client.websocket.send(text)
    assert client.hear() == ["NOTICE", f"invalid: not understood: {text[:80]}"]
    assert client.query({}) == []


@pytest.fixture(params=[False, True], ids=["ws", "wss"])
def client_of_either(request: pytest.FixtureRequest) -> Iterator[tuple[MemoryRelay, Client]]:
    with MemoryRelay(tls=request.param) as relay, closing(Client(relay)) as client:
        yield relay, client


def test_pings_and_the_close_frame_are_answered(client_of_either: tuple[MemoryRelay, Client]) -> None:
    relay, client = client_of_either
    client.websocket.pong("unasked")
    client.websocket.ping("there?")
    opcode, frame = client.websocket.recv_data_frame(control_frame=True)
    assert (opcode, frame.data) == (PONG, b"there?")
    client.websocket.send_close(4000, b"bye")
    opcode, frame = client.websocket.recv_data_frame(control_frame=True)  # it answers this one, unasked
    assert (opcode, frame.data) == (CLOSE, b"\x0f\xa0bye")
    assert client.websocket.sock.recv(1) == b""
    assert relay.connections == 0


def test_a_client_that_sends_after_its_close_frame_gets_all(client_of_either: tuple[MemoryRelay, Client]) -> None:
    # What arrives at a closed socket is answered by a reset (RFC 1122, section 4.2.2.13).
    relay, client = client_of_either
    for number in range(20):
        relay.store(content="x" * 1_000_000 + f"{number}")
    client.say("REQ", "s", {})
    client.websocket.send_close(1000)
    received = bytearray()
    while data := client.websocket.sock.recv(1 << 20):
        received += data
        client.say("CLOSE", "never opened")
    assert len(received) > 20_000_000
    assert received.endswith(encode_frame(TEXT, b'["EOSE","s"]') + encode_frame(CLOSE, b"\x03\xe8"))


@pytest.mark.parametrize("end", [lambda _, client: client.send_close(), lambda relay, _: relay.stop()])
def test_tls_is_ended_before_the_connection_is(end: Callable[[MemoryRelay, Any], None]) -> None:
    # RFC 8446, section 6.1: without a close_notify a client cannot know that it has all.
    with MemoryRelay(tls=True) as relay, closing(Client(relay)) as client:
        client.websocket.sock.suppress_ragged_eofs = False
        end(relay, client.websocket)
        while client.websocket.sock.recv(100):
            pass  # the close frame


def test_a_client_that_keeps_its_connection_open_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_socket, "LINGER", 0.05)
    monkeypatch.setattr(memory_relay, "LINGER", 0.05)
    with MemoryRelay() as relay, closing(Client(relay)) as client:
        client.query({})  # accepted
        before = leaks.Snapshot()
        client.websocket.send_close()
        assert client.websocket.recv_data_frame(control_frame=True)[0] == CLOSE
        assert client.websocket.sock.recv(1) == b""
        deadline = time.monotonic() + TIMEOUT
        while leaks.descriptors() >= before.descriptors:
            assert time.monotonic() < deadline


def test_who_asks_for_no_websocket_is_told(relay: MemoryRelay) -> None:
    with socket.create_connection(("127.0.0.1", int(relay.url[:-1].rpartition(":")[2]))) as curl:
        curl.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with curl.makefile() as answer:
            assert answer.read().startswith("HTTP/1.1 426 Upgrade Required\n")
    assert relay.connections == 0


def http(relay: MemoryRelay, *headers: str) -> tuple[str, str]:
    """Head and body of the answer to a plain GET."""
    request = "\r\n".join(["GET / HTTP/1.1", "Host: localhost", *headers, "", ""])
    with socket.create_connection(("127.0.0.1", int(relay.url[:-1].rpartition(":")[2]))) as curl:
        curl.sendall(request.encode())
        with curl.makefile(newline="") as answer:
            head, _, body = answer.read().partition("\r\n\r\n")
    return head, body


@pytest.mark.parametrize("accept", ["Accept: application/nostr+json", "ACCEPT:text/html, application/nostr+json;q=0.5"])
def test_who_asks_for_information_gets_what_the_relay_was_given(accept: str) -> None:
    with MemoryRelay(information={"name": "of a test", "limitation": {"max_limit": 3}}) as relay:
        head, body = http(relay, accept)
        assert head.startswith("HTTP/1.1 200 OK\r\n")
        assert "Content-Type: application/nostr+json" in head
        assert f"Content-Length: {len(body)}" in head
        assert json.loads(body) == {"name": "of a test", "limitation": {"max_limit": 3}}
        assert relay.connections == 0


@pytest.mark.parametrize("header", ["Accept: application/json", "Accept: */*", "X-Accept: application/nostr+json"])
def test_who_asks_for_something_else_gets_no_information(header: str) -> None:
    with MemoryRelay(information={"name": "of a test"}) as relay:
        assert http(relay, header)[0].startswith("HTTP/1.1 426 Upgrade Required\r\n")


def test_a_relay_without_information_gives_none(relay: MemoryRelay) -> None:
    assert http(relay, "Accept: application/nostr+json")[0].startswith("HTTP/1.1 426 Upgrade Required\r\n")


def test_a_relay_with_information_takes_clients_and_counts_them_alone() -> None:
    with MemoryRelay(information={}) as relay, closing(Client(relay)) as client:
        http(relay, "Accept: application/nostr+json")
        assert client.query({}) == []
        assert relay.connections == 1


def test_a_filter_gets_no_more_stored_events_than_the_limit_of_the_relay() -> None:
    with MemoryRelay(max_limit=2) as relay, closing(Client(relay)) as client:
        for created_at in (1, 2, 3, 4):
            relay.store(content=f"{created_at}", created_at=created_at, kind=created_at % 2)
        assert client.query({}) == ["4", "3"]
        assert client.query({"limit": 100}) == ["4", "3"]
        assert client.query({"limit": 1}) == ["4"]
        assert client.query({"limit": 0}) == []
        assert client.query({"until": 2}) == ["2", "1"]
        assert client.query({"kinds": [0]}, {"kinds": [1]}) == ["4", "3", "2", "1"]
        assert client.ask("COUNT", "c", {}) == ["COUNT", "c", {"count": 4}]


def test_a_subscription_over_the_limit_of_the_relay_is_closed_and_the_others_live_on() -> None:
    with MemoryRelay(max_subscriptions=2) as relay, closing(Client(relay)) as client, closing(Client(relay)) as other:
        refused = ["CLOSED", "three", "error: too many subscriptions"]
        assert client.ask("REQ", "one", {"kinds": [1]}) == ["EOSE", "one"]
        assert client.ask("REQ", "two", {"kinds": [2]}) == ["EOSE", "two"]
        assert client.ask("REQ", "three", {"kinds": [3]}) == refused
        assert client.ask("REQ", "two", {"kinds": [4]}) == ["EOSE", "two"]
        assert other.ask("REQ", "three", {"kinds": [5]}) == ["EOSE", "three"]
        for kind in (3, 2, 1):
            relay.store(kind=kind)
        assert client.hear()[:2] == ["EVENT", "one"]
        client.say("CLOSE", "one")
        assert client.ask("REQ", "three", {"kinds": [6]}) == ["EOSE", "three"]


def test_a_client_that_breaks_the_protocol_is_cut_off_and_harms_nobody(relay: MemoryRelay, client: Client) -> None:
    with closing(Client(relay)) as other:
        other.websocket.sock.sendall(b"\x81\x02[]")
        assert other.websocket.sock.recv(1) == b""
    assert client.query({}) == []


def test_a_client_that_reads_late_gets_all(relay: MemoryRelay, client: Client) -> None:
    client.ask("REQ", "s", {})
    for number in range(20):  # more than the system's buffers hold
        relay.store(content="x" * 1_000_000 + f"{number}")
    client.say("COUNT", "c", {})
    received = bytearray()
    while not received.endswith(b'["COUNT","c",{"count":20}]'):
        received += client.websocket.sock.recv(1 << 20)
    assert len(received) > 20_000_000


def test_a_relay_that_is_stopped_has_sent_all(client_of_either: tuple[MemoryRelay, Client]) -> None:
    relay, client = client_of_either
    client.ask("REQ", "s", {})
    for number in range(20):
        relay.store(content="x" * 1_000_000 + f"{number}")
    relay.store(content="the last")
    received = bytearray()
    with ThreadPoolExecutor(1) as executor:
        stopping = executor.submit(relay.stop)
        while data := client.websocket.sock.recv(1 << 20):
            received += data
            with suppress(OSError, websocket.WebSocketException):  # nobody reads it any more
                client.say("CLOSE", "never opened")
        stopping.result(TIMEOUT)
    assert len(received) > 20_000_000
    assert b'"the last"' in received[-1000:]


# -- with a client of the library


def subscribe(client: Recorder, relay: Any) -> None:
    client.send_message(["REQ", "s", {"kinds": [1]}], relay)


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
def test_a_client_subscribes_publishes_and_hears(*, tls: bool) -> None:
    with MemoryRelay(tls=tls) as relay, Recording(connect=subscribe) as client:
        relay.store(content="x" * 200_000)
        client.feed.add_relay(relay.url, websocket=relay.websocket)
        client.expect("connect")
        assert len(client.expect("event").value.event.content) == 200_000
        client.expect("eose")
        assert relay.connections == 1
        event = make_event()
        client.feed.send_message(["EVENT", event], relay.url)
        assert client.expect("ok").value.accepted
        assert client.expect("event").value.event == event
        assert relay.events[-1] == event


def test_a_client_that_was_dropped_comes_back_and_misses_nothing(relay: MemoryRelay) -> None:
    with Recording(urls=[relay.url], connect=subscribe, options=FAST) as client:
        client.expect("connect", "eose")
        relay.drop()
        assert relay.connections == 0
        assert isinstance(client.expect("error").value, ConnectionResetError)
        relay.store(content="meanwhile")
        client.expect("disconnect", "connect")
        assert client.expect("event").value.event.content == "meanwhile"


def test_a_client_whose_relay_was_stopped_comes_back_to_it(relay: MemoryRelay) -> None:
    with Recording(urls=[relay.url], connect=subscribe, options=FAST) as client:
        client.expect("connect", "eose")
        relay.stop()
        relay.stop()
        kept = relay.store()
        assert isinstance(client.expect("error").value, ConnectionLost)
        client.expect("disconnect")
        assert isinstance(client.expect("error").value, ConnectionRefusedError)
        relay.start()
        relay.start()
        while (callback := client.next()).name != "connect":
            assert callback.name in {"error", "disconnect"}
        assert client.expect("event").value.event == kept


def test_backoff_over_minutes_is_tested_at_once(relay: MemoryRelay) -> None:
    with ManualClock() as clock, Recording(urls=[relay.url], connect=subscribe) as client:
        client.expect("connect", "eose")
        relay.stop()
        clock.advance(60)
        for _ in range(1 + 5):  # the end, and attempts after 0.5, 1, 5, 10 and 30 seconds
            client.expect("error", "disconnect")
        relay.start()
        clock.advance(30)
        client.expect("connect", "eose")


def test_an_hour_of_keepalive_takes_no_time(relay: MemoryRelay) -> None:
    with ManualClock() as clock, Recording(urls=[relay.url], connect=subscribe) as client:
        client.expect("connect", "eose")
        clock.advance(3600)
        relay.store(content="still there")
        clock.settle()
        assert client.seen.get_nowait().value.event.content == "still there"


# -- start and stop


def test_the_example_of_the_module_is_a_test() -> None:
    with MemoryRelay() as relay, closing(Client(relay)) as client:
        client.ask("REQ", "s", {})
        event = relay.store(content="hello")
        assert client.hear() == ["EVENT", "s", fields(event)]
        assert repr(relay) == f"<MemoryRelay {relay.url}>"
        with pytest.raises(TypeError, match="not both"):
            relay.store(event, content="x")


def test_stop_leaves_no_thread_and_starts_again_where_it_was() -> None:
    relay = MemoryRelay()
    before, url = threading.active_count(), relay.url
    relay.stop()
    assert threading.active_count() == before - 1
    assert not helpers
    with pytest.raises(ConnectionRefusedError):
        Client(relay)
    relay.start()
    assert relay.url == url
    with closing(Client(relay)) as client:
        assert client.query({}) == []
    relay.stop()


@pytest.mark.parametrize("end", [MemoryRelay.drop, MemoryRelay.stop], ids=["reset", "end"])
def test_an_end_reaches_every_connection(relay: MemoryRelay, end: Callable[[MemoryRelay], None]) -> None:
    clients = [Client(relay) for _ in range(3)]
    silent = socket.create_connection(("127.0.0.1", int(relay.url[:-1].rpartition(":")[2])))
    assert relay.connections == 3
    end(relay)
    for client in clients:
        with closing(client), pytest.raises((ConnectionResetError, websocket.WebSocketConnectionClosedException)):
            client.hear()
    silent.close()


def test_the_work_for_a_clock_is_done_in_its_thread_and_in_the_relays(relay: MemoryRelay, client: Client) -> None:
    (work,) = helpers
    before = work()
    threads = [threading.Thread(target=lambda: [work() for _ in range(200)]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        assert client.ask("COUNT", "c", {}) == ["COUNT", "c", {"count": 0}]
    for thread in threads:
        thread.join()
    assert work() == before + 50
    relay.stop()
    assert work() == before + 50


def test_the_work_for_a_clock_handles_all_that_was_sent_before(relay: MemoryRelay, client: Client) -> None:
    (work,) = helpers
    before = work()
    for number in range(200):
        client.say("CLOSE", "s")
        assert work() == before + number + 1


def test_a_relay_answers_quickly(client: Client) -> None:
    began = time.monotonic()
    for _ in range(100):
        client.query({})
    assert time.monotonic() - began < 2
