"""How relays refuse, in their own words: the texts that `gennostr.client.dialects` must understand.

A row is ``(software, kind of message, text, name of the Meaning, source)``. A source is a file of the software's
repository, a NIP, or where somebody has quoted the relay. "(as)" says that the text was put together from what the
source has: a format string, a prefix that another function adds.
"""

from typing import Final

Row = tuple[str, str, str, str, str]

STRFRY: Final = "hoytech/strfry src/apps/relay/"
RS_RELAY: Final = "scsibug/nostr-rs-relay src/"
NOSTREAM: Final = "cameri/nostream src/"
KHATRU: Final = "fiatjaf/khatru "
RNOSTR: Final = "rnostr/rnostr "
NETSTR: Final = "bezysoftware/netstr src/Netstr/Messaging/Messages.cs"
NOSFLARE: Final = "Spl0itable/nosflare src/durable-object.ts"
CHORUS: Final = "mikedilger/chorus src/nostr.rs"
LOCAL_RELAY: Final = "rust-nostr/nostr crates/nostr-relay-builder/src/local/inner.rs"
LOCAL_RELAY_45: Final = "nostr-sdk 0.45 src/local_relay/local/inner.rs"
NOSTRCHECK: Final = "quentintaranpino/nostrcheck-server src/controllers/relay.ts"
CAGLIOSTR: Final = "mattn/cagliostr main.cxx"
MONSTR: Final = "monty888/monstr src/monstr/relay/relay.py"
MONSTR_ACCEPTS: Final = "monty888/monstr src/monstr/relay/accept_handlers.py (as)"
NOSTR_RELAY: Final = "davestgermain/nostr_relay nostr_relay/"
BOSTR: Final = "Yonle/bostr bouncer.js"
BUZZ: Final = "block/buzz crates/buzz-relay/src/handlers/req.rs"
HAVEN: Final = "bitvora/haven policies.go"
ZOOID: Final = "coracle-social/zooid zooid/instance.go"
AMETHYST: Final = (
    "vitorpamplona/amethyst quartz/src/commonTest/kotlin/com/vitorpamplona/quartz/nip01Core/relay/client/accessories/"
    "RelayMessagesTest.kt"
)
USAGE: Final = "vitorpamplona/amethyst, NoticeReasonTest: quoted from a device"
FETCH: Final = "jiftechnify/nostr-fetch, test of isNoticeForReqError"
ROUTER: Final = "a list of NOTICEs in a router for strfry (UnsupportedMsgs)"

