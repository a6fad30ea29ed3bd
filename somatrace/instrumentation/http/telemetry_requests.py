"""Requests that carry telemetry: to the target itself, or of an observability SDK. They are never spans."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from somatrace import semconv
from somatrace.config import Target
from somatrace.runtime.calling_code import Packages, nearest_module

#: Packages whose own requests (scores, prompts, datasets, exports, usage reports) say nothing of the program.
_SENDERS: Final = Packages("langfuse", "langsmith", "opentelemetry.exporter", "posthog", "traceloop")
#: Code between such a package and the socket.
_BETWEEN: Final = Packages(
    "aiohttp", "anyio", "asyncio", "backoff", "contextlib", "functools", "httpcore", "httpx", "httpx2",
    "opentelemetry.instrumentation", "requests", "requests_toolbelt", "somatrace", "tenacity", "threading",
    "urllib3", "wrapt",
)  # fmt: skip
#: Paths of a server that is a backend as a whole. Behind another path the host may be a gateway for others.
_WHOLE_SERVER: Final = frozenset({"/v1/traces", semconv.LANGFUSE_OTLP_PATH})
_PORTS: Final = {"http": 80, "https": 443}

_target: tuple[str, int | None] | None = None


def set_target(target: Target) -> None:
    """Recognize requests to this process's target from now on."""
    global _target  # noqa: PLW0603 - a process has one target
    parts = urlsplit(target.url)
    is_server = parts.scheme in _PORTS and parts.path in _WHOLE_SERVER
    _target = (parts.hostname or "", parts.port or _PORTS[parts.scheme]) if is_server else None


def is_to_target(host: str, port: int | None) -> bool:
    """Whether the server of a request is the target."""
    return _target is not None and _target == (host.lower(), port)


def is_telemetry(host: str, port: int | None) -> bool:
    """Whether the current request goes to the target or is an observability SDK's own."""
    return is_to_target(host, port) or nearest_module(_BETWEEN) in _SENDERS
