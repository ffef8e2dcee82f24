"""`fetch`: all stored events that match, from several relays.

`gennostr.client.pages` reads one filter at one relay, however few events that relay sends at once. Here each pair of
filter and relay is a stream. The `Reader`, an ordinary client, requests each page by a subscription, which handles lost
connections, authentication, rate limits and verification. `Fetch`, the iterator, merges the streams.

A filter that is too large for many relays is split into several streams, with one limit for all of them together.
"""

import heapq
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Final, Self, Unpack

from gennostr.client.functions import Filters, GenNostrPid, check_size, check_verify, subscribe_whole, urls_of
from gennostr.client.gen_nostr import GenNostr, RelayOutcome
from gennostr.client.options import Options, Relay, RelayOptions, check_files
from gennostr.client.pages import Page, Paging, Rejected, order
from gennostr.client.signing import Signer, signers
from gennostr.exceptions import FetchIncomplete, MessageError, RelayRefused, RequestTooLarge
from gennostr.nostr.encoding import encode
from gennostr.nostr.event import Event
from gennostr.nostr.filters import CheckedFilters, checked_filters, split_filters
from gennostr.nostr.messages import ClosedMessage, EoseMessage, EventMessage
from gennostr.nostr.relay_url import redact
from gennostr.otp.calls import Request
from gennostr.otp.clock import clock
from gennostr.otp.outcomes import CallbackOutcome, CallOutcome, InitOutcome, NoReply, Ok, Reply, check_seconds
from gennostr.otp.reasons import SHUTDOWN
from gennostr.otp.timers import send_after
from gennostr.values import Concise, Handle

AHEAD: Final = 2
"""The number of pages requested ahead."""
LOOK: Final = 0.5
"""Seconds between checks for relays that have been silent for too long."""
LARGE: Final = 32 * 1024
"""The size in bytes above which a filter is split: many relays accept at most 64 KiB."""

# How a MessageError shows an EVENT that could not be decoded, with its subscription.
_UNDECODABLE = re.compile(r"""not a relay's message: .*?: b'\s*\[\s*"EVENT"\s*,\s*"([^"\\]*)\"""", re.DOTALL)


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """How far one relay has been read; see `Fetch.progress`.

    >>> from gennostr import FetchProgress
    >>> FetchProgress(events=500, pages=1, oldest=1700000000).done
    False
    """

    events: int = 0
    """Events read so far; other relays may have some of them too."""
    pages: int = 0
    """The number of requests that were answered."""
    oldest: int | None = None
    """Seconds since 1970: everything newer has been read. None: nothing has been read."""
    done: bool = False
    """Whether nothing more will be read from it."""
    error: BaseException | None = None
    """Why it could not be read to its end, or only with a gap; None if all is well."""


@dataclass(slots=True)
class _Stream:
    """One filter, or a part of one, at one relay."""

    url: str
    group: int
    """The index of the filter that this is or belongs to, counted over all relays."""
    paging: Paging
    page: list[Event] = field(default_factory=list)
    """The events received for the current page."""
    rejected: Rejected = field(default_factory=Rejected)
    """The rejected events of the current page."""
    id: str | None = None
    """The subscription of the current page."""
    ready: deque[Page] = field(default_factory=deque)
    waiting: Request | None = None


class _Look:
    """The message of the reader's timer: check for silent relays."""


