"""TLS, checked by default: what is refused and how the reason says why, what sslopt changes, and what stays secret."""

import contextlib
import logging
import socket
import ssl
import struct
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from gennostr import (
    ConnectionLost,
    HandshakeError,
    Relay,
    fetch,
    get_status,
    relay_information,
    resume,
    statistics,
    suspend,
    telemetry,
    tree,
)
from gennostr.client.dial import tls_context
from gennostr.client.frames import FrameReader
from gennostr.client.options import Options, check_files
from gennostr.testing.fake_relay import FakeRelay
from gennostr.testing.relay_socket import TEXT, encode_frame
from tests.client.recorder import Recording

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


class Authority(trustme.CA):
    """An authority that a client can be set to trust."""

    def server(self, *names: str, **times: Any) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.issue_cert(*(names or ("localhost",)), **times).configure_cert(context)
        return context

    def bundle(self, directory: Path) -> str:
        path = directory / "authority.pem"
        self.cert_pem.write_to_path(str(path))
        return str(path)


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def trusting(authority: Authority, tmp_path: Path) -> dict[str, Any]:
    return {"ca_certs": authority.bundle(tmp_path)}


def refused(server: ssl.SSLContext, sslopt: dict[str, Any]) -> Exception:
    """What handle_error and then handle_disconnect get for a server."""
    options = {"websocket": {"sslopt": sslopt}}
    with FakeRelay(tls=server) as relay, Recording(urls=[relay.url], options=options, reconnect=False) as client:
        with contextlib.suppress(AssertionError):  # the handshake fails on the server's side too, sooner or later
            relay.accept_raw().start_tls()
        error = client.expect("error").value
        assert client.expect("disconnect").value is error
        assert relay.is_closed()
        client.expect_nothing(0.05)
    assert isinstance(error, Exception)
    return error


def accepted(server: ssl.SSLContext, sslopt: dict[str, Any]) -> None:
    options = {"websocket": {"sslopt": sslopt}}
    with FakeRelay(tls=server) as relay, Recording(urls=[relay.url], options=options, reconnect=False) as client:
        relay.accept()
        client.expect("connect")
        relay.notice("hello")
        assert client.expect("notice").value.message == "hello"


# Refused, and the reason says why.


def test_a_certificate_for_another_host_is_refused(authority: Authority, trusting: dict[str, Any]) -> None:
    error = refused(authority.server("other.example"), trusting)
    assert isinstance(error, ssl.SSLCertVerificationError)
    assert "Hostname mismatch" in str(error)
    assert "localhost" in str(error)


def test_a_certificate_that_has_expired_is_refused(authority: Authority, trusting: dict[str, Any]) -> None:
    error = refused(authority.server(not_before=NOW - 2 * DAY, not_after=NOW - DAY), trusting)
    assert "certificate has expired" in str(error)


def test_a_certificate_that_is_not_yet_valid_is_refused(authority: Authority, trusting: dict[str, Any]) -> None:
    error = refused(authority.server(not_before=NOW + DAY, not_after=NOW + 2 * DAY), trusting)
    assert "certificate is not yet valid" in str(error)


def test_a_certificate_that_signs_itself_is_refused(authority: Authority, tmp_path: Path) -> None:
    pair = tmp_path / "self-signed.pem"
    pair.write_bytes(authority.private_key_pem.bytes() + authority.cert_pem.bytes())
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pair)
    assert "self-signed certificate" in str(refused(server, {})).replace("self signed", "self-signed")


def test_a_certificate_of_an_unknown_authority_is_refused(trusting: dict[str, Any]) -> None:
    assert "unable to get local issuer certificate" in str(refused(Authority().server(), trusting))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_a_server_that_speaks_only_an_old_protocol_is_refused(
    authority: Authority, trusting: dict[str, Any], version: ssl.TLSVersion
) -> None:
    server = authority.server()
    server.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):
        server.minimum_version = server.maximum_version = version
    error = refused(server, trusting)
    assert isinstance(error, ssl.SSLError)
    assert "protocol" in str(error)


def test_a_server_without_a_shared_cipher_is_refused(authority: Authority, trusting: dict[str, Any]) -> None:
    server = authority.server()
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    server.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    error = refused(server, trusting | {"ciphers": "ECDHE-ECDSA-AES256-GCM-SHA384"})
    assert isinstance(error, ssl.SSLError)
    assert "handshake failure" in str(error)


