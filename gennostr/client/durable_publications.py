"""Publications that outlive their client.

Each is sent until every relay has given a final answer. It is saved before it is sent, and sent by the client or, if
that dies, by the next one with the same store. A relay's answer is final if it accepts the event or rejects it for
good. After anything else (no answer, a lost connection, "rate-limited", the relay's own trouble) the event waits in the
relay's backlog until there is a connection and the relay's pause is over. A pause delays all events of its relay, and
doubles while there is no final answer: so neither a limit nor a broken relay is met with a flood.

A part of the pool, in the client's thread. Only `pending` may be read by others.
"""

from concurrent.futures import Future
from typing import Any, Final, Protocol

from gennostr.client import dialects
from gennostr.client.attempt import Attempt, PublishOutcome
from gennostr.client.attempt_queue import MAX_IN_FLIGHT
from gennostr.client.commands import ClientCommand, Forget, SaveNow, SendToRelays
from gennostr.client.dialects import Meaning
from gennostr.client.journal import Journal
from gennostr.client.persistence import SavedPublication
from gennostr.client.publications import PendingAnswers, Publication, PublicationDone
from gennostr.client.timer_queue import TimerQueue
from gennostr.otp.clock import clock
from gennostr.otp.process import Process

PAUSE: Final = (5.0, 300.0)
"""Seconds until a relay is sent its backlog again: at first, doubled each time, and at most."""
_TEMPORARY: Final = frozenset({Meaning.AUTH_REQUIRED, Meaning.RATE_LIMITED, Meaning.FAILED})


class Backlog:
    """The events that wait for one relay."""

    __slots__ = ("in_flight", "pause", "paused", "url", "waiting")

    def __init__(self, url: str) -> None:
        self.url = url
        self.waiting: dict[str, Publication] = {}
        """By event id, the oldest first."""
        self.in_flight = 0
        self.paused = False
        """Whether nothing is sent until a timer ends."""
        self.pause = PAUSE[0]


class Pool(Protocol):
    """What durable publications need from the pool.

    See `gennostr.client.relay_pool.RelayPool`.
    """

    process: Process

    def outbox_size(self, url: str) -> int | None: ...  # noqa: D102
    def send(self, attempt: Attempt) -> None: ...  # noqa: D102
    def time_out(self, attempt: Attempt) -> None: ...  # noqa: D102


class Client(Protocol):
    """What they need from the client; see `gennostr.client.dispatch.ClientEngine`."""

    def run_callback(self, name: str, *arguments: object, first: ClientCommand | None = None) -> None: ...  # noqa: D102
    def run_command(self, command: ClientCommand) -> None: ...  # noqa: D102


