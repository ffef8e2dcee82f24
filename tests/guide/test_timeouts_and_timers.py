"""The test that stands in the page on timeouts and timers."""

from pathlib import Path

from tests.guide.running import run_tests, write


def test_the_test_of_a_session_passes_as_printed(tmp_path: Path) -> None:
    write("timeouts_and_timers", "test_session.py", tmp_path)
    printed, status = run_tests(tmp_path)
    assert status == 0, printed
    assert "1 passed" in printed
