"""The clients that the benchmarks compare, each run in its own process.

``python -m benchmarks.clients NAME TASK COUNT URL...`` prints figures as JSON. TASK is ``flood`` (COUNT events in all,
timed from the REQ to the last callback, with the CPU time per event and, for this library, the bytes on the wire per
event) or ``live`` (COUNT events in all; the median latency, and the CPU time per event). CPU times and latencies are in
microseconds.

Every client is used as its documentation says, and does as little as possible with an event: it counts it. If the
documentation shows several ways, the fastest one that delivers every event is used.

nostr-sdk and pynostr always verify, so they cannot receive ``live`` events: the time in their content makes their
signatures invalid.
"""

import asyncio
import hashlib
import json
import logging
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from benchmarks import measure
from benchmarks.events import SUBSCRIPTION

_FILTER: dict[str, Any] = {"kinds": [1, 7, 30023]}


class Tally:
    """Counts events and keeps the figures of the task."""

    def __init__(self, task: str, count: int) -> None:
        self._live = task == "live"
        self.left = count
        self.count = count
        self._latencies: list[int] = []
        self._began = 0.0
        self._processor = 0.0
        self.figures: dict[str, float] = {}
        self.done = threading.Event()
        # Counts one event; its `content` is read only if latencies are measured.
        self.event: Callable[[str], None] = self._timed if self._live else self._counted

    def begin(self) -> None:
        """Start the clock, when the REQ is sent."""
        self._processor = time.process_time()
        self._began = time.perf_counter()

    def _counted(self, content: str) -> None:
        del content
        self.left -= 1
        if not self.left:
            self._end()

    def _timed(self, content: str) -> None:
        self._latencies.append(time.monotonic_ns() - int(content))
        self._counted(content)

    def _end(self) -> None:
        self.figures["seconds"] = time.perf_counter() - self._began
        self.figures["processor"] = (time.process_time() - self._processor) / self.count * 1e6
        if self._live:
            self.figures["p50"] = statistics.median(self._latencies) / 1000
        self.done.set()


def gennostr(tally: Tally, urls: Sequence[str], *, verify: bool = False, subscribe: bool = False) -> None:
    """Use this library; with `subscribe`, its subscriptions, which match filters and deliver each event once."""
    from gennostr import GenNostr, Ok, Relay  # noqa: PLC0415

    connected = threading.Semaphore(0)

    class Feed(GenNostr[None]):
        deduplicate = subscribe

        def init(self, init_arg: Any) -> Any:
            del init_arg
            for url in urls:
                self.add_relay(url, verify=verify)
            return Ok(None)

        def handle_connect(self, relay: Relay, state: None) -> None:
            del relay, state
            connected.release()

        def handle_event(self, message: Any, relay: Relay, state: None) -> None:
            del relay, state
            tally.event(message.event.content)

    with Feed.start() as feed:
        for _ in urls:
            connected.acquire()
        tally.begin()
        if subscribe:
            feed.subscribe(_FILTER, SUBSCRIPTION)
        else:
            feed.broadcast_message(["REQ", SUBSCRIPTION, _FILTER])
        tally.done.wait()
        received = sum(each.bytes_received for each in feed.relay_statistics().values())
        tally.figures["bytes"] = received / tally.count


def straightforward(tally: Tally, urls: Sequence[str]) -> None:
    """Use websocket-client's recv, json, and a pykka actor, as a straightforward port would."""
    import pykka  # noqa: PLC0415
    import websocket  # noqa: PLC0415

    class Feed(pykka.ThreadingActor):
        use_daemon_thread = True  # the process ends when the last event is counted

        def on_receive(self, message: Any) -> None:
            if message[0] == "EVENT":
                tally.event(message[2]["content"])

    feed = Feed.start()
    sockets = [websocket.create_connection(url, skip_utf8_validation=True) for url in urls]

    def read(sock: Any) -> None:
        while not tally.done.is_set():
            feed.tell(json.loads(sock.recv()))

    for sock in sockets:
        threading.Thread(target=read, args=(sock,), daemon=True).start()
    tally.begin()
    for sock in sockets:
        sock.send(json.dumps(["REQ", SUBSCRIPTION, _FILTER]))
    tally.done.wait()


def reader(tally: Tally, urls: Sequence[str]) -> None:
    """Use websocket-client's recv and json in the thread that reads: no actor, no queue."""
    import websocket  # noqa: PLC0415

    sock = websocket.create_connection(urls[0], skip_utf8_validation=True)
    tally.begin()
    sock.send(json.dumps(["REQ", SUBSCRIPTION, _FILTER]))
    while not tally.done.is_set():
        message = json.loads(sock.recv())
        if message[0] == "EVENT":
            tally.event(message[2]["content"])