def test_plain_http_on_a_wss_port_is_refused_by_its_name() -> None:
    with FakeRelay() as relay:
        url = relay.url.replace("ws://", "wss://")
        with Recording(urls=[url], reconnect=False) as client:
            peer = relay.accept_raw()
            peer.raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
            error = client.expect("error").value
            assert isinstance(error, HandshakeError)
            assert "does not speak TLS" in str(error)
            assert client.expect("disconnect").value is error
            assert peer.is_closed()


def test_tls_on_a_ws_port_is_refused_by_its_name() -> None:
    with FakeRelay() as relay, Recording(urls=[relay.url], reconnect=False) as client:
        peer = relay.accept_raw()
        peer.read_request()
        peer.raw(b"\x15\x03\x01\x00\x02\x02\x46")  # the alert of a server that finds no TLS in the request
        error = client.expect("error").value
        assert isinstance(error, HandshakeError)
        assert "speaks TLS" in str(error)
        assert client.expect("disconnect").value is error


# What sslopt changes.


def test_without_a_check_of_the_host_another_hosts_certificate_will_do(
    authority: Authority, trusting: dict[str, Any]
) -> None:
    accepted(authority.server("other.example"), trusting | {"check_hostname": False})


def test_without_a_check_of_the_host_the_authority_is_checked_still(trusting: dict[str, Any]) -> None:
    assert isinstance(refused(Authority().server(), trusting | {"check_hostname": False}), ssl.SSLCertVerificationError)


def test_the_name_asked_for_may_be_another_than_the_hosts(authority: Authority, trusting: dict[str, Any]) -> None:
    accepted(authority.server("other.example"), trusting | {"server_hostname": "other.example"})


def test_without_any_check_every_certificate_will_do(authority: Authority) -> None:
    accepted(authority.server("other.example", not_after=NOW - DAY), {"cert_reqs": ssl.CERT_NONE})


def test_a_context_is_used_as_it_is(authority: Authority) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    accepted(authority.server("other.example"), {"context": context, "server_hostname": "other.example"})


@pytest.mark.parametrize("apart", [False, True], ids=["one file", "two files"])
def test_a_server_that_wants_a_certificate_gets_ours(
    authority: Authority, trusting: dict[str, Any], tmp_path: Path, *, apart: bool
) -> None:
    ours, certificate, key = authority.issue_cert("client.example"), tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.write_bytes(b"".join(part.bytes() for part in ours.cert_chain_pems))
    key.write_bytes(ours.private_key_pem.bytes())
    if not apart:
        certificate.write_bytes(ours.private_key_and_cert_chain_pem.bytes())
    server = authority.server()
    server.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(server)
    accepted(server, trusting | {"certfile": str(certificate)} | ({"keyfile": str(key)} if apart else {}))


def test_a_server_that_wants_a_certificate_and_gets_none_is_an_error(
    authority: Authority, trusting: dict[str, Any]
) -> None:
    server = authority.server()
    server.maximum_version = ssl.TLSVersion.TLSv1_2  # in 1.3 the server says so only after the handshake
    server.verify_mode = ssl.CERT_REQUIRED
    assert "handshake failure" in str(refused(server, trusting))


