"""The span by which `doctor --send` tries a target's storage."""

from __future__ import annotations

from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

from somatrace import semconv
from somatrace.context.tags import EMPTY
from somatrace.delivery import encoding

_NAME: Final = "doctor"


def probe_span(tenant: str) -> tuple[bytes, str]:
    """An encoded span of `tenant` without content, and its trace id in hex."""
    provider = TracerProvider(resource=Resource({semconv.SERVICE_NAME: "somatrace-doctor"}))
    span = provider.get_tracer(semconv.SCOPE, semconv.VERSION).start_span(_NAME)
    span.set_attributes(EMPTY.deriving(**{semconv.TENANT: tenant, semconv.WORKFLOW: _NAME}).attributes)
    span.set_attribute(semconv.TRACE_NAME, _NAME)
    span.end()
    assert isinstance(span, ReadableSpan)
    return encoding.encode([span]), format(span.get_span_context().trace_id, "032x")
