"""A real relay in a process of its own: nostr-sdk's LocalRelay on 127.0.0.1, for the demo and for tests.

``python -m gennostr.cli.local_relay --port 7777`` runs one until SIGTERM or the end of its standard input, so
it never outlives the program that started it.
"""

import argparse
import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
import time
from types import TracebackType
from typing import Self

START_TIMEOUT = 10.0
STOP_TIMEOUT = 5.0


class LocalRelay:
    """A relay at `url`; a context manager. It can be killed and started again on the same port."""

    def __init__(self, *, auth: bool = False) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}/"
        self._auth = auth
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the relay; return when it accepts connections.

        Raises:
            RuntimeError: it did not start within 10 s; the message has what it said.

        """
        command = [sys.executable, "-m", "gennostr.cli.local_relay", "--port", str(self.port)]
        if self._auth:
            command.append("--auth")
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C in the terminal is for the program, which then stops the relay
        )
        assert self._process.stdout is not None  # noqa: S101
        deadline = time.monotonic() + START_TIMEOUT
        said = b""
        while b"ready\n" not in said:
            left = deadline - time.monotonic()
            ready = left > 0 and select.select([self._process.stdout], [], [], left)[0]
            chunk = os.read(self._process.stdout.fileno(), 4096) if ready else b""
            if not chunk:
                self.kill()
                raise RuntimeError(f"no relay on port {self.port}: {said.decode(errors='replace')}")
            said += chunk

    def stop(self) -> None:
        """Stop the relay in order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the relay: its connections end without a close frame."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


async def serve(port: int, *, auth: bool) -> None:
    """Run the relay until SIGTERM or the end of standard input.

    Raises:
        ImportError: nostr-sdk is not installed.

    """
    try:
        from nostr_sdk import (  # noqa: PLC0415 - an extra
            LocalRelayBuilder,
            LocalRelayBuilderNip42,
            LocalRelayBuilderNip42Mode,
            RateLimit,
        )
    except ImportError as error:
        raise ImportError(
            f"the relay needs nostr-sdk: pip install 'gennostr[demo]' ({error})"
        ) from error
    limit = RateLimit(max_reqs=500, notes_per_minute=100000)
    builder = LocalRelayBuilder().addr("127.0.0.1").port(port).rate_limit(limit)
    if auth:
        builder = builder.nip42(LocalRelayBuilderNip42(mode=LocalRelayBuilderNip42Mode.BOTH))
    relay = builder.build()
    await relay.run()
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, done.set)

    def read() -> None:
        if not os.read(0, 4096):
            done.set()

    loop.add_reader(0, read)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await done.wait()
    relay.shutdown()


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--auth", action="store_true", help="require NIP-42 authentication")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, auth=arguments.auth))


if __name__ == "__main__":
    main()
