"""gennostr count."""

import json
import signal

from gennostr.testing import FakeRelay, MemoryRelay
from tests.cli.command import AT_ONCE, gennostr, note, running, signal_and_time


def test_each_relays_number_and_that_of_all_together() -> None:
    with MemoryRelay() as one, MemoryRelay() as other:
        for number in range(5):
            one.store(note(f"note {number}"))
        other.store(note("note 0"))
        other.store(note("a reaction", kind=7))
        done = gennostr("count", "--kinds", "1", one.url, other.url, status=0)
        lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
        assert sorted(lines[:2]) == sorted([["5", one.url], ["1", other.url]])
        assert lines[2] == ["5", "at least, at all relays together"]
        assert done.stderr == ""
        assert gennostr("count", one.url, status=0).stdout.split() == ["5", one.url]


def test_json_is_one_line_and_a_relay_that_does_not_answer_is_1() -> None:
    refusing = FakeRelay()
    refusing.stop_listening()
    with MemoryRelay() as relay, refusing:
        relay.store(note("one"))
        done = gennostr("count", relay.url, refusing.url, "--json", status=1)
        shown = json.loads(done.stdout)
        assert shown["count"] == 1
        by_relay = {each["relay"]: each for each in shown["relays"]}
        assert by_relay[relay.url] == {"relay": relay.url, "count": 1, "approximate": False}
        assert by_relay[refusing.url]["outcome"] == "not_sent"
        assert "refused" in by_relay[refusing.url]["message"]
        assert "1 of 2 relays answered" in done.stderr
        assert gennostr("count", refusing.url, "--json", status=3).stdout.startswith('{"count":null')


def test_ctrl_c_while_a_relay_is_silent_ends_it_at_once_with_130() -> None:
    with FakeRelay() as relay, running("count", relay.url) as counting:
        relay.accept(timeout=20)
        relay.expect_count(timeout=20)
        relay.stall()
        assert signal_and_time(counting, signal.SIGINT) < AT_ONCE
        assert counting.returncode == 130
        assert counting.communicate() == ("", "")
