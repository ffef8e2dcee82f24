"""Shards that are processes: killed, stopped, orphaned, and what they log."""

import contextlib
import logging
import os
import select
import signal
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gennostr import NOCONNECTION, CallExit, GenNostr, StartError
from gennostr.cluster import Cluster, ClusterPid, Engine, Processes, ShardDown, ShardUp
from gennostr.cluster.assignment import assign
from gennostr.cluster.messages import FromShard, Launch, ToShard, packed
from gennostr.cluster.processes import ProcessLink
from gennostr.cluster.requests import Forward
from gennostr.testing import MemoryRelay, Probe
from tests.cluster import clients
from tests.cluster.clients import FAST, WAIT, Archive, Busy, Feed, archived, lose

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Processes()


def wait_for_end(process_id: int) -> None:
    """Wait until a process has ended that is perhaps not our child."""
    try:
        descriptor = os.pidfd_open(process_id)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], WAIT)[0], f"process {process_id} is still running"
    finally:
        os.close(descriptor)


# Death.


def test_shards_killed_in_a_flood_miss_nothing_and_write_nothing_twice(tmp_path: Path, probe: Probe) -> None:
    wanted: Counter[str] = Counter()

    def store(relay: MemoryRelay, numbers: range) -> None:
        for number in numbers:
            event = relay.store(kind=1, content=f"{number} at {relay.url}", created_at=1_700_000_000 + number)
            wanted[event.content] += 1

    with contextlib.ExitStack() as stack:
        found: dict[int, MemoryRelay] = {}
        while len(found) < 2:
            relay = stack.enter_context(MemoryRelay())
            found.setdefault(assign(relay.url, range(2)), relay)
        for relay in found.values():
            store(relay, range(3000))
        cluster = stack.enter_context(Cluster.start(Archive, str(tmp_path), engine=Processes()))
        cluster.monitor_shards()
        cluster.subscribe({"kinds": [1]}, id="notes")
        for relay in found.values():
            cluster.add_relay(relay.url, **FAST)
        while 0 in cluster.call_all("count", WAIT).values():
            pass  # each turn is a call to both
        for number in (0, 1):
            lose(cluster, number)
        ups = 0
        while ups < 2:  # the ends of both, and the starts of their successors
            ups += isinstance(probe.expect(lambda message: isinstance(message, ShardDown | ShardUp), WAIT), ShardUp)
        for relay in found.values():
            store(relay, range(3000, 3100))
        while sum(cluster.call_all("count", WAIT).values()) < len(wanted):
            pass
    assert Counter(archived(tmp_path)) == wanted


def test_a_shard_that_was_stopped_is_taken_for_lost(probe: Probe) -> None:
    with Cluster.start(Feed, engine=Processes(), heartbeat=0.5) as cluster:
        cluster.monitor_shards()
        process_id = cluster.list_shards()[1].process_id
        assert process_id is not None
        os.kill(process_id, signal.SIGSTOP)
        with pytest.raises(CallExit, match="NOCONNECTION"):
            cluster.call(clients.shard, WAIT, shard=1)
        wait_for_end(process_id)
        probe.expect(ShardDown(1, 1, NOCONNECTION), WAIT)
        probe.expect(ShardUp(1, 2), WAIT)


class Unreachable(Processes):
    """An engine whose shards cannot be killed, as if the network between them and us was down for a while."""

    def __init__(self) -> None:
        self.links: list[ProcessLink] = []

    def start(self, launch: Launch, receive: Callable[[FromShard], object]) -> Any:
        self.links.append(super().start(launch, receive))
        return _Severed(self.links[-1])


class _Severed:
    def __init__(self, link: ProcessLink) -> None:
        self._link = link
        self.process_id = link.process_id

    def send(self, message: ToShard) -> None:
        self._link.send(message)

    def end(self, timeout: float) -> None:
        if timeout:
            self._link.end(timeout)

    def kill(self) -> None:
        pass


def test_nothing_of_an_earlier_epoch_arrives(probe: Probe) -> None:
    engine = Unreachable()
    received: list[FromShard] = []
    with MemoryRelay() as relay, Cluster.start(Feed, shards=1, engine=engine, heartbeat=0.5) as cluster:
        cluster.monitor_shards()
        cluster.add_relay(relay.url, **FAST)
        assert cluster.count({"kinds": [1]}).result(WAIT).count == 0
        stopped = engine.links[0]
        os.kill(stopped.process_id, signal.SIGSTOP)
        actor = cluster.routes.pids[0]
        pending = actor.send_request(forward(clients.process_id))
        probe.expect(ShardDown(0, 1, NOCONNECTION), WAIT)
        probe.expect(ShardUp(0, 2), WAIT)
        with pytest.raises(CallExit, match="NOCONNECTION"):
            pending.wait()
        deliver = stopped._receive

        def receive(message: FromShard) -> None:
            received.append(message)
            deliver(message)

        stopped._receive = receive
        os.kill(stopped.process_id, signal.SIGCONT)
        stopped.end(WAIT)
        assert [type(each).__name__ for each in received][-1:] == ["Lost"]
        assert "Done" in [type(each).__name__ for each in received]
        assert {each.epoch for each in received} == {1}
        assert cluster.call(clients.process_id) == engine.links[1].process_id
        probe.expect_no_message()


