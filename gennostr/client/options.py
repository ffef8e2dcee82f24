"""The options of a relay, and the relay as a value."""

import os
import re
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack
from urllib.parse import urlsplit

from gennostr.client import socks
from gennostr.exceptions import RelayUrlError
from gennostr.nostr.relay_url import normalize_url, redact, request_target
from gennostr.values import Shared, shown

_WEBSOCKET_OPTIONS = frozenset({"cookie", "headers", "host", "origin", "proxy", "sockopt", "sslopt", "subprotocols"})
_TASKS = frozenset({"garbage_collector"})
_SSLOPT_TEXTS = frozenset({"ca_cert_path", "ca_certs", "certfile", "ciphers", "keyfile", "server_hostname"})
_SSLOPT = _SSLOPT_TEXTS | {"cert_reqs", "check_hostname", "context", "password"}


class RelayOptions(TypedDict, total=False):
    """The options of a relay as keyword arguments, for example of ``add_relay``.

    - websocket: a mapping with headers, cookie, host, origin, subprotocols, sslopt, sockopt (as for websocket-client)
      and proxy (the url of an HTTP or SOCKS proxy); empty by default
    - reconnect: the delays before attempts to reconnect, in seconds, of which the last repeats; 0.5, 1, 5, 10, 30 by
      default
    - tasks: seconds between runs of the connection's periodic tasks; ``{"garbage_collector": 3600.0}`` by default
    - connect_timeout: seconds for DNS, TCP, TLS and the upgrade together; 15 by default
    - ping_interval: seconds without any data after which the relay is pinged; 30 by default
    - ping_timeout: further seconds of silence after which the connection is given up; 30 by default
    - close_timeout: seconds that the relay has to answer a close frame; 3 by default
    - max_message_size: bytes of the largest message that is received; 5 MiB by default
    - max_handshake_size: bytes of the largest response to the upgrade; 64 KiB by default
    - max_queue_size: bytes of the messages that wait to be sent; 1 MiB by default
    - max_queue_messages: how many messages can wait to be sent; 1024 by default
    - verify: whether ids and signatures of events are checked, which needs the extra ``crypto``; False by default
    - compression: whether compression of messages (permessage-deflate, RFC 7692) is offered to the relay; True by
      default
    - eose_timeout: seconds without an event after which a relay's EOSE, or its answer to a COUNT, is no longer awaited;
      10 by default, None: no limit

    >>> from gennostr import Relay, RelayOptions
    >>> patient: RelayOptions = {"connect_timeout": 60.0, "reconnect": [60.0]}
    >>> Relay.new("wss://relay.example", **patient).options.connect_timeout
    60.0
    """

    websocket: Mapping[str, Any]
    reconnect: Sequence[float]
    tasks: Mapping[str, float]
    connect_timeout: float
    ping_interval: float
    ping_timeout: float
    close_timeout: float
    max_message_size: int
    max_handshake_size: int
    max_queue_size: int
    max_queue_messages: int
    verify: bool
    compression: bool
    eose_timeout: float | None


