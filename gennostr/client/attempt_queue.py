"""Events and counts at one relay: waiting to be sent, or unanswered.

A part of the session, and equally pure: effects go into the session's list.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

from gennostr.client.attempt import Attempt, Kind, PublishOutcome
from gennostr.client.effects import Effect, Send, Settle
from gennostr.client.relay_limits import RelayLimits
from gennostr.nostr.messages import CountResult

MAX_IN_FLIGHT: Final = 256
"""How many events and counts per relay can be in flight; the rest wait in this queue."""
FIRST_IN_FLIGHT: Final = 2
"""The same, for a client with signers, until the relay has answered one.

Old relays make a client that they refuse wait, each time for longer.
"""


class AttemptQueue:
    """The queue of one relay, over all its connections."""

    def __init__(self, limits: RelayLimits, effects: list[Effect]) -> None:
        self.in_flight: dict[str, list[Attempt]] = {}
        """Those that were sent and not answered, by key; attempts with the same key share one answer."""
        self._limits = limits
        self._effects = effects
        self.waiting: deque[Attempt] = deque()
        """Those whose turn has not come yet."""
        self._some_answered = False

    def add(self, attempt: Attempt) -> None:
        """Add `attempt` after all that wait."""
        self.waiting.append(attempt)

    def put_back(self, attempts: Iterable[Attempt]) -> None:
        """Put `attempts` before all that wait."""
        self.waiting.extendleft(reversed(list(attempts)))

    def connected(self) -> None:
        """Start a new connection."""
        self._some_answered = False

    def send(self, monotonic: float, *, careful: bool) -> bool:
        """Send what can be sent; return whether there is a count among it.

        With `careful`, only a few are in flight until one is answered.
        """
        most = FIRST_IN_FLIGHT if careful and not self._some_answered else MAX_IN_FLIGHT
        limit = self._limits.size
        counts = False
        while self.waiting and len(self.in_flight) < most:
            attempt = self.waiting.popleft()
            if attempt.expired:
                continue
            if attempt.cancelled:
                self.settle([attempt], attempt.unsent("cancelled"))
            elif not (attempt.is_event or self._limits.counts):
                self.settle([attempt], PublishOutcome("rejected", "unsupported", "the relay does not support COUNT"))
            elif limit is not None and len(attempt.payload) > limit:
                # It is the relay's limit, or the outbox's.
                kind: Kind = "not_sent" if limit == self._limits.outbox_size else "rejected"
                why = f"{len(attempt.payload)} bytes are more than the {limit} that can be sent there"
                self.settle([attempt], PublishOutcome(kind, None, why))
            elif attempt.key in self.in_flight:
                self.in_flight[attempt.key].append(attempt)
                attempt.sent = True
            else:
                self.in_flight[attempt.key] = [attempt]
                attempt.sent = True
                attempt.heard = monotonic
                counts = counts or not attempt.is_event
                self._effects.append(Send(attempt.payload, attempt))
        return counts

    def not_sent(self, attempts: Iterable[Attempt]) -> None:
        """Take back what did not fit into the outbox.

        Includes the attempts that share its answer.
        """
        back = [each for attempt in attempts for each in self.in_flight.pop(attempt.key, [])]
        for each in back:
            each.sent = each.drops > 0
        self.put_back(back)

    def disconnected(self, kept: Iterable[Attempt]) -> None:
        """Send unanswered attempts once more on the next connection.

        Includes those that were kept for an authentication.
        """
        again = list(kept)
        for attempts in self.in_flight.values():
            for attempt in attempts:
                attempt.drops += 1
                if attempt.drops > 1:
                    self.settle([attempt], PublishOutcome("disconnected", None, "the connection was lost twice"))
                else:
                    again.append(attempt)
        self.in_flight.clear()
        for attempt in again:
            attempt.forget_connection()
        self.put_back(again)

    def give_up(self) -> None:
        """Settle all that wait: there will be no connection."""
        while self.waiting:
            attempt = self.waiting.popleft()
            self.settle([attempt], attempt.unsent("no connection, and none is to come"))

    def time_out(self, attempt: Attempt, within: str) -> None:
        """Settle an attempt, in flight or not."""
        together = self.in_flight.get(attempt.key, [])
        if attempt in together:
            together.remove(attempt)
            if not together:
                del self.in_flight[attempt.key]
            self.settle([attempt], PublishOutcome("timeout", None, f"no answer {within}"))
            return
        if attempt in self.waiting:  # near its left end: the oldest times out first
            self.waiting.remove(attempt)
        self.settle([attempt], attempt.unsent(f"not connected, or its turn did not come, {within}"))

    def answered(self, attempts: list[Attempt], answer: PublishOutcome | CountResult) -> None:
        """Settle attempts by the relay's own answer."""
        self._some_answered = True
        self.settle(attempts, answer)

    def end(self, key: str, outcome: PublishOutcome) -> None:
        """Settle the attempts in flight with `key`, without an answer of their own."""
        self.settle(self.in_flight.pop(key), outcome)

    def settle(self, attempts: Iterable[Attempt], answer: PublishOutcome | CountResult) -> None:
        """Settle attempts that are no longer in flight."""
        for attempt in attempts:
            self._effects.append(Settle(attempt, answer))

    def oldest_event(self) -> str | None:
        """Return the key of the event in flight that was sent first."""
        return next((key for key, attempts in self.in_flight.items() if attempts[0].is_event), None)

    def counts(self) -> list[list[Attempt]]:
        """Return the counts in flight."""
        return [each for each in self.in_flight.values() if not each[0].is_event]