class Reader(GenNostr[list[_Stream]]):
    """Reads streams ahead.

    A call with a stream's number is answered with its next page.
    """

    def init(self, init_arg: tuple[list[_Stream], Options, Any, float], /) -> InitOutcome[list[_Stream]]:
        """Request the first pages."""
        streams, options, self.signer, self._timeout = init_arg
        self._by_id: dict[str, _Stream] = {}
        self._numbers = count(1)
        self._errors: dict[str, BaseException] = {}
        # When something last arrived from a relay, or was requested, on the monotonic clock.
        self._heard: dict[str, float] = {}
        for url in dict.fromkeys(stream.url for stream in streams):
            self.add_relay(Relay.new(url, options))
        for stream in streams:
            if stream.paging.over:
                stream.ready.append(Page(done=True))
            else:
                self._ask(stream)
        self._look_later()
        return Ok(streams)

    def _look_later(self) -> None:
        self._look = send_after(LOOK, self.pid, _Look())

    def terminate(self, reason: Any, state: Any, /) -> None:
        """Cancel the timer."""
        del reason, state
        self._look.cancel()

    def _ask(self, stream: _Stream) -> None:
        # Not checked again: `until` is the time of an event, which can be one that no user would write.
        page = CheckedFilters([stream.paging.next_filter()])
        stream.id = f"page-{next(self._numbers)}"
        subscribe_whole(self, page, stream.id, stream.url)  # events of two REQs would not be one page
        self._heard[stream.url] = clock().monotonic()
        stream.page, stream.rejected = [], Rejected()
        self._by_id[stream.id] = stream

    def _ready(self, stream: _Stream, page: Page) -> None:
        """Deliver a page, and read ahead."""
        if stream.id is not None:
            self.unsubscribe(stream.id)
            del self._by_id[stream.id]
            stream.id = None
        stream.ready.append(page)
        if stream.waiting is not None:
            waiting, stream.waiting = stream.waiting, None
            waiting.reply(stream.ready.popleft())
        self._read_ahead(stream)

    def _read_ahead(self, stream: _Stream) -> None:
        if not stream.paging.over and stream.id is None and len(stream.ready) < AHEAD:
            self._ask(stream)

    def _fail(self, stream: _Stream, error: BaseException) -> None:
        self._ready(stream, stream.paging.fail(error, stream.page))

    def handle_call(self, request: int, from_: Request, state: list[_Stream], /) -> CallOutcome[list[_Stream]]:
        """Reply with the next page of a stream, now or when it has arrived."""
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
        silent = [each for each in self._by_id.values() if now - self._heard[each.url] >= self._timeout]
        for stream in silent:
            error = self._errors.get(stream.url)
            if len(stream.rejected):
                error = stream.rejected.error()
            self._fail(stream, error or TimeoutError(f"nothing was received for {self._timeout:g} s"))
        self._look_later()
        return None

    def handle_event(self, message: EventMessage, relay: Relay, state: list[_Stream], /) -> RelayOutcome[list[_Stream]]:
        """Add the event to its page."""
        del state
        stream = self._by_id.get(message.subscription_id)
        if stream is not None:
            stream.page.append(message.event)
            # Newer than the first, it may be a live event. These never end, so they must not postpone the timeout for
            # an EOSE.
            if message.event.created_at <= stream.page[0].created_at:
                self._heard[relay.url] = clock().monotonic()
        return None

    def handle_eose(self, message: EoseMessage, relay: Relay, state: list[_Stream], /) -> RelayOutcome[list[_Stream]]:
        """Finish the page."""
        del state
        stream = self._by_id.get(message.subscription_id)
        if stream is not None:
            self._heard[relay.url] = clock().monotonic()
            self._ready(stream, stream.paging.turn(stream.page, message.hints, stream.rejected))
        return None

    def handle_closed(
        self, message: ClosedMessage, relay: Relay, state: list[_Stream], /
    ) -> RelayOutcome[list[_Stream]]:
        """Give up a stream that the relay refuses."""
        del relay, state
        stream = self._by_id.get(message.subscription_id)
        if stream is not None:
            self._fail(stream, RelayRefused(message.message or "closed without a reason"))
        return None

    def handle_error(self, reason: Any, relay: Relay, state: list[_Stream], /) -> RelayOutcome[list[_Stream]]:
        """Record a rejected event, or an error that may become the reason for giving up.

        Any other message that cannot be decoded, such as a NOTICE, does not concern a page.
        """
        del state
        if not isinstance(reason, MessageError):
            self._errors[relay.url] = reason
            return None
        id_ = _subscription_of(reason)
        for stream in list(self._by_id.values()):
            # An unrequested event may not name the subscription it was sent for.
            if stream.url == relay.url and (stream.id == id_ or (id_ is None and reason.problem != "malformed")):
                if isinstance(reason, RequestTooLarge):
                    self._fail(stream, reason)
                else:
                    stream.rejected.add(reason)
        return None

    def handle_connect(self, relay: Relay, state: list[_Stream], /) -> RelayOutcome[list[_Stream]]:
        """Forget the error of an earlier attempt."""
        del state
        self._errors.pop(relay.url, None)
        return None


