"""The secret key of a command: from a file or the environment, never from the command line, which others can read.

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
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from gennostr.cli.arguments import WrongCommandLine, without_keys
from gennostr.cli.terminal import printable

if TYPE_CHECKING:
    from gennostr.nostr import Event

Signer: TypeAlias = Callable[..., Any]

VARIABLE: Final = "GENNOSTR_KEY"
KEY_HELP: Final = f"""\
the key:
  --key-file PATH or the environment variable {VARIABLE}: 64 hex digits, or nsec1...
  It is never given on the command line, which every user of the machine can read."""

_MAX_FILE: Final = 4096


def add_key_arguments(parser: argparse.ArgumentParser, *, auth: bool = False) -> None:
    """Add --key-file, and with `auth` also --auth, for commands that otherwise need no key."""
    if auth:
        parser.add_argument(
            "--auth",
            action="store_true",
            help=f"prove to relays that ask (NIP-42) who you are, with the key of --key-file or {VARIABLE}; "
            "--key-file alone means the same",
        )
    parser.add_argument("--key-file", metavar="PATH", type=_path, help="the file that holds the secret key")


def _path(text: str) -> Path:
    if without_keys(text) != text:
        raise argparse.ArgumentTypeError("a path is wanted: a key never stands on the command line")
    return Path(text)


def signer(parsed: argparse.Namespace) -> Signer | None:
    """Return a function that signs with the given key, or None without a key.

    Raises:
        WrongCommandLine: the key cannot be read, or is invalid.

    """
    if parsed.key_file is not None:
        where, text = printable(str(parsed.key_file)), _read(parsed.key_file)
    elif VARIABLE in os.environ:
        where, text = VARIABLE, os.environ[VARIABLE]
    else:
        return None
    try:
        return signer_with(secret_key(text))
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
        raise WrongCommandLine(f"--auth needs a key: --key-file PATH, or the environment variable {VARIABLE}")
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
        sys.stderr.write(f"warning: others may read the key in {shown}; chmod 600 makes it yours alone\n")
    return data.decode("ascii", "replace")


def signer_with(secret: str) -> Signer:
    """Return a function that signs with this key (64 hex digits). ValueError: it is outside the curve's range."""
    from gennostr.nostr import public_key, sign  # noqa: PLC0415

    public_key(secret)

    def sign_event(*, created_at: int, kind: int, content: str, tags: list[list[str]] | None = None) -> "Event":
        return sign(secret, created_at=created_at, kind=kind, content=content, tags=tags or [])

    return sign_event


def secret_key(text: str) -> str:
    """Return a secret key, given in hex or as nsec1..., as 64 hex digits. ValueError: it is invalid."""
    return _key(text, "nsec", "npub", "a secret key")


def pubkey(text: str) -> str:
    """Return a public key, given in hex or as npub1..., as 64 hex digits. ValueError: it is invalid."""
    return _key(text, "npub", "nsec", "a public key")


def _key(text: str, prefix: str, other: str, what: str) -> str:
    text = text.strip()
    if re.fullmatch("[0-9A-Fa-f]{64}", text):
        return text.lower()
    if text.lower().startswith(f"{other}1"):
        raise ValueError(f"{what} is wanted, which begins with {prefix}1, not with {other}1")
    if not text.lower().startswith(f"{prefix}1"):
        raise ValueError(f"{what} is 64 hex digits, or {prefix}1...")
    from gennostr.nostr.bech32 import decode_bech32  # noqa: PLC0415

    found, data = decode_bech32(text)
    if found != prefix or len(data) != 32:
        raise ValueError(f"{what} as {prefix}1... has 63 characters, not {len(text)}")
    return data.hex()
