"""HTTP connection with proxies, certificates and an overall deadline.

`http.client` uses a seventh of the CPU time of requests per batch. This module adds the missing parts:
proxies from the environment, custom and client certificates, and a deadline that also covers hosts with
many addresses, silent TLS handshakes, and answers that arrive byte by byte.
"""

from __future__ import annotations

import base64
import http.client
import io
import ipaddress
import re
import socket
import ssl
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from somatrace.config import Target
from somatrace.delivery.send_result import Fault
from somatrace.delivery.status_rules import http_rule
from somatrace.runtime.clock import clock


class UnusableError(ValueError):
    """A setting or file cannot be used. The message names it and contains no secret."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault: Fault = fault


class Connection(http.client.HTTPConnection):
    """A connection whose every operation ends at `until` (monotonic seconds)."""

    until: float = 0.0
    #: Whether the request line needs the full URL, and extra headers, because a proxy reads them.
    absolute: bool = False
    proxy_headers: dict[str, str]
    _tunnel_host: str | None
    _tunnel: Any

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        super().__init__(host, port)
        self.proxy_headers = {}
        self._tls = tls
        self._interrupted = False

    def response_class(self, sock: socket.socket, *args: Any, **kwargs: Any) -> http.client.HTTPResponse:  # type: ignore[override]
        """Return http.client's response class, reading within the deadline."""
        return http.client.HTTPResponse(_ReadableSocket(sock, self), *args, **kwargs)  # type: ignore[arg-type]

    def remaining(self) -> float:
        """Return the seconds left; raise TimeoutError if the deadline has passed."""
        left = self.until - clock.monotonic()
        if left <= 0 or self._interrupted:
            raise TimeoutError
        return left

    def connect(self) -> None:
        self._dial()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tunnel_host:
            try:
                self._tunnel()
            except OSError as error:
                raise _tunnel_error(error) from error
        if self._tls is not None:
            name = self._tunnel_host or self.host
            self.sock.settimeout(self.remaining())
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=name, do_handshake_on_connect=False)
            self.sock.do_handshake()

    def _dial(self) -> None:
        """Connect to the first address that answers, sharing the time left among the remaining addresses."""
        addresses = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        for left, (family, kind, protocol, _, address) in zip(
            range(len(addresses), 0, -1), addresses, strict=True
        ):
            self.sock = socket.socket(family, kind, protocol)
            try:
                self.sock.settimeout(self.remaining() / left)
                self.sock.connect(address)
            except OSError:
                self.sock.close()
                if left == 1 or self._interrupted:
                    raise
            else:
                return

    def send(self, data: Any) -> None:
        view = memoryview(data)
        while view:
            self.sock.settimeout(self.remaining())
            view = view[self.sock.send(view) :]

    def dropped(self) -> bool:
        """Whether the server closed the idle connection (or sent unsolicited data)."""
        sock = self.sock
        if sock is None:
            return True
        try:
            sock.settimeout(0)
            socket.socket.recv(sock, 1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            return True
        return True

    @property
    def is_interrupted(self) -> bool:
        return self._interrupted

    def interrupt(self) -> None:
        """Make an operation blocked in another thread raise soon (except a name lookup)."""
        self._interrupted = True
        sock = self.sock
        if sock is not None:
            try:
                socket.socket.shutdown(
                    sock, socket.SHUT_RDWR
                )  # not SSLSocket.shutdown, which changes its state
            except OSError:
                pass  # already closed


class _ReadableSocket:
    """Socket replacement that HTTPResponse reads from."""

    def __init__(self, sock: socket.socket, connection: Connection) -> None:
        self._sock = sock
        self._connection = connection

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(_DeadlineReader(self._sock, self._connection))


class _DeadlineReader(io.RawIOBase):
    """Raw reader whose every read is limited to the time left.

    What has arrived by the deadline is still read, once: a process that was frozen, as those of AWS Lambda
    are, would send a batch again although its answer is there.
    """

    def __init__(self, sock: socket.socket, connection: Connection) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._connection = connection
        self._is_late = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        try:
            self._sock.settimeout(self._connection.remaining())
        except TimeoutError:
            return self._read_late(buffer)
        return self._raw.readinto(buffer)

    def _read_late(self, buffer: Any) -> int:
        if self._is_late or self._connection.is_interrupted:
            raise TimeoutError
        self._is_late = True
        self._sock.settimeout(0)
        try:
            count = self._raw.readinto(buffer)
        except ssl.SSLWantReadError:
            count = None
        if count is None:
            raise TimeoutError
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


def connection_to(url: SplitResult, tls: ssl.SSLContext | None) -> Connection:
    """Create an unopened connection to `url` or to the proxy configured for it in the environment."""
    host, port = url.hostname or "", url.port or (443 if tls else 80)
    proxy = _proxy(url)
    if proxy is None:
        return Connection(host, port, tls)
    if proxy.scheme != "http":
        raise UnusableError("refused", f"proxies must use http://, not {proxy.scheme}://: change HTTPS_PROXY")
    connection = Connection(proxy.hostname or "", proxy.port or 80, tls)
    if tls is not None:
        connection.set_tunnel(host, port, _credentials(proxy))
    else:
        connection.absolute = True
        connection.proxy_headers = _credentials(proxy)
    return connection


def tls_context(target: Target) -> ssl.SSLContext:
    """Create a TLS context from the target's CA (or the system's CAs) and client certificate."""
    try:
        context = ssl.create_default_context(cafile=target.certificate or None)
    except (OSError, ssl.SSLError) as error:
        raise UnusableError("tls", "the CA certificate cannot be read: check the file") from error
    if target.client_certificate:
        try:
            # without a password argument, OpenSSL would prompt for one on the terminal
            context.load_cert_chain(target.client_certificate, target.client_key or None, password="")
        except (OSError, ssl.SSLError) as error:
            raise UnusableError(
                "tls", "the client certificate or its key cannot be read: check the files"
            ) from error
    return context


def certificate_state(target: Target) -> tuple[int, ...]:
    """Modification times of the target's certificate files, to detect replacement."""
    files = (target.certificate, target.client_certificate, target.client_key)
    return tuple(_mtime(name) for name in files if name)


def _mtime(name: str) -> int:
    try:
        return Path(name).stat().st_mtime_ns
    except OSError:
        return 0


def _tunnel_error(error: OSError) -> Exception:
    """Replace http.client's error, whose message contains text from the proxy."""
    status = re.match(r"Tunnel connection failed: (\d{3})", str(error))
    if status is None:
        return error
    if status[1] == "407":
        return UnusableError("auth", http_rule(407).text(407))
    return ConnectionError(0, f"the proxy refused a tunnel: {status[1]}")


def _proxy(url: SplitResult) -> SplitResult | None:
    """Return the proxy from HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, unless NO_PROXY exempts the host.

    NO_PROXY may contain networks (10.0.0.0/8). Requests to this machine never use a proxy.
    """
    proxies = urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    host = url.hostname or ""
    if not proxy or host == "localhost" or urllib.request.proxy_bypass(host):
        return None
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        if address.is_loopback or any(address in net for net in _networks(proxies.get("no", ""))):
            return None
    return urlsplit(proxy if "//" in proxy else f"http://{proxy}")


def _networks(no_proxy: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    networks = []
    for entry in no_proxy.split(","):
        try:
            networks.append(ipaddress.ip_network(entry.strip(), strict=False))
        except ValueError:
            continue
    return networks


def _credentials(proxy: SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
    return {"Proxy-Authorization": "Basic " + base64.b64encode(pair).decode()}
