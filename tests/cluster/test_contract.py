"""What a cluster does on every engine."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gennostr import (
    NOCONNECTION,
    CallExit,
    CallTimeout,
    MessageError,
    NoProcess,
    PublishOutcome,
    RelayNotFound,
    RelayUrlError,
    StartError,
    Supervisor,
    send_request,
)
from gennostr.cluster import Cluster, ClusterPid, Engine, Shard, ShardDown, ShardInfo, ShardUp
from gennostr.cluster.assignment import assign
from gennostr.testing import FakeRelay, MemoryRelay, Probe, make_event
from tests.cluster import clients
from tests.cluster.clients import FAST, WAIT, Broken, Failing, Feed, Odd, Plain, Tidy, Until, lose

Relays = Callable[[int], list[MemoryRelay]]


def until(cluster: ClusterPid, contents: Mapping[int, Iterable[str]]) -> dict[int, list[str]]:
    """Return the contents of all events that shards have seen, as soon as these are among them."""
    return {number: cluster.call(Until(frozenset(some)), WAIT, shard=number) for number, some in contents.items()}


def one_each(start: Relays, shards: int = 2) -> list[MemoryRelay]:
    """Return one relay for each shard."""
    found: dict[int, MemoryRelay] = {}
    while len(found) < shards:
        [relay] = start(1)
        found.setdefault(assign(relay.url, range(shards)), relay)
    return [found[number] for number in range(shards)]


def connect(cluster: ClusterPid, some: list[MemoryRelay]) -> None:
    """Add relays, and wait until all are connected."""
    for relay in some:
        cluster.add_relay(relay.url, **FAST)
    assert {each.kind for each in cluster.publish(make_event()).result(WAIT).values()} == {"accepted"}


# What a shard is.


def test_each_shard_runs_a_client_that_knows_its_place(cluster: ClusterPid) -> None:
    assert cluster.call_all(clients.shard) == {0: Shard(0, 2), 1: Shard(1, 2)}
    assert cluster.call(clients.shard) == Shard(0, 2)
    assert cluster.call(clients.shard, shard=1) == Shard(1, 2)
    assert cluster.call(clients.argument, shard=1) == {"some": "argument"}


def test_its_shards_are_listed(cluster: ClusterPid, relays: Relays) -> None:
    for relay in one_each(relays):
        cluster.add_relay(relay.url, **FAST)
    process_ids = cluster.call_all(clients.process_id)
    shards = cluster.list_shards()
    assert [(each.number, each.is_up, each.relays) for each in shards] == [(0, True, 1), (1, True, 1)]
    assert all(each.process_id in (None, process_ids[each.number]) for each in shards)


# Relays.


def test_each_relay_is_connected_to_by_the_shard_that_its_url_decides(cluster: ClusterPid, relays: Relays) -> None:
    cluster.subscribe({"kinds": [1]}, id="notes")
    some = relays(5)
    for relay in some:
        cluster.add_relay(relay.url, **FAST)
        relay.store(content=relay.url, kind=1)
    wanted = {number: sorted(each.url for each in some if assign(each.url, range(2)) == number) for number in (0, 1)}
    until(cluster, wanted)
    assert [relay.connections for relay in some] == [1] * 5
    assert sorted(cluster.list_relays()) == sorted(relay.url for relay in some)
    statistics = cluster.relay_statistics()
    assert {url: each.state for url, each in statistics.items()} == {relay.url: "open" for relay in some}


def test_a_removed_relay_is_disconnected(cluster: ClusterPid, relays: Relays) -> None:
    [relay] = relays(1)
    cluster.add_relay(relay.url, **FAST)
    assert cluster.count({"kinds": [1]}).result(WAIT).count == 0
    cluster.remove_relay(relay.url)
    assert cluster.list_relays() == []
    with pytest.raises(RelayNotFound):
        cluster.remove_relay(relay.url)
    assert cluster.relay_statistics() == {}


def test_a_message_goes_to_one_relay_or_to_all(cluster: ClusterPid, relays: Relays) -> None:
    some = one_each(relays)
    connect(cluster, some)
    event = make_event(content="by hand")
    cluster.send_message(["EVENT", event.to_dict()], some[1].url)
    assert cluster.count({"ids": [event.id]}).result(WAIT).by_relay[some[1].url].count == 1  # type: ignore[union-attr]
    assert event not in some[0].events
    assert sorted(cluster.broadcast_message(["EVENT", event.to_dict()])) == sorted(each.url for each in some)
    assert cluster.count({"ids": [event.id]}).result(WAIT).by_relay[some[0].url].count == 1  # type: ignore[union-attr]
    with pytest.raises(RelayNotFound):
        cluster.send_message(["CLOSE", "x"], "wss://nobody.example")


# Subscriptions, publications, counts.


def test_events_arrive_until_unsubscribe(cluster: ClusterPid, relays: Relays) -> None:
    some = one_each(relays)
    for relay in some:
        cluster.add_relay(relay.url, **FAST)
    assert cluster.subscribe({"kinds": [1]}, id="notes", relays=[some[0].url]) == "notes"
    cluster.subscribe({"kinds": [7]}, id="others")
    for relay in some:
        relay.store(kind=1, content=f"1 at {relay.url}")
        relay.store(kind=7, content=f"7 at {relay.url}")
    seen = until(cluster, {number: [f"7 at {relay.url}"] for number, relay in enumerate(some)})
    assert f"1 at {some[0].url}" in seen[0]
    assert f"1 at {some[1].url}" not in seen[1]
    cluster.unsubscribe("others")
    cluster.unsubscribe("unknown")
    assert cluster.count({"kinds": [7]}).result(WAIT).count == 1
    some[0].store(kind=7, content="after that")
    assert cluster.count({"kinds": [7]}).result(WAIT).count == 2
    assert "after that" not in cluster.call(clients.seen)


def test_the_outcomes_of_a_publication_are_those_of_all_relays(cluster: ClusterPid, relays: Relays) -> None:
    some = one_each(relays)
    for relay in some:
        cluster.add_relay(relay.url, **FAST)
    event = make_event(content="published")
    outcomes = cluster.publish(event).result(WAIT)
    assert {url: each.kind for url, each in outcomes.items()} == {relay.url: "accepted" for relay in some}
    assert [relay.events for relay in some] == [[event]] * 2
    nobody = "wss://nobody.example/"
    outcomes = cluster.publish(event.to_dict(), [some[0].url, nobody], timeout=0.2).result(WAIT)
    assert {url: each.kind for url, each in outcomes.items()} == {some[0].url: "accepted", nobody: "not_sent"}
    assert cluster.publish(event, []).result(WAIT) == {}


def test_a_count_is_merged_as_a_client_merges_it(cluster: ClusterPid, relays: Relays) -> None:
    some = one_each(relays)
    for number, relay in enumerate(some):
        cluster.add_relay(relay.url, **FAST)
        for content in range(number + 1):
            relay.store(kind=1, content=str(content))
    found = cluster.count({"kinds": [1]}).result(WAIT)
    assert (found.count, found.approximate) == (2, True)
    assert sorted(found.by_relay) == sorted(relay.url for relay in some)
    alone = cluster.count({"kinds": [1]}, [some[1].url]).result(WAIT)
    assert (alone.count, alone.approximate) == (2, False)


@pytest.mark.parametrize(
    ("use", "error", "match"),
    [
        (lambda cluster: cluster.add_relay("https://relay.example"), RelayUrlError, "https"),
        (lambda cluster: cluster.add_relay("wss://relay.example", ping_interval="often"), TypeError, "ping_interval"),
        (lambda cluster: cluster.remove_relay(5), TypeError, "url"),
        (lambda cluster: cluster.send_message(["EVENT", 5], "wss://relay.example"), MessageError, "EVENT"),
        (lambda cluster: cluster.subscribe({"kind": [1]}), MessageError, "kind"),
        (lambda cluster: cluster.subscribe({"kinds": [1]}, id=65 * "x"), MessageError, "64"),
        (lambda cluster: cluster.subscribe({"kinds": [1]}, relays="wss://relay.example"), TypeError, "list"),
        (lambda cluster: cluster.unsubscribe(5), TypeError, "text"),
        (lambda cluster: cluster.publish({"kind": 1}), MessageError, "not an event"),
        (lambda cluster: cluster.publish(make_event(), timeout=-1), ValueError, "timeout"),
        (lambda cluster: cluster.count({"kinds": "1"}), MessageError, "kinds"),
        (lambda cluster: cluster.call(threading.Lock()), TypeError, "pickled"),
        (lambda cluster: cluster.call_all(lambda client: client), TypeError, "pickled"),
        (lambda cluster: cluster.cast(threading.Lock()), TypeError, "pickled"),
        (lambda cluster: cluster.call(clients.shard, shard=2), LookupError, r"no shard 2.*\(0, 1\)"),
        (lambda cluster: cluster.cast(clients.note, shard="one"), LookupError, "no shard 'one'"),
        (lambda cluster: cluster.resize(0), ValueError, "shards"),
        (lambda cluster: cluster.resize(1.5), TypeError, "shards"),
        (lambda cluster: cluster.monitor_shards(), RuntimeError, "plain thread"),
        (lambda cluster: send_request(cluster, "hello").wait(), TypeError, "does not handle"),
    ],
)
def test_invalid_arguments_are_errors_of_the_caller(
    use: Callable[[Any], object], error: type[Exception], match: str, cluster: ClusterPid
) -> None:
    with pytest.raises(error, match=match):
        use(cluster)


@pytest.mark.parametrize(
    "options",
    [
        {"client": dict},
        {"client": Feed()},
        {"shards": 0},
        {"shards": True},
        {"engine": object()},
        {"engine": Engine},
        {"max_restarts": -1},
        {"max_seconds": 0},
        {"shutdown": "soon"},
        {"heartbeat": -1.0},
    ],
)
def test_invalid_options_are_errors_of_the_start(options: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=next(iter(options))):
        Cluster.start(**{"client": Feed, **options})


# Calls.


def test_an_exception_crosses_as_itself_or_as_text(cluster: ClusterPid) -> None:
    with pytest.raises(Plain) as caught:
        cluster.call(clients.plain_error)
    assert caught.value.args == ("text", 1)
    with pytest.raises(RuntimeError, match="one and other"):
        cluster.call(clients.odd_error)
    assert str(Odd("one", "other")) == "one and other"


def test_a_reply_that_cannot_cross_is_an_error(cluster: ClusterPid) -> None:
    with pytest.raises(TypeError, match=r"the reply .* cannot be pickled"):
        cluster.call(clients.lock)


def test_a_call_times_out_and_the_late_reply_is_dropped(cluster: ClusterPid) -> None:
    with pytest.raises(CallTimeout):
        cluster.call(clients.never, timeout=0.01)
    with pytest.raises(CallTimeout):
        cluster.call_all(clients.never, timeout=0.01)
    assert cluster.call(clients.shard) == Shard(0, 2)


def test_a_cast_reaches_one_shard_or_all(cluster: ClusterPid) -> None:
    before = {number: seen.count("noted") for number, seen in cluster.call_all(clients.seen).items()}
    cluster.cast(clients.note, shard=1)
    cluster.cast_all(clients.note)
    after = {number: seen.count("noted") for number, seen in cluster.call_all(clients.seen).items()}
    assert {number: after[number] - before[number] for number in after} == {0: 1, 1: 2}


def test_a_coroutine_calls(cluster: ClusterPid) -> None:
    async def main() -> list[Any]:
        return await asyncio.gather(*(cluster.call_async(clients.shard, shard=number) for number in (1, 0)))

    assert asyncio.run(main()) == [Shard(1, 2), Shard(0, 2)]
    assert cluster.send_request(clients.shard, shard=1).wait(WAIT) == Shard(1, 2)


# The end of a shard.


def test_a_crashed_client_is_restarted_with_its_relays_and_subscriptions(
    mine: ClusterPid, probe: Probe, relays: Relays, caplog: pytest.LogCaptureFixture
) -> None:
    some = one_each(relays)
    mine.subscribe({"kinds": [1]}, id="notes")
    for relay in some:
        mine.add_relay(relay.url, **FAST)
        relay.store(kind=1, content="stored")
    until(mine, {0: ["stored"], 1: ["stored"]})
    with pytest.raises(CallExit) as caught:
        mine.call(clients.crash, shard=1)
    assert isinstance(caught.value.reason, Plain)
    down = probe.expect(ShardDown, WAIT)
    assert (down.number, down.epoch, str(down.reason)) == (1, 1, "on purpose")
    probe.expect(ShardUp(1, 2), WAIT)
    until(mine, {1: ["stored"]})
    assert some[1].connections == 1
    assert len([each for each in caplog.records if hasattr(each, "crash_report")]) == 1


def test_a_lost_shard_fails_its_calls_and_is_restarted(
    mine: ClusterPid, probe: Probe, relays: Relays, caplog: pytest.LogCaptureFixture
) -> None:
    some = one_each(relays)
    mine.subscribe({"kinds": [1]}, id="notes")
    connect(mine, some)
    before = mine.list_shards()
    with ThreadPoolExecutor() as threads:
        call = threads.submit(mine.call, Until(frozenset(["never"])), None)
        broadcast = threads.submit(mine.call_all, Until(frozenset(["never"])), None)
        while len(get_waiting(mine)) < 2:  # each turn is a call
            pass
        lose(mine, 0)
        for future in (call, broadcast):
            error = future.exception(WAIT)
            assert isinstance(error, CallExit)
            assert error.reason is NOCONNECTION
    probe.expect(ShardDown(0, 1, NOCONNECTION), WAIT)
    probe.expect(ShardUp(0, 2), WAIT)
    some[0].store(kind=1, content="afterwards")
    until(mine, {0: ["afterwards"]})
    assert mine.list_shards()[1] == before[1]
    assert mine.call(clients.ends, shard=1) == []
    [report] = [each for each in caplog.records if hasattr(each, "crash_report")]
    assert "NOCONNECTION" in report.getMessage()


def test_a_client_without_a_store_resumes_where_it_was(mine: ClusterPid, probe: Probe, relays: Relays) -> None:
    some = one_each(relays)
    for minutes, content in enumerate(["old", "older than a minute", "newest"]):
        some[0].store(kind=1, content=content, created_at=1_700_000_000 + 120 * minutes)
    mine.subscribe({"kinds": [1]}, id="notes")
    mine.add_relay(some[0].url, **FAST)
    until(mine, {0: ["old", "older than a minute", "newest"]})
    while not mine.routes.cursors[0].saved().subscriptions:
        mine.call(clients.shard)  # within a second, it hands over how far it has read
    lose(mine, 0)
    probe.expect(ShardDown(0, 1, NOCONNECTION), WAIT)
    probe.expect(ShardUp(0, 2), WAIT)
    some[0].store(kind=1, content="after", created_at=1_700_000_300)
    until(mine, {0: ["after", "newest"]})
    some[0].store(kind=1, content="live", created_at=1_700_000_300)  # follows whatever is stored
    assert until(mine, {0: ["live"]}) == {0: ["after", "live", "newest"]}


def get_waiting(cluster: ClusterPid) -> list[Any]:
    waiting: list[Any] = cluster.call(clients.waiting)
    return waiting


def test_what_a_lost_shard_was_to_publish_has_an_outcome(mine: ClusterPid, probe: Probe) -> None:
    event = make_event()
    with contextlib.ExitStack() as stack:
        found: dict[int, FakeRelay] = {}
        while len(found) < 2:
            relay = stack.enter_context(FakeRelay())
            found.setdefault(assign(relay.url, range(2)), relay)
        for relay in found.values():
            mine.add_relay(relay.url, **FAST)
        connections = {number: relay.accept(timeout=WAIT) for number, relay in found.items()}
        publication = mine.publish(event, timeout=WAIT)
        counting = mine.count({"kinds": [1]}, [found[0].url], timeout=WAIT)
        for connection in connections.values():
            assert connection.expect_event(timeout=WAIT) == event
        lose(mine, 0)
        assert counting.result(WAIT).by_relay == {found[0].url: publication_lost(counting.result(0).by_relay)}
        connections[1].ok(event.id)
        outcomes = publication.result(WAIT)
        assert {url: each.kind for url, each in outcomes.items()} == {
            found[0].url: "disconnected",
            found[1].url: "accepted",
        }
        probe.expect(ShardDown, WAIT)
        probe.expect(ShardUp, WAIT)


def publication_lost(outcomes: Mapping[str, Any]) -> PublishOutcome:
    """Return the only outcome, of a relay whose shard was lost."""
    [outcome] = outcomes.values()
    assert isinstance(outcome, PublishOutcome)
    assert (outcome.kind, "NOCONNECTION" in outcome.message) == ("disconnected", True)
    return outcome


def test_a_shard_that_keeps_failing_is_given_up_and_its_relays_move(
    engine: Engine, relays: Relays, tmp_path: Path, probe: Probe
) -> None:
    some = one_each(relays)
    file = tmp_path / "file"
    options: dict[str, Any] = {"engine": engine, "max_restarts": 1, "max_seconds": 60.0}
    with contextlib.suppress(CallExit), Cluster.start(Failing, str(file), **options) as cluster:
        cluster.monitor_shards()
        cluster.subscribe({"kinds": [1]}, id="notes")
        for relay in some:
            cluster.add_relay(relay.url, **FAST)
            relay.store(kind=1, content=relay.url)
        file.touch()
        lose(cluster, 1)
        probe.expect(ShardDown(1, 1, NOCONNECTION), WAIT)
        until(cluster, {0: [each.url for each in some]})
        assert [each.number for each in cluster.list_shards()] == [0]
        with pytest.raises(LookupError):
            cluster.call(clients.seen, shard=1)
        with pytest.raises(StartError, match="a file"):
            cluster.resize(2)
        file.unlink()
        assert cluster.resize(2) == 1
        assert probe.expect(ShardUp, WAIT).number == 1
        until(cluster, {1: [some[1].url]})
        file.touch()
        probe.monitor(cluster)
        for number in (0, 1):
            lose(cluster, number)
            probe.expect(ShardDown, WAIT)
        probe.expect_down(cluster, NOCONNECTION, timeout=WAIT)
        with pytest.raises(NoProcess):
            cluster.list_relays()


def test_a_client_that_does_not_start_is_an_error_of_the_start(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(StartError) as caught:
        Cluster.start(Broken, str(tmp_path / "file"), engine=engine)
    assert isinstance(caught.value.reason, Plain)


def test_a_stopped_cluster_stops_its_clients_in_order(engine: Engine, tmp_path: Path) -> None:
    with Supervisor.start([Cluster.child_spec(Tidy, str(tmp_path), engine=engine, name="tidy")]) as supervisor:
        [child] = supervisor.which_children()
        assert isinstance(child.pid, ClusterPid)
        assert (child.id, child.type) == ("tidy", "supervisor")
        assert child.pid.call(clients.shard, shard=1) == Shard(1, 2)
        supervisor.terminate_child("tidy")
        assert sorted(each.name for each in tmp_path.iterdir()) == ["terminated-0", "terminated-1"]
        with pytest.raises(NoProcess):
            child.pid.call(clients.shard)
        with pytest.raises(NoProcess):
            child.pid.add_relay("wss://relay.example")


# Resizing.


def test_resizing_moves_only_the_relays_that_must_move(engine: Engine, relays: Relays, probe: Probe) -> None:
    some = relays(12)
    urls = [each.url for each in some]
    with Cluster.start(Feed, shards=2, engine=engine) as cluster:
        cluster.monitor_shards()
        for url in urls:
            cluster.add_relay(url, **FAST)
        assert cluster.count({"kinds": [1]}).result(WAIT).count == 0
        wanted = sum(assign(url, range(2)) != assign(url, range(3)) for url in urls)
        assert cluster.resize(3) == wanted
        probe.expect(ShardUp(2, 1), WAIT)
        assert cluster.count({"kinds": [1]}).result(WAIT).count == 0
        ended = cluster.call_all(clients.ends)
        assert sorted(url for ends in ended.values() for url, _ in ends) == sorted(
            url for url in urls if assign(url, range(3)) == 2
        )
        assert {reason for ends in ended.values() for _, reason in ends} <= {"REMOVE_RELAY"}
        assert cluster.list_shards()[2] == ShardInfo(2, 1, cluster.list_shards()[2].process_id, wanted)
        assert cluster.resize(2) == wanted
        probe.expect(ShardDown, WAIT)
        assert len(cluster.count({"kinds": [1]}).result(WAIT).by_relay) == len(urls)
        assert sorted(cluster.list_relays()) == sorted(urls)
        assert [each.connections for each in some] == [1] * 12
        assert sum(map(len, cluster.call_all(clients.ends).values())) == wanted
        assert cluster.resize(2) == 0
