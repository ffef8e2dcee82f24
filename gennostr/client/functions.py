"""The functions of a client: relays, subscriptions, publications, counts.

They are the same in a client's callbacks (`self`) and on its handle. They check their arguments in the caller. The
functions for relays and messages then do all their work there; the others leave it to the client's thread.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias, Unpack, cast

import msgspec

from gennostr.client.commands import ClientCommand, Forget, SendToRelays, Subscribe, Unsubscribe
from gennostr.client.options import Options, Relay, RelayOptions, check_files, check_number
from gennostr.client.outbox import Outbox
from gennostr.client.publications import CountRequest, PendingAnswers, Publication
from gennostr.client.relay_pool import RelayPool
from gennostr.client.relay_statistics import ClientStatistics, RelayStatistics
from gennostr.client.subscriptions import Subscription, new_id
from gennostr.client.supervision import ConnectionTable
from gennostr.exceptions import MessageError, NoProcess, Overflow, RelayNotFound
from gennostr.nostr.curve import coincurve
from gennostr.nostr.encoding import encode
from gennostr.nostr.event import Event
from gennostr.nostr.filters import checked_filters
from gennostr.nostr.relay_url import normalize_url, redact
from gennostr.otp.outcomes import check_seconds
from gennostr.otp.pid import Pid
from gennostr.otp.process import check_may_act, current_process
from gennostr.values import shown

logger = logging.getLogger(__name__)

_DIGITS: Final = 13
"""A time with so many digits is no time in seconds."""

Filters: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class ClientFunctions:
    """The functions of a client, in its callbacks (`self`) and on its handle.

    They manage relays, subscribe, publish and count. Any thread can call them.
    """

    def add_relay(self, relay: str | Relay, **options: Unpack[RelayOptions]) -> Pid:
        """Connect to a relay; return the pid of its connection.

        Returns at once: handle_connect is called when the connection is up, handle_error and handle_disconnect if the
        attempt fails. If the client has a connection to this url, it stays as it is and is returned.

        Args:
            relay: a ws:// or wss:// url, or a `Relay` with its options.
            options: those of `RelayOptions`, such as ``verify=True``; they replace the ones of a `Relay`.

        Raises:
            TypeError, ValueError: the url (`RelayUrlError`) or an option is invalid; nothing is started.
            ImportError: ``verify=True`` needs coincurve (``pip install 'gennostr[crypto]'``), or a SOCKS proxy needs
                socksio (``pip install 'gennostr[socks]'``).
            NoProcess: the client is dead.

        >>> from gennostr import GenNostr
        >>> from gennostr.testing import MemoryRelay
        >>> with MemoryRelay() as relay, GenNostr.start() as client:
        ...     connection = client.add_relay(relay.url, connect_timeout=5.0)
        ...     client.list_relays() == [relay.url]
        True
        """
        check_may_act()
        wanted = checked_relay(relay, options)
        table = connections(self)
        try:
            return table.add(wanted)
        except Exception:
            table.relay_removed(wanted.url)  # it may have been in backoff
            raise

    def remove_relay(self, relay: str | Relay) -> None:
        """Close the connection to a relay, or cancel the pending attempt.

        handle_disconnect is called with REMOVE_RELAY at once; the close handshake (RFC 6455, 7.1.2) follows in the
        background. Resume points of subscriptions are kept, so the relay can be added again without a gap. If the
        client is about to handle the end of an attempt, the relay is removed after that.

        Args:
            relay: its url, or the `Relay` that a callback got.

        Raises:
            RelayNotFound: there is neither a connection nor a pending attempt. It is a LookupError.
            TypeError, ValueError: `relay` is not a relay.

        >>> from gennostr import GenNostr
        >>> from gennostr.testing import MemoryRelay
        >>> with MemoryRelay() as relay, GenNostr.start() as client:
        ...     connection = client.add_relay(relay.url)
        ...     client.remove_relay(relay.url)
        ...     client.list_relays()
        []
        """
        check_may_act()
        connections(self).remove(url_of(relay))

    def reconnect(self, relay: str | Relay, delay: float | None = None) -> None:
        """Reconnect to a relay after a delay; for use in handle_disconnect.

        The default handle_disconnect calls this, so only a client that overrides it needs to. There is one pending
        attempt for each url: a second call changes nothing, unless its `delay` is 0.

        Args:
            relay: the `Relay` that handle_disconnect got, with its options, or a url.
            delay: seconds, at least 0; 0 starts the attempt now. None (the default) is the next delay of the relay's
                option ``reconnect``, changed at random by up to 25 % so that not all clients come back at once. If the
                relay refused with a ``Retry-After`` (see `Relay.retry_after`), it is at least that, up to the longest
                delay of ``reconnect``.

        Raises:
            TypeError, ValueError: `relay` or `delay` is invalid.
            ImportError: the relay's ``verify=True`` needs coincurve.
            RuntimeError: the system cannot start a thread for the timers, and none is running; nothing has changed.

        >>> from gennostr import REMOVE_RELAY, GenNostr
        >>> class Patient(GenNostr[None]):
        ...     def handle_disconnect(self, reason, relay, state):
        ...         if reason is not REMOVE_RELAY:
        ...             self.reconnect(relay, delay=60.0)
        """
        check_may_act()
        if delay is not None:
            check_seconds("delay", delay)
        wanted = relay if isinstance(relay, Relay) else Relay.new(relay)
        check_verify(wanted.options)
        connections(self).schedule(wanted, delay)

    def list_relays(self) -> list[str]:
        """Return the urls of all connections.

        Includes those still connecting, but not relays in backoff: they wait for their next attempt and have no
            connection.
        `relay_statistics` shows them all.

        >>> from gennostr import GenNostr
        >>> from gennostr.testing import MemoryRelay
        >>> with MemoryRelay() as relay, GenNostr.start() as client:
        ...     connection = client.add_relay(relay.url)
        ...     len(client.list_relays())
        1
        """
        check_may_act()
        return [url for url, _, _ in connections(self).connections()]

    def send_message(self, message: str | list[Any], relay: str | Relay) -> None:
        """Send a message to one relay.

        This is the raw access to the protocol; `subscribe`, `publish` and `count` handle answers, reconnects and limits
        as well. Before the connection is up, the message is queued and sent after those that handle_connect sends. In a
        callback, the connection can have ended before handle_disconnect was called: then the message is lost with it.

        Args:
            message: a list such as ``["REQ", "feed", {"kinds": [1]}]``, which is checked and encoded, or JSON text,
                which is sent as it is. See `gennostr.nostr.encode`.
            relay: its url, or the `Relay` that a callback got.

        Raises:
            RelayNotFound: there is no connection to it. It is a LookupError.
            Overflow: the messages that wait for this relay are over its ``max_queue_size`` or ``max_queue_messages``.
            TypeError, ValueError: it is not a message (`MessageError`), or `relay` is not a relay.

        >>> from queue import SimpleQueue
        >>> from gennostr import GenNostr
        >>> from gennostr.testing import MemoryRelay
        >>> received = SimpleQueue()
        >>> class Reader(GenNostr[None]):
        ...     def handle_eose(self, message, relay, state):
        ...         received.put(message.subscription_id)
        >>> with MemoryRelay() as relay, Reader.start() as client:
        ...     connection = client.add_relay(relay.url)
        ...     client.send_message(["REQ", "feed", {"kinds": [1]}], relay.url)
        ...     received.get(timeout=5)
        'feed'
        """
        check_may_act()
        payload = encode(message)
        url = url_of(relay)
        outbox = _outbox(self, url)
        if outbox is not None:
            _put(self, outbox, payload)

    def broadcast_message(self, message: str | list[Any]) -> list[str]:
        """Send a message to every connection; return the urls for which it was queued.

        A connection whose outbox is full is skipped, and a warning is logged.

        Args:
            message: as for `send_message`.

        Raises:
            TypeError, ValueError: it is not a message (`MessageError`).

        >>> from gennostr import GenNostr
        >>> from gennostr.testing import MemoryRelay
        >>> with MemoryRelay() as relay, GenNostr.start() as client:
        ...     connection = client.add_relay(relay.url)
        ...     client.broadcast_message(["CLOSE", "feed"]) == [relay.url]
        True
        """
        check_may_act()
        payload = encode(message)
        queued: list[str] = []
        for url, _, outbox in connections(self).connections():
            try:
                _put(self, outbox, payload)
            except Overflow as error:
                logger.warning("a broadcast skipped a relay: %s", error)
            else:
                queued.append(url)
        return queued

    def relay_statistics(self) -> dict[str, RelayStatistics]:
        """Return each relay's status and counters since it was added, by url.

        Includes relays in backoff, but not those that were removed. The counters are read where they are kept, at about
        the same time; no message is sent.

        >>> from gennostr import GenNostr
        >>> from gennostr.testing import MemoryRelay
        >>> with MemoryRelay() as relay, GenNostr.start() as client:
        ...     connection = client.add_relay(relay.url)
        ...     found = client.count({"kinds": [1]}).result()  # its answer shows that the connection is up
        ...     client.relay_statistics()[relay.url].state
        'open'
        """
        check_may_act()
        return connections(self).statistics()

    def ping(self, relay: str | Relay) -> None:
        """Ping a relay (RFC 6455, 5.5.2), to measure the latency.

        After the relay's answer, `relay_statistics` shows it.

        A missing answer does not end the connection: the keepalive (option ``ping_interval``) sends pings of its own.
        Before the connection is open, this does nothing.

        Args:
            relay: its url, or the `Relay` that a callback got.

        Raises:
            RelayNotFound: there is no connection to it. It is a LookupError.
            TypeError, ValueError: `relay` is not a relay.

        >>> from gennostr import GenNostr
        >>> from gennostr.testing import MemoryRelay
        >>> with MemoryRelay() as relay, GenNostr.start() as client:
        ...     connection = client.add_relay(relay.url)
        ...     client.ping(relay.url)
        """
        check_may_act()
        outbox = _outbox(self, url_of(relay))
        if outbox is not None:
            outbox.ping()

    def subscribe(self, filters: Filters, id: str | None = None, relays: Sequence[str] | None = None) -> str:  # noqa: A002
        """Request events from relays until `unsubscribe`; return the subscription's id.

        Each relay gets a REQ (NIP-01) when it connects, and after a reconnect one that resumes where the last ended:
        nothing is missed, and nothing is delivered twice. handle_event is called with each event that matches; an event
        that does not match is an error (handle_error). handle_eose is called at the end of each relay's stored events,
        handle_eose_all when all relays have reached it.

        Filters that are too large for a relay are split; those that cannot be split are reported to handle_error as
        `RequestTooLarge`. REQs beyond a relay's limit of subscriptions wait until another is closed.

        Args:
            filters: a filter of NIP-01 or a list of filters, of which an event must match one, such as
                ``{"kinds": [1], "authors": ["npub1..."], "since": 1700000000}``. Keys and ids are 64 lower-case hex
                digits, npub1... or note1....
            id: 1 to 64 characters; it replaces a subscription with the same id. With a `store`, the next run of the
                program resumes the one with this id. None (the default): a new one, which does not outlive the client.
            relays: a list of urls; None (the default): every relay that the client has or will have.

        Raises:
            TypeError, ValueError: an argument is invalid, or the REQ is larger than a relay's ``max_queue_size``; the
                message says which, and what to use.
            NoProcess: the client is dead.

        >>> from queue import SimpleQueue
        >>> from gennostr import GenNostr
        >>> from gennostr.testing import MemoryRelay
        >>> received = SimpleQueue()
        >>> class Feed(GenNostr[None]):
        ...     def handle_event(self, message, relay, state):
        ...         received.put(message.event.content)
        >>> with MemoryRelay() as relay, Feed.start() as feed:
        ...     connection = feed.add_relay(relay.url)
        ...     event = relay.store(content="hello", kind=1)
        ...     feed.subscribe({"kinds": [1]}, id="notes")
        ...     received.get(timeout=5)
        'notes'
        'hello'
        """
        chosen = id is not None
        if id is None:
            id = new_id("sub")  # noqa: A001
        wanted, urls = checked_filters(filters), urls_of(relays)
        _check_sizes(self, encode(["REQ", id, *wanted]), urls, f"the REQ of subscription {id!r}")
        _command(self, Subscribe(Subscription(id, wanted, urls, saved=chosen)))
        return id

    def unsubscribe(self, id: str) -> None:  # noqa: A002
        """Close a subscription (NIP-01's CLOSE); its events are no longer delivered.

        That includes events that are on their way. An unknown id is ignored.

        Args:
            id: as returned by `subscribe`.

        Raises:
            TypeError: `id` is not a str.
            NoProcess: the client is dead.

        >>> from gennostr import GenNostr
        >>> with GenNostr.start() as client:
        ...     client.unsubscribe(client.subscribe({"kinds": [1]}))
        """
        if not isinstance(id, str):
            raise TypeError(f"a subscription id is a text, not {shown(id)}")
        _command(self, Unsubscribe(id))

    def publish(
        self,
        event: Event | Mapping[str, Any],
        relays: Sequence[str] | None = None,
        timeout: float = 10.0,
        *,
        durable: bool = False,
        expires: float | None = None,
    ) -> Publication:
        """Send an event to relays; return a future for their outcomes.

        ``publish(event).result()`` waits in a thread, ``await publish(event)`` in a coroutine. If a callback of the
        client called it, the client also gets a `PublicationDone` message. The event is sent once more if the
        connection is lost before the relay has answered, or after authentication if the relay requires it.

        A durable publication is saved in the client's store before it is sent, and stays there until each relay has
        given a final answer and the client's `PublicationDone` was handled: it survives the end of the program. Until
        then it is sent again after a lost connection, a timeout, or a refusal that is not for good. If a callback calls
        this, it is saved and sent once that has returned, together with what the callback has handled.

        Args:
            event: as `gennostr.nostr.sign` returns it, or a mapping with its fields.
            relays: a list of urls; None (the default): all that the client has now.
            timeout: seconds for all relays together, 10 by default; relays that connect within it get the event too. If
                it is durable: seconds that one attempt at one relay may take.
            durable: whether it is saved first; False by default. The client needs a store.
            expires: when a durable publication ends in any case, in seconds since 1970; None (the default): at the
                time in the event's "expiration" tag (NIP-40), or never.

        Returns:
            A `Publication`, whose result is a dict: a `PublishOutcome` for each url, as in `list_relays`: normalized,
            so "wss://relay.example" is the key "wss://relay.example/".

        Raises:
            TypeError, ValueError: it is not an event, or its id does not match its content (`MessageError`), or another
                argument is invalid; or it is durable, and the client has no store, or no relay to send it to.
            NoProcess: the client is dead.

        >>> from gennostr import GenNostr
        >>> from gennostr.nostr import generate_key, sign
        >>> from gennostr.testing import MemoryRelay
        >>> event = sign(generate_key(), kind=1, content="hello")
        >>> with MemoryRelay() as relay, GenNostr.start() as client:
        ...     connection = client.add_relay(relay.url)
        ...     outcomes = client.publish(event).result()
        >>> [outcome.kind for outcome in outcomes.values()]
        ['accepted']
        """
        event = checked_event(event)
        process = relay_pool(self).process
        urls = urls_of(relays)
        if durable:
            expires = earliest(expires, event)
            if not relay_pool(self).has_store:
                raise ValueError("a durable publication needs a client with a store (see gennostr.store)")
            if urls is None:
                urls = frozenset({*connections(self).known(), *self.list_relays()})
            if not urls and process.dead:  # with the client, its relays end
                raise NoProcess(process.pid)
            if not urls:
                raise ValueError("a durable publication needs relays: the client has none, and none are named")
        elif expires is not None:
            raise ValueError("only a durable publication expires")
        publication = Publication(
            process, event, urls, check_seconds("timeout", timeout), durable=durable, expires=expires
        )
        _send(self, publication)
        return publication

    def publications(self) -> list[Publication]:
        """Return the pending durable publications, the oldest first.

        Those of an earlier run of the program are included. Each has its `event`, its ``outcomes`` so far, and a result
        when it is done.

        Raises:
            NoProcess: the client is dead.

        >>> from gennostr import GenNostr
        >>> with GenNostr.start() as client:
        ...     client.publications()
        []
        """
        check_may_act()
        pool = relay_pool(self)
        if pool.process.dead:
            raise NoProcess(pool.process.pid)
        return pool.publications()

    def forget(self, event_id: str) -> None:
        """Abandon a durable publication.

        It is deleted from the store, and its future is cancelled. A relay may have the event already. An unknown id is
        ignored. Cancelling the future does the same.

        Args:
            event_id: the id of its event: 64 hex digits.

        Raises:
            TypeError: `event_id` is not a str.
            NoProcess: the client is dead.

        >>> from gennostr import GenNostr
        >>> with GenNostr.start() as client:
        ...     client.forget(64 * "0")
        """
        if not isinstance(event_id, str):
            raise TypeError(f"the id of an event is a text, not {shown(event_id)}")
        _command(self, Forget(event_id))

    def count(self, filters: Filters, relays: Sequence[str] | None = None, timeout: float = 10.0) -> CountRequest:
        """Request the number of matching events from relays (NIP-45); return a future.

        Wait for it as for the result of `publish`; if a callback of the client called it, the client also gets a
        `CountDone` message. A relay that does not answer within its ``eose_timeout`` has the outcome "timeout".

        Args:
            filters: as for `subscribe`.
            relays: a list of urls; None (the default): all that the client has now.
            timeout: seconds for all relays together, 10 by default.

        Returns:
            A `CountRequest`, whose result is a `Count`.

        Raises:
            TypeError, ValueError: an argument is invalid, or the COUNT is larger than a relay's ``max_queue_size``.
            NoProcess: the client is dead.

        >>> from gennostr import GenNostr
        >>> from gennostr.testing import MemoryRelay
        >>> with MemoryRelay() as relay, GenNostr.start() as client:
        ...     event = relay.store(kind=1)
        ...     connection = client.add_relay(relay.url)
        ...     client.count({"kinds": [1]}).result().count
        1
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

    `GenNostr.start` returns it. Everything that a `Pid` can do (call, cast, stop, ...) and all functions of the client
    work on it, in any thread. ``connections`` and ``relay_pool`` are internal: the functions use them.

    >>> from gennostr import GenNostr, GenNostrPid
    >>> with GenNostr.start() as client:
    ...     isinstance(client, GenNostrPid), client.list_relays()
    (True, [])
    """

    connections: ConnectionTable
    relay_pool: RelayPool

    def statistics(self, timeout: float | None = 5.0) -> ClientStatistics:
        """Return the client's `ClientStatistics`, even while it is suspended.

        Args:
            timeout: seconds to wait; None waits forever. Default 5.0.

        Raises:
            NoProcess, CallingSelf, CallExit, CallTimeout: as for `call`.

        """
        return cast("ClientStatistics", super().statistics(timeout))


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
    """Subscribe at one relay with one REQ.

    If it is too large for the relay, it is reported, not split.
    """
    _command(client, Subscribe(Subscription(id_, checked_filters(filters), frozenset([url]), whole=True)))


def _outbox(client: ClientFunctions, url: str) -> Outbox | None:
    """Return the outbox of the connection to `url`.

    None: the connection has ended and the caller is the client, whose handle_disconnect is called next.
    """
    found = connections(client).find(url)
    if found is not None:
        return found[1]
    pool = relay_pool(client)
    if current_process() is pool.process and pool.is_connected(url):
        return None
    raise RelayNotFound(redact(url))


def _put(client: ClientFunctions, outbox: Outbox, payload: bytes) -> None:
    # `greeting` is the client's own: another thread that sends meanwhile waits until handle_connect has run.
    outbox.put(payload, first=outbox.greeting and current_process() is relay_pool(client).process)


def _check_sizes(client: ClientFunctions, payload: bytes, urls: frozenset[str] | None, what: str) -> None:
    """Raise MessageError if one of the relays' outboxes could never hold `payload`."""
    for relay in connections(client).relays():
        if urls is None or relay.url in urls:
            check_size(payload, relay.options.max_queue_size, what, f" of {redact(relay.url)}")


def checked_relay(relay: str | Relay, options: RelayOptions) -> Relay:
    """Return the relay that a program wants to add, with its options.

    Raises:
        TypeError, ValueError, ImportError: see `ClientFunctions.add_relay`.

    """
    wanted = Relay.new(relay.url, relay.options, **options) if isinstance(relay, Relay) else Relay.new(relay, **options)
    check_verify(wanted.options)
    check_files(wanted.options)
    return wanted


def checked_event(event: Event | Mapping[str, Any]) -> Event:
    """Return the event that a program wants to publish.

    Raises:
        MessageError: it is not an event, or its id does not match its content.

    """
    if not isinstance(event, Event):
        try:
            event = msgspec.convert(event, Event)
        except msgspec.ValidationError as error:
            raise MessageError(f"not an event: {error}") from None
    if not event.has_valid_id():
        raise MessageError(f"event {event.id!r:.80}: the id is wrong, its content has {event.compute_id()!r}")
    return event


def check_verify(options: Options) -> None:
    """Raise ImportError if the options require coincurve, and it is not installed.

    In the caller: otherwise the connection would crash at the first event.
    """
    if options.verify:
        coincurve()


def check_size(payload: bytes, max_queue_size: int, what: str, of: str = "") -> None:
    """Raise MessageError if `payload` is larger than an outbox.

    The message says `what` it is, and `of` whom the limit is.
    """
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
    check_may_act()
    pool = relay_pool(client)
    process = pool.process
    if current_process() is process:
        pool.command(command)
    elif process.dead:
        raise NoProcess(process.pid)
    else:
        process.put_from(current_process(), command)


def earliest(expires: float | None, event: Event) -> float | None:
    """Return when a durable publication expires.

    That is at `expires`, or at the event's own time (NIP-40) if it is earlier.

    Raises:
        TypeError, ValueError: `expires` is not a time.

    """
    if expires is not None:
        check_number("expires", expires, least=0)
        if not math.isfinite(expires):
            raise ValueError(f"expires must be a time in seconds since 1970, or None, not {expires}")
    times = [] if expires is None else [float(expires)]
    tags = [tag[1] for tag in event.tags if tag[:1] == ["expiration"] and len(tag) > 1]
    times += [float(text) for text in tags if text.isascii() and text.isdigit() and len(text) < _DIGITS]
    return min(times, default=None)


def url_of(relay: str | Relay) -> str:
    """Return the url of a relay, normalized."""
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
    return frozenset(map(url_of, relays))
