"""The program of the page `publishing` publishes, and reports each relay."""

from pathlib import Path

import pytest

from gennostr import fetch
from gennostr.cli.local_relay import LocalRelay
from gennostr.nostr import generate_key, public_key
from tests.guide.clients import started
from tests.guide.running import program, write_programs

NOBODY = "ws://127.0.0.1:1/"


def test_a_line_is_published_and_each_relay_reported(
    tmp_path: Path, local_relay: LocalRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = generate_key()
    monkeypatch.setenv("GENNOSTR_KEY", key)
    text = write_programs(tmp_path, "publishing")["post.py"]
    (tmp_path / "post.py").write_text(text.replace("timeout=10", "timeout=2"))
    with program(tmp_path, started(tmp_path, "post.py", "hello", local_relay.url, NOBODY)) as post:
        assert f"{local_relay.url} accepted " in (lines := [post.line(), post.line()])
        assert any(line.startswith(f"{NOBODY} not_sent ") for line in lines)
        _, errors, status = post.end()
    assert status == 0, errors
    assert [event.content for event in fetch({"authors": [public_key(key)]}, [local_relay.url])] == ["hello"]
    with program(tmp_path, started(tmp_path, "post.py", "hello", NOBODY)) as post:
        assert post.end()[2] == 1
