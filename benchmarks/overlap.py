"""The same events from many relays: 5,000 signed notes from 1, 2, 8 and 16 relays, each verified and delivered once.

``python -m benchmarks.overlap [--rounds N] [--relays N...] [--order ORDER] [--fields FIELDS]``. By default each relay
sends the newest event first, each in an order that differs a little from the others'; ``--order shuffled`` gives each
relay an order of its own, ``--order equal`` all the same. ``--fields alphabetical`` sends the fields of events in the
order that strfry uses.

The clock runs from the subscription, when all relays are connected, to the last new event and to the last relay's EOSE.
Events on the wire are counted with all their copies. The cost of a copy is the processor time that more than one relay
takes beyond that of one relay, by the number of copies.

The baselines are nostr-sdk's stream of events, which ends with the last EOSE, and nostr-tools' pool, where ``node`` and
``npm`` are installed: its packages are installed in a temporary folder. Both verify, and deliver each event once.

Each contender checks that it has delivered each event exactly once. Each runs in its own process, the relays in
another. ``python -m benchmarks.overlap run NAME URL...`` runs one and prints its figures as JSON.
"""

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.events import NOTES, SUBSCRIPTION
from benchmarks.relays import FIELDS, ORDERS, relay_process
from gennostr import GenNostr, Ok, Relay

RELAYS = (1, 2, 8, 16)
PACKAGES = ("nostr-tools", "nostr-wasm", "ws")
"""What nostr-tools needs in Node: its verification in WebAssembly, and a WebSocket."""
_FILTER: dict[str, Any] = {"kinds": [1]}


class Run:
    """The figures of one contender's run."""

    def __init__(self) -> None:
        self.delivered: list[Any] = []
        self._began = self._latest = 0.0
        self._processor = 0.0

    def begin(self) -> None:
        """Start the clock, when the subscription is sent."""
        self._processor = time.process_time()
        self._began = time.perf_counter()

    def event(self, event: object) -> None:
        """Keep an event that was delivered, or its id."""
        self.delivered.append(event)
        self._latest = time.perf_counter()

    def end(self) -> dict[str, float]:
        """Return the figures, when the last EOSE has been delivered; times are in seconds."""
        ended, processor = time.perf_counter(), time.process_time()
        return {
            "new": self._latest - self._began,
            "eose": ended - self._began,
            "processor": processor - self._processor,
        }


def gennostr(urls: Sequence[str]) -> dict[str, float]:
    """Use this library's subscriptions."""
    run, connected, done = Run(), threading.Semaphore(0), threading.Event()
    figures: dict[str, float] = {}
    left = len(urls)

    class Feed(GenNostr[None]):
        deduplicate = True

        def init(self, init_arg: Any) -> Any:
            del init_arg
            for url in urls:
                self.add_relay(url, verify=True)
            return Ok(None)

        def handle_connect(self, relay: Relay, state: None) -> None:
            del relay, state
            connected.release()

        def handle_event(self, message: Any, relay: Relay, state: None) -> None:
            del relay, state
            run.event(message.event.id)

        def handle_eose(self, message: Any, relay: Relay, state: None) -> None:
            nonlocal left
            del message, relay, state
            left -= 1
            if not left:
                figures.update(run.end())
                done.set()

    with Feed.start() as feed:
        for _ in urls:
            connected.acquire()
        run.begin()
        feed.subscribe(_FILTER, SUBSCRIPTION)
        done.wait()
    _check(run.delivered)
    return figures


def nostr_sdk(urls: Sequence[str]) -> dict[str, float]:
    """Use nostr-sdk's stream of events."""
    import nostr_sdk as sdk  # noqa: PLC0415

    async def main() -> dict[str, float]:
        run = Run()
        client = sdk.ClientBuilder().build()
        for url in urls:
            await client.add_relay(sdk.RelayUrl.parse(url))
        await client.connect(and_wait=timedelta(seconds=5))
        wanted = sdk.Filter().kinds([sdk.Kind(kind) for kind in _FILTER["kinds"]])
        run.begin()
        stream = await client.stream_events(sdk.ReqTarget.auto([wanted]), id=SUBSCRIPTION)
        while (item := await stream.next()) is not None:
            if item.event is not None:
                run.event(item.event)
        figures = run.end()
        await client.shutdown()
        _check([event.id().to_hex() for event in run.delivered])
        return figures

    return asyncio.run(main())


