"""Authentication (NIP-42): who answers a relay's challenges, and what becomes of what it has refused until then.

Each challenge is answered by one signer after the other, one answer at a time under way. What the relay has refused
with ``auth-required``, before or after that, is sent once more when the last of them is through.

Old relays say less: their OK to an AUTH never comes, they refuse a REQ by a NOTICE, and an event by an OK without an
id. As they answer in order, what they have refused can be sent again right behind the AUTH.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

from gennostr.client.timer_queue import Deadline
from gennostr.exceptions import AuthenticationError, MessageError, Overflow
from gennostr.nostr.event import Event, public_key, sign
from gennostr.nostr.messages import ClosedMessage, OkMessage
from gennostr.nostr.relay_url import redact

logger = logging.getLogger(__name__)

KIND: Final = 22242
TIMEOUT: Final = 10.0
"""Seconds to wait for a challenge, or for the OK to its answer."""

Signer: TypeAlias = str | bytes | Callable[..., Event | None]
"""A secret key (32 bytes, or 64 hex digits), or what is called with `created_at`, `kind`, `content` and `tags`, by
name, and returns the signed event, or None for a relay that it does not want to be known to."""


def signers(given: Signer | Sequence[Signer] | None) -> list[Callable[..., Event | None]]:
    """Return all signers as callables.

    Raises:
        TypeError, ValueError: one is none; a key is never shown.
        ImportError: a key needs coincurve.

    """
    if given is None:
        return []
    several = given if isinstance(given, list | tuple) else [given]
    return [_signer(each) for each in several]


def _signer(given: object) -> Callable[..., Event | None]:
    if isinstance(given, str | bytes):
        public_key(given)
        return partial(sign, given)
    if not callable(given):
        raise TypeError(f"a signer is a secret key or a callable, not {type(given).__name__}")
    return given


def answer(signer: Callable[..., Event | None], url: str, challenge: str, now: float) -> Event | None:
    """Return the event that answers `challenge`, or None: the signer does not want to.

    Raises:
        MessageError: what the signer returned does not answer it. And whatever the signer raises.

    """
    tags = [["relay", redact(url)], ["challenge", challenge]]
    event = signer(created_at=int(now), kind=KIND, content="", tags=tags)
    if event is None:
        return None
    given: object = event  # whatever a callable has returned that no type checker saw
    if not isinstance(given, Event) or given.kind != KIND or any(tag not in given.tags for tag in tags):
        raise MessageError(f"a signer must return an event of kind {KIND} with the tags that it got: {given!r:.200}")
    return event


class Refusable(Protocol):
    """What a relay may refuse: a REQ, an event, a count."""

    retried: bool
    """Whether it was sent again after an authentication, on this connection."""

    def forget_connection(self) -> None:
        """Be as if it had not been sent yet on this connection."""


Refused: TypeAlias = tuple[Any, OkMessage | ClosedMessage]
"""A `Refusable`, and the refusal."""


class Signing(Protocol):
    """What is needed of the client's requests."""

    def signers(self) -> list[Callable[..., Event | None]]:
        """Return the client's signers."""

    def now(self) -> float:
        """Return the time of day: seconds since 1970."""

    def after(self, seconds: float, function: Callable[[], object]) -> Deadline:
        """Call `function` in the client after so many seconds."""


