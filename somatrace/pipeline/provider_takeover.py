"""Take over a tracer provider that was set earlier: its processors move behind the guard.

Tracers created earlier hold the provider's multi-processor, so its contents are replaced, not the object
itself. The fields used are private to the SDK: if they are missing, somatrace exports nothing and reports
the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from somatrace.pipeline.span_processor import MARK, GuardingSpanProcessor


def take_over(
    provider: TracerProvider, build: Callable[[tuple[SpanProcessor, ...]], GuardingSpanProcessor]
) -> str:
    """Take over `provider`; return "" on success, otherwise the reason for the failure."""
    multi: Any = getattr(provider, "_active_span_processor", None)
    inner = getattr(multi, "_span_processors", None)
    if not isinstance(inner, tuple) or not hasattr(multi, "add_span_processor"):
        return f"its span processor is a {type(multi).__name__}, which cannot be guarded"
    if any(getattr(processor, MARK, False) for processor in (multi, *inner)):
        return "another copy of somatrace, imported earlier, already traces through it"
    span_processor = build(inner)
    multi._span_processors = (span_processor,)
    multi.add_span_processor = span_processor.add_span_processor
    return ""
