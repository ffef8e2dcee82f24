"""The tree below a client: what happens when one of its actors ends."""

import threading
import time
from typing import Any

import pytest

from gennostr import KILL, KILLED, SHUTDOWN, Close, Exit, GenNostr, Ok, Pid, Reply, StartError, Stop, tree
from gennostr.cli.local_relay import LocalRelay
from gennostr.testing.fake_relay import FakeRelay
from gennostr.testing.relay_socket import PING, PONG, TEXT, encode_frame
from tests.client.recorder import FAST, Recorder, Recording


def actors(pid: Pid) -> dict[str, Pid]:
    """The tree's actors by class name."""
    node = tree(pid)
    found = {}
    todo = [node]
    while todo:
        each = todo.pop()
        assert each.pid is not None
        found[each.pid.actor_class.__name__] = each.pid
        todo += each.children
    return found


def await_death(pid: Pid, within: float = 2.0) -> object:
    done = threading.Event()

    class Watch:
        def down(self, process: Any, reason: object) -> None:
            done.set()

    if pid.process.watch(Watch()):
        assert done.wait(within), f"{pid} lives"
    return pid.process.reason


def test_the_tree_is_as_drawn() -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url]) as client:
        relay.accept()
        client.expect("connect")
        top = tree(client.feed)
        (primary,) = top.children
        assert [each.name for each in primary.children] == ["ConnectionRegistry", "ConnectionSupervisor"]
        (connection,) = primary.children[1].children
        assert (connection.name, connection.status) == (relay.url, "open")


def test_two_clients_of_one_class_and_two_of_others_live_side_by_side(local_relay: LocalRelay) -> None:
    class Other(Recorder):
        pass

    class Another(Recorder):
        pass

    clients = [Recording(kind, urls=[local_relay.url]) for kind in (Recorder, Recorder, Other, Another)]
    try:
        for client in clients:
            client.expect("connect")
        assert len({tree(client.feed).children[0].pid for client in clients}) == 4
        clients[0].feed.stop()
        assert [client.feed.list_relays() for client in clients[1:]] == [[local_relay.url]] * 3
    finally:
        for client in clients:
            client.feed.stop(block=True)


def test_a_killed_client_takes_its_tree_and_sockets_with_it() -> None:
    with FakeRelay() as relay:
        client = Recording(urls=[relay.url])
        peer = relay.accept()
        client.expect("connect")
        pids = actors(client.feed)
        client.feed.exit(KILL)
        for pid in pids.values():
            await_death(pid)
        assert peer.is_closed(timeout=2)


def test_a_killed_primary_supervisor_takes_the_client_with_it() -> None:
    with FakeRelay() as relay:
        client = Recording(urls=[relay.url])
        peer = relay.accept()
        client.expect("connect")
        actors(client.feed)["PrimarySupervisor"].exit(KILL)
        assert await_death(client.feed) is KILLED
        assert peer.is_closed(timeout=2)


def test_a_client_that_traps_exits_sees_the_end_of_its_primary_supervisor() -> None:
    class Trapping(Recorder):
        trap_exit = True

        def handle_info(self, message: Any, state: Any) -> Any:
            state["exits"].set()
            assert isinstance(message, Exit)

    exits = threading.Event()
    with Recording(Trapping, exits=exits) as client:
        actors(client.feed)["PrimarySupervisor"].exit(KILL)
        assert exits.wait(2)
        assert client.feed.is_alive()


def test_a_killed_connection_is_one_error_and_one_disconnect_and_harms_no_other_relay() -> None:
    with FakeRelay() as one, FakeRelay() as other, Recording(urls=[one.url, other.url], options=FAST) as client:
        peer, quiet = one.accept(), other.accept()
        client.expect("connect", "connect")
        connection = client.feed.add_relay(one.url)
        connection.exit(KILL)
        assert client.expect("error").value is KILLED
        assert client.expect("disconnect").value is KILLED
        assert peer.is_closed()
        one.accept()  # restarted by its supervisor
        client.expect("connect")
        client.expect_nothing(0.1)
        quiet.send(["NOTICE", "still here"])
        client.expect("notice")


def test_a_connection_that_keeps_crashing_is_left_to_the_backoff_and_the_others_keep_theirs() -> None:
    with FakeRelay() as one, FakeRelay() as other, Recording(urls=[other.url], options=FAST) as client:
        quiet = other.accept()
        client.expect("connect")
        client.feed.add_relay(one.url, **FAST)
        for _ in range(8):
            one.accept()
            assert client.expect("connect").relay.url == one.url
            client.feed.add_relay(one.url).exit(KILL)
            client.expect("error", "disconnect")
        quiet.send(["NOTICE", "still here"])
        while client.next().name != "notice":
            pass


def test_a_killed_connection_supervisor_is_reported_for_every_relay() -> None:
    with FakeRelay() as one, FakeRelay() as other, Recording(urls=[one.url, other.url], options=FAST) as client:
        one.accept()
        other.accept()
        client.expect("connect", "connect")
        actors(client.feed)["ConnectionSupervisor"].exit(KILL)
        seen = [client.next() for _ in range(4)]
        assert sorted(each.name for each in seen) == ["disconnect", "disconnect", "error", "error"]
        assert len({each.relay.url for each in seen}) == 2
        one.accept()
        other.accept()
        client.expect("connect", "connect")


