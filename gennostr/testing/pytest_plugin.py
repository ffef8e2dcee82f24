"""The pytest fixtures. pytest loads this plugin automatically if gennostr is installed.

Only pytest is imported here until a fixture is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gennostr.testing.fake_relay import FakeRelay
    from gennostr.testing.manual_clock import ManualClock
    from gennostr.testing.probe import Probe
    from gennostr.testing.supervised import Supervised


@pytest.fixture
def _no_leaks_first(request: pytest.FixtureRequest) -> None:
    """If the test uses `no_leaks`, set it up before the other fixtures, whatever their order."""
    if "no_leaks" in request.fixturenames:
        request.getfixturevalue("no_leaks")


@pytest.fixture
def probe(_no_leaks_first: None) -> Iterator[Probe]:
    """Return a `gennostr.testing.Probe` that the test's thread acts as; it ends with the test."""
    from gennostr.testing.probe import Probe  # noqa: PLC0415 - see above

    with Probe() as probe:
        yield probe


@pytest.fixture
def manual_clock(_no_leaks_first: None) -> Iterator[ManualClock]:
    """Return a `gennostr.testing.ManualClock`, installed during the test."""
    from gennostr.testing.manual_clock import ManualClock  # noqa: PLC0415

    with ManualClock() as clock:
        yield clock


@pytest.fixture
def fake_relay(_no_leaks_first: None) -> Iterator[FakeRelay]:
    """Return a listening `gennostr.testing.FakeRelay`, which the test scripts."""
    from gennostr.testing.fake_relay import FakeRelay  # noqa: PLC0415

    with FakeRelay() as relay:
        yield relay


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Fail the test if it leaves a thread, a child process, a descriptor or an actor behind.

    Resources held by fixtures of wider scope are not leaks. The other fixtures of this plugin must leave nothing.
    """
    from gennostr.testing import leaks  # noqa: PLC0415

    before = leaks.Snapshot()
    yield
    leaks.check(before)


@pytest.fixture
def start_supervised(_no_leaks_first: None) -> Iterator[Supervised]:
    """Return ``start_supervised(Server, argument)``, which starts a server for the test and returns its pid.

    The servers are stopped after the test, in reverse order. A crash that was not awaited with
    ``start_supervised.expect_crash`` fails the test and shows the crash report.
    """
    from gennostr.testing.supervised import Supervised  # noqa: PLC0415

    supervised = Supervised()
    try:
        yield supervised
    finally:
        crashes = supervised.end()
    if crashes:
        pytest.fail("\n".join(["a server crashed, and no test expected it:", *crashes]), pytrace=False)
