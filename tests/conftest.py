"""Fixtures for the real relays, and a check after every test that it left nothing behind."""

import gc
from collections.abc import Iterator

import pytest

from gennostr.cli.local_relay import LocalRelay
from gennostr.testing import leaks
from tests.relays import NostrRelay


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves a thread, a process, a descriptor or an actor behind.

    As an autouse fixture of function scope, it is set up right after the fixtures of wider scope: what those hold is in
    the snapshot, and all other fixtures are torn down before the check.
    """
    before = leaks.Snapshot()
    yield
    leaks.check(before)


@pytest.fixture
def local_relay() -> Iterator[LocalRelay]:
    """Return a new nostr-sdk relay."""
    with LocalRelay() as relay:
        yield relay


@pytest.fixture
def two_local_relays() -> Iterator[tuple[LocalRelay, LocalRelay]]:
    """Return two new nostr-sdk relays."""
    with LocalRelay() as one, LocalRelay() as other:
        yield one, other


def pytest_collection_finish() -> None:
    """Exclude imported objects from later garbage collections, which tests and hibernating servers trigger."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def nostr_relay() -> Iterator[NostrRelay]:
    """Return a nostr-relay, shared by all tests of a worker, as it takes seconds to start."""
    with NostrRelay() as relay:
        yield relay
