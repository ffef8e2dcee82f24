"""Child specifications: how a supervisor starts, stops and restarts one child."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeAlias, TypedDict

from gennostr.values import shown, shown_fields

Restart: TypeAlias = Literal["permanent", "transient", "temporary"]
ShutdownTime: TypeAlias = float | Literal["brutal_kill"]


class Overrides(TypedDict, total=False):
    """The fields of `ChildSpec`, as keyword arguments of ``child_spec``."""

    id: object
    start: Callable[..., Any]
    restart: Restart
    shutdown: ShutdownTime | None
    type: Literal["worker", "supervisor"]
    significant: bool


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """The specification of one child of a supervisor.

    A class's ``child_spec`` makes one; make it yourself if the child needs another id, start or restart. OTP: the child
    specification of ``supervisor``.

    >>> from functools import partial
    >>> from gennostr import ChildSpec, GenServer, Supervisor, get_state
    >>> spec = ChildSpec("cache", partial(GenServer.start_link, {}, name="cache"), restart="transient", shutdown=2.0)
    >>> with Supervisor.start([spec]):
    ...     get_state("cache")
    {}

    Args:
        id: identifies the child within its supervisor; any hashable value.
        start: a callable that returns a pid or IGNORE, usually a ``start_link`` or a partial of one. It runs in the
            supervisor's process; if it raises, the start has failed. A dynamic supervisor's `extra_arguments` go first.
        restart: "permanent" (the default): always restarted. "transient": restarted after a failure, not after a clean
            end. "temporary": never restarted.
        shutdown: the seconds that the child has to end after its supervisor signals SHUTDOWN, after which it is killed;
            ``math.inf`` for no limit; "brutal_kill" to kill it at once. Default None: 5.0 for a worker, ``math.inf``
            for a supervisor.
        type: "worker" (the default) or "supervisor".
        significant: True if the child's end can end the supervisor (its `auto_shutdown`); not for permanent children.
            Default False.

    Raises:
        TypeError, ValueError: a field is invalid; the message names the field and its value.

    """

    id: object
    start: Callable[..., Any] = field(hash=False)  # it may not be hashable, and the hash of the id is enough
    restart: Restart = "permanent"
    shutdown: ShutdownTime | None = None
    type: Literal["worker", "supervisor"] = "worker"
    significant: bool = False

    __repr__ = shown_fields

    def __post_init__(self) -> None:
        try:
            hash(self.id)
        except TypeError as error:
            raise TypeError(f"id must be hashable, not {shown(self.id)}") from error
        if not callable(self.start):
            raise TypeError(f"start must be callable, not {shown(self.start)}")
        check_choice("restart", self.restart, ("permanent", "transient", "temporary"))
        check_choice("type", self.type, ("worker", "supervisor"))
        if self.shutdown is None:
            object.__setattr__(self, "shutdown", math.inf if self.type == "supervisor" else 5.0)
        elif self.shutdown != "brutal_kill":
            check_number("shutdown", self.shutdown)
        if not isinstance(self.significant, bool):
            raise TypeError(f"significant must be True or False, not {shown(self.significant)}")
        if self.significant and self.restart == "permanent":
            raise ValueError("significant must be False for a permanent child, which is always restarted")

    def call_start(self, extra_arguments: Sequence[object] = ()) -> Any:
        """Call ``start``; extra arguments go before those of a partial.

        Args:
            extra_arguments: what a dynamic supervisor adds. Default: none.

        Returns:
            What ``start`` returns, for a valid one a pid or IGNORE.

        """
        if not extra_arguments:
            return self.start()
        if isinstance(self.start, partial):
            return self.start.func(*extra_arguments, *self.start.args, **self.start.keywords)
        return self.start(*extra_arguments)


def check_choice(field: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise ValueError naming `field` and `value` unless it is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{field} must be one of {', '.join(choices)}, not {shown(value)}")


def check_number(field: str, value: object) -> None:
    """Raise TypeError or ValueError unless `value` is a number, zero or more.

    The message names `field` and `value`.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{field} must be a number, not {shown(value)}")
    if not value >= 0:
        raise ValueError(f"{field} must be zero or more, not {shown(value)}")


def check_count(field: str, value: object) -> None:
    """Raise TypeError or ValueError unless `value` is a whole number, zero or more.

    The message names `field` and `value`.
    """
    if not isinstance(value, int):
        raise TypeError(f"{field} must be a whole number, not {shown(value)}")
    check_number(field, value)


def to_child_spec(child: object) -> ChildSpec:
    """Convert a spec, a server class, or ``(class, argument)`` to a `ChildSpec`.

    Raises:
        TypeError: `child` has another type.

    """
    if isinstance(child, ChildSpec):
        return child
    cls, arguments = (child[0], child[1:]) if isinstance(child, tuple) and child else (child, ())
    make = getattr(cls, "child_spec", None)
    spec = make(*arguments) if isinstance(cls, type) and make is not None and len(arguments) <= 1 else None
    if not isinstance(spec, ChildSpec):
        raise TypeError(f"a child must be a ChildSpec, a server class or (class, argument), not {shown(child)}")
    return spec
