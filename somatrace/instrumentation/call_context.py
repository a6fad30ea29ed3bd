"""The context of an HTTP request: an LLM client's call, or another instrumentation's span."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind

from somatrace import semconv
from somatrace.api.span_scopes import MODEL_CALL
from somatrace.context.collector_safety import changing
from somatrace.libraries import LIBRARIES
from somatrace.runtime.calling_code import Packages, called_by

#: Set while an LLM client's own code runs (`llm/client_calls.py`).
_LLM_CALL: Final = otel_context.create_key("somatrace-llm-call")
_SUPPRESSED: Final = (
    getattr(otel_context, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation"),
    "suppress_instrumentation",
)
_HTTP_SUPPRESSED: Final = getattr(
    otel_context, "_SUPPRESS_HTTP_INSTRUMENTATION_KEY", "suppress_http_instrumentation"
)
#: Scopes of model clients, whose spans enclose model calls only. Frameworks (langchain, crewai, ...) also
#: run tools inside their spans: those are recognized by their operation.
_MODEL_SCOPES: Final = tuple(
    scope for library in LIBRARIES if library.role == "model" for scope in library.scopes
)
#: Excluded first: "openai_agents" begins with "openai".
_OTHER_SCOPES: Final = tuple(
    scope for library in LIBRARIES if library.role != "model" for scope in library.scopes
)
#: Packages that send requests to model servers only. Few of their clients have one method that sends every
#: request, and it moves from version to version.
_MODEL_PACKAGES: Final = Packages(*(name for library in LIBRARIES for name in library.model_packages))
#: Modules of these libraries that call the program's functions.
_TOOL_CALLERS: Final = Packages(*(name for library in LIBRARIES for name in library.tool_callers))
_LLM_OPERATIONS: Final = frozenset(
    {"chat", "completion", "embedding", "embeddings", "generate_content", "response", "text_completion"}
)
_HTTP_SCOPES: Final = tuple(
    f"opentelemetry.instrumentation.{library}"
    for library in ("aiohttp_client", "httpx", "requests", "tornado", "urllib", "urllib3")
)


def in_llm_call() -> bool:
    """Whether an LLM client makes this request, or all instrumentation is suppressed."""
    if any(otel_context.get_value(key) for key in (_LLM_CALL, MODEL_CALL, *_SUPPRESSED)):
        return True
    span = trace.get_current_span()
    scope = scope_name(span)
    if scope.startswith(_MODEL_SCOPES) and not scope.startswith(_OTHER_SCOPES):
        return True
    attributes = getattr(span, "attributes", None)
    if attributes is not None and attributes.get(semconv.OPERATION) in _LLM_OPERATIONS:
        return True
    return called_by(_MODEL_PACKAGES, _TOOL_CALLERS)


def in_http_span() -> bool:
    """Whether another instrumentation already has a span for this request."""
    if otel_context.get_value(_HTTP_SUPPRESSED):
        return True
    span = trace.get_current_span()
    return getattr(span, "kind", None) is SpanKind.CLIENT and scope_name(span).startswith(_HTTP_SCOPES)


def in_third_party_server_span() -> bool:
    """Whether the current span is another instrumentation's local server span."""
    span = trace.get_current_span()
    if not span.is_recording() or getattr(span, "kind", None) is not SpanKind.SERVER:
        return False
    return not scope_name(span).startswith("somatrace")


def scope_name(span: Span) -> str:
    """The name of the span's instrumentation scope, "" if it has none."""
    return getattr(getattr(span, "instrumentation_scope", None), "name", "") or ""


def without_http(context: otel_context.Context) -> otel_context.Context:
    """`context`, with the HTTP instrumentations below this one suppressed: no spans, no injected headers."""
    return otel_context.set_value(_HTTP_SUPPRESSED, True, context)


def uninstrumented(context: otel_context.Context) -> otel_context.Context:
    """`context`, with all instrumentation suppressed.

    OpenTelemetry's own `suppress_instrumentation` imports its propagators, which fails where
    OTEL_PROPAGATORS names one that is not installed.
    """
    for key in _SUPPRESSED:
        context = otel_context.set_value(key, True, context)
    return context


def llm_call_in(context: otel_context.Context) -> otel_context.Context:
    """`context`, with the requests made in it marked as an LLM client's own."""
    return otel_context.set_value(_LLM_CALL, True, context)


@contextmanager
def llm_call() -> Iterator[None]:
    """Mark the requests made inside the block as an LLM client's own."""
    changing()
    token = otel_context.attach(llm_call_in(otel_context.get_current()))
    try:
        yield
    finally:
        changing()
        otel_context.detach(token)


@contextmanager
def continued_llm_call() -> Iterator[None]:
    """Keep the mark of a model call in the context, for threads and tasks whose stack does not lead to it.

    A transport of the program may use them, and `asyncio.wait_for` does.
    """
    try:
        inside = in_llm_call()
    except Exception:
        inside = False
    if not inside:
        yield
        return
    with llm_call():
        yield
