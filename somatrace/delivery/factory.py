"""Create the transport for the process's target."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from somatrace.config import Config, Settings, Target, refresh
from somatrace.config.urls_and_headers import basic_credentials
from somatrace.delivery.ledger import Ledger
from somatrace.delivery.send_result import SendResult, Transport
from somatrace.local.data_dir import data_dir

if TYPE_CHECKING:
    from somatrace.delivery.dead_letters import DeadLetters
    from somatrace.delivery.journal import Journal

#: Targets for which batches wait on disk: the local store is on disk itself.
SPOOLED: Final = ("langfuse", "otlp")


def transport_of(settings: Settings) -> tuple[Transport | None, str]:
    """Return the transport for the target, or None and the problem that prevents sending."""
    target = settings.target
    if target.kind == "none":
        return None, ""
    if target.kind == "console":
        from somatrace.delivery.console import ConsoleTransport

        return ConsoleTransport(), ""
    if target.kind == "local":
        from somatrace.delivery.local_store import LocalTransport

        directory = data_dir(settings.data_dir, settings.state_home)
        if directory is None:
            return (
                None,
                "SOMATRACE_DATA_DIR: no directory for the local store is writable; set it to one that is",
            )
        return LocalTransport(str(directory), settings.local_max_bytes, settings.local_max_days), ""
    if target.protocol == "grpc":
        if importlib.util.find_spec("grpc") is None:
            return (
                None,
                "OTEL_EXPORTER_OTLP_PROTOCOL: grpc needs `pip install somatrace[grpc]`, or set http/protobuf",
            )
        from somatrace.delivery.otlp_grpc import GrpcTransport

        return GrpcTransport(target), ""
    return LazyHttp(target), ""


def journal_of(settings: Settings, ledger: Ledger) -> Callable[[], Journal] | None:
    """Opens where batches for the target wait on disk; None if they do not."""
    target = settings.target
    if target.kind not in SPOOLED or not settings.spool_max_bytes:
        return None

    def opened() -> Journal:
        from somatrace.delivery.journal import Journal  # on the worker's thread

        return Journal(
            lambda: data_dir(settings.data_dir, settings.state_home),
            owner_of(settings.service_name, target),
            max_bytes=settings.spool_max_bytes,
            max_days=settings.spool_max_days,
            evicted=ledger.evict_all,
            on_unclean_stop=lambda: ledger.count("unclean_stops"),
        )

    return opened


def dead_letters_of(
    settings: Settings, evicted: Callable[[Mapping[str, int]], None], redact: Callable[[str], str]
) -> Callable[[], DeadLetters]:
    """Opens where spans are kept that the target does not accept, within the limits of those that wait."""

    def opened() -> DeadLetters:
        from somatrace.delivery.dead_letters import DeadLetters

        return DeadLetters(
            lambda: data_dir(settings.data_dir, settings.state_home),
            owner_of(settings.service_name, settings.target),
            max_bytes=settings.spool_max_bytes,
            max_days=settings.spool_max_days,
            evicted=evicted,
            redact=redact,
        )

    return opened


def address_variable(settings: Settings) -> str:
    """Where the address of a network target is set."""
    name, usual = (
        ("langfuse_host", "LANGFUSE_BASE_URL")
        if settings.target.kind == "langfuse"
        else ("endpoint", "SOMATRACE_ENDPOINT")
    )
    source = settings.sources.get(name, "default")
    return {"default": usual, "keyword": f"Config.{name}"}.get(source, source)


def advice_of(settings: Settings) -> str:
    """The end of the line that reports a target which rejects everything."""
    return (
        f", whatever the spans are; check that {address_variable(settings)} is its address, and what a proxy "
        "makes of headers and compression (SOMATRACE_COMPRESSION=none)"
    )


def owner_of(service: str, target: Target) -> dict[str, str]:
    """For whom a batch waits: the service that made it, and the target it may be sent to."""
    return {
        "service": service,
        "target": target.kind,
        "address": target.address,
        "key": _key(target),
    }


def _key(target: Target) -> str:
    """Which of the target's projects it is: the public key of Langfuse, and of others a hash of the user
    name, which may be a token."""
    user = (basic_credentials(target.headers) or ("",))[0]
    if target.kind == "langfuse" or not user:
        return user
    import hashlib

    return hashlib.sha256(user.encode()).hexdigest()[:16]


def load(target: Target) -> None:
    """Import what is otherwise imported with the first batch for `target`."""
    if target.kind in ("none", "local", "console"):
        return
    if target.protocol == "grpc":
        import grpc  # noqa: F401
    else:
        import somatrace.delivery.otlp_http  # noqa: F401


class LazyHttp:
    """The HTTP transport, imported (with ssl and http.client) on the worker thread at the first batch."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._transport: Transport | None = None

    def send(self, body: bytes, timeout: float) -> SendResult:
        if self._transport is None:
            from somatrace.delivery.otlp_http import HttpTransport

            self._transport = HttpTransport(self._target)
        return self._transport.send(body, timeout)

    def interrupt(self) -> None:
        if self._transport is not None:
            self._transport.interrupt()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def renewer(service_name: str, config: Config | None, settings: Settings) -> Callable[[], Transport | None]:
    """Return a function that rereads secrets and creates a new transport if they have changed."""
    known = settings.target

    def renew() -> Transport | None:
        nonlocal known
        fresh = refresh(service_name, config)
        if fresh.kind != known.kind or fresh.url != known.url or fresh.headers == known.headers:
            return None
        known = fresh
        return transport_of(replace(settings, target=fresh))[0]

    return renew