def _subscription_of(error: MessageError) -> str | None:
    """Return the id of the subscription that an event or REQ was for.

    None if it is unknown.
    """
    if error.problem != "malformed" or isinstance(error, RequestTooLarge):
        return error.subscription_id
    undecodable = _UNDECODABLE.match(str(error))
    return None if undecodable is None else undecodable[1]


@dataclass(slots=True)
class _Group:
    """The streams of one filter at one relay."""

    left: int | None
    """How many more events they may deliver together; None: all."""
    streams: list[int] = field(default_factory=list)
    last: tuple[int, str] | None = None
    """The last event delivered by one of them: two streams may have the same one."""


class Fetch(Handle, Iterator[Event], metaclass=Concise):
    """The iterator over the events; made by `fetch`.

    Its client ends when it is exhausted, closed or garbage-collected; as a context manager, it is closed at the end of
    the ``with`` statement.

    >>> from gennostr import fetch
    >>> from gennostr.testing import MemoryRelay
    >>> with MemoryRelay() as relay:
    ...     stored = [relay.store(created_at=time) for time in (1, 2, 3)]
    ...     with fetch({"kinds": [1]}, [relay.url], verify=False) as events:
    ...         newest = next(events)
    >>> newest.created_at
    3
    """

    def __init__(self, reader: GenNostrPid, streams: Sequence[_Stream], limits: Sequence[int | None]) -> None:
        self._reader: GenNostrPid | None = reader
        self._urls = [stream.url for stream in streams]
        self._groups = [_Group(limit) for limit in limits]
        # One for each stream, in the reader's order.
        self._group_of = [self._groups[stream.group] for stream in streams]
        for number, group in enumerate(self._group_of):
            group.streams.append(number)
        self._pages: list[deque[Event]] = [deque() for _ in streams]
        self._progress = [FetchProgress() for _ in streams]
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
            _abandon(reader)

    def close(self) -> None:
        """End it: no more events are returned. Closing twice does no harm."""
        reader, self._reader = self._reader, None
        self._heads.clear()
        if reader is not None:
            try:
                reader.stop(block=True)
            except BaseException:
                _abandon(reader)  # in an actor that is ending, which cannot wait
                raise

    @property
    def progress(self) -> dict[str, FetchProgress]:
        """How far each relay has been read: a `FetchProgress` for each url.

        It can be read while iterating.
        """
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
            place, stream = heapq.heappop(self._heads)
            event = self._pages[stream].popleft()
            self._count(self._group_of[stream], place)
            self._advance(stream)
            if place != self._last:  # otherwise another stream has delivered it already
                self._last = place
                return event
        if self._reader is not None:
            self.close()
            failed = {redact(url): each.error for url, each in self.progress.items() if each.error is not None}
            if failed:
                raise FetchIncomplete(failed)
        raise StopIteration

    def _count(self, group: _Group, place: tuple[int, str]) -> None:
        """Count an event of a filter at a relay.

        The last one within the limit ends all streams of the group.
        """
        if group.left is None or place == group.last:
            return
        group.last = place
        group.left -= 1
        if not group.left and len(group.streams) > 1:  # a single one ends by itself
            for stream in group.streams:
                self._pages[stream].clear()
                self._progress[stream] = replace(self._progress[stream], done=True)
            self._heads = [head for head in self._heads if head[1] not in group.streams]
            heapq.heapify(self._heads)

    def _advance(self, stream: int) -> None:
        """Put the next event of a stream on the heap."""
        events = self._pages[stream]
        while not events and not self._progress[stream].done:
            if self._reader is None:
                return
            page: Page = self._reader.call(stream, timeout=None)
            events.extend(page.events)
            progress = self._progress[stream]
            self._progress[stream] = replace(
                progress,
                events=progress.events + len(page.events),
                pages=progress.pages + 1,
                oldest=progress.oldest if page.oldest is None else page.oldest,
                done=page.done,
                error=page.error,
            )
        if events:
            heapq.heappush(self._heads, (order(events[0]), stream))


