"""Pages without sockets: a relay is a function from a filter to events and hints.

The model at the end has relays that choose and order events in every way. Either all events are given, in order and
each once, or the error says that they are not; and the reading ends.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gennostr import MessageError, RelayRefused
from gennostr.client import pages
from gennostr.client.pages import Page, Paging, Rejected, order
from gennostr.nostr import Event, matches

MOST_REQUESTS = 2000
"""No reading in these tests takes more."""


def event(number: int, created_at: int) -> Event:
    return Event(f"{number:064x}", "1" * 64, created_at, 1, [], "", "2" * 128)


def events_of(seconds: Iterable[int]) -> list[Event]:
    """One event for each second, in NIP-01's order; the ids are in no order of their own."""
    ids = random.Random(7)
    return sorted((event(ids.getrandbits(32), second) for second in seconds), key=order)


def by_id(each: Event) -> str:
    return each.id


def by_last_digit(each: Event) -> str:
    return each.id[::-1]


@dataclass
class Relay:
    """A relay with a cap, its own choice of the events that it gives, and its own order."""

    stored: list[Event]
    cap: int = 500
    oldest: bool = False
    """Whether it chooses the oldest events that match."""
    arrange: Callable[[list[Event]], list[Event]] = lambda page: page
    """The order in which it sends those that it has chosen; they are in NIP-01's order."""
    tie: Callable[[Event], Any] = by_id
    """Which of one second it chooses first."""
    hints: Callable[[bool], object] = lambda complete: None
    requests: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, filter_: Mapping[str, Any]) -> tuple[list[Event], object]:
        self.requests.append(dict(filter_))
        assert filter_["limit"] > 0
        assert len(self.requests) < MOST_REQUESTS
        sign = 1 if self.oldest else -1
        found = [each for each in self.stored if matches(filter_, each)]
        found.sort(key=lambda each: (sign * each.created_at, self.tie(each)))
        page = found[: min(self.cap, filter_["limit"])]
        return self.arrange(sorted(page, key=order)), self.hints(len(page) == len(found))


def read(relay: Relay, filter_: Mapping[str, Any] | None = None) -> tuple[list[Event], BaseException | None]:
    paging = Paging(filter_ or {})
    got: list[Event] = []
    while not paging.over:
        page = paging.turn(*relay.answer(paging.next_filter()))
        got += page.events
        assert page.done == paging.over
    return got, page.error


def spelled_finish(complete: bool) -> object:  # noqa: FBT001 - the relay's
    return "finish" if complete else None


def both(complete: bool) -> object:  # noqa: FBT001
    return ["finish" if complete else "more"]


def with_another(complete: bool) -> object:  # noqa: FBT001
    return ["auth", "finish" if complete else "more"]


def always_more(complete: bool) -> object:  # noqa: FBT001
    del complete
    return ["more"]


def backwards(page: list[Event]) -> list[Event]:
    return page[::-1]


# NIP-01 and what relays give.


@pytest.mark.parametrize(("number", "requests"), [(0, 1), (1, 2), (40, 3), (500, 3), (501, 3), (1700, 5)])
def test_a_relay_that_gives_its_newest_events_is_asked_no_more_than_is_needed(number: int, requests: int) -> None:
    stored = events_of(range(number))
    relay = Relay(stored)
    assert read(relay) == (stored, None)
    assert len(relay.requests) == requests


@pytest.mark.parametrize("arrange", [backwards, lambda page: page], ids=["oldest first", "newest first"])
@pytest.mark.parametrize(("number", "cap"), [(2000, 500), (40, 500), (60, 7), (3, 2)])
def test_a_relay_that_gives_its_oldest_events_is_read_in_windows(
    number: int, cap: int, arrange: Callable[[list[Event]], list[Event]]
) -> None:
    stored = events_of(3 * second for second in range(number))
    relay = Relay(stored, cap, oldest=True, arrange=arrange)
    assert read(relay) == (stored, None)
    assert len(relay.requests) <= 3 + 12 * number // cap


