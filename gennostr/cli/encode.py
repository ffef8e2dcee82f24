"""``gennostr encode``: write keys, ids and addresses in the forms of NIP-19."""

import argparse
from collections.abc import Callable
from typing import Final

from gennostr.cli.arguments import URL_HELP, Parser, WrongCommandLine, announce, exit_statuses, relay_url, without_keys
from gennostr.cli.filters import author, kind
from gennostr.cli.keys import pubkey, secret_key
from gennostr.cli.standard_input import read_text
from gennostr.nostr import nip19

DESCRIPTION: Final = """\
Write a key, an id or an address in its form for people (NIP-19):

  npub      a public key
  nsec      a secret key; it is read from standard input, never from the command line
  note      the id of an event
  nprofile  a public key, with relays where its author's events are found
  nevent    the id of an event, with relays, its author and its kind
  naddr     the address of a replaceable event: VALUE is its identifier (the d tag, which may be ""), with --author and
            --kind

Without VALUE, or if it is -, it is read from standard input."""

EXAMPLES: Final = """\
examples:
  gennostr encode npub 7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e
  gennostr encode nevent ID --relay wss://relay.example --author npub1...
  gennostr encode naddr my-article --author npub1... --kind 30023
  gennostr encode nsec < ~/.nostr-key
"""

OPTIONS: Final = {
    "npub": (),
    "nsec": (),
    "note": (),
    "nprofile": ("relay",),
    "nevent": ("relay", "author", "kind"),
    "naddr": ("relay", "author", "kind"),
}
"""The options of each form."""
_MAX: Final = 64 * 1024


def add_arguments(parser: Parser) -> None:
    """Add the command's arguments and help texts."""
    parser.usage = "%(prog)s FORM [VALUE] [options]"
    parser.description = DESCRIPTION
    statuses = exit_statuses(
        _0="the text is printed", _1="failure", _2="wrong command line, or an invalid value", _130="interrupted"
    )
    parser.epilog = f"{EXAMPLES}\n{statuses}"
    parser.add_argument("form", metavar="FORM", choices=tuple(OPTIONS), help=", ".join(OPTIONS))
    parser.add_argument("value", metavar="VALUE", nargs="?", help="64 hex digits; for naddr, the identifier")
    parser.add_argument(
        "--relay", metavar="URL", type=relay_url, action="append", help=f"{URL_HELP}. Repeat it for more"
    )
    parser.add_argument("--author", metavar="KEY", type=author, help="the author's public key, hex or npub1...")
    parser.add_argument("--kind", metavar="KIND", type=kind, help="the event's kind")


def run(parsed: argparse.Namespace) -> int:
    """Print the text; return the exit status."""
    for option in ("relay", "author", "kind"):
        if getattr(parsed, option) is not None and option not in OPTIONS[parsed.form]:
            raise WrongCommandLine(f"{parsed.form} has no --{option}")
    value = parsed.value
    if parsed.form == "nsec" and value not in (None, "-"):
        raise WrongCommandLine("a secret key must not be on the command line: give it on standard input")
    if value in (None, "-"):
        value = read_text("the value", _MAX).removesuffix("\n").removesuffix("\r")
    announce(parsed.relay or ())
    try:
        print(_encoded(parsed, value))
    except ValueError as error:
        raise WrongCommandLine(without_keys(str(error))) from None
    return 0


def _encoded(parsed: argparse.Namespace, value: str) -> str:
    relays = tuple(map(str, parsed.relay or ()))
    if parsed.form == "naddr":
        for option in ("author", "kind"):
            if getattr(parsed, option) is None:
                raise WrongCommandLine(f"naddr needs --{option}")
        return nip19.Naddr(value, parsed.author, parsed.kind, relays).encode()
    forms: dict[str, Callable[[], str]] = {
        "npub": lambda: nip19.Npub(pubkey(value)).encode(),
        "nsec": lambda: nip19.Nsec(secret_key(value)).encode(),
        "note": lambda: nip19.Note(_id(value)).encode(),
        "nprofile": lambda: nip19.Nprofile(pubkey(value), relays).encode(),
        "nevent": lambda: nip19.Nevent(_id(value), relays, parsed.author, parsed.kind).encode(),
    }
    return forms[parsed.form]()


def _id(text: str) -> str:
    """Return an event's id, given in hex or as note1....; ValueError: it is invalid."""
    text = text.strip()
    if text.lower().startswith("note1"):
        found = nip19.decode(text)
        if isinstance(found, nip19.Note):
            return found.id
    return text.lower()
