"""Telemetry: events about the actors, for counting, tracing or plotting.

A handler is called with the event's name, its measurements (numbers) and its metadata. If no handler is attached, no
event is built.

=========================  ==========================================  ==============================================
event                      measurements                                metadata
=========================  ==========================================  ==============================================
``actor.start``            ``duration``: seconds that init took        ``pid``, ``parent`` (pid or None)
``actor.stop``             ``lifetime``: seconds                       ``pid``, ``reason``: a clean one
``actor.crash``            ``lifetime``: seconds                       ``pid``, ``reason``: any other, KILLED too
``supervisor.restart``     ``restarts``: of this child so far          ``supervisor``, ``id`` (None below a dynamic
                                                                       supervisor), ``pid`` (new), ``reason``
``call``                   ``duration``: seconds, of ``call`` and      ``target``, ``request``, ``outcome``: "reply",
                           ``call_async``                              "exit" or "timeout"
``mailbox.high_water``     ``length``: messages that wait              ``pid``
``connection.attempt``     ``reconnect_counter``                       ``relay``
``connection.up``          ``duration``: seconds since the attempt     ``relay``
``connection.down``        ``uptime``: seconds, 0 if never up          ``relay``, ``reason`` (handle_disconnect's),
                                                                       ``error`` (handle_error's, or None)
=========================  ==========================================  ==============================================

``mailbox.high_water`` is emitted when an actor takes a message and at least HIGH_WATER others are waiting, and again
each time that number has doubled since the last such event.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from gennostr.otp import tracebacks
from gennostr.values import shown

logger = logging.getLogger(__name__)
logger.addFilter(tracebacks.escape)

Handler: TypeAlias = Callable[[str, Mapping[str, float], Mapping[str, object]], object]

HIGH_WATER: Final = 64

# In the order of attaching. No lock, so that a finalizer or a signal handler can attach, detach and emit anywhere: each
# use is one atomic dict operation or works on a copy.
handlers: dict[object, Handler] = {}


def attach(handler: Handler) -> None:
    """Call ``handler(name, measurements, metadata)`` for every event from now on.

    The handler runs in the thread where the event happens, often an actor's, so it must be quick and must not block. A
    handler that raises is detached, and the failure is logged once. Attaching a handler again has no effect.

    Raises:
        TypeError: `handler` is not callable.

    """
    if not callable(handler):
        raise TypeError(f"a telemetry handler must be callable, not {shown(handler)}")
    handlers[_key(handler)] = handler


def detach(handler: Handler) -> None:
    """Detach `handler`; do nothing if it is not attached."""
    handlers.pop(_key(handler), None)


def _key(handler: Handler) -> object:
    """Return the dict key for `handler`: itself (bound methods compare equal), or its id if it is not hashable."""
    try:
        hash(handler)
    except TypeError:
        return id(handler), _key
    return handler


def emit(name: str, measurements: Mapping[str, float], metadata: Mapping[str, object]) -> None:
    """Call every handler. Callers check `handlers` first, to avoid building an event that nobody receives."""
    for handler in list(handlers.values()):
        try:
            handler(name, measurements, metadata)
        except BaseException:
            detach(handler)
            logger.exception("the telemetry handler %s failed on %s and is detached", shown(handler), name)