def test_a_relay_that_sends_its_newest_events_in_no_order_is_read_to_its_end() -> None:
    shuffle = random.Random(1)
    stored = events_of(second // 3 for second in range(900))
    relay = Relay(stored, 100, arrange=lambda page: shuffle.sample(page, len(page)))
    assert read(relay) == (stored, None)


def test_a_relay_that_chooses_at_random_is_read_to_its_end() -> None:
    choice = random.Random(2)
    stored = events_of(range(900))

    class Chooser(Relay):
        def answer(self, filter_: Mapping[str, Any]) -> tuple[list[Event], object]:
            found, _ = Relay(stored, 10_000).answer({**filter_, "limit": 10_000})
            self.requests.append(dict(filter_))
            return choice.sample(found, min(50, len(found))), None

    assert read(Chooser(stored)) == (stored, None)


def test_events_that_are_published_meanwhile_do_not_make_a_relay_one_without_order() -> None:
    stored = events_of(range(600))
    live = event(1, 10_000)
    paging = Paging({})
    first = paging.turn([*stored[:200], live, *stored[200:500]])
    assert first == Page(oldest=stored[499].created_at)  # given away when older ones have come
    assert "since" not in paging.next_filter()
    assert list(paging.turn(stored[499:]).events) == [live, *stored[:599]]


@pytest.mark.parametrize("limit", [1, 20, None])
def test_a_relay_on_which_something_is_published_all_the_time_is_read_as_any_other(limit: int | None) -> None:
    stored = events_of(range(40))

    class Busy(Relay):
        def answer(self, filter_: Mapping[str, Any]) -> tuple[list[Event], object]:
            self.stored = [event(len(self.requests), 100 + len(self.requests)), *self.stored]
            return super().answer(filter_)

    relay = Busy(stored)
    got, error = read(relay, {} if limit is None else {"limit": limit})
    assert error is None
    assert len(relay.requests) <= 5
    assert got == (relay.stored[:limit] if limit else relay.stored[-len(got) :])
    assert len(got) == (limit or 44)


def test_what_was_held_back_is_given_away_before_a_page_without_order_is_read_again() -> None:
    paging = Paging({})
    paging.turn([event(1, 9), event(2, 8)])
    assert list(paging.turn([event(3, 7), event(2, 8)]).events) == [event(1, 9)]
    assert paging.next_filter() == {"since": 8, "until": 8, "limit": 501}
    assert list(paging.turn([event(2, 8)]).events) == [event(2, 8)]
    assert paging.turn([event(3, 7)]) == Page([event(3, 7)], 7, done=True)


def test_more_of_the_newest_second_was_not_published_meanwhile() -> None:
    paging = Paging({})
    paging.turn([event(1, 9), event(4, 8)])
    paging.turn([event(4, 8)])
    assert paging.next_filter()["since"] == 9
    paging.turn([event(1, 9), event(2, 9)])
    # The first page again would have another one of that second by chance, and seem to be the newest.
    assert paging.next_filter() == {"since": 9, "limit": 502}


def test_what_was_wrong_before_the_first_page_was_requested_again_does_not_count() -> None:
    first = [event(1, 9), event(2, 9)]
    paging = Paging({})
    paging.turn(first)
    paging.turn(first, ["more"])
    paging.turn([], ["finish"])
    assert paging.next_filter()["since"] == 10
    paging.turn([event(3, 20)])
    assert paging.next_filter() == {"limit": 500}
    page = paging.turn([event(3, 20), *first], ["finish"])
    assert page == Page([event(3, 20), *first], 9, done=True)


def test_the_oldest_second_at_first_is_no_proof_of_what_is_newer() -> None:
    stored = events_of([*[5] * 20, *range(6, 90)])
    got, error = read(Relay(stored, 20, oldest=True, arrange=backwards))
    assert error is not None or got == stored
    # Nearly all of one second, so that it seems to be in order but for a live event.
    stored = events_of([*[5] * 19, *range(6, 90)])
    assert read(Relay(stored, 20, oldest=True, arrange=backwards)) == (stored, None)


def test_a_list_of_ids_is_read_when_all_of_them_have_come() -> None:
    stored = events_of(range(40))
    relay = Relay(stored)
    assert read(relay, {"ids": [each.id for each in stored]}) == (stored, None)
    assert len(relay.requests) == 1


def test_one_second_that_is_all_that_a_relay_gives_is_an_error_and_what_is_older_is_read() -> None:
    stored = events_of([*[9] * 250, 8, 3])
    got, error = read(Relay(stored, 100))
    assert got == [*stored[:100], *stored[-2:]]
    assert str(error) == "at least 100 events are in the second 9, and the relay sends no more of them"


def test_a_second_of_fewer_events_than_an_earlier_page_is_complete() -> None:
    stored = events_of([*range(1000, 1500), *[9] * 150])
    assert read(Relay(stored, 500)) == (stored, None)


@pytest.mark.parametrize("cap", [2, 20])
def test_a_small_page_that_one_second_takes_up_is_an_error_once_older_events_come(cap: int) -> None:
    stored = events_of([*[9] * cap, 8, 3])
    got, error = read(Relay(stored, cap))
    assert got == stored
    assert isinstance(error, RelayRefused)


def test_a_page_of_one_second_as_long_as_those_before_is_an_error() -> None:
    stored = events_of([*range(1000, 1040), *[9] * 30])
    got, error = read(Relay(stored, 10))
    assert got == stored[:50]
    assert str(error) == "at least 10 events are in the second 9, and the relay sends no more of them"
    # Not so where it is as long as a page that the limit has made short.
    stored = events_of([1000, 999, *[9] * 3])
    assert read(Relay(stored, 500), {"limit": 2}) == (stored[:2], None)


def test_a_second_of_a_window_is_requested_until_nothing_new_comes() -> None:
    paging = Paging({})
    paging.turn([event(1, 8), event(2, 9), event(3, 9)])
    assert paging.next_filter() == {"since": 9, "limit": 502}
    paging.turn([event(2, 9), event(4, 9)])
    for filter_, answer in (
        ({"since": 10, "limit": 500}, []),
        ({"since": 9, "until": 9, "limit": 503}, [event(5, 9)]),
        ({"since": 9, "until": 9, "limit": 504}, [event(2, 9), event(3, 9)]),
    ):
        assert paging.next_filter() == filter_
        page = paging.turn(answer)
    assert list(page.events) == [event(2, 9), event(3, 9), event(4, 9), event(5, 9)]


def test_there_may_be_more_of_the_newest_second_that_is_requested() -> None:
    stored = events_of([*[9] * 5, 8, 7])
    got, error = read(Relay(stored, 3, oldest=True), {"until": 9})
    assert error is not None or got == stored


def test_what_is_older_than_since_or_1970_is_not_requested() -> None:
    stored = events_of([0] * 150)
    relay = Relay(stored, 100)
    assert read(relay)[1] is not None
    assert read(relay, {"since": 0})[1] is not None
    assert read(relay, {"since": 0, "limit": 120})[1] is not None
    assert all(each.get("until", 0) >= 0 for each in relay.requests)
    relay = Relay(events_of([7] * 150), 100)
    assert read(relay, {"since": 7})[1] is not None
    assert all(each.get("until", 7) >= 7 for each in relay.requests)


def test_a_relay_that_gives_other_events_of_a_second_each_time_has_more_of_it() -> None:
    stored = events_of([9] * 30)
    paging = Paging({})
    for page in (stored[:10], stored[10:20], stored[5:15], []):
        assert not paging.turn(page).done
    end = paging.turn([])  # nothing newer
    assert list(end.events) == stored[:20]
    assert "second 9" in str(end.error)


# A limit.


@pytest.mark.parametrize("limit", [1, 2, 3, 99, 100])
def test_the_first_of_a_second_are_those_with_the_lowest_ids(limit: int) -> None:
    stored = events_of([9] * 150)
    assert read(Relay(stored, 100), {"limit": limit}) == (stored[:limit], None)


def test_a_limit_within_a_second_of_a_relay_without_nip_01s_order_has_the_second_read() -> None:
    stored = events_of([*[9] * 30, 8, 7])

    def arrange(page: list[Event]) -> list[Event]:
        return sorted(page, key=lambda each: (-each.created_at, by_last_digit(each)))

    assert read(Relay(stored, 100, tie=by_last_digit, arrange=arrange), {"limit": 3}) == (stored[:3], None)
    # It sends them in that order, but has chosen them by another.
    assert read(Relay(stored, 100, tie=by_last_digit), {"limit": 3}) == (stored[:3], None)


@pytest.mark.parametrize(("limit", "requests"), [(0, 0), (1, 2), (33, 2), (499, 2), (600, 2), (1200, 3)])
def test_a_limit_costs_no_page_more_than_it_needs(limit: int, requests: int) -> None:
    stored = events_of(range(2000))
    relay = Relay(stored)
    paging = Paging({"limit": limit})
    assert paging.over == (limit == 0)
    if limit:
        assert read(relay, {"limit": limit}) == (stored[:limit], None)
    assert len(relay.requests) == requests


def test_a_limit_at_a_relay_that_gives_its_oldest_events_gives_the_newest() -> None:
    stored = events_of(range(300))
    assert read(Relay(stored, 50, oldest=True), {"limit": 70}) == (stored[:70], None)


# NIP-67.


@pytest.mark.parametrize("hints", [spelled_finish, both, with_another])
@pytest.mark.parametrize("oldest", [False, True])
def test_finish_is_the_end(hints: Callable[[bool], object], oldest: bool) -> None:  # noqa: FBT001
    stored = events_of(second // 3 for second in range(40))
    relay = Relay(stored, oldest=oldest, arrange=backwards, hints=hints)
    assert read(relay) == (stored, None)
    assert len(relay.requests) == 1


def test_more_and_finish_take_a_request_for_each_page() -> None:
    stored = events_of(range(1000))
    relay = Relay(stored, hints=both)
    assert read(relay) == (stored, None)
    assert len(relay.requests) == 3  # the second page begins with the end of the first


def test_finish_on_a_later_page_says_nothing_of_newer_events() -> None:
    stored = events_of([*[5] * 20, *range(6, 90)])
    got, error = read(Relay(stored, 20, oldest=True, hints=both))
    assert error is not None or got == stored


def test_finish_on_a_later_page_has_newer_events_requested() -> None:
    paging = Paging({})
    paging.turn([event(1, 9), event(2, 9)])
    assert not paging.turn([event(2, 9), event(3, 9)], ["finish"]).done
    assert paging.next_filter()["since"] == 10
    assert paging.turn([]) == Page([event(1, 9), event(2, 9), event(3, 9)], 9, done=True)


def test_more_is_another_page_even_after_a_short_one() -> None:
    paging = Paging({})
    paging.turn([event(1, 9)], ["more"])
    assert paging.next_filter()["until"] == 9
    paging.turn([event(1, 9)], "more")
    assert paging.next_filter()["until"] == 8
    paging.turn([event(2, 3)], ["more"])
    page = paging.turn([event(2, 3)], ["finish"])
    assert page.done
    assert "second 9" in str(page.error)


def test_more_for_ever_with_nothing_new_is_an_error() -> None:
    for first in ([], [event(1, 9)], [event(1, 9), event(2, 8)], [event(1, 8), event(2, 9)]):
        paging = Paging({})
        got = list(paging.turn(first, ["more"]).events)
        for _ in range(20):
            if paging.over:
                break
            filter_ = paging.next_filter()
            page = paging.turn([each for each in first if matches(filter_, each)], ["more"])
            got += page.events
        assert paging.over
        if first:
            assert isinstance(page.error, RelayRefused)
        assert got == sorted(first, key=order)


@pytest.mark.parametrize(
    "hints", [[], {}, ["unknown"], [["finish"]], {"finish": 1}, 5, "", "finished", ["more", "finish"]]
)
def test_other_hints_are_as_good_as_none(hints: object) -> None:
    paging = Paging({})
    assert not paging.turn([event(1, 9)], hints).done


# What is no answer.


def test_each_kind_of_rejected_event_has_its_name() -> None:
    rejected = Rejected()
    rejected.add(MessageError("event 'a': the signature is wrong", "forged"))
    rejected.add(MessageError("event 'b': the signature is wrong", "forged"))
    rejected.add(MessageError("event 'c' matches no filter", "unrequested"))
    rejected.add(MessageError("not a relay's message: over 65536 values"))
    page = Paging({}).turn([], None, rejected)
    assert page.done
    assert str(page.error) == (
        "it sent events that were rejected: 2 forged (event 'a': the signature is wrong), 1 unrequested (event 'c' "
        "matches no filter), 1 undecodable (not a relay's message: over 65536 values)"
    )


def test_rejected_events_beside_others_are_an_error_only_where_they_may_hide_some() -> None:
    def forged(number: int) -> Rejected:
        return Rejected(forged=[MessageError("forged", "forged")] * number)

    stored = events_of(range(10))
    paging = Paging({})
    paging.turn(stored, None, forged(1))
    paging.turn(stored[-1:], None, forged(1))
    page = paging.turn(stored[:1], None, forged(1))  # is there anything newer?
    assert (list(page.events), page.error) == (stored, None)
    paging = Paging({})
    paging.turn(stored, None, forged(490))
    paging.turn(stored[-1:], None, forged(499))
    page = paging.turn([])
    assert list(page.events) == stored
    assert "499 forged" in str(page.error)
    paging = Paging({})
    paging.turn(stored)
    paging.turn(stored[-1:])
    assert "20 forged" in str(paging.turn([], None, forged(20)).error)


@pytest.mark.parametrize("arrange", [backwards, lambda page: page], ids=["oldest first", "newest first"])
@pytest.mark.parametrize(("number", "complete"), [(3, True), (90, True), (150, False), (600, False)])
def test_a_relay_that_ignores_since_and_until_is_complete_if_it_gives_few_events(
    number: int,
    complete: bool,  # noqa: FBT001
    arrange: Callable[[list[Event]], list[Event]],
) -> None:
    stored = events_of(range(number))
    relay = Relay(stored, 500, arrange=arrange)
    paging = Paging({})
    got: list[Event] = []
    while not paging.over:
        filter_ = paging.next_filter()
        rejected = Rejected()
        answer: list[Event] = []
        for each in relay.answer({"limit": filter_["limit"]})[0]:
            if matches(filter_, each):
                answer.append(each)
            else:
                rejected.add(MessageError("unrequested", "unrequested"))
        page = paging.turn(answer, None, rejected)
        got += page.events
    assert got == stored[:500]
    assert len(relay.requests) <= 4
    assert page.error is None if complete else "unrequested" in str(page.error)


def test_a_failure_gives_what_was_held_back_and_the_page_under_way() -> None:
    stored = events_of(range(10))
    paging = Paging({})
    paging.turn(stored[:5])
    page = paging.fail(TimeoutError("late"), stored[4:7])
    assert (list(page.events), page.done, str(page.error)) == (stored[:7], True, "late")
    paging = Paging({})
    paging.turn(stored[5:])
    paging.turn(stored[-1:])
    paging.turn(stored[:5])  # newer: the first page is requested again
    assert list(paging.fail(TimeoutError("late"), stored[:1]).events) == stored
    paging = Paging({})
    paging.turn(stored[4:][::-1])
    paging.turn(stored[:3])
    assert list(paging.fail(TimeoutError("late"), stored[3:4]).events) == stored


# The model.


def _shuffled(seed: int) -> Callable[[list[Event]], list[Event]]:
    generator = random.Random(seed)
    return lambda page: generator.sample(page, len(page))


def _random_ties(seed: int) -> Callable[[Event], Any]:
    generator = random.Random(seed)
    return lambda event: generator.random()


@st.composite
def relays(draw: st.DrawFn) -> Relay:
    few = st.lists(st.integers(0, 12), max_size=60)
    stored = events_of(draw(few | st.lists(st.integers(0, 300), max_size=60)))
    seed = draw(st.integers(0, 3))
    arrange = draw(st.sampled_from([lambda page: page, backwards, _shuffled(seed)]))
    tie = draw(st.sampled_from([by_id, by_last_digit, _random_ties(seed)]))
    hints = draw(st.sampled_from([lambda _: None, lambda _: [], spelled_finish, both, always_more]))
    return Relay(stored, draw(st.integers(2, 70)), draw(st.booleans()), arrange, tie, hints)


@given(
    relays(),
    st.none() | st.integers(0, 20) | st.integers(200, 301),
    st.none() | st.integers(0, 15),
    st.none() | st.integers(1, 70),
)
@settings(max_examples=500, deadline=None)
def test_all_events_come_in_order_and_once_or_an_error(
    relay: Relay, until: int | None, since: int | None, limit: int | None
) -> None:
    bounds = {"until": until, "since": since, "limit": limit}
    filter_ = {name: value for name, value in bounds.items() if value is not None}
    with pytest.MonkeyPatch.context() as patch:
        # A relay with one second alone, which gives a small part of it at once: that it does cannot be known.
        patch.setattr(pages, "FULL_SECOND", 2)
        got, error = read(relay, filter_)
    wanted = [each for each in relay.stored if matches(filter_, each)]
    fullest = max(Counter(each.created_at for each in wanted).values(), default=0)
    least = min(relay.cap, len(wanted))
    wanted = wanted[:limit]
    assert [order(each) for each in got] == sorted({order(each) for each in got})
    assert {each.id for each in got} <= {each.id for each in relay.stored if matches(filter_, each)}
    assert limit is None or len(got) <= limit
    if error is None:
        assert [each.created_at for each in got] == [each.created_at for each in wanted]
        # Which of the last second a limit leaves out is known only from a relay that chooses as NIP-01 has it.
        if limit is None or relay.tie is by_id:
            assert got == wanted
    elif relay.hints is not always_more and limit is None:
        # There is no error without a reason: a second that takes up a page. (With a limit, pages may be smaller still.)
        assert fullest >= least
