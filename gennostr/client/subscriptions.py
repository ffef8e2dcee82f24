"""Subscriptions that outlive their connections (NIP-01).

Filters, resume points, and pages of missed events.

A relay sends its stored events, newest first, then EOSE, then new events. So events before an EOSE do not show what is
missing, and only after it can the next REQ resume where the last one ended: OVERLAP seconds before the newest event
that this relay has sent for this subscription, since relays do not receive events in the order of their age. An event
from the future would move the resume point past events still to come, so it does not count. If no event counts, the REQ
begins OVERLAP seconds before the first REQ was sent: a reconnect never requests more than the subscription did.
"""

import secrets
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, Final, NamedTuple

from gennostr.nostr.event import Event
from gennostr.nostr.filters import matches

OVERLAP: Final = 60
"""Seconds before the newest event at which a subscription resumes."""
LENIENCE: Final = 60
"""Events dated more than this many seconds ahead of the clock do not advance the resume point."""

_numbers = count()


class Instant(NamedTuple):
    """A moment on both clocks, in seconds."""

    monotonic: float
    """On the monotonic clock, which no clock change affects: for waits."""
    time: float
    """Since 1970: for times in requests to the relay."""


class Position(NamedTuple):
    """How far a subscription was read at one relay.

    Its next REQ resumes there.

    >>> from gennostr.store import Position
    >>> Position(begun=1700000000, settled=True, newest=1700003600).newest
    1700003600
    """

    begun: int
    """When the first REQ was sent, by the relay's clock, in seconds since 1970."""
    settled: bool
    """Whether there was an EOSE: everything older than `newest` has been received."""
    newest: int | None
    """When the newest event that counts was created, in seconds since 1970; None: no event counts yet."""


class Subscription:
    """A subscription.

    A value, except for `complete` and `awaited`: what differs between relays is in `RelaySubscription`.
    """

    def __init__(
        self,
        id_: str,
        filters: Sequence[dict[str, Any]],
        relays: frozenset[str] | None,
        *,
        whole: bool = False,
        saved: bool = False,
    ) -> None:
        self.id = id_
        self.whole = whole
        """Whether it is one REQ at each relay, however large: its answer is a page of a fetch."""
        self.saved = saved
        """Whether a store keeps it: its id is the user's, so that the next run of the program has it too."""
        self.filters = filters
        self.relays = relays
        """Urls; None: every relay of the client."""
        # Events are marked as seen per subscription: another one with its id starts afresh.
        self.token = _token()
        self.complete = False
        """Whether handle_eose_all was called. Only the pool writes it."""
        self.awaited: list[str] = []
        """Relays that had stored events left to send when the pool last looked at all of them."""
        self._matchers: list[Mapping[str, Any]] = [
            {name: frozenset(value) if isinstance(value, list) else value for name, value in each.items()}
            for each in filters
        ]

    def wants(self, event: Event) -> bool:
        """Whether `event` matches one of the filters."""
        for each in self._matchers:  # noqa: SIM110 - for each event: a generator costs as much as the comparison
            if matches(each, event):
                return True
        return False

    def is_for(self, url: str) -> bool:
        """Whether the relay `url` gets a REQ for it."""
        return self.relays is None or url in self.relays


