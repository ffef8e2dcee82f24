"""``gennostr relay``: run a relay in the foreground, for development."""

import argparse
import asyncio
import errno
import signal
import sys
from contextlib import AsyncExitStack
from typing import Any, Final

from gennostr.cli.arguments import Failure, exit_statuses
from gennostr.cli.front import start_front
from gennostr.cli.local_relay import ATTEMPTS, HOST, free_port, is_port_taken, serve, url_at

DESCRIPTION: Final = """\
Run a Nostr relay on 127.0.0.1, in the foreground, until Ctrl-C or SIGTERM. It is the relay of nostr-sdk (pip install
'gennostr[demo]'): events, subscriptions, COUNT and, with --auth, authentication work. It has an information document
(NIP-11), but not with --auth. Events are kept in memory and lost when it stops. Its url is printed as soon as it
accepts connections."""

EXAMPLES: Final = """\
examples:
  gennostr relay
  gennostr relay --port 0 --auth        a free port; clients must authenticate (NIP-42) to read and write
  gennostr listen ws://127.0.0.1:7447   in another terminal
  gennostr info ws://127.0.0.1:7447
"""

SIGNALS: Final = frozenset({signal.SIGINT, signal.SIGTERM})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments and help texts."""
    parser.description = DESCRIPTION
    parser.epilog = (
        EXAMPLES + "\n" + exit_statuses(_0="stopped", _1="the relay could not be started", _2="wrong command line")
    )
    parser.add_argument("--port", type=_port, default=7447, help="the port; 0: any free port (default: %(default)s)")
    parser.add_argument(
        "--auth",
        action="store_true",
        help="require authentication (NIP-42) to read and write; there is no information document then",
    )


def _port(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not int(text[:9]) < 2**16:
        raise argparse.ArgumentTypeError(f"not a port from 0 to 65535: {text!r}")
    return int(text)


def run(parsed: argparse.Namespace) -> int:
    """Serve until a signal; return the exit status."""
    if not hasattr(signal, "pthread_sigmask"):
        raise Failure("this command needs POSIX signals, which this system lacks; use gennostr.testing.MemoryRelay")
    # Blocked from here on, in the relay's threads too, until sigwait: none can arrive at the wrong moment.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        asyncio.run(_serve(parsed.port or free_port(), auth=parsed.auth))
    except BaseException as error:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        if isinstance(error, ModuleNotFoundError):
            raise Failure("nostr-sdk is not installed: pip install 'gennostr[demo]'") from None
        if getattr(error, "errno", None) == errno.EADDRINUSE or is_port_taken(str(error)):
            hint = "use --port NUMBER for another, or --port 0 for any free port"
            raise Failure(f"port {parsed.port} is taken: {hint}") from None
        raise
    # They stay blocked to the end: a second signal, such as timeout(1) sends, means the same as the first.
    return 0


async def _serve(port: int, *, auth: bool) -> None:
    """Run the relay, and what is in front of it, until a signal."""
    async with AsyncExitStack() as stack:
        if auth:
            # A client signs the url that it connects to, and nostr-sdk accepts only the one that it listens on. So
            # nothing can be in front of it, and there is no information document.
            relay = await serve(port, auth=True)
            stack.callback(relay.shutdown)
        else:
            relay, relay_port = await _serve_on_free_port()
            stack.callback(relay.shutdown)
            front = await start_front(HOST, port, relay_port, information())
            stack.callback(front.close)
        print(url_at(port), flush=True)
        sys.stderr.write("events are kept in memory only; Ctrl-C stops the relay\n")
        await asyncio.to_thread(signal.sigwait, SIGNALS)


async def _serve_on_free_port() -> tuple[Any, int]:
    for _ in range(ATTEMPTS):
        port = free_port()
        try:
            return await serve(port, auth=False), port
        except Exception as error:
            if not is_port_taken(str(error)):
                raise
    raise Failure(f"no free port on {HOST} in {ATTEMPTS} attempts")


def information() -> dict[str, Any]:
    """Return the relay's information document (NIP-11)."""
    from importlib import metadata  # noqa: PLC0415

    return {
        "name": "gennostr relay",
        "description": "A relay for development: events are kept in memory, and lost when it stops.",
        "supported_nips": [1, 9, 11, 45],
        "software": "https://pypi.org/project/nostr-sdk/",
        "version": metadata.version("nostr-sdk"),
        "limitation": {"auth_required": False, "payment_required": False},
    }
