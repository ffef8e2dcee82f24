"""The client's values: equal ones have one hash (data model, `object.__hash__`), and copies are what they stand for."""

import copy
import dataclasses
import pickle
import re
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import gennostr as g
from gennostr import Options, Relay, testing
from gennostr.nostr.event import Event
from gennostr.nostr.hyperloglog import HyperLogLog
from gennostr.nostr.messages import (
    ClosedMessage,
    CountMessage,
    CountResult,
    EoseMessage,
    EventMessage,
    OkMessage,
    UnknownMessage,
)
from gennostr.nostr.relay_information import Limitation, RelayInformation
from tests.otp.actors import dead

URL = "wss://relay.example"
CONTEXT = ssl.create_default_context()
WEBSOCKET: list[dict[str, Any]] = [
    {"headers": {"x": "y"}},
    {"headers": ["x: y"], "sockopt": [(1, 2, 3)], "subprotocols": ["nostr"]},
    {"sslopt": {"context": CONTEXT}},
    {"sslopt": {"cert_reqs": ssl.CERT_NONE, "ca_certs": None}},
]


class Unlike:
    """Refuses to be compared and hashed, as some arrays do."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise ValueError("ambiguous")


def options(websocket: dict[str, Any]) -> Options:
    return Options(websocket=dict(websocket))


def relay(websocket: dict[str, Any]) -> Relay:
    return Relay.new(URL, websocket=dict(websocket))


def event(**changes: Any) -> Event:
    fields: dict[str, Any] = {
        "id": "a" * 64, "pubkey": "b" * 64, "created_at": 1, "kind": 1, "tags": [["e", "c"]], "content": "", "sig": "",
    }  # fmt: skip
    return Event(**fields | changes)


FROZEN: dict[str, Callable[[], Any]] = {
    "Options": Options,
    "Options with lists": lambda: Options(reconnect=[1, 2.5], tasks={}),
    "Relay": lambda: Relay.new(URL),
    "Event": event,
    "EventMessage": lambda: EventMessage("s", event()),
    "EoseMessage": lambda: EoseMessage("s", {"hints": ["a list"]}),
    "OkMessage": lambda: OkMessage("a", accepted=True),
    "ClosedMessage": lambda: ClosedMessage("s"),
    "CountMessage": lambda: CountMessage("s", CountResult(1)),
    "UnknownMessage": lambda: UnknownMessage("X", ([], {"a": {}})),
    "HyperLogLog": HyperLogLog,
    "RelayInformation": lambda: RelayInformation(limitation=Limitation(max_limit=1), document={"a": []}),
    "RelayStatistics": lambda: g.RelayStatistics(url=URL, state="open", last_error=["no hash"]),
    "ClientStatistics": lambda: g.ClientStatistics(1.0, 2.0, 3, 4, seen_events=5, seen_bytes=6),
    "Count": lambda: g.Count(1, approximate=False, hll=None, by_relay={URL: CountResult(1)}),
    "PublishOutcome": lambda: g.PublishOutcome("accepted"),
    "Close": lambda: g.Close(1000, ""),
    "FetchProgress": g.FetchProgress,
    "Added": lambda: testing.Added(URL, Options(websocket={"headers": ["x: y"]})),
    **{f"Options {number}": partial(options, each) for number, each in enumerate(WEBSOCKET)},
    **{f"Relay {number}": partial(relay, each) for number, each in enumerate(WEBSOCKET)},
    "Sent": lambda: testing.Sent(["REQ", "s", {}], URL),
    "Broadcast": lambda: testing.Broadcast(["REQ", "s", {}]),
    "Subscribed": lambda: testing.Subscribed([{"kinds": [1]}], "s"),
    "PublishedEvent": lambda: testing.PublishedEvent(event()),
    "RequestedCount": lambda: testing.RequestedCount([{"kinds": [1]}]),
    "Scheduled": lambda: testing.Scheduled(1, "name", ["message"]),
}


@pytest.mark.parametrize("kind", FROZEN)
def test_equal_values_are_one_in_a_set(kind: str) -> None:
    one, other = FROZEN[kind](), FROZEN[kind]()
    assert one == other
    assert hash(one) == hash(other)
    assert len({one, other}) == 1


def test_numbers_that_are_equal_make_options_that_are_equal_and_hash_so() -> None:
    one, other = Options(connect_timeout=1, reconnect=[1, 2]), Options(connect_timeout=1.0, reconnect=(1.0, 2))
    assert one == other
    assert hash(one) == hash(other)


def test_options_differ_in_what_has_no_hash() -> None:
    plain, given = Options(), Options(websocket={"headers": {"x": "y"}})
    assert plain != given
    assert len({plain, given, Relay.new(URL), Relay.new(URL, given)}) == 4


def test_a_value_that_refuses_to_be_hashed_costs_no_hash() -> None:
    class Headers(Unlike, dict[str, str]): ...

    class SocketOptions(Unlike, list[tuple[int, int, int]]): ...

    hash(Options(websocket={"headers": Headers(), "sockopt": SocketOptions()}))
    hash(g.RelayStatistics(url=URL, state="open", last_error=Unlike()))


def test_a_relay_whose_options_have_a_context_is_copied() -> None:
    relay = Relay.new(URL, websocket={"sslopt": {"context": CONTEXT}})
    assert copy.deepcopy({"relay": relay})["relay"] is relay
    assert copy.copy(relay.options) is relay.options


@pytest.mark.parametrize(
    "value", [event(), EventMessage("s", event()), Relay.new(URL, reconnect=[1]), Options()], ids=repr
)
def test_a_value_of_the_protocol_is_pickled_and_copied(value: Any) -> None:
    assert pickle.loads(pickle.dumps(value)) == value
    assert copy.deepcopy([value]) == [value]


class Unprintable:
    """Has a text that takes long to read, or none."""

    def __init__(self, text: str | None) -> None:
        self.text = text

    def __repr__(self) -> str:
        if self.text is None:
            raise RecursionError
        return self.text


@pytest.mark.parametrize("text", [None, "x" * 200_000])
@pytest.mark.parametrize("option", [each.name for each in dataclasses.fields(Options)])
def test_an_option_that_is_wrong_is_named_whatever_it_is(option: str, text: str | None) -> None:
    for value in (Unprintable(text), {Unprintable(text): 1}):
        with pytest.raises((TypeError, ValueError)) as caught:
            Options.of(**{option: value})  # type: ignore[arg-type]
        assert str(caught.value).startswith(option)
        assert len(str(caught.value)) < 10_000


def test_what_a_relay_did_last_is_shown_whatever_it_was() -> None:
    statistics = g.RelayStatistics(url=URL, state="open", last_error=Unprintable(None))
    assert "raised RecursionError" in repr(statistics)


def test_a_publication_and_a_count_are_copied_as_themselves_and_stay_in_their_process() -> None:
    with g.GenNostr.start() as client:
        for future in (client.publish(event(id=event().compute_id())), client.count({"kinds": [1]})):
            assert copy.copy(future) is future
            assert copy.deepcopy({"futures": [future]}) == {"futures": [future]}
            with pytest.raises(TypeError, match="no meaning in another"):
                pickle.dumps([future])


def test_a_copy_of_a_fetch_is_the_fetch() -> None:
    with g.fetch({"kinds": [1]}, ["ws://127.0.0.1:1"]) as reading:
        assert copy.copy(reading) is reading
        assert copy.deepcopy([reading])[0] is reading
        with pytest.raises(TypeError, match="no meaning in another"):
            pickle.dumps(reading)


def test_the_reasons_of_relays_come_with_a_fetch_that_is_incomplete() -> None:
    failed = {URL: g.ConnectTimeout("too long"), "wss://other.example": ValueError(dead())}
    error = g.FetchIncomplete(failed)
    other = pickle.loads(pickle.dumps(error))
    assert [type(each) for each in other.failed.values()] == [
        g.ConnectTimeout,
        type(other.failed["wss://other.example"]),
    ]
    assert str(other).startswith(f"{URL}: too long; wss://other.example: ")
    assert "<Pid Driven#" in str(other)


@pytest.mark.parametrize("described", [Options, g.RelayOptions])
def test_the_docstring_has_a_line_for_each_option_in_their_order(described: type) -> None:
    names = [each.name for each in dataclasses.fields(Options)]
    assert re.findall(r"^ *- (\w+): ", described.__doc__ or "", re.MULTILINE) == names
    assert list(g.RelayOptions.__annotations__) == names
