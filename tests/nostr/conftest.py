"""The protocol opens nothing: what it left behind is looked for once for each module."""

from collections.abc import Iterator

import pytest

from gennostr.testing import leaks


@pytest.fixture(scope="module", autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Replace the check after every test, which takes longer than most of these tests."""
    before = leaks.Snapshot()
    yield
    leaks.check(before)
