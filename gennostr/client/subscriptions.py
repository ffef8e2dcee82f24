"""Subscriptions that outlive their connections (NIP-01): what is asked for, how far each relay has got, what was seen.

A relay sends what it has stored, newest first, then EOSE, then what is new. So what has come before an EOSE says
nothing about what is missing, and only after it may the next REQ begin where the last one ended. It begins OVERLAP
seconds before the newest event that this relay has sent for this subscription, for relays do not get events in the
order of their age. An event from the future would move it past all that is still to come: it does not count.
"""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, Final

import msgspec

from gennostr.exceptions import MessageError
from gennostr.nostr.event import Event
from gennostr.nostr.filters import matches

OVERLAP: Final = 60
"""Seconds before the newest event at which a subscription is taken up again."""
LENIENCE: Final = 60
"""Seconds that an event may be ahead of this machine's clock and still count as the newest."""
SEEN: Final = 32_768
"""Events that a client remembers at least, for all its subscriptions together; at most twice as many."""

_encode = msgspec.json.Encoder().encode
_numbers = count()


class Subscription:
    """What was subscribed to. A value: the client's thread keeps what changes in the `Interest` of each relay."""

    def __init__(self, id_: str, filters: Sequence[dict[str, Any]], relays: frozenset[str] | None) -> None:
        self.id = id_
        self.filters = filters
        self.relays = relays
        """Urls; None: every relay of the client."""
        # What was seen is seen for one subscription: another one with its id begins anew.
        self.token = _token()
        self.complete = False
        """Whether handle_eose_all was told. Written by the client alone."""
        self._matchers: list[Mapping[str, Any]] = [
            {name: frozenset(value) if isinstance(value, list) else value for name, value in each.items()}
            for each in filters
        ]

    def wants(self, event: Event) -> bool:
        """Whether one of the filters asks for `event`."""
        return any(matches(each, event) for each in self._matchers)

    def is_for(self, url: str) -> bool:
        """Whether the relay `url` is to be asked."""
        return self.relays is None or url in self.relays


