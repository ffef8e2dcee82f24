"""The ``gennostr`` command. Each command is a module here, with ``add_arguments(parser)`` and ``run(parsed)``."""

import io
import os
import signal
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from typing import Final

from gennostr.cli.arguments import Failure, Parser, WrongCommandLine
from gennostr.cli.terminal import printable

COMMANDS: Final = {
    "listen": "print the events of relays as they come, until Ctrl-C",
    "fetch": "print the stored events of relays, all of them, newest first",
    "publish": "publish a note, or an event that is signed already",
    "info": "show what a relay says of itself and its limits (NIP-11)",
    "top": "show connections at work: state, rates, latency, errors",
    "relay": "run a relay on this machine, for development",
    "demo": "start two relays, publish, lose one, reconnect, stop: all in a few seconds",
}

DESCRIPTION: Final = """\
A Nostr relay client on actors.

Every command works in a pipe: events and results are on standard output, all else on standard error, and colours
and status lines on terminals alone. Ctrl-C and SIGTERM end it at once."""

EXAMPLES: Final = """\
examples:
  gennostr demo
  gennostr listen wss://relay.example --kinds 1 --limit 20
  gennostr COMMAND --help         has the rest

exit status:
  0    it is done
  1    something was amiss: the last line on standard error says what
  2    a wrong command line
  130  interrupted before it was done"""


def _parser(arguments: Sequence[str]) -> Parser:
    """Return the parser for this command line. Imports only the module of the command that is used."""
    parser = Parser(prog="gennostr", description=DESCRIPTION, epilog=EXAMPLES)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    chosen = next((each for each in arguments if each in COMMANDS), None)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary)
        if name == chosen:
            module = import_module(f"{__name__}.{name}")
            module.add_arguments(command)
            command.set_defaults(parser=command, run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status, which EXAMPLES and each command's help list."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    before = None
    if threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    command = ""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # relays send any character, and not every locale can encode it
            stream.reconfigure(errors="backslashreplace")
    try:
        parsed = _parser(given).parse_args(given)
        command = f" {parsed.command}"
        try:
            status: int = parsed.run(parsed)
        except WrongCommandLine as error:
            parsed.parser.error(str(error))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The buffered output has no reader: keep the interpreter from reporting that at exit.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
        return 0
    except Exception as error:
        what = str(error) if isinstance(error, Failure) else f"{type(error).__name__}: {error}"
        sys.stderr.write(f"gennostr{command}: {printable(what)}\n")
        return 1
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
    return status