def forward(request: Any) -> Any:
    """Return a call of a client, for a shard's actor."""
    return Forward("call", packed((request,), "the request"))


DRIVER = """
    import sys, threading
    from gennostr.cluster import Cluster
    from tests.cluster.clients import Busy, Feed

    if __name__ == "__main__":
        with Cluster.start({client}) as cluster:
            print(*[each.process_id for each in cluster.list_shards()], flush=True)
            {then}
"""


def driver(tmp_path: Path, client: str = "Feed", then: str = "threading.Event().wait()") -> "subprocess.Popen[str]":
    """Start a program that has a cluster, and prints the process ids of its shards."""
    program = tmp_path / "driver.py"
    program.write_text(textwrap.dedent(DRIVER).format(client=client, then=then))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.parametrize("client", ["Feed", "Busy, shutdown=0.2"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_when_the_driver_dies_the_shards_end(client: str, number: signal.Signals, tmp_path: Path) -> None:
    with driver(tmp_path, client) as process:
        assert process.stdout is not None
        shards = [int(each) for each in process.stdout.readline().split()]
        assert len(shards) == 2
        process.send_signal(number)
        for each in shards:
            wait_for_end(each)
        process.wait(WAIT)


def test_a_program_that_ends_leaves_no_shard_and_says_nothing(tmp_path: Path) -> None:
    then = "sys.stdout.flush(); cluster = Cluster.start(Feed, shards=1); sys.exit(3)"  # nobody stops the second one
    with driver(tmp_path, then=then) as process:
        out, err = process.communicate(timeout=WAIT)
        assert (process.returncode, err) == (3, "")
        for each in out.split():
            wait_for_end(int(each))


def test_a_busy_client_is_killed_when_its_time_is_over() -> None:
    with Cluster.start(Busy, shards=1, shutdown=0.2, engine=Processes()) as cluster:
        process_id = cluster.list_shards()[0].process_id
    assert process_id is not None
    wait_for_end(process_id)


def test_a_shard_ignores_the_signals_that_stop_its_driver(cluster: ClusterPid) -> None:
    process_id = cluster.list_shards()[0].process_id
    assert process_id is not None
    os.kill(process_id, signal.SIGINT)
    os.kill(process_id, signal.SIGTERM)
    assert cluster.call(clients.process_id) == process_id


# Start.


class Local(GenNostr[None]):
    """At the top level of this module."""


def test_a_class_that_cannot_be_pickled_is_an_error_of_the_start() -> None:
    class Inner(GenNostr[None]):
        pass

    with pytest.raises(StartError, match="Inner") as caught:
        Cluster.start(Inner, engine=Processes())
    assert isinstance(caught.value.reason, TypeError)
    with pytest.raises(StartError, match="cannot be pickled"):
        Cluster.start(Local, threading.Lock(), engine=Processes())


def test_a_program_that_is_not_guarded_is_an_error_that_says_so(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
            from gennostr import GenNostr, StartError
            from gennostr.cluster import Cluster

            class Mine(GenNostr):
                pass

            try:
                Cluster.start(Mine, shards=1)
            except StartError as error:
                if __name__ != "__main__":
                    raise
                print(error)
        """)
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=60, env=environment, check=True
    )
    assert '__name__ == "__main__"' in done.stdout


# The log.


def test_the_log_records_of_a_shard_are_log_records_here(cluster: ClusterPid, caplog: pytest.LogCaptureFixture) -> None:
    cluster.cast(clients.warn, shard=1)
    assert cluster.call(clients.shard, shard=1).number == 1
    [record] = [each for each in caplog.records if each.name == "tests.cluster.own"]
    assert record.getMessage() == "shard 1: something odd"
    assert record.levelno == logging.WARNING
    assert (vars(record)["shard"], vars(record)["number"]) == (1, 5)
    assert "lock" in vars(record)["lock"]


def test_a_crash_report_of_a_shard_is_one_here(probe: Probe, caplog: pytest.LogCaptureFixture) -> None:
    with Cluster.start(Feed, shards=1, engine=Processes()) as cluster:
        cluster.monitor_shards()
        with pytest.raises(CallExit):
            cluster.call(clients.crash)
        probe.expect(ShardDown, WAIT)
        probe.expect(ShardUp, WAIT)
    [record] = [each for each in caplog.records if hasattr(each, "crash_report")]
    assert record.name == "gennostr.otp.crash_report"
    assert (vars(record)["shard"], vars(record)["crash_report"].callback) == (0, "handle_call")
    assert "on purpose" in record.getMessage()
    assert "in crash" in (record.exc_text or "")


def test_a_flood_of_log_records_is_bounded(cluster: ClusterPid, caplog: pytest.LogCaptureFixture) -> None:
    cluster.cast(clients.warn_often)
    assert cluster.call(clients.shard, WAIT).number == 0
    cluster.call(clients.warn)
    own = [each for each in caplog.records if each.name == "tests.cluster.own"]
    dropped = [each.getMessage() for each in caplog.records if "were dropped" in each.getMessage()]
    caplog.clear()  # a failure would show them all
    lost = sum(int(each.split()[2]) for each in dropped)
    assert (len(own) + lost, dropped) == (5_001, dropped)
