"""Introspection: a tree of processes as a value and as text.

The tree is read from outside, without messages to its actors, so this also works if they are stuck. Parts of a running
tree may change while it is read.
"""

from dataclasses import dataclass

from gennostr.exceptions import NoProcess
from gennostr.otp.child import ChildInfo, shown_id
from gennostr.otp.names import Via, resolve
from gennostr.otp.pid import Pid, Target
from gennostr.otp.process import Process
from gennostr.values import shown


@dataclass(frozen=True, slots=True)
class Node:
    """One actor of a `tree`, or a child that is not running.

    ``print(node)`` draws the tree below it.

    >>> from gennostr import ChildSpec, GenServer, Supervisor, tree
    >>> with Supervisor.start([ChildSpec("cache", GenServer.start_link)], name="app"):
    ...     node = tree("app")
    >>> node.name, node.status, len(node.children), node.children[0].restarts
    ('app', 'running', 1, 0)

    Attributes:
        name: the registered name, otherwise the class name; for a child that is not running, its id.
        pid: its pid, or None for a child that is not running.
        status: "starting", "running", "suspended" or "dead"; for a child without a pid, "restarting" or "not running";
            for a connection, "dialling", "open" or "closing".
        messages: the number of messages in its mailbox.
        restarts: the number of restarts that led to this pid.
        waits_for: the process that it is waiting for in a call, or None; a cycle of these is a deadlock.
        children: the nodes below it, in start order.

    """

    name: str
    pid: Pid | None
    status: str
    messages: int = 0
    restarts: int = 0
    waits_for: Pid | None = None
    children: tuple["Node", ...] = ()

    def __str__(self) -> str:
        return "\n".join(_lines(self, "", ""))


def _lines(node: Node, first: str, rest: str) -> list[str]:
    line = f"{first}{node.name if node.pid is None else _shown(node.pid)}  {node.status}"
    if node.pid is not None:
        line += f", {node.messages} waiting"
    if node.restarts:
        line += f", restarted {'once' if node.restarts == 1 else f'{node.restarts} times'}"
    if node.waits_for is not None:
        line += f", waits for {_shown(node.waits_for)}"
    lines = [line]
    for child in node.children[:-1]:
        lines += _lines(child, f"{rest}├── ", f"{rest}│   ")
    for child in node.children[-1:]:
        lines += _lines(child, f"{rest}└── ", f"{rest}    ")
    return lines


def _shown(pid: Pid) -> str:
    return repr(pid).removeprefix("<Pid ").removesuffix(">")


def tree(target: Target) -> Node:
    """Return the tree of actors below a process, as a value that can be printed.

    It is read from outside, without messages, so it works even if actors are stuck. A dead pid gives a node with status
    "dead". OTP: observer's tree of an application.

    >>> from gennostr import ChildSpec, GenServer, Supervisor, tree
    >>> with Supervisor.start([ChildSpec("cache", GenServer.start_link)], name="app"):
    ...     print(tree("app"))
    Supervisor#... 'app'  running, 0 waiting
    └── GenServer#...  running, 0 waiting

    Args:
        target: a pid, a name or a via.

    Returns:
        The `Node` of the process, with its children in start order.

    Raises:
        NoProcess: no process is registered under that name.
        TypeError: `target` is not a pid, name or via.

    """
    process = resolve(target)
    if process is None:
        raise NoProcess(target)
    return _node(process)


def _node(process: Process) -> Node:
    name = process.name
    if name is None:
        text = process.pid.actor_class.__name__
    else:  # the repr, because a key's repr may hide secrets
        text = shown(name.key if isinstance(name, Via) else name).strip("'")
    actor = process.actor
    if actor is None:
        return Node(text, process.pid, "dead", restarts=process.restarts)
    return Node(
        text,
        process.pid,
        actor.activity(),
        actor.mailbox_length(),
        process.restarts,
        _awaited(process),
        tuple(_child(child) for child in reversed(actor.children())),
    )


def _awaited(process: Process) -> Pid | None:
    waiting = process.waiting
    awaited = None if waiting is None else waiting.process
    return None if awaited is None else awaited.pid


def _child(child: object) -> Node:
    if isinstance(child, Pid):
        return _node(child.process)
    assert isinstance(child, ChildInfo)  # noqa: S101
    if isinstance(child.pid, Pid):
        return _node(child.pid.process)
    return Node(shown_id(child.id), None, "restarting" if child.pid == "restarting" else "not running")
