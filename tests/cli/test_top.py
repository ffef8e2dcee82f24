"""gennostr top."""

import os
import pty
import signal
import subprocess

from gennostr.testing import FakeRelay, MemoryRelay
from tests.cli.command import AT_ONCE, COMMAND, PATIENCE, ROOT, environment, line, running, signal_and_time


def test_once_shows_one_picture_of_each_relay_and_exits_0() -> None:
    refusing = FakeRelay()
    refusing.stop_listening()
    with (
        MemoryRelay() as relay,
        refusing,
        # In a process, whose end waits for no connection to be closed.
        running("top", relay.url, refusing.url, "--once", "--interval", "1.5") as top,
    ):
        out, err = top.communicate(timeout=PATIENCE)
    assert (top.returncode, err) == (0, "")
    head, *rest = out.splitlines()
    assert head.startswith("1 of 2 connected · 0.0 events/s · mailbox ")
    assert rest[0] == f"├── {relay.url}"
    assert "open for 0:00:0" in rest[1]
    assert " ms · 1 attempts, 0 reconnects" in rest[1]
    assert "out 1 messages" in rest[2]
    assert f"└── {refusing.url}" in rest
    assert "last error: " in rest[-1]
    assert "refused" in rest[-1]
    assert "\x1b" not in out


def test_in_a_pipe_one_picture_follows_the_other_until_ctrl_c() -> None:
    with FakeRelay() as relay, running("top", relay.url, "--interval", "0.1") as top:
        relay.accept(timeout=20)
        request = relay.expect_req(timeout=20)
        assert request.filters == [{"limit": 0}]
        relay.event(request.subscription_id, content="one")
        while "in 1 messages" not in line(top):
            pass
        assert line(top) == "\n"
        assert line(top).startswith("1 of 1 connected")
        relay.drop()
        relay.accept(timeout=20)
        while "1 reconnects" not in line(top):
            pass
        assert "in 1 messages" in line(top)
        relay.stall()
        assert signal_and_time(top, signal.SIGINT) < AT_ONCE
        assert top.returncode == 0
        assert top.communicate()[1] == ""


def test_once_that_is_interrupted_before_it_has_shown_anything_is_130() -> None:
    with FakeRelay() as relay, running("top", relay.url, "--once", "--interval", "60") as top:
        relay.accept(timeout=20)
        assert signal_and_time(top, signal.SIGINT) < AT_ONCE
        assert top.returncode == 130
        assert top.communicate() == ("", "")


def test_an_error_of_a_relay_writes_nothing_to_the_terminal() -> None:
    with FakeRelay() as relay, running("top", relay.url, "--interval", "0.1") as top:
        relay.accept(timeout=20)
        relay.close(4000, "bye")
        relay.accept(timeout=20)
        relay.raw(b"\xff\xff")  # no frame
        while "last error" not in (text := line(top)):
            pass
        assert text.strip().isprintable()


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    with MemoryRelay() as relay, running("top", relay.url, "--interval", "0.05") as top:
        line(top)
        assert top.stdout is not None
        top.stdout.close()
        assert top.wait(20) == 0
        assert top.stderr is not None
        assert top.stderr.read() == ""


def test_on_a_terminal_the_picture_is_drawn_in_its_place() -> None:
    master, slave = pty.openpty()
    with (
        MemoryRelay() as relay,
        subprocess.Popen(
            [*COMMAND, "top", relay.url, "--interval", "0.1"],
            stdout=slave,
            stderr=slave,
            cwd=ROOT,
            env=environment(TERM="xterm", COLUMNS="40", LINES="10"),
        ) as top,
    ):
        os.close(slave)
        shown = b""
        try:
            while b"\x1b[4F\x1b[J1 of 1" not in shown:
                shown += os.read(master, 4096)
        finally:
            top.kill()
    os.close(master)
    for text in shown.decode(errors="replace").replace("\x1b[4F\x1b[J", "").splitlines():
        assert len(text.replace("\x1b[32m", "").replace("\x1b[33m", "").replace("\x1b[0m", "")) < 40