class RelaySubscription:
    """One REQ of a subscription at one relay, over all its connections.

    Usually a subscription has one at each relay; several if its filters are too large for one message (`split`).
    """

    def __init__(self, subscription: Subscription, before: Subscription | None = None) -> None:
        self.subscription = subscription
        self.before = before
        """The subscription that this replaced: its events can still be on the way, until the first EOSE or CLOSED."""
        self.id = subscription.id
        self.filters: Sequence[dict[str, Any]] = subscription.filters
        self.token = _token()
        self.drops = 0
        """How many connections in a row were lost while its REQ had no answer."""
        self.set_aside = False
        """Whether it is too large for the relay and cannot be split."""
        # Over all connections: whether there was an EOSE, the newest event that counts, and the time of the first REQ.
        self._settled = False
        self._newest: int | None = None
        self._begun: int | None = None
        self.forget_connection()

    def forget_connection(self) -> None:
        """Reset what belongs to the last connection; on the next, no REQ was sent yet."""
        self.forget_answers()
        self.overdue = False
        """Whether the relay has been silent about it for too long to be waited for."""
        self.retried = False
        """Whether it was sent again after authentication."""
        self.lowered = False
        """Whether it was sent again with a lower ``limit``."""
        self.heard = 0.0
        """When something last happened to it, on the monotonic clock."""
        self.begun_at = 0.0
        """Since when it waits, to be sent or for its EOSE, on the monotonic clock."""

    def forget_answers(self) -> None:
        """Reset what its last REQ led to, so that it can be sent again."""
        self.backfill: Backfill | None = None
        """The backfill that is completing it, if any."""
        self.live = False
        """Whether EOSE has arrived on this connection."""
        self.closed = False
        """Whether the relay has ended it on this connection."""
        self.in_doubt = False
        """Whether it may be open although it is in line: a NOTICE that names no REQ has put it back."""
        self.replaces = False
        """Whether its REQ has replaced one that was open, without a CLOSE."""
        self.size = 0
        """The size of its REQ in bytes; 0: none was sent."""
        self.resumed: list[dict[str, Any]] | None = None
        """The filters of the REQ, if they resume from the last connection."""
        self.stored = 0
        """How many events came before EOSE on this connection; next, the oldest of them."""
        self.oldest: int | None = None
        self._latest: int | None = None

    @property
    def position(self) -> Position | None:
        """Where its next REQ resumes; None: none was sent yet."""
        return None if self._begun is None else Position(self._begun, self._settled, self._newest)

    def resume(self, position: Position) -> None:
        """Resume where an earlier run of the program has saved `position`."""
        self._begun, self._settled, self._newest = position

    @property
    def settled(self) -> bool:
        """Whether no more stored events will come on this connection."""
        return self.live or self.closed

    @property
    def answered(self) -> bool:
        """Whether the REQ has had any answer on this connection."""
        return self.live or self.closed or self.stored > 0

    @property
    def can_be_split(self) -> bool:
        """Whether it can be sent as several REQs, if its filters can be split."""
        return not self.subscription.whole

    def next_filters(self) -> Sequence[dict[str, Any]]:
        """Return the filters of a REQ that is sent now."""
        if self._begun is None:
            return self.filters
        return [self._resumed(each) for each in self.filters]

    def _resumed(self, filter_: dict[str, Any]) -> dict[str, Any]:
        live_only = filter_.get("limit") == 0
        if "ids" in filter_ or not (self._settled or live_only):
            return filter_  # a list of ids is finite, and can name events of any age
        assert self._begun is not None  # noqa: S101
        since = self._begun if self._newest is None else self._newest - OVERLAP
        if live_only:
            since = max(since, self._begun)
        elif self._newest is None:
            since -= OVERLAP
        resumed = {name: value for name, value in filter_.items() if name != "limit"}
        return {**resumed, "since": max(since, filter_.get("since", 0))}

    def sent(self, filters: Sequence[dict[str, Any]], size: int, time: float) -> None:
        """Record that the REQ was sent, with these filters."""
        self.size = size
        if self._begun is None:
            self._begun = int(time)
        elif filters != self.filters:
            self.resumed = list(filters)

    def note(self, created_at: int, monotonic: float, time: float) -> None:
        """Record an event of this subscription.

        It can be a new one or one seen before; `time` is the relay's.
        """
        self.note_copies(1, created_at, created_at if created_at <= time + LENIENCE else None, monotonic)

    def note_copies(self, count: int, oldest: int, newest: int | None, monotonic: float) -> None:
        """Record several events of this subscription, seen before.

        `oldest` and `newest` are when they were created, the second without those from the future; None: all are.
        """
        if not self.live:
            self.heard = monotonic
            self.stored += count
            self.oldest = oldest if self.oldest is None or oldest < self.oldest else self.oldest
        if newest is not None and (self._latest is None or newest > self._latest):
            self._latest = newest
            if self.live:
                self._newest = newest

    def eose(self) -> None:
        """Record the EOSE: everything older than the newest event was sent."""
        self.live = True
        self.drops = 0
        self._settled = True
        self.before = None
        if self._latest is not None:
            # What this connection has sent reaches back to where the last one ended: resuming from the newer of the two
            # skips nothing.
            self._newest = self._latest if self._newest is None else max(self._newest, self._latest)
        self._latest = self._newest

    def split(self, parts: Sequence[Sequence[dict[str, Any]]]) -> "list[RelaySubscription]":
        """Return one REQ for each of `parts`.

        Together they match what this one does; each resumes where this one does.
        """
        several: list[RelaySubscription] = []
        for filters in parts:
            part = RelaySubscription(self.subscription, self.before)
            part.id = new_id("part") if several else self.id
            part.filters = filters
            part.token = self.token
            part._settled, part._newest, part._begun = self._settled, self._newest, self._begun
            part.heard, part.begun_at = self.heard, self.begun_at
            several.append(part)
        return several


class Backfill(RelaySubscription):
    """Pages of the events that a resumed REQ left out.

    The relay sends only so many at once; the rest is requested page by page.

    Until the last page, the REQ that it completes has had no EOSE: a drop in between resumes where that began.
    """

    def __init__(self, of: RelaySubscription) -> None:
        super().__init__(of.subscription)
        self.of = of
        self.id = new_id("rest")
        # Events seen by the REQ are also seen here.
        self.token = of.token
        self.filters = of.resumed or of.filters
        self._until = of.oldest

    @property
    def can_be_split(self) -> bool:
        """False: events of two REQs would not be one page."""
        return False

    def next_filters(self) -> Sequence[dict[str, Any]]:
        """Return the filters of the next page."""
        until = self._until
        assert until is not None  # noqa: S101
        return [{**each, "until": min(until, each.get("until", until))} for each in self.filters]

    def sent(self, filters: Sequence[dict[str, Any]], size: int, time: float) -> None:
        """Record that the REQ of a page was sent."""
        del filters, time
        self.size = size

    def turn(self, full: int, *, more: bool | None) -> bool:
        """Continue with the next page; False: there is no further page.

        `full` is how many events the relay may send at once; `more` is whether it says that it has more (NIP-67), or
        None. A page that does not begin before the last, or is not full, is the last page: so a relay cannot have pages
        requested for ever. Whether the events are new does not matter: another relay may have sent them all, but not
        those that follow.
        """
        if self.oldest is None or self._until is None or self.oldest > self._until:
            return False
        if not (self.stored >= full if more is None else more):
            return False
        # If one second fills a whole page, there may be something before it.
        self._until = self.oldest if self.oldest < self._until else self._until - 1
        self.forget_connection()
        return self._until >= 0


def new_id(kind: str) -> str:
    """Return an id that no user will have chosen."""
    return f"{kind}-{secrets.token_hex(6)}"


def _token() -> bytes:
    return next(_numbers).to_bytes(8, "big")
