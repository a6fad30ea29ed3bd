"""Our Tracer: the SDK's, whose spans say what they stand for even where sampling leaves them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import Tracer
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind
from opentelemetry.util.types import Attributes

from somatrace import semconv


class SomatraceTracer(Tracer):
    """A Tracer that marks what it does not record.

    What may leave a process does not hang on sampling: a model call that is not recorded is a model
    call all the same, and nothing of ours goes along with its requests.
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
        """As the SDK's."""
        span = super().start_span(
            name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception
        )
        if type(span) is not NonRecordingSpan:
            return span
        return UnrecordedSpan(span.get_span_context(), self._instrumentation_scope, attributes)


class UnrecordedSpan(NonRecordingSpan):
    """A span that is left out: its context, who made it, and the kind of operation it is."""

    def __init__(self, context: SpanContext, scope: InstrumentationScope, attributes: Attributes) -> None:
        super().__init__(context)
        operation = (attributes or {}).get(semconv.OPERATION)
        self.instrumentation_scope = scope
        self.attributes: Mapping[str, Any] = {} if operation is None else {semconv.OPERATION: operation}
