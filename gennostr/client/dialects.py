"""What a relay means by a refusal, in the words of many relays.

These are the texts of CLOSED, OK and NOTICE messages as relays write them.

NIP-01 and 42 list machine-readable words ("rate-limited: ..."), for CLOSED and OK. Many relays say more after the word
("error: too many concurrent REQs"), use words of their own ("Subscription rejected: ..."), or refuse by a NOTICE in
prose that names no request. `meaning` reads a text of any of the three. It works in this order:

1. A leading word of `PREFIXES` is removed, repeatedly: "ERROR: bad req: arr too big" has two, and some relays
   put the id of the subscription before it (``"feed: auth-required: ..."``).
2. The rest is looked up in `DIALECTS`, from its start. For a text without such a word, only this decides: a
   greeting, news or an advertisement must not end a request, so these patterns match the start of a known sentence.
3. After such a word the text is known to be a refusal: `REFINEMENTS` are searched anywhere in the rest.
4. Otherwise the last word decides.

Every row names the source of its texts: a file of the relay's source, a NIP, or an issue. To teach the client a new
one, add a row here and its text to the tests.

Texts are written by strangers: only the first `LOOKED_AT` characters are read, and every repetition in a pattern is
bounded, so that a hostile text takes about a millisecond.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Final

LOOKED_AT: Final = 500
"""How many characters of a text are read; the longest refusal found has 130."""


class Meaning(Enum):
    """What a refusal requires of the client."""

    AUTH_REQUIRED = "auth-required"
    """Authenticate (NIP-42), then send it again."""
    RESTRICTED = "restricted"
    """This key may not. Final for an authenticated client; before that, authenticate and send it again once."""
    RATE_LIMITED = "rate-limited"
    """Too much in too short a time: send it again later, and less often."""
    TOO_MANY = "too-many"
    """One subscription too many at once: send it again when another is closed. `limit` may return its limit."""
    TOO_LARGE = "too-large"
    """One message has more bytes, filters or values than the relay accepts. Split, it may pass; as it is, never."""
    LIMIT_TOO_HIGH = "limit-too-high"
    """A filter's ``limit`` is higher than the relay allows: send it again with a lower one (see `limit`)."""
    UNSUPPORTED_COUNT = "unsupported-count"
    """The relay does not know a message that the client sent: end all COUNTs (NIP-45) of this relay.

    Of the messages that the client sends, only COUNT can be unknown. If none is waiting, it was the user's own message.
    """
    DUPLICATE = "duplicate"
    """The relay has it already. An event is accepted; a subscription stays as it was: CLOSE it before changing it."""
    REFUSED = "refused"
    """Not now and not later: do not send it again on this connection."""
    FAILED = "failed"
    """The relay's own trouble, such as its database: ended for this connection, worth a try on the next."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One wording of a refusal.

    Its `meaning` can be None: the text looks like the refusal of a request but means something else.
    """

    pattern: re.Pattern[str]
    meaning: Meaning | None
    source: str


def _rows(*rows: tuple[str, Meaning | None, str]) -> tuple[Dialect, ...]:
    return tuple(Dialect(re.compile(pattern), meaning, source) for pattern, meaning, source in rows)


PREFIXES: Final[dict[str, Meaning]] = {
    "auth-required": Meaning.AUTH_REQUIRED,  # NIP-42
    "restricted": Meaning.RESTRICTED,  # NIP-42
    "rate-limited": Meaning.RATE_LIMITED,  # NIP-01; as the whole NOTICE: nostr_relay web.py
    "duplicate": Meaning.DUPLICATE,  # NIP-01
    "blocked": Meaning.REFUSED,  # NIP-01
    "invalid": Meaning.REFUSED,  # NIP-01
    "pow": Meaning.REFUSED,  # NIP-01: more work makes another event
    "pow-adaptive": Meaning.REFUSED,  # NIP-20
    "mute": Meaning.REFUSED,  # NIP-01; khatru handlers.go: nobody listens for an ephemeral event
    "unsupported": Meaning.REFUSED,  # NIP-01
    "error": Meaning.FAILED,  # NIP-01
    "rejected": Meaning.REFUSED,  # nostr_relay validators.py, bostr bouncer.js
    "deleted": Meaning.REFUSED,  # rnostr server.rs
    "replaced": Meaning.REFUSED,  # rnostr server.rs
    "bad req": Meaning.REFUSED,  # strfry RelayIngester.cpp, after "ERROR: "
    "bad msg": Meaning.REFUSED,  # strfry RelayIngester.cpp, after "ERROR: "
    "invalid message": Meaning.REFUSED,  # nostream web-socket-adapter.ts; nostr.wine after "ERROR: bad msg: "
    "subscription rejected": Meaning.REFUSED,  # nostream subscribe-message-handler.ts
    "subscription request rejected": Meaning.REFUSED,  # nostream subscribe-message-handler.ts, 2022
    "subscription error": Meaning.REFUSED,  # nostr-rs-relay server.rs
}
"""Words before a colon, and what they mean if the rest adds nothing."""

