"""One spelling for each relay, and no credentials where others read them."""

import ipaddress
import sys
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gennostr import Relay
from gennostr.exceptions import RelayUrlError
from gennostr.nostr import normalize_url, redact
from gennostr.nostr.relay_url import request_target


@pytest.mark.parametrize(
    ("url", "normalized"),
    [
        ("wss://relay.example", "wss://relay.example/"),
        ("wss://relay.example/", "wss://relay.example/"),
        ("wss://relay.example///", "wss://relay.example/"),
        ("WSS://Relay.EXAMPLE/Path", "wss://relay.example/Path"),
        ("WSS://Relay.Example:443//a/", "wss://relay.example/a"),
        ("wss://relay.example/a//b///c//", "wss://relay.example/a/b/c"),
        ("wss://h:443", "wss://h/"),
        ("wss://h:00443", "wss://h/"),
        ("wss://h:80", "wss://h:80/"),
        ("ws://h:80", "ws://h/"),
        ("ws://h:443", "ws://h:443/"),
        ("ws://h:65535", "ws://h:65535/"),
        ("wss://h:", "wss://h/"),
        ("wss://h?b=2&a=1&b=2", "wss://h/?b=2&a=1&b=2"),
        ("wss://h/a/?x=//&y=%2F/", "wss://h/a?x=//&y=%2F/"),
        ("wss://h/?x=@:?", "wss://h/?x=@:?"),
        ("wss://h/a#fragment", "wss://h/a"),
        ("wss://h#a?b/c@d", "wss://h/"),
        ("wss://h/%C3%BC%zz/ü", "wss://h/%C3%BC%zz/%C3%BC"),
        ("wss://h/ü?q=ü'\"", "wss://h/%C3%BC?q=%C3%BC%27%22"),
        ('wss://h/"<>^`{}|~', "wss://h/%22%3C%3E%5E%60%7B%7D|~"),
        ("wss://Me:Pass@H/", "wss://Me:Pass@h/"),
        ("wss://a@b:c@h", "wss://a@b:c@h/"),
        ("wss://@h", "wss://h/"),
        ("wss://h/x@y", "wss://h/x@y"),
        ("wss://bücher.example", "wss://xn--bcher-kva.example/"),
        ("wss://BÜCHER.example", "wss://xn--bcher-kva.example/"),
        ("wss://xn--bcher-kva.example", "wss://xn--bcher-kva.example/"),
        ("wss://relay。example", "wss://relay.example/"),
        ("wss://faß.de", "wss://xn--fa-hia.de/"),
        ("wss://κλαρα-σωλις.ευ", "wss://xn----ylba7abgd9bnh0e.xn--qxa6a/"),
        ("wss://i❤.ws", "wss://xn--i-7iq.ws/"),
        ("wss://my_relay.bücher.example", "wss://my_relay.xn--bcher-kva.example/"),
        ("wss://\uff11\uff12\uff17.1", "wss://127.0.0.1/"),
        ("wss://relay.example./", "wss://relay.example./"),
        ("ws://127.0.0.1:8080", "ws://127.0.0.1:8080/"),
        ("ws://[::1]:8080", "ws://[::1]:8080/"),
        ("ws://[2001:DB8:0:0::0:1]:80/", "ws://[2001:db8::1]/"),
        ("ws://my_relay", "ws://my_relay/"),
        ("ws://[::FFFF:127.0.0.1]", "ws://[::ffff:7f00:1]/"),
        ("wss://h/a/../b/./c", "wss://h/b/c"),
        ("wss://h/a/%2E%2e/b/%2E/c", "wss://h/b/c"),
        ("wss://h/../../a/..", "wss://h/"),
        ("wss://h/a//../b", "wss://h/a/b"),
        ("wss://h/...", "wss://h/..."),
        ("ws://127.1", "ws://127.0.0.1/"),
        ("ws://0x7f.1:8080", "ws://127.0.0.1:8080/"),
        ("ws://2130706433", "ws://127.0.0.1/"),
        ("ws://0177.0.0.01", "ws://127.0.0.1/"),
        ("ws://127.0.0.1.", "ws://127.0.0.1/"),
        ("ws://0x", "ws://0.0.0.0/"),
        ("ws://1.2.3.example", "ws://1.2.3.example/"),
        ("wss://h?", "wss://h/?"),
        ("wss://h//?a#b", "wss://h/?a"),
        ("wss://u%40:p%3A@h", "wss://u%40:p%3A@h/"),
    ],
)
def test_a_relay_has_one_spelling(url: str, normalized: str) -> None:
    assert normalize_url(url) == normalized
    assert normalize_url(normalized) == normalized


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "is empty"),
        ("relay.example", "has no scheme"),
        ("wss:relay.example", "has no scheme"),
        ("//relay.example", "has no scheme"),
        ("://relay.example", "is malformed"),
        ("http://relay.example", "must begin with wss:// or ws://, not http://"),
        ("HTTPS://relay.example", "must begin with wss:// or ws://, not https://"),
        ("wss://", "has no host"),
        ("wss:///path", "has no host"),
        ("wss://:443", "has no host"),
        ("wss://?q", "has no host"),
        ("wss://me@", "has no host"),
        ("wss://h:0", "has an invalid port"),
        ("wss://h:65536", "has an invalid port"),
        ("wss://h:99999", "has an invalid port"),
        ("wss://h:000443", "has an invalid port"),
        ("wss://h:-1", "has an invalid port"),
        ("wss://h:port", "has an invalid port"),
        ("wss://h:٤٤٣", "has an invalid port"),
        ("wss://h:" + "1" * 5000, "has an invalid port"),
        ("wss://::1/", "has no host"),
        ("wss://[::1/", "is malformed"),
        ("wss://[::1]x/", "is malformed"),
        ("wss://[]/", "has an invalid IPv6 address"),
        ("wss://[h]/", "has an invalid IPv6 address"),
        ("wss://[127.0.0.1]/", "has an invalid IPv6 address"),
        ("wss://a..b", "has an invalid host name"),
        ("wss://.", "has an invalid host name"),
        ("wss://-a", "has an invalid host name"),
        ("wss://a,b", "has an invalid host name"),
        ("wss://%41", "has an invalid host name"),
        ("wss://" + "a" * 64, "has an invalid host name"),
        ("wss://" + "a." * 127 + "a", "has an invalid host name"),
        ("wss://℀.example", "has an invalid host name"),  # IDNA reads it as a/c
        ("wss://xn--bücher", "has an invalid host name"),
        ("wss://\u05d01.\u0661.example", "has an invalid host name"),
        ("wss://a\u200db.example", "has an invalid host name"),
        ("wss://1.2.3.4.5", "has an invalid IPv4 address"),
        ("wss://256.1.1.1", "has an invalid IPv4 address"),
        ("wss://1.2.3.256", "has an invalid IPv4 address"),
        ("wss://127.16777216", "has an invalid IPv4 address"),
        ("wss://127.0.0.08", "has an invalid IPv4 address"),
        ("wss://relay.example.1", "has an invalid IPv4 address"),
        ("wss://https://relay.example", "has two schemes"),
        ("wss://wss://relay.example", "has two schemes"),
        ("wss://me@https://relay.example", "has two schemes"),
        ("wss://%20relay.example", "has an invalid host name"),
        (" wss://h", "has white space"),
        ("wss://h\n", "has white space"),
        ("wss://h/a b", "has white space"),
        ("wss://h/\u2028", "has white space"),
        ("wss://h/\x00", "a control character"),
        ("wss://h/\r\nX-Header: 1", "a control character"),
        ("wss://h/\x7f", "a control character"),
        ("wss://h\\a", "a backslash"),
        ("wss://h/\ud800", "a lone surrogate"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_bad_url_is_one_error_that_names_it_and_what_is_wrong(url: str, problem: str) -> None:
    with pytest.raises(RelayUrlError) as caught:
        normalize_url(url)
    text = str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert problem in text
    if "@" not in url and len(url) < 200:
        assert repr(url) in text


@pytest.mark.parametrize("url", [7, None, b"wss://h", ["wss://h"]], ids=repr)
def test_another_type_is_a_type_error_that_names_the_value(url: Any) -> None:
    with pytest.raises(TypeError) as caught:
        normalize_url(url)
    assert str(caught.value) == f"a relay url is a text, not {url!r}"


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2@relay.example",
        "wss://user:hunter2@relay.example:0",
        "wss://user:hunter2@",
        "wss://user:hunter2@relay example",
        "wss://user:hun@hunter2@a..b",
        "wss://user:hunter2/x@relay.example",
        "wss://user:x?hunter2@relay.example",
        "wss://user:x#hunter2@relay.example",
        "wss://user:x//hunter2@relay.example",
        "wss://user:hunter2\\@relay.example",
        "wss://user:hunter2\n@relay.example",
        "wss:/user:hunter2@relay.example",
        "user:hunter2@relay.example",
        "user:hunter2@relay.example//a@b",
        "//user:hunter2@relay.example",
        b"wss://user:hunter2@relay.example",
        ["wss://user:hunter2@relay.example"],
    ],
    ids=ascii,
)
def test_an_error_never_tells_a_password(url: Any) -> None:
    with pytest.raises((RelayUrlError, TypeError), match=r"\*\*\*@") as caught:
        normalize_url(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        ("wss://user:pass@h/", "wss://h/"),
        ("wss://a@b:c@h/x@y", "wss://h/x@y"),
        ("user:pass@h", "h"),
        ("wss://h/", "wss://h/"),
        ("wss://h/x@y", "wss://h/x@y"),
        ("wss://h/?next=wss://a@b/", "wss://h/?next=wss://a@b/"),
        ("wss://h/a//b@c", "wss://h/a//b@c"),
        ("", ""),
        ("no url at all", "no url at all"),
        ("\ud800\n", "\ud800\n"),
    ],
    ids=ascii,
)
def test_redact_takes_the_user_info_and_nothing_else(url: str, redacted: str) -> None:
    assert redact(url) == redacted


