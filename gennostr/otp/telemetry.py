"""Telemetry: what happens in the actors, as events for whoever wants to count, trace or plot.

A handler gets the event's name, its measurements (numbers) and its metadata. Where none is attached, nothing is built
and nothing is called.

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

``mailbox.high_water`` comes when an actor that takes a message finds at least HIGH_WATER others behind it, and
again whenever it finds twice as many as the last time.
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

# In the order of attaching. No lock, so that a finalizer or a signal handler may attach, detach and emit anywhere: each
# use is one operation of the dict, which is atomic, or works on a copy.
handlers: dict[object, Handler] = {}


def attach(handler: Handler) -> None:
    """Call ``handler(name, measurements, metadata)`` for every event from now on.

    It runs in the thread where the event happens, often an actor's: it must be quick and must not block. One that
    raises is detached, with one record in the log. Attaching a handler twice is attaching it once.

    Raises:
        TypeError: it cannot be called.

    """
    if not callable(handler):
        raise TypeError(f"a telemetry handler must be callable, not {shown(handler)}")
    handlers[_key(handler)] = handler


def detach(handler: Handler) -> None:
    """Call `handler` no more; nothing if it is not attached."""
    handlers.pop(_key(handler), None)


def _key(handler: Handler) -> object:
    """Return what stands for `handler`: itself (two bound methods are equal), or its identity if it has no hash."""
    try:
        hash(handler)
    except TypeError:
        return id(handler), _key
    return handler


def emit(name: str, measurements: Mapping[str, float], metadata: Mapping[str, object]) -> None:
    """Tell every handler. Callers look at `handlers` first, so that no one builds what nobody hears."""
    for handler in list(handlers.values()):
        try:
            handler(name, measurements, metadata)
        except BaseException:
            detach(handler)
            logger.exception("the telemetry handler %s failed on %s and is detached", shown(handler), name)