DIALECTS: Final = _rows(
    # One subscription too many.
    (r"too many concurrent reqs\b", Meaning.TOO_MANY, "strfry RelayReqWorker.cpp"),
    (r"too many (?:open )?subscriptions\b(?! per )", Meaning.TOO_MANY, "nostream, nostr_relay, netstr, buzz, congee"),
    (r"maximum concurrent subscription count reached\b", Meaning.TOO_MANY, "nostr-rs-relay error.rs"),
    (r"number of subscriptions exceeds limit\b", Meaning.TOO_MANY, "rnostr server.rs"),
    (r"req new sub_id .{1,400}? not allowed, already at max subs=", Meaning.TOO_MANY, "monstr relay.py"),
    (r"no more than \d{1,9} subscriptions are allowed\b", Meaning.TOO_MANY, "chorus nostr.rs"),
    (r"active subscriptions exceed max size\b", Meaning.TOO_MANY, "nostr-sdk local_relay/local/inner.rs"),
    (r"(?:max )?subscriptions? limit (?:of \d{1,9} )?reached\b", Meaning.TOO_MANY, "amethyst RelayMessagesTest.kt"),
    # Too much in too short a time.
    (r"rate limited[.!]?$", Meaning.RATE_LIMITED, "nostream web-socket-adapter.ts"),
    (r"rate limit exceeded\b", Meaning.RATE_LIMITED, "amethyst RelayMessagesTest.kt"),
    (r"too many requests\b", Meaning.RATE_LIMITED, "amethyst RelayMessagesTest.kt"),
    # Too much in one message.
    (r"(?:message|event) (?:is )?too large\b", Meaning.TOO_LARGE, "nostr-rs-relay, nostrcheck-server, netstr"),
    (r"payload reached size limit\b", Meaning.TOO_LARGE, "rnostr session.rs"),
    (r"event exceeded max size\b", Meaning.TOO_LARGE, "nostr-rs-relay server.rs"),
    (r"too many filters\b", Meaning.TOO_LARGE, "nostream, netstr, nostrcheck-server relay.ts"),
    (r"arr too big\b", Meaning.TOO_LARGE, "strfry RelayIngester.cpp: filters in one REQ"),
    (r"total filter items too large\b", Meaning.TOO_LARGE, "strfry filters.h: bytes of ids, authors or tag values"),
    (r"limitation\.max_(?:message_length|filters)\b", Meaning.TOO_LARGE, "rnostr message.rs"),
    (r"multi-filter reqs aren't supported\b", Meaning.TOO_LARGE, "rust-nostr nostr-relay-builder local/inner.rs"),
    # A filter's limit.
    (r"limit too high\b", Meaning.LIMIT_TOO_HIGH, "purplepag.es: amethyst RelayMessagesTest.kt; nosflare"),
    (r"filter limit is too high\b", Meaning.LIMIT_TOO_HIGH, "netstr Messages.cs"),
    (r"limitation\.max_limit\b", Meaning.LIMIT_TOO_HIGH, "rnostr message.rs; relay.cxplay.org"),
    (r"limit must not exceed\b", Meaning.LIMIT_TOO_HIGH, "relay.wavefunc.live: amethyst RelayMessagesTest.kt"),
    (r"limit exceeds (?:max_limit of )?\d", Meaning.LIMIT_TOO_HIGH, "amethyst RelayMessagesTest.kt"),
    # A message that the relay does not know. The client sends five kinds; four are in NIP-01 or answer a challenge.
    (r"unknown cmd$", Meaning.UNSUPPORTED_COUNT, "strfry RelayIngester.cpp; divinevideo/divine-mobile issue 9009"),
    (r"unsupported message$", Meaning.UNSUPPORTED_COUNT, "rnostr server.rs, issue 21"),
    (r"command unrecognized$", Meaning.UNSUPPORTED_COUNT, "chorus nostr.rs"),
    (r"could not parse command$", Meaning.UNSUPPORTED_COUNT, "nostr-rs-relay server.rs: a malformed one too"),
    (r"unknown message type(?::? count)?$", Meaning.UNSUPPORTED_COUNT, "netstr, nosflare, @nostr-relay/core"),
    (r"unknown message type:? req$", Meaning.REFUSED, "netstr MessageDispatcher.cs, nosflare durable-object.ts"),
    (r"unsupported command count$", Meaning.UNSUPPORTED_COUNT, "monstr relay.py"),
    (r"unrecognized command(?:: count)?\.?$", Meaning.UNSUPPORTED_COUNT, "bostr bouncer.js"),
    (r"unknown command$", Meaning.UNSUPPORTED_COUNT, "nostrcheck-server relay.ts, which then closes with 1003"),
    (r"invalid message$", Meaning.UNSUPPORTED_COUNT, "relay.conduit.market: amethyst RelayMessagesTest.kt"),
    (r"bad message type$", Meaning.UNSUPPORTED_COUNT, "a list in a router for strfry; no relay named"),
    (
        r'\\?"value\\?" does not match any of the allowed types$',
        Meaning.UNSUPPORTED_COUNT,
        "nostream: a list in a router for strfry",
    ),
    (
        r"failed to parse envelope: unknown envelope label",
        Meaning.UNSUPPORTED_COUNT,
        "khatru handlers.go; purplepag.es",
    ),
    (
        r"count (?:is )?disabled\b",
        Meaning.UNSUPPORTED_COUNT,
        "strfry RelayIngester.cpp, nostream count-message-handler",
    ),
    # A subscription with this id exists.
    (r"duplicate subscription .{1,400}?: ignorning$", Meaning.DUPLICATE, "nostream subscribe-message-handler.ts"),
    (r"this subscription already exists$", Meaning.DUPLICATE, "rnostr server.rs"),
    (r"req command for sub_id that already exists\b", Meaning.DUPLICATE, "monstr relay.py"),
    # Authentication, without the word.
    (r"(?:nip-42 )?auth(?:entication)? required\b", Meaning.AUTH_REQUIRED, "rnostr auth.rs; unverified: ivmostr"),
    # For good.
    (r"subscription id (?:is )?too long\b", Meaning.REFUSED, "netstr Messages.cs, nostrcheck-server, cagliostr"),
    (r"subscription id should be non-empty\b", Meaning.REFUSED, "rnostr server.rs"),
    (r"invalid client message$", Meaning.REFUSED, "nostr-sdk local_relay/local/inner.rs"),
    (r"query id too long\b", Meaning.REFUSED, "nostream count-message-handler.ts"),
    (r"invalid subscription id(?: length|: must be)\b", Meaning.REFUSED, "strfry Subscription.h, nosflare"),
    (r"denied! this relay does not accept reqs\b", Meaning.REFUSED, "sendit.nosflare.com"),
    (r"json error: ", Meaning.REFUSED, "rnostr session.rs"),
    (r"failed to parse envelope: ", Meaning.REFUSED, "khatru handlers.go"),
    (r"unable to (?:parse the message|decode command string)$", Meaning.REFUSED, "netstr Messages.cs, monstr relay.py"),
    (r"invalid json format$", Meaning.REFUSED, "nosflare durable-object.ts"),
    (r"too many kinds$", Meaning.REFUSED, "nostr.land: amethyst RelayUsageListenerTest"),
    (r"(?:\S{1,64}: )?closed: too many steps$", Meaning.REFUSED, "nostr.land: amethyst RelayUsageListenerTest"),
    # The relay's own trouble.
    (r"something is wrong$", Meaning.FAILED, "rnostr server.rs"),
    (r"failed to process (?:req|count|message)\b", Meaning.FAILED, "nosflare durable-object.ts"),
    (r"(?:\S{1,64}: )?shutdown\.\.\.$", Meaning.FAILED, "cagliostr main.cxx"),
    # About things that nobody waits for.
    (r"bad close: ", None, "strfry RelayIngester.cpp"),
    (r"negentropy ", None, "strfry RelayIngester.cpp"),
    (r"bad get: |get event not found", None, "strfry RelayIngester.cpp, 2023"),
    (r"session error: ", None, "a fork of strfry"),
)
"""Sentences, matched at the start of a text in lower case; the first match decides."""

