"""Tracer that makes lean spans, by the rules of the SDK's."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import sampling
from opentelemetry.trace import DEFAULT_TRACE_STATE, Link, Span, SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.util.types import Attributes

from somatrace.context.context_tokens import leave_closed_blocks
from somatrace.context.current_span_key import SPAN_KEY
from somatrace.context.span_state import Naming
from somatrace.pipeline.current_span import CurrentSpan
from somatrace.pipeline.heard_sampler import is_heard
from somatrace.pipeline.lean_span import SHORT, LeanSpan, new_span
from somatrace.pipeline.safe_values import safe_attributes, safe_links, safe_text
from somatrace.pipeline.span_processor import GuardingSpanProcessor
from somatrace.pipeline.span_times_and_kinds import valid_kind, valid_time
from somatrace.pipeline.tracer import SomatraceTracer, UnrecordedSpan
from somatrace.runtime.fail_safe import is_suppressed

_SAMPLED: Final = TraceFlags.SAMPLED
#: By the two bits that are known: sampled, and whether the trace id is random.
_FLAGS: Final = tuple(map(TraceFlags, range(4)))
_UNLIMITED: Final = 1 << 62
#: Makes a `SpanContext` of parts that need no check, in a fifth of the time.
_new_tuple: Final = tuple.__new__


class LeanTracer(SomatraceTracer):
    """A `SomatraceTracer` whose spans are `LeanSpan`s."""

    span_processor: GuardingSpanProcessor

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        limits = self._span_limits
        most, longest = limits.max_span_attributes, limits.max_span_attribute_length
        self.most_attributes = _UNLIMITED if most is None else most
        self.short_text = SHORT if longest is None else min(SHORT, longest)
        #: Whether the limits leave room for `ShortTexts`.
        self.takes_short_texts = self.most_attributes >= 8 and self.short_text >= 32
        self._bits: Callable[[int], int] = getattr(self.id_generator, "bits", _no_bits)
        self._new_trace_id = self.id_generator.generate_trace_id
        self._new_span_id = self.id_generator.generate_span_id
        #: The namings of its spans by name, of most spans.
        self.namings: dict[str, Naming] = {}
        self._counts_spans = type(self._tracer_metrics).__name__ != "NoOpTracerMetrics"

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
        try:
            context = context if type(context) is Context else _place(context)
            if not self._tracer_config.is_enabled:
                return super().start_span(name, context, kind, attributes)
            above = context.get(SPAN_KEY)
            parent = above._context if type(above) is LeanSpan else _context_of(above)
            name = name if type(name) is str else safe_text(name)
            kind = kind if type(kind) is SpanKind else valid_kind(kind)
            links = safe_links(links) if links else ()
            own = self._new_context(parent)
            if self.sampler is sampling.DEFAULT_ON:
                is_recorded = own[3] & _SAMPLED
            else:
                result = self.sampler.should_sample(
                    context, own.trace_id, name, kind, safe_attributes(attributes), links
                )
                own = _sampled(own, result)
                is_recorded = result.decision is not sampling.Decision.DROP
                if is_recorded:  # a sampler may add some, and those of the SDK keep none of a dropped span
                    attributes = dict(result.attributes)
            if not is_recorded and not is_heard(self.span_processor, self._instrumentation_scope, attributes):
                self._count(parent, sampling.Decision.DROP)
                return UnrecordedSpan(own, self._instrumentation_scope, safe_attributes(attributes))
            now = time.time_ns() if start_time is None else _start_time(start_time)
            span = new_span(name, own, parent, kind, now, self)
            if attributes:
                span.set_attributes(attributes)
            if not (record_exception and set_status_on_exception):
                span._record_exception = record_exception
                span._set_status_on_exception = set_status_on_exception
            if links or self._counts_spans:
                self._complete(span, links)
            self.span_processor.begin(span, above, context)
            return span
        except Exception as error:
            if not is_suppressed("start_span", error):
                raise
        return trace.INVALID_SPAN

    def _new_context(self, parent: SpanContext | None) -> SpanContext:
        """The context of a span below `parent`, with what the parent has decided about sampling."""
        span_id = self._bits(64) or self._new_span_id()
        if parent is None:
            trace_id = self._bits(128) or self._new_trace_id()
            parts = trace_id, span_id, False, _FLAGS[3], DEFAULT_TRACE_STATE, True
        else:
            trace_id, _, _, flags, state, _ = parent
            parts = trace_id, span_id, False, _FLAGS[flags & 3], state, True
        return _new_tuple(SpanContext, parts)

    def _complete(self, span: LeanSpan, links: Sequence[Link]) -> None:
        """Give a span what few have."""
        if links:
            span._links = span._new_links(links)
        is_sampled = span.get_span_context().trace_flags & _SAMPLED
        decision = sampling.Decision.RECORD_AND_SAMPLE if is_sampled else sampling.Decision.RECORD_ONLY
        span._record_end_metrics = self._count(span._parent, decision)

    def _count(self, parent: SpanContext | None, decision: sampling.Decision) -> Callable[[], None] | None:
        """Count a span in the SDK's own metrics, if the program wants these."""
        return self._tracer_metrics.start_span(parent, decision) if self._counts_spans else None

    def start_as_current_span(  # type: ignore[override]  # noqa: PLR0917 - the signature of the API
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> CurrentSpan:
        """A block around a span that is current in it, or a decorator that makes one for each call."""
        given = name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception
        return CurrentSpan(self, given, end_on_exit)


def _no_bits(_: int) -> int:
    return 0


def _start_time(given: object) -> int:
    """The given time, or the current one in place of something else."""
    checked = valid_time(given)
    return time.time_ns() if checked is None else checked


def _place(context: Any) -> Context:
    """The given context; of the open blocks without one, the current one for anything else."""
    if context is None:
        return leave_closed_blocks()
    return context if isinstance(context, Context) else otel_context.get_current()


def _sampled(context: SpanContext, result: sampling.SamplingResult) -> SpanContext:
    """The context with what a sampler has decided."""
    trace_id, span_id, _, flags, _, _ = context
    flags = _FLAGS[
        (flags & TraceFlags.RANDOM_TRACE_ID) | (result.decision is sampling.Decision.RECORD_AND_SAMPLE)
    ]
    state: TraceState | None = result.trace_state
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=flags, trace_state=state)


def _context_of(span: object) -> SpanContext | None:
    """The context of a parent span of another class, if it is valid."""
    if span is None or not isinstance(span, Span):
        return None
    context = span.get_span_context()
    return context if isinstance(context, SpanContext) and context.is_valid else None  # type: ignore[redundant-expr]
