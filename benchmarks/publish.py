"""Publishing: 5,000 signed events until the relay's last OK, and 1,000 events one by one, each with its OK.

5,000 at once, events per second: ours are sent from a plain thread through the client's handle and counted in
handle_ok; the outbox has room for all. They are compared with the least possible with websocket-client, a loop of
``send`` in one thread and of ``recv`` in another, which does not read the OKs; and with monstr's ``publish``. First
each contender encodes the events itself (websocket-client: a dict with json.dumps); then the texts are encoded in
advance, which monstr does not accept.

1,000 in turn, microseconds each, lower is better: ours is a call to the client, which keeps the caller by the event's
id and replies in handle_ok. It is compared with ``send`` and ``recv`` in the same thread: no thread switches, where the
call has four.

Each contender runs in its own process, the relay in another. ``python -m benchmarks.publish TASK NAME URL`` runs one
contender: it prints its figure as JSON.
"""

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import msgspec
import websocket

from benchmarks import measure
from benchmarks.events import signed
from benchmarks.relays import relay_process
from gennostr import GenNostr, NoReply, Ok, Relay, reply
from gennostr.nostr import OkMessage

EVENTS = 5_000
TURNS = 1_000


def _messages(count: int) -> list[list[Any]]:
    return [["EVENT", event] for event in signed(count)]


def _texts(count: int) -> list[str]:
    return [msgspec.json.encode(message).decode() for message in _messages(count)]


def _dicts(count: int) -> list[Any]:
    return [msgspec.to_builtins(message) for message in _messages(count)]


def gennostr(messages: Sequence[Any], url: str) -> float:
    """Return how many messages per second this library publishes."""
    connected, done = threading.Event(), threading.Event()

    class Publisher(GenNostr[int]):
        def init(self, init_arg: Any) -> Any:
            del init_arg
            self.add_relay(url, max_queue_messages=len(messages), max_queue_size=4096 * len(messages))
            return Ok(len(messages))

        def handle_connect(self, relay: Relay, state: int) -> None:
            del relay, state
            connected.set()

        def handle_ok(self, message: OkMessage, relay: Relay, state: int) -> Ok[int]:
            del message, relay
            if state == 1:
                done.set()
            return Ok(state - 1)

    with Publisher.start() as publisher:
        connected.wait()
        began = time.perf_counter()
        for message in messages:
            publisher.send_message(message, url)
        done.wait()
        return len(messages) / (time.perf_counter() - began)


def sockets(texts: Iterable[str], url: str) -> float:
    """Return how many texts per second websocket-client publishes."""
    sock = websocket.create_connection(url)

    def receive() -> None:
        for _ in range(EVENTS):
            sock.recv()

    receiving = threading.Thread(target=receive)
    receiving.start()
    began = time.perf_counter()
    for text in texts:
        sock.send(text)
    receiving.join()
    return EVENTS / (time.perf_counter() - began)


def monstr(url: str) -> float:
    """Return how many events per second monstr publishes."""
    from monstr.client.client import Client  # noqa: PLC0415
    from monstr.event.event import Event  # noqa: PLC0415

    events = [Event.load(msgspec.to_builtins(event)) for event in signed(EVENTS)]

    async def main() -> float:
        done = asyncio.Event()
        left = EVENTS

        def accepted(client: Any, event_id: str, success: bool, message: str) -> None:  # noqa: FBT001 - monstr's signature
            nonlocal left
            del client, event_id, success, message
            left -= 1
            if not left:
                done.set()

        client = Client(url, on_ok=accepted)
        running = asyncio.create_task(client.run())
        await client.wait_connect()
        began = time.perf_counter()
        for event in events:
            client.publish(event)
        await done.wait()
        seconds = time.perf_counter() - began
        running.cancel()
        return EVENTS / seconds

    return asyncio.run(main())


def gennostr_in_turn(url: str) -> float:
    """Return how many microseconds an event and its OK take through the actors."""
    connected = threading.Event()

    class Publisher(GenNostr[dict[str, Any]]):
        def init(self, init_arg: Any) -> Any:
            del init_arg
            self.add_relay(url)
            return Ok({})

        def handle_connect(self, relay: Relay, state: dict[str, Any]) -> None:
            del relay, state
            connected.set()

        def handle_call(self, request: tuple[str, str], from_: Any, state: dict[str, Any]) -> Any:
            event_id, text = request
            state[event_id] = from_
            self.send_message(text, url)
            return NoReply(state)

        def handle_ok(self, message: OkMessage, relay: Relay, state: dict[str, Any]) -> None:
            del relay
            reply(state.pop(message.event_id), message.accepted)

    requests = [(event.id, text) for event, text in zip(signed(TURNS), _texts(TURNS), strict=True)]
    with Publisher.start() as publisher:
        connected.wait()
        began = time.perf_counter()
        for request in requests:
            publisher.call(request)
        return (time.perf_counter() - began) / TURNS * 1e6


def sockets_in_turn(url: str) -> float:
    """Return how many microseconds an event and its OK take in one thread."""
    sock = websocket.create_connection(url)
    texts = _texts(TURNS)
    began = time.perf_counter()
    for text in texts:
        sock.send(text)
        sock.recv()
    return (time.perf_counter() - began) / TURNS * 1e6


TASKS: dict[str, dict[str, Callable[[str], float]]] = {
    "events": {
        "gennostr": lambda url: gennostr(_messages(EVENTS), url),
        "websocket-client": lambda url: sockets(map(json.dumps, _dicts(EVENTS)), url),
        "monstr": monstr,
    },
    "texts": {
        "gennostr": lambda url: gennostr(_texts(EVENTS), url),
        "websocket-client": lambda url: sockets(_texts(EVENTS), url),
    },
    "turns": {"gennostr": gennostr_in_turn, "websocket-client": sockets_in_turn},
}


def medians(task: str, url: str) -> dict[str, float]:
    """Return the figures of a task's contenders."""

    def figure(name: str) -> float:
        return measure.in_process("benchmarks.publish", task, name, url)["figure"]

    return measure.interleaved({name: partial(figure, name) for name in TASKS[task]})


def main() -> None:
    """Measure and print, or run as a contender."""
    if len(sys.argv) > 1:
        task, name, url = sys.argv[1:]
        print(json.dumps({"figure": TASKS[task][name](url)}))
        return
    measure.heading("Publishing", ["gennostr", "websocket-client", "monstr"])
    with relay_process(streams=False) as relays:
        url = f"{relays}/accept"
        for task, title, unit in (
            ("events", f"{EVENTS:,} events, encoded and sent", "events/s"),
            ("texts", f"{EVENTS:,} events, encoded before", "events/s"),
            ("turns", f"{TURNS:,} events in turn, until the OK; lower is better", "us"),
        ):
            measure.table(title, "gennostr", medians(task, url), unit)


if __name__ == "__main__":
    main()
