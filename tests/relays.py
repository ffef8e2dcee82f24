"""nostr-relay from PyPI, in its own process: a second real relay with its own interpretation of the protocol.

It has an information document (NIP-11) but no COUNT, and refuses in the old style: with a NOTICE where others send
CLOSED. The first real relay is `gennostr.cli.local_relay.LocalRelay`.
"""

import contextlib
import http.client
import os
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from gennostr.cli.local_relay import HOST, free_port, url_at

START_TIMEOUT = 60.0  # seconds: it migrates its database first
STOP_TIMEOUT = 5.0
POLL = 0.02

CONFIGURATION = """\
relay_name: gennostr test relay
relay_description: nostr-relay under test
max_event_size: 65536
storage:
  sqlalchemy.url: sqlite+aiosqlite:///{directory}/events.sqlite3
  validators: [nostr_relay.validators.is_signed]
verification: {{nip05_verification: disabled}}
{authentication}
gunicorn: {{bind: "{host}:{port}", workers: 1, loglevel: warning}}
"""

# A key that has authenticated but has no role of its own may do only what every user may.
AUTHENTICATION = """\
authentication: {{enabled: true, relay_urls: ["{url}"], actions: {{save: w, query: w}}}}
"""

# An orderly stop takes five seconds, and killing it leaves its worker behind. So it runs in a process group, which a
# shell kills as a whole when the relay ends or when our end of the pipe is closed, even by our death.
GUARD = '{ "$@" </dev/null; kill -KILL 0; } & cat >/dev/null; kill -KILL 0'


class NostrRelay:
    """A nostr-relay with LocalRelay's interface: it keeps its port, but no events across a restart unless `keep`.

    With `members` (public keys), nobody else may read or write.
    """

    def __init__(self, *, keep: bool = False, members: Sequence[str] = ()) -> None:
        self._keep = keep
        self._members = members
        self.port = free_port()
        self.url = url_at(self.port)
        self._process: subprocess.Popen[bytes] | None = None
        self._directory = tempfile.TemporaryDirectory(prefix="nostr-relay-")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        self._directory.cleanup()

    def start(self) -> None:
        """Start the relay; return when it accepts connections."""
        directory = Path(self._directory.name)
        for leftover in directory.iterdir():
            if not (self._keep and leftover.name.startswith("events")):
                leftover.unlink()
        configuration = directory / "config.yaml"
        authentication = AUTHENTICATION.format(url=self.url) if self._members else ""
        configuration.write_text(
            CONFIGURATION.format(directory=directory, host=HOST, port=self.port, authentication=authentication)
        )
        program = Path(sys.executable).with_name("nostr-relay")
        # All processes of the relay inherit the write end of this pipe, so its EOF shows that all of them have ended.
        self._lifeline, held = os.pipe()
        with (directory / "log").open("wb") as log, open(held, "wb"):  # noqa: PTH123 - a descriptor
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", GUARD, "guard", program, "-c", configuration, "serve"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=directory,
                process_group=0,
                pass_fds=(held,),
            )
        try:
            self._await_answer()
        except BaseException:
            self.kill()
            print((directory / "log").read_text())  # noqa: T201 - pytest shows it with the failure
            raise
        with contextlib.closing(sqlite3.connect(directory / "events.sqlite3")) as database, database:
            for member in self._members:
                database.execute("INSERT OR REPLACE INTO auth VALUES (?, 'w', '2026-01-01 00:00:00')", (member,))

    def kill(self) -> None:
        """Kill the relay's processes; return when its port is free."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdin is not None
        process.stdin.close()
        self._await_silence()

    stop = kill  # no data to lose, and an orderly stop takes five seconds

    def restart(self) -> None:
        """Restart the relay on the same port, without events unless `keep`."""
        self.stop()
        self.start()

    def _await_answer(self) -> None:
        """Wait until a worker has answered a request: the port listens long before that."""
        deadline = time.monotonic() + START_TIMEOUT
        assert self._process is not None
        while time.monotonic() < deadline:
            client = http.client.HTTPConnection(HOST, self.port, timeout=START_TIMEOUT)
            with contextlib.closing(client), contextlib.suppress(ConnectionError):
                client.request("GET", "/")
                client.getresponse().read()
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(POLL)
                raise RuntimeError("nostr-relay ended before it answered")
        raise TimeoutError(f"nostr-relay did not answer within {START_TIMEOUT:g} s")

    def _await_silence(self) -> None:
        """Wait until nothing listens any more. The worker is not our child, but holds the pipe's write end."""
        deadline = time.monotonic() + STOP_TIMEOUT
        ended = bool(select.select([self._lifeline], [], [], STOP_TIMEOUT)[0])
        os.close(self._lifeline)
        # Its descriptors are closed one by one: the port may outlive the pipe for a moment.
        while ended and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex((HOST, self.port)) != 0:
                    return
        raise TimeoutError(f"{self.url} still listens {STOP_TIMEOUT:g} s after SIGKILL")
