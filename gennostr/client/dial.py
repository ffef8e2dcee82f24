"""The dial: opens a WebSocket step by step, without ever blocking.

`Dial.run` reads like blocking code: addresses, TCP, the tunnel through a proxy, TLS, the upgrade. But it is a
generator: where it would wait, it yields what for (`Wait`), and the connection continues it when that is ready, and
answers its mailbox meanwhile. Continued too early, it yields the same again. It has no thread to wake or to wait for:
to give it up, close it.

Only the resolver blocks and cannot be interrupted. A host name is looked up in a thread that all attempts at that host
share, see `gennostr.client.lookups`; an address needs none.

Of several addresses, the first that connects is used (RFC 8305, "Happy Eyeballs"): IPv6 and IPv4 in turn, each attempt
`NEXT_ADDRESS` after the one before, or as soon as one fails. So an address that swallows packets, as broken IPv6 does,
costs a quarter of a second.

The request for the upgrade is written by websocket-client, to an object that only looks like a socket; see `_Upgrade`.
The answer is checked here, by RFC 6455, section 4.1: websocket-client would accept extensions that were not requested,
refuse an answer that chooses no subprotocol, take a 103 for the answer, and keep cookies in a jar that is shared by the
whole program.
"""

import base64
import errno
import hashlib
import ipaddress
import os
import re
import socket
import ssl
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from itertools import zip_longest
from typing import Any, Final, TypeAlias
from urllib.parse import unquote, urlsplit

from gennostr.client import socks
from gennostr.client.compression import OFFER, Agreement, agreed
from gennostr.client.lookups import Address, Lookup
from gennostr.client.options import Relay, check_onion, key_password
from gennostr.client.poller import system_error
from gennostr.exceptions import ConnectionLost, ConnectTimeout, HandshakeError
from gennostr.nostr.relay_url import redact, request_target
from gennostr.otp.clock import clock

SWITCHING_PROTOCOLS: Final = 101
_CONNECTING: Final = {errno.EINPROGRESS, getattr(errno, "WSAEWOULDBLOCK", errno.EINPROGRESS)}
"""How a connect says that it continues: POSIX and Windows. Not EAGAIN, with which Linux refuses one."""
_TLS_ALERT: Final = b"\x15\x03"
"""What a TLS server answers to HTTP."""

NEXT_ADDRESS: Final = 0.25
"""Seconds after which the next address is tried while the ones before have not answered (RFC 8305, section 5)."""
MOST_SOCKETS: Final = 16
"""The most addresses that are tried at once: beyond it, the oldest attempt is given up for the next."""


@dataclass(frozen=True, slots=True)
class Wait:
    """What a dial waits for: any of these, or being woken by its lookup."""

    readable: tuple[socket.socket, ...] = ()
    writable: tuple[socket.socket, ...] = ()
    until: float | None = None
    """On the clock's monotonic scale."""


Steps: TypeAlias = Generator[Wait, None, None]