REFINEMENTS: Final = _rows(
    (
        r"\b(?:un|not |not yet |must (?:be )?)authenticate|nip-?42|\bauth(?:entication)? (?:is )?(?:required|needed)\b",
        Meaning.AUTH_REQUIRED,
        "@nostr-relay/core nostr-relay.ts, rnostr auth.rs, monstr accept_handlers.py: all after restricted:",
    ),
    (
        r"too many [\w ]{1,40} per |rate.limit|throttl|slow down|too (?:fast|recently)\b|try (?:again )?(?:in|later)\b",
        Meaning.RATE_LIMITED,
        "monstr accept_handlers.py; geode; amethyst RelayMessagesTest.kt",
    ),
    (
        r"too many (?:\w+ ){0,3}(?:subscriptions|reqs)\b|\b(?:max|maximum|limit) (?:of )?\d{1,9} subscriptions\b",
        Meaning.TOO_MANY,
        "nostr-sdk local_relay/local/inner.rs; likely wordings",
    ),
    (r"\btoo many event ids\b", Meaning.TOO_LARGE, "nosflare durable-object.ts, nostr-sdk local_relay inner.rs"),
    (r"must contain less than or equal to \d", Meaning.TOO_LARGE, "nostream: tests of jiftechnify/nostr-fetch"),
    (r"\b(?:message|request|req|query) (?:is |was )?too (?:large|big|long)\b", Meaning.TOO_LARGE, "likely wordings"),
    (
        r'limit\\?" must be less than or equal to \d',
        Meaning.LIMIT_TOO_HIGH,
        "nostream: tests of jiftechnify/nostr-fetch",
    ),
    (r"invalid enum value count\b", Meaning.UNSUPPORTED_COUNT, "nostr.wine: amethyst RelayMessagesTest.kt"),
    (
        r"nip-?45|\bcount\b.{0,30}(?:not supported|unsupported|disabled)|(?:unknown|unsupported) (?:\w+ ){0,2}count\b",
        Meaning.UNSUPPORTED_COUNT,
        "khatru handlers.go; likely wordings",
    ),
    (r"^you cannot request another user's\b", Meaning.RESTRICTED, "nostr-sdk local_relay/local/inner.rs"),
    (r"^duplicate event\b", Meaning.DUPLICATE, "cagliostr main.cxx"),
    # Cases of "error:" that no later attempt will change.
    (
        r"^(?:invalid (?:request|filter|event)|bad (?:request|json|filter|message)|json bad|malformed)\b",
        Meaning.REFUSED,
        "cagliostr main.cxx, bostr bouncer.js, chorus error.rs, nostrcheck-server relay.ts",
    ),
    (r"^expected (?:filter|subid)\b", Meaning.REFUSED, "bostr bouncer.js"),
    (
        r"^at least one filter required\b|\bfilter is required\b",
        Meaning.REFUSED,
        "nosflare; amethyst RelayReqRefusals.kt",
    ),
    (r"\bnot supported$", Meaning.REFUSED, "block/buzz req.rs"),
)
"""What the text after a word of `PREFIXES` may say in addition, searched anywhere in it."""

