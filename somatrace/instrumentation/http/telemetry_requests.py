"""Requests that carry telemetry: to the target itself, or of an observability SDK. They are never spans.

Neither those of somatrace nor those of OpenTelemetry's own HTTP instrumentations: the pipeline asks
`is_telemetry_span` about each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from opentelemetry.trace import SpanKind

from somatrace import semconv
from somatrace.config import Target
from somatrace.runtime.calling_code import Packages, nearest_module

#: Packages whose own requests (scores, prompts, datasets, exports, usage reports) say nothing of the program.
#: Of those that also wrap the program's HTTP clients or call models for it, the modules that send.
_SENDERS: Final = Packages(
    "arize", "braintrust", "datadog", "elasticapm.transport", "helicone_helpers", "langfuse", "langsmith",
    "opentelemetry.exporter", "opik", "phoenix.client", "posthog",
    "sentry_sdk.integrations.cloud_resource_context", "sentry_sdk.spotlight", "sentry_sdk.transport",
    "traceloop", "wandb", "weave",
)  # fmt: skip
#: Code between such a package and the socket, or the start of the request's span.
_BETWEEN: Final = Packages(
    "aiohttp", "anyio", "asyncio", "backoff", "contextlib", "ddtrace", "elasticapm.instrumentation",
    "elasticapm.utils", "functools", "gql", "http", "httpcore", "httpx", "httpx2",
    "opentelemetry.instrumentation", "opentelemetry.sdk", "opentelemetry.trace", "opentelemetry.util",
    "requests", "requests_toolbelt", "sentry_sdk.integrations.httpx", "sentry_sdk.integrations.httpx2",
    "sentry_sdk.utils", "somatrace", "tenacity", "threading", "urllib", "urllib3",
    "weave.chat",  # a client of models
    "wrapt",
)  # fmt: skip
#: Paths of a server that is a backend as a whole. Behind another path the host may be a gateway for others.
_WHOLE_SERVER: Final = frozenset({"/v1/traces", semconv.LANGFUSE_OTLP_PATH})
#: Default ports of the schemes.
PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_TARGETS: Final = ("http", "https")
_OTLP: Final = "/v1/traces"
_OTLP_SIGNALS: Final = (_OTLP, "/v1/metrics", "/v1/logs")
_URLS: Final = ("url.full", "http.url")


class _Backend(NamedTuple):
    """The server of the target, and the paths at which it is one. Other paths may be those of the program."""

    host: str
    port: int
    paths: tuple[str, ...]
    #: whether no other service is expected behind its host and port
    is_whole_server: bool

    def has(self, path: str) -> bool:
        return any(path.startswith(own) if own.endswith("/") else path == own for own in self.paths)


_backend: _Backend | None = None


def set_target(target: Target) -> None:
    """Recognize requests to this process's target from now on."""
    global _backend  # noqa: PLW0603 - a process has one target
    parts = urlsplit(target.url)
    _backend = _backend_at(parts) if parts.scheme in _TARGETS and parts.hostname else None


def _backend_at(parts: SplitResult) -> _Backend:
    path = parts.path
    paths: tuple[str, ...] = (path,)
    if path.endswith(semconv.LANGFUSE_OTLP_PATH):
        paths = (f"{path.removesuffix('/otel' + _OTLP)}/",)
    elif path.endswith(_OTLP):
        paths = tuple(path.removesuffix(_OTLP) + signal for signal in _OTLP_SIGNALS)
    port = parts.port or PORTS[parts.scheme]
    return _Backend(parts.hostname or "", port, paths, path in _WHOLE_SERVER)


def is_to_target(host: str, port: int | None) -> bool:
    """Whether the server of a request is the target's, and not known to be shared with other services."""
    return (
        _backend is not None
        and _backend.is_whole_server
        and (_backend.host, _backend.port) == (host.lower(), port)
    )


def is_telemetry(host: str, port: int | None, path: str) -> bool:
    """Whether the current request goes to the target or is an observability SDK's own."""
    return _is_to_backend(host, port, path) or nearest_module(_BETWEEN) in _SENDERS


def is_telemetry_span(span: Any, ended: bool = False) -> bool:
    """Whether a span of an OpenTelemetry instrumentation is that of such a request.

    Asked on the stack of the request, where the span starts. Of an `ended` one only the target is looked at:
    some instrumentations add the URL after the start.
    """
    if span.kind is not SpanKind.CLIENT:
        return False
    scope = span.instrumentation_scope
    if scope is None or not scope.name.startswith(semconv.INSTRUMENTATION_SCOPES):
        return False
    attributes: Mapping[str, Any] = span.attributes or {}
    if semconv.HTTP_METHOD not in attributes and semconv.HTTP_METHOD_BEFORE not in attributes:
        return False
    url = next((found for name in _URLS if type(found := attributes.get(name)) is str), "")
    return _is_to_backend(*split(url)) if ended else is_telemetry(*split(url))


def split(url: object) -> tuple[str, int | None, str]:
    """Host, port and path of a URL. All are empty for a malformed one, which the library will reject."""
    try:
        parts = urlsplit(str(url))
        return parts.hostname or "", parts.port or PORTS.get(parts.scheme), parts.path
    except ValueError:
        return "", None, ""


def _is_to_backend(host: str, port: int | None, path: str) -> bool:
    return (
        _backend is not None and (_backend.host, _backend.port) == (host.lower(), port) and _backend.has(path)
    )
