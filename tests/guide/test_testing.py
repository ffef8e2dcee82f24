"""The test files of the page `testing` run as printed, and say what is wrong with servers that are broken."""

import re
from pathlib import Path

from tests.guide.pages import programs
from tests.guide.running import run_tests, write_programs


def test_the_test_files_pass_as_printed_and_fast(tmp_path: Path) -> None:
    write_programs(tmp_path, "testing")
    said, status = run_tests(tmp_path, options=["--durations=0", "-vv"])
    assert status == 0, said
    assert "4 passed" in said
    took = [float(seconds) for seconds in re.findall(r"([\d.]+)s call", said)]
    assert sum(took) < 2  # on an idle machine a tenth of that; the times in the tests add up to 5 s


BROKEN = {
    "a REQ message": ("self.send_message", "len"),
    "expected a message that is 'hello'": ("self.owner.send(message.event.content)", "pass"),
    "[{'kinds': [2]}]": ('{"kinds": [1]}], relay', '{"kinds": [2]}], relay'),
    "nobody connected": (
        "    def handle_event",
        "    def handle_disconnect(self, *_):\n        pass\n\n    def handle_event",
    ),
    "crashed in handle_event: AttributeError": ("[*seen, message.event.id]", "[*seen, message.id]"),
}
"""What the test of the client must report if a part of it is replaced."""


def test_the_test_of_a_client_says_what_is_wrong_with_one_that_is_broken(tmp_path: Path) -> None:
    text = programs("testing")["test_feed.py"]
    for number, (part, replacement) in enumerate(BROKEN.values()):
        assert part in text
        broken = text.replace(part, replacement, 1).replace("accept()", "accept(timeout=0.5)")
        (tmp_path / f"test_{number}.py").write_text(broken)
    reports = failures(tmp_path)
    for number, words in enumerate(BROKEN):
        assert any(words in each for each in reports if f"test_{number}." in each), words


BROKEN_BATCHERS = {
    r"expected a message that is \['a', 'b', 'c'\] within": ("len(items) == 3", "False"),
    "expected no message": ("send_after(5.0,", "send_after(4.5,"),
    r"expected a message that is \['a'\] within": ("send_after(5.0,", "send_after(5.5,"),
    "crashed in handle_info: AttributeError": ("return self.flush(items)\n\n", "return self.flash(items)\n\n"),
    "expected a crash": ("item.strip()", "str(item).strip()"),
}
"""The same for the tests of an actor, as regular expressions."""


def test_the_tests_of_an_actor_say_what_is_wrong_with_one_that_is_broken(tmp_path: Path) -> None:
    text = programs("testing")["test_batcher.py"]
    for number, (part, replacement) in enumerate(BROKEN_BATCHERS.values()):
        assert part in text
        (tmp_path / f"test_{number}.py").write_text(text.replace(part, replacement, 1))
    reports = failures(tmp_path)
    for number, words in enumerate(BROKEN_BATCHERS):
        assert any(re.search(words, each) for each in reports if f"test_{number}." in each), (words, reports)


def failures(directory: Path) -> list[str]:
    """Run the tests, which fail; return their reports."""
    said, status = run_tests(directory)
    assert status == 1
    before_summary = said.partition("short test summary")[0]
    return re.split(r"\n_+ (?:ERROR at teardown of )?test_\w+ _+\n", before_summary)
