"""Relay urls: normalized, without credentials, and as the target of a request.

They are read as browsers read them (the URL Standard of WHATWG): dot segments are resolved, IPv4 addresses are
accepted in each of their forms, hosts outside ASCII follow UTS 46 without transitional processing, and what is not
ASCII in a path or a query is percent-encoded. Two things differ, as no relay is meant by them: a host with percent
signs is refused, and so is a url with two schemes, such as ``wss://https://relay.example``.

Hosts outside ASCII need the package idna (``pip install 'gennostr[idna]'``). Python's own codec follows IDNA 2003,
which gives some names to another owner: faß.de is not fass.de.
"""

import ipaddress
import re
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from gennostr.exceptions import RelayUrlError
from gennostr.values import shown

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?:(?P<user>[^/?#]*)@)?"
    r"(?P<host>\[[^\]/?#@]*\]|[^:/?#@\[\]]*)"
    r"(?::(?P<port>[^/?#@]*))?"
    r"(?P<path>/[^?#]*)?"
    r"(?:\?(?P<query>[^#]*))?"
    r"(?:#.*)?"
)
# In the authority only: an "@" in a path or a query does not matter here.
_USER_INFO = re.compile(r"\A([^/?#@]*//)?[^/?#]*@")
# If it is not a url, a password may hold anything, even "/": remove all before the last "@".
_ANY_USER_INFO = re.compile(r"\A([^/@]*//)?.*@", re.DOTALL)
_FORBIDDEN = re.compile(r"[\s\x00-\x20\x7f-\x9f\\\ud800-\udfff]")
# Two or more groups of an IPv6 address that are zero.
_ZEROS = re.compile(r"\b0(?::0)+\b")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?")
# What browsers encode in a path and in a query, besides what _FORBIDDEN refuses: all that is not ASCII, and these.
_PATH_UNSAFE = re.compile(r'[^\x21-\x7e]+|["<>^`{}]+')
_QUERY_UNSAFE = re.compile(r"""[^\x21-\x7e]+|["<>']+""")
_NUMBER = re.compile(r"0x(?P<hex>[0-9a-f]*)|0(?P<octal>[0-7]*)|(?P<decimal>[1-9][0-9]*)")
_DEFAULT_PORTS = {"ws": 80, "wss": 443}
_MAX_HOST = 253
_MAX_PORT = 65535


def redact(url: str) -> str:
    """Return a url without user and password, for logs; otherwise unchanged.

    Accepts any text and never raises.

    Args:
        url: normalized or not.

    >>> from gennostr.nostr import redact
    >>> redact("wss://user:password@relay.example/")
    'wss://relay.example/'
    """
    return _USER_INFO.sub(r"\1", url)


def normalize_url(url: str) -> str:
    """Return the normalized form of a relay's url.

    Scheme and host in lower case and ASCII (UTS 46), no default port, no dot segments, no repeated and no trailing
    slashes (except the bare root "/"), no fragment; non-ASCII characters of path and query are percent-encoded. The
    user info is unchanged. Normalizing it again changes nothing.

    Args:
        url: a ws:// or wss:// url.

    Raises:
        TypeError: it is not a text.
        RelayUrlError: it is not a ws or wss url, or its host needs the package idna, which is not installed; the
            message names the url, without credentials, and what is wrong. It is a ValueError.

    >>> from gennostr.nostr import normalize_url
    >>> normalize_url("WSS://Relay.Example:443//chat/")
    'wss://relay.example/chat'
    >>> normalize_url("https://relay.example")
    Traceback (most recent call last):
    gennostr.exceptions.RelayUrlError: relay url 'https://relay.example' must begin with wss:// or ws://, not https://
    """
    if not isinstance(url, str):
        raise TypeError(f"a relay url is a text, not {_shown(url)}")
    return _normalized(url)


def request_target(url: str) -> str:
    """Return the path and the query to request, as they stand in a url.

    The url is one that `normalize_url` accepts.

    One relay has one normalized url, but its server may answer at ``/path/`` alone, and redirects are not followed.
    So slashes are kept. Dot segments are resolved, and non-ASCII characters percent-encoded.
    """
    match = _URL.fullmatch(url)
    assert match is not None  # noqa: S101
    return _path(match["path"] or "/") + _query(match["query"])


# Programs often send to a relay by its url, and this takes 5 microseconds.
@lru_cache(maxsize=1024)
def _normalized(url: str) -> str:
    if not url:
        raise _error(url, "is empty")
    if _FORBIDDEN.search(url):
        raise _error(url, "has white space, a backslash, a control character or a lone surrogate")
    match = _URL.fullmatch(url)
    if match is None:
        raise _error(url, "has no scheme" if "://" not in url else "is malformed")
    scheme = match["scheme"].lower()
    if scheme not in _DEFAULT_PORTS:
        raise _error(url, f"must begin with wss:// or ws://, not {scheme}://")
    if match["port"] == "" and (match["path"] or "").startswith("//"):
        raise _error(url, "has two schemes")
    host = _host(url, match["host"])
    port = _port(url, match["port"])
    user = f"{match['user']}@" if match["user"] else ""
    shown_port = "" if port is None or port == _DEFAULT_PORTS[scheme] else f":{port}"
    path = re.sub("/+", "/", _path(match["path"] or "/")).rstrip("/") or "/"
    return f"{scheme}://{user}{host}{shown_port}{path}{_query(match['query'])}"


def _path(path: str) -> str:
    """Return a path without dot segments, percent-encoded where browsers encode it."""
    segments: list[str] = []
    for segment in path.split("/")[1:]:
        ends_in_slash = False
        match segment.lower().replace("%2e", "."):
            case ".":
                ends_in_slash = True
            case "..":
                ends_in_slash = True
                del segments[-1:]
            case _:
                segments.append(segment)
    if ends_in_slash:
        segments.append("")
    return _encoded(_PATH_UNSAFE, "/" + "/".join(segments))


def _query(query: str | None) -> str:
    return "" if query is None else "?" + _encoded(_QUERY_UNSAFE, query)


def _encoded(unsafe: re.Pattern[str], text: str) -> str:
    return unsafe.sub(lambda match: quote(match[0]), text)


def _error(url: str, problem: str) -> RelayUrlError:
    return RelayUrlError(f"relay url {_shown(url)} {problem}")


def _shown(url: object) -> str:
    return shown(url, _text)[:300]


def _text(url: object) -> str:
    return _ANY_USER_INFO.sub(r"\1***@", repr(url))  # before the text is cut: without its @, user info is not found


# The problems below do not repeat the part that is wrong: in a url that is split wrongly it may be a password.


def _host(url: str, host: str) -> str:
    if not host:
        raise _error(url, "has no host")
    if host.startswith("["):
        if "%" in host:  # a zone is only meaningful on one machine
            raise _error(url, "has an IPv6 address with a zone")
        try:
            address = ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            raise _error(url, "has an invalid IPv6 address") from None
        return f"[{_spelled(address)}]"
    if len(host) > _MAX_HOST:  # before UTS 46, which would take seconds for a name of many thousand characters
        raise _error(url, "has an invalid host name")
    host = host.lower() if host.isascii() else _ascii(url, host)
    labels = host.removesuffix(".").split(".")
    if len(host) > _MAX_HOST or not all(len(each) < 64 and _LABEL.fullmatch(each) for each in labels):
        raise _error(url, "has an invalid host name")
    if re.fullmatch("[0-9]+|0x[0-9a-f]*", labels[-1]):
        return _ipv4(url, labels)
    return host


def _ascii(url: str, host: str) -> str:
    """Return a host name in ASCII, as browsers make it (UTS 46, non-transitional).

    IDNA 2008, which the package's own ``encode`` checks, has no symbols: browsers accept them.
    """
    try:
        import idna  # noqa: PLC0415 - an extra: asked for when it is needed
    except ImportError:
        raise _error(url, "has a host outside ASCII, which needs idna: pip install 'gennostr[idna]'") from None
    try:
        mapped = idna.uts46_remap(host, std3_rules=False, transitional=False)
        return ".".join(_ascii_label(idna, each) for each in mapped.split("."))
    except UnicodeError:  # idna.IDNAError is one
        raise _error(url, "has an invalid host name") from None


def _ascii_label(idna: Any, label: str) -> str:
    if label.isascii():
        return label
    if label.startswith("xn--"):
        raise UnicodeError("it looks encoded and is not")
    idna.check_initial_combiner(label)
    idna.check_bidi(label)
    for place, character in enumerate(label):
        if character in "\u200c\u200d" and not idna.valid_contextj(label, place):
            raise UnicodeError("a joiner that joins nothing")
    return "xn--" + label.encode("punycode").decode("ascii")


def _ipv4(url: str, labels: list[str]) -> str:
    """Return an IPv4 address in its usual form.

    127.1, 0x7f000001 and 0177.0.0.1 are 127.0.0.1.
    """
    numbers = [_NUMBER.fullmatch(label) for label in labels]
    values = [int(each["hex"] or "0", 16) if each["hex"] is not None else
              int(each["octal"] or "0", 8) if each["octal"] is not None else int(each["decimal"])
              for each in numbers if each]  # fmt: skip
    *high, low = values or [0]
    # The last number fills the bytes that the others leave.
    if len(values) != len(labels) or len(values) > 4 or max(high, default=0) > 255 or low >= 256 ** (4 - len(high)):
        raise _error(url, "has an invalid IPv4 address")
    return str(ipaddress.IPv4Address(sum(each << 8 * (3 - place) for place, each in enumerate(high)) + low))


def _spelled(address: ipaddress.IPv6Address) -> str:
    """Return the form of RFC 5952, section 4.

    IPv4-mapped addresses are written in hexadecimal digits as well.

    The URL Standard's IPv6 serializer does the same, and with it browsers and rust-nostr. str(address) would depend on
    the Python version: since 3.13, it and `exploded` write mapped addresses with dotted decimals.
    """
    text = re.sub(r"\b0{1,3}", "", address.packed.hex(":", 2))
    longest = max(_ZEROS.finditer(text), key=lambda run: len(run[0]), default=None)  # of equal ones, the first
    if longest is None:
        return text
    return f"{text[: longest.start()].removesuffix(':')}::{text[longest.end() :].removeprefix(':')}"


def _port(url: str, port: str | None) -> int | None:
    if not port:
        return None
    if not re.fullmatch("[0-9]{1,5}", port) or not 1 <= int(port) <= _MAX_PORT:
        raise _error(url, "has an invalid port")
    return int(port)
