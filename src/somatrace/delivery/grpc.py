"""OTLP over gRPC (extra `grpc`): the same bytes, so the generated stubs are not needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from somatrace.config import Target
from somatrace.delivery.answer import OK, Answer

if TYPE_CHECKING:
    import grpc

METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class GrpcTransport:
    """Sends to one host and port over one channel, opened on first use."""

    def __init__(self, target: Target) -> None:
        self._target = target
        parts = urlsplit(target.url if "//" in target.url else f"//{target.url}")
        self._address = parts.netloc
        self._secure = not (target.insecure or parts.scheme == "http")
        self._channel: grpc.Channel | None = None

    def send(self, body: bytes, timeout: float) -> Answer:
        import grpc

        if self._channel is None:
            try:
                self._channel = self._open()
            except (OSError, ValueError) as error:
                return Answer(
                    "wrong", f"grpc {self._address}: {type(error).__name__} while reading certificates"
                )
        call: Any = self._channel.unary_unary(METHOD)
        metadata = [(key.lower(), value) for key, value in self._target.headers.items()]
        compression = (
            grpc.Compression.Gzip if self._target.compression == "gzip" else grpc.Compression.NoCompression
        )
        try:
            call(body, timeout=timeout, metadata=metadata, compression=compression)
        except grpc.RpcError as error:
            return _answer(self._address, error)
        except ValueError:  # the channel was closed by `interrupt`
            self._channel = None
            return Answer("retry", f"grpc {self._address}: interrupted", ambiguous=True)
        return OK

    def interrupt(self) -> None:
        self.close()

    def close(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _open(self) -> grpc.Channel:
        import grpc

        if not self._secure:
            return grpc.insecure_channel(self._address)
        target = self._target
        credentials = grpc.ssl_channel_credentials(
            _read(target.certificate), _read(target.client_key), _read(target.client_certificate)
        )
        return grpc.secure_channel(self._address, credentials)


def _read(name: str) -> bytes | None:
    if not name:
        return None
    return Path(name).read_bytes()


def _answer(address: str, error: Any) -> Answer:
    """As the OTLP specification sorts gRPC codes into those worth another try and those that are not."""
    code = error.code().name
    message = f"grpc {address}: {code}"
    if code in ("UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED", "NOT_FOUND"):
        return Answer("wrong", message)
    if code == "INVALID_ARGUMENT":
        return Answer("refused", message)
    if code == "RESOURCE_EXHAUSTED" and "larger than max" in (error.details() or ""):
        return Answer("too_large", message)
    return Answer("retry", message, ambiguous=code in ("DEADLINE_EXCEEDED", "CANCELLED"))
