"""What one relay takes: by its information document (NIP-11), and by what its refusals have shown."""

from typing import Final

from gennostr.nostr.relay_information import RelayInformation

FULL: Final = 20
"""Stored events from which on a relay may have had more of them, unless it says so, or that it sends fewer at once."""
FETCH_AGAIN: Final = 300.0
"""Seconds after which a relay that had no information document is asked for it again, on a new connection."""
SMALLEST_SIZE: Final = 1_024
"""Bytes that every relay takes, whatever it says."""
SIZES: Final = (1_048_576, 512_000, 131_072, 65_536, 32_768, 16_384, 8_192, 4_096, 2_048, SMALLEST_SIZE)
"""The limits of a message's bytes that relays have, such as khatru's (512,000), strfry's and nostr-rs-relay's (131,072)
and the one in NIP-11's example (16,384), and what lies between: what is too large is tried again with the next."""


class RelayLimits:
    """One relay's, over all its connections; None is no limit, as far as is known."""

    def __init__(self) -> None:
        self.subscriptions: int | None = None
        """How many REQs can be open at once."""
        self.size: int | None = None
        """How many bytes a message can have, for the relay and for our own outbox."""
        self.known = False
        """Whether the document was fetched, or there is none."""
        self.outbox_size: int | None = None
        """Bytes that our own outbox holds."""
        self.full = FULL
        """Stored events from which on the relay may have had more of them."""
        self.max_limit: int | None = None
        """The greatest ``limit`` of a filter."""
        self.counts = True
        """Whether it answers COUNT, as far as this connection has shown."""
        self._asked_at: float | None = None
        self._has_none = False
        # Of the document, and as refusals have shown.
        self._max_subscriptions: int | None = None
        self._max_open: int | None = None
        self._max_length: int | None = None
        self._max_taken: int | None = None

    def connected(self, outbox_size: int, now: float) -> None:
        """Begin with a new connection; `now` is on the monotonic clock."""
        self.outbox_size = outbox_size
        self.counts = True
        self._combine()
        if self._has_none and self._asked_at is not None and now - self._asked_at > FETCH_AGAIN:
            self._asked_at, self.known, self._has_none = None, False, False

    def ask(self, now: float) -> bool:
        """Whether the document is to be fetched now: it is wanted, and was not asked for yet."""
        if self._asked_at is not None:
            return False
        self._asked_at = now
        return True

    def inform(self, information: RelayInformation | None) -> None:
        """Take the document, or None: there is none."""
        self.known = True
        self._has_none = information is None
        self._max_subscriptions = self._max_length = None
        self.full = FULL
        if information is not None:
            limits = information.limitation
            self._max_subscriptions = limits.max_subscriptions
            self._max_length = limits.max_message_length
            self.full = min(limits.max_limit or FULL, limits.default_limit or FULL, FULL)
        self._combine()

    def _combine(self) -> None:
        """Take the lower of what the document and the refusals say."""
        self.subscriptions = _lowest(self._max_subscriptions, self._max_open)
        relay = _lowest(self._max_length, self._max_taken)
        if relay is not None:
            relay = max(relay, SMALLEST_SIZE)
        self.size = _lowest(relay, self.outbox_size)

    def learn_subscriptions(self, open_: int) -> bool:
        """Note that a REQ was one too many beside `open_` others; return whether that is news."""
        if self._max_open is not None and self._max_open <= open_:
            return False
        self._max_open = open_
        self._combine()
        return True

    def learn_size(self, size: int) -> bool:
        """Note that a message of `size` bytes was too large; return whether smaller ones can be sent."""
        smaller = next((each for each in SIZES if each < size), None)
        if smaller is None:
            return False
        self._max_taken = _lowest(smaller, self._max_taken)
        self._combine()
        return True

    def learn_limit(self, limit: int | None) -> bool:
        """Note the greatest ``limit`` that a refusal has named, if any; return whether it is lower than before."""
        if limit is None or limit < 1 or (self.max_limit is not None and limit >= self.max_limit):
            return False
        self.max_limit = limit
        return True


def _lowest(*limits: int | None) -> int | None:
    return min((each for each in limits if each is not None), default=None)