# One word and ": " may stand before: the id of a subscription, in front of a word that NIP-01 or 42 lists.
_LEADING = re.compile(
    r"(?:\S{1,64}: (?=(?:auth-required|restricted|rate-limited|blocked|invalid|error|unsupported): ))?"
    rf"({'|'.join(sorted(map(re.escape, PREFIXES), key=len, reverse=True))})(?::|$) ?"
)
# The text after these adds nothing.
_FINAL = frozenset({"auth-required", "duplicate", "pow", "pow-adaptive", "mute"})
_LAYERS = 4  # "error: bad msg: invalid message: ..." has three

_LIMITS = (
    re.compile(r"\bless th[ae]n or equal to (\d{1,9})\b"),  # nostream
    re.compile(r"\bmax subs=(\d{1,9})\b"),  # monstr
    re.compile(r"\bno more than (\d{1,9}) subscriptions\b"),  # chorus
    re.compile(r"\(\d{1,12} > (\d{1,9})\)"),  # nostr-rs-relay: message too large (131073 > 131072)
    re.compile(r"\bmax (\d{1,9})\b"),  # purplepag.es, nosflare: limit too high (max 500)
    re.compile(r"\bmax_(?:message_length|filters|limit) (?:of )?(\d{1,9})\b"),  # rnostr
    re.compile(r"\b(?:must not exceed|exceeds) (\d{1,9})\b"),  # relay.wavefunc.live
    re.compile(r"\blimit of (\d{1,9}) reached\b"),
    re.compile(r"\breached(?:: | \()(\d{1,9})\b"),
)
_LIMITED = frozenset({Meaning.TOO_MANY, Meaning.TOO_LARGE, Meaning.LIMIT_TOO_HIGH})

