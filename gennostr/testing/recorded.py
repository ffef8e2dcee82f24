"""Call a server's callbacks without a thread, and compare what they do.

`recording` yields an actor that does not run, and the list of its actions:

    with recording(Feed) as (feed, actions):
        assert feed.init([URL]) == Ok(0)
        feed.handle_connect(Relay.new(URL), 0)
    assert actions == [Added(URL), Sent(["REQ", "feed", {"kinds": [1]}], URL)]

In the ``with`` statement the thread acts as the server: ``self.pid`` has a mailbox (which nobody reads), and messages
to other processes are delivered. Nothing is connected: the client's functions check their arguments as usual, but only
record the call. Messages are recorded decoded, urls normalized. Timers set by this thread are recorded and never fire;
the time that it reads is that of the installed clock, which a `ManualClock` moves.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar, Unpack

from gennostr.client.commands import ClientCommand, Forget, SendToRelays, Subscribe, Unsubscribe
from gennostr.client.functions import ClientFunctions, relay_pool, url_of
from gennostr.client.gen_nostr import GenNostr
from gennostr.client.options import Options, Relay, RelayOptions
from gennostr.client.publications import CountRequest, Publication
from gennostr.client.relay_statistics import RelayStatistics
from gennostr.client.supervision import ConnectionTable
from gennostr.nostr.encoding import encode
from gennostr.nostr.event import Event
from gennostr.otp import clock as clocks
from gennostr.otp import timers
from gennostr.otp.clock import Clock, ScheduledCall, TimedMailbox
from gennostr.otp.gen_server import GenServer
from gennostr.otp.outcomes import check_seconds
from gennostr.otp.pid import Pid
from gennostr.otp.process import Process, act_as, current_process
from gennostr.otp.reasons import NORMAL


@dataclass(frozen=True, slots=True)
class Added:
    """``add_relay(url, **options)`` was called.

    >>> from gennostr import GenNostr, Options
    >>> from gennostr.testing import Added, recording
    >>> with recording(GenNostr) as (client, actions):
    ...     _ = client.add_relay("WSS://relay.example", ping_interval=5.0)
    >>> actions == [Added("wss://relay.example/", Options(ping_interval=5.0))]
    True

    Attributes:
        url: the normalized url.
        options: all options, given or default.

    """

    url: str
    options: Options = field(default_factory=Options)


@dataclass(frozen=True, slots=True)
class Removed:
    """``remove_relay(url)`` was called.

    >>> from gennostr import GenNostr
    >>> from gennostr.testing import Removed, recording
    >>> with recording(GenNostr) as (client, actions):
    ...     client.remove_relay("WSS://relay.example")
    >>> actions == [Removed("wss://relay.example/")]
    True

    Attributes:
        url: the normalized url.

    """

    url: str


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """``reconnect(url, delay)`` was called.

    >>> from gennostr import GenNostr
    >>> from gennostr.testing import Reconnecting, recording
    >>> with recording(GenNostr) as (client, actions):
    ...     client.reconnect("wss://relay.example", 3)
    >>> actions == [Reconnecting("wss://relay.example/", 3)]
    True

    Attributes:
        url: the normalized url.
        delay: in seconds; `None` means the relay's next reconnect delay.

    """

    url: str
    delay: float | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """``send_message(message, url)`` was called.

    >>> from gennostr import GenNostr
    >>> from gennostr.testing import Sent, recording
    >>> with recording(GenNostr) as (client, actions):
    ...     client.send_message(["CLOSE", "feed"], "wss://relay.example")
    >>> actions == [Sent(["CLOSE", "feed"], "wss://relay.example/")]
    True

    Attributes:
        message: decoded, as the relay would decode it; text that is not JSON is unchanged.
        url: the normalized url.

    """

    message: list[Any] | str = field(hash=False)  # a list has no hash
    url: str


@dataclass(frozen=True, slots=True)
class Broadcast:
    """``broadcast_message(message)`` was called.

    >>> from gennostr import GenNostr
    >>> from gennostr.testing import Broadcast, recording
    >>> with recording(GenNostr) as (client, actions):
    ...     _ = client.broadcast_message(["CLOSE", "feed"])
    >>> actions == [Broadcast(["CLOSE", "feed"])]
    True

    Attributes:
        message: decoded, as a relay would decode it; text that is not JSON is unchanged.

    """

    message: list[Any] | str = field(hash=False)  # a list has no hash


@dataclass(frozen=True, slots=True)
class Subscribed:
    """``subscribe(filters, id, relays)`` was called.

    >>> from gennostr import GenNostr
    >>> from gennostr.testing import Subscribed, recording
    >>> with recording(GenNostr) as (client, actions):
    ...     id = client.subscribe({"kinds": [1]}, "feed")
    >>> actions == [Subscribed([{"kinds": [1]}], "feed")]
    True

    Attributes:
        filters: a list, also if one filter was given.
        id: the subscription id, given or generated.
        relays: the normalized urls, sorted; `None` means all relays.

    """

    filters: list[dict[str, Any]] = field(hash=False)
    id: str
    relays: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """``unsubscribe(id)`` was called.

    >>> from gennostr import GenNostr
    >>> from gennostr.testing import Unsubscribed, recording
    >>> with recording(GenNostr) as (client, actions):
    ...     client.unsubscribe("feed")
    >>> actions == [Unsubscribed("feed")]
    True

    Attributes:
        id: the subscription id.

    """

    id: str


@dataclass(frozen=True, slots=True)
class PublishedEvent:
    """``publish(event, relays, durable=...)`` was called.

    >>> from gennostr import GenNostr
    >>> from gennostr.testing import PublishedEvent, make_event, recording
    >>> event = make_event()
    >>> with recording(GenNostr) as (client, actions):
    ...     publication = client.publish(event)
    >>> actions == [PublishedEvent(event)]
    True

    Attributes:
        event: the event.
        relays: the normalized urls, sorted; `None` means all relays.
        durable: whether it is to be saved first; its relays are then those that the client had.

    """

    event: Event
    relays: tuple[str, ...] | None = None
    durable: bool = False


@dataclass(frozen=True, slots=True)
class Forgotten:
    """``forget(event_id)`` was called.

    >>> from gennostr import GenNostr
    >>> from gennostr.testing import Forgotten, recording
    >>> with recording(GenNostr) as (client, actions):
    ...     client.forget("5c83")
    >>> actions == [Forgotten("5c83")]
    True

    Attributes:
        event_id: the id of the event.

    """

    event_id: str


@dataclass(frozen=True, slots=True)
class RequestedCount:
    """``count(filters, relays)`` was called.

    >>> from gennostr import GenNostr
    >>> from gennostr.testing import RequestedCount, recording
    >>> with recording(GenNostr) as (client, actions):
    ...     request = client.count({"kinds": [1]})
    >>> actions == [RequestedCount([{"kinds": [1]}])]
    True

    Attributes:
        filters: a list, also if one filter was given.
        relays: the normalized urls, sorted; `None` means all relays.

    """

    filters: list[dict[str, Any]] = field(hash=False)
    relays: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Pinged:
    """``ping(url)`` was called.

    >>> from gennostr import GenNostr
    >>> from gennostr.testing import Pinged, recording
    >>> with recording(GenNostr) as (client, actions):
    ...     client.ping("wss://relay.example")
    >>> actions == [Pinged("wss://relay.example/")]
    True

    Attributes:
        url: the normalized url.

    """

    url: str


@dataclass(frozen=True, slots=True)
class Scheduled:
    """``send_after(delay, dest, message)`` was called; no timer runs.

    >>> from gennostr import GenNostr, send_after
    >>> from gennostr.testing import Scheduled, recording
    >>> with recording(GenNostr) as (client, actions):
    ...     timer = send_after(2.5, client.pid, "tick")
    >>> actions == [Scheduled(2.5, client.pid, "tick")]
    True

    ``cancel_timer`` removes it from the actions.

    Attributes:
        delay: in seconds, as given.
        dest: the pid, name or via, as given.
        message: the message.

    """

    delay: float
    dest: object
    message: object = field(hash=False)


Action: TypeAlias = (
    Added
    | Removed
    | Reconnecting
    | Sent
    | Broadcast
    | Subscribed
    | Unsubscribed
    | PublishedEvent
    | Forgotten
    | RequestedCount
    | Pinged
    | Scheduled
)
A = TypeVar("A", bound=GenServer[Any])


@contextmanager
def recording(cls: type[A]) -> Iterator[tuple[A, list[Action]]]:
    """Yield an actor of `cls` that does not run, and the growing list of its actions.

    The test calls its callbacks directly, in a ``with`` statement:

    >>> from gennostr import GenNostr, Ok, Relay
    >>> from gennostr.testing import Sent, recording
    >>> class Feed(GenNostr):
    ...     def handle_connect(self, relay, state):
    ...         self.send_message(["REQ", "feed", {"kinds": [1]}], relay)
    ...         return Ok(state + 1)
    >>> relay = Relay.new("wss://relay.example")
    >>> with recording(Feed) as (feed, actions):
    ...     outcome = feed.handle_connect(relay, 0)
    >>> outcome.state, actions == [Sent(["REQ", "feed", {"kinds": [1]}], relay.url)]
    (1, True)

    The actions are `Added`, `Removed`, `Reconnecting`, `Sent`, `Broadcast`, `Subscribed`, `Unsubscribed`,
    `PublishedEvent`, `Forgotten`, `RequestedCount`, `Pinged` and `Scheduled`. Publications and counts get no result
    until the recording ends.

    Args:
        cls: any GenServer class; for one that is not a GenNostr, only timers are recorded.

    """
    actions: list[Action] = []
    bases = (_Recorded, cls) if issubclass(cls, GenNostr) else (cls,)
    actor: Any = type(cls.__name__, bases, {"__module__": cls.__module__})()
    me, before = actor.pid.process, current_process()
    if isinstance(actor, _Recorded):
        pid: Any = actor.pid
        pid.connections, pid.relay_pool = ConnectionTable(me), _RecordedPool(me, actions)
    clock = _Recording(clocks.clock(), actions)
    clocks.install(clock)
    act_as(me)
    try:
        yield actor, actions
    finally:
        act_as(before)
        clocks.install(clock.before)
        me.die(NORMAL)


class _Recorded(ClientFunctions):
    """The client's functions, which only record the call."""

    pid: Pid

    def add_relay(self, relay: str | Relay, **options: Unpack[RelayOptions]) -> Pid:
        """Record it, and return the client's own pid, as there is no connection."""
        url, given = (relay.url, relay.options) if isinstance(relay, Relay) else (relay, None)
        wanted = Relay.new(url, given, **options)
        _actions(self).append(Added(wanted.url, wanted.options))
        return self.pid

    def remove_relay(self, relay: str | Relay) -> None:
        _actions(self).append(Removed(url_of(relay)))

    def reconnect(self, relay: str | Relay, delay: float | None = None) -> None:
        if delay is not None:
            check_seconds("delay", delay)
        _actions(self).append(Reconnecting(url_of(relay), delay))

    def list_relays(self) -> list[str]:
        """Return the urls that were added and not removed."""
        urls: dict[str, None] = {}
        for action in _actions(self):
            if isinstance(action, Added):
                urls[action.url] = None
            elif isinstance(action, Removed):
                urls.pop(action.url, None)
        return list(urls)

    def send_message(self, message: str | list[Any], relay: str | Relay) -> None:
        _actions(self).append(Sent(_message(message), url_of(relay)))

    def broadcast_message(self, message: str | list[Any]) -> list[str]:
        _actions(self).append(Broadcast(_message(message)))
        return self.list_relays()

    def ping(self, relay: str | Relay) -> None:
        _actions(self).append(Pinged(url_of(relay)))

    def relay_statistics(self) -> dict[str, RelayStatistics]:
        """Return an empty dict: nothing is connected."""
        return {}