def test_a_killed_registry_is_reported_for_every_relay_and_all_reconnect() -> None:
    with FakeRelay() as one, Recording(urls=[one.url], options=FAST) as client:
        one.accept()
        client.expect("connect")
        actors(client.feed)["ConnectionRegistry"].exit(KILL)
        client.expect("error", "disconnect")
        one.accept()
        client.expect("connect")
        assert client.feed.list_relays() == [one.url]


def test_a_relay_can_be_added_while_the_supervisor_is_being_restarted() -> None:
    with FakeRelay() as one, Recording() as client:
        actors(client.feed)["ConnectionSupervisor"].exit(KILL)
        client.feed.add_relay(one.url, close_timeout=0.05)
        one.accept()
        client.expect("connect")


def test_stop_calls_terminate_alone_and_closes_in_order() -> None:
    class Ending(Recorder):
        def terminate(self, reason: Any, state: Any) -> None:
            state["ended"].append(reason)

    ended: list[object] = []
    with FakeRelay() as relay:
        client = Recording(Ending, urls=[relay.url], ended=ended)
        peer = relay.accept()
        client.expect("connect")
        threading.Thread(target=client.feed.stop, args=(SHUTDOWN,)).start()
        assert peer.expect_close_frame() == Close(1000, "")
        peer.close(1000)
        assert peer.is_closed()
        assert await_death(client.feed) is SHUTDOWN
        assert ended == [SHUTDOWN]
        client.expect_nothing(0.05)


@pytest.mark.parametrize("phase", ["silent after the upgrade", "hanging upgrade", "stalled TLS"])
def test_stopping_with_a_silent_relay_returns_in_time(phase: str) -> None:
    with FakeRelay() as relay:
        url = relay.url.replace("ws:", "wss:") if phase == "stalled TLS" else relay.url
        client = Recording(urls=[url])
        if phase == "silent after the upgrade":
            relay.accept()
            client.expect("connect")
        else:
            relay.accept_raw()
        began = time.monotonic()
        client.feed.stop()
        assert time.monotonic() - began < 3


def test_a_client_whose_init_fails_leaves_nothing() -> None:
    class Failing(GenNostr[None]):
        def init(self, init_arg: str) -> Any:
            self.add_relay(init_arg)
            return Stop("no")

    with FakeRelay() as relay, pytest.raises(StartError, match="no"):
        Failing.start(relay.url)


def test_a_call_waits_for_one_callback_though_batches_of_many_relays_came_before_it() -> None:
    gate, begun = threading.Event(), threading.Event()

    class Slow(Recorder):
        handled = 0

        def handle_notice(self, message: Any, relay: Any, state: Any) -> Any:
            self.handled += 1
            begun.set()
            gate.wait(5)

        def handle_call(self, request: Any, from_: Any, state: Any) -> Any:
            return Reply(self.handled)

    with FakeRelay() as relay, Recording(Slow, urls=[f"{relay.url}/{number}" for number in range(8)]) as client:
        peers = [relay.accept() for _ in range(8)]
        client.expect(*["connect"] * 8)
        for peer in peers:
            peer.raw(encode_frame(TEXT, b'["NOTICE","x"]') * 3 + encode_frame(PING, b""))
            assert peer.receive_frame().opcode == PONG  # the notices are in the client's mailbox
        assert begun.wait(5)
        answer = client.feed.send_request("how many?")
        gate.set()
        assert answer.wait() <= 2  # of 24: the one that was under way, and one more at most


def test_a_suspended_connection_reads_on_when_it_is_resumed_and_does_not_spin_meanwhile() -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url]) as client:
        peer = relay.accept()
        client.expect("connect")
        connection = actors(client.feed)["Connection"]
        connection.suspend()
        peer.send(["NOTICE", "x"])
        assert connection.statistics().messages <= 1  # the news of the socket, once
        before = time.thread_time(), time.process_time()
        client.expect_nothing()
        spent = (time.process_time() - before[1]) - (time.thread_time() - before[0])
        assert spent < 0.1  # of 0.2 s
        assert connection.statistics().messages <= 1
        connection.resume()
        assert client.expect("notice").value.message == "x"


def test_a_call_is_answered_between_two_events_of_a_flood() -> None:
    class Slow(Recorder):
        def handle_notice(self, message: Any, relay: Any, state: Any) -> Any:
            state["gate"].wait(0.02)
            return Ok()

    with FakeRelay() as relay, Recording(Slow, urls=[relay.url], gate=threading.Event()) as client:
        peer = relay.accept()
        client.expect("connect")
        for _ in range(200):
            peer.send(["NOTICE", "x"])
        began = time.monotonic()
        assert client.feed.call(1) == 1
        assert time.monotonic() - began < 1  # not the four seconds of the flood
        client.script["gate"].set()


@pytest.mark.parametrize("end", ["init", "killed", "signal"])
def test_the_end_of_a_client_is_no_crash_of_its_tree(end: str, caplog: pytest.LogCaptureFixture) -> None:
    primary: list[Pid] = []

    class Ending(GenNostr[None]):
        def init(self, init_arg: Any) -> Any:
            primary.append(tree(self.pid).children[0].pid)  # type: ignore[arg-type]
            if end == "init":
                raise ValueError("no")
            return Ok(None)

    if end == "init":
        with pytest.raises(StartError):
            Ending.start()
    else:
        Ending.start().exit(KILL if end == "killed" else "boom")
    await_death(primary[0])
    assert [record for record in caplog.records if "crashed" in record.getMessage()] == []