ROWS: Final[list[Row]] = [
    # strfry: NOTICEs begin with "ERROR: " (RelayServer.h, sendNoticeError); newer versions send CLOSED for a bad REQ.
    ("strfry", "NOTICE", "ERROR: too many concurrent REQs", "TOO_MANY", STRFRY + "RelayReqWorker.cpp"),
    ("strfry", "NOTICE", "ERROR: bad req: arr too big", "TOO_LARGE", STRFRY + "RelayIngester.cpp"),
    ("strfry", "CLOSED", "ERROR: bad req: arr too big", "TOO_LARGE", STRFRY + "RelayIngester.cpp (1.1)"),
    ("strfry", "CLOSED", "bad req: arr too big", "TOO_LARGE", "unverified: strfry, in the tests of a client"),
    ("strfry", "NOTICE", "ERROR: bad req: arr too small", "REFUSED", STRFRY + "RelayIngester.cpp"),
    ("strfry", "NOTICE", "ERROR: bad req: unrecognised filter item", "REFUSED", "hoytech/strfry src/filters.h (as)"),
    ("strfry", "NOTICE", "ERROR: bad req: filter item too small", "REFUSED", "hoytech/strfry src/filters.h (as)"),
    (
        "strfry",
        "NOTICE",
        "ERROR: bad req: unexpected character in from_hex: 118",
        "REFUSED",
        "nostr-protocol/nips pull request 1783 (as)",
    ),
    ("strfry", "NOTICE", "ERROR: bad req: too many tags in filter", "REFUSED", "hoytech/strfry src/filters.h (as)"),
    (
        "strfry",
        "NOTICE",
        "ERROR: bad req: total filter items too large",
        "TOO_LARGE",
        "hoytech/strfry src/filters.h (as)",
    ),
    (
        "strfry",
        "NOTICE",
        "ERROR: bad req: invalid subscription id length",
        "REFUSED",
        "hoytech/strfry src/Subscription.h (as)",
    ),
    (
        "strfry",
        "NOTICE",
        "ERROR: bad req: subscription id too long",
        "REFUSED",
        "nostr-dev-kit/ndk .changeset/fix-subscription-id-length.md",
    ),
    (
        "strfry",
        "NOTICE",
        "ERROR: bad req: filter validation failed: too broad",
        "REFUSED",
        STRFRY + "RelayIngester.cpp (as)",
    ),
    ("strfry", "NOTICE", "ERROR: bad msg: unknown cmd", "UNSUPPORTED_COUNT", "divinevideo/divine-mobile issue 9009"),
    ("strfry", "NOTICE", "ERROR: bad msg: unparseable message", "REFUSED", STRFRY + "RelayIngester.cpp (as)"),
    ("strfry", "CLOSED", "ERROR: bad req: COUNT disabled", "UNSUPPORTED_COUNT", STRFRY + "RelayIngester.cpp (1.1)"),
    ("strfry", "OK", "blocked: event marked as protected", "REFUSED", STRFRY + "RelayIngester.cpp"),
    ("strfry", "OK", "duplicate: have this event", "DUPLICATE", STRFRY + "RelayIngester.cpp"),
    (
        "a fork of strfry",
        "NOTICE",
        "restricted: authentication required to request events",
        "AUTH_REQUIRED",
        "src/apps/relay/RelayIngester.cpp with relay.auth.required",
    ),
    (
        "relay.damus.io",
        "CLOSED",
        "ERROR: read bandwidth budget exhausted (1048570 bytes/min per IP) (retry in 30ms)",
        "RATE_LIMITED",
        AMETHYST,
    ),
    ("relay.damus.io", "OK", "rate-limited: you are noting too much", "RATE_LIMITED", "quoted by many clients"),
    # nostr-rs-relay
    (
        "nostr-rs-relay",
        "NOTICE",
        "Subscription error: Maximum concurrent subscription count reached",
        "TOO_MANY",
        RS_RELAY + "server.rs, error.rs",
    ),
    ("strfry", "NOTICE", "too many concurrent REQs", "TOO_MANY", FETCH),
    ("nostr-rs-relay", "NOTICE", "Maximum concurrent subscription count reached", "TOO_MANY", FETCH),
    (
        "nostr-rs-relay",
        "CLOSED",
        "error: Maximum concurrent subscription count reached",
        "TOO_MANY",
        "the tests of several clients",
    ),
    (
        "nostr-rs-relay",
        "NOTICE",
        "Subscription error: Subscription identifier max length exceeded",
        "REFUSED",
        RS_RELAY + "server.rs, error.rs",
    ),
    ("nostr-rs-relay", "NOTICE", "Subscription error: Custom Error : x", "REFUSED", RS_RELAY + "error.rs (as)"),
    ("nostr-rs-relay", "NOTICE", "message too large (131073 > 131072)", "TOO_LARGE", RS_RELAY + "server.rs (as)"),
    ("nostr-rs-relay", "NOTICE", "event exceeded max size", "TOO_LARGE", RS_RELAY + "server.rs"),
    ("nostr-rs-relay", "NOTICE", "could not parse command", "UNSUPPORTED_COUNT", RS_RELAY + "server.rs"),
    (
        "nostr-rs-relay",
        "OK",
        "invalid: The event created_at field is out of the acceptable range (+1800sec) for this relay.",
        "REFUSED",
        RS_RELAY + "server.rs (as)",
    ),
    (
        "nostr-rs-relay",
        "OK",
        "restricted: authentication error: Invalid AUTH message",
        "RESTRICTED",
        RS_RELAY + "server.rs (as)",
    ),
    (
        "nostr-rs-relay",
        "OK",
        "blocked: NIP-05 verification needed to publish events",
        "REFUSED",
        "wss://nostr.einundzwanzig.space, quoted in the tests of a client",
    ),
    # nostream
    (
        "nostream",
        "NOTICE",
        "Subscription rejected: Too many subscriptions: Number of subscriptions must be less than or equal to 10",
        "TOO_MANY",
        NOSTREAM + "handlers/subscribe-message-handler.ts (as)",
    ),
    (
        "nostream",
        "NOTICE",
        (
            "Subscription request rejected: Too many subscriptions: Number of subscriptions must be less than or "
            "equal to 10"
        ),
        "TOO_MANY",
        NOSTREAM + "handlers/subscribe-message-handler.ts (2022, as)",
    ),
    (
        "nostream",
        "NOTICE",
        "Subscription rejected: Too many filters: Number of filters per susbscription must be less then or equal to 10",
        "TOO_LARGE",
        NOSTREAM + "handlers/subscribe-message-handler.ts (as)",
    ),
    (
        "nostream",
        "NOTICE",
        "Subscription rejected: Duplicate subscription feed-1: Ignorning",
        "DUPLICATE",
        NOSTREAM + "handlers/subscribe-message-handler.ts (as)",
    ),
    ("nostream", "NOTICE", "Subscription rejected: Subscription ID is odd", "REFUSED", "unverified: nostream"),
    ("nostream", "NOTICE", "Subscription request rejected: no", "REFUSED", "unverified: nostream"),
    ("nostream", "NOTICE", "rate limited", "RATE_LIMITED", NOSTREAM + "adapters/web-socket-adapter.ts"),
    ("nostream", "OK", "rate-limited: slow down", "RATE_LIMITED", NOSTREAM + "handlers/event-message-handler.ts"),
    ("nostream", "NOTICE", 'invalid: "ids" must contain less than or equal to 1000', "TOO_LARGE", FETCH),
    ("nostream", "NOTICE", 'invalid: "[2].limit" must be less than or equal to 5000', "LIMIT_TOO_HIGH", FETCH),
    (
        "nostream",
        "NOTICE",
        'Invalid message: "[1]" is not allowed to be empty',
        "REFUSED",
        NOSTREAM + "adapters/web-socket-adapter.ts (as)",
    ),
    (
        "nostream",
        "NOTICE",
        'invalid: "value" does not match any of the allowed types',
        "UNSUPPORTED_COUNT",
        ROUTER,
    ),
    (
        "nostream",
        "CLOSED",
        "COUNT is disabled by relay configuration",
        "UNSUPPORTED_COUNT",
        NOSTREAM + "handlers/count-message-handler.ts",
    ),
    (
        "nostream",
        "CLOSED",
        "Query ID too long: Query ID must be less than or equal to 64",
        "REFUSED",
        NOSTREAM + "handlers/count-message-handler.ts (as)",
    ),
    ("nostream", "CLOSED", "error: unable to count events", "FAILED", NOSTREAM + "handlers/count-message-handler.ts"),
    # khatru and relays built with it
    (
        "khatru",
        "CLOSED",
        "unsupported: this relay does not support NIP-45",
        "UNSUPPORTED_COUNT",
        KHATRU + "handlers.go",
    ),
    (
        "khatru",
        "CLOSED",
        "rate-limited: there is a bug in the client, no one should be making so many requests",
        "RATE_LIMITED",
        KHATRU + "policies/ratelimits.go",
    ),
    ("khatru", "OK", "rate-limited: slow down, please", "RATE_LIMITED", KHATRU + "policies/ratelimits.go"),
    ("khatru", "CLOSED", "blocked: can't handle empty filters", "REFUSED", KHATRU + "policies/filters.go (as)"),
    ("khatru", "CLOSED", "blocked: too many things to filter for", "REFUSED", KHATRU + "policies/filters.go (as)"),
    ("khatru", "CLOSED", "blocked: search is not supported", "REFUSED", KHATRU + "policies/filters.go (as)"),
    (
        "khatru",
        "OK",
        "auth-required: must be published by authenticated event author",
        "AUTH_REQUIRED",
        KHATRU + "handlers.go",
    ),
    ("khatru", "NOTICE", "failed to parse envelope: invalid filter", "REFUSED", KHATRU + "handlers.go (as)"),
    ("khatru", "OK", "error: failed to authenticate", "FAILED", KHATRU + "handlers.go"),
    ("khatru", "OK", "mute: no one was listening for this", "REFUSED", KHATRU + "handlers.go"),
    (
        "purplepag.es",
        "NOTICE",
        "failed to parse envelope: unknown envelope label",
        "UNSUPPORTED_COUNT",
        "vitorpamplona/amethyst RelayMessages.kt; " + KHATRU + "handlers.go",
    ),
    ("purplepag.es", "CLOSED", "blocked: limit too high: 50000 (max 500)", "LIMIT_TOO_HIGH", AMETHYST),
    ("haven", "CLOSED", "restricted: you must be whitelisted to query this relay", "RESTRICTED", HAVEN),
    ("haven", "OK", "auth-required: you must be authenticated to post to this relay", "AUTH_REQUIRED", HAVEN),
    ("wot-relay", "OK", "blocked: not in web of trust", "REFUSED", "bitvora/wot-relay main.go (as)"),
    ("khatru-pyramid", "OK", "blocked: not authorized", "REFUSED", "github-tijlxyz/khatru-pyramid relay.go (as)"),
    ("zooid", "CLOSED", "auth-required: authentication is required for access", "AUTH_REQUIRED", ZOOID),
    ("zooid", "CLOSED", "restricted: you are not a member of this relay", "RESTRICTED", ZOOID),
    # nostr_relay, in Python
    ("nostr_relay", "NOTICE", "rejected: too many subscriptions", "TOO_MANY", NOSTR_RELAY + "storage/base.py"),
    ("nostr_relay", "NOTICE", "rate-limited", "RATE_LIMITED", NOSTR_RELAY + "web.py"),
    ("nostr_relay", "OK", "rate-limited: slow down", "RATE_LIMITED", NOSTR_RELAY + "web.py"),
    ("nostr_relay", "NOTICE", "restricted: permission denied", "RESTRICTED", NOSTR_RELAY + "storage/base.py"),
    ("nostr_relay", "OK", "invalid: Bad JSON", "REFUSED", NOSTR_RELAY + "storage/db.py"),
    ("nostr_relay", "OK", "duplicate: exists", "DUPLICATE", NOSTR_RELAY + "web.py"),
    ("nostr_relay", "OK", "rejected: 5faaae49 not allowed", "REFUSED", NOSTR_RELAY + "validators.py (as)"),
    # monstr
    ("monstr", "NOTICE", "REQ new sub_id feed-1 not allowed, already at max subs=10", "TOO_MANY", MONSTR + " (as)"),
    ("monstr", "NOTICE", "REQ command for sub_id that already exists - feed-1", "DUPLICATE", MONSTR + " (as)"),
    ("monstr", "NOTICE", "unsupported command COUNT", "UNSUPPORTED_COUNT", MONSTR + " (as)"),
    ("monstr", "NOTICE", "unable to decode command string", "REFUSED", MONSTR),
    ("monstr", "NOTICE", "restricted: user 5faaae49 not yet authenticated", "AUTH_REQUIRED", MONSTR_ACCEPTS),
    ("monstr", "OK", "restricted: user 5faaae49 authenticated but not allowed", "RESTRICTED", MONSTR_ACCEPTS),
    (
        "monstr",
        "OK",
        "blocked: pubkey 5faaae49 posted too recently, posts most be 1s apart",
        "RATE_LIMITED",
        MONSTR_ACCEPTS,
    ),
    ("monstr", "OK", "blocked: content > accepted max 280 got 300", "REFUSED", MONSTR_ACCEPTS),
    # @nostr-relay/core
    (
        "@nostr-relay/core",
        "NOTICE",
        "restricted: we can't serve DMs to unauthenticated users, does your client implement NIP-42?",
        "AUTH_REQUIRED",
        "CodyTseng/nostr-relay packages/core/src/nostr-relay.ts",
    ),
    (
        "@nostr-relay/core",
        "NOTICE",
        "invalid: unknown message type",
        "UNSUPPORTED_COUNT",
        "CodyTseng/nostr-relay packages/core/src/nostr-relay.ts",
    ),
    # rnostr
    ("rnostr", "NOTICE", "Number of subscriptions exceeds limit", "TOO_MANY", RNOSTR + "relay/src/server.rs"),
    ("rnostr", "NOTICE", "This subscription already exists", "DUPLICATE", RNOSTR + "relay/src/server.rs"),
    (
        "rnostr",
        "NOTICE",
        "Subscription id should be non-empty string of max length 64 chars",
        "REFUSED",
        RNOSTR + "relay/src/server.rs",
    ),
    ("rnostr", "NOTICE", "Unsupported message", "UNSUPPORTED_COUNT", RNOSTR + "issue 21"),
    ("rnostr", "NOTICE", "payload reached size limit.", "TOO_LARGE", RNOSTR + "relay/src/session.rs"),
    ("rnostr", "NOTICE", "invalid: limitation.max_filters 10", "TOO_LARGE", RNOSTR + "relay/src/message.rs (as)"),
    ("rnostr", "NOTICE", "invalid: limitation.max_limit 1000", "LIMIT_TOO_HIGH", AMETHYST),
    ("rnostr", "NOTICE", "invalid: limitation.max_subid_length 100", "REFUSED", RNOSTR + "relay/src/message.rs (as)"),
    ("rnostr", "NOTICE", "json error: expected value at line 1 column 1", "REFUSED", RNOSTR + "session.rs (as)"),
    ("rnostr", "NOTICE", "Something is wrong", "FAILED", RNOSTR + "relay/src/server.rs"),
    ("rnostr", "NOTICE", "restricted: NIP-42 auth required", "AUTH_REQUIRED", RNOSTR + "extensions/src/auth.rs (as)"),
    ("rnostr", "NOTICE", "restricted: pubkey not in whitelist", "RESTRICTED", RNOSTR + "extensions/src/auth.rs (as)"),
    ("rnostr", "OK", "replaced: have newer event", "REFUSED", RNOSTR + "relay/src/server.rs"),
    ("rnostr", "OK", "deleted: user requested deletion", "REFUSED", RNOSTR + "relay/src/server.rs"),
    # chorus
    (
        "chorus",
        "CLOSED",
        "blocked: No more than 32 subscriptions are allowed at any one time",
        "TOO_MANY",
        CHORUS + " (as)",
    ),
    (
        "chorus",
        "CLOSED",
        "invalid: Filter is underspecified. Scrapers are not allowed, src/nostr.rs:120:17",
        "REFUSED",
        CHORUS + ", error.rs (as)",
    ),
    ("chorus", "CLOSED", "auth-required: DM kinds were included in the REQ", "AUTH_REQUIRED", CHORUS),
    ("chorus", "CLOSED", "error: JSON bad filter: unexpected at position 7", "REFUSED", CHORUS + ", error.rs (as)"),
    ("chorus", "NOTICE", "Command unrecognized", "UNSUPPORTED_COUNT", CHORUS),
    (
        "chorus",
        "OK",
        "restricted: this personal relay only accepts events related to its users",
        "RESTRICTED",
        CHORUS + " (as)",
    ),
    # nostr-sdk's LocalRelay
    ("LocalRelay", "CLOSED", "rate-limited: too many REQs", "TOO_MANY", LOCAL_RELAY),
    ("LocalRelay", "CLOSED", "auth-required: you must auth", "AUTH_REQUIRED", LOCAL_RELAY),
    (
        "LocalRelay",
        "CLOSED",
        "unsupported: multi-filter REQs aren't supported (https://github.com/nostr-protocol/nips/pull/1645)",
        "TOO_LARGE",
        LOCAL_RELAY,
    ),
    ("LocalRelay", "CLOSED", "rate-limited: too many queries", "RATE_LIMITED", LOCAL_RELAY_45),
    (
        "LocalRelay",
        "CLOSED",
        "rate-limited: active subscriptions exceed max size 1048576 bytes",
        "TOO_MANY",
        LOCAL_RELAY_45 + " (as)",
    ),
    ("LocalRelay", "CLOSED", "blocked: too many filters", "TOO_LARGE", LOCAL_RELAY_45),
    ("LocalRelay", "CLOSED", "blocked: requested too many event IDs", "TOO_LARGE", LOCAL_RELAY_45),
    ("LocalRelay", "CLOSED", "blocked: subscription ID exceeds max length 64", "REFUSED", LOCAL_RELAY_45 + " (as)"),
    ("LocalRelay", "CLOSED", "error: you cannot request another user's gift wrap", "RESTRICTED", LOCAL_RELAY_45),
    ("LocalRelay", "NOTICE", "invalid client message", "REFUSED", LOCAL_RELAY_45),
    ("LocalRelay", "OK", "rate-limited: too many authentication attempts", "RATE_LIMITED", LOCAL_RELAY_45),
    ("LocalRelay", "OK", "rate-limited: slow down", "RATE_LIMITED", LOCAL_RELAY),
    ("LocalRelay", "OK", "error: database error", "FAILED", LOCAL_RELAY),
    ("LocalRelay", "OK", "pow: required a difficulty >= 20", "REFUSED", LOCAL_RELAY + " (as)"),
    # netstr
    ("netstr", "CLOSED", "invalid: too many subscriptions", "TOO_MANY", NETSTR),
    ("netstr", "CLOSED", "invalid: too many filters", "TOO_LARGE", NETSTR),
    ("netstr", "CLOSED", "invalid: subscription id is too long", "REFUSED", NETSTR),
    ("netstr", "CLOSED", "invalid: filter limit is too high", "LIMIT_TOO_HIGH", NETSTR),
    ("netstr", "NOTICE", "invalid: message is too large", "TOO_LARGE", NETSTR),
    ("netstr", "CLOSED", "unsupported: filter contains unknown elements", "REFUSED", NETSTR + "; NIP-01"),
    ("netstr", "NOTICE", "unknown message type COUNT", "UNSUPPORTED_COUNT", NETSTR + " (as)"),
    ("netstr", "NOTICE", "error: internal error while processing your message", "FAILED", NETSTR),
    ("netstr", "NOTICE", "unable to parse the message", "REFUSED", NETSTR),
    # nosflare
    ("nosflare", "CLOSED", "rate-limited: slow down there chief", "RATE_LIMITED", NOSFLARE),
    ("nosflare", "NOTICE", "Unknown message type: COUNT", "UNSUPPORTED_COUNT", NOSFLARE + " (as); " + AMETHYST),
    (
        "nosflare",
        "NOTICE",
        "Invalid subscription ID: must be non-empty string of max 64 chars",
        "REFUSED",
        NOSFLARE,
    ),
    ("nosflare", "NOTICE", "Invalid JSON format", "REFUSED", NOSFLARE),
    ("nosflare", "NOTICE", "Unknown message type: REQ", "REFUSED", NOSFLARE + " (as)"),
    ("nosflare", "CLOSED", "error: at least one filter required", "REFUSED", NOSFLARE),
    ("nosflare", "CLOSED", "invalid: too many event IDs (max 5000)", "TOO_LARGE", NOSFLARE),
    ("nosflare", "CLOSED", "invalid: limit too high (max 5000)", "LIMIT_TOO_HIGH", NOSFLARE),
    ("nosflare", "CLOSED", "blocked: kinds 4, 1059 not allowed", "REFUSED", NOSFLARE + " (as)"),
    ("nosflare", "CLOSED", "error: could not connect to the database", "FAILED", NOSFLARE + "; NIP-01"),
    ("nosflare", "NOTICE", "Failed to process REQ message", "FAILED", NOSFLARE + " (as)"),
    (
        "nosflare",
        "CLOSED",
        "auth-required: please AUTH to subscribe",
        "AUTH_REQUIRED",
        "Spl0itable/nosflare src/connection-do.ts",
    ),
    ("sendit.nosflare.com", "NOTICE", "Denied! This relay does not accept REQs.", "REFUSED", USAGE),
    # bostr
    ("bostr", "NOTICE", "error: bad request.", "REFUSED", BOSTR),
    (
        "bostr",
        "CLOSED",
        "error: expected filter to be obj, instead gives the otherwise.",
        "REFUSED",
        BOSTR,
    ),
    ("bostr", "CLOSED", "duplicate: this sub is already opened.", "DUPLICATE", BOSTR + " (2023)"),
    (
        "bostr",
        "CLOSED",
        "auth-required: authentication is required to perform this action.",
        "AUTH_REQUIRED",
        BOSTR,
    ),
    ("bostr", "NOTICE", "error: unrecognized command: COUNT", "UNSUPPORTED_COUNT", BOSTR + " (as)"),
    ("bostr", "NOTICE", "error: unrecognized command.", "UNSUPPORTED_COUNT", BOSTR + " (2023)"),
    ("bostr", "OK", "rejected: unauthorized", "REFUSED", BOSTR),
    # nostrcheck-server: most of these also close the connection, with 1003.
    ("nostrcheck-server", "NOTICE", "error: message too large", "TOO_LARGE", NOSTRCHECK),
    ("nostrcheck-server", "CLOSED", "unsupported: too many filters", "TOO_LARGE", NOSTRCHECK),
    ("nostrcheck-server", "CLOSED", "unsupported: subscription id too long", "REFUSED", NOSTRCHECK),
    ("nostrcheck-server", "NOTICE", "error: unknown command", "UNSUPPORTED_COUNT", NOSTRCHECK),
    ("nostrcheck-server", "CLOSED", "error: failed to process subscription", "FAILED", NOSTRCHECK),
    ("nostrcheck-server", "NOTICE", "error: internal server error", "FAILED", NOSTRCHECK),
    ("nostrcheck-server", "NOTICE", "auth-required: you must authenticate first", "AUTH_REQUIRED", NOSTRCHECK),
    # cagliostr: some NOTICEs have the subscription's id before the text.
    ("cagliostr", "NOTICE", "error: subscription id too long", "REFUSED", CAGLIOSTR),
    ("cagliostr", "NOTICE", "error: invalid request", "REFUSED", CAGLIOSTR),
    ("cagliostr", "NOTICE", "feed-1: error: invalid filter", "REFUSED", CAGLIOSTR + " (as: the id is an element)"),
    ("cagliostr", "NOTICE", "error: duplicate event", "DUPLICATE", CAGLIOSTR),
    ("cagliostr", "NOTICE", "shutdown...", "FAILED", CAGLIOSTR),
    # congee: no word before its texts
    ("congee", "CLOSED", "too many subscriptions", "TOO_MANY", "michmich112/congee, the relay's handler of REQ"),
    ("congee", "CLOSED", "too many filters", "TOO_LARGE", "michmich112/congee, the relay's handler of REQ"),
    ("congee", "CLOSED", "subscription id too long", "REFUSED", "michmich112/congee, the relay's handler of REQ"),
    # block/buzz
    ("buzz", "CLOSED", "error: too many subscriptions", "TOO_MANY", BUZZ),
    ("buzz", "CLOSED", "restricted: not a channel member", "RESTRICTED", BUZZ),
    ("buzz", "NOTICE", "auth-required: authenticate before subscribing", "AUTH_REQUIRED", BUZZ),
    ("buzz", "CLOSED", "error: mixed search and non-search filters not supported", "REFUSED", BUZZ),
    ("buzz", "CLOSED", "error: database error", "FAILED", BUZZ),
    # Relays whose software is not known
    ("ivmostr", "OK", "Authentication required", "AUTH_REQUIRED", "unverified: ivmanto/ivmostr"),
    ("unknown", "NOTICE", "Rate limit exceeded", "RATE_LIMITED", "unverified: nobody's"),
    ("relay.wavefunc.live", "CLOSED", "restricted: limit must not exceed 500", "LIMIT_TOO_HIGH", AMETHYST),
    (
        "nostr.wine",
        "NOTICE",
        "ERROR: bad msg: invalid message: {'message_type': ['Invalid enum value COUNT']}",
        "UNSUPPORTED_COUNT",
        AMETHYST,
    ),
    ("relay.conduit.market", "NOTICE", "invalid message", "UNSUPPORTED_COUNT", AMETHYST),
    ("unknown", "NOTICE", "ERROR: bad msg: invalid message: event too large", "TOO_LARGE", AMETHYST),
    ("unknown", "NOTICE", "bad message type", "UNSUPPORTED_COUNT", ROUTER),
    ("unknown", "CLOSED", "error: limit exceeds max_limit of 1000", "LIMIT_TOO_HIGH", AMETHYST),
    ("unknown", "CLOSED", "blocked: subscription limit reached (20)", "TOO_MANY", AMETHYST),
    ("unknown", "CLOSED", "error: max subscriptions limit of 10 reached", "TOO_MANY", AMETHYST),
    ("unknown", "CLOSED", "rate-limited: slow down, limit 10 REQs a second", "RATE_LIMITED", AMETHYST),
    ("unknown", "CLOSED", "error: too many requests", "RATE_LIMITED", AMETHYST),
    ("unknown", "CLOSED", "ERROR: rate limit exceeded, slow down", "RATE_LIMITED", AMETHYST),
    ("unknown", "NOTICE", "error: too fast, slow down please", "RATE_LIMITED", "nostr-protocol/nips pull request 1783"),
    (
        "unknown",
        "CLOSED",
        "error: search filter is required",
        "REFUSED",
        "vitorpamplona/amethyst RelayReqRefusals.kt",
    ),
    ("unknown", "CLOSED", "blocked: too many subscriptions", "TOO_MANY", USAGE),
    ("unknown", "NOTICE", "too many kinds", "REFUSED", USAGE),
    ("unknown", "NOTICE", "Kgo0HH: closed: too many steps", "REFUSED", USAGE),
    ("unknown", "NOTICE", "sub123: auth-required: need auth", "AUTH_REQUIRED", USAGE),
    ("unknown", "NOTICE", "sub123: rate-limited: slow down", "RATE_LIMITED", USAGE),
    (
        "geode",
        "CLOSED",
        "blocked: too many subscriptions per minute",
        "RATE_LIMITED",
        "vitorpamplona/amethyst, its relay's limits per connection (as)",
    ),
    # Likely wordings, after a word that says they are refusals
    ("unknown", "CLOSED", "error: you have too many open subscriptions", "TOO_MANY", "unverified: nobody's"),
    (
        "unknown",
        "CLOSED",
        "restricted: this relay allows a maximum of 20 subscriptions",
        "TOO_MANY",
        "unverified: nobody's",
    ),
    ("unknown", "CLOSED", "error: your REQ is too large for this relay", "TOO_LARGE", "unverified: nobody's"),
    ("unknown", "CLOSED", "error: COUNT is not supported here", "UNSUPPORTED_COUNT", "unverified: nobody's"),
    ("unknown", "CLOSED", "error: no NIP-45 here", "UNSUPPORTED_COUNT", "unverified: nobody's"),
    ("unknown", "CLOSED", "error: try again later", "RATE_LIMITED", "unverified: nobody's"),
    # What NIPs document
    ("NIP-01", "CLOSED", "error: shutting down idle subscription", "FAILED", "NIP-01"),
    ("NIP-01", "CLOSED", "duplicate: sub1 already opened", "DUPLICATE", "NIP-01 (until 2024)"),
    ("NIP-01", "OK", "invalid: event creation date is too far off from the current time", "REFUSED", "NIP-01"),
    ("NIP-01", "OK", "pow: difficulty 26 is less than 30", "REFUSED", "NIP-01"),
    ("NIP-20", "OK", "pow-adaptive:30:need 30 difficulty for this pubkey, IP or event", "REFUSED", "NIP-20"),
    ("NIP-20", "OK", "blocked: tor exit nodes not allowed", "REFUSED", "NIP-20"),
    (
        "NIP-42",
        "CLOSED",
        "auth-required: we can't serve DMs to unauthenticated users",
        "AUTH_REQUIRED",
        "NIP-42",
    ),
    ("NIP-45", "CLOSED", "auth-required: cannot count other people's DMs", "AUTH_REQUIRED", "NIP-45"),
]

