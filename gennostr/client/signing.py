"""Signers, which sign the answers to challenges (NIP-42), and where they run.

A secret key signs at once. A callable runs in a thread of its own, and may return a future: it may prompt a person, or
use a signer across the network (NIP-46), and meanwhile delays no callback of the client.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Final, TypeAlias

import msgspec

from gennostr.client.commands import Signed
from gennostr.exceptions import MessageError
from gennostr.nostr.curve import coincurve
from gennostr.nostr.encoding import encode
from gennostr.nostr.event import Event
from gennostr.nostr.keys import public_key, sign
from gennostr.nostr.relay_url import redact
from gennostr.otp.gen_server import GenServer
from gennostr.otp.outcomes import CallbackOutcome, InitOutcome, Ok, Stop
from gennostr.otp.process import Process
from gennostr.otp.reasons import NORMAL
from gennostr.values import shown

KIND: Final = 22242
"""The kind of an event that answers a challenge."""

Signer: TypeAlias = str | bytes | Callable[..., Event | Future[Event | None] | None]
"""A secret key (32 bytes, or 64 hex digits), or a callable that signs.

It is called with `created_at`, `kind`, `content` and `tags`, by name, in a thread of its own, and returns the signed
event, a future of it, or None to stay unknown to that relay.
"""


class SecretKey:
    """A signer that signs at once; its key is never shown."""

    __slots__ = ("_sign",)

    def __init__(self, key: str | bytes) -> None:
        public_key(key)
        self._sign = partial(sign, key)

    def __call__(self, **fields: Any) -> Event:
        """Return the signed event."""
        return self._sign(**fields)


def signers(given: Signer | Sequence[Signer] | None) -> list[Callable[..., Any]]:
    """Return all signers as callables.

    Raises:
        TypeError, ValueError: one is invalid; a key is never shown.
        ImportError: a key needs coincurve.

    """
    if given is None:
        return []
    several = given if isinstance(given, list | tuple) else [given]
    return [_signer(each) for each in several]


def check_coincurve(given: object) -> None:
    """Raise ImportError if a signer is a secret key and coincurve is not installed."""
    several = given if isinstance(given, list | tuple) else [given]
    if any(isinstance(each, str | bytes) for each in several):
        coincurve()


def _signer(given: object) -> Callable[..., Any]:
    if isinstance(given, str | bytes):
        return SecretKey(given)
    if not callable(given):
        raise TypeError(f"a signer is a secret key or a callable, not {type(given).__name__}")
    return given


def unsigned(url: str, challenge: str, time: float) -> dict[str, Any]:
    """Return the arguments of a signer for the answer to `challenge`."""
    tags = [["relay", redact(url)], ["challenge", challenge]]
    return {"created_at": int(time), "kind": KIND, "content": "", "tags": tags}


def checked(given: object, fields: dict[str, Any]) -> Event | BaseException | None:
    """Return what a signer has returned for `fields`, checked.

    An event, None, or an error, which may be that the event is invalid.
    """
    if given is None or isinstance(given, BaseException):
        return given
    if not isinstance(given, Event) or not _answers(given, fields):
        text = f"a signer must return an event of kind {KIND} with the tags that it got: {shown(given):.200}"
        return MessageError(text)
    return given


def _answers(event: Event, fields: dict[str, Any]) -> bool:
    """Whether `event` answers the challenge and can be sent.

    A signer may return anything.
    """
    try:
        msgspec.convert(msgspec.structs.asdict(event), Event)
        encode(["AUTH", event])
    except ValueError:  # MessageError and msgspec.ValidationError are ValueErrors
        return False
    return event.kind == KIND and all(tag in event.tags for tag in fields["tags"])


_Argument: TypeAlias = tuple[Process, str, int, Callable[..., Any], dict[str, Any]]


class SignerTask(GenServer[None]):
    """Runs a signer, and sends the client what it has signed; then ends.

    It also ends with the client.
    """

    def init(self, init_arg: _Argument, /) -> InitOutcome[None]:
        """Continue after start has returned."""
        self._client, self._url, self._turn, self._signer, self._fields = init_arg
        # Not linked: a client that traps exits would get the Exit of an actor that it did not start.
        if not self._client.watch(self):
            return Stop(NORMAL)
        return Ok(None, continue_=None)

    def handle_continue(self, argument: None, state: None, /) -> CallbackOutcome[None]:
        """Sign."""
        del argument, state
        try:
            given: object = self._signer(**self._fields)
        except BaseException as error:  # of user code, even SystemExit: the client reports it
            given = error
        if isinstance(given, Future):
            given.add_done_callback(self._done)
        else:
            self._send(given)
        self._client.unwatch(self)
        return Stop()

    def _done(self, future: "Future[object]") -> None:
        """Send the result of the future; called wherever it is completed."""
        if future.cancelled():
            self._send(None)
            return
        error = future.exception()
        self._send(future.result() if error is None else error)

    def _send(self, given: object) -> None:
        self._client.deliver(Signed(self._url, self._turn, checked(given, self._fields)))

    def down(self, process: Process, reason: object) -> None:
        """End with the client; see `gennostr.otp.process.Watcher`."""
        del process, reason
        self.pid.process.kill()
