"""A real Nostr relay on this machine, in its own process.

The relay is nostr-sdk's: events, subscriptions, COUNT and authentication work; events are kept in memory and lost when
it stops. `LocalRelay` starts, stops and kills it; from a shell, use ::

    python -m gennostr.cli.local_relay --port 7447 [--auth]

The two processes communicate in only three ways. The relay's process prints one line: ``ready`` and the url as soon as
it accepts connections, or ``failed`` and the reason before it exits with status 1. SIGTERM ends it. So does the end of
its standard input, a pipe that its owner holds open: if the owner dies, however it dies, so does the relay.
"""

import argparse
import asyncio
import errno
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import nostr_sdk

HOST = "127.0.0.1"
START_TIMEOUT = 10.0  # seconds within which the line must arrive
STOP_TIMEOUT = 5.0  # seconds from SIGTERM to SIGKILL
SIGNAL_DELAY = 0.5  # seconds within which a signal is noticed
ATTEMPTS = 20  # to find a free port: another process may take it first


class LocalRelay:
    """A relay on a port of 127.0.0.1.

    The first start chooses the port, and later starts keep it.

    As a context manager, it is started on entry and stopped on exit. With ``auth`` it requires authentication (NIP-42)
    for reading and writing. Not thread-safe.
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
        """Start the relay; return when it accepts connections.

        Raises:
            RuntimeError: it is already running or cannot run (nostr-sdk is not installed, the port is taken); the
                message says why.
            TimeoutError: it does not accept connections within 10 s.

        """
        if self._process is not None and self._process.poll() is None:
            raise RuntimeError(f"the local relay {self.url} is running")
        self.kill()  # reaps a process that ended by itself
        if self._port is not None:
            self._process = _spawn(self._port, auth=self._auth)
            return
        for _ in range(ATTEMPTS):
            port = free_port()
            try:
                self._process = _spawn(port, auth=self._auth)
            except _PortTakenError:
                continue  # another process was faster
            self._port = port
            return
        raise RuntimeError(f"no free port for a local relay in {ATTEMPTS} attempts")

    def stop(self) -> None:
        """Stop the relay with SIGTERM, or by force after 5 seconds.

        No effect if it is stopped.
        """
        process, self._process = self._process, None
        if process is not None:
            _end(process, STOP_TIMEOUT)

    def kill(self) -> None:
        """Kill the relay with SIGKILL, as if its machine had failed.

        No effect if it is stopped.
        """
        process, self._process = self._process, None
        if process is not None:
            _end(process, 0.0)

    def restart(self) -> None:
        """Stop the relay if it is running, and start it, empty, on the same port.

        Raises what `start` does.
        """
        self.stop()
        self.start()


def url_at(port: int) -> str:
    """Return the normalized url of a relay on `port`."""
    return f"ws://{HOST}:{port}/"


def free_port() -> int:
    """Return a free port of 127.0.0.1, outside the range of outgoing connections.

    Systems use the ports from 32768 up for outgoing connections. A relay's port must be below: while the relay is down,
    a client that keeps connecting to a port of that range can get the same port as its own end, and connect to itself.
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
    # The file, not the module name: it imports nothing from the package, so the child needs neither our sys.path nor
    # our working directory; -P keeps the files beside it from shadowing libraries.
    command = [sys.executable, "-P", __file__, "--port", str(port), *(["--auth"] if auth else [])]
    process = subprocess.Popen(  # noqa: S603 - our own file
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0,  # its owner handles Ctrl-C, and stops clients before relays
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
    """Return the one line that the process prints, and close the pipe.

    The line is "" if the process ended without printing it.
    """
    assert process.stdout is not None  # noqa: S101 - opened as a pipe
    late = threading.Event()

    def expire() -> None:
        late.set()
        process.kill()  # which ends the read below: not every system can wait for a pipe with a timeout

    timer = threading.Timer(START_TIMEOUT, expire)
    timer.start()
    try:
        with process.stdout as stdout:
            line = stdout.readline()
    finally:
        timer.cancel()
        timer.join()
    if late.is_set():
        raise TimeoutError(f"the local relay did not start within {START_TIMEOUT:g} s")
    return line.decode(errors="replace").strip()


def _end(process: subprocess.Popen[bytes], patience: float) -> None:
    try:
        if patience > 0:
            process.terminate()
            process.wait(patience)
    except subprocess.TimeoutExpired:
        pass  # killed below
    finally:
        process.kill()
        process.wait()
        if process.stdin is not None:
            process.stdin.close()


def is_port_taken(reason: str) -> bool:
    """Return whether nostr-sdk's error says that the port is taken.

    It has no errno: only the text says so.
    """
    return f"os error {errno.EADDRINUSE}" in reason


async def serve(port: int, *, auth: bool) -> "nostr_sdk.LocalRelay":
    """Start a relay in this process and return it when it listens.

    Its ``shutdown`` ends it.
    """
    # Imported here: the demo extra may be missing, and the owner's process does not need it.
    import nostr_sdk  # noqa: PLC0415

    unlimited = nostr_sdk.RateLimit(max_reqs=2**32 - 1, notes_per_minute=2**32 - 1)
    builder = nostr_sdk.LocalRelayBuilder().addr(HOST).port(port).rate_limit(unlimited)
    if auth:
        both = nostr_sdk.LocalRelayBuilderNip42Mode.BOTH
        builder = builder.nip42(nostr_sdk.LocalRelayBuilderNip42(mode=both))
    relay = builder.build()
    await relay.run()  # returns when it listens; nostr-sdk's threads serve the clients
    return relay


def _await_end_of_input(ended: threading.Event) -> None:
    """Wait until standard input ends; its data is ignored.

    In a thread, as select on Windows waits for no pipe.
    """
    try:
        while os.read(0, 4096):
            pass
    finally:
        ended.set()


def main() -> int:
    """Run a relay until SIGTERM, Ctrl-C or the end of standard input.

    Returns the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m gennostr.cli.local_relay",
        description="A Nostr relay on 127.0.0.1 that keeps its events in memory.",
    )
    parser.add_argument("--port", type=int, required=True, help="the port to listen on")
    parser.add_argument("--auth", action="store_true", help="require authentication (NIP-42)")
    arguments = parser.parse_args()
    if not 0 < arguments.port < 2**16:
        parser.error(f"--port must be between 1 and 65535, not {arguments.port}")
    # Both raise KeyboardInterrupt below; SIGINT is set too, as it may be inherited as ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        relay = asyncio.run(serve(arguments.port, auth=arguments.auth))
        try:
            print(f"ready {url_at(arguments.port)}", flush=True)
            ended = threading.Event()
            threading.Thread(target=_await_end_of_input, args=(ended,), daemon=True).start()
            # The wait has a timeout, as a signal that arrives just before it does not interrupt it.
            while not ended.wait(SIGNAL_DELAY):
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
