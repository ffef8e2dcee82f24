"""The dialler: what blocks and cannot be interrupted, in a short-lived actor of its own.

DNS, TCP, TLS and the HTTP upgrade run in the dialler's thread; the connection meanwhile answers its mailbox. A `Dial`
is what the two share: the dialler leaves the open socket there, the connection takes it or cancels, and a socket that
nobody takes is closed. ``cancel`` shuts the socket down under a blocked call, which ends it at once; only DNS
cannot be woken, and ends when the resolver gives up, with no effect.

The upgrade itself is websocket-client's. It reads through an `_UpgradeSocket`, which keeps the overall
deadline and the size limit, refuses every answer but 101 before a body is read, keeps cookies from a jar that
the whole program would share, and holds back what follows the answer: the first frames.
"""

import base64
import re
import socket
import ssl
import threading
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from gennostr.client.options import Relay
from gennostr.exceptions import ConnectionLost, ConnectTimeout, HandshakeError
from gennostr.nostr.relay_url import redact
from gennostr.otp.clock import clock
from gennostr.otp.gen_server import GenServer
from gennostr.otp.outcomes import InitOutcome, Ok, Outcome, Stop
from gennostr.otp.process import Process

SWITCHING_PROTOCOLS: Final = 101


class Dial:
    """One attempt to connect. `_lock` protects `_sock`, `_cancelled` and the result."""

    def __init__(self, relay: Relay, connection: Process) -> None:
        self.relay = relay
        self.connection = connection
        self._lock = threading.Lock()
        self._sock: socket.socket | None = None
        self._cancelled = False
        self._done = False
        self.rest = b""
        self.error: BaseException | None = None
        self._deadline = clock().monotonic() + relay.options.connect_timeout

    # The connection's side.

    def take(self) -> socket.socket | None:
        """Return the open socket, which is then the caller's; None if there is an error instead."""
        with self._lock:
            sock, self._sock = self._sock, None
            return sock

    def cancel(self) -> None:
        """Give up, from any thread."""
        with self._lock:
            self._cancelled = True
            sock = self._sock
            if sock is None:
                return
            if self._done:
                self._sock = None
                sock.close()
            else:  # the dialler is blocked on it, and closes it when it wakes
                shut_down(sock)

    # The dialler's side.

    def run(self) -> None:
        """Connect, and tell the connection."""
        try:
            sock = self._connect()
        except Exception as error:
            sock = None
            self.error = self._explain(error)
        with self._lock:
            self._done = True
            if sock is None or self._cancelled:
                for each in (sock, self._sock):
                    if each is not None:
                        each.close()
                self._sock = None
            else:
                self._sock = sock
        self.connection.deliver(self)

    def _explain(self, error: Exception) -> Exception:
        import websocket  # noqa: PLC0415 - see _upgrade

        seconds = self.relay.options.connect_timeout
        if isinstance(error, TimeoutError | websocket.WebSocketTimeoutException):
            return ConnectTimeout(f"{redact(self.relay.url)}: not connected within {seconds} s")
        if isinstance(error, websocket.WebSocketException):
            return HandshakeError(f"{redact(self.relay.url)}: {error}")
        return error

    def _remaining(self) -> float:
        remaining = self._deadline - clock().monotonic()
        if remaining <= 0:
            raise TimeoutError
        return remaining

    def _hold(self, sock: socket.socket) -> None:
        """Let cancel reach `sock` from now on."""
        with self._lock:
            if self._cancelled:
                sock.close()
                raise ConnectionAbortedError("cancelled")
            self._sock = sock

    def _connect(self) -> socket.socket:
        parts = urlsplit(self.relay.url)
        options = self.relay.options.websocket
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "wss" else 80)
        proxy = options.get("proxy")
        if proxy is None:
            sock = self._tcp(host, port, options.get("sockopt") or ())
        else:
            sock = self._tunnel(str(proxy), host, port, options.get("sockopt") or ())
        if parts.scheme == "wss":
            sock = self._tls(sock, host, options.get("sslopt") or {})
        self._upgrade(sock, parts.username, parts.password)
        sock.setblocking(False)  # noqa: FBT003
        return sock

    def _tcp(self, host: str, port: int, sockopt: Any) -> socket.socket:
        """Connect to the first address that answers."""
        failure: OSError = ConnectionLost(f"{host} has no address")  # type: ignore[assignment]
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            sock = socket.socket(family, kind, protocol)
            try:
                self._hold(sock)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                for option in sockopt:
                    sock.setsockopt(*option)
                sock.settimeout(self._remaining())
                sock.connect(address)
            except TimeoutError:
                sock.close()
                raise
            except OSError as error:
                sock.close()
                failure = error
            else:
                return sock
        raise failure

    def _tunnel(self, proxy: str, host: str, port: int, sockopt: Any) -> socket.socket:
        """Connect through an HTTP proxy."""
        parts = urlsplit(proxy)
        sock = self._tcp(parts.hostname or "", parts.port or 80, sockopt)
        shown = f"[{host}]" if ":" in host else host
        lines = [f"CONNECT {shown}:{port} HTTP/1.1", f"Host: {shown}:{port}"]
        if parts.username is not None:
            lines.append(f"Proxy-Authorization: {_basic(parts.username, parts.password)}")
        reader = _UpgradeSocket(sock, self)
        reader.send("\r\n".join([*lines, "", ""]).encode())
        head = reader.read_head()
        status = _status(head)
        if status != 200:
            raise HandshakeError(f"the proxy answered {_first_line(head)!r}", status)
        return sock

    def _tls(self, sock: socket.socket, host: str, sslopt: Mapping[str, Any]) -> ssl.SSLSocket:
        wrapped = tls_context(sslopt).wrap_socket(
            sock,
            server_hostname=sslopt.get("server_hostname", host),
            do_handshake_on_connect=False,
        )
        self._hold(wrapped)
        wrapped.settimeout(self._remaining())
        wrapped.do_handshake()
        return wrapped

    def _upgrade(self, sock: socket.socket, user: str | None, password: str | None) -> None:
        # Imported by the first dial, in its own thread: it would double the time that importing gennostr takes.
        import websocket  # noqa: PLC0415

        options = self.relay.options.websocket
        headers = options.get("headers") or []
        if isinstance(headers, Mapping):
            headers = [f"{name}: {value}" for name, value in headers.items()]
        headers = list(headers)
        if user is not None:
            headers.append(f"Authorization: {_basic(user, password)}")
        reader = _UpgradeSocket(sock, self)
        passed = {name: options[name] for name in ("cookie", "host", "subprotocols") if name in options}
        if "origin" in options:
            passed["origin"] = options["origin"]
        else:
            passed["suppress_origin"] = True  # no browser, no origin
        client = websocket.WebSocket()
        client.connect(  # type: ignore[no-untyped-call]
            redact(self.relay.url), socket=reader, header=headers, redirect_limit=0, **passed
        )
        client.sock = None  # the socket is ours from here on
        self.rest = reader.rest


