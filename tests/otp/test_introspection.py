"""The tree as a value and as a picture; logs from which the crash of a deep tree can be understood."""

import re
import threading
from functools import partial
from typing import Any

import pytest

import gennostr as g
from gennostr import ChildSpec, DynamicSupervisor, Supervisor
from tests.otp.actors import DEADLINE, Driven, fail, settle, watching, within


def test_a_tree_tells_name_pid_status_messages_restarts_and_children() -> None:
    specs = [
        ChildSpec("first", partial(Driven.start_link, name="first")),
        ChildSpec("none", partial(Driven.start_link, lambda self: g.IGNORE)),
        ChildSpec("below", partial(Supervisor.start_link, [Driven]), type="supervisor"),
    ]
    with Supervisor.start(specs, name="top") as top:
        first = g.whereis("first")
        assert first is not None
        first.stop("crash")
        top.which_children()  # answered after the restart
        again = g.whereis("first")
        assert again is not None
        again.suspend()
        again.send("one")
        again.send("two")
        again.get_state()  # answered when both have been put aside: one that is on its way there is counted nowhere
        tree = g.tree("top")
        assert (tree.name, tree.pid, tree.status, tree.restarts) == ("top", top, "running", 0)
        one, none, below = tree.children
        assert (one.name, one.pid, one.status, one.messages, one.restarts) == ("first", again, "suspended", 2, 1)
        assert (none.name, none.pid, none.status, none.children) == ("'none'", None, "not running", ())
        assert (below.name, below.status) == ("Supervisor", "running")
        assert [child.name for child in below.children] == ["Driven"]


def test_the_picture_of_a_tree() -> None:
    specs = [
        ChildSpec("one", Driven.start_link),
        ChildSpec("two", partial(Supervisor.start_link, [Driven]), type="supervisor"),
        ChildSpec("none", partial(Driven.start_link, lambda self: g.IGNORE)),
    ]
    with Supervisor.start(specs, name="top") as top:
        picture = re.sub(r"#\d+", "#", str(g.tree(top)))
    assert picture == (
        "Supervisor# 'top'  running, 0 waiting\n"
        "├── Driven#  running, 0 waiting\n"
        "├── Supervisor#  running, 0 waiting\n"
        "│   └── Driven#  running, 0 waiting\n"
        "└── 'none'  not running"
    )


def test_a_tree_shows_actors_that_are_stuck_and_whom_they_wait_for() -> None:
    go, began = threading.Event(), threading.Event()

    def stuck(self: Any, from_: Any, state: Any) -> Any:
        began.set()
        go.wait(DEADLINE)
        return g.Reply(None)

    with Driven.start() as server, Driven.start() as caller:
        caller.cast(lambda self, state: server.call(stuck) and None)
        assert began.wait(DEADLINE)
        node = g.tree(caller)
        assert (node.status, node.waits_for) == ("running", server)
        assert f"waits for Driven#{server.process.number}" in str(node)
        go.set()
        settle(caller)
        assert g.tree(caller).waits_for is None


def test_who_is_started_linked_is_a_child_in_the_tree() -> None:
    with Driven.start() as parent:
        one = within(parent, lambda self: Driven.start_link())
        two = within(parent, lambda self: Driven.start_link())
        alone = within(parent, lambda self: Driven.start())
        assert [node.pid for node in g.tree(parent).children] == [one, two]
        for server in (one, two, alone):
            server.stop()


def test_the_tree_of_a_dynamic_supervisor_is_in_starting_order() -> None:
    with DynamicSupervisor.start() as supervisor:
        pids = [supervisor.start_child(ChildSpec(None, Driven.start_link)) for _ in range(3)]
        assert [node.pid for node in g.tree(supervisor).children] == pids


def test_the_tree_of_the_dead_is_a_node_and_of_an_unknown_name_an_error() -> None:
    server = Driven.start()
    server.stop()
    assert g.tree(server).status == "dead"
    with pytest.raises(g.NoProcess):
        g.tree("nobody")


def test_a_supervisor_that_is_starting_shows_what_it_has_started() -> None:
    go, began = threading.Event(), threading.Event()

    def slow(self: Any) -> Any:
        began.set()
        go.wait(DEADLINE)
        return g.Ok()

    specs = [ChildSpec("one", Driven.start_link), ChildSpec("two", partial(Driven.start_link, slow))]
    starting = threading.Thread(target=Supervisor.start, args=(specs, "starting"))
    starting.start()
    try:
        assert began.wait(DEADLINE)
        node = g.tree("starting")
        assert node.status == "starting"
        assert [child.status for child in node.children] == ["running"]
    finally:
        go.set()
        starting.join()
        g.stop("starting")


def test_the_crash_of_a_deep_tree_can_be_understood_from_its_log(caplog: pytest.LogCaptureFixture) -> None:
    def supervisor(depth: int) -> ChildSpec:
        below: Any = Driven if depth == 0 else supervisor(depth - 1)
        start = partial(Supervisor.start_link, [below], max_restarts=0)
        return ChildSpec(f"depth {depth}", start, type="supervisor")

    top = Supervisor.start([supervisor(2)], max_restarts=0, name="top")
    node = g.tree(top)
    pids = []
    while True:
        pids.append(node.pid)
        if not node.children:
            break
        (node,) = node.children
    with watching(top) as ended:
        leaf = pids[-1]
        assert leaf is not None
        leaf.cast(lambda self, state: fail(ValueError("the cause")))
        assert ended() is g.SHUTDOWN
    crash, *gave_up = caplog.records
    report = crash.__dict__["crash_report"]
    assert isinstance(report, g.CrashReport)
    assert (report.pid, report.callback, report.ancestors) == (leaf, "handle_cast", tuple(reversed(pids[:-1])))
    assert isinstance(report.reason, ValueError)
    assert crash.exc_info is not None
    # From the leaf to the top: which supervisor gave up, because of which child, which ended for which reason.
    for record, supervisor_, child, reason in zip(
        gave_up,
        reversed(pids[:-1]),
        reversed(pids[1:]),
        ["ValueError('the cause')", "SHUTDOWN", "SHUTDOWN", "SHUTDOWN"],
        strict=True,
    ):
        assert record.getMessage().startswith(f"{supervisor_!r} gives up after more than 0 restarts")
        assert record.getMessage().endswith(f"{child!r} ended with reason {reason}")
