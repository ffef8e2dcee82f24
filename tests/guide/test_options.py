"""Pages that name options of a relay name all of them, with their defaults."""

import re
from dataclasses import MISSING, fields
from typing import Any

from gennostr import Options
from tests.guide.pages import page

SIZES = {"KiB": 1024, "MiB": 1024**2}


def value(text: str) -> float:
    """Return the number in "5 MiB", "1,024" or "10"."""
    number, _, unit = text.replace(",", "").partition(" ")
    return float(number) * SIZES.get(unit, 1)


def default(name: str) -> Any:
    return next(each.default for each in fields(Options) if each.name == name)


def test_every_option_is_explained_with_its_default() -> None:
    section = page("nostr_client").partition("\nOptions of a relay\n")[2].partition("\nRaw messages\n")[0]
    listed = dict(re.findall(r"^- `(\w+)`, (`[^`]*`|[^:]+?)(?:, None for ever)?: ", section, re.MULTILINE))
    assert set(listed) == {each.name for each in fields(Options)}
    assert (listed.pop("verify"), listed.pop("compression")) == ("False", "True")
    assert listed.pop("reconnect") == str(default("reconnect")).replace(".0", "")
    for name in ("tasks", "websocket"):
        factory = next(each.default_factory for each in fields(Options) if each.name == name)
        assert factory is not MISSING
        assert listed.pop(name) == f"`{str(factory()).replace(chr(39), chr(34)).replace('.0', '')}`"
    assert {name: value(text) for name, text in listed.items()} == {name: default(name) for name in listed}


def test_the_limits_that_hold_against_hostile_relays_are_the_defaults() -> None:
    text = " ".join(page("security").split())
    named = re.findall(r"`(\w+)` \(([\d,]+(?: [KM]iB)?)\)", text)
    assert len(named) >= 6
    assert {name: value(number) for name, number in named} == {name: default(name) for name, _ in named}
