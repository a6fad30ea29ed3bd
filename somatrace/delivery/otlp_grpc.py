"""OTLP over gRPC (extra `grpc`), sending encoded bytes without generated stubs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from somatrace.config import Target
from somatrace.delivery import retry_info
from somatrace.delivery.answer_text import answer_text, names_spans
from somatrace.delivery.http_connection import certificate_state
from somatrace.delivery.send_result import SendResult, accepted
from somatrace.delivery.status_rules import grpc_rule
from somatrace.runtime.clock import clock

if TYPE_CHECKING:
    import grpc

METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
#: Prefixes of the names of gRPC's threads, and the seconds to wait for them to end.
_THREADS: Final = ("event_engine", "grpc_", "lifeguard")
_END_TIMEOUT: Final = 0.5


class GrpcTransport:
    """Sends to one host and port over one channel, opened on first use and when certificates change."""

    def __init__(self, target: Target) -> None:
        self._target = target
        parts = urlsplit(target.url if "//" in target.url else f"//{target.url}")
        self._address = parts.netloc.rpartition("@")[2]
        self._secure = not (target.insecure or parts.scheme == "http")
        self._metadata = [(key.lower(), value) for key, value in target.headers.items()]
        self._certificates: tuple[int, ...] = ()
        self._channel: grpc.Channel | None = None
        self._owns_threads = False
        self._call: Any = None
        self._interrupted = False

    def send(self, body: bytes, timeout: float) -> SendResult:
        import grpc

        self._interrupted = False
        certificates = certificate_state(self._target)
        if certificates != self._certificates:
            self.close()
        try:
            if self._channel is None:
                self._channel, self._certificates = self._open(), certificates
            pending = self._channel.unary_unary(METHOD).future(
                body,
                timeout=timeout,
                metadata=self._metadata,
                compression=_compression(self._target.compression),
            )
            self._call = pending
            if self._interrupted:  # while the call was being made
                pending.cancel()
            return accepted(pending.result())
        except (grpc.RpcError, grpc.FutureCancelledError) as error:
            result = _result(self._address, error, body)
            if result.status == "UNAVAILABLE":  # the channel itself would wait up to two minutes to reconnect
                self.close()
            return result
        except OSError:
            message = f"grpc {self._address}: a certificate cannot be read: check the files"
            return SendResult("misconfigured", message, fault="tls")
        except ValueError:  # closed by `interrupt`, or invalid metadata
            self.close()
            return SendResult("retry", f"grpc {self._address}: the call could not be made")
        finally:
            self._call = None

    def interrupt(self) -> None:
        self._interrupted = True
        call = self._call
        if call is not None:
            call.cancel()

    def close(self) -> None:
        """Close the channel and wait for gRPC's threads to end.

        A fork while they end leaves the child with a lock that is never released; its next channel would
        wait for it forever while holding the GIL.
        """
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
            del channel  # gRPC shuts down with the last reference
            until = clock.monotonic() + _END_TIMEOUT
            while self._owns_threads and _has_threads() and clock.monotonic() < until:
                clock.sleep(0.002)

    def _open(self) -> grpc.Channel:
        import grpc

        self._owns_threads = not _has_threads()  # threads of the program's channels outlive ours
        if not self._secure:
            return grpc.insecure_channel(self._address)
        target = self._target
        credentials = grpc.ssl_channel_credentials(
            _read(target.certificate), _read(target.client_key), _read(target.client_certificate)
        )
        return grpc.secure_channel(self._address, credentials)


def _has_threads() -> bool:
    """Whether gRPC has threads in this process. False on systems without /proc."""
    try:
        return any(
            (task / "comm").read_text().startswith(_THREADS) for task in Path("/proc/self/task").iterdir()
        )
    except OSError:  # a thread ended during the scan
        return Path("/proc/self/task").is_dir()


def _compression(name: str) -> Any:
    import grpc

    known = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}
    return known.get(name, grpc.Compression.NoCompression)


def _read(name: str) -> bytes | None:
    return Path(name).read_bytes() if name else None


def _result(address: str, error: Any, body: bytes) -> SendResult:
    has_code = hasattr(error, "code")
    code = error.code().name if has_code else "CANCELLED"
    details: str = (error.details() or "") if has_code else ""
    wait = _retry_after(error) if has_code else None
    rule = grpc_rule(code, details, recovers=wait is not None)
    return SendResult(
        rule.outcome,
        f"grpc {address}: {rule.text(code)}",
        wait if rule.outcome == "retry" else None,
        ambiguous=rule.ambiguous,
        choked=rule.choked,
        fault=rule.fault,
        status=code,
        answer=answer_text(details.encode()),
        names_spans=rule.outcome == "rejected" and names_spans(details.encode(), body),
    )


def _retry_after(error: Any) -> float | None:
    """The seconds that the target asks for."""
    found = [value for key, value in error.trailing_metadata() or () if key == retry_info.KEY]
    return retry_info.retry_delay(found[0]) if found and isinstance(found[0], bytes) else None
