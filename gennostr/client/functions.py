"""The functions of a client: relays, messages, subscriptions, publications and counts.

They are the same in a client's callbacks (`self`) and on its handle, and run in the caller: they check their arguments,
and what is left to do is done there, for relays and messages, or in the client's thread, for the rest.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias, Unpack

import msgspec

from gennostr.client.commands import ClientCommand
from gennostr.client.deliveries import Counting, Publication, Waiting
from gennostr.client.options import Relay, RelayOptions
from gennostr.client.relay_statistics import RelayStatistics
from gennostr.client.requests import Requests
from gennostr.client.subscriptions import Subscription, new_id
from gennostr.client.supervision import Tree
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
    """The functions of a client, in its callbacks (`self`) and on its handle."""

    def add_relay(self, relay: str | Relay, **options: Unpack[RelayOptions]) -> Pid:
        """Connect to a relay; return its connection, or the one that there is already.

        `relay` is a url or a `Relay`; options are those of `Options`, by name.

        Raises:
            TypeError, ValueError: the url or an option is none; nothing is started.
            NoProcess: the client is dead.

        """
        acting()
        if isinstance(relay, Relay):
            wanted = Relay.new(relay.url, relay.options, **options)
        else:
            wanted = Relay.new(relay, **options)
        tree = connections(self)
        pending = tree.take(wanted.url)
        if pending is not None:
            pending.cancel()
        try:
            return tree.open(wanted)
        except Exception:
            tree.parted(wanted.url)  # it may have been in backoff
            raise

    def remove_relay(self, relay: str | Relay) -> None:
        """Close the connection, or give up the next attempt; handle_disconnect is told REMOVE_RELAY at once.

        Raises:
            RelayNotFound: there is neither.
            TypeError, ValueError: `relay` is no relay.

        """
        acting()
        connections(self).remove(_url(relay))

    def reconnect(self, relay: str | Relay, delay: float | None = None) -> None:
        """Connect again after a while: the relay's next reconnect delay ±25 %, or `delay` seconds.

        For use in handle_disconnect. There is one pending attempt per url; `delay=0` makes it now.

        Raises:
            TypeError, ValueError: `relay` or `delay` is no such thing.
            RuntimeError: the system refuses the timers a thread, and no timer runs that has one; nothing has changed.

        """
        acting()
        if delay is not None:
            check_seconds("delay", delay)
        connections(self).schedule(relay if isinstance(relay, Relay) else Relay.new(relay), delay)

    def list_relays(self) -> list[str]:
        """Return the urls of all connections, also of those still connecting; none in backoff."""
        acting()
        return [url for url, _, _ in connections(self).connections()]

    def send_message(self, message: str | list[Any], relay: str | Relay) -> None:
        """Send a message (JSON text, or a list that is encoded) to one relay.

        Before the connection is up it is queued, and sent after what handle_connect sends. In a callback for what this
        relay has sent, or for its connect, the connection may have ended meanwhile: then the message goes with it, and
        handle_disconnect comes next.

        Raises:
            RelayNotFound: there is no connection to it.
            Overflow: too much waits to be sent there already.
            TypeError, ValueError: it is no message (`MessageError`), or `relay` no relay.

        """
        acting()
        payload = encode(message)
        url = _url(relay)
        tree = connections(self)
        found = tree.find(url)
        if found is None:
            if url == tree.serving and current() is tree.client:
                return
            raise RelayNotFound(redact(url))
        process, outbox = found
        outbox.put(payload, first=process is tree.connecting_here())

    def broadcast_message(self, message: str | list[Any]) -> list[str]:
        """Send a message to every connection; return the urls that it was queued for.

        A connection whose outbox is full is left out, with a warning in the log.

        Raises:
            TypeError, ValueError: it is no message.

        """
        acting()
        payload = encode(message)
        tree = connections(self)
        queued: list[str] = []
        for url, process, outbox in tree.connections():
            try:
                outbox.put(payload, first=process is tree.connecting_here())
            except Overflow as error:
                logger.warning("not broadcast: %s", error)
            else:
                queued.append(url)
        return queued

    def relay_statistics(self) -> dict[str, RelayStatistics]:
        """Return how each relay stands and what was counted since it was added, by url; those in backoff included.

        Each is read where it is counted, at about the same time. One that was removed is not there.
        """
        acting()
        return connections(self).statistics()

    def ping(self, relay: str | Relay) -> None:
        """Ping a relay; when it has answered, `relay_statistics` tells its latency.

        A relay that does not answer is not given up for that: the keepalive has pings of its own. A connection that is
        not open yet does nothing.

        Raises:
            RelayNotFound: there is no connection to it.
            TypeError, ValueError: `relay` is no relay.

        """
        acting()
        url = _url(relay)
        tree = connections(self)
        found = tree.find(url)
        if found is not None:
            found[1].ping()
        elif url != tree.serving or current() is not tree.client:
            raise RelayNotFound(redact(url))

    def subscribe(self, filters: Filters, id: str | None = None, relays: Sequence[str] | None = None) -> str:  # noqa: A002
        """Ask relays for events until `unsubscribe`; return the subscription's id.

        Each relay is asked when it connects, and after a reconnect from where it has ended: nothing is missed, and
        nothing told twice. `filters` is a filter of NIP-01 or a list of them; `relays` are urls, and None is every
        relay that the client has or will have. `id` has 1 to 64 characters; one that is in use gets the new filters.

        handle_event gets the events that match; one that does not is an error (handle_error). handle_eose tells each
        relay's end of stored events, handle_eose_all that of all of them.

        Raises:
            TypeError, ValueError: an argument is none; the message names it.
            NoProcess: the client is dead.

        """
        if id is None:
            id = new_id("sub")  # noqa: A001
        wanted = checked_filters(filters)
        encode(["REQ", id, *wanted])
        _command(self, partial(requests(self).subscribe, Subscription(id, wanted, urls_of(relays))))
        return id

    def unsubscribe(self, id: str) -> None:  # noqa: A002
        """Ask for it no more (NIP-01's CLOSE); what is on its way is not told. An unknown id: nothing happens.

        Raises:
            TypeError: `id` is no text.
            NoProcess: the client is dead.

        """
        if not isinstance(id, str):
            raise TypeError(f"a subscription id is a text, not {shown(id)}")
        _command(self, partial(requests(self).unsubscribe, id))

    def publish(
        self, event: Event | Mapping[str, Any], relays: Sequence[str] | None = None, timeout: float = 10.0
    ) -> Publication:
        """Send an event to relays (None: all that the client has), also to those that connect within `timeout` seconds.

        The result says of each relay what became of it, as an `Outcome`: in a thread by ``publish(event).result()``, in
        a coroutine by ``await publish(event)``. To a callback of the client that has called it, `Published` is sent.

        Raises:
            TypeError, ValueError: it is no event, or its id is not that of its content (`MessageError`).
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
        process = requests(self).process
        publication = Publication(process, event, urls_of(relays), check_seconds("timeout", timeout))
        _send(self, publication)
        return publication

    def count(self, filters: Filters, relays: Sequence[str] | None = None, timeout: float = 10.0) -> Counting:
        """Ask relays how many events match (NIP-45); the result, a `Count`, is theirs merged.

        It comes as that of `publish` does; in a callback of the client as `Counted`.

        Raises:
            TypeError, ValueError: an argument is none.
            NoProcess: the client is dead.

        """
        id_ = new_id("count")
        process = requests(self).process
        counting = Counting(process, id_, checked_filters(filters), urls_of(relays), check_seconds("timeout", timeout))
        _send(self, counting)
        return counting


class GenNostrPid(ClientFunctions, Pid):
    """The handle of a client: a pid with the client's functions.

    ``tree`` and ``requests`` are what they work on; these are not for users.
    """

    tree: Tree
    requests: Requests


def _handle(client: ClientFunctions) -> GenNostrPid:
    """Return the handle of a client, given that or the client itself."""
    handle: object = client if isinstance(client, GenNostrPid) else getattr(client, "pid", None)
    assert isinstance(handle, GenNostrPid)  # noqa: S101
    return handle


def connections(client: ClientFunctions) -> Tree:
    """Return the client's connections."""
    return _handle(client).tree


def requests(client: ClientFunctions) -> Requests:
    """Return the client's subscriptions, publications and counts."""
    return _handle(client).requests


def _send(client: ClientFunctions, waiting: Waiting[Any]) -> None:
    process = requests(client).process
    # Watched before it is sent: from here on the client's death ends it, wherever the command is then.
    if not process.watch(waiting, waits=True):
        raise NoProcess(process.pid)
    _command(client, partial(requests(client).send, waiting))


def _command(client: ClientFunctions, do: Callable[[], object]) -> None:
    """Have the client do it: at once if it is the caller."""
    acting()
    process = requests(client).process
    if current() is process:
        requests(client).do(do)
    elif process.dead:
        raise NoProcess(process.pid)
    else:
        process.put_from(current(), ClientCommand(do))


def _url(relay: str | Relay) -> str:
    return relay.url if isinstance(relay, Relay) else normalize_url(relay)


def urls_of(relays: Sequence[str | Relay] | None) -> frozenset[str] | None:
    """Return the normalized urls of a list of relays; None is None.

    Raises:
        TypeError, ValueError: one is none.

    """
    if relays is None:
        return None
    if isinstance(relays, str | Relay) or not isinstance(relays, Sequence | set | frozenset):
        raise TypeError(f"relays are a list of urls, not {type(relays).__name__}")
    return frozenset(each.url if isinstance(each, Relay) else normalize_url(each) for each in relays)
