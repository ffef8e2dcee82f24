"""gennostr verify."""

import msgspec
import pytest

from gennostr.cli import verify
from tests.cli.command import gennostr, note


def text(*events: object) -> str:
    return "".join(f"{msgspec.json.encode(each).decode()}\n" for each in events)


def test_valid_events_are_0() -> None:
    events = text(note("one"), note("two"))
    done = gennostr("verify", stdin=events + "\n  \n", status=0)
    assert (done.stdout, done.stderr) == ("", "gennostr verify: 2 events: 2 valid, 0 invalid\n")
    assert gennostr("verify", "--print", stdin=events, status=0).stdout == events


def test_each_invalid_one_is_a_line_with_its_number_and_what_is_wrong() -> None:
    valid = note("one")
    changed = msgspec.structs.replace(valid, content="another")
    forged = msgspec.structs.replace(valid, sig="0" * 128)
    done = gennostr("verify", "--print", stdin=text(valid, changed, forged) + "no \x1b JSON\n{}\n", status=1)
    assert done.stdout == text(valid)
    lines = done.stderr.splitlines()
    for line, (number, said) in zip(
        lines, [(2, "id is wrong"), (3, "signature"), (4, "not an event"), (5, "missing")], strict=False
    ):
        assert line.startswith(f"gennostr verify: line {number}: ")
        assert said in line
        assert line.isprintable()
    assert lines[-1] == "gennostr verify: 5 events: 1 valid, 4 invalid"


def test_a_line_without_end_is_not_kept_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "MAX_LINE", 1000)
    done = gennostr("verify", stdin=f"{'x' * 5000}\n{text(note('one'))}{'y' * 5000}", status=1)
    lines = done.stderr.splitlines()
    assert "line 1: longer than 1,000 bytes" in lines[0]
    assert "line 3: longer than 1,000 bytes" in lines[1]
    assert lines[-1] == "gennostr verify: 3 events: 1 valid, 2 invalid"
