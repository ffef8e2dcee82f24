"""The pytest fixtures, which pytest loads automatically if gennostr is installed.

- `probe`: an actor that the test controls
- `manual_clock`: time that moves only when the test advances it
- `fake_relay`: a relay that the test scripts
- `start_supervised`: servers that are stopped after the test, and whose crashes fail it
- `no_leaks`: fails the test if it leaves anything behind

``pytest --fixtures -v`` shows each with an example. Only pytest is imported here until a fixture is used.
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
    """Set up `no_leaks` before the other fixtures, if the test uses it.

    The order in which the test names them does not matter.
    """
    if "no_leaks" in request.fixturenames:
        request.getfixturevalue("no_leaks")


@pytest.fixture
def probe(_no_leaks_first: None) -> Iterator[Probe]:
    """Return a `gennostr.testing.Probe` that the test's thread acts as.

    It receives what the code under test sends to ``probe.pid``, and ends with the test:

        def test_the_greeter_answers(probe, start_supervised):
            greeter = start_supervised(Greeter)
            greeter.send(("greet", probe.pid))
            assert probe.expect(str) == "hello"
    """
    from gennostr.testing.probe import Probe  # noqa: PLC0415 - see above

    with Probe() as probe:
        yield probe


@pytest.fixture
def manual_clock(_no_leaks_first: None) -> Iterator[ManualClock]:
    """Return a `gennostr.testing.ManualClock`, installed during the test.

    Timers and timeouts fire when the test advances it. Code under test reads it with ``gennostr.monotonic_time()`` and
    ``gennostr.system_time()``; ``time.time()`` does not follow it:

        def test_a_reminder_comes_after_an_hour(manual_clock, probe):
            gennostr.send_after(3600, probe.pid, "reminder")
            manual_clock.advance(3600)
            probe.expect("reminder")
    """
    from gennostr.testing.manual_clock import ManualClock  # noqa: PLC0415

    with ManualClock() as clock:
        yield clock


@pytest.fixture
def fake_relay(_no_leaks_first: None) -> Iterator[FakeRelay]:
    """Return a listening `gennostr.testing.FakeRelay`, which the test scripts.

    The test decides what the relay sends, and checks what the client sends:

        def test_the_feed_counts_events(fake_relay, start_supervised):
            feed = start_supervised(Feed, fake_relay.url)
            fake_relay.accept()
            id = fake_relay.expect_req().subscription_id
            fake_relay.event(id, content="hello")
            fake_relay.eose(id)
    """
    from gennostr.testing.fake_relay import FakeRelay  # noqa: PLC0415

    with FakeRelay() as relay:
        yield relay


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Fail the test if it leaves a thread, a child process, a descriptor or an actor.

    It waits up to 5 seconds for them to end. Resources held by fixtures of wider scope are not leaks:

        def test_a_greeter_stops_completely(no_leaks):
            with Greeter.start() as greeter:
                greeter.send("hello")
    """
    from gennostr.testing import leaks  # noqa: PLC0415

    before = leaks.Snapshot()
    yield
    leaks.check(before)


@pytest.fixture
def start_supervised(_no_leaks_first: None) -> Iterator[Supervised]:
    """Return a function that starts a server for the test and returns its pid.

    It is a `gennostr.testing.Supervised`. The servers are stopped after the test, in reverse order:

        def test_a_counter_counts(start_supervised):
            counter = start_supervised(Counter, 5)
            assert counter.call("increment") == 6

    A crash fails the test and shows the crash report, unless the test expects it, before or after:

        def test_after_a_crash_it_starts_anew(start_supervised):
            counter = start_supervised(Counter, 5, name="counter")
            with start_supervised.crashes(ValueError) as crash:
                counter.cast("nonsense")
            assert crash.report.message == "nonsense"
            assert gennostr.wait_for("counter").call("increment") == 6

        def test_nonsense_is_a_crash_seen_later(start_supervised):
            start_supervised(Counter, 5).cast("nonsense")
            report = start_supervised.expect_crash(ValueError)
            assert report.state == 5
    """
    from gennostr.testing.supervised import Supervised  # noqa: PLC0415

    supervised = Supervised()
    try:
        yield supervised
    finally:
        crashes = supervised.end()
    if crashes:
        pytest.fail("\n".join(["a server crashed, which the test did not expect:", *crashes]), pytrace=False)
