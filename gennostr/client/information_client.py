"""The information document of a relay (NIP-11), requested over HTTP.

It connects as a connection does: `Dial` does TCP, the tunnel through a proxy and TLS, with the relay's options. Here
the caller's thread drives it, and waits where the dial would: `InformationRequest.wait` is the only place where a
request blocks, and where its deadline and `InformationRequest.cancel` wake it. HTTP is done by http.client, on an
object that only looks like a socket: `_Wire` waits in the same place and counts the bytes read, since http.client would
read headers, 1xx responses and trailers without end.

Only the system's resolver cannot be interrupted: looking up a host name takes as long as it takes.
"""

import http.client
import io
import select
import socket
import ssl
import string
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote, urlsplit

from gennostr.client.dial import Address, Dial, Headers, Steps, Want, basic_authorization, look_up
from gennostr.client.options import Relay, check_number
from gennostr.exceptions import ConnectionLost, ConnectTimeout, GenNostrError, HandshakeError, MessageError
from gennostr.nostr.relay_information import RelayInformation, parse_information
from gennostr.nostr.relay_url import redact
from gennostr.otp.clock import clock

ACCEPT: Final = "application/nostr+json"
READ_SIZE: Final = 8192
CHUNKS: Final = 1024
"""Bytes that a chunked body may have on the wire, in addition to twice its size."""


def relay_information(
    url: str, *, timeout: float = 10.0, max_size: int = 64 * 1024, **options: Any
) -> RelayInformation:
    """Return the information document of a relay (NIP-11). Blocks.

    It is requested over HTTP at the relay's url; redirects are not followed.

    Args:
        url: the relay's ws:// or wss:// url.
        timeout: seconds for everything together, 10 by default. The system looks up the host name, which may take
            longer.
        max_size: the most bytes that the document can have, 64 KiB by default.
        options: those of `RelayOptions`; only ``websocket``, without its subprotocols, and ``max_handshake_size`` have
            an effect.

    Raises:
        TypeError, ValueError: the url (`RelayUrlError`) or an option is invalid.
        OSError: no connection, including `ssl.SSLError`.
        ConnectTimeout: it took longer than `timeout`.
        ConnectionLost: the relay ended the connection before everything was received.
        HandshakeError: the response is not HTTP, or its status is not 200: ``.status``.
        MessageError: the response is not a JSON object, or larger than `max_size`.

    >>> from gennostr import relay_information
    >>> from gennostr.testing import MemoryRelay
    >>> with MemoryRelay(information={"name": "a relay", "limitation": {"max_limit": 500}}) as relay:
    ...     found = relay_information(relay.url, timeout=5)
    >>> found.name, found.limitation.max_limit
    ('a relay', 500)
    """
    return InformationRequest(Relay.new(url, **options), timeout=timeout, max_size=max_size).run()


