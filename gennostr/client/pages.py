"""All stored events of one filter at one relay, page by page: what to request next, and what can be given away.

Pure: a page of events and its EOSE go in; what can be given away and the next filter come out.

A relay answers a REQ with its newest events, newest first (NIP-01), and stops at a number of its own that it may not
say: its cap. So a page does not say what comes after it, unless there is a hint (NIP-67): `finish` ends the reading,
`more` means that there is another page. Without hints this is known:

- Each page requests what is as old as the oldest event of the last one, or older: of that second the relay may have
  more. The second is held back until it is complete, so the order is NIP-01's, by age and then by id.
- A page without a new event that is shorter than an earlier one is the end: the relay could have given more.
- One that is as long may be all that the relay gives at once, all of it from one second. The reading resumes one second
  earlier, and if anything is there, the error says that the second may be incomplete: there is no way to request more.

Not every relay gives its newest events. What gives its oldest would end after one page and seem complete. So nothing is
given away before another page has brought older events. Where the first page was the last, a request for what is as new
as its newest event, or newer, must bring nothing new, or what the first page has too when it is requested again: that
was published meanwhile. Where that fails, or a page is not in descending order, windows of time take over. The window
of a page is split between two of its events. Each half must then bring something new, or all that is in it: the relay
gives at least as many events at once as it did for the whole, and those were more than are known of either half. This
holds for every order and every choice of a relay, as long as its cap stays the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from itertools import pairwise
from typing import Any, Final

from gennostr.exceptions import MessageError, RelayRefused
from gennostr.nostr.event import Event

PAGE: Final = 500
"""Events requested at once: as many as most relays give."""
FULL: int = 100
"""Events of one second that nothing new came with, from which on the relay is taken to have more of them."""
TWO: Final = 2
"""Events that every relay is taken to give at once: the end of a single event needs no further proof."""
STRAYS: Final = 10
"""One of so many events in a page may be newer than its first: live events arrive while stored ones are sent."""


@dataclass(frozen=True, slots=True)
class Page:
    """What can be given away, in NIP-01's order; `done` with the last, and why that is not all."""

    events: Sequence[Event] = ()
    oldest: int | None = None
    """The second down to which the relay was read, which may be older than what can be given away."""
    done: bool = False
    error: BaseException | None = None


@dataclass(slots=True)
class Rejected:
    """The events of a page that were rejected, by what was wrong with them."""

    forged: list[MessageError] = field(default_factory=list)
    unrequested: list[MessageError] = field(default_factory=list)
    undecodable: list[MessageError] = field(default_factory=list)

    def add(self, error: MessageError) -> None:
        """Note the error of one event."""
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
        """Return an error that names each kind, how many there were, and the first of it."""
        kinds = (("forged", self.forged), ("unrequested", self.unrequested), ("undecodable", self.undecodable))
        parts = [f"{len(errors)} {name} ({errors[0]})" for name, errors in kinds if errors]
        return RelayRefused(f"it sent events that are no answer: {', '.join(parts)}")


class _Mode(Enum):
    DOWN = auto()
    """From the newest event down, each page from where the last one ended."""
    ABOVE = auto()
    """Whether there is anything as new as the newest event of the first page, or newer."""
    WINDOWS = auto()
    """Window by window, newest first, each split until nothing new comes."""


@dataclass(slots=True)
class _Window:
    """A range of seconds, both included, and the events in it that are known."""

    since: int | None
    until: int | None
    known: dict[str, Event] = field(default_factory=dict)


@dataclass(slots=True)
class _Answer:
    """A page as it came: events by id in the order of their arrival."""

    events: dict[str, Event]
    size: int
    """With the rejected ones: they count for the relay's cap, and others may come after them."""
    finish: bool
    more: bool
    rejected: Rejected


