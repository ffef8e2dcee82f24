"""The Nostr protocol: messages, events, filters, keys and urls.

No threads, no sockets, and no clock but that of `sign`, if it is called without a time.

The module `gennostr.nostr.nip19` has the forms for people: npub1..., nsec1..., note1..., nprofile1..., nevent1...,
naddr1....
"""

from gennostr.nostr.encoding import encode
from gennostr.nostr.event import Event, event_id, serialize, verify
from gennostr.nostr.filters import matches
from gennostr.nostr.hyperloglog import HyperLogLog
from gennostr.nostr.keys import generate_key, public_key, sign
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
    "generate_key",
    "matches",
    "normalize_url",
    "public_key",
    "redact",
    "serialize",
    "sign",
    "verify",
]
