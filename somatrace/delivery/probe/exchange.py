"""One HTTP request over the same kind of connection that delivers spans: proxies, certificates, limits."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from somatrace.config import Target
from somatrace.delivery.http_connection import Connection, UnusableError, connection_to, tls_context
from somatrace.delivery.send_result import Fault
from somatrace.runtime.clock import clock

MAX_BODY: Final = 16 * 1024 * 1024


class Failure(Exception):  # noqa: N818 - an outcome that is reported
    """No usable answer. The message contains no secret and no text from the server."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault: Fault = fault


@dataclass(frozen=True)
class Exchange:
    """An answer with its status, headers, and body (truncated at 16 MB)."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


def exchange(
    target: Target,
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout: float = 10.0,
) -> Exchange:
    """Send one request to `url` with the certificates of `target`; raise `Failure` if there is no answer.

    `timeout` (seconds) covers everything except the name lookup.
    """
    parts = urlsplit(url)
    connection = connect(target, parts, timeout)
    try:
        where = (
            url if connection.absolute else (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        )
        return _request(connection, method, where, {**(headers or {}), **connection.proxy_headers}, body)
    finally:
        connection.close()


def connect(target: Target, url: SplitResult, timeout: float) -> Connection:
    """Open a connection to `url`, including TLS; raise `Failure` if that fails."""
    try:
        tls = tls_context(target) if url.scheme == "https" else None
        connection = connection_to(url, tls)
    except UnusableError as error:
        raise Failure(error.fault, str(error)) from None
    connection.until = clock.monotonic() + timeout
    where = f"{connection.host}:{connection.port}"
    try:
        connection.connect()
    except BaseException as error:
        connection.close()
        raise _connection_failure(error, where, timeout) if isinstance(error, Exception) else error from None
    return connection


def _connection_failure(error: Exception, where: str, timeout: float) -> Exception:
    """Convert a connection error to a `Failure`; return unexpected exceptions unchanged."""
    if isinstance(error, UnusableError):
        return Failure(error.fault, str(error))
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return Failure("dns", f"the name of {where} does not resolve")
    if isinstance(error, ssl.SSLCertVerificationError):
        return Failure("tls", f"the certificate of {where} is not accepted: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return Failure("tls", f"no TLS with {where}: {_ssl_reason(error)}")
    if isinstance(error, TimeoutError):
        return Failure("refused", f"no connection to {where} within {timeout:.3g} s")
    if isinstance(error, OSError):
        return Failure("refused", f"no connection to {where}: {error.strerror or type(error).__name__}")
    return error


def _ssl_reason(error: ssl.SSLError) -> str:
    if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return "the server there does not speak TLS"
    return (error.reason or "the handshake failed").lower().replace("_", " ")


def _request(
    connection: Connection, method: str, where: str, headers: Mapping[str, str], body: bytes | None
) -> Exchange:
    host = f"{connection.host}:{connection.port}"
    try:
        connection.request(method, where, body, dict(headers))
        response = connection.getresponse()
        return Exchange(response.status, response.headers, response.read(MAX_BODY))
    except TimeoutError:
        raise Failure("server", f"{host} accepted the request but did not answer in time") from None
    except http.client.RemoteDisconnected:
        raise Failure("server", f"{host} closed the connection without an answer") from None
    except http.client.HTTPException:
        raise Failure("server", f"the answer of {host} is not HTTP") from None
    except OSError as error:
        raise Failure("server", f"{host}: {error.strerror or type(error).__name__}") from None
    except ValueError:  # the text of the exception contains the header value
        raise Failure("auth", "a header contains characters that HTTP does not allow") from None
