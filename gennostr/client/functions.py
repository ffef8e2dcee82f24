"""The functions of a client: relays, messages, subscriptions, publications and counts.

They are the same in a client's callbacks (`self`) and on its handle. They check their arguments in the caller. The
functions for relays and messages then do all their work there; the others leave it to the client's thread.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, Unpack

import msgspec

from gennostr.client.commands import ClientCommand, SendToRelays, Subscribe, Unsubscribe
from gennostr.client.options import Relay, RelayOptions
from gennostr.client.outbox import Outbox
from gennostr.client.publications import CountRequest, PendingAnswers, Publication
from gennostr.client.relay_pool import RelayPool
from gennostr.client.relay_statistics import RelayStatistics
from gennostr.client.subscriptions import Subscription, new_id
from gennostr.client.supervision import ConnectionTable
from gennostr.exceptions import MessageError, NoProcess, Overflow, RelayNotFound
from gennostr.nostr.encoding import encode
from gennostr.nostr.event import Event
from gennostr.nostr.filters import checked_filters
from gennostr.nostr.relay_url import normalize_url, redact
from gennostr.otp.outcomes import check_seconds
from gennostr.otp.pid import Pid
from gennostr.otp.process import acting, current
from gennostr.values import shown

logger = logging.getLogger(__name__)

Filters: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class ClientFunctions:
    """Subscribe, publish, count and manage relays, in callbacks (`self`) and on the handle."""

    def add_relay(self, relay: str | Relay, **options: Unpack[RelayOptions]) -> Pid:
        """Connect to a relay; return its connection, or the existing one.

        `relay` is a url or a `Relay`; options are those of `Options`, by name.

        Raises:
            TypeError, ValueError: the url or an option is invalid; nothing is started.
            NoProcess: the client is dead.

        """
        acting()
        if isinstance(relay, Relay):
            wanted = Relay.new(relay.url, relay.options, **options)
        else:
            wanted = Relay.new(relay, **options)
        table = connections(self)
        pending = table.take(wanted.url)
        if pending is not None:
            pending.cancel()
        try:
            return table.open(wanted)
        except Exception:
            table.relay_removed(wanted.url)  # it may have been in backoff
            raise

    def remove_relay(self, relay: str | Relay) -> None:
        """Close the connection, or cancel the pending attempt.

        handle_disconnect is called with REMOVE_RELAY at once.

        Raises:
            RelayNotFound: there is neither a connection nor a pending attempt.
            TypeError, ValueError: `relay` is not a relay.

        """
        acting()
        connections(self).remove(_url(relay))

    def reconnect(self, relay: str | Relay, delay: float | None = None) -> None:
        """Reconnect after `delay` seconds; None: after the relay's next reconnect delay ±25 %.

        For use in handle_disconnect. There is one pending attempt per url; with `delay=0` it starts now.

        Raises:
            TypeError, ValueError: `relay` or `delay` is invalid.
            RuntimeError: the system cannot start a thread for the timers, and none is running; nothing has changed.

        """
        acting()
        if delay is not None:
            check_seconds("delay", delay)
        connections(self).schedule(relay if isinstance(relay, Relay) else Relay.new(relay), delay)

    def list_relays(self) -> list[str]:
        """Return the urls of all connections, including those still connecting, but not those in backoff."""
        acting()
        return [url for url, _, _ in connections(self).connections()]

    def send_message(self, message: str | list[Any], relay: str | Relay) -> None:
        """Send a message (JSON text, or a list to encode) to one relay.

        Before the connection is up, the message is queued and sent after those that handle_connect sends. In a
        callback, the connection can have ended before handle_disconnect was called: then the message is lost with it.

        Raises:
            RelayNotFound: there is no connection to it.
            Overflow: the connection's outbox is full.
            TypeError, ValueError: it is not a message (`MessageError`), or `relay` is not a relay.

        """
        acting()
        payload = encode(message)
        url = _url(relay)
        outbox = _outbox(self, url)
        if outbox is not None:
            _put(self, outbox, payload)

    def broadcast_message(self, message: str | list[Any]) -> list[str]:
        """Send a message to every connection; return the urls for which it was queued.

        A connection whose outbox is full is skipped, and a warning is logged.

        Raises:
            TypeError, ValueError: it is not a message.

        """
        acting()
        payload = encode(message)
        queued: list[str] = []
        for url, _, outbox in connections(self).connections():
            try:
                _put(self, outbox, payload)
            except Overflow as error:
                logger.warning("not broadcast: %s", error)
            else:
                queued.append(url)
        return queued

    def relay_statistics(self) -> dict[str, RelayStatistics]:
        """Return each relay's status and counters since it was added, by url.

        Includes relays in backoff, but not those that were removed. The counters are read where they are kept, at about
        the same time.
        """
        acting()
        return connections(self).statistics()

    def ping(self, relay: str | Relay) -> None:
        """Ping a relay; after its answer, `relay_statistics` shows the latency.

        A missing answer does not end the connection: the keepalive sends pings of its own. Before the connection is
        open, this does nothing.

        Raises:
            RelayNotFound: there is no connection to it.
            TypeError, ValueError: `relay` is not a relay.

        """
        acting()
        outbox = _outbox(self, _url(relay))
        if outbox is not None:
            outbox.ping()

    def subscribe(self, filters: Filters, id: str | None = None, relays: Sequence[str] | None = None) -> str:  # noqa: A002
        """Request events from relays until `unsubscribe`; return the subscription's id.

        Each relay gets a REQ (NIP-01) when it connects, and after a reconnect one that resumes where the last ended:
        nothing is missed, and nothing is delivered twice. `filters` is a filter or a list of filters. `relays` is a
        list of urls; None means every relay that the client has or will have. `id` has 1 to 64 characters; an existing
        subscription with the same id is replaced.

        handle_event is called with each event that matches; an event that does not match is an error (handle_error).
        handle_eose is called at the end of each relay's stored events, handle_eose_all when all relays have reached it.
        Filters that are too large for a relay are split; those that cannot be split are reported to handle_error as
        `RequestTooLarge`.

        Raises:
            TypeError, ValueError: an argument is invalid, or the REQ is larger than a relay's ``max_queue_size``; the
                message says which, and what to use.
            NoProcess: the client is dead.

        """
        if id is None:
            id = new_id("sub")  # noqa: A001
        wanted, urls = checked_filters(filters), urls_of(relays)
        _check_sizes(self, encode(["REQ", id, *wanted]), urls, f"the REQ of subscription {id!r}")
        _command(self, Subscribe(Subscription(id, wanted, urls)))
        return id

    def unsubscribe(self, id: str) -> None:  # noqa: A002
        """Close a subscription (NIP-01's CLOSE); events still on their way are not delivered.

        An unknown id is ignored.

        Raises:
            TypeError: `id` is not a str.
            NoProcess: the client is dead.

        """
        if not isinstance(id, str):
            raise TypeError(f"a subscription id is a text, not {shown(id)}")
        _command(self, Unsubscribe(id))

    def publish(
        self, event: Event | Mapping[str, Any], relays: Sequence[str] | None = None, timeout: float = 10.0
    ) -> Publication:
        """Send an event to relays, including those that connect within `timeout` seconds.

        `relays` is a list of urls; None means all that the client has. The result has an `Outcome` for each relay:
        ``publish(event).result()`` in a thread, ``await publish(event)`` in a coroutine. If a callback of the client
        called it, the client also gets a `PublicationDone` message.

        Raises:
            TypeError, ValueError: it is not an event, or its id does not match its content (`MessageError`).
            NoProcess: the client is dead.

        """
        if not isinstance(event, Event):
            try:
                event = msgspec.convert(event, Event)
            except msgspec.ValidationError as error:
                raise MessageError(f"not an event: {error}") from None
        computed = event.compute_id()
        if event.id != computed:
            raise MessageError(f"event {event.id!r:.80}: the id is wrong, its content has {computed!r}")
        process = relay_pool(self).process
        publication = Publication(process, event, urls_of(relays), check_seconds("timeout", timeout))
        _send(self, publication)
        return publication

    def count(self, filters: Filters, relays: Sequence[str] | None = None, timeout: float = 10.0) -> CountRequest:
        """Request the number of matching events from relays (NIP-45); the result is a merged `Count`.

        Wait for it as for the result of `publish`; if a callback of the client called it, the client also gets a
        `CountDone` message. A relay that does not answer within its ``eose_timeout`` has the outcome "timeout".

        Raises:
            TypeError, ValueError: an argument is invalid, or the COUNT is larger than a relay's ``max_queue_size``.
            NoProcess: the client is dead.

        """
        id_ = new_id("count")
        process = relay_pool(self).process
        wanted, urls = checked_filters(filters), urls_of(relays)
        counting = CountRequest(process, id_, wanted, urls, check_seconds("timeout", timeout))
        _check_sizes(self, counting.payload, urls, "the COUNT")
        _send(self, counting)
        return counting


class GenNostrPid(ClientFunctions, Pid):
    """The handle of a client: a pid with the client's functions.

    ``connections`` and ``relay_pool`` are internal: the functions work on them.
    """

    connections: ConnectionTable
    relay_pool: RelayPool


def _handle(client: ClientFunctions) -> GenNostrPid:
    """Return the handle of a client, given the handle or the client itself."""
    handle: object = client if isinstance(client, GenNostrPid) else getattr(client, "pid", None)
    assert isinstance(handle, GenNostrPid)  # noqa: S101
    return handle


def connections(client: ClientFunctions) -> ConnectionTable:
    """Return the client's connections."""
    return _handle(client).connections


def relay_pool(client: ClientFunctions) -> RelayPool:
    """Return the client's subscriptions, publications and counts."""
    return _handle(client).relay_pool


def subscribe_whole(client: ClientFunctions, filters: Filters, id_: str, url: str) -> None:
    """Subscribe at one relay with one REQ; if it is too large for the relay, it is reported, not split."""
    _command(client, Subscribe(Subscription(id_, checked_filters(filters), frozenset([url]), whole=True)))


def _outbox(client: ClientFunctions, url: str) -> Outbox | None:
    """Return the outbox of the connection to `url`.

    None: the connection has ended and the caller is the client, whose handle_disconnect is called next.
    """
    found = connections(client).find(url)
    if found is not None:
        return found[1]
    pool = relay_pool(client)
    if current() is pool.process and pool.is_connected(url):
        return None
    raise RelayNotFound(redact(url))


def _put(client: ClientFunctions, outbox: Outbox, payload: bytes) -> None:
    # `greeting` is the client's own: another thread that sends meanwhile waits until handle_connect has run.
    outbox.put(payload, first=outbox.greeting and current() is relay_pool(client).process)


def _check_sizes(client: ClientFunctions, payload: bytes, urls: frozenset[str] | None, what: str) -> None:
    """Raise MessageError if the outbox of one of the relays could never hold `payload`."""
    for relay in connections(client).relays():
        if urls is None or relay.url in urls:
            check_size(payload, relay.options.max_queue_size, what, f" of {redact(relay.url)}")


def check_size(payload: bytes, max_queue_size: int, what: str, of: str = "") -> None:
    """Raise MessageError, which says `what` it is and `of` whom the limit is, if `payload` is over it."""
    if len(payload) > max_queue_size:
        raise MessageError(f"{what} has {len(payload)} bytes, more than the max_queue_size{of}: {max_queue_size}")


def _send(client: ClientFunctions, pending: PendingAnswers[Any]) -> None:
    process = relay_pool(client).process
    # Watch it before sending: from here on, the client's death ends it, wherever the command is by then.
    if not process.watch(pending, waits=True):
        raise NoProcess(process.pid)
    _command(client, SendToRelays(pending))


def _command(client: ClientFunctions, command: ClientCommand) -> None:
    """Have the client run the command: at once if the client is the caller."""
    acting()
    pool = relay_pool(client)
    process = pool.process
    if current() is process:
        pool.command(command)
    elif process.dead:
        raise NoProcess(process.pid)
    else:
        process.put_from(current(), command)


def _url(relay: str | Relay) -> str:
    return relay.url if isinstance(relay, Relay) else normalize_url(relay)


def urls_of(relays: Sequence[str | Relay] | None) -> frozenset[str] | None:
    """Return the normalized urls of a list of relays, or None for None.

    Raises:
        TypeError, ValueError: a url, or the list itself, is invalid.

    """
    if relays is None:
        return None
    if isinstance(relays, str | Relay) or not isinstance(relays, Sequence | set | frozenset):
        raise TypeError(f"relays are a list of urls, not {type(relays).__name__}")
    return frozenset(each.url if isinstance(each, Relay) else normalize_url(each) for each in relays)
