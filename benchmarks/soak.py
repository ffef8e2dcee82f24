"""A soak test: ``python -m benchmarks.soak [--minutes 30] [--relays 20] [--seed N] [--plot soak.svg]``.

The relays run in their own process and flap: every second one of them, chosen at random from the seed, resets its
connections, or stops or comes back. The client subscribes at every relay that it connects to, publishes ten events per
second to all, sleeps for 0.2 s in every thousandth callback, and is called from another thread; every five seconds a
relay is removed and added again.

At the end, memory, descriptors and threads must be flat: the median of the last third may exceed that of the second
third by 5 %, plus one descriptor or thread. Each connection attempt must have ended exactly once, and the log may
contain no warnings except those in `EXPLAINED`. Otherwise the exit status is 1. The plot is an SVG.

A removal between two attempts is reported as a disconnect too: so there can be more ends than attempts, but at most by
the number of removals.
"""

import argparse
import json
import logging
import multiprocessing
import random
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.measure import machine, resident
from gennostr import REMOVE_RELAY, GenNostr, Ok, Relay, RelayNotFound, Reply
from gennostr.nostr.messages import EventMessage
from gennostr.otp import telemetry
from gennostr.testing import make_event
from gennostr.testing.memory_relay import MemoryRelay

EPHEMERAL = 20001
"""A kind that relays do not store, as their memory is not what is measured."""
SAMPLE_EVERY = 5.0
EXPLAINED = {
    "a broadcast skipped a relay: %s": (
        "a connection that is down, or has just ended, has a full outbox: Overflow, which is logged"
    ),
}
LIMITS = {"memory, MiB": (1.05, 0.0), "descriptors": (1.05, 1.0), "threads": (1.05, 1.0)}
"""How much the last third may exceed the second: by this factor, plus this number."""


def _flap(pipe: Connection, relays: int, seed: int) -> None:
    """Run the relays until a message arrives on `pipe`."""
    draw = random.Random(seed)
    running = [MemoryRelay() for _ in range(relays)]
    pipe.send([relay.url for relay in running])
    down: list[MemoryRelay] = []
    while not pipe.poll(1.0):
        if down and draw.random() < 0.6:
            back = draw.choice(down)
            with suppress(OSError):  # its port is in use by another connection: try again later
                back.start()
                down.remove(back)
            continue
        relay = draw.choice([each for each in running if each not in down])
        if len(down) < relays // 4 and draw.random() < 0.5:
            relay.stop()
            down.append(relay)
        else:
            relay.drop()
    for relay in running:
        relay.stop()


class Night(GenNostr[dict[str, int]]):
    """Counts its callbacks."""

    def init(self, init_arg: Sequence[str]) -> Ok[dict[str, int]]:
        """Add the relays."""
        for url in init_arg:
            self.add_relay(url, reconnect=[0.2, 0.5, 1.0, 2.0])
        return Ok(Counter())

    def handle_connect(self, relay: Relay, state: dict[str, int]) -> None:
        """Subscribe."""
        state["connects"] += 1
        self.send_message(["REQ", "night", {"kinds": [EPHEMERAL]}], relay)

    def handle_event(self, message: EventMessage, relay: Relay, state: dict[str, int]) -> None:
        """Count, and sleep now and then."""
        del message, relay
        state["events"] += 1
        if state["events"] % 1000 == 0:
            time.sleep(0.2)

    def handle_error(self, reason: Any, relay: Relay, state: dict[str, int]) -> None:
        """Count."""
        del relay
        state["errors"] += 1
        state[f"error {type(reason).__name__}"] += 1

    def handle_disconnect(self, reason: Any, relay: Relay, state: dict[str, int]) -> None:
        """Count, and let the default reconnect."""
        state["disconnects"] += 1
        super().handle_disconnect(reason, relay, state)

    def handle_call(self, request: Any, from_: Any, state: dict[str, int]) -> Reply[dict[str, int]]:
        """Return the counts."""
        del request, from_
        return Reply(dict(state))


