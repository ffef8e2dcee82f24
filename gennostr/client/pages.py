"""All stored events of one filter at one relay, page by page.

This decides what to request next, and what can be delivered.

Pure: a page of events and its EOSE go in; the events to deliver and the next filter come out.

A relay answers a REQ with its newest events, newest first (NIP-01), and stops at a number of its own, which it may not
say: its cap. So a page does not show what comes after it, unless there is a hint (NIP-67): `finish` ends the reading,
`more` means that there is another page. Without hints this is known:

- Each page requests events as old as the oldest of the last page, or older: of that second the relay may have more.
  The second is held back until it is complete, so the order is NIP-01's, by age and then by id.
- A page without a new event that is shorter than an earlier one is the end: the relay could have sent more.
- A page as long as earlier ones may be all that the relay sends at once, all of it from one second. The reading
  resumes one second earlier, and if anything is there, the error says that the second may be incomplete: there is no
  way to request more of it.

Not every relay sends its newest events. One that sends its oldest would end after one page and seem complete. So
nothing is delivered before another page has brought older events. If the first page was the last, a request for events
as new as its newest, or newer, must bring nothing new, or only what the first page also has when it is requested again:
that was published meanwhile. If that fails, or a page is not in descending order, windows of time take over. The window
of a page is split between two of its events. Each half must then bring something new, or all that is in it: the relay
sends at least as many events at once as it did for the whole, and those were more than are known of either half. This
holds for every order and every choice of a relay, as long as its cap stays the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from itertools import pairwise
from typing import Any, Final

from gennostr.exceptions import MessageError, RelayRefused
from gennostr.nostr.event import Event
from gennostr.nostr.messages import more_stored

PAGE: Final = 500
"""Events requested at once: as many as most relays send."""
FULL_SECOND: int = 100
"""If so many events of one second came with nothing new, the relay is assumed to have more of them."""
TWO: Final = 2
"""The number of events that every relay is assumed to send at once: a single event needs no further proof."""
STRAYS: Final = 10
"""One in so many events of a page may be newer than its first: live events arrive while stored ones are sent."""


@dataclass(frozen=True, slots=True)
class Page:
    """Events to deliver, in NIP-01's order.

    The last page has `done`, and in `error` why events may be missing.
    """

    events: Sequence[Event] = ()
    oldest: int | None = None
    """The second down to which the relay was read; it may be older than the events delivered so far."""
    done: bool = False
    error: BaseException | None = None


@dataclass(slots=True)
class Rejected:
    """The rejected events of a page, by what was wrong with them."""

    forged: list[MessageError] = field(default_factory=list)
    unrequested: list[MessageError] = field(default_factory=list)
    undecodable: list[MessageError] = field(default_factory=list)

    def add(self, error: MessageError) -> None:
        """Add the error of one event."""
        match error.problem:
            case "forged":
                self.forged.append(error)
            case "unrequested":
                self.unrequested.append(error)
            case "malformed":
                self.undecodable.append(error)

    def __len__(self) -> int:
        return len(self.forged) + len(self.unrequested) + len(self.undecodable)

    def error(self) -> RelayRefused:
        """Return an error that names each kind of rejected events.

        It has their numbers, and the first error of each kind.
        """
        kinds = (("forged", self.forged), ("unrequested", self.unrequested), ("undecodable", self.undecodable))
        parts = [f"{len(errors)} {name} ({errors[0]})" for name, errors in kinds if errors]
        return RelayRefused(f"it sent events that were rejected: {', '.join(parts)}")


class _Mode(Enum):
    DOWN = auto()
    """From the newest event down, each page from where the last one ended."""
    ABOVE = auto()
    """Check whether there is anything as new as the newest event of the first page, or newer."""
    WINDOWS = auto()
    """Window by window, newest first, each split until nothing new arrives."""


@dataclass(slots=True)
class _Window:
    """A range of seconds, both inclusive, and the known events in it."""

    since: int | None
    until: int | None
    known: dict[str, Event] = field(default_factory=dict)


@dataclass(slots=True)
class _Answer:
    """A page as received: events by id in the order of their arrival."""

    events: dict[str, Event]
    size: int
    """Including rejected events: they count for the relay's cap, and others may follow them."""
    finish: bool
    more: bool
    rejected: Rejected