@pytest.mark.parametrize(
    ("sslopt", "problem"),
    [
        ({"verify": True}, "sslopt has no option 'verify'"),
        ({"ssl_version": ssl.PROTOCOL_TLS_CLIENT}, "sslopt has no option 'ssl_version'"),
        ({"cert_reqs": 7}, "cert_reqs"),
        ({"cert_reqs": "CERT_REQUIRED"}, "cert_reqs"),
        ({"check_hostname": "no"}, "check_hostname"),
        ({"context": "default"}, "context"),
        ({"context": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "check_hostname": True}, "check_hostname"),
        ({"ciphers": "ROT13"}, "ciphers"),
        ({"ca_certs": 5}, "ca_certs"),
        ({"keyfile": "key.pem"}, "keyfile but no certfile"),
        ("verify", "sslopt must be a mapping"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value)[:40],
)
def test_an_sslopt_that_would_not_be_followed_is_an_error_in_the_caller(sslopt: Any, problem: str) -> None:
    with Recording() as client:
        with pytest.raises((TypeError, ValueError), match=problem):
            client.feed.add_relay("wss://localhost:1", websocket={"sslopt": sslopt})
        assert client.feed.list_relays() == []


@pytest.mark.parametrize(
    ("sslopt", "problem"),
    [
        ({"ca_certs": "none.pem"}, r"sslopt\['ca_certs'\] cannot be read: '.*none.pem'"),
        ({"ca_certs": "key.pem"}, r"sslopt\['ca_certs'\] holds no certificate in PEM format: '.*key.pem'"),
        ({"ca_certs": ""}, r"sslopt\['ca_certs'\] cannot be read: "),
        ({"ca_certs": "a\0b"}, r"sslopt\['ca_certs'\] cannot be read: .*null"),
        ({"ca_cert_path": "none"}, r"sslopt\['ca_cert_path'\] is not a directory: '.*none'"),
        ({"certfile": "none.pem"}, r"sslopt\['certfile'\] cannot be read: '.*none.pem'"),
        ({"certfile": "mine.pem", "keyfile": "none.pem"}, r"sslopt\['keyfile'\] cannot be read: '.*none.pem'"),
        ({"certfile": "mine.pem"}, r"sslopt\['certfile'\] holds no private key in PEM format: '.*mine.pem'"),
        ({"certfile": "empty", "keyfile": "key.pem"}, r"sslopt\['certfile'\] holds no certificate"),
        ({"certfile": "mine.pem", "keyfile": "empty"}, r"sslopt\['keyfile'\] holds no private key"),
        ({"certfile": "mine.pem", "keyfile": "key.pem", "password": "wrong"},
         r"sslopt\['keyfile'\] holds a key that sslopt\['password'\] does not decrypt: '.*key.pem'"),
        ({"certfile": "mine.pem", "keyfile": "key.pem"}, r"no password, and its private key is encrypted: '.*key.pem'"),
        ({"certfile": "mine.pem", "keyfile": "other.pem"}, r"sslopt\['keyfile'\] holds a key that does not belong to"),
    ],
    ids=range(13),
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_an_error_in_the_caller_that_names_it_and_the_option(
    sslopt: Any, problem: str, files: Path
) -> None:
    given = {name: value if name == "password" or not value else f"{files}/{value}" for name, value in sslopt.items()}
    with Recording() as client:
        with pytest.raises(ValueError, match=problem) as caught:
            client.feed.add_relay("wss://localhost:1", websocket={"sslopt": given})
        assert "wrong" not in str(caught.value)
        assert client.feed.list_relays() == []
    for run in (relay_information, lambda url, **options: list(fetch({}, [url], verify=False, **options))):
        with pytest.raises(ValueError, match=problem):
            run("wss://localhost:1", websocket={"sslopt": given})


@pytest.mark.parametrize("password", ["pw", b"pw", lambda: "pw"], ids=["text", "bytes", "function"])
def test_a_key_with_its_password_is_accepted(password: Any, files: Path) -> None:
    sslopt = {"certfile": f"{files}/mine.pem", "keyfile": f"{files}/key.pem", "password": password}
    check_files(Options(websocket={"sslopt": sslopt}))
    tls_context(sslopt)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    mine = trustme.CA().issue_cert("me@x.example")
    mine.cert_chain_pems[0].write_to_path(str(tmp_path / "mine.pem"))
    key = serialization.load_pem_private_key(mine.private_key_pem.bytes(), None)
    encryption = serialization.BestAvailableEncryption(b"pw")
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (tmp_path / "key.pem").write_bytes(key.private_bytes(pem, form, encryption))
    trustme.CA().issue_cert("me@x.example").private_key_pem.write_to_path(str(tmp_path / "other.pem"))
    (tmp_path / "empty").write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("headers", "x", TypeError),
        ("headers", 5, TypeError),
        ("headers", {"X": None}, TypeError),
        ("headers", {"X": b"y"}, TypeError),
        ("headers", {1: "y"}, TypeError),
        ("headers", {"X": "secret\r\nY: z"}, ValueError),
        ("headers", ["secret"], ValueError),
        ("headers", [("X", "y")], TypeError),
        ("host", ["a"], TypeError),
        ("host", "a\nb", ValueError),
        ("origin", b"a", TypeError),
        ("cookie", {"a": "b"}, TypeError),
        ("sockopt", "x", TypeError),
        ("sockopt", ["xyz"], TypeError),
        ("sockopt", [(1, 2)], TypeError),
        ("sockopt", [(1, 2, "x")], TypeError),
        ("subprotocols", "x", TypeError),
        ("subprotocols", [1], TypeError),
        ("subprotocols", ["a, b"], ValueError),
        ("sslopt", {"password": 5}, TypeError),
    ],
)
def test_an_option_of_the_wrong_type_is_an_error_in_the_caller_that_names_it(
    option: str, value: object, error: type[Exception]
) -> None:
    with pytest.raises(error, match=option) as caught:
        Relay.new("wss://localhost", websocket={option: value})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "proxy",
    ["proxy.example:8080", "https://user:secret@proxy", "socks4://user:secret@proxy", "http://user:secret@",
     "http://user:sec/ret@proxy:80", "http://user:secret@proxy:port", "http://user:secret@proxy:0", 5],
    ids=range(8),
)  # fmt: skip
def test_a_proxy_that_is_none_is_an_error_in_the_caller_that_shows_no_secret(proxy: object) -> None:
    with pytest.raises(ValueError, match=r"http://host:port") as caught:
        Relay.new("wss://localhost", websocket={"proxy": proxy})
    assert "sec" not in str(caught.value)
    assert caught.value.__context__ is None or "sec" not in str(caught.value.__context__)