class _Warnings(logging.Handler):
    """Counts log records by their message, without the arguments."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seen: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        self.seen[str(record.msg)] += 1
        if str(record.msg) not in EXPLAINED:
            print(f"unexplained: {record.getMessage()}", file=sys.stderr, flush=True)


def _held() -> dict[str, float]:
    return {
        "memory, MiB": resident() / 2**20,
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
    }


def _use(pid: Any, urls: Sequence[str], until: float, seed: int) -> list[dict[str, float]]:
    """Use the client from this thread; return the samples."""
    draw = random.Random(seed + 1)
    samples: list[dict[str, float]] = []
    begun = time.monotonic()
    next_sample = begun
    turn = 0
    while (now := time.monotonic()) < until:
        turn += 1
        pid.broadcast_message(["EVENT", make_event(kind=EPHEMERAL)])
        if turn % 50 == 0:
            url = draw.choice(urls)
            try:
                pid.remove_relay(url)
            except RelayNotFound:
                pass  # between two attempts; adding it below starts the next one at once
            pid.add_relay(url, reconnect=[0.2, 0.5, 1.0, 2.0])
        if now >= next_sample:
            next_sample += SAMPLE_EVERY
            counts: Mapping[str, int] = pid.call("counts", timeout=30.0)
            if len(samples) > 2 and counts.get("events", 0) == samples[-1]["events"]:
                raise RuntimeError("nothing was received for a while: are the relays gone?")
            samples.append({"seconds": now - begun, **_held(), "events": counts.get("events", 0)})
            print(json.dumps(samples[-1]), flush=True)
        time.sleep(0.1)
    return samples


def _is_flat(samples: Sequence[Mapping[str, float]]) -> bool:
    """Print the medians of each third; return whether they are flat."""
    third = len(samples) // 3
    flat = True
    print(f"\n{'median of the':16}{'first third':>14}{'second':>12}{'last':>12}")
    for what, (factor, more) in LIMITS.items():
        medians = [statistics.median(each[what] for each in samples[at : at + third]) for at in (0, third, 2 * third)]
        fits = medians[2] <= medians[1] * factor + more
        flat = flat and fits
        print(f"{what:16}{medians[0]:14.1f}{medians[1]:12.1f}{medians[2]:12.1f}  {'flat' if fits else 'NOT FLAT'}")
    return flat


def plot(samples: Sequence[Mapping[str, float]]) -> str:
    """Return an SVG with the curves, one below the other, each starting at zero."""
    width, height, margin = 900, 150, 40
    last = samples[-1]["seconds"]
    parts = []
    for place, what in enumerate([*LIMITS, "events"]):
        top = place * (height + margin) + margin
        most = max(each[what] for each in samples) or 1.0
        points = " ".join(
            f"{margin + each['seconds'] / last * width:.1f},{top + height - each[what] / most * height:.1f}"
            for each in samples
        )
        parts += [
            f'<text x="{margin}" y="{top - 8}">{what}: at most {most:,.1f}; {last / 60:.0f} minutes</text>',
            f'<rect x="{margin}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#bbb"/>',
            f'<polyline points="{points}" fill="none" stroke="#06c"/>',
        ]
    size = f'width="{width + 2 * margin}" height="{4 * (height + margin) + margin}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">'
    return "\n".join([head, *parts, "</svg>", ""])


def main() -> int:
    """Run the soak test; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--relays", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--plot", type=Path, default=Path("soak.svg"))
    given = parser.parse_args()
    print(
        f"{given.minutes:g} minutes, {given.relays} relays, seed {given.seed}; {machine('pykka', 'websocket-client')}"
    )
    warnings = _Warnings()
    logging.getLogger().addHandler(warnings)
    attempts: Counter[str] = Counter()
    counting = threading.Lock()  # connections and the client count concurrently

    def count(name: str, measurements: Mapping[str, float], metadata: Mapping[str, object]) -> None:
        del measurements
        with counting:
            attempts[name] += 1
            if metadata.get("reason") is REMOVE_RELAY:
                attempts["removed"] += 1

    spawn = multiprocessing.get_context("spawn")
    pipe, theirs = spawn.Pipe()
    relays = spawn.Process(target=_flap, args=(theirs, given.relays, given.seed), daemon=True)
    relays.start()
    urls: list[str] = pipe.recv()
    before = _held()
    telemetry.attach(count)
    with Night.start(urls) as pid:
        samples = _use(pid, urls, time.monotonic() + given.minutes * 60, given.seed)
        for url in urls:
            try:
                pid.remove_relay(url)
            except RelayNotFound:
                pass
        counts: Mapping[str, int] = pid.call("counts", timeout=30.0)
    telemetry.detach(count)
    after = _held()
    pipe.send("end")
    relays.join(30)
    given.plot.write_text(plot(samples), encoding="utf-8")
    flat = _is_flat(samples)
    print(f"\n{dict(sorted(counts.items()))}")
    begun, ends, removed = attempts["connection.attempt"], attempts["connection.down"], attempts["removed"]
    print(f"attempts {begun}, up {attempts['connection.up']}; ends {ends}, {removed} of them removals")
    print(f"before the client {before}\nafter it           {after}")
    for text, number in warnings.seen.items():
        print(f"logged {number} times: {text!r}: {EXPLAINED.get(text, 'UNEXPLAINED')}")
    print(f"plot: {given.plot}")
    each_ended = ends - removed <= begun <= ends
    good = flat and each_ended and warnings.seen.keys() <= EXPLAINED.keys() and after["threads"] == before["threads"]
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
