"""The information document of a relay (NIP-11), requested over HTTP.

It connects as a connection does: `Dial` does TCP, the tunnel through a proxy and TLS, with the relay's options. Here
the caller's thread drives it, and waits where the dial would: `InformationRequest.wait` is the only place where a
request blocks, and where its deadline, a lookup and `InformationRequest.cancel` wake it. HTTP is done by http.client,
on an object that only looks like a socket: `_Wire` waits in the same place and counts the bytes read, since http.client
would read headers, 1xx responses and trailers without end.
"""

import http.client
import io
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from gennostr.client import poller
from gennostr.client.dial import Dial, Headers, Steps, Wait, basic_authorization, retry_after
from gennostr.client.options import Relay, check_files, check_number
from gennostr.exceptions import ConnectionLost, ConnectTimeout, GenNostrError, HandshakeError, MessageError
from gennostr.nostr.relay_information import RelayInformation, parse_information
from gennostr.nostr.relay_url import redact, request_target
from gennostr.otp.clock import clock
from gennostr.otp.system_limits import explained

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
        timeout: seconds for everything together, 10 by default.
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
    relay = Relay.new(url, **options)
    check_files(relay.options)
    return InformationRequest(relay, timeout=timeout, max_size=max_size).run()


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
        self.dial = _Dial(relay, self._wake)
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
            waker.setblocking(False)  # noqa: FBT003
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
        except OSError as error:
            raise explained(error)  # noqa: B904 - the error itself, or one that it is the cause of
        finally:
            timer.cancel()

    def cancel(self) -> None:
        """End it, now or as soon as it is run.

        `run` raises ConnectionLost, unless it is done.

        Any thread may call this.
        """
        self._stop(ConnectionLost(f"{self._shown}: the request for its information was cancelled"))

    def _expire(self) -> None:
        stage = f": {self.dial.stage}" if self.dial.stage else ""
        self._stop(ConnectTimeout(f"{self._shown} did not give its information within {self._timeout:g} s{stage}"))

    def _stop(self, end: GenNostrError) -> None:
        with self._lock:
            if self._end is None:
                self._end = end
                self._wake()

    def _wake(self) -> None:
        """Continue the thread that waits. Any thread may call this."""
        with self._lock:
            if self._waker is not None:
                try:
                    self._waker.send(b"\0")
                except BlockingIOError:  # it is full of bytes that do the same
                    pass

    # In the thread that runs it.

    def wait(self, wait: Wait | None) -> None:
        """Wait for one of its sockets, its time or `_wake`.

        None: only check whether the request must end.
        """
        if wait is not None and self._end is None:
            timer = None if wait.until is None else clock().call_at(wait.until, self._wake)
            try:
                poll = poller.create()
                poll.register(self._woken.fileno(), poller.POLLIN)
                for sock in wait.readable:
                    poll.register(sock.fileno(), poller.POLLIN)
                for sock in wait.writable:
                    poll.register(sock.fileno(), poller.POLLOUT)
                if any(descriptor == self._woken.fileno() for descriptor, _ in poll.poll()):
                    self._woken.recv(4096)
            finally:
                if timer is not None:
                    timer.cancel()
        if self._end is not None:
            raise self._end

    def _document(self) -> bytes:
        dial = self.dial
        self.wait(None)
        while (wait := dial.step()) is not None:
            self.wait(wait)
        dial.stage = "the response is not complete"
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
                answered: dict[str, str] = {}
                for name, value in response.headers.items():
                    key = name.lower()
                    answered[key] = f"{answered[key]}, {value}" if key in answered else value
                raise HandshakeError(
                    f"{self._shown} responded with no information document but with {answer!r:.200}",
                    response.status,
                    answered,
                    retry_after(answered),
                )
            coding = response.headers.get("Content-Encoding", "identity").strip().lower()
            if coding not in ("", "identity"):
                raise HandshakeError(
                    f"{self._shown} sent a compressed document, which was not requested: {coding!r:.80}"
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
        target = self._relay.target or request_target(self._relay.url)
        connection.putrequest("GET", target, skip_host=True, skip_accept_encoding=True)
        for name, value in [*headers.values(), *given]:
            connection.putheader(name, str(value).encode())
        connection.endheaders()


class _Dial(Dial):
    """A dial that stops before the upgrade."""

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
        for wait in self._request.dial.send(data):
            self._request.wait(wait)

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
        wait: Wait | None = None
        while True:
            self._request.wait(wait)
            try:
                size = sock.recv_into(buffer, min(len(buffer), self.limit - self.count))
            except (BlockingIOError, ssl.SSLWantReadError):
                wait = Wait(readable=(sock,))
            except ssl.SSLWantWriteError:
                wait = Wait(writable=(sock,))
            else:
                self.count += size
                return size
