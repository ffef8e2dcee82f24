"""Introspection: a tree of processes as a value, and as text.

It is read from outside and asks no actor anything, so it shows a tree that is stuck as well as one that works; the
parts of a tree that works may change while they are read.
"""

from dataclasses import dataclass

from gennostr.exceptions import NoProcess
from gennostr.otp.names import Via, resolve
from gennostr.otp.pid import Pid, Target
from gennostr.otp.process import Process
from gennostr.otp.supervisor import ChildInfo, shown_id


@dataclass(frozen=True, slots=True)
class Node:
    """One actor of a tree, or a child that does not run: its `pid` is None.

    `name` is the registered name, or else the class's (of a child that does not run: its id). `status` is a word:
    "starting", "running", "suspended" or "dead"; "restarting" or "not running" of a child without a pid; a connection
    tells "dialling", "open" or "closing". `restarts` led to this pid, and so many `messages` wait in its mailbox.
    `waits_for` is whom it waits for in a call: where these go in a circle, the circle is a deadlock.
    """

    name: str
    pid: Pid | None
    status: str
    messages: int = 0
    restarts: int = 0
    waits_for: Pid | None = None
    children: tuple["Node", ...] = ()

    def __str__(self) -> str:
        return "\n".join(self._lines("", ""))

    def _lines(self, first: str, rest: str) -> list[str]:
        line = f"{first}{self.name if self.pid is None else _shown(self.pid)}  {self.status}"
        if self.pid is not None:
            line += f", {self.messages} waiting"
        if self.restarts:
            line += f", restarted {'once' if self.restarts == 1 else f'{self.restarts} times'}"
        if self.waits_for is not None:
            line += f", waits for {_shown(self.waits_for)}"
        lines = [line]
        for child in self.children[:-1]:
            lines += child._lines(f"{rest}├── ", f"{rest}│   ")
        for child in self.children[-1:]:
            lines += child._lines(f"{rest}└── ", f"{rest}    ")
        return lines


def _shown(pid: Pid) -> str:
    return repr(pid).removeprefix("<Pid ").removesuffix(">")


def tree(target: Target) -> Node:
    """Return the tree of actors below `target` (a pid, name or via), children in starting order.

    Raises:
        NoProcess: nobody has that name; a pid that is dead is a node with status "dead".

    """
    process = resolve(target)
    if process is None:
        raise NoProcess(target)
    return _node(process)


def _node(process: Process) -> Node:
    name = process.name
    if name is None:
        shown = process.pid.actor_class.__name__
    else:  # the repr, for a key may hide in it what is not to be shown
        shown = repr(name.key if isinstance(name, Via) else name).strip("'")
    actor = process.actor
    if actor is None:
        return Node(shown, process.pid, "dead", restarts=process.restarts)
    return Node(
        shown,
        process.pid,
        actor._activity(),
        actor._mailbox_length(),
        process.restarts,
        _awaited(process),
        tuple(_child(child) for child in reversed(actor._children())),
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
