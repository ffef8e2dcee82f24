"""The test kit: probes, relays, a manual clock, and callbacks without threads.

- `Probe`: an actor that the test controls; it receives what the code under test sends.
- `FakeRelay`: a relay that the test scripts message by message. `MemoryRelay`: a small working relay.
- `make_event`: signed events; the relays make and sign theirs in the same way.
- `ManualClock`: time that moves only when the test advances it.
- `recording`: calls a server's callbacks without a thread and records what they do.
- `StoreContract`: the tests that every store must pass (see `gennostr.store`).
- `Supervised`: servers that are stopped after the test, and whose crashes fail it.

pytest loads the fixtures of `gennostr.testing.pytest_plugin` automatically: `probe`, `manual_clock`, `fake_relay`,
`start_supervised` and `no_leaks`. ``pytest --fixtures -v`` shows each with an example. It loads them in every run of
every project, and so the names here are imported on first use.
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gennostr.testing.event_factory import PUBLIC_KEY, SECRET_KEY, EventFields, make_event
    from gennostr.testing.fake_relay import FakeConnection, FakeRelay, Req
    from gennostr.testing.manual_clock import ManualClock
    from gennostr.testing.memory_relay import MemoryRelay
    from gennostr.testing.probe import ANYTHING, Probe, ReceivedCall
    from gennostr.testing.recorded import (
        Added,
        Broadcast,
        Forgotten,
        Pinged,
        PublishedEvent,
        Reconnecting,
        Removed,
        RequestedCount,
        Scheduled,
        Sent,
        Subscribed,
        Unsubscribed,
        recording,
    )
    from gennostr.testing.store_contract import StoreContract
    from gennostr.testing.supervised import ExpectedCrash, Supervised

    AskedCount = RequestedCount

__all__ = [
    "ANYTHING",
    "PUBLIC_KEY",
    "SECRET_KEY",
    "Added",
    "Broadcast",
    "EventFields",
    "ExpectedCrash",
    "FakeConnection",
    "FakeRelay",
    "Forgotten",
    "ManualClock",
    "MemoryRelay",
    "Pinged",
    "Probe",
    "PublishedEvent",
    "ReceivedCall",
    "Reconnecting",
    "Removed",
    "Req",
    "RequestedCount",
    "Scheduled",
    "Sent",
    "StoreContract",
    "Subscribed",
    "Supervised",
    "Unsubscribed",
    "make_event",
    "recording",
]

_NAMES = {
    "event_factory": "PUBLIC_KEY SECRET_KEY EventFields make_event",
    "fake_relay": "FakeConnection FakeRelay Req",
    "manual_clock": "ManualClock",
    "memory_relay": "MemoryRelay",
    "probe": "ANYTHING Probe ReceivedCall",
    "recorded": (
        "Added Broadcast Forgotten Pinged PublishedEvent Reconnecting Removed RequestedCount Scheduled Sent Subscribed "
        "Unsubscribed recording"
    ),
    "store_contract": "StoreContract",
    "supervised": "ExpectedCrash Supervised",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}
_RENAMED = {"AskedCount": "RequestedCount"}
"""Old names, which work until 1.0."""


if not TYPE_CHECKING:  # a type checker that sees __getattr__ would accept every misspelled name

    def __getattr__(name: str) -> object:
        if name in _RENAMED:
            new = _RENAMED[name]
            warnings.warn(f"{__name__}.{name} is now {new}", DeprecationWarning, stacklevel=2)
            return getattr(import_module(__name__), new)  # not cached, so that each use warns
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        # Cached, so that __getattr__ runs once per name.
        value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
