"""The real relays, and a check after every test that it left nothing behind."""

import gc
from collections.abc import Iterator

import pytest

from gennostr.cli.local_relay import LocalRelay
from gennostr.testing import leaks
from tests.relays import NostrRelay


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves a thread, a process, a descriptor or an actor behind.

    Autouse and function scope make it the first fixture of the test after those of wider scope:
    what these hold is in the snapshot, and all others are torn down before the check.
    """
    before = leaks.Snapshot()
    yield
    leaks.check(before)


@pytest.fixture
def local_relay() -> Iterator[LocalRelay]:
    """nostr-sdk's relay, fresh."""
    with LocalRelay() as relay:
        yield relay


@pytest.fixture
def two_local_relays() -> Iterator[tuple[LocalRelay, LocalRelay]]:
    """Two of nostr-sdk's relays, fresh."""
    with LocalRelay() as one, LocalRelay() as other:
        yield one, other


def pytest_collection_finish() -> None:
    """Keep what has been imported out of the garbage collections to come: tests collect, and servers that hibernate."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def nostr_relay() -> Iterator[NostrRelay]:
    """nostr-relay, the same for all tests of a worker: it takes seconds to start."""
    with NostrRelay() as relay:
        yield relay