# Never in the clear.


def test_behind_a_proxy_tls_is_done_and_checked_with_the_relay(authority: Authority, trusting: dict[str, Any]) -> None:
    with FakeRelay(tls=authority.server("relay.example")) as relay:
        options = {"websocket": {"sslopt": trusting, "proxy": f"http://user:p%40ss@localhost:{relay.port}"}}
        with Recording(urls=["wss://relay.example/path"], options=options, reconnect=False) as client:
            peer = relay.accept_raw()
            asked = peer.read_request()
            assert asked.startswith("CONNECT relay.example:443 HTTP/1.1\r\n")
            assert "Proxy-Authorization: Basic dXNlcjpwQHNz" in asked
            assert "/path" not in asked
            peer.raw(b"HTTP/1.1 200 Connection established\r\n\r\n")
            peer.start_tls()  # raises for anything in the clear
            client.expect_nothing(0.05)


def test_a_proxy_cannot_pass_for_the_relay(trusting: dict[str, Any]) -> None:
    with FakeRelay(tls=Authority().server("relay.example")) as relay:
        options = {"websocket": {"sslopt": trusting, "proxy": f"http://localhost:{relay.port}"}}
        with Recording(urls=["wss://relay.example"], options=options, reconnect=False) as client:
            peer = relay.accept_raw()
            peer.read_request()
            peer.raw(b"HTTP/1.1 200 Connection established\r\n\r\n")
            with contextlib.suppress(AssertionError):
                peer.start_tls()
            assert isinstance(client.expect("error").value, ssl.SSLCertVerificationError)


def test_a_redirect_from_wss_to_ws_is_not_followed(authority: Authority, trusting: dict[str, Any]) -> None:
    options = {"websocket": {"sslopt": trusting}}
    with FakeRelay(tls=authority.server()) as relay, FakeRelay() as plain:
        with Recording(urls=[relay.url], options=options, reconnect=False) as client:
            peer = relay.accept_raw()
            peer.start_tls()
            peer.read_request()
            peer.raw(f"HTTP/1.1 301 Moved\r\nLocation: {plain.url}\r\n\r\n".encode())
            assert client.expect("error").value.status == 301
            client.expect("disconnect")
        with pytest.raises(AssertionError, match="nobody connected"):
            plain.accept_raw(timeout=0.05)


# How it ends.


@pytest.fixture
def connected(authority: Authority, trusting: dict[str, Any]) -> Iterator[tuple[FakeRelay, Recording]]:
    options = {"websocket": {"sslopt": trusting}}
    with (
        FakeRelay(tls=authority.server()) as relay,
        Recording(urls=[relay.url], options=options, reconnect=False) as client,
    ):
        relay.accept()
        client.expect("connect")
        client.feed.send_message(["CLOSE", "x"], relay.url)
        relay.expect_close()  # the connection is past its first read
        yield relay, client


def sole_end(client: Recording) -> Any:
    error = client.expect("error").value
    assert client.expect("disconnect").value is error
    client.expect_nothing(0.05)
    return error


def test_an_end_without_close_notify_is_reported_once(connected: tuple[FakeRelay, Recording]) -> None:
    relay, client = connected
    relay.notice("before")
    client.expect("notice")
    relay.disconnect()
    assert isinstance(sole_end(client), ConnectionLost | ssl.SSLError)