class _RecordedPool:
    """A relay pool that only records the commands that it is given."""

    def __init__(self, process: Process, actions: list[Action]) -> None:
        self.process = process
        self.actions = actions
        self.has_store = True

    def publications(self) -> list[Publication]:
        """Return an empty list: nothing is pending."""
        return []

    def is_outcome(self, message: object, url: str) -> bool:
        """Return False: no message here is the outcome of a publication."""
        del message, url
        return False

    def command(self, command: ClientCommand) -> None:
        """Record it.

        Publications and counts never get a result, except when the recording ends.
        """
        match command:
            case Subscribe(subscription):
                filters = [dict(each) for each in subscription.filters]
                self.actions.append(Subscribed(filters, subscription.id, _in_order(subscription.relays)))
            case Unsubscribe(id_):
                self.actions.append(Unsubscribed(id_))
            case SendToRelays(Publication() as publication):
                relays = _in_order(publication.relays)
                self.actions.append(PublishedEvent(publication.event, relays, publication.durable))
            case Forget(event_id):
                self.actions.append(Forgotten(event_id))
            case SendToRelays(CountRequest() as counting):
                self.actions.append(RequestedCount(counting.filters, _in_order(counting.relays)))


def _actions(client: ClientFunctions) -> list[Action]:
    recorded: Any = relay_pool(client)
    assert isinstance(recorded, _RecordedPool)  # noqa: S101
    return recorded.actions