@pytest.mark.parametrize(
    ("address", "spelled"),
    [
        ("0:0:0:0:0:0:0:0", "::"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("2001:db8::0", "2001:db8::"),
        # RFC 5952, section 4: no leading zeros, lower case ...
        ("2001:0DB8::00aB:0001", "2001:db8::ab:1"),
        ("a0:0b0:c00:d:10:100:1000:f000", "a0:b0:c00:d:10:100:1000:f000"),
        # ... "::" stands for all of the longest run, never for one group, and for the first of equal runs.
        ("2001:db8:0:0:0:0:2:1", "2001:db8::2:1"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        ("2001:db8:1:1:1:1:1::", "2001:db8:1:1:1:1:1:0"),
        ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
        ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("10:0:1:0:0:0:0a:0", "10:0:1::a:0"),
        # The URL Standard's serializer, and rust-nostr's relay urls: no dotted decimals.
        ("::ffff:127.0.0.1", "::ffff:7f00:1"),
        ("::FFFF:0.0.0.0", "::ffff:0:0"),
        ("::ffff:255.255.0.10", "::ffff:ffff:a"),
        ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
        ("::1.2.3.4", "::102:304"),
    ],
)
def test_an_ipv6_address_has_the_same_spelling_on_every_python(address: str, spelled: str) -> None:
    """str(ipaddress.IPv6Address("::ffff:127.0.0.1")) changed in Python 3.13."""
    assert normalize_url(f"wss://[{address}]:444/a") == f"wss://[{spelled}]:444/a"
    assert normalize_url(f"ws://[{spelled}]") == f"ws://[{spelled}]/"


@given(st.lists(st.sampled_from([0, 0, 1, 0x10, 0xA0, 0x100, 0xF000]), min_size=8, max_size=8))
def test_an_ipv6_address_that_is_not_mapped_has_the_spelling_of_the_standard_library(groups: list[int]) -> None:
    text = ":".join(format(group, "x") for group in groups)
    assert normalize_url(f"ws://[{text}]") == f"ws://[{ipaddress.IPv6Address(text)}]/"


# Urls, nearly, and any text at all.
SCHEMES = ["wss://", "WS://", "http://"]
HOSTS = ["h", "Relay.Example", "ü", "ß", "①", "。", "٣", "xn--", ".", "-", "[::1]", ":443", ":", "@", "u:p@"]
PATHS = ["/", "//", "?", "#", "a=1", "&", "%2F", "\\", " ", "\x00", "\ud800"]
PIECES = st.sampled_from(SCHEMES + HOSTS + PATHS)
TEXTS = st.text() | st.lists(PIECES).map("".join) | st.lists(PIECES).map(lambda pieces: "wss://" + "".join(pieces))


@given(TEXTS)
@example("wss://h/?#")
@example("wss://h/?")
@example("ws://[fe80::1%Eth0]/")
def test_what_is_accepted_is_its_own_spelling_and_nothing_raises_but_a_url_error(url: str) -> None:
    try:
        normalized = normalize_url(url)
    except RelayUrlError:
        return
    assert normalize_url(normalized) == normalized


@given(st.sampled_from(["a", "a:b", "a@b", "ü:%40", ":", "x:y:z"]), TEXTS)
@example("a", "@h")
def test_a_url_is_accepted_with_and_without_its_user_info_alike(user: str, rest: str) -> None:
    try:
        bare = normalize_url(f"wss://{rest}")
    except RelayUrlError:
        return
    if redact(f"wss://{rest}") == f"wss://{rest}":  # not even an empty one, which `bare` has lost
        assert normalize_url(f"wss://{user}@{rest}") == bare.replace("wss://", f"wss://{user}@", 1)
        assert redact(normalize_url(f"wss://{user}@{rest}")) == bare


@given(
    st.sampled_from(["ws://", "wss://", "WSS://", "http://", "", "//", "wss:/"]),
    st.text(),
    st.text(st.characters(exclude_characters="@")),
)
def test_no_password_is_in_an_error_whatever_surrounds_it(before: str, inside: str, after: str) -> None:
    try:
        normalize_url(f"{before}user:{inside}hunter2@{after}")
    except RelayUrlError as error:
        assert "hunter2" not in str(error)  # noqa: PT017 - many of them are accepted


@given(
    st.sampled_from(["ws", "WS", "wss", "Wss"]),
    st.from_regex(r"([A-Za-z0-9]{1,10}\.){0,2}[A-Za-z][A-Za-z0-9]{0,9}", fullmatch=True),
    st.none() | st.integers(1, 65535),
    st.lists(st.sampled_from(["/", "//", "a", "B", "%2F", ":", ".a"])).map("".join),
    st.none() | st.sampled_from(["", "a=1&a=1", "b//c/", "x=?", "@", "X=Y"]),
    st.none() | st.sampled_from(["", "f", "/?#"]),
)
@example("wss", "h", 443, "", None, None)
@example("ws", "h", 80, "//", "", "")
def test_every_rule_holds_whatever_the_parts(
    scheme: str, host: str, port: int | None, path: str, query: str | None, fragment: str | None
) -> None:
    tail = ("" if query is None else f"?{query}") + ("" if fragment is None else f"#{fragment}")
    normalized = normalize_url(f"{scheme}://{host}{'' if port is None else f':{port}'}/{path}{tail}")
    shown_port = "" if port in (None, {"ws": 80, "wss": 443}[scheme.lower()]) else f":{port}"
    segments = [segment for segment in path.split("/") if segment]
    shown_query = "" if query is None else f"?{query}"
    assert normalized == f"{scheme.lower()}://{host.lower()}{shown_port}/{'/'.join(segments)}{shown_query}"


@given(st.integers(0, 2**32 - 1), st.lists(st.sampled_from([hex, oct, str]), min_size=4, max_size=4), st.integers(1, 4))
def test_an_ipv4_address_has_one_spelling(address: int, written: list[Any], count: int) -> None:
    """The URL Standard's IPv4 parser: up to four numbers in three bases, the last of which fills what is left."""
    packed = address.to_bytes(4, "big")
    numbers = [*packed[: count - 1], int.from_bytes(packed[count - 1 :], "big")]
    texts = [each(number).replace("0o", "0") for each, number in zip(written, numbers, strict=False)]
    assert normalize_url(f"ws://{'.'.join(texts)}") == f"ws://{ipaddress.IPv4Address(address)}/"


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("wss://h", "/"),
        ("wss://h/path/", "/path/"),
        ("wss://h//a//?x=//", "//a//?x=//"),
        ("wss://h/a/./b/../ü?ü#f", "/a/%C3%BC?%C3%BC"),
        ("wss://h?", "/?"),
        ("wss://user:x@h/a/", "/a/"),
    ],
)
def test_what_is_requested_keeps_the_slashes_of_the_url(url: str, target: str) -> None:
    """RFC 3986, section 6.2.3: a server can answer at /path/ alone, and redirects are not followed."""
    assert request_target(url) == target
    assert Relay.new(url).target == target


def test_a_host_outside_ascii_without_idna_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "idna", None)
    with pytest.raises(RelayUrlError, match=r"pip install 'gennostr\[idna\]'"):
        normalize_url("wss://ñ.example")
    assert normalize_url("wss://xn--ida.example") == "wss://xn--ida.example/"


@given(TEXTS)
def test_redact_takes_any_text_and_only_shortens_it(url: str) -> None:
    assert len(redact(url)) <= len(url)
    if "@" not in url:
        assert redact(url) == url


@pytest.mark.parametrize("piece", ["a", "a.", "@", ":", "/", "ü", "ü.", "[", "?", "-"])
def test_a_very_long_text_is_refused_or_accepted_at_once(piece: str) -> None:
    url = "wss://" + piece * 20_000
    started = time.process_time()
    try:
        normalize_url(url)
    except RelayUrlError as error:
        assert len(str(error)) < 500  # noqa: PT017 - "/" and "?" are accepted
    redact(url)
    assert time.process_time() - started < 1.0
