"""The command line: any order, lists of values, urls without a scheme, and errors that name the right help."""

import argparse
from typing import Any

import pytest

from gennostr.cli.arguments import Parser, RelayUrl, add_urls, relay_url, without_keys
from gennostr.cli.filters import add_filter_arguments, filter_of
from gennostr.cli.keys import add_key_arguments
from tests.cli.command import KEY, gennostr

HEX = "7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e"
NPUB = "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg"


def parsed(*arguments: str) -> tuple[list[str], dict[str, Any]]:
    parser = Parser(prog="command")
    add_urls(parser)
    add_filter_arguments(parser)
    add_key_arguments(parser, auth=True)
    found = parser.parse_args(arguments)
    return found.urls, filter_of(found)


@pytest.mark.parametrize(
    "arguments",
    [
        "--kinds 1 2 wss://a.example wss://b.example",
        "--kinds 1,2 wss://a.example wss://b.example",
        "--kinds 1, 2 wss://a.example wss://b.example",
        "wss://a.example --kinds 1 --kinds 2 wss://b.example",
        "wss://a.example wss://b.example --kinds=1,2",
        "--auth wss://a.example --kinds 1 2 -- wss://b.example",
        "--kinds 1 2 a.example b.example",
    ],
)
def test_options_and_urls_are_in_any_order(arguments: str) -> None:
    assert parsed(*arguments.split()) == (["wss://a.example/", "wss://b.example/"], {"kinds": [1, 2]})


def test_other_lists_leave_the_urls_alone_too() -> None:
    urls, filter_ = parsed("--authors", NPUB, HEX, "--ids", "1" * 64, "localhost:7447", "--tag", "t=x", "--limit", "3")
    assert urls == ["ws://localhost:7447/"]
    assert filter_ == {"authors": [HEX, HEX], "ids": ["1" * 64], "#t": ["x"], "limit": 3}


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("relay.example", "wss://relay.example/"),
        ("Relay.Example:444/inbox", "wss://relay.example:444/inbox"),
        ("localhost", "ws://localhost/"),
        ("localhost:7447", "ws://localhost:7447/"),
        ("dev.localhost:1", "ws://dev.localhost:1/"),
        ("127.0.0.1:7447", "ws://127.0.0.1:7447/"),
        ("[::1]:7447", "ws://[::1]:7447/"),
        ("127.example:1", "wss://127.example:1/"),
        ("wss://localhost", "wss://localhost/"),
    ],
)
def test_a_url_without_a_scheme_is_wss_and_on_this_machine_ws(text: str, url: str) -> None:
    found = relay_url(text)
    assert isinstance(found, RelayUrl)
    assert found == url
    assert found.assumed is ("://" not in text)


@pytest.mark.parametrize("text", ["relay", "", "npub1xyz", NPUB, "[::1", "http://relay.example", "a b.example"])
def test_what_is_no_url_is_not_made_one(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        relay_url(text)


def test_the_assumed_scheme_is_announced_without_a_password() -> None:
    done = gennostr("info", "user:secret@127.0.0.1:9", status=1)
    assert "note: using ws://127.0.0.1:9/, as the url was given without ws:// or wss://" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["listen", "wss://a.example", "--nonesuch"],
            "arguments: --nonesuch (see gennostr listen --help)",
        ),
        (["fetch", "wss://a.example", "--kinds"], "expected one argument (see gennostr fetch --help)"),
        (["fetch", "--kinds", "wss://a.example"], "not a whole number, zero or more: 'wss://a.example'"),
        (["publish", "wss://a.example"], "(see gennostr publish --help)"),
        (["key", "show", "--nonesuch"], "(see gennostr key show --help)"),
        (["lisen", "wss://a.example"], "no command 'lisen'; did you mean listen? (see gennostr --help)"),
        (["listen", NPUB], "a key or an id"),
    ],
)
def test_an_error_names_the_help_of_its_command(arguments: list[str], said: str) -> None:
    assert said in gennostr(*arguments, status=2).stderr


def test_a_wrong_key_is_described_without_stars() -> None:
    assert "64 hex digits, or nsec1..." in gennostr("key", "show", key="abc", status=2).stderr


def test_what_may_be_a_key_is_masked_wherever_it_is() -> None:
    nsec = "nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5"
    for text in (nsec, nsec.upper(), f"x{nsec}", f"--key={nsec}", nsec[:12], KEY, KEY.upper(), f"'{KEY}'"):
        assert "***" in without_keys(text)
        assert text[-4:-1] not in without_keys(text)
    assert without_keys("nsec1... or nsec1") == "nsec1... or nsec1"
