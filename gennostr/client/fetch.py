"""All stored events that match, however few a relay gives at once: page after page, newest first, each once.

A relay answers a REQ with its newest events, and stops at a number of its own that it may not tell. So a page does not
say what comes after it. The next one asks for what is as old as the oldest event of the last one, or older: of that
second the relay may have more. What has been there before is known by its id, and a page with nothing new is the end.
As the rest of a second comes with the next page, the second is held back until then: so the order is the one that
NIP-01 has, by age and then by id.

Only where one second has as many events as the relay gives at once there is no way to ask for the others: the second is
left behind, and told as incomplete at the end.

The reader is a client like others, and asks by `subscribe`: there, lost connections, authentication, rate limits and
verification are seen to.
"""

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Final, Self, Unpack

from gennostr.client.functions import Filters, GenNostrPid, urls_of
from gennostr.client.gen_nostr import GenNostr, RelayOutcome
from gennostr.client.options import Options, Relay, RelayOptions
from gennostr.client.signing import Signer, signers
from gennostr.exceptions import FetchIncomplete, MessageError, RelayRefused
from gennostr.nostr.event import Event
from gennostr.nostr.filters import CheckedFilters, checked_filters
from gennostr.nostr.messages import ClosedMessage, EoseMessage, EventMessage
from gennostr.nostr.relay_url import redact
from gennostr.otp.calls import Request
from gennostr.otp.clock import clock
from gennostr.otp.outcomes import CallbackOutcome, CallOutcome, InitOutcome, NoReply, Ok, Reply, check_seconds
from gennostr.otp.reasons import SHUTDOWN
from gennostr.otp.timers import send_after
from gennostr.values import Handle

PAGE: Final = 500
"""Events asked for at once: as many as most relays give."""
FULL: Final = 100
"""Events of one second that nothing new came with, from which on the relay is taken to have more of them."""
AHEAD: Final = 2
"""Pages that are asked for before they are wanted."""
LOOK: Final = 0.5
"""Seconds from one look at who has been silent for too long to the next."""


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """How far one relay has been read."""

    events: int = 0
    """Taken so far; other relays may have had some of them too."""
    pages: int = 0
    oldest: int | None = None
    """Seconds since 1970: all that is newer was read."""
    done: bool = False
    error: BaseException | None = None
    """Why it could not be read to its end, or only with a gap."""


@dataclass(slots=True)
class _Page:
    events: list[Event]
    done: bool
    error: BaseException | None


@dataclass(slots=True)
class _Stream:
    """One filter at one relay. `until`, `known` and `held` are where the next page begins."""

    url: str
    filter: dict[str, Any]
    left: int | None
    """How many events are still wanted; None: all."""
    until: int | None
    known: set[str] = field(default_factory=set)
    """The ids of the second `until` that were read."""
    held: list[Event] = field(default_factory=list)
    """Events of that second: others may come between them."""
    page: list[Event] = field(default_factory=list)
    """What has come for the page under way."""
    id: str | None = None
    """The subscription of the page under way."""
    size: int = 0
    """Of the last page."""
    full: int = FULL
    """How many events the relay gives at once, at least: two pages of one size are no chance."""
    unasked: int = 0
    """How many events have come for this page that it did not ask for."""
    ready: deque[_Page] = field(default_factory=deque)
    over: bool = False
    gap: BaseException | None = None
    heard: float = 0.0
    """When something came, on the monotonic clock."""
    waiting: Request | None = None

    def next_filter(self) -> dict[str, Any]:
        """Return the filter of the next page."""
        size = PAGE if self.left is None else min(PAGE, self.left + len(self.held))
        page: dict[str, Any] = {**self.filter, "limit": size + len(self.known)}
        if self.until is not None:
            page["until"] = self.until
        return page

    def turn(self) -> _Page:
        """Take what has come as a whole page, and return what can be given away."""
        page, self.page = self.page, []
        new = [event for event in page if event.id not in self.known]
        if not new:
            # There is nothing older, unless the second that is known takes up all that the relay gives at once.
            if len(page) < self.full:
                return self._end()
            assert self.until is not None  # noqa: S101
            self.gap = RelayRefused(f"at least {len(page)} events of the second {self.until} are all that it gives")
            given, self.held = self.held, []
            self.until -= 1
            self.known = set()
            return self._page(given)
        if len(page) == self.size:
            self.full = min(self.full, len(page))
        self.size = len(page)
        oldest = min(event.created_at for event in page)
        # Where the page lies within one second, that is still the second that was known.
        known = self.known if oldest == self.until else set()
        self.known = known | {event.id for event in page if event.created_at == oldest}
        self.until = oldest
        ordered = sorted(self.held + new, key=_order)
        self.held = [event for event in ordered if event.created_at == oldest]
        given = ordered[: len(ordered) - len(self.held)]
        if self.left is not None and len(given) >= self.left:
            return self._end(given)
        return self._page(given)

    def _page(self, events: list[Event]) -> _Page:
        if self.left is not None:
            self.left -= len(events)
        return _Page(events, done=False, error=None)

    def _end(self, events: Sequence[Event] = ()) -> _Page:
        self.over = True
        rest = [*events, *self.held]
        self.held = []
        return _Page(rest if self.left is None else rest[: self.left], done=True, error=self.gap)

    def fail(self, error: BaseException) -> _Page:
        """Return the end of a stream that cannot be read on: what was held back is no less true."""
        self.gap = error
        return self._end()


