"""Receiving, unverified: events per second from the REQ to the last callback, against three other clients.

One relay that sends 20,000 events at once, and eight that send 20,000 each. monstr and aionostr are Nostr clients;
"straightforward" is what a straightforward port would do: websocket-client and json in a thread per relay, which send
the messages to a pykka actor.

Each client runs in its own process, the relays in another; see `benchmarks.clients`.
"""

from benchmarks import measure
from benchmarks.clients import rates
from benchmarks.events import COUNT
from benchmarks.relays import relay_process

CLIENTS = ["gennostr", "monstr", "aionostr", "straightforward"]
RELAYS = 8


def main() -> None:
    """Measure and print."""
    measure.heading("Receiving, unverified", ["gennostr", "monstr", "aionostr", "websocket-client", "pykka"])
    with relay_process(RELAYS) as url:
        for relays in (1, RELAYS):
            events = COUNT * relays
            found = rates(CLIENTS, events, [f"{url}/flood/{number}" for number in range(relays)])
            measure.table(f"{events:,} events, {relays} relay(s)", "gennostr", found, "events/s")


if __name__ == "__main__":
    main()
