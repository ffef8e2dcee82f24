"""The engines, and a cluster on each that the tests of a module share: a process takes half a second to start."""

from collections.abc import Callable, Iterator

import pytest

from gennostr.cluster import Cluster, ClusterPid, Engine, InProcess, Processes
from gennostr.testing import MemoryRelay, Probe
from tests.cluster.clients import Feed

ENGINES: dict[str, Callable[[], Engine]] = {"in_process": InProcess, "processes": Processes}


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param]()


@pytest.fixture(scope="module")
def shared(engine: Engine) -> Iterator[ClusterPid]:
    with Cluster.start(Feed, {"some": "argument"}, engine=engine, max_restarts=100) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared: ClusterPid) -> Iterator[ClusterPid]:
    """Return the shared cluster, without relays and subscriptions."""
    yield shared
    for url in list(shared.routes.relays):
        shared.remove_relay(url)
    shared.unsubscribe("notes")


@pytest.fixture
def relays() -> Iterator[Callable[[int], list[MemoryRelay]]]:
    """Return a function that starts relays."""
    started: list[MemoryRelay] = []

    def start(number: int) -> list[MemoryRelay]:
        started.extend(MemoryRelay() for _ in range(number))
        return started[-number:]

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def mine(engine: Engine, probe: Probe) -> Iterator[ClusterPid]:
    """Return a new cluster, whose shards may be killed; the probe monitors them."""
    with Cluster.start(Feed, engine=engine) as cluster:
        assert cluster.monitor_shards() == {0: 1, 1: 1}
        yield cluster