class Dial:
    """One attempt to connect; used by the connection's thread only.

    `wake` is called, from any thread, when a step is due that no socket shows. It must neither block nor raise.
    """

    def __init__(self, relay: Relay, wake: Callable[[], None]) -> None:
        self.relay = relay
        self.sock: socket.socket | None = None
        """The socket in use, in the end the open one; the thread that takes it sets this to None."""
        self.rest = b""
        """What followed the answer to the upgrade."""
        self.date: float | None = None
        """When the relay sent its answer, by its own clock; None: it does not say."""
        self.agreement: Agreement | None = None
        """What the relay agreed to of our offer to compress; None: messages are not compressed."""
        self.stage = ""
        """What has not happened yet, for the error of an attempt that takes too long."""
        self._wake = wake
        self._steps = self.run()

    def step(self) -> Wait | None:
        """Continue; return what it then waits for, or None: the WebSocket is open.

        Raises:
            OSError, ConnectTimeout, HandshakeError, ConnectionLost: the attempt has failed.

        """
        import websocket  # noqa: PLC0415 - see _Upgrade

        try:
            return next(self._steps, None)
        except TimeoutError:  # the system's own, which may be shorter than ours
            raise ConnectTimeout(f"{redact(self.relay.url)}: the operating system gave up connecting") from None
        except websocket.WebSocketException as error:
            raise HandshakeError(f"{redact(self.relay.url)}: {error}") from error

    def close(self) -> None:
        """Give up."""
        self._steps.close()
        sock, self.sock = self.sock, None
        if sock is not None:
            sock.close()

    # The steps.

    def run(self) -> Steps:
        """Connect; see `step`."""
        parts = urlsplit(self.relay.url)
        options = self.relay.options.websocket
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "wss" else 80)
        sockopt = options.get("sockopt") or ()
        proxy = options.get("proxy")
        if proxy is None:
            check_onion(self.relay.url, self.relay.options)  # of a relay that was not made by Relay.new
            yield from self._tcp(host, port, sockopt)
        elif str(proxy).partition(":")[0].lower() in socks.SCHEMES:
            yield from self._socks(str(proxy), host, port, sockopt)
        else:
            yield from self._tunnel(str(proxy), host, port, sockopt)
        if parts.scheme == "wss":
            yield from self._tls(host, options.get("sslopt") or {})
        yield from self._upgrade(parts.username, parts.password)

    def _tcp(self, host: str, port: int, sockopt: Iterable[Sequence[Any]]) -> Steps:
        """Connect to the first address that answers."""
        addresses = deque(interleaved((yield from self._addresses(host, port))))
        failure: Exception = ConnectionLost(f"{host} has no address")
        attempts: dict[socket.socket, str] = {}  # the oldest first, each with its address
        begins = clock().monotonic()  # when the next one begins
        try:
            while True:
                now = clock().monotonic()
                if addresses and (not attempts or now >= begins):
                    begins = now + NEXT_ADDRESS
                    if len(attempts) == MOST_SOCKETS:
                        oldest = next(iter(attempts))
                        del attempts[oldest]
                        oldest.close()
                    address = addresses.popleft()
                    try:
                        attempts[_begin(address, sockopt)] = str(address[4][0])
                    except OSError as error:
                        failure = error
                        begins = now
                        continue
                for sock in list(attempts):
                    try:
                        connected = _is_connected(sock)
                    except OSError as error:
                        failure = error
                        del attempts[sock]
                        sock.close()
                        begins = now
                    else:
                        if connected:
                            self.sock = sock
                            del attempts[sock]
                            return
                if attempts and not (addresses and begins <= now):
                    self.stage = f"no answer from {' or '.join(attempts.values())}, port {port}"
                    yield Wait(writable=tuple(attempts), until=begins if addresses else None)
                elif not attempts and not addresses:
                    raise failure
        finally:
            for sock in attempts:
                sock.close()

    def _addresses(self, host: str, port: int) -> Generator[Wait, None, Sequence[Address]]:
        """Return the addresses of `host`."""
        if _is_address(host):
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        self.stage = f"the name lookup of {host} hangs: the system's resolver has not answered"
        lookup = Lookup(host, port, self._wake)
        try:
            while (answer := lookup.answer()) is None:
                yield Wait()
        finally:
            lookup.cancel()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _tunnel(self, proxy: str, host: str, port: int, sockopt: Iterable[Sequence[Any]]) -> Steps:
        """Connect through an HTTP proxy."""
        parts = urlsplit(proxy)
        yield from self._tcp(parts.hostname or "", parts.port or 80, sockopt)
        self.stage = "no answer from the proxy"
        shown = f"[{host}]" if ":" in host else host
        lines = [f"CONNECT {shown}:{port} HTTP/1.1", f"Host: {shown}:{port}"]
        if parts.username is not None:
            lines.append(f"Proxy-Authorization: {basic_authorization(parts.username, parts.password)}")
        yield from self.send("\r\n".join([*lines, "", ""]).encode())
        head = yield from self._answer()
        if _status(head) != 200:
            raise refusal("the proxy", head)
        self.rest = b""  # nothing is to come before our own request

    def _socks(self, proxy: str, host: str, port: int, sockopt: Iterable[Sequence[Any]]) -> Steps:
        """Connect through a SOCKS proxy, which looks up `host`."""
        parts = urlsplit(proxy)
        yield from self._tcp(parts.hostname or "", parts.port or socks.PORT, sockopt)
        self.stage = "no answer from the proxy"
        talk = socks.connect(parts, host, port)
        try:
            data, size = next(talk)
            while True:
                yield from self.send(data)
                data, size = talk.send((yield from self._exactly(size)))
        except StopIteration:
            pass

    def _exactly(self, size: int) -> Generator[Wait, None, bytes]:
        """Read `size` bytes of the proxy, and none of what follows them."""
        sock = self.sock
        assert sock is not None  # noqa: S101
        data = b""
        while len(data) < size:
            try:
                chunk = sock.recv(size - len(data))
            except BlockingIOError:
                yield Wait(readable=(sock,))
            else:
                if not chunk:
                    raise ConnectionLost("the proxy ended the connection")
                data += chunk
        return data

    def _tls(self, host: str, sslopt: Mapping[str, Any]) -> Steps:
        assert self.sock is not None  # noqa: S101
        self.stage = "the TLS handshake is not complete"
        name = sslopt.get("server_hostname") or host
        self.sock = sock = tls_context(sslopt).wrap_socket(
            self.sock,
            server_hostname=name.removesuffix("."),  # RFC 6066, section 3; certificates have no such dot either
            do_handshake_on_connect=False,
        )
        while True:
            try:
                sock.do_handshake()
            except ssl.SSLWantReadError:
                yield Wait(readable=(sock,))
            except ssl.SSLWantWriteError:
                yield Wait(writable=(sock,))
            except ssl.SSLError as error:
                if error.reason != "WRONG_VERSION_NUMBER":
                    raise
                raise HandshakeError(f"the server does not speak TLS; a ws:// url may work: {error}") from error
            else:
                return

    def _upgrade(self, user: str | None, password: str | None) -> Steps:
        upgrade = _Upgrade(self.relay, None if user is None else basic_authorization(user, password))
        self.stage = "no response to the upgrade"
        yield from self.send(upgrade.request())
        head = yield from self._answer()
        if _status(head) != SWITCHING_PROTOCOLS:
            raise refusal("the relay", head)
        self.agreement = upgrade.check(head)
        self.date = _date(head)

    def send(self, data: bytes) -> Steps:
        """Send all of `data`; yield whenever the socket accepts no more for now."""
        sock = self.sock
        assert sock is not None  # noqa: S101
        while data:
            try:
                data = data[sock.send(data) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                yield Wait(writable=(sock,))
            except ssl.SSLWantReadError:
                yield Wait(readable=(sock,))

    def _answer(self) -> Generator[Wait, None, bytes]:
        """Read the head of the answer; what follows it is kept in `rest`.

        Interim answers (100, 102, 103; RFC 9110, section 15.2) are skipped. All together are limited to
        `max_handshake_size`.
        """
        limit = self.relay.options.max_handshake_size
        while True:
            head = yield from self._head(limit)
            status = _status(head)
            if status is None or status == SWITCHING_PROTOCOLS or not 100 <= status < 200:
                return head
            limit -= len(head)

    def _head(self, limit: int) -> Generator[Wait, None, bytes]:
        """Read up to the empty line, at most `limit` bytes.

        What follows it is kept in `rest`.
        """
        sock = self.sock
        assert sock is not None  # noqa: S101
        data = bytearray(self.rest)
        while (end := data.find(b"\r\n\r\n")) < 0:
            if len(data) >= limit:
                most = self.relay.options.max_handshake_size
                raise HandshakeError(f"the response to the upgrade has more than {most} bytes")
            try:
                chunk = sock.recv(min(4096, limit - len(data)))
            except (BlockingIOError, ssl.SSLWantReadError):
                yield Wait(readable=(sock,))
            except ssl.SSLWantWriteError:
                yield Wait(writable=(sock,))
            else:
                if not chunk:
                    raise ConnectionLost("the connection ended during the upgrade")
                data += chunk
                if data.startswith(_TLS_ALERT):
                    raise HandshakeError("the server speaks TLS: use wss:// in the url")
        self.rest = bytes(data[end + 4 :])
        return bytes(data[: end + 4])


def interleaved(addresses: Iterable[Address]) -> list[Address]:
    """Return the addresses in the order in which they are tried.

    RFC 8305, section 4.

    The families take turns, that of the first address first; within a family, the resolver's order is kept. Duplicates
    are removed.
    """
    families: dict[int, dict[Address, None]] = {}
    for address in addresses:
        families.setdefault(address[0], {})[address] = None
    turns = zip_longest(*families.values())
    return [address for turn in turns for address in turn if address is not None]


def _begin(address: Address, sockopt: Iterable[Sequence[Any]]) -> socket.socket:
    """Return a socket that begins to connect, or has connected."""
    family, kind, protocol, _, where = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)  # noqa: FBT003
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option in sockopt:
            sock.setsockopt(*option)
        number = sock.connect_ex(where)
        if number and number not in _CONNECTING:
            raise OSError(number, system_error(number))  # noqa: TRY301 - closed below, like every failure
    except BaseException:
        sock.close()
        raise
    return sock


