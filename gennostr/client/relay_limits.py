"""The limits of one relay.

They come from its information document (NIP-11), and from its refusals.
"""

from typing import Final

from gennostr.nostr.relay_information import RelayInformation

FULL_ANSWER: Final = 20
"""A relay that sends so many stored events may have more, unless its hints say otherwise.

If a limit in its document is lower, that counts instead.
"""
FETCH_AGAIN: Final = 300.0
"""Seconds after which the document of a relay that had none is requested again, on a new connection."""
SMALLEST_SIZE: Final = 1_024
"""Bytes that every relay accepts, whatever it says."""
SIZES: Final = (1_048_576, 512_000, 131_072, 65_536, 32_768, 16_384, 8_192, 4_096, 2_048, SMALLEST_SIZE)
"""The message sizes in bytes to try: after a message that was too large, the next smaller one.

They are limits of relays, such as khatru's (512,000), strfry's and nostr-rs-relay's (131,072) and the one in NIP-11's
example (16,384), and sizes in between.
"""


class RelayLimits:
    """The limits of one relay, over all its connections.

    None: no limit, as far as is known.
    """

    def __init__(self) -> None:
        self.subscriptions: int | None = None
        """How many REQs can be open at once."""
        self.size: int | None = None
        """The largest message in bytes, for the relay and for our own outbox."""
        self.known = False
        """Whether the document was fetched, or is known to be missing."""
        self.outbox_size: int | None = None
        """The size of our own outbox in bytes."""
        self.full = FULL_ANSWER
        """The number of stored events from which on the relay may have more of them."""
        self.max_limit: int | None = None
        """The greatest ``limit`` of a filter."""
        self.counts = True
        """Whether the relay answers COUNT, as far as this connection has shown."""
        self._asked_at: float | None = None
        self._has_none = False
        # From the document, and as refusals have shown.
        self._max_subscriptions: int | None = None
        self._max_open: int | None = None
        self._max_length: int | None = None
        self._max_taken: int | None = None

    def connected(self, outbox_size: int, now: float) -> None:
        """Start a new connection; `now` is on the monotonic clock."""
        self.outbox_size = outbox_size
        self.counts = True
        self._combine()
        if self._has_none and self._asked_at is not None and now - self._asked_at > FETCH_AGAIN:
            self._asked_at, self.known, self._has_none = None, False, False

    def ask(self, now: float) -> bool:
        """Whether to fetch the document now: it is wanted, and was not requested yet."""
        if self._asked_at is not None:
            return False
        self._asked_at = now
        return True

    def inform(self, information: RelayInformation | None) -> None:
        """Use the document; None: the relay has no document."""
        self.known = True
        self._has_none = information is None
        self._max_subscriptions = self._max_length = None
        self.full = FULL_ANSWER
        if information is not None:
            limits = information.limitation
            self._max_subscriptions = limits.max_subscriptions
            self._max_length = limits.max_message_length
            self.full = min(limits.max_limit or FULL_ANSWER, limits.default_limit or FULL_ANSWER, FULL_ANSWER)
        self._combine()

    def _combine(self) -> None:
        """Take the lower of the limits from the document and from refusals."""
        self.subscriptions = _lowest(self._max_subscriptions, self._max_open)
        relay = _lowest(self._max_length, self._max_taken)
        if relay is not None:
            relay = max(relay, SMALLEST_SIZE)
        self.size = _lowest(relay, self.outbox_size)

    def learn_subscriptions(self, open_: int) -> bool:
        """Record that a REQ was one too many in addition to `open_` others.

        Return whether that is new.
        """
        if self._max_open is not None and self._max_open <= open_:
            return False
        self._max_open = open_
        self._combine()
        return True

    def learn_size(self, size: int) -> bool:
        """Record that a message of `size` bytes was too large.

        Return whether smaller ones can be sent.
        """
        smaller = next((each for each in SIZES if each < size), None)
        if smaller is None:
            return False
        self._max_taken = _lowest(smaller, self._max_taken)
        self._combine()
        return True

    def learn_limit(self, limit: int | None) -> bool:
        """Record the greatest ``limit`` named by a refusal, if any.

        Return whether it is lower than before.
        """
        if limit is None or limit < 1 or (self.max_limit is not None and limit >= self.max_limit):
            return False
        self.max_limit = limit
        return True


def _lowest(*limits: int | None) -> int | None:
    return min((each for each in limits if each is not None), default=None)
