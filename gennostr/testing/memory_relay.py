"""A small working relay that keeps its events in memory.

A test that needs a relay, and not each of its messages:

    with MemoryRelay() as relay, Feed.start([relay.url]) as feed:
        relay.store(content="hello")  # sent to its subscribers, as if somebody had published it
        relay.drop()  # resets all connections; clients may reconnect at once
        relay.stop()  # connections are refused
        relay.start()  # on the same port, with the same events

Supported: EVENT with OK (the id is checked, the signature is not), REQ with the stored events, newest first, EOSE and
then live events, CLOSE, COUNT, and, if given, an information document (NIP-11) and limits. Not supported:
authentication, replaceable and addressable events (each is kept, like any other) and deletions. The data that waits for
a client that reads nothing is not limited. For tests that decide what the relay sends, use `FakeRelay`.

When the relay ends a connection, it does so in order: the client receives all that was sent, and then the end.

One daemon thread serves all connections. It works under a lock that every method takes. So does a `ManualClock`: to let
the actors settle, it does the relay's work in its own thread.
"""

import selectors
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final, Self, Unpack

import msgspec

from gennostr.nostr import Event, matches
from gennostr.nostr.filters import received_filters
from gennostr.testing.event_factory import EventFields, given_or_made
from gennostr.testing.manual_clock import helpers
from gennostr.testing.relay_socket import (
    CLOSE,
    LINGER,
    TEXT,
    Frame,
    RelaySocket,
    close_when_received,
    encode_frame,
    identity,
    listener,
)

_EPHEMERAL: Final = range(20_000, 30_000)


class _Client:
    """A connection and its subscriptions."""

    def __init__(self, sock: socket.socket) -> None:
        self.wire = RelaySocket(sock)
        self.subscriptions: dict[str, list[dict[str, Any]]] = {}

    def send(self, *message: object) -> None:
        self.wire.out += self.wire.message(TEXT, msgspec.json.encode(message))

    def finish(self) -> None:
        """End the connection after the data that is still to be written."""
        self.subscriptions.clear()
        self.wire.finish(notify=True)

    def ok(self, event_id: str, message: str = "", *, accepted: bool = True) -> None:
        self.send("OK", event_id, accepted, message)


