"""Pids of actors in shards: as local ones."""

import threading
from collections.abc import Iterator

import pytest

from gennostr import (
    KILL,
    KILLED,
    NOCONNECTION,
    NORMAL,
    CallExit,
    CallTimeout,
    NoProcess,
    Pid,
    cast,
    link,
    monitor,
    send,
    stop,
)
from gennostr.cluster import ClusterPid, Shard, ShardDown, ShardUp
from gennostr.testing import Probe
from tests.cluster import clients
from tests.cluster.clients import WAIT, Plain, lose


@pytest.fixture
def worker(mine: ClusterPid) -> Iterator[Pid]:
    """Return the pid of an actor in shard 0; it is stopped, as in the engine that has no process nobody else does."""
    mine.call(clients.start_worker)
    pid = mine.whereis("worker")
    assert pid is not None
    yield pid
    if pid.is_alive():
        pid.exit(KILL)


def test_a_client_is_called_and_cast_to(mine: ClusterPid) -> None:
    client = mine.client(1)
    assert client is mine.client(1)
    assert client.call(clients.shard, WAIT) == Shard(1, 2)
    client.cast(clients.note)
    assert client.send_request(clients.seen).wait(WAIT) == ["noted"]
    with pytest.raises(Plain):
        client.call(clients.plain_error, WAIT)
    with pytest.raises(CallTimeout):
        client.call(clients.never, 0.01)
    with pytest.raises(TypeError, match="pickled"):
        client.call(threading.Lock(), WAIT)


def test_a_named_actor_gets_casts_messages_and_exits_in_order(mine: ClusterPid, worker: Pid, probe: Probe) -> None:
    assert mine.whereis("worker") is worker
    assert mine.whereis("nobody") is None
    cast(worker, 1)
    send(worker, "two")
    worker.exit("three")
    assert worker.call("what?", WAIT) == [("cast", 1), "two", ("exit", "three")]
    with pytest.raises(Plain, match="an error"):
        worker.call("error", WAIT)
    probe.monitor(worker)
    stop(worker, "enough", WAIT)
    probe.expect_down(worker, "enough")
    assert mine.whereis("worker") is None
    with pytest.raises(NoProcess):
        worker.call("what?")


def test_its_crash_is_the_reason_of_calls_links_and_monitors(worker: Pid, probe: Probe) -> None:
    monitor(worker)
    link(worker)
    with pytest.raises(CallExit) as caught:
        worker.call("crash", WAIT)
    assert isinstance(caught.value.reason, Plain)
    probe.expect_down(worker, Plain, timeout=WAIT)
    probe.expect_exit(worker, Plain, timeout=WAIT)


def test_a_kill_reaches_it(mine: ClusterPid, worker: Pid, probe: Probe) -> None:
    probe.monitor(worker)
    worker.exit(KILL)
    probe.expect_down(worker, KILLED, timeout=WAIT)
    while mine.whereis("worker") is not None:
        pass  # each turn is a call


def test_with_the_shard_it_is_lost(mine: ClusterPid, probe: Probe) -> None:
    client = mine.client(0)
    probe.monitor(client)
    lose(mine, 0)
    while True:  # the shard's end and the client's come from two actors
        message = probe.expect(timeout=WAIT)
        if isinstance(message, ShardUp):
            break
        assert isinstance(message, ShardDown) or message.reason is NOCONNECTION
    assert not client.is_alive()
    assert mine.client(0).call(clients.shard, WAIT) == Shard(0, 2)


def test_a_stopped_client_is_restarted(mine: ClusterPid, probe: Probe) -> None:
    client = mine.client(1)
    client.stop(NORMAL, WAIT)
    probe.expect(ShardDown(1, 1, NORMAL), WAIT)
    probe.expect(ShardUp(1, 2), WAIT)
    with pytest.raises(TypeError, match="name"):
        mine.whereis(5)  # type: ignore[arg-type]
