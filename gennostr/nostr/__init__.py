"""The Nostr protocol: messages, events and urls. No threads, no sockets, no clock."""

from gennostr.nostr.encoding import encode
from gennostr.nostr.event import Event, event_id, public_key, serialize, sign, verify
from gennostr.nostr.filters import matches
from gennostr.nostr.hyperloglog import HyperLogLog
from gennostr.nostr.messages import (
    AuthMessage,
    ClosedMessage,
    CountMessage,
    CountResult,
    EoseMessage,
    EventMessage,
    NoticeMessage,
    OkMessage,
    RelayMessage,
    UnknownMessage,
    decode,
)
from gennostr.nostr.relay_information import Limitation, RelayInformation
from gennostr.nostr.relay_url import normalize_url, redact

__all__ = [
    "AuthMessage",
    "ClosedMessage",
    "CountMessage",
    "CountResult",
    "EoseMessage",
    "Event",
    "EventMessage",
    "HyperLogLog",
    "Limitation",
    "NoticeMessage",
    "OkMessage",
    "RelayInformation",
    "RelayMessage",
    "UnknownMessage",
    "decode",
    "encode",
    "event_id",
    "matches",
    "normalize_url",
    "public_key",
    "redact",
    "serialize",
    "sign",
    "verify",
]
