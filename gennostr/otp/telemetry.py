"""Telemetry: events about the actors, for counting, tracing or plotting.

A handler is called with the event's name, its measurements (numbers) and its metadata. If no handler is attached, no
event is built.

>>> from gennostr import GenServer, telemetry
>>> names: list[str] = []
>>> def count(name, measurements, metadata):
...     names.append(name)
>>> telemetry.attach(count)
>>> with GenServer.start() as server:
...     pass
>>> telemetry.detach(count)
>>> names
['actor.start', 'actor.stop']

Events
------

- ``actor.start``: an actor's init has succeeded. Measurements: ``duration``, the seconds that init took. Metadata:
  ``pid``, ``parent`` (the pid that it is linked to, or None).
- ``actor.stop``: an actor has ended cleanly. Measurements: ``lifetime``, seconds. Metadata: ``pid``, ``reason``.
- ``actor.crash``: an actor has ended with a failure, KILLED and a failed init included. Measurements: ``lifetime``,
  seconds. Metadata: ``pid``, ``reason``.
- ``supervisor.restart``: a child was restarted. Measurements: ``restarts``, of this child so far. Metadata:
  ``supervisor`` (its pid), ``id`` (the child's), ``pid`` (the new one, or None if init returned IGNORE), ``reason``
  (why the old one ended).
- ``call``: a ``call`` or ``call_async`` has ended. Measurements: ``duration``, seconds. Metadata: ``target`` (pid, name
  or via), ``request``, ``outcome`` ("reply", "exit" or "timeout").
- ``mailbox.high_water``: an actor takes a message, and HIGH_WATER or more others are waiting; again each time that
  number has doubled since the last such event. Measurements: ``length``, the waiting messages. Metadata: ``pid``.
- ``connection.attempt``: a client starts to connect to a relay. Measurements: ``reconnect_counter``, 0 at first.
  Metadata: ``relay`` (a `Relay`).
- ``connection.up``: the connection is open. Measurements: ``duration``, seconds since the attempt. Metadata:
  ``relay``.
- ``connection.down``: the connection, or the attempt, has ended. Measurements: ``uptime``, seconds, 0 if never up.
  Metadata: ``relay``, ``reason`` (as in handle_disconnect), ``error`` (as in handle_error, or None).
"""

import logging
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from gennostr.otp import tracebacks
from gennostr.values import shown

logger = logging.getLogger(__name__)
logger.addFilter(tracebacks.escape)

Handler: TypeAlias = Callable[[str, Mapping[str, float], Mapping[str, object]], object]
"""The type of a handler: a function of an event's name, measurements and metadata."""

HIGH_WATER: Final = 64
"""How many waiting messages of one actor cause the first ``mailbox.high_water`` event."""

# In the order of attaching. No lock, so that a finalizer or a signal handler can attach, detach and emit anywhere: each
# use is one atomic dict operation or works on a copy.
handlers: dict[object, Handler] = {}


def attach(handler: Handler) -> None:
    """Call ``handler(name, measurements, metadata)`` for every event from now on.

    The handler runs in the thread where the event happens, often an actor's, so it must be quick and must not block. A
    handler that raises is detached, and the failure is logged once. Attaching a handler again has no effect.

    >>> from gennostr import GenServer, telemetry
    >>> def show(name, measurements, metadata):
    ...     if name == "actor.stop":
    ...         print(name, metadata["reason"])
    >>> telemetry.attach(show)
    >>> with GenServer.start() as server:
    ...     pass
    actor.stop NORMAL
    >>> telemetry.detach(show)

    Args:
        handler: a function of the event's name (a string), its measurements (a mapping of numbers) and its metadata (a
            mapping).

    Raises:
        TypeError: `handler` is not callable.

    """
    if not callable(handler):
        raise TypeError(f"a telemetry handler must be callable, not {shown(handler)}")
    handlers[_key(handler)] = handler


def detach(handler: Handler) -> None:
    """Detach a handler; do nothing if it is not attached.

    Another thread may be calling the handler at this moment.

    >>> from gennostr import telemetry
    >>> telemetry.detach(print)

    Args:
        handler: what was given to `attach`. Bound methods of one object are equal.

    """
    handlers.pop(_key(handler), None)


def _key(handler: Handler) -> object:
    """Return the dict key for `handler`: itself, or its id if it is not hashable.

    Bound methods compare equal.
    """
    try:
        hash(handler)
    except TypeError:
        return id(handler), _key
    return handler


def emit(name: str, measurements: Mapping[str, float], metadata: Mapping[str, object]) -> None:
    """Call every handler.

    Callers check `handlers` first, to avoid building an event that nobody receives.
    """
    for handler in list(handlers.values()):
        try:
            handler(name, measurements, metadata)
        except BaseException:
            detach(handler)
            logger.exception("the telemetry handler %s raised on %s and was detached", shown(handler), name)
