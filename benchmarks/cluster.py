"""Two shards against one process: events per second to the callbacks, from eight relays; and a shard's restart.

``python -m benchmarks.cluster [--rounds N] [--kills N]``. The client counts events of its subscription; in the cluster
it does so in each shard, and each shard has four of the relays. Unverified, each relay sends all 20,000 events,
verified an eighth of them. The clock runs from the subscription, when all relays are connected, to the last callback.

The restart is timed from the kill of a shard's process (SIGKILL) until its successor's callback has an event of its
relay again.

Each contender runs in its own process, the relays in another. ``python -m benchmarks.cluster run NAME URL...`` runs one
and prints its figures as JSON.
"""

import argparse
import json
import logging
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from benchmarks import measure
from benchmarks.events import COUNT, SUBSCRIPTION
from benchmarks.relays import relay_process
from gennostr import GenNostr, NoReply, Ok, reply
from gennostr.cluster import Cluster, ShardUp
from gennostr.cluster.assignment import assign
from gennostr.testing import MemoryRelay, Probe

RELAYS = 8
SHARDS = 2
_FILTER: dict[str, Any] = {"kinds": [1, 7, 30023]}


class Tally(GenNostr[None]):
    """Counts events and connections; a call with two numbers is answered with the times when there are so many.

    The times are that of the clock, which is the same in all processes, and of this process's processors.
    """

    def init(self, argument: None) -> Ok[None]:
        """Begin at zero."""
        self.events = self.connected = 0
        self.wanted = (-1, -1)
        self.waiting: Any = None
        return Ok(None)

    def handle_connect(self, relay: Any, state: None) -> None:
        """Count a connection."""
        self.connected += 1
        self._check()

    def handle_event(self, message: Any, relay: Any, state: None) -> None:
        """Count an event."""
        self.events += 1
        if self.events == self.wanted[1]:
            self._check()

    def handle_call(self, request: tuple[int, int], from_: Any, state: None) -> NoReply[None]:
        """Answer when there are so many connections and events."""
        self.wanted, self.waiting = request, from_
        self._check()
        return NoReply()

    def _check(self) -> None:
        if self.waiting is not None and self.connected >= self.wanted[0] and self.events >= self.wanted[1]:
            reply(self.waiting, (time.perf_counter(), time.process_time()))
            self.waiting = None


def one_process(urls: Sequence[str], events: int, *, verify: bool) -> dict[str, float]:
    """Use one client; return the figures."""
    with Tally.start() as client:
        for url in urls:
            client.add_relay(url, verify=verify)
        _, before = client.call((len(urls), 0), None)
        began = time.perf_counter()
        client.subscribe(_FILTER, SUBSCRIPTION)
        ended, after = client.call((0, events * len(urls)), None)
    return figures(events * len(urls), ended - began, after - before)


def two_shards(urls: Sequence[str], events: int, *, verify: bool) -> dict[str, float]:
    """Use a cluster; return the figures."""
    share = len(urls) // SHARDS
    with Cluster.start(Tally, shards=SHARDS) as cluster, ThreadPoolExecutor() as threads:
        for url in urls:
            cluster.add_relay(url, verify=verify)
        before = cluster.call_all((share, 0), None)
        began = time.perf_counter()
        cluster.subscribe(_FILTER, SUBSCRIPTION)
        calls = [
            threads.submit(partial(cluster.call, (0, share * events), None, shard=number)) for number in range(SHARDS)
        ]
        after = [call.result() for call in calls]
    processor = sum(each[1] for each in after) - sum(each[1] for each in before.values())
    return figures(events * len(urls), max(each[0] for each in after) - began, processor)


def figures(events: int, seconds: float, processor: float) -> dict[str, float]:
    """Return the figures of a run."""
    return {"rate": events / seconds, "processor": processor / events * 1e6}


CONTENDERS: dict[str, Callable[..., dict[str, float]]] = {"two shards": two_shards, "one process": one_process}


def placed(url: str, number: int) -> str:
    """Return a url of the same relay which the given shard has."""
    return next(each for each in (f"{url}?{suffix}" for suffix in range(1000)) if assign(each, range(SHARDS)) == number)


def restart() -> float:
    """Return the seconds from a shard's kill until an event arrives again."""
    with MemoryRelay() as relay, Cluster.start(Tally, shards=1) as cluster, Probe() as probe:
        relay.store(kind=1)
        cluster.monitor_shards()
        cluster.subscribe(_FILTER, SUBSCRIPTION)
        cluster.add_relay(relay.url)
        cluster.call((1, 1), None)
        process_id = cluster.list_shards()[0].process_id
        assert process_id is not None
        began = time.perf_counter()
        os.kill(process_id, signal.SIGKILL)
        probe.fish_for(ShardUp, timeout=60)
        ended: float = cluster.call((1, 1), None)[0]
    return ended - began


def compare(rounds: int, kills: int) -> None:
    """Measure and print."""
    measure.heading("Two shards and one process", ["gennostr", "coincurve"], rounds)
    with relay_process(RELAYS) as url:
        for what, events, paths in (
            ("unverified", COUNT, [f"{url}/flood/{number}" for number in range(RELAYS)]),
            ("verified", COUNT // RELAYS, [f"{url}/slice/{number}/{RELAYS}" for number in range(RELAYS)]),
        ):
            urls = [placed(path, number % SHARDS) for number, path in enumerate(paths)]
            command = ("benchmarks.cluster", "run", what, str(events))
            found = measure.figures(
                {name: partial(measure.in_process, *command, name, *urls) for name in CONTENDERS}, rounds
            )
            print(f"\n{events * RELAYS:,} events, {RELAYS} relays, {what}")
            measure.rows({"events/s": found["rate"], "CPU of an event, us": found["processor"]})
    if kills:
        logging.disable()  # each kill is logged
        times = [restart() for _ in range(kills)]
        print(
            f"\nkilled until read again, {kills} times: median {statistics.median(times):.2f} s, most {max(times):.2f}"
        )


def main() -> None:
    """Measure and print, or run as a contender."""
    if sys.argv[1:2] == ["run"]:
        what, events, name, *urls = sys.argv[2:]
        print(json.dumps(CONTENDERS[name](urls, int(events), verify=what == "verified")))
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description="Two shards and one process.")
    parser.add_argument("--rounds", type=int, default=measure.ROUNDS)
    parser.add_argument("--kills", type=int, default=20)
    compare(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