def _abandon(reader: GenNostrPid) -> None:
    # In no process's name: a killed one, whose thread this may be, sends nothing any more.
    reader.process.signal(None, SHUTDOWN)


def fetch(
    filters: Filters,
    relays: Sequence[str],
    *,
    signer: Signer | Sequence[Signer] | None = None,
    timeout: float = 30.0,
    **options: Unpack[RelayOptions],
) -> Fetch:
    """Return an iterator over all stored events that match.

    Newest first, without duplicates; within one second, the lowest id comes first. Relays send a few hundred events at
    once; this requests more until none are left. Pages are read as they are needed, plus two ahead. A filter of more
    than 32 KiB is requested in parts.

    A relay may fail: it is silent or unreachable for `timeout` seconds, refuses, or sends events that are forged,
    undecodable or do not match. The others are still read to their end. After the last event, FetchIncomplete is
    raised; it says which relay failed, and why.

    Args:
        filters: a filter of NIP-01 or a list of filters, as for `subscribe`. A filter's ``limit`` applies to each
            relay.
        relays: a list of urls.
        signer: for relays that require authentication: a secret key, a callable or a list, as `GenNostr.signer`; None
            (the default): without.
        timeout: seconds that a relay may be silent or unreachable, 30 by default.
        options: the options of the relays, see `RelayOptions`; ``verify`` is True by default here.

    Returns:
        A `Fetch`: iterate over it, or use it as a context manager to stop early.

    Raises:
        TypeError, ValueError: an argument is invalid, or a filter is larger than the option ``max_queue_size``; the
            message names it.
        ImportError: verification, or a secret key, needs coincurve: ``pip install 'gennostr[crypto]'``.
        FetchIncomplete: from the iterator, after the last event.

    >>> from gennostr import fetch
    >>> from gennostr.testing import MemoryRelay
    >>> with MemoryRelay() as relay:
    ...     stored = [relay.store(content=text, created_at=time) for time, text in enumerate(["one", "two"])]
    ...     [event.content for event in fetch({"kinds": [1]}, [relay.url], verify=False)]
    ['two', 'one']
    """
    wanted = checked_filters(filters)
    urls = urls_of(relays)
    if not urls:
        raise ValueError("relays are empty: at least one url is needed")
    signers(signer)
    options.setdefault("verify", True)
    settings = Options.of(**options)
    check_verify(settings)
    check_files(settings)
    for each in wanted:
        check_size(encode(["REQ", "page-1", each]), settings.max_queue_size, "the REQ of a filter")
    parts = [_parts(each) for each in wanted]
    streams: list[_Stream] = []
    limits: list[int | None] = []
    for url in sorted(urls):
        for each, several in zip(wanted, parts, strict=True):
            streams += [_Stream(url, len(limits), Paging(part)) for part in several]
            limits.append(each.get("limit"))
    reader = Reader.start((streams, settings, signer, check_seconds("timeout", timeout)))
    return Fetch(reader, streams, limits)


def _parts(filter_: dict[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Split a filter into parts of at most LARGE bytes, as far as it can be split."""
    groups = split_filters([filter_], LARGE)
    return [filter_] if groups is None else [part for group in groups for part in group]
