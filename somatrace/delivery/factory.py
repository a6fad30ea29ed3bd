"""The one target of the process, as something that takes bytes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace

from somatrace.config import Config, Settings, Target, refresh
from somatrace.delivery import encoding
from somatrace.delivery.send_result import ACCEPTED, SendResult, Transport
from somatrace.local.data_dir import data_dir


class LocalTransport:
    """The embedded store, written by the service's own process."""

    def __init__(self, directory: str, max_bytes: int, max_days: float) -> None:
        self._settings = (directory, max_bytes, max_days)
        self._sink: object | None = None

    def send(self, body: bytes, timeout: float) -> SendResult:  # noqa: ARG002 - the store bounds its own waits
        from somatrace.local.ingest.sink import LocalSink

        try:
            if not isinstance(self._sink, LocalSink):
                self._sink = LocalSink(*self._settings)
            self._sink.send(body)
        except ValueError as error:  # it cannot be read, or is over a limit: it never will be taken
            return SendResult("rejected", f"local store: {error}")
        except Exception as error:
            self.close()
            return SendResult("retry", f"local store: {type(error).__name__}: {str(error)[:120]}")
        return ACCEPTED

    def interrupt(self) -> None:
        """The store gives up by itself within about two seconds."""

    def close(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.close()  # type: ignore[attr-defined]


#: Put around each transport; by it `somatrace smoke` sees what leaves its own process.
around: Callable[[Transport], Transport] = lambda transport: transport  # noqa: E731 - replaced by smoke


def transport_of(settings: Settings) -> tuple[Transport | None, str]:
    """What carries spans to the target, and a problem when nothing can (then nothing is sent)."""
    transport, problem = _made(settings)
    return (None if transport is None else around(transport)), problem


def _made(settings: Settings) -> tuple[Transport | None, str]:
    target = settings.target
    if target.kind == "none":
        return None, ""
    if target.kind == "console":
        from somatrace.delivery.console import ConsoleTransport

        return ConsoleTransport(), ""
    if target.kind == "local":
        import somatrace.local.store.database  # noqa: F401 - its fork hooks must be older than the lanes'

        place = data_dir(settings.data_dir, settings.state_home)
        if place is None:
            return (
                None,
                "SOMATRACE_DATA_DIR: no directory for the local store can be written; name one that can",
            )
        return LocalTransport(str(place), settings.local_max_bytes, settings.local_max_days), ""
    if target.protocol == "grpc":
        if importlib.util.find_spec("grpc") is None:
            return (
                None,
                "OTEL_EXPORTER_OTLP_PROTOCOL: grpc needs `pip install somatrace[grpc]`, or set http/protobuf",
            )
        from somatrace.delivery.otlp_grpc import GrpcTransport

        return GrpcTransport(target), ""
    return LazyHttp(target), ""


def load(target: Target) -> None:
    """Import what is otherwise imported with the first batch for `target`."""
    if target.kind == "none":
        return
    encoding.load()
    if target.kind == "local":
        import somatrace.local.ingest.sink
    elif target.protocol == "grpc":
        import grpc  # noqa: F401
    elif target.kind != "console":
        import somatrace.delivery.otlp_http  # noqa: F401


class LazyHttp:
    """The HTTP transport, whose imports (ssl, http.client) happen on the worker, with the first batch."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._made: Transport | None = None

    def send(self, body: bytes, timeout: float) -> SendResult:
        if self._made is None:
            from somatrace.delivery.otlp_http import HttpTransport

            self._made = HttpTransport(self._target)
        return self._made.send(body, timeout)

    def interrupt(self) -> None:
        if self._made is not None:
            self._made.interrupt()

    def close(self) -> None:
        if self._made is not None:
            self._made.close()


def renewer(service_name: str, config: Config | None, settings: Settings) -> Callable[[], Transport | None]:
    """Reads secrets again after the target refused them; a transport with the new ones, if they changed."""
    known = settings.target

    def renew() -> Transport | None:
        nonlocal known
        fresh = refresh(service_name, config)
        if fresh.kind != known.kind or fresh.url != known.url or fresh.headers == known.headers:
            return None
        known = fresh
        return transport_of(replace(settings, target=fresh))[0]

    return renew
