"""``gennostr mirror``: copy all events that match from one relay to another.

Both relays are read at the same time, newest event first, and compared as they are read, as two sorted lists are
merged. So memory is bounded, and no state file is needed: what the other relay has already, from an earlier run or from
elsewhere, is not sent again.
"""

import argparse
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Final

from gennostr import (
    CountDone,
    CountRequest,
    Fetch,
    FetchIncomplete,
    GenNostr,
    GenNostrPid,
    Ok,
    Publication,
    Relay,
    fetch,
)
from gennostr.cli.arguments import (
    CLOSE_TIMEOUT,
    URL_FORM,
    Failure,
    Parser,
    WrongCommandLine,
    add_timeout,
    add_verify,
    announce,
    exit_statuses,
    relay_url,
    verifies,
)
from gennostr.cli.filters import TIME_HELP, add_filter_arguments, filter_of
from gennostr.cli.keys import KEY_HELP, Signer, add_key_arguments, auth_signer
from gennostr.cli.progress import Progress
from gennostr.cli.terminal import Terminal, error_text, json_line, local_time, printable
from gennostr.client.gen_nostr import RelayOutcome
from gennostr.client.pages import order
from gennostr.nostr import Event, redact
from gennostr.otp.outcomes import CallbackOutcome, InitOutcome

DESCRIPTION: Final = """\
Copy all stored events that match from relay A to relay B, newest first.

Events that B already has are not sent: both relays are read, and compared while they are read. So an interrupted mirror
resumes when the same command is run again, on any machine, and a finished one can be repeated to copy new events.

Each event that B rejects, or does not answer, is reported on standard error, with the reason. "rate-limited" is not a
rejection: the event is sent again, later and slower. Old versions of replaceable events are often rejected, since B has
a newer one. The totals are printed on standard output:

  read       events that A sent
  present    events of these that B already had
  copied     events that B accepted
  rejected   events that B refused
  no answer  events that B did not answer in time"""

EXAMPLES: Final = """\
examples:
  gennostr mirror wss://a.example wss://b.example --authors npub1...
  gennostr mirror wss://relay.example localhost:7447 --kinds 0,1,3 --since 30d
  gennostr mirror wss://a.example wss://private.example --key-file ~/.nostr-key
"""

WINDOW: Final = 64
"""How many events may be unanswered at once."""
SILENT: Final = 64
"""How many events in a row may get no answer before the mirror gives up."""
TRIES: Final = 8
"""How often an event is sent to a relay that answers "rate-limited"."""
LONGEST_PAUSE: Final = 30.0
"""Seconds between two of these attempts, at most."""


def add_arguments(parser: Parser) -> None:
    """Add the command's arguments and help texts."""
    parser.usage = "%(prog)s A B [options]"
    parser.description = DESCRIPTION
    statuses = exit_statuses(
        _0="A was read to its end, and B has every valid event of it",
        _1="incomplete: A was not read to its end, B did not answer, or another failure",
        _2="wrong command line, or an invalid key",
        _3="complete, except for events that B rejected",
        _130="interrupted: run the same command again to resume",
    )
    parser.epilog = f"{EXAMPLES}\n{TIME_HELP}\n\n{KEY_HELP}\n\n{statuses}"
    parser.add_argument("source", metavar="A", type=relay_url, help=f"the relay to read: {URL_FORM}")
    parser.add_argument("target", metavar="B", type=relay_url, help="the relay to write to, likewise")
    add_filter_arguments(parser)
    add_timeout(parser, 30, "give up a relay that sends nothing or cannot be reached for this long")
    parser.add_argument(
        "--no-compare",
        action="store_true",
        help="send every event without reading what B has, for a B that only accepts events",
    )
    parser.add_argument("--json", action="store_true", help="print the totals as one line of JSON")
    add_verify(parser)
    add_key_arguments(parser, auth=True)


@dataclass(slots=True)
class Target:
    """What the writer needs, and what it knows of B.

    The latter is written by the client's thread and read by others: each attribute is replaced as a whole.
    """

    source: str
    url: str
    filter: dict[str, Any]
    signer: Signer | None
    timeout: float
    counts: bool
    """Whether to request the number of A's events, for the progress bar."""
    count: CountRequest | None = None
    connected: bool = False
    """Whether B was ever connected."""
    error: str = "no answer"
    """The last error of B."""


