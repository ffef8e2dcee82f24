"""Introspection: a tree of processes as a value, and as text."""

from dataclasses import dataclass

from gennostr.exceptions import CallError
from gennostr.otp.pid import Pid


@dataclass(frozen=True, slots=True)
class Node:
    """One actor of a tree: `messages` wait in its mailbox; `status` is "dead" if it did not answer."""

    name: str
    pid: Pid
    status: str
    messages: int
    state: object
    children: tuple["Node", ...] = ()

    def __str__(self) -> str:
        return "\n".join(self._lines("", ""))

    def _lines(self, first: str, rest: str) -> list[str]:
        lines = [f"{first}{self.name}  {self.status}, {self.messages} waiting, state {self.state!r}"]
        for child in self.children[:-1]:
            lines += child._lines(f"{rest}├── ", f"{rest}│   ")
        for child in self.children[-1:]:
            lines += child._lines(f"{rest}└── ", f"{rest}    ")
        return lines


def tree(pid: Pid, timeout: float = 5.0) -> Node:
    """Return the tree of actors below `pid`, each asked for its status (`timeout` seconds each)."""
    name = repr(pid).removeprefix("<Pid ").removesuffix(">")
    try:
        status = pid.get_status(timeout)
    except CallError:
        return Node(name, pid, "alive" if pid.is_alive() else "dead", 0, None)
    pids = [getattr(child, "pid", child) for child in status.children]
    children = tuple(tree(child, timeout) for child in reversed(pids) if isinstance(child, Pid))
    return Node(name, pid, status.status, status.messages, status.state, children)
