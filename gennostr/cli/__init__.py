"""The ``gennostr`` command."""

import argparse
import os
import sys
from collections.abc import Sequence

from gennostr.exceptions import RelayUrlError
from gennostr.nostr import normalize_url


def _url(text: str) -> str:
    try:
        return normalize_url(text)
    except RelayUrlError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _pubkey(text: str) -> str:
    if len(text) != 64 or set(text) - set("0123456789abcdef"):
        raise argparse.ArgumentTypeError(f"not a public key of 64 hex digits: {text!r}")
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or not text.isascii():
        raise argparse.ArgumentTypeError(f"not a whole number, zero or more: {text!r}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gennostr", description="A Nostr relay client on actors.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="start two relays, publish, lose one, reconnect, stop: all in a few seconds")
    listen = commands.add_parser("listen", help="print the events of relays until Ctrl-C")
    listen.add_argument("urls", metavar="URL", nargs="+", type=_url, help="wss://... or ws://...")
    listen.add_argument("--kinds", type=_count, nargs="+", help="only events of these kinds")
    listen.add_argument("--authors", type=_pubkey, nargs="+", help="only by these public keys (hex)")
    listen.add_argument("--limit", type=_count, help="at most so many stored events from each relay")
    listen.add_argument("--json", action="store_true", help="print each event as one line of JSON")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0, 1 if something was amiss, 2 for a wrong command line."""
    parsed = _parser().parse_args(arguments)
    try:
        if parsed.command == "demo":
            from gennostr.cli import demo  # noqa: PLC0415 - each command loads what it needs

            return demo.main()
        from gennostr.cli import listen  # noqa: PLC0415

        wanted = {"kinds": parsed.kinds, "authors": parsed.authors, "limit": parsed.limit}
        filter_ = {name: value for name, value in wanted.items() if value is not None}
        return listen.main(parsed.urls, filter_, json=parsed.json)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # What is left in the buffer has no reader: keep the interpreter from saying so at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        sys.stderr.write(f"gennostr {parsed.command}: {type(error).__name__}: {error}\n")
        return 1
