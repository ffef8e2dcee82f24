"""The ``gennostr`` command.

Each command is a module here, with ``add_arguments(parser)`` and ``run(parsed)``.
"""

import argparse
import io
import os
import signal
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from gennostr.cli.arguments import Failure, Parser, WrongCommandLine, close_to
from gennostr.cli.terminal import printable

COMMANDS: Final = {
    "listen": "print the events of relays as they arrive, until Ctrl-C",
    "fetch": "print all stored events of relays, or of an archive, that match, newest first",
    "count": "show how many events match at relays (NIP-45)",
    "publish": "publish a note, or an event that is already signed",
    "archive": "keep all events that match in a file, and resume",
    "mirror": "copy all events that match from one relay to another",
    "info": "show what a relay says about itself and its limits (NIP-11)",
    "top": "show live connections: state, rates, latency, errors",
    "verify": "check the ids and signatures of events",
    "key": "generate a secret key, or show the public key of yours",
    "encode": "write a key, an id or an address as npub1..., note1... and so on (NIP-19)",
    "decode": "show what is in npub1..., nevent1... and so on (NIP-19)",
    "relay": "run a relay on this machine, for development",
    "demo": "start two relays, publish, lose one, reconnect, stop: all in a few seconds",
    "guide": "read the guide, or the reference of one name",
}

SHELLS: Final = ("bash", "zsh", "tcsh")

DESCRIPTION: Final = """\
A Nostr relay client on actors.

Every command works in a pipe: events and results are written to standard output, everything else to standard error,
and colours and status lines only to a terminal. Ctrl-C and SIGTERM stop it at once."""

EXAMPLES: Final = """\
examples:
  gennostr demo
  gennostr listen wss://relay.example --kinds 1 --limit 20
  gennostr guide tutorial
  gennostr COMMAND --help         examples, options and exit statuses of a command

exit status:
  0    success
  1    failure: the last line on standard error says why
  2    wrong command line
  130  interrupted before the command was done

Some commands have further exit statuses."""


class _Version(argparse.Action):
    """Print the version.

    It is looked up only when it is printed, as importlib.metadata is slow to import.
    """

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        import gennostr  # noqa: PLC0415

        print(f"gennostr {getattr(gennostr, '__version__', '(not installed, so its version is unknown)')}")
        parser.exit()


class _PrintCompletion(argparse.Action):
    """Print the completion script for a shell."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, *_: Any) -> None:
        del namespace
        if find_spec("shtab") is None:
            raise Failure("--print-completion needs shtab: pip install 'gennostr[cli]'")
        import shtab  # noqa: PLC0415

        print(shtab.complete(_parser(list(COMMANDS), every=True), values))
        parser.exit()


def _parser(arguments: Sequence[str], *, every: bool = False) -> Parser:
    """Return the parser for this command line.

    Imports only the module of the command that is used, unless `every`.
    """
    parser = Parser(prog="gennostr", description=DESCRIPTION, epilog=EXAMPLES)
    parser.intermixed = False
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        metavar="SHELL",
        choices=SHELLS,
        help=f"print a completion script and exit: {', '.join(SHELLS)}. Example: "
        'eval "$(gennostr --print-completion bash)" in ~/.bashrc',
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    chosen = next((each for each in arguments if not each.startswith("-")), None)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary)
        if name == chosen or every:
            module = import_module(f"{__name__}.{name}")
            module.add_arguments(command)
            command.set_defaults(parser=command, run=module.run)
    if chosen is not None and chosen not in COMMANDS and "--print-completion" not in arguments:
        parser.error(f"there is no command {chosen!r}{close_to(chosen, COMMANDS)}")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    EXAMPLES and the help of each command list the statuses.
    """
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
        from gennostr.otp.system_limits import raise_open_files  # noqa: PLC0415 - for a command that runs

        raise_open_files()
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