# What comes before an id: nothing (nostr.land, cagliostr), or what nostream, monstr (twice) and NIP-01 write there.
_BEFORE_ID = re.compile(r"^|\b(?:duplicate subscription|new sub_id|already exists -|duplicate:) ", re.IGNORECASE)
_NAMED_AT_MOST = 4  # a text that consists of such words names none
_WORD = re.compile(r"[\w-]")


def meaning(text: str) -> Meaning | None:
    """Return what the text of a NOTICE, CLOSED or OK requires of the client.

    None if it is not a known refusal.

    The text of a CLOSED, and of an OK that says false, is a refusal even if this returns None: treat it as
    `Meaning.REFUSED`. An empty CLOSED is not one: nostr-sdk's LocalRelay ends a REQ for ids with it once it has sent
    them all, and chorus and bostr confirm a CLOSE with it. A NOTICE for which this returns None is a greeting, news, or
    about something that nobody waits for.

    >>> meaning("ERROR: too many concurrent REQs")
    <Meaning.TOO_MANY: 'too-many'>
    >>> meaning("Welcome! Rate limits apply, see our website.")
    """
    rest = _head(text).lower()
    found: Meaning | None = None
    for _ in range(_LAYERS):
        for dialect in DIALECTS:
            if dialect.pattern.match(rest):
                return dialect.meaning
        leading = _LEADING.match(rest)
        if leading is None:
            break
        found = PREFIXES[leading[1]]
        if leading[1] in _FINAL:
            return found
        rest = rest[leading.end() :]
    if found is None:
        return None
    return next((each.meaning for each in REFINEMENTS if each.pattern.search(rest)), found)


def limit(text: str) -> int | None:
    """Return the most that the relay accepts, if a refusal names it, or None.

    The number of subscriptions for `Meaning.TOO_MANY`; of bytes, filters or values for `Meaning.TOO_LARGE`; a filter's
    ``limit`` for `Meaning.LIMIT_TOO_HIGH`. None for other texts, and if the number is 0.

    >>> limit("Subscription rejected: Too many subscriptions: Number of subscriptions must be less than or equal to 10")
    10
    """
    if meaning(text) not in _LIMITED:
        return None
    head = _head(text).lower()
    numbers = (found[1] for pattern in _LIMITS if (found := pattern.search(head)))
    return int(next(numbers, "0")) or None


def subject(text: str, ids: Iterable[str]) -> str | None:
    """Return the one of `ids` that a NOTICE names, or None.

    An id counts only where relays put one: at the start, before a colon or alone (then cagliostr sends the text as a
    third element), and where nostream and monstr name it. It must have at least three characters and no letter or digit
    next to it: "feed" is found in "feed: error: ...", but not in "we feed on your data". If several match, the longest
    is returned.

    >>> subject("REQ new sub_id feed not allowed, already at max subs=10", ["feed", "fee"])
    'feed'
    """
    head = text[:LOOKED_AT].strip()
    starts = [each.end() for each in islice(_BEFORE_ID.finditer(head), _NAMED_AT_MOST)]
    return max((each for each in ids if len(each) >= 3 and _names(head, starts, each)), key=len, default=None)


def _names(head: str, starts: list[int], id_: str) -> bool:
    for start in starts:
        if head.startswith(id_, start):
            after = head[start + len(id_) : start + len(id_) + 1]
            # At the start: "closed for repair" is not about "closed", and "error: ..." not about "error".
            if not _WORD.match(after) if start else after in {"", ":"} and id_.lower() not in PREFIXES:
                return True
    return False


def _head(text: str) -> str:
    return " ".join(text[:LOOKED_AT].split())