class DurablePublications:
    """The durable publications of one client."""

    def __init__(self, pool: Pool, client: Client, timers: TimerQueue[Any], journal: Journal) -> None:
        self.pending: dict[str, Publication] = {}
        """By event id, the oldest first. Read in any thread: by a copy, which is atomic."""
        self._pool = pool
        self._client = client
        # A deadline that is due comes back by `deadline_expired`.
        self._timers = timers
        self._journal = journal
        self._backlogs: dict[str, Backlog] = {}
        self._unsaved: list[Publication] = []

    def load(self) -> None:
        """Resume what an earlier run has left."""
        for saved in self._journal.publications:
            process, relays = self._pool.process, frozenset(saved.outcomes)
            publication = Publication(process, saved.event, relays, saved.timeout, durable=True, expires=saved.expires)
            publication.answers.update((url, each) for url, each in saved.outcomes.items() if each is not None)
            publication.was_saved()
            process.watch(publication, waits=True)
            self._keep(publication)
            self._start(publication)

    def add(self, publication: "PendingAnswers[Any]") -> None:
        """Save a publication; then it is sent."""
        assert isinstance(publication, Publication)  # noqa: S101 - no count is durable
        first = self.pending.get(publication.key)
        if first is not None and first.done():  # it is forgotten next
            self._client.run_command(SendToRelays(publication))
            return
        if first is not None:
            self._join(first, publication)
            return
        self._keep(publication)
        self._note(publication)
        self._unsaved.append(publication)
        self._client.run_command(SaveNow())

    def _keep(self, publication: Publication) -> None:
        self.pending[publication.key] = publication
        publication.add_done_callback(self._cancelled)

    def _cancelled(self, publication: "Future[Any]") -> None:
        """Abandon a publication whose future was cancelled.

        Called by the future, in any thread.
        """
        assert isinstance(publication, Publication)  # noqa: S101
        if publication.cancelled():
            self._pool.process.deliver(Forget(publication.key))

    def _join(self, first: Publication, second: Publication) -> None:
        """Have `second` end with `first`, which has the same event and is pending."""
        assert first.relays is not None  # noqa: S101
        assert second.relays is not None  # noqa: S101
        first.relays |= second.relays
        first.followers.append(second)
        self._note(first)
        self._unsaved.append(second)
        self._client.run_command(SaveNow())

    def saved(self) -> None:
        """Send what was saved first."""
        unsaved, self._unsaved = self._unsaved, []
        for publication in unsaved:
            publication.was_saved()
            first = self.pending.get(publication.key)
            if first is publication:
                self._start(publication)
            elif first is not None:  # perhaps with more relays
                self._send(first)

    def _start(self, publication: Publication) -> None:
        assert publication.relays is not None  # noqa: S101
        if publication.relays == publication.answers.keys():  # an earlier run has ended before its end was handled
            self._done(publication)
        elif publication.expires is not None and publication.expires <= clock().time():
            self._expire(publication)
        else:
            self._set_expiry(publication)
            self._send(publication)

    def _send(self, publication: Publication) -> None:
        """Send it where it has no final answer and is not under way."""
        assert publication.relays is not None  # noqa: S101
        urls = sorted(publication.relays - publication.answers.keys() - publication.open.keys())
        for url in urls:
            self._wait(publication, url)
        for url in urls:
            self._flush(self._backlog(url))

    def forget(self, id_: str) -> None:
        """Delete a publication: its end was handled, or it was abandoned."""
        publication = self.pending.pop(id_, None)
        if publication is not None:
            self._journal.delete_publication(id_)
            for each in (publication, *publication.followers):
                each.cancel()  # unless it is done
            self._drop(publication)

    def _drop(self, publication: Publication) -> None:
        """Take it out of the backlogs."""
        for url in publication.relays or ():
            backlog = self._backlogs.get(url)
            if backlog is not None:
                backlog.waiting.pop(publication.key, None)

    def connected(self, url: str) -> None:
        """Send a relay its backlog."""
        backlog = self._backlogs.get(url)
        if backlog is not None:
            self._flush(backlog)

    def _set_expiry(self, publication: Publication) -> None:
        if publication.expires is not None:
            self._timers.after(max(0.0, publication.expires - clock().time()), publication)

    def deadline_expired(self, due: "Attempt | PendingAnswers[Any] | Backlog") -> None:
        """Handle a deadline.

        It is the end of an attempt's timeout, of a publication's time, or of a relay's pause.
        """
        if isinstance(due, Attempt):
            if due.pending.open.get(due.url) is due:
                self._pool.time_out(due)
        elif isinstance(due, Backlog):
            due.paused = False
            self._flush(due)
        elif isinstance(due, Publication) and due.expires is not None:
            if due.expires > clock().time():  # the machine's clock was set back
                self._set_expiry(due)
            else:
                self._expire(due)

    def settled(self, attempt: Attempt, outcome: object) -> None:
        """Record the outcome of an attempt."""
        publication = attempt.pending
        assert isinstance(publication, Publication)  # noqa: S101
        assert isinstance(outcome, PublishOutcome)  # noqa: S101 - only counts have other answers
        url = attempt.url
        backlog = self._backlog(url)
        backlog.in_flight -= 1
        # Otherwise it was abandoned, or has expired meanwhile.
        if self.pending.get(publication.key) is publication and url not in publication.answers:
            if self._is_final(attempt, outcome):
                backlog.pause = PAUSE[0]
                self._answer(publication, {url: outcome})
            else:
                self._wait(publication, url)
                if not backlog.paused and self._pool.outbox_size(url) is not None:
                    backlog.paused = True
                    self._timers.after(backlog.pause, backlog)
                    backlog.pause = min(2 * backlog.pause, PAUSE[1])
        self._flush(backlog)

    def _is_final(self, attempt: Attempt, outcome: PublishOutcome) -> bool:
        if outcome.kind == "rejected":
            return dialects.meaning(outcome.message) not in _TEMPORARY
        if outcome.kind == "not_sent":
            # Larger than what the connection can ever send: no later attempt would succeed either.
            most = self._pool.outbox_size(attempt.url)
            return most is not None and len(attempt.payload) > most
        return outcome.kind == "accepted"

    def _expire(self, publication: Publication) -> None:
        """End a publication where it has no final answer."""
        if self.pending.get(publication.key) is publication and publication.relays is not None:
            expired = PublishOutcome("expired", None, "no final answer before it expired")
            self._drop(publication)
            self._answer(publication, dict.fromkeys(sorted(publication.relays - publication.answers.keys()), expired))

    def _answer(self, publication: Publication, outcomes: dict[str, PublishOutcome]) -> None:
        publication.answers.update(outcomes)
        self._note(publication)
        if publication.relays == publication.answers.keys():
            self._done(publication)

    def _done(self, publication: Publication) -> None:
        """Complete its future and its followers', and have handle_info called."""
        for each in (publication, *publication.followers):
            each.answers = {url: publication.answers[url] for url in each.relays or ()}
            each.finish()
        forget = Forget(publication.key)
        if publication.cancelled():
            self._client.run_command(forget)
        else:
            # Deleted by the save that has what the callback writes: if it fails, the next run of the program handles
            # it. Forgotten before, and not after it: the callback, or a kill during it, can end the client.
            self._client.run_callback("handle_info", PublicationDone(publication), first=forget)

    def _note(self, publication: Publication) -> None:
        """Have it saved as it is now."""
        outcomes = {url: publication.answers.get(url) for url in sorted(publication.relays or ())}
        self._journal.add_publication(
            SavedPublication(publication.event, publication.timeout, publication.expires, outcomes)
        )

    def _backlog(self, url: str) -> Backlog:
        backlog = self._backlogs.get(url)
        if backlog is None:
            backlog = self._backlogs[url] = Backlog(url)
        return backlog

    def _wait(self, publication: Publication, url: str) -> None:
        self._backlog(url).waiting[publication.key] = publication

    def _flush(self, backlog: Backlog) -> None:
        """Send what can be sent."""
        url = backlog.url
        while backlog.waiting and not backlog.paused and backlog.in_flight < MAX_IN_FLIGHT:
            if self._pool.outbox_size(url) is None:  # not connected
                return
            publication = backlog.waiting.pop(next(iter(backlog.waiting)))
            attempt = publication.open[url] = Attempt(publication.key, publication.payload, url, publication)
            backlog.in_flight += 1  # first: it may be settled before the next line
            self._timers.after(publication.timeout, attempt)
            self._pool.send(attempt)
