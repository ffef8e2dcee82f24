"""Events that come singly, 1,000 a second for 3 seconds: how late they are, and what they cost. Lower is better.

The latency is from the relay's send to the client's callback, on the clock that the machine's processes share; of each
run it is the median. The processor's time is that of the client's whole process, between the REQ and the last event,
divided by the events: most of it goes into waking up.

monstr is a client of Nostr; "straightforward" is websocket-client and json in one thread, and a pykka actor in another;
"reader" is that without the actor: no second thread to wake, so the least that is possible with websocket-client. Each
runs in a process of its own, the relay in another; see `benchmarks.clients`.
"""

import statistics
from collections import defaultdict
from functools import partial

from benchmarks import measure
from benchmarks.relays import relay_process

CLIENTS = ["gennostr", "monstr", "straightforward", "reader"]
RATE = 1_000
EVENTS = 3 * RATE


def main() -> None:
    """Measure and print."""
    measure.heading("Live events; lower is better", ["gennostr", "monstr", "websocket-client", "pykka"])
    processor: defaultdict[str, list[float]] = defaultdict(list)

    def latency(name: str, url: str) -> float:
        figures = measure.in_process("benchmarks.clients", name, "live", str(EVENTS), url)
        processor[name].append(figures["processor"])
        return figures["p50"]

    with relay_process(streams=False) as url:
        latencies = measure.interleaved({name: partial(latency, name, f"{url}/live/{RATE}") for name in CLIENTS})
    measure.table("latency, median", "gennostr", latencies, "us")
    costs = {name: statistics.median(seen) for name, seen in processor.items()}
    measure.table("processor time of an event", "gennostr", costs, "us")


if __name__ == "__main__":
    main()
