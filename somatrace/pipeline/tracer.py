"""Tracer whose spans keep their operation even if they are not sampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import Tracer
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import INVALID_SPAN, Link, NonRecordingSpan, Span, SpanContext, SpanKind
from opentelemetry.util.types import Attributes

from somatrace import semconv
from somatrace.context.context_tokens import leave_closed_blocks
from somatrace.pipeline.safe_values import safe_attributes, safe_links, safe_text
from somatrace.pipeline.span_times_and_kinds import valid_kind, valid_time
from somatrace.runtime.fail_safe import is_suppressed


class SomatraceTracer(Tracer):
    """A Tracer that marks unsampled spans with their operation.

    Header propagation must not depend on sampling: somatrace sends no headers with the requests of a model
    call, whether or not the call is recorded.
    """

    def start_span(  # noqa: PLR0917 - the signature of the API
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Span:
        """Start a span like the SDK does, for any arguments, but never below a block that has ended."""
        attributes = safe_attributes(attributes)
        span: Span = INVALID_SPAN
        try:
            parent: Any = leave_closed_blocks() if context is None else context
            span = super().start_span(
                safe_text(name),
                parent if isinstance(parent, Context) else None,
                valid_kind(kind),
                attributes,
                safe_links(links),
                valid_time(start_time),
                record_exception,
                set_status_on_exception,
            )
        except Exception as error:
            if not is_suppressed("start_span", error):
                raise
        if type(span) is not NonRecordingSpan:
            return span
        return UnrecordedSpan(span.get_span_context(), self._instrumentation_scope, attributes)


class UnrecordedSpan(NonRecordingSpan):
    """A span that is not recorded, with its context, instrumentation scope and operation."""

    def __init__(self, context: SpanContext, scope: InstrumentationScope, attributes: Attributes) -> None:
        super().__init__(context)
        operation = (attributes or {}).get(semconv.OPERATION)
        self.instrumentation_scope = scope
        self.attributes: Mapping[str, Any] = {} if operation is None else {semconv.OPERATION: operation}
