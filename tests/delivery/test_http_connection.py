"""Certificates and proxies, with real handshakes and a real proxy."""

from __future__ import annotations

import base64
import fcntl
import os
import socket
import ssl
import termios
import threading
import time
from array import array
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
import trustme

from somatrace.delivery.http_connection import connection_to
from tests.delivery.support import OK, batch, http, raw_server, read_request, target
from tests.support.waiting import HANG


@pytest.fixture(autouse=True)
def _no_proxies_around(monkeypatch):
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def ca_file(authority, tmp_path):
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


@contextmanager
def tls_server(authority: trustme.CA, *names: str, clients: trustme.CA | None = None):
    """Answer 200 over TLS; yield the port and the names of clients that connected."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*(names or ("127.0.0.1",))).configure_cert(context)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        clients.configure_trust(context)
    came: list[str] = []

    def script(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            certificate = secure.getpeercert()
            while True:
                read_request(secure)
                came.append(str((certificate or {}).get("subjectAltName", "")))
                secure.sendall(OK)

    with raw_server(script) as port:
        yield port, came


def url(port: int, host: str = "127.0.0.1") -> str:
    return f"https://{host}:{port}/v1/traces"


def test_a_custom_authority_is_trusted(authority, ca_file):
    with tls_server(authority) as (port, came):
        transport = http(target(url(port), certificate=str(ca_file)))
        answers = [transport.send(batch("a"), 5).outcome for _ in range(3)]

    assert answers == ["accepted"] * 3
    assert len(came) == 3


def test_an_unknown_authority_is_refused_and_reported(authority):
    with tls_server(authority) as (port, came):
        answer = http(target(url(port))).send(batch("a"), 5)

    assert answer.outcome == "misconfigured"
    assert "TLS" in answer.message
    assert came == []


def test_a_certificate_for_another_host_is_refused(authority, ca_file):
    with tls_server(authority, "elsewhere.example") as (port, came):
        answer = http(target(url(port), certificate=str(ca_file))).send(batch("a"), 5)

    assert "TLS" in answer.message
    assert came == []


def test_plain_http_where_tls_is_expected_is_reported(ca_file):
    with raw_server(lambda connection: connection.sendall(b"HTTP/1.0 400 Bad\r\n\r\n")) as port:
        answer = http(target(url(port), certificate=str(ca_file))).send(batch("a"), 5)

    assert answer.outcome == "retry"
    assert not answer.ambiguous


def test_a_client_certificate_is_presented(authority, ca_file, tmp_path):
    certificate, key = tmp_path / "client.pem", tmp_path / "client.key"
    issued = authority.issue_cert("client-one.example")
    issued.private_key_pem.write_to_path(key)
    issued.cert_chain_pems[0].write_to_path(certificate)
    with tls_server(authority, clients=authority) as (port, came):
        place = target(
            url(port), certificate=str(ca_file), client_certificate=str(certificate), client_key=str(key)
        )
        answer = http(place).send(batch("a"), 5)

    assert answer.outcome == "accepted"
    assert "client-one.example" in came[0]


def test_replaced_certificates_are_reread(authority, ca_file, tmp_path):
    certificate, key = tmp_path / "client.pem", tmp_path / "client.key"

    def issue(name: str) -> None:
        issued = authority.issue_cert(name)
        issued.private_key_pem.write_to_path(key)
        issued.cert_chain_pems[0].write_to_path(certificate)

    issue("first.example")
    with tls_server(authority, clients=authority) as (port, came):
        place = target(
            url(port), certificate=str(ca_file), client_certificate=str(certificate), client_key=str(key)
        )
        transport = http(place)
        transport.send(batch("a"), 5)
        issue("second.example")
        os.utime(certificate, ns=(1, 1))

        transport.send(batch("b"), 5)

    assert ["first" in came[0], "second" in came[1]] == [True, True]


@pytest.mark.parametrize("which", ["certificate", "client_certificate"])
@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_an_unusable_certificate_file_is_reported(authority, ca_file, tmp_path, which, content):
    broken = tmp_path / "broken.pem"
    if content is not None:
        broken.write_text(content)
    files = {"certificate": str(ca_file), which: str(broken)}
    with tls_server(authority) as (port, _):
        answer = http(target(url(port), **files)).send(batch("a"), 5)

    assert answer.outcome == "misconfigured"
    assert "check the file" in answer.message


def test_an_encrypted_key_does_not_prompt_for_a_password(authority, ca_file, tmp_path):
    from cryptography.hazmat.primitives import serialization

    issued = authority.issue_cert("client.example")
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    certificate, locked = tmp_path / "client.pem", tmp_path / "client.key"
    issued.cert_chain_pems[0].write_to_path(certificate)
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        )
    )
    place = target(
        "https://127.0.0.1:9/",
        certificate=str(ca_file),
        client_certificate=str(certificate),
        client_key=str(locked),
    )

    answer = http(place).send(batch("a"), 5)

    assert answer.outcome == "misconfigured"


class Proxy:
    """An HTTP and CONNECT proxy that forwards every host to one local port."""

    def __init__(self, wanted: str = "", status: int = 200) -> None:
        self.heads: list[str] = []
        self.to = 0
        self._wanted = wanted
        self._status = status

    def __call__(self, connection: socket.socket) -> None:
        head, body = read_request(connection)
        text = head.decode("latin-1")
        self.heads.append(text)
        if self._wanted and f"Proxy-Authorization: Basic {self._wanted}" not in text:
            connection.sendall(b"HTTP/1.1 407 canary words\r\nContent-Length: 0\r\n\r\n")
            return
        if self._status != 200:
            connection.sendall(f"HTTP/1.1 {self._status} canary\r\nContent-Length: 0\r\n\r\n".encode())
            return
        with socket.create_connection(("127.0.0.1", self.to)) as upstream:
            if text.startswith("CONNECT"):
                connection.sendall(b"HTTP/1.1 200 go on\r\n\r\n")
            else:
                upstream.sendall(head + b"\r\n\r\n" + body)
            there = threading.Thread(target=_pump, args=(connection, upstream), daemon=True)
            there.start()
            _pump(upstream, connection)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def basic(pair: str) -> str:
    return base64.b64encode(pair.encode()).decode()


def test_plain_http_goes_through_the_proxy_with_its_credentials(monkeypatch):
    heads = []

    def script(connection: socket.socket) -> None:
        while True:
            heads.append(read_request(connection)[0])
            connection.sendall(OK)

    proxy = Proxy(wanted=basic("user:p@ss"))
    with raw_server(script) as port, raw_server(proxy) as proxy_port:
        proxy.to = port
        monkeypatch.setenv("HTTP_PROXY", f"http://user:p%40ss@127.0.0.1:{proxy_port}")
        transport = http(target("http://collector.invalid:4318/v1/traces"))
        answers = [transport.send(batch("a"), 5).outcome for _ in range(2)]

    assert answers == ["accepted", "accepted"]
    assert proxy.heads[0].startswith("POST http://collector.invalid:4318/v1/traces HTTP/1.1")
    assert "Host: collector.invalid:4318" in proxy.heads[0]


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_https_uses_a_tunnel_that_sees_no_key(authority, ca_file, monkeypatch, variable):
    proxy = Proxy(wanted=basic("user:secret"))
    with tls_server(authority, "collector.invalid") as (port, came), raw_server(proxy) as proxy_port:
        proxy.to = port
        monkeypatch.setenv(variable, f"http://user:secret@127.0.0.1:{proxy_port}")
        place = target(
            "https://collector.invalid/v1/traces",
            certificate=str(ca_file),
            headers={"Authorization": "canary-key"},
        )
        answer = http(place).send(batch("a"), 5)

    assert answer.outcome == "accepted"
    assert len(came) == 1
    assert proxy.heads[0].startswith("CONNECT collector.invalid:443 ")
    assert "canary-key" not in proxy.heads[0]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_wrong_proxy_credentials_are_reported(monkeypatch, scheme):
    proxy = Proxy(wanted=basic("user:right"))
    with raw_server(proxy) as proxy_port:
        monkeypatch.setenv(f"{scheme}_proxy", f"http://user:canary@127.0.0.1:{proxy_port}")
        answer = http(target(f"{scheme}://collector.invalid/")).send(batch("a"), 5)

    assert answer.outcome == "misconfigured"
    assert "407" in answer.message
    assert "canary" not in answer.message


def test_a_refused_tunnel_is_retried(monkeypatch):
    with raw_server(Proxy(status=502)) as proxy_port:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy_port}")
        answer = http(target("https://collector.invalid/")).send(batch("a"), 5)

    assert (answer.outcome, answer.ambiguous) == ("retry", False)
    assert "502" in answer.message
    assert "canary" not in answer.message


def test_a_proxy_over_tls_is_reported_as_unusable(monkeypatch):
    monkeypatch.setenv("https_proxy", "https://user:canary@127.0.0.1:9")

    answer = http(target("https://collector.invalid/")).send(batch("a"), 5)

    assert answer.outcome == "misconfigured"
    assert "canary" not in answer.message


@pytest.mark.parametrize(
    ("host", "no_proxy"),
    [
        ("collector.invalid", "collector.invalid"),
        ("collector.invalid", "other,.invalid"),
        ("collector.invalid", "*"),
        ("10.255.255.1", "10.0.0.0/8"),
        ("127.0.0.1", ""),
        ("localhost", ""),
        ("[::1]", ""),
    ],
)
def test_no_proxy_hosts_and_this_machine_are_reached_directly(monkeypatch, host, no_proxy):
    proxy = Proxy()
    with raw_server(proxy) as proxy_port, socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy_port}")
        monkeypatch.setenv("NO_PROXY", no_proxy)
        http(target(f"http://{host}:{reserved.getsockname()[1]}/")).send(batch("a"), 0.3)

    assert proxy.heads == []


def until_received(connection: socket.socket) -> None:
    """Wait until the peer's kernel has everything: Nagle's algorithm holds back what follows tickets."""
    unsent = array("i", [1])
    while unsent[0]:
        fcntl.ioctl(connection, termios.TIOCOUTQ, unsent)
        time.sleep(0.001)


@contextmanager
def asked(authority: trustme.CA, answer: bytes, *, secure: bool):
    """A connection whose request was answered so far, after which its deadline has passed."""
    theirs, ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(theirs)
    authority.configure_trust(ours)
    answered, done = threading.Event(), threading.Event()

    def script(connection: socket.socket) -> None:
        with theirs.wrap_socket(connection, server_side=True) if secure else connection as plain:
            read_request(plain)
            plain.sendall(answer)
            until_received(plain)
            answered.set()
            done.wait(HANG)

    with raw_server(script) as port:
        address = f"{'https' if secure else 'http'}://127.0.0.1:{port}"
        connection = connection_to(urlsplit(address), ours if secure else None)
        connection.until = time.monotonic() + HANG
        try:
            connection.connect()
            connection.request("POST", "/v1/traces", b"spans")
            assert answered.wait(HANG)
            connection.until = 0.0
            yield connection
        finally:
            connection.close()
            done.set()


@pytest.mark.parametrize("secure", [False, True])
def test_an_answer_that_is_there_by_the_deadline_is_read_after_it(authority, secure):
    with asked(authority, OK, secure=secure) as connection:
        assert connection.getresponse().status == 200


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("part", [b"", OK[:20]], ids=["nothing", "a part"])
def test_an_answer_that_is_not_there_by_the_deadline_is_late(authority, part, secure):
    with asked(authority, part, secure=secure) as connection, pytest.raises(TimeoutError):
        connection.getresponse()