def _is_connected(sock: socket.socket) -> bool:
    """Return whether `sock` has connected.

    False: it has not answered yet. OSError: it has failed.
    """
    number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        raise OSError(number, system_error(number))
    try:
        sock.getpeername()
    except OSError:  # a failure since the line above is found at the next look: the socket stays ready
        return False
    return True


class _Upgrade:
    """The request, written by websocket-client, and the check of the answer."""

    def __init__(self, relay: Relay, authorization: str | None) -> None:
        options = relay.options.websocket
        self._headers = Headers(options.get("headers") or [])
        self._headers["Sec-WebSocket-Key"] = base64.b64encode(os.urandom(16)).decode()
        self._offered = relay.options.compression
        if self._offered:
            self._headers["Sec-WebSocket-Extensions"] = OFFER
        if authorization is not None:
            self._headers["Authorization"] = authorization
        scheme, _, rest = redact(relay.url).partition("://")
        self._url = f"{scheme}://{rest.partition('/')[0]}{relay.target or request_target(relay.url)}"
        self._requested: Mapping[str, str] = {}
        self._passed = {name: options[name] for name in ("cookie", "host", "origin", "subprotocols") if name in options}
        if "origin" not in options:
            self._passed["suppress_origin"] = True  # not a browser, so no origin

    def request(self) -> bytes:
        """Return the request."""
        # Imported by the first dial: it would double the time to import gennostr.
        import websocket  # noqa: PLC0415

        sent = _Request()
        client = websocket.WebSocket()
        try:
            client.connect(  # type: ignore[no-untyped-call]
                self._url, socket=sent, header=self._headers, redirect_limit=0, **self._passed
            )
        except _AnswerWantedError:
            pass
        client.sock = None  # not a socket of ours: nothing to shut down when the client is deleted
        self._requested = fields(sent.data)
        return sent.data

    def check(self, head: bytes) -> Agreement | None:
        """Return what `head`, a 101, agrees to of our offer to compress.

        Raises:
            HandshakeError: it does not accept the request (RFC 6455, section 4.1), or uses what was not requested.

        """
        answered = fields(head)

        def wrong(problem: str) -> HandshakeError:
            return HandshakeError(f"the relay answered 101, but {problem}", SWITCHING_PROTOCOLS, answered)

        for name, token in (("upgrade", "websocket"), ("connection", "upgrade")):
            if token not in _tokens(answered.get(name, "").lower()):
                raise wrong(f"its {name.title()} header is {_cut(answered.get(name))}")
        key = self._headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        if answered.get("sec-websocket-accept") != base64.b64encode(hashlib.sha1(key.encode()).digest()).decode():  # noqa: S324
            raise wrong(
                f"its Sec-WebSocket-Accept does not match our key: {_cut(answered.get('sec-websocket-accept'))}"
            )
        chosen = answered.get("sec-websocket-protocol")  # it may choose none
        if chosen is not None and chosen not in _tokens(self._requested.get("sec-websocket-protocol", "")):
            raise wrong(f"it uses the subprotocol {_cut(chosen)}, which was not requested")
        try:
            return agreed(answered.get("sec-websocket-extensions", ""), offered=self._offered)
        except ValueError as error:
            raise wrong(f"it uses {error}") from None