def test_an_end_in_the_middle_of_a_record_is_reported_once_and_the_half_is_not(
    connected: tuple[FakeRelay, Recording],
) -> None:
    relay, client = connected
    sock = relay.connections[-1]._wire.sock
    # In the clear, under TLS: the head of a record, and half of what it announces.
    socket.socket.sendall(sock, b"\x17\x03\x03" + struct.pack(">H", 400) + b"x" * 200)
    relay.half_close()
    assert isinstance(sole_end(client), ConnectionLost | ssl.SSLError)


def test_a_record_that_was_tampered_with_is_reported_once(connected: tuple[FakeRelay, Recording]) -> None:
    relay, client = connected
    sock = relay.connections[-1]._wire.sock
    socket.socket.sendall(sock, b"\x17\x03\x03" + struct.pack(">H", 400) + b"x" * 400)
    assert "mac" in str(sole_end(client)).lower()


@pytest.mark.parametrize("close_notify", [True, False], ids=["close_notify", "tampered record"])
def test_the_end_that_comes_in_the_same_read_as_a_message_is_reported_behind_it(
    connected: tuple[FakeRelay, Recording], *, close_notify: bool
) -> None:
    relay, client = connected
    sock = relay.connections[-1]._wire.sock
    (pid,) = [process.pid for _, process, _ in client.feed.connections.connections()]
    suspend(pid)
    relay.notice("before")
    if close_notify:
        with contextlib.suppress(ssl.SSLError):
            sock._sslobj.shutdown()  # type: ignore[attr-defined]
    else:
        socket.socket.sendall(sock, b"\x17\x03\x03" + struct.pack(">H", 400) + b"x" * 400)
    resume(pid)
    assert client.expect("notice").value.message == "before"
    assert isinstance(sole_end(client), ConnectionLost | ssl.SSLError)


def test_what_comes_after_close_notify_is_not_delivered(connected: tuple[FakeRelay, Recording]) -> None:
    relay, client = connected
    sock = relay.connections[-1]._wire.sock
    assert isinstance(sock, ssl.SSLSocket)
    with contextlib.suppress(ssl.SSLError):
        sock._sslobj.shutdown()  # type: ignore[attr-defined]  # our close_notify, without waiting for theirs
    with contextlib.suppress(OSError):
        socket.socket.sendall(sock, encode_frame(TEXT, b'["NOTICE","late"]'))
    assert isinstance(sole_end(client), ConnectionLost)


# Secrets.


def test_no_secret_is_shown_by_whatever_shows_a_relay(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []

    def note(*event: object) -> None:
        shown.append(f"{event!r} {event}")

    def crash(*_: object) -> None:
        raise RuntimeError("a crash")

    telemetry.attach(note)
    certificate = tmp_path / "mine.pem"
    trustme.CA().issue_cert("me@x.example").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    with FakeRelay() as relay, Recording(options={}) as client:
        url = relay.url.replace("//", "//user:secret@")
        websocket = {
            "proxy": f"http://user:secret@localhost:{relay.port}",
            "headers": {"X-Token": "secret"},
            "cookie": "token=secret",
            "sslopt": {"certfile": str(certificate), "password": "secret"},
        }
        pid = client.feed.add_relay(url, websocket=websocket, reconnect=[60.0])
        peer = relay.accept_raw()
        peer.read_request()
        peer.raw(b"HTTP/1.1 200 OK\r\n\r\n")
        peer._wire.request = ""
        assert "Basic dXNlcjpzZWNyZXQ=" in peer.read_request()
        peer.upgrade()
        told = client.expect("connect")
        shown += [repr(pid), str(pid), str(tree(client.feed)), repr(get_status(pid)), repr(statistics(pid))]
        shown += [repr(told), repr(told.relay.options), repr(Options(websocket=websocket)), repr(pid.process)]
        monkeypatch.setattr(FrameReader, "receive", crash)
        with pytest.raises(ValueError, match=r"must begin with wss://"):
            client.feed.add_relay("wsss://user:secret@host")
        peer.notice("now it crashes")
        error = client.expect("error")
        shown += [repr(error), str(error.value), str(client.expect("disconnect"))]
        client.feed.call("the end")
    telemetry.detach(note)
    assert any("connection.down" in each for each in shown)
    reports = [vars(record) for record in caplog.records]
    assert any("crash_report" in report for report in reports)
    everything = f"{shown} {caplog.text} {reports}"
    assert "secret" not in everything
    assert "c2VjcmV0" not in everything
    assert "dXNlcjpzZWNyZXQ" not in everything