class Authentication:
    """One relay's, over all connections to it; the client's thread alone has it.

    `send` sends a message or raises Overflow, `fail` tells the user of an error, and `through` gets what was refused
    when it is known whether it may be sent again: (accepted, refused).
    """

    def __init__(
        self,
        url: str,
        requests: Signing,
        send: Callable[[list[Any]], object],
        fail: Callable[[BaseException], object],
        through: Callable[[bool, list[Refused]], object],
    ) -> None:
        self._url = url
        self._requests = requests
        self._send = send
        self._fail = fail
        self._through = through
        # A relay that answers in the old style does so on each connection, and one that asks who we are asks again.
        self.old_style = False
        self.known = False
        """Whether the relay has known us, on this connection or an earlier one."""
        self._refused: list[Refused] = []
        self._due: Deadline | None = None
        self.forget_connection()

    def forget_connection(self) -> None:
        """Begin anew with the next connection."""
        self._rest()
        self._challenge: str | None = None
        # Whether another challenge has come while an answer was under way.
        self._renewed = False
        # Whose turn is still to come, and the id of the answer that is under way.
        self._signers: list[Callable[..., Event | None]] = []
        self._under_way: str | None = None
        self._some_accepted = False
        # None: not tried yet, or not through.
        self._accepted: bool | None = None

    def _rest(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    # Challenges and their answers.

    def challenged(self, challenge: str) -> None:
        """Answer a challenge, or, while another answer is under way, after that."""
        self._challenge = challenge
        if not self._requests.signers():
            return
        if self._under_way is not None:
            self._renewed = True
        else:
            self._begin()

    def _begin(self) -> None:
        self._rest()
        self._accepted = None
        self._some_accepted = False
        self._signers = self._requests.signers()
        self._next()

    def _next(self) -> None:
        """Send the answer of the next signer; after the last, let through what was refused."""
        assert self._challenge is not None  # noqa: S101
        while self._signers:
            signer = self._signers.pop(0)
            try:
                event = answer(signer, self._url, self._challenge, self._requests.now())
            except Exception as error:
                logger.exception("a signer failed for %s", redact(self._url))
                self._fail(error)
                continue
            if event is None:
                continue
            try:
                self._send(["AUTH", event])
            except Overflow as error:
                self._fail(error)
                continue
            self._under_way = event.id
            if self.old_style:
                self._answered(accepted=True)
            else:
                self._due = self._requests.after(TIMEOUT, self._silent)
            return
        self._accepted = self.known = self._some_accepted
        self._let_through()

    def _silent(self) -> None:
        logger.warning("%s has not answered an AUTH within %g s", redact(self._url), TIMEOUT)
        self._answered(accepted=True)  # what was refused is tried all the same

    def takes(self, ok: OkMessage) -> bool:
        """Take an OK, if it answers an AUTH."""
        if self._under_way is None or ok.event_id != self._under_way:
            return False
        if not ok.accepted:
            self._fail(AuthenticationError(f"{redact(self._url)} refused an authentication: {ok.message}"))
        self._answered(accepted=ok.accepted)
        return True

    def _answered(self, *, accepted: bool) -> None:
        self._rest()
        self._under_way = None
        self._some_accepted = self._some_accepted or accepted
        if self._renewed:  # that was for a challenge that is not the latest
            self._renewed = False
            self._begin()
        else:
            self._next()

    # What was refused.

    def keep(self, refused: list[Refused]) -> bool:
        """Keep what was refused for want of authentication, to be sent once more; False if there is no more to try."""
        if not self._requests.signers() or self._accepted is False or any(item.retried for item, _ in refused):
            return False
        for item, _ in refused:
            item.forget_connection()
            item.retried = True
        self._refused += refused
        if self._accepted:
            self._let_through()
        elif self._under_way is not None and self.old_style:
            self._answered(accepted=True)
        elif self._challenge is None and self._due is None:
            self._due = self._requests.after(TIMEOUT, self._unchallenged)
        return True

    def drop(self, item: Refusable | None) -> bool:
        """Keep `item` no more; return whether it was kept."""
        before = len(self._refused)
        self._refused = [each for each in self._refused if each[0] is not item]
        return len(self._refused) < before

    def take(self) -> list[Refused]:
        """Return what was kept, and keep it no more."""
        refused, self._refused = self._refused, []
        return refused

    def _unchallenged(self) -> None:
        logger.warning("%s wants authentication, and has sent no challenge", redact(self._url))
        self._due = None
        self._accepted = False
        self._let_through()

    def _let_through(self) -> None:
        self._through(bool(self._accepted), self.take())