class Interest:
    """One subscription at one relay, over all connections to it. The client's thread alone has it."""

    def __init__(self, subscription: Subscription, before: Subscription | None = None) -> None:
        self.subscription = subscription
        self.before = before
        """What this replaced: its events may still be on the way, until the first EOSE or CLOSED."""
        self.id = subscription.id
        self.token = _token()
        # Over all connections: whether there was an EOSE, the newest event that counts, and the time of the first REQ.
        self._settled = False
        self._newest: int | None = None
        self._begun: int | None = None
        self.forget_connection()

    def forget_connection(self) -> None:
        """Begin anew with the next connection: nothing was asked there yet."""
        self.live = False
        """Whether EOSE has come on this connection."""
        self.closed = False
        """Whether the relay has ended it on this connection."""
        self.retried = False
        """Whether it was sent again after an authentication."""
        self.resumed: list[dict[str, Any]] | None = None
        """The filters that were asked for, where they go on from the last connection."""
        self.stored = 0
        """How many events have come before EOSE on this connection, and the oldest of them."""
        self.oldest: int | None = None
        self._told: int | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing stored is still to come on this connection."""
        return self.live or self.closed

    def ask(self, now: float) -> list[dict[str, Any]]:
        """Return the filters of the REQ to be sent now."""
        filters = [self._resumed(each) for each in self.subscription.filters]
        if self._begun is None:
            self._begun = int(now)
        elif filters != self.subscription.filters:
            self.resumed = filters
        return filters

    def _resumed(self, filter_: dict[str, Any]) -> dict[str, Any]:
        live_only = filter_.get("limit") == 0
        if "ids" in filter_ or self._begun is None or not (self._settled or live_only):
            return filter_  # a list of ids is finite, and may name events of any age
        since = [] if "since" not in filter_ else [filter_["since"]]
        if self._newest is not None:
            since.append(self._newest - OVERLAP)
        if live_only:
            since.append(self._begun)
        resumed = {name: value for name, value in filter_.items() if name != "limit"}
        return {**resumed, "since": max(since)} if since else resumed

    def note(self, event: Event, now: float) -> None:
        """Note an event of this subscription, a new one or one seen before."""
        if not self.live:
            self.stored += 1
            self.oldest = event.created_at if self.oldest is None else min(self.oldest, event.created_at)
        if event.created_at <= now + LENIENCE and (self._told is None or event.created_at > self._told):
            self._told = event.created_at
            if self.live:
                self._newest = self._told

    def eose(self) -> None:
        """Note the EOSE: all that is older than the newest was sent."""
        self.live = True
        self._settled = True
        self.before = None
        if self._told is not None:
            # What this connection has sent reaches back to where the last one ended: nothing is skipped by going on
            # from the newer of the two.
            self._newest = self._told if self._newest is None else max(self._newest, self._told)
        self._told = self._newest


class Remainder(Interest):
    """What a resumed REQ has not told because the relay gives only so many events at once: asked for page by page.

    Until the last page, the interest that it is the rest of has had no EOSE: a drop in between begins where that began.
    """

    def __init__(self, of: Interest) -> None:
        super().__init__(of.subscription)
        self.of = of
        self.id = new_id("rest")
        # What was seen is seen.
        self.token = of.token
        self._filters = of.resumed or []
        self._until = of.oldest

    def ask(self, now: float) -> list[dict[str, Any]]:
        """Return the filters of the next page."""
        del now
        until = self._until
        assert until is not None  # noqa: S101
        return [{**each, "until": min(until, each.get("until", until))} for each in self._filters]

    def note(self, event: Event, now: float) -> None:
        """Note an event of this page."""
        super().note(event, now)
        self.of.note(event, now)

    def turn(self, full: int) -> bool:
        """Go on to the next page; False: there is none. `full` is how many events the relay may give at once.

        Each page begins before the last, or it is the last. That its events are new is not asked for: another relay may
        have told them all, and not what comes after them.
        """
        if self.oldest is None or self._until is None or self.oldest > self._until:
            return False
        if self.oldest < self._until:
            self._until = self.oldest
        elif self.stored >= full:
            self._until -= 1  # this second takes up a whole page, and there may be something before it
        else:
            return False
        self.forget_connection()
        return True


class Seen:
    """Which events were delivered: the last SEEN of them at least. Two generations, so that forgetting costs nothing.

    What goes in was verified, and is known by its id; or it was not, and is known by all of it. A forgery has the id of
    another event, but never all of it: so it hides nothing.
    """

    def __init__(self) -> None:
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()

    def __contains__(self, key: bytes) -> bool:
        return key in self._young or key in self._old

    def add(self, key: bytes) -> None:
        """Remember `key`."""
        self._young.add(key)
        if len(self._young) >= SEEN:
            self._old, self._young = self._young, set()


def identity(event: Event, *, verified: bool) -> bytes:
    """Return what is different for every two events."""
    return bytes.fromhex(event.id) if verified else hashlib.blake2b(_encode(event), digest_size=32).digest()


def foreign_key(subscription_id: str, event: bytes) -> bytes:
    """Return the key in `Seen` of an event for a subscription that the client does not keep; a relay chose its id."""
    return hashlib.blake2b(subscription_id.encode() + event, digest_size=32).digest()


def unasked(message_id: str, event: Event) -> MessageError:
    """Return the error that an event is which nobody asked for."""
    return MessageError(f"event {event.id!r:.80} matches no filter of its subscription {message_id!r:.80}")


def new_id(kind: str) -> str:
    """Return an id that no user will have chosen."""
    return f"{kind}-{secrets.token_hex(6)}"


def _token() -> bytes:
    return next(_numbers).to_bytes(8, "big")
