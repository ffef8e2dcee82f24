"""Receiving, with every id and signature verified: events per second from the REQ to the last callback.

20,000 events in all, from one relay and from eight that each send a part of them: they are distinct, because nostr-sdk
reports an event only the first time that it sees it. nostr-sdk and pynostr always verify. monstr's own check, which
its user has to call, covers only the signature: an event whose content was changed passes. So monstr is measured with
that check alone, and with an additional check of the id, which the other clients make.

gennostr is measured twice: with `verify` alone, and with a subscription of the client too, which delivers each event
once and matches it against its filter, as nostr-sdk's does.

Each client runs in its own process, the relays in another; see `benchmarks.clients`.
"""

from benchmarks import measure
from benchmarks.clients import rates
from benchmarks.events import COUNT
from benchmarks.relays import relay_process

CLIENTS = [
    "gennostr, verifying",
    "gennostr, subscribing",
    "monstr, verifying",
    "monstr, signatures only",
    "nostr-sdk",
    "pynostr",
]
RELAYS = 8


def main() -> None:
    """Measure and print."""
    packages = ["gennostr", "coincurve", "monstr", "secp256k1", "nostr-sdk", "pynostr"]
    measure.heading("Receiving, verified", packages)
    with relay_process(RELAYS) as url:
        for relays in (1, RELAYS):
            urls = [f"{url}/slice/{number}/{relays}" for number in range(relays)]
            found = rates(CLIENTS, COUNT, urls)
            measure.table(f"{COUNT:,} events, {relays} relay(s)", CLIENTS[0], found, "events/s")


if __name__ == "__main__":
    main()