class Headers(dict[str, str]):
    """The user's headers and ours, as the dict that websocket-client expects.

    It looks in the dict for a key of the handshake. Headers given as a list of lines may repeat a name, so these are
    kept separately.
    """

    def __init__(self, given: Mapping[str, str] | Iterable[str]) -> None:
        super().__init__()
        self._lines: list[tuple[str, str]] = []
        if isinstance(given, Mapping):
            self.update((name, str(value)) for name, value in given.items())
        else:
            self._lines = [(name, value.strip()) for name, _, value in (line.partition(":") for line in given)]

    def items(self) -> Any:
        """Return all headers, including those given as lines."""
        return [*super().items(), *self._lines]


class _AnswerWantedError(Exception):
    """Unwinds websocket-client: its request is complete."""


class _Request:
    """A socket that only takes what is sent."""

    def __init__(self) -> None:
        self.data = b""

    def send(self, data: bytes) -> int:
        self.data += data
        return len(data)

    def recv(self, size: int) -> bytes:
        del size
        raise _AnswerWantedError

    def gettimeout(self) -> float | None:
        return None

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def basic_authorization(user: str, password: str | None) -> str:
    """Return the value of an Authorization header (RFC 7617).

    User and password are given as they stand in a url.
    """
    pair = f"{unquote(user)}:{unquote(password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def _first_line(head: bytes) -> str:
    return head.split(b"\r\n", 1)[0][:200].decode("latin-1")


