"""Puts the processors of a provider that was set before us behind our wall, in place.

The tracers handed out earlier hold the provider's multi-processor, so its contents are replaced, not
itself. The fields used are the SDK's own and private: where they are missing, nothing of ours is
exported and the reason is said.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from somatrace.pipeline.span_processor import MARK, GuardingSpanProcessor


def take_over(
    provider: TracerProvider, build: Callable[[tuple[SpanProcessor, ...]], GuardingSpanProcessor]
) -> str:
    """Wall in `provider`; "" when done, else why it cannot be."""
    multi: Any = getattr(provider, "_active_span_processor", None)
    inner = getattr(multi, "_span_processors", None)
    if not isinstance(inner, tuple) or not hasattr(multi, "add_span_processor"):
        return f"its span processor is a {type(multi).__name__}, which cannot be walled in"
    if any(getattr(processor, MARK, False) for processor in (multi, *inner)):
        return "another copy of somatrace, imported earlier, traces through it already"
    span_processor = build(inner)
    multi._span_processors = (span_processor,)
    multi.add_span_processor = span_processor.add_span_processor
    return ""