class Paging:
    """Reads all events that match one filter.

    `over` is set when the last page was turned.
    """

    def __init__(self, filter_: Mapping[str, Any]) -> None:
        self._filter = {name: value for name, value in filter_.items() if name != "limit"}
        self._left: int | None = filter_.get("limit")
        self._since: int | None = filter_.get("since")
        self._last: int | None = filter_.get("until")
        self._ids = len(set(filter_["ids"])) if "ids" in filter_ else None
        self.over = self._left == 0
        """Whether there is nothing left to request."""
        self._mode = _Mode.DOWN
        self._gap: BaseException | None = None
        # How many events have arrived, without and with the rejected ones.
        self._count = self._received = 0
        # The oldest second among them, and the events not delivered yet, in order.
        self._oldest: int | None = None
        self._held: list[Event] = []
        # Where the next page begins, and the known ids of that second.
        self._until = self._last
        self._known: set[str] = set()
        # Whether older events have followed the first page: then the relay sends its newest ones.
        self._trusted = False
        # The error to report if anything is older than a second that filled a whole page.
        self._doubt: RelayRefused | None = None
        self._asked = 0
        self._short: int | None = None
        """The size of the last page, if it was smaller than requested."""
        self._most = TWO
        """The size of the largest page: the relay sends so many at once."""
        self._cap: int | None = None
        """The size of the smallest page that was not the last, though more was requested."""
        self._above_from = 0
        # The newest event that was found above the first page, and all events until the first page is requested again.
        self._newer: Event | None = None
        self._before: list[Event] = []
        self._windows: list[_Window] = []

    def next_filter(self) -> dict[str, Any]:
        """Return the filter of the next page. Its limit is over 0."""
        if self._mode is _Mode.ABOVE:
            self._asked = PAGE + len(self._known)
            return {**self._filter, "since": self._above_from, "limit": self._asked}
        page = dict(self._filter)
        if self._mode is _Mode.WINDOWS:
            window = self._windows[-1]
            since, until, self._asked = window.since, window.until, PAGE + len(window.known)
        else:
            since, until = self._since, self._until
            # One more than wanted, to see where the last second ends.
            wanting = None if self._left is None else self._left - len(self._held)
            size = min(PAGE, wanting + 1) if wanting is not None and wanting > 0 else PAGE
            self._asked = size + len(self._known)
        if since is not None:
            page["since"] = since
        if until is not None:
            page["until"] = until
        return {**page, "limit": self._asked}

    def turn(self, events: Iterable[Event], hints: object = None, rejected: Rejected | None = None) -> Page:
        """Take the events received for `next_filter` until its EOSE.

        `hints` are those of the EOSE. Return what can be delivered.
        """
        rejected = rejected or Rejected()
        page = {event.id: event for event in events}
        self._received += len(rejected)
        more = more_stored(hints)
        size = len(page) + len(rejected)
        if self._count and size < FULL_SECOND:
            # A relay that ignores since and until sends everything again: so few events are all it has.
            size -= len(rejected.unrequested)
            rejected.unrequested.clear()
        answer = _Answer(page, size, more is False, more is True, rejected)
        self._most = max(self._most, answer.size)
        match self._mode:
            case _Mode.DOWN:
                turned = self._down(answer)
            case _Mode.ABOVE:
                turned = self._above(answer)
            case _Mode.WINDOWS:
                turned = self._window(answer)
        if self._mode is _Mode.DOWN:
            return replace(turned, oldest=self._oldest)
        return replace(turned, oldest=turned.events[-1].created_at) if turned.events else turned

    def fail(self, error: BaseException, events: Iterable[Event] = ()) -> Page:
        """End the reading after `error`.

        Return what was held back, with the `events` of the current page.
        """
        self._gap = error
        rest = {event.id: event for event in (*self._held, *events) if event.id not in self._known}
        rest |= {event.id: event for event in (*self._held, *self._before)}
        for window in self._windows:
            rest |= window.known
        self._held = sorted(rest.values(), key=order)
        return self._end()

    # From the newest down.

    def _down(self, answer: _Answer) -> Page:
        new = [event for event in answer.events.values() if event.id not in self._known]
        if not new:
            return self._nothing_new(answer)
        if self._doubt is not None:
            self._gap, self._doubt = self._doubt, None
        first = self._oldest is None
        oldest = min(event.created_at for event in new)
        if self._oldest is not None and oldest < self._oldest:
            self._trusted = True
            if self._short is not None:
                self._cap = self._short if self._cap is None else min(self._cap, self._short)
        self._count += len(new)
        self._received += len(new)
        if self._newer is not None:
            if max(event.created_at for event in new) <= self._newer.created_at and self._newer not in new:
                return self._divide([*self._before, *new])
            self._trusted, self._newer, self._before = True, None, []
        if not _descends(answer.events.values()) and not (answer.finish and (first or self._trusted)):
            return self._divide(new)
        self._short = answer.size if answer.size < self._asked else None
        # If the page lies within one second, it is still the second that was known.
        known = self._known if oldest == self._until else set()
        self._known = known | {event.id for event in new if event.created_at == oldest}
        self._until = self._oldest = oldest
        self._held = sorted([*self._held, *new], key=order)
        if answer.finish and (first or self._trusted):
            return self._end()
        whole = sum(event.created_at > oldest for event in self._held)
        if answer.finish or self._has_all_ids() or self._has_enough(whole, answer):
            return self._settle()
        if not self._trusted:
            return Page()
        given, self._held = self._held[:whole], self._held[whole:]
        return self._give(given)

    def _nothing_new(self, answer: _Answer) -> Page:
        """Decide whether this is the end of all events, or only of a second."""
        if self._count and answer.rejected.unrequested:
            return self.fail(answer.rejected.error())  # it ignores `until`
        if len(answer.rejected) and (not answer.events or answer.size >= self._most):
            self._gap = answer.rejected.error()
        elif answer.more and not answer.events:
            self._gap = RelayRefused("it says that it has more events but sends none")
        shorter = answer.size < self._most and not answer.more
        if answer.finish or not answer.events or shorter or self._has_enough(0, answer):
            return self._settle()
        assert self._until is not None  # noqa: S101
        second = _too_many(len(answer.events), self._until)
        full = FULL_SECOND if self._cap is None else min(FULL_SECOND, self._cap)
        if answer.more or answer.size >= full or not self._known <= answer.events.keys():
            self._gap = self._gap or second
            if self._left is not None and len(self._held) >= self._left:
                return self._settle()
        else:
            self._doubt = second
        self._until -= 1
        self._known = set()
        if self._until < (self._since or 0):
            return self._settle()
        if not self._trusted or self._doubt is not None:
            return Page()
        given, self._held = self._held, []
        return self._give(given)

    def _has_all_ids(self) -> bool:
        return self._ids is not None and self._count >= self._ids

    def _has_enough(self, whole: int, answer: _Answer) -> bool:
        """Whether the limit is reached.

        It is reached by `whole` events of complete seconds, or by the first events of the next.

        If the limit lies within a second, more of that second may follow, with lower ids. But a relay that has sent
        much of it in NIP-01's order has begun with the lowest.
        """
        if self._left is None or len(self._held) < self._left:
            return False
        if whole >= self._left:
            return True
        arrived = list(answer.events.values())
        return self._asked >= PAGE and arrived == sorted(arrived, key=order)

    def _settle(self) -> Page:
        """End, unless there may be newer events.

        A relay that sends its oldest ones first has also come to an end.
        """
        self._doubt = None
        if self._trusted or self._received < self._most or self._has_all_ids() or not self._held:
            return self._end()
        # There may be more of the newest second too. If it is the only one, it was requested already.
        newest, oldest = self._held[0].created_at, self._held[-1].created_at
        since = newest + (newest == oldest)
        if self._last is not None and since > self._last:
            return self._end()
        self._mode, self._above_from = _Mode.ABOVE, since
        self._known = {event.id for event in self._held if event.created_at >= since}
        return Page()

    def _above(self, answer: _Answer) -> Page:
        new = [event for event in answer.events.values() if event.id not in self._known]
        if new:
            newest = min(new, key=order)
            if newest.created_at == self._held[0].created_at:
                return self._divide(new)
            # It may have been published meanwhile. Then the first page, requested again, has it or newer ones.
            self._mode, self._newer = _Mode.DOWN, newest
            self._before, self._held = [*self._held, *new], []
            self._until, self._known, self._oldest, self._count = self._last, set(), None, 0
            self._gap = None  # it will show again
            return Page()
        # Events that do not match are older, from a relay that ignores `since`. Other rejected ones may hide newer
        # events.
        if answer.size >= self._most and (answer.rejected.forged or answer.rejected.undecodable):
            self._gap = answer.rejected.error()
        elif answer.more:
            self._gap = RelayRefused("it says that it has more events but sends none")
        return self._end()

    # Window by window.

    def _divide(self, new: Iterable[Event]) -> Page:
        """Read everything that was not delivered once more, in windows."""
        given: list[Event] = []
        known = {event.id: event for event in (*self._held, *new)}
        if self._trusted and self._oldest is not None and self._until is not None:
            until = self._until
            given = [event for event in self._held if event.created_at > until]
        else:  # nothing was delivered, and what is missing will show
            until, self._gap = self._last, None
        for event in given:
            del known[event.id]
        self._mode, self._held = _Mode.WINDOWS, []
        self._split(_Window(self._since, until, known))
        return self._give(given)

    def _split(self, window: _Window) -> None:
        """Replace a window by smaller ones.

        It has more than one second, with at least one event.
        """
        times = sorted(event.created_at for event in window.known.values())
        if times[0] < times[-1]:
            # At the median, or above: there is an event on both sides.
            middle = next(time for time in times[len(times) // 2 :] if time > times[0])
            parts = [(window.since, middle - 1), (middle, window.until)]
        else:
            second = times[0]
            parts = [(second, second)]
            if second > (window.since or 0):
                parts.insert(0, (window.since, second - 1))
            if window.until is None or second < window.until:
                parts.append((second + 1, window.until))
        for since, until in parts:
            part = _Window(since, until)
            for id_, event in window.known.items():
                if (since is None or event.created_at >= since) and (until is None or event.created_at <= until):
                    part.known[id_] = event
            self._windows.append(part)

    def _window(self, answer: _Answer) -> Page:
        if answer.rejected.unrequested:
            return self.fail(answer.rejected.error(), answer.events.values())  # it ignores `since` and `until`
        window = self._windows.pop()
        new = answer.events.keys() - window.known.keys()
        window.known |= answer.events
        complete = answer.finish or not (new or answer.more or answer.size >= self._most)
        problem: RelayRefused | None = None
        if len(answer.rejected) and (not answer.events or not complete):
            problem = answer.rejected.error()
        if not complete and not window.known:
            self._gap = problem or RelayRefused("it says that it has more events but sends none")
        elif not complete and window.since is not None and window.since == window.until:
            if new:
                self._windows.append(window)
                return Page()
            self._gap = problem or _too_many(len(window.known), window.since)
        elif not complete:
            self._split(window)
            return Page()
        elif problem is not None:
            self._gap = problem
        given = sorted(window.known.values(), key=order)
        if self._windows:
            return self._give(given)
        self._held = given
        return self._end()

    # Delivering.

    def _give(self, events: Sequence[Event]) -> Page:
        if self._left is not None:
            if len(events) >= self._left:
                self._held = list(events)
                return self._end()
            self._left -= len(events)
        return Page(events)

    def _end(self) -> Page:
        self.over = True
        rest, self._held = self._held, []
        self._windows = []
        return Page(rest if self._left is None else rest[: self._left], done=True, error=self._gap)


def order(event: Event) -> tuple[int, str]:
    """Return the key of NIP-01's order.

    Newest first, and within one second the lowest id first.
    """
    return -event.created_at, event.id


def _descends(events: Iterable[Event]) -> bool:
    """Whether events are sorted newest first.

    A few live ones may be newer than the first.
    """
    times = [event.created_at for event in events]
    stored = [time for time in times if time <= times[0]] if times else []
    if (len(times) - len(stored)) * STRAYS > len(times):
        return False
    return all(one >= other for one, other in pairwise(stored))


def _too_many(number: int, second: int) -> RelayRefused:
    return RelayRefused(f"at least {number} events are in the second {second}, and the relay sends no more of them")