def _status(head: bytes) -> int | None:
    match = re.match(rb"HTTP/\d\.\d (\d{3})\b", head)
    return int(match[1]) if match else None


def fields(head: bytes) -> dict[str, str]:
    """Return the header fields of a request or an answer.

    Names are in lower case; the values of a name that is repeated are joined with ", " (RFC 9110, section 5.3).
    """
    found: dict[str, str] = {}
    unfolded = re.sub(r"\r?\n[ \t]+", " ", head.decode("latin-1"))
    for line in re.split(r"\r?\n", unfolded)[1:]:
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if colon and name:
            value = value.strip(" \t")
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def refusal(who: str, head: bytes) -> HandshakeError:
    """Return the error for an answer whose status is not the one that was wanted."""
    answered = fields(head)
    wait = retry_after(answered)
    text = f"{who} answered {_first_line(head)!r}"
    if "location" in answered:
        text += f", which redirects to {_cut(answered['location'])}"
    if wait is not None:
        text += f", to be retried after {wait:g} s"
    return HandshakeError(text, _status(head), answered, wait)


def retry_after(answered: Mapping[str, str]) -> float | None:
    """Return the seconds of an answer's Retry-After, which may be a date.

    None: it has none (RFC 9110, section 10.2.3).
    """
    value = answered.get("retry-after", "")
    if re.fullmatch(r"[0-9]{1,15}", value):
        return float(value)
    due = _time(value)
    if due is None:
        return None
    sent = _time(answered.get("date", ""))  # by the same clock as `due`
    return max(0.0, due - (clock().time() if sent is None else sent))


def _tokens(value: str) -> list[str]:
    return [each.strip(" \t") for each in value.split(",")]


def _cut(value: str | None) -> str:
    return "missing" if value is None else f"{value[:200]!r}"


def _date(head: bytes) -> float | None:
    """Return when the server sent `head`, by its Date header, in seconds since 1970."""
    return _time(fields(head).get("date", ""))


def _time(value: str) -> float | None:
    """Return the time of an HTTP date, in seconds since 1970; None: it is not a date."""
    if not 1 <= len(value) <= 64:
        return None
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - few relays send it, and the import is slow

    try:
        time = parsedate_to_datetime(value)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()  # HTTP's dates are all in GMT
    except (ValueError, OverflowError):  # it is invalid, or its year does not exist
        return None


def tls_context(sslopt: Mapping[str, Any]) -> ssl.SSLContext:
    """Return the context that websocket-client's `sslopt` describes.

    It verifies certificates unless `sslopt` turns that off.
    """
    given = sslopt.get("context")
    if isinstance(given, ssl.SSLContext):
        return given
    context = ssl.create_default_context(cafile=sslopt.get("ca_certs"), capath=sslopt.get("ca_cert_path"))
    if not sslopt.get("check_hostname", True) or sslopt.get("cert_reqs") == ssl.CERT_NONE:
        context.check_hostname = False
    if "cert_reqs" in sslopt:
        context.verify_mode = sslopt["cert_reqs"]
    if sslopt.get("certfile") is not None:
        context.load_cert_chain(sslopt["certfile"], sslopt.get("keyfile"), key_password(sslopt))
    if sslopt.get("ciphers") is not None:
        context.set_ciphers(sslopt["ciphers"])
    return context