def _order(event: Event) -> tuple[int, str]:
    return -event.created_at, event.id


class _Look:
    """Told by the reader's timer: it is time to see who has been silent for too long."""


class Reader(GenNostr[list[_Stream]]):
    """Reads streams ahead; a call with a stream's number is answered with its next page."""

    def init(self, init_arg: tuple[list[_Stream], Options, Any, float], /) -> InitOutcome[list[_Stream]]:
        """Ask for the first pages."""
        streams, options, self.signer, self._timeout = init_arg
        self._by_id: dict[str, _Stream] = {}
        self._numbers = count(1)
        self._errors: dict[str, BaseException] = {}
        for url in dict.fromkeys(stream.url for stream in streams):
            self.add_relay(Relay.new(url, options))
        for stream in streams:
            self._ask(stream)
        self._look_later()
        return Ok(streams)

    def _look_later(self) -> None:
        send_after(LOOK, self.pid, _Look())

    def _ask(self, stream: _Stream) -> None:
        # Not checked again: `until` is the time of an event, which may claim one that no user would write.
        page = CheckedFilters([stream.next_filter()])
        stream.id = self.subscribe(page, f"page-{next(self._numbers)}", [stream.url])
        stream.heard = clock().monotonic()
        stream.unasked = 0
        self._by_id[stream.id] = stream

    def _ready(self, stream: _Stream, page: _Page) -> None:
        """Give away a page, and read ahead."""
        if stream.id is not None:
            self.unsubscribe(stream.id)
            del self._by_id[stream.id]
            stream.id = None
        stream.ready.append(page)
        self._give(stream)
        self._read_ahead(stream)

    def _give(self, stream: _Stream) -> None:
        if stream.waiting is not None and stream.ready:
            waiting, stream.waiting = stream.waiting, None
            waiting.reply(stream.ready.popleft())

    def _read_ahead(self, stream: _Stream) -> None:
        if not stream.over and stream.id is None and len(stream.ready) < AHEAD:
            if stream.until is not None and stream.until < 0:
                self._ready(stream, stream.turn())  # nothing is older
            else:
                self._ask(stream)

    def handle_call(self, request: int, from_: Request, state: list[_Stream], /) -> CallOutcome[list[_Stream]]:
        """Answer with the next page of a stream, now or when it is there."""
        stream = state[request]
        if stream.ready:
            page = stream.ready.popleft()
            self._read_ahead(stream)
            return Reply(page)
        stream.waiting = from_
        return NoReply()

    def handle_info(self, message: Any, state: list[_Stream], /) -> CallbackOutcome[list[_Stream]]:
        """Give up relays that have been silent for too long."""
        if not isinstance(message, _Look):
            return super().handle_info(message, state)
        now = clock().monotonic()
        for stream in list(self._by_id.values()):
            if now - stream.heard >= self._timeout:
                error = self._errors.get(stream.url)
                if error is None:
                    error = TimeoutError(f"nothing came for {self._timeout:g} s")
                self._ready(stream, stream.fail(error))
        self._look_later()
        return None

    def handle_event(self, message: EventMessage, relay: Relay, state: list[_Stream], /) -> RelayOutcome[list[_Stream]]:
        """Put it on its page."""
        del relay, state
        stream = self._by_id.get(message.subscription_id)
        if stream is not None:
            stream.page.append(message.event)
            stream.heard = clock().monotonic()
        return None

    def handle_eose(self, message: EoseMessage, relay: Relay, state: list[_Stream], /) -> RelayOutcome[list[_Stream]]:
        """Turn the page."""
        del relay, state
        stream = self._by_id.get(message.subscription_id)
        if stream is not None:
            if stream.unasked and not stream.page:
                error = RelayRefused(f"it sent {stream.unasked} events that were not asked for, and none that was")
                self._ready(stream, stream.fail(error))
            else:
                self._ready(stream, stream.turn())
        return None

    def handle_closed(
        self, message: ClosedMessage, relay: Relay, state: list[_Stream], /
    ) -> RelayOutcome[list[_Stream]]:
        """Give up what the relay does not want to give."""
        del relay, state
        stream = self._by_id.get(message.subscription_id)
        if stream is not None:
            self._ready(stream, stream.fail(RelayRefused(message.message or "closed without a reason")))
        return None

    def handle_error(self, reason: Any, relay: Relay, state: list[_Stream], /) -> RelayOutcome[list[_Stream]]:
        """Remember it: it may become the reason for giving up."""
        self._errors[relay.url] = reason
        if isinstance(reason, MessageError):
            for stream in state:
                if stream.url == relay.url:
                    stream.unasked += 1
        return None

    def handle_connect(self, relay: Relay, state: list[_Stream], /) -> RelayOutcome[list[_Stream]]:
        """Forget the error that this attempt did not have."""
        del state
        self._errors.pop(relay.url, None)
        return None


