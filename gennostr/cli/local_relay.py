"""A real Nostr relay on this machine, in a process of its own.

The relay is nostr-sdk's: events, subscriptions, COUNT and authentication work, events are kept in
memory and gone when it stops. `LocalRelay` starts, stops and kills it; from a shell it is ::

    python -m gennostr.cli.local_relay --port 7447 [--auth]

The two sides speak through three things only. The relay's process prints one line once: ``ready``
and the url as soon as it accepts connections, or ``failed`` and the reason, and then exits with 1.
SIGTERM ends it. And so does the end of its standard input, a pipe that its owner holds open: an
owner that dies, however it dies, takes its relay along.
"""

import argparse
import asyncio
import errno
import os
import secrets
import select
import selectors
import signal
import socket
import subprocess
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import nostr_sdk

HOST = "127.0.0.1"
START_TIMEOUT = 10.0  # seconds until the line must be there
STOP_TIMEOUT = 5.0  # seconds from SIGTERM to SIGKILL
SIGNAL_DELAY = 0.5  # seconds after which a signal is noticed at the latest
ATTEMPTS = 20  # at a port that nobody else has taken meanwhile


class LocalRelay:
    """A relay on one port of 127.0.0.1: chosen by the first start, kept by every later one.

    A context manager: started on the way in, stopped on the way out. With ``auth`` it wants
    authentication (NIP-42) for reading and writing. Not to be shared by threads.
    """

    def __init__(self, *, auth: bool = False) -> None:
        self._auth = auth
        self._port: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

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

    @property
    def port(self) -> int:
        """The port; RuntimeError before the first start."""
        if self._port is None:
            raise RuntimeError("a local relay has no port before its first start")
        return self._port

    @property
    def url(self) -> str:
        """The relay's url; RuntimeError before the first start."""
        return url_at(self.port)

    def start(self) -> None:
        """Return when the relay accepts connections.

        Raises RuntimeError naming the reason when it runs already or cannot run (nostr-sdk is not
        installed, the port is taken), and TimeoutError after 10 seconds.
        """
        if self._process is not None and self._process.poll() is None:
            raise RuntimeError(f"the local relay {self.url} is running")
        self.kill()  # collects a process that ended by itself
        if self._port is not None:
            self._process = _spawn(self._port, auth=self._auth)
            return
        for _ in range(ATTEMPTS):
            port = free_port()
            try:
                self._process = _spawn(port, auth=self._auth)
            except _PortTakenError:
                continue  # somebody was quicker
            self._port = port
            return
        raise RuntimeError(f"no free port for a local relay in {ATTEMPTS} attempts")

    def stop(self) -> None:
        """End the relay in order, within 5 seconds or else by force. Stopped: nothing happens."""
        process, self._process = self._process, None
        if process is not None:
            _end(process, STOP_TIMEOUT)

    def kill(self) -> None:
        """End the relay at once by SIGKILL, as if its machine had failed. Stopped: nothing."""
        process, self._process = self._process, None
        if process is not None:
            _end(process, 0.0)

    def restart(self) -> None:
        """Stop the relay if it runs and start it, empty, on the same port. Raises as start does."""
        self.stop()
        self.start()


