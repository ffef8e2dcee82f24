"""The fixtures: pytest finds them by itself where gennostr is installed.

Nothing but pytest is imported here before a fixture is asked for.
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
    """Where a test asks for `no_leaks`, set that up before the other fixtures, in whatever order it names them."""
    if "no_leaks" in request.fixturenames:
        request.getfixturevalue("no_leaks")


@pytest.fixture
def probe(_no_leaks_first: None) -> Iterator[Probe]:
    """Return a `gennostr.testing.Probe`; the test's thread acts as it, and it ends with the test."""
    from gennostr.testing.probe import Probe  # noqa: PLC0415 - see above

    with Probe() as probe:
        yield probe


@pytest.fixture
def manual_clock(_no_leaks_first: None) -> Iterator[ManualClock]:
    """Return a `gennostr.testing.ManualClock` that is in force during the test."""
    from gennostr.testing.manual_clock import ManualClock  # noqa: PLC0415

    with ManualClock() as clock:
        yield clock


@pytest.fixture
def fake_relay(_no_leaks_first: None) -> Iterator[FakeRelay]:
    """Return a `gennostr.testing.FakeRelay` that listens; the test plays it."""
    from gennostr.testing.fake_relay import FakeRelay  # noqa: PLC0415

    with FakeRelay() as relay:
        yield relay


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Fail the test if it leaves a thread, a child process, a descriptor or an actor behind.

    What fixtures of wider scope hold is no leak; of what the other fixtures here start, nothing may be left.
    """
    from gennostr.testing import leaks  # noqa: PLC0415

    before = leaks.Snapshot()
    yield
    leaks.check(before)


@pytest.fixture
def start_supervised(_no_leaks_first: None) -> Iterator[Supervised]:
    """Return ``start_supervised(Server, argument)``, which starts a server for the test and returns its pid.

    The servers are stopped after the test in reverse order. A crash that ``start_supervised.expect_crash`` has not
    asked for fails the test, with the crash report.
    """
    from gennostr.testing.supervised import Supervised  # noqa: PLC0415

    supervised = Supervised()
    try:
        yield supervised
    finally:
        crashes = supervised.end()
    if crashes:
        pytest.fail("\n".join(["a server crashed, and no test expected it:", *crashes]), pytrace=False)
