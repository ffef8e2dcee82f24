"""gennostr listen."""

import json
import os
import pty
import signal
import subprocess

from gennostr.cli.local_relay import LocalRelay
from gennostr.testing import FakeRelay, MemoryRelay, make_event
from tests.cli.command import (
    AT_ONCE,
    COMMAND,
    KEY,
    ROOT,
    environment,
    gennostr,
    line,
    note,
    running,
    signal_and_time,
)

HEX = "7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e"
NPUB = "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg"
NOTE = "note10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qnx3ujq"


def test_it_prints_one_json_event_a_line_until_ctrl_c(local_relay: LocalRelay) -> None:
    for number in range(3):
        gennostr("publish", local_relay.url, "--content", f"note {number}\nmore", key=KEY, status=0)
    with running("listen", local_relay.url, "--kinds", "1", "--limit", "20", "--json") as listener:
        lines = [json.loads(line(listener))["content"] for _ in range(3)]
        assert sorted(lines) == [f"note {number}\nmore" for number in range(3)]
        assert signal_and_time(listener, signal.SIGINT) < AT_ONCE
        assert listener.returncode == 0
        rest, said = listener.communicate()
        assert rest == ""
        assert "3 events" in said
        assert "\x1b" not in said


def test_what_a_relay_sends_cannot_write_to_the_terminal() -> None:
    with MemoryRelay() as relay:
        relay.store(note("a\x1b[31mb\nc\x9b"))
        with running("listen", relay.url) as listener:
            assert line(listener).endswith(" a\\x1b[31mb\\nc\\x9b\n")
        with running("listen", relay.url, "--json") as listener:
            text = line(listener).strip()
            assert text.isprintable()
            assert json.loads(text)["content"] == "a\x1b[31mb\nc\x9b"


def test_characters_that_the_locale_lacks_are_escaped() -> None:
    with MemoryRelay() as relay:
        relay.store(note("é😀"))
        narrow = environment(PYTHONIOENCODING="latin-1")
        with running("listen", relay.url, env=narrow) as listener:
            assert listener.stdout is not None
            assert listener.stdout.buffer.readline().endswith(b" \xe9\\U0001f600\n")  # type: ignore[attr-defined]
        with running("listen", relay.url, "--json", env=narrow) as listener:
            assert json.loads(line(listener))["content"] == "é😀"


def test_an_event_of_two_relays_is_printed_once() -> None:
    with FakeRelay() as one, FakeRelay() as other, running("listen", one.url, other.url, "--json") as listener:
        both, last = note("both"), note("last")
        for relay in (one, other):
            relay.accept(timeout=20)
        for relay in (one, other):
            id_ = relay.expect_req(timeout=20).subscription_id
            relay.event(id_, both)
        assert json.loads(line(listener))["content"] == "both"
        # What one relay sends is printed in its order: behind this, nothing of that relay is to come.
        for relay in (one, other):
            relay.event("listen", last)
        assert json.loads(line(listener))["content"] == "last"
        end = note("end")
        other.event("listen", end)
        assert json.loads(line(listener))["content"] == "end"


def test_after_a_reconnect_it_resumes_and_repeats_nothing() -> None:
    with MemoryRelay() as relay, running("listen", relay.url, "--json") as listener:
        relay.store(note("before", created_at=1_700_000_000))
        assert json.loads(line(listener))["content"] == "before"
        relay.drop()
        relay.store(note("meanwhile", created_at=1_700_000_001))
        assert json.loads(line(listener))["content"] == "meanwhile"


def test_forged_events_are_errors_except_with_no_verify() -> None:
    with MemoryRelay() as relay:
        relay.store(make_event(content="forged", created_at=2, sig="0" * 128))
        relay.store(note("genuine", created_at=1))
        with running("listen", relay.url, "--json") as listener:
            assert json.loads(line(listener))["content"] == "genuine"
            listener.send_signal(signal.SIGTERM)
            assert "error: event" in listener.communicate(timeout=20)[1]
            assert listener.returncode == 0
        with running("listen", relay.url, "--json", "--no-verify") as listener:
            assert json.loads(line(listener))["content"] == "forged"


def test_it_authenticates_to_a_relay_that_requires_it() -> None:
    with LocalRelay(auth=True) as relay:
        gennostr("publish", relay.url, "--content", "secret", key=KEY, status=0)
        with running("listen", relay.url, "--auth", "--json", env=environment(GENNOSTR_KEY=KEY)) as listener:
            assert json.loads(line(listener))["content"] == "secret"


def test_a_key_in_the_environment_alone_does_not_authenticate() -> None:
    with FakeRelay() as relay, running("listen", relay.url, env=environment(GENNOSTR_KEY=KEY)) as listener:
        relay.accept(timeout=20)
        id_ = relay.expect_req(timeout=20).subscription_id
        relay.auth("who is there?")
        relay.closed(id_, "auth-required: say who you are")
        assert listener.stderr is not None
        while "closed the subscription: auth-required" not in listener.stderr.readline():
            pass
        relay.event(id_, note("on"))  # what comes from it next would be the answer
        relay.close()
        assert relay.expect_close_frame(timeout=20).code == 1000


def test_the_filter_is_the_command_lines() -> None:
    tags = ("--tag", f"e={NOTE}", "--tag", "t=x", "--tag", f"e={'1' * 64}", "--tag", f"p={NPUB}")
    with (
        FakeRelay() as relay,
        running("listen", relay.url, *tags, "--ids", NOTE, "--authors", NPUB, "--search", "cats", "--until", "5"),
    ):
        relay.accept(timeout=20)
        assert relay.expect_req(timeout=20).filters == [
            {
                "authors": [HEX],
                "ids": [HEX],
                "until": 5,
                "search": "cats",
                "#e": [HEX, "1" * 64],
                "#t": ["x"],
                "#p": [HEX],
            }
        ]


def test_ctrl_c_does_not_wait_for_a_silent_relay_or_one_that_hangs() -> None:
    with FakeRelay() as silent, FakeRelay() as hanging, running("listen", silent.url, hanging.url) as listener:
        silent.accept(timeout=20)
        silent.expect_req(timeout=20)
        silent.stall()
        hanging.accept_raw(timeout=20)
        assert signal_and_time(listener, signal.SIGINT) < AT_ONCE
        assert listener.returncode == 0


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    with FakeRelay() as relay, running("listen", relay.url) as listener:
        relay.accept(timeout=20)
        id_ = relay.expect_req(timeout=20).subscription_id
        assert listener.stdout is not None
        listener.stdout.close()
        relay.event(id_, note("nobody reads this"))
        assert listener.wait(20) == 0
        assert listener.stderr is not None
        assert "Traceback" not in listener.stderr.read()


def test_it_shows_a_live_status_line_on_a_terminal() -> None:
    master, slave = pty.openpty()
    with MemoryRelay() as relay:
        relay.store(note("hello"))
        with subprocess.Popen(
            [*COMMAND, "listen", relay.url],
            stdout=slave,
            stderr=slave,
            cwd=ROOT,
            env=environment(TERM="xterm", TZ="UTC"),
        ) as listener:
            os.close(slave)
            shown = b""
            while b"1 connected \xc2\xb7 1 events" not in shown:
                shown += os.read(master, 4096)
            assert b"\x1b[32m" in shown
            assert b"2023-11-14 22:13:20 1 " in shown  # local time
            listener.send_signal(signal.SIGINT)
            try:
                while os.read(master, 4096):
                    pass
            except OSError:  # the other end is closed
                pass
            assert listener.wait(10) == 0
    os.close(master)