def monstr(tally: Tally, urls: Sequence[str], check: Callable[[Any], bool] | None = None) -> None:
    """Use monstr; `check` is applied to each event."""
    from monstr.client.client import Client  # noqa: PLC0415

    def handle(client: Any, subscription: str, event: Any) -> None:
        del client, subscription
        if check is None or check(event):
            tally.event(event.content)

    async def main() -> None:
        clients = [Client(url) for url in urls]
        running = [asyncio.create_task(client.run()) for client in clients]
        for client in clients:
            await client.wait_connect()
        tally.begin()
        for client in clients:
            client.subscribe(sub_id=SUBSCRIPTION, handlers=[handle], filters=[_FILTER])
        await asyncio.to_thread(tally.done.wait)
        for task in running:
            task.cancel()

    asyncio.run(main())


def _is_signed(event: Any) -> bool:
    """Use monstr's own check: whether the signature is valid for the id that the event contains."""
    return bool(event.is_valid())


def _is_genuine(event: Any) -> bool:
    """Check the id too, which monstr leaves to its user: without that, the content may be anything."""
    return _is_signed(event) and hashlib.sha256(event.serialize().encode()).hexdigest() == event.id


def aionostr(tally: Tally, urls: Sequence[str]) -> None:
    """Use aionostr."""
    from aionostr.relay import Relay  # noqa: PLC0415

    async def consume(queue: Any) -> None:
        while not tally.done.is_set():
            event = await queue.get()
            if event is not None:
                tally.event(event.content)

    async def main() -> None:
        relays = [Relay(url) for url in urls]
        for relay in relays:
            await relay.connect()
        tally.begin()
        queues = [await relay.subscribe(SUBSCRIPTION, _FILTER) for relay in relays]
        consumers = [asyncio.create_task(consume(queue)) for queue in queues]
        await asyncio.to_thread(tally.done.wait)
        for task in consumers:
            task.cancel()
        for relay in relays:
            await relay.close()

    asyncio.run(main())


def nostr_sdk(tally: Tally, urls: Sequence[str]) -> None:
    """Use nostr-sdk, which verifies.

    Its notifications pass through a channel that drops the oldest when full, so it is made large enough for all. Each
    event is notified twice: as a message and, the first time it is seen, as an event. ``stream_events`` is faster by
    half, but its channel has a fixed size, so a flood like this one loses events.
    """
    import nostr_sdk as sdk  # noqa: PLC0415

    async def main() -> None:
        client = sdk.ClientBuilder().notification_channel_size(2 * tally.count + len(urls)).build()
        for url in urls:
            await client.add_relay(sdk.RelayUrl.parse(url))
        await client.connect(and_wait=timedelta(seconds=5))
        notifications = client.notifications()
        wanted = sdk.Filter().kinds([sdk.Kind(kind) for kind in _FILTER["kinds"]])
        tally.begin()
        await client.subscribe(sdk.ReqTarget.auto([wanted]), id=SUBSCRIPTION)
        while not tally.done.is_set():
            notification = await notifications.next()
            if notification.is_new_event():
                tally.event(notification.event.content())
        await client.shutdown()

    asyncio.run(main())


def pynostr(tally: Tally, urls: Sequence[str]) -> None:
    """Use pynostr, which verifies.

    It connects and sends the REQ in one step, so the clock starts before both.
    """
    from pynostr.filters import Filters, FiltersList  # noqa: PLC0415
    from pynostr.relay_manager import RelayManager  # noqa: PLC0415

    def handle(message: Any) -> None:
        if message[0] == "EVENT":
            tally.event(message[2]["content"])
            if tally.done.is_set():
                manager.close_all_relay_connections()

    logging.getLogger("tornado.general").setLevel(logging.ERROR)  # it warns of the ping times that pynostr chose
    manager = RelayManager(timeout=0)
    for url in urls:
        manager.add_relay(url, close_on_eose=False, message_callback=handle)
    manager.add_subscription_on_all_relays(SUBSCRIPTION, FiltersList([Filters(kinds=_FILTER["kinds"])]))
    tally.begin()
    manager.run_sync()


CLIENTS: dict[str, Callable[..., None]] = {
    "gennostr": gennostr,
    "gennostr, verifying": lambda tally, urls: gennostr(tally, urls, verify=True),
    "gennostr, subscribing": lambda tally, urls: gennostr(tally, urls, verify=True, subscribe=True),
    "straightforward": straightforward,
    "reader": reader,
    "monstr": monstr,
    "monstr, signatures only": lambda tally, urls: monstr(tally, urls, _is_signed),
    "monstr, verifying": lambda tally, urls: monstr(tally, urls, _is_genuine),
    "aionostr": aionostr,
    "nostr-sdk": nostr_sdk,
    "pynostr": pynostr,
}


def rates(names: Sequence[str], count: int, urls: Sequence[str]) -> dict[str, float]:
    """Return how many events of a flood each client handles per second."""

    def rate(name: str) -> float:
        return count / measure.in_process("benchmarks.clients", name, "flood", str(count), *urls)["seconds"]

    return measure.interleaved({name: partial(rate, name) for name in names})


def main() -> None:
    """Run one client and print its figures."""
    name, task, count, *urls = sys.argv[1:]
    tally = Tally(task, int(count))
    CLIENTS[name](tally, urls)
    print(json.dumps(tally.figures))


if __name__ == "__main__":
    main()
