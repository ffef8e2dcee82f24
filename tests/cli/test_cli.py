"""The command, as a user runs it: in a process of its own."""

import subprocess
import sys
import time

import pytest

import gennostr as gennostr_package
from gennostr.cli import COMMANDS, SHELLS
from tests.cli.command import COMMAND, ROOT, gennostr


def test_demo_shows_everything_and_exits_0() -> None:
    began = time.monotonic()
    done = subprocess.run([*COMMAND, "demo"], capture_output=True, text=True, cwd=ROOT, check=False, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - began < 20
    lines = done.stdout.splitlines()
    assert sum(" EVENT " in line for line in lines) == 40
    assert sum(" EOSE " in line for line in lines) == 3
    assert any("ConnectionSupervisor" in line for line in lines)
    assert any("disconnected; attempt 1" in line for line in lines)
    assert lines[-1].startswith("saw 3 connects, 40 events")
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


def test_demo_reports_a_failed_step_and_exits_1() -> None:
    program = (
        "import sys; sys.modules['nostr_sdk'] = None; import gennostr.cli.local_relay as relay;"
        "relay.START_TIMEOUT = 0.0; from gennostr.cli import main; sys.exit(main(['demo']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1
    assert "failed: TimeoutError" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["listen", "http://relay.example"], "http://relay.example"),
        (["listen", "wss://relay.example", "--kinds", "one"], "one"),
        (["listen", "wss://relay.example", "--authors", "me"], "me"),
        (["listen", "wss://relay.example", "--since", "yesterday"], "yesterday"),
        (["listen", "wss://relay.example", "--since", "1700000000000"], "use 1700000000"),
        (["listen", "wss://relay.example", "--kinds", "70000"], "0 to 65535"),
        (["listen", "wss://relay.example", "--ids", "abcd"], "no longer match prefixes"),
        (["fetch", "wss://relay.example", "--ids", "npub1x"], "belongs in 'authors' or '#p'"),
        (["top", "wss://relay.example", "--tag", "p=note1x"], "belongs in 'ids' or '#e'"),
        (["listen", "wss://relay.example", "--tag", "title=x"], "title=x"),
        (["listen", "wss://user:password@relay.example", "--limit", "-1"], "-1"),
        (["fetch"], "URL"),
        (["fetch", "wss://relay.example", "--timeout", "0"], "0"),
        (["publish", "wss://relay.example", "--event", "--content", "x"], "--content"),
        (["info", "wss://a.example", "wss://b.example\x1b"], "wss://b.example\\x1b"),
        (["top", "wss://relay.example", "--interval", "nan"], "nan"),
        (["relay", "--port", "http"], "http"),
        (["nonesuch\x1b[31m"], "nonesuch"),
        ([], "COMMAND"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_2(arguments: list[str], said: str) -> None:
    done = gennostr(*arguments, status=2)
    assert done.stdout == ""
    [text] = done.stderr.splitlines()
    assert said in text
    assert "password" not in text
    assert text.isprintable()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_teaches(command: str) -> None:
    shown = gennostr(command, "--help", status=0).stdout
    assert "exit status:\n  0 " in shown
    assert len(shown.splitlines()) > 8
    if command != "demo":
        assert f"examples:\n  gennostr {command}" in shown


def test_the_help_of_all_names_each_and_imports_none_of_them() -> None:
    program = (
        "import sys; from gennostr.cli import main\n"
        "try: main(['--help'])\n"
        "finally: print(*sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert all(f"    {command} " in done.stdout for command in COMMANDS)
    imported = done.stderr.split()
    assert "gennostr.cli" in imported
    assert not {"msgspec", "pykka", "asyncio", "gennostr.client", "gennostr.cli.listen"} & set(imported)


def test_the_version_is_printed() -> None:
    assert gennostr("--version", status=0).stdout == f"gennostr {gennostr_package.__version__}\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_the_completion_script_knows_commands_and_options(shell: str) -> None:
    script = gennostr("--print-completion", shell, status=0).stdout
    assert all(command in script for command in COMMANDS)
    assert "no-compare" in script


def test_without_shtab_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gennostr.cli.find_spec", lambda name: None)
    done = gennostr("--print-completion", "bash", status=1)
    assert done.stderr == "gennostr: --print-completion needs shtab: pip install 'gennostr[cli]'\n"
    assert "fish" in gennostr("--print-completion", "fish", status=2).stderr
