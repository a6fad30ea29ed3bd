"""What is going on around an HTTP request: an LLM client's call, or another instrumentation's span."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind

from somatrace import semconv
from somatrace.api.span import MODEL_CALL

#: Set while an LLM client's own code runs (`llm_clients`).
_LLM_CALL: Final = otel_context.create_key("somatrace-llm-call")
_SUPPRESSED: Final = (
    getattr(otel_context, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation"),
    "suppress_instrumentation",
)
_HTTP_SUPPRESSED: Final = getattr(
    otel_context, "_SUPPRESS_HTTP_INSTRUMENTATION_KEY", "suppress_http_instrumentation"
)
#: Instrumentors of clients that talk to a model, and to nothing else, inside their spans. Frameworks
#: (langchain, crewai ...) also run tools there: of their spans the operation decides.
_LLM_SCOPES: Final = (
    "com.anthropic.sdk",
    *(
        f"opentelemetry.instrumentation.{library}"
        for library in (
            "alephalpha",
            "anthropic",
            "bedrock",
            "cohere",
            "google_genai",
            "google_generativeai",
            "groq",
            "litellm",
            "mistralai",
            "ollama",
            "openai",
            "replicate",
            "sagemaker",
            "together",
            "transformers",
            "vertexai",
            "voyageai",
            "watsonx",
            "writer",
        )
    ),
)
_NOT_CLIENTS: Final = ("opentelemetry.instrumentation.openai_agents",)
_LLM_OPERATIONS: Final = frozenset(
    {"chat", "completion", "embedding", "embeddings", "generate_content", "response", "text_completion"}
)
_HTTP_SCOPES: Final = tuple(
    f"opentelemetry.instrumentation.{library}"
    for library in ("aiohttp_client", "httpx", "requests", "tornado", "urllib", "urllib3")
)


def in_llm_call() -> bool:
    """Whether an LLM client is at work here, or all instrumentation is switched off."""
    if any(otel_context.get_value(key) for key in (_LLM_CALL, MODEL_CALL, *_SUPPRESSED)):
        return True
    span = trace.get_current_span()
    scope = scope_name(span)
    if scope.startswith(_LLM_SCOPES) and not scope.startswith(_NOT_CLIENTS):
        return True
    attributes = getattr(span, "attributes", None)
    return attributes is not None and attributes.get(semconv.OPERATION) in _LLM_OPERATIONS


def in_http_span() -> bool:
    """Whether another instrumentation makes the span of this very request."""
    if otel_context.get_value(_HTTP_SUPPRESSED):
        return True
    span = trace.get_current_span()
    return getattr(span, "kind", None) is SpanKind.CLIENT and scope_name(span).startswith(_HTTP_SCOPES)


def foreign_server_span() -> bool:
    """Whether another instrumentation has a local server span open here."""
    span = trace.get_current_span()
    if not span.is_recording() or getattr(span, "kind", None) is not SpanKind.SERVER:
        return False
    return not scope_name(span).startswith("somatrace")


def scope_name(span: Span) -> str:
    """Who made the span: its instrumentation scope, "" if it tells none."""
    return getattr(getattr(span, "instrumentation_scope", None), "name", "") or ""


def without_http(context: otel_context.Context) -> otel_context.Context:
    """`context`, in which the HTTP instrumentations below us make no span and inject nothing."""
    return otel_context.set_value(_HTTP_SUPPRESSED, True, context)


def uninstrumented(context: otel_context.Context) -> otel_context.Context:
    """`context`, in which no instrumentation makes a span.

    OpenTelemetry's own `suppress_instrumentation` imports its propagators, which fails where
    OTEL_PROPAGATORS names one that is not installed.
    """
    for key in _SUPPRESSED:
        context = otel_context.set_value(key, True, context)
    return context


@contextmanager
def llm_call() -> Iterator[None]:
    """Everything inside is an LLM client's own work."""
    token = otel_context.attach(otel_context.set_value(_LLM_CALL, True))
    try:
        yield
    finally:
        otel_context.detach(token)
