"""``gennostr relay``: run a relay in the foreground, for development."""

import argparse
import asyncio
import signal
import sys
from typing import Final

from gennostr.cli.arguments import Failure, exit_statuses
from gennostr.cli.local_relay import free_port, is_port_taken, serve, url_at

DESCRIPTION: Final = """\
Run a Nostr relay on 127.0.0.1, in the foreground, until Ctrl-C or SIGTERM. It is nostr-sdk's (pip install
'gennostr[demo]'): events, subscriptions, COUNT and authentication work; events are in memory, and gone when it stops.
Its url is printed as soon as it accepts connections."""

EXAMPLES: Final = """\
examples:
  gennostr relay
  gennostr relay --port 0 --auth        a free port; clients must authenticate (NIP-42) to read and write
  gennostr listen ws://127.0.0.1:7447   in another terminal
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments and help texts."""
    parser.description = DESCRIPTION
    parser.epilog = EXAMPLES + "\n" + exit_statuses(_0="stopped", _1="it could not be started", _2="wrong command line")
    parser.add_argument("--port", type=_port, default=7447, help="0: any that is free (default: %(default)s)")
    parser.add_argument("--auth", action="store_true", help="demand authentication (NIP-42)")


def _port(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not int(text[:9]) < 2**16:
        raise argparse.ArgumentTypeError(f"not a port from 0 to 65535: {text!r}")
    return int(text)


def run(parsed: argparse.Namespace) -> int:
    """Serve until a signal; return the exit status."""
    port = parsed.port or free_port()
    # Blocked from here on, in the relay's threads too, until sigwait: none can arrive at the wrong moment.
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        relay = asyncio.run(serve(port, auth=parsed.auth))
        try:
            print(url_at(port), flush=True)
            sys.stderr.write("a relay that forgets all when it stops; Ctrl-C stops it\n")
            signal.sigwait(signals)
        finally:
            relay.shutdown()
    except ModuleNotFoundError:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        raise Failure("nostr-sdk is not installed: pip install 'gennostr[demo]'") from None
    except Exception as error:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        if is_port_taken(str(error)):
            raise Failure(f"port {port} is taken: --port NUMBER is another, --port 0 any that is free") from None
        raise
    # They stay blocked to the end: a second signal, such as timeout(1) sends, means the same as the first.
    return 0
