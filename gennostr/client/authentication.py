"""Authentication (NIP-42) at one relay, as a part of its session.

Pure: effects are appended to the session's list.

A challenge is answered by one signer after the other, one answer at a time; when the last has its OK, there is a
verdict. What the relay has refused before that (with ``auth-required``, or with ``restricted``, which some relays send
to clients they do not know yet) is kept, and sent once more if one signer was accepted.

A relay can send a challenge after each verdict, for ever. So after a verdict another challenge is answered only for a
reason (something was refused since, or the verdict was on a challenge that was not the latest), and after a delay that
doubles.

Old relays say less: they send no OK to an AUTH, they refuse a REQ by a NOTICE, and an event by an OK without an id. As
they answer in order, what they have refused can be sent again right after the AUTH.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from gennostr.client.attempt import Attempt
from gennostr.client.dialects import Meaning
from gennostr.client.effects import CancelDeadline, Deliver, Effect, Key, Log, Send, SetDeadline, Sign
from gennostr.client.subscriptions import RelaySubscription
from gennostr.exceptions import AuthenticationError
from gennostr.nostr.encoding import write
from gennostr.nostr.event import Event
from gennostr.nostr.messages import ClosedMessage, OkMessage
from gennostr.nostr.relay_url import redact

TIMEOUT: Final = 10.0
"""Seconds to wait for a challenge, or for the OK to its answer."""
SIGNING: Final = 300.0
"""Seconds that a signer may take: it may prompt a person (NIP-46)."""
AGAIN: Final = (0.0, 1.0, 60.0)
"""Seconds between a verdict and the answer to another challenge: first, second (then doubled), and at most."""

Refused: TypeAlias = tuple[RelaySubscription | Attempt, OkMessage | ClosedMessage]
"""What a relay has refused, and the refusal."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the relay has accepted a signer, and what it had refused until then."""

    accepted: bool
    refused: list[Refused]


