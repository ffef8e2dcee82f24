"""The secret key of a command: from a file or the environment.

It is never on the command line, which others can read.

Error messages show no part of a key. Code that needs the key gets a function that signs, so that no state, crash report
or traceback of it can show the key.
"""

import argparse
import os
import re
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from gennostr.cli.arguments import WrongCommandLine, without_keys
from gennostr.cli.terminal import printable

if TYPE_CHECKING:
    from gennostr.nostr import Event

T = TypeVar("T")
Signer: TypeAlias = Callable[..., Any]

VARIABLE: Final = "GENNOSTR_KEY"
KEY_HELP: Final = f"""\
the key:
  Your secret key, as 64 hex digits or nsec1..., is read from --key-file PATH or from the environment variable
  {VARIABLE}. It cannot be given on the command line, which every user of the machine can read.
  "gennostr key generate" makes one."""

_MAX_FILE: Final = 4096


def add_key_arguments(parser: argparse.ArgumentParser, *, auth: bool = False) -> None:
    """Add --key-file, and with `auth` also --auth.

    `auth` is for commands that otherwise need no key.
    """
    if auth:
        parser.add_argument(
            "--auth",
            action="store_true",
            help=f"authenticate to relays that request it (NIP-42), with the key of --key-file or {VARIABLE}; "
            "--key-file implies it",
        )
    parser.add_argument("--key-file", metavar="PATH", type=key_path, help="a file that contains the secret key")


def key_path(text: str) -> Path:
    """Return the path of a key's file.

    A key in its place is an error, which does not show it.
    """
    if without_keys(text) != text:
        raise argparse.ArgumentTypeError("expects a path: a key must not be on the command line")
    return Path(text)


def signer(parsed: argparse.Namespace) -> Signer | None:
    """Return a function that signs with the given key, or None without a key.

    Raises:
        WrongCommandLine: the key cannot be read, or is invalid.

    """
    return _with_given(parsed, signer_with)


def given_public_key(parsed: argparse.Namespace) -> str | None:
    """Return the public key of the given key, or None without a key.

    Raises what `signer` does.
    """
    from gennostr.nostr import public_key  # noqa: PLC0415

    return _with_given(parsed, public_key)


def _with_given(parsed: argparse.Namespace, use: Callable[[str], T]) -> T | None:
    if parsed.key_file is not None:
        where, text = printable(str(parsed.key_file)), _read(parsed.key_file)
    elif VARIABLE in os.environ:
        where, text = VARIABLE, os.environ[VARIABLE]
    else:
        return None
    try:
        return use(secret_key(text))
    except ValueError as error:
        raise WrongCommandLine(f"{where}: {error}") from None


def auth_signer(parsed: argparse.Namespace) -> Signer | None:
    """Return the signer for NIP-42, or None without --auth and --key-file.

    A key that is merely in the environment is not used to authenticate unless --auth is given.
    """
    if not parsed.auth and parsed.key_file is None:
        return None
    found = signer(parsed)
    if found is None:
        raise WrongCommandLine(f"--auth needs a key: use --key-file PATH, or the environment variable {VARIABLE}")
    return found


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(_MAX_FILE)
    except OSError as error:
        raise WrongCommandLine(f"--key-file: {printable(str(path))}: {error.strerror}") from None
    if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
        shown = printable(str(path))
        sys.stderr.write(f"warning: other users may read the key in {shown}; chmod 600 prevents that\n")
    return data.decode("ascii", "replace")


def signer_with(secret: str) -> Signer:
    """Return a function that signs with this key, 64 hex digits.

    Raises ValueError if it is outside the curve's range.
    """
    from gennostr.nostr import public_key, sign  # noqa: PLC0415

    public_key(secret)

    def sign_event(*, created_at: int, kind: int, content: str, tags: list[list[str]] | None = None) -> "Event":
        return sign(secret, created_at=created_at, kind=kind, content=content, tags=tags or [])

    return sign_event


def secret_key(text: str) -> str:
    """Return a secret key, given in hex or as nsec1..., as 64 hex digits.

    Raises ValueError if it is invalid.
    """
    return _key(text, "nsec", "npub", "a secret key")


def pubkey(text: str) -> str:
    """Return a public key, given in hex or as npub1..., as 64 hex digits.

    Raises ValueError if it is invalid.
    """
    return _key(text, "npub", "nsec", "a public key")


def _key(text: str, prefix: str, other: str, what: str) -> str:
    text = text.strip()
    if re.fullmatch("[0-9A-Fa-f]{64}", text):
        return text.lower()
    if text.lower().startswith(f"{other}1"):
        raise ValueError(f"expected {what}, which begins with {prefix}1, not with {other}1")
    if not text.lower().startswith(f"{prefix}1"):
        raise ValueError(f"{what} is 64 hex digits, or {prefix}1...")
    from gennostr.nostr.bech32 import decode_bech32  # noqa: PLC0415

    found, data = decode_bech32(text)
    if found != prefix or len(data) != 32:
        raise ValueError(f"{what} as {prefix}1... has 63 characters, not {len(text)}")
    return data.hex()
