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
import threading
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from gennostr.values import shown

logger = logging.getLogger(__name__)

Handler: TypeAlias = Callable[[str, Mapping[str, float], Mapping[str, object]], object]

HIGH_WATER: Final = 64

# Replaced as a whole, never changed, so that emit needs no lock: it walks over the tuple that it found.
handlers: tuple[Handler, ...] = ()
_changing = threading.Lock()  # protects the replacing: two at once would lose one


def attach(handler: Handler) -> None:
    """Call ``handler(name, measurements, metadata)`` for every event from now on.

    It runs in the thread where the event happens, often an actor's: it must be quick and must not block. One that
    raises is detached, with one record in the log. Attaching a handler twice is attaching it once.

    Raises:
        TypeError: it cannot be called.

    """
    global handlers  # noqa: PLW0603
    if not callable(handler):
        raise TypeError(f"a telemetry handler must be callable, not {shown(handler)}")
    with _changing:
        if handler not in handlers:
            handlers = (*handlers, handler)


def detach(handler: Handler) -> None:
    """Call `handler` no more; nothing if it is not attached."""
    global handlers  # noqa: PLW0603
    with _changing:
        handlers = tuple(each for each in handlers if each != handler)


def emit(name: str, measurements: Mapping[str, float], metadata: Mapping[str, object]) -> None:
    """Tell every handler. Callers look at `handlers` first, so that no one builds what nobody hears."""
    for handler in handlers:
        try:
            handler(name, measurements, metadata)
        except BaseException:
            detach(handler)
            logger.exception("the telemetry handler %s failed on %s and is detached", shown(handler), name)
