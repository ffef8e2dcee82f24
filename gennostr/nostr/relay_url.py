"""Relay urls: one normalized form for each relay, and one without credentials."""

import ipaddress
import re
from functools import lru_cache

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

    Scheme and host in lower case and ASCII (IDNA), no default port, no repeated and no trailing slashes (except the
    bare root "/"), no fragment; the query and the user info are unchanged. Normalizing it again changes nothing.

    Args:
        url: a ws:// or wss:// url.

    Raises:
        TypeError: it is not a text.
        RelayUrlError: it is not a ws or wss url; the message names it, without credentials, and what is wrong. It is a
            ValueError.

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
    host = _host(url, match["host"])
    port = _port(url, match["port"])
    user = f"{match['user']}@" if match["user"] else ""
    shown_port = "" if port is None or port == _DEFAULT_PORTS[scheme] else f":{port}"
    path = re.sub("/+", "/", match["path"] or "/").rstrip("/") or "/"
    query = "" if match["query"] is None else f"?{match['query']}"
    return f"{scheme}://{user}{host}{shown_port}{path}{query}"


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
    if len(host) > _MAX_HOST:  # before IDNA, which takes seconds for a name of many thousand characters
        raise _error(url, "has an invalid host name")
    try:
        host = host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise _error(url, "has an invalid host name") from None
    labels = host.removesuffix(".").split(".")
    if len(host) > _MAX_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        raise _error(url, "has an invalid host name")
    return host


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
