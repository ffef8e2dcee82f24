"""The dial: opens a WebSocket step by step, without ever blocking.

`Dial.run` reads like blocking code: addresses, TCP, the tunnel through a proxy, TLS, the upgrade. But it is a
generator: where it would wait, it yields what for, and the connection continues it when that is ready, and answers its
mailbox meanwhile. It has no other thread to wake or to wait for: to give it up, close it.

Only the resolver blocks and cannot be interrupted. A host name is looked up by a `Resolver`, a short-lived actor of its
own; an address needs none.

The upgrade itself is done by websocket-client. It expects a blocking socket, and gets two objects that only look like
one: the first takes its request; the second, once the answer is complete, provides it; see `_Upgrade`. What
websocket-client lacks is done here: limiting the size, refusing every answer but 101 before a body is read, keeping
cookies out of a jar that the whole program would share, and keeping what follows the answer: the first frames.
"""

import base64
import errno
import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Generator, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, TypeAlias
from urllib.parse import unquote, urlsplit

from gennostr.client.options import Relay
from gennostr.exceptions import ConnectionLost, ConnectTimeout, HandshakeError
from gennostr.nostr.relay_url import redact
from gennostr.otp.gen_server import GenServer
from gennostr.otp.outcomes import CallbackOutcome, InitOutcome, Ok, Stop
from gennostr.otp.pid import Pid
from gennostr.otp.process import Process

SWITCHING_PROTOCOLS: Final = 101
_TLS_ALERT: Final = b"\x15\x03"
"""What a TLS server answers to HTTP."""

Address: TypeAlias = tuple[int, int, int, str, Any]
"""One of the addresses that getaddrinfo returns."""


class Want(Enum):
    """What a dial waits for."""

    READABLE = "its socket can be read"
    WRITABLE = "its socket can be written"
    ADDRESSES = "the resolver has answered"


Steps: TypeAlias = Generator[Want, None, None]