class _UpgradeSocket:
    """What websocket-client sees of the socket during the upgrade."""

    def __init__(self, sock: socket.socket, dial: Dial) -> None:
        self._sock = sock
        self._dial = dial
        self._head: bytes | None = None
        self.rest = b""

    def send(self, data: bytes) -> int:
        self._sock.settimeout(self._dial._remaining())
        self._sock.sendall(data)
        return len(data)

    def recv(self, size: int) -> bytes:
        if self._head is None:
            head = self.read_head()
            status = _status(head)
            if status != SWITCHING_PROTOCOLS:
                raise HandshakeError(f"the relay answered {_first_line(head)!r}", status)
            self._head = re.sub(rb"(?im)^set-cookie[ \t]*:.*\r\n(?:[ \t].*\r\n)*", b"", head)
        taken, self._head = self._head[:size], self._head[size:]
        return taken

    def read_head(self) -> bytes:
        """Read to the empty line; what follows it is kept in `rest`."""
        limit = self._dial.relay.options.max_handshake_size
        data = bytearray()
        while (end := data.find(b"\r\n\r\n")) < 0:
            if len(data) >= limit:
                raise HandshakeError(f"the answer to the upgrade is over {limit} bytes")
            self._sock.settimeout(self._dial._remaining())
            chunk = self._sock.recv(min(4096, limit - len(data)))
            if not chunk:
                raise ConnectionLost("the connection ended during the upgrade")
            data += chunk
        self.rest = bytes(data[end + 4 :])
        return bytes(data[: end + 4])

    def gettimeout(self) -> float | None:
        return self._sock.gettimeout()

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        """Leave it to the dial, which knows who may close it."""


def _basic(user: str, password: str | None) -> str:
    pair = f"{unquote(user)}:{unquote(password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def _first_line(head: bytes) -> str:
    return head.split(b"\r\n", 1)[0][:200].decode("latin-1")


def _status(head: bytes) -> int | None:
    match = re.match(rb"HTTP/\d\.\d (\d{3})\b", head)
    return int(match[1]) if match else None


def tls_context(sslopt: Mapping[str, Any]) -> ssl.SSLContext:
    """Return the context that websocket-client's `sslopt` describes: verifying, unless it says otherwise."""
    given = sslopt.get("context")
    if isinstance(given, ssl.SSLContext):
        return given
    context = ssl.create_default_context(cafile=sslopt.get("ca_certs"), capath=sslopt.get("ca_cert_path"))
    if not sslopt.get("check_hostname", True) or sslopt.get("cert_reqs") == ssl.CERT_NONE:
        context.check_hostname = False
    if "cert_reqs" in sslopt:
        context.verify_mode = sslopt["cert_reqs"]
    if "certfile" in sslopt:
        context.load_cert_chain(sslopt["certfile"], sslopt.get("keyfile"), sslopt.get("password"))
    if "ciphers" in sslopt:
        context.set_ciphers(sslopt["ciphers"])
    return context


def shut_down(sock: socket.socket) -> None:
    """Wake whoever is blocked on `sock`; it stays open."""
    try:
        # Not SSLSocket's own shutdown: that drops its TLS object first, and a send would go out in the clear.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        pass  # not connected (yet, or any more)


class Dialler(GenServer[Dial]):
    """Runs one `Dial`, then ends."""

    def init(self, init_arg: Dial) -> InitOutcome[Dial]:
        """Go on with dialling after start has returned."""
        self._dial = init_arg
        return Ok(init_arg, continue_=None)

    def handle_continue(self, argument: None, state: Dial) -> Outcome[Dial]:
        """Dial."""
        del argument
        state.run()
        return Stop()

    def on_cancel(self) -> None:
        """Wake the blocked call."""
        self._dial.cancel()
