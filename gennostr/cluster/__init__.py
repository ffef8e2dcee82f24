"""One client class on several processes.

    with Cluster.start(Indexer, shards=4) as cluster:
        cluster.subscribe({"kinds": [1]}, id="notes")
        for url in urls:
            cluster.add_relay(url, verify=True)

Each shard is a process that runs one client of the class; its callbacks run there. See `Cluster`, `ClusterPid` (the
handle), and the guide's page `cluster`. Nothing here is imported unless a program does so.
"""

from gennostr.client.shard import Shard
from gennostr.cluster.cluster import Cluster
from gennostr.cluster.cluster_pid import ClusterPid
from gennostr.cluster.engine import Engine
from gennostr.cluster.in_process import InProcess
from gennostr.cluster.processes import Processes
from gennostr.cluster.requests import ShardDown, ShardInfo, ShardUp

__all__ = [
    "Cluster",
    "ClusterPid",
    "Engine",
    "InProcess",
    "Processes",
    "Shard",
    "ShardDown",
    "ShardInfo",
    "ShardUp",
]
