"""One connection to a URL: proxies, certificates, and a bound on all of it.

`http.client` costs a seventh of the CPU of requests per batch; what it does not bring is here:
proxies from the environment, custom and client certificates, and a deadline that also holds for a
host with many addresses, a silent TLS handshake, and an answer that drips in byte by byte.
"""

from __future__ import annotations

import base64
import http.client
import io
import ipaddress
import re
import socket
import ssl
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from somatrace.config import Target
from somatrace.delivery.status_rules import Fault, http_rule


class UnusableError(ValueError):
    """A setting or file cannot be used. The message names it and contains no secret."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault: Fault = fault


class Connection(http.client.HTTPConnection):
    """A connection whose every operation ends at `until` (monotonic seconds)."""

    until: float = 0.0
    #: What the request line and headers need when a proxy reads them.
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
        """http.client's own, reading within the deadline."""
        return http.client.HTTPResponse(_Readable(sock, self), *args, **kwargs)  # type: ignore[arg-type]

    def remaining(self) -> float:
        """Seconds left; raises TimeoutError when none are."""
        left = self.until - time.monotonic()
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
                raise _tunnel_refused(error) from error
        if self._tls is not None:
            name = self._tunnel_host or self.host
            self.sock.settimeout(self.remaining())
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=name, do_handshake_on_connect=False)
            self.sock.do_handshake()

    def _dial(self) -> None:
        """Connect to the first address that answers; the time is shared among those that are left."""
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        for left, (family, kind, protocol, _, address) in zip(range(len(found), 0, -1), found, strict=True):
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
        """The other side has closed an idle connection (or said something nobody asked for)."""
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

    def interrupt(self) -> None:
        """Make whatever blocks here in another thread raise soon (a name lookup cannot be)."""
        self._interrupted = True
        sock = self.sock
        if sock is not None:
            try:
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # not SSLSocket's, which changes its state
            except OSError:
                pass  # already gone, which is what was wanted


class _Readable:
    """What HTTPResponse reads from in place of a socket."""

    def __init__(self, sock: socket.socket, connection: Connection) -> None:
        self._sock = sock
        self._connection = connection

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(_Timed(self._sock, self._connection))


class _Timed(io.RawIOBase):
    """Reads from a socket, each time within what is left."""

    def __init__(self, sock: socket.socket, connection: Connection) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._connection.remaining())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def connection_to(url: SplitResult, tls: ssl.SSLContext | None) -> Connection:
    """A connection, not yet open, to `url` or to the proxy the environment names for it."""
    host, port = url.hostname or "", url.port or (443 if tls else 80)
    proxy = _proxy(url)
    if proxy is None:
        return Connection(host, port, tls)
    if proxy.scheme != "http":
        raise UnusableError(
            "refused", f"a proxy is reached over http://, not {proxy.scheme}://: change HTTPS_PROXY"
        )
    connection = Connection(proxy.hostname or "", proxy.port or 80, tls)
    if tls is not None:
        connection.set_tunnel(host, port, _credentials(proxy))
    else:
        connection.absolute = True
        connection.proxy_headers = _credentials(proxy)
    return connection


def tls_context(target: Target) -> ssl.SSLContext:
    """The target's certificate authority and client certificate, or the system's authorities."""
    try:
        context = ssl.create_default_context(cafile=target.certificate or None)
    except (OSError, ssl.SSLError) as error:
        raise UnusableError("tls", "the CA certificate cannot be read: check the file") from error
    if target.client_certificate:
        try:
            # without a password of our own, OpenSSL would ask for one on the program's terminal
            context.load_cert_chain(target.client_certificate, target.client_key or None, password="")
        except (OSError, ssl.SSLError) as error:
            raise UnusableError(
                "tls", "the client certificate or its key cannot be read: check the files"
            ) from error
    return context


def certificate_state(target: Target) -> tuple[int, ...]:
    """Changes when one of the target's certificate files is replaced."""
    files = (target.certificate, target.client_certificate, target.client_key)
    return tuple(_mtime(name) for name in files if name)


def _mtime(name: str) -> int:
    try:
        return Path(name).stat().st_mtime_ns
    except OSError:
        return 0


def _tunnel_refused(error: OSError) -> Exception:
    """http.client says it in a text that ends in words of the proxy."""
    status = re.match(r"Tunnel connection failed: (\d{3})", str(error))
    if status is None:
        return error
    if status[1] == "407":
        return UnusableError("auth", http_rule(407).text(407))
    return ConnectionError(0, f"the proxy refused a tunnel: {status[1]}")


def _proxy(url: SplitResult) -> SplitResult | None:
    """The proxy the environment names (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY), unless NO_PROXY exempts
    the host; NO_PROXY may hold networks (10.0.0.0/8). What is on this machine never leaves it."""
    proxies = urllib.request.getproxies()
    found = proxies.get(url.scheme) or proxies.get("all")
    host = url.hostname or ""
    if not found or host == "localhost" or urllib.request.proxy_bypass(host):
        return None
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        if address.is_loopback or any(address in net for net in _networks(proxies.get("no", ""))):
            return None
    return urlsplit(found if "//" in found else f"http://{found}")


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