class Authentication:
    """The authentication at one relay, over all its connections.

    Methods that may end a wait return the verdict, or None.
    """

    def __init__(self, url: str, effects: list[Effect]) -> None:
        self._shown = redact(url)
        self._effects = effects
        self.signers = 0
        """How many signers the client has."""
        # A relay of the old style is so on each connection, and one that requires authentication will do so again.
        self.old_style = False
        self.known = False
        """Whether the relay has accepted a signer, on this connection or an earlier one."""
        self._refused: list[Refused] = []
        # Never reset: a signature requested on an earlier connection must not be taken for one of a later connection.
        self._turn = 0
        self._deadline: Key | None = None
        self.forget_connection()

    def forget_connection(self) -> None:
        """Reset what belongs to the last connection."""
        self._rest()
        # The latest challenge, and the one that is being answered or was answered last.
        self._challenge: str | None = None
        self._answered: str | None = None
        self._verdicts = 0
        # The index of the next signer.
        self._next = 0
        self.event_id: str | None = None
        """The id of the AUTH that waits for its OK."""
        # Whether a signature or an OK is waited for.
        self._working = False
        self._some_accepted = False
        self.accepted: bool | None = None
        """The last verdict on this connection; None before the first, and while another is pending."""

    def _wait(self, key: Key, seconds: float) -> None:
        self._rest()
        self._deadline = key
        self._effects.append(SetDeadline(key, seconds))

    def _rest(self) -> None:
        if self._deadline is not None:
            self._effects.append(CancelDeadline(self._deadline))
            self._deadline = None

    # Challenges and their answers.

    def challenged(self, challenge: str) -> Verdict | None:
        """Answer a challenge, at once or when there is a reason to."""
        self._challenge = challenge
        if self.signers == 0 or self._working or self._deadline == "answer":
            return None
        if self._verdicts == 0:
            return self._begin()
        if self._refused:
            self._begin_later()
        return None

    def _begin_later(self) -> None:
        first, second, most = AGAIN
        # The exponent is bounded: a connection may live for years.
        delay = first if self._verdicts <= 1 else min(second * 2.0 ** min(self._verdicts - 2, 10), most)
        self._wait("answer", delay)

    def _begin(self) -> Verdict | None:
        self._rest()
        self._answered = self._challenge
        self.accepted = None
        self._some_accepted = False
        self._next = 0
        self._working = True
        return self._ask_next()

    def _ask_next(self) -> Verdict | None:
        """Have the next signer sign; after the last, return the verdict."""
        self.event_id = None
        if self._next < self.signers:
            assert self._answered is not None  # noqa: S101
            self._turn += 1
            self._wait("signature", SIGNING)
            # Last: a key signs at once, and the resulting effects are performed before those that follow.
            self._effects.append(Sign(self._answered, self._next, self._turn))
            self._next += 1
            return None
        self._rest()
        self._working = False
        self._verdicts += 1
        self.accepted = self.known = self._some_accepted
        if not self.accepted and self._challenge != self._answered:
            self._begin_later()  # the verdict is for a challenge that is not the latest
            return None
        return self._verdict()

    def _verdict(self) -> Verdict:
        return Verdict(bool(self.accepted), self.take())

    def signed(self, turn: int, event: Event | None) -> Verdict | None:
        """Send what a signer has signed; None: it declined or failed."""
        if turn != self._turn or self._deadline != "signature":
            return None  # for another connection, or too late
        if event is None:
            return self._ask_next()
        self._effects.append(Send(write(["AUTH", event]), event))
        self.event_id = event.id
        if self.old_style:
            return self._end_answer(accepted=True)
        self._wait("verdict", TIMEOUT)
        return None

    def not_sent(self, event: Event) -> Verdict | None:
        """Continue without an answer that did not fit into the outbox."""
        return self._end_answer(accepted=False) if event.id == self.event_id else None

    def ok(self, ok: OkMessage) -> Verdict | None:
        """Handle the OK to an AUTH."""
        if not ok.accepted:
            error = AuthenticationError(f"{self._shown} refused an authentication: {ok.message}")
            self._effects.append(Deliver("handle_error", error))
        return self._end_answer(accepted=ok.accepted)

    def _end_answer(self, *, accepted: bool) -> Verdict | None:
        self._some_accepted = self._some_accepted or accepted
        return self._ask_next()

    def deadline_expired(self, key: Key) -> Verdict | None:
        """Continue without what was waited for."""
        if key != self._deadline:
            return None
        self._deadline = None
        match key:
            case "challenge":
                self._effects.append(Log("warning", f"{self._shown} requires authentication but has sent no challenge"))
                self.accepted = False
                return self._verdict()
            case "signature":
                self._effects.append(Log("warning", f"a signer for {self._shown} has not signed within {SIGNING:g} s"))
                return self._ask_next()
            case "verdict":
                text = f"{self._shown} has not answered an AUTH within {TIMEOUT:g} s"
                self._effects.append(Log("warning", text))
                return self._end_answer(accepted=True)  # what was refused is tried all the same
            case _:
                return self._begin()

    # Refused messages.

    def may_keep(self, meaning: Meaning | None, items: Sequence[RelaySubscription | Attempt]) -> bool:
        """Whether a refusal may only be due to missing authentication.

        If so, `keep` what was refused.

        Only AUTH_REQUIRED and RESTRICTED can be. RESTRICTED is final after a verdict; AUTH_REQUIRED after a verdict
        that no other challenge has followed, or after a second try.
        """
        if meaning not in (Meaning.AUTH_REQUIRED, Meaning.RESTRICTED):
            return False
        if self.signers == 0 or any(item.retried for item in items):
            return False
        if self.accepted is None or self._deadline == "answer":
            return True
        if (
            meaning is Meaning.RESTRICTED and not self.old_style
        ):  # in the old style, the verdict was not the relay's word
            return False
        return self.accepted or self._challenge != self._answered

    def keep(self, refused: list[Refused]) -> Verdict | None:
        """Keep what was refused until the verdict, if there was none yet."""
        for item, _ in refused:
            item.forget_connection()
            item.retried = True
        self._refused += refused
        if self._working:
            # The old style: no OK will come, and what is sent now is read after the AUTH.
            return self._end_answer(accepted=True) if self.old_style and self.event_id is not None else None
        if self._deadline is not None:  # for a challenge, or for the time of the next answer
            return None
        if self._challenge is not None and self._challenge != self._answered:
            self._begin_later()
        elif self.accepted:
            return self._verdict()  # it was refused before the relay had read the AUTH
        else:
            self._wait("challenge", TIMEOUT)
        return None

    def keeps(self, item: RelaySubscription | Attempt) -> bool:
        """Whether `item` waits for a verdict."""
        return any(each is item for each, _ in self._refused)

    def drop(self, item: RelaySubscription | Attempt) -> OkMessage | ClosedMessage | None:
        """Stop keeping `item`; return its refusal if it was kept."""
        for place, (each, refusal) in enumerate(self._refused):
            if each is item:
                del self._refused[place]
                return refusal
        return None

    def take(self) -> list[Refused]:
        """Return what is kept, and stop keeping it."""
        refused, self._refused = self._refused, []
        return refused
