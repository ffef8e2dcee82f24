"""Which shard has a relay: rendezvous hashing of the relay's url.

Each shard's number and the url are hashed together, and the shard with the greatest hash has the relay. So a relay's
place depends on the url and on the numbers alone, in each Python process; and if a shard is added or removed, only its
own relays move.
"""

from collections.abc import Iterable
from hashlib import blake2b


def assign(url: str, numbers: Iterable[int]) -> int:
    """Return the number of the shard that has a relay.

    >>> from gennostr.cluster.assignment import assign
    >>> [assign("wss://relay.example/", range(shards)) for shards in (1, 2, 3, 4)]
    [0, 1, 1, 1]

    Args:
        url: the relay's normalized url.
        numbers: the numbers of the shards; at least one.

    """
    relay = blake2b(url.encode(), digest_size=8)

    def score(number: int) -> bytes:
        hashed = relay.copy()
        hashed.update(b"\0%d" % number)  # no url contains a null
        return hashed.digest()

    return max(numbers, key=score)
