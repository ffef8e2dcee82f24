"""Keys: where they come from, in which form, and that nothing shows them."""

from pathlib import Path

import pytest

from gennostr.cli.arguments import WrongCommandLine
from gennostr.cli.keys import pubkey, secret_key, signer_with
from gennostr.nostr import public_key
from gennostr.testing import MemoryRelay
from tests.cli.command import KEY, gennostr

NSEC = "nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5"
NPUB = "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg"


def test_the_vectors_of_nip_19() -> None:
    assert secret_key(NSEC) == KEY
    assert secret_key(f" {NSEC.upper()}\n") == KEY
    assert pubkey(NPUB) == "7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e"
    assert pubkey(NPUB) == public_key(secret_key(NSEC))
    assert secret_key(KEY.upper()) == KEY


def test_one_wrong_character_is_found_wherever_it_is() -> None:
    for place in range(len("nsec1"), len(NSEC)):
        other = "q" if NSEC[place] != "q" else "p"
        with pytest.raises(ValueError, match="checksum"):
            secret_key(NSEC[:place] + other + NSEC[place + 1 :])


def test_no_error_shows_any_of_a_key() -> None:
    for text in (NSEC[:-1], NSEC[:-1] + "q", NSEC.replace("n", "N", 1), KEY[:-1], KEY + "0", "0" * 64, "f" * 64):
        with pytest.raises((ValueError, WrongCommandLine)) as raised:
            signer_with(secret_key(text))
        assert text[5:25] not in str(raised.value)
    with pytest.raises(ValueError, match="nsec1, not with npub1"):
        secret_key(NPUB)


def test_the_repr_of_a_signer_does_not_show_the_key() -> None:
    assert KEY not in repr(signer_with(KEY))


@pytest.mark.parametrize(
    "arguments",
    [
        ("publish", "wss://relay.example", "--key", KEY),
        ("publish", "wss://relay.example", "--key-file", KEY),
        ("publish", "wss://relay.example", "--key-file", NSEC),
        ("publish", "wss://relay.example", NSEC),
        ("listen", "wss://relay.example", "--authors", NSEC),
        ("listen", "wss://relay.example", "--ids", NSEC),
        ("listen", "wss://relay.example", "--tag", f"p={NSEC}"),
        ("listen", "wss://relay.example", "--kinds", KEY),
    ],
)
def test_a_key_on_the_command_line_is_refused_and_not_repeated(arguments: tuple[str, ...]) -> None:
    done = gennostr(*arguments, status=2)
    assert len(done.stderr.splitlines()) == 1
    for secret in (KEY, NSEC):
        assert secret not in done.stdout + done.stderr
    if "--key-file" in arguments:
        assert "must not be on the command line" in done.stderr


def test_an_invalid_key_is_named_by_its_place_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY[:-1])
    path.chmod(0o600)
    for done in (
        gennostr("publish", "wss://relay.example", "--content", "x", "--key-file", str(path), status=2),
        gennostr("publish", "wss://relay.example", "--content", "x", key=KEY[:-1], status=2),
    ):
        assert len(done.stderr.splitlines()) == 1
        assert KEY[:20] not in done.stderr
    missing = gennostr("publish", "wss://relay.example", "--key-file", str(tmp_path / "none"), status=2)
    assert "No such file" in missing.stderr
    assert "--key-file" in gennostr("publish", "wss://relay.example", "--content", "x", status=2).stderr
    assert "--auth" in gennostr("listen", "wss://relay.example", "--auth", status=2).stderr


def test_a_key_file_signs_and_one_that_others_may_read_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"{NSEC}\n")
    with MemoryRelay() as relay:
        for mode, warned in ((0o600, False), (0o640, True), (0o604, True)):
            path.chmod(mode)
            content = str(mode)
            done = gennostr("publish", relay.url, "--content", content, "--key-file", str(path), status=0)
            assert ("chmod 600" in done.stderr) is warned
            assert relay.events[-1].pubkey == public_key(KEY)