class Writer(GenNostr[Target]):
    """The connection to B; and, until it has the number of events, one to A."""

    def init(self, init_arg: Target) -> InitOutcome[Target]:
        """Add the relays."""
        self.signer = init_arg.signer
        self.add_relay(init_arg.url, close_timeout=CLOSE_TIMEOUT)
        if init_arg.counts:
            self.add_relay(init_arg.source, close_timeout=CLOSE_TIMEOUT)
            condition = without_limit(init_arg.filter)
            init_arg.count = self.count(condition, [init_arg.source], init_arg.timeout)
        return Ok(init_arg)

    def handle_info(self, message: Any, state: Target) -> CallbackOutcome[Target]:
        """Leave A when the number is known."""
        if not isinstance(message, CountDone):
            return super().handle_info(message, state)
        self.remove_relay(state.source)
        return None

    def handle_connect(self, relay: Relay, state: Target) -> RelayOutcome[Target]:
        """Remember that B was connected."""
        state.connected = state.connected or relay.url == state.url
        return None

    def handle_error(self, reason: Any, relay: Relay, state: Target) -> RelayOutcome[Target]:
        """Keep B's error for the report."""
        if relay.url == state.url:
            state.error = error_text(reason)
        return None


def without_limit(filter_: Mapping[str, Any]) -> dict[str, Any]:
    """Return the filter without its limit."""
    return {name: value for name, value in filter_.items() if name != "limit"}


@dataclass(frozen=True, slots=True)
class Totals:
    """How many events were read, present, copied, rejected and not answered.

    Replaced as a whole, since another thread shows the progress.
    """

    read: int = 0
    present: int = 0
    copied: int = 0
    rejected: int = 0
    unanswered: int = 0
    oldest: int | None = None
    """The time of the last event that was read."""


@dataclass(slots=True)
class _Sent:
    """An event on its way to B."""

    event: Event
    publication: Publication
    tries: int = 1


class BSilentError(Exception):
    """B has not answered for too long."""


