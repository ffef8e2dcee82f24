"""The test kit: probes, relays, a manual clock, and callbacks without threads.

The fixtures are in `gennostr.testing.pytest_plugin`, which pytest loads automatically in every run; so the names here
are imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gennostr.testing.fake_relay import FakeConnection, FakeRelay, Req, make_event
    from gennostr.testing.manual_clock import ManualClock
    from gennostr.testing.memory_relay import MemoryRelay
    from gennostr.testing.probe import Probe, ReceivedCall
    from gennostr.testing.recorded import (
        Added,
        AskedCount,
        Broadcast,
        Pinged,
        PublishedEvent,
        Reconnecting,
        Removed,
        Scheduled,
        Sent,
        Subscribed,
        Unsubscribed,
        recording,
    )
    from gennostr.testing.supervised import Supervised

__all__ = [
    "Added",
    "AskedCount",
    "Broadcast",
    "FakeConnection",
    "FakeRelay",
    "ManualClock",
    "MemoryRelay",
    "Pinged",
    "Probe",
    "PublishedEvent",
    "ReceivedCall",
    "Reconnecting",
    "Removed",
    "Req",
    "Scheduled",
    "Sent",
    "Subscribed",
    "Supervised",
    "Unsubscribed",
    "make_event",
    "recording",
]

_NAMES = {
    "fake_relay": "FakeConnection FakeRelay Req make_event",
    "manual_clock": "ManualClock",
    "memory_relay": "MemoryRelay",
    "probe": "Probe ReceivedCall",
    "recorded": (
        "Added AskedCount Broadcast Pinged PublishedEvent Reconnecting Removed Scheduled Sent Subscribed Unsubscribed "
        "recording"
    ),
    "supervised": "Supervised",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Cached, so that __getattr__ runs once per name.
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
