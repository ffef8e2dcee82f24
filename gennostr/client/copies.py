"""Recognise copies of events that the client has handled, undecoded.

Ten relays send the same event ten times. Only the first copy has to be decoded, verified, judged and delivered; of the
others, the connection's thread reads the id out of the bytes, and drops them. Only relays with the option ``verify``
take part: without it, an id proves nothing.

Why that is safe:

- An id is added to `SeenEvents` only by the client, after the event was verified and judged, for one subscription: so a
  forged copy that comes first hides nothing, nor does one that another subscription has handled.
- The id is searched for, not parsed. In valid JSON, ``"id":"`` with its bare quotes is always the key of an object. A
  relay that writes another id into its message, or a second one, hides only that message, which it could have left out.
  A message with more than one ``"id"``, an escape in its subscription id, or other white space than usual is decoded.
- A copy counts for the relay's resume point with the time of the event that was handled, not with what the copy says.
  Counts wait for the next message that goes to the client, and precede an EOSE that they came before. They are lost
  with a killed connection, and the relay is then read again from an earlier point: nothing is skipped.

Relays often send a new event at the same moment. The first connection to read it claims it; the others wait, and leave
their sockets unread, until the client has handled it: then it is a copy. Nobody waits for ever: a claim ends when the
client has handled or dropped the batch, and with a connection's death; and a connection waits for an event only so
often. A connection that has once brought something invalid claims nothing any more, so a relay cannot delay events of
others by sending forgeries of them. Claims only save work, as the client judges every event once more.
"""

import re
from typing import Final

from gennostr.client.frames import Received
from gennostr.client.outbox import Outbox
from gennostr.client.seen_events import SeenEvents, foreign_key
from gennostr.client.subscriptions import LENIENCE
from gennostr.otp.process import Process

_START: Final = (b'["EVENT","', b'["EVENT", "')
_BEGIN: Final = (b'",{', b'", {')
_KEY: Final = b'"id"'
_MARKS: Final = (b'"id":"', b'"id": "')
_DIGITS: Final = 64
_HEX: Final = re.compile(rb"[0-9a-f]{64}")
_SPACE: Final = 0x20


class Copies:
    """Some copies that one relay has sent for a subscription.

    The client counts them. A plain class: a frozen dataclass takes a microsecond to create.
    """

    __slots__ = ("count", "newest", "oldest", "subscription_id")

    def __init__(self, subscription_id: str) -> None:
        self.subscription_id = subscription_id
        self.count = 0
        self.oldest: int | None = None
        """When the oldest of their events was created, in seconds since 1970."""
        self.newest: int | None = None
        """When the newest was created, of those that are not from the future."""

    def add(self, count: int, oldest: int, newest: int | None) -> None:
        """Add more copies."""
        self.count += count
        self.oldest = oldest if self.oldest is None else min(self.oldest, oldest)
        if newest is not None:
            self.newest = newest if self.newest is None else max(self.newest, newest)

    def __repr__(self) -> str:
        return f"<Copies: {self.count} for {self.subscription_id!r:.80}>"