class Copy:
    """Sends events to B, a limited number at a time. Used by the main thread only."""

    def __init__(self, writer: GenNostrPid, target: Target, notes: Terminal) -> None:
        self.totals = Totals()
        self._writer = writer
        self._target = target
        self._notes = notes
        self._sent: deque[_Sent] = deque()
        self._window = WINDOW
        self._silent = 0

    def send(self, event: Event) -> None:
        """Send an event; wait if too many are unanswered."""
        while len(self._sent) >= self._window:
            self._settle(self._sent.popleft())
        self._publish(event, 1)

    def finish(self) -> None:
        """Wait for all answers."""
        while self._sent:
            self._settle(self._sent.popleft())

    def take_answers(self) -> None:
        """Count the answers that have arrived, without waiting."""
        for each in self._sent:
            if each.publication.done() and each.publication.exception() is None:
                outcome = each.publication.result()[self._target.url]
                self.totals = replace(self.totals, copied=self.totals.copied + bool(outcome))

    def _publish(self, event: Event, tries: int) -> None:
        publication = self._writer.publish(event, [self._target.url], self._target.timeout)
        self._sent.append(_Sent(event, publication, tries))

    def _settle(self, sent: _Sent) -> None:
        outcome = sent.publication.result()[self._target.url]
        if outcome:
            self._silent = 0
            self._window = min(WINDOW, self._window + 1)
            self.totals = replace(self.totals, copied=self.totals.copied + 1)
        elif outcome.kind != "rejected":
            self._silent += 1
            self.totals = replace(self.totals, unanswered=self.totals.unanswered + 1)
            self._report(sent.event, f"{outcome.kind} {outcome.message}")
            if self._silent >= SILENT:
                raise BSilentError(
                    f"{redact(self._target.url)} did not answer {SILENT} events in a row: {self._target.error}"
                )
        elif outcome.prefix == "rate-limited" and sent.tries < TRIES:
            self._silent = 0
            self._window = max(1, self._window // 2)
            time.sleep(min(LONGEST_PAUSE, 0.5 * 2**sent.tries))
            self._publish(sent.event, sent.tries + 1)
        else:
            self._silent = 0
            self.totals = replace(self.totals, rejected=self.totals.rejected + 1)
            self._report(sent.event, f"rejected {outcome.message}")

    def _report(self, event: Event, problem: str) -> None:
        self._notes.line(printable(f"{event.id} kind {event.kind} {problem}".rstrip()), "red")


def run(parsed: argparse.Namespace) -> int:
    """Copy the events; return the exit status."""
    announce([parsed.source, parsed.target])
    if parsed.source == parsed.target:
        raise WrongCommandLine("A and B are the same relay")
    signer, verify, filter_ = auth_signer(parsed), verifies(parsed), filter_of(parsed)
    source = str(parsed.source)
    out, notes = Terminal(), Terminal(sys.stderr)
    # Results of a search are in no order of time (NIP-50), so there is nothing to merge by.
    compare = not parsed.no_compare and "search" not in filter_
    options: dict[str, Any] = {"signer": signer, "timeout": parsed.timeout, "close_timeout": CLOSE_TIMEOUT}
    target = Target(source, str(parsed.target), filter_, signer, parsed.timeout, counts=notes.live)
    problems: list[str] = []
    copy: Copy | None = None
    try:
        with ExitStack() as stack:
            writer = stack.enter_context(Writer.start(target))
            copy = Copy(writer, target, notes)
            found = stack.enter_context(fetch(filter_, [source], verify=verify, **options))
            there: Fetch | None = None
            if compare:
                # Its limit is A's: B may have more events, and all of them are compared.
                there = stack.enter_context(fetch(without_limit(filter_), [target.url], verify=False, **options))
            stack.enter_context(Progress(notes, _shown(copy, target, parsed.limit)))
            _copy_all(copy, found, there, target, problems)
    except KeyboardInterrupt:
        if copy is not None:
            copy.take_answers()
            _report(copy.totals, out, as_json=parsed.json)
        sys.stderr.write("gennostr mirror: interrupted; run the same command again to resume\n")
        return 130
    for problem in problems:
        sys.stderr.write(f"gennostr mirror: {printable(problem)}\n")
    _report(copy.totals, out, as_json=parsed.json)
    if problems or copy.totals.unanswered:
        return 1
    return 3 if copy.totals.rejected else 0


def _copy_all(copy: Copy, found: Fetch, there: Fetch | None, target: Target, problems: list[str]) -> None:
    """Send what B does not have; add to `problems` why that is incomplete."""
    try:
        for event in _missing(copy, found, _present(there, target)):
            copy.send(event)
    except FetchIncomplete as incomplete:
        for url, reason in incomplete.failed.items():
            problems.append(f"{url}: not read to its end: {error_text(reason)}")
    except BSilentError as silent:
        problems.append(str(silent))
        return
    try:
        copy.finish()
    except BSilentError as silent:
        problems.append(str(silent))


def _missing(copy: Copy, found: Iterator[Event], present: Iterator[Event]) -> Iterator[Event]:
    """Yield the events of A that B does not have.

    Both are in the same order, and so are read side by side.

    An event is left out only if B has one with its id: if a relay's order is wrong, events are sent that B has already,
    which does no harm.
    """
    other = next(present, None)
    for event in found:
        copy.totals = replace(copy.totals, read=copy.totals.read + 1, oldest=event.created_at)
        while other is not None and order(other) < order(event):
            other = next(present, None)
        if other is not None and other.id == event.id:
            copy.totals = replace(copy.totals, present=copy.totals.present + 1)
        else:
            yield event


def _present(there: Fetch | None, target: Target) -> Iterator[Event]:
    """Yield the events of B.

    If it cannot be read to its end, the rest of A is sent without being compared.
    """
    if there is None:
        return
    try:
        yield from there
    except FetchIncomplete as incomplete:
        [(url, reason)] = incomplete.failed.items()
        problem = f"{url}: {error_text(reason)}"
        if not target.connected:
            raise Failure(problem) from None
        sys.stderr.write(
            f"gennostr mirror: {printable(problem)}: not everything that it has could be read, so some events are sent "
            "that it has already\n"
        )


def _shown(copy: Copy, target: Target, limit: int | None) -> Any:
    def shown() -> tuple[int, int | None, str]:
        totals, total = copy.totals, limit
        if target.count is not None and target.count.done() and target.count.exception() is None:
            count = target.count.result()
            if any(hasattr(each, "count") for each in count.by_relay.values()):
                total = count.count if limit is None else min(limit, count.count)
        text = f"{totals.copied:,} copied, {totals.present:,} present, {totals.rejected:,} rejected"
        if totals.oldest is not None:
            text += f" · to {local_time(totals.oldest)}"
        return totals.read, total, text

    return shown


def _report(totals: Totals, out: Terminal, *, as_json: bool) -> None:
    fields = {
        "read": totals.read,
        "present": totals.present,
        "copied": totals.copied,
        "rejected": totals.rejected,
        "no answer": totals.unanswered,
    }
    if as_json:
        out.line(json_line({name.replace(" ", "_"): number for name, number in fields.items()}))
    else:
        out.line(", ".join(f"{name} {number:,}" for name, number in fields.items()))