class Fetch(Handle, Iterator[Event]):
    """The events, as an iterator; made by `fetch`. It ends its client when it is through, closed or forgotten."""

    def __init__(self, reader: GenNostrPid, urls: Sequence[str]) -> None:
        self._reader: GenNostrPid | None = reader
        self._urls = urls
        # One for each stream, in the reader's order.
        self._pages: list[deque[Event]] = [deque() for _ in urls]
        self._progress = [FetchProgress() for _ in urls]
        # (order of the next event, stream): one for each stream that has one.
        self._heads: list[tuple[tuple[int, str], int]] = []
        self._begun = False
        self._last: tuple[int, str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def __del__(self) -> None:
        reader = getattr(self, "_reader", None)
        if reader is not None:
            reader.exit(SHUTDOWN)

    def close(self) -> None:
        """End it: no more events come. Twice is as good as once."""
        reader, self._reader = self._reader, None
        self._heads.clear()
        if reader is not None:
            reader.stop(block=True)

    @property
    def progress(self) -> dict[str, FetchProgress]:
        """How far each relay has been read, by url."""
        merged: dict[str, FetchProgress] = {}
        for url, each in zip(self._urls, self._progress, strict=True):
            other = merged.get(url)
            if other is None:
                merged[url] = each
                continue
            oldest = [one.oldest for one in (each, other) if one.oldest is not None]
            merged[url] = FetchProgress(
                each.events + other.events,
                each.pages + other.pages,
                max(oldest, default=None),
                done=each.done and other.done,
                error=each.error or other.error,
            )
        return merged

    def __next__(self) -> Event:
        if not self._begun:
            self._begun = True
            for stream in range(len(self._urls)):
                self._advance(stream)
        while self._heads:
            order, stream = heapq.heappop(self._heads)
            event = self._pages[stream].popleft()
            self._advance(stream)
            if order != self._last:  # another stream has given it already
                self._last = order
                return event
        if self._reader is not None:
            self.close()
            failed = {redact(url): each.error for url, each in self.progress.items() if each.error is not None}
            if failed:
                raise FetchIncomplete(failed)
        raise StopIteration

    def _advance(self, stream: int) -> None:
        """Have the next event of a stream among the heads."""
        events = self._pages[stream]
        while not events and not self._progress[stream].done:
            if self._reader is None:
                return
            page: _Page = self._reader.call(stream, timeout=None)
            events.extend(page.events)
            progress = self._progress[stream]
            self._progress[stream] = replace(
                progress,
                events=progress.events + len(page.events),
                pages=progress.pages + 1,
                oldest=page.events[-1].created_at if page.events else progress.oldest,
                done=page.done,
                error=page.error,
            )
        if events:
            heapq.heappush(self._heads, (_order(events[0]), stream))


def fetch(
    filters: Filters,
    relays: Sequence[str],
    *,
    signer: Signer | Sequence[Signer] | None = None,
    timeout: float = 30.0,
    **options: Unpack[RelayOptions],
) -> Fetch:
    """Return an iterator over all stored events that match, of all the relays: newest first, each once.

    Relays give a few hundred events at once; this asks again until there are no more. Of the same second, the lowest id
    comes first. A filter's `limit` is for each relay. Pages are read as they are wanted, and two ahead.

    A relay that cannot be read to its end, because it is silent or cannot be reached for `timeout` seconds, or refuses,
    does not end the others: when all that there is was given, FetchIncomplete is raised, and says which.

    `options` are those of the relays, with `verify` on unless given. `signer` is for relays that want authentication.

    Raises:
        TypeError, ValueError: an argument is none; the message names it.
        FetchIncomplete: from the iterator, after the last event.

    """
    wanted = checked_filters(filters)
    urls = urls_of(relays)
    if not urls:
        raise ValueError("relays must be one at least")
    signers(signer)
    options.setdefault("verify", True)
    settings = Options.of(**options)
    streams = []
    for url in sorted(urls):
        for each in wanted:
            unlimited = {name: value for name, value in each.items() if name != "limit"}
            streams.append(_Stream(url, unlimited, each.get("limit"), each.get("until")))
    reader = Reader.start((streams, settings, signer, check_seconds("timeout", timeout)))
    return Fetch(reader, [stream.url for stream in streams])