class Paging:
    """Read all events that match one filter; `over` when the last page was turned."""

    def __init__(self, filter_: Mapping[str, Any]) -> None:
        self._filter = {name: value for name, value in filter_.items() if name != "limit"}
        self._left: int | None = filter_.get("limit")
        self._since: int | None = filter_.get("since")
        self._last: int | None = filter_.get("until")
        self._ids = len(set(filter_["ids"])) if "ids" in filter_ else None
        self.over = self._left == 0
        """Whether there is nothing to be requested any more."""
        self._mode = _Mode.DOWN
        self._gap: BaseException | None = None
        # How many events have come, and how many with the rejected ones.
        self._count = self._received = 0
        # The oldest second among them, and those that were not given away, in order.
        self._oldest: int | None = None
        self._held: list[Event] = []
        # Where the next page begins, and the ids of that second that are known.
        self._until = self._last
        self._known: set[str] = set()
        # Whether older events have come after the first page: then the relay gives its newest ones.
        self._trusted = False
        # The gap that there is if anything is older than a second that took up a whole page.
        self._doubt: RelayRefused | None = None
        self._asked = 0
        self._short: int | None = None
        """The size of the last page, if it was less than was requested."""
        self._most = TWO
        """The size of the largest page: the relay gives so many at once."""
        self._cap: int | None = None
        """The size of the smallest page after which there was more, though more was requested."""
        self._above_from = 0
        # The newest event that came after the first page, and all that came until the first page is requested again.
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
            # One more than is wanted, so that the end of the last second shows.
            wanting = None if self._left is None else self._left - len(self._held)
            size = min(PAGE, wanting + 1) if wanting is not None and wanting > 0 else PAGE
            self._asked = size + len(self._known)
        if since is not None:
            page["since"] = since
        if until is not None:
            page["until"] = until
        return {**page, "limit": self._asked}

    def turn(self, events: Iterable[Event], hints: object = None, rejected: Rejected | None = None) -> Page:
        """Take what has come for `next_filter` up to its EOSE, which had `hints`; return what can be given away."""
        rejected = rejected or Rejected()
        page = {event.id: event for event in events}
        self._received += len(rejected)
        more = _says(hints, "more")
        size = len(page) + len(rejected)
        if self._count and size < FULL:
            # A relay that ignores since and until sends all that it has again: so few are no part of more.
            size -= len(rejected.unrequested)
            rejected.unrequested.clear()
        answer = _Answer(page, size, _says(hints, "finish") and not more, more, rejected)
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
        """Return the end of what cannot be read on, with what was held back and the `events` of the page under way."""
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
        # Where the page lies within one second, that is still the second that was known.
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
        """Decide whether this is the end, or only that of a second."""
        if self._count and answer.rejected.unrequested:
            return self.fail(answer.rejected.error())  # it ignores `until`
        if len(answer.rejected) and (not answer.events or answer.size >= self._most):
            self._gap = answer.rejected.error()
        elif answer.more and not answer.events:
            self._gap = RelayRefused("it says that it has more events, and gives none")
        shorter = answer.size < self._most and not answer.more
        if answer.finish or not answer.events or shorter or self._has_enough(0, answer):
            return self._settle()
        assert self._until is not None  # noqa: S101
        second = _too_many(len(answer.events), self._until)
        full = FULL if self._cap is None else min(FULL, self._cap)
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
        """Whether the limit is reached: by `whole` events of seconds that are complete, or by the first of the next.

        Of a second in which the limit lies, more may come, with lower ids. But a relay that has sent much of it in
        NIP-01's order has begun with the lowest.
        """
        if self._left is None or len(self._held) < self._left:
            return False
        if whole >= self._left:
            return True
        arrived = list(answer.events.values())
        return self._asked >= PAGE and arrived == sorted(arrived, key=order)

    def _settle(self) -> Page:
        """End, unless there may be newer events: a relay that gives its oldest ones has come to an end as well."""
        self._doubt = None
        if self._trusted or self._received < self._most or self._has_all_ids() or not self._held:
            return self._end()
        # There may be more of the newest second too. Where that is the only one, it was requested already.
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
            # It may have been published meanwhile. Then the first page, requested again, will have it or newer ones.
            self._mode, self._newer = _Mode.DOWN, newest
            self._before, self._held = [*self._held, *new], []
            self._until, self._known, self._oldest, self._count = self._last, set(), None, 0
            self._gap = None  # it will show again
            return Page()
        # Events that do not match are older, from a relay that ignores `since`. Others may hide newer ones.
        if answer.size >= self._most and (answer.rejected.forged or answer.rejected.undecodable):
            self._gap = answer.rejected.error()
        elif answer.more:
            self._gap = RelayRefused("it says that it has more events, and gives none")
        return self._end()

    # Window by window.

    def _divide(self, new: Iterable[Event]) -> Page:
        """Read all that was not given away once more, in windows."""
        given: list[Event] = []
        known = {event.id: event for event in (*self._held, *new)}
        if self._trusted and self._oldest is not None and self._until is not None:
            until = self._until
            given = [event for event in self._held if event.created_at > until]
        else:  # nothing was given away, and what is missing will show
            until, self._gap = self._last, None
        for event in given:
            del known[event.id]
        self._mode, self._held = _Mode.WINDOWS, []
        self._split(_Window(self._since, until, known))
        return self._give(given)

    def _split(self, window: _Window) -> None:
        """Put smaller windows in the place of one that has more than one second and at least one event."""
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
            self._gap = problem or RelayRefused("it says that it has more events, and gives none")
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

    # What is given away.

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
    """Return the key of NIP-01's order: newest first, and the lowest id first in one second."""
    return -event.created_at, event.id


def _says(hints: object, word: str) -> bool:
    """Whether NIP-67's hints have `word`; some relays send it without a list around it."""
    return hints == word or (isinstance(hints, list) and word in hints)


def _descends(events: Iterable[Event]) -> bool:
    """Whether events come newest first, but for a few that are newer than the first: they are live ones."""
    times = [event.created_at for event in events]
    stored = [time for time in times if time <= times[0]] if times else []
    if (len(times) - len(stored)) * STRAYS > len(times):
        return False
    return all(one >= other for one, other in pairwise(stored))


def _too_many(number: int, second: int) -> RelayRefused:
    return RelayRefused(f"at least {number} events of the second {second} are all that it gives")
