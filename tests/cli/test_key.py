"""gennostr key, encode and decode."""

import dataclasses
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from gennostr.nostr import nip19, public_key
from tests.cli.command import KEY, gennostr

PUBKEY = "7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e"
NPUB = "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg"
NSEC = "nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5"
ID = "dc90c95f09947507c1044e8f48bcf6350aa6bff1507dd4acfc755b9239b5c962"


def test_a_generated_key_is_printed_alone_with_its_public_key_on_standard_error() -> None:
    done = gennostr("key", "generate", status=0)
    key = nip19.decode(done.stdout.strip())
    assert isinstance(key, nip19.Nsec)
    assert done.stderr == f"public key: {nip19.Npub(public_key(key.secret_key)).encode()}\n"
    assert gennostr("key", "generate").stdout != done.stdout


def test_a_key_file_is_the_owners_alone_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key"
    done = gennostr("key", "generate", "--output", str(path), status=0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "nsec1" not in done.stdout + done.stderr
    npub = done.stdout.strip()
    shown = gennostr("key", "show", "--key-file", str(path), status=0)
    assert npub in shown.stdout
    assert shown.stderr == ""
    before = path.read_text()
    assert "never overwritten" in gennostr("key", "generate", "--output", str(path), status=1).stderr
    assert path.read_text() == before
    missing = gennostr("key", "generate", "--output", str(tmp_path / "none" / "key"), status=1)
    assert "No such file" in missing.stderr


def test_show_has_both_forms_of_the_public_key_and_not_the_secret_one() -> None:
    done = gennostr("key", "show", key=NSEC, status=0)
    assert done.stdout == f"npub    {NPUB}\nhex     {PUBKEY}\n"
    assert json.loads(gennostr("key", "show", "--json", key=KEY, status=0).stdout) == {"npub": NPUB, "pubkey": PUBKEY}
    assert "no key given" in gennostr("key", "show", status=2).stderr


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (["npub", PUBKEY], nip19.Npub(PUBKEY)),
        (["npub", NPUB], nip19.Npub(PUBKEY)),
        (["note", ID], nip19.Note(ID)),
        (["nprofile", NPUB, "--relay", "wss://a.example"], nip19.Nprofile(PUBKEY, ("wss://a.example/",))),
        (
            ["nevent", ID, "--relay", "wss://a.example", "--relay", "wss://b.example", "--author", NPUB, "--kind", "1"],
            nip19.Nevent(ID, ("wss://a.example/", "wss://b.example/"), PUBKEY, 1),
        ),
        (["naddr", "--kind", "30023", "--author", PUBKEY, "article"], nip19.Naddr("article", PUBKEY, 30023)),
        (["naddr", "", "--kind", "30023", "--author", PUBKEY], nip19.Naddr("", PUBKEY, 30023)),
    ],
)
def test_encode_and_decode_are_inverse(arguments: list[str], value: Any) -> None:
    text = gennostr("encode", *arguments, status=0).stdout.strip()
    assert nip19.decode(text) == value
    shown = json.loads(gennostr("decode", f"nostr:{text}", "--json", status=0).stdout)
    fields = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    fields = {
        name: list(each) if isinstance(each, tuple) else each for name, each in fields.items() if each not in ((), None)
    }
    assert shown == {"form": arguments[0], **fields}


def test_decode_prints_one_field_a_line() -> None:
    text = nip19.Nevent(ID, ("wss://a.example/", "wss://b.example/"), PUBKEY, 1).encode()
    lines = [each.split() for each in gennostr("decode", stdin=f"{text}\n", status=0).stdout.splitlines()]
    assert lines == [
        ["form", "nevent"],
        ["id", ID],
        ["relay", "wss://a.example/"],
        ["relay", "wss://b.example/"],
        ["author", PUBKEY],
        ["kind", "1"],
    ]


def test_a_secret_key_goes_through_standard_input_only() -> None:
    assert gennostr("encode", "nsec", stdin=f"{KEY}\n", status=0).stdout == f"{NSEC}\n"
    assert KEY in gennostr("decode", "-", stdin=NSEC, status=0).stdout
    for arguments in (["encode", "nsec", KEY], ["encode", "nsec", NSEC], ["decode", NSEC], ["decode", f"nostr:{NSEC}"]):
        done = gennostr(*arguments, status=2)
        assert "must not be on the command line" in done.stderr
        assert KEY not in done.stderr
        assert NSEC not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["encode", "npub", "abc"], "64 hex digits"),
        (["encode", "npub", NSEC], "npub1, not with nsec1"),
        (["encode", "note", NPUB], "id"),
        (["encode", "note", ID, "--kind", "1"], "note has no --kind"),
        (["encode", "naddr", "x"], "naddr needs --author"),
        (["encode", "nprofil", PUBKEY], "nprofil"),
        (["decode", "npub1xyz"], "npub1"),
        (["decode", "hello"], "not NIP-19"),
    ],
)
def test_a_wrong_value_is_one_line_and_2(arguments: list[str], said: str) -> None:
    [line] = gennostr(*arguments, status=2).stderr.splitlines()
    assert said in line
    assert NSEC not in line
