"""Where two rules meet: the fence and stopping, timeouts and suspension, links and names."""

import threading
from typing import Any

import pytest

import gennostr as g
from gennostr import NOPROC, TIMEOUT, NoReply, Reply
from tests.otp.actors import Driven, Trapping, log_of, settle, within
from tests.otp.test_processes import Busy


def test_a_stop_without_waiting_by_an_abandoned_thread_has_no_effect() -> None:
    with Driven.start() as receiver:
        busy = Busy(lambda actor: receiver.stop(block=False))
        busy.kill()
        busy.leave()
        settle(receiver)
        assert receiver.is_alive()


def test_an_abandoned_thread_cancels_no_timer() -> None:
    with Driven.start() as receiver:
        timer = g.send_after(0.1, receiver, "due")
        busy = Busy(lambda actor: g.cancel_timer(timer))
        busy.kill()
        busy.leave()
        assert log_of(receiver).next() == "due"


def test_a_start_link_that_times_out_leaves_its_parent_without_an_exit() -> None:
    go = threading.Event()

    def start(self: Any) -> None:
        with pytest.raises(g.StartError):
            Driven.start_link(lambda self: go.wait(5), timeout=0.02)

    with Trapping.start() as parent:
        within(parent, start)
        go.set()
        settle(parent)
        assert log_of(parent).now() == []


def test_a_message_that_waited_while_suspended_cancels_the_timeout() -> None:
    with Driven.start() as server:
        log = log_of(server)
        server.cast(lambda self, state: NoReply(timeout=0.05))
        server.suspend()
        server.send("message")
        with pytest.raises(g.CallTimeout):
            server.call(lambda self, from_, state: Reply(1), 0.15)
        server.resume()
        settle(server)
        assert log.now() == ["message"]


def test_linking_to_an_unknown_name_is_an_exit_noproc_to_who_traps() -> None:
    with Trapping.start() as one:
        within(one, lambda self: g.link("nobody"))
        assert log_of(one).next().reason is NOPROC


def test_a_flushed_down_does_not_cancel_a_timeout() -> None:
    gone = Driven.start()
    gone.stop()
    with Driven.start() as watcher:
        log = log_of(watcher)

        def flush(self: Any, state: Any) -> Any:
            g.demonitor(g.monitor(gone), flush=True)
            return NoReply(timeout=0.02)

        watcher.cast(flush)
        assert log.next() is TIMEOUT
