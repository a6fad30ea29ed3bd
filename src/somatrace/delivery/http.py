"""OTLP over HTTP on one kept-alive connection of the standard library.

`http.client` costs a seventh of the CPU of requests per batch; what it does not bring is here:
proxies from the environment, custom and client certificates (read again when their files change),
and a connection that is renewed now and then, so that DNS changes and load balancers work.
"""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import time
import urllib.request
import zlib
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from somatrace.config import Target
from somatrace.delivery.answer import OK, Answer

MAX_AGE: Final = 60.0
MAX_ANSWER: Final = 64 * 1024
#: zlib level 1: within a few per cent of level 9 on spans, at a quarter of its CPU time.
LEVEL: Final = 1
_NO_PATH: Final = (
    "nothing takes traces at this path; Langfuse wants /api/public/otel/v1/traces, a collector /v1/traces"
)
_WRONG: Final = {
    301: "the target redirects; configure the address it redirects to",
    302: "the target redirects; configure the address it redirects to",
    307: "the target redirects; configure the address it redirects to",
    308: "the target redirects; configure the address it redirects to",
    401: "401: the keys are not accepted; check the public and secret key, and that they belong to this host",
    403: "403: the keys lack the right to write traces",
    404: f"404: {_NO_PATH}",
    405: f"405: {_NO_PATH}",
    407: "407: the proxy wants credentials",
}


