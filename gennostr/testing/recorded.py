"""Call a server's callbacks directly, without a thread, and compare their actions.

::

    with recording(Feed) as (feed, actions):
        assert feed.init([URL]) == Ok(0)
        feed.handle_connect(Relay.new(URL), 0)
    assert actions == [Added(URL), Sent(["REQ", "feed", {"kinds": [1]}], URL)]

In the ``with`` statement the thread acts as the server: ``self.pid`` has a mailbox (which nobody reads), and messages
to other processes are delivered. Nothing is connected: the client's functions check their arguments as usual, but only
record the call. Messages are recorded decoded, urls normalized. Timers set by this thread are recorded and never fire.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar, Unpack

from gennostr.client.commands import ClientCommand, SendToRelays, Subscribe, Unsubscribe
from gennostr.client.functions import ClientFunctions, relay_pool
from gennostr.client.gen_nostr import GenNostr
from gennostr.client.options import Options, Relay, RelayOptions
from gennostr.client.publications import CountRequest, Publication
from gennostr.client.relay_statistics import RelayStatistics
from gennostr.client.supervision import ConnectionTable
from gennostr.nostr.encoding import encode
from gennostr.nostr.event import Event
from gennostr.nostr.relay_url import normalize_url
from gennostr.otp import clock as clocks
from gennostr.otp import timers
from gennostr.otp.clock import Clock, ScheduledCall, TimedMailbox
from gennostr.otp.gen_server import GenServer
from gennostr.otp.outcomes import check_seconds
from gennostr.otp.pid import Pid
from gennostr.otp.process import Process, act_as, current
from gennostr.otp.reasons import NORMAL


@dataclass(frozen=True, slots=True)
class Added:
    """``add_relay(url, **options)`` was called."""

    url: str
    options: Options = field(default_factory=Options)


@dataclass(frozen=True, slots=True)
class Removed:
    """``remove_relay(url)`` was called."""

    url: str


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """``reconnect(url, delay)`` was called; a delay of None means the relay's next reconnect delay."""

    url: str
    delay: float | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """``send_message(message, url)`` was called."""

    message: list[Any] | str = field(hash=False)  # a list has no hash
    url: str


@dataclass(frozen=True, slots=True)
class Broadcast:
    """``broadcast_message(message)`` was called."""

    message: list[Any] | str = field(hash=False)  # a list has no hash


@dataclass(frozen=True, slots=True)
class Subscribed:
    """``subscribe(filters, id, relays)`` was called; the urls in `relays` are normalized and sorted."""

    filters: list[dict[str, Any]] = field(hash=False)
    id: str
    relays: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """``unsubscribe(id)`` was called."""

    id: str


@dataclass(frozen=True, slots=True)
class PublishedEvent:
    """``publish(event, relays)`` was called."""

    event: Event
    relays: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class AskedCount:
    """``count(filters, relays)`` was called."""

    filters: list[dict[str, Any]] = field(hash=False)
    relays: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Pinged:
    """``ping(url)`` was called."""

    url: str


@dataclass(frozen=True, slots=True)
class Scheduled:
    """``send_after(delay, dest, message)`` was called; `delay` is in seconds, and no timer runs."""

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
    | AskedCount
    | Pinged
    | Scheduled
)
A = TypeVar("A", bound=GenServer[Any])


@contextmanager
def recording(cls: type[A]) -> Iterator[tuple[A, list[Action]]]:
    """Yield an actor of `cls` that does not run, and the growing list of its actions.

    `cls` can be any GenServer; for one that is not a GenNostr, only timers are recorded.
    """
    actions: list[Action] = []
    bases = (_Recorded, cls) if issubclass(cls, GenNostr) else (cls,)
    actor: Any = type(cls.__name__, bases, {"__module__": cls.__module__})()
    me, before = actor.pid.process, current()
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
        """Record it. Returns the client's own pid, as there is no connection."""
        url, given = (relay.url, relay.options) if isinstance(relay, Relay) else (relay, None)
        wanted = Relay.new(url, given, **options)
        _actions(self).append(Added(wanted.url, wanted.options))
        return self.pid

    def remove_relay(self, relay: str | Relay) -> None:
        _actions(self).append(Removed(_url(relay)))

    def reconnect(self, relay: str | Relay, delay: float | None = None) -> None:
        if delay is not None:
            check_seconds("delay", delay)
        _actions(self).append(Reconnecting(_url(relay), delay))

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
        _actions(self).append(Sent(_message(message), _url(relay)))

    def broadcast_message(self, message: str | list[Any]) -> list[str]:
        _actions(self).append(Broadcast(_message(message)))
        return self.list_relays()

    def ping(self, relay: str | Relay) -> None:
        _actions(self).append(Pinged(_url(relay)))

    def relay_statistics(self) -> dict[str, RelayStatistics]:
        """Return an empty dict: nothing is connected."""
        return {}


class _RecordedPool:
    """Stands in for `gennostr.client.relay_pool` and records the commands that it is given."""

    def __init__(self, process: Process, actions: list[Action]) -> None:
        self.process = process
        self.actions = actions

    def command(self, command: ClientCommand) -> None:
        """Record it. Publications and counts never get a result, except when the recording ends."""
        match command:
            case Subscribe(subscription):
                filters = [dict(each) for each in subscription.filters]
                self.actions.append(Subscribed(filters, subscription.id, _in_order(subscription.relays)))
            case Unsubscribe(id_):
                self.actions.append(Unsubscribed(id_))
            case SendToRelays(Publication() as publication):
                self.actions.append(PublishedEvent(publication.event, _in_order(publication.relays)))
            case SendToRelays(CountRequest() as counting):
                self.actions.append(AskedCount(counting.filters, _in_order(counting.relays)))


def _actions(client: ClientFunctions) -> list[Action]:
    recorded: Any = relay_pool(client)
    assert isinstance(recorded, _RecordedPool)  # noqa: S101
    return recorded.actions


def _in_order(relays: frozenset[str] | None) -> tuple[str, ...] | None:
    return None if relays is None else tuple(sorted(relays))


def _message(message: str | list[Any]) -> list[Any] | str:
    """Return `message` as the relay would decode it. Text that is not JSON is unchanged, as on the wire."""
    payload = encode(message).decode()
    try:
        decoded: list[Any] = json.loads(payload)
    except ValueError:
        return payload
    return decoded


def _url(relay: str | Relay) -> str:
    return relay.url if isinstance(relay, Relay) else normalize_url(relay)


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


class _Recording:
    """A clock that records timers set by one thread; for all other threads it is the previous clock."""

    def __init__(self, before: Clock, actions: list[Action]) -> None:
        self.before: Final = before
        self._thread = threading.get_ident()
        self._actions = actions
        self.time: Callable[[], float] = before.time

    def monotonic(self) -> float:
        """Return the time. In the recording thread it is always 0, so that a timer's due time is its delay."""
        return 0.0 if self._thread == threading.get_ident() else self.before.monotonic()

    def _on_the_clock_before(self, when: float) -> float:
        return when if self._thread != threading.get_ident() else self.before.monotonic() + when

    def take(self, mailbox: TimedMailbox, deadline: float) -> object:
        return self.before.take(mailbox, self._on_the_clock_before(deadline))

    def call_at(self, when: float, function: Callable[[], object]) -> ScheduledCall:
        if self._thread == threading.get_ident() and isinstance(function, partial) and function.func is timers.fire:
            dest, message = function.args
            action = Scheduled(when, dest, message)
            self._actions.append(action)
            return _Timer(when, self._actions, action)
        return self.before.call_at(self._on_the_clock_before(when), function)