class Dial:
    """One attempt to connect; used by the connection's thread only."""

    def __init__(self, relay: Relay, connection: Process) -> None:
        self.relay = relay
        self.connection = connection
        self.sock: socket.socket | None = None
        """The socket in use, in the end the open one; the thread that takes it sets this to None."""
        self.rest = b""
        """What followed the answer to the upgrade."""
        self.date: float | None = None
        """When the relay sent its answer, by its own clock; None: it does not say."""
        self.resolver: Pid | None = None
        self._answer: Sequence[Address] | OSError = []
        self._steps = self.run()

    def step(self) -> Want | None:
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

    def resolved(self, answer: Sequence[Address] | OSError) -> None:
        """Set the resolver's answer, before the next step."""
        self._answer = answer

    def close(self) -> None:
        """Give up."""
        self._steps.close()
        sock, self.sock = self.sock, None
        if sock is not None:
            sock.close()
        if self.resolver is not None:
            self.resolver.process.kill()

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
            yield from self._tcp(host, port, sockopt)
        else:
            yield from self._tunnel(str(proxy), host, port, sockopt)
        if parts.scheme == "wss":
            yield from self._tls(host, options.get("sslopt") or {})
        yield from self._upgrade(parts.username, parts.password)

    def _tcp(self, host: str, port: int, sockopt: Iterable[Sequence[Any]]) -> Steps:
        """Connect to the first address that answers."""
        failure: OSError = ConnectionLost(f"{host} has no address")  # type: ignore[assignment]
        addresses = yield from self._addresses(host, port)
        for address in addresses:
            try:
                yield from self._connect(address, sockopt)
            except OSError as error:
                failure = error
                if self.sock is not None:
                    self.sock.close()
                    self.sock = None
            else:
                return
        raise failure

    def _addresses(self, host: str, port: int) -> Generator[Want, None, Sequence[Address]]:
        """Return the addresses of `host`."""
        if _is_address(host):
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        self.resolver = Resolver.start_link((self, host, port))
        yield Want.ADDRESSES
        if isinstance(self._answer, OSError):
            raise self._answer
        return self._answer

    def _connect(self, address: Address, sockopt: Iterable[Sequence[Any]]) -> Steps:
        family, kind, protocol, _, where = address
        self.sock = sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)  # noqa: FBT003
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option in sockopt:
            sock.setsockopt(*option)
        number = sock.connect_ex(where)
        if number == errno.EINPROGRESS:
            yield Want.WRITABLE
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))

    def _tunnel(self, proxy: str, host: str, port: int, sockopt: Iterable[Sequence[Any]]) -> Steps:
        """Connect through an HTTP proxy."""
        parts = urlsplit(proxy)
        yield from self._tcp(parts.hostname or "", parts.port or 80, sockopt)
        shown = f"[{host}]" if ":" in host else host
        lines = [f"CONNECT {shown}:{port} HTTP/1.1", f"Host: {shown}:{port}"]
        if parts.username is not None:
            lines.append(f"Proxy-Authorization: {basic_authorization(parts.username, parts.password)}")
        yield from self.send("\r\n".join([*lines, "", ""]).encode())
        head = yield from self._head()
        status = _status(head)
        if status != 200:
            raise HandshakeError(f"the proxy answered {_first_line(head)!r}", status)

    def _tls(self, host: str, sslopt: Mapping[str, Any]) -> Steps:
        assert self.sock is not None  # noqa: S101
        self.sock = sock = tls_context(sslopt).wrap_socket(
            self.sock,
            server_hostname=sslopt.get("server_hostname") or host,
            do_handshake_on_connect=False,
        )
        while True:
            try:
                sock.do_handshake()
            except ssl.SSLWantReadError:
                yield Want.READABLE
            except ssl.SSLWantWriteError:
                yield Want.WRITABLE
            except ssl.SSLError as error:
                if error.reason != "WRONG_VERSION_NUMBER":
                    raise
                raise HandshakeError(f"the server does not speak TLS; a ws:// url may work: {error}") from error
            else:
                return

    def _upgrade(self, user: str | None, password: str | None) -> Steps:
        upgrade = _Upgrade(self.relay, None if user is None else basic_authorization(user, password))
        yield from self.send(upgrade.request())
        head = yield from self._head()
        status = _status(head)
        if status != SWITCHING_PROTOCOLS:
            raise HandshakeError(f"the relay answered {_first_line(head)!r}", status)
        upgrade.check(head)
        self.date = _date(head)

    def send(self, data: bytes) -> Steps:
        """Send all of `data`; yield whenever the socket accepts no more for now."""
        sock = self.sock
        assert sock is not None  # noqa: S101
        while data:
            try:
                data = data[sock.send(data) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                yield Want.WRITABLE
            except ssl.SSLWantReadError:
                yield Want.READABLE

    def _head(self) -> Generator[Want, None, bytes]:
        """Read up to the empty line; what follows it is kept in `rest`."""
        sock = self.sock
        assert sock is not None  # noqa: S101
        limit = self.relay.options.max_handshake_size
        data = bytearray()
        while (end := data.find(b"\r\n\r\n")) < 0:
            if len(data) >= limit:
                raise HandshakeError(f"the response to the upgrade has more than {limit} bytes")
            try:
                chunk = sock.recv(min(4096, limit - len(data)))
            except (BlockingIOError, ssl.SSLWantReadError):
                yield Want.READABLE
            except ssl.SSLWantWriteError:
                yield Want.WRITABLE
            else:
                if not chunk:
                    raise ConnectionLost("the connection ended during the upgrade")
                data += chunk
                if data.startswith(_TLS_ALERT):
                    raise HandshakeError("the server speaks TLS: use wss:// in the url")
        self.rest = bytes(data[end + 4 :])
        return bytes(data[: end + 4])


class Resolver(GenServer[None]):
    """Looks up one host for a `Dial`, sends `Resolved` to its connection, and ends."""

    def init(self, init_arg: tuple[Dial, str, int], /) -> InitOutcome[None]:
        """Continue after start has returned."""
        return Ok(continue_=init_arg)

    def handle_continue(self, argument: tuple[Dial, str, int], state: None, /) -> CallbackOutcome[None]:
        """Look it up; this blocks for as long as the system's resolver takes."""
        del state
        dial, host, port = argument
        answer: Sequence[Address] | OSError
        try:
            answer = look_up(host, port)
        except OSError as error:
            answer = error
        dial.connection.put_from(self.pid.process, Resolved(dial, answer))
        return Stop()


def look_up(host: str, port: int) -> Sequence[Address]:
    """Return the addresses of `host`, by the system's resolver; OSError: it has none."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that is too long
        raise socket.gaierror(socket.EAI_NONAME, f"{host!r}: {error}") from None


class Resolved:
    """A `Resolver`'s answer."""

    def __init__(self, dial: Dial, answer: Sequence[Address] | OSError) -> None:
        self.dial = dial
        self.answer = answer


class _Upgrade:
    """websocket-client's handshake in two halves.

    It runs twice, with one key, and is stopped where it would wait.
    """

    def __init__(self, relay: Relay, authorization: str | None) -> None:
        options = relay.options.websocket
        self._headers = Headers(options.get("headers") or [])
        self._headers["Sec-WebSocket-Key"] = base64.b64encode(os.urandom(16)).decode()
        if authorization is not None:
            self._headers["Authorization"] = authorization
        self._url = redact(relay.url)
        self._passed = {name: options[name] for name in ("cookie", "host", "origin", "subprotocols") if name in options}
        if "origin" not in options:
            self._passed["suppress_origin"] = True  # not a browser, so no origin

    def request(self) -> bytes:
        """Return the request."""
        sent = _Request()
        try:
            self._run(sent)
        except _AnswerWantedError:
            pass
        return sent.data

    def check(self, head: bytes) -> None:
        """Check the relay's response to the upgrade.

        Raise HandshakeError or websocket-client's own exceptions unless `head` accepts the request.
        """
        # Without its cookies, which would go into a jar that the whole program shares.
        self._run(_Answer(re.sub(rb"(?im)^set-cookie[ \t]*:.*\r\n(?:[ \t].*\r\n)*", b"", head)))

    def _run(self, sock: "_Request | _Answer") -> None:
        # Imported by the first dial: it would double the time to import gennostr.
        import websocket  # noqa: PLC0415

        client = websocket.WebSocket()
        client.connect(  # type: ignore[no-untyped-call]
            self._url, socket=sock, header=self._headers, redirect_limit=0, **self._passed
        )
        client.sock = None  # not a socket of ours: nothing to shut down when the client is deleted


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


class _Answer(_Request):
    """A socket that has the answer already.

    websocket-client reads byte by byte until it finds a line's end. Each line is returned in two pieces, the end apart:
    two reads per line.
    """

    def __init__(self, head: bytes) -> None:
        super().__init__()
        self._pieces = filter(None, re.split(rb"(\n)", head))

    def recv(self, size: int) -> bytes:
        del size
        return next(self._pieces, b"")


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


def _date(head: bytes) -> float | None:
    """Return when the server sent `head`, by its Date header, in seconds since 1970."""
    match = re.search(rb"(?im)^date[ \t]*:[ \t]*(.{1,64}?)[ \t]*\r$", head)
    if match is None:
        return None
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - few relays send it, and the import is slow

    try:
        return parsedate_to_datetime(match[1].decode("latin-1")).timestamp()
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
        context.load_cert_chain(sslopt["certfile"], sslopt.get("keyfile"), sslopt.get("password"))
    if sslopt.get("ciphers") is not None:
        context.set_ciphers(sslopt["ciphers"])
    return context
