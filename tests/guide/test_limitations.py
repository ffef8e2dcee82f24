"""The page `limitations` says what a kill is, and when an exit signal takes effect."""

import pytest

from tests.guide.pages import page


@pytest.mark.parametrize(
    "words",
    [
        "A thread cannot be killed",
        "is a fence",
        "ends when its blocking call returns",
        "`gennostr.abandoned()` counts such threads, and each is logged",
        "An exit signal ends a busy actor that does not trap exits before its next message",
    ],
)
def test_the_limitations_say_what_a_kill_is_and_when_an_exit_signal_takes_effect(words: str) -> None:
    assert words in " ".join(page("limitations").split())