class HttpTransport:
    """Sends to one URL. Used by one thread; `interrupt` may be called from any."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._url = urlsplit(target.url)
        self._path = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        self._headers = {
            "Content-Type": "application/x-protobuf",
            "User-Agent": "somatrace",
            **target.headers,
        }
        if target.compression != "none":
            self._headers["Content-Encoding"] = target.compression
        self._connection: http.client.HTTPConnection | None = None
        self._opened = 0.0
        self._certificates: tuple[object, ...] = ()

    def send(self, body: bytes, timeout: float) -> Answer:
        """POST one request; a stale kept-alive connection is opened again once."""
        payload = self._compress(body)
        for fresh in (False, True):
            try:
                connection, reused = self._connect(timeout, fresh=fresh)
            except (OSError, ValueError, http.client.HTTPException) as error:
                self.close()
                return Answer("retry", f"{_where(self._url)}: {_why(error)}")
            try:
                self._request(connection, payload)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if reused and not fresh:
                    continue
                return Answer("retry", f"{_where(self._url)}: {_why(error)}")
            try:
                return self._answer(connection)
            except (http.client.RemoteDisconnected, ConnectionResetError) as error:
                self.close()
                if reused and not fresh:
                    continue
                return Answer("retry", f"{_where(self._url)}: {_why(error)}", ambiguous=True)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                return Answer("retry", f"{_where(self._url)}: {_why(error)}", ambiguous=True)
        raise AssertionError("unreachable")

    def interrupt(self) -> None:
        connection = self._connection
        sock = connection.sock if connection is not None else None
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # already gone, which is what was wanted

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # -- one request ----------------------------------------------------------------------------------

    def _compress(self, body: bytes) -> bytes:
        if self._target.compression == "gzip":
            packer = zlib.compressobj(LEVEL, zlib.DEFLATED, 31)
            return packer.compress(body) + packer.flush()
        return zlib.compress(body, LEVEL) if self._target.compression == "deflate" else body

    def _request(self, connection: http.client.HTTPConnection, payload: bytes) -> None:
        absolute = getattr(connection, "somatrace_absolute", False)
        connection.request(
            "POST",
            self._target.url if absolute else self._path,
            payload,
            {**self._headers, **_proxy_auth(connection)},
        )

    def _answer(self, connection: http.client.HTTPConnection) -> Answer:
        response = connection.getresponse()
        content = response.read(MAX_ANSWER)
        if not response.isclosed() or response.will_close:
            self.close()
        status = response.status
        if 200 <= status < 300:
            return OK if len(content) == 0 else _partial(content, response.headers.get("Content-Type", ""))
        if status in _WRONG:
            return Answer("wrong", f"{_where(self._url)}: {_WRONG[status]}")
        if status == 413:
            return Answer("too_large", "413: the target takes only smaller batches")
        if status in (408, 429) or status >= 500:
            return Answer(
                "retry", f"{_where(self._url)}: {status}", _retry_after(response.headers.get("Retry-After"))
            )
        return Answer("refused", f"{_where(self._url)}: {status}: the target refuses this batch")

    # -- the connection -----------------------------------------------------------------------------------

    def _connect(self, timeout: float, *, fresh: bool) -> tuple[http.client.HTTPConnection, bool]:
        certificates = self._certificate_state()
        aged = time.monotonic() - self._opened > MAX_AGE
        if self._connection is not None and (fresh or aged or certificates != self._certificates):
            self.close()
        if self._connection is not None:
            if self._connection.sock is not None:
                self._connection.sock.settimeout(timeout)
            return self._connection, True
        connection = self._open(timeout)
        self._connection, self._opened, self._certificates = connection, time.monotonic(), certificates
        connection.connect()
        if connection.sock is not None:
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, False

    def _open(self, timeout: float) -> http.client.HTTPConnection:
        host, port, secure = self._url.hostname or "", self._url.port, self._url.scheme == "https"
        proxy = _proxy(self._url)
        if proxy is None:
            if secure:
                return http.client.HTTPSConnection(host, port, timeout=timeout, context=self._context())
            return http.client.HTTPConnection(host, port, timeout=timeout)
        address, proxy_port = proxy.hostname or "", proxy.port or (443 if proxy.scheme == "https" else 80)
        if secure:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                address, proxy_port, timeout=timeout, context=self._context()
            )
            connection.set_tunnel(host, port or 443, _credentials(proxy))
            return connection
        connection = http.client.HTTPConnection(address, proxy_port, timeout=timeout)
        connection.somatrace_absolute = True  # type: ignore[attr-defined]
        connection.somatrace_proxy = _credentials(proxy)  # type: ignore[attr-defined]
        return connection

    def _context(self) -> ssl.SSLContext:
        target = self._target
        context = ssl.create_default_context(cafile=target.certificate or None)
        if target.client_certificate:
            context.load_cert_chain(target.client_certificate, target.client_key or None)
        return context

    def _certificate_state(self) -> tuple[object, ...]:
        target = self._target
        files = (target.certificate, target.client_certificate, target.client_key)
        return tuple(_mtime(name) for name in files if name)


def _mtime(name: str) -> int:
    try:
        return Path(name).stat().st_mtime_ns
    except OSError:
        return 0


def _proxy(url: SplitResult) -> SplitResult | None:
    """The proxy the environment names for this URL (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY)."""
    proxies = urllib.request.getproxies()
    found = proxies.get(url.scheme) or proxies.get("all")
    if not found or urllib.request.proxy_bypass(url.hostname or ""):
        return None
    return urlsplit(found if "//" in found else f"http://{found}")


def _credentials(proxy: SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
    return {"Proxy-Authorization": "Basic " + base64.b64encode(pair).decode()}


def _proxy_auth(connection: http.client.HTTPConnection) -> dict[str, str]:
    found: dict[str, str] = getattr(connection, "somatrace_proxy", {})
    return found


def _partial(content: bytes, content_type: str) -> Answer:
    """OTLP's partial success, from a protobuf answer. Langfuse answers a JSON job, which says nothing."""
    if "protobuf" not in content_type:
        return OK
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        partial = ExportTraceServiceResponse.FromString(content).partial_success
    except DecodeError:
        return OK
    return Answer("ok", rejected=max(0, partial.rejected_spans))


def _retry_after(value: str | None) -> float | None:
    """Seconds, from either form the header has (RFC 9110, 10.2.3)."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(min(int(value.strip()[:6]), 3600))
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _where(url: SplitResult) -> str:
    return f"{url.scheme}://{url.hostname or ''}{f':{url.port}' if url.port else ''}"


def _why(error: Exception) -> str:
    """The kind of failure, without the text a target sent: that may hold anything."""
    if isinstance(error, socket.gaierror):
        return "the host name does not resolve"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'handshake failed'}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
