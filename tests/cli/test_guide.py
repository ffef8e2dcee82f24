"""gennostr guide: the pages, and the entry of each public name."""

import os
import pty
import subprocess
from importlib import import_module

import pytest

import gennostr.guide
from gennostr.cli import reference
from gennostr.cli.guide import rendered
from tests.cli.command import COMMAND, ROOT, environment
from tests.cli.command import gennostr as command


def test_without_a_word_the_topics_are_listed() -> None:
    shown = command("guide", status=0).stdout
    assert all(f"- `{topic}`:" in shown for topic in gennostr.guide.TOPICS)


@pytest.mark.parametrize("topic", gennostr.guide.TOPICS)
def test_a_topic_is_its_page_as_plain_text(topic: str) -> None:
    page = import_module(f"gennostr.guide.{topic}").__doc__
    assert page is not None
    for word in (topic, topic.replace("_", "-").upper()):
        assert command("guide", word, status=0).stdout.strip() == page.strip()


def test_a_name_has_its_signature_its_text_and_its_members() -> None:
    shown = command("guide", "ChildSpec", status=0).stdout
    assert shown.startswith("gennostr.ChildSpec\n------------------\n\n    ChildSpec(\n        id: ")
    assert gennostr.ChildSpec.__doc__ is not None
    assert gennostr.ChildSpec.__doc__.splitlines()[0] in shown
    assert "\nMembers\n" in shown
    assert command("guide", "childspec", status=0).stdout == shown
    assert command("guide", "gennostr.ChildSpec", status=0).stdout == shown


def test_what_is_inherited_from_elsewhere_is_left_out() -> None:
    publication = command("guide", "Publication", status=0).stdout
    assert "result(timeout: float | None = None) -> " in publication
    assert "add_done_callback" not in publication
    assert "with_traceback" not in command("guide", "CallExit", status=0).stdout
    server = command("guide", "GenServer", status=0).stdout
    assert "\nhandle_call(" in server
    assert "\non_failure(" not in server


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("GenNostr.subscribe", "gennostr.GenNostr.subscribe\n"),
        ("subscribe", "gennostr.GenNostr.subscribe\n"),
        ("Relay.url", "url: str"),
        ("KILL", "gennostr.KILL\n"),
        ("CallOutcome", "CallOutcome = Union[Reply[S], NoReply[S], Stop[S]]"),
        ("via", "    via("),
        ("ChildSpec", "restart: Literal['permanent', 'transient', 'temporary'] = 'permanent',"),
        ("Relay", "\nAttributes\n----------\n\nurl: str\n    "),
        ("nostr", "- `Event`: "),
        ("nip19.Npub", "gennostr.nostr.nip19.Npub\n"),
        ("GenNostr.store", "store: Store | None = None"),
        ("transaction", "gennostr.store.SqliteStore.transaction\n"),
        ("gennostr.testing.MemoryRelay", "    MemoryRelay("),
        ("telemetry", "- `attach`: "),
    ],
)
def test_an_entry(word: str, shown: str) -> None:
    assert shown in command("guide", word, status=0).stdout


@pytest.mark.parametrize("package", reference.PACKAGES)
def test_each_public_name_has_an_entry(package: str) -> None:
    for name in reference.public_names(package):
        text = reference.entry(f"{package}.{name}")
        assert text is not None
        assert text.startswith(f"{package}.{name}\n---"), text[:200]
        assert "<class" not in text
        assert "gennostr.otp.outcomes." not in text.partition("\n\n\n")[0]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("supervison", "did you mean supervision"),
        ("Supervisr", "did you mean Supervisor"),
        ("GenNostr.nonesuch", "GenNostr.nonesuch"),
        ("start", "several classes have start: "),
        ("zzzz", "no topic and no public name 'zzzz' (see gennostr guide --help)"),
    ],
)
def test_an_unknown_word_suggests_close_ones(word: str, said: str) -> None:
    [line] = command("guide", word, status=2).stderr.splitlines()
    assert said in line


def test_headings_are_bold_for_a_pager() -> None:
    text = rendered("One\n---\n\ntext\n\n===\nArgs:\n    Returns:\nx: y\n")
    assert text == "O\bOn\bne\be\n\ntext\n\n===\nA\bAr\brg\bgs\bs:\n    R\bRe\bet\btu\bur\brn\bns\bs:\nx: y\n"


def test_on_a_terminal_a_page_goes_to_the_pager() -> None:
    master, slave = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "guide", "ChildSpec"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=ROOT,
        env=environment(TERM="xterm", PAGER="cat"),
    ) as reading:
        os.close(slave)
        shown = b""
        while b"g\bge\ben\bnn\bn" not in shown:
            shown += os.read(master, 4096)
        reading.kill()
    os.close(master)