@dataclass(frozen=True, slots=True)
class Options(Shared):
    """The options of a relay, as a value: frozen, and checked when it is made.

    - websocket: a mapping with headers, cookie, host, origin, subprotocols, sslopt, sockopt (as for websocket-client)
      and proxy (the url of an HTTP or SOCKS proxy); empty by default
    - reconnect: the delays before attempts to reconnect, in seconds, of which the last repeats; 0.5, 1, 5, 10, 30 by
      default
    - tasks: seconds between runs of the connection's periodic tasks; ``{"garbage_collector": 3600.0}`` by default
    - connect_timeout: seconds for DNS, TCP, TLS and the upgrade together; 15 by default
    - ping_interval: seconds without any data after which the relay is pinged; 30 by default
    - ping_timeout: further seconds of silence after which the connection is given up; 30 by default
    - close_timeout: seconds that the relay has to answer a close frame; 3 by default
    - max_message_size: bytes of the largest message that is received; 5 MiB by default
    - max_handshake_size: bytes of the largest response to the upgrade; 64 KiB by default
    - max_queue_size: bytes of the messages that wait to be sent; 1 MiB by default
    - max_queue_messages: how many messages can wait to be sent; 1024 by default
    - verify: whether ids and signatures of events are checked, which needs the extra ``crypto``; False by default
    - compression: whether compression of messages (permessage-deflate, RFC 7692) is offered to the relay; True by
      default
    - eose_timeout: seconds without an event after which a relay's EOSE, or its answer to a COUNT, is no longer awaited;
      10 by default, None: no limit

    Raises:
        TypeError: an option of that name does not exist, or its value has the wrong type.
        ValueError: its value is invalid; the message names both.

    >>> from gennostr import Options
    >>> Options(verify=True).max_queue_messages
    1024
    >>> Options(ping_interval=0)
    Traceback (most recent call last):
    ValueError: ping_interval must be over 0.0, not 0
    """

    # Mappings are not hashable, nor are many of the values in them: they are compared with == only.
    websocket: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)
    """Options of websocket-client, and a proxy. Not shown by ``repr``: nearly any of them may hold a secret.

    Those of websocket-client are headers, cookie, host, origin, subprotocols, sslopt and sockopt. proxy is the url of
    an HTTP proxy (``http://host:port``) or of a SOCKS proxy (``socks5h://`` or its synonym ``socks5://``, and
    ``socks4a://``; the port is 1080 by default), with user and password if it wants them. A SOCKS proxy needs the extra
    ``socks``. It looks up the relay's name, so Tor reaches .onion hosts. No proxy is taken from the environment.
    """
    reconnect: Sequence[float] = (0.5, 1.0, 5.0, 10.0, 30.0)
    """Seconds. The delays before attempts to reconnect; the last one repeats.

    Each is changed at random by up to 25 %. A connection that was up for 30 s begins with the first one again.
    """
    tasks: Mapping[str, float] = field(default_factory=lambda: {"garbage_collector": 3600.0}, hash=False)
    """The periodic tasks of the connection, with the seconds between runs. There is one, "garbage_collector".

    A collection of garbage serves all connections of the process: it is left out if another connection has run it
    within the last half of these seconds.
    """
    connect_timeout: float = 15.0
    """Seconds. The time limit for DNS, TCP, TLS and the upgrade together (`ConnectTimeout`)."""
    ping_interval: float = 30.0
    """Seconds. How long the relay can be silent before it is pinged; any data from it counts."""
    ping_timeout: float = 30.0
    """Seconds. How much longer it can be silent before the connection is given up (`PingTimeout`)."""
    close_timeout: float = 3.0
    """Seconds. How long the relay has to answer a close frame."""
    max_message_size: int = 5 * 1024 * 1024
    """Bytes. The largest message to receive, reassembled and decompressed.

    A larger one ends the connection (close code 1009).
    """
    max_handshake_size: int = 64 * 1024
    """Bytes. The largest response to the upgrade (`HandshakeError`)."""
    max_queue_size: int = 1024 * 1024
    """Bytes. The total size of the messages that wait to be sent; beyond it, sending raises `Overflow`."""
    max_queue_messages: int = 1024
    """The number of messages that can wait to be sent; beyond it, sending raises `Overflow`."""
    verify: bool = False
    """Whether ids and signatures of events are checked before anything else uses the events.

    It needs coincurve (``pip install 'gennostr[crypto]'``). An event that fails is a `MessageError` for handle_error.
    """
    compression: bool = True
    """Whether compression of messages (permessage-deflate, RFC 7692) is offered to the relay, which decides.

    It saves half of the bytes or more, and costs the time to decompress and 40 kB of memory for each connection that
    has received compressed messages. Messages of less than 1,024 bytes are sent uncompressed.
    """
    eose_timeout: float | None = 10.0
    """Seconds. How long to wait for a relay's EOSE or its answer to a COUNT; None: without a limit.

    Counted from the relay's last event; after it, handle_eose_all no longer waits for the relay's EOSE.
    """

    def __post_init__(self) -> None:
        for name in ("connect_timeout", "ping_interval", "ping_timeout", "close_timeout"):
            check_number(name, getattr(self, name), least=0.0, strict=name != "close_timeout")
        for name in (
            "max_message_size",
            "max_handshake_size",
            "max_queue_size",
            "max_queue_messages",
        ):
            check_number(name, getattr(self, name), least=1, kinds=(int,))
        if self.eose_timeout is not None:
            check_number("eose_timeout", self.eose_timeout, least=0.0, strict=True)
        for name in ("verify", "compression"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be True or False, not {shown(getattr(self, name))}")
        given: object = self.reconnect  # from a caller without a type checker it may be anything
        if not isinstance(given, Sequence) or isinstance(given, str):
            raise TypeError(f"reconnect must be a list of seconds, not {shown(given)}")
        object.__setattr__(self, "reconnect", tuple(given))
        if not self.reconnect:
            raise ValueError("reconnect must hold at least one delay")
        for delay in self.reconnect:
            check_number("reconnect", delay, least=0.0)
        _check_mapping("tasks", self.tasks, _TASKS)
        for task, seconds in self.tasks.items():
            check_number(f"tasks[{task!r}]", seconds, least=0.0, strict=True)
        _check_mapping("websocket", self.websocket, _WEBSOCKET_OPTIONS)
        _check_request(self.websocket)
        _check_extensions(self.websocket.get("headers") or ())
        if self.websocket.get("proxy") is not None:
            _check_proxy(self.websocket["proxy"])
        if self.websocket.get("sslopt") is not None:
            _check_sslopt(self.websocket["sslopt"])

    @classmethod
    def of(cls, **options: Unpack[RelayOptions]) -> Self:
        """Return options given by name; the same as ``Options(...)``.

        Raises:
            TypeError: an option of that name does not exist; the message lists those that do.
            TypeError, ValueError: a value is invalid.

        >>> from gennostr import Options
        >>> Options.of(max_queue_messages=16).max_queue_messages
        16
        """
        known = {each.name for each in fields(cls)}
        for name in options:
            if name not in known:
                raise TypeError(f"unknown option {name!r}: the options are {', '.join(sorted(known))}")
        return cls(**options)


def check_number(
    name: str,
    value: object,
    *,
    least: float,
    strict: bool = False,
    kinds: tuple[type, ...] = (int, float),
) -> None:
    """Raise TypeError or ValueError unless an option is a number in range.

    The message names the option and the value.
    """
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise TypeError(f"{name} must be a number, not {shown(value)}")
    number: Any = value
    if not (number > least if strict else number >= least):
        raise ValueError(f"{name} must be {'over' if strict else 'at least'} {least}, not {shown(value)}")


def check_onion(url: str, options: Options) -> None:
    """Raise RelayUrlError for a .onion host without a proxy.

    It is not looked up: no name server knows it, and none must learn of it (RFC 7686, section 2).
    """
    host = urlsplit(url).hostname or ""
    if host.removesuffix(".").endswith(".onion") and options.websocket.get("proxy") is None:
        raise RelayUrlError(
            f"{redact(url)} is reached through Tor only: set its proxy, for example "
            "websocket={'proxy': 'socks5h://127.0.0.1:9050'}"
        )


def _check_mapping(name: str, value: object, known: frozenset[str]) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping, not {type(value).__name__}")
    for key in value:
        if key not in known:
            raise ValueError(f"{name} has no option {shown(key)}: its options are {', '.join(sorted(known))}")


def _check_extensions(headers: Iterable[str]) -> None:
    """Refuse an offer that the connection would not know of, and could not keep."""
    names = [each.partition(":")[0] for each in headers]
    if any(name.strip().lower() == "sec-websocket-extensions" for name in names):
        raise ValueError(
            "websocket['headers'] must not hold Sec-WebSocket-Extensions: the option compression offers "
            "permessage-deflate, the only extension that is supported"
        )


def _check_proxy(proxy: object) -> None:
    legal = False
    if isinstance(proxy, str):
        try:
            parts = urlsplit(proxy)
            legal = parts.scheme in ("http", *socks.SCHEMES) and bool(parts.hostname) and parts.port != 0
            legal = legal and parts.path in ("", "/") and not parts.query and not parts.fragment
        except ValueError:  # the port is invalid
            pass
    if not legal:  # not shown: in something that is not a url, a password may be anywhere
        schemes = ", ".join(f"{each}://host:port" for each in socks.SCHEMES)
        raise ValueError(f"websocket['proxy'] must be the url of an HTTP or SOCKS proxy: http://host:port, {schemes}")
    if parts.scheme in socks.SCHEMES:
        socks.check(parts)


def _check_request(websocket: Mapping[str, Any]) -> None:
    """Check what goes into the request for the upgrade, and the socket's options.

    Values are not shown, as nearly any of them may hold a secret.
    """
    for name in ("cookie", "host", "origin"):
        if websocket.get(name) is not None:
            _check_text(f"websocket[{name!r}]", websocket[name])
    headers = websocket.get("headers")
    if isinstance(headers, Mapping):
        for name, value in headers.items():
            _check_text("a name in websocket['headers']", name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                _check_text(f"websocket['headers'][{name!r}]", value)
    elif headers is not None:
        for line in _items("headers", headers, "a mapping of texts, or a list of lines"):
            _check_text("a line of websocket['headers']", line)
            if not line.partition(":")[0].strip() or ":" not in line:
                raise ValueError("a line of websocket['headers'] must be 'name: value'")
    if websocket.get("subprotocols") is not None:
        for each in _items("subprotocols", websocket["subprotocols"], "a list of texts"):
            _check_text("an item of websocket['subprotocols']", each)
            if not re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", each):  # a token: RFC 9110, section 5.6.2
                raise ValueError(f"an item of websocket['subprotocols'] must be the name of one, not {shown(each)}")
    if websocket.get("sockopt") is not None:
        form = "a list of (level, option, value), as for socket.setsockopt"
        for each in _items("sockopt", websocket["sockopt"], form):
            parts = each if isinstance(each, list | tuple) else ()
            if len(parts) not in (3, 4) or not all(isinstance(part, int | bytes | bytearray | None) for part in parts):
                raise TypeError(f"websocket['sockopt'] must be {form}, not with {shown(each)}")


def _items(name: str, value: object, form: str) -> Sequence[Any]:
    # Not an iterator: each attempt reads it anew.
    if not isinstance(value, list | tuple):
        raise TypeError(f"websocket[{name!r}] must be {form}, not {type(value).__name__}")
    return value


def _check_text(what: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a text, not {type(value).__name__}")
    if re.search(r"[\r\n\0]", value):  # it would begin another header
        raise ValueError(f"{what} must be one line")


def check_files(options: Options) -> None:
    """Raise ValueError if a file that the options name cannot be used.

    The message names the file and the option.

    In the caller: otherwise each attempt would fail. Files are read again by each attempt, as they may change.
    """
    sslopt = options.websocket.get("sslopt") or {}
    path = sslopt.get("ca_cert_path")
    if path is not None and not Path(path).is_dir():
        raise ValueError(f"sslopt['ca_cert_path'] is not a directory: {shown(path)}")
    files = {name: sslopt[name] for name in ("ca_certs", "certfile", "keyfile") if sslopt.get(name) is not None}
    for name, path in files.items():
        try:
            with Path(path).open("rb"):
                pass
        except (OSError, ValueError) as error:  # ValueError: a null character
            reason = getattr(error, "strerror", None) or error
            raise ValueError(f"sslopt[{name!r}] cannot be read: {shown(path)}: {reason}") from None
    for name in ("ca_certs", "certfile"):
        if name in files and not _holds_certificate(files[name]):
            raise ValueError(f"sslopt[{name!r}] holds no certificate in PEM format: {shown(files[name])}")
    if "certfile" not in files:
        return
    name = "keyfile" if "keyfile" in files else "certfile"
    asked: list[None] = []

    def password() -> Any:
        asked.append(None)
        return key_password(sslopt)()

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(files["certfile"], files.get("keyfile"), password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            problem = f"holds a key that does not belong to the certificate in {shown(files['certfile'])}"
        elif asked:
            problem = "holds a key that sslopt['password'] does not decrypt"
        else:
            problem = "holds no private key in PEM format"
        raise ValueError(f"sslopt[{name!r}] {problem}: {shown(files[name])}") from None


def key_password(sslopt: Mapping[str, Any]) -> Callable[[], str | bytes | bytearray]:
    """Return the function that gives the password of the private key.

    Without one, OpenSSL would ask for it on the terminal, and wait.
    """

    def password() -> str | bytes | bytearray:
        given = sslopt.get("password")
        if given is None:
            raise ValueError(
                f"sslopt has no password, and its private key is encrypted: "
                f"{shown(sslopt.get('keyfile') or sslopt.get('certfile'))}"
            )
        return given() if callable(given) else given  # type: ignore[no-any-return]

    return password


def _holds_certificate(path: Any) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        return False
    return True


def _check_sslopt(sslopt: object) -> None:
    """Refuse what would be ignored.

    A check that was requested but misspelled must not be skipped silently.
    """
    _check_mapping("sslopt", sslopt, _SSLOPT)
    assert isinstance(sslopt, Mapping)  # noqa: S101
    for name in _SSLOPT_TEXTS & sslopt.keys():
        value = sslopt[name]
        if value is not None and not isinstance(value, str | os.PathLike):
            raise TypeError(f"sslopt[{name!r}] must be a text, not {shown(value)}")
    password = sslopt.get("password")
    if password is not None and not isinstance(password, str | bytes | bytearray) and not callable(password):
        raise TypeError(f"sslopt['password'] must be a text, bytes or a function, not {type(password).__name__}")
    if not isinstance(sslopt.get("check_hostname", True), bool):
        raise TypeError(f"sslopt['check_hostname'] must be True or False, not {shown(sslopt['check_hostname'])}")
    if "cert_reqs" in sslopt:
        try:
            ssl.VerifyMode(sslopt["cert_reqs"])
        except ValueError:
            raise ValueError(
                f"sslopt['cert_reqs'] must be one of ssl.CERT_*, not {shown(sslopt['cert_reqs'])}"
            ) from None
    if sslopt.get("certfile") is None:
        for name in ("keyfile", "password"):
            if sslopt.get(name) is not None:
                raise ValueError(f"sslopt has a {name} but no certfile")
    context = sslopt.get("context")
    if context is not None:
        if not isinstance(context, ssl.SSLContext):
            raise TypeError(f"sslopt['context'] must be an ssl.SSLContext, not {shown(context)}")
        beside = sorted(sslopt.keys() - {"context", "server_hostname"})
        if beside:
            raise ValueError(f"sslopt has a context, so it cannot have {', '.join(beside)}: set that on the context")
    if sslopt.get("ciphers") is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ciphers(sslopt["ciphers"])
        except ssl.SSLError:
            raise ValueError(f"sslopt['ciphers'] matches no available cipher: {shown(sslopt['ciphers'])}") from None


@dataclass(frozen=True, slots=True)
class Relay(Shared):
    """A relay: its normalized url, its options, and its connection's status.

    Frozen. Callbacks get one, `Relay.new` makes one, and each function of a client that takes a url takes it as well.

    >>> from gennostr import Relay
    >>> relay = Relay.new("wss://Relay.Example:443/", verify=True)
    >>> relay.url, relay.options.verify, relay.connected_at
    ('wss://relay.example/', True, None)
    """

    url: str
    """The normalized url."""
    options: Options = field(default_factory=Options)
    """How to connect to it."""
    connected_at: float | None = None
    """When the connection came up, in seconds since 1970; None before that."""
    reconnect_counter: int = 0
    """Attempts to reconnect since it was last up for a while (30 s)."""
    up_since: float | None = field(default=None, compare=False)
    """`connected_at` on the monotonic clock, which no clock change affects."""
    clock_offset: float | None = field(default=None, compare=False)
    """Seconds by which the relay's clock is ahead of this machine's, by the Date in its response to the upgrade."""
    target: str | None = field(default=None, compare=False)
    """The path and query to request, with the slashes of the url that was given; None: those of `url`."""

    retry_after: float | None = field(default=None, compare=False)
    """Seconds after which the relay wants the next attempt, by the Retry-After of its refusal; None: it did not say.

    Set for handle_error and handle_disconnect; `reconnect` honours it, up to the longest delay of the option
    ``reconnect``.
    """

    @classmethod
    def new(cls, url: str, options: Options | None = None, **more: Unpack[RelayOptions]) -> Self:
        """Return a relay with a normalized url.

        Args:
            url: a ws:// or wss:// url.
            options: `Options`; None: the defaults.
            more: options by name, which replace those of `options`; see `RelayOptions`.

        Raises:
            TypeError, ValueError: the url (`RelayUrlError`) or an option is invalid.

        >>> from gennostr import Options, Relay
        >>> Relay.new("wss://relay.example", Options(verify=True), ping_interval=60.0).options.verify
        True
        """
        if options is not None and not isinstance(options, Options):
            raise TypeError(f"options must be Options, not {shown(options)}")
        if options is None:
            options = Options.of(**more)
        elif more:
            Options.of(**more)
            options = replace(options, **more)
        normalized = normalize_url(url)
        check_onion(normalized, options)
        return cls(normalized, options, target=request_target(url))

    @staticmethod
    def normalize_url(url: str) -> str:
        """Return the normalized form of `url`; see `gennostr.nostr.normalize_url`.

        >>> from gennostr import Relay
        >>> Relay.normalize_url("WSS://relay.example:443")
        'wss://relay.example/'
        """
        return normalize_url(url)

    def __repr__(self) -> str:
        return f"<Relay {redact(self.url)}>"
