"""The program of the page `authentication` is known to a relay that demands it; keys come from where they may."""

import signal
from pathlib import Path

import pytest

from gennostr.cli.local_relay import LocalRelay
from gennostr.nostr import generate_key, nip19, sign
from tests.guide.clients import publish, started
from tests.guide.running import program, write_programs


def test_a_member_reads_with_a_key_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_programs(tmp_path, "authentication")
    key = generate_key()
    secret = tmp_path / "key"
    secret.write_text(nip19.Nsec(key).encode() + "\n")
    secret.chmod(0o600)
    with LocalRelay(auth=True) as relay:
        publish(relay.url, sign(key, kind=1, content="for members"))
        for variable, value in (("GENNOSTR_KEY_FILE", str(secret)), ("GENNOSTR_KEY", key)):
            with monkeypatch.context() as patch:
                patch.setenv(variable, value)
                with program(tmp_path, started(tmp_path, "member.py", relay.url)) as member:
                    assert member.line() == "for members"
                    member.signal(signal.SIGINT)
                    assert member.end() == ("", "", 0)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_programs(tmp_path, "authentication")
    secret = tmp_path / "key"
    secret.write_text(generate_key())
    secret.chmod(0o644)
    monkeypatch.setenv("GENNOSTR_KEY_FILE", str(secret))
    with program(tmp_path, started(tmp_path, "member.py")) as member:
        _, errors, status = member.end()
    assert status != 0
    assert f"chmod 600 {secret}" in errors
