"""Single live events, 1,000 per second for 3 seconds: their latency and CPU time. Lower is better.

The latency is from the relay's send to the client's callback, on the monotonic clock that all processes share; each run
yields the median. The CPU time is that of the client's whole process from the REQ to the last event, divided by the
number of events: most of it is spent on waking up.

monstr is a Nostr client; "straightforward" is websocket-client and json in one thread, and a pykka actor in another;
"reader" is the same without the actor: there is no second thread to wake, so this is the least possible with
websocket-client. Each runs in its own process, the relay in another; see `benchmarks.clients`.
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
