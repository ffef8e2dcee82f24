"""Shards in this process: their time is the test's."""

from gennostr.cluster import Cluster, InProcess
from gennostr.testing import FakeRelay, ManualClock
from tests.cluster import clients
from tests.cluster.clients import Feed


def test_a_manual_clock_moves_the_shards(manual_clock: ManualClock) -> None:
    with FakeRelay() as relay, Cluster.start(Feed, shards=1, engine=InProcess()) as cluster:
        cluster.add_relay(relay.url, reconnect=[60.0], connect_timeout=1000.0, close_timeout=0.05)
        relay.accept().drop()
        manual_clock.advance(120.0)
        connection = relay.accept()
        assert len(cluster.call(clients.ends)) == 1
        manual_clock.advance(3600.0)  # with 120 heartbeats
        assert [each.epoch for each in cluster.list_shards()] == [1]
        connection.drop()
