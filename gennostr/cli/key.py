"""``gennostr key``: generate a secret key, or show the public key of yours."""

import argparse
import os
import sys
from pathlib import Path
from typing import Final

from gennostr.cli.arguments import Failure, Parser, WrongCommandLine, exit_statuses, require_coincurve
from gennostr.cli.keys import KEY_HELP, VARIABLE, add_key_arguments, given_public_key, key_path
from gennostr.cli.terminal import Terminal, json_line, printable

DESCRIPTION: Final = """\
Generate a secret key, or show the public key of yours."""

EXAMPLES: Final = """\
examples:
  gennostr key generate --output ~/.nostr-key
  gennostr key generate > key && chmod 600 key
  gennostr key show --key-file ~/.nostr-key
  gennostr key COMMAND --help     what each of them does"""

GENERATE: Final = """\
Generate a secret key.

Without --output, the secret key is printed on standard output, as nsec1..., and its public key on standard error. With
--output, the secret key is written to a new file that only you can read, and the public key is printed on standard
output. An existing file is never overwritten. Anyone who has the secret key can sign in your name: keep it
secret, and keep a copy, as nothing can restore it."""

SHOW: Final = """\
Show the public key of your secret key, as npub1... and as hex. The secret key itself is not shown."""


def add_arguments(parser: Parser) -> None:
    """Add the commands' arguments and help texts."""
    parser.intermixed = False  # the commands' own parsers are
    parser.description = DESCRIPTION
    statuses = exit_statuses(_0="success", _1="failure", _2="wrong command line, or an invalid key", _130="interrupted")
    parser.epilog = f"{EXAMPLES}\n\n{statuses}"
    commands = parser.add_subparsers(dest="action", required=True, metavar="COMMAND", title="commands")

    generate = commands.add_parser("generate", help="a new secret key", description=GENERATE)
    generate.add_argument(
        "--output", metavar="PATH", type=key_path, help="write the key to this new file, with mode 600"
    )
    generate.epilog = "examples:\n  gennostr key generate --output ~/.nostr-key\n\n" + exit_statuses(
        _0="success", _1="the file exists, or cannot be written", _2="wrong command line", _130="interrupted"
    )
    # Set as the parser too, so that errors found later point to this help.
    generate.set_defaults(parser=generate)

    show = commands.add_parser("show", help="the public key of yours", description=SHOW)
    show.add_argument("--json", action="store_true", help="print one line of JSON")
    add_key_arguments(show)
    show.epilog = f"examples:\n  gennostr key show --key-file ~/.nostr-key\n\n{KEY_HELP}\n\n{statuses}"
    show.set_defaults(parser=show)


def run(parsed: argparse.Namespace) -> int:
    """Generate or show a key; return the exit status."""
    require_coincurve("a key")
    return _generate(parsed.output) if parsed.action == "generate" else _show(parsed)


def _generate(output: Path | None) -> int:
    from gennostr.nostr import generate_key, public_key  # noqa: PLC0415
    from gennostr.nostr.nip19 import Npub, Nsec  # noqa: PLC0415

    secret = generate_key()
    text, npub = Nsec(secret).encode(), Npub(public_key(secret)).encode()
    if output is None:
        print(text)
        sys.stderr.write(f"public key: {npub}\n")
        return 0
    _write(output, f"{text}\n")
    print(npub)
    sys.stderr.write(f"the secret key is in {printable(str(output))}\n")
    return 0


def _write(path: Path, text: str) -> None:
    """Write a new file that only its owner can read.

    It has that mode before it has content.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Failure(f"{path} exists: a key is never overwritten") from None
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from None
    try:
        with open(descriptor, "w") as file:  # noqa: PTH123 - a descriptor
            os.fchmod(descriptor, 0o600)  # whatever the umask is
            file.write(text)
            file.flush()
            os.fsync(descriptor)  # before the public key is shown, which may be given to others at once
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise Failure(f"{path}: {error.strerror}") from None
        raise


def _show(parsed: argparse.Namespace) -> int:
    from gennostr.nostr.nip19 import Npub  # noqa: PLC0415

    key = given_public_key(parsed)
    if key is None:
        raise WrongCommandLine(f"no key given: use --key-file PATH, or the environment variable {VARIABLE}")
    npub = Npub(key).encode()
    terminal = Terminal()
    if parsed.json:
        terminal.line(json_line({"npub": npub, "pubkey": key}))
    else:
        terminal.line(f"npub    {npub}")
        terminal.line(f"hex     {key}")
    return 0
