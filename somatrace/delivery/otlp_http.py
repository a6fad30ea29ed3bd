"""OTLP over HTTP on one keep-alive connection.

The connection is renewed regularly, so that DNS changes and load balancers work, and when certificate
files are replaced.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import SplitResult, urlsplit

from somatrace.config import Target
from somatrace.delivery.answer_text import answer_text, names_spans
from somatrace.delivery.compression import compressed
from somatrace.delivery.http_connection import (
    Connection,
    UnusableError,
    certificate_state,
    connection_to,
    tls_context,
)
from somatrace.delivery.send_result import ACCEPTED, Fault, SendResult, accepted
from somatrace.delivery.status_rules import http_rule
from somatrace.runtime.clock import clock

MAX_AGE: Final = 60.0
MAX_ANSWER: Final = 64 * 1024


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
        self._connection: Connection | None = None
        self._opened = 0.0
        self._certificates: tuple[int, ...] = ()
        self._tls: ssl.SSLContext | None = None

    def send(self, body: bytes, timeout: float) -> SendResult:
        """POST one request. `timeout` (seconds) covers everything except the name lookup.

        A batch is never sent twice here: the outbox decides on retries and counts possible duplicates.
        """
        until = clock.monotonic() + timeout
        payload = compressed(body, self._target.compression)
        sent = False
        try:
            connection = self._connect(until)
            sent = self._request(connection, payload)
            return self._read_result(connection, body, sent=sent)
        except UnusableError as error:
            self.close()
            return self._misconfigured(str(error), error.fault)
        except ssl.SSLCertVerificationError as error:
            self.close()
            return self._misconfigured(f"TLS: {error.verify_message}", "tls")
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return SendResult("retry", f"{_origin(self._url)}: {_failure(error)}", ambiguous=sent)
        except ValueError:  # the text of the exception contains the header value
            self.close()
            return self._misconfigured("a header contains characters that HTTP does not allow")

    def interrupt(self) -> None:
        connection = self._connection
        if connection is not None:
            connection.interrupt()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # -- one request ----------------------------------------------------------------------------------

    def _request(self, connection: Connection, payload: bytes) -> bool:
        """Return whether all was sent: a target may answer early and disconnect if a batch is too large."""
        where = self._target.url if connection.absolute else self._path
        try:
            connection.request("POST", where, payload, {**self._headers, **connection.proxy_headers})
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def _read_result(self, connection: Connection, body: bytes, *, sent: bool) -> SendResult:
        response = connection.getresponse()
        status = response.status
        content = self._read_body(response)
        if not sent:
            self.close()
        rule = http_rule(status)
        if rule.outcome == "accepted":
            # Langfuse answers with a JSON job, which reports no rejected spans
            protobuf = "protobuf" in response.headers.get("Content-Type", "")
            return accepted(content) if protobuf else ACCEPTED
        message = f"{_origin(self._url)}: {rule.text(status)}"
        wait = retry_after(response.headers.get("Retry-After")) if rule.outcome == "retry" else None
        return SendResult(
            rule.outcome,
            message,
            wait,
            choked=rule.choked,
            fault=rule.fault,
            status=str(status),
            answer=answer_text(content),
            names_spans=rule.outcome == "rejected" and names_spans(content, body),
        )

    def _read_body(self, response: http.client.HTTPResponse) -> bytes:
        """Read the body. The status alone decides: a truncated body does not undo a stored batch."""
        try:
            content = response.read(MAX_ANSWER)
        except (OSError, http.client.HTTPException):
            self.close()
            return b""
        if not response.isclosed() or response.will_close:
            self.close()
        return content

    def _misconfigured(self, message: str, fault: Fault | None = None) -> SendResult:
        return SendResult("misconfigured", f"{_origin(self._url)}: {message}", fault=fault)

    # -- the connection -----------------------------------------------------------------------------------

    def _connect(self, until: float) -> Connection:
        certificates = certificate_state(self._target)
        connection = self._connection
        if connection is not None:
            aged = clock.monotonic() - self._opened > MAX_AGE
            if not aged and certificates == self._certificates and not connection.dropped():
                connection.until = until
                return connection
            self.close()
        if self._url.scheme == "https" and (self._tls is None or certificates != self._certificates):
            self._tls = tls_context(self._target)
        self._certificates = certificates
        connection = self._connection = connection_to(self._url, self._tls)
        connection.until = until
        connection.connect()
        self._opened = clock.monotonic()
        return connection


def retry_after(value: str | None) -> float | None:
    """Parse either form of the header to seconds (RFC 9110, 10.2.3)."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(min(int(value.strip()[:6]), 3600))
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - clock.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _origin(url: SplitResult) -> str:
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}"


def _failure(error: Exception) -> str:
    """Describe a failure without any text from the target, which may contain anything."""
    if isinstance(error, socket.gaierror):
        return "the host name does not resolve"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'handshake failed'}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, http.client.RemoteDisconnected):
        return "closed the connection without an answer"
    if isinstance(error, http.client.HTTPException):
        return "the answer is not HTTP"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