class CopyFilter:
    """Drops copies from what one connection reads; for its thread only."""

    def __init__(self, seen: SeenEvents, process: Process, outbox: Outbox) -> None:
        self.claimed: list[bytes] = []
        """The keys of events that this connection has claimed since they were last taken from here."""
        self.count = 0
        """How many copies were dropped since this was last reset."""
        self._seen = seen
        self._process = process
        self._outbox = outbox
        self._may_claim = True
        # Of the event that `_identify` read last: the id of its REQ, the bytes before its fields, and before its id.
        self._request = self._head = self._mark = b""
        # By the id of the REQ: copies that the client has not counted yet.
        self._dropped: dict[bytes, Copies] = {}

    def distrust(self) -> None:
        """Claim no more events: the relay has sent something invalid."""
        self._may_claim = False

    def sort(
        self, received: list[Received], now: float, time: float, *, waited: bool = False
    ) -> tuple[list[Received | Copies], list[Received]]:
        """Return what must be decoded, and what must wait for other connections.

        Args:
            received: what a read has completed, in order.
            now: the monotonic time, in seconds.
            time: the relay's time, in seconds since 1970.
            waited: whether the first of `received` has waited already.
        """
        needed: list[Received | Copies] = []
        latest = time + LENIENCE
        place = 0
        while True:
            place, key = self._drop(received, place, now, latest)
            if place == len(received):
                return needed, []
            item = received[place]
            if key is None:
                key = self._key(item)
            if key is None:
                if self._dropped:
                    needed += self.take()
            elif (created_at := self._seen.get(key)) is not None:
                # It looks different from the last one: of another subscription, say.
                newest = created_at if created_at <= latest else None
                self._count(self._request, 1, created_at, newest, now)
                place += 1
                continue
            elif self._seen.is_claimed(key, self._process) and not (waited and place == 0):
                return needed, received[place:]
            elif self._may_claim and self._seen.claim(key, self._process):
                self.claimed.append(key)
            needed.append(item)
            place += 1

    def _drop(self, received: list[Received], place: int, now: float, latest: float) -> tuple[int, bytes | None]:
        """Drop the copies from `place` on; return where something else comes.

        With it, the key of what comes there, if it is an event that looks like the copies.

        They look like the event before them: relays write all their events in the same way, so the bytes before the
        fields are compared as a whole.
        """
        owner = self._outbox.requests.get(self._request)
        if owner is None:
            return place, None
        head, mark, start = self._head, self._mark, len(self._head)
        young, old = self._seen.lookups()
        first, oldest, newest = place, None, None
        unseen: bytes | None = None
        while place < len(received):
            item = received[place]
            if type(item) is not bytes or not item.startswith(head) or item.count(_KEY, start) != 1:
                break
            at = item.find(mark, start) + len(mark)
            if at < start + len(mark) or item[at + _DIGITS : at + _DIGITS + 1] != b'"':
                break
            key = owner + item[at : at + _DIGITS]
            created_at = young(key)
            if created_at is None and (created_at := old(key)) is None:
                unseen = key
                break
            if oldest is None or created_at < oldest:
                oldest = created_at
            if created_at <= latest and (newest is None or created_at > newest):
                newest = created_at
            place += 1
        if oldest is not None:
            self._count(self._request, place - first, oldest, newest, now)
        return place, unseen

    def _count(self, request: bytes, number: int, oldest: int, newest: int | None, now: float) -> None:
        self.count += number
        if request not in self._outbox.requests:
            return  # a foreign one: the client counts none
        self._outbox.heard[request] = now
        copies = self._dropped.get(request)
        if copies is None:
            copies = self._dropped[request] = Copies(request.decode())
        copies.add(number, oldest, newest)

    def _key(self, item: Received) -> bytes | None:
        """Return the key of an event in `SeenEvents`; None: copies are not recognised."""
        found = _identify(item) if type(item) is bytes else None
        if found is None:
            return None
        request, head, mark, id_ = found
        self._request, self._head, self._mark = request, head, mark
        owner = self._outbox.requests.get(request)
        if owner is None:
            return foreign_key(request, id_) if self._outbox.foreign else None
        return owner + id_

    def is_waiting_over(self, parked: list[Received]) -> bool:
        """Register to be woken when claims end.

        Return True if the first of `parked` need not wait any more.
        """
        self._seen.wait(self._process, self._outbox.relay.url)
        # Only now: a claim that ends before this line ended before the client looked for those that wait.
        key = self._key(parked[0])
        return key is None or not self._seen.is_claimed(key, self._process)

    def take(self) -> list[Copies]:
        """Return the copies that the client has not counted yet; it will count these."""
        taken = list(self._dropped.values())
        self._dropped.clear()
        return taken


def _identify(payload: bytes) -> tuple[bytes, bytes, bytes, bytes] | None:
    """Return what an EVENT's bytes seem to say; None if they are unusual.

    The subscription id, all bytes before the fields of the event, those before the digits of its id, and these.

    >>> _identify(b'["EVENT","feed",{"id":"' + 64 * b"a" + b'"}]')[:3]
    (b'feed', b'["EVENT","feed",{', b'"id":"')
    >>> _identify(b'["EOSE","feed"]')
    """
    if not payload.startswith(_START):
        return None
    start = 11 if payload[9] == _SPACE else 10
    end = payload.find(b'"', start, start + 260)
    if end < 0 or not payload.startswith(_BEGIN, end) or payload.count(_KEY, end) != 1:
        return None
    request = payload[start:end]
    mark = next((each for each in _MARKS if each in payload), None)
    if b"\\" in request or mark is None:
        return None
    at = payload.find(mark, end) + len(mark)
    digits = payload[at : at + _DIGITS]
    if payload[at + _DIGITS : at + _DIGITS + 1] != b'"' or not _HEX.fullmatch(digits):
        return None
    return request, payload[: payload.index(b"{", end) + 1], mark, digits