class MemoryRelay:
    """A relay on a localhost port that keeps its events in memory.

    It runs from its creation until `stop` or the end of a ``with`` statement.

    >>> import gennostr
    >>> from gennostr.testing import MemoryRelay
    >>> with MemoryRelay() as relay:
    ...     event = relay.store(content="hello", created_at=1_700_000_000)
    ...     [event.content for event in gennostr.fetch({"kinds": [1]}, [relay.url])]
    ['hello']

    Args:
        tls: True creates a certificate, which clients trust if they are given `websocket`; this needs trustme
            (``pip install 'gennostr[testing]'``). With your own server-side SSLContext, you arrange the trust
            yourself. Default: no TLS.
        information: the information document (NIP-11), served as given: it need not match what the relay does.
            Default: requests for it are refused.
        max_limit: the maximum number of stored events sent for one filter. Default: no maximum.
        max_subscriptions: the maximum number of subscriptions open on one connection; a REQ for another is answered
            with CLOSED. Default: no maximum.
        compression: True compresses messages both ways (permessage-deflate, RFC 7692) if the client offers it.
            Default: no compression.

    Attributes:
        url: what a client connects to, ``ws://localhost:PORT/`` or ``wss://...``. It stays the same after `stop` and
            `start`.
        websocket: options for a client that is to trust the certificate:
            ``add_relay(relay.url, websocket=relay.websocket)``.

    Raises:
        ImportError: `tls` is True, and trustme is not installed.

    """

    def __init__(
        self,
        *,
        tls: bool | ssl.SSLContext = False,
        information: Mapping[str, object] | None = None,
        max_limit: int | None = None,
        max_subscriptions: int | None = None,
        compression: bool = False,
    ) -> None:
        self._identity = identity(tls)
        self._information = information
        self._max_limit = max_limit
        self._max_subscriptions = max_subscriptions
        self._compression = compression
        self.websocket: Mapping[str, object] = self._identity.websocket
        # Reentrant, as a finalizer may use the relay between any two lines.
        self._lock = threading.RLock()
        # Everything below is protected by the lock.
        self._events: dict[str, Event] = {}
        # Including those whose connection the relay has ended, until they have ended it as well.
        self._clients: set[_Client] = set()
        # The amount of work done: connections accepted and upgraded, frames handled.
        self._done = 0
        self._running = False
        self._port: int | None = None
        self.start()
        self.url = f"{self._identity.scheme}://localhost:{self._port}/"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<MemoryRelay {self.url}>"

    @property
    def events(self) -> list[Event]:
        """A copy of the stored events, in order of arrival."""
        with self._lock:
            return list(self._events.values())

    @property
    def connections(self) -> int:
        """The number of clients connected now."""
        with self._lock:
            return sum(client.wire.upgraded and not client.wire.shut for client in list(self._clients))

    def store(self, event: Event | None = None, **fields: Unpack[EventFields]) -> Event:
        """Store an event, send it to its subscribers, and return it.

        It is handled as if a client had published it.

        Args:
            event: the event, which is not checked. Default: a signed event, made from `fields`.
            fields: see `make_event`.

        Raises:
            TypeError: both an event and fields are given.

        """
        event = given_or_made(event, fields)
        with self._lock:
            self._publish(event)
        return event

    def drop(self) -> None:
        """Reset all connections (RST)."""
        with self._lock:
            for client in list(self._clients):
                self._remove(client)
                client.wire.reset()

    def start(self) -> None:
        """Listen again, on the same port and with the same events. No effect if running."""
        with self._lock:
            if self._running:
                return
            self._listener = listener(self._port)
            self._listener.settimeout(0)
            self._port = self._listener.getsockname()[1]
            self._selector = selector = selectors.DefaultSelector()
            # One byte sent to it wakes the thread, which then ends.
            self._wake, waker = socket.socketpair()
            self._selector.register(waker, selectors.EVENT_READ, lambda: None)
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
            self._thread = threading.Thread(
                target=self._serve, args=(selector, waker), name=f"gennostr-memory-relay-{self._port}", daemon=True
            )
            self._running = True
            self._thread.start()
        helpers[self._work] = None

    def stop(self) -> None:
        """Stop listening and end all connections (FIN, without a close frame).

        No effect if it is stopped. Sent data is not lost: this waits for clients that have not received all of it, as
        long as they receive something every two seconds, for at most 30 seconds.
        """
        helpers.pop(self._work, None)
        with self._lock:
            if not self._running:
                return
            self._running = False
            self._selector.unregister(self._listener)
            self._listener.close()
            clients = list(self._clients)
            for client in clients:
                self._remove(client)
                client.finish()
            thread, wake = self._thread, self._wake
            wake.send(b"\0")
        thread.join()
        wake.close()
        # Not under the lock: nothing else uses these connections any more, and this may take long.
        close_when_received(client.wire for client in clients)

    # The thread.

    def _serve(self, selector: selectors.BaseSelector, waker: socket.socket) -> None:
        while True:
            try:
                selector.select(LINGER)  # at the latest: a lingering connection may have to be closed: `_do_ready_work`
            except (OSError, ValueError):
                # On systems with select alone, for a socket that another thread has just unregistered and closed.
                pass
            with self._lock:
                # A stopped relay may already have been started again, with another selector and thread.
                if not self._running or self._selector is not selector:
                    selector.close()
                    waker.close()
                    return
                self._do_ready_work()

    def _do_ready_work(self) -> None:
        """Do all work that is ready, without waiting.

        Any thread that holds the lock may call this.
        """
        for key, _ in self._selector.select(0):
            key.data()
        for client in list(self._clients):
            if client.wire.over:
                self._write(client)  # the selector does not report that its deadline has passed

    def _work(self) -> int:
        """See `gennostr.testing.manual_clock.helpers`."""
        with self._lock:
            if self._running:
                self._do_ready_work()
            return self._done

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return  # the client has already disconnected
        client = _Client(sock)
        if self._identity.context is not None:
            client.wire.start_tls(self._identity.context)
        if client.wire.end is not None:
            return  # it disconnected before TLS could start
        self._selector.register(client.wire.sock, selectors.EVENT_READ, partial(self._on_ready, client))
        self._clients.add(client)
        self._done += 1

    def _on_ready(self, client: _Client) -> None:
        """Read what has arrived, handle it and answer."""
        wire = client.wire
        if not wire.over:
            wire.read()
            if wire.request and not wire.upgraded:
                self._done += 1
                try:
                    wire.upgrade(compression=self._compression)
                except ValueError:
                    wire.out += self._http(wire)
                    client.finish()
            wire.answer_pings()
            while wire.frames and not wire.over:
                self._done += 1
                self._handle(client, wire.frames.popleft())
            if wire.end is not None:
                client.finish()
        self._write(client)

    def _http(self, wire: RelaySocket) -> bytes:
        """Return the response to a request that is not a WebSocket upgrade."""
        if self._information is None or not wire.asks_for_information:
            return b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n"
        body = msgspec.json.encode(self._information)
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/nostr+json\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def _write(self, client: _Client) -> None:
        """Write what the socket accepts now; the rest follows when it is writable."""
        wire = client.wire
        try:
            wire.write()
        except OSError:
            client.finish()
        if client not in self._clients:
            return  # earlier work in this turn has ended it
        if wire.linger():
            self._remove(client)
            wire.close()
            return
        wanted = selectors.EVENT_READ if wire.waits_to_read else 0
        wanted |= selectors.EVENT_WRITE if wire.waits_to_write else 0
        key = self._selector.get_key(wire.sock)
        if key.events != wanted:
            self._selector.modify(wire.sock, wanted, key.data)

    def _remove(self, client: _Client) -> None:
        self._clients.remove(client)
        self._selector.unregister(client.wire.sock)

    # The protocol.

    def _handle(self, client: _Client, frame: Frame) -> None:
        if frame.opcode == CLOSE:
            client.wire.out += encode_frame(CLOSE, frame.payload)
            client.finish()
            return
        if frame.opcode > CLOSE:
            return  # a pong, or a ping that has been answered
        try:
            message = msgspec.json.decode(frame.payload)
        except (msgspec.DecodeError, ValueError, RecursionError):
            message = None
        match message:
            case ["EVENT", dict(fields)]:
                self._event(client, fields)
            case ["REQ" | "COUNT" as label, str(subscription_id), *filters] if filters:
                try:
                    filters = received_filters(filters)
                except (TypeError, ValueError) as error:
                    client.send("CLOSED", subscription_id, f"invalid: {error}")
                    return
                if label == "COUNT":
                    client.send("COUNT", subscription_id, {"count": len(self._matching(filters))})
                    return
                if self._exceeds_subscriptions(client, subscription_id):
                    client.send("CLOSED", subscription_id, "error: too many subscriptions")
                    return
                for event in self._stored(filters):
                    client.send("EVENT", subscription_id, event)
                client.send("EOSE", subscription_id)
                client.subscriptions[subscription_id] = filters
            case ["CLOSE", str(subscription_id)]:
                client.subscriptions.pop(subscription_id, None)
            case _:
                client.send("NOTICE", f"invalid: not understood: {frame.payload[:80].decode(errors='replace')}")

    def _exceeds_subscriptions(self, client: _Client, subscription_id: str) -> bool:
        if self._max_subscriptions is None or subscription_id in client.subscriptions:
            return False
        return len(client.subscriptions) >= self._max_subscriptions

    def _event(self, client: _Client, fields: dict[str, Any]) -> None:
        try:
            event = msgspec.convert(fields, Event)
            problem = "" if event.has_valid_id() else "the id is not that of the content"
        except ValueError as error:
            problem = str(error)
        if problem:
            client.ok(str(fields.get("id", "")), f"invalid: {problem}", accepted=False)
        elif event.id in self._events:
            client.ok(event.id, "duplicate: already have this event")
        else:
            client.ok(event.id)
            self._publish(event)

    def _publish(self, event: Event) -> None:
        if event.kind not in _EPHEMERAL:
            self._events[event.id] = event
        for client in list(self._clients):
            for subscription_id, filters in client.subscriptions.items():
                if any(matches(each, event) for each in filters):
                    client.send("EVENT", subscription_id, event)
            if client.wire.out:
                self._write(client)

    def _matching(self, filters: list[dict[str, Any]]) -> set[str]:
        return {event.id for event in list(self._events.values()) if any(matches(each, event) for each in filters)}

    def _stored(self, filters: list[dict[str, Any]]) -> Iterator[Event]:
        """Return the stored events that match, each once, newest first.

        Events of the same second are sorted by id.
        """
        newest_first = sorted(self._events.values(), key=lambda event: (-event.created_at, event.id))
        wanted = set[str]()
        for each in filters:
            found = [event.id for event in newest_first if matches(each, event)]
            wanted.update(found[: each.get("limit")][: self._max_limit])
        return (event for event in newest_first if event.id in wanted)
