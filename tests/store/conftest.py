"""The two stores, and a relay."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gennostr.client.persistence import Store
from gennostr.store import MemoryStore, SqliteStore
from gennostr.testing import MemoryRelay


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "feed.db")


@pytest.fixture
def relay() -> Iterator[MemoryRelay]:
    with MemoryRelay() as memory:
        yield memory