NOT_REFUSALS: Final[list[str]] = [
    "",
    " ",
    "::::",
    "hello there",
    "Welcome to relay.example, please authenticate",
    "Welcome! Rate limits apply, see https://relay.example/limits",
    "Rate limits apply: 10 REQs per minute",
    "This relay is rate-limited: please be kind",
    "Please authenticate for more",
    "Please contact admin@example.com for access",
    "News: we have blocked: spam, scams and worse",
    "This relay is restricted to members. Join at https://relay.example",
    "Planned maintenance: the relay restarts at 12:00 UTC, error: none expected",
    "We had too many subscriptions yesterday, sorry for the trouble",
    "Do not worry: too many requests were not yours",
    "Count me in!",
    "COUNT is supported here",
    "Duplicate subscriptions are free",
    "keepalive",  # quoted by amethyst, as the next two
    "as7rp4: PERF: [/!\\ LS] 1087 scan, 0 dedup, 500 match",
    "AccountFollowsLoaderSubAssemblerxE1r8A",  # cagliostr's kind: the id alone, the text is another element
    "warning: limit too high, using max limit of 500",  # nostrcheck-server: the events come
    "CLOSE command for sub_id feed-1 - success",  # monstr
    "CLOSE command for sub_id that not subscribed to, nothing to do - feed-1",  # monstr
    "ERROR: bad close: arr too small/big",  # strfry
    "ERROR: bad msg: negentropy disabled",  # strfry
    "Unknown message type: AUTH",  # nosflare, before it had NIP-42: nobody waits for this
    "Subscription closed",  # nosflare's CLOSED to a CLOSE
    "Subscription not found",
    "post not accepted",  # monstr, about an EVENT
    "auth success",  # rnostr answers AUTH by a NOTICE
    "auth error",
    "session token accepted",
    "ERROR: session error: SESSION message too short",  # the fork of strfry that has sessions
    "ERROR: bad get: GET arr size != 2",  # strfry in 2023
    "ERROR: GET event not found",
    "pubkey is not allowed to publish to this relay",  # nostr-rs-relay before NIP-20: no REQ is meant
    "relay experienced an error trying to publish the latest event",
    "invalidate: nothing",
    "errors: 0",
    "blockedness",
]