def _check(delivered: Sequence[str]) -> None:
    """End the process if not each of the events was delivered exactly once."""
    distinct = len(set(delivered))
    if len(delivered) != NOTES or distinct != NOTES:
        sys.exit(f"{len(delivered)} events were delivered, {distinct} distinct ones")


CONTENDERS: dict[str, Callable[[Sequence[str]], dict[str, float]]] = {"gennostr": gennostr, "nostr-sdk": nostr_sdk}


def install(folder: Path) -> str | None:
    """Install nostr-tools in `folder`; return its version, or None and print why it cannot be measured."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        print("nostr-tools is left out: node and npm are not installed")
        return None
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"nostr-tools is left out: npm could not install it: {done.stderr.strip()}")
        return None
    shutil.copy(Path(__file__).with_suffix(".mjs"), folder)
    package = json.loads((folder / "node_modules" / "nostr-tools" / "package.json").read_text(encoding="utf-8"))
    return str(package["version"])


def nostr_tools(folder: Path, urls: Sequence[str]) -> dict[str, float]:
    """Run the contender for nostr-tools, which is installed in `folder`."""
    command = ["node", "overlap.mjs", str(NOTES), SUBSCRIPTION, json.dumps(_FILTER), *urls]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def show(figures: Mapping[str, Mapping[str, float]], names: Sequence[str], relays: int) -> None:
    """Print the figures with so many relays."""
    wire = NOTES * relays

    def line(what: str, count: int = relays) -> dict[str, float]:
        return {name: figures[what][f"{name}, {count}"] for name in names}

    lines = {
        "until the last new event, s": line("new"),
        "until the last EOSE, s": line("eose"),
        "events on the wire, /s": {name: wire / seconds for name, seconds in line("eose").items()},
        "CPU of an event on the wire, us": {name: each / wire * 1e6 for name, each in line("processor").items()},
    }
    if relays > 1 and f"{names[0]}, 1" in figures["processor"]:
        alone = line("processor", 1)
        copies = wire - NOTES
        lines["CPU of a copy, us"] = {
            name: (each - alone[name]) / copies * 1e6 for name, each in line("processor").items()
        }
    print(f"\n{NOTES:,} events, {relays} relay(s)")
    measure.rows(lines)


def compare(rounds: int, relays: Sequence[int], order: str, fields: str) -> None:
    """Measure and print."""
    measure.heading("The same events from many relays, verified", ["gennostr", "coincurve", "nostr-sdk"], rounds)
    contenders: dict[str, Callable[[], Mapping[str, float]]] = {}
    with relay_process(streams=False) as url, tempfile.TemporaryDirectory() as folder:
        urls = [f"{url}/overlap/{order}/{fields}/{number}" for number in range(max(relays))]
        names = [*CONTENDERS]
        version = install(Path(folder))
        if version is not None:
            print(f"nostr-tools {version}")
            names.append("nostr-tools")
        for count in relays:
            for name in CONTENDERS:
                command = ("benchmarks.overlap", "run", name, *urls[:count])
                contenders[f"{name}, {count}"] = partial(measure.in_process, *command)
            if version is not None:
                contenders[f"nostr-tools, {count}"] = partial(nostr_tools, Path(folder), urls[:count])
        found = measure.figures(contenders, rounds)
    for count in relays:
        show(found, names, count)


def main() -> None:
    """Measure and print, or run as a contender."""
    if sys.argv[1:2] == ["run"]:
        name, *urls = sys.argv[2:]
        print(json.dumps(CONTENDERS[name](urls)))
        return
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overlap", description="The same events from many relays."
    )
    parser.add_argument("--rounds", type=int, default=measure.ROUNDS)
    parser.add_argument("--relays", type=int, nargs="+", default=RELAYS)
    parser.add_argument("--order", choices=ORDERS, default="nearly")
    parser.add_argument("--fields", choices=FIELDS, default="usual")
    compare(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