def url_at(port: int) -> str:
    """Return the url of a relay on `port`, spelled as clients do."""
    return f"ws://{HOST}:{port}/"


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free now, and that no outgoing connection will be given.

    Systems number outgoing connections from 32768 up. A relay's port must stay below: while the
    relay is down, a client that keeps trying a port from that range can be given the same port as
    its own end, and is then connected to itself.
    """
    for _ in range(ATTEMPTS):
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        return port
    raise RuntimeError(f"no free port on {HOST} in {ATTEMPTS} attempts")


class _PortTakenError(RuntimeError):
    """The relay could not bind its port."""


def _spawn(port: int, *, auth: bool) -> subprocess.Popen[bytes]:
    # This file itself, not its name: it imports nothing of the package, so the child needs neither
    # our sys.path nor our working directory; -P keeps its neighbours from passing for libraries.
    command = [sys.executable, "-P", __file__, "--port", str(port), *(["--auth"] if auth else [])]
    process = subprocess.Popen(  # noqa: S603 - our own file
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0,  # Ctrl-C is its owner's to handle, who stops clients before relays
    )
    try:
        word, _, reason = _first_line(process).partition(" ")
    except BaseException:
        _end(process, 0.0)
        raise
    if word == "ready":
        return process
    _end(process, 0.0)
    if is_port_taken(reason):
        raise _PortTakenError(f"local relay on port {port}: {reason}")
    raise RuntimeError(f"local relay on port {port}: {reason or 'ended without a word'}")


def _first_line(process: subprocess.Popen[bytes]) -> str:
    """Return the one line that the process prints, or "" if it ended without; then stop reading."""
    assert process.stdout is not None  # noqa: S101 - opened as a pipe
    deadline = time.monotonic() + START_TIMEOUT
    line = b""
    with process.stdout as stdout, selectors.DefaultSelector() as selector:
        selector.register(stdout, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError(f"the local relay did not start within {START_TIMEOUT:g} s")
            chunk = os.read(stdout.fileno(), 4096)
            if not chunk:
                break
            line += chunk
    return line.decode(errors="replace").strip()


def _end(process: subprocess.Popen[bytes], patience: float) -> None:
    try:
        if patience > 0:
            process.terminate()
            process.wait(patience)
    except subprocess.TimeoutExpired:
        pass  # it had its chance
    finally:
        process.kill()
        process.wait()
        if process.stdin is not None:
            process.stdin.close()


def is_port_taken(reason: str) -> bool:
    """Tell whether that is why a relay could not be started: what nostr-sdk raises has no number."""
    return f"os error {errno.EADDRINUSE}" in reason


async def serve(port: int, *, auth: bool) -> "nostr_sdk.LocalRelay":
    """Start a relay in this process, and return it when it listens; its ``shutdown`` ends it."""
    # Imported here: the demo extra may be missing, and the owner's side needs none of it.
    import nostr_sdk  # noqa: PLC0415

    unlimited = nostr_sdk.RateLimit(max_reqs=2**32 - 1, notes_per_minute=2**32 - 1)
    builder = nostr_sdk.LocalRelayBuilder().addr(HOST).port(port).rate_limit(unlimited)
    if auth:
        both = nostr_sdk.LocalRelayBuilderNip42Mode.BOTH
        builder = builder.nip42(nostr_sdk.LocalRelayBuilderNip42(mode=both))
    relay = builder.build()
    await relay.run()  # returns when it listens; nostr-sdk's own threads serve
    return relay


def main() -> int:
    """Run a relay until SIGTERM, Ctrl-C or the end of standard input; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m gennostr.cli.local_relay",
        description="A Nostr relay on 127.0.0.1 that keeps its events in memory.",
    )
    parser.add_argument("--port", type=int, required=True, help="the port to listen on")
    parser.add_argument("--auth", action="store_true", help="require authentication (NIP-42)")
    arguments = parser.parse_args()
    if not 0 < arguments.port < 2**16:
        parser.error(f"--port must be between 1 and 65535, not {arguments.port}")
    # Both are KeyboardInterrupt below; SIGINT too is set, as it may have been inherited as ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        relay = asyncio.run(serve(arguments.port, auth=arguments.auth))
        try:
            print(f"ready {url_at(arguments.port)}", flush=True)
            # What is written to it means nothing; only its end does. The wait has an end, for a signal that comes just
            # before it interrupts nothing.
            while not select.select([0], [], [], SIGNAL_DELAY)[0] or os.read(0, 4096):
                pass
        finally:
            relay.shutdown()
    except ModuleNotFoundError:
        print("failed nostr-sdk is not installed: pip install 'gennostr[demo]'", flush=True)
        return 1
    except KeyboardInterrupt:
        pass
    except Exception as error:
        print(f"failed {error}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