class InformationRequest:
    """One request, to be run once; another thread can cancel it.

    `relay_information` lists what it raises.
    """

    def __init__(self, relay: Relay, *, timeout: float = 10.0, max_size: int = 64 * 1024) -> None:
        check_number("timeout", timeout, least=0.0, strict=True)
        check_number("max_size", max_size, least=1, kinds=(int,))
        self._relay = relay
        self._timeout = timeout
        self._max_size = max_size
        self._shown = redact(relay.url)
        self.dial = _Dial(relay)
        # Reentrant, for a finalizer may cancel it between any two lines; what it protects is valid at each of them.
        self._lock = threading.RLock()
        # Why it must end and, while it runs, the socket whose byte wakes the thread.
        self._end: GenNostrError | None = None
        self._waker: socket.socket | None = None

    def run(self) -> RelayInformation:
        """Send the request and return the information."""
        timer = clock().call_at(clock().monotonic() + self._timeout, self._expire)
        try:
            self._woken, waker = socket.socketpair()
            with self._lock:
                self._waker = waker
            try:
                return parse_information(self._document())
            finally:
                with self._lock:
                    self._waker = None
                waker.close()
                self._woken.close()
                self.dial.close()
        finally:
            timer.cancel()

    def cancel(self) -> None:
        """End it, now or as soon as it is run.

        `run` raises ConnectionLost, unless it is done.

        Any thread may call this.
        """
        self._wake(ConnectionLost(f"{self._shown}: the request for its information was cancelled"))

    def _expire(self) -> None:
        self._wake(ConnectTimeout(f"{self._shown} did not give its information within {self._timeout:g} s"))

    def _wake(self, end: GenNostrError) -> None:
        with self._lock:
            if self._end is None:
                self._end = end
                if self._waker is not None:
                    self._waker.send(b"\0")

    # In the thread that runs it.

    def wait(self, want: Want | None) -> None:
        """Wait for the socket; None: only check whether it must end."""
        if want is not None and self._end is None:
            assert self.dial.sock is not None  # noqa: S101
            poll = select.poll()
            poll.register(self._woken, select.POLLIN)
            poll.register(self.dial.sock, select.POLLIN if want is Want.READABLE else select.POLLOUT)
            poll.poll()
        if self._end is not None:
            raise self._end

    def _document(self) -> bytes:
        dial = self.dial
        self.wait(None)
        while (want := dial.step()) is not None:
            self.wait(want)
        limit, size = self._relay.options.max_handshake_size, self._max_size
        wire = _Wire(self, limit)
        connection = http.client.HTTPConnection("")
        connection.sock = wire
        self._request(connection)
        with self._failures(HandshakeError(f"{self._shown}: the head of the response has more than {limit} bytes")):
            response = connection.getresponse()
        with (
            response,
            self._failures(MessageError(f"{self._shown}: the information document has more than {size} bytes")),
        ):
            if response.status != http.client.OK:
                answer = f"{response.status} {response.reason}"
                raise HandshakeError(
                    f"{self._shown} responded with no information document but with {answer!r:.200}", response.status
                )
            wire.limit = wire.count + 2 * size + CHUNKS
            if (response.length or 0) > size:
                raise _OverError
            body = bytearray()
            while piece := response.read(READ_SIZE):
                body += piece
                if len(body) > size:
                    raise _OverError
            if response.length:
                raise ConnectionLost(f"{self._shown}: the response is incomplete")
        return bytes(body)

    @contextmanager
    def _failures(self, over: GenNostrError) -> Iterator[None]:
        """Convert the exceptions of http.client.

        `over` is raised if the response is over its limit.
        """
        try:
            yield
        except _OverError:
            raise over from None
        except (http.client.RemoteDisconnected, http.client.IncompleteRead) as error:
            raise ConnectionLost(f"{self._shown}: the response is incomplete") from error
        except (http.client.HTTPException, ValueError) as error:  # ValueError: a chunk with a negative size
            problem = f"{type(error).__name__}: {error}"
            raise HandshakeError(f"{self._shown} sent a response that is not HTTP: {problem!r:.200}") from error

    def _request(self, connection: http.client.HTTPConnection) -> None:
        parts = urlsplit(self._relay.url)
        options = self._relay.options.websocket
        headers = {"host": ("Host", options.get("host") or parts.netloc.rpartition("@")[2])}
        for name in ("cookie", "origin"):
            if options.get(name) is not None:
                headers[name] = (name.title(), options[name])
        if parts.username is not None:
            headers["authorization"] = ("Authorization", basic_authorization(parts.username, parts.password))
        headers["accept"] = ("Accept", ACCEPT)
        headers["connection"] = ("Connection", "close")
        # Headers that follow from the url and the request cannot be given a second time.
        given = [each for each in Headers(options.get("headers") or []).items() if each[0].lower() not in headers]
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.putrequest("GET", quote(target, safe=string.punctuation), skip_host=True, skip_accept_encoding=True)
        for name, value in [*headers.values(), *given]:
            connection.putheader(name, str(value).encode())
        connection.endheaders()


class _Dial(Dial):
    """A dial that stops before the upgrade, and looks up names in its own thread."""

    def __init__(self, relay: Relay) -> None:
        super().__init__(relay, None)  # type: ignore[arg-type] # only its resolver uses the connection

    def _addresses(self, host: str, port: int) -> Generator[Want, None, Sequence[Address]]:
        yield from ()
        return look_up(host, port)

    def _upgrade(self, user: str | None, password: str | None) -> Steps:
        del user, password
        yield from ()


class _OverError(Exception):
    """Unwinds http.client at a limit.

    http.client would take a MessageError, a ValueError, for one of its own.
    """


class _Wire(io.RawIOBase):
    """What http.client uses as its socket, to read the response from.

    It reads at most `limit` bytes.
    """

    def __init__(self, request: InformationRequest, limit: int) -> None:
        super().__init__()
        self._request = request
        self.limit = limit
        self.count = 0
        """The number of bytes read."""

    def sendall(self, data: bytes) -> None:
        for want in self._request.dial.send(data):
            self._request.wait(want)

    def makefile(self, mode: str) -> io.BufferedReader:
        del mode
        return io.BufferedReader(self)

    def close(self) -> None:
        """Do nothing: http.client may close its socket before the answer is read."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.count >= self.limit:
            raise _OverError
        sock = self._request.dial.sock
        assert sock is not None  # noqa: S101
        want: Want | None = None
        while True:
            self._request.wait(want)
            try:
                size = sock.recv_into(buffer, min(len(buffer), self.limit - self.count))
            except (BlockingIOError, ssl.SSLWantReadError):
                want = Want.READABLE
            except ssl.SSLWantWriteError:
                want = Want.WRITABLE
            else:
                self.count += size
                return size
