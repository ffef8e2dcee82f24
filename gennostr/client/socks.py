"""The request to a SOCKS proxy, before it forwards everything.

SOCKS5 (RFC 1928, RFC 1929) and SOCKS4a.

Host names are always sent to the proxy, never looked up here: so Tor reaches .onion hosts, and no name server learns
which relays are used. The messages are made and read by socksio (``pip install 'gennostr[socks]'``), which does no I/O.
"""

from collections.abc import Generator
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import SplitResult, unquote

from gennostr.exceptions import HandshakeError

if TYPE_CHECKING:
    import socksio

SCHEMES: Final = ("socks5h", "socks5", "socks4a")
PORT: Final = 1080
LONGEST: Final = 255
"""Bytes. The longest user name, password and host name: their length is sent in one byte."""

Talk: TypeAlias = Generator[tuple[bytes, int], bytes, None]
"""Yields what to send, and how many bytes to read after it; is sent what was read."""

_ADDRESS_SIZES: Final = {1: 4, 4: 16}


def check(parts: SplitResult) -> None:
    """Check the url of a SOCKS proxy.

    Raises:
        ImportError: socksio is not installed.
        ValueError: its user or password cannot be sent; the message shows neither.

    """
    try:
        import socksio  # noqa: F401, PLC0415 - an extra, imported when it is needed
    except ImportError:
        raise ImportError("a SOCKS proxy needs socksio: pip install 'gennostr[socks]'") from None
    user, password = credentials(parts)
    if parts.scheme == "socks4a":
        if parts.password is not None:
            raise ValueError("websocket['proxy'] has a password, which SOCKS4a cannot send: use socks5h://")
        if b"\0" in user:
            raise ValueError("websocket['proxy'] has a user name with a NUL, which SOCKS4a cannot send")
    elif parts.username is not None and not (1 <= len(user) <= LONGEST and 1 <= len(password) <= LONGEST):
        raise ValueError(
            f"websocket['proxy'] must have both a user name and a password of 1 to {LONGEST} bytes, or neither"
        )


def credentials(parts: SplitResult) -> tuple[bytes, bytes]:
    """Return the user and the password of a proxy's url; empty where it has none."""
    return unquote(parts.username or "").encode(), unquote(parts.password or "").encode()


def connect(parts: SplitResult, host: str, port: int) -> Talk:
    """Let the proxy connect to `host`.

    Raises:
        HandshakeError: the proxy refuses, or its answer is not SOCKS.

    """
    import socksio  # noqa: PLC0415

    if len(host.encode()) > LONGEST:
        raise HandshakeError(f"a SOCKS proxy takes no host name of more than {LONGEST} bytes")
    talk = _socks4a if parts.scheme == "socks4a" else _socks5
    try:
        yield from talk(parts, host, port)
    except socksio.SOCKSError as error:
        raise HandshakeError(f"the answer of the proxy is not SOCKS: {error}") from error


def _socks5(parts: SplitResult, host: str, port: int) -> Talk:
    import socksio  # noqa: PLC0415

    protocol = socksio.SOCKS5Connection()
    methods = [socksio.SOCKS5AuthMethod.NO_AUTH_REQUIRED]
    if parts.username is not None:
        methods.append(socksio.SOCKS5AuthMethod.USERNAME_PASSWORD)
    protocol.send(socksio.SOCKS5AuthMethodsRequest(methods))
    data = yield protocol.data_to_send(), 2
    _check_version(data, 5)
    chosen = protocol.receive_data(data)
    assert isinstance(chosen, socksio.SOCKS5AuthReply)  # noqa: S101
    if chosen.method not in methods:
        wants = "refuses the user name and password" if parts.username is not None else "wants a user name and password"
        raise HandshakeError(f"the proxy {wants}: it chose authentication method {data[1]}")
    if chosen.method == socksio.SOCKS5AuthMethod.USERNAME_PASSWORD:
        user, password = credentials(parts)
        protocol.send(socksio.SOCKS5UsernamePasswordRequest(user, password))
        accepted = protocol.receive_data((yield protocol.data_to_send(), 2))
        assert isinstance(accepted, socksio.socks5.SOCKS5UsernamePasswordReply)  # noqa: S101
        if not accepted.success:
            raise HandshakeError("the proxy refused the user name or the password")
    protocol.send(socksio.SOCKS5CommandRequest.from_address(socksio.SOCKS5Command.CONNECT, (host, port)))
    data = yield protocol.data_to_send(), 2
    _check_version(data, 5)
    if data[1]:  # some proxies send no more than this
        raise _refusal(data[1], socksio.SOCKS5ReplyCode)
    data += yield b"", 2
    if data[3] == 3:
        data += yield b"", 1
        size = data[4]
    elif data[3] in _ADDRESS_SIZES:
        size = _ADDRESS_SIZES[data[3]]
    else:
        raise HandshakeError(f"the answer of the proxy has an address of the unknown type {data[3]}")
    data += yield b"", size + 2  # the address and the port are not used, but what follows them is the relay's


def _socks4a(parts: SplitResult, host: str, port: int) -> Talk:
    import socksio  # noqa: PLC0415

    user, _ = credentials(parts)
    kind: type[socksio.SOCKS4ARequest | socksio.SOCKS4Request] = socksio.SOCKS4ARequest
    try:
        version = ip_address(host).version
    except ValueError:
        pass
    else:
        if version == 6:
            raise HandshakeError(f"SOCKS4a reaches no IPv6 address such as {host}: use socks5h://")
        kind = socksio.SOCKS4Request
    request = kind.from_address(socksio.SOCKS4Command.CONNECT, (host, port), user_id=user)
    data = yield request.dumps(), 8
    _check_version(data, 0)
    if data[1] != socksio.SOCKS4ReplyCode.REQUEST_GRANTED.value[0]:
        raise _refusal(data[1], socksio.SOCKS4ReplyCode)


def _check_version(data: bytes, version: int) -> None:
    if data[0] != version:
        raise HandshakeError(f"the answer of the proxy is not SOCKS: it begins with {data!r}")


def _refusal(code: int, codes: "type[socksio.SOCKS5ReplyCode | socksio.SOCKS4ReplyCode]") -> HandshakeError:
    try:
        name = codes(bytes([code])).name.lower().replace("_", " ")
    except ValueError:
        name = "unknown reason"
    return HandshakeError(f"the proxy did not connect to the relay: {name} (reply {code})")
