"""What crosses between a cluster and its shards, whatever carries it.

    to the shard            from the shard
    ------------            --------------
    Launch, once            Started, or Ended if the client did not start
    Invoke                  Done, if it has a `ref`
    Ping                    Pong
                            Handled, Logged
                            Ended

Every message from a shard has its epoch. What the messages hold is pickled already, by the thread that sends it: a
value that cannot cross is an error there, not in the cluster. `Lost` does not cross: it reports a link's own end.
"""

import pickle
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from gennostr.client.gen_nostr import GenNostr
from gennostr.client.persistence import Saved
from gennostr.client.shard import Shard
from gennostr.values import Record, Text, shown

FUNCTIONS: Final = frozenset(
    {
        "actor",
        "add_relay",
        "broadcast_message",
        "call",
        "cast",
        "count",
        "list_relays",
        "publish",
        "relay_statistics",
        "remove_relay",
        "send_message",
        "subscribe",
        "unsubscribe",
    }
)
"""What `Invoke` can call: "actor", which is for any actor of the shard, and functions of a client."""


@dataclass(frozen=True, slots=True)
class Launch:
    """Start a client: the first message, and the one that an engine gets."""

    client: type[GenNostr[Any]]
    init_arg: Any = field(repr=False)  # it may hold a secret
    shard: Shard
    epoch: int
    saved: Saved = field(repr=False)
    """What earlier incarnations have handed over."""
    shutdown: float
    """Seconds that the client may take to end."""


@dataclass(frozen=True, slots=True)
class Invoke:
    """Call a function of the client with the pickled arguments.

    Answer if `ref` is not None.
    """

    ref: int | None
    function: str
    arguments: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ping:
    """Answer with `Pong`, whatever the client does."""


@dataclass(frozen=True, slots=True)
class Started:
    """The client's init has succeeded."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Done:
    """The answer to an `Invoke`: a pickled value, or an exception if it `failed`."""

    epoch: int
    ref: int
    value: bytes = field(repr=False)
    failed: bool


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a `Ping`."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Handled:
    """What a client without a store has handled since the last: pickled changes."""

    epoch: int
    changes: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Logged:
    """A log record: the fields that the record is made of."""

    epoch: int
    fields: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ended:
    """The client has ended, or did not start, with a pickled reason."""

    epoch: int
    reason: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Lost:
    """The link has ended: nothing more comes over it."""

    epoch: int
    why: str


ToShard: TypeAlias = Invoke | Ping
FromShard: TypeAlias = Started | Done | Pong | Handled | Logged | Ended | Lost


@dataclass(frozen=True, slots=True)
class _Parcel(Record):
    """Something that crosses whatever it holds: what cannot be pickled becomes text."""

    value: object


def packed(value: object, what: str) -> bytes:
    """Return `value` pickled.

    Raises:
        TypeError: it cannot be pickled; the message says `what` it is.

    """
    try:
        return pickle.dumps(value)
    except Exception as error:
        raise TypeError(f"{what} goes to another process and cannot be pickled: {shown(value)}: {error}") from error


def packed_reason(reason: object) -> bytes:
    """Return a reason or exception pickled: itself if possible, otherwise its text."""
    return pickle.dumps(_Parcel(reason))


def unpacked(data: bytes) -> Any:
    """Return a value that the other side of an engine's link has packed.

    A reason or exception that could not cross is a `gennostr.values.Text`.
    """
    value = pickle.loads(data)  # noqa: S301 - an engine's link has no other end than our own process
    return value.value if isinstance(value, _Parcel) else value


def exception_of(data: bytes) -> BaseException:
    """Return the exception that a shard has raised.

    It is a RuntimeError with the text of one that could not cross.
    """
    reason = unpacked(data)
    return reason if isinstance(reason, BaseException) else RuntimeError(str(Text(reason)))
