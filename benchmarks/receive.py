"""Receiving, unverified: events per second from the REQ to the last callback, against three other clients.

One relay that sends 20,000 events at once, and eight that send 20,000 each. monstr and aionostr are Nostr clients;
"straightforward" is what a straightforward port would do: websocket-client and json in a thread per relay, which send
the messages to a pykka actor.

Then this library alone, with relays that compress (permessage-deflate) and relays that do not: events per second, the
CPU time of its process, and the bytes on the wire.

Each client runs in its own process, the relays in another; see `benchmarks.clients`.
"""

from functools import partial

from benchmarks import measure
from benchmarks.clients import rates
from benchmarks.events import COUNT
from benchmarks.relays import relay_process

CLIENTS = ["gennostr", "monstr", "aionostr", "straightforward"]
RELAYS = 8


def compression(url: str, relays: int) -> None:
    """Measure and print what compression costs and saves."""
    events = COUNT * relays
    urls = {
        name: [f"{url}/{path}/{number}" for number in range(relays)]
        for name, path in (("compressed", "compressed"), ("plain", "flood"))
    }
    command = ("benchmarks.clients", "gennostr", "flood", str(events))
    found = measure.figures({name: partial(measure.in_process, *command, *each) for name, each in urls.items()})
    print(f"\n{events:,} events, {relays} relay(s)")
    measure.rows(
        {
            "events/s": {name: events / each for name, each in found["seconds"].items()},
            "CPU, us/event": found["processor"],
            "on the wire, bytes/event": found["bytes"],
        }
    )


def main() -> None:
    """Measure and print."""
    measure.heading("Receiving, unverified", ["gennostr", "monstr", "aionostr", "websocket-client", "pykka"])
    with relay_process(RELAYS, compressed=True) as url:
        for relays in (1, RELAYS):
            events = COUNT * relays
            found = rates(CLIENTS, events, [f"{url}/flood/{number}" for number in range(relays)])
            measure.table(f"{events:,} events, {relays} relay(s)", "gennostr", found, "events/s")
        for relays in (1, RELAYS):
            compression(url, relays)


if __name__ == "__main__":
    main()