def _in_order(relays: frozenset[str] | None) -> tuple[str, ...] | None:
    return None if relays is None else tuple(sorted(relays))


def _message(message: str | list[Any]) -> list[Any] | str:
    """Return `message` as the relay would decode it.

    Text that is not JSON is unchanged, as on the wire.
    """
    payload = encode(message).decode()
    try:
        decoded: list[Any] = json.loads(payload)
    except ValueError:
        return payload
    return decoded


class _Timer:
    """A recorded timer, which does not run."""

    def __init__(self, when: float, actions: list[Action], action: Scheduled) -> None:
        self.when = when
        self._actions = actions
        self._action = action

    def cancel(self) -> bool:
        """Remove its record from the actions; return False if it was removed before."""
        for index, action in enumerate(self._actions):
            if action is self._action:
                del self._actions[index]
                return True
        return False


class _Now(float):
    """A time that remembers the delay added to it, which subtracting would round."""

    delay: float | None = None

    def __add__(self, delay: float) -> "_Now":
        due = _Now(float.__add__(self, delay))
        due.delay = delay
        return due


class _Recording:
    """A clock that records one thread's timers; otherwise it is the previous clock."""

    def __init__(self, before: Clock, actions: list[Action]) -> None:
        self.before: Final = before
        self._actions = actions
        self._thread = threading.get_ident()
        self.time: Callable[[], float] = before.time
        self.take: Callable[[TimedMailbox, float], object] = before.take

    def monotonic(self) -> float:
        """Return the time of the previous clock."""
        return _Now(self.before.monotonic())

    def call_at(self, when: float, function: Callable[[], object]) -> ScheduledCall:
        if self._thread == threading.get_ident() and isinstance(function, partial) and function.func is timers.fire:
            dest, message = function.args
            delay = when.delay if isinstance(when, _Now) and when.delay is not None else when - self.before.monotonic()
            action = Scheduled(delay, dest, message)
            self._actions.append(action)
            return _Timer(when, self._actions, action)
        return self.before.call_at(when, function)
